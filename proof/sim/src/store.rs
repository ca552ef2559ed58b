//! A disk that survives crashes: the store port in memory, atomic per append, with its own books.

use crate::canary::Canary;
use machine::frame::{self, ChainHead};
use machine::store::{AccountName, Append, GuardFailure, Journal, Outcome, Row, Store, StoreFault};
use machine::{Durable, MachineId};
use std::collections::BTreeMap;
use types::Currency;

#[derive(Default, Debug)]
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
#[derive(Default, Debug)]
pub struct SimulatedStore {
    chains: BTreeMap<MachineId, Chain>,
    keys: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    balances: BTreeMap<(String, u16), i64>,
    statement: Vec<StatementLine>,
    appends: u64,
    releases: u64,
    canary: Option<Canary>,
}

/// One end of a hold in so many is dropped by [`Canary::StuckHolds`].
const STUCK_HOLD: u64 = 10;
/// One append in so many is dropped by [`Canary::LostWrites`].
const LOST_WRITE: u64 = 100;

impl SimulatedStore {
    /// An empty disk, perhaps with a planted bug.
    pub fn with(canary: Option<Canary>) -> Self {
        Self { canary, ..Self::default() }
    }

    /// Every posting in the order of booking.
    pub fn statement(&self) -> &[StatementLine] {
        &self.statement
    }

    /// Sum of all balances of each currency.
    pub fn sums(&self) -> BTreeMap<u16, i64> {
        let mut sums = BTreeMap::new();
        for ((_, currency), balance) in &self.balances {
            *sums.entry(*currency).or_default() += balance;
        }
        sums
    }

    /// Records of one machine, the newest last.
    pub fn length(&self, machine: MachineId) -> usize {
        self.chains.get(&machine).map_or(0, |chain| chain.dropped + chain.frames.len())
    }

    /// A planted bug: a disk that called the last record durable and did not keep it.
    pub fn forget_last(&mut self, machine: MachineId) {
        let Some(chain) = self.chains.get_mut(&machine) else { return };
        if chain.frames.len() > 1 {
            chain.frames.pop();
            let head = chain.frames.last().map(|before| &before[before.len() - 32..]);
            chain.head = head.map(|hash| ChainHead(hash.try_into().expect("a frame ends with its hash")));
        }
    }

    fn refusal(&self, append: &Append) -> Option<Outcome> {
        let length = u64::try_from(self.length(append.machine)).expect("a count");
        if append.first_sequence != length + 1 {
            return Some(Outcome::Conflict);
        }
        self.guard_failure(append).map(Outcome::GuardFailed)
    }

    fn guard_failure(&self, append: &Append) -> Option<GuardFailure> {
        let mut moved: BTreeMap<(String, u16), i64> = BTreeMap::new();
        for row in &append.rows {
            match row {
                Row::Unique { space, key, .. } if self.canary != Some(Canary::ForgetfulHost) => {
                    if let Some(value) = self.keys.get(&((*space).to_owned(), key.clone())) {
                        return Some(GuardFailure::Taken { space, key: key.clone(), value: value.clone() });
                    }
                }
                Row::Posting { legs, .. } => {
                    for leg in legs {
                        *moved.entry((leg.account.text().to_owned(), leg.currency.numeric())).or_default() +=
                            leg.delta_minor;
                    }
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
            let key = (account.text().to_owned(), currency.numeric());
            let would_be_minor = self.balances.get(&key).copied().unwrap_or(0) + moved.get(&key).copied().unwrap_or(0);
            (would_be_minor < *floor_minor).then(|| GuardFailure::Balance { account: account.clone(), would_be_minor })
        })
    }

    fn write(&mut self, append: &Append) {
        let chain = self.chains.entry(append.machine).or_default();
        for record in &append.records {
            let sequence = u64::try_from(chain.dropped + chain.frames.len()).expect("a count") + 1;
            let head = chain.head.unwrap_or_else(|| ChainHead::genesis(append.machine));
            let (bytes, next) = frame::seal(head, sequence, record);
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
                self.keys.insert(((*space).to_owned(), key.clone()), value.clone());
            }
            Row::Posting { id, .. } if self.is_stuck(id) => {}
            Row::Posting { id, legs } => {
                for leg in legs {
                    *self.balances.entry((leg.account.text().to_owned(), leg.currency.numeric())).or_default() +=
                        leg.delta_minor;
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
        let one = |append: &Append| match self.refusal(append) {
            Some(refusal) => refusal,
            None => {
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
        let Some(chain) = self.chains.get(&machine) else { return Ok(Journal::default()) };
        let mut head = chain.base.unwrap_or_else(|| ChainHead::genesis(machine));
        let mut records = Vec::new();
        for (index, bytes) in chain.frames.iter().enumerate() {
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
        Ok(self.keys.get(&(space.to_owned(), key.to_vec())).cloned())
    }

    fn balance_minor(&mut self, account: &AccountName, currency: Currency) -> Result<i64, StoreFault> {
        Ok(self.balances.get(&(account.text().to_owned(), currency.numeric())).copied().unwrap_or(0))
    }
}
