//! DES and TDES with the key schedule expanded once (ISO/IEC 18033-3, ANSI X9.52).

use des::Des;
use des::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::key_material::KeyBytes;
use crate::{CryptoError, constant_time_eq};

const SINGLE_BYTES: usize = 8;
const DOUBLE_BYTES: usize = 16;
const TRIPLE_BYTES: usize = 24;

/// How many DES keys a [`TdesKey`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TdesKeyLength {
    /// 8 bytes: single DES.
    Single,
    /// 16 bytes: K1, K2, K1.
    Double,
    /// 24 bytes: K1, K2, K3.
    Triple,
}

enum Schedule {
    Single(Des),
    Double(Box<[Des; 2]>),
    Triple(Box<[Des; 3]>),
}

/// A DES key of one, two or three parts, ready to work.
///
/// Eight bytes make it single DES, sixteen two-key TDES, twenty-four three-key TDES. Parity bits are neither
/// checked nor used. Bytes and schedule are wiped when it is dropped, and it never prints.
pub struct TdesKey {
    bytes: KeyBytes,
    schedule: Schedule,
}

fn des(part: &[u8]) -> Des {
    Des::new_from_slice(part).expect("a part is eight bytes")
}

impl TdesKey {
    /// Expands a key of 8, 16 or 24 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let part = |index: usize| des(&bytes[index * SINGLE_BYTES..(index + 1) * SINGLE_BYTES]);
        let schedule = match bytes.len() {
            SINGLE_BYTES => Schedule::Single(part(0)),
            DOUBLE_BYTES => Schedule::Double(Box::new([part(0), part(1)])),
            TRIPLE_BYTES => Schedule::Triple(Box::new([part(0), part(1), part(2)])),
            other => return Err(CryptoError::KeyLength(other)),
        };
        let bytes = KeyBytes::new(bytes)?;
        Ok(Self { bytes, schedule })
    }

    pub(crate) fn from_double(bytes: &[u8; DOUBLE_BYTES]) -> Self {
        Self::new(bytes).expect("sixteen bytes are a key")
    }

    /// How many parts the key has.
    #[must_use]
    pub fn length(&self) -> TdesKeyLength {
        match self.schedule {
            Schedule::Single(_) => TdesKeyLength::Single,
            Schedule::Double(_) => TdesKeyLength::Double,
            Schedule::Triple(_) => TdesKeyLength::Triple,
        }
    }

    /// The clear key bytes, for wrapping under another key. Callers outside a key process have no use for this.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// True if both keys have the same bytes, compared in constant time.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        constant_time_eq(self.expose_bytes(), other.expose_bytes())
    }

    fn parts(&self) -> (&Des, &Des, &Des) {
        match &self.schedule {
            Schedule::Single(k1) => (k1, k1, k1),
            Schedule::Double(keys) => (&keys[0], &keys[1], &keys[0]),
            Schedule::Triple(keys) => (&keys[0], &keys[1], &keys[2]),
        }
    }

    /// Single DES with the first part: what retail MACs chain with.
    pub(crate) fn encrypt_with_first(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        self.parts().0.encrypt_block(as_array(block));
    }

    /// The closing step of a retail MAC (ISO 9797-1 algorithm 3): decipher with the second part, encipher with the
    /// last one.
    pub(crate) fn output_transformation(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        let (_, k2, k3) = self.parts();
        k2.decrypt_block(as_array(block));
        k3.encrypt_block(as_array(block));
    }
}

fn as_array(block: &mut [u8; DES_BLOCK_BYTES]) -> &mut Array<u8, des::cipher::consts::U8> {
    block.into()
}

impl BlockCipher<DES_BLOCK_BYTES> for TdesKey {
    fn encrypt_block(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        self.encrypt_with_first(block);
        if self.length() != TdesKeyLength::Single {
            self.output_transformation(block);
        }
    }

    fn decrypt_block(&self, block: &mut [u8; DES_BLOCK_BYTES]) {
        let (k1, k2, k3) = self.parts();
        if self.length() != TdesKeyLength::Single {
            k3.decrypt_block(as_array(block));
            k2.encrypt_block(as_array(block));
        }
        k1.decrypt_block(as_array(block));
    }
}

impl core::fmt::Debug for TdesKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TdesKey({:?}, ***)", self.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nist_known_answer_single_des() {
        // FIPS 81 appendix B, first block of "Now is the time for all ".
        let key = TdesKey::new(&0x0123_4567_89AB_CDEF_u64.to_be_bytes()).unwrap();
        let block = key.encrypted(*b"Now is t");
        assert_eq!(u64::from_be_bytes(block), 0x3FA4_0E8A_984D_4815);
        assert_eq!(&key.decrypted(block), b"Now is t");
    }

    #[test]
    fn equal_parts_degenerate_to_single_des() {
        let single = TdesKey::new(&[0x5B; 8]).unwrap();
        let triple = TdesKey::new(&[0x5B; 24]).unwrap();
        assert_eq!(single.encrypted([7; 8]), triple.encrypted([7; 8]));
    }

    #[test]
    fn odd_lengths_are_refused_and_debug_hides_the_key() {
        assert_eq!(TdesKey::new(&[0; 15]).err(), Some(CryptoError::KeyLength(15)));
        let shown = format!("{:?}", TdesKey::new(&[0x42; 16]).unwrap());
        assert_eq!(shown, "TdesKey(Double, ***)");
    }
}
