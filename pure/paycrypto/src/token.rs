//! The card token: what every part outside the key process knows a card by.

use crate::CryptoError;
use crate::mac::HmacSha256Key;
use crate::pin_block::ACCOUNT_DIGITS_MAX;

/// Length of a card token in bytes.
pub const TOKEN_BYTES: usize = 16;
/// Fewest digits of an account number that gets a token.
pub const TOKEN_ACCOUNT_DIGITS_MIN: usize = 12;

/// Keeps the token function apart from every other use of the same key.
const DOMAIN: &[u8] = b"irontill card token 1\0";

/// HMAC-SHA-256 of the account number's digits, cut to 16 bytes. Keyed, so that the few account numbers that exist
/// cannot be tried out without the key (PCI DSS 3.5.1.1).
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless there are 12 to 19 ASCII digits.
pub fn card_token(key: &HmacSha256Key, account_number: &[u8]) -> Result<[u8; TOKEN_BYTES], CryptoError> {
    let fits = (TOKEN_ACCOUNT_DIGITS_MIN..=ACCOUNT_DIGITS_MAX).contains(&account_number.len());
    if !fits || !account_number.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::AccountNumber);
    }
    let mac = key.mac(&[DOMAIN, account_number]);
    Ok(core::array::from_fn(|i| mac[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_depend_on_key_and_account() {
        let (one, two) = (HmacSha256Key::new(&[1; 32]), HmacSha256Key::new(&[2; 32]));
        let token = card_token(&one, b"6222620000000000012").unwrap();
        assert_eq!(token, card_token(&one, b"6222620000000000012").unwrap());
        assert_ne!(token, card_token(&two, b"6222620000000000012").unwrap());
        assert_ne!(token, card_token(&one, b"6222620000000000020").unwrap());
        assert_eq!(card_token(&one, b"62226200000x").err(), Some(CryptoError::AccountNumber));
        assert_eq!(card_token(&one, b"6222").err(), Some(CryptoError::AccountNumber));
    }
}
