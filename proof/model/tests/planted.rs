//! Sensitivity: every mistake planted in the protocol makes the property fail that is there for it, and the protocol without it does not.

use model::{Bug, Config, Kind, PLANTED_BUGS, Plan, Protocol};
use stateright::{Checker, HasDiscoveries, Model};

const SALE: &[Kind] = &[Kind::Sale];
const VOID: &[Kind] = &[Kind::Void];
const REFUND: &[Kind] = &[Kind::Refund];
const NONE: &[Kind] = &[];
const IDLE: Plan = [NONE, NONE];

/// One terminal with these transactions; the other one is idle.
fn alone(plan: Plan) -> Config {
    Config {
        plans: [plan, IDLE],
        balance_minor: 3,
        settlements: [0, 0],
        sign_ins: [0, 0],
        key_versions: [0, 0],
        card_declines: [false, false],
        forget_dead_messages: false,
        bug: None,
    }
}

fn with_sign_in(config: Config) -> Config {
    Config { sign_ins: [1, 0], key_versions: [1, 0], ..config }
}

fn with_settlement(config: Config) -> Config {
    Config { settlements: [1, 0], ..config }
}

/// A size that is large enough for a mistake, and the property that must fail.
fn expected(bug: Bug) -> (Config, &'static str) {
    let sale = alone([SALE, NONE]);
    match bug {
        Bug::TillSendsBeforeDurable => (sale, "nothing leaves before it is durable"),
        Bug::HostAnswersBeforeDurable => (sale, "a receipt is booked"),
        Bug::NoTombstone => (sale, "never reversed and standing"),
        Bug::NoStoredAnswer => (sale, "charged at most once"),
        Bug::ReversalDropped | Bug::RestartForgetsIntent => (sale, "declined is not booked"),
        Bug::SaleDuringReversal => (alone([SALE, SALE]), "reversal first"),
        Bug::SettlesWhilePending => (with_settlement(sale), "reversal first"),
        Bug::LateAnswerRevives => (sale, "a receipt is booked"),
        Bug::RefusalEndsSale => (with_sign_in(sale), "declined is not booked"),
        Bug::RefusalEndsRefund => (with_sign_in(alone([SALE, REFUND])), "declined is not booked"),
        Bug::NoOverlap => (with_sign_in(sale), "good keys are never refused"),
        Bug::ReversalUnderOldKeys => (with_sign_in(sale), "everything can be resolved"),
        Bug::GuardOutsideAppend => {
            let both = Config { plans: [[SALE, NONE], [SALE, NONE]], balance_minor: 1, ..sale };
            (both, "an account is never overdrawn by a sale")
        }
        Bug::BatchEndClosesTwice => (with_settlement(sale), "closed totals are equal"),
        Bug::VoidReversalReinstatesNothing => (alone([SALE, VOID]), "never reversed and standing"),
    }
}

#[test]
fn every_planted_mistake_has_a_counterexample() {
    for bug in PLANTED_BUGS {
        let (config, property) = expected(bug);
        let wanted = HasDiscoveries::AllOf([property].into());
        let checker = Protocol::new(config.with_bug(bug)).checker().finish_when(wanted).spawn_bfs().join();
        let path = checker.assert_any_discovery(property);
        println!(
            "{bug:?}: {property:?} fails after {} actions, {} states",
            path.into_actions().len(),
            checker.unique_state_count()
        );
    }
}

#[test]
fn without_the_mistake_the_same_sizes_hold() {
    for bug in PLANTED_BUGS {
        let (config, _) = expected(bug);
        let checker = Protocol::new(config).checker().spawn_bfs().join();
        for property in Protocol::new(config).properties() {
            if property.expectation == stateright::Expectation::Always {
                checker.assert_no_discovery(property.name);
            }
        }
    }
}

/// A refund and a void of one sale at two terminals race for what is left of it: only the guard inside the append decides.
#[test]
fn a_guard_outside_the_append_lets_a_sale_be_paid_back_twice() {
    let config = Config { plans: [[SALE, VOID], [NONE, NONE]], ..alone([SALE, VOID]) };
    let config = Config { plans: [config.plans[0], [&[Kind::RefundOfOther], NONE]], ..config };
    let property = "charged at most once";
    let check = |config: Config| {
        let wanted = HasDiscoveries::AllOf([property].into());
        Protocol::new(config).checker().finish_when(wanted).spawn_bfs().join()
    };
    check(config.with_bug(Bug::GuardOutsideAppend)).assert_any_discovery(property);
    check(config).assert_no_discovery(property);
}
