//! Hexadecimal text as key blocks write it: upper case only.
//!
//! Accepting lower case too would let one clear key have many valid texts; then a changed bit could pass unnoticed.

use zeroize::Zeroizing;

use super::error::{Field, KeyBlockError, LengthFault};

pub(super) fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes pairs of digits. `offset` is where `text` stands, for the error.
pub(super) fn decode(text: &[u8], offset: usize, field: Field) -> Result<Zeroizing<Vec<u8>>, KeyBlockError> {
    if let Some(at) = text.iter().position(|digit| nibble(*digit).is_none()) {
        return Err(KeyBlockError::Malformed { offset: offset + at, field });
    }
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(KeyBlockError::WrongLength(LengthFault::NotWholeBlocks));
    }
    let value = |digit: u8| nibble(digit).unwrap_or_default();
    Ok(Zeroizing::new(pairs.iter().map(|[high, low]| value(*high) << 4 | value(*low)).collect()))
}

/// Reads up to eight digits as a number.
pub(super) fn number(text: &[u8]) -> Option<usize> {
    const DIGITS_MAX: usize = 8;
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    text.iter().try_fold(0_usize, |value, digit| Some(value << 4 | usize::from(nibble(*digit)?)))
}

pub(super) fn push(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0x0F)]);
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push(&mut text, bytes);
    text
}
