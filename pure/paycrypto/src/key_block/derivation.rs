//! From the protection key to the two keys of a block: one enciphers, the other authenticates.
//!
//! Versions A and C use variants (TR-31:2018 §5.3.2.2), B, D and E derive with CMAC in counter mode
//! (NIST SP 800-108; TR-31:2018 §5.3.2.1 and §5.3.2.3, ISO 20038:2017 annex A).

use zeroize::Zeroize;

use super::error::KeyBlockError;
use super::field::Version;
use super::protection::ProtectionKey;
use crate::block::BlockCipher;
use crate::key_material::{KEY_BYTES_MAX, KeyBytes};
use crate::mac::cmac;

/// Xored into every byte: the letter E.
const ENCRYPTION_VARIANT: u8 = 0x45;
/// Xored into every byte: the letter M.
const AUTHENTICATION_VARIANT: u8 = 0x4D;

/// Second and third byte of the derivation's input.
const PURPOSE_ENCRYPTION_CBC: u8 = 0;
const PURPOSE_AUTHENTICATION: u8 = 1;
const PURPOSE_ENCRYPTION_CTR: u8 = 2;

/// The keys of one key block. They never leave an import; visible so that every step can be explained.
#[derive(Debug)]
pub struct DerivedKeys {
    /// Key block encryption key (KBEK).
    pub encryption: KeyBytes,
    /// Key block authentication key (KBAK).
    pub authentication: KeyBytes,
}

/// Derives both keys from a protection key.
///
/// # Errors
/// [`KeyBlockError::ProtectionKeyAlgorithm`] if the version works with the other cipher.
pub fn derive_keys(version: Version, kbpk: &ProtectionKey) -> Result<DerivedKeys, KeyBlockError> {
    match (version, kbpk) {
        (Version::A | Version::C, ProtectionKey::Tdes(key)) => Ok(DerivedKeys {
            encryption: variant(key.expose_bytes(), ENCRYPTION_VARIANT),
            authentication: variant(key.expose_bytes(), AUTHENTICATION_VARIANT),
        }),
        (Version::B, ProtectionKey::Tdes(key)) => {
            let algorithm = if key.expose_bytes().len() == 16 { 0 } else { 1 };
            Ok(derived(key, key.expose_bytes().len(), algorithm, PURPOSE_ENCRYPTION_CBC))
        }
        (Version::D | Version::E, ProtectionKey::Aes(key)) => {
            let algorithm = match key.expose_bytes().len() {
                16 => 2,
                24 => 3,
                _ => 4,
            };
            let ctr = version == Version::E;
            let purpose = if ctr { PURPOSE_ENCRYPTION_CTR } else { PURPOSE_ENCRYPTION_CBC };
            Ok(derived(key, key.expose_bytes().len(), algorithm, purpose))
        }
        _ => Err(KeyBlockError::ProtectionKeyAlgorithm(version)),
    }
}

fn variant(key: &[u8], mask: u8) -> KeyBytes {
    let mut varied = KeyBytes::new(key).expect("a protection key has a key's length");
    varied.expose_mut().iter_mut().for_each(|byte| *byte ^= mask);
    varied
}

fn derived<const N: usize>(
    key: &impl BlockCipher<N>,
    key_bytes: usize,
    algorithm: u8,
    encryption_purpose: u8,
) -> DerivedKeys {
    DerivedKeys {
        encryption: derived_key(key, key_bytes, algorithm, encryption_purpose),
        authentication: derived_key(key, key_bytes, algorithm, PURPOSE_AUTHENTICATION),
    }
}

/// Input of each CMAC: counter, purpose (2), separator, algorithm (2), length in bits (2).
fn derived_key<const N: usize>(key: &impl BlockCipher<N>, key_bytes: usize, algorithm: u8, purpose: u8) -> KeyBytes {
    let [high, low] = ((key_bytes * 8) as u16).to_be_bytes();
    let mut material = [0; KEY_BYTES_MAX];
    for (counter, part) in (1_u8..).zip(material[..key_bytes].chunks_mut(N)) {
        let mut block = cmac(key, &[counter, 0, purpose, 0, 0, algorithm, high, low]);
        part.copy_from_slice(&block[..part.len()]);
        block.zeroize();
    }
    let derived = KeyBytes::new(&material[..key_bytes]).expect("a protection key has a key's length");
    material.zeroize();
    derived
}
