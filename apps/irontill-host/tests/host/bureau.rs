//! The personalisation bureau: knows clear test keys and PINs, and hands them to a host only enciphered.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use irontill_host::{Admin, IssuerCard, IssuerPin, TransportedKey, WrappedKey, today_utc};
use issuer::{EntryModes, Scheme};
use keys::{Algorithm, KeyBlock, KeyCheckValue, Owner, PinEncryption};
use paycrypto::check_value::unionpay_check_value;
use paycrypto::emv::{MasterKeyOption, application_cryptogram, icc_master_key, pboc_session_key};
use paycrypto::key_wrap::wrap_ecb;
use paycrypto::padding::Padding;
use paycrypto::pin_block::encipher_format_0;
use paycrypto::{Pin, TdesKey};
use std::sync::atomic::{AtomicU16, Ordering};
use types::{Currency, Pan};

pub const OPENING_MINOR: i64 = 1_000_000;
pub const PIN: &str = "123456";

/// TEST keys of the test's own issuer, odd parity.
const MASTER_AC: [u8; 16] = *b"\xB5\xEA\x04\x19\xEC\xF7\x20\x64\x79\x4C\xDF\x25\x46\xA2\x94\x3B";
const PIN_KEY: [u8; 16] = *b"\x57\xD9\x52\xCE\x86\xA8\x9E\xB3\x2F\xFD\x7A\xC7\x1A\xFE\xB5\x73";
const TRANSPORT: [u8; 16] = *b"\xE3\xF7\x15\x7C\x23\xA7\x23\x34\xBC\xE5\xA7\x6B\xA8\x46\x38\xCE";

pub fn tdes(bytes: &[u8]) -> TdesKey {
    TdesKey::new(bytes).unwrap()
}

/// Enciphers a key encryption key to a host's vault.
pub fn transport(public_key: &[u8], key: &[u8; 16]) -> TransportedKey {
    let recipient = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(public_key).unwrap()).unwrap();
    let mut enciphered = vec![0; recipient.ciphertext_size()];
    recipient.encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut enciphered, None).unwrap();
    TransportedKey { enciphered, check: KeyCheckValue(unionpay_check_value(&tdes(key))) }
}

fn wrapped(key: &[u8; 16]) -> WrappedKey {
    let enciphered = wrap_ecb(&tdes(&TRANSPORT), key).unwrap();
    WrappedKey { enciphered, check: KeyCheckValue(unionpay_check_value(&tdes(key))), version: 1 }
}

/// A chip card of the test's issuer.
pub struct Card {
    pan: String,
    atc: AtomicU16,
}

impl Card {
    /// The card of this number; the check digit is added.
    pub fn new(number: u32) -> Self {
        let body = format!("622262{number:012}");
        let sum: u32 = body
            .bytes()
            .rev()
            .enumerate()
            .map(|(at, digit)| {
                let doubled = u32::from(digit - b'0') * if at % 2 == 0 { 2 } else { 1 };
                doubled / 10 + doubled % 10
            })
            .sum();
        Self { pan: format!("{body}{}", (10 - sum % 10) % 10), atc: AtomicU16::new(1) }
    }

    pub fn pan(&self) -> Pan {
        Pan::parse(&self.pan).unwrap()
    }

    pub fn digits(&self) -> &str {
        &self.pan
    }

    pub fn pin_block(&self, key: &TdesKey, pin: &str) -> [u8; 8] {
        encipher_format_0(key, &Pin::parse(pin).unwrap(), self.pan.as_bytes()).unwrap()
    }

    /// Field 55 with a right ARQC by UnionPay's rules, under the card's next transaction counter.
    pub fn chip_data(&self, minor: u64) -> Vec<u8> {
        let atc = self.atc.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let amount = format!("{minor:012}");
        let amount: Vec<u8> =
            amount.as_bytes().chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect();
        let application_data = [7, 1, 1, 3, 0xA0, 0xA0, 2, 1];
        let objects: [(u32, &[u8]); 10] = [
            (0x9F02, &amount),
            (0x9F03, &[0; 6]),
            (0x9F1A, &[1, 0x56]),
            (0x95, &[0; 5]),
            (0x5F2A, &[1, 0x56]),
            (0x9A, &[0x26, 3, 15]),
            (0x9C, &[0]),
            (0x9F37, &[1, 2, 3, 4]),
            (0x82, &[0x7C, 0]),
            (0x9F36, &atc),
        ];
        let mut input: Vec<u8> = objects.iter().flat_map(|(_, value)| value.iter().copied()).collect();
        input.extend_from_slice(&application_data[3..7]);
        let master = icc_master_key(MasterKeyOption::A, &tdes(&MASTER_AC), self.pan.as_bytes(), 1).unwrap();
        let session = pboc_session_key(&master, atc).unwrap();
        let cryptogram = application_cryptogram(&session, &input, Padding::Marker).unwrap();
        let mut builder = tlv::Builder::new();
        builder.push(tlv::Tag::new(0x9F26), &cryptogram);
        builder.push(tlv::Tag::new(0x9F27), &[0x80]);
        builder.push(tlv::Tag::new(0x9F10), &application_data);
        objects.iter().for_each(|(tag, value)| {
            builder.push(tlv::Tag::new(*tag), value);
        });
        builder.into_bytes()
    }
}

/// Loads cards with their keys and PINs, as a bureau's delivery would.
pub fn load_cards(admin: &mut Admin, cards: &[&Card]) {
    let owner = Owner::new("test issuer").unwrap();
    let public_key = admin.transport_public_key().unwrap();
    let under = admin.import_transport_key(&owner, 1, &transport(&public_key, &TRANSPORT)).unwrap();
    let master_ac = admin.import_key(&under, Algorithm::TdesDouble, &wrapped(&MASTER_AC)).unwrap();
    let pin_key: KeyBlock<PinEncryption> = admin.import_key(&under, Algorithm::TdesDouble, &wrapped(&PIN_KEY)).unwrap();
    let reference_key = admin.kept_or_generated_key(&owner, Algorithm::HmacSha256).unwrap();
    for card in cards {
        let block = card.pin_block(&tdes(&PIN_KEY), PIN);
        let pin = IssuerPin { block, key: pin_key.clone(), reference_key: reference_key.clone() };
        let card = IssuerCard {
            pan: card.pan(),
            card_sequence: 1,
            organisation: *b"CUP",
            currency: Currency::CNY,
            floor_minor: 0,
            opening_minor: OPENING_MINOR,
            single_limit_minor: None,
            scheme: Scheme::UnionPay,
            master_ac: KeyBlock::clone(&master_ac),
            master_mac: None,
            pin: Some(pin),
            entry_modes: EntryModes::CHIP_CARD,
            atc_once: true,
            script: None,
        };
        admin.load_card(card, today_utc()).unwrap();
    }
}
