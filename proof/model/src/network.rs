//! The messages that were ever sent between one terminal and the host. None of them is ever used up.

use crate::config::Kind;
use crate::state::TRANSACTIONS;

/// Versions of keys that a set of messages can tell apart.
pub const KEY_VERSIONS_MAX: u8 = 8;

/// What a till asks. The key version of an authenticated request stands beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// 0200 or 0220 of a transaction.
    Financial(u8),
    /// 0400 of a transaction.
    Reversal(u8),
    /// A sign-in with this number (its STAN).
    SignIn(u8),
    /// 0500 with the totals of a batch.
    Totals(u8),
    /// The end of a batch's upload.
    BatchEnd(u8),
}

/// What the host answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// A transaction is approved, under the MAC of these keys.
    Approved {
        /// Which transaction.
        transaction: u8,
        /// Version of the keys.
        version: u8,
    },
    /// A transaction is declined, under the MAC of these keys.
    Declined {
        /// Which transaction.
        transaction: u8,
        /// Version of the keys.
        version: u8,
    },
    /// A transaction is refused without a MAC: stale keys or a closed batch.
    Refused {
        /// Which transaction.
        transaction: u8,
    },
    /// A reversal is acknowledged, under the MAC of these keys.
    Acknowledged {
        /// Whose reversal.
        transaction: u8,
        /// Version of the keys.
        version: u8,
    },
    /// A reversal is refused without a MAC.
    ReversalRefused {
        /// Whose reversal.
        transaction: u8,
    },
    /// New keys, and the batch that is open.
    Keys {
        /// Number of the sign-in that is answered.
        sign_in: u8,
        /// Version of the new keys.
        version: u8,
        /// The host's open batch.
        batch: u8,
    },
    /// What the comparison of a batch's totals gave.
    Compared {
        /// The batch.
        batch: u8,
        /// Whether the totals are equal.
        balanced: bool,
    },
    /// A batch is closed.
    Closed {
        /// The batch.
        batch: u8,
    },
}

/// All messages of one terminal: sets of small numbers, bit by bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Network {
    /// Kind and batch of each transaction as it was sent.
    pub sent: [Option<(Kind, u8)>; TRANSACTIONS],
    financial: [u8; TRANSACTIONS],
    reversal: [u8; TRANSACTIONS],
    sign_in: u8,
    totals: u8,
    batch_end: u8,
    approved: [u8; TRANSACTIONS],
    declined: [u8; TRANSACTIONS],
    refused: u8,
    acknowledged: [u8; TRANSACTIONS],
    reversal_refused: u8,
    /// By version: 0, or the sign-in's number and the batch, packed by `packed_keys`.
    keys: [u8; KEY_VERSIONS_MAX as usize],
    balanced: u8,
    differing: u8,
    closed: u8,
}

fn bit(number: u8) -> u8 {
    debug_assert!(number < 8, "a set holds eight numbers");
    1 << number
}

/// The members of a set, smallest first.
fn members(set: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |number| set & bit(*number) != 0)
}

fn packed_keys(sign_in: u8, batch: u8) -> u8 {
    0x80 | sign_in << 4 | batch
}

impl Network {
    /// Puts a request under keys of this version on its way.
    pub fn send(&mut self, request: Request, version: u8) {
        match request {
            Request::Financial(transaction) => self.financial[usize::from(transaction)] |= bit(version),
            Request::Reversal(transaction) => self.reversal[usize::from(transaction)] |= bit(version),
            Request::SignIn(number) => self.sign_in |= bit(number),
            Request::Totals(batch) => self.totals |= bit(batch),
            Request::BatchEnd(batch) => self.batch_end |= bit(batch),
        }
    }

    /// Puts an answer on its way.
    pub fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Approved { transaction, version } => self.approved[usize::from(transaction)] |= bit(version),
            Answer::Declined { transaction, version } => self.declined[usize::from(transaction)] |= bit(version),
            Answer::Refused { transaction } => self.refused |= bit(transaction),
            Answer::Acknowledged { transaction, version } => {
                self.acknowledged[usize::from(transaction)] |= bit(version);
            }
            Answer::ReversalRefused { transaction } => self.reversal_refused |= bit(transaction),
            Answer::Keys { sign_in, version, batch } => self.keys[usize::from(version)] = packed_keys(sign_in, batch),
            Answer::Compared { batch, balanced: true } => self.balanced |= bit(batch),
            Answer::Compared { batch, balanced: false } => self.differing |= bit(batch),
            Answer::Closed { batch } => self.closed |= bit(batch),
        }
    }

    /// Every request that can arrive, with the version of its keys (0 where it has no MAC).
    pub fn requests(&self) -> impl Iterator<Item = (Request, u8)> + use<> {
        let network = *self;
        let of = |index: usize| u8::try_from(index).expect("a transaction's index is small");
        let financial = (0..TRANSACTIONS)
            .flat_map(move |i| members(network.financial[i]).map(move |version| (Request::Financial(of(i)), version)));
        let reversal = (0..TRANSACTIONS)
            .flat_map(move |i| members(network.reversal[i]).map(move |version| (Request::Reversal(of(i)), version)));
        financial
            .chain(reversal)
            .chain(members(network.sign_in).map(|number| (Request::SignIn(number), 0)))
            .chain(members(network.totals).map(|batch| (Request::Totals(batch), 0)))
            .chain(members(network.batch_end).map(|batch| (Request::BatchEnd(batch), 0)))
    }

    /// Every answer to this request that can arrive at a till with keys of this version. One under other keys belongs to an exchange
    /// that was given up.
    pub fn answers_to(&self, request: Request, version: u8) -> impl Iterator<Item = Answer> + use<> {
        let network = *self;
        let has = |set: u8, number: u8, answer: Answer| (set & bit(number) != 0).then_some(answer);
        let found: [Option<Answer>; 3] = match request {
            Request::Financial(transaction) => [
                has(network.approved[usize::from(transaction)], version, Answer::Approved { transaction, version }),
                has(network.declined[usize::from(transaction)], version, Answer::Declined { transaction, version }),
                has(network.refused, transaction, Answer::Refused { transaction }),
            ],
            Request::Reversal(transaction) => [
                has(
                    network.acknowledged[usize::from(transaction)],
                    version,
                    Answer::Acknowledged { transaction, version },
                ),
                has(network.reversal_refused, transaction, Answer::ReversalRefused { transaction }),
                None,
            ],
            Request::Totals(batch) => [
                has(network.balanced, batch, Answer::Compared { batch, balanced: true }),
                has(network.differing, batch, Answer::Compared { batch, balanced: false }),
                None,
            ],
            Request::BatchEnd(batch) => [has(network.closed, batch, Answer::Closed { batch }), None, None],
            Request::SignIn(_) => [None; 3],
        };
        let keys = (0..KEY_VERSIONS_MAX).filter_map(move |made| network.keys_for(request, made));
        found.into_iter().flatten().chain(keys)
    }

    fn keys_for(&self, request: Request, version: u8) -> Option<Answer> {
        let Request::SignIn(sign_in) = request else { return None };
        let packed = self.keys[usize::from(version)];
        let batch = packed & 0xF;
        (packed == packed_keys(sign_in, batch)).then_some(Answer::Keys { sign_in, version, batch })
    }

    /// Whether a late approval of this transaction can still arrive.
    pub fn has_approval(&self, transaction: usize) -> bool {
        self.approved[transaction] != 0
    }

    /// The keys under which a transaction went out first; the present ones have never been older.
    pub fn first_version(&self, transaction: usize) -> u8 {
        members(self.financial[transaction]).next().unwrap_or(0)
    }

    /// Whether a transaction was ever on the wire.
    pub fn was_sent(&self, transaction: usize) -> bool {
        self.sent[transaction].is_some()
    }

    /// Forgets the requests of a transaction.
    pub(crate) fn forget_financial(&mut self, transaction: usize) {
        self.financial[transaction] = 0;
    }

    /// Forgets the answers to a transaction.
    pub(crate) fn forget_decision(&mut self, transaction: usize) {
        self.approved[transaction] = 0;
        self.declined[transaction] = 0;
        self.refused &= !bit(u8::try_from(transaction).expect("small"));
    }

    /// Forgets the answers to a transaction's reversal, and the reversal if it is `done`.
    pub(crate) fn forget_reversal(&mut self, transaction: usize, done: bool) {
        self.acknowledged[transaction] = 0;
        self.reversal_refused &= !bit(u8::try_from(transaction).expect("small"));
        if done {
            self.reversal[transaction] = 0;
        }
    }

    /// Forgets the answers to all sign-ins but this one.
    pub(crate) fn forget_keys_but(&mut self, sign_in: Option<u8>) {
        let wanted = |packed: u8| sign_in.is_some_and(|number| packed == packed_keys(number, packed & 0xF));
        self.keys.iter_mut().filter(|packed| !wanted(**packed)).for_each(|packed| *packed = 0);
    }

    /// Forgets sign-ins.
    pub(crate) fn forget_sign_ins(&mut self) {
        self.sign_in = 0;
    }

    /// Forgets everything about a batch that is closed on both sides.
    pub(crate) fn forget_batch(&mut self, batch: u8) {
        let keep = !bit(batch);
        for set in [&mut self.totals, &mut self.batch_end, &mut self.balanced, &mut self.differing, &mut self.closed] {
            *set &= keep;
        }
    }
}
