//! A request as it came: opened, classified, and looked at for what must be there.

use crate::words::PeerIdentity;
use iso8583::DecodeError;
use iso8583::unionpay::{Body, Header, Layout, MessageKind, PinEntry, Tpdu, mac_input, open};
use types::{SecretBytes, Stan, TerminalId};

const TPDU_TRANSACTION: u8 = 0x60;
const FORMAT_ERROR: [u8; 2] = *b"30";

/// A request. It holds the whole message, account data included, as long as the request lives, and wipes itself.
pub(crate) struct Incoming {
    pub connection: u64,
    pub peer: PeerIdentity,
    pub tpdu: Tpdu,
    pub header: Header,
    pub body: Body,
    pub kind: MessageKind,
    frame: SecretBytes,
}

/// A frame that is no request.
pub(crate) struct Unreadable {
    /// The answer, if the message type could still be read.
    pub answer: Option<Vec<u8>>,
    /// What was wrong, without the content.
    pub error: String,
}

impl Incoming {
    /// Opens a frame (TPDU, header, message).
    pub fn parse(connection: u64, peer: PeerIdentity, frame: Vec<u8>) -> Result<Self, Unreadable> {
        let frame = SecretBytes::new(frame);
        let parsed = parse(frame.expose());
        match parsed {
            Ok((tpdu, header, body)) if is_request(&body.mti) => {
                let kind = MessageKind::of(&body);
                Ok(Self { connection, peer, tpdu, header, body, kind, frame })
            }
            Ok(_) => Err(Unreadable { answer: None, error: "not a request".to_owned() }),
            Err(error) => Err(Unreadable { answer: format_answer(frame.expose()), error: error.to_string() }),
        }
    }

    /// What F64 is made over; `None` without F64.
    pub fn mac_input(&self) -> Option<SecretBytes> {
        let message = self.frame.expose().get(Layout::Tpdu.body_offset()..)?;
        mac_input(message).map(SecretBytes::copy_from)
    }

    /// The frame again, for a machine that starts anew.
    pub fn into_frame(self) -> Vec<u8> {
        self.frame.expose().to_vec()
    }

    /// Whether the message is verified under the MAC and answered under it. One that no row of the catalogue fits is, if
    /// it brings a MAC: its terminal takes a refusal only under the MAC (D18).
    pub fn is_authenticated(&self) -> bool {
        self.kind.needs_mac() || (self.kind == MessageKind::Unknown && self.body.mac.is_some())
    }

    /// F11.
    pub fn stan(&self) -> Option<Stan> {
        self.body.trace.and_then(Stan::new)
    }

    /// The first mandatory field that is missing (unionpay-pos §3.2, §3.4: those that the host needs).
    pub fn missing_field(&self) -> Option<u8> {
        let always = [41, 42, 60];
        let missing = |field: &u8| !present(&self.body, *field);
        let listed = always.iter().chain(mandatory(self.kind)).copied().find(missing);
        let trace_zero = self.body.trace == Some(0);
        listed.or(trace_zero.then_some(11)).or_else(|| self.missing_condition())
    }

    /// Fields that are mandatory because of others (conditions C1, C4, C7, C8).
    fn missing_condition(&self) -> Option<u8> {
        let body = &self.body;
        if !carries_card(self.kind) {
            return None;
        }
        if body.pan.is_none() && body.track2.is_none() {
            return Some(2);
        }
        let entry = body.entry_mode?;
        let needs_chip = matches!(
            self.kind,
            MessageKind::Sale | MessageKind::InstalmentSale | MessageKind::Balance | MessageKind::PreAuthorisation
        );
        if needs_chip && entry.is_chip() && body.icc_data.is_none() {
            return Some(55);
        }
        if entry.pin() == PinEntry::Present && body.pin_block.is_none() {
            return Some(52);
        }
        (body.pin_block.is_some() && body.security_control.is_none()).then_some(53)
    }
}

/// Whether a card stands behind the message.
pub(crate) fn carries_card(kind: MessageKind) -> bool {
    use MessageKind as K;
    matches!(
        kind,
        K::Sale
            | K::SaleVoid
            | K::Refund
            | K::Balance
            | K::PreAuthorisation
            | K::PreAuthorisationVoid
            | K::Completion
            | K::CompletionVoid
            | K::CompletionNotice
            | K::OfflineSaleUpload
            | K::SettlementAdjust
            | K::InstalmentSale
            | K::InstalmentVoid
    )
}

fn parse(frame: &[u8]) -> Result<(Tpdu, Header, Body), DecodeError> {
    let opened = open(frame)?;
    let body = Body::from_message(&opened.message)?;
    let tpdu = opened.tpdu.expect("the layout given has a TPDU");
    Ok((tpdu, opened.header.expect("the layout given has a header"), body))
}

fn is_request(mti: &[u8; 4]) -> bool {
    mti[0] == b'0' && matches!(mti[2], b'0' | b'2') && mti[3] == b'0'
}

/// The shortest answer there is: message type and F39 = 30. Only for something whose message type reads as a request.
fn format_answer(frame: &[u8]) -> Option<Vec<u8>> {
    let offset = Layout::Tpdu.body_offset();
    let tpdu = Tpdu(frame.get(..5)?.try_into().ok()?);
    let header = frame.get(5..offset)?;
    let [class, function] = *frame.get(offset..offset + 2)? else { return None };
    let digits = [class >> 4, class & 0x0F, function >> 4, function & 0x0F];
    if tpdu.0[0] != TPDU_TRANSACTION || digits.iter().any(|digit| *digit > 9) {
        return None;
    }
    let mti = digits.map(|digit| b'0' + digit);
    if !is_request(&mti) {
        return None;
    }
    let mut body = Body::new(Body::new(mti).response_mti());
    body.response_code = Some(FORMAT_ERROR);
    let mut answer = [&tpdu.swapped().0[..], header].concat();
    body.encode(&mut answer).ok()?;
    Some(answer)
}

fn mandatory(kind: MessageKind) -> &'static [u8] {
    use MessageKind as K;
    match kind {
        K::SignIn(_) | K::SignOff => &[11],
        K::CapkStatus | K::CapkDownload | K::AidStatus | K::AidDownload | K::StatusUpload => &[62],
        K::Sale => &[3, 4, 11, 22, 25, 49, 64],
        K::Balance => &[3, 11, 22, 25, 49, 64],
        K::InstalmentSale => &[3, 4, 11, 22, 25, 49, 62, 64],
        K::SaleVoid | K::InstalmentVoid => &[3, 4, 11, 22, 25, 37, 49, 61, 64],
        K::Refund => &[3, 4, 11, 22, 25, 37, 49, 61, 63, 64],
        K::OfflineSaleUpload => &[2, 3, 4, 11, 22, 25, 49, 55, 63, 64],
        K::SettlementAdjust => &[2, 3, 4, 11, 22, 25, 37, 48, 49, 61, 63, 64],
        K::PreAuthorisation => &[3, 4, 11, 22, 25, 49, 64],
        K::PreAuthorisationVoid | K::Completion | K::CompletionNotice => &[3, 4, 11, 22, 25, 38, 49, 61, 64],
        K::CompletionVoid => &[3, 4, 11, 22, 25, 37, 38, 49, 61, 64],
        K::Reversal => &[3, 4, 11, 22, 25, 39, 49, 64],
        K::QrSale => &[3, 4, 11, 22, 25, 49, 59, 64],
        K::QrOrder => &[3, 4, 11, 22, 25, 49, 64],
        K::QrVoid => &[3, 4, 11, 22, 25, 37, 49, 59, 61, 64],
        K::QrRefund => &[3, 4, 11, 22, 25, 37, 49, 59, 61, 63, 64],
        K::QrQuery => &[3, 11, 22, 25, 49, 59, 61, 64],
        K::ScriptResult => &[11, 37, 55, 61, 64],
        K::ElectronicSignature => &[4, 11, 37, 55, 62, 64],
        K::Settlement => &[11, 48, 49],
        K::BatchDetails | K::BatchEnd { .. } => &[11, 48],
        K::BatchIcUpload => &[4, 11, 62],
        K::BatchNotice => &[11],
        other if other.needs_mac() => &[11, 64],
        _ => &[],
    }
}

fn present(body: &Body, field: u8) -> bool {
    match field {
        2 => body.pan.is_some(),
        3 => body.processing_code.is_some(),
        4 => body.amount_minor.is_some(),
        11 => body.trace.is_some(),
        22 => body.entry_mode.is_some(),
        25 => body.condition.is_some(),
        37 => body.rrn.is_some(),
        38 => body.authorisation_code.is_some(),
        39 => body.response_code.is_some(),
        41 => body.terminal_id.is_some(),
        42 => body.merchant_id.is_some(),
        48 => body.private_data.is_some(),
        49 => body.currency.is_some(),
        55 => body.icc_data.is_some(),
        59 => body.custom.is_some(),
        60 => body.f60.is_some(),
        61 => body.f61.is_some(),
        62 => body.f62.is_some(),
        63 => body.f63.is_some(),
        64 => body.mac.is_some(),
        _ => false,
    }
}

/// A frame that names no terminal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no terminal to route to: {error}")]
pub struct Unroutable {
    /// What to send back before anything else; close the connection if there is nothing.
    pub answer: Option<Vec<u8>>,
    /// What was wrong, without the content.
    pub error: String,
}

/// The terminal that a frame names in F41. A driver that knows its peer routes by the certificate instead.
///
/// # Errors
/// The frame cannot be read or has no F41.
pub fn route(frame: &[u8]) -> Result<TerminalId, Unroutable> {
    let unroutable = |error: String| Unroutable { answer: format_answer(frame), error };
    let opened = open(frame).map_err(|error| unroutable(error.to_string()))?;
    let terminal = opened.message.field(41).and_then(|field| field.array());
    let terminal = terminal.ok_or_else(|| unroutable("F41 is missing".to_owned()))?;
    TerminalId::new(terminal).map_err(|error| unroutable(error.to_string()))
}
