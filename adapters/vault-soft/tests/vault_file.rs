//! The sealed file: what it keeps, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use types::SecretBytes;
use vault_soft::{
    LocalKeys, MasterSecrets, Passphrase, SoftVault, SystemClock, SystemEntropy, VaultFileError, VaultKind, vault_file,
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
    // Magic, rounds, salt, nonce, ciphertext, tag: one byte of each.
    for at in [0, 9, 20, 48, 60, content.len() - 1] {
        let mut altered = content.clone();
        altered[at] ^= 0x40;
        fs::write(&path, &altered).unwrap();
        let opened = vault_file::open(&path, &phrase);
        assert!(matches!(opened, Err(VaultFileError::NotAuthentic)), "byte {at}");
    }
    for length in [0, 7, 44, content.len() - 1] {
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
