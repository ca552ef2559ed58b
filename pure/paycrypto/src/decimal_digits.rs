//! Decimal digits out of cipher text, and the short secret numbers that cards and PINs are verified with.
//!
//! Cipher text of a PIN or of a card's code is secret, so nothing here branches or indexes on its value.

use core::fmt;

use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{CryptoError, constant_time_eq};

/// The two nibbles of each byte, left one first.
pub(crate) fn nibbles_of(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F])
}

/// Picks the first `N` decimal digits of `bytes` from left to right; if they do not suffice, goes on with the letters
/// A to F as 0 to 5. PVV, CVV and EMV's option B of the master key all choose their digits this way.
///
/// `bytes` must have at least `N` nibbles, else zeros remain at the end.
pub(crate) fn select_decimal_digits<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut picked = [0; N];
    let mut count = 0_u8;
    for wanted in [0, 1] {
        for nibble in nibbles_of(bytes) {
            let is_letter = (nibble + 6) >> 4;
            let chosen = is_letter.ct_eq(&wanted);
            let digit = nibble - 10 * is_letter;
            for (index, slot) in picked.iter_mut().enumerate() {
                slot.conditional_assign(&digit, chosen & count.ct_eq(&(index as u8)));
            }
            count += chosen.unwrap_u8();
        }
    }
    picked
}

/// Packs digits two to a byte, filled with zeros on the right. Digits beyond the block are not taken.
pub(crate) fn pack_left<const N: usize>(digits: impl Iterator<Item = u8>) -> [u8; N] {
    let mut packed = [0; N];
    for (index, digit) in digits.take(2 * N).enumerate() {
        packed[index / 2] |= digit << (4 * (1 - index % 2));
    }
    packed
}

/// Exactly `N` secret decimal digits. Wiped on drop, never prints, compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretDigits<const N: usize>([u8; N]);

impl<const N: usize> SecretDigits<N> {
    /// Takes `N` ASCII digits.
    ///
    /// # Errors
    /// [`CryptoError::VerificationDigits`] for another length or a character that is no digit.
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        let ascii: [u8; N] = text.as_bytes().try_into().map_err(|_| CryptoError::VerificationDigits)?;
        if !ascii.iter().all(u8::is_ascii_digit) {
            return Err(CryptoError::VerificationDigits);
        }
        Ok(Self(ascii))
    }

    pub(crate) fn from_values(values: [u8; N]) -> Self {
        Self(values.map(|digit| b'0' + digit))
    }

    /// The ASCII digits: the one greppable door.
    #[must_use]
    pub fn expose(&self) -> &str {
        core::str::from_utf8(&self.0).expect("decimal digits")
    }
}

impl<const N: usize> PartialEq for SecretDigits<N> {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl<const N: usize> Eq for SecretDigits<N> {}

impl<const N: usize> fmt::Debug for SecretDigits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretDigits({N} digits, ***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as one reads it in a manual, without regard to timing.
    fn plain_selection(bytes: &[u8], count: usize) -> Vec<u8> {
        let decimals = nibbles_of(bytes).filter(|nibble| *nibble < 10);
        let letters = nibbles_of(bytes).filter(|nibble| *nibble >= 10).map(|nibble| nibble - 10);
        decimals.chain(letters).take(count).collect()
    }

    proptest! {
        #[test]
        fn selection_follows_the_rule(bytes: [u8; 8], digest: [u8; 20]) {
            prop_assert_eq!(select_decimal_digits::<3>(&bytes).to_vec(), plain_selection(&bytes, 3));
            prop_assert_eq!(select_decimal_digits::<4>(&bytes).to_vec(), plain_selection(&bytes, 4));
            prop_assert_eq!(select_decimal_digits::<16>(&digest).to_vec(), plain_selection(&digest, 16));
        }

        #[test]
        fn hostile_texts_never_panic(text: String) {
            let read = SecretDigits::<4>::parse(&text);
            prop_assert_eq!(read.is_ok(), text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()));
        }
    }

    #[test]
    fn letters_follow_when_digits_run_out() {
        assert_eq!(select_decimal_digits::<4>(&[0xFA, 0xB7, 0xCC, 0xDD, 0xEE, 0xFF, 0xAA, 0xBB]), [7, 5, 0, 1]);
    }

    #[test]
    fn secret_digits_do_not_print() {
        let digits = SecretDigits::<3>::parse("561").unwrap();
        assert_eq!(format!("{digits:?}"), "SecretDigits(3 digits, ***)");
        assert!(digits == SecretDigits::parse("561").unwrap() && digits != SecretDigits::parse("560").unwrap());
    }
}
