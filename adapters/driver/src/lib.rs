//! The loop around a machine: step, persist, release, run effects, wake at the deadline.
//!
//! *Duty*: [`SingleDriver`] for one machine that halts rather than errs (the terminal's till and PED), [`HostDriver`] for
//! many machines whose appends are committed in groups (the host), [`Gather`] to send many machines' questions in one
//! batch. *Knows*: machines and stores in general, none in particular. *Never*: threads, sockets, clocks; whoever calls it
//! owns those, so the simulator runs this same code. *Start here*: [`SingleDriver::step`], [`HostDriver::run`].

mod gather;
mod host;
mod single;

pub use gather::{Gather, Gathered};
pub use host::{
    Address, GROUP_APPENDS_MAX, HostDriver, HostKind, MACHINES_CACHED_MAX, Overloaded, QUEUED_EVENTS_MAX, Work,
    WorkDone, perform,
};
pub use single::{Clock, Interrupt, Line, Port, Settled, SingleDriver, Uninterrupted};

use machine::MachineId;
use machine::store::{Outcome, StoreFault};

/// Why a driver stopped. Its machines must not be stepped again: only a restart from the store knows what is true.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The store cannot serve.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A record of this machine is not what its own code wrote.
    #[error("records of {machine} cannot be read: {cause}")]
    Unreadable {
        /// Whose.
        machine: MachineId,
        /// Where reading stopped.
        cause: machine::wire::Malformed,
    },
    /// The store refused an append that has no guards: somebody else writes this journal.
    #[error("append of {machine} was refused: {outcome:?}")]
    Refused {
        /// Whose.
        machine: MachineId,
        /// The store's answer.
        outcome: Outcome,
    },
    /// A test or simulator cut the power at this line.
    #[error("interrupted at {0:?}")]
    Interrupted(Line),
    /// It was used after it had stopped.
    #[error("the driver has stopped")]
    Stopped,
}
