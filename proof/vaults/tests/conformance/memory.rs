//! What a custody leaves in the memory of the key process that asked it: nothing that opens the vault.
//!
//! Needs root to read another process's memory; as anybody else it says so and passes.

use crate::passphrase::PassphraseFiles;
use crate::pkcs11::Tokens;
use crate::process::Process;
use crate::room::run;
use crate::scan::{Needles, scan};
use crate::stage::{Stage, Which};
use crate::tpm::Tpms;
use keys::MasterCustody;
use machine::wire::Encode;
use std::path::Path;
use vault_soft::vault_file;

/// A vault file of version 2: magic and version (8), custody (1), length (2), the sealed data key.
const SEALED_KEY_AT: usize = 11;
const DATA_KEY_LABEL: &[u8] = b"irontill vault file 2 data key\0";

/// The key that the vault's secrets are sealed under, as the custody gives it.
fn data_key(path: &Path, custody: &mut dyn MasterCustody) -> Vec<u8> {
    let content = std::fs::read(path).unwrap();
    let length = usize::from(u16::from_be_bytes([content[9], content[10]]));
    let label = [DATA_KEY_LABEL, &[custody.describe().kind.number()]].concat();
    custody.open(&label, &content[SEALED_KEY_AT..SEALED_KEY_AT + length]).unwrap().expose().to_vec()
}

fn leaves_nothing(stage: &mut impl Stage, folder: &Path, words: &[&str]) {
    if !may_read_others() {
        eprintln!("SKIPPED: it reads another process's memory, which takes root");
        return;
    }
    let path = folder.join("vault");
    // The first start makes the vault, and with it sees all of its secrets; it must be as clean as the second.
    for create in [true, false] {
        let process = Process::start(folder, &stage.address(Which::Own), create);
        let mut needles = Needles::default();
        needles.add("data key", &data_key(&path, &mut *stage.custody(Which::Own)));
        let secrets = vault_file::open_under(&path, &mut *stage.custody(Which::Own)).unwrap().to_bytes();
        needles.add("master key", &secrets[1..33]);
        for word in words {
            needles.add("what opens the custody", word.as_bytes());
        }
        // It stands in the process's arguments, so a scan that works finds it.
        needles.add("control", folder.join("vault").as_os_str().as_encoded_bytes());
        let found = scan(&process.id(), &needles);
        let names: std::collections::BTreeSet<&str> = found.found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["control"], "{:?}", found.found);
    }
}

fn may_read_others() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

macro_rules! on_each {
    ($($name:ident: $stage:ty, $words:expr;)*) => {
        $(
            #[test]
            fn $name() {
                run(concat!(module_path!(), "::", stringify!($name)), |folder| {
                    leaves_nothing(&mut <$stage>::start(folder), folder, $words);
                });
            }
        )*
    };
}

on_each! {
    a_passphrase_leaves_nothing: PassphraseFiles, &[crate::passphrase::OWN];
    a_token_leaves_nothing: Tokens, &[crate::pkcs11::PIN];
    a_tpm_leaves_nothing: Tpms, &[crate::tpm::AUTH];
}
