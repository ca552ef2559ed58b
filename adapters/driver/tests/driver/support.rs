//! A store in memory and a small machine, to drive the drivers with.

use driver::HostKind;
use machine::store::{AccountName, Append, GuardFailure, Journal, Outcome, Row, Store, StoreFault};
use machine::wire::{Encode, Malformed, Reader, Writer};
use machine::{Batch, Durable, Machine, MachineId, Tick};
use std::collections::BTreeMap;
use types::Currency;

pub fn id(name: &str) -> MachineId {
    MachineId::new(name).unwrap()
}

pub fn at(monotonic_ms: u64) -> Tick {
    Tick { monotonic_ms, wall_ms: 1_700_000_000_000 + monotonic_ms }
}

/// Journals and unique keys; no balances, which drivers never look at.
#[derive(Default, Clone)]
pub struct MemoryStore {
    pub journals: BTreeMap<MachineId, Vec<Vec<u8>>>,
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
    pub groups: Vec<usize>,
}

impl MemoryStore {
    fn append_one(&mut self, append: &Append) -> Outcome {
        let journal = self.journals.entry(append.machine).or_default();
        if append.first_sequence != journal.len() as u64 + 1 {
            return Outcome::Conflict;
        }
        for row in &append.rows {
            if let Row::Unique { space, key, .. } = row
                && let Some(value) = self.keys.get(key)
            {
                let failure = GuardFailure::Taken { space, key: key.clone(), value: value.clone() };
                return Outcome::GuardFailed(failure);
            }
        }
        for row in &append.rows {
            if let Row::Unique { key, value, .. } = row {
                self.keys.insert(key.clone(), value.clone());
            }
        }
        journal.extend(append.records.iter().cloned());
        Outcome::Durable(Durable::assertion(append.machine, journal.len() as u64))
    }
}

impl Store for MemoryStore {
    fn append(&mut self, group: &[Append]) -> Result<Vec<Outcome>, StoreFault> {
        self.groups.push(group.len());
        Ok(group.iter().map(|append| self.append_one(append)).collect())
    }

    fn load(&mut self, machine: MachineId) -> Result<Journal, StoreFault> {
        let records = self.journals.get(&machine).cloned().unwrap_or_default();
        let last_sequence = records.len() as u64;
        Ok(Journal { records, last_sequence })
    }

    fn find(&mut self, _: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.keys.get(key).cloned())
    }

    fn balance_minor(&mut self, _: &AccountName, _: Currency) -> Result<i64, StoreFault> {
        Ok(0)
    }
}

/// Adds up what it is told. Host style: it takes its record in only when it is durable.
pub struct Adder {
    id: MachineId,
    total: u64,
    sequence: u64,
    asked: BTreeMap<u64, u64>,
    tickets: u64,
    pending: Option<u64>,
    deadline: Option<u64>,
    /// Style of the terminal: records are taken in at once.
    at_once: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    PowerOn,
    Add(u64),
    /// Adds what the answer says.
    Ask(u64),
    Answer {
        ticket: u64,
        value: u64,
    },
    WakeAt(u64),
    Wake,
    Appended(Outcome),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added(pub u64);

impl Encode for Added {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.u64().map(Added)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Total(u64),
    Question { ticket: u64, about: u64 },
    Refused(u64),
    Woken,
    Hello(u64),
}

impl Adder {
    pub fn restore(id: MachineId, records: &[Added], at_once: bool) -> Self {
        let total = records.iter().map(|record| record.0).sum();
        let sequence = records.len() as u64;
        Self { id, total, sequence, asked: BTreeMap::new(), tickets: 0, pending: None, deadline: None, at_once }
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    fn nothing_to_write(&self, effects: Vec<Effect>) -> Batch<Added, Effect> {
        Batch::new(self.id, self.sequence, vec![], effects)
    }

    fn add(&mut self, value: u64) -> Batch<Added, Effect> {
        let effects = vec![Effect::Total(self.total + value)];
        if self.at_once {
            self.total += value;
            self.sequence += 1;
            return Batch::new(self.id, self.sequence, vec![Added(value)], effects);
        }
        self.pending = Some(value);
        Batch::new(self.id, self.sequence + 1, vec![Added(value)], effects)
    }
}

impl Machine for Adder {
    type Event = Event;
    type Record = Added;
    type Effect = Effect;

    fn step(&mut self, now: Tick, event: Event) -> Batch<Added, Effect> {
        match event {
            Event::PowerOn => self.nothing_to_write(vec![Effect::Hello(self.total)]),
            Event::Add(value) => self.add(value),
            Event::Ask(about) => {
                self.tickets += 1;
                self.asked.insert(self.tickets, about);
                self.nothing_to_write(vec![Effect::Question { ticket: self.tickets, about }])
            }
            Event::Answer { ticket, value } => match self.asked.remove(&ticket) {
                Some(_) => self.add(value),
                None => self.nothing_to_write(vec![]),
            },
            Event::WakeAt(deadline) => {
                self.deadline = Some(deadline);
                self.nothing_to_write(vec![])
            }
            Event::Wake => {
                assert!(self.deadline.is_some_and(|deadline| deadline <= now.monotonic_ms), "woken too early");
                self.deadline = None;
                self.nothing_to_write(vec![Effect::Woken])
            }
            Event::Appended(Outcome::Durable(_)) => {
                self.total += self.pending.take().expect("it appended something");
                self.sequence += 1;
                self.nothing_to_write(vec![])
            }
            Event::Appended(_) => {
                let refused = self.pending.take().expect("it appended something");
                self.nothing_to_write(vec![Effect::Refused(refused)])
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.deadline
    }
}

/// Values above 1000 are unique in the whole store.
pub struct Adders;

impl HostKind for Adders {
    type Machine = Adder;

    fn restore(&self, id: MachineId, journal: &Journal) -> Result<Adder, Malformed> {
        let records = journal.records.iter().map(|bytes| Added::from_bytes(bytes)).collect::<Result<Vec<_>, _>>()?;
        Ok(Adder::restore(id, &records, false))
    }
    fn power_on(&self) -> Option<Event> {
        Some(Event::PowerOn)
    }
    fn appended(&self, outcome: Outcome) -> Event {
        Event::Appended(outcome)
    }
    fn wake(&self) -> Event {
        Event::Wake
    }
    fn rows(&self, record: &Added) -> Vec<Row> {
        let key = record.0.to_be_bytes().to_vec();
        if record.0 > 1000 { vec![Row::Unique { space: "value", key, value: vec![] }] } else { vec![] }
    }
    fn is_snapshot(&self, _: &Added) -> bool {
        false
    }
    fn unanswered(&self, machine: Adder) -> Vec<Event> {
        let asked = machine.asked.into_values().map(Event::Ask);
        asked.chain(machine.pending.map(Event::Add)).collect()
    }
}
