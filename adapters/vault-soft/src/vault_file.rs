//! The sealed file that a vault's secrets live in.
//!
//! Layout: magic and version (8 bytes), iterations (4), salt (32), then the secrets sealed by AES-256-GCM-SIV under the
//! PBKDF2 key with everything before as associated data. Written to a temporary name, fsynced, renamed, directory
//! fsynced: a power cut leaves the old file or the new one.

use crate::entropy::{Entropy, SystemEntropy};
use crate::passphrase::Passphrase;
use crate::sealing::SealingKey;
use crate::secrets::MasterSecrets;
use aws_lc_rs::pbkdf2;
use machine::wire::Encode;
use paycrypto::mac::HmacSha256Key;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: [u8; 8] = *b"ITVAULT\x01";
const SALT_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 4 + SALT_BYTES;
/// PBKDF2-HMAC-SHA-256 rounds under a passphrase that a person chose (OWASP's 2023 figure).
const ITERATIONS_CHOSEN: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
/// Rounds under a passphrase drawn with 256 bits, which stretching cannot improve.
const ITERATIONS_DRAWN: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
/// A file may not order more rounds than this: it would only be a way to keep the process busy.
const ITERATIONS_MAX: u32 = 10_000_000;
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Permission bits of anybody but the owner.
const FOREIGN_PERMISSIONS: u32 = 0o077;
const PRIVATE_MODE: u32 = 0o600;

/// Why a vault file could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultFileError {
    /// The operating system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// Somebody else may read or write the file.
    #[error("{0}: others may access it (mode {1:o}); it must be 0600")]
    Permissions(PathBuf, u32),
    /// Not a vault file, wrong passphrase, or altered: the three cannot be told apart.
    #[error("not a vault file, wrong passphrase, or altered")]
    NotAuthentic,
    /// The passphrase is too short or too long.
    #[error("the passphrase must have 14 to 1024 bytes")]
    Passphrase,
    /// No random bytes could be had.
    #[error("the random number source failed")]
    Entropy,
}

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

/// Writes a new private file so that it is there whole or not at all. Refuses to replace one.
pub(crate) fn write_private_file(path: &Path, content: &[u8]) -> Result<(), VaultFileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new.{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write_and_link(path, &temporary, content);
    // Gone already if nothing failed before the link; a left-over is only litter.
    let _ = std::fs::remove_file(&temporary);
    written.map_err(io_error(path))?;
    sync_directory(path).map_err(io_error(path))
}

fn write_and_link(path: &Path, temporary: &Path, content: &[u8]) -> std::io::Result<()> {
    // Only a crashed process of the same number can have left one behind.
    let _ = std::fs::remove_file(temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    // Unlike a rename, a link fails if the name is taken: a vault is never overwritten.
    std::fs::hard_link(temporary, path)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn file_key(passphrase: &Passphrase, iterations: NonZeroU32, salt: &[u8]) -> SealingKey {
    let mut bytes = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, passphrase.expose(), &mut *bytes);
    SealingKey::derive(&HmacSha256Key::new(&*bytes), b"vault file")
}

/// Seals secrets into a new file with mode 0600.
///
/// # Errors
/// [`VaultFileError`]; a file that is there already is never replaced.
pub fn create(path: &Path, passphrase: &Passphrase, secrets: &MasterSecrets) -> Result<(), VaultFileError> {
    let mut salt = [0; SALT_BYTES];
    SystemEntropy.fill(&mut salt).map_err(|_| VaultFileError::Entropy)?;
    let iterations = if passphrase.is_drawn() { ITERATIONS_DRAWN } else { ITERATIONS_CHOSEN };
    let mut content = [&MAGIC[..], &iterations.get().to_be_bytes(), &salt].concat();
    let key = file_key(passphrase, iterations, &salt);
    let plaintext = Zeroizing::new(secrets.to_bytes());
    let sealed = key.seal(&SystemEntropy, &content, &plaintext).map_err(|_| VaultFileError::Entropy)?;
    content.extend_from_slice(&sealed);
    write_private_file(path, &content)
}

/// Opens a vault file.
///
/// # Errors
/// [`VaultFileError::Permissions`] if others may access it, [`VaultFileError::NotAuthentic`] if passphrase or file is
/// not the right one, [`VaultFileError::Io`].
pub fn open(path: &Path, passphrase: &Passphrase) -> Result<MasterSecrets, VaultFileError> {
    let content = read_private_file(path)?;
    let (header, sealed) = content.split_at_checked(HEADER_BYTES).ok_or(VaultFileError::NotAuthentic)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let (iterations, salt) = rest.split_first_chunk::<4>().ok_or(VaultFileError::NotAuthentic)?;
    let iterations = u32::from_be_bytes(*iterations);
    if magic != MAGIC || iterations > ITERATIONS_MAX {
        return Err(VaultFileError::NotAuthentic);
    }
    let iterations = NonZeroU32::new(iterations).ok_or(VaultFileError::NotAuthentic)?;
    let plaintext =
        file_key(passphrase, iterations, salt).open(header, sealed).map_err(|_| VaultFileError::NotAuthentic)?;
    MasterSecrets::from_bytes(&plaintext).map_err(|_| VaultFileError::NotAuthentic)
}
