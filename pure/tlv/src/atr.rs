//! Answer to reset: parsing (ISO/IEC 7816-3 §8) and EMV conformance (EMV contact interface specification §8.3).

use thiserror::Error;

/// Most bytes of an ATR, TS included.
pub const MAX_ATR_BYTES: usize = 33;
/// Most rounds of interface bytes accepted.
pub const MAX_ROUNDS: usize = 8;

const TS_DIRECT: u8 = 0x3B;
const TS_INVERSE: u8 = 0x3F;
const PROTOCOL_T0: u8 = 0;
const PROTOCOL_T1: u8 = 1;
const PROTOCOL_GLOBAL: u8 = 15;

/// Why bytes are not an ATR at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AtrError {
    /// Fewer than two bytes or more than [`MAX_ATR_BYTES`].
    #[error("ATR of {length} bytes")]
    Size {
        /// Bytes given.
        length: usize,
    },
    /// The first byte is neither `3B` nor `3F`.
    #[error("ATR begins with an unknown convention")]
    InitialCharacter,
    /// The bytes end inside the part that earlier bytes announce.
    #[error("ATR ends early at offset {offset}")]
    Truncated {
        /// Where the missing byte should stand.
        offset: usize,
    },
    /// More than [`MAX_ROUNDS`] rounds of interface bytes.
    #[error("ATR has too many interface bytes")]
    TooManyRounds,
}

/// Why a well-formed ATR is not one a payment terminal accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AtrNonConformance {
    /// TA1 in specific mode outside `11`–`13`.
    #[error("TA1 outside 11..13")]
    Ta1,
    /// TB1 neither absent nor 00.
    #[error("TB1 is not 00")]
    Tb1,
    /// TC1 neither 00 nor FF.
    #[error("TC1 is neither 00 nor FF")]
    Tc1,
    /// The first protocol is neither T=0 nor T=1.
    #[error("TD1 protocol is neither T=0 nor T=1")]
    Td1,
    /// TA2 asks for implicit mode, or for a protocol other than the first one offered.
    #[error("TA2 is not specific mode of the first protocol")]
    Ta2,
    /// TB2 present.
    #[error("TB2 is present")]
    Tb2,
    /// TC2 of T=0 is not `0A`.
    #[error("TC2 is not 0A")]
    Tc2,
    /// The protocol after T=0 is not T=15, or after T=1 not T=1.
    #[error("TD2 protocol does not fit TD1")]
    Td2,
    /// TA3 outside what its protocol allows.
    #[error("TA3 out of range")]
    Ta3,
    /// TB3 of T=1 missing, with BWI above 4 or CWI above 5.
    #[error("TB3 out of range")]
    Tb3,
    /// TC3 of T=1 is not 00.
    #[error("TC3 is not 00")]
    Tc3,
    /// The check character is missing or wrong.
    #[error("check character missing or wrong")]
    Check,
    /// Bytes missing or left over.
    #[error("length does not fit")]
    Length,
}

/// The interface bytes of one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceBytes {
    /// TAi.
    pub ta: Option<u8>,
    /// TBi.
    pub tb: Option<u8>,
    /// TCi.
    pub tc: Option<u8>,
    /// TDi.
    pub td: Option<u8>,
}

/// A parsed ATR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Atr {
    /// Interface bytes, round 1 first.
    pub rounds: Vec<InterfaceBytes>,
    /// Protocols the TD bytes name, in order; T=0 alone when there is no TD byte.
    pub protocols: Vec<u8>,
    /// Historical bytes.
    pub historical: Vec<u8>,
    /// Check character TCK, where one stands.
    pub check: Option<u8>,
    /// The check character is right, or rightly absent.
    pub check_ok: bool,
    /// No byte is missing and none is left over.
    pub length_ok: bool,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Result<u8, AtrError> {
        let byte = *self.bytes.get(self.offset).ok_or(AtrError::Truncated { offset: self.offset })?;
        self.offset += 1;
        Ok(byte)
    }

    fn next_if(&mut self, present: bool) -> Result<Option<u8>, AtrError> {
        present.then(|| self.next()).transpose()
    }
}

impl Atr {
    /// Reads an ATR.
    ///
    /// # Errors
    /// See [`AtrError`]. A wrong check character is no error here: look at [`Atr::check_ok`].
    pub fn parse(bytes: &[u8]) -> Result<Atr, AtrError> {
        let [initial, format, ..] = *bytes else {
            return Err(AtrError::Size { length: bytes.len() });
        };
        if bytes.len() > MAX_ATR_BYTES {
            return Err(AtrError::Size { length: bytes.len() });
        }
        if initial != TS_DIRECT && initial != TS_INVERSE {
            return Err(AtrError::InitialCharacter);
        }
        let mut cursor = Cursor { bytes, offset: 2 };
        let rounds = read_rounds(&mut cursor, format)?;
        let historical = (0..format & 0x0F).map(|_| cursor.next()).collect::<Result<Vec<_>, _>>()?;
        Ok(finish(&cursor, rounds, historical))
    }

    /// Round `i` (from 1), empty when the ATR has fewer.
    pub fn round(&self, number: usize) -> InterfaceBytes {
        number.checked_sub(1).and_then(|index| self.rounds.get(index)).copied().unwrap_or_default()
    }

    /// Checks what a payment terminal must check after a reset.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check_emv(&self) -> Result<(), AtrNonConformance> {
        if !self.length_ok {
            return Err(AtrNonConformance::Length);
        }
        if !self.check_ok {
            return Err(AtrNonConformance::Check);
        }
        self.check_round_1()?;
        self.check_round_2()?;
        self.check_round_3()
    }

    fn first_protocol(&self) -> u8 {
        self.protocols.first().copied().unwrap_or(PROTOCOL_T0)
    }

    fn check_round_1(&self) -> Result<(), AtrNonConformance> {
        let round = self.round(1);
        let specific_mode = self.round(2).ta.is_some();
        if specific_mode && round.ta.is_some_and(|ta| !(0x11..=0x13).contains(&ta)) {
            return Err(AtrNonConformance::Ta1);
        }
        if round.tb.is_some_and(|tb| tb != 0x00) {
            return Err(AtrNonConformance::Tb1);
        }
        if round.tc.is_some_and(|tc| tc != 0x00 && tc != 0xFF) {
            return Err(AtrNonConformance::Tc1);
        }
        match self.first_protocol() {
            PROTOCOL_T0 | PROTOCOL_T1 => Ok(()),
            _ => Err(AtrNonConformance::Td1),
        }
    }

    fn check_round_2(&self) -> Result<(), AtrNonConformance> {
        let round = self.round(2);
        let first = self.first_protocol();
        if round.ta.is_some_and(|ta| ta & 0x10 != 0 || ta & 0x0F != first) {
            return Err(AtrNonConformance::Ta2);
        }
        if round.tb.is_some() {
            return Err(AtrNonConformance::Tb2);
        }
        if first == PROTOCOL_T0 && round.tc.is_some_and(|tc| tc != 0x0A) {
            return Err(AtrNonConformance::Tc2);
        }
        match (first, round.td.map(|td| td & 0x0F)) {
            (PROTOCOL_T0, None | Some(PROTOCOL_GLOBAL)) | (PROTOCOL_T1, Some(PROTOCOL_T1)) => Ok(()),
            _ => Err(AtrNonConformance::Td2),
        }
    }

    fn check_round_3(&self) -> Result<(), AtrNonConformance> {
        let round = self.round(3);
        if self.first_protocol() == PROTOCOL_T0 {
            let class_ok = |ta: u8| (0x01..=0x07).contains(&(ta & 0x3F));
            return match round.ta {
                Some(ta) if !class_ok(ta) => Err(AtrNonConformance::Ta3),
                _ => Ok(()),
            };
        }
        if round.ta.is_some_and(|ta| !(0x10..=0xFE).contains(&ta)) {
            return Err(AtrNonConformance::Ta3);
        }
        if round.tb.is_none_or(|tb| tb >> 4 > 4 || tb & 0x0F > 5) {
            return Err(AtrNonConformance::Tb3);
        }
        match round.tc {
            Some(tc) if tc != 0x00 => Err(AtrNonConformance::Tc3),
            _ => Ok(()),
        }
    }
}

fn read_rounds(cursor: &mut Cursor<'_>, format: u8) -> Result<Vec<InterfaceBytes>, AtrError> {
    let mut rounds = Vec::new();
    let mut presence = Some(format);
    while let Some(bits) = presence {
        if rounds.len() == MAX_ROUNDS {
            return Err(AtrError::TooManyRounds);
        }
        let round = InterfaceBytes {
            ta: cursor.next_if(bits & 0x10 != 0)?,
            tb: cursor.next_if(bits & 0x20 != 0)?,
            tc: cursor.next_if(bits & 0x40 != 0)?,
            td: cursor.next_if(bits & 0x80 != 0)?,
        };
        presence = round.td;
        rounds.push(round);
    }
    Ok(rounds)
}

fn finish(cursor: &Cursor<'_>, rounds: Vec<InterfaceBytes>, historical: Vec<u8>) -> Atr {
    let mut protocols: Vec<u8> = rounds.iter().filter_map(|round| round.td.map(|td| td & 0x0F)).collect();
    if protocols.is_empty() {
        protocols.push(PROTOCOL_T0);
    }
    let needs_check = protocols.iter().any(|&protocol| protocol != PROTOCOL_T0);
    let rest = &cursor.bytes[cursor.offset..];
    let check = rest.first().copied().filter(|_| needs_check);
    let sum = cursor.bytes[1..].iter().fold(0, |sum, byte| sum ^ byte);
    let length_ok = rest.len() == usize::from(needs_check);
    Atr {
        rounds,
        protocols,
        historical,
        check,
        check_ok: if needs_check { length_ok && sum == 0 } else { true },
        length_ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_basic_t1_atr_is_accepted() {
        let atr = Atr::parse(&[0x3B, 0xE0, 0x00, 0xFF, 0x81, 0x31, 0x7C, 0x41, 0x92]).expect("valid");
        assert_eq!(atr.check_emv(), Ok(()));
        assert_eq!(atr.protocols, [1, 1]);
    }

    #[test]
    fn a_wrong_check_character_is_named() {
        let atr = Atr::parse(&[0x3B, 0xE0, 0x00, 0xFF, 0x81, 0x31, 0x7C, 0x41, 0x93]).expect("parses");
        assert_eq!(atr.check_emv(), Err(AtrNonConformance::Check));
    }

    #[test]
    fn implicit_mode_is_refused() {
        let mut bytes =
            [0x3B, 0xF4, 0x13, 0x00, 0xFF, 0xD0, 0x10, 0x0A, 0x3F, 0x03, 0x00, 0xDE, 0xAD, 0xBE, 0xEF, 0x00];
        bytes[15] = bytes[1..15].iter().fold(0, |sum, byte| sum ^ byte);
        let atr = Atr::parse(&bytes).expect("parses");
        assert_eq!(atr.check_emv(), Err(AtrNonConformance::Ta2));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(atr) = Atr::parse(&bytes) {
                let _ = atr.check_emv();
            }
        }
    }
}
