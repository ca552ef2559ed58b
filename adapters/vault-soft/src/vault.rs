//! What each command does.

use crate::account::{Account, token_of};
use crate::audit_medium::AuditMedium;
use crate::audit_trail::AuditError;
use crate::clock::Clock;
use crate::cryptogram::{self, CryptogramCase};
use crate::entropy::Entropy;
use crate::key_block::{check_value, checked_key, draw_key, is_des, suits, unwrap, unwrap_hmac, unwrap_tdes, wrap};
use crate::limits::{GuessLimiter, Subject};
use crate::office::{self, Office};
use crate::refusal::{of_crypto, of_entropy};
use crate::remote_load::Identity;
use crate::sealing::SealingKey;
use crate::secrets::MasterSecrets;
use crate::transport::{self, TransportKey};
use crate::working_keys::Wrapper;
use keys::{
    Algorithm, AnyKeyBlock, AuditAct, AuditEntry, Caller, Command, CryptogramScheme, KeyBlock, KeyCheckValue,
    KeyEncryption, KeyHeader, MacAlgorithm, MessageMac, Owner, PinEncryption, PinReferenceKey, Refusal, Reply,
    SealedAccount, TerminalMaster, TrackEncryption, Usage, UsageMarker, audit_text, permitted,
};
use paycrypto::key_wrap::{unwrap_ecb, wrap_ecb};
use paycrypto::mac::{HmacSha256Key, unionpay_ecb_mac, x9_9_mac, x9_19_mac};
use paycrypto::pin_block::{decipher_format_0, encipher_format_0};
use paycrypto::track::encipher_track;
use paycrypto::{CryptoError, KeyBytes, Pin, TdesKey, constant_time_eq};
use types::{Expiry, Pan, SecretBytes, Track2};
use zeroize::Zeroizing;

/// Most random bytes in one answer.
const RANDOM_BYTES_MAX: u16 = 256;
/// Most bytes that are sealed at once.
const SEAL_BYTES_MAX: usize = 1 << 16;
/// Most bytes of a label.
const LABEL_BYTES_MAX: usize = 256;
/// Most bytes under one MAC: far above any frame.
const MAC_MESSAGE_BYTES_MAX: usize = 1 << 16;
/// Most bytes of a cryptogram's or script's input.
const CRYPTOGRAM_DATA_BYTES_MAX: usize = 1024;
const PIN_REFERENCE_BYTES: usize = 16;
const PIN_REFERENCE_DOMAIN: &[u8] = b"irontill pin reference 1\0";

type Answer = Result<Reply, Refusal>;

/// A vault whose keys are protected by this process alone. [`SoftVault::execute`] is its only door.
///
/// It holds the master key and what derives from it; all other keys come with each command as key blocks.
pub struct SoftVault {
    pub(crate) key_blocks: SealingKey,
    accounts: SealingKey,
    blobs: SealingKey,
    tokens: HmacSha256Key,
    transport: Option<TransportKey>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) limiter: GuessLimiter,
    pub(crate) identity: Identity,
    pub(crate) office: Option<Office>,
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
        let master = HmacSha256Key::new(secrets.master_key.expose());
        let token_key = Zeroizing::new(master.mac(&[b"irontill token key 1\0"]));
        Self {
            key_blocks: SealingKey::derive(&master, b"key block"),
            accounts: SealingKey::derive(&master, b"account"),
            blobs: SealingKey::derive(&master, b"blob"),
            tokens: HmacSha256Key::new(&*token_key),
            transport: secrets.transport_key.as_ref().and_then(TransportKey::from_pkcs8),
            entropy,
            limiter: GuessLimiter::new(clock),
            identity: Identity::derive(&master),
            office: None,
        }
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
        let master = HmacSha256Key::new(secrets.master_key.expose());
        let audited = secrets.audited;
        let mut vault = Self::new(secrets, entropy, clock);
        let office = Office::open(medium, &master, audited, vault.limiter.clock().unix_ms())?;
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
        let answer = |command: &Command| {
            let answer = if permitted(caller, command.kind()) {
                self.carry_out_for_office(caller, command)
            } else {
                Err(Refusal::NotPermitted)
            };
            let reply = answer.unwrap_or_else(|why| Reply::Refused { why });
            waits_for_record.push(self.record(caller, command, &reply));
            reply
        };
        let replies = commands.iter().map(answer).collect();
        self.settle(caller, replies, &waits_for_record)
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
            other => self.carry_out_for_payments(other),
        }
    }

    fn carry_out_for_payments(&self, command: &Command) -> Answer {
        match command {
            Command::MakeMac { key, algorithm, message } => {
                self.mac(key, *algorithm, message).map(|mac| Reply::Mac { mac })
            }
            Command::VerifyMac { key, algorithm, message, mac } => self.verify_mac(key, *algorithm, message, mac),
            Command::OpenAccount { pan, track2, track_key, expiry, today } => {
                self.open_account(pan.as_ref(), track2.as_ref(), track_key.as_ref(), *expiry, *today)
            }
            Command::TranslatePin { block, from, to, account } => self.translate_pin(block, from, to, account),
            Command::VerifyPin { block, key, account, reference_key, reference } => {
                self.verify_pin(block, key, account, reference_key, reference)
            }
            Command::MakePinReference { block, key, account, reference_key } => {
                self.make_pin_reference(block, key, account, reference_key)
            }
            Command::EncipherPin { key, pin, pan } => self.encipher_pin(key, pin, pan),
            Command::EncipherTrack { key, track2 } => self.encipher_track(key, track2),
            Command::Tokenise { pan } => token_of(&self.tokens, pan).map(|token| Reply::Token { token }),
            Command::Seal { label, plaintext } => self.seal(label, plaintext),
            Command::Unseal { label, sealed } => self.unseal(label, sealed),
            other => self.carry_out_for_issuers(other),
        }
    }

    fn carry_out_for_issuers(&self, command: &Command) -> Answer {
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
            } => {
                let account = self.account(account)?;
                let case = cryptogram_case(*scheme, &account, *card_sequence, *atc, *unpredictable_number);
                self.verify_cryptogram(master.any(), &account, &case, data, cryptogram, *response_code)
            }
            Command::MakeScriptMac { master, account, card_sequence, scheme, atc, cryptogram, data } => {
                let account = self.account(account)?;
                let case = cryptogram_case(*scheme, &account, *card_sequence, *atc, [0; 4]);
                self.make_script_mac(master.any(), &case, cryptogram, data)
            }
            // Every other command is matched above.
            _ => Err(Refusal::Unavailable),
        }
    }

    fn tdes<U: UsageMarker>(&self, block: &KeyBlock<U>) -> Result<TdesKey, Refusal> {
        unwrap_tdes(&self.key_blocks, block.any())
    }

    fn account(&self, sealed: &SealedAccount) -> Result<Account, Refusal> {
        Account::open(&self.accounts, sealed)
    }

    fn wrapped(&self, header: KeyHeader, key: &KeyBytes) -> Answer {
        let check = check_value(header.algorithm, key.expose())?;
        let key = wrap(&self.key_blocks, &*self.entropy, header, key)?;
        Ok(Reply::KeyCreated { key, check })
    }

    // Keys coming and going.

    fn generate_key(&self, header: KeyHeader) -> Answer {
        let key = draw_key(&*self.entropy, &header)?;
        self.wrapped(header, &key)
    }

    fn transport_public_key(&self) -> Answer {
        let transport = self.transport.as_ref().ok_or(Refusal::Unavailable)?;
        Ok(Reply::TransportPublicKey { public_key: transport.public_der().to_vec() })
    }

    fn import_transport_key(&self, header: KeyHeader, enciphered: &[u8]) -> Answer {
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
        if !suits(header.usage, header.algorithm) {
            return Err(Refusal::WrongKey);
        }
        if enciphered.len() != header.algorithm.key_bytes() {
            return Err(Refusal::Parameter);
        }
        let clear = unwrap_ecb(&self.tdes(under)?, enciphered).map_err(of_crypto)?;
        let computed = check_value(header.algorithm, clear.expose())?;
        if !constant_time_eq(&computed.0, &check.0) {
            return Err(Refusal::KeyCheck);
        }
        let key = checked_key(&header, clear.expose())?;
        self.wrapped(header, &key)
    }

    fn export_key(&self, key: &AnyKeyBlock, under: &KeyBlock<KeyEncryption>) -> Answer {
        same_owner(&key.header.owner, under.header())?;
        let clear = unwrap(&self.key_blocks, key)?;
        if !key.header.exportable {
            return Err(Refusal::NotExportable);
        }
        if !is_des(key.header.algorithm) {
            return Err(Refusal::WrongKey);
        }
        let enciphered = wrap_ecb(&self.tdes(under)?, clear.expose()).map_err(of_crypto)?;
        Ok(Reply::KeyExported { enciphered, check: check_value(key.header.algorithm, clear.expose())? })
    }

    fn check_key(&self, key: &AnyKeyBlock) -> Answer {
        let clear = unwrap(&self.key_blocks, key)?;
        Ok(Reply::KeyCheck { check: check_value(key.header.algorithm, clear.expose())? })
    }

    fn make_transport_key(&self, header: KeyHeader, recipient: &[u8]) -> Answer {
        let clear = draw_key(&*self.entropy, &header)?;
        let enciphered = transport::encipher_to(recipient, clear.expose())?;
        let check = check_value(header.algorithm, clear.expose())?;
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
        self.limiter.note(subject, right);
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
        Ok(Reply::AccountOpened {
            token: account.token(&self.tokens)?,
            truncated: account.pan.truncated(),
            account: account.seal(&self.accounts, &*self.entropy)?,
            luhn_valid: account.pan.luhn_valid(),
            expired: account.expiry.is_some_and(|expiry| expiry < today),
        })
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

    // PINs.

    fn encipher_pin(&self, key: &KeyBlock<PinEncryption>, pin: &Pin, pan: &Pan) -> Answer {
        let block = encipher_format_0(&self.tdes(key)?, pin, pan.expose().as_bytes()).map_err(of_crypto)?;
        Ok(Reply::PinBlock { block })
    }

    /// Opens a PIN block for one card; a block that does not open counts as a wrong guess.
    fn open_pin(
        &self,
        block: &[u8; 8],
        key: &KeyBlock<PinEncryption>,
        account: &Account,
    ) -> Result<(Pin, Subject), Refusal> {
        let subject = Subject::Pin(account.token(&self.tokens)?.0);
        self.limiter.check(&subject)?;
        match decipher_format_0(&self.tdes(key)?, block, account.digits()) {
            Ok(pin) => Ok((pin, subject)),
            Err(CryptoError::PinBlock | CryptoError::PinBlockControl) => {
                self.limiter.note(subject, false);
                Err(Refusal::PinBlock)
            }
            Err(other) => Err(of_crypto(other)),
        }
    }

    fn translate_pin(
        &self,
        block: &[u8; 8],
        from: &KeyBlock<PinEncryption>,
        to: &KeyBlock<PinEncryption>,
        account: &SealedAccount,
    ) -> Answer {
        let account = self.account(account)?;
        let to = self.tdes(to)?;
        let (pin, _) = self.open_pin(block, from, &account)?;
        let block = encipher_format_0(&to, &pin, account.digits()).map_err(of_crypto)?;
        Ok(Reply::PinTranslated { block })
    }

    fn verify_pin(
        &self,
        block: &[u8; 8],
        key: &KeyBlock<PinEncryption>,
        account: &SealedAccount,
        reference_key: &KeyBlock<PinReferenceKey>,
        reference: &[u8; PIN_REFERENCE_BYTES],
    ) -> Answer {
        let account = self.account(account)?;
        let reference_key = unwrap_hmac(&self.key_blocks, reference_key.any())?;
        let (pin, subject) = self.open_pin(block, key, &account)?;
        let right = constant_time_eq(&pin_reference(&reference_key, &account, &pin), reference);
        self.limiter.note(subject, right);
        Ok(Reply::PinVerdict { right })
    }

    fn make_pin_reference(
        &self,
        block: &[u8; 8],
        key: &KeyBlock<PinEncryption>,
        account: &SealedAccount,
        reference_key: &KeyBlock<PinReferenceKey>,
    ) -> Answer {
        let account = self.account(account)?;
        let reference_key = unwrap_hmac(&self.key_blocks, reference_key.any())?;
        let (pin, _) = self.open_pin(block, key, &account)?;
        Ok(Reply::PinReference { reference: pin_reference(&reference_key, &account, &pin) })
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
        let subject = Subject::Cryptogram(account.token(&self.tokens)?.0);
        self.limiter.check(&subject)?;
        let master = unwrap_tdes(&self.key_blocks, master)?;
        let arpc = cryptogram::verify(&master, case, data, cryptogram, response_code)?;
        self.limiter.note(subject, arpc.is_some());
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
        let master = unwrap_tdes(&self.key_blocks, master)?;
        let mac = cryptogram::script_mac(&master, case, cryptogram, data)?;
        Ok(Reply::ScriptMac { mac })
    }
}

fn header(usage: Usage, algorithm: Algorithm, owner: &Owner, version: u32, exportable: bool) -> KeyHeader {
    KeyHeader { usage, algorithm, exportable, owner: owner.clone(), version }
}

/// Key encryption keys never leave the vault they came to.
fn header_of_kek(owner: &Owner, version: u32) -> KeyHeader {
    header(Usage::KeyEncryption, Algorithm::TdesDouble, owner, version, false)
}

/// A KEK moves keys of its own owner only; otherwise one terminal's KEK would draw another's master key out.
fn same_owner(owner: &Owner, kek: &KeyHeader) -> Result<(), Refusal> {
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

/// A keyed hash of account and PIN: what an issuer's files hold instead of a PIN.
fn pin_reference(key: &HmacSha256Key, account: &Account, pin: &Pin) -> [u8; PIN_REFERENCE_BYTES] {
    let full = key.mac(&[PIN_REFERENCE_DOMAIN, account.digits(), b"\0", pin.expose().as_bytes()]);
    core::array::from_fn(|i| full[i])
}
