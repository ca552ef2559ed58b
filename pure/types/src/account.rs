//! Account data: what may exist in the clear only inside the card, the PED and the key process.

use crate::{Invalid, all_digits};
use core::fmt::{self, Write};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Shortest PAN accepted (ISO/IEC 7812-1 allows issuers fewer digits than 16; 12 is the practical floor).
pub const PAN_DIGITS_MIN: usize = 12;
/// Longest PAN (ISO/IEC 7812-1).
pub const PAN_DIGITS_MAX: usize = 19;
/// Shortest PIN (ISO 9564-1 §8.1).
pub const PIN_DIGITS_MIN: usize = 4;
/// Longest PIN (ISO 9564-1 §8.1).
pub const PIN_DIGITS_MAX: usize = 12;
/// Length of a card token in bytes.
pub const CARD_TOKEN_BYTES: usize = 16;

/// Primary account number: 12–19 digits. Prints truncated, wiped on drop, no `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pan {
    digits: Box<[u8; PAN_DIGITS_MAX]>,
    length: u8,
}

impl Pan {
    /// ASCII digits. The Luhn digit is not demanded here: issuers' test ranges and F2 of declined cards break it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "PAN";
        all_digits(WHAT, text)?;
        if !(PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&text.len()) {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "12 to 19" });
        }
        let mut digits = Box::new([0; PAN_DIGITS_MAX]);
        digits[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { digits, length: u8::try_from(text.len()).expect("at most 19") })
    }

    /// The ASCII digits: the one greppable door.
    pub fn expose(&self) -> &str {
        core::str::from_utf8(&self.digits[..usize::from(self.length)]).expect("checked to be digits")
    }

    /// An explicit second copy.
    pub fn duplicate(&self) -> Self {
        Self { digits: self.digits.clone(), length: self.length }
    }

    /// Whether the last digit is the Luhn check digit (ISO/IEC 7812-1 annex B).
    pub fn luhn_valid(&self) -> bool {
        luhn_valid(self.expose())
    }

    /// First six and last four digits: what a receipt and a screen may show (PCI DSS 3.4.1).
    pub fn truncated(&self) -> TruncatedPan {
        let text = self.expose();
        let mut characters = [b'*'; PAN_DIGITS_MAX];
        characters[..6].copy_from_slice(&text.as_bytes()[..6]);
        let last = text.len() - 4;
        characters[last..text.len()].copy_from_slice(&text.as_bytes()[last..]);
        TruncatedPan { characters, length: self.length }
    }
}

/// Whether a string of digits ends with its Luhn check digit (ISO/IEC 7812-1 annex B). Anything but digits is invalid.
pub fn luhn_valid(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && luhn_sum(digits, 0).is_multiple_of(10)
}

/// The Luhn check digit that belongs behind `body`, 0–9; `None` if there is anything but digits.
pub fn luhn_check_digit(body: &str) -> Option<u8> {
    if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u8::try_from((10 - luhn_sum(body, 1) % 10) % 10).ok()
}

/// Sum of the digits' terms, where the last digit stands `offset` places left of the end.
fn luhn_sum(digits: &str, offset: usize) -> u32 {
    digits.bytes().rev().enumerate().map(|(index, byte)| luhn_term(index + offset, byte)).sum()
}

fn luhn_term(index: usize, byte: u8) -> u32 {
    let digit = u32::from(byte - b'0');
    match (index % 2, digit * 2) {
        (0, _) => digit,
        (_, doubled) if doubled > 9 => doubled - 9,
        (_, doubled) => doubled,
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pan({})", self.truncated())
    }
}

/// First six and last four digits with `*` between: safe to show, store and print.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TruncatedPan {
    characters: [u8; PAN_DIGITS_MAX],
    length: u8,
}

impl TruncatedPan {
    /// Reads the printed form back: six digits, `*`s, four digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "truncated PAN";
        if !(PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&text.len()) {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "12 to 19" });
        }
        let last = text.len() - 4;
        let wrong = |(index, byte): (usize, u8)| {
            if (6..last).contains(&index) { byte != b'*' } else { !byte.is_ascii_digit() }
        };
        if let Some(position) = text.bytes().enumerate().position(wrong) {
            return Err(Invalid::Character { what: WHAT, position });
        }
        let mut characters = [0; PAN_DIGITS_MAX];
        characters[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { characters, length: u8::try_from(text.len()).expect("at most 19") })
    }

    /// The printed form.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.characters[..usize::from(self.length)]).expect("digits and asterisks")
    }

    /// The issuer identification digits that are shown (six).
    pub fn issuer_digits(&self) -> &str {
        &self.text()[..6]
    }
}

impl fmt::Display for TruncatedPan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl fmt::Debug for TruncatedPan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

/// Keyed hash of a PAN: the same card gives the same token under one key, and nobody without the key can find the card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardToken(pub [u8; CARD_TOKEN_BYTES]);

impl CardToken {
    /// From exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl CardToken {
    /// Its hexadecimal digits, as it is printed.
    pub fn hexadecimal(&self) -> impl Iterator<Item = char> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)]))
    }
}

impl fmt::Display for CardToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hexadecimal().try_for_each(|digit| formatter.write_char(digit))
    }
}

impl fmt::Debug for CardToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CardToken({self})")
    }
}

/// Card expiry, year and month (F14 YYMM). The century is 2000–2099.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    year: u8,
    month: u8,
}

impl Expiry {
    /// Two-digit year and month 1–12.
    pub const fn new(year: u8, month: u8) -> Option<Self> {
        if year <= 99 && month >= 1 && month <= 12 { Some(Self { year, month }) } else { None }
    }

    /// Four ASCII digits YYMM.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "expiry";
        all_digits(WHAT, text)?;
        if text.len() != 4 {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "4" });
        }
        let number: u16 = text.parse().map_err(|_| Invalid::Rule { what: WHAT, rule: "not a number" })?;
        let (year, month) = (number / 100, number % 100);
        Self::new(u8::try_from(year).unwrap_or(u8::MAX), u8::try_from(month).unwrap_or(u8::MAX))
            .ok_or(Invalid::Rule { what: WHAT, rule: "month outside 1 to 12" })
    }

    /// Four ASCII digits YYMM: the one greppable door. Expiry is cardholder data.
    pub fn expose(self) -> String {
        format!("{:02}{:02}", self.year, self.month)
    }

    /// Two-digit year.
    pub const fn year(self) -> u8 {
        self.year
    }

    /// Month 1–12.
    pub const fn month(self) -> u8 {
        self.month
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Expiry(****)")
    }
}

/// A PIN, 4–12 digits. Never prints, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pin {
    digits: Box<[u8; PIN_DIGITS_MAX]>,
    length: u8,
}

impl Pin {
    /// ASCII digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "PIN";
        all_digits(WHAT, text)?;
        if !(PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&text.len()) {
            return Err(Invalid::Rule { what: WHAT, rule: "expected 4 to 12 digits" });
        }
        let mut digits = Box::new([0; PIN_DIGITS_MAX]);
        digits[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { digits, length: u8::try_from(text.len()).expect("at most 12") })
    }

    /// The ASCII digits: the one greppable door.
    pub fn expose(&self) -> &str {
        core::str::from_utf8(&self.digits[..usize::from(self.length)]).expect("checked to be digits")
    }

    /// An explicit second copy.
    pub fn duplicate(&self) -> Self {
        Self { digits: self.digits.clone(), length: self.length }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pin(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pan_prints_truncated() {
        let pan = Pan::parse("6222620000000000012").unwrap();
        assert_eq!(format!("{pan:?}"), "Pan(622262*********0012)");
        assert!(pan.luhn_valid());
        assert!(!Pan::parse("6222620000000000013").unwrap().luhn_valid());
        assert_eq!(TruncatedPan::parse("622262*********0012").unwrap(), pan.truncated());
        assert!(TruncatedPan::parse("6222620000000000012").is_err());
    }

    #[test]
    fn errors_do_not_repeat_account_data() {
        let error = Pan::parse("622262000000000001X").unwrap_err().to_string();
        assert!(!error.contains("622262"), "{error}");
    }

    #[test]
    fn pins_are_4_to_12_digits_and_silent() {
        assert!(Pin::parse("123").is_err() && Pin::parse("1234567890123").is_err() && Pin::parse("12a4").is_err());
        assert_eq!(format!("{:?}", Pin::parse("123456").unwrap()), "Pin(****)");
    }

    #[test]
    fn an_expiry_needs_a_month() {
        assert!(Expiry::parse("3013").is_err() && Expiry::parse("3000").is_err());
        assert!(Expiry::parse("2611").unwrap() < Expiry::parse("3012").unwrap());
    }
}
