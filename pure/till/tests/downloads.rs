//! What the host tells a till of itself: terminal parameters and what they change, lists in pages, opaque sets, status.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use iso8583::gbk;
use till::{DownloadSet, Operation, OperatorCommand, OutcomeStatus, Receipt, Screen};
use types::Stan;
use world::{Fault, World, config, yuan};

/// F62 of a 360 reply.
fn parameters(tags: &str) -> Vec<u8> {
    tags.as_bytes().to_vec()
}

fn ordered(sets: &[(&str, Vec<u8>)], order: u8) -> World {
    let mut world = World::ready();
    world.host.sets = sets.iter().map(|(code, content)| ((*code).to_owned(), content.clone())).collect();
    world.host.orders = vec![order];
    world.command(OperatorCommand::Echo);
    world
}

#[test]
fn ordered_parameters_are_fetched_kept_and_acknowledged() {
    let name = gbk::encode("铁柜二店").unwrap();
    let padded = [&b"22"[..], &name, &[b' '; 32]].concat();
    let content = [parameters("1245181191520121123524"), parameters("1"), padded].concat();
    let world = ordered(&[("360", content)], 1);
    assert_eq!(world.host.acknowledged, ["361"]);
    assert!(world.till.pending().is_empty());
    for till in [&world.till, &world.restored()] {
        let config = till.config();
        assert_eq!((config.timeouts.response_ms, config.resend_count), (45_000, 5));
        assert_eq!(config.tip_percent_max, 15);
        assert!(config.manual_entry && config.automatic_sign_off && config.upload_before_transaction);
        assert_eq!(config.merchant_name, "铁柜二店");
    }
}

#[test]
fn a_host_that_wants_no_tips_gets_none() {
    for (tags, percent) in [("180", 0), ("1801915", 0), ("1811915", 15), ("182", config().tip_percent_max)] {
        assert_eq!(ordered(&[("360", parameters(tags))], 1).till.config().tip_percent_max, percent, "{tags}");
    }
}

#[test]
fn a_timeout_below_forty_seconds_is_forty() {
    for (tag, timeout_ms) in [("1205", 40_000), ("1240", 40_000), ("1299", 99_000)] {
        let world = ordered(&[("360", parameters(tag))], 1);
        assert_eq!(world.till.config().timeouts.response_ms, timeout_ms);
    }
}

#[test]
fn slips_carry_the_downloaded_name() {
    let name = gbk::encode("铁柜二店").unwrap();
    let mut world = ordered(&[("360", [&b"22"[..], &name, &[b' '; 32]].concat())], 1);
    world.sale("12.50");
    let Some(Receipt::Payment(slip)) = world.prints.last() else { panic!("{:?}", world.prints) };
    assert_eq!(slip.merchant_name, "铁柜二店");
}

#[test]
fn what_a_download_leaves_out_stays_as_it_was() {
    let mut world = ordered(&[("360", parameters("1250235"))], 1);
    world.host.sets.insert("360".to_owned(), parameters("232"));
    world.command(OperatorCommand::Download { set: DownloadSet::Terminal });
    assert_eq!((world.last().operation, world.last().status), (Operation::Download, OutcomeStatus::Done));
    let config = world.till.config();
    assert_eq!((config.timeouts.response_ms, config.resend_count), (50_000, 2));
    assert_eq!(config.merchant_name, world.config.merchant_name, "never downloaded");
}

#[test]
fn a_transaction_that_the_map_forbids_is_refused_in_words() {
    // Everything but refunds (8) and balance inquiries (1).
    let mut world = ordered(&[("360", b"26\x7E\xFF\xFF\xFF".to_vec())], 1);
    let sent = world.sent.len();
    world.command(OperatorCommand::Balance);
    let Some(Screen::Refused { reason }) = world.screens.last() else { panic!("{:?}", world.screens.last()) };
    assert_eq!(
        (reason.zh.as_str(), reason.en.as_str()),
        ("终端不允许余额查询", "Balance inquiry is not allowed on this terminal")
    );
    assert_eq!((world.last().operation, world.last().status), (Operation::Balance, OutcomeStatus::Failed));
    assert_eq!(world.sent.len(), sent, "nothing is sent");
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
}

#[test]
fn parameters_that_cannot_be_are_refused_whole() {
    for content in
        [b"12502600000000".to_vec(), b"1250 ".to_vec(), b"125026\0\0\0\0".to_vec(), b"125099".to_vec(), vec![]]
    {
        let mut world = World::ready();
        let before = world.till.config().clone();
        world.host.sets.insert("360".to_owned(), content.clone());
        world.command(OperatorCommand::Download { set: DownloadSet::Terminal });
        if content == b"12502600000000" {
            // "0000" are four raw bytes of a map, and "0000" behind them is no tag.
            assert!(world.last().message.en.contains("62.00"), "{}", world.last().message.en);
        }
        assert_eq!(world.last().status, OutcomeStatus::Failed, "{content:?}");
        assert_eq!(world.till.config(), &before);
        assert!(world.host.acknowledged.is_empty());
        assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved);
    }
}

#[test]
fn the_host_never_believes_in_parameters_that_the_till_has_not() {
    for records in 1..12 {
        for released in [false, true] {
            let mut world = World::ready();
            world.host.sets.insert("360".to_owned(), parameters("235"));
            world.host.orders = vec![1];
            world.crash_at = Some((world.journal.len() + records, released));
            world.command(OperatorCommand::Echo);
            world.run_for(300_000);
            let acknowledged = !world.host.acknowledged.is_empty();
            assert!(!acknowledged || world.till.config().resend_count == 5, "{records} {released}");
            assert_eq!(world.restored().config(), world.till.config());
        }
    }
}

#[test]
fn a_lost_end_is_sent_again_and_a_lost_order_costs_nothing() {
    let mut world = World::ready();
    world.host.sets.insert("360".to_owned(), parameters("235"));
    world.host.orders = vec![1];
    world.faults = [Fault::None, Fault::LoseResponse, Fault::None, Fault::LoseResponse].into();
    world.command(OperatorCommand::Echo);
    assert_eq!(world.host.acknowledged, ["361", "361"]);
    assert!(world.till.pending().is_empty());
    assert_eq!(world.till.config().resend_count, 5);
}

#[test]
fn a_host_that_orders_what_it_does_not_have_is_asked_ever_more_seldom() {
    let mut world = World::ready();
    world.host.orders = vec![1; 4_000];
    world.command(OperatorCommand::Echo);
    let before = world.sent.len();
    world.run_for(6 * 3_600_000);
    assert!(world.sent.len() - before < 40, "{}", world.sent.len() - before);
    assert_eq!(world.sale("12.50").status, OutcomeStatus::Approved, "and it does not hold up a sale");
}

#[test]
fn a_list_in_pages_comes_whole_and_survives() {
    let first = b"200206622500046226".to_vec();
    let mut world = ordered(&[("398@000", first), ("398@002", b"1001086225880".to_vec())], 0xC);
    assert!(
        world.till.state().management.sets.is_empty(),
        "a cut entry in the second page leaves nothing of the first"
    );
    assert!(!world.till.pending().is_empty(), "the order stays");
    world.host.sets.insert("398@002".to_owned(), b"10010862258801".to_vec());
    world.command(OperatorCommand::Download { set: DownloadSet::PinFreeBlacklist });
    assert_eq!(world.last().status, OutcomeStatus::Done, "{}", world.last().message.en);
    let bins = world.restored().state().management.bins(DownloadSet::PinFreeBlacklist);
    assert_eq!(bins, ["622500", "6226", "62258801"]);
    assert_eq!(world.host.acknowledged, ["399"]);
    assert!(world.till.pending().is_empty());
}

#[test]
fn opaque_sets_and_contactless_parameters_are_kept_as_they_came() {
    let contactless = b"FF805D0011FF8058012000000100000".to_vec();
    let sets = [("364", b"20260315task".to_vec()), ("392", b"156840".to_vec()), ("394", contactless.clone())];
    for (order, set, end) in
        [(6, DownloadSet::Tms, "365"), (8, DownloadSet::Rates, "393"), (9, DownloadSet::Contactless, "395")]
    {
        let world = ordered(&sets, order);
        let code = set.download_code().to_string();
        let sent = sets.iter().find(|(of, _)| **of == code).unwrap();
        assert_eq!(world.restored().state().management.sets[&set], sent.1);
        assert_eq!(world.host.acknowledged, [end]);
    }
    let world = ordered(&sets, 9);
    let kept = world.till.state().management.contactless();
    assert_eq!((kept[1].tag.as_str(), kept[1].value.as_str()), ("FF8058", "000000100000"));
}

#[test]
fn the_status_is_told_when_ordered_and_when_asked_for() {
    let mut world = ordered(&[], 2);
    assert_eq!(world.host.statuses.len(), 1);
    assert!(world.till.pending().is_empty());
    world.command(OperatorCommand::ReportStatus);
    assert_eq!((world.last().operation, world.last().status), (Operation::StatusReport, OutcomeStatus::Done));
    let status = &world.host.statuses[1];
    assert!(status.starts_with(b"01102103104105112601811920"), "{}", String::from_utf8_lossy(status));
    assert!(status.ends_with(b"2700"));
    let name = gbk::encode(&config().merchant_name).unwrap();
    assert!(status.windows(name.len()).any(|window| window == name));
}

#[test]
fn a_settlement_ends_with_a_sign_off_where_the_host_wants_it() {
    for answered in [true, false] {
        let mut world = ordered(&[("360", parameters("211"))], 1);
        world.sale("12.50");
        // The totals, one certificate, the batch end; then the sign-off.
        let lost = if answered { Fault::None } else { Fault::LoseResponse };
        world.faults = [Fault::None, Fault::None, Fault::None, lost].into();
        world.command(OperatorCommand::Settle);
        assert_eq!((world.last().operation, world.last().status), (Operation::Settlement, OutcomeStatus::Done));
        assert_eq!((world.host.sign_offs, world.till.status().signed_in), (1, !answered));
        assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved, "it signs in again by itself");
        world.assert_agreement();
    }
}

#[test]
fn a_sale_is_forbidden_only_by_a_map_that_allows_something_else() {
    let mut world = ordered(&[("360", b"26\x40\0\0\0".to_vec())], 1);
    world.command(OperatorCommand::Sale { amount: yuan("1.00") });
    assert!(matches!(world.screens.last(), Some(Screen::Refused { .. })));
    world.command(OperatorCommand::PreAuthorise { amount: yuan("1.00") });
    assert_eq!(world.last().status, OutcomeStatus::Approved);
    assert_ne!(world.till.status().next_stan, Stan::FIRST);
}
