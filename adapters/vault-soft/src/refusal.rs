//! How errors of the arithmetic become refusals: coarse, so that none of them is an oracle.

use crate::entropy::EntropyFailure;
use keys::Refusal;
use paycrypto::CryptoError;

/// The refusal for an error of the arithmetic.
pub fn of_crypto(error: CryptoError) -> Refusal {
    match error {
        CryptoError::KeyLength(_) | CryptoError::DoubleLengthNeeded => Refusal::WrongKey,
        CryptoError::AccountNumber | CryptoError::Track => Refusal::AccountData,
        CryptoError::PinBlock | CryptoError::PinBlockControl => Refusal::PinBlock,
        CryptoError::Integrity => Refusal::NotAuthentic,
        CryptoError::CheckValue => Refusal::KeyCheck,
        _ => Refusal::Parameter,
    }
}

/// A vault without random numbers cannot work.
pub fn of_entropy(_: EntropyFailure) -> Refusal {
    Refusal::Unavailable
}
