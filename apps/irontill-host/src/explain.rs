//! The host's half of a payment's explanation: its records, the checks in them, and what the ledger holds of each.

use acquirer::Record;
use machine::MachineId;
use machine::store::StoreFault;
use machine::wire::Encode;
use store_sqlite::{PostedLeg, PostingSummary, SqliteStore};
use types::{MerchantId, Rrn, Stan, TerminalId};

/// One record that concerns the payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its number in the terminal's journal.
    pub sequence: u64,
    /// Topic and text, in order.
    pub lines: Vec<(String, String)>,
}

/// Every record of a terminal that concerns the message with this trace number, in order, postings included.
/// `batch` narrows it to one batch: trace numbers come again after 999999.
///
/// # Errors
/// The store's, and damage to the terminal's journal. A record of a later version of the program is skipped.
pub fn explain(
    store: &SqliteStore,
    terminal: TerminalId,
    batch: Option<u32>,
    stan: Stan,
) -> Result<Vec<Explanation>, StoreFault> {
    let machine = MachineId::of_terminal(terminal);
    let mut explanations = Vec::new();
    for entry in store.journal(machine)? {
        let Ok(record) = Record::from_bytes(&entry.record) else { continue };
        if !concerns(&record, batch, stan) {
            continue;
        }
        let mut lines = acquirer::explain(&record);
        lines.extend(store.postings_of_record(machine, entry.sequence)?.iter().map(ledger_line));
        explanations.push(Explanation { sequence: entry.sequence, lines });
    }
    Ok(explanations)
}

fn concerns(record: &Record, batch: Option<u32>, stan: Stan) -> bool {
    let fits =
        |intent: &ledger::Intent| intent.stan == stan && batch.is_none_or(|batch| intent.batch.number() == batch);
    match record {
        Record::Decided(decision) => fits(&decision.intent),
        Record::Reversed(reversal) => fits(&reversal.intent) || fits(&reversal.original),
        Record::ScriptNoticed(notice) => fits(&notice.intent),
        Record::Signed(signature) => fits(&signature.intent),
        Record::Repeated { intent } => fits(intent),
        Record::OrderPaid { sale, .. } => fits(sale),
        Record::Queried { original, .. } => fits(original),
        Record::Refused { stan: refused, .. } => *refused == Some(stan),
        _ => false,
    }
}

/// The record says what should be booked; this says what the ledger holds.
fn ledger_line(posting: &PostingSummary) -> (String, String) {
    let leg = |leg: &PostedLeg| format!("{} {:+} {}", leg.account, leg.delta_minor, leg.currency.label());
    let legs: Vec<String> = posting.legs.iter().map(leg).collect();
    ("ledger".to_owned(), format!("{}: {}", posting.id, legs.join(", ")))
}

/// The trace number and batch of the transaction with this reference number, if the terminal's journal has it.
///
/// # Errors
/// The store's, and damage to the terminal's journal.
pub fn find_by_rrn(store: &SqliteStore, terminal: TerminalId, rrn: Rrn) -> Result<Option<(Stan, u32)>, StoreFault> {
    let found =
        store.journal(MachineId::of_terminal(terminal))?.into_iter().find_map(|entry| {
            match Record::from_bytes(&entry.record).ok()? {
                Record::Decided(decision) if decision.answer.rrn == rrn => {
                    Some((decision.intent.stan, decision.intent.batch.number()))
                }
                _ => None,
            }
        });
    Ok(found)
}

/// Merchant and name under which a terminal was last enrolled.
///
/// # Errors
/// The store's, and damage to the terminal's journal.
pub fn enrolled_as(store: &SqliteStore, terminal: TerminalId) -> Result<Option<(MerchantId, String)>, StoreFault> {
    let journal = store.journal(MachineId::of_terminal(terminal))?;
    let enrolment = journal.into_iter().rev().find_map(|entry| match Record::from_bytes(&entry.record).ok()? {
        Record::Enrolled { enrolment, .. } => Some(enrolment),
        Record::Snapshot(state) => state.enrolment,
        _ => None,
    });
    Ok(enrolment.map(|enrolment| (enrolment.merchant, enrolment.name)))
}
