//! What every recovered certificate and signature has in common: header, format, hash, trailer (Book 2 Annex A2.1).

use super::{HASH_BYTES, OdaError, RsaPublicKey};
use sha1::{Digest, Sha1};

const HEADER: u8 = 0x6A;
const TRAILER: u8 = 0xBC;

/// Header, format byte, hash and trailer.
const FRAME_BYTES: usize = 2 + HASH_BYTES + 1;

/// Recovered data whose frame has been checked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    bytes: Vec<u8>,
}

impl Recovered {
    /// Applies the key and checks trailer, header and format byte, in the order of Book 2.
    pub(crate) fn open(key: &RsaPublicKey, signature: &[u8], format: u8) -> Result<Recovered, OdaError> {
        let bytes = key.apply(signature)?;
        if bytes.len() < FRAME_BYTES {
            return Err(OdaError::Length);
        }
        if bytes.last() != Some(&TRAILER) {
            return Err(OdaError::Trailer);
        }
        if bytes[0] != HEADER {
            return Err(OdaError::Header);
        }
        if bytes[1] != format {
            return Err(OdaError::Format);
        }
        Ok(Recovered { bytes })
    }

    /// All bytes, header to trailer.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The fields between format byte and hash.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.bytes[2..self.bytes.len() - 1 - HASH_BYTES]
    }

    /// The hash as signed.
    pub(crate) fn hash(&self) -> [u8; HASH_BYTES] {
        let end = self.bytes.len() - 1;
        self.bytes[end - HASH_BYTES..end].try_into().expect("length checked when opened")
    }

    /// Checks the hash over the signed fields and the parts that follow them.
    pub(crate) fn verify_hash(&self, parts: &[&[u8]]) -> Result<(), OdaError> {
        let mut hasher = Sha1::new();
        hasher.update(&self.bytes[1..self.bytes.len() - 1 - HASH_BYTES]);
        for part in parts {
            hasher.update(part);
        }
        if hasher.finalize()[..] != self.hash() {
            return Err(OdaError::Hash);
        }
        Ok(())
    }
}

/// Takes `N` bytes off the front of a field area.
pub(crate) fn take<const N: usize>(fields: &mut &[u8]) -> Result<[u8; N], OdaError> {
    let (head, rest) = fields.split_first_chunk::<N>().ok_or(OdaError::Length)?;
    *fields = rest;
    Ok(*head)
}

/// Joins the part of a modulus that stands in the certificate with the remainder beside it (Book 2 §5.3, §6.4).
pub(crate) fn join_modulus(area: &[u8], length: usize, remainder: &[u8]) -> Result<Vec<u8>, OdaError> {
    match area.get(..length) {
        Some(whole) if remainder.is_empty() => Ok(whole.to_vec()),
        Some(_) => Err(OdaError::Length),
        None if remainder.is_empty() => Err(OdaError::DataMissing),
        None if area.len() + remainder.len() == length => Ok([area, remainder].concat()),
        None => Err(OdaError::Length),
    }
}

/// SHA-1 over several parts.
pub(crate) fn sha1(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
