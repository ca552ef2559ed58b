//! `irontill host`: the host alone, and what its operators do on a system's folder.

use crate::bureau;
use crate::risk_rules::Rules;
use crate::settle::{Fee, Reconcile, Settle};
use crate::system::{Folder, System};
use crate::till_point::{TillPoint, rotate_master_key};
use crate::verdict::{Misuse, Verdict};
use anyhow::Context;
use clap::{Args, Subcommand};
use irontill_host::{Admin, EnrolmentOrder, TransportedKey};
use keys::KeyCheckValue;
use serde_json::json;
use std::path::PathBuf;
use types::{Currency, MerchantId, TerminalId};

/// The host alone, and what its operators do.
#[derive(Subcommand)]
pub enum HostCommand {
    /// Starts key process and host of a folder and serves until it is stopped.
    Serve {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
    },
    /// Prints the public key to which terminals encipher their transport key (PEM).
    TransportKey {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
    },
    /// Enrols a terminal: certificate and master key in exchange for certificate request and transport key.
    Enrol(Enrol),
    /// Lists enrolled terminals.
    List {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
    },
    /// Rotates a terminal's master key, or every key of the built-in issuer, while the host serves.
    RotateKeys {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
        /// Terminal id (F41) of a terminal whose folder lies in the system's and that is not at work.
        #[arg(long, required_unless_present = "issuer")]
        terminal: Option<String>,
        /// All keys of the issuer.
        #[arg(long, conflicts_with = "terminal")]
        issuer: bool,
    },
    /// Checks the whole store: chains, postings, balances.
    Verify {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Settles closed batches: fees, what merchants are paid, the payout and clearing files of a day.
    Settle(Settle),
    /// Compares our clearing file with the network's, every difference in its class.
    Reconcile(Reconcile),
    /// The fee of one sale and the rule that made it.
    Fee(Fee),
    /// Risk rules: checks a file of them, tries them on past traffic, prints some to begin from.
    #[command(subcommand)]
    Rules(Rules),
    /// Prints the pricing that is used without another one, to begin from.
    Pricing,
}

/// A terminal to enrol.
#[derive(Args)]
pub struct Enrol {
    /// Folder of the system.
    #[arg(long)]
    data: PathBuf,
    /// Terminal id (F41), 8 characters.
    #[arg(long)]
    terminal: String,
    /// Merchant id (F42), 15 characters.
    #[arg(long)]
    merchant: String,
    /// Name for people.
    #[arg(long, default_value = "")]
    name: String,
    /// Certificate request (PKCS #10, PEM).
    #[arg(long)]
    csr: PathBuf,
    /// File with the transport key: 16 bytes, RSA-OAEP with SHA-256 to the public key of `transport-key`, in hex.
    #[arg(long)]
    transport_key: PathBuf,
    /// Check value of the transport key: first four bytes of eight zero bytes enciphered under it, in hex.
    #[arg(long)]
    transport_check: String,
    /// Folder for terminal.pem, ca.pem and tmk.json.
    #[arg(long)]
    out: PathBuf,
}

impl HostCommand {
    /// Carries it out.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            HostCommand::Serve { data } => serve(&data),
            HostCommand::TransportKey { data } => {
                let key = Folder::existing(&data)?.admin()?.transport_public_key()?;
                print!("{}", public_key_pem(&key));
                Ok(Verdict::Yes)
            }
            HostCommand::Enrol(enrol) => enrol.run(),
            HostCommand::List { data } => list(&data),
            HostCommand::RotateKeys { data, terminal, issuer: _ } => rotate_keys(&data, terminal.as_deref()),
            HostCommand::Verify { data, json } => verify(&data, json),
            HostCommand::Settle(settle) => settle.run(),
            HostCommand::Reconcile(reconcile) => reconcile.run(),
            HostCommand::Fee(fee) => fee.run(),
            HostCommand::Rules(rules) => rules.run(),
            HostCommand::Pricing => {
                print!("{}", settlement::STANDARD_PRICING);
                Ok(Verdict::Yes)
            }
        }
    }
}

fn serve(data: &std::path::Path) -> anyhow::Result<Verdict> {
    let system = System::start(data)?;
    println!("{}", system.address);
    loop {
        std::thread::park();
    }
}

fn list(data: &std::path::Path) -> anyhow::Result<Verdict> {
    for terminal in Folder::existing(data)?.admin()?.terminals()? {
        let state = if terminal.signed_in { "signed in" } else { "signed off" };
        let batch = terminal.batch.map_or_else(|| "-".to_owned(), |batch| format!("{batch:06}"));
        println!(
            "{} {} {state}, batch {batch}, record {}  {}",
            terminal.terminal, terminal.merchant, terminal.last_sequence, terminal.name
        );
    }
    Ok(Verdict::Yes)
}

fn rotate_keys(data: &std::path::Path, terminal: Option<&str>) -> anyhow::Result<Verdict> {
    let folder = Folder::existing(data)?;
    let mut admin = folder.admin()?;
    let Some(id) = terminal else {
        let cards = bureau::rotate_issuer_keys(&mut admin)?;
        println!("{cards} cards have new files under new keys");
        return Ok(Verdict::Yes);
    };
    let found = admin.terminals()?.into_iter().find(|known| known.terminal.text() == id);
    let known = found.ok_or_else(|| Misuse(format!("no terminal {id} is enrolled")))?;
    let point = TillPoint::new(&folder, id, known.merchant.text(), &known.name)?;
    let check = rotate_master_key(&std::sync::Mutex::new(admin), known.terminal, &mut point.open_offline()?)?;
    println!("terminal {id} has a new master key, check value {check}; its next sign-in uses it");
    Ok(Verdict::Yes)
}

fn verify(data: &std::path::Path, json: bool) -> anyhow::Result<Verdict> {
    let settings = Folder::existing(data)?.host_settings()?;
    let report = store_sqlite::SqliteStore::open_read_only(&settings.store, None)?.verify()?;
    if json {
        println!(
            "{}",
            json!({
                "machines": report.machines, "records": report.records, "postings": report.postings,
                "balances": report.balances, "findings": report.findings,
            })
        );
    } else {
        report.findings.iter().for_each(|finding| println!("{finding}"));
        println!(
            "{} machines, {} records, {} postings, {} findings",
            report.machines,
            report.records,
            report.postings,
            report.findings.len()
        );
    }
    Ok(Verdict::of(report.is_sound()))
}

impl Enrol {
    fn run(self) -> anyhow::Result<Verdict> {
        let misuse = |what: &str, cause: types::Invalid| Misuse(format!("{what}: {cause}"));
        let folder = Folder::existing(&self.data)?;
        let transport = std::fs::read_to_string(&self.transport_key).context("transport key")?;
        let check =
            unhex(&self.transport_check)?.try_into().map_err(|_| Misuse("--transport-check: four bytes".to_owned()))?;
        let order = EnrolmentOrder {
            terminal: TerminalId::parse(&self.terminal).map_err(|cause| misuse("--terminal", cause))?,
            merchant: MerchantId::parse(&self.merchant).map_err(|cause| misuse("--merchant", cause))?,
            name: self.name.clone(),
            terminal_number: None,
            currency: Currency::CNY,
            allowed: u32::MAX,
            certificate_request_pem: std::fs::read_to_string(&self.csr).context("certificate request")?,
            identity: None,
            transport: TransportedKey { enciphered: unhex(transport.trim())?, check: KeyCheckValue(check) },
        };
        let authority = Admin::authority(&folder.host_settings()?)?;
        let enrolled = folder.admin()?.enrol_terminal(&order, &authority, irontill_host::today_utc())?;
        let master_key = json!({
            "enciphered": hex(&enrolled.master_key.enciphered),
            "kcv": hex(&enrolled.master_key.check.0),
            "version": enrolled.master_key.version,
        });
        link::create_private_folder(&self.out)?;
        link::write_durably(&self.out.join("terminal.pem"), enrolled.certificate_pem.as_bytes())?;
        link::write_durably(&self.out.join("ca.pem"), enrolled.authority_pem.as_bytes())?;
        link::write_private(&self.out.join("tmk.json"), master_key.to_string().as_bytes())?;
        println!("{} enrolled", order.terminal);
        Ok(Verdict::Yes)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    let misuse = || Misuse("expected hex digits".to_owned());
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(misuse().into());
    }
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| misuse().into());
    (0..text.len()).step_by(2).map(byte).collect()
}

/// SubjectPublicKeyInfo as PEM (RFC 7468).
fn public_key_pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const LINE_CHARACTERS: usize = 64;
    let mut text = String::new();
    for three in der.chunks(3) {
        let number = three.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for index in 0..4 {
            let character =
                if index <= three.len() { ALPHABET[(number >> (18 - 6 * index) & 63) as usize] } else { b'=' };
            text.push(char::from(character));
        }
    }
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE_CHARACTERS).map(|at| &text[at..text.len().min(at + LINE_CHARACTERS)]).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
