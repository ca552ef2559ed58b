//! AES-128, AES-192 and AES-256 with the key schedule expanded once (FIPS 197).

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes128Enc, Aes192, Aes192Enc, Aes256, Aes256Enc};

use crate::CryptoError;
use crate::block::{AES_BLOCK_BYTES, BlockCipher};
use crate::key_material::KeyBytes;

enum Schedule {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

/// An AES key of 16, 24 or 32 bytes, ready to work. Wiped on drop; never prints.
pub struct AesKey {
    bytes: KeyBytes,
    schedule: Box<Schedule>,
}

impl AesKey {
    /// Expands a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let wrong_length = |_| CryptoError::KeyLength(bytes.len());
        let schedule = match bytes.len() {
            16 => Schedule::Aes128(Aes128::new_from_slice(bytes).map_err(wrong_length)?),
            24 => Schedule::Aes192(Aes192::new_from_slice(bytes).map_err(wrong_length)?),
            _ => Schedule::Aes256(Aes256::new_from_slice(bytes).map_err(wrong_length)?),
        };
        let (bytes, schedule) = (KeyBytes::new(bytes)?, Box::new(schedule));
        Ok(Self { bytes, schedule })
    }

    /// The clear key bytes, for wrapping under another key.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.bytes.expose()
    }
}

fn as_array(block: &mut [u8; AES_BLOCK_BYTES]) -> &mut Array<u8, aes::cipher::consts::U16> {
    block.into()
}

/// Carries a CBC-MAC's chain along inside the library's accelerated code, which costs something to enter.
struct Chain<'a> {
    chain: &'a mut [u8; AES_BLOCK_BYTES],
    blocks: &'a [[u8; AES_BLOCK_BYTES]],
}

impl aes::cipher::BlockSizeUser for Chain<'_> {
    type BlockSize = aes::cipher::consts::U16;
}

impl aes::cipher::BlockCipherEncClosure for Chain<'_> {
    #[inline(always)]
    fn call<B: aes::cipher::BlockCipherEncBackend<BlockSize = Self::BlockSize>>(self, backend: &B) {
        for block in self.blocks {
            crate::block::xor_into(self.chain, block);
            backend.encrypt_block(as_array(self.chain).into());
        }
    }
}

/// Does the same with the cipher of each key length.
macro_rules! with_schedule {
    ($key:expr, $aes:ident => $work:expr) => {
        match &*$key.schedule {
            Schedule::Aes128($aes) => $work,
            Schedule::Aes192($aes) => $work,
            Schedule::Aes256($aes) => $work,
        }
    };
}

impl BlockCipher<AES_BLOCK_BYTES> for AesKey {
    fn encrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        with_schedule!(self, aes => aes.encrypt_block(as_array(block)));
    }

    fn decrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        with_schedule!(self, aes => aes.decrypt_block(as_array(block)));
    }

    fn encrypt_blocks(&self, blocks: &mut [[u8; AES_BLOCK_BYTES]]) {
        with_schedule!(self, aes => aes.encrypt_blocks(Array::cast_slice_from_core_mut(blocks)));
    }

    fn decrypt_blocks(&self, blocks: &mut [[u8; AES_BLOCK_BYTES]]) {
        with_schedule!(self, aes => aes.decrypt_blocks(Array::cast_slice_from_core_mut(blocks)));
    }

    fn chain_blocks(&self, chain: &mut [u8; AES_BLOCK_BYTES], blocks: &[[u8; AES_BLOCK_BYTES]]) {
        with_schedule!(self, aes => aes.encrypt_with_backend(Chain { chain, blocks }));
    }
}

impl core::fmt::Debug for AesKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AesKey({} bits, ***)", self.bytes.expose().len() * 8)
    }
}

/// An AES key that only enciphers and lives on the stack: for derivations, where each key works for a block or two.
pub(crate) enum AesEncryptor {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

impl AesEncryptor {
    /// Expands a key of 16, 24 or 32 bytes, for enciphering only.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let wrong_length = |_| CryptoError::KeyLength(bytes.len());
        Ok(match bytes.len() {
            16 => Self::Aes128(Aes128Enc::new_from_slice(bytes).map_err(wrong_length)?),
            24 => Self::Aes192(Aes192Enc::new_from_slice(bytes).map_err(wrong_length)?),
            _ => Self::Aes256(Aes256Enc::new_from_slice(bytes).map_err(wrong_length)?),
        })
    }

    pub(crate) fn encrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        let block = as_array(block);
        match self {
            Self::Aes128(aes) => aes.encrypt_block(block),
            Self::Aes192(aes) => aes.encrypt_block(block),
            Self::Aes256(aes) => aes.encrypt_block(block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fips_197_appendix_c() {
        let plain: [u8; 16] = core::array::from_fn(|i| (i * 0x11) as u8);
        let key: Vec<u8> = (0..32).collect();
        let aes = AesKey::new(&key).unwrap();
        let cipher = aes.encrypted(plain);
        assert_eq!(cipher[..4], [0x8E, 0xA2, 0xB7, 0xCA]);
        assert_eq!(aes.decrypted(cipher), plain);
    }

    #[test]
    fn refuses_odd_lengths() {
        for length in [0, 8, 15, 20, 33] {
            let key = vec![0; length];
            assert_eq!(AesKey::new(&key).err(), Some(CryptoError::KeyLength(length)));
        }
    }
}
