//! The one door through which every algorithm here reaches a block cipher, and the two plain modes on top.
//!
//! Faster implementations enter by implementing [`BlockCipher`]; nothing else in the crate names a cipher library.

use crate::CryptoError;

/// Block length of DES and TDES in bytes.
pub const DES_BLOCK_BYTES: usize = 8;
/// Block length of AES and SM4 in bytes.
pub const AES_BLOCK_BYTES: usize = 16;

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
    for block in whole_blocks(data)? {
        cipher.encrypt_block(block);
    }
    Ok(())
}

/// Deciphers whole blocks in place, each by itself (ECB).
///
/// # Errors
/// [`CryptoError::DataLength`] if the data is not a whole number of blocks.
pub fn decrypt_ecb<const N: usize>(cipher: &impl BlockCipher<N>, data: &mut [u8]) -> Result<(), CryptoError> {
    for block in whole_blocks(data)? {
        cipher.decrypt_block(block);
    }
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
    for block in whole_blocks(data)? {
        let ciphertext = *block;
        cipher.decrypt_block(block);
        xor_into(block, &chain);
        chain = ciphertext;
    }
    Ok(())
}
