//! Visits every state of the protocol and looks for one in which something does not hold.
//!
//! `IRONTILL_FULL=1 cargo test --release -p model --test exhaustive -- --nocapture` takes the full sizes.

use model::{Config, Kind, Plan, Protocol};
use stateright::{Checker, Expectation, Model};
use std::collections::BTreeSet;
use std::time::Instant;

const SALE: &[Kind] = &[Kind::Sale];
/// What a second transaction may be.
const ANY: &[Kind] = &[Kind::Sale, Kind::Void, Kind::Refund];
const ANY_OF_OTHER: &[Kind] = &[Kind::Sale, Kind::RefundOfOther];
const NONE: &[Kind] = &[];
/// States that the full sizes must have at least.
const FULL_STATES_MIN: usize = 10_000_000;
/// States that the sizes of every CI run must have at least.
const CI_STATES_MIN: usize = 100_000;

/// A named size.
struct Run {
    name: &'static str,
    config: Config,
}

fn run(
    name: &'static str,
    plans: [Plan; 2],
    settlements: [u8; 2],
    sign_ins: [u8; 2],
    key_versions: [u8; 2],
    balance_minor: u8,
) -> Run {
    let config = Config {
        plans,
        balance_minor,
        settlements,
        sign_ins,
        key_versions,
        card_declines: [true, false],
        forget_dead_messages: true,
        bug: None,
    };
    Run { name, config }
}

fn full() -> bool {
    std::env::var_os("IRONTILL_FULL").is_some()
}

fn ci_runs() -> Vec<Run> {
    vec![
        run("two sales at each terminal, want of funds", [[SALE, SALE], [SALE, SALE]], [0, 0], [0, 0], [0, 0], 3),
        run("void against refund, settlement", [[SALE, ANY], [ANY_OF_OTHER, NONE]], [1, 0], [0, 0], [0, 0], 3),
        run("the reversal of a void against another sale", [[SALE, ANY], [SALE, NONE]], [0, 0], [0, 0], [0, 0], 1),
        run("settlement of both", [[SALE, NONE], [SALE, NONE]], [1, 1], [0, 0], [0, 0], 3),
        run("rollover", [[SALE, SALE], [SALE, NONE]], [0, 0], [1, 0], [1, 0], 3),
        run("rollover, settlement, every kind", [[SALE, ANY], [NONE, NONE]], [2, 0], [1, 0], [2, 0], 3),
    ]
}

fn full_runs() -> Vec<Run> {
    vec![
        run("every kind, two settlements each", [[SALE, ANY], [SALE, ANY_OF_OTHER]], [2, 2], [0, 0], [0, 0], 3),
        run("every kind, rollover and a settlement", [[SALE, ANY], [SALE, ANY_OF_OTHER]], [1, 0], [1, 0], [1, 0], 3),
    ]
}

/// Visits every state; panics with the path to the first one in which something does not hold. Gives the number of states, and what
/// was seen of what must happen somewhere.
fn check(run: &Run) -> (usize, Vec<&'static str>) {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let protocol = Protocol::new(run.config);
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let always = protocol.properties().into_iter().filter(|property| property.expectation == Expectation::Always);
    always.for_each(|property| checker.assert_no_discovery(property.name));
    println!(
        "{}: {} states, {} transitions, depth {}, no counter-example, {:.1} s",
        run.name,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    (checker.unique_state_count(), checker.discoveries().into_keys().collect())
}

/// The reduction neither hides a failure nor a sight, and it does reduce.
#[test]
fn forgetting_dead_messages_keeps_the_verdicts() {
    let plans = [[SALE, ANY], [NONE, NONE]];
    let reduced = run("reduced", plans, [1, 0], [0, 0], [0, 0], 3);
    let whole = Run { name: "whole", config: Config { forget_dead_messages: false, ..reduced.config } };
    let verdicts = [&reduced, &whole].map(|run| {
        let checker = Protocol::new(run.config).checker().spawn_bfs().join();
        let mut found: Vec<&str> = checker.discoveries().into_keys().collect();
        found.sort_unstable();
        (found, checker.unique_state_count())
    });
    println!("{} states reduced, {} whole", verdicts[0].1, verdicts[1].1);
    assert_eq!(verdicts[0].0, verdicts[1].0);
    assert!(verdicts[0].1 < verdicts[1].1);
}

#[test]
fn no_state_breaks_a_property() {
    let (runs, states_min) = if full() { (full_runs(), FULL_STATES_MIN) } else { (ci_runs(), CI_STATES_MIN) };
    let (counts, seen): (Vec<usize>, Vec<_>) = runs.iter().map(check).unzip();
    let states: usize = counts.iter().sum();
    println!("{states} states in all, zero counter-examples");
    assert!(states >= states_min, "{states} states are fewer than {states_min}");
    // Nothing holds for want of trying.
    let seen: BTreeSet<&str> = seen.into_iter().flatten().collect();
    let properties = Protocol::new(runs[0].config).properties();
    let wanted = properties.iter().filter(|property| property.expectation == Expectation::Sometimes);
    wanted.for_each(|property| assert!(seen.contains(property.name), "never seen: {}", property.name));
}
