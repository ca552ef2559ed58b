//! Keys, cryptograms, answers and scripts of chip cards.

use super::{calc, published, result, text};
use serde_json::Value;

fn input_of(case: &Value) -> &Value {
    &case["input"]
}

#[test]
fn icc_master_keys() {
    for (kind, option) in [("derive_icc_mk_a", "a"), ("derive_icc_mk_b", "b")] {
        for case in published("emv-crypto.json", kind) {
            let input = input_of(&case);
            let psn = input["psn"].as_str().unwrap_or("00");
            let words = ["icc-master-key", "--imk", text(input, "iss_mk"), "--pan", text(input, "pan")];
            assert_eq!(result(&[&words[..], &["--psn", psn, "--option", option]].concat()), text(&case, "output"));
        }
    }
}

#[test]
fn session_keys() {
    for case in published("emv-crypto.json", "derive_common_sk") {
        let input = input_of(&case);
        let words = ["session-key", "--method", "common-of-arqc", "--icc-key", text(input, "icc_mk")];
        assert_eq!(result(&[&words[..], &["--arqc", text(input, "r")]].concat()), text(&case, "output"));
    }
    for case in published("emv-crypto.json", "derive_visa_sm_sk") {
        let input = input_of(&case);
        let words = ["session-key", "--method", "visa-script", "--icc-key", text(input, "icc_mk")];
        assert_eq!(result(&[&words[..], &["--atc", text(input, "atc")]].concat()), text(&case, "output"));
    }
    for case in published("emv-crypto.json", "pboc_full") {
        for (mk, key) in case["mk"].as_array().unwrap().iter().zip(case["session_keys"].as_array().unwrap()) {
            let words = ["session-key", "--method", "pboc", "--icc-key", mk.as_str().unwrap()];
            assert_eq!(result(&[&words[..], &["--atc", text(&case, "atc")]].concat()), key.as_str().unwrap());
        }
    }
    // Every level of the tree is shown, and the key is its leaf xored with the leaf's grandparent.
    let words =
        ["session-key", "--method", "emv2000", "--icc-key", "0123456789ABCDEFFEDCBA9876543210", "--atc", "0017"];
    let report = calc(&words);
    assert_eq!(report.steps.iter().filter(|step| step.name.starts_with("node")).count(), 8);
    let xored = xor(report.value_of("node of level 8"), report.value_of("node of level 6"));
    assert!(calc(&["parity", "--key", &xored, "--expect", &report.result]).agrees());
}

fn xor(left: &str, right: &str) -> String {
    let number = |text: &str| u128::from_str_radix(text, 16).unwrap();
    format!("{:032X}", number(left) ^ number(right))
}

#[test]
fn cryptograms_from_session_keys() {
    for case in published("emv-crypto.json", "generate_ac") {
        let input = input_of(&case);
        let padding = if input["padding_type"] == "VISA" { "1" } else { "2" };
        let words = ["arqc", "--session-key", text(input, "sk_ac"), "--atc", "0000", "--padding", padding];
        let report = calc(&[&words[..], &["--data", text(input, "data")]].concat());
        assert!(report.result.starts_with(text(&case, "output")), "{case}");
        assert_eq!(report.value_of("enciphered with the last part"), report.result);
    }
}

/// What each scheme's cryptogram covers.
fn cryptogram_data(input: &Value) -> String {
    const NAMES: [&str; 13] = [
        "tag_9f02", "tag_9f03", "tag_9f1a", "tag_95", "tag_5f2a", "tag_9a", "tag_9c", "tag_9f37", "tag_82", "tag_9f36",
        "tag_9f10", "cvr", "counters",
    ];
    NAMES.iter().filter_map(|name| input[*name].as_str()).collect()
}

#[test]
fn cryptograms_of_every_scheme() {
    let schemes = [
        ("scheme_MasterCardCVN16", "mastercard-cvn16"),
        ("scheme_MasterCardCVN17", "mastercard-cvn17"),
        ("scheme_MasterCardCVN20", "mastercard-cvn20"),
        ("scheme_VisaCVN18", "visa-cvn18"),
    ];
    for (kind, scheme) in schemes {
        for case in published("emv-crypto.json", &format!("{kind}.generate_ac")) {
            let input = input_of(&case);
            let data = cryptogram_data(input);
            let words = [
                "arqc",
                "--scheme",
                scheme,
                "--imk",
                text(input, "iss_mk_ac"),
                "--pan",
                text(input, "pan"),
                "--psn",
                text(input, "psn"),
                "--atc",
                text(input, "tag_9f36"),
                "--un",
                text(input, "tag_9f37"),
                "--data",
                &data,
            ];
            assert_eq!(result(&words), text(&case, "output"));
        }
    }
}

#[test]
fn cryptograms_of_pboc() {
    for case in published("emv-crypto.json", "pboc_full") {
        let card = ["--pan", text(&case, "pan"), "--psn", text(&case, "psn"), "--atc", text(&case, "atc")];
        let words = ["arqc", "--imk", text(&case, "imk_ac"), "--data", text(&case, "ac_data")];
        let report = calc(&[&words[..], &card].concat());
        assert_eq!(report.result, text(&case, "arqc"));
        assert_eq!(report.value_of("ICC master key"), case["mk"][0].as_str().unwrap());
        assert_eq!(report.value_of("session key"), case["session_keys"][0].as_str().unwrap());
        let words = ["arpc", "--imk", text(&case, "imk_ac"), "--arqc", text(&case, "arqc"), "--arc", "3030"];
        assert_eq!(result(&[&words[..], &card].concat()), text(&case, "arpc_00"));
        let words = [
            "script-mac",
            "--imk",
            text(&case, "imk_mac"),
            "--arqc",
            text(&case, "arqc"),
            "--header",
            text(&case, "script_header"),
            "--data",
            "000000100000",
            "--expect",
            text(&case, "script_mac"),
        ];
        let report = calc(&[&words[..], &card].concat());
        assert!(report.agrees());
        assert_eq!(report.value_of("MAC input"), text(&case, "script_mac_input"));
    }
}

#[test]
fn field_55_of_the_worked_sale() {
    // UnionPay POS §9, S3, as the issuer's own tests read it: the cryptogram in it is what comes out.
    let field_55 = "9F2608AE60C8CABA4C02F99F2701809F101307020103A0A002010A010000001100B96D058B9F3704329971469F36020391\
                    9505000004E0009A031507209C01009F02060000000000015F2A02015682027C009F1A0201569F03060000000000009F33\
                    03E0E9C8";
    let field_55: String = field_55.split_whitespace().collect();
    let words = ["arqc", "--icc-key", "0123456789ABCDEFFEDCBA9876543210", "--field-55", &field_55];
    let report = calc(&words);
    // The card's key is not published: the comparison is made, and fails.
    assert_eq!(report.comparison.as_ref().unwrap().expected, "AE60C8CABA4C02F9");
    assert!(!report.agrees());
    let again = calc(&[
        "arqc",
        "--icc-key",
        "0123456789ABCDEFFEDCBA9876543210",
        "--atc",
        "0391",
        "--data",
        report.value_of("cryptogram input"),
    ]);
    assert_eq!(again.result, report.result);
}

#[test]
fn answers() {
    for case in published("emv-crypto.json", "generate_arpc_1") {
        let input = input_of(&case);
        let words = ["arpc", "--session-key", text(input, "sk_ac"), "--arqc", text(input, "arqc")];
        assert_eq!(result(&[&words[..], &["--arc", text(input, "arpc_rc")]].concat()), text(&case, "output"));
    }
    for case in published("emv-crypto.json", "generate_arpc_2") {
        let input = input_of(&case);
        let proprietary = input["prop_auth_data"].as_str().unwrap_or_default();
        let words = ["arpc", "--session-key", text(input, "sk_ac"), "--arqc", text(input, "arqc")];
        let answer = ["--csu", text(input, "csu"), "--proprietary", proprietary];
        assert_eq!(result(&[&words[..], &answer].concat()), text(&case, "output"));
    }
    let schemes = [
        ("scheme_MasterCardCVN16.generate_arpc", "mastercard-cvn16"),
        ("scheme_MasterCardCVN20.generate_arpc", "mastercard-cvn20"),
        ("scheme_VisaCVN10.generate_arpc", "visa-cvn10"),
    ];
    for (kind, scheme) in schemes {
        for case in published("emv-crypto.json", kind) {
            let input = input_of(&case);
            let words = [
                "arpc",
                "--scheme",
                scheme,
                "--imk",
                text(input, "iss_mk_ac"),
                "--pan",
                text(input, "pan"),
                "--psn",
                text(input, "psn"),
                "--atc",
                input["tag_9f36"].as_str().unwrap_or("0000"),
                "--arqc",
                text(input, "tag_9f26"),
                "--arc",
                text(input, "arpc_rc"),
            ];
            assert_eq!(result(&words), text(&case, "output"));
        }
    }
}

#[test]
fn scripts() {
    let schemes = [
        ("scheme_MasterCardCVN16.generate_command_mac", "mastercard-cvn16"),
        ("scheme_MasterCardCVN17.generate_command_mac", "mastercard-cvn17"),
        ("scheme_VisaCVN10.generate_command_mac", "visa-cvn10"),
    ];
    for (kind, scheme) in schemes {
        for case in published("emv-crypto.json", kind) {
            let input = input_of(&case);
            let words = [
                "script-mac",
                "--scheme",
                scheme,
                "--imk",
                text(input, "iss_mk_smi"),
                "--pan",
                text(input, "pan"),
                "--psn",
                text(input, "psn"),
                "--atc",
                text(input, "tag_9f36"),
                "--arqc",
                text(input, "tag_9f26"),
                "--header",
                text(input, "command_header"),
                "--data",
                text(input, "command_data"),
            ];
            assert_eq!(result(&words), text(&case, "output"));
        }
    }
    for case in published("emv-crypto.json", "encrypt_command_data") {
        let input = input_of(&case);
        let scheme = match text(input, "encryption_type") {
            "VISA" => "visa-cvn18",
            "MASTERCARD" => "mastercard-cvn20",
            _ => continue,
        };
        let words = [
            "script-encipher",
            "--scheme",
            scheme,
            "--session-key",
            text(input, "sk_smc"),
            "--atc",
            "0001",
            "--arqc",
            "0000000000000000",
            "--data",
            text(input, "command_data"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "output"));
        assert!(report.value_of("padded data").contains(text(input, "command_data")));
    }
}
