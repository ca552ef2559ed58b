//! Risk rules as the machine meets them: when they are asked, what their word does, what stays on record.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use acquirer::{HostConfig, MerchantPolicy, Record, RuleUse, SPACE_PAST, Stored, explain};
use iso8583::unionpay::Body;
use machine::MachineId;
use machine::store::Store;
use machine::wire::Encode;
use risk::{
    Answer, Comparison, FlagFact, Number, NumberFact, Reason, Rule, RuleSet, Scope, TextFact, Truth, Velocity,
    VelocityMeasure,
};
use std::sync::Arc;
use support::{Cut, OTHER_PAN, PAN, World, merchant};

const TODAY: u16 = 315;

fn is(kind: &str) -> Truth {
    Truth::TextIn(TextFact::Kind, vec![kind.to_owned()])
}

fn at_least(measure: VelocityMeasure, scope: Scope, kind: &str, least: i64) -> Truth {
    let velocity = Velocity { measure, scope, kind: Some(kind.to_owned()), minutes: 60 };
    let number = Number::Velocity(Box::new(velocity));
    Truth::Compare(Comparison::GreaterOrEqual, number, Number::Constant(least))
}

fn rule(id: &str, kind: &str, when: Truth, refusal: Option<Answer>) -> Rule {
    let when = Truth::And(Box::new(is(kind)), Box::new(when));
    let reason = Reason { zh: format!("规则{id}"), en: format!("rule {id}") };
    Rule { id: id.to_owned(), when, refusal, reason, exceptions: Vec::new() }
}

fn rules() -> RuleSet {
    let repeats = at_least(VelocityMeasure::Repeats, Scope::Terminal, "sale", 1);
    let many = at_least(VelocityMeasure::Count, Scope::Card, "sale", 3);
    let refunds = at_least(VelocityMeasure::Declined, Scope::Terminal, "refund", 1);
    let large = Truth::Compare(Comparison::Greater, Number::Fact(NumberFact::Amount), Number::Constant(50_000));
    RuleSet {
        version: 7,
        rules: vec![
            rule("again", "sale", repeats, None),
            rule("often", "sale", many, Some(Answer::Frequency)),
            rule("large", "sale", large, Some(Answer::Amount)),
            rule("fishing", "refund", refunds, Some(Answer::Suspected)),
            rule("late-void", "void", Truth::Flag(FlagFact::OfClosedBatch), Some(Answer::Suspected)),
        ],
    }
}

/// A world whose merchants' rules are of this use.
fn world(rules_are: RuleUse) -> World {
    let mut world = World::enrolled();
    set_policy(&mut world, MerchantPolicy { rules: rules_are, category: 5812, ..MerchantPolicy::default() });
    world.host.rules = rules();
    world.sign_in();
    world
}

fn set_policy(world: &mut World, policy: MerchantPolicy) {
    let mut config = HostConfig::clone(&world.host.config);
    config.policies.merchants.insert(merchant(), policy);
    world.host.config = Arc::new(config);
    world.host.machines.clear();
}

fn sell(world: &mut World, minor: u64) -> (Body, Body) {
    let request = world.terminal.sale(PAN, minor);
    let copy = request.duplicate();
    (copy, world.send(request).body())
}

fn code(answer: &Body) -> String {
    String::from_utf8(answer.response_code.unwrap().to_vec()).unwrap()
}

/// The newest decision on record.
fn last_decision(world: &mut World) -> acquirer::Decision {
    let journal = world.store.load(MachineId::of_terminal(world.terminal.id)).unwrap();
    let records = journal.records.iter().rev().map(|bytes| Record::from_bytes(bytes).unwrap());
    let mut decisions = records.filter_map(|record| match record {
        Record::Decided(decision) => Some(*decision),
        _ => None,
    });
    decisions.next().unwrap()
}

fn rules_that_applied(world: &mut World) -> Vec<String> {
    let screening = last_decision(world).screening.unwrap();
    assert_eq!(screening.version, 7);
    screening.findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_host_without_rules_asks_nobody_and_keeps_no_past() {
    let mut world = world(RuleUse::Off);
    assert_eq!(code(&sell(&mut world, 60_000).1), "00");
    assert!(world.host.questions.is_empty());
    assert_eq!(last_decision(&mut world).screening, None);
    assert_eq!(remembered(&world), 0);
}

/// Rows that risk rules look back on.
fn remembered(world: &World) -> usize {
    world.store.facts.keys().filter(|(space, _)| space == SPACE_PAST).count()
}

#[test]
fn a_reversal_is_remembered_where_rules_are_asked_and_says_so_on_record() {
    for (rules_are, expected) in [(RuleUse::Off, 0), (RuleUse::Flag, Scope::ALL.len())] {
        let mut world = world(rules_are);
        let (sale, _) = sell(&mut world, 60_000);
        let before = remembered(&world);
        let reversal = world.terminal.reversal(&sale, b"98");
        assert_eq!(world.code(reversal), "00");
        assert_eq!(remembered(&world) - before, expected, "{rules_are:?}");
        let journal = world.store.load(MachineId::of_terminal(world.terminal.id)).unwrap();
        let record = Record::from_bytes(journal.records.last().unwrap()).unwrap();
        let Record::Reversed(reversal) = &record else { panic!("{record:?}") };
        assert_eq!(reversal.remembered, expected > 0);
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record.clone()));
    }
}

#[test]
fn a_flag_lets_it_pass_and_stays_on_record_with_its_reason() {
    let mut world = world(RuleUse::Refuse);
    sell(&mut world, 1_250);
    assert_eq!(rules_that_applied(&mut world), [""; 0]);
    assert_eq!(code(&sell(&mut world, 1_250).1), "00");
    assert_eq!(rules_that_applied(&mut world), ["again"]);
    let decision = last_decision(&mut world);
    assert_eq!(decision.rule, issuer::Rule::Approved.id());
    let lines = explain(&Record::Decided(Box::new(decision)));
    let risk = lines.iter().find(|(topic, _)| topic == "risk").unwrap();
    assert_eq!(risk.1, "flagged 已标记: again (rules version 7): 规则again / rule again");
    let question = world.host.questions.last().unwrap();
    assert_eq!((question.category, question.hour, question.refused_by.as_str()), (5812, 9, ""));
}

#[test]
fn a_refusal_moves_nothing_and_is_answered_by_its_code_again_and_again() {
    let mut world = world(RuleUse::Refuse);
    let before = world.payable();
    let (request, answer) = sell(&mut world, 60_000);
    assert_eq!((code(&answer).as_str(), world.payable()), ("61", before));
    assert_eq!(last_decision(&mut world).rule, "risk.amount");
    world.host.rules = RuleSet::default();
    assert_eq!(world.code(request.duplicate()), "61", "a copy gets the stored answer, whatever the rules say by now");
    for minor in [100, 200, 300] {
        assert_eq!(code(&sell(&mut world, minor).1), "00");
    }
    world.host.rules = rules();
    assert_eq!(code(&sell(&mut world, 400).1), "65", "the fourth sale of one card");
    let other = world.terminal.sale(OTHER_PAN, 400);
    assert_eq!(world.code(other), "00", "another card");
}

#[test]
fn a_merchant_whose_policy_flags_is_not_refused() {
    let mut world = world(RuleUse::Flag);
    assert_eq!(code(&sell(&mut world, 60_000).1), "00");
    let screening = last_decision(&mut world).screening.unwrap();
    assert_eq!(screening.findings[0].kind, risk::FindingKind::Softened(Answer::Amount));
}

#[test]
fn what_was_voided_or_reversed_is_not_a_duplicate() {
    let mut world = world(RuleUse::Refuse);
    let (request, answer) = sell(&mut world, 1_250);
    let void = world.terminal.void(PAN, 1_250, request.trace.unwrap(), answer.rrn.unwrap());
    let void_copy = void.duplicate();
    assert_eq!(world.code(void), "00");
    let (second, _) = sell(&mut world, 1_250);
    assert_eq!(rules_that_applied(&mut world), [""; 0], "the first was voided");
    let reversal = world.terminal.reversal(&second, b"98");
    assert_eq!(world.code(reversal), "00");
    sell(&mut world, 1_250);
    assert_eq!(rules_that_applied(&mut world), [""; 0], "the second was reversed");
    let reversal = world.terminal.reversal(&void_copy, b"98");
    assert_eq!(world.code(reversal), "00");
    sell(&mut world, 1_250);
    assert!(rules_that_applied(&mut world).contains(&"again".to_owned()), "the void was reversed: the first stands");
}

#[test]
fn rules_hear_of_what_is_refused_already_and_can_only_flag_it() {
    let mut world = world(RuleUse::Refuse);
    let (_, sale) = sell(&mut world, 1_250);
    let foreign = world.terminal.refund(OTHER_PAN, 1_250, sale.rrn.unwrap(), TODAY);
    assert_eq!(world.code(foreign), "12", "another card");
    assert_eq!(world.host.questions.last().unwrap().refused_by, "original.other-card");
    let honest = world.terminal.refund(PAN, 1_250, sale.rrn.unwrap(), TODAY);
    assert_eq!(world.code(honest), "59", "somebody fishes for refunds at this terminal");
    let original = world.host.questions.last().unwrap().original.unwrap();
    assert_eq!((original.amount_minor, original.elsewhere), (1_250, false));
    world.terminal.batch += 1;
    let mut late = world.terminal.void(PAN, 1_250, 2, sale.rrn.unwrap());
    late.f60 = late.f60.map(|f60| f60.with_batch(1));
    assert_eq!(world.code(late), "25", "the void is refused by the acquirer's own rule");
    assert_eq!(rules_that_applied(&mut world), ["late-void"]);
}

#[test]
fn a_merchant_may_be_forbidden_voids_and_refunds() {
    let mut world = world(RuleUse::Off);
    let (request, sale) = sell(&mut world, 1_250);
    set_policy(&mut world, MerchantPolicy { voids: false, refunds: false, ..MerchantPolicy::default() });
    let void = world.terminal.void(PAN, 1_250, request.trace.unwrap(), sale.rrn.unwrap());
    assert_eq!(world.code(void), "58");
    let refund = world.terminal.refund(PAN, 1_250, sale.rrn.unwrap(), TODAY);
    assert_eq!(world.code(refund), "58");
    set_policy(&mut world, MerchantPolicy { refund_days: 0, ..MerchantPolicy::default() });
    world.host.now.wall_ms += 1_000;
    let refund = world.terminal.refund(PAN, 1_250, sale.rrn.unwrap(), TODAY);
    assert_eq!(world.code(refund), "12", "too late for this merchant");
}

#[test]
fn a_power_cut_after_the_rules_spoke_changes_nothing() {
    let mut world = world(RuleUse::Refuse);
    let request = world.terminal.sale(PAN, 60_000);
    let copy = request.duplicate();
    world.host.cut = Cut::AfterAppend;
    world.send(request);
    world.host.cut = Cut::Never;
    let asked = world.host.questions.len();
    assert_eq!(world.code(copy), "61");
    assert_eq!(world.host.questions.len(), asked, "a stored answer needs no rules");
}

#[test]
fn a_screened_decision_comes_back_from_its_bytes_and_an_older_one_has_no_screening() {
    let mut world = world(RuleUse::Refuse);
    sell(&mut world, 60_000);
    let decision = last_decision(&mut world);
    let stored = Stored::Decision(Box::new(decision.clone()));
    assert_eq!(Stored::from_bytes(&stored.to_bytes()), Ok(stored));
    let unscreened = acquirer::Decision { screening: None, ..decision.clone() };
    assert_eq!(acquirer::Decision::from_bytes(&unscreened.to_bytes()), Ok(unscreened.clone()));
    assert!(decision.to_bytes().len() > unscreened.to_bytes().len());
}
