//! A disk that survives crashes: the store port in memory, atomic per append, with its own books.

use crate::canary::Canary;
use crate::sqlite_node::SqliteNode;
use ledger::{Intent, MessageClass};
use machine::frame::{self, ChainHead};
use machine::store::{AccountName, Append, GuardFailure, Journal, Outcome, Row, Store, StoreFault};
use machine::wire::Encode;
use machine::{Durable, MachineId};
use memory_disk::When;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use types::Currency;

#[derive(Default, Debug, Clone)]
struct Chain {
    /// Frames from the newest snapshot on; older ones are of no use to anybody in a simulation.
    frames: Vec<Vec<u8>>,
    /// Frames dropped before those.
    dropped: usize,
    /// The chain's head before the first frame kept, and its head now.
    base: Option<ChainHead>,
    head: Option<ChainHead>,
}

/// One posting as the bank would print it on a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// The posting's name.
    pub id: String,
    /// Account and change in minor units.
    pub legs: Vec<(String, i64)>,
}

/// Durable state of one node.
#[derive(Default, Debug, Clone)]
pub struct SimulatedStore {
    chains: BTreeMap<MachineId, Chain>,
    keys: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
    balances: HashMap<String, BTreeMap<u16, i64>>,
    statement: Vec<StatementLine>,
    appends: u64,
    releases: u64,
    canary: Option<Canary>,
    unsealed: bool,
    /// Every record ever written, if somebody wants to read them all.
    archive: Option<BTreeMap<MachineId, Vec<Vec<u8>>>>,
    /// What some planted bugs go back to.
    backup: Option<Box<SimulatedStore>>,
    /// The product's own store, if this one only keeps its books: what counts is what it holds.
    beneath: Option<Rc<RefCell<SqliteNode>>>,
}

/// One end of a hold in so many is dropped by [`Canary::StuckHolds`].
const STUCK_HOLD: u64 = 10;
/// One append in so many is dropped by [`Canary::LostWrites`].
const LOST_WRITE: u64 = 100;
/// [`Canary::BackupRestored`] makes a backup every so many appends.
const BACKUP_EVERY: u64 = 50;

impl SimulatedStore {
    /// An empty disk, perhaps with a planted bug.
    pub fn with(canary: Option<Canary>) -> Self {
        Self { canary, ..Self::default() }
    }

    /// Keeps records as they are, without frame and hash chain: a fifth of the disk's work in worlds that damage no bytes.
    #[must_use]
    pub fn unsealed(self, unsealed: bool) -> Self {
        Self { unsealed, ..self }
    }

    /// Keeps every record, also what lies before a snapshot.
    #[must_use]
    pub fn with_archive(self, wanted: bool) -> Self {
        Self { archive: wanted.then(BTreeMap::new), ..self }
    }

    /// Keeps the books of a real store; that one stores.
    #[must_use]
    pub fn above(self, node: Rc<RefCell<SqliteNode>>) -> Self {
        Self { beneath: Some(node), ..self }
    }

    /// The power of the node goes, between two operations or because one went wrong.
    pub fn lose_power(&mut self, left: When) {
        if let Some(node) = &self.beneath {
            node.borrow_mut().lose_power(left);
        }
    }

    /// Power is back: the books say again what the real store holds.
    pub fn reboot(&mut self) -> Result<(), StoreFault> {
        let Some(node) = &self.beneath else { return Ok(()) };
        let mut node = node.borrow_mut();
        node.reboot()?;
        let books = node.books(acquirer::SPACE_INTENT)?;
        self.balances = books.balances;
        self.statement = books.postings.into_iter().map(|(id, legs)| StatementLine { id, legs }).collect();
        self.keys.insert(acquirer::SPACE_INTENT, books.facts.into_iter().collect());
        Ok(())
    }

    /// What a full check of the real store finds wrong.
    pub fn findings(&self) -> Vec<String> {
        let Some(node) = &self.beneath else { return Vec::new() };
        node.borrow().findings().unwrap_or_else(|fault| vec![fault.to_string()])
    }

    /// Every record of a machine, the first one first; none without an archive.
    pub fn archived(&self, machine: MachineId) -> &[Vec<u8>] {
        self.archive.as_ref().and_then(|archive| archive.get(&machine)).map_or(&[], Vec::as_slice)
    }

    /// What an account stands at.
    pub fn standing_minor(&self, account: &AccountName, currency: Currency) -> i64 {
        self.balance(account, currency)
    }

    /// Terminal, batch and trace of every message that was decided; reversals and script notices are not counted.
    pub fn decided(&self) -> BTreeSet<(String, u32, u32)> {
        let keys = self.keys.get(acquirer::SPACE_INTENT).into_iter().flat_map(BTreeMap::keys);
        let intents = keys.filter_map(|key| Intent::from_bytes(key).ok());
        let counted =
            intents.filter(|intent| !matches!(intent.class, MessageClass::Reversal | MessageClass::ScriptNotice));
        counted.map(|intent| (intent.terminal.text().to_owned(), intent.batch.number(), intent.stan.number())).collect()
    }

    /// Every posting in the order of booking.
    pub fn statement(&self) -> &[StatementLine] {
        &self.statement
    }

    /// Sum of all balances of each currency.
    pub fn sums(&self) -> BTreeMap<u16, i64> {
        let mut sums = BTreeMap::new();
        // In whatever order: they are added up.
        for (currency, balance) in self.balances.values().flatten() {
            *sums.entry(*currency).or_default() += balance;
        }
        sums
    }

    /// Records of one machine, the newest last.
    pub fn length(&self, machine: MachineId) -> usize {
        self.chains.get(&machine).map_or(0, |chain| chain.dropped + chain.frames.len())
    }

    /// The number of the next record of a machine that does not keep its journal in memory.
    pub fn next_sequence(&mut self, machine: MachineId) -> Result<u64, StoreFault> {
        match &self.beneath {
            Some(node) => Ok(node.borrow_mut().load(machine)?.last_sequence + 1),
            None => Ok(u64::try_from(self.length(machine)).expect("a count") + 1),
        }
    }

    /// A planted bug: a disk that called the last record durable and did not keep it.
    pub fn forget_last(&mut self, machine: MachineId) {
        let Some(chain) = self.chains.get_mut(&machine) else { return };
        if chain.frames.len() > 1 {
            chain.frames.pop();
            if self.unsealed {
                return;
            }
            let head = chain.frames.last().map(|before| &before[before.len() - 32..]);
            chain.head = head.map(|hash| ChainHead(hash.try_into().expect("a frame ends with its hash")));
        }
    }

    /// What a power cut of the host does to a planted bug's disk. A sound disk keeps what it called durable.
    pub fn host_cut(&mut self, machines: impl Iterator<Item = MachineId>) {
        match self.canary {
            Some(Canary::ForgetfulHost) => machines.for_each(|machine| self.forget_last(machine)),
            Some(Canary::AppendLostAtCut | Canary::BackupRestored) => {
                if let Some(backup) = self.backup.take() {
                    *self = *backup;
                }
            }
            Some(Canary::RowsLostAtCut) => {
                if let Some(backup) = self.backup.take() {
                    (self.keys, self.balances, self.statement) = (backup.keys, backup.balances, backup.statement);
                }
            }
            _ => {}
        }
    }

    fn make_backup(&mut self) {
        let due = match self.canary {
            Some(Canary::AppendLostAtCut | Canary::RowsLostAtCut) => true,
            Some(Canary::BackupRestored) => self.appends.is_multiple_of(BACKUP_EVERY),
            _ => false,
        };
        if due {
            self.backup = None;
            self.backup = Some(Box::new(self.clone()));
        }
    }

    /// [`Canary::HalfTransactions`]: postings of a refused append stay.
    fn leave_half(&mut self, append: &Append, refusal: &Outcome) {
        if self.canary == Some(Canary::HalfTransactions) && matches!(refusal, Outcome::GuardFailed(_)) {
            append.rows.iter().filter(|row| matches!(row, Row::Posting { .. })).for_each(|row| self.write_row(row));
        }
    }

    /// [`Canary::FindsAnother`]: the value of the greatest key below, if there is one.
    pub fn find_another(&self, space: &str, key: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.get(space)?;
        let exact = keys.get(key)?;
        let below = keys.iter().filter(|(other, _)| other.as_slice() < key).max_by_key(|(other, _)| *other);
        Some(below.map_or(exact, |(_, value)| value).clone())
    }

    /// Values of a space from one key up to but without another, in the order of keys.
    pub fn between(&self, space: &str, from: Vec<u8>, until: Vec<u8>) -> impl Iterator<Item = &Vec<u8>> {
        self.keys
            .get(space)
            .into_iter()
            .flat_map(move |keys| keys.range(from.clone()..until.clone()))
            .map(|(_, value)| value)
    }

    fn balance(&self, account: &AccountName, currency: Currency) -> i64 {
        self.balances.get(account.text()).and_then(|balances| balances.get(&currency.numeric())).copied().unwrap_or(0)
    }

    fn refusal(&self, append: &Append) -> Option<Outcome> {
        let length = u64::try_from(self.length(append.machine)).expect("a count");
        if append.first_sequence != length + 1 && self.canary != Some(Canary::ConflictsUnnoticed) {
            return Some(Outcome::Conflict);
        }
        self.guard_failure(append).map(Outcome::GuardFailed)
    }

    /// Whether a planted bug lets a key of this space be taken twice.
    fn overlooks(&self, space: &str) -> bool {
        match self.canary {
            Some(Canary::ForgetfulHost | Canary::TakenUnnoticed) => true,
            Some(Canary::CertificateTwice) => space == issuer::SPACE_ATC,
            Some(Canary::QrPaidAndReversed) => space == acquirer::SPACE_ORDER_END,
            Some(Canary::QrCodePaysTwice) => space == issuer::wallet::SPACE_PAYMENT_CODE_USED,
            _ => false,
        }
    }

    fn guard_failure(&self, append: &Append) -> Option<GuardFailure> {
        let mut moved: Vec<(&AccountName, Currency, i64)> = Vec::new();
        for row in &append.rows {
            match row {
                Row::Unique { space, key, .. } if !self.overlooks(space) => {
                    if let Some(value) = self.keys.get(space).and_then(|keys| keys.get(key)) {
                        return Some(GuardFailure::Taken { space, key: key.clone(), value: value.clone() });
                    }
                }
                Row::Posting { legs, .. } => {
                    moved.extend(legs.iter().map(|leg| (&leg.account, leg.currency, leg.delta_minor)));
                }
                Row::Unique { .. } | Row::Put { .. } | Row::BalanceAtLeast { .. } => {}
            }
        }
        if self.canary == Some(Canary::UncheckedBalances) {
            return None;
        }
        append.rows.iter().find_map(|row| {
            let Row::BalanceAtLeast { account, currency, floor_minor } = row else { return None };
            if self.canary == Some(Canary::UncheckedHolds) && account.text().starts_with("hold/") {
                return None;
            }
            let here = moved.iter().filter(|(of, in_currency, _)| *of == account && in_currency == currency);
            let would_be_minor =
                self.balance(account, *currency) + here.map(|(_, _, delta_minor)| delta_minor).sum::<i64>();
            (would_be_minor < *floor_minor).then(|| GuardFailure::Balance { account: account.clone(), would_be_minor })
        })
    }

    fn write(&mut self, append: &Append) {
        if let Some(archive) = &mut self.archive {
            archive.entry(append.machine).or_default().extend(append.records.iter().cloned());
        }
        let chain = self.chains.entry(append.machine).or_default();
        for record in &append.records {
            let sequence = u64::try_from(chain.dropped + chain.frames.len()).expect("a count") + 1;
            let head = chain.head.unwrap_or_else(|| ChainHead::genesis(append.machine));
            let (bytes, next) =
                if self.unsealed { (record.clone(), head) } else { frame::seal(head, sequence, record) };
            if append.snapshot {
                chain.dropped += chain.frames.len();
                chain.frames.clear();
                chain.base = Some(head);
            }
            chain.frames.push(bytes);
            chain.head = Some(next);
        }
        for row in &append.rows {
            self.write_row(row);
        }
    }

    fn is_stuck(&mut self, posting: &str) -> bool {
        if self.canary != Some(Canary::StuckHolds) || !posting.starts_with("release/") {
            return false;
        }
        self.releases += 1;
        self.releases.is_multiple_of(STUCK_HOLD)
    }

    fn write_row(&mut self, row: &Row) {
        match row {
            Row::Unique { space, key, value } | Row::Put { space, key, value } => {
                self.keys.entry(space).or_default().insert(key.clone(), value.clone());
            }
            Row::Posting { id, .. } if self.is_stuck(id) => {}
            Row::Posting { id, legs } => {
                for leg in legs {
                    let account = leg.account.text();
                    if !self.balances.contains_key(account) {
                        self.balances.insert(account.to_owned(), BTreeMap::new());
                    }
                    let balances = self.balances.get_mut(account).expect("it was there or has just been made");
                    *balances.entry(leg.currency.numeric()).or_default() += leg.delta_minor;
                }
                let legs = legs.iter().map(|leg| (leg.account.text().to_owned(), leg.delta_minor)).collect();
                self.statement.push(StatementLine { id: id.clone(), legs });
            }
            Row::BalanceAtLeast { .. } => {}
        }
    }
}

impl Store for SimulatedStore {
    fn append(&mut self, group: &[Append]) -> Result<Vec<Outcome>, StoreFault> {
        if let Some(node) = &self.beneath {
            let outcomes = node.borrow_mut().append(group)?;
            for (append, outcome) in group.iter().zip(&outcomes) {
                if matches!(outcome, Outcome::Durable(_)) {
                    self.write(append);
                }
            }
            return Ok(outcomes);
        }
        let one = |append: &Append| match self.refusal(append) {
            Some(refusal) => {
                self.leave_half(append, &refusal);
                refusal
            }
            None => {
                self.make_backup();
                self.appends += 1;
                if self.canary != Some(Canary::LostWrites) || !self.appends.is_multiple_of(LOST_WRITE) {
                    self.write(append);
                }
                let sequence = append.first_sequence + u64::try_from(append.records.len()).expect("a count") - 1;
                Outcome::Durable(Durable::assertion(append.machine, sequence))
            }
        };
        Ok(group.iter().map(one).collect())
    }

    fn load(&mut self, machine: MachineId) -> Result<Journal, StoreFault> {
        if let Some(node) = &self.beneath {
            return node.borrow_mut().load(machine);
        }
        let Some(chain) = self.chains.get(&machine) else { return Ok(Journal::default()) };
        let mut head = chain.base.unwrap_or_else(|| ChainHead::genesis(machine));
        let mut records = Vec::new();
        for (index, bytes) in chain.frames.iter().enumerate() {
            if self.unsealed {
                records.push(bytes.clone());
                continue;
            }
            let sequence = u64::try_from(chain.dropped + index).expect("a count") + 1;
            let (payload, next) =
                frame::open(head, sequence, bytes).map_err(|damage| StoreFault::Damaged { machine, damage })?;
            records.push(payload.to_vec());
            head = next;
        }
        let last_sequence = u64::try_from(chain.dropped + chain.frames.len()).expect("a count");
        Ok(Journal { records, last_sequence })
    }

    fn find(&mut self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        if let Some(node) = &self.beneath {
            return node.borrow_mut().find(space, key);
        }
        Ok(self.keys.get(space).and_then(|keys| keys.get(key)).cloned())
    }

    fn balance_minor(&mut self, account: &AccountName, currency: Currency) -> Result<i64, StoreFault> {
        if let Some(node) = &self.beneath {
            return node.borrow_mut().balance_minor(account, currency);
        }
        Ok(self.balance(account, currency))
    }
}
