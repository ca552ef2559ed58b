//! `irontill keys ceremony`: walks custodians through their components. Prints check values and nothing secret.

use crate::key_office::{Door, Office, custodian_name, no_or_fault, unexpected};
use crate::keyboard::Keyboard;
use crate::verdict::{Misuse, Verdict};
use anyhow::Context;
use clap::{Args, ValueEnum};
use keys::{
    Algorithm, AnyKeyBlock, CeremonyState, Command, CustodianProof, ExpectedCheck, KeyCheckValue, Owner, Reply, Usage,
    algorithm_name, hex, unhex,
};
use machine::wire::Encode;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use types::SecretBytes;
use zeroize::Zeroizing;

/// Begins the name of a file, where a component is asked for, that the vault's own draw shall go to.
const DRAW_TO: &str = "@";
const PRIVATE_MODE: u32 = 0o600;

/// Algorithms by the names of the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum AlgorithmName {
    /// Single DES.
    Des,
    /// Double-length TDES.
    Tdes2,
    /// Triple-length TDES.
    Tdes3,
    /// AES with 128 bits.
    Aes128,
    /// AES with 256 bits.
    Aes256,
    /// HMAC-SHA-256.
    Hmac,
    /// AES with 192 bits.
    Aes192,
    /// SM4.
    Sm4,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Des => Algorithm::Des,
            AlgorithmName::Tdes2 => Algorithm::TdesDouble,
            AlgorithmName::Tdes3 => Algorithm::TdesTriple,
            AlgorithmName::Aes128 => Algorithm::Aes128,
            AlgorithmName::Aes256 => Algorithm::Aes256,
            AlgorithmName::Hmac => Algorithm::HmacSha256,
            AlgorithmName::Aes192 => Algorithm::Aes192,
            AlgorithmName::Sm4 => Algorithm::Sm4,
        }
    }
}

/// A ceremony to hold.
#[derive(Args)]
pub struct CeremonyArguments {
    #[command(flatten)]
    door: Door,
    /// What the key is for, by its short name: TMK, KEK, KBPK, BDK, PIK, IMK-AC, IMK-SMI, CVK, …
    #[arg(long)]
    usage: String,
    /// Algorithm and length.
    #[arg(long, default_value = "tdes2")]
    algorithm: AlgorithmName,
    /// Whose key.
    #[arg(long)]
    owner: String,
    /// Its version.
    #[arg(long, default_value_t = 1)]
    version: u32,
    /// It may leave the vault under a key encryption key.
    #[arg(long)]
    exportable: bool,
    /// How many components, 2 to 9, each from another custodian.
    #[arg(long, default_value_t = 2)]
    components: u8,
    /// Check value of the combined key, if somebody knows it: six or eight hex digits.
    #[arg(long)]
    expect_check: Option<String>,
    /// Folder for the record and the key block.
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

/// A ceremony whose record is wanted.
#[derive(Args)]
pub struct RecordArguments {
    /// Number of the ceremony.
    ceremony: u64,
    #[command(flatten)]
    door: Door,
    /// Folder for the record and the key block.
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

/// A record to check.
#[derive(Args)]
pub struct VerifyRecord {
    /// The record.
    record: PathBuf,
    /// The vault's record key (`irontill keys identity`), 64 hex digits.
    #[arg(long)]
    public_key: String,
}

fn usage_of(text: &str) -> anyhow::Result<Usage> {
    let usage = Usage::ALL.into_iter().find(|usage| usage.name().eq_ignore_ascii_case(text));
    usage.ok_or_else(|| Misuse(format!("--usage: no usage is called {text}")).into())
}

/// A check value as a person has it on paper.
fn expected(text: &str) -> anyhow::Result<ExpectedCheck> {
    let compact: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    let check = unhex(&compact).and_then(|bytes| ExpectedCheck::new(&bytes));
    check.ok_or_else(|| Misuse("a check value has six or eight hex digits".to_owned()).into())
}

/// Hex digits, blanks between them allowed, as secret bytes.
fn component_bytes(line: &SecretBytes) -> Option<SecretBytes> {
    let digits: Zeroizing<Vec<u8>> =
        Zeroizing::new(line.expose().iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let text = core::str::from_utf8(&digits).ok()?;
    unhex(text).map(SecretBytes::new)
}

impl CeremonyArguments {
    /// Holds it.
    pub fn run(self) -> anyhow::Result<Verdict> {
        irontill_keys::harden().context("hardening the process")?;
        let owner =
            Owner::new(self.owner.clone()).ok_or_else(|| Misuse("--owner: 1 to 24 printable characters".to_owned()))?;
        let open = Command::OpenCeremony {
            usage: usage_of(&self.usage)?,
            algorithm: self.algorithm.into(),
            owner,
            version: self.version,
            exportable: self.exportable,
            components: self.components,
        };
        let check = self.expect_check.as_deref().map(expected).transpose()?;
        let mut office = self.door.open()?;
        let state = match office.ask(open)? {
            Reply::Ceremony { state } => state,
            other => return Err(unexpected(&other)),
        };
        let ceremony = state.ceremony;
        let mut hall = Hall { office, keyboard: Keyboard::new(), quiet: self.door.json };
        let held = hall.hold(state, check, &self.out);
        if !matches!(held, Ok(Verdict::Yes)) {
            // Ended already if it was completed; there is nothing to abort then.
            let _ = hall.office.ask(Command::AbortCeremony { ceremony });
        }
        held
    }
}

/// Where a ceremony is held.
struct Hall {
    office: Office,
    keyboard: Keyboard,
    quiet: bool,
}

impl Hall {
    fn say(&self, line: &str) {
        if !self.quiet {
            println!("{line}");
        }
    }

    fn hold(&mut self, mut state: CeremonyState, check: Option<ExpectedCheck>, out: &Path) -> anyhow::Result<Verdict> {
        let (ceremony, header) = (state.ceremony, &state.header);
        self.say(&format!(
            "ceremony {ceremony}: {} of {}, version {}, {}, {} components",
            header.usage.name(),
            header.owner.text(),
            header.version,
            algorithm_name(header.algorithm),
            state.components
        ));
        while state.entered.len() < usize::from(state.components) {
            let number = state.entered.len() + 1;
            match self.component(&state, number) {
                Ok(Some(next)) => state = next,
                Ok(None) => {
                    eprintln!("irontill: the input ended; ceremony {ceremony} is aborted");
                    return Ok(Verdict::No);
                }
                Err(error) => self.again(error)?,
            }
        }
        let reply = self.office.ask(Command::CompleteCeremony { ceremony, expected: check })?;
        report_completed(ceremony, reply, out, self.quiet)
    }

    /// A refusal or a slip of the hand does not end a ceremony.
    fn again(&self, error: anyhow::Error) -> anyhow::Result<()> {
        let slip = error.downcast_ref::<Misuse>().is_some();
        if slip {
            eprintln!("irontill: {error}; once more");
            return Ok(());
        }
        no_or_fault(error).map(|_| ())
    }

    /// One component; `None` at the end of input. All its lines are read before any is judged, so that a script stays
    /// in step.
    fn component(&mut self, state: &CeremonyState, number: usize) -> anyhow::Result<Option<CeremonyState>> {
        let Some(name) = self.keyboard.line(&format!("custodian of component {number}"))? else { return Ok(None) };
        let Some(passphrase) = self.keyboard.secret(&format!("passphrase of {name}"))? else { return Ok(None) };
        let prompt = format!("component {number} in hex, or {DRAW_TO}FILE to have it drawn into a new file");
        let Some(line) = self.keyboard.secret(&prompt)? else { return Ok(None) };
        if let Some(path) = line.expose().strip_prefix(DRAW_TO.as_bytes()) {
            let path = core::str::from_utf8(path).context("the name of a file")?.trim();
            let custodian = CustodianProof { name: custodian_name(&name)?, passphrase };
            return self.drawn(state, custodian, Path::new(path)).map(Some);
        }
        let Some(check) = self.keyboard.line("its check value on paper (empty for none)")? else { return Ok(None) };
        let expected = if check.is_empty() { None } else { Some(expected(&check)?) };
        let component = component_bytes(&line).ok_or_else(|| Misuse("a component is hex digits".to_owned()))?;
        let custodian = CustodianProof { name: custodian_name(&name)?, passphrase };
        let command = Command::EnterComponent { ceremony: state.ceremony, custodian, component, expected };
        match self.office.ask(command)? {
            Reply::ComponentTaken { check, state } => {
                self.report_component(&state, check);
                Ok(Some(state))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Has a component drawn into a file that only its owner may read.
    fn drawn(
        &mut self,
        state: &CeremonyState,
        custodian: CustodianProof,
        path: &Path,
    ) -> anyhow::Result<CeremonyState> {
        // The file first: a component that cannot be kept must not be drawn.
        let taken = |cause| Misuse(format!("{}: {cause}", path.display()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(path).map_err(taken)?;
        let command = Command::DrawComponent { ceremony: state.ceremony, custodian };
        let reply = self.office.ask(command).inspect_err(|_| {
            // Empty and ours: the name is free again for the next try.
            let _ = std::fs::remove_file(path);
        })?;
        let Reply::ComponentDrawn { component, check, state } = reply else { return Err(unexpected(&reply)) };
        write_component(&mut file, &component, check).with_context(|| path.display().to_string())?;
        self.report_component(&state, check);
        Ok(state)
    }

    fn report_component(&self, state: &CeremonyState, check: KeyCheckValue) {
        if let Some(line) = state.entered.last() {
            let (number, all) = (state.entered.len(), state.components);
            self.say(&format!("component {number} of {all} from {}: check value {check}", line.custodian));
        }
    }
}

fn write_component(file: &mut File, component: &SecretBytes, check: KeyCheckValue) -> std::io::Result<()> {
    let digits = Zeroizing::new(hex(component.expose()));
    file.write_all(digits.as_bytes())?;
    file.write_all(format!("\ncheck value {check}\n").as_bytes())?;
    file.sync_all()
}

/// Writes record and key block, and says where.
fn report_completed(ceremony: u64, reply: Reply, out: &Path, json_wanted: bool) -> anyhow::Result<Verdict> {
    let Reply::CeremonyCompleted { key, check, record } = reply else { return Err(unexpected(&reply)) };
    let record_path = out.join(format!("ceremony-{ceremony}.txt"));
    let block_path = out.join(format!("ceremony-{ceremony}.key"));
    let advice = format!("the key is made; `irontill keys ceremony-record {ceremony}` writes its files");
    link::write_durably(&record_path, &record)
        .and_then(|()| link::write_durably(&block_path, format!("{}\n", block_hex(&key)).as_bytes()))
        .context(advice)?;
    if json_wanted {
        println!(
            "{}",
            json!({
                "ceremony": ceremony, "check": check.to_string(), "record": record_path, "key_block": block_path,
                "usage": key.header.usage.name(), "owner": key.header.owner.text(), "version": key.header.version,
            })
        );
    } else {
        println!("check value of the key: {check}");
        println!("record {}\nkey block {}", record_path.display(), block_path.display());
    }
    Ok(Verdict::Yes)
}

fn block_hex(key: &AnyKeyBlock) -> String {
    hex(&key.to_bytes())
}

impl RecordArguments {
    /// Writes it.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let ceremony = self.ceremony;
        let reply = self.door.open()?.ask(Command::ReadCeremonyRecord { ceremony })?;
        report_completed(ceremony, reply, &self.out, self.door.json)
    }
}

impl VerifyRecord {
    /// Checks it.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let record = std::fs::read_to_string(&self.record).with_context(|| self.record.display().to_string())?;
        let public_key = public_key(&self.public_key)?;
        match irontill_keys::verify_record(&record, &public_key) {
            Some(text) => {
                print!("{text}");
                println!("the signature is right");
                Ok(Verdict::Yes)
            }
            None => {
                eprintln!("irontill: no record of this vault, or altered");
                Ok(Verdict::No)
            }
        }
    }
}

/// A public key in hex.
pub fn public_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Misuse("a public key has 64 hex digits".to_owned()).into())
}
