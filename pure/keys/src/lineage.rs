//! Where every key comes from, read out of a vault's audit.
//!
//! Working keys are not here: thousands are made a day, each under its terminal's master key, and their version in the
//! terminal's host record names them. They are the lineage of their TMK by version.

use crate::audit::{AuditAct, AuditRecord, CommandNumber, KeyId, KeyMention};
use crate::block::{KeyCheckValue, KeyHeader};
use crate::ceremony::ComponentLine;
use crate::command::CommandKind;
use crate::usage::Usage;
use std::collections::BTreeMap;

/// Deepest line of parents that is followed.
pub const LINEAGE_DEPTH_MAX: usize = 16;

const MS_A_DAY: u64 = 86_400_000;
/// Days until a key of a usage is due for replacement (NIST SP 800-57 part 1 §5.3.6 as a frame; the figures are this
/// house's). Working keys that a terminal gets at sign-in are replaced daily and are not kept here.
const CRYPTO_PERIODS_DAYS: &[(Usage, u64)] = &[
    (Usage::TerminalMaster, 730),
    (Usage::KeyEncryption, 730),
    (Usage::PinEncryption, 365),
    (Usage::MessageMac, 365),
    (Usage::TrackEncryption, 365),
    (Usage::IssuerMasterAc, 1826),
    (Usage::IssuerMasterMac, 1826),
    (Usage::IssuerMasterEncipherment, 1826),
    (Usage::PinReference, 1826),
    (Usage::BaseDerivation, 1826),
    (Usage::PinVerificationValue, 1826),
    (Usage::PinOffset, 1826),
    (Usage::CardVerification, 1826),
    (Usage::IssuerMasterDynamicNumber, 1826),
    (Usage::DukptInitial, 730),
    (Usage::KeyBlockProtection, 730),
    (Usage::MessageCmac, 365),
    (Usage::MessageHmac, 365),
];
/// Days for a usage that the table does not name: its shortest.
const CRYPTO_PERIOD_DEFAULT_DAYS: u64 = 365;

/// Days until a key of this usage is due for replacement.
pub fn crypto_period_days(usage: Usage) -> u64 {
    let row = CRYPTO_PERIODS_DAYS.iter().find(|(named, _)| *named == usage);
    row.map_or(CRYPTO_PERIOD_DEFAULT_DAYS, |(_, days)| *days)
}

/// How a key came to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Drawn inside the vault.
    Generated,
    /// Enciphered to the vault's transport key (RSA-OAEP).
    TransportKey,
    /// Under the keys named as parents.
    Imported,
    /// Derived from the key named as parent.
    Derived,
    /// Put together from components.
    Ceremony {
        /// Number of the ceremony.
        ceremony: u64,
        /// Who brought what.
        components: Vec<ComponentLine>,
    },
    /// Loaded into a terminal by its distribution host.
    RemoteLoad {
        /// The distribution host's public key.
        host: [u8; 32],
    },
    /// By a command that this version does not know how to describe.
    Command(CommandNumber),
}

impl Origin {
    /// In one word, stable for scripts.
    pub fn word(&self) -> &'static str {
        match self {
            Origin::Generated => "generated",
            Origin::TransportKey => "transport-key",
            Origin::Imported => "imported",
            Origin::Derived => "derived",
            Origin::Ceremony { .. } => "ceremony",
            Origin::RemoteLoad { .. } => "remote-load",
            Origin::Command(_) => "command",
        }
    }
}

/// A key and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyHistory {
    /// Its block.
    pub id: KeyId,
    /// What its block says.
    pub header: KeyHeader,
    /// Its check value.
    pub check: Option<KeyCheckValue>,
    /// How it came to be.
    pub origin: Origin,
    /// The keys it came under.
    pub parents: Vec<KeyMention>,
    /// Unix time in milliseconds when it was made.
    pub made_ms: u64,
    /// Who made it.
    pub made_by: String,
    /// Number of the audit record that says so.
    pub audit_record: u64,
    /// Audit records of its going out: under another key, or into a terminal.
    pub went_out: Vec<u64>,
}

impl KeyHistory {
    /// Unix time in milliseconds when it is due for replacement: at the end of its crypto-period, or of its validity if
    /// that is sooner.
    pub fn due_ms(&self) -> u64 {
        let of_period = self.made_ms.saturating_add(crypto_period_days(self.header.usage) * MS_A_DAY);
        let of_validity = self.header.validity.not_after.map(|day| (u64::from(day) + 1) * MS_A_DAY);
        of_validity.map_or(of_period, |end| end.min(of_period))
    }

    /// Whole days since it was made.
    pub fn age_days(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.made_ms) / MS_A_DAY
    }

    /// `USAGE/OWNER/VERSION`, which need not be unique.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.header.usage.name(), self.header.owner.text(), self.header.version)
    }
}

/// A ceremony in progress while records are read.
#[derive(Clone, Debug, Default)]
struct Entered(Vec<ComponentLine>);

/// All keys of a vault's audit, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    keys: Vec<KeyHistory>,
    by_id: BTreeMap<KeyId, usize>,
    ceremonies: BTreeMap<u64, Entered>,
}

impl Lineage {
    /// Takes the next record.
    pub fn read(&mut self, record: &AuditRecord) {
        match &record.entry.act {
            AuditAct::KeyMade { command, key, parents } => {
                let origin = origin_of(*command, parents);
                self.made(record, key, origin, parents.clone(), caller_text(record));
            }
            AuditAct::ComponentEntered { ceremony, custodian, check, drawn } => {
                let at_ms = record.entry.at_ms;
                let line = ComponentLine { custodian: custodian.clone(), check: *check, at_ms, drawn: *drawn };
                self.ceremonies.entry(*ceremony).or_default().0.push(line);
            }
            AuditAct::CeremonyCompleted { ceremony, key, .. } => {
                let components = self.ceremonies.remove(ceremony).unwrap_or_default().0;
                let names: Vec<&str> = components.iter().map(|line| line.custodian.text()).collect();
                let made_by = names.join(", ");
                self.made(record, key, Origin::Ceremony { ceremony: *ceremony, components }, Vec::new(), made_by);
            }
            AuditAct::CeremonyAborted { ceremony, .. } => {
                self.ceremonies.remove(ceremony);
            }
            AuditAct::KeyLoaded { key, host } => {
                self.made(record, key, Origin::RemoteLoad { host: *host }, Vec::new(), caller_text(record));
            }
            AuditAct::KeyExported { keys, .. } => keys.iter().take(1).for_each(|key| self.went_out(record, key)),
            AuditAct::LoadTokenMade { key, .. } => self.went_out(record, key),
            _ => {}
        }
    }

    fn made(
        &mut self,
        record: &AuditRecord,
        key: &KeyMention,
        origin: Origin,
        parents: Vec<KeyMention>,
        made_by: String,
    ) {
        self.by_id.insert(key.id, self.keys.len());
        self.keys.push(KeyHistory {
            id: key.id,
            header: key.header.clone(),
            check: key.check,
            origin,
            parents,
            made_ms: record.entry.at_ms,
            made_by,
            audit_record: record.sequence,
            went_out: Vec::new(),
        });
    }

    fn went_out(&mut self, record: &AuditRecord, key: &KeyMention) {
        if let Some(index) = self.by_id.get(&key.id) {
            self.keys[*index].went_out.push(record.sequence);
        }
    }

    /// Every key, oldest first.
    pub fn keys(&self) -> &[KeyHistory] {
        &self.keys
    }

    /// A key by its block.
    pub fn key(&self, id: KeyId) -> Option<&KeyHistory> {
        self.by_id.get(&id).map(|index| &self.keys[*index])
    }

    /// Keys that a text names: `USAGE/OWNER`, `USAGE/OWNER/VERSION`, or the beginning of a key id.
    pub fn find(&self, text: &str) -> Vec<&KeyHistory> {
        let named = |key: &&KeyHistory| {
            let name = key.name();
            let without_version = name.rsplit_once('/').map_or("", |(head, _)| head);
            name == text || without_version == text || (!text.is_empty() && key.id.to_string().starts_with(text))
        };
        self.keys.iter().filter(named).collect()
    }

    /// A key's parents, nearest first, each with its depth from 1. A parent that no record made is only mentioned.
    pub fn ancestors<'a>(&'a self, key: &'a KeyHistory) -> Vec<(usize, &'a KeyMention, Option<&'a KeyHistory>)> {
        let mut found = Vec::new();
        let mut open: Vec<(usize, &KeyMention)> = key.parents.iter().rev().map(|parent| (1, parent)).collect();
        while let Some((depth, mention)) = open.pop() {
            let known = self.key(mention.id);
            found.push((depth, mention, known));
            if depth < LINEAGE_DEPTH_MAX {
                let further = known.into_iter().flat_map(|known| known.parents.iter().rev());
                open.extend(further.map(|parent| (depth + 1, parent)));
            }
        }
        found
    }
}

fn caller_text(record: &AuditRecord) -> String {
    record.entry.caller.map_or_else(|| "vault".to_owned(), |caller| format!("{caller:?}").to_lowercase())
}

fn origin_of(command: CommandNumber, parents: &[KeyMention]) -> Origin {
    let is = |kinds: &[CommandKind]| kinds.iter().any(|kind| command == CommandNumber::of(*kind));
    if is(&[CommandKind::GenerateKey, CommandKind::GenerateKeyWithValidity]) {
        Origin::Generated
    } else if is(&[CommandKind::ImportTransportKey, CommandKind::ImportProtectionKey]) {
        Origin::TransportKey
    } else if is(&[CommandKind::DeriveInitialKey]) {
        Origin::Derived
    } else if !parents.is_empty() {
        Origin::Imported
    } else {
        Origin::Command(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditEntry;
    use crate::block::{Owner, Validity};
    use crate::custodian::CustodianName;
    use crate::permission::Caller;
    use crate::usage::Algorithm;

    fn mention(number: u8, usage: Usage, version: u32) -> KeyMention {
        let owner = Owner::new("10000001").unwrap();
        let (algorithm, validity) = (Algorithm::TdesDouble, Validity::ALWAYS);
        let header = KeyHeader { usage, algorithm, exportable: true, owner, version, validity };
        KeyMention { id: KeyId([number; 8]), header, check: Some(KeyCheckValue([number; 4])) }
    }

    fn lineage(acts: Vec<AuditAct>) -> Lineage {
        let mut lineage = Lineage::default();
        for (index, act) in acts.into_iter().enumerate() {
            let entry = AuditEntry { at_ms: MS_A_DAY * index as u64, caller: Some(Caller::Administration), act };
            lineage.read(&AuditRecord { sequence: index as u64 + 1, hash: [0; 32], entry });
        }
        lineage
    }

    fn made(command: CommandKind, key: KeyMention, parents: Vec<KeyMention>) -> AuditAct {
        AuditAct::KeyMade { command: CommandNumber::of(command), key, parents }
    }

    #[test]
    fn parents_are_followed_to_the_ceremony() {
        let kek = mention(1, Usage::KeyEncryption, 1);
        let custodian = CustodianName::new("li").unwrap();
        let check = KeyCheckValue([7; 4]);
        let block = crate::AnyKeyBlock { header: kek.header.clone(), enciphered: vec![] };
        let tmk = mention(2, Usage::TerminalMaster, 1);
        let lineage = lineage(vec![
            AuditAct::CeremonyOpened { header: kek.header.clone(), components: 2 },
            AuditAct::ComponentEntered { ceremony: 1, custodian, check, drawn: false },
            AuditAct::CeremonyCompleted { ceremony: 1, block, key: kek.clone() },
            made(CommandKind::ImportKey, tmk.clone(), vec![kek.clone()]),
            AuditAct::KeyExported { command: CommandNumber(5), keys: vec![tmk.clone(), kek.clone()] },
        ]);
        let key = lineage.key(tmk.id).unwrap();
        assert_eq!((key.origin.word(), &key.went_out[..]), ("imported", &[5][..]));
        let ancestors = lineage.ancestors(key);
        let [(1, parent, Some(known))] = ancestors[..] else { panic!("{ancestors:?}") };
        assert_eq!((parent.id, known.made_by.as_str(), known.origin.word()), (kek.id, "li", "ceremony"));
        assert!(known.went_out.is_empty(), "the KEK stayed");
        assert_eq!(key.age_days(MS_A_DAY * 10), 7);
        assert_eq!(key.due_ms(), MS_A_DAY * (3 + 730));
    }

    #[test]
    fn a_key_is_found_by_name_and_by_the_beginning_of_its_id() {
        let keys = [mention(0xAB, Usage::TerminalMaster, 1), mention(0xAC, Usage::TerminalMaster, 2)];
        let lineage = lineage(keys.map(|key| made(CommandKind::GenerateKey, key, vec![])).into());
        let count = |text: &str| lineage.find(text).len();
        assert_eq!([count("TMK/10000001"), count("TMK/10000001/2"), count("aba"), count("a")], [2, 1, 1, 2]);
        assert_eq!([count(""), count("TMK"), count("TMK/10000001/3")], [0, 0, 0]);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let (one, two) = (mention(1, Usage::KeyEncryption, 1), mention(2, Usage::KeyEncryption, 2));
        let lineage = lineage(vec![
            made(CommandKind::ImportKey, one.clone(), vec![two.clone()]),
            made(CommandKind::ImportKey, two.clone(), vec![one.clone()]),
        ]);
        assert_eq!(lineage.ancestors(lineage.key(one.id).unwrap()).len(), LINEAGE_DEPTH_MAX);
    }
}
