//! A store, a key service and a driver small enough to see through, for the tests of this crate.
#![allow(dead_code, reason = "each test file uses its part")]

use acquirer::{Acquirer, Effect, Enrolment, Event, HostConfig, ParameterSet, PeerIdentity, Record, State, rows};
use iso8583::unionpay::{
    Body, Capk, ConditionCode, Entry, EntryMode, F60, F61, Header, PinEntry, PinFormat, ProcessingCode,
    SecurityAlgorithm, SecurityControl, Tpdu, open,
};
use issuer::{CardFile, CardStatus, EntryModes, IssuerConfig, PinFile, Scheme, card_rows};
use keys::{
    Algorithm, AnyKeyBlock, Command, KeyHeader, KeyService, Owner, Refusal, Reply, SealedAccount, Usage, WorkingKeys,
};
use ledger::Account;
use machine::store::{AccountName, Append, GuardFailure, Journal, Outcome, Row, Store, StoreFault};
use machine::wire::Encode;
use machine::{Batch, Durable, Machine, MachineId, Tick};
use risk::{History, Past, Question, RuleSet, past_range};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use types::{CardToken, CivilTime, Currency, InstitutionId, MerchantId, Pan, ResponseCode, SecretBytes, TerminalId};

pub const PAN: &str = "6222620000001001001";
pub const OTHER_PAN: &str = "6217850000002002009";
pub const RIGHT_PIN: [u8; 8] = [1; 8];
pub const WRONG_PIN: [u8; 8] = [2; 8];
pub const RIGHT_CRYPTOGRAM: [u8; 8] = [0xAC; 8];
pub const OPENING_MINOR: i64 = 100_000;

pub fn terminal(text: &str) -> TerminalId {
    TerminalId::parse(text).unwrap()
}

pub fn merchant() -> MerchantId {
    MerchantId::parse("123456789012345").unwrap()
}

fn block(usage: Usage, owner: &str, version: u32) -> AnyKeyBlock {
    let owner = Owner::new(owner).unwrap();
    let header = KeyHeader {
        usage,
        algorithm: Algorithm::TdesDouble,
        exportable: false,
        owner,
        version,
        validity: keys::Validity::ALWAYS,
    };
    AnyKeyBlock { header, enciphered: vec![usage.number(); 24] }
}

pub fn token_of(pan: &str) -> CardToken {
    let mut token = [0; 16];
    for (place, digit) in token.iter_mut().zip(pan.bytes().rev()) {
        *place = digit ^ 0x5A;
    }
    CardToken(token)
}

/// Eight hexadecimal characters of a checksum over key version and message.
pub fn toy_mac(version: u32, message: &[u8]) -> [u8; 8] {
    let seed = 0xCBF2_9CE4 ^ version;
    let hash = message.iter().fold(seed, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let mut mac = [0; 8];
    mac.copy_from_slice(format!("{hash:08X}").as_bytes());
    mac
}

/// A key service whose "keys" are their version numbers.
#[derive(Default, Clone)]
pub struct FakeKeys {
    pub unavailable: bool,
    pub refuse_working_keys: bool,
    pub pins_tried: usize,
}

impl KeyService for FakeKeys {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        commands.iter().map(|command| self.answer(command)).collect()
    }
}

impl FakeKeys {
    fn answer(&mut self, command: &Command) -> Reply {
        if self.unavailable {
            return Reply::Refused { why: Refusal::Unavailable };
        }
        match command {
            Command::GenerateWorkingKeys { .. } if self.refuse_working_keys => {
                Reply::Refused { why: Refusal::NotAuthentic }
            }
            Command::GenerateWorkingKeys { master, version, with_track_key, .. } => {
                working_keys(master.header().owner.text(), *version, *with_track_key)
            }
            Command::VerifyMac { key, message, mac, .. } => {
                Reply::MacVerdict { right: toy_mac(key.header().version, message.expose()) == *mac }
            }
            Command::MakeMac { key, message, .. } => {
                Reply::Mac { mac: toy_mac(key.header().version, message.expose()) }
            }
            Command::OpenAccount { pan, track2, expiry, today, .. } => {
                open_account(pan.as_ref(), track2.as_ref(), expiry.is_some_and(|expiry| expiry < *today))
            }
            Command::VerifyCryptogram { cryptogram, .. } => {
                let right = *cryptogram == RIGHT_CRYPTOGRAM;
                Reply::CryptogramVerdict { right, arpc: right.then_some([0xA5; 8]) }
            }
            Command::VerifyPin { block, .. } => {
                self.pins_tried += 1;
                Reply::PinVerdict { right: *block == RIGHT_PIN }
            }
            _ => Reply::Refused { why: Refusal::NotPermitted },
        }
    }
}

fn working_keys(owner: &str, version: u32, with_track_key: bool) -> Reply {
    let keys = WorkingKeys {
        pin: block(Usage::PinEncryption, owner, version).typed().unwrap(),
        mac: block(Usage::MessageMac, owner, version).typed().unwrap(),
        track: with_track_key.then(|| block(Usage::TrackEncryption, owner, version).typed().unwrap()),
    };
    Reply::WorkingKeysMade { keys, delivery: vec![0x42; if with_track_key { 60 } else { 40 }] }
}

fn open_account(pan: Option<&Pan>, track2: Option<&SecretBytes>, expired: bool) -> Reply {
    let from_track = track2.map(|track| {
        let text = String::from_utf8(track.expose().to_vec()).unwrap();
        text.split('D').next().unwrap().to_owned()
    });
    let digits = match (pan.map(|pan| pan.expose().to_owned()), from_track) {
        (Some(pan), Some(track)) if pan != track => return Reply::Refused { why: Refusal::AccountData },
        (Some(pan), _) => pan,
        (None, Some(track)) => track,
        (None, None) => return Reply::Refused { why: Refusal::AccountData },
    };
    let Ok(pan) = Pan::parse(&digits) else { return Reply::Refused { why: Refusal::AccountData } };
    let token = token_of(&digits);
    Reply::AccountOpened {
        token,
        truncated: pan.truncated(),
        account: SealedAccount(token.0.to_vec()),
        luhn_valid: pan.luhn_valid(),
        expired,
    }
}

/// A store in memory with the guards of the real one.
#[derive(Default, Clone)]
pub struct MemoryStore {
    pub journals: BTreeMap<MachineId, Vec<(Vec<u8>, bool)>>,
    pub facts: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    pub balances: BTreeMap<(AccountName, u16), i64>,
    pub postings: BTreeMap<String, usize>,
}

impl MemoryStore {
    /// What is remembered between two keys.
    pub fn past(&self, from: &[u8], until: &[u8]) -> Vec<Past> {
        let key = |key: &[u8]| (acquirer::SPACE_PAST.to_owned(), key.to_vec());
        let values = self.facts.range(key(from)..key(until)).map(|(_, value)| value);
        values.map(|value| Past::from_bytes(value).unwrap()).collect()
    }

    pub fn write_rows(&mut self, rows: &[Row]) -> Result<(), GuardFailure> {
        let mut next = self.clone();
        for row in rows {
            next.write_row(row)?;
        }
        for row in rows {
            if let Row::BalanceAtLeast { account, currency, floor_minor } = row {
                let balance = next.balances.get(&(account.clone(), currency.numeric())).copied().unwrap_or(0);
                if balance < *floor_minor {
                    return Err(GuardFailure::Balance { account: account.clone(), would_be_minor: balance });
                }
            }
        }
        *self = next;
        Ok(())
    }

    fn write_row(&mut self, row: &Row) -> Result<(), GuardFailure> {
        match row {
            Row::Unique { space, key, value } => {
                if let Some(value) = self.facts.get(&((*space).to_owned(), key.clone())) {
                    return Err(GuardFailure::Taken { space, key: key.clone(), value: value.clone() });
                }
                self.facts.insert(((*space).to_owned(), key.clone()), value.clone());
            }
            Row::Put { space, key, value } => {
                self.facts.insert(((*space).to_owned(), key.clone()), value.clone());
            }
            Row::Posting { id, legs } => {
                assert!(self.postings.insert(id.clone(), legs.len()).is_none(), "posting {id} stands twice");
                for leg in legs {
                    *self.balances.entry((leg.account.clone(), leg.currency.numeric())).or_insert(0) += leg.delta_minor;
                }
            }
            Row::BalanceAtLeast { .. } => {}
        }
        Ok(())
    }

    fn append_one(&mut self, append: &Append) -> Outcome {
        let last = self.journals.get(&append.machine).map_or(0, Vec::len) as u64;
        if append.first_sequence != last + 1 {
            return Outcome::Conflict;
        }
        if let Err(failure) = self.write_rows(&append.rows) {
            return Outcome::GuardFailed(failure);
        }
        let journal = self.journals.entry(append.machine).or_default();
        journal.extend(append.records.iter().map(|record| (record.clone(), append.snapshot)));
        Outcome::Durable(Durable::assertion(append.machine, journal.len() as u64))
    }

    pub fn balance(&self, account: &Account) -> i64 {
        self.balances.get(&(account.name(), Currency::CNY.numeric())).copied().unwrap_or(0)
    }

    pub fn sum(&self) -> i64 {
        self.balances.values().sum()
    }

    /// Every byte the store holds.
    pub fn bytes(&self) -> Vec<u8> {
        let records = self.journals.values().flatten().flat_map(|(record, _)| record.clone());
        let facts =
            self.facts.iter().flat_map(|((_, key), value)| key.iter().chain(value).copied().collect::<Vec<_>>());
        records.chain(facts).collect()
    }
}

impl Store for MemoryStore {
    fn append(&mut self, group: &[Append]) -> Result<Vec<Outcome>, StoreFault> {
        Ok(group.iter().map(|append| self.append_one(append)).collect())
    }

    fn load(&mut self, machine: MachineId) -> Result<Journal, StoreFault> {
        let all = self.journals.get(&machine).cloned().unwrap_or_default();
        let start = all.iter().rposition(|(_, snapshot)| *snapshot).unwrap_or(0);
        let records = all[start..].iter().map(|(record, _)| record.clone()).collect();
        Ok(Journal { records, last_sequence: all.len() as u64 })
    }

    fn find(&mut self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.facts.get(&(space.to_owned(), key.to_vec())).cloned())
    }

    fn balance_minor(&mut self, account: &AccountName, currency: Currency) -> Result<i64, StoreFault> {
        Ok(self.balances.get(&(account.clone(), currency.numeric())).copied().unwrap_or(0))
    }
}

/// What came back.
#[derive(Debug)]
pub enum Back {
    Answer(Box<Body>, Header),
    Closed,
    Nothing,
}

impl Back {
    pub fn body(self) -> Body {
        match self {
            Back::Answer(body, _) => *body,
            other => panic!("an answer expected, got {other:?}"),
        }
    }

    pub fn code(self) -> String {
        String::from_utf8(self.body().response_code.unwrap().to_vec()).unwrap()
    }
}

/// Where a test cuts the power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    Never,
    BeforeAppend,
    AfterAppend,
}

/// One host process: machines in memory, the store outside.
pub struct Host {
    pub config: Arc<HostConfig>,
    pub issuer: IssuerConfig,
    pub keys: FakeKeys,
    pub machines: BTreeMap<TerminalId, Acquirer>,
    pub now: Tick,
    pub cut: Cut,
    pub issuer_silent: bool,
    /// The risk rules, and what they were asked.
    pub rules: RuleSet,
    pub questions: Vec<Question>,
    /// Whether each event is followed by a trial restart.
    pub restarts: bool,
    /// What another host does to the store just before the next append.
    pub meddle: Option<fn(&mut MemoryStore)>,
    pub log: Vec<String>,
    pub conflicts: usize,
    pub guard_failures: usize,
}

pub fn capk(index: u8) -> Capk {
    Capk {
        rid: [0xA0, 0, 0, 3, 0x33],
        index,
        expiry: *b"20491231",
        hash_algorithm: 1,
        key_algorithm: 1,
        modulus: vec![0xB0; 176],
        exponent: vec![3],
        checksum: [7; 20],
    }
}

impl Host {
    pub fn new() -> Self {
        let acquirer = InstitutionId::parse("48020000").unwrap();
        let parameters = ParameterSet {
            capk_version: 1,
            capks: (1..=14).map(capk).collect(),
            aid_version: 1,
            aids: vec![iso8583::unionpay::AidParameters {
                aid: vec![0xA0, 0, 0, 3, 0x33, 1, 1, 1],
                ..Default::default()
            }],
            ..ParameterSet::default()
        };
        Self {
            config: Arc::new(HostConfig::new(acquirer, parameters)),
            issuer: IssuerConfig::new(InstitutionId::parse("03080000").unwrap()),
            keys: FakeKeys::default(),
            machines: BTreeMap::new(),
            // 2026-03-15 09:30:00 in China.
            now: Tick { monotonic_ms: 1, wall_ms: 1_773_538_200_000 },
            cut: Cut::Never,
            issuer_silent: false,
            restarts: true,
            meddle: None,
            rules: RuleSet::default(),
            questions: Vec::new(),
            log: Vec::new(),
            conflicts: 0,
            guard_failures: 0,
        }
    }

    /// The host's time.
    pub fn civil(&self) -> CivilTime {
        CivilTime::from_unix_ms(self.now.wall_ms, CivilTime::CHINA_OFFSET_MINUTES)
    }

    fn machine(&mut self, store: &mut MemoryStore, terminal: TerminalId) -> &mut Acquirer {
        let config = self.config.clone();
        self.machines.entry(terminal).or_insert_with(|| {
            let journal = store.load(MachineId::of_terminal(terminal)).unwrap();
            Acquirer::restore(config, terminal, &journal).unwrap()
        })
    }

    pub fn state(&mut self, store: &mut MemoryStore, terminal: TerminalId) -> State {
        self.machine(store, terminal).state().clone()
    }

    /// Runs an event and everything that follows from it; gives what went back to the connections.
    pub fn run(&mut self, store: &mut MemoryStore, terminal: TerminalId, event: Event) -> Vec<(u64, Back)> {
        let mut back = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.now.monotonic_ms += 1;
            let now = self.now;
            let batch = self.machine(store, terminal).step(now, event);
            if batch.records().is_empty() {
                let proof = Durable::assertion(batch.machine(), batch.sequence());
                self.perform(store, batch.release(proof), &mut events, &mut back);
                continue;
            }
            if self.cut == Cut::BeforeAppend {
                self.machines.clear();
                return back;
            }
            if let Some(meddle) = self.meddle.take() {
                meddle(store);
            }
            match append(store, &batch) {
                Outcome::Durable(_) if self.cut == Cut::AfterAppend => {
                    self.machines.clear();
                    return back;
                }
                Outcome::Durable(proof) => {
                    self.perform(store, batch.release(proof), &mut events, &mut back);
                    events.push_front(Event::Appended(Outcome::Durable(proof)));
                }
                Outcome::GuardFailed(failure) => {
                    self.guard_failures += 1;
                    batch.discard();
                    events.push_front(Event::Appended(Outcome::GuardFailed(failure)));
                }
                Outcome::Conflict => {
                    self.conflicts += 1;
                    batch.discard();
                    let stale = self.machines.remove(&terminal).unwrap();
                    events = stale.into_unanswered().into();
                }
            }
        }
        if self.restarts {
            self.check_restart(store, terminal);
        }
        back
    }

    /// A machine restored from the journal is the machine that lives.
    fn check_restart(&mut self, store: &mut MemoryStore, terminal: TerminalId) {
        let journal = store.load(MachineId::of_terminal(terminal)).unwrap();
        let restored = Acquirer::restore(self.config.clone(), terminal, &journal).unwrap();
        let live = self.machine(store, terminal);
        assert_eq!(restored.state(), live.state(), "restart changes the state");
        assert_eq!(restored.sequence(), live.sequence());
        assert_eq!(store.sum(), 0, "the ledger sums to zero");
    }

    fn perform(
        &mut self,
        store: &mut MemoryStore,
        effects: Vec<Effect>,
        events: &mut VecDeque<Event>,
        back: &mut Vec<(u64, Back)>,
    ) {
        for effect in effects {
            match effect {
                Effect::Respond { connection, frame } => back.push((connection, read(&frame))),
                Effect::Close { connection } => back.push((connection, Back::Closed)),
                Effect::Keys { ticket, commands } => {
                    events.push_back(Event::KeyReplies { ticket, replies: self.keys.execute(&commands) });
                }
                Effect::Issuer { .. } if self.issuer_silent => {}
                Effect::Issuer { ticket, request } => {
                    let mut find = |space: &str, key: &[u8]| store.find(space, key).unwrap();
                    let reply = issuer::serve(&self.issuer, *request, &mut find, &mut self.keys);
                    events.push_back(Event::IssuerReply { ticket, reply: Box::new(reply) });
                }
                Effect::Find { ticket, space, key } => {
                    events.push_back(Event::Found { ticket, value: store.find(space, &key).unwrap() });
                }
                Effect::Balance { ticket, account, currency } => {
                    let balance_minor = store.balance_minor(&account, currency).unwrap();
                    events.push_back(Event::Balance { ticket, balance_minor });
                }
                Effect::Screen { ticket, question } => {
                    let past = |scope| {
                        let range = past_range(scope, &question, self.rules.minutes(scope));
                        range.map_or_else(Vec::new, |(from, until)| store.past(&from, &until))
                    };
                    let screening = self.rules.judge(&question, &History::new(past));
                    self.questions.push(*question);
                    events.push_back(Event::Screened { ticket, screening });
                }
                Effect::Enrolled { accepted } => self.log.push(format!("enrolled: {accepted:?}")),
                Effect::Log(line) => self.log.push(line.to_string()),
            }
        }
    }

    pub fn send(&mut self, store: &mut MemoryStore, peer: PeerIdentity, frame: Vec<u8>) -> Back {
        let event = Event::Request { connection: 7, peer, frame };
        let mut back = self.run(store, peer.terminal, event);
        assert!(back.len() <= 1, "one request, one answer");
        back.pop().map_or(Back::Nothing, |(connection, back)| {
            assert_eq!(connection, 7);
            back
        })
    }
}

fn append(store: &mut MemoryStore, batch: &Batch<Record, Effect>) -> Outcome {
    let append = Append {
        machine: batch.machine(),
        first_sequence: batch.first_sequence(),
        records: batch.records().iter().map(Encode::to_bytes).collect(),
        rows: batch.records().iter().flat_map(rows).collect(),
        snapshot: batch.records().iter().any(Record::is_snapshot),
    };
    for (record, bytes) in batch.records().iter().zip(&append.records) {
        assert_eq!(Record::from_bytes(bytes).as_ref(), Ok(record), "a record comes back");
    }
    store.append(&[append]).unwrap().pop().unwrap()
}

pub fn read(frame: &[u8]) -> Back {
    let opened = open(frame).unwrap();
    Back::Answer(Box::new(Body::from_message(&opened.message).unwrap()), opened.header.unwrap())
}

pub fn card_file() -> CardFile {
    CardFile {
        status: CardStatus::Active,
        organisation: *b"CUP",
        card_sequence: 1,
        currency: Currency::CNY,
        floor_minor: 0,
        single_limit_minor: Some(90_000_000),
        scheme: Scheme::UnionPay,
        master_ac: block(Usage::IssuerMasterAc, "issuer", 1).typed().unwrap(),
        master_mac: None,
        pin: Some(PinFile {
            reference_key: block(Usage::PinReference, "issuer", 1).typed().unwrap(),
            reference: [3; 16],
        }),
        entry_modes: EntryModes::CHIP_CARD,
        atc_once: true,
        script: None,
    }
}

/// A host, its store and one terminal that knows the dialect.
pub struct World {
    pub store: MemoryStore,
    pub host: Host,
    pub terminal: Terminal,
}

impl World {
    /// Cards loaded, terminal enrolled, not signed in.
    pub fn enrolled() -> Self {
        let mut world = World { store: MemoryStore::default(), host: Host::new(), terminal: Terminal::new("12345678") };
        for pan in [PAN, OTHER_PAN] {
            world.load_card(pan, &card_file());
        }
        world.enrol("12345678", 1);
        world
    }

    /// Signed in and ready to sell.
    pub fn ready() -> Self {
        let mut world = Self::enrolled();
        world.sign_in();
        world
    }

    pub fn load_card(&mut self, pan: &str, file: &CardFile) {
        let opening = Some((format!("opening/{}", token_of(pan)), OPENING_MINOR));
        self.store.write_rows(&card_rows(&token_of(pan), file, opening)).unwrap();
    }

    pub fn enrol(&mut self, name: &str, number: u32) {
        let enrolment = Enrolment {
            terminal: terminal(name),
            merchant: merchant(),
            terminal_number: number,
            name: "test shop".to_owned(),
            master_key: block(Usage::TerminalMaster, name, 1).typed().unwrap(),
            currency: Currency::CNY,
            allowed: u32::MAX,
        };
        self.host.run(&mut self.store, terminal(name), Event::Enrol(Box::new(enrolment)));
    }

    pub fn sign_in(&mut self) -> Body {
        let request = self.terminal.sign_in(4);
        let body = self.send_plain(request).body();
        assert_eq!(body.response_code, Some(*b"00"));
        self.terminal.batch = body.f60.unwrap().batch();
        self.terminal.key_version += 1;
        body
    }

    /// An operator gives the terminal's machine a master key of this version.
    pub fn rotate_master_key(&mut self, version: u32) {
        let id = self.terminal.id;
        let key = block(Usage::TerminalMaster, id.text(), version).typed().unwrap();
        self.host.run(&mut self.store, id, Event::ReplaceMasterKey(Box::new(key)));
    }

    /// Sends under the MAC and checks the answer's MAC.
    pub fn send(&mut self, request: Body) -> Back {
        let frame = self.terminal.frame(request);
        let back = self.host.send(&mut self.store, self.terminal.peer(), frame);
        self.terminal.check(&back);
        back
    }

    pub fn send_plain(&mut self, request: Body) -> Back {
        let frame = frame_of(&request);
        self.host.send(&mut self.store, self.terminal.peer(), frame)
    }

    pub fn code(&mut self, request: Body) -> String {
        self.send(request).code()
    }

    pub fn card_balance(&self, pan: &str) -> i64 {
        self.store.balance(&Account::Card(token_of(pan)))
    }

    pub fn payable(&self) -> i64 {
        self.store.balance(&Account::MerchantPayable(merchant()))
    }
}

pub fn frame_of(body: &Body) -> Vec<u8> {
    let mut frame = [&Tpdu::new([0, 3], [0, 0]).0[..], &Header::IC_PAYMENT.0].concat();
    body.encode(&mut frame).unwrap();
    frame
}

/// A terminal as the dialect describes it.
#[derive(Clone)]
pub struct Terminal {
    pub id: TerminalId,
    pub batch: u32,
    pub stan: u32,
    pub key_version: u32,
}

impl Terminal {
    pub fn new(name: &str) -> Self {
        Self { id: terminal(name), batch: 0, stan: 0, key_version: 0 }
    }

    pub fn peer(&self) -> PeerIdentity {
        PeerIdentity { terminal: self.id, merchant: merchant() }
    }

    pub fn base(&mut self, mti: &[u8; 4]) -> Body {
        self.stan += 1;
        let mut body = Body::new(*mti);
        body.trace = Some(self.stan);
        body.terminal_id = Some(*self.id.bytes());
        body.merchant_id = Some(*merchant().bytes());
        body
    }

    pub fn sign_in(&mut self, code: u16) -> Body {
        let mut body = self.base(b"0800");
        body.f60 = Some(F60::management(0, self.batch, code));
        body.f63 = Some(b"01 ".to_vec());
        body
    }

    pub fn management(&mut self, mti: &[u8; 4], code: u16, f62: Option<&[u8]>) -> Body {
        let mut body = self.base(mti);
        body.f60 = Some(F60::management(0, self.batch, code));
        body.f62 = f62.map(SecretBytes::copy_from);
        body
    }

    fn with_card(&mut self, mti: &[u8; 4], pan: &str, code: ProcessingCode, type_code: u8) -> Body {
        let mut body = self.base(mti);
        body.pan = Some(SecretBytes::copy_from(pan.as_bytes()));
        body.processing_code = Some(code);
        body.expiry = Some(SecretBytes::copy_from(b"3012"));
        body.entry_mode = Some(EntryMode::new(Entry::Contact, PinEntry::Absent));
        body.card_sequence = Some(1);
        body.condition = Some(ConditionCode::NORMAL);
        body.currency = Some(*b"156");
        body.f60 = Some(F60::financial(type_code, self.batch, 0, 6, 0));
        body
    }

    pub fn sale(&mut self, pan: &str, minor: u64) -> Body {
        let mut body = self.with_card(b"0200", pan, ProcessingCode::SALE, 22);
        body.amount_minor = Some(minor);
        body.icc_data = Some(chip(minor, self.stan));
        with_pin(&mut body, RIGHT_PIN);
        body
    }

    /// A sale in so many instalments.
    pub fn instalments(&mut self, pan: &str, minor: u64, count: &str) -> Body {
        let mut body = self.sale(pan, minor);
        body.condition = Some(ConditionCode::INSTALMENT);
        body.f62 = Some(SecretBytes::copy_from(count.as_bytes()));
        body
    }

    /// Uploads a sale that the card approved by itself.
    pub fn offline_sale(&mut self, pan: &str, minor: u64) -> Body {
        let mut body = self.with_card(b"0200", pan, ProcessingCode::SALE, 36);
        body.amount_minor = Some(minor);
        body.icc_data = Some(certificate(minor, self.stan));
        body.f63 = Some(b"CUP".to_vec());
        body
    }

    /// Adds a tip to the sale with this trace number and answer; `total_minor` is sale and tip.
    pub fn tip(&mut self, pan: &str, total_minor: u64, tip_minor: u64, sale: u32, rrn: [u8; 12]) -> Body {
        let mut body = self.with_card(b"0220", pan, ProcessingCode::SALE, 34);
        body.amount_minor = Some(total_minor);
        body.private_data = Some(SecretBytes::new(format!("{tip_minor:012}").into_bytes()));
        body.rrn = Some(rrn);
        body.f61 = Some(F61::dated(self.batch, sale, 315));
        body.f63 = Some(b"CUP".to_vec());
        body
    }

    pub fn balance(&mut self, pan: &str) -> Body {
        let mut body = self.with_card(b"0200", pan, ProcessingCode::BALANCE, 1);
        body.icc_data = Some(chip(0, self.stan));
        with_pin(&mut body, RIGHT_PIN);
        body
    }

    /// Voids the sale with this trace number and answer.
    pub fn void(&mut self, pan: &str, minor: u64, sale: u32, rrn: [u8; 12]) -> Body {
        let mut body = self.with_card(b"0200", pan, ProcessingCode::VOID_OR_REFUND, 23);
        body.amount_minor = Some(minor);
        body.rrn = Some(rrn);
        body.f61 = Some(F61::original(self.batch, sale));
        body
    }

    pub fn refund(&mut self, pan: &str, minor: u64, rrn: [u8; 12], date: u16) -> Body {
        let mut body = self.with_card(b"0220", pan, ProcessingCode::VOID_OR_REFUND, 25);
        body.amount_minor = Some(minor);
        body.rrn = Some(rrn);
        body.f61 = Some(F61::dated(0, 0, date));
        body.f63 = Some(b"CUP".to_vec());
        body
    }

    pub fn pre_authorisation(&mut self, pan: &str, minor: u64) -> Body {
        let mut body = self.with_card(b"0100", pan, ProcessingCode::PRE_AUTHORISATION, 10);
        body.condition = Some(ConditionCode::PRE_AUTHORISATION);
        body.amount_minor = Some(minor);
        body.icc_data = Some(chip(minor, self.stan));
        with_pin(&mut body, RIGHT_PIN);
        body
    }

    /// Voids (60.1 = 11) or completes (20, 24) the pre-authorisation with this code of this day.
    pub fn ending(&mut self, type_code: u8, pan: &str, minor: u64, code: [u8; 6], date: u16) -> Body {
        let (mti, processing_code) = match type_code {
            11 => (b"0100", ProcessingCode::VOID_OR_REFUND),
            20 => (b"0200", ProcessingCode::SALE),
            _ => (b"0220", ProcessingCode::SALE),
        };
        let mut body = self.with_card(mti, pan, processing_code, type_code);
        body.condition = Some(ConditionCode::PRE_AUTHORISATION);
        body.amount_minor = Some(minor);
        body.authorisation_code = Some(code);
        body.f61 = Some(F61::dated(0, 0, date));
        body
    }

    /// Voids the completion with this trace number and answer.
    pub fn completion_void(&mut self, pan: &str, minor: u64, completion: u32, answer: &Body) -> Body {
        let mut body = self.void(pan, minor, completion, answer.rrn.unwrap());
        body.condition = Some(ConditionCode::PRE_AUTHORISATION);
        body.authorisation_code = answer.authorisation_code;
        body.f60 = Some(F60::financial(21, self.batch, 0, 6, 0));
        body.f61 = Some(F61::dated(self.batch, completion, 315));
        body
    }

    /// Reverses a message that was sent before.
    pub fn reversal(&self, original: &Body, reason: &[u8; 2]) -> Body {
        let mut body = original.duplicate();
        body.mti = *b"0400";
        body.response_code = Some(*reason);
        (body.pin_capture, body.pin_block, body.security_control) = (None, None, None);
        (body.rrn, body.f63, body.icc_data, body.mac) = (None, None, None, None);
        body
    }

    pub fn settlement(&mut self, totals: &iso8583::unionpay::Totals) -> Body {
        let mut body = self.base(b"0500");
        body.private_data = Some(SecretBytes::new(totals.format().unwrap()));
        body.currency = Some(*b"156");
        body.f60 = Some(F60::management(0, self.batch, 201));
        body.f63 = Some(b"01 ".to_vec());
        body
    }

    pub fn batch_end(&mut self, code: u16, count: u32) -> Body {
        let mut body = self.base(b"0320");
        body.private_data = Some(SecretBytes::new(iso8583::unionpay::format_batch_end(count)));
        body.f60 = Some(F60::management(0, self.batch, code));
        body
    }

    pub fn frame(&self, mut request: Body) -> Vec<u8> {
        let mut frame = [&Tpdu::new([0, 3], [0, 0]).0[..], &Header::IC_PAYMENT.0].concat();
        let version = self.key_version;
        request
            .encode_with_mac(&mut frame, |message| Ok::<_, iso8583::EncodeError>(toy_mac(version, message)))
            .unwrap();
        frame
    }

    /// An answer under the MAC has the right one; without a MAC only refusals may come (D18).
    pub fn check(&self, back: &Back) {
        let Back::Answer(body, header) = back else { return };
        let code = ResponseCode::new(body.response_code.unwrap()).unwrap();
        let Some(mac) = body.mac else {
            assert!(["A0", "77", "97", "03", "30"].contains(&code.text()), "{code} needs a MAC");
            return;
        };
        let mut frame = [&Tpdu::new([0, 0], [0, 3]).0[..], &header.0].concat();
        body.encode(&mut frame).unwrap();
        let message = iso8583::unionpay::mac_input(&frame[11..]).unwrap();
        assert_eq!(mac, toy_mac(self.key_version, message), "the answer's MAC");
    }
}

pub fn with_pin(body: &mut Body, block: [u8; 8]) {
    body.entry_mode = Some(EntryMode::new(Entry::Contact, PinEntry::Present));
    body.pin_capture = Some(*b"12");
    body.pin_block = Some(SecretBytes::copy_from(&block));
    body.security_control = Some(SecurityControl::new(PinFormat::WithPan, SecurityAlgorithm::TripleDes, false));
}

/// The same field with a certificate (TC) of the card in place of its question.
pub fn certificate(minor: u64, atc: u32) -> SecretBytes {
    let asked = chip(minor, atc);
    let at = asked.expose().windows(3).position(|bytes| bytes == [0x9F, 0x27, 1]).unwrap() + 3;
    let mut bytes = asked.expose().to_vec();
    bytes[at] = 0x40;
    SecretBytes::new(bytes)
}

/// Field 55 with a cryptogram that the fake key service takes.
pub fn chip(minor: u64, atc: u32) -> SecretBytes {
    let amount = format!("{minor:012}");
    let packed: Vec<u8> = amount.as_bytes().chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect();
    let mut builder = tlv::Builder::new();
    let mut put = |tag: u32, value: &[u8]| builder.push(tlv::Tag::new(tag), value);
    put(0x9F26, &RIGHT_CRYPTOGRAM);
    put(0x9F27, &[0x80]);
    put(0x9F10, &[7, 1, 1, 3, 0xA0, 0xA0, 2, 1]);
    put(0x9F37, &[1, 2, 3, 4]);
    put(0x9F36, &u16::try_from(atc % 65_536).unwrap().to_be_bytes());
    put(0x95, &[0; 5]);
    put(0x9A, &[0x26, 3, 15]);
    put(0x9C, &[0]);
    put(0x9F02, &packed);
    put(0x5F2A, &[1, 0x56]);
    put(0x82, &[0x7C, 0]);
    put(0x9F1A, &[1, 0x56]);
    put(0x9F03, &[0; 6]);
    SecretBytes::new(builder.into_bytes())
}
