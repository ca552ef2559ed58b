//! The signature of GB/T 32918.2.

use zeroize::Zeroizing;

use crate::sm2::curve::{COORDINATE_BYTES, Coordinate};
use crate::sm2::integer::Number;
use crate::sm2::key::{PrivateKey, PublicKey, SecretScalar, scalar};
use crate::sm3::{SM3_DIGEST_BYTES, sm3};
use crate::{CryptoError, constant_time_eq};

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 2 * COORDINATE_BYTES;

/// A signature: two numbers, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// First number.
    pub r: Coordinate,
    /// Second number.
    pub s: Coordinate,
}

impl Signature {
    /// Reads r and s, one after the other.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`]. Their range is verification's business.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (numbers, rest) = bytes.as_chunks::<COORDINATE_BYTES>();
        match (numbers, rest) {
            ([r, s], []) => Ok(Self { r: *r, s: *s }),
            _ => Err(CryptoError::DataLength(bytes.len())),
        }
    }

    /// r and s, one after the other.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        core::array::from_fn(|i| if i < COORDINATE_BYTES { self.r[i] } else { self.s[i - COORDINATE_BYTES] })
    }
}

impl PublicKey {
    /// The digest e that is signed: SM3 of ZA and the message.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] for too long a name.
    pub fn message_digest(&self, user_id: &[u8], message: &[u8]) -> Result<[u8; SM3_DIGEST_BYTES], CryptoError> {
        Ok(sm3(&[&self.identity_digest(user_id)?, message]))
    }

    /// Verifies that the owner of this key, known as `user_id`, signed `message`.
    ///
    /// # Errors
    /// [`CryptoError::Scalar`] if r or s is no signature's number; [`CryptoError::Integrity`] if it is not the
    /// owner's signature of this message; [`CryptoError::DataLength`] for too long a name.
    pub fn verify(&self, user_id: &[u8], message: &[u8], signature: &Signature) -> Result<(), CryptoError> {
        self.verify_digest(&self.message_digest(user_id, message)?, signature)
    }

    /// As [`Self::verify`], for a message whose digest e is known.
    ///
    /// # Errors
    /// [`CryptoError::Scalar`], [`CryptoError::Integrity`].
    pub fn verify_digest(&self, digest: &[u8; SM3_DIGEST_BYTES], signature: &Signature) -> Result<(), CryptoError> {
        let order = self.curve.order();
        let (r, s) = (scalar(&self.curve, &signature.r)?, scalar(&self.curve, &signature.s)?);
        let t = order.sum(r, s);
        if bool::from(t.is_zero()) {
            return Err(CryptoError::Integrity);
        }
        let from_generator = self.curve.multiply(self.curve.generator(), s);
        let from_key = self.curve.multiply(self.point, t);
        let sum = self.curve.affine(self.curve.add(from_generator, from_key)).map_err(|_| CryptoError::Integrity)?;
        let [e, x] = [digest, &sum.x].map(|bytes| order.reduced(Number::from_bytes(bytes)));
        if constant_time_eq(&order.sum(e, x).to_bytes(), &signature.r) { Ok(()) } else { Err(CryptoError::Integrity) }
    }
}

impl PrivateKey {
    /// Signs `message` as `user_id`, with the random number `k` that nobody else ever learns and that is never used
    /// again: who knows it for one signature knows the key.
    ///
    /// # Errors
    /// [`CryptoError::Scalar`] if `k` is not from 1 to n − 1, [`CryptoError::DrawAgain`]; [`CryptoError::DataLength`]
    /// for too long a name.
    pub fn sign(&self, user_id: &[u8], message: &[u8], k: &Coordinate) -> Result<Signature, CryptoError> {
        self.sign_digest(&self.public_key().message_digest(user_id, message)?, k)
    }

    /// As [`Self::sign`], for a message whose digest e is known.
    ///
    /// # Errors
    /// [`CryptoError::Scalar`], [`CryptoError::DrawAgain`].
    pub fn sign_digest(&self, digest: &[u8; SM3_DIGEST_BYTES], k: &Coordinate) -> Result<Signature, CryptoError> {
        let (curve, order) = (self.curve(), self.curve().order());
        let k = SecretScalar(scalar(curve, k)?);
        let point = curve.affine(curve.multiply(curve.generator(), k.0))?;
        let [e, x] = [digest, &point.x].map(|bytes| order.reduced(Number::from_bytes(bytes)));
        let r = order.sum(e, x);
        let forbidden = r.is_zero() | order.sum(r, k.0).is_zero();
        let secrets = Zeroizing::new([self.secret.0, k.0].map(|number| order.residue(number)));
        let inverse = Zeroizing::new(order.invert(order.add(order.residue(Number::ONE), secrets[0])));
        let numerator = order.subtract(secrets[1], order.multiply(order.residue(r), secrets[0]));
        let s = order.number(order.multiply(*inverse, numerator));
        if bool::from(forbidden | s.is_zero()) {
            return Err(CryptoError::DrawAgain);
        }
        Ok(Signature { r: r.to_bytes(), s: s.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sm2::{AffinePoint, Curve, DEFAULT_USER_ID};
    use proptest::prelude::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        let curve = Curve::recommended();
        let key = PrivateKey::new(&curve, &[0x17; 32]).unwrap();
        let good = key.sign(DEFAULT_USER_ID, b"message", &[0x23; 32]).unwrap();
        assert_eq!(Signature::from_bytes(&good.to_bytes()), Ok(good));
        assert_eq!(Signature::from_bytes(&good.to_bytes()[1..]), Err(CryptoError::DataLength(63)));
        let order = curve.parameters().order;
        for bad in [[0; 32], order, [0xFF; 32]] {
            let verify = |signature| key.public_key().verify(DEFAULT_USER_ID, b"message", &signature);
            assert_eq!(verify(Signature { r: bad, ..good }), Err(CryptoError::Scalar));
            assert_eq!(verify(Signature { s: bad, ..good }), Err(CryptoError::Scalar));
            assert_eq!(key.sign(DEFAULT_USER_ID, b"message", &bad).err(), Some(CryptoError::Scalar));
        }
    }

    #[test]
    fn a_forbidden_value_asks_for_another_draw() {
        // The digest n − x of kG makes r zero.
        let curve = Curve::recommended();
        let (key, k) = (PrivateKey::new(&curve, &[0x17; 32]).unwrap(), [0x23; 32]);
        let x = Number::from_bytes(&curve.base_multiple(&k).unwrap().x);
        let digest = curve.order().difference(Number::default(), curve.order().reduced(x)).to_bytes();
        assert_eq!(key.sign_digest(&digest, &k).err(), Some(CryptoError::DrawAgain));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn signatures_verify_and_changed_bits_do_not(
            d in 1_u8..=0xFE, k: [u8; 32], message: Vec<u8>, name in proptest::collection::vec(any::<u8>(), 0..40), at: usize,
        ) {
            let curve = Curve::recommended();
            let key = PrivateKey::new(&curve, &[d; 32]).unwrap();
            prop_assume!(scalar(&curve, &k).is_ok());
            let signature = key.sign(&name, &message, &k).unwrap();
            let public = key.public_key();
            prop_assert_eq!(public.verify(&name, &message, &signature), Ok(()));
            let mut bytes = signature.to_bytes();
            bytes[at % 64] ^= 1 << (at / 64 % 8);
            let changed = Signature::from_bytes(&bytes).unwrap();
            prop_assert!(public.verify(&name, &message, &changed).is_err());
            let other_message = [&message[..], b"."].concat();
            prop_assert_eq!(public.verify(&name, &other_message, &signature), Err(CryptoError::Integrity));
            let other_name = [&name[..], b"."].concat();
            prop_assert_eq!(public.verify(&other_name, &message, &signature), Err(CryptoError::Integrity));
        }

        #[test]
        fn hostile_input_never_panics(x: [u8; 32], y: [u8; 32], r: [u8; 32], s: [u8; 32], digest: [u8; 32]) {
            let curve = Curve::recommended();
            let _ = PublicKey::new(&curve, AffinePoint { x, y });
            let key = PrivateKey::new(&curve, &[1; 32]).unwrap();
            let forged = key.public_key().verify_digest(&digest, &Signature { r, s });
            prop_assert!(forged.is_err());
        }
    }
}
