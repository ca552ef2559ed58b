//! Why a key block was refused. Nothing here carries key bytes.

use super::field::{Algorithm, KeyUsage, ModeOfUse, Version};

/// An element of the key block's text (ANSI X9.143:2021 §6.2, table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Byte 0: which binding method protects the block.
    Version,
    /// Bytes 1 to 4: length of the whole block, decimal.
    Length,
    /// Bytes 5 and 6.
    KeyUsage,
    /// Byte 7.
    Algorithm,
    /// Byte 8.
    ModeOfUse,
    /// Bytes 9 and 10.
    KeyVersion,
    /// Byte 11.
    Exportability,
    /// Bytes 12 and 13: how many optional blocks follow, decimal.
    OptionalBlockCount,
    /// Byte 14.
    KeyContext,
    /// Byte 15.
    Reserved,
    /// An optional block's two characters.
    OptionalBlockId,
    /// An optional block's length, short or extended.
    OptionalBlockLength,
    /// What an optional block holds.
    OptionalBlockData,
    /// The enciphered key in hexadecimal.
    EncryptedKey,
    /// The MAC in hexadecimal.
    Mac,
}

/// Which length is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthFault {
    /// The length field states another length than the text has.
    Stated {
        /// What the header says.
        stated: usize,
        /// What arrived.
        actual: usize,
    },
    /// Text or enciphered key are not whole cipher blocks, although the version needs them.
    NotWholeBlocks,
    /// Too short to hold a key and a MAC.
    TooShort,
    /// Longer than four decimal digits or ninety-nine optional blocks can say.
    TooLong,
    /// The key's length inside the block is no length of its algorithm or exceeds what was enciphered.
    Key,
}

/// Why a key block was refused or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyBlockError {
    /// A field holds something that the format does not know.
    #[error("malformed {field:?} at offset {offset}")]
    Malformed {
        /// Offset in characters: in the key block, or in the data of an optional block whose content was asked for.
        offset: usize,
        /// The field.
        field: Field,
    },
    /// A length does not fit.
    #[error("wrong length: {0:?}")]
    WrongLength(LengthFault),
    /// The MAC does not belong to this text under this protection key: altered, forged or another key.
    #[error("MAC does not match")]
    WrongMac,
    /// The table does not permit these three together.
    #[error("usage {usage}, algorithm {algorithm} and mode {mode_of_use} do not go together")]
    RefusedCombination {
        /// Key usage.
        usage: KeyUsage,
        /// Algorithm.
        algorithm: Algorithm,
        /// Mode of use.
        mode_of_use: ModeOfUse,
    },
    /// The protection key has another length than its algorithm knows.
    #[error("a key block protection key of {0} bytes does not exist")]
    ProtectionKeyLength(usize),
    /// The version's binding method works with the other cipher.
    #[error("version {0} needs a protection key of the other algorithm")]
    ProtectionKeyAlgorithm(Version),
    /// The policy refuses a protection key that is weaker than the key it protects.
    #[error("a protection key of {protection_bits} bits of strength is too weak for a key of {key_bits}")]
    ProtectionKeyTooWeak {
        /// Strength of the wrapped key in bits.
        key_bits: u16,
        /// Strength of the protection key in bits.
        protection_bits: u16,
    },
    /// Versions A and C are read and never made.
    #[error("version {0} is import only")]
    ImportOnly(Version),
    /// Too few random bytes for the padding were supplied.
    #[error("{needed} random bytes are needed for padding, {given} were given")]
    RandomBytes {
        /// What [`super::padding_bytes_needed`] says.
        needed: usize,
        /// What was supplied.
        given: usize,
    },
}
