//! Ciphers by the processor's own instructions, behind `paycrypto`'s trait.
//!
//! * **Duty:** [`FastAesKey`] and [`FastSm4Key`]: the same ciphers as `paycrypto`'s, several times as fast where the
//!   processor can (AES-NI; GFNI with AVX2 or AVX-512), found out at run time; elsewhere `paycrypto`'s own. Without
//!   tables, so their time does not depend on keys or data.
//! * **Knows:** instruction sets. The only file of this crate with `unsafe` in it is `x86.rs`.
//! * **Never:** decides what a key is for, keeps one longer than its owner does, prints one.
//! * **Start here:** [`FastAesKey::new`], [`FastSm4Key::new`].
//!
//! DES and TDES have no place here: no processor helps with them, and `paycrypto`'s are the fastest that were found.

mod aes;
#[cfg(not(target_arch = "x86_64"))]
mod portable;
mod sm4;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(not(target_arch = "x86_64"))]
use portable as x86;

pub use aes::FastAesKey;
pub use sm4::FastSm4Key;

/// Block length of AES and SM4 in bytes.
const BLOCK_BYTES: usize = paycrypto::AES_BLOCK_BYTES;

type Block = [u8; BLOCK_BYTES];
