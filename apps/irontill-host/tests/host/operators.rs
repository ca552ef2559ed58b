//! What operators do, beside a running host and by command line.

use crate::bureau::{Card, OPENING_MINOR, load_cards};
use crate::system::System;
use crate::terminal::{FreshTerminal, MERCHANT, code};
use irontill_host::{AdminError, EnrolledTerminal, TransportedKey, WrappedKey, today_utc};
use keys::KeyCheckValue;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use vault_remote::{KeyServer, ListenerConfig};

#[test]
fn terminals_enrolled_beside_a_running_host_are_served_at_once_and_listed() {
    let card = Card::new(20);
    let system = System::start(&[&card]);
    let mut first = system.terminal("12345678");
    let _second = system.enrol("87654321");
    let terminals = system.admin().terminals().unwrap();
    let shown: Vec<_> = terminals.iter().map(|one| (one.terminal.text(), one.terminal_number, one.signed_in)).collect();
    assert_eq!(shown, [("12345678", 1, true), ("87654321", 2, false)]);
    let sale = first.sale(&card, 100);
    assert_eq!(code(&first.send(&sale).unwrap()), "00");
    let mut anew = system.enrol("12345678");
    assert_eq!(
        anew.sign_in().unwrap(),
        "00",
        "a new master key is good at once, also for a host that knew the old one"
    );
    assert_eq!(system.admin().terminals().unwrap()[0].terminal_number, 1, "it keeps its number");
}

#[test]
fn a_transport_key_that_is_not_the_senders_is_refused() {
    let system = System::start(&[]);
    let fresh = FreshTerminal::new("12345678");
    let mut admin = system.admin();
    let public_key = admin.transport_public_key().unwrap();
    let mut order = fresh.order(&public_key);
    order.transport.check = KeyCheckValue([0; 4]);
    let refused = admin.enrol_terminal(&order, &system.authority, today_utc());
    assert!(matches!(refused, Err(AdminError::TransportCheck)));
    let mut order = fresh.order(&public_key);
    order.transport = TransportedKey { enciphered: vec![1; 384], ..order.transport };
    assert!(matches!(admin.enrol_terminal(&order, &system.authority, today_utc()), Err(AdminError::Keys(_))));
    let mut order = fresh.order(&public_key);
    order.certificate_request_pem = "nonsense".to_owned();
    assert!(matches!(admin.enrol_terminal(&order, &system.authority, today_utc()), Err(AdminError::Authority(_))));
    assert_eq!(admin.terminals().unwrap(), []);
}

#[test]
fn a_terminal_number_belongs_to_one_terminal() {
    let system = System::start(&[]);
    system.enrol("12345678");
    let fresh = FreshTerminal::new("87654321");
    let mut admin = system.admin();
    let public_key = admin.transport_public_key().unwrap();
    let mut order = fresh.order(&public_key);
    order.terminal_number = Some(1);
    let refused = admin.enrol_terminal(&order, &system.authority, today_utc());
    assert!(matches!(refused, Err(AdminError::Enrolment(_))), "{refused:?}");
}

#[test]
fn a_card_is_funded_once_however_often_it_is_loaded() {
    let card = Card::new(21);
    let system = System::start(&[&card]);
    load_cards(&mut system.admin(), &[&card]);
    let mut admin = system.admin();
    load_cards(&mut admin, &[&card, &Card::new(22)]);
    assert_eq!(admin.cards().unwrap(), 2);
    assert_eq!(system.balance("card/"), 2 * OPENING_MINOR);
    system.assert_sound();
}

/// Runs the program itself, with the system's vault behind real sockets.
fn program(system: &System, arguments: &[&str]) -> Output {
    let config = system.folder.join("host.conf");
    fs::write(&config, system.settings.to_text()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_irontill-host")).arg("--config").arg(config).args(arguments).output().unwrap()
}

pub fn key_server(system: &System) -> KeyServer {
    let uid = fs::metadata(&system.folder).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap();
    let listener = |path: &Path, caller| ListenerConfig { path: path.to_owned(), caller, allowed_uids: vec![uid] };
    let listeners = vec![
        listener(&system.settings.key_socket, keys::Caller::Host),
        listener(&system.settings.admin_key_socket, keys::Caller::Administration),
    ];
    let vault = system.vault.clone();
    let executor = move |caller: keys::Caller, commands: &[keys::Command]| vault.execute(caller, commands);
    KeyServer::start(listeners, std::sync::Arc::new(executor), std::sync::Arc::new(|_: &vault_remote::ServerEvent| {}))
        .unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_foreign_terminal_is_enrolled_by_command_line() {
    let card = Card::new(23);
    let system = System::start(&[&card]);
    let server = key_server(&system);
    let key_file = system.folder.join("transport.der");
    let written = program(&system, &["transport-key", "--out", key_file.to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    let fresh = FreshTerminal::new("FOREIGN1");
    let order = fresh.order(&fs::read(key_file).unwrap());
    let request = system.folder.join("request.pem");
    fs::write(&request, fresh.request_pem()).unwrap();
    let out = system.folder.join("home");
    let enrolled = program(
        &system,
        &[
            "enrol",
            "--terminal",
            "FOREIGN1",
            "--merchant",
            MERCHANT,
            "--name",
            "foreign",
            "--request",
            request.to_str().unwrap(),
            "--transport",
            &hex(&order.transport.enciphered),
            "--transport-check",
            &hex(&order.transport.check.0),
            "--out",
            out.to_str().unwrap(),
        ],
    );
    assert!(enrolled.status.success(), "{enrolled:?}");
    let text = fs::read_to_string(out.join("master-key.txt")).unwrap();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).unwrap();
    let enrolled = EnrolledTerminal {
        certificate_pem: fs::read_to_string(out.join("terminal.pem")).unwrap(),
        authority_pem: fs::read_to_string(out.join("authority.pem")).unwrap(),
        master_key: WrappedKey {
            enciphered: unhex(value("enciphered")),
            check: KeyCheckValue(unhex(value("check")).try_into().unwrap()),
            version: value("version").parse().unwrap(),
        },
        terminal_number: 1,
    };
    let mut terminal = fresh.install(&enrolled, system.address());
    assert_eq!(terminal.sign_in().unwrap(), "00");
    let sale = terminal.sale(&card, 1);
    assert_eq!(code(&terminal.send(&sale).unwrap()), "00");
    let listed = program(&system, &["list"]);
    assert!(String::from_utf8(listed.stdout).unwrap().starts_with("FOREIGN1 123456789012345 number 000001 signed in"));
    let verified = program(&system, &["verify"]);
    assert!(verified.status.success() && String::from_utf8(verified.stdout).unwrap().contains(": 0 findings"));
    assert!(!program(&system, &["enrol", "--terminal", "SHORT"]).status.success());
    server.stop();
}
