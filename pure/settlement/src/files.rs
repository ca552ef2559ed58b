//! The payout and clearing files of a day.

use crate::settle::Settled;
use ledger::{ClearingLine, PayoutLine, SheetHead, write_clearing, write_payout};
use std::collections::BTreeMap;
use types::{Currency, LocalDate};

/// The files of one day and currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DayFiles {
    /// Their day and currency.
    pub head: SheetHead,
    /// The payout file: one line for each batch, and one for a merchant who had its terminal before and whose sale it still concerns.
    pub payout: String,
    /// The clearing file: one line for each transaction.
    pub clearing: String,
}

/// The files of a day, made of the records of what was settled on it; by currency. Records of other days are passed over.
pub fn day_files<'a>(day: LocalDate, settled: impl IntoIterator<Item = &'a Settled>) -> Vec<DayFiles> {
    let mut by_currency: BTreeMap<u16, (Currency, Vec<PayoutLine>, Vec<ClearingLine>)> = BTreeMap::new();
    for settled in settled.into_iter().filter(|settled| settled.day == day) {
        let Settled { terminal, batch, currency, .. } = *settled;
        let (_, payout, clearing) =
            by_currency.entry(currency.numeric()).or_insert_with(|| (currency, Vec::new(), Vec::new()));
        let positions = settled.positions().into_iter();
        payout.extend(positions.map(|(merchant, position)| PayoutLine { merchant, terminal, batch, position }));
        clearing.extend(settled.lines.iter().map(|settled| settled.line));
    }
    let files = by_currency.into_values().map(|(currency, payout, clearing)| {
        let head = SheetHead { day, currency };
        DayFiles { head, payout: write_payout(&head, &payout), clearing: write_clearing(&head, &clearing) }
    });
    files.collect()
}
