//! SM2: signature, encryption and key exchange on an elliptic curve (GB/T 32918-2016, GM/T 0003-2012).
//!
//! * **Duty:** the four algorithms on the recommended curve, or on another one for the standard's own examples.
//! * **Never:** draws a random number. Each operation that needs one takes 32 bytes; if they are out of range, or give
//!   a value that the standard forbids, the error is [`CryptoError::Scalar`] or [`CryptoError::DrawAgain`] and the
//!   caller draws others.
//! * **Start here:** [`PrivateKey::sign`], [`PublicKey::verify`], [`PublicKey::encrypt`], [`KeyExchange`].
//!
//! Arithmetic is constant-time: Montgomery multiplication, complete addition formulas, tables read in full.

mod curve;
mod encryption;
mod integer;
mod key;
mod key_exchange;
mod signature;

pub use curve::{AffinePoint, COORDINATE_BYTES, Coordinate, Curve, CurveParameters, POINT_BYTES};
pub use encryption::{CiphertextOrder, SM2_OVERHEAD_BYTES};
pub use key::{DEFAULT_USER_ID, PrivateKey, PublicKey, USER_ID_BYTES_MAX};
pub use key_exchange::{AgreedKey, Ephemeral, KeyExchange, Role};
pub use signature::{SIGNATURE_BYTES, Signature};

use zeroize::Zeroizing;

use crate::sm3::{SM3_DIGEST_BYTES, sm3};
use crate::{CryptoError, constant_time_eq};

/// The key derivation function of GB/T 32918.3 §5.4.3: SM3 over the input and a counter from 1.
fn derive(input: &[&[u8]], length: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let blocks = length.div_ceil(SM3_DIGEST_BYTES);
    let last = u32::try_from(blocks).map_err(|_| CryptoError::DataLength(length))?;
    let mut derived = Zeroizing::new(Vec::with_capacity(blocks * SM3_DIGEST_BYTES));
    for counter in 1..=last {
        let counter = counter.to_be_bytes();
        let parts: Vec<&[u8]> = input.iter().copied().chain([&counter[..]]).collect();
        derived.extend(sm3(&parts));
    }
    derived.truncate(length);
    Ok(derived)
}

fn is_all_zero(bytes: &[u8]) -> bool {
    constant_time_eq(&[bytes.iter().fold(0, |all, byte| all | byte)], &[0])
}
