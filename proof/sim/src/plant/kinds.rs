//! Planted bugs of one kind of transaction: what the host books of it, and tills that present a certificate twice.

use super::{Plant, shift_leg};
use crate::canary::Canary;
use acquirer::{Decision, Kind, OrderPayment};
use machine::store::{Leg, Row};
use std::sync::Arc;
use till::{Record, Transaction, TransactionKind, TransactionStatus};
use types::Stan;

/// 60.1 of an offline sale's upload.
const OFFLINE_SALE: &str = "36";

impl Plant {
    /// The rows that go with a host's decision.
    pub(super) fn decision_rows(&self, decision: &Decision, mut rows: Vec<Row>) -> Vec<Row> {
        use Canary as C;
        let Some(canary) = self.canary.filter(|_| decision.is_approved()) else { return rows };
        let times = match (canary, decision.kind) {
            (C::OfflineNotPosted, Kind::OfflineSale)
            | (C::TipNotPosted, Kind::TipAdjustment)
            | (C::QrSaleNotPosted, Kind::QrSale)
            | (C::QrVoidNotPosted, Kind::QrVoid)
            | (C::InstalmentNotPosted, Kind::Instalment) => 0,
            (C::OfflineDoubled, Kind::OfflineSale)
            | (C::TipDoubled, Kind::TipAdjustment)
            | (C::QrRefundDoubled, Kind::QrRefund) => 2,
            _ => 1,
        };
        for legs in rows.iter_mut().filter_map(posted) {
            match (canary, decision.kind) {
                (C::TipMovesSale, Kind::TipAdjustment) => {
                    let total = i64::try_from(decision.amount.minor()).expect("twelve digits");
                    legs.iter_mut().for_each(|leg| shift_leg(leg, total - leg.delta_minor.abs()));
                }
                (C::InstalmentVoidTurned, Kind::InstalmentVoid) => {
                    legs.iter_mut().for_each(|leg| leg.delta_minor = -leg.delta_minor);
                }
                (C::QrOtherWallet, Kind::QrSale) => self.wallet_before(legs),
                (C::TipOnOtherSale, Kind::Sale | Kind::TipAdjustment) => self.capture_of_sale_before(decision, legs),
                _ => {}
            }
        }
        rows.into_iter().flat_map(|row| repeat(row, times)).collect()
    }

    /// The rows that go with a host's learning that an order is paid.
    pub(super) fn payment_rows(&self, payment: &OrderPayment, mut rows: Vec<Row>) -> Vec<Row> {
        rows.extend(self.is(Canary::QrPaidByQuery).then(|| payment.movement.sale().into_row()));
        rows
    }

    fn wallet_before(&self, legs: &mut [Leg]) {
        for leg in legs.iter_mut().filter(|leg| leg.account.text().starts_with("wallet/")) {
            if let Some(before) = self.last_card.replace(Some(leg.account.clone())) {
                leg.account = before;
            }
        }
    }

    /// Remembers the capture account of a sale; a tip goes to the one before.
    fn capture_of_sale_before(&self, decision: &Decision, legs: &mut [Leg]) {
        for leg in legs.iter_mut().filter(|leg| leg.account.text().starts_with("capture/")) {
            if decision.kind == Kind::Sale {
                self.last_capture.replace(Some(leg.account.clone()));
            } else if let Some(before) = &*self.last_capture.borrow() {
                leg.account = before.clone();
            }
        }
    }
}

fn posted(row: &mut Row) -> Option<&mut Vec<Leg>> {
    if let Row::Posting { legs, .. } = row { Some(legs) } else { None }
}

fn repeat(row: Row, times: usize) -> Vec<Row> {
    if let Row::Posting { .. } = row { vec![row; times] } else { vec![row] }
}

/// The newest sale that the host approved comes once more, as one that its card approved without the host.
pub(super) fn present_certificate_again(records: &mut Vec<Record>) {
    let sold = |record: &Record| match record {
        Record::Decided { stan, decision } if decision.status == TransactionStatus::Approved => {
            Some((*stan, decision.final_blob.clone()?))
        }
        _ => None,
    };
    let is_end = |record: &Record| matches!(record, Record::BatchClosed { .. } | Record::SettlementStarted { .. });
    let of_batch = records.iter().rev().take_while(|record| !is_end(record));
    let Some((stan, certificate)) = of_batch.clone().find_map(sold) else { return };
    let sent = |record: &Record| match record {
        Record::IntentSent { transaction } if transaction.stan == stan => Some(Transaction::clone(transaction)),
        _ => None,
    };
    let sale = of_batch.clone().find_map(sent).filter(|sale| sale.kind == TransactionKind::Sale);
    let taken = records.iter().filter_map(|record| match record {
        Record::StanTaken { stan, .. } => Some(stan.number()),
        _ => None,
    });
    let next = taken.max().and_then(|last| Stan::new(last + 1));
    let (Some(sale), Some(stan)) = (sale, next) else { return };
    let mut template = sale.template.clone();
    template.private_60.replace_range(..2, OFFLINE_SALE);
    template.private_63 = Some(format!("{:<3.3}", sale.card.organisation).into_bytes());
    template.stan = Some(stan);
    let (kind, status, blob) = (TransactionKind::OfflineSale, TransactionStatus::Queued, Some(certificate));
    records.push(Record::StanTaken { stan, session: None });
    let again = Transaction { kind, status, stan, template, blob, ..sale };
    records.push(Record::ApprovedOffline { transaction: Arc::new(again) });
}

/// A till that was switched on knows nothing of what it sold without the host.
pub(super) fn forget_offline_sale(record: &Record) -> bool {
    !matches!(record, Record::ApprovedOffline { .. })
}
