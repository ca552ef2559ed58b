//! The issuer public key certificate, tag 90 (EMV 4.4 Book 2 §5.3).

use super::recovered::{Recovered, join_modulus, take};
use super::{HASH_ALGORITHM_SHA1, KEY_ALGORITHM_RSA, OdaError, RsaPublicKey};
use crate::date::EmvDate;

/// Format byte of an issuer certificate.
pub const FORMAT: u8 = 0x02;

const FILLER_NIBBLE: u8 = 0x0F;

/// An issuer certificate that was recovered with the scheme's key; its frame is checked, its hash is not yet.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuerCertificate {
    recovered: Recovered,
    /// Leftmost 3–8 digits of the PAN, `F` filled.
    pub issuer_identifier: [u8; 4],
    /// Last month of validity, MMYY.
    pub expiry: [u8; 2],
    /// Serial number, the key of the revocation list.
    pub serial_number: [u8; 3],
    /// Hash algorithm indicator.
    pub hash_algorithm: u8,
    /// Public key algorithm indicator.
    pub key_algorithm: u8,
    /// Bytes of the issuer's modulus.
    pub modulus_length: u8,
    /// Bytes of the issuer's exponent.
    pub exponent_length: u8,
    modulus_area: Vec<u8>,
}

/// What an issuer certificate is verified against.
#[derive(Clone, Copy, Default)]
pub struct IssuerChecks<'a> {
    /// Issuer public key remainder, tag 92; empty when absent.
    pub remainder: &'a [u8],
    /// Issuer public key exponent, tag 9F32.
    pub exponent: &'a [u8],
    /// Application PAN, tag 5A; `None` leaves the issuer identifier unchecked.
    pub pan: Option<&'a [u8]>,
    /// Transaction date; `None` leaves the expiry unchecked.
    pub date: Option<EmvDate>,
}

/// Recovers an issuer certificate and reads it.
///
/// # Errors
/// A signature that does not fit the key, or a frame that is not an issuer certificate's.
pub fn recover(capk: &RsaPublicKey, certificate: &[u8]) -> Result<IssuerCertificate, OdaError> {
    let recovered = Recovered::open(capk, certificate, FORMAT)?;
    let mut fields = recovered.fields();
    let issuer_identifier = take(&mut fields)?;
    let expiry = take(&mut fields)?;
    let serial_number = take(&mut fields)?;
    let [hash_algorithm, key_algorithm, modulus_length, exponent_length] = take(&mut fields)?;
    let modulus_area = fields.to_vec();
    Ok(IssuerCertificate {
        issuer_identifier,
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

impl IssuerCertificate {
    /// The recovered bytes, header to trailer.
    pub fn recovered(&self) -> &[u8] {
        self.recovered.bytes()
    }

    /// The hash as signed.
    pub fn hash(&self) -> [u8; super::HASH_BYTES] {
        self.recovered.hash()
    }

    /// Verifies the certificate and returns the issuer's key.
    ///
    /// # Errors
    /// The first of Book 2 §5.3 steps 4–12 that fails. Revocation is the caller's check.
    pub fn verify(&self, checks: &IssuerChecks<'_>) -> Result<RsaPublicKey, OdaError> {
        if self.hash_algorithm != HASH_ALGORITHM_SHA1 {
            return Err(OdaError::HashAlgorithm);
        }
        let missing = checks.remainder.is_empty() && usize::from(self.modulus_length) > self.modulus_area.len();
        if missing {
            return Err(OdaError::DataMissing);
        }
        self.recovered.verify_hash(&[checks.remainder, checks.exponent])?;
        if checks.pan.is_some_and(|pan| !self.matches_pan(pan)) {
            return Err(OdaError::IssuerIdentifier);
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
        let modulus = join_modulus(&self.modulus_area, usize::from(self.modulus_length), checks.remainder)?;
        RsaPublicKey::new(&modulus, checks.exponent)
    }

    /// Whether the issuer identifier is a prefix of the PAN: three to eight digits, then filler.
    fn matches_pan(&self, pan: &[u8]) -> bool {
        let digits = nibbles(&self.issuer_identifier);
        let significant = digits.iter().position(|&digit| digit == FILLER_NIBBLE).unwrap_or(digits.len());
        let filler_only = digits[significant..].iter().all(|&digit| digit == FILLER_NIBBLE);
        significant >= 3 && filler_only && nibbles(pan).starts_with(&digits[..significant])
    }
}

/// The half bytes of BCD data.
pub(crate) fn nibbles(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]).collect()
}
