//! Key bytes as such: parity, components, variants, weak keys.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{CryptoError, constant_time_eq};

/// Longest key kept here: AES-256.
pub const KEY_BYTES_MAX: usize = 32;
/// Key variants fit the five high bits of a byte.
pub const KEY_VARIANT_MAX: u8 = 31;

const DES_PART_BYTES: usize = 8;

/// Clear key bytes of 1 to [`KEY_BYTES_MAX`]. Wiped on drop; never prints; compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl KeyBytes {
    /// Takes a copy of `bytes`.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] if empty or longer than [`KEY_BYTES_MAX`].
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let length = bytes.len();
        if length == 0 || length > KEY_BYTES_MAX {
            return Err(CryptoError::KeyLength(length));
        }
        let mut kept = [0; KEY_BYTES_MAX];
        kept[..length].copy_from_slice(bytes);
        Ok(Self { bytes: kept, length })
    }

    /// The clear bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl PartialEq for KeyBytes {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.expose(), other.expose())
    }
}

impl Eq for KeyBytes {}

impl core::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeyBytes({} bytes, ***)", self.length)
    }
}

/// Sets the low bit of each byte so that the byte has an odd number of ones (ANSI X9.52 parity).
pub fn set_odd_parity(key: &mut [u8]) {
    for byte in key {
        let high = *byte & 0xFE;
        *byte = high | ((high.count_ones() as u8 & 1) ^ 1);
    }
}

/// True if every byte has an odd number of ones.
#[must_use]
pub fn has_odd_parity(key: &[u8]) -> bool {
    key.iter().all(|byte| byte.count_ones() % 2 == 1)
}

/// Joins key components by exclusive or (ANSI X9.24-1 §7.5: split knowledge).
///
/// # Errors
/// [`CryptoError::Components`] for fewer than two components or unequal lengths, [`CryptoError::KeyLength`] for a
/// length no key has.
pub fn combine_components(components: &[&[u8]]) -> Result<KeyBytes, CryptoError> {
    let [first, rest @ ..] = components else {
        return Err(CryptoError::Components);
    };
    if rest.is_empty() || rest.iter().any(|part| part.len() != first.len()) {
        return Err(CryptoError::Components);
    }
    let mut key = KeyBytes::new(first)?;
    for part in rest {
        for (byte, with) in key.expose_mut().iter_mut().zip(*part) {
            *byte ^= with;
        }
    }
    Ok(key)
}

/// Makes variant `variant` of a key: `variant × 8` is xored into the first byte of every eight-byte part.
///
/// # Errors
/// [`CryptoError::Parameter`] above [`KEY_VARIANT_MAX`], [`CryptoError::KeyLength`] for no or too many bytes.
pub fn key_variant(key: &[u8], variant: u8) -> Result<KeyBytes, CryptoError> {
    if variant > KEY_VARIANT_MAX {
        return Err(CryptoError::Parameter);
    }
    let mut varied = KeyBytes::new(key)?;
    for part in varied.expose_mut().chunks_mut(DES_PART_BYTES) {
        part[0] ^= variant << 3;
    }
    Ok(varied)
}

/// DES weak and semi-weak keys without their parity bits (NIST SP 800-67 §3.3.2).
const WEAK_DES_KEYS: [u64; 16] = [
    0x0000_0000_0000_0000,
    0xFEFE_FEFE_FEFE_FEFE,
    0xE0E0_E0E0_F0F0_F0F0,
    0x1E1E_1E1E_0E0E_0E0E,
    0x00FE_00FE_00FE_00FE,
    0xFE00_FE00_FE00_FE00,
    0x1EE0_1EE0_0EF0_0EF0,
    0xE01E_E01E_F00E_F00E,
    0x00E0_00E0_00F0_00F0,
    0xE000_E000_F000_F000,
    0x1EFE_1EFE_0EFE_0EFE,
    0xFE1E_FE1E_FE0E_FE0E,
    0x001E_001E_000E_000E,
    0x1E00_1E00_0E00_0E00,
    0xE0FE_E0FE_F0FE_F0FE,
    0xFEE0_FEE0_FEF0_FEF0,
];

const PARITY_MASK: u64 = 0xFEFE_FEFE_FEFE_FEFE;

/// True if a DES or TDES key must not be used: one of its parts is weak or semi-weak, or neighbouring parts are
/// equal so that TDES falls back to single DES. Parity bits are ignored.
#[must_use]
pub fn is_weak_tdes_key(key: &[u8]) -> bool {
    let (parts, rest) = key.as_chunks::<DES_PART_BYTES>();
    let masked = |part: &[u8; DES_PART_BYTES]| u64::from_be_bytes(*part) & PARITY_MASK;
    let weak_part = parts.iter().any(|part| WEAK_DES_KEYS.contains(&masked(part)));
    let equal_parts = parts.windows(2).any(|pair| masked(&pair[0]) == masked(&pair[1]));
    !rest.is_empty() || weak_part || equal_parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity() {
        let mut key = [0xFF, 0xE6, 0x00, 0x01];
        assert!(!has_odd_parity(&key));
        set_odd_parity(&mut key);
        assert_eq!(key, [0xFE, 0xE6, 0x01, 0x01]);
        assert!(has_odd_parity(&key));
    }

    #[test]
    fn components_must_fit() {
        assert_eq!(combine_components(&[]).err(), Some(CryptoError::Components));
        assert_eq!(combine_components(&[&[1; 16]]).err(), Some(CryptoError::Components));
        assert_eq!(combine_components(&[&[1; 16], &[1; 15]]).err(), Some(CryptoError::Components));
        let key = combine_components(&[&[0x0F; 16], &[0xF0; 16]]).unwrap();
        assert_eq!(key.expose(), [0xFF; 16]);
    }

    #[test]
    fn weak_keys() {
        assert!(is_weak_tdes_key(&[0x01; 8]));
        assert!(is_weak_tdes_key(&[0x01, 0xFE, 0x01, 0xFE, 0x01, 0xFE, 0x01, 0xFE]));
        assert!(is_weak_tdes_key(&[0x23; 16]));
        assert!(!is_weak_tdes_key(&[0x23, 1, 2, 3, 4, 5, 6, 7]));
    }
}
