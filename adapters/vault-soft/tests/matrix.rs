//! The whole matrix: command × caller × usage of each key × PIN format, said to the vault as bytes on the socket, where
//! no compiler helps. What the golden table does not allow is refused.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod world;

use keys::{
    Algorithm, AnyKeyBlock, Caller, Command, CommandKind, CustodianName, CustodianProof, EncipheredPinBlock, KeyBlock,
    PinEncryption, PinFormat, PinSource, PinTranslation, PinTranslationPolicy, Refusal, Reply, Usage, Validity,
    nameable_usages, permitted, pin_translation,
};
use machine::wire::Encode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{Expiry, Pan, Pin, SecretBytes};
use vault_soft::{AuditMemory, Clock, MasterSecrets, SoftVault, SystemClock, SystemEntropy, VaultKind};
use world::*;

fn refusal(reply: &Reply) -> Option<Refusal> {
    match reply {
        Reply::Refused { why } => Some(*why),
        _ => None,
    }
}

/// A real key block of this vault for each usage.
fn blocks_of(world: &World, vault: &SoftVault) -> BTreeMap<Usage, AnyKeyBlock> {
    let algorithm_of = |usage: Usage| Algorithm::ALL.into_iter().find(|algorithm| usage.suits(*algorithm)).unwrap();
    let make = |usage: Usage| {
        if usage == Usage::DukptInitial {
            return derived_initial_key(world);
        }
        let algorithm = if usage == Usage::MessageMac { Algorithm::TdesDouble } else { algorithm_of(usage) };
        let command = Command::GenerateKey { usage, algorithm, owner: owner(ISSUER), version: 7, exportable: true };
        created(one(vault, Caller::Administration, command))
    };
    Usage::ALL.into_iter().map(|usage| (usage, make(usage))).collect()
}

fn derived_initial_key(world: &World) -> AnyKeyBlock {
    let derive = Command::DeriveInitialKey {
        base: world.acquirer.aes_bdk.clone(),
        initial_key_id: acquirer::AES_DEVICE,
        owner: owner(ISSUER),
        version: 1,
    };
    created(one(&world.host, Caller::Administration, derive))
}

/// The example's bytes with one key block replaced by another.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(old.len()).position(|window| window == old)?;
    Some([&bytes[..at], new, &bytes[at + old.len()..]].concat())
}

/// Key blocks that stand in the examples, by kind and slot.
fn slots(world: &World) -> Vec<(Command, Vec<AnyKeyBlock>)> {
    let seen: RefCell<Vec<AnyKeyBlock>> = RefCell::default();
    let note = |block: AnyKeyBlock| {
        seen.borrow_mut().push(block.clone());
        block
    };
    let commands = examples(world, &note);
    let all = seen.into_inner();
    let place = |command: &Command, block: &AnyKeyBlock| {
        let (bytes, own) = (command.to_bytes(), block.to_bytes());
        bytes.windows(own.len()).position(|window| window == own)
    };
    commands
        .into_iter()
        .map(|command| {
            let mut own: Vec<AnyKeyBlock> = Vec::new();
            for block in &all {
                if !own.contains(block) && place(&command, block).is_some() {
                    own.push(block.clone());
                }
            }
            // In the order of the command's fields.
            own.sort_by_key(|block| place(&command, block));
            (command, own)
        })
        .collect()
}

/// Whether this slot takes any usage, so that the vault and not the encoding must judge.
fn is_untyped(kind: CommandKind, slot: usize) -> bool {
    use CommandKind as C;
    matches!(kind, C::CheckKey | C::CheckKeyValue) || (matches!(kind, C::ExportKey | C::ExportKeyBlock) && slot == 0)
}

/// What came of saying bytes as a caller.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NotACommand,
    Refused(Refusal),
    Answered,
}

impl Outcome {
    /// Refused for what it asks, not for the data that it brings.
    fn is_beyond_the_table(&self) -> bool {
        let Outcome::Refused(why) = self else { return false };
        matches!(why, Refusal::NotPermitted | Refusal::WrongKey | Refusal::NotAuthentic | Refusal::NotExportable)
    }
}

/// As [`say`], and what reached beyond the table has a record of its own.
fn say_on_record(vault: &SoftVault, caller: Caller, bytes: &[u8], recorded: &mut u32) -> Outcome {
    let before = records(vault);
    let outcome = say(vault, caller, bytes);
    if outcome.is_beyond_the_table() {
        assert_eq!(records(vault), before + 1, "{caller:?}: {outcome:?} has no record");
        *recorded += 1;
    }
    outcome
}

fn say(vault: &SoftVault, caller: Caller, bytes: &[u8]) -> Outcome {
    let Ok(command) = Command::from_bytes(bytes) else { return Outcome::NotACommand };
    match refusal(&one(vault, caller, command)) {
        Some(why) => Outcome::Refused(why),
        None => Outcome::Answered,
    }
}

/// Commands × callers × key slots × usages, each with a real key of that usage and with one whose header was changed to
/// the right usage.
#[test]
fn a_key_of_another_usage_is_refused_in_every_slot_of_every_command() {
    // Wrong keys use limits up: this test must not share its world.
    let world = &world_of(unhurried(VaultKind::Host), unhurried(VaultKind::Terminal));
    let (mut said, mut answered, mut recorded) = (0_u32, 0_u32, 0_u32);
    let blocks = [blocks_of(world, &world.host), blocks_of_ped(world)];
    for (command, slots) in slots(world) {
        let kind = command.kind();
        let vault = vault_of(world, kind);
        let blocks = &blocks[usize::from(core::ptr::eq(vault, &*world.ped))];
        for (slot, own) in slots.iter().enumerate() {
            for (usage, other) in blocks {
                let swapped = replaced(&command.to_bytes(), &own.to_bytes(), &other.to_bytes()).unwrap();
                let mut relabelled = other.clone();
                relabelled.header.usage = own.header.usage;
                let forged = replaced(&command.to_bytes(), &own.to_bytes(), &relabelled.to_bytes()).unwrap();
                for caller in Caller::ALL {
                    said += 2;
                    let outcome = say_on_record(vault, caller, &swapped, &mut recorded);
                    if !may_name(caller, kind, slot, own.header.usage, *usage) {
                        assert_ne!(outcome, Outcome::Answered, "{caller:?} {kind:?} slot {slot} with {usage:?}");
                    }
                    answered += u32::from(outcome == Outcome::Answered);
                    if *usage != own.header.usage {
                        let outcome = say_on_record(vault, caller, &forged, &mut recorded);
                        assert_ne!(outcome, Outcome::Answered, "{caller:?} {kind:?} slot {slot}: {usage:?} relabelled");
                    }
                }
            }
        }
    }
    assert!(said > 4_000, "only {said} combinations");
    assert!(answered > 50, "only {answered} right ones: the examples are not right");
    assert!(recorded > 1_000, "only {recorded} refusals with a record");
}

/// A vault in whose time every refusal has a record of its own.
fn unhurried(kind: VaultKind) -> Arc<SoftVault> {
    let secrets = MasterSecrets::generate(&SystemEntropy, kind).unwrap();
    let (clock, medium) = (Box::new(Minutes::default()), Box::new(AuditMemory::default()));
    Arc::new(SoftVault::with_audit(secrets, Box::new(SystemEntropy), clock, medium, Some("test 1")).unwrap())
}

/// A clock that goes on a minute with every look: the meter of refusals never counts two together.
#[derive(Default)]
struct Minutes(AtomicU64);

impl Clock for Minutes {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(60_000, Ordering::Relaxed)
    }
}

/// Every caller × command × usage that the table does not have, each refused and each with a record of its own.
#[test]
fn what_the_table_does_not_have_is_refused_and_recorded() {
    let world = world();
    let vault = unhurried(VaultKind::Host);
    let usages = Usage::ALL.into_iter().flat_map(|usage| Algorithm::ALL.map(|algorithm| (usage, algorithm)));
    let naming = usages.flat_map(|(usage, algorithm)| naming(world, usage, algorithm));
    let office = [Command::ListCustodians {}, Command::CeremonyStatus {}, Command::ReadAudit { from: 1, count: 1 }];
    let mut refused = 0_u32;
    for command in examples(world, &unchanged).into_iter().chain(naming).chain(office) {
        let (kind, named) = (command.kind(), command.named_usages());
        for caller in Caller::ALL {
            let usages = nameable_usages(caller, kind);
            if permitted(caller, kind) && named.iter().all(|usage| usages.contains(usage)) {
                continue;
            }
            let before = records(&vault);
            let reply = vault.execute(caller, &[Command::from_bytes(&command.to_bytes()).unwrap()]).pop().unwrap();
            assert_eq!(refusal(&reply), Some(Refusal::NotPermitted), "{caller:?} {kind:?} {named:?}");
            assert_eq!(records(&vault), before + 1, "{caller:?} {kind:?} {named:?}");
            refused += 1;
        }
    }
    assert!(refused > 1_000, "only {refused} refusals");
}

fn unchanged(block: AnyKeyBlock) -> AnyKeyBlock {
    block
}

fn blocks_of_ped(world: &World) -> BTreeMap<Usage, AnyKeyBlock> {
    Usage::ALL.into_iter().map(|usage| (usage, relabel_for(world, usage))).collect()
}

/// The PED's vault has few real keys; the rest is foreign to it.
fn relabel_for(world: &World, usage: Usage) -> AnyKeyBlock {
    match usage {
        Usage::TerminalMaster => world.ped_tmk.any().clone(),
        Usage::PinEncryption => world.ped_keys.pin.any().clone(),
        Usage::MessageMac => world.ped_keys.mac.any().clone(),
        Usage::TrackEncryption => world.ped_keys.track.as_ref().unwrap().any().clone(),
        Usage::KeyEncryption => world.ped_kek.any().clone(),
        other => {
            let mut block = world.ped_keys.pin.any().clone();
            block.header.usage = other;
            // Or giving it back its usage would make it whole again.
            block.header.version += 1;
            block
        }
    }
}

/// What the golden table says of a usage in a slot.
fn may_name(caller: Caller, kind: CommandKind, slot: usize, own: Usage, usage: Usage) -> bool {
    if !permitted(caller, kind) {
        return false;
    }
    if is_untyped(kind, slot) { nameable_usages(caller, kind).contains(&usage) } else { usage == own }
}

/// Commands that say a usage as a parameter: every usage × algorithm × caller.
#[test]
fn a_usage_is_only_named_where_the_table_has_it() {
    let world = world();
    for usage in Usage::ALL {
        for algorithm in Algorithm::ALL {
            for caller in Caller::ALL {
                for command in naming(world, usage, algorithm) {
                    let kind = command.kind();
                    let outcome = say(&world.host, caller, &command.to_bytes());
                    if !nameable_usages(caller, kind).contains(&usage) {
                        assert_eq!(outcome, Outcome::Refused(Refusal::NotPermitted), "{caller:?} {kind:?} {usage:?}");
                    } else if !usage.suits(algorithm) {
                        assert!(matches!(outcome, Outcome::Refused(_)), "{caller:?} {kind:?} {usage:?} {algorithm:?}");
                    } else if kind == CommandKind::GenerateKey {
                        assert_eq!(outcome, Outcome::Answered, "{usage:?} {algorithm:?}");
                    }
                }
            }
        }
    }
}

/// Ceremonies: every usage × algorithm × caller, on a vault where everything else is in place.
#[test]
fn a_ceremony_makes_what_the_table_and_the_usage_allow() {
    let world = &build();
    for name in ["li.wei", "wang.fang"] {
        let passphrase = SecretBytes::copy_from(b"correct horse battery");
        let custodian = CustodianProof { name: CustodianName::new(name).unwrap(), passphrase };
        let register = Command::RegisterCustodian { custodian, approver: None };
        assert_eq!(one(&world.host, Caller::Administration, register).name(), "Done");
    }
    let mut opened = 0_u32;
    for usage in Usage::ALL {
        for algorithm in Algorithm::ALL {
            for caller in Caller::ALL {
                let may = nameable_usages(caller, CommandKind::OpenCeremony).contains(&usage);
                let (owner, exportable) = (owner(ISSUER), false);
                let open = Command::OpenCeremony { usage, algorithm, owner, version: 1, exportable, components: 2 };
                match one(&world.host, caller, Command::from_bytes(&open.to_bytes()).unwrap()) {
                    Reply::Ceremony { state } => {
                        assert!(may && usage.suits(algorithm), "{caller:?} {usage:?} {algorithm:?}");
                        let abort = Command::AbortCeremony { ceremony: state.ceremony };
                        assert_eq!(one(&world.host, Caller::Administration, abort).name(), "Done");
                        opened += 1;
                    }
                    reply => {
                        let expected = if may { Refusal::WrongKey } else { Refusal::NotPermitted };
                        assert_eq!(refusal(&reply), Some(expected), "{caller:?} {usage:?} {algorithm:?}");
                        assert!(!may || !usage.suits(algorithm), "{caller:?} {usage:?} {algorithm:?}");
                    }
                }
            }
        }
    }
    assert!(opened > 20, "only {opened} ceremonies");
}

fn load_request(world: &World) -> (Vec<u8>, [u8; 32]) {
    let Reply::VaultIdentity { distribution, .. } = one(&world.host, Caller::Administration, Command::VaultIdentity {})
    else {
        panic!("no identity")
    };
    let pin = Command::PinDistributionHost { public_key: distribution };
    assert_eq!(one(&world.ped, Caller::Ped, pin).name(), "Done");
    let Reply::VaultIdentity { terminal, .. } = one(&world.ped, Caller::Ped, Command::VaultIdentity {}) else {
        panic!("no identity")
    };
    match one(&world.ped, Caller::Ped, Command::BeginRemoteLoad { owner: owner(ISSUER) }) {
        Reply::LoadRequest { request } => (request, terminal),
        other => panic!("no request: {other:?}"),
    }
}

/// Remote loading: a real key of every usage × caller, and each called a terminal master key.
#[test]
fn a_load_token_carries_what_the_table_has() {
    let world = &build();
    let (request, terminal) = load_request(world);
    for (usage, key) in blocks_of(world, &world.host) {
        for caller in Caller::ALL {
            let make = |key: AnyKeyBlock| Command::MakeLoadToken { request: request.clone(), terminal, key }.to_bytes();
            let may = nameable_usages(caller, CommandKind::MakeLoadToken).contains(&usage);
            let expected = if may { Outcome::Answered } else { Outcome::Refused(Refusal::NotPermitted) };
            assert_eq!(say(&world.host, caller, &make(key.clone())), expected, "{caller:?} {usage:?}");
            if usage != Usage::TerminalMaster {
                let mut relabelled = key.clone();
                relabelled.header.usage = Usage::TerminalMaster;
                let outcome = say(&world.host, caller, &make(relabelled));
                let why = if permitted(caller, CommandKind::MakeLoadToken) {
                    Refusal::NotAuthentic
                } else {
                    Refusal::NotPermitted
                };
                assert_eq!(outcome, Outcome::Refused(why), "{caller:?} {usage:?} relabelled");
            }
        }
    }
}

fn naming(world: &World, usage: Usage, algorithm: Algorithm) -> Vec<Command> {
    let (version, exportable, owner) = (1, false, owner(ISSUER));
    let import = Command::ImportKey {
        usage,
        algorithm,
        owner: owner.clone(),
        version,
        under: world.issuer_kek.clone(),
        enciphered: vec![0x77; algorithm.key_bytes()],
        check: keys::KeyCheckValue([0; 4]),
    };
    let validity = Validity { not_before: None, not_after: Some(u32::MAX) };
    vec![
        Command::GenerateKey { usage, algorithm, owner: owner.clone(), version, exportable },
        Command::GenerateKeyWithValidity { usage, algorithm, owner, version, exportable, validity },
        import,
        acquirer::import_block(&world.acquirer.kbpk, usage, b"D0016P0AB00N0000".to_vec()),
    ]
}

/// A vault of its own, with PIN keys of every kind and a card.
struct PinBench {
    vault: SoftVault,
    tdes: KeyBlock<PinEncryption>,
    aes: KeyBlock<PinEncryption>,
    sm4: KeyBlock<PinEncryption>,
    account: keys::SealedAccount,
}

impl PinBench {
    fn new(policy: PinTranslationPolicy) -> Self {
        let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
        let vault = vault_with_clock(secrets, Box::new(SystemClock::default())).with_pin_policy(policy);
        let key = |algorithm| {
            let (usage, owner) = (Usage::PinEncryption, owner(ISSUER));
            let command = Command::GenerateKey { usage, algorithm, owner, version: 1, exportable: false };
            typed(created(one(&vault, Caller::Administration, command)))
        };
        let (tdes, aes, sm4) = (key(Algorithm::TdesDouble), key(Algorithm::Aes128), key(Algorithm::Sm4));
        let today = Expiry::new(26, 11).unwrap();
        let open = Command::OpenAccount { pan: Some(pan()), track2: None, track_key: None, expiry: None, today };
        let account = opened(one(&vault, Caller::Host, open));
        Self { vault, tdes, aes, sm4, account }
    }

    fn key_for(&self, format: PinFormat) -> &KeyBlock<PinEncryption> {
        match format {
            PinFormat::Iso4 => &self.aes,
            PinFormat::UnionPaySm4 => &self.sm4,
            _ => &self.tdes,
        }
    }

    fn translate(&self, pin: &EncipheredPinBlock, to: &KeyBlock<PinEncryption>, to_format: PinFormat) -> Reply {
        let command =
            Command::TranslatePinBlock { pin: pin.clone(), account: self.account.clone(), to: to.clone(), to_format };
        one(&self.vault, Caller::Host, command)
    }

    /// A right block of a format; none for those that nobody makes.
    fn block(&self, format: PinFormat) -> EncipheredPinBlock {
        let encipher = Command::EncipherPin {
            key: self.tdes.clone(),
            pin: Pin::parse(PIN).unwrap(),
            pan: Pan::parse(PAN).unwrap(),
        };
        let Reply::PinBlock { block } = one(&self.vault, Caller::Ped, encipher) else { panic!("no PIN block") };
        let iso0 = EncipheredPinBlock {
            format: PinFormat::Iso0,
            under: PinSource::Key(self.tdes.clone()),
            block: block.to_vec(),
        };
        match format {
            PinFormat::Iso0 => iso0,
            PinFormat::Iso4 | PinFormat::UnionPaySm4 => {
                let key = self.key_for(format);
                let Reply::PinBlockTranslated { block } = self.translate(&iso0, key, format) else {
                    panic!("format 0 becomes {format:?}")
                };
                EncipheredPinBlock { format, under: PinSource::Key(key.clone()), block }
            }
            // Nobody can make these here; the format's name alone must be enough to refuse, or the block is malformed.
            other => EncipheredPinBlock { format: other, ..iso0 },
        }
    }
}

#[test]
fn pin_formats_translate_as_the_matrix_says_and_no_other_way() {
    let all = PinTranslationPolicy { iso3_to_iso0: true, iso4_to_iso0: true };
    for policy in [PinTranslationPolicy::default(), all] {
        let bench = PinBench::new(policy);
        for from in PinFormat::ALL {
            let pin = bench.block(from);
            for to in PinFormat::ALL {
                let reply = bench.translate(&pin, bench.key_for(to), to);
                let expected = match pin_translation(from, to) {
                    PinTranslation::Refused => Some(Refusal::NotPermitted),
                    _ if !policy.allows(from, to) => Some(Refusal::NotPermitted),
                    // A format 0 block called format 3: right by the matrix, malformed by its control nibble.
                    _ if from == PinFormat::Iso3 => Some(Refusal::PinBlock),
                    _ => None,
                };
                assert_eq!(refusal(&reply), expected, "{from:?} to {to:?} under {policy:?}");
                let wrong_key = if to == PinFormat::Iso4 { &bench.tdes } else { &bench.aes };
                let reply = bench.translate(&pin, wrong_key, to);
                assert!(refusal(&reply).is_some(), "{from:?} to {to:?} under a key of another algorithm");
            }
        }
    }
}

#[test]
fn verifying_takes_only_formats_that_are_bound_to_an_account() {
    let world = world();
    for format in PinFormat::ALL {
        for command in acquirer::pin_examples(world, &|block| block) {
            let kind = command.kind();
            let bytes = with_format(command, format).to_bytes();
            for caller in Caller::ALL {
                let outcome = say(&world.host, caller, &bytes);
                if !permitted(caller, kind) || (kind != CommandKind::TranslatePinBlock && !keys::verifiable(format)) {
                    assert_eq!(outcome, Outcome::Refused(Refusal::NotPermitted), "{caller:?} {kind:?} {format:?}");
                }
                if matches!(format, PinFormat::Iso1 | PinFormat::Iso2) {
                    assert_eq!(outcome, Outcome::Refused(Refusal::NotPermitted), "{caller:?} {kind:?} {format:?}");
                }
            }
        }
    }
}

/// The same command with its PIN block's format called otherwise.
fn with_format(command: Command, to: PinFormat) -> Command {
    let change = |pin: EncipheredPinBlock| EncipheredPinBlock { format: to, ..pin };
    match command {
        Command::TranslatePinBlock { pin, account, to, to_format } => {
            Command::TranslatePinBlock { pin: change(pin), account, to, to_format }
        }
        Command::VerifyPinReference { pin, account, reference_key, reference } => {
            Command::VerifyPinReference { pin: change(pin), account, reference_key, reference }
        }
        Command::VerifyPinVerificationValue { pin, account, key, key_index, value } => {
            Command::VerifyPinVerificationValue { pin: change(pin), account, key, key_index, value }
        }
        Command::VerifyPinOffset { pin, account, key, table, validation, offset } => {
            Command::VerifyPinOffset { pin: change(pin), account, key, table, validation, offset }
        }
        Command::MakePinVerificationValue { pin, account, key, key_index } => {
            Command::MakePinVerificationValue { pin: change(pin), account, key, key_index }
        }
        Command::MakePinOffset { pin, account, key, table, validation } => {
            Command::MakePinOffset { pin: change(pin), account, key, table, validation }
        }
        other => other,
    }
}

/// Every example comes back from its bytes, and no prefix of one is a command.
#[test]
fn every_command_and_answer_round_trips() {
    let world = world();
    for command in examples(world, &|block| block) {
        let kind = command.kind();
        let bytes = command.to_bytes();
        assert_eq!(Command::from_bytes(&bytes).unwrap().to_bytes(), bytes, "{kind:?}");
        assert!((0..bytes.len()).all(|length| Command::from_bytes(&bytes[..length]).is_err()), "{kind:?}");
        let caller = Caller::ALL.into_iter().find(|caller| permitted(*caller, kind)).unwrap();
        let reply = one(vault_of(world, kind), caller, command).to_bytes();
        assert_eq!(Reply::from_bytes(&reply).unwrap().to_bytes(), reply, "the answer to {kind:?}");
        assert!((0..reply.len()).all(|length| Reply::from_bytes(&reply[..length]).is_err()), "the answer to {kind:?}");
    }
}
