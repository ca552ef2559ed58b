//! Authenticated encryption of everything the vault gives away: AES-256-GCM-SIV (RFC 8452) with random nonces.
//!
//! GCM-SIV and not GCM, because one key seals every account of every payment for years: the 2³² messages that random
//! nonces allow GCM would be used up, and a repeated nonce must not be fatal.

use crate::entropy::Entropy;
use crate::refusal::of_entropy;
use crate::secret_memory::{SecretBox, crypto_heap_is_secret};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use keys::Refusal;
use paycrypto::mac::HmacSha256Key;
use zeroize::{Zeroize, Zeroizing};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
/// What sealing adds to a plaintext.
pub const SEAL_OVERHEAD_BYTES: usize = 1 + NONCE_LEN + TAG_BYTES;

const KEY_BYTES: usize = 32;

/// A key for one kind of sealed bytes, derived from the master key.
pub struct SealingKey(Schedule);

/// The library expands a key on its own heap. In a key process that heap is secret memory, so the expanded key stays
/// there. Elsewhere only the key stays, in secret memory, and is expanded for each use and wiped: a third slower.
enum Schedule {
    Kept(LessSafeKey),
    Expanded(SecretBox<[u8; KEY_BYTES]>),
}

fn expand(bytes: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, bytes).expect("AES-256 takes 32 bytes"))
}

impl SealingKey {
    /// The key for `purpose`: HMAC-SHA-256 of the purpose under the master key.
    pub fn derive(master: &HmacSha256Key, purpose: &[u8]) -> Self {
        let bytes = SecretBox::new(|| master.mac(&[b"irontill sealing key 1\0", purpose]));
        Self(if crypto_heap_is_secret() { Schedule::Kept(expand(&bytes)) } else { Schedule::Expanded(bytes) })
    }

    fn with_key<R>(&self, work: impl FnOnce(&LessSafeKey) -> R) -> R {
        match &self.0 {
            Schedule::Kept(key) => work(key),
            Schedule::Expanded(bytes) => work(&expand(bytes)),
        }
    }

    /// Seals `plaintext`, bound to `associated`: version, nonce, ciphertext, tag.
    pub fn seal(&self, entropy: &dyn Entropy, associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce).map_err(of_entropy)?;
        let mut sealed = Vec::with_capacity(plaintext.len() + SEAL_OVERHEAD_BYTES);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let body_at = sealed.len();
        sealed.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let body = &mut sealed[body_at..];
        let tag = self.with_key(|key| key.seal_in_place_separate_tag(nonce, Aad::from(associated), body));
        match tag {
            Ok(tag) => sealed.extend_from_slice(tag.as_ref()),
            Err(_) => {
                sealed.zeroize();
                return Err(Refusal::Unavailable);
            }
        }
        Ok(sealed)
    }

    /// Opens what [`SealingKey::seal`] made; anything else is not authentic.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (version, rest) = sealed.split_first().ok_or(Refusal::NotAuthentic)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Refusal::NotAuthentic)?;
        if *version != VERSION || body.len() < TAG_BYTES {
            return Err(Refusal::NotAuthentic);
        }
        let mut buffer = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.with_key(|key| {
            key.open_in_place(nonce, Aad::from(associated), &mut buffer).map(|plaintext| plaintext.len())
        });
        let length = opened.map_err(|_| Refusal::NotAuthentic)?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use proptest::prelude::*;

    fn key(purpose: &[u8]) -> SealingKey {
        SealingKey::derive(&HmacSha256Key::new(&[7; 32]), purpose)
    }

    proptest! {
        #[test]
        fn opens_only_what_it_sealed(plaintext: Vec<u8>, label: Vec<u8>, at: usize, bit in 0_u8..8) {
            let key = key(b"test");
            let mut sealed = key.seal(&SystemEntropy, &label, &plaintext).unwrap();
            prop_assert_eq!(&key.open(&label, &sealed).unwrap()[..], &plaintext[..]);
            let other_label = [&label[..], b"x"].concat();
            prop_assert_eq!(key.open(&other_label, &sealed).err(), Some(Refusal::NotAuthentic));
            let at = at % sealed.len();
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(key.open(&label, &sealed).err(), Some(Refusal::NotAuthentic));
        }

        #[test]
        fn hostile_bytes_never_panic(sealed: Vec<u8>) {
            prop_assert_eq!(key(b"test").open(b"", &sealed).err(), Some(Refusal::NotAuthentic));
        }
    }

    #[test]
    fn purposes_do_not_mix() {
        let sealed = key(b"one").seal(&SystemEntropy, b"", b"secret").unwrap();
        assert_eq!(key(b"two").open(b"", &sealed).err(), Some(Refusal::NotAuthentic));
    }
}
