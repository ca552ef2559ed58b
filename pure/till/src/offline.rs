//! Sales without the host: how much may be sold so, and what follows when card and terminal have approved (store and forward,
//! unionpay-pos rows 24 and §8.4).

use crate::machine::{Activity, Till, Turn};
use crate::payment::{Ending, LastWord, outcome_of};
use crate::receipt::{Receipt, TransactionSlip};
use crate::record::Record;
use crate::text::Text;
use crate::transaction::{Transaction, TransactionKind, TransactionStatus};
use crate::wire::bounded;
use crate::words::{Effect, Operation, TransactionOutcome};
use pedlink::{OnlineAnswer, PedCommand, TraceLine};
use std::sync::Arc;
use types::{Amount, Stan};

impl Till {
    /// Whether one more sale of this amount may wait for its upload: by sale, sum, count and age. The age rests on the wall clock; it
    /// bounds a risk and promises nothing.
    pub(crate) fn may_sell_offline(&self, turn: &Turn, amount: Amount) -> bool {
        let limits = &self.config.offline;
        let (mut count, mut total_minor, mut oldest_ms) = (0_u16, amount.minor(), None);
        for sale in self.state.unsent_offline_sales() {
            count = count.saturating_add(1);
            total_minor = total_minor.saturating_add(sale.amount.minor());
            oldest_ms = oldest_ms.or(Some(sale.wall_ms));
        }
        let aged = oldest_ms.is_some_and(|oldest_ms: u64| turn.now.wall_ms.abs_diff(oldest_ms) > limits.age_ms);
        count < limits.count && amount.minor() <= limits.sale_minor && total_minor <= limits.total_minor && !aged
    }

    /// Card and terminal approved: the PED ends the card's part and hands out what the upload needs.
    pub(crate) fn take_offline_approval(&mut self, turn: &mut Turn, session: u32) {
        turn.ped(PedCommand::FinishCard { session, answer: OnlineAnswer::NoAnswer });
        let activity = Activity::FinishingCard { ending: Box::new(Ending::ApprovedOffline), trace: Vec::new() };
        self.wait_for(turn, activity, self.config.timeouts.finish_ms);
    }

    /// The chip's last word on a sale that the host was not asked about.
    pub(crate) fn conclude_offline(&mut self, turn: &mut Turn, last_word: LastWord, trace: Vec<TraceLine>) {
        let approved = last_word.approved;
        let text = if approved { approved_offline() } else { Text::new("卡片脱机拒绝", "Declined by the card") };
        if approved {
            return match self.offline_sale(turn, last_word, text, trace) {
                Some(sale) => self.keep_offline_sale(turn, sale),
                None => self.fail(turn, nothing_to_upload()),
            };
        }
        let declined = self
            .payment_template()
            .and_then(|template| self.transaction(turn, template, None, TransactionStatus::Declined, text.clone()));
        let outcome = self.payment_outcome(crate::words::OutcomeStatus::Declined, text);
        if let Some(mut transaction) = declined {
            transaction.chip = last_word.chip;
            transaction.final_blob = last_word.blob;
            transaction.trace = bounded([core::mem::take(&mut transaction.trace), trace].concat());
            self.note(turn, Record::DeclinedOffline { transaction: Arc::new(transaction) });
        }
        self.finish(turn, outcome);
    }

    /// The chip's last word after the host could not be reached; surely no byte had left. `false`: the sale is not made.
    pub(crate) fn sells_unreached(&self, turn: &Turn, last_word: &LastWord) -> bool {
        let Some(payment) = self.payment() else { return false };
        let (kind, amount) = (payment.goal.kind, payment.goal.amount);
        kind == TransactionKind::Sale
            && last_word.approved
            && last_word.blob.is_some()
            && self.config.offline.when_unreachable
            && self.may_sell_offline(turn, amount)
    }

    /// Takes the sale that could not be sent as one that the card approved.
    pub(crate) fn sell_unreached(&mut self, turn: &mut Turn, last_word: LastWord, trace: Vec<TraceLine>) {
        let before = self.payment().and_then(|payment| self.state.transaction(payment.stan));
        let before = before.map(|unsent| unsent.trace.clone()).unwrap_or_default();
        match self.offline_sale(turn, last_word, approved_offline(), [before, trace].concat()) {
            Some(sale) => self.keep_offline_sale(turn, sale),
            None => self.fail(turn, nothing_to_upload()),
        }
    }

    /// The running sale as one that the card approved; `None` without a blob to upload it from.
    fn offline_sale(
        &mut self,
        turn: &Turn,
        last_word: LastWord,
        text: Text,
        trace: Vec<TraceLine>,
    ) -> Option<Transaction> {
        let blob = last_word.blob?;
        let payment = self.job.as_mut().and_then(|job| job.payment.as_mut())?;
        payment.goal.kind = TransactionKind::OfflineSale;
        let template = self.payment_template()?;
        let mut sale = self.transaction(turn, template, Some(blob), TransactionStatus::Queued, text)?;
        sale.chip = last_word.chip;
        sale.trace = bounded([core::mem::take(&mut sale.trace), trace].concat());
        Some(sale)
    }

    fn keep_offline_sale(&mut self, turn: &mut Turn, sale: Transaction) {
        let stan = sale.stan;
        let outcome = outcome_of(&sale);
        self.note(turn, Record::ApprovedOffline { transaction: Arc::new(sale) });
        self.print_copies(turn, stan, false);
        self.finish(turn, outcome);
    }

    /// The host has decided on an offline sale. The shopper has a slip already; a refusal is the shop's loss, and it is told so.
    pub(crate) fn offline_sale_uploaded(&mut self, turn: &mut Turn, stan: Stan) {
        let Some(sale) = self.state.transaction(stan) else { return };
        let outcome = TransactionOutcome { operation: Operation::OfflineUpload, ..outcome_of(sale) };
        if sale.status == TransactionStatus::Declined {
            let slip = TransactionSlip::new(&self.config, sale);
            turn.emit(Effect::Print(Box::new(Receipt::UploadRefused(Box::new(slip)))));
        }
        turn.emit(Effect::Outcome(Box::new(outcome)));
    }
}

fn approved_offline() -> Text {
    Text::new("脱机批准,稍后自动上送", "Approved without the host; uploaded by itself as soon as there is a line")
}

fn nothing_to_upload() -> Text {
    Text::new("密码键盘未给出上送数据", "The PIN entry device gave nothing to upload")
}
