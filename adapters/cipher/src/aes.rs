//! AES by AES-NI (FIPS 197).

use crate::x86::{AesInstructions, AesSchedule};
use crate::{BLOCK_BYTES, Block};
use paycrypto::{AesKey, BlockCipher, CryptoError};

enum Schedule {
    Instructions(AesInstructions, Box<AesSchedule>),
    Library(AesKey),
}

/// An AES key of 16, 24 or 32 bytes, ready to work at the processor's best. Wiped on drop; never prints.
pub struct FastAesKey(Schedule);

impl FastAesKey {
    /// Expands a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let Some(instructions) = AesInstructions::detect() else {
            return AesKey::new(bytes).map(|key| Self(Schedule::Library(key)));
        };
        let schedule = instructions.expand(bytes).ok_or(CryptoError::KeyLength(bytes.len()))?;
        Ok(Self(Schedule::Instructions(instructions, schedule)))
    }

    /// Whether the processor's instructions do the work.
    #[must_use]
    pub fn is_accelerated(&self) -> bool {
        matches!(self.0, Schedule::Instructions(..))
    }
}

impl BlockCipher<BLOCK_BYTES> for FastAesKey {
    fn encrypt_block(&self, block: &mut Block) {
        self.encrypt_blocks(core::slice::from_mut(block));
    }

    fn decrypt_block(&self, block: &mut Block) {
        self.decrypt_blocks(core::slice::from_mut(block));
    }

    fn encrypt_blocks(&self, blocks: &mut [Block]) {
        match &self.0 {
            Schedule::Instructions(instructions, schedule) => instructions.encrypt(schedule, blocks),
            Schedule::Library(key) => key.encrypt_blocks(blocks),
        }
    }

    fn decrypt_blocks(&self, blocks: &mut [Block]) {
        match &self.0 {
            Schedule::Instructions(instructions, schedule) => instructions.decrypt(schedule, blocks),
            Schedule::Library(key) => key.decrypt_blocks(blocks),
        }
    }

    fn chain_blocks(&self, chain: &mut Block, blocks: &[Block]) {
        match &self.0 {
            Schedule::Instructions(instructions, schedule) => instructions.chain(schedule, chain, blocks),
            Schedule::Library(key) => key.chain_blocks(chain, blocks),
        }
    }
}

impl core::fmt::Debug for FastAesKey {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("FastAesKey(***)")
    }
}
