//! The SM4 block cipher (GB/T 32907-2016).

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::CryptoError;
use crate::block::{AES_BLOCK_BYTES, BlockCipher};
use crate::key_material::KeyBytes;
use crate::sm4_sbox::{Slice, Slices, substitute, substitute_slices};

/// Length of an SM4 key in bytes.
pub const SM4_KEY_BYTES: usize = 16;
const ROUNDS: usize = 32;
/// Blocks that fill the slices.
const WIDE_BLOCKS: usize = 16;
/// Fewer blocks are faster one after another.
const WIDE_BLOCKS_MIN: usize = 4;

const SYSTEM_PARAMETER: [u32; 4] = [0xA3B1_BAC6, 0x56AA_3350, 0x677D_9197, 0xB270_22DC];

fn round_transform(word: u32) -> u32 {
    let b = substitute(word);
    b ^ b.rotate_left(2) ^ b.rotate_left(10) ^ b.rotate_left(18) ^ b.rotate_left(24)
}

fn key_transform(word: u32) -> u32 {
    let b = substitute(word);
    b ^ b.rotate_left(13) ^ b.rotate_left(23)
}

/// Constant of a round: byte `j` of round `i` is `(4i + j) × 7 mod 256`.
fn round_constant(round: usize) -> u32 {
    u32::from_be_bytes(core::array::from_fn(|j| ((4 * round + j) * 7) as u8))
}

fn words(bytes: &[u8; AES_BLOCK_BYTES]) -> [u32; 4] {
    let (chunks, _) = bytes.as_chunks::<4>();
    core::array::from_fn(|i| u32::from_be_bytes(chunks[i]))
}

/// An SM4 key with its round keys ready. Wiped on drop; never prints.
///
/// No table and no branch depends on key or data: the S-box is a circuit. Sixteen blocks together take about as long
/// as three or four alone, so modes hand over many.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Sm4Key {
    bytes: KeyBytes,
    round_keys: [u32; ROUNDS],
}

impl Sm4Key {
    /// Expands a key of 16 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let key: &[u8; SM4_KEY_BYTES] = bytes.try_into().map_err(|_| CryptoError::KeyLength(bytes.len()))?;
        let mut state = words(key);
        for (word, parameter) in state.iter_mut().zip(SYSTEM_PARAMETER) {
            *word ^= parameter;
        }
        let mut round_keys = [0; ROUNDS];
        for (round, round_key) in round_keys.iter_mut().enumerate() {
            let mixed = state[1] ^ state[2] ^ state[3] ^ round_constant(round);
            *round_key = state[0] ^ key_transform(mixed);
            state = [state[1], state[2], state[3], *round_key];
        }
        state.zeroize();
        let bytes = KeyBytes::new(key)?;
        Ok(Self { bytes, round_keys })
    }

    /// The clear key bytes, for wrapping under another key.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// The round keys in the order of enciphering, for faster implementations of the same cipher. As secret as the key.
    #[must_use]
    pub fn expose_round_keys(&self) -> &[u32; SM4_ROUNDS] {
        &self.round_keys
    }
}

/// Rounds of SM4.
pub const SM4_ROUNDS: usize = ROUNDS;

fn crypt<'a>(block: &mut [u8; AES_BLOCK_BYTES], round_keys: impl Iterator<Item = &'a u32>) {
    let mut state = words(block);
    for round_key in round_keys {
        let mixed = state[1] ^ state[2] ^ state[3] ^ round_key;
        state = [state[1], state[2], state[3], state[0] ^ round_transform(mixed)];
    }
    for (bytes, word) in block.chunks_mut(4).zip(state.into_iter().rev()) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

/// Turns eight words of eight bytes into eight slices and back: bit `i` of each byte of word `j` changes places with
/// bit `j` of the same byte of word `i`.
fn transpose(words: &mut Slices) {
    const STEPS: [(usize, Slice); 3] =
        [(1, 0x5555_5555_5555_5555), (2, 0x3333_3333_3333_3333), (4, 0x0F0F_0F0F_0F0F_0F0F)];
    for (distance, mask) in STEPS {
        for low in (0..words.len()).filter(|index| index & distance == 0) {
            let swapped = ((words[low] >> distance) ^ words[low + distance]) & mask;
            words[low + distance] ^= swapped;
            words[low] ^= swapped << distance;
        }
    }
}

/// Rotates each half of a slice, which moves the bits of each four-byte word by whole bytes.
fn rotate_bytes(slice: Slice, bytes: u32) -> Slice {
    let shift = 8 * bytes;
    let low_half = Slice::from(u32::MAX << shift);
    let kept = low_half | low_half << 32;
    (slice << shift) & kept | (slice >> (32 - shift)) & !kept
}

/// [`round_transform`] on slices.
fn round_transform_slices(mixed: Slices) -> Slices {
    let b = substitute_slices(mixed);
    core::array::from_fn(|bit| {
        let by_two = if bit < 2 { rotate_bytes(b[bit + 6], 1) } else { b[bit - 2] };
        b[bit] ^ rotate_bytes(b[bit], 3) ^ by_two ^ rotate_bytes(by_two, 1) ^ rotate_bytes(by_two, 2)
    })
}

/// Every byte of a round key repeated for all blocks.
fn round_key_slice(round_key: u32, bit: usize) -> Slice {
    let low_half = Slice::from((round_key >> bit) & 0x0101_0101) * 0xFF;
    low_half | low_half << 32
}

/// One of the four words of up to sixteen blocks.
fn gather(blocks: &[[u8; AES_BLOCK_BYTES]], word: usize) -> Slices {
    let mut gathered = [0; 8];
    for (index, block) in blocks.iter().enumerate() {
        gathered[index / 2] |= Slice::from(words(block)[word]) << (32 * (index % 2));
    }
    transpose(&mut gathered);
    gathered
}

fn scatter(blocks: &mut [[u8; AES_BLOCK_BYTES]], word: usize, mut slices: Slices) {
    transpose(&mut slices);
    for (index, block) in blocks.iter_mut().enumerate() {
        let value = (slices[index / 2] >> (32 * (index % 2))) as u32;
        block[4 * word..4 * word + 4].copy_from_slice(&value.to_be_bytes());
    }
}

/// As [`crypt`], on up to sixteen blocks together.
fn crypt_wide<'a>(blocks: &mut [[u8; AES_BLOCK_BYTES]], round_keys: impl Iterator<Item = &'a u32>) {
    let mut state: [Slices; 4] = core::array::from_fn(|word| gather(blocks, word));
    for round_key in round_keys {
        let [first, x1, x2, x3] = &state;
        let mixed = core::array::from_fn(|bit| x1[bit] ^ x2[bit] ^ x3[bit] ^ round_key_slice(*round_key, bit));
        let transformed = round_transform_slices(mixed);
        let last = core::array::from_fn(|bit| first[bit] ^ transformed[bit]);
        state = [*x1, *x2, *x3, last];
    }
    for (word, slices) in state.into_iter().rev().enumerate() {
        scatter(blocks, word, slices);
    }
}

fn crypt_many<'a>(blocks: &mut [[u8; AES_BLOCK_BYTES]], round_keys: impl Iterator<Item = &'a u32> + Clone) {
    for group in blocks.chunks_mut(WIDE_BLOCKS) {
        if group.len() < WIDE_BLOCKS_MIN {
            group.iter_mut().for_each(|block| crypt(block, round_keys.clone()));
        } else {
            crypt_wide(group, round_keys.clone());
        }
    }
}

impl BlockCipher<AES_BLOCK_BYTES> for Sm4Key {
    fn encrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        crypt(block, self.round_keys.iter());
    }

    fn decrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        crypt(block, self.round_keys.iter().rev());
    }

    fn encrypt_blocks(&self, blocks: &mut [[u8; AES_BLOCK_BYTES]]) {
        crypt_many(blocks, self.round_keys.iter());
    }

    fn decrypt_blocks(&self, blocks: &mut [[u8; AES_BLOCK_BYTES]]) {
        crypt_many(blocks, self.round_keys.iter().rev());
    }
}

impl core::fmt::Debug for Sm4Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sm4Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn standard_example() {
        // GB/T 32907 appendix A.1: key and plaintext are the same.
        let block = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
        let key = Sm4Key::new(&block).unwrap();
        let cipher = key.encrypted(block);
        assert_eq!(u128::from_be_bytes(cipher), 0x681E_DF34_D206_965E_86B3_E94F_536E_4246);
        assert_eq!(key.decrypted(cipher), block);
    }
    proptest! {
        #[test]
        fn many_blocks_are_one_after_another(key: [u8; 16], blocks in proptest::collection::vec(any::<[u8; 16]>(), 0..40)) {
            let key = Sm4Key::new(&key).unwrap();
            let mut together = blocks.clone();
            key.encrypt_blocks(&mut together);
            for (block, enciphered) in blocks.iter().zip(&together) {
                prop_assert_eq!(key.encrypted(*block), *enciphered);
                prop_assert_eq!(key.decrypted(*enciphered), *block);
            }
            key.decrypt_blocks(&mut together);
            prop_assert_eq!(together, blocks);
        }
    }
}
