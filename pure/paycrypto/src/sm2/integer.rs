//! Numbers of 256 bits modulo an odd number, in constant time (Montgomery's representation).

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

/// Length of a number in bytes.
pub(crate) const NUMBER_BYTES: usize = 32;
const LIMBS: usize = 4;
const LIMB_BITS: usize = 64;

/// A number of 256 bits, lowest limb first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Zeroize)]
pub(crate) struct Number([u64; LIMBS]);

impl Number {
    pub(crate) const ONE: Self = Self([1, 0, 0, 0]);

    pub(crate) fn from_bytes(bytes: &[u8; NUMBER_BYTES]) -> Self {
        let (limbs, _) = bytes.as_chunks::<8>();
        Self(core::array::from_fn(|i| u64::from_be_bytes(limbs[LIMBS - 1 - i])))
    }

    pub(crate) fn to_bytes(self) -> [u8; NUMBER_BYTES] {
        core::array::from_fn(|i| self.0[LIMBS - 1 - i / 8].to_be_bytes()[i % 8])
    }

    pub(crate) fn is_zero(self) -> Choice {
        self.0.ct_eq(&[0; LIMBS])
    }

    /// Difference modulo 2²⁵⁶, and whether it is negative.
    fn minus(self, other: Self) -> (Self, Choice) {
        let (mut difference, mut borrow) = ([0; LIMBS], 0);
        for (limb, (left, right)) in difference.iter_mut().zip(self.0.iter().zip(other.0)) {
            let wide = u128::from(*left).wrapping_sub(u128::from(right) + borrow);
            *limb = wide as u64;
            borrow = wide >> 127;
        }
        (Self(difference), Choice::from(borrow as u8))
    }

    /// Sum modulo 2²⁵⁶, and whether there is a carry.
    fn plus(self, other: Self) -> (Self, Choice) {
        let (mut sum, mut carry) = ([0; LIMBS], 0);
        for (limb, (left, right)) in sum.iter_mut().zip(self.0.iter().zip(other.0)) {
            let wide = u128::from(*left) + u128::from(right) + carry;
            *limb = wide as u64;
            carry = wide >> LIMB_BITS;
        }
        (Self(sum), Choice::from(carry as u8))
    }

    pub(crate) fn is_less_than(self, other: Self) -> Choice {
        self.minus(other).1
    }

    /// The four bits at `4 × index`, counted from the low end.
    pub(crate) fn nibble(self, index: usize) -> u8 {
        const PER_LIMB: usize = LIMB_BITS / 4;
        (self.0[index / PER_LIMB] >> (4 * (index % PER_LIMB))) as u8 & 0x0F
    }
}

impl ConstantTimeEq for Number {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl ConditionallySelectable for Number {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self(core::array::from_fn(|i| u64::conditional_select(&a.0[i], &b.0[i], choice)))
    }
}

/// A residue in Montgomery's representation; only its [`Modulus`] can read it.
#[derive(Clone, Copy, Debug, Default, Zeroize)]
pub(crate) struct Residue(Number);

impl ConstantTimeEq for Residue {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl ConditionallySelectable for Residue {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self(Number::conditional_select(&a.0, &b.0, choice))
    }
}

/// An odd modulus with its highest bit set. What is prime about it, its owner vouches for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modulus {
    value: Number,
    /// −m⁻¹ modulo 2⁶⁴.
    negative_inverse: u64,
    /// 2⁵¹² modulo m: brings a number into Montgomery's representation.
    conversion: Number,
}

impl Modulus {
    /// `None` unless odd and with the highest bit set.
    pub(crate) fn new(value: Number) -> Option<Self> {
        let is_odd = value.0[0] & 1 == 1;
        let has_top_bit = value.0[LIMBS - 1] >> (LIMB_BITS - 1) == 1;
        if !is_odd || !has_top_bit {
            return None;
        }
        let mut modulus = Self { value, negative_inverse: negative_inverse(value.0[0]), conversion: Number::default() };
        let mut power = Number::default().minus(value).0;
        for _ in 0..LIMBS * LIMB_BITS {
            power = modulus.sum(power, power);
        }
        modulus.conversion = power;
        Some(modulus)
    }

    pub(crate) fn value(&self) -> Number {
        self.value
    }

    /// The number modulo m. Since m has its highest bit set, one subtraction is enough.
    pub(crate) fn reduced(&self, number: Number) -> Number {
        let (difference, is_smaller) = number.minus(self.value);
        Number::conditional_select(&difference, &number, is_smaller)
    }

    /// Sum of two numbers below m.
    pub(crate) fn sum(&self, left: Number, right: Number) -> Number {
        let (sum, carry) = left.plus(right);
        let (difference, is_smaller) = sum.minus(self.value);
        Number::conditional_select(&difference, &sum, is_smaller & !carry)
    }

    /// Difference of two numbers below m.
    pub(crate) fn difference(&self, left: Number, right: Number) -> Number {
        let (difference, is_negative) = left.minus(right);
        Number::conditional_select(&difference, &difference.plus(self.value).0, is_negative)
    }

    pub(crate) fn residue(&self, number: Number) -> Residue {
        Residue(self.montgomery_product(self.reduced(number), self.conversion))
    }

    pub(crate) fn number(&self, residue: Residue) -> Number {
        self.montgomery_product(residue.0, Number::ONE)
    }

    pub(crate) fn add(&self, left: Residue, right: Residue) -> Residue {
        Residue(self.sum(left.0, right.0))
    }

    pub(crate) fn subtract(&self, left: Residue, right: Residue) -> Residue {
        Residue(self.difference(left.0, right.0))
    }

    pub(crate) fn multiply(&self, left: Residue, right: Residue) -> Residue {
        Residue(self.montgomery_product(left.0, right.0))
    }

    /// Inverse modulo a prime, by Fermat's little theorem; zero stays zero. The exponent is no secret.
    pub(crate) fn invert(&self, residue: Residue) -> Residue {
        let exponent = self.value.minus(Number([2, 0, 0, 0])).0;
        let mut power = self.residue(Number::ONE);
        for index in (0..2 * NUMBER_BYTES).rev() {
            for bit in (0..4).rev() {
                power = self.multiply(power, power);
                if exponent.nibble(index) >> bit & 1 == 1 {
                    power = self.multiply(power, residue);
                }
            }
        }
        power
    }

    /// left × right / 2²⁵⁶ modulo m, one limb of `right` at a time.
    fn montgomery_product(&self, left: Number, right: Number) -> Number {
        let mut sum = [0_u64; LIMBS + 1];
        for limb in right.0 {
            let top = add_product(&mut sum, &left.0, limb);
            let factor = sum[0].wrapping_mul(self.negative_inverse);
            let over = add_product(&mut sum, &self.value.0, factor);
            sum = [sum[1], sum[2], sum[3], sum[4], top + over];
        }
        let low = Number([sum[0], sum[1], sum[2], sum[3]]);
        let (difference, is_smaller) = low.minus(self.value);
        let has_carry = Choice::from(sum[LIMBS] as u8);
        Number::conditional_select(&difference, &low, is_smaller & !has_carry)
    }
}

/// Adds `factor` times `number` to `sum`; gives the carry out of it.
#[inline(always)]
fn add_product(sum: &mut [u64; LIMBS + 1], number: &[u64; LIMBS], factor: u64) -> u64 {
    let mut carry = 0;
    for (limb, digit) in sum.iter_mut().zip(number) {
        let wide = u128::from(*digit) * u128::from(factor) + u128::from(*limb) + carry;
        *limb = wide as u64;
        carry = wide >> LIMB_BITS;
    }
    let wide = u128::from(sum[LIMBS]) + carry;
    sum[LIMBS] = wide as u64;
    (wide >> LIMB_BITS) as u64
}

/// −m⁻¹ modulo 2⁶⁴ by Newton's iteration: each step doubles the number of right bits.
fn negative_inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> Modulus {
        let bytes = crate::sm2::CurveParameters::RECOMMENDED.order;
        Modulus::new(Number::from_bytes(&bytes)).unwrap()
    }

    #[test]
    fn unfit_moduli_are_refused() {
        assert!(Modulus::new(Number([2, 0, 0, 1 << 63])).is_none());
        assert!(Modulus::new(Number([1, 0, 0, u64::MAX >> 1])).is_none());
    }

    #[test]
    fn inverses_of_machine_words() {
        for odd in [1, 3, 0x39D5_4123, u64::MAX] {
            assert_eq!(odd.wrapping_mul(negative_inverse(odd).wrapping_neg()), 1);
        }
    }

    proptest! {
        #[test]
        fn the_residues_are_a_field(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let m = order();
            let [a, b, c] = [a, b, c].map(|bytes| m.residue(Number::from_bytes(&bytes)));
            let same = |left: Residue, right: Residue| bool::from(left.ct_eq(&right));
            prop_assert!(same(m.multiply(a, b), m.multiply(b, a)));
            prop_assert!(same(m.multiply(a, m.add(b, c)), m.add(m.multiply(a, b), m.multiply(a, c))));
            prop_assert!(same(m.multiply(m.multiply(a, b), c), m.multiply(a, m.multiply(b, c))));
            prop_assert!(same(m.add(m.subtract(a, b), b), a));
            let one = m.residue(Number::ONE);
            prop_assert!(bool::from(a.0.is_zero()) || same(m.multiply(a, m.invert(a)), one));
        }

        #[test]
        fn numbers_come_back_reduced(bytes: [u8; 32]) {
            let (m, number) = (order(), Number::from_bytes(&bytes));
            prop_assert_eq!(number.to_bytes(), bytes);
            let back = m.number(m.residue(number));
            prop_assert!(bool::from(back.is_less_than(m.value())));
            prop_assert_eq!(back, m.reduced(number));
            prop_assert_eq!(m.sum(back, m.difference(m.value().minus(Number::ONE).0, back)), m.value().minus(Number::ONE).0);
        }
    }
}
