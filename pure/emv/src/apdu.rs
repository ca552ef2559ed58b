//! Command and response APDUs, short form (EMV 4.4 Book 1 §9.3, Book 3 §6.3).

use core::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// Most data bytes of a command.
pub const MAX_COMMAND_DATA_BYTES: usize = 255;
/// Most data bytes of a response; the Le that asks for them is sent as `00`.
pub const MAX_RESPONSE_DATA_BYTES: u16 = 256;

const HEADER_BYTES: usize = 4;

/// Instruction codes the kernel sends.
pub mod ins {
    /// SELECT (§11.3).
    pub const SELECT: u8 = 0xA4;
    /// READ RECORD (Book 3 §6.5.11).
    pub const READ_RECORD: u8 = 0xB2;
    /// GET PROCESSING OPTIONS (§6.5.8).
    pub const GET_PROCESSING_OPTIONS: u8 = 0xA8;
    /// INTERNAL AUTHENTICATE (§6.5.9).
    pub const INTERNAL_AUTHENTICATE: u8 = 0x88;
    /// EXTERNAL AUTHENTICATE (§6.5.4).
    pub const EXTERNAL_AUTHENTICATE: u8 = 0x82;
    /// VERIFY (§6.5.12).
    pub const VERIFY: u8 = 0x20;
    /// GET CHALLENGE (§6.5.6).
    pub const GET_CHALLENGE: u8 = 0x84;
    /// GET DATA (§6.5.7).
    pub const GET_DATA: u8 = 0xCA;
    /// GENERATE AC (§6.5.5).
    pub const GENERATE_AC: u8 = 0xAE;
    /// GET RESPONSE (Book 1 §9.2.2.3).
    pub const GET_RESPONSE: u8 = 0xC0;
    /// APPLICATION BLOCK (Book 3 §6.5.1).
    pub const APPLICATION_BLOCK: u8 = 0x1E;
    /// APPLICATION UNBLOCK (§6.5.2).
    pub const APPLICATION_UNBLOCK: u8 = 0x18;
    /// CARD BLOCK (§6.5.3).
    pub const CARD_BLOCK: u8 = 0x16;
    /// PIN CHANGE/UNBLOCK (§6.5.10).
    pub const PIN_CHANGE_UNBLOCK: u8 = 0x24;
    /// PUT DATA.
    pub const PUT_DATA: u8 = 0xDA;
    /// UPDATE RECORD.
    pub const UPDATE_RECORD: u8 = 0xDC;
}

/// Why bytes are not an APDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ApduError {
    /// A command of fewer than four bytes.
    #[error("command of {length} bytes")]
    CommandTooShort {
        /// Bytes given.
        length: usize,
    },
    /// Lc does not fit the bytes that follow.
    #[error("command length byte does not fit its data")]
    CommandLength,
    /// A response of fewer than two or more than 258 bytes.
    #[error("response of {length} bytes")]
    ResponseLength {
        /// Bytes given.
        length: usize,
    },
}

/// The four shapes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// No data either way.
    One,
    /// Data from the card only.
    Two,
    /// Data to the card only.
    Three,
    /// Data both ways.
    Four,
}

/// A command APDU. The data is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Class byte.
    pub cla: u8,
    /// Instruction byte.
    pub ins: u8,
    /// Parameter 1.
    pub p1: u8,
    /// Parameter 2.
    pub p2: u8,
    /// Data field, at most [`MAX_COMMAND_DATA_BYTES`].
    pub data: Zeroizing<Vec<u8>>,
    /// Bytes expected, 1–256; `None` when the card sends no data.
    pub le: Option<u16>,
}

impl Command {
    /// A case 1 command.
    pub fn new(cla: u8, ins: u8, p1: u8, p2: u8) -> Self {
        Command { cla, ins, p1, p2, data: Zeroizing::new(Vec::new()), le: None }
    }

    /// With a data field. Longer data than [`MAX_COMMAND_DATA_BYTES`] must be refused before.
    pub fn with_data(mut self, data: &[u8]) -> Self {
        self.data = Zeroizing::new(data.to_vec());
        self
    }

    /// Expecting as much as the card has.
    pub fn expecting_all(mut self) -> Self {
        self.le = Some(MAX_RESPONSE_DATA_BYTES);
        self
    }

    /// Expecting `le` bytes, 1–256.
    pub fn expecting(mut self, le: u16) -> Self {
        self.le = Some(le);
        self
    }

    /// Which case the command is. An empty data field counts as none.
    pub fn case(&self) -> Case {
        match (self.data.is_empty(), self.le.is_some()) {
            (true, false) => Case::One,
            (true, true) => Case::Two,
            (false, false) => Case::Three,
            (false, true) => Case::Four,
        }
    }

    /// The bytes on the interface.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = self.encode_without_le();
        if let Some(le) = self.le {
            bytes.push(le.to_be_bytes()[1]);
        }
        bytes
    }

    /// The bytes without Le, as T=0 sends a case 4 command.
    pub fn encode_without_le(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + 2 + self.data.len()));
        bytes.extend_from_slice(&[self.cla, self.ins, self.p1, self.p2]);
        if !self.data.is_empty() {
            bytes.push(u8::try_from(self.data.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(&self.data);
        }
        bytes
    }

    /// Reads a short command of any case.
    ///
    /// # Errors
    /// [`ApduError::CommandTooShort`], [`ApduError::CommandLength`].
    pub fn parse(bytes: &[u8]) -> Result<Command, ApduError> {
        let (&[cla, ins, p1, p2], body) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(ApduError::CommandTooShort { length: bytes.len() })?;
        let command = Command::new(cla, ins, p1, p2);
        let expected = |le: u8| if le == 0 { MAX_RESPONSE_DATA_BYTES } else { u16::from(le) };
        match *body {
            [] => Ok(command),
            [le] => Ok(command.expecting(expected(le))),
            [lc, ref rest @ ..] if lc != 0 && rest.len() == usize::from(lc) => Ok(command.with_data(rest)),
            [lc, ref data @ .., le] if lc != 0 && data.len() == usize::from(lc) => {
                Ok(command.with_data(data).expecting(expected(le)))
            }
            _ => Err(ApduError::CommandLength),
        }
    }

    /// The instruction in words.
    pub fn name(&self) -> &'static str {
        instruction_name(self.ins)
    }

    /// Whether the data field must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.ins, ins::VERIFY | ins::PIN_CHANGE_UNBLOCK)
    }
}

/// An instruction code in words.
pub fn instruction_name(instruction: u8) -> &'static str {
    match instruction {
        ins::SELECT => "SELECT",
        ins::READ_RECORD => "READ RECORD",
        ins::GET_PROCESSING_OPTIONS => "GET PROCESSING OPTIONS",
        ins::INTERNAL_AUTHENTICATE => "INTERNAL AUTHENTICATE",
        ins::EXTERNAL_AUTHENTICATE => "EXTERNAL AUTHENTICATE",
        ins::VERIFY => "VERIFY",
        ins::GET_CHALLENGE => "GET CHALLENGE",
        ins::GET_DATA => "GET DATA",
        ins::GENERATE_AC => "GENERATE AC",
        ins::GET_RESPONSE => "GET RESPONSE",
        ins::APPLICATION_BLOCK => "APPLICATION BLOCK",
        ins::APPLICATION_UNBLOCK => "APPLICATION UNBLOCK",
        ins::CARD_BLOCK => "CARD BLOCK",
        ins::PIN_CHANGE_UNBLOCK => "PIN CHANGE/UNBLOCK",
        ins::PUT_DATA => "PUT DATA",
        ins::UPDATE_RECORD => "UPDATE RECORD",
        _ => "unknown command",
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Command({} {:02X}{:02X}{:02X}{:02X}, {} data bytes, Le {:?})",
            self.name(),
            self.cla,
            self.ins,
            self.p1,
            self.p2,
            self.data.len(),
            self.le
        )
    }
}

/// Status bytes SW1 SW2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusWord(u16);

impl StatusWord {
    /// Normal processing.
    pub const OK: StatusWord = StatusWord(0x9000);
    /// Selected file deactivated: the application is blocked.
    pub const FILE_INVALIDATED: StatusWord = StatusWord(0x6283);
    /// Authentication method blocked: no PIN tries left.
    pub const AUTHENTICATION_BLOCKED: StatusWord = StatusWord(0x6983);
    /// Referenced data invalidated: the PIN is blocked.
    pub const REFERENCE_DATA_INVALIDATED: StatusWord = StatusWord(0x6984);
    /// Conditions of use not satisfied.
    pub const CONDITIONS_NOT_SATISFIED: StatusWord = StatusWord(0x6985);
    /// Function not supported: for SELECT, the card is blocked.
    pub const FUNCTION_NOT_SUPPORTED: StatusWord = StatusWord(0x6A81);
    /// File or application not found.
    pub const FILE_NOT_FOUND: StatusWord = StatusWord(0x6A82);
    /// Record not found.
    pub const RECORD_NOT_FOUND: StatusWord = StatusWord(0x6A83);

    /// From the two bytes as one number.
    pub const fn new(number: u16) -> Self {
        StatusWord(number)
    }

    /// The two bytes as one number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// First status byte.
    pub const fn sw1(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Second status byte.
    pub const fn sw2(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Whether it is `9000`.
    pub fn is_ok(self) -> bool {
        self == StatusWord::OK
    }

    /// Whether it is a warning, `62xx` or `63xx`.
    pub fn is_warning(self) -> bool {
        matches!(self.sw1(), 0x62 | 0x63)
    }

    /// Tries left, from `63Cx`.
    pub fn tries_left(self) -> Option<u8> {
        (self.0 & 0xFFF0 == 0x63C0).then_some(self.sw2() & 0x0F)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusWord({self})")
    }
}

/// A response APDU. The data is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Data field.
    pub data: Zeroizing<Vec<u8>>,
    /// Status bytes.
    pub status: StatusWord,
}

impl Response {
    /// A response with data and a status.
    pub fn new(data: &[u8], status: StatusWord) -> Self {
        Response { data: Zeroizing::new(data.to_vec()), status }
    }

    /// Splits what the card sent into data and status.
    ///
    /// # Errors
    /// [`ApduError::ResponseLength`].
    pub fn parse(bytes: &[u8]) -> Result<Response, ApduError> {
        let refused = ApduError::ResponseLength { length: bytes.len() };
        let (data, &status) = bytes.split_last_chunk::<2>().ok_or(refused)?;
        if data.len() > usize::from(MAX_RESPONSE_DATA_BYTES) {
            return Err(refused);
        }
        Ok(Response::new(data, StatusWord(u16::from_be_bytes(status))))
    }

    /// The bytes on the interface.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = self.data.clone();
        bytes.extend_from_slice(&self.status.0.to_be_bytes());
        bytes
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} data bytes, {})", self.data.len(), self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_four_cases_are_told_apart() {
        let cases = [
            (&[0x12, 0x34, 0x56, 0x78][..], Case::One),
            (&[0x00, 0xB2, 0x01, 0x0C, 0x00], Case::Two),
            (&[0x00, 0x82, 0x00, 0x00, 0x01, 0xAA], Case::Three),
            (&[0x00, 0xA4, 0x04, 0x00, 0x01, 0xAA, 0x00], Case::Four),
        ];
        for (bytes, case) in cases {
            let command = Command::parse(bytes).expect("valid");
            assert_eq!(command.case(), case);
            assert_eq!(command.encode()[..], *bytes);
        }
    }

    #[test]
    fn debug_never_shows_data() {
        let command = Command::new(0, ins::VERIFY, 0, 0x80).with_data(&[0x24, 0x12, 0x34]);
        assert!(!format!("{command:?}").contains("1234"));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_encodes_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..270)) {
            if let Ok(command) = Command::parse(&bytes) {
                prop_assert_eq!(&command.encode()[..], &bytes[..]);
            }
            if let Ok(response) = Response::parse(&bytes) {
                prop_assert_eq!(&response.encode()[..], &bytes[..]);
            }
        }
    }
}
