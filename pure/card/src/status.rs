//! Status words (ISO/IEC 7816-4 §5.6, EMV 4.4 Book 1 §9.5.1.4 and Book 3 §6).

use core::fmt;

/// SW1 SW2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatusWord(pub u16);

impl fmt::Debug for StatusWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04X}", self.0)
    }
}

/// 9000: done.
pub const NORMAL: StatusWord = StatusWord(0x9000);
/// 6283: the selected file is invalidated (blocked application).
pub const FILE_INVALIDATED: StatusWord = StatusWord(0x6283);
/// 6300: issuer authentication failed.
pub const AUTHENTICATION_FAILED: StatusWord = StatusWord(0x6300);
/// 6700: wrong length.
pub const WRONG_LENGTH: StatusWord = StatusWord(0x6700);
/// 6983: authentication method blocked (no PIN tries left).
pub const AUTHENTICATION_BLOCKED: StatusWord = StatusWord(0x6983);
/// 6984: referenced data invalidated (no challenge was asked for).
pub const DATA_INVALIDATED: StatusWord = StatusWord(0x6984);
/// 6985: conditions of use not satisfied (command out of order).
pub const CONDITIONS_NOT_SATISFIED: StatusWord = StatusWord(0x6985);
/// 6988: secure messaging data object (MAC) incorrect.
pub const SECURE_MESSAGING_INCORRECT: StatusWord = StatusWord(0x6988);
/// 6A80: incorrect data field.
pub const WRONG_DATA: StatusWord = StatusWord(0x6A80);
/// 6A81: function not supported (blocked card).
pub const FUNCTION_NOT_SUPPORTED: StatusWord = StatusWord(0x6A81);
/// 6A82: file not found.
pub const FILE_NOT_FOUND: StatusWord = StatusWord(0x6A82);
/// 6A83: record not found.
pub const RECORD_NOT_FOUND: StatusWord = StatusWord(0x6A83);
/// 6A86: wrong P1 P2.
pub const WRONG_PARAMETERS: StatusWord = StatusWord(0x6A86);
/// 6A88: referenced data not found.
pub const DATA_NOT_FOUND: StatusWord = StatusWord(0x6A88);
/// 6D00: instruction not supported.
pub const INSTRUCTION_NOT_SUPPORTED: StatusWord = StatusWord(0x6D00);
/// 6E00: class not supported.
pub const CLASS_NOT_SUPPORTED: StatusWord = StatusWord(0x6E00);

/// 63Cx: wrong PIN, `tries` left (at most 15 show).
pub(crate) fn wrong_pin(tries: u8) -> StatusWord {
    StatusWord(0x63C0 | u16::from(tries.min(0x0F)))
}

/// 6Cxx: Le was too small, `bytes` are there.
pub(crate) fn exact_length(bytes: usize) -> StatusWord {
    StatusWord(0x6C00 | u16::try_from(bytes & 0xFF).unwrap_or(0))
}

/// 61xx: `bytes` wait for GET RESPONSE (00 stands for 256 or more).
pub(crate) fn more_data(bytes: usize) -> StatusWord {
    StatusWord(0x6100 | u16::try_from(bytes).ok().filter(|bytes| *bytes <= 0xFF).unwrap_or(0))
}
