//! Reversals, tombstones and script notices.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use iso8583::unionpay::{Body, F60, F61};
use support::{Cut, OPENING_MINOR, OTHER_PAN, PAN, Terminal, WRONG_PIN, World, with_pin};
use types::SecretBytes;

fn sell(world: &mut World, minor: u64) -> (Body, Body) {
    let request = world.terminal.sale(PAN, minor);
    let copy = request.duplicate();
    let answer = world.send(request).body();
    assert_eq!(answer.response_code, Some(*b"00"));
    (copy, answer)
}

fn reverse(world: &mut World, original: &Body) -> Body {
    let reversal = world.terminal.reversal(original, b"98");
    world.send(reversal).body()
}

fn code(body: &Body) -> &str {
    core::str::from_utf8(body.response_code.as_ref().unwrap()).unwrap()
}

/// Settles the open batch as balanced and follows the host into the next.
fn close_batch(world: &mut World) {
    let end = world.terminal.batch_end(202, 0);
    assert_eq!(world.send_plain(end).code(), "00");
    world.terminal.batch += 1;
}

#[test]
fn a_reversal_gives_the_money_back_once_and_every_copy_gets_the_same_answer() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 1_250);
    let first = reverse(&mut world, &sale);
    assert_eq!((code(&first), first.mti), ("00", *b"0410"));
    assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR, 0));
    for reason in [b"98", b"A0", b"06"] {
        let copy = world.terminal.reversal(&sale, reason);
        assert_eq!(world.send(copy).body().rrn, first.rrn);
    }
    assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR, 0));
}

#[test]
fn a_reversed_sale_that_comes_again_is_not_approved_again() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 1_250);
    reverse(&mut world, &sale);
    assert_eq!(world.send(sale).code(), "12");
    assert_eq!(world.payable(), 0);
}

#[test]
fn a_reversal_that_comes_first_refuses_its_original_for_ever() {
    let mut world = World::ready();
    let sale = world.terminal.sale(PAN, 1_250);
    let answer = reverse(&mut world, &sale);
    assert_eq!(code(&answer), "25");
    assert_eq!(world.send(sale.duplicate()).code(), "12");
    assert_eq!(reverse(&mut world, &sale).rrn, answer.rrn);
    world.host.machines.clear();
    assert_eq!(world.send(sale.duplicate()).code(), "12", "after a restart too");
    assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR, 0));
}

/// The tombstone is a row of its own: a host that does not know it must still refuse.
#[test]
fn a_tombstone_written_by_another_host_holds() {
    let mut world = World::ready();
    let mut second = support::Host::new();
    second.state(&mut world.store, world.terminal.id);
    let sale = world.terminal.sale(PAN, 1_250);
    assert_eq!(code(&reverse(&mut world, &sale)), "25");
    let frame = world.terminal.frame(sale);
    let back = second.send(&mut world.store, world.terminal.peer(), frame);
    assert_eq!(back.code(), "12");
    assert_eq!(world.payable(), 0);
}

#[test]
fn reversing_what_moved_no_money_is_done_at_once() {
    let mut world = World::ready();
    let mut declined = world.terminal.sale(PAN, 100);
    with_pin(&mut declined, WRONG_PIN);
    let copy = declined.duplicate();
    assert_eq!(world.code(declined), "55");
    assert_eq!(code(&reverse(&mut world, &copy)), "00");
    let balance = world.terminal.balance(PAN);
    let mut copy = balance.duplicate();
    assert_eq!(world.code(balance), "00");
    copy.amount_minor = Some(0);
    assert_eq!(code(&reverse(&mut world, &copy)), "12", "a balance inquiry is not reversed");
}

#[test]
fn a_reversal_of_something_else_is_refused_and_moves_nothing() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 1_250);
    type Change = fn(&mut Body);
    let changes: [Change; 2] =
        [|body| body.amount_minor = Some(1_251), |body| body.pan = Some(SecretBytes::copy_from(OTHER_PAN.as_bytes()))];
    for change in changes {
        let mut other = sale.duplicate();
        change(&mut other);
        assert_eq!(code(&reverse(&mut world, &other)), "94");
    }
    assert_eq!(world.payable(), 1_250);
    let mut without_pan = sale.duplicate();
    without_pan.pan = None;
    assert_eq!(code(&reverse(&mut world, &without_pan)), "00", "a swiped card's reversal has no F2");
    assert_eq!(world.payable(), 0);
}

#[test]
fn reversing_a_void_lets_the_sale_stand_again() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world, 1_250);
    let void = world.terminal.void(PAN, 1_250, sale.trace.unwrap(), answer.rrn.unwrap());
    let copy = void.duplicate();
    assert_eq!(world.code(void), "00");
    assert_eq!(world.payable(), 0);
    assert_eq!(code(&reverse(&mut world, &copy)), "00");
    assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR - 1_250, 1_250));
    let again = world.terminal.void(PAN, 1_250, sale.trace.unwrap(), answer.rrn.unwrap());
    assert_eq!(world.code(again), "00", "and may be voided again");
    assert_eq!(code(&reverse(&mut world, &sale)), "00", "a voided sale has nothing left to reverse");
    assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR, 0));
}

#[test]
fn a_reversed_sale_is_neither_voided_nor_refunded() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world, 1_250);
    assert_eq!(code(&reverse(&mut world, &sale)), "00");
    let void = world.terminal.void(PAN, 1_250, sale.trace.unwrap(), answer.rrn.unwrap());
    assert_eq!(world.code(void), "25");
    let refund = world.terminal.refund(PAN, 1, answer.rrn.unwrap(), 315);
    assert_eq!(world.code(refund), "64");
    assert_eq!(world.payable(), 0);
}

#[test]
fn a_reversal_of_a_closed_batch_is_not_answered_77() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 1_250);
    close_batch(&mut world);
    let first = reverse(&mut world, &sale);
    assert_eq!(code(&first), "00");
    assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR, 0));
    assert_eq!(reverse(&mut world, &sale).rrn, first.rrn);
    assert_eq!(world.payable(), 0);
    let mut never_came = sale.duplicate();
    never_came.trace = Some(900);
    let answer = reverse(&mut world, &never_came);
    assert_eq!(code(&answer), "25");
    assert_eq!(reverse(&mut world, &never_came).rrn, answer.rrn);
    let mut late = sale.duplicate();
    late.mac = None;
    assert_eq!(world.code(late), "77", "but a sale of a closed batch is");
}

#[test]
fn what_a_closed_batch_voided_or_refunded_is_not_given_back_again() {
    let mut world = World::ready();
    let (voided, answer) = sell(&mut world, 1_000);
    let void = world.terminal.void(PAN, 1_000, voided.trace.unwrap(), answer.rrn.unwrap());
    assert_eq!(world.code(void), "00");
    let (refunded, answer) = sell(&mut world, 1_000);
    let refund = world.terminal.refund(PAN, 1, answer.rrn.unwrap(), 315);
    assert_eq!(world.code(refund), "00");
    close_batch(&mut world);
    for sale in [&voided, &refunded] {
        assert_eq!(code(&reverse(&mut world, sale)), "12");
        assert_eq!(code(&reverse(&mut world, sale)), "12");
    }
    assert_eq!(world.payable(), 999);
}

#[test]
fn a_crash_around_a_reversal_gives_the_money_back_once() {
    for cut in [Cut::BeforeAppend, Cut::AfterAppend] {
        let mut world = World::ready();
        let (sale, _) = sell(&mut world, 1_250);
        let reversal = world.terminal.reversal(&sale, b"98");
        world.host.cut = cut;
        world.send(reversal);
        world.host.cut = Cut::Never;
        assert_eq!(code(&reverse(&mut world, &sale)), "00");
        assert_eq!((world.card_balance(PAN), world.payable()), (OPENING_MINOR, 0));
    }
}

#[test]
fn a_reversal_after_a_new_sign_in_works_and_before_it_asks_for_one() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 1_250);
    let off = world.terminal.management(b"0820", 2, None);
    assert_eq!(world.send_plain(off).code(), "00");
    let reversal = world.terminal.reversal(&sale, b"98");
    assert_eq!(world.send(reversal).code(), "77");
    world.sign_in();
    assert_eq!(code(&reverse(&mut world, &sale)), "00");
    assert_eq!(world.payable(), 0);
}

#[test]
fn another_terminal_cannot_reverse_it() {
    let mut world = World::ready();
    let (sale, _) = sell(&mut world, 1_250);
    world.terminal = Terminal::new("22222222");
    world.enrol("22222222", 2);
    world.sign_in();
    let mut theirs = sale.duplicate();
    theirs.terminal_id = Some(*world.terminal.id.bytes());
    assert_eq!(code(&reverse(&mut world, &theirs)), "25");
    assert_eq!(world.payable(), 1_250);
}

#[test]
fn a_script_result_is_taken_down_once() {
    let mut world = World::ready();
    let (sale, answer) = sell(&mut world, 1_250);
    let mut notice = world.terminal.base(b"0620");
    notice.processing_code = sale.processing_code;
    notice.amount_minor = sale.amount_minor;
    notice.entry_mode = sale.entry_mode;
    notice.rrn = answer.rrn;
    notice.f60 = Some(F60::financial(0, world.terminal.batch, 951, 5, 0));
    notice.f61 = Some(F61::dated(1, sale.trace.unwrap(), 315));
    notice.icc_data = Some(SecretBytes::copy_from(&[0xDF, 0x31, 5, 0x20, 0, 0, 0, 9]));
    let copy = notice.duplicate();
    let first = world.send(notice).body();
    assert_eq!((code(&first), first.mti), ("00", *b"0630"));
    assert_eq!(world.send(copy.duplicate()).body().rrn, first.rrn);
    let mut other = copy;
    other.rrn = Some(*b"000000000000");
    assert_eq!(world.send(other).code(), "94");
    let key = |entry: &acquirer::Entry| match &entry.stored {
        acquirer::Stored::ScriptNotice(notice) => Some(notice.results.clone()),
        _ => None,
    };
    let state = world.host.state(&mut world.store, world.terminal.id);
    assert_eq!(state.open.values().find_map(key), Some(vec![0x20, 0, 0, 0, 9]));
}
