//! Public-key encryption of GB/T 32918.4.

use zeroize::{Zeroize, Zeroizing};

use crate::sm2::curve::{AffinePoint, COORDINATE_BYTES, Coordinate, POINT_BYTES};
use crate::sm2::key::{PrivateKey, PublicKey, SecretScalar, scalar};
use crate::sm2::{derive, is_all_zero};
use crate::sm3::{SM3_DIGEST_BYTES, sm3};
use crate::{CryptoError, constant_time_eq};

/// Bytes by which a ciphertext is longer than its message: a point and a digest.
pub const SM2_OVERHEAD_BYTES: usize = POINT_BYTES + SM3_DIGEST_BYTES;

/// How the three parts of a ciphertext follow each other: C1 is a point, C2 the enciphered message, C3 a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CiphertextOrder {
    /// Point, digest, message: GB/T 32918.4-2016 and GM/T 0003.4-2012.
    C1C3C2,
    /// Point, message, digest: the draft of 2010, which older devices speak.
    C1C2C3,
}

/// x₂, y₂ of the shared point, and the key stream that they give.
struct Shared {
    point: Zeroizing<AffinePoint>,
    stream: Zeroizing<Vec<u8>>,
}

impl Shared {
    fn new(point: AffinePoint, message_bytes: usize) -> Result<Self, CryptoError> {
        let point = Zeroizing::new(point);
        let stream = derive(&[&point.x, &point.y], message_bytes)?;
        Ok(Self { point, stream })
    }

    fn apply(&self, text: &mut [u8]) {
        for (byte, key) in text.iter_mut().zip(self.stream.iter()) {
            *byte ^= key;
        }
    }

    fn digest(&self, message: &[u8]) -> [u8; SM3_DIGEST_BYTES] {
        sm3(&[&self.point.x, message, &self.point.y])
    }
}

impl PublicKey {
    /// Enciphers a message of at least one byte for the owner of this key, with the random number `k`.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] for no message; [`CryptoError::Scalar`] if `k` is not from 1 to n − 1;
    /// [`CryptoError::DrawAgain`] if the key stream is all zeros, which for a message of one byte happens once in 256.
    pub fn encrypt(&self, message: &[u8], k: &Coordinate, order: CiphertextOrder) -> Result<Vec<u8>, CryptoError> {
        if message.is_empty() {
            return Err(CryptoError::DataLength(0));
        }
        let (curve, k) = (&self.curve, SecretScalar(scalar(&self.curve, k)?));
        let c1 = curve.affine(curve.multiply(curve.generator(), k.0))?.to_uncompressed();
        let shared = Shared::new(curve.affine(curve.multiply(self.point, k.0))?, message.len())?;
        if is_all_zero(&shared.stream) {
            return Err(CryptoError::DrawAgain);
        }
        let mut c2 = message.to_vec();
        shared.apply(&mut c2);
        let c3 = shared.digest(message);
        Ok(match order {
            CiphertextOrder::C1C3C2 => [&c1[..], &c3, &c2].concat(),
            CiphertextOrder::C1C2C3 => [&c1[..], &c2, &c3].concat(),
        })
    }
}

impl PrivateKey {
    /// Deciphers what was enciphered for this key.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] for less than point, digest and one byte; [`CryptoError::CurvePoint`];
    /// [`CryptoError::Integrity`] if the digest is another one.
    pub fn decrypt(&self, ciphertext: &[u8], order: CiphertextOrder) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if ciphertext.len() <= SM2_OVERHEAD_BYTES {
            return Err(CryptoError::DataLength(ciphertext.len()));
        }
        let (c1, rest) = ciphertext.split_at(POINT_BYTES);
        let (c2, c3) = match order {
            CiphertextOrder::C1C3C2 => (&rest[SM3_DIGEST_BYTES..], &rest[..SM3_DIGEST_BYTES]),
            CiphertextOrder::C1C2C3 => rest.split_at(rest.len() - SM3_DIGEST_BYTES),
        };
        let curve = self.curve();
        let point = curve.point(&AffinePoint::from_uncompressed(c1)?)?;
        let mut product = curve.multiply(point, self.secret.0);
        let shared = Shared::new(curve.affine(product)?, c2.len())?;
        product.zeroize();
        let mut message = Zeroizing::new(c2.to_vec());
        shared.apply(&mut message);
        let authentic = constant_time_eq(&shared.digest(&message), c3) && !is_all_zero(&shared.stream);
        if authentic { Ok(message) } else { Err(CryptoError::Integrity) }
    }
}

const _: () = assert!(POINT_BYTES == 1 + 2 * COORDINATE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sm2::Curve;
    use proptest::prelude::*;

    const ORDERS: [CiphertextOrder; 2] = [CiphertextOrder::C1C3C2, CiphertextOrder::C1C2C3];

    fn key() -> PrivateKey {
        PrivateKey::new(&Curve::recommended(), &[0x17; 32]).unwrap()
    }

    #[test]
    fn unfit_inputs_are_refused_by_kind() {
        let encrypt = |message: &[u8], k| key().public_key().encrypt(message, k, CiphertextOrder::C1C3C2).err();
        assert_eq!(encrypt(b"", &[1; 32]), Some(CryptoError::DataLength(0)));
        assert_eq!(encrypt(b"x", &[0; 32]), Some(CryptoError::Scalar));
        assert_eq!(encrypt(b"x", &[0xFF; 32]), Some(CryptoError::Scalar));
        for order in ORDERS {
            for length in [0, 1, POINT_BYTES, SM2_OVERHEAD_BYTES] {
                assert_eq!(key().decrypt(&vec![4; length], order).err(), Some(CryptoError::DataLength(length)));
            }
            let nonsense = key().decrypt(&[4; SM2_OVERHEAD_BYTES + 1], order);
            assert_eq!(nonsense.err(), Some(CryptoError::CurvePoint));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn round_trips_and_refuses_any_changed_bit(
            message in proptest::collection::vec(any::<u8>(), 4..200), k in 1_u8..0xFF, at: usize, which in 0_usize..2,
        ) {
            let (key, order) = (key(), ORDERS[which]);
            let mut ciphertext = key.public_key().encrypt(&message, &[k; 32], order).unwrap();
            prop_assert_eq!(&**key.decrypt(&ciphertext, order).unwrap(), &message[..]);
            let bit = at % (ciphertext.len() * 8);
            ciphertext[bit / 8] ^= 1 << (bit % 8);
            let refused = key.decrypt(&ciphertext, order).err();
            prop_assert!(matches!(refused, Some(CryptoError::Integrity | CryptoError::CurvePoint)));
        }
    }
}
