//! SM2, SM3, SM4, and the other ciphers' modes.

use super::{as_text, calc, published, result, text};
use serde_json::Value;

fn on_recommended_curve(file_kind: &str) -> Vec<Value> {
    let recommended = |case: &Value| text(case, "curve").starts_with("sm2p256v1");
    let cases: Vec<Value> = published("sm.json", file_kind).into_iter().filter(recommended).collect();
    assert!(!cases.is_empty());
    cases
}

#[test]
fn sm2_signatures() {
    for case in on_recommended_curve("sm2_sign") {
        let (id, message) = (as_text(&case, "id_ascii"), as_text(&case, "message_ascii"));
        let words = [
            "sm2-sign",
            "--private-key",
            text(&case, "private_key"),
            "--id",
            &id,
            "--message",
            &message,
            "--k",
            text(&case, "k"),
        ];
        let report = calc(&words);
        assert_eq!(report.result, format!("{}{}", text(&case, "r"), text(&case, "s")));
        assert_eq!(report.value_of("ZA: digest of identity, curve and key"), text(&case, "z"));
        assert_eq!(report.value_of("e: digest of ZA and the message"), text(&case, "e"));
        let public = format!("{}{}", text(&case, "public_x"), text(&case, "public_y"));
        let verify = ["sm2-verify", "--public-key", &public, "--message", &message, "--signature", &report.result];
        assert!(calc(&[&verify[..], &["--id", &id]].concat()).agrees());
        let other = calc(&[&verify[..], &["--id", "text:ALICE123@YAHOO.COM"]].concat());
        assert!(!other.agrees());
        assert_eq!(other.why.as_deref(), Some("agrees with the identity 1234567812345678"));
    }
}

#[test]
fn sm2_encryption() {
    for case in on_recommended_curve("sm2_encrypt") {
        let message = as_text(&case, "message_ascii");
        let public = format!("04{}{}", text(&case, "public_x"), text(&case, "public_y"));
        let report = calc(&["sm2-encrypt", "--public-key", &public, "--message", &message, "--k", text(&case, "k")]);
        assert_eq!(report.result, text(&case, "c1c3c2"));
        assert_eq!(report.value_of("C2: the message xored with the key stream"), text(&case, "c2"));
        let decrypt = ["sm2-decrypt", "--private-key", text(&case, "private_key"), "--ciphertext", &report.result];
        assert_eq!(result(&decrypt), iso8583::describe::hex(text(&case, "message_ascii").as_bytes()));
        let wrong = calc(&[&decrypt[..], &["--order", "c1c2c3"]].concat());
        assert_eq!((wrong.agrees(), wrong.why.as_deref()), (false, Some("agrees with the order c1c3c2")));
    }
}

#[test]
fn random_numbers_are_drawn_where_none_is_given() {
    let case = &on_recommended_curve("sm2_encrypt")[0];
    let public = format!("{}{}", text(case, "public_x"), text(case, "public_y"));
    let words = ["sm2-encrypt", "--public-key", &public, "--message", "text:drawn"];
    let (one, two) = (calc(&words).result, calc(&words).result);
    assert_ne!(one, two);
    let decrypt = ["sm2-decrypt", "--private-key", text(case, "private_key"), "--ciphertext", &one];
    assert_eq!(result(&decrypt), iso8583::describe::hex(b"drawn"));
}

#[test]
fn sm3() {
    for case in published("sm.json", "sm3") {
        if text(&case, "message").len() <= 2 * super::super::input::MESSAGE_BYTES_MAX {
            assert_eq!(result(&["sm3", "--message", text(&case, "message")]), text(&case, "digest"));
        }
    }
}

#[test]
fn sm4_in_every_mode() {
    let modes =
        [("sm4_cbc", "cbc"), ("sm4_ctr", "ctr"), ("sm4_cfb128", "cfb"), ("sm4_ofb", "ofb"), ("sm4_block", "ecb")];
    for (kind, mode) in modes {
        for case in published("sm.json", kind) {
            let mut words = vec!["cipher", "--cipher", "sm4", "--mode", mode, "--key", text(&case, "key")];
            if let Some(iv) = case["iv"].as_str() {
                words.extend(["--iv", iv]);
            }
            let encipher = [&words[..], &["--data", text(&case, "plaintext")]].concat();
            assert_eq!(result(&encipher), text(&case, "ciphertext"));
            let decipher = [&words[..], &["--decipher", "--data", text(&case, "ciphertext")]].concat();
            assert_eq!(result(&decipher), text(&case, "plaintext"));
        }
    }
}

#[test]
fn sm4_with_a_tag() {
    for (kind, mode) in [("sm4_gcm", "gcm"), ("sm4_ccm", "ccm")] {
        for case in published("sm.json", kind) {
            let tag = text(&case, "tag");
            let tag_bytes = (tag.len() / 2).to_string();
            let words = [
                "cipher",
                "--cipher",
                "sm4",
                "--mode",
                mode,
                "--key",
                text(&case, "key"),
                "--iv",
                text(&case, "iv"),
                "--aad",
                text(&case, "aad"),
                "--tag-bytes",
                &tag_bytes,
            ];
            let sealed = [&words[..], &["--data", text(&case, "plaintext")]].concat();
            assert_eq!(result(&sealed), format!("{}{tag}", text(&case, "ciphertext")));
            let opened = [&words[..], &["--decipher", "--data", text(&case, "ciphertext"), "--tag", tag]].concat();
            assert_eq!(result(&opened), text(&case, "plaintext"));
            let forged = tag.replace(&tag[..1], if tag.starts_with('0') { "1" } else { "0" });
            let refused = [&words[..], &["--decipher", "--data", text(&case, "ciphertext"), "--tag", &forged]].concat();
            assert!(!calc(&refused).agrees());
        }
    }
}

#[test]
fn data_under_dukpt_keys() {
    for case in published("dukpt-tdes.json", "txn_sequence") {
        let words = [
            "cipher",
            "--cipher",
            "tdes",
            "--mode",
            "cbc",
            "--key",
            text(&case, "data_request_key"),
            "--iv",
            text(&case, "data_iv"),
            "--data",
            text(&case, "data_clear"),
        ];
        assert_eq!(result(&words), text(&case, "data_request_encrypted_cbc"));
    }
}
