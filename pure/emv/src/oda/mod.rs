//! Offline data authentication: static, dynamic and combined (EMV 4.4 Book 2 §5–6).
//!
//! A chain of three keys: the scheme's ([`Capk`]), the issuer's ([`issuer`]) and the card's ([`icc`]). Each signature is
//! first recovered and read ([`sda`], [`dda`]) and then verified against the data it covers. Every check has its own
//! [`OdaError`], so that a failed card can be explained.

pub mod capk;
pub mod cda;
pub mod dda;
pub mod icc;
pub mod issuer;
mod recovered;
pub mod rsa;
pub mod sda;
pub mod static_data;

pub use capk::{Capk, CapkError, CapkParts, CapkSet, RevocationList, Sm2Capk};
pub use rsa::RsaPublicKey;

use thiserror::Error;

/// Hash algorithm indicator of SHA-1, the only one of RSA certificates.
pub const HASH_ALGORITHM_SHA1: u8 = 0x01;
/// Public key algorithm indicator of RSA.
pub const KEY_ALGORITHM_RSA: u8 = 0x01;
/// Bytes of a SHA-1 hash.
pub const HASH_BYTES: usize = 20;
/// Most bytes of an RSA modulus on a card (Book 2 Annex D).
pub const MAX_MODULUS_BYTES: usize = 248;

/// Which check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OdaError {
    /// The modulus is empty, even, or longer than [`MAX_MODULUS_BYTES`].
    #[error("RSA modulus is unusable")]
    Modulus,
    /// The exponent is neither 3 nor 65537.
    #[error("RSA exponent is neither 3 nor 65537")]
    Exponent,
    /// The signature is not as long as the key, or not below the modulus.
    #[error("signature does not fit the key")]
    SignatureLength,
    /// The recovered trailer is not `BC`.
    #[error("recovered data trailer is not BC")]
    Trailer,
    /// The recovered header is not `6A`.
    #[error("recovered data header is not 6A")]
    Header,
    /// The format byte is another certificate's or signature's.
    #[error("certificate or signed data format is wrong")]
    Format,
    /// The hash algorithm is unknown.
    #[error("hash algorithm indicator is unknown")]
    HashAlgorithm,
    /// The public key algorithm is unknown.
    #[error("public key algorithm indicator is unknown")]
    KeyAlgorithm,
    /// The hash does not match.
    #[error("hash does not match")]
    Hash,
    /// A length inside the recovered data contradicts its size, or the remainder or exponent beside it.
    #[error("a length in the recovered data does not fit")]
    Length,
    /// The issuer identifier does not match the PAN.
    #[error("issuer identifier does not match the PAN")]
    IssuerIdentifier,
    /// The PAN of the certificate is not the application's.
    #[error("certificate PAN is not the application PAN")]
    Pan,
    /// The certificate has expired.
    #[error("certificate has expired")]
    Expired,
    /// The issuer certificate is on the revocation list.
    #[error("certificate is revoked")]
    Revoked,
    /// No key for the RID and index the card names.
    #[error("certification authority public key is not loaded")]
    CapkMissing,
    /// The certification authority key has expired.
    #[error("certification authority public key has expired")]
    CapkExpired,
    /// A card object the chain needs is missing.
    #[error("card data for authentication is missing")]
    DataMissing,
    /// The static data list names something other than the AIP.
    #[error("static data authentication tag list names more than the AIP")]
    TagList,
    /// A signed record is not a well-formed template.
    #[error("a signed record is unusable")]
    SignedRecord,
    /// The DDOL is unusable or does not ask for the unpredictable number.
    #[error("DDOL does not ask for the unpredictable number")]
    Ddol,
    /// The cryptogram information data signed differs from the one answered.
    #[error("signed cryptogram information data differs")]
    CryptogramInformation,
    /// The signed hash of the transaction data differs.
    #[error("transaction data hash does not match")]
    TransactionDataHash,
    /// The answer holds no signature.
    #[error("answer holds no signed dynamic application data")]
    SignatureMissing,
}

#[cfg(test)]
pub(crate) mod test_keys;
