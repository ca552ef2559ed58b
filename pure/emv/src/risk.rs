//! Terminal risk management: exception file, floor limit, random selection, velocity (EMV 4.4 Book 3 §10.6).

use crate::bits::Tvr;
use crate::config::{RandomSelection, TerminalApplication, TerminalConfig, TransactionData};
use crate::data::DataStore;
use tlv::tags;

/// Sets the bits that need no card command: exception file, floor limit, random selection, merchant force.
pub fn apply(
    config: &TerminalConfig,
    application: &TerminalApplication,
    transaction: &TransactionData,
    data: &DataStore,
    tvr: &mut Tvr,
) {
    if on_exception_file(config, data) {
        tvr.set(Tvr::ON_EXCEPTION_FILE);
    }
    if transaction.force_online && !config.is_offline_only() {
        tvr.set(Tvr::FORCED_ONLINE);
    }
    if transaction.amount_minor >= application.floor_limit_minor {
        tvr.set(Tvr::FLOOR_LIMIT_EXCEEDED);
    } else if is_randomly_selected(application, transaction) && !config.is_offline_only() {
        tvr.set(Tvr::RANDOMLY_SELECTED);
    }
}

fn on_exception_file(config: &TerminalConfig, data: &DataStore) -> bool {
    let sequence_number = data.get_array::<1>(tags::PAN_SEQUENCE_NUMBER).map(|[number]| number);
    data.get(tags::PAN).is_some_and(|pan| config.exception_file.contains(pan, sequence_number))
}

/// Random selection for an amount below the floor limit (§10.6.2).
fn is_randomly_selected(application: &TerminalApplication, transaction: &TransactionData) -> bool {
    let percent =
        selection_percent(application.random_selection, application.floor_limit_minor, transaction.amount_minor);
    transaction.random_selection_draw < percent
}

/// The percentage that applies: the target below the threshold, then rising in a straight line to the maximum at the
/// floor limit.
fn selection_percent(selection: RandomSelection, floor_limit_minor: u64, amount_minor: u64) -> u8 {
    if amount_minor < selection.threshold_minor || floor_limit_minor <= selection.threshold_minor {
        return selection.target_percent;
    }
    let span = u128::from(floor_limit_minor - selection.threshold_minor);
    let above = u128::from(amount_minor.min(floor_limit_minor) - selection.threshold_minor);
    let rise = u128::from(selection.maximum_target_percent.saturating_sub(selection.target_percent));
    selection.target_percent.saturating_add((rise * above / span) as u8)
}

/// Both limits of consecutive offline transactions, tags 9F14 and 9F23; `None` when the card does not give both, which
/// leaves velocity checking out (§10.6.3).
pub fn velocity_limits(data: &DataStore) -> Option<(u8, u8)> {
    let [lower] = data.get_array::<1>(tags::LOWER_CONSECUTIVE_OFFLINE_LIMIT)?;
    let [upper] = data.get_array::<1>(tags::UPPER_CONSECUTIVE_OFFLINE_LIMIT)?;
    Some((lower, upper))
}

/// Velocity checking with the counters the card answered to GET DATA. A counter it refuses counts as both limits exceeded.
pub fn apply_velocity(limits: (u8, u8), counter: Option<u16>, last_online: Option<u16>, tvr: &mut Tvr) {
    if last_online == Some(0) {
        tvr.set(Tvr::NEW_CARD);
    }
    let (lower, upper) = limits;
    let exceeds = |limit: u8| match (counter, last_online) {
        (Some(counter), Some(last)) if counter > last => counter - last > u16::from(limit),
        _ => true,
    };
    if exceeds(lower) {
        tvr.set(Tvr::LOWER_LIMIT_EXCEEDED);
    }
    if exceeds(upper) {
        tvr.set(Tvr::UPPER_LIMIT_EXCEEDED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SELECTION: RandomSelection =
        RandomSelection { threshold_minor: 1000, target_percent: 10, maximum_target_percent: 50 };

    #[test]
    fn the_percentage_rises_from_threshold_to_floor_limit() {
        assert_eq!(selection_percent(SELECTION, 5000, 999), 10);
        assert_eq!(selection_percent(SELECTION, 5000, 1000), 10);
        assert_eq!(selection_percent(SELECTION, 5000, 3000), 30);
        assert_eq!(selection_percent(SELECTION, 5000, 5000), 50);
        assert_eq!(selection_percent(SELECTION, 500, 2000), 10);
    }

    #[test]
    fn velocity_compares_the_counters() {
        let run = |counter, last| {
            let mut tvr = Tvr::default();
            apply_velocity((2, 4), counter, last, &mut tvr);
            tvr.0
        };
        assert_eq!(run(Some(7), Some(5)), [0, 0, 0, 0, 0]);
        assert_eq!(run(Some(8), Some(5)), [0, 0, 0, 0x40, 0]);
        assert_eq!(run(Some(10), Some(5)), [0, 0, 0, 0x60, 0]);
        assert_eq!(run(Some(1), Some(0)), [0, 0x08, 0, 0, 0]);
        assert_eq!(run(Some(5), Some(5)), [0, 0, 0, 0x60, 0]);
        assert_eq!(run(None, None), [0, 0, 0, 0x60, 0]);
    }

    proptest! {
        #[test]
        fn percentages_stay_within_their_bounds(threshold: u64, floor: u64, amount: u64, target in 0u8..=99, rise in 0u8..=99) {
            let maximum = target.saturating_add(rise).min(99);
            let selection = RandomSelection { threshold_minor: threshold, target_percent: target, maximum_target_percent: maximum };
            let percent = selection_percent(selection, floor, amount);
            prop_assert!((target..=maximum).contains(&percent));
        }
    }
}
