//! SM4 by GFNI (GB/T 32907-2016).

use crate::x86::Sm4Instructions;
use crate::{BLOCK_BYTES, Block};
use paycrypto::{BlockCipher, CryptoError, SM4_ROUNDS, Sm4Key};
use zeroize::{Zeroize, ZeroizeOnDrop};

#[derive(Zeroize, ZeroizeOnDrop)]
struct RoundKeys {
    encrypting: [u32; SM4_ROUNDS],
    decrypting: [u32; SM4_ROUNDS],
}

enum Schedule {
    Instructions(Sm4Instructions, Box<RoundKeys>),
    Library(Box<Sm4Key>),
}

/// An SM4 key, ready to work at the processor's best. Wiped on drop; never prints.
pub struct FastSm4Key(Schedule);

impl FastSm4Key {
    /// Expands a key of 16 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let key = Sm4Key::new(bytes)?;
        let Some(instructions) = Sm4Instructions::detect() else {
            return Ok(Self(Schedule::Library(Box::new(key))));
        };
        let mut keys = Box::new(RoundKeys { encrypting: [0; SM4_ROUNDS], decrypting: [0; SM4_ROUNDS] });
        keys.encrypting.copy_from_slice(key.expose_round_keys());
        keys.decrypting.copy_from_slice(key.expose_round_keys());
        keys.decrypting.reverse();
        Ok(Self(Schedule::Instructions(instructions, keys)))
    }

    /// Whether the processor's instructions do the work.
    #[must_use]
    pub fn is_accelerated(&self) -> bool {
        matches!(self.0, Schedule::Instructions(..))
    }
}

impl BlockCipher<BLOCK_BYTES> for FastSm4Key {
    fn encrypt_block(&self, block: &mut Block) {
        self.encrypt_blocks(core::slice::from_mut(block));
    }

    fn decrypt_block(&self, block: &mut Block) {
        self.decrypt_blocks(core::slice::from_mut(block));
    }

    fn encrypt_blocks(&self, blocks: &mut [Block]) {
        match &self.0 {
            Schedule::Instructions(instructions, keys) => instructions.crypt(&keys.encrypting, blocks),
            Schedule::Library(key) => key.encrypt_blocks(blocks),
        }
    }

    fn decrypt_blocks(&self, blocks: &mut [Block]) {
        match &self.0 {
            Schedule::Instructions(instructions, keys) => instructions.crypt(&keys.decrypting, blocks),
            Schedule::Library(key) => key.decrypt_blocks(blocks),
        }
    }
}

impl core::fmt::Debug for FastSm4Key {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("FastSm4Key(***)")
    }
}
