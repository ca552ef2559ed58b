//! The words across the key boundary.
//!
//! *Duty*: [`Command`] and [`Reply`], typed key blocks ([`KeyBlock`]), who may say what ([`permitted`]), and how the
//! words encode themselves on a socket. *Knows*: usages, never key values. *Never*: cryptography.
//! *Start here*: [`KeyService`], then [`Command`].
//!
//! A key outside its vault is a [`KeyBlock`]: enciphered under the vault's master key with its header authenticated.
//! Its usage is a type parameter, so a MAC key where a PIN key belongs does not compile; on a socket the header's
//! usage is checked again.

mod block;
mod command;
mod custody;
mod permission;
mod reply;
mod scheme;
mod socket;

pub use block::{
    Algorithm, AnyKeyBlock, IssuerMasterAc, IssuerMasterEncipherment, IssuerMasterMac, KEY_BLOCK_BYTES_MAX, KeyBlock,
    KeyCheckValue, KeyEncryption, KeyHeader, MessageMac, OWNER_BYTES_MAX, Owner, PinEncryption, PinReferenceKey,
    TerminalMaster, TrackEncryption, Usage, UsageMarker, WrongUsage,
};
pub use command::{Command, CommandKind, MacAlgorithm, SealedAccount};
pub use custody::{
    AddressError, CUSTODY_LABEL_BYTES_MAX, CUSTODY_SECRET_BYTES_MAX, CustodyAddress, CustodyDescription,
    CustodyFailure, CustodyKind, MasterCustody, check_sealable,
};
pub use permission::{Caller, permission_table, permitted};
pub use reply::{Refusal, Reply, WorkingKeys};
pub use scheme::{ArpcMethod, CryptogramPadding, CryptogramScheme, MasterKeyDerivation, SessionKeyMethod};
pub use socket::{BATCH_COMMANDS_MAX, SOCKET_FRAME_BYTES_MAX, SocketReply, SocketRequest};

/// Whoever executes key commands: a vault in this process, or a client of one. The caller is fixed when the service is
/// opened, not said with each command.
pub trait KeyService {
    /// Executes a batch in order; one reply for each command. A refused command does not stop the ones behind it.
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply>;
}
