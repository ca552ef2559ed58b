//! The characters of a value and their bytes on the wire.

use crate::ebcdic;
use crate::error::{Expected, Found};
use crate::spec::{Count, Encoding, FieldSpec, Form, Kind, NibbleAlphabet, OddPad};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Why characters or bytes do not fit a field.
pub(crate) type Mismatch = (Expected, Found);

/// The nibbles of a packed value, filler left out.
#[derive(Clone, Debug)]
pub struct Nibbles<'a> {
    wire: &'a [u8],
    next: usize,
    end: usize,
}

impl<'a> Nibbles<'a> {
    fn new(wire: &'a [u8], count: usize, odd: OddPad) -> Self {
        let skip = usize::from(count % 2 == 1 && matches!(odd, OddPad::Left(_)));
        let end = (skip + count).min(wire.len().saturating_mul(2));
        Self { wire, next: skip.min(end), end }
    }
}

impl Iterator for Nibbles<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        if self.next >= self.end {
            return None;
        }
        let byte = *self.wire.get(self.next / 2)?;
        let nibble = if self.next.is_multiple_of(2) { byte >> 4 } else { byte & 0x0F };
        self.next += 1;
        Some(nibble)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Nibbles<'_> {}

impl NibbleAlphabet {
    /// The character of a nibble, in Latin-1.
    #[must_use]
    #[inline]
    pub const fn character(self, nibble: u8) -> u8 {
        match self {
            Self::Offset30 => 0x30 + (nibble & 0x0F),
            Self::TrackEquals if nibble == 0x0D => b'=',
            _ => HEX[(nibble & 0x0F) as usize],
        }
    }

    /// The nibble of a character.
    #[must_use]
    #[inline]
    pub const fn nibble(self, character: u8) -> Option<u8> {
        match (self, character) {
            (Self::Offset30, 0x30..=0x3F) => Some(character - 0x30),
            (Self::Offset30, _) => None,
            (_, b'0'..=b'9') => Some(character - b'0'),
            (Self::Decimal, _) => None,
            (Self::TrackEquals, b'=') => Some(0x0D),
            (_, b'A'..=b'F') => Some(character - b'A' + 10),
            (_, b'a'..=b'f') => Some(character - b'a' + 10),
            _ => None,
        }
    }
}

impl FieldSpec {
    /// Nibbles that `count` units hold, for packed encodings.
    const fn nibble_count(&self, count: usize) -> usize {
        match self.count {
            Count::Octets => count * 2,
            Count::Nibbles => count,
            Count::SignedCharacters => count.saturating_sub(1),
        }
    }

    /// The nibbles of `wire`, which holds `count` units.
    pub(crate) fn nibbles<'a>(&self, wire: &'a [u8], count: usize) -> Nibbles<'a> {
        Nibbles::new(wire, self.nibble_count(count), self.odd)
    }

    /// Whether `wire`, which holds `count` units, is content of this field.
    #[inline(always)]
    pub(crate) fn fits(&self, wire: &[u8], count: usize) -> bool {
        match self.form {
            Form::Octets | Form::Text => true,
            // An odd count may be irregular only in its filler.
            Form::Digits => is_packed_decimal(wire) || self.check(wire, count).is_ok(),
            Form::Printable => wire.iter().all(|byte| matches!(byte, 0x20..=0x7E)),
            Form::Other => self.check(wire, count).is_ok(),
        }
    }

    /// As [`FieldSpec::fits`], with the reason.
    #[inline(never)]
    pub(crate) fn check(&self, wire: &[u8], count: usize) -> Result<(), Mismatch> {
        match self.encoding {
            Encoding::Octets => {}
            Encoding::Packed(NibbleAlphabet::Decimal) => self.check_digits(wire, count)?,
            Encoding::SignedPacked => self.check_digits(wire.get(1..).unwrap_or_default(), count)?,
            Encoding::Packed(_) => {}
            Encoding::Latin1 => self.check_kind(wire.iter().copied())?,
            Encoding::Ascii => {
                check_ascii(wire)?;
                self.check_kind(wire.iter().copied())?;
            }
            Encoding::Ebcdic => self.check_kind(wire.iter().map(|&byte| ebcdic::to_latin1(byte)))?,
            Encoding::HexAscii => check_hex(wire)?,
        }
        if self.count == Count::Nibbles && count % 2 == 1 && self.odd == OddPad::Refused {
            return Err((Expected::EvenCount, Found::Length(count)));
        }
        Ok(())
    }

    /// The filler nibble of an odd count may hold anything (unionpay-pos §2), so only an irregular
    /// value is walked nibble by nibble.
    fn check_digits(&self, wire: &[u8], count: usize) -> Result<(), Mismatch> {
        if is_packed_decimal(wire) {
            return Ok(());
        }
        match self.nibbles(wire, count).find(|&nibble| nibble > 9) {
            Some(nibble) => Err((Expected::DecimalDigits, Found::Code(u32::from(nibble)))),
            None => Ok(()),
        }
    }

    #[inline]
    fn check_kind(&self, mut characters: impl Iterator<Item = u8>) -> Result<(), Mismatch> {
        let (expected, wrong) = match self.kind {
            Kind::Numeric => (Expected::DecimalDigits, characters.find(|byte| !byte.is_ascii_digit())),
            Kind::AlphaNumeric => (Expected::Printable, characters.find(|byte| !matches!(byte, 0x20..=0x7E))),
            _ => return Ok(()),
        };
        match wrong {
            Some(byte) => Err((expected, Found::Code(u32::from(byte)))),
            None => Ok(()),
        }
    }

    /// The characters of `wire`, which holds `count` units, each as its Latin-1 code.
    pub(crate) fn characters<'a>(&self, wire: &'a [u8], count: usize) -> Characters<'a> {
        match self.encoding {
            Encoding::Ascii | Encoding::Latin1 | Encoding::HexAscii => Characters::Latin1(wire.iter()),
            Encoding::Ebcdic => Characters::Ebcdic(wire.iter()),
            Encoding::Packed(alphabet) => Characters::Packed(self.nibbles(wire, count), alphabet),
            Encoding::SignedPacked => {
                let (sign, digits) = wire.split_at(wire.len().min(1));
                Characters::Signed(sign.first().copied(), self.nibbles(digits, count))
            }
            Encoding::Octets => {
                Characters::Packed(Nibbles::new(wire, wire.len() * 2, OddPad::Refused), NibbleAlphabet::Hex)
            }
        }
    }

    /// How many characters `wire`, which holds `count` units, stands for.
    #[inline]
    pub(crate) const fn character_count(&self, wire: &[u8], count: usize) -> usize {
        match self.encoding {
            Encoding::Packed(_) => self.nibble_count(count),
            Encoding::SignedPacked => count,
            Encoding::Octets => wire.len() * 2,
            _ => wire.len(),
        }
    }

    /// Fills `out`, which has [`FieldSpec::character_count`] places, with the characters.
    #[inline]
    pub(crate) fn copy_characters(&self, wire: &[u8], count: usize, out: &mut [u8]) {
        match self.encoding {
            Encoding::Ascii | Encoding::Latin1 | Encoding::HexAscii if wire.len() == out.len() => {
                out.copy_from_slice(wire);
            }
            Encoding::Packed(alphabet) => {
                let skip = usize::from(count % 2 == 1 && matches!(self.odd, OddPad::Left(_)));
                let (first, rest) = out.split_at_mut(skip.min(out.len()));
                if let (Some(place), Some(byte)) = (first.first_mut(), wire.first()) {
                    *place = alphabet.character(byte & 0x0F);
                }
                let (pairs, last) = rest.as_chunks_mut::<2>();
                let bytes = wire.get(skip..).unwrap_or_default();
                for (pair, &byte) in pairs.iter_mut().zip(bytes) {
                    *pair = [alphabet.character(byte >> 4), alphabet.character(byte & 0x0F)];
                }
                if let (Some(place), Some(byte)) = (last.first_mut(), wire.last()) {
                    *place = alphabet.character(byte >> 4);
                }
            }
            _ => {
                for (place, character) in out.iter_mut().zip(self.characters(wire, count)) {
                    *place = character;
                }
            }
        }
    }

    /// How many units the given number of characters has, before any fill.
    #[inline(always)]
    pub(crate) fn units(&self, characters: usize) -> Result<usize, Mismatch> {
        if matches!(self.form, Form::Digits | Form::Printable | Form::Text) {
            return Ok(characters);
        }
        let packed = matches!(self.encoding, Encoding::Packed(_) | Encoding::Octets);
        match (packed, self.count) {
            (true, Count::Octets) if characters % 2 == 1 => Err((Expected::EvenCount, Found::Length(characters))),
            (true, Count::Octets) => Ok(characters / 2),
            (false, Count::Nibbles) => Ok(characters * 2),
            _ => Ok(characters),
        }
    }

    /// Appends characters (Latin-1 codes) in this field's coding.
    #[inline]
    pub(crate) fn write_characters(&self, characters: &[u8], out: &mut Vec<u8>) -> Result<(), Mismatch> {
        match self.form {
            Form::Digits => pack(characters, NibbleAlphabet::Decimal, self.odd, out),
            Form::Text => {
                out.extend_from_slice(characters);
                Ok(())
            }
            Form::Printable => {
                self.check_kind(characters.iter().copied())?;
                out.extend_from_slice(characters);
                Ok(())
            }
            Form::Octets | Form::Other => self.write_other(characters, out),
        }
    }

    fn write_other(&self, characters: &[u8], out: &mut Vec<u8>) -> Result<(), Mismatch> {
        match self.encoding {
            Encoding::Packed(alphabet) => return pack(characters, alphabet, self.odd, out),
            Encoding::Octets => return pack(characters, NibbleAlphabet::Hex, OddPad::Refused, out),
            Encoding::SignedPacked => {
                let Some((&sign, digits)) = characters.split_first() else { return Ok(()) };
                out.push(sign);
                return pack(digits, NibbleAlphabet::Decimal, self.odd, out);
            }
            Encoding::Ebcdic => {
                self.check_kind(characters.iter().copied())?;
                out.extend(characters.iter().map(|&byte| ebcdic::from_latin1(byte)));
                return Ok(());
            }
            Encoding::HexAscii => check_hex(characters)?,
            Encoding::Latin1 => self.check_kind(characters.iter().copied())?,
            Encoding::Ascii => {
                check_ascii(characters)?;
                self.check_kind(characters.iter().copied())?;
            }
        }
        out.extend_from_slice(characters);
        Ok(())
    }
}

/// Whether no nibble is above nine: none has bit 3 together with bit 2 or bit 1.
#[inline(always)]
fn is_packed_decimal(wire: &[u8]) -> bool {
    let (words, rest) = wire.as_chunks::<8>();
    let mut wide = 0_u64;
    for word in words {
        let bits = u64::from_ne_bytes(*word);
        wide |= bits & (bits << 1 | bits << 2);
    }
    let (words, rest) = rest.as_chunks::<4>();
    let mut narrow = 0_u32;
    for word in words {
        let bits = u32::from_ne_bytes(*word);
        narrow |= bits & (bits << 1 | bits << 2);
    }
    // At most three bytes are left: the field is read as one number.
    let last = match *rest {
        [a, b, c] => u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c),
        [a, b] => u32::from(a) << 8 | u32::from(b),
        [a] => u32::from(a),
        _ => 0,
    };
    narrow |= last & (last << 1 | last << 2);
    wide & 0x8888_8888_8888_8888 == 0 && narrow & 0x8888_8888 == 0
}

fn check_ascii(characters: &[u8]) -> Result<(), Mismatch> {
    match characters.iter().find(|byte| !byte.is_ascii()) {
        Some(&byte) => Err((Expected::Ascii, Found::Code(u32::from(byte)))),
        None => Ok(()),
    }
}

fn check_hex(characters: &[u8]) -> Result<(), Mismatch> {
    match characters.iter().find(|byte| !byte.is_ascii_hexdigit()) {
        Some(&byte) => Err((Expected::HexDigits, Found::Code(u32::from(byte)))),
        None => Ok(()),
    }
}

/// Packs two characters a byte.
fn pack(characters: &[u8], alphabet: NibbleAlphabet, odd: OddPad, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let is_odd = characters.len() % 2 == 1;
    let rest = match (odd, characters) {
        (OddPad::Refused, _) if is_odd => {
            return Err((Expected::EvenCount, Found::Length(characters.len())));
        }
        (OddPad::Left(filler), [first, rest @ ..]) if is_odd => {
            out.push(filler << 4 | nibble(*first, alphabet)?);
            rest
        }
        _ => characters,
    };
    let (pairs, last) = rest.as_chunks::<2>();
    if alphabet == NibbleAlphabet::Decimal {
        pack_decimal(pairs.as_flattened(), out)?;
    } else {
        for &[high, low] in pairs {
            out.push(nibble(high, alphabet)? << 4 | nibble(low, alphabet)?);
        }
    }
    if let ([last], OddPad::Right(filler)) = (last, odd) {
        out.push(nibble(*last, alphabet)? << 4 | filler & 0x0F);
    }
    Ok(())
}

/// Packs an even number of decimal digits eight at a time, and looks only at the end whether all were digits.
#[inline]
fn pack_decimal(digits: &[u8], out: &mut Vec<u8>) -> Result<(), Mismatch> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    const TOP_BITS: u64 = 0x8080_8080_8080_8080;
    let (eights, rest) = digits.as_chunks::<8>();
    let mut wrong = 0_u64;
    for eight in eights {
        let values = u64::from_le_bytes(*eight) ^ ZEROS;
        wrong |= (values.wrapping_add(ABOVE_NINE) | values) & TOP_BITS;
        // High digit to the left nibble of each even byte, then the four even bytes together.
        let packed = (values << 4 | values >> 8) & 0x00FF_00FF_00FF_00FF;
        let packed = (packed | packed >> 8) & 0x0000_FFFF_0000_FFFF;
        out.extend_from_slice(&((packed | packed >> 16) as u32).to_le_bytes());
    }
    for &[high, low] in rest.as_chunks::<2>().0 {
        let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
        wrong |= u64::from(high > 9) | u64::from(low > 9);
        out.push(high << 4 | low & 0x0F);
    }
    if wrong == 0 {
        return Ok(());
    }
    let code = digits.iter().find(|digit| !digit.is_ascii_digit()).map_or(0, |&digit| u32::from(digit));
    Err((Expected::DecimalDigits, Found::Code(code)))
}

#[inline]
fn nibble(character: u8, alphabet: NibbleAlphabet) -> Result<u8, Mismatch> {
    alphabet.nibble(character).ok_or_else(|| {
        let expected = match alphabet {
            NibbleAlphabet::Decimal => Expected::DecimalDigits,
            NibbleAlphabet::Hex => Expected::HexDigits,
            NibbleAlphabet::TrackEquals | NibbleAlphabet::Offset30 => Expected::Alphabet,
        };
        (expected, Found::Code(u32::from(character)))
    })
}

/// The characters of a value as Latin-1 codes.
#[derive(Clone, Debug)]
pub enum Characters<'a> {
    /// One byte a character.
    Latin1(core::slice::Iter<'a, u8>),
    /// One EBCDIC byte a character.
    Ebcdic(core::slice::Iter<'a, u8>),
    /// One nibble a character.
    Packed(Nibbles<'a>, NibbleAlphabet),
    /// A sign character, then nibbles.
    Signed(Option<u8>, Nibbles<'a>),
}

impl Iterator for Characters<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        match self {
            Self::Latin1(bytes) => bytes.next().copied(),
            Self::Ebcdic(bytes) => bytes.next().map(|&byte| ebcdic::to_latin1(byte)),
            Self::Packed(nibbles, alphabet) => nibbles.next().map(|nibble| alphabet.character(nibble)),
            Self::Signed(sign, nibbles) => {
                sign.take().or_else(|| nibbles.next().map(|nibble| HEX[usize::from(nibble & 0x0F)]))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Self::Latin1(bytes) | Self::Ebcdic(bytes) => bytes.len(),
            Self::Packed(nibbles, _) => nibbles.len(),
            Self::Signed(sign, nibbles) => nibbles.len() + usize::from(sign.is_some()),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Characters<'_> {}
