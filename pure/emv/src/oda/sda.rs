//! Signed static application data, tag 93 (EMV 4.4 Book 2 §5.4).

use super::recovered::{Recovered, take};
use super::{HASH_ALGORITHM_SHA1, OdaError, RsaPublicKey};

/// Format byte of signed static data.
pub const FORMAT: u8 = 0x03;

/// Recovered static data; its frame is checked, its hash is not yet.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedStaticData {
    recovered: Recovered,
    /// Hash algorithm indicator.
    pub hash_algorithm: u8,
    /// Data authentication code, kept as tag 9F45.
    pub data_authentication_code: [u8; 2],
}

/// Recovers signed static data and reads it.
///
/// # Errors
/// A signature that does not fit the key, or a frame that is not static data's.
pub fn recover(issuer_key: &RsaPublicKey, signature: &[u8]) -> Result<SignedStaticData, OdaError> {
    let recovered = Recovered::open(issuer_key, signature, FORMAT)?;
    let mut fields = recovered.fields();
    let [hash_algorithm] = take(&mut fields)?;
    let data_authentication_code = take(&mut fields)?;
    Ok(SignedStaticData { hash_algorithm, data_authentication_code, recovered })
}

impl SignedStaticData {
    /// The recovered bytes, header to trailer.
    pub fn recovered(&self) -> &[u8] {
        self.recovered.bytes()
    }

    /// Verifies the signature over the static data and returns the data authentication code.
    ///
    /// # Errors
    /// [`OdaError::HashAlgorithm`], [`OdaError::Hash`].
    pub fn verify(&self, static_data: &[u8]) -> Result<[u8; 2], OdaError> {
        if self.hash_algorithm != HASH_ALGORITHM_SHA1 {
            return Err(OdaError::HashAlgorithm);
        }
        self.recovered.verify_hash(&[static_data])?;
        Ok(self.data_authentication_code)
    }
}
