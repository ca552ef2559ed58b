//! A terminal of another maker: written from the dialect alone, with its keys in its own hands.

use crate::bureau::{Card, PIN, tdes, transport};
use irontill_host::{EnrolledTerminal, EnrolmentOrder};
use iso8583::unionpay::{
    Body, ConditionCode, Entry, EntryMode, F60, F61, Frame, Header, PinEntry, PinFormat, ProcessingCode,
    SecurityAlgorithm, SecurityControl, Tpdu, mac_input,
};
use link::{Client, ClientLimits, ClientOptions, ExchangeFailed, TerminalRequest, client_config};
use paycrypto::TdesKey;
use paycrypto::key_wrap::unwrap_tdes_key;
use paycrypto::mac::unionpay_ecb_mac;
use paycrypto::working_keys::read_field_62;
use std::net::SocketAddr;
use types::{Currency, MerchantId, SecretBytes, TerminalId};

pub const MERCHANT: &str = "123456789012345";
const EXCHANGE_TIMEOUT_MS: u64 = 20_000;

/// A terminal before it is enrolled.
pub struct FreshTerminal {
    pub terminal: TerminalId,
    request: TerminalRequest,
    transport_key: [u8; 16],
}

impl FreshTerminal {
    pub fn new(name: &str) -> Self {
        let terminal = TerminalId::parse(name).unwrap();
        let mut transport_key = *b"\x13\x15\x16\x19\x1A\x1C\x1F\x20\x23\x25\x26\x29\x2A\x2C\x2F\x31";
        for (place, letter) in transport_key.iter_mut().zip(name.bytes()) {
            *place ^= letter << 1;
        }
        Self { terminal, request: TerminalRequest::create(terminal).unwrap(), transport_key }
    }

    pub fn order(&self, public_key: &[u8]) -> EnrolmentOrder {
        EnrolmentOrder {
            terminal: self.terminal,
            merchant: MerchantId::parse(MERCHANT).unwrap(),
            name: format!("test terminal {}", self.terminal),
            terminal_number: None,
            currency: Currency::CNY,
            allowed: u32::MAX,
            certificate_request_pem: self.request.request_pem.clone(),
            identity: None,
            transport: transport(public_key, &self.transport_key),
        }
    }

    pub fn request_pem(&self) -> &str {
        &self.request.request_pem
    }

    pub fn install(self, enrolled: &EnrolledTerminal, address: SocketAddr) -> Terminal {
        let master_key = unwrap_tdes_key(&tdes(&self.transport_key), &enrolled.master_key.enciphered).unwrap();
        let tls = client_config(&enrolled.certificate_pem, &self.request.key_pem, &enrolled.authority_pem).unwrap();
        let options = ClientOptions {
            address: address.to_string(),
            server_name: "localhost".to_owned(),
            tls,
            keep_connection: true,
            limits: ClientLimits { connect_tries: 1, ..ClientLimits::default() },
        };
        Terminal {
            name: self.terminal,
            master_key,
            keys: None,
            options: options.clone(),
            client: Client::new(options),
            batch: 0,
            stan: 0,
        }
    }
}

pub struct WorkingKeys {
    pub pin: TdesKey,
    pub mac: TdesKey,
}

pub struct Terminal {
    pub name: TerminalId,
    master_key: TdesKey,
    pub keys: Option<WorkingKeys>,
    options: ClientOptions,
    client: Client,
    pub batch: u32,
    pub stan: u32,
}

/// What came of one message.
pub type Answer = Result<Body, ExchangeFailed>;

pub fn code(answer: &Body) -> String {
    String::from_utf8(answer.response_code.unwrap_or(*b"--").to_vec()).unwrap()
}

impl Terminal {
    /// Turns to the host at another address, as after its restart.
    pub fn turn_to(&mut self, address: SocketAddr) {
        self.options.address = address.to_string();
        self.client = Client::new(self.options.clone());
    }

    fn base(&mut self, mti: &[u8; 4]) -> Body {
        self.stan += 1;
        let mut body = Body::new(*mti);
        body.trace = Some(self.stan);
        body.terminal_id = Some(*self.name.bytes());
        body.merchant_id = Some(MERCHANT.as_bytes().try_into().unwrap());
        body
    }

    pub fn sign_in(&mut self) -> Result<String, ExchangeFailed> {
        let mut body = self.base(b"0800");
        body.f60 = Some(F60::management(0, self.batch, 3));
        body.f63 = Some(b"01 ".to_vec());
        let answer = self.send_plain(&body)?;
        if code(&answer) == "00" {
            self.batch = answer.f60.unwrap().batch();
            let keys = read_field_62(&self.master_key, answer.f62.unwrap().expose()).unwrap();
            self.keys = Some(WorkingKeys { pin: keys.pin_key, mac: keys.mac_key });
            return Ok("00".to_owned());
        }
        Ok(code(&answer))
    }

    fn with_card(&mut self, mti: &[u8; 4], card: &Card, type_code: u8) -> Body {
        let mut body = self.base(mti);
        body.pan = Some(SecretBytes::copy_from(card.digits().as_bytes()));
        body.processing_code = Some(ProcessingCode::SALE);
        body.expiry = Some(SecretBytes::copy_from(b"3012"));
        body.entry_mode = Some(EntryMode::new(Entry::Contact, PinEntry::Present));
        body.card_sequence = Some(1);
        body.condition = Some(ConditionCode::NORMAL);
        body.currency = Some(*b"156");
        body.f60 = Some(F60::financial(type_code, self.batch, 0, 6, 0));
        body
    }

    pub fn sale(&mut self, card: &Card, minor: u64) -> Body {
        self.sale_with_pin(card, minor, PIN)
    }

    pub fn sale_with_pin(&mut self, card: &Card, minor: u64, pin: &str) -> Body {
        let mut body = self.with_card(b"0200", card, 22);
        body.amount_minor = Some(minor);
        body.icc_data = Some(SecretBytes::new(card.chip_data(minor)));
        let block = card.pin_block(&self.keys.as_ref().unwrap().pin, pin);
        body.pin_block = Some(SecretBytes::copy_from(&block));
        body.pin_capture = Some(*b"12");
        body.security_control = Some(SecurityControl::new(PinFormat::WithPan, SecurityAlgorithm::TripleDes, false));
        body
    }

    pub fn reversal(&self, original: &Body) -> Body {
        let mut body = original.duplicate();
        body.mti = *b"0400";
        body.response_code = Some(*b"98");
        (body.pin_capture, body.pin_block, body.security_control, body.icc_data) = (None, None, None, None);
        body
    }

    pub fn void(&mut self, card: &Card, minor: u64, sale: u32, rrn: [u8; 12]) -> Body {
        let mut body = self.with_card(b"0200", card, 23);
        body.entry_mode = Some(EntryMode::new(Entry::Contact, PinEntry::Absent));
        body.processing_code = Some(ProcessingCode::VOID_OR_REFUND);
        body.amount_minor = Some(minor);
        body.rrn = Some(rrn);
        body.f61 = Some(F61::original(self.batch, sale));
        body
    }

    /// Ends the batch as one that did not balance, with nothing uploaded: the host closes it on its own totals.
    pub fn end_batch(&mut self) {
        let mut body = self.base(b"0320");
        body.private_data = Some(SecretBytes::new(iso8583::unionpay::format_batch_end(0)));
        body.f60 = Some(F60::management(0, self.batch, 202));
        assert_eq!(code(&self.send_plain(&body).unwrap()), "00");
        self.batch += 1;
    }

    /// Sends under the MAC; the answer's MAC, if it has one, must be right.
    pub fn send(&mut self, body: &Body) -> Answer {
        let keys = self.keys.as_ref().unwrap();
        let mut bytes = Vec::new();
        let mac = |input: &[u8]| Ok::<_, iso8583::EncodeError>(unionpay_ecb_mac(&keys.mac, input));
        body.duplicate().encode_with_mac(&mut bytes, mac).unwrap();
        let raw = self.exchange(&bytes)?;
        let answer = Frame::decode(&raw).unwrap().body;
        if let Some(mac) = answer.mac {
            let mut bytes = Vec::new();
            answer.encode(&mut bytes).unwrap();
            let right = unionpay_ecb_mac(&self.keys.as_ref().unwrap().mac, mac_input(&bytes).unwrap());
            assert_eq!(mac, right, "the answer's MAC");
        } else {
            assert!(["A0", "77", "97", "03", "30"].contains(&code(&answer).as_str()), "{} without MAC", code(&answer));
        }
        Ok(answer)
    }

    pub fn send_plain(&mut self, body: &Body) -> Answer {
        let mut bytes = Vec::new();
        body.encode(&mut bytes).unwrap();
        let raw = self.exchange(&bytes)?;
        Ok(Frame::decode(&raw).unwrap().body)
    }

    /// Sends any bytes behind LEN, TPDU and header.
    pub fn exchange(&mut self, body: &[u8]) -> Result<Vec<u8>, ExchangeFailed> {
        let mut wire = Vec::new();
        Frame::encode_bytes(Tpdu::new([0, 3], [0, 0]), Header::IC_PAYMENT, body, &mut wire).unwrap();
        self.client.exchange(&wire, EXCHANGE_TIMEOUT_MS)
    }

    pub fn exchange_raw(&mut self, frame: &[u8]) -> Result<Vec<u8>, ExchangeFailed> {
        self.client.exchange(frame, EXCHANGE_TIMEOUT_MS)
    }
}
