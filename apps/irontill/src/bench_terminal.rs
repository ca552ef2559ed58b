//! A light terminal for the benchmark: its messages are made before the clock starts, so that the generator costs as little as
//! possible. It pays with cryptograms of a public test card.

use crate::system::System;
use crate::till_point::profile;
use anyhow::{Context, anyhow};
use irontill_host::{Admin, EnrolmentOrder, TransportedKey};
use iso8583::unionpay::{
    Body, ConditionCode, Entry, EntryMode, F60, Frame, Header, KeyDelivery, PinEntry, PinFormat, ProcessingCode,
    SecurityAlgorithm, SecurityControl, Tpdu, open_frame,
};
use keys::KeyCheckValue;
use link::{Client, ClientLimits, ClientOptions, TerminalRequest};
use paycrypto::TdesKey;
use paycrypto::emv::CryptogramVersion;
use std::time::Instant;
use types::{Currency, MerchantId, SecretBytes, TerminalId};

const FIRST_TERMINAL: u32 = 40_000_001;
const AMOUNT_MINOR: u64 = 1;
const EXCHANGE_TIMEOUT_MS: u64 = 10_000;

/// A signed-in terminal with its messages ready.
pub struct BenchTerminal {
    client: Client,
    frames: Vec<Vec<u8>>,
}

struct Session {
    terminal: TerminalId,
    merchant: MerchantId,
    batch: u32,
    pin_key: TdesKey,
    mac_key: TdesKey,
    master: paycrypto::KeyBytes,
}

fn crypto(cause: paycrypto::CryptoError) -> anyhow::Error {
    anyhow!("{cause}")
}

impl BenchTerminal {
    /// Enrols, signs in, and makes `count` sales.
    pub fn sign_in(system: &System, number: u32, count: usize) -> anyhow::Result<Self> {
        let terminal = TerminalId::parse(&format!("{:08}", FIRST_TERMINAL + number))?;
        let merchant = MerchantId::parse(&format!("8983100000{:05}", 40_000 + number))?;
        let (mut client, master_key) = enrol(system, terminal, merchant)?;
        let session = session(&mut client, terminal, merchant, &master_key)?;
        let frames = (1..=count).map(|number| session.sale(number)).collect::<anyhow::Result<_>>()?;
        Ok(Self { client, frames })
    }

    /// Pays until the time; for each payment whether it was approved, and its latency in milliseconds.
    pub fn pay(mut self, until: Instant) -> anyhow::Result<Vec<(bool, f64)>> {
        let mut results = Vec::with_capacity(self.frames.len());
        for frame in &self.frames {
            let began = Instant::now();
            if began >= until {
                break;
            }
            let answer = self.client.exchange(frame, EXCHANGE_TIMEOUT_MS)?;
            let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
            let opened = open_frame(&answer).map_err(|cause| anyhow!("{cause}"))?;
            let approved = opened.message.field(39).is_some_and(|field| field.bytes() == b"00");
            results.push((approved, latency_ms));
        }
        Ok(results)
    }
}

fn enrol(system: &System, terminal: TerminalId, merchant: MerchantId) -> anyhow::Result<(Client, TdesKey)> {
    let mut admin = system.folder.admin()?;
    let authority = Admin::authority(&system.folder.host_settings()?)?;
    let request = TerminalRequest::create(terminal)?;
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let transport = TdesKey::new(&bytes).map_err(crypto)?;
    let order = EnrolmentOrder {
        terminal,
        merchant,
        name: "BENCH".to_owned(),
        terminal_number: None,
        currency: Currency::CNY,
        allowed: u32::MAX,
        certificate_request_pem: request.request_pem.clone(),
        identity: None,
        transport: TransportedKey {
            enciphered: sim::lab::transport_envelope(&admin.transport_public_key()?, &bytes)?,
            check: KeyCheckValue(paycrypto::check_value::unionpay_check_value(&transport)),
        },
    };
    let enrolled = admin.enrol_terminal(&order, &authority, irontill_host::today_utc())?;
    let mut master = enrolled.master_key.enciphered;
    paycrypto::decrypt_ecb(&transport, &mut master).map_err(crypto)?;
    let tls = link::client_config(&enrolled.certificate_pem, &request.key_pem, &enrolled.authority_pem)?;
    let options = ClientOptions {
        address: system.address.clone(),
        server_name: "localhost".to_owned(),
        tls,
        keep_connection: true,
        limits: ClientLimits::default(),
    };
    Ok((Client::new(options), TdesKey::new(&master).map_err(crypto)?))
}

fn frame(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut wire = Vec::new();
    let tpdu = Tpdu::new([0x00, 0x03], [0, 0]);
    Frame::encode_bytes(tpdu, Header::IC_PAYMENT, body, &mut wire).map_err(|cause| anyhow!("{cause}"))?;
    Ok(wire)
}

fn session(
    client: &mut Client,
    terminal: TerminalId,
    merchant: MerchantId,
    master_key: &TdesKey,
) -> anyhow::Result<Session> {
    let mut request = Body::new(*b"0800");
    request.trace = Some(1);
    request.terminal_id = Some(*terminal.bytes());
    request.merchant_id = Some(*merchant.bytes());
    request.f60 = Some(F60::management(0, 1, 4));
    request.f63 = Some(b"01 ".to_vec());
    let mut body = Vec::new();
    request.encode(&mut body).map_err(|cause| anyhow!("{cause}"))?;
    let answer = client.exchange(&frame(&body)?, EXCHANGE_TIMEOUT_MS)?;
    let opened = open_frame(&answer).map_err(|cause| anyhow!("{cause}"))?;
    let answer = Body::from_message(&opened.message).map_err(|cause| anyhow!("{cause}"))?;
    anyhow::ensure!(answer.response_code.as_ref().is_some_and(|code| code == b"00"), "sign-in refused");
    let delivery = answer.f62.context("no keys in the sign-in response")?;
    let delivery = KeyDelivery::parse(delivery.expose(), false).map_err(|cause| anyhow!("{cause}"))?;
    let open = |enciphered: &SecretBytes| -> anyhow::Result<TdesKey> {
        let mut key = enciphered.expose().to_vec();
        paycrypto::decrypt_ecb(master_key, &mut key).map_err(crypto)?;
        TdesKey::new(&key).map_err(crypto)
    };
    let card = profile("unionpay-credit")?.account();
    let issuer_key = TdesKey::new(card.issuer_keys.cryptogram.expose()).map_err(crypto)?;
    let master = CryptogramVersion::Pboc
        .icc_master_key(&issuer_key, card.pan.expose().as_bytes(), card.sequence_number)
        .map_err(crypto)?;
    Ok(Session {
        terminal,
        merchant,
        batch: answer.f60.context("no batch in the sign-in response")?.batch(),
        pin_key: open(&delivery.pin.enciphered)?,
        mac_key: open(&delivery.mac.enciphered)?,
        master: paycrypto::KeyBytes::new(master.expose_bytes()).map_err(crypto)?,
    })
}

impl Session {
    fn sale(&self, number: usize) -> anyhow::Result<Vec<u8>> {
        let card = profile("unionpay-credit")?.account();
        let trace = u32::try_from(number)? + 1;
        let mut request = Body::new(*b"0200");
        let block = paycrypto::pin_block::encipher_format_0(&self.pin_key, &card.pin, card.pan.expose().as_bytes())
            .map_err(crypto)?;
        request.pan = Some(SecretBytes::copy_from(card.pan.expose().as_bytes()));
        request.processing_code = Some(ProcessingCode::SALE);
        request.amount_minor = Some(AMOUNT_MINOR);
        request.trace = Some(trace);
        request.expiry = Some(SecretBytes::copy_from(card.expiry.expose().as_bytes()));
        request.entry_mode = Some(EntryMode::new(Entry::Contact, PinEntry::Present));
        request.card_sequence = Some(u16::from(card.sequence_number));
        request.condition = Some(ConditionCode::NORMAL);
        request.pin_capture = Some(*b"12");
        request.terminal_id = Some(*self.terminal.bytes());
        request.merchant_id = Some(*self.merchant.bytes());
        request.currency = Some(*b"156");
        request.pin_block = Some(SecretBytes::copy_from(&block));
        request.security_control = Some(SecurityControl::new(PinFormat::WithPan, SecurityAlgorithm::TripleDes, false));
        request.icc_data = Some(SecretBytes::new(self.chip_data(trace)?));
        request.f60 = Some(F60::financial(22, self.batch, 0, 6, 0));
        let mut body = Vec::new();
        request
            .encode_with_mac(&mut body, |input| {
                Ok::<_, iso8583::EncodeError>(paycrypto::mac::unionpay_ecb_mac(&self.mac_key, input))
            })
            .map_err(|cause| anyhow!("{cause}"))?;
        frame(&body)
    }

    /// Field 55 with a right cryptogram over it.
    fn chip_data(&self, trace: u32) -> anyhow::Result<Vec<u8>> {
        let atc = u16::try_from(trace % 65_000)?.to_be_bytes();
        let unpredictable = trace.to_be_bytes();
        let mut amount = [0; 6];
        amount[5] = 0x01;
        let signed = [
            (0x9F02, amount.to_vec()),
            (0x9F03, vec![0; 6]),
            (0x9F1A, vec![0x01, 0x56]),
            (0x95, vec![0; 5]),
            (0x5F2A, vec![0x01, 0x56]),
            (0x9A, vec![0x26, 0x01, 0x05]),
            (0x9C, vec![0]),
            (0x9F37, unpredictable.to_vec()),
            (0x82, vec![0x7C, 0x00]),
            (0x9F36, atc.to_vec()),
        ];
        let issuer_data = [0x07, 0x01, 0x01, 0x03, 0xA0, 0x00, 0x00, 0x01];
        let mut input: Vec<u8> = signed.iter().flat_map(|(_, value)| value.clone()).collect();
        input.extend_from_slice(&issuer_data[3..7]);
        let master = TdesKey::new(self.master.expose()).map_err(crypto)?;
        let cryptogram = CryptogramVersion::Pboc.cryptogram(&master, atc, unpredictable, &input).map_err(crypto)?;
        let mut builder = tlv::Builder::new();
        builder.push(tlv::Tag::new(0x9F26), &cryptogram);
        builder.push(tlv::Tag::new(0x9F27), &[0x80]);
        builder.push(tlv::Tag::new(0x9F10), &issuer_data);
        for (tag, value) in &signed {
            builder.push(tlv::Tag::new(*tag), value);
        }
        builder.push(tlv::Tag::new(0x9F33), &[0xE0, 0xF8, 0xC8]);
        Ok(builder.into_bytes())
    }
}
