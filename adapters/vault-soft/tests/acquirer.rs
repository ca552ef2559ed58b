//! What an acquirer does with its keys, against published values and against the arithmetic itself.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod world;

use keys::{
    AccountDataForm, Algorithm, AuthenticationKey, Caller, CardCode, CheckMethod, Command, CryptogramVersion,
    DecimalisationTable, DukptDirection, DukptKey, DukptMacAlgorithm, EncipheredPinBlock, ExpiryOrder, IssuerResponse,
    KeyBlock, KeyBlockVersion, Ksn, KsnFreshness, KsnMark, PinEncryption, PinFormat, PinSource, Refusal, Reply, Usage,
    ValidationData, Validity,
};
use paycrypto::TdesKey;
use paycrypto::key_block::{self, ImportPolicy, ProtectionKey, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use types::{Expiry, Pan, Pin, SecretBytes};
use vault_soft::{CARD_CODE_FAILURES_PER_MINUTE_MAX, Clock, MasterSecrets, SystemEntropy, VaultKind};
use world::acquirer::*;
use world::*;

fn refusal(reply: &Reply) -> Option<Refusal> {
    match reply {
        Reply::Refused { why } => Some(*why),
        _ => None,
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn administer(command: Command) -> Reply {
    one(&world().host, Caller::Administration, command)
}

fn host(command: Command) -> Reply {
    one(&world().host, Caller::Host, command)
}

fn account_of(pan: &str) -> keys::SealedAccount {
    match host(Command::SealAccount { pan: Pan::parse(pan).unwrap(), expiry: None }) {
        Reply::AccountSealed { account, .. } => account,
        other => panic!("{other:?}"),
    }
}

// Key blocks.

fn import(usage: Usage, block: Vec<u8>) -> Reply {
    administer(import_block(&world().acquirer.kbpk, usage, block))
}

fn check_of(key: &keys::AnyKeyBlock) -> keys::KeyCheckValue {
    match administer(Command::CheckKey { key: key.clone() }) {
        Reply::KeyCheck { check } => check,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_come_in_and_go_out_as_key_blocks() {
    let world = world();
    for version in [KeyBlockVersion::D, KeyBlockVersion::E] {
        for usage in Usage::ALL.into_iter().filter(|usage| *usage != Usage::PinReference) {
            let algorithm = Algorithm::ALL.into_iter().find(|algorithm| usage.suits(*algorithm)).unwrap();
            // HMAC keys here have 256 bits: they do not go under the partner's AES-128.
            if algorithm == Algorithm::HmacSha256 {
                continue;
            }
            let letter = if version == KeyBlockVersion::D { Version::D } else { Version::E };
            let mut clear: Vec<u8> = (1..).map(|number: u8| number * 6).take(algorithm.key_bytes()).collect();
            paycrypto::key_material::set_odd_parity(&mut clear);
            let key = created(import(usage, key_block(usage, algorithm, &clear, letter, true)));
            assert_eq!((key.header.usage, key.header.algorithm), (usage, algorithm));
            let export = Command::ExportKeyBlock {
                key: key.clone(),
                under: world.acquirer.kbpk.clone(),
                version,
                exportable_there: true,
            };
            let Reply::KeyBlockExported { block, check } = administer(export) else {
                panic!("{usage:?} does not leave")
            };
            assert_eq!(check, check_of(&key));
            let kbpk = ProtectionKey::aes(&KBPK).unwrap();
            let opened = key_block::unwrap(&kbpk, &block, &ImportPolicy::default()).unwrap();
            assert_eq!(opened.key.expose(), clear, "{usage:?}");
            assert_eq!(created(import(usage, block)).header, key.header);
        }
    }
}

#[test]
fn a_key_block_is_what_its_header_says_or_refused() {
    let clear = ISSUER_KEY.to_be_bytes();
    let block = key_block(Usage::CardVerification, Algorithm::TdesDouble, &clear, Version::D, false);
    assert_eq!(refusal(&import(Usage::PinOffset, block.clone())), Some(Refusal::WrongKey));
    assert_eq!(refusal(&import(Usage::PinReference, block.clone())), Some(Refusal::NotPermitted));
    for at in 0..block.len() {
        let mut altered = block.clone();
        altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
        let refused = refusal(&import(Usage::CardVerification, altered));
        assert!(
            matches!(refused, Some(Refusal::NotAuthentic | Refusal::Parameter | Refusal::WrongKey)),
            "character {at}"
        );
    }
    assert_eq!(refusal(&import(Usage::CardVerification, vec![b'D'; 5000])), Some(Refusal::Parameter));
    let key = created(import(Usage::CardVerification, block));
    assert!(!key.header.exportable);
    let export = Command::ExportKeyBlock {
        key,
        under: world().acquirer.kbpk.clone(),
        version: KeyBlockVersion::D,
        exportable_there: false,
    };
    assert_eq!(refusal(&administer(export)), Some(Refusal::NotExportable));
}

#[test]
fn a_key_leaves_only_under_one_that_is_as_strong_and_of_its_version() {
    let world = world();
    let generate = |usage, algorithm| {
        let (owner, exportable) = (owner(ISSUER), true);
        created(administer(Command::GenerateKey { usage, algorithm, owner, version: 4, exportable }))
    };
    let export = |key: &keys::AnyKeyBlock, version| {
        let under = world.acquirer.kbpk.clone();
        refusal(&administer(Command::ExportKeyBlock { key: key.clone(), under, version, exportable_there: false }))
    };
    let strong = generate(Usage::PinEncryption, Algorithm::Aes256);
    assert_eq!(export(&strong, KeyBlockVersion::D), Some(Refusal::WrongKey));
    let equal = generate(Usage::PinEncryption, Algorithm::Aes128);
    assert_eq!(export(&equal, KeyBlockVersion::D), None);
    assert_eq!(export(&equal, KeyBlockVersion::B), Some(Refusal::WrongKey));
    let sm4 = generate(Usage::PinEncryption, Algorithm::Sm4);
    assert_eq!(export(&sm4, KeyBlockVersion::D), Some(Refusal::WrongKey));
    let foreign = Command::GenerateKey {
        usage: Usage::PinEncryption,
        algorithm: Algorithm::Aes128,
        owner: owner("ANOTHER"),
        version: 1,
        exportable: true,
    };
    assert_eq!(export(&created(administer(foreign)), KeyBlockVersion::D), Some(Refusal::WrongKey));
    let envelope = import_protection_key(&world.host, Algorithm::Aes256, &[7; 32]);
    assert_eq!(refusal(&administer(envelope)), Some(Refusal::WrongKey));
}

#[test]
fn old_key_blocks_are_taken_in() {
    // Published blocks of versions A, B and C (openemv/tr31); only headers that are ours exactly go further.
    let kbpk = unhex("89E88CF7931444F334BD7547FC3F380C");
    let under: KeyBlock<_> =
        typed(created(administer(import_protection_key(&world().host, Algorithm::TdesDouble, &kbpk))));
    let key = unhex("F039121BEC83D26B169BDCD5B22AAF8F");
    let protection = ProtectionKey::tdes(&kbpk).unwrap();
    let header = key_block::KeyBlockHeader::new(
        Version::B,
        key_block::KeyUsage::PIN_ENCRYPTION,
        key_block::Algorithm::Tdes,
        key_block::ModeOfUse::EncryptAndDecrypt,
        key_block::Exportability::Sensitive,
    );
    let options = key_block::WrapOptions::default();
    let block = key_block::wrap(&protection, &header, &key, &[3; 64], &options).unwrap();
    let imported = created(administer(import_block(&under, Usage::PinEncryption, block.into_bytes())));
    // Sensitive keys may leave in forms that are none here.
    assert!(!imported.header.exportable);
    let published = b"A0072P0TE00E0000F5161ED902807AF26F1D62263644BD24192FDB3193C730301CEE8701";
    let refused = administer(import_block(&under, Usage::PinEncryption, published.to_vec()));
    // Authentic, but its mode `E` is not ours.
    assert_eq!(refusal(&refused), Some(Refusal::WrongKey));
}

#[test]
fn check_values_by_name() {
    let world = world();
    let check = |key: &keys::AnyKeyBlock, method| administer(Command::CheckKeyValue { key: key.clone(), method });
    let Reply::KeyCheckBytes { value } = check(world.acquirer.cvk.any(), CheckMethod::Legacy) else {
        panic!("no value")
    };
    assert_eq!(value, [0x08, 0xD7, 0xB4]);
    let Reply::KeyCheckBytes { value } = check(world.acquirer.aes_bdk.any(), CheckMethod::Cmac) else {
        panic!("no value")
    };
    let aes = paycrypto::AesKey::new(&AES_BDK.to_be_bytes()).unwrap();
    assert_eq!(value, paycrypto::check_value::cmac_check_value(&aes));
    // What a CMAC's subkeys come from is not shown.
    assert_eq!(refusal(&check(world.acquirer.cmac.any(), CheckMethod::Legacy)), Some(Refusal::WrongKey));
    assert_eq!(refusal(&check(world.acquirer.aes_bdk.any(), CheckMethod::Legacy)), Some(Refusal::WrongKey));
    assert_eq!(refusal(&check(world.acquirer.hmac.any(), CheckMethod::Cmac)), Some(Refusal::WrongKey));
}

// Validity.

#[derive(Clone, Default)]
struct Calendar(Arc<AtomicU32>);

impl Clock for Calendar {
    fn now_ms(&self) -> u64 {
        0
    }
    fn today(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|day| *day != 0)
    }
}

#[test]
fn a_key_is_used_on_its_days_only() {
    let calendar = Calendar::default();
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    let vault = vault_with_clock(secrets, Box::new(calendar.clone()));
    let make = |not_before, not_after| Command::GenerateKeyWithValidity {
        usage: Usage::BaseDerivation,
        algorithm: Algorithm::Aes128,
        owner: owner(ISSUER),
        version: 1,
        exportable: false,
        validity: Validity { not_before, not_after },
    };
    let base: KeyBlock<keys::BaseDerivation> =
        typed(created(one(&vault, Caller::Administration, make(Some(10), Some(12)))));
    let derive = || {
        let (base, owner) = (base.clone(), owner(TERMINAL));
        one(
            &vault,
            Caller::Administration,
            Command::DeriveInitialKey { base, initial_key_id: AES_DEVICE, owner, version: 1 },
        )
    };
    // Day 0 stands for a clock without a calendar.
    for (day, right) in [(0, false), (9, false), (10, true), (12, true), (13, false)] {
        calendar.0.store(day, Ordering::Relaxed);
        let expected = if right { None } else { Some(Refusal::NotValidToday) };
        assert_eq!(refusal(&derive()), expected, "day {day}");
    }
    calendar.0.store(11, Ordering::Relaxed);
    assert_eq!(created(derive()).header.validity, Validity { not_before: Some(10), not_after: Some(12) });
    assert_eq!(refusal(&one(&vault, Caller::Administration, make(Some(5), Some(4)))), Some(Refusal::Parameter));
    // The bounds are under the tag like everything else in the header.
    let mut stretched = base.any().clone();
    stretched.header.validity.not_after = Some(99);
    let check = Command::CheckKey { key: stretched };
    assert_eq!(refusal(&one(&vault, Caller::Administration, check)), Some(Refusal::NotAuthentic));
}

/// A key block as 0.1.0 wrote it under the master key 00 01 … 1F, made by Python's cryptography package from the layout
/// alone. Journals are full of them.
const BLOCK_OF_0_1_0: &str = concat!(
    "010201000000083132333435363738000000010000002D01404142434445464748494A4B24F104CF4813522BAC851699",
    "C23D4A58C1D439D5B06B7DEF2C3DD0C543AFD498",
);

#[test]
fn a_key_block_of_0_1_0_still_opens() {
    use machine::wire::Encode;
    let master = types::Secret::copy_from(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
    let vault = vault_with_clock(MasterSecrets::from_master_key(master), Box::new(Calendar::default()));
    let bytes = unhex(BLOCK_OF_0_1_0);
    let key = keys::AnyKeyBlock::from_bytes(&bytes).unwrap();
    assert_eq!(key.to_bytes(), bytes);
    assert_eq!((key.header.usage, key.header.validity), (Usage::TerminalMaster, Validity::ALWAYS));
    match one(&vault, Caller::Administration, Command::CheckKey { key }) {
        Reply::KeyCheck { check } => assert_eq!(check.0, [0x08, 0xD7, 0xB4, 0xFB]),
        other => panic!("{other:?}"),
    }
}

// DUKPT.

const X9_24_MESSAGE: &[u8] = b"4012345678909D987";

fn tdes_key(counter: u32) -> DukptKey {
    dukpt_key(&world().acquirer.bdk, &tdes_transaction(counter).1)
}

fn aes_key(counter: u32) -> DukptKey {
    dukpt_key(&world().acquirer.aes_bdk, &aes_transaction(counter).1)
}

#[test]
fn published_dukpt_macs_are_made_and_verified() {
    let cases = [
        (tdes_key(1), DukptMacAlgorithm::X919, "9CCC78173FC4FB64", "20364223C1FF00FA"),
        (tdes_key(1), DukptMacAlgorithm::Cmac, "211003F1D5B79DD7", "82CC2B9B9EC710A6"),
        (aes_key(1), DukptMacAlgorithm::Cmac, "A2EB5C1C35809E58404E873C3C411E31", "DD4E1895FD9BF53D8DAF25568ABF551D"),
        (
            aes_key(1),
            DukptMacAlgorithm::HmacSha256,
            "B6F8B3159CD4E140159DA87A68C0FB7AF2F123D222662E98988C76386E8E8A02",
            "DDE7CB7BDE05AC9A934919B5D94C37954F2376BAF5D45031A56FE74D94C4B64D",
        ),
    ];
    for (key, algorithm, request, response) in cases {
        let message = || SecretBytes::copy_from(X9_24_MESSAGE);
        let make = Command::MakeDukptMac {
            key: key.clone(),
            direction: DukptDirection::ToDevice,
            algorithm,
            message: message(),
        };
        let Reply::AuthenticationCode { code } = host(make) else { panic!("no MAC") };
        assert_eq!(code, unhex(response));
        let verify =
            |mac: Vec<u8>| host(Command::VerifyDukptMac { key: key.clone(), algorithm, message: message(), mac });
        let whole = unhex(request);
        for mac in [whole.clone(), whole[..whole.len() / 2].to_vec()] {
            assert!(matches!(verify(mac), Reply::DukptMacVerdict { right: true, mark: Some(_), .. }));
        }
        assert_eq!(refusal(&verify(whole[..whole.len() / 2 - 1].to_vec())), Some(Refusal::Parameter));
        let mut wrong = whole;
        wrong[0] ^= 1;
        assert!(matches!(verify(wrong), Reply::DukptMacVerdict { right: false, mark: None, .. }));
    }
}

#[test]
fn published_dukpt_pins_and_data_open() {
    let acquirer = &world().acquirer;
    let pin = |key: DukptKey, format, block: &str| EncipheredPinBlock {
        format,
        under: PinSource::Dukpt(key),
        block: unhex(block),
    };
    let cases = [
        ("4012345678909", pin(tdes_key(1), PinFormat::Iso0, "1B9C1845EB993A7A"), &acquirer.zone, PinFormat::Iso0),
        (
            "4111111111111111",
            pin(aes_key(1), PinFormat::Iso4, "A912150391AB65A67E52883D81CE2D15"),
            &acquirer.aes_zone,
            PinFormat::Iso4,
        ),
    ];
    for (pan, pin, to, to_format) in cases {
        let account = account_of(pan);
        let translate =
            Command::TranslatePinBlock { pin: pin.clone(), account: account.clone(), to: to.clone(), to_format };
        let Reply::PinBlockTranslated { block } = host(translate) else { panic!("{pan} is not translated") };
        // Under the zone's key it is the same PIN still: both give the PVV of 1234.
        let zone = EncipheredPinBlock { format: to_format, under: PinSource::Key(to.clone()), block };
        let key = TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
        let right = Pin::parse("1234").unwrap();
        let value = paycrypto::pin_verification::pin_verification_value(&key, 1, pan.as_bytes(), &right).unwrap();
        let value: [u8; 4] = value.expose().as_bytes().try_into().unwrap();
        for pin in [pin, zone] {
            let (account, key) = (account.clone(), acquirer.pvv.clone());
            let verify = Command::VerifyPinVerificationValue { pin, account, key, key_index: 1, value };
            assert!(matches!(host(verify), Reply::PinVerdict { right: true }), "{pan}");
        }
    }
    let Reply::AccountOpened { truncated, .. } = host(open_dukpt_account(tdes_key(5), 5)) else { panic!("not opened") };
    assert_eq!(truncated.text(), "622262*********0012");
}

#[test]
fn account_data_has_three_forms_and_nothing_else() {
    use paycrypto::dukpt::aes::{KeyType, KeyUsage};
    let (transaction, _) = aes_transaction(6);
    let key = transaction.working_key(KeyUsage::DataEncryption, KeyType::Aes128).unwrap().into_aes().unwrap();
    let open = |form, clear: &[u8], fill: u8, vector: u8| {
        let mut enciphered = clear.to_vec();
        enciphered.resize(clear.len().next_multiple_of(16), fill);
        paycrypto::encrypt_cbc(&key, [vector; 16], &mut enciphered).unwrap();
        let (initial_vector, today) = (vec![vector; 16], Expiry::new(26, 11).unwrap());
        host(Command::OpenDukptAccount { key: aes_key(6), form, initial_vector, enciphered, expiry: None, today })
    };
    let packed = unhex(&format!("{TRACK2}F"));
    for reply in [
        open(AccountDataForm::Track2Packed, &packed, 0xFF, 0),
        open(AccountDataForm::Track2Text, TRACK2.as_bytes(), 0, 9),
        open(AccountDataForm::PanText, PAN.as_bytes(), 0, 0),
    ] {
        assert!(matches!(reply, Reply::AccountOpened { luhn_valid: true, .. }), "{reply:?}");
    }
    for reply in [
        open(AccountDataForm::Track2Packed, &packed, 0x00, 0),
        open(AccountDataForm::Track2Text, PAN.as_bytes(), 0, 0),
        open(AccountDataForm::PanText, TRACK2.as_bytes(), 0, 0),
        open(AccountDataForm::PanText, &[0xFF; 16], 0, 0),
    ] {
        assert_eq!(refusal(&reply), Some(Refusal::AccountData));
    }
    let short_vector = Command::OpenDukptAccount {
        key: aes_key(6),
        form: AccountDataForm::PanText,
        initial_vector: vec![0; 8],
        enciphered: vec![0; 16],
        expiry: None,
        today: Expiry::new(26, 11).unwrap(),
    };
    assert_eq!(refusal(&host(short_vector)), Some(Refusal::Parameter));
}

fn judged(key: DukptKey) -> (KsnFreshness, Option<KsnMark>) {
    match host(Command::JudgeKsn { key }) {
        Reply::KsnJudged { freshness, mark, .. } => (freshness, mark),
        other => panic!("{other:?}"),
    }
}

fn marked(key: DukptKey, mark: &KsnMark) -> DukptKey {
    DukptKey { mark: Some(mark.clone()), ..key }
}

#[test]
fn the_mark_tells_fresh_from_reused_from_older() {
    let (KsnFreshness::Fresh, Some(mark)) = judged(aes_key(7)) else { panic!("the first is fresh") };
    assert_eq!(judged(marked(aes_key(7), &mark)), (KsnFreshness::Reused, None));
    assert_eq!(judged(marked(aes_key(5), &mark)), (KsnFreshness::Older, None));
    let (KsnFreshness::Fresh, Some(next)) = judged(marked(aes_key(9), &mark)) else { panic!("the next is fresh") };
    assert_eq!(judged(marked(aes_key(7), &next)).0, KsnFreshness::Older);
    // Of another device, altered, or made up.
    let other = Ksn::new(&unhex("1234567890123457000000FF")).unwrap();
    let of_other = DukptKey { base: world().acquirer.aes_bdk.clone(), ksn: other, mark: Some(mark.clone()) };
    let mut altered = mark.clone();
    altered.0[14] ^= 1;
    for key in [of_other, marked(aes_key(9), &altered), marked(tdes_key(9), &mark)] {
        assert_eq!(refusal(&host(Command::JudgeKsn { key })), Some(Refusal::NotAuthentic));
    }
}

#[test]
fn only_an_authentic_message_moves_the_mark() {
    let Reply::DukptMacVerdict { mark: Some(mark), .. } = host(verify_dukpt_mac(aes_key(2), 2)) else {
        panic!("a right MAC")
    };
    // A forged message with a serial number far ahead does not lock the device out.
    let forged = Command::VerifyDukptMac {
        key: marked(aes_key(0x8000_0000), &mark),
        algorithm: DukptMacAlgorithm::Cmac,
        message: SecretBytes::copy_from(X9_24_MESSAGE),
        mac: vec![0; 16],
    };
    assert!(matches!(host(forged), Reply::DukptMacVerdict { right: false, mark: None, .. }));
    // A clone shows itself with a right MAC below the mark.
    let clone = host(verify_dukpt_mac(marked(aes_key(1), &mark), 1));
    assert!(matches!(clone, Reply::DukptMacVerdict { right: true, freshness: KsnFreshness::Older, mark: None }));
    // What is below the mark makes no MAC, opens no PIN and no account.
    let pin = dukpt_pin(world(), 1);
    let PinSource::Dukpt(key) = pin.under.clone() else { panic!("a DUKPT PIN") };
    let stale = EncipheredPinBlock { under: PinSource::Dukpt(marked(key, &mark)), ..pin };
    let translate = Command::TranslatePinBlock {
        pin: stale,
        account: world().account.clone(),
        to: world().acquirer.aes_zone.clone(),
        to_format: PinFormat::Iso4,
    };
    assert_eq!(refusal(&host(translate)), Some(Refusal::StaleKsn));
    let make = Command::MakeDukptMac {
        key: marked(aes_key(1), &mark),
        direction: DukptDirection::ToDevice,
        algorithm: DukptMacAlgorithm::Cmac,
        message: SecretBytes::copy_from(X9_24_MESSAGE),
    };
    assert_eq!(refusal(&host(make)), Some(Refusal::StaleKsn));
}

fn verify_dukpt_mac(key: DukptKey, counter: u32) -> Command {
    use paycrypto::dukpt::aes::{KeyType, KeyUsage};
    let key_of = aes_transaction(counter).0.working_key(KeyUsage::MacGeneration, KeyType::Aes128).unwrap();
    let mac = paycrypto::mac::cmac(&key_of.into_aes().unwrap(), X9_24_MESSAGE).to_vec();
    let message = SecretBytes::copy_from(X9_24_MESSAGE);
    Command::VerifyDukptMac { key, algorithm: DukptMacAlgorithm::Cmac, message, mac }
}

#[test]
fn serial_numbers_that_cannot_be_are_refused() {
    let base = || world().acquirer.aes_bdk.clone();
    for text in ["1234567890123456FFFFFFFF", "123456789012345600000000", "FFFF9876543210E00000"] {
        let key = DukptKey { base: base(), ksn: Ksn::new(&unhex(text)).unwrap(), mark: None };
        assert!(refusal(&host(Command::JudgeKsn { key })).is_some(), "{text}");
    }
    assert!(Ksn::new(&[0; 11]).is_none());
    let counter_bits = Command::DeriveInitialKey {
        base: world().acquirer.bdk.clone(),
        initial_key_id: [0xFF, 0xFF, 0x98, 0x76, 0x54, 0x32, 0x10, 0xE1],
        owner: owner(TERMINAL),
        version: 1,
    };
    assert_eq!(refusal(&administer(counter_bits)), Some(Refusal::Parameter));
}

#[test]
fn a_published_initial_key_is_derived_and_leaves_for_its_device() {
    let derive = |base: &KeyBlock<keys::BaseDerivation>, initial_key_id| {
        let (base, owner) = (base.clone(), owner(ISSUER));
        created(administer(Command::DeriveInitialKey { base, initial_key_id, owner, version: 1 }))
    };
    let acquirer = &world().acquirer;
    for (base, id, expected) in [
        (&acquirer.bdk, TDES_DEVICE, "6AC292FAA1315B4D858AB3A3D7D5933A"),
        (&acquirer.aes_bdk, AES_DEVICE, "1273671EA26AC29AFA4D1084127652A1"),
    ] {
        let key = derive(base, id);
        let under = acquirer.kbpk.clone();
        let export = Command::ExportKeyBlock { key, under, version: KeyBlockVersion::D, exportable_there: false };
        let Reply::KeyBlockExported { block, .. } = administer(export) else { panic!("an initial key does not leave") };
        let opened = key_block::unwrap(&ProtectionKey::aes(&KBPK).unwrap(), &block, &ImportPolicy::default()).unwrap();
        assert_eq!(opened.key.expose(), unhex(expected));
        assert_eq!(opened.header.usage, key_block::KeyUsage::DUKPT_INITIAL);
    }
}

// PINs.

#[test]
fn published_offsets_are_made() {
    // psec's test_pin.py: PAN 1122334455667788 validated with all its digits, table 1234567890123456.
    let account = account_of("1122334455667788");
    for (pin, expected) in [("0000", "6586"), ("1111", "7697")] {
        let encipher = Command::EncipherPin {
            key: world().ped_keys.pin.clone(),
            pin: Pin::parse(pin).unwrap(),
            pan: Pan::parse("1122334455667788").unwrap(),
        };
        let Reply::PinBlock { block } = one(&world().ped, Caller::Ped, encipher) else { panic!("no PIN block") };
        let under = PinSource::Key(world().keys.pin.clone());
        let pin = EncipheredPinBlock { format: PinFormat::Iso0, under, block: block.to_vec() };
        let make = Command::MakePinOffset {
            pin: pin.clone(),
            account: account.clone(),
            key: world().acquirer.offset.clone(),
            table: DecimalisationTable::Shifted,
            validation: ValidationData::LeftmostSixteen,
        };
        let Reply::PinOffset { offset } = administer(make) else { panic!("no offset") };
        assert_eq!(offset, expected.as_bytes());
        let verify = |offset: &[u8]| {
            host(Command::VerifyPinOffset {
                pin: pin.clone(),
                account: account.clone(),
                key: world().acquirer.offset.clone(),
                table: DecimalisationTable::Shifted,
                validation: ValidationData::LeftmostSixteen,
                offset: offset.to_vec(),
            })
        };
        assert!(matches!(verify(expected.as_bytes()), Reply::PinVerdict { right: true }));
        assert!(matches!(verify(b"9999"), Reply::PinVerdict { right: false }));
        // Another length is a wrong PIN, no error of its own.
        assert!(matches!(verify(b"99999"), Reply::PinVerdict { right: false }));
        assert_eq!(refusal(&verify(b"99x9")), Some(Refusal::Parameter));
    }
}

#[test]
fn a_dukpt_pin_verifies_against_a_reference() {
    let world = world();
    let verify = |pin| Command::VerifyPinReference {
        pin,
        account: world.account.clone(),
        reference_key: world.pvk.clone(),
        reference: reference(world),
    };
    assert!(matches!(host(verify(dukpt_pin(world, 11))), Reply::PinVerdict { right: true }));
    // Under another transaction's key it is no PIN block.
    let pin = dukpt_pin(world, 11);
    let other = EncipheredPinBlock { under: PinSource::Dukpt(aes_key(12)), ..pin };
    assert_eq!(refusal(&host(verify(other))), Some(Refusal::PinBlock));
}

#[test]
fn a_stronger_key_is_not_left_for_a_weaker_one() {
    let world = world();
    let strong = Command::GenerateKey {
        usage: Usage::PinEncryption,
        algorithm: Algorithm::Aes256,
        owner: owner(ISSUER),
        version: 5,
        exportable: false,
    };
    let strong: KeyBlock<PinEncryption> = typed(created(administer(strong)));
    let translate = |pin, to: &KeyBlock<PinEncryption>| {
        let account = world.account.clone();
        host(Command::TranslatePinBlock { pin, account, to: to.clone(), to_format: PinFormat::Iso4 })
    };
    let Reply::PinBlockTranslated { block } = translate(dukpt_pin(world, 13), &strong) else {
        panic!("not translated")
    };
    let pin = EncipheredPinBlock { format: PinFormat::Iso4, under: PinSource::Key(strong), block };
    assert_eq!(refusal(&translate(pin, &world.acquirer.aes_zone)), Some(Refusal::WrongKey));
}

// Messages.

#[test]
fn codes_are_verified_whole_or_half() {
    let acquirer = &world().acquirer;
    let keys = [AuthenticationKey::Cmac(acquirer.cmac.clone()), AuthenticationKey::Hmac(acquirer.hmac.clone())];
    for (key, length) in keys.into_iter().zip([16, 32]) {
        let message = || SecretBytes::copy_from(MESSAGE);
        let make = Command::MakeAuthenticationCode { key: key.clone(), message: message() };
        let Reply::AuthenticationCode { code } = host(make) else { panic!("no code") };
        assert_eq!(code.len(), length);
        let verify = |code: &[u8]| {
            host(Command::VerifyAuthenticationCode { key: key.clone(), message: message(), code: code.to_vec() })
        };
        for part in [&code[..], &code[..length / 2]] {
            assert!(matches!(verify(part), Reply::MacVerdict { right: true }));
        }
        assert_eq!(refusal(&verify(&code[..length / 2 - 1])), Some(Refusal::Parameter));
        let longer = [&code[..], &[0]].concat();
        assert!(matches!(verify(&longer), Reply::MacVerdict { right: false }));
        let mut wrong = code;
        wrong[length / 2] ^= 1;
        assert!(matches!(verify(&wrong), Reply::MacVerdict { right: false }));
    }
}

#[test]
fn an_sm4_mak_makes_unionpays_mac_only() {
    let make = Command::GenerateKey {
        usage: Usage::MessageMac,
        algorithm: Algorithm::Sm4,
        owner: owner(TERMINAL),
        version: 8,
        exportable: false,
    };
    let key: KeyBlock<keys::MessageMac> = typed(created(administer(make)));
    let mac =
        |algorithm| host(Command::MakeMac { key: key.clone(), algorithm, message: SecretBytes::copy_from(MESSAGE) });
    assert!(matches!(mac(keys::MacAlgorithm::UnionPayEcb), Reply::Mac { .. }));
    assert_eq!(refusal(&mac(keys::MacAlgorithm::X919)), Some(Refusal::WrongKey));
}

// Cards.

fn response_for(version: CryptogramVersion) -> IssuerResponse {
    match arithmetic_version(version).arpc_method() {
        paycrypto::emv::ArpcMethod::One => IssuerResponse::ResponseCode(*b"00"),
        paycrypto::emv::ArpcMethod::Two => {
            IssuerResponse::CardStatusUpdate { update: [0, 0x80, 0, 0], proprietary: vec![1, 2, 3] }
        }
    }
}

#[test]
fn every_scheme_is_verified_answered_and_scripted() {
    let world = world();
    let issuer = TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
    for version in CryptogramVersion::ALL {
        let arithmetic = arithmetic_version(version);
        let card = arithmetic.icc_master_key(&issuer, PAN.as_bytes(), 1).unwrap();
        let transaction = card_transaction(version);
        let verify = |transaction, response| {
            host(Command::VerifyArqc {
                master: world.imk_ac.clone(),
                account: world.account.clone(),
                transaction,
                unpredictable_number: [1, 2, 3, 4],
                data: CRYPTOGRAM_DATA.to_vec(),
                response,
            })
        };
        let Reply::IssuerAuthentication { right: true, data: Some(data) } = verify(transaction, response_for(version))
        else {
            panic!("{version:?}: the ARQC is right")
        };
        let (spoken, tail) = match response_for(version) {
            IssuerResponse::ResponseCode(code) => (paycrypto::emv::IssuerResponse::ResponseCode(code), code.to_vec()),
            IssuerResponse::CardStatusUpdate { update, .. } => (
                paycrypto::emv::IssuerResponse::CardStatusUpdate(update, &[1, 2, 3]),
                [&update[..], &[1, 2, 3]].concat(),
            ),
        };
        let arpc = arithmetic.arpc(&card, ATC.to_be_bytes(), [1, 2, 3, 4], &transaction.cryptogram, spoken).unwrap();
        assert_eq!(data, [arpc, tail].concat(), "{version:?}");
        let mut wrong = transaction;
        wrong.cryptogram[0] ^= 1;
        let reply = verify(wrong, response_for(version));
        assert!(matches!(reply, Reply::IssuerAuthentication { right: false, data: None }));
        assert!(matches!(verify(transaction, response_for(version)), Reply::IssuerAuthentication { right: true, .. }));
        let other = match response_for(version) {
            IssuerResponse::ResponseCode(_) => response_for(CryptogramVersion::VisaCvn18),
            _ => IssuerResponse::ResponseCode(*b"00"),
        };
        assert_eq!(refusal(&verify(transaction, other)), Some(Refusal::Parameter));
    }
}

#[test]
fn scripts_go_under_each_schemes_session_key() {
    use paycrypto::emv::{ScriptContext, command_mac, visa_script_session_key};
    let world = world();
    let issuer = TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
    let header = [0x84, 0xDA, 0x9F, 0x79, 0x0A];
    for version in CryptogramVersion::ALL {
        let arithmetic = arithmetic_version(version);
        let card = arithmetic.icc_master_key(&issuer, PAN.as_bytes(), 1).unwrap();
        let transaction = card_transaction(version);
        for command_index in 0..3 {
            let make = Command::MakeIssuerScriptMac {
                master: world.imk_mac.clone(),
                account: world.account.clone(),
                transaction,
                command_index,
                header,
                data: b"data".to_vec(),
            };
            let Reply::ScriptMac { mac } = host(make) else { panic!("no script MAC") };
            let counted = u64::from_be_bytes(transaction.cryptogram).wrapping_add(u64::from(command_index));
            let counts = format!("{version:?}").starts_with("Mastercard");
            let cryptogram = if counts { counted.to_be_bytes() } else { transaction.cryptogram };
            let context = ScriptContext { atc: ATC.to_be_bytes(), cryptogram };
            assert_eq!(mac, arithmetic.script_mac(&card, &header, &context, b"data").unwrap(), "{version:?}");
            let encipher = Command::EncipherIssuerScript {
                master: world.acquirer.imk_smc.clone(),
                account: world.account.clone(),
                transaction,
                command_index,
                data: SecretBytes::copy_from(b"script data"),
            };
            let Reply::ScriptEnciphered { data } = host(encipher) else { panic!("not enciphered") };
            assert_eq!(data, arithmetic.encipher_script_data(&card, &context, b"script data").unwrap());
        }
    }
    // CVN 18 by hand: Visa's session key, whatever its cryptograms use.
    let transaction = card_transaction(CryptogramVersion::VisaCvn18);
    let card = arithmetic_version(CryptogramVersion::VisaCvn18).icc_master_key(&issuer, PAN.as_bytes(), 1).unwrap();
    let session = visa_script_session_key(&card, ATC.to_be_bytes()).unwrap();
    let input = [&header[..], &ATC.to_be_bytes(), &transaction.cryptogram, b"data"].concat();
    let by_hand = command_mac(&session, &input).unwrap();
    let (old, scheme) = (world.imk_mac.clone(), cvn_18_as_data());
    let old = Command::MakeScriptMac {
        master: old,
        account: world.account.clone(),
        card_sequence: 1,
        scheme,
        atc: ATC,
        cryptogram: transaction.cryptogram,
        data: input,
    };
    let Reply::ScriptMac { mac } = host(old) else { panic!("no script MAC") };
    assert_eq!(mac, by_hand, "the command of 0.1.0 does it right too");
}

fn cvn_18_as_data() -> keys::CryptogramScheme {
    keys::CryptogramScheme {
        derivation: keys::MasterKeyDerivation::OptionB,
        session: keys::SessionKeyMethod::Common,
        padding: keys::CryptogramPadding::Mandatory80,
        arpc: keys::ArpcMethod::Method2,
    }
}

fn verify_code(pan: &str, kind: CardCode, order: ExpiryOrder, expiry: Expiry, code: &str) -> Reply {
    host(Command::VerifyCardCode {
        key: world().acquirer.cvk.clone(),
        account: account_of(pan),
        expiry,
        order,
        kind,
        code: SecretBytes::copy_from(code.as_bytes()),
    })
}

#[test]
fn published_card_codes_verify() {
    let year = |year, month| Expiry::new(year, month).unwrap();
    let stripe = |code| CardCode::MagneticStripe(code);
    for (pan, kind, expiry, code) in [
        ("4123456789012345", stripe(*b"101"), year(87, 1), "561"),
        ("4123456789012345", stripe(*b"201"), year(87, 1), "098"),
        ("4999988887777000", CardCode::Printed, year(91, 5), "091"),
        ("4999988887777000", CardCode::Chip, year(91, 5), "604"),
    ] {
        let verify = |order, code| verify_code(pan, kind, order, expiry, code);
        assert!(
            matches!(verify(ExpiryOrder::YearMonth, code), Reply::CardCodeVerdict { right: true }),
            "{pan} {kind:?}"
        );
        assert!(matches!(verify(ExpiryOrder::MonthYear, code), Reply::CardCodeVerdict { right: false }));
    }
    assert_eq!(
        refusal(&verify_code(PAN, CardCode::Chip, ExpiryOrder::YearMonth, year(91, 5), "12")),
        Some(Refusal::Parameter)
    );
}

#[test]
fn card_codes_are_not_guessed() {
    let pan = "5500000000000004";
    let code = |number| format!("{number:03}");
    let replies: Vec<Reply> = (0..20)
        .map(|number| verify_code(pan, CardCode::Printed, ExpiryOrder::YearMonth, expiry(), &code(number)))
        .collect();
    let answered = replies.iter().filter(|reply| matches!(reply, Reply::CardCodeVerdict { .. })).count();
    assert_eq!(answered, CARD_CODE_FAILURES_PER_MINUTE_MAX as usize);
    // Another number of the same class, which a dynamic code cannot tell apart, is no way round.
    let twin = verify_code("4400000000000004", CardCode::Printed, ExpiryOrder::YearMonth, expiry(), "000");
    assert_eq!(refusal(&twin), Some(Refusal::RateLimited));
}

#[test]
fn an_account_is_sealed_and_tokenised_without_a_message() {
    let seal = Command::SealAccount { pan: Pan::parse(PAN).unwrap(), expiry: Some(expiry()) };
    let Reply::AccountSealed { token, truncated, account } = host(seal) else { panic!("not sealed") };
    assert_eq!(truncated.text(), "622262*********0012");
    let tokenise = Command::TokeniseAccount { account };
    assert!(matches!(host(tokenise), Reply::Token { token: same } if same == token));
}
