//! The key process as a process: start, serve, be killed, come back.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use keys::{Algorithm, AnyKeyBlock, Caller, Command, KeyCheckValue, KeyService, Owner, Reply, Usage};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use vault_remote::RemoteKeys;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("irontill-keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irontill-keys"));
        command.arg("--socket").arg(self.file("socket"));
        command.arg("--vault").arg(self.file("vault"));
        command.arg("--passphrase-file").arg(self.file("passphrase"));
        // Where there is nobody but root, as in a container.
        command.args(rustix::process::geteuid().is_root().then_some("--allow-root"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn host(&self) -> RemoteKeys {
        RemoteKeys::connect(self.file("socket"), Caller::Host).unwrap()
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

struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut child = folder.command().arg("--create").args(arguments).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; exit code and log.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (code, log)
    }
}

fn make_key(keys: &mut RemoteKeys) -> (AnyKeyBlock, KeyCheckValue) {
    let command = Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: Owner::new("12345678").unwrap(),
        version: 1,
        exportable: true,
    };
    match keys.execute(&[command]).pop() {
        Some(Reply::KeyCreated { key, check }) => (key, check),
        other => panic!("{other:?}"),
    }
}

fn check(keys: &mut RemoteKeys, key: &AnyKeyBlock) -> KeyCheckValue {
    match keys.execute(&[Command::CheckKey { key: key.clone() }]).pop() {
        Some(Reply::KeyCheck { check }) => check,
        other => panic!("{other:?}"),
    }
}

#[test]
fn serves_two_callers_and_leaves_cleanly_on_sigterm() {
    let folder = Folder::new("serve");
    let process = Process::start(&folder, &[]);
    let (key, value) = make_key(&mut folder.administration());
    assert_eq!(check(&mut folder.host(), &key), value);
    process.signal(rustix::process::Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!folder.file("socket").exists() && !folder.file("socket.admin").exists());
    assert!(log.contains("listening caller=Host") && log.contains("leaving"), "{log}");
    let passphrase = fs::read_to_string(folder.file("passphrase")).unwrap();
    assert!(!log.contains(passphrase.trim()));
}

#[test]
fn the_host_socket_does_not_serve_the_administration() {
    let folder = Folder::new("callers");
    let process = Process::start(&folder, &[]);
    let mut host = folder.host();
    let replies = host.execute(&[Command::TransportPublicKey {}]);
    assert!(matches!(replies[..], [Reply::Refused { why: keys::Refusal::NotPermitted }]));
    process.signal(rustix::process::Signal::TERM);
    let (_, log) = process.end();
    assert!(log.contains("NotPermitted(TransportPublicKey)"), "{log}");
}

#[test]
fn keys_survive_kill_9() {
    let folder = Folder::new("kill");
    let process = Process::start(&folder, &[]);
    let (key, value) = make_key(&mut folder.administration());
    for _ in 0..3 {
        let running = Process::start_again_after_kill(&folder);
        assert_eq!(check(&mut folder.host(), &key), value);
        running.signal(rustix::process::Signal::KILL);
        let _ = running.end();
    }
    drop(process.stdin);
}

impl Process {
    /// Kills whoever holds the socket and starts a successor on what is left behind.
    fn start_again_after_kill(folder: &Folder) -> Self {
        if let Ok(stream) = std::os::unix::net::UnixStream::connect(folder.file("socket")) {
            let holder = rustix::net::sockopt::socket_peercred(&stream).unwrap().pid;
            rustix::process::kill_process(holder, rustix::process::Signal::KILL).unwrap();
            while std::os::unix::net::UnixStream::connect(folder.file("socket")).is_ok() {
                std::thread::yield_now();
            }
        }
        assert!(folder.file("socket").exists(), "a killed process leaves its socket file");
        Self::start(folder, &[])
    }
}

#[test]
fn a_dying_parent_takes_it_along() {
    let folder = Folder::new("parent");
    let mut process = Process::start(&folder, &["--stop-with-stdin"]);
    drop(process.stdin.take());
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("StandardInputEnded"), "{log}");
}

#[test]
fn a_vault_file_open_to_others_is_refused() {
    let folder = Folder::new("mode");
    let process = Process::start(&folder, &[]);
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.end().0, Some(0));
    fs::set_permissions(folder.file("vault"), Permissions::from_mode(0o644)).unwrap();
    let output = folder.command().output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("others may access it"), "{log}");
}

#[test]
fn the_process_is_hardened() {
    let folder = Folder::new("hardened");
    let process = Process::start(&folder, &[]);
    let pid = process.child.id();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let numbers: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_eq!(value("Umask:"), "0077");
    assert_eq!(value("Seccomp:"), "2");
    assert_eq!(value("Seccomp_filters:"), "3");
    // CAP_IPC_LOCK is bit 14.
    assert_eq!(u64::from_str_radix(&value("CapEff:"), 16).unwrap() & !(1 << 14), 0);
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("256"));
    let locked: u64 = value("VmLck:").parse().unwrap();
    process.signal(rustix::process::Signal::TERM);
    let (_, log) = process.end();
    if log.contains("memory_locked=true") {
        assert!(locked > 0);
    }
    for file in ["vault", "passphrase"] {
        assert_eq!(fs::metadata(folder.file(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_second_process_does_not_take_the_socket() {
    let folder = Folder::new("second");
    let process = Process::start(&folder, &[]);
    let output = folder.command().output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(matches!(folder.host().execute(&[Command::Random { count: 4 }])[..], [Reply::Random { .. }]));
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn environment_and_descriptors_of_the_parent_are_shed() {
    let folder = Folder::new("shed");
    fs::write(folder.file("left-open"), b"x").unwrap();
    let program = folder.command();
    // The shell opens descriptor 7 for whoever it becomes, and there is a variable that says so.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", r#"exec 7< "$LEFT_OPEN"; exec "$@""#, "sh"]).arg(program.get_program());
    command.args(program.get_args()).args(["--create", "--keep-env", "KEPT"]);
    command.env("LEFT_OPEN", folder.file("left-open")).env("KEPT", "wanted");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let process = Process { stdin: child.stdin.take(), child };
    assert_eq!(line, "ready\n");
    let pid = process.child.id();
    let of_process = |name: &str| format!("/proc/{pid}/{name}");
    if rustix::process::geteuid().is_root() {
        let environment = fs::read(of_process("environ")).unwrap();
        let variables: Vec<&[u8]> = environment.split(|byte| *byte == 0).filter(|text| !text.is_empty()).collect();
        assert_eq!(variables.len(), 2, "{variables:?}");
        assert!(variables.contains(&&b"KEPT=wanted"[..]));
        let open = fs::read_dir(of_process("fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
        assert!(open.into_iter().all(|target| target != folder.file("left-open")));
    } else {
        eprintln!("SKIPPED looking into /proc of the process: that takes root");
    }
    process.signal(rustix::process::Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("environment_shed=true"), "{log}");
}

/// Any user but root; it needs no account.
const SOMEBODY: u32 = 64_321;

#[test]
fn root_becomes_another_user_for_good() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED root_becomes_another_user_for_good: changing the user takes root");
        return;
    }
    let folder = Folder::new("user");
    let uid = rustix::process::Uid::from_raw(SOMEBODY);
    rustix::fs::chown(&folder.0, Some(uid), None).unwrap();
    let somebody = SOMEBODY.to_string();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irontill-keys"));
    for (flag, file) in [("--socket", "socket"), ("--vault", "vault"), ("--passphrase-file", "passphrase")] {
        command.arg(flag).arg(folder.file(file));
    }
    command.args(["--create", "--strict", "--user", &somebody, "--allow-uid", "0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let process = Process { stdin: None, child };
    assert_eq!(line, "ready\n", "{:?}", process.end());
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let words = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words("Uid:"), vec![somebody.clone(); 4]);
    assert_eq!(words("Gid:"), vec![somebody.clone(); 4]);
    assert!(words("Groups:").is_empty());
    assert_eq!(words("CapPrm:"), ["0000000000000000"]);
    // Root may connect as the host, which it was allowed, and not as the administration, which it was not.
    assert!(matches!(folder.host().execute(&[Command::Random { count: 4 }])[..], [Reply::Random { .. }]));
    let mode = |name: &str| fs::metadata(folder.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("socket"), mode("socket.admin")), (0o666, 0o600));
    assert!(RemoteKeys::connect(folder.file("socket.admin"), Caller::Administration).is_err());
    process.signal(rustix::process::Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("uid={SOMEBODY}")) && log.contains("WrongUser(0)"), "{log}");
}

#[test]
fn root_is_refused_unless_it_is_allowed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED root_is_refused_unless_it_is_allowed: it takes root to be refused as root");
        return;
    }
    let folder = Folder::new("root");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irontill-keys"));
    for (flag, file) in [("--socket", "socket"), ("--vault", "vault"), ("--passphrase-file", "passphrase")] {
        command.arg(flag).arg(folder.file(file));
    }
    let output = command.arg("--create").stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{log}");
    assert!(log.contains("--allow-root"), "{log}");
    assert!(!folder.file("vault").exists(), "refused before it touches anything");
}

#[test]
fn a_passphrase_may_come_on_standard_input() {
    use std::io::Write;
    let folder = Folder::new("stdin");
    let process = Process::start(&folder, &[]);
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.end().0, Some(0));
    let line = fs::read(folder.file("passphrase")).unwrap();
    fs::remove_file(folder.file("passphrase")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irontill-keys"));
    command.arg("--socket").arg(folder.file("socket")).arg("--vault").arg(folder.file("vault"));
    command.args(rustix::process::geteuid().is_root().then_some("--allow-root"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than the line: it is not read.
    stdin.write_all(&[&line[..], b"and more\n"].concat()).unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let process = Process { child, stdin: Some(stdin) };
    assert_eq!(ready, "ready\n");
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}
