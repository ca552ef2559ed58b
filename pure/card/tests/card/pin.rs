//! The offline PIN: plaintext, enciphered, wrong, blocked.

use crate::terminal::{Terminal, hex, public};
use card::{Card, Profile, profile};
use machine::wire::Encode as _;

fn begun(profile: &Profile) -> Terminal {
    let mut terminal = Terminal::of(profile);
    terminal.begin();
    terminal
}

/// VERIFY with an enciphered block: header, PIN block, challenge, filler.
fn enciphered(terminal: &mut Terminal, header: u8, block: &str, challenge: &[u8]) -> u16 {
    let (key, exponent) = match terminal.data.contains_key(&0x9F2D) {
        true => (terminal.icc_key([0x9F2D, 0x9F2E, 0x9F2F], &[]).unwrap(), terminal.get(0x9F2E).to_vec()),
        false => (terminal.signature_key().unwrap(), terminal.get(0x9F47).to_vec()),
    };
    let mut clear = [&[header], &hex(block)[..], challenge].concat();
    clear.resize(key.len(), 0xA5);
    let data = public(&key, &exponent, &clear);
    let command = [&[0x00, 0x20, 0x00, 0x88, u8::try_from(data.len()).unwrap()], &data[..]].concat();
    terminal.send(&command).1
}

const RIGHT: &str = "26123456FFFFFFFF";
const WRONG: &str = "26123457FFFFFFFF";

#[test]
fn a_plaintext_pin_is_verified() {
    let mut terminal = begun(profile("visa-credit").unwrap());
    assert_eq!(terminal.expect(&hex("80CA9F1700")), hex("9F170103"));
    assert_eq!(terminal.status(&format!("0020008008{WRONG}")), 0x63C2);
    assert_eq!(terminal.expect(&hex("80CA9F1700")), hex("9F170102"));
    assert_eq!(terminal.status(&format!("0020008008{RIGHT}")), 0x9000);
    assert_eq!(terminal.expect(&hex("80CA9F1700")), hex("9F170103"));
    let request = terminal.first(0x80).unwrap();
    assert_eq!(request.issuer_data[4], 0xA4, "the results say: PIN verified");
}

#[test]
fn an_enciphered_pin_is_verified_once_a_challenge() {
    for name in ["mastercard-credit", "visa-credit"] {
        let mut terminal = begun(profile(name).unwrap());
        let challenge = terminal.expect(&hex("0084000000"));
        assert_eq!(challenge.len(), 8);
        assert_eq!(enciphered(&mut terminal, 0x7F, RIGHT, &challenge), 0x9000, "{name}");
        assert_eq!(enciphered(&mut terminal, 0x7F, RIGHT, &challenge), 0x6984, "{name}: the challenge is spent");
        let fresh = terminal.expect(&hex("0084000000"));
        assert_ne!(fresh, challenge);
        assert_eq!(enciphered(&mut terminal, 0x7F, RIGHT, &challenge), 0x63C2, "{name}: an old challenge");
        let fresh = terminal.expect(&hex("0084000000"));
        assert_eq!(enciphered(&mut terminal, 0x7E, RIGHT, &fresh), 0x63C1, "{name}: a wrong header");
        let fresh = terminal.expect(&hex("0084000000"));
        assert_eq!(enciphered(&mut terminal, 0x7F, WRONG, &fresh), 0x63C0, "{name}: a wrong PIN");
    }
}

#[test]
fn three_wrong_tries_block_the_pin_for_good() {
    let profile = profile("pin-blocked").unwrap();
    assert_eq!(profile.pin().expose(), "258036");
    let mut terminal = begun(profile);
    for status in [0x63C2, 0x63C1, 0x63C0, 0x6983] {
        assert_eq!(terminal.status(&format!("0020008008{RIGHT}")), status);
    }
    assert_eq!(terminal.status("002000800826258036FFFFFFFF"), 0x6983, "even the right one");
    let request = terminal.first(0x80).unwrap();
    assert_eq!(request.issuer_data[4] & 0x06, 0x06, "performed and failed");
    assert_eq!(request.issuer_data[5] & 0x40, 0x40, "try limit exceeded");
    let state = card::CardState::from_bytes(&terminal.card.state().to_bytes()).unwrap();
    let mut later = Terminal::new(Card::with_state(profile.personalisation(), state).unwrap());
    later.begin();
    assert_eq!(later.status("002000800826258036FFFFFFFF"), 0x6983, "power does not help");
}

#[test]
fn the_right_pin_of_the_blockable_card_works_while_tries_are_left() {
    let mut terminal = begun(profile("pin-blocked").unwrap());
    assert_eq!(terminal.status(&format!("0020008008{RIGHT}")), 0x63C2);
    assert_eq!(terminal.status("002000800826258036FFFFFFFF"), 0x9000);
    assert_eq!(terminal.card.state().pin_tries_left, 3);
}

#[test]
fn malformed_blocks_cost_a_try_and_wrong_lengths_do_not() {
    let mut terminal = begun(profile("visa-credit").unwrap());
    assert_eq!(terminal.status("00200080082612345"), 0x6700);
    assert_eq!(terminal.status("002000800426123456"), 0x6700);
    assert_eq!(terminal.status("0020008808 26123456FFFFFFFF"), 0x6700);
    assert_eq!(terminal.card.state().pin_tries_left, 3);
    assert_eq!(terminal.status("0020008008 0000000000000000"), 0x63C2);
}

#[test]
fn a_card_without_a_pin_has_none_to_verify() {
    let mut personalisation = profile("visa-credit").unwrap().personalisation();
    personalisation.pin = None;
    let mut terminal = Terminal::new(Card::new(personalisation).unwrap());
    terminal.begin();
    assert_eq!(terminal.status(&format!("0020008008{RIGHT}")), 0x6A88);
    assert_eq!(terminal.status("80CA9F1700"), 0x6A88);
}

#[test]
fn the_pin_is_verified_before_the_first_cryptogram_only() {
    let mut terminal = begun(profile("visa-credit").unwrap());
    terminal.first(0x80).unwrap();
    assert_eq!(terminal.status(&format!("0020008008{RIGHT}")), 0x6985);
}
