//! A disk in memory that SQLite takes for a real one, and that loses power at any operation one names.
//!
//! *Duty*: [`MemoryDisk`]: files with what is on the platter and what is only in the cache, a count of operations, and one
//! [`Fault`] at a time. *Knows*: sectors, and what a power cut makes of those that were not synced: old, new, torn, garbage.
//! *Never*: a file of the real machine; anything but proofs uses it. *Start here*: `medium.rs`; `vfs.rs` shows it to SQLite
//! and is the only file with `unsafe` in it.
//!
//! What it grants, as real disks and Linux do: bytes that nobody wrote keep their values, also in a sector that was being
//! written; names of files are durable at once; what a finished sync covered stays.

mod medium;
mod vfs;

pub use medium::{Fault, Refused, SECTOR_BYTES, When};
pub use vfs::MemoryDisk;
