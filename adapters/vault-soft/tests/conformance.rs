//! Every command: right use, foreign callers, altered and foreign key blocks, and the rules of its own.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod world;

use keys::{
    Algorithm, AnyKeyBlock, Caller, Command, CommandKind, KeyBlock, KeyEncryption, KeyService, MacAlgorithm, Owner,
    PinEncryption, Refusal, Reply, SealedAccount, Usage, permitted,
};
use machine::wire::Encode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{Expiry, SecretBytes};
use vault_soft::{
    CRYPTOGRAM_FAILURES_PER_MINUTE_MAX, Clock, LocalKeys, MasterSecrets, PIN_FAILURES_PER_MINUTE_MAX, SystemEntropy,
    VaultKind,
};
use world::*;

fn unchanged(block: AnyKeyBlock) -> AnyKeyBlock {
    block
}

fn refusal(reply: &Reply) -> Option<Refusal> {
    match reply {
        Reply::Refused { why } => Some(*why),
        _ => None,
    }
}

fn answer_to(kind: CommandKind) -> &'static str {
    use CommandKind as C;
    match kind {
        C::GenerateKey | C::ImportTransportKey | C::ImportKey => "KeyCreated",
        C::GenerateKeyWithValidity | C::ImportKeyBlock | C::DeriveInitialKey | C::ImportProtectionKey => "KeyCreated",
        C::ExportKeyBlock => "KeyBlockExported",
        C::CheckKeyValue => "KeyCheckBytes",
        C::TranslatePinBlock => "PinBlockTranslated",
        C::VerifyPinReference | C::VerifyPinVerificationValue | C::VerifyPinOffset => "PinVerdict",
        C::MakePinVerificationValue => "PinVerificationValue",
        C::MakePinOffset => "PinOffset",
        C::MakeAuthenticationCode | C::MakeDukptMac => "AuthenticationCode",
        C::VerifyAuthenticationCode => "MacVerdict",
        C::VerifyDukptMac => "DukptMacVerdict",
        C::JudgeKsn => "KsnJudged",
        C::OpenDukptAccount => "AccountOpened",
        C::VerifyArqc => "IssuerAuthentication",
        C::MakeIssuerScriptMac => "ScriptMac",
        C::EncipherIssuerScript => "ScriptEnciphered",
        C::VerifyCardCode | C::VerifyDynamicCode => "CardCodeVerdict",
        C::MakeCardCode => "CardCodeMade",
        C::SealAccount => "AccountSealed",
        C::TokeniseAccount => "Token",
        C::TransportPublicKey => "TransportPublicKey",
        C::ExportKey => "KeyExported",
        C::CheckKey => "KeyCheck",
        C::GenerateWorkingKeys | C::LoadWorkingKeys => "WorkingKeysMade",
        C::MakeMac => "Mac",
        C::VerifyMac => "MacVerdict",
        C::OpenAccount => "AccountOpened",
        C::TranslatePin => "PinTranslated",
        C::VerifyPin => "PinVerdict",
        C::MakePinReference => "PinReference",
        C::VerifyCryptogram => "CryptogramVerdict",
        C::MakeScriptMac => "ScriptMac",
        C::Random => "Random",
        C::EncipherPin => "PinBlock",
        C::EncipherTrack => "Track",
        C::Tokenise => "Token",
        C::Seal => "Sealed",
        C::Unseal => "Unsealed",
        C::MakeTransportKey => "TransportKeyMade",
        other => panic!("{other:?} has its example elsewhere"),
    }
}

#[test]
fn the_examples_cover_every_command() {
    let mut kinds: Vec<CommandKind> = examples(world(), &unchanged).iter().map(Command::kind).collect();
    kinds.sort();
    // The office's commands have a state of their own and their own tests: `office.rs`.
    let mut all: Vec<CommandKind> = CommandKind::ALL.iter().copied().filter(|kind| !is_of_the_office(*kind)).collect();
    all.sort();
    assert_eq!(kinds, all);
}

#[test]
fn every_permitted_caller_gets_the_answer_and_every_other_is_refused() {
    let world = world();
    for caller in Caller::ALL {
        for command in examples(world, &unchanged) {
            let kind = command.kind();
            let reply = one(vault_of(world, kind), caller, command);
            if permitted(caller, kind) {
                assert_eq!(reply.name(), answer_to(kind), "{caller:?} says {kind:?}: {reply:?}");
            } else {
                assert_eq!(refusal(&reply), Some(Refusal::NotPermitted), "{caller:?} says {kind:?}");
            }
        }
    }
}

/// What must be found in the audit afterwards: keys that come, are made, leave, and what a card's holder is known by.
fn is_an_act(kind: CommandKind) -> bool {
    use CommandKind as C;
    matches!(
        kind,
        C::GenerateKey
            | C::GenerateKeyWithValidity
            | C::DeriveInitialKey
            | C::ImportTransportKey
            | C::ImportProtectionKey
            | C::ImportKey
            | C::ImportKeyBlock
            | C::ExportKey
            | C::ExportKeyBlock
            | C::MakeTransportKey
            | C::MakePinReference
            | C::MakePinVerificationValue
            | C::MakePinOffset
            | C::MakeCardCode
    )
}

#[test]
fn every_administrative_act_leaves_one_record_and_nothing_else_leaves_any() {
    // Nobody else may write to its audit.
    let world = &build();
    for command in examples(world, &unchanged) {
        let (kind, bytes) = (command.kind(), command.to_bytes());
        let vault = vault_of(world, kind);
        for caller in Caller::ALL.into_iter().filter(|caller| permitted(*caller, kind)) {
            let before = records(vault);
            let reply = one(vault, caller, Command::from_bytes(&bytes).unwrap());
            assert_eq!(refusal(&reply), None, "{caller:?} says {kind:?}");
            assert_eq!(records(vault) - before, u64::from(is_an_act(kind)), "{caller:?} says {kind:?}");
        }
    }
}

fn takes_a_key_block(kind: CommandKind) -> bool {
    use CommandKind as C;
    !matches!(
        kind,
        C::GenerateKey
            | C::TransportPublicKey
            | C::ImportTransportKey
            | C::Random
            | C::Tokenise
            | C::Seal
            | C::Unseal
            | C::MakeTransportKey
            | C::GenerateKeyWithValidity
            | C::ImportProtectionKey
            | C::SealAccount
            | C::TokeniseAccount
    )
}

fn caller_for(kind: CommandKind) -> Caller {
    Caller::ALL.into_iter().find(|caller| permitted(*caller, kind)).unwrap()
}

fn all_refuse(change: Change<'_>, expected: &[Refusal]) {
    let world = world();
    for command in examples(world, change).into_iter().filter(|command| takes_a_key_block(command.kind())) {
        let kind = command.kind();
        let reply = one(vault_of(world, kind), caller_for(kind), command);
        let refused = refusal(&reply).unwrap_or_else(|| panic!("{kind:?} was answered: {reply:?}"));
        assert!(expected.contains(&refused), "{kind:?}: {refused:?}");
    }
}

#[test]
fn altered_key_blocks_are_not_authentic() {
    for at in [0, 1, 12, 13, 20, usize::MAX] {
        let flip = |mut block: AnyKeyBlock| {
            let at = at.min(block.enciphered.len() - 1);
            block.enciphered[at] ^= 0x01;
            block
        };
        all_refuse(&flip, &[Refusal::NotAuthentic]);
    }
    let cut = |mut block: AnyKeyBlock| {
        block.enciphered.pop();
        block
    };
    all_refuse(&cut, &[Refusal::NotAuthentic]);
    let empty = |mut block: AnyKeyBlock| {
        block.enciphered.clear();
        block
    };
    all_refuse(&empty, &[Refusal::NotAuthentic]);
}

#[test]
fn altered_headers_are_not_authentic() {
    let newer = |mut block: AnyKeyBlock| {
        block.header.version += 1;
        block
    };
    all_refuse(&newer, &[Refusal::NotAuthentic]);
    let exportable = |mut block: AnyKeyBlock| {
        block.header.exportable = !block.header.exportable;
        block
    };
    all_refuse(&exportable, &[Refusal::NotAuthentic]);
    // A KEK of another owner is already refused for that.
    let stolen = |mut block: AnyKeyBlock| {
        block.header.owner = owner("87654321");
        block
    };
    all_refuse(&stolen, &[Refusal::NotAuthentic, Refusal::WrongKey]);
    let longer = |mut block: AnyKeyBlock| {
        block.header.algorithm = Algorithm::TdesTriple;
        block
    };
    // Where the algorithm alone is wrong, that may be said first.
    all_refuse(&longer, &[Refusal::NotAuthentic, Refusal::WrongKey]);
}

#[test]
fn key_blocks_of_another_vault_are_not_authentic() {
    let world = world();
    let command = Command::CheckKey { key: world.ped_keys.pin.any().clone() };
    assert_eq!(refusal(&one(&world.host, Caller::Host, command)), Some(Refusal::NotAuthentic));
}

#[test]
fn a_key_of_one_usage_cannot_be_relabelled() {
    let world = world();
    let mut block = world.keys.mac.any().clone();
    assert!(block.clone().typed::<PinEncryption>().is_err());
    block.header.usage = Usage::PinEncryption;
    let key: KeyBlock<PinEncryption> = block.typed().unwrap();
    let command =
        Command::TranslatePin { block: world.pin_block, from: key.clone(), to: key, account: world.account.clone() };
    assert_eq!(refusal(&one(&world.host, Caller::Host, command)), Some(Refusal::NotAuthentic));
}

#[test]
fn unsuitable_algorithms_are_refused() {
    let world = world();
    for (usage, algorithm) in [
        (Usage::PinEncryption, Algorithm::Des),
        (Usage::TerminalMaster, Algorithm::HmacSha256),
        (Usage::PinReference, Algorithm::TdesDouble),
        (Usage::IssuerMasterAc, Algorithm::Aes128),
    ] {
        let command = Command::GenerateKey { usage, algorithm, owner: owner(ISSUER), version: 1, exportable: false };
        assert_eq!(refusal(&one(&world.host, Caller::Administration, command)), Some(Refusal::WrongKey));
    }
}

#[test]
fn a_key_leaves_only_if_exportable_and_only_under_its_owners_kek() {
    let world = world();
    let export = |key: &AnyKeyBlock, under: &KeyBlock<KeyEncryption>| {
        refusal(&one(
            &world.host,
            Caller::Administration,
            Command::ExportKey { key: key.clone(), under: under.clone() },
        ))
    };
    // Without a key block around it, only a terminal master key leaves at all.
    for other in [world.keys.pin.any(), world.imk_ac.any(), world.kek.any()] {
        assert_eq!(export(other, &world.kek), Some(Refusal::NotPermitted));
    }
    let staying = Command::GenerateKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: owner(TERMINAL),
        version: 9,
        exportable: false,
    };
    let staying = created(one(&world.host, Caller::Administration, staying));
    assert_eq!(export(&staying, &world.kek), Some(Refusal::NotExportable));
    assert_eq!(export(world.tmk.any(), &world.issuer_kek), Some(Refusal::WrongKey));
    assert_eq!(export(world.tmk.any(), &world.kek), None);
}

#[test]
fn imports_are_checked() {
    let world = world();
    let export = Command::ExportKey { key: world.tmk.any().clone(), under: world.kek.clone() };
    let Reply::KeyExported { enciphered, check } = one(&world.host, Caller::Administration, export) else {
        panic!("TMK does not leave")
    };
    let import = |enciphered: Vec<u8>, check| {
        let command = import_tmk(world.ped_kek.clone(), enciphered, check);
        refusal(&one(&world.ped, Caller::Ped, command))
    };
    assert_eq!(import(enciphered.clone(), check), None);
    let mut altered = enciphered.clone();
    altered[0] ^= 1;
    assert_eq!(import(altered, check), Some(Refusal::KeyCheck));
    assert_eq!(import(enciphered[..8].to_vec(), check), Some(Refusal::Parameter));
    assert_eq!(import(Vec::new(), check), Some(Refusal::Parameter));
    let under_foreign = Command::ImportKey {
        usage: Usage::IssuerMasterAc,
        algorithm: Algorithm::TdesDouble,
        owner: owner(ISSUER),
        version: 1,
        under: world.kek.clone(),
        enciphered,
        check,
    };
    assert_eq!(refusal(&one(&world.host, Caller::Administration, under_foreign)), Some(Refusal::WrongKey));
}

#[test]
fn transport_envelopes_are_checked() {
    let world = world();
    let import = |enciphered: Vec<u8>| {
        let command = Command::ImportTransportKey { owner: owner(TERMINAL), version: 1, enciphered };
        refusal(&one(&world.host, Caller::Administration, command))
    };
    assert_eq!(import(vec![7; 384]), Some(Refusal::NotAuthentic));
    assert_eq!(import(Vec::new()), Some(Refusal::NotAuthentic));
    let bad = |recipient: Vec<u8>| {
        let command = Command::MakeTransportKey { owner: owner(TERMINAL), version: 1, recipient };
        refusal(&one(&world.ped, Caller::Ped, command))
    };
    assert_eq!(bad(vec![0x30; 100]), Some(Refusal::Parameter));
    assert_eq!(bad(vec![0x30; 100_000]), Some(Refusal::Parameter));
    // A terminal's vault has no transport key.
    let none = one(&world.ped, Caller::Administration, Command::TransportPublicKey {});
    assert_eq!(refusal(&none), Some(Refusal::Unavailable));
}

fn mac(key: &KeyBlock<keys::MessageMac>, algorithm: MacAlgorithm) -> Reply {
    let message = SecretBytes::copy_from(MESSAGE);
    one(&world().host, Caller::Host, Command::MakeMac { key: key.clone(), algorithm, message })
}

#[test]
fn mac_algorithms_need_their_key_lengths() {
    let world = world();
    let sign_in = Command::GenerateWorkingKeys {
        master: world.tmk.clone(),
        version: 3,
        with_track_key: false,
        double_length_mac_key: false,
    };
    let Reply::WorkingKeysMade { keys, delivery } = one(&world.host, Caller::Host, sign_in) else {
        panic!("no working keys")
    };
    assert_eq!((delivery.len(), keys.track.is_none()), (40, true));
    let refused = |key, algorithm| refusal(&mac(key, algorithm));
    assert_eq!(refused(&keys.mac, MacAlgorithm::X919), Some(Refusal::WrongKey));
    assert_eq!(refused(&keys.mac, MacAlgorithm::X99), None);
    assert_eq!(refused(&world.keys.mac, MacAlgorithm::X99), Some(Refusal::WrongKey));
    assert_eq!(refused(&world.keys.mac, MacAlgorithm::X919), None);
}

#[test]
fn both_ends_make_the_same_mac_and_a_wrong_one_is_told() {
    let world = world();
    let Reply::Mac { mac } = mac(&world.keys.mac, MacAlgorithm::UnionPayEcb) else { panic!("no MAC") };
    let verdict = |mac: [u8; 8]| {
        let command = Command::VerifyMac {
            key: world.ped_keys.mac.clone(),
            algorithm: MacAlgorithm::UnionPayEcb,
            message: SecretBytes::copy_from(MESSAGE),
            mac,
        };
        match one(&world.ped, Caller::Ped, command) {
            Reply::MacVerdict { right } => right,
            other => panic!("{other:?}"),
        }
    };
    assert!(verdict(mac));
    let mut wrong = mac;
    wrong[7] ^= 1;
    assert!(!verdict(wrong));
}

fn opening(pan: Option<&str>, track2: Option<&str>, expiry: Option<Expiry>, today: Expiry) -> Reply {
    let command = Command::OpenAccount {
        pan: pan.map(|pan| types::Pan::parse(pan).unwrap()),
        track2: track2.map(|track2| SecretBytes::copy_from(track2.as_bytes())),
        track_key: None,
        expiry,
        today,
    };
    one(&world().host, Caller::Host, command)
}

#[test]
fn account_data_that_contradicts_itself_is_refused() {
    let today = Expiry::new(26, 11).unwrap();
    let refused = |pan, track, expiry| refusal(&opening(pan, track, expiry, today));
    assert_eq!(refused(None, None, None), Some(Refusal::AccountData));
    assert_eq!(refused(Some("6222620000000000020"), Some(TRACK2), None), Some(Refusal::AccountData));
    assert_eq!(refused(Some(PAN), Some(TRACK2), Expiry::new(29, 1)), Some(Refusal::AccountData));
    assert_eq!(refused(Some(PAN), Some("garbage"), None), Some(Refusal::AccountData));
    // Still enciphered: without the key it is no track.
    let world = world();
    let command = Command::OpenAccount {
        pan: Some(pan()),
        track2: Some(world.track.duplicate()),
        track_key: None,
        expiry: None,
        today,
    };
    assert_eq!(refusal(&one(&world.host, Caller::Host, command)), Some(Refusal::AccountData));
    assert_eq!(refused(None, Some(TRACK2), None), None);
}

#[test]
fn one_card_has_one_token_and_its_expiry_is_judged() {
    let token_and_expired = |pan, track, expiry, today| match opening(pan, track, expiry, today) {
        Reply::AccountOpened { token, expired, luhn_valid, truncated, .. } => {
            assert!(luhn_valid);
            assert_eq!(truncated.text(), "622262*********0012");
            (token, expired)
        }
        other => panic!("{other:?}"),
    };
    let month = |year, month| Expiry::new(year, month).unwrap();
    let (by_pan, _) = token_and_expired(Some(PAN), None, None, month(40, 1));
    let (by_track, expired) = token_and_expired(None, Some(TRACK2), None, month(30, 12));
    assert_eq!((by_pan, expired), (by_track, false));
    assert!(token_and_expired(None, Some(TRACK2), None, month(31, 1)).1);
    assert!(token_and_expired(Some(PAN), None, Expiry::new(26, 10), month(26, 11)).1);
}

#[test]
fn sealed_accounts_are_authenticated() {
    let world = world();
    let mut altered = world.account.0.clone();
    *altered.last_mut().unwrap() ^= 1;
    for bytes in [altered, Vec::new(), vec![1; 40]] {
        let command = Command::TranslatePin {
            block: world.pin_block,
            from: world.keys.pin.clone(),
            to: world.keys.pin.clone(),
            account: SealedAccount(bytes),
        };
        assert_eq!(refusal(&one(&world.host, Caller::Host, command)), Some(Refusal::NotAuthentic));
    }
}

#[test]
fn a_translated_pin_still_verifies() {
    let world = world();
    let generate = Command::GenerateKey {
        usage: Usage::PinEncryption,
        algorithm: Algorithm::TdesDouble,
        owner: owner("ZONE"),
        version: 1,
        exportable: false,
    };
    let zone: KeyBlock<PinEncryption> = typed(created(one(&world.host, Caller::Administration, generate)));
    let translate = Command::TranslatePin {
        block: world.pin_block,
        from: world.keys.pin.clone(),
        to: zone.clone(),
        account: world.account.clone(),
    };
    let Reply::PinTranslated { block } = one(&world.host, Caller::Host, translate) else { panic!("not translated") };
    assert_ne!(block, world.pin_block);
    let verify = Command::VerifyPin {
        block,
        key: zone,
        account: world.account.clone(),
        reference_key: world.pvk.clone(),
        reference: reference(world),
    };
    assert!(matches!(one(&world.host, Caller::Host, verify), Reply::PinVerdict { right: true }));
}

#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A vault that shares the world's master key but has its own counters and clock.
fn limited_world() -> (vault_soft::SoftVault, Hand, Vec<Command>) {
    let hand = Hand::default();
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
    let vault = vault_with_clock(secrets, Box::new(hand.clone()));
    let key = |usage, algorithm, name: &str| {
        let command =
            Command::GenerateKey { usage, algorithm, owner: Owner::new(name).unwrap(), version: 1, exportable: false };
        created(one(&vault, Caller::Administration, command))
    };
    let pik: KeyBlock<PinEncryption> = typed(key(Usage::PinEncryption, Algorithm::TdesDouble, TERMINAL));
    let pvk = typed(key(Usage::PinReference, Algorithm::HmacSha256, ISSUER));
    let today = Expiry::new(26, 11).unwrap();
    let open = Command::OpenAccount { pan: Some(pan()), track2: None, track_key: None, expiry: None, today };
    let account = opened(one(&vault, Caller::Host, open));
    let encipher = Command::EncipherPin { key: pik.clone(), pin: types::Pin::parse(PIN).unwrap(), pan: pan() };
    let Reply::PinBlock { block } = one(&vault, Caller::Ped, encipher) else { panic!("no PIN block") };
    let make = Command::MakePinReference {
        block,
        key: pik.clone(),
        account: account.clone(),
        reference_key: typed_again(&pvk),
    };
    let Reply::PinReference { reference } = one(&vault, Caller::Administration, make) else { panic!("no reference") };
    let verify = |block, reference| Command::VerifyPin {
        block,
        key: pik.clone(),
        account: account.clone(),
        reference_key: typed_again(&pvk),
        reference,
    };
    let commands = vec![verify(block, reference), verify(block, [0; 16]), verify([0x55; 8], reference)];
    (vault, hand, commands)
}

fn typed_again(block: &KeyBlock<keys::PinReferenceKey>) -> KeyBlock<keys::PinReferenceKey> {
    block.clone()
}

#[test]
fn pin_guessing_is_slowed_down() {
    let (vault, hand, commands) = limited_world();
    let say = |command: &Command| vault.execute(Caller::Host, std::slice::from_ref(command)).pop().unwrap();
    let [right, wrong, malformed] = &commands[..] else { panic!("three commands") };
    for attempt in 0..PIN_FAILURES_PER_MINUTE_MAX {
        if attempt % 2 == 0 {
            assert!(matches!(say(wrong), Reply::PinVerdict { right: false }));
        } else {
            assert_eq!(refusal(&say(malformed)), Some(Refusal::PinBlock));
        }
    }
    assert_eq!(refusal(&say(right)), Some(Refusal::RateLimited));
    hand.0.store(60_000, Ordering::Relaxed);
    assert!(matches!(say(right), Reply::PinVerdict { right: true }));
}

#[test]
fn a_right_cryptogram_is_answered_and_wrong_ones_are_slowed_down() {
    let world = world();
    let say = |cryptogram| one(&world.host, Caller::Host, verify_cryptogram(world, world.imk_ac.clone(), cryptogram));
    let Reply::CryptogramVerdict { right: true, arpc: Some(arpc) } = say(card_cryptogram()) else {
        panic!("the ARQC is right")
    };
    let issuer = paycrypto::TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
    let scheme = paycrypto::emv::CryptogramVersion::Pboc;
    let card = scheme.icc_master_key(&issuer, PAN.as_bytes(), 1).unwrap();
    let approved = paycrypto::emv::IssuerResponse::ResponseCode(*b"00");
    let expected = scheme.arpc(&card, ATC.to_be_bytes(), [1, 2, 3, 4], &card_cryptogram(), approved).unwrap();
    assert_eq!(arpc[..], expected[..]);
    for _ in 0..CRYPTOGRAM_FAILURES_PER_MINUTE_MAX - 1 {
        assert!(matches!(say([0; 8]), Reply::CryptogramVerdict { right: false, arpc: None }));
    }
    // One more wrong answer would close the door for the other tests of this shared world: the right one reopens it.
    assert!(matches!(say(card_cryptogram()), Reply::CryptogramVerdict { right: true, .. }));
}

#[test]
fn what_was_sealed_opens_under_its_label_only() {
    let world = world();
    let seal = Command::Seal { label: b"one".to_vec(), plaintext: SecretBytes::copy_from(b"blob") };
    let Reply::Sealed { sealed } = one(&world.ped, Caller::Ped, seal) else { panic!("not sealed") };
    let unseal =
        |label: &[u8], sealed: Vec<u8>| one(&world.ped, Caller::Ped, Command::Unseal { label: label.to_vec(), sealed });
    match unseal(b"one", sealed.clone()) {
        Reply::Unsealed { plaintext } => assert_eq!(plaintext.expose(), b"blob"),
        other => panic!("{other:?}"),
    }
    assert_eq!(refusal(&unseal(b"two", sealed.clone())), Some(Refusal::NotAuthentic));
    assert_eq!(refusal(&unseal(b"one", sealed[..20].to_vec())), Some(Refusal::NotAuthentic));
}

#[test]
fn a_damaged_delivery_loads_nothing() {
    let world = world();
    for at in 0..world.delivery.len() {
        let mut delivery = world.delivery.clone();
        delivery[at] ^= 0x80;
        let load = Command::LoadWorkingKeys { master: world.ped_tmk.clone(), version: 9, delivery };
        assert_eq!(refusal(&one(&world.ped, Caller::Ped, load)), Some(Refusal::KeyCheck), "byte {at}");
    }
    for length in [0, 24, 39, 41, 104] {
        let load = Command::LoadWorkingKeys { master: world.ped_tmk.clone(), version: 9, delivery: vec![0; length] };
        assert!(refusal(&one(&world.ped, Caller::Ped, load)).is_some());
    }
}

#[test]
fn too_much_is_refused() {
    let world = world();
    let refused = |command| refusal(&one(&world.ped, Caller::Ped, command));
    assert_eq!(refused(Command::Random { count: 257 }), Some(Refusal::Parameter));
    let long = Command::Seal { label: Vec::new(), plaintext: SecretBytes::new(vec![0; machine::wire::BYTES_MAX + 1]) };
    assert_eq!(refused(long), Some(Refusal::Parameter));
    let long = Command::Seal { label: vec![0; 300], plaintext: SecretBytes::default() };
    assert_eq!(refused(long), Some(Refusal::Parameter));
}

#[test]
fn a_refused_command_does_not_stop_the_ones_behind_it() {
    let mut service = LocalKeys::new(world().ped.clone(), Caller::Ped);
    let replies = service.execute(&[Command::Random { count: 999 }, Command::Random { count: 4 }]);
    assert_eq!(refusal(&replies[0]), Some(Refusal::Parameter));
    assert!(matches!(&replies[1], Reply::Random { bytes } if bytes.len() == 4));
}

/// Everything a vault says about itself in a log line.
#[test]
fn nothing_secret_prints() {
    let world = world();
    let mut printed = format!("{:?}", world.host);
    for command in examples(world, &unchanged) {
        let kind = command.kind();
        printed.push_str(&format!("{command:?}"));
        printed.push_str(&format!("{:?}", one(vault_of(world, kind), caller_for(kind), command)));
    }
    for secret in [PAN, PIN, "0123456789ABCDEF"] {
        assert!(!printed.contains(secret));
    }
}
