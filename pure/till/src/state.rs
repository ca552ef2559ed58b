//! What survives a restart: exactly what replaying the records gives.

use crate::config::limits::{LAST_BATCH_KEPT_MAX, TRACED_TRANSACTIONS_MAX};
use crate::management::Management;
use crate::record::Record;
use crate::settlement::{Settlement, SettlementReport, UploadProgress};
use crate::text::Text;
use crate::transaction::{
    Decision, Pending, PendingReversal, ScriptNotice, Transaction, TransactionKind, TransactionStatus,
};
use crate::words::{HostProof, HostVerdict};
use pedlink::TraceLine;
use std::sync::Arc;
use types::{Amount, AuthorisationCode, BatchNumber, Rrn, Stan};

/// Trace numbers that one batch may use up: one less than there are, so that none comes twice.
pub(crate) const STANS_PER_BATCH_MAX: u32 = 999_998;

/// Orders of the host that this till obeys (unionpay-pos §1.3).
pub mod orders {
    use iso8583::unionpay::{DownloadSet, Requirement};

    /// Upload the status.
    pub const STATUS: u8 = Requirement::UploadStatus.nibble();
    /// Sign in again.
    pub const SIGN_IN: u8 = Requirement::SignIn.nibble();
    /// Update the CAPKs.
    pub const CAPKS: u8 = of(DownloadSet::Capks);
    /// Download the AID parameters.
    pub const AIDS: u8 = of(DownloadSet::Aids);
    /// All of them, in the order in which they are obeyed: the status is told when everything else is there.
    pub const KNOWN: [u8; 11] = [
        SIGN_IN,
        CAPKS,
        AIDS,
        of(DownloadSet::Terminal),
        of(DownloadSet::Contactless),
        of(DownloadSet::CardBlacklist),
        of(DownloadSet::PinFreeBins),
        of(DownloadSet::PinFreeBlacklist),
        of(DownloadSet::Rates),
        of(DownloadSet::Tms),
        STATUS,
    ];

    /// The order that demands a set.
    pub const fn of(set: DownloadSet) -> u8 {
        set.requirement().nibble()
    }
}

/// The durable state of a till.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// How often the till was switched on.
    pub boot: u32,
    /// The next trace number.
    pub next_stan: Stan,
    /// Trace numbers taken since the batch began.
    pub stans_in_batch: u32,
    /// The next card session.
    pub next_session: u32,
    /// The open batch.
    pub batch: BatchNumber,
    /// Whether working keys are there and the host has not asked for new ones.
    pub signed_in: bool,
    /// F32 of the last sign-in.
    pub acquirer_id: Option<String>,
    /// Host time minus the till's clock, in seconds.
    pub clock_skew_s: i64,
    /// Whether the CAPK set is complete.
    pub capks_loaded: bool,
    /// Whether the AID set is complete.
    pub aids_loaded: bool,
    /// Orders of the host not obeyed yet: bit n is order n.
    pub orders: u16,
    /// Payments of the open batch, oldest first.
    pub transactions: Vec<Arc<Transaction>>,
    /// Payments of the batch before, without blobs and traces.
    pub last_batch: Vec<Arc<Transaction>>,
    /// The payment that was sent and not decided.
    pub open_intent: Option<Stan>,
    /// The pending reversal.
    pub reversal: Option<PendingReversal>,
    /// The pending script notice.
    pub script_notice: Option<ScriptNotice>,
    /// The settlement that is half done.
    pub settlement: Option<Settlement>,
    /// The last one that was finished.
    pub last_settlement: Option<SettlementReport>,
    /// What the host told the till of itself.
    pub management: Management,
}

impl Default for State {
    fn default() -> Self {
        Self {
            boot: 0,
            next_stan: Stan::FIRST,
            stans_in_batch: 0,
            next_session: 1,
            batch: BatchNumber::FIRST,
            signed_in: false,
            acquirer_id: None,
            clock_skew_s: 0,
            capks_loaded: false,
            aids_loaded: false,
            orders: 0,
            transactions: Vec::new(),
            last_batch: Vec::new(),
            open_intent: None,
            reversal: None,
            script_notice: None,
            settlement: None,
            last_settlement: None,
            management: Management::default(),
        }
    }
}

impl State {
    /// Payments of the open batch, oldest first.
    fn of_batch(&self) -> impl DoubleEndedIterator<Item = &Transaction> {
        self.transactions.iter().map(Arc::as_ref)
    }

    /// Every payment that is at hand, newest first: the open batch, then the one before.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Transaction> {
        self.of_batch().rev().chain(self.last_batch.iter().rev().map(Arc::as_ref))
    }

    /// A payment of the open batch.
    pub fn transaction(&self, stan: Stan) -> Option<&Transaction> {
        self.of_batch().rev().find(|transaction| transaction.stan == stan)
    }

    /// A payment of the open batch, otherwise of the one before.
    pub fn find(&self, stan: Stan) -> Option<&Transaction> {
        self.newest_first().find(|transaction| transaction.stan == stan)
    }

    /// The approved pre-authorisation of the open batch with this code and date.
    pub fn authorisation(&self, code: AuthorisationCode, mmdd: &str) -> Option<&Transaction> {
        self.of_batch().rev().find(|transaction| {
            transaction.kind == TransactionKind::PreAuthorisation
                && transaction.status == TransactionStatus::Approved
                && transaction.authorisation_code() == Some(code)
                && transaction.mmdd() == mmdd
        })
    }

    /// What a sale comes to with the tip that the host has booked on it.
    pub fn adjusted_amount(&self, sale: &Transaction) -> Amount {
        let booked = |tip: &&Transaction| tip.status == TransactionStatus::Approved;
        self.tip_of(sale.stan).filter(booked).map_or(sale.amount, |tip| tip.amount)
    }

    /// The tip that was added to a sale, or is still on its way.
    pub fn tip_of(&self, sale: Stan) -> Option<&Transaction> {
        self.of_batch().find(|tip| {
            let of_sale = tip.original.as_ref().and_then(|original| original.stan) == Some(sale);
            let stands = !matches!(tip.status, TransactionStatus::Declined | TransactionStatus::Cancelled);
            tip.kind == TransactionKind::TipAdjustment && of_sale && stands
        })
    }

    /// Offline sales that the host has not heard of, oldest first.
    pub fn unsent_offline_sales(&self) -> impl Iterator<Item = &Transaction> {
        self.queued_notices().filter(|sale| sale.kind.is_paid_offline())
    }

    /// The approved QR payment with this reference number, with its voucher code; of the open batch or the one before.
    pub fn qr_payment(&self, rrn: Rrn) -> Option<(&Transaction, String)> {
        let paid = |payment: &&Transaction| {
            payment.kind.waits_for_payer()
                && payment.status == TransactionStatus::Approved
                && payment.rrn() == Some(rrn)
        };
        let payment = self.newest_first().find(paid)?;
        Some((payment, payment.voucher_code()?))
    }

    /// The first queued notice.
    pub fn queued_notice(&self) -> Option<&Transaction> {
        self.queued_notices().next()
    }

    /// All queued notices, oldest first.
    pub fn queued_notices(&self) -> impl Iterator<Item = &Transaction> {
        self.of_batch().filter(|transaction| transaction.status == TransactionStatus::Queued)
    }

    /// The pending order that is obeyed next, leaving out those whose bit is set in `obeyed`.
    pub fn next_order(&self, obeyed: u16) -> Option<u8> {
        orders::KNOWN.into_iter().find(|order| (self.orders & !obeyed) & (1 << order) != 0)
    }

    /// What parks the till, with its reason.
    pub fn parked(&self) -> Option<(Stan, Text)> {
        let reversal = self.reversal.as_ref().filter(|reversal| reversal.parked);
        let upload = || self.settlement.as_ref().and_then(|settlement| settlement.upload.as_ref());
        match (reversal, upload()) {
            (Some(reversal), _) => Some((
                reversal.stan,
                Text::new("冲正未获主机确认,请联系收单行", "its reversal is not acknowledged; call the acquirer"),
            )),
            (None, Some(upload)) if upload.parked => upload.next().map(|item| {
                (item.stan, Text::new("批上送未获主机确认", "its upload is not acknowledged; call the acquirer"))
            }),
            _ => None,
        }
    }

    /// Everything that still has to reach the host, in the order in which it will be tried.
    pub fn pending(&self) -> Vec<Pending> {
        let mut pending = Vec::new();
        pending.extend(self.script_notice.iter().map(|notice| Pending::ScriptNotice { original: notice.original }));
        pending.extend(
            self.reversal.iter().map(|reversal| Pending::Reversal { stan: reversal.stan, parked: reversal.parked }),
        );
        pending.extend(self.queued_notices().map(|notice| Pending::Notice { stan: notice.stan }));
        let signatures = self.management.hopeful_signatures();
        pending.extend(signatures.map(|signature| Pending::Signature { stan: signature.stan }));
        pending.extend(self.settlement.iter().map(|settlement| {
            Pending::Settlement {
                batch: settlement.batch,
                parked: settlement
                    .upload
                    .as_ref()
                    .filter(|upload| upload.parked)
                    .and_then(UploadProgress::next)
                    .map(|item| item.stan),
            }
        }));
        let known = orders::KNOWN.into_iter().filter(|order| self.orders & (1 << order) != 0);
        pending.extend(known.map(|order| Pending::Order { order }));
        pending
    }

    /// Whether anything at all is pending.
    pub(crate) fn anything_pending(&self) -> bool {
        self.money_pending() || self.next_order(0).is_some() || self.management.hopeful_signatures().next().is_some()
    }

    /// Whether the host has still to hear of something that was paid, undone or counted.
    pub(crate) fn money_pending(&self) -> bool {
        self.script_notice.is_some()
            || self.reversal.is_some()
            || self.settlement.is_some()
            || self.queued_notice().is_some()
    }

    /// [`State::apply`] of a fact that nobody else needs: what is large is moved and not copied.
    pub fn take_in(&mut self, record: Record) {
        match record {
            Record::IntentSent { transaction } => {
                self.open_intent = Some(transaction.stan);
                self.push(transaction);
            }
            Record::DeclinedOffline { transaction } => self.push(transaction),
            Record::Snapshot { state } => *self = *state,
            other => self.apply(&other),
        }
    }

    /// Takes a fact in. It is the only way in which this state changes.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::PoweredOn { boot } => self.boot = *boot,
            Record::SignedIn { .. }
            | Record::SignedOut { .. }
            | Record::CapksLoaded { .. }
            | Record::AidsLoaded { .. }
            | Record::ParametersLost { .. }
            | Record::SetTaken { .. }
            | Record::SetAcknowledged { .. }
            | Record::StatusReported {}
            | Record::OrderPending { .. } => self.apply_management(record),
            Record::SignatureTaken { stan, image } => self.management.sign(*stan, image),
            Record::SignatureTried { stan } => self.management.signature_tried(*stan),
            Record::SignatureUploaded { stan, .. } => self.management.signature_uploaded(*stan),
            Record::SignatureLeft { stan } => self.management.forget_signature(*stan),
            Record::StanTaken { stan, session } => self.take_stan(*stan, *session),
            Record::IntentSent { transaction } => {
                self.open_intent = Some(transaction.stan);
                self.push(Arc::clone(transaction));
            }
            Record::DeclinedOffline { transaction } => self.push(Arc::clone(transaction)),
            Record::ApprovedOffline { transaction } => {
                self.close_intent(transaction.stan);
                self.transactions.retain(|unsent| unsent.stan != transaction.stan);
                self.push(Arc::clone(transaction));
            }
            Record::IntentCancelled { stan, message } => self.cancel(*stan, message),
            Record::ReversalDue { .. } | Record::ReversalTried { .. } | Record::ReversalAcknowledged { .. } => {
                self.apply_reversal(record)
            }
            Record::Decided { stan, decision } | Record::NoticeAcknowledged { stan, decision } => {
                self.decide(*stan, decision);
            }
            Record::NoticeQueued { stan } => {
                self.close_intent(*stan);
                self.change(*stan, |transaction| transaction.status = TransactionStatus::Queued);
            }
            Record::ScriptNoticeDue { notice } => self.script_notice = Some(notice.clone()),
            Record::ScriptNoticeDone { .. } => self.script_notice = None,
            Record::ParkedResolved { stan, proof } => self.resolve(*stan, proof),
            Record::Snapshot { state } => *self = (**state).clone(),
            Record::SettlementStarted { .. }
            | Record::SettlementAnswered { .. }
            | Record::UploadDone { .. }
            | Record::UploadParked { .. }
            | Record::BatchClosed { .. } => self.apply_settlement(record),
        }
    }

    fn apply_management(&mut self, record: &Record) {
        match record {
            Record::SignedIn { batch, acquirer_id, clock_skew_s } => {
                if *batch != self.batch {
                    self.stans_in_batch = 0;
                }
                self.batch = *batch;
                self.signed_in = true;
                self.acquirer_id.clone_from(acquirer_id);
                self.clock_skew_s = *clock_skew_s;
                self.order_done(orders::SIGN_IN);
            }
            Record::SignedOut { .. } => self.signed_in = false,
            Record::CapksLoaded { .. } => {
                self.capks_loaded = true;
                self.order_done(orders::CAPKS);
            }
            Record::AidsLoaded { .. } => {
                self.aids_loaded = true;
                self.order_done(orders::AIDS);
            }
            Record::ParametersLost { capks, aids } => {
                self.capks_loaded &= !capks;
                self.aids_loaded &= !aids;
            }
            Record::SetTaken { set, content } => self.management.take(*set, content),
            Record::SetAcknowledged { set } => self.order_done(orders::of(*set)),
            Record::StatusReported {} => self.order_done(orders::STATUS),
            Record::OrderPending { order } if *order < 16 => self.orders |= 1 << order,
            _ => {}
        }
    }

    fn order_done(&mut self, order: u8) {
        self.orders &= !(1 << order);
    }

    fn take_stan(&mut self, stan: Stan, session: Option<u32>) {
        self.next_stan = stan.next();
        self.stans_in_batch = self.stans_in_batch.saturating_add(1);
        if let Some(session) = session {
            self.next_session = session.wrapping_add(1).max(1);
        }
    }

    fn push(&mut self, transaction: Arc<Transaction>) {
        self.transactions.push(transaction);
        if let Some(old) = self.transactions.len().checked_sub(TRACED_TRANSACTIONS_MAX + 1) {
            Arc::make_mut(&mut self.transactions[old]).trace = Vec::new();
        }
    }

    fn change(&mut self, stan: Stan, edit: impl FnOnce(&mut Transaction)) {
        if let Some(transaction) = self.transactions.iter_mut().rev().find(|transaction| transaction.stan == stan) {
            edit(Arc::make_mut(transaction));
        }
    }

    fn close_intent(&mut self, stan: Stan) {
        if self.open_intent == Some(stan) {
            self.open_intent = None;
        }
    }

    fn cancel(&mut self, stan: Stan, message: &Text) {
        self.close_intent(stan);
        self.change(stan, |transaction| {
            transaction.status = TransactionStatus::Cancelled;
            transaction.message = message.clone();
            transaction.shred();
        });
    }

    fn decide(&mut self, stan: Stan, decision: &Decision) {
        self.close_intent(stan);
        self.change(stan, |transaction| settle_decision(transaction, decision));
        let ending = self.transaction(stan).filter(|transaction| {
            let kind = transaction.kind;
            (kind.voids_in_batch() || kind.ends_authorisation()) && transaction.status == TransactionStatus::Approved
        });
        let original = ending.and_then(|ending| ending.original.as_ref()).and_then(|original| original.stan);
        if let Some(original) = original {
            self.change(original, |transaction| transaction.voided_by = Some(stan));
        }
    }

    fn apply_reversal(&mut self, record: &Record) {
        match record {
            Record::ReversalDue { stan, reason } => {
                self.close_intent(*stan);
                self.reversal = Some(PendingReversal { stan: *stan, reason: *reason, occasions: 0, parked: false });
                self.change(*stan, |transaction| {
                    transaction.status = TransactionStatus::Reversing;
                    transaction.reversal_reason = Some(*reason);
                });
            }
            Record::ReversalTried { stan, parked } => {
                if let Some(reversal) = self.reversal.as_mut().filter(|reversal| reversal.stan == *stan) {
                    reversal.occasions = reversal.occasions.saturating_add(1);
                    reversal.parked |= parked;
                }
            }
            Record::ReversalAcknowledged { stan, trace, .. } => self.end_reversal(*stan, trace),
            _ => {}
        }
    }

    fn end_reversal(&mut self, stan: Stan, trace: &[TraceLine]) {
        self.reversal = None;
        self.change(stan, |transaction| {
            transaction.status = TransactionStatus::Reversed;
            transaction.trace.extend_from_slice(trace);
            transaction.shred();
        });
    }

    fn resolve(&mut self, stan: Stan, proof: &HostProof) {
        if self.reversal.as_ref().is_some_and(|reversal| reversal.stan == stan) {
            return self.end_reversal(stan, &[]);
        }
        if self.transaction(stan).is_some_and(|transaction| transaction.status == TransactionStatus::Queued) {
            let status = match proof.verdict {
                HostVerdict::Settled => TransactionStatus::Approved,
                HostVerdict::NeverBooked => TransactionStatus::Declined,
            };
            return self.change(stan, |transaction| transaction.status = status);
        }
        if let Some(upload) = self.upload_of(stan) {
            upload.done = upload.done.saturating_add(1);
            upload.parked = false;
            upload.resolved_by_hand.push(stan);
        }
    }

    fn upload_of(&mut self, stan: Stan) -> Option<&mut UploadProgress> {
        let upload = self.settlement.as_mut()?.upload.as_mut()?;
        (upload.next()?.stan == stan).then_some(upload)
    }

    fn apply_settlement(&mut self, record: &Record) {
        match record {
            Record::SettlementStarted { batch, stan, totals } => {
                self.settlement = Some(Settlement { batch: *batch, stan: *stan, totals: *totals, upload: None });
            }
            Record::SettlementAnswered { answer, items, end_stan } => {
                if let Some(settlement) = &mut self.settlement {
                    settlement.upload = Some(UploadProgress {
                        answer: answer.clone(),
                        items: items.clone(),
                        done: 0,
                        acknowledged: 0,
                        end_stan: *end_stan,
                        parked: false,
                        resolved_by_hand: Vec::new(),
                    });
                }
            }
            Record::UploadDone { stan, .. } => {
                if let Some(upload) = self.upload_of(*stan) {
                    upload.done = upload.done.saturating_add(1);
                    upload.acknowledged = upload.acknowledged.saturating_add(1);
                    upload.parked = false;
                }
            }
            Record::UploadParked { stan } => {
                if let Some(upload) = self.upload_of(*stan) {
                    upload.parked = true;
                }
            }
            Record::BatchClosed { report } => self.close_batch(report),
            _ => {}
        }
    }

    fn close_batch(&mut self, report: &SettlementReport) {
        self.settlement = None;
        self.last_settlement = Some(report.clone());
        let unresolved = |transaction: &Arc<Transaction>| {
            use TransactionStatus::{Queued, Reversing, Sent};
            matches!(transaction.status, Sent | Reversing | Queued)
        };
        let all = core::mem::take(&mut self.transactions);
        (self.transactions, self.last_batch) = all.into_iter().partition(unresolved);
        let excess = self.last_batch.len().saturating_sub(LAST_BATCH_KEPT_MAX);
        self.last_batch.drain(..excess);
        self.last_batch.iter_mut().map(Arc::make_mut).for_each(archive);
        self.management.signatures.clear();
        if self.batch == report.batch {
            self.batch = report.batch.next();
            self.stans_in_batch = 0;
        }
    }
}

/// Keeps what a reprint needs and nothing else.
fn archive(transaction: &mut Transaction) {
    transaction.shred();
    transaction.trace = Vec::new();
    if let Some(response) = &mut transaction.response {
        response.private_62 = None;
        response.additional_private = None;
    }
}

/// A payment that is being reversed takes in what was learnt, but its status stays: nothing but the acknowledgement ends it.
fn settle_decision(transaction: &mut Transaction, decision: &Decision) {
    if transaction.status != TransactionStatus::Reversing {
        transaction.status = decision.status;
    }
    transaction.message = decision.message.clone();
    transaction.response.clone_from(&decision.response);
    transaction.chip = decision.chip.clone();
    if decision.final_blob.is_some() {
        transaction.final_blob.clone_from(&decision.final_blob);
    }
    transaction.trace.extend_from_slice(&decision.trace);
    if transaction.status == TransactionStatus::Approved {
        transaction.forget_payment_code();
    }
    let over = matches!(transaction.status, TransactionStatus::Declined | TransactionStatus::Cancelled);
    if over || transaction.kind == TransactionKind::Balance {
        transaction.shred();
    }
}
