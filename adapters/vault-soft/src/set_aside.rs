//! The way out when a trail is not in order: it is kept under another name, and a new one begins that says so.

use crate::audit_medium::{AuditFiles, audit_paths, sync_folder};
use crate::audit_trail::AuditError;
use crate::clock::Clock;
use crate::secrets::MasterSecrets;
use aws_lc_rs::digest;
use keys::{Beginning, audit_text};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes read at once for the digest.
const CHUNK_BYTES: usize = 1 << 16;

/// Sets the trail of a vault aside and begins a new one whose first record holds the old one's digest and the reason.
/// Custodians must be registered anew. Gives the old trail's new name; `None` if there was no trail.
///
/// # Errors
/// [`AuditError::Busy`] while a process serves the vault, [`AuditError::Io`].
pub fn set_audit_aside(
    secrets: &MasterSecrets,
    vault_file: &Path,
    reason: &str,
    clock: &dyn Clock,
) -> Result<Option<PathBuf>, AuditError> {
    let (trail, head) = audit_paths(vault_file);
    let mut aside = None;
    let mut why = Beginning::SetAside { digest: [0; 32], reason: audit_text(reason) };
    if trail.exists() || head.exists() {
        // Holds the lock while the files are moved.
        let held = AuditFiles::open(vault_file)?;
        let seconds = clock.unix_ms() / 1000;
        let digest = digest_of(&trail)?;
        why = Beginning::SetAside { digest, reason: audit_text(reason) };
        move_aside(&head, seconds)?;
        aside = Some(move_aside(&trail, seconds)?);
        sync_folder(&trail).map_err(|cause| AuditError::io(&trail, &cause))?;
        drop(held);
    }
    crate::begin_audit(secrets, Box::new(AuditFiles::open(vault_file)?), why, clock)?;
    Ok(aside)
}

/// Never onto a name that is taken: nothing that was set aside is lost.
fn move_aside(path: &Path, seconds: u64) -> Result<PathBuf, AuditError> {
    let name = |number: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{}", seconds + number));
        PathBuf::from(name)
    };
    let free = (0..u64::from(u8::MAX)).map(name).find(|name| !name.exists());
    let free = free.ok_or_else(|| AuditError::Io(format!("{}: too many set aside", path.display())))?;
    std::fs::rename(path, &free).map_err(|cause| AuditError::io(path, &cause))?;
    Ok(free)
}

fn digest_of(path: &Path) -> Result<[u8; 32], AuditError> {
    let failed = |cause: std::io::Error| AuditError::io(path, &cause);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(failed)? {
            0 => break,
            count => context.update(&chunk[..count]),
        }
    }
    Ok(*context.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
}
