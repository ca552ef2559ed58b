//! DES and TDES with the key schedule expanded once (ISO/IEC 18033-3, ANSI X9.52).

use zeroize::Zeroize;

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::des::{DES_KEY_BYTES, RoundKeys, State, expand_key};
use crate::key_material::KeyBytes;
use crate::{CryptoError, constant_time_eq};

const DOUBLE_BYTES: usize = 2 * DES_KEY_BYTES;
/// Most parts of a key.
const PARTS_MAX: usize = 3;
/// Independent blocks that go through the rounds side by side: as many as the registers hold.
const BLOCKS_AT_ONCE: usize = 4;

/// How many DES keys a [`TdesKey`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TdesKeyLength {
    /// 8 bytes: single DES.
    Single,
    /// 16 bytes: K1, K2, K1.
    Double,
    /// 24 bytes: K1, K2, K3.
    Triple,
}

/// A DES key of one, two or three parts, ready to work.
///
/// Eight bytes make it single DES, sixteen two-key TDES, twenty-four three-key TDES. Parity bits are neither
/// checked nor used. Bytes and schedule are wiped when it is dropped, and it never prints.
pub struct TdesKey {
    bytes: KeyBytes,
    /// One for each part: 1 to [`PARTS_MAX`].
    schedules: Box<[RoundKeys]>,
}

impl TdesKey {
    /// Expands a key of 8, 16 or 24 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (parts, rest) = bytes.as_chunks::<DES_KEY_BYTES>();
        if !rest.is_empty() || !(1..=PARTS_MAX).contains(&parts.len()) {
            return Err(CryptoError::KeyLength(bytes.len()));
        }
        let kept = KeyBytes::new(bytes)?;
        // Expanded where they stay, so that no copy is left behind.
        let mut schedules = vec![RoundKeys::default(); parts.len()].into_boxed_slice();
        for (part, schedule) in parts.iter().zip(&mut schedules) {
            expand_key(*part, schedule);
        }
        Ok(Self { bytes: kept, schedules })
    }

    pub(crate) fn from_double(bytes: &[u8; DOUBLE_BYTES]) -> Self {
        Self::new(bytes).expect("sixteen bytes are a key")
    }

    /// How many parts the key has.
    #[must_use]
    pub fn length(&self) -> TdesKeyLength {
        match self.schedules.len() {
            1 => TdesKeyLength::Single,
            2 => TdesKeyLength::Double,
            _ => TdesKeyLength::Triple,
        }
    }

    /// The clear key bytes, for wrapping under another key. Callers outside a key process have no use for this.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// True if both keys have the same bytes, compared in constant time.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        constant_time_eq(self.expose_bytes(), other.expose_bytes())
    }

    #[inline]
    fn parts(&self) -> [&RoundKeys; PARTS_MAX] {
        match &*self.schedules {
            [k1, k2] => [k1, k2, k1],
            [k1, k2, k3, ..] => [k1, k2, k3],
            [k1, ..] => [k1; PARTS_MAX],
            [] => unreachable!("a key has a part"),
        }
    }

    #[inline]
    fn encrypt_lanes<const LANES: usize>(&self, blocks: &mut [[u8; DES_BLOCK_BYTES]; LANES]) {
        let [k1, k2, k3] = self.parts();
        let mut state = State::load(blocks);
        state.encrypt(k1);
        if self.length() != TdesKeyLength::Single {
            state.decrypt(k2);
            state.encrypt(k3);
        }
        *blocks = state.store();
    }

    #[inline]
    fn decrypt_lanes<const LANES: usize>(&self, blocks: &mut [[u8; DES_BLOCK_BYTES]; LANES]) {
        let [k1, k2, k3] = self.parts();
        let mut state = State::load(blocks);
        if self.length() != TdesKeyLength::Single {
            state.decrypt(k3);
            state.encrypt(k2);
        }
        state.decrypt(k1);
        *blocks = state.store();
    }

    /// CBC with single DES under the first part: what retail MACs chain with.
    pub(crate) fn chain_with_first(&self, chain: &mut [u8; DES_BLOCK_BYTES], blocks: &[[u8; DES_BLOCK_BYTES]]) {
        let [k1, ..] = self.parts();
        let mut state = State::load(&[*chain]);
        for block in blocks {
            state.add(&State::load(&[*block]));
            state.encrypt(k1);
        }
        [*chain] = state.store();
    }

    /// The closing step of a retail MAC (ISO 9797-1 algorithm 3): decipher with the second part, encipher with the
    /// last one.
    pub(crate) fn output_transformation(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        let [_, k2, k3] = self.parts();
        let mut state = State::load(&[*block]);
        state.decrypt(k2);
        state.encrypt(k3);
        [*block] = state.store();
    }
}

impl Drop for TdesKey {
    fn drop(&mut self) {
        self.schedules.as_flattened_mut().zeroize();
    }
}

impl BlockCipher<DES_BLOCK_BYTES> for TdesKey {
    fn encrypt_block(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        self.encrypt_lanes(core::array::from_mut(block));
    }

    fn decrypt_block(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        self.decrypt_lanes(core::array::from_mut(block));
    }

    fn encrypt_blocks(&self, blocks: &mut [[u8; DES_BLOCK_BYTES]]) {
        let (groups, rest) = blocks.as_chunks_mut::<BLOCKS_AT_ONCE>();
        groups.iter_mut().for_each(|group| self.encrypt_lanes(group));
        // Key derivations encipher two blocks.
        let (pairs, rest) = rest.as_chunks_mut::<2>();
        pairs.iter_mut().for_each(|pair| self.encrypt_lanes(pair));
        rest.iter_mut().for_each(|block| self.encrypt_block(block));
    }

    fn decrypt_blocks(&self, blocks: &mut [[u8; DES_BLOCK_BYTES]]) {
        let (groups, rest) = blocks.as_chunks_mut::<BLOCKS_AT_ONCE>();
        groups.iter_mut().for_each(|group| self.decrypt_lanes(group));
        // Key derivations encipher two blocks.
        let (pairs, rest) = rest.as_chunks_mut::<2>();
        pairs.iter_mut().for_each(|pair| self.decrypt_lanes(pair));
        rest.iter_mut().for_each(|block| self.decrypt_block(block));
    }

    fn chain_blocks(&self, chain: &mut [u8; DES_BLOCK_BYTES], blocks: &[[u8; DES_BLOCK_BYTES]]) {
        if self.length() == TdesKeyLength::Single {
            return self.chain_with_first(chain, blocks);
        }
        let [k1, k2, k3] = self.parts();
        let mut state = State::load(&[*chain]);
        for block in blocks {
            state.add(&State::load(&[*block]));
            state.encrypt(k1);
            state.decrypt(k2);
            state.encrypt(k3);
        }
        [*chain] = state.store();
    }
}

impl core::fmt::Debug for TdesKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TdesKey({:?}, ***)", self.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nist_known_answer_single_des() {
        // FIPS 81 appendix B, first block of "Now is the time for all ".
        let key = TdesKey::new(&0x0123_4567_89AB_CDEF_u64.to_be_bytes()).unwrap();
        let block = key.encrypted(*b"Now is t");
        assert_eq!(u64::from_be_bytes(block), 0x3FA4_0E8A_984D_4815);
        assert_eq!(&key.decrypted(block), b"Now is t");
    }

    #[test]
    fn equal_parts_degenerate_to_single_des() {
        let single = TdesKey::new(&[0x5B; 8]).unwrap();
        let triple = TdesKey::new(&[0x5B; 24]).unwrap();
        assert_eq!(single.encrypted([7; 8]), triple.encrypted([7; 8]));
    }

    #[test]
    fn odd_lengths_are_refused_and_debug_hides_the_key() {
        assert_eq!(TdesKey::new(&[0; 15]).err(), Some(CryptoError::KeyLength(15)));
        let shown = format!("{:?}", TdesKey::new(&[0x42; 16]).unwrap());
        assert_eq!(shown, "TdesKey(Double, ***)");
    }
}
