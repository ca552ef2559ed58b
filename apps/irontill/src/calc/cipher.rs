//! A block cipher that is chosen by an argument.

use clap::ValueEnum;
use paycrypto::check_value::zero_block_check_value;
use paycrypto::mac::{cbc_mac, cmac, cmac_subkeys};
use paycrypto::padding::Padding;
use paycrypto::{AES_BLOCK_BYTES, AesKey, CryptoError, DES_BLOCK_BYTES, Sm4Key, TdesKey, decrypt_ecb, encrypt_ecb};

/// Ciphers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CipherName {
    /// DES or TDES, by the length of the key.
    Tdes,
    /// AES.
    Aes,
    /// SM4.
    Sm4,
}

impl CipherName {
    /// Every cipher.
    pub const ALL: [Self; 3] = [Self::Tdes, Self::Aes, Self::Sm4];

    /// Its name.
    pub fn text(self) -> &'static str {
        match self {
            Self::Tdes => "TDES",
            Self::Aes => "AES",
            Self::Sm4 => "SM4",
        }
    }

    /// The cipher that is likeliest meant with a key of this length.
    pub fn likely(key_bytes: usize) -> Self {
        if key_bytes == 32 { Self::Aes } else { Self::Tdes }
    }
}

/// A keyed cipher.
pub enum Cipher {
    /// DES or TDES.
    Tdes(TdesKey),
    /// AES.
    Aes(AesKey),
    /// SM4.
    Sm4(Sm4Key),
}

/// Does the same with whichever cipher it is.
macro_rules! with_cipher {
    ($cipher:expr, $key:ident => $work:expr) => {
        match $cipher {
            $crate::calc::cipher::Cipher::Tdes($key) => $work,
            $crate::calc::cipher::Cipher::Aes($key) => $work,
            $crate::calc::cipher::Cipher::Sm4($key) => $work,
        }
    };
}
pub(super) use with_cipher;

impl Cipher {
    /// Expands a key.
    pub fn new(name: CipherName, key: &[u8]) -> Result<Self, CryptoError> {
        Ok(match name {
            CipherName::Tdes => Self::Tdes(TdesKey::new(key)?),
            CipherName::Aes => Self::Aes(AesKey::new(key)?),
            CipherName::Sm4 => Self::Sm4(Sm4Key::new(key)?),
        })
    }

    /// Length of a block.
    pub fn block_bytes(&self) -> usize {
        if let Self::Tdes(_) = self { DES_BLOCK_BYTES } else { AES_BLOCK_BYTES }
    }

    /// A block of zeros enciphered.
    pub fn zero_block(&self) -> Vec<u8> {
        with_cipher!(self, key => zero_block_check_value(key).to_vec())
    }

    /// Whole blocks enciphered, each by itself.
    pub fn encrypted(&self, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut data = data.to_vec();
        with_cipher!(self, key => encrypt_ecb(key, &mut data))?;
        Ok(data)
    }

    /// Whole blocks deciphered, each by itself.
    pub fn decrypted(&self, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut data = data.to_vec();
        with_cipher!(self, key => decrypt_ecb(key, &mut data))?;
        Ok(data)
    }

    /// CBC-MAC, untruncated.
    pub fn cbc_mac(&self, data: &[u8], padding: Padding) -> Vec<u8> {
        with_cipher!(self, key => cbc_mac(key, data, padding).to_vec())
    }

    /// CMAC, untruncated.
    pub fn cmac(&self, data: &[u8]) -> Vec<u8> {
        with_cipher!(self, key => cmac(key, data).to_vec())
    }

    /// Both subkeys of CMAC.
    pub fn cmac_subkeys(&self) -> [Vec<u8>; 2] {
        with_cipher!(self, key => cmac_subkeys(key).map(|subkey| subkey.to_vec()))
    }
}

/// A DES key's first, second and last part, as TDES uses them.
pub fn parts(key: &[u8]) -> Result<[TdesKey; 3], CryptoError> {
    let (first, second, last) = match key.len() {
        8 => (key, key, key),
        16 => (&key[..8], &key[8..], &key[..8]),
        24 => (&key[..8], &key[8..16], &key[16..]),
        other => return Err(CryptoError::KeyLength(other)),
    };
    Ok([TdesKey::new(first)?, TdesKey::new(second)?, TdesKey::new(last)?])
}
