//! Keys and parameter sets: how they come in, what is told about them.

use crate::machine::Ped;
use crate::parameters::{self, Sorted};
use crate::record::Record;
use crate::words::{Effect, TransportKey};
use emv::EmvDate;
use keys::{KeyBlock, KeyCheckValue, Refusal, TerminalMaster, WorkingKeys};
use pedlink::PedReply;
use types::CivilTime;

/// First version of a terminal's enrolment KEK.
const TRANSPORT_KEY_VERSION: u32 = 1;

impl Ped {
    pub(crate) fn status(&mut self) {
        let count = |entries: &[Vec<u8>]| u16::try_from(entries.len()).unwrap_or(u16::MAX);
        self.reply(PedReply::Status {
            master_key: self.holdings.master_key.is_some(),
            working_keys: self.holdings.working_keys.is_some(),
            capks: count(&self.holdings.capks),
            aids: count(&self.holdings.aids),
        });
    }

    pub(crate) fn make_transport_key(&mut self, recipient: Vec<u8>) {
        let old = self.holdings.transport_key.as_ref();
        let version = old.map_or(TRANSPORT_KEY_VERSION, |key| key.header().version.saturating_add(1));
        let result = self.vault.make_transport_key(self.config.terminal, version, recipient);
        let result = result.map(|(key, enciphered, check)| {
            self.record(Record::TransportKeyMade(key));
            TransportKey { enciphered, check }
        });
        self.effect(Effect::TransportKey(result));
    }

    pub(crate) fn install_master_key(&mut self, enciphered: Vec<u8>, check: KeyCheckValue, version: u32) {
        let result = match self.holdings.transport_key.clone() {
            Some(under) => self.vault.import_master_key(self.config.terminal, version, under, enciphered, check),
            None => Err(Refusal::WrongKey),
        };
        match result {
            Ok(key) => self.adopt_master_key(key),
            Err(refusal) => self.effect(Effect::MasterKeyInstalled(Err(refusal))),
        }
    }

    pub(crate) fn adopt_master_key(&mut self, key: KeyBlock<TerminalMaster>) {
        let result = self.vault.check_master_key(&key);
        if result.is_ok() {
            self.record(Record::MasterKeyInstalled(key));
        }
        self.effect(Effect::MasterKeyInstalled(result));
    }

    /// Takes the working keys of a sign-in. Any fault leaves no working keys at all (unionpay-pos §4.3).
    pub(crate) fn load_working_keys(&mut self, delivery: Vec<u8>) {
        let version = self.holdings.working_key_version.saturating_add(1);
        let result = self.load_under_any_master_key(version, &delivery);
        let loaded = result.is_ok();
        if let Some(session) = self.session.as_mut() {
            session.pin_outdated |= session.pin_block.take().is_some();
        }
        match result {
            Ok(keys) => self.record(Record::WorkingKeysLoaded { keys, version }),
            Err(_) if self.holdings.working_keys.is_some() => self.record(Record::WorkingKeysErased),
            Err(_) => {}
        }
        self.reply(PedReply::WorkingKeysLoaded { loaded });
    }

    /// The check values of a delivery say which master key it is under: the host's newest, or an older one as long as the host has
    /// not moved on. The first that fits is the one to keep.
    fn load_under_any_master_key(&mut self, version: u32, delivery: &[u8]) -> Result<WorkingKeys, Refusal> {
        let mut refusal = Refusal::WrongKey;
        for staged in self.holdings.staged_master_keys.clone().into_iter().rev() {
            match self.vault.load_working_keys(staged.clone(), version, delivery.to_vec()) {
                Ok(keys) => {
                    self.record(Record::MasterKeyProved(staged));
                    return Ok(keys);
                }
                Err(why) => refusal = why,
            }
        }
        match self.holdings.master_key.clone() {
            Some(master) => self.vault.load_working_keys(master, version, delivery.to_vec()),
            None => Err(refusal),
        }
    }

    pub(crate) fn introduce(&mut self, host: [u8; 32]) {
        let result = self.vault.pin_distribution_host(host).and_then(|()| self.vault.identity());
        self.effect(Effect::Introduced(result));
    }

    pub(crate) fn begin_master_key_load(&mut self) {
        let result = self.vault.begin_remote_load(self.config.terminal);
        self.effect(Effect::LoadRequest(result));
    }

    pub(crate) fn accept_master_key(&mut self, token: Vec<u8>) {
        match self.vault.accept_load_token(token) {
            Ok(key) => self.stage_master_key(key),
            Err(refusal) => self.effect(Effect::MasterKeyInstalled(Err(refusal))),
        }
    }

    /// Keeps a newer master key beside the present one. Nothing that is in use changes before a sign-in.
    pub(crate) fn stage_master_key(&mut self, key: KeyBlock<TerminalMaster>) {
        let result = self.stage(key);
        self.effect(Effect::MasterKeyInstalled(result));
    }

    fn stage(&mut self, key: KeyBlock<TerminalMaster>) -> Result<KeyCheckValue, Refusal> {
        let check = self.vault.check_master_key(&key)?;
        let present = self.holdings.master_key.as_ref().ok_or(Refusal::WrongKey)?;
        if key.header().version <= present.header().version {
            return Err(Refusal::WrongKey);
        }
        if !self.holdings.has_room_for(key.header().version) {
            return Err(Refusal::Unavailable);
        }
        self.record(Record::MasterKeyStaged(key));
        Ok(check)
    }

    pub(crate) fn install_capks(&mut self, entries: Vec<Vec<u8>>, at: CivilTime) {
        let sorted = match emv_date(at) {
            Some(today) => parameters::sort_capks(entries, today),
            None => Sorted { taken: Vec::new(), skipped: vec!["the date cannot be written in a chip".to_owned()] },
        };
        self.install(sorted, Record::CapksReplaced);
    }

    pub(crate) fn install_aids(&mut self, entries: Vec<Vec<u8>>) {
        self.install(parameters::sort_aids(entries), Record::AidsReplaced);
    }

    /// A set replaces the old one as a whole (D21), unless nothing of it can be used.
    fn install(&mut self, sorted: Sorted, record: fn(Vec<Vec<u8>>) -> Record) {
        let (taken, broken) = (sorted.count(), sorted.is_broken());
        if !broken {
            self.record(record(sorted.taken));
        }
        self.reply(PedReply::ParametersInstalled { taken, skipped: sorted.skipped });
    }
}

/// A date as chips write it, 1950–2049.
pub(crate) fn emv_date(at: CivilTime) -> Option<EmvDate> {
    EmvDate::new(at.date.year(), at.date.month(), at.date.day()).ok()
}
