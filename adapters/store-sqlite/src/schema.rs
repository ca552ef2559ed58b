//! The file: its tables, its settings, and how it is opened.

use crate::{BUSY_TIMEOUT_MS, CHECKPOINT_PAGES, medium};
use machine::store::StoreFault;
use rusqlite::{Connection, OpenFlags};
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks our files (`IRTL`), so that no other SQLite file is taken for a journal.
const APPLICATION_ID: i64 = 0x4952_544C;
/// Version of the tables. Later versions migrate; they never refuse an older file.
const SCHEMA_VERSION: i64 = 1;

/// `journal` grows only at its end: each row names its machine's previous row, so no index page is touched by an append.
/// `machine` holds the two ends of that list and the hash that the next frame continues.
const TABLES: &str = "
CREATE TABLE machine (
    number            INTEGER PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    last_sequence     INTEGER NOT NULL,
    last_row          INTEGER NOT NULL,
    chain             BLOB NOT NULL,
    snapshot_sequence INTEGER NOT NULL,
    snapshot_row      INTEGER NOT NULL,
    snapshot_chain    BLOB NOT NULL
) STRICT;
CREATE TABLE journal (
    number   INTEGER PRIMARY KEY,
    machine  INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    frame    BLOB NOT NULL
) STRICT;
CREATE TABLE fact (
    space  TEXT NOT NULL,
    key    BLOB NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE posting (
    number   INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    machine  INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE leg (
    posting     INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    account     TEXT NOT NULL,
    currency    INTEGER NOT NULL,
    delta_minor INTEGER NOT NULL,
    PRIMARY KEY (posting, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE balance (
    account       TEXT NOT NULL,
    currency      INTEGER NOT NULL,
    balance_minor INTEGER NOT NULL,
    PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;
";

/// Opens or makes the file for the one writer.
pub(crate) fn open_for_writing(path: &Path) -> Result<Connection, StoreFault> {
    let fresh = create_private(path).map_err(|error| in_file(path, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).map_err(medium)?;
    let connection = prepared(opened, |error| unopened(path, error))?;
    if fresh {
        sync_folder(path).map_err(|error| in_file(path, &error))?;
    }
    Ok(connection)
}

/// Opens or makes a file that is none of the operating system's.
pub(crate) fn open_in_vfs(path: &Path, vfs: &CStr) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepared(Connection::open_with_flags_and_vfs(path, flags, vfs).map_err(medium)?, medium)
}

fn prepared(
    mut connection: Connection,
    unopened: impl Fn(rusqlite::Error) -> StoreFault,
) -> Result<Connection, StoreFault> {
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS)).map_err(medium)?;
    configure(&connection).map_err(unopened)?;
    prepare_tables(&mut connection)?;
    Ok(connection)
}

/// Opens an existing file without the right to change it.
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(medium)?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS)).map_err(medium)?;
    check_version(read_mark(&connection)?)?;
    Ok(connection)
}

/// Makes the file with mode 600 before SQLite would make it with the process's mask; log and index inherit the mode.
fn create_private(path: &Path) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the new file's name durable: SQLite syncs contents, not the folder of a fresh database.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -64 * 1024)
}

fn prepare_tables(connection: &mut Connection) -> Result<(), StoreFault> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(medium)?;
    match read_mark(&transaction)? {
        (0, 0) => {
            transaction.execute_batch(TABLES).map_err(medium)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(medium)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(medium)?;
        }
        mark => check_version(mark)?,
    }
    transaction.commit().map_err(medium)
}

fn read_mark(connection: &Connection) -> Result<(i64, i64), StoreFault> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(medium);
    Ok((pragma("application_id")?, pragma("user_version")?))
}

fn check_version((application, version): (i64, i64)) -> Result<(), StoreFault> {
    if application != APPLICATION_ID {
        return Err(StoreFault::Medium("the file is not an Irontill store".to_owned()));
    }
    if version != SCHEMA_VERSION {
        return Err(StoreFault::Medium(format!("store version {version} is newer than this program")));
    }
    Ok(())
}

/// SQLite says of a log or index that it cannot make only that it cannot; what the system says of them is asked for here. An empty
/// log is none to SQLite. An index that is there is never opened: closing it would drop the locks that this process has on it.
fn unopened(path: &Path, error: rusqlite::Error) -> StoreFault {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (log, index) = (beside("-wal"), beside("-shm"));
    let refusal = |path: &Path, options: &mut OpenOptions| {
        let cause = options.write(true).mode(0o600).open(path).err()?;
        (cause.kind() != io::ErrorKind::AlreadyExists).then(|| format!(": {}: {cause}", path.display()))
    };
    let cannot_open = error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen);
    let refused = if cannot_open {
        refusal(&log, OpenOptions::new().create(true).truncate(false))
            .or_else(|| refusal(&index, OpenOptions::new().create_new(true)))
    } else {
        None
    };
    StoreFault::Medium(format!("{}: {error}{}", path.display(), refused.unwrap_or_default()))
}

fn in_file(path: &Path, error: &io::Error) -> StoreFault {
    StoreFault::Medium(format!("{}: {error}", path.display()))
}
