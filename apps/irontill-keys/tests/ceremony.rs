//! Two custodians hold a ceremony over a real key process; its audit survives kills and shows cuts.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use irontill_keys::{verify_audit_head, verify_record};
use keys::{
    Algorithm, AuditPage, AuditReader, AuditRecord, Caller, Command, CustodianName, CustodianProof, KeyService, Owner,
    Refusal, Reply, Usage,
};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use types::SecretBytes;
use vault_remote::RemoteKeys;

const COMPONENTS: [[u8; 16]; 2] = [
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10],
    [0x1C, 0x1C, 0x1F, 0x1F, 0x0B, 0x0B, 0x0D, 0x0D, 0x0E, 0x0E, 0x10, 0x10, 0x13, 0x13, 0x15, 0x15],
];
const NAMES: [&str; 2] = ["li.wei", "wang.fang"];
const PASSPHRASES: [&str; 2] = ["correct horse battery", "purple monkey dishes"];

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("irontill-ceremony-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irontill-keys"));
        command.arg("--socket").arg(self.file("socket"));
        command.arg("--vault").arg(self.file("vault")).arg("--create");
        command.arg("--passphrase-file").arg(self.file("passphrase")).args(arguments);
        // Where there is nobody but root, as in a container.
        command.args(rustix::process::geteuid().is_root().then_some("--allow-root"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Process {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut log = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
            panic!("{log}");
        }
        Process(child)
    }

    /// Starts a process that must refuse to serve; its log.
    fn refused(&self) -> String {
        let output = self.command(&[]).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn administration(&self) -> RemoteKeys {
        RemoteKeys::connect(self.file("socket.admin"), Caller::Administration).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Process(Child);

impl Process {
    fn kill(mut self) -> String {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

fn ask(keys: &mut RemoteKeys, command: Command) -> Reply {
    keys.execute(&[command]).pop().unwrap()
}

fn proof(index: usize) -> CustodianProof {
    let name = CustodianName::new(NAMES[index]).unwrap();
    CustodianProof { name, passphrase: SecretBytes::copy_from(PASSPHRASES[index].as_bytes()) }
}

fn odd(component: &[u8; 16]) -> SecretBytes {
    let parity = |byte: &u8| byte & 0xFE | u8::from((byte & 0xFE).count_ones().is_multiple_of(2));
    SecretBytes::new(component.iter().map(parity).collect())
}

fn open_ceremony(keys: &mut RemoteKeys) -> u64 {
    let open = Command::OpenCeremony {
        usage: Usage::KeyEncryption,
        algorithm: Algorithm::TdesDouble,
        owner: Owner::new("BANK A").unwrap(),
        version: 1,
        exportable: false,
        components: 2,
    };
    match ask(keys, open) {
        Reply::Ceremony { state } => state.ceremony,
        other => panic!("{other:?}"),
    }
}

fn enter(keys: &mut RemoteKeys, ceremony: u64, index: usize) -> Reply {
    let component = odd(&COMPONENTS[index]);
    ask(keys, Command::EnterComponent { ceremony, custodian: proof(index), component, expected: None })
}

fn audit(keys: &mut RemoteKeys) -> (AuditPage, Vec<AuditRecord>) {
    let Reply::AuditPage { page } = ask(keys, Command::ReadAudit { from: 1, count: 1000 }) else { panic!("no page") };
    let mut reader = AuditReader::default();
    let records = page.frames.iter().map(|frame| reader.read(frame).unwrap()).collect();
    assert_eq!((reader.sequence(), reader.head()), (page.total, page.head));
    (page, records)
}

fn record_key(keys: &mut RemoteKeys) -> [u8; 32] {
    match ask(keys, Command::VaultIdentity {}) {
        Reply::VaultIdentity { record, .. } => record,
        other => panic!("{other:?}"),
    }
}

fn register_both(keys: &mut RemoteKeys) {
    for index in 0..2 {
        let command = Command::RegisterCustodian { custodian: proof(index), approver: None };
        assert!(matches!(ask(keys, command), Reply::Done {}));
    }
}

#[test]
fn two_custodians_make_a_key_and_a_kill_loses_nothing() {
    let folder = Folder::new("two");
    let process = folder.start(&[]);
    let mut keys = folder.administration();
    register_both(&mut keys);
    let ceremony = open_ceremony(&mut keys);
    assert_eq!(enter(&mut keys, ceremony, 0).name(), "ComponentTaken");
    assert!(matches!(enter(&mut keys, ceremony, 0), Reply::Refused { why: Refusal::AnotherCustodian }));
    assert_eq!(enter(&mut keys, ceremony, 1).name(), "ComponentTaken");
    let reply = ask(&mut keys, Command::CompleteCeremony { ceremony, expected: None });
    let Reply::CeremonyCompleted { key, check, record } = reply else { panic!("{reply:?}") };
    let (page, before) = audit(&mut keys);
    let public = record_key(&mut keys);
    assert!(verify_audit_head(&page, &public) && !verify_audit_head(&page, &[1; 32]));
    assert!(verify_record(core::str::from_utf8(&record).unwrap(), &public).is_some());
    let log = process.kill();

    let process = folder.start(&[]);
    let mut keys = folder.administration();
    let (_, after) = audit(&mut keys);
    assert_eq!(after[..before.len()], before[..], "every answered record survives SIGKILL");
    let Reply::KeyCheck { check: same } = ask(&mut keys, Command::CheckKey { key }) else { panic!("no check") };
    assert_eq!(same, check);
    let log = log + &process.kill();
    let written = fs::read(folder.file("vault.audit")).unwrap();
    let holds = |bytes: &[u8], secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    for secret in PASSPHRASES.iter().map(|text| text.as_bytes()).chain(COMPONENTS.iter().map(|part| &part[..8])) {
        assert!(!holds(&written, secret) && !holds(log.as_bytes(), secret));
    }
}

#[test]
fn an_open_ceremony_ends_with_the_process() {
    let folder = Folder::new("ends");
    let process = folder.start(&[]);
    let mut keys = folder.administration();
    register_both(&mut keys);
    let ceremony = open_ceremony(&mut keys);
    assert_eq!(enter(&mut keys, ceremony, 0).name(), "ComponentTaken");
    process.kill();
    let process = folder.start(&[]);
    let mut keys = folder.administration();
    assert!(matches!(enter(&mut keys, ceremony, 1), Reply::Refused { why: Refusal::Ceremony }));
    let acts: Vec<&str> = audit(&mut keys).1.iter().map(|record| record.entry.act.name()).collect();
    assert!(acts.contains(&"CeremonyAborted"), "{acts:?}");
    process.kill();
}

#[test]
fn a_cut_audit_is_not_served_and_may_be_set_aside() {
    let folder = Folder::new("cut");
    let process = folder.start(&[]);
    register_both(&mut folder.administration());
    process.kill();
    let path = folder.file("vault.audit");
    let whole = fs::read(&path).unwrap();

    // A torn end, as a crash leaves it, is repaired.
    let torn: Vec<u8> = whole.iter().copied().chain(*b"IT\x01half a record").collect();
    fs::write(&path, &torn).unwrap();
    folder.start(&[]).kill();
    let whole = fs::read(&path).unwrap();

    fs::write(&path, &whole[..whole.len() - 200]).unwrap();
    let log = folder.refused();
    assert!(log.contains("key-ceremony.md") && (log.contains("cut") || log.contains("altered")), "{log}");
    fs::remove_file(&path).unwrap();
    assert!(folder.refused().contains("was cut"));
    fs::remove_file(folder.file("vault.audit.head")).unwrap();
    assert!(folder.refused().contains("has always had one"));

    fs::write(&path, &whole[..whole.len() - 200]).unwrap();
    let process = folder.start(&["--set-audit-aside", "a test cut it"]);
    let records = audit(&mut folder.administration()).1;
    assert!(
        records[0].entry.act.detail().ends_with("was set aside: a test cut it"),
        "{}",
        records[0].entry.act.detail()
    );
    let aside = fs::read_dir(&folder.0)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("vault.audit.aside-"));
    assert_eq!(aside.count(), 1, "what was set aside is kept");
    process.kill();
}

#[test]
fn whoever_breaks_the_table_is_recorded() {
    let folder = Folder::new("breach");
    let process = folder.start(&[]);
    let mut host = RemoteKeys::connect(folder.file("socket"), Caller::Host).unwrap();
    let reply = ask(&mut host, Command::ListCustodians {});
    assert!(matches!(reply, Reply::Refused { why: Refusal::NotPermitted }));
    let records = audit(&mut folder.administration()).1;
    let last = &records.last().unwrap().entry;
    assert_eq!((last.caller, last.act.detail()), (Some(Caller::Host), "NotPermitted(ListCustodians)".to_owned()));
    process.kill();
}
