//! The RSA public operation (EMV 4.4 Book 2 §B2.1). Public keys only; nothing here is secret.

use super::{MAX_MODULUS_BYTES, OdaError};
use num_bigint_dig::BigUint;

const EXPONENT_3: [u8; 1] = [3];
const EXPONENT_65537: [u8; 3] = [1, 0, 1];

/// An RSA public key with one of the two exponents EMV allows.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl core::fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RsaPublicKey({} bits)", self.modulus.len() * 8)
    }
}

impl RsaPublicKey {
    /// A key from big-endian numbers.
    ///
    /// # Errors
    /// [`OdaError::Modulus`], [`OdaError::Exponent`].
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, OdaError> {
        let odd = modulus.last().is_some_and(|last| last & 1 == 1);
        if !odd || modulus.len() > MAX_MODULUS_BYTES || modulus[0] == 0 || modulus == [1] {
            return Err(OdaError::Modulus);
        }
        let significant = exponent.iter().position(|&byte| byte != 0).map_or(&[][..], |first| &exponent[first..]);
        if significant != EXPONENT_3 && significant != EXPONENT_65537 {
            return Err(OdaError::Exponent);
        }
        Ok(RsaPublicKey { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    /// The modulus, big-endian.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The exponent as the certificate gave it.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// Bytes of the modulus.
    pub fn size_bytes(&self) -> usize {
        self.modulus.len()
    }

    /// Applies the public key to exactly as many bytes as the modulus has.
    ///
    /// # Errors
    /// [`OdaError::SignatureLength`].
    pub fn apply(&self, input: &[u8]) -> Result<Vec<u8>, OdaError> {
        if input.len() != self.modulus.len() {
            return Err(OdaError::SignatureLength);
        }
        let modulus = BigUint::from_bytes_be(&self.modulus);
        let base = BigUint::from_bytes_be(input);
        if base >= modulus {
            return Err(OdaError::SignatureLength);
        }
        let squarings = if self.exponent.ends_with(&EXPONENT_65537) { 16 } else { 1 };
        let result = power(&base, squarings, &modulus).to_bytes_be();
        let mut output = vec![0; self.modulus.len()];
        let start = output.len() - result.len().min(output.len());
        output[start..].copy_from_slice(&result);
        Ok(output)
    }
}

/// `base` to the power of 2^squarings + 1. Both exponents that EMV allows are of this form, and so few steps are done long
/// before the library's general method has built its table.
fn power(base: &BigUint, squarings: u32, modulus: &BigUint) -> BigUint {
    let squared = (0..squarings).fold(base.clone(), |square, _| &square * &square % modulus);
    squared * base % modulus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_exponents_give_what_the_library_s_general_method_gives() {
        let modulus: Vec<u8> = (0..128).map(|at: u8| at.wrapping_mul(73) | 0x81).collect();
        let base: Vec<u8> = (0..128).map(|at: u8| at.wrapping_mul(31) & 0x7F).collect();
        for exponent in [&EXPONENT_3[..], &EXPONENT_65537, &[0, 3], &[0, 1, 0, 1]] {
            let expected = BigUint::from_bytes_be(&base)
                .modpow(&BigUint::from_bytes_be(exponent), &BigUint::from_bytes_be(&modulus))
                .to_bytes_be();
            let applied = RsaPublicKey::new(&modulus, exponent).expect("key").apply(&base).expect("result");
            assert_eq!(BigUint::from_bytes_be(&applied), BigUint::from_bytes_be(&expected), "{exponent:?}");
        }
    }

    #[test]
    fn small_numbers_come_out_right_and_padded() {
        // 3233 = 61 · 53; 65³ mod 3233 = 3053 is not needed: 2³ = 8 stays below the modulus.
        let key = RsaPublicKey::new(&[0x0C, 0xA1], &[3]).expect("key");
        assert_eq!(key.apply(&[0x00, 0x02]), Ok(vec![0x00, 0x08]));
        assert_eq!(key.apply(&[0x0C, 0xA1]), Err(OdaError::SignatureLength));
        assert_eq!(key.apply(&[0x02]), Err(OdaError::SignatureLength));
    }

    #[test]
    fn weak_parameters_are_refused() {
        assert_eq!(RsaPublicKey::new(&[], &[3]), Err(OdaError::Modulus));
        assert_eq!(RsaPublicKey::new(&[0x0C, 0xA2], &[3]), Err(OdaError::Modulus));
        assert_eq!(RsaPublicKey::new(&[0x0C, 0xA1], &[1]), Err(OdaError::Exponent));
        assert_eq!(RsaPublicKey::new(&[0x0C, 0xA1], &[]), Err(OdaError::Exponent));
        assert!(RsaPublicKey::new(&[0x0C, 0xA1], &[0, 0, 3]).is_ok());
    }
}
