//! The words of the field, each with its one validity rule.
//!
//! *Duty*: identifiers, amounts, dates and account data as types that cannot be mixed up, and secrets that
//! cannot print, be compared in variable time or linger in freed memory.
//! *Knows*: nothing but its own rules. *Never*: formats of a wire, a store or a screen.
//! *Start here*: [`Pan`], [`Amount`], [`Stan`], [`Secret`].

mod account;
mod amount;
mod identity;
mod secret;
mod time;
mod track;
mod wallet;

pub use account::{
    CARD_TOKEN_BYTES, CardToken, Expiry, PAN_DIGITS_MAX, PAN_DIGITS_MIN, PIN_DIGITS_MAX, PIN_DIGITS_MIN, Pan, Pin,
    TruncatedPan, luhn_check_digit, luhn_valid,
};
pub use amount::{AMOUNT_MINOR_MAX, Amount, Currency};
pub use identity::{
    AuthorisationCode, BatchNumber, InstitutionId, MerchantId, ResponseCode, Rrn, Stan, TerminalId, decimal_digits,
};
pub use secret::{Secret, SecretBytes, wipe};
pub use time::{CivilTime, LocalDate, LocalTime};
pub use track::{
    ServiceCode, TRACK1_CHARACTERS_MAX, TRACK2_CHARACTERS_MAX, Track1, Track2, track_lrc, track1_text_of_tag_56,
};
pub use wallet::{PAYMENT_CODE_DIGITS, PaymentCode, WalletNumber};

/// Why a value is not what its type promises. It never repeats the value: it may be account data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Wrong number of characters or bytes.
    #[error("{what}: length {found}, expected {expected}")]
    Length {
        /// The word in question.
        what: &'static str,
        /// Length found.
        found: usize,
        /// What the rule allows.
        expected: &'static str,
    },
    /// A character outside the word's alphabet.
    #[error("{what}: unexpected character at position {position}")]
    Character {
        /// The word in question.
        what: &'static str,
        /// Zero-based position.
        position: usize,
    },
    /// Out of the permitted range, or a check digit that does not fit.
    #[error("{what}: {rule}")]
    Rule {
        /// The word in question.
        what: &'static str,
        /// The rule that was broken.
        rule: &'static str,
    },
}

/// Refuses anything but decimal digits, naming the position.
pub(crate) fn all_digits(what: &'static str, text: &str) -> Result<(), Invalid> {
    match text.bytes().position(|byte| !byte.is_ascii_digit()) {
        Some(position) => Err(Invalid::Character { what, position }),
        None => Ok(()),
    }
}
