//! The soft vault: keys in one locked process, sealed under a master key.
//!
//! * **Duty:** carries out the words of `keys` with the arithmetic of `paycrypto`, and keeps the one secret that all
//!   key blocks hang from in a sealed file.
//! * **Knows:** which key may do what, how often a guess may fail, how its own blocks and blobs are sealed.
//! * **Never:** lets a clear key, PIN or account number into a reply (but for what the PED itself sealed), talks to a
//!   network, or remembers working keys: they come with each command as key blocks.
//! * **Start here:** [`SoftVault::execute`], then `vault.rs` for what each command does.

mod account;
mod authentication;
mod card;
mod clock;
mod cryptogram;
mod dukpt;
mod entropy;
mod exchange;
mod key_block;
mod limits;
mod passphrase;
mod pin;
mod pin_guard;
mod refusal;
mod sealing;
mod secret_memory;
mod secrets;
mod service;
mod stack;
mod transport;
mod tries;
mod vault;
pub mod vault_file;
mod working_keys;

pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, EntropyFailure, SystemEntropy};
pub use limits::{
    ACCOUNT_DATA_FAILURES_PER_MINUTE_MAX, CARD_CODE_FAILURES_PER_DAY_MAX, CARD_CODE_FAILURES_PER_MINUTE_MAX,
    CRYPTOGRAM_FAILURES_PER_MINUTE_MAX, MAC_FAILURES_PER_MINUTE_MAX, MALFORMED_PIN_BLOCKS_PER_DAY_MAX,
    PIN_FAILURES_PER_DAY_MAX, PIN_FAILURES_PER_MINUTE_MAX,
};
pub use passphrase::{PASSPHRASE_BYTES_MIN, Passphrase};
pub use pin_guard::{CARDS_REMEMBERED_MAX, PIN_BLOCKS_REMEMBERED_MAX, PINS_PER_CARD_PER_DAY_MAX};
pub use secret_memory::{SecretBox, SecretBytesBox, SecretMemory, keep_crypto_heap_secret, secret_memory};
pub use secrets::{MASTER_KEY_BYTES, MasterSecrets, VaultKind};
pub use service::LocalKeys;
pub use stack::with_clean_stack;
pub use tries::TryFile;
pub use vault::SoftVault;
pub use vault_file::VaultFileError;
