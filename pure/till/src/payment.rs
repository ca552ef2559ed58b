//! Sale, void, refund, balance, pre-authorisation and what ends it: from the card to the slip, with every way out of it.

use crate::config::limits::RESTARTS_PER_JOB_MAX;
use crate::machine::{Activity, PaymentGoal, Till, Turn, prints};
use crate::message::{self, Payment, Request};
use crate::qr::PayerWait;
use crate::receipt::{Copy, PaymentReceipt, Receipt};
use crate::record::Record;
use crate::response;
use crate::text::Text;
use crate::transaction::{Decision, ScriptNotice, Transaction, TransactionKind, TransactionStatus};
use crate::wire::{End, Message, bounded};
use crate::words::{CardBalance, Effect, Operation, OutcomeStatus, Screen, TransactionOutcome};
use pedlink::{
    AccountPart, CardDecision, CardFailure, CardSummary, CardTransaction, ChipData, ChipReceipt, FrameTemplate,
    OnlineAnswer, PedCommand, PedReply, ResponseSummary, SealedBlob, TraceLine,
};
use std::sync::Arc;
use types::{ResponseCode, Rrn, Stan};

/// Tag 9C of a sale, a balance inquiry and a card read for its number only.
mod transaction_type {
    pub const SALE: u8 = 0x00;
    pub const REFUND: u8 = 0x20;
    pub const BALANCE: u8 = 0x31;
    pub const PRE_AUTHORISATION: u8 = 0x03;
}

/// F37 of a refund that names its payment otherwise.
const NO_RRN: &str = "000000000000";

/// A payment between its trace number and its decision.
#[derive(Debug)]
pub(crate) struct ActivePayment {
    pub goal: PaymentGoal,
    pub stan: Stan,
    /// The card session; `None` if the account data comes from a blob.
    pub session: Option<u32>,
    pub card: Option<CardSummary>,
    /// Blob of the original, for a void without the card.
    pub blob: Option<SealedBlob>,
    pub template: Option<FrameTemplate>,
    pub trace: Vec<TraceLine>,
    /// The wait for a buyer who has still to pay.
    pub wait: Option<PayerWait>,
}

/// How a payment ends once the chip has had its last word.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The host approved: the card decides.
    Approved(Box<ResponseSummary>),
    /// The host declined.
    Declined(Box<ResponseSummary>),
    /// No valid answer; what follows from it is written down already.
    Unanswered(Text),
    /// Surely no byte left. Nothing is written down yet: the card may still approve by itself.
    Unreached(Text),
    /// Card and terminal approved, the host was not asked.
    ApprovedOffline,
}

/// What follows once a card session is over that nothing was sent for.
#[derive(Debug)]
pub(crate) enum AfterCard {
    /// The operation ends; a decline of the card is written down.
    Finish { outcome: Box<TransactionOutcome>, decline: Option<Box<Transaction>> },
    /// The payment begins anew after a sign-in.
    Restart,
}

impl Till {
    pub(crate) fn begin_payment(&mut self, turn: &mut Turn, goal: PaymentGoal) {
        // A sign-in on the way may have changed the batch, or the host what is parked.
        let refusal =
            self.payment_refusal(&goal).or_else(|| self.void_refusal(&goal)).or_else(|| self.tip_refusal(&goal));
        if let Some(refusal) = refusal {
            turn.show(refusal.clone());
            return self.fail(turn, refusal.text());
        }
        let code = goal.payer.clone().map(|payer| (payer, None));
        let remembered = || self.account_of_original(&goal).map(|(card, blob)| (card, Some(blob)));
        let known = code.or_else(remembered);
        let stan = self.state.next_stan;
        let session = known.is_none().then_some(self.state.next_session);
        self.note(turn, Record::StanTaken { stan, session });
        let (card, blob) = known.unzip();
        let blob = blob.flatten();
        let read = session.map(|session| self.read_card_command(turn, &goal, stan, session));
        let shown = Screen::PresentCard { operation: goal.kind.operation(), amount: goal.amount };
        if let Some(job) = &mut self.job {
            let (template, trace, wait) = (None, Vec::new(), None);
            job.payment = Some(ActivePayment { goal, stan, session, card, blob, template, trace, wait });
        }
        match read {
            Some(command) => {
                turn.show(shown);
                turn.ped(command);
                self.wait_for(turn, Activity::ReadingCard, self.config.timeouts.card_ms);
            }
            None => self.complete_payment(turn),
        }
    }

    /// Card and blob of the original, for a void or completion without the card (D43).
    fn account_of_original(&self, goal: &PaymentGoal) -> Option<(CardSummary, SealedBlob)> {
        let needs_card = match goal.kind {
            TransactionKind::Void | TransactionKind::InstalmentVoid | TransactionKind::CompletionVoid => {
                self.config.void_needs_card
            }
            // The shopper has left: the tip stands on the signed slip.
            TransactionKind::TipAdjustment => false,
            kind => !kind.ends_authorisation() || self.config.completion_needs_card,
        };
        if needs_card {
            return None;
        }
        let sale = self.state.transaction(goal.original.as_ref()?.stan?)?;
        Some((sale.card.clone(), sale.blob.clone()?))
    }

    fn read_card_command(&self, turn: &Turn, goal: &PaymentGoal, stan: Stan, session: u32) -> PedCommand {
        let transaction = CardTransaction {
            amount: goal.amount,
            transaction_type: match goal.kind {
                TransactionKind::Sale
                | TransactionKind::OfflineSale
                | TransactionKind::Instalment
                | TransactionKind::TipAdjustment
                | TransactionKind::Completion
                | TransactionKind::CompletionNotice => transaction_type::SALE,
                TransactionKind::Balance => transaction_type::BALANCE,
                TransactionKind::PreAuthorisation => transaction_type::PRE_AUTHORISATION,
                TransactionKind::Void
                | TransactionKind::InstalmentVoid
                | TransactionKind::Refund
                | TransactionKind::PreAuthorisationVoid
                | TransactionKind::CompletionVoid => transaction_type::REFUND,
                // No card is read for these.
                TransactionKind::QrSale | TransactionKind::QrOrder => transaction_type::SALE,
                TransactionKind::QrVoid | TransactionKind::QrRefund => transaction_type::REFUND,
            },
            at: self.local_time(turn.now),
            stan,
            account_only: !goal.kind.runs_chip(),
            force_online_pin: self.asks_pin(goal.kind),
            online_only: goal.kind != TransactionKind::Sale || !self.may_sell_offline(turn, goal.amount),
        };
        PedCommand::ReadCard { session, transaction }
    }

    /// Whether a PIN is asked for even if the card does not.
    fn asks_pin(&self, kind: TransactionKind) -> bool {
        match kind {
            TransactionKind::Balance => true,
            TransactionKind::PreAuthorisationVoid => self.config.authorisation_void_needs_pin,
            TransactionKind::Completion => self.config.completion_needs_pin,
            _ => false,
        }
    }

    pub(crate) fn payment(&self) -> Option<&ActivePayment> {
        self.job.as_ref().and_then(|job| job.payment.as_ref())
    }

    pub(crate) fn card_read(
        &mut self,
        turn: &mut Turn,
        session: u32,
        result: Result<CardSummary, CardFailure>,
        trace: Vec<TraceLine>,
    ) {
        if self.payment().and_then(|payment| payment.session) != Some(session) {
            return;
        }
        if let Activity::LeavingCard { .. } = self.activity {
            return self.left_card_reply(turn, None);
        }
        if !matches!(self.activity, Activity::ReadingCard) {
            return;
        }
        self.idle();
        if let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) {
            payment.trace.extend(trace);
        }
        match result {
            Ok(card) => self.card_taken(turn, card),
            Err(failure) => self.card_failed(turn, &failure),
        }
    }

    fn card_failed(&mut self, turn: &mut Turn, failure: &CardFailure) {
        if let CardFailure::ParametersMissing { capks, aids } = failure {
            return self.parameters_missing(turn, *capks, *aids);
        }
        let (status, zh, en) = match failure {
            CardFailure::Cancelled => (OutcomeStatus::Cancelled, "已取消".to_owned(), "Cancelled".to_owned()),
            CardFailure::NoApplication => (
                OutcomeStatus::Declined,
                "卡片无本终端支持的应用".to_owned(),
                "The card has no application that this terminal knows".to_owned(),
            ),
            CardFailure::Blocked => (
                OutcomeStatus::Declined,
                "卡片或应用已锁定".to_owned(),
                "The card or its application is blocked".to_owned(),
            ),
            CardFailure::CardError { detail } => {
                (OutcomeStatus::Failed, format!("读卡失败: {detail}"), format!("The card cannot be read: {detail}"))
            }
            CardFailure::EntryModeNotSupported { mode } => (
                OutcomeStatus::Failed,
                format!("不支持的读卡方式: {mode}"),
                format!("Entry mode not supported: {mode}"),
            ),
            CardFailure::ParametersMissing { .. } => return,
        };
        let outcome = self.payment_outcome(status, Text::new(zh, en));
        self.finish(turn, outcome);
    }

    /// The PED lacks what the card needs: signs in again, downloads, and goes on with the payment (mission M29).
    fn parameters_missing(&mut self, turn: &mut Turn, capks: bool, aids: bool) {
        self.note(turn, Record::ParametersLost { capks, aids });
        let screen = Screen::ParametersMissing { capks, aids };
        let Some(job) = &mut self.job else { return };
        if job.restarts >= RESTARTS_PER_JOB_MAX {
            return self.fail(turn, screen.text());
        }
        job.restarts += 1;
        job.sign_in_wanted = true;
        job.payment = None;
        turn.show(screen);
        self.step_done(turn);
    }

    fn card_taken(&mut self, turn: &mut Turn, card: CardSummary) {
        let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) else { return };
        payment.card = Some(card.clone());
        let kind = payment.goal.kind;
        let wanted = if kind.runs_chip() { CardDecision::Online } else { CardDecision::AccountOnly };
        let sold_offline = kind == TransactionKind::Sale && card.decision == CardDecision::ApprovedOffline;
        if card.decision != wanted && !sold_offline {
            return self.decline_offline(turn, &card);
        }
        if !self.may_be_card_of_original(kind, &card) {
            let text = Text::new("与原交易卡号不符", "This is not the card of the original sale");
            let outcome = self.payment_outcome(OutcomeStatus::Declined, text);
            return self.finish(turn, outcome);
        }
        let twin = self.recent_twin(turn, kind, &card);
        if let Some((question, about)) = twin.map(|twin| (self.question_about(twin), about(twin))) {
            self.note_duplicate(about);
            turn.show(question);
            return self.wait_for(turn, Activity::Confirming, self.config.timeouts.operator_ms);
        }
        self.complete_payment(turn);
    }

    /// A void in the batch must find its original here; a pre-authorisation that is not of this batch only the host knows.
    fn may_be_card_of_original(&self, kind: TransactionKind, card: &CardSummary) -> bool {
        let original = self.payment().and_then(|payment| payment.goal.original.as_ref());
        let found = original.and_then(|original| original.stan).and_then(|stan| self.state.transaction(stan));
        found.map_or(!kind.voids_in_batch(), |original| original.card.token == card.token)
    }

    /// An approved sale (or pre-authorisation) of the same card and amount a moment ago. A question, not a decision: it may rest on
    /// the wall clock.
    fn recent_twin(&self, turn: &Turn, kind: TransactionKind, card: &CardSummary) -> Option<&Transaction> {
        let asked = kind.is_sale() || kind == TransactionKind::PreAuthorisation;
        if !asked || self.config.duplicate_window_ms == 0 {
            return None;
        }
        let amount = self.payment()?.goal.amount;
        self.state
            .newest_first()
            .filter(|sale| (sale.kind == kind || (sale.kind.is_sale() && kind.is_sale())) && sale.is_paid())
            .filter(|sale| sale.voided_by.is_none() && sale.card.token == card.token && sale.amount == amount)
            .find(|sale| turn.now.wall_ms.abs_diff(sale.wall_ms) <= self.config.duplicate_window_ms)
    }

    /// The earlier slip stands beside the question: the cashier sees what was paid, when and by whom.
    fn question_about(&self, twin: &Transaction) -> Screen {
        let slip = PaymentReceipt::new(&self.config, twin, Copy::Merchant, true);
        Screen::ConfirmDuplicate {
            amount: twin.amount,
            card: twin.card.truncated,
            earlier: twin.stan,
            receipt: Box::new(Receipt::Payment(Box::new(slip))),
        }
    }

    pub(crate) fn confirm(&mut self, turn: &mut Turn) {
        if let Activity::Confirming = self.activity {
            self.idle();
            self.note_duplicate(format!("operator {} confirmed: it is meant", self.config.operator));
            self.complete_payment(turn);
        }
    }

    /// The cashier says no, or nothing. Nothing was sent; that it was asked and by whom it was answered stays on record.
    pub(crate) fn decline_duplicate(&mut self, turn: &mut Turn, answer: &str) {
        let text = Text::new("重复交易未确认,已取消", "Not confirmed: cancelled");
        let outcome = self.payment_outcome(OutcomeStatus::Cancelled, text.clone());
        self.note_duplicate(format!("operator {} {answer}", self.config.operator));
        let template = self.payment_template();
        let decline = template.and_then(|template| {
            self.transaction(turn, template, None, TransactionStatus::Cancelled, text).map(Box::new)
        });
        self.leave_card(turn, AfterCard::Finish { outcome: Box::new(outcome), decline });
    }

    /// What becomes of the question of a duplicate, on the payment's record.
    fn note_duplicate(&mut self, text: String) {
        if let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) {
            payment.trace.push(TraceLine { topic: "duplicate".to_owned(), text });
        }
    }

    /// The card or the terminal declined, or approved where this till cannot take it: nothing is sent.
    fn decline_offline(&mut self, turn: &mut Turn, card: &CardSummary) {
        let text = match card.decision {
            CardDecision::ApprovedOffline => {
                Text::new("不支持脱机批准,交易取消", "Offline approval is not supported: nothing was charged")
            }
            CardDecision::DeclinedOffline => Text::new("卡片脱机拒绝", "Declined by the card"),
            CardDecision::Online | CardDecision::AccountOnly => {
                Text::new("读卡结果异常,交易取消", "Unexpected answer of the reader: nothing was charged")
            }
        };
        let outcome = self.payment_outcome(OutcomeStatus::Declined, text.clone());
        let template = self.payment_template();
        let transaction = template.and_then(|template| {
            self.transaction(turn, template, None, TransactionStatus::Declined, text).map(Box::new)
        });
        self.leave_card(turn, AfterCard::Finish { outcome: Box::new(outcome), decline: transaction });
    }

    /// Ends a card session that nothing was sent for.
    fn leave_card(&mut self, turn: &mut Turn, then: AfterCard) {
        match self.payment().and_then(|payment| payment.session) {
            Some(session) => {
                turn.ped(PedCommand::CancelCard { session });
                self.wait_for(turn, Activity::LeavingCard { then }, self.config.timeouts.ped_ms);
            }
            None => self.card_left(turn, then, None),
        }
    }

    fn left_card_reply(&mut self, turn: &mut Turn, finished: Option<(LastWord, Vec<TraceLine>)>) {
        if let Activity::LeavingCard { then } = self.idle() {
            self.card_left(turn, then, finished);
        }
    }

    pub(crate) fn card_left(&mut self, turn: &mut Turn, then: AfterCard, finished: Option<(LastWord, Vec<TraceLine>)>) {
        let AfterCard::Finish { outcome, decline } = then else {
            if let Some(job) = &mut self.job {
                job.payment = None;
            }
            return self.step_done(turn);
        };
        if let Some(mut transaction) = decline {
            if let Some((last_word, trace)) = finished {
                transaction.chip = last_word.chip;
                transaction.final_blob = last_word.blob;
                transaction.trace = bounded([core::mem::take(&mut transaction.trace), trace].concat());
            }
            self.note(turn, Record::DeclinedOffline { transaction: Arc::from(transaction) });
        }
        self.finish(turn, *outcome);
    }

    /// Waited long enough for a card.
    pub(crate) fn give_up_card(&mut self, turn: &mut Turn) {
        let text = Text::new("等待插卡超时", "No card was presented in time");
        let outcome = self.payment_outcome(OutcomeStatus::Cancelled, text);
        self.leave_card(turn, finish_with(outcome));
    }

    /// The cashier stops the wait for a card.
    pub(crate) fn cancel_card(&mut self, turn: &mut Turn) {
        self.idle();
        let outcome = self.payment_outcome(OutcomeStatus::Cancelled, Text::new("已取消", "Cancelled"));
        self.leave_card(turn, finish_with(outcome));
    }

    pub(crate) fn payment_template(&self) -> Option<FrameTemplate> {
        let payment = self.payment()?;
        let goal = &payment.goal;
        let original = goal.original.as_ref();
        let (stan, mmdd) = (original.and_then(|original| original.stan), &goal.original_mmdd);
        let original_61 = match goal.kind {
            TransactionKind::Void | TransactionKind::InstalmentVoid | TransactionKind::QrVoid => {
                stan.map(|stan| message::void_61(self.state.batch, stan))
            }
            TransactionKind::CompletionVoid => {
                stan.map(|stan| message::completion_void_61(self.state.batch, stan, mmdd))
            }
            TransactionKind::TipAdjustment => stan.map(|stan| message::adjustment_61(self.state.batch, stan, mmdd)),
            TransactionKind::Refund | TransactionKind::QrRefund => Some(message::dated_61(mmdd)),
            kind => kind.ends_authorisation().then(|| message::dated_61(mmdd)),
        };
        // F37 names a sale; a pre-authorisation is named by F38 (§3.2).
        let with_rrn = original.filter(|_| !goal.kind.ends_authorisation());
        // A QR refund may know the voucher code only (§3.4).
        let no_rrn = Rrn::parse(NO_RRN).ok().filter(|_| goal.kind == TransactionKind::QrRefund);
        let with_code = original.filter(|_| goal.kind != TransactionKind::Refund);
        Some(message::payment(
            &self.config,
            &Payment {
                kind: payment.goal.kind,
                amount: payment.goal.amount,
                stan: payment.stan,
                batch: self.state.batch,
                organisation: payment.card.as_ref().map_or_else(String::new, |card| card.organisation.clone()),
                original_61,
                rrn: with_rrn.and_then(|original| original.rrn).or(no_rrn),
                authorisation_code: with_code.and_then(|original| original.authorisation_code),
                tip: goal.tip,
                instalments: goal.instalments,
                custom: goal.custom.clone(),
            },
        ))
    }

    fn complete_payment(&mut self, turn: &mut Turn) {
        let payment = self.payment();
        let decision = payment.and_then(|payment| payment.card.as_ref()).map(|card| card.decision);
        let session = payment.and_then(|payment| payment.session);
        if let (Some(CardDecision::ApprovedOffline), Some(session)) = (decision, session) {
            return self.take_offline_approval(turn, session);
        }
        let Some(template) = self.payment_template() else { return };
        let with_pin = self.payment().is_some_and(|payment| self.asks_pin(payment.goal.kind));
        let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) else { return };
        let with_chip = payment.goal.kind.runs_chip();
        let chip = if with_chip { ChipData::Request } else { ChipData::None };
        let account = match (payment.session, &payment.blob) {
            (Some(session), _) => AccountPart::Session { session, with_pin: with_chip || with_pin, chip },
            (None, Some(blob)) => AccountPart::Blob { blob: blob.clone(), with_track: true, chip },
            (None, None) => AccountPart::None,
        };
        payment.template = Some(template.clone());
        let expected = message::expect_payment(&template, payment.session.filter(|_| with_chip));
        let operation = payment.goal.kind.operation();
        turn.show(Screen::Working { operation });
        self.send(turn, Message::Payment, Request { template, account, expected });
    }

    pub(crate) fn transaction(
        &mut self,
        turn: &Turn,
        template: FrameTemplate,
        blob: Option<SealedBlob>,
        status: TransactionStatus,
        message: Text,
    ) -> Option<Transaction> {
        let at = self.local_time(turn.now);
        let batch = self.state.batch;
        let payment = self.job.as_mut().and_then(|job| job.payment.as_mut())?;
        Some(Transaction {
            kind: payment.goal.kind,
            status,
            batch,
            stan: payment.stan,
            amount: payment.goal.amount,
            card: payment.card.clone()?,
            template,
            blob,
            final_blob: None,
            original: payment.goal.original.clone(),
            at,
            wall_ms: turn.now.wall_ms,
            response: None,
            chip: ChipReceipt::default(),
            voided_by: None,
            reversal_reason: None,
            message,
            trace: bounded(core::mem::take(&mut payment.trace)),
        })
    }

    /// The payment goes into the journal before its first byte leaves. `false`: it cannot, and the payment is over.
    pub(crate) fn write_intent(&mut self, turn: &mut Turn, blob: Option<SealedBlob>, trace: Vec<TraceLine>) -> bool {
        let template = self.job.as_mut().and_then(|job| job.payment.as_mut()).and_then(|payment| {
            payment.trace.extend(trace);
            payment.template.take()
        });
        let needs_none = |kind: TransactionKind| kind == TransactionKind::Balance || kind.is_qr();
        let rebuildable = blob.is_some() || self.payment().is_some_and(|payment| needs_none(payment.goal.kind));
        let transaction = template
            .filter(|_| rebuildable)
            .and_then(|template| self.transaction(turn, template, blob, TransactionStatus::Sent, Text::default()));
        match transaction {
            Some(transaction) => {
                self.note(turn, Record::IntentSent { transaction: Arc::new(transaction) });
                true
            }
            None => {
                // Without a blob it could never be reversed, so it must not leave.
                let text = Text::new("密码键盘未给出冲正数据", "The PIN entry device gave nothing to reverse with");
                let outcome = self.payment_outcome(OutcomeStatus::Failed, text);
                self.leave_card(turn, finish_with(outcome));
                false
            }
        }
    }

    pub(crate) fn payment_ended(&mut self, turn: &mut Turn, end: End, trace: Vec<TraceLine>) {
        let Some(payment) = self.payment() else { return };
        let kind = payment.goal.kind;
        match end {
            End::Refused { why, sign_in_needed } => self.payment_refused(turn, &why, sign_in_needed),
            End::NotSent => {
                // A crash before the card's last word leaves a reversal of something the host never saw: harmless.
                self.end_card(turn, Ending::Unreached(End::NotSent.text()), trace);
            }
            End::NoAnswer(text) => self.unanswered(turn, kind, ResponseCode::NO_REPLY, text, trace),
            End::MacWrong => self.unanswered(turn, kind, ResponseCode::MAC_ERROR, End::MacWrong.text(), trace),
            End::Answered(summary) => self.payment_answered(turn, kind, summary, trace),
        }
    }

    fn payment_answered(
        &mut self,
        turn: &mut Turn,
        kind: TransactionKind,
        summary: Box<ResponseSummary>,
        trace: Vec<TraceLine>,
    ) {
        let Some(code) = summary.response_code else {
            let text = End::Answered(summary).text();
            return self.unanswered(turn, kind, ResponseCode::NO_REPLY, text, trace);
        };
        if kind.waits_for_payer() && code == ResponseCode::IN_PROGRESS && summary.mac_verified {
            return self.await_payer(turn, &summary, trace);
        }
        let stale_keys = code == ResponseCode::MAC_ERROR;
        let undecided = response::is_passing(code) && (stale_keys || !response::wants_sign_in(code));
        if kind.is_notice() && undecided {
            // A copy may be booked already or is still under way, so it is asked again until there is a decision. A refusal for
            // its MAC says nothing of an earlier copy either: the keys were good then.
            return self.unanswered(turn, kind, ResponseCode::NO_REPLY, response::text(code), trace);
        }
        match (code.is_approval(), summary.mac_verified) {
            // An approval that nobody authenticated is none (D18).
            (true, false) => self.unanswered(turn, kind, ResponseCode::MAC_ERROR, End::MacWrong.text(), trace),
            (true, true) if code == ResponseCode::PARTIAL => {
                // It was not asked for (60.6 = 0), so it is reversed (D40).
                self.unanswered(turn, kind, ResponseCode::ERROR, response::text(code), trace);
            }
            (true, true) => self.end_card(turn, Ending::Approved(summary), trace),
            (false, authenticated) => {
                if !authenticated && kind.reversible() {
                    // A refusal that nobody authenticated proves nothing: the reversal makes sure, at the cost of one message.
                    self.reversal_due(turn, ResponseCode::NO_REPLY);
                }
                self.end_card(turn, Ending::Declined(summary), trace);
            }
        }
    }

    /// No valid answer: writes down at once what follows from it, then lets the card finish.
    pub(crate) fn unanswered(
        &mut self,
        turn: &mut Turn,
        kind: TransactionKind,
        reason: ResponseCode,
        text: Text,
        trace: Vec<TraceLine>,
    ) {
        let Some(stan) = self.payment().map(|payment| payment.stan) else { return };
        if kind.reversible() {
            self.reversal_due(turn, reason);
        } else if kind.is_notice() {
            self.note(turn, Record::NoticeQueued { stan });
        }
        self.end_card(turn, Ending::Unanswered(text), trace);
    }

    fn reversal_due(&mut self, turn: &mut Turn, reason: ResponseCode) {
        if let Some(stan) = self.payment().map(|payment| payment.stan) {
            self.note(turn, Record::ReversalDue { stan, reason });
        }
    }

    /// Asks the chip for its last word, if a chip is waiting for one.
    pub(crate) fn end_card(&mut self, turn: &mut Turn, ending: Ending, trace: Vec<TraceLine>) {
        let Some(payment) = self.payment() else { return };
        let waits = payment.goal.kind.runs_chip();
        let Some(session) = payment.session.filter(|_| waits) else {
            return self.decide(turn, ending, None, trace);
        };
        let answer = match &ending {
            Ending::Approved(summary) | Ending::Declined(summary) => summary
                .response_code
                .map_or(OnlineAnswer::NoAnswer, |response_code| OnlineAnswer::Answered { response_code }),
            Ending::Unanswered(_) | Ending::Unreached(_) | Ending::ApprovedOffline => OnlineAnswer::NoAnswer,
        };
        turn.ped(PedCommand::FinishCard { session, answer });
        let activity = Activity::FinishingCard { ending: Box::new(ending), trace };
        self.wait_for(turn, activity, self.config.timeouts.finish_ms);
    }

    pub(crate) fn card_finished(&mut self, turn: &mut Turn, reply: PedReply) {
        let PedReply::CardFinished { session, approved, receipt, blob, script_results, detail, trace } = reply else {
            return;
        };
        if self.payment().and_then(|payment| payment.session) != Some(session) {
            return;
        }
        let last_word = LastWord { approved, chip: receipt, blob, script_results, detail };
        match &self.activity {
            Activity::LeavingCard { .. } => self.left_card_reply(turn, Some((last_word, trace))),
            Activity::FinishingCard { .. } => {
                let Activity::FinishingCard { ending, trace: mut before } = self.idle() else { return };
                before.extend(trace);
                self.decide(turn, *ending, Some(last_word), before);
            }
            _ => {}
        }
    }

    /// The PED was silent after the host's answer: the card counts as having declined.
    pub(crate) fn card_gave_no_last_word(&mut self, turn: &mut Turn, ending: Ending, trace: Vec<TraceLine>) {
        let detail = "no answer of the PIN entry device".to_owned();
        let last_word = LastWord { detail, ..LastWord::default() };
        self.decide(turn, ending, Some(last_word), trace);
    }

    fn decide(&mut self, turn: &mut Turn, ending: Ending, last_word: Option<LastWord>, trace: Vec<TraceLine>) {
        let Some((stan, kind)) = self.payment().map(|payment| (payment.stan, payment.goal.kind)) else { return };
        let trace = self.trace_of_wait(trace);
        let now = self.state.transaction(stan).map_or(TransactionStatus::Sent, |transaction| transaction.status);
        let card_agrees = last_word.as_ref().is_none_or(|last_word| last_word.approved);
        let mut decision = match ending {
            Ending::Approved(summary) if card_agrees => Decision {
                response: Some(*summary),
                ..Decision::new(TransactionStatus::Approved, Text::new("交易成功", "Approved"))
            },
            Ending::Approved(summary) if !kind.reversible() => {
                // A balance inquiry moved nothing: there is nothing to reverse, and no host would acknowledge it.
                let text = Text::new("卡片拒绝", "Declined by the card");
                Decision { response: Some(*summary), ..Decision::new(TransactionStatus::Declined, text) }
            }
            Ending::Approved(summary) => {
                self.reversal_due(turn, ResponseCode::ERROR);
                let text =
                    Text::new("卡片拒绝,交易将冲正", "Declined by the card after the host approved: being reversed");
                Decision { response: Some(*summary), ..Decision::new(TransactionStatus::Reversing, text) }
            }
            Ending::Declined(summary) => {
                let text = summary.response_code.map(response::text).unwrap_or_default();
                Decision { response: Some(*summary), ..Decision::new(TransactionStatus::Declined, text) }
            }
            Ending::ApprovedOffline => return self.conclude_offline(turn, last_word.unwrap_or_default(), trace),
            Ending::Unreached(text) => match last_word {
                Some(last_word) if self.sells_unreached(turn, &last_word) => {
                    return self.sell_unreached(turn, last_word, trace);
                }
                refused => return self.cancel_unreached(turn, stan, text, refused.unwrap_or_default().chip, trace),
            },
            Ending::Unanswered(text) => {
                // Nothing is left to decide for a payment that is cancelled, queued or being reversed.
                let status = if now == TransactionStatus::Sent { TransactionStatus::Declined } else { now };
                Decision::new(status, text)
            }
        };
        decision.trace = bounded(trace);
        let scripts = take_last_word(&mut decision, last_word);
        self.note(turn, Record::Decided { stan, decision: Box::new(decision) });
        self.script_notice_due(turn, stan, scripts);
        self.conclude(turn, stan);
    }

    /// Nothing left, and the card does not approve by itself.
    fn cancel_unreached(&mut self, turn: &mut Turn, stan: Stan, text: Text, chip: ChipReceipt, trace: Vec<TraceLine>) {
        self.note(turn, Record::IntentCancelled { stan, message: text.clone() });
        let decision = Decision { chip, trace: bounded(trace), ..Decision::new(TransactionStatus::Cancelled, text) };
        self.note(turn, Record::Decided { stan, decision: Box::new(decision) });
        self.conclude(turn, stan);
    }

    fn script_notice_due(&mut self, turn: &mut Turn, original: Stan, scripts: Option<SealedBlob>) {
        if let Some(blob) = scripts {
            let stan = self.take_stan(turn);
            self.note(turn, Record::ScriptNoticeDue { notice: ScriptNotice { stan, original, blob } });
        }
    }

    /// Prints, tells, and ends the operation or begins it again.
    fn conclude(&mut self, turn: &mut Turn, stan: Stan) {
        if self.restarts_after_sign_in(turn, stan) {
            return;
        }
        let Some(transaction) = self.state.transaction(stan) else { return };
        let balance = transaction.response.as_ref().and_then(|response| balance_of(response.balances.as_deref()?));
        let mut outcome = outcome_of(transaction);
        outcome.balance = balance.filter(|_| transaction.status == TransactionStatus::Approved);
        self.print_copies(turn, stan, false);
        self.finish(turn, outcome);
    }

    /// The host refused before booking because keys or batch are stale: signs in and begins anew with another trace number.
    /// A notice is left to the cashier: it cannot be reversed, so doubt about it must not double it.
    fn restarts_after_sign_in(&mut self, turn: &mut Turn, stan: Stan) -> bool {
        let Some(transaction) = self.state.transaction(stan) else { return false };
        let code = transaction.response_code();
        let stale = matches!(code, Some(ResponseCode::SIGN_IN_AGAIN | ResponseCode::MAC_ERROR));
        let notice = transaction.kind.is_notice();
        let Some(job) = self.job.as_mut().filter(|job| stale && !notice && job.restarts < RESTARTS_PER_JOB_MAX) else {
            return false;
        };
        job.restarts += 1;
        job.payment = None;
        turn.show(Screen::SigningInAgain { response_code: code });
        self.step_done(turn);
        true
    }

    /// The PED cannot complete the message: nothing was sent.
    fn payment_refused(&mut self, turn: &mut Turn, why: &str, sign_in_needed: bool) {
        if let Some(job) = self.job.as_mut().filter(|job| sign_in_needed && job.restarts < RESTARTS_PER_JOB_MAX) {
            job.restarts += 1;
            job.sign_in_wanted = true;
            turn.show(Screen::SigningInAgain { response_code: None });
            return self.leave_card(turn, AfterCard::Restart);
        }
        let text = End::Refused { why: why.to_owned(), sign_in_needed }.text();
        let outcome = self.payment_outcome(OutcomeStatus::Failed, text);
        self.leave_card(turn, finish_with(outcome));
    }

    /// The slips of an approved payment.
    pub(crate) fn print_copies(&mut self, turn: &mut Turn, stan: Stan, duplicated: bool) {
        let Some(transaction) = self.find(stan).filter(|transaction| prints(transaction)) else { return };
        let copies = usize::from(self.config.receipt.copies.clamp(1, 3));
        for copy in Copy::ALL.into_iter().take(copies) {
            let receipt = PaymentReceipt::new(&self.config, transaction, copy, duplicated);
            turn.emit(Effect::Print(Box::new(Receipt::Payment(Box::new(receipt)))));
        }
    }

    /// An outcome of the running payment before anything was written down.
    pub(crate) fn payment_outcome(&self, status: OutcomeStatus, message: Text) -> TransactionOutcome {
        let Some(payment) = self.payment() else {
            return TransactionOutcome::new(Operation::Sale, status, message);
        };
        TransactionOutcome {
            stan: Some(payment.stan),
            batch: Some(self.state.batch),
            amount: Some(payment.goal.amount),
            card: payment.card.as_ref().filter(|_| payment.goal.payer.is_none()).map(|card| card.truncated),
            ..TransactionOutcome::new(payment.goal.kind.operation(), status, message)
        }
    }
}

fn about(twin: &Transaction) -> String {
    format!("same card and amount as voucher {} of {}", twin.stan, twin.at)
}

fn finish_with(outcome: TransactionOutcome) -> AfterCard {
    AfterCard::Finish { outcome: Box::new(outcome), decline: None }
}

/// The chip's last word.
#[derive(Debug, Default)]
pub(crate) struct LastWord {
    pub approved: bool,
    pub chip: ChipReceipt,
    pub blob: Option<SealedBlob>,
    script_results: Option<Vec<u8>>,
    detail: String,
}

/// Moves the chip's last word into the decision; gives the blob for a script notice if scripts ran.
fn take_last_word(decision: &mut Decision, last_word: Option<LastWord>) -> Option<SealedBlob> {
    let last_word = last_word?;
    if decision.status == TransactionStatus::Reversing && !last_word.detail.is_empty() {
        decision.message.en = format!("{} ({})", decision.message.en, last_word.detail);
    }
    decision.chip = last_word.chip;
    decision.final_blob = last_word.blob;
    decision.script_results = last_word.script_results.filter(|results| !results.is_empty());
    decision.script_results.as_ref().and(decision.final_blob.clone())
}

/// How a written payment stands, for programs.
pub(crate) fn outcome_of(transaction: &Transaction) -> TransactionOutcome {
    let status = match transaction.status {
        TransactionStatus::Approved => OutcomeStatus::Approved,
        TransactionStatus::Declined => OutcomeStatus::Declined,
        TransactionStatus::Cancelled => OutcomeStatus::Failed,
        TransactionStatus::Sent | TransactionStatus::Reversing => OutcomeStatus::Reversing,
        TransactionStatus::Reversed => OutcomeStatus::Reversed,
        TransactionStatus::Queued if transaction.kind.is_paid_offline() => OutcomeStatus::Approved,
        TransactionStatus::Queued => OutcomeStatus::Queued,
    };
    TransactionOutcome {
        stan: Some(transaction.stan),
        batch: Some(transaction.batch),
        amount: Some(transaction.amount),
        response_code: transaction.response_code(),
        rrn: transaction.rrn(),
        authorisation_code: transaction.authorisation_code(),
        card: Some(transaction.card.truncated).filter(|_| !transaction.kind.is_qr()),
        voucher_code: transaction.voucher_code(),
        ..TransactionOutcome::new(transaction.kind.operation(), status, transaction.message.clone())
    }
}

/// F54: account type 2, amount type 2, currency 3, sign 1, amount 12.
fn balance_of(field: &str) -> Option<CardBalance> {
    let currency = field.get(4..7)?.parse().ok()?;
    let minor: i64 = field.get(8..20)?.parse().ok()?;
    match field.get(7..8)? {
        "C" => Some(CardBalance { minor, currency }),
        "D" => Some(CardBalance { minor: -minor, currency }),
        _ => None,
    }
}
