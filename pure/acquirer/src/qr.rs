//! Payments by QR code: a buyer's code that is scanned, an order that a buyer scans, their void, refund and query (unionpay-pos rows
//! 36 to 39, D37, D38; docs/wire/qr-payments.md).

use crate::financial::{amount_of, kind_of, operation};
use crate::machine_impl::{Acquirer, Output, Phase, Work};
use crate::order::{ORDER_VALID_MS, OrderEnd, SPACE_ORDER_END, order_code, voucher_code};
use crate::record::{Answer, Capture, Decision, Kind, QrPayment, Record};
use crate::respond;
use crate::rule::{Rule, Verdict};
use crate::state::Status;
use crate::words::Effect;
use iso8583::unionpay::parse_tags59;
use issuer::wallet::{
    self, GivenCode, SPACE_PAYMENT_CODE, SPACE_WALLET, WalletFile, WalletQuestion, payment_code_key, wallet_key,
    wallet_of_token,
};
use machine::wire::Encode;
use types::{PaymentCode, Rrn, SecretBytes, Stan};

/// Tag of F59: a payment code.
const PAYMENT_CODE: [u8; 2] = *b"A3";
/// Tag of F59: a voucher code.
const VOUCHER_CODE: [u8; 2] = *b"A4";
/// F37 of a refund whose sender knows the voucher code only.
const NO_RRN: [u8; 12] = *b"000000000000";

impl Acquirer {
    /// Finds out who pays or is paid back, once the message is in order.
    pub(crate) fn ask_wallet(&mut self, work: Box<Work>, out: &mut Output) {
        match kind_of(&work) {
            Kind::QrOrder => self.decide(work, Rule::AwaitingPayer.into(), None, out),
            Kind::QrSale => self.find_payment_code(work, out),
            Kind::QrRefund => self.find_capture(work, out),
            _ => self.find_wallet(work, out),
        }
    }

    fn find_payment_code(&mut self, work: Box<Work>, out: &mut Output) {
        let Some(code) = payment_code(&work) else {
            return self.decide(work, Rule::PaymentCodeUnknown.into(), None, out);
        };
        let ticket = self.wait(work, Phase::FindingPaymentCode);
        out.effects.push(Effect::Find { ticket, space: SPACE_PAYMENT_CODE, key: payment_code_key(&code) });
    }

    /// Takes the code as the issuer gave it to its owner.
    pub(crate) fn take_payment_code(&mut self, mut work: Box<Work>, value: Option<Vec<u8>>, out: &mut Output) {
        let given = value.and_then(|bytes| GivenCode::from_bytes(&bytes).ok());
        match given {
            None => self.decide(work, Rule::PaymentCodeUnknown.into(), None, out),
            Some(given) if given.expired(self.now.wall_ms) => {
                self.decide(work, Rule::PaymentCodeExpired.into(), None, out);
            }
            Some(given) => {
                work.wallet = Some(given.wallet);
                work.checks.push("payment code given and good");
                self.find_wallet(work, out);
            }
        }
    }

    /// Asks for the file of the wallet that pays or is paid back; the risk rules come before it.
    pub(crate) fn find_wallet(&mut self, work: Box<Work>, out: &mut Output) {
        let Some(wallet) = work.wallet else {
            return self.decide(work, Rule::WalletUnknown.into(), None, out);
        };
        if let Some(question) = self.question(&work, None) {
            return self.screen(work, question, None, out);
        }
        let ticket = self.wait(work, Phase::FindingWallet);
        out.effects.push(Effect::Find { ticket, space: SPACE_WALLET, key: wallet_key(wallet) });
    }

    /// Takes the wallet's file: its issuer decides, or has its owner asked first.
    pub(crate) fn take_wallet(&mut self, mut work: Box<Work>, value: Option<Vec<u8>>, out: &mut Output) {
        let file = value.and_then(|bytes| WalletFile::from_bytes(&bytes).ok());
        let currency = self.state.enrolment.as_ref().map(|enrolment| enrolment.currency);
        let amount = currency.and_then(|currency| amount_of(&work, currency));
        let (Some(wallet), Some(file), Some(amount)) = (work.wallet, file, amount) else {
            return self.decide(work, Rule::WalletUnknown.into(), None, out);
        };
        let kind = kind_of(&work);
        let reply = wallet::decide(&WalletQuestion { wallet, operation: operation(kind), amount }, &file);
        let asks_owner = kind == Kind::QrSale && reply.is_approval() && amount.minor() > file.ask_above_minor;
        let verdict = if asks_owner { Rule::AwaitingPayer.into() } else { Verdict::from(reply.rule) };
        work.reply = Some(Box::new(reply));
        self.decide(work, verdict, None, out);
    }

    /// What became of a payment of this batch? The answer is the original's, under the query's own trace number.
    pub(crate) fn consider_query(&mut self, work: Box<Work>, out: &mut Output) {
        let Some((decision, status)) = self.queried(&work) else {
            return self.refuse_with_mac(work, Rule::OriginalMissing.into(), out);
        };
        if status == Status::Reversed {
            return self.refuse_with_mac(work, Rule::Tombstone.into(), out);
        }
        match decision.qr.as_ref().filter(|_| decision.awaits_payer()).map(|qr| payment_code_key(&qr.code)) {
            Some(key) => {
                let ticket = self.wait(work, Phase::FindingOrderEnd);
                out.effects.push(Effect::Find { ticket, space: SPACE_ORDER_END, key });
            }
            None => self.answer_query(work, &decision, None, out),
        }
    }

    /// Takes the end of the order that a query is about.
    pub(crate) fn take_order_end(&mut self, work: Box<Work>, value: Option<Vec<u8>>, out: &mut Output) {
        let Some((mut decision, _)) = self.queried(&work) else {
            return self.refuse_with_mac(work, Rule::OriginalMissing.into(), out);
        };
        match value.map(|bytes| OrderEnd::from_bytes(&bytes)) {
            None => self.answer_query(work, &decision, None, out),
            Some(Ok(OrderEnd::Paid(payment))) => {
                decision.take_payment(&payment);
                let record = Record::OrderPaid { sale: decision.intent, payment };
                self.answer_query(work, &decision, Some(record), out);
            }
            Some(Ok(OrderEnd::Closed(_))) => self.refuse_with_mac(work, Rule::Tombstone.into(), out),
            Some(Err(_)) => self.abandon(work, "an order's end cannot be read", out),
        }
    }

    /// The payment that a query names by F61 and F59: of the open batch, by its code or voucher.
    fn queried(&self, work: &Work) -> Option<(Decision, Status)> {
        let named = work.incoming.body.f61.as_ref()?;
        if named.batch() != Some(self.state.open_batch().number()) {
            return None;
        }
        let (decision, status) = self.state.decision(named.trace().and_then(Stan::new)?)?;
        names_payment(work, decision).then(|| (decision.clone(), status))
    }

    fn answer_query(&mut self, work: Box<Work>, decision: &Decision, learnt: Option<Record>, out: &mut Output) {
        let mut body = respond::financial(&work.incoming, &self.config, &decision.answer);
        body.amount_minor = Some(decision.amount.minor());
        let record = learnt.unwrap_or(Record::Queried {
            original: decision.intent,
            stan: work.incoming.stan(),
            response_code: decision.answer.response_code,
        });
        self.conclude(work, Some(record), body, out);
    }

    /// What stands in a decision beside a card payment's fields.
    pub(crate) fn qr_payment(&self, work: &Work, kind: Kind, answer: &Answer) -> Option<QrPayment> {
        let code = match kind {
            Kind::QrSale => payment_code(work)?,
            Kind::QrOrder => order_code(answer.at, &answer.rrn)?,
            _ => return None,
        };
        let expires_ms = self.now.wall_ms.saturating_add(ORDER_VALID_MS);
        Some(QrPayment { code, wallet: work.wallet, expires_ms })
    }
}

/// Whether F59 of a query, void or refund names this payment: by its voucher code, or by the code that was scanned or shown.
pub(crate) fn names_payment(work: &Work, decision: &Decision) -> bool {
    let Some(qr) = &decision.qr else { return false };
    match (tag(work, VOUCHER_CODE), payment_code(work)) {
        (Some(voucher), _) => voucher == voucher_code(decision.answer.at, &decision.answer.rrn).into_bytes(),
        (None, code) => code == Some(qr.code),
    }
}

/// The reference number that a refund names: F37, or the end of the voucher code.
pub(crate) fn refunded_rrn(work: &Work) -> Option<Rrn> {
    let named = work.incoming.body.rrn.filter(|rrn| *rrn != NO_RRN);
    let of_voucher = || tag(work, VOUCHER_CODE)?.get(8..)?.try_into().ok();
    Rrn::new(named.or_else(of_voucher)?).ok()
}

/// Whether a refund's voucher code is that of the payment found, and a wallet paid it.
pub(crate) fn refunds_wallet(work: &Work, capture: &Capture) -> Result<(), Rule> {
    wallet_of_token(&capture.card).ok_or(Rule::OriginalKind)?;
    let right = refunded_rrn(work).map(|rrn| voucher_code(capture.at, &rrn).into_bytes());
    if tag(work, VOUCHER_CODE) == right { Ok(()) } else { Err(Rule::OtherVoucher) }
}

/// What of F59 makes a message itself.
pub(crate) fn code_of(work: &Work) -> Vec<u8> {
    tag(work, PAYMENT_CODE).or_else(|| tag(work, VOUCHER_CODE)).unwrap_or_default()
}

/// F59 of an answer: the code of an order to show, or the voucher code of what is paid.
pub(crate) fn answered_field(kind: Kind, answer: &Answer) -> Option<SecretBytes> {
    let (name, value) = if answer.response_code.is_approval() {
        (VOUCHER_CODE, voucher_code(answer.at, &answer.rrn))
    } else if kind == Kind::QrOrder && answer.response_code == Rule::AwaitingPayer.response_code() {
        (PAYMENT_CODE, order_code(answer.at, &answer.rrn)?.expose().to_owned())
    } else {
        return None;
    };
    let tag = iso8583::unionpay::Tag59 { tag: name, value: value.as_bytes() };
    iso8583::unionpay::format_tags59(&[tag]).ok().map(SecretBytes::new)
}

fn payment_code(work: &Work) -> Option<PaymentCode> {
    let value = tag(work, PAYMENT_CODE)?;
    PaymentCode::parse(core::str::from_utf8(&value).ok()?).ok()
}

fn tag(work: &Work, name: [u8; 2]) -> Option<Vec<u8>> {
    let field = work.incoming.body.custom.as_ref()?;
    let tags = parse_tags59(field.expose()).ok()?;
    tags.iter().find(|tag| tag.tag == name).map(|tag| tag.value.to_vec())
}
