//! Layouts as values: what every element of a message looks like on the wire.

use std::borrow::Cow;

use crate::bitmap::BitmapSpec;
use crate::error::{FieldPath, SpecError};
use crate::prefix::LengthPrefix;

/// Longest value of one field, in the unit that its length counts.
pub const MAX_FIELD_LENGTH: usize = 999_999;
/// Longest message that is looked at: what a two-byte frame length can announce.
pub const MAX_MESSAGE_OCTETS: usize = 0xFFFF;
/// Characters of a message type indicator.
pub const MTI_DIGITS: usize = 4;

/// What a value is made of (ISO 8583 "attribute").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `n`: decimal digits.
    Numeric,
    /// `an`: visible ASCII and spaces.
    AlphaNumeric,
    /// `ans`: any character of the encoding.
    Text,
    /// `z`: track data.
    Track,
    /// `b`: bits.
    Binary,
    /// `x+n`: a sign character and digits.
    SignedNumeric,
}

/// Characters that a nibble stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NibbleAlphabet {
    /// 0–9; other nibbles are refused.
    Decimal,
    /// 0–9, A–F.
    Hex,
    /// As [`NibbleAlphabet::Hex`], with `=` for D, the separator of track 2.
    TrackEquals,
    /// Nibble + 30h: `:;<=>?` for A–F.
    Offset30,
}

/// How the characters of a value are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One byte below 80h a character.
    Ascii,
    /// One byte a character, any value; GBK text passes through as its bytes.
    Latin1,
    /// One byte a character, EBCDIC code page 500.
    Ebcdic,
    /// Hexadecimal characters in ASCII.
    HexAscii,
    /// Two characters a byte, high nibble first (BCD and its relatives).
    Packed(NibbleAlphabet),
    /// A sign character, then packed decimal digits.
    SignedPacked,
    /// Raw bytes; as text, two hexadecimal characters a byte.
    Octets,
}

/// What the length of a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Bytes on the wire (for one-byte encodings: characters).
    Octets,
    /// Nibbles on the wire, filler not counted (for packed encodings: digits).
    Nibbles,
    /// Characters of [`Encoding::SignedPacked`], the sign included.
    SignedCharacters,
}

/// Where the filler nibble of an odd count goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddPad {
    /// An odd count is refused.
    Refused,
    /// In the high nibble of the first byte (digits right-aligned).
    Left(u8),
    /// In the low nibble of the last byte (digits left-aligned).
    Right(u8),
}

/// What the encoder does with a value that is shorter than its fixed field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Refuse it.
    Refused,
    /// Spaces on the right.
    SpaceRight,
    /// Zeros on the left.
    ZeroLeft,
}

/// How long a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Always this long.
    Fixed(usize),
    /// A prefix says how long, up to `max`.
    Variable {
        /// How the length is written.
        prefix: LengthPrefix,
        /// Longest value.
        max: usize,
    },
}

/// What must happen before a value may be shown or logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// May be shown.
    Public,
    /// A card number: first six and last four digits may be shown.
    Pan,
    /// Card data other than the number (expiry, chip data, batch details): hidden.
    AccountData,
    /// Track data: hidden.
    Track,
    /// A PIN block: hidden.
    Pin,
    /// Key material, even enciphered: hidden.
    Key,
    /// Content that the dialect does not define and that may hold any of these: hidden.
    Opaque,
}

/// The few forms that nearly all values have, told apart once and not for every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Raw bytes.
    Octets,
    /// Packed decimal digits, counted in digits, with a place for an odd one.
    Digits,
    /// Visible ASCII, one byte a character.
    Printable,
    /// Any bytes, one a character.
    Text,
    /// Everything else: walks through all properties.
    Other,
}

/// The layout of one data element. Built by [`FieldSpec::fixed`] and [`FieldSpec::variable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    pub(crate) form: Form,
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
    pub(crate) count: Count,
    pub(crate) odd: OddPad,
    pub(crate) fill: Fill,
    pub(crate) sensitivity: Sensitivity,
    pub(crate) length: Length,
    pub(crate) name: &'static str,
    pub(crate) name_zh: &'static str,
}

impl FieldSpec {
    const fn base(kind: Kind, encoding: Encoding, length: Length) -> Self {
        let field = Self {
            form: Form::Other,
            name: "",
            name_zh: "",
            kind,
            encoding,
            length,
            count: match encoding {
                Encoding::Packed(_) => Count::Nibbles,
                Encoding::SignedPacked => Count::SignedCharacters,
                _ => Count::Octets,
            },
            odd: match encoding {
                Encoding::SignedPacked => OddPad::Left(0),
                _ => OddPad::Refused,
            },
            fill: Fill::Refused,
            sensitivity: Sensitivity::Public,
        };
        field.formed()
    }

    /// With [`Form`] as its other properties say.
    const fn formed(mut self) -> Self {
        let even = match self.length {
            Length::Fixed(length) => length % 2 == 0,
            Length::Variable { .. } => false,
        };
        let digits_have_place = even || !matches!(self.odd, OddPad::Refused);
        self.form = match (self.encoding, self.count, self.kind) {
            (Encoding::Octets, Count::Octets, _) => Form::Octets,
            (Encoding::Packed(NibbleAlphabet::Decimal), Count::Nibbles, _) if digits_have_place => Form::Digits,
            (Encoding::Ascii, Count::Octets, Kind::AlphaNumeric) => Form::Printable,
            (Encoding::Latin1, Count::Octets, Kind::Text | Kind::Track) => Form::Text,
            _ => Form::Other,
        };
        self
    }

    /// English name; empty if the layout gives none.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Chinese name; empty if the layout gives none.
    #[must_use]
    pub const fn name_zh(&self) -> &'static str {
        self.name_zh
    }

    /// What the value is made of.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How long it is.
    #[must_use]
    pub const fn length(&self) -> Length {
        self.length
    }

    /// How it must be masked.
    #[must_use]
    pub const fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// A field of fixed length.
    #[must_use]
    pub const fn fixed(kind: Kind, encoding: Encoding, length: usize) -> Self {
        Self::base(kind, encoding, Length::Fixed(length))
    }

    /// A field of variable length.
    #[must_use]
    pub const fn variable(kind: Kind, encoding: Encoding, prefix: LengthPrefix, max: usize) -> Self {
        Self::base(kind, encoding, Length::Variable { prefix, max })
    }

    /// With names for descriptions.
    #[must_use]
    pub const fn named(mut self, name: &'static str, name_zh: &'static str) -> Self {
        self.name = name;
        self.name_zh = name_zh;
        self
    }

    /// With another unit of length.
    #[must_use]
    pub const fn counting(mut self, count: Count) -> Self {
        self.count = count;
        self.formed()
    }

    /// With a place for the filler of an odd count.
    #[must_use]
    pub const fn odd(mut self, odd: OddPad) -> Self {
        self.odd = odd;
        self.formed()
    }

    /// With a filler for short fixed values.
    #[must_use]
    pub const fn filled(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }

    /// With a masking rule.
    #[must_use]
    pub const fn sensitive(mut self, sensitivity: Sensitivity) -> Self {
        self.sensitivity = sensitivity;
        self
    }

    /// Bytes that `count` units occupy on the wire, without the length prefix.
    #[must_use]
    #[inline]
    pub(crate) const fn octets(&self, count: usize) -> usize {
        match self.count {
            Count::Octets => count,
            Count::Nibbles => count.div_ceil(2),
            Count::SignedCharacters if count == 0 => 0,
            Count::SignedCharacters => 1 + (count - 1).div_ceil(2),
        }
    }

    fn validate(&self, path: FieldPath) -> Result<(), SpecError> {
        let refuse = |reason| Err(SpecError { path, reason });
        let max = match self.length {
            Length::Fixed(length) => length,
            Length::Variable { prefix, max } => {
                if !prefix.is_possible() {
                    return refuse("impossible length prefix");
                }
                max
            }
        };
        if max > MAX_FIELD_LENGTH {
            return refuse("longer than any field may be");
        }
        let signed = matches!(self.encoding, Encoding::SignedPacked);
        if signed != matches!(self.count, Count::SignedCharacters) {
            return refuse("a signed number counts signed characters, nothing else does");
        }
        match self.odd {
            OddPad::Left(nibble) | OddPad::Right(nibble) if nibble > 0x0F => refuse("filler is not a nibble"),
            _ => Ok(()),
        }
    }
}

/// Layouts of data elements, indexed by number. Element 0 is never used.
pub type FieldTable = [Option<FieldSpec>];

/// A complete message layout.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What stands before the message type, if anything.
    pub header: Option<FieldSpec>,
    /// Coding of the four characters of the message type.
    pub mti: FieldSpec,
    /// Coding of the bitmap.
    pub bitmap: BitmapSpec,
    /// The data elements, indexed by number.
    pub fields: Cow<'static, FieldTable>,
}

impl Spec {
    /// Layout of a data element.
    #[must_use]
    #[inline]
    pub fn field(&self, number: u8) -> Option<&FieldSpec> {
        self.fields.get(usize::from(number)).and_then(Option::as_ref)
    }

    /// Layout of a header, message type or data element.
    #[must_use]
    pub fn element(&self, path: FieldPath) -> Option<&FieldSpec> {
        match path {
            FieldPath::Header => self.header.as_ref(),
            FieldPath::Mti => Some(&self.mti),
            FieldPath::Field(number) => self.field(number),
            _ => None,
        }
    }

    /// Checks that the layout can exist: a message type of four characters, sane prefixes, no
    /// data element that the bitmap cannot announce.
    ///
    /// # Errors
    /// Names the first impossible element.
    pub fn validate(&self) -> Result<(), SpecError> {
        if let Some(header) = &self.header {
            header.validate(FieldPath::Header)?;
        }
        self.mti.validate(FieldPath::Mti)?;
        if self.mti.length != Length::Fixed(MTI_DIGITS) || self.mti.kind == Kind::SignedNumeric {
            let reason = "a message type has four characters";
            return Err(SpecError { path: FieldPath::Mti, reason });
        }
        for (number, field) in self.fields.iter().enumerate() {
            let Some(field) = field else { continue };
            let path = FieldPath::Field(u8::try_from(number).unwrap_or(u8::MAX));
            if number == 0 || number > usize::from(self.bitmap.max_field()) {
                return Err(SpecError { path, reason: "the bitmap cannot announce it" });
            }
            field.validate(path)?;
        }
        Ok(())
    }
}

/// Builds a table from `(number, layout)` pairs at compile time.
pub(crate) const fn table<const N: usize>(entries: &[(u8, FieldSpec)]) -> [Option<FieldSpec>; N] {
    let mut result = [None; N];
    let mut index = 0;
    while index < entries.len() {
        let (number, field) = entries[index];
        result[number as usize] = Some(field);
        index += 1;
    }
    result
}
