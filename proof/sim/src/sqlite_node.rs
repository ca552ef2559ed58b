//! The product's own store on a disk that loses power, under a simulated node.

use machine::MachineId;
use machine::store::{AccountName, Append, Journal, Outcome, Store, StoreFault};
use memory_disk::{Fault, MemoryDisk, When};
use std::collections::{BTreeMap, HashMap};
use store_sqlite::SqliteStore;
use types::Currency;

/// So few that every flow has checkpoints in it.
const CHECKPOINT_PAGES: u32 = 12;

/// What a node's books are rebuilt from after a cut.
#[derive(Default)]
pub struct Books {
    /// Postings in the order of booking: their names, accounts and changes.
    pub postings: Vec<(String, Vec<(String, i64)>)>,
    /// Balances by account and currency.
    pub balances: HashMap<String, BTreeMap<u16, i64>>,
    /// Facts of the space that was asked for.
    pub facts: HashMap<Vec<u8>, Vec<u8>>,
}

/// One SQLite file on a disk of its own.
pub struct SqliteNode {
    // In this order: a connection is closed before its disk is gone.
    store: Option<SqliteStore>,
    disk: MemoryDisk,
    /// Goes wrong at this operation after the power has come back.
    at_recovery: Option<Fault>,
    /// Whether something was planned.
    armed: bool,
    /// Operations when the power came back for the first time.
    recovered_at: Option<u64>,
}

impl std::fmt::Debug for SqliteNode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(out)
    }
}

fn stopped() -> StoreFault {
    StoreFault::Medium("no power".to_owned())
}

impl SqliteNode {
    /// An empty store. `seed` decides what torn sectors hold.
    pub fn new(seed: u64) -> Result<Self, StoreFault> {
        let mut node =
            Self { store: None, disk: MemoryDisk::new(seed), armed: false, at_recovery: None, recovered_at: None };
        node.reopen()?;
        Ok(node)
    }

    fn reopen(&mut self) -> Result<(), StoreFault> {
        self.store = None;
        let mut store = SqliteStore::open_in_vfs(&self.disk.path("store.db"), self.disk.vfs_name())?;
        store.checkpoint_after(CHECKPOINT_PAGES)?;
        self.store = Some(store);
        Ok(())
    }

    /// Operations of its disk so far.
    pub fn operations(&self) -> u64 {
        self.disk.operations()
    }

    /// Lets an operation go wrong, and perhaps one of the recovery, counted from when the power is back.
    pub fn plan(&mut self, fault: Fault, at_recovery: Option<Fault>) {
        self.disk.plan(Some(fault));
        (self.armed, self.at_recovery) = (true, at_recovery);
    }

    /// Its disk lies from now on.
    pub fn lie(&mut self) {
        self.disk.lie();
    }

    /// Whether the operation that was planned has gone wrong. A checkpoint that is refused takes nobody's power.
    pub fn has_failed(&self) -> bool {
        self.recovered_at.is_some() || (self.armed && !self.disk.is_planned())
    }

    /// Whether the operation of the recovery has gone wrong as well.
    pub fn has_failed_twice(&self) -> bool {
        self.recovered_at.is_some() && self.at_recovery.is_none() && !self.disk.is_planned()
    }

    /// Operations since the power came back for the first time.
    pub fn recovery_operations(&self) -> u64 {
        self.recovered_at.map_or(0, |before| self.disk.operations() - before)
    }

    /// The whole node loses its power.
    pub fn lose_power(&mut self, left: When) {
        self.disk.lose_power(left);
        self.store = None;
    }

    /// Power is back: opens the file again, which may go wrong too.
    pub fn reboot(&mut self) -> Result<(), StoreFault> {
        self.store = None;
        self.disk.power_returns();
        if self.armed && !self.disk.is_planned() {
            self.recovered_at.get_or_insert(self.disk.operations());
            if let Some(fault) = self.at_recovery.take() {
                self.disk.plan(Some(Fault { operation: self.disk.operations() + fault.operation, ..fault }));
            }
        }
        self.reopen()
    }

    /// What the file holds now.
    pub fn books(&self, space: &str) -> Result<Books, StoreFault> {
        let store = self.store.as_ref().ok_or_else(stopped)?;
        let mut books = Books::default();
        for posting in store.postings_with_prefix("")? {
            let legs = posting.legs.into_iter().map(|leg| (leg.account, leg.delta_minor)).collect();
            books.postings.push((posting.id, legs));
        }
        for balance in store.balances()? {
            let balances = books.balances.entry(balance.account).or_default();
            balances.insert(balance.currency.numeric(), balance.balance_minor);
        }
        books.facts = store.facts(space, &[], usize::MAX)?.into_iter().map(|fact| (fact.key, fact.value)).collect();
        Ok(books)
    }

    /// Reads every page, frame and posting again; gives what does not fit.
    pub fn findings(&self) -> Result<Vec<String>, StoreFault> {
        Ok(self.store.as_ref().ok_or_else(stopped)?.verify()?.findings)
    }

    fn running(&mut self) -> Result<&mut SqliteStore, StoreFault> {
        self.store.as_mut().ok_or_else(stopped)
    }
}

impl Store for SqliteNode {
    fn append(&mut self, group: &[Append]) -> Result<Vec<Outcome>, StoreFault> {
        let outcomes = self.running()?.append(group)?;
        // SQLite forgives a checkpoint that fails behind a commit; nobody survives the power cut that it was.
        if self.disk.has_power() { Ok(outcomes) } else { Err(stopped()) }
    }

    fn load(&mut self, machine: MachineId) -> Result<Journal, StoreFault> {
        self.running()?.load(machine)
    }

    fn find(&mut self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.running()?.find(space, key)
    }

    fn balance_minor(&mut self, account: &AccountName, currency: Currency) -> Result<i64, StoreFault> {
        self.running()?.balance_minor(account, currency)
    }
}
