//! Reading one vector object, and judging what the product made of it.

use crate::Outcome;
use serde_json::Value;

/// Why a check did not go through.
pub enum Problem {
    /// The object lacks something the type needs.
    Unrunnable(String),
    /// The product refused the input.
    Refused(String),
    /// The product's answer is another one.
    Differs(String),
    /// Nothing is built for this; the reason says what is missing.
    NotBuilt(String),
}

/// What a check of one case gives.
pub type Check<T = ()> = Result<T, Problem>;

/// An error of the product is a refusal.
pub fn refused(error: impl core::fmt::Display) -> Problem {
    Problem::Refused(error.to_string())
}

/// A view of one object with typed access to its fields.
#[derive(Clone, Copy)]
pub struct Case<'a>(pub &'a Value);

impl<'a> Case<'a> {
    /// The case's type.
    pub fn kind(self) -> &'a str {
        self.0["type"].as_str().unwrap_or_default()
    }

    /// The nested object of this name.
    pub fn inside(self, name: &str) -> Self {
        Self(&self.0[name])
    }

    /// Whether the field is there and not null.
    pub fn has(self, name: &str) -> bool {
        !self.0[name].is_null()
    }

    /// A text field.
    pub fn text(self, name: &str) -> Check<&'a str> {
        self.0[name].as_str().ok_or_else(|| Problem::Unrunnable(format!("no text field {name}")))
    }

    /// A number, given as such or as decimal text.
    pub fn number(self, name: &str) -> Check<u64> {
        let value = &self.0[name];
        let from_text = || value.as_str().and_then(|text| text.parse().ok());
        value.as_u64().or_else(from_text).ok_or_else(|| Problem::Unrunnable(format!("no number {name}")))
    }

    /// A hexadecimal field; bad hexadecimal is an input that gets refused.
    pub fn bytes(self, name: &str) -> Check<Vec<u8>> {
        unhex(self.text(name)?).ok_or_else(|| Problem::Refused(format!("{name} is not hexadecimal")))
    }

    /// A hexadecimal field that may be missing.
    pub fn bytes_or_empty(self, name: &str) -> Check<Vec<u8>> {
        if self.has(name) { self.bytes(name) } else { Ok(Vec::new()) }
    }

    /// A hexadecimal field of exactly `N` bytes.
    pub fn array<const N: usize>(self, name: &str) -> Check<[u8; N]> {
        let bytes = self.bytes(name)?;
        let length = bytes.len();
        bytes.try_into().map_err(|_| Problem::Refused(format!("{name} has {length} bytes, not {N}")))
    }

    /// The published value must start with, or equal, what the product computed: published values may be truncated.
    pub fn expect_leading_bytes(self, name: &str, computed: &[u8]) -> Check {
        let published = self.bytes(name)?;
        if !published.is_empty() && computed.starts_with(&published) {
            Ok(())
        } else {
            Err(differs(name, computed, &published))
        }
    }

    /// The published value must equal what the product computed.
    pub fn expect_bytes(self, name: &str, computed: &[u8]) -> Check {
        let published = self.bytes(name)?;
        if published == computed { Ok(()) } else { Err(differs(name, computed, &published)) }
    }

    /// As [`Case::expect_bytes`], if the value is published.
    pub fn expect_bytes_if_given(self, name: &str, computed: &[u8]) -> Check {
        if self.has(name) { self.expect_bytes(name, computed) } else { Ok(()) }
    }

    /// The published text must equal what the product computed.
    pub fn expect_text(self, name: &str, computed: &str) -> Check {
        let published = self.text(name)?;
        if published == computed {
            Ok(())
        } else {
            Err(Problem::Differs(format!("{name}: computed {computed}, published {published}")))
        }
    }
}

fn differs(name: &str, computed: &[u8], published: &[u8]) -> Problem {
    Problem::Differs(format!("{name}: computed {}, published {}", hex(computed), hex(published)))
}

/// Judges a finished check: a malformed case passes exactly when the product refused or contradicted it.
pub fn judge(case: Case<'_>, check: Check) -> Outcome {
    let malformed = case.0["malformed"] == true || case.0["result"] == "invalid";
    let either_way = case.0["result"] == "acceptable";
    match check {
        Err(Problem::NotBuilt(why)) => Outcome::Skipped(why),
        Err(Problem::Unrunnable(why)) if malformed => Outcome::Failed(format!("accepted, though malformed ({why})")),
        Err(Problem::Unrunnable(why)) => Outcome::Failed(format!("cannot be run: {why}")),
        _ if either_way => Outcome::Passed,
        Ok(()) if malformed => Outcome::Failed("accepted, though malformed".to_owned()),
        Err(_) if malformed => Outcome::Passed,
        Ok(()) => Outcome::Passed,
        Err(Problem::Refused(why)) => Outcome::Failed(format!("refused: {why}")),
        Err(Problem::Differs(why)) => Outcome::Failed(why),
    }
}

/// As [`judge`], and a malformed case must be refused for its reason: where the reason holds the first text of a row of
/// `refusals`, the product's error must hold the second.
pub fn judge_kind(case: Case<'_>, check: Check, refusals: &[(&str, &str)]) -> Outcome {
    let reason = case.0["reason"].as_str().unwrap_or_default();
    let row = refusals.iter().find(|(fragment, _)| reason.contains(fragment));
    let malformed = case.0["malformed"] == true;
    match (&check, row) {
        (Err(Problem::Refused(why)), Some((_, wanted))) if malformed && !why.contains(wanted) => {
            Outcome::Failed(format!("refused for another reason: {why}"))
        }
        _ => judge(case, check),
    }
}

/// A type that the table sends here but nobody runs.
pub fn unknown(case: Case<'_>) -> Check {
    Err(Problem::NotBuilt(format!("unknown type {}", case.kind())))
}

/// Upper-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The bytes of a hexadecimal text.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Area = (&'static str, fn(&Value) -> Outcome);

    const PUBLISHED: &[&str] = &[
        "output",
        "arqc",
        "mac_field64",
        "mac",
        "padded",
        "enciphered_pin_block",
        "format4_enciphered",
        "pan_field",
        "pin_field_first8",
        "pin",
        "pin_block",
        "cvv",
        "cvc3",
        "pvv",
        "offset",
        "tag",
        "shared_key",
        "r",
        "c2",
        "digest",
        "ciphertext",
        "kcv_zero_block",
        "x",
        "wrapped",
        "kcv8",
        "kcv3",
        "kcv_cmac5",
        "adjusted",
        "result",
        "tmk",
        "mak",
        "key",
    ];

    /// The case with the last character of what it publishes changed.
    fn spoilt(case: &Value) -> Value {
        let name = PUBLISHED.iter().find(|name| case[**name].as_str().is_some_and(|text| !text.is_empty()));
        let name = *name.unwrap_or_else(|| panic!("{} publishes nothing known", case["id"]));
        let mut text = case[name].as_str().map(str::to_owned).expect("found as text");
        let last = text.pop().expect("not empty");
        text.push(if last == '0' { '1' } else { '0' });
        let mut spoilt = case.clone();
        spoilt[name] = Value::String(text);
        spoilt
    }

    #[test]
    fn every_valid_case_fails_when_its_published_value_is_changed() {
        let runners: [Area; 6] = [
            ("mac", crate::mac::run),
            ("pin-blocks", crate::pin_blocks::run),
            ("key-mgmt", crate::key_mgmt::run),
            ("emv-crypto", crate::emv_crypto::run),
            ("card-verification", crate::card_verification::run),
            ("sm", crate::sm::run),
        ];
        for (area, run) in runners {
            let path = format!("{}/data/{area}.json", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read(path).expect("the vector file is there");
            let cases: Vec<Value> = serde_json::from_slice(&text).expect("a JSON array");
            let valid = |case: &&Value| case["malformed"] != true && case["result"] != "invalid";
            for case in cases.iter().filter(valid) {
                let outcome = run(&spoilt(case));
                assert!(matches!(outcome, Outcome::Failed(_)), "{}: {outcome:?}", case["id"]);
            }
        }
    }
}
