//! Fees, positions, files and reconciliation of whole days: sums to the cent, and every planted difference in its class.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use ledger::{
    CardKind, ClearingKind, ClearingLine, ClearingStatus, DifferenceClass, FeeBasis, FeeRule, FeeSchedule, FeeTier,
    NetPosition, PayoutLine, SheetError, SheetHead, fee_returned, read_clearing, read_payout, reconcile,
    write_clearing, write_payout,
};
use proptest::prelude::*;
use types::{BatchNumber, Currency, LocalDate, MerchantId, Rrn, Stan, TerminalId};

fn head() -> SheetHead {
    SheetHead { day: LocalDate::new(2026, 3, 15).unwrap(), currency: Currency::CNY }
}

fn merchant() -> MerchantId {
    MerchantId::parse("123456789012345").unwrap()
}

/// A sale with this trace number.
fn sale(stan: u32, amount_minor: u64, fee_minor: u64) -> ClearingLine {
    ClearingLine {
        merchant: merchant(),
        terminal: TerminalId::parse("12345678").unwrap(),
        batch: BatchNumber::FIRST,
        stan: Stan::new(stan).unwrap(),
        kind: ClearingKind::Sale,
        rrn: Rrn::parse(&format!("093015{stan:06}")).unwrap(),
        status: ClearingStatus::Approved,
        amount_minor,
        fee_minor,
    }
}

fn schedule() -> FeeSchedule {
    let tier = |from_volume_minor, rate_ppm| FeeTier { from_volume_minor, rate_ppm };
    let rule = |name: &str, card, tiers, cap_minor| FeeRule {
        name: name.to_owned(),
        categories: None,
        card: Some(card),
        tiers,
        minimum_minor: 1,
        cap_minor,
    };
    FeeSchedule::new(vec![
        rule("debit.capped", CardKind::Debit, vec![tier(0, 5000)], Some(2000)),
        rule("credit.tiered", CardKind::Credit, vec![tier(0, 6000), tier(1_000_000, 5500)], None),
    ])
    .unwrap()
}

/// Sales of a day with their fees; every third one is refunded in part, every seventh is voided.
fn day(amounts: &[(u64, bool)]) -> Vec<ClearingLine> {
    let (schedule, mut volume_minor, mut lines) = (schedule(), 0, Vec::new());
    for (index, (amount_minor, credit)) in amounts.iter().copied().enumerate() {
        let stan = u32::try_from(index * 2 + 1).unwrap();
        let card = if credit { CardKind::Credit } else { CardKind::Debit };
        let basis = FeeBasis { category: 5411, card, amount_minor, month_volume_minor: volume_minor };
        let of_sale = sale(stan, amount_minor, schedule.fee(&basis).unwrap().minor);
        lines.push(of_sale);
        volume_minor += amount_minor;
        let back = |kind, minor| ClearingLine {
            kind,
            amount_minor: minor,
            fee_minor: fee_returned(of_sale.fee_minor, amount_minor, 0, minor),
            ..sale(stan + 1, 0, 0)
        };
        if index % 7 == 6 {
            lines.push(back(ClearingKind::Void, amount_minor));
        } else if index % 3 == 2 {
            lines.push(back(ClearingKind::Refund, amount_minor / 2));
        }
    }
    lines
}

fn amounts() -> impl Strategy<Value = Vec<(u64, bool)>> {
    prop::collection::vec((1_u64..50_000_000, any::<bool>()), 1..60)
}

proptest! {
    /// The position is the sum of its lines, and the payout file says the same.
    #[test]
    fn a_day_sums_to_the_cent(amounts in amounts()) {
        let lines = day(&amounts);
        let position = NetPosition::of(&lines).unwrap();
        let sign = |line: &ClearingLine| if line.kind == ClearingKind::Sale { 1 } else { -1 };
        let expected: i128 = lines
            .iter()
            .map(|line| sign(line) * (i128::from(line.amount_minor) - i128::from(line.fee_minor)))
            .sum();
        prop_assert_eq!(i128::from(position.net_minor()), expected);
        let of_batch = sale(1, 0, 0);
        let payout = PayoutLine { merchant: merchant(), terminal: of_batch.terminal, batch: of_batch.batch, position };
        let text = write_payout(&head(), &[payout, payout]);
        prop_assert_eq!(read_payout(&text), Ok((head(), vec![payout, payout])));
        let last_line = text.lines().last().unwrap();
        let sum = format!("T|2|{}|", 2 * expected);
        prop_assert!(last_line.starts_with(&sum));
    }

    /// A clearing file comes back as it was, and no byte of it can be another one.
    #[test]
    fn a_damaged_file_is_refused(amounts in amounts(), at in any::<prop::sample::Index>(), to in 0x20_u8..0x7F) {
        let lines = day(&amounts);
        let text = write_clearing(&head(), &lines);
        prop_assert_eq!(read_clearing(&text), Ok((head(), lines)));
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let damaged = String::from_utf8(bytes).unwrap();
        prop_assert!(read_clearing(&damaged).is_err());
        prop_assert!(read_clearing(&text[..at]).is_err());
    }

    /// Any text is refused or read, never a panic.
    #[test]
    fn any_text_is_survived(text in "(H\\|CLEARING\\|1\\|20260315\\|156\n)?([HDT|0-9A-F]{0,30}\n?){0,5}") {
        let _ = read_clearing(&text);
        let _ = read_payout(&text);
    }

    /// Two sides that agree have no difference, in whatever order; each planted one is found in its class, and nothing else is.
    #[test]
    fn planted_differences_land_in_their_classes(
        amounts in prop::collection::vec((1_u64..50_000_000, any::<bool>()), 8..60),
        planted in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..7), 0..8),
    ) {
        let ours: Vec<ClearingLine> = day(&amounts);
        let (mut here, mut there, mut expected) = (ours.clone(), ours.clone(), Vec::new());
        there.reverse();
        let mut taken = std::collections::BTreeSet::new();
        for (index, kind) in planted {
            let line = ours[index.index(ours.len())];
            if taken.insert(line.key()) {
                expected.push((line.key(), plant(kind, &line, &mut here, &mut there)));
            }
        }
        expected.sort_unstable();
        let found: Vec<_> = reconcile(&here, &there).into_iter().map(|found| (found.key, found.class)).collect();
        prop_assert_eq!(found, expected);
    }
}

/// Plants one difference about a line, and says its class.
fn plant(
    kind: usize,
    line: &ClearingLine,
    here: &mut Vec<ClearingLine>,
    there: &mut Vec<ClearingLine>,
) -> DifferenceClass {
    let same = |other: &ClearingLine| other.key() == line.key();
    let theirs = there.iter_mut().find(|other| same(other)).unwrap();
    match kind {
        0 => {
            here.retain(|other| !same(other));
            DifferenceClass::MissingHere
        }
        1 => {
            there.retain(|other| !same(other));
            DifferenceClass::MissingThere
        }
        2 => {
            theirs.amount_minor += 1;
            DifferenceClass::AmountDiffers
        }
        3 => {
            theirs.status = ClearingStatus::Reversed;
            DifferenceClass::StatusDiffers
        }
        4 => {
            theirs.fee_minor += 1;
            DifferenceClass::FeeDiffers
        }
        5 => {
            here.push(*line);
            DifferenceClass::DuplicateHere
        }
        _ => {
            there.insert(0, *line);
            DifferenceClass::DuplicateThere
        }
    }
}

#[test]
fn a_file_looks_as_documented() {
    let lines = [sale(1, 1250, 8), ClearingLine { kind: ClearingKind::Refund, ..sale(2, 250, 1) }];
    let text = write_clearing(&head(), &lines);
    let written: Vec<&str> = text.lines().collect();
    assert_eq!(written[0], "H|CLEARING|1|20260315|156");
    assert_eq!(written[1], "D|123456789012345|12345678|1|1|S|093015000001|A|1250|8");
    assert_eq!(written[2], "D|123456789012345|12345678|1|2|R|093015000002|A|250|1");
    assert!(written[3].starts_with("T|2|1000|") && written[3].len() == "T|2|1000|".len() + 64);
}

#[test]
fn each_kind_of_damage_has_its_name() {
    let text = write_clearing(&head(), &[sale(1, 1250, 8)]);
    let why = |text: &str| read_clearing(text).unwrap_err();
    assert_eq!(why(""), SheetError::Line(1));
    assert_eq!(why(&write_payout(&head(), &[])), SheetError::Line(1));
    assert_eq!(why(text.trim_end()), SheetError::End);
    assert_eq!(why(&format!("{text}D|more\n")), SheetError::End);
    assert_eq!(why(&text.replace("|1250|", "|01250|")), SheetError::Line(2));
    assert_eq!(why(&text.replace("|1250|8", "|1251|8")), SheetError::Hash);
    assert_eq!(why(&text.replace("T|1|", "T|2|")), SheetError::Count);
    assert_eq!(why(&text.replace("|1250|", "|1251|").replace("T|1|1250", "T|1|1251")), SheetError::Hash);
    assert_eq!(why(&text.replace("T|1|1250", "T|1|1251")), SheetError::Sum);
}

#[test]
fn what_does_not_stand_moves_nothing() {
    let declined = ClearingLine { status: ClearingStatus::Declined, ..sale(1, 100, 1) };
    let reversed = ClearingLine { status: ClearingStatus::Reversed, ..sale(2, 100, 1) };
    assert_eq!(NetPosition::of(&[declined, reversed]), Ok(NetPosition::default()));
    let huge = sale(3, u64::MAX, 0);
    assert!(NetPosition::of(&[huge]).is_err() && NetPosition::of(&[huge, huge]).is_err());
}
