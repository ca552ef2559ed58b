//! One machine that applies its records at once: if an append fails, the process stops.

use crate::Halt;
use machine::store::{Append, Outcome, Store};
use machine::wire::Encode;
use machine::{Batch, Durable, Machine, MachineId, Tick};
use std::collections::VecDeque;

/// A place between two lines at which a power cut makes a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Before the event reaches the machine.
    BeforeStep,
    /// The machine has decided, nothing is written.
    BeforeAppend,
    /// Everything is written, no effect has left.
    BeforeRelease,
    /// Before the effect of this number (from 0) is run, after those before it.
    BeforeEffect(usize),
}

/// Cuts the power for tests and simulators.
pub trait Interrupt {
    /// Whether the process dies at this line.
    fn cut(&mut self, line: Line) -> bool;
}

/// What production uses: nothing is ever cut on purpose.
pub struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn cut(&mut self, _: Line) -> bool {
        false
    }
}

/// Where a driver reads the time.
pub trait Clock {
    /// Both clocks, now.
    fn now(&mut self) -> Tick;
}

/// Runs a machine's effects on the world.
pub trait Port<M: Machine> {
    /// Runs one effect and returns the events that came of it at once, in order.
    fn run(&mut self, effect: M::Effect) -> Vec<M::Event>;
}

/// How [`SingleDriver::settle`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Events handled.
    pub events: u64,
    /// When the machine wants to be woken, in monotonic milliseconds.
    pub deadline_ms: Option<u64>,
}

/// Drives one machine on one store.
pub struct SingleDriver<M: Machine> {
    machine: M,
    id: MachineId,
    proof: Durable,
    is_snapshot: fn(&M::Record) -> bool,
    stopped: bool,
}

impl<M: Machine> SingleDriver<M>
where
    M::Record: Encode,
{
    /// Loads the journal of `id`, lets `restore` make the machine from its records (from the newest snapshot on) and the
    /// number of the last one, and proves that nobody else has written since. The caller then sends the machine its
    /// power-on event.
    pub fn open(
        store: &mut dyn Store,
        id: MachineId,
        is_snapshot: fn(&M::Record) -> bool,
        restore: impl FnOnce(Vec<M::Record>, u64) -> M,
    ) -> Result<Self, Halt> {
        let journal = store.load(id)?;
        let mut records = Vec::with_capacity(journal.records.len());
        for bytes in &journal.records {
            records.push(M::Record::from_bytes(bytes).map_err(|cause| Halt::Unreadable { machine: id, cause })?);
        }
        let version_check = Append {
            machine: id,
            first_sequence: journal.last_sequence + 1,
            records: Vec::new(),
            rows: Vec::new(),
            snapshot: false,
        };
        let proof = append_one(store, version_check)?;
        Ok(Self { machine: restore(records, journal.last_sequence), id, proof, is_snapshot, stopped: false })
    }

    /// The machine, for queries.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// When the machine wants to be woken, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.machine.deadline()
    }

    /// Steps the machine, makes its records durable, and hands out its effects: in this order, always.
    pub fn step(&mut self, store: &mut dyn Store, now: Tick, event: M::Event) -> Result<Vec<M::Effect>, Halt> {
        self.step_interruptibly(store, now, event, &mut Uninterrupted)
    }

    /// Like [`SingleDriver::step`], with the power cut where `interrupt` says so.
    pub fn step_interruptibly(
        &mut self,
        store: &mut dyn Store,
        now: Tick,
        event: M::Event,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Vec<M::Effect>, Halt> {
        if self.stopped {
            return Err(Halt::Stopped);
        }
        // Whatever fails below leaves the machine ahead of its journal, so it must never be stepped again.
        self.stopped = true;
        cut(interrupt, Line::BeforeStep)?;
        let batch = self.machine.step(now, event);
        cut(interrupt, Line::BeforeAppend)?;
        self.persist(store, &batch)?;
        cut(interrupt, Line::BeforeRelease)?;
        self.stopped = false;
        Ok(batch.release(self.proof))
    }

    /// Steps the machine with `event` and with every event that running its effects brings, until none is left.
    pub fn settle(
        &mut self,
        store: &mut dyn Store,
        clock: &mut dyn Clock,
        port: &mut dyn Port<M>,
        event: M::Event,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Settled, Halt> {
        let mut queue = VecDeque::from([event]);
        let mut events = 0;
        while let Some(event) = queue.pop_front() {
            events += 1;
            let effects = self.step_interruptibly(store, clock.now(), event, interrupt)?;
            for (number, effect) in effects.into_iter().enumerate() {
                if interrupt.cut(Line::BeforeEffect(number)) {
                    self.stopped = true;
                    return Err(Halt::Interrupted(Line::BeforeEffect(number)));
                }
                queue.extend(port.run(effect));
            }
        }
        Ok(Settled { events, deadline_ms: self.deadline_ms() })
    }

    fn persist(&mut self, store: &mut dyn Store, batch: &Batch<M::Record, M::Effect>) -> Result<(), Halt> {
        assert_eq!(batch.machine(), self.id, "a machine speaks for itself");
        if batch.records().is_empty() {
            return Ok(());
        }
        let append = Append {
            machine: self.id,
            first_sequence: batch.first_sequence(),
            records: batch.records().iter().map(Encode::to_bytes).collect(),
            rows: Vec::new(),
            snapshot: batch.records().last().is_some_and(self.is_snapshot),
        };
        self.proof = append_one(store, append)?;
        Ok(())
    }
}

fn append_one(store: &mut dyn Store, append: Append) -> Result<Durable, Halt> {
    let machine = append.machine;
    match store.append(&[append])?.pop() {
        Some(Outcome::Durable(proof)) => Ok(proof),
        Some(outcome) => Err(Halt::Refused { machine, outcome }),
        None => Err(Halt::Refused { machine, outcome: Outcome::Conflict }),
    }
}

fn cut(interrupt: &mut dyn Interrupt, line: Line) -> Result<(), Halt> {
    if interrupt.cut(line) { Err(Halt::Interrupted(line)) } else { Ok(()) }
}
