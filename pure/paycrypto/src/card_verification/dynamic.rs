//! Dynamic card verification codes: one transaction, one value.
//!
//! Mastercard's CVC3 of contactless magnetic-stripe mode, and Visa's dCVV. Both are computed with a key of the card,
//! derived from an issuer master key by [`crate::emv::icc_master_key`].

use types::ServiceCode;

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::card_verification::{
    CardVerificationKind, CardVerificationSteps, CardVerificationValue, account_digits, packed_input,
};
use crate::decimal_digits::nibbles_of;
use crate::emv::{Atc, UnpredictableNumber, require_double};
use crate::mac::retail_mac;
use crate::padding::Padding;
use crate::{CryptoError, TdesKey};

/// Digits at the left of the account number that a transaction counter takes the place of.
const COUNTER_DIGITS: usize = 4;

/// IVCVC3: the last two bytes of a MAC over the static track data template.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn dynamic_cvc3_iv(key: &TdesKey, track_template: &[u8]) -> Result<[u8; 2], CryptoError> {
    require_double(key)?;
    let mac = retail_mac(key, track_template, Padding::Marker)?;
    Ok([mac[DES_BLOCK_BYTES - 2], mac[DES_BLOCK_BYTES - 1]])
}

/// CVC3 as a number of up to five digits; a track carries its last three or more.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn dynamic_cvc3(key: &TdesKey, iv: [u8; 2], un: UnpredictableNumber, atc: Atc) -> Result<u16, CryptoError> {
    require_double(key)?;
    let block = [iv[0], iv[1], un[0], un[1], un[2], un[3], atc[0], atc[1]];
    let enciphered = key.encrypted(block);
    Ok(u16::from_be_bytes([enciphered[6], enciphered[7]]))
}

/// dCVV: the CVV of the account number whose first four digits are replaced by the transaction counter.
///
/// `key` is the card's, by option A from the issuer's dCVV master key. `atc` is taken nibble by nibble as it is; an
/// issuer that counts in decimal hands over packed decimal digits.
///
/// # Errors
/// [`CryptoError::AccountNumber`], [`CryptoError::Expiry`], [`CryptoError::DoubleLengthNeeded`].
pub fn dynamic_card_verification_value(
    key: &TdesKey,
    account_number: &[u8],
    atc: Atc,
    expiry: &[u8],
    service_code: ServiceCode,
) -> Result<CardVerificationValue, CryptoError> {
    Ok(dynamic_card_verification_steps(key, account_number, atc, expiry, service_code)?.value())
}

/// As [`dynamic_card_verification_value`], with what it passes through.
///
/// # Errors
/// As [`dynamic_card_verification_value`].
pub fn dynamic_card_verification_steps(
    key: &TdesKey,
    account_number: &[u8],
    atc: Atc,
    expiry: &[u8],
    service_code: ServiceCode,
) -> Result<CardVerificationSteps, CryptoError> {
    let altered = nibbles_of(&atc).chain(account_digits(account_number)?.skip(COUNTER_DIGITS));
    let service = CardVerificationKind::MagneticStripe(service_code).service_digits();
    CardVerificationSteps::new(key, packed_input(altered, expiry, service)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card_verification::card_verification_value;

    #[test]
    fn a_decimal_counter_gives_the_value_of_the_altered_number() {
        let key = TdesKey::new(&core::array::from_fn::<u8, 16, _>(|i| i as u8 * 11)).unwrap();
        let service = ServiceCode::parse("201").unwrap();
        let dynamic = dynamic_card_verification_value(&key, b"4123456789012345", [0x32, 0x10], b"1310", service);
        let kind = CardVerificationKind::MagneticStripe(service);
        let of_altered = card_verification_value(&key, b"3210456789012345", b"1310", kind);
        assert_eq!(dynamic.unwrap(), of_altered.unwrap());
    }

    #[test]
    fn another_counter_is_another_transaction() {
        let key = TdesKey::new(&core::array::from_fn::<u8, 16, _>(|i| i as u8 * 11)).unwrap();
        let codes: Vec<u16> = (0..4).map(|atc| dynamic_cvc3(&key, [1, 2], [0; 4], [0, atc]).unwrap()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
