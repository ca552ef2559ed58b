//! Message authentication codes of the payment world.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::block::{BlockCipher, DES_BLOCK_BYTES, xor_into};
use crate::padding::{Padding, for_each_padded_run};
use crate::sm3::{SM3_BLOCK_BYTES, SM3_DIGEST_BYTES, sm3};
use crate::{CryptoError, TdesKey, TdesKeyLength};

/// Length of an HMAC-SHA-256 or HMAC-SM3 value in bytes.
pub const HMAC_BYTES: usize = 32;
/// Length of UnionPay's field 64 in bytes.
pub const FIELD_64_BYTES: usize = 8;

/// CBC-MAC over padded data with a zero initial vector (ISO/IEC 9797-1 MAC algorithm 1), untruncated.
#[must_use]
pub fn cbc_mac<const N: usize>(cipher: &impl BlockCipher<N>, data: &[u8], padding: Padding) -> [u8; N] {
    let mut chain = [0; N];
    for_each_padded_run(data, padding, |run| cipher.chain_blocks(&mut chain, run));
    chain
}

/// Retail MAC (ISO/IEC 9797-1 MAC algorithm 3 with DES): chained with the first part of the key, closed by
/// deciphering with the second and enciphering with the last. Untruncated.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`] for a single-length key.
pub fn retail_mac(key: &TdesKey, data: &[u8], padding: Padding) -> Result<[u8; DES_BLOCK_BYTES], CryptoError> {
    if key.length() == TdesKeyLength::Single {
        return Err(CryptoError::DoubleLengthNeeded);
    }
    let mut chain = [0; DES_BLOCK_BYTES];
    for_each_padded_run(data, padding, |run| key.chain_with_first(&mut chain, run));
    key.output_transformation(&mut chain);
    Ok(chain)
}

/// MAC algorithm 3 with two separate keys: chained with `chain_key`, closed by deciphering with `output_key` and
/// enciphering with `chain_key`. [`retail_mac`] is this for the halves of one key. Untruncated.
#[must_use]
pub fn mac_algorithm_3<const N: usize>(
    chain_key: &impl BlockCipher<N>,
    output_key: &impl BlockCipher<N>,
    data: &[u8],
    padding: Padding,
) -> [u8; N] {
    let mut chain = cbc_mac(chain_key, data, padding);
    output_key.decrypt_block(&mut chain);
    chain_key.encrypt_block(&mut chain);
    chain
}

/// ANSI X9.9: single DES CBC-MAC, zero padding; with a longer key only its first part is used.
#[must_use]
pub fn x9_9_mac(key: &TdesKey, data: &[u8]) -> [u8; DES_BLOCK_BYTES] {
    let mut chain = [0; DES_BLOCK_BYTES];
    for_each_padded_run(data, Padding::Zeros, |run| key.chain_with_first(&mut chain, run));
    chain
}

/// ANSI X9.19: the retail MAC with zero padding.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`] for a single-length key.
pub fn x9_19_mac(key: &TdesKey, data: &[u8]) -> Result<[u8; DES_BLOCK_BYTES], CryptoError> {
    retail_mac(key, data, Padding::Zeros)
}

fn doubled<const N: usize>(value: [u8; N]) -> [u8; N] {
    // Reduction constants of NIST SP 800-38B §5.3 for 64 and 128 bit blocks.
    let reduction: u8 = if N == DES_BLOCK_BYTES { 0x1B } else { 0x87 };
    let mut shifted = [0; N];
    let mut carry = 0;
    for (out, byte) in shifted.iter_mut().zip(value).rev() {
        *out = (byte << 1) | carry;
        carry = byte >> 7;
    }
    shifted[N - 1] ^= reduction & 0_u8.wrapping_sub(carry);
    shifted
}

/// The two subkeys of a CMAC key (NIST SP 800-38B §6.1): the first closes whole blocks, the second padded ones. As
/// secret as the key; public so that every step of a test key's CMAC can be shown.
#[must_use]
pub fn cmac_subkeys<const N: usize>(cipher: &impl BlockCipher<N>) -> [[u8; N]; 2] {
    let first = doubled(cipher.encrypted([0; N]));
    [first, doubled(first)]
}

/// CMAC (NIST SP 800-38B, ISO/IEC 9797-1 MAC algorithm 5) over TDES, AES or SM4, untruncated.
#[must_use]
pub fn cmac<const N: usize>(cipher: &impl BlockCipher<N>, data: &[u8]) -> [u8; N] {
    let [mut subkey, mut padded_subkey] = cmac_subkeys(cipher);
    let last_at = data.len().saturating_sub(1) / N * N;
    let (whole, last) = data.split_at(last_at);
    let mut chain = [0; N];
    cipher.chain_blocks(&mut chain, whole.as_chunks::<N>().0);
    let mut closing = [0; N];
    closing[..last.len()].copy_from_slice(last);
    if last.len() < N {
        closing[last.len()] = 0x80;
        subkey = padded_subkey;
    }
    padded_subkey.zeroize();
    xor_into(&mut chain, &closing);
    xor_into(&mut chain, &subkey);
    subkey.zeroize();
    cipher.encrypted(chain)
}

/// Every step of UnionPay's ECB MAC, for explanations and test vectors. None of the steps is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnionPayMacSteps<const N: usize> {
    /// Exclusive or of all blocks of the MAC input.
    pub folded: [u8; N],
    /// First half of the fold's hexadecimal text, enciphered.
    pub first: [u8; N],
    /// `first` xor the second half of the text.
    pub mixed: [u8; N],
    /// `mixed` enciphered; field 64 is the text of its first half.
    pub last: [u8; N],
}

impl<const N: usize> UnionPayMacSteps<N> {
    /// Field 64 as it stands on the wire: the first eight characters of the result in upper-case hexadecimal.
    #[must_use]
    pub fn field_64(&self) -> [u8; FIELD_64_BYTES] {
        core::array::from_fn(|i| hex_digit(self.last[i / 2], i % 2 == 0))
    }
}

fn hex_digit(byte: u8, high: bool) -> u8 {
    let nibble = if high { byte >> 4 } else { byte & 0x0F };
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

/// UnionPay's ECB MAC with all intermediate values. TDES keys of 8 or 16 bytes and SM4 keys fit.
#[must_use]
pub fn unionpay_ecb_mac_steps<const N: usize>(cipher: &impl BlockCipher<N>, data: &[u8]) -> UnionPayMacSteps<N> {
    let mut folded = [0; N];
    for_each_padded_run(data, Padding::Zeros, |run| run.iter().for_each(|block| xor_into(&mut folded, block)));
    let text = |index: usize| hex_digit(folded[index / 2], index.is_multiple_of(2));
    let first = cipher.encrypted(core::array::from_fn(text));
    let mut mixed = core::array::from_fn(|i| text(N + i));
    xor_into(&mut mixed, &first);
    let last = cipher.encrypted(mixed);
    UnionPayMacSteps { folded, first, mixed, last }
}

/// Field 64 by UnionPay's ECB algorithm (UnionPay POS §4.6) over the MAC input block: MTI, bitmap and fields up to 63.
#[must_use]
pub fn unionpay_ecb_mac<const N: usize>(cipher: &impl BlockCipher<N>, data: &[u8]) -> [u8; FIELD_64_BYTES] {
    unionpay_ecb_mac_steps(cipher, data).field_64()
}

/// A keyed HMAC-SHA-256 (FIPS 198-1) whose key blocks are hashed once. Wiped on drop; never prints.
#[derive(Clone)]
pub struct HmacSha256Key(Hmac<Sha256>);

impl HmacSha256Key {
    /// Prepares a key of any length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// HMAC of the concatenation of `parts`.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; HMAC_BYTES] {
        let mut hmac = self.0.clone();
        for part in parts {
            hmac.update(part);
        }
        hmac.finalize().into_bytes().into()
    }
}

impl core::fmt::Debug for HmacSha256Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HmacSha256Key(***)")
    }
}

/// HMAC with SM3 (GB/T 15852.2).
#[must_use]
pub fn hmac_sm3(key: &[u8], data: &[u8]) -> [u8; HMAC_BYTES] {
    let mut block = [0; SM3_BLOCK_BYTES];
    if key.len() > SM3_BLOCK_BYTES {
        block[..SM3_DIGEST_BYTES].copy_from_slice(&sm3(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner_key = block.map(|byte| byte ^ 0x36);
    let mut outer_key = block.map(|byte| byte ^ 0x5C);
    let inner = sm3(&[&inner_key, data]);
    let mac = sm3(&[&outer_key, &inner]);
    block.zeroize();
    inner_key.zeroize();
    outer_key.zeroize();
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AesKey, Sm4Key};
    use proptest::prelude::*;

    /// UnionPay POS §9, S3: the MAC input block of the worked sale is 259 bytes; here the figures of vector V3.
    #[test]
    fn unionpay_steps_of_a_captured_sale() {
        let key = TdesKey::new(&0xC1A4_AE89_BAEA_B029_u64.to_be_bytes()).unwrap();
        let folded = 0x1885_1A99_E017_502B_u64.to_be_bytes();
        let steps = unionpay_ecb_mac_steps(&key, &folded);
        assert_eq!(steps.folded, folded);
        assert_eq!(steps.first, 0x20EC_0A95_3EA6_F8D7_u64.to_be_bytes());
        assert_eq!(steps.mixed, 0x65DC_3BA2_0B96_CA95_u64.to_be_bytes());
        assert_eq!(steps.last, 0xA25D_4446_3E41_0A56_u64.to_be_bytes());
        assert_eq!(&steps.field_64(), b"A25D4446");
    }

    #[test]
    fn unionpay_with_double_length_and_sm4_keys() {
        let key = 0x5503_6372_B175_43EC_B173_7307_68B8_D6C4_u128.to_be_bytes();
        let folded = 0x1212_B04E_1227_809C_u64.to_be_bytes();
        let tdes = TdesKey::new(&key).unwrap();
        assert_eq!(&unionpay_ecb_mac(&tdes, &folded), b"5FE058DB");
        let sm4 = 0xF351_D490_9946_0379_5C6E_BEE8_FAEB_B481_u128.to_be_bytes();
        let folded = 0xBCDF_932C_8D7B_8404_73A2_EA0B_C799_0F6A_u128.to_be_bytes();
        assert_eq!(&unionpay_ecb_mac(&Sm4Key::new(&sm4).unwrap(), &folded), b"6D25F61A");
    }

    #[test]
    fn retail_mac_needs_two_parts() {
        let single = TdesKey::new(&[1; 8]).unwrap();
        assert_eq!(x9_19_mac(&single, b"x").err(), Some(CryptoError::DoubleLengthNeeded));
    }

    proptest! {
        #[test]
        fn a_changed_byte_changes_every_mac(mut data in proptest::collection::vec(any::<u8>(), 1..200), at: usize) {
            let tdes = TdesKey::new(&core::array::from_fn::<u8, 16, _>(|i| i as u8 * 7)).unwrap();
            let aes = AesKey::new(&[9; 16]).unwrap();
            let all = |data: &[u8]| {
                (x9_9_mac(&tdes, data), x9_19_mac(&tdes, data).unwrap(), cmac(&tdes, data), cmac(&aes, data))
            };
            let before = all(&data);
            let at = at % data.len();
            data[at] ^= 0x10;
            let after = all(&data);
            prop_assert!(before.0 != after.0 && before.1 != after.1 && before.2 != after.2 && before.3 != after.3);
        }
    }
}
