//! What a store keeps beside the records: a pure projection of each record.

use crate::order::{OrderEnd, end_row};
use crate::record::{
    Authorisation, Capture, Decision, Enrolment, Kind, Record, Reversal, SerialClaim, Signature, Stored, Undo,
};
use crate::screening::{past_of_decision, past_of_reversal};
use issuer::wallet::{SPACE_PAYMENT_CODE_USED, payment_code_key};
use issuer::{SPACE_ATC, pin_try_rows};
use ledger::{Hold, Intent, Movement, balance_guard, capture_guard, hold_guard};
use machine::store::Row;
use machine::wire::Encode;
use risk::{Past, Scope, past_key};
use types::{CardToken, CivilTime, MerchantId, TerminalId};

/// Space of decided intents: each can be decided once.
pub const SPACE_INTENT: &str = "intent";
/// Space of reference numbers of approved sales, with what a refund needs.
pub const SPACE_RRN: &str = "rrn";
/// Space of approved pre-authorisations by what their void or completion names, with what it needs.
pub const SPACE_AUTHORISATION: &str = "authorisation";
/// Space of terminal numbers, with the terminal's name.
pub const SPACE_TERMINAL_NUMBER: &str = "terminal-number";

/// Space of what risk rules look back on: decisions by card, terminal and merchant, newest first.
pub const SPACE_PAST: &str = "past";
/// Space of terminals' serial numbers as F62 of a sign-in gives them, with the terminal that claimed each.
pub const SPACE_TERMINAL_SERIAL: &str = "terminal-serial";

/// Space of electronic signatures by the transaction that was signed: each is taken down once.
pub const SPACE_SIGNATURE: &str = "signature";

/// The rows that go with a record.
pub fn rows(record: &Record) -> Vec<Row> {
    match record {
        Record::Enrolled { enrolment, claims_number: true } => vec![terminal_number(enrolment)],
        Record::SignedIn { serial, claim: SerialClaim::Made(terminal), .. } => vec![terminal_serial(serial, *terminal)],
        Record::Decided(decision) => decision_rows(decision),
        Record::Reversed(reversal) => reversal_rows(reversal),
        Record::HoldExpired { hold, terminal, released: true } => {
            vec![hold.expiry(*terminal).into_row(), hold_guard(hold)]
        }
        Record::Signed(signature) => vec![signature_row(signature)],
        Record::ScriptNoticed(notice) => vec![intent_row(&notice.intent, &Stored::ScriptNotice(notice.clone()))],
        _ => Vec::new(),
    }
}

fn terminal_number(enrolment: &Enrolment) -> Row {
    Row::Unique {
        space: SPACE_TERMINAL_NUMBER,
        key: enrolment.terminal_number.to_be_bytes().to_vec(),
        value: enrolment.terminal.bytes().to_vec(),
    }
}

fn terminal_serial(serial: &[u8], terminal: TerminalId) -> Row {
    Row::Unique { space: SPACE_TERMINAL_SERIAL, key: serial.to_vec(), value: terminal.bytes().to_vec() }
}

fn signature_row(signature: &Signature) -> Row {
    Row::Unique { space: SPACE_SIGNATURE, key: signature.intent.key(), value: signature.to_bytes() }
}

fn intent_row(intent: &Intent, stored: &Stored) -> Row {
    decided_row(intent, stored.to_bytes())
}

fn decided_row(intent: &Intent, value: Vec<u8>) -> Row {
    Row::Unique { space: SPACE_INTENT, key: intent.key(), value }
}

fn decision_rows(decision: &Decision) -> Vec<Row> {
    let mut rows = vec![decided_row(&decision.intent, Stored::of_decision(decision))];
    if let Some((card, tries)) = &decision.pin_tries {
        rows.extend(pin_try_rows(card, tries));
    }
    if let Some(key) = &decision.atc_once {
        rows.push(Row::Unique { space: SPACE_ATC, key: key.clone(), value: decision.intent.key() });
    }
    rows.extend(hold_rows(decision));
    rows.extend(qr_rows(decision));
    rows.extend(movement_rows(decision));
    // A host without rules keeps no past.
    if decision.screening.is_some() {
        rows.extend(past_of_decision(decision).iter().flat_map(past_rows));
    }
    rows
}

fn past_rows(past: &Past) -> impl Iterator<Item = Row> {
    let value = past.to_bytes();
    let keys = Scope::ALL.into_iter().filter_map(|scope| past_key(scope, past));
    keys.map(move |key| Row::Put { space: SPACE_PAST, key, value: value.clone() })
}

/// A buyer's code pays once; an order is written down under its code.
fn qr_rows(decision: &Decision) -> Vec<Row> {
    let Some(qr) = decision.qr.as_ref().filter(|_| decision.is_approved() || decision.awaits_payer()) else {
        return Vec::new();
    };
    let used =
        Row::Unique { space: SPACE_PAYMENT_CODE_USED, key: payment_code_key(&qr.code), value: decision.intent.key() };
    let scanned = (decision.kind == Kind::QrSale).then_some(used);
    let order = decision.order().map(|(code, order)| order.row(&code));
    scanned.into_iter().chain(order).collect()
}

/// A hold is placed against the card's balance and ends once.
fn hold_rows(decision: &Decision) -> Vec<Row> {
    let Some(hold) = &decision.hold else { return Vec::new() };
    if decision.kind == Kind::PreAuthorisation {
        let guard = balance_guard(hold.funds.clone(), hold.amount.currency(), decision.floor_minor);
        return [hold.place().into_row(), guard].into_iter().chain(authorisation_row(decision, hold)).collect();
    }
    vec![hold.release(&decision.intent).into_row(), hold_guard(hold)]
}

/// What a void or completion names: merchant, card, authorisation code and date.
pub(crate) fn authorisation_key(merchant: MerchantId, card: CardToken, code: &[u8; 6], mmdd: u16) -> Vec<u8> {
    [&merchant.bytes()[..], &card.0, code, &mmdd.to_be_bytes()].concat()
}

/// Month and day as F13 and F61 carry them: 315 for the 15th of March.
pub(crate) fn month_day(at: CivilTime) -> u16 {
    u16::from(at.date.month()) * 100 + u16::from(at.date.day())
}

fn authorisation_row(decision: &Decision, hold: &Hold) -> Option<Row> {
    let (card, code, at) = (decision.identity.card?, decision.answer.authorisation_code?, decision.answer.at);
    let authorisation = Authorisation { hold: hold.clone(), at, wall_ms: decision.wall_ms };
    let key = authorisation_key(decision.intent.merchant, card, code.bytes(), month_day(at));
    Some(Row::Unique { space: SPACE_AUTHORISATION, key, value: authorisation.to_bytes() })
}

/// What is completed above the hold must be there; what was held is there.
fn completion_rows(decision: &Decision, movement: &Movement) -> Vec<Row> {
    let held_minor = decision.hold.as_ref().map_or(0, |hold| hold.amount.minor());
    let mut rows = vec![movement.completion().into_row()];
    if movement.amount.minor() > held_minor {
        rows.push(balance_guard(movement.funds.clone(), movement.amount.currency(), decision.floor_minor));
    }
    rows.extend(capture_row(decision));
    rows
}

fn movement_rows(decision: &Decision) -> Vec<Row> {
    let Some(movement) = &decision.movement else { return Vec::new() };
    let currency = movement.amount.currency();
    match decision.kind {
        Kind::Sale | Kind::Instalment | Kind::QrSale | Kind::QrOrder => {
            let mut rows =
                vec![movement.sale().into_row(), balance_guard(movement.funds.clone(), currency, decision.floor_minor)];
            rows.extend(capture_row(decision));
            rows
        }
        // The card has answered for the money: no floor refuses what it approved.
        Kind::OfflineSale => [movement.sale().into_row()].into_iter().chain(capture_row(decision)).collect(),
        Kind::TipAdjustment => vec![
            movement.adjustment(&decision.intent).into_row(),
            balance_guard(movement.funds.clone(), currency, decision.floor_minor),
            capture_guard(&movement.sale, currency),
        ],
        Kind::Completion | Kind::CompletionNotice => completion_rows(decision, movement),
        Kind::Void | Kind::InstalmentVoid | Kind::CompletionVoid | Kind::QrVoid => {
            vec![movement.void(&decision.intent).into_row(), capture_guard(&movement.sale, currency)]
        }
        Kind::Refund | Kind::QrRefund => {
            vec![movement.refund(&decision.intent).into_row(), capture_guard(&movement.sale, currency)]
        }
        Kind::Balance | Kind::PreAuthorisation | Kind::PreAuthorisationVoid => Vec::new(),
    }
}

fn capture_row(decision: &Decision) -> Option<Row> {
    let capture = Capture {
        movement: decision.movement.clone()?,
        card: decision.payer()?,
        at: decision.answer.at,
        wall_ms: decision.wall_ms,
    };
    let key = decision.answer.rrn.bytes().to_vec();
    Some(Row::Unique { space: SPACE_RRN, key, value: capture.to_bytes() })
}

/// The reversal's own intent comes first: a copy of a reversal must find its answer, not its effect.
fn reversal_rows(reversal: &Reversal) -> Vec<Row> {
    let mut rows = vec![decided_row(&reversal.intent, Stored::of_reversal(reversal))];
    if let Some(past) = past_of_reversal(reversal).filter(|_| reversal.remembered) {
        rows.extend(past_rows(&past));
    }
    match &reversal.undo {
        Undo::Sale(movement) => {
            rows.push(movement.reversal(&reversal.intent).into_row());
            rows.push(capture_guard(&movement.sale, movement.amount.currency()));
        }
        Undo::Void(movement) => rows.push(movement.reinstatement(&reversal.intent).into_row()),
        Undo::Hold(hold) => rows.extend([hold.reversal(&reversal.intent).into_row(), hold_guard(hold)]),
        Undo::Release(hold) => rows.push(hold.reinstatement(&reversal.intent).into_row()),
        Undo::Completion(movement, hold) => {
            rows.push(movement.reversal(&reversal.intent).into_row());
            rows.push(hold.reinstatement(&reversal.intent).into_row());
            rows.push(capture_guard(&movement.sale, movement.amount.currency()));
        }
        Undo::Order(code) => rows.push(end_row(code, &OrderEnd::Closed(reversal.intent))),
        Undo::Nothing => {}
        Undo::Tombstone => rows.push(intent_row(&reversal.original, &Stored::Tombstone(reversal.intent))),
    }
    rows
}
