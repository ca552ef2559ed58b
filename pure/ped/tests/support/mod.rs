//! A till, a host and a cardholder around a real PED and a real card.
#![allow(dead_code)]

pub mod host;
pub mod vault;

use card::{Card, CardEvent, FaultPlan, FaultyCard};
use machine::wire::Encode;
use machine::{Durable, Machine, Tick};
use ped::{CardGone, Effect, Event, Ped, PedConfig, PinEntry, Record};
use pedlink::{
    AccountPart, CardFailure, CardSummary, CardTransaction, ChipData, Expected, FrameTemplate, OnlineAnswer,
    OpaqueFrame, PedCommand, PedReply, ResponseFault, ResponseSummary, SealedBlob, TraceLine,
};
use types::{
    Amount, CivilTime, Currency, LocalDate, LocalTime, MerchantId, Pin, ResponseCode, SecretBytes, Stan, TerminalId,
};
use vault::TestVault;

pub const TERMINAL: &str = "12345678";
pub const MERCHANT: &str = "123456789012345";

pub fn config() -> PedConfig {
    PedConfig::attended(TerminalId::parse(TERMINAL).unwrap(), MerchantId::parse(MERCHANT).unwrap())
}

/// What the cardholder types.
#[derive(Clone, Copy)]
pub enum Typing {
    Pin(&'static str),
    Bypass,
    Cancel,
    Timeout,
    /// Nothing at all: the keypad stays open.
    Nothing,
}

/// A PED with everything around it.
pub struct Bench {
    pub ped: Ped,
    pub card: Option<FaultyCard>,
    pub typing: Typing,
    pub records: Vec<Record>,
    pub log: Vec<String>,
    pub transmitted: usize,
    pub pins_asked: usize,
    pub now_ms: u64,
    /// When set, the outside stops after so many APDUs (the rest is left for the test).
    pub stop_after: Option<usize>,
    seed: u8,
}

impl Bench {
    pub fn empty() -> Self {
        Self {
            ped: Ped::new(config(), Box::new(TestVault::default())),
            card: None,
            typing: Typing::Pin("123456"),
            records: Vec::new(),
            log: Vec::new(),
            transmitted: 0,
            pins_asked: 0,
            now_ms: 1,
            stop_after: None,
            seed: 1,
        }
    }

    /// Signed in, with all parameters, and a card at hand.
    pub fn ready(profile: &str) -> Self {
        let mut bench = Self::empty();
        bench.sign_in();
        bench.install_parameters();
        bench.insert(profile);
        bench
    }

    pub fn sign_in(&mut self) {
        self.step(Event::PowerOn);
        self.step(Event::AdoptMasterKey(vault::terminal_master()));
        let delivery = host::key_delivery();
        let replies = self.till(PedCommand::LoadWorkingKeys { delivery });
        assert!(matches!(replies[..], [PedReply::WorkingKeysLoaded { loaded: true }]));
    }

    pub fn install_parameters(&mut self) {
        let replies = self.till(PedCommand::InstallCapks { entries: host::capk_entries(), at: noon() });
        assert!(matches!(replies[..], [PedReply::ParametersInstalled { taken: 3, .. }]), "{replies:?}");
        let replies = self.till(PedCommand::InstallAids { entries: host::aid_entries() });
        assert!(matches!(replies[..], [PedReply::ParametersInstalled { taken: 5, .. }]), "{replies:?}");
    }

    pub fn insert(&mut self, profile: &str) {
        self.insert_faulty(profile, FaultPlan::none());
    }

    pub fn insert_faulty(&mut self, profile: &str, plan: FaultPlan) {
        self.card = Some(FaultyCard::new(new_card(profile), plan));
    }

    pub fn tick(&self) -> Tick {
        Tick { monotonic_ms: self.now_ms, wall_ms: 0 }
    }

    /// One event without the outside reacting; answers to the till are returned with all other effects.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        self.log.push(format!("{event:?}"));
        let batch = self.ped.step(self.tick(), event);
        for record in batch.records() {
            let bytes = record.to_bytes();
            assert_eq!(&Record::from_bytes(&bytes).unwrap(), record);
            self.records.push(record.clone());
        }
        let proof = Durable::assertion(Ped::machine_id(), batch.sequence());
        let effects = batch.release(proof);
        self.log.extend(effects.iter().map(|effect| format!("{effect:?}")));
        effects
    }

    /// A command, with the outside reacting until nothing is left to do.
    pub fn till(&mut self, command: PedCommand) -> Vec<PedReply> {
        self.run(Event::Till(command))
    }

    pub fn run(&mut self, event: Event) -> Vec<PedReply> {
        let mut replies = Vec::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.now_ms += 1;
            let effects = self.step(event);
            for effect in effects {
                match effect {
                    Effect::ToTill(reply) => replies.push(*reply),
                    other => events.extend(self.react(other)),
                }
            }
        }
        replies
    }

    fn react(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::NeedEntropy { bytes } => {
                self.seed = self.seed.wrapping_add(1);
                Some(Event::Entropy(SecretBytes::new(vec![self.seed; usize::from(bytes)])))
            }
            Effect::PowerOnCard => {
                let answer = self.card.as_mut()?.power_on();
                Some(answer.map_or(Event::CardResponse(Err(CardGone)), Event::CardInserted))
            }
            Effect::Transmit(apdu) => self.transmit(apdu.expose()),
            Effect::AskPin { .. } => {
                self.pins_asked += 1;
                Some(Event::PinEntered(match self.typing {
                    Typing::Pin(digits) => PinEntry::Pin(Pin::parse(digits).unwrap()),
                    Typing::Bypass => PinEntry::Bypass,
                    Typing::Cancel => PinEntry::Cancel,
                    Typing::Timeout => PinEntry::Timeout,
                    Typing::Nothing => return None,
                }))
            }
            _ => None,
        }
    }

    fn transmit(&mut self, apdu: &[u8]) -> Option<Event> {
        if self.stop_after == Some(self.transmitted) {
            return None;
        }
        self.transmitted += 1;
        Some(Event::CardResponse(match self.card.as_mut()?.transmit(apdu) {
            CardEvent::Response(bytes) | CardEvent::SlowResponse { response: bytes, .. } => Ok(bytes),
            CardEvent::Mute | CardEvent::Removed => Err(CardGone),
        }))
    }

    pub fn read(&mut self, session: u32, transaction: CardTransaction) -> Result<CardSummary, CardFailure> {
        let replies = self.till(PedCommand::ReadCard { session, transaction });
        card_read(&replies)
    }

    pub fn complete(&mut self, template: FrameTemplate, account: AccountPart) -> Result<Completed, (String, bool)> {
        let command = PedCommand::CompleteFrame { template: Box::new(template), account };
        match self.till(command).pop() {
            Some(PedReply::FrameCompleted { frame, blob, trace }) => Ok(Completed { frame, blob, trace }),
            Some(PedReply::FrameRefused { why, sign_in_needed }) => Err((why, sign_in_needed)),
            other => panic!("{other:?}"),
        }
    }

    pub fn check(&mut self, frame: Vec<u8>, expected: Expected) -> Result<Box<ResponseSummary>, ResponseFault> {
        let command = PedCommand::CheckResponse { frame: OpaqueFrame::new(frame), expected: Box::new(expected) };
        match self.till(command).pop() {
            Some(PedReply::ResponseChecked { result, .. }) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn finish(&mut self, session: u32, answer: OnlineAnswer) -> PedReply {
        self.till(PedCommand::FinishCard { session, answer }).pop().expect("an answer")
    }

    /// Restores a PED from what was written so far.
    pub fn reboot(&mut self) {
        let records = self.records.clone();
        let last = records.len() as u64;
        self.ped = Ped::restore(config(), Box::new(TestVault::default()), records, last);
        self.step(Event::PowerOn);
    }
}

#[derive(Debug)]
pub struct Completed {
    pub frame: OpaqueFrame,
    pub blob: Option<SealedBlob>,
    pub trace: Vec<TraceLine>,
}

pub fn new_card(profile: &str) -> Card {
    card::profile(profile).unwrap().card()
}

pub fn card_read(replies: &[PedReply]) -> Result<CardSummary, CardFailure> {
    match replies {
        [PedReply::CardRead { result, .. }] => result.clone(),
        other => panic!("{other:?}"),
    }
}

pub fn noon() -> CivilTime {
    CivilTime { date: LocalDate::new(2025, 11, 22).unwrap(), time: LocalTime::new(12, 0, 0).unwrap() }
}

pub fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor, Currency::CNY).unwrap()
}

pub fn sale() -> CardTransaction {
    CardTransaction {
        amount: amount(1250),
        transaction_type: 0,
        at: noon(),
        stan: Stan::new(2).unwrap(),
        account_only: false,
        force_online_pin: false,
        online_only: false,
    }
}

pub fn template(mti: &str) -> FrameTemplate {
    FrameTemplate {
        tpdu: "6000030000".to_owned(),
        header: "613100310000".to_owned(),
        mti: mti.to_owned(),
        processing_code: Some("000000".to_owned()),
        amount: Some(amount(1250)),
        currency: Some(Currency::CNY),
        stan: Stan::new(2),
        condition_code: Some("00".to_owned()),
        acquirer_id: None,
        rrn: None,
        authorisation_code: None,
        response_code: None,
        terminal: TerminalId::parse(TERMINAL).unwrap(),
        merchant: MerchantId::parse(MERCHANT).unwrap(),
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

pub fn reversal(reason: &str) -> FrameTemplate {
    FrameTemplate { response_code: Some(ResponseCode::parse(reason).unwrap()), ..template("0400") }
}

pub fn of_session(session: u32) -> AccountPart {
    AccountPart::Session { session, with_pin: true, chip: ChipData::Request }
}

pub fn of_blob(blob: &SealedBlob, chip: ChipData) -> AccountPart {
    AccountPart::Blob { blob: blob.clone(), with_track: false, chip }
}

pub fn expected(mti: &str, session: Option<u32>) -> Expected {
    Expected {
        mti: mti.to_owned(),
        processing_code: Some("000000".to_owned()),
        amount: Some(amount(1250)),
        amount_may_differ: false,
        stan: Stan::new(2),
        terminal: TerminalId::parse(TERMINAL).unwrap(),
        merchant: MerchantId::parse(MERCHANT).unwrap(),
        mac_required: true,
        session,
    }
}

pub fn answered(code: &str) -> OnlineAnswer {
    OnlineAnswer::Answered { response_code: ResponseCode::parse(code).unwrap() }
}
