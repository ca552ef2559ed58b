//! `irontill-host --config FILE [command]`.

use anyhow::{Context, anyhow, bail};
use clap::{Parser, Subcommand};
use irontill_host::{Admin, EnrolmentOrder, HostSettings, LogSink, TransportedKey};
use keys::KeyCheckValue;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use types::{Currency, MerchantId, TerminalId};

/// The acquiring host.
#[derive(Parser)]
#[command(name = "irontill-host", version)]
struct Arguments {
    /// Settings file.
    #[arg(long)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Work>,
}

#[derive(Subcommand)]
enum Work {
    /// Serve terminals (what happens without a command).
    Serve,
    /// Write the public key to which terminals encipher their key encryption key (SubjectPublicKeyInfo, DER).
    TransportKey {
        /// Where to write it.
        #[arg(long)]
        out: PathBuf,
    },
    /// Enrol a terminal, or enrol it anew.
    Enrol(Enrol),
    /// List enrolled terminals.
    List,
    /// Check the whole store: chains, postings, balances.
    Verify,
    /// Read a file of risk rules and name its first mistake: rule, line and column.
    CheckRules {
        /// The file.
        file: PathBuf,
    },
    /// What risk rules would have said of everything that the store holds. Nothing is changed.
    ReplayRules {
        /// The file.
        file: PathBuf,
    },
}

#[derive(clap::Args)]
struct Enrol {
    /// Terminal id (F41), 8 characters.
    #[arg(long)]
    terminal: String,
    /// Merchant id (F42), 15 characters.
    #[arg(long)]
    merchant: String,
    /// Name for people.
    #[arg(long, default_value = "")]
    name: String,
    /// Head of its reference numbers; without it the next free one.
    #[arg(long)]
    number: Option<u32>,
    /// Currency, ISO 4217 numeric.
    #[arg(long, default_value_t = 156)]
    currency: u16,
    /// Its certificate request (PKCS #10, PEM).
    #[arg(long)]
    request: PathBuf,
    /// Its key encryption key: 16 bytes, RSA-OAEP (SHA-256) to the transport key, hexadecimal.
    #[arg(long)]
    transport: String,
    /// Check value of that key: the first four bytes of eight zero bytes enciphered under it, hexadecimal.
    #[arg(long)]
    transport_check: String,
    /// Folder for what the terminal takes home: terminal.pem, authority.pem, master-key.txt.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match work(&arguments) {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("irontill-host: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn work(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let log: LogSink = Arc::new(|line: &str| eprintln!("{line}"));
    let settings = read_settings(&arguments.config)?;
    match &arguments.command {
        None | Some(Work::Serve) => {
            irontill_host::run(&settings, log.clone(), |address| log(&format!("host: serves on {address}")))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Work::TransportKey { out }) => {
            let public_key = Admin::open(&settings, log)?.transport_public_key()?;
            fs::write(out, public_key).with_context(|| out.display().to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Work::Enrol(enrol)) => enrol_terminal(&settings, enrol, log),
        Some(Work::List) => list(&settings, log),
        Some(Work::Verify) => verify(&settings, log),
        Some(Work::CheckRules { file }) => check_rules(file),
        Some(Work::ReplayRules { file }) => replay_rules(&settings, file),
    }
}

fn read_settings(path: &Path) -> anyhow::Result<HostSettings> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    HostSettings::parse(&text, folder).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn enrol_terminal(settings: &HostSettings, enrol: &Enrol, log: LogSink) -> anyhow::Result<ExitCode> {
    let order = EnrolmentOrder {
        terminal: TerminalId::parse(&enrol.terminal)?,
        merchant: MerchantId::parse(&enrol.merchant)?,
        name: enrol.name.clone(),
        terminal_number: enrol.number,
        currency: Currency::from_numeric(enrol.currency).ok_or_else(|| anyhow!("no such currency"))?,
        allowed: u32::MAX,
        certificate_request_pem: fs::read_to_string(&enrol.request).context("certificate request")?,
        identity: None,
        transport: TransportedKey {
            enciphered: unhex(&enrol.transport).context("transport key")?,
            check: KeyCheckValue(
                unhex(&enrol.transport_check)?.try_into().map_err(|_| anyhow!("check value: 4 bytes"))?,
            ),
        },
    };
    let authority = Admin::authority(settings)?;
    let enrolled = Admin::open(settings, log)?.enrol_terminal(&order, &authority, irontill_host::today_utc())?;
    let key = &enrolled.master_key;
    let master_key =
        format!("enciphered = {}\ncheck = {}\nversion = {}\n", hex(&key.enciphered), hex(&key.check.0), key.version);
    link::create_private_folder(&enrol.out)?;
    link::write_durably(&enrol.out.join("terminal.pem"), enrolled.certificate_pem.as_bytes())?;
    link::write_durably(&enrol.out.join("authority.pem"), enrolled.authority_pem.as_bytes())?;
    link::write_private(&enrol.out.join("master-key.txt"), master_key.as_bytes())?;
    say(&format!("{} enrolled with terminal number {:06}", order.terminal, enrolled.terminal_number))?;
    Ok(ExitCode::SUCCESS)
}

fn list(settings: &HostSettings, log: LogSink) -> anyhow::Result<ExitCode> {
    for terminal in Admin::open(settings, log)?.terminals()? {
        let state = if terminal.signed_in { "signed in" } else { "signed off" };
        let batch = terminal.batch.map_or("-".to_owned(), |batch| format!("{batch:06}"));
        say(&format!(
            "{} {} number {:06} {state}, batch {batch}, {} intents, record {}  {}",
            terminal.terminal,
            terminal.merchant,
            terminal.terminal_number,
            terminal.open_intents,
            terminal.last_sequence,
            terminal.name
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(settings: &HostSettings, log: LogSink) -> anyhow::Result<ExitCode> {
    let report = Admin::open(settings, log)?.store().verify()?;
    report.findings.iter().try_for_each(|finding| say(finding))?;
    say(&format!(
        "{} machines, {} records, {} postings, {} balances: {} findings",
        report.machines,
        report.records,
        report.postings,
        report.balances,
        report.findings.len()
    ))?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_rules(file: &Path) -> anyhow::Result<ExitCode> {
    match irontill_host::read_rules(file) {
        Ok(set) => {
            say(&format!("version {}, {} rules", set.version, set.rules.len()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistake) => {
            say(&format!("{mistake:#}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn replay_rules(settings: &HostSettings, file: &Path) -> anyhow::Result<ExitCode> {
    let set = irontill_host::read_rules(file)?;
    let store = store_sqlite::SqliteStore::open_read_only(&settings.store, None)?;
    let replay = irontill_host::replay(&store, &set, &irontill_host::policies_of(settings)?, 0, u64::MAX)?;
    say(replay.to_string().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        bail!("expected hexadecimal digits");
    }
    let byte = |at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?);
    (0..text.len()).step_by(2).map(byte).collect()
}
