//! A host vault and a terminal vault with keys in place, and one right example of every command.
#![allow(dead_code, reason = "each test file takes what it needs")]

use keys::{
    Algorithm, AnyKeyBlock, Caller, Command, CommandKind, CryptogramScheme, IssuerMasterAc, IssuerMasterMac, KeyBlock,
    KeyCheckValue, KeyEncryption, MacAlgorithm, MessageMac, Owner, PinEncryption, PinReferenceKey, Reply,
    SealedAccount, TerminalMaster, TrackEncryption, Usage, UsageMarker, WorkingKeys,
};
use paycrypto::TdesKey;
use paycrypto::emv::CryptogramVersion;
use std::sync::{Arc, OnceLock};
use types::{Expiry, Pan, Pin, SecretBytes, Track2};
use vault_soft::{AuditMemory, Clock, MasterSecrets, SoftVault, SystemClock, SystemEntropy, VaultKind};

pub mod acquirer;

pub const PAN: &str = "6222620000000000012";
pub const TRACK2: &str = "6222620000000000012D30122011234500000";
pub const TERMINAL: &str = "12345678";
pub const ISSUER: &str = "DEMO ISSUER";
pub const PIN: &str = "123456";
pub const MESSAGE: &[u8] = b"MTI, bitmap and fields";
pub const CRYPTOGRAM_DATA: &[u8] = b"amount, terminal, card";
pub const ATC: u16 = 0x001C;
/// The issuer's master key that the test card was made with; a published test value.
pub const ISSUER_KEY: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;

pub struct World {
    pub host: Arc<SoftVault>,
    pub ped: Arc<SoftVault>,
    pub kek: KeyBlock<KeyEncryption>,
    pub issuer_kek: KeyBlock<KeyEncryption>,
    pub tmk: KeyBlock<TerminalMaster>,
    pub ped_tmk: KeyBlock<TerminalMaster>,
    pub ped_kek: KeyBlock<KeyEncryption>,
    pub keys: WorkingKeys,
    pub ped_keys: WorkingKeys,
    pub delivery: Vec<u8>,
    pub imk_ac: KeyBlock<IssuerMasterAc>,
    pub imk_mac: KeyBlock<IssuerMasterMac>,
    pub pvk: KeyBlock<PinReferenceKey>,
    pub account: SealedAccount,
    pub pin_block: [u8; 8],
    pub track: SecretBytes,
    pub acquirer: acquirer::Acquirer,
}

pub fn pan() -> Pan {
    Pan::parse(PAN).unwrap()
}

pub fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

pub fn one(vault: &SoftVault, caller: Caller, command: Command) -> Reply {
    vault.execute(caller, &[command]).pop().unwrap()
}

pub fn created(reply: Reply) -> AnyKeyBlock {
    match reply {
        Reply::KeyCreated { key, .. } => key,
        other => panic!("no key: {other:?}"),
    }
}

pub fn typed<U: UsageMarker>(block: AnyKeyBlock) -> KeyBlock<U> {
    block.typed().unwrap()
}

pub fn vault_with_clock(secrets: MasterSecrets, clock: Box<dyn Clock>) -> SoftVault {
    SoftVault::new(secrets, Box::new(SystemEntropy), clock)
}

/// Commands of audit, custodians, ceremonies and remote loading.
pub fn is_of_the_office(kind: CommandKind) -> bool {
    (CommandKind::ReadAudit..=CommandKind::AcceptLoadToken).contains(&kind)
}

fn vault(kind: VaultKind) -> Arc<SoftVault> {
    let secrets = MasterSecrets::generate(&SystemEntropy, kind).unwrap();
    let (clock, medium) = (Box::new(SystemClock::default()), Box::new(AuditMemory::default()));
    Arc::new(SoftVault::with_audit(secrets, Box::new(SystemEntropy), clock, medium, Some("test 1")).unwrap())
}

/// How many records a vault's audit has.
pub fn records(vault: &SoftVault) -> u64 {
    match one(vault, Caller::Administration, Command::ReadAudit { from: 0, count: 0 }) {
        Reply::AuditPage { page } => page.total,
        other => panic!("no audit: {other:?}"),
    }
}

/// A KEK made by the PED, on its way into the host vault.
pub fn transported_kek(host: &SoftVault, ped: &SoftVault, name: &str) -> (AnyKeyBlock, AnyKeyBlock) {
    let Reply::TransportPublicKey { public_key } = one(host, Caller::Administration, Command::TransportPublicKey {})
    else {
        panic!("no transport key")
    };
    let make = Command::MakeTransportKey { owner: owner(name), version: 1, recipient: public_key };
    let Reply::TransportKeyMade { key, enciphered, check } = one(ped, Caller::Ped, make) else { panic!("no KEK") };
    let import = Command::ImportTransportKey { owner: owner(name), version: 1, enciphered };
    match one(host, Caller::Administration, import) {
        Reply::KeyCreated { key: imported, check: same } => {
            assert_eq!(check, same);
            (imported, key)
        }
        other => panic!("not imported: {other:?}"),
    }
}

fn generate(host: &SoftVault, usage: Usage, algorithm: Algorithm, name: &str, exportable: bool) -> AnyKeyBlock {
    let command = Command::GenerateKey { usage, algorithm, owner: owner(name), version: 1, exportable };
    created(one(host, Caller::Administration, command))
}

/// Brings a known clear key in under a KEK whose clear value nobody outside knows: it is made by exporting.
fn import_known(host: &SoftVault, usage: Usage, under: &(KeyBlock<KeyEncryption>, TdesKey), key: &[u8]) -> AnyKeyBlock {
    let enciphered = paycrypto::key_wrap::wrap_ecb(&under.1, key).unwrap();
    let check = paycrypto::check_value::unionpay_check_value(&TdesKey::new(key).unwrap());
    let command = Command::ImportKey {
        usage,
        algorithm: Algorithm::TdesDouble,
        owner: owner(ISSUER),
        version: 1,
        under: under.0.clone(),
        enciphered,
        check: KeyCheckValue(check),
    };
    created(one(host, Caller::Administration, command))
}

/// A key enciphered to the host's transport key.
pub fn to_transport_key(host: &SoftVault, clear: &[u8]) -> Vec<u8> {
    use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
    let Reply::TransportPublicKey { public_key } = one(host, Caller::Administration, Command::TransportPublicKey {})
    else {
        panic!("no transport key")
    };
    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&public_key).unwrap()).unwrap();
    let mut enciphered = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, clear, &mut enciphered, None).unwrap();
    enciphered
}

/// A KEK known to the test, sent to the host's transport key as an issuer would.
fn issuer_kek(host: &SoftVault) -> (KeyBlock<KeyEncryption>, TdesKey) {
    let clear = 0x1123_4567_89AB_CDEF_FEDC_BA98_7654_3211_u128.to_be_bytes();
    let enciphered = to_transport_key(host, &clear);
    let import = Command::ImportTransportKey { owner: owner(ISSUER), version: 1, enciphered };
    let block = created(one(host, Caller::Administration, import));
    (typed(block), TdesKey::new(&clear).unwrap())
}

/// A world of its own, for tests that use limits up.
pub fn build() -> World {
    world_of(vault(VaultKind::Host), vault(VaultKind::Terminal))
}

/// A world around two vaults.
pub fn world_of(host: Arc<SoftVault>, ped: Arc<SoftVault>) -> World {
    let (kek, ped_kek) = transported_kek(&host, &ped, TERMINAL);
    let (kek, ped_kek) = (typed::<KeyEncryption>(kek), typed::<KeyEncryption>(ped_kek));
    let tmk = generate(&host, Usage::TerminalMaster, Algorithm::TdesDouble, TERMINAL, true);
    let export = Command::ExportKey { key: tmk.clone(), under: kek.clone() };
    let Reply::KeyExported { enciphered, check } = one(&host, Caller::Administration, export) else {
        panic!("TMK does not leave")
    };
    let ped_tmk = typed(created(one(&ped, Caller::Ped, import_tmk(ped_kek.clone(), enciphered, check))));
    let tmk = typed(tmk);
    let Reply::WorkingKeysMade { keys, delivery } = one(&host, Caller::Host, sign_in(&tmk)) else {
        panic!("no working keys")
    };
    let load = Command::LoadWorkingKeys { master: typed_clone(&ped_tmk), version: 1, delivery: delivery.clone() };
    let Reply::WorkingKeysMade { keys: ped_keys, .. } = one(&ped, Caller::Ped, load) else {
        panic!("working keys do not load")
    };
    let issuer = issuer_kek(&host);
    let imk_ac = import_known(&host, Usage::IssuerMasterAc, &issuer, &ISSUER_KEY.to_be_bytes());
    let imk_mac = import_known(&host, Usage::IssuerMasterMac, &issuer, &ISSUER_KEY.to_be_bytes());
    let pvk = typed(generate(&host, Usage::PinReference, Algorithm::HmacSha256, ISSUER, false));
    let (pin_block, track) = from_the_ped(&ped, &ped_keys);
    let account = opened(one(&host, Caller::Host, open_account(track.duplicate(), &keys)));
    let acquirer = acquirer::Acquirer::build(&host);
    World {
        host,
        ped,
        kek,
        issuer_kek: issuer.0,
        tmk,
        ped_tmk,
        ped_kek,
        keys,
        ped_keys,
        delivery,
        imk_ac: typed(imk_ac),
        imk_mac: typed(imk_mac),
        pvk,
        account,
        pin_block,
        track,
        acquirer,
    }
}

fn typed_clone<U: UsageMarker>(block: &KeyBlock<U>) -> KeyBlock<U> {
    block.clone()
}

fn from_the_ped(ped: &SoftVault, keys: &WorkingKeys) -> ([u8; 8], SecretBytes) {
    let pin = Command::EncipherPin { key: keys.pin.clone(), pin: Pin::parse(PIN).unwrap(), pan: pan() };
    let Reply::PinBlock { block } = one(ped, Caller::Ped, pin) else { panic!("no PIN block") };
    let track = Command::EncipherTrack { key: keys.track.clone().unwrap(), track2: Track2::parse(TRACK2).unwrap() };
    let Reply::Track { track2 } = one(ped, Caller::Ped, track) else { panic!("no track") };
    (block, track2)
}

pub fn opened(reply: Reply) -> SealedAccount {
    match reply {
        Reply::AccountOpened { account, .. } => account,
        other => panic!("account does not open: {other:?}"),
    }
}

pub fn import_tmk(under: KeyBlock<KeyEncryption>, enciphered: Vec<u8>, check: KeyCheckValue) -> Command {
    Command::ImportKey {
        usage: Usage::TerminalMaster,
        algorithm: Algorithm::TdesDouble,
        owner: owner(TERMINAL),
        version: 1,
        under,
        enciphered,
        check,
    }
}

fn sign_in(tmk: &KeyBlock<TerminalMaster>) -> Command {
    Command::GenerateWorkingKeys { master: tmk.clone(), version: 1, with_track_key: true, double_length_mac_key: true }
}

fn open_account(track2: SecretBytes, keys: &WorkingKeys) -> Command {
    Command::OpenAccount {
        pan: Some(pan()),
        track2: Some(track2),
        track_key: keys.track.clone(),
        expiry: Expiry::new(30, 12),
        today: Expiry::new(26, 11).unwrap(),
    }
}

/// The world is costly (an RSA key), so tests share one.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(build)
}

/// Changes the key blocks of an example before it is sent.
pub type Change<'a> = &'a dyn Fn(AnyKeyBlock) -> AnyKeyBlock;

fn changed<U: UsageMarker>(block: &KeyBlock<U>, change: Change<'_>) -> KeyBlock<U> {
    change(block.any().clone()).typed().expect("a change keeps the usage")
}

/// The vault that a caller of the examples speaks to.
pub fn vault_of(world: &World, kind: CommandKind) -> &SoftVault {
    use CommandKind as C;
    let of_ped = matches!(
        kind,
        C::LoadWorkingKeys
            | C::EncipherPin
            | C::EncipherTrack
            | C::Tokenise
            | C::Seal
            | C::Unseal
            | C::MakeTransportKey
    );
    if of_ped { &world.ped } else { &world.host }
}

/// One right example of every command, its key blocks passed through `change`.
pub fn examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let mut examples = key_examples(world, change);
    examples.extend(message_examples(world, change));
    examples.extend(issuer_examples(world, change));
    examples.extend(ped_examples(world, change));
    examples.extend(acquirer::exchange_examples(world, change));
    examples.extend(acquirer::pin_examples(world, change));
    examples.extend(acquirer::message_examples(world, change));
    examples.extend(acquirer::card_examples(world, change));
    examples
}

fn key_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let Reply::TransportPublicKey { public_key } =
        one(&world.host, Caller::Administration, Command::TransportPublicKey {})
    else {
        panic!("no transport key")
    };
    let make = Command::MakeTransportKey { owner: owner(TERMINAL), version: 2, recipient: public_key };
    let Reply::TransportKeyMade { enciphered, .. } = one(&world.ped, Caller::Ped, make) else { panic!("no KEK") };
    let export = Command::ExportKey { key: world.tmk.any().clone(), under: world.kek.clone() };
    let Reply::KeyExported { enciphered: tmk, check } = one(&world.host, Caller::Administration, export) else {
        panic!("TMK does not leave")
    };
    vec![
        Command::GenerateKey {
            usage: Usage::TerminalMaster,
            algorithm: Algorithm::TdesDouble,
            owner: owner(TERMINAL),
            version: 2,
            exportable: true,
        },
        Command::TransportPublicKey {},
        Command::ImportTransportKey { owner: owner(TERMINAL), version: 2, enciphered },
        import_tmk(changed(&world.kek, change), tmk, check),
        Command::ExportKey { key: change(world.tmk.any().clone()), under: changed(&world.kek, change) },
        Command::CheckKey { key: change(world.keys.pin.any().clone()) },
        sign_in(&changed(&world.tmk, change)),
        Command::LoadWorkingKeys {
            master: changed(&world.ped_tmk, change),
            version: 2,
            delivery: world.delivery.clone(),
        },
        Command::Random { count: 8 },
    ]
}

fn message_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let mac = |key: KeyBlock<MessageMac>| Command::MakeMac {
        key,
        algorithm: MacAlgorithm::UnionPayEcb,
        message: SecretBytes::copy_from(MESSAGE),
    };
    let Reply::Mac { mac: right } = one(&world.host, Caller::Host, mac(world.keys.mac.clone())) else {
        panic!("no MAC")
    };
    let track_key: KeyBlock<TrackEncryption> = changed(world.keys.track.as_ref().unwrap(), change);
    vec![
        mac(changed(&world.keys.mac, change)),
        Command::VerifyMac {
            key: changed(&world.keys.mac, change),
            algorithm: MacAlgorithm::UnionPayEcb,
            message: SecretBytes::copy_from(MESSAGE),
            mac: right,
        },
        Command::OpenAccount {
            pan: Some(pan()),
            track2: Some(world.track.duplicate()),
            track_key: Some(track_key),
            expiry: Expiry::new(30, 12),
            today: Expiry::new(26, 11).unwrap(),
        },
        Command::TranslatePin {
            block: world.pin_block,
            from: changed(&world.keys.pin, change),
            to: changed(&world.keys.pin, change),
            account: world.account.clone(),
        },
    ]
}

pub fn reference(world: &World) -> [u8; 16] {
    let make = make_reference(world, &world.keys.pin, &world.pvk);
    match one(&world.host, Caller::Administration, make) {
        Reply::PinReference { reference } => reference,
        other => panic!("no PIN reference: {other:?}"),
    }
}

fn make_reference(world: &World, key: &KeyBlock<PinEncryption>, pvk: &KeyBlock<PinReferenceKey>) -> Command {
    Command::MakePinReference {
        block: world.pin_block,
        key: key.clone(),
        account: world.account.clone(),
        reference_key: pvk.clone(),
    }
}

/// What the test card answers to [`CRYPTOGRAM_DATA`].
pub fn card_cryptogram() -> [u8; 8] {
    let issuer = TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
    let card = CryptogramVersion::Pboc.icc_master_key(&issuer, PAN.as_bytes(), 1).unwrap();
    CryptogramVersion::Pboc.cryptogram(&card, ATC.to_be_bytes(), [1, 2, 3, 4], CRYPTOGRAM_DATA).unwrap()
}

pub fn verify_cryptogram(world: &World, master: KeyBlock<IssuerMasterAc>, cryptogram: [u8; 8]) -> Command {
    Command::VerifyCryptogram {
        master,
        account: world.account.clone(),
        card_sequence: 1,
        scheme: CryptogramScheme::UNIONPAY,
        atc: ATC,
        unpredictable_number: [1, 2, 3, 4],
        data: CRYPTOGRAM_DATA.to_vec(),
        cryptogram,
        response_code: *b"00",
    }
}

fn issuer_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    vec![
        Command::VerifyPin {
            block: world.pin_block,
            key: changed(&world.keys.pin, change),
            account: world.account.clone(),
            reference_key: changed(&world.pvk, change),
            reference: reference(world),
        },
        make_reference(world, &changed(&world.keys.pin, change), &changed(&world.pvk, change)),
        verify_cryptogram(world, changed(&world.imk_ac, change), card_cryptogram()),
        Command::MakeScriptMac {
            master: changed(&world.imk_mac, change),
            account: world.account.clone(),
            card_sequence: 1,
            scheme: CryptogramScheme::UNIONPAY,
            atc: ATC,
            cryptogram: card_cryptogram(),
            data: vec![0x04, 0xDA, 0x9F, 0x79, 0x0A],
        },
    ]
}

fn ped_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let seal = Command::Seal { label: b"reversal".to_vec(), plaintext: SecretBytes::copy_from(b"blob") };
    let Reply::Sealed { sealed } = one(&world.ped, Caller::Ped, seal) else { panic!("not sealed") };
    let Reply::TransportPublicKey { public_key } =
        one(&world.host, Caller::Administration, Command::TransportPublicKey {})
    else {
        panic!("no transport key")
    };
    vec![
        Command::EncipherPin { key: changed(&world.ped_keys.pin, change), pin: Pin::parse(PIN).unwrap(), pan: pan() },
        Command::EncipherTrack {
            key: changed(world.ped_keys.track.as_ref().unwrap(), change),
            track2: Track2::parse(TRACK2).unwrap(),
        },
        Command::Tokenise { pan: pan() },
        Command::Seal { label: b"reversal".to_vec(), plaintext: SecretBytes::copy_from(b"blob") },
        Command::Unseal { label: b"reversal".to_vec(), sealed },
        Command::MakeTransportKey { owner: owner(TERMINAL), version: 1, recipient: public_key },
    ]
}
