//! The two layout languages of the published vectors, turned into [`Spec`] values.
//!
//! The caller has read a description (from JSON, say) into the plain structures below; nothing
//! here knows a file format. Any layout that can be described runs, compiled in or not.

use std::borrow::Cow;

use crate::bitmap::{BitmapCoding, BitmapExtent, BitmapSpec, MAX_FIELD, MAX_GROUPS};
use crate::error::{FieldPath, SpecError};
use crate::prefix::LengthPrefix;
use crate::spec::{Count, Encoding, FieldSpec, Kind, MTI_DIGITS, NibbleAlphabet, OddPad, Spec};

const DECIMAL: Encoding = Encoding::Packed(NibbleAlphabet::Decimal);
const HEX: Encoding = Encoding::Packed(NibbleAlphabet::Hex);

/// A field in the language of `spec` objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct FieldDescription<'a> {
    /// Whether the length is fixed (`t`: `fixed` or `var`).
    pub fixed: bool,
    /// Length of a fixed field, longest length of a variable one (`len`, `max`).
    pub length: usize,
    /// Digits (bytes, if binary) of the length prefix.
    pub digits: u8,
    /// Coding of the value (`enc`).
    pub encoding: &'a str,
    /// Coding of the length prefix (`len_enc`).
    pub length_encoding: &'a str,
    /// Place of the filler of an odd digit count (`odd`): `left0`, `rightF` and so on.
    pub odd: Option<&'a str>,
    /// Whether only digits may stand there (`cls` is `n`).
    pub digits_only: bool,
}

/// A layout in the language of `spec` objects.
#[derive(Clone, Debug, Default)]
pub struct SpecDescription<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes before the message type (`header`).
    pub header_octets: usize,
    /// Coding of the message type (`mti`).
    pub mti: &'a str,
    /// Coding of the bitmap (`bitmap`).
    pub bitmap: &'a str,
    /// Whether bit 1 announces nothing (`single_bitmap`).
    pub single_bitmap: bool,
    /// Whether there are always two bitmap groups (`bitmap_always16`).
    pub always_double: bool,
    /// The fields by number.
    pub fields: Vec<(u8, FieldDescription<'a>)>,
}

impl SpecDescription<'_> {
    /// The layout as a value.
    ///
    /// # Errors
    /// A word that the language does not have, or a layout that cannot be.
    pub fn build(&self) -> Result<Spec, SpecError> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for (number, description) in &self.fields {
            fields.push((*number, description.build(FieldPath::Field(*number))?));
        }
        let coding = bitmap_coding(self.bitmap).ok_or(unknown(FieldPath::Bitmap(1)))?;
        let extent = match (self.single_bitmap, self.always_double) {
            (true, _) => BitmapExtent::Single,
            (_, true) => BitmapExtent::AlwaysDouble,
            _ => BitmapExtent::Double,
        };
        let header =
            (self.header_octets > 0).then(|| FieldSpec::fixed(Kind::Binary, Encoding::Octets, self.header_octets));
        let bitmap = BitmapSpec::new(coding, extent);
        assemble(self.name, header, mti(self.mti)?, bitmap, &fields)
    }
}

impl FieldDescription<'_> {
    fn build(&self, path: FieldPath) -> Result<FieldSpec, SpecError> {
        let (kind, encoding) = value_coding(self.encoding).ok_or(unknown(path))?;
        let kind = if self.digits_only { Kind::Numeric } else { kind };
        let field = if self.fixed {
            FieldSpec::fixed(kind, encoding, self.length)
        } else {
            let prefix = length_prefix(self.length_encoding, self.digits).ok_or(unknown(path))?;
            FieldSpec::variable(kind, encoding, prefix, self.length)
        };
        let odd = match self.odd {
            Some(odd) => odd_pad(odd).ok_or(unknown(path))?,
            None => default_odd_pad(encoding),
        };
        Ok(field.odd(odd))
    }
}

/// Where an odd digit goes if the description does not say: tracks are left-aligned, numbers
/// right-aligned.
const fn default_odd_pad(encoding: Encoding) -> OddPad {
    match encoding {
        Encoding::Packed(NibbleAlphabet::Decimal) | Encoding::SignedPacked => OddPad::Left(0),
        _ => OddPad::Right(0),
    }
}

fn value_coding(name: &str) -> Option<(Kind, Encoding)> {
    Some(match name {
        "ascii" => (Kind::Text, Encoding::Ascii),
        "latin1" => (Kind::Text, Encoding::Latin1),
        "ebcdic" => (Kind::Text, Encoding::Ebcdic),
        "hexascii" => (Kind::Binary, Encoding::HexAscii),
        "bytes" => (Kind::Binary, Encoding::Octets),
        "bcd" => (Kind::Numeric, DECIMAL),
        "z" => (Kind::Track, Encoding::Packed(NibbleAlphabet::TrackEquals)),
        "zb" => (Kind::Track, Encoding::Packed(NibbleAlphabet::Offset30)),
        "xbcd" => (Kind::SignedNumeric, Encoding::SignedPacked),
        _ => return None,
    })
}

/// A length prefix by the names that the vectors use; `digits` counts bytes if it is binary.
#[must_use]
pub fn length_prefix(coding: &str, digits: u8) -> Option<LengthPrefix> {
    Some(match coding {
        "ascii" => LengthPrefix::ascii(digits),
        "ebcdic" => LengthPrefix::ebcdic(digits),
        "bcd" => LengthPrefix::bcd(digits),
        "binary" => LengthPrefix::binary(digits),
        "hex" | "hexascii" | "ascii-hex" => LengthPrefix::hex_ascii(digits),
        _ => return None,
    })
}

/// A frame length by the names that the vectors use: a coding and its bytes, `binary 2`.
#[must_use]
pub fn frame_prefix(description: &str) -> Option<LengthPrefix> {
    let (coding, octets) = description.split_once(' ')?;
    let octets: u8 = octets.trim().parse().ok()?;
    match coding {
        "bcd" => Some(LengthPrefix::bcd_octets(octets)),
        "hex" | "hexascii" | "ascii-hex" => length_prefix(coding, octets / 2),
        _ => length_prefix(coding, octets),
    }
}

fn odd_pad(description: &str) -> Option<OddPad> {
    let (left, filler) = match description.strip_prefix("left") {
        Some(filler) => (true, filler),
        None => (false, description.strip_prefix("right")?),
    };
    let nibble = filler_nibble(filler)?;
    Some(if left { OddPad::Left(nibble) } else { OddPad::Right(nibble) })
}

/// The first character of a filler, as a nibble.
fn filler_nibble(filler: &str) -> Option<u8> {
    NibbleAlphabet::Hex.nibble(*filler.as_bytes().first()?)
}

fn bitmap_coding(name: &str) -> Option<BitmapCoding> {
    Some(match name {
        "binary" => BitmapCoding::Binary,
        "ascii-hex" | "ascii" => BitmapCoding::HexAscii,
        "ebcdic-hex" | "ebcdic" => BitmapCoding::HexEbcdic,
        _ => return None,
    })
}

fn mti(coding: &str) -> Result<FieldSpec, SpecError> {
    let encoding = match coding {
        "ascii" => Encoding::Ascii,
        "ebcdic" => Encoding::Ebcdic,
        "bcd" => DECIMAL,
        _ => return Err(unknown(FieldPath::Mti)),
    };
    Ok(FieldSpec::fixed(Kind::Numeric, encoding, MTI_DIGITS))
}

/// A field in the language of `pyiso8583-…` objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct PyFieldDescription<'a> {
    /// Coding of the value (`data_enc`): `b` or a character set.
    pub data_enc: &'a str,
    /// Coding of the length (`len_enc`): `b`, `bcd` or a character set.
    pub len_enc: &'a str,
    /// Bytes of the length prefix; 0 for a fixed field.
    pub len_type: u8,
    /// Length of a fixed field, longest length of a variable one.
    pub max_len: usize,
    /// What the length counts (`len_count` is `nibbles`).
    pub count_nibbles: bool,
    /// Filler before an odd number of nibbles.
    pub left_pad: Option<&'a str>,
    /// Filler after an odd number of nibbles.
    pub right_pad: Option<&'a str>,
}

/// A layout in the language of `pyiso8583-…` objects.
#[derive(Clone, Debug, Default)]
pub struct PySpecDescription<'a> {
    /// `h`; absent or of length 0 if there is none.
    pub header: Option<PyFieldDescription<'a>>,
    /// `t`.
    pub mti: PyFieldDescription<'a>,
    /// `p`.
    pub primary: PyFieldDescription<'a>,
    /// The fields by number; number 1 gives the coding of the second and third bitmap group.
    pub fields: Vec<(u8, PyFieldDescription<'a>)>,
}

impl PySpecDescription<'_> {
    /// The layout as a value.
    ///
    /// # Errors
    /// A character set that the engine does not know, or a layout that cannot be.
    pub fn build(&self) -> Result<Spec, SpecError> {
        let header = match &self.header {
            Some(header) if header.max_len > 0 => Some(header.build(FieldPath::Header)?),
            _ => None,
        };
        let (_, encoding) = self.mti.coding().ok_or(unknown(FieldPath::Mti))?;
        let encoding = if encoding == Encoding::Octets { HEX } else { encoding };
        let mti = FieldSpec::fixed(Kind::Text, encoding, MTI_DIGITS);
        let mut fields = Vec::with_capacity(self.fields.len());
        let first = self.primary.bitmap_coding(1)?;
        let mut codings = [first; MAX_GROUPS];
        for (number, description) in &self.fields {
            if *number == 1 {
                let further = description.bitmap_coding(2)?;
                codings[1..].fill(further);
            } else {
                fields.push((*number, description.build(FieldPath::Field(*number))?));
            }
        }
        let bitmap = BitmapSpec { codings, extent: BitmapExtent::Triple };
        assemble("", header, mti, bitmap, &fields)
    }
}

impl PyFieldDescription<'_> {
    fn coding(&self) -> Option<(Kind, Encoding)> {
        Some(match self.data_enc {
            "b" if self.count_nibbles => (Kind::Binary, HEX),
            "b" => (Kind::Binary, Encoding::Octets),
            other => (Kind::Text, character_set(other)?),
        })
    }

    fn bitmap_coding(&self, group: u8) -> Result<BitmapCoding, SpecError> {
        match self.coding() {
            Some((_, Encoding::Octets | Encoding::Packed(_))) => Ok(BitmapCoding::Binary),
            Some((_, Encoding::Ebcdic)) => Ok(BitmapCoding::HexEbcdic),
            Some(_) => Ok(BitmapCoding::HexAscii),
            None => Err(unknown(FieldPath::Bitmap(group))),
        }
    }

    fn build(&self, path: FieldPath) -> Result<FieldSpec, SpecError> {
        let (kind, encoding) = self.coding().ok_or(unknown(path))?;
        let field = if self.len_type == 0 {
            FieldSpec::fixed(kind, encoding, self.max_len)
        } else {
            let prefix = self.prefix().ok_or(unknown(path))?;
            FieldSpec::variable(kind, encoding, prefix, self.max_len)
        };
        let count = if self.count_nibbles { Count::Nibbles } else { Count::Octets };
        Ok(field.counting(count).odd(self.odd().ok_or(unknown(path))?))
    }

    fn prefix(&self) -> Option<LengthPrefix> {
        Some(match self.len_enc {
            "b" => LengthPrefix::binary(self.len_type),
            "bcd" => LengthPrefix::bcd_octets(self.len_type),
            other if character_set(other)? == Encoding::Ebcdic => LengthPrefix::ebcdic(self.len_type),
            _ => LengthPrefix::ascii(self.len_type),
        })
    }

    fn odd(&self) -> Option<OddPad> {
        match (self.left_pad, self.right_pad) {
            (Some(left), _) if !left.is_empty() => filler_nibble(left).map(OddPad::Left),
            (_, Some(right)) if !right.is_empty() => filler_nibble(right).map(OddPad::Right),
            _ => Some(OddPad::Refused),
        }
    }
}

/// A one-byte character set by its usual names.
fn character_set(name: &str) -> Option<Encoding> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    Some(match plain.as_str() {
        "ascii" | "usascii" => Encoding::Ascii,
        "latin1" | "latin" | "l1" | "iso88591" => Encoding::Latin1,
        "cp500" | "ibm500" | "ebcdic" => Encoding::Ebcdic,
        _ => return None,
    })
}

const fn unknown(path: FieldPath) -> SpecError {
    SpecError { path, reason: "unknown coding" }
}

fn assemble(
    name: &str,
    header: Option<FieldSpec>,
    mti: FieldSpec,
    bitmap: BitmapSpec,
    fields: &[(u8, FieldSpec)],
) -> Result<Spec, SpecError> {
    let mut table = vec![None; usize::from(MAX_FIELD) + 1];
    for (number, field) in fields {
        // A description may repeat the bitmap as field 1; the bitmap rule already covers it.
        if bitmap.is_presence_bit(*number) {
            continue;
        }
        match table.get_mut(usize::from(*number)) {
            Some(place) if *number <= bitmap.max_field() => *place = Some(*field),
            _ => {
                let path = FieldPath::Field(*number);
                return Err(SpecError { path, reason: "the bitmap cannot announce it" });
            }
        }
    }
    let name = Cow::Owned(name.to_owned());
    let spec = Spec { name, header, mti, bitmap, fields: Cow::Owned(table) };
    spec.validate()?;
    Ok(spec)
}
