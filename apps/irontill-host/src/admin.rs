//! What operators do to a host: enrol terminals, bring in keys, load cards of the built-in issuer, list.
//!
//! It works on the store's file, with or without a host running on it: what both write is kept apart by the store's
//! version check, and a running host forgets what it remembers when somebody else has written.

use crate::engine::LogSink;
use crate::service::{host_config, read_private_text, read_text};
use crate::settings::HostSettings;
use crate::terminals::Terminals;
use acquirer::{Acquirer, Effect, Enrolment, EnrolmentRefused, Event, HostConfig, SPACE_TERMINAL_NUMBER};
use anyhow::Context;
use driver::{Halt, HostDriver, perform};
use issuer::{CardFile, CardScript, CardStatus, EntryModes, PinFile, SPACE_CARD, Scheme, card_rows};
use keys::{
    Algorithm, AnyKeyBlock, Caller, Command, IssuerMasterAc, IssuerMasterMac, KeyBlock, KeyCheckValue, KeyEncryption,
    KeyService, Owner, PinEncryption, PinReferenceKey, Refusal, Reply, TerminalMaster, Usage, UsageMarker, WrongUsage,
};
use link::{Authority, AuthorityError};
use machine::store::{Append, Outcome, Row, Store, StoreFault};
use machine::wire::{Encode, Malformed, Writer};
use machine::{MachineId, Tick};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store_sqlite::SqliteStore;
use types::{CardToken, CivilTime, Currency, Expiry, LocalDate, MerchantId, Pan, TerminalId};
use vault_remote::RemoteKeys;

/// Journal of what operators did that belongs to no terminal.
const OFFICE: &str = "office";
/// Space of key blocks that operators keep for later; the key is `owner/usage`.
const SPACE_OFFICE_KEY: &str = "office-key";
/// Space of the identities by which terminals sign their requests for keys; the key is the terminal id.
const SPACE_TERMINAL_IDENTITY: &str = "terminal-identity";
/// How often a record of the office is written again because somebody else's came first.
const RECORD_ATTEMPTS_MAX: usize = 16;
/// Version of the office's records: a text.
const OFFICE_RECORD_VERSION: u8 = 1;

/// Why an operator's act failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The store cannot serve.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The store refused, or holds what cannot be read.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// The key service refused.
    #[error("key service: {0}")]
    Keys(#[from] Refusal),
    /// The key service answered another question.
    #[error("the key service gave an unexpected answer")]
    UnexpectedReply,
    /// The key service made a key for another use.
    #[error(transparent)]
    Usage(#[from] WrongUsage),
    /// The transported key is not the one that its sender had.
    #[error("the transport key's check value does not fit")]
    TransportCheck,
    /// The certificate authority refused.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The acquirer refused.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentRefused),
    /// Another identity is kept for the terminal: it must be enrolled anew.
    #[error("another identity is kept for the terminal; enrol it anew")]
    OtherIdentity,
    /// No identity is kept for the terminal.
    #[error("no identity is kept for the terminal; introduce it first")]
    NoIdentity,
    /// The terminal does not hold the key that was made for it.
    #[error("the terminal confirmed another check value")]
    NotConfirmed,
    /// Every terminal number is taken.
    #[error("no terminal number is free")]
    NumbersTaken,
    /// A name cannot own keys.
    #[error("not a name for an owner of keys")]
    Owner,
    /// A stored record is not readable.
    #[error("stored bytes cannot be read: {0}")]
    Stored(#[from] Malformed),
    /// Somebody else wrote at the same time; try again.
    #[error("the store was written to at the same time; try again")]
    Conflict,
}

/// A key that a terminal's or issuer's vault has enciphered to this host's vault.
#[derive(Clone, Debug)]
pub struct TransportedKey {
    /// RSA-OAEP ciphertext of the key encryption key.
    pub enciphered: Vec<u8>,
    /// Its check value as the sender computed it.
    pub check: KeyCheckValue,
}

/// A key enciphered under a key encryption key.
#[derive(Clone, Debug)]
pub struct WrappedKey {
    /// The cryptogram (TDES ECB).
    pub enciphered: Vec<u8>,
    /// Check value of the clear key.
    pub check: KeyCheckValue,
    /// Its version.
    pub version: u32,
}

/// A terminal to enrol.
#[derive(Clone, Debug)]
pub struct EnrolmentOrder {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its merchant.
    pub merchant: MerchantId,
    /// For people.
    pub name: String,
    /// Head of its reference numbers; `None` takes the next free one, or keeps the one it has.
    pub terminal_number: Option<u32>,
    /// The currency it takes.
    pub currency: Currency,
    /// Transactions it may send (bit map of terminal parameter 26); all ones for all.
    pub allowed: u32,
    /// Its certificate request, PEM.
    pub certificate_request_pem: String,
    /// Its key encryption key.
    pub transport: TransportedKey,
    /// The identity of its vault, by which it signs requests for newer master keys; none for a terminal that makes none.
    pub identity: Option<[u8; 32]>,
}

/// A newer master key on its way into a terminal. The host goes on under the old one until the terminal has confirmed.
#[derive(Clone, Debug)]
pub struct NewMasterKey {
    key: KeyBlock<TerminalMaster>,
    /// For the terminal (`docs/wire/remote-load.md`).
    pub token: Vec<u8>,
    /// Check value that the terminal must confirm.
    pub check: KeyCheckValue,
}

/// What an enrolled terminal takes home.
#[derive(Clone, Debug)]
pub struct EnrolledTerminal {
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// The certificate of the authority that it must trust, PEM.
    pub authority_pem: String,
    /// Its master key under its own key encryption key.
    pub master_key: WrappedKey,
    /// Head of its reference numbers.
    pub terminal_number: u32,
}

/// A terminal as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalSummary {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its merchant.
    pub merchant: MerchantId,
    /// For people.
    pub name: String,
    /// Head of its reference numbers.
    pub terminal_number: u32,
    /// Whether it has working keys.
    pub signed_in: bool,
    /// Its open batch.
    pub batch: Option<u32>,
    /// Intents of the open batch.
    pub open_intents: usize,
    /// Number of its last record.
    pub last_sequence: u64,
}

/// How a new card's PIN reaches the issuer.
#[derive(Clone, Debug)]
pub struct IssuerPin {
    /// Format 0 PIN block.
    pub block: [u8; 8],
    /// The key it is under.
    pub key: KeyBlock<PinEncryption>,
    /// The issuer's key of references.
    pub reference_key: KeyBlock<PinReferenceKey>,
}

/// A card to load into the built-in issuer.
pub struct IssuerCard {
    /// The card's number. It goes to the key service and nowhere else.
    pub pan: Pan,
    /// PAN sequence number.
    pub card_sequence: u8,
    /// Card organisation as F63.1 names it.
    pub organisation: [u8; 3],
    /// Currency of its account.
    pub currency: Currency,
    /// Lowest balance allowed, minor units.
    pub floor_minor: i64,
    /// Money put on its account if the card is new, minor units.
    pub opening_minor: i64,
    /// Largest amount of one transaction, minor units.
    pub single_limit_minor: Option<u64>,
    /// Cryptogram rules.
    pub scheme: Scheme,
    /// Issuer master key for cryptograms.
    pub master_ac: KeyBlock<IssuerMasterAc>,
    /// Issuer master key for script MACs.
    pub master_mac: Option<KeyBlock<IssuerMasterMac>>,
    /// Its PIN.
    pub pin: Option<IssuerPin>,
    /// Ways of reading it besides the chip.
    pub entry_modes: EntryModes,
    /// Whether each transaction counter pays only once.
    pub atc_once: bool,
    /// A script to send with approvals.
    pub script: Option<CardScript>,
}

/// What loading a card did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardLoaded {
    /// The card's token.
    pub token: CardToken,
    /// Whether it was not there before. Only a new card's account is funded.
    pub new: bool,
}

/// An operator at work.
pub struct Admin {
    store: SqliteStore,
    keys: Box<dyn KeyService + Send>,
    host: Arc<HostConfig>,
    log: LogSink,
}

impl Admin {
    /// Opens the host's store and will speak to the key service as administration.
    ///
    /// # Errors
    /// Whatever cannot be opened or read.
    pub fn open(settings: &HostSettings, log: LogSink) -> anyhow::Result<Self> {
        let keys = RemoteKeys::new(&settings.admin_key_socket, Caller::Administration);
        Self::open_with_keys(settings, Box::new(keys), log)
    }

    /// Like [`Admin::open`], with a key service of the caller's choice.
    ///
    /// # Errors
    /// As [`Admin::open`].
    pub fn open_with_keys(
        settings: &HostSettings,
        keys: Box<dyn KeyService + Send>,
        log: LogSink,
    ) -> anyhow::Result<Self> {
        let store = SqliteStore::open(&settings.store).with_context(|| settings.store.display().to_string())?;
        Ok(Self { store, keys, host: host_config(settings)?, log })
    }

    /// The authority whose files the settings name.
    ///
    /// # Errors
    /// Whatever cannot be read.
    pub fn authority(settings: &HostSettings) -> anyhow::Result<Authority> {
        let certificate = read_text(&settings.authority_certificate)?;
        let key = read_private_text(&settings.authority_key)?;
        Ok(Authority::load(&certificate, &key)?)
    }

    /// The public key to which terminals and issuers encipher their key encryption keys, SubjectPublicKeyInfo DER.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn transport_public_key(&mut self) -> Result<Vec<u8>, AdminError> {
        match self.ask(Command::TransportPublicKey {})? {
            Reply::TransportPublicKey { public_key } => Ok(public_key),
            _ => Err(AdminError::UnexpectedReply),
        }
    }

    /// Enrols a terminal, or enrols it anew: makes its master key, signs its certificate, and tells the acquirer.
    ///
    /// # Errors
    /// [`AdminError`]; the acquirer is told last, so a failure leaves the terminal as it was.
    pub fn enrol_terminal(
        &mut self,
        order: &EnrolmentOrder,
        authority: &Authority,
        today: LocalDate,
    ) -> Result<EnrolledTerminal, AdminError> {
        let known = self.machine_of(order.terminal)?.state().enrolment.clone();
        let version = known.as_ref().map_or(1, |known| known.master_key.header().version.saturating_add(1));
        let terminal_number = match (order.terminal_number, &known) {
            (Some(number), _) => number,
            (None, Some(known)) => known.terminal_number,
            (None, None) => self.free_terminal_number()?,
        };
        let owner = Owner::of_terminal(order.terminal);
        let (master_key, wrapped) = self.make_master_key(&owner, version, &order.transport)?;
        let request = &order.certificate_request_pem;
        let certificate_pem = authority.issue_terminal(request, order.terminal, order.merchant, today)?;
        self.keep_identity(order.terminal, order.identity.as_ref().map_or(&[], |identity| &identity[..]))?;
        let enrolment = Enrolment {
            terminal: order.terminal,
            merchant: order.merchant,
            terminal_number,
            name: order.name.clone(),
            master_key,
            currency: order.currency,
            allowed: order.allowed,
        };
        self.tell_acquirer(order.terminal, Event::Enrol(Box::new(enrolment)))?;
        let authority_pem = authority.certificate_pem().to_owned();
        Ok(EnrolledTerminal { certificate_pem, authority_pem, master_key: wrapped, terminal_number })
    }

    fn make_master_key(
        &mut self,
        owner: &Owner,
        version: u32,
        transport: &TransportedKey,
    ) -> Result<(KeyBlock<TerminalMaster>, WrappedKey), AdminError> {
        let under = self.import_transport_key(owner, version, transport)?;
        let master: KeyBlock<TerminalMaster> = self.generate_key(owner, version, Algorithm::TdesDouble, true)?;
        let export = Command::ExportKey { key: master.any().clone(), under };
        match self.ask(export)? {
            Reply::KeyExported { enciphered, check } => Ok((master, WrappedKey { enciphered, check, version })),
            _ => Err(AdminError::UnexpectedReply),
        }
    }

    /// The public key by which terminals know this host's vault when it gives them keys.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn distribution_key(&mut self) -> Result<[u8; 32], AdminError> {
        match self.ask(Command::VaultIdentity {})? {
            Reply::VaultIdentity { distribution, .. } => Ok(distribution),
            _ => Err(AdminError::UnexpectedReply),
        }
    }

    /// Keeps the identity of a terminal that was enrolled before identities were.
    ///
    /// # Errors
    /// [`AdminError::OtherIdentity`] if another one is kept: nobody but an enrolment changes it.
    pub fn introduce_terminal(&mut self, terminal: TerminalId, identity: [u8; 32]) -> Result<(), AdminError> {
        let kept = self.store.find(SPACE_TERMINAL_IDENTITY, terminal.bytes())?;
        match kept.filter(|kept| !kept.is_empty()) {
            Some(kept) if kept[..] == identity[..] => Ok(()),
            Some(_) => Err(AdminError::OtherIdentity),
            None => self.keep_identity(terminal, &identity),
        }
    }

    /// An enrolment's identity takes the place of an earlier one's; an empty one is none.
    fn keep_identity(&mut self, terminal: TerminalId, identity: &[u8]) -> Result<(), AdminError> {
        let (space, key) = (SPACE_TERMINAL_IDENTITY, terminal.bytes().to_vec());
        self.record(
            &format!("keeps the identity of {terminal}"),
            vec![Row::Put { space, key, value: identity.to_vec() }],
        )
    }

    /// Rotation of a terminal's master key, first half: makes the next version and envelopes it for the terminal that signed the
    /// request. Nothing changes at the host. A terminal's rotations come one after another: once a later one has begun, an earlier
    /// one is not finished any more.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn make_next_master_key(&mut self, terminal: TerminalId, request: &[u8]) -> Result<NewMasterKey, AdminError> {
        let enrolment = self.machine_of(terminal)?.state().enrolment.clone().ok_or(EnrolmentRefused::Unknown)?;
        let kept = self.store.find(SPACE_TERMINAL_IDENTITY, terminal.bytes())?;
        let identity = kept.and_then(|kept| kept.try_into().ok()).ok_or(AdminError::NoIdentity)?;
        let version = enrolment.master_key.header().version.saturating_add(1);
        let owner = Owner::of_terminal(terminal);
        let key: KeyBlock<TerminalMaster> = self.generate_key(&owner, version, Algorithm::TdesDouble, true)?;
        let request = request.to_vec();
        match self.ask(Command::MakeLoadToken { request, terminal: identity, key: key.any().clone() })? {
            Reply::LoadTokenMade { token, check } => Ok(NewMasterKey { key, token, check }),
            _ => Err(AdminError::UnexpectedReply),
        }
    }

    /// Rotation of a terminal's master key, second half: the terminal holds the new key and has confirmed its check value, so the
    /// host delivers working keys under it from now on. Working keys, open batch and intents stay as they are.
    ///
    /// # Errors
    /// [`AdminError::NotConfirmed`] if the terminal holds another key.
    pub fn replace_master_key(
        &mut self,
        terminal: TerminalId,
        new: NewMasterKey,
        confirmed: KeyCheckValue,
    ) -> Result<(), AdminError> {
        if confirmed != new.check {
            return Err(AdminError::NotConfirmed);
        }
        self.tell_acquirer(terminal, Event::ReplaceMasterKey(Box::new(new.key)))
    }

    /// Steps the terminal's own machine with an operator's word, as a running host would.
    fn tell_acquirer(&mut self, terminal: TerminalId, event: Event) -> Result<(), AdminError> {
        let machine = MachineId::of_terminal(terminal);
        let mut driver = HostDriver::new(Terminals::new(self.host.clone()));
        let overloaded = |_| AdminError::Enrolment(EnrolmentRefused::Busy);
        driver.deliver(machine, event).map_err(overloaded)?;
        let mut effects = Vec::new();
        while let Some(work) = driver.take_work() {
            let done = perform(&work, &mut self.store)?;
            driver.finish_work(done, &mut effects)?;
            driver.run(now(), &mut effects);
        }
        let mut verdict = Err(AdminError::Enrolment(EnrolmentRefused::Busy));
        for (_, effect) in effects {
            match effect {
                Effect::Enrolled { accepted } => verdict = accepted.map_err(AdminError::from),
                Effect::Log(line) => (self.log)(&line.to_string()),
                _ => {}
            }
        }
        verdict
    }

    fn free_terminal_number(&self) -> Result<u32, AdminError> {
        let taken = self.store.facts(SPACE_TERMINAL_NUMBER, &[], usize::MAX)?;
        let number = |key: &[u8]| key.try_into().ok().map(u32::from_be_bytes);
        let taken: std::collections::BTreeSet<u32> = taken.iter().filter_map(|fact| number(&fact.key)).collect();
        let mut numbers = 1..=acquirer::TERMINAL_NUMBER_MAX;
        numbers.find(|number| !taken.contains(number)).ok_or(AdminError::NumbersTaken)
    }

    /// Brings in a key encryption key that its sender enciphered to [`Admin::transport_public_key`].
    ///
    /// # Errors
    /// [`AdminError::TransportCheck`] if it is not the key that the sender had.
    pub fn import_transport_key(
        &mut self,
        owner: &Owner,
        version: u32,
        transport: &TransportedKey,
    ) -> Result<KeyBlock<KeyEncryption>, AdminError> {
        let enciphered = transport.enciphered.clone();
        match self.ask(Command::ImportTransportKey { owner: owner.clone(), version, enciphered })? {
            Reply::KeyCreated { key, check } if check == transport.check => Ok(key.typed()?),
            Reply::KeyCreated { .. } => Err(AdminError::TransportCheck),
            _ => Err(AdminError::UnexpectedReply),
        }
    }

    /// Brings in a key under a key encryption key of the same owner.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn import_key<U: UsageMarker>(
        &mut self,
        under: &KeyBlock<KeyEncryption>,
        algorithm: Algorithm,
        wrapped: &WrappedKey,
    ) -> Result<KeyBlock<U>, AdminError> {
        let command = Command::ImportKey {
            usage: U::USAGE,
            algorithm,
            owner: under.header().owner.clone(),
            version: wrapped.version,
            under: under.clone(),
            enciphered: wrapped.enciphered.clone(),
            check: wrapped.check,
        };
        self.created(command)
    }

    /// Makes a key inside the key service.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn generate_key<U: UsageMarker>(
        &mut self,
        owner: &Owner,
        version: u32,
        algorithm: Algorithm,
        exportable: bool,
    ) -> Result<KeyBlock<U>, AdminError> {
        self.created(Command::GenerateKey { usage: U::USAGE, algorithm, owner: owner.clone(), version, exportable })
    }

    /// A key of this owner and usage that was kept before, or a fresh one that is kept now.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn kept_or_generated_key<U: UsageMarker>(
        &mut self,
        owner: &Owner,
        algorithm: Algorithm,
    ) -> Result<KeyBlock<U>, AdminError> {
        if let Some(key) = self.kept_key(owner)? {
            return Ok(key);
        }
        let key = self.generate_key(owner, 1, algorithm, false)?;
        self.keep_key(&key)?;
        Ok(key)
    }

    /// A key of this owner and usage that was kept before.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn kept_key<U: UsageMarker>(&mut self, owner: &Owner) -> Result<Option<KeyBlock<U>>, AdminError> {
        let stored = self.store.find(SPACE_OFFICE_KEY, &office_key(owner, U::USAGE))?;
        let Some(bytes) = stored else { return Ok(None) };
        Ok(Some(AnyKeyBlock::from_bytes(&bytes)?.typed()?))
    }

    /// Keeps a key block for later; it replaces an earlier one of the same owner and usage.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn keep_key<U: UsageMarker>(&mut self, key: &KeyBlock<U>) -> Result<(), AdminError> {
        let (owner, value) = (&key.header().owner, key.any().to_bytes());
        let text = format!("keeps key {:?}", key.any());
        self.record(&text, vec![Row::Put { space: SPACE_OFFICE_KEY, key: office_key(owner, U::USAGE), value }])
    }

    /// Loads a card into the built-in issuer: a new one with its opening balance, a known one with its new file only.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn load_card(&mut self, card: IssuerCard, today: LocalDate) -> Result<CardLoaded, AdminError> {
        let today = expiry_of(today);
        let open = Command::OpenAccount { pan: Some(card.pan), track2: None, track_key: None, expiry: None, today };
        let (token, truncated, account) = match self.ask(open)? {
            Reply::AccountOpened { token, truncated, account, .. } => (token, truncated, account),
            _ => return Err(AdminError::UnexpectedReply),
        };
        let pin = match card.pin {
            None => None,
            Some(IssuerPin { block, key, reference_key }) => {
                let command = Command::MakePinReference { block, key, account, reference_key: reference_key.clone() };
                match self.ask(command)? {
                    Reply::PinReference { reference } => Some(PinFile { reference_key, reference }),
                    _ => return Err(AdminError::UnexpectedReply),
                }
            }
        };
        let file = CardFile {
            status: CardStatus::Active,
            organisation: card.organisation,
            card_sequence: card.card_sequence,
            currency: card.currency,
            floor_minor: card.floor_minor,
            single_limit_minor: card.single_limit_minor,
            scheme: card.scheme,
            master_ac: card.master_ac,
            master_mac: card.master_mac,
            pin,
            entry_modes: card.entry_modes,
            atc_once: card.atc_once,
            script: card.script,
        };
        self.store_card(token, truncated.text(), &file, card.opening_minor)
    }

    fn store_card(
        &mut self,
        token: CardToken,
        shown: &str,
        file: &CardFile,
        opening_minor: i64,
    ) -> Result<CardLoaded, AdminError> {
        let new = self.store.find(SPACE_CARD, &token.0)?.is_none();
        let hex: String = token.0.iter().map(|byte| format!("{byte:02x}")).collect();
        // The posting's id is the same for every first load, so two at the same time cannot both fund the card.
        let opening = new.then(|| (format!("card/{hex}/opening"), opening_minor));
        let text = format!("{} card {shown}", if new { "loads" } else { "changes" });
        self.record(&text, card_rows(&token, file, opening))?;
        Ok(CardLoaded { token, new })
    }

    /// Every enrolled terminal.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn terminals(&mut self) -> Result<Vec<TerminalSummary>, AdminError> {
        let machines = self.store.machines()?;
        let terminals = machines.iter().filter_map(|summary| TerminalId::parse(summary.machine.text()).ok());
        let mut summaries = Vec::new();
        for terminal in terminals.collect::<Vec<_>>() {
            let machine = self.machine_of(terminal)?;
            let state = machine.state();
            let Some(enrolment) = &state.enrolment else { continue };
            summaries.push(TerminalSummary {
                terminal,
                merchant: enrolment.merchant,
                name: enrolment.name.clone(),
                terminal_number: enrolment.terminal_number,
                signed_in: state.keys.is_some(),
                batch: state.batch.map(types::BatchNumber::number),
                open_intents: state.open.len(),
                last_sequence: machine.sequence(),
            });
        }
        Ok(summaries)
    }

    /// Number of cards that the built-in issuer knows.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn cards(&self) -> Result<usize, AdminError> {
        Ok(self.store.facts(SPACE_CARD, &[], usize::MAX)?.len())
    }

    /// The store, for queries and checks.
    pub fn store(&self) -> &SqliteStore {
        &self.store
    }

    fn machine_of(&mut self, terminal: TerminalId) -> Result<Acquirer, AdminError> {
        let journal = self.store.load(MachineId::of_terminal(terminal))?;
        Ok(Acquirer::restore(self.host.clone(), terminal, &journal)?)
    }

    /// Writes rows together with a line of the office's journal that says who did what.
    fn record(&mut self, text: &str, rows: Vec<Row>) -> Result<(), AdminError> {
        let machine = MachineId::new(OFFICE).expect("a short name");
        let mut writer = Writer::default();
        writer.u8(OFFICE_RECORD_VERSION).u64(now().wall_ms).text(text);
        let records = vec![writer.into_bytes()];
        for _ in 0..RECORD_ATTEMPTS_MAX {
            let first_sequence = self.store.load(machine)?.last_sequence + 1;
            let append =
                Append { machine, first_sequence, records: records.clone(), rows: rows.clone(), snapshot: false };
            match self.store.append(&[append])?.pop() {
                Some(Outcome::Durable(_)) => return Ok(()),
                Some(Outcome::Conflict) => {}
                _ => break,
            }
        }
        Err(AdminError::Conflict)
    }

    fn created<U: UsageMarker>(&mut self, command: Command) -> Result<KeyBlock<U>, AdminError> {
        match self.ask(command)? {
            Reply::KeyCreated { key, .. } => Ok(key.typed()?),
            _ => Err(AdminError::UnexpectedReply),
        }
    }

    fn ask(&mut self, command: Command) -> Result<Reply, AdminError> {
        match self.keys.execute(&[command]).pop() {
            Some(Reply::Refused { why }) => Err(why.into()),
            Some(reply) => Ok(reply),
            None => Err(AdminError::UnexpectedReply),
        }
    }
}

fn office_key(owner: &Owner, usage: Usage) -> Vec<u8> {
    format!("{}/{}", owner.text(), usage.name()).into_bytes()
}

fn expiry_of(today: LocalDate) -> Expiry {
    let digits = format!("{:02}{:02}", today.year() % 100, today.month());
    Expiry::parse(&digits).expect("a month of a real date")
}

fn now() -> Tick {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Tick { monotonic_ms: 0, wall_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
}

/// Today by this machine's clock, UTC: what certificates are dated by.
pub fn today_utc() -> LocalDate {
    CivilTime::from_unix_ms(now().wall_ms, 0).date
}
