//! Sales that a card approved without the host, and tips added to a sale.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use iso8583::unionpay::Body;
use support::{Cut, OPENING_MINOR, OTHER_PAN, PAN, World, card_file, certificate, chip, token_of};
use types::SecretBytes;

const TODAY: u16 = 315;

/// A sale that must be approved; gives its trace number and reference.
fn sell(world: &mut World, minor: u64) -> (u32, [u8; 12]) {
    let request = world.terminal.sale(PAN, minor);
    let stan = request.trace.unwrap();
    let answer = world.send(request).body();
    assert_eq!(answer.response_code, Some(*b"00"));
    (stan, answer.rrn.unwrap())
}

#[test]
fn an_uploaded_sale_is_booked_once_whatever_the_account_holds() {
    let mut world = World::ready();
    let more_than_there_is = OPENING_MINOR as u64 + 5_000;
    let request = world.terminal.offline_sale(PAN, more_than_there_is);
    let copy = request.duplicate();
    let answer = world.send(request).body();
    assert_eq!((answer.mti, answer.response_code), (*b"0210", Some(*b"00")));
    assert!(answer.authorisation_code.is_some() && answer.rrn.is_some());
    let data = answer.icc_data.unwrap();
    assert_eq!(data.expose(), [0x9F, 0x36, 2, 0, 2], "the chip is told nothing: it has spoken already");
    assert_eq!(world.card_balance(PAN), -5_000, "the card has answered for the money");
    let again = world.send(copy).body();
    assert_eq!((again.response_code, again.rrn), (Some(*b"00"), answer.rrn));
    assert_eq!((world.payable(), world.store.sum()), (more_than_there_is as i64, 0));
}

#[test]
fn only_a_right_certificate_over_the_amount_books_an_offline_sale() {
    let mut world = World::ready();
    let mut asks = world.terminal.offline_sale(PAN, 1_000);
    asks.icc_data = Some(chip(1_000, 40));
    assert_eq!(world.code(asks), "05", "an ARQC is a question");
    let mut other_amount = world.terminal.offline_sale(PAN, 1_000);
    other_amount.amount_minor = Some(1_001);
    assert_eq!(world.code(other_amount), "05", "another amount than the card signed");
    let mut forged = world.terminal.offline_sale(PAN, 1_000);
    let mut bytes = forged.icc_data.as_ref().unwrap().expose().to_vec();
    bytes[3] ^= 1;
    forged.icc_data = Some(SecretBytes::new(bytes));
    assert_eq!(world.code(forged), "05");
    let mut bare = world.terminal.offline_sale(PAN, 1_000);
    bare.icc_data = None;
    assert_eq!(world.code(bare), "30");
    assert_eq!(world.payable(), 0);
}

#[test]
fn a_certificate_pays_once() {
    let mut world = World::ready();
    let first = world.terminal.offline_sale(PAN, 1_000);
    let mut second = world.terminal.offline_sale(PAN, 1_000);
    second.icc_data = first.icc_data.as_ref().map(SecretBytes::duplicate);
    assert_eq!(world.code(first), "00");
    assert_ne!(world.code(second), "00", "the same counter of the same card under another trace number");
    assert_eq!(world.payable(), 1_000);
}

/// The terminal that cheats: the card's certificate over an approved online sale, uploaded as a sale that nobody was asked about.
#[test]
fn the_certificate_of_an_online_sale_is_no_offline_sale() {
    let mut world = World::ready();
    let online = world.terminal.sale(PAN, 1_000);
    let counter = online.trace.unwrap();
    assert_eq!(world.code(online), "00");
    let mut upload = world.terminal.offline_sale(PAN, 1_000);
    upload.icc_data = Some(certificate(1_000, counter));
    assert_eq!((world.code(upload), world.payable()), ("63".to_owned(), 1_000));
}

#[test]
fn a_card_whose_counter_pays_more_than_once_sells_only_online() {
    let mut world = World::ready();
    let mut file = card_file();
    file.atc_once = false;
    world.store.write_rows(&issuer::card_rows(&token_of(PAN), &file, None)).unwrap();
    let upload = world.terminal.offline_sale(PAN, 1_000);
    assert_eq!((world.code(upload), world.payable()), ("57".to_owned(), 0));
}

#[test]
fn an_uploaded_sale_can_be_voided_or_refunded() {
    let mut world = World::ready();
    let request = world.terminal.offline_sale(PAN, 1_000);
    let stan = request.trace.unwrap();
    let rrn = world.send(request).body().rrn.unwrap();
    let refund = world.terminal.refund(PAN, 400, rrn, TODAY);
    assert_eq!(world.code(refund), "00");
    let void = world.terminal.void(PAN, 1_000, stan, rrn);
    assert_eq!(world.code(void), "64", "not the whole any more");
    let refund = world.terminal.refund(PAN, 600, rrn, TODAY);
    assert_eq!((world.code(refund), world.payable()), ("00".to_owned(), 0));
}

#[test]
fn a_tip_is_added_once_within_its_bound() {
    let mut world = World::ready();
    let (stan, rrn) = sell(&mut world, 10_000);
    type Spoil = fn(&mut Body);
    let spoils: [(Spoil, &str); 5] = [
        (|body| body.amount_minor = Some(11_499), "64"),
        (|body| body.private_data = Some(SecretBytes::copy_from(b"000000002001")), "64"),
        (|body| body.private_data = Some(SecretBytes::copy_from(b"000000000000")), "64"),
        (|body| body.rrn = Some(*b"999999999999"), "25"),
        (|body| body.pan = Some(SecretBytes::copy_from(OTHER_PAN.as_bytes())), "12"),
    ];
    for (number, (spoil, code)) in spoils.into_iter().enumerate() {
        let mut tip = world.terminal.tip(PAN, 11_500, 1_500, stan, rrn);
        spoil(&mut tip);
        assert_eq!(world.code(tip), code, "spoil {number}");
    }
    assert_eq!(world.payable(), 10_000);
    let tip = world.terminal.tip(PAN, 11_500, 1_500, stan, rrn);
    let copy = tip.duplicate();
    assert_eq!((world.code(tip), world.code(copy)), ("00".to_owned(), "00".to_owned()));
    assert_eq!((world.payable(), world.card_balance(PAN)), (11_500, OPENING_MINOR - 11_500));
    let another = world.terminal.tip(PAN, 11_500, 1_500, stan, rrn);
    assert_eq!(world.code(another), "12", "only one");
    let totals = world.host.machines[&world.terminal.id].state().totals().unwrap().domestic;
    assert_eq!((totals.debit_minor, totals.debit_count), (11_500, 1), "one sale with its new total");
}

#[test]
fn a_void_takes_the_tip_back_too_and_a_refund_may_reach_it() {
    let mut world = World::ready();
    let (stan, rrn) = sell(&mut world, 10_000);
    let tip = world.terminal.tip(PAN, 11_000, 1_000, stan, rrn);
    assert_eq!(world.code(tip), "00");
    let old_amount = world.terminal.void(PAN, 10_000, stan, rrn);
    assert_eq!(world.code(old_amount), "64");
    let void = world.terminal.void(PAN, 11_000, stan, rrn);
    let reversal = world.terminal.reversal(&void, b"98");
    assert_eq!((world.code(void), world.payable()), ("00".to_owned(), 0));
    assert_eq!(
        (world.code(reversal), world.payable()),
        ("00".to_owned(), 11_000),
        "the void undone: sale and tip stand"
    );
    let too_much = world.terminal.refund(PAN, 11_001, rrn, TODAY);
    assert_eq!(world.code(too_much), "64");
    let refund = world.terminal.refund(PAN, 11_000, rrn, TODAY);
    assert_eq!((world.code(refund), world.payable(), world.store.sum()), ("00".to_owned(), 0, 0));
}

#[test]
fn no_tip_without_the_money_or_on_what_was_taken_back() {
    let mut world = World::ready();
    let (stan, rrn) = sell(&mut world, OPENING_MINOR as u64);
    let tip = world.terminal.tip(PAN, OPENING_MINOR as u64 + 100, 100, stan, rrn);
    assert_eq!(world.code(tip), "51");
    let void = world.terminal.void(PAN, OPENING_MINOR as u64, stan, rrn);
    assert_eq!(world.code(void), "00");
    let tip = world.terminal.tip(PAN, OPENING_MINOR as u64 + 100, 100, stan, rrn);
    assert_eq!((world.code(tip), world.payable()), ("12".to_owned(), 0));
}

#[test]
fn power_may_fail_around_the_append_of_an_upload_and_a_tip() {
    for cut in [Cut::BeforeAppend, Cut::AfterAppend] {
        let mut world = World::ready();
        let upload = world.terminal.offline_sale(PAN, 1_000);
        let (stan, copy) = (upload.trace.unwrap(), upload.duplicate());
        world.host.cut = cut;
        world.send(upload);
        world.host.cut = Cut::Never;
        let rrn = world.send(copy).body().rrn.unwrap();
        assert_eq!(world.payable(), 1_000, "{cut:?}");
        let tip = world.terminal.tip(PAN, 1_100, 100, stan, rrn);
        let copy = tip.duplicate();
        world.host.cut = cut;
        world.send(tip);
        world.host.cut = Cut::Never;
        assert_eq!((world.code(copy), world.payable()), ("00".to_owned(), 1_100), "{cut:?}");
    }
}

#[test]
fn a_sale_in_instalments_pays_the_merchant_at_once_and_is_voided_as_such() {
    let mut world = World::ready();
    let none = world.terminal.instalments(PAN, 10_000, "05");
    assert_eq!(world.code(none), "12", "five are not offered");
    let nonsense = world.terminal.instalments(PAN, 10_000, "1x");
    assert_eq!(world.code(nonsense), "30");
    let request = world.terminal.instalments(PAN, 10_000, "03");
    let (stan, copy) = (request.trace.unwrap(), request.duplicate());
    let answer = world.send(request).body();
    assert_eq!(answer.response_code, Some(*b"00"));
    let plan = answer.f62.as_ref().map(SecretBytes::expose);
    assert_eq!(plan, Some(&b"03000000003334000000003333"[..]));
    assert_eq!((world.payable(), world.card_balance(PAN)), (10_000, OPENING_MINOR - 10_000));
    let again = world.send(copy).body();
    assert_eq!((again.rrn, again.f62.as_ref().map(SecretBytes::expose)), (answer.rrn, plan));
    let rrn = answer.rrn.unwrap();
    let mut void = world.terminal.void(PAN, 10_000, stan, rrn);
    void.condition = Some(iso8583::unionpay::ConditionCode::INSTALMENT);
    let reversal = world.terminal.reversal(&void, b"98");
    assert_eq!((world.code(void), world.payable()), ("00".to_owned(), 0));
    assert_eq!((world.code(reversal), world.payable()), ("00".to_owned(), 10_000));
    let (sale, sale_rrn) = sell(&mut world, 500);
    let mut void = world.terminal.void(PAN, 500, sale, sale_rrn);
    void.condition = Some(iso8583::unionpay::ConditionCode::INSTALMENT);
    assert_eq!(world.code(void), "12", "a plain sale is no instalment sale");
    let lost = world.terminal.instalments(PAN, 600, "06");
    let reversal = world.terminal.reversal(&lost, b"98");
    assert_eq!((world.code(lost), world.code(reversal)), ("00".to_owned(), "00".to_owned()));
    assert_eq!((world.payable(), world.store.sum()), (10_500, 0));
}
