//! The chip's part of a request: what the cryptogram was computed over (tables of the card profiles; JR/T 0025, VIS, M/Chip).

use crate::card_file::Scheme;
use tlv::{Element, Elements, Tag, tags};

/// Longest issuer application data (9F10).
const APPLICATION_DATA_BYTES_MAX: usize = 32;
const VISA_APPROVE_STATUS_UPDATE: [u8; 4] = [0x00, 0x80, 0x00, 0x00];
/// The response code an answer to the chip is made for; method 2 turns it into the card status update above.
pub(crate) const APPROVED_CODE: [u8; 2] = *b"00";

/// Objects of field 55 that enter every cryptogram before the card's own part, with their lengths, in order.
const INPUT: [(Tag, usize); 10] = [
    (tags::AMOUNT_AUTHORISED, 6),
    (tags::AMOUNT_OTHER, 6),
    (tags::TERMINAL_COUNTRY_CODE, 2),
    (tags::TVR, 5),
    (tags::TRANSACTION_CURRENCY_CODE, 2),
    (tags::TRANSACTION_DATE, 3),
    (tags::TRANSACTION_TYPE, 1),
    (tags::UNPREDICTABLE_NUMBER, 4),
    (tags::AIP, 2),
    (tags::ATC, 2),
];

/// 9F27, bits 8 and 7: which cryptogram (EMV 4.4 Book 3 table 15).
const CRYPTOGRAM_KIND: u8 = 0xC0;
const CERTIFICATE: u8 = 0x40;

/// What is wrong with field 55.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChipFault {
    /// It is no sequence of BER-TLV objects.
    #[error("field 55 is not BER-TLV")]
    NotTlv,
    /// An object that the cryptogram needs is absent, repeated with another value, or of a wrong length.
    #[error("field 55: object {0} is missing or of a wrong length")]
    Object(Tag),
    /// The issuer application data is not of the card's cryptogram version.
    #[error("9F10 is not of the card's cryptogram version")]
    ApplicationData,
}

/// What a cryptogram check needs of field 55.
#[derive(Clone, PartialEq, Eq)]
pub struct ChipData {
    /// 9F26.
    pub cryptogram: [u8; 8],
    /// Whether 9F27 says that the card approved (TC); otherwise it asks (ARQC).
    pub is_certificate: bool,
    /// 9F36.
    pub atc: u16,
    /// 9F37.
    pub unpredictable_number: [u8; 4],
    /// 9F02 in minor units.
    pub amount_minor: u64,
    /// The cryptogram's input without padding.
    pub input: Vec<u8>,
}

impl ChipData {
    /// Reads field 55 as it came; the values are used, not judged.
    ///
    /// # Errors
    /// See [`ChipFault`].
    pub fn parse(field_55: &[u8], scheme: Scheme) -> Result<Self, ChipFault> {
        let objects: Vec<Element<'_>> =
            Elements::new(field_55).collect::<Result<_, _>>().map_err(|_| ChipFault::NotTlv)?;
        let mut input = Vec::with_capacity(64);
        for (tag, length) in INPUT {
            input.extend_from_slice(object(&objects, tag, length)?);
        }
        let application_data = find(&objects, tags::ISSUER_APPLICATION_DATA)?;
        input.extend_from_slice(card_part(application_data, scheme)?);
        Ok(Self {
            cryptogram: fixed(&objects, tags::APPLICATION_CRYPTOGRAM)?,
            is_certificate: find(&objects, tags::CRYPTOGRAM_INFORMATION_DATA)
                .is_ok_and(|information| matches!(information, [kind] if kind & CRYPTOGRAM_KIND == CERTIFICATE)),
            atc: u16::from_be_bytes(fixed(&objects, tags::ATC)?),
            unpredictable_number: fixed(&objects, tags::UNPREDICTABLE_NUMBER)?,
            amount_minor: decimal(&fixed::<6>(&objects, tags::AMOUNT_AUTHORISED)?)
                .ok_or(ChipFault::Object(tags::AMOUNT_AUTHORISED))?,
            input,
        })
    }
}

/// Tag 91 of an approval.
pub(crate) fn issuer_authentication_data(scheme: Scheme, arpc: &[u8; 8]) -> Vec<u8> {
    match scheme {
        Scheme::VisaCvn18 => [&arpc[..4], &VISA_APPROVE_STATUS_UPDATE].concat(),
        Scheme::UnionPay | Scheme::MastercardCvn20 => [&arpc[..], &APPROVED_CODE].concat(),
    }
}

/// The part of 9F10 that the card puts behind the ATC.
fn card_part(application_data: &[u8], scheme: Scheme) -> Result<&[u8], ChipFault> {
    let (length_min, version_at, version, part) = match scheme {
        Scheme::UnionPay => (7, 2, 0x01, 3..7),
        Scheme::VisaCvn18 => (7, 2, 0x12, 0..application_data.len()),
        Scheme::MastercardCvn20 => (8, 1, 0x14, 2..8),
    };
    let fits = (length_min..=APPLICATION_DATA_BYTES_MAX).contains(&application_data.len());
    if !fits || application_data.get(version_at) != Some(&version) {
        return Err(ChipFault::ApplicationData);
    }
    application_data.get(part).ok_or(ChipFault::ApplicationData)
}

/// The one value of a tag; a tag that stands twice could show one value to one reader and another to the next.
fn find<'a>(objects: &[Element<'a>], wanted: Tag) -> Result<&'a [u8], ChipFault> {
    let mut found = objects.iter().filter(|object| object.tag == wanted);
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object.value),
        _ => Err(ChipFault::Object(wanted)),
    }
}

fn object<'a>(objects: &[Element<'a>], tag: Tag, length: usize) -> Result<&'a [u8], ChipFault> {
    let value = find(objects, tag)?;
    if value.len() == length { Ok(value) } else { Err(ChipFault::Object(tag)) }
}

fn fixed<const N: usize>(objects: &[Element<'_>], tag: Tag) -> Result<[u8; N], ChipFault> {
    find(objects, tag)?.try_into().map_err(|_| ChipFault::Object(tag))
}

fn decimal(packed: &[u8]) -> Option<u64> {
    packed
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0F])
        .try_fold(0_u64, |total, digit| (digit <= 9).then(|| total * 10 + u64::from(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 55 of message S3 (unionpay-pos §9).
    const S3: &str = "9F2608AE60C8CABA4C02F99F2701809F101307020103A0A002010A010000001100B96D058B9F3704329971469F36020391\
        950500A00470009A032503159C01009F02060000000100005F2A02015682027C009F1A0201569F03060000000000009F3303E0F0C8\
        9F34030203009F3501228408A0000003330101019F090200209F4104000000029F1E083132333435363738";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn the_worked_sale_gives_its_input_in_order() {
        let data = ChipData::parse(&bytes(S3), Scheme::UnionPay).unwrap();
        assert_eq!((data.atc, data.amount_minor), (0x0391, 10_000));
        let expected = bytes("000000010000 000000000000 0156 00A0047000 0156 250315 00 32997146 7C00 0391 03A0A002");
        assert_eq!(data.input, expected);
    }

    #[test]
    fn another_cryptogram_version_is_refused() {
        assert_eq!(ChipData::parse(&bytes(S3), Scheme::VisaCvn18).err(), Some(ChipFault::ApplicationData));
    }

    #[test]
    fn every_truncation_is_refused_and_nothing_panics() {
        let whole = bytes(S3);
        let needed = whole.len() - 11 - 7 - 5 - 11 - 4 - 6 - 6;
        for length in 0..needed {
            assert!(ChipData::parse(&whole[..length], Scheme::UnionPay).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_repeated_object_is_refused() {
        let mut twice = bytes(S3);
        twice.extend_from_slice(&bytes("9F0206000000000001"));
        assert_eq!(ChipData::parse(&twice, Scheme::UnionPay).err(), Some(ChipFault::Object(tags::AMOUNT_AUTHORISED)));
    }
}
