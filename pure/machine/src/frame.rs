//! Records on disk: framed, numbered and chained by hash, so that a damaged journal is detected and named.
//!
//! A frame is `magic "IT" · format u8 · sequence u64 · length u32 · payload · hash 32`, where the hash is SHA-256 over
//! the previous frame's hash and everything of this frame before the hash. The chain of a machine starts from the
//! SHA-256 of its name.

use crate::MachineId;
use crate::wire::{BYTES_MAX, Malformed, Reader, Writer};
use sha2::{Digest, Sha256};

const MAGIC: [u8; 2] = *b"IT";
const FORMAT: u8 = 1;

/// Hash of the last frame of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainHead(pub [u8; 32]);

impl ChainHead {
    /// Where the chain of a machine begins.
    pub fn genesis(machine: MachineId) -> Self {
        Self(Sha256::digest(machine.text().as_bytes()).into())
    }

    /// What a frame says that the chain is behind it; `None` if the bytes are too few. Nothing is checked: whoever goes on from here
    /// must arrive at a head that is known otherwise.
    pub fn at_end_of(frame: &[u8]) -> Option<Self> {
        frame.last_chunk().copied().map(Self)
    }
}

/// Why a stored frame is not the next one of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The bytes are no frame at all.
    #[error("record {sequence}: not a frame: {cause}")]
    NotAFrame {
        /// Number of the record expected.
        sequence: u64,
        /// What was wrong with the bytes.
        cause: Malformed,
    },
    /// A record is missing or stands twice.
    #[error("record {expected} expected, found record {found}")]
    Gap {
        /// Number expected.
        expected: u64,
        /// Number found.
        found: u64,
    },
    /// The content does not fit the chain: altered, torn or of another machine.
    #[error("record {sequence}: its hash does not fit the chain")]
    Hash {
        /// Number of the record.
        sequence: u64,
    },
}

/// Bytes of a frame before its payload, the length included.
pub const FRAME_HEAD_BYTES: usize = MAGIC.len() + 1 + 8 + 4;
/// Bytes of a frame behind its payload.
const HASH_BYTES: usize = 32;

/// Length of the whole frame that begins with these bytes, for stores that keep frames one behind another. `None` if
/// no frame begins so. Nothing else is checked: [`open`] does that.
pub fn frame_bytes(head: &[u8; FRAME_HEAD_BYTES]) -> Option<usize> {
    let (start, length) = head.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let begins = start.starts_with(&[MAGIC[0], MAGIC[1], FORMAT]) && length <= BYTES_MAX;
    begins.then_some(FRAME_HEAD_BYTES + length + HASH_BYTES)
}

/// Frames one payload behind `head` and returns the frame with the new head.
pub fn seal(head: ChainHead, sequence: u64, payload: &[u8]) -> (Vec<u8>, ChainHead) {
    assert!(payload.len() <= BYTES_MAX, "a record is bounded");
    let mut writer = Writer::default();
    writer.raw(&MAGIC).u8(FORMAT).u64(sequence).bytes(payload);
    let mut bytes = writer.into_bytes();
    let next = link(head, &bytes);
    bytes.extend_from_slice(&next.0);
    (bytes, next)
}

/// Opens the frame that must follow `head` with number `sequence`.
pub fn open(head: ChainHead, sequence: u64, frame: &[u8]) -> Result<(&[u8], ChainHead), Damage> {
    let parts = parse(frame).map_err(|cause| Damage::NotAFrame { sequence, cause })?;
    if parts.sequence != sequence {
        return Err(Damage::Gap { expected: sequence, found: parts.sequence });
    }
    let next = link(head, parts.signed);
    if next.0 != parts.hash {
        return Err(Damage::Hash { sequence });
    }
    Ok((parts.payload, next))
}

struct Parts<'a> {
    sequence: u64,
    payload: &'a [u8],
    signed: &'a [u8],
    hash: [u8; 32],
}

fn parse(frame: &[u8]) -> Result<Parts<'_>, Malformed> {
    let mut reader = Reader::new(frame);
    if reader.array::<2>("the frame mark")? != MAGIC {
        return Err(reader.malformed("the frame mark"));
    }
    if reader.u8()? != FORMAT {
        return Err(reader.malformed("a known frame format"));
    }
    let sequence = reader.u64()?;
    let payload = reader.bytes()?;
    let signed = &frame[..frame.len() - reader.remaining()];
    let hash = reader.array("the hash")?;
    reader.finish()?;
    Ok(Parts { sequence, payload, signed, hash })
}

fn link(head: ChainHead, signed: &[u8]) -> ChainHead {
    ChainHead(Sha256::new().chain_update(head.0).chain_update(signed).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genesis() -> ChainHead {
        ChainHead::genesis(MachineId::new("till").unwrap())
    }

    #[test]
    fn a_chain_opens_in_order() {
        let (first, head) = seal(genesis(), 1, b"one");
        let (second, _) = seal(head, 2, b"two");
        let (payload, head) = open(genesis(), 1, &first).unwrap();
        assert_eq!(payload, b"one");
        assert_eq!(open(head, 2, &second).unwrap().0, b"two");
        assert_eq!(open(genesis(), 2, &second), Err(Damage::Hash { sequence: 2 }));
        assert_eq!(open(genesis(), 1, &second), Err(Damage::Gap { expected: 1, found: 2 }));
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        let (frame, _) = seal(genesis(), 1, b"a record");
        let head: [u8; FRAME_HEAD_BYTES] = frame[..FRAME_HEAD_BYTES].try_into().unwrap();
        assert_eq!(frame_bytes(&head), Some(frame.len()));
        assert_eq!(frame_bytes(&[0; FRAME_HEAD_BYTES]), None);
        let mut endless = head;
        endless[FRAME_HEAD_BYTES - 4] = 0xFF;
        assert_eq!(frame_bytes(&endless), None);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (frame, _) = seal(genesis(), 1, b"a record");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(genesis(), 1, &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_found() {
        let (frame, _) = seal(genesis(), 1, b"a record");
        assert!((0..frame.len()).all(|length| open(genesis(), 1, &frame[..length]).is_err()));
    }
}
