//! The file's lines: what is set to what, and where it stands.

/// What is wrong with a file of rules.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}line {line}, column {column}: {what}", in_rule(.rule))]
pub struct RuleError {
    /// The rule; empty before the first one.
    pub rule: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// Number of the character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

fn in_rule(rule: &str) -> String {
    if rule.is_empty() { String::new() } else { format!("rule {rule}, ") }
}

/// One setting.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub key: String,
    /// Its value; further lines as they stand, behind line ends.
    pub value: String,
    /// Where the value begins, from 1.
    pub line: usize,
    pub column: usize,
}

impl Setting {
    /// An error at this character of the value.
    pub fn error(&self, rule: &str, offset: usize, what: impl Into<String>) -> RuleError {
        let before: String = self.value.chars().take(offset).collect();
        let line = before.matches('\n').count();
        let last = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let column = if line == 0 { self.column + last } else { last + 1 };
        RuleError { rule: rule.to_owned(), line: self.line + line, column, what: what.into() }
    }
}

/// Every setting in order. Comments and empty lines are left out.
pub(crate) fn settings(text: &str) -> Result<Vec<Setting>, RuleError> {
    let mut settings: Vec<Setting> = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let trimmed = content.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if content.starts_with([' ', '\t']) {
            continue_with(&mut settings, content, line);
            continue;
        }
        let wrong = || RuleError { rule: String::new(), line, column: 1, what: "expected key = value".to_owned() };
        let (key, value) = content.split_once('=').ok_or_else(wrong)?;
        let indent = value.chars().take_while(|character| character.is_whitespace()).count();
        let column = key.chars().count() + 1 + indent + 1;
        settings.push(Setting { key: key.trim().to_owned(), value: value.trim().to_owned(), line, column });
    }
    Ok(settings)
}

/// Lines left out in between count, so that a mistake keeps its place.
fn continue_with(settings: &mut [Setting], content: &str, line: usize) {
    let Some(setting) = settings.last_mut() else { return };
    let lines = line - setting.line;
    let present = setting.value.matches('\n').count();
    setting.value.extend(std::iter::repeat_n('\n', lines - present));
    setting.value.push_str(content.trim_end());
}
