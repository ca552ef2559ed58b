//! MACs of every algorithm, field 62 and field 64.

use super::{as_text, calc, published, result, text};

#[test]
fn iso_9797_1() {
    for case in published("mac.json", "iso9797_1") {
        let (data, padding) = (as_text(&case, "data_ascii"), case["padding"].to_string());
        let algorithm = if case["algorithm"] == 1 { "cbc" } else { "retail" };
        let mut words = vec!["mac", "--algorithm", algorithm, "--key", text(&case, "key1")];
        words.extend(["--data", &data, "--padding", &padding]);
        let joined = format!("{}{}", text(&case, "key1"), case["key2"].as_str().unwrap_or_default());
        if algorithm == "retail" {
            let separate = [&words[..], &["--second-key", text(&case, "key2")]].concat();
            assert_eq!(result(&separate), text(&case, "mac"));
            words[4] = &joined;
        }
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "mac"));
        let last = if algorithm == "retail" { "enciphered with the last part" } else { "chain value 4" };
        if report.steps.iter().any(|step| step.name == last) {
            assert_eq!(report.value_of(last), report.result);
        }
    }
    for case in published("mac.json", "retail_mac_alg3") {
        let (data, padding) = (as_text(&case, "data_ascii"), case["padding"].to_string());
        let words = [
            "mac",
            "--algorithm",
            "retail",
            "--key",
            text(&case, "key1"),
            "--second-key",
            text(&case, "key2"),
            "--data",
            &data,
            "--padding",
            &padding,
        ];
        assert!(calc(&[&words[..], &["--expect", text(&case, "mac")]].concat()).agrees(), "{case}");
    }
    for case in published("mac.json", "cbc_mac_alg1_tdes") {
        let (data, padding) = (as_text(&case, "data_ascii"), case["padding"].to_string());
        let words = ["mac", "--algorithm", "cbc", "--key", text(&case, "key"), "--data", &data, "--padding", &padding];
        assert!(calc(&[&words[..], &["--expect", text(&case, "mac")]].concat()).agrees(), "{case}");
    }
}

#[test]
fn cmac_and_hmac() {
    let kinds = [
        ("cmac_aes128", "aes"),
        ("cmac_aes192", "aes"),
        ("cmac_aes256", "aes"),
        ("cmac_tdes2", "tdes"),
        ("cmac_tdes3", "tdes"),
        ("aes_cmac_wycheproof", "aes"),
    ];
    for (kind, cipher) in kinds {
        for case in published("mac.json", kind) {
            let words = ["mac", "--algorithm", "cmac", "--cipher", cipher, "--key", text(&case, "key")];
            let report =
                calc(&[&words[..], &["--data", text(&case, "message"), "--expect", text(&case, "mac")]].concat());
            assert!(report.agrees(), "{case}");
        }
    }
    for case in published("mac.json", "hmac_sha256") {
        let data = as_text(&case, "message_ascii");
        let words = ["mac", "--algorithm", "hmac-sha256", "--key", text(&case, "key"), "--data", &data];
        assert!(calc(&[&words[..], &["--expect", text(&case, "mac")]].concat()).agrees(), "{case}");
    }
    for case in published("mac.json", "hmac_sm3_wycheproof") {
        let words = ["mac", "--algorithm", "hmac-sm3", "--key", text(&case, "key"), "--data", text(&case, "message")];
        assert!(calc(&[&words[..], &["--expect", text(&case, "mac")]].concat()).agrees(), "{case}");
    }
}

#[test]
fn x9_9_and_unionpay() {
    for case in published("mac.json", "x99_cbc_mac") {
        let data = as_text(&case, "data_ascii");
        let words = ["mac", "--algorithm", "x9-9", "--key", text(&case, "key"), "--data", &data];
        assert_eq!(result(&words), text(&case, "mac_full"));
        assert!(calc(&[&words[..], &["--expect", text(&case, "mac")]].concat()).agrees());
    }
    for case in published("mac.json", "cup_ecb_mac") {
        let words = ["mac", "--algorithm", "unionpay-ecb", "--key", text(&case, "mak"), "--data", text(&case, "mab")];
        let report = calc(&[&words[..], &["--expect", text(&case, "mac_ascii")]].concat());
        assert!(report.agrees());
        assert_eq!(report.value_of("exclusive or of all blocks"), text(&case, "xor_result"));
        let halves = ["its hexadecimal text, first half", "its hexadecimal text, second half"];
        assert_eq!(halves.map(|name| report.value_of(name)).concat(), text(&case, "expanded_ascii_hex"));
        assert_eq!(report.value_of("first half enciphered"), text(&case, "enc1"));
        assert_eq!(report.value_of("xored with the second half"), text(&case, "xor2"));
        assert_eq!(report.value_of("enciphered again"), text(&case, "enc2"));
        assert_eq!(report.value_of("field 64, bytes on the wire"), text(&case, "mac_field64"));
    }
}

#[test]
fn x9_19_under_dukpt_keys() {
    for case in published("dukpt-tdes.json", "txn_sequence") {
        let data = as_text(&case, "mac_data_ascii");
        for (key, mac) in [("mac_request_key", "mac_request_x919"), ("mac_response_key", "mac_response_x919")] {
            let words = ["mac", "--algorithm", "x9-19", "--key", text(&case, key), "--data", &data];
            assert_eq!(result(&words), text(&case, mac));
        }
    }
}

#[test]
fn field_64_of_a_whole_message() {
    let is_macked = |case: &serde_json::Value| case["mac_key"].is_string();
    let cases: Vec<_> = published("iso8583.json", "message").into_iter().filter(is_macked).collect();
    assert!(!cases.is_empty());
    for case in &cases {
        let report = calc(&["field-64", "--mak", text(case, "mac_key"), "--message", text(case, "data")]);
        assert!(report.agrees() && report.comparison.is_some());
        assert_eq!(report.value_of("field 64 in the message"), report.result);
        let other = calc(&["field-64", "--mak", "C24A8FB57AA20132C24A8FB57AA20132", "--message", text(case, "data")]);
        assert!(!other.agrees());
    }
}

#[test]
fn field_62_of_sign_in_answers() {
    // UnionPay POS §4.6, key-delivery vectors V1 and V2.
    let vectors = [
        (
            "258FB0AB70D025CDB99DF2C4D302D646",
            "46F161A743497B32EAC760DF5EA57DF5900ECCE3977731A7EA402DDF0000000000000000CFF1592A",
            "D931648F3DE313A4A22C15DCA4F4299E",
            "AB7C577CC7A18045",
        ),
        (
            "CA5D92598DCA48CE8A4C76361A9269E9",
            "6701EAD6A9AD51E51AA406E2C27FCFA98D0A74B8B651F9E9BACE9AE10000000000000000AB7153CA",
            "807A23AD32B36D457AE91FDF927570EA",
            "5BB5C72CD00B7338",
        ),
    ];
    for (tmk, field, pik, mak) in vectors {
        let report = calc(&["field-62", "--tmk", tmk, "--field", field]);
        assert!(report.agrees());
        assert_eq!((report.value_of("PIK"), report.value_of("MAK")), (pik, mak));
        let swapped = format!("{}{}", &tmk[16..], &tmk[..16]);
        let report = calc(&["field-62", "--tmk", &swapped, "--field", field]);
        assert!(!report.agrees());
        assert_eq!(report.why.as_deref(), Some("agrees with the halves of the key swapped"));
    }
    // UnionPay POS §4.6, the SM4 key vector, as both keys of a layout 005.
    let key = "3D66234C49E4296FF9C78D8BACBD6A76861E83E3";
    let words = ["field-62", "--tmk", "1234567890ABCDEFABCDEF0987654321", "--field", &key.repeat(2)];
    let report = calc(&[&words[..], &["--sm4"]].concat());
    assert!(report.agrees());
    assert_eq!(report.value_of("MAK"), "F351D490994603795C6EBEE8FAEBB481");
    assert_eq!(calc(&words).why.as_deref(), Some("agrees with SM4"));
}
