//! The card's own certificates: its key, tag 9F46 (EMV 4.4 Book 2 §6.4), and its PIN key, tag 9F2D (§7.1).

use super::issuer::nibbles;
use super::recovered::{Recovered, join_modulus, take};
use super::{HASH_ALGORITHM_SHA1, KEY_ALGORITHM_RSA, OdaError, RsaPublicKey};
use crate::date::EmvDate;

/// Format byte of a card certificate.
pub const FORMAT: u8 = 0x04;
/// Bytes of the PAN field.
pub const PAN_BYTES: usize = 10;

const FILLER_NIBBLE: u8 = 0x0F;

/// A card certificate that was recovered with the issuer's key; its frame is checked, its hash is not yet.
#[derive(Clone, PartialEq, Eq)]
pub struct IccCertificate {
    recovered: Recovered,
    /// PAN, `F` filled to 20 digits.
    pub pan: [u8; PAN_BYTES],
    /// Last month of validity, MMYY.
    pub expiry: [u8; 2],
    /// Serial number.
    pub serial_number: [u8; 3],
    /// Hash algorithm indicator.
    pub hash_algorithm: u8,
    /// Public key algorithm indicator.
    pub key_algorithm: u8,
    /// Bytes of the card's modulus.
    pub modulus_length: u8,
    /// Bytes of the card's exponent.
    pub exponent_length: u8,
    modulus_area: Vec<u8>,
}

/// What a card certificate is verified against.
#[derive(Clone, Copy, Default)]
pub struct IccChecks<'a> {
    /// Public key remainder, tag 9F48 or 9F2F; empty when absent.
    pub remainder: &'a [u8],
    /// Public key exponent, tag 9F47 or 9F2E.
    pub exponent: &'a [u8],
    /// Static data to be authenticated; empty for the PIN key.
    pub static_data: &'a [u8],
    /// Application PAN, tag 5A; `None` leaves the PAN unchecked.
    pub pan: Option<&'a [u8]>,
    /// Transaction date; `None` leaves the expiry unchecked.
    pub date: Option<EmvDate>,
}

/// Recovers a card certificate and reads it.
///
/// # Errors
/// A signature that does not fit the key, or a frame that is not a card certificate's.
pub fn recover(issuer_key: &RsaPublicKey, certificate: &[u8]) -> Result<IccCertificate, OdaError> {
    let recovered = Recovered::open(issuer_key, certificate, FORMAT)?;
    let mut fields = recovered.fields();
    let pan = take(&mut fields)?;
    let expiry = take(&mut fields)?;
    let serial_number = take(&mut fields)?;
    let [hash_algorithm, key_algorithm, modulus_length, exponent_length] = take(&mut fields)?;
    let modulus_area = fields.to_vec();
    Ok(IccCertificate {
        pan,
        expiry,
        serial_number,
        hash_algorithm,
        key_algorithm,
        modulus_length,
        exponent_length,
        modulus_area,
        recovered,
    })
}

impl IccCertificate {
    /// The recovered bytes, header to trailer.
    pub fn recovered(&self) -> &[u8] {
        self.recovered.bytes()
    }

    /// The hash as signed.
    pub fn hash(&self) -> [u8; super::HASH_BYTES] {
        self.recovered.hash()
    }

    /// The card's modulus, joined with its remainder, without verifying anything.
    ///
    /// # Errors
    /// [`OdaError::Length`], [`OdaError::DataMissing`].
    pub fn modulus(&self, remainder: &[u8]) -> Result<Vec<u8>, OdaError> {
        join_modulus(&self.modulus_area, usize::from(self.modulus_length), remainder)
    }

    /// Verifies the certificate and returns the card's key.
    ///
    /// # Errors
    /// The first of Book 2 §6.4 steps 4–11 that fails.
    pub fn verify(&self, checks: &IccChecks<'_>) -> Result<RsaPublicKey, OdaError> {
        if self.hash_algorithm != HASH_ALGORITHM_SHA1 {
            return Err(OdaError::HashAlgorithm);
        }
        let missing = checks.remainder.is_empty() && usize::from(self.modulus_length) > self.modulus_area.len();
        if missing {
            return Err(OdaError::DataMissing);
        }
        self.recovered.verify_hash(&[checks.remainder, checks.exponent, checks.static_data])?;
        if checks.pan.is_some_and(|pan| without_filler(pan) != without_filler(&self.pan)) {
            return Err(OdaError::Pan);
        }
        if checks.date.is_some_and(|date| !date.is_within_certificate_month(self.expiry)) {
            return Err(OdaError::Expired);
        }
        if self.key_algorithm != KEY_ALGORITHM_RSA {
            return Err(OdaError::KeyAlgorithm);
        }
        if usize::from(self.exponent_length) != checks.exponent.len() {
            return Err(OdaError::Length);
        }
        RsaPublicKey::new(&self.modulus(checks.remainder)?, checks.exponent)
    }
}

fn without_filler(pan: &[u8]) -> Vec<u8> {
    let mut digits = nibbles(pan);
    while digits.last() == Some(&FILLER_NIBBLE) {
        digits.pop();
    }
    digits
}
