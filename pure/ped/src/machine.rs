//! The PED as a machine: who handles which event.

use crate::account::BlobOwner;
use crate::config::PedConfig;
use crate::parameters::Installed;
use crate::record::{Holdings, Record};
use crate::session::{Session, Stage};
use crate::vault::Vault;
use crate::words::{Effect, Event, PinEntry, Prompt};
use core::fmt;
use keys::KeyService;
use machine::{Batch, Machine, MachineId, Tick};
use pedlink::{PedCommand, PedReply};

/// Records after which `PowerOn` writes a snapshot, so that a store may forget what is older.
pub const SNAPSHOT_AFTER_RECORDS: u64 = 512;

/// The secure part of a terminal. It drives the kernel, holds the key blocks and completes every message.
pub struct Ped {
    pub(crate) config: PedConfig,
    pub(crate) vault: Vault,
    pub(crate) holdings: Holdings,
    /// The holdings' parameters as the kernel wants them, read when first needed.
    pub(crate) installed: Option<Installed>,
    pub(crate) session: Option<Session>,
    /// The monotonic time at which the session's patience ends.
    pub(crate) deadline_ms: Option<u64>,
    /// Time of the event in hand.
    pub(crate) now: Tick,
    sequence: u64,
    records_since_snapshot: u64,
    records: Vec<Record>,
    effects: Vec<Effect>,
}

impl fmt::Debug for Ped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.session.as_ref().map(|session| session.number);
        write!(formatter, "Ped(terminal {}, record {}, session {session:?})", self.config.terminal, self.sequence)
    }
}

impl Ped {
    /// A PED that holds nothing yet. The vault must have been opened for `keys::Caller::Ped`.
    pub fn new(config: PedConfig, vault: Box<dyn KeyService + Send>) -> Self {
        Self::restore(config, vault, Vec::new(), 0)
    }

    /// A PED as its records left it: all of them, or from the newest snapshot on. `last_sequence` is the number of the last one
    /// (`machine::store::Journal::last_sequence`). Send [`Event::PowerOn`] next.
    pub fn restore(
        config: PedConfig,
        vault: Box<dyn KeyService + Send>,
        records: Vec<Record>,
        last_sequence: u64,
    ) -> Self {
        let mut ped = Self {
            config,
            vault: Vault::new(vault),
            holdings: Holdings::default(),
            installed: None,
            session: None,
            deadline_ms: None,
            now: Tick::default(),
            sequence: last_sequence,
            records_since_snapshot: 0,
            records: Vec::new(),
            effects: Vec::new(),
        };
        for record in &records {
            ped.apply(record);
        }
        ped
    }

    /// The name under which its journal is kept.
    pub fn machine_id() -> MachineId {
        MachineId::new("ped").expect("a short printable name")
    }

    /// What it holds for longer than a session.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    fn apply(&mut self, record: &Record) {
        self.holdings.apply(record);
        if record.replaces_parameters() {
            self.installed = None;
        }
        self.records_since_snapshot = if record.is_snapshot() { 0 } else { self.records_since_snapshot + 1 };
    }

    /// Takes a durable fact: into the state and into the batch.
    pub(crate) fn record(&mut self, record: Record) {
        self.apply(&record);
        self.sequence += 1;
        self.records.push(record);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn reply(&mut self, reply: PedReply) {
        self.effects.push(Effect::ToTill(Box::new(reply)));
    }

    /// Sets the end of patience, `delay_ms` from now.
    pub(crate) fn wait_at_most(&mut self, delay_ms: u64) {
        self.deadline_ms = Some(self.now.monotonic_ms.saturating_add(delay_ms));
    }

    /// Whose blobs this PED makes and opens.
    pub(crate) fn blob_owner(&self) -> BlobOwner {
        BlobOwner { terminal: self.config.terminal, merchant: self.config.merchant }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::PowerOn => self.power_on(),
            Event::Till(command) => self.handle_command(command),
            Event::CardInserted(answer_to_reset) => self.card_inserted(&answer_to_reset),
            Event::CardResponse(response) => self.card_response(response),
            Event::PinEntered(entry) => self.pin_entered(entry),
            Event::ApplicationChosen(index) => self.application_chosen(index),
            Event::Entropy(bytes) => self.entropy(bytes),
            Event::MakeTransportKey { recipient } => self.make_transport_key(recipient),
            Event::InstallMasterKey { enciphered, check, version } => {
                self.install_master_key(enciphered, check, version);
            }
            Event::AdoptMasterKey(key) => self.adopt_master_key(key),
            Event::Introduce { host } => self.introduce(host),
            Event::BeginMasterKeyLoad => self.begin_master_key_load(),
            Event::AcceptMasterKey { token } => self.accept_master_key(token),
            Event::StageMasterKey(key) => self.stage_master_key(key),
            Event::Wake => self.wake(),
        }
    }

    fn handle_command(&mut self, command: PedCommand) {
        match command {
            PedCommand::Status => self.status(),
            PedCommand::InstallCapks { entries, at } => self.install_capks(entries, at),
            PedCommand::InstallAids { entries } => self.install_aids(entries),
            PedCommand::LoadWorkingKeys { delivery } => self.load_working_keys(delivery),
            PedCommand::ReadCard { session, transaction } => self.read_card(session, transaction),
            PedCommand::CompleteFrame { template, account } => self.complete_frame(&template, &account),
            PedCommand::CheckResponse { frame, expected } => self.check_response(&frame, &expected),
            PedCommand::FinishCard { session, answer } => self.finish_card(session, answer),
            PedCommand::CancelCard { session } => self.cancel_card(session),
        }
    }

    /// Whatever was under way is gone; the card, if there is one, is released.
    fn power_on(&mut self) {
        if self.session.take().is_some_and(|session| session.is_open()) {
            self.effect(Effect::CloseKeypad);
            self.effect(Effect::PowerOffCard);
        }
        self.deadline_ms = None;
        self.effect(Effect::Display(Prompt::Idle));
        if self.records_since_snapshot >= SNAPSHOT_AFTER_RECORDS {
            self.record(Record::Snapshot(Box::new(self.holdings.clone())));
        }
    }

    /// The end of patience, by what was waited for.
    fn wake(&mut self) {
        if self.deadline_ms.is_none_or(|deadline| self.now.monotonic_ms < deadline) {
            return;
        }
        self.deadline_ms = None;
        match self.session.as_ref().map(|session| &session.stage) {
            Some(Stage::Entropy | Stage::PinEntropy { .. }) => self.give_up("no random bytes"),
            Some(Stage::Card) => self.give_up("no card was inserted"),
            Some(Stage::Response) => self.card_response(Err(crate::words::CardGone)),
            Some(Stage::Choice { .. }) => self.application_chosen(None),
            Some(Stage::Pin { .. }) => self.pin_entered(PinEntry::Timeout),
            Some(Stage::Till) => self.forget_session(),
            Some(Stage::Over) | None => {}
        }
    }
}

impl Machine for Ped {
    type Event = Event;
    type Record = Record;
    type Effect = Effect;

    fn step(&mut self, now: Tick, event: Event) -> Batch<Record, Effect> {
        self.now = now;
        self.handle(event);
        let records = core::mem::take(&mut self.records);
        let effects = core::mem::take(&mut self.effects);
        Batch::new(Self::machine_id(), self.sequence, records, effects)
    }

    fn deadline(&self) -> Option<u64> {
        self.deadline_ms
    }
}
