//! What must hold in every state, and what must happen in some, so that nothing holds for want of trying.

use crate::config::Kind;
use crate::heal::heal;
use crate::host::{Entry, HostTerminal};
use crate::network::Request;
use crate::protocol::Protocol;
use crate::state::{BATCHES_MAX, State, TERMINALS, TRANSACTIONS, amount_minor};
use crate::till::{Phase, Settlement, Status};
use stateright::Property;

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("charged at most once", |_, state: &State| charged_at_most_once(state)),
        Property::always("an account is never overdrawn by a sale", |model: &Protocol, state: &State| {
            state.balance_minor(&model.config) + reinstated_minor(state) >= 0
        }),
        Property::always("a receipt is booked", |_, state: &State| every(state, receipt_is_booked)),
        Property::always("never reversed and standing", |_, state: &State| every(state, reversed_does_not_stand)),
        Property::always("declined is not booked", |_, state: &State| every(state, declined_is_not_booked)),
        Property::always("nothing leaves before it is durable", |_, state: &State| every(state, sent_is_durable)),
        Property::always("reversal first", |_, state: &State| reversal_first(state)),
        Property::always("closed totals are equal", |_, state: &State| closed_totals_are_equal(state)),
        Property::always("good keys are never refused", |_, state: &State| {
            state.hosts.iter().all(|host| !host.refused_good_keys)
        }),
        Property::always("everything can be resolved", everything_can_be_resolved),
        Property::sometimes("both terminals close a batch with money in it", |_, state: &State| {
            let closed = |host: &HostTerminal| host.totals[0].debit_minor > 0;
            state.hosts.iter().all(closed)
        }),
        Property::sometimes("a reversal comes before its original", |_, state: &State| {
            some_entry(state, |entry| entry == Entry::Tombstone)
        }),
        Property::sometimes("an approved sale is reversed", |_, state: &State| {
            state.ledger.iter().flatten().any(|postings| postings.reversals > 0)
        }),
        Property::sometimes("want of funds declines", |_, state: &State| {
            some_entry(state, |entry| entry == Entry::Declined)
        }),
        Property::sometimes("a void is reversed", |_, state: &State| {
            state.ledger.iter().flatten().any(|postings| postings.reinstatements > 0)
        }),
        Property::sometimes("a message is taken under earlier keys", |_, state: &State| {
            state.hosts.iter().any(under_earlier_keys)
        }),
    ]
}

/// The host is about to book what came under keys that are not the present ones.
fn under_earlier_keys(host: &HostTerminal) -> bool {
    host.work.is_some_and(|work| {
        use crate::host::HostRecord::{Decided, Repeated, Reversed};
        matches!(work.record, Decided { .. } | Repeated { .. } | Reversed { .. }) && work.version < host.key_version
    })
}

fn some_entry(state: &State, wanted: impl Fn(Entry) -> bool) -> bool {
    state.hosts.iter().flat_map(|host| host.intents).any(wanted)
}

/// One transaction as all parties see it.
#[derive(Clone, Copy)]
struct View {
    kind: Kind,
    status: Status,
    entry: Entry,
    printed: bool,
    sent: bool,
}

fn view(state: &State, terminal: usize, transaction: usize) -> View {
    let payment = state.tills[terminal].journal.payments[transaction];
    View {
        kind: payment.kind,
        status: payment.status,
        entry: state.hosts[terminal].intents[transaction],
        printed: state.tills[terminal].has_printed(transaction),
        sent: state.networks[terminal].was_sent(transaction),
    }
}

fn views(state: &State) -> impl Iterator<Item = View> + '_ {
    (0..TERMINALS).flat_map(move |terminal| (0..TRANSACTIONS).map(move |index| view(state, terminal, index)))
}

fn every(state: &State, holds: impl Fn(View) -> bool) -> bool {
    views(state).all(holds)
}

/// One debit at most, and never more taken back than was taken.
fn charged_at_most_once(state: &State) -> bool {
    state.ledger.iter().flatten().all(|postings| postings.debits <= 1 && matches!(postings.charged(), 0 | 1))
}

/// What reversals of voids put back. These are not guarded, since a reversal must be taken: the money that a void gave back may be
/// spent by then, and the account falls below its floor by as much.
fn reinstated_minor(state: &State) -> i16 {
    let sales = state.ledger.iter().flat_map(|of_terminal| of_terminal.iter().enumerate());
    sales.map(|(sale, postings)| i16::from(postings.reinstatements) * amount_minor(sale)).sum()
}

/// What the shopper holds in hand stands in the host's books.
fn receipt_is_booked(view: View) -> bool {
    !view.printed || matches!(view.entry, Entry::Approved | Entry::Voided)
}

/// A till that says "reversed" is right, now and for ever.
fn reversed_does_not_stand(view: View) -> bool {
    view.status != Status::Reversed || matches!(view.entry, Entry::Tombstone | Entry::Reversed | Entry::Declined)
}

/// A till that says "declined" is right.
fn declined_is_not_booked(view: View) -> bool {
    view.status != Status::Declined || !matches!(view.entry, Entry::Approved | Entry::Voided)
}

/// What is on the wire, the journal knows; what the host has decided, was on the wire.
fn sent_is_durable(view: View) -> bool {
    (!view.sent || view.status != Status::New) && (view.entry == Entry::Unseen || view.sent)
}

/// No payment while a reversal is pending, no settlement while anything is.
fn reversal_first(state: &State) -> bool {
    state.tills.iter().all(|till| {
        let journal = &till.journal;
        let early_payment =
            matches!(till.phase, Phase::Waiting(Request::Financial(_))) && journal.reversing().is_some();
        let early_settlement = journal.settlement != Settlement::None && journal.anything_open();
        !early_payment && !early_settlement
    })
}

/// A batch that both sides closed has the same totals on both, and the host said so when it compared them.
fn closed_totals_are_equal(state: &State) -> bool {
    (0..TERMINALS).all(|terminal| {
        let (host, journal) = (&state.hosts[terminal], &state.tills[terminal].journal);
        (0..BATCHES_MAX)
            .filter(|batch| *batch < usize::from(host.batch))
            .all(|batch| host.totals[batch] == journal.totals[batch] && host.balanced & (1 << batch) != 0)
    })
}

fn everything_can_be_resolved(protocol: &Protocol, state: &State) -> bool {
    heal(protocol, state).is_some_and(|healed| is_clean(&healed))
}

/// Nothing is pending, both sides have the same open batch, and their books say the same about every transaction and the account.
fn is_clean(state: &State) -> bool {
    let quiet = state.tills.iter().all(|till| till.is_free() && !till.journal.anything_open());
    let same_batch = (0..TERMINALS).all(|terminal| state.tills[terminal].journal.batch == state.hosts[terminal].batch);
    quiet && same_batch && every(state, books_agree) && charges_agree(state) && closed_totals_are_equal(state)
}

fn books_agree(view: View) -> bool {
    let booked = matches!(view.entry, Entry::Approved | Entry::Voided);
    match view.status {
        Status::New => view.entry == Entry::Unseen,
        Status::Approved => booked && view.printed,
        Status::Declined | Status::Reversed => !booked && !view.printed,
        Status::Sent | Status::Reversing | Status::Queued => false,
    }
}

/// What the tills would say each sale costs the shopper is what the ledger says.
fn charges_agree(state: &State) -> bool {
    (0..TERMINALS).all(|terminal| {
        (0..TRANSACTIONS).all(|sale| {
            let paid = approved(state, terminal, sale, Kind::Sale);
            let taken_back = if sale == 0 { taken_back(state, terminal) } else { 0 };
            state.ledger[terminal][sale].charged() == paid - taken_back
        })
    })
}

/// Voids and refunds of a terminal's first sale that tills hold approved.
fn taken_back(state: &State, terminal: usize) -> i16 {
    let at = |terminal: usize, kind: Kind| -> i16 {
        (0..TRANSACTIONS).map(|transaction| approved(state, terminal, transaction, kind)).sum()
    };
    at(terminal, Kind::Void) + at(terminal, Kind::Refund) + at(1 - terminal, Kind::RefundOfOther)
}

fn approved(state: &State, terminal: usize, transaction: usize, kind: Kind) -> i16 {
    let view = view(state, terminal, transaction);
    i16::from(view.kind == kind && view.status == Status::Approved)
}
