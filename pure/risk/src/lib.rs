//! Rules against duplicates and cheats.
//!
//! *Duty*: says what is known of a transaction ([`Question`]) and of what went before it ([`History`] of [`Past`]), works conditions
//! out ([`Truth`], [`Number`]) and gives every rule's word with its reason ([`RuleSet::judge`] → [`Screening`]). *Knows*: cards by
//! token, terminals, merchants, money. *Never*: the language that rules are written in (`adapters/rules` reads it), where the past
//! is kept, I/O, clocks, chance. What it says is advice beside the guards on money, which it cannot loosen.
//!
//! A condition has no loops but over a bounded history, and no recursion but its own text, so it always ends; the only thing that can
//! go wrong in it is arithmetic, and then the rule says so and flags.
//! *Start here*: [`RuleSet::judge`].

mod condition;
mod encoding;
mod history;
mod question;
mod rule_set;
mod screening;

pub use condition::{
    Comparison, FLAG_FACTS, FlagFact, NUMBER_FACTS, Number, NumberFact, Operator, TEXT_FACTS, TextFact, Trouble, Truth,
    Velocity, VelocityMeasure,
};
pub use history::{HISTORY_ENTRIES_MAX, History, Memory, Scope, WINDOW_MINUTES_MAX, past_key, past_range};
pub use question::{Entry, Original, Past, Question};
pub use rule_set::{Exception, Rule, RuleSet};
pub use screening::{Answer, Finding, FindingKind, Reason, Screening, TEXT_BYTES_MAX};
