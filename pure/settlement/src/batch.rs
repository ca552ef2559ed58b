//! Closed batches as a terminal's journal at the host tells them.

use acquirer::{BatchClose, Decision, Kind, OrderPayment, Record, Reversal, Undo};
use ledger::{CardGroup, ClearingKind, ClearingStatus, Intent, Movement};
use types::{MerchantId, Rrn, TruncatedPan};

/// One transaction that a batch counts, or would have counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Which message decided it.
    pub intent: Intent,
    /// What it is.
    pub kind: ClearingKind,
    /// What became of it.
    pub status: ClearingStatus,
    /// The host's reference number.
    pub rrn: Rrn,
    /// The amount, minor units.
    pub amount_minor: u64,
    /// Which total it counts to.
    pub group: CardGroup,
    /// The card, as it may be shown.
    pub truncated: Option<TruncatedPan>,
    /// The money that it moved, if it was approved.
    pub movement: Option<Movement>,
}

impl Item {
    /// Whose sale it is about. A terminal may have moved to another merchant since.
    pub fn merchant(&self) -> MerchantId {
        self.movement.as_ref().map_or(self.intent.merchant, |movement| movement.sale.merchant)
    }
}

/// A batch between its terminal's last settlement and this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedBatch {
    /// Its end.
    pub close: BatchClose,
    /// Number of the record that closed it.
    pub sequence: u64,
    /// Its transactions, in the order of their decisions.
    pub items: Vec<Item>,
    /// What reversals undid meanwhile of batches that were closed before: the money moved now, so it is settled now.
    pub late: Vec<Item>,
}

/// Reads a terminal's records in their order.
#[derive(Debug, Default)]
pub struct BatchReader {
    items: Vec<Item>,
    late: Vec<Item>,
}

impl BatchReader {
    /// Takes the next record in; gives the batch that it closes.
    pub fn read(&mut self, sequence: u64, record: &Record) -> Option<ClosedBatch> {
        match record {
            Record::Decided(decision) if decision.kind == Kind::TipAdjustment => self.adjust(decision),
            Record::Decided(decision) => self.items.extend(item(decision)),
            Record::Reversed(reversal) => self.undo(reversal),
            Record::OrderPaid { sale, payment } => self.pay(sale, payment),
            Record::BatchClosed(close) => {
                let (items, late) = (core::mem::take(&mut self.items), core::mem::take(&mut self.late));
                return Some(ClosedBatch { close: (**close).clone(), sequence, items, late });
            }
            _ => {}
        }
        None
    }

    /// A tip raises its sale: one line, one fee, with the new total.
    fn adjust(&mut self, decision: &Decision) {
        let Some(tip) = &decision.movement else { return };
        let Some(sale) = self.items.iter_mut().find(|item| item.intent == tip.sale) else { return };
        sale.amount_minor = decision.amount.minor();
        sale.movement = sale.movement.take().map(|movement| Movement { amount: decision.amount, ..movement });
    }

    /// What waited for its buyer is a sale from now on.
    fn pay(&mut self, sale: &Intent, payment: &OrderPayment) {
        if let Some(item) = self.items.iter_mut().find(|item| item.intent == *sale) {
            item.status = ClearingStatus::Approved;
            item.movement = Some(payment.movement.clone());
        }
    }

    fn undo(&mut self, reversal: &Reversal) {
        let (movement, given_back) = match &reversal.undo {
            Undo::Sale(movement) | Undo::Completion(movement, _) => (movement, ClearingKind::Refund),
            // A void that is undone is a sale that stands again.
            Undo::Void(movement) => (movement, ClearingKind::Sale),
            Undo::Hold(_) | Undo::Release(_) | Undo::Order(_) | Undo::Nothing | Undo::Tombstone => return,
        };
        let standing = self.items.iter_mut().find(|item| item.intent == reversal.original);
        if let Some(item) = standing {
            item.status = ClearingStatus::Reversed;
            return;
        }
        self.late.push(Item {
            intent: reversal.original,
            kind: given_back,
            status: ClearingStatus::Approved,
            rrn: reversal.answer.rrn,
            amount_minor: movement.amount.minor(),
            group: CardGroup::Domestic,
            truncated: None,
            movement: Some(movement.clone()),
        });
    }
}

/// What a decision counts as; `None` if it moves no money by its nature.
fn item(decision: &Decision) -> Option<Item> {
    let kind = match decision.kind {
        Kind::Sale | Kind::Instalment | Kind::OfflineSale | Kind::Completion | Kind::CompletionNotice => {
            ClearingKind::Sale
        }
        Kind::QrSale | Kind::QrOrder => ClearingKind::Sale,
        Kind::Void | Kind::InstalmentVoid | Kind::CompletionVoid | Kind::QrVoid => ClearingKind::Void,
        Kind::Refund | Kind::QrRefund => ClearingKind::Refund,
        Kind::Balance | Kind::PreAuthorisation | Kind::PreAuthorisationVoid | Kind::TipAdjustment => return None,
    };
    Some(Item {
        intent: decision.intent,
        kind,
        status: if decision.is_approved() { ClearingStatus::Approved } else { ClearingStatus::Declined },
        rrn: decision.answer.rrn,
        amount_minor: decision.amount.minor(),
        group: decision.group,
        truncated: decision.truncated,
        movement: decision.movement.clone(),
    })
}
