//! Offline data authentication of every profile, checked against the test authorities.

use crate::terminal::{Terminal, hex, public, recover};
use card::{AuthenticationMethod, profile, profiles};

#[test]
fn the_chain_of_every_profile_holds() {
    for profile in profiles().iter().filter(|profile| profile.name != "revoked-capk") {
        let mut terminal = Terminal::of(profile);
        terminal.begin();
        let issuer = terminal.issuer_key().unwrap_or_else(|error| panic!("{}: {error}", profile.name));
        let signature = terminal.get(0x93);
        let content = recover(&issuer, terminal.get(0x9F32), signature, &[&terminal.static_data]).unwrap();
        assert_eq!(content[..2], [0x03, 0x01], "{}", profile.name);
        if terminal.get(0x82)[0] & 0x20 != 0 {
            assert_eq!(terminal.signature_key().map(|key| key.len()), Ok(128), "{}", profile.name);
        }
    }
}

#[test]
fn the_revoked_card_hangs_on_a_key_nobody_serves() {
    let mut terminal = Terminal::of(profile("revoked-capk").unwrap());
    terminal.begin();
    assert_eq!(terminal.get(0x8F), [0xE1]);
    assert_eq!(terminal.issuer_key(), Err("no such CA key"));
    assert!(card::test_capks().iter().all(|capk| capk.index == 0xE0));
}

#[test]
fn changed_static_data_is_found_out() {
    let mut terminal = Terminal::of(profile("unionpay-credit").unwrap());
    terminal.begin();
    terminal.static_data[3] ^= 1;
    assert_eq!(terminal.signature_key(), Err("hash"));
}

#[test]
fn dynamic_authentication_signs_both_numbers() {
    for name in ["unionpay-debit", "unionpay-credit", "mastercard-credit"] {
        let mut terminal = Terminal::of(profile(name).unwrap());
        terminal.begin();
        let key = terminal.signature_key().unwrap();
        let mut sign = || {
            let response = terminal.expect(&hex("0088000004A1B2C3D400"));
            let skip = response.len() - key.len();
            let content = recover(&key, &[3], &response[skip..], &[&hex("A1B2C3D4")]).unwrap();
            assert_eq!(content[..4], [0x05, 0x01, 0x09, 0x08], "{name}");
            content[4..12].to_vec()
        };
        assert_ne!(sign(), sign(), "{name}: the card's number is fresh every time");
    }
}

#[test]
fn a_static_card_does_not_sign_dynamically() {
    let profile = profile("unionpay-sda").unwrap();
    let method = profile.personalisation().applications[0].authentication.method;
    assert_eq!(method, AuthenticationMethod::Static);
    let mut terminal = Terminal::of(profile);
    terminal.begin();
    assert_eq!(terminal.get(0x82)[0] & 0x61, 0x40);
    assert_eq!(terminal.status("0088000004A1B2C3D400"), 0x6D00);
    // Asked for a signed cryptogram, it gives an unsigned one.
    assert_eq!(terminal.first(0x90).unwrap().information, 0x80);
}

#[test]
fn the_lying_card_is_caught_by_its_signature_alone() {
    let mut terminal = Terminal::of(profile("cda-lies").unwrap());
    terminal.begin();
    assert!(terminal.signature_key().is_ok());
    assert_eq!(terminal.first(0x90), Err("transaction data hash"));
    let declined = terminal.second(0x00).unwrap();
    assert_eq!(declined.information, 0x00);
}

#[test]
fn the_pin_key_of_mastercard_is_its_own() {
    let mut terminal = Terminal::of(profile("mastercard-credit").unwrap());
    terminal.begin();
    let key = terminal.icc_key([0x9F2D, 0x9F2E, 0x9F2F], &[]).unwrap();
    assert_ne!(key, terminal.signature_key().unwrap());
    assert_eq!(public(&key, &[3], &[1]), [vec![0; 127], vec![1]].concat());
}
