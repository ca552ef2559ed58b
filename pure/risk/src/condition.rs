//! Conditions: typed, so that one which was accepted can be worked out for every transaction.
//!
//! They mean what the Common Expression Language means by the same words: integers have 64 bits and an overflow is an error; `&&` and
//! `||` do not mind which side they see first, and an error on one side counts only where the other side does not decide.

use crate::history::{History, Scope};
use crate::question::{Past, Question};
use core::fmt;
use std::collections::BTreeSet;

/// A fact that is a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextFact {
    /// What the transaction is.
    Kind,
    /// How the card was read.
    Entry,
    /// The currency's letters.
    Currency,
    /// The card's token in hexadecimal; empty if the message names no card.
    Card,
    /// F41.
    Terminal,
    /// F42.
    Merchant,
    /// The acquirer's rule that refuses it already; empty for none.
    RefusedBy,
}

/// A fact that is a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberFact {
    /// F4 in minor units.
    Amount,
    /// Merchant category; 0 if the host was not told.
    Category,
    /// Hour of the day.
    Hour,
    /// Amount of what it gives back, minor units; 0 if that is not known.
    OriginalAmount,
    /// Age of what it gives back in minutes; 0 if that is not known.
    OriginalAgeMinutes,
}

/// A fact that is so or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagFact {
    /// It names a sale of a batch that is closed.
    OfClosedBatch,
    /// What it gives back was found.
    OriginalFound,
    /// What it gives back was made by another terminal.
    OriginalElsewhere,
}

/// Names of text facts in rules.
pub const TEXT_FACTS: &[(&str, TextFact)] = &[
    ("kind", TextFact::Kind),
    ("entry", TextFact::Entry),
    ("currency", TextFact::Currency),
    ("card", TextFact::Card),
    ("terminal", TextFact::Terminal),
    ("merchant", TextFact::Merchant),
    ("refused_by", TextFact::RefusedBy),
];
/// Names of number facts in rules.
pub const NUMBER_FACTS: &[(&str, NumberFact)] = &[
    ("amount", NumberFact::Amount),
    ("category", NumberFact::Category),
    ("hour", NumberFact::Hour),
    ("original_amount", NumberFact::OriginalAmount),
    ("original_age_minutes", NumberFact::OriginalAgeMinutes),
];
/// Names of flag facts in rules.
pub const FLAG_FACTS: &[(&str, FlagFact)] = &[
    ("of_closed_batch", FlagFact::OfClosedBatch),
    ("original_found", FlagFact::OriginalFound),
    ("original_elsewhere", FlagFact::OriginalElsewhere),
];

/// What is counted of the past. What a void or reversal has undone counts in `Declined`, `Cards` and nowhere else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VelocityMeasure {
    /// How many were approved.
    Count,
    /// How many were declined.
    Declined,
    /// What was approved, minor units, in the question's currency.
    Total,
    /// How many were approved with an amount from this one up to but without that one, in the question's currency.
    Between(Number, Number),
    /// How many different cards came, approved or not.
    Cards,
    /// How many were approved that are the same again: card, terminal, kind and amount.
    Repeats,
}

/// A look back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Velocity {
    /// What is counted.
    pub measure: VelocityMeasure,
    /// Whose past.
    pub scope: Scope,
    /// Which kind; none for all.
    pub kind: Option<String>,
    /// How far back.
    pub minutes: u32,
}

/// Arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`, towards zero.
    Divide,
    /// `%`, with the sign of the left side.
    Remainder,
}

/// Comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    Different,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A condition that gives a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Number {
    /// A constant.
    Constant(i64),
    /// A fact.
    Fact(NumberFact),
    /// A look back.
    Velocity(Box<Velocity>),
    /// Arithmetic.
    Arithmetic(Operator, Box<Number>, Box<Number>),
}

/// A condition that is so or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Truth {
    /// A constant.
    Constant(bool),
    /// A fact.
    Flag(FlagFact),
    /// The opposite.
    Not(Box<Truth>),
    /// Both.
    And(Box<Truth>, Box<Truth>),
    /// One of them, or both.
    Or(Box<Truth>, Box<Truth>),
    /// Both or none of them.
    Same(Box<Truth>, Box<Truth>),
    /// Numbers compared.
    Compare(Comparison, Number, Number),
    /// A number is one of these.
    NumberIn(Number, Vec<i64>),
    /// A text is one of these.
    TextIn(TextFact, Vec<String>),
    /// A text begins so.
    TextBegins(TextFact, String),
}

/// Why a condition has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// A number leaves its 64 bits.
    Overflow,
    /// A division by zero.
    DivisionByZero,
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Trouble::Overflow => "a number is too large",
            Trouble::DivisionByZero => "a division by zero",
        })
    }
}

impl Operator {
    fn of(self, left: i64, right: i64) -> Result<i64, Trouble> {
        let result = match self {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            Operator::Divide | Operator::Remainder if right == 0 => return Err(Trouble::DivisionByZero),
            Operator::Divide => left.checked_div(right),
            Operator::Remainder => left.checked_rem(right),
        };
        result.ok_or(Trouble::Overflow)
    }
}

impl Comparison {
    fn of(self, left: i64, right: i64) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::Different => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }
    }
}

impl NumberFact {
    fn of(self, question: &Question) -> i64 {
        let minor = |minor: u64| i64::try_from(minor).unwrap_or(i64::MAX);
        let original = question.original.as_ref();
        match self {
            NumberFact::Amount => minor(question.amount.minor()),
            NumberFact::Category => i64::from(question.category),
            NumberFact::Hour => i64::from(question.hour),
            NumberFact::OriginalAmount => original.map_or(0, |original| minor(original.amount_minor)),
            NumberFact::OriginalAgeMinutes => original.map_or(0, |original| minor(original.age_ms / 60_000)),
        }
    }
}

impl FlagFact {
    fn of(self, question: &Question) -> bool {
        match self {
            FlagFact::OfClosedBatch => question.of_closed_batch,
            FlagFact::OriginalFound => question.original.is_some(),
            FlagFact::OriginalElsewhere => question.original.is_some_and(|original| original.elsewhere),
        }
    }
}

impl TextFact {
    fn with<T>(self, question: &Question, use_text: impl FnOnce(&str) -> T) -> T {
        let intent = &question.intent;
        match self {
            TextFact::Kind => use_text(&question.kind),
            TextFact::Entry => use_text(question.entry.name()),
            TextFact::Currency => use_text(&question.amount.currency().label()),
            TextFact::Card => use_text(&question.card.map(|card| card.to_string()).unwrap_or_default()),
            TextFact::Terminal => use_text(intent.terminal.text()),
            TextFact::Merchant => use_text(intent.merchant.text()),
            TextFact::RefusedBy => use_text(&question.refused_by),
        }
    }
}

impl Velocity {
    fn of(&self, question: &Question, history: &History) -> Result<i64, Trouble> {
        let of_kind = |past: &Past| self.kind.as_ref().is_none_or(|kind| past.kind == *kind);
        let within = || history.within(self.scope, question, self.minutes).filter(|(past, _)| of_kind(past));
        let standing = || within().filter(|(past, stands)| past.approved && *stands).map(|(past, _)| past);
        let of_currency = || standing().filter(|past| past.amount.currency() == question.amount.currency());
        match &self.measure {
            VelocityMeasure::Count => Ok(count(standing())),
            VelocityMeasure::Declined => Ok(count(within().filter(|(past, _)| !past.approved))),
            VelocityMeasure::Total => Ok(of_currency().map(minor).fold(0, i64::saturating_add)),
            VelocityMeasure::Between(low, high) => {
                let range = low.of(question, history)?..high.of(question, history)?;
                Ok(count(of_currency().filter(|past| range.contains(&minor(past)))))
            }
            VelocityMeasure::Cards => Ok(count(within().filter_map(|(past, _)| past.card).collect::<BTreeSet<_>>())),
            VelocityMeasure::Repeats => Ok(count(standing().filter(|past| is_repeated(past, question)))),
        }
    }
}

/// The same again: somebody pays twice, or is charged twice.
fn is_repeated(past: &Past, question: &Question) -> bool {
    past.card.is_some()
        && past.card == question.card
        && past.intent.terminal == question.intent.terminal
        && past.kind == question.kind
        && past.amount == question.amount
}

fn minor(past: &Past) -> i64 {
    i64::try_from(past.amount.minor()).unwrap_or(i64::MAX)
}

fn count<T>(items: impl IntoIterator<Item = T>) -> i64 {
    i64::try_from(items.into_iter().count()).unwrap_or(i64::MAX)
}

impl Number {
    /// Its value.
    ///
    /// # Errors
    /// Arithmetic that has none.
    pub fn of(&self, question: &Question, history: &History) -> Result<i64, Trouble> {
        match self {
            Number::Constant(value) => Ok(*value),
            Number::Fact(fact) => Ok(fact.of(question)),
            Number::Velocity(velocity) => velocity.of(question, history),
            Number::Arithmetic(operator, left, right) => {
                operator.of(left.of(question, history)?, right.of(question, history)?)
            }
        }
    }

    /// Every look back in it.
    fn velocities<'a>(&'a self, found: &mut Vec<&'a Velocity>) {
        match self {
            Number::Constant(_) | Number::Fact(_) => {}
            Number::Velocity(velocity) => {
                if let VelocityMeasure::Between(low, high) = &velocity.measure {
                    low.velocities(found);
                    high.velocities(found);
                }
                found.push(velocity);
            }
            Number::Arithmetic(_, left, right) => {
                left.velocities(found);
                right.velocities(found);
            }
        }
    }
}

impl Truth {
    /// Whether it is so.
    ///
    /// # Errors
    /// Arithmetic that has no value, where it matters.
    pub fn of(&self, question: &Question, history: &History) -> Result<bool, Trouble> {
        match self {
            Truth::Constant(value) => Ok(*value),
            Truth::Flag(fact) => Ok(fact.of(question)),
            Truth::Not(inner) => inner.of(question, history).map(|value| !value),
            Truth::And(left, right) => decided_by(false, left, right, question, history),
            Truth::Or(left, right) => decided_by(true, left, right, question, history),
            Truth::Same(left, right) => Ok(left.of(question, history)? == right.of(question, history)?),
            Truth::Compare(comparison, left, right) => {
                Ok(comparison.of(left.of(question, history)?, right.of(question, history)?))
            }
            Truth::NumberIn(number, list) => Ok(list.contains(&number.of(question, history)?)),
            Truth::TextIn(fact, list) => Ok(fact.with(question, |text| list.iter().any(|one| one == text))),
            Truth::TextBegins(fact, prefix) => Ok(fact.with(question, |text| text.starts_with(prefix.as_str()))),
        }
    }

    /// Every look back in it.
    pub(crate) fn velocities<'a>(&'a self, found: &mut Vec<&'a Velocity>) {
        match self {
            Truth::Constant(_) | Truth::Flag(_) | Truth::TextIn(..) | Truth::TextBegins(..) => {}
            Truth::Not(inner) => inner.velocities(found),
            Truth::And(left, right) | Truth::Or(left, right) | Truth::Same(left, right) => {
                left.velocities(found);
                right.velocities(found);
            }
            Truth::Compare(_, left, right) => {
                left.velocities(found);
                right.velocities(found);
            }
            Truth::NumberIn(number, _) => number.velocities(found),
        }
    }
}

/// `&&` is decided by false, `||` by true, on whichever side; only where neither decides does an error count.
fn decided_by(
    decisive: bool,
    left: &Truth,
    right: &Truth,
    question: &Question,
    history: &History,
) -> Result<bool, Trouble> {
    let left = left.of(question, history);
    if left == Ok(decisive) {
        return left;
    }
    let right = right.of(question, history);
    if right == Ok(decisive) { right } else { left.and(right) }
}
