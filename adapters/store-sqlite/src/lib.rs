//! Journal, facts and ledger in one bundled SQLite file.
//!
//! *Duty*: [`SqliteStore`], the [`machine::store::Store`] of terminals and of the default host: a group of appends in one
//! transaction, guards judged inside it, WAL with `synchronous=FULL`. *Knows*: frames, rows, balances; never what a record
//! means. *Never*: claims durability before SQLite has synced the log; goes on after a fault.
//! *Start here*: [`SqliteStore::open`], then `append.rs`; every store must pass [`conformance`].

mod append;
pub mod conformance;
mod journal;
mod query;
mod schema;
mod seal;
mod verify;

pub use query::{Balance, Fact, JournalEntry, MachineSummary, PostedLeg, PostingSummary};
pub use seal::{RecordSeal, SEAL_OVERHEAD_BYTES_MAX, SealRefused};
pub use verify::Verification;

use machine::MachineId;
use machine::store::{AccountName, Append, Journal, Outcome, Store, StoreFault};
use rusqlite::Connection;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use types::Currency;

/// How long a writer waits for another process that holds the write lock, in milliseconds.
pub const BUSY_TIMEOUT_MS: u64 = 5_000;
/// Pages in the write-ahead log after which a commit also checkpoints.
pub const CHECKPOINT_PAGES: u32 = 4_096;
/// Prepared statements kept.
const STATEMENTS_CACHED: usize = 64;

/// A store in one SQLite file.
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    heads: append::Heads,
    seal: Option<Box<dyn RecordSeal>>,
    /// Set by the first fault: what is on disk is then unknown until the file is opened anew.
    stopped: Option<String>,
}

impl SqliteStore {
    /// Opens the file, or makes it (readable by its owner only), and checks that it is one of ours.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        Self::open_with(path, None)
    }

    /// Like [`SqliteStore::open`], with every record sealed before it is framed.
    pub fn open_sealed(path: &Path, seal: Box<dyn RecordSeal>) -> Result<Self, StoreFault> {
        Self::open_with(path, Some(seal))
    }

    /// Opens or makes a file of another of SQLite's virtual file systems, for proofs: a disk whose power goes.
    pub fn open_in_vfs(path: &Path, vfs: &CStr) -> Result<Self, StoreFault> {
        Ok(Self::around(schema::open_in_vfs(path, vfs)?, path, None))
    }

    /// Opens an existing file for reading beside a running writer: `explain`, `verify`, exports.
    pub fn open_read_only(path: &Path, seal: Option<Box<dyn RecordSeal>>) -> Result<Self, StoreFault> {
        let connection = schema::open_read_only(path)?;
        Ok(Self::around(connection, path, seal))
    }

    fn open_with(path: &Path, seal: Option<Box<dyn RecordSeal>>) -> Result<Self, StoreFault> {
        let connection = schema::open_for_writing(path)?;
        Ok(Self::around(connection, path, seal))
    }

    fn around(connection: Connection, path: &Path, seal: Option<Box<dyn RecordSeal>>) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        Self { connection, path: path.to_owned(), heads: append::Heads::default(), seal, stopped: None }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another process has written to the file since this was last asked (or, at first, since the first append).
    pub fn written_by_others(&mut self) -> Result<bool, StoreFault> {
        self.heads.take_foreign_write(&self.connection).map_err(medium)
    }

    /// Limits the database file to a number of pages, as a full disk would. For tests of what a full disk does.
    pub fn limit_pages(&mut self, pages: u32) -> Result<(), StoreFault> {
        self.connection.pragma_update(None, "max_page_count", pages).map_err(medium)
    }

    /// Lets a commit checkpoint after fewer pages in the log than [`CHECKPOINT_PAGES`]. For tests of what a cut checkpoint does.
    pub fn checkpoint_after(&mut self, pages: u32) -> Result<(), StoreFault> {
        self.connection.pragma_update(None, "wal_autocheckpoint", pages).map_err(medium)
    }

    fn refuse_after_fault(&self) -> Result<(), StoreFault> {
        match &self.stopped {
            Some(cause) => Err(StoreFault::Medium(format!("stopped after an earlier fault: {cause}"))),
            None => Ok(()),
        }
    }
}

impl Store for SqliteStore {
    fn append(&mut self, group: &[Append]) -> Result<Vec<Outcome>, StoreFault> {
        self.refuse_after_fault()?;
        let seal = self.seal.as_deref();
        append::append_group(&mut self.connection, &mut self.heads, seal, group).inspect_err(|fault| {
            self.stopped = Some(fault.to_string());
        })
    }

    fn load(&mut self, machine: MachineId) -> Result<Journal, StoreFault> {
        self.refuse_after_fault()?;
        journal::load(&self.connection, self.seal.as_deref(), machine)
    }

    fn find(&mut self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.refuse_after_fault()?;
        append::find_fact(&self.connection, space, key).map_err(medium)
    }

    fn balance_minor(&mut self, account: &AccountName, currency: Currency) -> Result<i64, StoreFault> {
        self.refuse_after_fault()?;
        let balance = append::read_balance(&self.connection, account.text(), currency).map_err(medium)?;
        Ok(balance.unwrap_or(0))
    }
}

/// A SQLite error as the port's fault. SQLite's messages name statements and files, never values.
pub(crate) fn medium(error: rusqlite::Error) -> StoreFault {
    StoreFault::Medium(error.to_string())
}
