//! What must survive a power loss: keys as blocks, parameter sets, the session counter. Never account data.

use keys::{KeyBlock, KeyEncryption, TerminalMaster, WorkingKeys};
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Master keys that may be staged behind the present one. None that the host may have moved on to is dropped before a sign-in has
/// shown which one it uses.
pub const STAGED_MASTER_KEYS_MAX: usize = 3;

/// Versions behind the present one that may be staged before a sign-in.
const STAGED_VERSIONS_MAX: u32 = 2;

/// One durable fact of a PED. The first byte of its encoding is its kind; a kind never changes its layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The KEK of an enrolment that has begun.
    TransportKeyMade(KeyBlock<KeyEncryption>),
    /// The terminal master key. Working keys under an older one are gone.
    MasterKeyInstalled(KeyBlock<TerminalMaster>),
    /// Working keys of a sign-in.
    WorkingKeysLoaded {
        /// The keys.
        keys: WorkingKeys,
        /// The version that this terminal gave them.
        version: u32,
    },
    /// A delivery did not fit: no working keys any more (unionpay-pos §4.3).
    WorkingKeysErased,
    /// The CAPK set, one TLV body a key, as downloaded.
    CapksReplaced(Vec<Vec<u8>>),
    /// The AID set, one TLV body an application, as downloaded.
    AidsReplaced(Vec<Vec<u8>>),
    /// A session began.
    SessionOpened {
        /// Its number, as the till gave it.
        session: u32,
    },
    /// A newer master key came in beside the present one.
    MasterKeyStaged(KeyBlock<TerminalMaster>),
    /// Working keys came under this staged master key: it is the present one, and older ones are gone.
    MasterKeyProved(KeyBlock<TerminalMaster>),
    /// The whole state: loading may start here.
    Snapshot(Box<Holdings>),
}

impl Record {
    /// Whether CA public keys or applications are others behind it.
    pub(crate) fn replaces_parameters(&self) -> bool {
        matches!(self, Record::CapksReplaced(_) | Record::AidsReplaced(_) | Record::Snapshot(_))
    }

    /// Whether it holds the machine's whole state (`machine::store::Append::snapshot`).
    pub fn is_snapshot(&self) -> bool {
        matches!(self, Record::Snapshot(_))
    }
}

/// Everything a PED holds for longer than a session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holdings {
    /// The KEK of the last enrolment.
    pub transport_key: Option<KeyBlock<KeyEncryption>>,
    /// The terminal master key.
    pub master_key: Option<KeyBlock<TerminalMaster>>,
    /// Newer master keys, oldest first, under which no working keys have come yet; at most [`STAGED_MASTER_KEYS_MAX`].
    pub staged_master_keys: Vec<KeyBlock<TerminalMaster>>,
    /// The working keys.
    pub working_keys: Option<WorkingKeys>,
    /// Version of the last working keys, 0 if there never were any.
    pub working_key_version: u32,
    /// CAPK bodies.
    pub capks: Vec<Vec<u8>>,
    /// AID parameter bodies.
    pub aids: Vec<Vec<u8>>,
    /// Number of the last session.
    pub last_session: Option<u32>,
    /// Sessions opened so far.
    pub sessions_opened: u64,
}

impl Holdings {
    /// What a record changes.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::TransportKeyMade(key) => self.transport_key = Some(key.clone()),
            Record::MasterKeyInstalled(key) => {
                self.master_key = Some(key.clone());
                self.staged_master_keys.clear();
                self.working_keys = None;
            }
            Record::MasterKeyStaged(key) => {
                let version = key.header().version;
                self.staged_master_keys.retain(|staged| may_be_used(staged, version));
                if self.staged_master_keys.len() >= STAGED_MASTER_KEYS_MAX
                    && let Some(at) =
                        self.staged_master_keys.iter().position(|staged| staged.header().version == version)
                {
                    self.staged_master_keys.remove(at);
                }
                self.staged_master_keys.push(key.clone());
            }
            Record::MasterKeyProved(key) => {
                self.master_key = Some(key.clone());
                // A host only ever moves on to a later version.
                self.staged_master_keys.retain(|staged| staged.header().version > key.header().version);
            }
            Record::WorkingKeysLoaded { keys, version } => {
                self.working_keys = Some(keys.clone());
                self.working_key_version = *version;
            }
            Record::WorkingKeysErased => self.working_keys = None,
            Record::CapksReplaced(entries) => self.capks = entries.clone(),
            Record::AidsReplaced(entries) => self.aids = entries.clone(),
            Record::SessionOpened { session } => {
                self.last_session = Some(*session);
                self.sessions_opened = self.sessions_opened.saturating_add(1);
            }
            Record::Snapshot(holdings) => *self = (**holdings).clone(),
        }
    }
}

/// Whether a host that makes a key of this version may still use a staged one: it stands one version below, with one of those that
/// it made then, or it has begun anew after an order that broke off.
fn may_be_used(staged: &KeyBlock<TerminalMaster>, version: u32) -> bool {
    staged.header().version.saturating_add(1) >= version
}

impl Holdings {
    /// Whether a newer master key of this version can be staged. If not, a sign-in shows which of the others the host uses.
    ///
    /// The host may have moved on twice since the last sign-in: to the version behind the present one, and from there. With a third
    /// step the first would be forgotten, and the answer to a sign-in under it may still be on its way.
    pub(crate) fn has_room_for(&self, version: u32) -> bool {
        let present = self.master_key.as_ref().map_or(0, |key| key.header().version);
        if version > present.saturating_add(STAGED_VERSIONS_MAX) {
            return false;
        }
        let kept = self.staged_master_keys.iter().filter(|staged| may_be_used(staged, version));
        let mut again = self.staged_master_keys.iter().map(|staged| staged.header().version);
        kept.count() < STAGED_MASTER_KEYS_MAX || again.any(|staged| staged == version)
    }
}

fn write_entries(writer: &mut Writer, entries: &[Vec<u8>]) {
    writer.list(entries, |writer, entry| {
        writer.bytes(entry);
    });
}

fn read_entries(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    reader.list(|reader| Ok(reader.bytes()?.to_vec()))
}

fn read_staged(reader: &mut Reader<'_>) -> Result<Vec<KeyBlock<TerminalMaster>>, Malformed> {
    let staged = reader.list(Reader::value)?;
    if staged.len() > STAGED_MASTER_KEYS_MAX { Err(reader.malformed("fewer master keys")) } else { Ok(staged) }
}

/// Without the staged master keys, which a snapshot adds behind.
impl Encode for Holdings {
    fn encode(&self, writer: &mut Writer) {
        writer.option(self.transport_key.as_ref(), |writer, key| {
            writer.value(key);
        });
        writer.option(self.master_key.as_ref(), |writer, key| {
            writer.value(key);
        });
        writer.option(self.working_keys.as_ref(), |writer, keys| {
            writer.value(keys);
        });
        writer.u32(self.working_key_version);
        write_entries(writer, &self.capks);
        write_entries(writer, &self.aids);
        writer.option(self.last_session, |writer, session| {
            writer.u32(session);
        });
        writer.u64(self.sessions_opened);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            transport_key: reader.option(Reader::value)?,
            master_key: reader.option(Reader::value)?,
            staged_master_keys: Vec::new(),
            working_keys: reader.option(Reader::value)?,
            working_key_version: reader.u32()?,
            capks: read_entries(reader)?,
            aids: read_entries(reader)?,
            last_session: reader.option(Reader::u32)?,
            sessions_opened: reader.u64()?,
        })
    }
}

impl Encode for Record {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Record::TransportKeyMade(key) => writer.u8(1).value(key),
            Record::MasterKeyInstalled(key) => writer.u8(2).value(key),
            Record::WorkingKeysLoaded { keys, version } => writer.u8(3).value(keys).u32(*version),
            Record::WorkingKeysErased => writer.u8(4),
            Record::CapksReplaced(entries) => {
                write_entries(writer.u8(5), entries);
                writer
            }
            Record::AidsReplaced(entries) => {
                write_entries(writer.u8(6), entries);
                writer
            }
            Record::SessionOpened { session } => writer.u8(7).u32(*session),
            Record::MasterKeyStaged(key) => writer.u8(9).value(key),
            Record::MasterKeyProved(key) => writer.u8(10).value(key),
            Record::Snapshot(holdings) => {
                writer.u8(11).value(&**holdings).list(&holdings.staged_master_keys, |writer, key| {
                    writer.value(key);
                })
            }
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match reader.u8()? {
            1 => Record::TransportKeyMade(reader.value()?),
            2 => Record::MasterKeyInstalled(reader.value()?),
            3 => Record::WorkingKeysLoaded { keys: reader.value()?, version: reader.u32()? },
            4 => Record::WorkingKeysErased,
            5 => Record::CapksReplaced(read_entries(reader)?),
            6 => Record::AidsReplaced(read_entries(reader)?),
            7 => Record::SessionOpened { session: reader.u32()? },
            // A snapshot of 0.1.0: nothing could be staged then.
            8 => Record::Snapshot(Box::new(reader.value()?)),
            9 => Record::MasterKeyStaged(reader.value()?),
            10 => Record::MasterKeyProved(reader.value()?),
            11 => {
                let mut holdings: Holdings = reader.value()?;
                holdings.staged_master_keys = read_staged(reader)?;
                Record::Snapshot(Box::new(holdings))
            }
            _ => return Err(reader.malformed("a known PED record")),
        })
    }
}
