//! T1: a tip is added once to the sale that it names, within its bound, and leaves the sale itself as it was.

use super::{Auditor, IntentName, Kind};
use crate::eye::Seen;
use crate::store::StatementLine;
use std::collections::BTreeMap;

/// Largest tip in per cent of its sale (docs/wire/instalments.md leaves it to the host; ours allows a fifth).
const TIP_PERCENT: u64 = 20;

/// Tips and the sales that they are added to.
#[derive(Debug, Default)]
pub(super) struct Tips {
    /// Which sale each tip names.
    named: BTreeMap<IntentName, IntentName>,
    /// Tips booked on each sale.
    booked: BTreeMap<IntentName, u32>,
}

impl Auditor {
    /// A terminal sends a tip: its total must be the sale and the tip.
    pub(super) fn tip_sent(&mut self, name: &IntentName, (batch, trace): (u32, u32), seen: &Seen) {
        let sale = (name.0.clone(), batch, trace);
        let sold_minor = self.intents.get(&sale).map(|sale| sale.amount_minor);
        let total_minor = sold_minor.zip(seen.tip_minor).map(|(sold, tip)| sold + tip);
        if total_minor.is_none() || total_minor != seen.amount_minor {
            self.report(
                "T1",
                format!("{name:?} of {:?} on a sale of {sold_minor:?} is not {total_minor:?}", seen.tip_minor),
            );
        }
        self.tips.named.insert(name.clone(), sale);
    }

    /// The bank adds a tip to the sale that the capture account names.
    pub(super) fn tip_booked(&mut self, name: &IntentName, line: &StatementLine) {
        let mut captures = line.legs.iter().filter_map(|(account, _)| account.strip_prefix("capture/"));
        let sale = captures.next().and_then(|account| super::intent_name(&mut account.split('/')));
        let Some(sale) = sale.filter(|sale| self.tips.named.get(name) == Some(sale)) else {
            return self.report("T1", format!("{} went to another sale than it named", line.id));
        };
        let times = self.tips.booked.entry(sale.clone()).or_default();
        *times += 1;
        if *times > 1 {
            let detail = format!("{} is tip number {times} of {sale:?}", line.id);
            self.report("T1", detail);
        }
        let tip_minor = Self::card_delta(line).unsigned_abs();
        let bound = self.intents.get(&sale).filter(|sale| matches!(sale.kind, Kind::Sale | Kind::OfflineSale));
        if bound.is_none_or(|sale| tip_minor * 100 > sale.amount_minor * TIP_PERCENT) {
            self.report("T1", format!("{} of {tip_minor} is too much for {sale:?}", line.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auditor::tests::{found, line, seen};

    fn name(trace: u32) -> IntentName {
        ("12345678".to_owned(), 7, trace)
    }

    /// A sale of 500 and a tip of so much that gives this total.
    fn tipped(tip_minor: u64, total_minor: u64) -> Auditor {
        let mut auditor = Auditor::default();
        auditor.note_intent(name(2), Kind::Sale, &seen("0200", "22", 2, 500));
        let named = Some((7, 2));
        let tip = Seen { tip_minor: Some(tip_minor), original: named, ..seen("0220", "34", 3, total_minor) };
        auditor.note_intent(name(3), Kind::Tip, &tip);
        auditor
    }

    fn statement(tip_minor: i64) -> Vec<StatementLine> {
        let sale = line("sale/12345678/000007/000002/0200", -500);
        vec![sale, line("adjustment/12345678/000007/000003/0220", -tip_minor)]
    }

    #[test]
    fn a_tip_of_a_fifth_passes_and_a_cent_more_does_not() {
        let mut auditor = tipped(100, 600);
        auditor.read_statement(&statement(100), 0);
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());
        let mut auditor = tipped(101, 601);
        auditor.read_statement(&statement(101), 0);
        assert_eq!(found(&auditor), ["T1"]);
    }

    #[test]
    fn each_wrong_tip_has_its_name() {
        assert_eq!(found(&tipped(100, 601)), ["T1"], "the total is not the sum");

        let mut auditor = tipped(100, 600);
        auditor.read_statement(&statement(600), 0);
        assert_eq!(found(&auditor), ["T1", "M1"], "the whole was booked once more");

        let mut auditor = tipped(50, 550);
        let named = Some((7, 2));
        let again = Seen { tip_minor: Some(50), original: named, ..seen("0220", "34", 4, 550) };
        auditor.note_intent(name(4), Kind::Tip, &again);
        let second = line("adjustment/12345678/000007/000004/0220", -50);
        auditor.read_statement(&[statement(50), vec![second]].concat(), 0);
        assert_eq!(found(&auditor), ["T1"], "two tips");
    }
}
