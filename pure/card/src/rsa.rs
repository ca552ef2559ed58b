//! RSA with a private key, as card and issuer use it (EMV 4.4 Book 2 annex B2.1): raw, no padding of its own.

use num_bigint_dig::{BigUint, IntoBigInt as _, ModInverse as _};
use zeroize::Zeroize as _;

/// A key pair for tests, as two primes in hexadecimal. The private half is public knowledge: it stands in this source.
#[derive(Clone, Copy)]
pub(crate) struct TestRsaKey {
    pub exponent: u32,
    pub prime_p: &'static str,
    pub prime_q: &'static str,
}

/// A private key with its CRT parts. Wiped on drop.
pub(crate) struct RsaPrivateKey {
    modulus: BigUint,
    modulus_bytes: usize,
    exponent: u32,
    prime_p: BigUint,
    prime_q: BigUint,
    exponent_p: BigUint,
    exponent_q: BigUint,
    coefficient: BigUint,
}

impl RsaPrivateKey {
    /// Computes the CRT parts of a test key.
    pub fn from_test_key(key: &TestRsaKey) -> Self {
        let prime = |text: &str| BigUint::from_bytes_be(&crate::hex::bytes(text));
        let (prime_p, prime_q) = (prime(key.prime_p), prime(key.prime_q));
        let modulus = &prime_p * &prime_q;
        Self {
            modulus_bytes: modulus.bits().div_ceil(8),
            exponent: key.exponent,
            exponent_p: private_exponent(key.exponent, &prime_p),
            exponent_q: private_exponent(key.exponent, &prime_q),
            coefficient: inverse(&prime_q, &prime_p),
            modulus,
            prime_p,
            prime_q,
        }
    }

    /// Length of modulus and signatures in bytes.
    pub fn modulus_bytes(&self) -> usize {
        self.modulus_bytes
    }

    /// The modulus, big-endian, without leading zeros.
    pub fn modulus(&self) -> Vec<u8> {
        self.modulus.to_bytes_be()
    }

    /// The public exponent, big-endian: 03 or 010001.
    pub fn exponent(&self) -> Vec<u8> {
        BigUint::from(self.exponent).to_bytes_be()
    }

    /// The private operation on a block below the modulus; the result has the modulus' length. `None` for a block of
    /// another length or one that is not below the modulus.
    pub fn apply(&self, block: &[u8]) -> Option<Vec<u8>> {
        let number = BigUint::from_bytes_be(block);
        if block.len() != self.modulus_bytes || number >= self.modulus {
            return None;
        }
        let mut by_p = (&number % &self.prime_p).modpow(&self.exponent_p, &self.prime_p);
        let mut by_q = (&number % &self.prime_q).modpow(&self.exponent_q, &self.prime_q);
        // Garner: h = (by_p - by_q) * q^-1 mod p, lifted by p so that it never goes below zero.
        let difference = &by_p + &self.prime_p - (&by_q % &self.prime_p);
        let result = &by_q + (difference * &self.coefficient % &self.prime_p) * &self.prime_q;
        by_p.zeroize();
        by_q.zeroize();
        Some(left_padded(&result, self.modulus_bytes))
    }
}

impl Drop for RsaPrivateKey {
    fn drop(&mut self) {
        for part in
            [&mut self.prime_p, &mut self.prime_q, &mut self.exponent_p, &mut self.exponent_q, &mut self.coefficient]
        {
            part.zeroize();
        }
    }
}

fn private_exponent(exponent: u32, prime: &BigUint) -> BigUint {
    inverse(&BigUint::from(exponent), &(prime - 1_u32))
}

fn inverse(value: &BigUint, modulus: &BigUint) -> BigUint {
    let found = value.mod_inverse(modulus).expect("a sound key has the inverse");
    // The library may answer with the negative representative.
    let modulus = modulus.clone().into_bigint().expect("natural numbers are integers");
    let natural = ((found % &modulus) + &modulus) % &modulus;
    natural.to_biguint().expect("a remainder is natural")
}

fn left_padded(number: &BigUint, length: usize) -> Vec<u8> {
    let digits = number.to_bytes_be();
    let mut bytes = vec![0; length.saturating_sub(digits.len())];
    bytes.extend_from_slice(&digits);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_keys::ALL_KEYS;

    #[test]
    fn every_test_key_signs_what_its_public_half_recovers() {
        for (name, key) in ALL_KEYS {
            let private = RsaPrivateKey::from_test_key(key);
            let mut block = vec![0x5A; private.modulus_bytes()];
            block[0] = 0x6A;
            let signature = private.apply(&block).unwrap();
            let recovered = BigUint::from_bytes_be(&signature)
                .modpow(&BigUint::from_bytes_be(&private.exponent()), &BigUint::from_bytes_be(&private.modulus()));
            assert_eq!(recovered.to_bytes_be(), block, "{name}");
            assert_eq!(private.modulus().len() * 8, private.modulus.bits(), "{name}: top bit set");
        }
    }

    #[test]
    fn blocks_that_do_not_fit_are_refused() {
        let private = RsaPrivateKey::from_test_key(ALL_KEYS[0].1);
        assert!(private.apply(&vec![0xFF; private.modulus_bytes()]).is_none());
        assert!(private.apply(&[1, 2, 3]).is_none());
    }
}
