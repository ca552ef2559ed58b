//! F59: two-character tag, three ASCII digits of length, value (unionpay-pos §2.5).

use crate::error::{DecodeError, Expected, FieldPath};
use crate::prefix::LengthPrefix;
use crate::reader::Reader;

const LENGTH: LengthPrefix = LengthPrefix::ascii(3);
const VALUE_LIMIT: usize = 999;

/// One tag of F59.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag59<'a> {
    /// Two characters: `A1` SM4 PIN block, `A2` registration, `A3` payment code, `A4` voucher,
    /// `A5` location.
    pub tag: [u8; 2],
    /// Its value.
    pub value: &'a [u8],
}

impl core::fmt::Debug for Tag59<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let tag = String::from_utf8_lossy(&self.tag);
        write!(f, "Tag59({tag}, {} bytes)", self.value.len())
    }
}

/// The tags of F59, in order.
///
/// # Errors
/// A cut tag or value, or a length without digits; the offset counts from the first byte of F59.
pub fn parse_tags59(field: &[u8]) -> Result<Vec<Tag59<'_>>, DecodeError> {
    let mut reader = Reader::new(field);
    let mut tags = Vec::new();
    while reader.remaining() > 0 {
        let tag = reader.take(2, FieldPath::Field(59))?;
        let tag: [u8; 2] = tag.try_into().unwrap_or_default();
        let path = FieldPath::Tag(59, hex_tag(tag));
        let length = LENGTH.read(&mut reader, VALUE_LIMIT, path)?;
        tags.push(Tag59 { tag, value: reader.take(length, path)? });
    }
    Ok(tags)
}

/// The tag's characters as a hexadecimal number, for error paths; 0 if they are something else.
fn hex_tag(tag: [u8; 2]) -> u16 {
    tag.iter()
        .try_fold(0, |total, &character| {
            let digit = char::from(character).to_digit(16)?;
            Some(total << 4 | digit as u16)
        })
        .unwrap_or(0)
}

/// F59 from tags.
///
/// # Errors
/// A value above 999 bytes.
pub fn format_tags59(tags: &[Tag59<'_>]) -> Result<Vec<u8>, crate::EncodeError> {
    let mut out = Vec::with_capacity(tags.iter().map(|tag| 5 + tag.value.len()).sum());
    for tag in tags {
        out.extend_from_slice(&tag.tag);
        let path = FieldPath::Tag(59, hex_tag(tag.tag));
        LENGTH.write(tag.value.len(), VALUE_LIMIT, path, &mut out)?;
        out.extend_from_slice(tag.value);
    }
    Ok(out)
}

impl Tag59<'_> {
    /// The first of `tags` with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find<'a>(tags: &[Tag59<'a>], name: [u8; 2]) -> Result<Tag59<'a>, DecodeError> {
        let missing =
            DecodeError::new(0, FieldPath::Tag(59, hex_tag(name)), Expected::Value("this tag"), crate::Found::Nothing);
        tags.iter().copied().find(|tag| tag.tag == name).ok_or(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back_and_cuts_are_named() {
        let tags = [Tag59 { tag: *b"A1", value: &[0xFF; 16] }, Tag59 { tag: *b"A3", value: b"6212345678901234567" }];
        let field = format_tags59(&tags).unwrap();
        assert_eq!(&field[..5], b"A1016");
        assert_eq!(parse_tags59(&field).unwrap(), tags);
        for length in (1..field.len()).filter(|&length| length != 21) {
            let error = parse_tags59(&field[..length]).unwrap_err();
            assert!(error.offset <= length);
        }
        let found = Tag59::find(&tags, *b"A3").unwrap();
        assert_eq!(found.value.len(), 19);
        assert_eq!(Tag59::find(&tags, *b"A5").unwrap_err().path.to_string(), "59.A5");
    }
}
