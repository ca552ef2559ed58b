//! Galois/Counter Mode over any block cipher of sixteen bytes (NIST SP 800-38D; GB/T 36624 for SM4).
//!
//! The universal hash multiplies without tables and without branches on secrets: integer multiplication of numbers
//! with gaps between their bits, so that carries die in the gaps.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::block::{AES_BLOCK_BYTES, BlockCipher};
use crate::stream::xor_counter_stream;
use crate::{CryptoError, constant_time_eq};

/// Length of the tag in bytes.
pub const GCM_TAG_BYTES: usize = 16;
/// Shortest tag that is accepted (SP 800-38D §5.2.1.2, without the two lengths for special uses).
pub const GCM_TAG_BYTES_MIN: usize = 12;
/// The nonce length that needs no hashing, and which every caller of ours uses.
pub const GCM_NONCE_BYTES: usize = 12;
/// Most bytes of text under one nonce (SP 800-38D §5.2.1.1): 2³⁹ − 256 bits.
pub const GCM_TEXT_BYTES_MAX: u64 = (1 << 36) - 32;

const COUNTER_BYTES: usize = 4;
type Block = [u8; AES_BLOCK_BYTES];

/// Bits with gaps of four between them: a product of two such numbers has sums of at most thirteen ones at each
/// fifth bit, which four bits hold.
const GAP: usize = 5;
const COMB: u128 = 0x2108_4210_8421_0842_1084_2108_4210_8421;

/// Carry-less product of two polynomials over GF(2).
fn carryless_product(left: u64, right: u64) -> u128 {
    let mut product = 0;
    for class in 0..GAP {
        let mut sum = 0;
        for i in 0..GAP {
            let j = (class + GAP - i) % GAP;
            let (left, right) = (left & (COMB << i) as u64, right & (COMB << j) as u64);
            sum ^= u128::from(left) * u128::from(right);
        }
        product ^= sum & (COMB << class);
    }
    product
}

/// Product in GF(2¹²⁸) modulo x¹²⁸ + x⁷ + x² + x + 1; bit `i` is the coefficient of xⁱ.
fn field_product(left: u128, right: u128) -> u128 {
    let halves = |value: u128| ((value >> 64) as u64, value as u64);
    let ((left_high, left_low), (right_high, right_low)) = (halves(left), halves(right));
    let high = carryless_product(left_high, right_high);
    let low = carryless_product(left_low, right_low);
    let middle = carryless_product(left_high ^ left_low, right_high ^ right_low) ^ high ^ low;
    let (high, low) = (high ^ (middle >> 64), low ^ (middle << 64));
    let spill = (high >> 127) ^ (high >> 126) ^ (high >> 121);
    let fold = |value: u128| value ^ (value << 1) ^ (value << 2) ^ (value << 7);
    low ^ fold(high) ^ fold(spill)
}

/// The standard numbers bits from the left; arithmetic here numbers them from the right.
fn element(block: &[u8]) -> u128 {
    let mut padded = [0; AES_BLOCK_BYTES];
    padded[..block.len()].copy_from_slice(block);
    u128::from_be_bytes(padded).reverse_bits()
}

/// GHASH (SP 800-38D §6.4) of parts, each filled up to whole blocks, and a block with two lengths.
fn universal_hash(hash_key: u128, parts: [&[u8]; 2], lengths_in_bits: [u64; 2]) -> Block {
    let mut sum = 0;
    for block in parts.iter().flat_map(|part| part.chunks(AES_BLOCK_BYTES)) {
        sum = field_product(sum ^ element(block), hash_key);
    }
    let lengths = (u128::from(lengths_in_bits[0]) << 64 | u128::from(lengths_in_bits[1])).reverse_bits();
    field_product(sum ^ lengths, hash_key).reverse_bits().to_be_bytes()
}

/// A block cipher in Galois/Counter Mode. The hash key is made once and wiped on drop.
pub struct Gcm<'a, C> {
    cipher: &'a C,
    hash_key: HashKey,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct HashKey(u128);

impl<'a, C: BlockCipher<AES_BLOCK_BYTES>> Gcm<'a, C> {
    /// Prepares the mode for a keyed cipher.
    pub fn new(cipher: &'a C) -> Self {
        let hash_key = HashKey(element(&cipher.encrypted([0; AES_BLOCK_BYTES])));
        Self { cipher, hash_key }
    }

    /// Enciphers `text` in place and gives the tag over it and `associated`.
    ///
    /// A nonce may never be used twice under one key: who sees two texts under one nonce can forge.
    ///
    /// # Errors
    /// [`CryptoError::NonceLength`] for an empty nonce, [`CryptoError::DataLength`] above [`GCM_TEXT_BYTES_MAX`].
    pub fn seal(&self, nonce: &[u8], associated: &[u8], text: &mut [u8]) -> Result<[u8; GCM_TAG_BYTES], CryptoError> {
        let first = self.first_counter(nonce, text.len())?;
        self.encipher(first, text);
        Ok(self.tag(first, associated, text))
    }

    /// Verifies `tag`, which may be cut to [`GCM_TAG_BYTES_MIN`] bytes, and only then deciphers `text` in place.
    ///
    /// # Errors
    /// As [`Self::seal`]; [`CryptoError::TagLength`]; [`CryptoError::Integrity`], and `text` is as it was.
    pub fn open(&self, nonce: &[u8], associated: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), CryptoError> {
        if !(GCM_TAG_BYTES_MIN..=GCM_TAG_BYTES).contains(&tag.len()) {
            return Err(CryptoError::TagLength(tag.len()));
        }
        let first = self.first_counter(nonce, text.len())?;
        let expected = self.tag(first, associated, text);
        if !constant_time_eq(&expected[..tag.len()], tag) {
            return Err(CryptoError::Integrity);
        }
        self.encipher(first, text);
        Ok(())
    }

    /// The pre-counter block J₀.
    fn first_counter(&self, nonce: &[u8], text_bytes: usize) -> Result<Block, CryptoError> {
        if nonce.is_empty() {
            return Err(CryptoError::NonceLength(0));
        }
        if text_bytes as u64 > GCM_TEXT_BYTES_MAX {
            return Err(CryptoError::DataLength(text_bytes));
        }
        if nonce.len() != GCM_NONCE_BYTES {
            return Ok(universal_hash(self.hash_key.0, [nonce, &[]], [0, bits(nonce)]));
        }
        let mut block = [0; AES_BLOCK_BYTES];
        block[..GCM_NONCE_BYTES].copy_from_slice(nonce);
        block[AES_BLOCK_BYTES - 1] = 1;
        Ok(block)
    }

    fn encipher(&self, first: Block, text: &mut [u8]) {
        let counter = (u128::from_be_bytes(first) & u128::from(u32::MAX)) as u32;
        let fixed = u128::from_be_bytes(first) & !u128::from(u32::MAX);
        let second = fixed | u128::from(counter.wrapping_add(1));
        xor_counter_stream(self.cipher, second.to_be_bytes(), COUNTER_BYTES, text);
    }

    fn tag(&self, first: Block, associated: &[u8], ciphertext: &[u8]) -> [u8; GCM_TAG_BYTES] {
        let lengths = [bits(associated), bits(ciphertext)];
        let mut tag = universal_hash(self.hash_key.0, [associated, ciphertext], lengths);
        crate::block::xor_into(&mut tag, &self.cipher.encrypted(first));
        tag
    }
}

fn bits(data: &[u8]) -> u64 {
    (data.len() as u64).wrapping_mul(8)
}

impl<C> core::fmt::Debug for Gcm<'_, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Gcm(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AesKey, Sm4Key};
    use proptest::prelude::*;

    /// Schoolbook product, bit by bit.
    fn slow_product(left: u128, right: u128) -> u128 {
        let mut product = 0;
        for bit in (0..128).rev() {
            let overflow = product >> 127;
            product = (product << 1) ^ (0x87 * overflow);
            if right >> bit & 1 == 1 {
                product ^= left;
            }
        }
        product
    }

    #[test]
    fn gcm_specification_test_case_4() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4 (AES-128).
        let key = AesKey::new(&0xFEFF_E992_8665_731C_6D6A_8F94_6730_8308_u128.to_be_bytes()).unwrap();
        let nonce = [0xCA, 0xFE, 0xBA, 0xBE, 0xFA, 0xCE, 0xDB, 0xAD, 0xDE, 0xCA, 0xF8, 0x88];
        let mut associated = Vec::from(0xFEED_FACE_DEAD_BEEF_FEED_FACE_DEAD_BEEF_u128.to_be_bytes());
        associated.extend([0xAB, 0xAD, 0xDA, 0xD2]);
        let text = [
            0xD931_3225_F884_06E5_A559_09C5_AFF5_269A_u128,
            0x86A7_A953_1534_F7DA_2E4C_303D_8A31_8A72,
            0x1C3C_0C95_9568_0953_2FCF_0E24_49A6_B525,
            0xB16A_EDF5_AA0D_E657_BA63_7B39_0000_0000,
        ];
        let mut text = text.map(u128::to_be_bytes).as_flattened()[..60].to_vec();
        let gcm = Gcm::new(&key);
        let tag = gcm.seal(&nonce, &associated, &mut text).unwrap();
        assert_eq!(u128::from_be_bytes(tag), 0x5BC9_4FBC_3221_A5DB_94FA_E95A_E712_1A47);
        assert_eq!(text[..4], [0x42, 0x83, 0x1E, 0xC2]);
        gcm.open(&nonce, &associated, &mut text, &tag[..12]).unwrap();
        assert_eq!(text[..4], [0xD9, 0x31, 0x32, 0x25]);
    }

    #[test]
    fn lengths_are_refused_by_kind() {
        let key = Sm4Key::new(&[1; 16]).unwrap();
        let gcm = Gcm::new(&key);
        assert_eq!(gcm.seal(&[], &[], &mut []).err(), Some(CryptoError::NonceLength(0)));
        for length in [0, 4, 8, 11, 17] {
            let opened = gcm.open(&[0; 12], &[], &mut [], &vec![0; length]);
            assert_eq!(opened.err(), Some(CryptoError::TagLength(length)));
        }
        assert_eq!(format!("{gcm:?}"), "Gcm(***)");
    }

    proptest! {
        #[test]
        fn products_agree_with_the_schoolbook(left: u128, right: u128) {
            prop_assert_eq!(field_product(left, right), slow_product(left, right));
            prop_assert_eq!(field_product(u128::MAX, right), slow_product(u128::MAX, right));
        }

        #[test]
        fn round_trips_and_refuses_any_changed_bit(
            nonce in proptest::collection::vec(any::<u8>(), 1..40),
            associated: Vec<u8>,
            text in proptest::collection::vec(any::<u8>(), 0..400),
            at: usize,
        ) {
            let key = Sm4Key::new(&[0x5A; 16]).unwrap();
            let gcm = Gcm::new(&key);
            let mut message = text.clone();
            let tag = gcm.seal(&nonce, &associated, &mut message).unwrap();
            let mut all = [&nonce[..], &associated, &message, &tag].concat();
            let bit = at % (all.len() * 8);
            all[bit / 8] ^= 1 << (bit % 8);
            let (changed_nonce, rest) = all.split_at(nonce.len());
            let (changed_associated, rest) = rest.split_at(associated.len());
            let (changed_message, changed_tag) = rest.split_at(message.len());
            let mut changed = changed_message.to_vec();
            let opened = gcm.open(changed_nonce, changed_associated, &mut changed, changed_tag);
            prop_assert_eq!(opened, Err(CryptoError::Integrity));
            prop_assert_eq!(&changed[..], changed_message);
            gcm.open(&nonce, &associated, &mut message, &tag).unwrap();
            prop_assert_eq!(message, text);
        }
    }
}
