//! Risk rules of some worlds, so that their words meet crashes, copies and conflicts. They are few and strict: a world is small.

use crate::store::SimulatedStore;
use acquirer::RuleUse;
use machine::wire::Encode;
use risk::{
    Answer, Comparison, FlagFact, HISTORY_ENTRIES_MAX, History, Number, Past, Question, Reason, Rule, RuleSet, Scope,
    Screening, TextFact, Truth, Velocity, VelocityMeasure, past_range,
};

/// One world in so many has rules.
const WORLDS: u64 = 4;
/// How far the rules look back.
const MINUTES: u32 = 60;
const VERSION: u32 = 1;

/// What the rules' word is worth in a world.
pub fn use_in(seed: u64) -> RuleUse {
    match seed % (2 * WORLDS) {
        1 => RuleUse::Refuse,
        5 => RuleUse::Flag,
        _ => RuleUse::Off,
    }
}

/// The rules.
pub fn rules() -> RuleSet {
    let again = counted(VelocityMeasure::Repeats, Scope::Terminal, None, 1);
    let often = counted(VelocityMeasure::Count, Scope::Card, Some("sale"), 6);
    let refunds = counted(VelocityMeasure::Count, Scope::Merchant, Some("refund"), 3);
    RuleSet {
        version: VERSION,
        rules: vec![
            rule("again", "sale", again, None),
            rule("often", "sale", often, Some(Answer::Frequency)),
            rule("refunds", "refund", refunds, Some(Answer::Suspected)),
            rule("late-void", "void", Truth::Flag(FlagFact::OfClosedBatch), Some(Answer::Suspected)),
        ],
    }
}

fn counted(measure: VelocityMeasure, scope: Scope, kind: Option<&str>, least: i64) -> Truth {
    let velocity = Velocity { measure, scope, kind: kind.map(str::to_owned), minutes: MINUTES };
    let number = Number::Velocity(Box::new(velocity));
    Truth::Compare(Comparison::GreaterOrEqual, number, Number::Constant(least))
}

fn rule(id: &str, kind: &str, when: Truth, refusal: Option<Answer>) -> Rule {
    let of_kind = Truth::TextIn(TextFact::Kind, vec![kind.to_owned()]);
    let reason = Reason { zh: "模拟规则".to_owned(), en: "a rule of the simulation".to_owned() };
    let when = Truth::And(Box::new(of_kind), Box::new(when));
    Rule { id: id.to_owned(), when, refusal, reason, exceptions: Vec::new() }
}

/// What the rules say on what the disk remembers.
pub fn judge(rules: &RuleSet, question: &Question, store: &SimulatedStore) -> Screening {
    let past = |scope| match past_range(scope, question, MINUTES) {
        Some((from, until)) => store
            .between(acquirer::SPACE_PAST, from, until)
            .take(HISTORY_ENTRIES_MAX)
            .map(|value| Past::from_bytes(value).expect("the host wrote it"))
            .collect(),
        None => Vec::new(),
    };
    rules.judge(question, &History::new(past))
}
