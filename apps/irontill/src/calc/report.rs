//! What a calculation says: inputs, every step with its clause, the result, and how it compares.

use serde_json::{Map, Value, json};

/// A value that a report shows: bytes in upper-case hexadecimal, text as it is.
pub trait Show {
    /// The value in characters.
    fn shown(&self) -> String;
}

impl Show for [u8] {
    fn shown(&self) -> String {
        iso8583::describe::hex(self)
    }
}

impl<const N: usize> Show for [u8; N] {
    fn shown(&self) -> String {
        self[..].shown()
    }
}

impl Show for Vec<u8> {
    fn shown(&self) -> String {
        self[..].shown()
    }
}

impl Show for str {
    fn shown(&self) -> String {
        self.to_owned()
    }
}

impl Show for String {
    fn shown(&self) -> String {
        self.clone()
    }
}

/// One value between inputs and result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub name: String,
    /// The value.
    pub value: String,
    /// Where the rule stands.
    pub clause: &'static str,
}

/// How a result compares with what somebody else got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What was expected.
    pub expected: String,
    /// Whether the result is that.
    pub agrees: bool,
}

/// A calculation with everything it passed through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name of the calculation.
    pub calculation: &'static str,
    /// Inputs by name, as they were given.
    pub inputs: Vec<(&'static str, String)>,
    /// Values between, in order.
    pub steps: Vec<Step>,
    /// The result.
    pub result: String,
    /// Whether the result may be compared by its beginning: check values and MACs travel cut.
    pub may_be_cut: bool,
    /// False if something was to be verified and is not right.
    pub holds: bool,
    /// The comparison, if one was asked for.
    pub comparison: Option<Comparison>,
    /// What would make it agree.
    pub why: Option<String>,
}

impl Report {
    /// An empty report.
    pub fn new(calculation: &'static str) -> Self {
        Self {
            calculation,
            inputs: Vec::new(),
            steps: Vec::new(),
            result: String::new(),
            may_be_cut: false,
            holds: true,
            comparison: None,
            why: None,
        }
    }

    /// Notes an input.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &(impl Show + ?Sized)) -> Self {
        self.inputs.push((name, value.shown()));
        self
    }

    /// Notes an input that may be absent.
    #[must_use]
    pub fn with_given(self, name: &'static str, value: &Option<String>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a step.
    pub fn step(&mut self, name: impl Into<String>, value: &(impl Show + ?Sized), clause: &'static str) {
        self.steps.push(Step { name: name.into(), value: value.shown(), clause });
    }

    /// Sets the result.
    #[must_use]
    pub fn result(mut self, value: &(impl Show + ?Sized)) -> Self {
        self.result = value.shown();
        self
    }

    /// Sets a result that others may show cut.
    #[must_use]
    pub fn result_that_may_be_cut(mut self, value: &(impl Show + ?Sized)) -> Self {
        self.may_be_cut = true;
        self.result(value)
    }

    /// Says whether what was to be verified is right.
    #[must_use]
    pub fn holding(mut self, holds: bool) -> Self {
        self.holds = holds;
        self
    }

    /// True unless a comparison or a verification failed.
    pub fn agrees(&self) -> bool {
        self.holds && self.comparison.as_ref().is_none_or(|comparison| comparison.agrees)
    }

    /// The value of a step.
    #[cfg(test)]
    pub fn value_of(&self, name: &str) -> &str {
        let step = self.steps.iter().find(|step| step.name == name);
        &step.unwrap_or_else(|| panic!("no step {name:?} in {:#?}", self.steps)).value
    }

    /// For a program: the names are stable.
    pub fn to_json(&self) -> Value {
        let inputs: Map<String, Value> =
            self.inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
        let step = |step: &Step| json!({ "name": step.name, "value": step.value, "clause": step.clause });
        json!({
            "calculation": self.calculation,
            "inputs": inputs,
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "result": self.result,
            "expected": self.comparison.as_ref().map(|comparison| comparison.expected.clone()),
            "agrees": self.agrees(),
            "why": self.why,
        })
    }

    /// For a person.
    pub fn to_text(&self) -> String {
        let names = self.inputs.iter().map(|(name, _)| *name).chain(self.steps.iter().map(|step| step.name.as_str()));
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).max(RESULT.len());
        let values = self.steps.iter().map(|step| step.value.chars().count()).filter(|width| *width <= VALUE_WIDTH_MAX);
        let value_width = values.max().unwrap_or(0);
        let mut text = format!("── {} ──\n", self.calculation);
        for (name, value) in &self.inputs {
            text.push_str(&format!("{name:<width$}  {value}\n"));
        }
        text.push_str("── steps ──\n");
        for Step { name, value, clause } in &self.steps {
            let line = format!("{name:<width$}  {value:<value_width$}  {clause}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push_str(&format!("── {RESULT} ──\n{}\n", self.result));
        text.push_str(&self.verdict_text());
        text
    }

    fn verdict_text(&self) -> String {
        let mut text = String::new();
        match &self.comparison {
            Some(comparison) if comparison.agrees => text.push_str("as expected\n"),
            Some(comparison) => text.push_str(&format!("NOT as expected: {}\n", comparison.expected)),
            None => {}
        }
        if !self.holds {
            text.push_str("does NOT verify\n");
        }
        if let Some(why) = &self.why {
            text.push_str(&format!("why: {why}\n"));
        }
        text
    }
}

const RESULT: &str = "result";
/// Wider values do not push the clauses of the others aside.
const VALUE_WIDTH_MAX: usize = 48;
