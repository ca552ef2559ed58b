//! What was refused, where, and what would have been accepted.

use core::fmt;

/// Which element of a message an error or a description speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldPath {
    /// The length in front of a frame.
    Length,
    /// The transport address (TPDU).
    Tpdu,
    /// The header between TPDU and message type.
    Header,
    /// The message type indicator.
    Mti,
    /// Bitmap group 1, 2 or 3.
    Bitmap(u8),
    /// A data element, by number.
    Field(u8),
    /// A numbered part of a data element: `60.1`.
    Part(u8, u8),
    /// A tagged part of a data element: `62.DF05`.
    Tag(u8, u16),
    /// What follows the last data element.
    Trailer,
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("length"),
            Self::Tpdu => f.write_str("tpdu"),
            Self::Header => f.write_str("header"),
            Self::Mti => f.write_str("mti"),
            Self::Bitmap(_) => f.write_str("bitmap"),
            Self::Field(number) => write!(f, "{number}"),
            Self::Part(number, part) => write!(f, "{number}.{part}"),
            Self::Tag(number, tag) => write!(f, "{number}.{tag:02X}"),
            Self::Trailer => f.write_str("trailer"),
        }
    }
}

/// What would have been accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This many more bytes.
    Octets(usize),
    /// A length (in the unit that the field counts) of exactly this.
    Exactly(usize),
    /// A length (in the unit that the field counts) of at most this.
    AtMost(usize),
    /// A length of at least this.
    AtLeast(usize),
    /// An even number of nibbles.
    EvenCount,
    /// A length written in decimal digits.
    DecimalLength,
    /// Decimal digits only.
    DecimalDigits,
    /// Hexadecimal digits only.
    HexDigits,
    /// Bytes below 80h.
    Ascii,
    /// Visible ASCII characters and spaces.
    Printable,
    /// Characters of the field's alphabet.
    Alphabet,
    /// A data element that the specification defines.
    KnownField,
    /// The end of the message.
    End,
    /// A data element above this number.
    FieldAbove(u8),
    /// One of the values named here.
    Value(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(count) => write!(f, "{count} bytes"),
            Self::Exactly(count) => write!(f, "a length of exactly {count}"),
            Self::AtMost(count) => write!(f, "a length of at most {count}"),
            Self::AtLeast(count) => write!(f, "a length of at least {count}"),
            Self::EvenCount => f.write_str("an even count"),
            Self::DecimalLength => f.write_str("a decimal length"),
            Self::DecimalDigits => f.write_str("decimal digits"),
            Self::HexDigits => f.write_str("hexadecimal digits"),
            Self::Ascii => f.write_str("ASCII text"),
            Self::Printable => f.write_str("printable ASCII text"),
            Self::Alphabet => f.write_str("characters of the field's alphabet"),
            Self::KnownField => f.write_str("a field of the specification"),
            Self::End => f.write_str("the end of the message"),
            Self::FieldAbove(number) => write!(f, "a field above {number}"),
            Self::Value(text) => f.write_str(text),
        }
    }
}

/// What stood there instead. Never more than one byte of a value, so that an error can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Only this many bytes.
    Octets(usize),
    /// A length of this.
    Length(usize),
    /// A byte or character of this code.
    Code(u32),
    /// Nothing.
    Nothing,
    /// A data element without a definition, or out of order.
    Field(u8),
    /// Something else, in words.
    Other(&'static str),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(count) => write!(f, "{count} bytes"),
            Self::Length(count) => write!(f, "a length of {count}"),
            Self::Code(code) => write!(f, "{code:02X}h"),
            Self::Nothing => f.write_str("nothing"),
            Self::Field(number) => write!(f, "field {number}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A message that was refused: where, and why.
///
/// `offset` counts bytes from the first byte given to the decoder and names the first byte of the
/// element that was refused (the first missing byte if it was cut); `end` is the first byte after
/// it, or equals `offset` if the element could not be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// First byte of the refused element.
    pub offset: usize,
    /// First byte behind the refused element.
    pub end: usize,
    /// Which element.
    pub path: FieldPath,
    /// What would have been accepted.
    pub expected: Expected,
    /// What stood there.
    pub found: Found,
}

impl DecodeError {
    /// An error at one place of a value: `offset == end`.
    #[must_use]
    pub const fn new(offset: usize, path: FieldPath, expected: Expected, found: Found) -> Self {
        Self { offset, end: offset, path, expected, found }
    }

    /// The same error with the refused element ending at `end`.
    #[must_use]
    pub const fn until(mut self, end: usize) -> Self {
        self.end = end;
        self
    }

    /// The same error seen from a buffer in which the decoded part starts at `base`.
    #[must_use]
    pub const fn shifted(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base);
        self.end = self.end.saturating_add(base);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}, field {}: expected {}, found {}", self.offset, self.path, self.expected, self.found)
    }
}

impl core::error::Error for DecodeError {}

/// A value that the encoder refused to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// Which element.
    pub path: FieldPath,
    /// What would have been accepted.
    pub expected: Expected,
    /// What was given.
    pub found: Found,
}

impl EncodeError {
    /// An error about `path`.
    #[must_use]
    pub const fn new(path: FieldPath, expected: Expected, found: Found) -> Self {
        Self { path, expected, found }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {}: expected {}, found {}", self.path, self.expected, self.found)
    }
}

impl core::error::Error for EncodeError {}

/// A layout that cannot be: the part of it that is wrong, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Which element of the layout.
    pub path: FieldPath,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layout of {}: {}", self.path, self.reason)
    }
}

impl core::error::Error for SpecError {}
