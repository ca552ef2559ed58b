//! The seam between what decides and what does.
//!
//! *Duty*: [`Machine`], the [`Batch`] of a step, and [`Durable`], the proof against which its effects leave; how
//! records encode themselves ([`wire`]), how they are framed and chained on disk ([`frame`]), and the port through
//! which they are stored ([`store`]). *Knows*: no machine in particular. *Never*: I/O, clocks, chance.
//! *Start here*: [`Machine`], then [`Batch::release`].

pub mod frame;
pub mod store;
pub mod wire;

use core::fmt;

/// What a driver reads from its two clocks when it steps a machine. Time is an input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick {
    /// Milliseconds of a clock that never goes back. Deadlines are in this unit; it means nothing across a restart.
    pub monotonic_ms: u64,
    /// Unix time in milliseconds, UTC, as the wall clock says. It may jump; no money decision rests on it.
    pub wall_ms: u64,
}

/// A part that decides. It does no I/O, reads no clock and draws no random numbers.
pub trait Machine {
    /// What the outside tells it.
    type Event;
    /// What must be durable before its effects may be seen.
    type Record;
    /// What it asks the outside to do.
    type Effect;

    /// Handles one event. It cannot fail: a bad input is answered by an effect.
    fn step(&mut self, now: Tick, event: Self::Event) -> Batch<Self::Record, Self::Effect>;

    /// The monotonic time at which it wants a wake-up event, if any.
    fn deadline(&self) -> Option<u64>;
}

/// Names one machine in a store: 1–24 printable ASCII characters, for example `till` or a terminal id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId {
    characters: [u8; MACHINE_ID_BYTES_MAX],
    length: u8,
}

/// Longest machine name in bytes.
pub const MACHINE_ID_BYTES_MAX: usize = 24;

impl MachineId {
    /// Checks length and alphabet.
    pub fn new(name: &str) -> Option<Self> {
        let printable = name.bytes().all(|byte| (0x20..0x7F).contains(&byte));
        if name.is_empty() || name.len() > MACHINE_ID_BYTES_MAX || !printable {
            return None;
        }
        let mut characters = [0; MACHINE_ID_BYTES_MAX];
        characters[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self { characters, length: u8::try_from(name.len()).expect("at most 24") })
    }

    /// The host machine of one terminal.
    pub fn of_terminal(terminal: types::TerminalId) -> Self {
        Self::new(terminal.text()).expect("a terminal id is eight printable characters")
    }

    /// The name.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.characters[..usize::from(self.length)]).expect("checked printable ASCII")
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MachineId({self})")
    }
}

/// What one step decided: records to write, and effects that wait for them.
///
/// `sequence` is the number of the machine's last record once this batch is written. A batch without records carries
/// the number of the machine's last record so far: its effects may rest on that one, so they too wait for it.
#[must_use = "a batch that is dropped loses the machine's decision"]
#[derive(Debug)]
pub struct Batch<R, E> {
    machine: MachineId,
    sequence: u64,
    records: Vec<R>,
    effects: Vec<E>,
}

impl<R, E> Batch<R, E> {
    /// A batch whose last record has number `sequence` (counted from 1; 0 means "nothing written yet").
    pub fn new(machine: MachineId, sequence: u64, records: Vec<R>, effects: Vec<E>) -> Self {
        assert!(sequence >= records.len() as u64, "a machine numbers its records from 1");
        Self { machine, sequence, records, effects }
    }

    /// The machine that decided.
    pub fn machine(&self) -> MachineId {
        self.machine
    }

    /// Number of the last record that the effects rest on.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number that the first record of this batch gets.
    pub fn first_sequence(&self) -> u64 {
        self.sequence + 1 - self.records.len() as u64
    }

    /// The records to write, in order.
    pub fn records(&self) -> &[R] {
        &self.records
    }

    /// Whether there is nothing to write and nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.effects.is_empty()
    }

    /// Hands the effects out against proof that everything they rest on is on stable storage.
    ///
    /// # Panics
    /// If the proof is another machine's or older than this batch: a bug in the driver that must not move money.
    pub fn release(self, proof: Durable) -> Vec<E> {
        assert_eq!(proof.machine, self.machine, "durability proof of another machine");
        assert!(proof.sequence >= self.sequence, "durability proof is older than the batch");
        self.effects
    }

    /// Takes the batch of a refused append apart: records and effects die, nobody has seen them.
    pub fn discard(self) {}
}

/// Proof that a machine's records up to `sequence` reached stable storage. Made by store adapters and the simulator only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Durable {
    machine: MachineId,
    sequence: u64,
}

impl Durable {
    /// States that the records are durable. One greppable name; `xtask tidy` allows it in stores and the simulator only.
    pub fn assertion(machine: MachineId, sequence: u64) -> Self {
        Self { machine, sequence }
    }

    /// The machine whose records are durable.
    pub fn machine(&self) -> MachineId {
        self.machine
    }

    /// Number of the last durable record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> MachineId {
        MachineId::new(name).unwrap()
    }

    #[test]
    fn effects_leave_against_a_fresh_proof() {
        let batch = Batch::new(id("till"), 3, vec!['a', 'b'], vec!["send"]);
        assert_eq!(batch.first_sequence(), 2);
        assert_eq!(batch.release(Durable::assertion(id("till"), 3)), vec!["send"]);
    }

    #[test]
    #[should_panic(expected = "older than the batch")]
    fn an_old_proof_is_a_bug() {
        Batch::new(id("till"), 3, vec!['a'], vec!["send"]).release(Durable::assertion(id("till"), 2));
    }

    #[test]
    #[should_panic(expected = "another machine")]
    fn a_foreign_proof_is_a_bug() {
        Batch::<char, _>::new(id("till"), 0, vec![], vec!["send"]).release(Durable::assertion(id("host"), 9));
    }

    #[test]
    fn names_are_short_and_printable() {
        assert!(MachineId::new("").is_none() && MachineId::new("a\n").is_none());
        assert!(MachineId::new(&"x".repeat(25)).is_none());
        assert_eq!(id("till").text(), "till");
    }
}
