//! Settlement totals, phases and reports (unionpay-pos §8.3).

use crate::transaction::{Side, Transaction, TransactionKind, TransactionStatus};
use std::sync::Arc;
use types::{AMOUNT_MINOR_MAX, BatchNumber, CivilTime, Stan};

/// Digits of one group of F48.
const GROUP_DIGITS: usize = 31;
/// Digits of F48 in a settlement.
pub const TOTALS_DIGITS: usize = 2 * GROUP_DIGITS;
/// Largest count of a group.
const COUNT_MAX: u16 = 999;

/// Reconciliation code "balanced" (对账平).
pub const BALANCED: u8 = 1;

/// Totals of one group of cards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupTotals {
    /// Debit total, minor units: sales and completions.
    pub debit_minor: u64,
    /// Number of debits.
    pub debit_count: u16,
    /// Credit total, minor units: voids and refunds.
    pub credit_minor: u64,
    /// Number of credits.
    pub credit_count: u16,
}

impl GroupTotals {
    fn debit(&mut self, minor: u64) {
        self.debit_minor = self.debit_minor.saturating_add(minor);
        self.debit_count = self.debit_count.saturating_add(1);
    }

    fn credit(&mut self, minor: u64) {
        self.credit_minor = self.credit_minor.saturating_add(minor);
        self.credit_count = self.credit_count.saturating_add(1);
    }

    fn count(&mut self, transaction: &Transaction) {
        if let Some(tip) = transaction.tip() {
            self.debit_minor = self.debit_minor.saturating_add(tip.minor());
            return;
        }
        match transaction.kind.side() {
            Some(Side::Debit) => self.debit(transaction.amount.minor()),
            Some(Side::Credit) => self.credit(transaction.amount.minor()),
            None => {}
        }
    }

    /// Whether F48 can carry them with one more payment of `minor` in either direction.
    fn has_room_for(mut self, minor: u64) -> bool {
        self.debit(minor);
        self.credit(minor);
        self.fits()
    }

    fn fits(&self) -> bool {
        self.debit_minor.max(self.credit_minor) <= AMOUNT_MINOR_MAX
            && self.debit_count.max(self.credit_count) <= COUNT_MAX
    }

    fn digits(&self) -> String {
        format!("{:012}{:03}{:012}{:03}0", self.debit_minor, self.debit_count, self.credit_minor, self.credit_count)
    }
}

/// Totals of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Domestic cards (内卡).
    pub domestic: GroupTotals,
    /// Foreign cards (外卡).
    pub foreign: GroupTotals,
}

impl Totals {
    /// Totals of the approved transactions of one batch. A voided sale counts in both directions; what was reversed counts
    /// in none. A sale with a tip counts once, with the new total (unionpay-pos §8.3).
    pub fn of(transactions: &[Arc<Transaction>], batch: BatchNumber) -> Self {
        let mut totals = Self::default();
        counted(transactions, batch).for_each(|transaction| totals.group(transaction).count(transaction));
        totals
    }

    fn group(&mut self, transaction: &Transaction) -> &mut GroupTotals {
        if transaction.domestic() { &mut self.domestic } else { &mut self.foreign }
    }

    /// Whether F48 can carry the totals of a batch with one more payment of `minor`, whatever it is.
    pub(crate) fn have_room_for(transactions: &[Arc<Transaction>], batch: BatchNumber, minor: u64) -> bool {
        // What fits into one group fits into two: only a batch that is nearly full is told apart by its cards.
        let mut together = GroupTotals::default();
        counted(transactions, batch).for_each(|transaction| together.count(transaction));
        together.has_room_for(minor) || {
            let totals = Self::of(transactions, batch);
            totals.domestic.has_room_for(minor) && totals.foreign.has_room_for(minor)
        }
    }

    /// The 62 digits of F48 in a request.
    pub(crate) fn digits(&self) -> String {
        format!("{}{}", self.domestic.digits(), self.foreign.digits())
    }
}

/// What a settlement counts.
fn counted(transactions: &[Arc<Transaction>], batch: BatchNumber) -> impl Iterator<Item = &Transaction> {
    let approved = move |of: &&Transaction| of.batch == batch && of.status == TransactionStatus::Approved;
    transactions.iter().map(Arc::as_ref).filter(approved)
}

/// Reconciliation codes of an 0510: the last digit of each group.
pub(crate) fn reconciliation_codes(additional_private: &str) -> Option<(u8, u8)> {
    if additional_private.len() != TOTALS_DIGITS || !additional_private.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let code = |position: usize| additional_private.as_bytes()[position] - b'0';
    Some((code(GROUP_DIGITS - 1), code(TOTALS_DIGITS - 1)))
}

/// What an upload carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadKind {
    /// A copy of a refund or completion notice (step 5).
    Notice,
    /// The certificate of an approved chip transaction (steps 2 and 6).
    Certificate,
    /// The refusal (AAC) of a chip transaction that was declined without the host (step 7).
    Declined,
    /// The certificate of an approved chip transaction whose card did not accept the issuer's cryptogram (step 8).
    IssuerAuthenticationFailed,
}

/// One message of a batch upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadItem {
    /// The transaction.
    pub stan: Stan,
    /// What of it.
    pub kind: UploadKind,
}

/// A step of the upload: what it carries, and which transactions belong to it.
type Group = (UploadKind, fn(&Transaction) -> bool);

/// Everything that must be uploaded, in the order of §8.3. Notices and offline sales go only when the totals differ (D34): the
/// host has them already.
pub(crate) fn upload_items(transactions: &[Arc<Transaction>], batch: BatchNumber, balanced: bool) -> Vec<UploadItem> {
    let groups: [Group; 5] = [
        (UploadKind::Certificate, |of| of.kind.is_paid_offline() && certified(of) && !issuer_refuted(of)),
        (UploadKind::Notice, |of| of.kind.is_notice() && !of.kind.is_paid_offline() && is_approved(of)),
        (UploadKind::Certificate, |of| !of.kind.is_paid_offline() && certified(of) && !issuer_refuted(of)),
        (UploadKind::Declined, refused_by_chip),
        (UploadKind::IssuerAuthenticationFailed, |of| certified(of) && issuer_refuted(of)),
    ];
    let unbalanced_only = |index: usize| index < 2;
    let wanted = groups.into_iter().enumerate().filter(|(index, _)| !balanced || !unbalanced_only(*index));
    let items = wanted.flat_map(|(_, (kind, belongs))| {
        let of_group = transactions.iter().filter(move |of| of.batch == batch && belongs(of));
        of_group.map(move |of| UploadItem { stan: of.stan, kind })
    });
    items.collect()
}

fn is_approved(of: &Transaction) -> bool {
    of.status == TransactionStatus::Approved
}

/// Whether an approved chip transaction leaves a certificate: where the chip ran a payment.
fn certified(of: &Transaction) -> bool {
    let paid = of.kind.is_sale() || of.kind == TransactionKind::PreAuthorisation;
    paid && is_approved(of) && of.chip_read()
}

/// Whether card and terminal declined without the host, and the PED kept the card's refusal.
fn refused_by_chip(of: &Transaction) -> bool {
    let before_the_host = of.status == TransactionStatus::Declined && of.response.is_none();
    before_the_host && of.chip_read() && of.chip.cryptogram_kind == "AAC" && of.final_blob.is_some()
}

/// Whether the card did not accept the issuer's cryptogram: bit 7 of byte 5 of the TVR (EMV Book 3 annex C5).
fn issuer_refuted(of: &Transaction) -> bool {
    let byte_5 = of.chip.tvr.get(8..10).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte_5.is_some_and(|byte| byte & 0x40 != 0)
}

/// What the host said to the totals.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettlementAnswer {
    /// Reconciliation code of domestic cards: 1 balanced, 2 not, 3 error.
    pub domestic_code: u8,
    /// The same for foreign cards.
    pub foreign_code: u8,
    /// The host's F48, digits.
    pub host_totals: String,
    /// F15, `MMDD`.
    pub settlement_date: Option<String>,
}

impl SettlementAnswer {
    /// Whether both groups are balanced. Code 3 counts as not balanced.
    pub fn balanced(&self) -> bool {
        self.domestic_code == BALANCED && self.foreign_code == BALANCED
    }
}

/// How far a settlement that was answered has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadProgress {
    /// The host's answer.
    pub answer: SettlementAnswer,
    /// What is to be uploaded.
    pub items: Vec<UploadItem>,
    /// How many of them are settled one way or the other.
    pub done: u16,
    /// How many of them the host acknowledged.
    pub acknowledged: u16,
    /// Trace number of the batch end; the same on every send.
    pub end_stan: Stan,
    /// Whether the next item was refused too often: only the host or an operator's act goes on.
    pub parked: bool,
    /// Transactions whose upload an operator resolved by hand.
    pub resolved_by_hand: Vec<Stan>,
}

impl UploadProgress {
    /// The next item to be sent; `None`: the batch end.
    pub fn next(&self) -> Option<UploadItem> {
        self.items.get(usize::from(self.done)).copied()
    }
}

/// A settlement that is not finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// The batch that is being closed.
    pub batch: BatchNumber,
    /// Trace number of the 0500; the same on every send.
    pub stan: Stan,
    /// What the till says.
    pub totals: Totals,
    /// `None` until the host answered the 0500.
    pub upload: Option<UploadProgress>,
}

/// A settlement that is finished, for the slip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettlementReport {
    /// The batch that was closed.
    pub batch: BatchNumber,
    /// Trace number of the 0500.
    pub stan: Stan,
    /// The till's totals.
    pub totals: Totals,
    /// The host's answer.
    pub answer: SettlementAnswer,
    /// Messages uploaded and acknowledged.
    pub acknowledged: u16,
    /// Transactions whose upload an operator resolved by hand.
    pub resolved_by_hand: Vec<Stan>,
    /// Approved transactions of other batches, which the host must have closed by itself: not in these totals.
    pub other_batches: Vec<Stan>,
    /// Local time of the end.
    pub at: CivilTime,
}
