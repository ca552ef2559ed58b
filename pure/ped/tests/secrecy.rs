//! Nothing that may not leave the PED leaves it: not in an answer, a trace, an effect that prints, or a record.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use machine::wire::Encode;
use pedlink::{ChipData, PedCommand, PedReply};
use support::host::{Answer, Request};
use support::vault::{MAK, PIK, TDK, TMK};
use support::{Bench, Typing, answered, expected, of_blob, of_session, reversal, sale, template};

/// A secret in every form in which it could leak.
fn forms(digits: &str) -> Vec<Vec<u8>> {
    let packed = |text: &str| -> Vec<u8> {
        let even = if text.len().is_multiple_of(2) { text.to_owned() } else { format!("{text}F") };
        (0..even.len()).step_by(2).map(|at| u8::from_str_radix(&even[at..at + 2], 16).unwrap()).collect()
    };
    let ascii_hex: String = digits.bytes().map(|byte| format!("{byte:02X}")).collect();
    let mut forms =
        vec![digits.as_bytes().to_vec(), ascii_hex.clone().into_bytes(), ascii_hex.to_lowercase().into_bytes()];
    if digits.len() >= 12 {
        forms.push(packed(digits));
        forms.push(packed(&digits[..digits.len() / 2 * 2]));
        forms.push(packed(&digits[1..digits.len() / 2 * 2 - 1]));
    }
    forms
}

fn key_forms(key: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
    let list = format!("{key:?}");
    vec![key.to_vec(), hex.clone().into_bytes(), hex.to_lowercase().into_bytes(), list[1..list.len() - 1].into()]
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// What may not be seen of one payment.
fn secrets(profile: &str, track: &str) -> Vec<(&'static str, Vec<u8>)> {
    let pan = card::profile(profile).unwrap().pan();
    let (_, discretionary) = track.split_once('D').unwrap();
    let mut secrets: Vec<(&'static str, Vec<u8>)> = Vec::new();
    secrets.extend(forms(pan.expose()).into_iter().map(|form| ("PAN", form)));
    secrets.extend(forms(discretionary).into_iter().map(|form| ("track", form)));
    secrets.extend(forms("739516").into_iter().map(|form| ("PIN", form)));
    for key in [&TMK[..], &PIK, &MAK, &TDK] {
        secrets.extend(key_forms(key).into_iter().map(|form| ("key", form)));
    }
    secrets
}

/// Everything of an answer that a till could see, print or store; frames and blobs apart.
fn visible(reply: &PedReply) -> Vec<u8> {
    let mut bytes = format!("{reply:?}").into_bytes();
    match reply {
        PedReply::CardRead { result: Ok(summary), .. } => bytes.extend(summary.to_bytes()),
        PedReply::CardFinished { receipt, script_results, .. } => {
            bytes.extend(receipt.to_bytes());
            bytes.extend(script_results.iter().flatten());
        }
        PedReply::ResponseChecked { result: Ok(summary), .. } => bytes.extend(summary.to_bytes()),
        _ => {}
    }
    bytes
}

struct Payment {
    seen: Vec<u8>,
    sealed: Vec<u8>,
    track: String,
}

fn pay(profile: &str, approve: bool) -> Payment {
    let mut bench = Bench::ready(profile);
    bench.typing = Typing::Pin("739516");
    let mut seen = Vec::new();
    let mut sealed = Vec::new();
    let mut take = |replies: Vec<PedReply>| {
        replies.iter().for_each(|reply| seen.extend(visible(reply)));
        replies
    };
    take(bench.till(PedCommand::ReadCard { session: 1, transaction: sale() }));
    let command = PedCommand::CompleteFrame { template: Box::new(template("0200")), account: of_session(1) };
    let mut track = "0D00000000000000".to_owned();
    if let Some(PedReply::FrameCompleted { frame, blob: Some(blob), .. }) = take(bench.till(command)).pop() {
        let request = Request::open(frame.expose());
        track = request.track().unwrap_or(track);
        let chip = if approve { request.issuer_data(&card::profile(profile).unwrap().account(), true) } else { vec![] };
        let response = Answer::to(&request, if approve { "00" } else { "55" }, chip).frame();
        let checked = PedCommand::CheckResponse {
            frame: pedlink::OpaqueFrame::new(response),
            expected: Box::new(expected("0210", Some(1))),
        };
        take(bench.till(checked));
        let account = of_blob(&blob, ChipData::Reversal);
        take(bench.till(PedCommand::CompleteFrame { template: Box::new(reversal("98")), account }));
        sealed.extend(blob.0);
    }
    let answer = answered(if approve { "00" } else { "55" });
    let replies = take(bench.till(PedCommand::FinishCard { session: 1, answer }));
    if let Some(PedReply::CardFinished { blob: Some(blob), .. }) = replies.into_iter().next() {
        sealed.extend(blob.0);
    }
    seen.extend(bench.log.concat().into_bytes());
    for record in &bench.records {
        seen.extend(record.to_bytes());
    }
    seen.extend(format!("{:?}", bench.ped).into_bytes());
    Payment { seen, sealed, track }
}

#[test]
fn no_answer_trace_effect_or_record_holds_a_secret() {
    for profile in card::profiles() {
        for approve in [true, false] {
            let payment = pay(profile.name, approve);
            assert!(payment.seen.len() > 2000, "{}: nothing to look at", profile.name);
            for (what, form) in secrets(profile.name, &payment.track) {
                assert!(!contains(&payment.seen, &form), "{}: {what} as {form:02X?}", profile.name);
                assert!(!contains(&payment.sealed, &form), "{}: {what} in a blob", profile.name);
            }
        }
    }
}

#[test]
fn the_search_finds_what_is_planted() {
    let mut payment = pay("unionpay-credit", true);
    assert!(payment.track.len() > 30);
    for (what, form) in secrets("unionpay-credit", &payment.track) {
        assert!(!contains(&payment.seen, &form), "{what}");
        payment.seen.extend(&form);
        assert!(contains(&payment.seen, &form), "{what}");
        payment.seen.truncate(payment.seen.len() - form.len());
    }
}

#[test]
fn blobs_hold_neither_track_nor_pin_block_even_when_opened() {
    let mut bench = Bench::ready("unionpay-credit");
    bench.read(1, sale()).unwrap();
    let completed = bench.complete(template("0200"), of_session(1)).unwrap();
    let request = Request::open(completed.frame.expose());
    let opened = support::vault::open_any(&completed.blob.unwrap().0);
    let track = request.track().unwrap();
    assert!(contains(&opened, request.fields[&2].as_bytes()), "the blob was not opened");
    assert!(!contains(&opened, &track.as_bytes()[20..]));
    assert!(!contains(&opened, &support::host::bytes(&request.fields[&52])));
}

/// The PAN stands in the card's certificate, and anybody can open that: no trace may hold it.
#[test]
fn no_trace_holds_a_certificate_that_names_the_pan() {
    let mut bench = Bench::ready("unionpay-credit");
    let replies = bench.till(PedCommand::ReadCard { session: 1, transaction: sale() });
    let [PedReply::CardRead { trace, .. }] = &replies[..] else { panic!() };
    let longest_hex = |text: &str| text.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max().unwrap_or(0);
    let allowed = ["GENERATE AC", "9F4B", "90 Issuer"];
    for line in trace.iter().filter(|line| !allowed.iter().any(|name| line.text.contains(name))) {
        let issuer_certificate = line.text.starts_with("READ RECORD < 7081B39081B0");
        assert!(longest_hex(&line.text) < 200 || issuer_certificate, "{}", line.text);
    }
}
