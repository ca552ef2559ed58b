//! Check values, parity, components, DUKPT, key blocks, key wrap.

use super::{calc, published, result, text};
use serde_json::Value;

#[test]
fn check_values() {
    for kind in ["kcv_tdes", "kcv_des"] {
        for case in published("key-mgmt.json", kind) {
            let report = calc(&["check-value", "--key", text(&case, "key")]);
            if let Some(whole) = case["kcv8"].as_str() {
                assert_eq!(report.value_of("a block of zeros enciphered"), whole);
                assert_eq!(report.result, whole[..6]);
            }
            if let Some(four) = case["kcv4"].as_str() {
                assert_eq!(result(&["check-value", "--key", text(&case, "key"), "--method", "unionpay"]), four);
            }
        }
    }
    for case in published("key-mgmt.json", "kcv_aes") {
        let report = calc(&["check-value", "--key", text(&case, "key"), "--cipher", "aes"]);
        assert_eq!(report.result, text(&case, "kcv_cmac5"));
        assert_eq!(report.value_of("legacy check value"), text(&case, "kcv_zero_block3"));
    }
    for case in published("sm.json", "sm4_kcv") {
        let report = calc(&["check-value", "--key", text(&case, "key"), "--cipher", "sm4"]);
        assert_eq!(report.value_of("a block of zeros enciphered"), text(&case, "kcv_zero_block"));
        assert_eq!(report.result, text(&case, "kcv_zero_block")[..8]);
    }
}

#[test]
fn parity_components_and_variants() {
    let whole = |case: &Value| matches!(text(case, "key").len(), 16 | 32 | 48);
    let cases = published("key-mgmt.json", "odd_parity").into_iter().filter(whole).collect::<Vec<_>>();
    assert!(!cases.is_empty());
    for case in &cases {
        assert_eq!(result(&["parity", "--key", text(case, "key")]), text(case, "adjusted"));
    }
    for case in published("key-mgmt.json", "component_xor") {
        let mut words = vec!["components"];
        case["components"].as_array().unwrap().iter().for_each(|component| {
            words.extend(["--component", component.as_str().unwrap()]);
        });
        let is_aes = case["algorithm"].as_str().is_some_and(|name| name.contains("AES"));
        words.extend(["--cipher", if is_aes { "aes" } else { "tdes" }]);
        let report = calc(&words);
        if let Some(key) = case["key"].as_str() {
            assert_eq!(report.result, key);
        }
        for (number, value) in (1..).zip(case["component_kcvs"].as_array().into_iter().flatten()) {
            let computed = report.value_of(&format!("check value of component {number}"));
            assert!(computed.starts_with(value.as_str().unwrap()), "{case}");
        }
        if let Some(value) = case["kcv"].as_str() {
            assert!(report.value_of("check value of the key").starts_with(value));
        }
    }
    for case in published("key-mgmt.json", "key_variant") {
        let variant = case["variant"].to_string();
        let words = ["variant", "--key", text(&case, "key"), "--variant", &variant];
        assert_eq!(result(&words), text(&case, "result"));
    }
}

#[test]
fn dukpt_with_tdes() {
    const KEYS: [(&str, &str); 5] = [
        ("PIN encryption key", "pin_key"),
        ("MAC key, request or both ways", "mac_request_key"),
        ("MAC key, response", "mac_response_key"),
        ("data key, request or both ways", "data_request_key"),
        ("data key, response", "data_response_key"),
    ];
    for case in published("dukpt-tdes.json", "txn_sequence") {
        let report = calc(&["dukpt-tdes", "--bdk", text(&case, "bdk"), "--ksn", text(&case, "ksn")]);
        assert_eq!(report.result, text(&case, "txn_key"));
        assert_eq!(report.value_of("initial key"), text(&case, "ik"));
        for (step, name) in KEYS {
            assert_eq!(report.value_of(step), text(&case, name));
        }
        let from_initial = ["dukpt-tdes", "--initial-key", text(&case, "ik"), "--ksn", text(&case, "ksn")];
        assert_eq!(result(&from_initial), report.result);
    }
    let short = calc(&["dukpt-tdes", "--bdk", "0123456789ABCDEFFEDCBA9876543210", "--ksn", "9876543210E00003"]);
    assert_eq!(
        short.value_of("key of counter 000002"),
        calc(&["dukpt-tdes", "--bdk", "0123456789ABCDEFFEDCBA9876543210", "--ksn", "FFFF9876543210E00002",]).result
    );
}

#[test]
fn dukpt_with_aes() {
    for kind in ["txn_sequence", "derive_txn_key"] {
        for case in published("dukpt-aes.json", kind) {
            let words = ["dukpt-aes", "--bdk", text(&case, "bdk"), "--ksn", text(&case, "ksn")];
            let report = calc(&words);
            assert_eq!(report.result, text(&case, "txn_key"));
            assert_eq!(report.value_of("initial key"), text(&case, "ik"));
            if kind == "txn_sequence" {
                let report = calc(&[&words[..], &["--key-type", "aes128"]].concat());
                assert_eq!(report.value_of("PIN encryption key"), text(&case, "pin_enc_key_aes128"));
                assert_eq!(report.value_of("MAC generation key"), text(&case, "mac_gen_key_aes128"));
                assert_eq!(report.value_of("data encryption key"), text(&case, "data_enc_key_aes128"));
            }
        }
    }
    let matrix = published("dukpt-aes.json", "working_key_matrix");
    for case in &matrix {
        let words = ["dukpt-aes", "--initial-key", text(case, "ik"), "--ksn", text(case, "ksn"), "--key-type", "tdes2"];
        let report = calc(&words);
        assert_eq!(report.value_of("key encryption key"), case["keys"]["kek_TDES2"].as_str().unwrap());
        assert_eq!(report.value_of("MAC verification key"), case["keys"]["mac_ver_TDES2"].as_str().unwrap());
    }
    for case in published("dukpt-aes.json", "derive_update_key") {
        let ksn = format!("{}00000000", text(&case, "ik_id"));
        let report = calc(&["dukpt-aes", "--initial-key", text(&case, "ik"), "--ksn", &ksn]);
        let own_type = text(&case, "ik").len() * 4;
        if text(&case, "key_type") == format!("AES{own_type}") {
            assert_eq!(report.value_of("update key"), text(&case, "update_key"));
        }
    }
}

#[test]
fn key_blocks_open() {
    for case in published("tr31.json", "unwrap") {
        let report =
            calc(&["key-block-unwrap", "--kbpk", text(&case, "kbpk"), "--key-block", text(&case, "key_block")]);
        assert!(report.agrees());
        assert_eq!(report.result, text(&case, "key"));
        if let Some(key) = case["kbek"].as_str() {
            assert_eq!(report.value_of("key block encryption key (KBEK)"), key);
            assert_eq!(report.value_of("key block authentication key (KBAK)"), text(&case, "kbak"));
            assert_eq!(report.value_of("padding"), text(&case, "clear_padding"));
            assert_eq!(report.value_of("MAC"), text(&case, "mac"));
        }
        assert!(report.value_of("key usage").starts_with(text(&case, "key_usage")));
    }
}

#[test]
fn key_blocks_are_made_again() {
    let mut made = 0;
    for case in published("tr31.json", "unwrap") {
        let block = text(&case, "key_block");
        let opened = calc(&["key-block-unwrap", "--kbpk", text(&case, "kbpk"), "--key-block", block]);
        let by_the_rules = opened.steps.iter().all(|step| !step.value.contains("do not go together"));
        if !matches!(&block[..1], "B" | "D" | "E") || !by_the_rules {
            continue;
        }
        let header = calc(&["key-block-header", "--key-block", block]).result;
        let padding = opened.value_of("padding");
        let words = [
            "key-block-wrap",
            "--kbpk",
            text(&case, "kbpk"),
            "--header",
            &header,
            "--key",
            text(&case, "key"),
            "--padding",
            padding,
        ];
        let results = [super::try_calc(&words), super::try_calc(&[&words[..], &["--show-length"]].concat())];
        let made_again = results.iter().flatten().any(|report| report.result == block);
        let refusals: Vec<String> =
            results.iter().filter_map(|result| Some(result.as_ref().err()?.to_string())).collect();
        assert!(made_again, "{}: {refusals:?}", case["id"]);
        made += 1;
    }
    assert!(made > 10, "{made}");
}

#[test]
fn a_wrong_protection_key_opens_nothing() {
    let case = &published("tr31.json", "unwrap")[1];
    let kbpk = "EFE0853B256B583D868F251CE99EA1D8EFE0853B256B583D";
    let report = calc(&["key-block-unwrap", "--kbpk", kbpk, "--key-block", text(case, "key_block")]);
    assert!(!report.agrees() && report.result.contains("MAC"));
}

#[test]
fn headers_in_words() {
    let report = calc(&["key-block-header", "--key-block", "D0112P0AE00E0000"]);
    assert_eq!(report.value_of("key usage"), "P0  PIN encryption");
    assert_eq!(report.value_of("mode of use"), "E  encrypt or wrap only");
    assert_eq!(report.value_of("stated length"), "is NOT the text's");
    let report = calc(&["key-block-header", "--key-block", "B0016M3AC00E0000"]);
    assert!(report.value_of("usage, algorithm and mode together").starts_with("REFUSED"));
}

#[test]
fn key_wraps() {
    for (kind, padded) in [("aes_kw", false), ("aes_kwp", true)] {
        for case in published("key-mgmt.json", kind) {
            let mut words = vec!["aes-key-wrap", "--kek", text(&case, "kek")];
            words.extend(padded.then_some("--padded"));
            let wrapped = [&words[..], &["--key", text(&case, "plaintext")]].concat();
            assert_eq!(result(&wrapped), text(&case, "wrapped"));
            let unwrapped = [&words[..], &["--unwrap", "--key", text(&case, "wrapped")]].concat();
            assert_eq!(result(&unwrapped), text(&case, "plaintext"));
        }
    }
    for case in published("key-mgmt.json", "cup_tmk_transport") {
        let words =
            ["key-under-key", "--unwrap", "--kek", text(&case, "transport_key"), "--key", text(&case, "tmk_encrypted")];
        assert_eq!(result(&words), text(&case, "tmk"));
        let back = ["key-under-key", "--kek", text(&case, "transport_key"), "--key", text(&case, "tmk")];
        assert_eq!(result(&back), text(&case, "tmk_encrypted"));
    }
}
