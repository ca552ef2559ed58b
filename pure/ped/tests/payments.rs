//! Whole payments: a real kernel, a real card, real ciphers, from the first APDU to the last.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use pedlink::{AccountPart, CardDecision, CardFailure, ChipData, OnlineAnswer, PedReply};
use support::host::{Answer, Request};
use support::{Bench, Typing, answered, expected, of_blob, of_session, reversal, sale, template};

fn card_account(profile: &str) -> card::CardAccountData {
    card::profile(profile).unwrap().account()
}

/// Reads, sends, answers `code`, finishes; returns the request and the chip's last word.
fn pay(bench: &mut Bench, profile: &str, code: &str, script: bool) -> (Request, PedReply) {
    let summary = bench.read(1, sale()).unwrap();
    assert_eq!(summary.decision, CardDecision::Online, "{profile}");
    let completed = bench.complete(template("0200"), of_session(1)).unwrap();
    let request = Request::open(completed.frame.expose());
    let chip = if code == "00" { request.issuer_data(&card_account(profile), script) } else { Vec::new() };
    let response = Answer::to(&request, code, chip).frame();
    let checked = bench.check(response, expected("0210", Some(1))).unwrap();
    assert!(checked.mac_verified);
    let finished = bench.finish(1, answered(code));
    (request, finished)
}

#[test]
fn a_unionpay_credit_sale_is_approved() {
    let mut bench = Bench::ready("unionpay-credit");
    let (request, finished) = pay(&mut bench, "unionpay-credit", "00", false);
    assert_eq!(request.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 26, 35, 41, 42, 49, 52, 53, 55, 60, 64]);
    assert_eq!(request.mac_right, Some(true));
    assert_eq!(request.pin().as_deref(), Some("123456"));
    let track = request.track().unwrap();
    assert!(track.starts_with("6222620000001001001D3012"), "{track}");
    assert_ne!(track, request.fields[&35]);
    let fields = |number| request.fields[&number].as_str();
    assert_eq!([fields(2), fields(14), fields(22), fields(23)], ["6222620000001001001", "3012", "051", "001"]);
    assert_eq!([fields(26), fields(53)], ["12", "2610000000000000"]);
    assert_eq!(request.chip[&0x9F27], [0x80]);
    assert_eq!(request.chip[&0x9F41], [0, 0, 0, 2]);
    let PedReply::CardFinished { approved, receipt, blob, script_results, detail, trace, .. } = finished else {
        panic!("{finished:?}")
    };
    assert!(approved, "{detail}");
    assert_eq!((receipt.cryptogram_kind.as_str(), receipt.aid.as_str()), ("TC", "A000000333010102"));
    assert_eq!(receipt.tvr.len(), 10);
    assert!(script_results.is_none() && blob.is_some());
    let certificates: Vec<_> = trace.iter().filter(|line| line.text.contains("9F46 ICC")).collect();
    assert!(
        !certificates.is_empty() && certificates.iter().all(|line| line.text.ends_with("****")),
        "{certificates:?}"
    );
    for list in ["CDOL1: 9F37", "CDOL2: 8A"] {
        assert!(trace.iter().any(|line| line.topic == "cryptogram" && line.text.starts_with(list)), "{list}");
    }
    for topic in ["apdu", "aip", "tvr", "tsi", "cvm", "cryptogram", "card", "host"] {
        assert!(trace.iter().any(|line| line.topic == topic), "no {topic} in {trace:#?}");
    }
}

#[test]
fn every_approving_profile_is_approved_and_every_declining_one_is_not() {
    for profile in card::profiles() {
        let mut bench = Bench::ready(profile.name);
        let read = bench.read(1, sale());
        let summary = read.unwrap_or_else(|failure| panic!("{}: {failure:?}", profile.name));
        let online = matches!(
            profile.expected,
            card::ExpectedOutcome::ApprovedOnline(_) | card::ExpectedOutcome::DeclinedOnline(_)
        );
        let wanted = match profile.expected {
            _ if online => CardDecision::Online,
            card::ExpectedOutcome::ApprovedOffline => CardDecision::ApprovedOffline,
            _ => CardDecision::DeclinedOffline,
        };
        assert_eq!(summary.decision, wanted, "{}", profile.name);
        assert_eq!(summary.truncated, profile.pan().truncated());
        let with_online_pin = matches!(profile.expected, card::ExpectedOutcome::ApprovedOnline(card::PinCheck::Online));
        if profile.expected.approves() {
            assert_eq!(summary.pin_entered, with_online_pin, "{}", profile.name);
        }
        if online {
            let mut bench = Bench::ready(profile.name);
            let (request, finished) = pay(&mut bench, profile.name, "00", false);
            assert_eq!(request.fields.contains_key(&52), summary.pin_entered);
            assert_eq!(request.fields[&22], if summary.pin_entered { "051" } else { "052" });
            let PedReply::CardFinished { approved, detail, .. } = finished else { panic!() };
            assert!(approved, "{}: {detail}", profile.name);
        } else {
            let finished = bench.finish(1, OnlineAnswer::NoAnswer);
            let PedReply::CardFinished { approved, receipt, blob: Some(_), .. } = finished else {
                panic!("{}: {finished:?}", profile.name)
            };
            let kind = if profile.expected.approves() { "TC" } else { "AAC" };
            assert_eq!(
                (approved, receipt.cryptogram_kind.as_str()),
                (profile.expected.approves(), kind),
                "{}",
                profile.name
            );
        }
    }
}

#[test]
fn an_offline_sale_is_uploaded_with_its_certificate_unless_the_host_must_decide() {
    let mut bench = Bench::ready("unionpay-offline");
    assert_eq!(bench.read(1, sale()).unwrap().decision, CardDecision::ApprovedOffline);
    let finished = bench.finish(1, OnlineAnswer::NoAnswer);
    let PedReply::CardFinished { approved: true, blob: Some(blob), .. } = finished else { panic!("{finished:?}") };
    let upload = pedlink::FrameTemplate {
        private_60: "3600000700060".to_owned(),
        private_63: Some(b"CUP".to_vec()),
        ..template("0200")
    };
    let request = Request::open(bench.complete(upload, of_blob(&blob, ChipData::OfflineSale)).unwrap().frame.expose());
    // Column OFS of unionpay-pos §3.2: neither track nor PIN; TC and 8A = Y1 in field 55.
    assert_eq!(request.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 41, 42, 49, 55, 60, 63, 64]);
    assert_eq!((request.chip[&0x9F27].as_slice(), request.chip[&0x8A].as_slice()), (&[0x40][..], &b"Y1"[..]));
    assert_eq!(request.mac_right, Some(true));

    let mut bench = Bench::ready("unionpay-offline");
    let forced = pedlink::CardTransaction { online_only: true, ..sale() };
    assert_eq!(bench.read(1, forced).unwrap().decision, CardDecision::Online);
    let request = Request::open(bench.complete(template("0200"), of_session(1)).unwrap().frame.expose());
    assert_eq!(request.chip[&0x95][3] & 0x08, 0x08, "merchant forced transaction online");
}

#[test]
fn a_pre_authorisation_and_what_ends_it_carry_their_columns() {
    let mut bench = Bench::ready("unionpay-credit");
    let held = pedlink::CardTransaction { transaction_type: 0x03, ..sale() };
    assert_eq!(bench.read(1, held).unwrap().decision, CardDecision::Online);
    let request = Request::open(bench.complete(template("0100"), of_session(1)).unwrap().frame.expose());
    assert_eq!(request.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 26, 35, 41, 42, 49, 52, 53, 55, 60, 64]);
    assert_eq!((request.chip[&0x9C].as_slice(), request.mac_right), (&[0x03][..], Some(true)));
    bench.finish(1, OnlineAnswer::NoAnswer);
    // Its void asks for the PIN, but no chip speaks: the card is only read (C8).
    let mut bench = Bench::ready("unionpay-credit");
    let void =
        pedlink::CardTransaction { account_only: true, force_online_pin: true, transaction_type: 0x20, ..sale() };
    let summary = bench.read(1, void).unwrap();
    assert_eq!((summary.decision, summary.pin_entered), (CardDecision::AccountOnly, true));
    let account = AccountPart::Session { session: 1, with_pin: true, chip: ChipData::None };
    let code = types::AuthorisationCode::parse("A12345").ok();
    let void = pedlink::FrameTemplate {
        authorisation_code: code,
        original_61: Some("0000000000000315".to_owned()),
        ..template("0100")
    };
    let completed = bench.complete(void.clone(), account).unwrap();
    let request = Request::open(completed.frame.expose());
    assert_eq!(request.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 26, 35, 38, 41, 42, 49, 52, 53, 60, 61, 64]);
    assert_eq!((request.pin().as_deref(), request.fields[&22].as_str()), (Some("123456"), "051"));
    // Its reversal repeats code and original, and nothing of the card but the number.
    let reversal = pedlink::FrameTemplate { authorisation_code: code, original_61: void.original_61, ..reversal("98") };
    let blob = completed.blob.unwrap();
    let completed = bench.complete(reversal, of_blob(&blob, ChipData::None)).unwrap();
    let request = Request::open(completed.frame.expose());
    assert_eq!(request.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 38, 39, 41, 42, 49, 60, 61, 64]);
}

#[test]
fn a_declined_sale_gets_an_aac() {
    let mut bench = Bench::ready("unionpay-credit");
    let (_, finished) = pay(&mut bench, "unionpay-credit", "51", false);
    let PedReply::CardFinished { approved, receipt, detail, .. } = finished else { panic!() };
    assert!(!approved && !detail.is_empty());
    assert_eq!(receipt.cryptogram_kind, "AAC");
}

#[test]
fn a_script_runs_and_its_result_goes_into_notice_and_reversal() {
    let mut bench = Bench::ready("scripted");
    let (_, finished) = pay(&mut bench, "scripted", "00", true);
    let PedReply::CardFinished { approved: true, blob: Some(blob), script_results: Some(results), .. } = finished
    else {
        panic!("{finished:?}")
    };
    assert_eq!(results, [0x20, 1, 2, 3, 4]);
    let notice = bench.complete(template("0620"), of_blob(&blob, ChipData::ScriptNotice)).unwrap();
    let notice = Request::open(notice.frame.expose());
    assert_eq!(notice.chip[&0xDF31], results);
    assert_eq!(notice.numbers(), [2, 3, 4, 11, 22, 23, 25, 41, 42, 49, 55, 60, 64]);
    let upload = bench.complete(template("0320"), of_blob(&blob, ChipData::Certificate)).unwrap();
    let upload = Request::open(upload.frame.expose());
    assert_eq!(upload.chip[&0x9F27], [0x40]);
    assert!(!upload.fields.contains_key(&14));
    let declined = bench.complete(reversal("06"), of_blob(&blob, ChipData::CardDeclined)).unwrap();
    assert_eq!(Request::open(declined.frame.expose()).chip[&0xDF31], results);
}

#[test]
fn a_reversal_is_rebuilt_from_the_blob_alone() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let completed = bench.complete(template("0200"), of_session(1)).unwrap();
    let request = Request::open(completed.frame.expose());
    bench.reboot();
    let blob = completed.blob.unwrap();
    let rebuilt = bench.complete(reversal("98"), of_blob(&blob, ChipData::Reversal)).unwrap();
    let undone = Request::open(rebuilt.frame.expose());
    assert_eq!(undone.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 39, 41, 42, 49, 55, 60, 64]);
    for number in [2, 3, 4, 11, 14, 22, 23, 25, 41, 42, 49, 60] {
        assert_eq!(undone.fields[&number], request.fields[&number], "field {number}");
    }
    assert_eq!(undone.chip[&0x95], request.chip[&0x95]);
    assert_eq!(undone.chip[&0x9F10], request.chip[&0x9F10]);
    assert_eq!(undone.chip.keys().copied().collect::<Vec<_>>(), [0x95, 0x9F10, 0x9F1E]);
    assert_eq!(undone.mac_right, Some(true));
    let again = bench.complete(reversal("98"), of_blob(&rebuilt.blob.unwrap(), ChipData::Reversal)).unwrap();
    assert_eq!(Request::open(again.frame.expose()).fields, undone.fields);
}

#[test]
fn a_void_needs_no_card_but_has_no_track_then() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let blob = bench.complete(template("0200"), of_session(1)).unwrap().blob.unwrap();
    let account = AccountPart::Blob { blob, with_track: true, chip: ChipData::None };
    let void = bench.complete(template("0200"), account).unwrap();
    let undone = Request::open(void.frame.expose());
    assert_eq!(undone.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 41, 42, 49, 60, 64]);
    assert_eq!(undone.fields[&22], "052");
    let undo_void = bench.complete(reversal("98"), of_blob(&void.blob.unwrap(), ChipData::Reversal)).unwrap();
    let undo_void = Request::open(undo_void.frame.expose());
    assert_eq!(undo_void.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 39, 41, 42, 49, 60, 64]);
    assert_eq!(undo_void.fields[&22], "052");
}

#[test]
fn a_void_with_the_card_reads_its_account_only() {
    let mut bench = Bench::ready("unionpay-credit");
    let transaction = pedlink::CardTransaction { account_only: true, transaction_type: 0x20, ..sale() };
    let summary = bench.read(1, transaction).unwrap();
    assert_eq!(summary.decision, CardDecision::AccountOnly);
    assert!(!summary.pin_entered && !summary.signature);
    assert!(bench.log.iter().any(|effect| effect == "PowerOffCard"));
    let account = AccountPart::Session { session: 1, with_pin: true, chip: ChipData::None };
    let void = bench.complete(template("0200"), account).unwrap();
    let void = Request::open(void.frame.expose());
    assert_eq!(void.numbers(), [2, 3, 4, 11, 14, 22, 23, 25, 35, 41, 42, 49, 53, 60, 64]);
    assert_eq!(void.fields[&53], "0610000000000000");
    let refused = bench.complete(template("0200"), of_session(1)).unwrap_err();
    assert!(refused.0.contains("chip"), "{refused:?}");
}

#[test]
fn a_pin_is_asked_for_if_the_till_insists() {
    let mut bench = Bench::ready("visa-credit");
    let transaction = pedlink::CardTransaction { account_only: true, force_online_pin: true, ..sale() };
    let summary = bench.read(1, transaction).unwrap();
    assert!(summary.pin_entered);
    let account = AccountPart::Session { session: 1, with_pin: true, chip: ChipData::None };
    let request = Request::open(bench.complete(template("0200"), account).unwrap().frame.expose());
    assert_eq!(request.pin().as_deref(), Some("123456"));
    bench.typing = Typing::Cancel;
    let transaction = pedlink::CardTransaction { account_only: true, force_online_pin: true, ..sale() };
    assert_eq!(bench.read(2, transaction), Err(CardFailure::Cancelled));
}

#[test]
fn a_blocked_pin_is_declined_and_the_right_one_is_not() {
    let mut bench = Bench::ready("pin-blocked");
    let summary = bench.read(1, sale()).unwrap();
    assert_eq!((summary.decision, bench.pins_asked), (CardDecision::DeclinedOffline, 3));
    let mut bench = Bench::ready("pin-blocked");
    bench.typing = Typing::Pin("258036");
    assert_eq!(bench.read(1, sale()).unwrap().decision, CardDecision::Online);
}

#[test]
fn no_answer_leaves_the_card_declined() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    bench.complete(template("0200"), of_session(1)).unwrap();
    let PedReply::CardFinished { approved, blob, .. } = bench.finish(1, OnlineAnswer::NoAnswer) else { panic!() };
    assert!(!approved && blob.is_some());
}
