//! `irontill keys`: calculations on test keys; custodians, ceremonies, lineage and audit of a key process.

use crate::calc::Calc;
use crate::key_ceremony::{CeremonyArguments, RecordArguments, VerifyRecord};
use crate::key_reports::{AuditArguments, LineageArguments, ListArguments};
use crate::keyboard::Keyboard;
use crate::system::Folder;
use crate::verdict::{Misuse, Verdict};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use keys::{AuditPage, Caller, Command, CustodianName, CustodianProof, KeyService, Refusal, Reply, hex, utc_text};
use serde_json::json;
use std::path::PathBuf;
use types::SecretBytes;
use vault_remote::RemoteKeys;

/// Calculations on test keys; ceremonies, custodians, lineage and audit of a key process.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Payment calculations on test keys, with every value between.
    Calc(Calc),
    /// Puts a key together from components of several custodians.
    Ceremony(CeremonyArguments),
    /// Key and record of a completed ceremony, again.
    CeremonyRecord(RecordArguments),
    /// Ends the ceremony that is open, without a key.
    CeremonyAbort(Door),
    /// Checks the record of a ceremony without the vault.
    VerifyRecord(VerifyRecord),
    /// Who holds components.
    #[command(subcommand)]
    Custodian(CustodianCommand),
    /// Every key that the audit knows of.
    List(ListArguments),
    /// Where a key comes from.
    Lineage(LineageArguments),
    /// What was done to the vault.
    Audit(AuditArguments),
    /// The vault's public signing keys.
    Identity(Door),
    /// Keeps an audit that is not in order under another name and begins a new one. The key process must not run.
    SetAuditAside {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
        /// Why; it is recorded.
        #[arg(long)]
        reason: String,
    },
}

/// Custodians of a vault.
#[derive(Subcommand)]
pub enum CustodianCommand {
    /// Registers a custodian; from the third on, another one must vouch. Passphrases are read, never given as words.
    Add {
        /// Their name: a-z, 0-9, `.`, `_`, `-`.
        name: String,
        /// Who vouches.
        #[arg(long)]
        approver: Option<String>,
        #[command(flatten)]
        door: Door,
    },
    /// Removes a custodian.
    Remove {
        /// Their name.
        name: String,
        /// Another custodian, who approves.
        #[arg(long)]
        approver: String,
        #[command(flatten)]
        door: Door,
    },
    /// A custodian chooses a new passphrase.
    Passphrase {
        /// Their name.
        name: String,
        #[command(flatten)]
        door: Door,
    },
    /// Lists them.
    List {
        #[command(flatten)]
        door: Door,
    },
}

/// Which key process.
#[derive(Args)]
pub struct Door {
    /// Folder of a system whose key process runs.
    #[arg(long, required_unless_present = "socket")]
    pub data: Option<PathBuf>,
    /// The administration's socket of a key process.
    #[arg(long, conflicts_with = "data")]
    socket: Option<PathBuf>,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// The administration's end of a key process.
pub struct Office(RemoteKeys);

/// The vault's public keys.
pub struct VaultKeys {
    /// Signs records and audit heads.
    pub record: [u8; 32],
    /// Signs load tokens.
    pub distribution: [u8; 32],
    /// Signs load requests.
    pub terminal: [u8; 32],
}

impl Door {
    /// Opens it.
    pub fn open(&self) -> anyhow::Result<Office> {
        let socket = match (&self.socket, &self.data) {
            (Some(socket), _) => socket.clone(),
            (None, Some(data)) => Folder::existing(data)?.host_settings()?.admin_key_socket,
            (None, None) => return Err(Misuse("--data or --socket".to_owned()).into()),
        };
        let keys = RemoteKeys::connect(&socket, Caller::Administration);
        Ok(Office(keys.with_context(|| format!("{}: no key process answers", socket.display()))?))
    }
}

impl Office {
    /// Says one command; a refusal is an error of its own type.
    pub fn ask(&mut self, command: Command) -> anyhow::Result<Reply> {
        match self.0.execute(&[command]).pop() {
            Some(Reply::Refused { why }) => Err(why.into()),
            Some(reply) => Ok(reply),
            None => bail!("no answer"),
        }
    }

    /// The vault's public keys.
    pub fn identity(&mut self) -> anyhow::Result<VaultKeys> {
        match self.ask(Command::VaultIdentity {})? {
            Reply::VaultIdentity { record, distribution, terminal } => Ok(VaultKeys { record, distribution, terminal }),
            other => Err(unexpected(&other)),
        }
    }

    /// A stretch of the audit.
    pub fn page(&mut self, from: u64) -> anyhow::Result<AuditPage> {
        match self.ask(Command::ReadAudit { from, count: keys::AUDIT_PAGE_RECORDS_MAX })? {
            Reply::AuditPage { page } => Ok(page),
            other => Err(unexpected(&other)),
        }
    }
}

/// An answer to another question.
pub fn unexpected(reply: &Reply) -> anyhow::Error {
    anyhow::anyhow!("the key process gave an unexpected answer: {}", reply.name())
}

/// A refusal is a "no"; whatever else went wrong is a fault.
pub fn no_or_fault(error: anyhow::Error) -> anyhow::Result<Verdict> {
    match error.downcast_ref::<Refusal>() {
        Some(Refusal::Unavailable) | None => Err(error),
        Some(why) => {
            eprintln!("irontill: {why}");
            Ok(Verdict::No)
        }
    }
}

/// A custodian's name as somebody typed it.
pub fn custodian_name(text: &str) -> anyhow::Result<CustodianName> {
    let name = CustodianName::new(text);
    name.ok_or_else(|| Misuse("a custodian's name has 1 to 32 of a-z, 0-9, '.', '_', '-'".to_owned()).into())
}

/// Reads a passphrase and gives the proof.
fn proof(keyboard: &Keyboard, name: CustodianName) -> anyhow::Result<CustodianProof> {
    let passphrase = needed(keyboard.secret(&format!("passphrase of {name}"))?)?;
    Ok(CustodianProof { name, passphrase })
}

fn needed(secret: Option<SecretBytes>) -> anyhow::Result<SecretBytes> {
    secret.ok_or_else(|| Misuse("a passphrase is needed on standard input".to_owned()).into())
}

impl KeysCommand {
    /// Carries it out.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let done = match self {
            KeysCommand::Calc(calc) => calc.run(),
            KeysCommand::Ceremony(ceremony) => ceremony.run(),
            KeysCommand::CeremonyRecord(record) => record.run(),
            KeysCommand::CeremonyAbort(door) => abort_ceremony(&door),
            KeysCommand::VerifyRecord(verify) => verify.run(),
            KeysCommand::Custodian(custodian) => custodian.run(),
            KeysCommand::List(list) => list.run(),
            KeysCommand::Lineage(lineage) => lineage.run(),
            KeysCommand::Audit(audit) => audit.run(),
            KeysCommand::Identity(door) => identity(&door),
            KeysCommand::SetAuditAside { data, reason } => set_audit_aside(&data, &reason),
        };
        done.or_else(no_or_fault)
    }
}

fn identity(door: &Door) -> anyhow::Result<Verdict> {
    let keys = door.open()?.identity()?;
    let (record, distribution, terminal) = (hex(&keys.record), hex(&keys.distribution), hex(&keys.terminal));
    if door.json {
        println!("{}", json!({ "record": record, "distribution": distribution, "terminal": terminal }));
    } else {
        println!("record       {record}\ndistribution {distribution}\nterminal     {terminal}");
    }
    Ok(Verdict::Yes)
}

fn abort_ceremony(door: &Door) -> anyhow::Result<Verdict> {
    let mut office = door.open()?;
    let ceremony = match office.ask(Command::CeremonyStatus {})? {
        Reply::Ceremony { state } => state.ceremony,
        other => return Err(unexpected(&other)),
    };
    office.ask(Command::AbortCeremony { ceremony })?;
    println!("{}", if door.json { json!({ "aborted": ceremony }).to_string() } else { format!("aborted {ceremony}") });
    Ok(Verdict::Yes)
}

fn set_audit_aside(data: &std::path::Path, reason: &str) -> anyhow::Result<Verdict> {
    let config = Folder::existing(data)?.keys_config();
    match irontill_keys::set_vault_audit_aside(&config, reason)? {
        Some(aside) => println!("{}", aside.display()),
        None => println!("there was no audit; a new one has begun"),
    }
    Ok(Verdict::Yes)
}

impl CustodianCommand {
    fn run(self) -> anyhow::Result<Verdict> {
        irontill_keys::harden().context("hardening the process")?;
        let keyboard = Keyboard::new();
        let (mut office, command, json) = match self {
            CustodianCommand::Add { name, approver, door } => {
                let name = custodian_name(&name)?;
                let approver = approver.as_deref().map(custodian_name).transpose()?;
                let approver = approver.map(|approver| proof(&keyboard, approver)).transpose()?;
                let passphrase = needed(keyboard.new_secret(&format!("new passphrase of {name}"))?)?;
                let custodian = CustodianProof { name, passphrase };
                (door.open()?, Command::RegisterCustodian { custodian, approver }, door.json)
            }
            CustodianCommand::Remove { name, approver, door } => {
                let approver = proof(&keyboard, custodian_name(&approver)?)?;
                (door.open()?, Command::RemoveCustodian { name: custodian_name(&name)?, approver }, door.json)
            }
            CustodianCommand::Passphrase { name, door } => {
                let custodian = proof(&keyboard, custodian_name(&name)?)?;
                let passphrase = needed(keyboard.new_secret("new passphrase")?)?;
                (door.open()?, Command::ChangePassphrase { custodian, passphrase }, door.json)
            }
            CustodianCommand::List { door } => return list_custodians(&door),
        };
        office.ask(command)?;
        println!("{}", if json { json!({ "done": true }).to_string() } else { "done".to_owned() });
        Ok(Verdict::Yes)
    }
}

fn list_custodians(door: &Door) -> anyhow::Result<Verdict> {
    let list = match door.open()?.ask(Command::ListCustodians {})? {
        Reply::Custodians { list } => list.0,
        other => return Err(unexpected(&other)),
    };
    if door.json {
        let line = |line: &keys::CustodianLine| {
            json!({
                "name": line.name.text(),
                "since": utc_text(line.since_ms),
                "approved_by": line.approved_by.as_ref().map(CustodianName::text),
            })
        };
        println!("{}", json!({ "custodians": list.iter().map(line).collect::<Vec<_>>() }));
    } else {
        for line in &list {
            let approved_by = line.approved_by.as_ref().map_or("-", CustodianName::text);
            println!("{:<32} since {}  approved by {approved_by}", line.name.text(), utc_text(line.since_ms));
        }
    }
    Ok(Verdict::Yes)
}
