//! Keys enciphered under keys: plain TDES ECB as terminals still get them, AES key wrap as vaults should.

use zeroize::Zeroize;

use crate::block::{AES_BLOCK_BYTES, BlockCipher, decrypt_ecb, encrypt_ecb};
use crate::key_material::{KEY_BYTES_MAX, KeyBytes};
use crate::{AesKey, CryptoError, TdesKey, constant_time_eq};

/// Most bytes that [`aes_kw_wrap`] and [`aes_kwp_wrap`] take.
pub const AES_KW_BYTES_MAX: usize = 4096;

const SEMIBLOCK_BYTES: usize = 8;
const ROUNDS: u64 = 6;
/// RFC 3394 §2.2.3.1.
const INITIAL_VALUE: [u8; SEMIBLOCK_BYTES] = [0xA6; SEMIBLOCK_BYTES];
/// RFC 5649 §3: the alternative initial value's constant half.
const PADDED_INITIAL_VALUE: [u8; 4] = [0xA6, 0x59, 0x59, 0xA6];

/// Enciphers a DES or TDES key under another, part by part without chaining (UnionPay POS §4.1). Any two parts could
/// be swapped unnoticed: use it where the interface demands it, and always with a check value.
///
/// # Errors
/// [`CryptoError::DataLength`] if the key is not 8, 16 or 24 bytes.
pub fn wrap_ecb<const N: usize>(wrapping_key: &impl BlockCipher<N>, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut wrapped = checked_key(key)?.to_vec();
    encrypt_ecb(wrapping_key, &mut wrapped)?;
    Ok(wrapped)
}

/// Deciphers a key that was enciphered by [`wrap_ecb`].
///
/// # Errors
/// [`CryptoError::DataLength`] if there are not 8, 16 or 24 bytes.
pub fn unwrap_ecb<const N: usize>(wrapping_key: &impl BlockCipher<N>, wrapped: &[u8]) -> Result<KeyBytes, CryptoError> {
    let mut key = KeyBytes::new(checked_key(wrapped)?)?;
    decrypt_ecb(wrapping_key, key.expose_mut())?;
    Ok(key)
}

fn checked_key(key: &[u8]) -> Result<&[u8], CryptoError> {
    match key.len() {
        8 | 16 | 24 => Ok(key),
        other => Err(CryptoError::DataLength(other)),
    }
}

/// Deciphers a TDES key of one to three parts and expands it.
///
/// # Errors
/// [`CryptoError::DataLength`] if there are not 8, 16 or 24 bytes.
pub fn unwrap_tdes_key(wrapping_key: &TdesKey, wrapped: &[u8]) -> Result<TdesKey, CryptoError> {
    TdesKey::new(unwrap_ecb(wrapping_key, wrapped)?.expose())
}

type Semiblock = [u8; SEMIBLOCK_BYTES];

fn joined(left: Semiblock, right: Semiblock) -> [u8; AES_BLOCK_BYTES] {
    core::array::from_fn(|i| if i < SEMIBLOCK_BYTES { left[i] } else { right[i - SEMIBLOCK_BYTES] })
}

fn split(block: [u8; AES_BLOCK_BYTES]) -> (Semiblock, Semiblock) {
    (core::array::from_fn(|i| block[i]), core::array::from_fn(|i| block[SEMIBLOCK_BYTES + i]))
}

/// The wrapping function W of NIST SP 800-38F §6.1.
fn wrap_semiblocks(key: &AesKey, initial: Semiblock, registers: &mut [Semiblock]) -> Semiblock {
    let (mut head, mut step) = (initial, 0_u64);
    for _ in 0..ROUNDS {
        for register in registers.iter_mut() {
            step += 1;
            let (left, right) = split(key.encrypted(joined(head, *register)));
            head = (u64::from_be_bytes(left) ^ step).to_be_bytes();
            *register = right;
        }
    }
    head
}

fn unwrap_semiblocks(key: &AesKey, head: Semiblock, registers: &mut [Semiblock]) -> Semiblock {
    let (mut head, mut step) = (head, ROUNDS * registers.len() as u64);
    for _ in 0..ROUNDS {
        for register in registers.iter_mut().rev() {
            head = (u64::from_be_bytes(head) ^ step).to_be_bytes();
            step -= 1;
            (head, *register) = split(key.decrypted(joined(head, *register)));
        }
    }
    head
}

fn concatenated(head: Semiblock, registers: &[Semiblock]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend(registers.iter().flatten());
    bytes
}

/// AES key wrap without padding (RFC 3394, NIST SP 800-38F KW).
///
/// # Errors
/// [`CryptoError::DataLength`] unless there are at least 16 bytes, a multiple of eight, and at most
/// [`AES_KW_BYTES_MAX`].
pub fn aes_kw_wrap(key: &AesKey, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (semiblocks, rest) = plaintext.as_chunks::<SEMIBLOCK_BYTES>();
    if !rest.is_empty() || semiblocks.len() < 2 || plaintext.len() > AES_KW_BYTES_MAX {
        return Err(CryptoError::DataLength(plaintext.len()));
    }
    let mut registers = semiblocks.to_vec();
    let head = wrap_semiblocks(key, INITIAL_VALUE, &mut registers);
    Ok(concatenated(head, &registers))
}

/// Reverses [`aes_kw_wrap`].
///
/// # Errors
/// [`CryptoError::DataLength`] for a length it never produces, [`CryptoError::Integrity`] if anything was changed.
pub fn aes_kw_unwrap(key: &AesKey, wrapped: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, CryptoError> {
    let (head, mut registers) = taken_apart(wrapped, 3)?;
    let head = unwrap_semiblocks(key, head, &mut registers);
    let plaintext = zeroize::Zeroizing::new(registers.concat());
    registers.zeroize();
    if constant_time_eq(&head, &INITIAL_VALUE) { Ok(plaintext) } else { Err(CryptoError::Integrity) }
}

fn taken_apart(wrapped: &[u8], semiblocks_min: usize) -> Result<(Semiblock, Vec<Semiblock>), CryptoError> {
    let (semiblocks, rest) = wrapped.as_chunks::<SEMIBLOCK_BYTES>();
    let too_long = wrapped.len() > AES_KW_BYTES_MAX + SEMIBLOCK_BYTES;
    if !rest.is_empty() || semiblocks.len() < semiblocks_min || too_long {
        return Err(CryptoError::DataLength(wrapped.len()));
    }
    Ok((semiblocks[0], semiblocks[1..].to_vec()))
}

/// AES key wrap with padding (RFC 5649, NIST SP 800-38F KWP).
///
/// # Errors
/// [`CryptoError::DataLength`] for no bytes or more than [`AES_KW_BYTES_MAX`].
pub fn aes_kwp_wrap(key: &AesKey, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    if plaintext.is_empty() || plaintext.len() > AES_KW_BYTES_MAX {
        return Err(CryptoError::DataLength(plaintext.len()));
    }
    let mut initial = [0; SEMIBLOCK_BYTES];
    initial[..4].copy_from_slice(&PADDED_INITIAL_VALUE);
    initial[4..].copy_from_slice(&(plaintext.len() as u32).to_be_bytes());
    let mut registers = vec![[0; SEMIBLOCK_BYTES]; plaintext.len().div_ceil(SEMIBLOCK_BYTES)];
    registers.as_flattened_mut()[..plaintext.len()].copy_from_slice(plaintext);
    if let [only] = registers[..] {
        registers.zeroize();
        return Ok(key.encrypted(joined(initial, only)).to_vec());
    }
    let head = wrap_semiblocks(key, initial, &mut registers);
    Ok(concatenated(head, &registers))
}

/// Reverses [`aes_kwp_wrap`].
///
/// # Errors
/// [`CryptoError::DataLength`] for a length it never produces, [`CryptoError::Integrity`] if anything was changed.
pub fn aes_kwp_unwrap(key: &AesKey, wrapped: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, CryptoError> {
    let (head, mut registers) = taken_apart(wrapped, 2)?;
    let head = if let [only] = &mut registers[..] {
        let (head, right) = split(key.decrypted(joined(head, *only)));
        *only = right;
        head
    } else {
        unwrap_semiblocks(key, head, &mut registers)
    };
    let mut plaintext = zeroize::Zeroizing::new(registers.concat());
    registers.zeroize();
    let length = padded_length(head, &plaintext)?;
    plaintext.truncate(length);
    Ok(plaintext)
}

fn padded_length(head: Semiblock, padded: &[u8]) -> Result<usize, CryptoError> {
    let (constant, length) = head.split_at(4);
    let length: [u8; 4] = length.try_into().expect("half a semiblock");
    let length = u32::from_be_bytes(length) as usize;
    let fits = length <= padded.len() && length + SEMIBLOCK_BYTES > padded.len() && length > 0;
    if !constant_time_eq(constant, &PADDED_INITIAL_VALUE) || !fits {
        return Err(CryptoError::Integrity);
    }
    let zero_padding = padded[length..].iter().fold(0, |all, byte| all | byte) == 0;
    if zero_padding { Ok(length) } else { Err(CryptoError::Integrity) }
}

const _: () = assert!(KEY_BYTES_MAX <= AES_KW_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_3394_section_4_1() {
        let key: Vec<u8> = (0..16).collect();
        let plaintext = 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF_u128.to_be_bytes();
        let wrapped = aes_kw_wrap(&AesKey::new(&key).unwrap(), &plaintext).unwrap();
        assert_eq!(wrapped[..4], [0x1F, 0xA6, 0x8B, 0x0A]);
    }

    proptest! {
        #[test]
        fn padded_wrap_round_trips_and_notices_changes(
            plaintext in proptest::collection::vec(any::<u8>(), 1..100), at: usize, bit in 0_u8..8,
        ) {
            let key = AesKey::new(&[7; 32]).unwrap();
            let mut wrapped = aes_kwp_wrap(&key, &plaintext).unwrap();
            prop_assert_eq!(&aes_kwp_unwrap(&key, &wrapped).unwrap()[..], &plaintext[..]);
            let at = at % wrapped.len();
            wrapped[at] ^= 1 << bit;
            prop_assert_eq!(aes_kwp_unwrap(&key, &wrapped).err(), Some(CryptoError::Integrity));
        }

        #[test]
        fn hostile_wraps_never_panic(wrapped: Vec<u8>) {
            let key = AesKey::new(&[7; 16]).unwrap();
            let _ = (aes_kw_unwrap(&key, &wrapped), aes_kwp_unwrap(&key, &wrapped));
            let _ = unwrap_tdes_key(&TdesKey::new(&[7; 16]).unwrap(), &wrapped);
        }
    }
}
