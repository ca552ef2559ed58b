//! The PED: the secure part of a terminal, as a machine.
//!
//! *Duty*: runs the EMV kernel, takes PINs, holds key blocks and parameter sets, completes every message (F2, F14, F22, F23,
//! F26, F35, F52, F53, F55, F64), checks every response, and seals what a later reversal or upload needs. *Knows*: the words of
//! [`pedlink`], the vault as a [`keys::KeyService`], the UnionPay dialect. *Never*: clear keys (they are the vault's), amounts
//! and outcomes (the till decides), I/O, clocks, chance. No track and no PIN outlives its session.
//! *Start here*: [`Ped`], [`Event`], [`Effect`]; then `reading`, `completing`, `finishing`.

mod account;
mod check;
mod checking;
mod chip;
mod completing;
mod compose;
mod config;
mod custody;
mod finishing;
mod machine;
mod parameters;
mod pin_entry;
mod reading;
mod record;
mod session;
mod trace;
mod vault;
mod words;

pub use crate::machine::{Ped, SNAPSHOT_AFTER_RECORDS};
pub use config::{PedConfig, Suite};
pub use reading::{ENTROPY_BYTES_MAX, SESSION_LINGER_MS};
pub use record::{Holdings, Record, STAGED_MASTER_KEYS_MAX};
pub use words::{CardGone, Effect, Event, PinEntry, Prompt, TransportKey};
