//! Whole payments, profile by profile: the cryptogram is what the issuer computes, the issuer's answer is verified.

use crate::terminal::{Cryptogram, Issuer, Terminal, hex};
use card::{Card, CryptogramScheme, IssuerMasterKeys, Profile, profile, profiles};
use machine::wire::Encode as _;

/// From insertion to the first cryptogram, signed where the card can.
fn request(profile: &Profile) -> (Terminal, Issuer, Cryptogram) {
    let mut terminal = Terminal::of(profile);
    terminal.begin();
    let request = terminal.first(0x90).unwrap();
    let issuer = Issuer::of(profile);
    assert_eq!(request.information, 0x80, "{}", profile.name);
    assert_eq!(request.value, issuer.expected(&terminal, &request), "{}", profile.name);
    (terminal, issuer, request)
}

fn answer(terminal: &mut Terminal, data: &[u8]) -> u16 {
    let by_list = terminal.get(0x8D).starts_with(&[0x91]);
    terminal.data.insert(0x91, data.to_vec());
    if by_list { 0x9000 } else { terminal.send(&Terminal::command([0x00, 0x82, 0x00, 0x00], data)).1 }
}

#[test]
fn every_honest_profile_completes_an_approval() {
    for profile in profiles().iter().filter(|profile| !matches!(profile.name, "cda-lies" | "revoked-capk")) {
        let (mut terminal, issuer, request) = request(profile);
        let data = issuer.authentication_data(&request);
        assert_eq!(answer(&mut terminal, &data), 0x9000, "{}", profile.name);
        let signed = if terminal.get(0x82)[0] & 0x01 != 0 { 0x50 } else { 0x40 };
        let approved = terminal.second(signed).unwrap();
        assert_eq!(approved.information, 0x40, "{}", profile.name);
        assert_eq!(approved.counter, request.counter);
        if profile.scheme == CryptogramScheme::UnionPay {
            assert_eq!(approved.issuer_data[3..6], [0x03, 0x60, 0x10], "{}: TC behind an ARQC, new card", profile.name);
        }
        assert_eq!(approved.value, issuer.expected(&terminal, &approved), "{}: TC", profile.name);
        let state = &terminal.card.state().applications[0];
        assert_eq!(state.last_online_transaction_counter, 1, "{}", profile.name);
        assert!(!state.online_incomplete && !state.is_new());
    }
}

#[test]
fn a_wrong_answer_of_the_issuer_is_declined() {
    for name in ["unionpay-credit", "visa-credit", "mastercard-credit"] {
        let (mut terminal, issuer, request) = request(profile(name).unwrap());
        let mut data = issuer.authentication_data(&request);
        data[0] ^= 1;
        answer(&mut terminal, &data);
        let declined = terminal.second(0x40).unwrap();
        assert_eq!(declined.information, 0x00, "{name}");
        assert_eq!(declined.value, issuer.expected(&terminal, &declined), "{name}: AAC");
        assert!(terminal.card.state().applications[0].issuer_authentication_failed);
        assert_eq!(terminal.card.state().applications[0].last_online_transaction_counter, 0);
    }
}

#[test]
fn external_authenticate_serves_once_and_says_6300() {
    let (mut terminal, issuer, request) = request(profile("unionpay-credit").unwrap());
    let mut wrong = issuer.authentication_data(&request);
    wrong[9] ^= 1;
    assert_eq!(answer(&mut terminal, &wrong), 0x6300);
    assert_eq!(answer(&mut terminal, &issuer.authentication_data(&request)), 0x6985);
}

#[test]
fn an_approval_without_issuer_authentication_stands_and_is_remembered() {
    for name in ["unionpay-credit", "mastercard-credit"] {
        let (mut terminal, _, _) = request(profile(name).unwrap());
        assert_eq!(terminal.second(0x40).unwrap().information, 0x40, "{name}");
        assert!(terminal.card.state().applications[0].issuer_authentication_missing);
    }
    let mut personalisation = profile("unionpay-credit").unwrap().personalisation();
    personalisation.applications[0].risk.issuer_authentication_mandatory = true;
    let mut terminal = Terminal::new(Card::new(personalisation).unwrap());
    terminal.begin();
    terminal.first(0x80).unwrap();
    assert_eq!(terminal.second(0x40).unwrap().information, 0x00);
}

#[test]
fn a_new_card_asks_to_go_online_and_an_old_one_approves_offline_up_to_its_limit() {
    let profile = profile("unionpay-credit").unwrap();
    let (mut terminal, issuer, first) = request(profile);
    answer(&mut terminal, &issuer.authentication_data(&first));
    terminal.second(0x40).unwrap();
    for _ in 0..3 {
        terminal.begin();
        assert_eq!(terminal.first(0x50).unwrap().information, 0x40);
    }
    assert_eq!(terminal.card.state().applications[0].consecutive_offline, 3);
    assert_eq!(terminal.card.state().applications[0].cumulative_offline_minor, 3750);
    terminal.begin();
    let request = terminal.first(0x50).unwrap();
    assert_eq!(request.information, 0x80, "the lower limit is reached");
    assert_eq!(request.issuer_data[5] & 0x20, 0x20, "and the results say so");
}

#[test]
fn a_card_that_cannot_go_online_decides_by_its_upper_limit() {
    let mut terminal = Terminal::of(profile("unionpay-credit").unwrap());
    terminal.data.insert(0x8A, b"Y3".to_vec());
    for expected in [0x40, 0x40, 0x40, 0x40, 0x40, 0x00] {
        terminal.begin();
        terminal.first(0x80).unwrap();
        let second = terminal.second(0x40).unwrap();
        assert_eq!(second.information, expected);
        assert_eq!(second.issuer_data[4] & 0x01, 0x01, "unable to go online");
    }
}

#[test]
fn the_terminal_may_always_decline() {
    let mut terminal = Terminal::of(profile("visa-credit").unwrap());
    terminal.begin();
    let declined = terminal.first(0x10).unwrap();
    assert_eq!(declined.information, 0x00);
    assert_eq!(declined.value, Issuer::of(profile("visa-credit").unwrap()).expected(&terminal, &declined));
    assert_eq!(terminal.status("80AE400000"), 0x6985, "the transaction is over");
}

#[test]
fn an_interrupted_transaction_is_reported_by_the_next_one() {
    let (mut terminal, _, first) = request(profile("unionpay-credit").unwrap());
    assert_eq!(first.issuer_data[5] & 0x80, 0);
    terminal.begin();
    let next = terminal.first(0x80).unwrap();
    assert_eq!(next.issuer_data[5] & 0x80, 0x80, "last online transaction not completed");
    assert_eq!(next.counter, [0, 2]);
}

#[test]
fn visa_cvn_10_works_with_its_master_key() {
    let mut personalisation = profile("visa-credit").unwrap().personalisation();
    personalisation.applications[0].scheme = CryptogramScheme::VisaCvn10;
    personalisation.applications[0].issuer_keys = IssuerMasterKeys::test(CryptogramScheme::VisaCvn10);
    let mut terminal = Terminal::new(Card::new(personalisation).unwrap());
    let issuer = Issuer::with_scheme(profile("visa-credit").unwrap(), CryptogramScheme::VisaCvn10);
    terminal.begin();
    let request = terminal.first(0x90).unwrap();
    assert_eq!(request.value, issuer.expected(&terminal, &request));
    assert_eq!(answer(&mut terminal, &issuer.authentication_data(&request)), 0x9000);
    assert_eq!(terminal.second(0x40).unwrap().information, 0x40);
}

#[test]
fn visa_cvn_18_takes_orders_from_the_card_status_update() {
    let profile = profile("visa-credit").unwrap();
    let (mut terminal, issuer) = (Terminal::of(profile), Issuer::of(profile));
    let approved = issuer_orders(&mut terminal, &issuer, [0x00, 0x80, 0x00, 0x00]);
    assert_eq!(approved.information, 0x40);
    let not_approved = issuer_orders(&mut terminal, &issuer, [0x00, 0x00, 0x00, 0x00]);
    assert_eq!(not_approved.information, 0x00);
    issuer_orders(&mut terminal, &issuer, [0x01, 0x90, 0x00, 0x00]);
    assert_eq!(terminal.card.state().pin_tries_left, 1);
    issuer_orders(&mut terminal, &issuer, [0x00, 0xA8, 0x00, 0x00]);
    assert!(terminal.card.state().applications[0].blocked);
    assert!(terminal.card.state().applications[0].go_online_next);
}

fn issuer_orders(terminal: &mut Terminal, issuer: &Issuer, update: [u8; 4]) -> Cryptogram {
    terminal.begin();
    let request = terminal.first(0x90).unwrap();
    assert_eq!(request.value, issuer.expected(terminal, &request));
    let data = issuer.status_update(&request, update);
    assert_eq!(answer(terminal, &data), 0x9000);
    terminal.second(0x40).unwrap()
}

#[test]
fn the_state_survives_its_encoding_and_belongs_to_one_card() {
    let profile = profile("unionpay-credit").unwrap();
    let (mut terminal, issuer, first) = request(profile);
    answer(&mut terminal, &issuer.authentication_data(&first));
    terminal.second(0x40).unwrap();
    let bytes = terminal.card.state().to_bytes();
    let state = card::CardState::from_bytes(&bytes).unwrap();
    assert_eq!(&state, terminal.card.state());
    let mut again = Terminal::new(Card::with_state(profile.personalisation(), state.clone()).unwrap());
    again.begin();
    assert_eq!(again.first(0x80).unwrap().counter, [0, 2]);
    for end in 0..bytes.len() {
        assert!(card::CardState::from_bytes(&bytes[..end]).is_err());
    }
    let other = card::profile("unionpay-debit").unwrap();
    assert_eq!(Card::with_state(other.personalisation(), state).err(), Some(card::RestoreError::AnotherCard));
}

#[test]
fn approvals_are_logged_newest_first() {
    let profile = profile("unionpay-credit").unwrap();
    let mut terminal = Terminal::of(profile);
    for _ in 0..12 {
        terminal.begin();
        terminal.first(0x80).unwrap();
        terminal.second(0x40).unwrap();
    }
    terminal.begin();
    assert_eq!(terminal.expect(&hex("80CA9F4F00")), hex("9F4F0D9A039F02065F2A029C019F3602"));
    assert_eq!(terminal.expect(&hex("00B2015C00")), hex("2611220000000012500156 00 000C"));
    assert_eq!(terminal.expect(&hex("00B20A5C00")), hex("2611220000000012500156 00 0003"));
    assert_eq!(terminal.status("00B20B5C00"), 0x6A83);
}

#[test]
fn the_counter_never_repeats() {
    let profile = profile("unionpay-credit").unwrap();
    let mut state = profile.card().state().clone();
    state.applications[0].transaction_counter = 0xFFFE;
    let mut terminal = Terminal::new(Card::with_state(profile.personalisation(), state).unwrap());
    terminal.begin();
    assert_eq!(terminal.first(0x80).unwrap().counter, [0xFF, 0xFF]);
    assert_eq!(terminal.status("00A4040008A00000033301010200"), 0x9000);
    assert_eq!(terminal.status("80A800000A8308000000001250015600"), 0x6985);
    assert_eq!(terminal.status("00A4040008A00000033301010200"), 0x6283, "blocked for ever");
}
