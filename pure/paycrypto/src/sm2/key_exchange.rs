//! The key exchange of GB/T 32918.3: two parties with long-term keys and names agree on a key.

use zeroize::Zeroizing;

use crate::sm2::curve::{AffinePoint, Coordinate, Curve};
use crate::sm2::derive;
use crate::sm2::integer::Number;
use crate::sm2::key::{PrivateKey, PublicKey, SecretScalar, scalar};
use crate::sm3::{SM3_DIGEST_BYTES, sm3};
use crate::{CryptoError, constant_time_eq};

/// First byte of the confirmation that the responder sends.
const RESPONDER_CONFIRMS: u8 = 2;
/// First byte of the confirmation that the initiator sends.
const INITIATOR_CONFIRMS: u8 = 3;

/// Which side of the exchange a party is: A or B of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Party A, who begins.
    Initiator,
    /// Party B, who answers.
    Responder,
}

/// A key pair for one exchange. Used once, because [`KeyExchange::agree`] takes it.
pub struct Ephemeral {
    secret: SecretScalar,
    point: AffinePoint,
}

impl Ephemeral {
    /// Takes a random number from 1 to n − 1.
    ///
    /// # Errors
    /// [`CryptoError::Scalar`].
    pub fn new(curve: &Curve, random: &Coordinate) -> Result<Self, CryptoError> {
        let secret = SecretScalar(scalar(curve, random)?);
        let point = curve.affine(curve.multiply(curve.generator(), secret.0))?;
        Ok(Self { secret, point })
    }

    /// The point that goes to the other party.
    #[must_use]
    pub fn point(&self) -> &AffinePoint {
        &self.point
    }
}

impl core::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ephemeral(***)")
    }
}

/// What one party knows before the other's point arrives.
#[derive(Debug)]
pub struct KeyExchange<'a> {
    /// This party's side.
    pub role: Role,
    /// This party's key.
    pub own: &'a PrivateKey,
    /// This party's name.
    pub own_id: &'a [u8],
    /// The other party's key, trusted by other means.
    pub peer: &'a PublicKey,
    /// The other party's name.
    pub peer_id: &'a [u8],
}

/// The outcome: a key, and what proves to the other side that one has it.
pub struct AgreedKey {
    key: Zeroizing<Vec<u8>>,
    initiator: [u8; SM3_DIGEST_BYTES],
    responder: [u8; SM3_DIGEST_BYTES],
}

impl AgreedKey {
    /// The agreed key. Not to be used before the other party's confirmation was verified.
    #[must_use]
    pub fn expose_key(&self) -> &[u8] {
        &self.key
    }

    /// The confirmation that a party sends: S_B of the responder, S_A of the initiator.
    #[must_use]
    pub fn confirmation(&self, from: Role) -> &[u8; SM3_DIGEST_BYTES] {
        match from {
            Role::Initiator => &self.initiator,
            Role::Responder => &self.responder,
        }
    }

    /// Verifies the confirmation that a party sent, in constant time.
    ///
    /// # Errors
    /// [`CryptoError::Integrity`].
    pub fn verify_confirmation(&self, from: Role, confirmation: &[u8]) -> Result<(), CryptoError> {
        let same = constant_time_eq(self.confirmation(from), confirmation);
        if same { Ok(()) } else { Err(CryptoError::Integrity) }
    }
}

impl core::fmt::Debug for AgreedKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AgreedKey({} bytes, ***)", self.key.len())
    }
}

/// x̄: the lower 127 bits of a coordinate, and the bit above them set (§6.1 with w = 127).
fn shortened(x: &Coordinate) -> Number {
    let mut bytes = [0; 32];
    bytes[16..].copy_from_slice(&x[16..]);
    bytes[16] |= 0x80;
    Number::from_bytes(&bytes)
}

impl KeyExchange<'_> {
    /// Agrees on a key of `key_bytes` bytes, from this party's ephemeral pair and the point that the other one sent.
    ///
    /// # Errors
    /// [`CryptoError::CurvePoint`] if the other's point is not on the curve or cancels out;
    /// [`CryptoError::DataLength`] for no key or too long a name.
    pub fn agree(
        &self,
        ephemeral: Ephemeral,
        peer_point: &AffinePoint,
        key_bytes: usize,
    ) -> Result<AgreedKey, CryptoError> {
        if key_bytes == 0 {
            return Err(CryptoError::DataLength(0));
        }
        let shared = self.shared_point(&ephemeral, peer_point)?;
        let own_digest = self.own.public_key().identity_digest(self.own_id)?;
        let peer_digest = self.peer.identity_digest(self.peer_id)?;
        let (z_a, z_b, r_a, r_b) = match self.role {
            Role::Initiator => (own_digest, peer_digest, ephemeral.point(), peer_point),
            Role::Responder => (peer_digest, own_digest, peer_point, ephemeral.point()),
        };
        let key = derive(&[&shared.x, &shared.y, &z_a, &z_b], key_bytes)?;
        let transcript = Zeroizing::new(sm3(&[&shared.x, &z_a, &z_b, &r_a.x, &r_a.y, &r_b.x, &r_b.y]));
        let confirmation = |first: u8| sm3(&[&[first], &shared.y, &*transcript]);
        Ok(AgreedKey { key, initiator: confirmation(INITIATOR_CONFIRMS), responder: confirmation(RESPONDER_CONFIRMS) })
    }

    /// V (or U): t times the sum of the other's key and x̄ times the other's point.
    fn shared_point(
        &self,
        ephemeral: &Ephemeral,
        peer_point: &AffinePoint,
    ) -> Result<Zeroizing<AffinePoint>, CryptoError> {
        let (curve, order) = (self.own.curve(), self.own.curve().order());
        let [secret, own_x, random] =
            [self.own.secret.0, shortened(&ephemeral.point.x), ephemeral.secret.0].map(|number| order.residue(number));
        let t = SecretScalar(order.number(order.add(secret, order.multiply(own_x, random))));
        let weighted = curve.multiply(curve.point(peer_point)?, shortened(&peer_point.x));
        let product = curve.multiply(curve.add(self.peer.point, weighted), t.0);
        curve.affine(product).map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agreed(
        curve: &Curve,
        keys: &[PrivateKey; 2],
        randoms: [u8; 2],
        sent_to_a: Option<AffinePoint>,
    ) -> [Result<AgreedKey, CryptoError>; 2] {
        let [a, b] = keys;
        let [r_a, r_b] = randoms.map(|random| Ephemeral::new(curve, &[random; 32]).unwrap());
        let (point_a, point_b) = (*r_a.point(), sent_to_a.unwrap_or(*r_b.point()));
        let (id_a, id_b) = (b"terminal", b"host");
        let of_a = KeyExchange { role: Role::Initiator, own: a, own_id: id_a, peer: b.public_key(), peer_id: id_b };
        let of_b = KeyExchange { role: Role::Responder, own: b, own_id: id_b, peer: a.public_key(), peer_id: id_a };
        [of_a.agree(r_a, &point_b, 48), of_b.agree(r_b, &point_a, 48)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn both_sides_agree_and_a_changed_point_is_noticed(d in 1_u8..0xFF, e in 1_u8..0xFF, r in 1_u8..0xFF, s in 2_u8..0xFF) {
            let curve = Curve::recommended();
            let keys = [d, e].map(|secret| PrivateKey::new(&curve, &[secret; 32]).unwrap());
            let [of_a, of_b] = agreed(&curve, &keys, [r, s], None).map(Result::unwrap);
            prop_assert_eq!(of_a.expose_key(), of_b.expose_key());
            for role in [Role::Initiator, Role::Responder] {
                of_a.verify_confirmation(role, of_b.confirmation(role)).unwrap();
            }
            let other = *Ephemeral::new(&curve, &[s - 1; 32]).unwrap().point();
            let [of_a, of_b] = agreed(&curve, &keys, [r, s], Some(other)).map(Result::unwrap);
            let confirmation = of_b.confirmation(Role::Responder);
            prop_assert_eq!(of_a.verify_confirmation(Role::Responder, confirmation), Err(CryptoError::Integrity));
        }
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let curve = Curve::recommended();
        let keys = [3, 5].map(|secret| PrivateKey::new(&curve, &[secret; 32]).unwrap());
        let off = AffinePoint { x: [1; 32], y: [1; 32] };
        let [of_a, of_b] = agreed(&curve, &keys, [7, 9], Some(off));
        assert_eq!(of_a.err(), Some(CryptoError::CurvePoint));
        assert_eq!(format!("{:?}", of_b.unwrap()), "AgreedKey(48 bytes, ***)");
    }
}
