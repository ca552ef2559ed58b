//! What an audit trail is written on: two private files beside the vault file, or memory.
//!
//! `NAME.audit` only grows. `NAME.audit.head` holds two slots that say in turn how far it has grown.

use crate::audit_trail::AuditError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Permission bits of anybody but the owner.
const FOREIGN_PERMISSIONS: u32 = 0o077;
const PRIVATE_MODE: u32 = 0o600;
/// How long the lock of the files is waited for, and how often it is tried.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Where a trail stands. What `append` and `write_head` have returned from survives a power cut.
pub trait AuditMedium: Send {
    /// Bytes of the trail.
    ///
    /// # Errors
    /// Whatever the medium refuses; so for the others.
    fn length(&mut self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// If the trail ends before.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Adds to the end, durably.
    ///
    /// # Errors
    /// Some of the bytes may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a torn end off, durably.
    ///
    /// # Errors
    /// Whatever the medium refuses.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// The whole head.
    ///
    /// # Errors
    /// Whatever the medium refuses.
    fn head(&mut self) -> io::Result<Vec<u8>>;
    /// Writes a part of the head, durably.
    ///
    /// # Errors
    /// Some of the bytes may have been written.
    fn write_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// The files of the trail of a vault file.
#[must_use]
pub fn audit_paths(vault_file: &Path) -> (PathBuf, PathBuf) {
    let beside = |suffix: &str| {
        let mut path = vault_file.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    (beside(".audit"), beside(".audit.head"))
}

struct Files {
    trail: File,
    head: File,
    /// Whether no other process can write them.
    locked: bool,
}

/// Two files. They are opened once, so that a sandbox may forbid opening any more.
pub struct AuditFiles {
    paths: (PathBuf, PathBuf),
    files: Option<Files>,
    /// Length of the trail as it was read: it must not have changed when it is locked later.
    seen_bytes: u64,
}

impl AuditFiles {
    /// Opens the files beside a vault file and locks them; missing ones are made.
    ///
    /// # Errors
    /// [`AuditError::Io`]; [`AuditError::Busy`] if another process writes them.
    pub fn open(vault_file: &Path) -> Result<Self, AuditError> {
        let mut medium = Self::new(vault_file);
        medium.files()?;
        medium.lock()?;
        Ok(medium)
    }

    /// Opens the files beside a vault file if they are there; the first record makes and locks them. For vaults that
    /// several processes may have open and that seldom record anything: a terminal's.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub fn open_when_needed(vault_file: &Path) -> Result<Self, AuditError> {
        let mut medium = Self::new(vault_file);
        if medium.paths.0.exists() || medium.paths.1.exists() {
            medium.files()?;
        }
        Ok(medium)
    }

    fn new(vault_file: &Path) -> Self {
        Self { paths: audit_paths(vault_file), files: None, seen_bytes: 0 }
    }

    fn files(&mut self) -> Result<&mut Files, AuditError> {
        if self.files.is_none() {
            let trail = open_private(&self.paths.0, true)?;
            let head = open_private(&self.paths.1, false)?;
            sync_folder(&self.paths.0).map_err(|cause| AuditError::io(&self.paths.0, &cause))?;
            self.files = Some(Files { trail, head, locked: false });
        }
        Ok(self.files.as_mut().expect("made above"))
    }

    fn lock(&mut self) -> Result<(), AuditError> {
        let path = self.paths.0.clone();
        let files = self.files()?;
        if !files.locked {
            lock(&files.trail, &path)?;
            files.locked = true;
        }
        Ok(())
    }

    /// The files, to be written. Nobody else may have written them since they were read.
    fn writable(&mut self) -> io::Result<&mut Files> {
        let was_locked = self.files.as_ref().is_some_and(|files| files.locked);
        self.lock().map_err(|error| io::Error::other(error.to_string()))?;
        let seen_bytes = self.seen_bytes;
        let files = self.files.as_mut().expect("a lock is on files");
        if !was_locked && files.trail.metadata()?.len() != seen_bytes {
            files.locked = false;
            return Err(io::Error::other("another process wrote to the trail"));
        }
        Ok(files)
    }
}

fn open_private(path: &Path, append: bool) -> Result<File, AuditError> {
    let failed = |cause: io::Error| AuditError::io(path, &cause);
    let mut options = OpenOptions::new();
    options.read(true).create(true).mode(PRIVATE_MODE);
    // `append` and `write` at once would be append: the head is written in place.
    let options = if append { options.append(true) } else { options.write(true) };
    let file = options.open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & FOREIGN_PERMISSIONS != 0 {
        let cause = io::Error::other(format!("others may access it (mode {mode:o}); it must be 0600"));
        return Err(failed(cause));
    }
    Ok(file)
}

/// Locks a file for as long as it is open.
fn lock(file: &File, path: &Path) -> Result<(), AuditError> {
    // A predecessor that was killed may not be quite gone yet.
    let end = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(AuditError::Busy(path.display().to_string())),
            Err(TryLockError::Error(cause)) => return Err(AuditError::io(path, &cause)),
        }
    }
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

impl AuditMedium for AuditFiles {
    fn length(&mut self) -> io::Result<u64> {
        let length =
            self.files.as_ref().map_or(Ok(0), |files| files.trail.metadata().map(|metadata| metadata.len()))?;
        if self.files.as_ref().is_none_or(|files| !files.locked) {
            self.seen_bytes = length;
        }
        Ok(length)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let files = self.files.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        files.trail.read_exact_at(buffer, offset)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write;
        let files = self.writable()?;
        files.trail.write_all(bytes)?;
        files.trail.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let files = self.writable()?;
        files.trail.set_len(length)?;
        files.trail.sync_all()
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        let Some(files) = &self.files else { return Ok(Vec::new()) };
        let length = files.head.metadata()?.len().min(crate::audit_trail::HEAD_FILE_BYTES_MAX);
        let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
        files.head.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    fn write_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let files = self.writable()?;
        files.head.write_all_at(bytes, offset)?;
        files.head.sync_data()
    }
}

/// A trail's bytes in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditBytes {
    /// The trail.
    pub trail: Vec<u8>,
    /// Its head.
    pub head: Vec<u8>,
    /// Whether the medium refuses to be written, as a full disk does.
    pub full: bool,
}

/// A trail in memory, for simulators and tests. Clones share one.
#[derive(Clone, Debug, Default)]
pub struct AuditMemory(Arc<Mutex<AuditBytes>>);

impl AuditMemory {
    /// A trail that is there already.
    #[must_use]
    pub fn of(bytes: AuditBytes) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    /// The bytes, to look at or to spoil.
    pub fn bytes(&self) -> MutexGuard<'_, AuditBytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, AuditBytes>> {
        let bytes = self.bytes();
        if bytes.full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(bytes) }
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

impl AuditMedium for AuditMemory {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.bytes().trail.len() as u64)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (bytes, from) = (self.bytes(), place(offset)?);
        let part = from.checked_add(buffer.len()).and_then(|to| bytes.trail.get(from..to));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn append(&mut self, more: &[u8]) -> io::Result<()> {
        self.writable()?.trail.extend_from_slice(more);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.writable()?.trail.truncate(place(length)?);
        Ok(())
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.bytes().head.clone())
    }

    fn write_head(&mut self, offset: u64, more: &[u8]) -> io::Result<()> {
        let from = place(offset)?;
        let mut bytes = self.writable()?;
        if bytes.head.len() < from + more.len() {
            bytes.head.resize(from + more.len(), 0);
        }
        bytes.head[from..from + more.len()].copy_from_slice(more);
        Ok(())
    }
}
