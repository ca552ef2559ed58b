//! What the process gives up before it touches a key.

use rustix::fs::Mode;
use rustix::io;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Descriptors: two for each connection that the server takes, and room for the rest.
const DESCRIPTORS_MAX: u64 = 256;

const fn same(limit: u64) -> Rlimit {
    Rlimit { current: Some(limit), maximum: Some(limit) }
}

/// Files for the owner alone, no core dumps, no new privileges, few descriptors. Root also lifts the limit on locked
/// memory, for whoever it becomes.
///
/// # Errors
/// If the system refuses.
pub fn harden() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    setrlimit(Resource::Core, same(0))?;
    rustix::thread::set_no_new_privs(true)?;
    let descriptors = getrlimit(Resource::Nofile).maximum.map_or(DESCRIPTORS_MAX, |most| most.min(DESCRIPTORS_MAX));
    setrlimit(Resource::Nofile, same(descriptors))?;
    if geteuid().is_root() {
        // In a container root may not; then memory stays within the limit and the log says what could be locked.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    }
    close_to_debuggers()
}

/// No debugger of the same user, and `/proc/PID` for root only. A change of user resets it.
///
/// # Errors
/// If the system refuses.
pub fn close_to_debuggers() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// The right to lock memory beyond the limit.
fn lock_right() -> CapabilitySet {
    let held = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    held & CapabilitySet::IPC_LOCK
}

/// Locks present and future pages; true if it could. Under a limit, a later allocation could fail for the lock's sake, so
/// then only the secrets' pages are locked.
pub fn lock_memory() -> bool {
    (getrlimit(Resource::Memlock).current.is_none() || !lock_right().is_empty())
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}

/// Gives up every capability but that of locking memory: root without them reads and signals no more than its own.
///
/// # Errors
/// If the system refuses.
pub fn drop_capabilities() -> io::Result<()> {
    let kept = lock_right();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}
