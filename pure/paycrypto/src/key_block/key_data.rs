//! A key of any length: a block may hold an RSA key of a kilobyte.

use zeroize::Zeroizing;

use crate::key_material::KeyBytes;
use crate::{CryptoError, constant_time_eq};

/// The clear key out of a key block. Wiped on drop; never prints; compared in constant time.
pub struct KeyData(Zeroizing<Vec<u8>>);

impl KeyData {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The clear bytes. Asymmetric keys are DER (PKCS #1, RFC 5915), as the sender put them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The key as [`KeyBytes`], which every symmetric cipher here takes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for an HMAC or asymmetric key that is longer than any cipher's.
    pub fn key_bytes(&self) -> Result<KeyBytes, CryptoError> {
        KeyBytes::new(&self.0)
    }
}

impl PartialEq for KeyData {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for KeyData {}

impl core::fmt::Debug for KeyData {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeyData({} bytes, ***)", self.0.len())
    }
}
