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
mod card;
mod ceremony;
mod command;
mod custodian;
mod custody;
mod dukpt;
mod interchange;
mod lineage;
mod part;
mod permission;
mod pin;
mod remote_load;
mod reply;
mod scheme;
mod socket;
mod usage;

pub use audit::{
    AUDIT_PAGE_BYTES_MAX, AUDIT_PAGE_RECORDS_MAX, AUDIT_TAG_BYTES, AUDIT_TEXT_BYTES_MAX, AbortReason, AuditAct,
    AuditDamage, AuditEntry, AuditPage, AuditReader, AuditRecord, Beginning, CommandNumber, KeyId, KeyMention,
    PUBLIC_KEY_BYTES, SIGNATURE_BYTES, audit_genesis, audit_head_message, audit_text, split_audit_payload,
};
pub use block::{
    AnyKeyBlock, KEY_BLOCK_BYTES_MAX, KeyBlock, KeyCheckValue, KeyHeader, OWNER_BYTES_MAX, Owner, Validity, WrongUsage,
};
pub use card::{
    CardCode, CardTransaction, CryptogramVersion, DynamicCode, ExpiryOrder, IssuerResponse,
    PROPRIETARY_AUTHENTICATION_BYTES_MAX,
};
pub use ceremony::{
    CEREMONY_COMPONENTS_MAX, CEREMONY_COMPONENTS_MIN, CeremonyRecord, CeremonyState, ComponentLine, ExpectedCheck,
    UnverifiedRecord, algorithm_name, hex, signed_record, split_record, unhex, utc_text,
};
pub use command::{AuthenticationKey, Command, CommandKind, MacAlgorithm, SealedAccount};
pub use custodian::{
    CUSTODIAN_NAME_BYTES_MAX, CUSTODIAN_PASSPHRASE_BYTES_MAX, CUSTODIAN_PASSPHRASE_BYTES_MIN, CUSTODIANS_MAX,
    CustodianLine, CustodianList, CustodianName, CustodianProof,
};
pub use custody::{
    AddressError, CUSTODY_LABEL_BYTES_MAX, CUSTODY_SECRET_BYTES_MAX, CustodyAddress, CustodyDescription,
    CustodyFailure, CustodyKind, MasterCustody, check_sealable,
};
pub use dukpt::{
    AES_KSN_BYTES, AccountDataForm, DukptDirection, DukptKey, DukptMacAlgorithm, KSN_MARK_BYTES_MAX, Ksn, KsnFreshness,
    KsnMark, TDES_KSN_BYTES,
};
pub use interchange::{
    CheckMethod, InterchangeHeader, KeyBlockVersion, from_interchange, interchange_header, interchange_table,
};
pub use lineage::{KeyHistory, LINEAGE_DEPTH_MAX, Lineage, Origin, crypto_period_days};
pub use permission::{Caller, may_say, nameable_usages, permission_table, permitted, verifiable};
pub use pin::{
    DecimalisationTable, EncipheredPinBlock, PIN_BLOCK_BYTES_MAX, PinFormat, PinSource, PinTranslation,
    PinTranslationPolicy, ValidationData, pin_translation,
};
pub use remote_load::{LOAD_NONCE_BYTES, LOADABLE_USAGES, LoadRequest, LoadToken, Signed};
pub use reply::{Refusal, Reply, WorkingKeys};
pub use scheme::{ArpcMethod, CryptogramPadding, CryptogramScheme, MasterKeyDerivation, SessionKeyMethod};
pub use socket::{BATCH_COMMANDS_MAX, SOCKET_FRAME_BYTES_MAX, SocketReply, SocketRequest};
pub use usage::{
    Algorithm, BaseDerivation, CardVerificationKey, DukptInitial, IssuerMasterAc, IssuerMasterDynamicNumber,
    IssuerMasterEncipherment, IssuerMasterMac, KeyBlockProtection, KeyEncryption, MessageCmac, MessageHmac, MessageMac,
    PinEncryption, PinOffsetKey, PinReferenceKey, PinVerificationValueKey, TerminalMaster, TrackEncryption, Usage,
    UsageMarker,
};

/// Whoever executes key commands: a vault in this process, or a client of one. The caller is fixed when the service is
/// opened, not said with each command.
pub trait KeyService {
    /// Executes a batch in order; one reply for each command. A refused command does not stop the ones behind it.
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply>;
}
