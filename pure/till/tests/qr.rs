//! QR payments at the till: a buyer's code that is scanned, an order that a buyer scans, and every way in which the wait may end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use machine::wire::Encode;
use till::{
    Event, Operation, OperatorCommand, OutcomeStatus, Record, Screen, Transaction, TransactionKind, TransactionOutcome,
    TransactionStatus,
};
use types::{LocalDate, PaymentCode, ResponseCode};
use world::host::{Buyer, ORDER_CODE};
use world::{Fault, World, config, yuan};

const CODE: &str = "6212345678901234567";

fn scan(world: &mut World, amount: &str) -> TransactionOutcome {
    world.command(OperatorCommand::QrSale { amount: yuan(amount), code: PaymentCode::parse(CODE).unwrap() });
    world.outcome(Operation::QrSale).clone()
}

fn show(world: &mut World, amount: &str) -> TransactionOutcome {
    world.command(OperatorCommand::QrOrder { amount: yuan(amount) });
    world.outcome(Operation::QrOrder).clone()
}

fn slip(world: &World) -> String {
    world.prints.last().expect("a slip").render(48)
}

fn last(world: &World) -> &Transaction {
    world.till.transactions().next_back().expect("a payment")
}

fn journal_text(world: &World) -> String {
    world.journal.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

#[test]
fn a_scanned_code_pays_and_its_slip_says_what_a_refund_needs() {
    let mut world = World::ready();
    let outcome = scan(&mut world, "12.50");
    assert_eq!((outcome.status, outcome.card), (OutcomeStatus::Approved, None));
    let voucher = outcome.voucher_code.expect("F59 A4");
    let text = slip(&world);
    assert!(text.contains("621234*********4567 /Q") && text.contains(&voucher), "{text}");
    assert!(text.contains("扫码消费(QR SALE)") && text.contains("付款凭证号"), "{text}");
    let merchant = world.prints.first().expect("the merchant's copy").render(48);
    assert!(merchant.contains("扫码交易") && merchant.contains("免签名"), "{merchant}");
    assert!(!text.contains(CODE) && !merchant.contains("SIGNATURE:"), "{merchant}");
    world.assert_agreement();
    assert_eq!(last(&world).template.custom, None, "a code that has paid is not kept");
    let snapshot = Record::Snapshot { state: Box::new(world.till.state().clone()) }.to_bytes();
    assert!(!String::from_utf8_lossy(&snapshot).contains(CODE));
    assert!(world.sent.iter().all(|name| name != "0200/60/000"), "an answer at once needs no query");
}

#[test]
fn a_buyer_who_is_asked_is_waited_for() {
    let mut world = World::ready();
    world.host.buyers = vec![Buyer::PaysAtQuery(3)];
    let began = world.now.monotonic_ms;
    let outcome = scan(&mut world, "600.00");
    assert_eq!(outcome.status, OutcomeStatus::Approved);
    assert_eq!((world.host.queries.len(), world.now.monotonic_ms - began), (3, 15_000), "every five seconds");
    assert_eq!(outcome.rrn, Some(world.host.bookings.values().next().unwrap().rrn), "the payment's own number");
    assert!(outcome.voucher_code.is_some());
    let waiting = world.screens.iter().filter(|screen| matches!(screen, Screen::AwaitingPayer { code: None, .. }));
    assert_eq!(waiting.count(), 3);
    world.assert_agreement();
}

#[test]
fn a_buyer_who_is_asked_in_vain_is_given_up_after_twelve_queries() {
    let mut world = World::ready();
    world.host.buyers = vec![Buyer::Leaves];
    let outcome = scan(&mut world, "600.00");
    assert_eq!(outcome.status, OutcomeStatus::Reversing);
    assert_eq!(world.host.queries.len(), 12);
    let reversal = last(&world);
    assert_eq!(reversal.reversal_reason, Some(ResponseCode::NO_REPLY));
    assert_eq!(reversal.status, TransactionStatus::Reversed);
    assert_eq!(reversal.template.custom, None);
    world.assert_agreement();
    assert_eq!(world.host.net_minor(), 0);
}

#[test]
fn an_order_is_shown_until_somebody_pays_it() {
    let mut world = World::ready();
    world.host.buyers = vec![Buyer::PaysAtQuery(2)];
    let outcome = show(&mut world, "8.80");
    assert_eq!((outcome.status, outcome.card), (OutcomeStatus::Approved, None));
    let shown: Vec<_> = world
        .screens
        .iter()
        .filter_map(|screen| match screen {
            Screen::AwaitingPayer { code: Some(code), seconds_left, .. } => {
                Some((code.expose().to_owned(), *seconds_left))
            }
            _ => None,
        })
        .collect();
    assert_eq!(shown, [(ORDER_CODE.to_owned(), 120), (ORDER_CODE.to_owned(), 115)]);
    let query = &world.host.queries[0].template;
    assert_eq!(query.custom, world::host::field_59("A3", ORDER_CODE));
    let text = slip(&world);
    assert!(text.contains("付款码 PAYMENT CODE") && !text.contains("000000***"), "{text}");
    world.assert_agreement();
}

#[test]
fn an_order_that_nobody_pays_is_closed() {
    let mut world = World::ready();
    for buyer in [Buyer::Leaves, Buyer::PaysTooLate] {
        world.host.buyers = vec![buyer];
        world.host.queries.clear();
        assert_eq!(show(&mut world, "8.80").status, OutcomeStatus::Reversing, "{buyer:?}");
        assert_eq!(world.host.queries.len(), 24);
        assert_eq!(last(&world).status, TransactionStatus::Reversed);
        world.assert_agreement();
        assert_eq!(world.host.net_minor(), 0);
    }
}

/// Lets the till come to its wait, then has the cashier cancel.
fn cancel_while_waiting(world: &mut World, command: OperatorCommand, in_query: bool) {
    world.queue.push_back(Event::Operator(command));
    world.run_for(1_000);
    if in_query {
        world.faults = [Fault::Silent].into();
        world.run_for(6_000);
    }
    assert!(!world.till.is_idle());
    world.command(OperatorCommand::Cancel);
}

#[test]
fn the_cashier_may_stop_waiting_and_what_is_paid_meanwhile_goes_back() {
    for in_query in [false, true] {
        for buyer in [Buyer::Leaves, Buyer::PaysTooLate] {
            let mut world = World::ready();
            world.host.buyers = vec![buyer];
            cancel_while_waiting(&mut world, OperatorCommand::QrOrder { amount: yuan("8.80") }, in_query);
            assert_eq!(world.outcome(Operation::QrOrder).status, OutcomeStatus::Reversing);
            assert_eq!(last(&world).status, TransactionStatus::Reversed);
            assert!(last(&world).message.en.contains("stopped waiting"), "{:?}", last(&world).message);
            world.assert_agreement();
            assert_eq!(world.host.net_minor(), 0);
        }
    }
}

#[test]
fn a_no_of_the_buyer_needs_no_reversal() {
    let mut world = World::ready();
    world.host.buyers = vec![Buyer::Declines];
    let outcome = scan(&mut world, "600.00");
    assert_eq!((outcome.status, outcome.response_code), (OutcomeStatus::Declined, ResponseCode::parse("05").ok()));
    assert!(world.sent.iter().all(|name| !name.starts_with("0400")), "{:?}", world.sent);
    assert_eq!(last(&world).template.custom, None);
    world.assert_agreement();
}

#[test]
fn queries_may_be_lost_and_the_payment_is_found_all_the_same() {
    for fault in [Fault::NotSent, Fault::LoseRequest, Fault::LoseResponse, Fault::Garbage, Fault::Silent] {
        let mut world = World::ready();
        world.host.buyers = vec![Buyer::PaysAtQuery(2)];
        world.faults = [Fault::None, fault].into();
        let outcome = scan(&mut world, "600.00");
        assert!(matches!(outcome.status, OutcomeStatus::Approved | OutcomeStatus::Reversing), "{fault:?}");
        world.assert_agreement();
    }
}

#[test]
fn an_answer_to_the_query_with_a_wrong_mac_is_reversed() {
    let mut world = World::ready();
    world.host.buyers = vec![Buyer::PaysAtQuery(1)];
    world.faults = [Fault::None, Fault::WrongMac].into();
    assert_eq!(scan(&mut world, "600.00").status, OutcomeStatus::Reversing);
    assert_eq!(last(&world).reversal_reason, Some(ResponseCode::MAC_ERROR));
    world.assert_agreement();
    assert_eq!(world.host.net_minor(), 0);
}

#[test]
fn a_lost_answer_to_a_scanned_code_is_reversed_with_the_code() {
    for fault in [Fault::LoseRequest, Fault::LoseResponse, Fault::Silent, Fault::Late, Fault::WrongMac] {
        let mut world = World::ready();
        world.faults = [fault].into();
        assert_eq!(scan(&mut world, "12.50").status, OutcomeStatus::Reversing, "{fault:?}");
        assert_eq!(last(&world).status, TransactionStatus::Reversed);
        world.assert_agreement();
        assert_eq!(world.host.net_minor(), 0);
        assert_eq!(scan(&mut world, "12.50").status, OutcomeStatus::Approved, "and another one goes through");
    }
}

#[test]
fn voids_and_refunds_name_the_payment_by_its_voucher_without_a_card() {
    let mut world = World::ready();
    world.ped.no_card = true;
    let first = scan(&mut world, "12.50");
    world.command(OperatorCommand::Void { stan: first.stan.unwrap() });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Approved);
    assert_eq!(last(&world).kind, TransactionKind::QrVoid);
    let text = slip(&world);
    assert!(text.contains("扫码撤销(QR VOID)") && text.contains("RMB -12.50"), "{text}");
    world.command(OperatorCommand::Void { stan: first.stan.unwrap() });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Failed, "voided already");

    let second = show(&mut world, "8.80");
    let original_date = LocalDate::new(2026, 3, 15).unwrap();
    let refund = |amount: &str| OperatorCommand::Refund {
        amount: yuan(amount),
        original_rrn: second.rrn.unwrap(),
        original_date,
    };
    world.command(refund("3.80"));
    assert_eq!(world.outcome(Operation::Refund).status, OutcomeStatus::Approved);
    assert_eq!(last(&world).kind, TransactionKind::QrRefund);
    assert!(slip(&world).contains("扫码退货(QR REFUND)"));
    world.command(OperatorCommand::QrRefund {
        amount: yuan("5.00"),
        voucher_code: second.voucher_code.unwrap(),
        original_date,
    });
    assert_eq!(world.outcome(Operation::Refund).status, OutcomeStatus::Approved);
    assert_eq!(last(&world).template.rrn.unwrap().text(), "000000000000");
    world.command(OperatorCommand::QrRefund { amount: yuan("5.00"), voucher_code: "12".to_owned(), original_date });
    assert_eq!(world.outcome(Operation::Refund).status, OutcomeStatus::Failed);
    world.assert_agreement();
    world.command(OperatorCommand::Settle);
    assert_eq!(world.outcome(Operation::Settlement).status, OutcomeStatus::Done);
    let report = world.till.state().last_settlement.as_ref().unwrap();
    assert!(report.answer.balanced(), "{report:?}");
    assert_eq!((report.totals.domestic.debit_minor, report.totals.domestic.credit_minor), (2_130, 2_130));
}

#[test]
fn a_refund_without_an_answer_is_sent_again_as_it_was() {
    let mut world = World::ready();
    let paid = scan(&mut world, "12.50");
    world.faults = [Fault::LoseResponse].into();
    world.command(OperatorCommand::Refund {
        amount: yuan("12.50"),
        original_rrn: paid.rrn.unwrap(),
        original_date: LocalDate::new(2026, 3, 15).unwrap(),
    });
    assert_eq!(last(&world).status, TransactionStatus::Approved, "{:?}", world.outcomes);
    world.assert_agreement();
    assert_eq!(world.host.net_minor(), 0);
}

/// A day of QR payments with every kind of buyer.
fn day(world: &mut World) {
    world.command(OperatorCommand::SignIn);
    scan_anyway(world, "10.00");
    world.host.buyers = vec![Buyer::PaysAtQuery(2)];
    scan_anyway(world, "600.00");
    world.host.buyers = vec![Buyer::PaysTooLate];
    world.command(OperatorCommand::QrOrder { amount: yuan("20.00") });
    world.host.buyers = vec![Buyer::PaysAtQuery(1)];
    world.command(OperatorCommand::QrOrder { amount: yuan("30.00") });
    let paid = |payment: &&Transaction| {
        payment.kind.waits_for_payer() && payment.status == TransactionStatus::Approved && payment.voided_by.is_none()
    };
    let paid_by_code = world.till.transactions().find(paid).map(|payment| payment.stan);
    if let Some(stan) = paid_by_code {
        world.faults = [Fault::LoseResponse].into();
        world.command(OperatorCommand::Void { stan });
    }
    let found = world.till.transactions().rev().find(paid).and_then(Transaction::rrn);
    if let Some(original_rrn) = found {
        world.faults = [Fault::LoseResponse].into();
        let original_date = LocalDate::new(2026, 3, 15).unwrap();
        world.command(OperatorCommand::Refund { amount: yuan("5.00"), original_rrn, original_date });
    }
    world.command(OperatorCommand::Settle);
}

fn scan_anyway(world: &mut World, amount: &str) {
    world.command(OperatorCommand::QrSale { amount: yuan(amount), code: PaymentCode::parse(CODE).unwrap() });
}

#[test]
fn every_record_may_be_the_last_before_a_power_cut() {
    let mut calm = World::new(config());
    day(&mut calm);
    calm.assert_agreement();
    let records = calm.journal.len();
    assert!(records > 30, "{records}");
    for at in 1..=records {
        for released in [false, true] {
            let mut world = World::new(config());
            world.crash_at = Some((at.max(world.journal.len() + 1), released));
            day(&mut world);
            world.faults.clear();
            world.command(OperatorCommand::ResumePending);
            world.assert_agreement();
            for minor in [1_000, 60_000, 2_000, 3_000] {
                let standing = |booking: &&world::host::Booking| {
                    booking.type_code == "22"
                        && booking.minor == minor
                        && booking.code.is_approval()
                        && !booking.reversed
                };
                // A command that the cut swallowed is given again after it: at most that second one stands beside a reversed first.
                assert!(world.host.bookings.values().filter(standing).count() <= 1, "at {at}: {minor} paid twice");
            }
        }
    }
}

#[test]
fn the_scanned_code_stands_in_the_journal_only_where_it_may_still_be_needed() {
    let mut world = World::ready();
    assert_eq!(scan(&mut world, "12.50").status, OutcomeStatus::Approved);
    world.command(OperatorCommand::Settle);
    let intents = world.journal.iter().filter(|bytes| String::from_utf8_lossy(bytes).contains(CODE)).count();
    assert_eq!(intents, 1, "the intent, and nothing after it");
    assert!(!journal_text(&world).contains("PaymentCode"));
}
