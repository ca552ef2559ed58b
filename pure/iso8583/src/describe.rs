//! A message in words: one line a field, masked unless test data is to be shown.

use crate::error::FieldPath;
use crate::message::{Field, Message};
use crate::spec::Sensitivity;

/// Whether sensitive values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// Account data, PIN blocks and keys are masked: for everyone.
    Masked,
    /// Everything is shown: for published test data only.
    TestData,
}

/// One line of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which element: `mti`, `2`, `60.1`.
    pub path: String,
    /// English name.
    pub name: &'static str,
    /// Chinese name.
    pub name_zh: &'static str,
    /// The value, masked as told.
    pub value: String,
    /// What the value means, where that is known.
    pub meaning: String,
}

impl Line {
    /// A line without a meaning.
    #[must_use]
    pub fn new(path: FieldPath, name: &'static str, name_zh: &'static str, value: String) -> Self {
        Self { path: path.to_string(), name, name_zh, value, meaning: String::new() }
    }

    /// The same line with a meaning.
    #[must_use]
    pub fn meaning(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = meaning.into();
        self
    }
}

/// Header, message type, bitmap and every field of a message of any dialect.
#[must_use]
pub fn describe(message: &Message<'_>, disclosure: Disclosure) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(header) = message.header() {
        lines.push(Line::new(FieldPath::Header, "header", "报文头", text(&header)));
    }
    lines.push(mti_line(message));
    lines.push(bitmap_line(message));
    lines.extend(message.fields().map(|field| field_line(&field, disclosure)));
    lines
}

/// The line of the message type.
#[must_use]
pub fn mti_line(message: &Message<'_>) -> Line {
    let mti = message.mti().iter().map(|&character| char::from(character)).collect();
    Line::new(FieldPath::Mti, "message type", "消息类型", mti)
}

/// The line of the bitmap: its groups in hexadecimal.
#[must_use]
pub fn bitmap_line(message: &Message<'_>) -> Line {
    let bitmap = message.bitmap();
    let groups = (0..bitmap.group_count()).map(|index| format!("{:016X}", bitmap.group(index)));
    Line::new(FieldPath::Bitmap(1), "bitmap", "位图", groups.collect())
}

/// The line of a field.
#[must_use]
pub fn field_line(field: &Field<'_>, disclosure: Disclosure) -> Line {
    let spec = field.spec();
    let value = match disclosure {
        Disclosure::TestData => text(field),
        Disclosure::Masked => masked(field, spec.sensitivity),
    };
    Line::new(field.path(), spec.name, spec.name_zh, value)
}

/// The value as text; characters that a screen cannot show turn it into hexadecimal.
#[must_use]
pub fn text(field: &Field<'_>) -> String {
    let showable = field.characters().all(|character| matches!(character, 0x20..=0x7E));
    if showable { field.text() } else { hex(field.bytes()) }
}

/// Upper-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0F] {
            text.push(char::from(crate::spec::NibbleAlphabet::Hex.character(nibble)));
        }
    }
    text
}

fn masked(field: &Field<'_>, sensitivity: Sensitivity) -> String {
    match sensitivity {
        Sensitivity::Public => text(field),
        Sensitivity::Pan => mask_pan(&field.to_vec()),
        _ => hidden(field),
    }
}

/// A placeholder that says only how long the value is.
#[must_use]
pub fn hidden(field: &Field<'_>) -> String {
    let unit = if field.is_octets() { "bytes" } else { "characters" };
    format!("**** ({} {unit})", field.count())
}

/// A card number with the first six and last four digits (PCI DSS 3.4.1); shorter than thirteen
/// digits, nothing of it.
#[must_use]
pub fn mask_pan(digits: &[u8]) -> String {
    const SHOWN_FIRST: usize = 6;
    const SHOWN_LAST: usize = 4;
    const SHORTEST_SHOWN: usize = 13;
    let length = digits.len();
    digits
        .iter()
        .enumerate()
        .map(|(index, &digit)| {
            let shown = index < SHOWN_FIRST || index + SHOWN_LAST >= length;
            if shown && length >= SHORTEST_SHOWN { char::from(digit) } else { '*' }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pans_keep_ten_digits_at_most() {
        assert_eq!(mask_pan(b"6222620000000000012"), "622262*********0012");
        assert_eq!(mask_pan(b"1234567890123"), "123456***0123");
        assert_eq!(mask_pan(b"123456789012"), "************");
        assert_eq!(mask_pan(b""), "");
    }
}
