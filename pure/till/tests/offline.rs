//! Sales without the host: approved by card and terminal, stored, forwarded in order, each exactly once; and the tips that follow a sale.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use pedlink::CardDecision;
use till::config::OfflineLimits;
use till::{Config, Operation, OperatorCommand, OutcomeStatus, Receipt, TransactionKind, TransactionStatus};
use world::{Fault, World, config, yuan};

/// A line that is down for so many exchanges.
fn down(exchanges: usize) -> std::collections::VecDeque<Fault> {
    std::iter::repeat_n(Fault::NotSent, exchanges).collect()
}

/// A till that is ready, with a card that pays small sums by itself.
fn offline_world(offline: OfflineLimits) -> World {
    let mut world = World::new(Config { offline, ..config() });
    world.command(OperatorCommand::SignIn);
    world.ped.card.decision = CardDecision::ApprovedOffline;
    world.sent.clear();
    world
}

#[test]
fn an_offline_sale_prints_at_once_and_is_uploaded_once() {
    let mut world = offline_world(OfflineLimits::default());
    world.faults = [Fault::LoseResponse, Fault::LoseRequest, Fault::Twice].into();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Approved);
    assert!(outcome.message.zh.contains("脱机") && outcome.rrn.is_none());
    let Some(Receipt::Payment(slip)) = world.prints.first() else { panic!("{:?}", world.prints) };
    assert_eq!((slip.title, slip.rrn.as_deref(), world.prints.len()), ("脱机消费(OFFLINE SALE)", None, 2));
    assert!(slip.remarks.iter().any(|remark| remark.starts_with("TC:")));
    assert_eq!(world.sent, ["0200/36/000", "0200/36/000", "0200/36/000"], "the same until the host has decided");
    let upload = world.outcome(Operation::OfflineUpload);
    assert_eq!((upload.status, upload.stan), (OutcomeStatus::Approved, outcome.stan));
    assert_eq!((world.host.net_minor(), world.host.bookings.len(), world.prints.len()), (1250, 1, 2));
    let sale = world.find(outcome.stan.unwrap());
    assert_eq!((sale.kind, sale.status), (TransactionKind::OfflineSale, TransactionStatus::Approved));
    world.command(OperatorCommand::Settle);
    assert_eq!(world.last().status, OutcomeStatus::Done);
    assert!(world.host.uploads.is_empty(), "balanced: the host has the certificate already");
    world.assert_agreement();
}

#[test]
fn without_a_line_it_sells_up_to_each_limit_and_forwards_in_order() {
    let limits = OfflineLimits { sale_minor: 5000, total_minor: 9000, count: 3, ..OfflineLimits::default() };
    let mut world = offline_world(limits);
    world.faults = down(4000);
    assert_eq!(world.sale("50.01").status, OutcomeStatus::Failed, "above the limit of one sale the host must decide");
    assert!(world.ped.online_only);
    let first = world.sale("50.00");
    assert!(!world.ped.online_only);
    assert_eq!(world.sale("40.01").status, OutcomeStatus::Failed, "the sum");
    let second = world.sale("30.00");
    let third = world.sale("10.00");
    assert_eq!(world.sale("0.01").status, OutcomeStatus::Failed, "the count");
    let stans = [first.stan, second.stan, third.stan];
    let waiting: Vec<_> = world.till.state().unsent_offline_sales().map(|sale| Some(sale.stan)).collect();
    assert_eq!(waiting, stans);
    assert_eq!(world.prints.len(), 6, "each has its slips");

    world.power_cut();
    world.faults.clear();
    world.outcomes.clear();
    world.command(OperatorCommand::ResumePending);
    let uploaded: Vec<_> =
        world.outcomes.iter().filter(|outcome| outcome.operation == Operation::OfflineUpload).collect();
    assert_eq!(uploaded.iter().map(|outcome| outcome.stan).collect::<Vec<_>>(), stans, "in order");
    assert_eq!(world.host.net_minor(), 9000);
    assert_eq!(world.sale("20.00").status, OutcomeStatus::Approved, "there is room again");
    world.assert_agreement();
}

#[test]
fn an_old_sale_that_waits_ends_selling_without_the_host() {
    let mut world = offline_world(OfflineLimits { age_ms: 600_000, ..OfflineLimits::default() });
    world.faults = down(100_000);
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
    world.now.wall_ms += 600_001;
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Failed);
    assert!(world.ped.online_only);
}

#[test]
fn the_queue_stops_at_the_first_that_gets_no_answer() {
    let mut world = offline_world(OfflineLimits::default());
    world.faults = down(400);
    let first = world.sale("1.00");
    world.faults = down(400);
    world.sale("2.00");
    world.sent.clear();
    world.faults = [Fault::LoseRequest, Fault::LoseRequest, Fault::LoseRequest].into();
    world.ped.card.decision = CardDecision::Online;
    assert_eq!(world.sale("3.00").status, OutcomeStatus::Approved);
    // Three tries of the first, then the sale; behind it both uploads.
    let kinds: Vec<&str> = world.sent.iter().map(|sent| &sent[5..7]).collect();
    assert_eq!(kinds, ["36", "36", "36", "22", "36", "36"]);
    let uploads: Vec<_> =
        world.outcomes.iter().filter(|outcome| outcome.operation == Operation::OfflineUpload).collect();
    assert_eq!(uploads[0].stan, first.stan, "in order all the same");
    world.assert_agreement();
}

#[test]
fn a_host_that_cannot_be_reached_is_done_without_if_the_card_agrees() {
    let mut world = offline_world(OfflineLimits::default());
    world.ped.card.decision = CardDecision::Online;
    world.ped.card.approves_unreached = true;
    world.faults = [Fault::NotSent].into();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Approved);
    let sale = world.find(outcome.stan.unwrap());
    assert_eq!((sale.kind, sale.status), (TransactionKind::OfflineSale, TransactionStatus::Approved));
    assert_eq!(world.host.net_minor(), 1250);
    world.assert_agreement();

    // Once a byte may have left, no card can make a sale of it.
    for fault in [Fault::LoseRequest, Fault::LoseResponse] {
        world.faults = [fault].into();
        assert_eq!(world.sale("8.00").status, OutcomeStatus::Reversing);
        assert_eq!(world.host.net_minor(), 1250);
        world.assert_agreement();
    }
    let unreached = OfflineLimits { when_unreachable: false, ..OfflineLimits::default() };
    let mut world = offline_world(unreached);
    world.ped.card.decision = CardDecision::Online;
    world.ped.card.approves_unreached = true;
    world.faults = [Fault::NotSent].into();
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    assert_eq!(world.find(outcome.stan.unwrap()).status, TransactionStatus::Cancelled);
}

#[test]
fn a_refused_upload_is_told_to_the_shop_and_counts_nowhere() {
    let mut world = offline_world(OfflineLimits::default());
    world.host.payment_codes = vec!["51"];
    let outcome = world.sale("12.50");
    assert_eq!(outcome.status, OutcomeStatus::Approved, "the shopper has paid");
    let upload = world.outcome(Operation::OfflineUpload);
    assert_eq!(upload.status, OutcomeStatus::Declined);
    let slip = world.prints.last().unwrap();
    assert!(matches!(slip, Receipt::UploadRefused(_)) && slip.render(32).contains("上送后被平台拒绝"));
    let plainly = world.find(outcome.stan.unwrap()).plainly();
    assert!(plainly.cashier.en.contains("not paid"), "{plainly:?}");
    world.command(OperatorCommand::Settle);
    assert_eq!(world.last().status, OutcomeStatus::Done);
    world.assert_agreement();
}

#[test]
fn an_offline_sale_is_voided_only_once_the_host_knows_it() {
    let mut world = offline_world(OfflineLimits::default());
    world.faults = down(400);
    let sale = world.sale("12.50").stan.unwrap();
    world.faults = down(400);
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Failed);
    world.faults.clear();
    world.command(OperatorCommand::ResumePending);
    world.command(OperatorCommand::Void { stan: sale });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Approved);
    assert_eq!(world.host.net_minor(), 0);
    world.assert_agreement();
}

#[test]
fn power_may_fail_at_every_record_of_an_offline_day() {
    fn day(world: &mut World) {
        world.command(OperatorCommand::SignIn);
        world.ped.card.decision = CardDecision::ApprovedOffline;
        world.faults = [Fault::NotSent, Fault::LoseResponse].into();
        world.command(OperatorCommand::Sale { amount: yuan("10.00") });
        world.command(OperatorCommand::Sale { amount: yuan("20.00") });
        world.ped.card.decision = CardDecision::Online;
        world.ped.card.approves_unreached = true;
        world.faults = [Fault::NotSent, Fault::NotSent].into();
        world.command(OperatorCommand::Sale { amount: yuan("30.00") });
        let paid = world.till.transactions().find(|sale| sale.status == TransactionStatus::Approved);
        if let Some(stan) = paid.map(|sale| sale.stan) {
            world.faults = [Fault::LoseResponse].into();
            world.command(OperatorCommand::Tip { stan, tip: yuan("1.00") });
        }
        world.command(OperatorCommand::Settle);
    }
    let mut calm = World::new(config());
    day(&mut calm);
    calm.assert_agreement();
    for at in 1..=calm.journal.len() {
        for released in [false, true] {
            let mut world = World::new(config());
            world.crash_at = Some((at.max(world.journal.len() + 1), released));
            day(&mut world);
            world.faults.clear();
            world.command(OperatorCommand::ResumePending);
            world.assert_agreement();
            let slips = |minor: u64| {
                let of_sale = |receipt: &&Receipt| matches!(receipt, Receipt::Payment(slip) if slip.amount.minor() == minor && !slip.duplicated);
                world.prints.iter().filter(of_sale).count()
            };
            for minor in [1000, 2000, 3000] {
                let sales = world.host.bookings.values().filter(|sale| matches!(sale.type_code.as_str(), "22" | "36"));
                let booked =
                    sales.filter(|sale| sale.minor == minor && sale.code.is_approval() && !sale.reversed).count();
                assert!(booked <= 1, "at {at}: {minor} booked {booked} times");
                assert!(slips(minor) == 0 || booked == 1, "at {at}: a slip of {minor} that nobody booked");
            }
            assert_eq!(world.restored().state(), world.till.state(), "replaying gives the same state");
        }
    }
}

#[test]
fn a_tip_raises_a_sale_once_within_its_bound() {
    let mut world = World::ready();
    let sale = world.sale("100.00").stan.unwrap();
    for (tip, why) in [("20.01", "20 %"), ("0.00", "more than nothing")] {
        world.command(OperatorCommand::Tip { stan: sale, tip: yuan(tip) });
        let refused = world.outcome(Operation::TipAdjustment);
        assert_eq!(refused.status, OutcomeStatus::Failed, "{tip}");
        assert!(refused.message.en.contains(why), "{}", refused.message.en);
    }
    world.faults = [Fault::LoseResponse].into();
    world.prints.clear();
    world.command(OperatorCommand::Tip { stan: sale, tip: yuan("15.00") });
    let booked = world.outcome(Operation::TipAdjustment);
    assert_eq!((booked.status, booked.amount), (OutcomeStatus::Approved, Some(yuan("115.00"))));
    assert_eq!(world.host.net_minor(), 11_500);
    let text = world.prints[0].render(48);
    for line in ["消费金额 AMOUNT", "RMB 100.00", "小费 TIPS", "RMB 15.00", "总计 TOTAL", "RMB 115.00"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    world.command(OperatorCommand::Tip { stan: sale, tip: yuan("1.00") });
    assert_eq!(world.last().status, OutcomeStatus::Failed, "only once");
    // A void takes back the whole.
    world.command(OperatorCommand::Void { stan: sale });
    let void = world.outcome(Operation::Void);
    assert_eq!((void.status, void.amount), (OutcomeStatus::Approved, Some(yuan("115.00"))));
    assert_eq!(world.host.net_minor(), 0);
    let other = world.sale("50.00").stan.unwrap();
    world.command(OperatorCommand::Tip { stan: other, tip: yuan("5.00") });
    world.command(OperatorCommand::Settle);
    assert_eq!(world.last().status, OutcomeStatus::Done);
    let report = world.till.state().last_settlement.clone().unwrap();
    assert!(report.answer.balanced());
    assert_eq!((report.totals.domestic.debit_minor, report.totals.domestic.debit_count), (17_000, 2), "one a sale");
    world.assert_agreement();
}

#[test]
fn a_sale_in_instalments_shows_its_plan_and_is_voided_and_reversed_as_such() {
    let mut world = World::ready();
    world.command(OperatorCommand::SellByInstalments { amount: yuan("100.00"), count: 1 });
    assert_eq!(world.last().status, OutcomeStatus::Failed);
    world.command(OperatorCommand::SellByInstalments { amount: yuan("100.00"), count: 3 });
    let sale = world.outcome(Operation::Instalment).clone();
    assert_eq!(sale.status, OutcomeStatus::Approved);
    let slip = world.prints[0].render(48);
    assert!(slip.contains("分期消费(INSTALMENT)") && slip.contains("33.34") && slip.contains("33.33"), "{slip}");
    world.command(OperatorCommand::Tip { stan: sale.stan.unwrap(), tip: yuan("1.00") });
    assert_eq!(world.outcome(Operation::TipAdjustment).status, OutcomeStatus::Failed, "no tip on instalments");
    world.command(OperatorCommand::Void { stan: sale.stan.unwrap() });
    assert_eq!(world.outcome(Operation::Void).status, OutcomeStatus::Approved);
    assert_eq!(world.host.net_minor(), 0);
    world.faults = [Fault::LoseResponse].into();
    world.command(OperatorCommand::SellByInstalments { amount: yuan("60.00"), count: 6 });
    assert_eq!(world.outcome(Operation::Instalment).status, OutcomeStatus::Reversing);
    assert_eq!(world.host.net_minor(), 0);
    world.command(OperatorCommand::Settle);
    world.assert_agreement();
}
