//! The sealed file: what it keeps, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use keys::CustodyKind;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use types::SecretBytes;
use vault_soft::{
    LocalKeys, MasterSecrets, Passphrase, PassphraseCustody, SoftVault, SystemClock, SystemEntropy, VaultFileError,
    VaultKind, vault_file,
};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vault-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(SecretBytes::copy_from(text.as_bytes())).unwrap()
}

fn token(secrets: MasterSecrets) -> types::CardToken {
    use keys::{Caller, Command, KeyService, Reply};
    let vault = SoftVault::new(secrets, Box::new(SystemEntropy), Box::new(SystemClock::default()));
    let mut service = LocalKeys::new(vault.into(), Caller::Ped);
    let pan = types::Pan::parse("6222620000000000012").unwrap();
    match service.execute(&[Command::Tokenise { pan }]).pop() {
        Some(Reply::Token { token }) => token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vault_comes_back_under_its_passphrase_only() {
    let folder = Folder::new("round-trip");
    let path = folder.0.join("vault");
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    vault_file::create(&path, &passphrase("correct horse battery"), &secrets).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = vault_file::open(&path, &passphrase("correct horse battery")).unwrap();
    assert_eq!(token(again), token(secrets));
    let wrong = vault_file::open(&path, &passphrase("correct horse batterz"));
    assert!(matches!(wrong, Err(VaultFileError::NotAuthentic)));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_vault_is_never_overwritten() {
    let folder = Folder::new("overwrite");
    let path = folder.0.join("vault");
    fs::write(&path, b"something else").unwrap();
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    assert!(vault_file::create(&path, &passphrase("correct horse battery"), &secrets).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"something else");
}

#[test]
fn altered_and_cut_files_are_refused() {
    let folder = Folder::new("altered");
    let path = folder.0.join("vault");
    let phrase = Passphrase::generate_file(&folder.0.join("passphrase")).unwrap();
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    vault_file::create(&path, &phrase, &secrets).unwrap();
    let content = fs::read(&path).unwrap();
    // Magic, version, length, the data key's magic, rounds, salt, nonce, ciphertext, tag; the secrets' nonce and tag.
    for at in [0, 7, 9, 12, 20, 25, 60, 80, 100, 130, content.len() - 1] {
        let mut altered = content.clone();
        altered[at] ^= 0x40;
        fs::write(&path, &altered).unwrap();
        let opened = vault_file::open(&path, &phrase);
        assert!(matches!(opened, Err(VaultFileError::NotAuthentic)), "byte {at}");
    }
    for length in [0, 7, 8, 9, 10, 11, 44, 120, content.len() - 1] {
        fs::write(&path, &content[..length]).unwrap();
        let opened = vault_file::open(&path, &phrase);
        assert!(matches!(opened, Err(VaultFileError::NotAuthentic)), "length {length}");
    }
}

#[test]
fn files_open_to_others_are_refused() {
    let folder = Folder::new("permissions");
    let (path, phrase) = (folder.0.join("vault"), folder.0.join("passphrase"));
    let generated = Passphrase::generate_file(&phrase).unwrap();
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    vault_file::create(&path, &generated, &secrets).unwrap();
    for mode in [0o604, 0o640, 0o660, 0o606] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(matches!(vault_file::open(&path, &generated), Err(VaultFileError::Permissions(..))), "{mode:o}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(vault_file::open(&path, &Passphrase::from_file(&phrase).unwrap()).is_ok());
    fs::set_permissions(&phrase, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Passphrase::from_file(&phrase), Err(VaultFileError::Permissions(..))));
}

#[test]
fn short_passphrases_are_refused() {
    let short = Passphrase::new(SecretBytes::copy_from(b"thirteenbytes"));
    assert!(matches!(short, Err(VaultFileError::Passphrase)));
}

/// Vault files that release 0.1.0 wrote, their passphrase and what came out of the vaults that they hold.
const RELEASE_0_1_0: [(&str, &str); 2] = [
    ("terminal-0.1.0.vault", "e5e354f6a6e505654b44a5b8d2e2818e"),
    ("host-0.1.0.vault", "33280e0d7386b27ce0cba7ed1145ddda"),
];
const PASSPHRASE_0_1_0: &str = "fixture of version 1";

fn fixture(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.0.join(name);
    fs::copy(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), &path).unwrap();
    // Version control does not keep the mode.
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn vault_files_of_0_1_0_open_for_ever() {
    let folder = Folder::new("0.1.0");
    for (name, expected) in RELEASE_0_1_0 {
        let path = fixture(&folder, name);
        assert_eq!(vault_file::custody_of(&path).unwrap(), CustodyKind::Passphrase);
        let secrets = vault_file::open(&path, &passphrase(PASSPHRASE_0_1_0)).unwrap();
        assert_eq!(token(secrets).to_string(), expected);
        let wrong = vault_file::open(&path, &passphrase("fixture of version 2"));
        assert!(matches!(wrong, Err(VaultFileError::NotAuthentic)));
    }
}

#[test]
fn an_old_file_is_handed_over_to_another_passphrase() {
    let folder = Folder::new("reseal");
    let path = fixture(&folder, RELEASE_0_1_0[1].0);
    let custody = |text: &str| PassphraseCustody::new(passphrase(text));
    let mut wrong = custody("fixture of version 2");
    let failed = vault_file::reseal(&path, &mut wrong, &mut custody("the next passphrase"));
    assert!(matches!(failed, Err(VaultFileError::NotAuthentic)));
    vault_file::reseal(&path, &mut custody(PASSPHRASE_0_1_0), &mut custody("the next passphrase")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(vault_file::open(&path, &passphrase(PASSPHRASE_0_1_0)), Err(VaultFileError::NotAuthentic)));
    let secrets = vault_file::open(&path, &passphrase("the next passphrase")).unwrap();
    assert_eq!(token(secrets).to_string(), RELEASE_0_1_0[1].1);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_file_in_another_custody_says_so() {
    let folder = Folder::new("custody");
    let path = folder.0.join("vault");
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    vault_file::create(&path, &passphrase("correct horse battery"), &secrets).unwrap();
    let mut content = fs::read(&path).unwrap();
    content[8] = CustodyKind::Tpm.number();
    fs::write(&path, &content).unwrap();
    let opened = vault_file::open(&path, &passphrase("correct horse battery")).unwrap_err();
    assert_eq!(opened.to_string(), "this vault is in the custody of a tpm, not of a passphrase");
}
