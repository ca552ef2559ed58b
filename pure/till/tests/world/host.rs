//! A host that keeps books: enough of the dialect's rules to catch a till that breaks exactly-once. It shares no code with the
//! till.

use machine::Tick;
use machine::wire::{Encode, Malformed, Reader, Writer};
use pedlink::{AccountPart, ChipData, CustomData, FrameTemplate, ResponseSummary};
use std::collections::{BTreeMap, BTreeSet};
use types::{AuthorisationCode, BatchNumber, CardToken, ResponseCode, Rrn, Stan};

/// Codes whose answers may lack a MAC (D18).
pub fn may_lack_mac(code: ResponseCode) -> bool {
    ["A0", "77", "97", "03", "30"].contains(&code.text())
}

/// A frame of the test PED.
#[derive(Clone, Debug)]
pub struct Request {
    /// 0 without F64.
    pub mac_key: u32,
    pub token: CardToken,
    pub chip: u8,
    /// F15 and F55 of an electronic signature.
    pub signed: (String, Vec<u8>),
    pub template: FrameTemplate,
}

impl Request {
    pub fn new(template: FrameTemplate, account: &AccountPart) -> Self {
        let chip = match account {
            AccountPart::None | AccountPart::Signature { .. } => ChipData::None,
            AccountPart::Session { chip, .. } | AccountPart::Blob { chip, .. } => *chip,
        };
        let signed = match account {
            AccountPart::Signature { settlement_date, elements, .. } => {
                (settlement_date.clone().unwrap_or_default(), elements.clone())
            }
            _ => Default::default(),
        };
        Self { mac_key: 0, token: CardToken([0; 16]), chip: chip.to_bytes()[0], signed, template }
    }

    pub fn parse(bytes: &[u8]) -> Self {
        Self::from_bytes(bytes).expect("a frame of the test PED")
    }

    pub fn batch(&self) -> BatchNumber {
        BatchNumber::new(self.template.private_60[2..8].parse().unwrap()).unwrap()
    }

    pub fn network_code(&self) -> &str {
        &self.template.private_60[8..11]
    }

    pub fn stan(&self) -> Stan {
        self.template.stan.expect("F11")
    }

    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.template.mti, &self.template.private_60[..2], self.network_code())
    }
}

impl Encode for Request {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.mac_key).value(&self.token).u8(self.chip);
        writer.text(&self.signed.0).bytes(&self.signed.1).value(&self.template);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (mac_key, token, chip) = (reader.u32()?, reader.value()?, reader.u8()?);
        let signed = (reader.text()?.to_owned(), reader.bytes()?.to_vec());
        Ok(Self { mac_key, token, chip, signed, template: reader.value()? })
    }
}

pub fn damage_mac(answer: &[u8]) -> Vec<u8> {
    let mut damaged = answer.to_vec();
    damaged[..4].copy_from_slice(&0xDEAD_BEEF_u32.to_be_bytes());
    damaged
}

#[derive(Clone, Debug)]
pub struct Booking {
    pub minor: u64,
    pub token: CardToken,
    pub code: ResponseCode,
    pub type_code: String,
    pub reversed: bool,
    pub voided: bool,
    pub rrn: Rrn,
    pub organisation: String,
    pub authorisation_code: Option<AuthorisationCode>,
    /// The pre-authorisation that it ended.
    pub ends: Option<(BatchNumber, Stan)>,
}

/// What a message moves: its amount, of an adjustment the tip alone.
fn booked_minor(request: &Request) -> u64 {
    let tip = request.template.additional_private.as_ref().map(|digits| digits.parse().unwrap());
    tip.unwrap_or_else(|| request.template.amount.unwrap().minor())
}

pub struct TestHost {
    pub batch: BatchNumber,
    pub key: u32,
    pub bookings: BTreeMap<(BatchNumber, Stan), Booking>,
    pub tombstones: BTreeSet<(BatchNumber, Stan)>,
    /// Answers by MTI class, batch, trace number.
    pub answers: BTreeMap<(String, BatchNumber, Stan), ResponseSummary>,
    pub capks: u8,
    pub aids: u8,
    /// Digit 6 of the next answers' header.
    pub orders: Vec<u8>,
    /// F39 of the next payments instead of an approval.
    pub payment_codes: Vec<&'static str>,
    /// F39 of reversals instead of what the books say.
    pub reversal_code: Option<&'static str>,
    pub upload_code: Option<&'static str>,
    /// Says that the totals differ.
    pub disagrees: bool,
    pub uploads: Vec<Request>,
    pub script_notices: Vec<Request>,
    pub settlements: Vec<Request>,
    pub ends: Vec<Request>,
    pub sign_ins: u32,
    pub downloads: u32,
    pub refuses_sign_in: Option<&'static str>,
    pub scrambled_keys: bool,
    /// Answers payments without a MAC.
    pub forgets_mac: bool,
    /// F62 of the answers to downloads that travel whole or in pages, by 60.3; a page begins at the entry behind its `@`.
    pub sets: BTreeMap<String, Vec<u8>>,
    /// 60.3 of the ends of such downloads.
    pub acknowledged: Vec<String>,
    /// F62 of status uploads.
    pub statuses: Vec<Vec<u8>>,
    pub sign_offs: u32,
    /// Signatures taken, by batch and trace number.
    pub signatures: BTreeMap<(BatchNumber, Stan), Request>,
    /// F39 of signatures instead of what the books say.
    pub signature_code: Option<&'static str>,
    counter: u32,
    ending: Option<(BatchNumber, Stan)>,
    /// What the next buyers do, in order; then they pay at once.
    pub buyers: Vec<Buyer>,
    /// Payments that wait for their buyer.
    awaited: BTreeMap<(BatchNumber, Stan), Buyer>,
    /// Every query, in order.
    pub queries: Vec<Request>,
}

/// What the buyer of a QR payment does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buyer {
    /// Pays at the nth query, before it is answered.
    PaysAtQuery(u8),
    /// Never pays.
    Leaves,
    /// Says no at the first query.
    Declines,
    /// Pays a moment before the reversal comes.
    PaysTooLate,
}

/// Code of every order of the test host.
pub const ORDER_CODE: &str = "8260315000001000002";

pub fn field_59(tag: &str, value: &str) -> Option<CustomData> {
    Some(CustomData(format!("{tag}{:03}{value}", value.len()).into_bytes()))
}

impl Default for TestHost {
    fn default() -> Self {
        Self {
            batch: BatchNumber::new(7).unwrap(),
            key: 0,
            bookings: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            answers: BTreeMap::new(),
            capks: 3,
            aids: 2,
            orders: vec![],
            payment_codes: vec![],
            reversal_code: None,
            upload_code: None,
            disagrees: false,
            uploads: vec![],
            script_notices: vec![],
            settlements: vec![],
            ends: vec![],
            sign_ins: 0,
            downloads: 0,
            refuses_sign_in: None,
            scrambled_keys: false,
            forgets_mac: false,
            sets: BTreeMap::new(),
            acknowledged: vec![],
            statuses: vec![],
            sign_offs: 0,
            signatures: BTreeMap::new(),
            signature_code: None,
            counter: 0,
            ending: None,
            buyers: vec![],
            awaited: BTreeMap::new(),
            queries: vec![],
        }
    }
}

impl TestHost {
    pub fn booked(&self, batch: BatchNumber, stan: Stan) -> bool {
        self.bookings.get(&(batch, stan)).is_some_and(|booking| booking.code.is_approval() && !booking.reversed)
    }

    pub fn all_booked(&self) -> Vec<(BatchNumber, Stan)> {
        self.bookings.keys().copied().filter(|(batch, stan)| self.booked(*batch, *stan)).collect()
    }

    /// What the card paid in the end, in minor units.
    pub fn net_minor(&self) -> i64 {
        let sign = |booking: &Booking| match booking.type_code.as_str() {
            "22" | "20" | "24" | "36" | "34" => 1,
            "10" | "11" => 0,
            _ => -1,
        };
        let live = self.bookings.values().filter(|booking| booking.code.is_approval() && !booking.reversed);
        live.map(|booking| sign(booking) * i64::try_from(booking.minor).unwrap()).sum()
    }

    fn rrn(&mut self) -> Rrn {
        self.counter += 1;
        Rrn::parse(&format!("093015{:06}", self.counter)).unwrap()
    }

    /// The bytes of the answer.
    pub fn handle(&mut self, request: &Request, _now: Tick) -> Vec<u8> {
        let template = &request.template;
        let mac_bad = template.with_mac && request.mac_key != self.key;
        let stale = matches!(template.mti.as_str(), "0100" | "0200" | "0220") && request.batch() != self.batch;
        let (code, body) = match template.mti.as_str() {
            "0100" | "0200" | "0220" | "0620" if stale => (Some("77"), ResponseSummary::default()),
            _ if mac_bad => (Some("A0"), ResponseSummary::default()),
            "0800" => self.network_0800(request),
            "0820" => self.network_0820(request),
            "0100" | "0200" | "0220" => self.financial(request),
            "0400" => self.reversal(request),
            "0620" => {
                self.script_notices.push(request.clone());
                (Some("00"), ResponseSummary::default())
            }
            "0500" => self.settlement(request),
            "0320" => self.upload(request),
            other => panic!("MTI {other}"),
        };
        let refused = code.is_some_and(|code| ["77", "A0"].contains(&code));
        let forgotten = self.forgets_mac && matches!(template.mti.as_str(), "0100" | "0200");
        let key = if template.with_mac && !refused && !forgotten { self.key } else { 0 };
        self.answer(request, code, body, key)
    }

    fn answer(&mut self, request: &Request, code: Option<&str>, body: ResponseSummary, key: u32) -> Vec<u8> {
        let template = &request.template;
        let rrn = body.rrn.unwrap_or_else(|| self.rrn());
        let summary = ResponseSummary {
            mti: format!("{:04}", template.mti.parse::<u16>().unwrap() + 10),
            order: self.orders.pop().unwrap_or(0),
            stan: template.stan,
            amount_minor: template.amount.map(types::Amount::minor),
            local_time: Some("093102".to_owned()),
            local_date: Some("0315".to_owned()),
            settlement_date: Some("0315".to_owned()),
            acquirer_id: Some("48020000".to_owned()),
            rrn: Some(rrn),
            response_code: code.map(|code| ResponseCode::parse(code).unwrap()),
            additional_response: Some("03080000   48020000   ".to_owned()),
            private_60: Some(format!("00{}{}", self.batch, request.network_code())),
            ..body
        };
        let mut writer = Writer::default();
        writer.u32(key).value(&summary);
        writer.into_bytes()
    }

    fn network_0800(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        let mut body = ResponseSummary::default();
        match request.network_code() {
            "003" | "004" => {
                if let Some(code) = self.refuses_sign_in {
                    return (Some(code), body);
                }
                self.sign_ins += 1;
                self.key += 1;
                let key = if self.scrambled_keys { 0 } else { self.key };
                body.private_62 = Some(key.to_be_bytes().to_vec());
            }
            "370" | "380" => {
                self.downloads += 1;
                let name = request.template.private_62.clone().unwrap();
                assert!(name.starts_with(&[0x9F, 0x06]));
                body.private_62 = Some([b"1".to_vec(), name, vec![0xDF, 0x01, 1, 0]].concat());
            }
            "371" | "381" => assert_eq!(request.template.private_62, None),
            "361" | "365" | "391" | "393" | "395" | "397" | "399" => {
                assert_eq!(request.template.private_62, None);
                self.acknowledged.push(request.network_code().to_owned());
            }
            code @ ("360" | "364" | "390" | "392" | "394" | "396" | "398") => {
                let start = request.template.private_62.clone().map(|start| String::from_utf8(start).unwrap());
                let name = start.map_or(code.to_owned(), |start| format!("{code}@{start}"));
                let Some(content) = self.sets.get(&name) else { return (Some("40"), body) };
                body.private_62 = Some(content.clone());
            }
            other => panic!("0800/{other}"),
        }
        (Some("00"), body)
    }

    /// Lists two entries a page.
    fn network_0820(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        let total = match request.network_code() {
            "372" => self.capks,
            "382" => self.aids,
            "301" => return (Some("00"), ResponseSummary::default()),
            "002" => {
                self.sign_offs += 1;
                return (Some("00"), ResponseSummary::default());
            }
            "800" => return self.signature(request),
            "362" => {
                self.statuses.push(request.template.private_62.clone().expect("F62"));
                return (Some("00"), ResponseSummary::default());
            }
            other => panic!("0820/{other}"),
        };
        let field = request.template.private_62.clone().unwrap();
        let listed: u8 = core::str::from_utf8(&field[1..]).unwrap().parse().unwrap();
        let end = total.min(listed + 2);
        let mut page = match total {
            0 => b"0".to_vec(),
            _ if end < total => b"2".to_vec(),
            _ => b"1".to_vec(),
        };
        for index in listed..end {
            if request.network_code() == "372" {
                page.extend_from_slice(&[0x9F, 0x06, 5, 0xA0, 0, 0, 3, 0x33, 0x9F, 0x22, 1, index, 0xDF, 0x05, 8]);
                page.extend_from_slice(b"20301231");
            } else {
                page.extend_from_slice(&[0x9F, 0x06, 8, 0xA0, 0, 0, 3, 0x33, 1, 1, index]);
            }
        }
        (Some("00"), ResponseSummary { private_62: Some(page), ..ResponseSummary::default() })
    }

    /// Each signature once; the same again is known already.
    fn signature(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        if let Some(code) = self.signature_code {
            return (Some(code), ResponseSummary::default());
        }
        let key = (request.batch(), request.stan());
        let booking = self.bookings.get(&key).expect("the signed payment");
        assert_eq!((request.batch(), &request.template.private_60[..2]), (self.batch, "07"), "before the batch closes");
        assert_eq!((Some(booking.rrn), booking.token), (request.template.rrn, request.token));
        assert_eq!(Some(booking.minor), request.template.amount.map(types::Amount::minor));
        let known = self.signatures.insert(key, request.clone()).is_some();
        (Some(if known { "94" } else { "00" }), ResponseSummary::default())
    }

    fn financial(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        let key = (request.batch(), request.stan());
        let identity = (request.template.mti.clone(), key.0, key.1);
        if let Some(stored) = self.answers.get(&identity) {
            let code = stored.response_code.unwrap();
            let code =
                ["00", "09", "12", "25", "51", "77"].into_iter().find(|known| *known == code.text()).unwrap_or("05");
            return (Some(code), stored.clone());
        }
        if request.template.private_60.starts_with("60") {
            return self.query(request);
        }
        let (code, mut body) = self.decide(request);
        body.response_code = Some(ResponseCode::parse(code).unwrap());
        body.rrn = Some(self.rrn());
        let type_code = request.template.private_60[..2].to_owned();
        if type_code == "01" {
            return (Some(code), body);
        }
        self.answers.insert(identity, body.clone());
        let booking = Booking {
            minor: booked_minor(request),
            token: request.token,
            code: ResponseCode::parse(code).unwrap(),
            type_code,
            reversed: false,
            voided: false,
            rrn: body.rrn.unwrap(),
            organisation: "CUP".to_owned(),
            authorisation_code: body.authorisation_code,
            ends: self.ending.take(),
        };
        assert!(self.bookings.insert(key, booking).is_none(), "one booking per trace number");
        (Some(code), body)
    }

    fn decide(&mut self, request: &Request) -> (&'static str, ResponseSummary) {
        let mut body = ResponseSummary::default();
        let key = (request.batch(), request.stan());
        if self.tombstones.contains(&key) {
            return ("12", body);
        }
        if !self.payment_codes.is_empty() {
            return (self.payment_codes.remove(0), body);
        }
        body.authorisation_code = Some(AuthorisationCode::parse(&format!("A{:05}", self.counter + 1)).unwrap());
        body.private_63 = Some(b"CUP".to_vec());
        match &request.template.private_60[..2] {
            "22" if request.template.entry_mode.is_some() => return self.scan(request, body),
            "23" | "25" if request.template.entry_mode.is_some() => self.check_voucher(request, &mut body),
            _ => {}
        }
        match &request.template.private_60[..2] {
            "22" if request.template.condition_code.as_deref() == Some("64") => {
                body.private_62 = Some(b"03000000003334000000003333".to_vec());
            }
            "22" | "25" => {}
            "36" => {
                assert_eq!(
                    (request.chip, request.template.mti.as_str()),
                    (ChipData::OfflineSale.to_bytes()[0], "0200")
                );
                assert_eq!(request.template.private_63.as_deref(), Some(&b"CUP"[..]));
            }
            "34" => {
                let original = request.template.original_61.as_ref().unwrap();
                assert_eq!((original.len(), &original[12..]), (18, "031500"));
                let stan = Stan::new(original[6..12].parse().unwrap()).unwrap();
                let sale = &self.bookings[&(self.batch, stan)];
                assert_eq!((Some(sale.rrn), sale.token), (request.template.rrn, request.token));
                assert_eq!(request.template.amount.unwrap().minor(), sale.minor + booked_minor(request));
            }
            "01" => body.balances = Some("0201156C000000123456".to_owned()),
            "23" => {
                let original = request.template.original_61.as_ref().unwrap();
                assert_eq!(original.len(), 12);
                let batch = BatchNumber::new(original[..6].parse().unwrap()).unwrap();
                let stan = Stan::new(original[6..].parse().unwrap()).unwrap();
                let found =
                    self.bookings.get_mut(&(batch, stan)).filter(|sale| sale.rrn == request.template.rrn.unwrap());
                match found {
                    Some(sale) if !sale.voided && !sale.reversed => sale.voided = true,
                    Some(_) => return ("12", ResponseSummary::default()),
                    None => return ("25", ResponseSummary::default()),
                }
            }
            "10" => {}
            "11" | "20" | "24" => return self.end_authorisation(request, body),
            "21" => {
                let original = request.template.original_61.as_ref().unwrap();
                assert_eq!((original.len(), &original[12..]), (16, "0315"));
                let batch = BatchNumber::new(original[..6].parse().unwrap()).unwrap();
                let stan = Stan::new(original[6..12].parse().unwrap()).unwrap();
                let completion = self.bookings.get_mut(&(batch, stan)).expect("the completion");
                assert_eq!((Some(completion.rrn), completion.type_code.as_str()), (request.template.rrn, "20"));
                assert_eq!(completion.authorisation_code, request.template.authorisation_code);
                if completion.voided || completion.reversed {
                    return ("12", ResponseSummary::default());
                }
                completion.voided = true;
            }
            other => panic!("type {other}"),
        }
        ("00", body)
    }

    /// A void or completion: by card, code and date; once; whole, or within 115 %.
    fn end_authorisation(&mut self, request: &Request, mut body: ResponseSummary) -> (&'static str, ResponseSummary) {
        let template = &request.template;
        assert_eq!((template.condition_code.as_deref(), template.rrn), (Some("06"), None));
        assert_eq!(template.original_61.as_deref(), Some("0000000000000315"));
        let code = template.authorisation_code.expect("F38");
        let found = self.bookings.iter_mut().find(|(_, booking)| {
            booking.type_code == "10" && booking.token == request.token && booking.authorisation_code == Some(code)
        });
        let Some((name, held)) = found else { return ("25", ResponseSummary::default()) };
        let minor = template.amount.unwrap().minor();
        let fits = if template.mti == "0100" { minor == held.minor } else { minor * 100 <= held.minor * 115 };
        if !fits {
            return ("64", ResponseSummary::default());
        }
        if held.voided || held.reversed {
            return ("12", ResponseSummary::default());
        }
        held.voided = true;
        self.ending = Some(*name);
        body.authorisation_code = (template.mti != "0100").then_some(code);
        ("00", body)
    }

    /// The holds that stand, in minor units.
    pub fn held_minor(&self) -> u64 {
        let holds = self.bookings.values().filter(|booking| booking.type_code == "10" && booking.code.is_approval());
        holds.filter(|hold| !hold.voided && !hold.reversed).map(|hold| hold.minor).sum()
    }

    /// A QR sale or order (unionpay-pos row 36).
    fn scan(&mut self, request: &Request, mut body: ResponseSummary) -> (&'static str, ResponseSummary) {
        let template = &request.template;
        assert_eq!(template.entry_mode.as_deref(), Some("032"));
        body.authorisation_code = None;
        let order = template.processing_code.as_deref() == Some("710000");
        assert_eq!(template.custom.is_some(), !order, "a scanned code goes along, an order's does not exist yet");
        let buyer = if self.buyers.is_empty() { None } else { Some(self.buyers.remove(0)) };
        let buyer = buyer.or(order.then_some(Buyer::PaysAtQuery(1)));
        body.custom = if buyer.is_none() { field_59("A4", &self.voucher()) } else { None };
        if let Some(buyer) = buyer {
            self.awaited.insert((request.batch(), request.stan()), buyer);
            body.custom = field_59("A3", ORDER_CODE).filter(|_| order);
            return ("09", body);
        }
        ("00", body)
    }

    fn voucher(&self) -> String {
        format!("20260315{:012}", self.counter + 1)
    }

    fn check_voucher(&self, request: &Request, body: &mut ResponseSummary) {
        let field = request.template.custom.as_ref().expect("F59 of a QR void or refund");
        assert!(field.0.starts_with(b"A4020") && field.0.len() == 25);
        body.authorisation_code = None;
        body.custom = field_59("A4", &self.voucher());
    }

    /// Row 39.
    fn query(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        let template = &request.template;
        assert_eq!(template.processing_code.as_deref(), Some("730000"));
        assert!(template.custom.is_some() && template.amount.is_none());
        self.queries.push(request.clone());
        let named = template.original_61.as_ref().expect("F61");
        let batch = BatchNumber::new(named[..6].parse().unwrap()).unwrap();
        let stan = Stan::new(named[6..12].parse().unwrap()).unwrap();
        let key = (batch, stan);
        assert_ne!(Some(stan), template.stan, "a query has a trace number of its own");
        let (code, left) = match self.awaited.get(&key).copied() {
            Some(Buyer::PaysAtQuery(1)) => ("00", None),
            Some(Buyer::PaysAtQuery(queries)) => ("09", Some(Buyer::PaysAtQuery(queries - 1))),
            Some(Buyer::Declines) => ("05", None),
            Some(waits) => ("09", Some(waits)),
            None => ("25", None),
        };
        match left {
            Some(left) => drop(self.awaited.insert(key, left)),
            None => drop(self.awaited.remove(&key)),
        }
        let voucher = self.voucher();
        let booking = self.bookings.get_mut(&key).expect("the payment");
        let mut body = ResponseSummary { rrn: Some(booking.rrn), ..ResponseSummary::default() };
        if code == "00" {
            booking.code = ResponseCode::APPROVED;
            body.custom = field_59("A4", &voucher);
            if let Some(answer) = self.answers.get_mut(&("0200".to_owned(), batch, stan)) {
                answer.response_code = Some(ResponseCode::APPROVED);
            }
        }
        (Some(code), body)
    }

    fn reversal(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        if let Some(code) = self.reversal_code {
            return (Some(code), ResponseSummary::default());
        }
        let key = (request.batch(), request.stan());
        let Some(booking) = self.bookings.get_mut(&key) else {
            self.tombstones.insert(key);
            return (Some("25"), ResponseSummary::default());
        };
        assert_eq!((booking.minor, booking.token), (booked_minor(request), request.token));
        if self.awaited.remove(&key) == Some(Buyer::PaysTooLate) {
            booking.code = ResponseCode::APPROVED;
        }
        let first = !booking.reversed && booking.code.is_approval();
        booking.reversed = true;
        assert!(!matches!(booking.type_code.as_str(), "24" | "25"), "a notice is never reversed");
        let ends = booking.ends;
        let takes_back = matches!(booking.type_code.as_str(), "23" | "21");
        if let Some(ended) = ends.filter(|_| first) {
            assert!(request.template.original_61.is_some() && request.template.authorisation_code.is_some(), "C6, C11");
            self.bookings.get_mut(&ended).expect("the authorisation").voided = false;
        }
        if first && takes_back {
            let original = request.template.original_61.as_ref().expect("C11");
            let batch = BatchNumber::new(original[..6].parse().unwrap()).unwrap();
            let stan = Stan::new(original[6..12].parse().unwrap()).unwrap();
            self.bookings.get_mut(&(batch, stan)).expect("the voided sale").voided = false;
        }
        (Some("00"), ResponseSummary::default())
    }

    fn settlement(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        self.settlements.push(request.clone());
        let digits = request.template.additional_private.clone().unwrap();
        let code = |group: &str, expected: (u64, u64, u64, u64)| {
            let number = |range: core::ops::Range<usize>| group[range].parse::<u64>().unwrap();
            let told = (number(0..12), number(12..15), number(15..27), number(27..30));
            if told == expected && !self.disagrees { '1' } else { '2' }
        };
        let mut totals = (0, 0, 0, 0);
        for ((batch, _), booking) in &self.bookings {
            if *batch == request.batch() && booking.code.is_approval() && !booking.reversed {
                match booking.type_code.as_str() {
                    "10" | "11" => {}
                    "34" => totals.0 += booking.minor,
                    "22" | "20" | "24" | "36" => totals = (totals.0 + booking.minor, totals.1 + 1, totals.2, totals.3),
                    _ => totals = (totals.0, totals.1, totals.2 + booking.minor, totals.3 + 1),
                }
            }
        }
        let codes = (code(&digits[..31], totals), code(&digits[31..], (0, 0, 0, 0)));
        let field = format!("{}{}{}{}", &digits[..30], codes.0, &digits[31..61], codes.1);
        (None, ResponseSummary { additional_private: Some(field), ..ResponseSummary::default() })
    }

    fn upload(&mut self, request: &Request) -> (Option<&'static str>, ResponseSummary) {
        match request.network_code() {
            "207" | "202" => {
                self.ends.push(request.clone());
                if request.batch() == self.batch {
                    self.batch = self.batch.next();
                }
                (Some("00"), ResponseSummary::default())
            }
            _ => match self.upload_code {
                Some(code) => (Some(code), ResponseSummary::default()),
                None => {
                    self.uploads.push(request.clone());
                    (Some("00"), ResponseSummary::default())
                }
            },
        }
    }
}
