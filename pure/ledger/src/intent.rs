//! The identity of one decision of a terminal (design §4, unionpay-pos §8.7).

use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{BatchNumber, MerchantId, Stan, TerminalId, decimal_digits};

/// Bytes of the key of its rows.
const KEY_BYTES: usize = 33;
/// Characters of its text.
const TEXT_BYTES: usize = 27;

/// The class of a message type within an intent: its version, class and whether it advises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MessageClass {
    /// 0100.
    Authorisation,
    /// 0200.
    Financial,
    /// 0220.
    FinancialNotice,
    /// 0320.
    BatchUpload,
    /// 0400.
    Reversal,
    /// 0500.
    Settlement,
    /// 0620.
    ScriptNotice,
}

impl MessageClass {
    const ALL: [(MessageClass, u16); 7] = [
        (MessageClass::Authorisation, 100),
        (MessageClass::Financial, 200),
        (MessageClass::FinancialNotice, 220),
        (MessageClass::BatchUpload, 320),
        (MessageClass::Reversal, 400),
        (MessageClass::Settlement, 500),
        (MessageClass::ScriptNotice, 620),
    ];

    /// The message type of its requests as a number: 200 for `0200`.
    pub fn message_type(self) -> u16 {
        Self::ALL.iter().find(|(class, _)| *class == self).expect("every class is listed").1
    }

    /// From the message type of a request.
    pub fn from_message_type(message_type: u16) -> Option<Self> {
        Self::ALL.iter().find(|(_, number)| *number == message_type).map(|(class, _)| *class)
    }
}

/// Names one decision of a terminal: durable before its first byte leaves, unique for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Intent {
    /// F41.
    pub terminal: TerminalId,
    /// F42.
    pub merchant: MerchantId,
    /// F60.2.
    pub batch: BatchNumber,
    /// F11.
    pub stan: Stan,
    /// Of the MTI.
    pub class: MessageClass,
}

impl Intent {
    /// The same terminal's message of another class under the same trace number: a reversal names its original so.
    pub fn with_class(self, class: MessageClass) -> Self {
        Self { class, ..self }
    }

    /// The key of its rows.
    pub fn key(&self) -> Vec<u8> {
        let mut writer = Writer::with_room(KEY_BYTES);
        self.encode(&mut writer);
        writer.into_bytes()
    }

    /// For people: `12345678/000007/000002/0200`.
    pub fn text(&self) -> String {
        let message_type: [u8; 4] = decimal_digits(u32::from(self.class.message_type()));
        let mut text = String::with_capacity(TEXT_BYTES);
        text.push_str(self.terminal.text());
        for number in [&self.batch.digits()[..], &self.stan.digits(), &message_type] {
            text.push('/');
            text.extend(number.iter().map(|digit| char::from(*digit)));
        }
        text
    }
}

impl Encode for Intent {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.terminal).value(&self.merchant).value(&self.batch).value(&self.stan);
        writer.u16(self.class.message_type());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            terminal: reader.value()?,
            merchant: reader.value()?,
            batch: reader.value()?,
            stan: reader.value()?,
            class: MessageClass::from_message_type(reader.u16()?).ok_or_else(|| reader.malformed("a message class"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_comes_back_and_keys_differ_by_class() {
        let intent = Intent {
            terminal: TerminalId::parse("12345678").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            batch: BatchNumber::new(7).unwrap(),
            stan: Stan::new(2).unwrap(),
            class: MessageClass::Financial,
        };
        assert_eq!(Intent::from_bytes(&intent.key()), Ok(intent));
        assert_ne!(intent.key(), intent.with_class(MessageClass::Reversal).key());
        assert_eq!(intent.text(), "12345678/000007/000002/0200");
        assert_eq!((intent.key().len(), intent.text().len()), (KEY_BYTES, TEXT_BYTES));
    }
}
