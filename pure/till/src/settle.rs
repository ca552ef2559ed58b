//! Settlement: totals, batch upload, batch end (unionpay-pos §8.3). Every step is written down and resumed after a restart.

use crate::machine::{Till, Turn};
use crate::message;
use crate::receipt::{Receipt, SettlementReceipt};
use crate::record::Record;
use crate::settlement::{SettlementAnswer, SettlementReport, Totals, UploadItem, reconciliation_codes, upload_items};
use crate::text::Text;
use crate::transaction::TransactionStatus;
use crate::wire::{End, Message};
use crate::words::{Effect, Operation, OutcomeStatus, Screen, TransactionOutcome};
use pedlink::ResponseSummary;
use types::{ResponseCode, Stan};

/// Answers that settle an upload or a batch end: taken, or taken before (D-rule of §8.7: a resend may get 94).
fn is_taken(code: Option<ResponseCode>) -> Option<ResponseCode> {
    code.filter(|code| matches!(*code, ResponseCode::APPROVED | ResponseCode::DUPLICATE))
}

impl Till {
    pub(crate) fn go_on_with_settlement(&mut self, turn: &mut Turn) {
        if self.state.settlement.is_none() {
            let batch = self.state.batch;
            let totals = Totals::of(&self.state.transactions, batch);
            let stan = self.take_stan(turn);
            self.note(turn, Record::SettlementStarted { batch, stan, totals });
        }
        let Some(settlement) = &self.state.settlement else { return };
        let Some(upload) = &settlement.upload else {
            let request = message::settlement(&self.config, settlement);
            return self.send(turn, Message::Settlement, request);
        };
        let Some(item) = upload.next() else {
            let request = message::batch_end(&self.config, settlement, upload);
            return self.send(turn, Message::BatchEnd, request);
        };
        let balanced = upload.answer.balanced();
        match self.state.transaction(item.stan) {
            Some(of) => {
                let request = message::upload(&self.config, of, item, balanced);
                self.send(turn, Message::Upload(item), request);
            }
            None => self.park_upload(turn, item.stan),
        }
    }

    pub(crate) fn settlement_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            End::Answered(summary) => match settlement_answer(&summary) {
                Some(answer) => self.settlement_answered(turn, answer),
                None => self.settlement_step_failed(turn, End::Answered(summary).text()),
            },
            end => self.settlement_step_failed(turn, end.text()),
        }
    }

    fn settlement_answered(&mut self, turn: &mut Turn, answer: SettlementAnswer) {
        let Some(batch) = self.state.settlement.as_ref().map(|settlement| settlement.batch) else { return };
        let items = upload_items(&self.state.transactions, batch, answer.balanced());
        let end_stan = self.take_stan(turn);
        self.note(turn, Record::SettlementAnswered { answer, items, end_stan });
        self.step_done(turn);
    }

    /// Tries the step again; when the tries are used up the settlement stays half done and is resumed later.
    fn settlement_step_failed(&mut self, turn: &mut Turn, why: Text) {
        if self.may_send_again() {
            return self.advance(turn);
        }
        let text = Text::new(format!("结算未完成: {}", why.zh), format!("The settlement is not finished: {}", why.en));
        self.fail_flush(turn, text);
    }

    pub(crate) fn upload_ended(&mut self, turn: &mut Turn, item: UploadItem, end: End) {
        match end {
            End::Answered(summary) => match is_taken(summary.response_code) {
                Some(response_code) => {
                    self.note(turn, Record::UploadDone { stan: item.stan, response_code });
                    self.step_done(turn);
                }
                None if self.may_send_again() => self.advance(turn),
                None => self.park_upload(turn, item.stan),
            },
            End::Refused { sign_in_needed: false, .. } => self.park_upload(turn, item.stan),
            end => self.settlement_step_failed(turn, end.text()),
        }
    }

    /// An upload is never dropped: the host takes it one day, or its people say in writing that it is not needed.
    fn park_upload(&mut self, turn: &mut Turn, stan: Stan) {
        let parked = |till: &Self| till.state.parked().is_some_and(|(parked, _)| parked == stan);
        if !parked(self) {
            self.note(turn, Record::UploadParked { stan });
        }
        let text = Text::new(
            format!("凭证号 {stan} 批上送失败,请联系收单行"),
            format!("The host does not take the upload of voucher {stan}: call the acquirer"),
        );
        turn.show(Screen::Parked { stan, reason: text.clone() });
        self.fail_flush(turn, text);
    }

    pub(crate) fn batch_end_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            End::Answered(summary) if is_taken(summary.response_code).is_some() => self.close_batch(turn),
            end => self.settlement_step_failed(turn, end.text()),
        }
    }

    fn close_batch(&mut self, turn: &mut Turn) {
        self.leave_signatures(turn);
        let Some(report) = self.report(turn) else { return };
        self.note(turn, Record::BatchClosed { report: Box::new(report.clone()) });
        let receipt = SettlementReceipt::new(&self.config, &report, false);
        turn.emit(Effect::Print(Box::new(Receipt::Settlement(Box::new(receipt)))));
        self.order_snapshot(turn);
        let Some(job) = &mut self.job else { return };
        job.sign_off_wanted = self.config.automatic_sign_off;
        if job.goal.operation() == Operation::Settlement {
            job.reached = true;
        } else {
            let text = Text::new("批结算完成", "Settlement finished");
            let outcome = TransactionOutcome::new(Operation::Settlement, OutcomeStatus::Done, text);
            let outcome = TransactionOutcome { batch: Some(report.batch), stan: Some(report.stan), ..outcome };
            turn.emit(Effect::Outcome(Box::new(outcome)));
        }
        self.step_done(turn);
    }

    fn report(&self, turn: &Turn) -> Option<SettlementReport> {
        let settlement = self.state.settlement.as_ref()?;
        let upload = settlement.upload.as_ref()?;
        let strangers = self.state.transactions.iter().filter(|transaction| {
            transaction.batch != settlement.batch && transaction.status == TransactionStatus::Approved
        });
        Some(SettlementReport {
            batch: settlement.batch,
            stan: settlement.stan,
            totals: settlement.totals,
            answer: upload.answer.clone(),
            acknowledged: upload.acknowledged,
            resolved_by_hand: upload.resolved_by_hand.clone(),
            other_batches: strangers.map(|transaction| transaction.stan).collect::<Vec<Stan>>(),
            at: self.local_time(turn.now),
        })
    }
}

/// F48 of an 0510; there is no F39 (D24).
fn settlement_answer(summary: &ResponseSummary) -> Option<SettlementAnswer> {
    let host_totals = summary.additional_private.clone()?;
    let (domestic_code, foreign_code) = reconciliation_codes(&host_totals)?;
    Some(SettlementAnswer {
        domestic_code,
        foreign_code,
        host_totals,
        settlement_date: summary.settlement_date.clone(),
    })
}
