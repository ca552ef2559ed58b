//! Digits of a PIN as nibbles, the form in which every PIN block holds them.

use types::{PIN_DIGITS_MAX, Pin};
use zeroize::Zeroizing;

use crate::CryptoError;

/// How many digits a PIN has: 4 to 12.
pub(crate) fn digit_count(pin: &Pin) -> usize {
    pin.expose().len()
}

/// The digits as nibble values.
pub(crate) fn nibbles(pin: &Pin) -> impl Iterator<Item = u8> {
    pin.expose().bytes().map(|digit| digit - b'0')
}

/// The PIN whose digits are these nibbles.
pub(crate) fn from_nibbles(nibbles: &[u8]) -> Result<Pin, CryptoError> {
    let mut ascii = Zeroizing::new([b'0'; PIN_DIGITS_MAX]);
    if nibbles.len() > PIN_DIGITS_MAX || nibbles.iter().any(|nibble| *nibble > 9) {
        return Err(CryptoError::PinBlock);
    }
    for (digit, nibble) in ascii.iter_mut().zip(nibbles) {
        *digit = b'0' + nibble;
    }
    let text = core::str::from_utf8(&ascii[..nibbles.len()]).expect("decimal digits");
    Pin::parse(text).map_err(|_| CryptoError::PinBlock)
}
