//! The tag of a BER-TLV data object (EMV 4.4 Book 3 Annex B1, ISO/IEC 8825-1).

use crate::ber::TlvError;
use core::fmt;

/// Longest tag field accepted, in bytes. EMV uses three at most (`DF8101`).
pub const MAX_TAG_BYTES: usize = 4;

const CLASS_MASK: u8 = 0xC0;
const CONSTRUCTED_BIT: u8 = 0x20;
const LONG_FORM: u8 = 0x1F;
const MORE_TAG_BYTES: u8 = 0x80;

/// A tag as it stands on the wire: the number is the tag bytes read big-endian, so `Tag::new(0x9F02)` is `9F02`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u32);

/// The class in bits 8 and 7 of the first tag byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagClass {
    /// `00`: defined by ISO/IEC 8824.
    Universal,
    /// `01`: interindustry.
    Application,
    /// `10`: meaning depends on the template.
    ContextSpecific,
    /// `11`: issuer, scheme or terminal defined.
    Private,
}

impl TagClass {
    /// The usual spelling of the class.
    pub fn name(self) -> &'static str {
        match self {
            TagClass::Universal => "universal",
            TagClass::Application => "application",
            TagClass::ContextSpecific => "context-specific",
            TagClass::Private => "private",
        }
    }
}

impl Tag {
    /// A tag from its bytes written as one number. Meant for constants.
    pub const fn new(bytes_as_number: u32) -> Self {
        Tag(bytes_as_number)
    }

    /// Reads the tag field at `offset`.
    ///
    /// # Errors
    /// [`TlvError::TagTruncated`] when the bytes end inside the tag, [`TlvError::TagTooLong`] past [`MAX_TAG_BYTES`].
    pub fn read(bytes: &[u8], offset: usize) -> Result<(Tag, usize), TlvError> {
        let first = *bytes.get(offset).ok_or(TlvError::TagTruncated { offset })?;
        let mut number = u32::from(first);
        if first & LONG_FORM != LONG_FORM {
            return Ok((Tag(number), 1));
        }
        for length in 2..=MAX_TAG_BYTES {
            let position = offset + length - 1;
            let byte = *bytes.get(position).ok_or(TlvError::TagTruncated { offset: position })?;
            number = number << 8 | u32::from(byte);
            if byte & MORE_TAG_BYTES == 0 {
                return Ok((Tag(number), length));
            }
        }
        Err(TlvError::TagTooLong { offset })
    }

    /// Reads bytes that hold exactly one tag.
    ///
    /// # Errors
    /// As [`Tag::read`], and [`TlvError::TrailingBytes`] when bytes follow the tag.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tag, TlvError> {
        let (tag, length) = Tag::read(bytes, 0)?;
        if length != bytes.len() {
            return Err(TlvError::TrailingBytes { offset: length });
        }
        Ok(tag)
    }

    /// The tag bytes as one number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Number of bytes of the tag field.
    pub const fn encoded_len(self) -> usize {
        match self.0 {
            0..=0xFF => 1,
            0x100..=0xFFFF => 2,
            0x1_0000..=0xFF_FFFF => 3,
            _ => 4,
        }
    }

    /// Appends the tag field to `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        let bytes = self.0.to_be_bytes();
        out.extend_from_slice(&bytes[MAX_TAG_BYTES - self.encoded_len()..]);
    }

    fn first_byte(self) -> u8 {
        self.0.to_be_bytes()[MAX_TAG_BYTES - self.encoded_len()]
    }

    /// Whether the value is itself a sequence of TLV objects.
    pub fn is_constructed(self) -> bool {
        self.first_byte() & CONSTRUCTED_BIT != 0
    }

    /// The class of the tag.
    pub fn class(self) -> TagClass {
        match self.first_byte() & CLASS_MASK {
            0x00 => TagClass::Universal,
            0x40 => TagClass::Application,
            0x80 => TagClass::ContextSpecific,
            _ => TagClass::Private,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$X}", self.0, width = self.encoded_len() * 2)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tags_read_and_write_the_same_bytes() {
        for number in [0x57, 0x9F02, 0xBF0C, 0x1F8102, 0xDF8101, 0x9F8001] {
            let mut bytes = Vec::new();
            Tag::new(number).write(&mut bytes);
            assert_eq!(Tag::from_bytes(&bytes), Ok(Tag::new(number)));
        }
    }

    #[test]
    fn a_tag_that_never_ends_is_refused() {
        assert!(matches!(Tag::from_bytes(&[0x9F, 0x81, 0x82, 0x83, 0x04]), Err(TlvError::TagTooLong { offset: 0 })));
        assert_eq!(Tag::from_bytes(&[0x9F]), Err(TlvError::TagTruncated { offset: 1 }));
    }
}
