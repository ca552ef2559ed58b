//! Counter mode (NIST SP 800-38A §6.5; GB/T 17964-2021 §8).

use crate::{BLOCK_BYTES, Block};
use paycrypto::BlockCipher;
use zeroize::Zeroize;

/// Counter blocks enciphered together.
const BLOCKS_AT_ONCE: usize = 64;

/// Enciphers or deciphers `data` in place: exclusive or with the enciphered counters from `counter` on, a 128-bit
/// big-endian number that wraps around. A counter must never be used twice under one key.
pub fn apply_ctr(cipher: &impl BlockCipher<BLOCK_BYTES>, counter: Block, data: &mut [u8]) {
    let mut counter = u128::from_be_bytes(counter);
    let mut stream = [[0; BLOCK_BYTES]; BLOCKS_AT_ONCE];
    for part in data.chunks_mut(BLOCK_BYTES * BLOCKS_AT_ONCE) {
        let stream = &mut stream[..part.len().div_ceil(BLOCK_BYTES)];
        for block in stream.iter_mut() {
            *block = counter.to_be_bytes();
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(stream);
        part.iter_mut().zip(stream.as_flattened()).for_each(|(byte, with)| *byte ^= with);
    }
    stream.as_flattened_mut().zeroize();
}
