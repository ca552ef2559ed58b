//! The hook through which a terminal seals each record before it reaches the disk.

use machine::MachineId;

/// A sealed record that does not open: another key, another place in the journal, or altered bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed record does not open")]
pub struct SealRefused;

/// Enciphers and authenticates records. Machine and sequence belong to the authenticated data, so that a sealed record
/// opens only in its own place.
pub trait RecordSeal: Send {
    /// Seals one record.
    fn seal(&self, machine: MachineId, sequence: u64, plain: &[u8]) -> Vec<u8>;
    /// Opens what [`RecordSeal::seal`] made for the same place.
    fn open(&self, machine: MachineId, sequence: u64, sealed: &[u8]) -> Result<Vec<u8>, SealRefused>;
}

/// Bytes by which a seal may lengthen a record: nonce, tag and a key name fit with room to spare.
pub const SEAL_OVERHEAD_BYTES_MAX: usize = 256;
