//! Every shipped rule has a case in which it speaks, and one just beside it in which it does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ledger::{Intent, MessageClass};
use risk::{Answer, Entry, FindingKind, Memory, Past, Question, RuleSet};
use rules::STANDARD_RULES;
use types::{Amount, BatchNumber, CardToken, Currency, MerchantId, Stan, TerminalId};

const KINDS: [&str; 8] = [
    "sale",
    "void",
    "refund",
    "pre-authorisation",
    "balance inquiry",
    "completion void",
    "instalment sale",
    "instalment void",
];
const NOON_MS: u64 = 1_773_547_200_000;
const MINUTE_MS: u64 = 60_000;

/// A terminal at a shop, and what it remembers.
struct Shop {
    rules: RuleSet,
    memory: Memory,
    stan: u32,
    now_ms: u64,
    category: u16,
    hour: u8,
}

impl Shop {
    fn new() -> Self {
        let rules = rules::read(STANDARD_RULES, &KINDS).unwrap();
        Self { rules, memory: Memory::default(), stan: 0, now_ms: NOON_MS, category: 5999, hour: 12 }
    }

    fn question(&mut self, kind: &str, card: u8, minor: u64) -> Question {
        self.stan += 1;
        self.now_ms += 1_000;
        let intent = Intent {
            terminal: TerminalId::parse("12345678").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            batch: BatchNumber::new(1).unwrap(),
            stan: Stan::new(self.stan).unwrap(),
            class: MessageClass::Financial,
        };
        Question {
            intent,
            kind: kind.to_owned(),
            card: Some(CardToken([card; 16])),
            amount: Amount::from_minor(minor, Currency::CNY).unwrap(),
            entry: Entry::Chip,
            category: self.category,
            hour: self.hour,
            original: None,
            of_closed_batch: false,
            refused_by: String::new(),
            wall_ms: self.now_ms,
        }
    }

    /// Asks, and remembers the transaction with this end.
    fn tell(&mut self, question: &Question, approved: bool) -> Vec<(String, FindingKind)> {
        let minutes = |scope| self.rules.minutes(scope);
        let screening = self.rules.judge(question, &self.memory.history(question, minutes));
        self.memory.add(&Past {
            intent: question.intent,
            kind: question.kind.clone(),
            card: question.card,
            amount: question.amount,
            approved,
            undoes: None,
            wall_ms: question.wall_ms,
        });
        screening.findings.into_iter().map(|finding| (finding.rule, finding.kind)).collect()
    }

    fn approved(&mut self, kind: &str, card: u8, minor: u64) -> Vec<(String, FindingKind)> {
        let question = self.question(kind, card, minor);
        self.tell(&question, true)
    }

    fn declined(&mut self, kind: &str, card: u8, minor: u64) -> Vec<(String, FindingKind)> {
        let question = self.question(kind, card, minor);
        self.tell(&question, false)
    }

    fn wait(&mut self, minutes: u64) {
        self.now_ms += minutes * MINUTE_MS;
    }
}

fn said(rule: &str, kind: FindingKind) -> Vec<(String, FindingKind)> {
    vec![(rule.to_owned(), kind)]
}

const NOTHING: Vec<(String, FindingKind)> = Vec::new();

#[test]
fn duplicate() {
    let mut shop = Shop::new();
    assert_eq!(shop.approved("sale", 1, 12_500), NOTHING);
    assert_eq!(shop.approved("sale", 1, 12_500), said("duplicate", FindingKind::Flagged));
    assert_eq!(shop.approved("sale", 2, 12_500), NOTHING, "another card");
    assert_eq!(shop.approved("sale", 1, 12_501), NOTHING, "another amount");
    shop.wait(11);
    assert_eq!(shop.approved("sale", 1, 12_500), NOTHING, "later");
    assert_eq!(shop.declined("sale", 3, 9_900), NOTHING);
    assert_eq!(shop.approved("sale", 3, 9_900), NOTHING, "the first was declined");
    assert_eq!(shop.approved("sale", 4, 2_000), NOTHING);
    assert_eq!(shop.approved("sale", 4, 2_000), said("duplicate", FindingKind::Excused), "the known false alarm");
}

#[test]
fn card_velocity() {
    let mut shop = Shop::new();
    for minor in 1..=10 {
        assert_eq!(shop.approved("sale", 1, 3_000 + minor), NOTHING);
    }
    let refused = FindingKind::Refused(Answer::Frequency);
    assert_eq!(shop.approved("sale", 1, 4_000), said("card-velocity", refused));
    assert_eq!(shop.approved("sale", 2, 4_000), NOTHING, "another card");
    shop.wait(61);
    assert_eq!(shop.approved("sale", 1, 4_000), NOTHING, "an hour later");
}

#[test]
fn card_testing() {
    let mut shop = Shop::new();
    for minor in 1..=5 {
        assert_eq!(shop.declined("sale", 1, 3_000 + minor), NOTHING);
    }
    let refused = || said("card-testing", FindingKind::Refused(Answer::Suspected));
    assert_eq!(shop.declined("sale", 1, 1), refused(), "one card again and again");
    let mut shop = Shop::new();
    for card in 1..=15 {
        assert_eq!(shop.declined("sale", card, 100), NOTHING);
    }
    assert_eq!(shop.declined("sale", 16, 100), refused(), "card after card");
    let mut shop = Shop::new();
    for card in 1..=16 {
        assert_eq!(shop.declined("sale", card % 4, 100 + u64::from(card)), NOTHING, "four cards of bad luck");
    }
}

#[test]
fn split_to_limit() {
    let mut shop = Shop::new();
    assert_eq!(shop.approved("sale", 1, 99_000), NOTHING);
    assert_eq!(shop.approved("sale", 1, 98_000), NOTHING);
    assert_eq!(shop.approved("sale", 1, 100_000), NOTHING, "not below the limit");
    assert_eq!(shop.approved("sale", 1, 79_999), NOTHING, "not just below it");
    let refused = FindingKind::Refused(Answer::Amount);
    assert_eq!(shop.approved("sale", 1, 97_000), said("split-to-limit", refused));
    assert_eq!(shop.approved("sale", 2, 96_000), NOTHING, "another card");
}

#[test]
fn cash_out() {
    let mut shop = Shop::new();
    assert_eq!(shop.approved("sale", 1, 1_000_000), NOTHING);
    assert_eq!(shop.approved("sale", 1, 1_500_000), NOTHING);
    assert_eq!(shop.approved("sale", 1, 500_001), NOTHING, "not round");
    assert_eq!(shop.approved("sale", 1, 510_000), said("cash-out", FindingKind::Flagged));
    shop.category = 7011;
    assert_eq!(shop.approved("sale", 1, 520_000), said("cash-out", FindingKind::Excused), "a hotel");
    shop.category = 5999;
    shop.hour = 5;
    assert_eq!(shop.approved("sale", 2, 500_000), said("cash-out", FindingKind::Flagged), "by night");
    assert_eq!(shop.approved("sale", 3, 490_000), NOTHING, "not large");
}

#[test]
fn refund_abuse() {
    let mut shop = Shop::new();
    assert_eq!(shop.approved("sale", 100, 60_000), NOTHING);
    for card in 1..=5 {
        assert_eq!(shop.approved("refund", card, 5_000), NOTHING);
    }
    assert_eq!(shop.declined("refund", 6, 5_000), NOTHING, "half of the sales");
    let refused = FindingKind::Refused(Answer::Suspected);
    assert_eq!(shop.approved("refund", 7, 5_001), said("refund-abuse", refused));
    assert_eq!(shop.approved("sale", 101, 70_000), NOTHING);
    assert_eq!(shop.approved("refund", 8, 5_001), NOTHING, "the sales are large enough");
}

#[test]
fn refund_to_one_card() {
    let mut shop = Shop::new();
    assert_eq!(shop.approved("sale", 100, 6_000_001), NOTHING);
    for minor in 1..=3 {
        assert_eq!(shop.approved("refund", 1, minor), NOTHING);
    }
    assert_eq!(shop.approved("refund", 2, 4), NOTHING, "another card");
    assert_eq!(shop.approved("refund", 1, 4), said("refund-to-one-card", FindingKind::Flagged));
}

#[test]
fn refund_fishing() {
    let mut shop = Shop::new();
    assert_eq!(shop.declined("refund", 1, 100), NOTHING);
    assert_eq!(shop.declined("refund", 2, 100), NOTHING, "one mistake");
    assert_eq!(shop.declined("refund", 3, 100), said("refund-fishing", FindingKind::Flagged));
}

#[test]
fn void_after_settle() {
    let mut shop = Shop::new();
    let question = shop.question("void", 1, 100);
    assert_eq!(shop.tell(&question, true), NOTHING);
    let late = Question { of_closed_batch: true, ..shop.question("void", 1, 100) };
    assert_eq!(shop.tell(&late, false), said("void-after-settle", FindingKind::Refused(Answer::Suspected)));
    let refused = Question { refused_by: "original.missing".to_owned(), ..late };
    let softened = said("void-after-settle", FindingKind::Softened(Answer::Suspected));
    assert_eq!(shop.tell(&refused, false), softened, "what is refused already can only be flagged");
}

#[test]
fn every_shipped_rule_has_its_test() {
    let tests = include_str!("standard.rs");
    for rule in &Shop::new().rules.rules {
        let name = format!("fn {}()", rule.id.replace('-', "_"));
        assert!(tests.contains(&name), "{name}");
    }
}
