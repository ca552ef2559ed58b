//! Scripted flows on the product's own stores, with a share of their storage operations going wrong. All of them:
//! `irontill sim flows --stride 1 --recovery-stride 1`.

use memory_disk::When;
use sim::{Cut, FLOWS, Node, play, play_on_lying_disks, try_operations, try_recoveries};

/// One operation and way in so many is tried here.
const STRIDE: u64 = 197;
/// One pair of operations in so many.
const RECOVERY_STRIDE: u64 = 4_001;

#[test]
fn every_flow_ends_as_its_name_says() {
    let ends = |name: &str| {
        let flow = FLOWS.iter().find(|flow| flow.name == name).unwrap();
        let played = play(flow, None).unwrap();
        assert!(played.violations.is_empty(), "{name}: {:?}", played.violations);
        assert!(Node::ALL.iter().all(|node| *node == Node::Ped || played.operations[node] > 0), "{name}: {played:?}");
        played
    };
    let slips = |name: &str, title: &str| ends(name).slips.get(title).copied();
    let ends = |name: &str| ends(name).outcomes;
    assert_eq!(ends("sale").get("approved"), Some(&1));
    assert_eq!(ends("sale beyond the card's limit").get("declined"), Some(&1));
    assert_eq!(ends("sale with a wrong PIN").get("declined"), Some(&1));
    assert_eq!(ends("sale whose answer is lost").get("reversed"), Some(&1));
    assert_eq!(ends("two refunds of one sale").get("approved"), Some(&3));
    assert_eq!(ends("completion taken back").get("approved"), Some(&3));
    assert_eq!(slips("sale for which no line could be had", "脱机消费 of them Y3"), Some(1));
    assert_eq!(slips("sale for which no line could be had", "脱机消费(OFFLINE SALE)"), Some(4));
    assert_eq!(ends("offline sale taken back").get("reversed"), Some(&1));
    assert_eq!(slips("tip", "结算调整(ADJUST)"), Some(1));
    assert_eq!(slips("tip whose answer is lost", "消费撤销(VOID)"), Some(1));
    assert_eq!(slips("instalments", "分期消费(INSTALMENT)"), Some(1));
    assert_eq!(ends("instalments whose answer is lost").get("reversed"), Some(&1));
}

#[test]
fn storage_operations_go_wrong_and_no_promise_is_broken() {
    assert!(FLOWS.len() >= 25);
    for flow in FLOWS {
        let mut tally = try_operations(flow, STRIDE).unwrap();
        if flow.core {
            try_recoveries(flow, RECOVERY_STRIDE, &mut tally).unwrap();
        }
        assert!(tally.broken.is_empty(), "{}: {:?}", flow.name, tally.broken);
        assert_eq!(tally.struck, tally.plays - 1, "{}: a planned operation was not reached", flow.name);
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_on_every_node_that_keeps_money() {
    let flow = FLOWS.iter().find(|flow| flow.name == "void").unwrap();
    let operations = play(flow, None).unwrap().operations;
    for node in [Node::Till, Node::Host] {
        let caught = (0..operations[&node]).any(|operation| {
            let cut = Cut { node, operation, when: When::Before, draw: 0, again: None };
            !play_on_lying_disks(flow, cut).unwrap().violations.is_empty()
        });
        assert!(caught, "{node:?}: nobody noticed what was lost");
    }
}
