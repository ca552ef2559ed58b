//! The till: its journal, the records that change it, and what it does next.

use crate::config::{Bug, Config, Kind};
use crate::network::{Answer, Request};
use crate::state::{BATCHES_MAX, TRANSACTIONS, Totals, amount_minor};

/// What the journal says about a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Status {
    /// It has not begun.
    #[default]
    New,
    /// It was sent and is not decided.
    Sent,
    /// The host approved it, and so did the card.
    Approved,
    /// It is declined.
    Declined,
    /// Its reversal is pending.
    Reversing,
    /// Its reversal is acknowledged.
    Reversed,
    /// A notice that is stored and will be forwarded.
    Queued,
}

/// One transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Payment {
    /// What it is.
    pub kind: Kind,
    /// How far it has come.
    pub status: Status,
    /// The batch that it is in.
    pub batch: u8,
}

impl Default for Payment {
    fn default() -> Self {
        Self { kind: Kind::Sale, status: Status::New, batch: 0 }
    }
}

/// How far a settlement has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Settlement {
    /// There is none.
    #[default]
    None,
    /// Its totals stand and are to be compared.
    Started {
        /// The batch.
        batch: u8,
    },
    /// They were compared; the end of the batch is to be sent.
    Compared {
        /// The batch.
        batch: u8,
    },
}

/// What survives a crash of a till: the result of replaying its durable records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Journal {
    /// The transactions.
    pub payments: [Payment; TRANSACTIONS],
    /// The open batch.
    pub batch: u8,
    /// The settlement under way.
    pub settlement: Settlement,
    /// Version of the working keys.
    pub key_version: u8,
    /// Whether no sign-in is wanted.
    pub signed_in: bool,
    /// Sign-ins begun.
    pub sign_ins: u8,
    /// Settlements that an operator ordered.
    pub settlements: u8,
    /// Totals of the batches that were settled.
    pub totals: [Totals; BATCHES_MAX],
}

/// A record of a till.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Record {
    /// The next transaction is to be sent.
    Intent(Kind),
    /// A transaction has come to another status.
    Status(u8, Status),
    /// The same, and the host wants a sign-in.
    StatusAndSignedOut(u8, Status),
    /// The host wants a sign-in.
    SignedOut,
    /// A trace number is taken for a sign-in.
    SignInBegun,
    /// New keys are there, and the host's batch.
    SignedIn {
        /// Version of the keys.
        version: u8,
        /// The host's batch.
        batch: u8,
    },
    /// A settlement has begun.
    SettlementStarted,
    /// The totals were compared.
    Compared,
    /// The batch is closed.
    BatchClosed,
    /// The till was switched on: the open intent is resolved.
    PoweredOn,
}

/// What a till waits for; lost in a crash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    /// For nothing.
    #[default]
    Idle,
    /// For the answer to this request.
    Waiting(Request),
}

/// A till.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Till {
    /// What is durable.
    pub journal: Journal,
    /// A record that is decided and not durable yet. Its effect waits.
    pub unflushed: Option<Record>,
    /// What it waits for.
    pub phase: Phase,
    /// Which transactions have a printed receipt, bit by bit. Paper survives everything.
    pub receipts: u8,
}

impl Default for Till {
    fn default() -> Self {
        let journal = Journal { signed_in: true, ..Journal::default() };
        Self { journal, unflushed: None, phase: Phase::Idle, receipts: 0 }
    }
}

/// What a till does as soon as it can.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// Writes a record first.
    Write(Record),
    /// Sends again what its journal holds.
    Send(Request),
}

impl Journal {
    /// The transaction that has not begun.
    pub fn next_transaction(&self) -> Option<usize> {
        self.payments.iter().position(|payment| payment.status == Status::New)
    }

    fn first_with(&self, status: Status) -> Option<u8> {
        let found = self.payments.iter().position(|payment| payment.status == status);
        found.map(|index| u8::try_from(index).expect("a transaction's index is small"))
    }

    /// The pending reversal.
    pub fn reversing(&self) -> Option<u8> {
        self.first_with(Status::Reversing)
    }

    /// Whether a transaction is not decided for good.
    pub fn anything_open(&self) -> bool {
        let open = |payment: &Payment| matches!(payment.status, Status::Sent | Status::Reversing | Status::Queued);
        self.payments.iter().any(open)
    }

    /// Whether the open batch holds a transaction.
    pub fn has_unsettled(&self) -> bool {
        let here = |payment: &Payment| payment.status != Status::New && payment.batch == self.batch;
        self.payments.iter().any(here)
    }

    /// What the till does about what is pending, in the order of its plan.
    pub fn pending_step(&self) -> Option<Next> {
        let queued = self.first_with(Status::Queued);
        let settling = self.settlement != Settlement::None;
        let something = self.reversing().is_some() || queued.is_some() || settling;
        if something && !self.signed_in {
            return Some(Next::Write(Record::SignInBegun));
        }
        if let Some(reversing) = self.reversing() {
            return Some(Next::Send(Request::Reversal(reversing)));
        }
        if let Some(queued) = queued {
            return Some(Next::Send(Request::Financial(queued)));
        }
        match self.settlement {
            Settlement::None => None,
            Settlement::Started { batch } => Some(Next::Send(Request::Totals(batch))),
            Settlement::Compared { batch } => Some(Next::Send(Request::BatchEnd(batch))),
        }
    }

    /// Totals of the open batch: approved transactions; a voided sale counts in both directions.
    pub fn open_totals(&self) -> Totals {
        let mut totals = Totals::default();
        let counted = |payment: &&Payment| payment.status == Status::Approved && payment.batch == self.batch;
        for (index, payment) in self.payments.iter().enumerate().filter(|(_, payment)| counted(payment)) {
            totals.count(payment.kind, index);
        }
        totals
    }

    /// Takes a record in. Nothing else changes a journal.
    pub fn apply(&mut self, config: &Config, record: Record) {
        match record {
            Record::Intent(kind) => {
                if let Some(index) = self.next_transaction() {
                    self.payments[index] = Payment { kind, status: Status::Sent, batch: self.batch };
                }
            }
            Record::Status(transaction, status) => self.payments[usize::from(transaction)].status = status,
            Record::StatusAndSignedOut(transaction, status) => {
                self.payments[usize::from(transaction)].status = status;
                self.signed_in = false;
            }
            Record::SignedOut => self.signed_in = false,
            Record::SignInBegun => self.sign_ins += 1,
            Record::SignedIn { version, batch } => {
                self.key_version = version;
                self.signed_in = true;
                self.batch = batch;
            }
            Record::SettlementStarted => {
                self.totals[usize::from(self.batch)] = self.open_totals();
                self.settlement = Settlement::Started { batch: self.batch };
                self.settlements += 1;
            }
            Record::Compared | Record::BatchClosed => self.apply_settlement(record),
            Record::PoweredOn => self.resolve_open_intent(config),
        }
    }

    fn apply_settlement(&mut self, record: Record) {
        match (record, self.settlement) {
            (Record::Compared, Settlement::Started { batch }) => self.settlement = Settlement::Compared { batch },
            (Record::BatchClosed, Settlement::Compared { batch }) => {
                self.settlement = Settlement::None;
                // A sign-in may have brought the host's batch already.
                if self.batch == batch {
                    self.batch += 1;
                }
            }
            _ => {}
        }
    }

    fn resolve_open_intent(&mut self, config: &Config) {
        for payment in self.payments.iter_mut().filter(|payment| payment.status == Status::Sent) {
            payment.status = match payment.kind.is_notice() {
                true => Status::Queued,
                false if config.has(Bug::RestartForgetsIntent) => Status::Declined,
                false => Status::Reversing,
            };
        }
    }
}

impl Totals {
    /// Adds a transaction of this kind.
    pub fn count(&mut self, kind: Kind, transaction: usize) {
        match kind {
            Kind::Sale => self.debit_minor += u8::try_from(amount_minor(transaction)).expect("small"),
            // All of these are about a first transaction.
            Kind::Void | Kind::Refund | Kind::RefundOfOther => {
                self.credit_minor += u8::try_from(amount_minor(0)).expect("small");
            }
        }
    }
}

impl Till {
    /// Whether it can take an operator's word or go on with what is pending.
    pub fn is_free(&self) -> bool {
        self.phase == Phase::Idle && self.unflushed.is_none()
    }

    /// The request whose answer it can take.
    pub fn waits_for(&self) -> Option<Request> {
        match self.phase {
            Phase::Waiting(request) if self.unflushed.is_none() => Some(request),
            _ => None,
        }
    }

    /// Whether it has a receipt of this transaction.
    pub fn has_printed(&self, transaction: usize) -> bool {
        self.receipts & (1 << transaction) != 0
    }

    /// Whether it may begin a transaction of this kind now.
    pub fn may_begin(&self, config: &Config, kind: Kind, other_has_printed: bool) -> bool {
        let journal = &self.journal;
        let held = journal.reversing().is_some() && !config.has(Bug::SaleDuringReversal);
        if !self.is_free() || !journal.signed_in || held || journal.settlement != Settlement::None {
            return false;
        }
        let first = &journal.payments[0];
        match kind {
            Kind::Sale => true,
            Kind::Void => first.status == Status::Approved && first.batch == journal.batch,
            Kind::Refund => first.status == Status::Approved,
            Kind::RefundOfOther => other_has_printed,
        }
    }

    /// Whether a settlement may begin now.
    pub fn may_settle(&self, config: &Config) -> bool {
        let journal = &self.journal;
        let held = journal.anything_open() && !config.has(Bug::SettlesWhilePending);
        self.is_free() && journal.signed_in && !held && journal.settlement == Settlement::None
    }

    /// The record that follows from an answer; `None`: nothing to write, the exchange is over. `card_agrees` is the card's last
    /// word about an approval.
    pub fn record_of(&self, config: &Config, answer: Answer, card_agrees: bool) -> Option<Record> {
        match answer {
            Answer::Approved { transaction, .. } if card_agrees => Some(Record::Status(transaction, Status::Approved)),
            Answer::Approved { transaction, .. } => Some(Record::Status(transaction, Status::Reversing)),
            Answer::Declined { transaction, .. } => Some(Record::Status(transaction, Status::Declined)),
            Answer::Refused { transaction } => Some(self.refused(config, transaction)),
            Answer::Acknowledged { transaction, .. } => Some(Record::Status(transaction, Status::Reversed)),
            Answer::ReversalRefused { .. } => Some(Record::SignedOut),
            Answer::Keys { version, batch, .. } => Some(Record::SignedIn { version, batch }),
            Answer::Compared { .. } => Some(Record::Compared),
            Answer::Closed { .. } => Some(Record::BatchClosed),
        }
    }

    /// A refusal that nobody authenticated proves nothing.
    fn refused(&self, config: &Config, transaction: u8) -> Record {
        let payment = &self.journal.payments[usize::from(transaction)];
        let status = match (payment.kind.is_notice(), payment.status) {
            (true, Status::Sent) if config.has(Bug::RefusalEndsRefund) => Status::Declined,
            (true, _) => Status::Queued,
            (false, _) if config.has(Bug::RefusalEndsSale) => Status::Declined,
            (false, _) => Status::Reversing,
        };
        Record::StatusAndSignedOut(transaction, status)
    }

    /// The record that follows from a wait that is over without an answer.
    pub fn record_of_time_out(&self, config: &Config, request: Request) -> Option<Record> {
        match request {
            Request::Financial(transaction) => {
                let payment = &self.journal.payments[usize::from(transaction)];
                match (payment.kind.is_notice(), payment.status) {
                    (true, Status::Sent) => Some(Record::Status(transaction, Status::Queued)),
                    (false, Status::Sent) => Some(Record::Status(transaction, Status::Reversing)),
                    _ => None,
                }
            }
            Request::Reversal(transaction) if config.has(Bug::ReversalDropped) => {
                Some(Record::Status(transaction, Status::Declined))
            }
            _ => None,
        }
    }
}
