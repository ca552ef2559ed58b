//! Bytes nobody should send: an answer or a closed connection, never a panic, never money.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use acquirer::{Event, Record, State};
use machine::wire::Encode;
use proptest::prelude::*;
use support::{OPENING_MINOR, PAN, World, terminal};

fn sale_frame() -> (World, Vec<u8>) {
    let mut world = World::ready();
    let request = world.terminal.sale(PAN, 1_250);
    let frame = world.terminal.frame(request);
    (world, frame)
}

fn deliver(world: &mut World, frame: Vec<u8>) -> usize {
    let event = Event::Request { connection: 1, peer: world.terminal.peer(), frame };
    world.host.run(&mut world.store, terminal("12345678"), event).len()
}

/// Every kind of record that the machine writes.
fn every_record() -> Vec<Record> {
    let mut world = World::ready();
    let sale = world.terminal.sale(PAN, 1_250);
    let copy = sale.duplicate();
    let answer = world.send(sale).body();
    world.send(copy.duplicate());
    let void = world.terminal.void(PAN, 1_250, copy.trace.unwrap(), answer.rrn.unwrap());
    let void_copy = void.duplicate();
    world.send(void);
    let reversal = world.terminal.reversal(&void_copy, b"98");
    world.send(reversal);
    let mut never_came = copy.duplicate();
    never_came.trace = Some(700);
    let reversal = world.terminal.reversal(&never_came, b"98");
    world.send(reversal);
    let mut wrong = world.terminal.sale(PAN, 100);
    support::with_pin(&mut wrong, support::WRONG_PIN);
    world.send(wrong);
    let mut foreign = world.terminal.sale(PAN, 100);
    foreign.f60 = foreign.f60.map(|f60| f60.with_batch(99));
    world.send(foreign);
    for (mti, code, f62) in [(b"0800", 371, None), (b"0820", 362, Some(&b"011"[..])), (b"0800", 381, None)] {
        let request = world.terminal.management(mti, code, f62);
        world.send_plain(request);
    }
    let zero = iso8583::unionpay::MinorTotals::ZERO;
    let settlement = world.terminal.settlement(&iso8583::unionpay::Totals { domestic: zero, foreign: zero });
    world.send_plain(settlement);
    let mut upload = world.terminal.management(b"0320", 203, Some(b"6100000000000001250156"));
    upload.amount_minor = Some(1_250);
    world.send_plain(upload);
    let end = world.terminal.batch_end(202, 1);
    world.send_plain(end);
    world.rotate_master_key(2);
    let off = world.terminal.management(b"0820", 2, None);
    world.send_plain(off);
    let journal = &world.store.journals[&machine::MachineId::of_terminal(terminal("12345678"))];
    journal.iter().map(|(bytes, _)| Record::from_bytes(bytes).unwrap()).collect()
}

/// Records that version 0.1.0 wrote, one a line in hexadecimal. They must open in every later version.
const RECORDS_0_1_0: &str = include_str!("fixtures/records-0.1.0.hex");

#[test]
fn records_of_released_versions_open_and_come_back() {
    let mut state = State::default();
    let mut kinds = std::collections::BTreeSet::new();
    for line in RECORDS_0_1_0.lines() {
        let bytes: Vec<u8> = line
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let record = Record::from_bytes(&bytes).unwrap();
        state.apply(record.clone());
        kinds.insert(record.name());
        match record {
            // Written in a newer shape today, which says the same.
            Record::SignedIn { .. } | Record::StatusReported { .. } | Record::Snapshot(_) => {
                assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
            }
            _ => assert_eq!(record.to_bytes(), bytes, "{}", record.name()),
        }
    }
    assert_eq!(kinds.len(), 13);
    assert_eq!(state.open_batch().number(), 2);
}

#[test]
fn no_truncated_or_altered_record_panics_and_no_truncated_one_decodes() {
    let records = every_record();
    let names: std::collections::BTreeSet<_> = records.iter().map(Record::name).collect();
    assert_eq!(names.len(), 14, "every kind but the script result: {names:?}");
    for record in records {
        let bytes = record.to_bytes();
        for length in 0..bytes.len() {
            assert!(Record::from_bytes(&bytes[..length]).is_err(), "{} cut to {length}", record.name());
        }
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 0x81;
            if let Ok(other) = Record::from_bytes(&altered) {
                acquirer::explain(&other);
                State::default().apply(other);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_an_answer_or_a_closed_connection(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut world = World::ready();
        prop_assert_eq!(deliver(&mut world, bytes), 1);
        prop_assert_eq!(world.payable(), 0);
    }

    #[test]
    fn a_sale_with_flipped_bits_moves_nothing(flips in proptest::collection::vec((11_usize..400, 0_u8..8), 1..4)) {
        let (mut world, frame) = sale_frame();
        let mut altered = frame.clone();
        for (index, bit) in flips {
            let index = index.min(frame.len() - 1);
            altered[index] ^= 1 << bit;
        }
        prop_assert_eq!(deliver(&mut world, altered.clone()), 1);
        if altered != frame {
            prop_assert_eq!((world.payable(), world.card_balance(PAN)), (0, OPENING_MINOR));
        }
    }

    #[test]
    fn authentic_nonsense_moves_nothing_it_should_not(
        mti in prop_oneof![Just(b"0200"), Just(b"0220"), Just(b"0400"), Just(b"0620"), Just(b"0100"), Just(b"0320")],
        type_code in prop_oneof![Just(1_u8), Just(22), Just(23), Just(25), 0_u8..64],
        code in prop_oneof![Just(*b"000000"), Just(*b"200000"), Just(*b"310000")],
        amount in 0_u64..3_000,
        stan in 0_u32..6,
        rrn in proptest::option::of(Just(*b"000001000002")),
        original in proptest::option::of((0_u32..3, 0_u32..6, 0_u16..400)),
    ) {
        let mut world = World::ready();
        let first = world.terminal.sale(PAN, 1_250);
        world.send(first);
        let mut body = world.terminal.sale(PAN, amount);
        body.mti = *mti;
        body.trace = Some(stan);
        body.processing_code = Some(iso8583::unionpay::ProcessingCode(code));
        body.f60 = Some(iso8583::unionpay::F60::financial(type_code, 1, if mti == b"0620" { 951 } else { 0 }, 6, 0));
        body.rrn = rrn;
        body.f61 = original.map(|(batch, stan, date)| iso8583::unionpay::F61::dated(batch, stan, date));
        body.f63 = Some(b"CUP".to_vec());
        body.response_code = (mti == b"0400").then_some(*b"98");
        for _ in 0..3 {
            let frame = world.terminal.frame(body.duplicate());
            prop_assert_eq!(deliver(&mut world, frame), 1);
        }
        let moved = world.payable();
        let allowed = [0, 1_250, 1_250 + i64::try_from(amount).unwrap(), 1_250 - i64::try_from(amount).unwrap()];
        prop_assert!(allowed.contains(&moved) && moved >= 0, "{} minor units", moved);
        prop_assert_eq!(world.card_balance(PAN), OPENING_MINOR - moved);
    }
}
