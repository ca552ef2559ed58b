//! Keys under the vault's master key, and what may be made of them.

use crate::entropy::Entropy;
use crate::refusal::{of_crypto, of_entropy};
use crate::sealing::SealingKey;
use keys::{Algorithm, AnyKeyBlock, KeyCheckValue, KeyHeader, Refusal, Usage};
use machine::wire::Writer;
use paycrypto::check_value::{cmac_check_value, unionpay_check_value};
use paycrypto::key_material::{is_weak_tdes_key, set_odd_parity};
use paycrypto::mac::HmacSha256Key;
use paycrypto::{AesKey, KeyBytes, TdesKey};
use zeroize::Zeroizing;

/// Draws until a DES key is not weak; more than this many weak draws mean a broken source.
const DRAWS_MAX: usize = 8;
const LONGEST_KEY_BYTES: usize = 32;
const CHECK_VALUE_BLOCK: [u8; 16] = [0; 16];

/// Whether keys of this usage may have this algorithm.
pub fn suits(usage: Usage, algorithm: Algorithm) -> bool {
    let suitable: &[Algorithm] = match usage {
        Usage::MessageMac => &[Algorithm::Des, Algorithm::TdesDouble],
        Usage::KeyEncryption => &[Algorithm::TdesDouble, Algorithm::TdesTriple],
        Usage::PinReference => &[Algorithm::HmacSha256],
        Usage::TerminalMaster
        | Usage::PinEncryption
        | Usage::TrackEncryption
        | Usage::IssuerMasterAc
        | Usage::IssuerMasterMac
        | Usage::IssuerMasterEncipherment => &[Algorithm::TdesDouble],
    };
    suitable.contains(&algorithm)
}

/// Whether the algorithm is single, double or triple DES.
pub fn is_des(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Des | Algorithm::TdesDouble | Algorithm::TdesTriple)
}

/// A clear key that fits its header.
pub fn checked_key(header: &KeyHeader, bytes: &[u8]) -> Result<KeyBytes, Refusal> {
    if !suits(header.usage, header.algorithm) {
        return Err(Refusal::WrongKey);
    }
    if bytes.len() != header.algorithm.key_bytes() || (is_des(header.algorithm) && is_weak_tdes_key(bytes)) {
        return Err(Refusal::Parameter);
    }
    KeyBytes::new(bytes).map_err(of_crypto)
}

/// Draws a key that fits the header; DES keys get odd parity.
pub fn draw_key(entropy: &dyn Entropy, header: &KeyHeader) -> Result<KeyBytes, Refusal> {
    let mut buffer = Zeroizing::new([0; LONGEST_KEY_BYTES]);
    let bytes = &mut buffer[..header.algorithm.key_bytes()];
    for _ in 0..DRAWS_MAX {
        entropy.fill(bytes).map_err(of_entropy)?;
        if is_des(header.algorithm) {
            set_odd_parity(bytes);
        }
        match checked_key(header, bytes) {
            Err(Refusal::Parameter) => {}
            other => return other,
        }
    }
    Err(Refusal::Unavailable)
}

/// The check value of a key: zero block under DES, CMAC of a zero block under AES, HMAC of a zero block.
pub fn check_value(algorithm: Algorithm, key: &[u8]) -> Result<KeyCheckValue, Refusal> {
    let value = match algorithm {
        Algorithm::Des | Algorithm::TdesDouble | Algorithm::TdesTriple => {
            unionpay_check_value(&TdesKey::new(key).map_err(of_crypto)?)
        }
        Algorithm::Aes128 | Algorithm::Aes256 => leading(&cmac_check_value(&AesKey::new(key).map_err(of_crypto)?)),
        Algorithm::HmacSha256 => leading(&HmacSha256Key::new(key).mac(&[&CHECK_VALUE_BLOCK])),
    };
    Ok(KeyCheckValue(value))
}

fn leading<const N: usize>(full: &[u8; N]) -> [u8; 4] {
    core::array::from_fn(|i| full[i])
}

/// What a key block's tag binds to its key.
fn associated(header: &KeyHeader) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.raw(b"irontill key block 1\0").value(header);
    writer.into_bytes()
}

/// Wraps a clear key.
pub fn wrap(
    sealing: &SealingKey,
    entropy: &dyn Entropy,
    header: KeyHeader,
    key: &KeyBytes,
) -> Result<AnyKeyBlock, Refusal> {
    let enciphered = sealing.seal(entropy, &associated(&header), key.expose())?;
    Ok(AnyKeyBlock { header, enciphered })
}

/// Unwraps a key block: it must be this vault's and unaltered, header included.
pub fn unwrap(sealing: &SealingKey, block: &AnyKeyBlock) -> Result<KeyBytes, Refusal> {
    let key = sealing.open(&associated(&block.header), &block.enciphered)?;
    if key.len() != block.header.algorithm.key_bytes() || !suits(block.header.usage, block.header.algorithm) {
        return Err(Refusal::NotAuthentic);
    }
    KeyBytes::new(&key).map_err(of_crypto)
}

/// Unwraps a DES key and expands it.
pub fn unwrap_tdes(sealing: &SealingKey, block: &AnyKeyBlock) -> Result<TdesKey, Refusal> {
    if !is_des(block.header.algorithm) {
        return Err(Refusal::WrongKey);
    }
    TdesKey::new(unwrap(sealing, block)?.expose()).map_err(of_crypto)
}

/// Unwraps an HMAC key and prepares it.
pub fn unwrap_hmac(sealing: &SealingKey, block: &AnyKeyBlock) -> Result<HmacSha256Key, Refusal> {
    if block.header.algorithm != Algorithm::HmacSha256 {
        return Err(Refusal::WrongKey);
    }
    Ok(HmacSha256Key::new(unwrap(sealing, block)?.expose()))
}

const _: () = assert!(LONGEST_KEY_BYTES == paycrypto::key_material::KEY_BYTES_MAX);
