//! Secrets that cannot print, compare in variable time or linger.

use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

/// Wipes a buffer, the room behind its bytes too, and empties it. `Vec::zeroize` does the same one volatile byte at a time; this
/// fills the memory in one go and then keeps the compiler from finding the zeros useless.
pub fn wipe(bytes: &mut Vec<u8>) {
    fill_with_zeros(bytes);
    optimization_barrier(bytes.as_slice());
    bytes.clear();
}

/// A buffer never grows when it gets as long as its room.
fn fill_with_zeros(bytes: &mut Vec<u8>) {
    let capacity = bytes.capacity();
    bytes.clear();
    bytes.resize(capacity, 0);
}

/// A fixed-length secret. No `Clone`, `Deref`, `PartialEq` or `serde`: [`Secret::expose`] is the only door.
///
/// It is boxed so that a move copies a pointer and not the bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes the bytes and wipes the caller's copy.
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let secret = Self(Box::new(*bytes));
        bytes.zeroize();
        secret
    }

    /// Copies a secret of exactly `N` bytes; `None` for any other length.
    pub fn copy_from(bytes: &[u8]) -> Option<Self> {
        let mut boxed = Box::new([0_u8; N]);
        if bytes.len() != N {
            return None;
        }
        boxed.copy_from_slice(bytes);
        Some(Self(boxed))
    }

    /// The one greppable door to the bytes.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// An explicit second copy, for key schedules and tests.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Equality in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0[..].ct_eq(&other.0[..]).into()
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret<{N}>(****)")
    }
}

/// A secret of run-time length, with the same rules as [`Secret`].
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl Zeroize for SecretBytes {
    fn zeroize(&mut self) {
        wipe(&mut self.0);
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for SecretBytes {}

impl SecretBytes {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Copies the bytes.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The one greppable door to the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An explicit second copy.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Equality in constant time for equal lengths.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretBytes({} bytes ****)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_bytes() {
        let secret = Secret::<4>::take(&mut [0xDE, 0xAD, 0xBE, 0xEF]);
        let text = format!("{secret:?}").to_uppercase();
        assert!(!text.contains("DE") || text.contains("SECRET"));
        assert!(!text.contains("222") && !text.contains("BEEF"));
    }

    #[test]
    fn taking_wipes_the_source() {
        let mut source = [7_u8; 8];
        let secret = Secret::take(&mut source);
        assert_eq!(source, [0; 8]);
        assert_eq!(secret.expose(), &[7; 8]);
        assert!(secret.matches(&secret.duplicate()));
    }

    #[test]
    fn wiping_covers_the_whole_buffer_where_it_is() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&[7; 40]);
        bytes.truncate(3);
        let (place, capacity) = (bytes.as_ptr(), bytes.capacity());
        fill_with_zeros(&mut bytes);
        assert_eq!(bytes, vec![0; capacity]);
        assert_eq!(bytes.as_ptr(), place, "a copy somewhere else would leave the secret behind");
        wipe(&mut bytes);
        assert!(bytes.is_empty() && bytes.capacity() == capacity);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(Secret::<8>::copy_from(&[0; 7]).is_none());
    }
}
