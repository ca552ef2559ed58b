//! What the process gives up before it touches a key.

use rustix::fs::Mode;
use rustix::io;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// What of the hardening depends on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardening {
    /// No page of the process goes to swap.
    pub memory_locked: bool,
}

/// Files for the owner alone, no core dumps, no debugger of the same user, no new privileges, memory locked where the
/// machine allows it.
///
/// # Errors
/// If the system refuses anything but the memory lock.
pub fn harden() -> io::Result<Hardening> {
    umask(Mode::RWXG | Mode::RWXO);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(Hardening { memory_locked: lock_memory() })
}

/// Locks present and future pages. Under a limit, a later allocation could fail for the lock's sake, so then the swap
/// protection is left to the machine.
fn lock_memory() -> bool {
    let unlimited = getrlimit(Resource::Memlock).current.is_none() || geteuid().is_root();
    unlimited && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}
