//! No key stays in memory: not while the vault is idle, not when it is gone, not after a panic in the middle of a command.
//!
//! One test, because it scans the whole process: a second one at the same time would have its own keys at work.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod scan;

use keys::{Algorithm, AnyKeyBlock, Caller, Command, KeyBlock, Owner, Reply, TerminalMaster, Usage};
use scan::{Needles, scan};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use types::SecretBytes;
use vault_soft::{Entropy, EntropyFailure, MasterSecrets, SoftVault, SystemClock, SystemEntropy, VaultKind};

const MASK: u8 = 0x5A;
/// More draws than one command makes.
const DRAWS: usize = 12;

/// Random bytes that are remembered masked, and a panic at a chosen draw.
#[derive(Clone, Default)]
struct Watched {
    drawn: Arc<Mutex<Vec<Vec<u8>>>>,
    panic_at: Option<usize>,
}

impl Entropy for Watched {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        SystemEntropy.fill(bytes)?;
        let mut drawn = self.drawn.lock().unwrap();
        // DES keys get odd parity after the draw.
        let parity = |byte: &u8| (byte & 0xFE) | (((byte & 0xFE).count_ones() as u8 & 1) ^ 1);
        drawn.push(bytes.iter().map(|byte| byte ^ MASK).collect());
        drawn.push(bytes.iter().map(|byte| parity(byte) ^ MASK).collect());
        let draws = drawn.len() / 2;
        drop(drawn);
        assert!(self.panic_at != Some(draws), "the planted panic");
        Ok(())
    }
}

impl Watched {
    /// The keys drawn so far; nonces, which are no secret, are shorter.
    fn needles(&self) -> Needles {
        let mut needles = Needles::default();
        for (number, masked) in self.drawn.lock().unwrap().iter().enumerate().filter(|(_, masked)| masked.len() >= 16) {
            let mut clear: Vec<u8> = masked.iter().map(|byte| byte ^ MASK).collect();
            needles.add(&format!("draw {number}"), &clear);
            clear.fill(0);
            std::hint::black_box(&clear);
        }
        needles
    }
}

fn generate(usage: Usage) -> Command {
    let owner = Owner::new("12345678").unwrap();
    Command::GenerateKey { usage, algorithm: Algorithm::TdesDouble, owner, version: 1, exportable: true }
}

fn sign_in(master: &AnyKeyBlock) -> Command {
    let master: KeyBlock<TerminalMaster> = master.clone().typed().unwrap();
    Command::GenerateWorkingKeys { master, version: 1, with_track_key: true, double_length_mac_key: true }
}

fn one(vault: &SoftVault, caller: Caller, command: Command) -> Reply {
    vault.execute(caller, &[command]).pop().unwrap()
}

fn made(reply: Reply) -> AnyKeyBlock {
    match reply {
        Reply::KeyCreated { key, .. } => key,
        other => panic!("no key: {other:?}"),
    }
}

/// Everything that a vault does with keys that it draws.
fn work(vault: &SoftVault) {
    let master = made(one(vault, Caller::Administration, generate(Usage::TerminalMaster)));
    let reply = one(vault, Caller::Host, sign_in(&master));
    assert!(matches!(reply, Reply::WorkingKeysMade { .. }), "{reply:?}");
    let check = Command::CheckKey { key: master };
    assert!(matches!(one(vault, Caller::Host, check), Reply::KeyCheck { .. }));
    let plaintext = SecretBytes::copy_from(b"blob");
    let seal = Command::Seal { label: b"label".to_vec(), plaintext };
    assert!(matches!(one(vault, Caller::Ped, seal), Reply::Sealed { .. }));
}

fn vault(secrets: MasterSecrets, entropy: Watched) -> SoftVault {
    SoftVault::new(secrets, Box::new(entropy), Box::new(SystemClock::default()))
}

/// Nothing of what was drawn, the master key first of all, is left; but the scanner does find what is there.
fn assert_clean(when: &str, watched: &Watched) {
    let mut needles = watched.needles();
    let marker = *b"\x91planted marker\x17 on the heap, as keys would be";
    let planted = marker.to_vec();
    needles.add("marker", &marker);
    let found: Vec<_> = scan("self", &needles).found.into_iter().map(|found| found.name).collect();
    assert!(!found.is_empty() && found.iter().all(|name| name == "marker"), "{when}: {found:?}");
    std::hint::black_box(&planted);
}

#[test]
fn no_key_bytes_stay() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(|| {
        idle_and_dropped();
        let panics = (1..=DRAWS).filter(|draw| panicked_at(*draw)).count();
        // Two keys for GenerateKey, then three and their nonces for the sign-in, and the blob's.
        assert!(panics >= 8, "only {panics} draws could panic");
    });
    std::panic::set_hook(quiet);
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().cloned();
        panic!("{}", text.unwrap_or_default());
    }
}

fn idle_and_dropped() {
    let watched = Watched::default();
    let secrets = MasterSecrets::generate(&watched, VaultKind::Terminal).unwrap();
    let vault = vault(secrets, watched.clone());
    work(&vault);
    assert_clean("idle", &watched);
    drop(vault);
    assert_clean("dropped", &watched);
}

/// A server catches the panic of a command; the vault lives on.
fn panicked_at(draw: usize) -> bool {
    let watched = Watched::default();
    let secrets = MasterSecrets::generate(&watched, VaultKind::Terminal).unwrap();
    let panicking = Watched { panic_at: Some(draw + 1), ..watched.clone() };
    let vault = vault(secrets, panicking);
    let panicked = catch_unwind(AssertUnwindSafe(|| work(&vault))).is_err();
    assert_clean(&format!("after a panic at draw {draw}"), &watched);
    panicked
}
