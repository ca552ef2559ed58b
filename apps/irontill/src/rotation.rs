//! Rotation of keys while terminals pay: for `irontill load --rotate-keys-every-s`.

use crate::bureau;
use crate::load::Tally;
use crate::till_point::rotate_master_key;
use core::fmt;
use irontill_host::Admin;
use irontill_terminal::{Silent, Terminal};
use serde_json::Value;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use till::{OperatorCommand, OutcomeStatus};
use types::TerminalId;

/// How often keys of each kind were rotated.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rotations {
    /// Sign-ins between payments.
    pub working_keys: u64,
    /// Terminal master keys.
    pub master_keys: u64,
    /// All keys of the issuer.
    pub issuer_keys: u64,
    /// Base derivation keys that every DUKPT device has changed over to.
    pub base_derivation_keys: u64,
}

impl Rotations {
    pub fn add(&mut self, other: Self) {
        self.working_keys += other.working_keys;
        self.master_keys += other.master_keys;
        self.issuer_keys += other.issuer_keys;
        self.base_derivation_keys += other.base_derivation_keys;
    }

    fn kinds(self) -> [(&'static str, u64); 4] {
        [
            ("working_keys", self.working_keys),
            ("master_keys", self.master_keys),
            ("issuer_keys", self.issuer_keys),
            ("base_derivation_keys", self.base_derivation_keys),
        ]
    }

    /// A run that rotated nothing of a kind has shown nothing about it.
    pub fn missing(self) -> Vec<String> {
        let never = self.kinds().into_iter().filter(|(_, times)| *times == 0);
        never.map(|(kind, _)| format!("{kind} were never rotated: the run is too short")).collect()
    }

    pub fn to_json(self) -> Value {
        self.kinds().into_iter().map(|(kind, times)| (kind, Value::from(times))).collect()
    }
}

impl fmt::Display for Rotations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds().map(|(kind, times)| format!("{times} {}", kind.replace('_', " ")));
        write!(formatter, "rotated: {}", kinds.join(", "))
    }
}

/// One terminal's keys, in turn: a sign-in, a new master key, a sign-in under it, and so on.
pub(crate) struct TerminalRotation<'a> {
    admin: &'a Mutex<Admin>,
    id: &'a str,
    every: Duration,
    due: Instant,
    turns: u64,
}

impl<'a> TerminalRotation<'a> {
    pub fn new(admin: &'a Mutex<Admin>, id: &'a str, every: Duration) -> Self {
        Self { admin, id, every, due: Instant::now() + every, turns: 0 }
    }

    /// Between two payments.
    pub fn turn_if_due(&mut self, terminal: &mut Terminal, tally: &mut Tally) -> anyhow::Result<()> {
        if Instant::now() < self.due {
            return Ok(());
        }
        self.due = Instant::now() + self.every;
        self.turns += 1;
        if self.turns.is_multiple_of(2) {
            rotate_master_key(self.admin, TerminalId::parse(self.id)?, terminal)?;
            tally.rotations.master_keys += 1;
            return Ok(());
        }
        let completion = terminal.run(OperatorCommand::SignIn, &mut Silent)?;
        if completion.outcome.status == OutcomeStatus::Done {
            tally.rotations.working_keys += 1;
        } else {
            tally.problems.push(format!("terminal {}: sign-in: {}", self.id, completion.outcome.message.en));
        }
        Ok(())
    }
}

/// The issuer's keys, again and again until nobody is at work any more.
pub(crate) fn rotate_issuer(admin: &Mutex<Admin>, every: Duration, all_ended: &Receiver<()>) -> Tally {
    let mut tally = Tally::default();
    while all_ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        match bureau::rotate_issuer_keys(&mut locked(admin)) {
            Ok(_) => tally.rotations.issuer_keys += 1,
            Err(fault) => tally.problems.push(format!("issuer keys: {fault:#}")),
        }
    }
    tally
}

pub(crate) fn locked(admin: &Mutex<Admin>) -> MutexGuard<'_, Admin> {
    admin.lock().unwrap_or_else(PoisonError::into_inner)
}
