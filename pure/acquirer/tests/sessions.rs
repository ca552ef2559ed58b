//! Enrolment, sign-in, downloads and settlement.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use acquirer::{Enrolment, Event, Record};
use iso8583::unionpay::{
    BatchDetail, Body, Capk, CardClass, DownloadStatus, IcUpload, IcUploadFailure, MinorTotals, Reconciliation,
    Requirement, Totals, capk_request, format_batch_details, parse_aid_list, parse_capk_list,
};
use machine::MachineId;
use machine::wire::Encode;
use support::{Back, OTHER_PAN, PAN, Terminal, World, frame_of, terminal};
use types::{BatchNumber, SecretBytes, Stan};

const DEBIT: fn(u64, u16) -> MinorTotals =
    |minor, count| MinorTotals { debit_minor: minor, debit_count: count, ..MinorTotals::ZERO };

fn sell(world: &mut World, minor: u64) -> (Body, Body) {
    let request = world.terminal.sale(PAN, minor);
    let copy = request.duplicate();
    let answer = world.send(request).body();
    assert_eq!(answer.response_code, Some(*b"00"));
    (copy, answer)
}

fn settle(world: &mut World, domestic: MinorTotals) -> (Body, Body) {
    let request = world.terminal.settlement(&Totals { domestic, foreign: MinorTotals::ZERO });
    let copy = request.duplicate();
    (copy, world.send_plain(request).body())
}

fn codes(answer: &Body) -> (Reconciliation, Reconciliation) {
    assert_eq!(answer.response_code, None, "0510 has no F39");
    let totals = Totals::parse(answer.private_data.as_ref().unwrap().expose()).unwrap();
    (totals.domestic.reconciliation, totals.foreign.reconciliation)
}

fn records(world: &World) -> Vec<Record> {
    let journal = &world.store.journals[&MachineId::of_terminal(world.terminal.id)];
    journal.iter().map(|(bytes, _)| Record::from_bytes(bytes).unwrap()).collect()
}

#[test]
fn a_sign_in_gives_batch_and_keys_and_each_gives_new_ones() {
    let mut world = World::enrolled();
    let answer = world.sign_in();
    assert_eq!(answer.mti, *b"0810");
    assert_eq!(answer.f60.unwrap().digits(), b"00000001004");
    assert_eq!(answer.f62.unwrap().len(), 60);
    assert_eq!(answer.acquirer_id.as_deref(), Some(&b"48020000"[..]));
    assert_eq!(answer.rrn, Some(*b"000001000001"));
    let first = world.host.state(&mut world.store, world.terminal.id).keys.unwrap();
    world.sign_in();
    let second = world.host.state(&mut world.store, world.terminal.id).keys.unwrap();
    assert_eq!((first.mac.header().version, second.mac.header().version), (1, 2));
    let request = world.terminal.sign_in(3);
    let answer = world.send_plain(request).body();
    assert_eq!(answer.f62.unwrap().len(), 40);
}

#[test]
fn a_sign_in_without_keys_is_no_sign_in() {
    let mut world = World::enrolled();
    world.host.keys.refuse_working_keys = true;
    let request = world.terminal.sign_in(4);
    assert_eq!(world.send_plain(request).code(), "96");
    world.host.keys.unavailable = true;
    let request = world.terminal.sign_in(4);
    assert!(matches!(world.send_plain(request), Back::Closed));
    assert!(world.host.state(&mut world.store, world.terminal.id).keys.is_none());
}

/// A sale by a terminal that has not heard of the keys of `sign_ins` further sign-ins.
fn sale_of_before(world: &mut World, sign_ins: u32) -> Back {
    let old = world.terminal.clone();
    for _ in 0..sign_ins {
        world.sign_in();
    }
    let stan = world.terminal.stan;
    let new = std::mem::replace(&mut world.terminal, Terminal { stan, ..old });
    let request = world.terminal.sale(PAN, 100);
    // Also checks that the answer is under the keys of the request.
    let back = world.send(request);
    world.terminal = Terminal { stan: world.terminal.stan, ..new };
    back
}

#[test]
fn a_message_under_the_keys_before_is_taken_within_the_window_and_answered_under_them() {
    let mut world = World::ready();
    assert_eq!(sale_of_before(&mut world, 1).code(), "00");
    sell(&mut world, 100);
    assert_eq!(world.payable(), 200, "old and new keys side by side");
    assert_eq!(sale_of_before(&mut world, 4).code(), "00", "four sign-ins without an answer");
    assert_eq!(sale_of_before(&mut world, 5).code(), "A0", "only so many sets are remembered");
    let decided = records(&world).into_iter().filter_map(|record| match record {
        Record::Decided(decision) => Some(decision.checks.iter().next().map(str::to_owned).expect("a check")),
        _ => None,
    });
    let earlier = "MAC right under keys of an earlier sign-in";
    assert_eq!(decided.collect::<Vec<_>>(), [earlier, "MAC right", earlier]);
}

#[test]
fn the_window_of_earlier_keys_ends() {
    let mut world = World::ready();
    let old = world.terminal.clone();
    world.sign_in();
    let new = std::mem::replace(&mut world.terminal, old);
    world.host.now.wall_ms += acquirer::KEY_OVERLAP_MS_DEFAULT - 1_000;
    let request = world.terminal.sale(PAN, 100);
    assert_eq!(world.code(request), "00");
    world.host.now.wall_ms += 1_000;
    let request = world.terminal.sale(PAN, 100);
    assert_eq!(world.code(request), "A0");
    world.terminal = Terminal { stan: world.terminal.stan, ..new };
    sell(&mut world, 100);
    let off = world.terminal.management(b"0820", 2, None);
    assert_eq!(world.send_plain(off).code(), "00");
    assert!(world.host.state(&mut world.store, world.terminal.id).previous_keys.is_empty(), "a sign-off ends all");
}

#[test]
fn without_a_window_a_sign_in_ends_the_keys_before_at_once() {
    let mut world = World::ready();
    std::sync::Arc::make_mut(&mut world.host.config).key_overlap_ms = 0;
    world.host.machines.clear();
    assert_eq!(sale_of_before(&mut world, 1).code(), "A0");
    assert_eq!(world.payable(), 0);
}

#[test]
fn a_reversal_of_before_the_rotation_is_taken_after_it() {
    for remade in [false, true] {
        let mut world = World::ready();
        let (sale, _) = sell(&mut world, 100);
        let reversal = world.terminal.reversal(&sale, b"98");
        let under_old_keys = world.terminal.frame(reversal.duplicate());
        world.sign_in();
        world.rotate_master_key(2);
        world.sign_in();
        let peer = world.terminal.peer();
        let answer =
            if remade { world.send(reversal) } else { world.host.send(&mut world.store, peer, under_old_keys) };
        assert_eq!(answer.code(), "00", "remade {remade}");
        assert_eq!(world.payable(), 0);
    }
}

#[test]
fn a_newer_master_key_leaves_keys_batch_and_intents_alone() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 100);
    let before = world.host.state(&mut world.store, world.terminal.id);
    world.rotate_master_key(2);
    let after = world.host.state(&mut world.store, world.terminal.id);
    assert_eq!(after.enrolment.as_ref().unwrap().master_key.header().version, 2);
    assert_eq!((&after.keys, after.batch, &after.open), (&before.keys, before.batch, &before.open));
    assert_eq!(world.code(sale), "00", "a copy gets its answer under the same keys");
    world.sign_in();
    sell(&mut world, 100);
    for version in [0, 1, 2] {
        world.rotate_master_key(version);
        assert_eq!(world.host.log.last().unwrap(), "enrolled: Err(NotNewer)");
    }
    let other = Event::ReplaceMasterKey(Box::new(after.enrolment.unwrap().master_key));
    world.host.run(&mut world.store, terminal("22222222"), other);
    assert_eq!(world.host.log.last().unwrap(), "enrolled: Err(Unknown)");
}

#[test]
fn one_serial_number_speaks_for_one_terminal() {
    let mut world = World::enrolled();
    world.enrol("22222222", 2);
    let sign_in = |world: &mut World, name: &str, serial: &[u8]| {
        let mut terminal = Terminal { id: terminal(name), ..world.terminal.clone() };
        let mut request = terminal.sign_in(4);
        request.f62 = Some(SecretBytes::copy_from(serial));
        world.host.send(&mut world.store, terminal.peer(), frame_of(&request)).code()
    };
    let (one, two) = (&b"Sequence No08SN000001"[..], &b"Sequence No08SN000002"[..]);
    assert_eq!(sign_in(&mut world, "12345678", one), "00");
    world.host.log.clear();
    assert_eq!(sign_in(&mut world, "22222222", one), "97");
    let alarm = |line: &String| line.starts_with("Alarm 22222222 terminal.serial-elsewhere: terminal 12345678");
    assert!(world.host.log.iter().any(alarm), "{:?}", world.host.log);
    assert!(world.host.state(&mut world.store, terminal("22222222")).keys.is_none(), "no keys for a copy");
    assert_eq!(sign_in(&mut world, "22222222", two), "00");
    // A terminal may get another device and its old one back.
    for serial in [one, b"Sequence No08SN000003", one, one] {
        assert_eq!(sign_in(&mut world, "12345678", serial), "00");
    }
    assert_eq!(world.host.guard_failures, 2);
}

#[test]
fn two_connections_that_alternate_raise_an_alarm() {
    let mut world = World::ready();
    let send = |world: &mut World, connection: u64| {
        let request = world.terminal.management(b"0820", 301, None);
        let event = Event::Request { connection, peer: world.terminal.peer(), frame: frame_of(&request) };
        world.host.log.clear();
        assert_eq!(world.host.run(&mut world.store, world.terminal.id, event).len(), 1, "never refused");
        world.host.log.iter().any(|line| line.starts_with("Alarm 12345678 terminal.two-connections"))
    };
    // Reconnecting is normal, however often.
    for connection in [7, 8, 8, 9, 10] {
        assert!(!send(&mut world, connection));
    }
    assert!(send(&mut world, 9));
}

#[test]
fn a_terminal_number_belongs_to_one_terminal() {
    let mut world = World::enrolled();
    world.host.log.clear();
    world.enrol("22222222", 1);
    assert_eq!(world.host.log, ["enrolled: Err(NumberTaken)"]);
    world.enrol("22222222", 2);
    assert!(world.host.log.iter().any(|line| line == "enrolled: Ok(())"));
    let enrolment = world.host.state(&mut world.store, terminal("22222222")).enrolment.unwrap();
    for (number, expected) in [(0, "Number"), (1_000_000, "Number")] {
        let wrong = Enrolment { terminal_number: number, ..enrolment.clone() };
        world.host.run(&mut world.store, terminal("22222222"), Event::Enrol(Box::new(wrong)));
        assert!(world.host.log.last().unwrap().contains(expected));
    }
}

#[test]
fn a_terminal_changes_its_merchant_only_with_an_empty_batch() {
    let mut world = World::ready();
    sell(&mut world, 100);
    let mut enrolment = world.host.state(&mut world.store, world.terminal.id).enrolment.unwrap();
    enrolment.merchant = types::MerchantId::parse("999999999999999").unwrap();
    world.host.run(&mut world.store, world.terminal.id, Event::Enrol(Box::new(enrolment.clone())));
    assert!(world.host.log.last().unwrap().contains("OpenBatch"));
    let end = world.terminal.batch_end(202, 0);
    world.send_plain(end);
    world.host.run(&mut world.store, world.terminal.id, Event::Enrol(Box::new(enrolment)));
    let request = world.terminal.sale(PAN, 100);
    assert_eq!(world.code(request), "03", "the certificate still names the old merchant");
}

#[test]
fn capks_and_aids_are_listed_by_pages_and_ordered_until_acknowledged() {
    let mut world = World::ready();
    let ask = |world: &mut World, mti: &[u8; 4], code: u16, f62: Option<&[u8]>| {
        let request = world.terminal.management(mti, code, f62);
        match world.send_plain(request) {
            Back::Answer(body, header) => (*body, header.requirement()),
            other => panic!("{other:?}"),
        }
    };
    let (_, requirement) = ask(&mut world, b"0820", 301, None);
    assert_eq!(requirement, Requirement::UpdateCapk);
    let (first, requirement) = ask(&mut world, b"0820", 372, Some(b"100"));
    assert_eq!(requirement, Requirement::Nothing, "nothing is ordered within a download");
    let (status, keys) = parse_capk_list(first.f62.unwrap().expose()).unwrap();
    assert_eq!((status, keys.len()), (DownloadStatus::More, 12));
    let (second, _) = ask(&mut world, b"0820", 372, Some(b"112"));
    let (status, rest) = parse_capk_list(second.f62.unwrap().expose()).unwrap();
    assert_eq!((status, rest.len()), (DownloadStatus::Complete, 2));
    let (key, _) = ask(&mut world, b"0800", 370, Some(&capk_request(keys[3].rid, keys[3].index)));
    assert_eq!(Capk::parse(key.f62.unwrap().expose()).unwrap(), Some(support::capk(4)));
    let (none, _) = ask(&mut world, b"0800", 370, Some(&capk_request(keys[3].rid, 99)));
    assert_eq!(none.f62.unwrap().expose(), b"0");
    let (_, requirement) = ask(&mut world, b"0800", 371, None);
    assert_eq!(requirement, Requirement::UpdateAidParameters, "the next order follows");
    let (list, _) = ask(&mut world, b"0820", 382, Some(b"100"));
    let (_, aids) = parse_aid_list(list.f62.unwrap().expose()).unwrap();
    let (parameters, _) = ask(&mut world, b"0800", 380, Some(&iso8583::unionpay::aid_request(&aids[0])));
    assert_eq!(parameters.f62.unwrap().expose()[0], b'1');
    let (_, requirement) = ask(&mut world, b"0800", 381, None);
    assert_eq!(requirement, Requirement::Nothing);
    let (status, _) = ask(&mut world, b"0820", 362, Some(b"011021031041051"));
    assert_eq!(status.response_code, Some(*b"00"));
    let (malformed, _) = ask(&mut world, b"0820", 372, Some(b"x"));
    assert_eq!(malformed.response_code, Some(*b"30"));
}

#[test]
fn a_balanced_batch_closes_and_its_messages_may_come_again() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world, 10_000);
    sell(&mut world, 5_000);
    let void = world.terminal.void(PAN, 10_000, sale.trace.unwrap(), answer.rrn.unwrap());
    assert_eq!(world.code(void), "00");
    let (reversed, _) = sell(&mut world, 777);
    let reversal = world.terminal.reversal(&reversed, b"98");
    assert_eq!(world.code(reversal), "00");
    let totals = MinorTotals { credit_minor: 10_000, credit_count: 1, ..DEBIT(15_000, 2) };
    let (request, answer) = settle(&mut world, totals);
    assert_eq!(codes(&answer), (Reconciliation::Balanced, Reconciliation::Balanced));
    assert_eq!(answer.settlement_date, Some(*b"0315"));
    assert_eq!(world.send_plain(request.duplicate()).body().rrn, answer.rrn);
    let end = world.terminal.batch_end(207, 0);
    let end_copy = end.duplicate();
    let end_answer = world.send_plain(end).body();
    assert_eq!(end_answer.response_code, Some(*b"00"));
    let state = world.host.state(&mut world.store, world.terminal.id);
    assert_eq!((state.open_batch(), state.open.len()), (BatchNumber::new(2).unwrap(), 0));
    let closed = state.closed.unwrap();
    assert!(closed.close.host_balanced && closed.close.terminal_balanced);
    assert_eq!(closed.close.totals.domestic.debit_minor, 15_000);
    assert_eq!(world.send_plain(request).body().rrn, answer.rrn, "a copy of 0500 for the closed batch");
    assert_eq!(world.send_plain(end_copy).body().rrn, end_answer.rrn);
    let state = world.host.state(&mut world.store, world.terminal.id);
    assert_eq!(state.open_batch(), BatchNumber::new(2).unwrap(), "copies close nothing");
    assert_eq!(world.sign_in().f60.unwrap().batch(), 2);
    sell(&mut world, 1);
}

#[test]
fn a_snapshot_follows_the_close_and_restarts_start_from_it() {
    let mut world = World::ready();
    sell(&mut world, 100);
    let end = world.terminal.batch_end(202, 0);
    world.send_plain(end);
    let all = records(&world);
    assert!(all.last().unwrap().is_snapshot());
    let journal = machine::store::Store::load(&mut world.store, MachineId::of_terminal(world.terminal.id)).unwrap();
    assert_eq!((journal.records.len(), journal.last_sequence), (1, all.len() as u64));
    world.host.machines.clear();
    world.terminal.batch += 1;
    sell(&mut world, 100);
}

#[test]
fn an_unbalanced_batch_is_uploaded_and_its_differences_named() {
    let mut world = World::ready();
    let (first, _) = sell(&mut world, 10_000);
    let (second, _) = sell(&mut world, 5_000);
    let (third, _) = sell(&mut world, 300);
    let (_, answer) = settle(&mut world, DEBIT(15_001, 2));
    assert_eq!(codes(&answer), (Reconciliation::NotBalanced, Reconciliation::Balanced));
    let mut upload = world.terminal.management(b"0320", 205, None);
    upload.trace = first.trace;
    upload.pan = Some(SecretBytes::copy_from(PAN.as_bytes()));
    upload.amount_minor = Some(10_000);
    upload.icc_data = Some(support::chip(10_000, 1));
    let usage = IcUpload { card_class: CardClass::Domestic, amount_minor: 10_000, currency: *b"156", failure: None };
    upload.f62 = Some(SecretBytes::new(usage.format().unwrap()));
    assert_eq!(world.send_plain(upload).code(), "00");
    let detail = BatchDetail {
        card_class: CardClass::Domestic,
        trace: second.trace.unwrap(),
        pan: SecretBytes::copy_from(PAN.as_bytes()),
        amount_minor: 5_001,
    };
    let mut details = world.terminal.management(b"0320", 201, None);
    details.private_data = format_batch_details(&[detail]);
    assert_eq!(world.send_plain(details).code(), "00");
    let end = world.terminal.batch_end(202, 2);
    assert_eq!(world.send_plain(end).code(), "00");
    let close = world.host.state(&mut world.store, world.terminal.id).closed.unwrap().close;
    assert!(!close.host_balanced);
    let stans =
        |bodies: &[&Body]| bodies.iter().map(|body| Stan::new(body.trace.unwrap()).unwrap()).collect::<Vec<_>>();
    assert_eq!(close.not_uploaded, stans(&[&second, &third]));
    assert_eq!(world.payable(), 15_300, "an upload moves nothing");
    assert!(!world.store.bytes().windows(19).any(|window| window == PAN.as_bytes()));
}

#[test]
fn a_settlement_of_another_batch_is_an_error_and_of_a_changed_one_is_compared_anew() {
    let mut world = World::ready();
    sell(&mut world, 100);
    let (_, answer) = settle(&mut world, DEBIT(100, 1));
    assert_eq!(codes(&answer), (Reconciliation::Balanced, Reconciliation::Balanced));
    sell(&mut world, 50);
    let end = world.terminal.batch_end(207, 0);
    world.terminal.batch = 9;
    let (_, answer) = settle(&mut world, DEBIT(150, 2));
    assert_eq!(codes(&answer), (Reconciliation::Error, Reconciliation::Error));
    let wrong_end = world.terminal.batch_end(207, 0);
    assert_eq!(world.send_plain(wrong_end).code(), "77");
    assert_eq!(world.send_plain(end).code(), "00");
    let close = world.host.state(&mut world.store, world.terminal.id).closed.unwrap().close;
    assert!(close.terminal_balanced && !close.host_balanced, "booked after the comparison");
}

#[test]
fn a_batch_that_cannot_be_settled_takes_no_more() {
    let mut world = World::ready();
    world.host.restarts = false;
    for _ in 0..999 {
        sell(&mut world, 1);
    }
    world.host.restarts = true;
    let request = world.terminal.sale(PAN, 1);
    assert_eq!(world.code(request), "95");
    let (_, answer) = settle(&mut world, DEBIT(999, 999));
    assert_eq!(codes(&answer), (Reconciliation::Balanced, Reconciliation::Balanced));
    assert!(records(&world).iter().any(Record::is_snapshot), "and a long batch gets a snapshot between");
}

#[test]
fn reference_numbers_are_unique_across_terminals_and_restarts() {
    let mut world = World::ready();
    let mut seen = std::collections::BTreeSet::new();
    // The same trace numbers; a card each, for a counter pays once.
    for (name, pan) in [("22222222", PAN), ("33333333", OTHER_PAN)] {
        world.terminal = Terminal::new(name);
        world.enrol(name, name.as_bytes()[0].into());
        world.sign_in();
        for _ in 0..5 {
            world.host.machines.clear();
            let request = world.terminal.sale(pan, 1);
            let answer = world.send(request).body();
            assert_eq!(answer.response_code, Some(*b"00"));
            assert!(seen.insert(answer.rrn.unwrap()));
        }
    }
}

#[test]
fn frames_that_are_no_requests_get_30_or_a_closed_connection() {
    let mut world = World::ready();
    let request = world.terminal.sale(PAN, 100);
    let frame = world.terminal.frame(request);
    let before = world.store.journals.clone();
    for length in 0..frame.len() {
        let back = world.host.send(&mut world.store, world.terminal.peer(), frame[..length].to_vec());
        match back {
            Back::Closed => assert!(length < 13, "{length} bytes"),
            other => assert_eq!(other.code(), "30", "{length} bytes"),
        }
    }
    let mut response = world.terminal.management(b"0820", 301, None);
    response.mti = *b"0830";
    let back = world.host.send(&mut world.store, world.terminal.peer(), frame_of(&response));
    assert!(matches!(back, Back::Closed), "a response is no request");
    assert_eq!(world.store.journals, before, "and none of them is written down");
    assert_eq!(acquirer::route(&frame), Ok(world.terminal.id));
    assert!(acquirer::route(&frame[..40]).unwrap_err().answer.is_some());
    assert!(acquirer::route(&[0; 40]).unwrap_err().answer.is_none());
}

#[test]
fn failed_chip_uploads_are_looked_up_where_the_books_must_know_them() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 300);
    let stan = |number: Option<u32>| Stan::new(number.unwrap()).unwrap();
    let upload = |world: &mut World, trace: Option<u32>, amount_minor: u64, failure: IcUploadFailure| {
        let mut upload = world.terminal.management(b"0320", 204, None);
        upload.trace = trace;
        upload.amount_minor = Some(amount_minor);
        upload.pan = Some(SecretBytes::copy_from(PAN.as_bytes()));
        upload.icc_data = Some(support::chip(amount_minor, 1));
        let usage =
            IcUpload { card_class: CardClass::Domestic, amount_minor, currency: *b"156", failure: Some(failure) };
        upload.f62 = Some(SecretBytes::new(usage.format().unwrap()));
        assert_eq!(world.send_plain(upload).code(), "00");
        let Some(Record::Uploaded(upload)) = records(world).pop() else { panic!("an upload is written down") };
        (upload.entries[0].stan, upload.entries[0].agrees)
    };
    use IcUploadFailure::{Declined, IssuerAuthenticationFailed};
    let unknown = sale.trace.map(|trace| trace + 100);
    assert_eq!(upload(&mut world, unknown, 200, Declined), (stan(unknown), true), "never booked, rightly");
    assert_eq!(upload(&mut world, sale.trace, 300, IssuerAuthenticationFailed), (stan(sale.trace), true));
    assert_eq!(upload(&mut world, sale.trace, 301, IssuerAuthenticationFailed), (stan(sale.trace), false));
    assert_eq!(
        upload(&mut world, unknown, 200, IssuerAuthenticationFailed),
        (stan(unknown), false),
        "approved, they say"
    );
    assert_eq!(world.payable(), 300, "an upload moves nothing");
}
