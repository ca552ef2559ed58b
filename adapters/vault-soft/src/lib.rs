//! The soft vault: keys in one locked process, sealed under a master key.
//!
//! * **Duty:** carries out the words of `keys` with the arithmetic of `paycrypto`, and keeps the one secret that all
//!   key blocks hang from in a sealed file.
//! * **Knows:** which key may do what, how often a guess may fail, how its own blocks and blobs are sealed.
//! * **Never:** lets a clear key, PIN or account number into a reply (but for what the PED itself sealed), talks to a
//!   network, or remembers working keys: they come with each command as key blocks.
//! * **Start here:** [`SoftVault::execute`], then `vault.rs` for what each command does.

mod account;
mod clock;
mod cryptogram;
mod entropy;
mod key_block;
mod limits;
mod passphrase;
mod passphrase_custody;
mod private_file;
mod refusal;
mod sealing;
mod secrets;
mod service;
mod timed_custody;
mod transport;
mod vault;
pub mod vault_file;
mod working_keys;

pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, EntropyFailure, SystemEntropy};
pub use limits::{CRYPTOGRAM_FAILURES_PER_MINUTE_MAX, MAC_FAILURES_PER_MINUTE_MAX, PIN_FAILURES_PER_MINUTE_MAX};
pub use passphrase::{PASSPHRASE_BYTES_MIN, Passphrase};
pub use passphrase_custody::PassphraseCustody;
pub use private_file::read_secret_line;
pub use secrets::{MASTER_KEY_BYTES, MasterSecrets, VaultKind};
pub use service::LocalKeys;
pub use timed_custody::{CUSTODY_TIMEOUT, TimedCustody};
pub use vault::SoftVault;
pub use vault_file::VaultFileError;
