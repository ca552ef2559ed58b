//! Payments by QR code (unionpay-pos rows 36 to 39, D37, D38): what stands in a card's place, and the wait for the buyer.
//!
//! Either the shop scans the buyer's code, or the till shows an order's code and the buyer scans it. The host may answer that the buyer has
//! still to pay; then the till asks from time to time, and gives up by the same reversal as for a card whose answer was lost. The host
//! sees to it that a payment and that reversal cannot both stand.

use crate::config::limits;
use crate::machine::{Activity, PaymentGoal, Till, Turn};
use crate::message;
use crate::payment::Ending;
use crate::response;
use crate::text::Text;
use crate::transaction::{Transaction, TransactionKind};
use crate::wire::{End, Message};
use crate::words::{Operation, Screen};
use pedlink::{CardDecision, CardSummary, CustomData, ResponseSummary, TraceLine};
use types::{CARD_TOKEN_BYTES, CardToken, PaymentCode, ResponseCode, TruncatedPan};

/// F22 of a payment without a card (D4): scanned, no PIN.
pub(crate) const ENTRY_MODE: &str = "032";
/// Tag of F59: a payment code.
pub(crate) const PAYMENT_CODE: &str = "A3";
/// Tag of F59: a voucher code.
pub(crate) const VOUCHER_CODE: &str = "A4";
/// Characters of a tag's name, and of its length behind it.
const NAME_CHARACTERS: usize = 2;
const LENGTH_DIGITS: usize = 3;
/// What is shown of a payer of whom nothing is known.
const NOBODY: &str = "000000*********0000";
/// Answers to a query that say nothing of the payment: the query itself was not understood, or its original not found.
const SAY_NOTHING: [ResponseCode; 5] = [
    ResponseCode::INVALID_TRANSACTION,
    ResponseCode::NOT_FOUND,
    ResponseCode::FORMAT_ERROR,
    ResponseCode::NOT_SUPPORTED,
    ResponseCode::DUPLICATE,
];

/// The wait for a buyer.
#[derive(Debug)]
pub(crate) struct PayerWait {
    /// The order's code that the screen shows; `None` if the buyer's own code was scanned.
    shown: Option<PaymentCode>,
    /// Queries sent.
    queries: u16,
    /// The cashier has given up while a query was under way.
    cancelled: bool,
}

impl Till {
    /// The host waits for the buyer: so does the till.
    pub(crate) fn await_payer(&mut self, turn: &mut Turn, summary: &ResponseSummary, trace: Vec<TraceLine>) {
        let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) else { return };
        let kind = payment.goal.kind;
        let shown = if kind == TransactionKind::QrOrder { code_of(summary) } else { None };
        payment.trace.extend(trace);
        if kind == TransactionKind::QrOrder && shown.is_none() {
            let text = Text::new("主机未给出收款码", "The host gave no code to show");
            return self.unanswered(turn, kind, ResponseCode::NO_REPLY, text, Vec::new());
        }
        payment.wait = Some(PayerWait { shown, queries: 0, cancelled: false });
        self.go_on_waiting(turn);
    }

    fn go_on_waiting(&mut self, turn: &mut Turn) {
        let query_ms = self.config.timeouts.qr_query_ms;
        let Some((goal, wait)) = self.waiting_payment() else { return };
        let left = queries_max(goal.kind).saturating_sub(wait.queries);
        let seconds_left = (u64::from(left).saturating_mul(query_ms) / 1000).try_into().unwrap_or(u32::MAX);
        turn.show(Screen::AwaitingPayer { amount: goal.amount, code: wait.shown, seconds_left });
        self.wait_for(turn, Activity::AwaitingPayer, query_ms);
    }

    fn waiting_payment(&self) -> Option<(&PaymentGoal, &PayerWait)> {
        let payment = self.job.as_ref()?.payment.as_ref()?;
        Some((&payment.goal, payment.wait.as_ref()?))
    }

    /// Asks what became of the payment, under a trace number of its own.
    pub(crate) fn query_payer(&mut self, turn: &mut Turn) {
        let stan = self.take_stan(turn);
        let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) else { return };
        let Some(wait) = payment.wait.as_mut() else { return };
        wait.queries += 1;
        let shown = wait.shown.map(|code| field(PAYMENT_CODE, code.expose()));
        let original = payment.stan;
        let Some(transaction) = self.state.transaction(original) else { return };
        let custom = shown.or_else(|| transaction.template.custom.clone());
        let request = message::qr_query(&self.config, transaction, stan, custom);
        self.send(turn, Message::QrQuery, request);
    }

    pub(crate) fn query_ended(&mut self, turn: &mut Turn, end: End, trace: Vec<TraceLine>) {
        let Some(kind) = self.waiting_payment().map(|(goal, _)| goal.kind) else { return };
        match end {
            End::Answered(summary) => self.query_answered(turn, kind, summary, trace),
            End::MacWrong => self.unanswered(turn, kind, ResponseCode::MAC_ERROR, End::MacWrong.text(), trace),
            End::Refused { .. } => self.unanswered(turn, kind, ResponseCode::NO_REPLY, end.text(), trace),
            End::NotSent | End::NoAnswer(_) => self.ask_again(turn, kind, trace),
        }
    }

    fn query_answered(
        &mut self,
        turn: &mut Turn,
        kind: TransactionKind,
        summary: Box<ResponseSummary>,
        trace: Vec<TraceLine>,
    ) {
        let code = summary.response_code.unwrap_or(ResponseCode::NO_REPLY);
        if response::wants_sign_in(code) {
            // The host answers no more queries of these keys; the reversal goes out behind a sign-in.
            return self.unanswered(turn, kind, ResponseCode::NO_REPLY, response::text(code), trace);
        }
        if !summary.mac_verified || response::is_passing(code) {
            return self.ask_again(turn, kind, trace);
        }
        if code == ResponseCode::PARTIAL || SAY_NOTHING.contains(&code) {
            return self.unanswered(turn, kind, ResponseCode::NO_REPLY, response::text(code), trace);
        }
        let ending = if code.is_approval() { Ending::Approved(summary) } else { Ending::Declined(summary) };
        self.end_card(turn, ending, trace);
    }

    /// Waits on, until the queries are used up (D38) or the cashier has had enough.
    fn ask_again(&mut self, turn: &mut Turn, kind: TransactionKind, trace: Vec<TraceLine>) {
        let Some(payment) = self.job.as_mut().and_then(|job| job.payment.as_mut()) else { return };
        let Some(wait) = &payment.wait else { return };
        let text = match (wait.cancelled, wait.queries >= queries_max(kind)) {
            (true, _) => cancelled_text(),
            (false, true) => Text::new("顾客未在规定时间内付款", "The buyer did not pay in time"),
            (false, false) => {
                payment.trace.extend(trace);
                return self.go_on_waiting(turn);
            }
        };
        self.unanswered(turn, kind, ResponseCode::NO_REPLY, text, trace);
    }

    /// What was said while the till waited for the buyer, then `trace`.
    pub(crate) fn trace_of_wait(&mut self, trace: Vec<TraceLine>) -> Vec<TraceLine> {
        let payment = self.job.as_mut().and_then(|job| job.payment.as_mut());
        let mut all = payment.map(|payment| core::mem::take(&mut payment.trace)).unwrap_or_default();
        all.extend(trace);
        all
    }

    /// The cashier gives up: at once, or when the query under way is answered. What the buyer pays meanwhile is given back.
    pub(crate) fn cancel_payer(&mut self, turn: &mut Turn) {
        let Some(kind) = self.waiting_payment().map(|(goal, _)| goal.kind) else { return };
        if let Activity::AwaitingPayer = self.activity {
            self.idle();
            return self.unanswered(turn, kind, ResponseCode::NO_REPLY, cancelled_text(), Vec::new());
        }
        if let Some(wait) =
            self.job.as_mut().and_then(|job| job.payment.as_mut()).and_then(|payment| payment.wait.as_mut())
        {
            wait.cancelled = true;
        }
    }
}

fn cancelled_text() -> Text {
    Text::new("收银员已取消收款", "The cashier stopped waiting for the buyer")
}

fn queries_max(kind: TransactionKind) -> u16 {
    if kind == TransactionKind::QrOrder { limits::QR_ORDER_QUERIES_MAX } else { limits::QR_SALE_QUERIES_MAX }
}

/// F59 with one tag.
pub(crate) fn field(name: &str, value: &str) -> CustomData {
    CustomData(format!("{name}{:03}{value}", value.len()).into_bytes())
}

/// The value of a tag of F59.
fn find(field: &CustomData, name: &str) -> Option<String> {
    let mut rest = core::str::from_utf8(&field.0).ok()?;
    while !rest.is_empty() {
        let value_at = NAME_CHARACTERS + LENGTH_DIGITS;
        let length: usize = rest.get(NAME_CHARACTERS..value_at)?.parse().ok()?;
        let value = rest.get(value_at..value_at.checked_add(length)?)?;
        if rest.get(..NAME_CHARACTERS) == Some(name) {
            return Some(value.to_owned());
        }
        rest = rest.get(value_at + length..)?;
    }
    None
}

/// The code of an order, as its answer gives it.
fn code_of(summary: &ResponseSummary) -> Option<PaymentCode> {
    PaymentCode::parse(&find(summary.custom.as_ref()?, PAYMENT_CODE)?).ok()
}

/// The voucher code of an answer.
pub(crate) fn voucher_of(summary: &ResponseSummary) -> Option<String> {
    find(summary.custom.as_ref()?, VOUCHER_CODE)
}

/// What stands in a card's place: the code as a slip may show it, if there is one.
pub(crate) fn payer(code: Option<&PaymentCode>) -> CardSummary {
    let nobody = || TruncatedPan::parse(NOBODY).expect("digits and asterisks");
    CardSummary {
        session: 0,
        token: CardToken([0; CARD_TOKEN_BYTES]),
        truncated: code.map_or_else(nobody, PaymentCode::truncated),
        aid: Vec::new(),
        label: String::new(),
        organisation: "CUP".to_owned(),
        entry_mode: ENTRY_MODE.to_owned(),
        decision: CardDecision::Online,
        pin_entered: false,
        signature: false,
    }
}

impl TransactionKind {
    /// Whether a code stands behind it, and no card.
    pub fn is_qr(self) -> bool {
        matches!(
            self,
            TransactionKind::QrSale | TransactionKind::QrOrder | TransactionKind::QrVoid | TransactionKind::QrRefund
        )
    }

    /// Whether the host may answer that the buyer has still to pay.
    pub fn waits_for_payer(self) -> bool {
        matches!(self, TransactionKind::QrSale | TransactionKind::QrOrder)
    }
}

impl Transaction {
    /// 付款凭证号 (F59 A4): what a void or refund of a QR payment names it by.
    pub fn voucher_code(&self) -> Option<String> {
        self.response.as_ref().filter(|_| self.kind.is_qr()).and_then(voucher_of)
    }

    /// What a slip shows of the code that was scanned; nothing if the buyer scanned the till's.
    pub fn scanned_code(&self) -> Option<TruncatedPan> {
        Some(self.card.truncated).filter(|shown| self.kind.is_qr() && shown.text() != NOBODY)
    }
}

impl Operation {
    /// Of a QR kind: a void and a refund are what they are with a card.
    pub(crate) fn of_qr(kind: TransactionKind) -> Self {
        match kind {
            TransactionKind::QrOrder => Operation::QrOrder,
            TransactionKind::QrVoid => Operation::Void,
            TransactionKind::QrRefund => Operation::Refund,
            _ => Operation::QrSale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_behind_others_and_cuts_find_nothing() {
        let both = CustomData([field("A5", "shop").0, field(VOUCHER_CODE, "20260315000001000002").0].concat());
        assert_eq!(find(&both, VOUCHER_CODE).as_deref(), Some("20260315000001000002"));
        assert_eq!(find(&both, PAYMENT_CODE), None);
        for length in 0..both.0.len() {
            assert_eq!(find(&CustomData(both.0[..length].to_vec()), VOUCHER_CODE), None, "{length}");
        }
        assert_eq!(find(&CustomData(b"A4999".to_vec()), VOUCHER_CODE), None);
        assert_eq!(find(&CustomData(vec![0xFF; 9]), VOUCHER_CODE), None);
    }
}
