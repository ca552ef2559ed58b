//! The elliptic curve y² = x³ + ax + b and its points, without branches on secrets.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

use crate::CryptoError;
use crate::sm2::integer::{Modulus, NUMBER_BYTES, Number, Residue};

/// Length of a coordinate or scalar in bytes.
pub const COORDINATE_BYTES: usize = NUMBER_BYTES;
/// Length of an uncompressed point in bytes (GB/T 32918.1 §4.2.9, SEC 1 §2.3.3).
pub const POINT_BYTES: usize = 1 + 2 * COORDINATE_BYTES;

const UNCOMPRESSED: u8 = 4;
const WINDOW_BITS: usize = 4;
const WINDOW_POINTS: usize = 1 << WINDOW_BITS;

/// A coordinate or scalar, big-endian.
pub type Coordinate = [u8; COORDINATE_BYTES];

/// The numbers that make a curve, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurveParameters {
    /// The prime p.
    pub prime: Coordinate,
    /// Coefficient a.
    pub a: Coordinate,
    /// Coefficient b.
    pub b: Coordinate,
    /// Order n of the generator, a prime.
    pub order: Coordinate,
    /// x of the generator.
    pub generator_x: Coordinate,
    /// y of the generator.
    pub generator_y: Coordinate,
}

const fn coordinate(high: u128, low: u128) -> Coordinate {
    let (high, low) = (high.to_be_bytes(), low.to_be_bytes());
    let mut bytes = [0; COORDINATE_BYTES];
    let mut i = 0;
    while i < high.len() {
        bytes[i] = high[i];
        bytes[high.len() + i] = low[i];
        i += 1;
    }
    bytes
}

impl CurveParameters {
    /// The recommended curve sm2p256v1 (GB/T 32918.5-2017), OID 1.2.156.10197.1.301.
    pub const RECOMMENDED: Self = Self {
        prime: coordinate(0xFFFF_FFFE_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_0000_0000_FFFF_FFFF_FFFF_FFFF),
        a: coordinate(0xFFFF_FFFE_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_0000_0000_FFFF_FFFF_FFFF_FFFC),
        b: coordinate(0x28E9_FA9E_9D9F_5E34_4D5A_9E4B_CF65_09A7, 0xF397_89F5_15AB_8F92_DDBC_BD41_4D94_0E93),
        order: coordinate(0xFFFF_FFFE_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF, 0x7203_DF6B_21C6_052B_53BB_F409_39D5_4123),
        generator_x: coordinate(0x32C4_AE2C_1F19_8119_5F99_0446_6A39_C994, 0x8FE3_0BBF_F266_0BE1_715A_4589_334C_74C7),
        generator_y: coordinate(0xBC37_36A2_F4F6_779C_59BD_CEE3_6B69_2153, 0xD0A9_877C_C62A_4740_02DF_32E5_2139_F0A0),
    };
}

/// A curve over a prime field of 256 bits whose points have prime order (cofactor 1), ready for arithmetic.
#[derive(Clone, Debug)]
pub struct Curve {
    parameters: CurveParameters,
    field: Modulus,
    order: Modulus,
    a: Residue,
    b: Residue,
    triple_b: Residue,
    generator: Point,
}

/// A point in homogeneous coordinates; the point at infinity has z = 0.
#[derive(Clone, Copy, Debug, Zeroize)]
pub(crate) struct Point {
    x: Residue,
    y: Residue,
    z: Residue,
}

impl ConditionallySelectable for Point {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self {
            x: Residue::conditional_select(&a.x, &b.x, choice),
            y: Residue::conditional_select(&a.y, &b.y, choice),
            z: Residue::conditional_select(&a.z, &b.z, choice),
        }
    }
}

/// The two coordinates of a point that is not at infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroize)]
pub struct AffinePoint {
    /// Horizontal coordinate.
    pub x: Coordinate,
    /// Vertical coordinate.
    pub y: Coordinate,
}

impl AffinePoint {
    /// Reads the uncompressed form: 04, x, y. Whether the point is on a curve is not looked at here.
    ///
    /// # Errors
    /// [`CryptoError::CurvePoint`].
    pub fn from_uncompressed(bytes: &[u8]) -> Result<Self, CryptoError> {
        let bytes: &[u8; POINT_BYTES] = bytes.try_into().map_err(|_| CryptoError::CurvePoint)?;
        let (coordinates, _) = bytes[1..].as_chunks::<COORDINATE_BYTES>();
        if bytes[0] != UNCOMPRESSED {
            return Err(CryptoError::CurvePoint);
        }
        Ok(Self { x: coordinates[0], y: coordinates[1] })
    }

    /// The uncompressed form: 04, x, y.
    #[must_use]
    pub fn to_uncompressed(&self) -> [u8; POINT_BYTES] {
        let mut bytes = [UNCOMPRESSED; POINT_BYTES];
        bytes[1..=COORDINATE_BYTES].copy_from_slice(&self.x);
        bytes[1 + COORDINATE_BYTES..].copy_from_slice(&self.y);
        bytes
    }
}

impl Curve {
    /// The recommended curve sm2p256v1.
    #[must_use]
    pub fn recommended() -> Self {
        Self::prepare(&CurveParameters::RECOMMENDED).expect("the standard's parameters are a curve")
    }

    /// A curve from parameters of the caller's: the standard's own examples use another one.
    ///
    /// Checked: sizes, a discriminant other than zero, that the generator is on the curve and that the order is its.
    /// Not checked: that field and order are prime. Take parameters from a standard, never from a message.
    ///
    /// # Errors
    /// [`CryptoError::Curve`].
    pub fn new(parameters: &CurveParameters) -> Result<Self, CryptoError> {
        let curve = Self::prepare(parameters)?;
        let multiple = curve.multiply(curve.generator, curve.order.value());
        let has_order = bool::from(multiple.z.ct_eq(&Residue::default()));
        if curve.is_singular() || !has_order { Err(CryptoError::Curve) } else { Ok(curve) }
    }

    fn prepare(parameters: &CurveParameters) -> Result<Self, CryptoError> {
        let modulus = |bytes| Modulus::new(Number::from_bytes(bytes)).ok_or(CryptoError::Curve);
        let (field, order) = (modulus(&parameters.prime)?, modulus(&parameters.order)?);
        let [a, b] = [&parameters.a, &parameters.b].map(Number::from_bytes);
        if !bool::from(a.is_less_than(field.value()) & b.is_less_than(field.value())) {
            return Err(CryptoError::Curve);
        }
        let (a, b) = (field.residue(a), field.residue(b));
        let triple_b = field.add(field.add(b, b), b);
        let infinity = Point { x: Residue::default(), y: field.residue(Number::ONE), z: Residue::default() };
        let mut curve = Self { parameters: *parameters, field, order, a, b, triple_b, generator: infinity };
        let generator = AffinePoint { x: parameters.generator_x, y: parameters.generator_y };
        curve.generator = curve.point(&generator).map_err(|_| CryptoError::Curve)?;
        Ok(curve)
    }

    /// The numbers that make the curve.
    #[must_use]
    pub fn parameters(&self) -> &CurveParameters {
        &self.parameters
    }

    pub(crate) fn order(&self) -> &Modulus {
        &self.order
    }

    pub(crate) fn generator(&self) -> Point {
        self.generator
    }

    /// `scalar` times the generator; `None` is the point at infinity.
    #[must_use]
    pub fn base_multiple(&self, scalar: &Coordinate) -> Option<AffinePoint> {
        self.affine(self.multiply(self.generator, Number::from_bytes(scalar))).ok()
    }

    /// 4a³ + 27b² = 0.
    fn is_singular(&self) -> bool {
        let f = &self.field;
        let double = |value| f.add(value, value);
        let cube = f.multiply(f.multiply(self.a, self.a), self.a);
        let three_b_squared = f.multiply(self.triple_b, self.triple_b);
        let sum = f.add(double(double(cube)), f.add(double(three_b_squared), three_b_squared));
        sum.ct_eq(&Residue::default()).into()
    }

    /// A point for arithmetic, if its coordinates are below the prime and satisfy the equation.
    pub(crate) fn point(&self, affine: &AffinePoint) -> Result<Point, CryptoError> {
        let f = &self.field;
        let [x, y] = [&affine.x, &affine.y].map(Number::from_bytes);
        let in_range = x.is_less_than(f.value()) & y.is_less_than(f.value());
        let (x, y) = (f.residue(x), f.residue(y));
        let right = f.add(f.multiply(f.add(f.multiply(x, x), self.a), x), self.b);
        let on_curve = f.multiply(y, y).ct_eq(&right);
        if bool::from(in_range & on_curve) {
            Ok(Point { x, y, z: f.residue(Number::ONE) })
        } else {
            Err(CryptoError::CurvePoint)
        }
    }

    /// The coordinates; the point at infinity is an error.
    pub(crate) fn affine(&self, point: Point) -> Result<AffinePoint, CryptoError> {
        let f = &self.field;
        if bool::from(point.z.ct_eq(&Residue::default())) {
            return Err(CryptoError::CurvePoint);
        }
        let inverse = f.invert(point.z);
        let coordinate = |value| f.number(f.multiply(value, inverse)).to_bytes();
        Ok(AffinePoint { x: coordinate(point.x), y: coordinate(point.y) })
    }

    /// Sum of any two points: Renes, Costello and Batina, "Complete addition formulas for prime order elliptic
    /// curves" (2016), algorithm 1, written by its common terms.
    pub(crate) fn add(&self, p: Point, q: Point) -> Point {
        let f = &self.field;
        let (add, subtract, multiply) = (|l, r| f.add(l, r), |l, r| f.subtract(l, r), |l, r| f.multiply(l, r));
        let (xx, yy, zz) = (multiply(p.x, q.x), multiply(p.y, q.y), multiply(p.z, q.z));
        let xy = subtract(multiply(add(p.x, p.y), add(q.x, q.y)), add(xx, yy));
        let xz = subtract(multiply(add(p.x, p.z), add(q.x, q.z)), add(xx, zz));
        let yz = subtract(multiply(add(p.y, p.z), add(q.y, q.z)), add(yy, zz));
        let a_zz = multiply(self.a, zz);
        let s = add(multiply(self.triple_b, zz), multiply(self.a, xz));
        let (minus, plus) = (subtract(yy, s), add(yy, s));
        let w = add(add(add(xx, xx), xx), a_zz);
        let r = add(multiply(self.triple_b, xz), multiply(self.a, subtract(xx, a_zz)));
        Point {
            x: subtract(multiply(xy, minus), multiply(yz, r)),
            y: add(multiply(minus, plus), multiply(w, r)),
            z: add(multiply(yz, plus), multiply(xy, w)),
        }
    }

    /// `scalar` times a point, four bits at a time; every step reads all sixteen small multiples.
    pub(crate) fn multiply(&self, point: Point, scalar: Number) -> Point {
        let infinity = Point { x: Residue::default(), y: self.field.residue(Number::ONE), z: Residue::default() };
        let mut multiples = [infinity; WINDOW_POINTS];
        for index in 1..WINDOW_POINTS {
            multiples[index] = self.add(multiples[index - 1], point);
        }
        let mut product = infinity;
        for window in (0..8 * COORDINATE_BYTES / WINDOW_BITS).rev() {
            for _ in 0..WINDOW_BITS {
                product = self.add(product, product);
            }
            let (wanted, mut summand) = (scalar.nibble(window), infinity);
            for (index, multiple) in multiples.iter().enumerate() {
                summand.conditional_assign(multiple, wanted.ct_eq(&(index as u8)));
            }
            product = self.add(product, summand);
        }
        multiples.zeroize();
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_that_are_no_curve_are_refused() {
        assert!(Curve::new(&CurveParameters::RECOMMENDED).is_ok());
        let good = CurveParameters::RECOMMENDED;
        let zero = [0; COORDINATE_BYTES];
        let broken = [
            CurveParameters { prime: zero, ..good },
            CurveParameters { a: good.prime, ..good },
            CurveParameters { b: good.a, ..good },
            CurveParameters { order: good.prime, ..good },
            CurveParameters { generator_y: good.generator_x, ..good },
        ];
        for parameters in broken {
            assert_eq!(Curve::new(&parameters).err(), Some(CryptoError::Curve));
        }
    }

    #[test]
    fn infinity_is_neutral_and_opposites_cancel() {
        let curve = Curve::recommended();
        assert!(curve.base_multiple(&[0; 32]).is_none());
        assert!(curve.base_multiple(&curve.parameters().order).is_none());
        let generator = AffinePoint { x: curve.parameters().generator_x, y: curve.parameters().generator_y };
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(curve.base_multiple(&one), Some(generator));
        assert!(curve.base_multiple(&[0xFF; 32]).is_some());
    }

    #[test]
    fn foreign_points_are_refused() {
        let curve = Curve::recommended();
        let mut point = AffinePoint { x: curve.parameters().generator_x, y: curve.parameters().generator_y };
        let encoded = point.to_uncompressed();
        assert_eq!(AffinePoint::from_uncompressed(&encoded), Ok(point));
        assert_eq!(AffinePoint::from_uncompressed(&encoded[1..]), Err(CryptoError::CurvePoint));
        assert_eq!(AffinePoint::from_uncompressed(&[2; POINT_BYTES]), Err(CryptoError::CurvePoint));
        point.y[31] ^= 1;
        assert_eq!(curve.point(&point).err(), Some(CryptoError::CurvePoint));
        assert_eq!(curve.point(&AffinePoint { x: [0xFF; 32], y: [0; 32] }).err(), Some(CryptoError::CurvePoint));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn multiples_add_up(a: [u8; 32], b: [u8; 32]) {
            let curve = Curve::recommended();
            let [a, b] = [a, b].map(|bytes| curve.order().reduced(Number::from_bytes(&bytes)));
            let multiple = |scalar| curve.multiply(curve.generator(), scalar);
            let sum = curve.affine(curve.add(multiple(a), multiple(b)));
            prop_assert_eq!(sum, curve.affine(multiple(curve.order().sum(a, b))));
            let product = curve.order().multiply(curve.order().residue(a), curve.order().residue(b));
            let product = curve.order().number(product);
            prop_assert_eq!(curve.affine(curve.multiply(multiple(a), b)), curve.affine(multiple(product)));
        }
    }
}
