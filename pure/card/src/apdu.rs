//! The command and the answer as bytes (ISO/IEC 7816-3 §12.1, EMV 4.4 Book 1 §9.4).

use crate::status::{self, StatusWord};

/// Shortest command: CLA INS P1 P2.
const HEADER_BYTES: usize = 4;
/// What an Le byte of zero asks for.
const LE_ZERO_BYTES: u16 = 256;

/// A short command APDU, borrowed from the bytes that came in.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    pub cla: u8,
    pub ins: u8,
    pub p1: u8,
    pub p2: u8,
    pub data: &'a [u8],
    pub le_bytes: Option<u16>,
}

impl<'a> Command<'a> {
    /// Reads cases 1 to 4 with short lengths. Anything else is a wrong length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StatusWord> {
        let (&[cla, ins, p1, p2], body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(status::WRONG_LENGTH)?;
        let (data, le_bytes) = split_body(body).ok_or(status::WRONG_LENGTH)?;
        Ok(Self { cla, ins, p1, p2, data, le_bytes })
    }

    /// P1 and P2 as one number.
    pub fn parameters(&self) -> u16 {
        u16::from_be_bytes([self.p1, self.p2])
    }

    /// Refuses parameters other than the ones the command allows.
    pub fn require_parameters(&self, wanted: u16) -> Result<(), StatusWord> {
        if self.parameters() == wanted { Ok(()) } else { Err(status::WRONG_PARAMETERS) }
    }

    /// Refuses a data field of another length.
    pub fn require_length(&self, wanted: usize) -> Result<(), StatusWord> {
        if self.data.len() == wanted { Ok(()) } else { Err(status::WRONG_LENGTH) }
    }
}

fn split_body(body: &[u8]) -> Option<(&[u8], Option<u16>)> {
    match body {
        [] => Some((body, None)),
        [le] => Some((&[], Some(expected_bytes(*le)))),
        [0, ..] => None,
        [lc, rest @ ..] => match rest.split_at_checked(usize::from(*lc))? {
            (data, []) => Some((data, None)),
            (data, [le]) => Some((data, Some(expected_bytes(*le)))),
            _ => None,
        },
    }
}

fn expected_bytes(le: u8) -> u16 {
    if le == 0 { LE_ZERO_BYTES } else { u16::from(le) }
}

/// Response data and status word.
pub(crate) struct Answer {
    pub data: Vec<u8>,
    pub status: StatusWord,
}

impl Answer {
    /// Data and 9000.
    pub fn ok(data: Vec<u8>) -> Self {
        Self { data, status: status::NORMAL }
    }

    /// 9000 alone.
    pub fn done() -> Self {
        Self::ok(Vec::new())
    }

    /// A status word without data.
    pub fn status(status: StatusWord) -> Self {
        Self { data: Vec::new(), status }
    }

    /// The bytes that leave the card.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.data;
        bytes.extend_from_slice(&self.status.0.to_be_bytes());
        bytes
    }
}

/// What a command handler gives: an answer, or the status word that refuses.
pub(crate) type Handled = Result<Answer, StatusWord>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_cases_are_told_apart() {
        let case = |bytes: &[u8]| Command::parse(bytes).map(|command| (command.data.to_vec(), command.le_bytes)).ok();
        assert_eq!(case(&[0, 0x84, 0, 0]), Some((vec![], None)));
        assert_eq!(case(&[0, 0x84, 0, 0, 0]), Some((vec![], Some(256))));
        assert_eq!(case(&[0, 0xA4, 4, 0, 2, 7, 8]), Some((vec![7, 8], None)));
        assert_eq!(case(&[0, 0xA4, 4, 0, 2, 7, 8, 9]), Some((vec![7, 8], Some(9))));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for bytes in
            [&[0, 0xA4, 4][..], &[0, 0xA4, 4, 0, 3, 7, 8], &[0, 0xA4, 4, 0, 0, 0, 1], &[0, 1, 2, 3, 1, 7, 0, 0]]
        {
            assert_eq!(Command::parse(bytes).err(), Some(status::WRONG_LENGTH));
        }
    }
}
