//! Our clearing file against a network's: every difference, in its class.

use crate::clearing::{ClearingKey, ClearingLine};
use std::collections::BTreeMap;

/// A class of differences (对账差错).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DifferenceClass {
    /// 短款: the network has it, we do not.
    MissingHere,
    /// 长款: we have it, the network does not.
    MissingThere,
    /// Both have it, with different amounts.
    AmountDiffers,
    /// Both have it, with different outcomes.
    StatusDiffers,
    /// Both have it, with different fees.
    FeeDiffers,
    /// We have it more than once.
    DuplicateHere,
    /// The network has it more than once.
    DuplicateThere,
}

/// One difference. The same transaction may differ in several ways; each is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The transaction.
    pub key: ClearingKey,
    /// The class.
    pub class: DifferenceClass,
    /// Our line: the first one, or for [`DifferenceClass::DuplicateHere`] the further one.
    pub ours: Option<ClearingLine>,
    /// The network's line, likewise.
    pub theirs: Option<ClearingLine>,
}

type ByKey = BTreeMap<ClearingKey, Vec<ClearingLine>>;

/// Compares two sets of lines, in any order. The differences come in the order of their transactions, then of their classes; none
/// means that both say the same.
pub fn reconcile(ours: &[ClearingLine], theirs: &[ClearingLine]) -> Vec<Difference> {
    let (here, there) = (by_key(ours), by_key(theirs));
    let mut keys: Vec<&ClearingKey> = here.keys().chain(there.keys().filter(|key| !here.contains_key(key))).collect();
    keys.sort_unstable();
    keys.into_iter().flat_map(|key| differences(key, lines(&here, key), lines(&there, key))).collect()
}

fn by_key(lines: &[ClearingLine]) -> ByKey {
    let mut by_key = ByKey::new();
    for line in lines {
        by_key.entry(line.key()).or_default().push(*line);
    }
    by_key
}

fn lines<'a>(by_key: &'a ByKey, key: &ClearingKey) -> &'a [ClearingLine] {
    by_key.get(key).map_or(&[], Vec::as_slice)
}

fn differences(key: &ClearingKey, ours: &[ClearingLine], theirs: &[ClearingLine]) -> Vec<Difference> {
    use DifferenceClass as Class;
    let of = |class, ours, theirs| Difference { key: *key, class, ours, theirs };
    let (first_here, first_there) = (ours.first().copied(), theirs.first().copied());
    let mut found = match (first_here, first_there) {
        (Some(here), Some(there)) => {
            let differs = [
                (Class::AmountDiffers, here.amount_minor != there.amount_minor),
                (Class::StatusDiffers, here.status != there.status),
                (Class::FeeDiffers, here.fee_minor != there.fee_minor),
            ];
            let differing = differs.into_iter().filter(|(_, differs)| *differs);
            differing.map(|(class, _)| of(class, first_here, first_there)).collect()
        }
        (Some(_), None) => vec![of(Class::MissingThere, first_here, None)],
        (None, Some(_)) => vec![of(Class::MissingHere, None, first_there)],
        (None, None) => Vec::new(),
    };
    found.extend(ours.iter().skip(1).map(|further| of(Class::DuplicateHere, Some(*further), first_there)));
    found.extend(theirs.iter().skip(1).map(|further| of(Class::DuplicateThere, first_here, Some(*further))));
    found
}
