//! The whole-file check: every chain from its first record, every posting, every balance.

use crate::append::unsigned;
use crate::journal::open_seal;
use crate::query::machine_name;
use crate::{SqliteStore, medium};
use machine::MachineId;
use machine::frame::{self, ChainHead};
use machine::store::StoreFault;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// Findings reported at most; a ruined file would otherwise report each of its rows.
const FINDINGS_MAX: usize = 100;

/// What the check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verification {
    /// Machines read.
    pub machines: u64,
    /// Records whose frame and chain were verified.
    pub records: u64,
    /// Postings summed.
    pub postings: u64,
    /// Balances compared with the sum of their legs.
    pub balances: u64,
    /// Everything that is wrong, in words; empty for a sound file.
    pub findings: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn finding(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }
}

/// A machine while its chain is followed through the file.
struct Chain {
    machine: MachineId,
    head: ChainHead,
    sequence: u64,
    last_row: i64,
    broken: bool,
}

impl SqliteStore {
    /// Checks the whole file in one read transaction. A sound file has: pages that SQLite finds in order; for each machine
    /// an unbroken chain that ends where the file says; postings that sum to zero in each currency and belong to a
    /// written record; balances that equal the sums of their legs.
    pub fn verify(&self) -> Result<Verification, StoreFault> {
        let transaction = self.connection.unchecked_transaction().map_err(medium)?;
        let mut report = Verification::default();
        check_pages(&transaction, &mut report).map_err(medium)?;
        self.check_chains(&transaction, &mut report)?;
        check_postings(&transaction, &mut report).map_err(medium)?;
        check_balances(&transaction, &mut report).map_err(medium)?;
        Ok(report)
    }

    fn check_chains(&self, connection: &Connection, report: &mut Verification) -> Result<(), StoreFault> {
        let mut chains = read_machines(connection).map_err(medium)?;
        report.machines = chains.len() as u64;
        let mut statement = connection
            .prepare("SELECT number, machine, sequence, previous, frame FROM journal ORDER BY number")
            .map_err(medium)?;
        let mut rows = statement.query([]).map_err(medium)?;
        while let Some(row) = rows.next().map_err(medium)? {
            let number: i64 = row.get(0).map_err(medium)?;
            let owner: i64 = row.get(1).map_err(medium)?;
            let previous: i64 = row.get(3).map_err(medium)?;
            let frame = row.get_ref(4).and_then(|value| Ok(value.as_blob()?)).map_err(medium)?;
            match chains.get_mut(&owner) {
                Some(chain) => self.check_frame(chain, number, previous, frame, report),
                None => report.finding(format!("journal row {number} belongs to no machine")),
            }
        }
        check_ends(connection, &chains, report).map_err(medium)
    }

    fn check_frame(&self, chain: &mut Chain, number: i64, previous: i64, bytes: &[u8], report: &mut Verification) {
        if chain.broken {
            return;
        }
        let sequence = chain.sequence + 1;
        let machine = chain.machine;
        let opened = frame::open(chain.head, sequence, bytes);
        let (payload, head) = match opened {
            Ok(opened) if previous == chain.last_row => opened,
            Ok(_) => return chain.broken_by(report, format!("record {sequence} of {machine} is linked wrongly")),
            Err(damage) => return chain.broken_by(report, format!("journal of {machine}: {damage}")),
        };
        if let Err(fault) = open_seal(self.seal.as_deref(), machine, sequence, payload) {
            return chain.broken_by(report, fault.to_string());
        }
        (chain.head, chain.sequence, chain.last_row) = (head, sequence, number);
        report.records += 1;
    }
}

impl Chain {
    fn broken_by(&mut self, report: &mut Verification, what: String) {
        self.broken = true;
        report.finding(what);
    }
}

fn check_pages(connection: &Connection, report: &mut Verification) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        let line = line?;
        if line != "ok" {
            report.finding(format!("file: {line}"));
        }
    }
    Ok(())
}

fn read_machines(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, Chain>> {
    let mut statement = connection.prepare("SELECT number, name FROM machine")?;
    let rows = statement.query_map([], |row| {
        let machine = machine_name(row.get(1)?)?;
        let head = ChainHead::genesis(machine);
        Ok((row.get(0)?, Chain { machine, head, sequence: 0, last_row: 0, broken: false }))
    })?;
    rows.collect()
}

fn check_ends(
    connection: &Connection,
    chains: &BTreeMap<i64, Chain>,
    report: &mut Verification,
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare("SELECT last_sequence, last_row, chain, snapshot_sequence FROM machine WHERE number = ?1")?;
    for (number, chain) in chains.iter().filter(|(_, chain)| !chain.broken) {
        let (last, row, head, snapshot) = statement.query_row(params![number], |row| {
            Ok((unsigned(row.get(0)?), row.get::<_, i64>(1)?, row.get::<_, [u8; 32]>(2)?, unsigned(row.get(3)?)))
        })?;
        if (last, row, head) != (chain.sequence, chain.last_row, chain.head.0) {
            let (machine, found) = (chain.machine, chain.sequence);
            report.finding(format!("journal of {machine}: {last} records stated, {found} found"));
        }
        if snapshot > last {
            report.finding(format!("journal of {}: its snapshot lies behind its end", chain.machine));
        }
    }
    Ok(())
}

fn check_postings(connection: &Connection, report: &mut Verification) -> rusqlite::Result<()> {
    report.postings = connection.query_row("SELECT count(*) FROM posting", [], |row| row.get(0)).map(unsigned)?;
    let each = |report: &mut Verification, sql: &str, what: &str| -> rusqlite::Result<()> {
        let mut statement = connection.prepare(sql)?;
        for name in statement.query_map([], |row| row.get::<_, String>(0))? {
            report.finding(format!("posting {}: {what}", name?));
        }
        Ok(())
    };
    each(
        report,
        "SELECT posting.id FROM posting JOIN leg ON leg.posting = posting.number
         GROUP BY posting.number, leg.currency HAVING sum(leg.delta_minor) <> 0",
        "its legs do not sum to zero",
    )?;
    each(
        report,
        "SELECT posting.id FROM posting WHERE NOT EXISTS (SELECT 1 FROM leg WHERE leg.posting = posting.number)",
        "it has no legs",
    )?;
    each(
        report,
        "SELECT posting.id FROM posting LEFT JOIN machine ON machine.number = posting.machine
         WHERE machine.number IS NULL OR posting.sequence > machine.last_sequence",
        "it belongs to no written record",
    )?;
    each(
        report,
        "SELECT 'number ' || leg.posting FROM leg LEFT JOIN posting ON posting.number = leg.posting
         WHERE posting.number IS NULL",
        "a leg without its posting",
    )
}

fn check_balances(connection: &Connection, report: &mut Verification) -> rusqlite::Result<()> {
    report.balances = connection.query_row("SELECT count(*) FROM balance", [], |row| row.get(0)).map(unsigned)?;
    let mut statement = connection.prepare(
        "SELECT account, currency FROM
            (SELECT account, currency, sum(delta_minor) AS total FROM leg GROUP BY account, currency)
            FULL OUTER JOIN balance USING (account, currency)
            WHERE coalesce(total, 0) <> coalesce(balance_minor, 0)",
    )?;
    for named in statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))? {
        let (account, currency) = named?;
        report.finding(format!("balance of {account} in currency {currency:03} is not the sum of its legs"));
    }
    let mut statement =
        connection.prepare("SELECT currency FROM leg GROUP BY currency HAVING sum(delta_minor) <> 0")?;
    for currency in statement.query_map([], |row| row.get::<_, i64>(0))? {
        report.finding(format!("currency {:03} does not sum to zero", currency?));
    }
    Ok(())
}
