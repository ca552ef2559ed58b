//! The checks that a transaction passed, in the order in which it did.

use machine::wire::{Encode, Malformed, Reader, Writer};

/// Longest list of checks.
const CHECKS_MAX: usize = 4096;
/// Bytes of a count or a length.
const LENGTH_BYTES: usize = 4;

/// Sentences for people, kept as they stand in a record: an open batch is full of them, and hardly anybody reads them.
#[derive(Clone, PartialEq, Eq)]
pub struct Checks {
    /// A four-byte count, then each text behind its length.
    encoded: Vec<u8>,
}

impl Checks {
    /// The sentences.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut reader = Reader::new(&self.encoded);
        let count = reader.u32().unwrap_or(0);
        (0..count).map_while(move |_| reader.text().ok())
    }
}

impl<'a> FromIterator<&'a str> for Checks {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let texts: Vec<&str> = texts.into_iter().collect();
        let lengths = texts.iter().map(|text| LENGTH_BYTES + text.len());
        let mut writer = Writer::with_room(LENGTH_BYTES + lengths.sum::<usize>());
        writer.list(&texts, |writer, text| {
            writer.text(text);
        });
        Self { encoded: writer.into_bytes() }
    }
}

impl core::fmt::Debug for Checks {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl Encode for Checks {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.encoded);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let encoded = reader.covered(|reader| {
            let count = reader.u32()? as usize;
            if count > CHECKS_MAX {
                return Err(reader.malformed("a shorter list"));
            }
            (0..count).try_for_each(|_| reader.bytes().map(drop))
        })?;
        // Short lengths are ASCII too, so one look at the whole list is enough for most.
        if !encoded.is_ascii() {
            let mut texts = Reader::new(encoded);
            texts.list(|reader| reader.text().map(drop)).map_err(|_| reader.malformed("UTF-8 texts"))?;
        }
        Ok(Self { encoded: encoded.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_come_back_and_are_a_list_of_texts() {
        let checks: Checks = ["MAC right", "卡在册"].into_iter().collect();
        assert_eq!(checks.iter().collect::<Vec<_>>(), ["MAC right", "卡在册"]);
        let mut writer = Writer::default();
        writer.list(&["MAC right", "卡在册"], |writer, text| {
            writer.text(text);
        });
        let bytes = writer.into_bytes();
        assert_eq!(checks.to_bytes(), bytes);
        assert_eq!(Checks::from_bytes(&bytes), Ok(checks));
        assert!((0..bytes.len()).all(|length| Checks::from_bytes(&bytes[..length]).is_err()));
        assert!(Checks::from_bytes(&[0, 1, 0, 0]).is_err());
        assert!(Checks::from_bytes(&[0, 0, 0, 1, 0, 0, 0, 1, 0xFF]).is_err());
        assert!(Checks::from_bytes(&[0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b']).is_ok());
    }
}
