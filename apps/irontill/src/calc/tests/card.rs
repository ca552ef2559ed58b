//! PIN blocks, card and PIN verification values, tracks.

use super::{calc, published, result, text};

#[test]
fn pin_blocks_are_made() {
    for case in published("pin-blocks.json", "format0_encode") {
        let words = ["pin-block-encode", "--format", "0", "--pin", text(&case, "pin"), "--pan", text(&case, "pan")];
        assert_eq!(result(&words), text(&case, "pin_block"));
    }
    for case in published("pin-blocks.json", "format2_encode") {
        let words = ["pin-block-encode", "--format", "2", "--pin", text(&case, "pin")];
        assert_eq!(result(&words), text(&case, "pin_block"));
    }
    for case in published("pin-blocks.json", "format4_encipher") {
        let words = [
            "pin-block-encode",
            "--format",
            "4",
            "--pin",
            text(&case, "pin"),
            "--pan",
            text(&case, "pan"),
            "--key",
            text(&case, "key"),
            "--random",
            text(&case, "random"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "enciphered_pin_block"));
        assert_eq!(report.value_of("PIN field"), text(&case, "pin_field"));
        assert_eq!(report.value_of("account field"), text(&case, "pan_field"));
    }
    for case in published("pin-blocks.json", "sm4_pin_block") {
        let words = [
            "pin-block-encode",
            "--format",
            "sm4",
            "--pin",
            text(&case, "pin"),
            "--pan",
            text(&case, "pan"),
            "--key",
            text(&case, "key"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "enciphered_pin_block"));
        assert_eq!(report.value_of("PIN block, both xored"), text(&case, "pin_block"));
    }
}

#[test]
fn pin_blocks_are_read() {
    for (kind, format) in [("format0_decode", "0"), ("format3_decode", "3")] {
        for case in published("pin-blocks.json", kind) {
            let words = [
                "pin-block-decode",
                "--format",
                format,
                "--pan",
                text(&case, "pan"),
                "--block",
                text(&case, "pin_block"),
            ];
            assert_eq!(result(&words), text(&case, "pin"));
        }
    }
    for case in published("pin-blocks.json", "format1_decode") {
        let words = ["pin-block-decode", "--format", "1", "--block", text(&case, "pin_block")];
        assert_eq!(result(&words), text(&case, "pin"));
    }
    for case in published("pin-blocks.json", "format4_decipher") {
        let words = [
            "pin-block-decode",
            "--format",
            "4",
            "--pan",
            text(&case, "pan"),
            "--key",
            text(&case, "key"),
            "--block",
            text(&case, "enciphered_pin_block"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "pin"));
        assert_eq!(report.value_of("deciphered PIN field"), text(&case, "pin_field"));
    }
}

#[test]
fn one_pin_in_three_formats() {
    for case in published("pin-blocks.json", "translate") {
        let (pin, pan) = (text(&case, "pin"), text(&case, "pan"));
        let key = ["--pan", pan, "--key", text(&case, "format0_key")];
        let encode = [&["pin-block-encode", "--format", "0", "--pin", pin][..], &key].concat();
        assert_eq!(result(&encode), text(&case, "format0_enciphered"));
        let fillers = &text(&case, "format3_block")[2 + pin.len()..];
        assert!(fillers.len() <= 16);
        let decode = ["pin-block-decode", "--format", "3", "--block", text(&case, "format3_enciphered")];
        assert_eq!(result(&[&decode[..], &key].concat()), pin);
    }
}

#[test]
fn card_verification_values() {
    for case in published("card-verification.json", "cvv") {
        let words = [
            "cvv",
            "--key",
            text(&case, "cvk"),
            "--pan",
            text(&case, "pan"),
            "--expiry",
            text(&case, "expiry"),
            "--service-code",
            text(&case, "service_code"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "cvv"));
        let chosen: String = report.value_of("enciphered with key A").chars().filter(char::is_ascii_digit).collect();
        assert!(chosen.len() < 3 || chosen.starts_with(&report.result));
    }
    for case in published("card-verification.json", "cvc3") {
        let words = [
            "cvc3",
            "--key",
            text(&case, "icc_key"),
            "--track",
            text(&case, "track_template"),
            "--atc",
            text(&case, "atc"),
            "--un",
            text(&case, "un"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, text(&case, "cvc3_full"));
        assert_eq!(report.value_of("IVCVC3, the last two bytes"), text(&case, "ivcvc3"));
        assert_eq!(report.value_of("three digits of it"), text(&case, "cvc3"));
    }
    // The dynamic value is the static one of an account number whose first four digits are the counter.
    let key = "0123456789ABCDEFFEDCBA9876543210";
    let dynamic = [
        "dcvv",
        "--key",
        key,
        "--pan",
        "4999123456789012",
        "--atc",
        "4123",
        "--expiry",
        "8701",
        "--service-code",
        "101",
    ];
    let fixed = ["cvv", "--key", key, "--pan", "4123123456789012", "--expiry", "8701", "--service-code", "101"];
    assert_eq!(result(&dynamic), result(&fixed));
}

#[test]
fn pin_verification_values() {
    // psec, tests of the PVV.
    let key = "0123456789ABCDEFFEDCBA9876543210";
    for (index, pin, pan, pvv) in [("1", "4524", "1122334455667788", "8523"), ("2", "1912", "1122334455667788", "3244")]
    {
        let report = calc(&["pvv", "--key", key, "--pan", pan, "--pvki", index, "--pin", pin]);
        assert_eq!(report.result, pvv);
        assert_eq!(report.value_of("transformed security parameter"), format!("{}{index}{pin}", &pan[4..15]));
    }
}

#[test]
fn ibm_3624() {
    for (kind, wanted) in [("ibm3624_pin", "pin"), ("ibm3624_offset", "offset")] {
        for case in published("card-verification.json", kind) {
            let table = case["decimalization_table"].as_str().or(case["conversion_table"].as_str()).unwrap();
            let (start, digits) = (case["pan_verify_offset"].to_string(), case["pan_verify_length"].to_string());
            let given =
                if wanted == "pin" { ["--offset", text(&case, "offset")] } else { ["--pin", text(&case, "pin")] };
            let words = [
                "ibm-3624",
                "--key",
                text(&case, "pvk"),
                "--table",
                table,
                "--pan",
                text(&case, "pan"),
                "--start",
                &start,
                "--digits",
                &digits,
                "--pad",
                text(&case, "pan_pad"),
            ];
            let report = calc(&[&words[..], &given].concat());
            assert_eq!(report.result, text(&case, wanted));
            assert_eq!(report.value_of("natural PIN"), text(&case, "natural_pin"));
            assert_eq!(report.value_of("validation data"), text(&case, "validation_data"));
        }
    }
}

#[test]
fn tracks() {
    // UnionPay POS §9, the synthetic sale.
    let tdk = "13579BDF02468ACEECA86420FDB97531";
    let (clear, enciphered) = ("6222620000000000012D30122011234500000", "6222620000000000012D51BA5C324CEF8CA30");
    let report = calc(&["track", "--tdk", tdk, "--track", clear]);
    assert_eq!(report.result, enciphered);
    let joined: String = ["symbols that stay, in front", "enciphered", "symbols that stay, behind"]
        .map(|name| report.value_of(name))
        .concat();
    assert_eq!(joined, enciphered);
    assert_eq!(result(&["track", "--tdk", tdk, "--decipher", "--track", enciphered]), clear);
}
