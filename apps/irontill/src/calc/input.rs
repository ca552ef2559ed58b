//! Reading arguments. An error names the argument and never repeats its value.

use crate::verdict::Misuse;
use keys::AnyKeyBlock;
use machine::wire::Encode;
use paycrypto::key_block::KeyBlockHeader;
use paycrypto::padding::Padding;
use paycrypto::{CryptoError, Pin};
use types::ServiceCode;

/// Lengths of DES and TDES keys.
pub const TDES_KEYS: &[usize] = &[8, 16, 24];
/// Lengths of double-length TDES and SM4 keys.
pub const DOUBLE_KEYS: &[usize] = &[16];
/// Lengths of AES keys.
pub const AES_KEYS: &[usize] = &[16, 24, 32];
/// Lengths of keys of any block cipher.
pub const CIPHER_KEYS: &[usize] = &[8, 16, 24, 32];
/// Longest message whose every block is shown.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Longest HMAC key taken.
pub const HMAC_KEY_BYTES_MAX: usize = 128;
/// Longest key that a key block wraps: an RSA private key of 4096 bits and more.
pub const WRAPPED_KEY_BYTES_MAX: usize = 4096;

/// Begins a message that is given as text and not in hexadecimal.
const TEXT_PREFIX: &str = "text:";
/// What a soft vault's file begins with.
const VAULT_FILE: &[u8] = b"ITVAULT";
/// Separates usage, owner and version in the name of a vault's key.
const NAME_SEPARATOR: char = '/';
const REFUSED: &str = "keys calc works on test keys in the clear and never on a vault's key";

/// What went wrong with one argument.
pub fn misuse(name: &str, what: impl core::fmt::Display) -> Misuse {
    Misuse(format!("--{name}: {what}"))
}

/// Why cryptography refused an argument.
pub fn refused(name: &str) -> impl Fn(CryptoError) -> Misuse + '_ {
    move |error| misuse(name, error)
}

/// Hexadecimal; spaces and line ends do not matter.
pub fn hex(name: &str, text: &str) -> Result<Vec<u8>, Misuse> {
    let digits: Vec<char> = text.chars().filter(|character| !character.is_whitespace()).collect();
    let values: Option<Vec<u8>> =
        digits.iter().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let Some(values) = values else {
        let position = digits.iter().position(|digit| !digit.is_ascii_hexdigit()).unwrap_or(0);
        return Err(misuse(name, format!("character {} is no hex digit", position + 1)));
    };
    let (pairs, rest) = values.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(misuse(name, format!("{} hex digits: expected an even number", values.len())));
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Hexadecimal of a fixed length.
pub fn fixed<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Misuse> {
    let bytes = hex(name, text)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| misuse(name, format!("{length} bytes, expected {N}")))
}

/// As [`fixed`], if it is given.
pub fn fixed_if_given<const N: usize>(name: &str, text: &Option<String>) -> Result<Option<[u8; N]>, Misuse> {
    text.as_deref().map(|text| fixed(name, text)).transpose()
}

/// A message: hexadecimal, or text behind `text:`.
pub fn message(name: &str, text: &str) -> Result<Vec<u8>, Misuse> {
    let bytes = match text.strip_prefix(TEXT_PREFIX) {
        Some(text) => text.as_bytes().to_vec(),
        None => hex(name, text)?,
    };
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(misuse(name, format!("{} bytes, at most {MESSAGE_BYTES_MAX} are shown", bytes.len())));
    }
    Ok(bytes)
}

/// A test key in the clear, of one of the lengths.
pub fn key(name: &str, text: &str, lengths: &[usize]) -> Result<Vec<u8>, Misuse> {
    refuse_vault_key(name, text)?;
    let bytes = hex(name, text)?;
    if lengths.contains(&bytes.len()) {
        return Ok(bytes);
    }
    let allowed: Vec<String> = lengths.iter().map(usize::to_string).collect();
    Err(misuse(name, format!("a key of {} bytes, expected {}", bytes.len(), allowed.join(", "))))
}

/// A test key of any length up to `bytes_max`.
pub fn key_up_to(name: &str, text: &str, bytes_max: usize) -> Result<Vec<u8>, Misuse> {
    refuse_vault_key(name, text)?;
    let bytes = hex(name, text)?;
    if (1..=bytes_max).contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(misuse(name, format!("a key of {} bytes, expected 1 to {bytes_max}", bytes.len())))
}

/// Refuses whatever names or holds a key of a vault: its handle, our key block, a key block of X9.143, a vault file.
pub fn refuse_vault_key(name: &str, text: &str) -> Result<(), Misuse> {
    let text = text.trim();
    if text.contains(NAME_SEPARATOR) {
        return Err(misuse(name, format!("this is the name of a key in a vault, or a path; {REFUSED}")));
    }
    if looks_like_key_block(text.as_bytes()) {
        let advice = "if its protection key is a test key, open it with key-block-unwrap";
        return Err(misuse(name, format!("this is a key block; {REFUSED}; {advice}")));
    }
    let Ok(bytes) = hex(name, text) else { return Ok(()) };
    if AnyKeyBlock::from_bytes(&bytes).is_ok_and(|block| !block.enciphered.is_empty()) {
        return Err(misuse(name, format!("this is a key block of a vault; {REFUSED}")));
    }
    if bytes.starts_with(VAULT_FILE) {
        return Err(misuse(name, format!("this is a vault's file; {REFUSED}")));
    }
    Ok(())
}

/// A header of X9.143 whose length is that of the text.
fn looks_like_key_block(text: &[u8]) -> bool {
    KeyBlockHeader::parse(text).is_ok_and(|parsed| parsed.stated_bytes == text.len())
}

/// An account number: decimal digits; how many depends on the calculation.
pub fn account_number<'a>(name: &str, text: &'a str) -> Result<&'a [u8], Misuse> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        Ok(text.as_bytes())
    } else {
        Err(misuse(name, "an account number is decimal digits"))
    }
}

/// A PIN.
pub fn pin(name: &str, text: &str) -> Result<Pin, Misuse> {
    Pin::parse(text).map_err(|error| misuse(name, error))
}

/// A PAN sequence number: two decimal digits.
pub fn sequence_number(name: &str, text: &str) -> Result<u8, Misuse> {
    let number: Option<u8> = if text.len() <= 3 { text.parse().ok() } else { None };
    number.filter(|number| *number <= 99).ok_or_else(|| misuse(name, "expected 00 to 99"))
}

/// A service code: three digits.
pub fn service_code(name: &str, text: &str) -> Result<ServiceCode, Misuse> {
    ServiceCode::parse(text).map_err(|error| misuse(name, error))
}

/// A padding method of ISO/IEC 9797-1.
pub fn padding(name: &str, number: u64) -> Result<Padding, Misuse> {
    Padding::from_method_number(number).map_err(|_| misuse(name, "expected padding method 1, 2 or 3"))
}

/// An argument that this calculation needs.
pub fn needed<'a>(name: &str, value: &'a Option<String>) -> Result<&'a str, Misuse> {
    value.as_deref().ok_or_else(|| misuse(name, "is needed here"))
}
