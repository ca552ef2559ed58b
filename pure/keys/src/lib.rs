//! The words across the key boundary.
//!
//! *Duty*: [`Command`] and [`Reply`], typed key blocks ([`KeyBlock`]), who may say what ([`permitted`]), and how the
//! words encode themselves on a socket. *Knows*: usages, never key values. *Never*: cryptography.
//! *Start here*: [`KeyService`], then [`Command`].
//!
//! A key outside its vault is a [`KeyBlock`]: enciphered under the vault's master key with its header authenticated.
//! Its usage is a type parameter, so a MAC key where a PIN key belongs does not compile; on a socket the header's
//! usage is checked again.

mod audit;
mod audit_text;
mod block;
mod ceremony;
mod command;
mod custodian;
mod lineage;
mod permission;
mod remote_load;
mod reply;
mod scheme;
mod socket;

pub use audit::{
    AUDIT_PAGE_BYTES_MAX, AUDIT_PAGE_RECORDS_MAX, AUDIT_TAG_BYTES, AUDIT_TEXT_BYTES_MAX, AbortReason, AuditAct,
    AuditDamage, AuditEntry, AuditPage, AuditReader, AuditRecord, Beginning, CommandNumber, KeyId, KeyMention,
    PUBLIC_KEY_BYTES, SIGNATURE_BYTES, audit_genesis, audit_head_message, audit_text, split_audit_payload,
};
pub use block::{
    Algorithm, AnyKeyBlock, IssuerMasterAc, IssuerMasterEncipherment, IssuerMasterMac, KEY_BLOCK_BYTES_MAX, KeyBlock,
    KeyCheckValue, KeyEncryption, KeyHeader, MessageMac, OWNER_BYTES_MAX, Owner, PinEncryption, PinReferenceKey,
    TerminalMaster, TrackEncryption, Usage, UsageMarker, WrongUsage,
};
pub use ceremony::{
    CEREMONY_COMPONENTS_MAX, CEREMONY_COMPONENTS_MIN, CeremonyRecord, CeremonyState, ComponentLine, ExpectedCheck,
    UnverifiedRecord, algorithm_name, hex, signed_record, split_record, unhex, utc_text,
};
pub use command::{Command, CommandKind, MacAlgorithm, SealedAccount};
pub use custodian::{
    CUSTODIAN_NAME_BYTES_MAX, CUSTODIAN_PASSPHRASE_BYTES_MAX, CUSTODIAN_PASSPHRASE_BYTES_MIN, CUSTODIANS_MAX,
    CustodianLine, CustodianList, CustodianName, CustodianProof,
};
pub use lineage::{KeyHistory, LINEAGE_DEPTH_MAX, Lineage, Origin, crypto_period_days};
pub use permission::{Caller, permission_table, permitted};
pub use remote_load::{LOAD_NONCE_BYTES, LOADABLE_USAGES, LoadRequest, LoadToken, Signed};
pub use reply::{Refusal, Reply, WorkingKeys};
pub use scheme::{ArpcMethod, CryptogramPadding, CryptogramScheme, MasterKeyDerivation, SessionKeyMethod};
pub use socket::{BATCH_COMMANDS_MAX, SOCKET_FRAME_BYTES_MAX, SocketReply, SocketRequest};

/// Whoever executes key commands: a vault in this process, or a client of one. The caller is fixed when the service is
/// opened, not said with each command.
pub trait KeyService {
    /// Executes a batch in order; one reply for each command. A refused command does not stop the ones behind it.
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply>;
}
