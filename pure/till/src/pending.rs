//! What must reach the host whatever happens: script notice, reversal, queued notice (unionpay-pos §8.1, §8.2, §8.4).

use crate::machine::{Goal, Job, Till, Turn};
use crate::message;
use crate::payment::outcome_of;
use crate::receipt::{Receipt, TransactionSlip};
use crate::record::Record;
use crate::response;
use crate::text::Text;
use crate::transaction::{Decision, TransactionStatus};
use crate::wire::{End, Message, bounded};
use crate::words::{Effect, Operation, Screen, TransactionOutcome};
use pedlink::TraceLine;
use types::{ResponseCode, Stan};

/// Answers that end a reversal (D27).
const ACKNOWLEDGEMENTS: [ResponseCode; 3] =
    [ResponseCode::APPROVED, ResponseCode::INVALID_TRANSACTION, ResponseCode::NOT_FOUND];

impl Till {
    /// A restart found a payment that was sent and not decided: its answer will never come.
    pub(crate) fn resolve_open_intent(&mut self, turn: &mut Turn) {
        let Some(stan) = self.state.open_intent else { return };
        let kind = self.state.transaction(stan).map(|transaction| transaction.kind);
        let record = match kind {
            Some(kind) if kind.is_notice() => Record::NoticeQueued { stan },
            Some(kind) if kind.reversible() => Record::ReversalDue { stan, reason: ResponseCode::NO_REPLY },
            _ => {
                let text = Text::new("断电,交易未完成", "Interrupted by a restart");
                let decision = Box::new(Decision::new(TransactionStatus::Declined, text));
                Record::Decided { stan, decision }
            }
        };
        self.note(turn, record);
    }

    pub(crate) fn send_reversal(&mut self, turn: &mut Turn) {
        let reversal = self.state.reversal.as_ref();
        let found = reversal.and_then(|reversal| Some((self.state.transaction(reversal.stan)?, reversal)));
        match found.map(|(transaction, reversal)| message::reversal(transaction, reversal)) {
            Some(request) => self.send(turn, Message::Reversal, request),
            None => self.occasion_failed(turn),
        }
    }

    pub(crate) fn reversal_ended(&mut self, turn: &mut Turn, end: End, trace: Vec<TraceLine>) {
        match end {
            End::Answered(summary) => {
                let code = summary.response_code;
                let acknowledged = code.filter(|code| summary.mac_verified && ACKNOWLEDGEMENTS.contains(code));
                match acknowledged {
                    Some(code) => self.reversal_acknowledged(turn, code, trace),
                    None if self.may_send_again() => self.advance(turn),
                    None => self.occasion_failed(turn),
                }
            }
            End::NoAnswer(_) if self.may_send_again() => self.advance(turn),
            End::Refused { sign_in_needed: true, .. } if self.may_send_again() => self.advance(turn),
            // The host was not asked: that is no failed occasion.
            End::NotSent => {
                let stan = self.state.reversal.as_ref().map(|reversal| (reversal.stan, reversal.occasions));
                if let Some((stan, occasions)) = stan {
                    turn.show(Screen::ReversalPending { stan, occasions });
                }
                self.fail_flush(turn, End::NotSent.text());
            }
            // A wrong MAC stops the occasion and keeps the reversal (§8.1.6).
            End::NoAnswer(_) | End::MacWrong | End::Refused { .. } => self.occasion_failed(turn),
        }
    }

    fn reversal_acknowledged(&mut self, turn: &mut Turn, response_code: ResponseCode, trace: Vec<TraceLine>) {
        let Some(stan) = self.state.reversal.as_ref().map(|reversal| reversal.stan) else { return };
        self.note(turn, Record::ReversalAcknowledged { stan, response_code, trace: bounded(trace) });
        if let Some(transaction) = self.state.transaction(stan) {
            let outcome = TransactionOutcome {
                operation: Operation::Reversal,
                message: Text::new(
                    format!("凭证号 {stan} 冲正成功"),
                    format!("Voucher {stan} is reversed: no money moved"),
                ),
                ..outcome_of(transaction)
            };
            turn.emit(Effect::Outcome(Box::new(outcome)));
        }
        self.step_done(turn);
    }

    /// The host did not acknowledge. After some occasions the till parks: it sells no more, and goes on trying.
    pub(crate) fn occasion_failed(&mut self, turn: &mut Turn) {
        let message =
            Text::new("有待冲正交易,请稍候", "A reversal is pending: no new payment before it is acknowledged");
        let Some(reversal) = self.state.reversal.clone() else { return self.fail_flush(turn, message) };
        let stan = reversal.stan;
        if !reversal.parked {
            let occasions = reversal.occasions.saturating_add(1);
            let parked = occasions >= self.config.park_after_occasions.max(1);
            self.note(turn, Record::ReversalTried { stan, parked });
            if parked {
                self.print_reversal_slip(turn, stan);
            }
            turn.show(Screen::ReversalPending { stan, occasions });
        }
        self.fail_flush(turn, message);
    }

    fn print_reversal_slip(&mut self, turn: &mut Turn, stan: Stan) {
        if let Some(transaction) = self.state.transaction(stan) {
            let slip = TransactionSlip::new(&self.config, transaction);
            turn.emit(Effect::Print(Box::new(Receipt::ReversalPending(Box::new(slip)))));
        }
    }

    pub(crate) fn send_script_notice(&mut self, turn: &mut Turn) {
        let notice = self.state.script_notice.as_ref();
        let found = notice.and_then(|notice| Some((notice, self.state.find(notice.original)?)));
        match found.map(|(notice, of)| message::script_notice(&self.config, &self.state, notice, of)) {
            Some(request) => self.send(turn, Message::ScriptNotice, request),
            None => self.script_notice_over(turn, None),
        }
    }

    pub(crate) fn script_notice_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            // Any valid answer ends it; it informs, it moves no money (§8.2).
            End::Answered(summary) => self.script_notice_over(turn, summary.response_code),
            End::NotSent => self.fail_flush(turn, End::NotSent.text()),
            End::Refused { sign_in_needed: false, .. } => self.script_notice_over(turn, None),
            _ if self.may_send_again() => self.advance(turn),
            _ => self.script_notice_over(turn, None),
        }
    }

    fn script_notice_over(&mut self, turn: &mut Turn, response_code: Option<ResponseCode>) {
        if let Some(original) = self.state.script_notice.as_ref().map(|notice| notice.original) {
            self.note(turn, Record::ScriptNoticeDone { original, response_code });
        }
        self.step_done(turn);
    }

    pub(crate) fn send_notice(&mut self, turn: &mut Turn, stan: Stan) {
        match self.state.transaction(stan).map(message::notice) {
            Some(request) => self.send(turn, Message::Notice(stan), request),
            None => self.notice_failed(turn, stan),
        }
    }

    pub(crate) fn notice_ended(&mut self, turn: &mut Turn, stan: Stan, end: End, trace: Vec<TraceLine>) {
        match end {
            End::Answered(summary) => {
                let Some(code) = summary.response_code else { return self.notice_again(turn, stan) };
                let duplicate = code == ResponseCode::DUPLICATE;
                let approved = (code.is_approval() || duplicate) && summary.mac_verified;
                let refused = !code.is_approval() && !duplicate && !response::is_passing(code) && summary.mac_verified;
                if !approved && !refused {
                    return self.notice_again(turn, stan);
                }
                let (status, text) = if approved {
                    (TransactionStatus::Approved, Text::new("交易成功", "Approved"))
                } else {
                    (TransactionStatus::Declined, response::text(code))
                };
                let decision =
                    Decision { response: Some(*summary), trace: bounded(trace), ..Decision::new(status, text) };
                self.note(turn, Record::NoticeAcknowledged { stan, decision: Box::new(decision) });
                self.notice_over(turn, stan);
            }
            // A card may pay without the host.
            End::NotSent if self.is_paying() => self.notices_wait(turn, stan),
            End::NotSent => self.fail_flush(turn, End::NotSent.text()),
            End::Refused { sign_in_needed: false, .. } => self.notice_failed(turn, stan),
            _ => self.notice_again(turn, stan),
        }
    }

    pub(crate) fn is_paying(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_payment)
    }

    fn notice_again(&mut self, turn: &mut Turn, stan: Stan) {
        if self.may_send_again() { self.advance(turn) } else { self.notices_wait(turn, stan) }
    }

    /// The line carries no notice now. They leave in order, so that the later ones wait as well.
    fn notices_wait(&mut self, turn: &mut Turn, stan: Stan) {
        if let Some(job) = &mut self.job {
            job.notices_wait = true;
        }
        self.notice_failed(turn, stan);
    }

    fn notice_over(&mut self, turn: &mut Turn, stan: Stan) {
        if self.state.transaction(stan).is_some_and(|sale| sale.kind.is_paid_offline()) {
            self.offline_sale_uploaded(turn, stan);
            return self.step_done(turn);
        }
        if let Some(transaction) = self.state.transaction(stan) {
            turn.emit(Effect::Outcome(Box::new(outcome_of(transaction))));
        }
        self.print_copies(turn, stan, false);
        self.step_done(turn);
    }

    /// The notice stays queued. A payment goes on without it; a settlement cannot.
    fn notice_failed(&mut self, turn: &mut Turn, stan: Stan) {
        let settling = matches!(self.job.as_ref().map(|job| &job.goal), Some(Goal::Settle));
        if settling {
            let text = Text::new(
                format!("通知 {stan} 未上送成功,不能结算"),
                format!("Notice {stan} is not acknowledged yet: it must be before settlement"),
            );
            return self.fail_flush(turn, text);
        }
        if let Some(job) = &mut self.job {
            job.notices_tried.push(stan);
            job.flush_failed = true;
        }
        self.step_done(turn);
    }
}
