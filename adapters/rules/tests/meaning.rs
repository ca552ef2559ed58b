//! Conditions mean here what they mean to the language's own interpreter: random ones are worked out by both.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cel::{Context, Program, Value};
use ledger::{Intent, MessageClass};
use risk::{Entry, History, Question};
use types::{Amount, BatchNumber, CardToken, Currency, MerchantId, Stan, TerminalId};

const CONDITIONS: u64 = 1_000;
const DEPTH: u32 = 4;

/// A small generator of numbers (xorshift), the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }

    fn number(&mut self, depth: u32) -> String {
        match if depth == 0 { 0 } else { self.below(4) } {
            0 => self.of(&["amount", "hour", "category", "original_amount"]).to_owned(),
            1 => self.of(&["0", "1", "12", "-7", "5812", "9223372036854775807", "4611686018427387904"]).to_owned(),
            2 => format!("-({})", self.number(depth - 1)),
            _ => {
                let operator = self.of(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.number(depth - 1), self.number(depth - 1))
            }
        }
    }

    fn truth(&mut self, depth: u32) -> String {
        match if depth == 0 { self.below(4) } else { self.below(9) } {
            0 => self.of(&["of_closed_batch", "original_found", "true", "false"]).to_owned(),
            1 => format!("kind {} \"{}\"", self.of(&["==", "!="]), self.of(&["sale", "void"])),
            2 => format!("merchant.startsWith(\"{}\")", self.of(&["", "1234", "99"])),
            3 => format!("{} in [12, 5812, -7]", self.number(0)),
            4 => format!("!({})", self.truth(depth - 1)),
            5 => format!("({}) {} ({})", self.truth(depth - 1), self.of(&["==", "!="]), self.truth(depth - 1)),
            6 | 7 => format!("({}) {} ({})", self.truth(depth - 1), self.of(&["&&", "||"]), self.truth(depth - 1)),
            _ => {
                let comparison = self.of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {comparison} {}", self.number(depth - 1), self.number(depth - 1))
            }
        }
    }
}

fn question() -> Question {
    let intent = Intent {
        terminal: TerminalId::parse("12345678").unwrap(),
        merchant: MerchantId::parse("123456789012345").unwrap(),
        batch: BatchNumber::new(1).unwrap(),
        stan: Stan::new(1).unwrap(),
        class: MessageClass::Financial,
    };
    Question {
        intent,
        kind: "sale".to_owned(),
        card: Some(CardToken([1; 16])),
        amount: Amount::from_minor(1_250, Currency::CNY).unwrap(),
        entry: Entry::Chip,
        category: 5812,
        hour: 12,
        original: None,
        of_closed_batch: true,
        refused_by: String::new(),
        wall_ms: 0,
    }
}

/// What the language's own interpreter says; none for an error.
fn interpreted(condition: &str) -> Option<bool> {
    let mut context = Context::default();
    for (name, value) in [("amount", 1_250), ("hour", 12), ("category", 5812), ("original_amount", 0)] {
        context.add_variable_from_value(name, i64::from(value));
    }
    context.add_variable_from_value("kind", "sale".to_owned());
    context.add_variable_from_value("merchant", "123456789012345".to_owned());
    context.add_variable_from_value("of_closed_batch", true);
    context.add_variable_from_value("original_found", false);
    match Program::compile(condition).unwrap().execute(&context) {
        Ok(Value::Bool(value)) => Some(value),
        _ => None,
    }
}

#[test]
fn random_conditions_mean_the_same_to_both() {
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    let (question, history) = (question(), History::default());
    let (mut errors, mut truths) = (0, 0);
    for _ in 0..CONDITIONS {
        let condition = draw.truth(DEPTH);
        let text =
            format!("version = 1\nrule = one\nwhen = {condition}\nthen = flag\nreason-zh = 一\nreason-en = one\n");
        let set = rules::read(&text, &["sale", "void"]).unwrap_or_else(|mistake| panic!("{condition}: {mistake}"));
        let ours = set.rules[0].when.of(&question, &history).ok();
        assert_eq!(ours, interpreted(&condition), "{condition}");
        errors += u64::from(ours.is_none());
        truths += u64::from(ours == Some(true));
    }
    assert!(errors > CONDITIONS / 100 && truths > CONDITIONS / 10, "{errors} errors, {truths} truths");
}
