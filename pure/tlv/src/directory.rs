//! Application entries, template 61: of the PSE's records and of the PPSE's FCI (EMV 4.4 Book 1 §12.2.3, Book B §3.3.1).

use crate::ber::{Element, Elements, TlvError, single_template};
use crate::fci::{Fci, MAX_DF_NAME_BYTES, MIN_DF_NAME_BYTES};
use crate::tags;

/// Most entries taken from one directory structure; a card with more is ignored beyond it.
pub const MAX_ENTRIES: usize = 64;

const PRIORITY_MASK: u8 = 0x0F;
const CONFIRMATION_BIT: u8 = 0x80;

/// One application the card offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// ADF name, tag 4F, 5–16 bytes.
    pub aid: Vec<u8>,
    /// Application label, tag 50, as the card wrote it.
    pub label: Option<Vec<u8>>,
    /// Application preferred name, tag 9F12.
    pub preferred_name: Option<Vec<u8>>,
    /// Priority 1 (first) to 15, tag 87; `None` when the card assigns none.
    pub priority: Option<u8>,
    /// The cardholder must confirm before this application is used (tag 87, bit 8).
    pub confirmation_required: bool,
    /// Kernel identifier, tag 9F2A, contactless only.
    pub kernel_identifier: Option<Vec<u8>>,
}

/// Splits tag 87 into priority and the confirmation flag.
pub fn split_priority(indicator: Option<&[u8]>) -> (Option<u8>, bool) {
    match indicator {
        Some(&[byte]) => (Some(byte & PRIORITY_MASK).filter(|&priority| priority != 0), byte & CONFIRMATION_BIT != 0),
        _ => (None, false),
    }
}

impl DirectoryEntry {
    /// Reads the value of one template 61.
    ///
    /// # Errors
    /// A missing ADF name, one outside 5–16 bytes, or malformed TLV.
    pub fn parse(template: &Element<'_>) -> Result<DirectoryEntry, TlvError> {
        let objects = Elements::at(template.value, template.value_offset).collect::<Result<Vec<_>, _>>()?;
        let get = |tag| objects.iter().find(|object| object.tag == tag).map(|object| object.value);
        let aid = get(tags::ADF_NAME).ok_or(TlvError::Missing { tag: tags::ADF_NAME })?;
        if !(MIN_DF_NAME_BYTES..=MAX_DF_NAME_BYTES).contains(&aid.len()) {
            return Err(TlvError::ValueLength { tag: tags::ADF_NAME, offset: template.value_offset });
        }
        let (priority, confirmation_required) = split_priority(get(tags::APPLICATION_PRIORITY_INDICATOR));
        Ok(DirectoryEntry {
            aid: aid.to_vec(),
            label: get(tags::APPLICATION_LABEL).map(<[u8]>::to_vec),
            preferred_name: get(tags::APPLICATION_PREFERRED_NAME).map(<[u8]>::to_vec),
            priority,
            confirmation_required,
            kernel_identifier: get(tags::KERNEL_IDENTIFIER).map(<[u8]>::to_vec),
        })
    }
}

/// Reads one record of the payment system directory (template 70 with templates 61). Objects other than application
/// entries (old DDF entries, 9D) are ignored.
///
/// # Errors
/// Another template than 70, a bad entry, or malformed TLV.
pub fn parse_record(bytes: &[u8]) -> Result<Vec<DirectoryEntry>, TlvError> {
    let record = single_template(bytes, tags::RECORD_TEMPLATE)?;
    parse_entries(record.value, record.value_offset)
}

/// Reads the FCI of the proximity payment system environment, `2PAY.SYS.DDF01`.
///
/// # Errors
/// No entry, a bad entry, another template than 6F, or malformed TLV.
pub fn parse_ppse(bytes: &[u8]) -> Result<Vec<DirectoryEntry>, TlvError> {
    let template = single_template(bytes, tags::FCI_TEMPLATE)?;
    let proprietary = inner(&template, tags::FCI_PROPRIETARY_TEMPLATE)?;
    let discretionary = inner(&proprietary, tags::FCI_DISCRETIONARY_TEMPLATE)?;
    let entries = parse_entries(discretionary.value, discretionary.value_offset)?;
    if entries.is_empty() {
        return Err(TlvError::Missing { tag: tags::APPLICATION_TEMPLATE });
    }
    Ok(entries)
}

/// Whether an FCI is that of a payment system environment for contact cards.
pub fn is_pse(fci: &Fci<'_>) -> bool {
    fci.df_name == crate::tags::PSE_NAME
}

fn inner<'a>(template: &Element<'a>, tag: crate::Tag) -> Result<Element<'a>, TlvError> {
    for element in Elements::at(template.value, template.value_offset) {
        let element = element?;
        if element.tag == tag {
            return Ok(element);
        }
    }
    Err(TlvError::Missing { tag })
}

fn parse_entries(bytes: &[u8], base: usize) -> Result<Vec<DirectoryEntry>, TlvError> {
    let mut entries = Vec::new();
    for element in Elements::at(bytes, base) {
        let element = element?;
        if element.tag == tags::APPLICATION_TEMPLATE && entries.len() < MAX_ENTRIES {
            entries.push(DirectoryEntry::parse(&element)?);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn priority_and_confirmation_are_split() {
        assert_eq!(split_priority(Some(&[0x81])), (Some(1), true));
        assert_eq!(split_priority(Some(&[0x80])), (None, true));
        assert_eq!(split_priority(None), (None, false));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_ppse(&bytes);
            let _ = parse_record(&bytes);
        }
    }
}
