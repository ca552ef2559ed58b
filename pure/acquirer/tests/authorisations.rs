//! Pre-authorisations: a hold, and its one end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use acquirer::Record;
use iso8583::unionpay::Body;
use machine::wire::Encode;
use support::{Back, Cut, OPENING_MINOR, OTHER_PAN, PAN, Terminal, WRONG_PIN, World, terminal, with_pin};

const TODAY: u16 = 315;
const VOID: u8 = 11;
const COMPLETION: u8 = 20;
const NOTICE: u8 = 24;

/// A pre-authorisation that must be approved; gives the request and the answer.
fn authorise(world: &mut World, minor: u64) -> (Body, Body) {
    let request = world.terminal.pre_authorisation(PAN, minor);
    let copy = request.duplicate();
    let answer = world.send(request).body();
    assert_eq!(answer.response_code, Some(*b"00"));
    (copy, answer)
}

fn end(world: &mut World, type_code: u8, minor: u64, authorised: &Body) -> (Body, Body) {
    let request = world.terminal.ending(type_code, PAN, minor, authorised.authorisation_code.unwrap(), TODAY);
    let copy = request.duplicate();
    (copy, world.send(request).body())
}

fn code(body: &Body) -> &str {
    core::str::from_utf8(body.response_code.as_ref().unwrap()).unwrap()
}

fn reverse(world: &mut World, original: &Body) -> String {
    let reversal = world.terminal.reversal(original, b"98");
    world.code(reversal)
}

/// What the card may spend, what the merchant is owed.
fn books(world: &World) -> (i64, i64) {
    (world.card_balance(PAN), world.payable())
}

fn close_batch(world: &mut World) {
    let end = world.terminal.batch_end(202, 0);
    assert_eq!(world.send_plain(end).code(), "00");
    world.terminal.batch += 1;
}

#[test]
fn a_pre_authorisation_holds_money_and_owes_nobody() {
    let mut world = World::ready();
    let (request, answer) = authorise(&mut world, 10_000);
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0));
    assert_eq!((answer.mti, answer.trace, answer.amount_minor), (*b"0110", request.trace, Some(10_000)));
    assert!(answer.authorisation_code.is_some() && answer.icc_data.is_some());
    assert_eq!(answer.f60.unwrap().digits(), b"1000000100060");
    let sale = world.terminal.sale(PAN, 90_001);
    assert_eq!(world.code(sale), "51", "what is held cannot be spent");
    let too_much = world.terminal.pre_authorisation(PAN, 90_001);
    assert_eq!(world.code(too_much), "51", "nor held again");
    let mut wrong_pin = world.terminal.pre_authorisation(PAN, 1);
    with_pin(&mut wrong_pin, WRONG_PIN);
    assert_eq!(world.code(wrong_pin), "55");
    let again = world.send(request).body();
    assert_eq!((again.rrn, again.authorisation_code), (answer.rrn, answer.authorisation_code));
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0));
}

#[test]
fn a_void_sets_the_money_free_once() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    let part = end(&mut world, VOID, 9_999, &authorised).1;
    assert_eq!(code(&part), "64", "the whole amount or nothing");
    let (request, answer) = end(&mut world, VOID, 10_000, &authorised);
    assert_eq!((code(&answer), answer.mti), ("00", *b"0110"));
    assert_eq!(world.send(request).body().rrn, answer.rrn);
    assert_eq!(code(&end(&mut world, VOID, 10_000, &authorised).1), "12");
    assert_eq!(code(&end(&mut world, COMPLETION, 10_000, &authorised).1), "12");
    assert_eq!(books(&world), (OPENING_MINOR, 0));
}

#[test]
fn a_completion_takes_what_is_asked_and_frees_the_rest() {
    for type_code in [COMPLETION, NOTICE] {
        let mut world = World::ready();
        let (_, authorised) = authorise(&mut world, 10_000);
        let (request, answer) = end(&mut world, type_code, 8_000, &authorised);
        assert_eq!(code(&answer), "00");
        assert_eq!(answer.authorisation_code, authorised.authorisation_code, "the promise that it redeems");
        assert_eq!(books(&world), (OPENING_MINOR - 8_000, 8_000));
        assert_eq!(world.send(request).body().rrn, answer.rrn, "a copy is answered again");
        for again in [COMPLETION, NOTICE, VOID] {
            let minor = if again == VOID { 10_000 } else { 1 };
            assert_eq!(code(&end(&mut world, again, minor, &authorised).1), "12", "one end");
        }
        let refund = world.terminal.refund(PAN, 8_000, answer.rrn.unwrap(), TODAY);
        assert_eq!(world.code(refund), "00", "a completion is refunded like a sale");
        assert_eq!(books(&world), (OPENING_MINOR, 0));
    }
}

#[test]
fn a_completion_is_bounded_and_needs_the_money_above_the_hold() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    assert_eq!(code(&end(&mut world, COMPLETION, 11_501, &authorised).1), "64");
    let sale = world.terminal.sale(PAN, 89_000);
    assert_eq!(world.code(sale), "00");
    assert_eq!(code(&end(&mut world, COMPLETION, 11_001, &authorised).1), "51", "one more than there is");
    assert_eq!(code(&end(&mut world, COMPLETION, 11_000, &authorised).1), "00", "a refusal ends nothing");
    assert_eq!(books(&world), (0, 100_000));
}

#[test]
fn only_the_right_card_code_date_and_merchant_find_it() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    let right = authorised.authorisation_code.unwrap();
    for (pan, code, date) in [(OTHER_PAN, right, TODAY), (PAN, *b"0000Z0", TODAY), (PAN, right, TODAY + 1)] {
        let request = world.terminal.ending(COMPLETION, pan, 10_000, code, date);
        assert_eq!(world.code(request), "25");
    }
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0));
    for strip in [|body: &mut Body| body.authorisation_code = None, |body: &mut Body| body.f61 = None] {
        let mut request = world.terminal.ending(COMPLETION, PAN, 10_000, right, TODAY);
        strip(&mut request);
        assert_eq!(world.code(request), "30");
    }
}

#[test]
fn a_later_batch_and_another_terminal_of_the_merchant_may_end_it() {
    let mut world = World::ready();
    let (_, first) = authorise(&mut world, 10_000);
    let (_, second) = authorise(&mut world, 20_000);
    close_batch(&mut world);
    world.host.now.wall_ms += 86_400_000;
    assert_eq!(code(&end(&mut world, COMPLETION, 10_000, &first).1), "00");
    world.terminal = Terminal::new("22222222");
    world.enrol("22222222", 2);
    world.sign_in();
    assert_eq!(code(&end(&mut world, COMPLETION, 10_000, &first).1), "12", "completed elsewhere");
    assert_eq!(code(&end(&mut world, VOID, 20_000, &second).1), "00");
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 10_000));
}

#[test]
fn an_old_authorisation_can_be_voided_still() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    world.host.now.wall_ms += 30 * 86_400_000 + 1;
    assert_eq!(code(&end(&mut world, VOID, 10_000, &authorised).1), "00");
    assert_eq!(books(&world), (OPENING_MINOR, 0));
}

#[test]
fn a_hold_that_nobody_ended_is_released_with_the_next_message_after_its_time() {
    let mut world = World::ready();
    let (_, first) = authorise(&mut world, 10_000);
    world.host.now.wall_ms += 10 * 86_400_000;
    close_batch(&mut world);
    let (_, second) = authorise(&mut world, 500);
    let void = world.terminal.ending(VOID, PAN, 500, second.authorisation_code.unwrap(), TODAY + 10);
    let copy = void.duplicate();
    assert_eq!(world.code(void), "00");
    world.host.now.wall_ms += 20 * 86_400_000;
    assert_eq!(world.card_balance(PAN), OPENING_MINOR - 10_000, "held for thirty days");
    world.host.now.wall_ms += 1;
    assert_eq!(code(&end(&mut world, COMPLETION, 10_000, &first).1), "12", "too late");
    assert_eq!(books(&world), (OPENING_MINOR, 0), "and released behind that answer");
    assert_eq!(code(&end(&mut world, VOID, 10_000, &first).1), "12", "once");
    assert_eq!(reverse(&mut world, &copy), "00", "a hold placed again counts from then");
    world.host.now.wall_ms += 30 * 86_400_000;
    sell(&mut world);
    assert_eq!(books(&world), (OPENING_MINOR - 501, 1));
    world.host.now.wall_ms += 1;
    sell(&mut world);
    assert_eq!(books(&world), (OPENING_MINOR - 2, 2));
}

#[test]
fn a_hold_that_another_terminal_ended_is_forgotten_without_a_posting() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    let first = world.terminal.clone();
    world.terminal = Terminal::new("22222222");
    world.enrol("22222222", 2);
    world.sign_in();
    assert_eq!(code(&end(&mut world, COMPLETION, 9_000, &authorised).1), "00");
    world.terminal = first;
    world.host.now.wall_ms += 31 * 86_400_000;
    assert_eq!(world.host.state(&mut world.store, terminal("12345678")).holds.len(), 1);
    sell(&mut world);
    assert!(world.host.state(&mut world.store, terminal("12345678")).holds.is_empty());
    assert_eq!(books(&world), (OPENING_MINOR - 9_001, 9_001));
}

fn sell(world: &mut World) {
    let sale = world.terminal.sale(PAN, 1);
    assert_eq!(world.code(sale), "00");
}

#[test]
fn a_completion_void_gives_the_whole_back_and_the_authorisation_stays_ended() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    let (request, answer) = end(&mut world, COMPLETION, 11_000, &authorised);
    let stan = request.trace.unwrap();
    let part = world.terminal.completion_void(PAN, 10_999, stan, &answer);
    assert_eq!(world.code(part), "64");
    let plain = world.terminal.void(PAN, 11_000, stan, answer.rrn.unwrap());
    assert_eq!(world.code(plain), "12", "a sale void is for sales");
    let void = world.terminal.completion_void(PAN, 11_000, stan, &answer);
    let copy = void.duplicate();
    assert_eq!(world.code(void), "00");
    assert_eq!(books(&world), (OPENING_MINOR, 0));
    let again = world.terminal.completion_void(PAN, 11_000, stan, &answer);
    assert_eq!(world.code(again), "12");
    assert_eq!(code(&end(&mut world, COMPLETION, 10_000, &authorised).1), "12");
    assert_eq!(reverse(&mut world, &copy), "00", "the void's own reversal lets the completion stand again");
    assert_eq!(books(&world), (OPENING_MINOR - 11_000, 11_000));
}

#[test]
fn every_reversal_restores_what_was_before() {
    let mut world = World::ready();
    let (request, authorised) = authorise(&mut world, 10_000);
    let (completion, _) = end(&mut world, COMPLETION, 8_000, &authorised);
    assert_eq!(reverse(&mut world, &completion), "00");
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0), "the hold stands again");
    assert_eq!(world.send(completion.duplicate()).code(), "12", "a late copy is not booked again");
    let (void, answer) = end(&mut world, VOID, 10_000, &authorised);
    assert_eq!(code(&answer), "00");
    assert_eq!(reverse(&mut world, &void), "00");
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0));
    let (again, answer) = end(&mut world, COMPLETION, 9_000, &authorised);
    assert_eq!(code(&answer), "00", "completed after all");
    assert_eq!(reverse(&mut world, &again), "00");
    assert_eq!(reverse(&mut world, &request), "00");
    assert_eq!(books(&world), (OPENING_MINOR, 0));
    assert_eq!(code(&end(&mut world, COMPLETION, 1, &authorised).1), "12");
    let (notice, _) = {
        let (_, other) = authorise(&mut world, 500);
        end(&mut world, NOTICE, 500, &other)
    };
    assert_eq!(reverse(&mut world, &notice), "25", "a notice is never reversed: under 0200 there is no such message");
    assert_eq!(books(&world), (OPENING_MINOR - 500, 500));
}

#[test]
fn a_reversal_of_an_earlier_batch_and_a_tombstone_work_for_holds_too() {
    let mut world = World::ready();
    let (request, authorised) = authorise(&mut world, 10_000);
    let (completion, _) = end(&mut world, COMPLETION, 8_000, &authorised);
    close_batch(&mut world);
    assert_eq!(reverse(&mut world, &request), "12", "its hold was taken up: nothing is left to undo");
    assert_eq!(reverse(&mut world, &completion), "00");
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0));
    let late = world.terminal.pre_authorisation(PAN, 300);
    let copy = late.duplicate();
    assert_eq!(reverse(&mut world, &late), "25");
    assert_eq!(world.code(copy), "12");
    assert_eq!(books(&world), (OPENING_MINOR - 10_000, 0));
}

#[test]
fn a_crash_on_either_side_of_the_append_holds_and_completes_once() {
    for cut in [Cut::BeforeAppend, Cut::AfterAppend] {
        let mut world = World::ready();
        world.host.cut = cut;
        let request = world.terminal.pre_authorisation(PAN, 10_000);
        let copy = request.duplicate();
        assert!(matches!(world.send(request), Back::Nothing));
        world.host.cut = Cut::Never;
        let authorised = world.send(copy).body();
        assert_eq!(code(&authorised), "00");
        world.host.cut = cut;
        let request = world.terminal.ending(NOTICE, PAN, 9_000, authorised.authorisation_code.unwrap(), TODAY);
        let copy = request.duplicate();
        assert!(matches!(world.send(request), Back::Nothing));
        world.host.cut = Cut::Never;
        assert_eq!(world.send(copy).code(), "00");
        assert_eq!(books(&world), (OPENING_MINOR - 9_000, 9_000));
    }
}

#[test]
fn completions_are_settled_and_authorisations_are_not() {
    let mut world = World::ready();
    let (_, first) = authorise(&mut world, 10_000);
    let (_, second) = authorise(&mut world, 500);
    authorise(&mut world, 700);
    let (request, answer) = end(&mut world, COMPLETION, 11_000, &first);
    end(&mut world, NOTICE, 400, &second);
    let totals = world.host.state(&mut world.store, terminal("12345678")).totals().unwrap();
    assert_eq!((totals.domestic.debit_minor, totals.domestic.debit_count), (11_400, 2));
    let void = world.terminal.completion_void(PAN, 11_000, request.trace.unwrap(), &answer);
    assert_eq!(world.code(void), "00");
    let totals = world.host.state(&mut world.store, terminal("12345678")).totals().unwrap();
    assert_eq!((totals.domestic.debit_minor, totals.domestic.debit_count), (11_400, 2));
    assert_eq!((totals.domestic.credit_minor, totals.domestic.credit_count), (11_000, 1));
}

#[test]
fn the_bit_map_forbids_each_of_the_family() {
    for (bit, type_code) in [(2, 10), (3, VOID), (4, COMPLETION), (5, 21), (11, NOTICE)] {
        let mut world = World::ready();
        let (_, authorised) = authorise(&mut world, 100);
        let (done, answer) = end(&mut world, COMPLETION, 100, &authorised);
        let (_, other) = authorise(&mut world, 100);
        let mut enrolment = world.host.state(&mut world.store, terminal("12345678")).enrolment.unwrap();
        enrolment.allowed = !(1 << (32 - bit));
        world.host.run(&mut world.store, terminal("12345678"), acquirer::Event::Enrol(Box::new(enrolment)));
        world.sign_in();
        let request = match type_code {
            10 => world.terminal.pre_authorisation(PAN, 100),
            21 => world.terminal.completion_void(PAN, 100, done.trace.unwrap(), &answer),
            _ => world.terminal.ending(type_code, PAN, 100, other.authorisation_code.unwrap(), TODAY),
        };
        assert_eq!(world.code(request), "58", "bit {bit}");
    }
}

/// Every record of the family comes back, and a decision of 0.1.0's kinds has no byte more than it had.
#[test]
fn records_of_the_family_come_back() {
    let mut world = World::ready();
    let (_, authorised) = authorise(&mut world, 10_000);
    let (completion, _) = end(&mut world, COMPLETION, 8_000, &authorised);
    reverse(&mut world, &completion);
    let (void, _) = end(&mut world, VOID, 10_000, &authorised);
    reverse(&mut world, &void);
    let journal = &world.store.journals[&machine::MachineId::of_terminal(terminal("12345678"))];
    for (bytes, _) in journal {
        let record = Record::from_bytes(bytes).unwrap();
        assert_eq!(&record.to_bytes(), bytes);
        assert!((1..bytes.len()).all(|length| Record::from_bytes(&bytes[..length]).is_err()), "{}", record.name());
        assert!(!acquirer::explain(&record).is_empty());
    }
}
