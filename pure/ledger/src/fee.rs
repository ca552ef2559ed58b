//! What the merchant pays for a sale: rules by merchant category, kind of card and volume of the month.
//!
//! **Rounding.** A fee is a whole number of minor units. The rate's part is rounded once for each sale, half up; then the minimum
//! and the cap of the rule apply; a fee is never more than its sale. Sums are sums of rounded fees, so they agree to the cent
//! with the lines that they stand under.

use types::AMOUNT_MINOR_MAX;

/// Parts of a whole in which a rate is given: 3500 is 0.35 %.
pub const RATE_WHOLE_PPM: u32 = 1_000_000;
/// Most rules of a schedule.
pub const FEE_RULES_MAX: usize = 1000;
/// Most tiers of a rule.
pub const FEE_TIERS_MAX: usize = 16;
/// Longest name of a rule.
pub const FEE_RULE_NAME_BYTES_MAX: usize = 32;

/// How a card is funded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CardKind {
    /// 借记卡.
    Debit,
    /// 贷记卡.
    Credit,
}

/// A rate that applies from some volume of the month on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeeTier {
    /// The merchant's volume of the month before the sale, minor units, from which the tier applies.
    pub from_volume_minor: u64,
    /// Parts per million of the amount.
    pub rate_ppm: u32,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeeRule {
    /// Its name, shown with every fee: letters, digits, `.`, `-`.
    pub name: String,
    /// Merchant categories (ISO 18245) it is for, first and last; `None`: all.
    pub categories: Option<(u16, u16)>,
    /// Kind of card it is for; `None`: both.
    pub card: Option<CardKind>,
    /// Rates by volume, the first one from 0 on, ascending.
    pub tiers: Vec<FeeTier>,
    /// Least fee of a sale, minor units.
    pub minimum_minor: u64,
    /// Largest fee of a sale, minor units.
    pub cap_minor: Option<u64>,
}

/// Why a schedule is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FeeScheduleInvalid {
    /// No rule, or too many.
    #[error("a schedule has 1 to {FEE_RULES_MAX} rules")]
    Rules,
    /// A name that is empty, too long, of odd characters, or there twice.
    #[error("rule {0} needs a name of its own of letters, digits, points and hyphens")]
    Name(usize),
    /// First category behind the last one.
    #[error("rule {0} has its merchant categories in the wrong order")]
    Categories(usize),
    /// No tier from 0, volumes that do not ascend, or too many of them.
    #[error("rule {0} needs 1 to {FEE_TIERS_MAX} tiers, from 0 on and ascending")]
    Tiers(usize),
    /// A rate above the whole amount.
    #[error("rule {0} has a rate above 100 %")]
    Rate(usize),
    /// A minimum above the cap, or one that no amount can have.
    #[error("rule {0} has a minimum above its cap, or a limit above every amount")]
    Limits(usize),
}

/// What a fee depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeeBasis {
    /// The merchant's category.
    pub category: u16,
    /// The card.
    pub card: CardKind,
    /// The sale, minor units.
    pub amount_minor: u64,
    /// What the merchant sold this month before, minor units.
    pub month_volume_minor: u64,
}

/// A fee and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fee {
    /// Minor units.
    pub minor: u64,
    /// Name of the rule.
    pub rule: String,
}

/// Rules in order: the first one that fits a sale counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeeSchedule {
    rules: Vec<FeeRule>,
}

impl FeeSchedule {
    /// A schedule of these rules.
    ///
    /// # Errors
    /// The first thing about them that cannot be.
    pub fn new(rules: Vec<FeeRule>) -> Result<Self, FeeScheduleInvalid> {
        if rules.is_empty() || rules.len() > FEE_RULES_MAX {
            return Err(FeeScheduleInvalid::Rules);
        }
        for (index, rule) in rules.iter().enumerate() {
            check(index, rule)?;
            if rules[..index].iter().any(|other| other.name == rule.name) {
                return Err(FeeScheduleInvalid::Name(index));
            }
        }
        Ok(Self { rules })
    }

    /// The fee of a sale; `None`: no rule is for it.
    pub fn fee(&self, basis: &FeeBasis) -> Option<Fee> {
        let rule = self.rules.iter().find(|rule| rule.fits(basis))?;
        Some(Fee { minor: rule.fee_minor(basis), rule: rule.name.clone() })
    }
}

impl FeeRule {
    fn fits(&self, basis: &FeeBasis) -> bool {
        let category = self.categories.is_none_or(|(first, last)| (first..=last).contains(&basis.category));
        category && self.card.is_none_or(|card| card == basis.card)
    }

    fn fee_minor(&self, basis: &FeeBasis) -> u64 {
        let reached = |tier: &&FeeTier| tier.from_volume_minor <= basis.month_volume_minor;
        let rate_ppm = self.tiers.iter().rev().find(reached).map_or(0, |tier| tier.rate_ppm);
        let whole = u128::from(RATE_WHOLE_PPM);
        let rounded = (u128::from(basis.amount_minor) * u128::from(rate_ppm) + whole / 2) / whole;
        let rounded = u64::try_from(rounded).unwrap_or(u64::MAX);
        let limited = rounded.max(self.minimum_minor).min(self.cap_minor.unwrap_or(u64::MAX));
        limited.min(basis.amount_minor)
    }
}

fn check(index: usize, rule: &FeeRule) -> Result<(), FeeScheduleInvalid> {
    let named = (1..=FEE_RULE_NAME_BYTES_MAX).contains(&rule.name.len());
    if !named || !is_rule_name(&rule.name) {
        return Err(FeeScheduleInvalid::Name(index));
    }
    if rule.categories.is_some_and(|(first, last)| first > last) {
        return Err(FeeScheduleInvalid::Categories(index));
    }
    let from_zero = rule.tiers.first().is_some_and(|tier| tier.from_volume_minor == 0);
    let ascending = rule.tiers.is_sorted_by(|a, b| a.from_volume_minor < b.from_volume_minor);
    if !from_zero || !ascending || rule.tiers.len() > FEE_TIERS_MAX {
        return Err(FeeScheduleInvalid::Tiers(index));
    }
    if rule.tiers.iter().any(|tier| tier.rate_ppm > RATE_WHOLE_PPM) {
        return Err(FeeScheduleInvalid::Rate(index));
    }
    let highest = rule.cap_minor.unwrap_or(AMOUNT_MINOR_MAX);
    if rule.minimum_minor > highest || highest > AMOUNT_MINOR_MAX {
        return Err(FeeScheduleInvalid::Limits(index));
    }
    Ok(())
}

pub(crate) fn is_rule_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// What of a sale's fee goes back to the merchant when `part_minor` of it is refunded after `before_minor` was.
///
/// Rounded down on what is refunded in all, so that the parts never sum to more than the fee, and to exactly the fee once the whole
/// sale is refunded. More than the sale counts as the whole sale.
pub fn fee_returned(fee_minor: u64, sale_minor: u64, before_minor: u64, part_minor: u64) -> u64 {
    let up_to = |refunded_minor: u64| {
        let refunded = u128::from(refunded_minor.min(sale_minor));
        let returned = (u128::from(fee_minor) * refunded).checked_div(u128::from(sale_minor)).unwrap_or(0);
        u64::try_from(returned).unwrap_or(fee_minor)
    };
    up_to(before_minor.saturating_add(part_minor)) - up_to(before_minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, rate_ppm: u32) -> FeeRule {
        FeeRule {
            name: name.to_owned(),
            categories: None,
            card: None,
            tiers: vec![FeeTier { from_volume_minor: 0, rate_ppm }],
            minimum_minor: 0,
            cap_minor: None,
        }
    }

    fn basis(amount_minor: u64) -> FeeBasis {
        FeeBasis { category: 5411, card: CardKind::Debit, amount_minor, month_volume_minor: 0 }
    }

    fn minor(rule: FeeRule, basis: FeeBasis) -> u64 {
        FeeSchedule::new(vec![rule]).unwrap().fee(&basis).unwrap().minor
    }

    #[test]
    fn half_a_cent_is_rounded_up_and_less_is_not() {
        // 0.5 % of 1.00 is half a cent.
        assert_eq!(minor(rule("r", 5000), basis(100)), 1);
        assert_eq!(minor(rule("r", 5000), basis(99)), 0);
        assert_eq!(minor(rule("r", 5000), basis(299)), 1);
        assert_eq!(minor(rule("r", 5000), basis(300)), 2);
    }

    #[test]
    fn minimum_cap_and_the_sale_itself_bound_a_fee() {
        let bounded = FeeRule { minimum_minor: 8, cap_minor: Some(1300), ..rule("r", 3500) };
        assert_eq!(minor(bounded.clone(), basis(100)), 8);
        assert_eq!(minor(bounded.clone(), basis(5)), 5);
        assert_eq!(minor(bounded.clone(), basis(100_000)), 350);
        assert_eq!(minor(bounded, basis(AMOUNT_MINOR_MAX)), 1300);
        assert_eq!(minor(rule("r", RATE_WHOLE_PPM), basis(AMOUNT_MINOR_MAX)), AMOUNT_MINOR_MAX);
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_is_named() {
        let debit = FeeRule { card: Some(CardKind::Debit), ..rule("debit", 4000) };
        let shops = FeeRule { categories: Some((5400, 5499)), ..rule("shops", 3800) };
        let schedule = FeeSchedule::new(vec![shops, debit]).unwrap();
        assert_eq!(schedule.fee(&basis(10_000)), Some(Fee { minor: 38, rule: "shops".to_owned() }));
        let hotel = FeeBasis { category: 7011, ..basis(10_000) };
        assert_eq!(schedule.fee(&hotel), Some(Fee { minor: 40, rule: "debit".to_owned() }));
        assert_eq!(schedule.fee(&FeeBasis { card: CardKind::Credit, ..hotel }), None);
    }

    #[test]
    fn a_tier_begins_with_the_sale_after_its_volume_is_reached() {
        let tiers =
            [(0, 6000), (1_000_000, 5000)].map(|(from_volume_minor, rate_ppm)| FeeTier { from_volume_minor, rate_ppm });
        let tiered = FeeRule { tiers: tiers.to_vec(), ..rule("r", 0) };
        let at = |month_volume_minor| minor(tiered.clone(), FeeBasis { month_volume_minor, ..basis(10_000) });
        assert_eq!([at(0), at(999_999), at(1_000_000), at(u64::MAX)], [60, 60, 50, 50]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use FeeScheduleInvalid as No;
        let refused = |rule: FeeRule| FeeSchedule::new(vec![rule]).unwrap_err();
        assert_eq!(FeeSchedule::new(Vec::new()), Err(No::Rules));
        assert_eq!(FeeSchedule::new(vec![rule("a", 1), rule("a", 2)]), Err(No::Name(1)));
        assert_eq!(refused(rule("", 1)), No::Name(0));
        assert_eq!(refused(rule("a|b", 1)), No::Name(0));
        assert_eq!(refused(rule("a", RATE_WHOLE_PPM + 1)), No::Rate(0));
        assert_eq!(refused(FeeRule { categories: Some((2, 1)), ..rule("a", 1) }), No::Categories(0));
        assert_eq!(refused(FeeRule { tiers: Vec::new(), ..rule("a", 1) }), No::Tiers(0));
        assert_eq!(refused(FeeRule { minimum_minor: 2, cap_minor: Some(1), ..rule("a", 1) }), No::Limits(0));
        let late = FeeTier { from_volume_minor: 1, rate_ppm: 1 };
        assert_eq!(refused(FeeRule { tiers: vec![late], ..rule("a", 1) }), No::Tiers(0));
    }

    #[test]
    fn parts_of_a_refund_return_the_fee_exactly() {
        // 10.00 with a fee of 0.07, refunded in thirds.
        let parts = [(0, 333), (333, 333), (666, 334)].map(|(before, part)| fee_returned(7, 1000, before, part));
        assert_eq!(parts.iter().sum::<u64>(), 7);
        assert_eq!(fee_returned(7, 1000, 0, u64::MAX), 7);
        assert_eq!(fee_returned(7, 1000, 1000, 5), 0);
        assert_eq!(fee_returned(7, 0, 0, 5), 0);
    }
}
