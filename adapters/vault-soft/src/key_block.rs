//! Keys under the vault's master key, and what may be made of them.

use crate::entropy::Entropy;
use crate::refusal::{of_crypto, of_entropy};
use crate::sealing::SealingKey;
use keys::{Algorithm, AnyKeyBlock, CheckMethod, KeyCheckValue, KeyHeader, Refusal, Usage};
use machine::wire::Writer;
use paycrypto::check_value::{CMAC_CHECK_VALUE_BYTES, zero_block_check_value};
use paycrypto::key_material::{is_weak_tdes_key, set_odd_parity};
use paycrypto::mac::{HmacSha256Key, cmac};
use paycrypto::{AesKey, BlockCipher, DES_BLOCK_BYTES, KeyBytes, Sm4Key, TdesKey};
use zeroize::Zeroizing;

/// Draws until a DES key is not weak; more than this many weak draws mean a broken source.
const DRAWS_MAX: usize = 8;
const LONGEST_KEY_BYTES: usize = 32;
const CHECK_VALUE_BLOCK: [u8; 16] = [0; 16];

/// Length of a legacy check value in bytes (X9.24-1 §7.7).
const LEGACY_CHECK_VALUE_BYTES: usize = 3;

/// Whether a key may be enciphered under another: never a stronger one under a weaker (PCI PIN requirement 10).
pub fn protects(protecting: Algorithm, key: Algorithm) -> Result<(), Refusal> {
    if key.security_bits() <= protecting.security_bits() { Ok(()) } else { Err(Refusal::WrongKey) }
}

/// A key ready to work.
pub trait KeyUse: Sized {
    /// Prepares clear bytes of this algorithm.
    fn prepare(algorithm: Algorithm, key: &KeyBytes) -> Result<Self, Refusal>;
}

impl KeyUse for TdesKey {
    fn prepare(algorithm: Algorithm, key: &KeyBytes) -> Result<Self, Refusal> {
        if algorithm.is_des() { TdesKey::new(key.expose()).map_err(of_crypto) } else { Err(Refusal::WrongKey) }
    }
}

impl KeyUse for AesKey {
    fn prepare(algorithm: Algorithm, key: &KeyBytes) -> Result<Self, Refusal> {
        if algorithm.is_aes() { AesKey::new(key.expose()).map_err(of_crypto) } else { Err(Refusal::WrongKey) }
    }
}

impl KeyUse for Sm4Key {
    fn prepare(algorithm: Algorithm, key: &KeyBytes) -> Result<Self, Refusal> {
        if algorithm != Algorithm::Sm4 {
            return Err(Refusal::WrongKey);
        }
        Sm4Key::new(key.expose()).map_err(of_crypto)
    }
}

impl KeyUse for HmacSha256Key {
    fn prepare(algorithm: Algorithm, key: &KeyBytes) -> Result<Self, Refusal> {
        if algorithm != Algorithm::HmacSha256 {
            return Err(Refusal::WrongKey);
        }
        Ok(HmacSha256Key::new(key.expose()))
    }
}

/// A clear key that fits its header.
pub fn checked_key(header: &KeyHeader, bytes: &[u8]) -> Result<KeyBytes, Refusal> {
    if !header.usage.suits(header.algorithm) {
        return Err(Refusal::WrongKey);
    }
    let weak = header.algorithm.is_des() && is_weak_tdes_key(bytes);
    if bytes.len() != header.algorithm.key_bytes() || weak || is_all_zero(bytes) {
        return Err(Refusal::Parameter);
    }
    KeyBytes::new(bytes).map_err(of_crypto)
}

/// No key of any algorithm: what is left of one that was wiped or never drawn.
fn is_all_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}

/// Draws a key that fits the header; DES keys get odd parity.
pub fn draw_key(entropy: &dyn Entropy, header: &KeyHeader) -> Result<KeyBytes, Refusal> {
    let mut buffer = Zeroizing::new([0; LONGEST_KEY_BYTES]);
    let bytes = &mut buffer[..header.algorithm.key_bytes()];
    for _ in 0..DRAWS_MAX {
        entropy.fill(bytes).map_err(of_entropy)?;
        if header.algorithm.is_des() {
            set_odd_parity(bytes);
        }
        match checked_key(header, bytes) {
            Err(Refusal::Parameter) => {}
            other => return other,
        }
    }
    Err(Refusal::Unavailable)
}

fn zero_block<const N: usize, const M: usize>(cipher: &impl BlockCipher<N>) -> [u8; M] {
    leading(&zero_block_check_value(cipher))
}

/// The CMAC check value of a block cipher's key.
fn cmac_check_of(algorithm: Algorithm, key: &KeyBytes) -> Result<[u8; CMAC_CHECK_VALUE_BYTES], Refusal> {
    match algorithm {
        Algorithm::Sm4 => Ok(leading(&cmac(&Sm4Key::prepare(algorithm, key)?, &CHECK_VALUE_BLOCK))),
        algorithm if algorithm.is_aes() => Ok(leading(&cmac(&AesKey::prepare(algorithm, key)?, &CHECK_VALUE_BLOCK))),
        Algorithm::TdesDouble | Algorithm::TdesTriple => {
            Ok(leading(&cmac(&TdesKey::prepare(algorithm, key)?, &[0; DES_BLOCK_BYTES])))
        }
        _ => Err(Refusal::WrongKey),
    }
}

/// The check value that goes with a new key: zero block under DES and SM4 (as UnionPay has it), CMAC of a zero block
/// under AES and for CMAC keys, HMAC of a zero block.
pub fn check_value(header: &KeyHeader, key: &[u8]) -> Result<KeyCheckValue, Refusal> {
    let (algorithm, key) = (header.algorithm, KeyBytes::new(key).map_err(of_crypto)?);
    let value = match algorithm {
        Algorithm::HmacSha256 => leading(&HmacSha256Key::prepare(algorithm, &key)?.mac(&[&CHECK_VALUE_BLOCK])),
        // The zero block's cipher is where a CMAC's subkeys come from: it must not be shown.
        _ if algorithm.is_aes() || header.usage == Usage::MessageCmac => leading(&cmac_check_of(algorithm, &key)?),
        Algorithm::Sm4 => zero_block(&Sm4Key::prepare(algorithm, &key)?),
        _ => zero_block(&TdesKey::prepare(algorithm, &key)?),
    };
    Ok(KeyCheckValue(value))
}

/// A check value by a named method. Legacy values are for DES and SM4 keys that make no CMACs: of any other, the zero
/// block's cipher gives something away.
pub fn check_value_by(method: CheckMethod, header: &KeyHeader, key: &KeyBytes) -> Result<Vec<u8>, Refusal> {
    let algorithm = header.algorithm;
    match method {
        CheckMethod::Cmac => cmac_check_of(algorithm, key).map(|value| value.to_vec()),
        CheckMethod::Legacy if header.usage == Usage::MessageCmac => Err(Refusal::WrongKey),
        CheckMethod::Legacy => {
            let value: [u8; LEGACY_CHECK_VALUE_BYTES] = match algorithm {
                Algorithm::Sm4 => zero_block(&Sm4Key::prepare(algorithm, key)?),
                _ => zero_block(&TdesKey::prepare(algorithm, key)?),
            };
            Ok(value.to_vec())
        }
    }
}

fn leading<const N: usize, const M: usize>(full: &[u8; N]) -> [u8; M] {
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
    if key.len() != block.header.algorithm.key_bytes() || !block.header.usage.suits(block.header.algorithm) {
        return Err(Refusal::NotAuthentic);
    }
    KeyBytes::new(&key).map_err(of_crypto)
}

const _: () = assert!(LONGEST_KEY_BYTES == paycrypto::key_material::KEY_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use keys::{Owner, Validity};

    #[test]
    fn no_key_is_all_zero_and_no_des_key_is_weak() {
        let header = |usage, algorithm| KeyHeader {
            usage,
            algorithm,
            exportable: false,
            owner: Owner::new("12345678").unwrap(),
            version: 1,
            validity: Validity::default(),
        };
        let (aes, tdes) =
            (header(Usage::MessageCmac, Algorithm::Aes128), header(Usage::MessageMac, Algorithm::TdesDouble));
        assert!(checked_key(&aes, &[1; 16]).is_ok());
        assert_eq!(checked_key(&aes, &[0; 16]).err(), Some(Refusal::Parameter));
        assert_eq!(checked_key(&aes, &[1; 15]).err(), Some(Refusal::Parameter));
        assert_eq!(checked_key(&tdes, &[0x23; 16]).err(), Some(Refusal::Parameter), "two equal halves");
        assert_eq!(checked_key(&tdes, &[0; 16]).err(), Some(Refusal::Parameter));
    }
}
