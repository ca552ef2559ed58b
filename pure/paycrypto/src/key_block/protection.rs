//! Key block protection keys, and how strong a key must be to protect another.

use super::error::KeyBlockError;
use super::field::Algorithm;
use crate::{AesKey, TdesKey, TdesKeyLength};

/// A key block protection key (KBPK). One key works with one cipher: a TDES key never opens a version D block, so a
/// forger cannot make two ciphers work under one key. Wiped on drop; never prints.
#[derive(Debug)]
pub enum ProtectionKey {
    /// For versions A, B and C: double or triple length.
    Tdes(TdesKey),
    /// For versions D and E.
    Aes(AesKey),
}

impl ProtectionKey {
    /// A TDES protection key of 16 or 24 bytes.
    ///
    /// # Errors
    /// [`KeyBlockError::ProtectionKeyLength`] for any other length.
    pub fn tdes(bytes: &[u8]) -> Result<Self, KeyBlockError> {
        let key = TdesKey::new(bytes).ok().filter(|key| key.length() != TdesKeyLength::Single);
        key.map(Self::Tdes).ok_or(KeyBlockError::ProtectionKeyLength(bytes.len()))
    }

    /// An AES protection key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`KeyBlockError::ProtectionKeyLength`] for any other length.
    pub fn aes(bytes: &[u8]) -> Result<Self, KeyBlockError> {
        AesKey::new(bytes).map(Self::Aes).map_err(|_| KeyBlockError::ProtectionKeyLength(bytes.len()))
    }

    /// Its strength in bits (NIST SP 800-57 part 1 §5.6.1).
    #[must_use]
    pub fn strength_bits(&self) -> u16 {
        match self {
            Self::Tdes(key) => key_strength_bits(Algorithm::Tdes, key.expose_bytes()),
            Self::Aes(key) => key_strength_bits(Algorithm::Aes, key.expose_bytes()),
        }
    }
}

/// Whether a key may be wrapped under a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrengthPolicy {
    /// The protection key is at least as strong as the key (ANSI X9.24-1, ISO 11568, PCI PIN 18-3).
    #[default]
    AtLeastAsStrong,
    /// Any protection key: for looking into old blocks and for published examples.
    Any,
}

impl StrengthPolicy {
    pub(super) fn check(self, kbpk: &ProtectionKey, algorithm: Algorithm, key: &[u8]) -> Result<(), KeyBlockError> {
        let (key_bits, protection_bits) = (key_strength_bits(algorithm, key), kbpk.strength_bits());
        if self == Self::Any || key_bits <= protection_bits {
            return Ok(());
        }
        Err(KeyBlockError::ProtectionKeyTooWeak { key_bits, protection_bits })
    }
}

/// The most that any key here is worth: nothing wraps under more than AES-256.
const STRENGTH_BITS_MAX: u16 = 256;
/// Modulus length in bits up to which an RSA key has a strength (NIST SP 800-57 part 1, table 2).
const RSA_STRENGTHS: [(usize, u16); 5] = [(1024, 80), (2048, 112), (3072, 128), (7680, 192), (15360, 256)];
/// A shorter integer is no modulus.
const RSA_MODULUS_BYTES_MIN: usize = 64;

/// Strength of a key in bits (NIST SP 800-57 part 1 §5.6.1, table 2). Keys that cannot be read count as the
/// strongest, so that only AES-256 protects them.
#[must_use]
pub fn key_strength_bits(algorithm: Algorithm, key: &[u8]) -> u16 {
    let bits = u16::try_from(key.len().saturating_mul(8)).unwrap_or(u16::MAX).min(STRENGTH_BITS_MAX);
    match (algorithm, key.len()) {
        (Algorithm::Des | Algorithm::Tdes, 8) => 56,
        (Algorithm::Des | Algorithm::Tdes, 16) => 80,
        (Algorithm::Des | Algorithm::Tdes, 24) => 112,
        (Algorithm::Aes | Algorithm::Hmac, _) => bits,
        (Algorithm::Rsa, _) => rsa_strength_bits(key).unwrap_or(STRENGTH_BITS_MAX),
        (Algorithm::EllipticCurve, _) => curve_strength_bits(key).unwrap_or(STRENGTH_BITS_MAX),
        _ => STRENGTH_BITS_MAX,
    }
}

const DER_INTEGER: u8 = 0x02;
const DER_OCTETS: u8 = 0x04;
const DER_SEQUENCE: u8 = 0x30;

/// The first element of DER text: tag, content, what follows it.
fn der_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?),
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

/// The first element inside the outer sequence that fits.
fn der_find(der: &[u8], fits: impl Fn(u8, &[u8]) -> bool) -> Option<&[u8]> {
    let (DER_SEQUENCE, mut rest, _) = der_element(der)? else { return None };
    loop {
        let (tag, content, after) = der_element(rest)?;
        if fits(tag, content) {
            return Some(content);
        }
        rest = after;
    }
}

/// PKCS #1 keys, private and public: the first long integer is the modulus.
fn rsa_strength_bits(der: &[u8]) -> Option<u16> {
    let modulus = der_find(der, |tag, content| tag == DER_INTEGER && content.len() >= RSA_MODULUS_BYTES_MIN)?;
    let leading_zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let bits = (modulus.len() - leading_zeros) * 8;
    RSA_STRENGTHS.iter().find(|(modulus_bits, _)| bits <= *modulus_bits).map(|(_, strength)| *strength)
}

/// RFC 5915 private keys: the octet string has the curve's length, twice its strength.
fn curve_strength_bits(der: &[u8]) -> Option<u16> {
    let scalar = der_find(der, |tag, _| tag == DER_OCTETS)?;
    u16::try_from(scalar.len() * 4).ok().map(|bits| bits.min(STRENGTH_BITS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_strengths() {
        assert_eq!(key_strength_bits(Algorithm::Tdes, &[0; 16]), 80);
        assert_eq!(key_strength_bits(Algorithm::Tdes, &[0; 24]), 112);
        assert_eq!(key_strength_bits(Algorithm::Aes, &[0; 24]), 192);
        assert_eq!(key_strength_bits(Algorithm::Hmac, &[0; 64]), 256);
        assert_eq!(key_strength_bits(Algorithm::Other(b'7'), &[0; 8]), 256);
    }

    #[test]
    fn asymmetric_strengths_come_from_the_key_itself() {
        let integer =
            |bytes: usize| [vec![DER_INTEGER, 0x82, (bytes >> 8) as u8, bytes as u8], vec![0x55; bytes]].concat();
        let sequence =
            |inner: Vec<u8>| [vec![DER_SEQUENCE, 0x82, (inner.len() >> 8) as u8, inner.len() as u8], inner].concat();
        let rsa = |bytes| sequence([vec![DER_INTEGER, 1, 0], integer(bytes)].concat());
        assert_eq!(key_strength_bits(Algorithm::Rsa, &rsa(256)), 112);
        assert_eq!(key_strength_bits(Algorithm::Rsa, &rsa(384)), 128);
        assert_eq!(key_strength_bits(Algorithm::Rsa, &rsa(256)[..40]), 256);
        let curve = sequence([vec![DER_INTEGER, 1, 1], vec![DER_OCTETS, 32], vec![9; 32]].concat());
        assert_eq!(key_strength_bits(Algorithm::EllipticCurve, &curve), 128);
        assert_eq!(key_strength_bits(Algorithm::EllipticCurve, &[0x30, 0x00]), 256);
    }
}
