//! Key check values: how two ends see that they hold the same key without showing it.

use crate::block::{AES_BLOCK_BYTES, BlockCipher};
use crate::mac::cmac;
use crate::{CryptoError, TdesKey, constant_time_eq};

/// Length of UnionPay's check values in sign-in field 62.
pub const UNIONPAY_CHECK_VALUE_BYTES: usize = 4;
/// Shortest check value that is worth comparing (ANSI X9.24-1 shows three bytes).
pub const CHECK_VALUE_BYTES_MIN: usize = 3;
/// Length of the CMAC check value of ANSI X9.24-1 annex A for AES.
pub const CMAC_CHECK_VALUE_BYTES: usize = 5;

/// A block of zeros enciphered under the key, untruncated: DES/TDES legacy check value, also used with AES and SM4.
#[must_use]
pub fn zero_block_check_value<const N: usize>(cipher: &impl BlockCipher<N>) -> [u8; N] {
    cipher.encrypted([0; N])
}

/// CMAC over a block of zeros, first five bytes (ANSI X9.24-1:2017 annex A, for AES keys).
#[must_use]
pub fn cmac_check_value(key: &impl BlockCipher<AES_BLOCK_BYTES>) -> [u8; CMAC_CHECK_VALUE_BYTES] {
    let full = cmac(key, &[0; AES_BLOCK_BYTES]);
    core::array::from_fn(|i| full[i])
}

/// The 4-byte check value that UnionPay's sign-in carries for a working key (UnionPay POS §4.3).
#[must_use]
pub fn unionpay_check_value(key: &TdesKey) -> [u8; UNIONPAY_CHECK_VALUE_BYTES] {
    let full = zero_block_check_value(key);
    core::array::from_fn(|i| full[i])
}

/// Verifies a check value of 3 bytes up to the whole block against the legacy (zero block) value.
///
/// # Errors
/// [`CryptoError::Parameter`] for a length that proves nothing, [`CryptoError::CheckValue`] on a mismatch.
pub fn verify_zero_block_check_value<const N: usize>(
    cipher: &impl BlockCipher<N>,
    expected: &[u8],
) -> Result<(), CryptoError> {
    if !(CHECK_VALUE_BYTES_MIN..=N).contains(&expected.len()) {
        return Err(CryptoError::Parameter);
    }
    let full = zero_block_check_value(cipher);
    if constant_time_eq(&full[..expected.len()], expected) { Ok(()) } else { Err(CryptoError::CheckValue) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmk_of_the_worked_messages() {
        let tmk = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
        let tmk = TdesKey::new(&tmk).unwrap();
        assert_eq!(unionpay_check_value(&tmk), [0x08, 0xD7, 0xB4, 0xFB]);
        assert!(verify_zero_block_check_value(&tmk, &[0x08, 0xD7, 0xB4]).is_ok());
        assert_eq!(verify_zero_block_check_value(&tmk, &[0x08, 0xD7]).err(), Some(CryptoError::Parameter));
        assert_eq!(verify_zero_block_check_value(&tmk, &[0; 4]).err(), Some(CryptoError::CheckValue));
    }
}
