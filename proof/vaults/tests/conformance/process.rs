//! The key process on each custody: started, killed, started again, refused.

use crate::passphrase::PassphraseFiles;
use crate::pkcs11::Tokens;
use crate::room::{SOFTHSM_CONFIGURATION, finish, run, tool, until, wait};
use crate::stage::{Stage, Which};
use crate::tpm::Tpms;
use keys::{
    Algorithm, AnyKeyBlock, AuditAct, AuditReader, Beginning, Caller, Command, KeyCheckValue, KeyService, Owner, Reply,
    Usage,
};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use vault_remote::RemoteKeys;

const PROGRAM: &str = env!("CARGO_BIN_EXE_keys-under-test");
const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);
/// Fault: design of the command line, exit codes.
const EXIT_FAULT: i32 = 3;

/// The environment is shed; where SoftHSM2 has its tokens stands in it. Root only because the tests may have nobody else.
const FLAGS: [&str; 3] = ["--keep-env", SOFTHSM_CONFIGURATION, "--allow-root"];

/// Whoever is not root; needs no account.
const SOMEBODY: &str = "65534";
const LOG: &str = "log";

/// A running key process. Killed when dropped.
pub struct Process(Child);

fn command(folder: &Path, custody: &str) -> std::process::Command {
    let mut command = std::process::Command::new(PROGRAM);
    command.arg("--socket").arg(folder.join("socket")).arg("--vault").arg(folder.join("vault"));
    command.args(["--custody", custody]).args(FLAGS);
    command
}

impl Process {
    pub fn start(folder: &Path, custody: &str, create: bool) -> Self {
        Self::start_with(folder, custody, if create { &["--create"] } else { &[] })
    }

    fn start_with(folder: &Path, custody: &str, flags: &[&str]) -> Self {
        let mut command = command(folder, custody);
        // Its standard input ends with this process, however that ends, and it with it.
        command.arg("--stop-with-stdin").args(flags);
        Self::of(command, folder)
    }

    fn of(mut command: std::process::Command, folder: &Path) -> Self {
        let log = std::fs::File::create(folder.join(LOG)).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let process = Self(child);
        let (said, line) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            // Nobody listens any more if the process took too long.
            let _ = said.send(line);
        });
        let line = line.recv_timeout(PROCESS_TIMEOUT).expect("the process starts in time");
        assert_eq!(line, "ready\n", "{}", process.log(folder));
        process
    }

    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    fn log(&self, folder: &Path) -> String {
        std::fs::read_to_string(folder.join(LOG)).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = wait(&mut self.0, PROCESS_TIMEOUT);
    }
}

fn one(keys: &mut RemoteKeys, command: Command) -> Reply {
    keys.execute(&[command]).pop().unwrap()
}

fn make_key(folder: &Path) -> (AnyKeyBlock, KeyCheckValue) {
    let mut administration = RemoteKeys::connect(folder.join("socket.admin"), Caller::Administration).unwrap();
    let command = Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: Owner::new("12345678").unwrap(),
        version: 1,
        exportable: true,
    };
    match one(&mut administration, command) {
        Reply::KeyCreated { key, check } => (key, check),
        other => panic!("{other:?}"),
    }
}

fn check(folder: &Path, key: &AnyKeyBlock) -> KeyCheckValue {
    let mut host = RemoteKeys::connect(folder.join("socket"), Caller::Host).unwrap();
    match one(&mut host, Command::CheckKey { key: key.clone() }) {
        Reply::KeyCheck { check } => check,
        other => panic!("{other:?}"),
    }
}

/// The acts on the vault's audit trail, its chain checked.
fn acts(folder: &Path) -> Vec<AuditAct> {
    let mut administration = RemoteKeys::connect(folder.join("socket.admin"), Caller::Administration).unwrap();
    let Reply::AuditPage { page } = one(&mut administration, Command::ReadAudit { from: 1, count: 1000 }) else {
        panic!("no audit")
    };
    let mut reader = AuditReader::default();
    page.frames.iter().map(|frame| reader.read(frame).unwrap().entry.act).collect()
}

fn handovers(folder: &Path) -> usize {
    acts(folder).iter().filter(|act| matches!(act, AuditAct::VaultResealed { .. })).count()
}

fn hand_over(folder: &Path, from: &str, to: &str) -> (i32, String) {
    let mut reseal = std::process::Command::new(PROGRAM);
    reseal.arg("--vault").arg(folder.join("vault")).args(["--custody", from, "--reseal-to", to]).args(FLAGS);
    let (status, output) = finish(&mut reseal, PROCESS_TIMEOUT);
    (status.expect("it leaves by itself").code().unwrap(), output)
}

fn lives_and_dies(stage: &mut impl Stage, folder: &Path) {
    let process = Process::start(folder, &stage.address(Which::Own), true);
    let (key, value) = make_key(folder);
    assert_eq!(check(folder, &key), value);
    drop(process);
    for _ in 0..2 {
        stage.restart();
        let process = Process::start(folder, &stage.address(Which::Own), false);
        assert_eq!(check(folder, &key), value, "the same key block after kill -9 and a restarted device");
        // The device is asked once, when the process starts.
        stage.take_away();
        assert_eq!(check(folder, &key), value);
        stage.bring_back();
        drop(process);
    }
    let (own, next) = (stage.address(Which::Own), stage.address(Which::Next));
    let (code, output) = hand_over(folder, &own, &next);
    assert_eq!(code, 0, "{output}");
    assert_eq!(refused(folder, &own).0, EXIT_FAULT);
    let process = Process::start(folder, &next, false);
    assert_eq!(check(folder, &key), value, "the same key block after the custody's key was changed");
    assert_eq!(handovers(folder), 1);
    // A trail has one writer, so a vault that is served is not handed over behind its process's back.
    let content = std::fs::read(folder.join("vault")).unwrap();
    let (code, output) = hand_over(folder, &next, &own);
    assert_eq!((code, output.contains("audit")), (EXIT_FAULT, true), "{output}");
    assert_eq!(std::fs::read(folder.join("vault")).unwrap(), content);
    drop(process);
}

/// What the kernel says of a process; its own user may not look closer at one that is closed to debuggers, so not all of
/// it can be had by everybody.
fn is_locked_in(process: &Process, log: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((value("Seccomp:"), value("NoNewPrivs:")), ("2".to_owned(), "1".to_owned()));
    assert!(log.contains("files=Full system_calls=Full"), "{log}");
    assert!(log.contains("environment_shed=true"), "{log}");
}

/// Its open files; only root may look.
fn open_files(process: &Process) -> Vec<String> {
    let folder = format!("/proc/{}/fd", process.id());
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

/// Nothing of the custody's: only standard ones, Unix sockets, and the files beside the vault.
fn holds_nothing_of_its_custody(process: &Process, folder: &Path) {
    let own = |file: &str| {
        let name = Path::new(file).strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default();
        file.starts_with("pipe:") || ["log", "vault.audit", "vault.audit.head", "vault.tries"].contains(&name)
    };
    let unix = std::fs::read_to_string(format!("/proc/{}/net/unix", process.id())).unwrap();
    for file in open_files(process) {
        let socket = file.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        let ours = match socket {
            // Inode is a column of its own.
            Some(inode) => unix.lines().any(|line| line.split_whitespace().any(|column| column == inode)),
            None => own(&file) || file == "/dev/null",
        };
        assert!(ours, "{file} is open");
    }
    let mapped = std::fs::read_to_string(format!("/proc/{}/maps", process.id())).unwrap_or_default();
    assert!(!mapped.contains("libsofthsm"), "the token's module is in the key process");
}

fn serves_locked_in(stage: &mut impl Stage, folder: &Path) {
    drop(Process::start(folder, &stage.address(Which::Own), true));
    let process = Process::start(folder, &stage.address(Which::Own), false);
    let (key, value) = make_key(folder);
    assert_eq!(check(folder, &key), value);
    is_locked_in(&process, &process.log(folder));
    holds_nothing_of_its_custody(&process, folder);
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    assert_eq!(std::fs::read_to_string(children).unwrap_or_default(), "", "no process that asked is left");
}

fn sets_an_audit_aside(stage: &mut impl Stage, folder: &Path) {
    let process = Process::start(folder, &stage.address(Which::Own), true);
    let (key, value) = make_key(folder);
    drop(process);
    let trail = folder.join("vault.audit");
    let mut content = std::fs::read(&trail).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&trail, &content).unwrap();
    let (code, output) = refused(folder, &stage.address(Which::Own));
    assert_eq!((code, output.contains("When the audit does not open")), (EXIT_FAULT, true), "{output}");
    let why = ["--set-audit-aside", "a bit of the disk fell over"];
    let process = Process::start_with(folder, &stage.address(Which::Own), &why);
    assert_eq!(check(folder, &key), value, "the keys do not hang on the trail");
    let begun = acts(folder).into_iter().next();
    let said = |reason: &str| reason == why[1];
    assert!(
        matches!(&begun, Some(AuditAct::Begun { why: Beginning::SetAside { reason, .. } }) if said(reason)),
        "{begun:?}"
    );
    drop(process);
}

fn refused(folder: &Path, custody: &str) -> (i32, String) {
    let (status, output) = finish(&mut command(folder, custody), PROCESS_TIMEOUT);
    (status.expect("it leaves by itself").code().unwrap(), output)
}

fn says_what_is_wrong(stage: &mut impl Stage, folder: &Path, words: [&str; 2]) {
    drop(Process::start(folder, &stage.address(Which::Own), true));
    let (code, output) = refused(folder, &stage.address(Which::WrongSecret));
    assert_eq!(code, EXIT_FAULT);
    assert!(output.contains(words[0]), "{output}");
    for secret in [crate::passphrase::OWN, crate::pkcs11::PIN, crate::tpm::AUTH, crate::passphrase::WRONG] {
        assert!(!output.contains(secret), "{output}");
    }
    let address = stage.address(Which::Own);
    stage.take_away();
    let (code, output) = refused(folder, &address);
    assert_eq!(code, EXIT_FAULT);
    assert!(output.contains(words[1]), "{output}");
    stage.bring_back();
    drop(Process::start(folder, &stage.address(Which::Own), false));
}

macro_rules! on_each {
    ($($kind:ident: $stage:ty, $words:expr;)*) => {
        $(
            mod $kind {
                //! On one kind of custody.
                use super::*;

                #[test]
                fn a_key_process_lives_and_dies_on_it() {
                    let name = concat!(module_path!(), "::a_key_process_lives_and_dies_on_it");
                    run(name, |folder| lives_and_dies(&mut <$stage>::start(folder), folder));
                }

                #[test]
                fn a_key_process_serves_locked_in() {
                    let name = concat!(module_path!(), "::a_key_process_serves_locked_in");
                    run(name, |folder| serves_locked_in(&mut <$stage>::start(folder), folder));
                }

                #[test]
                fn an_audit_is_set_aside_under_it() {
                    let name = concat!(module_path!(), "::an_audit_is_set_aside_under_it");
                    run(name, |folder| sets_an_audit_aside(&mut <$stage>::start(folder), folder));
                }

                #[test]
                fn a_key_process_says_what_is_wrong_with_it() {
                    let name = concat!(module_path!(), "::a_key_process_says_what_is_wrong_with_it");
                    run(name, |folder| says_what_is_wrong(&mut <$stage>::start(folder), folder, $words));
                }
            }
        )*
    };
}

on_each! {
    passphrase: PassphraseFiles, ["wrong passphrase", "No such file"];
    pkcs11: Tokens, ["the PIN or authorisation value is wrong", "the token is not there"];
    tpm: Tpms, ["the PIN or authorisation value is wrong", "cannot be reached"];
}

#[test]
fn a_key_process_outlives_every_handover() {
    run(concat!(module_path!(), "::a_key_process_outlives_every_handover"), |folder| {
        let (files, tokens, tpms) = (PassphraseFiles::start(folder), Tokens::start(folder), Tpms::start(folder));
        let stops = [files.address(Which::Own), tokens.address(Which::Own), tpms.address(Which::Own)];
        let route = [&stops[0], &stops[1], &stops[0], &stops[2], &stops[1], &stops[2], &stops[0]];
        let process = Process::start(folder, &stops[0], true);
        let (key, value) = make_key(folder);
        drop(process);
        for (number, step) in route.windows(2).enumerate() {
            let (code, output) = hand_over(folder, step[0], step[1]);
            assert_eq!(code, 0, "{step:?}: {output}");
            let (code, output) = refused(folder, step[0]);
            assert_eq!((code, output.contains("this vault is in the custody of")), (EXIT_FAULT, true), "{output}");
            let process = Process::start(folder, step[1], false);
            assert_eq!(check(folder, &key), value, "{step:?}");
            assert_eq!(handovers(folder), number + 1, "each is on the record");
            drop(process);
        }
    });
}

/// The token is asked by the user that the process has become: what it may not read is not read with root's rights.
#[test]
fn a_token_is_asked_by_the_process_s_own_user() {
    run(concat!(module_path!(), "::a_token_is_asked_by_the_process_s_own_user"), |folder| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
            eprintln!("SKIPPED: only root can become somebody else");
            return;
        }
        let tokens = Tokens::start(folder);
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("--socket").arg(folder.join("socket")).arg("--vault").arg(folder.join("vault"));
        command.args(["--custody", &tokens.address(Which::Own), "--keep-env", SOFTHSM_CONFIGURATION, "--create"]);
        command.args(["--stop-with-stdin", "--user", SOMEBODY, "--allow-uid", "0", "--allow-admin-uid", "0"]);
        std::os::unix::fs::chown(folder, Some(65534), None).unwrap();
        let (status, output) = finish(&mut command, PROCESS_TIMEOUT);
        assert_eq!((status.unwrap().code(), output.contains("pin")), (Some(EXIT_FAULT), true), "{output}");
        tool(std::process::Command::new("chown").args(["-R", SOMEBODY]).arg(folder));
        let process = Process::of(command, folder);
        let (key, value) = make_key(folder);
        assert_eq!(check(folder, &key), value);
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    });
}

#[test]
fn a_key_process_gives_a_hanging_custody_up() {
    run(concat!(module_path!(), "::a_key_process_gives_a_hanging_custody_up"), |folder| {
        let mut tokens = Tokens::start(folder);
        let module = tokens.make_faulty();
        drop(Process::start(folder, &tokens.address(Which::Own), true));
        module.misbehave(Some(crate::faulty::Fault::Hang));
        let (code, output) = refused(folder, &tokens.address(Which::Own));
        assert_eq!(code, EXIT_FAULT);
        assert!(output.contains("no answer in time"), "{output}");
        module.misbehave(None);
        let process = Process::start(folder, &tokens.address(Which::Own), false);
        until("it serves again", || RemoteKeys::connect(folder.join("socket"), Caller::Host).is_ok());
        drop(process);
    });
}
