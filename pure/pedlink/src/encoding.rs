//! Encodings of the words that a till journals.

use crate::{
    AccountPart, CardDecision, CardSummary, ChipData, ChipReceipt, CustomData, FrameTemplate, ResponseSummary,
    SealedBlob, TraceLine,
};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::Currency;

fn text(writer: &mut Writer, value: &str) {
    writer.text(value);
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(reader.text()?.to_owned())
}

fn optional_text(writer: &mut Writer, value: &Option<String>) {
    writer.option(value.as_deref(), text);
}

fn read_optional_text(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    reader.option(read_text)
}

fn optional_bytes(writer: &mut Writer, value: &Option<Vec<u8>>) {
    writer.option(value.as_ref(), |writer, bytes| {
        writer.bytes(bytes);
    });
}

fn read_optional_bytes(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    reader.option(|reader| Ok(reader.bytes()?.to_vec()))
}

fn optional<T: Encode>(writer: &mut Writer, value: &Option<T>) {
    writer.option(value.as_ref(), |writer, value| {
        writer.value(value);
    });
}

fn read_optional<T: Encode>(reader: &mut Reader<'_>) -> Result<Option<T>, Malformed> {
    reader.option(Reader::value)
}

fn currency(writer: &mut Writer, value: &Option<Currency>) {
    writer.u16(value.map_or(0, Currency::numeric));
}

fn read_currency(reader: &mut Reader<'_>) -> Result<Option<Currency>, Malformed> {
    match reader.u16()? {
        0 => Ok(None),
        code => Currency::from_numeric(code).map(Some).ok_or_else(|| reader.malformed("a currency")),
    }
}

impl Encode for TraceLine {
    fn encode(&self, writer: &mut Writer) {
        text(writer, &self.topic);
        text(writer, &self.text);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { topic: read_text(reader)?, text: read_text(reader)? })
    }
}

impl Encode for SealedBlob {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(reader.bytes()?.to_vec()))
    }
}

impl Encode for CustomData {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(reader.bytes()?.to_vec()))
    }
}

/// The last byte of version 1 of a template or response was a truth value. A later part follows it if its bit is set here, so that
/// what has no such part is written as ever.
mod last_byte {
    /// The truth value of version 1.
    pub const VALUE: u8 = 0x01;
    /// F22 and F59 of a template, F59 of a response (QR payments).
    pub const QR_PART: u8 = 0x02;
}

/// Writes the last byte of version 1.
fn put_last_byte(writer: &mut Writer, value: bool, qr_part: bool) {
    writer.u8(u8::from(value) | if qr_part { last_byte::QR_PART } else { 0 });
}

/// The truth value of version 1, and whether the part with the QR fields follows.
fn read_last_byte(reader: &mut Reader<'_>) -> Result<(bool, bool), Malformed> {
    let byte = reader.u8()?;
    if byte & !(last_byte::VALUE | last_byte::QR_PART) != 0 {
        return Err(reader.malformed("a known part"));
    }
    Ok((byte & last_byte::VALUE != 0, byte & last_byte::QR_PART != 0))
}

macro_rules! encode_enum {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl Encode for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.u8(match self { $($name::$variant => $number,)* });
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok($name::$variant),)*
                    _ => Err(reader.malformed(stringify!($name))),
                }
            }
        }
    };
}
encode_enum!(ChipData { None = 0, Request = 1, Reversal = 2, CardDeclined = 3, ScriptNotice = 4, Certificate = 5, OfflineSale = 6 });
encode_enum!(CardDecision { Online = 1, ApprovedOffline = 2, DeclinedOffline = 3, AccountOnly = 4 });

impl Encode for AccountPart {
    fn encode(&self, writer: &mut Writer) {
        match self {
            AccountPart::None => {
                writer.u8(0);
            }
            AccountPart::Session { session, with_pin, chip } => {
                writer.u8(1).u32(*session).bool(*with_pin).value(chip);
            }
            AccountPart::Blob { blob, with_track, chip } => {
                writer.u8(2).value(blob).bool(*with_track).value(chip);
            }
            AccountPart::Signature { blob, settlement_date, elements } => {
                writer.u8(60).option(blob.as_ref(), |writer, blob| {
                    writer.value(blob);
                });
                optional_text(writer, settlement_date);
                writer.bytes(elements);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(AccountPart::None),
            1 => Ok(AccountPart::Session { session: reader.u32()?, with_pin: reader.bool()?, chip: reader.value()? }),
            2 => Ok(AccountPart::Blob { blob: reader.value()?, with_track: reader.bool()?, chip: reader.value()? }),
            60 => Ok(AccountPart::Signature {
                blob: reader.option(Reader::value)?,
                settlement_date: read_optional_text(reader)?,
                elements: reader.bytes()?.to_vec(),
            }),
            _ => Err(reader.malformed("an account part")),
        }
    }
}

impl Encode for FrameTemplate {
    fn encode(&self, writer: &mut Writer) {
        text(writer, &self.tpdu);
        text(writer, &self.header);
        text(writer, &self.mti);
        optional_text(writer, &self.processing_code);
        optional(writer, &self.amount);
        currency(writer, &self.currency);
        optional(writer, &self.stan);
        optional_text(writer, &self.condition_code);
        optional_text(writer, &self.acquirer_id);
        optional(writer, &self.rrn);
        optional(writer, &self.authorisation_code);
        optional(writer, &self.response_code);
        writer.value(&self.terminal);
        writer.value(&self.merchant);
        optional_text(writer, &self.additional_private);
        text(writer, &self.private_60);
        optional_text(writer, &self.original_61);
        optional_bytes(writer, &self.private_62);
        optional_bytes(writer, &self.private_63);
        let qr_part = self.entry_mode.is_some() || self.custom.is_some();
        put_last_byte(writer, self.with_mac, qr_part);
        if qr_part {
            optional_text(writer, &self.entry_mode);
            optional(writer, &self.custom);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut template = Self {
            tpdu: read_text(reader)?,
            header: read_text(reader)?,
            mti: read_text(reader)?,
            processing_code: read_optional_text(reader)?,
            amount: read_optional(reader)?,
            currency: read_currency(reader)?,
            stan: read_optional(reader)?,
            condition_code: read_optional_text(reader)?,
            acquirer_id: read_optional_text(reader)?,
            rrn: read_optional(reader)?,
            authorisation_code: read_optional(reader)?,
            response_code: read_optional(reader)?,
            terminal: reader.value()?,
            merchant: reader.value()?,
            additional_private: read_optional_text(reader)?,
            private_60: read_text(reader)?,
            original_61: read_optional_text(reader)?,
            private_62: read_optional_bytes(reader)?,
            private_63: read_optional_bytes(reader)?,
            with_mac: false,
            entry_mode: None,
            custom: None,
        };
        let (with_mac, qr_part) = read_last_byte(reader)?;
        template.with_mac = with_mac;
        if qr_part {
            template.entry_mode = read_optional_text(reader)?;
            template.custom = read_optional(reader)?;
        }
        Ok(template)
    }
}

impl Encode for CardSummary {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.session);
        writer.value(&self.token);
        writer.value(&self.truncated);
        writer.bytes(&self.aid);
        text(writer, &self.label);
        text(writer, &self.organisation);
        text(writer, &self.entry_mode);
        writer.value(&self.decision);
        writer.bool(self.pin_entered);
        writer.bool(self.signature);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            session: reader.u32()?,
            token: reader.value()?,
            truncated: reader.value()?,
            aid: reader.bytes()?.to_vec(),
            label: read_text(reader)?,
            organisation: read_text(reader)?,
            entry_mode: read_text(reader)?,
            decision: reader.value()?,
            pin_entered: reader.bool()?,
            signature: reader.bool()?,
        })
    }
}

impl Encode for ChipReceipt {
    fn encode(&self, writer: &mut Writer) {
        text(writer, &self.aid);
        text(writer, &self.label);
        text(writer, &self.cryptogram);
        text(writer, &self.cryptogram_kind);
        text(writer, &self.tvr);
        text(writer, &self.tsi);
        writer.u16(self.atc);
        text(writer, &self.cvm_results);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            aid: read_text(reader)?,
            label: read_text(reader)?,
            cryptogram: read_text(reader)?,
            cryptogram_kind: read_text(reader)?,
            tvr: read_text(reader)?,
            tsi: read_text(reader)?,
            atc: reader.u16()?,
            cvm_results: read_text(reader)?,
        })
    }
}

impl Encode for ResponseSummary {
    fn encode(&self, writer: &mut Writer) {
        text(writer, &self.mti);
        writer.u8(self.order);
        writer.option(self.amount_minor, |writer, value| {
            writer.u64(value);
        });
        optional(writer, &self.stan);
        optional_text(writer, &self.local_time);
        optional_text(writer, &self.local_date);
        optional_text(writer, &self.settlement_date);
        optional_text(writer, &self.acquirer_id);
        optional(writer, &self.rrn);
        optional(writer, &self.authorisation_code);
        optional(writer, &self.response_code);
        optional_text(writer, &self.additional_response);
        optional_text(writer, &self.additional_private);
        optional_text(writer, &self.balances);
        optional_text(writer, &self.private_60);
        optional_bytes(writer, &self.private_62);
        optional_bytes(writer, &self.private_63);
        writer.bool(self.mac_verified);
        put_last_byte(writer, self.issuer_data, self.custom.is_some());
        if let Some(custom) = &self.custom {
            writer.value(custom);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut summary = Self {
            mti: read_text(reader)?,
            order: reader.u8()?,
            amount_minor: reader.option(Reader::u64)?,
            stan: read_optional(reader)?,
            local_time: read_optional_text(reader)?,
            local_date: read_optional_text(reader)?,
            settlement_date: read_optional_text(reader)?,
            acquirer_id: read_optional_text(reader)?,
            rrn: read_optional(reader)?,
            authorisation_code: read_optional(reader)?,
            response_code: read_optional(reader)?,
            additional_response: read_optional_text(reader)?,
            additional_private: read_optional_text(reader)?,
            balances: read_optional_text(reader)?,
            private_60: read_optional_text(reader)?,
            private_62: read_optional_bytes(reader)?,
            private_63: read_optional_bytes(reader)?,
            mac_verified: reader.bool()?,
            issuer_data: false,
            custom: None,
        };
        let (issuer_data, qr_part) = read_last_byte(reader)?;
        summary.issuer_data = issuer_data;
        if qr_part {
            summary.custom = Some(reader.value()?);
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Amount, AuthorisationCode, CardToken, MerchantId, ResponseCode, Rrn, Stan, TerminalId, TruncatedPan};

    fn comes_back<T: Encode + PartialEq + core::fmt::Debug>(value: &T) {
        let bytes = value.to_bytes();
        assert_eq!(&T::from_bytes(&bytes).unwrap(), value);
        assert!((0..bytes.len()).all(|length| T::from_bytes(&bytes[..length]).is_err()));
    }

    fn template() -> FrameTemplate {
        FrameTemplate {
            tpdu: "6000030000".to_owned(),
            header: "613100310000".to_owned(),
            mti: "0200".to_owned(),
            processing_code: Some("000000".to_owned()),
            amount: Amount::from_minor(1250, Currency::CNY),
            currency: Some(Currency::CNY),
            stan: Stan::new(2),
            condition_code: Some("00".to_owned()),
            acquirer_id: Some("48020000".to_owned()),
            rrn: Rrn::parse("093102000002").ok(),
            authorisation_code: AuthorisationCode::parse("A12345").ok(),
            response_code: Some(ResponseCode::APPROVED),
            terminal: TerminalId::parse("12345678").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            additional_private: Some("01".to_owned()),
            private_60: "2200000700060".to_owned(),
            original_61: Some("000007000002".to_owned()),
            private_62: Some(vec![1]),
            private_63: Some(vec![2]),
            with_mac: true,
            entry_mode: None,
            custom: None,
        }
    }

    #[test]
    fn templates_and_accounts_come_back() {
        comes_back(&template());
        comes_back(&FrameTemplate { currency: None, amount: None, stan: None, rrn: None, ..template() });
        let custom = Some(CustomData(b"A30196212345678901234567".to_vec()));
        comes_back(&FrameTemplate { entry_mode: Some("032".to_owned()), custom: custom.clone(), ..template() });
        comes_back(&FrameTemplate { with_mac: false, custom, ..template() });
        comes_back(&AccountPart::None);
        comes_back(&AccountPart::Session { session: 7, with_pin: true, chip: ChipData::Request });
        let blob = SealedBlob(vec![1, 2, 3]);
        comes_back(&AccountPart::Blob { blob, with_track: false, chip: ChipData::Certificate });
    }

    #[test]
    fn what_a_till_journals_comes_back() {
        comes_back(&CardSummary {
            session: 1,
            token: CardToken([7; 16]),
            truncated: TruncatedPan::parse("622262*********0012").unwrap(),
            aid: vec![0xA0, 0, 0, 3, 0x33],
            label: "UnionPay".to_owned(),
            organisation: "CUP".to_owned(),
            entry_mode: "051".to_owned(),
            decision: CardDecision::Online,
            pin_entered: true,
            signature: false,
        });
        comes_back(&ChipReceipt { atc: 9, tvr: "0000048000".to_owned(), ..ChipReceipt::default() });
        comes_back(&ResponseSummary { amount_minor: Some(1), stan: Stan::new(1), ..ResponseSummary::default() });
        let custom = Some(CustomData(b"A4020".to_vec()));
        comes_back(&ResponseSummary { custom: custom.clone(), ..ResponseSummary::default() });
        comes_back(&ResponseSummary { custom, issuer_data: true, ..ResponseSummary::default() });
        comes_back(&TraceLine { topic: "tvr".to_owned(), text: "七".to_owned() });
    }

    /// Without QR fields a template ends as version 1 ended it: with one truth value.
    #[test]
    fn what_has_no_qr_fields_is_written_as_ever() {
        for with_mac in [false, true] {
            let bytes = FrameTemplate { with_mac, ..template() }.to_bytes();
            assert_eq!(bytes.last(), Some(&u8::from(with_mac)));
        }
        let mut unknown = template().to_bytes();
        *unknown.last_mut().unwrap() = 0x80;
        assert!(FrameTemplate::from_bytes(&unknown).is_err());
        let shown = format!("{:?}", CustomData(b"A30196212345678901234567".to_vec()));
        assert_eq!(shown, "CustomData(24 bytes)");
    }

    /// Bytes that version 1 wrote.
    #[test]
    fn old_bytes_decode() {
        let part = AccountPart::Session { session: 7, with_pin: true, chip: ChipData::Request };
        assert_eq!(AccountPart::from_bytes(&[1, 0, 0, 0, 7, 1, 1]).unwrap(), part);
        assert!(AccountPart::from_bytes(&[3]).is_err());
    }
}
