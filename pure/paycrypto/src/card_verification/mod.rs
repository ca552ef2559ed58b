//! Card verification values: CVV, CVC, iCVV, CVV2, CVC2, CAVV and, in the second half, the dynamic ones.
//!
//! Visa's CVV and Mastercard's CVC are one computation with two names: account number, expiry and service code as
//! packed digits, filled with zeros to two blocks, under a pair of DES keys (IBM ICSF `CSNBCSG`; AWS, Thales and
//! UnionPay's CVN are the same). What tells the values of one card apart is the service code that goes in, so that
//! the value read from one place is useless in another: [`CardVerificationKind`].
//!
//! Each value is sensitive authentication data: never stored after authorisation (PCI DSS 3.3.1.2).

mod dynamic;

pub use dynamic::{dynamic_card_verification_steps, dynamic_card_verification_value, dynamic_cvc3, dynamic_cvc3_iv};

use types::{PAN_DIGITS_MAX, PAN_DIGITS_MIN, ServiceCode};
use zeroize::Zeroizing;

use crate::block::DES_BLOCK_BYTES;
use crate::decimal_digits::{SecretDigits, pack_left, select_decimal_digits};
use crate::mac::retail_mac;
use crate::padding::Padding;
use crate::{CryptoError, TdesKey, TdesKeyLength};

/// Digits of a card verification value on stripe, chip and signature panel.
pub const CARD_VERIFICATION_DIGITS: usize = 3;
/// Digits of the expiry that enters the computation.
pub const EXPIRY_DIGITS: usize = 4;

const INPUT_BYTES: usize = 2 * DES_BLOCK_BYTES;
const SERVICE_CODE_DIGITS: usize = 3;

/// A card verification value of three digits.
pub type CardVerificationValue = SecretDigits<CARD_VERIFICATION_DIGITS>;

/// Where a value stands, which decides the service code that it is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardVerificationKind {
    /// CVV, CVC 1 or UnionPay's CVN on the magnetic stripe: the stripe's own service code.
    MagneticStripe(ServiceCode),
    /// iCVV or Chip CVC in the track 2 equivalent data of a chip: 999, so that a chip's data makes no stripe.
    Chip,
    /// CVV2 or CVC2, printed on the card: 000.
    Printed,
}

impl CardVerificationKind {
    /// The three digits that enter the computation.
    fn service_digits(&self) -> [u8; SERVICE_CODE_DIGITS] {
        match self {
            Self::MagneticStripe(code) => code.text().as_bytes().try_into().expect("a service code has three digits"),
            Self::Chip => *b"999",
            Self::Printed => *b"000",
        }
    }
}

/// Digits of account number, expiry and service code, packed from the left. The account number may start with the
/// nibbles of a transaction counter, hence values and no text.
fn packed_input(
    account: impl Iterator<Item = u8>,
    expiry: &[u8],
    service: [u8; SERVICE_CODE_DIGITS],
) -> Result<Zeroizing<[u8; INPUT_BYTES]>, CryptoError> {
    if expiry.len() != EXPIRY_DIGITS || !expiry.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::Expiry);
    }
    let tail = expiry.iter().chain(&service).map(|digit| digit - b'0');
    Ok(Zeroizing::new(pack_left(account.chain(tail))))
}

/// Values of an account number's digits.
fn account_digits(account_number: &[u8]) -> Result<impl Iterator<Item = u8> + '_, CryptoError> {
    let fits = (PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&account_number.len());
    if !fits || !account_number.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::AccountNumber);
    }
    Ok(account_number.iter().map(|digit| digit - b'0'))
}

/// A value on its way, for explanations and test vectors. Wiped on drop; never prints.
pub struct CardVerificationSteps {
    input: Zeroizing<[u8; INPUT_BYTES]>,
    enciphered: Zeroizing<[u8; DES_BLOCK_BYTES]>,
}

impl CardVerificationSteps {
    /// The cipher of all these values: first block under key A, xored with the second, then A, A⁻¹ of B, A. That is
    /// the retail MAC of the packed digits.
    fn new(key: &TdesKey, input: Zeroizing<[u8; INPUT_BYTES]>) -> Result<Self, CryptoError> {
        if key.length() != TdesKeyLength::Double {
            return Err(CryptoError::DoubleLengthNeeded);
        }
        let enciphered = Zeroizing::new(retail_mac(key, &*input, Padding::Zeros)?);
        Ok(Self { input, enciphered })
    }

    /// The packed digits of account number, expiry and service code: two blocks.
    #[must_use]
    pub fn expose_input(&self) -> &[u8] {
        &*self.input
    }

    /// What both blocks become under keys A and B; the value is chosen from its digits.
    #[must_use]
    pub fn expose_enciphered(&self) -> &[u8] {
        &*self.enciphered
    }

    /// The first three decimal digits, letters as 0 to 5 if they do not suffice.
    #[must_use]
    pub fn value(&self) -> CardVerificationValue {
        SecretDigits::from_values(select_decimal_digits(&*self.enciphered))
    }
}

impl core::fmt::Debug for CardVerificationSteps {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CardVerificationSteps(***)")
    }
}

/// Computes the value of a card.
///
/// `key` is the pair of card verification keys A and B. `account_number` has 12 to 19 ASCII digits. `expiry` has
/// four ASCII digits in the order in which the issuer computes, YYMM on tracks; month and year are not judged.
///
/// # Errors
/// [`CryptoError::AccountNumber`], [`CryptoError::Expiry`], [`CryptoError::DoubleLengthNeeded`].
pub fn card_verification_value(
    key: &TdesKey,
    account_number: &[u8],
    expiry: &[u8],
    kind: CardVerificationKind,
) -> Result<CardVerificationValue, CryptoError> {
    Ok(card_verification_steps(key, account_number, expiry, kind)?.value())
}

/// As [`card_verification_value`], with what it passes through.
///
/// # Errors
/// As [`card_verification_value`].
pub fn card_verification_steps(
    key: &TdesKey,
    account_number: &[u8],
    expiry: &[u8],
    kind: CardVerificationKind,
) -> Result<CardVerificationSteps, CryptoError> {
    let input = packed_input(account_digits(account_number)?, expiry, kind.service_digits())?;
    CardVerificationSteps::new(key, input)
}

/// True if `value` is the card's, compared in constant time.
///
/// # Errors
/// As [`card_verification_value`].
pub fn verify_card_verification_value(
    key: &TdesKey,
    account_number: &[u8],
    expiry: &[u8],
    kind: CardVerificationKind,
    value: &CardVerificationValue,
) -> Result<bool, CryptoError> {
    Ok(card_verification_value(key, account_number, expiry, kind)? == *value)
}

/// Visa's CAVV (3-D Secure): the CVV computation with four digits of the authentication tracking number in the place
/// of the expiry, and one digit of authentication result and two of second-factor result in that of the service code.
///
/// # Errors
/// [`CryptoError::AccountNumber`]; [`CryptoError::Expiry`] if the tracking number has not four digits;
/// [`CryptoError::DoubleLengthNeeded`].
pub fn cardholder_authentication_value(
    key: &TdesKey,
    account_number: &[u8],
    tracking_digits: &[u8],
    result_code: ServiceCode,
) -> Result<CardVerificationValue, CryptoError> {
    let results = CardVerificationKind::MagneticStripe(result_code);
    card_verification_value(key, account_number, tracking_digits, results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> TdesKey {
        TdesKey::new(&0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes()).unwrap()
    }

    fn value(expiry: &[u8], kind: CardVerificationKind) -> Result<CardVerificationValue, CryptoError> {
        card_verification_value(&key(), b"4999988887777000", expiry, kind)
    }

    #[test]
    fn one_card_has_a_value_for_each_place() {
        let stripe = CardVerificationKind::MagneticStripe(ServiceCode::parse("101").unwrap());
        assert_eq!(value(b"9105", stripe).unwrap().expose(), "539");
        assert_eq!(value(b"9105", CardVerificationKind::Printed).unwrap().expose(), "091");
        assert_eq!(value(b"9105", CardVerificationKind::Chip).unwrap().expose(), "604");
    }

    #[test]
    fn cavv_digits_stand_where_expiry_and_service_code_do() {
        let results = ServiceCode::parse("000").unwrap();
        let cavv = cardholder_authentication_value(&key(), b"123456789012", b"1108", results).unwrap();
        let printed = card_verification_value(&key(), b"123456789012", b"1108", CardVerificationKind::Printed);
        assert_eq!(cavv, printed.unwrap());
    }

    #[test]
    fn bad_inputs_are_refused_by_kind() {
        let refused = |key: &TdesKey, pan: &[u8], expiry: &[u8]| {
            card_verification_value(key, pan, expiry, CardVerificationKind::Chip).err()
        };
        assert_eq!(refused(&key(), b"55555555512345671234", b"2012"), Some(CryptoError::AccountNumber));
        assert_eq!(refused(&key(), b"555555555123456A", b"2012"), Some(CryptoError::AccountNumber));
        assert_eq!(refused(&key(), b"5555555551234567", b"201"), Some(CryptoError::Expiry));
        assert_eq!(refused(&key(), b"5555555551234567", b"20120"), Some(CryptoError::Expiry));
        assert_eq!(refused(&key(), b"5555555551234567", b"201A"), Some(CryptoError::Expiry));
        for length in [8, 24] {
            let key = TdesKey::new(&vec![0x41; length]).unwrap();
            assert_eq!(refused(&key, b"5555555551234567", b"2012"), Some(CryptoError::DoubleLengthNeeded));
        }
    }

    proptest! {
        #[test]
        fn what_is_generated_verifies_and_another_value_does_not(
            pan in "[0-9]{12,19}", expiry in "[0-9]{4}", service in "[0-9]{3}", guess in "[0-9]{3}",
        ) {
            let kind = CardVerificationKind::MagneticStripe(ServiceCode::parse(&service).unwrap());
            let (pan, expiry) = (pan.as_bytes(), expiry.as_bytes());
            let made = card_verification_value(&key(), pan, expiry, kind).unwrap();
            prop_assert!(verify_card_verification_value(&key(), pan, expiry, kind, &made).unwrap());
            let guessed = CardVerificationValue::parse(&guess).unwrap();
            let verified = verify_card_verification_value(&key(), pan, expiry, kind, &guessed).unwrap();
            prop_assert_eq!(verified, guess == made.expose());
        }

        #[test]
        fn hostile_input_never_panics(pan: Vec<u8>, expiry: Vec<u8>) {
            let _ = card_verification_value(&key(), &pan, &expiry, CardVerificationKind::Chip);
            let _ = dynamic_card_verification_value(&key(), &pan, [0xFF; 2], &expiry, ServiceCode::parse("201").unwrap());
        }
    }
}
