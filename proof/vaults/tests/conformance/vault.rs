//! Whole vaults opened from each custody: they must not differ in anything that they answer.

use crate::passphrase::PassphraseFiles;
use crate::pkcs11::Tokens;
use crate::room::run;
use crate::stage::{Stage, Which};
use crate::tpm::Tpms;
use crate::world::{World, examples, is_of_the_office, vault_of, world_of};
use keys::{AnyKeyBlock, Caller, Command, CommandKind, CustodyKind, KeyService, MasterCustody, Reply, permitted};
use machine::wire::Encode;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use types::{CardToken, Pan};
use vault_soft::{
    AuditMemory, Clock, Entropy, EntropyFailure, LocalKeys, MasterSecrets, SoftVault, SystemClock, SystemEntropy,
    VaultKind, vault_file,
};

/// A card token is made with a key that derives from the master key: equal tokens, equal master keys.
pub fn token(secrets: &MasterSecrets) -> CardToken {
    let again = MasterSecrets::from_bytes(&secrets.to_bytes()).unwrap();
    let vault = SoftVault::new(again, Box::new(SystemEntropy), Box::new(SystemClock::default()));
    let pan = Pan::parse("6222620000000000012").unwrap();
    match LocalKeys::new(vault.into(), Caller::Ped).execute(&[Command::Tokenise { pan }]).pop() {
        Some(Reply::Token { token }) => token,
        other => panic!("{other:?}"),
    }
}

/// Random bytes that can be had twice, so that what a vault draws can be compared.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<u64>>);

impl Script {
    fn rewind(&self) {
        *self.0.lock().unwrap() = 0;
    }
}

impl Entropy for Script {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        let mut position = self.0.lock().unwrap();
        for byte in bytes {
            // Any sequence will do that makes no weak keys.
            *position += 1;
            *byte = (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8;
        }
        Ok(())
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&self) -> u64 {
        0
    }
}

/// A host's and a terminal's vault that came out of one custody.
struct Pair {
    kind: CustodyKind,
    script: Script,
    host: Arc<SoftVault>,
    ped: Arc<SoftVault>,
}

impl Pair {
    fn new(kind: CustodyKind, host: MasterSecrets, ped: MasterSecrets) -> Self {
        let script = Script::default();
        let vault = |secrets| {
            let (entropy, clock, medium) =
                (Box::new(script.clone()), Box::new(Stopped), Box::new(AuditMemory::default()));
            Arc::new(SoftVault::with_audit(secrets, entropy, clock, medium, Some("suite")).unwrap())
        };
        Self { kind, host: vault(host), ped: vault(ped), script }
    }

    /// The answer of the vault that the examples speak to, with the random bytes from their beginning.
    fn answer(&self, of_ped: bool, caller: Caller, command: &Command) -> Reply {
        self.script.rewind();
        let vault = if of_ped { &self.ped } else { &self.host };
        vault.execute(caller, std::slice::from_ref(command)).pop().unwrap()
    }
}

fn file(folder: &Path, kind: CustodyKind, name: &str) -> PathBuf {
    folder.join(format!("{kind}-{name}.vault"))
}

/// Seals the same secrets in a custody and opens them again.
fn through(prepared: &dyn Fn() -> Box<dyn MasterCustody>, folder: &Path, secrets: [&MasterSecrets; 2]) -> Pair {
    let mut custody = prepared();
    let kind = custody.describe().kind;
    let [host, ped] = ["host", "ped"].map(|name| file(folder, kind, name));
    for (path, secrets) in [&host, &ped].into_iter().zip(secrets) {
        vault_file::create_under(path, &mut *custody, secrets).unwrap();
    }
    let [host, ped] = [host, ped].map(|path| vault_file::open_under(&path, &mut *prepared()).unwrap());
    Pair::new(kind, host, ped)
}

fn bytes(reply: &Reply) -> Vec<u8> {
    reply.to_bytes()
}

/// Replies to commands whose randomness a vault does not take from its entropy differ from one time to the next.
fn compare(reference: &Pair, others: &[Pair], of_ped: bool, caller: Caller, command: &Command) -> bool {
    let expected = reference.answer(of_ped, caller, command);
    let repeatable = bytes(&expected) == bytes(&reference.answer(of_ped, caller, command));
    for pair in others {
        let reply = pair.answer(of_ped, caller, command);
        let what = format!("{:?} by {caller:?}: {} differs", command.kind(), pair.kind);
        if repeatable {
            assert_eq!(bytes(&reply), bytes(&expected), "{what}");
        } else {
            assert_eq!(std::mem::discriminant(&reply), std::mem::discriminant(&expected), "{what}");
        }
    }
    repeatable
}

#[test]
fn the_same_replies_from_every_custody() {
    run(concat!(module_path!(), "::the_same_replies_from_every_custody"), |folder| {
        let (files, tokens, tpms) = (PassphraseFiles::start(folder), Tokens::start(folder), Tpms::start(folder));
        let host = MasterSecrets::generate(&SystemEntropy, VaultKind::Host).unwrap();
        let ped = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
        let keepers: [&dyn Fn() -> Box<dyn MasterCustody>; 3] =
            [&|| files.prepared(Which::Own), &|| tokens.prepared(Which::Own), &|| tpms.prepared(Which::Own)];
        let pairs = keepers.map(|prepared| through(prepared, folder, [&host, &ped]));
        let reference = Pair::new(CustodyKind::Passphrase, host, ped);
        // The world's keys are made by one vault and used by all.
        let world: World = world_of(Arc::clone(&reference.host), Arc::clone(&reference.ped));
        let (mut compared, mut repeatable) = (0, 0);
        for command in examples(&world, &|block: AnyKeyBlock| block) {
            let of_ped = std::ptr::eq(vault_of(&world, command.kind()), &*world.ped);
            for caller in Caller::ALL {
                compared += 1;
                repeatable += usize::from(compare(&reference, &pairs, of_ped, caller, &command));
                assert!(permitted(caller, command.kind()) || refuses(&reference, of_ped, caller, &command));
            }
        }
        let random = compared - repeatable;
        // What the office does hangs on its own records, not on the custody: `vault-soft`'s tests have it.
        let kinds = CommandKind::ALL.iter().filter(|kind| !is_of_the_office(**kind)).count();
        assert_eq!(compared, Caller::ALL.len() * kinds, "every command by every caller");
        assert!(random <= 2, "{random} of {compared} replies could be compared in kind only");
    });
}

fn refuses(pair: &Pair, of_ped: bool, caller: Caller, command: &Command) -> bool {
    matches!(pair.answer(of_ped, caller, command), Reply::Refused { .. })
}

#[test]
fn a_vault_travels_through_every_custody() {
    run(concat!(module_path!(), "::a_vault_travels_through_every_custody"), |folder| {
        let (files, tokens, tpms) = (PassphraseFiles::start(folder), Tokens::start(folder), Tpms::start(folder));
        let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
        let expected = token(&secrets);
        let path = folder.join("vault");
        vault_file::create_under(&path, &mut *files.prepared(Which::Own), &secrets).unwrap();
        let route = [
            files.address(Which::Own),
            tokens.address(Which::Own),
            tokens.address(Which::Next),
            tpms.address(Which::Own),
            tpms.address(Which::Next),
            tpms.address(Which::Foreign),
            tokens.address(Which::Foreign),
            files.address(Which::Next),
        ];
        for step in route.windows(2) {
            let [from, to] = step else { unreachable!("windows of two") };
            let destroy = !from.starts_with("passphrase");
            irontill_keys::reseal_vault(&path, from, to, destroy).unwrap();
            let opened = vault_file::open_under(&path, &mut *irontill_keys::custody(to).unwrap()).unwrap();
            assert_eq!(token(&opened), expected, "{to}");
            let old = irontill_keys::custody(from).unwrap().open(b"label", &std::fs::read(&path).unwrap());
            assert!(old.is_err(), "{from}");
        }
    });
}

#[test]
fn a_failed_handover_leaves_the_vault_where_it_was() {
    run(concat!(module_path!(), "::a_failed_handover_leaves_the_vault_where_it_was"), |folder| {
        let (files, tokens) = (PassphraseFiles::start(folder), Tokens::start(folder));
        let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
        let path = folder.join("vault");
        vault_file::create_under(&path, &mut *files.prepared(Which::Own), &secrets).unwrap();
        let content = std::fs::read(&path).unwrap();
        let own = files.address(Which::Own);
        for (from, to) in [
            (&own, tokens.address(Which::WrongSecret)),
            (&files.address(Which::WrongSecret), tokens.address(Which::Own)),
            (&tokens.address(Which::Own), own.clone()),
        ] {
            assert!(irontill_keys::reseal_vault(&path, from, &to, true).is_err(), "{from} {to}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        assert!(vault_file::open_under(&path, &mut *files.custody(Which::Own)).is_ok());
    });
}
