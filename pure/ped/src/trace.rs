//! The explanation of a payment, masked: what a person may read of APDUs, chip bits, cryptogram inputs and messages.

use crate::session::Session;
use emv::kernel::CardError;
use emv::transcript::TranscriptObject;
use emv::{DataStore, Kernel, OnlineResult, Termination};
use iso8583::describe::Disclosure;
use iso8583::unionpay::{Layout, describe_opened, locate};
use pedlink::{TRACE_TEXT_BYTES_MAX, TraceLine};
use tlv::ber::Elements;
use tlv::{Dol, Tag, dictionary, tags};

/// What stands where account data would.
const MASK: &str = "****";

/// Certificates and signatures over account data. Anybody with the public keys can take the PAN out of an ICC certificate
/// (EMV 4.4 Book 2 §6.4), and try out PANs against the hash in signed static data (§5.4).
const REVEALS_PAN: [Tag; 3] =
    [tags::ICC_PUBLIC_KEY_CERTIFICATE, tags::ICC_PIN_PUBLIC_KEY_CERTIFICATE, tags::SIGNED_STATIC_APPLICATION_DATA];

/// One line, cut to the longest that may travel.
pub(crate) fn line(topic: &str, text: impl Into<String>) -> TraceLine {
    let mut text = text.into();
    if text.len() > TRACE_TEXT_BYTES_MAX {
        let mut end = TRACE_TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    TraceLine { topic: topic.to_owned(), text }
}

/// Upper-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    iso8583::describe::hex(bytes)
}

/// A value for people: masked if it may not be shown. Scripts may carry an enciphered PIN; their commands are shown as APDUs.
fn shown(tag: Tag, value: &[u8]) -> String {
    let script = [tags::ISSUER_SCRIPT_TEMPLATE_1, tags::ISSUER_SCRIPT_TEMPLATE_2].contains(&tag);
    if dictionary::is_sensitive(tag) || REVEALS_PAN.contains(&tag) || script {
        format!("{MASK} ({} bytes)", value.len())
    } else {
        hex(value)
    }
}

fn object(tag: Tag, value: &[u8]) -> String {
    format!("{tag} {}: {}", dictionary::name(tag), shown(tag, value))
}

/// A card's answer to reset, and whether a payment terminal accepts it.
pub(crate) fn answer_to_reset(bytes: &[u8]) -> String {
    let verdict = match tlv::Atr::parse(bytes) {
        Ok(answer) => match answer.check_emv() {
            Ok(()) => "fit for payments".to_owned(),
            Err(fault) => format!("not as EMV wants it: {fault}"),
        },
        Err(fault) => format!("malformed: {fault}"),
    };
    format!("answer to reset {} ({verdict})", hex(bytes))
}

/// The application's label as printable ASCII.
pub(crate) fn application_label<'a>(value: impl Fn(Tag) -> Option<&'a [u8]>) -> String {
    let label = value(tags::APPLICATION_LABEL).or_else(|| value(tags::APPLICATION_PREFERRED_NAME)).unwrap_or_default();
    let printable = |byte: &u8| char::from(if (0x20..0x7F).contains(byte) { *byte } else { b'?' });
    label.iter().map(printable).collect::<String>().trim_end().to_owned()
}

/// `TC`, `ARQC` or `AAC`; empty if there is none.
pub(crate) fn cryptogram_kind(information: Option<&[u8]>) -> &'static str {
    match information {
        Some([byte, ..]) => emv::CryptogramKind::from_information(*byte).map_or("", |kind| kind.name()),
        _ => "",
    }
}

/// Why the kernel ended without a decision, in words.
pub(crate) fn termination(reason: Termination) -> String {
    match reason {
        Termination::CardMute => "the card does not answer or was removed".to_owned(),
        Termination::CardBlocked => "the card is blocked".to_owned(),
        Termination::NoApplication => "card and terminal have no application in common".to_owned(),
        Termination::Cancelled => "cancelled".to_owned(),
        Termination::Misuse => "the kernel was given a word that did not fit".to_owned(),
        Termination::CardError(error) => card_error(error),
    }
}

fn card_error(error: CardError) -> String {
    match error {
        CardError::Response(error) => format!("the card's answer is malformed: {error}"),
        CardError::Initiate(error) => format!("the application cannot be initiated: {error}"),
        CardError::Records(error) => format!("the card's records are unusable: {error}"),
        CardError::Format(tag) => format!("object {tag} {} has a wrong format", dictionary::name(tag)),
        CardError::InternalAuthenticate(status) => format!("INTERNAL AUTHENTICATE was answered {status}"),
        CardError::Cryptogram(error) => format!("GENERATE AC failed: {error}"),
    }
}

/// What the chip is told of the host's answer.
pub(crate) fn online_result(result: &OnlineResult) -> String {
    match result {
        OnlineResult::Answered { response_code, issuer_data } => {
            let objects: Vec<String> = Elements::new(issuer_data)
                .map_while(Result::ok)
                .map(|element| format!("{} {}", element.tag, shown(element.tag, element.value)))
                .collect();
            format!("response code {}, for the chip: {}", String::from_utf8_lossy(response_code), objects.join(", "))
        }
        OnlineResult::Unable => "unable to go online".to_owned(),
    }
}

/// Everything to be said of a session so far.
pub(crate) fn of_session(session: &Session) -> Vec<TraceLine> {
    if !session.explains {
        return Vec::new();
    }
    let mut lines = session.remarks.clone();
    if let Some(kernel) = session.kernel.as_ref() {
        lines.extend(apdus(kernel));
        lines.extend(bits(kernel.data()));
        lines.extend(session.first_cryptogram.iter().cloned());
        let last = cryptogram(kernel.data(), "CDOL2", tags::CDOL2);
        if last.first() != session.first_cryptogram.first() {
            lines.extend(last);
        }
    }
    lines
}

/// Every command and answer with their data objects; the transcript holds them masked.
fn apdus(kernel: &Kernel) -> Vec<TraceLine> {
    let mut lines = Vec::new();
    for entry in kernel.transcript() {
        lines.push(line("apdu", format!("{} > {}", entry.name(), entry.masked_command())));
        lines.extend(entry.command_objects().iter().map(transcript_object));
        let response = without_certificates(entry.masked_response().unwrap_or("no answer"), entry.response_objects());
        lines.push(line("apdu", format!("{} < {response}", entry.name())));
        lines.extend(entry.response_objects().iter().map(transcript_object));
    }
    lines
}

fn transcript_object(object: &TranscriptObject) -> TraceLine {
    let indent = "  ".repeat(object.depth + 1);
    let value = if REVEALS_PAN.contains(&object.tag) { MASK } else { &object.value };
    line("apdu", format!("{indent}{} {}: {value}", object.tag, object.name))
}

/// An answer without the values of [`REVEALS_PAN`].
fn without_certificates(response: &str, objects: &[TranscriptObject]) -> String {
    let hidden = objects.iter().filter(|object| REVEALS_PAN.contains(&object.tag) && !object.value.is_empty());
    hidden.fold(response.to_owned(), |text, object| text.replace(&object.value, MASK))
}

/// AIP, TVR, TSI and CVM results, bit by bit.
fn bits(data: &DataStore) -> Vec<TraceLine> {
    let mut lines = Vec::new();
    if let Some(aip) = data.get_array::<2>(tags::AIP) {
        lines.extend(meanings("aip", &aip, emv::describe::aip(&aip)));
    }
    if let Some(tvr) = data.get_array::<5>(tags::TVR) {
        lines.extend(meanings("tvr", &tvr, emv::describe::tvr(&tvr)));
    }
    if let Some(tsi) = data.get_array::<2>(tags::TSI) {
        lines.extend(meanings("tsi", &tsi, emv::describe::tsi(&tsi)));
    }
    if let Some(results) = data.get_array::<3>(tags::CVM_RESULTS) {
        lines.extend(cvm(&results));
    }
    lines
}

fn cvm(results: &[u8; 3]) -> [TraceLine; 3] {
    let meaning = emv::describe::cvm_results(results);
    let next = if meaning.rule.apply_next_if_unsuccessful { "then the next rule" } else { "then fail" };
    [
        line("cvm", hex(results)),
        line("cvm", format!("method: {} ({}), if unsuccessful {next}", meaning.rule.method, meaning.rule.condition)),
        line("cvm", format!("result: {}", meaning.result)),
    ]
}

fn meanings(topic: &str, bytes: &[u8], meanings: Vec<emv::describe::BitMeaning>) -> Vec<TraceLine> {
    let mut lines = vec![line(topic, hex(bytes))];
    for meaning in meanings {
        let value = u8::from(meaning.set);
        lines.push(line(topic, format!("byte {} bit {} = {value}: {}", meaning.byte, meaning.bit, meaning.text)));
    }
    lines
}

/// The cryptogram and what went into it: the objects that the card asked for in a list, and its own.
pub(crate) fn cryptogram(data: &DataStore, list_name: &str, list: Tag) -> Vec<TraceLine> {
    let Some(cryptogram) = data.get(tags::APPLICATION_CRYPTOGRAM) else { return Vec::new() };
    let kind = cryptogram_kind(data.get(tags::CRYPTOGRAM_INFORMATION_DATA));
    let mut lines = vec![line("cryptogram", format!("{kind} {}", hex(cryptogram)))];
    lines.extend(dol_values(data, list_name, list));
    for tag in [tags::AIP, tags::ATC, tags::ISSUER_APPLICATION_DATA] {
        lines.extend(data.get(tag).map(|value| line("cryptogram", format!("card: {}", object(tag, value)))));
    }
    lines
}

fn dol_values(data: &DataStore, name: &str, list: Tag) -> Vec<TraceLine> {
    let Some(dol) = data.get(list).and_then(|bytes| Dol::parse(bytes).ok()) else { return Vec::new() };
    let entries = dol.entries().iter();
    let text = |tag: Tag| {
        data.get(tag).map_or_else(|| format!("{tag} {}: absent", dictionary::name(tag)), |value| object(tag, value))
    };
    entries.map(|entry| line("cryptogram", format!("{name}: {}", text(entry.tag)))).collect()
}

/// A message field by field, account data masked; F55 object by object.
pub(crate) fn of_message(topic: &str, frame: &[u8]) -> Vec<TraceLine> {
    let opened = match locate(Layout::Frame, frame) {
        Ok(opened) => opened,
        Err(error) => return vec![line(topic, format!("not readable: {error}"))],
    };
    let mut lines = Vec::new();
    for field in describe_opened(&opened, Disclosure::Masked) {
        let meaning = if field.meaning.is_empty() { String::new() } else { format!(" ({})", field.meaning) };
        lines.push(line(topic, format!("{} {}: {}{meaning}", field.path, field.name, field.value)));
    }
    let chip_data = opened.message.field(55).map(|field| field.bytes()).unwrap_or_default();
    for element in Elements::new(chip_data).map_while(Result::ok) {
        lines.push(line(topic, format!("55.{}", object(element.tag, element.value))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_characters() {
        let text = "七".repeat(TRACE_TEXT_BYTES_MAX);
        let cut = line("x", text).text;
        assert!(cut.len() <= TRACE_TEXT_BYTES_MAX && cut.ends_with('七'));
    }

    #[test]
    fn account_data_is_masked_by_tag() {
        assert!(!object(tags::PAN, &[0x62, 0x22, 0x62]).contains("622262"));
        assert!(object(tags::TVR, &[0, 0x80]).ends_with("0080"));
    }
}
