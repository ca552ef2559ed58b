//! Issuer scripts: MACs, what each command does, how failures are reported.

use crate::terminal::{Cryptogram, Issuer, Terminal, hex};
use card::{Card, Profile, profile};
use machine::wire::Encode as _;
use paycrypto::encrypt_ecb;

fn online(profile: &Profile) -> (Terminal, Issuer, Cryptogram) {
    let mut terminal = Terminal::of(profile);
    terminal.begin();
    let request = terminal.first(0x80).unwrap();
    (terminal, Issuer::of(profile), request)
}

const SCHEMES: [&str; 3] = ["unionpay-credit", "visa-credit", "mastercard-credit"];

/// The enciphered data of PIN CHANGE, from the published layouts.
fn enciphered_pin(profile: &Profile, issuer: &Issuer, request: &Cryptogram, block: &str, ahead: u64) -> Vec<u8> {
    let mut block = hex(block);
    if profile.name != "mastercard-credit" {
        let mask = &issuer.master_key_ac().expose_bytes()[4..8];
        block[4..].iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        block = [&[0x08], &block[..], &hex("80000000000000")].concat();
    }
    let key = issuer.script_key(2, request.counter, issuer.script_cryptogram(request, ahead));
    encrypt_ecb(&key, &mut block).unwrap();
    block
}

#[test]
fn commands_with_a_right_mac_are_carried_out_before_and_after_the_second_cryptogram() {
    for name in SCHEMES {
        let (mut terminal, issuer, request) = online(profile(name).unwrap());
        terminal.expect(&issuer.script(&request, [0x84, 0xDA, 0x9F, 0x58], &[9], 0));
        terminal.second(0x40).unwrap();
        terminal.expect(&issuer.script(&request, [0x84, 0xDA, 0x9F, 0x59], &[20], 1));
        assert_eq!(terminal.expect(&hex("80CA9F5800")), hex("9F580109"), "{name}");
        assert_eq!(terminal.expect(&hex("80CA9F5900")), hex("9F590114"), "{name}");
        let state = &terminal.card.state().applications[0];
        assert_eq!((state.script_commands, state.script_failed), (2, false), "{name}");
    }
}

#[test]
fn a_wrong_mac_is_refused_and_reported_next_time() {
    for name in SCHEMES {
        let (mut terminal, issuer, request) = online(profile(name).unwrap());
        let mut command = issuer.script(&request, [0x84, 0xDA, 0x9F, 0x58], &[9], 0);
        let last = command.len() - 1;
        command[last] ^= 1;
        assert_eq!(terminal.send(&command).1, 0x6988, "{name}");
        command[last] ^= 1;
        command[5] ^= 1;
        assert_eq!(terminal.send(&command).1, 0x6988, "{name}: changed data");
        assert_eq!(terminal.expect(&hex("80CA9F5800")), hex("9F580103"));
        terminal.begin();
        let next = terminal.first(0x80).unwrap();
        let flagged = match name {
            "mastercard-credit" => next.issuer_data[6] & 0x01,
            _ => next.issuer_data[6] & 0x08,
        };
        assert_ne!(flagged, 0, "{name}");
    }
}

#[test]
fn a_script_of_another_transaction_is_refused() {
    let (mut terminal, issuer, request) = online(profile("unionpay-credit").unwrap());
    let command = issuer.script(&request, [0x84, 0xDA, 0x9F, 0x58], &[9], 0);
    terminal.begin();
    assert_eq!(terminal.send(&command).1, 0x6985, "no cryptogram yet");
    terminal.first(0x80).unwrap();
    assert_eq!(terminal.send(&command).1, 0x6988);
}

#[test]
fn the_pin_is_changed_and_unblocked() {
    for name in SCHEMES {
        let profile = profile(name).unwrap();
        let (mut terminal, issuer, request) = online(profile);
        let block = if name == "mastercard-credit" { "244321FFFFFFFFFF" } else { "044321FFFFFFFFFF" };
        let data = enciphered_pin(profile, &issuer, &request, block, 0);
        terminal.expect(&issuer.script(&request, [0x84, 0x24, 0x00, 0x02], &data, 0));
        terminal.begin();
        assert_eq!(terminal.status("002000800826123456FFFFFFFF"), 0x63C2, "{name}: the old PIN");
        assert_eq!(terminal.status("0020008008244321FFFFFFFFFF"), 0x9000, "{name}: the new PIN");
        let bytes = terminal.card.state().to_bytes();
        let state = card::CardState::from_bytes(&bytes).unwrap();
        let mut later = Terminal::new(Card::with_state(profile.personalisation(), state).unwrap());
        later.begin();
        assert_eq!(later.status("0020008008244321FFFFFFFFFF"), 0x9000, "{name}: kept in the state");
    }
}

#[test]
fn a_change_that_needs_the_current_pin_takes_only_the_right_one() {
    let profile = profile("visa-credit").unwrap();
    for (current, status) in [("1234560000000000", 0x9000), ("6543210000000000", 0x6A80)] {
        let (mut terminal, issuer, request) = online(profile);
        let mixed: Vec<u8> = hex("044321FFFFFFFFFF").iter().zip(hex(current)).map(|(a, b)| a ^ b).collect();
        let mixed: String = mixed.iter().map(|byte| format!("{byte:02X}")).collect();
        let data = enciphered_pin(profile, &issuer, &request, &mixed, 0);
        assert_eq!(terminal.send(&issuer.script(&request, [0x84, 0x24, 0x00, 0x01], &data, 0)).1, status);
    }
}

#[test]
fn unblocking_restores_the_tries() {
    let profile = profile("pin-blocked").unwrap();
    let mut terminal = Terminal::of(profile);
    terminal.begin();
    for _ in 0..3 {
        terminal.status("002000800826123456FFFFFFFF");
    }
    let request = terminal.first(0x80).unwrap();
    terminal.expect(&Issuer::of(profile).script(&request, [0x84, 0x24, 0x00, 0x00], &[], 0));
    terminal.begin();
    assert_eq!(terminal.status("002000800826258036FFFFFFFF"), 0x9000);
}

#[test]
fn a_blocked_application_declines_and_can_be_unblocked() {
    let profile = profile("unionpay-credit").unwrap();
    let (mut terminal, issuer, request) = online(profile);
    terminal.expect(&issuer.script(&request, [0x84, 0x1E, 0x00, 0x00], &[], 0));
    assert_eq!(terminal.second(0x40).unwrap().information, 0x00);
    let (fci, status) = terminal.send(&hex("00A4040008A00000033301010200"));
    assert_eq!((fci.is_empty(), status), (false, 0x6283));
    assert_eq!(terminal.status("80A800000A8308000000001250015600"), 0x9000);
    let declined = terminal.first(0x80).unwrap();
    assert_eq!(declined.information, 0x00);
    terminal.expect(&issuer.script(&declined, [0x84, 0x18, 0x00, 0x00], &[], 0));
    assert_eq!(terminal.status("00A4040008A00000033301010200"), 0x9000);
}

#[test]
fn a_blocked_card_answers_nothing_more() {
    let (mut terminal, issuer, request) = online(profile("visa-credit").unwrap());
    terminal.expect(&issuer.script(&request, [0x84, 0x16, 0x00, 0x00], &[], 0));
    terminal.card.reset();
    assert_eq!(terminal.send(&Terminal::command([0x00, 0xA4, 0x04, 0x00], b"1PAY.SYS.DDF01")).1, 0x6A81);
    assert_eq!(terminal.status("00A4040007A000000003101000"), 0x6A81);
    assert_eq!(terminal.status("0084000000"), 0x6A81);
}

#[test]
fn a_record_is_replaced_by_a_whole_template_only() {
    let (mut terminal, issuer, request) = online(profile("unionpay-credit").unwrap());
    let record = hex("70065F2003412F42");
    terminal.expect(&issuer.script(&request, [0x04, 0xDC, 0x01, 0x0C], &record, 0));
    assert_eq!(terminal.expect(&hex("00B2010C00")), record);
    for (header, data, status) in [
        ([0x04, 0xDC, 0x01, 0x0C], "70075F2003412F42", 0x6A80),
        ([0x04, 0xDC, 0x01, 0x0C], "5F2003412F42", 0x6A80),
        ([0x04, 0xDC, 0x09, 0x0C], "7000", 0x6A83),
        ([0x04, 0xDC, 0x00, 0x0C], "7000", 0x6A86),
        ([0x04, 0xDA, 0x9F, 0x36], "0000", 0x6A88),
        ([0x04, 0xDA, 0x9F, 0x58], "0000", 0x6700),
        ([0x84, 0x1E, 0x00, 0x01], "", 0x6A86),
        ([0x84, 0x24, 0x00, 0x03], "", 0x6A86),
        ([0x84, 0x24, 0x00, 0x02], "0011", 0x6700),
    ] {
        let command = issuer.script(&request, header, &hex(data), 1);
        assert_eq!(terminal.send(&command).1, status, "{header:02X?} {data}");
    }
}
