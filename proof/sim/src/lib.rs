//! The simulator and its independent auditor.
//!
//! *Duty*: terminals, hosts, issuer, network, shoppers and failing power in one thread and virtual time, drawn from one seed, running
//! the product's own machines and driver; an auditor that shares no code with them looks on. First anything may fail, then everything
//! heals and must come to rest. *Never*: real time, real chance, real I/O. *Start here*: [`run`].

mod auditor;
mod canary;
mod eye;
mod fake_vault;
mod faults;
mod flows;
mod host;
mod hunt;
pub mod lab;
mod many;
mod phone;
mod plant;
mod random;
mod replay;
mod risk_rules;
mod schedule;
mod settlement_day;
mod sqlite_node;
mod store;
mod terminal;
mod vault;
mod witness;
mod world;

pub use auditor::{Claim, Violation};
pub use canary::Canary;
pub use faults::{Faults, KINDS};
pub use flows::{
    Act, Cut, FLOWS, Flow, Node, Played, TORN_DRAWS, Tally, play, play_on_lying_disks, try_operations, try_recoveries,
};
pub use hunt::{Catch, hunt};
pub use many::{Many, Sweep, first_seed};
pub use random::Random;
pub use replay::{Minimised, Step, Told, Until, minimise, replay};
pub use settlement_day::{SettledDay, settle_day};
pub use store::StatementLine;
pub use world::Plan;

use std::collections::BTreeMap;

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Payments begun.
    pub transactions: u64,
    /// Payments that were begun when it ended: fewer if a planted bug was caught before.
    pub transactions_begun: u64,
    /// Broken invariants.
    pub violations: Vec<Violation>,
    /// Hash over everything that happened: equal for equal seeds and equal code.
    pub event_hash: String,
    /// Events handled.
    pub events: u64,
    /// Newer master keys under which a terminal has signed in.
    pub master_keys_replaced: u64,
    /// Holds that fell because nobody ended them in their time.
    pub holds_fallen: u64,
    /// Operations by how they ended.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// First slips by what stands on them.
    pub slips: BTreeMap<&'static str, u64>,
}

/// Runs one seed to its end.
///
/// # Errors
/// If the world cannot be set up; nothing that happens in it is an error.
pub fn run(plan: Plan) -> anyhow::Result<Report> {
    let mut world = world::World::new(plan)?;
    world.run();
    Ok(report(&plan, &world))
}

fn report(plan: &Plan, world: &world::World) -> Report {
    Report {
        seed: plan.seed,
        transactions: plan.transactions,
        transactions_begun: world.begun,
        violations: world.auditor.violations().to_vec(),
        event_hash: world.hash(),
        events: world.events,
        master_keys_replaced: world.master_keys_replaced,
        holds_fallen: world.auditor.holds_fallen(),
        outcomes: world.outcomes.clone(),
        slips: world.slips_by_title.clone(),
    }
}

/// The plan of a seed: its faults are drawn from it.
///
/// # Errors
/// A fault mix that is not known.
pub fn plan(seed: u64, transactions: u64, faults: &str) -> Result<Plan, String> {
    let mut random = Random::new(seed ^ 0x5EED_FA17);
    Ok(Plan { seed, transactions, faults: Faults::parse(faults, &mut random)?, canary: None, settles: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, transactions: u64, faults: &str, canary: Option<Canary>) -> Report {
        let plan = plan(seed, transactions, faults).unwrap();
        run(Plan { canary, ..plan }).unwrap()
    }

    #[test]
    fn a_quiet_world_sells() {
        let report = report(1, 500, "none", None);
        assert_eq!(report.violations, [], "{report:?}");
        assert!(report.outcomes["approved"] > 250, "{report:?}");
        assert!(report.master_keys_replaced > 0, "keys rotate while it sells: {report:?}");
    }

    #[test]
    fn a_wild_world_keeps_every_promise_and_repeats_itself() {
        let mut replaced = 0;
        for seed in 1..=6 {
            let first = report(seed, 150, "all", None);
            assert_eq!(first.violations, [], "seed {seed}: {first:?}");
            replaced += first.master_keys_replaced;
            assert_eq!(first.event_hash, report(seed, 150, "all", None).event_hash, "seed {seed} differs from itself");
        }
        assert!(replaced > 0, "keys rotate in wild worlds too");
    }

    #[test]
    fn a_copied_device_is_refused_and_the_world_comes_to_rest() {
        for seed in [31, 63] {
            let report = report(seed, 150, "all", None);
            assert_eq!(report.violations, [], "seed {seed}: {report:?}");
        }
    }

    #[test]
    fn every_planted_bug_is_caught() {
        for (canary, faults) in Canary::ALL {
            let caught = hunt(*canary, faults, 1, 250, 20_000).unwrap();
            assert!(caught.is_ok(), "{canary:?} must be noticed: {}", canary.what());
        }
    }

    #[test]
    fn bugs_about_holds_are_called_by_their_names() {
        for (canary, name) in [
            (Canary::UncheckedHolds, "H1"),
            (Canary::StuckHolds, "H2"),
            (Canary::LooseBound, "H2"),
            (Canary::HoldsFallEarly, "H3"),
        ] {
            let mut runs = (1..=20).map(|seed| report(seed, 300, "none", Some(canary)).violations);
            let named = runs.any(|found| found.iter().any(|violation| violation.invariant == name));
            assert!(named, "{canary:?} breaks {name}");
        }
    }

    /// A kind that never happens proves nothing.
    #[test]
    fn every_kind_of_payment_happens() {
        let mut slips: BTreeMap<&'static str, u64> = BTreeMap::new();
        for seed in 1..=8 {
            for (title, count) in report(seed, 400, "all", None).slips {
                *slips.entry(title).or_default() += count;
            }
        }
        let happened = |word: &str| slips.iter().any(|(title, count)| title.contains(word) && *count > 0);
        let words = [
            "OFFLINE SALE",
            "ADJUST",
            "(INSTALMENT)",
            "INSTALMENT VOID",
            "QR SALE",
            "of them orders",
            "QR VOID",
            "QR REFUND",
        ];
        let missing: Vec<&str> = words.into_iter().filter(|word| !happened(word)).collect();
        assert!(missing.is_empty(), "{missing:?} of {slips:?}");
    }

    #[test]
    fn holds_fall_when_the_clock_of_the_hosts_jumps() {
        let mut fallen = 0;
        for seed in [4, 5, 6] {
            let report = report(seed, 1_000, "host-clock", None);
            assert_eq!(report.violations, [], "seed {seed}");
            fallen += report.holds_fallen;
        }
        assert!(fallen > 0, "no hold fell by a clock that was wrong");
    }

    #[test]
    fn holds_fall_while_shops_are_closed() {
        let mut fallen = 0;
        for seed in [3, 7, 11] {
            let report = report(seed, 1_000, "all", None);
            assert_eq!(report.violations, [], "seed {seed}");
            fallen += report.holds_fallen;
        }
        assert!(fallen > 0, "nothing stood longer than it may: the auditor's eye on that was never open");
    }

    /// Seeds that found something once are run for ever. One a line: seed, transactions, faults, what they found.
    #[test]
    fn what_was_found_once_does_not_come_back() {
        let lines =
            include_str!("../regressions.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let mut words = line.split_whitespace();
            let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap();
            let (seed, transactions) = (number(), number());
            let found = report(seed, transactions, words.next().unwrap(), None);
            assert_eq!(found.violations, [], "{line}");
        }
    }
}
