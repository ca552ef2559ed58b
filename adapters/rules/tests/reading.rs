//! What is wrong with a file of rules is said with its rule, line and column.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use risk::{Scope, Truth};
use rules::read;

const KINDS: [&str; 3] = ["sale", "void", "refund"];

fn file(when: &str) -> String {
    format!("version = 1\n\nrule = one\nwhen = {when}\nthen = flag\nreason-zh = 一\nreason-en = one\n")
}

fn mistake(text: &str) -> String {
    read(text, &KINDS).unwrap_err().to_string()
}

fn in_condition(when: &str) -> String {
    mistake(&file(when))
}

#[test]
fn conditions_are_checked_word_by_word() {
    for (when, complaint) in [
        ("amout > 1", "rule one, line 4, column 8: no fact amout; there are kind, entry, "),
        ("amount > \"1\"", "rule one, line 4, column 17: expected a number, found a text"),
        ("kind == \"sales\"", "rule one, line 4, column 16: no such word \"sales\"; there are sale, void, refund"),
        ("amount", "rule one, line 4, column 8: expected true or false, found a number"),
        ("true && amount", "rule one, line 4, column 16: expected true or false, found a number"),
        ("amount >", "rule one, line 4, column "),
        ("amount > 1.5", "rule one, line 4, column 17: no fractions: amounts are in minor units"),
        ("kind == entry", "rule one, line 4, column 13: a text is compared with a fact on one side"),
        ("[1, 2].exists(x, x > 1)", "no loops: use count"),
        ("count(\"shop\", \"sale\", 60) > 1", "column 14: expected \"card\", \"terminal\" or \"merchant\""),
        ("count(\"card\", \"sale\", 43201) > 1", "column 30: a window has 1 to 43200 minutes"),
        ("count(\"card\", \"sale\", amount) > 1", "column 30: expected a number"),
        ("count(\"card\") > 1", "column 13: no function count with 1 values; there are count"),
        ("kind.matches(\"a\")", "no such function on a value: matches"),
        ("entry in [\"chip\", \"swipe\"]", "no such word \"swipe\"; there are chip, contactless"),
        ("merchant.name == \"x\"", "no fields: there is no .name"),
    ] {
        let said = in_condition(when);
        assert!(said.contains(complaint), "{when}: {said}");
    }
}

#[test]
fn a_condition_may_have_several_lines_and_a_mistake_keeps_its_place() {
    let said = in_condition("amount > 1\n    # a remark\n    && amuont < 5");
    assert!(said.starts_with("rule one, line 6, column 8: no fact amuont"), "{said}");
    assert!(read(&file("amount > 1\n    && amount < 5"), &KINDS).is_ok());
}

#[test]
fn files_are_checked_too() {
    for (text, complaint) in [
        ("rule = one\n".to_owned(), "line 1, column 8: expected `version = …` before the first rule"),
        ("version = 0\n".to_owned(), "line 1, column 11: expected a number from 1 on"),
        (
            "version = 1\nwhen = true\n".to_owned(),
            "line 2, column 1: expected `version = …` and `rule = …` before when",
        ),
        ("version = 1\nrule = One\n".to_owned(), "line 2, column 8: a rule's name has small letters"),
        ("nonsense\n".to_owned(), "line 1, column 1: expected key = value"),
        (
            file("true").replace("then = flag", "then = refuse 51"),
            "line 5, column 8: a refusal is answered 59, 61 or 65",
        ),
        (file("true").replace("then = flag\n", ""), "line 3, column 8: then is missing"),
        (file("true").replace("reason-zh = 一\n", ""), "line 3, column 8: reason-zh or reason-en is missing"),
        (file("true") + "when = false\n", "line 8, column 8: when is given twice"),
        (file("true") + "why = x\n", "line 8, column 1: no key why; there are when"),
        (file("true") + "except = amount < 1\n", "line 8, column 10: an exception needs except-zh and except-en"),
        (file("true") + "rule = one\n", "line 8, column 8: another rule has this name"),
        (file("true") + "merchants = 12\n", "line 8, column 13: 12 is no merchant of 15 characters"),
        (file("true") + "categories = 58\n", "line 8, column 14: expected categories of four digits"),
    ] {
        let said = mistake(&text);
        assert!(said.contains(complaint), "{text}: {said}");
    }
}

#[test]
fn a_rule_is_for_its_merchants_and_categories_and_looks_back_only_as_far_as_it_says() {
    let text =
        file("count(\"card\", \"sale\", 90) + between(\"card\", \"any\", 120, 1, amount) > 3 || repeats(10) > 0")
            + "merchants = 123456789012345, 123456789012346\ncategories = 5812, 6010-6012\n";
    let set = read(&text, &KINDS).unwrap();
    assert_eq!(Scope::ALL.map(|scope| set.minutes(scope)), [120, 10, 0]);
    assert!(matches!(&set.rules[0].when, Truth::And(_, _)));
}
