//! Custodians' passphrases, stretched with Argon2id (RFC 9106): slow and hungry for memory on purpose.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use keys::Refusal;
use zeroize::{Zeroize, Zeroizing};

/// Length of a salt in bytes.
pub const SALT_BYTES: usize = 16;
/// Length of what comes out in bytes.
pub const STRETCHED_BYTES: usize = 32;
/// Memory in KiB, passes and lanes: OWASP's first choice for Argon2id (2023).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Stretches a passphrase. Takes 19 MiB and tens of milliseconds; callers take turns.
pub fn stretch(passphrase: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; STRETCHED_BYTES]>, Refusal> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(STRETCHED_BYTES)).map_err(|_| Refusal::Unavailable)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut memory = vec![Block::default(); MEMORY_KIB as usize];
    let mut stretched = Zeroizing::new([0; STRETCHED_BYTES]);
    let done = argon.hash_password_into_with_memory(passphrase, salt, &mut *stretched, &mut memory);
    memory.iter_mut().for_each(Zeroize::zeroize);
    done.map(|()| stretched).map_err(|_| Refusal::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salt_and_passphrase_both_count() {
        let one = stretch(b"a long passphrase", &[1; SALT_BYTES]).unwrap();
        assert_eq!(*stretch(b"a long passphrase", &[1; SALT_BYTES]).unwrap(), *one);
        assert_ne!(*stretch(b"a long passphrasf", &[1; SALT_BYTES]).unwrap(), *one);
        assert_ne!(*stretch(b"a long passphrase", &[2; SALT_BYTES]).unwrap(), *one);
    }
}
