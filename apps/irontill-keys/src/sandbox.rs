//! What the process can no longer do once its vault and its sockets are open.

use crate::{files, system_calls};
use std::path::{Path, PathBuf};

/// How much of a protection the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Enforcement {
    /// The kernel has nothing of it.
    None,
    /// A part: the kernel is older than the protection.
    Partial,
    /// All of it.
    Full,
}

/// What holds the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox {
    /// Landlock: its own folders, no TCP, no signals to others.
    pub files: Enforcement,
    /// Seccomp: the listed system calls.
    pub system_calls: Enforcement,
}

/// Enters the sandbox. It holds the calling thread and what it starts, so there may be no other thread yet.
///
/// # Errors
/// If a part of it is there and does not work.
pub fn enter(vault: &Path, sockets: &[PathBuf]) -> anyhow::Result<Sandbox> {
    let files = files::confine(vault, sockets)?;
    // Where nothing confines file names, no file is opened at all; socket files then stay for the next start to replace.
    let system_calls = system_calls::restrict(files != Enforcement::None)?;
    Ok(Sandbox { files, system_calls })
}
