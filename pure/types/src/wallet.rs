//! Words of payments by QR code: the wallet that pays and the code between it and the shop.

use crate::{Invalid, TruncatedPan, all_digits};
use core::fmt;

/// Digits of a payment code.
pub const PAYMENT_CODE_DIGITS: usize = 19;

/// The code of one QR payment, 19 digits: a buyer's (付款码), who shows it to pay with it once, or an order's, which the shop shows
/// and the buyer pays. Whoever holds a buyer's code in its minute can spend with it, so it prints masked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentCode([u8; PAYMENT_CODE_DIGITS]);

impl PaymentCode {
    /// Nineteen ASCII digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "payment code";
        all_digits(WHAT, text)?;
        let wrong_length = |_| Invalid::Length { what: WHAT, found: text.len(), expected: "19" };
        text.as_bytes().try_into().map(Self).map_err(wrong_length)
    }

    /// The digits: the one greppable door.
    pub fn expose(&self) -> &str {
        core::str::from_utf8(&self.0).expect("checked to be digits")
    }

    /// First six and last four digits, as a slip shows it.
    pub fn truncated(&self) -> TruncatedPan {
        let text = self.expose();
        TruncatedPan::parse(&format!("{}*********{}", &text[..6], &text[15..]))
            .expect("six digits, asterisks, four digits")
    }
}

impl fmt::Debug for PaymentCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PaymentCode({})", self.truncated())
    }
}

/// A wallet of the built-in issuer: eight digits, the first not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WalletNumber(u32);

impl WalletNumber {
    const FIRST: u32 = 10_000_000;
    const LAST: u32 = 99_999_999;

    /// A number of 10000000–99999999.
    pub const fn new(number: u32) -> Option<Self> {
        if number >= Self::FIRST && number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for WalletNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_code_is_nineteen_digits_and_prints_masked() {
        let code = PaymentCode::parse("6212345678901234567").unwrap();
        assert_eq!(code.expose(), "6212345678901234567");
        assert_eq!(format!("{code:?}"), "PaymentCode(621234*********4567)");
        for wrong in ["", "621234567890123456", "62123456789012345678", "621234567890123456x"] {
            let error = PaymentCode::parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("621234"), "{error}");
        }
    }

    #[test]
    fn a_wallet_number_has_eight_digits() {
        assert!(WalletNumber::new(9_999_999).is_none() && WalletNumber::new(100_000_000).is_none());
        assert_eq!(WalletNumber::new(10_000_001).unwrap().to_string(), "10000001");
    }
}
