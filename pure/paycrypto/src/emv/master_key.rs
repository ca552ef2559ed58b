//! ICC master keys from issuer master keys (EMV 4.4 Book 2 annex A1.4).

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::decimal_digits::select_decimal_digits;
use crate::emv::require_double;
use crate::key_material::set_odd_parity;
use crate::pin_block::ACCOUNT_DIGITS_MAX;
use crate::{CryptoError, TdesKey};

/// Digits that enter the derivation.
const DIVERSIFICATION_DIGITS: usize = 16;
const SEQUENCE_NUMBER_MAX: u8 = 99;
const SHA_1_BYTES: usize = 20;

/// How account number and sequence number become derivation data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterKeyOption {
    /// The rightmost sixteen digits of account number and sequence number (annex A1.4.1).
    A,
    /// As option A up to sixteen account digits, above that sixteen digits picked from their SHA-1 (annex A1.4.2).
    B,
}

/// Digits as nibbles, packed to the right with zeros on the left.
fn pack_right(digits: &[u8]) -> [u8; DES_BLOCK_BYTES] {
    let mut packed = [0; DES_BLOCK_BYTES];
    for (i, digit) in digits.iter().rev().take(DIVERSIFICATION_DIGITS).enumerate() {
        packed[DES_BLOCK_BYTES - 1 - i / 2] |= digit << (4 * (i % 2));
    }
    packed
}

/// Account number, then sequence number, as digit values.
fn joined_digits(account_number: &[u8], sequence_number: u8) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let fits = (1..=ACCOUNT_DIGITS_MAX).contains(&account_number.len());
    if !fits || !account_number.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::AccountNumber);
    }
    if sequence_number > SEQUENCE_NUMBER_MAX {
        return Err(CryptoError::Parameter);
    }
    let mut digits = Zeroizing::new(Vec::with_capacity(ACCOUNT_DIGITS_MAX + 2));
    digits.extend(account_number.iter().map(|digit| digit - b'0'));
    digits.extend([sequence_number / 10, sequence_number % 10]);
    Ok(digits)
}

/// The hash of option B: SHA-1 over the packed digits of account and sequence number, an odd number of them behind a
/// zero. Its decimal digits, then its letters as 0 to 5, become the derivation data.
///
/// # Errors
/// As [`diversification_data`].
pub fn option_b_hash(account_number: &[u8], sequence_number: u8) -> Result<[u8; SHA_1_BYTES], CryptoError> {
    Ok(hash_of_digits(&joined_digits(account_number, sequence_number)?))
}

fn hash_of_digits(digits: &[u8]) -> [u8; SHA_1_BYTES] {
    let odd = usize::from(digits.len() % 2 == 1);
    let mut nibbles = Zeroizing::new(vec![0; odd]);
    nibbles.extend_from_slice(digits);
    let packed: Zeroizing<Vec<u8>> = Zeroizing::new(nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    Sha1::digest(&packed).into()
}

/// The eight bytes Y that an issuer master key enciphers to give the left half of an ICC master key.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless there are 1 to 19 ASCII digits, [`CryptoError::Parameter`] for a sequence
/// number above 99.
pub fn diversification_data(
    option: MasterKeyOption,
    account_number: &[u8],
    sequence_number: u8,
) -> Result<[u8; DES_BLOCK_BYTES], CryptoError> {
    let digits = joined_digits(account_number, sequence_number)?;
    let hashed = option == MasterKeyOption::B && account_number.len() > DIVERSIFICATION_DIGITS;
    Ok(if hashed {
        pack_right(&select_decimal_digits::<DIVERSIFICATION_DIGITS>(&hash_of_digits(&digits)))
    } else {
        pack_right(&digits)
    })
}

/// Derives a card's master key from its issuer's, with odd parity.
///
/// `sequence_number` is the PAN sequence number (tag 5F34) as a number; 0 if the card has none.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`], [`CryptoError::AccountNumber`], [`CryptoError::Parameter`].
pub fn icc_master_key(
    option: MasterKeyOption,
    issuer_master_key: &TdesKey,
    account_number: &[u8],
    sequence_number: u8,
) -> Result<TdesKey, CryptoError> {
    let mut bytes = icc_master_key_before_parity(option, issuer_master_key, account_number, sequence_number)?;
    set_odd_parity(&mut *bytes);
    Ok(TdesKey::from_double(&bytes))
}

/// As [`icc_master_key`], parity as it falls: the same key to DES, other bytes to compare.
///
/// # Errors
/// As [`icc_master_key`].
pub fn icc_master_key_before_parity(
    option: MasterKeyOption,
    issuer_master_key: &TdesKey,
    account_number: &[u8],
    sequence_number: u8,
) -> Result<Zeroizing<[u8; 2 * DES_BLOCK_BYTES]>, CryptoError> {
    require_double(issuer_master_key)?;
    let left = diversification_data(option, account_number, sequence_number)?;
    let mut halves = Zeroizing::new([left, left.map(|byte| !byte)]);
    issuer_master_key.encrypt_blocks(&mut *halves);
    let mut bytes = Zeroizing::new([0; 2 * DES_BLOCK_BYTES]);
    bytes.copy_from_slice(halves.as_flattened());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_account_numbers_are_filled_on_the_left() {
        let data = diversification_data(MasterKeyOption::A, b"123", 45).unwrap();
        assert_eq!(data, [0, 0, 0, 0, 0, 0x01, 0x23, 0x45]);
        let data = diversification_data(MasterKeyOption::A, b"6228480402564890018", 1).unwrap();
        assert_eq!(data, [0x80, 0x40, 0x25, 0x64, 0x89, 0x00, 0x18, 0x01]);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let key = TdesKey::new(&[7; 16]).unwrap();
        let derive = |key, pan, number| icc_master_key(MasterKeyOption::B, key, pan, number).err();
        assert_eq!(derive(&key, b"12x4", 0), Some(CryptoError::AccountNumber));
        assert_eq!(derive(&key, b"", 0), Some(CryptoError::AccountNumber));
        assert_eq!(derive(&key, b"1234", 100), Some(CryptoError::Parameter));
        let single = TdesKey::new(&[7; 8]).unwrap();
        assert_eq!(derive(&single, b"1234", 0), Some(CryptoError::DoubleLengthNeeded));
    }
}
