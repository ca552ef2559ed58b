//! Whole transactions against a scripted card.

mod card;

use super::*;
use crate::EmvDate;
use crate::apdu::ins;
use crate::config::TerminalApplication;
use card::{AID, CRYPTOGRAM, ISSUER_SERIAL, PAN, RID, TestCard, capks};
use proptest::prelude::*;
use tlv::{Builder, tags};

const SDA: u8 = 0x5C;
const DDA: u8 = 0x3C;
const CDA: u8 = 0x1D;

/// Everything around the card.
struct Bench {
    config: TerminalConfig,
    capks: CapkSet,
    transaction: TransactionData,
    /// PINs the cardholder types one after another; then bypass.
    pins: Vec<&'static str>,
    online_pin: fn() -> PinOutcome,
    host: OnlineResult,
    asked: Vec<PinRequest>,
    went_online: Vec<OnlineRequest>,
}

impl Bench {
    fn new() -> Self {
        let mut application = TerminalApplication::new(&AID[..7]);
        application.floor_limit_minor = 10_000;
        application.tac_default = [0; 5];
        application.tac_denial = [0; 5];
        application.tac_online = [0; 5];
        let date = EmvDate::new(2025, 11, 22).expect("date");
        Bench {
            config: TerminalConfig::merchant([0x01, 0x56], vec![application]),
            capks: capks(),
            transaction: TransactionData::purchase(1250, [0x01, 0x56], date, [0xDE, 0xAD, 0xBE, 0xEF]),
            pins: Vec::new(),
            online_pin: || PinOutcome::Entered,
            host: answer(*b"00", &[]),
            asked: Vec::new(),
            went_online: Vec::new(),
        }
    }

    /// A terminal that goes online for everything.
    fn online() -> Self {
        let mut bench = Bench::new();
        bench.config.applications[0].floor_limit_minor = 0;
        bench.config.applications[0].tac_online = [0, 0, 0, 0x80, 0];
        bench
    }

    fn pin(&mut self, request: PinRequest) -> PinOutcome {
        self.asked.push(request);
        if request.kind == PinKind::Online {
            return (self.online_pin)();
        }
        if self.pins.is_empty() {
            return PinOutcome::Bypassed;
        }
        let pin = types::Pin::parse(self.pins.remove(0)).expect("pin");
        PinOutcome::Offline { pin, random: vec![0x5A; request.random_length_bytes] }
    }

    fn run(&mut self, card: &mut TestCard) -> (Outcome, Kernel) {
        let mut kernel = Kernel::new(self.config.clone(), self.capks.clone(), self.transaction.clone()).expect("valid");
        let mut input = Input::Start;
        loop {
            input = match kernel.step(input) {
                Output::Transmit(command) => match card.exchange(&command.encode()) {
                    Some(bytes) => Input::CardResponse(bytes),
                    None => Input::CardGone,
                },
                Output::ChooseApplication(_) => Input::ApplicationChosen(0),
                Output::AskPin(request) => Input::PinEntered(self.pin(request)),
                Output::GoOnline(request) => {
                    self.went_online.push(request);
                    Input::OnlineResult(self.host.clone())
                }
                Output::Finished(outcome) => return (*outcome, kernel),
            };
        }
    }
}

fn answer(response_code: [u8; 2], issuer_data: &[u8]) -> OnlineResult {
    OnlineResult::Answered { response_code, issuer_data: issuer_data.to_vec() }
}

fn run(card: &mut TestCard) -> Outcome {
    Bench::new().run(card).0
}

fn cvm(card: &mut TestCard, rules: &[u8]) {
    card.set(tags::CVM_LIST, &[&[0; 8], rules].concat());
}

fn failure(outcome: &Outcome) -> Option<OdaError> {
    assert!(!outcome.oda.succeeded);
    outcome.oda.failure
}

#[test]
fn a_small_purchase_is_approved_offline_after_each_authentication() {
    for (aip, method) in [(SDA, OdaMethod::Sda), (DDA, OdaMethod::Dda), (CDA, OdaMethod::Cda)] {
        let mut card = TestCard::new(aip);
        let (outcome, kernel) = Bench::new().run(&mut card);
        assert_eq!(outcome.decision, Decision::Approved, "{method:?}");
        assert_eq!(outcome.oda, OdaReport { method, succeeded: true, failure: None });
        assert!(outcome.tsi.has(Tsi::ODA_PERFORMED));
        assert_eq!(outcome.final_cryptogram().map(|c| c.application_cryptogram), Some(CRYPTOGRAM));
        assert_eq!(kernel.data().get(tags::AUTHORISATION_RESPONSE_CODE), Some(&b"Y1"[..]));
        assert_eq!(kernel.data().get(tags::APPLICATION_CRYPTOGRAM), Some(&CRYPTOGRAM[..]));
    }
}

#[test]
fn static_and_dynamic_numbers_are_kept() {
    let (_, kernel) = Bench::new().run(&mut TestCard::new(SDA));
    assert_eq!(kernel.data().get(tags::DATA_AUTHENTICATION_CODE), Some(&[0xDA, 0xC1][..]));
    let (_, kernel) = Bench::new().run(&mut TestCard::new(CDA));
    assert_eq!(kernel.data().get(tags::ICC_DYNAMIC_NUMBER), Some(&[0x0A, 0x0B, 0x0C, 0x0D][..]));
}

#[test]
fn no_common_authentication_is_noted() {
    let outcome = run(&mut TestCard::new(0x1C));
    assert!(outcome.tvr.has(Tvr::ODA_NOT_PERFORMED));
    assert!(!outcome.tsi.has(Tsi::ODA_PERFORMED));
}

#[test]
fn a_missing_scheme_key_fails_the_authentication() {
    for (aip, bit) in [(SDA, Tvr::SDA_FAILED), (DDA, Tvr::DDA_FAILED), (CDA, Tvr::CDA_FAILED)] {
        let mut bench = Bench::new();
        bench.capks = CapkSet::new();
        let mut card = TestCard::new(aip);
        let (outcome, _) = bench.run(&mut card);
        assert_eq!(failure(&outcome), Some(OdaError::CapkMissing));
        assert!(outcome.tvr.has(bit));
        assert!(!outcome.tvr.has(Tvr::ICC_DATA_MISSING));
    }
}

#[test]
fn a_revoked_issuer_certificate_fails() {
    let mut bench = Bench::new();
    bench.config.revoked.revoke(RID, card::CAPK_INDEX, ISSUER_SERIAL);
    let (outcome, _) = bench.run(&mut TestCard::new(DDA));
    assert_eq!(failure(&outcome), Some(OdaError::Revoked));
}

#[test]
fn missing_card_data_is_told_from_wrong_data() {
    let mut card = TestCard::new(SDA);
    card.remove(tags::SIGNED_STATIC_APPLICATION_DATA);
    let outcome = run(&mut card);
    assert_eq!(failure(&outcome), Some(OdaError::DataMissing));
    assert!(outcome.tvr.has(Tvr::ICC_DATA_MISSING) && outcome.tvr.has(Tvr::SDA_FAILED));
    let mut card = TestCard::new(DDA);
    card.remove(tags::ICC_PUBLIC_KEY_REMAINDER);
    assert!(run(&mut card).tvr.has(Tvr::ICC_DATA_MISSING));
    let mut card = TestCard::new(SDA);
    card.set(tags::SIGNED_STATIC_APPLICATION_DATA, &[0x11; 128]);
    let outcome = run(&mut card);
    assert!(outcome.tvr.has(Tvr::SDA_FAILED) && !outcome.tvr.has(Tvr::ICC_DATA_MISSING));
}

#[test]
fn an_expired_certificate_fails() {
    let mut bench = Bench::new();
    bench.transaction.date = EmvDate::new(2031, 1, 1).expect("date");
    let (outcome, _) = bench.run(&mut TestCard::new(SDA));
    assert_eq!(failure(&outcome), Some(OdaError::Expired));
    assert!(outcome.tvr.has(Tvr::EXPIRED));
}

#[test]
fn a_ddol_without_the_unpredictable_number_fails() {
    let mut card = TestCard::new(DDA);
    card.set(tags::DDOL, &[0x9F, 0x02, 0x06]);
    assert_eq!(failure(&run(&mut card)), Some(OdaError::Ddol));
    let mut card = TestCard::new(DDA);
    card.remove(tags::DDOL);
    assert!(run(&mut card).oda.succeeded, "the default DDOL steps in");
}

#[test]
fn a_lying_card_fails_dynamic_authentication() {
    let mut card = TestCard::new(DDA);
    card.lies = true;
    let outcome = run(&mut card);
    assert!(outcome.tvr.has(Tvr::DDA_FAILED));
    assert_eq!(failure(&outcome), Some(OdaError::Format));
}

#[test]
fn a_card_that_lies_in_its_certificate_of_approval_is_declined() {
    let mut card = TestCard::new(CDA);
    card.lies = true;
    let outcome = run(&mut card);
    assert_eq!(outcome.decision, Decision::Declined);
    assert!(outcome.tvr.has(Tvr::CDA_FAILED));
    assert_eq!(card.cryptograms, 1);
}

#[test]
fn a_card_that_lies_in_its_request_never_reaches_the_issuer() {
    let mut card = TestCard::new(CDA);
    card.lies = true;
    let mut bench = Bench::online();
    let (outcome, kernel) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Declined);
    assert!(bench.went_online.is_empty());
    assert_eq!(card.commands.last().map(|command| command.p1), Some(0x00), "asked for an AAC");
    assert_eq!(kernel.data().get(tags::AUTHORISATION_RESPONSE_CODE), Some(&b"Z1"[..]));
}

#[test]
fn an_answer_without_the_signature_asked_for_fails_combined_authentication() {
    let mut card = TestCard::new(CDA);
    let mut bench = Bench::new();
    let mut kernel = Kernel::new(bench.config.clone(), bench.capks.clone(), bench.transaction.clone()).expect("valid");
    let mut input = Input::Start;
    let outcome = loop {
        input = match kernel.step(input) {
            Output::Transmit(command) if command.ins == ins::GENERATE_AC => {
                let unsigned = [&[0x80, 0x0B, 0x40, 0, 5][..], &CRYPTOGRAM, &[0x90, 0]].concat();
                Input::CardResponse(unsigned)
            }
            Output::Transmit(command) => Input::CardResponse(card.exchange(&command.encode()).expect("answers")),
            Output::AskPin(request) => Input::PinEntered(bench.pin(request)),
            Output::Finished(outcome) => break outcome,
            other => panic!("{other:?}"),
        };
    };
    assert_eq!(outcome.decision, Decision::Declined);
    assert_eq!(failure(&outcome), Some(OdaError::SignatureMissing));
}

#[test]
fn an_online_approval_completes_with_issuer_authentication() {
    let mut bench = Bench::online();
    let mut issuer_data = Builder::new();
    issuer_data.push(tags::ISSUER_AUTHENTICATION_DATA, &[1, 2, 3, 4, 5, 6, 7, 8, 0x30, 0x30]);
    bench.host = answer(*b"00", issuer_data.as_bytes());
    let mut card = TestCard::new(DDA);
    let (outcome, kernel) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Approved);
    assert!(outcome.went_online && !outcome.reversal_required);
    assert!(outcome.tsi.has(Tsi::ISSUER_AUTHENTICATION_PERFORMED));
    assert!(bench.went_online[0].online_pin);
    assert!(outcome.tvr.has(Tvr::ONLINE_PIN_ENTERED));
    assert_eq!(outcome.cvm_results, [0x42, 0x03, 0x00]);
    let second = card.commands.last().expect("commands");
    assert_eq!((second.ins, second.p1), (ins::GENERATE_AC, 0x40));
    assert_eq!(second.data[..2], *b"00");
    assert_eq!(second.data[11..], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(kernel.data().get(tags::CVM_RESULTS), Some(&[0x42, 0x03, 0x00][..]));
}

#[test]
fn combined_authentication_covers_both_cryptograms() {
    let mut card = TestCard::new(CDA);
    let (outcome, _) = Bench::online().run(&mut card);
    assert_eq!(outcome.decision, Decision::Approved);
    let asked: Vec<u8> =
        card.commands.iter().filter(|command| command.ins == ins::GENERATE_AC).map(|command| command.p1).collect();
    assert_eq!(asked, [0x90, 0x50]);
    assert!(outcome.oda.succeeded);
}

#[test]
fn a_failed_issuer_authentication_is_noted_and_the_card_decides() {
    let mut bench = Bench::online();
    let mut issuer_data = Builder::new();
    issuer_data.push(tags::ISSUER_AUTHENTICATION_DATA, &[9; 10]);
    bench.host = answer(*b"00", issuer_data.as_bytes());
    let mut card = TestCard::new(DDA);
    card.refuses.push((ins::EXTERNAL_AUTHENTICATE, 0x6300));
    card.second = Some(CryptogramKind::Aac);
    let (outcome, _) = bench.run(&mut card);
    assert!(outcome.tvr.has(Tvr::ISSUER_AUTHENTICATION_FAILED));
    assert_eq!(outcome.decision, Decision::Declined);
    assert!(outcome.reversal_required, "the host approved what the card declined");
}

#[test]
fn issuer_authentication_data_of_a_wrong_length_is_not_sent() {
    let mut bench = Bench::online();
    let mut issuer_data = Builder::new();
    issuer_data.push(tags::ISSUER_AUTHENTICATION_DATA, &[9; 7]);
    bench.host = answer(*b"00", issuer_data.as_bytes());
    let mut card = TestCard::new(DDA);
    let (outcome, _) = bench.run(&mut card);
    assert!(outcome.tvr.has(Tvr::ISSUER_AUTHENTICATION_FAILED));
    assert!(card.commands.iter().all(|command| command.ins != ins::EXTERNAL_AUTHENTICATE));
}

#[test]
fn an_online_refusal_ends_with_an_aac() {
    let mut bench = Bench::online();
    bench.host = answer(*b"05", &[]);
    let mut card = TestCard::new(DDA);
    let (outcome, _) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Declined);
    assert!(!outcome.reversal_required);
    assert_eq!(card.commands.last().map(|command| command.p1), Some(0x00));
}

#[test]
fn an_unreachable_host_leaves_it_to_the_default_action_codes() {
    let mut bench = Bench::online();
    bench.host = OnlineResult::Unable;
    let (outcome, kernel) = bench.run(&mut TestCard::new(DDA));
    assert_eq!(outcome.decision, Decision::Approved);
    assert!(outcome.unable_to_go_online && !outcome.went_online);
    assert_eq!(kernel.data().get(tags::AUTHORISATION_RESPONSE_CODE), Some(&b"Y3"[..]));
    bench.config.applications[0].tac_default = [0, 0, 0, 0x80, 0];
    let (outcome, kernel) = bench.run(&mut TestCard::new(DDA));
    assert_eq!(outcome.decision, Decision::Declined);
    assert_eq!(kernel.data().get(tags::AUTHORISATION_RESPONSE_CODE), Some(&b"Z3"[..]));
    bench.config.applications[0].tac_default = [0; 5];
    bench.config.terminal_type = 0x21;
    let (outcome, _) = bench.run(&mut TestCard::new(DDA));
    assert_eq!(outcome.decision, Decision::Declined, "an online-only terminal does not approve alone");
}

#[test]
fn the_denial_action_code_declines_before_anything_else() {
    let mut bench = Bench::online();
    bench.config.applications[0].tac_denial = [0, 0, 0, 0x80, 0];
    let mut card = TestCard::new(DDA);
    let (outcome, kernel) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Declined);
    assert!(bench.went_online.is_empty());
    assert_eq!(kernel.data().get(tags::AUTHORISATION_RESPONSE_CODE), Some(&b"Z1"[..]));
}

#[test]
fn a_merchant_can_force_an_authorisation() {
    let mut bench = Bench::new();
    bench.transaction.force_online = true;
    let (outcome, _) = bench.run(&mut TestCard::new(DDA));
    assert!(outcome.tvr.has(Tvr::FORCED_ONLINE));
    assert_eq!(bench.went_online.len(), 1);
}

#[test]
fn a_card_may_ask_for_the_issuer_or_decline() {
    let mut card = TestCard::new(DDA);
    card.first = Some(CryptogramKind::Arqc);
    let mut bench = Bench::new();
    let (outcome, _) = bench.run(&mut card);
    assert!(outcome.went_online);
    let mut card = TestCard::new(DDA);
    card.first = Some(CryptogramKind::Aac);
    assert_eq!(run(&mut card).decision, Decision::Declined);
}

#[test]
fn a_card_must_not_promise_more_than_asked() {
    let mut card = TestCard::new(DDA);
    card.first = Some(CryptogramKind::Tc);
    let (outcome, _) = Bench::online().run(&mut card);
    let reason = Termination::CardError(CardError::Cryptogram(CryptogramError::Kind));
    assert_eq!(outcome.decision, Decision::Terminated { reason, fallback_allowed: false });
}

#[test]
fn a_second_request_for_the_issuer_is_a_card_error_and_reverses() {
    let mut card = TestCard::new(DDA);
    card.second = Some(CryptogramKind::Arqc);
    let (outcome, _) = Bench::online().run(&mut card);
    assert!(matches!(outcome.decision, Decision::Terminated { .. }));
    assert!(outcome.reversal_required);
}

#[test]
fn a_card_that_leaves_after_the_approval_is_reversed() {
    let mut bench = Bench::online();
    let mut issuer_data = Builder::new();
    issuer_data.push(tags::ISSUER_AUTHENTICATION_DATA, &[9; 10]);
    bench.host = answer(*b"00", issuer_data.as_bytes());
    let mut card = TestCard::new(DDA);
    card.mute_at = Some(ins::EXTERNAL_AUTHENTICATE);
    let (outcome, _) = bench.run(&mut card);
    let expected = Decision::Terminated { reason: Termination::CardMute, fallback_allowed: false };
    assert_eq!(outcome.decision, expected);
    assert!(outcome.reversal_required);
}

#[test]
fn fallback_is_only_for_chips_that_fail_early() {
    for (instruction, fallback_allowed) in [(ins::SELECT, true), (ins::READ_RECORD, true), (ins::GENERATE_AC, false)] {
        let mut card = TestCard::new(DDA);
        card.mute_at = Some(instruction);
        let expected = Decision::Terminated { reason: Termination::CardMute, fallback_allowed };
        assert_eq!(run(&mut card).decision, expected);
    }
    let mut card = TestCard::new(DDA);
    card.refuses.push((ins::GET_PROCESSING_OPTIONS, 0x6985));
    let expected = Decision::Terminated { reason: Termination::NoApplication, fallback_allowed: false };
    assert_eq!(run(&mut card).decision, expected);
    let mut card = TestCard::new(DDA);
    card.refuses.push((ins::SELECT, 0x6A81));
    let expected = Decision::Terminated { reason: Termination::CardBlocked, fallback_allowed: false };
    assert_eq!(run(&mut card).decision, expected);
}

#[test]
fn malformed_mandatory_data_ends_the_transaction() {
    let broken: [(tlv::Tag, &[u8]); 5] = [
        (tags::CDOL1, &[0x9F]),
        (tags::CDOL2, &[0x9F, 0x02]),
        (tags::CVM_LIST, &[0; 5]),
        (tags::IAC_ONLINE, &[0; 4]),
        (tags::ISSUER_COUNTRY_CODE, &[1]),
    ];
    for (tag, value) in broken {
        let mut card = TestCard::new(DDA);
        card.set(tag, value);
        let reason = Termination::CardError(CardError::Format(tag));
        assert_eq!(run(&mut card).decision, Decision::Terminated { reason, fallback_allowed: true });
    }
    let mut card = TestCard::new(DDA);
    card.remove(tags::CDOL2);
    let missing = CardError::Records(RecordError::Missing { tag: tags::CDOL2 });
    let reason = Termination::CardError(missing);
    assert_eq!(run(&mut card).decision, Decision::Terminated { reason, fallback_allowed: true });
}

#[test]
fn a_card_cannot_bring_its_own_amount_or_results() {
    let mut card = TestCard::new(DDA);
    card.set(tags::AMOUNT_AUTHORISED, &[0; 6]);
    card.set(tags::TVR, &[0xFF; 5]);
    card.set(tags::TC_HASH_VALUE, &[0xFF; 20]);
    let (_, kernel) = Bench::new().run(&mut card);
    assert_eq!(kernel.data().get(tags::AMOUNT_AUTHORISED), Some(&[0, 0, 0, 0, 0x12, 0x50][..]));
    assert_eq!(kernel.data().get(tags::TC_HASH_VALUE), None);
}

#[test]
fn plaintext_pin_is_retried_until_right() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x41, 0x03, 0x1F, 0x00]);
    let mut bench = Bench::new();
    bench.pins = vec!["9999", "1234"];
    let (outcome, _) = bench.run(&mut card);
    assert_eq!(outcome.cvm_results, [0x41, 0x03, 0x02]);
    assert_eq!(outcome.decision, Decision::Approved);
    let asked: Vec<_> = bench.asked.iter().map(|request| (request.tries_left, request.retry)).collect();
    assert_eq!(asked, [(Some(3), false), (Some(2), true)]);
}

#[test]
fn a_wrong_pin_blocks_and_the_rule_fails() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x01, 0x03]);
    let mut bench = Bench::new();
    bench.pins = vec!["9999", "9998", "9997", "9996"];
    let (outcome, _) = bench.run(&mut card);
    assert!(outcome.tvr.has(Tvr::PIN_TRY_LIMIT_EXCEEDED) && outcome.tvr.has(Tvr::CVM_FAILED));
    assert_eq!(outcome.cvm_results, [0x01, 0x03, 0x01]);
    assert_eq!(bench.asked.len(), 3);
}

#[test]
fn a_blocked_pin_is_not_asked_for() {
    let mut card = TestCard::new(DDA);
    card.tries = 0;
    cvm(&mut card, &[0x41, 0x03, 0x1E, 0x03]);
    let mut bench = Bench::new();
    bench.pins = vec!["1234"];
    let (outcome, _) = bench.run(&mut card);
    assert!(bench.asked.is_empty());
    assert!(outcome.tvr.has(Tvr::PIN_TRY_LIMIT_EXCEEDED) && !outcome.tvr.has(Tvr::CVM_FAILED));
    assert_eq!(outcome.cvm_results, [0x1E, 0x03, 0x00]);
    assert!(outcome.signature_required);
}

#[test]
fn enciphered_pin_reaches_the_card_with_its_challenge() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x44, 0x03]);
    let mut bench = Bench::new();
    bench.pins = vec!["1234"];
    let (outcome, kernel) = bench.run(&mut card);
    assert_eq!(outcome.cvm_results, [0x44, 0x03, 0x02]);
    assert_eq!(bench.asked[0].kind, PinKind::OfflineEnciphered);
    assert_eq!(bench.asked[0].random_length_bytes, 112 - 17);
    let verify = kernel.transcript().iter().find(|entry| entry.name() == "VERIFY").expect("sent");
    assert!(verify.masked_command().ends_with("****"));
}

#[test]
fn pin_with_signature_asks_for_both() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x43, 0x03]);
    let mut bench = Bench::new();
    bench.pins = vec!["1234"];
    let (outcome, _) = bench.run(&mut card);
    assert!(outcome.signature_required);
    assert_eq!(outcome.cvm_results, [0x43, 0x03, 0x00]);
}

#[test]
fn an_enciphered_pin_without_a_key_fails_that_rule_only() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x44, 0x03, 0x1F, 0x00]);
    let mut bench = Bench::new();
    bench.capks = CapkSet::new();
    let (outcome, _) = bench.run(&mut card);
    assert!(bench.asked.is_empty());
    assert_eq!(outcome.cvm_results, [0x1F, 0x00, 0x02]);
}

#[test]
fn a_bypassed_pin_counts_for_every_pin_rule() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x41, 0x03, 0x42, 0x03, 0x1E, 0x03]);
    let mut bench = Bench::new();
    let (outcome, _) = bench.run(&mut card);
    assert_eq!(bench.asked.len(), 1);
    assert!(outcome.tvr.has(Tvr::PIN_NOT_ENTERED));
    assert_eq!(outcome.cvm_results, [0x1E, 0x03, 0x00]);
}

#[test]
fn a_broken_pin_pad_and_a_cancelled_pin_are_different_ends() {
    let mut bench = Bench::new();
    bench.online_pin = || PinOutcome::Unavailable;
    let (outcome, _) = bench.run(&mut TestCard::new(DDA));
    assert!(outcome.tvr.has(Tvr::PIN_PAD_NOT_WORKING));
    bench.online_pin = || PinOutcome::Cancelled;
    let (outcome, _) = bench.run(&mut TestCard::new(DDA));
    let expected = Decision::Terminated { reason: Termination::Cancelled, fallback_allowed: false };
    assert_eq!(outcome.decision, expected);
}

#[test]
fn unknown_and_unsupported_methods_leave_no_results() {
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x60, 0x00]);
    let outcome = run(&mut card);
    assert!(outcome.tvr.has(Tvr::UNRECOGNISED_CVM) && outcome.tvr.has(Tvr::CVM_FAILED));
    assert_eq!(outcome.cvm_results, [0x3F, 0x00, 0x01]);
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x42, 0x00]);
    let mut bench = Bench::new();
    bench.config.capabilities[1] = 0x20;
    let (outcome, _) = bench.run(&mut card);
    assert!(outcome.tvr.has(Tvr::PIN_PAD_NOT_WORKING));
    assert_eq!(outcome.cvm_results, [0x3F, 0x00, 0x01]);
    let mut card = TestCard::new(DDA);
    cvm(&mut card, &[0x00, 0x00]);
    assert_eq!(run(&mut card).cvm_results, [0x00, 0x00, 0x01]);
}

#[test]
fn a_card_without_a_list_goes_on_with_data_missing() {
    let mut card = TestCard::new(DDA);
    card.remove(tags::CVM_LIST);
    let outcome = run(&mut card);
    assert!(outcome.tvr.has(Tvr::ICC_DATA_MISSING) && !outcome.tsi.has(Tsi::CVM_PERFORMED));
    let mut card = TestCard::new(DDA);
    card.set(tags::CVM_LIST, &[0; 8]);
    assert!(run(&mut card).tvr.has(Tvr::ICC_DATA_MISSING));
    assert_eq!(run(&mut TestCard::new(0x2C)).cvm_results, [0x3F, 0x00, 0x00]);
}

#[test]
fn velocity_counters_are_fetched_and_judged() {
    let mut card = TestCard::new(DDA);
    card.set(tags::LOWER_CONSECUTIVE_OFFLINE_LIMIT, &[1]);
    card.set(tags::UPPER_CONSECUTIVE_OFFLINE_LIMIT, &[3]);
    card.counters = (10, 8);
    let outcome = run(&mut card);
    assert!(outcome.tvr.has(Tvr::LOWER_LIMIT_EXCEEDED) && !outcome.tvr.has(Tvr::UPPER_LIMIT_EXCEEDED));
    card = TestCard::new(DDA);
    card.set(tags::LOWER_CONSECUTIVE_OFFLINE_LIMIT, &[1]);
    card.set(tags::UPPER_CONSECUTIVE_OFFLINE_LIMIT, &[3]);
    card.refuses.push((ins::GET_DATA, 0x6A88));
    let outcome = run(&mut card);
    assert!(outcome.tvr.has(Tvr::LOWER_LIMIT_EXCEEDED) && outcome.tvr.has(Tvr::UPPER_LIMIT_EXCEEDED));
}

#[test]
fn a_listed_card_is_noted() {
    let mut bench = Bench::new();
    bench.config.exception_file.insert(PAN, None);
    let (outcome, _) = bench.run(&mut TestCard::new(DDA));
    assert!(outcome.tvr.has(Tvr::ON_EXCEPTION_FILE));
}

fn scripts(template: tlv::Tag, count: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.push_template(template, |script| {
        script.push(tags::ISSUER_SCRIPT_IDENTIFIER, &[0, 0, 0, 7]);
        for _ in 0..count {
            script.push(tags::ISSUER_SCRIPT_COMMAND, &[0x84, 0x24, 0, 0, 4, 1, 2, 3, 4]);
        }
    });
    builder.into_bytes()
}

#[test]
fn scripts_run_around_the_second_cryptogram() {
    let mut bench = Bench::online();
    let both = [scripts(tags::ISSUER_SCRIPT_TEMPLATE_1, 1), scripts(tags::ISSUER_SCRIPT_TEMPLATE_2, 2)].concat();
    bench.host = answer(*b"00", &both);
    let mut card = TestCard::new(DDA);
    let (outcome, kernel) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Approved);
    assert!(outcome.tsi.has(Tsi::SCRIPT_PERFORMED));
    let sent: Vec<u8> = card.commands.iter().rev().take(4).map(|command| command.ins).collect();
    assert_eq!(sent, [0x24, 0x24, ins::GENERATE_AC, 0x24]);
    let results = [0x20, 0, 0, 0, 7, 0x20, 0, 0, 0, 7];
    assert_eq!(kernel.data().get(tags::UNIONPAY_SCRIPT_RESULTS), Some(&results[..]));
    assert_eq!(kernel.data().get(tags::ISSUER_SCRIPT_RESULTS), Some(&results[..]));
}

#[test]
fn failed_scripts_are_reported_and_do_not_undo_the_approval() {
    let mut bench = Bench::online();
    let both = [scripts(tags::ISSUER_SCRIPT_TEMPLATE_1, 1), scripts(tags::ISSUER_SCRIPT_TEMPLATE_2, 1)].concat();
    bench.host = answer(*b"00", &both);
    let mut card = TestCard::new(DDA);
    card.refuses.push((0x24, 0x6985));
    let (outcome, _) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Approved);
    assert!(outcome.tvr.has(Tvr::SCRIPT_FAILED_BEFORE) && outcome.tvr.has(Tvr::SCRIPT_FAILED_AFTER));
    let second = card.commands.iter().rev().find(|command| command.ins == ins::GENERATE_AC).expect("sent");
    assert_eq!(second.data[6] & 0x20, 0x20, "the card sees that the first script failed");
}

#[test]
fn a_card_that_leaves_during_the_last_script_stays_approved() {
    let mut bench = Bench::online();
    bench.host = answer(*b"00", &scripts(tags::ISSUER_SCRIPT_TEMPLATE_2, 2));
    let mut card = TestCard::new(DDA);
    card.mute_at = Some(0x24);
    let (outcome, _) = bench.run(&mut card);
    assert_eq!(outcome.decision, Decision::Approved);
    assert_eq!(outcome.script_results[0].encode()[0], 0x11);
    assert!(!outcome.reversal_required);
}

#[test]
fn inputs_that_do_not_fit_end_the_transaction_and_the_end_repeats() {
    let bench = Bench::new();
    let mut kernel = Kernel::new(bench.config, bench.capks, bench.transaction).expect("valid");
    let expected = Decision::Terminated { reason: Termination::Misuse, fallback_allowed: false };
    for input in [Input::ApplicationChosen(0), Input::Start] {
        match kernel.step(input) {
            Output::Finished(outcome) => assert_eq!(outcome.decision, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_transcript_never_shows_account_data() {
    let (_, kernel) = Bench::online().run(&mut TestCard::new(DDA));
    let shown: String = kernel
        .transcript()
        .iter()
        .flat_map(|entry| [entry.masked_command().to_owned(), entry.masked_response().unwrap_or_default().to_owned()])
        .collect();
    assert!(!shown.contains("6222620110009999"));
    assert!(shown.contains("622262**"));
    assert!(!format!("{kernel:?}").contains("6222"));
    let record = Input::CardResponse(PAN.to_vec());
    assert_eq!(format!("{record:?}"), "CardResponse(8 bytes)");
}

proptest! {
    // Each case signs a certificate chain, so there are fewer of them.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a card answers, the kernel ends without a panic, and only with an approval when a TC was accepted.
    #[test]
    fn no_card_can_break_the_kernel(
        aip in any::<u8>(),
        spoiled in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()), 0..4),
        foreign in proptest::option::of((0usize..30, proptest::collection::vec(any::<u8>(), 0..40))),
    ) {
        let mut bench = Bench::online();
        bench.pins = vec!["1234"; 4];
        let mut card = TestCard::new(aip);
        let mut kernel = Kernel::new(bench.config.clone(), bench.capks.clone(), bench.transaction.clone()).expect("valid");
        let mut input = Input::Start;
        let mut exchanges = 0usize;
        let outcome = loop {
            input = match kernel.step(input) {
                Output::Transmit(command) => {
                    let mut bytes = card.exchange(&command.encode()).expect("answers");
                    if let Some((at, other)) = &foreign && *at == exchanges {
                        bytes.clone_from(other);
                    }
                    for (which, xor, place) in &spoiled {
                        if which.index(30) == exchanges && !bytes.is_empty() {
                            let place = place.index(bytes.len());
                            bytes[place] ^= xor;
                        }
                    }
                    exchanges += 1;
                    prop_assert!(exchanges < 200);
                    Input::CardResponse(bytes)
                }
                Output::ChooseApplication(_) => Input::ApplicationChosen(0),
                Output::AskPin(request) => Input::PinEntered(bench.pin(request)),
                Output::GoOnline(_) => Input::OnlineResult(bench.host.clone()),
                Output::Finished(outcome) => break outcome,
            };
        };
        if outcome.decision == Decision::Approved {
            prop_assert_eq!(outcome.final_cryptogram().map(|c| c.kind), Some(CryptogramKind::Tc));
        }
        prop_assert_eq!(outcome.reversal_required, outcome.went_online && outcome.decision != Decision::Approved);
    }
}
