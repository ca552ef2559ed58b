//! What the process can no longer do once its vault and its sockets are open.

use crate::{files, system_calls};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

const THREADS: &str = "/proc/self/task";
/// A thread that has been joined may still be on the list for a moment.
const THREAD_WAIT: Duration = Duration::from_millis(10);
const THREAD_WAITS_MAX: usize = 200;

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

/// No other thread: a library that left one behind, to watch a device for example, would have left a way out.
fn be_alone() -> anyhow::Result<()> {
    for _ in 0..THREAD_WAITS_MAX {
        if std::fs::read_dir(THREADS).context(THREADS)?.count() == 1 {
            return Ok(());
        }
        std::thread::sleep(THREAD_WAIT);
    }
    bail!("a thread was started before the sandbox and is still there")
}

/// Enters the sandbox. It holds the calling thread and what it starts, so there may be no other thread yet.
///
/// # Errors
/// If there is another thread, or a part of the sandbox is there and does not work.
pub fn enter(vault: &Path, sockets: &[PathBuf]) -> anyhow::Result<Sandbox> {
    be_alone()?;
    let files = files::confine(vault, sockets)?;
    // Where nothing confines file names, no file is opened at all; socket files then stay for the next start to replace.
    let system_calls = system_calls::restrict(files != Enforcement::None)?;
    Ok(Sandbox { files, system_calls })
}
