//! QR payments: a code pays once, an order ends once, whoever comes when.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use acquirer::{
    Order, OrderRefused, PeerIdentity, Record, SPACE_ORDER, SPACE_ORDER_END, Status, order_code, refused_by,
    voucher_code,
};
use iso8583::unionpay::{
    Body, ConditionCode, Entry, EntryMode, F60, F61, MinorTotals, PinEntry, ProcessingCode, Reconciliation, Tag59,
    Totals, format_tags59, parse_tags59,
};
use issuer::wallet::{GivenCode, PAYMENT_CODE_VALID_MS, WalletFile, wallet_account, wallet_rows};
use ledger::Account;
use machine::store::Store;
use machine::wire::Encode;
use support::{Cut, World, merchant, terminal};
use types::{Currency, InstitutionId, PaymentCode, Rrn, SecretBytes, Stan, WalletNumber};

const CODE: &str = "6212345678901234567";
const OTHER_CODE: &str = "6299999999999999999";
const OPENING_MINOR: i64 = 200_000;
const ASK_ABOVE_MINOR: u64 = 50_000;

fn wallet(number: u32) -> WalletNumber {
    WalletNumber::new(number).unwrap()
}

const BUYER: u32 = 10_000_001;
const STRANGER: u32 = 10_000_002;

fn file() -> WalletFile {
    WalletFile {
        issuer: InstitutionId::parse("03080000").unwrap(),
        name: "buyer".to_owned(),
        active: true,
        currency: Currency::CNY,
        floor_minor: 0,
        single_limit_minor: 150_000,
        ask_above_minor: ASK_ABOVE_MINOR,
    }
}

/// A world with two wallets, and a fresh code in the buyer's hand.
fn world() -> World {
    let mut world = World::ready();
    for number in [BUYER, STRANGER] {
        let opening = Some((format!("wallet/{number}/opening"), OPENING_MINOR));
        world.store.write_rows(&wallet_rows(wallet(number), &file(), opening)).unwrap();
    }
    give(&mut world, CODE);
    world
}

fn give(world: &mut World, code: &str) {
    let given = GivenCode { wallet: wallet(BUYER), given_ms: world.host.now.wall_ms };
    world.store.write_rows(&given.rows(&PaymentCode::parse(code).unwrap())).unwrap();
}

fn balance(world: &World, number: u32) -> i64 {
    world.store.balance(&wallet_account(wallet(number)))
}

fn field_59(tag: &[u8; 2], value: &str) -> Option<SecretBytes> {
    Some(SecretBytes::new(format_tags59(&[Tag59 { tag: *tag, value: value.as_bytes() }]).unwrap()))
}

fn scanned(world: &mut World, mti: &[u8; 4], code: ProcessingCode, type_code: u8) -> Body {
    let mut body = world.terminal.base(mti);
    body.processing_code = Some(code);
    body.entry_mode = Some(EntryMode::new(Entry::QrCode, PinEntry::Absent));
    body.condition = Some(ConditionCode::NORMAL);
    body.currency = Some(*b"156");
    body.f60 = Some(F60::financial(type_code, world.terminal.batch, 0, 6, 0));
    body
}

fn sale(world: &mut World, code: &str, minor: u64) -> Body {
    let mut body = scanned(world, b"0200", ProcessingCode::SALE, 22);
    body.amount_minor = Some(minor);
    body.custom = field_59(b"A3", code);
    body
}

fn order(world: &mut World, minor: u64) -> Body {
    let mut body = scanned(world, b"0200", ProcessingCode::QR_ORDER, 22);
    body.amount_minor = Some(minor);
    body
}

fn void(world: &mut World, minor: u64, stan: u32, answer: &Body) -> Body {
    let mut body = scanned(world, b"0200", ProcessingCode::VOID_OR_REFUND, 23);
    body.amount_minor = Some(minor);
    body.rrn = answer.rrn;
    body.f61 = Some(F61::original(world.terminal.batch, stan));
    body.custom = field_59(b"A4", &tag(answer, b"A4").unwrap());
    body
}

fn refund(world: &mut World, minor: u64, rrn: [u8; 12], voucher: &str) -> Body {
    let mut body = scanned(world, b"0220", ProcessingCode::VOID_OR_REFUND, 25);
    body.amount_minor = Some(minor);
    body.rrn = Some(rrn);
    body.f61 = Some(F61::dated(0, 0, 315));
    body.f63 = Some(b"CUP".to_vec());
    body.custom = field_59(b"A4", voucher);
    body
}

fn query(world: &mut World, stan: u32, code: &str) -> Body {
    let mut body = scanned(world, b"0200", ProcessingCode::QR_QUERY, 60);
    body.f61 = Some(F61::dated(world.terminal.batch, stan, 315));
    body.custom = field_59(b"A3", code);
    body
}

fn tag(body: &Body, name: &[u8; 2]) -> Option<String> {
    let field = body.custom.as_ref()?;
    let tags = parse_tags59(field.expose()).unwrap();
    tags.iter().find(|tag| tag.tag == *name).map(|tag| String::from_utf8(tag.value.to_vec()).unwrap())
}

fn code_of(body: &Body) -> String {
    String::from_utf8(body.response_code.unwrap().to_vec()).unwrap()
}

/// What a wallet's owner does on the phone, in another process.
fn pay(world: &mut World, code: &str, number: u32) -> Result<(), OrderRefused> {
    let code = PaymentCode::parse(code).unwrap();
    let stored = world.store.find(SPACE_ORDER, code.expose().as_bytes()).unwrap().expect("the order");
    let order = Order::from_bytes(&stored).unwrap();
    let rows = order.payment(&code, (wallet(number), &file()), world.host.now.wall_ms)?;
    world.store.write_rows(&rows).map_err(|failure| refused_by(&failure).expect("one of the payment's guards"))
}

#[test]
fn a_scanned_code_pays_at_once_and_once() {
    let mut world = world();
    let request = sale(&mut world, CODE, 1_250);
    let answer = world.send(request.duplicate()).body();
    assert_eq!(code_of(&answer), "00");
    assert_eq!(answer.authorisation_code, None, "QR payments have no F38");
    assert_eq!(answer.f63, Some(b"CUP".to_vec()));
    assert!(answer.additional_response.unwrap().starts_with(b"03080000"));
    let voucher = voucher_code(world.host.civil(), &Rrn::new(answer.rrn.unwrap()).unwrap());
    assert_eq!((voucher.len(), &voucher[..8]), (20, "20260315"));
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR - 1_250, 1_250));
    let again = world.send(request).body();
    assert_eq!((code_of(&again).as_str(), again.rrn, tag(&again, b"A4")), ("00", answer.rrn, Some(voucher)));
    let second = sale(&mut world, CODE, 1_250);
    assert_eq!(world.code(second), "63", "a code pays once");
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR - 1_250, 1_250));
}

#[test]
fn a_code_that_is_strange_old_or_from_the_future_pays_nothing() {
    let mut world = world();
    let unknown = sale(&mut world, OTHER_CODE, 100);
    assert_eq!(world.code(unknown), "14");
    world.host.now.wall_ms += PAYMENT_CODE_VALID_MS + 1;
    let old = sale(&mut world, CODE, 100);
    assert_eq!(world.code(old), "54");
    world.host.now.wall_ms -= PAYMENT_CODE_VALID_MS * 3;
    let early = sale(&mut world, CODE, 100);
    assert_eq!(world.code(early), "54");
    let mut short = sale(&mut world, CODE, 100);
    short.custom = field_59(b"A3", "62123");
    assert_eq!(world.code(short), "14");
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR, 0));
}

#[test]
fn a_wallet_pays_no_more_than_it_has_and_may() {
    let mut world = world();
    let above_limit = sale(&mut world, CODE, 150_001);
    assert_eq!(world.code(above_limit), "61");
    world.store.write_rows(&wallet_rows(wallet(BUYER), &file(), Some(("less".to_owned(), -199_000)))).unwrap();
    let above_balance = sale(&mut world, CODE, 1_001);
    assert_eq!(world.code(above_balance), "51");
    let all = sale(&mut world, CODE, 1_000);
    assert_eq!(world.code(all), "00", "a declined try does not use the code up");
    assert_eq!(balance(&world, BUYER), 0);
    give(&mut world, OTHER_CODE);
    let closed = WalletFile { active: false, ..file() };
    world.store.write_rows(&wallet_rows(wallet(BUYER), &closed, None)).unwrap();
    let restricted = sale(&mut world, OTHER_CODE, 1);
    assert_eq!(world.code(restricted), "62");
}

#[test]
fn above_the_wallets_bound_its_owner_is_asked_and_the_query_hears_of_it() {
    let mut world = world();
    let request = sale(&mut world, CODE, ASK_ABOVE_MINOR + 1);
    let stan = world.terminal.stan;
    let answer = world.send(request).body();
    assert_eq!((code_of(&answer).as_str(), tag(&answer, b"A4")), ("09", None));
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR, 0), "nothing has moved");
    let early = query(&mut world, stan, CODE);
    assert_eq!(world.code(early), "09");
    let second = sale(&mut world, CODE, 100);
    assert_eq!(world.code(second), "63", "the code waits for its owner's word and pays nothing else");

    assert_eq!(pay(&mut world, CODE, STRANGER), Err(OrderRefused::OtherWallet));
    assert_eq!(pay(&mut world, CODE, BUYER), Ok(()));
    assert_eq!(pay(&mut world, CODE, BUYER), Err(OrderRefused::Paid));
    let asked = query(&mut world, stan, CODE);
    let told = world.send(asked).body();
    assert_eq!((code_of(&told).as_str(), told.rrn, told.amount_minor), ("00", answer.rrn, Some(ASK_ABOVE_MINOR + 1)));
    assert!(tag(&told, b"A4").is_some() && told.f63 == Some(b"CUP".to_vec()));
    assert_eq!(balance(&world, BUYER), OPENING_MINOR - i64::try_from(ASK_ABOVE_MINOR + 1).unwrap());
    let again = query(&mut world, stan, CODE);
    assert_eq!(world.code(again), "00");
}

#[test]
fn whoever_scans_an_order_pays_it_and_the_batch_counts_it() {
    let mut world = world();
    let request = order(&mut world, 880);
    let stan = world.terminal.stan;
    let answer = world.send(request.duplicate()).body();
    let code = tag(&answer, b"A3").expect("the code to show");
    assert_eq!((code_of(&answer).as_str(), code.len()), ("09", 19));
    assert_eq!(order_code(world.host.civil(), &Rrn::new(answer.rrn.unwrap()).unwrap()).unwrap().expose(), code);
    let copy = world.send(request.duplicate()).body();
    assert_eq!(tag(&copy, b"A3").as_ref(), Some(&code), "a copy names the same order");
    let end = world.terminal.batch_end(207, 0);
    assert_ne!(world.send_plain(end).code(), "00", "a batch does not close over an open order");

    assert_eq!(pay(&mut world, &code, STRANGER), Ok(()));
    let asked = query(&mut world, stan, &code);
    let told = world.send(asked).body();
    let voucher = tag(&told, b"A4").unwrap();
    assert_eq!((code_of(&told).as_str(), told.rrn), ("00", answer.rrn));
    assert_eq!((balance(&world, STRANGER), world.payable()), (OPENING_MINOR - 880, 880));
    let late_copy = world.send(request).body();
    assert_eq!((code_of(&late_copy).as_str(), tag(&late_copy, b"A4")), ("00", Some(voucher)));

    let paid = MinorTotals { debit_minor: 880, debit_count: 1, ..MinorTotals::ZERO };
    let totals = Totals { domestic: paid, foreign: MinorTotals::ZERO };
    let settlement = world.terminal.settlement(&totals);
    let answered = world.send_plain(settlement).body();
    let codes = Totals::parse(answered.private_data.unwrap().expose()).unwrap();
    assert_eq!(codes.domestic.reconciliation, Reconciliation::Balanced);
    let end = world.terminal.batch_end(207, 0);
    assert_eq!(world.send_plain(end).code(), "00");
}

#[test]
fn a_closed_or_expired_order_is_not_paid() {
    let mut world = world();
    let request = order(&mut world, 880);
    let answer = world.send(request.duplicate()).body();
    let code = tag(&answer, b"A3").unwrap();
    let reversal = world.terminal.reversal(&request, b"98");
    assert_eq!(world.code(reversal.duplicate()), "00");
    assert_eq!(pay(&mut world, &code, STRANGER), Err(OrderRefused::Closed));
    assert_eq!(world.code(reversal), "00", "a copy of the reversal");
    assert_eq!(world.code(request), "12", "the order does not open again");

    let second = order(&mut world, 880);
    let answer = world.send(second).body();
    world.host.now.wall_ms += acquirer::ORDER_VALID_MS + 1;
    assert_eq!(pay(&mut world, &tag(&answer, b"A3").unwrap(), STRANGER), Err(OrderRefused::Expired));
    assert_eq!((balance(&world, STRANGER), world.payable()), (OPENING_MINOR, 0));
}

/// The buyer pays between the till's decision to give up and the host's append: what was paid is given back.
#[test]
fn payment_and_reversal_race_and_one_of_them_wins() {
    for queried in [false, true] {
        let mut world = world();
        let request = order(&mut world, 880);
        let stan = world.terminal.stan;
        let answer = world.send(request.duplicate()).body();
        let code = tag(&answer, b"A3").unwrap();
        assert_eq!(pay(&mut world, &code, STRANGER), Ok(()));
        if queried {
            let asked = query(&mut world, stan, &code);
            assert_eq!(world.code(asked), "00");
        }
        assert_eq!(world.payable(), 880);
        let reversal = world.terminal.reversal(&request, b"98");
        let failures = world.host.guard_failures;
        assert_eq!(world.code(reversal.duplicate()), "00");
        assert_eq!(world.host.guard_failures, failures + usize::from(!queried), "the store says who was first");
        assert_eq!(world.code(reversal), "00");
        assert_eq!((balance(&world, STRANGER), world.payable()), (OPENING_MINOR, 0), "queried: {queried}");
        let state = world.host.state(&mut world.store, terminal("12345678"));
        assert_eq!(state.decision(Stan::new(stan).unwrap()).unwrap().1, Status::Reversed);
        assert_eq!(state.totals().unwrap(), ledger::BatchTotals::default());
        let asked = query(&mut world, stan, &code);
        assert_eq!(world.code(asked), "12");
        assert_eq!(pay(&mut world, &code, STRANGER), Err(OrderRefused::Paid), "it ended once");
    }
}

#[test]
fn power_cuts_around_the_learning_of_a_payment_change_nothing() {
    for cut in [Cut::BeforeAppend, Cut::AfterAppend] {
        let mut world = world();
        let request = order(&mut world, 880);
        let stan = world.terminal.stan;
        let answer = world.send(request).body();
        let code = tag(&answer, b"A3").unwrap();
        pay(&mut world, &code, BUYER).unwrap();
        world.host.cut = cut;
        let asked = query(&mut world, stan, &code);
        let _ = world.send(asked.duplicate());
        world.host.cut = Cut::Never;
        assert_eq!(world.code(asked), "00", "{cut:?}");
        assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR - 880, 880));
    }
}

#[test]
fn a_void_takes_back_a_scanned_sale_and_a_paid_order() {
    let mut world = world();
    let request = sale(&mut world, CODE, 1_250);
    let scanned_stan = world.terminal.stan;
    let scanned_answer = world.send(request).body();
    let other_voucher = {
        let mut body = void(&mut world, 1_250, scanned_stan, &scanned_answer);
        body.custom = field_59(b"A4", "20260315999999999999");
        body
    };
    assert_eq!(world.code(other_voucher), "25");
    let request = void(&mut world, 1_250, scanned_stan, &scanned_answer);
    let voided = world.send(request.duplicate()).body();
    assert_eq!(code_of(&voided), "00");
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR, 0));
    let second = void(&mut world, 1_250, scanned_stan, &scanned_answer);
    assert_eq!(world.code(second), "12");
    let reversal = world.terminal.reversal(&request, b"98");
    assert_eq!(world.code(reversal), "00");
    assert_eq!(balance(&world, BUYER), OPENING_MINOR - 1_250, "the sale stands again");

    let request = order(&mut world, 880);
    let stan = world.terminal.stan;
    let answer = world.send(request).body();
    let code = tag(&answer, b"A3").unwrap();
    pay(&mut world, &code, STRANGER).unwrap();
    let asked = query(&mut world, stan, &code);
    let told = world.send(asked).body();
    let request = void(&mut world, 880, stan, &told);
    assert_eq!(world.code(request), "00");
    assert_eq!(balance(&world, STRANGER), OPENING_MINOR);
}

#[test]
fn a_card_void_and_a_qr_void_do_not_take_each_others_sales() {
    let mut world = world();
    let request = sale(&mut world, CODE, 1_250);
    let stan = world.terminal.stan;
    let answer = world.send(request).body();
    let by_card = world.terminal.void(support::PAN, 1_250, stan, answer.rrn.unwrap());
    assert_eq!(world.code(by_card), "12");
    let by_card = world.terminal.refund(support::PAN, 1_250, answer.rrn.unwrap(), 315);
    assert_eq!(world.code(by_card), "12");
    let card_sale = world.terminal.sale(support::PAN, 500);
    let card_stan = world.terminal.stan;
    let card_answer = world.send(card_sale).body();
    let voucher = voucher_code(world.host.civil(), &Rrn::new(card_answer.rrn.unwrap()).unwrap());
    let mut by_code = void(&mut world, 500, card_stan, &answer);
    by_code.rrn = card_answer.rrn;
    assert_eq!(world.code(by_code), "12");
    let by_code = refund(&mut world, 500, card_answer.rrn.unwrap(), &voucher);
    assert_eq!(world.code(by_code), "12");
    assert_eq!(world.payable(), 1_750);
}

#[test]
fn refunds_stay_within_the_payment_by_reference_or_by_voucher_alone() {
    let mut world = world();
    let request = sale(&mut world, CODE, 1_000);
    let answer = world.send(request).body();
    let voucher = tag(&answer, b"A4").unwrap();
    let first = refund(&mut world, 400, answer.rrn.unwrap(), &voucher);
    assert_eq!(world.code(first.duplicate()), "00");
    assert_eq!(world.code(first), "00", "a copy");
    let second = refund(&mut world, 600, *b"000000000000", &voucher);
    assert_eq!(world.code(second), "00");
    let third = refund(&mut world, 1, answer.rrn.unwrap(), &voucher);
    assert_eq!(world.code(third), "64", "nothing is left");
    let wrong = refund(&mut world, 1, answer.rrn.unwrap(), "20260314000001000002");
    assert_eq!(world.code(wrong), "25");
    let unknown = refund(&mut world, 1, *b"000000000000", "20260315999999999999");
    assert_eq!(world.code(unknown), "25");
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR, 0));
}

#[test]
fn queries_name_their_payment_or_hear_nothing() {
    let mut world = world();
    let request = sale(&mut world, CODE, 1_000);
    let stan = world.terminal.stan;
    assert_eq!(world.code(request), "00");
    let other_code = query(&mut world, stan, OTHER_CODE);
    assert_eq!(world.code(other_code), "25");
    let other_stan = query(&mut world, stan + 5, CODE);
    assert_eq!(world.code(other_stan), "25");
    let mut other_batch = query(&mut world, stan, CODE);
    other_batch.f61 = Some(F61::dated(world.terminal.batch + 1, stan, 315));
    assert_eq!(world.code(other_batch), "25");
    let declined = sale(&mut world, OTHER_CODE, 1_000);
    let declined_stan = world.terminal.stan;
    assert_eq!(world.code(declined), "14");
    let asked = query(&mut world, declined_stan, OTHER_CODE);
    assert_eq!(world.code(asked), "14", "a query tells the state of the original");
}

#[test]
fn a_reversal_before_its_order_leaves_a_tombstone() {
    let mut world = world();
    let request = order(&mut world, 880);
    let reversal = world.terminal.reversal(&request, b"98");
    assert_eq!(world.code(reversal), "25");
    assert_eq!(world.code(request), "12");
    let code = sale(&mut world, CODE, 880);
    let reversal = world.terminal.reversal(&code, b"98");
    assert_eq!(world.code(reversal), "25");
    assert_eq!(world.code(code), "12");
    assert_eq!(balance(&world, BUYER), OPENING_MINOR);
}

#[test]
fn every_record_is_explained_with_masked_codes() {
    let mut world = world();
    let request = order(&mut world, 880);
    let stan = world.terminal.stan;
    let answer = world.send(request).body();
    let code = tag(&answer, b"A3").unwrap();
    let asked = query(&mut world, stan, &code);
    let _ = world.send(asked);
    pay(&mut world, &code, BUYER).unwrap();
    let asked = query(&mut world, stan, &code);
    let _ = world.send(asked);
    let scanned = sale(&mut world, CODE, 1);
    let _ = world.send(scanned);
    let journal = &world.store.journals[&machine::MachineId::of_terminal(terminal("12345678"))];
    let records: Vec<Record> = journal.iter().map(|(bytes, _)| Record::from_bytes(bytes).unwrap()).collect();
    let text: String =
        records.iter().flat_map(acquirer::explain).map(|(topic, line)| format!("{topic}: {line}\n")).collect();
    for wanted in
        ["order paid", "queried", "wallet: whoever scans the code", "paid by: wallet 10000001", "wallet/10000001"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(!text.contains(CODE) && !text.contains(&code), "{text}");
}

#[test]
fn nobody_pays_at_a_terminal_that_may_not_sell() {
    let mut world = world();
    let peer = PeerIdentity { terminal: terminal("87654321"), merchant: merchant() };
    let request = sale(&mut world, CODE, 100);
    let frame = world.terminal.frame(request);
    let _ = world.host.send(&mut world.store, peer, frame);
    assert!(!world.store.facts.keys().any(|(space, _)| space == SPACE_ORDER_END));
    assert_eq!(world.store.balance(&Account::MerchantPayable(merchant())), 0);
}

#[test]
fn risk_rules_know_a_wallet_again_and_forget_what_still_waits() {
    let mut world = world();
    let mut config = acquirer::HostConfig::clone(&world.host.config);
    config.policies.standard.rules = acquirer::RuleUse::Refuse;
    world.host.config = std::sync::Arc::new(config);
    world.host.machines.clear();
    let velocity = |measure| {
        let velocity = risk::Velocity { measure, scope: risk::Scope::Card, kind: None, minutes: 60 };
        let number = risk::Number::Velocity(Box::new(velocity));
        risk::Truth::Compare(risk::Comparison::GreaterOrEqual, number, risk::Number::Constant(1))
    };
    let rule = |id: &str, measure, refusal| risk::Rule {
        id: id.to_owned(),
        when: velocity(measure),
        refusal: Some(refusal),
        reason: risk::Reason::default(),
        exceptions: Vec::new(),
    };
    world.host.rules = risk::RuleSet {
        version: 1,
        rules: vec![
            rule("declined", risk::VelocityMeasure::Declined, risk::Answer::Suspected),
            rule("again", risk::VelocityMeasure::Count, risk::Answer::Frequency),
        ],
    };
    let waiting = sale(&mut world, CODE, ASK_ABOVE_MINOR + 1);
    assert_eq!(code_of(&world.send(waiting).body()), "09", "its owner is asked");
    let mut paid = |code: &str| {
        give(&mut world, code);
        let request = sale(&mut world, code, 1_250);
        code_of(&world.send(request).body())
    };
    assert_eq!(paid("6212345678901234568"), "00", "what waits is not declined");
    assert_eq!(paid("6212345678901234569"), "65", "the same wallet by another code");
    assert_eq!(paid("6212345678901234570"), "59", "and it was declined");
    assert_eq!((balance(&world, BUYER), world.payable()), (OPENING_MINOR - 1_250, 1_250));
}
