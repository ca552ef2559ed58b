//! Looks at a response: is it the answer to what was asked, and which of its fields are public (unionpay-pos §1.5)?

use iso8583::unionpay::{Layout, Opened, locate};
use iso8583::{DecodeError, Message};
use pedlink::{CustomData, Expected, ResponseFault, ResponseSummary};
use tlv::ber::Elements;
use tlv::tags;
use types::{AuthorisationCode, ResponseCode, Rrn, Stan};

/// Response codes that may come without a MAC, and never mean approval (D18).
const WITHOUT_MAC: [&str; 5] = ["A0", "77", "97", "03", "30"];
/// The one response without F39 (D24).
const SETTLEMENT_RESPONSE: &[u8; 4] = b"0510";

/// Opens a frame, length included.
pub(crate) fn open(frame: &[u8]) -> Result<Opened<'_>, ResponseFault> {
    let opened = locate(Layout::Frame, frame).map_err(|error| malformed(&error))?;
    let chip_data = opened.message.field(55).map(|field| field.bytes()).unwrap_or_default();
    if Elements::new(chip_data).any(|element| element.is_err()) {
        return Err(ResponseFault::Malformed { detail: "field 55: not well-formed TLV".to_owned() });
    }
    Ok(opened)
}

fn malformed(error: &DecodeError) -> ResponseFault {
    ResponseFault::Malformed { detail: error.to_string() }
}

fn mismatch(field: &str) -> Result<(), ResponseFault> {
    Err(ResponseFault::Mismatch { field: field.to_owned() })
}

/// Compares the fields that tie a response to its request.
pub(crate) fn compare(message: &Message<'_>, expected: &Expected) -> Result<(), ResponseFault> {
    if message.mti()[..] != *expected.mti.as_bytes() {
        return mismatch("MTI");
    }
    let amount = expected.amount.filter(|_| !expected.amount_may_differ);
    let numbers = [
        (3, expected.processing_code.as_deref().map(str::parse)),
        (4, amount.map(|amount| Ok(amount.minor()))),
        (11, expected.stan.map(|stan| Ok(u64::from(stan.number())))),
    ];
    for (number, wanted) in numbers {
        if let (Some(wanted), Some(found)) = (wanted, message.field(number))
            && (wanted.is_err() || found.number() != wanted.ok())
        {
            return mismatch(&number.to_string());
        }
    }
    for (number, wanted) in [(41, expected.terminal.text()), (42, expected.merchant.text())] {
        if message.field(number).is_some_and(|found| found.bytes() != wanted.as_bytes()) {
            return mismatch(&number.to_string());
        }
    }
    if !message.has(39) && message.mti() != *SETTLEMENT_RESPONSE {
        return mismatch("39 is missing");
    }
    Ok(())
}

/// Whether a response may do without the MAC that was demanded.
pub(crate) fn may_lack_mac(message: &Message<'_>) -> bool {
    message.field(39).is_some_and(|code| WITHOUT_MAC.iter().any(|excused| excused.as_bytes() == code.bytes()))
}

/// F64 of a message.
pub(crate) fn mac(message: &Message<'_>) -> Option<[u8; 8]> {
    message.field(64)?.bytes().try_into().ok()
}

/// F55 of a message, if it holds something for the chip (91, 71, 72).
pub(crate) fn issuer_data(message: &Message<'_>) -> Option<Vec<u8>> {
    let content = message.field(55)?.bytes();
    let for_chip = [tags::ISSUER_AUTHENTICATION_DATA, tags::ISSUER_SCRIPT_TEMPLATE_1, tags::ISSUER_SCRIPT_TEMPLATE_2];
    let mut objects = Elements::new(content).filter_map(Result::ok);
    objects.any(|object| for_chip.contains(&object.tag)).then(|| content.to_vec())
}

/// The public fields. Account data (2, 14, 35, 36, 52, 55) stays behind.
pub(crate) fn summary(opened: &Opened<'_>, mac_verified: bool) -> Result<ResponseSummary, ResponseFault> {
    let message = &opened.message;
    let text = |number| message.field(number).map(|field| field.text());
    let bytes = |number| message.field(number).map(|field| field.bytes().to_vec());
    Ok(ResponseSummary {
        mti: String::from_utf8_lossy(&message.mti()).into_owned(),
        order: opened.header.map_or(0, |header| header.requirement().nibble()),
        amount_minor: message.field(4).and_then(|field| field.number()),
        stan: stan(message)?,
        local_time: text(12),
        local_date: text(13),
        settlement_date: text(15),
        acquirer_id: text(32),
        rrn: word(message, 37, Rrn::from_slice)?,
        authorisation_code: word(message, 38, AuthorisationCode::from_slice)?,
        response_code: word(message, 39, ResponseCode::from_slice)?,
        additional_response: text(44),
        additional_private: text(48).filter(|_| !echoes_accounts(message)),
        balances: text(54),
        private_60: text(60),
        private_62: bytes(62),
        private_63: bytes(63),
        mac_verified,
        issuer_data: issuer_data(message).is_some(),
        custom: bytes(59).map(CustomData),
    })
}

/// F48 of a batch detail upload repeats account numbers (unionpay-pos §8.3).
fn echoes_accounts(message: &Message<'_>) -> bool {
    message.mti() == *b"0330"
}

fn stan(message: &Message<'_>) -> Result<Option<Stan>, ResponseFault> {
    let Some(field) = message.field(11) else { return Ok(None) };
    let number = field.number().and_then(|number| u32::try_from(number).ok());
    let stan = number.and_then(Stan::new);
    stan.map(Some).ok_or_else(|| not_a_word(11, "not a trace number"))
}

fn word<T>(
    message: &Message<'_>,
    number: u8,
    read: impl Fn(&[u8]) -> Result<T, types::Invalid>,
) -> Result<Option<T>, ResponseFault> {
    let Some(field) = message.field(number) else { return Ok(None) };
    read(field.bytes()).map(Some).map_err(|error| not_a_word(number, &error.to_string()))
}

fn not_a_word(number: u8, why: &str) -> ResponseFault {
    ResponseFault::Malformed { detail: format!("field {number}: {why}") }
}
