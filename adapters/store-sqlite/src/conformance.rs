//! What every store must do, as one suite: SQLite here, the simulator's store, later ones over a network.

use machine::store::{AccountName, Append, GuardFailure, Leg, Outcome, Row, Store};
use machine::{Durable, MachineId};
use types::Currency;

/// Makes a fresh, empty store for each case.
pub type MakeStore<'a> = dyn FnMut() -> Box<dyn Store> + 'a;

/// Runs every case on a store of its own.
///
/// # Panics
/// With the case's expectation if the store does not meet it.
pub fn conformance(make: &mut MakeStore<'_>) {
    const CASES: &[fn(&mut dyn Store)] = &[
        records_come_back_in_order,
        a_wrong_version_conflicts,
        an_empty_append_proves_the_version,
        loading_starts_at_the_newest_snapshot,
        unique_keys_are_taken_once,
        a_key_taken_within_one_append_refuses_it,
        put_keys_change,
        postings_move_balances,
        a_posting_id_is_unique,
        balance_floors_hold_after_the_whole_append,
        taken_keys_are_reported_before_balances,
        a_refusal_writes_nothing,
        one_refusal_fails_no_other,
        later_appends_of_a_group_see_earlier_ones,
        currencies_do_not_mix,
        an_unbalanced_posting_stops_the_store,
    ];
    for case in CASES {
        case(&mut *make());
    }
}

fn machine(name: &str) -> MachineId {
    MachineId::new(name).expect("a short name")
}

fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a short name")
}

fn append(name: &str, first_sequence: u64, records: &[&str], rows: Vec<Row>) -> Append {
    let records = records.iter().map(|record| record.as_bytes().to_vec()).collect();
    Append { machine: machine(name), first_sequence, records, rows, snapshot: false }
}

fn one(store: &mut dyn Store, append: Append) -> Outcome {
    let mut outcomes = store.append(&[append]).expect("the store works");
    assert_eq!(outcomes.len(), 1, "one answer for one append");
    outcomes.remove(0)
}

fn durable(name: &str, sequence: u64) -> Outcome {
    Outcome::Durable(Durable::assertion(machine(name), sequence))
}

fn transfer(id: &str, from: &str, to: &str, minor: i64, currency: Currency) -> Row {
    let leg = |name: &str, delta_minor| Leg { account: account(name), delta_minor, currency };
    Row::Posting { id: id.to_owned(), legs: vec![leg(from, -minor), leg(to, minor)] }
}

fn unique(key: &str, value: &str) -> Row {
    Row::Unique { space: "intent", key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
}

fn put(key: &str, value: &str) -> Row {
    Row::Put { space: "card", key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
}

fn floor(name: &str, floor_minor: i64) -> Row {
    Row::BalanceAtLeast { account: account(name), currency: Currency::CNY, floor_minor }
}

fn found(store: &mut dyn Store, space: &str, key: &str) -> Option<Vec<u8>> {
    store.find(space, key.as_bytes()).expect("the store works")
}

fn balance(store: &mut dyn Store, name: &str) -> i64 {
    store.balance_minor(&account(name), Currency::CNY).expect("the store works")
}

fn records(store: &mut dyn Store, name: &str) -> (Vec<Vec<u8>>, u64) {
    let journal = store.load(machine(name)).expect("the store works");
    (journal.records, journal.last_sequence)
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn records_come_back_in_order(store: &mut dyn Store) {
    assert_eq!(records(store, "a"), (vec![], 0), "a machine that never wrote has an empty journal");
    assert_eq!(one(store, append("a", 1, &["one", "two"], vec![])), durable("a", 2));
    assert_eq!(one(store, append("b", 1, &["other"], vec![])), durable("b", 1));
    assert_eq!(one(store, append("a", 3, &["", "four"], vec![])), durable("a", 4));
    assert_eq!(records(store, "a"), (bytes(&["one", "two", "", "four"]), 4));
    assert_eq!(records(store, "b"), (bytes(&["other"]), 1));
}

fn a_wrong_version_conflicts(store: &mut dyn Store) {
    one(store, append("a", 1, &["one"], vec![]));
    for first_sequence in [1, 3, u64::MAX] {
        let outcome = one(store, append("a", first_sequence, &["late"], vec![put("k", "v")]));
        assert_eq!(outcome, Outcome::Conflict, "first sequence {first_sequence}");
    }
    assert_eq!(records(store, "a"), (bytes(&["one"]), 1));
    assert_eq!(found(store, "card", "k"), None);
}

fn an_empty_append_proves_the_version(store: &mut dyn Store) {
    assert_eq!(one(store, append("a", 1, &[], vec![])), durable("a", 0));
    one(store, append("a", 1, &["one"], vec![]));
    assert_eq!(one(store, append("a", 2, &[], vec![])), durable("a", 1));
    assert_eq!(one(store, append("a", 1, &[], vec![])), Outcome::Conflict);
    assert_eq!(one(store, append("a", 2, &[], vec![put("k", "v")])), durable("a", 1));
    assert_eq!(found(store, "card", "k"), Some(b"v".to_vec()));
}

fn loading_starts_at_the_newest_snapshot(store: &mut dyn Store) {
    one(store, append("a", 1, &["one"], vec![]));
    one(store, Append { snapshot: true, ..append("a", 2, &["two", "state 2"], vec![]) });
    one(store, append("a", 4, &["four"], vec![]));
    assert_eq!(records(store, "a"), (bytes(&["state 2", "four"]), 4));
    one(store, Append { snapshot: true, ..append("a", 5, &["state 5"], vec![]) });
    assert_eq!(records(store, "a"), (bytes(&["state 5"]), 5));
    assert_eq!(one(store, append("a", 6, &["six"], vec![])), durable("a", 6));
    assert_eq!(records(store, "a"), (bytes(&["state 5", "six"]), 6));
}

fn unique_keys_are_taken_once(store: &mut dyn Store) {
    assert_eq!(one(store, append("a", 1, &["one"], vec![unique("k", "first")])), durable("a", 1));
    let taken = GuardFailure::Taken { space: "intent", key: b"k".to_vec(), value: b"first".to_vec() };
    let outcome = one(store, append("b", 1, &["x"], vec![unique("k", "second")]));
    assert_eq!(outcome, Outcome::GuardFailed(taken), "the first writer's value comes back");
    assert_eq!(found(store, "intent", "k"), Some(b"first".to_vec()));
    assert_eq!(found(store, "card", "k"), None, "spaces do not mix");
}

fn a_key_taken_within_one_append_refuses_it(store: &mut dyn Store) {
    let outcome = one(store, append("a", 1, &["one"], vec![unique("k", "first"), unique("k", "second")]));
    let taken = GuardFailure::Taken { space: "intent", key: b"k".to_vec(), value: b"first".to_vec() };
    assert_eq!(outcome, Outcome::GuardFailed(taken));
    assert_eq!(found(store, "intent", "k"), None);
}

fn put_keys_change(store: &mut dyn Store) {
    one(store, append("a", 1, &["one"], vec![put("k", "v1"), put("k", "v2")]));
    assert_eq!(found(store, "card", "k"), Some(b"v2".to_vec()));
    one(store, append("b", 1, &["x"], vec![put("k", "v3")]));
    assert_eq!(found(store, "card", "k"), Some(b"v3".to_vec()));
}

fn postings_move_balances(store: &mut dyn Store) {
    assert_eq!(balance(store, "cardholder"), 0);
    let rows = vec![
        transfer("p1", "cardholder", "merchant", 1250, Currency::CNY),
        transfer("p2", "cardholder", "fee", 50, Currency::CNY),
    ];
    assert_eq!(one(store, append("a", 1, &["sale"], rows)), durable("a", 1));
    let balances = ["cardholder", "merchant", "fee"].map(|name| balance(store, name));
    assert_eq!(balances, [-1300, 1250, 50]);
}

fn a_posting_id_is_unique(store: &mut dyn Store) {
    let post = || vec![transfer("p1", "cardholder", "merchant", 10, Currency::CNY)];
    one(store, append("a", 1, &["sale"], post()));
    let outcome = one(store, append("b", 1, &["sale"], post()));
    assert!(matches!(outcome, Outcome::GuardFailed(GuardFailure::Taken { .. })), "{outcome:?}");
    let twice = [post(), post()].concat().into_iter().map(|row| match row {
        Row::Posting { legs, .. } => Row::Posting { id: "p2".to_owned(), legs },
        other => other,
    });
    let outcome = one(store, append("a", 2, &["sale"], twice.collect()));
    assert!(matches!(outcome, Outcome::GuardFailed(GuardFailure::Taken { .. })), "{outcome:?}");
    assert_eq!(balance(store, "merchant"), 10);
}

fn balance_floors_hold_after_the_whole_append(store: &mut dyn Store) {
    one(store, append("a", 1, &["load"], vec![transfer("p0", "bank", "cardholder", 100, Currency::CNY)]));
    let rows = vec![floor("cardholder", 0), transfer("p1", "cardholder", "merchant", 101, Currency::CNY)];
    let failure = GuardFailure::Balance { account: account("cardholder"), would_be_minor: -1 };
    assert_eq!(one(store, append("a", 2, &["sale"], rows)), Outcome::GuardFailed(failure));
    let rows = vec![
        transfer("p2", "cardholder", "merchant", 101, Currency::CNY),
        floor("cardholder", 0),
        transfer("p3", "bank", "cardholder", 1, Currency::CNY),
    ];
    assert_eq!(one(store, append("a", 2, &["sale"], rows)), durable("a", 2), "only the end counts");
    assert_eq!(balance(store, "cardholder"), 0);
    let outcome = one(store, append("a", 3, &["look"], vec![floor("cardholder", 1)]));
    let failure = GuardFailure::Balance { account: account("cardholder"), would_be_minor: 0 };
    assert_eq!(outcome, Outcome::GuardFailed(failure), "a floor also guards a balance that does not move");
    assert_eq!(one(store, append("a", 3, &["look"], vec![floor("never-moved", 0)])), durable("a", 3));
}

fn taken_keys_are_reported_before_balances(store: &mut dyn Store) {
    one(store, append("a", 1, &["sale"], vec![unique("k", "answer")]));
    let rows =
        vec![transfer("p1", "cardholder", "merchant", 1, Currency::CNY), floor("cardholder", 0), unique("k", "x")];
    let outcome = one(store, append("a", 2, &["sale"], rows));
    assert!(matches!(outcome, Outcome::GuardFailed(GuardFailure::Taken { .. })), "{outcome:?}");
}

fn a_refusal_writes_nothing(store: &mut dyn Store) {
    let rows = || {
        vec![
            unique("k", "v"),
            put("p", "v"),
            transfer("p1", "cardholder", "merchant", 5, Currency::CNY),
            floor("cardholder", 0),
        ]
    };
    let outcome = one(store, append("a", 1, &["sale"], rows()));
    assert!(matches!(outcome, Outcome::GuardFailed(GuardFailure::Balance { .. })), "{outcome:?}");
    assert_eq!(records(store, "a"), (vec![], 0));
    assert_eq!((found(store, "intent", "k"), found(store, "card", "p")), (None, None));
    assert_eq!((balance(store, "cardholder"), balance(store, "merchant")), (0, 0));
    one(store, append("bank", 1, &["load"], vec![transfer("p0", "bank", "cardholder", 5, Currency::CNY)]));
    assert_eq!(one(store, append("a", 1, &["sale"], rows())), durable("a", 1), "the same append goes once it may");
}

fn one_refusal_fails_no_other(store: &mut dyn Store) {
    one(store, append("z", 1, &["z"], vec![unique("taken", "v")]));
    let group = [
        append("a", 1, &["a"], vec![unique("ka", "v")]),
        append("b", 9, &["b"], vec![unique("kb", "v")]),
        append("c", 1, &["c"], vec![unique("kc", "v"), unique("taken", "x")]),
        append("d", 1, &["d"], vec![floor("cardholder", 1)]),
        append("e", 1, &["e"], vec![unique("ke", "v")]),
    ];
    let outcomes = store.append(&group).expect("the store works");
    assert_eq!(outcomes.len(), group.len());
    assert_eq!((&outcomes[0], &outcomes[4]), (&durable("a", 1), &durable("e", 1)));
    assert_eq!(outcomes[1], Outcome::Conflict);
    assert!(matches!(outcomes[2], Outcome::GuardFailed(GuardFailure::Taken { .. })));
    assert!(matches!(outcomes[3], Outcome::GuardFailed(GuardFailure::Balance { .. })));
    let written = ["a", "b", "c", "d", "e"].map(|name| records(store, name).1);
    assert_eq!(written, [1, 0, 0, 0, 1]);
    assert_eq!(found(store, "intent", "kc"), None, "nothing of a refused append stays");
}

fn later_appends_of_a_group_see_earlier_ones(store: &mut dyn Store) {
    let group = [
        append("a", 1, &["load"], vec![transfer("p0", "bank", "cardholder", 7, Currency::CNY), unique("k", "a")]),
        append(
            "a",
            2,
            &["sale"],
            vec![transfer("p1", "cardholder", "merchant", 7, Currency::CNY), floor("cardholder", 0)],
        ),
        append(
            "b",
            1,
            &["sale"],
            vec![transfer("p2", "cardholder", "merchant", 1, Currency::CNY), floor("cardholder", 0)],
        ),
        append("c", 1, &["sale"], vec![unique("k", "c")]),
    ];
    let outcomes = store.append(&group).expect("the store works");
    assert_eq!((&outcomes[0], &outcomes[1]), (&durable("a", 1), &durable("a", 2)));
    let failure = GuardFailure::Balance { account: account("cardholder"), would_be_minor: -1 };
    assert_eq!(outcomes[2], Outcome::GuardFailed(failure));
    let taken = GuardFailure::Taken { space: "intent", key: b"k".to_vec(), value: b"a".to_vec() };
    assert_eq!(outcomes[3], Outcome::GuardFailed(taken));
}

fn currencies_do_not_mix(store: &mut dyn Store) {
    one(store, append("a", 1, &["load"], vec![transfer("p0", "bank", "cardholder", 9, Currency::USD)]));
    assert_eq!(balance(store, "cardholder"), 0);
    let dollars = store.balance_minor(&account("cardholder"), Currency::USD).expect("the store works");
    assert_eq!(dollars, 9);
    let outcome = one(store, append("a", 2, &["sale"], vec![floor("cardholder", 1)]));
    assert!(matches!(outcome, Outcome::GuardFailed(GuardFailure::Balance { .. })), "{outcome:?}");
}

fn an_unbalanced_posting_stops_the_store(store: &mut dyn Store) {
    let leg = |delta_minor, currency| Leg { account: account("x"), delta_minor, currency };
    for legs in [vec![], vec![leg(1, Currency::CNY)], vec![leg(1, Currency::CNY), leg(-1, Currency::USD)]] {
        let rows = vec![Row::Posting { id: "p".to_owned(), legs }];
        assert!(store.append(&[append("a", 1, &["x"], rows)]).is_err(), "a caller's bug is not a guard failure");
    }
}
