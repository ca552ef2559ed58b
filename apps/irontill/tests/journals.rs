//! Journals of released versions open in this one, for ever: `proof/journals/VERSION` holds a whole system's folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::{Path, PathBuf};
use std::process::Command;

const IRONTILL: &str = env!("CARGO_BIN_EXE_irontill");

fn released() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proof/journals")
}

/// One folder for each version.
fn versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(released()).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
    // Version control does not keep modes; a vault refuses files that others may read.
    private(to);
}

fn private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn run(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(IRONTILL).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_released_journal_opens() {
    let versions = versions();
    assert!(!versions.is_empty(), "no journal is kept");
    for (number, version) in versions.iter().enumerate() {
        let data = std::env::temp_dir().join(format!("irontill-journals-{}-{number}", std::process::id()));
        copy(version, &data);
        let folder = data.to_str().unwrap();

        let (code, text) = run(&["host", "verify", "--data", folder, "--json"]);
        assert_eq!(code, 0, "{}: {text}", version.display());

        let (code, text) = run(&["explain", "--data", folder, "000001000002"]);
        assert_eq!(code, 0, "{}: {text}", version.display());
        for part in ["approved", "TERMINAL AND CARD", "HOST AND LEDGER", "RECEIPT", "sale/10000001/000001/000002/0200"]
        {
            assert!(text.contains(part), "{}: no {part} in\n{text}", version.display());
        }
        std::fs::remove_dir_all(&data).unwrap();
    }
}

#[test]
fn a_damaged_journal_is_named() {
    let version = versions().into_iter().next().expect("a journal is kept");
    let data = std::env::temp_dir().join(format!("irontill-damaged-{}", std::process::id()));
    copy(&version, &data);
    let file = data.join("host/host.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // Somewhere inside a record of the demo's terminal: its name stands in each of its journal rows' records.
    let at = bytes.windows(8).rposition(|window| window == b"10000001").expect("the terminal is in its journal");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, text) = run(&["host", "verify", "--data", data.to_str().unwrap()]);
    std::fs::remove_dir_all(&data).unwrap();
    assert_ne!(code, 0, "a changed byte passed: {text}");
}
