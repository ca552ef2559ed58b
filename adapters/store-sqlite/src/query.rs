//! Reading beside the hot path: what `explain`, reports and audits ask.

use crate::append::unsigned;
use crate::journal::{self, From};
use crate::{SqliteStore, medium};
use machine::MachineId;
use machine::store::StoreFault;
use rusqlite::{OptionalExtension, params};
use types::Currency;

/// One machine of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineSummary {
    /// Its name.
    pub machine: MachineId,
    /// Number of its last record.
    pub last_sequence: u64,
    /// Number of its newest snapshot record, 0 if it has none.
    pub snapshot_sequence: u64,
}

/// One record of a journal listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalEntry {
    /// Its number within its machine.
    pub sequence: u64,
    /// The record, opened.
    pub record: Vec<u8>,
}

/// One side of a posting, as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostedLeg {
    /// The account.
    pub account: String,
    /// Its currency.
    pub currency: Currency,
    /// Change in minor units.
    pub delta_minor: i64,
}

/// A posting, as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostingSummary {
    /// Its unique id.
    pub id: String,
    /// The machine that posted it.
    pub machine: MachineId,
    /// Number of that machine's last record of the same append.
    pub sequence: u64,
    /// Its sides, in order.
    pub legs: Vec<PostedLeg>,
}

/// A unique or put key with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The key within its space.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// A balance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balance {
    /// The account.
    pub account: String,
    /// The currency.
    pub currency: Currency,
    /// Minor units.
    pub balance_minor: i64,
}

const POSTING_COLUMNS: &str = "SELECT posting.number, posting.id, machine.name, posting.sequence
     FROM posting JOIN machine ON machine.number = posting.machine";

impl SqliteStore {
    /// Every machine that ever wrote, by name.
    pub fn machines(&self) -> Result<Vec<MachineSummary>, StoreFault> {
        let sql = "SELECT name, last_sequence, snapshot_sequence FROM machine ORDER BY name";
        self.rows(sql, params![], |row| {
            Ok(MachineSummary {
                machine: machine_name(row.get(0)?)?,
                last_sequence: unsigned(row.get(1)?),
                snapshot_sequence: unsigned(row.get(2)?),
            })
        })
    }

    /// Number of a machine's last record; 0 if it has none.
    pub fn last_sequence(&self, machine: MachineId) -> Result<u64, StoreFault> {
        let transaction = self.connection.unchecked_transaction().map_err(medium)?;
        Ok(journal::read_ends(&transaction, machine).map_err(medium)?.map_or(0, |ends| ends.last_sequence))
    }

    /// Every record of a machine from its first on, also those before the newest snapshot; the chain is verified.
    pub fn journal(&self, machine: MachineId) -> Result<Vec<JournalEntry>, StoreFault> {
        self.journal_after(machine, 0)
    }

    /// The records of a machine behind the one of this number; the chain from there on is verified.
    pub fn journal_after(&self, machine: MachineId, last_known: u64) -> Result<Vec<JournalEntry>, StoreFault> {
        let transaction = self.connection.unchecked_transaction().map_err(medium)?;
        let Some(ends) = journal::read_ends(&transaction, machine).map_err(medium)? else { return Ok(Vec::new()) };
        let from = if last_known == 0 { From::Beginning } else { From::After(last_known) };
        let records = journal::read_records(&transaction, self.seal.as_deref(), machine, &ends, from)?;
        Ok((last_known + 1..).zip(records).map(|(sequence, record)| JournalEntry { sequence, record }).collect())
    }

    /// The posting of this id.
    pub fn posting(&self, id: &str) -> Result<Option<PostingSummary>, StoreFault> {
        Ok(self.postings(&format!("{POSTING_COLUMNS} WHERE posting.id = ?1"), params![id])?.pop())
    }

    /// Postings whose id begins with `prefix` (an intent's postings share one), in the order in which they were made.
    pub fn postings_with_prefix(&self, prefix: &str) -> Result<Vec<PostingSummary>, StoreFault> {
        let sql = format!("{POSTING_COLUMNS} WHERE substr(posting.id, 1, ?1) = ?2 ORDER BY posting.number");
        let length = i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX);
        self.postings(&sql, params![length, prefix])
    }

    /// Postings that went with one record of a machine.
    pub fn postings_of_record(&self, machine: MachineId, sequence: u64) -> Result<Vec<PostingSummary>, StoreFault> {
        let sql =
            format!("{POSTING_COLUMNS} WHERE machine.name = ?1 AND posting.sequence = ?2 ORDER BY posting.number");
        self.postings(&sql, params![machine.text(), i64::try_from(sequence).unwrap_or(i64::MAX)])
    }

    /// Keys of a space that begin with `prefix`, in key order, at most `limit`.
    pub fn facts(&self, space: &str, prefix: &[u8], limit: usize) -> Result<Vec<Fact>, StoreFault> {
        let sql = "SELECT key, value FROM fact WHERE space = ?1 AND key >= ?2 AND substr(key, 1, ?3) = ?2
             ORDER BY key LIMIT ?4";
        let (length, limit) = (prefix.len(), i64::try_from(limit).unwrap_or(i64::MAX));
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        self.rows(sql, params![space, prefix, length, limit], |row| Ok(Fact { key: row.get(0)?, value: row.get(1)? }))
    }

    /// Keys of a space from one up to but without another, in key order, at most `limit`.
    pub fn facts_between(&self, space: &str, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Fact>, StoreFault> {
        let sql = "SELECT key, value FROM fact WHERE space = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(sql, params![space, from, until, limit], |row| Ok(Fact { key: row.get(0)?, value: row.get(1)? }))
    }

    /// Every balance, by account.
    pub fn balances(&self) -> Result<Vec<Balance>, StoreFault> {
        let sql = "SELECT account, currency, balance_minor FROM balance ORDER BY account, currency";
        self.rows(sql, params![], balance)
    }

    /// Balances of the accounts whose name begins with `prefix`, by account.
    pub fn balances_with_prefix(&self, prefix: &str) -> Result<Vec<Balance>, StoreFault> {
        let sql = "SELECT account, currency, balance_minor FROM balance WHERE account >= ?1 AND account < ?2
             ORDER BY account, currency";
        // No account's name holds the last character that there is.
        self.rows(sql, params![prefix, format!("{prefix}{}", char::MAX)], balance)
    }

    /// Whether a unique or put key exists.
    pub fn has_fact(&self, space: &str, key: &[u8]) -> Result<bool, StoreFault> {
        let sql = "SELECT 1 FROM fact WHERE space = ?1 AND key = ?2";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params![space, key], |_| Ok(())).optional());
        Ok(found.map_err(medium)?.is_some())
    }

    fn postings(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<Vec<PostingSummary>, StoreFault> {
        let numbered = self.rows(sql, parameters, |row| {
            let (machine, sequence) = (machine_name(row.get(2)?)?, unsigned(row.get(3)?));
            Ok((row.get(0)?, PostingSummary { id: row.get(1)?, machine, sequence, legs: Vec::new() }))
        })?;
        let with_legs = |(number, posting)| Ok(PostingSummary { legs: self.legs(number)?, ..posting });
        numbered.into_iter().map(with_legs).collect()
    }

    fn legs(&self, posting: i64) -> Result<Vec<PostedLeg>, StoreFault> {
        let sql = "SELECT account, currency, delta_minor FROM leg WHERE posting = ?1 ORDER BY position";
        self.rows(sql, params![posting], |row| {
            let currency = currency_code(row.get(1)?)?;
            Ok(PostedLeg { account: row.get(0)?, currency, delta_minor: row.get(2)? })
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreFault> {
        let mut statement = self.connection.prepare_cached(sql).map_err(medium)?;
        let rows = statement.query_map(parameters, read).map_err(medium)?;
        rows.collect::<rusqlite::Result<_>>().map_err(medium)
    }
}

fn balance(row: &rusqlite::Row<'_>) -> rusqlite::Result<Balance> {
    Ok(Balance { account: row.get(0)?, currency: currency_code(row.get(1)?)?, balance_minor: row.get(2)? })
}

/// A stored machine name; a bad one is damage.
pub(crate) fn machine_name(name: String) -> rusqlite::Result<MachineId> {
    MachineId::new(&name).ok_or(rusqlite::Error::InvalidColumnName(name))
}

/// A stored currency code; a bad one is damage.
pub(crate) fn currency_code(code: i64) -> rusqlite::Result<Currency> {
    let currency = u16::try_from(code).ok().and_then(Currency::from_numeric);
    currency.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, code))
}
