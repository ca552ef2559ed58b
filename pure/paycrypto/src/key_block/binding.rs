//! The binding methods: how header and key are enciphered and authenticated together.
//!
//! | version | MAC over | enciphered with |
//! |---|---|---|
//! | A, C | header and enciphered key, CBC-MAC cut to 4 bytes | TDES CBC, first eight header characters as IV |
//! | B | header and clear key, TDES CMAC | TDES CBC, the MAC as IV |
//! | D | header and clear key, AES CMAC | AES CBC, the MAC as IV |
//! | E | header and clear key, AES CMAC | AES counter mode, the MAC as first counter |

use zeroize::Zeroizing;

use super::derivation::derive_keys;
use super::error::{Field, KeyBlockError};
use super::field::Version;
use super::protection::ProtectionKey;
use crate::block::{AES_BLOCK_BYTES, BlockCipher, DES_BLOCK_BYTES, decrypt_cbc, encrypt_cbc};
use crate::mac::{cbc_mac, cmac};
use crate::padding::Padding;
use crate::{AesKey, CryptoError, TdesKey, constant_time_eq};

/// Deciphers `data` in place and verifies the MAC.
pub(super) fn open(
    version: Version,
    kbpk: &ProtectionKey,
    header: &[u8],
    data: &mut [u8],
    mac: &[u8],
) -> Result<(), KeyBlockError> {
    let keys = derive_keys(version, kbpk)?;
    let (encryption, authentication) = (keys.encryption.expose(), keys.authentication.expose());
    let genuine = match version {
        Version::A | Version::C => open_variant(&tdes(encryption), &tdes(authentication), header, data, mac)?,
        Version::B => open_cbc(&tdes(encryption), header, data, mac, |text| cmac(&tdes(authentication), text))?,
        Version::D => open_cbc(&aes(encryption), header, data, mac, |text| cmac(&aes(authentication), text))?,
        Version::E => {
            counter_mode(&aes(encryption), initial_vector(mac)?, data);
            constant_time_eq(&cmac(&aes(authentication), &joined(header, data)), mac)
        }
    };
    if genuine { Ok(()) } else { Err(KeyBlockError::WrongMac) }
}

/// Enciphers `data` in place and gives the MAC.
pub(super) fn seal(
    version: Version,
    kbpk: &ProtectionKey,
    header: &[u8],
    data: &mut [u8],
) -> Result<Vec<u8>, KeyBlockError> {
    let keys = derive_keys(version, kbpk)?;
    let (encryption, authentication) = (keys.encryption.expose(), keys.authentication.expose());
    let text = joined(header, data);
    match version {
        Version::A | Version::C => Err(KeyBlockError::ImportOnly(version)),
        Version::B => {
            let mac = cmac(&tdes(authentication), &text);
            encrypt_cbc(&tdes(encryption), mac, data).map_err(not_whole_blocks)?;
            Ok(mac.to_vec())
        }
        Version::D => {
            let mac = cmac(&aes(authentication), &text);
            encrypt_cbc(&aes(encryption), mac, data).map_err(not_whole_blocks)?;
            Ok(mac.to_vec())
        }
        Version::E => {
            let mac = cmac(&aes(authentication), &text);
            counter_mode(&aes(encryption), mac, data);
            Ok(mac.to_vec())
        }
    }
}

fn tdes(key: &[u8]) -> TdesKey {
    TdesKey::new(key).expect("derived with the protection key's length")
}

fn aes(key: &[u8]) -> AesKey {
    AesKey::new(key).expect("derived with the protection key's length")
}

fn joined(header: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
    // One allocation: growing would leave copies of the clear key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(header.len() + data.len()));
    text.extend_from_slice(header);
    text.extend_from_slice(data);
    text
}

fn initial_vector<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyBlockError> {
    let malformed = KeyBlockError::Malformed { offset: 0, field: Field::Mac };
    bytes.first_chunk().copied().ok_or(malformed)
}

fn not_whole_blocks(_: CryptoError) -> KeyBlockError {
    KeyBlockError::WrongLength(super::error::LengthFault::NotWholeBlocks)
}

/// The MAC is over what was sent, so it is verified before anything is deciphered.
fn open_variant(
    encryption: &TdesKey,
    authentication: &TdesKey,
    header: &[u8],
    data: &mut [u8],
    mac: &[u8],
) -> Result<bool, KeyBlockError> {
    let full: [u8; DES_BLOCK_BYTES] = cbc_mac(authentication, &joined(header, data), Padding::Zeros);
    if !constant_time_eq(&full[..Version::A.mac_bytes()], mac) {
        return Ok(false);
    }
    decrypt_cbc(encryption, initial_vector(header)?, data).map_err(not_whole_blocks)?;
    Ok(true)
}

fn open_cbc<const N: usize>(
    encryption: &impl BlockCipher<N>,
    header: &[u8],
    data: &mut [u8],
    mac: &[u8],
    authenticate: impl Fn(&[u8]) -> [u8; N],
) -> Result<bool, KeyBlockError> {
    decrypt_cbc(encryption, initial_vector(mac)?, data).map_err(not_whole_blocks)?;
    Ok(constant_time_eq(&authenticate(&joined(header, data)), mac))
}

/// Counter mode (NIST SP 800-38A §6.5): the whole block counts, big-endian. Enciphers and deciphers.
fn counter_mode(key: &AesKey, initial: [u8; AES_BLOCK_BYTES], data: &mut [u8]) {
    let mut counter = u128::from_be_bytes(initial);
    for chunk in data.chunks_mut(AES_BLOCK_BYTES) {
        let keystream = Zeroizing::new(key.encrypted(counter.to_be_bytes()));
        chunk.iter_mut().zip(keystream.iter()).for_each(|(byte, with)| *byte ^= with);
        counter = counter.wrapping_add(1);
    }
}
