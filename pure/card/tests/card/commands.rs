//! Selection, order, parameters, lengths: the status words of a strict card.

use crate::terminal::{Terminal, hex, objects};
use card::{Card, Personalisation, Protocol, profile};

const SELECT_CREDIT: &str = "00A4040008A00000033301010200";
const OPTIONS: &str = "80A800000A8308000000001250015600";

fn credit() -> Terminal {
    Terminal::of(profile("unionpay-credit").unwrap())
}

#[test]
fn the_answer_to_reset_conforms_to_emv() {
    let mut card = profile("unionpay-credit").unwrap().card();
    for protocol in [Protocol::BlockT1, Protocol::CharacterT0] {
        card.set_protocol(protocol);
        let atr = tlv::Atr::parse(&card.reset()).unwrap();
        assert!(atr.check_emv().is_ok(), "{protocol:?}");
    }
}

#[test]
fn directory_and_application_are_selected() {
    let mut terminal = credit();
    let fci = terminal.expect(&Terminal::command([0x00, 0xA4, 0x04, 0x00], b"1PAY.SYS.DDF01"));
    assert_eq!(objects(&fci)[..2], [(0x84, b"1PAY.SYS.DDF01".to_vec()), (0x88, vec![1])]);
    let record = terminal.expect(&hex("00B2010C00"));
    assert_eq!(objects(&record)[..2], [(0x4F, hex("A000000333010102")), (0x50, b"UnionPay Credit".to_vec())]);
    assert_eq!(terminal.status("00B2020C00"), 0x6A83);
    assert_eq!(terminal.status("00B2011400"), 0x6A82);
    let fci = terminal.expect(&hex(SELECT_CREDIT));
    assert!(objects(&fci).contains(&(0x9F38, hex("9F02065F2A02"))));
}

#[test]
fn unknown_names_are_calmly_not_found() {
    let mut terminal = credit();
    for command in ["00A4040007A000000003101000", "00A404000E325041592E5359532E444446303100", "00A4040000", "00A40400"]
    {
        assert_eq!(terminal.status(command), 0x6A82, "{command}");
    }
    assert_eq!(terminal.status("00A40000023F0000"), 0x6A86);
    assert_eq!(terminal.status("00A4040408A00000033301010200"), 0x6A86);
    assert_eq!(terminal.status("00A4040011000102030405060708090A0B0C0D0E0F1000"), 0x6700);
}

fn two_applications() -> Personalisation {
    let mut personalisation = profile("unionpay-debit").unwrap().personalisation();
    personalisation.applications.extend(profile("unionpay-credit").unwrap().personalisation().applications);
    personalisation.applications[1].priority = 2;
    personalisation
}

#[test]
fn a_partial_name_finds_one_application_after_another() {
    let mut terminal = Terminal::new(Card::new(two_applications()).unwrap());
    let mut select = |p2: &str| {
        let (fci, status) = terminal.send(&hex(&format!("00A404{p2}05A00000033300")));
        (objects(&fci).first().map(|object| object.1.clone()), status)
    };
    assert_eq!(select("02"), (None, 0x6A82), "nothing was selected yet");
    assert_eq!(select("00"), (Some(hex("A000000333010101")), 0x9000));
    assert_eq!(select("02"), (Some(hex("A000000333010102")), 0x9000));
    assert_eq!(select("02"), (None, 0x6A82));
    assert_eq!(select("00"), (Some(hex("A000000333010101")), 0x9000));
}

#[test]
fn applications_count_apart() {
    let mut terminal = Terminal::new(Card::new(two_applications()).unwrap());
    terminal.begin();
    terminal.select_and_read(&hex("A000000333010102"));
    terminal.select_and_read(&hex("A000000333010102"));
    assert_eq!(terminal.get(0x5A), hex("6222620000001001001F"));
    let counters: Vec<_> = terminal.card.state().applications.iter().map(|state| state.transaction_counter).collect();
    assert_eq!(counters, [1, 2]);
}

#[test]
fn classes_and_instructions_that_do_not_exist() {
    let mut terminal = credit();
    terminal.begin();
    for command in
        ["0000000000", "00CA9F3600", "80A4040000", "8024000000", "84AA0000", "00C0000000", "00A8000002830000"]
    {
        assert_eq!(terminal.status(command), 0x6D00, "{command}");
    }
    for command in ["90B2010C00", "A0A4000002", "FFCA000000"] {
        assert!(matches!(terminal.status(command), 0x6E00 | 0x6700), "{command}");
    }
    assert_eq!(terminal.status("90B2010C00"), 0x6E00);
}

#[test]
fn nothing_works_out_of_order() {
    let mut terminal = credit();
    for command in ["00B2010C00", "80CA9F3600", OPTIONS, "0084000000", "80AE800000", "0088000004A1B2C3D400"] {
        assert_eq!(terminal.status(command), 0x6985, "{command} without an application");
    }
    terminal.expect(&hex(SELECT_CREDIT));
    for command in [
        "0084000000",
        "80AE800000",
        "0088000004A1B2C3D400",
        "002000800826123456FFFFFFFF",
        "008200000A00112233445566773030",
    ] {
        assert_eq!(terminal.status(command), 0x6985, "{command} without a transaction");
    }
    terminal.expect(&hex(OPTIONS));
    assert_eq!(terminal.status(OPTIONS), 0x6985, "once a selection");
    for command in ["008200000A00112233445566773030", "841E000004AABBCCDD", "04DA9F580501AABBCCDD"] {
        assert_eq!(terminal.status(command), 0x6985, "{command} without a cryptogram");
    }
}

#[test]
fn parameters_and_lengths_are_checked() {
    let mut terminal = credit();
    terminal.begin();
    for (command, status) in [
        ("00B2000C00", 0x6A86),
        ("00B2010800", 0x6A86),
        ("00B2010400", 0x6A86),
        ("00B201FC00", 0x6A86),
        ("00B2010C0100", 0x6700),
        ("00B2014400", 0x6A82),
        ("00B2090C00", 0x6A83),
        ("00B2010C01", 0x6C22),
        ("0084000100", 0x6A86),
        ("0088000003A1B2C300", 0x6700),
        ("0088010004A1B2C3D400", 0x6A86),
        ("002000810826123456FFFFFFFF", 0x6A86),
        ("80AEC0000100", 0x6A86),
        ("80AE810000", 0x6A86),
        ("80AE800100", 0x6A86),
        ("80AE80000100", 0x6700),
        ("80CA9F3700", 0x6A88),
        ("80CA000000", 0x6A88),
    ] {
        assert_eq!(terminal.status(command), status, "{command}");
    }
    assert_eq!(terminal.status("80"), 0x6700);
    terminal.expect(&hex(SELECT_CREDIT));
    for (command, status) in
        [("80A8000002830000", 0x6700), ("80A800000A8408000000001250015600", 0x6A80), ("80A8000100", 0x6A86)]
    {
        assert_eq!(terminal.status(command), status, "{command}");
    }
    terminal.expect(&hex(OPTIONS));
    terminal.first(0x80).unwrap();
    let second = terminal.build(terminal.get(0x8D));
    assert_eq!(terminal.send(&Terminal::command([0x80, 0xAE, 0x80, 0x00], &second)).1, 0x6985, "no second ARQC");
    assert_eq!(terminal.status("008200000411223344"), 0x6700);
    assert_eq!(terminal.status("80AE40000100"), 0x6700);
    assert_eq!(terminal.second(0x40).unwrap().information, 0x40, "refusals did no harm");
}

#[test]
fn counters_are_read_by_get_data() {
    let mut terminal = credit();
    terminal.begin();
    terminal.begin();
    assert_eq!(terminal.expect(&hex("80CA9F3600")), hex("9F36020002"));
    assert_eq!(terminal.expect(&hex("80CA9F1300")), hex("9F13020000"));
    terminal.first(0x80).unwrap();
    terminal.second(0x40).unwrap();
    assert_eq!(terminal.expect(&hex("80CA9F1300")), hex("9F13020002"));
}

#[test]
fn the_character_protocol_hands_answers_out_in_parts() {
    let mut terminal = credit();
    terminal.card.set_protocol(Protocol::CharacterT0);
    terminal.card.reset();
    let (data, status) = terminal.send(&hex("00A4040008A000000333010102"));
    assert!(data.is_empty());
    assert_eq!(status >> 8, 0x61);
    let length = status & 0xFF;
    assert_eq!(terminal.status("00C0000000"), 0x6C00 | length);
    assert_eq!(terminal.send(&hex("00C0000004")), (hex("6F388408"), 0x6100 | (length - 4)));
    let rest = terminal.expect(&hex(&format!("00C00000{:02X}", length - 4)));
    assert_eq!(rest.len(), usize::from(length - 4));
    assert_eq!(terminal.status("00C0000001"), 0x6985);
    assert_eq!(terminal.status("00B2010C00"), 0x6C22);
    assert_eq!(terminal.expect(&hex("00B2010C22")).len(), 0x22);
}

#[test]
fn a_personalisation_that_no_card_can_hold_is_refused() {
    use card::PersonalisationError as E;
    let refused = |change: &dyn Fn(&mut Personalisation)| {
        let mut personalisation = profile("unionpay-credit").unwrap().personalisation();
        change(&mut personalisation);
        Card::new(personalisation).err()
    };
    assert_eq!(refused(&|card| card.applications.clear()), Some(E::Applications));
    assert_eq!(refused(&|card| card.pin_tries_max = 0), Some(E::PinTries));
    assert_eq!(refused(&|card| card.applications[0].aid.truncate(4)), Some(E::ApplicationName));
    assert_eq!(refused(&|card| card.applications[0].account.sequence_number = 100), Some(E::Account));
    assert_eq!(refused(&|card| card.applications[0].cdol1 = hex("9F0206")), Some(E::DataObjectList));
    assert_eq!(refused(&|card| card.applications[0].pdol = hex("9F")), Some(E::DataObjectList));
    assert_eq!(refused(&|card| card.applications[0].verification_rules = vec![[0x1F, 0]; 120]), Some(E::Record));
    assert_eq!(refused(&|_| {}), None);
}
