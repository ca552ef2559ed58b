//! A host for tests: opens what the PED sends with the same keys, checks it, and answers as an issuer would.

use super::vault::{MAK, PIK, TDK, TMK, tdes};
use card::{CardAccountData, CryptogramScheme};
use iso8583::dialect::unionpay::SPEC;
use iso8583::unionpay::{Frame, Header, Layout, Tpdu, locate};
use iso8583::{Encoder, Message};
use paycrypto::emv::{ArpcMethod, IssuerResponse, ScriptContext};
use paycrypto::mac::unionpay_ecb_mac;
use paycrypto::pin_block::decipher_format_0;
use paycrypto::track::decipher_track;
use paycrypto::working_keys::{WorkingKeys, write_field_62};
use std::collections::BTreeMap;
use tlv::{Elements, Tag};

/// Card status update: the issuer approves.
const CARD_STATUS_APPROVED: [u8; 4] = [0x00, 0x80, 0x00, 0x00];

pub fn key_delivery() -> Vec<u8> {
    key_delivery_under(&TMK)
}

pub fn key_delivery_under(master: &[u8; 16]) -> Vec<u8> {
    delivery(master, &MAK)
}

/// A delivery under a master key with another MAC key.
pub fn delivery(master: &[u8; 16], mac_key: &[u8]) -> Vec<u8> {
    let keys = WorkingKeys { pin_key: tdes(&PIK), mac_key: tdes(mac_key), track_key: Some(tdes(&TDK)) };
    write_field_62(&tdes(master), &keys).unwrap()
}

pub fn capk_entries() -> Vec<Vec<u8>> {
    card::test_capks().into_iter().map(capk_entry).collect()
}

fn capk_entry(capk: card::TestCapk) -> Vec<u8> {
    let expiry = capk.expiry.to_string().replace('-', "");
    let mut builder = tlv::Builder::new();
    builder.push(Tag::new(0x9F06), &capk.rid);
    builder.push(Tag::new(0x9F22), &[capk.index]);
    builder.push(Tag::new(0xDF05), expiry.as_bytes());
    builder.push(Tag::new(0xDF06), &[1]);
    builder.push(Tag::new(0xDF07), &[1]);
    builder.push(Tag::new(0xDF02), &capk.modulus);
    builder.push(Tag::new(0xDF04), &capk.exponent);
    builder.push(Tag::new(0xDF03), &capk.checksum);
    builder.into_bytes()
}

pub fn aid_entries() -> Vec<Vec<u8>> {
    [
        ("A000000333010101", "0020", "00000000", "99"),
        ("A000000333010102", "0020", "00000000", "99"),
        ("A000000333010106", "0020", "00002710", "00"),
        ("A0000000031010", "0096", "00000000", "99"),
        ("A0000000041010", "0002", "00000000", "99"),
    ]
    .map(|(aid, version, floor, percent)| {
        let text = format!(
            "9F06{:02X}{aid}DF010100DF0E00DF1105D84000A800DF1205D84004F800DF130500100000009F0802{version}9F1B04{floor}\
             DF150400000000DF1601{percent}DF1701{percent}DF14039F3704DF180101",
            aid.len() / 2
        );
        bytes(&text)
    })
    .into()
}

pub fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A request as the host sees it.
pub struct Request {
    pub mti: String,
    /// Every field as text.
    pub fields: BTreeMap<u8, String>,
    pub chip: BTreeMap<u32, Vec<u8>>,
    pub mac_right: Option<bool>,
}

impl Request {
    pub fn open(frame: &[u8]) -> Self {
        let opened = locate(Layout::Frame, frame).unwrap();
        let message = &opened.message;
        let fields = message.fields().map(|field| (field.number_in_message(), field.text())).collect();
        let chip = message.field(55).map(|field| field.bytes()).unwrap_or_default();
        let chip = Elements::new(chip).map(|element| element.unwrap()).map(|e| (e.tag.number(), e.value.to_vec()));
        Self {
            mti: String::from_utf8(message.mti().to_vec()).unwrap(),
            fields,
            chip: chip.collect(),
            mac_right: mac_right(message),
        }
    }

    pub fn numbers(&self) -> Vec<u8> {
        self.fields.keys().copied().collect()
    }

    pub fn pin(&self) -> Option<String> {
        let block: [u8; 8] = bytes(self.fields.get(&52)?).try_into().unwrap();
        let pin = decipher_format_0(&tdes(&PIK), &block, self.fields[&2].as_bytes()).unwrap();
        Some(String::from_utf8(pin.expose().as_bytes().to_vec()).unwrap())
    }

    pub fn track(&self) -> Option<String> {
        let clear = decipher_track(&tdes(&TDK), self.fields.get(&35)?.as_bytes()).unwrap();
        Some(String::from_utf8(clear.to_vec()).unwrap())
    }

    fn cryptogram_input(&self, scheme: CryptogramScheme) -> Vec<u8> {
        let tags = [0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36];
        let mut input: Vec<u8> = tags.iter().flat_map(|tag| self.chip[tag].clone()).collect();
        input.extend_from_slice(scheme.issuer_part(&self.chip[&0x9F10]).unwrap());
        input
    }

    /// 91 for an approval; panics unless the ARQC is right.
    pub fn issuer_data(&self, account: &CardAccountData, with_script: bool) -> Vec<u8> {
        let version = account.scheme.version();
        let pan = account.pan.expose().as_bytes();
        let master = |key: &[u8; 16]| version.icc_master_key(&tdes(key), pan, account.sequence_number).unwrap();
        let keys = &account.issuer_keys;
        let (atc, number) = (array(&self.chip[&0x9F36]), array(&self.chip[&0x9F37]));
        let arqc: [u8; 8] = array(&self.chip[&0x9F26]);
        let input = self.cryptogram_input(account.scheme);
        let key = master(keys.cryptogram.expose());
        assert!(version.verify_cryptogram(&key, atc, number, &input, &arqc).unwrap(), "ARQC is wrong");
        let (response, tail) = match version.arpc_method() {
            ArpcMethod::One => (IssuerResponse::ResponseCode(*b"00"), &b"00"[..]),
            ArpcMethod::Two => (IssuerResponse::CardStatusUpdate(CARD_STATUS_APPROVED, &[]), &CARD_STATUS_APPROVED[..]),
        };
        let arpc = version.arpc(&key, atc, number, &arqc, response).unwrap();
        let mut builder = tlv::Builder::new();
        builder.push(Tag::new(0x91), &[&arpc[..], tail].concat());
        if with_script {
            let key = master(keys.integrity.expose());
            let context = ScriptContext { atc, cryptogram: arqc };
            let length = 1 + account.scheme.script_mac_bytes() as u8;
            let header = [0x84, 0xDA, 0x9F, 0x58, length];
            let mac = version.script_mac(&key, &header, &context, &[7]).unwrap();
            let command = [&header[..], &[7], &mac[..account.scheme.script_mac_bytes()]].concat();
            builder.push_template(Tag::new(0x72), |inner| {
                inner.push(Tag::new(0x9F18), &[1, 2, 3, 4]);
                inner.push(Tag::new(0x86), &command);
            });
        }
        builder.into_bytes()
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn mac_right(message: &Message<'_>) -> Option<bool> {
    let mac = message.field(64)?.bytes();
    let covered = &message.body()[..message.body().len() - 8];
    Some(unionpay_ecb_mac(&tdes(&MAK), covered) == *mac)
}

/// An answer to a request: fields as text, F55 as bytes, MAC.
pub struct Answer {
    pub mti: String,
    pub fields: BTreeMap<u8, Vec<u8>>,
    pub with_mac: bool,
}

impl Answer {
    pub fn to(request: &Request, code: &str, chip: Vec<u8>) -> Self {
        let mti = format!("{:04}", request.mti.parse::<u16>().unwrap() + 10);
        let echoed = [2, 3, 4, 11, 14, 23, 25, 41, 42, 49, 60];
        let copied =
            echoed.iter().filter_map(|number| Some((*number, request.fields.get(number)?.clone().into_bytes())));
        let mut fields: BTreeMap<u8, Vec<u8>> = copied.collect();
        for (number, text) in [(12, "120001"), (13, "1122"), (15, "1122"), (32, "48020000"), (37, "120001000002")] {
            fields.insert(number, text.into());
        }
        fields.insert(39, code.into());
        fields.insert(63, b"CUP".to_vec());
        if code == "00" {
            fields.insert(38, b"A12345".to_vec());
        }
        if !chip.is_empty() {
            fields.insert(55, chip);
        }
        Self { mti, fields, with_mac: true }
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&SPEC, self.mti.as_bytes(), &mut body).unwrap();
        for (number, value) in &self.fields {
            match number {
                55 | 62 | 63 => encoder.bytes(*number, value).unwrap(),
                _ => encoder.characters(*number, value).unwrap(),
            };
        }
        if self.with_mac {
            encoder.bytes(64, &[b' '; 8]).unwrap();
        }
        encoder.finish();
        if self.with_mac {
            let place = body.len() - 8;
            let mac = unionpay_ecb_mac(&tdes(&MAK), &body[..place]);
            body[place..].copy_from_slice(&mac);
        }
        let mut frame = Vec::new();
        let header = Header([0x61, 0x31, 0x00, 0x31, 0x00, 0x00]);
        Frame::encode_bytes(Tpdu([0x60, 0, 0, 0, 3]), header, &body, &mut frame).unwrap();
        frame
    }
}
