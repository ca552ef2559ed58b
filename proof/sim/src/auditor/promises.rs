//! M13: sales that card and terminal approved without the host. Their slip is a promise: it is kept once, whatever fails, and no shop
//! promises more than it was allowed to.

use super::{Auditor, Claim, Intent, IntentName, Kind};
use std::collections::{BTreeMap, VecDeque};

/// Longest time between the look at the clock and the slip, in milliseconds.
const SLIP_MS_MAX: u64 = 600_000;

/// What a shop may sell without the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflineTerms {
    /// Largest single sale, minor units.
    pub sale_minor: u64,
    /// Largest sum that waits for its upload, minor units.
    pub total_minor: u64,
    /// Most sales that wait for their upload.
    pub count: usize,
    /// Longest time that the oldest of them may have waited, in milliseconds; none where clocks jump.
    pub age_ms: Option<u64>,
}

/// Slips handed out before anything left the terminal.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Those of each terminal whose upload has not begun, oldest first.
    unsent: BTreeMap<String, VecDeque<IntentName>>,
    given_ms: BTreeMap<IntentName, u64>,
}

impl Auditor {
    /// A slip is in the shopper's hand for a sale that the bank has not heard of. `true` if it was to be an ordinary one and no frame of
    /// it left.
    pub fn promise(&mut self, name: &IntentName, amount_minor: u64, terms: &OfflineTerms, now_ms: u64) -> bool {
        let before = self.intents.get(name).cloned();
        match &before {
            Some(sale) if !sale.is(Kind::OfflineSale, amount_minor) => {
                let detail = format!("{name:?} was sold without the host behind {sale:?}");
                self.report("M13", detail);
                return false;
            }
            Some(sale) if sale.receipts > 0 => self.report("M13", format!("{name:?} has two first receipts")),
            Some(_) => {}
            None => self.begin(name.clone(), Intent::new(Kind::OfflineSale, amount_minor)),
        }
        self.within_terms(name, amount_minor, terms, now_ms);
        let intent = self.intents.get_mut(name).expect("it was there or has just begun");
        (intent.kind, intent.receipts) = (Kind::OfflineSale, intent.receipts + 1);
        self.promises.unsent.entry(name.0.clone()).or_default().push_back(name.clone());
        self.promises.given_ms.insert(name.clone(), now_ms);
        before.is_some_and(|sale| sale.kind == Kind::Sale)
    }

    /// No more waits for its upload than the shop's terms allow.
    fn within_terms(&mut self, name: &IntentName, amount_minor: u64, terms: &OfflineTerms, now_ms: u64) {
        let is_waiting = |other: &&IntentName| {
            let intent = &self.intents[*other];
            *other != name && intent.kind == Kind::OfflineSale && intent.receipts > 0 && intent.claim == Claim::Open
        };
        let waiting: Vec<&IntentName> = self.open_intents(&name.0).iter().filter(is_waiting).collect();
        let count = waiting.len() + 1;
        let total_minor = amount_minor + waiting.iter().map(|other| self.intents[*other].amount_minor).sum::<u64>();
        let oldest_ms = waiting.iter().filter_map(|other| self.promises.given_ms.get(*other)).min();
        let aged = terms.age_ms.zip(oldest_ms).is_some_and(|(age_ms, oldest)| now_ms > oldest + age_ms + SLIP_MS_MAX);
        if amount_minor > terms.sale_minor || total_minor > terms.total_minor || count > terms.count || aged {
            let detail = format!("{name:?} of {amount_minor} is beyond the terms: {count} wait with {total_minor}");
            self.report("M13", detail);
        }
    }

    /// The first upload of an offline sale leaves: none that was promised before may still wait for its turn.
    pub(super) fn upload_sent(&mut self, name: &IntentName) {
        let Some(unsent) = self.promises.unsent.get_mut(&name.0) else { return };
        let Some(place) = unsent.iter().position(|other| other == name) else { return };
        let before = unsent.front().filter(|_| place > 0).cloned();
        unsent.remove(place);
        if let Some(before) = before {
            self.report("M13", format!("{name:?} was uploaded before {before:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auditor::tests::{found, line, seen};

    const TERMS: OfflineTerms = OfflineTerms { sale_minor: 500, total_minor: 900, count: 2, age_ms: Some(3_600_000) };

    fn name(trace: u32) -> IntentName {
        ("12345678".to_owned(), 7, trace)
    }

    fn promised() -> Auditor {
        let mut auditor = Auditor::default();
        auditor.promise(&name(2), 500, &TERMS, 0);
        auditor
    }

    #[test]
    fn a_promise_that_is_kept_passes() {
        let mut auditor = promised();
        auditor.claim(&name(2), Claim::Open);
        auditor.note_intent(name(2), Kind::OfflineSale, &seen("0200", "36", 2, 500));
        auditor.read_statement(&[line("sale/12345678/000007/000002/0200", -500)], 0);
        auditor.claim(&name(2), Claim::Approved);
        auditor.at_rest();
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());
    }

    #[test]
    fn a_sale_that_never_left_may_be_made_without_the_host_and_one_that_left_may_not() {
        let frame = seen("0200", "22", 2, 500);
        let mut auditor = Auditor::default();
        auditor.note_intent(name(2), Kind::Sale, &frame);
        auditor.frame_never_left(&frame);
        auditor.promise(&name(2), 500, &TERMS, 0);
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());

        let mut auditor = Auditor::default();
        auditor.note_intent(name(2), Kind::Sale, &frame);
        auditor.promise(&name(2), 500, &TERMS, 0);
        assert_eq!(found(&auditor), ["M13"]);
    }

    #[test]
    fn each_broken_promise_has_its_name() {
        let mut auditor = promised();
        auditor.at_rest();
        assert_eq!(found(&auditor), ["L1"], "never uploaded");

        let mut auditor = promised();
        auditor.claim(&name(2), Claim::NotDone);
        assert_eq!(found(&auditor), ["M8"], "refused in the end");

        let mut auditor = promised();
        auditor.promise(&name(3), 400, &TERMS, 3_600_000 + SLIP_MS_MAX);
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());
        auditor.note_intent(name(3), Kind::OfflineSale, &seen("0200", "36", 3, 400));
        assert_eq!(found(&auditor), ["M13"], "out of turn");

        for (minor, now_ms) in [(501, 0), (401, 0), (1, 3_600_001 + SLIP_MS_MAX)] {
            let mut auditor = promised();
            auditor.promise(&name(3), minor, &TERMS, now_ms);
            assert_eq!(found(&auditor), ["M13"], "{minor} at {now_ms}");
        }
        let mut auditor = promised();
        auditor.promise(&name(3), 1, &TERMS, 0);
        auditor.promise(&name(4), 1, &TERMS, 0);
        assert_eq!(found(&auditor), ["M13"], "too many");
    }
}
