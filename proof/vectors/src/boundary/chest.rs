//! One key process and the published keys that were brought into it.

use super::{KeyDoors, KeyProcesses, differs, stray, unsayable};
use crate::mac::case::{Check, Problem, refused};
use keys::{
    Algorithm, AnyKeyBlock, CheckMethod, Command, CustodianName, CustodianProof, ExpectedCheck, KeyBlock,
    KeyBlockProtection, KeyBlockVersion, KeyCheckValue, KeyEncryption, Owner, Refusal, Reply, SealedAccount, Usage,
    UsageMarker, Validity, interchange_header,
};
use paycrypto::TdesKey;
use paycrypto::check_value::unionpay_check_value;
use paycrypto::key_block::{
    self as blocks, BlockContent, Exportability, HmacHash, ImportPolicy, KeyBlockHeader, KeyUsage, LengthHiding,
    ModeOfUse, OptionalBlock, ProtectionKey, Version, WrapOptions, padding_bytes_needed, unwrap, wrap,
};
use paycrypto::key_material::is_weak_tdes_key;
use paycrypto::key_wrap::wrap_ecb;
use serde_json::Value;
use std::collections::BTreeMap;
use types::{CardToken, Pan, SecretBytes};

/// Whose keys they are: a protection key moves keys of its own owner only.
const OWNER: &str = "vectors";
/// The runner's own keys. They protect published test keys and need not be secret.
const KEK: u128 = 0x0B15_2A4C_6E80_91A2_B3C4_D5E6_F708_192A;
const PROTECTION_128: [u8; 16] = [0x5A; 16];
const PROTECTION_256: [u8; 32] = [0xA7; 32];
const COMPONENT: u8 = 0x3C;
const PASSPHRASE: &str = "a custodian's passphrase";
/// Length hiding wants padding bytes; a test's need not be random.
const PADDING: u8 = 9;

/// Usages that may come without a key block around them.
const WITHOUT_BLOCK: [Usage; 7] = [
    Usage::TerminalMaster,
    Usage::PinEncryption,
    Usage::MessageMac,
    Usage::TrackEncryption,
    Usage::IssuerMasterAc,
    Usage::IssuerMasterMac,
    Usage::IssuerMasterEncipherment,
];

/// A key process with what the runner put into it.
pub struct Chest<'a, 'p> {
    processes: &'a mut KeyProcesses<'p>,
    published: &'a [&'a Value],
    doors: Option<KeyDoors>,
    transport: Vec<u8>,
    keys: BTreeMap<(Usage, Algorithm, Vec<u8>), AnyKeyBlock>,
    custodians: usize,
    remembers_guesses: bool,
    limit_reached: bool,
    fault: Option<anyhow::Error>,
}

fn owner() -> Owner {
    Owner::new(OWNER).expect("a constant owner")
}

fn custodian(number: usize) -> CustodianProof {
    let name = CustodianName::new(format!("custodian{number}")).expect("a constant name");
    CustodianProof { name, passphrase: SecretBytes::copy_from(PASSPHRASE.as_bytes()) }
}

impl<'a, 'p> Chest<'a, 'p> {
    /// Starts a key process when it is first asked something.
    pub fn new(processes: &'a mut KeyProcesses<'p>, published: &'a [&'a Value]) -> Self {
        Self {
            processes,
            published,
            doors: None,
            transport: Vec::new(),
            keys: BTreeMap::new(),
            custodians: 0,
            remembers_guesses: false,
            limit_reached: false,
            fault: None,
        }
    }

    /// All cases of the run: some publish what another one needs.
    pub fn published(&self) -> &'a [&'a Value] {
        self.published
    }

    /// Whether the vault refused a PIN block, which a fresh one might not: the block may be tied to another card.
    pub fn remembers_guesses(&self) -> bool {
        self.remembers_guesses
    }

    /// Whether the vault refused for a limit on guessing: that says nothing of the case.
    pub fn limit_reached(&self) -> bool {
        self.limit_reached
    }

    /// Ends this key process; the next question goes to a new one.
    pub fn start_afresh(&mut self) {
        self.doors = None;
        self.transport.clear();
        self.keys.clear();
        self.custodians = 0;
        self.remembers_guesses = false;
        self.limit_reached = false;
    }

    /// Why no key process could be started, if so.
    pub fn take_fault(&mut self) -> anyhow::Result<()> {
        self.fault.take().map_or(Ok(()), Err)
    }

    fn doors(&mut self) -> Check<&mut KeyDoors> {
        if self.doors.is_none() {
            match (self.processes.fresh)() {
                Ok(doors) => self.doors = Some(doors),
                Err(fault) => self.fault = Some(fault),
            }
        }
        self.doors.as_mut().ok_or_else(|| Problem::Unrunnable("no key process".to_owned()))
    }

    fn answered(&mut self, replies: Vec<Reply>) -> Check<Reply> {
        match replies.into_iter().next() {
            Some(Reply::Refused { why: Refusal::Unavailable }) | None => {
                Err(Problem::Unrunnable(Refusal::Unavailable.to_string()))
            }
            Some(Reply::Refused { why }) => {
                self.remembers_guesses |= why == Refusal::PinBlock;
                self.limit_reached |= why == Refusal::RateLimited;
                Err(refused(why))
            }
            Some(reply) => Ok(reply),
        }
    }

    /// Asks as the host.
    pub fn host(&mut self, command: Command) -> Check<Reply> {
        let replies = self.doors()?.host.execute(&[command]);
        self.answered(replies)
    }

    /// Asks as the administration.
    pub fn administration(&mut self, command: Command) -> Check<Reply> {
        let replies = self.doors()?.administration.execute(&[command]);
        self.answered(replies)
    }

    fn created(&mut self, command: Command) -> Check<(AnyKeyBlock, KeyCheckValue)> {
        match self.administration(command)? {
            Reply::KeyCreated { key, check } => Ok((key, check)),
            other => Err(stray(&other)),
        }
    }

    /// Seals an account number for later commands.
    pub fn account(&mut self, pan: &str) -> Check<SealedAccount> {
        Ok(self.account_with_token(pan)?.1)
    }

    /// Seals an account number, and tells its token.
    pub fn account_with_token(&mut self, pan: &str) -> Check<(CardToken, SealedAccount)> {
        let pan = Pan::parse(pan).map_err(|_| unsayable("an account number of other than 12 to 19 digits"))?;
        match self.host(Command::SealAccount { pan, expiry: None })? {
            Reply::AccountSealed { token, account, .. } => Ok((token, account)),
            other => Err(stray(&other)),
        }
    }

    /// A published key in the vault, for the usage of the type.
    pub fn bring<U: UsageMarker>(&mut self, algorithm: Algorithm, key: &[u8]) -> Check<KeyBlock<U>> {
        self.bring_any(U::USAGE, algorithm, key)?.typed().map_err(refused)
    }

    /// A published double-length TDES key.
    pub fn bring_double<U: UsageMarker>(&mut self, key: &[u8]) -> Check<KeyBlock<U>> {
        self.bring(Algorithm::TdesDouble, key)
    }

    /// A published key in the vault. A weak one must be refused, and skips the case.
    pub fn bring_any(&mut self, usage: Usage, algorithm: Algorithm, key: &[u8]) -> Check<AnyKeyBlock> {
        let name = (usage, algorithm, key.to_vec());
        if let Some(block) = self.keys.get(&name) {
            return Ok(block.clone());
        }
        if key.len() != algorithm.key_bytes() || !usage.suits(algorithm) {
            return Err(unsayable("a key of a length that its usage does not have"));
        }
        let brought = self.brought(usage, algorithm, key);
        let all_zero = algorithm == Algorithm::Sm4 && key.iter().all(|byte| *byte == 0);
        if all_zero || (algorithm.is_des() && is_weak_tdes_key(key)) {
            return Err(weak(brought.map(|_| ())));
        }
        let block = brought?;
        self.keys.insert(name, block.clone());
        Ok(block)
    }

    fn brought(&mut self, usage: Usage, algorithm: Algorithm, key: &[u8]) -> Check<AnyKeyBlock> {
        if algorithm == Algorithm::Sm4 {
            return self.halved(usage, algorithm, key);
        }
        if WITHOUT_BLOCK.contains(&usage) && matches!(algorithm, Algorithm::Des | Algorithm::TdesDouble) {
            let clear = TdesKey::new(key).map_err(refused)?;
            let under = KEK.to_be_bytes();
            let enciphered = wrap_ecb(&TdesKey::new(&under).map_err(refused)?, key).map_err(refused)?;
            let check = KeyCheckValue(unionpay_check_value(&clear));
            return self.import_cryptogram(usage, algorithm, &under, enciphered, check);
        }
        let (under, protection) = self.protection(algorithm)?;
        let block = partner_block(&protection, usage, algorithm, key)?;
        self.import_block(&under, usage, block)
    }

    fn envelope(&mut self, key: &[u8]) -> Check<Vec<u8>> {
        if self.transport.is_empty() {
            self.transport = match self.administration(Command::TransportPublicKey {})? {
                Reply::TransportPublicKey { public_key } => public_key,
                other => return Err(stray(&other)),
            };
        }
        (self.processes.envelope)(&self.transport, key).map_err(|fault| Problem::Unrunnable(fault.to_string()))
    }

    /// A key encryption key (double-length TDES), under the transport key.
    pub fn transport_key(&mut self, key: &[u8]) -> Check<KeyBlock<KeyEncryption>> {
        let name = (Usage::KeyEncryption, Algorithm::TdesDouble, key.to_vec());
        if !self.keys.contains_key(&name) {
            let enciphered = self.envelope(key)?;
            let imported = self.created(Command::ImportTransportKey { owner: owner(), version: 1, enciphered });
            if is_weak_tdes_key(key) {
                return Err(weak(imported.map(|_| ())));
            }
            self.keys.insert(name.clone(), imported?.0);
        }
        self.keys[&name].clone().typed().map_err(refused)
    }

    /// Imports a key that stands under a TDES key as a cryptogram.
    pub fn import_cryptogram(
        &mut self,
        usage: Usage,
        algorithm: Algorithm,
        under: &[u8],
        enciphered: Vec<u8>,
        check: KeyCheckValue,
    ) -> Check<AnyKeyBlock> {
        let under = self.transport_key(under)?;
        let import = Command::ImportKey { usage, algorithm, owner: owner(), version: 1, under, enciphered, check };
        let (key, told) = self.created(import)?;
        if told == check { Ok(key) } else { Err(differs("the vault tells another check value")) }
    }

    /// Imports a TR-31 key block.
    pub fn import_block(
        &mut self,
        under: &KeyBlock<KeyBlockProtection>,
        usage: Usage,
        block: Vec<u8>,
    ) -> Check<AnyKeyBlock> {
        let under = under.clone();
        let validity = Validity::ALWAYS;
        Ok(self.created(Command::ImportKeyBlock { under, usage, owner: owner(), version: 1, validity, block })?.0)
    }

    /// A protection key that came to the transport key, whatever its length: what is no key must be refused.
    pub fn import_protection_key(&mut self, algorithm: Algorithm, key: &[u8]) -> Check<AnyKeyBlock> {
        let enciphered = self.envelope(key)?;
        let (owner, validity) = (owner(), Validity::ALWAYS);
        Ok(self.created(Command::ImportProtectionKey { owner, version: 1, algorithm, validity, enciphered })?.0)
    }

    /// A published protection key: to the transport key as far as that is strong enough, otherwise in a key block.
    pub fn protection_key(&mut self, algorithm: Algorithm, key: &[u8]) -> Check<KeyBlock<KeyBlockProtection>> {
        if algorithm.security_bits() > Algorithm::Aes128.security_bits() {
            return self.bring(algorithm, key);
        }
        let name = (Usage::KeyBlockProtection, algorithm, key.to_vec());
        if !self.keys.contains_key(&name) {
            let imported = self.import_protection_key(algorithm, key);
            if algorithm.is_des() && is_weak_tdes_key(key) {
                return Err(weak(imported.map(|_| ())));
            }
            self.keys.insert(name.clone(), imported?);
        }
        self.keys[&name].clone().typed().map_err(refused)
    }

    /// The runner's protection key for keys of this strength.
    fn protection(&mut self, algorithm: Algorithm) -> Check<(KeyBlock<KeyBlockProtection>, ProtectionKey)> {
        if algorithm.security_bits() <= Algorithm::Aes128.security_bits() {
            let block = self.protection_key(Algorithm::Aes128, &PROTECTION_128)?;
            return Ok((block, ProtectionKey::aes(&PROTECTION_128).map_err(refused)?));
        }
        Ok((self.strong_protection()?, ProtectionKey::aes(&PROTECTION_256).map_err(refused)?))
    }

    /// RSA-3072 may not carry an AES-256 key: custodians put it together.
    fn strong_protection(&mut self) -> Check<KeyBlock<KeyBlockProtection>> {
        let name = (Usage::KeyBlockProtection, Algorithm::Aes256, PROTECTION_256.to_vec());
        if !self.keys.contains_key(&name) {
            let block = self.halved(name.0, name.1, &name.2)?;
            self.keys.insert(name.clone(), block);
        }
        self.keys[&name].clone().typed().map_err(refused)
    }

    /// A key brought by two custodians.
    fn halved(&mut self, usage: Usage, algorithm: Algorithm, key: &[u8]) -> Check<AnyKeyBlock> {
        let one = vec![COMPONENT; key.len()];
        let other = key.iter().map(|byte| byte ^ COMPONENT).collect();
        self.ceremony(usage, algorithm, &[(one, None), (other, None)], None)
    }

    fn register(&mut self, wanted: usize) -> Check {
        while self.custodians < wanted {
            let approver = (self.custodians >= 2).then(|| custodian(0));
            let register = Command::RegisterCustodian { custodian: custodian(self.custodians), approver };
            self.administration(register)?;
            self.custodians += 1;
        }
        Ok(())
    }

    /// A key ceremony: each component from a custodian of its own, with its check value if there is one. The key may
    /// leave under a protection key.
    pub fn ceremony(
        &mut self,
        usage: Usage,
        algorithm: Algorithm,
        components: &[(Vec<u8>, Option<ExpectedCheck>)],
        expected: Option<ExpectedCheck>,
    ) -> Check<AnyKeyBlock> {
        self.register(components.len())?;
        let count = u8::try_from(components.len()).map_err(refused)?;
        let open =
            Command::OpenCeremony { usage, algorithm, owner: owner(), version: 1, exportable: true, components: count };
        let ceremony = match self.administration(open)? {
            Reply::Ceremony { state } => state.ceremony,
            other => return Err(stray(&other)),
        };
        let completed = self.entered(ceremony, components, expected);
        if completed.is_err() {
            self.administration(Command::AbortCeremony { ceremony })?;
        }
        completed
    }

    fn entered(
        &mut self,
        ceremony: u64,
        components: &[(Vec<u8>, Option<ExpectedCheck>)],
        expected: Option<ExpectedCheck>,
    ) -> Check<AnyKeyBlock> {
        for (number, (component, expected)) in components.iter().enumerate() {
            let (custodian, component) = (custodian(number), SecretBytes::copy_from(component));
            self.administration(Command::EnterComponent { ceremony, custodian, component, expected: *expected })?;
        }
        match self.administration(Command::CompleteCeremony { ceremony, expected })? {
            Reply::CeremonyCompleted { key, .. } => Ok(key),
            other => Err(stray(&other)),
        }
    }

    /// An exportable key, let out in a version D block of the runner's and opened.
    pub fn exported(&mut self, key: &AnyKeyBlock) -> Check<Vec<u8>> {
        let (under, protection) = self.protection(Algorithm::Aes256)?;
        let export =
            Command::ExportKeyBlock { key: key.clone(), under, version: KeyBlockVersion::D, exportable_there: false };
        match self.administration(export)? {
            Reply::KeyBlockExported { block, .. } => {
                let opened = unwrap(&protection, &block, &ImportPolicy::default()).map_err(refused)?;
                Ok(opened.key.expose().to_vec())
            }
            other => Err(stray(&other)),
        }
    }

    /// A key's check value by a named method.
    pub fn check_value(&mut self, key: &AnyKeyBlock, method: CheckMethod) -> Check<Vec<u8>> {
        match self.host(Command::CheckKeyValue { key: key.clone(), method })? {
            Reply::KeyCheckBytes { value } => Ok(value),
            other => Err(stray(&other)),
        }
    }

    /// A key's four-byte check value.
    pub fn short_check_value(&mut self, key: &AnyKeyBlock) -> Check<[u8; 4]> {
        match self.host(Command::CheckKey { key: key.clone() })? {
            Reply::KeyCheck { check } => Ok(check.0),
            other => Err(stray(&other)),
        }
    }
}

/// A weak key must have been refused as out of range; then the case cannot go on.
fn weak(imported: Check) -> Problem {
    match imported {
        Err(Problem::Refused(why)) if why == Refusal::Parameter.to_string() => Problem::NotBuilt(
            "weak or test key that a vault refuses: weak or equal DES parts, all zero in a ceremony".to_owned(),
        ),
        Err(other) => other,
        Ok(()) => differs("a weak key was taken"),
    }
}

/// A key block as a partner would send it, exportable.
fn partner_block(protection: &ProtectionKey, usage: Usage, algorithm: Algorithm, key: &[u8]) -> Check<Vec<u8>> {
    let unnamed = || unsayable("a key that has no header in key blocks");
    let codes = interchange_header(usage, algorithm).ok_or_else(unnamed)?;
    let mut header = KeyBlockHeader::new(
        Version::D,
        KeyUsage::from_code(codes.usage).ok_or_else(unnamed)?,
        blocks::Algorithm::from_code(codes.algorithm).ok_or_else(unnamed)?,
        ModeOfUse::from_code(codes.mode_of_use).ok_or_else(unnamed)?,
        Exportability::Trusted,
    );
    if header.algorithm == blocks::Algorithm::Hmac {
        let hash = BlockContent::HmacHash(HmacHash::Sha256);
        header.optional_blocks.push(OptionalBlock::with_content(&hash).map_err(refused)?);
    }
    let needed = padding_bytes_needed(Version::D, header.algorithm, key.len(), LengthHiding::default());
    let block = wrap(protection, &header, key, &vec![PADDING; needed], &WrapOptions::default()).map_err(refused)?;
    Ok(block.into_bytes())
}
