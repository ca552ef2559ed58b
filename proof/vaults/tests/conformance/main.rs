//! One conformance suite for every custody, and for the whole vault opened from each.
//!
//! *Duty*: `suite.rs` says once what every custody must do; `passphrase.rs`, `pkcs11.rs` and `tpm.rs` run it on a real
//! passphrase file, a real SoftHSM2 token and a real swtpm, and add what only that device has. `vault.rs` compares
//! whole vaults, `process.rs` runs key processes. *Never*: skips. A machine without the tools fails.
//! *Start here*: `suite.rs`; `room.rs` for how each test gets a process, a folder and a time limit of its own.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod faulty;
mod memory;
mod passphrase;
mod pkcs11;
mod process;
mod room;
#[path = "../../../../adapters/vault-soft/tests/scan/mod.rs"]
mod scan;
mod stage;
mod suite;
mod tpm;
mod vault;
#[path = "../../../../adapters/vault-soft/tests/world/mod.rs"]
mod world;
