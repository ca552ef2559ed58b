//! Electronic signatures at the host: what is taken, once, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use acquirer::{Record, SPACE_SIGNATURE};
use iso8583::unionpay::Body;
use machine::MachineId;
use machine::store::Store;
use machine::wire::Encode;
use support::{Cut, PAN, World};
use types::SecretBytes;

/// 384 by 120 points.
fn image(last: u8) -> Vec<u8> {
    vec![0, 0, 1, 0, 0, 0, 1, 0x80, 0, 0, 0, 120, 0, 0, 0, 120, 0, 0, 0, 0x40, last]
}

fn sell(world: &mut World) -> (Body, Body) {
    let request = world.terminal.sale(PAN, 1250);
    let copy = request.duplicate();
    let answer = world.send(request).body();
    assert_eq!(answer.response_code, Some(*b"00"));
    (copy, answer)
}

/// The signature of a sale, ready for the MAC.
fn signature(world: &mut World, sale: &Body, answer: &Body, image: &[u8]) -> Body {
    let mut request = world.terminal.management(b"0820", 800, None);
    request.f60 = Some(iso8583::unionpay::F60::management(7, sale.f60.unwrap().batch(), 800));
    request.pan = sale.pan.as_ref().map(SecretBytes::duplicate);
    request.amount_minor = sale.amount_minor;
    request.trace = sale.trace;
    request.settlement_date = answer.settlement_date;
    request.rrn = answer.rrn;
    request.icc_data = Some(SecretBytes::copy_from(b"\xFF\x02\x01\x01\xFF\x0A\x03156"));
    request.f62 = Some(SecretBytes::copy_from(image));
    request
}

fn signed_records(world: &World) -> Vec<acquirer::Signature> {
    let journal = &world.store.journals[&MachineId::of_terminal(world.terminal.id)];
    let records = journal.iter().map(|(bytes, _)| Record::from_bytes(bytes).unwrap());
    let signed = records.filter_map(|record| match record {
        Record::Signed(signature) => Some(*signature),
        _ => None,
    });
    signed.collect()
}

#[test]
fn a_signature_is_taken_down_once_beside_its_transaction() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world);
    for time in 0..3 {
        let request = signature(&mut world, &sale, &answer, &image(1));
        // Also checks the answer's MAC.
        let back = world.send(request).body();
        assert_eq!((back.mti, back.response_code, back.rrn), (*b"0830", Some(*b"00"), answer.rrn), "time {time}");
        assert!(back.mac.is_some() && back.pan.is_none() && back.amount_minor.is_none());
        world.host.machines.clear();
    }
    let [signed] = &signed_records(&world)[..] else { panic!("once") };
    assert_eq!((signed.image.clone(), signed.intent.stan.number()), (image(1), sale.trace.unwrap()));
    let digits = |bytes: &[u8]| u32::from_str_radix(core::str::from_utf8(bytes).unwrap(), 16).unwrap();
    let rrn = answer.rrn.unwrap();
    let head = [&answer.settlement_date.unwrap()[..], &rrn[..4]].concat();
    assert_eq!(signed.feature_code, Some((digits(&head) ^ digits(&rrn[4..])).to_be_bytes()));
    let found = world.store.find(SPACE_SIGNATURE, &signed.intent.key()).unwrap().unwrap();
    assert_eq!(acquirer::Signature::from_bytes(&found).as_ref(), Ok(signed));
    let record = Record::Signed(Box::new(signed.clone()));
    let told = acquirer::explain(&record);
    let line = ("electronic signature".to_owned(), "the cardholder's, 384 by 120 points, 21 bytes".to_owned());
    assert!(told.contains(&line) && told.iter().any(|(topic, _)| topic == "feature code"), "{told:?}");
    let bytes = record.to_bytes();
    assert!((1..bytes.len()).all(|length| Record::from_bytes(&bytes[..length]).is_err()));
    assert_eq!(world.payable(), 1250, "it moves nothing");
}

#[test]
fn another_signature_of_the_same_transaction_is_a_duplicate() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world);
    let first = signature(&mut world, &sale, &answer, &image(1));
    assert_eq!(world.code(first), "00");
    let second = signature(&mut world, &sale, &answer, &image(2));
    assert_eq!(world.code(second), "94");
    assert_eq!(signed_records(&world)[0].image, image(1), "the first one stands");
}

#[test]
fn a_signature_of_nothing_is_refused() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world);
    let wrong = |world: &mut World, change: fn(&mut Body)| {
        let mut request = signature(world, &sale, &answer, &image(1));
        change(&mut request);
        world.code(request)
    };
    assert_eq!(wrong(&mut world, |body| body.trace = body.trace.map(|trace| trace + 500)), "25");
    assert_eq!(wrong(&mut world, |body| body.rrn = Some(*b"000001999999")), "25");
    assert_eq!(wrong(&mut world, |body| body.amount_minor = Some(1251)), "25");
    assert_eq!(wrong(&mut world, |body| body.f62 = Some(SecretBytes::copy_from(b"no image at all, certainly"))), "30");
    assert_eq!(wrong(&mut world, |body| body.icc_data = Some(SecretBytes::copy_from(b"\x9F\x02\x00"))), "30");
    let reversal = world.terminal.reversal(&sale, b"98");
    assert_eq!(world.code(reversal), "00");
    assert_eq!(wrong(&mut world, |_| {}), "25", "a reversed sale has no signature");
    assert!(signed_records(&world).is_empty());
}

#[test]
fn a_signature_without_its_mac_is_none() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world);
    let mut request = signature(&mut world, &sale, &answer, &image(1));
    request.mac = None;
    assert_eq!(world.send_plain(request).code(), "30");
    let mut forged = signature(&mut world, &sale, &answer, &image(1));
    forged.mac = Some(*b"00000000");
    assert_eq!(world.send_plain(forged).code(), "A0");
    assert!(signed_records(&world).is_empty());
}

#[test]
fn a_host_that_loses_power_takes_it_once() {
    for cut in [Cut::BeforeAppend, Cut::AfterAppend] {
        let mut world = World::ready();
        let (sale, answer) = sell(&mut world);
        world.host.cut = cut;
        let request = signature(&mut world, &sale, &answer, &image(1));
        let _ = world.send(request);
        world.host.cut = Cut::Never;
        let again = signature(&mut world, &sale, &answer, &image(1));
        assert_eq!(world.code(again), "00", "{cut:?}");
        assert_eq!(signed_records(&world).len(), 1);
    }
}
