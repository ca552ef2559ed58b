//! `irontill load`: terminals that really sign in and pay, and the audit of what they did.

use crate::dukpt_devices;
use crate::rotation::{self, Rotations, TerminalRotation};
use crate::system::Folder;
use crate::till_point::{CardSide, LabReader, TillPoint, profile};
use crate::verdict::{Misuse, Verdict};
use clap::Args;
use irontill_terminal::{Silent, Terminal};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use till::{OperatorCommand, OutcomeStatus, TransactionStatus};
use types::{Amount, Currency};

/// Most terminals of one run.
const TERMINALS_MAX: u32 = 500;
/// First terminal id of a load.
const FIRST_TERMINAL: u32 = 30_000_001;
/// How long a terminal's pending matters may take at the end.
const RESOLVE_WITHIN: Duration = Duration::from_secs(180);
/// A batch is settled after so many payments, before it is full.
const PAYMENTS_A_BATCH: usize = 300;

/// Terminals that really sign in and pay.
#[derive(Args)]
pub struct Load {
    /// Folder of the system.
    #[arg(long)]
    data: PathBuf,
    /// Address of the host; without it the one that runs on the folder.
    #[arg(long)]
    host: Option<String>,
    /// Terminals at work at the same time.
    #[arg(long, default_value_t = 8)]
    terminals: u32,
    /// How long.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Test card of every terminal.
    #[arg(long, default_value = "unionpay-sda")]
    card: String,
    /// Appends a line to this file for each receipt handed out: terminal, batch, trace, amount.
    #[arg(long)]
    receipts: Option<PathBuf>,
    /// Longest wait for an answer, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    response_timeout_ms: u64,
    /// Rotates a key of every kind each so many seconds while it pays: each terminal's working keys and its master key in turn, all
    /// keys of the issuer, and the base derivation key of three DUKPT devices that pay at the key process, device by device. Every
    /// payment must then be approved.
    #[arg(long, conflicts_with = "audit", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_keys_every_s: Option<u64>,
    /// Pays nothing: resolves everything that is pending and compares receipts, tills and ledger.
    #[arg(long)]
    audit: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// What the terminals of a run share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    receipts: Option<&'a Mutex<std::fs::File>>,
    enrolling: &'a Mutex<()>,
    rotating: Option<&'a Mutex<irontill_host::Admin>>,
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Tally {
    approved: u64,
    declined: u64,
    reversed: u64,
    unknown: u64,
    latencies_ms: Vec<f64>,
    pub(crate) rotations: Rotations,
    pub(crate) device_payments: u64,
    pub(crate) problems: Vec<String>,
    /// What tills say of their sales: name of the intent, and whether it stands.
    claims: Vec<(String, bool)>,
    /// The open batch of each till: what the names of its intents begin with.
    open_batches: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.approved += other.approved;
        self.declined += other.declined;
        self.reversed += other.reversed;
        self.unknown += other.unknown;
        self.latencies_ms.extend(other.latencies_ms);
        self.rotations.add(other.rotations);
        self.device_payments += other.device_payments;
        self.problems.extend(other.problems);
        self.claims.extend(other.claims);
        self.open_batches.extend(other.open_batches);
    }

    fn percentile(&mut self, hundredths: usize) -> f64 {
        self.latencies_ms.sort_by(f64::total_cmp);
        let count = self.latencies_ms.len();
        if count == 0 { 0.0 } else { self.latencies_ms[(count * hundredths / 100).min(count - 1)] }
    }
}

impl Load {
    /// Pays, or audits.
    pub fn run(self) -> anyhow::Result<Verdict> {
        if self.terminals == 0 || self.terminals > TERMINALS_MAX {
            return Err(Misuse(format!("--terminals: 1 to {TERMINALS_MAX}")).into());
        }
        profile(&self.card)?;
        let folder = Folder::new(&self.data)?;
        let address = match &self.host {
            Some(address) => address.clone(),
            None => folder.host_address()?,
        };
        let mut tally = self.run_terminals(&folder, &address)?;
        if self.rotate_keys_every_s.is_some() {
            tally.problems.extend(tally.rotations.missing());
        }
        if self.audit {
            audit_ledger(&folder, self.receipts.as_deref(), &mut tally)?;
        }
        Ok(self.report(&mut tally))
    }

    /// Every terminal in a thread of its own; those that rotate the issuer's keys and the devices' run until the last of them has ended.
    fn run_terminals(&self, folder: &Folder, address: &str) -> anyhow::Result<Tally> {
        let receipts = self.receipts.as_deref().map(open_receipts).transpose()?.map(Mutex::new);
        let tally = Mutex::new(Tally::default());
        let add = &|own: Tally| tally.lock().unwrap_or_else(PoisonError::into_inner).add(own);
        let enrolling = Mutex::new(());
        let rotating = self.rotate_keys_every_s.map(|_| folder.admin().map(Mutex::new)).transpose()?;
        let (at_work, all_ended) = channel::<()>();
        let (at_work_too, all_ended_too) = channel::<()>();
        std::thread::scope(|scope| {
            if let (Some(every_s), Some(admin)) = (self.rotate_keys_every_s, &rotating) {
                let every = Duration::from_secs(every_s);
                scope.spawn(move || add(rotation::rotate_issuer(admin, every, &all_ended)));
                scope.spawn(move || add(dukpt_devices::pay_and_rotate(folder, every, &all_ended_too)));
            }
            for number in 0..self.terminals {
                let shared = Shared { receipts: receipts.as_ref(), enrolling: &enrolling, rotating: rotating.as_ref() };
                let at_work = (at_work.clone(), at_work_too.clone());
                scope.spawn(move || {
                    let _until_the_end = at_work;
                    let own = self.one_terminal(folder, address, number, shared);
                    let own = own.unwrap_or_else(|fault| Tally {
                        problems: vec![format!("terminal {number}: {fault:#}")],
                        ..Tally::default()
                    });
                    add(own);
                });
            }
            drop((at_work, at_work_too));
        });
        Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn report(&self, tally: &mut Tally) -> Verdict {
        let (p50, p99) = (tally.percentile(50), tally.percentile(99));
        let good = tally.problems.is_empty() && tally.unknown == 0;
        if self.json {
            println!(
                "{}",
                json!({
                    "approved": tally.approved, "declined": tally.declined, "reversed": tally.reversed, "unknown": tally.unknown,
                    "p50_ms": p50, "p99_ms": p99, "rotations": tally.rotations.to_json(),
                    "device_payments": tally.device_payments, "problems": tally.problems,
                })
            );
        } else {
            tally.problems.iter().for_each(|problem| println!("PROBLEM {problem}"));
            println!(
                "{} approved, {} declined, {} reversed, {} unknown",
                tally.approved, tally.declined, tally.reversed, tally.unknown
            );
            println!("p50 {p50:.1} ms, p99 {p99:.1} ms");
            if self.rotate_keys_every_s.is_some() {
                println!("{}; {} payments of DUKPT devices", tally.rotations, tally.device_payments);
            }
        }
        Verdict::of(good)
    }

    fn one_terminal(&self, folder: &Folder, address: &str, number: u32, shared: Shared<'_>) -> anyhow::Result<Tally> {
        let id = format!("{:08}", FIRST_TERMINAL + number);
        let merchant = format!("8983100000{:05}", 10_000 + number);
        let mut point = TillPoint::new(folder, &id, &merchant, "LOAD SHOP")?;
        point.response_timeout_ms = self.response_timeout_ms;
        let profile = profile(&self.card)?;
        let reader = Box::new(LabReader::new(profile, None)?);
        let side = CardSide::new(reader, Some(profile.pin().expose()))?;
        let mut terminal = {
            // One at a time: each enrolment takes the next free terminal number.
            let _turn = shared.enrolling.lock().unwrap_or_else(PoisonError::into_inner);
            point.open(folder, address, side)?
        };
        let mut tally = Tally::default();
        if self.audit {
            audit_terminal(&mut terminal, &id, &mut tally)?;
        } else {
            self.pay_until_the_end(&mut terminal, &id, shared, &mut tally)?;
        }
        Ok(tally)
    }

    fn pay_until_the_end(
        &self,
        terminal: &mut Terminal,
        id: &str,
        shared: Shared<'_>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        terminal.run(OperatorCommand::SignIn, &mut Silent)?;
        let every = self.rotate_keys_every_s.map(Duration::from_secs);
        let mut rotation = every.zip(shared.rotating).map(|(every, admin)| TerminalRotation::new(admin, id, every));
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let mut paid = 0_u64;
        while Instant::now() < end {
            paid += 1;
            if let Some(rotation) = &mut rotation {
                rotation.turn_if_due(terminal, tally)?;
            }
            // The till counts, not this run: the batch may have begun before a restart.
            if terminal.till().transactions().len() >= PAYMENTS_A_BATCH {
                terminal.run(OperatorCommand::Settle, &mut Silent)?;
            }
            let amount =
                Amount::from_minor(1 + paid % 1000, Currency::CNY).ok_or_else(|| anyhow::anyhow!("an amount"))?;
            let began = Instant::now();
            let completion = terminal.run(OperatorCommand::Sale { amount }, &mut Silent)?;
            tally.latencies_ms.push(began.elapsed().as_secs_f64() * 1000.0);
            let outcome = &completion.outcome;
            if rotation.is_some() && outcome.status != OutcomeStatus::Approved {
                tally.problems.push(format!("terminal {id}: {:?}: {}", outcome.status, outcome.message.en));
            }
            match outcome.status {
                OutcomeStatus::Approved => {
                    tally.approved += 1;
                    if let (Some(receipts), Some(stan), Some(batch)) = (shared.receipts, outcome.stan, outcome.batch) {
                        let line = format!("{id} {batch} {stan} {}\n", amount.minor());
                        receipts.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())?;
                    }
                }
                OutcomeStatus::Declined | OutcomeStatus::Cancelled | OutcomeStatus::Failed => tally.declined += 1,
                OutcomeStatus::Reversed => tally.reversed += 1,
                _ => {
                    terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
                    match outcome.stan.and_then(|stan| terminal.till().find(stan)).map(|found| found.status) {
                        Some(TransactionStatus::Reversed) => tally.reversed += 1,
                        _ => tally.unknown += 1,
                    }
                }
            }
        }
        Ok(())
    }
}

/// Opens the file to append to. A line that a kill cut short is closed so that it can never be taken for a receipt.
fn open_receipts(path: &Path) -> anyhow::Result<std::fs::File> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let whole = std::fs::read(path)?.last().is_none_or(|last| *last == b'\n');
    if !whole {
        file.write_all(b" cut short by a kill\n")?;
    }
    Ok(file)
}

/// Everything pending must come to an end, and no transaction may stay open.
fn audit_terminal(terminal: &mut Terminal, id: &str, tally: &mut Tally) -> anyhow::Result<()> {
    terminal.run(OperatorCommand::SignIn, &mut Silent)?;
    terminal.run(OperatorCommand::ResumePending, &mut Silent)?;
    terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
    for pending in terminal.till().pending() {
        tally.problems.push(format!("terminal {id}: still pending: {pending:?}"));
    }
    tally.open_batches.push(format!("{id}/{}/", terminal.till().status().batch));
    for transaction in terminal.till().transactions() {
        if transaction.kind == till::TransactionKind::Sale {
            let name = format!("{id}/{}/{}", transaction.batch, transaction.stan);
            tally.claims.push((name, transaction.status == TransactionStatus::Approved));
        }
        match transaction.status {
            TransactionStatus::Approved => tally.approved += 1,
            TransactionStatus::Declined | TransactionStatus::Cancelled => tally.declined += 1,
            TransactionStatus::Reversed => tally.reversed += 1,
            _ => tally.unknown += 1,
        }
    }
    Ok(())
}

/// Every receipt is in the ledger once and stands; the ledger is sound.
fn audit_ledger(folder: &Folder, receipts: Option<&Path>, tally: &mut Tally) -> anyhow::Result<()> {
    let store = store_sqlite::SqliteStore::open_read_only(&folder.host_settings()?.store, None)?;
    let report = store.verify()?;
    tally.problems.extend(report.findings.iter().map(|finding| format!("store: {finding}")));
    tally.problems.extend(unknown_to_tills(&store, tally)?);
    for (name, stands) in std::mem::take(&mut tally.claims) {
        if stands_in_ledger(&store, &name)? != stands {
            tally.problems.push(format!("till and ledger differ on {name}: the till says {stands}"));
        }
    }
    let Some(path) = receipts else { return Ok(()) };
    let text = std::fs::read_to_string(path)?;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    // A process killed while it wrote may leave half a line at the end of one run; the next line then starts inside it.
    for line in text.lines().filter(|line| line.split(' ').count() == 4) {
        *seen.entry(line).or_default() += 1;
    }
    for (line, times) in seen {
        let parts: Vec<&str> = line.split(' ').collect();
        let name = format!("{}/{}/{}", parts[0], parts[1], parts[2]);
        let stands = stands_in_ledger(&store, &name)?;
        if !stands || times != 1 {
            tally.problems.push(format!("receipt {line}: in the ledger {stands}, printed {times} times"));
        }
    }
    Ok(())
}

/// Sales that stand in an open batch and of which its till knows nothing.
fn unknown_to_tills(store: &store_sqlite::SqliteStore, tally: &Tally) -> anyhow::Result<Vec<String>> {
    let known: BTreeSet<&str> = tally.claims.iter().map(|(name, _)| name.as_str()).collect();
    let mut problems = Vec::new();
    for batch in &tally.open_batches {
        for posting in store.postings_with_prefix(&format!("sale/{batch}"))? {
            let name = posting.id.trim_start_matches("sale/").trim_end_matches("/0200");
            if !known.contains(name) && stands_in_ledger(store, name)? {
                problems.push(format!("{name} is booked and stands, and its till does not know it"));
            }
        }
    }
    Ok(problems)
}

/// Whether a sale is booked and not reversed.
fn stands_in_ledger(store: &store_sqlite::SqliteStore, name: &str) -> anyhow::Result<bool> {
    let booked = store.posting(&format!("sale/{name}/0200"))?.is_some();
    Ok(booked && store.posting(&format!("reversal/{name}/0400"))?.is_none())
}
