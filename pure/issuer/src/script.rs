//! Issuer scripts (EMV 4.4 Book 3 §10.10).

use machine::wire::{Encode, Malformed, Reader, Writer};
use tlv::{Builder, tags};

/// Longest value a script may put, so that field 55 keeps its 255 bytes.
pub const SCRIPT_VALUE_BYTES_MAX: usize = 32;

const CLASS_SECURE: u8 = 0x84;
const PUT_DATA: u8 = 0xDA;

/// A PUT DATA command for the card, sent in template 72 (after the second GENERATE AC).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardScript {
    /// Script identifier (9F18).
    pub identifier: [u8; 4],
    /// The two-byte tag to set, for example 9F58.
    pub tag: [u8; 2],
    /// Its new value.
    pub value: Vec<u8>,
}

impl CardScript {
    /// What the MAC covers: command header, ATC, cryptogram and command data.
    pub(crate) fn mac_input(&self, mac_bytes: usize, atc: u16, cryptogram: &[u8; 8]) -> Vec<u8> {
        let header = self.header(mac_bytes);
        [&header[..], &atc.to_be_bytes(), cryptogram, self.bounded_value()].concat()
    }

    fn header(&self, mac_bytes: usize) -> [u8; 5] {
        let value = self.bounded_value();
        let command_length = u8::try_from(value.len() + mac_bytes).expect("a bounded value and a MAC");
        [CLASS_SECURE, PUT_DATA, self.tag[0], self.tag[1], command_length]
    }

    /// Template 72 with the finished command.
    pub(crate) fn template(&self, mac: &[u8]) -> Vec<u8> {
        let command = [&self.header(mac.len())[..], self.bounded_value(), mac].concat();
        let mut builder = Builder::new();
        builder.push_template(tags::ISSUER_SCRIPT_TEMPLATE_2, |inner| {
            inner.push(tags::ISSUER_SCRIPT_IDENTIFIER, &self.identifier);
            inner.push(tags::ISSUER_SCRIPT_COMMAND, &command);
        });
        builder.into_bytes()
    }

    fn bounded_value(&self) -> &[u8] {
        &self.value[..self.value.len().min(SCRIPT_VALUE_BYTES_MAX)]
    }
}

impl Encode for CardScript {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.identifier).raw(&self.tag).bytes(self.bounded_value());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (identifier, tag) = (reader.array("a script identifier")?, reader.array("a two-byte tag")?);
        let value = reader.bytes()?.to_vec();
        if value.len() > SCRIPT_VALUE_BYTES_MAX {
            return Err(reader.malformed("a short script value"));
        }
        Ok(Self { identifier, tag, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_a_put_data_command_in_template_72() {
        let script = CardScript { identifier: [0, 0, 0, 1], tag: [0x9F, 0x58], value: vec![3] };
        let input = [0x84, 0xDA, 0x9F, 0x58, 5, 0x03, 0x91, 7, 7, 7, 7, 7, 7, 7, 7, 3];
        assert_eq!(script.mac_input(4, 0x0391, &[7; 8]), input);
        let template = script.template(&[0xA, 0xB, 0xC, 0xD]);
        let expected =
            [0x72, 0x13, 0x9F, 0x18, 4, 0, 0, 0, 1, 0x86, 0x0A, 0x84, 0xDA, 0x9F, 0x58, 5, 3, 0xA, 0xB, 0xC, 0xD];
        assert_eq!(template, expected);
        assert_eq!(CardScript::from_bytes(&script.to_bytes()), Ok(script));
    }
}
