//! What somebody else got, to compare with.

/// Fewest characters that a cut value may have.
const CUT_CHARACTERS_MIN: usize = 4;

/// A value to compare with: hexadecimal or digits; spaces and case do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(String);

impl Expected {
    /// Takes what was given.
    pub fn new(text: &str) -> Self {
        Self(normal(text))
    }

    /// What was given.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `value` is it.
    pub fn is(&self, value: &str) -> bool {
        self.0 == normal(value)
    }

    /// Whether `value` is it or begins with it.
    pub fn begins(&self, value: &str) -> bool {
        self.0.len() >= CUT_CHARACTERS_MIN && normal(value).starts_with(&self.0)
    }

    /// As [`Self::begins`], of bytes.
    pub fn begins_bytes(&self, value: &[u8]) -> bool {
        self.begins(&iso8583::describe::hex(value))
    }

    /// As [`Self::is`], of bytes.
    pub fn is_bytes(&self, value: &[u8]) -> bool {
        self.is(&iso8583::describe::hex(value))
    }
}

fn normal(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_ascii_uppercase())
        .collect()
}
