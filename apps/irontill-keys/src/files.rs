//! Which files the process can still reach: Landlock.

use crate::sandbox::Enforcement;
use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, make_bitflags,
};
use std::path::{Path, PathBuf};

/// The rights that this file knows; a kernel with fewer enforces what it has. Linux 6.12 has all of them.
const RIGHTS: ABI = ABI::V6;

/// What stays allowed in the vault's folder.
fn in_own_folder() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | MakeReg | RemoveFile | Truncate})
}

/// What stays allowed in the folder of the sockets: taking them away at the end.
fn in_socket_folder() -> BitFlags<AccessFs> {
    AccessFs::RemoveFile.into()
}

/// The folder of a path that is there already.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// From now on this thread, and every thread that it starts, reaches no file outside the folders of `vault` and
/// `sockets`, no TCP port, no abstract socket and no process outside with a signal.
///
/// # Errors
/// If a folder cannot be opened or the kernel refuses for another reason than not knowing how.
pub fn confine(vault: &Path, sockets: &[PathBuf]) -> anyhow::Result<Enforcement> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(AccessNet::from_all(RIGHTS))?
        .scope(Scope::from_all(RIGHTS))?
        .create()?;
    let open = |path: &Path| PathFd::new(folder(path)).with_context(|| folder(path).display().to_string());
    let mut rules = rules.add_rule(PathBeneath::new(open(vault)?, in_own_folder()))?;
    for socket in sockets {
        rules = rules.add_rule(PathBeneath::new(open(socket)?, in_socket_folder()))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Enforcement::Full,
        RulesetStatus::PartiallyEnforced => Enforcement::Partial,
        RulesetStatus::NotEnforced => Enforcement::None,
    })
}
