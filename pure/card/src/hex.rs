//! Hexadecimal constants to bytes. Only for data compiled into this crate.

/// Bytes of a constant.
///
/// # Panics
/// If the constant is not hexadecimal: a mistake in this crate's tables, which its tests read in full.
pub(crate) fn bytes(constant: &str) -> Vec<u8> {
    let digit = |character: u8| char::from(character).to_digit(16).expect("a constant in hexadecimal");
    let pair = |pair: &[u8]| u8::try_from(pair.iter().fold(0, |value, digit_| value * 16 + digit(*digit_)));
    constant.as_bytes().chunks(2).map(|chunk| pair(chunk).expect("two digits fit a byte")).collect()
}

/// A constant of exactly `N` bytes.
pub(crate) fn array<const N: usize>(constant: &str) -> [u8; N] {
    bytes(constant).try_into().expect("a constant of the length its type says")
}
