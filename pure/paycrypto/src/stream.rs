//! Modes that make a block cipher a stream cipher: CTR, OFB and CFB (NIST SP 800-38A §6.3 to §6.5, GB/T 17964).
//!
//! None of them notices a changed message; where one may be changed use [`crate::gcm`] or [`crate::ccm`].

use zeroize::Zeroize;

use crate::block::{BlockCipher, xor_into};

/// Blocks of key stream that are made together, for ciphers that are faster at several blocks.
const BLOCKS_AT_ONCE: usize = 16;

/// Adds one to a big-endian number, from all ones back to zero.
fn increment(counter: &mut [u8]) {
    let mut carry = 1;
    for byte in counter.iter_mut().rev() {
        let sum = u16::from(*byte) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

/// Xors the enciphered values of a counter into `data`. Only the counter's last `counter_bytes` bytes count.
pub(crate) fn xor_counter_stream<const N: usize>(
    cipher: &impl BlockCipher<N>,
    mut counter: [u8; N],
    counter_bytes: usize,
    data: &mut [u8],
) {
    let mut stream = [[0; N]; BLOCKS_AT_ONCE];
    for group in data.chunks_mut(N * BLOCKS_AT_ONCE) {
        let used = &mut stream[..group.len().div_ceil(N)];
        for block in used.iter_mut() {
            *block = counter;
            increment(&mut counter[N - counter_bytes..]);
        }
        cipher.encrypt_blocks(used);
        for (byte, key) in group.iter_mut().zip(used.as_flattened()) {
            *byte ^= key;
        }
    }
    stream.zeroize();
}

/// Counter mode, in place; enciphers and deciphers. The whole block counts, big-endian, and wraps around.
///
/// A counter value may never be used twice under one key.
pub fn ctr<const N: usize>(cipher: &impl BlockCipher<N>, initial_counter: [u8; N], data: &mut [u8]) {
    xor_counter_stream(cipher, initial_counter, N, data);
}

/// Output feedback with whole blocks, in place; enciphers and deciphers.
pub fn ofb<const N: usize>(cipher: &impl BlockCipher<N>, initial_vector: [u8; N], data: &mut [u8]) {
    let mut chain = initial_vector;
    for part in data.chunks_mut(N) {
        cipher.encrypt_block(&mut chain);
        for (byte, key) in part.iter_mut().zip(chain) {
            *byte ^= key;
        }
    }
    chain.zeroize();
}

/// Enciphers in place with cipher feedback of whole blocks; the last part may be shorter.
pub fn encrypt_cfb<const N: usize>(cipher: &impl BlockCipher<N>, initial_vector: [u8; N], data: &mut [u8]) {
    let mut chain = initial_vector;
    let (blocks, rest) = data.as_chunks_mut::<N>();
    for block in blocks {
        cipher.encrypt_block(&mut chain);
        xor_into(block, &chain);
        chain = *block;
    }
    xor_last_part(cipher, chain, rest);
}

/// Deciphers in place what [`encrypt_cfb`] enciphered.
pub fn decrypt_cfb<const N: usize>(cipher: &impl BlockCipher<N>, initial_vector: [u8; N], data: &mut [u8]) {
    let mut chain = initial_vector;
    let (blocks, rest) = data.as_chunks_mut::<N>();
    for block in blocks {
        let ciphertext = *block;
        cipher.encrypt_block(&mut chain);
        xor_into(block, &chain);
        chain = ciphertext;
    }
    xor_last_part(cipher, chain, rest);
}

fn xor_last_part<const N: usize>(cipher: &impl BlockCipher<N>, chain: [u8; N], rest: &mut [u8]) {
    let mut key = cipher.encrypted(chain);
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
    key.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AesKey, TdesKey};
    use proptest::prelude::*;

    #[test]
    fn counters_wrap_within_their_bytes() {
        let mut counter = [0xAB, 0xFF, 0xFF];
        increment(&mut counter[1..]);
        assert_eq!(counter, [0xAB, 0, 0]);
        increment(&mut counter);
        assert_eq!(counter, [0xAB, 0, 1]);
    }

    #[test]
    fn sp_800_38a_ctr_aes_128() {
        // NIST SP 800-38A F.5.1, first and last block.
        let key = AesKey::new(&0x2B7E_1516_28AE_D2A6_ABF7_1588_09CF_4F3C_u128.to_be_bytes()).unwrap();
        let counter = 0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_FEFF_u128.to_be_bytes();
        let mut block = 0x6BC1_BEE2_2E40_9F96_E93D_7E11_7393_172A_u128.to_be_bytes();
        ctr(&key, counter, &mut block);
        assert_eq!(u128::from_be_bytes(block), 0x874D_6191_B620_E326_1BEF_6864_990D_B6CE);
    }

    proptest! {
        #[test]
        fn every_mode_reads_what_it_wrote(data in proptest::collection::vec(any::<u8>(), 0..600), iv: [u8; 16]) {
            let aes = AesKey::new(&[7; 16]).unwrap();
            let mut text = data.clone();
            ctr(&aes, iv, &mut text);
            prop_assert!(data.len() < 8 || text != data);
            ctr(&aes, iv, &mut text);
            prop_assert_eq!(&text, &data);
            ofb(&aes, iv, &mut text);
            ofb(&aes, iv, &mut text);
            prop_assert_eq!(&text, &data);
            let tdes = TdesKey::new(&[7, 1, 2, 3, 4, 5, 6, 7]).unwrap();
            let iv = [iv[0]; 8];
            encrypt_cfb(&tdes, iv, &mut text);
            prop_assert!(data.len() < 8 || text != data);
            decrypt_cfb(&tdes, iv, &mut text);
            prop_assert_eq!(&text, &data);
        }

        #[test]
        fn grouped_counter_stream_is_block_after_block(count in 0_usize..300, counter: [u8; 16]) {
            let aes = AesKey::new(&[3; 32]).unwrap();
            let mut stream = vec![0; count];
            ctr(&aes, counter, &mut stream);
            for (index, part) in stream.chunks(16).enumerate() {
                let value = u128::from_be_bytes(counter).wrapping_add(index as u128);
                prop_assert_eq!(part, &aes.encrypted(value.to_be_bytes())[..part.len()]);
            }
        }
    }
}
