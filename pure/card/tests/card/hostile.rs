//! Any bytes at all: the card answers, never breaks, and never gives a secret away.

use crate::terminal::{Terminal, hex};
use card::{Card, CardState, Protocol, profile, profiles};
use machine::wire::Encode as _;
use proptest::collection::vec;
use proptest::prelude::*;

/// What must never leave the card: master keys of issuer and card, session-independent secrets, the PIN.
fn secrets(profile: &card::Profile) -> Vec<Vec<u8>> {
    let account = profile.account();
    let keys = &account.issuer_keys;
    let pin = account.pin.expose();
    let pin_block = hex(&format!("2{}{pin}FFFFFFFF", pin.len()));
    let mut secrets = vec![pin_block, pin.as_bytes().to_vec(), hex(pin)];
    for key in [&keys.cryptogram, &keys.integrity, &keys.confidentiality] {
        secrets.push(key.expose().to_vec());
        let issuer = paycrypto::TdesKey::new(key.expose()).unwrap();
        let option = paycrypto::emv::MasterKeyOption::A;
        let icc = paycrypto::emv::icc_master_key(option, &issuer, account.pan.expose().as_bytes(), 1).unwrap();
        secrets.push(icc.expose_bytes()[..8].to_vec());
    }
    secrets
}

fn contains(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

/// Commands that exist, with parameters and data that are anything.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let header = prop::sample::select(vec![
        [0x00, 0xA4],
        [0x00, 0xB2],
        [0x00, 0x20],
        [0x00, 0x82],
        [0x00, 0x84],
        [0x00, 0x88],
        [0x00, 0xC0],
        [0x80, 0xA8],
        [0x80, 0xAE],
        [0x80, 0xCA],
        [0x84, 0x16],
        [0x84, 0x18],
        [0x84, 0x1E],
        [0x84, 0x24],
        [0x04, 0xDA],
        [0x04, 0xDC],
    ]);
    (header, any::<[u8; 2]>(), vec(any::<u8>(), 0..140)).prop_map(|(header, parameters, data)| match data.len() {
        0 => [&header[..], &parameters, &[0]].concat(),
        length => [&header[..], &parameters, &[length as u8], &data, &[0]].concat(),
    })
}

/// Commands that lead somewhere: selection, options, records, cryptograms with the right lengths.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let sensible = prop::sample::select(vec![
        "00A4040008A00000033301010200",
        "00A404000E315041592E5359532E444446303100",
        "80A800000A8308000000001250015600",
        "00B2010C00",
        "00B2011400",
        "00B2031C00",
        "0084000000",
        "0088000004A1B2C3D400",
        "80AE90001D00000000125000000000000001560000008000015626112200A1B2C3D400",
        "80AE50001F303000000000125000000000000001560000008000015626112200A1B2C3D400",
        "002000800826123456FFFFFFFF",
        "80CA9F1700",
    ]);
    prop_oneof![3 => sensible.prop_map(hex), 2 => command(), 1 => vec(any::<u8>(), 0..300)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_commands_are_answered_and_no_secret_comes_out(
        steps in vec(step(), 1..24),
        character in any::<bool>(),
    ) {
        let profile = profile("unionpay-credit").unwrap();
        let secrets = secrets(profile);
        let mut card = profile.card();
        card.set_protocol(if character { Protocol::CharacterT0 } else { Protocol::BlockT1 });
        card.reset();
        for step in steps {
            let response = card.apdu(&step);
            prop_assert!((2..=258).contains(&response.len()));
            prop_assert!(matches!(response[response.len() - 2], 0x90 | 0x60..=0x6F));
            for secret in &secrets {
                prop_assert!(!contains(&response, secret), "a secret in the answer to {step:02X?}");
            }
        }
        let text = format!("{card:?}");
        prop_assert!(!text.contains("123456") && !text.contains("1001001"));
        let bytes = card.state().to_bytes();
        prop_assert!(secrets.iter().all(|secret| !contains(&bytes, secret)));
        let state = CardState::from_bytes(&bytes).unwrap();
        prop_assert!(&state == card.state());
    }

    #[test]
    fn any_bytes_as_a_state_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(state) = CardState::from_bytes(&bytes) {
            prop_assert_eq!(state.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_damaged_state_never_breaks_the_card(position in any::<prop::sample::Index>(), value in any::<u8>()) {
        let profile = profile("unionpay-credit").unwrap();
        let mut terminal = Terminal::of(profile);
        terminal.begin();
        terminal.first(0x80).unwrap();
        terminal.second(0x40).unwrap();
        let mut bytes = terminal.card.state().to_bytes();
        let at = position.index(bytes.len());
        bytes[at] = value;
        let restored = CardState::from_bytes(&bytes).ok().and_then(|state| Card::with_state(profile.personalisation(), state).ok());
        if let Some(mut card) = restored {
            card.reset();
            let selected = card.apdu(&hex("00A4040008A00000033301010200"));
            prop_assert!(selected.len() >= 2);
            card.apdu(&hex("80A800000A8308000000001250015600"));
            card.apdu(&hex("80AE80001D00000000125000000000000001560000008000015626112200A1B2C3D400"));
        }
    }
}

#[test]
fn nothing_that_holds_secrets_prints_them() {
    for profile in profiles() {
        let shown =
            format!("{:?} {:?} {:?} {:?}", profile, profile.account(), profile.personalisation(), profile.card());
        let (pan, pin) = (profile.pan(), profile.pin());
        assert!(!shown.contains(pan.expose()), "{}", profile.name);
        assert!(!shown.contains(pin.expose()), "{}", profile.name);
        assert!(!shown.contains("F73E7A34") && !shown.contains("[247, 62"), "{}", profile.name);
    }
}

#[test]
fn profiles_are_distinct_and_sound() {
    let mut names: Vec<_> = profiles().iter().map(|profile| profile.name).collect();
    let mut pans: Vec<_> = profiles().iter().map(|profile| profile.pan().expose().to_owned()).collect();
    names.sort_unstable();
    pans.sort_unstable();
    let count = profiles().len();
    names.dedup();
    pans.dedup();
    assert_eq!((names.len(), pans.len()), (count, count));
    for profile in profiles() {
        assert!(profile.pan().luhn_valid(), "{}", profile.name);
        assert_eq!(profile.account().expiry.expose(), if profile.name == "expired" { "2012" } else { "3012" });
    }
}
