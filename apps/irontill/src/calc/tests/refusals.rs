//! What is refused, and what a program reads.

use super::{calc, try_calc};
use ::keys::AnyKeyBlock;
use machine::wire::Encode;

const KEY: &str = "0123456789ABCDEFFEDCBA9876543210";

fn refusal(words: &[&str]) -> String {
    try_calc(words).err().map_or_else(|| panic!("{words:?} was taken"), |misuse| misuse.to_string())
}

#[test]
fn keys_of_a_vault_are_refused() {
    let block = our_key_block();
    let vault_file = iso8583::describe::hex(b"ITVAULT\x01\0\0\0\0");
    let tr31 = "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228";
    for (key, what) in [
        (&block[..], "key block of a vault"),
        (&vault_file, "vault's file"),
        (tr31, "key block"),
        ("TMK/10000001/1", "name of a key in a vault"),
        ("/var/lib/irontill/vault", "a path"),
    ] {
        let why = refusal(&["check-value", "--key", key]);
        assert!(why.starts_with("--key: ") && why.contains(what), "{why}");
        assert!(!why.contains(key), "a refusal repeats the key: {why}");
        let hmac = refusal(&["mac", "--algorithm", "hmac-sha256", "--data", "00", "--key", key]);
        assert!(hmac.contains(what));
    }
}

/// A key block as vaults write it: PIN key, double-length TDES, of terminal 10000001, version 1.
fn our_key_block() -> String {
    let header = [&[2, 2, 0, 0, 0, 0, 8][..], b"10000001", &[0, 0, 0, 1]].concat();
    let enciphered = [0xA5; 44];
    let bytes = [&header[..], &[0, 0, 0, 44], &enciphered].concat();
    assert!(AnyKeyBlock::from_bytes(&bytes).is_ok());
    iso8583::describe::hex(&bytes)
}

#[test]
fn bad_input_names_its_argument() {
    let cases: [(&[&str], &str); 10] = [
        (&["check-value", "--key", "0123"], "--key: a key of 2 bytes"),
        (&["check-value", "--key", "01234Z67"], "--key: character 6 is no hex digit"),
        (&["check-value", "--key", "012"], "--key: 3 hex digits"),
        (&["cvv", "--key", KEY, "--pan", "49x", "--expiry", "8701", "--service-code", "101"], "--pan: "),
        (
            &["cvv", "--key", KEY, "--pan", "4999988887777000", "--expiry", "8701", "--service-code", "1"],
            "--service-code: ",
        ),
        (&["dukpt-tdes", "--bdk", KEY, "--ksn", "FFFF9876543210FFFFFF"], "--ksn: "),
        (&["pvv", "--key", KEY, "--pan", "1122334455667788", "--pin", "12345"], "--pin: "),
        (&["mac", "--algorithm", "cbc", "--key", KEY, "--data", "00", "--padding", "4"], "--padding: "),
        (&["arqc", "--icc-key", KEY, "--atc", "01", "--data", "00"], "--atc: 1 bytes, expected 2"),
        (&["pin-block-decode", "--format", "2", "--block", "2412"], "--block: 2 bytes, expected 8"),
    ];
    for (words, expected) in cases {
        let why = refusal(words);
        assert!(why.starts_with(expected), "{why}");
    }
    // The command line itself complains of what is missing.
    assert!(refusal(&["arqc", "--icc-key", KEY]).contains("--atc"));
}

#[test]
fn json_has_its_names() {
    let report = calc(&["check-value", "--key", KEY, "--expect", "08D7B5"]).to_json();
    let mut names: Vec<&String> = report.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["agrees", "calculation", "expected", "inputs", "result", "steps", "why"]);
    assert_eq!(report["calculation"], "check-value");
    assert_eq!((&report["result"], &report["agrees"]), (&"08D7B4".into(), &false.into()));
    assert_eq!(report["inputs"]["key"], KEY);
    let step = report["steps"][0].as_object().unwrap();
    assert!(step.len() == 3 && ["clause", "name", "value"].iter().all(|name| step[*name].is_string()));
}

#[test]
fn text_has_every_step() {
    let report = calc(&["check-value", "--key", KEY, "--expect", "08D7B4FB"]);
    let text = report.to_text();
    assert!(report.agrees() && text.contains("as expected") && !text.contains("NOT"));
    assert!(report.steps.iter().all(|step| text.contains(&step.name) && text.contains(&step.value)));
}
