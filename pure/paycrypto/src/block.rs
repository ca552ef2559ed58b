//! The one door through which every algorithm here reaches a block cipher, and the two plain modes on top.
//!
//! Faster implementations enter by implementing [`BlockCipher`]; nothing else in the crate names a cipher library.

use crate::CryptoError;

/// Block length of DES and TDES in bytes.
pub const DES_BLOCK_BYTES: usize = 8;
/// Block length of AES and SM4 in bytes.
pub const AES_BLOCK_BYTES: usize = 16;
/// Blocks that deciphering CBC hands to the cipher together.
const CBC_BLOCKS_AT_ONCE: usize = 16;

/// A keyed block cipher with its key schedule ready.
pub trait BlockCipher<const N: usize> {
    /// Enciphers one block in place.
    fn encrypt_block(&self, block: &mut [u8; N]);
    /// Deciphers one block in place.
    fn decrypt_block(&self, block: &mut [u8; N]);

    /// Enciphers blocks in place, each by itself. Ciphers that are faster at several blocks at once say so here.
    fn encrypt_blocks(&self, blocks: &mut [[u8; N]]) {
        blocks.iter_mut().for_each(|block| self.encrypt_block(block));
    }

    /// Deciphers blocks in place, each by itself.
    fn decrypt_blocks(&self, blocks: &mut [[u8; N]]) {
        blocks.iter_mut().for_each(|block| self.decrypt_block(block));
    }

    /// The chain of CBC-MACs: for each block, `chain` becomes `chain` xor the block, enciphered.
    fn chain_blocks(&self, chain: &mut [u8; N], blocks: &[[u8; N]]) {
        for block in blocks {
            xor_into(chain, block);
            self.encrypt_block(chain);
        }
    }

    /// Enciphers a block given by value.
    #[must_use]
    fn encrypted(&self, mut block: [u8; N]) -> [u8; N] {
        self.encrypt_block(&mut block);
        block
    }

    /// Deciphers a block given by value.
    #[must_use]
    fn decrypted(&self, mut block: [u8; N]) -> [u8; N] {
        self.decrypt_block(&mut block);
        block
    }
}

/// Xors `other` into `target`.
pub(crate) fn xor_into<const N: usize>(target: &mut [u8; N], other: &[u8; N]) {
    for (byte, with) in target.iter_mut().zip(other) {
        *byte ^= with;
    }
}

fn whole_blocks<const N: usize>(data: &mut [u8]) -> Result<&mut [[u8; N]], CryptoError> {
    let length = data.len();
    let (blocks, rest) = data.as_chunks_mut::<N>();
    if rest.is_empty() { Ok(blocks) } else { Err(CryptoError::DataLength(length)) }
}

/// Enciphers whole blocks in place, each by itself (ECB).
///
/// # Errors
/// [`CryptoError::DataLength`] if the data is not a whole number of blocks.
pub fn encrypt_ecb<const N: usize>(cipher: &impl BlockCipher<N>, data: &mut [u8]) -> Result<(), CryptoError> {
    cipher.encrypt_blocks(whole_blocks(data)?);
    Ok(())
}

/// Deciphers whole blocks in place, each by itself (ECB).
///
/// # Errors
/// [`CryptoError::DataLength`] if the data is not a whole number of blocks.
pub fn decrypt_ecb<const N: usize>(cipher: &impl BlockCipher<N>, data: &mut [u8]) -> Result<(), CryptoError> {
    cipher.decrypt_blocks(whole_blocks(data)?);
    Ok(())
}

/// Enciphers whole blocks in place, each chained to the one before (CBC).
///
/// # Errors
/// [`CryptoError::DataLength`] if the data is not a whole number of blocks.
pub fn encrypt_cbc<const N: usize>(
    cipher: &impl BlockCipher<N>,
    initial_vector: [u8; N],
    data: &mut [u8],
) -> Result<(), CryptoError> {
    let mut chain = initial_vector;
    for block in whole_blocks(data)? {
        xor_into(block, &chain);
        cipher.encrypt_block(block);
        chain = *block;
    }
    Ok(())
}

/// Deciphers whole blocks in place, each chained to the one before (CBC).
///
/// # Errors
/// [`CryptoError::DataLength`] if the data is not a whole number of blocks.
pub fn decrypt_cbc<const N: usize>(
    cipher: &impl BlockCipher<N>,
    initial_vector: [u8; N],
    data: &mut [u8],
) -> Result<(), CryptoError> {
    let mut chain = initial_vector;
    let mut ciphertext = [[0; N]; CBC_BLOCKS_AT_ONCE];
    for group in whole_blocks(data)?.chunks_mut(CBC_BLOCKS_AT_ONCE) {
        let kept = &mut ciphertext[..group.len()];
        kept.copy_from_slice(group);
        cipher.decrypt_blocks(group);
        for (block, ciphertext) in group.iter_mut().zip(kept) {
            xor_into(block, &chain);
            chain = *ciphertext;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AesKey, Sm4Key, TdesKey};
    use proptest::prelude::*;

    /// Many blocks at once, in chains and in CBC, against one block at a time.
    fn modes_agree_with_blocks<const N: usize>(cipher: &impl BlockCipher<N>, seed: u8, count: usize) {
        let blocks: Vec<[u8; N]> = (0..count).map(|i| core::array::from_fn(|j| seed ^ (i * N + j) as u8)).collect();
        let mut at_once = blocks.clone();
        cipher.encrypt_blocks(&mut at_once);
        assert!(at_once.iter().zip(&blocks).all(|(enciphered, block)| *enciphered == cipher.encrypted(*block)));
        cipher.decrypt_blocks(&mut at_once);
        assert_eq!(at_once, blocks);
        let (mut chain, mut expected) = ([seed; N], [seed; N]);
        cipher.chain_blocks(&mut chain, &blocks);
        for block in &blocks {
            xor_into(&mut expected, block);
            cipher.encrypt_block(&mut expected);
        }
        assert_eq!(chain, expected);
        let mut cbc = blocks.as_flattened().to_vec();
        encrypt_cbc(cipher, [seed; N], &mut cbc).unwrap();
        assert_eq!(cbc.last_chunk::<N>().copied().unwrap_or([seed; N]), expected);
        decrypt_cbc(cipher, [seed; N], &mut cbc).unwrap();
        assert_eq!(cbc, blocks.as_flattened());
    }

    proptest! {
        #[test]
        fn every_cipher_is_one_cipher(key: [u8; 32], seed: u8, count in 0_usize..40) {
            for length in [8, 16, 24] {
                modes_agree_with_blocks(&TdesKey::new(&key[..length]).unwrap(), seed, count);
            }
            for length in [16, 24, 32] {
                modes_agree_with_blocks(&AesKey::new(&key[..length]).unwrap(), seed, count);
            }
            modes_agree_with_blocks(&Sm4Key::new(&key[..16]).unwrap(), seed, count);
        }
    }
}
