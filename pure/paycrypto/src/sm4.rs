//! The SM4 block cipher (GB/T 32907-2016).

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::CryptoError;
use crate::block::{AES_BLOCK_BYTES, BlockCipher};
use crate::key_material::KeyBytes;

/// Length of an SM4 key in bytes.
pub const SM4_KEY_BYTES: usize = 16;
const ROUNDS: usize = 32;

const SYSTEM_PARAMETER: [u32; 4] = [0xA3B1_BAC6, 0x56AA_3350, 0x677D_9197, 0xB270_22DC];

#[rustfmt::skip]
const SUBSTITUTION: [u8; 256] = [
    0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7, 0x16, 0xb6, 0x14, 0xc2, 0x28, 0xfb, 0x2c, 0x05,
    0x2b, 0x67, 0x9a, 0x76, 0x2a, 0xbe, 0x04, 0xc3, 0xaa, 0x44, 0x13, 0x26, 0x49, 0x86, 0x06, 0x99,
    0x9c, 0x42, 0x50, 0xf4, 0x91, 0xef, 0x98, 0x7a, 0x33, 0x54, 0x0b, 0x43, 0xed, 0xcf, 0xac, 0x62,
    0xe4, 0xb3, 0x1c, 0xa9, 0xc9, 0x08, 0xe8, 0x95, 0x80, 0xdf, 0x94, 0xfa, 0x75, 0x8f, 0x3f, 0xa6,
    0x47, 0x07, 0xa7, 0xfc, 0xf3, 0x73, 0x17, 0xba, 0x83, 0x59, 0x3c, 0x19, 0xe6, 0x85, 0x4f, 0xa8,
    0x68, 0x6b, 0x81, 0xb2, 0x71, 0x64, 0xda, 0x8b, 0xf8, 0xeb, 0x0f, 0x4b, 0x70, 0x56, 0x9d, 0x35,
    0x1e, 0x24, 0x0e, 0x5e, 0x63, 0x58, 0xd1, 0xa2, 0x25, 0x22, 0x7c, 0x3b, 0x01, 0x21, 0x78, 0x87,
    0xd4, 0x00, 0x46, 0x57, 0x9f, 0xd3, 0x27, 0x52, 0x4c, 0x36, 0x02, 0xe7, 0xa0, 0xc4, 0xc8, 0x9e,
    0xea, 0xbf, 0x8a, 0xd2, 0x40, 0xc7, 0x38, 0xb5, 0xa3, 0xf7, 0xf2, 0xce, 0xf9, 0x61, 0x15, 0xa1,
    0xe0, 0xae, 0x5d, 0xa4, 0x9b, 0x34, 0x1a, 0x55, 0xad, 0x93, 0x32, 0x30, 0xf5, 0x8c, 0xb1, 0xe3,
    0x1d, 0xf6, 0xe2, 0x2e, 0x82, 0x66, 0xca, 0x60, 0xc0, 0x29, 0x23, 0xab, 0x0d, 0x53, 0x4e, 0x6f,
    0xd5, 0xdb, 0x37, 0x45, 0xde, 0xfd, 0x8e, 0x2f, 0x03, 0xff, 0x6a, 0x72, 0x6d, 0x6c, 0x5b, 0x51,
    0x8d, 0x1b, 0xaf, 0x92, 0xbb, 0xdd, 0xbc, 0x7f, 0x11, 0xd9, 0x5c, 0x41, 0x1f, 0x10, 0x5a, 0xd8,
    0x0a, 0xc1, 0x31, 0x88, 0xa5, 0xcd, 0x7b, 0xbd, 0x2d, 0x74, 0xd0, 0x12, 0xb8, 0xe5, 0xb4, 0xb0,
    0x89, 0x69, 0x97, 0x4a, 0x0c, 0x96, 0x77, 0x7e, 0x65, 0xb9, 0xf1, 0x09, 0xc5, 0x6e, 0xc6, 0x84,
    0x18, 0xf0, 0x7d, 0xec, 0x3a, 0xdc, 0x4d, 0x20, 0x79, 0xee, 0x5f, 0x3e, 0xd7, 0xcb, 0x39, 0x48,
];

fn substitute(word: u32) -> u32 {
    u32::from_be_bytes(word.to_be_bytes().map(|byte| SUBSTITUTION[usize::from(byte)]))
}

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
/// The S-box is a table look-up, so its timing depends on the cache: keys of this type belong into the key process
/// only, like every other clear key.
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

impl BlockCipher<AES_BLOCK_BYTES> for Sm4Key {
    fn encrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        crypt(block, self.round_keys.iter());
    }

    fn decrypt_block(&self, block: &mut [u8; AES_BLOCK_BYTES]) {
        crypt(block, self.round_keys.iter().rev());
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

    #[test]
    fn standard_example() {
        // GB/T 32907 appendix A.1: key and plaintext are the same.
        let block = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
        let key = Sm4Key::new(&block).unwrap();
        let cipher = key.encrypted(block);
        assert_eq!(u128::from_be_bytes(cipher), 0x681E_DF34_D206_965E_86B3_E94F_536E_4246);
        assert_eq!(key.decrypted(cipher), block);
    }
}
