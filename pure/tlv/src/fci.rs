//! File Control Information, template 6F: what SELECT answers (EMV 4.4 Book 1 §11.3.4).

use crate::ber::{Element, Elements, TlvError, find, single_template};
use crate::tag::Tag;
use crate::tags;

/// Shortest DF name (a RID).
pub const MIN_DF_NAME_BYTES: usize = 5;
/// Longest DF name.
pub const MAX_DF_NAME_BYTES: usize = 16;

/// The FCI of a directory or an application, borrowed from the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Fci<'a> {
    /// DF name, tag 84, 5–16 bytes.
    pub df_name: &'a [u8],
    /// The objects of the proprietary template A5; empty when the template is absent.
    pub proprietary: Vec<Element<'a>>,
    /// Whether template A5 was there. It is mandatory for a payment application.
    pub has_proprietary_template: bool,
}

impl<'a> Fci<'a> {
    /// Reads the response data field (without status word).
    ///
    /// # Errors
    /// Another template than 6F, bytes after it, a missing or badly sized DF name, or malformed TLV.
    pub fn parse(bytes: &'a [u8]) -> Result<Fci<'a>, TlvError> {
        let template = single_template(bytes, tags::FCI_TEMPLATE)?;
        let objects = Elements::at(template.value, template.value_offset).collect::<Result<Vec<_>, _>>()?;
        let name = first(&objects, tags::DF_NAME).ok_or(TlvError::Missing { tag: tags::DF_NAME })?;
        if !(MIN_DF_NAME_BYTES..=MAX_DF_NAME_BYTES).contains(&name.value.len()) {
            return Err(TlvError::ValueLength { tag: tags::DF_NAME, offset: name.value_offset });
        }
        let proprietary = first(&objects, tags::FCI_PROPRIETARY_TEMPLATE);
        Ok(Fci {
            df_name: name.value,
            has_proprietary_template: proprietary.is_some(),
            proprietary: match proprietary {
                Some(inner) => Elements::at(inner.value, inner.value_offset).collect::<Result<Vec<_>, _>>()?,
                None => Vec::new(),
            },
        })
    }

    /// The value of an object of template A5.
    pub fn get(&self, tag: Tag) -> Option<&'a [u8]> {
        first(&self.proprietary, tag).map(|element| element.value)
    }

    /// Processing options data object list, tag 9F38.
    pub fn pdol(&self) -> Option<&'a [u8]> {
        self.get(tags::PDOL)
    }

    /// Application label, tag 50.
    pub fn label(&self) -> Option<&'a [u8]> {
        self.get(tags::APPLICATION_LABEL)
    }

    /// Short file identifier of the payment system directory, tag 88, 1–10; only the PSE has it.
    pub fn directory_sfi(&self) -> Option<u8> {
        match self.get(tags::DIRECTORY_SFI) {
            Some(&[sfi @ 1..=10]) => Some(sfi),
            _ => None,
        }
    }

    /// Issuer discretionary data, template BF0C.
    ///
    /// # Errors
    /// Malformed TLV inside the template.
    pub fn discretionary(&self, tag: Tag) -> Result<Option<&'a [u8]>, TlvError> {
        match self.get(tags::FCI_DISCRETIONARY_TEMPLATE) {
            Some(bytes) => find(bytes, tag),
            None => Ok(None),
        }
    }
}

fn first<'e, 'a>(objects: &'e [Element<'a>], tag: Tag) -> Option<&'e Element<'a>> {
    objects.iter().find(|object| object.tag == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_of_four_bytes_is_refused() {
        assert!(matches!(Fci::parse(&[0x6F, 0x06, 0x84, 0x04, 1, 2, 3, 4]), Err(TlvError::ValueLength { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(fci) = Fci::parse(&bytes) {
                let _ = fci.discretionary(tags::LOG_ENTRY);
                let _ = fci.directory_sfi();
            }
        }
    }
}
