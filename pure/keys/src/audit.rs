//! The audit of a vault: what is recorded, how records are chained, how a reader checks them.
//!
//! A record is a [`machine::frame`] whose payload is one [`AuditEntry`] and the vault's tag over it. The chain shows a
//! reader that nothing is missing in between; the tag shows the vault that it wrote the record; the signed head shows
//! a reader without the vault how far the chain went.

use crate::block::{AnyKeyBlock, KeyCheckValue, KeyHeader};
use crate::command::CommandKind;
use crate::custodian::{CustodianName, parts};
use crate::permission::Caller;
use core::fmt;
use machine::MachineId;
use machine::frame::{ChainHead, Damage};
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Most records in one page.
pub const AUDIT_PAGE_RECORDS_MAX: u16 = 1024;
/// Most bytes of records in one page: well inside a socket frame.
pub const AUDIT_PAGE_BYTES_MAX: usize = 1 << 20;
/// Length of the vault's tag behind each entry, in bytes.
pub const AUDIT_TAG_BYTES: usize = 32;
/// Longest free text in a record, in bytes.
pub const AUDIT_TEXT_BYTES_MAX: usize = 256;
/// Length of an Ed25519 public key in bytes (RFC 8032).
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Length of an Ed25519 signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

const ENTRY_VERSION: u8 = 1;
const HEAD_DOMAIN: &[u8] = b"irontill audit head 1\0";

/// Name of one key block: the leading eight bytes of the SHA-256 of its encoding. Two blocks of one key have two names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

/// A key as a record names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyMention {
    /// Its block.
    pub id: KeyId,
    /// What its block says of it.
    pub header: KeyHeader,
    /// Its check value, where the command gave it.
    pub check: Option<KeyCheckValue>,
}

impl Encode for KeyMention {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.id.0).value(&self.header);
        writer.option(self.check, |writer, check| {
            writer.raw(&check.0);
        });
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = KeyId(reader.array("a key id")?);
        let header = reader.value()?;
        let check = reader.option(|reader| reader.array("a key check value").map(KeyCheckValue))?;
        Ok(Self { id, header, check })
    }
}

/// A command as a record names it: by number, so that old records outlive commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandNumber(pub u8);

impl CommandNumber {
    /// Of a command.
    pub fn of(kind: CommandKind) -> Self {
        Self(kind as u8)
    }
}

impl fmt::Display for CommandNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CommandKind::ALL.iter().find(|kind| **kind as u8 == self.0) {
            Some(kind) => write!(formatter, "{kind:?}"),
            None => write!(formatter, "command {}", self.0),
        }
    }
}

/// Why a ceremony ended without a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbortReason {
    /// Somebody said so.
    Asked,
    /// It took too long.
    TimedOut,
    /// The vault was restarted; components are never written down.
    Restarted,
}
crate::scheme::encode_enum!(AbortReason { Asked = 1, TimedOut = 2, Restarted = 3 });

/// Why a trail begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// There was none.
    Fresh,
    /// An older one was set aside by an operator.
    SetAside {
        /// SHA-256 of its file.
        digest: [u8; 32],
        /// The operator's reason.
        reason: String,
    },
}

impl Encode for Beginning {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Beginning::Fresh => writer.u8(1),
            Beginning::SetAside { digest, reason } => writer.u8(2).raw(digest).text(reason),
        };
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(Beginning::Fresh),
            2 => Ok(Beginning::SetAside { digest: reader.array("a digest")?, reason: text(reader)? }),
            _ => Err(reader.malformed("why a trail begins")),
        }
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let text = reader.text()?;
    if text.len() > AUDIT_TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(reader.malformed("a short line of text"));
    }
    Ok(text.to_owned())
}

/// Text as a record takes it: one line, bounded.
pub fn audit_text(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars().map(|character| if character.is_control() { ' ' } else { character }) {
        if line.len() + character.len_utf8() > AUDIT_TEXT_BYTES_MAX {
            break;
        }
        line.push(character);
    }
    line
}

/// How one field of an act travels.
trait Field: Sized {
    fn put(&self, writer: &mut Writer);
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

macro_rules! fields_by_encode {
    ($($type:ty),*) => { $(
        impl Field for $type {
            fn put(&self, writer: &mut Writer) {
                writer.value(self);
            }
            fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.value()
            }
        }
    )* };
}
fields_by_encode!(KeyMention, KeyHeader, AnyKeyBlock, CustodianName, AbortReason, Beginning);

macro_rules! fields_by_number {
    ($($type:ty => $method:ident),*) => { $(
        impl Field for $type {
            fn put(&self, writer: &mut Writer) {
                writer.$method(*self);
            }
            fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.$method()
            }
        }
    )* };
}
fields_by_number!(u8 => u8, u32 => u32, u64 => u64, bool => bool);

impl Field for CommandNumber {
    fn put(&self, writer: &mut Writer) {
        writer.u8(self.0);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.u8().map(Self)
    }
}

impl Field for KeyCheckValue {
    fn put(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array("a key check value").map(Self)
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, writer: &mut Writer) {
        writer.raw(self);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array("fixed bytes")
    }
}

impl Field for Vec<u8> {
    fn put(&self, writer: &mut Writer) {
        writer.bytes(self);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(reader.bytes()?.to_vec())
    }
}

impl Field for String {
    fn put(&self, writer: &mut Writer) {
        writer.text(self);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        text(reader)
    }
}

impl Field for Vec<KeyMention> {
    fn put(&self, writer: &mut Writer) {
        writer.list(self, |writer, mention| {
            writer.value(mention);
        });
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.list(Reader::value)
    }
}

impl Field for Option<CustodianName> {
    fn put(&self, writer: &mut Writer) {
        writer.option(self.as_ref(), |writer, name| {
            writer.value(name);
        });
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.option(Reader::value)
    }
}

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident = $number:literal { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }),* $(,)?) => {
        /// What happened. Never a secret.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum AuditAct {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),* },)*
        }

        impl AuditAct {
            /// The act's name, for people and filters.
            pub fn name(&self) -> &'static str {
                match self { $(AuditAct::$name { .. } => stringify!($name)),* }
            }
        }

        impl Encode for AuditAct {
            fn encode(&self, writer: &mut Writer) {
                match self { $(AuditAct::$name { $($field),* } => {
                    writer.u8($number);
                    $(Field::put($field, writer);)*
                })* }
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok(AuditAct::$name { $($field: Field::take(reader)?),* }),)*
                    _ => Err(reader.malformed("a known act")),
                }
            }
        }
    };
}

acts! {
    /// The first record of a trail.
    Begun = 1 {
        /// Why.
        why: Beginning,
    },
    /// A vault was opened.
    VaultOpened = 2 {
        /// Version of the program.
        program: String,
    },
    /// A half-written record that a crash left was cut off. Nothing had rested on it.
    TornRecordRemoved = 3 {
        /// Its bytes.
        bytes: u64,
    },
    /// A key was made or brought in.
    KeyMade = 4 {
        /// By which command.
        command: CommandNumber,
        /// The key.
        key: KeyMention,
        /// The keys that it came under.
        parents: Vec<KeyMention>,
    },
    /// A key went out under another one.
    KeyExported = 5 {
        /// By which command.
        command: CommandNumber,
        /// The keys of the command: what went out and under what.
        keys: Vec<KeyMention>,
    },
    /// Any other administrative command was carried out.
    Done = 6 {
        /// Which.
        command: CommandNumber,
        /// Keys that it named.
        keys: Vec<KeyMention>,
    },
    /// A command was refused.
    Refused = 7 {
        /// Which.
        command: CommandNumber,
        /// Number of the refusal.
        why: u8,
    },
    /// Refusals beyond the limit of a minute, counted and not recorded one by one.
    RefusalsCounted = 8 {
        /// How many.
        count: u32,
    },
    /// A connection broke the caller's table and was cut off.
    Breach = 9 {
        /// How.
        how: String,
    },
    /// Guessing reached its limit.
    LimitTripped = 10 {
        /// At whom or what.
        subject: String,
    },
    /// A custodian was registered, or chose a new passphrase.
    CustodianRegistered = 11 {
        /// Who.
        name: CustodianName,
        /// Who vouched.
        approved_by: Option<CustodianName>,
        /// Salt of the passphrase.
        salt: [u8; 16],
        /// The stretched passphrase, sealed by the vault for itself.
        verifier: Vec<u8>,
    },
    /// A custodian was removed.
    CustodianRemoved = 12 {
        /// Who.
        name: CustodianName,
        /// Who approved.
        approved_by: CustodianName,
    },
    /// Somebody gave a wrong passphrase, or a name that nobody has.
    LogInFailed = 13 {
        /// The name given.
        name: CustodianName,
    },
    /// A ceremony was opened. Its number is the number of this record.
    CeremonyOpened = 14 {
        /// What its key will be.
        header: KeyHeader,
        /// How many components.
        components: u8,
    },
    /// A custodian entered a component, or was given one.
    ComponentEntered = 15 {
        /// The ceremony.
        ceremony: u64,
        /// Who.
        custodian: CustodianName,
        /// Check value of the component.
        check: KeyCheckValue,
        /// Whether the vault drew it.
        drawn: bool,
    },
    /// A ceremony ended with a key.
    CeremonyCompleted = 16 {
        /// The ceremony.
        ceremony: u64,
        /// The key, enciphered: a ceremony need not be repeated because a client crashed.
        block: AnyKeyBlock,
        /// The key as other records name it.
        key: KeyMention,
    },
    /// A ceremony ended without a key.
    CeremonyAborted = 17 {
        /// The ceremony.
        ceremony: u64,
        /// Why.
        why: AbortReason,
    },
    /// A terminal's vault trusts a key distribution host from now on.
    DistributionHostPinned = 18 {
        /// Its public key.
        public_key: [u8; 32],
    },
    /// A key was enveloped for one terminal.
    LoadTokenMade = 19 {
        /// The key.
        key: KeyMention,
        /// The terminal's identity.
        terminal: [u8; 32],
        /// The terminal's nonce.
        nonce: [u8; 16],
    },
    /// A terminal's vault took a key from its distribution host.
    KeyLoaded = 20 {
        /// The key.
        key: KeyMention,
        /// The distribution host's public key.
        host: [u8; 32],
    },
    /// The vault file was handed from one custody to another, or to the same one's next key.
    VaultResealed = 21 {
        /// Who held it.
        from: String,
        /// Who holds it now.
        to: String,
    },
}

/// One record's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// Who asked; `None` for the vault itself.
    pub caller: Option<Caller>,
    /// What happened.
    pub act: AuditAct,
}

impl Encode for AuditEntry {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(ENTRY_VERSION).u64(self.at_ms).u8(self.caller.map_or(0, Caller::number)).value(&self.act);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != ENTRY_VERSION {
            return Err(reader.malformed("audit entry version 1"));
        }
        let at_ms = reader.u64()?;
        let caller = match reader.u8()? {
            0 => None,
            number => Some(Caller::from_number(number).ok_or_else(|| reader.malformed("a known caller"))?),
        };
        Ok(Self { at_ms, caller, act: reader.value()? })
    }
}

/// Splits a record's payload into the entry's bytes and the vault's tag.
pub fn split_audit_payload(payload: &[u8]) -> Option<(&[u8], &[u8; AUDIT_TAG_BYTES])> {
    payload.split_last_chunk::<AUDIT_TAG_BYTES>()
}

/// Where the chain of every trail begins.
pub fn audit_genesis() -> ChainHead {
    ChainHead::genesis(MachineId::new("vault audit").expect("a short printable name"))
}

/// What the vault signs for those who read its trail.
pub fn audit_head_message(total: u64, head: &[u8; 32]) -> Vec<u8> {
    [HEAD_DOMAIN, &total.to_be_bytes(), head].concat()
}

/// Why a trail is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditDamage {
    /// The chain is broken.
    #[error(transparent)]
    Chain(#[from] Damage),
    /// A record without a tag.
    #[error("record {sequence}: no tag")]
    NoTag {
        /// Its number.
        sequence: u64,
    },
    /// A record whose content is none.
    #[error("record {sequence}: {cause}")]
    Entry {
        /// Its number.
        sequence: u64,
        /// What was wrong.
        cause: Malformed,
    },
}

/// One record of a trail, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub sequence: u64,
    /// Hash of the chain up to and with it.
    pub hash: [u8; 32],
    /// Its content.
    pub entry: AuditEntry,
}

/// Reads records in order and checks the chain; it cannot check the tags, which are the vault's own.
#[derive(Clone, Debug)]
pub struct AuditReader {
    head: ChainHead,
    sequence: u64,
}

impl Default for AuditReader {
    fn default() -> Self {
        Self { head: audit_genesis(), sequence: 0 }
    }
}

impl AuditReader {
    /// Takes the next record.
    ///
    /// # Errors
    /// [`AuditDamage`] if it is not the next one.
    pub fn read(&mut self, frame: &[u8]) -> Result<AuditRecord, AuditDamage> {
        let sequence = self.sequence + 1;
        let (payload, head) = machine::frame::open(self.head, sequence, frame)?;
        let (body, _) = split_audit_payload(payload).ok_or(AuditDamage::NoTag { sequence })?;
        let entry = AuditEntry::from_bytes(body).map_err(|cause| AuditDamage::Entry { sequence, cause })?;
        (self.head, self.sequence) = (head, sequence);
        Ok(AuditRecord { sequence, hash: head.0, entry })
    }

    /// Records read so far.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Hash of the chain so far.
    pub fn head(&self) -> [u8; 32] {
        self.head.0
    }
}

/// A stretch of a trail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditPage {
    /// Number of the first record in it.
    pub first: u64,
    /// Records as they stand in the file.
    pub frames: Vec<Vec<u8>>,
    /// Records of the whole trail.
    pub total: u64,
    /// Hash of the whole chain.
    pub head: [u8; 32],
    /// The vault's Ed25519 signature of [`audit_head_message`].
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Encode for AuditPage {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.first).list(&self.frames, |writer, frame| {
            writer.bytes(frame);
        });
        writer.u64(self.total).raw(&self.head).raw(&self.signature);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            first: reader.u64()?,
            frames: reader.list(|reader| reader.bytes().map(<[u8]>::to_vec))?,
            total: reader.u64()?,
            head: reader.array("a hash")?,
            signature: reader.array("a signature")?,
        })
    }
}
parts!(AuditPage);
