//! The runner over vaults in this process. `scripts/test` does the same over the sockets of real key processes.

use super::*;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use keys::Caller;
use std::path::Path;
use std::sync::Arc;
use vault_soft::{AuditMemory, LocalKeys, MasterSecrets, SoftVault, SystemClock, SystemEntropy, VaultKind};

/// Areas with keys in them.
const AREAS_WITH_KEYS: [&str; 9] =
    ["dukpt-tdes", "dukpt-aes", "tr31", "pin-blocks", "mac", "card-verification", "emv-crypto", "key-mgmt", "sm"];

fn fresh() -> anyhow::Result<KeyDoors> {
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Host)?;
    let (clock, medium) = (Box::new(SystemClock::default()), Box::new(AuditMemory::default()));
    let vault = Arc::new(SoftVault::with_audit(secrets, Box::new(SystemEntropy), clock, medium, Some("vectors"))?);
    Ok(KeyDoors {
        host: Box::new(LocalKeys::new(Arc::clone(&vault), Caller::Host)),
        administration: Box::new(LocalKeys::new(vault, Caller::Administration)),
        life: Box::new(()),
    })
}

fn envelope(public_key: &[u8], key: &[u8]) -> anyhow::Result<Vec<u8>> {
    let public = PublicEncryptingKey::from_der(public_key).map_err(|_| anyhow::anyhow!("no RSA key"))?;
    let public = OaepPublicEncryptingKey::new(public).map_err(|_| anyhow::anyhow!("no OAEP key"))?;
    let mut buffer = vec![0; public.ciphertext_size()];
    let sealed = public.encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut buffer, None);
    Ok(sealed.map_err(|_| anyhow::anyhow!("OAEP"))?.to_vec())
}

fn file(area: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/{area}.json"))
}

#[test]
fn every_published_case_that_makes_sense_on_the_socket_passes_there() {
    let paths: Vec<PathBuf> = AREAS_WITH_KEYS.iter().map(|area| file(area)).collect();
    let mut processes = KeyProcesses { fresh: &mut fresh, envelope };
    let report = run_files_through(&paths, &mut processes).expect("the vector files load");
    let failures: Vec<String> = report.failures.iter().map(|fail| format!("{}: {}", fail.id, fail.why)).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(report.total.passed > 350, "only {} cases ran: {:#?}", report.total.passed, report.skips);
}

/// What cases publish and commands are compared with, where a case passes.
const COMPARED: &[&str] = &[
    "arpc_00",
    "cmac_aes128_request",
    "cmac_aes128_response",
    "cvc3",
    "cvv",
    "data_request_key",
    "encrypted_pinblock",
    "format0_block",
    "format0_enciphered",
    "format3_enciphered",
    "format4_enciphered",
    "hmac128_sha256_request",
    "hmac128_sha256_response",
    "ik",
    "kcv",
    "kcv3",
    "kcv8",
    "kcv_cmac",
    "kcv_cmac5",
    "kcv_legacy",
    "kcv_zero_block",
    "mac_field64",
    "mac_request_x919",
    "mac_response_4",
    "next_ksn",
    "offset",
    "output",
    "pin",
    "script_mac",
    "tdes_cmac_request",
    "tdes_cmac_response",
    "txn_key",
];

/// The case with the first character of a field changed.
fn spoilt(case: &Value, name: &str) -> Value {
    let text = case[name].as_str().expect("a text field");
    let first = if text.starts_with('0') { "1" } else { "0" };
    let mut spoilt = case.clone();
    spoilt[name] = Value::String(format!("{first}{}", &text[1..]));
    spoilt
}

#[test]
fn a_changed_value_fails_over_the_boundary_too() {
    let mut start = fresh;
    let mut changes = 0;
    for area in AREAS_WITH_KEYS {
        let cases = load(&file(area)).expect("the vector file loads");
        let published: Vec<&Value> = cases.iter().collect();
        let mut processes = KeyProcesses { fresh: &mut start, envelope };
        let mut chest = Chest::new(&mut processes, &published);
        for case in cases.iter().filter(|case| case["malformed"] != true && case["expect"].is_null()) {
            if run_case(&mut chest, case) != Outcome::Passed {
                continue;
            }
            let is_mac = ["mac"].into_iter().filter(|_| area == "mac");
            let given = |name: &&str| case[*name].as_str().is_some_and(|text| !text.is_empty());
            for name in COMPARED.iter().copied().chain(is_mac).filter(given).filter(|name| is_compared(case, name)) {
                let outcome = run_case(&mut chest, &spoilt(case, name));
                assert!(!matches!(outcome, Outcome::Passed), "{} {name}", case["id"]);
                changes += 1;
            }
        }
    }
    assert!(changes > 350, "only {changes} values were changed");
}

/// Values between that only the library's own run compares.
fn is_compared(case: &Value, name: &str) -> bool {
    match name {
        "ik" => case["type"] == "derive_ik",
        "kcv_zero_block" => case["type"] == "sm4_kcv",
        _ => true,
    }
}

#[test]
fn a_limit_of_the_vault_is_met_with_a_fresh_one() {
    // Thirteen PINs of one card are one more than a vault shows in a day.
    let pins = (0..13).map(|number| format!("{:04}", 1000 + number));
    let pan = "4012345678909";
    let cases: Vec<Value> = pins
        .map(|pin| {
            let parsed = paycrypto::Pin::parse(&pin).expect("four digits");
            let block = paycrypto::pin_block::encode_format_0(&parsed, pan.as_bytes()).expect("it encodes");
            serde_json::json!({"type": "format0_decode", "pin": pin, "pan": pan, "pin_block": crate::mac::case::hex(&block)})
        })
        .collect();
    let published: Vec<&Value> = cases.iter().collect();
    let mut start = fresh;
    let mut processes = KeyProcesses { fresh: &mut start, envelope };
    let mut chest = Chest::new(&mut processes, &published);
    let (last, before) = cases.split_last().expect("thirteen");
    assert!(before.iter().all(|case| run_case(&mut chest, case) == Outcome::Passed));
    assert!(matches!(run_case(&mut chest, last), Outcome::Failed(_)) && chest.remembers_guesses());
    chest.start_afresh();
    assert_eq!(run_case(&mut chest, last), Outcome::Passed);
}
