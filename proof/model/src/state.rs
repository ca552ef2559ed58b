//! One state of everything.

use crate::config::Config;
use crate::host::Entry;
use crate::host::{HostTerminal, Postings};
use crate::network::{Network, Request};
use crate::till::{Phase, Record, Settlement, Status, Till};
use std::hash::{Hash, Hasher};

/// Terminals of a model.
pub const TERMINALS: usize = 2;
/// Transactions of each terminal.
pub const TRANSACTIONS: usize = 2;
/// Batches that can be told apart: those of a configuration, and one more that healing opens.
pub const BATCHES_MAX: usize = 4;

/// A state: tills with their journals, the host's machines with theirs, the ledger, the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The tills.
    pub tills: [Till; TERMINALS],
    /// The host's machine for each of them.
    pub hosts: [HostTerminal; TERMINALS],
    /// What stands in the ledger about each terminal's sales.
    pub ledger: [[Postings; TRANSACTIONS]; TERMINALS],
    /// The messages of each terminal.
    pub networks: [Network; TERMINALS],
}

/// More bytes than a packed state has.
const PACKED_BYTES_MAX: usize = 320;

/// Gathers what is hashed, so that the checker's hash runs over one stretch of bytes and not over a hundred single ones. Nothing in a
/// state needs more than a byte, and nothing has a length of its own.
struct Packed {
    bytes: [u8; PACKED_BYTES_MAX],
    length: usize,
}

impl Hasher for Packed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// Which variant of an enumeration.
    fn write_isize(&mut self, variant: isize) {
        self.write_u8(u8::try_from(variant).expect("no enumeration has more variants than a byte"));
    }

    /// The length of an array, which is always the same.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        0
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut packed = Packed { bytes: [0; PACKED_BYTES_MAX], length: 0 };
        (self.tills, self.hosts, self.ledger, self.networks).hash(&mut packed);
        hasher.write(&packed.bytes[..packed.length]);
    }
}

/// What a sale costs: different amounts, so that sums tell sales apart.
pub fn amount_minor(transaction: usize) -> i16 {
    1 << transaction
}

impl State {
    /// What is left on the account that pays for all sales.
    pub fn balance_minor(&self, config: &Config) -> i16 {
        let sales = self.ledger.iter().flat_map(|of_terminal| of_terminal.iter().enumerate());
        let spent: i16 = sales.map(|(transaction, postings)| postings.charged() * amount_minor(transaction)).sum();
        i16::from(config.balance_minor) - spent
    }

    /// Drops messages whose delivery could change nothing in any state that follows: answers that no till will wait for again, and
    /// requests whose only effect would be such an answer. This keeps every property, and the states fewer.
    pub(crate) fn forget_dead_messages(&mut self, config: &Config) {
        for terminal in 0..TERMINALS {
            (0..TRANSACTIONS).for_each(|transaction| self.forget_transaction(terminal, transaction));
            self.forget_sign_ins(config, terminal);
            self.forget_batches(terminal);
        }
    }

    fn forget_transaction(&mut self, terminal: usize, transaction: usize) {
        let (host, network) = (&self.hosts[terminal], &mut self.networks[terminal]);
        let status = self.tills[terminal].journal.payments[transaction].status;
        if !matches!(status, Status::New | Status::Sent | Status::Queued) {
            // Whoever is not being decided never is again.
            network.forget_decision(transaction);
            if host.intents[transaction] != Entry::Unseen {
                network.forget_financial(transaction);
            }
        }
        if matches!(status, Status::Reversed | Status::Declined | Status::Approved) {
            network.forget_reversal(transaction, host.reversals & (1 << transaction) != 0);
        }
    }

    fn forget_sign_ins(&mut self, config: &Config, terminal: usize) {
        let till = &self.tills[terminal];
        let waits_for = match till.phase {
            Phase::Waiting(Request::SignIn(number)) => Some(number),
            _ => None,
        };
        self.networks[terminal].forget_keys_but(waits_for);
        if self.hosts[terminal].key_version >= config.key_versions[terminal] {
            // The bound of the model: no further copy will be taken. Healing signs in anew.
            if waits_for.is_none() {
                self.networks[terminal].forget_sign_ins();
            }
        }
    }

    fn forget_batches(&mut self, terminal: usize) {
        let till = &self.tills[terminal];
        let settling = match till.journal.settlement {
            Settlement::None if till.unflushed == Some(Record::SettlementStarted) => Some(till.journal.batch),
            Settlement::None => None,
            Settlement::Started { batch } | Settlement::Compared { batch } => Some(batch),
        };
        let over = (0..self.hosts[terminal].batch).filter(|batch| Some(*batch) != settling);
        over.for_each(|batch| self.networks[terminal].forget_batch(batch));
    }
}

/// Totals of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Totals {
    /// Debits, minor units.
    pub debit_minor: u8,
    /// Credits, minor units.
    pub credit_minor: u8,
}
