//! Events in any order, most of them nonsense: the till never panics, never sends a payment that is not written down, and
//! a restart from its records still works.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use machine::wire::Encode;
use machine::{Durable, Machine, Tick};
use pedlink::{
    CardDecision, CardFailure, CardSummary, ChipReceipt, OpaqueFrame, PedCommand, PedReply, ResponseFault,
    ResponseSummary, SealedBlob,
};
use proptest::prelude::*;
use till::{
    AuthorisationReference, CompletionForm, Effect, Event, HostProof, HostVerdict, OperatorCommand, Record, Till,
};
use types::{AuthorisationCode, BatchNumber, CardToken, LocalDate, ResponseCode, Rrn, Stan, TruncatedPan};
use world::{config, yuan};

#[derive(Clone, Copy, Debug)]
struct Draw {
    kind: u8,
    small: u8,
    flag: bool,
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (0_u8..26, 0_u8..8, any::<bool>()).prop_map(|(kind, small, flag)| Draw { kind, small, flag });
    proptest::collection::vec(draw, 1..400)
}

/// What the outside could know: the newest exchange and card session, and what was asked last.
#[derive(Default)]
struct Seen {
    exchange: u64,
    session: u32,
    expected_mti: String,
}

fn code(draw: Draw) -> Option<ResponseCode> {
    let codes = ["00", "09", "77", "A0", "10", "96", "25", "94"];
    ResponseCode::parse(codes[usize::from(draw.small)]).ok()
}

fn response(draw: Draw, seen: &Seen) -> ResponseSummary {
    let totals = ["000000000000000000000000000000100000000000000000000000000000", "01"].concat();
    ResponseSummary {
        mti: seen.expected_mti.clone(),
        order: draw.small,
        response_code: code(draw),
        rrn: Rrn::parse("093015000001").ok(),
        additional_private: draw.flag.then_some(totals),
        private_60: Some("00000007004".to_owned()),
        private_62: draw.flag.then(|| b"1\x9F\x06\x05\xA0\x00\x00\x03\x33\x9F\x22\x01\x04".to_vec()),
        custom: draw.flag.then(|| pedlink::CustomData(b"A30198260315000001000002".to_vec())),
        mac_verified: draw.flag || draw.small.is_multiple_of(2),
        ..ResponseSummary::default()
    }
}

fn card(draw: Draw, session: u32) -> CardSummary {
    let decisions = [CardDecision::Online, CardDecision::AccountOnly, CardDecision::DeclinedOffline];
    CardSummary {
        session,
        token: CardToken([1; 16]),
        truncated: TruncatedPan::parse("622262*********0012").unwrap(),
        aid: vec![0xA0],
        label: String::new(),
        organisation: "CUP".to_owned(),
        entry_mode: "051".to_owned(),
        decision: decisions[usize::from(draw.small % 3)],
        pin_entered: false,
        signature: true,
    }
}

fn ped_reply(draw: Draw, seen: &Seen) -> PedReply {
    let session = seen.session.wrapping_sub(u32::from(draw.small == 7));
    match draw.kind % 8 {
        0 => PedReply::Status { master_key: draw.small > 0, working_keys: draw.flag, capks: 1, aids: 1 },
        1 => PedReply::ParametersInstalled { taken: u16::from(draw.small), skipped: vec![] },
        2 => PedReply::WorkingKeysLoaded { loaded: draw.flag },
        3 if draw.small == 6 => PedReply::CardRead { session, result: Err(CardFailure::Cancelled), trace: vec![] },
        3 => PedReply::CardRead { session, result: Ok(card(draw, session)), trace: vec![] },
        4 => PedReply::FrameCompleted {
            frame: OpaqueFrame::new(vec![1]),
            blob: (draw.small > 0).then(|| SealedBlob(vec![2])),
            trace: vec![],
        },
        5 => PedReply::FrameRefused { why: "no".to_owned(), sign_in_needed: draw.flag },
        6 if draw.small == 5 => PedReply::ResponseChecked { result: Err(ResponseFault::MacWrong), trace: vec![] },
        6 => PedReply::ResponseChecked { result: Ok(Box::new(response(draw, seen))), trace: vec![] },
        _ => PedReply::CardFinished {
            session,
            approved: draw.flag,
            receipt: ChipReceipt::default(),
            blob: Some(SealedBlob(vec![3])),
            script_results: (draw.small == 1).then(|| vec![1; 5]),
            detail: String::new(),
            trace: vec![],
        },
    }
}

fn command(draw: Draw) -> OperatorCommand {
    let stan = Stan::new(u32::from(draw.small) + 1).unwrap();
    let proof = HostProof { verdict: HostVerdict::NeverBooked, reference: "R".to_owned(), operator: String::new() };
    match draw.kind {
        0 => OperatorCommand::SignIn,
        1 => OperatorCommand::Void { stan },
        2 => OperatorCommand::Refund {
            amount: yuan("1.00"),
            original_rrn: Rrn::parse("093015000001").unwrap(),
            original_date: LocalDate::new(2026, 3, 15).unwrap(),
        },
        3 if draw.flag => OperatorCommand::QrOrder { amount: yuan("1.00") },
        3 => OperatorCommand::Balance,
        4 => OperatorCommand::Settle,
        5 if draw.flag => OperatorCommand::QrSale {
            amount: yuan("1.00"),
            code: types::PaymentCode::parse("6212345678901234567").unwrap(),
        },
        5 => OperatorCommand::SignOff,
        6 => OperatorCommand::Cancel,
        7 => OperatorCommand::Confirm,
        8 => OperatorCommand::ResolveParked { stan, proof },
        9 => OperatorCommand::PreAuthorise { amount: yuan("1.00") },
        10 if draw.flag => OperatorCommand::VoidCompletion { stan },
        10 => OperatorCommand::Complete {
            amount: yuan("1.00"),
            authorisation: AuthorisationReference {
                code: AuthorisationCode::parse("A00001").unwrap(),
                date: LocalDate::new(2026, 3, 15).unwrap(),
            },
            form: CompletionForm::Request,
        },
        _ => OperatorCommand::Sale { amount: yuan("1.00") },
    }
}

fn event(draw: Draw, seen: &Seen) -> Event {
    let exchange = seen.exchange.wrapping_sub(u64::from(draw.small == 7));
    match draw.kind {
        0..=10 if draw.small == 0 => Event::Operator(command(draw)),
        0..=19 => Event::Ped(Box::new(ped_reply(draw, seen))),
        20..=22 => Event::LinkResponse { exchange, frame: OpaqueFrame::new(vec![9]) },
        23 => Event::LinkFailed { exchange, sent_any: draw.flag },
        24 if draw.small == 0 => Event::PowerOn,
        _ => Event::Wake,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn nonsense_never_breaks_the_till(draws in draws()) {
        let mut till = Till::new(config());
        let mut journal: Vec<Record> = Vec::new();
        let mut seen = Seen::default();
        let mut now = Tick { monotonic_ms: 0, wall_ms: world::MORNING_MS };
        for draw in draws {
            if let (24.., Some(at)) = (draw.kind, till.deadline()) {
                now.monotonic_ms = now.monotonic_ms.max(at);
            }
            let batch = till.step(now, event(draw, &seen));
            journal.extend(batch.records().iter().cloned());
            let durable = Durable::assertion(batch.machine(), batch.sequence());
            for effect in batch.release(durable) {
                match effect {
                    Effect::Exchange { exchange, .. } => {
                        prop_assert!(exchange > seen.exchange, "exchanges only rise");
                        seen.exchange = exchange;
                        let payment = matches!(seen.expected_mti.as_str(), "0110" | "0210" | "0230");
                        let written = till.state().open_intent.is_some() || till.state().queued_notice().is_some();
                        prop_assert!(!payment || written, "a payment left that is not written down");
                    }
                    Effect::Ped(PedCommand::ReadCard { session, .. }) => seen.session = session,
                    Effect::Ped(PedCommand::CompleteFrame { template, .. }) => {
                        seen.expected_mti = format!("{:04}", template.mti.parse::<u16>().unwrap() + 10);
                    }
                    _ => {}
                }
            }
            let state = till.state();
            prop_assert!(state.open_intent.is_none() || state.reversal.is_none(), "one doubt at a time");
        }
        let bytes: Vec<Vec<u8>> = journal.iter().map(Encode::to_bytes).collect();
        let journal = machine::store::Journal { last_sequence: bytes.len() as u64, records: bytes };
        let restored = Till::restore_journal(config(), &journal).unwrap();
        prop_assert_eq!(restored.state(), till.state());
        prop_assert!(restored.status().batch != BatchNumber::NONE);
    }
}
