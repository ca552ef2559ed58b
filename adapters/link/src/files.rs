//! Files that must be whole after a power cut, and some that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

const OWNER_ONLY: u32 = 0o600;
const EVERYBODY_READS: u32 = 0o644;

/// Writes a file readable by its owner only: whole or not at all, and durable when this returns.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(path, bytes, OWNER_ONLY)
}

/// Writes a public file: whole or not at all, and durable when this returns.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(path, bytes, EVERYBODY_READS)
}

/// Reads a private file, and refuses one that others may read or write.
pub fn read_private(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mode = fs::metadata(path)?.mode();
    if mode & 0o077 != 0 {
        let message = format!("{} may be read by others (mode {:o})", path.display(), mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    fs::read(path).map(Zeroizing::new)
}

/// Makes a folder, and those above it, for its owner only.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut draft_name = name.to_owned();
    draft_name.push(".draft");
    let draft = path.with_file_name(draft_name);
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_stay_private_and_are_replaced_whole() {
        let folder = std::env::temp_dir().join(format!("irontill-link-files-{}", std::process::id()));
        create_private_folder(&folder).unwrap();
        let path = folder.join("key.pem");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(&read_private(&path).unwrap()[..], b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft stays behind");
        write_durably(&path, b"three").unwrap();
        assert_eq!(read_private(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::remove_dir_all(folder).unwrap();
    }
}
