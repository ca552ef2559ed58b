//! A small model of the protocol between tills and host, for a checker that visits every state of it.
//!
//! **Duty.** Reversal, store-and-forward, settlement and rollover of working keys, written once more in a few hundred lines as
//! transitions of a small state: two terminals with two transactions each, their host machines, the ledger that they share,
//! the journals of all of them and the network between.
//! **Knows.** The rules of ARCHITECTURE.md (invariants 2, 3, 8, 10, 16), as `pure/till` and `pure/acquirer` keep them.
//! **Never.** Uses the machines themselves: those run in the simulator, which samples. Here nothing is sampled.
//! **Start here.** [`Protocol`] with its [`Config`]; `tests/exhaustive.rs` checks it, `tests/planted.rs` checks the check.
//!
//! # What is in the model
//!
//! * **Network.** A set of messages. Each may be delivered at any later time, any number of times, or never: that is loss,
//!   duplication, delay and reordering, all unbounded. A till takes an answer only while it waits for it.
//! * **Journals.** A step writes a record; only once it is durable is its effect released. A crash in between loses it.
//!   Tills and host crash at any point, any number of times; what is volatile is lost then, and a till's first step after it is
//!   the power-on step that resolves the open intent.
//! * **Time.** A wait may time out at any moment; the window in which earlier keys are good may close at any moment.
//! * **Money.** All sales are paid from one account; a posting is guarded inside the append. One terminal refunds what the other one
//!   sold, while that one voids it.
//!
//! What is bounded: transactions, batches, sign-ins and versions of keys ([`Config`]). What is left out: script notices,
//! downloads, uploads of a settlement's details (they move no money), the operator's word about a parked matter.
//!
//! # Reductions
//!
//! [`Config::forget_dead_messages`] drops messages whose delivery could change nothing any more. The tests compare verdicts
//! with and without it. Symmetry between the terminals is not used: their plans differ.

mod config;
mod heal;
mod host;
mod network;
mod properties;
mod protocol;
mod state;
mod till;

pub use config::{Bug, Config, Kind, PLANTED_BUGS, Plan};
pub use heal::heal;
pub use host::{Entry, HostTerminal, Postings, Work};
pub use network::{Answer, Network, Request};
pub use protocol::{Action, Protocol};
pub use state::{State, TERMINALS, TRANSACTIONS};
pub use till::{Journal, Payment, Phase, Record, Settlement, Status, Till};
