//! Payment cryptography.
//!
//! * **Duty:** every cipher, MAC, PIN block, key derivation and cryptogram that cards, terminals and hosts agree on,
//!   as plain functions of keys and bytes.
//! * **Knows:** DES/TDES, AES, SM4, their modes; SM2 and SM3; ISO 9564, ISO 9797-1, ISO 16609, ANSI X9.143 key
//!   blocks, EMV Book 2, PBOC 3.0 and the UnionPay POS rules for working keys, tracks and F64.
//! * **Never:** keeps a key longer than its owner does, prints one, draws a random number or decides who may use what.
//!   Randomness is an argument; permission belongs to the key process.
//! * **Start here:** [`TdesKey`] and [`BlockCipher`], then [`mac`], [`pin_block`] and [`emv`].

mod aes_key;
mod block;
pub mod card_verification;
pub mod ccm;
pub mod check_value;
mod decimal_digits;
mod des;
mod des_tables;
pub mod dukpt;
pub mod emv;
mod error;
pub mod gcm;
pub mod key_block;
pub mod key_material;
pub mod key_wrap;
pub mod mac;
pub mod padding;
mod pin;
pub mod pin_block;
pub mod pin_block_extended;
pub mod pin_verification;
pub mod sm2;
mod sm3;
mod sm4;
mod sm4_sbox;
pub mod stream;
mod tdes;
pub mod token;
pub mod track;
pub mod working_keys;

pub use aes_key::AesKey;
pub use block::{AES_BLOCK_BYTES, BlockCipher, DES_BLOCK_BYTES, decrypt_cbc, decrypt_ecb, encrypt_cbc, encrypt_ecb};
pub use decimal_digits::SecretDigits;
pub use error::CryptoError;
pub use key_material::KeyBytes;
pub use sm3::{SM3_DIGEST_BYTES, sm3};
pub use sm4::{SM4_KEY_BYTES, SM4_ROUNDS, Sm4Key};
pub use tdes::{TdesKey, TdesKeyLength};

pub use types::Pin;

use subtle::ConstantTimeEq;

/// Compares two byte strings without revealing where they differ; unequal lengths are simply unequal.
#[must_use]
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
