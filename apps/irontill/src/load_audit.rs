//! `irontill load --audit`: what tills and receipts say of a load, and what the bank has booked.

use crate::books::{Books, Effect, payment_name};
use crate::load::{RESOLVE_WITHIN, Tally};
use crate::system::Folder;
use irontill_terminal::{Silent, Terminal};
use std::collections::BTreeMap;
use std::path::Path;
use till::{OperatorCommand, TransactionStatus};

/// Words of a receipt's line.
const RECEIPT_WORDS: usize = 5;

/// Everything pending must come to an end, and no transaction may stay open.
pub(crate) fn audit_terminal(terminal: &mut Terminal, id: &str, tally: &mut Tally) -> anyhow::Result<()> {
    terminal.run(OperatorCommand::SignIn, &mut Silent)?;
    terminal.run(OperatorCommand::ResumePending, &mut Silent)?;
    terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
    for pending in terminal.till().pending() {
        tally.problems.push(format!("terminal {id}: still pending: {pending:?}"));
    }
    tally.open_batches.push(format!("{id}/{}/", terminal.till().status().batch));
    for payment in terminal.till().transactions() {
        tally.claims.insert(payment_name(id, payment.batch, payment.stan), Effect::said(payment));
        match payment.status {
            TransactionStatus::Approved => tally.approved += 1,
            TransactionStatus::Declined | TransactionStatus::Cancelled => tally.declined += 1,
            TransactionStatus::Reversed => tally.reversed += 1,
            TransactionStatus::Sent | TransactionStatus::Reversing | TransactionStatus::Queued => tally.unknown += 1,
        }
    }
    Ok(())
}

/// What tills and receipts say is what is booked, nothing else is booked in an open batch, and the ledger is sound.
pub(crate) fn audit_ledger(folder: &Folder, receipts: Option<&Path>, tally: &mut Tally) -> anyhow::Result<()> {
    let store = store_sqlite::SqliteStore::open_read_only(&folder.host_settings()?.store, None)?;
    let report = store.verify()?;
    tally.problems.extend(report.findings.iter().map(|finding| format!("store: {finding}")));
    let books = Books::read(&store)?;
    for (name, said) in &tally.claims {
        let booked = books.of(name);
        if booked != *said {
            tally.problems.push(format!("till and ledger differ on {name}: the till says {said:?}, booked {booked:?}"));
        }
    }
    for name in tally.open_batches.iter().flat_map(|batch| books.with_effect(batch)) {
        if !tally.claims.contains_key(name) {
            tally.problems.push(format!("{name} is booked and stands, and its till does not know it"));
        }
    }
    match receipts {
        Some(path) => audit_receipts(&std::fs::read_to_string(path)?, &books, &mut tally.problems),
        None => Ok(()),
    }
}

/// Each receipt was handed out once and is booked with its amount.
fn audit_receipts(text: &str, books: &Books, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    // A process killed while it wrote may leave half a line at the end of one run; the next line then starts inside it.
    for line in text.lines().filter(|line| line.split(' ').count() == RECEIPT_WORDS) {
        *seen.entry(line).or_default() += 1;
    }
    for (line, times) in seen {
        let words: Vec<&str> = line.split(' ').collect();
        let promised = Effect { paid_minor: words[3].parse()?, holds: words[4].parse()? };
        let booked = books.of(&words[..3].join("/"));
        if booked != promised || times != 1 {
            problems.push(format!("receipt {line}: booked {booked:?}, handed out {times} times"));
        }
    }
    Ok(())
}
