//! A scripted card with real certificates under published test keys. Its cryptograms are fixed bytes: only an issuer could
//! check them.

use crate::apdu::{Command, Response, StatusWord, ins};
use crate::cryptogram::CryptogramKind;
use crate::oda::test_keys::{CA_MODULUS, CA_PRIVATE, ICC_MODULUS, ICC_PRIVATE, ISSUER_MODULUS, ISSUER_PRIVATE};
use crate::oda::{Capk, CapkParts, CapkSet};
use num_bigint_dig::BigUint;
use sha1::{Digest, Sha1};
use tlv::{Builder, Tag, tags};

pub(super) const AID: &[u8] = &[0xA0, 0x00, 0x00, 0x03, 0x33, 0x01, 0x01, 0x02];
pub(super) const RID: [u8; 5] = [0xA0, 0x00, 0x00, 0x03, 0x33];
pub(super) const CAPK_INDEX: u8 = 0x01;
pub(super) const PAN: &[u8] = &[0x62, 0x22, 0x62, 0x01, 0x10, 0x00, 0x99, 0x99];
pub(super) const ISSUER_SERIAL: [u8; 3] = [0x00, 0x00, 0x01];
pub(super) const CRYPTOGRAM: [u8; 8] = [0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8];
const EXPONENT: &[u8] = &[0x03];
const CDOL1: &[u8] = &[0x9F, 0x02, 0x06, 0x95, 0x05, 0x9F, 0x37, 0x04];
const CDOL2: &[u8] = &[0x8A, 0x02, 0x95, 0x05, 0x9F, 0x37, 0x04, 0x91, 0x08];

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal"))
        .collect()
}

fn sign(modulus: &str, private: &str, fields: &[u8], covered: &[&[u8]]) -> Vec<u8> {
    let size = modulus.len() / 2;
    let mut block = vec![0x6A];
    block.extend_from_slice(fields);
    block.resize(size - 21, 0xBB);
    let mut hasher = Sha1::new();
    hasher.update(&block[1..]);
    for part in covered {
        hasher.update(part);
    }
    block.extend_from_slice(&hasher.finalize());
    block.push(0xBC);
    let number = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16).expect("hexadecimal");
    let signature = BigUint::from_bytes_be(&block).modpow(&number(private), &number(modulus)).to_bytes_be();
    let mut padded = vec![0; size - signature.len()];
    padded.extend_from_slice(&signature);
    padded
}

/// A certificate and the remainder of the key in it.
fn certify(signer: (&str, &str), fields: &[u8], subject: &str, extra: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let modulus = unhex(subject);
    let room = signer.0.len() / 2 - fields.len() - 4 - 22;
    let split = modulus.len().min(room);
    let mut content = fields.to_vec();
    content.extend_from_slice(&[0x01, 0x01, modulus.len() as u8, EXPONENT.len() as u8]);
    content.extend_from_slice(&modulus[..split]);
    let remainder = modulus[split..].to_vec();
    (sign(signer.0, signer.1, &content, &[&remainder, EXPONENT, extra]), remainder)
}

pub(super) fn capks() -> CapkSet {
    let mut set = CapkSet::new();
    let modulus = unhex(CA_MODULUS);
    let parts =
        CapkParts { rid: RID, index: CAPK_INDEX, modulus: &modulus, exponent: EXPONENT, expiry: None, checksum: None };
    set.insert(Capk::new(&parts).expect("key"));
    set
}

pub(super) struct TestCard {
    pub(super) aip: u8,
    /// Objects of the unsigned records, in order; tests change them.
    pub(super) objects: Vec<(Tag, Vec<u8>)>,
    pub(super) pin: &'static str,
    pub(super) tries: u8,
    /// Answers to the two GENERATE AC; `None` answers what was asked for.
    pub(super) first: Option<CryptogramKind>,
    pub(super) second: Option<CryptogramKind>,
    /// Instruction that is answered with this status instead.
    pub(super) refuses: Vec<(u8, u16)>,
    /// Instruction that is not answered at all.
    pub(super) mute_at: Option<u8>,
    /// Spoils signatures over transactions.
    pub(super) lies: bool,
    pub(super) counters: (u16, u16),
    pub(super) cryptograms: usize,
    pub(super) commands: Vec<Command>,
    pdol: Vec<u8>,
    gpo_data: Vec<u8>,
    cdol1_data: Vec<u8>,
    challenge: [u8; 8],
}

impl TestCard {
    pub(super) fn new(aip: u8) -> Self {
        let mut card = TestCard {
            aip,
            objects: Vec::new(),
            pin: "1234",
            tries: 3,
            first: None,
            second: None,
            refuses: Vec::new(),
            mute_at: None,
            lies: false,
            counters: (5, 4),
            cryptograms: 0,
            commands: Vec::new(),
            pdol: vec![0x9F, 0x1A, 0x02],
            gpo_data: Vec::new(),
            cdol1_data: Vec::new(),
            challenge: [0xA5; 8],
        };
        for (tag, value) in [
            (tags::CDOL1, CDOL1),
            (tags::CDOL2, CDOL2),
            (tags::CVM_LIST, &[0, 0, 0, 0, 0, 0, 0, 0, 0x42, 0x03, 0x1F, 0x00]),
            (tags::IAC_DEFAULT, &[0; 5]),
            (tags::IAC_DENIAL, &[0; 5]),
            (tags::IAC_ONLINE, &[0; 5]),
            (tags::ISSUER_COUNTRY_CODE, &[0x01, 0x56]),
            (tags::APPLICATION_CURRENCY_CODE, &[0x01, 0x56]),
            (tags::APPLICATION_VERSION_CARD, &[0x00, 0x20]),
        ] {
            card.set(tag, value);
        }
        card.personalise();
        card
    }

    pub(super) fn set(&mut self, tag: Tag, value: &[u8]) {
        self.remove(tag);
        self.objects.push((tag, value.to_vec()));
    }

    pub(super) fn remove(&mut self, tag: Tag) {
        self.objects.retain(|(known, _)| *known != tag);
    }

    fn signed_record() -> Vec<u8> {
        let mut builder = Builder::new();
        builder.push(tags::PAN, PAN);
        builder.push(tags::EXPIRATION_DATE, &[0x30, 0x12, 0x31]);
        builder.push(tags::SDA_TAG_LIST, &[0x82]);
        builder.into_bytes()
    }

    fn static_data(&self) -> Vec<u8> {
        [Self::signed_record(), vec![self.aip, 0x00]].concat()
    }

    fn personalise(&mut self) {
        let issuer_fields = [&[0x02, 0x62, 0x22, 0x62, 0x01, 0x12, 0x30][..], &ISSUER_SERIAL].concat();
        let (certificate, remainder) = certify((CA_MODULUS, CA_PRIVATE), &issuer_fields, ISSUER_MODULUS, &[]);
        self.set(tags::CAPK_INDEX_CARD, &[CAPK_INDEX]);
        self.set(tags::ISSUER_PUBLIC_KEY_CERTIFICATE, &certificate);
        self.set(tags::ISSUER_PUBLIC_KEY_REMAINDER, &remainder);
        self.set(tags::ISSUER_PUBLIC_KEY_EXPONENT, EXPONENT);
        let static_data = self.static_data();
        let icc_fields = [&[0x04][..], PAN, &[0xFF, 0xFF, 0x12, 0x30, 0x00, 0x00, 0x02]].concat();
        let issuer = (ISSUER_MODULUS, ISSUER_PRIVATE);
        let (certificate, remainder) = certify(issuer, &icc_fields, ICC_MODULUS, &static_data);
        self.set(tags::ICC_PUBLIC_KEY_CERTIFICATE, &certificate);
        self.set(tags::ICC_PUBLIC_KEY_REMAINDER, &remainder);
        self.set(tags::ICC_PUBLIC_KEY_EXPONENT, EXPONENT);
        self.set(tags::DDOL, &[0x9F, 0x37, 0x04]);
        let signature = sign(issuer.0, issuer.1, &[0x03, 0x01, 0xDA, 0xC1], &[&static_data]);
        self.set(tags::SIGNED_STATIC_APPLICATION_DATA, &signature);
    }

    /// Objects fill records of file 2 one by one; file 1 holds the signed record.
    fn afl(&self) -> Vec<u8> {
        vec![0x08, 1, 1, 1, 0x10, 1, self.objects.len() as u8, 0]
    }

    /// What the card answers; `None` when it is mute.
    pub(super) fn exchange(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let command = Command::parse(bytes).expect("the kernel sends valid commands");
        self.commands.push(command.clone());
        if self.mute_at == Some(command.ins) {
            return None;
        }
        let refused =
            self.refuses.iter().find(|(instruction, _)| *instruction == command.ins).map(|(_, status)| *status);
        let response = match refused {
            Some(status) => Response::new(&[], StatusWord::new(status)),
            None => self.answer(&command),
        };
        Some(response.encode().to_vec())
    }

    fn answer(&mut self, command: &Command) -> Response {
        let status = |number| Response::new(&[], StatusWord::new(number));
        let ok = |data: &[u8]| Response::new(data, StatusWord::OK);
        match command.ins {
            ins::SELECT if AID.starts_with(&command.data) && command.p2 == 0 => ok(&self.control_information()),
            ins::SELECT => status(0x6A82),
            ins::GET_PROCESSING_OPTIONS => {
                self.gpo_data = command.data.get(2..).unwrap_or_default().to_vec();
                let mut builder = Builder::new();
                builder.push(tags::RESPONSE_FORMAT_1, &[&[self.aip, 0x00][..], &self.afl()].concat());
                ok(builder.as_bytes())
            }
            ins::READ_RECORD => match self.record(command.p2 >> 3, command.p1) {
                Some(record) => ok(&record),
                None => status(0x6A83),
            },
            ins::INTERNAL_AUTHENTICATE => {
                let signature = sign(ICC_MODULUS, ICC_PRIVATE, &self.dynamic_fields(&[]), &[&command.data]);
                let mut builder = Builder::new();
                builder.push(tags::RESPONSE_FORMAT_1, &signature);
                ok(builder.as_bytes())
            }
            ins::GET_DATA => self.data_object(u16::from_be_bytes([command.p1, command.p2])),
            ins::GET_CHALLENGE => ok(&self.challenge),
            ins::VERIFY => self.verify(command),
            ins::GENERATE_AC => ok(&self.generate(command)),
            _ => status(0x9000),
        }
    }

    fn control_information(&self) -> Vec<u8> {
        let mut builder = Builder::new();
        builder.push_template(tags::FCI_TEMPLATE, |template| {
            template.push(tags::DF_NAME, AID);
            template.push_template(tags::FCI_PROPRIETARY_TEMPLATE, |inner| {
                inner.push(tags::APPLICATION_LABEL, b"TEST");
                inner.push(tags::PDOL, &self.pdol);
            });
        });
        builder.into_bytes()
    }

    /// None if there is no such record: a spoiled file locator asks for any.
    fn record(&self, sfi: u8, number: u8) -> Option<Vec<u8>> {
        let object = self.objects.get(usize::from(number).wrapping_sub(1));
        if sfi != 1 && object.is_none() {
            return None;
        }
        let mut builder = Builder::new();
        builder.push_template(tags::RECORD_TEMPLATE, |record| match object.filter(|_| sfi != 1) {
            None => record.push_encoded(&Self::signed_record()),
            Some((tag, value)) => record.push(*tag, value),
        });
        Some(builder.into_bytes())
    }

    fn dynamic_fields(&self, combined: &[u8]) -> Vec<u8> {
        let number = [0x04, 0x0A, 0x0B, 0x0C, if self.lies { 0x0E } else { 0x0D }];
        let length = (number.len() + combined.len()) as u8;
        // A lying card signs another format.
        let format = if self.lies { 0x07 } else { 0x05 };
        [&[format, 0x01, length][..], &number, combined].concat()
    }

    fn data_object(&self, tag: u16) -> Response {
        let (transactions, last_online) = self.counters;
        let value = match tag {
            0x9F17 => vec![self.tries],
            0x9F36 => transactions.to_be_bytes().to_vec(),
            0x9F13 => last_online.to_be_bytes().to_vec(),
            _ => return Response::new(&[], StatusWord::new(0x6A88)),
        };
        let mut builder = Builder::new();
        builder.push(Tag::new(u32::from(tag)), &value);
        Response::new(builder.as_bytes(), StatusWord::OK)
    }

    fn verify(&mut self, command: &Command) -> Response {
        let block = if command.p2 == 0x88 { self.decipher(&command.data) } else { command.data.to_vec() };
        let expected = crate::pin::plaintext_block(&types::Pin::parse(self.pin).expect("pin"));
        let status = match (self.tries, block == expected.as_slice()) {
            (0, _) => 0x6983,
            (_, true) => 0x9000,
            (_, false) => {
                self.tries -= 1;
                0x63C0 | u16::from(self.tries)
            }
        };
        Response::new(&[], StatusWord::new(status))
    }

    fn decipher(&self, data: &[u8]) -> Vec<u8> {
        let number = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16).expect("hexadecimal");
        let plain = BigUint::from_bytes_be(data).modpow(&number(ICC_PRIVATE), &number(ICC_MODULUS)).to_bytes_be();
        match plain.get(9..17) {
            Some(challenge) if plain[0] == 0x7F && challenge == self.challenge => plain[1..9].to_vec(),
            _ => Vec::new(),
        }
    }

    fn generate(&mut self, command: &Command) -> Vec<u8> {
        self.cryptograms += 1;
        let asked = CryptogramKind::from_information(command.p1).expect("a kind");
        let chosen = if self.cryptograms == 1 { self.first } else { self.second };
        let kind = chosen.unwrap_or(asked);
        if self.cryptograms == 1 {
            self.cdol1_data = command.data.to_vec();
        }
        let issuer_data = [0x07, 0x01, 0x01, 0x03, 0xA0, 0x00, 0x00];
        if command.p1 & 0x10 != 0 && kind != CryptogramKind::Aac {
            return self.generate_combined(command, kind, &issuer_data);
        }
        let mut builder = Builder::new();
        builder.push(tags::RESPONSE_FORMAT_1, &[&[kind.code(), 0x00, 0x05][..], &CRYPTOGRAM, &issuer_data].concat());
        builder.into_bytes()
    }

    fn generate_combined(&self, command: &Command, kind: CryptogramKind, issuer_data: &[u8]) -> Vec<u8> {
        let mut objects = Builder::new();
        objects.push(tags::CRYPTOGRAM_INFORMATION_DATA, &[kind.code()]);
        objects.push(tags::ATC, &[0x00, 0x05]);
        let mut after = Builder::new();
        after.push(tags::ISSUER_APPLICATION_DATA, issuer_data);
        let second: &[u8] = if self.cryptograms == 1 { &[] } else { &command.data };
        let mut hasher = Sha1::new();
        for part in [&self.gpo_data[..], &self.cdol1_data, second, objects.as_bytes(), after.as_bytes()] {
            hasher.update(part);
        }
        let combined = [&[kind.code()][..], &CRYPTOGRAM, &hasher.finalize()].concat();
        let unpredictable_number = self.cdol1_data.get(11..15).unwrap_or_default();
        let fields = self.dynamic_fields(&combined);
        let signature = sign(ICC_MODULUS, ICC_PRIVATE, &fields, &[unpredictable_number]);
        let mut builder = Builder::new();
        builder.push_template(tags::RESPONSE_FORMAT_2, |template| {
            template.push_encoded(objects.as_bytes());
            template.push(tags::SIGNED_DYNAMIC_APPLICATION_DATA, &signature);
            template.push_encoded(after.as_bytes());
        });
        builder.into_bytes()
    }
}
