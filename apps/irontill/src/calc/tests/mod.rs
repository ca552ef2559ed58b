//! Each calculation against published vectors, and the explanations against inputs that were changed on purpose.

mod card;
mod emv;
mod keys;
mod macs;
mod national;
mod refusals;
mod why;

use super::{Calc, Report};
use crate::verdict::Misuse;
use clap::Parser;
use serde_json::Value;
use std::path::Path;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    calc: Calc,
}

/// What the command line `keys calc …` says.
fn try_calc(words: &[&str]) -> Result<Report, Misuse> {
    let line = Line::try_parse_from([&["calc"][..], words].concat());
    line.map_err(|usage| Misuse(usage.to_string()))?.calc.report()
}

fn calc(words: &[&str]) -> Report {
    try_calc(words).unwrap_or_else(|misuse| panic!("{words:?}: {misuse}"))
}

/// The result, which an `--expect` agrees with.
fn result(words: &[&str]) -> String {
    let report = calc(words);
    let checked = calc(&[words, &["--expect", &report.result]].concat());
    assert!(checked.agrees() || !report.holds, "{words:?}");
    report.result
}

/// Published cases of one type that are to be accepted.
fn published(file: &str, kind: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proof/vectors/data");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let accepted = |case: &Value| case["malformed"] != true && !matches!(case["result"].as_str(), Some("invalid"));
    let cases: Vec<Value> = cases.into_iter().filter(|case| case["type"] == kind && accepted(case)).collect();
    assert!(!cases.is_empty(), "no {kind} in {file}");
    cases
}

/// A text field.
fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("no {name} in {case}"))
}

/// A field as text behind `text:`.
fn as_text(case: &Value, name: &str) -> String {
    format!("text:{}", text(case, name))
}
