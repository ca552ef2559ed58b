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
    assert!(matches!(run_case(&mut chest, last), Outcome::Failed(_)) && chest.limit_reached());
    assert_eq!(run_case_undisturbed(&mut chest, last), Outcome::Passed);
}

const KEY: &str = "0123456789ABCDEFFEDCBA9876543210";
const PAN: &str = "4012345678909";

/// Types that the published files do not hold, by the library.
fn further() -> Vec<(Value, &'static str)> {
    [further_of_cards_and_messages(), further_of_dukpt()].concat()
}

fn further_of_dukpt() -> Vec<(Value, &'static str)> {
    use serde_json::json;
    vec![
        (json!({"type": "ksn_count", "start_ksn": "FFFF9876543210E00000", "total_valid_ksns": 1_048_575}), "start_ksn"),
        (
            json!({"type": "ksn_count", "start_ksn": "123456789012345600000000", "total_valid_ksns": 2_448_023_842_u32}),
            "",
        ),
        (
            json!({"type": "pin_key", "bdk": KEY, "ksn": "FFFF9876543210E00001",
                "pin_key": "042666B49184CF5C68DE9628D0397B36"}),
            "pin_key",
        ),
        (
            json!({"type": "data_key", "bdk": KEY, "ksn": "FFFF9876543210E00001",
                "data_request_key": "448D3F076D8304036A55A3D7E0055A78"}),
            "data_request_key",
        ),
    ]
}

fn further_of_cards_and_messages() -> Vec<(Value, &'static str)> {
    use paycrypto::emv::{MasterKeyOption, common_session_key_for_atc, icc_master_key};
    use serde_json::json;
    let hex = crate::mac::case::hex;
    let bytes = crate::mac::case::unhex(KEY).expect("hexadecimal");
    let key = paycrypto::TdesKey::new(&bytes).expect("a key");
    let sm4 = paycrypto::Sm4Key::new(&bytes).expect("a key");
    let pin = paycrypto::Pin::parse("1234").expect("four digits");
    let card = icc_master_key(MasterKeyOption::A, &key, PAN.as_bytes(), 1).expect("it derives");
    let service_code = types::ServiceCode::parse("101").expect("three digits");
    let value = paycrypto::pin_verification::pin_verification_value(&key, 1, PAN.as_bytes(), &pin).expect("a PVV");
    let dcvv = paycrypto::card_verification::dynamic_card_verification_value(
        &card,
        PAN.as_bytes(),
        [0, 7],
        b"3012",
        service_code,
    );
    let session = common_session_key_for_atc(&card, [0, 7]).expect("it derives");
    let cryptogram = paycrypto::emv::application_cryptogram(&session, b"data", paycrypto::padding::Padding::Marker);
    let block = paycrypto::pin_block::encipher_format_0(&key, &pin, PAN.as_bytes()).expect("it enciphers");
    let mac = |message: &[u8]| hex(&paycrypto::mac::x9_19_mac(&key, message).expect("a MAC"));
    vec![
        (json!({"type": "pvv", "pvk": KEY, "pvki": "1", "pin": "1234", "pan": PAN, "pvv": value.expose()}), "pvv"),
        (
            json!({"type": "dcvv", "imk": KEY, "mk_option": "A", "pan": PAN, "psn": "01", "atc": "0007",
                "expiry": "3012", "service_code": "101", "dcvv": dcvv.expect("a dCVV").expose()}),
            "dcvv",
        ),
        (
            json!({"type": "cup_sm4_mac", "key": KEY, "data_ascii": "message",
                "mac_field64": hex(&paycrypto::mac::unionpay_ecb_mac(&sm4, b"message"))}),
            "mac_field64",
        ),
        (
            json!({"type": "pboc_x919_mac", "key": KEY, "data": "00112233", "padding": 1, "mac": mac(&[0, 0x11, 0x22, 0x33])}),
            "mac",
        ),
        (
            json!({"type": "pboc_x919_mac", "key": KEY, "data": "00112233", "padding": "80 00",
                "mac": mac(&[0, 0x11, 0x22, 0x33, 0x80, 0, 0, 0])}),
            "mac",
        ),
        (
            json!({"type": "format0_enciphered", "key": KEY, "pin": "1234", "pan": PAN,
                "enciphered_pin_block": hex(&block)}),
            "enciphered_pin_block",
        ),
        (
            json!({"type": "arqc", "imk": KEY, "pan": PAN, "psn": "01", "atc": "0007", "un": "00000000",
                "session_key_method": "common", "padding_method": 2, "txn_data": hex(b"data"),
                "arqc": hex(&cryptogram.expect("a cryptogram"))}),
            "arqc",
        ),
        (json!({"type": "tdes_weak_key", "key": "01010101010101010101010101010101"}), ""),
        (
            json!({"type": "cup_mak", "tmk": KEY, "mak_encrypted": hex(&paycrypto::key_wrap::wrap_ecb(&key, &[0x23, 1, 2, 3, 4, 5, 6, 7]).expect("it wraps")), "mak": "2301020304050607"}),
            "mak",
        ),
    ]
}

#[test]
fn types_of_other_files_run_over_the_boundary() {
    let cases = further();
    let published: Vec<&Value> = cases.iter().map(|(case, _)| case).collect();
    let mut start = fresh;
    let mut processes = KeyProcesses { fresh: &mut start, envelope };
    let mut chest = Chest::new(&mut processes, &published);
    for (case, name) in &cases {
        assert_eq!(crate::run_case(case, &std::collections::BTreeMap::new()), Outcome::Passed, "{case}");
        assert_eq!(run_case(&mut chest, case), Outcome::Passed, "{case}");
        if !name.is_empty() && *name != "start_ksn" {
            assert!(matches!(run_case(&mut chest, &spoilt(case, name)), Outcome::Failed(_)), "{case}");
        }
    }
    let counted = cases.iter().find(|(case, _)| case["total_valid_ksns"] == 1_048_575);
    let mut miscounted = counted.expect("TDES serial numbers are counted").0.clone();
    miscounted["total_valid_ksns"] = serde_json::json!(1_048_574);
    assert!(matches!(run_case(&mut chest, &miscounted), Outcome::Failed(_)));
}
