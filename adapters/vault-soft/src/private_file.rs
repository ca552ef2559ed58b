//! Files that belong to their owner alone, written whole or not at all.

use crate::vault_file::VaultFileError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use types::SecretBytes;
use zeroize::Zeroizing;

const FILE_BYTES_MAX: u64 = 1 << 20;
/// Permission bits of anybody but the owner.
const FOREIGN_PERMISSIONS: u32 = 0o077;
const PRIVATE_MODE: u32 = 0o600;

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> VaultFileError + '_ {
    move |cause| VaultFileError::Io { path: path.to_owned(), cause }
}

/// Reads a file that must belong to its owner alone.
pub(crate) fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultFileError> {
    let file = File::open(path).map_err(io_error(path))?;
    let mode = file.metadata().map_err(io_error(path))?.mode() & 0o7777;
    if mode & FOREIGN_PERMISSIONS != 0 {
        return Err(VaultFileError::Permissions(path.to_owned(), mode));
    }
    // Room for all and one to notice the end by: a vector that grows leaves what it held behind.
    let size = usize::try_from(file.metadata().map_err(io_error(path))?.len().min(FILE_BYTES_MAX));
    let mut content = Zeroizing::new(Vec::with_capacity(size.unwrap_or_default() + 1));
    file.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(io_error(path))?;
    Ok(content)
}

/// The first line of a file that nobody but its owner may read: a passphrase, a PIN, an authorisation value.
///
/// # Errors
/// [`VaultFileError::Io`], [`VaultFileError::Permissions`].
pub fn read_secret_line(path: &Path) -> Result<SecretBytes, VaultFileError> {
    let content = read_private_file(path)?;
    let line = content.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    Ok(SecretBytes::copy_from(line))
}

/// Writes a new private file so that it is there whole or not at all. Refuses to replace one.
pub(crate) fn write_private_file(path: &Path, content: &[u8]) -> Result<(), VaultFileError> {
    // Unlike a rename, a link fails if the name is taken: a vault is never overwritten.
    publish(path, content, |temporary| std::fs::hard_link(temporary, path))
}

/// Replaces a private file: after a power cut the old one is there or the new one.
pub(crate) fn replace_private_file(path: &Path, content: &[u8]) -> Result<(), VaultFileError> {
    publish(path, content, |temporary| std::fs::rename(temporary, path))
}

fn publish(
    path: &Path,
    content: &[u8],
    publication: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<(), VaultFileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new.{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let published = write_temporary(&temporary, content).and_then(|()| publication(&temporary));
    // Gone already after a rename; a left-over is only litter.
    let _ = std::fs::remove_file(&temporary);
    published.map_err(io_error(path))?;
    sync_directory(path).map_err(io_error(path))
}

fn write_temporary(temporary: &Path, content: &[u8]) -> std::io::Result<()> {
    // Only a crashed process of the same number can have left one behind.
    let _ = std::fs::remove_file(temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
