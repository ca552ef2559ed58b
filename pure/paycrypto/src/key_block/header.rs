//! The header: sixteen characters and the optional blocks behind them (ANSI X9.143:2021 §6.2, table 1).

use super::error::{Field, KeyBlockError, LengthFault};
use super::field::{Algorithm, Exportability, KeyContext, KeyUsage, KeyVersion, ModeOfUse, Version};
use super::optional::{BlockId, OptionalBlock, slice};

/// Length of the fixed part of the header.
pub const HEADER_BYTES: usize = 16;
/// Longest key block: its length field has four decimal digits.
pub const KEY_BLOCK_BYTES_MAX: usize = 9999;
/// Most optional blocks: their number has two decimal digits.
pub const OPTIONAL_BLOCKS_MAX: usize = 99;

/// Shortest padding block: identifier and length.
const PADDING_BLOCK_BYTES_MIN: usize = 4;
const RESERVED: u8 = b'0';

/// A key block's header. Its length and number of optional blocks are counted when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBlockHeader {
    /// How the block is protected.
    pub version: Version,
    /// What the key is for.
    pub usage: KeyUsage,
    /// What the key is used with.
    pub algorithm: Algorithm,
    /// Which operations it may do.
    pub mode_of_use: ModeOfUse,
    /// Its version, or which component it is.
    pub key_version: KeyVersion,
    /// Who may get it next.
    pub exportability: Exportability,
    /// Where the block may be used.
    pub context: KeyContext,
    /// The last character, `0` in every edition.
    pub reserved: u8,
    /// Optional blocks in their order. A padding block need not be among them: writing adds what is needed.
    pub optional_blocks: Vec<OptionalBlock>,
}

/// The characters of a header's fields, before anything is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderCodes<'a> {
    /// One letter.
    pub version: &'a str,
    /// Two characters.
    pub usage: &'a str,
    /// One character.
    pub algorithm: &'a str,
    /// One character.
    pub mode_of_use: &'a str,
    /// Two characters.
    pub key_version: &'a str,
    /// One character.
    pub exportability: &'a str,
}

/// A header as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedHeader {
    /// Its fields.
    pub header: KeyBlockHeader,
    /// What its length field says of the whole key block.
    pub stated_bytes: usize,
    /// How many characters the header and its optional blocks take.
    pub header_bytes: usize,
}

impl KeyBlockHeader {
    /// A header without version number and optional blocks.
    #[must_use]
    pub fn new(
        version: Version,
        usage: KeyUsage,
        algorithm: Algorithm,
        mode_of_use: ModeOfUse,
        exportability: Exportability,
    ) -> Self {
        Self {
            version,
            usage,
            algorithm,
            mode_of_use,
            key_version: KeyVersion::Unused,
            exportability,
            context: KeyContext::Any,
            reserved: RESERVED,
            optional_blocks: Vec::new(),
        }
    }

    /// A header of these characters, without optional blocks.
    ///
    /// # Errors
    /// [`KeyBlockError::Malformed`] with the field, and its offset in a header, for the first one that has another
    /// length or unknown characters.
    pub fn from_codes(codes: &HeaderCodes<'_>) -> Result<Self, KeyBlockError> {
        let fields = [
            (codes.version, 1, 0, Field::Version),
            ("0000", 4, 1, Field::Length),
            (codes.usage, 2, 5, Field::KeyUsage),
            (codes.algorithm, 1, 7, Field::Algorithm),
            (codes.mode_of_use, 1, 8, Field::ModeOfUse),
            (codes.key_version, 2, 9, Field::KeyVersion),
            (codes.exportability, 1, 11, Field::Exportability),
            ("0000", 4, 12, Field::OptionalBlockCount),
        ];
        let mut text = Vec::with_capacity(HEADER_BYTES);
        for (code, bytes, offset, field) in fields {
            if code.len() != bytes {
                return Err(KeyBlockError::Malformed { offset, field });
            }
            text.extend_from_slice(code.as_bytes());
        }
        Ok(Self::parse(&text)?.header)
    }

    /// Reads a header from the start of `text`, which may go on behind it. For showing: the form is checked, and
    /// neither the stated length, nor the meaning of codes, nor whether they go together.
    ///
    /// # Errors
    /// [`KeyBlockError::Malformed`] with offset and field.
    pub fn parse(text: &[u8]) -> Result<ParsedHeader, KeyBlockError> {
        let mut header = Self {
            version: one(text, 0, Field::Version, Version::from_code)?,
            usage: two(text, 5, Field::KeyUsage, KeyUsage::from_code)?,
            algorithm: one(text, 7, Field::Algorithm, Algorithm::from_code)?,
            mode_of_use: one(text, 8, Field::ModeOfUse, ModeOfUse::from_code)?,
            key_version: two(text, 9, Field::KeyVersion, KeyVersion::from_code)?,
            exportability: one(text, 11, Field::Exportability, Exportability::from_code)?,
            context: one(text, 14, Field::KeyContext, KeyContext::from_code)?,
            reserved: one(text, 15, Field::Reserved, |code| code.is_ascii_alphanumeric().then_some(code))?,
            optional_blocks: Vec::new(),
        };
        let stated_bytes = decimal(text, 1, 4, Field::Length)?;
        let mut offset = HEADER_BYTES;
        for _ in 0..decimal(text, 12, 2, Field::OptionalBlockCount)? {
            let (block, next) = OptionalBlock::read(text, offset)?;
            header.optional_blocks.push(block);
            offset = next;
        }
        Ok(ParsedHeader { header, stated_bytes, header_bytes: offset })
    }

    /// The first optional block with this identifier.
    #[must_use]
    pub fn optional_block(&self, id: BlockId) -> Option<&OptionalBlock> {
        self.optional_blocks.iter().find(|block| block.id() == id)
    }

    /// The optional blocks as they are written: short lengths where they fit, padding last and only if needed. Padding
    /// that does its work stays as it came.
    fn written_blocks(&self) -> Result<Vec<OptionalBlock>, KeyBlockError> {
        let mut blocks = self.optional_blocks.clone();
        blocks.retain(|block| block.id() != BlockId::PADDING);
        let bytes: usize = blocks.iter().map(OptionalBlock::text_bytes).sum();
        let whole = |bytes: usize| bytes.is_multiple_of(self.version.block_bytes());
        if !whole(bytes) {
            let given = self.optional_block(BlockId::PADDING).filter(|given| whole(bytes + given.text_bytes()));
            let zeros = "0".repeat(padding_data_bytes(bytes, self.version.block_bytes()));
            let padding = given.cloned().map_or_else(|| OptionalBlock::new(BlockId::PADDING, &zeros), Ok);
            blocks.push(padding?);
        }
        if blocks.len() > OPTIONAL_BLOCKS_MAX {
            return Err(KeyBlockError::WrongLength(LengthFault::TooLong));
        }
        Ok(blocks)
    }

    /// How many characters the header takes when it is written.
    ///
    /// # Errors
    /// [`KeyBlockError::WrongLength`] for more than [`OPTIONAL_BLOCKS_MAX`] optional blocks.
    pub fn text_bytes(&self) -> Result<usize, KeyBlockError> {
        let blocks = self.written_blocks()?;
        Ok(HEADER_BYTES + blocks.iter().map(OptionalBlock::text_bytes).sum::<usize>())
    }

    /// Writes the header of a key block of `key_block_bytes` characters.
    ///
    /// # Errors
    /// [`KeyBlockError::WrongLength`] for more than [`OPTIONAL_BLOCKS_MAX`] optional blocks or
    /// [`KEY_BLOCK_BYTES_MAX`] characters.
    pub fn to_text(&self, key_block_bytes: usize) -> Result<String, KeyBlockError> {
        let blocks = self.written_blocks()?;
        if key_block_bytes > KEY_BLOCK_BYTES_MAX {
            return Err(KeyBlockError::WrongLength(LengthFault::TooLong));
        }
        let (version, usage, number) = (self.version, self.usage, self.key_version.code().map(char::from));
        let mut text = format!("{version}{key_block_bytes:04}{usage}{}{}", self.algorithm, self.mode_of_use);
        text.extend(number);
        text.push_str(&format!("{}{:02}{}", self.exportability, blocks.len(), self.context));
        text.push(char::from(self.reserved));
        for block in &blocks {
            block.write(&mut text);
        }
        Ok(text)
    }
}

/// What taking a key into use needs beyond form: known values, identifiers that do not repeat, padding last. `text` is
/// what `parsed` was read from.
pub(super) fn check_strictly(text: &[u8], parsed: &ParsedHeader) -> Result<(), KeyBlockError> {
    let header = &parsed.header;
    let malformed = |offset, field| Err(KeyBlockError::Malformed { offset, field });
    if matches!(header.exportability, Exportability::Other(_)) {
        return malformed(11, Field::Exportability);
    }
    if matches!(header.context, KeyContext::Other(_)) {
        return malformed(14, Field::KeyContext);
    }
    if header.reserved != RESERVED {
        return malformed(15, Field::Reserved);
    }
    let mut offset = HEADER_BYTES;
    for (index, block) in header.optional_blocks.iter().enumerate() {
        let repeated = header.optional_blocks[..index].iter().any(|earlier| earlier.id() == block.id());
        let not_last = block.id() == BlockId::PADDING && index + 1 < header.optional_blocks.len();
        if repeated || not_last {
            return malformed(offset, Field::OptionalBlockId);
        }
        (_, offset) = OptionalBlock::read(text, offset)?;
    }
    Ok(())
}

/// How much text a padding block needs so that it and other optional blocks of `bytes` become whole cipher blocks.
fn padding_data_bytes(bytes: usize, block_bytes: usize) -> usize {
    (bytes + PADDING_BLOCK_BYTES_MIN).next_multiple_of(block_bytes) - bytes - PADDING_BLOCK_BYTES_MIN
}

fn one<T>(text: &[u8], offset: usize, field: Field, read: impl Fn(u8) -> Option<T>) -> Result<T, KeyBlockError> {
    read(slice(text, offset, 1, field)?[0]).ok_or(KeyBlockError::Malformed { offset, field })
}

fn two<T>(text: &[u8], offset: usize, field: Field, read: impl Fn([u8; 2]) -> Option<T>) -> Result<T, KeyBlockError> {
    let code = slice(text, offset, 2, field)?;
    read([code[0], code[1]]).ok_or(KeyBlockError::Malformed { offset, field })
}

fn decimal(text: &[u8], offset: usize, digits: usize, field: Field) -> Result<usize, KeyBlockError> {
    let add = |value: usize, digit: &u8| digit.is_ascii_digit().then(|| value * 10 + usize::from(digit - b'0'));
    let number = slice(text, offset, digits, field)?.iter().try_fold(0, add);
    number.ok_or(KeyBlockError::Malformed { offset, field })
}
