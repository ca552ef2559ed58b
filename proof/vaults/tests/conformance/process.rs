//! The key process on each custody: started, killed, started again, refused.

use crate::passphrase::PassphraseFiles;
use crate::pkcs11::Tokens;
use crate::room::{SOFTHSM_CONFIGURATION, finish, run, until, wait};
use crate::stage::{Stage, Which};
use crate::tpm::Tpms;
use keys::{Algorithm, AnyKeyBlock, Caller, Command, KeyCheckValue, KeyService, Owner, Reply, Usage};
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

/// A running key process. Killed when dropped.
struct Process(Child);

fn command(folder: &Path, custody: &str) -> std::process::Command {
    let mut command = std::process::Command::new(PROGRAM);
    command.arg("--socket").arg(folder.join("socket")).arg("--vault").arg(folder.join("vault"));
    command.args(["--custody", custody]).args(FLAGS);
    command
}

impl Process {
    fn start(folder: &Path, custody: &str, create: bool) -> Self {
        let mut command = command(folder, custody);
        // Its standard input ends with this process, however that ends, and it with it.
        command.arg("--stop-with-stdin");
        if create {
            command.arg("--create");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
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
        assert_eq!(line.recv_timeout(PROCESS_TIMEOUT).expect("the process starts in time"), "ready\n");
        process
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
    let mut reseal = std::process::Command::new(PROGRAM);
    reseal.arg("--vault").arg(folder.join("vault")).args(["--custody", &own, "--reseal-to", &next]).args(FLAGS);
    let (status, output) = finish(&mut reseal, PROCESS_TIMEOUT);
    assert!(status.unwrap().success(), "{output}");
    assert_eq!(refused(folder, &own).0, EXIT_FAULT);
    let process = Process::start(folder, &next, false);
    assert_eq!(check(folder, &key), value, "the same key block after the custody's key was changed");
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
