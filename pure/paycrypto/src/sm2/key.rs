//! Private and public keys, and the digest that binds a public key to its owner's name.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::CryptoError;
use crate::sm2::curve::{AffinePoint, Coordinate, Curve, Point};
use crate::sm2::integer::Number;
use crate::sm3::{SM3_DIGEST_BYTES, sm3};

/// The user's name where nobody agreed on another one (GM/T 0009-2012 §10).
pub const DEFAULT_USER_ID: &[u8] = b"1234567812345678";
/// Longest user's name in bytes: its length in bits is written in two bytes.
pub const USER_ID_BYTES_MAX: usize = u16::MAX as usize / 8;

/// Reads a scalar from 1 to n − 1.
pub(crate) fn scalar(curve: &Curve, bytes: &Coordinate) -> Result<Number, CryptoError> {
    let number = Number::from_bytes(bytes);
    let in_range = number.is_less_than(curve.order().value()) & !number.is_zero();
    if bool::from(in_range) { Ok(number) } else { Err(CryptoError::Scalar) }
}

/// A public key: a point of the curve, checked when it was read.
#[derive(Clone, Debug)]
pub struct PublicKey {
    pub(crate) curve: Curve,
    pub(crate) point: Point,
    affine: AffinePoint,
}

impl PublicKey {
    /// Takes a point, which must be on the curve. Since the cofactor is one, it then also has the curve's order.
    ///
    /// # Errors
    /// [`CryptoError::CurvePoint`].
    pub fn new(curve: &Curve, affine: AffinePoint) -> Result<Self, CryptoError> {
        let point = curve.point(&affine)?;
        Ok(Self { curve: curve.clone(), point, affine })
    }

    /// The coordinates.
    #[must_use]
    pub fn point(&self) -> &AffinePoint {
        &self.affine
    }

    /// ZA: digest of the owner's name, the curve and the key (GB/T 32918.2 §5.5).
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] for a name longer than [`USER_ID_BYTES_MAX`].
    pub fn identity_digest(&self, user_id: &[u8]) -> Result<[u8; SM3_DIGEST_BYTES], CryptoError> {
        if user_id.len() > USER_ID_BYTES_MAX {
            return Err(CryptoError::DataLength(user_id.len()));
        }
        let bits = (user_id.len() * 8) as u16;
        let CurveParts { a, b, generator_x, generator_y } = CurveParts::of(&self.curve);
        let name: [&[u8]; 2] = [&bits.to_be_bytes(), user_id];
        Ok(sm3(&[name[0], name[1], a, b, generator_x, generator_y, &self.affine.x, &self.affine.y]))
    }
}

/// What of a curve enters ZA.
struct CurveParts<'a> {
    a: &'a Coordinate,
    b: &'a Coordinate,
    generator_x: &'a Coordinate,
    generator_y: &'a Coordinate,
}

impl<'a> CurveParts<'a> {
    fn of(curve: &'a Curve) -> Self {
        let parameters = curve.parameters();
        let (generator_x, generator_y) = (&parameters.generator_x, &parameters.generator_y);
        Self { a: &parameters.a, b: &parameters.b, generator_x, generator_y }
    }
}

/// A secret number of the curve. Wiped on drop; never prints.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SecretScalar(pub(crate) Number);

/// A private key with its public one. Wiped on drop; never prints.
pub struct PrivateKey {
    pub(crate) secret: SecretScalar,
    public: PublicKey,
}

impl PrivateKey {
    /// Takes a number from 1 to n − 2: n − 1 cannot sign (GB/T 32918.1 §6.1).
    ///
    /// # Errors
    /// [`CryptoError::Scalar`].
    pub fn new(curve: &Curve, bytes: &Coordinate) -> Result<Self, CryptoError> {
        let secret = SecretScalar(scalar(curve, bytes)?);
        let order_minus_one = curve.order().difference(Number::default(), Number::ONE);
        if bool::from(secret.0.ct_eq(&order_minus_one)) {
            return Err(CryptoError::Scalar);
        }
        let point = curve.multiply(curve.generator(), secret.0);
        let public = PublicKey { curve: curve.clone(), point, affine: curve.affine(point)? };
        Ok(Self { secret, public })
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn curve(&self) -> &Curve {
        &self.public.curve
    }

    /// The clear number, for wrapping under another key.
    #[must_use]
    pub fn expose_bytes(&self) -> zeroize::Zeroizing<Coordinate> {
        zeroize::Zeroizing::new(self.secret.0.to_bytes())
    }
}

impl core::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("sm2::PrivateKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_from_one_to_n_minus_two() {
        let curve = Curve::recommended();
        let order = curve.parameters().order;
        let mut minus_one = order;
        minus_one[31] -= 1;
        let mut minus_two = order;
        minus_two[31] -= 2;
        for refused in [[0; 32], order, minus_one, [0xFF; 32]] {
            assert_eq!(PrivateKey::new(&curve, &refused).err(), Some(CryptoError::Scalar));
        }
        let key = PrivateKey::new(&curve, &minus_two).unwrap();
        assert_eq!(*key.expose_bytes(), minus_two);
        assert_eq!(format!("{key:?}"), "sm2::PrivateKey(***)");
    }

    #[test]
    fn a_name_has_a_length_that_fits() {
        let curve = Curve::recommended();
        let key = PrivateKey::new(&curve, &[7; 32]).unwrap();
        assert!(key.public_key().identity_digest(&[0; USER_ID_BYTES_MAX]).is_ok());
        let too_long = key.public_key().identity_digest(&[0; USER_ID_BYTES_MAX + 1]);
        assert_eq!(too_long, Err(CryptoError::DataLength(USER_ID_BYTES_MAX + 1)));
    }
}
