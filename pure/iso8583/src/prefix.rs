//! Length prefixes.

use crate::ebcdic;
use crate::error::{DecodeError, EncodeError, Expected, FieldPath, Found};
use crate::reader::Reader;

/// Most bytes of a length prefix.
pub const MAX_PREFIX_OCTETS: usize = 8;
/// Most decimal digits of a length prefix.
const MAX_PREFIX_DIGITS: u8 = 9;

/// Largest number of so many decimal digits.
const DECIMAL_CAPACITY: [usize; MAX_PREFIX_DIGITS as usize + 1] =
    [0, 9, 99, 999, 9_999, 99_999, 999_999, 9_999_999, 99_999_999, 999_999_999];

/// Largest number of so many bits.
const fn binary_capacity(bits: u32) -> usize {
    if bits >= usize::BITS { usize::MAX } else { (1 << bits) - 1 }
}

/// How a length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixCoding {
    /// ASCII decimal digits.
    Ascii,
    /// EBCDIC decimal digits.
    Ebcdic,
    /// Packed decimal digits, right-aligned.
    Bcd,
    /// Unsigned big-endian integer.
    Binary,
    /// Hexadecimal ASCII characters.
    HexAscii,
}

/// A length prefix: coding, bytes on the wire, and how many decimal digits may be used of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthPrefix {
    /// How the length is written.
    pub coding: PrefixCoding,
    /// Bytes on the wire.
    pub octets: u8,
    /// Decimal digits that may be used (decimal codings only).
    pub digits: u8,
}

impl LengthPrefix {
    /// `digits` ASCII digits.
    #[must_use]
    pub const fn ascii(digits: u8) -> Self {
        Self { coding: PrefixCoding::Ascii, octets: digits, digits }
    }

    /// `digits` EBCDIC digits.
    #[must_use]
    pub const fn ebcdic(digits: u8) -> Self {
        Self { coding: PrefixCoding::Ebcdic, octets: digits, digits }
    }

    /// `digits` packed digits, an odd count with a zero nibble before them (LLLVAR: `0LLL`).
    #[must_use]
    pub const fn bcd(digits: u8) -> Self {
        Self { coding: PrefixCoding::Bcd, octets: digits.div_ceil(2), digits }
    }

    /// `octets` bytes of packed digits, all of them usable.
    #[must_use]
    pub const fn bcd_octets(octets: u8) -> Self {
        Self { coding: PrefixCoding::Bcd, octets, digits: octets.saturating_mul(2) }
    }

    /// `octets` bytes big-endian.
    #[must_use]
    pub const fn binary(octets: u8) -> Self {
        Self { coding: PrefixCoding::Binary, octets, digits: 0 }
    }

    /// `octets` bytes big-endian, written as twice as many hexadecimal characters.
    #[must_use]
    pub const fn hex_ascii(octets: u8) -> Self {
        Self { coding: PrefixCoding::HexAscii, octets: octets.saturating_mul(2), digits: 0 }
    }

    pub(crate) const fn is_possible(&self) -> bool {
        let octets = self.octets as usize;
        octets > 0 && octets <= MAX_PREFIX_OCTETS && self.digits <= MAX_PREFIX_DIGITS
    }

    /// Largest length that can be written.
    #[must_use]
    #[inline]
    pub const fn capacity(&self) -> usize {
        match self.coding {
            PrefixCoding::Ascii | PrefixCoding::Ebcdic | PrefixCoding::Bcd => {
                let digits = if self.digits > MAX_PREFIX_DIGITS { MAX_PREFIX_DIGITS } else { self.digits };
                DECIMAL_CAPACITY[digits as usize]
            }
            PrefixCoding::Binary => binary_capacity(self.octets as u32 * 8),
            PrefixCoding::HexAscii => binary_capacity(self.octets as u32 * 4),
        }
    }

    /// Reads a length of at most `max`.
    ///
    /// # Errors
    /// The prefix is cut, is not a number, or is above `max` or the prefix's own capacity.
    #[inline(always)]
    pub fn read(&self, reader: &mut Reader<'_>, max: usize, path: FieldPath) -> Result<usize, DecodeError> {
        let wire = reader.take(usize::from(self.octets), path)?;
        match self.parse(wire) {
            Some(length) if length <= max && length <= self.capacity() => Ok(length),
            other => Err(self.refused(other, max, path, reader.position())),
        }
    }

    #[cold]
    fn refused(&self, length: Option<usize>, max: usize, path: FieldPath, end: usize) -> DecodeError {
        let (expected, found) = match length {
            Some(length) => (Expected::AtMost(max.min(self.capacity())), Found::Length(length)),
            None => (Expected::DecimalLength, Found::Other("other characters")),
        };
        DecodeError::new(end - usize::from(self.octets), path, expected, found).until(end)
    }

    #[inline(always)]
    fn parse(&self, wire: &[u8]) -> Option<usize> {
        match self.coding {
            // Nearly every prefix of a packed dialect has one or two bytes.
            PrefixCoding::Bcd => match *wire {
                [low] => packed_decimal(low).map(usize::from),
                [high, low] => Some(usize::from(packed_decimal(high)?) * 100 + usize::from(packed_decimal(low)?)),
                _ => fold(wire, 100, packed_decimal),
            },
            PrefixCoding::Ascii => fold(wire, 10, decimal),
            PrefixCoding::Binary => fold(wire, 256, Some),
            PrefixCoding::Ebcdic => fold(wire, 10, |byte| decimal(ebcdic::to_latin1(byte))),
            PrefixCoding::HexAscii => fold(wire, 16, |byte| char::from(byte).to_digit(16).map(|digit| digit as u8)),
        }
    }

    /// Appends `length`, which may be at most `max`.
    ///
    /// # Errors
    /// `length` is above `max` or does not fit the prefix.
    #[inline]
    pub fn write(&self, length: usize, max: usize, path: FieldPath, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let limit = max.min(self.capacity());
        if length > limit {
            return Err(EncodeError::new(path, Expected::AtMost(limit), Found::Length(length)));
        }
        if self.coding == PrefixCoding::Bcd && self.octets <= 2 {
            if self.octets == 2 {
                out.push(packed((length / 100) as u8));
            }
            out.push(packed((length % 100) as u8));
            return Ok(());
        }
        self.write_other(length, out);
        Ok(())
    }

    fn write_other(&self, length: usize, out: &mut Vec<u8>) {
        let octets = usize::from(self.octets).min(MAX_PREFIX_OCTETS);
        let mut wire = [0_u8; MAX_PREFIX_OCTETS];
        let mut rest = length;
        for place in wire[..octets].iter_mut().rev() {
            (*place, rest) = match self.coding {
                PrefixCoding::Ascii => (b'0' + (rest % 10) as u8, rest / 10),
                PrefixCoding::Ebcdic => (0xF0 + (rest % 10) as u8, rest / 10),
                PrefixCoding::Bcd => (packed((rest % 100) as u8), rest / 100),
                PrefixCoding::Binary => (rest as u8, rest >> 8),
                PrefixCoding::HexAscii => (b"0123456789ABCDEF"[rest & 0x0F], rest >> 4),
            };
        }
        out.extend_from_slice(&wire[..octets]);
    }
}

/// Two decimal digits in one byte.
const fn packed(below_100: u8) -> u8 {
    below_100 / 10 * 16 + below_100 % 10
}

#[inline]
fn fold(wire: &[u8], base: usize, value: impl Fn(u8) -> Option<u8>) -> Option<usize> {
    let mut total = 0_usize;
    for &byte in wire {
        total = total.checked_mul(base)?.checked_add(usize::from(value(byte)?))?;
    }
    Some(total)
}

const fn decimal(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        _ => None,
    }
}

const fn packed_decimal(byte: u8) -> Option<u8> {
    if byte & 0x0F > 9 || byte > 0x99 {
        return None;
    }
    Some((byte >> 4) * 10 + (byte & 0x0F))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: FieldPath = FieldPath::Field(2);

    #[test]
    fn written_lengths_read_back_and_limits_hold() {
        let prefixes = [
            LengthPrefix::ascii(3),
            LengthPrefix::ebcdic(2),
            LengthPrefix::bcd(3),
            LengthPrefix::bcd_octets(1),
            LengthPrefix::binary(1),
            LengthPrefix::binary(3),
            LengthPrefix::hex_ascii(1),
        ];
        for prefix in prefixes {
            for length in [0, 1, 9, 10, 99, 100, 255, 256, 999, 1000, 65_535] {
                let mut out = Vec::new();
                let written = prefix.write(length, usize::MAX, PATH, &mut out);
                assert_eq!(written.is_ok(), length <= prefix.capacity());
                if written.is_ok() {
                    let read = prefix.read(&mut Reader::new(&out), length, PATH);
                    assert_eq!(read, Ok(length));
                }
            }
        }
    }

    #[test]
    fn bcd_of_three_digits_refuses_a_fourth() {
        let error = LengthPrefix::bcd(3).read(&mut Reader::new(&[0x12, 0x34]), 9999, PATH);
        assert_eq!(error.unwrap_err().expected, Expected::AtMost(999));
    }

    #[test]
    fn letters_are_not_a_length() {
        let error = LengthPrefix::ascii(2).read(&mut Reader::new(b"1A"), 99, PATH).unwrap_err();
        assert_eq!((error.offset, error.end, error.expected), (0, 2, Expected::DecimalLength));
    }
}
