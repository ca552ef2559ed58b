//! Whole operations: till, PED and host together, one thing going wrong at a time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use machine::wire::Encode;
use pedlink::{CardDecision, CardFailure};
use till::{
    Config, Copy, HostProof, HostVerdict, Operation, OperatorCommand, OutcomeStatus, Pending, Receipt, Screen,
    TransactionStatus,
};
use types::{Amount, BatchNumber, CardToken, LocalDate, Stan};
use world::ped::code;
use world::{Fault, World, config, yuan};

fn stan(number: u32) -> Stan {
    Stan::new(number).unwrap()
}

fn proof() -> HostProof {
    HostProof { verdict: HostVerdict::Settled, reference: "CASE-4711".to_owned(), operator: "01".to_owned() }
}

#[test]
fn a_sale_is_approved_printed_and_booked_once() {
    let mut world = World::ready();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Approved);
    assert_eq!((outcome.amount, outcome.response_code), (Some(yuan("12.50")), Some(code("00"))));
    assert_eq!(world.host.net_minor(), 1250);
    assert_eq!(world.prints.len(), 2, "merchant and cardholder copy");
    let sale = world.find(outcome.stan.unwrap());
    assert_eq!(sale.status, TransactionStatus::Approved);
    let topics: Vec<&str> = sale.trace.iter().map(|line| line.topic.as_str()).collect();
    assert_eq!(topics, ["apdu", "request", "response", "cryptogram"], "explain has every step in order");
    world.assert_agreement();
}

#[test]
fn a_fresh_till_explains_what_is_missing_heals_itself_and_sells() {
    let mut world = World::new(config());
    let outcome = world.sale("1.00");
    assert_eq!(outcome.status, OutcomeStatus::Approved, "{:?}", world.outcomes);
    let missing = world.screens.iter().find(|screen| matches!(screen, Screen::ParametersMissing { .. })).unwrap();
    assert_eq!(missing, &Screen::ParametersMissing { capks: true, aids: true });
    assert!(missing.text().en.contains("CAPK") && missing.text().zh.contains("公钥"));
    assert_eq!((world.host.sign_ins, world.host.downloads), (1, 5));
    assert_eq!(world.outcomes.len(), 1, "one command, one outcome");
    let downloads: Vec<&str> = world.sent[..10].iter().map(String::as_str).collect();
    assert_eq!(
        downloads,
        [
            "0800/00/004",
            "0820/00/372",
            "0820/00/372",
            "0800/00/370",
            "0800/00/370",
            "0800/00/370",
            "0800/00/371",
            "0820/00/382",
            "0800/00/380",
            "0800/00/380",
        ]
    );
}

#[test]
fn a_ped_that_lost_its_keys_for_cards_is_noticed_at_the_first_sale() {
    let mut world = World::ready();
    world.ped.capks = 0;
    let outcome = world.sale("1.00");
    assert_eq!(outcome.status, OutcomeStatus::Approved);
    assert_eq!(world.host.sign_ins, 2, "it signs in again by itself");
    assert!(world.screens.contains(&Screen::ParametersMissing { capks: true, aids: false }));
}

#[test]
fn a_host_without_parameters_ends_the_sale_in_words() {
    let mut world = World::new(config());
    world.host.capks = 0;
    let outcome = world.sale("1.00");
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    assert!(outcome.message.en.contains("CA public keys"), "{}", outcome.message.en);
    assert!(world.host.bookings.is_empty());
}

#[test]
fn a_declined_sale_prints_nothing() {
    let mut world = World::ready();
    world.host.payment_codes = vec!["51"];
    let outcome = world.sale("12.50");
    assert_eq!((outcome.status, outcome.response_code), (OutcomeStatus::Declined, Some(code("51"))));
    assert_eq!(outcome.message.zh, "可用余额不足(51)");
    assert!(world.prints.is_empty() && world.till.pending().is_empty());
    assert!(world.find(outcome.stan.unwrap()).blob.is_none(), "shredded");
    world.assert_agreement();
}

#[test]
fn a_lost_answer_is_reversed_before_anything_else() {
    for fault in [Fault::LoseRequest, Fault::LoseResponse, Fault::Silent, Fault::Late, Fault::Garbage] {
        let mut world = World::ready();
        world.faults = [fault].into();
        let outcome = world.sale("12.50");
        assert_eq!(outcome.status, OutcomeStatus::Reversing, "{fault:?}");
        let reversal = world.outcome(Operation::Reversal);
        assert_eq!((reversal.status, reversal.stan), (OutcomeStatus::Reversed, outcome.stan), "{fault:?}");
        assert_eq!(world.host.net_minor(), 0, "{fault:?}");
        assert!(world.prints.is_empty());
        assert_eq!(world.find(outcome.stan.unwrap()).reversal_reason, Some(code("98")));
        world.assert_agreement();
    }
}

#[test]
fn a_late_answer_never_changes_a_decided_sale() {
    let mut world = World::ready();
    world.faults = [Fault::Late].into();
    let first = world.sale("12.50");
    let second = world.sale("20.00");
    assert_eq!(second.status, OutcomeStatus::Approved);
    assert_eq!(world.find(first.stan.unwrap()).status, TransactionStatus::Reversed);
    assert_eq!(world.host.net_minor(), 2000);
    world.assert_agreement();
}

#[test]
fn an_answer_or_a_request_that_comes_twice_changes_nothing() {
    for fault in [Fault::Twice, Fault::RequestTwice] {
        let mut world = World::ready();
        world.faults = [fault].into();
        assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
        assert_eq!((world.host.net_minor(), world.prints.len()), (1250, 2));
        world.assert_agreement();
    }
}

#[test]
fn a_wrong_mac_is_reversed_with_a0_after_a_new_sign_in() {
    let mut world = World::ready();
    world.faults = [Fault::WrongMac].into();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Reversing);
    assert_eq!(world.find(outcome.stan.unwrap()).reversal_reason, Some(code("A0")));
    assert_eq!(world.host.sign_ins, 2);
    assert_eq!(world.host.net_minor(), 0);
    world.assert_agreement();
}

#[test]
fn an_approval_without_a_mac_is_none_even_if_the_ped_lets_it_through() {
    for lenient in [false, true] {
        let mut world = World::ready();
        world.ped.lenient = lenient;
        world.host.forgets_mac = true;
        let outcome = world.sale("12.50");
        assert_eq!(outcome.status, OutcomeStatus::Reversing, "{lenient}");
        assert_eq!(world.host.net_minor(), 0);
        world.assert_agreement();
    }
}

#[test]
fn a_refusal_without_a_mac_is_made_sure_by_a_reversal() {
    let mut world = World::ready();
    world.host.forgets_mac = true;
    world.host.payment_codes = vec!["30"];
    let outcome = world.sale("12.50");
    assert_eq!((outcome.status, outcome.response_code), (OutcomeStatus::Reversing, Some(code("30"))));
    assert_eq!(world.outcome(Operation::Reversal).status, OutcomeStatus::Reversed);
    world.assert_agreement();
}

#[test]
fn without_a_connection_there_is_nothing_to_reverse() {
    let mut world = World::ready();
    world.faults = [Fault::NotSent].into();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    assert_eq!(world.find(outcome.stan.unwrap()).status, TransactionStatus::Cancelled);
    assert!(world.till.pending().is_empty());
    assert!(!world.sent.iter().any(|sent| sent.starts_with("0400")));
    world.assert_agreement();
}

#[test]
fn a_card_that_declines_after_the_host_approved_is_reversed_with_06() {
    let mut world = World::ready();
    world.ped.card.agrees = false;
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Reversing);
    assert_eq!(world.find(outcome.stan.unwrap()).reversal_reason, Some(code("06")));
    assert_eq!(world.outcome(Operation::Reversal).status, OutcomeStatus::Reversed);
    assert_eq!(world.host.net_minor(), 0);
    world.assert_agreement();
}

#[test]
fn a_partial_approval_that_nobody_asked_for_is_reversed() {
    let mut world = World::ready();
    world.host.payment_codes = vec!["10"];
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Reversing);
    assert_eq!(world.outcome(Operation::Reversal).status, OutcomeStatus::Reversed);
    assert!(world.prints.is_empty());
}

#[test]
fn a_sale_that_got_77_signs_in_and_is_sold_again_under_another_number() {
    let mut world = World::ready();
    world.host.batch = BatchNumber::new(9).unwrap();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Approved);
    assert_eq!(outcome.batch, BatchNumber::new(9), "the host's batch number is adopted");
    assert_eq!(world.host.net_minor(), 1250);
    let statuses: Vec<TransactionStatus> = world.till.transactions().map(|sale| sale.status).collect();
    assert_eq!(statuses, [TransactionStatus::Reversed, TransactionStatus::Approved]);
    assert!(world.screens.iter().any(|screen| matches!(screen, Screen::SigningInAgain { .. })));
    world.assert_agreement();
}

#[test]
fn stale_keys_at_the_host_heal_like_77() {
    let mut world = World::ready();
    world.host.key = 99;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    assert_eq!(world.host.net_minor(), 1250);
    world.assert_agreement();
}

#[test]
fn a_ped_without_working_keys_signs_in_first() {
    let mut world = World::ready();
    world.ped.working_keys = None;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    assert_eq!(world.host.sign_ins, 2);
    world.assert_agreement();
}

#[test]
fn a_void_takes_the_sale_back_once() {
    let mut world = World::ready();
    let sale = world.sale("12.50").stan.unwrap();
    world.command(OperatorCommand::Void { stan: sale });
    let void = world.outcome(Operation::Void).clone();
    assert_eq!(void.status, OutcomeStatus::Approved);
    assert_eq!((world.host.net_minor(), world.find(sale).voided_by), (0, void.stan));
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    assert_eq!(world.last().message.en, "The sale is voided already");
    assert!(world.prints[2].render(32).contains("RMB -12.50"));
    world.assert_agreement();
}

#[test]
fn a_lost_void_is_reversed_and_the_sale_stands() {
    let mut world = World::ready();
    let sale = world.sale("12.50").stan.unwrap();
    world.faults = [Fault::LoseResponse].into();
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Reversing);
    assert_eq!(world.host.net_minor(), 1250);
    assert_eq!(world.find(sale).voided_by, None);
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Approved);
    assert_eq!(world.host.net_minor(), 0);
    world.assert_agreement();
}

#[test]
fn another_card_cannot_void() {
    let mut world = World::ready();
    let sale = world.sale("12.50").stan.unwrap();
    world.ped.card.token = CardToken([8; 16]);
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.last().status, OutcomeStatus::Declined);
    assert_eq!(world.last().message.en, "This is not the card of the original sale");
    assert_eq!(world.host.net_minor(), 1250);
}

#[test]
fn a_void_without_the_card_uses_the_sealed_account_data() {
    let mut world = World::new(Config { void_needs_card: false, ..config() });
    let sale = world.sale("12.50").stan.unwrap();
    world.ped.no_card = true;
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.last().status, OutcomeStatus::Approved);
    assert_eq!(world.host.net_minor(), 0);
}

fn refund(world: &mut World, amount: &str) {
    let rrn = world.outcome(Operation::Sale).rrn.unwrap();
    world.command(OperatorCommand::Refund {
        amount: yuan(amount),
        original_rrn: rrn,
        original_date: LocalDate::new(2026, 3, 15).unwrap(),
    });
}

#[test]
fn a_refund_gives_money_back() {
    let mut world = World::ready();
    world.sale("12.50");
    refund(&mut world, "2.50");
    assert_eq!(world.outcome(Operation::Refund).status, OutcomeStatus::Approved);
    assert_eq!(world.host.net_minor(), 1000);
    let slip = world.prints.last().unwrap().render(48);
    assert!(slip.contains("退货(REFUND)") && slip.contains("2026-03-15"), "{slip}");
    world.assert_agreement();
}

#[test]
fn a_refund_without_an_answer_is_sent_again_and_never_reversed() {
    let mut world = World::ready();
    world.sale("12.50");
    world.faults = [Fault::LoseResponse, Fault::LoseRequest].into();
    refund(&mut world, "2.50");
    let outcomes: Vec<OutcomeStatus> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.operation == Operation::Refund)
        .map(|outcome| outcome.status)
        .collect();
    assert_eq!(outcomes, [OutcomeStatus::Queued, OutcomeStatus::Approved]);
    assert_eq!(world.host.net_minor(), 1000);
    assert!(!world.sent.iter().any(|sent| sent.starts_with("0400")));
    assert_eq!(world.prints.len(), 4, "the refund's slips are printed once it is acknowledged");
    world.assert_agreement();
}

#[test]
fn a_refund_that_the_host_could_not_decide_is_asked_again() {
    let mut world = World::ready();
    world.sale("12.50");
    world.host.payment_codes = vec!["98"];
    refund(&mut world, "2.50");
    let refunds = world.outcomes.iter().filter(|outcome| outcome.operation == Operation::Refund);
    let statuses: Vec<OutcomeStatus> = refunds.map(|outcome| outcome.status).collect();
    assert_eq!(statuses.first(), Some(&OutcomeStatus::Queued), "{statuses:?}");
}

#[test]
fn a_refund_refused_for_its_mac_is_asked_again_under_new_keys() {
    let mut world = World::ready();
    world.sale("12.50");
    world.host.key += 1;
    refund(&mut world, "2.50");
    let refunds = world.outcomes.iter().filter(|outcome| outcome.operation == Operation::Refund);
    let statuses: Vec<OutcomeStatus> = refunds.map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [OutcomeStatus::Queued, OutcomeStatus::Approved]);
    assert_eq!((world.host.net_minor(), world.host.sign_ins), (1000, 2));
    world.assert_agreement();
}

#[test]
fn a_balance_is_shown_and_a_lost_one_forgotten() {
    let mut world = World::ready();
    world.command(OperatorCommand::Balance);
    let balance = world.last().balance.unwrap();
    assert_eq!((world.last().status, balance.minor, balance.currency), (OutcomeStatus::Approved, 123_456, 156));
    world.faults = [Fault::LoseResponse].into();
    world.command(OperatorCommand::Balance);
    assert_eq!(world.last().status, OutcomeStatus::Declined);
    assert!(world.till.pending().is_empty() && world.prints.is_empty());
}

#[test]
fn a_balance_that_the_card_declines_afterwards_leaves_nothing_to_reverse() {
    let mut world = World::ready();
    world.ped.card.agrees = false;
    world.command(OperatorCommand::Balance);
    assert_eq!(world.last().status, OutcomeStatus::Declined);
    assert!(world.till.pending().is_empty() && world.prints.is_empty());
    assert!(!world.sent.iter().any(|sent| sent.starts_with("0400")));
    world.ped.card.agrees = true;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
}

#[test]
fn script_results_are_reported_before_the_next_transaction() {
    let mut world = World::ready();
    world.ped.card.scripts = true;
    let sale = world.sale("12.50");
    assert_eq!(world.host.script_notices.len(), 1);
    let notice = world.host.script_notices[0].template.clone();
    assert_ne!(notice.stan, sale.stan);
    assert_eq!(notice.rrn, sale.rrn);
    assert_eq!(notice.private_60, "0000000795150");
    assert_eq!(notice.original_61.unwrap(), format!("000007{}0315", sale.stan.unwrap()));
    world.assert_agreement();
}

#[test]
fn the_host_s_orders_are_obeyed_when_idle() {
    let mut world = World::ready();
    world.host.orders = vec![4];
    let downloads = world.host.downloads;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    assert_eq!(world.host.downloads, downloads + 3);
    world.host.orders = vec![5];
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    world.host.orders = vec![3];
    let sign_ins = world.host.sign_ins;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    assert_eq!(world.host.sign_ins, sign_ins + 1);
    assert!(world.till.pending().is_empty());
}

#[test]
fn a_host_that_never_stops_ordering_does_not_catch_the_till() {
    let mut world = World::ready();
    world.host.orders = [4, 5, 3].repeat(400);
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
}

#[test]
fn a_sign_in_that_the_host_orders_and_refuses_is_tried_ever_more_seldom() {
    let mut world = World::ready();
    world.host.refuses_sign_in = Some("97");
    world.host.orders = vec![3; 4_000];
    world.command(OperatorCommand::Echo);
    let before = world.till.status().next_stan;
    world.run_for(6 * 3_600_000);
    let tries = world.till.status().next_stan.number() - before.number();
    assert!((6..=40).contains(&tries), "{tries} trace numbers in six hours");
    world.host.refuses_sign_in = None;
    world.host.orders.clear();
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved, "an operator does not wait for it");
}

#[test]
fn a_snapshot_that_comes_late_never_outgrows_a_record() {
    let mut world = World::ready();
    let snapshots = |world: &World| {
        let records = world.journal.iter().map(|bytes| till::Record::from_bytes(bytes).unwrap());
        records.filter(till::Record::is_snapshot).count()
    };
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    world.command(OperatorCommand::Settle);
    // Nobody wakes the till before it has sold again, and again, with much to tell.
    world.ped.chatter_bytes = 60_000;
    (0..40).for_each(|_| assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved));
    let before = snapshots(&world);
    world.run_for(1_000);
    assert!(world.journal.iter().all(|record| record.len() < machine::wire::BYTES_MAX));
    assert_eq!(snapshots(&world), before, "with so much in it, it waits for the next close");
    world.command(OperatorCommand::Settle);
    world.run_for(1_000);
    assert_eq!(snapshots(&world), before + 1);
}

fn reversal_that_fails(host_code: &'static str) -> (World, Stan) {
    let mut world = World::ready();
    world.host.reversal_code = Some(host_code);
    world.faults = [Fault::LoseResponse].into();
    let stan = world.sale("12.50").stan.unwrap();
    (world, stan)
}

#[test]
fn a_reversal_that_is_not_acknowledged_parks_the_till_and_is_never_dropped() {
    let (mut world, stan) = reversal_that_fails("96");
    assert_eq!(world.till.status().parked.unwrap().0, stan);
    assert!(matches!(world.prints.last(), Some(Receipt::ReversalPending(_))));
    let records = world.journal.len();
    world.run_for(3_600_000);
    assert_eq!(world.till.pending(), [Pending::Reversal { stan, parked: true }]);
    assert_eq!(world.journal.len(), records, "trying does not fill the journal");
    assert!(world.sent.iter().filter(|sent| sent.starts_with("0400")).count() > 100);
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Failed);
    assert!(world.outcome(Operation::Sale).message.en.contains("No sales"));
    world.host.reversal_code = None;
    world.command(OperatorCommand::ResumePending);
    assert_eq!(world.outcome(Operation::Reversal).status, OutcomeStatus::Reversed);
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
    world.assert_agreement();
}

#[test]
fn codes_12_and_25_end_a_reversal_too() {
    for host_code in ["12", "25"] {
        let (world, stan) = reversal_that_fails(host_code);
        assert!(world.till.pending().is_empty(), "{host_code}");
        assert_eq!(world.find(stan).status, TransactionStatus::Reversed);
    }
}

#[test]
fn a_host_that_wants_sign_in_for_ever_parks_too() {
    let (world, stan) = reversal_that_fails("77");
    assert_eq!(world.till.status().parked.unwrap().0, stan);
}

#[test]
fn only_the_host_s_proof_resolves_a_parked_reversal_by_hand() {
    let (mut world, stan) = reversal_that_fails("96");
    world.command(OperatorCommand::ResolveParked { stan, proof: HostProof { reference: String::new(), ..proof() } });
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    world.command(OperatorCommand::ResolveParked { stan: stan.next(), proof: proof() });
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    world.command(OperatorCommand::ResolveParked { stan, proof: proof() });
    assert_eq!(world.outcome(Operation::ResolveParked).status, OutcomeStatus::Done);
    assert_eq!((world.find(stan).status, world.till.pending().len()), (TransactionStatus::Reversed, 0));
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
}

#[test]
fn a_dead_line_does_not_count_as_a_refusal_of_the_reversal() {
    let mut world = World::ready();
    world.faults = core::iter::once(Fault::LoseResponse).chain(core::iter::repeat_n(Fault::NotSent, 40)).collect();
    let stan = world.sale("12.50").stan.unwrap();
    assert_eq!(world.find(stan).status, TransactionStatus::Reversed);
    assert!(world.screens.iter().all(|screen| !matches!(screen, Screen::Parked { .. })));
    world.assert_agreement();
}

#[test]
fn a_balanced_settlement_uploads_certificates_and_begins_a_new_batch() {
    let mut world = World::ready();
    world.sale("100.00");
    let voided = world.sale("7.00").stan.unwrap();
    world.command(OperatorCommand::Void { stan: voided });
    refund(&mut world, "50.00");
    world.command(OperatorCommand::Settle);
    assert_eq!((world.last().operation, world.last().status), (Operation::Settlement, OutcomeStatus::Done));
    assert_eq!(world.last().batch, BatchNumber::new(7));
    let asked = world.host.settlements[0].template.additional_private.clone().unwrap();
    assert_eq!(asked, "00000001070000200000000570000200000000000000000000000000000000");
    let uploads: Vec<&str> = world.host.uploads.iter().map(|upload| upload.network_code()).collect();
    assert_eq!(uploads, ["203", "203"], "one certificate for each approved sale");
    assert_eq!(world.host.uploads[0].template.private_62.as_deref(), Some(&b"610000000000010000156"[..]));
    assert_eq!(world.host.ends[0].template.additional_private.as_deref(), Some("0002"));
    assert_eq!(world.host.ends[0].network_code(), "207");
    assert_eq!((world.till.status().batch, world.till.transactions().len()), (world.host.batch, 0));
    let kept = world.find(voided);
    assert!(kept.blob.is_none() && kept.final_blob.is_none(), "shredded with the batch");
    let slip = world.prints.last().unwrap().render(32);
    assert!(slip.contains("对账平 BALANCED") && slip.contains("107.00") && slip.contains("57.00"), "{slip}");
    assert_eq!(world.sale("1.00").batch, BatchNumber::new(8));
    world.command(OperatorCommand::ReprintSettlement);
    assert!(world.prints.last().unwrap().render(48).contains("DUPLICATED"));
}

#[test]
fn a_settlement_that_does_not_balance_uploads_notices_too() {
    let mut world = World::ready();
    world.sale("100.00");
    refund(&mut world, "50.00");
    world.host.disagrees = true;
    world.command(OperatorCommand::Settle);
    let uploads: Vec<(String, String)> = world
        .host
        .uploads
        .iter()
        .map(|upload| (upload.template.mti.clone(), upload.template.private_60.clone()))
        .collect();
    let expected = [("0320", "2500000700060"), ("0320", "0000000720550")];
    assert_eq!(uploads, expected.map(|(mti, private_60)| (mti.to_owned(), private_60.to_owned())));
    assert_eq!(world.host.ends[0].network_code(), "202");
    assert!(world.prints.last().unwrap().render(32).contains("对账不平"));
}

/// 60.3 and F62 of each upload of a batch with a sale, one that the card declined by itself, one whose card did not accept the
/// issuer's cryptogram, and a refund.
fn uploads_of_every_group(disagrees: bool) -> Vec<(String, String)> {
    let mut world = World::ready();
    world.sale("100.00");
    world.ped.card.decision = CardDecision::DeclinedOffline;
    let refused = world.sale("2.00");
    assert_eq!(refused.status, OutcomeStatus::Declined);
    world.ped.card.decision = CardDecision::Online;
    world.ped.card.tvr = "0000008040";
    assert_eq!(world.sale("3.00").status, OutcomeStatus::Approved);
    refund(&mut world, "50.00");
    world.host.disagrees = disagrees;
    world.command(OperatorCommand::Settle);
    assert_eq!((world.last().operation, world.last().status), (Operation::Settlement, OutcomeStatus::Done));
    let kept = world.find(refused.stan.unwrap());
    assert!(kept.final_blob.is_none(), "shredded with the batch");
    let upload = |upload: &world::host::Request| {
        let usage = upload.template.private_62.clone().unwrap_or_default();
        (upload.network_code().to_owned(), String::from_utf8(usage).unwrap())
    };
    world.host.uploads.iter().map(upload).collect()
}

#[test]
fn failed_chip_transactions_are_uploaded_behind_the_certificates() {
    let expected =
        [("203", "610000000000010000156"), ("204", "71000000000000020015610"), ("204", "71000500000000030015622")];
    assert_eq!(uploads_of_every_group(false), expected.map(|(code, usage)| (code.to_owned(), usage.to_owned())));
    let unbalanced = [
        ("000", ""),
        ("205", "610000000000010000156"),
        ("206", "71000000000000020015610"),
        ("206", "71000500000000030015622"),
    ];
    assert_eq!(uploads_of_every_group(true), unbalanced.map(|(code, usage)| (code.to_owned(), usage.to_owned())));
}

#[test]
fn lost_answers_during_settlement_are_repeated_under_the_same_numbers() {
    for at in 0..5 {
        for fault in [Fault::LoseRequest, Fault::LoseResponse, Fault::NotSent, Fault::Garbage, Fault::Late] {
            let mut world = World::ready();
            world.sale("100.00");
            world.sale("50.00");
            world.faults = core::iter::repeat_n(Fault::None, at).chain([fault]).collect();
            world.command(OperatorCommand::Settle);
            assert_eq!(world.till.state().settlement, None, "{at} {fault:?}");
            assert_eq!(world.till.status().batch, world.host.batch, "{at} {fault:?}");
            let first = world.host.settlements[0].stan();
            assert!(world.host.settlements.iter().all(|request| request.stan() == first));
            world.faults.clear();
            assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
        }
    }
}

#[test]
fn an_upload_that_is_refused_parks_until_the_host_or_its_people_give_way() {
    let mut world = World::ready();
    let stan = world.sale("100.00").stan.unwrap();
    world.host.upload_code = Some("96");
    world.command(OperatorCommand::Settle);
    assert_eq!(world.outcome(Operation::Settlement).status, OutcomeStatus::Failed);
    assert_eq!(world.till.status().parked.unwrap().0, stan);
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Failed);
    let mut by_hand = World::ready();
    core::mem::swap(&mut by_hand, &mut world);
    by_hand.command(OperatorCommand::ResolveParked { stan, proof: proof() });
    let report = by_hand.till.state().last_settlement.clone().unwrap();
    assert_eq!((report.acknowledged, report.resolved_by_hand), (0, vec![stan]));
    assert_eq!(by_hand.sale("1.00").status, OutcomeStatus::Approved);
}

#[test]
fn no_settlement_before_a_pending_reversal_is_acknowledged() {
    let (mut world, _) = reversal_that_fails("96");
    world.command(OperatorCommand::Settle);
    assert_eq!(world.outcome(Operation::Settlement).status, OutcomeStatus::Failed);
    assert!(world.host.settlements.is_empty());
}

#[test]
fn the_same_card_and_amount_is_questioned() {
    let mut world = World::new(Config { duplicate_window_ms: 300_000, ..config() });
    world.auto_confirm = false;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    world.command(OperatorCommand::Sale { amount: yuan("12.50") });
    let asked = world.screens.iter().find_map(|screen| match screen {
        Screen::ConfirmDuplicate { earlier, receipt, .. } => Some((*earlier, receipt.render(32))),
        _ => None,
    });
    let (earlier, slip) = asked.expect("the cashier is asked");
    assert!(slip.contains("12.50") && slip.contains(&earlier.to_string()), "the earlier slip is in view: {slip}");
    assert_eq!(world.last().status, OutcomeStatus::Cancelled, "nobody answered");
    let unanswered = world.last().stan.unwrap();
    assert_eq!(answer_on_record(&world, unanswered), "operator 01 gave no answer in time");
    assert_eq!(world.host.net_minor(), 1250);
    assert_eq!(world.sale("12.51").status, OutcomeStatus::Approved, "another amount is not");
    world.auto_confirm = true;
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    let confirmed = world.last().stan.unwrap();
    assert_eq!(answer_on_record(&world, confirmed), "operator 01 confirmed: it is meant");
    assert_eq!(world.host.net_minor(), 3751);
    world.assert_agreement();
}

/// What the cashier answered to the question of a duplicate.
fn answer_on_record(world: &World, stan: Stan) -> String {
    let transaction = world.till.find(stan).expect("it is on record");
    let lines = transaction.trace.iter().filter(|line| line.topic == "duplicate").map(|line| line.text.clone());
    let [about, answer] = &lines.collect::<Vec<_>>()[..] else { panic!("question and answer are on record") };
    assert!(about.starts_with("same card and amount as voucher "), "{about}");
    answer.clone()
}

#[test]
fn a_card_can_be_cancelled_missing_or_useless() {
    let mut world = World::ready();
    world.ped.no_card = true;
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Cancelled, "time-out");
    world.ped.no_card = false;
    for (failure, status) in [
        (CardFailure::Cancelled, OutcomeStatus::Cancelled),
        (CardFailure::NoApplication, OutcomeStatus::Declined),
        (CardFailure::Blocked, OutcomeStatus::Declined),
        (CardFailure::CardError { detail: "mute".to_owned() }, OutcomeStatus::Failed),
        (CardFailure::EntryModeNotSupported { mode: "swipe".to_owned() }, OutcomeStatus::Failed),
    ] {
        world.ped.card.failure = Some(failure.clone());
        assert_eq!(world.sale("1.00").status, status, "{failure:?}");
    }
    world.ped.card.failure = None;
    world.ped.card.decision = CardDecision::DeclinedOffline;
    let outcome = world.sale("1.00");
    assert_eq!(outcome.status, OutcomeStatus::Declined);
    assert_eq!(world.find(outcome.stan.unwrap()).status, TransactionStatus::Declined);
    assert!(world.host.bookings.is_empty());
    world.ped.card.decision = CardDecision::Online;
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
}

#[test]
fn a_silent_ped_never_leaves_a_sale_open() {
    for command in ["read", "complete", "check", "finish"] {
        let mut world = World::ready();
        world.ped.silent = vec![command];
        let outcome = world.sale("12.50");
        assert_ne!(outcome.status, OutcomeStatus::Approved, "{command}");
        assert_eq!(world.host.net_minor(), 0, "{command}");
        world.assert_agreement();
        assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved, "{command}");
    }
    let mut world = World::new(config());
    world.ped.silent = vec!["status"];
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
    world.ped.silent = vec!["keys"];
    world.command(OperatorCommand::SignIn);
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    assert!(world.screens.contains(&Screen::PedSilent));
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
}

#[test]
fn sign_in_sign_off_and_echo() {
    let mut world = World::ready();
    assert_eq!(world.till.status().batch, BatchNumber::new(7).unwrap());
    world.command(OperatorCommand::Echo);
    assert_eq!((world.last().operation, world.last().status), (Operation::Echo, OutcomeStatus::Done));
    world.command(OperatorCommand::SignOff);
    assert_eq!(world.last().status, OutcomeStatus::Done);
    assert!(!world.till.status().signed_in);
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved, "a sale signs in by itself");
    world.host.refuses_sign_in = Some("97");
    world.command(OperatorCommand::SignIn);
    assert_eq!(world.last().message.en, "Sign-in failed: Terminal not registered (97)");
    world.host.refuses_sign_in = None;
    world.host.scrambled_keys = true;
    world.command(OperatorCommand::SignIn);
    assert_eq!(world.last().message.en, "Sign-in failed: a key check value does not fit");
    assert!(!world.till.status().signed_in);
}

#[test]
fn unsound_commands_are_refused_in_words() {
    let mut world = World::ready();
    assert_eq!(world.sale("0.00").status, OutcomeStatus::Failed);
    let dollars = Amount::parse("1.00", types::Currency::USD).unwrap();
    world.command(OperatorCommand::Sale { amount: dollars });
    assert_eq!(world.last().message.en, "The amount is not valid here");
    world.command(OperatorCommand::Void { stan: stan(999) });
    assert_eq!(world.last().message.en, "No such sale in this batch");
    world.command(OperatorCommand::Reprint { stan: None });
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    world.command(OperatorCommand::ReprintSettlement);
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    world.ped.no_master_key = true;
    world.power_cut();
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Failed);
    assert!(world.screens.contains(&Screen::NotEnrolled));
}

#[test]
fn a_full_batch_demands_settlement() {
    let mut world = World::new(Config { batch_capacity: 2, ..config() });
    world.sale("1.00");
    world.sale("2.00");
    assert_eq!(world.sale("3.00").status, OutcomeStatus::Failed);
    assert!(world.screens.contains(&Screen::BatchFull));
    world.command(OperatorCommand::Settle);
    assert_eq!(world.sale("3.00").status, OutcomeStatus::Approved);
    let mut rich = World::ready();
    assert_eq!(rich.sale("9999999999.99").status, OutcomeStatus::Approved);
    assert_eq!(rich.sale("0.01").status, OutcomeStatus::Failed, "F48 could not carry the sum");
}

#[test]
fn a_copy_is_marked() {
    let mut world = World::ready();
    let stan = world.sale("12.50").stan.unwrap();
    world.command(OperatorCommand::Reprint { stan: Some(stan) });
    assert!(world.prints[..2].iter().all(|slip| !slip.render(32).contains("DUPLICATED")));
    assert!(world.prints[2..].iter().all(|slip| slip.render(32).contains("重打印凭证 DUPLICATED")));
    world.command(OperatorCommand::Settle);
    world.command(OperatorCommand::Reprint { stan: None });
    assert_eq!(world.last().stan, Some(stan), "the last batch can be reprinted");
    let newest = world.sale("3.00").stan;
    world.command(OperatorCommand::Reprint { stan: None });
    assert_eq!(world.last().stan, newest, "the last slip is the open batch's as soon as that has one");
}

const MERCHANT_COPY_48: &str = "               签购单 POS RECEIPT
             商户存根 MERCHANT COPY
------------------------------------------------
商户名称 MERCHANT NAME: 铁柜咖啡馆 Irontill
Coffee
商户编号 MERCHANT NO             123456789012345
终端编号 TERMINAL NO                    12345678
操作员号 OPERATOR NO                          01
收单行 ACQUIRER                         48020000
发卡行 ISSUER                           03080000
卡号 CARD NO              622262*********0012 /I
卡组织 CARD ORG                              CUP
------------------------------------------------
交易类型 TRANS TYPE                   消费(SALE)
批次号 BATCH NO                           000007
凭证号 VOUCHER NO                         000002
授权码 AUTH NO                            A00012
参考号 REFER NO                     093015000012
日期/时间 DATE/TIME          2026-03-15 09:31:02
交易金额 AMOUNT                        RMB 12.50
------------------------------------------------
备注 REFERENCE:
TC: AE60C8CABA4C02F9
TVR: 0000008000 TSI: F800
ATC: 001E
AID: A000000333010102
APP LABEL: UNIONPAY CREDIT
持卡人签名 CARDHOLDER SIGNATURE:


本人确认以上交易，同意将其记入本卡账户
I ACKNOWLEDGE SATISFACTORY RECEIPT OF RELATIVE
GOODS/SERVICES
------------------------------------------------
Irontill 0.1.0
";

#[test]
fn the_merchant_copy_looks_like_this() {
    let mut world = World::ready();
    let stan = world.sale("12.50").stan.unwrap();
    let shown = world.till.receipt(stan, Copy::Merchant).unwrap();
    assert_eq!(shown, world.prints[0]);
    assert_eq!(shown.render(48), MERCHANT_COPY_48);
    let cardholder = world.prints[1].render(32);
    assert!(cardholder.contains("持卡人存根") && !cardholder.contains("SIGNATURE"));
    let columns = |line: &str| line.chars().map(|shown| if u32::from(shown) < 0x2E80 { 1 } else { 2 }).sum::<usize>();
    assert!(cardholder.lines().all(|line| columns(line) <= 32), "{cardholder}");
}

#[test]
fn exemption_lines_follow_the_card() {
    let line = |entry_mode: &'static str, signature: bool| {
        let mut world = World::ready();
        world.ped.card.entry_mode = entry_mode;
        world.ped.card.signature = signature;
        world.sale("12.50");
        world.prints[0].render(48)
    };
    assert!(line("051", true).contains("CARDHOLDER SIGNATURE"));
    assert!(line("051", false).contains("已输入密码，无需签名"));
    let contactless = line("071", false);
    assert!(contactless.contains("交易金额未超1000.00元，免签名") && contactless.contains("/C"), "{contactless}");
}

#[test]
fn a_command_during_background_work_waits_for_it() {
    let mut world = World::ready();
    world.faults = [Fault::LoseResponse].into();
    world.queue.push_back(till::Event::Operator(OperatorCommand::Sale { amount: yuan("12.50") }));
    world.queue.push_back(till::Event::Operator(OperatorCommand::Sale { amount: yuan("1.00") }));
    world.run();
    let statuses: Vec<OutcomeStatus> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.operation == Operation::Sale)
        .map(|outcome| outcome.status)
        .collect();
    assert_eq!(statuses, [OutcomeStatus::Failed, OutcomeStatus::Reversing], "beside another sale: busy");
    world.assert_agreement();
}

#[test]
fn a_command_given_during_background_work_is_carried_out_after_it() {
    let mut world = World::ready();
    world.faults = [Fault::LoseResponse, Fault::Silent].into();
    world.queue.push_back(till::Event::Operator(OperatorCommand::Sale { amount: yuan("12.50") }));
    world.run_for(1_000);
    assert_eq!(world.last().status, OutcomeStatus::Reversing);
    assert_eq!(world.till.status().running, Some(Operation::Pending));
    let second = world.sale("1.00");
    assert_eq!(second.status, OutcomeStatus::Approved);
    let order: Vec<Operation> = world.outcomes.iter().skip(1).map(|outcome| outcome.operation).collect();
    assert_eq!(order, [Operation::Sale, Operation::Reversal, Operation::Sale]);
    world.assert_agreement();
}

#[test]
fn the_wait_for_a_card_can_be_cancelled() {
    let mut world = World::ready();
    world.ped.no_card = true;
    world.queue.push_back(till::Event::Operator(OperatorCommand::Sale { amount: yuan("12.50") }));
    world.queue.push_back(till::Event::Operator(OperatorCommand::Cancel));
    let before_ms = world.now.monotonic_ms;
    world.run();
    assert_eq!(world.last().status, OutcomeStatus::Cancelled);
    assert_eq!(world.now.monotonic_ms, before_ms, "nobody waited");
    assert!(world.till.is_idle());
}

const SETTLEMENT_SLIP_32: &str = "     结算总计单 SETTLEMENT
--------------------------------
商户名称 MERCHANT NAME:
铁柜咖啡馆 Irontill Coffee
商户编号 MERCHANT NO
                 123456789012345
终端编号 TERMINAL NO    12345678
批次号 BATCH NO           000007
日期/时间 DATE/TIME
             2026-03-15 09:31:02
--------------------------------
内卡 DOMESTIC    对账平 BALANCED
  借记 DEBIT          1 笔 12.50
  贷记 CREDIT          0 笔 0.00
外卡 FOREIGN     对账平 BALANCED
  借记 DEBIT           0 笔 0.00
  贷记 CREDIT          0 笔 0.00
--------------------------------
上送笔数 UPLOADED              1
";

#[test]
fn the_settlement_slip_looks_like_this() {
    let mut world = World::ready();
    world.sale("12.50");
    world.command(OperatorCommand::Settle);
    assert_eq!(world.prints.last().unwrap().render(32), SETTLEMENT_SLIP_32);
}
