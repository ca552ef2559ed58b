//! Why two ends differ: published results, computed with one input changed.

use super::{calc, published, text};

fn why(words: &[&str], expected: &str) -> String {
    let report = calc(&[words, &["--expect", expected]].concat());
    assert!(!report.agrees(), "{words:?} agrees");
    report.why.unwrap_or_else(|| "no idea".to_owned())
}

#[test]
fn arqc() {
    let case = &published("emv-crypto.json", "pboc_full")[0];
    let (imk, data, arqc) = (text(case, "imk_ac"), text(case, "ac_data"), text(case, "arqc"));
    let card = |psn, data| {
        ["arqc", "--imk", imk, "--pan", "6228480402564890018", "--psn", psn, "--atc", "0001", "--data", data]
    };
    let asked = card("01", data);
    let with = |more: &[&str]| why(&[&asked[..], more].concat(), arqc);
    assert_eq!(with(&["--padding", "1"]), "agrees with padding method 2 (80, then zeros)");
    assert_eq!(with(&["--option", "b"]), "agrees with master key option A");
    assert_eq!(with(&["--session", "common"]), "agrees with the PBOC / UnionPay session key");
    assert_eq!(why(&card("00", data), arqc), "agrees with PAN sequence number 01");
    let longer = format!("{data}0A01");
    assert_eq!(why(&card("01", &longer), arqc), "agrees with the data without its last 2 bytes");
    let two = with(&["--padding", "1", "--session", "master-key"]);
    assert_eq!(two, "agrees with padding method 2 (80, then zeros), and the PBOC / UnionPay session key");
    assert_eq!(with(&["--scheme", "mastercard-cvn20", "--padding", "3"]).matches(" and ").count(), 1);
    assert_eq!(why(&asked, "0000000000000000"), "no idea");
    let icc_key = case["mk"][0].as_str().unwrap();
    let words =
        ["arqc", "--imk", icc_key, "--pan", "6228480402564890018", "--psn", "01", "--atc", "0001", "--data", data];
    assert_eq!(why(&words, arqc), "agrees with the given issuer key taken as the ICC master key");
    assert!(why(&asked, case["session_keys"][0].as_str().unwrap()).contains("a value between: session key"));
}

#[test]
fn arpc() {
    let case = &published("emv-crypto.json", "pboc_full")[0];
    let key = ["arpc", "--session-key", case["session_keys"][0].as_str().unwrap(), "--arqc", text(case, "arqc")];
    let words = [&key[..], &["--arc", "0000"]].concat();
    assert_eq!(why(&words, text(case, "arpc_00")), "agrees with response code 3030, method 1");
}

#[test]
fn macs() {
    for case in published("mac.json", "iso9797_1").iter().filter(|case| case["algorithm"] == 3) {
        let key = format!("{}{}", text(case, "key1"), text(case, "key2"));
        let (data, mac, padding) =
            (super::as_text(case, "data_ascii"), text(case, "mac"), case["padding"].as_u64().unwrap());
        let wrong = (padding % 3 + 1).to_string();
        let words = ["mac", "--algorithm", "retail", "--key", &key, "--data", &data, "--padding", &wrong];
        let found = why(&words, mac);
        assert!(found.contains(&format!("padding method {padding}")) || found.contains("X9.19"), "{found}");
        let swapped = format!("{}{}", text(case, "key2"), text(case, "key1"));
        let padding = padding.to_string();
        let words = ["mac", "--algorithm", "retail", "--key", &swapped, "--data", &data, "--padding", &padding];
        assert_eq!(why(&words, mac), "agrees with the halves of the key swapped");
        let words = ["mac", "--algorithm", "cbc", "--key", &key, "--data", &data, "--padding", &padding];
        assert_eq!(why(&words, mac), "agrees with MAC algorithm 3 (retail MAC)");
    }
    let case = &published("mac.json", "cup_ecb_mac")[0];
    let framed = format!("6000000000{}", text(case, "mab"));
    let words = ["mac", "--algorithm", "unionpay-ecb", "--key", text(case, "mak"), "--data", &framed];
    assert_eq!(why(&words, text(case, "mac_ascii")), "agrees with the data without its first 5 bytes");
}

#[test]
fn check_values() {
    let case = &published("key-mgmt.json", "kcv_aes")[0];
    let key = text(case, "key");
    let aes = ["check-value", "--key", key, "--cipher", "aes"];
    assert!(why(&aes, text(case, "kcv_zero_block3")).contains("legacy check value"));
    let tdes = ["check-value", "--key", key];
    let found = why(&tdes, text(case, "kcv_cmac5"));
    assert_eq!(found, "agrees with the CMAC check value, and the key used with AES");
    let case = &published("key-mgmt.json", "kcv_tdes")[0];
    let key = text(case, "key");
    let swapped = format!("{}{}", &key[16..], &key[..16]);
    let found = why(&["check-value", "--key", &swapped], text(case, "kcv3"));
    assert_eq!(found, "agrees with the halves of the key swapped");
}

#[test]
fn pin_blocks() {
    let case = &published("pin-blocks.json", "translate")[0];
    let (pin, pan, key) = (text(case, "pin"), text(case, "pan"), text(case, "format0_key"));
    let block = |format, pan| ["pin-block-encode", "--format", format, "--pin", pin, "--pan", pan, "--key", key];
    let enciphered = text(case, "format0_enciphered");
    assert_eq!(why(&block("0", pan), text(case, "format0_block")), "it is a value between: PIN block, both xored");
    assert_eq!(why(&block("2", pan), enciphered), "agrees with format 0");
    assert_eq!(why(&block("0", pan), text(case, "format3_enciphered")), "holds the same PIN: agrees with format 3");
    let without_check_digit = &pan[..pan.len() - 1];
    assert_eq!(
        why(&block("0", without_check_digit), enciphered),
        "agrees with the last twelve account digits, check digit included"
    );
    let decode =
        ["pin-block-decode", "--format", "0", "--pan", pan, "--key", key, "--block", text(case, "format3_enciphered")];
    let report = calc(&decode);
    assert!(!report.agrees());
    assert_eq!(report.why.as_deref(), Some("it is well formed with format 3"));
}

#[test]
fn card_verification_values() {
    let case = &published("card-verification.json", "cvv")[0];
    let (key, pan, cvv) = (text(case, "cvk"), text(case, "pan"), text(case, "cvv"));
    let value = |expiry, code| ["cvv", "--key", key, "--pan", pan, "--expiry", expiry, "--service-code", code];
    assert!(why(&value("0187", "101"), cvv).starts_with("agrees with year and month of the expiry swapped"));
    assert!(why(&value("8701", "000"), cvv).starts_with("agrees with service code 101"));
    let swapped = format!("{}{}", &key[16..], &key[..16]);
    let words = ["cvv", "--key", &swapped, "--pan", pan, "--expiry", "8701", "--service-code", "101"];
    assert!(why(&words, cvv).starts_with("agrees with the halves of the key swapped"));
}

#[test]
fn master_and_session_keys() {
    let case = &published("emv-crypto.json", "pboc_full")[0];
    let (imk, mk) = (text(case, "imk_ac"), case["mk"][0].as_str().unwrap());
    let words = |option, psn| {
        ["icc-master-key", "--imk", imk, "--pan", "6228480402564890018", "--psn", psn, "--option", option]
    };
    assert_eq!(why(&words("b", "01"), mk), "agrees with master key option A");
    assert_eq!(why(&words("a", "00"), mk), "agrees with PAN sequence number 01");
    let report = calc(&words("a", "01"));
    let before = ["Y enciphered", "complement of Y enciphered"].map(|name| report.value_of(name)).concat();
    assert_eq!(why(&words("a", "01"), &before), "agrees without odd parity: the same key to DES");
    let key = case["session_keys"][0].as_str().unwrap();
    let words = ["session-key", "--method", "common", "--icc-key", mk, "--atc", "0001"];
    assert_eq!(why(&words, key), "agrees with the PBOC / UnionPay session key");
}
