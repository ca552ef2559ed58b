//! Combined dynamic data authentication: the signature that GENERATE AC answers (EMV 4.4 Book 2 §6.6).

use super::dda::{self, SignedDynamicData};
use super::recovered::{sha1, take};
use super::{HASH_BYTES, OdaError, RsaPublicKey};
use tlv::{Elements, tags};

/// What the card signed over.
#[derive(Clone, Copy)]
pub struct TransactionHashInput<'a> {
    /// Values sent by GET PROCESSING OPTIONS, without template.
    pub pdol_data: &'a [u8],
    /// Values sent by the first GENERATE AC.
    pub cdol1_data: &'a [u8],
    /// Values sent by the second GENERATE AC; empty for the first.
    pub cdol2_data: &'a [u8],
    /// The objects answered, in order, tag and length included, without tag 9F4B.
    pub response_objects: &'a [u8],
}

impl TransactionHashInput<'_> {
    /// The transaction data hash code.
    pub fn hash(&self) -> [u8; HASH_BYTES] {
        sha1(&[self.pdol_data, self.cdol1_data, self.cdol2_data, self.response_objects])
    }
}

/// What a verified combined signature contains.
#[derive(Clone, PartialEq, Eq)]
pub struct CombinedData {
    /// ICC dynamic number, tag 9F4C.
    pub dynamic_number: Vec<u8>,
    /// Cryptogram information data as signed.
    pub cryptogram_information: u8,
    /// Application cryptogram, tag 9F26.
    pub application_cryptogram: [u8; 8],
    /// Transaction data hash code as signed.
    pub transaction_data_hash: [u8; HASH_BYTES],
}

/// Reads the combined fields of recovered dynamic data.
///
/// # Errors
/// [`OdaError::Length`].
pub fn read(signed: &SignedDynamicData) -> Result<CombinedData, OdaError> {
    let dynamic_number = signed.dynamic_number()?.to_vec();
    let mut fields = &signed.dynamic_data[1 + dynamic_number.len()..];
    let [cryptogram_information] = take(&mut fields)?;
    let application_cryptogram = take(&mut fields)?;
    let transaction_data_hash = take(&mut fields)?;
    Ok(CombinedData { dynamic_number, cryptogram_information, application_cryptogram, transaction_data_hash })
}

/// Recovers and verifies the signature of a GENERATE AC answer.
///
/// # Errors
/// The first of Book 2 §6.6.2 that fails.
pub fn verify(
    icc_key: &RsaPublicKey,
    signature: &[u8],
    unpredictable_number: &[u8],
    answered_cryptogram_information: u8,
    input: &TransactionHashInput<'_>,
) -> Result<CombinedData, OdaError> {
    let signed = dda::recover(icc_key, signature)?;
    signed.verify(unpredictable_number)?;
    let combined = read(&signed)?;
    if combined.cryptogram_information != answered_cryptogram_information {
        return Err(OdaError::CryptogramInformation);
    }
    if combined.transaction_data_hash != input.hash() {
        return Err(OdaError::TransactionDataHash);
    }
    Ok(combined)
}

/// The objects of a format 2 answer without the signature, as the hash covers them. `objects` is the content of
/// template 77; padding between objects is not covered.
pub fn response_objects_without_signature(objects: &[u8]) -> Vec<u8> {
    Elements::new(objects)
        .map_while(Result::ok)
        .filter(|element| element.tag != tags::SIGNED_DYNAMIC_APPLICATION_DATA)
        .flat_map(|element| element.encoded.to_vec())
        .collect()
}
