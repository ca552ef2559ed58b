//! Data object lists: tag and length pairs that say what to concatenate (EMV 4.4 Book 3 §5.4).

use crate::ber::TlvError;
use crate::dictionary::{self, Format};
use crate::tag::Tag;
use thiserror::Error;

/// Most bytes of a list accepted; a list has to fit a record.
pub const MAX_DOL_BYTES: usize = 252;

/// Shortest entry, in bytes: a tag of one byte and the length.
const ENTRY_BYTES_MIN: usize = 2;

const PAD_BINARY: u8 = 0x00;
const PAD_COMPRESSED_NUMERIC: u8 = 0xFF;

/// Why a list or its data is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DolError {
    /// A tag is cut or too long.
    #[error(transparent)]
    Tag(#[from] TlvError),
    /// The last entry has no length.
    #[error("entry {tag} has no length at offset {offset}")]
    LengthMissing {
        /// The entry's tag.
        tag: Tag,
        /// Where the length should stand.
        offset: usize,
    },
    /// Longer than [`MAX_DOL_BYTES`].
    #[error("list of {length} bytes")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Data to split that is not as long as the list says.
    #[error("{actual} bytes of data where the list asks for {expected}")]
    DataLength {
        /// Bytes the list asks for.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
}

/// One object asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DolEntry {
    /// Which object.
    pub tag: Tag,
    /// How many bytes of it.
    pub length: u8,
}

/// A data object list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dol {
    entries: Vec<DolEntry>,
}

impl Dol {
    /// Reads the value of a DOL object (9F38, 8C, 8D, 9F49, 97, 9F4F).
    ///
    /// # Errors
    /// See [`DolError`].
    pub fn parse(bytes: &[u8]) -> Result<Dol, DolError> {
        if bytes.len() > MAX_DOL_BYTES {
            return Err(DolError::TooLong { length: bytes.len() });
        }
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES_MIN);
        let mut offset = 0;
        while offset < bytes.len() {
            let (tag, tag_length) = Tag::read(bytes, offset)?;
            offset += tag_length;
            let length = *bytes.get(offset).ok_or(DolError::LengthMissing { tag, offset })?;
            offset += 1;
            entries.push(DolEntry { tag, length });
        }
        Ok(Dol { entries })
    }

    /// The entries in order.
    pub fn entries(&self) -> &[DolEntry] {
        &self.entries
    }

    /// Whether the list asks for an object.
    pub fn asks_for(&self, tag: Tag) -> bool {
        self.entries.iter().any(|entry| entry.tag == tag)
    }

    /// How many bytes the data will have.
    pub fn total_length(&self) -> usize {
        self.entries.iter().map(|entry| usize::from(entry.length)).sum()
    }

    /// Concatenates the objects. Templates and objects `value_of` does not have become zeros; longer and shorter values
    /// are cut or padded by their format.
    pub fn build<'v>(&self, value_of: impl Fn(Tag) -> Option<&'v [u8]>) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.total_length());
        for entry in &self.entries {
            let value = if entry.tag.is_constructed() { None } else { value_of(entry.tag) };
            append_fitted(entry, value.unwrap_or_default(), value.is_some(), &mut data);
        }
        data
    }

    /// Splits data built from this list back into objects.
    ///
    /// # Errors
    /// [`DolError::DataLength`].
    pub fn split<'d>(&self, data: &'d [u8]) -> Result<Vec<(Tag, &'d [u8])>, DolError> {
        if data.len() != self.total_length() {
            return Err(DolError::DataLength { expected: self.total_length(), actual: data.len() });
        }
        let mut rest = data;
        Ok(self
            .entries
            .iter()
            .map(|entry| {
                let (value, after) = rest.split_at(usize::from(entry.length));
                rest = after;
                (entry.tag, value)
            })
            .collect())
    }

    /// The value of the DOL object.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in &self.entries {
            entry.tag.write(&mut bytes);
            bytes.push(entry.length);
        }
        bytes
    }
}

fn append_fitted(entry: &DolEntry, value: &[u8], present: bool, data: &mut Vec<u8>) {
    let wanted = usize::from(entry.length);
    let format = dictionary::lookup(entry.tag).map_or(Format::Binary, |info| info.format);
    if value.len() >= wanted {
        let kept = match format {
            Format::Numeric => &value[value.len() - wanted..],
            _ => &value[..wanted],
        };
        data.extend_from_slice(kept);
        return;
    }
    let missing = wanted - value.len();
    match format {
        Format::Numeric => {
            data.resize(data.len() + missing, PAD_BINARY);
            data.extend_from_slice(value);
        }
        Format::CompressedNumeric if present => {
            data.extend_from_slice(value);
            data.resize(data.len() + missing, PAD_COMPRESSED_NUMERIC);
        }
        _ => {
            data.extend_from_slice(value);
            data.resize(data.len() + missing, PAD_BINARY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_cut_and_padded_by_format() {
        let dol = Dol::parse(&[0x9F, 0x02, 3, 0x9F, 0x03, 7, 0x95, 6, 0x9A, 0, 0x9C, 3, 0x9F, 0x37, 3, 0x5A, 4])
            .expect("valid");
        let data = dol.build(|tag| match tag.number() {
            0x9F02 => Some(&[0, 1, 0x23, 0x45, 0x67, 0x89]),
            0x9F03 => Some(&[0, 9, 0x87, 0x65, 0x43, 0x21]),
            0x95 => Some(&[0x12, 0x34, 0x55, 0x43, 0x21]),
            0x9A => Some(&[0x24, 2, 0x17]),
            0x9C => Some(&[9]),
            0x9F37 => Some(&[0xDE, 0xAD, 0xBE, 0xEF]),
            0x5A => Some(&[0x62, 0x22]),
            _ => None,
        });
        let expected = [
            &[0x45, 0x67, 0x89][..],
            &[0, 0, 9, 0x87, 0x65, 0x43, 0x21],
            &[0x12, 0x34, 0x55, 0x43, 0x21, 0],
            &[0, 0, 9],
            &[0xDE, 0xAD, 0xBE],
            &[0x62, 0x22, 0xFF, 0xFF],
        ]
        .concat();
        assert_eq!(data, expected);
    }

    #[test]
    fn an_absent_compressed_numeric_is_zeros() {
        let dol = Dol::parse(&[0x5A, 2]).expect("valid");
        assert_eq!(dol.build(|_| None), [0, 0]);
    }

    proptest! {
        #[test]
        fn building_then_splitting_keeps_every_length(bytes in proptest::collection::vec(any::<u8>(), 0..60), fill in any::<[u8; 5]>()) {
            if let Ok(dol) = Dol::parse(&bytes) {
                prop_assert_eq!(dol.encode(), bytes);
                let data = dol.build(|_| Some(&fill));
                prop_assert_eq!(data.len(), dol.total_length());
                prop_assert!(dol.split(&data).is_ok_and(|parts| parts.len() == dol.entries().len()));
            }
        }
    }
}
