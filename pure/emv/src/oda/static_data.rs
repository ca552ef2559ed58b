//! The static data to be authenticated (EMV 4.4 Book 2 §5.4 and §6.4, Book 3 §10.3).

use super::OdaError;
use tlv::tags;

/// Joins the signed records with what the tag list, tag 9F4A, adds: only the AIP is allowed there.
///
/// # Errors
/// [`OdaError::SignedRecord`] when a signed record was unusable (`records` is `None`), [`OdaError::TagList`].
pub fn build(records: Option<&[u8]>, tag_list: Option<&[u8]>, aip: &[u8]) -> Result<Vec<u8>, OdaError> {
    let mut data = records.ok_or(OdaError::SignedRecord)?.to_vec();
    match tag_list {
        None => {}
        Some(list) if list == [tags::AIP.number() as u8] => data.extend_from_slice(aip),
        Some(_) => return Err(OdaError::TagList),
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_aip_may_be_listed() {
        assert_eq!(build(Some(&[1]), Some(&[0x82]), &[0x5C, 0]), Ok(vec![1, 0x5C, 0]));
        assert_eq!(build(Some(&[1]), None, &[0x5C, 0]), Ok(vec![1]));
        assert_eq!(build(Some(&[1]), Some(&[0x82, 0x5A]), &[0x5C, 0]), Err(OdaError::TagList));
        assert_eq!(build(None, None, &[0x5C, 0]), Err(OdaError::SignedRecord));
    }
}
