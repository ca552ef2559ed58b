//! How an issuer tells a right PIN from a wrong one without keeping it: Visa's PVV and the IBM 3624 method.
//!
//! * **PVV** (Visa, also called the ABA method): four digits of an enciphered block of account number, key index and
//!   PIN. [`pin_verification_value`].
//! * **IBM 3624**: the account number enciphered and decimalised is the *natural PIN*; what the customer chose is the
//!   natural PIN plus an *offset*, digit by digit modulo ten. [`natural_pin`], [`pin_offset`], [`verify_pin_offset`].
//!
//! Nothing here branches on, or looks up by, a digit of a PIN. Who may ask, and how often, is the key process's
//! business: every verification is a guess.

use core::fmt;

use subtle::{ConditionallySelectable, ConstantTimeEq};
use types::{PAN_DIGITS_MAX, PAN_DIGITS_MIN, PIN_DIGITS_MAX, PIN_DIGITS_MIN, Pin};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::decimal_digits::{SecretDigits, nibbles_of, pack_left, select_decimal_digits};
use crate::emv::require_double;
use crate::pin::{digit_count, from_nibbles, nibbles as pin_nibbles};
use crate::{CryptoError, TdesKey, constant_time_eq};

/// Digits of a PVV, and of the PIN that it is made from.
pub const PIN_VERIFICATION_DIGITS: usize = 4;
/// Account digits in the transformed security parameter: the eleven left of the check digit.
pub const SECURITY_PARAMETER_ACCOUNT_DIGITS: usize = 11;
/// Highest PIN verification key index (PVKI), a decimal digit.
pub const KEY_INDEX_MAX: u8 = 9;
/// Digits of a decimalisation table, and of validation data.
pub const TABLE_DIGITS: usize = 2 * DES_BLOCK_BYTES;
/// Fewest different digits of a decimalisation table that is accepted.
pub const TABLE_DISTINCT_DIGITS_MIN: usize = 8;
/// How often a digit may stand in a decimalisation table that is accepted.
pub const TABLE_REPEATS_MAX: usize = 4;

/// A PIN verification value of four digits.
pub type PinVerificationValue = SecretDigits<PIN_VERIFICATION_DIGITS>;

fn is_account_number(text: &[u8], digits_min: usize) -> bool {
    (digits_min..=PAN_DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// Computes the PVV of a PIN.
///
/// `key` is the double-length PIN verification key, `key_index` its index (PVKI, one decimal digit). The PIN has
/// exactly four digits: an issuer with longer PINs decides itself which four it means.
///
/// # Errors
/// [`CryptoError::Parameter`] for an index above nine, [`CryptoError::PinLength`] unless the PIN has four digits,
/// [`CryptoError::AccountNumber`] unless there are 12 to 19 digits, [`CryptoError::DoubleLengthNeeded`].
pub fn pin_verification_value(
    key: &TdesKey,
    key_index: u8,
    account_number: &[u8],
    pin: &Pin,
) -> Result<PinVerificationValue, CryptoError> {
    let mut block = security_parameter(key_index, account_number, pin)?;
    require_double(key)?;
    key.encrypt_block(&mut block);
    Ok(SecretDigits::from_values(select_decimal_digits(&*block)))
}

/// The transformed security parameter (TSP) that a PVV is enciphered from: eleven account digits, key index, PIN.
///
/// # Errors
/// As [`pin_verification_value`], but for the key.
pub fn security_parameter(
    key_index: u8,
    account_number: &[u8],
    pin: &Pin,
) -> Result<Zeroizing<[u8; DES_BLOCK_BYTES]>, CryptoError> {
    if key_index > KEY_INDEX_MAX {
        return Err(CryptoError::Parameter);
    }
    if digit_count(pin) != PIN_VERIFICATION_DIGITS {
        return Err(CryptoError::PinLength);
    }
    if !is_account_number(account_number, PAN_DIGITS_MIN) {
        return Err(CryptoError::AccountNumber);
    }
    let end = account_number.len() - 1;
    let account = account_number[end - SECURITY_PARAMETER_ACCOUNT_DIGITS..end].iter().map(|digit| digit - b'0');
    Ok(Zeroizing::new(pack_left(account.chain([key_index]).chain(pin_nibbles(pin)))))
}

/// True if the PIN has this PVV, compared in constant time.
///
/// # Errors
/// As [`pin_verification_value`].
pub fn verify_pin_verification_value(
    key: &TdesKey,
    key_index: u8,
    account_number: &[u8],
    pin: &Pin,
    value: &PinVerificationValue,
) -> Result<bool, CryptoError> {
    Ok(pin_verification_value(key, key_index, account_number, pin)? == *value)
}

/// Which decimal digit each of the sixteen hexadecimal ones becomes.
///
/// A caller who may choose the table freely finds a PIN in some fifteen verifications: a table of zeros with a single
/// one answers whether a digit is in the PIN (Bond and Zieliński, 2003). [`DecimalisationTable::new`] therefore wants
/// at least [`TABLE_DISTINCT_DIGITS_MIN`] different digits and none more than [`TABLE_REPEATS_MAX`] times, which is
/// what hardware modules demand. An even table is not enough either if the caller may choose among many, so a key
/// process keeps its issuers' tables itself and takes none from a command.
#[derive(Clone, PartialEq, Eq)]
pub struct DecimalisationTable([u8; TABLE_DIGITS]);

impl DecimalisationTable {
    /// Reads sixteen decimal digits, for the hexadecimal digits 0 to F in turn, and refuses an uneven table.
    ///
    /// # Errors
    /// [`CryptoError::DecimalisationTable`], [`CryptoError::UnevenDecimalisationTable`].
    pub fn new(digits: &str) -> Result<Self, CryptoError> {
        let table = Self::unchecked(digits)?;
        let count = |digit: u8| table.0.iter().filter(|other| **other == digit).count();
        let distinct = (0..10).filter(|digit| count(*digit) > 0).count();
        let even = distinct >= TABLE_DISTINCT_DIGITS_MIN && (0..10).all(|digit| count(digit) <= TABLE_REPEATS_MAX);
        if even { Ok(table) } else { Err(CryptoError::UnevenDecimalisationTable) }
    }

    /// Reads sixteen decimal digits, however uneven. For calculations on test keys only: a process with real keys
    /// that offered this would give its PINs away.
    ///
    /// # Errors
    /// [`CryptoError::DecimalisationTable`].
    pub fn unchecked(digits: &str) -> Result<Self, CryptoError> {
        let ascii: &[u8; TABLE_DIGITS] = digits.as_bytes().try_into().map_err(|_| CryptoError::DecimalisationTable)?;
        if !ascii.iter().all(u8::is_ascii_digit) {
            return Err(CryptoError::DecimalisationTable);
        }
        Ok(Self(ascii.map(|digit| digit - b'0')))
    }

    /// Reads every entry, so that which one is wanted does not show in the time taken.
    fn digit(&self, nibble: u8) -> u8 {
        let mut found = 0;
        for (index, digit) in self.0.iter().enumerate() {
            found.conditional_assign(digit, nibble.ct_eq(&(index as u8)));
        }
        found
    }
}

impl fmt::Debug for DecimalisationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecimalisationTable(***)")
    }
}

/// Which digits of an account number an issuer validates PINs with: so many from a place on, filled on the right to
/// sixteen with one hexadecimal digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidationRule {
    start: usize,
    digits: usize,
    pad: u8,
}

impl ValidationRule {
    /// `digits` digits of the account number, the first being digit `start` counted from zero at the left. `pad` is
    /// one hexadecimal digit.
    ///
    /// # Errors
    /// [`CryptoError::ValidationData`] for no or more than sixteen digits, or a pad that is not one hexadecimal digit.
    pub fn new(start: usize, digits: usize, pad: &str) -> Result<Self, CryptoError> {
        let mut characters = pad.chars().map(|character| character.to_digit(16));
        let (Some(Some(pad)), None) = (characters.next(), characters.next()) else {
            return Err(CryptoError::ValidationData);
        };
        if !(1..=TABLE_DIGITS).contains(&digits) {
            return Err(CryptoError::ValidationData);
        }
        Ok(Self { start, digits, pad: pad as u8 })
    }

    /// Takes the digits of one account number of up to nineteen digits.
    ///
    /// # Errors
    /// [`CryptoError::AccountNumber`]; [`CryptoError::ValidationData`] if it has fewer digits than the rule names.
    pub fn apply(&self, account_number: &[u8]) -> Result<ValidationData, CryptoError> {
        if !is_account_number(account_number, 1) {
            return Err(CryptoError::AccountNumber);
        }
        let end = self.start.checked_add(self.digits).ok_or(CryptoError::ValidationData)?;
        let taken = account_number.get(self.start..end).ok_or(CryptoError::ValidationData)?;
        let values = taken.iter().map(|digit| digit - b'0');
        Ok(ValidationData(pack_left(values.chain(core::iter::repeat(self.pad)))))
    }
}

/// The block that the IBM 3624 method enciphers. Wiped on drop; never prints.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ValidationData([u8; DES_BLOCK_BYTES]);

impl ValidationData {
    /// The packed digits, for explanations and test vectors.
    #[must_use]
    pub fn expose(&self) -> &[u8; DES_BLOCK_BYTES] {
        &self.0
    }
}

impl fmt::Debug for ValidationData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValidationData(***)")
    }
}

/// What is added to a natural PIN to give the customer's: 4 to 12 digits. Wiped on drop, never prints, compared in
/// constant time.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PinOffset {
    /// Digit values.
    values: [u8; PIN_DIGITS_MAX],
    length: usize,
}

impl PinOffset {
    /// Takes 4 to 12 ASCII digits.
    ///
    /// # Errors
    /// [`CryptoError::VerificationDigits`].
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        let length = text.len();
        let fits = (PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&length);
        if !fits || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CryptoError::VerificationDigits);
        }
        let mut values = [0; PIN_DIGITS_MAX];
        for (value, digit) in values.iter_mut().zip(text.bytes()) {
            *value = digit - b'0';
        }
        Ok(Self { values, length })
    }

    fn values(&self) -> &[u8] {
        &self.values[..self.length]
    }

    /// The ASCII digits, wiped when dropped.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(self.values().iter().map(|value| char::from(b'0' + value)).collect())
    }
}

impl PartialEq for PinOffset {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.values(), other.values())
    }
}

impl Eq for PinOffset {}

impl fmt::Debug for PinOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinOffset({} digits, ***)", self.length)
    }
}

type DigitValues = Zeroizing<[u8; TABLE_DIGITS]>;

/// All sixteen digits of the enciphered and decimalised validation data.
fn intermediate_pin(key: &TdesKey, data: &ValidationData, table: &DecimalisationTable) -> DigitValues {
    let block = Zeroizing::new(key.encrypted(data.0));
    let mut digits = Zeroizing::new([0; TABLE_DIGITS]);
    for (digit, nibble) in digits.iter_mut().zip(nibbles_of(&*block)) {
        *digit = table.digit(nibble);
    }
    digits
}

/// The enciphered validation data with every digit decimalised, as text: what natural PINs are the beginning of.
#[must_use]
pub fn decimalised_validation_data(
    key: &TdesKey,
    data: &ValidationData,
    table: &DecimalisationTable,
) -> Zeroizing<String> {
    let digits = intermediate_pin(key, data, table);
    Zeroizing::new(digits.iter().map(|digit| char::from(b'0' + digit)).collect())
}

/// The PIN that belongs to an account number as such: the first `digits` digits of the decimalised cipher text.
///
/// Any length of TDES key goes; single DES is for old issuers' data only.
///
/// # Errors
/// [`CryptoError::PinLength`] unless `digits` is 4 to 12.
pub fn natural_pin(
    key: &TdesKey,
    data: &ValidationData,
    table: &DecimalisationTable,
    digits: usize,
) -> Result<Pin, CryptoError> {
    if !(PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&digits) {
        return Err(CryptoError::PinLength);
    }
    from_nibbles(&intermediate_pin(key, data, table)[..digits])
}

/// The customer's PIN: natural PIN plus offset, digit by digit modulo ten. As long as the offset.
#[must_use]
pub fn pin_from_offset(key: &TdesKey, data: &ValidationData, table: &DecimalisationTable, offset: &PinOffset) -> Pin {
    let mut digits = intermediate_pin(key, data, table);
    for (digit, add) in digits.iter_mut().zip(offset.values()) {
        *digit = (*digit + add) % 10;
    }
    from_nibbles(&digits[..offset.length]).expect("decimal digits, as many as an offset has")
}

/// The offset that makes `pin` the customer's: PIN minus natural PIN, digit by digit modulo ten.
#[must_use]
pub fn pin_offset(key: &TdesKey, data: &ValidationData, table: &DecimalisationTable, pin: &Pin) -> PinOffset {
    let natural = intermediate_pin(key, data, table);
    let mut values = [0; PIN_DIGITS_MAX];
    for ((value, chosen), natural) in values.iter_mut().zip(pin_nibbles(pin)).zip(natural.iter()) {
        *value = (10 + chosen - natural) % 10;
    }
    PinOffset { values, length: digit_count(pin) }
}

/// True if the PIN is natural PIN plus offset, compared in constant time.
///
/// # Errors
/// [`CryptoError::PinLength`] if PIN and offset differ in length.
pub fn verify_pin_offset(
    key: &TdesKey,
    data: &ValidationData,
    table: &DecimalisationTable,
    pin: &Pin,
    offset: &PinOffset,
) -> Result<bool, CryptoError> {
    if digit_count(pin) != offset.length {
        return Err(CryptoError::PinLength);
    }
    Ok(pin_offset(key, data, table, pin) == *offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "1234567890123456";

    fn key() -> TdesKey {
        TdesKey::new(&0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes()).unwrap()
    }

    fn pin(text: &str) -> Pin {
        Pin::parse(text).unwrap()
    }

    #[test]
    fn published_pvvs() {
        // psec, tests of the PVV.
        let examples = [
            (1, "4524", "1122334455667788", "8523"),
            (2, "1912", "1122334455667788", "3244"),
            (1, "0570", "1122334455667718", "3144"),
            (1, "8299", "1122334455667708", "4422"),
        ];
        for (index, digits, pan, pvv) in examples {
            let value = pin_verification_value(&key(), index, pan.as_bytes(), &pin(digits)).unwrap();
            assert_eq!(value.expose(), pvv);
        }
    }

    #[test]
    fn pvv_inputs_are_refused_by_kind() {
        let refused =
            |key: &TdesKey, index, pan: &[u8], digits| pin_verification_value(key, index, pan, &pin(digits)).err();
        assert_eq!(refused(&key(), 10, b"1122334455667788", "0000"), Some(CryptoError::Parameter));
        assert_eq!(refused(&key(), 1, b"1122334455667788", "00000"), Some(CryptoError::PinLength));
        assert_eq!(refused(&key(), 1, b"11223344556", "0000"), Some(CryptoError::AccountNumber));
        assert_eq!(refused(&key(), 1, b"11223344556A", "0000"), Some(CryptoError::AccountNumber));
        let single = TdesKey::new(b"12345678").unwrap();
        assert_eq!(refused(&single, 1, b"1122334455667788", "0000"), Some(CryptoError::DoubleLengthNeeded));
    }

    #[test]
    fn uneven_tables_are_refused() {
        assert!(DecimalisationTable::new(TABLE).is_ok() && DecimalisationTable::new("0123456789012345").is_ok());
        for attack in ["0000000000000000", "0000000100000000", "0123456012345601", "0000056789123456"] {
            assert_eq!(DecimalisationTable::new(attack).err(), Some(CryptoError::UnevenDecimalisationTable));
            assert!(DecimalisationTable::unchecked(attack).is_ok());
        }
        for malformed in ["", "123456789012345", "12345678901234567", "123456789012345A", "１２３４５"] {
            assert_eq!(DecimalisationTable::new(malformed).err(), Some(CryptoError::DecimalisationTable));
            assert_eq!(DecimalisationTable::unchecked(malformed).err(), Some(CryptoError::DecimalisationTable));
        }
    }

    #[test]
    fn validation_rules_fit_or_are_refused() {
        for (digits, pad) in [(0, "F"), (17, "F"), (16, ""), (16, "FF"), (16, "X")] {
            assert_eq!(ValidationRule::new(0, digits, pad).err(), Some(CryptoError::ValidationData));
        }
        let apply = |start, digits, pan: &[u8]| ValidationRule::new(start, digits, "f").unwrap().apply(pan);
        let data = apply(1, 14, b"1122334455667788").unwrap();
        assert_eq!(u64::from_be_bytes(*data.expose()), 0x1223_3445_5667_78FF);
        assert_eq!(apply(1, 16, b"1122334455667788").err(), Some(CryptoError::ValidationData));
        assert_eq!(apply(usize::MAX, 16, b"1122334455667788").err(), Some(CryptoError::ValidationData));
        assert_eq!(apply(0, 16, b"11223344556677889900").err(), Some(CryptoError::AccountNumber));
        assert_eq!(apply(0, 16, b"112233445566778A").err(), Some(CryptoError::AccountNumber));
    }

    #[test]
    fn a_pin_of_another_length_is_no_wrong_pin() {
        let data = ValidationRule::new(0, 16, "F").unwrap().apply(b"1122334455667788").unwrap();
        let table = DecimalisationTable::new(TABLE).unwrap();
        let offset = PinOffset::parse("0000").unwrap();
        let verify = |digits| verify_pin_offset(&key(), &data, &table, &pin(digits), &offset);
        assert_eq!(verify("4524"), Ok(true));
        assert_eq!(verify("4525"), Ok(false));
        assert_eq!(verify("45241"), Err(CryptoError::PinLength));
        assert_eq!(natural_pin(&key(), &data, &table, 4).unwrap().expose(), "4524");
        for digits in [0, 3, 13, usize::MAX] {
            assert_eq!(natural_pin(&key(), &data, &table, digits).err(), Some(CryptoError::PinLength));
        }
        assert_eq!(format!("{offset:?} {data:?} {table:?}").matches("***").count(), 3);
    }

    proptest! {
        #[test]
        fn offset_and_pin_belong_together(
            digits in "[0-9]{4,12}", guess in "[0-9]{4,12}", pan in "[0-9]{16,19}", start in 0_usize..4,
        ) {
            let rule = ValidationRule::new(start, 12, "D").unwrap();
            let (data, table) = (rule.apply(pan.as_bytes()).unwrap(), DecimalisationTable::new(TABLE).unwrap());
            let offset = pin_offset(&key(), &data, &table, &pin(&digits));
            let back = pin_from_offset(&key(), &data, &table, &offset);
            prop_assert!(back.expose() == digits);
            prop_assert!(verify_pin_offset(&key(), &data, &table, &pin(&digits), &offset).unwrap());
            prop_assert!(PinOffset::parse(&offset.expose()).unwrap() == offset);
            let guessed = verify_pin_offset(&key(), &data, &table, &pin(&guess), &offset);
            prop_assert_eq!(guessed.unwrap_or(false), guess == digits);
        }

        #[test]
        fn a_pvv_verifies_its_own_pin(digits in "[0-9]{4}", pan in "[0-9]{12,19}", index in 0_u8..=9) {
            let made = pin_verification_value(&key(), index, pan.as_bytes(), &pin(&digits)).unwrap();
            let verified = verify_pin_verification_value(&key(), index, pan.as_bytes(), &pin(&digits), &made);
            prop_assert!(verified.unwrap());
        }

        #[test]
        fn hostile_input_never_panics(pan: Vec<u8>, start: usize, digits: usize, text: String, index: u8) {
            let _ = PinOffset::parse(&text);
            let _ = DecimalisationTable::new(&text);
            let _ = pin_verification_value(&key(), index, &pan, &pin("1234"));
            if let Ok(rule) = ValidationRule::new(start, digits, &text) {
                let _ = rule.apply(&pan);
            }
            if let Ok(rule) = ValidationRule::new(start, 1 + digits % 16, "0") {
                let _ = rule.apply(&pan);
            }
        }
    }
}
