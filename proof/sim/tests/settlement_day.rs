//! A day of mixed transactions under every fault settles to the cent, and each planted difference lands in its class.
//!
//! `IRONTILL_FULL=1 cargo test --release -p sim --test settlement_day -- --nocapture` takes 50,000 transactions.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use ledger::{ClearingKind, ClearingLine, ClearingStatus, DifferenceClass, read_clearing, reconcile};
use settlement::{Pricing, STANDARD_PRICING};
use sim::{Plan, Random, SettledDay, plan, settle_day};
use std::collections::{BTreeMap, BTreeSet};
use types::LocalDate;

/// Transactions of the full day, and of the one in CI.
const FULL: u64 = 50_000;
const CI: u64 = 4_000;
/// Differences planted of each class.
const PLANTED: usize = 10;

fn day() -> LocalDate {
    LocalDate::new(2026, 1, 31).unwrap()
}

fn transactions() -> u64 {
    if std::env::var_os("IRONTILL_FULL").is_some() { FULL } else { CI }
}

fn settled(seed: u64, transactions: u64, faults: &str) -> SettledDay {
    let plan: Plan = plan(seed, transactions, faults).unwrap();
    settle_day(plan, day(), &Pricing::parse(STANDARD_PRICING).unwrap()).unwrap()
}

fn lines(day: &SettledDay) -> Vec<ClearingLine> {
    day.files.iter().flat_map(|file| read_clearing(&file.clearing).unwrap().1).collect()
}

/// The standard fee of a debit card, in the words of the price list: half a per cent, at least a cent, at most twenty.
fn listed_fee_minor(amount_minor: u64) -> u64 {
    ((amount_minor + 100) / 200).clamp(1, 2000).min(amount_minor)
}

#[test]
fn a_day_settles_to_the_cent_whatever_fails() {
    for faults in ["none", "all"] {
        let day = settled(17, transactions(), faults);
        assert_eq!(day.report.violations, [], "{faults}");
        assert_eq!(day.differences, Vec::<String>::new(), "{faults}");
        let lines = lines(&day);
        let count = |kind, status| lines.iter().filter(|line| (line.kind, line.status) == (kind, status)).count();
        for kind in [ClearingKind::Sale, ClearingKind::Void, ClearingKind::Refund] {
            assert!(count(kind, ClearingStatus::Approved) > 20, "{faults}: {kind:?}");
            assert!(count(kind, ClearingStatus::Declined) > 0, "{faults}: {kind:?}");
        }
        assert!(faults == "none" || count(ClearingKind::Sale, ClearingStatus::Reversed) > 20, "{faults}");
        let stands = |line: &&ClearingLine| (line.kind, line.status) == (ClearingKind::Sale, ClearingStatus::Approved);
        for sale in lines.iter().filter(stands) {
            assert!(sale.fee_minor <= listed_fee_minor(sale.amount_minor), "{sale:?}");
        }
        let exact = lines.iter().filter(stands).filter(|sale| sale.fee_minor == listed_fee_minor(sale.amount_minor));
        assert!(exact.count() * 100 > lines.iter().filter(stands).count() * 95, "{faults}: fees are not as listed");
        println!(
            "{faults}: {} transactions begun, {} lines in {} batches, payout and clearing files agree",
            day.report.transactions_begun,
            lines.len(),
            day.settled.len()
        );
    }
}

/// The network's file with differences of every class; what must be found.
fn with_differences(
    ours: &[ClearingLine],
    random: &mut Random,
) -> (Vec<ClearingLine>, Vec<ClearingLine>, BTreeMap<DifferenceClass, usize>) {
    use DifferenceClass as Class;
    let (mut here, mut there, mut expected) = (ours.to_vec(), ours.to_vec(), BTreeMap::new());
    let mut taken = BTreeSet::new();
    for class in [
        Class::MissingHere,
        Class::MissingThere,
        Class::AmountDiffers,
        Class::StatusDiffers,
        Class::FeeDiffers,
        Class::DuplicateHere,
        Class::DuplicateThere,
    ] {
        while expected.get(&class).copied().unwrap_or(0) < PLANTED {
            let place = usize::try_from(random.below(ours.len() as u64)).unwrap();
            let line = ours[place];
            if line.status != ClearingStatus::Approved || !taken.insert(line.key()) {
                continue;
            }
            *expected.entry(class).or_default() += 1;
            let place = |lines: &[ClearingLine]| lines.iter().position(|other| other.key() == line.key()).unwrap();
            let (in_here, in_there) = (place(&here), place(&there));
            match class {
                Class::MissingHere => drop(here.remove(in_here)),
                Class::MissingThere => drop(there.remove(in_there)),
                Class::AmountDiffers => there[in_there].amount_minor += 1,
                Class::StatusDiffers => there[in_there].status = ClearingStatus::Reversed,
                Class::FeeDiffers => there[in_there].fee_minor += 1,
                Class::DuplicateHere => here.push(line),
                Class::DuplicateThere => there.push(line),
            }
        }
    }
    (here, there, expected)
}

#[test]
fn each_planted_difference_lands_in_its_class() {
    let day = settled(18, transactions(), "all");
    let ours = lines(&day);
    assert_eq!(reconcile(&ours, &ours), []);
    let (here, there, expected) = with_differences(&ours, &mut Random::new(18));
    let mut found: BTreeMap<DifferenceClass, usize> = BTreeMap::new();
    for difference in reconcile(&here, &there) {
        *found.entry(difference.class).or_default() += 1;
    }
    assert_eq!(found, expected);
}
