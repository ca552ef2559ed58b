//! Writes a message: the till's public fields and what only the PED may add (unionpay-pos §3.2, conditions C1–C9).

use crate::account::EntryMode;
use iso8583::dialect::unionpay::SPEC;
use iso8583::unionpay::{Frame, Header, Tpdu};
use iso8583::{EncodeError, Encoder};
use pedlink::FrameTemplate;
use types::{Expiry, Pan, SecretBytes};
use zeroize::Zeroizing;

/// Room in a body for everything of bounded length: type, bitmap and all fields but 48, 55 and those from 59 to 63, in bytes.
const BOUNDED_BYTES: usize = 256;
/// Room for the lengths in front of the others, in bytes.
const LENGTHS_BYTES: usize = 16;
/// Room for length, TPDU and header, in bytes.
const ENVELOPE_BYTES: usize = 13;
/// Bytes of F64.
pub(crate) const MAC_BYTES: usize = 8;
/// F26: longest PIN the keypad takes (D6).
const PIN_CAPTURE: &str = "12";
/// What stands in F64 until the MAC is made.
const MAC_PLACE: [u8; MAC_BYTES] = [b' '; MAC_BYTES];

/// What a message type may carry of the card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Columns {
    /// F14.
    pub(crate) expiry: bool,
    /// F23.
    pub(crate) card_sequence: bool,
    /// F26, F52.
    pub(crate) pin: bool,
    /// F35.
    pub(crate) track: bool,
    /// Whether F22 repeats the one of the original.
    pub(crate) original_entry_mode: bool,
}

/// Transaction types (60.1) of offline settlement and adjustments, which are typed and not read.
const SETTLED_BY_HAND: [&str; 3] = ["30", "32", "34"];

impl Columns {
    /// The columns of unionpay-pos §3.2 and §3.4, by MTI and 60.1.
    pub(crate) fn of(mti: &str, private_60: &str) -> Self {
        let by_hand = mti == "0220" && private_60.get(..2).is_some_and(|code| SETTLED_BY_HAND.contains(&code));
        let online = matches!(mti, "0100" | "0200");
        let follows_original = matches!(mti, "0400" | "0320" | "0620");
        Self {
            expiry: online || matches!(mti, "0220" | "0400"),
            card_sequence: !by_hand,
            pin: online,
            track: online || (mti == "0220" && !by_hand),
            original_entry_mode: follows_original,
        }
    }
}

/// What the PED adds to one message.
#[derive(Debug)]
pub(crate) struct AccountFields {
    pub(crate) pan: Pan,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) entry_mode: EntryMode,
    pub(crate) card_sequence: Option<u8>,
    pub(crate) pin_block: Option<[u8; 8]>,
    /// Characters of F35, and whether they are enciphered.
    pub(crate) track2: Option<(SecretBytes, bool)>,
    pub(crate) chip: Option<Vec<u8>>,
}

impl AccountFields {
    /// F53: PIN format with PAN, double-length TDES, whether the track is enciphered (unionpay-pos §2.2, C7).
    fn security_control(&self) -> Option<&'static str> {
        let enciphered = self.track2.as_ref().map(|(_, enciphered)| *enciphered);
        match (self.pin_block.is_some(), enciphered) {
            (true, Some(true)) => Some("2610000000000000"),
            (true, _) => Some("2600000000000000"),
            (false, Some(true)) => Some("0610000000000000"),
            (false, Some(false)) => Some("0600000000000000"),
            (false, None) => None,
        }
    }
}

/// A buffer that holds the whole body: growth would leave a copy of it behind in freed memory. What is not used need not be wiped.
fn room(template: &FrameTemplate, field_55: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let digits = [template.additional_private.as_ref(), Some(&template.private_60), template.original_61.as_ref()];
    let octets =
        [template.private_62.as_ref(), template.private_63.as_ref(), template.custom.as_ref().map(|custom| &custom.0)];
    let digits: usize = digits.into_iter().flatten().map(String::len).sum();
    let octets: usize = octets.into_iter().flatten().map(Vec::len).sum();
    let whole = BOUNDED_BYTES + LENGTHS_BYTES + digits + octets + field_55.map_or(0, <[u8]>::len);
    Zeroizing::new(Vec::with_capacity(whole))
}

/// MTI, bitmap and fields. If the template wants a MAC, the last eight bytes are its place.
pub(crate) fn body(
    template: &FrameTemplate,
    account: Option<&AccountFields>,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let chip = account.and_then(|account| account.chip.as_deref());
    let mut out = room(template, chip);
    let mut encoder = Encoder::new(&SPEC, template.mti.as_bytes(), &mut out)?;
    write_until_26(&mut encoder, template, account)?;
    write_32_to_49(&mut encoder, template, account)?;
    write_from_52(&mut encoder, template, account)?;
    encoder.finish();
    Ok(out)
}

fn text(encoder: &mut Encoder<'_, '_>, number: u8, value: Option<&str>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| encoder.text(number, value).map(drop))
}

fn bytes(encoder: &mut Encoder<'_, '_>, number: u8, value: Option<&[u8]>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| encoder.bytes(number, value).map(drop))
}

fn number(encoder: &mut Encoder<'_, '_>, field: u8, value: Option<u64>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| encoder.number(field, value).map(drop))
}

fn write_until_26(
    encoder: &mut Encoder<'_, '_>,
    template: &FrameTemplate,
    account: Option<&AccountFields>,
) -> Result<(), EncodeError> {
    let expiry = account.and_then(|account| account.expiry).map(|expiry| Zeroizing::new(expiry.expose()));
    text(encoder, 2, account.map(|account| account.pan.expose()))?;
    text(encoder, 3, template.processing_code.as_deref())?;
    number(encoder, 4, template.amount.map(|amount| amount.minor()))?;
    number(encoder, 11, template.stan.map(|stan| u64::from(stan.number())))?;
    text(encoder, 14, expiry.as_ref().map(|expiry| expiry.as_str()))?;
    let entry_mode = account.map(|account| account.entry_mode.digits()).or(template.entry_mode.as_deref());
    text(encoder, 22, entry_mode)?;
    number(encoder, 23, account.and_then(|account| account.card_sequence).map(u64::from))?;
    text(encoder, 25, template.condition_code.as_deref())?;
    let with_pin = account.is_some_and(|account| account.pin_block.is_some());
    text(encoder, 26, with_pin.then_some(PIN_CAPTURE))
}

fn write_32_to_49(
    encoder: &mut Encoder<'_, '_>,
    template: &FrameTemplate,
    account: Option<&AccountFields>,
) -> Result<(), EncodeError> {
    text(encoder, 32, template.acquirer_id.as_deref())?;
    if let Some((track2, _)) = account.and_then(|account| account.track2.as_ref()) {
        encoder.characters(35, track2.expose())?;
    }
    text(encoder, 37, template.rrn.as_ref().map(|rrn| rrn.text()))?;
    text(encoder, 38, template.authorisation_code.as_ref().map(|code| code.text()))?;
    text(encoder, 39, template.response_code.as_ref().map(|code| code.text()))?;
    text(encoder, 41, Some(template.terminal.text()))?;
    text(encoder, 42, Some(template.merchant.text()))?;
    text(encoder, 48, template.additional_private.as_deref())?;
    let currency = template.currency.map(|currency| currency.digits());
    bytes(encoder, 49, currency.as_ref().map(|digits| &digits[..]))
}

fn write_from_52(
    encoder: &mut Encoder<'_, '_>,
    template: &FrameTemplate,
    account: Option<&AccountFields>,
) -> Result<(), EncodeError> {
    bytes(encoder, 52, account.and_then(|account| account.pin_block.as_ref()).map(|block| &block[..]))?;
    text(encoder, 53, account.and_then(AccountFields::security_control))?;
    bytes(encoder, 55, account.and_then(|account| account.chip.as_deref()))?;
    bytes(encoder, 59, template.custom.as_ref().map(|custom| &custom.0[..]))?;
    text(encoder, 60, Some(&template.private_60))?;
    text(encoder, 61, template.original_61.as_deref())?;
    bytes(encoder, 62, template.private_62.as_deref())?;
    bytes(encoder, 63, template.private_63.as_deref())?;
    bytes(encoder, 64, template.with_mac.then_some(&MAC_PLACE[..]))
}

/// What an electronic signature carries of its transaction beside the template (unionpay-pos §3.4).
#[derive(Debug)]
pub(crate) struct SignatureFields<'a> {
    pub(crate) pan: Option<Pan>,
    pub(crate) settlement_date: Option<&'a str>,
    pub(crate) elements: &'a [u8],
}

/// MTI, bitmap and fields of an electronic signature. The last eight bytes are the place of its MAC.
pub(crate) fn signature_body(
    template: &FrameTemplate,
    fields: &SignatureFields<'_>,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let mut out = room(template, Some(fields.elements));
    let mut encoder = Encoder::new(&SPEC, template.mti.as_bytes(), &mut out)?;
    text(&mut encoder, 2, fields.pan.as_ref().map(|pan| pan.expose()))?;
    number(&mut encoder, 4, template.amount.map(|amount| amount.minor()))?;
    number(&mut encoder, 11, template.stan.map(|stan| u64::from(stan.number())))?;
    text(&mut encoder, 15, fields.settlement_date)?;
    text(&mut encoder, 37, template.rrn.as_ref().map(|rrn| rrn.text()))?;
    text(&mut encoder, 41, Some(template.terminal.text()))?;
    text(&mut encoder, 42, Some(template.merchant.text()))?;
    bytes(&mut encoder, 55, Some(fields.elements))?;
    text(&mut encoder, 60, Some(&template.private_60))?;
    bytes(&mut encoder, 62, template.private_62.as_deref())?;
    bytes(&mut encoder, 64, template.with_mac.then_some(&MAC_PLACE[..]))?;
    encoder.finish();
    Ok(out)
}

/// Length, TPDU and header around a body. `None` if TPDU or header are not digits of the right count or the body is too long.
pub(crate) fn frame(template: &FrameTemplate, body: &[u8]) -> Option<Vec<u8>> {
    let tpdu = Tpdu(packed_digits(&template.tpdu)?);
    let header = Header(packed_digits(&template.header)?);
    let mut out = Vec::with_capacity(body.len() + ENVELOPE_BYTES);
    Frame::encode_bytes(tpdu, header, body, &mut out).ok()?;
    Some(out)
}

fn packed_digits<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let bytes = digits.as_bytes();
    if bytes.len() != 2 * N || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut packed = [0; N];
    for (place, pair) in packed.iter_mut().zip(bytes.chunks_exact(2)) {
        *place = (pair[0] - b'0') << 4 | (pair[1] - b'0');
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Amount, Currency, MerchantId, ResponseCode, Stan, TerminalId};

    /// S3 of unionpay-pos §9: a sale with PIN and enciphered track.
    const SALE: &str = "\
        011660000300006131003100000200702406C020C09A1119622262000000000001200000000000000100000000023012\
        051000010012376222620000000000012D51BA5C324CEF8CA30031323334353637383132333435363738393031323334\
        35313536D2C3C10F90CE4B95261000000000000001459F2608AE60C8CABA4C02F99F2701809F101307020103A0A00201\
        0A010000001100B96D058B9F3704329971469F36020391950500A00470009A032503159C01009F02060000000100005F\
        2A02015682027C009F1A0201569F03060000000000009F3303E0F0C89F34030203009F3501228408A000000333010101\
        9F090200209F4104000000029F1E0831323334353637380013220000070006003630433841303146";
    /// S5: its reversal with reason 98.
    const REVERSAL: &str = "\
        008A600003000061310031000004007024068002C0821119622262000000000001200000000000000100000000023012\
        0510000100393831323334353637383132333435363738393031323334353135360040950500A00470009F1E08313233\
        34353637389F101307020103A0A002010A010000001100B96D058B0013220000070006004133444537443144";

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// F55 of the sale, 145 bytes.
    fn chip_data() -> Vec<u8> {
        let sale = bytes(SALE);
        let start = sale.windows(3).position(|object| object == [0x9F, 0x26, 0x08]).unwrap();
        sale[start..start + 145].to_vec()
    }

    fn template(mti: &str) -> FrameTemplate {
        FrameTemplate {
            tpdu: "6000030000".to_owned(),
            header: "613100310000".to_owned(),
            mti: mti.to_owned(),
            processing_code: Some("000000".to_owned()),
            amount: Amount::from_minor(10_000, Currency::CNY),
            currency: Some(Currency::CNY),
            stan: Stan::new(2),
            condition_code: Some("00".to_owned()),
            acquirer_id: None,
            rrn: None,
            authorisation_code: None,
            response_code: None,
            terminal: TerminalId::parse("12345678").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            additional_private: None,
            private_60: "2200000700060".to_owned(),
            original_61: None,
            private_62: None,
            private_63: None,
            with_mac: true,
            entry_mode: None,
            custom: None,
        }
    }

    fn account(chip: Vec<u8>) -> AccountFields {
        AccountFields {
            pan: Pan::parse("6222620000000000012").unwrap(),
            expiry: Expiry::new(30, 12),
            entry_mode: EntryMode::ContactWithPin,
            card_sequence: Some(1),
            pin_block: None,
            track2: None,
            chip: Some(chip),
        }
    }

    /// The frame with the MAC that the worked message has.
    fn framed(template: &FrameTemplate, account: &AccountFields, mac: &[u8; 8]) -> Vec<u8> {
        let mut body = body(template, Some(account)).unwrap();
        let place = body.len() - MAC_BYTES;
        assert_eq!(body[place..], MAC_PLACE);
        body[place..].copy_from_slice(mac);
        frame(template, &body).unwrap()
    }

    #[test]
    fn the_worked_sale_comes_out_byte_for_byte() {
        let chip = chip_data();
        assert!(chip.ends_with(b"12345678"));
        let fields = AccountFields {
            pin_block: Some([0xD2, 0xC3, 0xC1, 0x0F, 0x90, 0xCE, 0x4B, 0x95]),
            track2: Some((SecretBytes::copy_from(b"6222620000000000012D51BA5C324CEF8CA30"), true)),
            ..account(chip)
        };
        assert_eq!(framed(&template("0200"), &fields, b"60C8A01F"), bytes(SALE));
    }

    #[test]
    fn the_worked_reversal_is_made_of_the_sale() {
        let chip = crate::chip::ChipRecord { request: chip_data(), last: None };
        let fields = account(chip.field_55(pedlink::ChipData::Reversal).unwrap());
        let template = FrameTemplate { response_code: Some(ResponseCode::parse("98").unwrap()), ..template("0400") };
        assert_eq!(framed(&template, &fields, b"A3DE7D1D"), bytes(REVERSAL));
    }

    #[test]
    fn a_message_without_a_card_says_itself_how_it_was_entered() {
        let template = FrameTemplate {
            entry_mode: Some("032".to_owned()),
            custom: Some(pedlink::CustomData(b"A30196212345678901234567".to_vec())),
            ..template("0200")
        };
        let body = body(&template, None).unwrap();
        let message = iso8583::unionpay::locate(iso8583::unionpay::Layout::Frame, &frame(&template, &body).unwrap())
            .map(|opened| [22, 59].map(|number| opened.message.field(number).map(|field| field.bytes().to_vec())));
        assert_eq!(message.unwrap(), [Some(vec![0x03, 0x20]), Some(b"A30196212345678901234567".to_vec())]);
    }

    #[test]
    fn a_signature_has_its_own_fields() {
        let template = FrameTemplate {
            rrn: types::Rrn::parse("093102000002").ok(),
            private_60: "07000007800".to_owned(),
            private_62: Some(vec![7; 3]),
            ..template("0820")
        };
        let pan = Pan::parse("6222620000000000012").unwrap();
        let fields = SignatureFields { pan: Some(pan), settlement_date: Some("0315"), elements: b"\xFF\x02\x01\x01" };
        let body = signature_body(&template, &fields).unwrap();
        let expected = bytes(
            "0820 5022000008C00215 19 62226200000000000120 000000010000 000002 0315 303933313032303030303032 \
             3132333435363738 313233343536373839303132333435 0004FF020101 0011070000078000 0003070707",
        );
        assert_eq!(body[..body.len() - MAC_BYTES], expected);
        assert_eq!(body[body.len() - MAC_BYTES..], MAC_PLACE);
    }

    #[test]
    fn a_field_that_does_not_fit_is_refused() {
        let template = FrameTemplate { private_60: "22000007".repeat(3), ..template("0200") };
        assert!(body(&template, None).is_err());
        assert!(frame(&FrameTemplate { tpdu: "60".to_owned(), ..template }, &[]).is_none());
    }

    #[test]
    fn the_longest_message_needs_no_second_buffer() {
        let fields = AccountFields {
            pin_block: Some([1; 8]),
            track2: Some((SecretBytes::copy_from(b"6222620000000000012D51BA5C324CEF8CA30"), true)),
            ..account(vec![0x95; 255])
        };
        let template = FrameTemplate {
            acquirer_id: Some("1".repeat(11)),
            rrn: Some(types::Rrn::parse("123456789012").unwrap()),
            authorisation_code: Some(types::AuthorisationCode::parse("123456").unwrap()),
            response_code: Some(ResponseCode::parse("00").unwrap()),
            additional_private: Some("1".repeat(322)),
            private_60: "1".repeat(17),
            original_61: Some("1".repeat(29)),
            private_62: Some(vec![1; 999]),
            private_63: Some(vec![b'1'; 163]),
            custom: Some(pedlink::CustomData(vec![b'1'; 999])),
            ..template("0200")
        };
        let body = body(&template, Some(&fields)).unwrap();
        assert!(body.len() <= body.capacity());
        assert_eq!(body.capacity(), room(&template, fields.chip.as_deref()).capacity());
    }

    #[test]
    fn columns_follow_the_table() {
        let sale = Columns::of("0200", "2200000100060");
        assert!(sale.expiry && sale.card_sequence && sale.pin && sale.track && !sale.original_entry_mode);
        let refund = Columns::of("0220", "2500000100060");
        assert!(refund.track && !refund.pin);
        assert!(!Columns::of("0220", "3000000100060").track);
        let reversal = Columns::of("0400", "2200000100060");
        assert!(reversal.expiry && reversal.card_sequence && !reversal.track && !reversal.pin);
        assert!(!Columns::of("0620", "0000000195160").expiry && !Columns::of("0320", "0000000120360").expiry);
    }

    #[test]
    fn digits_are_packed_or_refused() {
        assert_eq!(packed_digits::<5>("6000030000"), Some([0x60, 0, 3, 0, 0]));
        assert_eq!(packed_digits::<5>("600003000"), None);
        assert_eq!(packed_digits::<2>("00A0"), None);
        assert_eq!(packed_digits::<2>("０"), None);
    }
}
