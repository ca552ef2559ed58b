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

impl BlockCipher<AES_BLOCK_BYTES> for AesKey {
    fn encrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        let block = as_array(block);
        match &*self.schedule {
            Schedule::Aes128(aes) => aes.encrypt_block(block),
            Schedule::Aes192(aes) => aes.encrypt_block(block),
            Schedule::Aes256(aes) => aes.encrypt_block(block),
        }
    }

    fn decrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        let block = as_array(block);
        match &*self.schedule {
            Schedule::Aes128(aes) => aes.decrypt_block(block),
            Schedule::Aes192(aes) => aes.decrypt_block(block),
            Schedule::Aes256(aes) => aes.decrypt_block(block),
        }
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
