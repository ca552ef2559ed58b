//! Words of cards and issuers: cryptogram versions, issuer responses, card codes.

use crate::scheme::encode_enum;
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Most bytes of proprietary authentication data (EMV 4.4 Book 2 §8.2.2).
pub const PROPRIETARY_AUTHENTICATION_BYTES_MAX: usize = 8;

/// A scheme's recipe for cryptograms, issuer responses and scripts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CryptogramVersion {
    /// PBOC 3.0 / UnionPay CVN 01.
    Pboc,
    /// Visa CVN 10: master key used directly, zero padding.
    VisaCvn10,
    /// Visa CVN 18: EMV common session key, ARPC method 2; scripts under Visa's own session key.
    VisaCvn18,
    /// Visa CVN 22: as 18, scripts with common session keys.
    VisaCvn22,
    /// M/Chip 4 CVN 16: proprietary session key.
    MastercardCvn16,
    /// M/Chip 4 CVN 17: as 16, counters in the cryptogram.
    MastercardCvn17,
    /// M/Chip 4 CVN 20: EMV common session key.
    MastercardCvn20,
    /// M/Chip 4 CVN 21: as 20, counters in the cryptogram.
    MastercardCvn21,
    /// Interac CVN 133.
    InteracCvn133,
}
encode_enum!(CryptogramVersion {
    Pboc = 1,
    VisaCvn10 = 2,
    VisaCvn18 = 3,
    VisaCvn22 = 4,
    MastercardCvn16 = 5,
    MastercardCvn17 = 6,
    MastercardCvn20 = 7,
    MastercardCvn21 = 8,
    InteracCvn133 = 9,
});

impl CryptogramVersion {
    /// Every version, in the order of its wire number.
    pub const ALL: [CryptogramVersion; 9] = [
        CryptogramVersion::Pboc,
        CryptogramVersion::VisaCvn10,
        CryptogramVersion::VisaCvn18,
        CryptogramVersion::VisaCvn22,
        CryptogramVersion::MastercardCvn16,
        CryptogramVersion::MastercardCvn17,
        CryptogramVersion::MastercardCvn20,
        CryptogramVersion::MastercardCvn21,
        CryptogramVersion::InteracCvn133,
    ];
}

/// What the issuer says in its ARPC, should the cryptogram be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IssuerResponse {
    /// Method 1: the authorisation response code.
    ResponseCode([u8; 2]),
    /// Method 2: card status update and up to eight bytes of proprietary authentication data.
    CardStatusUpdate {
        /// The update (EMV 4.4 Book 3 annex C10).
        update: [u8; 4],
        /// The proprietary data.
        proprietary: Vec<u8>,
    },
}

impl Encode for IssuerResponse {
    fn encode(&self, writer: &mut Writer) {
        match self {
            IssuerResponse::ResponseCode(code) => writer.u8(1).raw(code),
            IssuerResponse::CardStatusUpdate { update, proprietary } => writer.u8(2).raw(update).bytes(proprietary),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => reader.array("a response code").map(IssuerResponse::ResponseCode),
            2 => {
                let update = reader.array("a card status update")?;
                let proprietary = reader.bytes()?;
                if proprietary.len() > PROPRIETARY_AUTHENTICATION_BYTES_MAX {
                    return Err(reader.malformed("proprietary authentication data"));
                }
                Ok(IssuerResponse::CardStatusUpdate { update, proprietary: proprietary.to_vec() })
            }
            _ => Err(reader.malformed("an issuer response")),
        }
    }
}

/// The card and transaction a cryptogram or script belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardTransaction {
    /// The scheme's recipe.
    pub version: CryptogramVersion,
    /// PAN sequence number (5F34), 0 if the card has none.
    pub card_sequence: u8,
    /// ATC (9F36).
    pub atc: u16,
    /// The cryptogram (9F26).
    pub cryptogram: [u8; 8],
}

impl Encode for CardTransaction {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.version).u8(self.card_sequence).u16(self.atc).raw(&self.cryptogram);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: reader.value()?,
            card_sequence: reader.u8()?,
            atc: reader.u16()?,
            cryptogram: reader.array("a cryptogram")?,
        })
    }
}

/// Which static card code, with what it is made over beside account number and expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardCode {
    /// CVV / CVC 1 of the magnetic stripe, with the stripe's service code (three ASCII digits).
    MagneticStripe([u8; 3]),
    /// iCVV / chip CVC: service code 999.
    Chip,
    /// CVV2 / CVC 2: service code 000.
    Printed,
}

impl CardCode {
    /// The service code, three ASCII digits.
    pub fn service_code(self) -> [u8; 3] {
        match self {
            CardCode::MagneticStripe(code) => code,
            CardCode::Chip => *b"999",
            CardCode::Printed => *b"000",
        }
    }
}

impl Encode for CardCode {
    fn encode(&self, writer: &mut Writer) {
        match self {
            CardCode::MagneticStripe(code) => writer.u8(1).raw(code),
            CardCode::Chip => writer.u8(2),
            CardCode::Printed => writer.u8(3),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => {
                let code: [u8; 3] = reader.array("a service code")?;
                // 000 and 999 are the other two kinds: one code, one encoding.
                let own = code.iter().all(u8::is_ascii_digit) && code != *b"000" && code != *b"999";
                own.then_some(CardCode::MagneticStripe(code)).ok_or_else(|| reader.malformed("a service code"))
            }
            2 => Ok(CardCode::Chip),
            3 => Ok(CardCode::Printed),
            _ => Err(reader.malformed("a kind of card code")),
        }
    }
}

/// Which way the expiry stands in a card code's input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiryOrder {
    /// YYMM, as on the track.
    YearMonth,
    /// MMYY, as some issuers print it.
    MonthYear,
}
encode_enum!(ExpiryOrder { YearMonth = 1, MonthYear = 2 });

/// A dynamic card code of a contactless magnetic-stripe transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DynamicCode {
    /// Mastercard CVC3 (M/Chip): the initial vector is a MAC of the static track data.
    Cvc3 {
        /// The IVCVC3 of the track: two bytes that personalisation computed.
        initial_vector: [u8; 2],
        /// Unpredictable number of the terminal.
        unpredictable_number: [u8; 4],
        /// Application transaction counter.
        atc: u16,
        /// PAN sequence number.
        card_sequence: u8,
    },
    /// Visa dCVV: expiry and service code as on the track, with the counter in front of the account number.
    Dcvv {
        /// Application transaction counter.
        atc: u16,
        /// Service code, three ASCII digits.
        service_code: [u8; 3],
        /// PAN sequence number.
        card_sequence: u8,
    },
}

impl Encode for DynamicCode {
    fn encode(&self, writer: &mut Writer) {
        match self {
            DynamicCode::Cvc3 { initial_vector, unpredictable_number, atc, card_sequence } => {
                writer.u8(1).raw(initial_vector).raw(unpredictable_number).u16(*atc).u8(*card_sequence)
            }
            DynamicCode::Dcvv { atc, service_code, card_sequence } => {
                writer.u8(2).u16(*atc).raw(service_code).u8(*card_sequence)
            }
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(DynamicCode::Cvc3 {
                initial_vector: reader.array("an initial vector")?,
                unpredictable_number: reader.array("an unpredictable number")?,
                atc: reader.u16()?,
                card_sequence: reader.u8()?,
            }),
            2 => {
                let atc = reader.u16()?;
                let service_code: [u8; 3] = reader.array("a service code")?;
                if !service_code.iter().all(u8::is_ascii_digit) {
                    return Err(reader.malformed("a service code"));
                }
                Ok(DynamicCode::Dcvv { atc, service_code, card_sequence: reader.u8()? })
            }
            _ => Err(reader.malformed("a kind of dynamic code")),
        }
    }
}
