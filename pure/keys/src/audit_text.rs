//! Audit records as people read them.

use crate::audit::{AbortReason, AuditAct, Beginning, KeyMention};
use crate::ceremony::hex;
use crate::custodian::CustodianName;
use crate::reply::Refusal;
use core::fmt;

/// Leading bytes of a public key or digest that a line shows.
const SHORT_BYTES: usize = 8;

impl fmt::Display for KeyMention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        write!(formatter, "{}/{}/{} {}", header.usage.name(), header.owner.text(), header.version, self.id)?;
        self.check.map_or(Ok(()), |check| write!(formatter, " check {check}"))
    }
}

fn joined(keys: &[KeyMention]) -> String {
    let texts: Vec<String> = keys.iter().map(KeyMention::to_string).collect();
    texts.join(", ")
}

fn by(approved_by: Option<&CustodianName>) -> String {
    approved_by.map_or_else(String::new, |name| format!(", approved by {name}"))
}

fn short(bytes: &[u8]) -> String {
    hex(&bytes[..SHORT_BYTES.min(bytes.len())])
}

impl AuditAct {
    /// The act in one line, without its name and without what only the vault can use.
    pub fn detail(&self) -> String {
        match self {
            AuditAct::Begun { why: Beginning::Fresh } => "a new trail".to_owned(),
            AuditAct::Begun { why: Beginning::SetAside { digest, reason } } => {
                format!("an older trail (SHA-256 {}) was set aside: {reason}", hex(digest))
            }
            AuditAct::VaultOpened { program } => program.clone(),
            AuditAct::VaultResealed { from, to } => format!("from {from} to {to}"),
            AuditAct::TornRecordRemoved { bytes } => format!("{bytes} bytes"),
            AuditAct::KeyMade { command, key, parents } if parents.is_empty() => format!("{key} by {command}"),
            AuditAct::KeyMade { command, key, parents } => format!("{key} by {command} under {}", joined(parents)),
            AuditAct::KeyExported { command, keys } | AuditAct::Done { command, keys } => {
                format!("{command} {}", joined(keys)).trim_end().to_owned()
            }
            AuditAct::Refused { command, why } => match Refusal::from_number(*why) {
                Some(why) => format!("{command}: {why}"),
                None => format!("{command}: refusal {why}"),
            },
            AuditAct::RefusalsCounted { count } => format!("{count} more"),
            AuditAct::Breach { how: text } | AuditAct::LimitTripped { subject: text } => text.clone(),
            AuditAct::CustodianRegistered { name, approved_by, .. } => format!("{name}{}", by(approved_by.as_ref())),
            AuditAct::CustodianRemoved { name, approved_by } => format!("{name}{}", by(Some(approved_by))),
            AuditAct::LogInFailed { name } => name.to_string(),
            other => other.ceremony_or_load_detail(),
        }
    }

    fn ceremony_or_load_detail(&self) -> String {
        match self {
            AuditAct::CeremonyOpened { header, components } => {
                let (usage, owner, version) = (header.usage.name(), header.owner.text(), header.version);
                format!("{usage}/{owner}/{version} from {components} components")
            }
            AuditAct::ComponentEntered { ceremony, custodian, check, drawn } => {
                let drawn = if *drawn { ", drawn by the vault" } else { "" };
                format!("ceremony {ceremony}: {custodian}, check {check}{drawn}")
            }
            AuditAct::CeremonyCompleted { ceremony, key, .. } => format!("ceremony {ceremony}: {key}"),
            AuditAct::CeremonyAborted { ceremony, why } => {
                let why = match why {
                    AbortReason::Asked => "asked for",
                    AbortReason::TimedOut => "its time was up",
                    AbortReason::Restarted => "the vault was restarted",
                };
                format!("ceremony {ceremony}: {why}")
            }
            AuditAct::DistributionHostPinned { public_key } => format!("host {}…", short(public_key)),
            AuditAct::LoadTokenMade { key, terminal, .. } => format!("{key} for terminal {}…", short(terminal)),
            AuditAct::KeyLoaded { key, host } => format!("{key} from host {}…", short(host)),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::CommandNumber;

    #[test]
    fn details_read_well_and_verifiers_do_not_show() {
        let name = CustodianName::new("li").unwrap();
        let registered =
            AuditAct::CustodianRegistered { name, approved_by: None, salt: [0xEE; 16], verifier: vec![0xDD; 61] };
        assert_eq!(registered.detail(), "li");
        let refused = AuditAct::Refused { command: CommandNumber(56), why: Refusal::KeyCheck.number() };
        assert_eq!(refused.detail(), "EnterComponent: key check value does not fit");
        let unknown = AuditAct::Refused { command: CommandNumber(255), why: 255 };
        assert_eq!(unknown.detail(), "command 255: refusal 255");
    }
}
