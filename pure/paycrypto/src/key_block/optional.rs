//! Optional blocks: two characters, a length, printable text (ANSI X9.143:2021 §6.3.6, table 7).

use core::fmt;

use super::error::{Field, KeyBlockError, LengthFault};
use super::header::KEY_BLOCK_BYTES_MAX;
use super::hex;

/// Most characters that one optional block holds: the whole key block has no more.
pub const OPTIONAL_BLOCK_DATA_BYTES_MAX: usize = KEY_BLOCK_BYTES_MAX;

/// Identifier and short length.
const SHORT_PREFIX_BYTES: usize = 4;
/// Longest block that a two-digit length can say.
const SHORT_BYTES_MAX: usize = 0xFF;
/// How many digits an extended length has (ANSI X9.143:2021 §6.2, table 1); other numbers are read, never written.
const EXTENDED_LENGTH_DIGITS: usize = 4;
/// Identifier, `00`, number of digits, digits.
const EXTENDED_PREFIX_BYTES: usize = 6 + EXTENDED_LENGTH_DIGITS;

/// An optional block's two characters. Those that begin with a digit are proprietary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId([u8; 2]);

macro_rules! block_ids {
    ($($(#[$meaning:meta])* $name:ident = $code:literal;)*) => {
        impl BlockId {
            $($(#[$meaning])* pub const $name: Self = Self(*$code);)*
        }
    };
}

block_ids! {
    /// Life of an asymmetric key.
    ASYMMETRIC_KEY_LIFE = b"AL";
    /// Identifier of a DUKPT base derivation key.
    BDK_IDENTIFIER = b"BI";
    /// Public key certificates.
    CERTIFICATE = b"CT";
    /// What a derivation key may derive.
    DERIVATIONS_ALLOWED = b"DA";
    /// Flags.
    FLAGS = b"FL";
    /// Hash of an HMAC key.
    HMAC_HASH = b"HM";
    /// Identifier of an initial AES DUKPT key.
    INITIAL_KEY_IDENTIFIER = b"IK";
    /// Check value of the wrapped key.
    KEY_CHECK_VALUE = b"KC";
    /// Check value of the key block protection key.
    PROTECTION_KEY_CHECK_VALUE = b"KP";
    /// Initial key serial number of TDES DUKPT.
    KEY_SERIAL_NUMBER = b"KS";
    /// Version of the field values (deprecated).
    KEY_BLOCK_VALUES = b"KV";
    /// Label.
    LABEL = b"LB";
    /// Padding to whole cipher blocks.
    PADDING = b"PB";
    /// Check value of the protection key that the key was exported under.
    EXPORT_PROTECTION_KEY_CHECK_VALUE = b"PK";
    /// When the key was made.
    TIME_OF_CREATION = b"TC";
    /// When the key block was made.
    TIME_STAMP = b"TS";
    /// How strong the keys were under which the key has been wrapped so far.
    WRAPPING_PEDIGREE = b"WP";
}

impl BlockId {
    /// The identifier with this code: any two letters or digits.
    #[must_use]
    pub fn from_code(code: [u8; 2]) -> Option<Self> {
        code.iter().all(u8::is_ascii_alphanumeric).then_some(Self(code))
    }

    /// Its two characters.
    #[must_use]
    pub fn code(self) -> [u8; 2] {
        self.0
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.0[0]), char::from(self.0[1]))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({self})")
    }
}

/// One optional block: identifier and printable text. [`OptionalBlock::content`] reads the text of the published ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalBlock {
    id: BlockId,
    data: String,
}

impl OptionalBlock {
    /// A block with this text.
    ///
    /// # Errors
    /// [`KeyBlockError::Malformed`] if a character is not printable ASCII, [`KeyBlockError::WrongLength`] above
    /// [`OPTIONAL_BLOCK_DATA_BYTES_MAX`].
    pub fn new(id: BlockId, data: &str) -> Result<Self, KeyBlockError> {
        if data.len() > OPTIONAL_BLOCK_DATA_BYTES_MAX {
            return Err(KeyBlockError::WrongLength(LengthFault::TooLong));
        }
        Ok(Self { id, data: printable(data.as_bytes(), 0)? })
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Its text, without identifier and length.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Reads the block that begins at `offset` and tells where the next one does. Never looks past the block's end.
    ///
    /// # Errors
    /// [`KeyBlockError::Malformed`] with the offset in `text`.
    pub fn read(text: &[u8], offset: usize) -> Result<(Self, usize), KeyBlockError> {
        let id = slice(text, offset, 2, Field::OptionalBlockId)?;
        let id = BlockId::from_code([id[0], id[1]]).ok_or(malformed(offset, Field::OptionalBlockId))?;
        let (block_bytes, prefix_bytes) = read_length(text, offset)?;
        let data_offset = offset + prefix_bytes;
        let data_bytes = block_bytes.checked_sub(prefix_bytes).filter(|bytes| *bytes <= OPTIONAL_BLOCK_DATA_BYTES_MAX);
        let data_bytes = data_bytes.ok_or(malformed(offset + 2, Field::OptionalBlockLength))?;
        let data = slice(text, data_offset, data_bytes, Field::OptionalBlockData)?;
        Ok((Self { id, data: printable(data, data_offset)? }, data_offset + data_bytes))
    }

    /// Length of the block's text with identifier and length.
    pub(super) fn text_bytes(&self) -> usize {
        let short = SHORT_PREFIX_BYTES + self.data.len();
        if short <= SHORT_BYTES_MAX { short } else { EXTENDED_PREFIX_BYTES + self.data.len() }
    }

    pub(super) fn write(&self, out: &mut String) {
        let length = self.text_bytes();
        out.extend(self.id.0.map(char::from));
        if length <= SHORT_BYTES_MAX {
            hex::push(out, &[length as u8]);
        } else {
            hex::push(out, &[0, EXTENDED_LENGTH_DIGITS as u8]);
            hex::push(out, &(length as u16).to_be_bytes());
        }
        out.push_str(&self.data);
    }
}

/// Length of the whole block and of what stands before its data.
fn read_length(text: &[u8], offset: usize) -> Result<(usize, usize), KeyBlockError> {
    let number = |at: usize, digits: usize| {
        let text = slice(text, at, digits, Field::OptionalBlockLength)?;
        hex::number(text).ok_or(malformed(at, Field::OptionalBlockLength))
    };
    let short = number(offset + 2, 2)?;
    if short > 0 {
        return Ok((short, SHORT_PREFIX_BYTES));
    }
    let digits = number(offset + 4, 2)?;
    Ok((number(offset + 6, digits)?, 6 + digits))
}

fn malformed(offset: usize, field: Field) -> KeyBlockError {
    KeyBlockError::Malformed { offset, field }
}

/// `length` bytes at `offset`, or the field is malformed.
pub(super) fn slice(text: &[u8], offset: usize, length: usize, field: Field) -> Result<&[u8], KeyBlockError> {
    let end = offset.checked_add(length);
    end.and_then(|end| text.get(offset..end)).ok_or(malformed(offset, field))
}

fn printable(data: &[u8], offset: usize) -> Result<String, KeyBlockError> {
    let unfit = data.iter().position(|byte| !matches!(byte, b' '..=b'~'));
    match unfit {
        Some(at) => Err(malformed(offset + at, Field::OptionalBlockData)),
        None => Ok(data.iter().copied().map(char::from).collect()),
    }
}
