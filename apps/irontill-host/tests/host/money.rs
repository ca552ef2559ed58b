//! Payments through the whole host.

use crate::bureau::{Card, OPENING_MINOR};
use crate::system::System;
use crate::terminal::{Terminal, code};
use iso8583::unionpay::Body;
use std::sync::atomic::Ordering;
use types::{Rrn, Stan};

fn approved(terminal: &mut Terminal, request: &Body) -> Body {
    let answer = terminal.send(request).unwrap();
    assert_eq!(code(&answer), "00");
    answer
}

#[test]
fn a_chip_sale_with_pin_is_approved_booked_and_explained() {
    let card = Card::new(1);
    let system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    let sale = terminal.sale(&card, 1250);
    let answer = approved(&mut terminal, &sale);
    assert_eq!(answer.amount_minor, Some(1250));
    assert!(answer.icc_data.is_some(), "the issuer answers the chip");
    assert_eq!(system.balance("card/"), OPENING_MINOR - 1250);
    assert_eq!(system.payable(), 1250);
    let store = system.store();
    let rrn = Rrn::new(answer.rrn.unwrap()).unwrap();
    let (stan, batch) = irontill_host::find_by_rrn(&store, terminal.name, rrn).unwrap().unwrap();
    assert_eq!((stan.number(), batch), (terminal.stan, terminal.batch));
    let explanation = irontill_host::explain(&store, terminal.name, Some(batch), stan).unwrap();
    let text = format!("{explanation:?}");
    assert!(text.contains("\"ledger\"") && text.contains("MAC right"), "{text}");
    assert!(!text.contains(card.digits()), "no full PAN");
    assert_eq!(irontill_host::explain(&store, terminal.name, Some(batch + 1), stan).unwrap(), []);
    system.assert_sound();
}

#[test]
fn a_repeated_message_gets_its_answer_again_and_moves_nothing() {
    let card = Card::new(2);
    let mut system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    let sale = terminal.sale(&card, 500);
    let first = approved(&mut terminal, &sale);
    let again = approved(&mut terminal, &sale);
    assert_eq!(first.rrn, again.rrn);
    system.stop_host();
    terminal.turn_to(system.start_host());
    let after_restart = approved(&mut terminal, &sale);
    assert_eq!(first.rrn, after_restart.rrn);
    assert_eq!(system.payable(), 500);
    let mut altered = sale.duplicate();
    altered.amount_minor = Some(501);
    assert_eq!(code(&terminal.send(&altered).unwrap()), "94");
    assert_eq!(system.payable(), 500);
}

#[test]
fn a_reversal_gives_the_money_back_and_one_that_comes_first_leaves_a_tombstone() {
    let card = Card::new(3);
    let system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    let sale = terminal.sale(&card, 700);
    approved(&mut terminal, &sale);
    let reversal = terminal.reversal(&sale);
    approved(&mut terminal, &reversal);
    approved(&mut terminal, &reversal);
    assert_eq!((system.balance("card/"), system.payable()), (OPENING_MINOR, 0));
    let lost = terminal.sale(&card, 900);
    let reversal = terminal.reversal(&lost);
    assert_eq!(code(&terminal.send(&reversal).unwrap()), "25");
    assert_ne!(code(&terminal.send(&lost).unwrap()), "00", "the original comes too late");
    assert_eq!(system.balance("card/"), OPENING_MINOR);
    system.assert_sound();
}

#[test]
fn a_void_gives_a_sale_back_once() {
    let card = Card::new(4);
    let system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    let sale = terminal.sale(&card, 800);
    let answer = approved(&mut terminal, &sale);
    let void = terminal.void(&card, 800, sale.trace.unwrap(), answer.rrn.unwrap());
    approved(&mut terminal, &void);
    assert_eq!(system.payable(), 0);
    let second = terminal.void(&card, 800, sale.trace.unwrap(), answer.rrn.unwrap());
    assert_ne!(code(&terminal.send(&second).unwrap()), "00");
    system.assert_sound();
}

#[test]
fn refusals_move_no_money() {
    let (card, stranger) = (Card::new(5), Card::new(99));
    let system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    let too_much = terminal.sale(&card, u64::try_from(OPENING_MINOR).unwrap() + 1);
    assert_eq!(code(&terminal.send(&too_much).unwrap()), "51");
    let wrong_pin = terminal.sale_with_pin(&card, 100, "654321");
    assert_eq!(code(&terminal.send(&wrong_pin).unwrap()), "55");
    let unknown = terminal.sale(&stranger, 100);
    assert_eq!(code(&terminal.send(&unknown).unwrap()), "14");
    let mut other_amount = terminal.sale(&card, 100);
    other_amount.icc_data = Some(types::SecretBytes::new(card.chip_data(99)));
    assert_ne!(code(&terminal.send(&other_amount).unwrap()), "00", "the cryptogram is over another amount");
    let right = terminal.sale(&card, 100);
    approved(&mut terminal, &right);
    assert_eq!(system.payable(), 100);
    system.assert_sound();
}

#[test]
fn bad_frames_get_their_code_or_a_closed_connection_and_no_one_else_notices() {
    let card = Card::new(6);
    let system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    let mut other = system.terminal("87654321");
    let sale = terminal.sale(&card, 100);
    let mut forged = sale.duplicate();
    forged.mac = Some(*b"00000000");
    assert_eq!(code(&terminal.send_plain(&forged).unwrap()), "A0");
    let mut foreign = other.sale(&card, 100);
    foreign.terminal_id = Some(*terminal.name.bytes());
    assert_eq!(code(&other.send(&foreign).unwrap()), "97");
    let mut foreign = other.sale(&card, 100);
    foreign.merchant_id = Some(*b"999999999999999");
    assert_eq!(code(&other.send(&foreign).unwrap()), "03");
    for garbage in [&b"\0\x05hello"[..], b"\0\x01\0", b"\0\x0D\x60\0\x03\0\0\x60\x31\0\x31\0\0\x02\0"] {
        let _ = other.exchange_raw(garbage);
    }
    assert!(system.logged("message.format"));
    approved(&mut terminal, &sale);
    assert_eq!(system.payable(), 100);
    assert!(system.lines.lock().unwrap().iter().all(|line| !line.contains(card.digits())), "no line holds a PAN");
}

#[test]
fn a_restarted_host_goes_on_where_it_was() {
    let card = Card::new(7);
    let mut system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    for minor in [10, 20, 30] {
        let sale = terminal.sale(&card, minor);
        approved(&mut terminal, &sale);
        system.stop_host();
        terminal.turn_to(system.start_host());
    }
    assert_eq!(system.payable(), 60);
    let stan = Stan::new(2).unwrap();
    assert_eq!(irontill_host::explain(&system.store(), terminal.name, None, stan).unwrap().len(), 1);
    system.assert_sound();
}

#[test]
fn without_keys_nothing_is_approved_and_afterwards_everything_works_again() {
    let card = Card::new(8);
    let system = System::start(&[&card]);
    let mut terminal = system.terminal("12345678");
    system.keys_gone.store(true, Ordering::SeqCst);
    let sale = terminal.sale(&card, 100);
    let refused = terminal.send_plain(&sale);
    assert!(refused.is_err() || refused.is_ok_and(|answer| code(&answer) != "00"));
    system.keys_gone.store(false, Ordering::SeqCst);
    assert_eq!(terminal.sign_in().unwrap(), "00");
    let sale = terminal.sale(&card, 100);
    approved(&mut terminal, &sale);
    assert_eq!(system.payable(), 100);
}
