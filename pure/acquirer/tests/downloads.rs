//! What a host tells its terminals of themselves: orders, terminal parameters, lists in pages, opaque sets, status.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use acquirer::{ParameterSet, Published, PublishedContent, Record};
use iso8583::unionpay::{Body, DownloadSet, Requirement, TerminalParameters, bin_list_request, parse_bin_page};
use machine::MachineId;
use machine::wire::Encode;
use std::sync::Arc;
use support::{Back, World};
use types::SecretBytes;

/// A host that publishes everything there is beside keys and applications.
fn world(version: u32) -> World {
    let mut world = World::enrolled();
    let before = world.host.config.parameters.clone();
    let named = |name: &str| TerminalParameters { merchant_name: Some(name.to_owned()), ..Default::default() };
    let all = TerminalParameters { response_timeout_s: Some(60), resend_count: Some(3), ..named("铁柜") };
    let mut parameters = ParameterSet { capk_version: 0, aid_version: 0, status_version: version, ..before };
    parameters.terminal.version = version;
    parameters.terminal.all = all;
    parameters.terminal.merchants.insert(world.terminal.peer().merchant, named("铁柜二店"));
    let fast = TerminalParameters { response_timeout_s: Some(45), ..Default::default() };
    parameters.terminal.terminals.insert(world.terminal.id, fast);
    let bins = (0..150).map(|number| format!("{:06}", 620_000 + number)).collect();
    let mut publish = |set, content| drop(parameters.published.insert(set, Published { version, content }));
    publish(DownloadSet::Tms, PublishedContent::Whole(b"20260315task".to_vec()));
    publish(DownloadSet::Contactless, PublishedContent::Whole(b"FF805D0011".to_vec()));
    publish(DownloadSet::CardBlacklist, PublishedContent::List(bins));
    Arc::make_mut(&mut world.host.config).parameters = parameters;
    world.host.machines.clear();
    world.sign_in();
    world
}

fn ask(world: &mut World, mti: &[u8; 4], code: u16, f62: Option<&[u8]>) -> (Body, Requirement) {
    let mut request = world.terminal.management(mti, code, None);
    request.f62 = f62.map(SecretBytes::copy_from);
    match world.send_plain(request) {
        Back::Answer(body, header) => (*body, header.requirement()),
        other => panic!("{other:?}"),
    }
}

fn field(body: Body) -> Vec<u8> {
    assert_eq!(body.response_code, Some(*b"00"));
    body.f62.unwrap().expose().to_vec()
}

#[test]
fn a_terminal_is_told_what_holds_for_it_and_its_enrolment_s_map() {
    let mut world = world(1);
    let (answer, requirement) = ask(&mut world, b"0800", 360, None);
    assert_eq!(requirement, Requirement::Nothing, "nothing is ordered within a download");
    let parameters = TerminalParameters::parse(&field(answer)).unwrap();
    let enrolment = world.host.state(&mut world.store, world.terminal.id).enrolment.unwrap();
    let expected = TerminalParameters {
        response_timeout_s: Some(45),
        resend_count: Some(3),
        merchant_name: Some("铁柜二店".to_owned()),
        allowed: Some(enrolment.allowed),
        ..Default::default()
    };
    assert_eq!(parameters, expected);
}

#[test]
fn newer_sets_are_ordered_one_after_the_other_until_their_ends() {
    let mut world = world(1);
    let mut orders = Vec::new();
    let (_, mut order) = ask(&mut world, b"0820", 301, None);
    while order != Requirement::Nothing {
        orders.push(order);
        assert!(orders.len() < 20, "{orders:?}");
        order = match DownloadSet::of_order(order.nibble()) {
            Some(set) => ask(&mut world, b"0800", set.end_code(), None).1,
            None => ask(&mut world, b"0820", 362, Some(b"011021031041051")).1,
        };
    }
    use Requirement::{DownloadBlacklist, DownloadContactless, DownloadParameters, DownloadTms, UploadStatus};
    assert_eq!(orders, [DownloadParameters, DownloadContactless, DownloadBlacklist, DownloadTms, UploadStatus]);
    assert_eq!(ask(&mut world, b"0820", 301, None).1, Requirement::Nothing);
    world.host.machines.clear();
    assert_eq!(ask(&mut world, b"0820", 301, None).1, Requirement::Nothing, "after a restart as well");
    world.host.machines.clear();
    Arc::make_mut(&mut world.host.config).parameters.terminal.version = 2;
    assert_eq!(ask(&mut world, b"0820", 301, None).1, DownloadParameters, "a newer version is ordered again");
}

#[test]
fn a_terminal_that_is_enrolled_anew_is_told_again() {
    let mut world = world(1);
    for set in DownloadSet::ALL {
        ask(&mut world, b"0800", set.end_code(), None);
    }
    assert_eq!(ask(&mut world, b"0820", 301, None).1, Requirement::UploadStatus);
    world.enrol("12345678", 1);
    assert_eq!(ask(&mut world, b"0820", 301, None).1, Requirement::DownloadParameters);
}

#[test]
fn lists_come_in_pages_and_empty_ones_say_so() {
    let mut world = world(1);
    let mut bins = Vec::new();
    loop {
        let (answer, _) = ask(&mut world, b"0800", 390, Some(&bin_list_request(bins.len())));
        let page = parse_bin_page(&field(answer)).unwrap();
        bins.extend(page.bins);
        if !page.more {
            break;
        }
    }
    assert_eq!((bins.len(), bins[149].as_str()), (150, "620149"));
    for (start, expected) in [(&b"999"[..], &b"0000"[..]), (b"150", b"0000")] {
        assert_eq!(field(ask(&mut world, b"0800", 390, Some(start)).0), expected);
    }
    assert_eq!(field(ask(&mut world, b"0800", 398, Some(b"000")).0), b"0000", "nothing is published");
    for wrong in [None, Some(&b"00"[..]), Some(b"0x0")] {
        assert_eq!(ask(&mut world, b"0800", 390, wrong).0.response_code, Some(*b"30"));
    }
}

#[test]
fn whole_sets_come_as_they_are_published_or_are_not_supported() {
    let mut world = world(1);
    assert_eq!(field(ask(&mut world, b"0800", 364, None).0), b"20260315task");
    assert_eq!(field(ask(&mut world, b"0800", 394, None).0), b"FF805D0011");
    assert_eq!(ask(&mut world, b"0800", 392, None).0.response_code, Some(*b"40"));
    assert_eq!(ask(&mut world, b"0800", 393, None).0.response_code, Some(*b"00"), "an end is an end");
}

#[test]
fn a_host_that_publishes_nothing_orders_nothing() {
    let mut world = world(0);
    assert_eq!(ask(&mut world, b"0820", 301, None).1, Requirement::Nothing);
    let parameters = TerminalParameters::parse(&field(ask(&mut world, b"0800", 360, None).0)).unwrap();
    assert!(parameters.allowed.is_some(), "who asks is told");
}

#[test]
fn what_a_terminal_has_and_says_is_written_down() {
    let mut world = world(3);
    ask(&mut world, b"0800", 361, None);
    ask(&mut world, b"0800", 361, None);
    ask(&mut world, b"0820", 362, Some(b"01102103104005122\xC0\xCF"));
    let journal = &world.store.journals[&MachineId::of_terminal(world.terminal.id)];
    let records: Vec<Record> = journal.iter().map(|(bytes, _)| Record::from_bytes(bytes).unwrap()).collect();
    let [.., downloaded, status] = &records[..] else { panic!("{records:?}") };
    assert_eq!(*downloaded, Record::Downloaded { set: DownloadSet::Terminal, version: 3 });
    let told = acquirer::explain(status);
    assert!(told.contains(&("status".to_owned(), "01102103104005122老".to_owned())), "{told:?}");
    for (bytes, _) in journal {
        let cuts = (1..bytes.len()).all(|length| Record::from_bytes(&bytes[..length]).is_err());
        assert!(cuts && Record::from_bytes(bytes).unwrap().to_bytes() == *bytes);
    }
    let snapshot = Record::Snapshot(Box::new(world.host.state(&mut world.store, world.terminal.id)));
    assert_eq!(Record::from_bytes(&snapshot.to_bytes()), Ok(snapshot));
}
