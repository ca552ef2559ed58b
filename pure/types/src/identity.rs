//! Identifiers of terminals, merchants, messages and batches.

use crate::Invalid;
use core::fmt;

/// The last `N` decimal digits of a number in ASCII, leading zeros included.
pub const fn decimal_digits<const N: usize>(number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    let (mut rest, mut at) = (number, N);
    while at > 0 {
        at -= 1;
        digits[at] += (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn write_digits(formatter: &mut fmt::Formatter<'_>, digits: &[u8]) -> fmt::Result {
    formatter.write_str(core::str::from_utf8(digits).expect("ASCII digits"))
}

/// Systems trace audit number (F11), 1–999999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stan(u32);

impl Stan {
    /// The first number of a fresh terminal.
    pub const FIRST: Stan = Stan(1);
    const LAST: u32 = 999_999;

    /// A number of 1–999999.
    pub const fn new(number: u32) -> Option<Self> {
        if number >= 1 && number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its six ASCII digits.
    pub const fn digits(self) -> [u8; 6] {
        decimal_digits(self.0)
    }

    /// The next number: 999999 is followed by 000001, never by 000000.
    pub const fn next(self) -> Self {
        if self.0 == Self::LAST { Self(1) } else { Self(self.0 + 1) }
    }
}

impl fmt::Display for Stan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(formatter, &self.digits())
    }
}

/// Batch number (F60.2), 1–999999 once signed in; 0 is "not signed in yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BatchNumber(u32);

impl BatchNumber {
    /// No batch yet.
    pub const NONE: BatchNumber = BatchNumber(0);
    /// The first batch.
    pub const FIRST: BatchNumber = BatchNumber(1);
    const LAST: u32 = 999_999;

    /// A number of 0–999999.
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its six ASCII digits.
    pub const fn digits(self) -> [u8; 6] {
        decimal_digits(self.0)
    }

    /// The next batch: 999999 is followed by 000001.
    pub const fn next(self) -> Self {
        if self.0 >= Self::LAST { Self(1) } else { Self(self.0 + 1) }
    }
}

impl fmt::Display for BatchNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(formatter, &self.digits())
    }
}

macro_rules! ascii_word {
    ($(#[$doc:meta])* $name:ident, $length:literal, $what:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Exactly the characters of the field, checked.
            pub fn new(bytes: [u8; $length]) -> Result<Self, Invalid> {
                let allowed: fn(&u8) -> bool = $allowed;
                match bytes.iter().position(|byte| !allowed(byte)) {
                    Some(position) => Err(Invalid::Character { what: $what, position }),
                    None => Ok(Self(bytes)),
                }
            }

            /// From a slice of exactly the field's length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
                let array = bytes.try_into().map_err(|_| Invalid::Length {
                    what: $what, found: bytes.len(), expected: stringify!($length),
                })?;
                Self::new(array)
            }

            /// From text.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                Self::from_slice(text.as_bytes())
            }

            /// The field's bytes.
            pub const fn bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The field's characters.
            pub fn text(&self) -> &str {
                core::str::from_utf8(&self.0).expect("checked to be printable ASCII")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.text())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.text())
            }
        }
    };
}

fn printable(byte: &u8) -> bool {
    (0x20..0x7F).contains(byte)
}

ascii_word!(
    /// Card acceptor terminal identification (F41), ans8.
    TerminalId, 8, "terminal id", printable
);
ascii_word!(
    /// Card acceptor identification code (F42), ans15.
    MerchantId, 15, "merchant id", printable
);
ascii_word!(
    /// Retrieval reference number (F37), an12, assigned by the host.
    Rrn, 12, "retrieval reference number", |byte| byte.is_ascii_alphanumeric() || *byte == b' '
);
ascii_word!(
    /// Authorisation identification response (F38), an6.
    AuthorisationCode, 6, "authorisation code", |byte| byte.is_ascii_alphanumeric() || *byte == b' '
);
ascii_word!(
    /// Response code (F39), an2. Unknown values are kept as they came.
    ResponseCode, 2, "response code", printable
);

impl ResponseCode {
    /// Approved.
    pub const APPROVED: ResponseCode = ResponseCode(*b"00");
    /// Invalid merchant.
    pub const INVALID_MERCHANT: ResponseCode = ResponseCode(*b"03");
    /// Do not honour.
    pub const DO_NOT_HONOUR: ResponseCode = ResponseCode(*b"05");
    /// Error; in a reversal: the card declined or the slip failed.
    pub const ERROR: ResponseCode = ResponseCode(*b"06");
    /// Request in progress: the buyer has not paid yet.
    pub const IN_PROGRESS: ResponseCode = ResponseCode(*b"09");
    /// Approved for a partial amount.
    pub const PARTIAL: ResponseCode = ResponseCode(*b"10");
    /// Invalid transaction.
    pub const INVALID_TRANSACTION: ResponseCode = ResponseCode(*b"12");
    /// Invalid amount.
    pub const INVALID_AMOUNT: ResponseCode = ResponseCode(*b"13");
    /// Invalid card number.
    pub const INVALID_CARD: ResponseCode = ResponseCode(*b"14");
    /// No such issuer.
    pub const NO_ISSUER: ResponseCode = ResponseCode(*b"15");
    /// Original not found.
    pub const NOT_FOUND: ResponseCode = ResponseCode(*b"25");
    /// Format error.
    pub const FORMAT_ERROR: ResponseCode = ResponseCode(*b"30");
    /// Function not supported.
    pub const NOT_SUPPORTED: ResponseCode = ResponseCode(*b"40");
    /// Lost card.
    pub const LOST_CARD: ResponseCode = ResponseCode(*b"41");
    /// Insufficient funds.
    pub const INSUFFICIENT_FUNDS: ResponseCode = ResponseCode(*b"51");
    /// Expired card.
    pub const EXPIRED_CARD: ResponseCode = ResponseCode(*b"54");
    /// Wrong PIN.
    pub const WRONG_PIN: ResponseCode = ResponseCode(*b"55");
    /// Not permitted to the terminal.
    pub const NOT_PERMITTED_TERMINAL: ResponseCode = ResponseCode(*b"58");
    /// Amount limit exceeded.
    pub const LIMIT_EXCEEDED: ResponseCode = ResponseCode(*b"61");
    /// Security violation.
    pub const SECURITY_VIOLATION: ResponseCode = ResponseCode(*b"63");
    /// Original amount incorrect.
    pub const ORIGINAL_AMOUNT: ResponseCode = ResponseCode(*b"64");
    /// PIN tries exceeded.
    pub const PIN_TRIES_EXCEEDED: ResponseCode = ResponseCode(*b"75");
    /// Sign in again.
    pub const SIGN_IN_AGAIN: ResponseCode = ResponseCode(*b"77");
    /// Issuer inoperative.
    pub const ISSUER_INOPERATIVE: ResponseCode = ResponseCode(*b"91");
    /// Duplicate transaction.
    pub const DUPLICATE: ResponseCode = ResponseCode(*b"94");
    /// System malfunction.
    pub const SYSTEM_MALFUNCTION: ResponseCode = ResponseCode(*b"96");
    /// Terminal not registered.
    pub const TERMINAL_UNKNOWN: ResponseCode = ResponseCode(*b"97");
    /// No reply; in a reversal: the terminal had no answer.
    pub const NO_REPLY: ResponseCode = ResponseCode(*b"98");
    /// PIN format error: sign in again.
    pub const PIN_FORMAT: ResponseCode = ResponseCode(*b"99");
    /// MAC error: sign in again.
    pub const MAC_ERROR: ResponseCode = ResponseCode(*b"A0");

    /// Class A of the dialect: the only codes that complete a transaction (unionpay-pos §7).
    pub fn is_approval(self) -> bool {
        matches!(&self.0, b"00" | b"10" | b"11" | b"16" | b"A2" | b"A4" | b"A5" | b"A6")
    }
}

/// Acquiring institution identification code (F32), 1–11 digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstitutionId {
    digits: [u8; 11],
    length: u8,
}

impl InstitutionId {
    /// 1–11 ASCII digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "institution id";
        crate::all_digits(WHAT, text)?;
        let mut digits = [0; 11];
        if text.is_empty() || text.len() > digits.len() {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "1 to 11" });
        }
        digits[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { digits, length: u8::try_from(text.len()).expect("at most 11") })
    }

    /// The digits.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.digits[..usize::from(self.length)]).expect("checked to be digits")
    }
}

impl fmt::Display for InstitutionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl fmt::Debug for InstitutionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_numbers_wrap_past_zero() {
        assert_eq!(Stan::new(999_999).unwrap().next(), Stan::FIRST);
        assert_eq!(Stan::new(0), None);
        assert_eq!(Stan::new(42).unwrap().to_string(), "000042");
    }

    #[test]
    fn words_keep_their_length_and_alphabet() {
        assert!(TerminalId::parse("1234567").is_err());
        assert_eq!(BatchNumber::new(999_999).unwrap().to_string(), "999999");
        assert_eq!(decimal_digits(1_234_567), *b"234567");
        assert_eq!(TerminalId::parse("1234567\n"), Err(Invalid::Character { what: "terminal id", position: 7 }));
        assert_eq!(MerchantId::parse("123456789012345").unwrap().text(), "123456789012345");
        assert!(ResponseCode::parse("Z9").is_ok());
        assert!(!ResponseCode::parse("Z9").unwrap().is_approval());
        assert!(InstitutionId::parse("123456789012").is_err());
    }
}
