//! What went between kernel and card, for the explanation of a payment. Account data and PINs are masked when an entry is
//! made: the clear values are never kept here.

use crate::apdu::{Command, Response};
use crate::bits::hex;
use tlv::{Content, Dol, Node, Tag, ber, dictionary, tags};

/// Most entries kept; a card cannot make the transcript grow without end.
pub const MAX_ENTRIES: usize = 1024;

const MASK: char = '*';
/// Bytes of a PAN or track 2 that stay visible: six digits.
const VISIBLE_BYTES: usize = 3;

/// One data object of an answer or command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptObject {
    /// The tag.
    pub tag: Tag,
    /// Its name.
    pub name: &'static str,
    /// How many templates it stands in.
    pub depth: usize,
    /// The value in hexadecimal, masked where sensitive; empty for a template.
    pub value: String,
}

/// One command and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEntry {
    name: &'static str,
    command: String,
    command_objects: Vec<TranscriptObject>,
    response: Option<String>,
    status: Option<u16>,
    response_objects: Vec<TranscriptObject>,
}

impl TranscriptEntry {
    /// Records a command. `dol` names the values a DOL put into it.
    pub fn sent(command: &Command, dol: Option<&Dol>) -> Self {
        let (data, command_objects) = mask_command_data(command, dol);
        let mut text = hex(&[command.cla, command.ins, command.p1, command.p2]);
        if !command.data.is_empty() {
            text.push_str(&hex(&[command.data.len() as u8]));
            text.push_str(&data);
        }
        if let Some(le) = command.le {
            text.push_str(&hex(&[le.to_be_bytes()[1]]));
        }
        TranscriptEntry {
            name: command.name(),
            command: text,
            command_objects,
            response: None,
            status: None,
            response_objects: Vec::new(),
        }
    }

    /// Adds the answer.
    pub fn answered(&mut self, response: &Response) {
        let (data, objects) = mask_tlv(&response.data);
        self.response = Some(data + &response.status.to_string());
        self.status = Some(response.status.number());
        self.response_objects = objects;
    }

    /// The instruction in words.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The command in hexadecimal, sensitive bytes as `**`.
    pub fn masked_command(&self) -> &str {
        &self.command
    }

    /// The objects a DOL put into the command.
    pub fn command_objects(&self) -> &[TranscriptObject] {
        &self.command_objects
    }

    /// The answer in hexadecimal, sensitive bytes as `**`; `None` when the card was silent.
    pub fn masked_response(&self) -> Option<&str> {
        self.response.as_deref()
    }

    /// The status word of the answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The objects of the answer.
    pub fn response_objects(&self) -> &[TranscriptObject] {
        &self.response_objects
    }
}

/// A value for display: hexadecimal, masked when the tag is sensitive. Of PAN and track 2 the first six digits stay.
pub fn masked_value(tag: Tag, value: &[u8]) -> String {
    if !dictionary::is_sensitive(tag) {
        return hex(value);
    }
    let visible = match tag {
        tags::PAN | tags::TRACK_2_EQUIVALENT => value.len().min(VISIBLE_BYTES),
        _ => 0,
    };
    hex(&value[..visible]) + &masked(value.len() - visible)
}

fn masked(bytes: usize) -> String {
    String::from(MASK).repeat(bytes * 2)
}

fn object(tag: Tag, depth: usize, value: String) -> TranscriptObject {
    TranscriptObject { tag, name: dictionary::name(tag), depth, value }
}

fn mask_command_data(command: &Command, dol: Option<&Dol>) -> (String, Vec<TranscriptObject>) {
    if command.is_secret() {
        return (masked(command.data.len()), Vec::new());
    }
    let Some(dol) = dol else {
        return (hex(&command.data), Vec::new());
    };
    // GET PROCESSING OPTIONS wraps the values in a template, the other commands send them bare.
    let template = ber::single_template(&command.data, tags::COMMAND_TEMPLATE).ok();
    let values = template.as_ref().map_or(&command.data[..], |template| template.value);
    let header = hex(&command.data[..command.data.len() - values.len()]);
    match dol.split(values) {
        Ok(parts) => {
            let objects: Vec<_> = parts.iter().map(|&(tag, value)| object(tag, 0, masked_value(tag, value))).collect();
            (objects.iter().fold(header, |text, object| text + &object.value), objects)
        }
        Err(_) => (header + &masked(values.len()), Vec::new()),
    }
}

/// Masks a response data field. Bytes that are no TLV may be anything and are masked whole.
fn mask_tlv(data: &[u8]) -> (String, Vec<TranscriptObject>) {
    let mut objects = Vec::new();
    match ber::parse(data) {
        Ok(nodes) => {
            let text = mask_nodes(&nodes, 0, &mut objects);
            (text, objects)
        }
        Err(_) => (masked(data.len()), objects),
    }
}

fn mask_nodes(nodes: &[Node<'_>], depth: usize, objects: &mut Vec<TranscriptObject>) -> String {
    let mut text = String::new();
    for node in nodes {
        let (value, length) = match &node.content {
            Content::Primitive(value) => {
                let shown = masked_value(node.tag, value);
                objects.push(object(node.tag, depth, shown.clone()));
                (shown, value.len())
            }
            Content::Constructed(children) => {
                objects.push(object(node.tag, depth, String::new()));
                let inner = mask_nodes(children, depth + 1, objects);
                let length = inner.len() / 2;
                (inner, length)
            }
        };
        let mut header = Vec::new();
        node.tag.write(&mut header);
        ber::write_length(length, &mut header);
        text.push_str(&hex(&header));
        text.push_str(&value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apdu::StatusWord;

    #[test]
    fn account_data_is_masked_inside_templates() {
        let command = Command::parse(&[0x00, 0xB2, 0x01, 0x0C, 0x00]).expect("valid");
        let mut entry = TranscriptEntry::sent(&command, None);
        let record = [0x70, 0x0E, 0x5A, 0x08, 0x62, 0x22, 0x62, 0x01, 0x10, 0x00, 0x99, 0x99, 0x5F, 0x34, 0x01, 0x01];
        entry.answered(&Response::new(&record, StatusWord::OK));
        assert_eq!(entry.masked_response(), Some("700E5A08622262**********5F3401019000"));
        assert_eq!(entry.response_objects()[1].value, "622262**********");
    }

    #[test]
    fn pins_and_unreadable_answers_are_masked_whole() {
        let verify =
            Command::parse(&[0, 0x20, 0, 0x80, 8, 0x24, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).expect("valid");
        let mut entry = TranscriptEntry::sent(&verify, None);
        assert_eq!(entry.masked_command(), "0020008008****************");
        entry.answered(&Response::new(&[0x62, 0x22, 0x62], StatusWord::OK));
        assert_eq!(entry.masked_response(), Some("******9000"));
    }

    #[test]
    fn values_asked_for_by_a_dol_are_named_and_masked() {
        let dol = Dol::parse(&[0x9F, 0x1A, 2, 0x5A, 4]).expect("dol");
        let command =
            Command::new(0x80, 0xAE, 0x80, 0).with_data(&[0x01, 0x56, 0x62, 0x22, 0x62, 0x01]).expecting_all();
        let entry = TranscriptEntry::sent(&command, Some(&dol));
        assert_eq!(entry.masked_command(), "80AE8000060156622262**00");
        assert_eq!(entry.command_objects()[1].tag, tags::PAN);
    }
}
