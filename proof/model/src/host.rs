//! The host: one machine for each terminal, and the ledger between them.

use crate::config::{Bug, Config, Kind};
use crate::network::{Answer, Request};
use crate::state::{BATCHES_MAX, State, TRANSACTIONS, Totals, amount_minor};

/// What the host's books say about an intent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Entry {
    /// Never seen.
    #[default]
    Unseen,
    /// Approved and booked.
    Approved,
    /// Declined.
    Declined,
    /// Its reversal came first.
    Tombstone,
    /// Approved, and reversed since.
    Reversed,
    /// A sale that was approved, and voided since.
    Voided,
}

/// Postings about one sale, counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Postings {
    /// Debits of the account.
    pub debits: u8,
    /// Debits taken back by a reversal.
    pub reversals: u8,
    /// Debits taken back by a void.
    pub voids: u8,
    /// Voids taken back by a reversal.
    pub reinstatements: u8,
    /// Refunds.
    pub refunds: u8,
}

impl Postings {
    /// How many times the account is charged for the sale now. Also what is left of the capture.
    pub fn charged(&self) -> i16 {
        i16::from(self.debits) + i16::from(self.reinstatements)
            - i16::from(self.reversals)
            - i16::from(self.voids)
            - i16::from(self.refunds)
    }
}

/// What a reversal undoes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Undo {
    /// A sale.
    Sale,
    /// A void.
    Void,
    /// Nothing that stands.
    Nothing,
    /// Nothing yet: its original has not come.
    Tombstone,
}

/// A record of the host about one terminal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HostRecord {
    /// A transaction is decided.
    Decided {
        /// Which.
        transaction: u8,
        /// How.
        approved: bool,
    },
    /// A decided transaction came again.
    Repeated {
        /// Which.
        transaction: u8,
        /// What it was answered.
        approved: bool,
    },
    /// A transaction was refused; `authentic` refusals have a MAC.
    Refused {
        /// Which.
        transaction: u8,
        /// Whether the message was authentic.
        authentic: bool,
    },
    /// A reversal is taken.
    Reversed {
        /// Of which transaction.
        transaction: u8,
        /// What it undoes.
        undo: Undo,
    },
    /// A reversal came again.
    ReversalRepeated {
        /// Of which transaction.
        transaction: u8,
    },
    /// A reversal was refused without a MAC.
    ReversalRefused {
        /// Of which transaction.
        transaction: u8,
    },
    /// New keys are made.
    SignedIn {
        /// Number of the sign-in.
        sign_in: u8,
    },
    /// Totals are compared.
    Compared {
        /// The batch.
        batch: u8,
        /// The result.
        balanced: bool,
    },
    /// The end of a batch has come.
    BatchEnded {
        /// The batch.
        batch: u8,
    },
}

/// A decision on its way into the store; lost in a crash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Work {
    /// The record.
    pub record: HostRecord,
    /// Version of the keys that the request came under.
    pub version: u8,
}

/// The host's machine for one terminal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HostTerminal {
    /// The open batch.
    pub batch: u8,
    /// The intents of the terminal's transactions.
    pub intents: [Entry; TRANSACTIONS],
    /// Transactions whose reversal is stored, bit by bit.
    pub reversals: u8,
    /// Version of the present keys.
    pub key_version: u8,
    /// The oldest version that the declared window still allows.
    pub oldest_key_version: u8,
    /// Comparison of the open batch, since the last booking.
    pub comparison: Option<bool>,
    /// Totals of closed batches.
    pub totals: [Totals; BATCHES_MAX],
    /// Closed batches whose comparison was balanced, bit by bit.
    pub balanced: u8,
    /// What is on its way into the store.
    pub work: Option<Work>,
    /// Whether a message was ever refused although its keys were good by the declared window.
    pub refused_good_keys: bool,
}

impl HostTerminal {
    fn has_reversal(&self, transaction: u8) -> bool {
        self.reversals & (1 << transaction) != 0
    }

    /// Whether an intent counts in its batch.
    fn counts(&self, transaction: usize) -> bool {
        matches!(self.intents[transaction], Entry::Approved | Entry::Voided)
    }
}

impl State {
    /// What the host decides about a request that arrives while its machine for the terminal is free. `None`: no answer.
    pub(crate) fn decide(&mut self, config: &Config, terminal: usize, request: Request, version: u8) -> Option<Work> {
        let record = match request {
            Request::Financial(transaction) => self.decide_financial(config, terminal, transaction, version),
            Request::Reversal(transaction) => self.decide_reversal(config, terminal, transaction, version),
            Request::SignIn(sign_in) => Some(HostRecord::SignedIn { sign_in }),
            Request::Totals(batch) => Some(self.decide_totals(terminal, batch)),
            Request::BatchEnd(batch) => self.decide_batch_end(config, terminal, batch),
        };
        record.map(|record| Work { record, version })
    }

    /// Whether a MAC under these keys is right for the host now.
    fn authentic(&mut self, config: &Config, terminal: usize, version: u8) -> bool {
        let host = &mut self.hosts[terminal];
        let declared = host.oldest_key_version <= version;
        let kept = if config.has(Bug::NoOverlap) { version == host.key_version } else { declared };
        let authentic = kept && version <= host.key_version;
        host.refused_good_keys |= declared && !authentic;
        authentic
    }

    fn decide_financial(
        &mut self,
        config: &Config,
        terminal: usize,
        transaction: u8,
        version: u8,
    ) -> Option<HostRecord> {
        let (kind, batch) = self.networks[terminal].sent[usize::from(transaction)]?;
        if batch != self.hosts[terminal].batch || !self.authentic(config, terminal, version) {
            return Some(HostRecord::Refused { transaction, authentic: false });
        }
        Some(match self.hosts[terminal].intents[usize::from(transaction)] {
            Entry::Unseen => {
                HostRecord::Decided { transaction, approved: self.would_approve(config, terminal, transaction, kind) }
            }
            Entry::Approved | Entry::Voided if config.has(Bug::NoStoredAnswer) => {
                HostRecord::Decided { transaction, approved: self.would_approve(config, terminal, transaction, kind) }
            }
            Entry::Approved | Entry::Voided => HostRecord::Repeated { transaction, approved: true },
            Entry::Declined => HostRecord::Repeated { transaction, approved: false },
            Entry::Tombstone | Entry::Reversed => HostRecord::Refused { transaction, authentic: true },
        })
    }

    /// What the machine would decide; the guards are looked at again inside the append.
    fn would_approve(&self, config: &Config, terminal: usize, transaction: u8, kind: Kind) -> bool {
        let standing = self.hosts[terminal].intents[0] == Entry::Approved;
        match kind {
            Kind::Sale | Kind::RefundOfOther => self.guards_hold(config, terminal, transaction, kind),
            Kind::Void => {
                let same_batch =
                    self.networks[terminal].sent[0].is_some_and(|sale| sale.1 == self.hosts[terminal].batch);
                standing && same_batch && self.guards_hold(config, terminal, transaction, kind)
            }
            Kind::Refund => self.guards_hold(config, terminal, transaction, kind),
        }
    }

    /// Guards of an approved posting: enough on the account, or something left of the sale.
    fn guards_hold(&self, config: &Config, terminal: usize, transaction: u8, kind: Kind) -> bool {
        match kind {
            Kind::Sale => self.balance_minor(config) >= amount_minor(usize::from(transaction)),
            Kind::Void | Kind::Refund => self.ledger[terminal][0].charged() > 0,
            Kind::RefundOfOther => self.ledger[1 - terminal][0].charged() > 0,
        }
    }

    fn decide_reversal(
        &mut self,
        config: &Config,
        terminal: usize,
        transaction: u8,
        version: u8,
    ) -> Option<HostRecord> {
        let (kind, _) = self.networks[terminal].sent[usize::from(transaction)]?;
        if !self.authentic(config, terminal, version) {
            return Some(HostRecord::ReversalRefused { transaction });
        }
        let host = &self.hosts[terminal];
        if host.has_reversal(transaction) {
            return Some(HostRecord::ReversalRepeated { transaction });
        }
        let undo = match (host.intents[usize::from(transaction)], kind) {
            (Entry::Unseen, _) if config.has(Bug::NoTombstone) => Undo::Nothing,
            (Entry::Unseen, _) => Undo::Tombstone,
            (Entry::Approved, Kind::Sale) => Undo::Sale,
            (Entry::Approved, Kind::Void) if config.has(Bug::VoidReversalReinstatesNothing) => Undo::Nothing,
            (Entry::Approved, Kind::Void) => Undo::Void,
            _ => Undo::Nothing,
        };
        Some(HostRecord::Reversed { transaction, undo })
    }

    fn decide_totals(&self, terminal: usize, batch: u8) -> HostRecord {
        let (host, journal) = (&self.hosts[terminal], &self.tills[terminal].journal);
        let balanced = match batch.cmp(&host.batch) {
            core::cmp::Ordering::Less => host.balanced & (1 << batch) != 0,
            core::cmp::Ordering::Equal => {
                host.comparison.unwrap_or_else(|| journal.totals[usize::from(batch)] == self.host_totals(terminal))
            }
            core::cmp::Ordering::Greater => false,
        };
        HostRecord::Compared { batch, balanced }
    }

    fn decide_batch_end(&self, config: &Config, terminal: usize, batch: u8) -> Option<HostRecord> {
        let open = self.hosts[terminal].batch;
        if config.has(Bug::BatchEndClosesTwice) && usize::from(open) + 1 < BATCHES_MAX {
            return Some(HostRecord::BatchEnded { batch: open });
        }
        (batch <= open).then_some(HostRecord::BatchEnded { batch })
    }

    /// Totals of the host's open batch.
    pub(crate) fn host_totals(&self, terminal: usize) -> Totals {
        let host = &self.hosts[terminal];
        let mut totals = Totals::default();
        for (transaction, sent) in self.networks[terminal].sent.iter().enumerate() {
            if let Some((kind, batch)) = sent
                && *batch == host.batch
                && host.counts(transaction)
            {
                totals.count(*kind, transaction);
            }
        }
        totals
    }

    /// Appends what is on its way into the store and gives the answer free; `None` if a guard refused and it is decided again.
    pub(crate) fn append(&mut self, config: &Config, terminal: usize) -> Option<Answer> {
        let work = self.hosts[terminal].work?;
        if let Some(instead) = self.refused_by_guard(config, terminal, work.record) {
            self.hosts[terminal].work = Some(Work { record: instead, ..work });
            return None;
        }
        self.hosts[terminal].work = None;
        self.book(terminal, work.record);
        Some(self.answer_of(terminal, work))
    }

    /// What the machine decides when the store refuses its record.
    fn refused_by_guard(&self, config: &Config, terminal: usize, record: HostRecord) -> Option<HostRecord> {
        if config.has(Bug::GuardOutsideAppend) {
            return None;
        }
        match record {
            HostRecord::Decided { transaction, approved: true } => {
                let (kind, _) = self.networks[terminal].sent[usize::from(transaction)]?;
                let holds = self.guards_hold(config, terminal, transaction, kind);
                (!holds).then_some(HostRecord::Decided { transaction, approved: false })
            }
            HostRecord::Reversed { transaction, undo: Undo::Sale } => {
                let holds = self.ledger[terminal][usize::from(transaction)].charged() > 0;
                (!holds).then_some(HostRecord::Reversed { transaction, undo: Undo::Nothing })
            }
            _ => None,
        }
    }

    pub(crate) fn book(&mut self, terminal: usize, record: HostRecord) {
        match record {
            HostRecord::Decided { transaction, approved } => self.book_decision(terminal, transaction, approved),
            HostRecord::Reversed { transaction, undo } => self.book_reversal(terminal, transaction, undo),
            HostRecord::SignedIn { .. } => self.hosts[terminal].key_version += 1,
            HostRecord::Compared { batch, balanced } if batch == self.hosts[terminal].batch => {
                self.hosts[terminal].comparison = Some(balanced);
            }
            HostRecord::BatchEnded { batch } if batch == self.hosts[terminal].batch => self.close(terminal),
            _ => {}
        }
    }

    fn book_decision(&mut self, terminal: usize, transaction: u8, approved: bool) {
        let index = usize::from(transaction);
        let host = &mut self.hosts[terminal];
        if !approved {
            host.intents[index] = Entry::Declined;
            return;
        }
        host.intents[index] = Entry::Approved;
        host.comparison = None;
        match self.networks[terminal].sent[index].map(|sent| sent.0) {
            Some(Kind::Sale) | None => self.ledger[terminal][index].debits += 1,
            Some(Kind::Void) => {
                self.hosts[terminal].intents[0] = Entry::Voided;
                self.ledger[terminal][0].voids += 1;
            }
            Some(Kind::Refund) => self.ledger[terminal][0].refunds += 1,
            Some(Kind::RefundOfOther) => self.ledger[1 - terminal][0].refunds += 1,
        }
    }

    fn book_reversal(&mut self, terminal: usize, transaction: u8, undo: Undo) {
        let index = usize::from(transaction);
        let host = &mut self.hosts[terminal];
        host.reversals |= 1 << transaction;
        match undo {
            Undo::Nothing => return,
            Undo::Tombstone => {
                host.intents[index] = Entry::Tombstone;
                return;
            }
            Undo::Sale => self.ledger[terminal][index].reversals += 1,
            Undo::Void => {
                host.intents[0] = Entry::Approved;
                self.ledger[terminal][0].reinstatements += 1;
            }
        }
        let host = &mut self.hosts[terminal];
        host.intents[index] = Entry::Reversed;
        host.comparison = None;
    }

    fn close(&mut self, terminal: usize) {
        let totals = self.host_totals(terminal);
        let host = &mut self.hosts[terminal];
        host.totals[usize::from(host.batch)] = totals;
        if host.comparison.take() == Some(true) {
            host.balanced |= 1 << host.batch;
        }
        host.batch += 1;
    }

    /// The answer that goes with a record.
    pub(crate) fn answer_of(&self, terminal: usize, work: Work) -> Answer {
        let version = work.version;
        let decided = |transaction, approved| match approved {
            true => Answer::Approved { transaction, version },
            false => Answer::Declined { transaction, version },
        };
        match work.record {
            HostRecord::Decided { transaction, approved } | HostRecord::Repeated { transaction, approved } => {
                decided(transaction, approved)
            }
            HostRecord::Refused { transaction, authentic: true } => decided(transaction, false),
            HostRecord::Refused { transaction, authentic: false } => Answer::Refused { transaction },
            HostRecord::Reversed { transaction, .. } | HostRecord::ReversalRepeated { transaction } => {
                Answer::Acknowledged { transaction, version }
            }
            HostRecord::ReversalRefused { transaction } => Answer::ReversalRefused { transaction },
            HostRecord::SignedIn { sign_in } => {
                let host = &self.hosts[terminal];
                Answer::Keys { sign_in, version: host.key_version, batch: host.batch }
            }
            HostRecord::Compared { batch, balanced } => Answer::Compared { batch, balanced },
            HostRecord::BatchEnded { batch } => Answer::Closed { batch },
        }
    }
}
