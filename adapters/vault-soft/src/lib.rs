//! The soft vault: keys in one locked process, sealed under a master key.
//!
//! * **Duty:** carries out the words of `keys` with the arithmetic of `paycrypto`, and keeps the one secret that all
//!   key blocks hang from in a sealed file.
//! * **Knows:** which key may do what, how often a guess may fail, how its own blocks and blobs are sealed.
//! * **Never:** lets a clear key, PIN or account number into a reply (but for what the PED itself sealed), talks to a
//!   network, or remembers working keys: they come with each command as key blocks.
//! * **Start here:** [`SoftVault::execute`], then `vault.rs` for what each command does.

mod account;
mod audit_medium;
mod audit_trail;
mod authentication;
mod card;
mod ceremonies;
mod clock;
mod cryptogram;
mod custodians;
mod dukpt;
mod entropy;
mod exchange;
mod handover;
mod key_block;
mod limits;
mod office;
mod passphrase;
mod passphrase_custody;
mod pin;
mod pin_guard;
mod private_file;
mod refusal;
mod remote_load;
mod sealing;
mod secret_memory;
mod secrets;
mod service;
mod set_aside;
mod signing;
mod stack;
mod stretching;
mod timed_custody;
mod transport;
mod tries;
mod vault;
pub mod vault_file;
mod working_keys;

pub use audit_medium::{AuditBytes, AuditFiles, AuditMedium, AuditMemory, audit_paths};
pub use audit_trail::AuditError;
pub use ceremonies::CEREMONY_TIMEOUT_MS;
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, EntropyFailure, SystemEntropy};
pub use handover::hand_over;
pub use limits::{
    ACCOUNT_DATA_FAILURES_PER_MINUTE_MAX, CARD_CODE_FAILURES_PER_DAY_MAX, CARD_CODE_FAILURES_PER_MINUTE_MAX,
    CRYPTOGRAM_FAILURES_PER_MINUTE_MAX, CUSTODIAN_FAILURES_PER_MINUTE_MAX, MAC_FAILURES_PER_MINUTE_MAX,
    MALFORMED_PIN_BLOCKS_PER_DAY_MAX, PIN_FAILURES_PER_DAY_MAX, PIN_FAILURES_PER_MINUTE_MAX,
};
pub use office::REFUSALS_RECORDED_PER_MINUTE_MAX;
pub use passphrase::{PASSPHRASE_BYTES_MIN, Passphrase};
pub use passphrase_custody::PassphraseCustody;
pub use pin_guard::{CARDS_REMEMBERED_MAX, PIN_BLOCKS_REMEMBERED_MAX, PINS_PER_CARD_PER_DAY_MAX};
pub use private_file::read_secret_line;
pub use remote_load::{LOAD_REQUEST_LIFETIME_MS, LOAD_TOKEN_LIFETIME_S};
pub use secret_memory::{SecretBox, SecretBytesBox, SecretMemory, keep_crypto_heap_secret, secret_memory};
pub use secrets::{MASTER_KEY_BYTES, MasterSecrets, VaultKind};
pub use service::LocalKeys;
pub use set_aside::set_audit_aside;
pub use signing::{verify_audit_head, verify_record, verify_signature};
pub use stack::with_clean_stack;
pub use timed_custody::{CUSTODY_TIMEOUT, TimedCustody};
pub use tries::TryFile;
pub use vault::SoftVault;
pub use vault_file::VaultFileError;

/// Begins the audit trail of a vault, before its file is written with [`MasterSecrets::with_audit`], or after an older
/// trail was set aside.
///
/// # Errors
/// [`AuditError`]; a trail of another vault in the same place is one.
pub fn begin_audit(
    secrets: &MasterSecrets,
    medium: Box<dyn AuditMedium>,
    why: keys::Beginning,
    clock: &dyn Clock,
) -> Result<(), AuditError> {
    with_clean_stack(|| office::begin(medium, &secrets.master_state(), why, clock.unix_ms()))
}
