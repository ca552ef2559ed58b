//! Every profile against the real kernel: the documented outcome, with default terminal parameters, for a sale of 12.50
//! with PIN 123456.

use crate::terminal::{Cryptogram, Issuer};
use card::{Card, ExpectedOutcome, PinCheck, Profile, profile, profiles, test_capks};
use emv::oda::CapkParts;
use emv::{
    Capk, CapkSet, Decision, EmvDate, Input, Kernel, OnlineResult, Outcome, Output, PinKind, PinOutcome, PinRequest,
    TerminalApplication, TerminalConfig, TransactionData,
};
use tlv::{Builder, Tag, tags};
use types::Pin;

const CHINA: [u8; 2] = [0x01, 0x56];

fn config() -> TerminalConfig {
    let application =
        |aid: &str, version| TerminalApplication { version, ..TerminalApplication::new(&crate::terminal::hex(aid)) };
    let applications = vec![
        application("A000000333010101", [0x00, 0x20]),
        application("A000000333010102", [0x00, 0x20]),
        TerminalApplication { floor_limit_minor: 10_000, ..application("A000000333010106", [0x00, 0x20]) },
        application("A0000000031010", [0x00, 0x96]),
        application("A0000000041010", [0x00, 0x02]),
    ];
    TerminalConfig::merchant(CHINA, applications)
}

fn capks() -> CapkSet {
    let mut set = CapkSet::new();
    for capk in test_capks() {
        let bcd = |number: u8| ((number / 10) << 4) | (number % 10);
        let expiry = capk.expiry;
        let parts = CapkParts {
            rid: capk.rid,
            index: capk.index,
            modulus: &capk.modulus,
            exponent: &capk.exponent,
            expiry: Some(
                EmvDate::from_bcd([bcd((expiry.year() % 100) as u8), bcd(expiry.month()), bcd(expiry.day())]).unwrap(),
            ),
            checksum: Some(capk.checksum),
        };
        set.insert(Capk::new(&parts).unwrap());
    }
    set
}

/// What the issuer's end does with a request.
type Host<'h> = &'h dyn Fn(&Kernel, &Cryptogram) -> ([u8; 2], Vec<u8>);

struct Payment {
    outcome: Outcome,
    pin_requests: Vec<PinRequest>,
    online_pin: Option<bool>,
    tvr_at_request: Vec<u8>,
}

fn pay(card: &mut Card, pin: &str, host: Host<'_>) -> Payment {
    let date = EmvDate::from_bcd([0x26, 0x11, 0x22]).unwrap();
    let transaction = TransactionData::purchase(1250, CHINA, date, [0xA1, 0xB2, 0xC3, 0xD4]);
    let mut kernel = Kernel::new(config(), capks(), transaction).unwrap();
    card.reset();
    let (mut pin_requests, mut online_pin, mut tvr_at_request) = (Vec::new(), None, Vec::new());
    let mut input = Input::Start;
    for _ in 0..200 {
        input = match kernel.step(input) {
            Output::Transmit(command) => Input::CardResponse(card.apdu(&command.encode())),
            Output::ChooseApplication(_) => Input::ApplicationChosen(0),
            Output::AskPin(request) => {
                pin_requests.push(request);
                Input::PinEntered(enter(&request, pin))
            }
            Output::GoOnline(request) => {
                online_pin = Some(request.online_pin);
                tvr_at_request = kernel.data().get(tags::TVR).unwrap().to_vec();
                let cryptogram = Cryptogram {
                    information: request.cryptogram.cid,
                    counter: request.cryptogram.atc,
                    value: request.cryptogram.application_cryptogram,
                    issuer_data: request.cryptogram.issuer_application_data.clone(),
                };
                let (response_code, issuer_data) = host(&kernel, &cryptogram);
                Input::OnlineResult(OnlineResult::Answered { response_code, issuer_data })
            }
            Output::Finished(outcome) => {
                return Payment { outcome: *outcome, pin_requests, online_pin, tvr_at_request };
            }
        };
    }
    panic!("the payment does not end");
}

fn enter(request: &PinRequest, pin: &str) -> PinOutcome {
    match request.kind {
        PinKind::Online => PinOutcome::Entered,
        _ => PinOutcome::Offline { pin: Pin::parse(pin).unwrap(), random: vec![0x5C; request.random_length_bytes] },
    }
}

/// Checks the ARQC against the kernel's own field 55 and answers with an ARPC, and with what `more` adds.
fn approve(
    profile: &Profile,
    kernel: &Kernel,
    cryptogram: &Cryptogram,
    more: &dyn Fn(&Issuer, &mut Builder),
) -> ([u8; 2], Vec<u8>) {
    let issuer = Issuer::of(profile);
    let value = |tag: u32| kernel.data().get(Tag::new(tag)).unwrap_or_else(|| panic!("no {tag:X}")).to_vec();
    assert_eq!(issuer.expected_from(&value, cryptogram), cryptogram.value, "{}", profile.name);
    let mut answer = Builder::new();
    answer.push(tags::ISSUER_AUTHENTICATION_DATA, &issuer.authentication_data(cryptogram));
    more(&issuer, &mut answer);
    (*b"00", answer.into_bytes())
}

fn check(profile: &Profile) {
    let mut card = profile.card();
    let payment = pay(&mut card, "123456", &|kernel, cryptogram| match profile.expected {
        ExpectedOutcome::DeclinedOnline(code) => (code.as_bytes().try_into().unwrap(), Vec::new()),
        _ => approve(profile, kernel, cryptogram, &|_, _| {}),
    });
    let outcome = &payment.outcome;
    let context = format!("{}: {outcome:?}", profile.name);
    let decision = if profile.expected.approves() { Decision::Approved } else { Decision::Declined };
    assert_eq!(outcome.decision, decision, "{context}");
    match profile.expected {
        ExpectedOutcome::ApprovedOnline(check) => {
            assert_eq!(payment.online_pin, Some(check == PinCheck::Online), "{context}");
            assert!(outcome.oda.succeeded, "{context}");
            assert!(!payment.pin_requests.is_empty(), "{context}");
            let sda_selected = if profile.name == "unionpay-sda" { 0x02 } else { 0x00 };
            assert_eq!(payment.tvr_at_request[0], sda_selected, "{context}");
            assert_eq!(payment.tvr_at_request[1], 0x00, "{context}");
            assert!(!outcome.reversal_required && !outcome.signature_required, "{context}");
        }
        ExpectedOutcome::DeclinedOffline | ExpectedOutcome::DeclinedBySignature => {
            assert_eq!(payment.online_pin, None, "{context}");
            assert!(!outcome.went_online, "{context}");
        }
        ExpectedOutcome::DeclinedOnline(_) => assert!(outcome.went_online, "{context}"),
        ExpectedOutcome::ApprovedOffline => {
            assert!(outcome.oda.succeeded && !outcome.went_online && payment.pin_requests.is_empty(), "{context}");
        }
    }
}

#[test]
fn every_profile_comes_to_its_documented_outcome() {
    profiles().iter().for_each(check);
}

#[test]
fn each_data_authentication_is_really_used() {
    use emv::kernel::OdaMethod;
    for (name, method) in [
        ("unionpay-credit", OdaMethod::Cda),
        ("unionpay-debit", OdaMethod::Dda),
        ("unionpay-sda", OdaMethod::Sda),
        ("mastercard-credit", OdaMethod::Cda),
    ] {
        let profile = profile(name).unwrap();
        let payment = pay(&mut profile.card(), "123456", &|kernel, got| approve(profile, kernel, got, &|_, _| {}));
        assert_eq!((payment.outcome.oda.method, payment.outcome.oda.succeeded), (method, true), "{name}");
    }
}

#[test]
fn the_expired_card_shows_in_the_verification_results() {
    let payment = pay(&mut profile("expired").unwrap().card(), "123456", &|_, _| (*b"54", Vec::new()));
    assert_eq!(payment.tvr_at_request[1] & 0x40, 0x40);
}

#[test]
fn the_blocked_pin_stays_blocked_and_the_right_one_works_before() {
    let profile = profile("pin-blocked").unwrap();
    let host = |kernel: &Kernel, got: &Cryptogram| approve(profile, kernel, got, &|_, _| {});
    let mut card = profile.card();
    assert_eq!(pay(&mut card, "258036", &host).outcome.decision, Decision::Approved);
    let wrong = pay(&mut card, "123456", &host);
    assert_eq!(wrong.outcome.decision, Decision::Declined);
    assert_eq!(wrong.pin_requests.len(), 3);
    assert_eq!(card.state().pin_tries_left, 0);
    let right = pay(&mut card, "258036", &host);
    assert_eq!(right.outcome.decision, Decision::Declined);
    assert!(right.pin_requests.is_empty(), "nobody is asked for a PIN that cannot be verified");
}

#[test]
fn a_wrong_arpc_turns_the_approval_into_a_reversal() {
    for name in ["unionpay-credit", "visa-credit", "mastercard-credit"] {
        let profile = profile(name).unwrap();
        let payment = pay(&mut profile.card(), "123456", &|kernel, got| {
            let (code, mut data) = approve(profile, kernel, got, &|_, _| {});
            data[3] ^= 1;
            (code, data)
        });
        assert_eq!(payment.outcome.decision, Decision::Declined, "{name}");
        assert!(payment.outcome.reversal_required, "{name}");
    }
}

#[test]
fn scripts_before_and_after_the_second_cryptogram_are_carried_out() {
    for name in ["scripted", "visa-credit", "mastercard-credit"] {
        let profile = profile(name).unwrap();
        let mut card = profile.card();
        let payment = pay(&mut card, "123456", &|kernel, got| {
            approve(profile, kernel, got, &|issuer, answer| {
                for (ahead, (template, tag)) in
                    [(tags::ISSUER_SCRIPT_TEMPLATE_1, 0x58), (tags::ISSUER_SCRIPT_TEMPLATE_2, 0x59)]
                        .into_iter()
                        .enumerate()
                {
                    let command = issuer.script(got, [0x84, 0xDA, 0x9F, tag], &[7], ahead as u64);
                    answer.push_template(template, |script| {
                        script.push(tags::ISSUER_SCRIPT_IDENTIFIER, &[0, 0, 0, tag]);
                        script.push(tags::ISSUER_SCRIPT_COMMAND, &command);
                    });
                }
            })
        });
        assert_eq!(payment.outcome.decision, Decision::Approved, "{name}");
        let state = &card.state().applications[0];
        assert_eq!((state.lower_consecutive_offline_limit, state.upper_consecutive_offline_limit), (7, 7), "{name}");
        assert_eq!((state.script_commands, state.script_failed), (2, false), "{name}");
        assert_eq!(payment.outcome.script_results.len(), 2, "{name}");
    }
}
