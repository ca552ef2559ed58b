//! Wrong PINs and card codes of today, in a file: a restart of the process forgets none of them.
//!
//! What is kept: for each failure a tag of the card (keyed, so that it leads to no card), the day, and four bytes of a
//! keyed code. Nothing is kept of right answers, of other limits, and of days before today: opening the file drops
//! them. Records are written before the failure is answered. They are not forced to the disk: the file outlives the
//! process, and after a power cut the last moments may be missing.

use crate::secret_memory::SecretBox;
use paycrypto::constant_time_eq;
use paycrypto::mac::HmacSha256Key;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const TAG_BYTES: usize = 16;
const DAY_BYTES: usize = 4;
const CODE_BYTES: usize = 4;
const RECORD_BYTES: usize = TAG_BYTES + DAY_BYTES + CODE_BYTES;
const PRIVATE_MODE: u32 = 0o600;
/// Largest file that is read: a day on which every limit of some hundred thousand cards was reached.
const FILE_BYTES_MAX: u64 = 64 << 20;

type Tag = [u8; TAG_BYTES];

/// The file, and what is in it by day and card.
pub struct TryFile {
    code_key: SecretBox<HmacSha256Key>,
    state: Mutex<State>,
}

struct State {
    file: File,
    day: u64,
    failures: BTreeMap<Tag, u32>,
}

impl core::fmt::Debug for TryFile {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("TryFile(****)")
    }
}

fn record(code_key: &HmacSha256Key, tag: &Tag, day: u64) -> [u8; RECORD_BYTES] {
    let day = u32::try_from(day).unwrap_or(u32::MAX).to_be_bytes();
    let code = code_key.mac(&[tag, &day]);
    let mut record = [0; RECORD_BYTES];
    record[..TAG_BYTES].copy_from_slice(tag);
    record[TAG_BYTES..TAG_BYTES + DAY_BYTES].copy_from_slice(&day);
    record[TAG_BYTES + DAY_BYTES..].copy_from_slice(&code[..CODE_BYTES]);
    record
}

/// Counts today's records; what was torn or altered counts for nothing.
fn count(code_key: &HmacSha256Key, content: &[u8], day: u64) -> BTreeMap<Tag, u32> {
    let mut failures = BTreeMap::new();
    for bytes in content.as_chunks::<RECORD_BYTES>().0 {
        let tag: Tag = core::array::from_fn(|i| bytes[i]);
        if constant_time_eq(bytes, &record(code_key, &tag, day)) {
            *failures.entry(tag).or_insert(0) += 1;
        }
    }
    failures
}

impl TryFile {
    /// Opens or makes the file (mode 0600) and keeps only what is of `day`.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(crate) fn open(path: &Path, code_key: SecretBox<HmacSha256Key>, day: u64) -> io::Result<Self> {
        let mut content = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut content).map(|_| ())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let failures = count(&code_key, &content, day);
        let mut kept = path.as_os_str().to_owned();
        kept.push(format!(".new.{}", std::process::id()));
        let kept = Path::new(&kept);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_MODE).open(kept)?;
        for (tag, times) in &failures {
            let record = record(&code_key, tag, day);
            (0..*times).try_for_each(|_| file.write_all(&record))?;
        }
        file.sync_all()?;
        std::fs::rename(kept, path)?;
        Ok(Self { code_key, state: Mutex::new(State { file, day, failures }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Failures of a card on this day.
    pub fn failures(&self, tag: &Tag, day: u64) -> u32 {
        let state = self.state();
        if state.day == day { state.failures.get(tag).copied().unwrap_or(0) } else { 0 }
    }

    /// Writes a failure down.
    ///
    /// # Errors
    /// If the file takes no more.
    pub fn note(&self, tag: &Tag, day: u64) -> io::Result<()> {
        let record = record(&self.code_key, tag, day);
        let mut state = self.state();
        if state.day != day {
            state.file.set_len(0)?;
            io::Seek::rewind(&mut state.file)?;
            (state.day, state.failures) = (day, BTreeMap::new());
        }
        state.file.write_all(&record)?;
        *state.failures.entry(*tag).or_insert(0) += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretBox<HmacSha256Key> {
        SecretBox::new(|| HmacSha256Key::new(&[3; 32]))
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("irontill-tries-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn failures_outlive_the_process_but_not_the_day() {
        let folder = folder("days");
        let path = folder.join("tries");
        let tries = TryFile::open(&path, key(), 100).unwrap();
        for _ in 0..3 {
            tries.note(&[1; 16], 100).unwrap();
        }
        tries.note(&[2; 16], 100).unwrap();
        drop(tries);
        let again = TryFile::open(&path, key(), 100).unwrap();
        assert_eq!((again.failures(&[1; 16], 100), again.failures(&[2; 16], 100)), (3, 1));
        assert_eq!(again.failures(&[1; 16], 101), 0);
        again.note(&[2; 16], 101).unwrap();
        assert_eq!((again.failures(&[1; 16], 101), again.failures(&[2; 16], 101)), (0, 1));
        drop(again);
        assert_eq!(TryFile::open(&path, key(), 102).unwrap().failures(&[2; 16], 101), 0);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn torn_and_foreign_records_count_for_nothing() {
        let own = record(&key(), &[1; 16], 7);
        let foreign = record(&HmacSha256Key::new(&[4; 32]), &[1; 16], 7);
        let content = [&own[..], &foreign, &own, &own[..RECORD_BYTES - 1]].concat();
        assert_eq!(count(&key(), &content, 7).get(&[1; 16]), Some(&2));
        assert!(count(&key(), &content, 8).is_empty());
    }
}
