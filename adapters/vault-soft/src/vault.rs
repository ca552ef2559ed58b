//! What each command does.

use crate::account::{Account, token_of};
use crate::audit_medium::AuditMedium;
use crate::audit_trail::AuditError;
use crate::clock::Clock;
use crate::cryptogram::{self, CryptogramCase};
use crate::entropy::Entropy;
use crate::key_block::{KeyUse, check_value, checked_key, draw_key, protects, unwrap, wrap};
use crate::limits::{GUESS_CLASS_BYTES, GuessLimiter, Subject};
use crate::office::{self, Office};
use crate::pin_guard::PinGuard;
use crate::refusal::{of_crypto, of_entropy};
use crate::remote_load::Identity;
use crate::sealing::SealingKey;
use crate::secret_memory::SecretBox;
use crate::secrets::MasterSecrets;
use crate::stack;
use crate::transport::{self, TransportKey};
use crate::tries::TryFile;
use crate::working_keys::Wrapper;
use keys::{
    Algorithm, AnyKeyBlock, AuditAct, AuditEntry, Caller, Command, CryptogramScheme, KeyBlock, KeyCheckValue,
    KeyEncryption, KeyHeader, MacAlgorithm, MessageMac, Owner, PinTranslationPolicy, Refusal, Reply, SealedAccount,
    TerminalMaster, TrackEncryption, Usage, UsageMarker, Validity, audit_text, may_say,
};
use machine::wire::Encode;
use paycrypto::key_wrap::{unwrap_ecb, wrap_ecb};
use paycrypto::mac::{HmacSha256Key, unionpay_ecb_mac, x9_9_mac, x9_19_mac};
use paycrypto::track::encipher_track;
use paycrypto::{KeyBytes, Sm4Key, TdesKey, constant_time_eq};
use std::path::Path;
use types::{Expiry, Pan, SecretBytes, Track2};
use zeroize::Zeroizing;

/// Most random bytes in one answer.
const RANDOM_BYTES_MAX: u16 = 256;
/// Most bytes that are sealed at once: whatever a journal takes as one record.
const SEAL_BYTES_MAX: usize = machine::wire::BYTES_MAX;
/// Most bytes of a label.
const LABEL_BYTES_MAX: usize = 256;
/// Most bytes under one MAC: far above any frame.
pub(crate) const MAC_MESSAGE_BYTES_MAX: usize = 1 << 16;
/// Most bytes of a cryptogram's or script's input.
pub(crate) const CRYPTOGRAM_DATA_BYTES_MAX: usize = 1024;
/// Account digits that make a guess class: the eleven left of the check digit, which are all that a PVV is made over.
const GUESS_CLASS_DIGITS: usize = 11;

pub(crate) type Answer = Result<Reply, Refusal>;

/// A vault whose keys are protected by this process alone. [`SoftVault::execute`] is its only door.
///
/// It holds the master key and what derives from it; all other keys come with each command as key blocks.
pub struct SoftVault {
    pub(crate) key_blocks: SealingKey,
    accounts: SealingKey,
    blobs: SealingKey,
    pub(crate) marks: SealingKey,
    pub(crate) tokens: SecretBox<HmacSha256Key>,
    tries: SecretBox<HmacSha256Key>,
    transport: Option<TransportKey>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) limiter: GuessLimiter,
    pub(crate) guard: PinGuard,
    pub(crate) policy: PinTranslationPolicy,
    pub(crate) identity: Identity,
    /// Boxed: the room of an absent one would be moved about with whatever the stack held before.
    pub(crate) office: Option<Box<Office>>,
}

impl core::fmt::Debug for SoftVault {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("SoftVault(****)")
    }
}

impl SoftVault {
    /// A vault of these secrets. `entropy` makes keys and nonces; `clock` serves the guess limiter.
    #[must_use]
    pub fn new(secrets: MasterSecrets, entropy: Box<dyn Entropy>, clock: Box<dyn Clock>) -> Self {
        stack::with_clean_stack(|| Self::derive(&secrets, entropy, clock))
    }

    fn derive(secrets: &MasterSecrets, entropy: Box<dyn Entropy>, clock: Box<dyn Clock>) -> Self {
        let master = secrets.master_state();
        let derived = |label: &[u8]| SecretBox::new(|| HmacSha256Key::new(&*Zeroizing::new(master.mac(&[label]))));
        Self {
            key_blocks: SealingKey::derive(&master, b"key block"),
            accounts: SealingKey::derive(&master, b"account"),
            blobs: SealingKey::derive(&master, b"blob"),
            marks: SealingKey::derive(&master, b"ksn mark"),
            tokens: derived(b"irontill token key 1\0"),
            tries: derived(b"irontill try file key 1\0"),
            transport: secrets.transport_key.as_ref().and_then(|key| TransportKey::from_pkcs8(key.expose())),
            entropy,
            limiter: GuessLimiter::new(clock),
            guard: PinGuard::new(derived(b"irontill pin guard key 1\0")),
            policy: PinTranslationPolicy::default(),
            identity: Identity::derive(&master),
            office: None,
        }
    }

    /// Allows PIN translations that hide less than their source did, by name.
    #[must_use]
    pub fn with_pin_policy(self, policy: PinTranslationPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Keeps today's wrong PINs and card codes in a file, so that a restart does not forget them.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn with_try_file(mut self, path: &Path) -> std::io::Result<Self> {
        let code_key = SecretBox::new(|| self.tries.expose().clone());
        let tries = TryFile::open(path, code_key, self.limiter.today())?;
        self.limiter.keep(tries);
        Ok(self)
    }

    /// Like [`SoftVault::new`], with an audit trail: every administrative act is on stable storage before its reply
    /// leaves. `program` is recorded as what opened the vault; a terminal's vault, opened with every sale, gives none.
    ///
    /// # Errors
    /// [`AuditError`] if the trail is not in order. The vault must not serve then.
    pub fn with_audit(
        secrets: MasterSecrets,
        entropy: Box<dyn Entropy>,
        clock: Box<dyn Clock>,
        medium: Box<dyn AuditMedium>,
        program: Option<&str>,
    ) -> Result<Self, AuditError> {
        let mut vault = stack::with_clean_stack(|| Self::derive(&secrets, entropy, clock));
        let at_ms = vault.limiter.clock().unix_ms();
        let open = || Office::open(medium, &secrets.master_state(), secrets.audited, at_ms).map(Box::new);
        let office = stack::with_clean_stack(open)?;
        if let Some(program) = program {
            let act = AuditAct::VaultOpened { program: audit_text(program) };
            vault.note(&office, &mut office.state(), None, act);
        }
        office.commit()?;
        vault.office = Some(office);
        Ok(vault)
    }

    /// Records that a connection broke the caller table and is cut off.
    ///
    /// # Errors
    /// [`AuditError`] if it cannot be recorded.
    pub fn note_breach(&self, caller: Caller, how: &str) -> Result<(), AuditError> {
        let Some(office) = &self.office else { return Ok(()) };
        let clock = self.limiter.clock();
        let act = AuditAct::Breach { how: audit_text(how) };
        office.note_refusal(AuditEntry { at_ms: clock.unix_ms(), caller: Some(caller), act }, clock.now_ms());
        office.commit()
    }

    /// Why nothing is recorded any more, if so. Administrative commands are refused from then on.
    #[must_use]
    pub fn audit_fault(&self) -> Option<AuditError> {
        self.office.as_ref().and_then(|office| office.state().trail.fault().cloned())
    }

    /// Executes a batch in order for a caller whose identity has been established; one reply for each command.
    #[must_use]
    pub fn execute(&self, caller: Caller, commands: &[Command]) -> Vec<Reply> {
        self.end_overdue_ceremony();
        let mut waits_for_record = Vec::with_capacity(commands.len());
        let mut answer = |command: &Command| {
            let may = may_say(caller, command);
            let answer = if may { self.carry_out_for_office(caller, command) } else { Err(Refusal::NotPermitted) };
            let reply = answer.unwrap_or_else(|why| Reply::Refused { why });
            waits_for_record.push(self.record(caller, command, &reply));
            reply
        };
        // An enum is moved whole, and what a small reply leaves unused carries along whatever lay on the stack before it:
        // keys, for one. So replies leave the stack that is wiped only as the bytes they mean.
        let encoded: Vec<Zeroizing<Vec<u8>>> = stack::with_clean_stack(|| {
            commands.iter().map(|command| Zeroizing::new(answer(command).to_bytes())).collect()
        });
        let decoded = |bytes: &Zeroizing<Vec<u8>>| Reply::from_bytes(bytes).expect("a reply reads what it wrote");
        self.settle(caller, encoded.iter().map(decoded).collect(), &waits_for_record)
    }

    /// Records an act; says whether its reply must wait for the record.
    fn record(&self, caller: Caller, command: &Command, reply: &Reply) -> bool {
        let Some(office) = &self.office else { return false };
        let clock = self.limiter.clock();
        match caller {
            // The way of every payment: nothing to look at.
            Caller::Host if !matches!(reply, Reply::Refused { .. }) => false,
            _ => office.record(caller, command, reply, clock.unix_ms(), clock.now_ms()),
        }
    }

    /// Lets replies go once what they rest on is durable; without it, those that rest on a record are refused.
    fn settle(&self, caller: Caller, replies: Vec<Reply>, waits_for_record: &[bool]) -> Vec<Reply> {
        let Some(office) = &self.office else { return replies };
        for subject in self.limiter.take_tripped() {
            let act = AuditAct::LimitTripped { subject: audit_text(&subject) };
            self.note(office, &mut office.state(), Some(caller), act);
        }
        if office.commit().is_ok() {
            return replies;
        }
        let refused = |(reply, waits): (Reply, &bool)| {
            let rests_on_state = *waits || caller == Caller::Administration;
            if rests_on_state { Reply::Refused { why: Refusal::Unavailable } } else { reply }
        };
        replies.into_iter().zip(waits_for_record).map(refused).collect()
    }

    fn carry_out_for_office(&self, caller: Caller, command: &Command) -> Answer {
        match command {
            Command::ReadAudit { from, count } => self.read_audit(*from, *count),
            Command::RegisterCustodian { custodian, approver } => {
                self.register_custodian(caller, custodian, approver.as_ref())
            }
            Command::RemoveCustodian { name, approver } => self.remove_custodian(caller, name, approver),
            Command::ChangePassphrase { custodian, passphrase } => {
                self.change_passphrase(caller, custodian, passphrase)
            }
            Command::ListCustodians {} => self.list_custodians(),
            Command::OpenCeremony { usage, algorithm, owner, version, exportable, components } => {
                self.open_ceremony(caller, header(*usage, *algorithm, owner, *version, *exportable), *components)
            }
            Command::EnterComponent { ceremony, custodian, component, expected } => {
                self.enter_component(caller, *ceremony, custodian, component, expected.as_ref())
            }
            Command::DrawComponent { ceremony, custodian } => self.draw_component(caller, *ceremony, custodian),
            Command::CeremonyStatus {} => self.ceremony_status(),
            Command::CompleteCeremony { ceremony, expected } => {
                self.complete_ceremony(caller, *ceremony, expected.as_ref())
            }
            Command::AbortCeremony { ceremony } => self.abort_ceremony(caller, *ceremony),
            Command::ReadCeremonyRecord { ceremony } => self.read_ceremony_record(*ceremony),
            other => self.carry_out_for_loading(caller, other),
        }
    }

    fn carry_out_for_loading(&self, caller: Caller, command: &Command) -> Answer {
        match command {
            Command::VaultIdentity {} => self.vault_identity(),
            Command::PinDistributionHost { public_key } => self.pin_distribution_host(caller, *public_key),
            Command::BeginRemoteLoad { owner } => self.begin_remote_load(owner),
            Command::MakeLoadToken { request, terminal, key } => self.make_load_token(caller, request, terminal, key),
            Command::AcceptLoadToken { token } => self.accept_load_token(caller, token),
            other => self.carry_out(other),
        }
    }

    fn read_audit(&self, from: u64, count: u16) -> Answer {
        let office = self.office()?;
        let mut state = office.state();
        state.trail.commit().map_err(|_| Refusal::Unavailable)?;
        let page = office::page(&mut state.trail, from, count, |message| self.identity.record.sign(message));
        page.map(|page| Reply::AuditPage { page }).map_err(|_| Refusal::Unavailable)
    }

    fn carry_out(&self, command: &Command) -> Answer {
        match command {
            Command::GenerateKey { usage, algorithm, owner, version, exportable } => {
                self.generate_key(header(*usage, *algorithm, owner, *version, *exportable))
            }
            Command::TransportPublicKey {} => self.transport_public_key(),
            Command::ImportTransportKey { owner, version, enciphered } => {
                self.import_transport_key(header_of_kek(owner, *version), enciphered)
            }
            Command::ImportKey { usage, algorithm, owner, version, under, enciphered, check } => {
                let header = header(*usage, *algorithm, owner, *version, false);
                self.import_key(header, under, enciphered, *check)
            }
            Command::ExportKey { key, under } => self.export_key(key, under),
            Command::CheckKey { key } => self.check_key(key),
            Command::GenerateWorkingKeys { master, version, with_track_key, double_length_mac_key } => {
                self.generate_working_keys(master, *version, *with_track_key, *double_length_mac_key)
            }
            Command::LoadWorkingKeys { master, version, delivery } => {
                self.load_working_keys(master, *version, delivery)
            }
            Command::Random { count } => self.random(*count),
            Command::MakeTransportKey { owner, version, recipient } => {
                self.make_transport_key(header_of_kek(owner, *version), recipient)
            }
            other => {
                self.carry_out_exchange(other).or_else(|| self.carry_out_for_payments(other)).unwrap_or_else(|| {
                    self.carry_out_pin(other)
                        .or_else(|| self.carry_out_dukpt(other))
                        .or_else(|| self.carry_out_for_issuers(other))
                        // Every command is matched in one of them; the examples of the conformance test say each.
                        .unwrap_or(Err(Refusal::Unavailable))
                })
            }
        }
    }

    fn carry_out_for_payments(&self, command: &Command) -> Option<Answer> {
        Some(match command {
            Command::MakeMac { key, algorithm, message } => {
                self.mac(key, *algorithm, message).map(|mac| Reply::Mac { mac })
            }
            Command::VerifyMac { key, algorithm, message, mac } => self.verify_mac(key, *algorithm, message, mac),
            Command::MakeAuthenticationCode { key, message } => self.make_authentication_code(key, message),
            Command::VerifyAuthenticationCode { key, message, code } => {
                self.verify_authentication_code(key, message, code)
            }
            Command::OpenAccount { pan, track2, track_key, expiry, today } => {
                self.open_account(pan.as_ref(), track2.as_ref(), track_key.as_ref(), *expiry, *today)
            }
            Command::SealAccount { pan, expiry } => self.seal_account(pan, *expiry),
            Command::TokeniseAccount { account } => self.tokenise_account(account),
            Command::EncipherTrack { key, track2 } => self.encipher_track(key, track2),
            Command::Tokenise { pan } => token_of(&self.tokens, pan).map(|token| Reply::Token { token }),
            Command::Seal { label, plaintext } => self.seal(label, plaintext),
            Command::Unseal { label, sealed } => self.unseal(label, sealed),
            _ => return None,
        })
    }

    fn carry_out_for_issuers(&self, command: &Command) -> Option<Answer> {
        match command {
            Command::VerifyCryptogram {
                master,
                account,
                card_sequence,
                scheme,
                atc,
                unpredictable_number,
                data,
                cryptogram,
                response_code,
            } => Some(self.account(account).and_then(|account| {
                let case = cryptogram_case(*scheme, &account, *card_sequence, *atc, *unpredictable_number);
                self.verify_cryptogram(master.any(), &account, &case, data, cryptogram, *response_code)
            })),
            Command::MakeScriptMac { master, account, card_sequence, scheme, atc, cryptogram, data } => {
                Some(self.account(account).and_then(|account| {
                    let case = cryptogram_case(*scheme, &account, *card_sequence, *atc, [0; 4]);
                    self.make_script_mac(master.any(), &case, cryptogram, data)
                }))
            }
            other => self.carry_out_card(other),
        }
    }

    /// Unwraps a key that is valid today.
    pub(crate) fn usable(&self, block: &AnyKeyBlock) -> Result<KeyBytes, Refusal> {
        let key = self.key_at_any_time(block)?;
        if !block.header.validity.contains(self.limiter.calendar_day()) {
            return Err(Refusal::NotValidToday);
        }
        Ok(key)
    }

    /// Unwraps a key whatever the day: what it was can be told when its days are over.
    pub(crate) fn key_at_any_time(&self, block: &AnyKeyBlock) -> Result<KeyBytes, Refusal> {
        unwrap(&self.key_blocks, block)
    }

    /// Unwraps and prepares a key of any kind.
    pub(crate) fn key_of<K: KeyUse>(&self, block: &AnyKeyBlock) -> Result<K, Refusal> {
        K::prepare(block.header.algorithm, &self.usable(block)?)
    }

    /// What guesses at a card are counted by: a keyed code of the eleven digits left of the check digit. Coarser than
    /// the token, since PVV, cryptograms and dynamic codes do not see the leading digits: with one counter for each
    /// whole number, a caller could go on guessing under numbers that only differ there.
    pub(crate) fn guess_class(&self, account: &Account) -> [u8; GUESS_CLASS_BYTES] {
        let digits = account.digits();
        let end = digits.len() - 1;
        let full = self.tokens.mac(&[b"irontill guess class 1\0", &digits[end - GUESS_CLASS_DIGITS..end]]);
        core::array::from_fn(|i| full[i])
    }

    pub(crate) fn tdes<U: UsageMarker>(&self, block: &KeyBlock<U>) -> Result<TdesKey, Refusal> {
        self.key_of(block.any())
    }

    pub(crate) fn account(&self, sealed: &SealedAccount) -> Result<Account, Refusal> {
        Account::open(&self.accounts, sealed)
    }

    /// A new key's block.
    pub(crate) fn wrapped(&self, header: KeyHeader, key: &KeyBytes) -> Answer {
        if !header.validity.is_possible() {
            return Err(Refusal::Parameter);
        }
        let check = check_value(&header, key.expose())?;
        let key = wrap(&self.key_blocks, &*self.entropy, header, key)?;
        Ok(Reply::KeyCreated { key, check })
    }

    // Keys coming and going.

    pub(crate) fn generate_key(&self, header: KeyHeader) -> Answer {
        let key = draw_key(&*self.entropy, &header)?;
        self.wrapped(header, &key)
    }

    fn transport_public_key(&self) -> Answer {
        let transport = self.transport.as_ref().ok_or(Refusal::Unavailable)?;
        Ok(Reply::TransportPublicKey { public_key: transport.public_der().to_vec() })
    }

    /// Opens an envelope to the transport key.
    pub(crate) fn import_transport_key(&self, header: KeyHeader, enciphered: &[u8]) -> Answer {
        let transport = self.transport.as_ref().ok_or(Refusal::Unavailable)?;
        let clear = transport.decipher(enciphered)?;
        let key = checked_key(&header, clear.expose())?;
        self.wrapped(header, &key)
    }

    fn import_key(
        &self,
        header: KeyHeader,
        under: &KeyBlock<KeyEncryption>,
        enciphered: &[u8],
        check: KeyCheckValue,
    ) -> Answer {
        same_owner(&header.owner, under.header())?;
        if !header.usage.suits(header.algorithm) {
            return Err(Refusal::WrongKey);
        }
        protects(under.header().algorithm, header.algorithm)?;
        if enciphered.len() != header.algorithm.key_bytes() {
            return Err(Refusal::Parameter);
        }
        let clear = unwrap_ecb(&self.tdes(under)?, enciphered).map_err(of_crypto)?;
        let computed = check_value(&header, clear.expose())?;
        if !constant_time_eq(&computed.0, &check.0) {
            return Err(Refusal::KeyCheck);
        }
        let key = checked_key(&header, clear.expose())?;
        self.wrapped(header, &key)
    }

    fn export_key(&self, key: &AnyKeyBlock, under: &KeyBlock<KeyEncryption>) -> Answer {
        same_owner(&key.header.owner, under.header())?;
        let clear = self.usable(key)?;
        if !key.header.exportable {
            return Err(Refusal::NotExportable);
        }
        protects(under.header().algorithm, key.header.algorithm)?;
        let enciphered = wrap_ecb(&self.tdes(under)?, clear.expose()).map_err(of_crypto)?;
        Ok(Reply::KeyExported { enciphered, check: check_value(&key.header, clear.expose())? })
    }

    fn check_key(&self, key: &AnyKeyBlock) -> Answer {
        let clear = self.key_at_any_time(key)?;
        Ok(Reply::KeyCheck { check: check_value(&key.header, clear.expose())? })
    }

    fn make_transport_key(&self, header: KeyHeader, recipient: &[u8]) -> Answer {
        let clear = draw_key(&*self.entropy, &header)?;
        let enciphered = transport::encipher_to(recipient, clear.expose())?;
        let check = check_value(&header, clear.expose())?;
        let key = wrap(&self.key_blocks, &*self.entropy, header, &clear)?;
        Ok(Reply::TransportKeyMade { key, enciphered, check })
    }

    fn wrapper<'a>(&'a self, master: &'a KeyBlock<TerminalMaster>, version: u32) -> Wrapper<'a> {
        Wrapper { sealing: &self.key_blocks, entropy: &*self.entropy, owner: &master.header().owner, version }
    }

    fn generate_working_keys(
        &self,
        master: &KeyBlock<TerminalMaster>,
        version: u32,
        with_track_key: bool,
        double_length_mac_key: bool,
    ) -> Answer {
        let wrapper = self.wrapper(master, version);
        let (keys, delivery) = wrapper.generate(&self.tdes(master)?, with_track_key, double_length_mac_key)?;
        Ok(Reply::WorkingKeysMade { keys, delivery })
    }

    fn load_working_keys(&self, master: &KeyBlock<TerminalMaster>, version: u32, delivery: &[u8]) -> Answer {
        let keys = self.wrapper(master, version).load(&self.tdes(master)?, delivery)?;
        Ok(Reply::WorkingKeysMade { keys, delivery: Vec::new() })
    }

    fn random(&self, count: u16) -> Answer {
        if count > RANDOM_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let mut bytes = vec![0; usize::from(count)];
        self.entropy.fill(&mut bytes).map_err(of_entropy)?;
        Ok(Reply::Random { bytes })
    }

    // Messages.

    fn mac(
        &self,
        key: &KeyBlock<MessageMac>,
        algorithm: MacAlgorithm,
        message: &SecretBytes,
    ) -> Result<[u8; 8], Refusal> {
        if message.len() > MAC_MESSAGE_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        if key.header().algorithm == Algorithm::Sm4 {
            let key: Sm4Key = self.key_of(key.any())?;
            return match algorithm {
                MacAlgorithm::UnionPayEcb => Ok(unionpay_ecb_mac(&key, message.expose())),
                MacAlgorithm::X99 | MacAlgorithm::X919 => Err(Refusal::WrongKey),
            };
        }
        let single = key.header().algorithm == Algorithm::Des;
        let key = self.tdes(key)?;
        match algorithm {
            MacAlgorithm::UnionPayEcb => Ok(unionpay_ecb_mac(&key, message.expose())),
            // With a double-length key X9.9 would silently use half of it.
            MacAlgorithm::X99 if single => Ok(x9_9_mac(&key, message.expose())),
            MacAlgorithm::X99 => Err(Refusal::WrongKey),
            MacAlgorithm::X919 => x9_19_mac(&key, message.expose()).map_err(of_crypto),
        }
    }

    fn verify_mac(
        &self,
        key: &KeyBlock<MessageMac>,
        algorithm: MacAlgorithm,
        message: &SecretBytes,
        mac: &[u8; 8],
    ) -> Answer {
        let subject = Subject::Mac(key.header().owner.text().to_owned());
        self.limiter.check(&subject)?;
        let right = constant_time_eq(&self.mac(key, algorithm, message)?, mac);
        self.limiter.note(subject, right)?;
        Ok(Reply::MacVerdict { right })
    }

    fn open_account(
        &self,
        pan: Option<&Pan>,
        track2: Option<&SecretBytes>,
        track_key: Option<&KeyBlock<TrackEncryption>>,
        expiry: Option<Expiry>,
        today: Expiry,
    ) -> Answer {
        let track_key = track_key.map(|key| self.tdes(key)).transpose()?;
        let account = Account::from_message(pan, track2, track_key.as_ref(), expiry)?;
        self.account_opened(&account, today)
    }

    /// The answer for an opened account.
    pub(crate) fn account_opened(&self, account: &Account, today: Expiry) -> Answer {
        Ok(Reply::AccountOpened {
            token: account.token(&self.tokens)?,
            truncated: account.pan.truncated(),
            account: account.seal(&self.accounts, &*self.entropy)?,
            luhn_valid: account.pan.luhn_valid(),
            expired: account.expiry.is_some_and(|expiry| expiry < today),
        })
    }

    fn seal_account(&self, pan: &Pan, expiry: Option<Expiry>) -> Answer {
        let account = Account { pan: pan.duplicate(), expiry };
        Ok(Reply::AccountSealed {
            token: account.token(&self.tokens)?,
            truncated: account.pan.truncated(),
            account: account.seal(&self.accounts, &*self.entropy)?,
        })
    }

    fn tokenise_account(&self, account: &SealedAccount) -> Answer {
        Ok(Reply::Token { token: self.account(account)?.token(&self.tokens)? })
    }

    fn encipher_track(&self, key: &KeyBlock<TrackEncryption>, track2: &Track2) -> Answer {
        let enciphered = encipher_track(&self.tdes(key)?, track2.expose().as_bytes()).map_err(of_crypto)?;
        Ok(Reply::Track { track2: SecretBytes::copy_from(&enciphered) })
    }

    fn seal(&self, label: &[u8], plaintext: &SecretBytes) -> Answer {
        if label.len() > LABEL_BYTES_MAX || plaintext.len() > SEAL_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let sealed = self.blobs.seal(&*self.entropy, label, plaintext.expose())?;
        Ok(Reply::Sealed { sealed })
    }

    fn unseal(&self, label: &[u8], sealed: &[u8]) -> Answer {
        let plaintext = self.blobs.open(label, sealed)?;
        Ok(Reply::Unsealed { plaintext: SecretBytes::copy_from(&plaintext) })
    }

    // Cards.

    fn verify_cryptogram(
        &self,
        master: &AnyKeyBlock,
        account: &Account,
        case: &CryptogramCase<'_>,
        data: &[u8],
        cryptogram: &[u8; 8],
        response_code: [u8; 2],
    ) -> Answer {
        if data.len() > CRYPTOGRAM_DATA_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let subject = Subject::Cryptogram(self.guess_class(account));
        self.limiter.check(&subject)?;
        let master: TdesKey = self.key_of(master)?;
        let arpc = cryptogram::verify(&master, case, data, cryptogram, response_code)?;
        self.limiter.note(subject, arpc.is_some())?;
        Ok(Reply::CryptogramVerdict { right: arpc.is_some(), arpc })
    }

    fn make_script_mac(
        &self,
        master: &AnyKeyBlock,
        case: &CryptogramCase<'_>,
        cryptogram: &[u8; 8],
        data: &[u8],
    ) -> Answer {
        if data.len() > CRYPTOGRAM_DATA_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let master: TdesKey = self.key_of(master)?;
        let mac = cryptogram::script_mac(&master, case, cryptogram, data)?;
        Ok(Reply::ScriptMac { mac })
    }
}

fn header(usage: Usage, algorithm: Algorithm, owner: &Owner, version: u32, exportable: bool) -> KeyHeader {
    KeyHeader { usage, algorithm, exportable, owner: owner.clone(), version, validity: Validity::ALWAYS }
}

/// Key encryption keys never leave the vault they came to.
fn header_of_kek(owner: &Owner, version: u32) -> KeyHeader {
    header(Usage::KeyEncryption, Algorithm::TdesDouble, owner, version, false)
}

/// A KEK moves keys of its own owner only; otherwise one terminal's KEK would draw another's master key out.
pub(crate) fn same_owner(owner: &Owner, kek: &KeyHeader) -> Result<(), Refusal> {
    if *owner == kek.owner { Ok(()) } else { Err(Refusal::WrongKey) }
}

fn cryptogram_case(
    scheme: CryptogramScheme,
    account: &Account,
    card_sequence: u8,
    atc: u16,
    unpredictable_number: [u8; 4],
) -> CryptogramCase<'_> {
    let account_number = account.digits();
    CryptogramCase { scheme, account_number, card_sequence, atc: atc.to_be_bytes(), unpredictable_number }
}
