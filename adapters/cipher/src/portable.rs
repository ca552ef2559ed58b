//! Stands in for `x86.rs` on other processors: nothing is there, so nothing can be made or called.

use crate::Block;
use paycrypto::SM4_ROUNDS;

/// Never exists.
#[derive(Clone, Copy)]
pub enum AesInstructions {}

/// Never exists.
#[derive(Clone, Copy)]
pub enum Sm4Instructions {}

/// Never exists.
pub enum AesSchedule {}

impl AesInstructions {
    pub fn detect() -> Option<Self> {
        None
    }

    pub fn expand(self, _key: &[u8]) -> Option<AesSchedule> {
        match self {}
    }

    pub fn encrypt(self, _schedule: &AesSchedule, _blocks: &mut [Block]) {
        match self {}
    }

    pub fn decrypt(self, _schedule: &AesSchedule, _blocks: &mut [Block]) {
        match self {}
    }

    pub fn chain(self, _schedule: &AesSchedule, _chain: &mut Block, _blocks: &[Block]) {
        match self {}
    }
}

impl Sm4Instructions {
    pub fn detect() -> Option<Self> {
        None
    }

    pub fn crypt(self, _round_keys: &[u32; SM4_ROUNDS], _blocks: &mut [Block]) {
        match self {}
    }
}
