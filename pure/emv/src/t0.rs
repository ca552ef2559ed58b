//! APDUs over the T=0 protocol (EMV contact interface specification §9.2.2 and §9.3.1, Annex A).
//!
//! [`ExchangeOverT0`] turns one APDU into the TPDUs a reader driver shows (`61xx`, `6Cxx`, warnings);
//! [`TpduExchange`] below it handles procedure bytes for a reader that shows every byte.

use crate::apdu::{Case, Command, Response, StatusWord, ins};
use thiserror::Error;
use zeroize::Zeroizing;

/// Most TPDUs one APDU may take; a card that asks for more is broken.
pub const MAX_TPDUS: usize = 64;
/// Most response bytes collected over several GET RESPONSE.
pub const MAX_COLLECTED_BYTES: usize = 1024;

const SW1_BYTES_AVAILABLE: u8 = 0x61;
const SW1_WRONG_LE: u8 = 0x6C;
const PROCEDURE_NULL: u8 = 0x60;
const TPDU_HEADER_BYTES: usize = 5;

/// Why an exchange cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum T0Error {
    /// The card sent something T=0 does not know.
    #[error("card broke the T=0 protocol")]
    Protocol,
    /// The card never finishes: more than [`MAX_TPDUS`] or [`MAX_COLLECTED_BYTES`].
    #[error("card does not finish its answer")]
    Endless,
}

/// What to do next.
#[derive(PartialEq, Eq)]
pub enum T0Step {
    /// Send these bytes and hand back the answer.
    Send(Zeroizing<Vec<u8>>),
    /// The APDU is done.
    Done(Response),
}

impl core::fmt::Debug for T0Step {
    /// Bytes to send show their length only: they may be a PIN.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            T0Step::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            T0Step::Done(response) => write!(f, "Done({response:?})"),
        }
    }
}

/// One APDU over T=0 as a PC/SC driver shows it: a case 4 command goes without Le, the driver sees `61xx` and `6Cxx`.
pub struct ExchangeOverT0 {
    case: Case,
    sent: Command,
    warning: Option<StatusWord>,
    collected: Zeroizing<Vec<u8>>,
    rounds: usize,
}

impl ExchangeOverT0 {
    /// Begins; send the returned bytes first.
    pub fn new(command: Command) -> (Self, Zeroizing<Vec<u8>>) {
        let case = command.case();
        let first = match case {
            Case::Four => command.encode_without_le(),
            _ => command.encode(),
        };
        let exchange =
            ExchangeOverT0 { case, sent: command, warning: None, collected: Zeroizing::new(Vec::new()), rounds: 0 };
        (exchange, first)
    }

    /// Takes the answer to what was sent last.
    ///
    /// # Errors
    /// See [`T0Error`].
    pub fn on_response(&mut self, bytes: &[u8]) -> Result<T0Step, T0Error> {
        let response = Response::parse(bytes).map_err(|_| T0Error::Protocol)?;
        self.rounds += 1;
        self.collected.extend_from_slice(&response.data);
        if self.rounds > MAX_TPDUS || self.collected.len() > MAX_COLLECTED_BYTES {
            return Err(T0Error::Endless);
        }
        let status = response.status;
        match status.sw1() {
            SW1_BYTES_AVAILABLE => Ok(self.get_response(status.sw2())),
            SW1_WRONG_LE => Ok(self.repeat_with(status.sw2())),
            _ if self.hides_data(&response) => {
                self.warning = Some(status);
                Ok(self.get_response(0))
            }
            _ => Ok(T0Step::Done(self.finish(status))),
        }
    }

    /// A warning to a case 4 command may stand before its data, which GET RESPONSE then fetches (Annex A).
    fn hides_data(&self, response: &Response) -> bool {
        let status = response.status;
        self.case == Case::Four
            && self.sent.ins != ins::GET_RESPONSE
            && self.collected.is_empty()
            && (status.is_warning() || (status.sw1() >> 4 == 0x9 && !status.is_ok()))
    }

    fn get_response(&mut self, available: u8) -> T0Step {
        let expected = if available == 0 { 256 } else { u16::from(available) };
        self.sent = Command::new(0x00, ins::GET_RESPONSE, 0, 0).expecting(expected);
        T0Step::Send(self.sent.encode())
    }

    fn repeat_with(&mut self, exact: u8) -> T0Step {
        self.sent.le = Some(if exact == 0 { 256 } else { u16::from(exact) });
        self.sent.data = Zeroizing::new(Vec::new());
        T0Step::Send(self.sent.encode())
    }

    fn finish(&mut self, status: StatusWord) -> Response {
        let status = match self.warning {
            // GET RESPONSE after a warning reports on itself; the command's own status is the warning.
            Some(warning) => warning,
            None => status,
        };
        Response { data: core::mem::take(&mut self.collected), status }
    }
}

/// What a byte-level reader does next.
#[derive(PartialEq, Eq)]
pub enum TpduStep {
    /// Send these bytes, then read the card's next bytes.
    Send(Zeroizing<Vec<u8>>),
    /// Read more bytes from the card.
    Receive,
    /// The APDU is done.
    Done(Response),
}

impl core::fmt::Debug for TpduStep {
    /// Bytes to send show their length only: they may be a PIN.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            TpduStep::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            TpduStep::Receive => f.write_str("Receive"),
            TpduStep::Done(response) => write!(f, "Done({response:?})"),
        }
    }
}

/// One APDU over T=0 byte by byte: header, procedure bytes, data, status.
pub struct TpduExchange {
    inner: ExchangeOverT0,
    instruction: u8,
    outgoing: Zeroizing<Vec<u8>>,
    expected: usize,
    received: Zeroizing<Vec<u8>>,
    buffer: Zeroizing<Vec<u8>>,
}

impl TpduExchange {
    /// Begins; send the returned header first.
    pub fn new(command: Command) -> (Self, Zeroizing<Vec<u8>>) {
        let (inner, first) = ExchangeOverT0::new(command);
        let mut exchange = TpduExchange {
            inner,
            instruction: 0,
            outgoing: Zeroizing::new(Vec::new()),
            expected: 0,
            received: Zeroizing::new(Vec::new()),
            buffer: Zeroizing::new(Vec::new()),
        };
        let header = exchange.begin(&first);
        (exchange, header)
    }

    /// Splits an encoded command into the TPDU header and the data that waits for a procedure byte.
    fn begin(&mut self, encoded: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut header = Zeroizing::new(encoded.to_vec());
        let length = header.len().max(TPDU_HEADER_BYTES);
        header.resize(length, 0);
        self.outgoing = Zeroizing::new(header.split_off(TPDU_HEADER_BYTES));
        self.instruction = header[1];
        let p3 = header[4];
        self.expected = match (self.outgoing.is_empty(), encoded.len() < TPDU_HEADER_BYTES) {
            (true, false) if p3 == 0 => 256,
            (true, false) => usize::from(p3),
            _ => 0,
        };
        self.received.clear();
        self.buffer.clear();
        header
    }

    /// Takes what the card sent until it fell silent.
    ///
    /// # Errors
    /// See [`T0Error`].
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<TpduStep, T0Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > MAX_COLLECTED_BYTES {
            return Err(T0Error::Endless);
        }
        loop {
            let Some(&procedure) = self.buffer.first() else {
                return Ok(TpduStep::Receive);
            };
            if procedure == PROCEDURE_NULL {
                self.buffer.remove(0);
            } else if procedure >> 4 == 0x6 || procedure >> 4 == 0x9 {
                return self.on_status();
            } else if let Some(step) = self.on_acknowledge(procedure)? {
                return Ok(step);
            }
        }
    }

    fn on_status(&mut self) -> Result<TpduStep, T0Error> {
        match self.buffer.len() {
            1 => return Ok(TpduStep::Receive),
            2 => {}
            _ => return Err(T0Error::Protocol),
        }
        let mut response = core::mem::take(&mut self.received);
        response.extend_from_slice(&self.buffer);
        match self.inner.on_response(&response)? {
            T0Step::Done(response) => Ok(TpduStep::Done(response)),
            T0Step::Send(command) => Ok(TpduStep::Send(self.begin(&command))),
        }
    }

    /// The card acknowledged: `INS` moves all remaining data, its complement one byte.
    fn on_acknowledge(&mut self, procedure: u8) -> Result<Option<TpduStep>, T0Error> {
        let one_byte = procedure == !self.instruction;
        if procedure != self.instruction && !one_byte {
            return Err(T0Error::Protocol);
        }
        if !self.outgoing.is_empty() {
            self.buffer.remove(0);
            let count = if one_byte { 1 } else { self.outgoing.len() };
            let rest = self.outgoing.split_off(count);
            return Ok(Some(TpduStep::Send(core::mem::replace(&mut self.outgoing, Zeroizing::new(rest)))));
        }
        if self.received.len() >= self.expected {
            return Err(T0Error::Protocol);
        }
        Ok(self.take_data(one_byte))
    }

    /// Takes the data behind an acknowledgement. Cards have been seen to stop early or to send more than they announced,
    /// with the status right behind (Annex A); what they sent until they fell silent then ends in that status.
    fn take_data(&mut self, one_byte: bool) -> Option<TpduStep> {
        let wanted = if one_byte { 1 } else { self.expected.saturating_sub(self.received.len()) };
        let behind = self.buffer.len() - 1;
        let ends_in_status = !one_byte && behind >= 2 && matches!(self.buffer[behind - 1] >> 4, 0x6 | 0x9);
        let available = match behind {
            _ if (wanted..=wanted + 2).contains(&behind) => wanted,
            _ if ends_in_status => behind - 2,
            _ if behind > wanted => wanted,
            _ => return Some(TpduStep::Receive),
        };
        self.received.extend_from_slice(&self.buffer[1..=available]);
        self.buffer.drain(..=available);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(bytes.to_vec())
    }

    #[test]
    fn a_card_that_takes_one_byte_at_a_time_is_served() {
        let command = Command::parse(&[0x00, 0x82, 0, 0, 2, 0xDE, 0xAD]).expect("valid");
        let (mut exchange, header) = TpduExchange::new(command);
        assert_eq!(header, hex(&[0x00, 0x82, 0, 0, 2]));
        assert_eq!(exchange.on_bytes(&[0x60, 0x7D]), Ok(TpduStep::Send(hex(&[0xDE]))));
        assert_eq!(exchange.on_bytes(&[0x7D]), Ok(TpduStep::Send(hex(&[0xAD]))));
        assert_eq!(exchange.on_bytes(&[0x90]), Ok(TpduStep::Receive));
        assert_eq!(exchange.on_bytes(&[0x00]), Ok(TpduStep::Done(Response::new(&[], StatusWord::OK))));
    }

    #[test]
    fn an_endless_card_is_given_up() {
        let command = Command::parse(&[0x00, 0xB2, 1, 0x0C, 0]).expect("valid");
        let (mut exchange, _) = ExchangeOverT0::new(command);
        let end = (0..=MAX_TPDUS).map(|_| exchange.on_response(&[0x61, 0x10])).find(Result::is_err);
        assert_eq!(end, Some(Err(T0Error::Endless)));
    }

    #[test]
    fn a_foreign_procedure_byte_is_refused() {
        let command = Command::parse(&[0x00, 0xB2, 1, 0x0C, 0]).expect("valid");
        let (mut exchange, _) = TpduExchange::new(command);
        assert_eq!(exchange.on_bytes(&[0xA4]), Err(T0Error::Protocol));
    }

    proptest! {
        #[test]
        fn no_card_can_make_it_panic(command in proptest::collection::vec(any::<u8>(), 4..20), answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20)) {
            if let Ok(command) = Command::parse(&command) {
                let (mut exchange, _) = TpduExchange::new(command);
                for answer in &answers {
                    match exchange.on_bytes(answer) {
                        Ok(TpduStep::Done(_)) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
            }
        }
    }
}
