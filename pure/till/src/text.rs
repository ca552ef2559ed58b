//! What people read: every sentence in Chinese and in English.

use machine::wire::{Encode, Malformed, Reader, Writer};

/// One sentence in both languages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Both languages.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }
}

impl Encode for Text {
    fn encode(&self, writer: &mut Writer) {
        writer.text(&self.zh).text(&self.en);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { zh: reader.text()?.to_owned(), en: reader.text()?.to_owned() })
    }
}
