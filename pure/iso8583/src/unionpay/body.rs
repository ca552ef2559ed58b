//! A whole message as typed, owned values.

use types::SecretBytes;
use zeroize::Zeroize;

use crate::dialect::unionpay::{MAC_FIELD, SPEC};
use crate::encode::Encoder;
use crate::error::{DecodeError, EncodeError, Expected, FieldPath, Found};
use crate::message::{Field, Message};
use crate::unionpay::{ConditionCode, EntryMode, F60, F61, ProcessingCode, SecurityControl};

/// Bytes of message type and bitmap.
const MTI_AND_BITMAP: usize = 10;
/// Bytes of F64.
const MAC_OCTETS: usize = 8;
/// Room for a large message, so that no secret is left behind in a smaller buffer.
const TYPICAL_BODY_OCTETS: usize = 1024;

/// The data elements of a UnionPay message (unionpay-pos §2). `None` is an absent field.
///
/// Digits and characters are ASCII; secrets (F2, F14, F35, F36, F48, F52, F55, F57–F59, F62) wipe
/// themselves and do not print. Fixed text is filled with spaces by the encoder.
#[derive(Debug, Default)]
pub struct Body {
    /// Message type: `*b"0200"`.
    pub mti: [u8; 4],
    /// F2, ASCII digits.
    pub pan: Option<SecretBytes>,
    /// F3.
    pub processing_code: Option<ProcessingCode>,
    /// F4, minor units, at most twelve digits.
    pub amount_minor: Option<u64>,
    /// F11, at most six digits.
    pub trace: Option<u32>,
    /// F12, `hhmmss`.
    pub local_time: Option<[u8; 6]>,
    /// F13, `MMDD`.
    pub local_date: Option<[u8; 4]>,
    /// F14, `YYMM`.
    pub expiry: Option<SecretBytes>,
    /// F15, `MMDD`.
    pub settlement_date: Option<[u8; 4]>,
    /// F22.
    pub entry_mode: Option<EntryMode>,
    /// F23, at most three digits.
    pub card_sequence: Option<u16>,
    /// F25.
    pub condition: Option<ConditionCode>,
    /// F26, two digits.
    pub pin_capture: Option<[u8; 2]>,
    /// F32, up to eleven digits.
    pub acquirer_id: Option<Vec<u8>>,
    /// F35 as hexadecimal characters, `D` separating; enciphered or not as F53 says.
    pub track2: Option<SecretBytes>,
    /// F36, as F35.
    pub track3: Option<SecretBytes>,
    /// F37.
    pub rrn: Option<[u8; 12]>,
    /// F38.
    pub authorisation_code: Option<[u8; 6]>,
    /// F39.
    pub response_code: Option<[u8; 2]>,
    /// F41.
    pub terminal_id: Option<[u8; 8]>,
    /// F42.
    pub merchant_id: Option<[u8; 15]>,
    /// F44; see [`super::Institutions`].
    pub additional_response: Option<Vec<u8>>,
    /// F48, digits; see [`super::Totals`] and [`super::parse_batch_details`].
    pub private_data: Option<SecretBytes>,
    /// F49.
    pub currency: Option<[u8; 3]>,
    /// F52, eight bytes, enciphered.
    pub pin_block: Option<SecretBytes>,
    /// F53.
    pub security_control: Option<SecurityControl>,
    /// F54; see [`super::Balance`].
    pub balance: Option<Vec<u8>>,
    /// F55, BER-TLV.
    pub icc_data: Option<SecretBytes>,
    /// F57.
    pub extension: Option<SecretBytes>,
    /// F58.
    pub purse_data: Option<SecretBytes>,
    /// F59; see [`super::parse_tags59`].
    pub custom: Option<SecretBytes>,
    /// F60.
    pub f60: Option<F60>,
    /// F61.
    pub f61: Option<F61>,
    /// F62; see [`super::KeyDelivery`], [`super::Capk`], [`super::IcUpload`].
    pub f62: Option<SecretBytes>,
    /// F63; see [`super::OperatorOrCard`].
    pub f63: Option<Vec<u8>>,
    /// F64: eight hexadecimal characters in ASCII (other algorithms: eight raw bytes).
    pub mac: Option<[u8; MAC_OCTETS]>,
}

impl Body {
    /// An empty message of a type.
    #[must_use]
    pub fn new(mti: [u8; 4]) -> Self {
        Self { mti, ..Self::default() }
    }

    /// The type of the answer: request type + 10 (§1.4).
    #[must_use]
    pub const fn response_mti(&self) -> [u8; 4] {
        let [version, class, function, origin] = self.mti;
        [version, class, function.wrapping_add(1), origin]
    }

    /// Reads the values of a message decoded with [`SPEC`].
    ///
    /// # Errors
    /// The message was decoded with another layout, or F60 is shorter than eight digits.
    pub fn from_message(message: &Message<'_>) -> Result<Self, DecodeError> {
        let mut body = Self::new(message.mti());
        for field in message.fields() {
            body.read(&field)?;
        }
        Ok(body)
    }

    fn read(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.number_in_message() {
            2..=15 => self.read_amounts_and_times(field),
            22..=42 => self.read_card_and_parties(field),
            _ => self.read_private(field),
        }
    }

    fn read_amounts_and_times(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.number_in_message() {
            2 => self.pan = Some(secret_characters(field)),
            3 => self.processing_code = Some(ProcessingCode(array(field)?)),
            4 => self.amount_minor = Some(number(field)?),
            11 => self.trace = Some(narrow(field)?),
            12 => self.local_time = Some(array(field)?),
            13 => self.local_date = Some(array(field)?),
            14 => self.expiry = Some(secret_characters(field)),
            15 => self.settlement_date = Some(array(field)?),
            _ => return Err(unknown(field)),
        }
        Ok(())
    }

    fn read_card_and_parties(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.number_in_message() {
            22 => self.entry_mode = Some(EntryMode(array(field)?)),
            23 => self.card_sequence = Some(narrow(field)?),
            25 => self.condition = Some(ConditionCode(array(field)?)),
            26 => self.pin_capture = Some(array(field)?),
            32 => self.acquirer_id = Some(field.to_vec()),
            35 => self.track2 = Some(secret_characters(field)),
            36 => self.track3 = Some(secret_characters(field)),
            37 => self.rrn = Some(array(field)?),
            38 => self.authorisation_code = Some(array(field)?),
            39 => self.response_code = Some(array(field)?),
            41 => self.terminal_id = Some(array(field)?),
            42 => self.merchant_id = Some(array(field)?),
            _ => return Err(unknown(field)),
        }
        Ok(())
    }

    fn read_private(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.number_in_message() {
            44 => self.additional_response = Some(field.bytes().to_vec()),
            48 => self.private_data = Some(secret_characters(field)),
            49 => self.currency = Some(array(field)?),
            52 => self.pin_block = Some(SecretBytes::copy_from(field.bytes())),
            53 => self.security_control = Some(SecurityControl(array(field)?)),
            54 => self.balance = Some(field.bytes().to_vec()),
            55 => self.icc_data = Some(SecretBytes::copy_from(field.bytes())),
            57 => self.extension = Some(SecretBytes::copy_from(field.bytes())),
            58 => self.purse_data = Some(SecretBytes::copy_from(field.bytes())),
            59 => self.custom = Some(SecretBytes::copy_from(field.bytes())),
            60 => self.f60 = Some(digits(field, F60::parse)?),
            61 => self.f61 = Some(digits(field, F61::parse)?),
            62 => self.f62 = Some(SecretBytes::copy_from(field.bytes())),
            63 => self.f63 = Some(field.bytes().to_vec()),
            MAC_FIELD => self.mac = Some(array(field)?),
            _ => return Err(unknown(field)),
        }
        Ok(())
    }

    /// Appends the message (without length, TPDU and header).
    ///
    /// # Errors
    /// A value does not fit its field; nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut encoder = Encoder::new(&SPEC, &self.mti, out)?;
        self.write_amounts_and_times(&mut encoder)?;
        self.write_card_and_parties(&mut encoder)?;
        self.write_private(&mut encoder)?;
        if let Some(mac) = &self.mac {
            encoder.bytes(MAC_FIELD, mac)?;
        }
        encoder.finish();
        Ok(())
    }

    fn write_amounts_and_times(&self, encoder: &mut Encoder<'_, '_>) -> Result<(), EncodeError> {
        put(encoder, 2, self.pan.as_ref().map(SecretBytes::expose))?;
        put(encoder, 3, self.processing_code.as_ref().map(|code| &code.0[..]))?;
        put_number(encoder, 4, self.amount_minor)?;
        put_number(encoder, 11, self.trace.map(u64::from))?;
        put(encoder, 12, self.local_time.as_ref().map(|time| &time[..]))?;
        put(encoder, 13, self.local_date.as_ref().map(|date| &date[..]))?;
        put(encoder, 14, self.expiry.as_ref().map(SecretBytes::expose))?;
        put(encoder, 15, self.settlement_date.as_ref().map(|date| &date[..]))
    }

    fn write_card_and_parties(&self, encoder: &mut Encoder<'_, '_>) -> Result<(), EncodeError> {
        put(encoder, 22, self.entry_mode.as_ref().map(|mode| &mode.0[..]))?;
        put_number(encoder, 23, self.card_sequence.map(u64::from))?;
        put(encoder, 25, self.condition.as_ref().map(|condition| &condition.0[..]))?;
        put(encoder, 26, self.pin_capture.as_ref().map(|capture| &capture[..]))?;
        put(encoder, 32, self.acquirer_id.as_deref())?;
        put(encoder, 35, self.track2.as_ref().map(SecretBytes::expose))?;
        put(encoder, 36, self.track3.as_ref().map(SecretBytes::expose))?;
        put(encoder, 37, self.rrn.as_ref().map(|rrn| &rrn[..]))?;
        put(encoder, 38, self.authorisation_code.as_ref().map(|code| &code[..]))?;
        put(encoder, 39, self.response_code.as_ref().map(|code| &code[..]))?;
        put(encoder, 41, self.terminal_id.as_ref().map(|id| &id[..]))?;
        put(encoder, 42, self.merchant_id.as_ref().map(|id| &id[..]))
    }

    fn write_private(&self, encoder: &mut Encoder<'_, '_>) -> Result<(), EncodeError> {
        put(encoder, 44, self.additional_response.as_deref())?;
        put(encoder, 48, self.private_data.as_ref().map(SecretBytes::expose))?;
        put(encoder, 49, self.currency.as_ref().map(|currency| &currency[..]))?;
        put_bytes(encoder, 52, self.pin_block.as_ref().map(SecretBytes::expose))?;
        put(encoder, 53, self.security_control.as_ref().map(|control| &control.0[..]))?;
        put(encoder, 54, self.balance.as_deref())?;
        put_bytes(encoder, 55, self.icc_data.as_ref().map(SecretBytes::expose))?;
        put_bytes(encoder, 57, self.extension.as_ref().map(SecretBytes::expose))?;
        put_bytes(encoder, 58, self.purse_data.as_ref().map(SecretBytes::expose))?;
        put_bytes(encoder, 59, self.custom.as_ref().map(SecretBytes::expose))?;
        put(encoder, 60, self.f60.as_ref().map(F60::digits))?;
        put(encoder, 61, self.f61.as_ref().map(F61::digits))?;
        put_bytes(encoder, 62, self.f62.as_ref().map(SecretBytes::expose))?;
        put(encoder, 63, self.f63.as_deref())
    }

    /// Appends the message with F64 made by `make_mac` over everything before it (§4.6: bit 64 is
    /// already set in what it gets). Stores the MAC in [`Body::mac`].
    ///
    /// # Errors
    /// A value does not fit its field, or what `make_mac` returns; nothing is appended.
    pub fn encode_with_mac<E: From<EncodeError>>(
        &mut self,
        out: &mut Vec<u8>,
        make_mac: impl FnOnce(&[u8]) -> Result<[u8; MAC_OCTETS], E>,
    ) -> Result<(), E> {
        let start = out.len();
        self.mac = Some([b'0'; MAC_OCTETS]);
        self.encode(out)?;
        let mac_start = out.len() - MAC_OCTETS;
        match make_mac(&out[start..mac_start]) {
            Ok(mac) => {
                self.mac = Some(mac);
                out[mac_start..].copy_from_slice(&mac);
                Ok(())
            }
            Err(error) => {
                self.mac = None;
                out[start..].zeroize();
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// The encoded message in a buffer that wipes itself.
    ///
    /// # Errors
    /// As [`Body::encode`].
    pub fn to_secret_bytes(&self) -> Result<SecretBytes, EncodeError> {
        let mut out = Vec::with_capacity(TYPICAL_BODY_OCTETS);
        match self.encode(&mut out) {
            Ok(()) => Ok(SecretBytes::new(out)),
            Err(error) => {
                out.zeroize();
                Err(error)
            }
        }
    }

    /// A second copy, secrets included.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let copy = |secret: &Option<SecretBytes>| secret.as_ref().map(SecretBytes::duplicate);
        Self {
            mti: self.mti,
            pan: copy(&self.pan),
            expiry: copy(&self.expiry),
            track2: copy(&self.track2),
            track3: copy(&self.track3),
            private_data: copy(&self.private_data),
            pin_block: copy(&self.pin_block),
            icc_data: copy(&self.icc_data),
            extension: copy(&self.extension),
            purse_data: copy(&self.purse_data),
            custom: copy(&self.custom),
            f62: copy(&self.f62),
            acquirer_id: self.acquirer_id.clone(),
            additional_response: self.additional_response.clone(),
            balance: self.balance.clone(),
            f63: self.f63.clone(),
            processing_code: self.processing_code,
            amount_minor: self.amount_minor,
            trace: self.trace,
            local_time: self.local_time,
            local_date: self.local_date,
            settlement_date: self.settlement_date,
            entry_mode: self.entry_mode,
            card_sequence: self.card_sequence,
            condition: self.condition,
            pin_capture: self.pin_capture,
            rrn: self.rrn,
            authorisation_code: self.authorisation_code,
            response_code: self.response_code,
            terminal_id: self.terminal_id,
            merchant_id: self.merchant_id,
            currency: self.currency,
            security_control: self.security_control,
            f60: self.f60,
            f61: self.f61,
            mac: self.mac,
        }
    }

    /// A copy without account data: no PAN, expiry, tracks, PIN block, chip data, batch details or
    /// private fields. What a till may keep.
    #[must_use]
    pub fn without_account_data(&self) -> Self {
        Self {
            pan: None,
            expiry: None,
            track2: None,
            track3: None,
            private_data: None,
            pin_block: None,
            icc_data: None,
            extension: None,
            purse_data: None,
            custom: None,
            f62: None,
            ..self.duplicate()
        }
    }
}

/// The bytes a MAC is made over: an encoded message up to (not including) F64. `None` if the
/// message has no F64 or is too short to have one.
///
/// ```
/// use iso8583::unionpay::mac_input;
/// let body = [2, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'A', b'2', b'5', b'D', b'4', b'4', b'4', b'6'];
/// assert_eq!(mac_input(&body), Some(&body[..10]));
/// ```
#[must_use]
pub fn mac_input(body: &[u8]) -> Option<&[u8]> {
    let has_mac = body.get(MTI_AND_BITMAP - 1)? & 1 == 1;
    let end = body.len().checked_sub(MAC_OCTETS)?;
    body.get(..end).filter(|input| has_mac && input.len() >= MTI_AND_BITMAP)
}

fn secret_characters(field: &Field<'_>) -> SecretBytes {
    SecretBytes::new(field.to_vec())
}

fn array<const N: usize>(field: &Field<'_>) -> Result<[u8; N], DecodeError> {
    let found = Found::Length(field.count());
    field.array().ok_or(field.refuse((Expected::Exactly(N), found)))
}

fn number(field: &Field<'_>) -> Result<u64, DecodeError> {
    let found = Found::Other("something else");
    field.number().ok_or(field.refuse((Expected::DecimalDigits, found)))
}

fn narrow<T: TryFrom<u64>>(field: &Field<'_>) -> Result<T, DecodeError> {
    let value = number(field)?;
    let found = Found::Other("a larger number");
    T::try_from(value).map_err(|_| field.refuse((Expected::DecimalDigits, found)))
}

/// Reads a field of packed digits with a parser whose offsets count digits.
fn digits<T>(field: &Field<'_>, parse: impl FnOnce(&[u8]) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let characters = field.to_vec();
    parse(&characters).map_err(|mut error| {
        error.offset /= 2;
        error.end = field.bytes().len();
        error.shifted(field.content_offset())
    })
}

fn unknown(field: &Field<'_>) -> DecodeError {
    let found = Found::Field(field.number_in_message());
    DecodeError::new(field.offset(), field.path(), Expected::KnownField, found)
}

fn put(encoder: &mut Encoder<'_, '_>, number: u8, value: Option<&[u8]>) -> Result<(), EncodeError> {
    match value {
        Some(value) => encoder.characters(number, value).map(|_| ()),
        None => Ok(()),
    }
}

fn put_bytes(encoder: &mut Encoder<'_, '_>, number: u8, value: Option<&[u8]>) -> Result<(), EncodeError> {
    match value {
        Some(value) => encoder.bytes(number, value).map(|_| ()),
        None => Ok(()),
    }
}

fn put_number(encoder: &mut Encoder<'_, '_>, number: u8, value: Option<u64>) -> Result<(), EncodeError> {
    match value {
        Some(value) => encoder.number(number, value).map(|_| ()),
        None => Ok(()),
    }
}

impl Body {
    /// The value of a mandatory field.
    ///
    /// # Errors
    /// The field is absent: the error a host answers with 30.
    pub fn require<T>(number: u8, value: Option<T>) -> Result<T, DecodeError> {
        let path = FieldPath::Field(number);
        value.ok_or(DecodeError::new(0, path, Expected::Value("this field"), Found::Nothing))
    }
}
