//! `irontill keys list`, `lineage` and `audit`: what the vault's audit says, checked before it is believed.

use crate::key_ceremony::public_key;
use crate::key_office::{Door, Office};
use crate::verdict::{Misuse, Verdict};
use anyhow::{Context, ensure};
use clap::Args;
use keys::{
    AuditPage, AuditReader, AuditRecord, KeyHistory, KeyMention, Lineage, Origin, algorithm_name, hex, unhex, utc_text,
};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which keys.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    door: Door,
    /// Only keys that are due for replacement.
    #[arg(long)]
    due: bool,
}

/// Which key.
#[derive(Args)]
pub struct LineageArguments {
    /// USAGE/OWNER, USAGE/OWNER/VERSION, or the beginning of a key id.
    key: String,
    #[command(flatten)]
    door: Door,
}

/// Which records.
#[derive(Args)]
pub struct AuditArguments {
    #[command(flatten)]
    door: Door,
    /// Only says whether chain and signature are right, and how far the trail goes.
    #[arg(long)]
    verify: bool,
    /// The record key that the vault must have, 64 hex digits; without it, the one that it names.
    #[arg(long)]
    public_key: Option<String>,
    /// A record and its hash, noted earlier, that must be in the trail: NUMBER:HASH.
    #[arg(long)]
    contains: Option<String>,
    /// First record shown.
    #[arg(long, default_value_t = 1)]
    from: u64,
}

/// The whole audit, its chain checked.
struct WholeAudit {
    records: Vec<AuditRecord>,
    end: AuditPage,
}

impl WholeAudit {
    fn read(office: &mut Office) -> anyhow::Result<Self> {
        let (mut reader, mut records) = (AuditReader::default(), Vec::new());
        loop {
            let page = office.page(reader.sequence() + 1)?;
            for frame in &page.frames {
                records.push(reader.read(frame).context("the audit is not in order")?);
            }
            // More may have been recorded since the first page: the last page counts.
            if reader.sequence() >= page.total {
                ensure!(reader.head() == page.head, "the audit's end is not the one that the vault signed");
                return Ok(Self { records, end: page });
            }
            ensure!(!page.frames.is_empty(), "the audit ends before the vault says");
        }
    }

    fn lineage(&self) -> Lineage {
        let mut lineage = Lineage::default();
        self.records.iter().for_each(|record| lineage.read(record));
        lineage
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn mention_json(mention: &KeyMention) -> Value {
    json!({
        "id": mention.id.to_string(), "usage": mention.header.usage.name(), "owner": mention.header.owner.text(),
        "version": mention.header.version,
    })
}

fn key_json(key: &KeyHistory, now_ms: u64) -> Value {
    let (ceremony, components) = match &key.origin {
        Origin::Ceremony { ceremony, components } => {
            let line = |line: &keys::ComponentLine| json!({ "custodian": line.custodian.text(), "check": line.check.to_string(), "drawn": line.drawn });
            (Some(*ceremony), components.iter().map(line).collect())
        }
        _ => (None, Vec::new()),
    };
    json!({
        "id": key.id.to_string(),
        "usage": key.header.usage.name(),
        "owner": key.header.owner.text(),
        "version": key.header.version,
        "algorithm": algorithm_name(key.header.algorithm),
        "exportable": key.header.exportable,
        "check": key.check.map(|check| check.to_string()),
        "origin": key.origin.word(),
        "ceremony": ceremony,
        "components": components,
        "parents": key.parents.iter().map(mention_json).collect::<Vec<_>>(),
        "made": utc_text(key.made_ms),
        "made_by": key.made_by,
        "age_days": key.age_days(now_ms),
        "due": utc_text(key.due_ms()),
        "overdue": now_ms >= key.due_ms(),
        "audit_record": key.audit_record,
        "went_out_records": key.went_out,
    })
}

fn key_line(key: &KeyHistory, now_ms: u64) -> String {
    let check = key.check.map_or_else(|| "-".to_owned(), |check| check.to_string());
    let overdue = if now_ms >= key.due_ms() { "  DUE" } else { "" };
    format!(
        "{}  {:<32} {:<12} check {check}  {} days, due {}{overdue}  {} by {}",
        key.id,
        key.name(),
        algorithm_name(key.header.algorithm),
        key.age_days(now_ms),
        &utc_text(key.due_ms())[..10],
        key.origin.word(),
        key.made_by,
    )
}

impl ListArguments {
    /// Lists.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let lineage = WholeAudit::read(&mut self.door.open()?)?.lineage();
        let now_ms = now_ms();
        let wanted = lineage.keys().iter().filter(|key| !self.due || now_ms >= key.due_ms());
        if self.door.json {
            println!("{}", json!({ "keys": wanted.map(|key| key_json(key, now_ms)).collect::<Vec<_>>() }));
        } else {
            wanted.for_each(|key| println!("{}", key_line(key, now_ms)));
        }
        Ok(Verdict::Yes)
    }
}

impl LineageArguments {
    /// Tells where a key comes from.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let mut office = self.door.open()?;
        let lineage = WholeAudit::read(&mut office)?.lineage();
        let vault = hex(&office.identity()?.record[..8]);
        let found = lineage.find(&self.key);
        if found.is_empty() {
            eprintln!("irontill: the audit knows no such key; working keys are not in it, see their TMK");
            return Ok(Verdict::No);
        }
        if self.door.json {
            let keys: Vec<Value> = found.iter().map(|key| with_ancestors(&lineage, key, &vault)).collect();
            println!("{}", json!({ "keys": keys }));
        } else {
            found.iter().for_each(|key| print_lineage(&lineage, key, &vault));
        }
        Ok(Verdict::Yes)
    }
}

fn with_ancestors(lineage: &Lineage, key: &KeyHistory, vault: &str) -> Value {
    let ancestor = |(depth, mention, known): (usize, &KeyMention, Option<&KeyHistory>)| {
        let mut line = known.map_or_else(|| mention_json(mention), |known| key_json(known, now_ms()));
        line["depth"] = json!(depth);
        line
    };
    let mut object = key_json(key, now_ms());
    object["ancestors"] = lineage.ancestors(key).into_iter().map(ancestor).collect();
    object["vault"] = json!(vault);
    object
}

fn print_lineage(lineage: &Lineage, key: &KeyHistory, vault: &str) {
    println!("{}", key_line(key, now_ms()));
    origin_lines(key, vault).iter().for_each(|line| println!("  {line}"));
    for (depth, mention, known) in lineage.ancestors(key) {
        let indent = "  ".repeat(depth);
        match known {
            Some(known) => {
                println!("{indent}under {}", key_line(known, now_ms()));
                origin_lines(known, vault).iter().for_each(|line| println!("{indent}  {line}"));
            }
            None => println!("{indent}under {mention}, which no record made"),
        }
    }
    if key.header.usage == keys::Usage::TerminalMaster {
        println!("  its working keys are made at every sign-in, version by version, and are not in the audit");
    }
}

/// How a key came to be, down to the vault whose master key holds it.
fn origin_lines(key: &KeyHistory, vault: &str) -> Vec<String> {
    let made = format!("audit record {}, {}", key.audit_record, utc_text(key.made_ms));
    let mut lines = match &key.origin {
        Origin::Generated => vec![format!("drawn in vault {vault}, {made}")],
        Origin::TransportKey => vec![format!("enciphered to the transport key of vault {vault}, {made}")],
        Origin::Imported => vec![format!("brought into vault {vault}, {made}")],
        Origin::Derived => vec![format!("derived in vault {vault}, {made}")],
        Origin::Ceremony { ceremony, components } => {
            let head = format!("put together in ceremony {ceremony} in vault {vault}, {made}");
            let line =
                |line: &keys::ComponentLine| format!("component of {}, check value {}", line.custodian, line.check);
            core::iter::once(head).chain(components.iter().map(line)).collect()
        }
        Origin::RemoteLoad { host } => vec![format!("loaded from distribution host {}, {made}", hex(&host[..8]))],
        Origin::Command(command) => vec![format!("made by {command} in vault {vault}, {made}")],
    };
    if !key.went_out.is_empty() {
        let records: Vec<String> = key.went_out.iter().map(u64::to_string).collect();
        lines.push(format!("went out enciphered: audit record {}", records.join(", ")));
    }
    lines
}

impl AuditArguments {
    /// Shows or checks records.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let mut office = self.door.open()?;
        let audit = WholeAudit::read(&mut office)?;
        let key = match &self.public_key {
            Some(text) => public_key(text)?,
            None => office.identity()?.record,
        };
        let signed = irontill_keys::verify_audit_head(&audit.end, &key);
        let contained = self.contains.as_deref().map(|noted| contains(&audit, noted)).transpose()?.unwrap_or(true);
        let sound = signed && contained;
        let (total, head) = (audit.end.total, hex(&audit.end.head));
        let records = if self.verify { &[][..] } else { &audit.records[..] };
        let shown = records.iter().filter(|record| record.sequence >= self.from);
        if self.door.json {
            let records: Vec<Value> = shown.map(record_json).collect();
            let (signature_right, record_key) = (signed, hex(&key));
            println!(
                "{}",
                json!({
                    "total": total, "head": head, "signature_right": signature_right, "contains_noted": contained,
                    "record_key": record_key, "records": records,
                })
            );
        } else {
            shown.for_each(|record| println!("{}", record_line(record)));
            let verdict = if sound { "in order" } else { "NOT IN ORDER" };
            println!("{total} records, {verdict}; end {total}:{head}, signed by {}", hex(&key));
        }
        Ok(Verdict::of(sound))
    }
}

/// Whether a record that somebody noted is still there, as it was.
fn contains(audit: &WholeAudit, noted: &str) -> anyhow::Result<bool> {
    let misuse = || Misuse("--contains: NUMBER:HASH".to_owned());
    let (number, hash) = noted.split_once(':').ok_or_else(misuse)?;
    let (number, hash) = (number.parse::<u64>().map_err(|_| misuse())?, unhex(hash).ok_or_else(misuse)?);
    Ok(audit.records.iter().any(|record| record.sequence == number && record.hash[..] == hash[..]))
}

fn record_json(record: &AuditRecord) -> Value {
    json!({
        "sequence": record.sequence,
        "at": utc_text(record.entry.at_ms),
        "at_ms": record.entry.at_ms,
        "caller": caller(record),
        "act": record.entry.act.name(),
        "detail": record.entry.act.detail(),
        "hash": hex(&record.hash),
    })
}

fn record_line(record: &AuditRecord) -> String {
    let (at, act) = (utc_text(record.entry.at_ms), &record.entry.act);
    format!("{:>6}  {at}  {:<14} {:<20} {}", record.sequence, caller(record), act.name(), act.detail())
}

fn caller(record: &AuditRecord) -> String {
    record.entry.caller.map_or_else(|| "vault".to_owned(), |caller| format!("{caller:?}").to_lowercase())
}
