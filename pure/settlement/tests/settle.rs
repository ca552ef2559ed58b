//! Batches settled in any order: every cent is the merchant's or the acquirer's, and a fee goes back with its money.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use acquirer::BatchClose;
use ledger::{
    Account, BatchTotals, CardGroup, ClearingKind, ClearingStatus, Intent, MessageClass, Movement, NetPosition,
    read_clearing, read_payout,
};
use machine::store::{AccountName, Row};
use machine::wire::Encode;
use proptest::prelude::*;
use settlement::{
    ClosedBatch, Item, Pricing, SPACE_SETTLED_UP_TO, STANDARD_PRICING, SettleError, Settled, count_of, day_files, rows,
    settle,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use types::{Amount, BatchNumber, CivilTime, Currency, LocalDate, MerchantId, Rrn, Stan, TerminalId, TruncatedPan};

fn merchant() -> MerchantId {
    MerchantId::parse("898310000010001").unwrap()
}

fn terminal() -> TerminalId {
    TerminalId::parse("10000001").unwrap()
}

fn day() -> LocalDate {
    LocalDate::new(2026, 11, 22).unwrap()
}

fn intent(batch: u32, stan: u32) -> Intent {
    Intent {
        terminal: terminal(),
        merchant: merchant(),
        batch: BatchNumber::new(batch).unwrap(),
        stan: Stan::new(stan).unwrap(),
        class: MessageClass::Financial,
    }
}

/// A transaction about a sale, which is itself one.
fn item(kind: ClearingKind, own: Intent, sale: Intent, minor: u64) -> Item {
    let amount = Amount::from_minor(minor, Currency::CNY).unwrap();
    let funds = AccountName::new("card/aa").unwrap();
    Item {
        intent: own,
        kind,
        status: ClearingStatus::Approved,
        rrn: Rrn::parse(&format!("000001{:06}", own.stan.number())).unwrap(),
        amount_minor: minor,
        group: CardGroup::Domestic,
        truncated: Some(TruncatedPan::parse("622262*********1001").unwrap()),
        movement: Some(Movement { sale, funds, amount }),
    }
}

fn sale(batch: u32, stan: u32, minor: u64) -> Item {
    item(ClearingKind::Sale, intent(batch, stan), intent(batch, stan), minor)
}

fn batch(number: u32, items: Vec<Item>, late: Vec<Item>) -> ClosedBatch {
    let mut totals = BatchTotals::default();
    for item in items.iter().filter(|item| item.status == ClearingStatus::Approved) {
        match item.kind {
            ClearingKind::Sale => totals.add_debit(item.group, item.amount_minor).unwrap(),
            _ => totals.add_credit(item.group, item.amount_minor).unwrap(),
        }
    }
    let close = BatchClose {
        batch: BatchNumber::new(number).unwrap(),
        stan: Stan::new(999).unwrap(),
        terminal_balanced: true,
        host_balanced: true,
        announced: 0,
        totals,
        not_uploaded: Vec::new(),
        rrn: Rrn::parse("000001000999").unwrap(),
        at: CivilTime::from_unix_ms(1_795_000_000_000, CivilTime::CHINA_OFFSET_MINUTES),
    };
    ClosedBatch { close, sequence: u64::from(number) * 100, items, late }
}

/// A store of what is remembered, and of what accounts stand at.
#[derive(Default)]
struct Books {
    facts: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    accounts: BTreeMap<String, i64>,
}

impl Books {
    fn try_settle(&mut self, batch: &ClosedBatch, pricing: &Pricing) -> Result<Settled, SettleError<Infallible>> {
        let of = (merchant(), terminal(), Currency::CNY);
        let mut find = |space: &'static str, key: &[u8]| Ok(self.facts.get(&(space, key.to_vec())).cloned());
        let settled = settle(batch, of, pricing, day(), &mut find)?;
        assert_eq!(Settled::from_bytes(&settled.to_bytes()).unwrap(), settled);
        for row in rows(&settled) {
            match row {
                Row::Unique { space, key, value } => assert_eq!(self.facts.insert((space, key), value), None),
                Row::Put { space, key, value } => drop(self.facts.insert((space, key), value)),
                Row::Posting { legs, .. } => {
                    for leg in legs {
                        *self.accounts.entry(leg.account.text().to_owned()).or_default() += leg.delta_minor;
                    }
                }
                Row::BalanceAtLeast { .. } => panic!("settling guards no balance"),
            }
        }
        Ok(settled)
    }

    fn settle(&mut self, batch: &ClosedBatch) -> Settled {
        self.try_settle(batch, &Pricing::parse(STANDARD_PRICING).unwrap()).unwrap()
    }

    fn at(&self, account: Account) -> i64 {
        self.accounts.get(account.name().text()).copied().unwrap_or(0)
    }
}

fn fees(settled: &Settled) -> Vec<u64> {
    settled.lines.iter().map(|line| line.line.fee_minor).collect()
}

#[test]
fn a_batch_comes_to_what_its_lines_say() {
    let void = item(ClearingKind::Void, intent(1, 3), intent(1, 2), 3333);
    let mut declined = sale(1, 4, 70_000);
    (declined.status, declined.movement) = (ClearingStatus::Declined, None);
    let mut reversed = sale(1, 5, 5000);
    reversed.status = ClearingStatus::Reversed;
    let mut books = Books::default();
    let settled = books.settle(&batch(1, vec![sale(1, 1, 10_000), sale(1, 2, 3333), void, declined, reversed], vec![]));
    assert_eq!(fees(&settled), [50, 17, 17, 0, 0]);
    let expected = NetPosition { sales_minor: 13_333, voids_minor: 3333, refunds_minor: 0, fees_minor: 50 };
    assert_eq!((settled.position, settled.position.net_minor()), (expected, 9950));
    assert_eq!(books.at(Account::MerchantPayable(merchant())), -10_000);
    assert_eq!((books.at(Account::MerchantPayout(merchant())), books.at(Account::AcquirerFees)), (9950, 50));
    let key = (SPACE_SETTLED_UP_TO, settlement::settled_up_to_key(terminal()));
    assert_eq!(count_of(&books.facts[&key]).unwrap(), 100);
}

#[test]
fn a_refund_that_is_settled_before_its_sale_costs_the_merchant_no_more() {
    let refund = item(ClearingKind::Refund, intent(1, 9), intent(2, 1), 4000);
    let mut books = Books::default();
    assert_eq!(fees(&books.settle(&batch(1, vec![refund], vec![]))), [0]);
    // 0.50 for 100.00, of which 40.00 are back already.
    assert_eq!(fees(&books.settle(&batch(2, vec![sale(2, 1, 10_000)], vec![]))), [30]);
    let rest = item(ClearingKind::Refund, intent(3, 1), intent(2, 1), 6000);
    assert_eq!(fees(&books.settle(&batch(3, vec![rest], vec![]))), [30]);
    assert_eq!((books.at(Account::MerchantPayout(merchant())), books.at(Account::AcquirerFees)), (0, 0));
}

#[test]
fn a_reversal_behind_its_batch_is_settled_in_the_next_one() {
    let mut books = Books::default();
    let void = item(ClearingKind::Void, intent(1, 2), intent(1, 1), 10_000);
    assert_eq!(books.settle(&batch(1, vec![sale(1, 1, 10_000), void], vec![])).position.net_minor(), 0);
    // The void is undone: the sale stands again and its fee is due again.
    let again = item(ClearingKind::Sale, intent(1, 2), intent(1, 1), 10_000);
    let settled = books.settle(&batch(2, vec![], vec![again]));
    assert_eq!((fees(&settled), settled.position.net_minor()), (vec![50], 9950));
    // Then the sale itself is.
    let undone = item(ClearingKind::Refund, intent(1, 1), intent(1, 1), 10_000);
    let settled = books.settle(&batch(3, vec![], vec![undone]));
    assert_eq!((fees(&settled), settled.position.net_minor()), (vec![50], -9950));
    assert_eq!((books.at(Account::MerchantPayout(merchant())), books.at(Account::AcquirerFees)), (0, 0));
}

#[test]
fn a_terminal_that_moved_to_another_merchant_owes_each_his_own() {
    let mut books = Books::default();
    let before = MerchantId::parse("898310000010002").unwrap();
    let of_before = |mut item: Item| {
        item.intent.merchant = before;
        item.movement.as_mut().unwrap().sale.merchant = before;
        item
    };
    // Settled only when the terminal is another merchant's already.
    let old = of_before(sale(1, 1, 10_000));
    let settled = books.settle(&batch(1, vec![old], vec![]));
    assert_eq!((settled.merchant, books.at(Account::MerchantPayout(before))), (before, 9950));
    assert_eq!(books.at(Account::MerchantPayout(merchant())), 0);
    // The old sale is undone when the new merchant has sold something.
    let undone = of_before(item(ClearingKind::Refund, intent(1, 1), intent(1, 1), 10_000));
    let settled = books.settle(&batch(2, vec![sale(2, 1, 20_000)], vec![undone]));
    assert_eq!((books.at(Account::MerchantPayout(before)), books.at(Account::MerchantPayable(before))), (0, 0));
    assert_eq!((books.at(Account::MerchantPayout(merchant())), books.at(Account::AcquirerFees)), (19_900, 100));
    let files = day_files(day(), [&settled]);
    let payout = read_payout(&files[0].payout).unwrap().1;
    let nets: Vec<_> = payout.iter().map(|line| (line.merchant, line.position.net_minor())).collect();
    assert_eq!(nets, [(merchant(), 19_900), (before, -9950)]);
}

#[test]
fn a_tier_is_reached_over_the_batches_of_a_month() {
    let pricing = "category = 5999\ncard = debit\nrule r = rate 1%, rate 0.5% from-minor 10000";
    let pricing = Pricing::parse(pricing).unwrap();
    let mut books = Books::default();
    let mut fee = |number, minor| {
        fees(&books.try_settle(&batch(number, vec![sale(number, 1, minor)], vec![]), &pricing).unwrap())[0]
    };
    assert_eq!([fee(1, 6000), fee(2, 4000), fee(3, 6000)], [60, 40, 30]);
}

#[test]
fn what_does_not_come_to_the_closed_totals_is_refused() {
    let mut wrong = batch(1, vec![sale(1, 1, 10_000)], vec![]);
    wrong.close.totals.domestic.debit_minor += 1;
    let mut books = Books::default();
    let pricing = Pricing::parse(STANDARD_PRICING).unwrap();
    assert!(matches!(books.try_settle(&wrong, &pricing), Err(SettleError::Totals)));
    let credit_only = Pricing::parse("category = 5999\ncard = debit\nrule r = card credit, rate 1%").unwrap();
    let refused = books.try_settle(&batch(1, vec![sale(1, 1, 10_000)], vec![]), &credit_only).unwrap_err();
    let said = "no fee rule fits the sale 10000001/000001/000001/0200 (category 5999, debit card)";
    assert_eq!(refused.to_string(), said);
    assert!(books.facts.is_empty() && books.accounts.is_empty());
}

#[test]
fn the_days_files_hold_what_was_settled_on_the_day() {
    let mut books = Books::default();
    let settled = [books.settle(&batch(1, vec![sale(1, 1, 10_000)], vec![])), books.settle(&batch(2, vec![], vec![]))];
    let files = day_files(day(), &settled);
    let [file] = &files[..] else { panic!("one currency") };
    let (_, payout) = read_payout(&file.payout).unwrap();
    assert_eq!(payout.iter().map(|line| line.position.net_minor()).collect::<Vec<_>>(), [9950, 0]);
    assert_eq!(read_clearing(&file.clearing).unwrap().1.len(), 1);
    assert_eq!(day_files(LocalDate::new(2026, 11, 21).unwrap(), &settled), []);
}

#[test]
fn a_record_whose_position_is_not_its_lines_is_refused() {
    let settled = Books::default().settle(&batch(1, vec![sale(1, 1, 10_000)], vec![]));
    let mut other = settled.clone();
    other.position.sales_minor += 1;
    assert!(Settled::from_bytes(&other.to_bytes()).is_err());
    let bytes = settled.to_bytes();
    assert!((0..bytes.len()).all(|length| Settled::from_bytes(&bytes[..length]).is_err()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    /// Whatever the order in which sales and their refunds are settled: once a sale is given back whole, nobody paid a fee for it.
    #[test]
    fn what_is_given_back_whole_costs_nothing(
        sales in prop::collection::vec((1_u64..5_000_000, 1_usize..5), 1..20),
        shuffled in any::<u64>(),
    ) {
        let mut items = Vec::new();
        for (index, (minor, parts)) in (1..).zip(sales) {
            let own = sale(1, index, minor);
            items.push(own.clone());
            let parts_u64 = parts as u64;
            for part in 0..parts_u64 {
                let share = if part + 1 == parts_u64 { minor - minor / parts_u64 * part } else { minor / parts_u64 };
                let stan = 1000 + index * 10 + u32::try_from(part).unwrap();
                if share > 0 {
                    items.push(item(ClearingKind::Refund, intent(1, stan), own.intent, share));
                }
            }
        }
        // A cheap shuffle: each transaction in a batch of its own.
        items.sort_by_key(|item| u64::from(item.intent.stan.number()).wrapping_mul(shuffled | 1).rotate_left(17));
        let mut books = Books::default();
        for (number, item) in (1..).zip(items) {
            books.settle(&batch(number, vec![item], vec![]));
        }
        prop_assert_eq!(books.at(Account::AcquirerFees), 0);
        prop_assert_eq!(books.at(Account::MerchantPayout(merchant())), 0);
        prop_assert_eq!(books.at(Account::MerchantPayable(merchant())), 0);
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = Settled::from_bytes(&bytes);
        let _ = settlement::SaleFee::from_bytes(&bytes);
        let _ = Pricing::parse(&String::from_utf8_lossy(&bytes));
    }
}
