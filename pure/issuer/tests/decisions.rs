//! Every rule of the issuer, reached by one fault in a request that is otherwise right.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use issuer::{
    Ask, CardFile, CardScript, CardStatus, Conversation, Entry, EntryModes, IssuerConfig, IssuerReply, IssuerRequest,
    Operation, PinBlock, PinFile, PinTries, Rule, Scheme, serve,
};
use keys::{Algorithm, AnyKeyBlock, Command, KeyHeader, KeyService, Owner, Refusal, Reply, SealedAccount, Usage};
use machine::wire::Encode;
use types::{Amount, CardToken, Currency, InstitutionId, Pan, Rrn};

const TOKEN: CardToken = CardToken([7; 16]);
const RIGHT_CRYPTOGRAM: [u8; 8] = [0xAE, 0x60, 0xC8, 0xCA, 0xBA, 0x4C, 0x02, 0xF9];
const RIGHT_PIN: [u8; 8] = [1; 8];
const MALFORMED_PIN: [u8; 8] = [9; 8];
const F55: &str = "9F2608AE60C8CABA4C02F99F2701809F101307020103A0A002010A010000001100B96D058B9F3704329971469F3602039195\
    0500A00470009A032503159C01009F02060000000100005F2A02015682027C009F1A0201569F03060000000000009F3303E0F0C8";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn block(usage: Usage) -> AnyKeyBlock {
    let owner = Owner::new("test issuer").unwrap();
    let header = KeyHeader {
        usage,
        algorithm: Algorithm::TdesDouble,
        exportable: false,
        owner,
        version: 1,
        validity: keys::Validity::ALWAYS,
    };
    AnyKeyBlock { header, enciphered: vec![1, 2, 3] }
}

fn card() -> CardFile {
    CardFile {
        status: CardStatus::Active,
        organisation: *b"CUP",
        card_sequence: 1,
        currency: Currency::CNY,
        floor_minor: -500_000,
        single_limit_minor: Some(20_000),
        scheme: Scheme::UnionPay,
        master_ac: block(Usage::IssuerMasterAc).typed().unwrap(),
        master_mac: None,
        pin: Some(PinFile { reference_key: block(Usage::PinReference).typed().unwrap(), reference: [3; 16] }),
        entry_modes: EntryModes::CHIP_CARD,
        atc_once: true,
        script: None,
    }
}

fn request() -> IssuerRequest {
    IssuerRequest {
        operation: Operation::Purchase,
        token: TOKEN,
        truncated: Pan::parse("6222620000001001001").unwrap().truncated(),
        account: SealedAccount(vec![5; 20]),
        expired: false,
        entry: Entry::Chip,
        card_sequence: Some(1),
        amount: Amount::from_minor(10_000, Currency::CNY).unwrap(),
        rrn: Rrn::parse("000001000001").unwrap(),
        pin: Some(PinBlock { block: RIGHT_PIN, key: block(Usage::PinEncryption).typed().unwrap() }),
        chip: Some(bytes(F55)),
    }
}

/// Knows which cryptogram and PIN are right, and counts what it was asked.
#[derive(Default)]
struct FakeKeys {
    unavailable: bool,
    rate_limited: bool,
    pins_tried: usize,
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
            Command::VerifyCryptogram { cryptogram, .. } => {
                let right = *cryptogram == RIGHT_CRYPTOGRAM;
                Reply::CryptogramVerdict { right, arpc: right.then_some([0xA5; 8]) }
            }
            Command::VerifyPin { .. } if self.rate_limited => Reply::Refused { why: Refusal::RateLimited },
            Command::VerifyPin { block, .. } if *block == MALFORMED_PIN => Reply::Refused { why: Refusal::PinBlock },
            Command::VerifyPin { block, .. } => {
                self.pins_tried += 1;
                Reply::PinVerdict { right: *block == RIGHT_PIN }
            }
            Command::MakeScriptMac { .. } => Reply::ScriptMac { mac: [0xB7; 8] },
            _ => Reply::Refused { why: Refusal::NotPermitted },
        }
    }
}

fn config() -> IssuerConfig {
    let mut config = IssuerConfig::new(InstitutionId::parse("03080000").unwrap());
    config.leading_digits = vec!["6222".to_owned()];
    config
}

fn decide_with(keys: &mut FakeKeys, request: IssuerRequest, card: Option<&CardFile>, tries: PinTries) -> IssuerReply {
    let mut find = |space: &str, _: &[u8]| match space {
        "card" => card.map(Encode::to_bytes),
        "pin-tries" => Some(tries.to_bytes()),
        _ => None,
    };
    serve(&config(), request, &mut find, keys)
}

fn decide(request: IssuerRequest, card: &CardFile) -> IssuerReply {
    decide_with(&mut FakeKeys::default(), request, Some(card), PinTries::default())
}

#[test]
fn a_right_request_is_approved_with_account_code_and_answer_to_the_chip() {
    let reply = decide(request(), &card());
    assert_eq!(reply.rule, Rule::Approved);
    assert_eq!(reply.chip, bytes("910AA5A5A5A5A5A5A5A53030"));
    let funds = reply.funds.clone().unwrap();
    assert_eq!((funds.account.text(), funds.floor_minor), ("card/07070707070707070707070707070707", -500_000));
    assert!(reply.authorisation_code.is_some());
    assert_eq!(reply, decide(request(), &card()), "the same request gets the same answer");
    assert_eq!(reply.atc_once.unwrap(), [&[7; 16][..], &[1, 0x03, 0x91]].concat());
    assert_eq!(reply.pin_tries, None);
}

#[test]
fn one_fault_in_the_request_gives_its_rule() {
    type Fault = fn(&mut IssuerRequest);
    let faults: [(Rule, Fault); 13] = [
        (Rule::NoSuchIssuer, |request| request.truncated = Pan::parse("4000120000300309").unwrap().truncated()),
        (Rule::Expired, |request| request.expired = true),
        (Rule::CardSequence, |request| request.card_sequence = Some(2)),
        (Rule::Currency, |request| request.amount = Amount::from_minor(10_000, Currency::USD).unwrap()),
        (Rule::ChipRequired, |request| request.entry = Entry::Magstripe),
        (Rule::ChipRequired, |request| request.entry = Entry::Fallback),
        (Rule::EntryNotAllowed, |request| request.entry = Entry::Manual),
        (Rule::SingleLimit, |request| request.amount = Amount::from_minor(20_001, Currency::CNY).unwrap()),
        (Rule::ChipData, |request| request.chip = None),
        (Rule::ChipAmount, |request| request.amount = Amount::from_minor(9_999, Currency::CNY).unwrap()),
        (Rule::Cryptogram, |request| request.chip.as_mut().unwrap()[4] ^= 1),
        (Rule::PinWrong, |request| request.pin.as_mut().unwrap().block = [2; 8]),
        (Rule::PinFormat, |request| request.pin.as_mut().unwrap().block = MALFORMED_PIN),
    ];
    for (rule, fault) in faults {
        let mut request = request();
        fault(&mut request);
        let reply = decide(request, &card());
        assert_eq!(reply.rule, rule);
        assert!(reply.funds.is_none() && reply.authorisation_code.is_none() && reply.chip.is_empty(), "{rule:?}");
    }
}

/// A certificate (TC) over the sale that the card has approved without the issuer.
fn offline() -> IssuerRequest {
    let mut request = request();
    let chip = request.chip.as_mut().unwrap();
    let at = chip.windows(3).position(|bytes| bytes == [0x9F, 0x27, 1]).unwrap() + 3;
    chip[at] = 0x40;
    IssuerRequest { operation: Operation::OfflinePurchase, pin: None, ..request }
}

#[test]
fn a_sale_without_the_issuer_is_taken_only_where_a_counter_pays_once() {
    let mut card = card();
    let reply = decide(offline(), &card);
    assert_eq!((reply.rule, reply.atc_once), (Rule::Approved, decide(request(), &card).atc_once));
    card.atc_once = false;
    let reply = decide(offline(), &card);
    assert!(reply.rule == Rule::OfflineUncounted && reply.funds.is_none() && reply.atc_once.is_none());
    assert_eq!(decide(request(), &card).rule, Rule::Approved, "the issuer is asked about this one");
}

#[test]
fn one_fault_in_the_file_gives_its_rule() {
    type Fault = fn(&mut CardFile);
    let faults: [(Rule, Fault); 4] = [
        (Rule::Lost, |card| card.status = CardStatus::Lost),
        (Rule::Stolen, |card| card.status = CardStatus::Stolen),
        (Rule::Restricted, |card| card.status = CardStatus::Restricted),
        (Rule::PinNotSet, |card| card.pin = None),
    ];
    for (rule, fault) in faults {
        let mut card = card();
        fault(&mut card);
        assert_eq!(decide(request(), &card).rule, rule);
    }
    let none = decide_with(&mut FakeKeys::default(), request(), None, PinTries::default());
    assert_eq!(none.rule, Rule::NoSuchCard);
    let mut find = |_: &str, _: &[u8]| Some(vec![0xFF]);
    assert_eq!(serve(&config(), request(), &mut find, &mut FakeKeys::default()).rule, Rule::FileDamaged);
}

#[test]
fn a_stripe_needs_the_pin_that_the_card_has() {
    let mut card = card();
    card.entry_modes.magstripe = true;
    let mut request = request();
    (request.entry, request.chip) = (Entry::Magstripe, None);
    assert_eq!(decide(request.clone(), &card).rule, Rule::Approved);
    request.pin = None;
    assert_eq!(decide(request, &card).rule, Rule::PinMissing);
}

#[test]
fn wrong_pins_count_to_the_limit_and_then_no_pin_is_looked_at() {
    let mut keys = FakeKeys::default();
    let mut tries = PinTries::default();
    let mut wrong = request();
    wrong.pin.as_mut().unwrap().block = [2; 8];
    for expected in [Rule::PinWrong, Rule::PinWrong, Rule::PinTries] {
        let reply = decide_with(&mut keys, wrong.clone(), Some(&card()), tries);
        assert_eq!(reply.rule, expected);
        tries = reply.pin_tries.unwrap().1;
    }
    assert_eq!((tries, keys.pins_tried), (PinTries { step: 3, wrong: 3 }, 3));
    let reply = decide_with(&mut keys, request(), Some(&card()), tries);
    assert_eq!((reply.rule, reply.pin_tries, keys.pins_tried), (Rule::PinTries, None, 3));
}

#[test]
fn a_right_pin_clears_the_counter_as_a_step_of_its_own() {
    let reply = decide_with(&mut FakeKeys::default(), request(), Some(&card()), PinTries { step: 2, wrong: 2 });
    assert_eq!(reply.pin_tries, Some((TOKEN, PinTries { step: 3, wrong: 0 })));
}

#[test]
fn a_request_without_the_card_does_not_count_against_its_pin() {
    let mut request = request();
    request.chip.as_mut().unwrap()[4] ^= 1;
    request.pin.as_mut().unwrap().block = [2; 8];
    let reply = decide(request, &card());
    assert_eq!((reply.rule, reply.pin_tries), (Rule::Cryptogram, None));
}

#[test]
fn trouble_with_keys_never_approves() {
    let mut keys = FakeKeys { unavailable: true, ..FakeKeys::default() };
    assert_eq!(decide_with(&mut keys, request(), Some(&card()), PinTries::default()).rule, Rule::KeyService);
    let mut keys = FakeKeys { rate_limited: true, ..FakeKeys::default() };
    assert_eq!(decide_with(&mut keys, request(), Some(&card()), PinTries::default()).rule, Rule::PinTries);
    let (mut conversation, _) = Conversation::open(&config(), request());
    let ask = conversation.replies(vec![Reply::PinVerdict { right: true }]);
    assert!(matches!(ask, Ask::Reply(reply) if reply.rule == Rule::KeyService), "replies out of turn");
}

#[test]
fn money_may_go_back_to_a_lost_or_expired_card() {
    let mut card = card();
    card.status = CardStatus::Lost;
    let mut request = request();
    (request.operation, request.expired, request.pin, request.chip) = (Operation::Credit, true, None, None);
    let reply = decide(request, &card);
    assert_eq!(reply.rule, Rule::Approved);
    assert!(reply.authorisation_code.is_none() && reply.funds.is_some());
}

#[test]
fn what_was_authorised_is_captured_whatever_became_of_the_card() {
    let mut card = card();
    card.status = CardStatus::Stolen;
    let mut request = request();
    (request.operation, request.expired, request.pin, request.chip) = (Operation::Capture, true, None, None);
    request.amount = Amount::from_minor(20_001, Currency::CNY).unwrap();
    let reply = decide(request.clone(), &card);
    assert_eq!(reply.rule, Rule::Approved, "nor does the limit for one transaction count again");
    assert!(reply.authorisation_code.is_none() && reply.chip.is_empty() && reply.funds.is_some());
    request.pin = Some(PinBlock { block: [2; 8], key: block(Usage::PinEncryption).typed().unwrap() });
    assert_eq!(decide(request, &card).rule, Rule::PinWrong, "but a PIN that comes must be right");
}

#[test]
fn a_script_rides_with_an_approval_and_never_with_a_refusal() {
    let mut card = card();
    card.master_mac = Some(block(Usage::IssuerMasterMac).typed().unwrap());
    card.script = Some(CardScript { identifier: [0, 0, 0, 9], tag: [0x9F, 0x58], value: vec![2] });
    let reply = decide(request(), &card);
    assert_eq!(reply.chip, bytes("910AA5A5A5A5A5A5A5A53030 7213 9F180400000009 860A 84DA9F5805 02 B7B7B7B7"));
    let mut wrong = request();
    wrong.pin.as_mut().unwrap().block = [2; 8];
    assert!(decide(wrong, &card).chip.is_empty());
}

#[test]
fn a_card_file_comes_back_and_no_truncation_does() {
    let mut file = card();
    file.script = Some(CardScript { identifier: [0, 0, 0, 9], tag: [0x9F, 0x58], value: vec![2] });
    let encoded = file.to_bytes();
    assert_eq!(CardFile::from_bytes(&encoded), Ok(file));
    assert!((0..encoded.len()).all(|length| CardFile::from_bytes(&encoded[..length]).is_err()));
}
