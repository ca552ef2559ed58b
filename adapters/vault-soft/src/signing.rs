//! Ed25519 signatures (RFC 8032) under keys derived from the master key: records, load tokens, a terminal's identity.

use crate::stack::with_clean_stack;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use keys::{AuditPage, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, audit_head_message, split_record};
use paycrypto::mac::HmacSha256Key;
use zeroize::Zeroizing;

/// A signing key for one purpose.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key for `purpose`: its seed is the HMAC-SHA-256 of the purpose under the master key.
    pub fn derive(master: &HmacSha256Key, purpose: &[u8]) -> Self {
        with_clean_stack(|| {
            let seed = Zeroizing::new(master.mac(&[b"irontill signing key 1\0", purpose]));
            Self(Ed25519KeyPair::from_seed_unchecked(&*seed).expect("an Ed25519 seed is any 32 bytes"))
        })
    }

    /// The public key.
    pub fn public(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// Whether a signature is right.
#[must_use]
pub fn verify_signature(
    public_key: &[u8; PUBLIC_KEY_BYTES],
    message: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

/// Checks the record of a ceremony without the vault and gives the text that is signed; `None` if it is no record, of
/// another vault, or altered.
#[must_use]
pub fn verify_record<'a>(record: &'a str, public_key: &[u8; PUBLIC_KEY_BYTES]) -> Option<&'a str> {
    let split = split_record(record)?;
    let right = split.vault == *public_key && verify_signature(public_key, split.text.as_bytes(), &split.signature);
    right.then_some(split.text)
}

/// Whether the vault with this record key signed the end of the trail that a page names.
#[must_use]
pub fn verify_audit_head(page: &AuditPage, public_key: &[u8; PUBLIC_KEY_BYTES]) -> bool {
    verify_signature(public_key, &audit_head_message(page.total, &page.head), &page.signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_messages_do_not_mix() {
        let master = HmacSha256Key::new(&[7; 32]);
        let (one, two) = (SigningKey::derive(&master, b"one"), SigningKey::derive(&master, b"two"));
        let signature = one.sign(b"message");
        assert!(verify_signature(&one.public(), b"message", &signature));
        assert!(!verify_signature(&two.public(), b"message", &signature));
        assert!(!verify_signature(&one.public(), b"massage", &signature));
        assert_eq!(SigningKey::derive(&master, b"one").public(), one.public());
    }
}
