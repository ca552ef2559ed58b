//! The append: a group of machines' records and rows in one transaction, one answer for each.
//!
//! Each append is first judged (version, unique keys, balances) by reading only, and written only if nothing refuses it.
//! So a refusal leaves nothing to undo and needs no savepoint; the single writer's transaction keeps what was read true.
//! Later appends of the group see what earlier ones wrote.

use crate::medium;
use crate::seal::{RecordSeal, SEAL_OVERHEAD_BYTES_MAX};
use machine::frame::{self, ChainHead};
use machine::store::{AccountName, Append, GuardFailure, Leg, Outcome, Row, StoreFault};
use machine::wire::BYTES_MAX;
use machine::{Durable, MachineId};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::{BTreeMap, BTreeSet};
use types::Currency;

/// Space under which a posting id that stands already is reported as taken.
pub const POSTING_SPACE: &str = "posting";

/// The end of one machine's journal.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Row in `machine`; 0 for a machine that has none yet.
    number: i64,
    last_sequence: u64,
    last_row: i64,
    chain: ChainHead,
}

/// Ends of journals already read. Valid while no other connection has changed the file.
#[derive(Default)]
pub(crate) struct Heads {
    known: BTreeMap<MachineId, Head>,
    data_version: Option<i64>,
    foreign_write: bool,
}

/// Writes the group; any error has rolled all of it back, or leaves it to recovery on the next opening.
pub(crate) fn append_group(
    connection: &mut Connection,
    heads: &mut Heads,
    seal: Option<&dyn RecordSeal>,
    group: &[Append],
) -> Result<Vec<Outcome>, StoreFault> {
    group.iter().try_for_each(check_shape)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(medium)?;
    heads.forget_if_foreign_write(&transaction).map_err(medium)?;
    let mut outcomes = Vec::with_capacity(group.len());
    for append in group {
        outcomes.push(append_one(&transaction, heads, seal, append)?);
    }
    // Returns after the write-ahead log is synced: from here on the durability proofs are true.
    transaction.commit().map_err(medium)?;
    Ok(outcomes)
}

/// Refuses what a correct caller never hands in. Asserted here once more, after `ledger` asserted it at construction.
fn check_shape(append: &Append) -> Result<(), StoreFault> {
    let bug = |what: &str| Err(StoreFault::Medium(format!("append of {}: {what}", append.machine)));
    if append.first_sequence == 0 {
        return bug("records are numbered from 1");
    }
    if append.records.iter().any(|record| record.len() > BYTES_MAX - SEAL_OVERHEAD_BYTES_MAX) {
        return bug("a record is too long");
    }
    for row in &append.rows {
        if let Row::Posting { id, legs } = row
            && !sums_to_zero(legs)
        {
            return bug(&format!("posting {id} does not sum to zero"));
        }
    }
    Ok(())
}

fn sums_to_zero(legs: &[Leg]) -> bool {
    let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
    for leg in legs {
        *sums.entry(leg.currency).or_default() += i128::from(leg.delta_minor);
    }
    !legs.is_empty() && sums.values().all(|sum| *sum == 0)
}

fn append_one(
    connection: &Connection,
    heads: &mut Heads,
    seal: Option<&dyn RecordSeal>,
    append: &Append,
) -> Result<Outcome, StoreFault> {
    let head = heads.of(connection, append.machine).map_err(medium)?;
    if head.last_sequence.checked_add(1) != Some(append.first_sequence) {
        return Ok(Outcome::Conflict);
    }
    let judged = match judge(connection, append)? {
        Ok(judged) => judged,
        Err(failure) => return Ok(Outcome::GuardFailed(failure)),
    };
    let head = write(connection, head, seal, append, &judged)?;
    heads.known.insert(append.machine, head);
    Ok(Outcome::Durable(Durable::assertion(append.machine, head.last_sequence)))
}

/// What judging learned and writing needs.
struct Judged<'a> {
    /// Every balance that moves, as it will be.
    balances: BTreeMap<(&'a AccountName, Currency), i64>,
}

/// Reads everything a guard asks about. Taken keys are reported before balances: a repeated intent must be recognised
/// as such even if its money would no longer be there.
fn judge<'a>(connection: &Connection, append: &'a Append) -> Result<Result<Judged<'a>, GuardFailure>, StoreFault> {
    if let Some(failure) = judge_keys(connection, append).map_err(medium)? {
        return Ok(Err(failure));
    }
    let balances = moved_balances(connection, append)?;
    for row in &append.rows {
        let Row::BalanceAtLeast { account, currency, floor_minor } = row else { continue };
        let would_be_minor = match balances.get(&(account, *currency)) {
            Some(balance) => *balance,
            None => read_balance(connection, account.text(), *currency).map_err(medium)?.unwrap_or(0),
        };
        if would_be_minor < *floor_minor {
            return Ok(Err(GuardFailure::Balance { account: account.clone(), would_be_minor }));
        }
    }
    Ok(Ok(Judged { balances }))
}

fn judge_keys(connection: &Connection, append: &Append) -> rusqlite::Result<Option<GuardFailure>> {
    let mut own: BTreeMap<(&str, &[u8]), &[u8]> = BTreeMap::new();
    let mut own_postings: BTreeSet<&str> = BTreeSet::new();
    for row in &append.rows {
        match row {
            Row::Unique { space, key, value } => {
                let taken = match own.get(&(*space, key.as_slice())) {
                    Some(value) => Some(value.to_vec()),
                    None => find_fact(connection, space, key)?,
                };
                if let Some(value) = taken {
                    return Ok(Some(GuardFailure::Taken { space, key: key.clone(), value }));
                }
                own.insert((space, key), value);
            }
            Row::Put { space, key, value } => {
                own.insert((space, key), value);
            }
            Row::Posting { id, .. } => {
                if !own_postings.insert(id) || posting_exists(connection, id)? {
                    let key = id.clone().into_bytes();
                    return Ok(Some(GuardFailure::Taken { space: POSTING_SPACE, key, value: Vec::new() }));
                }
            }
            Row::BalanceAtLeast { .. } => {}
        }
    }
    Ok(None)
}

fn moved_balances<'a>(
    connection: &Connection,
    append: &'a Append,
) -> Result<BTreeMap<(&'a AccountName, Currency), i64>, StoreFault> {
    let mut balances = BTreeMap::new();
    for leg in append.rows.iter().flat_map(legs_of) {
        let key = (&leg.account, leg.currency);
        let before = match balances.get(&key) {
            Some(balance) => *balance,
            None => read_balance(connection, leg.account.text(), leg.currency).map_err(medium)?.unwrap_or(0),
        };
        let after = before.checked_add(leg.delta_minor).ok_or_else(|| {
            StoreFault::Medium(format!("append of {}: a balance would leave its range", append.machine))
        })?;
        balances.insert(key, after);
    }
    Ok(balances)
}

fn legs_of(row: &Row) -> &[Leg] {
    match row {
        Row::Posting { legs, .. } => legs,
        _ => &[],
    }
}

fn write(
    connection: &Connection,
    head: Head,
    seal: Option<&dyn RecordSeal>,
    append: &Append,
    judged: &Judged<'_>,
) -> Result<Head, StoreFault> {
    if append.records.is_empty() && append.rows.is_empty() {
        return Ok(head);
    }
    let head = ensure_machine(connection, append.machine, head).map_err(medium)?;
    let head = write_records(connection, head, seal, append)?;
    for row in &append.rows {
        write_row(connection, &head, row).map_err(medium)?;
    }
    for ((account, currency), balance_minor) in &judged.balances {
        write_balance(connection, account.text(), *currency, *balance_minor).map_err(medium)?;
    }
    Ok(head)
}

fn write_records(
    connection: &Connection,
    mut head: Head,
    seal: Option<&dyn RecordSeal>,
    append: &Append,
) -> Result<Head, StoreFault> {
    let before = head;
    let mut ahead_of_last = head;
    for record in &append.records {
        ahead_of_last = head;
        head = write_record(connection, head, seal, append.machine, record)?;
    }
    if head.last_sequence == before.last_sequence {
        return Ok(head);
    }
    let changed = connection
        .prepare_cached(
            "UPDATE machine SET last_sequence = ?1, last_row = ?2, chain = ?3 WHERE number = ?4 AND last_sequence = ?5",
        )
        .and_then(|mut statement| {
            let numbers = (signed(head.last_sequence), signed(before.last_sequence));
            statement.execute(params![numbers.0, head.last_row, head.chain.0, head.number, numbers.1])
        })
        .map_err(medium)?;
    if changed != 1 {
        return Err(StoreFault::Medium(format!("the end of {}'s journal moved inside a transaction", append.machine)));
    }
    if append.snapshot {
        mark_snapshot(connection, &head, ahead_of_last.chain).map_err(medium)?;
    }
    Ok(head)
}

fn write_record(
    connection: &Connection,
    head: Head,
    seal: Option<&dyn RecordSeal>,
    machine: MachineId,
    record: &[u8],
) -> Result<Head, StoreFault> {
    let sequence = head.last_sequence + 1;
    let sealed = seal.map(|seal| seal.seal(machine, sequence, record));
    let payload = sealed.as_deref().unwrap_or(record);
    if payload.len() > BYTES_MAX {
        return Err(StoreFault::Medium(format!("record {sequence} of {machine} is too long once sealed")));
    }
    let (frame, chain) = frame::seal(head.chain, sequence, payload);
    connection
        .prepare_cached("INSERT INTO journal (machine, sequence, previous, frame) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut statement| statement.insert(params![head.number, signed(sequence), head.last_row, frame]))
        .map(|row| Head { number: head.number, last_sequence: sequence, last_row: row, chain })
        .map_err(medium)
}

fn mark_snapshot(connection: &Connection, head: &Head, chain_before: ChainHead) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE machine SET snapshot_sequence = ?1, snapshot_row = ?2, snapshot_chain = ?3 WHERE number = ?4",
        )?
        .execute(params![signed(head.last_sequence), head.last_row, chain_before.0, head.number])
        .map(drop)
}

fn ensure_machine(connection: &Connection, machine: MachineId, head: Head) -> rusqlite::Result<Head> {
    if head.number != 0 {
        return Ok(head);
    }
    let number = connection
        .prepare_cached(
            "INSERT INTO machine (name, last_sequence, last_row, chain, snapshot_sequence, snapshot_row, snapshot_chain)
             VALUES (?1, 0, 0, ?2, 0, 0, ?2)",
        )?
        .insert(params![machine.text(), head.chain.0])?;
    Ok(Head { number, ..head })
}

fn write_row(connection: &Connection, head: &Head, row: &Row) -> rusqlite::Result<()> {
    match row {
        Row::Unique { space, key, value } => connection
            .prepare_cached("INSERT INTO fact (space, key, value) VALUES (?1, ?2, ?3)")?
            .execute(params![space, key, value])
            .map(drop),
        Row::Put { space, key, value } => connection
            .prepare_cached(
                "INSERT INTO fact (space, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![space, key, value])
            .map(drop),
        Row::Posting { id, legs } => write_posting(connection, head, id, legs),
        Row::BalanceAtLeast { .. } => Ok(()),
    }
}

fn write_posting(connection: &Connection, head: &Head, id: &str, legs: &[Leg]) -> rusqlite::Result<()> {
    let posting = connection
        .prepare_cached("INSERT INTO posting (id, machine, sequence) VALUES (?1, ?2, ?3)")?
        .insert(params![id, head.number, signed(head.last_sequence)])?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO leg (posting, position, account, currency, delta_minor) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, leg) in legs.iter().enumerate() {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        statement.execute(params![posting, position, leg.account.text(), leg.currency.numeric(), leg.delta_minor])?;
    }
    Ok(())
}

fn write_balance(
    connection: &Connection,
    account: &str,
    currency: Currency,
    balance_minor: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO balance (account, currency, balance_minor) VALUES (?1, ?2, ?3)
             ON CONFLICT (account, currency) DO UPDATE SET balance_minor = excluded.balance_minor",
        )?
        .execute(params![account, currency.numeric(), balance_minor])
        .map(drop)
}

/// The value of a unique or put key.
pub(crate) fn find_fact(connection: &Connection, space: &str, key: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT value FROM fact WHERE space = ?1 AND key = ?2")?
        .query_row(params![space, key], |row| row.get(0))
        .optional()
}

fn posting_exists(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM posting WHERE id = ?1")?.exists(params![id])
}

/// A materialised balance; `None` for an account that never moved.
pub(crate) fn read_balance(
    connection: &Connection,
    account: &str,
    currency: Currency,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT balance_minor FROM balance WHERE account = ?1 AND currency = ?2")?
        .query_row(params![account, currency.numeric()], |row| row.get(0))
        .optional()
}

impl Heads {
    /// Another process may have appended since: then what is remembered is worth nothing.
    fn forget_if_foreign_write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.data_version.is_some_and(|known| known != version) {
            self.known.clear();
            self.foreign_write = true;
        }
        self.data_version = Some(version);
        Ok(())
    }

    /// Whether another connection has written since this was last asked.
    pub(crate) fn take_foreign_write(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        self.forget_if_foreign_write(connection)?;
        Ok(std::mem::take(&mut self.foreign_write))
    }

    fn of(&mut self, connection: &Connection, machine: MachineId) -> rusqlite::Result<Head> {
        if let Some(head) = self.known.get(&machine) {
            return Ok(*head);
        }
        let stored = connection
            .prepare_cached("SELECT number, last_sequence, last_row, chain FROM machine WHERE name = ?1")?
            .query_row(params![machine.text()], |row| {
                let last_sequence = unsigned(row.get(1)?);
                Ok(Head { number: row.get(0)?, last_sequence, last_row: row.get(2)?, chain: ChainHead(row.get(3)?) })
            })
            .optional()?;
        let genesis = Head { number: 0, last_sequence: 0, last_row: 0, chain: ChainHead::genesis(machine) };
        Ok(stored.unwrap_or(genesis))
    }
}

/// Sequences are stored as SQLite's signed integers; a journal of 2^63 records does not come about.
pub(crate) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).expect("a journal has fewer than 2^63 records")
}

/// Back from SQLite. A negative number can only be damage; zero makes the chain check fail on it.
pub(crate) fn unsigned(sequence: i64) -> u64 {
    u64::try_from(sequence).unwrap_or(0)
}
