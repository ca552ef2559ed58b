//! Bringing the first key in: a KEK under the host vault's RSA key (RSAES-OAEP with SHA-256, RFC 8017 §7.1).

use crate::entropy::EntropyFailure;
use crate::secret_memory::SecretBytesBox;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use keys::Refusal;
use types::SecretBytes;
use zeroize::Zeroizing;

/// Largest public key that is taken for wrapping, in DER bytes (RSA-8192 with room to spare).
const PUBLIC_KEY_BYTES_MAX: usize = 2048;
/// 128-bit security needs RSA-3072 (NIST SP 800-57 part 1 table 2).
const KEY_SIZE: KeySize = KeySize::Rsa3072;
/// Weakest recipient: NIST SP 800-131A.
const RECIPIENT_BITS_MIN: usize = 2048;

/// Draws an RSA key, as PKCS#8 DER.
pub fn generate() -> Result<SecretBytesBox, EntropyFailure> {
    let key = PrivateDecryptingKey::generate(KEY_SIZE).map_err(|_| EntropyFailure)?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| EntropyFailure)?;
    Ok(SecretBytesBox::copy_from(der.as_ref()))
}

/// A host vault's transport key, ready to work.
pub struct TransportKey {
    private: OaepPrivateDecryptingKey,
    public_der: Vec<u8>,
}

impl TransportKey {
    /// Reads PKCS#8 DER.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?;
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().ok()?;
        let public_der = der.as_ref().to_vec();
        Some(Self { private: OaepPrivateDecryptingKey::new(key).ok()?, public_der })
    }

    /// SubjectPublicKeyInfo DER.
    pub fn public_der(&self) -> &[u8] {
        &self.public_der
    }

    /// Opens an OAEP ciphertext.
    pub fn decipher(&self, ciphertext: &[u8]) -> Result<SecretBytes, Refusal> {
        self.decipher_labelled(ciphertext, None)
    }

    /// Opens an OAEP ciphertext that is bound to a label.
    pub fn decipher_labelled(&self, ciphertext: &[u8], label: Option<&[u8]>) -> Result<SecretBytes, Refusal> {
        let mut buffer = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let opened = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut buffer, label);
        let plaintext = opened.map_err(|_| Refusal::NotAuthentic)?;
        Ok(SecretBytes::copy_from(plaintext))
    }
}

/// Enciphers a key to a recipient's SubjectPublicKeyInfo.
pub fn encipher_to(recipient: &[u8], key: &[u8]) -> Result<Vec<u8>, Refusal> {
    encipher_labelled(recipient, key, None)
}

/// Enciphers a key to a recipient's SubjectPublicKeyInfo, bound to a label.
pub fn encipher_labelled(recipient: &[u8], key: &[u8], label: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
    if recipient.len() > PUBLIC_KEY_BYTES_MAX {
        return Err(Refusal::Parameter);
    }
    let public = PublicEncryptingKey::from_der(recipient).map_err(|_| Refusal::Parameter)?;
    if public.key_size_bits() < RECIPIENT_BITS_MIN {
        return Err(Refusal::Parameter);
    }
    let public = OaepPublicEncryptingKey::new(public).map_err(|_| Refusal::Parameter)?;
    let mut ciphertext = vec![0; public.ciphertext_size()];
    let written = public.encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut ciphertext, label);
    let length = written.map_err(|_| Refusal::Unavailable)?.len();
    ciphertext.truncate(length);
    Ok(ciphertext)
}
