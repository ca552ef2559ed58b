//! What the cashier asks for, and when it must be refused.

use crate::config::limits::PROOF_BYTES_MAX;
use crate::machine::{Activity, Goal, PaymentGoal, Till, Turn};
use crate::qr;
use crate::receipt::{Receipt, SettlementReceipt};
use crate::record::Record;
use crate::settlement::Totals;
use crate::state::STANS_PER_BATCH_MAX;
use crate::text::Text;
use crate::transaction::{Original, Transaction, TransactionKind, TransactionStatus};
use crate::words::{
    AuthorisationReference, CompletionForm, Effect, HostProof, Operation, OperatorCommand, OutcomeStatus, Screen,
    TransactionOutcome,
};
use types::{Amount, LocalDate, Rrn, Stan};

/// Digits of a payment voucher (F59 A4).
const VOUCHER_CODE_DIGITS: usize = 20;

impl OperatorCommand {
    /// What its outcome will be about.
    pub fn operation(&self) -> Operation {
        match self {
            OperatorCommand::SignIn => Operation::SignIn,
            OperatorCommand::Sale { .. } | OperatorCommand::Confirm | OperatorCommand::Cancel => Operation::Sale,
            OperatorCommand::Void { .. } => Operation::Void,
            OperatorCommand::Refund { .. } => Operation::Refund,
            OperatorCommand::PreAuthorise { .. } => Operation::PreAuthorisation,
            OperatorCommand::VoidPreAuthorisation { .. } => Operation::PreAuthorisationVoid,
            OperatorCommand::Complete { form: CompletionForm::Request, .. } => Operation::Completion,
            OperatorCommand::Complete { form: CompletionForm::Notice, .. } => Operation::CompletionNotice,
            OperatorCommand::VoidCompletion { .. } => Operation::CompletionVoid,
            OperatorCommand::Tip { .. } => Operation::TipAdjustment,
            OperatorCommand::SellByInstalments { .. } => Operation::Instalment,
            OperatorCommand::QrSale { .. } => Operation::QrSale,
            OperatorCommand::QrOrder { .. } => Operation::QrOrder,
            OperatorCommand::QrRefund { .. } => Operation::Refund,
            OperatorCommand::Balance => Operation::Balance,
            OperatorCommand::Settle => Operation::Settlement,
            OperatorCommand::SignOff => Operation::SignOff,
            OperatorCommand::Echo => Operation::Echo,
            OperatorCommand::Download { .. } => Operation::Download,
            OperatorCommand::ReportStatus => Operation::StatusReport,
            OperatorCommand::Sign { .. } => Operation::Signature,
            OperatorCommand::ResumePending => Operation::Pending,
            OperatorCommand::Reprint { .. } | OperatorCommand::ReprintSettlement => Operation::Reprint,
            OperatorCommand::ResolveParked { .. } => Operation::ResolveParked,
        }
    }
}

impl Till {
    pub(crate) fn operator(&mut self, turn: &mut Turn, command: OperatorCommand) {
        match command {
            OperatorCommand::Confirm => self.confirm(turn),
            OperatorCommand::Cancel => self.cancel(turn),
            OperatorCommand::Reprint { stan } => self.reprint(turn, stan),
            OperatorCommand::ReprintSettlement => self.reprint_settlement(turn),
            command if self.job.is_none() => self.start(turn, command),
            command => self.queue(turn, command),
        }
    }

    /// Background work is not interrupted: the command waits. A second one, or one beside another operator's, is refused.
    fn queue(&mut self, turn: &mut Turn, command: OperatorCommand) {
        let operation = command.operation();
        let background = self.job.as_ref().is_some_and(|job| !job.goal.by_operator());
        if background && self.make_wait(command) {
            return turn.show(Screen::Working { operation: Operation::Pending });
        }
        let text = Screen::Busy.text();
        turn.emit(Effect::Outcome(Box::new(TransactionOutcome::new(operation, OutcomeStatus::Failed, text))));
        turn.show(Screen::Busy);
    }

    fn cancel(&mut self, turn: &mut Turn) {
        if let Some(command) = self.take_waiting() {
            let text = Text::new("已取消", "Cancelled");
            return self.answer(turn, TransactionOutcome::new(command.operation(), OutcomeStatus::Cancelled, text));
        }
        match self.activity {
            Activity::ReadingCard => self.cancel_card(turn),
            Activity::Confirming => {
                self.idle();
                self.decline_duplicate(turn, "said no");
            }
            Activity::AwaitingPayer | Activity::Wire(_) => self.cancel_payer(turn),
            _ => {}
        }
    }

    fn start(&mut self, turn: &mut Turn, command: OperatorCommand) {
        match command {
            OperatorCommand::SignIn => self.begin(turn, Goal::SignIn),
            OperatorCommand::SignOff => self.begin(turn, Goal::SignOff),
            OperatorCommand::Echo => self.begin(turn, Goal::Echo),
            OperatorCommand::Download { set } => self.begin(turn, Goal::Download(set)),
            OperatorCommand::ReportStatus => self.begin(turn, Goal::ReportStatus),
            OperatorCommand::Settle => self.begin(turn, Goal::Settle),
            OperatorCommand::ResumePending => self.begin(turn, Goal::Pending { by_operator: true }),
            OperatorCommand::Sign { stan, image } => self.sign(turn, stan, image),
            OperatorCommand::ResolveParked { stan, proof } => self.resolve_parked(turn, stan, proof),
            OperatorCommand::Confirm
            | OperatorCommand::Cancel
            | OperatorCommand::Reprint { .. }
            | OperatorCommand::ReprintSettlement => {}
            payment => {
                let operation = payment.operation();
                match self.payment_goal(payment) {
                    Ok(goal) => self.start_payment(turn, goal),
                    Err(why) => self.refuse(turn, operation, why),
                }
            }
        }
    }

    /// What a command about a card is after.
    fn payment_goal(&self, command: OperatorCommand) -> Result<PaymentGoal, Text> {
        use TransactionKind as Kind;
        match command {
            OperatorCommand::Sale { amount } => Ok(plain_goal(Kind::Sale, amount)),
            OperatorCommand::PreAuthorise { amount } => Ok(plain_goal(Kind::PreAuthorisation, amount)),
            OperatorCommand::Balance => Amount::from_minor(0, self.config.currency)
                .map(|zero| plain_goal(Kind::Balance, zero))
                .ok_or_else(Text::default),
            OperatorCommand::Void { stan } => self.void_goal(self.kind_of_void(stan), stan),
            OperatorCommand::Tip { stan, tip } => self.tip_goal(stan, tip),
            OperatorCommand::SellByInstalments { amount, count } => instalment_goal(amount, count),
            OperatorCommand::VoidCompletion { stan } => self.void_goal(Kind::CompletionVoid, stan),
            OperatorCommand::Refund { amount, original_rrn, original_date } => {
                Ok(self.refund_goal(amount, original_rrn, original_date))
            }
            OperatorCommand::QrSale { amount, code } => Ok(PaymentGoal {
                payer: Some(qr::payer(Some(&code))),
                custom: Some(qr::field(qr::PAYMENT_CODE, code.expose())),
                ..plain_goal(Kind::QrSale, amount)
            }),
            OperatorCommand::QrOrder { amount } => {
                Ok(PaymentGoal { payer: Some(qr::payer(None)), ..plain_goal(Kind::QrOrder, amount) })
            }
            OperatorCommand::QrRefund { amount, voucher_code, original_date } => {
                self.qr_refund_goal(amount, &voucher_code, original_date)
            }
            OperatorCommand::VoidPreAuthorisation { amount, authorisation } => {
                Ok(self.ending_goal(Kind::PreAuthorisationVoid, amount, &authorisation))
            }
            OperatorCommand::Complete { amount, authorisation, form } => {
                let kind = match form {
                    CompletionForm::Request => Kind::Completion,
                    CompletionForm::Notice => Kind::CompletionNotice,
                };
                Ok(self.ending_goal(kind, amount, &authorisation))
            }
            _ => Err(Text::new("不支持的操作", "Not a payment")),
        }
    }

    /// The pre-authorisation may be of any batch and of another till: whether it is open, and for how much, the host knows.
    fn ending_goal(&self, kind: TransactionKind, amount: Amount, named: &AuthorisationReference) -> PaymentGoal {
        let mmdd = named.date.mmdd();
        let here = self.state.authorisation(named.code, &mmdd);
        let original = Original {
            stan: here.map(|authorisation| authorisation.stan),
            rrn: here.and_then(Transaction::rrn),
            authorisation_code: Some(named.code),
            date: named.date.to_string(),
        };
        PaymentGoal { original: Some(original), original_mmdd: mmdd, ..plain_goal(kind, amount) }
    }

    fn start_payment(&mut self, turn: &mut Turn, goal: PaymentGoal) {
        if let Some(refusal) = self.payment_refusal(&goal) {
            let outcome = TransactionOutcome {
                amount: Some(goal.amount),
                ..TransactionOutcome::new(goal.kind.operation(), OutcomeStatus::Failed, refusal.text())
            };
            turn.emit(Effect::Outcome(Box::new(outcome)));
            return turn.show(refusal);
        }
        self.begin(turn, Goal::Payment(Box::new(goal)));
    }

    /// Why a payment may not begin now.
    pub(crate) fn payment_refusal(&self, goal: &PaymentGoal) -> Option<Screen> {
        let state = &self.state;
        if let Some((stan, reason)) = state.parked() {
            return Some(Screen::Parked { stan, reason });
        }
        if let Some(settlement) = &state.settlement {
            return Some(Screen::SettlementUnfinished { batch: settlement.batch });
        }
        if !self.config.allows(goal.kind) {
            let name = goal.kind.operation().text();
            let (zh, en) = (format!("终端不允许{}", name.zh), format!("{} is not allowed on this terminal", name.en));
            return Some(Screen::Refused { reason: Text::new(zh, en) });
        }
        let no_room = !Totals::have_room_for(&state.transactions, state.batch, goal.amount.minor());
        let full = state.transactions.len() >= self.config.capacity() || state.stans_in_batch >= STANS_PER_BATCH_MAX;
        if full || no_room {
            return Some(Screen::BatchFull);
        }
        let moves_money = goal.kind != TransactionKind::Balance;
        let unsound = goal.amount.currency() != self.config.currency || (moves_money && goal.amount.minor() == 0);
        unsound.then(|| Screen::Refused { reason: Text::new("金额无效", "The amount is not valid here") })
    }

    /// The sale or completion that a void is for: approved, of this batch, not voided yet.
    fn void_goal(&self, kind: TransactionKind, stan: Stan) -> Result<PaymentGoal, Text> {
        let (may_name, name): (fn(TransactionKind) -> bool, _) = match kind {
            TransactionKind::CompletionVoid => (|kind| kind == TransactionKind::Completion, "completion"),
            TransactionKind::QrVoid => (TransactionKind::waits_for_payer, "sale"),
            _ => (TransactionKind::is_sale, "sale"),
        };
        let missing = || Text::new("未找到原交易", format!("No such {name} in this batch"));
        let sale = self.state.transaction(stan).filter(|sale| sale.batch == self.state.batch).ok_or_else(missing)?;
        let fits = may_name(sale.kind);
        if fits && sale.status == TransactionStatus::Queued {
            let text =
                Text::new("脱机交易尚未上送,稍后再撤销", "The host has not heard of this sale yet: void it later");
            return Err(text);
        }
        if !fits || sale.status != TransactionStatus::Approved {
            return Err(Text::new("该交易不可撤销", format!("Only an approved {name} can be voided")));
        }
        if sale.voided_by.is_some() {
            return Err(Text::new("原交易已撤销", format!("The {name} is voided already")));
        }
        if self.state.tip_of(stan).is_some_and(|tip| tip.status == TransactionStatus::Queued) {
            return Err(Text::new("小费尚未上送,稍后再撤销", "The host has not heard of the tip yet: void it later"));
        }
        let amount = self.state.adjusted_amount(sale);
        let original = original_of(sale);
        Ok(PaymentGoal {
            original: Some(original),
            original_mmdd: sale.mmdd(),
            payer: kind.is_qr().then(|| sale.card.clone()),
            custom: sale.voucher_code().map(|voucher| qr::field(qr::VOUCHER_CODE, &voucher)),
            ..plain_goal(kind, amount)
        })
    }

    /// A sale is taken back as it was made: with the card, in instalments, or by its voucher code.
    fn kind_of_void(&self, stan: Stan) -> TransactionKind {
        match self.state.transaction(stan).map(|sale| sale.kind) {
            Some(TransactionKind::Instalment) => TransactionKind::InstalmentVoid,
            Some(kind) if kind.waits_for_payer() => TransactionKind::QrVoid,
            _ => TransactionKind::Void,
        }
    }

    /// A QR payment that this till knows needs no card and no voucher code in the cashier's hand.
    fn refund_goal(&self, amount: Amount, rrn: Rrn, date: LocalDate) -> PaymentGoal {
        let original = Original { stan: None, rrn: Some(rrn), authorisation_code: None, date: date.to_string() };
        let mut goal = plain_goal(TransactionKind::Refund, amount);
        (goal.original, goal.original_mmdd) = (Some(original), date.mmdd());
        if let Some((payment, voucher)) = self.state.qr_payment(rrn) {
            goal.kind = TransactionKind::QrRefund;
            goal.payer = Some(payment.card.clone());
            goal.custom = Some(qr::field(qr::VOUCHER_CODE, &voucher));
        }
        goal
    }

    fn qr_refund_goal(&self, amount: Amount, voucher_code: &str, date: LocalDate) -> Result<PaymentGoal, Text> {
        let digits = voucher_code.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || voucher_code.len() != VOUCHER_CODE_DIGITS {
            return Err(Text::new("付款凭证号应为20位数字", "A payment voucher has twenty digits"));
        }
        let original = Original { stan: None, rrn: None, authorisation_code: None, date: date.to_string() };
        Ok(PaymentGoal {
            original: Some(original),
            original_mmdd: date.mmdd(),
            payer: Some(qr::payer(None)),
            custom: Some(qr::field(qr::VOUCHER_CODE, voucher_code)),
            ..plain_goal(TransactionKind::QrRefund, amount)
        })
    }

    /// Why the sale that was to be voided cannot be voided any more.
    pub(crate) fn void_refusal(&self, goal: &PaymentGoal) -> Option<Screen> {
        let stan = goal.original.as_ref().filter(|_| goal.kind.voids_in_batch())?.stan?;
        self.void_goal(goal.kind, stan).err().map(|reason| Screen::Refused { reason })
    }

    /// Ends what no machine of the host will acknowledge, on the word of the host's people.
    fn resolve_parked(&mut self, turn: &mut Turn, stan: Stan, proof: HostProof) {
        let sound = !proof.reference.is_empty()
            && proof.reference.len() <= PROOF_BYTES_MAX
            && proof.operator.len() <= PROOF_BYTES_MAX;
        if !sound {
            let why = Text::new("凭据编号无效", "The reference of the host's proof is missing or too long");
            return self.refuse(turn, Operation::ResolveParked, why);
        }
        let parked = self.state.parked().is_some_and(|(parked, _)| parked == stan);
        let queued = self.state.queued_notices().any(|notice| notice.stan == stan);
        if !parked && !queued {
            let why = Text::new("该凭证号无待人工处理事项", "Nothing of this voucher waits for a decision by hand");
            return self.refuse(turn, Operation::ResolveParked, why);
        }
        self.note(turn, Record::ParkedResolved { stan, proof });
        let text = Text::new("已人工处理", "Resolved by hand on the host's proof");
        let outcome = TransactionOutcome::new(Operation::ResolveParked, OutcomeStatus::Done, text);
        self.answer(turn, TransactionOutcome { stan: Some(stan), ..outcome });
        self.advance(turn);
    }

    pub(crate) fn refuse(&mut self, turn: &mut Turn, operation: Operation, reason: Text) {
        let outcome = TransactionOutcome::new(operation, OutcomeStatus::Failed, reason.clone());
        turn.emit(Effect::Outcome(Box::new(outcome)));
        turn.show(Screen::Refused { reason });
    }

    pub(crate) fn answer(&mut self, turn: &mut Turn, outcome: TransactionOutcome) {
        turn.emit(Effect::Outcome(Box::new(outcome.clone())));
        turn.show(Screen::Result(Box::new(outcome)));
    }

    fn reprint(&mut self, turn: &mut Turn, stan: Option<Stan>) {
        let found = match stan {
            Some(stan) => self.find(stan),
            None => self.state.newest_first().find(|transaction| crate::machine::prints(transaction)),
        };
        let Some(stan) = found.filter(|transaction| crate::machine::prints(transaction)).map(|found| found.stan) else {
            let why = Text::new("没有可重打印的签购单", "No slip of that voucher");
            return self.refuse(turn, Operation::Reprint, why);
        };
        self.print_copies(turn, stan, true);
        let outcome = TransactionOutcome::new(Operation::Reprint, OutcomeStatus::Done, Operation::Reprint.text());
        self.answer(turn, TransactionOutcome { stan: Some(stan), ..outcome });
    }

    fn reprint_settlement(&mut self, turn: &mut Turn) {
        let Some(report) = &self.state.last_settlement else {
            let why = Text::new("没有结算单", "No settlement yet");
            return self.refuse(turn, Operation::Reprint, why);
        };
        let receipt = SettlementReceipt::new(&self.config, report, true);
        turn.emit(Effect::Print(Box::new(Receipt::Settlement(Box::new(receipt)))));
        let outcome = TransactionOutcome::new(Operation::Reprint, OutcomeStatus::Done, Operation::Reprint.text());
        self.answer(turn, outcome);
    }
}

pub(crate) fn plain_goal(kind: TransactionKind, amount: Amount) -> PaymentGoal {
    let (tip, instalments, payer, custom) = (None, None, None, None);
    PaymentGoal { kind, amount, original: None, original_mmdd: String::new(), tip, instalments, payer, custom }
}

/// Fewest and most instalments that F62 can name.
const INSTALMENTS: core::ops::RangeInclusive<u8> = 2..=99;

fn instalment_goal(amount: Amount, count: u8) -> Result<PaymentGoal, Text> {
    if !INSTALMENTS.contains(&count) {
        return Err(Text::new("分期期数无效", "Instalments are 2 to 99"));
    }
    Ok(PaymentGoal { instalments: Some(count), ..plain_goal(TransactionKind::Instalment, amount) })
}

pub(crate) fn original_of(sale: &Transaction) -> Original {
    Original {
        stan: Some(sale.stan),
        rrn: sale.rrn(),
        authorisation_code: sale.authorisation_code(),
        date: sale.at.date.to_string(),
    }
}
