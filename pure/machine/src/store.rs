//! The port through which records become durable, and the rows that a store keeps beside them.
//!
//! A store sees record bytes plus [`Row`]s, which a pure projection made of them. It writes both in one transaction,
//! checks every guard inside it, and answers per machine. Beyond that it understands nothing.

use crate::{Durable, MachineId};
use types::Currency;

/// A ledger account name: 1–64 printable ASCII characters, for example `merchant/123456789012345/payable`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountName(String);

/// Longest account name in bytes.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;

impl AccountName {
    /// Checks length and alphabet.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= ACCOUNT_NAME_BYTES_MAX;
        (fits && name.bytes().all(|byte| (0x21..0x7F).contains(&byte))).then_some(Self(name))
    }

    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// One side of a posting. The deltas of a posting sum to zero in each currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leg {
    /// The account that changes.
    pub account: AccountName,
    /// Minor units; positive increases the balance.
    pub delta_minor: i64,
    /// The currency of the delta; an account has one balance per currency.
    pub currency: Currency,
}

/// What a store writes beside the records of an append, in the same transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// A key that may exist once in its space. If it is there already, the append fails with [`GuardFailure::Taken`].
    Unique {
        /// Which set of keys: `intent`, `rrn`, `tombstone` …
        space: &'static str,
        /// The key.
        key: Vec<u8>,
        /// What a later look-up returns.
        value: Vec<u8>,
    },
    /// Sets a key, whether or not it is there.
    Put {
        /// Which set of keys.
        space: &'static str,
        /// The key.
        key: Vec<u8>,
        /// What a later look-up returns.
        value: Vec<u8>,
    },
    /// A double-entry posting.
    Posting {
        /// Names the posting for people and audits; unique.
        id: String,
        /// Its sides.
        legs: Vec<Leg>,
    },
    /// After all postings of this append, the balance must not be below the floor, else [`GuardFailure::Balance`].
    BalanceAtLeast {
        /// The account guarded.
        account: AccountName,
        /// Its currency.
        currency: Currency,
        /// Lowest balance allowed, in minor units.
        floor_minor: i64,
    },
}

/// One machine's records and rows, to be written together or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The machine.
    pub machine: MachineId,
    /// Number of the first record: the store refuses with [`Outcome::Conflict`] unless it follows the last one it has.
    pub first_sequence: u64,
    /// Encoded records in order.
    pub records: Vec<Vec<u8>>,
    /// Rows made from the records.
    pub rows: Vec<Row>,
    /// Set on a record that holds the machine's whole state: loading starts from the newest such record.
    pub snapshot: bool,
}

/// Which guard refused an append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GuardFailure {
    /// A unique key was there already.
    Taken {
        /// Its space.
        space: &'static str,
        /// The key.
        key: Vec<u8>,
        /// What the first writer stored.
        value: Vec<u8>,
    },
    /// A balance would fall below its floor.
    Balance {
        /// The account.
        account: AccountName,
        /// What the balance would have been.
        would_be_minor: i64,
    },
}

/// What became of one append of a group. One never fails the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Written and on stable storage.
    Durable(Durable),
    /// Another writer was faster: reload the machine and step the event again.
    Conflict,
    /// A guard refused; nothing of this append was written. The machine decides again.
    GuardFailed(GuardFailure),
}

/// Why a store cannot serve. The process stops: a store that cannot write must not be argued with.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The medium failed.
    #[error("store: {0}")]
    Medium(String),
    /// A journal is damaged; the message names the machine and the record.
    #[error("journal of {machine} is damaged: {damage}")]
    Damaged {
        /// Whose journal.
        machine: MachineId,
        /// What is wrong with it.
        damage: crate::frame::Damage,
    },
}

/// What loading a machine gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Journal {
    /// Encoded records from the newest snapshot on, in order.
    pub records: Vec<Vec<u8>>,
    /// Number of the last record (0 for a machine that has none).
    pub last_sequence: u64,
}

/// The port. Stores are synchronous; a driver decides on which thread to wait.
pub trait Store {
    /// Writes a group in one transaction and answers in the order of the group.
    fn append(&mut self, group: &[Append]) -> Result<Vec<Outcome>, StoreFault>;
    /// A machine's journal from its newest snapshot on, its chain verified.
    fn load(&mut self, machine: MachineId) -> Result<Journal, StoreFault>;
    /// Looks up a unique or put key.
    fn find(&mut self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault>;
    /// An account's balance in minor units (0 if it never moved).
    fn balance_minor(&mut self, account: &AccountName, currency: Currency) -> Result<i64, StoreFault>;
}
