//! What goes wrong: cards, tills, hosts, vaults, power.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use card::{Fault, FaultPlan, StatusWord};
use machine::Machine;
use machine::wire::Encode;
use ped::{CardGone, Effect, Event, Ped, PinEntry, Record, SESSION_LINGER_MS, SNAPSHOT_AFTER_RECORDS};
use pedlink::{AccountPart, CardDecision, CardFailure, ChipData, OnlineAnswer, PedCommand, PedReply, ResponseFault};
use proptest::prelude::*;
use support::host::{Answer, Request};
use support::vault::TestVault;
use support::{Bench, Typing, answered, config, expected, noon, of_blob, of_session, reversal, sale, template};
use types::{CivilTime, LocalDate, Pin, SecretBytes, TerminalId};

fn read_and_send(bench: &mut Bench) -> Request {
    bench.read(1, sale()).unwrap();
    Request::open(bench.complete(template("0200"), of_session(1)).unwrap().frame.expose())
}

fn approved(reply: &PedReply) -> bool {
    matches!(reply, PedReply::CardFinished { approved: true, .. })
}

#[test]
fn a_wrong_mac_is_no_answer() {
    let mut bench = Bench::ready("unionpay-credit");
    let request = read_and_send(&mut bench);
    let mut frame = Answer::to(&request, "00", Vec::new()).frame();
    *frame.last_mut().unwrap() ^= 1;
    assert_eq!(bench.check(frame, expected("0210", Some(1))), Err(ResponseFault::MacWrong));
    assert!(!approved(&bench.finish(1, answered("00"))), "a till made the chip approve");
}

#[test]
fn a_missing_mac_is_excused_for_few_codes_and_never_an_approval() {
    let mut bench = Bench::ready("unionpay-credit");
    let request = read_and_send(&mut bench);
    for (code, excused) in
        [("00", false), ("51", false), ("A0", true), ("77", true), ("97", true), ("03", true), ("30", true)]
    {
        let answer = Answer { with_mac: false, ..Answer::to(&request, code, Vec::new()) };
        let result = bench.check(answer.frame(), expected("0210", Some(1)));
        match excused {
            true => assert!(!result.unwrap().mac_verified),
            false => assert_eq!(result, Err(ResponseFault::MacMissing), "{code}"),
        }
    }
    let mut lenient = expected("0210", Some(1));
    lenient.mac_required = false;
    let answer = Answer { with_mac: false, ..Answer::to(&request, "00", Vec::new()) };
    assert!(bench.check(answer.frame(), lenient).is_ok());
    assert!(!approved(&bench.finish(1, answered("00"))), "an approval without a MAC reached the chip");
}

#[test]
fn a_field_that_differs_is_named() {
    let mut bench = Bench::ready("unionpay-credit");
    let request = read_and_send(&mut bench);
    for (number, value) in
        [(3, "200000"), (4, "000000001251"), (11, "000003"), (41, "87654321"), (42, "543210987654321")]
    {
        let mut answer = Answer::to(&request, "00", Vec::new());
        answer.fields.insert(number, value.into());
        let result = bench.check(answer.frame(), expected("0210", Some(1)));
        assert_eq!(result, Err(ResponseFault::Mismatch { field: number.to_string() }));
    }
    let mut answer = Answer::to(&request, "00", Vec::new());
    answer.fields.remove(&39);
    assert!(matches!(bench.check(answer.frame(), expected("0210", None)), Err(ResponseFault::Mismatch { .. })));
    let answer = Answer::to(&request, "00", Vec::new());
    let result = bench.check(answer.frame(), expected("0110", None));
    assert_eq!(result, Err(ResponseFault::Mismatch { field: "MTI".to_owned() }));
    let mut partial = expected("0210", None);
    partial.amount_may_differ = true;
    let mut answer = Answer::to(&request, "10", Vec::new());
    answer.fields.insert(4, b"000000000900".to_vec());
    assert_eq!(bench.check(answer.frame(), partial).unwrap().amount_minor, Some(900));
}

#[test]
fn a_malformed_answer_is_named_with_its_offset() {
    let mut bench = Bench::ready("unionpay-credit");
    let request = read_and_send(&mut bench);
    let frame = Answer::to(&request, "00", Vec::new()).frame();
    for length in 0..frame.len() {
        let result = bench.check(frame[..length].to_vec(), expected("0210", Some(1)));
        assert!(
            matches!(result, Err(ResponseFault::Malformed { ref detail }) if detail.contains("offset")),
            "{result:?}"
        );
    }
    let answer = Answer::to(&request, "00", vec![0x91, 0x0A, 1]);
    let result = bench.check(answer.frame(), expected("0210", Some(1)));
    assert!(matches!(result, Err(ResponseFault::Malformed { .. })));
}

#[test]
fn an_answer_for_another_session_does_not_reach_the_chip() {
    let mut bench = Bench::ready("unionpay-credit");
    let request = read_and_send(&mut bench);
    let chip = request.issuer_data(&card::profile("unionpay-credit").unwrap().account(), false);
    let frame = Answer::to(&request, "00", chip).frame();
    bench.check(frame.clone(), expected("0210", Some(2))).unwrap();
    assert!(!approved(&bench.finish(1, answered("00"))));
    let PedReply::CardFinished { approved: again, .. } = bench.finish(1, answered("00")) else { panic!() };
    assert!(!again, "the same question got another answer");
}

#[test]
fn working_keys_with_a_wrong_check_value_leave_none() {
    let mut bench = Bench::ready("unionpay-credit");
    let mut delivery = support::host::key_delivery();
    delivery[17] ^= 1;
    let replies = bench.till(PedCommand::LoadWorkingKeys { delivery });
    assert!(matches!(replies[..], [PedReply::WorkingKeysLoaded { loaded: false }]));
    assert!(matches!(
        bench.till(PedCommand::Status)[..],
        [PedReply::Status { master_key: true, working_keys: false, .. }]
    ));
    bench.typing = Typing::Bypass;
    bench.read(1, sale()).unwrap();
    let (why, sign_in_needed) = bench.complete(template("0200"), of_session(1)).unwrap_err();
    assert!(sign_in_needed, "{why}");
    bench.reboot();
    assert!(matches!(bench.till(PedCommand::Status)[..], [PedReply::Status { working_keys: false, .. }]));
}

#[test]
fn a_pin_under_older_keys_is_not_sent() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let delivery = support::host::key_delivery();
    bench.till(PedCommand::LoadWorkingKeys { delivery });
    let (why, sign_in_needed) = bench.complete(template("0200"), of_session(1)).unwrap_err();
    assert!(why.contains("PIN") && !sign_in_needed, "{why}");
}

#[test]
fn a_sign_in_message_needs_no_key() {
    let mut bench = Bench::empty();
    let mut message = template("0800");
    (message.with_mac, message.amount, message.currency) = (false, None, None);
    (message.processing_code, message.condition_code) = (None, None);
    message.private_60 = "00000001004".to_owned();
    message.private_63 = Some(b"01 ".to_vec());
    let completed = bench.complete(message, AccountPart::None).unwrap();
    assert!(completed.blob.is_none());
    assert_eq!(Request::open(completed.frame.expose()).numbers(), [11, 41, 42, 60, 63]);
}

#[test]
fn without_a_track_key_a_suite_that_wants_one_signs_in_again() {
    let mut bench = Bench::ready("unionpay-credit");
    let delivery = support::host::key_delivery()[..40].to_vec();
    bench.till(PedCommand::LoadWorkingKeys { delivery });
    bench.read(1, sale()).unwrap();
    let (why, sign_in_needed) = bench.complete(template("0200"), of_session(1)).unwrap_err();
    assert!(sign_in_needed && why.contains("track"), "{why}");
}

#[test]
fn blobs_of_others_and_altered_blobs_do_not_open() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let blob = bench.complete(template("0200"), of_session(1)).unwrap().blob.unwrap();
    let mut altered = blob.clone();
    altered.0[40] ^= 1;
    let (why, sign_in_needed) = bench.complete(reversal("98"), of_blob(&altered, ChipData::Reversal)).unwrap_err();
    assert!(why.contains("blob") && !sign_in_needed, "{why}");
    let mut other = config();
    other.terminal = TerminalId::parse("87654321").unwrap();
    bench.ped =
        Ped::restore(other.clone(), Box::new(TestVault::default()), bench.records.clone(), bench.records.len() as u64);
    let message = pedlink::FrameTemplate { terminal: other.terminal, ..reversal("98") };
    let (why, _) = bench.complete(message, of_blob(&blob, ChipData::Reversal)).unwrap_err();
    assert!(why.contains("blob"), "{why}");
    let (why, _) = bench.complete(reversal("98"), of_blob(&blob, ChipData::Reversal)).unwrap_err();
    assert!(why.contains("another terminal"), "{why}");
}

#[test]
fn missing_parameters_are_named() {
    let mut bench = Bench::empty();
    bench.sign_in();
    bench.insert("unionpay-credit");
    let missing = |capks, aids| Err(CardFailure::ParametersMissing { capks, aids });
    assert_eq!(bench.read(1, sale()), missing(true, true));
    bench.till(PedCommand::InstallAids { entries: support::host::aid_entries() });
    assert_eq!(bench.read(1, sale()), missing(true, false));
    bench.install_parameters();
    assert!(bench.read(1, sale()).is_ok());
}

#[test]
fn expired_and_damaged_keys_are_skipped_and_a_broken_set_changes_nothing() {
    let mut bench = Bench::ready("unionpay-credit");
    let mut entries = support::host::capk_entries();
    let last = entries[0].len() - 1;
    entries[0][last] ^= 1;
    let replies = bench.till(PedCommand::InstallCapks { entries: entries[..1].to_vec(), at: noon() });
    assert!(matches!(&replies[..], [PedReply::ParametersInstalled { taken: 0, skipped }] if skipped.len() == 1));
    assert!(matches!(bench.till(PedCommand::Status)[..], [PedReply::Status { capks: 3, .. }]));
    let late = CivilTime { date: LocalDate::new(2050, 1, 1).unwrap(), ..noon() };
    let replies = bench.till(PedCommand::InstallCapks { entries: support::host::capk_entries(), at: late });
    assert!(matches!(&replies[..], [PedReply::ParametersInstalled { taken: 0, .. }]));
    let replies = bench.till(PedCommand::InstallCapks { entries, at: noon() });
    assert!(matches!(&replies[..], [PedReply::ParametersInstalled { taken: 2, skipped }] if skipped.len() == 1));
    bench.till(PedCommand::InstallCapks { entries: Vec::new(), at: noon() });
    assert!(matches!(bench.till(PedCommand::Status)[..], [PedReply::Status { capks: 0, aids: 5, .. }]));
}

/// One payment with a fault at command `at`; whatever happens, every command is answered once and the next card works.
fn pay_with_fault(profile: &str, at: u32, fault: Fault) -> bool {
    let mut bench = Bench::ready(profile);
    bench.insert_faulty(profile, FaultPlan::none().with(at, fault));
    let read = bench.read(1, sale());
    if matches!(&read, Ok(summary) if summary.decision == CardDecision::Online) {
        let request = Request::open(bench.complete(template("0200"), of_session(1)).unwrap().frame.expose());
        bench.check(Answer::to(&request, "00", Vec::new()).frame(), expected("0210", Some(1))).unwrap();
        let replies = bench.till(PedCommand::FinishCard { session: 1, answer: answered("00") });
        assert!(matches!(replies[..], [PedReply::CardFinished { .. }]), "{replies:?}");
    }
    let faulty_commands = bench.transmitted;
    assert!(bench.log.iter().any(|effect| effect == "PowerOffCard"), "the card was not released");
    assert_eq!(
        bench.ped.deadline().is_some(),
        matches!(&read, Ok(summary) if summary.decision == CardDecision::DeclinedOffline)
    );
    bench.insert(profile);
    bench.read(2, sale()).unwrap();
    faulty_commands as u32 > at
}

#[test]
fn a_card_may_fail_at_every_command() {
    let faults = [
        Fault::RemovedBefore,
        Fault::RemovedAfter,
        Fault::Mute,
        Fault::StatusWord(StatusWord(0x6F00)),
        Fault::StatusWord(StatusWord(0x6985)),
        Fault::Truncated(1),
        Fault::Truncated(9),
    ];
    for (profile, faults) in [("unionpay-credit", &faults[..]), ("mastercard-credit", &faults[1..2])] {
        for fault in faults {
            let reached = (0..).take_while(|at| pay_with_fault(profile, *at, *fault)).count();
            assert!(reached >= 8, "{profile}: {fault:?} at {reached} commands only");
        }
    }
}

#[test]
fn a_till_may_cancel_at_every_command() {
    for stop in 0.. {
        let mut bench = Bench::ready("mastercard-credit");
        bench.stop_after = Some(stop);
        let replies = bench.till(PedCommand::ReadCard { session: 1, transaction: sale() });
        if !replies.is_empty() {
            assert!(stop > 8);
            break;
        }
        let replies = bench.till(PedCommand::CancelCard { session: 1 });
        assert!(
            matches!(&replies[..], [PedReply::CardRead { session: 1, result: Err(CardFailure::Cancelled), .. }]),
            "{stop}: {replies:?}"
        );
        // A late answer of the card finds nobody.
        assert!(bench.run(Event::CardResponse(Ok(vec![0x90, 0]))).is_empty());
        bench.stop_after = None;
        bench.insert("mastercard-credit");
        assert!(bench.read(2, sale()).is_ok());
    }
}

#[test]
fn cancelling_with_a_cryptogram_out_ends_the_card() {
    let mut bench = Bench::ready("unionpay-credit");
    read_and_send(&mut bench);
    let replies = bench.till(PedCommand::CancelCard { session: 1 });
    assert!(matches!(&replies[..], [PedReply::CardFinished { approved: false, blob: Some(_), .. }]), "{replies:?}");
    let again = bench.till(PedCommand::CancelCard { session: 1 });
    assert!(matches!(&again[..], [PedReply::CardFinished { approved: false, .. }]));
    assert!(bench.complete(template("0200"), of_session(1)).is_err(), "the account outlived its session");
}

#[test]
fn the_cardholder_may_cancel_bypass_or_fall_asleep() {
    for profile in ["unionpay-credit", "visa-credit", "mastercard-credit"] {
        for (typing, wanted) in [
            (Typing::Cancel, Err(CardFailure::Cancelled)),
            (Typing::Timeout, Err(CardFailure::Cancelled)),
            (Typing::Bypass, Ok(false)),
        ] {
            let mut bench = Bench::ready(profile);
            bench.typing = typing;
            let read = bench.read(1, sale());
            assert_eq!(read.map(|summary| summary.pin_entered), wanted, "{profile}");
        }
        let mut bench = Bench::ready(profile);
        bench.typing = Typing::Nothing;
        assert!(bench.till(PedCommand::ReadCard { session: 1, transaction: sale() }).is_empty());
        assert!(bench.run(Event::Wake).is_empty(), "woken before the time");
        bench.now_ms = bench.ped.deadline().unwrap();
        let replies = bench.run(Event::Wake);
        assert!(matches!(&replies[..], [PedReply::CardRead { result: Err(CardFailure::Cancelled), .. }]));
        assert!(bench.log.iter().any(|effect| effect == "CloseKeypad"));
    }
}

#[test]
fn patience_ends_at_every_stage() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.card = None;
    assert!(bench.till(PedCommand::ReadCard { session: 1, transaction: sale() }).is_empty());
    bench.now_ms = bench.ped.deadline().unwrap();
    let replies = bench.run(Event::Wake);
    assert!(matches!(&replies[..], [PedReply::CardRead { result: Err(CardFailure::CardError { .. }), .. }]));
    let mut bench = Bench::ready("unionpay-credit");
    bench.stop_after = Some(3);
    assert!(bench.till(PedCommand::ReadCard { session: 1, transaction: sale() }).is_empty());
    bench.now_ms = bench.ped.deadline().unwrap();
    let replies = bench.run(Event::Wake);
    assert!(matches!(&replies[..], [PedReply::CardRead { result: Err(CardFailure::CardError { .. }), .. }]));
}

#[test]
fn account_data_does_not_linger() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let start = bench.now_ms;
    bench.now_ms = bench.ped.deadline().unwrap();
    assert!(bench.now_ms <= start + SESSION_LINGER_MS);
    assert!(bench.run(Event::Wake).is_empty());
    assert!(bench.complete(template("0200"), of_session(1)).is_err());
    let replies = bench.till(PedCommand::FinishCard { session: 1, answer: answered("00") });
    assert!(matches!(&replies[..], [PedReply::CardFinished { approved: false, .. }]));
}

#[test]
fn duplicated_commands_get_the_same_answer() {
    let mut bench = Bench::ready("unionpay-credit");
    let first = bench.read(1, sale()).unwrap();
    let commands = bench.transmitted;
    assert_eq!(bench.read(1, sale()).unwrap(), first);
    assert_eq!(bench.transmitted, commands, "the card was asked twice");
    let request = Request::open(bench.complete(template("0200"), of_session(1)).unwrap().frame.expose());
    let chip = request.issuer_data(&card::profile("unionpay-credit").unwrap().account(), false);
    bench.check(Answer::to(&request, "00", chip).frame(), expected("0210", Some(1))).unwrap();
    let finished = bench.finish(1, answered("00"));
    assert!(approved(&finished));
    let commands = bench.transmitted;
    assert_eq!(format!("{:?}", bench.finish(1, OnlineAnswer::NoAnswer)), format!("{finished:?}"));
    assert_eq!(bench.transmitted, commands, "the card was asked twice");
}

#[test]
fn commands_in_the_wrong_order_get_words() {
    let mut bench = Bench::ready("unionpay-credit");
    assert!(!approved(&bench.finish(9, answered("00"))));
    let replies = bench.till(PedCommand::CancelCard { session: 9 });
    assert!(matches!(&replies[..], [PedReply::CardRead { session: 9, result: Err(CardFailure::Cancelled), .. }]));
    assert!(bench.complete(template("0200"), of_session(9)).unwrap_err().0.contains("no session 9"));
    bench.stop_after = Some(2);
    assert!(bench.till(PedCommand::ReadCard { session: 1, transaction: sale() }).is_empty());
    assert!(bench.till(PedCommand::ReadCard { session: 1, transaction: sale() }).is_empty(), "one answer is enough");
    assert!(matches!(bench.read(2, sale()), Err(CardFailure::CardError { detail }) if detail.contains("session 1")));
    assert!(bench.complete(template("0200"), of_session(1)).unwrap_err().0.contains("still being read"));
    assert!(!approved(&bench.finish(1, answered("00"))));
    for event in
        [Event::CardInserted(vec![0x3B]), Event::PinEntered(PinEntry::Bypass), Event::ApplicationChosen(Some(1))]
    {
        assert!(bench.run(event).is_empty());
    }
    assert!(bench.till(PedCommand::CancelCard { session: 1 }).len() == 1);
}

#[test]
fn power_comes_back_at_every_record_and_in_every_stage() {
    let mut bench = Bench::ready("unionpay-credit");
    let blob = {
        bench.read(1, sale()).unwrap();
        bench.complete(template("0200"), of_session(1)).unwrap().blob.unwrap()
    };
    for length in 0..=bench.records.len() {
        let mut restored = Bench::empty();
        restored.records = bench.records[..length].to_vec();
        restored.reboot();
        restored.till(PedCommand::Status);
        if length == bench.records.len() {
            assert!(restored.complete(reversal("98"), of_blob(&blob, ChipData::Reversal)).is_ok());
            restored.insert("unionpay-credit");
            let repeated = restored.read(1, sale());
            assert!(matches!(repeated, Err(CardFailure::CardError { detail }) if detail.contains("over")));
            assert!(restored.read(2, sale()).is_ok());
        }
    }
    for stop in 0..6 {
        let mut bench = Bench::ready("unionpay-credit");
        bench.stop_after = Some(stop);
        bench.till(PedCommand::ReadCard { session: 1, transaction: sale() });
        let effects = bench.step(Event::PowerOn);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::PowerOffCard)));
        assert!(!approved(&bench.finish(1, answered("00"))));
    }
}

#[test]
fn a_snapshot_holds_everything() {
    let mut bench = Bench::ready("unionpay-credit");
    let mut session = 1;
    while (bench.records.len() as u64) < SNAPSHOT_AFTER_RECORDS + 8 {
        bench.till(PedCommand::ReadCard { session, transaction: sale() });
        bench.till(PedCommand::CancelCard { session });
        session += 1;
        bench.stop_after = Some(0);
    }
    let count = bench.records.len();
    bench.reboot();
    assert_eq!(bench.records.len(), count + 1);
    assert!(bench.records[count].is_snapshot());
    let holdings = bench.ped.holdings().clone();
    let from_snapshot =
        Ped::restore(config(), Box::new(TestVault::default()), bench.records[count..].to_vec(), count as u64 + 1);
    assert_eq!(from_snapshot.holdings(), &holdings);
    bench.reboot();
    assert_eq!(bench.records.len(), count + 1, "a second snapshot so soon");
}

#[test]
fn enrolment_brings_a_master_key_in() {
    let mut bench = Bench::empty();
    let refused =
        bench.step(Event::InstallMasterKey { enciphered: vec![0; 16], check: keys::KeyCheckValue([0; 4]), version: 1 });
    assert!(matches!(refused[..], [Effect::MasterKeyInstalled(Err(keys::Refusal::WrongKey))]));
    let made = bench.step(Event::MakeTransportKey { recipient: vec![1, 2, 3] });
    assert!(matches!(made[..], [Effect::TransportKey(Ok(_))]));
    let kek = support::vault::tdes(&support::vault::TDK);
    let enciphered = paycrypto::key_wrap::wrap_ecb(&kek, &support::vault::TMK).unwrap();
    let wrong = keys::KeyCheckValue([1; 4]);
    let refused = bench.step(Event::InstallMasterKey { enciphered: enciphered.clone(), check: wrong, version: 1 });
    assert!(matches!(refused[..], [Effect::MasterKeyInstalled(Err(keys::Refusal::KeyCheck))]));
    let check = keys::KeyCheckValue([0x08, 0xD7, 0xB4, 0xFB]);
    let installed = bench.step(Event::InstallMasterKey { enciphered, check, version: 1 });
    assert!(matches!(installed[..], [Effect::MasterKeyInstalled(Ok(found))] if found == check));
    let delivery = support::host::key_delivery();
    let replies = bench.till(PedCommand::LoadWorkingKeys { delivery });
    assert!(matches!(replies[..], [PedReply::WorkingKeysLoaded { loaded: true }]));
    bench.step(Event::AdoptMasterKey(support::vault::terminal_master()));
    assert!(matches!(bench.till(PedCommand::Status)[..], [PedReply::Status { working_keys: false, .. }]));
}

/// Signs in with a delivery under this master key.
fn signs_in(bench: &mut Bench, master: &[u8; 16]) -> bool {
    let delivery = support::host::key_delivery_under(master);
    matches!(bench.till(PedCommand::LoadWorkingKeys { delivery })[..], [PedReply::WorkingKeysLoaded { loaded: true }])
}

fn stages(bench: &mut Bench, number: u8, version: u32) -> Result<(), keys::Refusal> {
    match &bench.step(Event::StageMasterKey(support::vault::later_master(number, version)))[..] {
        [Effect::MasterKeyInstalled(result)] => result.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_master_key_waits_beside_the_present_one_until_the_host_uses_it() {
    use support::vault::{TMK, later_tmk};
    let mut bench = Bench::ready("unionpay-credit");
    assert_eq!(stages(&mut bench, 2, 1), Err(keys::Refusal::WrongKey), "no newer than the present one");
    stages(&mut bench, 2, 2).unwrap();
    assert!(bench.ped.holdings().working_keys.is_some(), "working keys stay");
    bench.reboot();
    assert!(signs_in(&mut bench, &TMK), "the host has not moved on");
    assert_eq!(bench.ped.holdings().staged_master_keys.len(), 1);
    bench.reboot();
    assert!(signs_in(&mut bench, &later_tmk(2)), "now it has");
    assert_eq!(bench.ped.holdings().master_key, Some(support::vault::later_master(2, 2)));
    assert!(bench.ped.holdings().staged_master_keys.is_empty());
    assert!(!signs_in(&mut bench, &TMK), "the older one is gone");
    assert!(signs_in(&mut bench, &later_tmk(2)));
}

#[test]
fn however_often_a_rotation_breaks_off_some_master_key_fits() {
    use support::vault::{TMK, later_tmk};
    // Three orders of version 2, of which the host knows that none or one came to its end.
    for used in 1..=4 {
        let mut bench = Bench::ready("unionpay-credit");
        for number in 2..=4 {
            stages(&mut bench, number, 2).unwrap();
            bench.reboot();
        }
        if used > 1 {
            // The host stands at version 2 and makes version 3: any of the three may be the one it uses.
            assert_eq!(stages(&mut bench, 5, 3), Err(keys::Refusal::Unavailable), "a sign-in first");
        }
        let master = if used == 1 { TMK } else { later_tmk(used) };
        assert!(signs_in(&mut bench, &master), "key {used}");
        let (left, next) = if used == 1 { (3, 2) } else { (0, 3) };
        assert_eq!(bench.ped.holdings().staged_master_keys.len(), left);
        stages(&mut bench, 5, next).unwrap();
        assert!(signs_in(&mut bench, &later_tmk(5)), "and it goes on");
        assert!(bench.ped.holdings().staged_master_keys.is_empty());
    }
}

/// The host has moved on twice, and the answer to a sign-in of before is still on its way: found by the simulator (seed 12).
#[test]
fn a_terminal_that_does_not_sign_in_for_long_keeps_what_the_host_may_use() {
    use support::vault::later_tmk;
    for used in [2, 3] {
        let mut bench = Bench::ready("unionpay-credit");
        stages(&mut bench, 2, 2).unwrap();
        stages(&mut bench, 3, 3).unwrap();
        bench.reboot();
        assert_eq!(stages(&mut bench, 4, 4), Err(keys::Refusal::Unavailable), "a sign-in first");
        assert!(signs_in(&mut bench, &later_tmk(used)), "whichever the host delivers under");
        stages(&mut bench, 4, 4).unwrap();
        assert!(signs_in(&mut bench, &later_tmk(3)) && signs_in(&mut bench, &later_tmk(4)), "and it goes on");
    }
}

/// A pending reversal keeps no MAC: it is made anew from its blob, under the keys of the day.
#[test]
fn a_reversal_of_before_a_rotation_is_made_under_the_keys_after_it() {
    use support::vault::later_tmk;
    const LATER_MAK: [u8; 16] = [0x5D; 16];
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let blob = bench.complete(template("0200"), of_session(1)).unwrap().blob.unwrap();
    stages(&mut bench, 2, 2).unwrap();
    bench.reboot();
    let delivery = support::host::delivery(&later_tmk(2), &LATER_MAK);
    let replies = bench.till(PedCommand::LoadWorkingKeys { delivery });
    assert!(matches!(replies[..], [PedReply::WorkingKeysLoaded { loaded: true }]));
    let rebuilt = bench.complete(reversal("98"), of_blob(&blob, ChipData::Reversal)).unwrap();
    let frame = rebuilt.frame.expose();
    let message = iso8583::unionpay::open(&frame[2..]).unwrap().message;
    let mac = message.field(64).unwrap().bytes();
    let covered = &message.body()[..message.body().len() - mac.len()];
    let key = support::vault::tdes(&LATER_MAK);
    assert_eq!(paycrypto::mac::unionpay_ecb_mac(&key, covered), *mac);
}

#[test]
fn a_staged_master_key_outlives_a_snapshot() {
    let mut bench = Bench::ready("unionpay-credit");
    stages(&mut bench, 2, 2).unwrap();
    let holdings = bench.ped.holdings().clone();
    let bytes = Record::Snapshot(Box::new(holdings.clone())).to_bytes();
    let restored = Ped::restore(config(), Box::new(TestVault::default()), vec![Record::from_bytes(&bytes).unwrap()], 1);
    assert_eq!(restored.holdings(), &holdings);
    // A snapshot of 0.1.0 ends before the staged keys.
    let old = [&[8][..], &holdings.to_bytes()].concat();
    let Ok(Record::Snapshot(opened)) = Record::from_bytes(&old) else { panic!("a snapshot") };
    assert!(opened.staged_master_keys.is_empty());
    assert_eq!(opened.master_key, holdings.master_key);
}

#[test]
fn a_broken_vault_is_answered_in_words() {
    let mut bench = Bench::ready("unionpay-credit");
    let records = bench.records.clone();
    let last = records.len() as u64;
    bench.ped = Ped::restore(config(), Box::new(TestVault { broken: true }), records, last);
    let read = bench.read(1, sale());
    assert!(matches!(read, Err(CardFailure::CardError { ref detail }) if detail.contains("vault")), "{read:?}");
    let message = pedlink::FrameTemplate { with_mac: true, ..template("0820") };
    assert!(bench.complete(message, AccountPart::None).unwrap_err().0.contains("vault"));
    let replies = bench.till(PedCommand::LoadWorkingKeys { delivery: support::host::key_delivery() });
    assert!(matches!(replies[..], [PedReply::WorkingKeysLoaded { loaded: false }]));
}

/// Bytes that version 1 wrote: they decode for ever.
#[test]
fn old_records_decode() {
    let fixtures = [
        ("04", Record::WorkingKeysErased),
        ("0700000009", Record::SessionOpened { session: 9 }),
        ("0500000001000000029F06", Record::CapksReplaced(vec![vec![0x9F, 0x06]])),
        ("0600000002000000010100000000", Record::AidsReplaced(vec![vec![1], vec![]])),
        (
            "020102000000000831323334353637380000000100000002AA55",
            Record::MasterKeyInstalled(
                keys::AnyKeyBlock {
                    header: keys::KeyHeader {
                        usage: keys::Usage::TerminalMaster,
                        algorithm: keys::Algorithm::TdesDouble,
                        exportable: false,
                        owner: keys::Owner::new("12345678").unwrap(),
                        version: 1,
                        validity: keys::Validity::ALWAYS,
                    },
                    enciphered: vec![0xAA, 0x55],
                }
                .typed()
                .unwrap(),
            ),
        ),
    ];
    for (hex, record) in fixtures {
        assert_eq!(Record::from_bytes(&support::host::bytes(hex)).unwrap(), record, "{hex}");
        assert_eq!(record.to_bytes(), support::host::bytes(hex));
    }
}

#[derive(Clone, Debug)]
enum Poke {
    Power,
    Read(u32, bool, bool),
    Complete(u32, u8),
    Check(Vec<u8>),
    Finish(u32, bool),
    Cancel(u32),
    Load(Vec<u8>),
    Inserted(Vec<u8>),
    Response(Option<Vec<u8>>),
    Pin(u8),
    Choice(Option<usize>),
    Entropy(u8),
    Wake(u64),
}

fn poke() -> impl Strategy<Value = Poke> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        1 => Just(Poke::Power),
        4 => (0_u32..4, any::<bool>(), any::<bool>()).prop_map(|(session, only, pin)| Poke::Read(session, only, pin)),
        2 => (0_u32..4, 0_u8..6).prop_map(|(session, chip)| Poke::Complete(session, chip)),
        1 => bytes().prop_map(Poke::Check),
        2 => (0_u32..4, any::<bool>()).prop_map(|(session, answered)| Poke::Finish(session, answered)),
        1 => (0_u32..4).prop_map(Poke::Cancel),
        1 => bytes().prop_map(Poke::Load),
        2 => bytes().prop_map(Poke::Inserted),
        6 => proptest::option::of(bytes()).prop_map(Poke::Response),
        3 => (0_u8..4).prop_map(Poke::Pin),
        1 => proptest::option::of(0_usize..3).prop_map(Poke::Choice),
        3 => (0_u8..255).prop_map(Poke::Entropy),
        1 => (0_u64..1_000_000).prop_map(Poke::Wake),
    ]
}

fn event(poke: Poke) -> Event {
    match poke {
        Poke::Power => Event::PowerOn,
        Poke::Read(session, account_only, force_online_pin) => {
            let transaction = pedlink::CardTransaction { account_only, force_online_pin, ..sale() };
            Event::Till(PedCommand::ReadCard { session, transaction })
        }
        Poke::Complete(session, chip) => {
            let kinds = [
                ChipData::None,
                ChipData::Request,
                ChipData::Reversal,
                ChipData::CardDeclined,
                ChipData::ScriptNotice,
                ChipData::Certificate,
            ];
            let account = AccountPart::Session { session, with_pin: true, chip: kinds[usize::from(chip)] };
            Event::Till(PedCommand::CompleteFrame { template: Box::new(template("0200")), account })
        }
        Poke::Check(bytes) => Event::Till(PedCommand::CheckResponse {
            frame: pedlink::OpaqueFrame::new(bytes),
            expected: Box::new(expected("0210", Some(1))),
        }),
        Poke::Finish(session, true) => Event::Till(PedCommand::FinishCard { session, answer: answered("00") }),
        Poke::Finish(session, false) => Event::Till(PedCommand::FinishCard { session, answer: OnlineAnswer::NoAnswer }),
        Poke::Cancel(session) => Event::Till(PedCommand::CancelCard { session }),
        Poke::Load(delivery) => Event::Till(PedCommand::LoadWorkingKeys { delivery }),
        Poke::Inserted(bytes) => Event::CardInserted(bytes),
        Poke::Response(bytes) => Event::CardResponse(bytes.ok_or(CardGone)),
        Poke::Pin(0) => Event::PinEntered(PinEntry::Pin(Pin::parse("123456").unwrap())),
        Poke::Pin(1) => Event::PinEntered(PinEntry::Bypass),
        Poke::Pin(2) => Event::PinEntered(PinEntry::Cancel),
        Poke::Pin(_) => Event::PinEntered(PinEntry::Timeout),
        Poke::Choice(index) => Event::ApplicationChosen(index),
        Poke::Entropy(length) => Event::Entropy(SecretBytes::new(vec![7; usize::from(length)])),
        Poke::Wake(_) => Event::Wake,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the outside says in whatever order, with or without a real card answering: no panic, nothing approved
    /// that no host approved, and a working PED afterwards.
    #[test]
    fn any_order_of_events_is_survived(pokes in proptest::collection::vec((poke(), any::<bool>()), 1..60)) {
        let mut bench = Bench::ready("unionpay-credit");
        for (poke, outside_reacts) in pokes {
            if let Poke::Wake(delay_ms) = poke {
                bench.now_ms += delay_ms;
            }
            let event = event(poke);
            if outside_reacts {
                for reply in bench.run(event) {
                    prop_assert!(!approved(&reply));
                }
            } else {
                bench.step(event);
            }
        }
        bench.reboot();
        bench.sign_in();
        bench.insert("unionpay-credit");
        prop_assert!(bench.read(99, sale()).is_ok());
        let records = bench.records.clone();
        let restored = Ped::restore(config(), Box::new(TestVault::default()), records, bench.records.len() as u64);
        prop_assert_eq!(restored.holdings(), bench.ped.holdings());
    }

    #[test]
    fn any_bytes_as_a_record_are_refused_or_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::from_bytes(&bytes) {
            prop_assert_eq!(record.to_bytes(), bytes);
        }
    }
}
