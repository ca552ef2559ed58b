//! Bodies of responses (unionpay-pos §3.3, §3.4).

use crate::config::HostConfig;
use crate::incoming::Incoming;
use crate::instalments::plan;
use crate::qr;
use crate::record::{Answer, Kind};
use iso8583::unionpay::{Balance, Body, Institutions, MessageKind};
use tlv::{Builder, tags};
use types::{CivilTime, LocalTime, ResponseCode, Rrn, SecretBytes};

const AMOUNT_TYPE_AVAILABLE: [u8; 2] = *b"02";
const ACCOUNT_TYPE_UNSPECIFIED: [u8; 2] = *b"00";

/// What every response repeats and carries.
pub(crate) fn base(incoming: &Incoming, at: CivilTime, code: Option<ResponseCode>) -> Body {
    let request = &incoming.body;
    let mut body = Body::new(request.response_mti());
    body.trace = request.trace;
    body.local_time = Some(hhmmss(at.time));
    body.local_date = Some(mmdd(at));
    body.response_code = code.map(|code| *code.bytes());
    body.terminal_id = request.terminal_id;
    body.merchant_id = request.merchant_id;
    body.f60 = request.f60.as_ref().map(iso8583::unionpay::F60::echo);
    body
}

/// A response that also names the acquirer and has a reference number.
pub(crate) fn referenced(
    incoming: &Incoming,
    config: &HostConfig,
    at: CivilTime,
    code: Option<ResponseCode>,
    rrn: &Rrn,
) -> Body {
    let mut body = base(incoming, at, code);
    body.acquirer_id = Some(config.acquirer.text().as_bytes().to_vec());
    body.rrn = Some(*rrn.bytes());
    body
}

/// A response to a financial message, a reversal or a script notice.
pub(crate) fn financial(incoming: &Incoming, config: &HostConfig, answer: &Answer) -> Body {
    let request = &incoming.body;
    let mut body = referenced(incoming, config, answer.at, Some(answer.response_code), &answer.rrn);
    body.pan = request.pan.as_ref().map(SecretBytes::duplicate);
    body.processing_code = request.processing_code;
    body.amount_minor = request.amount_minor;
    body.card_sequence = request.card_sequence;
    body.condition = request.condition;
    body.currency = request.currency;
    body.authorisation_code = answer.authorisation_code.map(|code| *code.bytes());
    body.icc_data = chip(request, answer);
    if incoming.kind != MessageKind::Balance {
        body.settlement_date = Some(mmdd(answer.at));
    }
    if incoming.kind == MessageKind::ScriptResult {
        body.entry_mode = request.entry_mode;
        return body;
    }
    body.expiry = request.expiry.as_ref().map(SecretBytes::duplicate);
    body.security_control = request.security_control;
    add_institutions(&mut body, config, answer);
    add_balance(&mut body, request, answer);
    if answer.response_code.is_approval() && incoming.kind == MessageKind::InstalmentSale {
        body.f62 = request.f62.as_ref().and_then(|f62| plan(f62, request.amount_minor.unwrap_or(0)));
    }
    if answer.response_code.is_approval() && incoming.kind != MessageKind::Reversal {
        body.f63 = Some(answer.organisation.to_vec());
    }
    if let Some(kind) = qr_kind(incoming.kind) {
        body.custom = qr::answered_field(kind, answer);
    }
    body
}

/// The kinds whose answers carry F59. A query is answered as the payment that it is about.
fn qr_kind(kind: MessageKind) -> Option<Kind> {
    match kind {
        MessageKind::QrSale | MessageKind::QrQuery => Some(Kind::QrSale),
        MessageKind::QrOrder => Some(Kind::QrOrder),
        MessageKind::QrVoid => Some(Kind::QrVoid),
        MessageKind::QrRefund => Some(Kind::QrRefund),
        _ => None,
    }
}

fn add_institutions(body: &mut Body, config: &HostConfig, answer: &Answer) {
    if let Some(issuer) = answer.issuer {
        let institutions = Institutions::new(issuer.text().as_bytes(), config.acquirer.text().as_bytes());
        body.additional_response = Some(institutions.format());
    }
}

fn add_balance(body: &mut Body, request: &Body, answer: &Answer) {
    let (Some(balance_minor), Some(currency)) = (answer.balance_minor, request.currency) else {
        return;
    };
    let balance =
        Balance { account_type: ACCOUNT_TYPE_UNSPECIFIED, amount_type: AMOUNT_TYPE_AVAILABLE, currency, balance_minor };
    body.balance = balance.format();
}

/// The ATC as it came, then what the issuer says to the chip.
fn chip(request: &Body, answer: &Answer) -> Option<SecretBytes> {
    let field_55 = request.icc_data.as_ref()?;
    let mut builder = Builder::new();
    if let Some(atc) = tlv::ber::find(field_55.expose(), tags::ATC).ok().flatten().filter(|atc| atc.len() == 2) {
        builder.push(tags::ATC, atc);
    }
    builder.push_encoded(&answer.chip);
    let bytes = builder.into_bytes();
    (!bytes.is_empty()).then(|| SecretBytes::new(bytes))
}

fn hhmmss(time: LocalTime) -> [u8; 6] {
    let (hour, minute, second) = time.parts();
    let [h, i] = two_digits(hour);
    let [m, n] = two_digits(minute);
    let [s, t] = two_digits(second);
    [h, i, m, n, s, t]
}

pub(crate) fn mmdd(at: CivilTime) -> [u8; 4] {
    let [m, n] = two_digits(at.date.month());
    let [d, e] = two_digits(at.date.day());
    [m, n, d, e]
}

fn two_digits(number: u8) -> [u8; 2] {
    [b'0' + number / 10 % 10, b'0' + number % 10]
}
