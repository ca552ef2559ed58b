//! Many machines on one store: events queue while a machine's append is outstanding, appends are committed in groups.
//!
//! The driver holds no store. It hands out [`Work`], which [`perform`] does on whatever thread owns the store, and takes the
//! [`WorkDone`] back. While one group is being synced the next one gathers, so groups grow exactly as fast as the disk is slow.
//!
//! Power cuts: what a cut can separate lies between the caller's own calls. After [`HostDriver::run`] machines have decided
//! and nothing is written; after [`perform`] it is written and no effect has left; effects come back as a list of which a
//! simulator may run any prefix.

use crate::Halt;
use machine::store::{Append, Journal, Outcome, Row, Store, StoreFault};
use machine::wire::{Encode, Malformed};
use machine::{Batch, Durable, Machine, MachineId, Tick};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most appends in one group.
pub const GROUP_APPENDS_MAX: usize = 1_024;
/// Most events that wait for one machine; a terminal asks one thing at a time, so a longer queue is abuse.
pub const QUEUED_EVENTS_MAX: usize = 64;
/// Most machines kept in memory. Beyond it, the longest unused idle ones are forgotten; the store brings them back.
pub const MACHINES_CACHED_MAX: usize = 50_000;

/// Shorthands for the words of a kind's machine.
type Event<K> = <<K as HostKind>::Machine as Machine>::Event;
type Record<K> = <<K as HostKind>::Machine as Machine>::Record;
type Effect<K> = <<K as HostKind>::Machine as Machine>::Effect;

/// What the driver must know of the machines that it drives.
pub trait HostKind {
    /// The machine.
    type Machine: Machine<Record: Encode>;

    /// Makes a machine from its journal (records from the newest snapshot on).
    fn restore(&self, id: MachineId, journal: &Journal) -> Result<Self::Machine, Malformed>;
    /// The first event of a restored machine, if it wants one.
    fn power_on(&self) -> Option<Event<Self>>;
    /// The event that answers a batch with records.
    fn appended(&self, outcome: Outcome) -> Event<Self>;
    /// The event at a machine's deadline.
    fn wake(&self) -> Event<Self>;
    /// The rows that go with a record.
    fn rows(&self, record: &Record<Self>) -> Vec<Row>;
    /// Whether a record holds the machine's whole state. Such a record stands last in its batch.
    fn is_snapshot(&self, record: &Record<Self>) -> bool;
    /// What a machine that is thrown away after a conflict had taken on and not answered, to be stepped again.
    fn unanswered(&self, machine: Self::Machine) -> Vec<Event<Self>>;
}

/// Where an effect came from and its answer goes back to: a machine, and which of its lives in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    machine: MachineId,
    life: u64,
}

impl Address {
    pub(crate) fn new(machine: MachineId, life: u64) -> Self {
        Self { machine, life }
    }

    /// The machine.
    pub fn machine(&self) -> MachineId {
        self.machine
    }
}

/// A machine's queue is full; the event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many events wait for {0}")]
pub struct Overloaded(pub MachineId);

/// One round for the thread that owns the store.
#[derive(Debug, Default)]
pub struct Work {
    /// Appends of one transaction.
    pub appends: Vec<Append>,
    /// Machines to load afterwards.
    pub loads: Vec<MachineId>,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct WorkDone {
    /// One answer for each append.
    pub outcomes: Vec<Outcome>,
    /// One journal for each load, with the proof that it is whole.
    pub journals: Vec<(MachineId, Journal, Durable)>,
}

/// Does a round on the store. Loads come after the appends, so that a machine reloaded after a conflict sees them.
pub fn perform(work: &Work, store: &mut dyn Store) -> Result<WorkDone, StoreFault> {
    let outcomes = if work.appends.is_empty() { Vec::new() } else { store.append(&work.appends)? };
    let mut journals = Vec::with_capacity(work.loads.len());
    for machine in &work.loads {
        journals.push(load(store, *machine)?);
    }
    Ok(WorkDone { outcomes, journals })
}

/// Loads until nobody has written between reading the journal and proving its end.
fn load(store: &mut dyn Store, machine: MachineId) -> Result<(MachineId, Journal, Durable), StoreFault> {
    loop {
        let journal = store.load(machine)?;
        let first_sequence = journal.last_sequence + 1;
        let version_check = Append { machine, first_sequence, records: vec![], rows: vec![], snapshot: false };
        if let Some(Outcome::Durable(proof)) = store.append(&[version_check])?.pop() {
            return Ok((machine, journal, proof));
        }
    }
}

/// Drives every machine of a host.
pub struct HostDriver<K: HostKind> {
    kind: K,
    slots: BTreeMap<MachineId, Slot<K>>,
    /// Machines that have something to do and may do it, in the order in which they became so.
    ready: VecDeque<MachineId>,
    deadlines: BTreeSet<(u64, MachineId)>,
    unused_since: BTreeMap<u64, MachineId>,
    appends: Vec<Append>,
    loads: Vec<MachineId>,
    /// Machines of the group that is out, in its order; and whether a round is out at all.
    group: Vec<MachineId>,
    round_out: bool,
    lives: u64,
    uses: u64,
    machines_cached_max: usize,
}

struct Slot<K: HostKind> {
    queue: VecDeque<Queued<Event<K>>>,
    state: State<K>,
    /// Whether the slot stands in `ready`.
    ready: bool,
    last_use: u64,
}

/// An event that waits, and whether it outlives the machine value that it waits for.
enum Queued<E> {
    /// From outside: stays when the machine is reloaded.
    Request(E),
    /// An answer, wake-up or outcome: means something to one life of the machine only.
    OfThisLife(E),
}

enum State<K: HostKind> {
    Loading,
    Live(Box<Live<K>>),
}

struct Live<K: HostKind> {
    machine: K::Machine,
    life: u64,
    proof: Durable,
    outstanding: Option<Batch<Record<K>, Effect<K>>>,
    deadline_ms: Option<u64>,
}

/// Effects with the address that answers go back to.
type Effects<K> = Vec<(Address, Effect<K>)>;

impl<K: HostKind> HostDriver<K> {
    /// A driver without machines; each is loaded at its first event.
    pub fn new(kind: K) -> Self {
        Self {
            kind,
            slots: BTreeMap::new(),
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            unused_since: BTreeMap::new(),
            appends: Vec::new(),
            loads: Vec::new(),
            group: Vec::new(),
            round_out: false,
            lives: 0,
            uses: 0,
            machines_cached_max: MACHINES_CACHED_MAX,
        }
    }

    /// Changes how many machines are kept in memory.
    pub fn with_machines_cached_max(mut self, machines: usize) -> Self {
        self.machines_cached_max = machines.max(1);
        self
    }

    /// What the driver knows of its machines.
    pub fn kind(&self) -> &K {
        &self.kind
    }

    /// Machines in memory.
    pub fn machines_cached(&self) -> usize {
        self.slots.len()
    }

    /// Gives a machine an event from outside; the machine is loaded if it is not in memory.
    pub fn deliver(&mut self, machine: MachineId, event: Event<K>) -> Result<(), Overloaded> {
        if !self.slots.contains_key(&machine) {
            self.forget_unused();
            self.slots
                .insert(machine, Slot { queue: VecDeque::new(), state: State::Loading, ready: false, last_use: 0 });
            self.loads.push(machine);
        }
        self.uses += 1;
        let slot = self.slots.get_mut(&machine).expect("it was there or has just been made");
        if slot.queue.len() >= QUEUED_EVENTS_MAX {
            return Err(Overloaded(machine));
        }
        self.unused_since.remove(&slot.last_use);
        slot.last_use = self.uses;
        self.unused_since.insert(self.uses, machine);
        slot.queue.push_back(Queued::Request(event));
        self.mark_ready(machine);
        Ok(())
    }

    /// Gives the answer to an effect back to the machine that asked. An answer to an earlier life of the machine is dropped:
    /// its tickets mean other questions now. Answers are never refused for the length of the queue.
    pub fn answer(&mut self, address: Address, event: Event<K>) {
        let Some(slot) = self.slots.get_mut(&address.machine) else { return };
        if let State::Live(live) = &slot.state
            && live.life == address.life
        {
            slot.queue.push_back(Queued::OfThisLife(event));
            self.mark_ready(address.machine);
        }
    }

    /// Wakes every machine whose deadline has come.
    pub fn wake_due(&mut self, now: Tick) {
        while let Some((deadline_ms, machine)) = self.deadlines.first().copied() {
            if deadline_ms > now.monotonic_ms {
                return;
            }
            self.deadlines.pop_first();
            let Some(slot) = self.slots.get_mut(&machine) else { continue };
            if let State::Live(live) = &mut slot.state {
                live.deadline_ms = None;
                slot.queue.push_back(Queued::OfThisLife(self.kind.wake()));
                self.mark_ready(machine);
            }
        }
    }

    /// The earliest deadline of any machine, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Steps every machine that can be stepped, until none can. Effects of batches without records leave at once: what they
    /// rest on is durable already, as no machine is stepped while an append of its own is outstanding.
    pub fn run(&mut self, now: Tick, effects: &mut Effects<K>) {
        while let Some(id) = self.ready.pop_front() {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.ready = false;
            let State::Live(live) = &mut slot.state else { continue };
            while live.outstanding.is_none()
                && let Some(Queued::Request(event) | Queued::OfThisLife(event)) = slot.queue.pop_front()
            {
                let batch = live.machine.step(now, event);
                live.take(batch, id, &self.kind, &mut self.appends, effects);
            }
            live.keep_deadline(id, &mut self.deadlines);
        }
    }

    /// Whether there is anything for the store to do and no round is out.
    pub fn has_work(&self) -> bool {
        !self.round_out && (!self.appends.is_empty() || !self.loads.is_empty())
    }

    /// The next round for the store, if [`HostDriver::has_work`].
    pub fn take_work(&mut self) -> Option<Work> {
        if !self.has_work() {
            return None;
        }
        let rest = self.appends.split_off(self.appends.len().min(GROUP_APPENDS_MAX));
        let appends = std::mem::replace(&mut self.appends, rest);
        self.group = appends.iter().map(|append| append.machine).collect();
        self.round_out = true;
        Some(Work { appends, loads: std::mem::take(&mut self.loads) })
    }

    /// Whether a round is out.
    pub fn round_out(&self) -> bool {
        self.round_out
    }

    /// Takes a finished round: releases the effects of what is durable, tells every machine, and starts loaded ones.
    /// [`HostDriver::run`] must follow.
    pub fn finish_work(&mut self, done: WorkDone, effects: &mut Effects<K>) -> Result<(), Halt> {
        assert!(self.round_out, "a round is finished that was never taken");
        assert_eq!(done.outcomes.len(), self.group.len(), "the store answers every append");
        self.round_out = false;
        for (id, outcome) in std::mem::take(&mut self.group).into_iter().zip(done.outcomes) {
            self.finish_append(id, outcome, effects);
        }
        for (id, journal, proof) in done.journals {
            self.start(id, &journal, proof)?;
        }
        Ok(())
    }

    fn finish_append(&mut self, id: MachineId, outcome: Outcome, effects: &mut Effects<K>) {
        let slot = self.slots.get_mut(&id).expect("a machine with an outstanding append is never forgotten");
        let State::Live(live) = &mut slot.state else { unreachable!("only live machines append") };
        let batch = live.outstanding.take().expect("the store answered an append that is outstanding");
        match &outcome {
            Outcome::Durable(proof) => {
                live.proof = *proof;
                live.release(batch, id, effects);
            }
            Outcome::GuardFailed(_) => batch.discard(),
            Outcome::Conflict => {
                batch.discard();
                return self.reload(id);
            }
        }
        // The machine learns of its own append before anything that came in meanwhile.
        slot.queue.push_front(Queued::OfThisLife(self.kind.appended(outcome)));
        self.mark_ready(id);
    }

    /// Somebody else wrote this journal: the machine in memory is worthless, what it had taken on is not.
    fn reload(&mut self, id: MachineId) {
        let slot = self.slots.get_mut(&id).expect("the caller found it");
        let State::Live(live) = std::mem::replace(&mut slot.state, State::Loading) else {
            unreachable!("only live machines are reloaded")
        };
        if let Some(deadline_ms) = live.deadline_ms {
            self.deadlines.remove(&(deadline_ms, id));
        }
        // The new life gives its tickets out anew: an answer meant for the old one would be taken for another's.
        slot.queue.retain(|queued| matches!(queued, Queued::Request(_)));
        for event in self.kind.unanswered(live.machine).into_iter().rev() {
            slot.queue.push_front(Queued::Request(event));
        }
        self.loads.push(id);
    }

    fn start(&mut self, id: MachineId, journal: &Journal, proof: Durable) -> Result<(), Halt> {
        let machine = self.kind.restore(id, journal).map_err(|cause| Halt::Unreadable { machine: id, cause })?;
        let Some(slot) = self.slots.get_mut(&id) else { return Ok(()) };
        self.lives += 1;
        let live = Live { machine, life: self.lives, proof, outstanding: None, deadline_ms: None };
        slot.state = State::Live(Box::new(live));
        if let Some(event) = self.kind.power_on() {
            slot.queue.push_front(Queued::OfThisLife(event));
        }
        self.mark_ready(id);
        Ok(())
    }

    fn mark_ready(&mut self, id: MachineId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let State::Live(live) = &slot.state else { return };
        if !slot.ready && live.outstanding.is_none() && !slot.queue.is_empty() {
            slot.ready = true;
            self.ready.push_back(id);
        }
    }

    /// Drops every machine that waits for nothing: another process has written, and what is remembered may be old. Machines at
    /// work find out by themselves, as their next append conflicts.
    pub fn forget_idle(&mut self) {
        let idle: Vec<MachineId> = self.slots.iter().filter(|(_, slot)| slot.is_idle()).map(|(id, _)| *id).collect();
        for id in idle {
            if let Some(slot) = self.slots.remove(&id) {
                self.unused_since.remove(&slot.last_use);
            }
        }
    }

    /// Makes room by dropping machines that wait for nothing, longest unused first.
    fn forget_unused(&mut self) {
        if self.slots.len() < self.machines_cached_max {
            return;
        }
        let idle = |id: &MachineId| self.slots.get(id).is_some_and(Slot::is_idle);
        let victim = self.unused_since.iter().find(|(_, id)| idle(id)).map(|(use_number, id)| (*use_number, *id));
        if let Some((use_number, id)) = victim {
            self.unused_since.remove(&use_number);
            self.slots.remove(&id);
        }
    }
}

impl<K: HostKind> Slot<K> {
    /// Whether nothing is lost if the machine is dropped: it waits for no event, append, answer or deadline.
    fn is_idle(&self) -> bool {
        match &self.state {
            State::Loading => false,
            State::Live(live) => self.queue.is_empty() && live.outstanding.is_none() && live.deadline_ms.is_none(),
        }
    }
}

impl<K: HostKind> Live<K> {
    /// Puts a batch's records on the next group, or releases it if it has none.
    fn take(
        &mut self,
        batch: Batch<Record<K>, Effect<K>>,
        id: MachineId,
        kind: &K,
        appends: &mut Vec<Append>,
        effects: &mut Effects<K>,
    ) {
        assert_eq!(batch.machine(), id, "a machine speaks for itself");
        let records = batch.records();
        if records.is_empty() {
            return self.release(batch, id, effects);
        }
        appends.push(Append {
            machine: id,
            first_sequence: batch.first_sequence(),
            records: records.iter().map(Encode::to_bytes).collect(),
            rows: records.iter().flat_map(|record| kind.rows(record)).collect(),
            snapshot: records.last().is_some_and(|record| kind.is_snapshot(record)),
        });
        self.outstanding = Some(batch);
    }

    fn release(&mut self, batch: Batch<Record<K>, Effect<K>>, id: MachineId, effects: &mut Effects<K>) {
        let address = Address::new(id, self.life);
        effects.extend(batch.release(self.proof).into_iter().map(|effect| (address, effect)));
    }

    fn keep_deadline(&mut self, id: MachineId, deadlines: &mut BTreeSet<(u64, MachineId)>) {
        let deadline_ms = self.machine.deadline();
        if deadline_ms == self.deadline_ms {
            return;
        }
        if let Some(old) = self.deadline_ms {
            deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline_ms {
            deadlines.insert((new, id));
        }
        self.deadline_ms = deadline_ms;
    }
}
