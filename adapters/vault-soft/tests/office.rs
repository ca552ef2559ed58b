//! The office: custodians, ceremonies, audit, remote loading; right use, foreign callers, and what goes wrong.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use keys::{
    Algorithm, AnyKeyBlock, AuditAct, AuditPage, AuditReader, AuditRecord, Caller, Command, CommandKind, CustodianName,
    CustodianProof, ExpectedCheck, KeyCheckValue, KeyHeader, Lineage, Owner, Refusal, Reply, Signed, Usage, Validity,
    permitted,
};
use machine::wire::Encode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use types::{Secret, SecretBytes};
use vault_soft::{
    AuditBytes, AuditError, AuditFiles, AuditMemory, CEREMONY_TIMEOUT_MS, CUSTODIAN_FAILURES_PER_MINUTE_MAX, Clock,
    LOAD_REQUEST_LIFETIME_MS, LOAD_TOKEN_LIFETIME_S, MasterSecrets, REFUSALS_RECORDED_PER_MINUTE_MAX, SoftVault,
    SystemEntropy, verify_audit_head, verify_record,
};

const PASSPHRASES: [&str; 3] = ["correct horse battery", "purple monkey dishes", "seven quiet rivers.."];
const NAMES: [&str; 3] = ["li.wei", "wang.fang", "zhao.min"];
/// Two components with odd parity and the sum that they give.
const COMPONENTS: [u128; 2] = [0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210, 0x1C1C_1F1F_0B0B_0D0D_0E0E_1010_1313_1515];

/// Time in a test's hand, milliseconds.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn unix_ms(&self) -> u64 {
        1_800_000_000_000 + self.now_ms()
    }
}

impl Hand {
    fn turn(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

struct Office {
    vault: SoftVault,
    memory: AuditMemory,
    hand: Hand,
    master: u8,
}

fn secrets(master: u8) -> MasterSecrets {
    MasterSecrets::from_master_key(Secret::take(&mut [master; 32]))
}

impl Office {
    fn new(master: u8) -> Self {
        Self::on(AuditMemory::default(), master, Hand::default()).unwrap()
    }

    fn on(memory: AuditMemory, master: u8, hand: Hand) -> Result<Self, AuditError> {
        let (clock, medium) = (Box::new(hand.clone()), Box::new(memory.clone()));
        let vault = SoftVault::with_audit(secrets(master), Box::new(SystemEntropy), clock, medium, Some("test 1"))?;
        Ok(Self { vault, memory, hand, master })
    }

    /// The vault as the next start finds it.
    fn restarted(self) -> Self {
        let bytes = self.memory.bytes().clone();
        Self::on(AuditMemory::of(bytes), self.master, self.hand).unwrap()
    }

    fn say(&self, caller: Caller, command: Command) -> Reply {
        self.vault.execute(caller, &[command]).pop().unwrap()
    }

    fn ask(&self, command: Command) -> Reply {
        self.say(Caller::Administration, command)
    }

    fn refusal(&self, command: Command) -> Refusal {
        refusal(self.ask(command))
    }

    fn with_custodians(self, count: usize) -> Self {
        for index in 0..count {
            let approver = (index >= 2).then(|| proof(0));
            done(self.ask(Command::RegisterCustodian { custodian: proof(index), approver }));
        }
        self
    }

    fn open(&self, components: u8) -> u64 {
        match self.ask(open_kek(components)) {
            Reply::Ceremony { state } => state.ceremony,
            other => panic!("{other:?}"),
        }
    }

    fn enter(&self, ceremony: u64, index: usize) -> Reply {
        self.ask(enter(ceremony, proof(index), COMPONENTS[index % 2]))
    }

    fn page(&self, from: u64, count: u16) -> AuditPage {
        match self.ask(Command::ReadAudit { from, count }) {
            Reply::AuditPage { page } => page,
            other => panic!("{other:?}"),
        }
    }

    /// The whole audit, its chain and the signature of its head checked.
    fn audit(&self) -> Vec<AuditRecord> {
        let page = self.page(1, u16::MAX);
        let mut reader = AuditReader::default();
        let records = page.frames.iter().map(|frame| reader.read(frame).unwrap()).collect();
        assert_eq!((reader.sequence(), reader.head()), (page.total, page.head));
        assert!(verify_audit_head(&page, &self.identity().0));
        records
    }

    fn acts(&self) -> Vec<&'static str> {
        self.audit().iter().map(|record| record.entry.act.name()).collect()
    }

    /// Record, distribution and terminal key.
    fn identity(&self) -> ([u8; 32], [u8; 32], [u8; 32]) {
        match self.ask(Command::VaultIdentity {}) {
            Reply::VaultIdentity { record, distribution, terminal } => (record, distribution, terminal),
            other => panic!("{other:?}"),
        }
    }
}

fn refusal(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused { why } => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused { .. })
}

fn done(reply: Reply) {
    assert!(matches!(reply, Reply::Done {}), "{reply:?}");
}

fn name(index: usize) -> CustodianName {
    CustodianName::new(NAMES[index]).unwrap()
}

fn proof_with(index: usize, passphrase: &str) -> CustodianProof {
    CustodianProof { name: name(index), passphrase: SecretBytes::copy_from(passphrase.as_bytes()) }
}

fn proof(index: usize) -> CustodianProof {
    proof_with(index, PASSPHRASES[index])
}

fn owner() -> Owner {
    Owner::new("10000001").unwrap()
}

fn open_kek(components: u8) -> Command {
    Command::OpenCeremony {
        usage: Usage::KeyEncryption,
        algorithm: Algorithm::TdesDouble,
        owner: owner(),
        version: 3,
        exportable: false,
        components,
    }
}

fn odd(value: u128) -> SecretBytes {
    let mut bytes = value.to_be_bytes();
    paycrypto::key_material::set_odd_parity(&mut bytes);
    SecretBytes::copy_from(&bytes)
}

fn enter(ceremony: u64, custodian: CustodianProof, component: u128) -> Command {
    Command::EnterComponent { ceremony, custodian, component: odd(component), expected: None }
}

fn check_of(bytes: &[u8]) -> KeyCheckValue {
    let key = paycrypto::TdesKey::new(bytes).unwrap();
    KeyCheckValue(paycrypto::check_value::unionpay_check_value(&key))
}

/// The combined key, reckoned outside the vault.
fn combined() -> [u8; 16] {
    let parts = COMPONENTS.map(|value| odd(value).expose().to_vec());
    let mut sum: [u8; 16] = core::array::from_fn(|i| parts[0][i] ^ parts[1][i]);
    paycrypto::key_material::set_odd_parity(&mut sum);
    sum
}

// Custodians.

#[test]
fn the_first_two_register_freely_and_the_third_needs_one_who_vouches() {
    let office = Office::new(1).with_custodians(2);
    let third = |approver| Command::RegisterCustodian { custodian: proof(2), approver };
    assert_eq!(office.refusal(third(None)), Refusal::AnotherCustodian);
    assert_eq!(office.refusal(third(Some(proof(2)))), Refusal::Custodian, "nobody vouches for themselves");
    assert_eq!(office.refusal(third(Some(proof_with(0, "not the passphrase")))), Refusal::Custodian);
    done(office.ask(third(Some(proof(0)))));
    let again = Command::RegisterCustodian { custodian: proof(1), approver: Some(proof(0)) };
    assert_eq!(office.refusal(again), Refusal::AnotherCustodian, "a registered name cannot be taken over");
    let Reply::Custodians { list } = office.ask(Command::ListCustodians {}) else { panic!("no list") };
    let vouched: Vec<_> = list.0.iter().map(|line| (line.name.text(), line.approved_by.clone())).collect();
    assert_eq!(vouched, [(NAMES[0], None), (NAMES[1], None), (NAMES[2], Some(name(0)))]);
}

#[test]
fn custodians_survive_a_restart_and_two_remain() {
    let office = Office::new(2).with_custodians(3).restarted();
    let remove = |who, by| Command::RemoveCustodian { name: name(who), approver: proof(by) };
    assert_eq!(office.refusal(remove(1, 1)), Refusal::AnotherCustodian);
    done(office.ask(remove(1, 0)));
    assert_eq!(office.refusal(remove(2, 0)), Refusal::AnotherCustodian, "two must remain");
    assert_eq!(office.refusal(remove(1, 0)), Refusal::Parameter);
    let office = office.restarted();
    assert_eq!(
        office.refusal(Command::ChangePassphrase {
            custodian: proof(1),
            passphrase: SecretBytes::copy_from(b"something quite else"),
        }),
        Refusal::Custodian,
        "who was removed is nobody"
    );
}

#[test]
fn a_changed_passphrase_counts_and_short_ones_do_not() {
    let office = Office::new(3).with_custodians(2);
    let change =
        |new: &[u8]| Command::ChangePassphrase { custodian: proof(0), passphrase: SecretBytes::copy_from(new) };
    assert_eq!(office.refusal(change(b"thirteenbytes")), Refusal::Parameter);
    done(office.ask(change(b"a fresh passphrase")));
    let office = office.restarted();
    let ceremony = office.open(2);
    assert_eq!(refusal(office.enter(ceremony, 0)), Refusal::Custodian, "the old passphrase");
    let right = enter(ceremony, proof_with(0, "a fresh passphrase"), COMPONENTS[0]);
    assert_eq!(office.ask(right).name(), "ComponentTaken");
}

#[test]
fn guessing_a_passphrase_is_limited_and_recorded() {
    let office = Office::new(4).with_custodians(2);
    let ceremony = office.open(2);
    let guess = |text: &str| enter(ceremony, proof_with(1, text), COMPONENTS[0]);
    for _ in 0..CUSTODIAN_FAILURES_PER_MINUTE_MAX {
        assert_eq!(office.refusal(guess("some wrong passphrase")), Refusal::Custodian);
    }
    assert_eq!(office.refusal(guess(PASSPHRASES[1])), Refusal::RateLimited, "even the right one waits");
    assert_eq!(office.enter(ceremony, 0).name(), "ComponentTaken", "others do not wait");
    office.hand.turn(60_000);
    assert_eq!(office.ask(guess(PASSPHRASES[1])).name(), "ComponentTaken");
    let acts = office.acts();
    let failures = acts.iter().filter(|act| **act == "LogInFailed").count();
    assert_eq!(failures, CUSTODIAN_FAILURES_PER_MINUTE_MAX as usize);
    assert!(acts.contains(&"LimitTripped"));
}

// Ceremonies.

#[test]
fn two_custodians_make_a_key_and_a_record_that_stands_alone() {
    let office = Office::new(5).with_custodians(2);
    let ceremony = office.open(2);
    for (index, component) in COMPONENTS.into_iter().enumerate() {
        let expected = check_of(odd(component).expose());
        match office.enter(ceremony, index) {
            Reply::ComponentTaken { check, state } => {
                assert_eq!((check, state.entered.len()), (expected, index + 1));
            }
            other => panic!("{other:?}"),
        }
    }
    let expected = ExpectedCheck::new(&check_of(&combined()).0[..3]);
    let reply = office.ask(Command::CompleteCeremony { ceremony, expected });
    let Reply::CeremonyCompleted { key, check, record } = reply else { panic!("{reply:?}") };
    assert_eq!(check, check_of(&combined()));
    assert_eq!((key.header.usage, key.header.version, key.header.exportable), (Usage::KeyEncryption, 3, false));
    let again = Reply::KeyCheck { check };
    assert_eq!(office.ask(Command::CheckKey { key: key.clone() }).to_bytes(), again.to_bytes());

    let record = String::from_utf8(record).unwrap();
    let vault = office.identity().0;
    let text = verify_record(&record, &vault).unwrap();
    assert!(text.contains("entered by li.wei") && text.contains(&format!("Check value: {check}")), "{text}");
    assert!(verify_record(&record.replace("wang.fang", "zhao.min"), &vault).is_none());
    assert!(verify_record(&record, &Office::new(6).identity().0).is_none(), "another vault's key");

    let office = office.restarted();
    let reply = office.ask(Command::ReadCeremonyRecord { ceremony });
    let Reply::CeremonyCompleted { key: same, record: again, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((same, String::from_utf8(again).unwrap()), (key, record), "key and record can be had again");
    assert_eq!(office.refusal(Command::ReadCeremonyRecord { ceremony: ceremony + 1 }), Refusal::Ceremony);
    assert_eq!(office.refusal(Command::ReadCeremonyRecord { ceremony: 0 }), Refusal::Ceremony);
    assert_eq!(office.refusal(Command::ReadCeremonyRecord { ceremony: u64::MAX }), Refusal::Ceremony);
}

#[test]
fn the_same_person_twice_and_wrong_components_are_refused_without_ending_the_ceremony() {
    let office = Office::new(7).with_custodians(2);
    let ceremony = office.open(2);
    let enter_bytes = |bytes: &[u8], expected: Option<&[u8]>| Command::EnterComponent {
        ceremony,
        custodian: proof(0),
        component: SecretBytes::copy_from(bytes),
        expected: expected.map(|bytes| ExpectedCheck::new(bytes).unwrap()),
    };
    let good = odd(COMPONENTS[0]);
    let mut even = good.expose().to_vec();
    even[15] ^= 1;
    let weak = [&[0x01; 8], &good.expose()[8..]].concat();
    for (bytes, expected, why) in [
        (&even[..], None, Refusal::Parameter),
        (&weak, None, Refusal::Parameter),
        (&[0; 16], None, Refusal::Parameter),
        (&good.expose()[..8], None, Refusal::Parameter),
        (good.expose(), Some(&[1, 2, 3][..]), Refusal::KeyCheck),
    ] {
        assert_eq!(office.refusal(enter_bytes(bytes, expected)), why);
    }
    let right = check_of(good.expose()).0;
    assert_eq!(office.ask(enter_bytes(good.expose(), Some(&right))).name(), "ComponentTaken");
    assert_eq!(refusal(office.enter(ceremony, 0)), Refusal::AnotherCustodian);
    assert_eq!(office.refusal(Command::CompleteCeremony { ceremony, expected: None }), Refusal::Ceremony);
    assert_eq!(refusal(office.enter(ceremony + 1, 1)), Refusal::Ceremony);
    assert_eq!(office.enter(ceremony, 1).name(), "ComponentTaken");
    let wrong = Command::CompleteCeremony { ceremony, expected: ExpectedCheck::new(&[9; 4]) };
    assert_eq!(office.refusal(wrong), Refusal::KeyCheck);
    let complete = Command::CompleteCeremony { ceremony, expected: None };
    assert_eq!(office.ask(complete).name(), "CeremonyCompleted");
}

#[test]
fn the_vault_draws_a_component_and_shows_it_once() {
    let office = Office::new(8).with_custodians(2);
    let ceremony = office.open(2);
    let reply = office.ask(Command::DrawComponent { ceremony, custodian: proof(0) });
    let Reply::ComponentDrawn { component, check, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(check, check_of(component.expose()));
    assert_eq!(office.refusal(Command::DrawComponent { ceremony, custodian: proof(0) }), Refusal::AnotherCustodian);
    assert_eq!(office.enter(ceremony, 1).name(), "ComponentTaken");
    let reply = office.ask(Command::CompleteCeremony { ceremony, expected: None });
    let Reply::CeremonyCompleted { check, .. } = reply else { panic!("{reply:?}") };
    let other = odd(COMPONENTS[1]);
    let mut sum: Vec<u8> = component.expose().iter().zip(other.expose()).map(|(one, two)| one ^ two).collect();
    paycrypto::key_material::set_odd_parity(&mut sum);
    assert_eq!(check, check_of(&sum));
    let bytes = office.memory.bytes().trail.clone();
    assert!(!bytes.windows(8).any(|window| component.expose().windows(8).any(|part| part == window)));
}

#[test]
fn one_ceremony_at_a_time_and_enough_custodians() {
    let office = Office::new(9).with_custodians(2);
    for (components, why) in [(0, Refusal::Parameter), (1, Refusal::Parameter), (10, Refusal::Parameter)] {
        assert_eq!(office.refusal(open_kek(components)), why);
    }
    assert_eq!(office.refusal(open_kek(3)), Refusal::AnotherCustodian);
    let ceremony = office.open(2);
    assert_eq!(office.refusal(open_kek(2)), Refusal::Ceremony);
    done(office.ask(Command::AbortCeremony { ceremony }));
    assert_eq!(office.refusal(Command::AbortCeremony { ceremony }), Refusal::Ceremony);
    assert_eq!(office.refusal(Command::CeremonyStatus {}), Refusal::Ceremony);
    office.open(2);
}

#[test]
fn a_ceremony_ends_by_itself_and_does_not_survive_a_restart() {
    let office = Office::new(10).with_custodians(2);
    let ceremony = office.open(2);
    office.enter(ceremony, 0);
    office.hand.turn(CEREMONY_TIMEOUT_MS - 1);
    assert_eq!(office.ask(Command::CeremonyStatus {}).name(), "Ceremony");
    office.hand.turn(1);
    // Whoever speaks next, a payment included, ends it.
    assert_eq!(office.say(Caller::Host, Command::Random { count: 1 }).name(), "Random");
    assert!(office.acts().contains(&"CeremonyAborted"));
    assert_eq!(refusal(office.enter(ceremony, 1)), Refusal::Ceremony);
    let next = office.open(2);
    let office = office.restarted();
    assert_eq!(refusal(office.enter(next, 0)), Refusal::Ceremony);
    let last = office.audit().pop().unwrap().entry.act;
    assert!(matches!(last, AuditAct::Refused { .. }), "{last:?}");
    let aborted = office.acts().iter().filter(|act| **act == "CeremonyAborted").count();
    assert_eq!(aborted, 2);
}

// Audit.

#[test]
fn every_act_is_recorded_and_no_secret_is() {
    let office = Office::new(11).with_custodians(2);
    let generate = Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: owner(),
        version: 1,
        exportable: true,
    };
    let Reply::KeyCreated { key: tmk, .. } = office.ask(generate) else { panic!("no key") };
    let ceremony = office.open(2);
    office.enter(ceremony, 0);
    office.enter(ceremony, 1);
    let reply = office.ask(Command::CompleteCeremony { ceremony, expected: None });
    let Reply::CeremonyCompleted { key: kek, .. } = reply else { panic!("{reply:?}") };
    let export = Command::ExportKey { key: tmk.clone(), under: kek.clone().typed().unwrap() };
    let Reply::KeyExported { enciphered, check } = office.ask(export) else { panic!("not exported") };
    let import = Command::ImportKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: owner(),
        version: 2,
        under: kek.typed().unwrap(),
        enciphered,
        check,
    };
    assert_eq!(office.ask(import).name(), "KeyCreated");
    assert_eq!(office.refusal(Command::TransportPublicKey {}), Refusal::Unavailable);
    let expected = [
        "Begun",
        "VaultOpened",
        "CustodianRegistered",
        "CustodianRegistered",
        "KeyMade",
        "CeremonyOpened",
        "ComponentEntered",
        "ComponentEntered",
        "CeremonyCompleted",
        "KeyExported",
        "KeyMade",
        "Refused",
    ];
    assert_eq!(office.acts(), expected);
    let bytes = office.memory.bytes().trail.clone();
    let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(!PASSPHRASES.iter().any(|text| holds(text.as_bytes())));
    assert!(!COMPONENTS.iter().any(|value| holds(&odd(*value).expose()[..8])) && !holds(&combined()[..8]));

    let mut lineage = Lineage::default();
    office.audit().iter().for_each(|record| lineage.read(record));
    let imported = lineage.find("TMK/10000001/2")[0];
    let ancestors = lineage.ancestors(imported);
    let [(1, _, Some(parent))] = ancestors[..] else { panic!("{ancestors:?}") };
    assert_eq!((parent.origin.word(), parent.made_by.as_str()), ("ceremony", "li.wei, wang.fang"));
    assert_eq!(lineage.find("TMK/10000001/1")[0].went_out.len(), 1);
}

#[test]
fn pages_are_bounded_and_join() {
    let office = Office::new(12).with_custodians(2);
    let whole = office.page(1, u16::MAX);
    assert_eq!(whole.total, 4);
    let parts = [office.page(1, 3), office.page(4, 3)];
    assert_eq!(parts.iter().flat_map(|page| page.frames.clone()).collect::<Vec<_>>(), whole.frames);
    for (from, count) in [(0, 5), (5, 1), (u64::MAX, u16::MAX), (1, 0)] {
        assert!(office.page(from, count).frames.is_empty(), "{from} {count}");
    }
}

#[test]
fn refused_floods_are_counted_and_a_host_out_of_bounds_is_recorded() {
    let office = Office::new(13);
    for _ in 0..REFUSALS_RECORDED_PER_MINUTE_MAX + 7 {
        assert_eq!(office.refusal(Command::CeremonyStatus {}), Refusal::Ceremony);
    }
    office.hand.turn(60_000);
    assert_eq!(refusal(office.say(Caller::Host, Command::ListCustodians {})), Refusal::NotPermitted);
    office.vault.note_breach(Caller::Host, "says\nwhat it may not").unwrap();
    let [.., counted, refused, breach] = &office.audit()[..] else { panic!("records") };
    assert!(matches!(counted.entry.act, AuditAct::RefusalsCounted { count: 7 }));
    assert_eq!(refused.entry.caller, Some(Caller::Host));
    assert!(matches!(&breach.entry.act, AuditAct::Breach { how } if how == "says what it may not"));
}

#[test]
fn without_a_durable_record_no_administrative_reply_leaves() {
    let office = Office::new(14).with_custodians(2);
    let before = office.memory.bytes().clone();
    office.memory.bytes().full = true;
    let generate = || Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: owner(),
        version: 1,
        exportable: true,
    };
    assert_eq!(office.refusal(generate()), Refusal::Unavailable);
    assert!(office.vault.audit_fault().is_some());
    office.memory.bytes().full = false;
    assert_eq!(office.refusal(generate()), Refusal::Unavailable, "until the next start");
    assert_eq!(office.say(Caller::Host, Command::Random { count: 1 }).name(), "Random", "payments go on");
    assert_eq!(office.memory.bytes().trail, before.trail);
    assert_eq!(office.restarted().ask(generate()).name(), "KeyCreated");
}

#[test]
fn a_vault_does_not_open_on_a_spoilt_trail() {
    let office = Office::new(15).with_custodians(2);
    let whole = office.memory.bytes().clone();
    let open = |bytes: AuditBytes, master| Office::on(AuditMemory::of(bytes), master, Hand::default()).map(|_| ());
    assert!(open(whole.clone(), 15).is_ok());
    let cut = AuditBytes { trail: whole.trail[..whole.trail.len() - 1].to_vec(), ..whole.clone() };
    assert!(matches!(open(cut, 15), Err(AuditError::Altered(_))));
    assert_eq!(open(whole.clone(), 16), Err(AuditError::Head), "another vault's trail");
    let gone = |master: MasterSecrets| {
        let medium = Box::new(AuditMemory::default());
        SoftVault::with_audit(master, Box::new(SystemEntropy), Box::new(Hand::default()), medium, None).map(|_| ())
    };
    assert!(gone(secrets(15)).is_ok(), "a vault of before there was an audit begins one");
    assert_eq!(gone(secrets(15).with_audit()), Err(AuditError::Missing));
    let again = MasterSecrets::from_bytes(&secrets(15).with_audit().to_bytes()).unwrap();
    assert_eq!(gone(again), Err(AuditError::Missing), "the vault file remembers");
}

#[test]
fn a_vault_without_a_trail_has_no_office() {
    let vault = SoftVault::new(secrets(16), Box::new(SystemEntropy), Box::new(Hand::default()));
    for command in [open_kek(2), Command::ReadAudit { from: 1, count: 1 }, Command::ListCustodians {}] {
        let reply = vault.execute(Caller::Administration, &[command]).pop().unwrap();
        assert_eq!(refusal(reply), Refusal::Unavailable);
    }
}

// Callers.

fn one_of_each() -> Vec<Command> {
    let proof = || proof(0);
    let block = {
        let header = KeyHeader {
            usage: Usage::TerminalMaster,
            algorithm: Algorithm::TdesDouble,
            exportable: true,
            owner: owner(),
            version: 1,
            validity: Validity::ALWAYS,
        };
        AnyKeyBlock { header, enciphered: vec![1; 45] }
    };
    vec![
        Command::ReadAudit { from: 1, count: 1 },
        Command::RegisterCustodian { custodian: proof(), approver: Some(proof()) },
        Command::RemoveCustodian { name: name(0), approver: proof() },
        Command::ChangePassphrase { custodian: proof(), passphrase: SecretBytes::copy_from(b"x") },
        Command::ListCustodians {},
        open_kek(2),
        enter(1, proof(), COMPONENTS[0]),
        Command::DrawComponent { ceremony: 1, custodian: proof() },
        Command::CeremonyStatus {},
        Command::CompleteCeremony { ceremony: 1, expected: ExpectedCheck::new(&[1; 3]) },
        Command::AbortCeremony { ceremony: 1 },
        Command::ReadCeremonyRecord { ceremony: 1 },
        Command::VaultIdentity {},
        Command::PinDistributionHost { public_key: [1; 32] },
        Command::BeginRemoteLoad { owner: owner() },
        Command::MakeLoadToken { request: vec![1], terminal: [1; 32], key: block },
        Command::AcceptLoadToken { token: vec![1] },
    ]
}

#[test]
fn callers_that_the_table_does_not_name_are_refused() {
    let kinds: Vec<CommandKind> = one_of_each().iter().map(Command::kind).collect();
    let all = CommandKind::ALL.iter().copied();
    let of_the_office = (CommandKind::ReadAudit..=CommandKind::AcceptLoadToken).clone();
    assert_eq!(kinds, all.filter(|kind| of_the_office.contains(kind)).collect::<Vec<_>>());
    let office = Office::new(17);
    for caller in Caller::ALL {
        for command in one_of_each() {
            let kind = command.kind();
            let reply = office.say(caller, command);
            let not_permitted = matches!(reply, Reply::Refused { why: Refusal::NotPermitted });
            assert_eq!(not_permitted, !permitted(caller, kind), "{caller:?} says {kind:?}: {reply:?}");
        }
    }
}

#[test]
fn commands_of_the_office_come_back_from_a_socket() {
    for command in one_of_each() {
        let bytes = command.to_bytes();
        assert_eq!(Command::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        assert!((0..bytes.len()).all(|length| Command::from_bytes(&bytes[..length]).is_err()));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 256, ..Default::default() })]
    #[test]
    fn hostile_requests_and_tokens_never_panic(bytes: Vec<u8>, at: u16, bit in 0_u8..8) {
        let loading = loading();
        let mut token = loading.token.clone();
        let at = usize::from(at) % token.len();
        token[at] ^= 1 << bit;
        for token in [bytes.clone(), token] {
            let reply = loading.terminal.say(Caller::Ped, Command::AcceptLoadToken { token });
            assert!(is_refused(&reply));
        }
        let request = Command::MakeLoadToken { request: bytes.clone(), terminal: [1; 32], key: loading.tmk.clone() };
        let reply = loading.host.ask(request);
        assert!(is_refused(&reply));
        let _ = verify_record(&String::from_utf8_lossy(&bytes), &[1; 32]);
        let _ = AuditReader::default().read(&bytes);
        let _ = AuditPage::from_bytes(&bytes);
    }
}

// Remote loading.

struct Loading {
    host: Office,
    terminal: Office,
    tmk: AnyKeyBlock,
    request: Vec<u8>,
    token: Vec<u8>,
}

fn tmk_of(host: &Office, usage: Usage, exportable: bool) -> AnyKeyBlock {
    let generate =
        Command::GenerateKey { usage, algorithm: Algorithm::TdesDouble, owner: owner(), version: 4, exportable };
    match host.ask(generate) {
        Reply::KeyCreated { key, .. } => key,
        other => panic!("{other:?}"),
    }
}

/// A terminal's vault that trusts `host`.
fn terminal_of(host: &Office, master: u8) -> Office {
    let terminal = Office::new(master);
    done(terminal.say(Caller::Ped, Command::PinDistributionHost { public_key: host.identity().1 }));
    terminal
}

fn begin(terminal: &Office) -> Vec<u8> {
    match terminal.say(Caller::Ped, Command::BeginRemoteLoad { owner: owner() }) {
        Reply::LoadRequest { request } => request,
        other => panic!("{other:?}"),
    }
}

fn make(host: &Office, terminal: &Office, request: &[u8], key: &AnyKeyBlock) -> Reply {
    let terminal = terminal.identity().2;
    host.ask(Command::MakeLoadToken { request: request.to_vec(), terminal, key: key.clone() })
}

fn token(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::LoadTokenMade { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

fn accept(terminal: &Office, token: &[u8]) -> Reply {
    terminal.say(Caller::Ped, Command::AcceptLoadToken { token: token.to_vec() })
}

fn new_loading(host_master: u8, terminal_master: u8) -> Loading {
    let host = Office::new(host_master);
    let terminal = terminal_of(&host, terminal_master);
    let tmk = tmk_of(&host, Usage::TerminalMaster, true);
    let request = begin(&terminal);
    let token = token(make(&host, &terminal, &request, &tmk));
    Loading { host, terminal, tmk, request, token }
}

/// RSA keys are costly: those tests that consume nothing share one.
fn loading() -> &'static Loading {
    static LOADING: OnceLock<Loading> = OnceLock::new();
    LOADING.get_or_init(|| new_loading(20, 21))
}

#[test]
fn a_key_reaches_the_terminal_once() {
    let Loading { host, terminal, tmk, token, .. } = new_loading(22, 23);
    let Reply::KeyCreated { key, check } = accept(&terminal, &token) else { panic!("not taken") };
    assert_eq!((key.header.usage, key.header.version, key.header.exportable), (Usage::TerminalMaster, 4, false));
    let Reply::KeyCheck { check: at_host } = host.ask(Command::CheckKey { key: tmk }) else { panic!("no check") };
    assert_eq!(check, at_host);
    let Reply::KeyCheck { check: at_home } = terminal.say(Caller::Ped, Command::CheckKey { key }) else {
        panic!("no check")
    };
    assert_eq!(check, at_home);
    assert_eq!(refusal(accept(&terminal, &token)), Refusal::NotAnAnswer, "the same token again");
    let request = begin(&terminal);
    assert_eq!(refusal(accept(&terminal, &token)), Refusal::NotAnAnswer, "to a new request");
    drop(request);
    assert!(terminal.acts().contains(&"KeyLoaded") && host.acts().contains(&"LoadTokenMade"));
    let mut lineage = Lineage::default();
    terminal.audit().iter().for_each(|record| lineage.read(record));
    assert_eq!(lineage.keys()[0].origin.word(), "remote-load");
}

#[test]
fn a_token_for_another_terminal_is_refused() {
    let Loading { host, terminal, tmk, request, .. } = loading();
    let other = Office::new(24);
    let cross = Command::MakeLoadToken { request: request.clone(), terminal: other.identity().2, key: tmk.clone() };
    assert_eq!(host.refusal(cross), Refusal::NotAuthentic, "the request is not by the enrolled terminal");
    let second = terminal_of(host, 25);
    let request = begin(&second);
    let token = token(make(host, &second, &request, tmk));
    assert_eq!(refusal(accept(terminal, &token)), Refusal::NotAnAnswer);
}

#[test]
fn another_host_is_not_believed_and_cannot_be_trusted_later() {
    let Loading { terminal, request, .. } = loading();
    let false_host = Office::new(26);
    let key = tmk_of(&false_host, Usage::TerminalMaster, true);
    let token = token(make(&false_host, terminal, request, &key));
    assert_eq!(refusal(accept(terminal, &token)), Refusal::NotAuthentic);
    let pin = |public_key| terminal.say(Caller::Ped, Command::PinDistributionHost { public_key });
    assert_eq!(refusal(pin(false_host.identity().1)), Refusal::DistributionHost);
    done(pin(loading().host.identity().1));
    let untrusting = Office::new(27);
    assert_eq!(
        refusal(untrusting.say(Caller::Ped, Command::BeginRemoteLoad { owner: owner() })),
        Refusal::DistributionHost
    );
    assert_eq!(refusal(accept(&untrusting, &loading().token)), Refusal::DistributionHost);
    let restarted = terminal_of(&loading().host, 28).restarted();
    let pin = Command::PinDistributionHost { public_key: [9; 32] };
    assert_eq!(refusal(restarted.say(Caller::Ped, pin)), Refusal::DistributionHost, "trust survives a restart");
}

#[test]
fn an_altered_header_is_refused_even_if_the_host_signs_it_again() {
    let Loading { host, terminal, tmk, .. } = new_loading(29, 30);
    let altered = |change: &dyn Fn(&mut keys::LoadToken), resign: bool| {
        let request = begin(&terminal);
        let bytes = token(make(&host, &terminal, &request, &tmk));
        let (mut token, signature) = keys::LoadToken::split(&bytes).unwrap();
        change(&mut token);
        let signature = if resign { distribution_signature(29, &token.signed_bytes()) } else { signature };
        refusal(accept(&terminal, &token.with_signature(&signature)))
    };
    for resign in [false, true] {
        // Signed again, the envelope still knows the header that it was made for.
        let expected = Refusal::NotAuthentic;
        assert_eq!(altered(&|token| token.header.version += 1, resign), expected);
        assert_eq!(altered(&|token| token.expires_s += 1, resign), expected);
        assert_eq!(altered(&|token| token.check.0[0] ^= 1, resign), expected);
    }
    assert_eq!(altered(&|token| token.header.exportable = true, true), Refusal::WrongKey);
    assert_eq!(altered(&|token| token.header.usage = Usage::PinEncryption, true), Refusal::WrongKey);
    assert_eq!(altered(&|token| token.header.owner = Owner::new("10000002").unwrap(), true), Refusal::WrongKey);
}

/// A signature of the distribution key, as only somebody with the host's master key could make it.
fn distribution_signature(master: u8, message: &[u8]) -> [u8; 64] {
    use aws_lc_rs::signature::Ed25519KeyPair;
    let master = paycrypto::mac::HmacSha256Key::new(&[master; 32]);
    let seed = master.mac(&[b"irontill signing key 1\0", b"key distribution"]);
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap().sign(message).as_ref().try_into().unwrap()
}

#[test]
fn what_is_late_is_refused() {
    let Loading { terminal, token, .. } = new_loading(31, 32);
    terminal.hand.turn(LOAD_TOKEN_LIFETIME_S * 1000 + 1000);
    assert_eq!(refusal(accept(&terminal, &token)), Refusal::Expired);
    let Loading { host, terminal, tmk, .. } = new_loading(33, 34);
    let request = begin(&terminal);
    terminal.hand.turn(LOAD_REQUEST_LIFETIME_MS + 1);
    host.hand.turn(LOAD_REQUEST_LIFETIME_MS + 1);
    let fresh = super_token(&host, &terminal, &request, &tmk);
    assert_eq!(refusal(accept(&terminal, &fresh)), Refusal::Expired, "a fresh token to an old request");
}

fn super_token(host: &Office, terminal: &Office, request: &[u8], key: &AnyKeyBlock) -> Vec<u8> {
    token(make(host, terminal, request, key))
}

#[test]
fn only_exportable_terminal_keys_of_the_terminal_leave() {
    let Loading { host, terminal, request, .. } = loading();
    let kept = tmk_of(host, Usage::TerminalMaster, false);
    assert_eq!(refusal(make(host, terminal, request, &kept)), Refusal::NotExportable);
    let issuers = tmk_of(host, Usage::IssuerMasterAc, true);
    assert_eq!(refusal(make(host, terminal, request, &issuers)), Refusal::NotPermitted);
    let other = Owner::new("10000002").unwrap();
    let generate = Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: other,
        version: 1,
        exportable: true,
    };
    let Reply::KeyCreated { key, .. } = host.ask(generate) else { panic!("no key") };
    assert_eq!(refusal(make(host, terminal, request, &key)), Refusal::WrongKey);
    let mut relabelled = kept;
    relabelled.header.exportable = true;
    assert_eq!(refusal(make(host, terminal, request, &relabelled)), Refusal::NotAuthentic);
}

// Files.

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vault-office-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn terminal(&self) -> Result<SoftVault, AuditError> {
        let medium = Box::new(AuditFiles::open_when_needed(&self.0.join("vault"))?);
        SoftVault::with_audit(secrets(40), Box::new(SystemEntropy), Box::new(Hand::default()), medium, None)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pin(vault: &SoftVault, key: u8) -> Reply {
    vault.execute(Caller::Ped, &[Command::PinDistributionHost { public_key: [key; 32] }]).pop().unwrap()
}

#[test]
fn a_terminals_files_come_with_its_first_record_and_have_one_writer() {
    let folder = Folder::new("terminal");
    let (first, second) = (folder.terminal().unwrap(), folder.terminal().unwrap());
    let files = || std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(files(), 0, "nothing is recorded, so nothing is there");
    done(pin(&first, 1));
    assert_eq!(files(), 2);
    let reader = folder.terminal().unwrap();
    let begin = Command::BeginRemoteLoad { owner: owner() };
    let reply = reader.execute(Caller::Ped, &[begin]).pop().unwrap();
    assert_eq!(reply.name(), "LoadRequest", "others may read what it holds");
    assert_eq!(refusal(pin(&second, 2)), Refusal::Unavailable, "and may not write beside it");
    drop((first, second, reader));
    assert_eq!(refusal(pin(&folder.terminal().unwrap(), 2)), Refusal::DistributionHost);
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
