//! What slips and outcomes say, and what a cashier remembers of them.

use super::offline_sales::OFFLINE_WALLET;
use super::{Authorised, Refundable, World};
use crate::auditor::Claim;
use crate::replay::Told;
use till::{AuthorisationReference, Operation, OutcomeStatus, TransactionOutcome, TransactionStatus};
use types::Stan;

/// Sales remembered for refunds, for each terminal.
const REFUNDABLE_MAX: usize = 40;
/// Pre-authorisations remembered for their end, for each terminal.
const AUTHORISATIONS_MAX: usize = 20;
/// How QR payments are counted that the buyer scanned.
const ORDERS: &str = "扫码消费 of them orders";
/// What stands on the slip of a sale that the host was not asked about.
const OFFLINE_SLIP: &str = "OFFLINE SALE";
/// Chance in millionths that a cashier gives up what could not be ended.
const GIVEN_UP: u32 = 300_000;

impl World {
    pub(super) fn slip_printed(&mut self, index: usize, receipt: &till::Receipt) {
        if let till::Receipt::Settlement(slip) = receipt {
            self.settlement_printed(slip);
        }
        let till::Receipt::Payment(slip) = receipt else { return };
        if slip.duplicated || slip.copy != till::Copy::Merchant {
            return;
        }
        let name = (slip.terminal.text().to_owned(), slip.batch.parse().unwrap_or(0), slip.stan.number());
        self.read_statement();
        self.note("receipt", format!("{name:?}").as_bytes());
        *self.slips_by_title.entry(slip.title).or_default() += 1;
        // A tip's slip has the new total; what it is about is the part that is the tip.
        let amount_minor = slip.tip.unwrap_or(slip.amount).minor();
        if slip.title.contains(OFFLINE_SLIP) {
            self.tell(Told::Promise(name.0.clone(), name.1, name.2, amount_minor));
            return self.offline_slip(index, &name, amount_minor);
        }
        self.tell(Told::Receipt(name.0.clone(), name.1, name.2));
        self.auditor.receipt(&name);
        let finding = self.witness.receipt(&name, amount_minor);
        self.hear(finding);
    }

    fn settlement_printed(&mut self, slip: &till::SettlementReceipt) {
        let totals = &slip.report.totals;
        let debit_minor = totals.domestic.debit_minor + totals.foreign.debit_minor;
        let credit_minor = totals.domestic.credit_minor + totals.foreign.credit_minor;
        if !slip.duplicated {
            self.slips.insert((slip.terminal, slip.report.batch), (debit_minor, credit_minor));
        }
    }

    pub(super) fn outcome(&mut self, index: usize, outcome: &TransactionOutcome) {
        *self.outcomes.entry(outcome.status.name()).or_default() += 1;
        self.note(
            "outcome",
            format!("{index} {:?} {:?} {:?}", outcome.operation, outcome.status, outcome.stan).as_bytes(),
        );
        self.outcome_heard(index, outcome);
        if (outcome.operation, outcome.status) == (Operation::QrOrder, OutcomeStatus::Approved) {
            *self.slips_by_title.entry(ORDERS).or_default() += 1;
        }
        let sells =
            [Operation::Sale, Operation::Instalment, Operation::OfflineUpload, Operation::QrSale, Operation::QrOrder];
        let sells = sells.contains(&outcome.operation);
        if sells && outcome.status == OutcomeStatus::Approved {
            self.remember_for_refunds(index, outcome);
        }
        let ends = [Operation::PreAuthorisationVoid, Operation::Completion, Operation::CompletionNotice];
        if ends.contains(&outcome.operation) {
            self.try_end_again(index, outcome);
        }
        if outcome.operation == Operation::PreAuthorisation && outcome.status == OutcomeStatus::Approved {
            self.remember_authorisation(index, outcome);
        }
        if outcome.operation == Operation::Completion && outcome.status == OutcomeStatus::Approved {
            let list = &mut self.completed[index];
            list.truncate(AUTHORISATIONS_MAX);
            if let Some(stan) = outcome.stan {
                list.insert(0, (stan, self.terminals[index].in_reader));
            }
        }
        // Nobody stands there and waits for the end of a reversal or an upload.
        if !matches!(outcome.operation, Operation::Reversal | Operation::OfflineUpload) {
            let delay = self.shoppers.between(1_000, 15_000);
            self.plan_shopper(index, delay);
        }
    }

    fn outcome_heard(&mut self, index: usize, outcome: &TransactionOutcome) {
        let moves_money = matches!(
            outcome.operation,
            Operation::Sale
                | Operation::Void
                | Operation::Refund
                | Operation::TipAdjustment
                | Operation::Instalment
                | Operation::OfflineUpload
                | Operation::QrSale
                | Operation::QrOrder
        );
        let (Some(stan), Some(batch)) = (outcome.stan, outcome.batch) else { return };
        if moves_money && outcome.status == OutcomeStatus::Approved {
            self.read_statement();
            let name = (self.peers[index].terminal.text().to_owned(), batch.number(), stan.number());
            let finding = self.witness.told_approved(&name);
            self.hear(finding);
        }
    }

    fn remember_for_refunds(&mut self, index: usize, outcome: &TransactionOutcome) {
        let till = self.terminals[index].till();
        let found = outcome.stan.and_then(|stan| till.and_then(|till| till.find(stan)));
        let (Some(rrn), Some(amount), Some(transaction)) = (outcome.rrn, outcome.amount, found) else { return };
        let sold_offline = transaction.kind.is_paid_offline();
        let wallet = if sold_offline { OFFLINE_WALLET } else { self.terminals[index].in_reader };
        let voucher_code = outcome.voucher_code.clone();
        let sale = Refundable { stan: transaction.stan, voucher_code, rrn, amount, date: transaction.at.date, wallet };
        let list = &mut self.refundable[index];
        if list.len() >= REFUNDABLE_MAX {
            list.remove(0);
        }
        list.push(sale);
    }

    fn remember_authorisation(&mut self, index: usize, outcome: &TransactionOutcome) {
        let till = self.terminals[index].till();
        let found = outcome.stan.and_then(|stan| till.and_then(|till| till.find(stan)));
        let (Some(code), Some(amount), Some(transaction)) = (outcome.authorisation_code, outcome.amount, found) else {
            return;
        };
        let named = AuthorisationReference { code, date: transaction.at.date };
        let wallet = self.terminals[index].in_reader;
        self.keep_in_view(index, Authorised { named, amount, wallet });
    }

    fn keep_in_view(&mut self, index: usize, authorised: Authorised) {
        let list = &mut self.authorised[index];
        if list.len() >= AUTHORISATIONS_MAX {
            list.remove(0);
        }
        list.push(authorised);
    }

    /// What could not be ended is tried again, until the cashier gives it up.
    fn try_end_again(&mut self, index: usize, outcome: &TransactionOutcome) {
        let Some(authorised) = self.ending[index].take() else { return };
        let ended = matches!(outcome.status, OutcomeStatus::Approved | OutcomeStatus::Queued);
        if !ended && !self.shoppers.chance(GIVEN_UP) {
            self.keep_in_view(index, authorised);
        }
    }

    /// The terminal's own words about what the auditor still holds open.
    pub(super) fn sync_claims(&mut self, index: usize) {
        let terminal = self.peers[index].terminal.text().to_owned();
        for name in self.auditor.open_intents(&terminal).to_vec() {
            let Some(till) = self.terminals[index].till() else { return };
            let found =
                Stan::new(name.2).and_then(|stan| till.find(stan)).filter(|found| found.batch.number() == name.1);
            if let Some(transaction) = found {
                let claim = claim_of(transaction.status);
                self.auditor.claim(&name, claim);
            }
        }
    }
}

fn claim_of(status: TransactionStatus) -> Claim {
    match status {
        TransactionStatus::Sent | TransactionStatus::Reversing | TransactionStatus::Queued => Claim::Open,
        TransactionStatus::Approved => Claim::Approved,
        TransactionStatus::Declined | TransactionStatus::Cancelled => Claim::NotDone,
        TransactionStatus::Reversed => Claim::Reversed,
    }
}
