//! DES, fast in portable code (FIPS 46-3).
//!
//! Two ideas make it fast. The halves stay expanded ([`crate::des_tables`]) from the first block of a computation to
//! its last, so that a round is an exclusive or with the key and eight look-ups, and the passage between the stages of
//! TDES or the blocks of a CBC-MAC costs nothing. And several independent blocks go through the rounds side by side.
//!
//! The time it takes does not depend on keys or data, but for the processor's cache: a round's look-ups touch lines of
//! a 4 KiB table that depend on both, as in every DES that works with tables. Whoever can run code on the same core
//! could learn from that; so keys of this type belong into a process that shares its machine with nobody hostile. The
//! key schedule's look-ups stay within one cache line each and give nothing away.

use crate::block::DES_BLOCK_BYTES;
use crate::des_tables::{KEY_GROUP_BITS, KEY_SCHEDULE, ROUND_FUNCTION, ROUNDS, compress, expand};

/// Length of a DES key in bytes, parity bits included.
pub const DES_KEY_BYTES: usize = 8;

/// The round keys of one DES key, in expanded form.
pub type RoundKeys = [u64; ROUNDS];

type Block = [u8; DES_BLOCK_BYTES];

const EVEN_BYTES: u64 = 0x00FF_00FF_00FF_00FF;
const KEY_GROUP_MASK: u64 = (1 << KEY_GROUP_BITS) - 1;

/// Both halves of `LANES` blocks, expanded.
#[derive(Clone, Copy)]
pub struct State<const LANES: usize> {
    left: [u64; LANES],
    right: [u64; LANES],
}

/// The 56 key bits without parity, side by side.
fn packed(key: [u8; DES_KEY_BYTES]) -> u64 {
    let bytes = u64::from_be_bytes(key) >> 1;
    let pairs = (bytes & 0x007F_007F_007F_007F) | (bytes & 0x7F00_7F00_7F00_7F00) >> 1;
    let quads = (pairs & 0x0000_3FFF_0000_3FFF) | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
    (quads & 0x0000_0000_0FFF_FFFF) | (quads & 0x0FFF_FFFF_0000_0000) >> 4
}

/// Expands a key into `round_keys`.
pub fn expand_key(key: [u8; DES_KEY_BYTES], round_keys: &mut RoundKeys) {
    const AT_ONCE: usize = ROUNDS / 2;
    for (part, keys) in round_keys.as_chunks_mut::<AT_ONCE>().0.iter_mut().enumerate() {
        let mut sums = [0; AT_ONCE];
        let mut rest = packed(key);
        for group in &KEY_SCHEDULE.0 {
            let value = (rest & KEY_GROUP_MASK) as usize;
            rest >>= KEY_GROUP_BITS;
            let rounds = &group.as_chunks::<AT_ONCE>().0[part];
            for (sum, round) in sums.iter_mut().zip(rounds) {
                *sum ^= round[value];
            }
        }
        *keys = sums;
    }
}

/// Exchanges rows and columns of a square of 8 × 8 bits.
#[inline(always)]
fn transposed(square: u64) -> u64 {
    let swap = |square: u64, distance: u32, mask: u64| {
        let differing = (square ^ (square >> distance)) & mask;
        square ^ differing ^ (differing << distance)
    };
    let square = swap(square, 7, 0x00AA_00AA_00AA_00AA);
    let square = swap(square, 14, 0x0000_CCCC_0000_CCCC);
    swap(square, 28, 0x0000_0000_F0F0_F0F0)
}

/// What the S-boxes, P and the next expansion make of a half with the round key added.
#[inline(always)]
fn substituted(half: u64) -> u64 {
    let tables = &ROUND_FUNCTION.0;
    let look_up = |place: usize| tables[place][(half >> (8 * place)) as usize & 0x3F];
    look_up(0) ^ look_up(1) ^ look_up(2) ^ look_up(3) ^ look_up(4) ^ look_up(5) ^ look_up(6) ^ look_up(7)
}

impl<const LANES: usize> State<LANES> {
    /// Initial permutation and expansion. Bits 2, 4, 6, 8 of the bytes are the rows of the left half.
    #[inline(always)]
    pub fn load(blocks: &[Block; LANES]) -> Self {
        let columns = blocks.map(|block| transposed(u64::from_le_bytes(block)));
        Self {
            left: columns.map(|columns| expand(columns & EVEN_BYTES)),
            right: columns.map(|columns| expand((columns >> 8) & EVEN_BYTES)),
        }
    }

    /// Takes [`State::load`] back.
    #[inline(always)]
    pub fn store(&self) -> [Block; LANES] {
        let block = |lane: usize| compress(self.left[lane]) | compress(self.right[lane]) << 8;
        core::array::from_fn(|lane| transposed(block(lane)).to_le_bytes())
    }

    /// Adds another state: the exclusive or of a block cipher mode.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) {
        for lane in 0..LANES {
            self.left[lane] ^= other.left[lane];
            self.right[lane] ^= other.right[lane];
        }
    }

    #[inline(always)]
    fn two_rounds(&mut self, first: u64, second: u64) {
        for lane in 0..LANES {
            self.left[lane] ^= substituted(self.right[lane] ^ first);
        }
        for lane in 0..LANES {
            self.right[lane] ^= substituted(self.left[lane] ^ second);
        }
    }

    /// The sixteen rounds and the exchange of the halves behind them.
    #[inline(always)]
    pub fn encrypt(&mut self, keys: &RoundKeys) {
        for [first, second] in keys.as_chunks::<2>().0 {
            self.two_rounds(*first, *second);
        }
        core::mem::swap(&mut self.left, &mut self.right);
    }

    /// The same with the keys in reverse.
    #[inline(always)]
    pub fn decrypt(&mut self, keys: &RoundKeys) {
        for [second, first] in keys.as_chunks::<2>().0.iter().rev() {
            self.two_rounds(*first, *second);
        }
        core::mem::swap(&mut self.left, &mut self.right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use des::cipher::{Array, BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    fn encrypted<const LANES: usize>(key: [u8; 8], blocks: [Block; LANES]) -> [Block; LANES] {
        let mut keys = [0; ROUNDS];
        expand_key(key, &mut keys);
        let mut state = State::load(&blocks);
        state.encrypt(&keys);
        let result = state.store();
        state.decrypt(&keys);
        assert_eq!(state.store(), blocks);
        result
    }

    fn by_another_library(key: [u8; 8], block: Block) -> Block {
        let mut block = Array::from(block);
        des::Des::new_from_slice(&key).unwrap().encrypt_block(&mut block);
        block.into()
    }

    proptest! {
        #[test]
        fn equals_the_des_of_another_library(key: [u8; 8], blocks: [Block; 5]) {
            let expected = blocks.map(|block| by_another_library(key, block));
            prop_assert_eq!(encrypted(key, blocks), expected);
            prop_assert_eq!(blocks.map(|block| encrypted(key, [block])[0]), expected);
        }
    }

    /// Every S-box entry and every key bit, by Ronald Rivest's chain ("Testing implementations of DES", 1985): sixteen
    /// steps that no single error in the tables survives.
    #[test]
    fn rivests_chain() {
        let mut value = 0x9474_B8E8_C73B_CA7D_u64.to_be_bytes();
        for step in 0..16 {
            let [enciphered] = encrypted(value, [value]);
            value = if step % 2 == 0 {
                enciphered
            } else {
                let mut keys = [0; ROUNDS];
                expand_key(value, &mut keys);
                let mut state = State::load(&[value]);
                state.decrypt(&keys);
                state.store()[0]
            };
        }
        assert_eq!(u64::from_be_bytes(value), 0x1B1A_2DDB_4C64_2438);
    }
}
