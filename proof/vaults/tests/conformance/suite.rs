//! What every custody must do.

use crate::stage::{Stage, Which};
use keys::{CUSTODY_SECRET_BYTES_MAX, CustodyFailure, CustodyKind, MasterCustody};
use types::SecretBytes;
use vault_soft::{MasterSecrets, SystemEntropy, VaultFileError, VaultKind, vault_file};

const LABEL: &[u8] = b"conformance";

/// Makes one test of each function of the suite, on one kind of stage.
#[macro_export]
macro_rules! conformance {
    ($stage:ty) => {
        $crate::conformance!($stage:
            what_was_sealed_opens, secrets_of_every_length, a_label_binds, every_altered_bit_is_refused,
            hostile_bytes_are_refused, another_device_refuses, a_wrong_secret_is_refused_and_said,
            a_restarted_device_still_opens, a_device_that_went_away_and_came_back, preparing_twice_keeps_the_key,
            a_destroyed_key_never_opens, the_next_key_takes_over, nothing_secret_prints, a_vault_file_lives_in_custody
        );
    };
    ($stage:ty: $($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::room::run(name, |folder| $crate::suite::$name(&mut <$stage>::start(folder)));
            }
        )*
    };
}

fn secret() -> SecretBytes {
    SecretBytes::new((1..=32).collect())
}

fn opens(custody: &mut dyn MasterCustody, sealed: &[u8]) -> bool {
    match custody.open(LABEL, sealed) {
        Ok(opened) => opened.matches(&secret()),
        Err(_) => false,
    }
}

fn refusal(custody: &mut dyn MasterCustody, label: &[u8], sealed: &[u8]) -> CustodyFailure {
    custody.open(label, sealed).expect_err("it must not open")
}

pub fn what_was_sealed_opens(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    let (one, two) = (custody.seal(LABEL, &secret()).unwrap(), custody.seal(LABEL, &secret()).unwrap());
    assert_ne!(one, two, "sealing draws something fresh");
    assert!(!one.windows(8).any(|window| secret().expose().windows(8).any(|clear| clear == window)));
    for sealed in [&one, &two] {
        assert!(opens(&mut *custody, sealed));
        assert!(opens(&mut *stage.custody(Which::Own), sealed), "a fresh custody opens it too");
    }
}

pub fn secrets_of_every_length(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    for length in [1, 16, 31, 33, CUSTODY_SECRET_BYTES_MAX] {
        let secret = SecretBytes::new(vec![0xA5; length]);
        let sealed = custody.seal(LABEL, &secret).unwrap();
        assert!(custody.open(LABEL, &sealed).unwrap().matches(&secret), "{length}");
    }
    for length in [0, CUSTODY_SECRET_BYTES_MAX + 1] {
        let refused = custody.seal(LABEL, &SecretBytes::new(vec![0xA5; length]));
        assert!(matches!(refused, Err(CustodyFailure::Misuse(_))), "{length}");
    }
    assert!(matches!(custody.seal(b"", &secret()), Err(CustodyFailure::Misuse(_))));
}

pub fn a_label_binds(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    let sealed = custody.seal(LABEL, &secret()).unwrap();
    for label in [&b""[..], b"conformanc", b"conformance\0", b"Conformance", &[7; 256]] {
        assert_eq!(refusal(&mut *custody, label, &sealed), CustodyFailure::NotAuthentic, "{label:?}");
    }
    assert!(opens(&mut *custody, &sealed));
}

pub fn every_altered_bit_is_refused(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    let sealed = custody.seal(LABEL, &secret()).unwrap();
    // A bit of every byte is enough: which bit follows from the place. Passphrases are slow to try.
    let step = if custody.describe().kind == CustodyKind::Passphrase { 7 } else { 1 };
    for at in (0..sealed.len()).step_by(step) {
        let mut altered = sealed.clone();
        altered[at] ^= 1 << (at % 8);
        let failure = refusal(&mut *custody, LABEL, &altered);
        let told =
            matches!(failure, CustodyFailure::NotAuthentic | CustodyFailure::KeyMissing(_) | CustodyFailure::Misuse(_));
        assert!(told, "byte {at}: {failure:?}");
    }
    assert!(opens(&mut *custody, &sealed), "refusing costs nothing");
}

pub fn hostile_bytes_are_refused(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    let sealed = custody.seal(LABEL, &secret()).unwrap();
    for length in [0, 1, 2, 8, 16, 29, 30, 45, sealed.len() / 2, sealed.len() - 1] {
        assert_eq!(refusal(&mut *custody, LABEL, &sealed[..length]), CustodyFailure::NotAuthentic, "length {length}");
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(refusal(&mut *custody, LABEL, &longer), CustodyFailure::NotAuthentic);
    for byte in [0, 1, 0x80, 0xFF] {
        let failure = refusal(&mut *custody, LABEL, &vec![byte; 400]);
        assert!(matches!(failure, CustodyFailure::NotAuthentic | CustodyFailure::KeyMissing(_)), "{byte}: {failure:?}");
    }
}

pub fn another_device_refuses(stage: &mut impl Stage) {
    let sealed = stage.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
    let mut foreign = stage.prepared(Which::Foreign);
    let failure = refusal(&mut *foreign, LABEL, &sealed);
    let told = matches!(failure, CustodyFailure::NotAuthentic | CustodyFailure::KeyMissing(_));
    assert!(told, "{failure:?}");
    let theirs = foreign.seal(LABEL, &secret()).unwrap();
    assert!(!opens(&mut *stage.custody(Which::Own), &theirs));
}

pub fn a_wrong_secret_is_refused_and_said(stage: &mut impl Stage) {
    let mut right = stage.prepared(Which::Own);
    let sealed = right.seal(LABEL, &secret()).unwrap();
    let failure = refusal(&mut *stage.custody(Which::WrongSecret), LABEL, &sealed);
    match right.describe().kind {
        // A wrong passphrase cannot be told from altered bytes.
        CustodyKind::Passphrase => assert_eq!(failure, CustodyFailure::NotAuthentic),
        _ => assert!(matches!(failure, CustodyFailure::WrongSecret(_)), "{failure:?}"),
    }
    assert!(opens(&mut *stage.custody(Which::Own), &sealed), "one wrong try does not lock");
}

pub fn a_restarted_device_still_opens(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    let sealed = custody.seal(LABEL, &secret()).unwrap();
    for _ in 0..3 {
        stage.restart();
        assert!(opens(&mut *stage.custody(Which::Own), &sealed));
    }
}

pub fn a_device_that_went_away_and_came_back(stage: &mut impl Stage) {
    let sealed = stage.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
    stage.take_away();
    let gone = irontill_keys::custody(&stage.address(Which::Own)).map_err(|error| format!("{error:#}"));
    match gone.map(|mut custody| custody.open(LABEL, &sealed)) {
        // A passphrase's file is missed before anything is asked.
        Err(error) => assert!(error.contains("No such file"), "{error}"),
        Ok(opened) => {
            let failure = opened.expect_err("nothing can open it now");
            let told = matches!(
                failure,
                CustodyFailure::TokenMissing(_) | CustodyFailure::Unreachable(_) | CustodyFailure::KeyMissing(_)
            );
            assert!(told, "{failure:?}");
        }
    }
    stage.bring_back();
    assert!(opens(&mut *stage.custody(Which::Own), &sealed));
}

pub fn preparing_twice_keeps_the_key(stage: &mut impl Stage) {
    let sealed = stage.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
    let mut again = stage.prepared(Which::Own);
    again.prepare().unwrap();
    assert!(opens(&mut *again, &sealed));
}

pub fn a_destroyed_key_never_opens(stage: &mut impl Stage) {
    let mut custody = stage.prepared(Which::Own);
    let sealed = custody.seal(LABEL, &secret()).unwrap();
    let kind = custody.describe().kind;
    stage.destroy_key();
    if kind == CustodyKind::Passphrase {
        // Whoever remembers it still opens; that is what a passphrase is. Its file is gone.
        assert!(irontill_keys::custody(&stage.address(Which::Own)).is_err());
        return;
    }
    let missing = |failure: &CustodyFailure| matches!(failure, CustodyFailure::KeyMissing(_));
    assert!(missing(&refusal(&mut *custody, LABEL, &sealed)));
    assert!(missing(&stage.custody(Which::Own).destroy().unwrap_err()), "it is destroyed once");
    // A new key of the same name is another key.
    let mut new = stage.prepared(Which::Own);
    assert!(missing(&refusal(&mut *new, LABEL, &sealed)));
    stage.restart();
    assert!(!opens(&mut *stage.custody(Which::Own), &sealed));
}

pub fn the_next_key_takes_over(stage: &mut impl Stage) {
    let mut own = stage.prepared(Which::Own);
    let mut next = stage.prepared(Which::Next);
    let (old, new) = (own.seal(LABEL, &secret()).unwrap(), next.seal(LABEL, &secret()).unwrap());
    assert!(!opens(&mut *own, &new) && !opens(&mut *next, &old), "two keys are two keys");
    stage.destroy_key();
    assert!(opens(&mut *next, &new), "destroying one key leaves the other");
}

pub fn nothing_secret_prints(stage: &mut impl Stage) {
    let sealed = stage.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
    let mut custody = stage.custody(Which::WrongSecret);
    let text = format!("{:?} {}", custody.describe(), custody.describe());
    let failure = format!("{:?}", custody.open(LABEL, &sealed).unwrap_err());
    for secret in [crate::passphrase::OWN, crate::pkcs11::PIN, crate::tpm::AUTH, crate::passphrase::WRONG] {
        assert!(!text.contains(secret) && !failure.contains(secret), "{text} {failure}");
    }
}

/// A vault file made, opened, refused, rotated and lost, in this custody.
pub fn a_vault_file_lives_in_custody(stage: &mut impl Stage) {
    let folder = std::env::temp_dir().join(format!("vaults-file-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("vault");
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    let token = crate::vault::token(&secrets);
    let mut own = stage.prepared(Which::Own);
    vault_file::create_under(&path, &mut *own, &secrets).unwrap();
    assert_eq!(vault_file::custody_of(&path).unwrap(), own.describe().kind);
    assert!(vault_file::create_under(&path, &mut *own, &secrets).is_err(), "a vault is never overwritten");
    let opened = |which| vault_file::open_under(&path, &mut *stage.custody(which));
    assert_eq!(crate::vault::token(&opened(Which::Own).unwrap()), token);
    for which in [Which::WrongSecret, Which::Next] {
        let error = opened(which).map(|_| ()).unwrap_err();
        assert!(matches!(error, VaultFileError::Custody { .. } | VaultFileError::NotAuthentic), "{error}");
    }
    let content = std::fs::read(&path).unwrap();
    vault_file::reseal(&path, &mut *own, &mut *stage.custody(Which::Next)).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), content);
    assert_eq!(crate::vault::token(&opened(Which::Next).unwrap()), token, "rotation keeps the secrets");
    assert!(opened(Which::Own).is_err());
    stage.destroy_key();
    std::fs::write(&path, &content).unwrap();
    assert!(
        own.describe().kind == CustodyKind::Passphrase || vault_file::open_under(&path, &mut *own).is_err(),
        "an old copy of the file is of no use once its key is destroyed"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
