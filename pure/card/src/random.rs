//! The card's random numbers: deterministic, because nothing in `pure` has entropy.
//!
//! Each number is a SHA-1 over a secret seed and a counter that never goes back. Whoever knows the seed can foretell
//! every number: fit for test cards and simulators, not for a card that guards money.

use sha1::{Digest, Sha1};
use types::Secret;

/// Length of a card's random seed in bytes.
pub const SEED_BYTES: usize = 16;

/// The next number of `N` bytes (at most 20), advancing the counter.
pub(crate) fn next<const N: usize>(seed: &Secret<SEED_BYTES>, counter: &mut u64) -> [u8; N] {
    const { assert!(N <= 20, "a SHA-1 digest has twenty bytes") };
    let digest: [u8; 20] =
        Sha1::new().chain_update(seed.expose()).chain_update(counter.to_be_bytes()).finalize().into();
    *counter = counter.wrapping_add(1);
    core::array::from_fn(|index| digest[index])
}
