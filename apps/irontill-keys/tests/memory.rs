//! What of the keys can be found outside the process: nothing, not even by root.
//!
//! Needs root to read another process's memory; as anybody else it says so and passes.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod running;
#[path = "../../../adapters/vault-soft/tests/scan/mod.rs"]
mod scan;

use machine::wire::Encode;
use paycrypto::mac::HmacSha256Key;
use running::{Bench, Folder, PAN, PIN, Running, is_root};
use scan::{Needles, Scan, scan};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use vault_soft::{MASTER_KEY_BYTES, Passphrase, vault_file};

const PROGRAM: &str = env!("CARGO_BIN_EXE_irontill-keys");
const ROUNDS: usize = 20;
const SCANS: usize = 4;
const WORKERS: usize = 3;
/// Whoever is not root; needs no account.
const SOMEBODY: &str = "65534";

fn needs_root(test: &str) -> bool {
    if !is_root() {
        eprintln!("SKIPPED {test}: it reads another process's memory and changes users, which takes root");
    }
    is_root()
}

/// The numbers of an RSAPrivateKey in PKCS#8 (RFC 8017 annex A.1.2) that are secret: d, p, q, dP, dQ, qInv.
fn rsa_secrets(pkcs8: &[u8]) -> Vec<Vec<u8>> {
    let inner = children(&children(pkcs8)[0]);
    let numbers = children(&children(&inner[2])[0]);
    numbers[3..9].iter().map(|number| number.iter().copied().skip_while(|byte| *byte == 0).collect()).collect()
}

/// Contents of the DER elements in `bytes`.
fn children(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let [_, first, rest @ ..] = bytes {
        let long = usize::from(*first & 0x7F) * usize::from(*first >> 7);
        let length = match long {
            0 => usize::from(*first),
            _ => rest[..long].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        found.push(rest[long..long + length].to_vec());
        bytes = &rest[long + length..];
    }
    found
}

/// What an HMAC key leaves in a prepared state, from which everything could be computed: the hash of each padded key.
fn hmac_states(key: &[u8]) -> [Vec<u8>; 2] {
    const INITIAL: [u32; 8] =
        [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];
    [0x36, 0x5C].map(|pad: u8| {
        let block: [u8; 64] = core::array::from_fn(|i| key.get(i).copied().unwrap_or_default() ^ pad);
        let mut state = INITIAL;
        sha2::block_api::compress256(&mut state, &[block]);
        state.iter().flat_map(|word| word.to_ne_bytes()).collect()
    })
}

/// The master secrets and what derives from them, as the vault's file gives them.
fn vault_needles(folder: &Folder) -> Needles {
    let passphrase = Passphrase::from_file(&folder.file("passphrase")).unwrap();
    let secrets = vault_file::open(&folder.file("vault"), &passphrase).unwrap().to_bytes();
    let master_key = &secrets[1..=MASTER_KEY_BYTES];
    let mut needles = Needles::default();
    needles.add("master key", master_key);
    let master = HmacSha256Key::new(master_key);
    for purpose in ["key block", "account", "blob"] {
        let key = master.mac(&[b"irontill sealing key 1\0", purpose.as_bytes()]);
        needles.add(&format!("sealing key: {purpose}"), &key);
    }
    let token_key = master.mac(&[b"irontill token key 1\0"]);
    needles.add("token key", &token_key);
    let labels = ["irontill try file key 1\0", "irontill pin guard key 1\0", "irontill audit key 1\0"];
    let others = labels.map(|label| master.mac(&[label.as_bytes()]));
    for key in [&token_key[..], master_key].into_iter().chain(others.iter().map(|key| &key[..])) {
        for state in hmac_states(key) {
            needles.add("state of an HMAC key", &state);
        }
    }
    for purpose in ["record", "key distribution", "terminal"] {
        let seed = master.mac(&[b"irontill signing key 1\0", purpose.as_bytes()]);
        needles.add(&format!("signing key: {purpose}"), &seed);
    }
    let pkcs8 = &secrets[1 + MASTER_KEY_BYTES + 1 + 4..];
    for mut number in rsa_secrets(pkcs8) {
        needles.add("transport key as it is written", &number);
        number.reverse();
        needles.add("transport key as it is computed with", &number);
    }
    needles
}

fn add_passphrase(needles: &mut Needles, folder: &Folder) {
    needles.add("passphrase", std::fs::read(folder.file("passphrase")).unwrap().trim_ascii());
}

fn names(scan: &Scan) -> BTreeSet<&str> {
    scan.found.iter().map(|found| found.name.as_str()).collect()
}

/// A socket name that stands in the process's arguments and on its heap: the scanner must find it.
fn marked_socket() -> (String, Vec<u8>) {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    (name.clone(), name.into_bytes())
}

#[test]
fn root_finds_no_key_in_the_memory_of_a_working_process() {
    if !needs_root("root_finds_no_key_in_the_memory_of_a_working_process") {
        return;
    }
    let folder = Folder::new("memory");
    let (socket, marker) = marked_socket();
    let mut command = Command::new(PROGRAM);
    command.args(folder.arguments(&socket)).args(["--create", "--allow-root", "--strict"]);
    // The first start has made the vault and seen its secrets on the way; it must be as clean as the second.
    for _ in 0..2 {
        let mut running = Running::start(&mut command);
        work_and_scan(&folder, &running, &socket, &marker);
        running.signal(rustix::process::Signal::TERM);
        assert!(running.end().contains("secret_memory=Hidden crypto_heap_secret=true"));
    }
}

fn work_and_scan(folder: &Folder, running: &Running, socket: &str, marker: &[u8]) {
    let bench = Bench::set_up(&folder.file(socket));
    let mut needles = vault_needles(folder);
    let mut clear: Vec<Vec<(&str, Vec<u8>)>> = Vec::new();
    let resting = AtomicBool::new(false);
    let worker = || {
        let mut clear = Vec::new();
        while clear.is_empty() || !resting.load(Ordering::Relaxed) {
            clear.extend(bench.work(ROUNDS));
        }
        clear
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        // While it works: nothing of the master key or of what derives from it.
        let under_load: Vec<Scan> = (0..SCANS).map(|_| scan(&running.id(), &needles)).collect();
        resting.store(true, Ordering::Relaxed);
        clear.extend(workers.into_iter().map(|worker| worker.join().unwrap()));
        // An HMAC key is worked with on the stack for some hundred nanoseconds a payment; a scan can meet it there.
        let passing = |name: &str| name == "state of an HMAC key";
        assert!(under_load.iter().all(|scan| names(scan).into_iter().all(passing)), "{under_load:?}");
    });
    let payments = clear.iter().map(Vec::len).sum::<usize>() / 3 * ROUNDS;
    // When it rests: nothing of any key that it ever held, and nothing of the passphrase.
    for (name, key) in clear.iter().flatten().chain(&bench.clear) {
        needles.add(name, key);
    }
    add_passphrase(&mut needles, folder);
    let pin = types::Pin::parse(PIN).unwrap();
    needles.add("PIN", PIN.as_bytes());
    needles.add("PIN block", &paycrypto::pin_block::encode_format_0(&pin, PAN.as_bytes()).unwrap());
    needles.add("PAN", PAN.as_bytes());
    needles.add("marker", marker);
    let idle = scan(&running.id(), &needles);
    assert_eq!(names(&idle), BTreeSet::from(["marker"]), "{:?}", idle.found);
    let places: BTreeSet<&str> = idle.found.iter().map(|found| found.place.as_str()).collect();
    assert!(places.contains("[stack]") && places.len() > 1, "{places:?}");
    assert!(idle.refused.iter().any(|(name, pages)| name.contains("secretmem") && *pages > 0), "{:?}", idle.refused);
    eprintln!(
        "{SCANS} scans under {payments} payments, {} bytes read when idle, refused: {:?}",
        idle.read_bytes, idle.refused
    );
}

/// The control: without secret memory the same scan of the same process finds the keys. So the needles are the right ones.
#[test]
fn without_secret_memory_root_would_find_them() {
    if !needs_root("without_secret_memory_root_would_find_them") {
        return;
    }
    let folder = Folder::new("control");
    rustix::fs::chown(&folder.0, Some(rustix::process::Uid::from_raw(65534)), None).unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        r#"ulimit -l 0; exec setpriv --reuid=$0 --regid=$0 --clear-groups -- "$@""#,
        SOMEBODY,
        PROGRAM,
    ]);
    let mut running = Running::start(command.args(folder.arguments("socket")).arg("--create"));
    // The files are the other user's and for nobody else, and root is root.
    let needles = vault_needles(&folder);
    let found = scan(&running.id(), &needles);
    running.signal(rustix::process::Signal::TERM);
    let log = running.end();
    assert!(log.contains("secret_memory=Plain"), "{log}");
    let found = names(&found);
    for expected in ["sealing key: key block", "sealing key: account", "sealing key: blob", "state of an HMAC key"] {
        assert!(found.contains(expected), "{expected} is not among {found:?}");
    }
    assert!(found.contains("transport key as it is computed with"), "{found:?}");
    assert!(!found.contains("master key"), "the master key itself is gone once its children are made");
}

fn status_value(process: &str, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

#[test]
fn a_killed_process_leaves_no_key_in_files_core_or_swap() {
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::SEGV, rustix::process::Signal::ABORT] {
        let folder = Folder::new("killed");
        let mut command = Command::new("sh");
        // A shell that would let cores be written, in the folder that is searched.
        command.args(["-c", r#"ulimit -c unlimited 2>/dev/null; exec "$@""#, "sh", PROGRAM]).current_dir(&folder.0);
        command.args(folder.arguments("socket")).arg("--create").args(is_root().then_some("--allow-root"));
        let mut running = Running::start(&mut command);
        let bench = Bench::set_up(&folder.file("socket"));
        let clear = bench.work(20);
        let mut needles = vault_needles(&folder);
        for (name, key) in clear.iter().chain(&bench.clear) {
            needles.add(name, key);
        }
        assert_eq!(status_value(&running.id(), "VmSwap:"), "0 kB");
        // More than once: the first SIGSEGV only makes Rust's handler step aside for the second.
        while running.0.try_wait().unwrap().is_none() {
            running.signal(signal);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        running.end();
        let mut files: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(&folder.0).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_file() {
                let found = needles.within(&std::fs::read(entry.path()).unwrap());
                assert!(found.is_empty(), "{name}: {found:?}");
            }
            files.push(name);
        }
        files.sort();
        assert_eq!(
            files,
            ["passphrase", "socket", "socket.admin", "vault", "vault.audit", "vault.audit.head", "vault.tries"],
            "after {signal:?}"
        );
    }
}
