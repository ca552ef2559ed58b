//! A store that fails stops the host: it must not go on deciding.

use crate::system::System;
use acquirer::Enrolment;
use driver::Halt;
use irontill_host::{Engine, EngineParts};
use issuer::IssuerConfig;
use keys::{Algorithm, Caller, Command, KeyService, Owner, Reply, Usage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store_sqlite::SqliteStore;
use types::{Currency, InstitutionId, MerchantId, TerminalId};
use vault_soft::LocalKeys;

fn enrolment(system: &System, number: u32) -> Enrolment {
    let terminal = TerminalId::parse(&format!("FULL{number:04}")).unwrap();
    let command = Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: Owner::of_terminal(terminal),
        version: 1,
        exportable: false,
    };
    let mut keys = LocalKeys::new(system.vault.clone(), Caller::Administration);
    let Some(Reply::KeyCreated { key, .. }) = keys.execute(&[command]).pop() else { panic!("a key") };
    Enrolment {
        terminal,
        merchant: MerchantId::parse(crate::terminal::MERCHANT).unwrap(),
        terminal_number: number,
        name: "x".repeat(60),
        master_key: key.typed().unwrap(),
        currency: Currency::CNY,
        allowed: u32::MAX,
    }
}

#[test]
fn a_full_disk_stops_the_engine_and_what_it_answered_is_there() {
    let system = System::prepare();
    let mut writer = SqliteStore::open(&system.settings.store).unwrap();
    writer.limit_pages(30).unwrap();
    let institution = InstitutionId::parse("48020000").unwrap();
    let parts = EngineParts {
        host: Arc::new(acquirer::HostConfig::new(institution, acquirer::ParameterSet::default())),
        rules: Default::default(),
        issuer: IssuerConfig::new(institution),
        writer,
        reader: system.store(),
        key_lines: vec![Box::new(LocalKeys::new(system.vault.clone(), Caller::Host))],
        log: system.log(),
    };
    let ended = Arc::new(AtomicBool::new(false));
    let at_end = ended.clone();
    let (engine, _handle) = Engine::start(parts, move || at_end.store(true, Ordering::SeqCst));
    let mut accepted = 0;
    while let Ok(verdict) = engine.enrol(enrolment(&system, accepted + 1)) {
        verdict.unwrap();
        accepted += 1;
    }
    assert!(matches!(engine.stop(), Err(Halt::Store(_))));
    assert!(ended.load(Ordering::SeqCst) && system.logged("host: stopped: store"));
    let enrolled = system.admin().terminals().unwrap().len();
    assert!(accepted > 0 && enrolled == accepted as usize, "{accepted} accepted, {enrolled} in the store");
    system.assert_sound();
}
