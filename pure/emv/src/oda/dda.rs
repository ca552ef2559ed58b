//! Signed dynamic application data, tag 9F4B, as INTERNAL AUTHENTICATE answers it (EMV 4.4 Book 2 §6.5).

use super::recovered::{Recovered, take};
use super::{HASH_ALGORITHM_SHA1, OdaError, RsaPublicKey};

/// Format byte of signed dynamic data.
pub const FORMAT: u8 = 0x05;
/// Shortest and longest ICC dynamic number, in bytes.
pub const DYNAMIC_NUMBER_BYTES: core::ops::RangeInclusive<usize> = 2..=8;

/// Recovered dynamic data; its frame is checked, its hash is not yet.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedDynamicData {
    recovered: Recovered,
    /// Hash algorithm indicator.
    pub hash_algorithm: u8,
    /// ICC dynamic data, without the padding behind it.
    pub dynamic_data: Vec<u8>,
}

/// Recovers signed dynamic data and reads it.
///
/// # Errors
/// A signature that does not fit the key, a frame that is not dynamic data's, or a length that does not fit.
pub fn recover(icc_key: &RsaPublicKey, signature: &[u8]) -> Result<SignedDynamicData, OdaError> {
    let recovered = Recovered::open(icc_key, signature, FORMAT)?;
    let mut fields = recovered.fields();
    let [hash_algorithm, length] = take(&mut fields)?;
    let dynamic_data = fields.get(..usize::from(length)).ok_or(OdaError::Length)?.to_vec();
    Ok(SignedDynamicData { hash_algorithm, dynamic_data, recovered })
}

impl SignedDynamicData {
    /// The recovered bytes, header to trailer.
    pub fn recovered(&self) -> &[u8] {
        self.recovered.bytes()
    }

    /// The ICC dynamic number at the front of the dynamic data, kept as tag 9F4C.
    ///
    /// # Errors
    /// [`OdaError::Length`] when it is not 2–8 bytes long.
    pub fn dynamic_number(&self) -> Result<&[u8], OdaError> {
        let (&length, rest) = self.dynamic_data.split_first().ok_or(OdaError::Length)?;
        let length = usize::from(length);
        if !DYNAMIC_NUMBER_BYTES.contains(&length) {
            return Err(OdaError::Length);
        }
        rest.get(..length).ok_or(OdaError::Length)
    }

    /// Verifies the signature over the data the terminal sent.
    ///
    /// # Errors
    /// [`OdaError::HashAlgorithm`], [`OdaError::Hash`].
    pub fn verify(&self, terminal_data: &[u8]) -> Result<(), OdaError> {
        if self.hash_algorithm != HASH_ALGORITHM_SHA1 {
            return Err(OdaError::HashAlgorithm);
        }
        self.recovered.verify_hash(&[terminal_data])
    }
}

/// Recovers and verifies the answer to INTERNAL AUTHENTICATE; returns the ICC dynamic number.
///
/// # Errors
/// The first check that fails.
pub fn verify(icc_key: &RsaPublicKey, signature: &[u8], ddol_data: &[u8]) -> Result<Vec<u8>, OdaError> {
    let signed = recover(icc_key, signature)?;
    signed.verify(ddol_data)?;
    Ok(signed.dynamic_number()?.to_vec())
}
