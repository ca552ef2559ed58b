//! Custody by a passphrase: whoever knows it opens the vault, on any machine.

use crate::entropy::{Entropy, SystemEntropy};
use crate::passphrase::Passphrase;
use crate::sealing::SealingKey;
use aws_lc_rs::pbkdf2;
use keys::{CustodyDescription, CustodyFailure, CustodyKind, MasterCustody, check_sealable};
use paycrypto::mac::HmacSha256Key;
use std::num::NonZeroU32;
use types::SecretBytes;
use zeroize::Zeroizing;

const MAGIC: [u8; 8] = *b"ITVAULT\x01";
const SALT_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 4 + SALT_BYTES;
/// PBKDF2-HMAC-SHA-256 rounds under a passphrase that a person chose (OWASP's 2023 figure).
const ITERATIONS_CHOSEN: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
/// Rounds under a passphrase drawn with 256 bits, which stretching cannot improve.
const ITERATIONS_DRAWN: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
/// A sealed secret may not order more rounds than this: it would only be a way to keep the process busy.
const ITERATIONS_MAX: u32 = 10_000_000;

/// A key stretched from a passphrase by PBKDF2-HMAC-SHA-256, sealing by AES-256-GCM-SIV.
///
/// A sealed secret is magic (8), iterations (4), salt (32), ciphertext; what stands before the ciphertext and the label
/// are authenticated with it. A whole vault file of version 1 is such a secret under the empty label, which
/// [`MasterCustody::seal`] does not take: so old files open, and none is made.
#[derive(Debug)]
pub struct PassphraseCustody {
    passphrase: Passphrase,
}

impl PassphraseCustody {
    /// The custody of this passphrase.
    #[must_use]
    pub fn new(passphrase: Passphrase) -> Self {
        Self { passphrase }
    }

    fn key(&self, iterations: NonZeroU32, salt: &[u8]) -> SealingKey {
        let mut bytes = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, self.passphrase.expose(), &mut *bytes);
        SealingKey::derive(&HmacSha256Key::new(&*bytes), b"vault file")
    }
}

fn no_entropy<E>(_: E) -> CustodyFailure {
    CustodyFailure::Device("no random bytes".to_owned())
}

impl MasterCustody for PassphraseCustody {
    fn describe(&self) -> CustodyDescription {
        CustodyDescription { kind: CustodyKind::Passphrase, place: String::new() }
    }

    fn prepare(&mut self) -> Result<(), CustodyFailure> {
        Ok(())
    }

    fn seal(&mut self, label: &[u8], secret: &SecretBytes) -> Result<Vec<u8>, CustodyFailure> {
        check_sealable(label, secret)?;
        let mut salt = [0; SALT_BYTES];
        SystemEntropy.fill(&mut salt).map_err(no_entropy)?;
        let iterations = if self.passphrase.is_drawn() { ITERATIONS_DRAWN } else { ITERATIONS_CHOSEN };
        let header = [&MAGIC[..], &iterations.get().to_be_bytes(), &salt].concat();
        let associated = [&header[..], label].concat();
        let key = self.key(iterations, &salt);
        let ciphertext = key.seal(&SystemEntropy, &associated, secret.expose()).map_err(no_entropy)?;
        Ok([header, ciphertext].concat())
    }

    fn open(&mut self, label: &[u8], sealed: &[u8]) -> Result<SecretBytes, CustodyFailure> {
        let (header, ciphertext) = sealed.split_at_checked(HEADER_BYTES).ok_or(CustodyFailure::NotAuthentic)?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let (iterations, salt) = rest.split_first_chunk::<4>().ok_or(CustodyFailure::NotAuthentic)?;
        let iterations = u32::from_be_bytes(*iterations);
        if magic != MAGIC || iterations > ITERATIONS_MAX {
            return Err(CustodyFailure::NotAuthentic);
        }
        let iterations = NonZeroU32::new(iterations).ok_or(CustodyFailure::NotAuthentic)?;
        let associated = [header, label].concat();
        let opened = self.key(iterations, salt).open(&associated, ciphertext);
        opened.map(|secret| SecretBytes::copy_from(&secret)).map_err(|_| CustodyFailure::NotAuthentic)
    }

    fn destroy(&mut self) -> Result<(), CustodyFailure> {
        Err(CustodyFailure::NotPossible("a passphrase ends when everybody who has it forgets it: delete its file"))
    }
}
