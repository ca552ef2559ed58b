//! What an acquirer charges, as people write it down.
//!
//! ```text
//! # Merchant categories (ISO 18245), one for all and others by merchant
//! category = 5999
//! category 898310000010001 = 7011
//! # Kind of a card by how its number begins, the longest beginning first
//! card = debit
//! card 622230 = credit
//! # Rules: the first one that fits a sale counts
//! rule hotel = category 7000-7299, rate 1.25%, rate 1% from-minor 100000000
//! rule debit = card debit, rate 0.5%, cap-minor 2000, minimum-minor 1
//! rule credit = card credit, rate 0.6%
//! ```

use ledger::{CardKind, FeeRule, FeeSchedule, FeeScheduleInvalid, FeeTier, RATE_WHOLE_PPM};
use std::collections::BTreeMap;
use types::{MerchantId, TruncatedPan};

/// Digits of a card number that are known when it is shown truncated.
const CARD_BEGINNING_DIGITS_MAX: usize = 6;
/// Digits of a per cent behind the point: a rate is a whole number of parts per million.
const PER_CENT_DECIMALS: usize = 4;

/// What is charged if nothing else is written down: debit cards 0.5 % up to 20.00, credit cards 0.6 %.
pub const STANDARD_PRICING: &str = "category = 5999
card = debit
card 625 = credit
card 622230 = credit
rule debit.standard = card debit, rate 0.5%, cap-minor 2000, minimum-minor 1
rule credit.standard = card credit, rate 0.6%, minimum-minor 1
";

/// Why a text is no pricing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PricingError {
    /// A line that is not what may stand there, counted from 1.
    #[error("line {line}: expected {expected}")]
    Line {
        /// The line.
        line: usize,
        /// What may stand there.
        expected: &'static str,
    },
    /// No line says the category of merchants that have none of their own.
    #[error("expected a line `category = 5999` for all merchants")]
    Category,
    /// No line says the kind of cards whose number begins otherwise.
    #[error("expected a line `card = debit` or `card = credit` for all cards")]
    Card,
    /// Rules that cannot be.
    #[error(transparent)]
    Schedule(#[from] FeeScheduleInvalid),
}

/// Fees, and what they depend on.
#[derive(Clone, Debug)]
pub struct Pricing {
    /// The rules.
    pub schedule: FeeSchedule,
    category: u16,
    categories: BTreeMap<MerchantId, u16>,
    card: CardKind,
    cards: BTreeMap<String, CardKind>,
}

#[derive(Default)]
struct Draft {
    rules: Vec<FeeRule>,
    category: Option<u16>,
    categories: BTreeMap<MerchantId, u16>,
    card: Option<CardKind>,
    cards: BTreeMap<String, CardKind>,
}

impl Pricing {
    /// Reads a text of the form at the top of this file.
    ///
    /// # Errors
    /// The first line that is not as it should be, or what is missing.
    pub fn parse(text: &str) -> Result<Self, PricingError> {
        let mut draft = Draft::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                draft.take(line).map_err(|expected| PricingError::Line { line: index + 1, expected })?;
            }
        }
        let Draft { rules, category, categories, card, cards } = draft;
        let (category, card) = (category.ok_or(PricingError::Category)?, card.ok_or(PricingError::Card)?);
        Ok(Self { schedule: FeeSchedule::new(rules)?, category, categories, card, cards })
    }

    /// A merchant's category.
    pub fn category(&self, merchant: MerchantId) -> u16 {
        self.categories.get(&merchant).copied().unwrap_or(self.category)
    }

    /// The kind of a card; one of which nothing is known counts as any other.
    pub fn card_kind(&self, card: Option<&TruncatedPan>) -> CardKind {
        let digits = card.map_or("", |card| &card.text()[..CARD_BEGINNING_DIGITS_MAX]);
        let longest = (1..=digits.len()).rev().find_map(|length| self.cards.get(&digits[..length]));
        longest.copied().unwrap_or(self.card)
    }
}

impl Draft {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let (left, right) = line.split_once('=').ok_or("`name = value`")?;
        let (left, right) = (left.trim(), right.trim());
        match left.split_once(' ').map_or((left, None), |(word, named)| (word, Some(named.trim()))) {
            ("category", None) => self.category = Some(category(right)?),
            ("category", Some(merchant)) => {
                let merchant = MerchantId::parse(merchant).map_err(|_| "a merchant's 15 characters")?;
                self.categories.insert(merchant, category(right)?);
            }
            ("card", None) => self.card = Some(card_kind(right)?),
            ("card", Some(digits)) => {
                let fits = (1..=CARD_BEGINNING_DIGITS_MAX).contains(&digits.len());
                if !fits || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err("one to six digits that card numbers begin with");
                }
                self.cards.insert(digits.to_owned(), card_kind(right)?);
            }
            ("rule", Some(name)) => self.rules.push(rule(name, right)?),
            _ => return Err("`category`, `card` or `rule`"),
        }
        Ok(())
    }
}

fn category(text: &str) -> Result<u16, &'static str> {
    let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or("a merchant category of four digits")
}

fn card_kind(text: &str) -> Result<CardKind, &'static str> {
    match text {
        "debit" => Ok(CardKind::Debit),
        "credit" => Ok(CardKind::Credit),
        _ => Err("`debit` or `credit`"),
    }
}

fn rule(name: &str, text: &str) -> Result<FeeRule, &'static str> {
    let (categories, card, tiers, cap_minor) = (None, None, Vec::new(), None);
    let mut rule = FeeRule { name: name.to_owned(), categories, card, tiers, minimum_minor: 0, cap_minor };
    for clause in text.split(',') {
        let words: Vec<&str> = clause.split_whitespace().collect();
        match words[..] {
            ["category", range] => {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                rule.categories = Some((category(first)?, category(last)?));
            }
            ["card", kind] => rule.card = Some(card_kind(kind)?),
            ["rate", rate] => rule.tiers.push(FeeTier { from_volume_minor: 0, rate_ppm: rate_ppm(rate)? }),
            ["rate", rate, "from-minor", volume] => {
                rule.tiers.push(FeeTier { from_volume_minor: minor(volume)?, rate_ppm: rate_ppm(rate)? });
            }
            ["cap-minor", cap] => rule.cap_minor = Some(minor(cap)?),
            ["minimum-minor", minimum] => rule.minimum_minor = minor(minimum)?,
            _ => return Err("`category`, `card`, `rate`, `cap-minor` or `minimum-minor` between commas"),
        }
    }
    Ok(rule)
}

fn minor(text: &str) -> Result<u64, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or("a whole number of minor units")
}

/// `0.5%` as parts per million, exactly.
fn rate_ppm(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "a rate such as 0.5%, with at most four decimals";
    let number = text.strip_suffix('%').ok_or(EXPECTED)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > PER_CENT_DECIMALS {
        return Err(EXPECTED);
    }
    let ppm = format!("{whole}{decimals:0<width$}", width = PER_CENT_DECIMALS);
    ppm.parse().ok().filter(|ppm| *ppm <= RATE_WHOLE_PPM).ok_or("a rate of at most 100%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::FeeBasis;

    #[test]
    fn the_standard_pricing_and_the_one_at_the_top_are_read() {
        let standard = Pricing::parse(STANDARD_PRICING).unwrap();
        let merchant = MerchantId::parse("898310000010001").unwrap();
        assert_eq!(standard.category(merchant), 5999);
        let fee = |pricing: &Pricing, card, amount_minor, month_volume_minor| {
            let basis = FeeBasis { category: pricing.category(merchant), card, amount_minor, month_volume_minor };
            pricing.schedule.fee(&basis).map(|fee| (fee.minor, fee.rule))
        };
        assert_eq!(fee(&standard, CardKind::Debit, 1_000_000, 0), Some((2000, "debit.standard".to_owned())));
        assert_eq!(fee(&standard, CardKind::Credit, 1_000_000, 0), Some((6000, "credit.standard".to_owned())));
        let documented: String = include_str!("pricing.rs")
            .lines()
            .skip_while(|line| *line != "//! ```text")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//!")))
            .collect();
        let documented = Pricing::parse(&documented).unwrap();
        assert_eq!(documented.category(merchant), 7011);
        assert_eq!(fee(&documented, CardKind::Debit, 10_000, 0), Some((125, "hotel".to_owned())));
        assert_eq!(fee(&documented, CardKind::Debit, 10_000, 100_000_000), Some((100, "hotel".to_owned())));
    }

    #[test]
    fn the_longest_beginning_of_a_card_number_counts() {
        let pricing = Pricing::parse(STANDARD_PRICING).unwrap();
        let kind = |text: &str| pricing.card_kind(Some(&TruncatedPan::parse(text).unwrap()));
        assert_eq!(kind("625094******0014"), CardKind::Credit);
        assert_eq!(kind("622230******0014"), CardKind::Credit);
        assert_eq!(kind("622262******0014"), CardKind::Debit);
        assert_eq!(pricing.card_kind(None), CardKind::Debit);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let line = |text: &str| Pricing::parse(text).unwrap_err().to_string();
        assert_eq!(line("category = 12"), "line 1: expected a merchant category of four digits");
        assert_eq!(line("# a\ncard 62x = debit"), "line 2: expected one to six digits that card numbers begin with");
        assert_eq!(line("rule a = rate 0.55555%"), "line 1: expected a rate such as 0.5%, with at most four decimals");
        assert_eq!(line("rule a = rate 100.0001%"), "line 1: expected a rate of at most 100%");
        assert_eq!(line("fees"), "line 1: expected `name = value`");
        assert_eq!(line("card = debit"), PricingError::Category.to_string());
        assert_eq!(line("category = 5999"), PricingError::Card.to_string());
        let no_rule = Pricing::parse("category = 5999\ncard = debit").unwrap_err();
        assert_eq!(no_rule, PricingError::Schedule(FeeScheduleInvalid::Rules));
    }
}
