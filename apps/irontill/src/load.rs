//! `irontill load`: terminals that really sign in and pay, and the audit of what they did.

use crate::books::Effect;
use crate::dukpt_devices;
use crate::errands::{self, Cashier, DAY, Errand, OFFLINE_CARD};
use crate::load_audit;
use crate::rotation::{self, Rotations, TerminalRotation};
use crate::system::Folder;
use crate::till_point::{CardSide, LabReader, TillPoint, profile};
use crate::verdict::{Misuse, Verdict};
use crate::wallet;
use clap::Args;
use irontill_terminal::{Silent, Terminal};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use till::{OperatorCommand, OutcomeStatus, Till, TransactionOutcome, TransactionStatus};
use types::{Amount, Currency, PaymentCode};

/// Most terminals of one run.
const TERMINALS_MAX: u32 = 500;
/// First terminal id of a load.
const FIRST_TERMINAL: u32 = 30_000_001;
/// How long a terminal's pending matters may take at the end.
pub(crate) const RESOLVE_WITHIN: Duration = Duration::from_secs(180);
/// Different amounts that are paid.
const AMOUNTS: u64 = 1000;
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
    /// Appends a line to this file for each receipt handed out: terminal, batch, trace, what the merchant is owed by it in minor
    /// units (negative for money given back), holds placed or ended (1, -1).
    #[arg(long)]
    receipts: Option<PathBuf>,
    /// Ends a terminal's work after so many errands (a sale, or with `--every-kind` whatever comes next).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    errands: Option<u64>,
    /// Every kind of transaction in turn, each with the test card for it, down to the settlement, instead of sales alone.
    #[arg(long, conflicts_with_all = ["rotate_keys_every_s", "card"])]
    every_kind: bool,
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
    /// The folder of the system, and whose turn it is to count the uses of a card in it.
    cards: (&'a Folder, &'a Mutex<()>),
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) approved: u64,
    pub(crate) declined: u64,
    pub(crate) reversed: u64,
    pub(crate) unknown: u64,
    latencies_ms: Vec<f64>,
    pub(crate) rotations: Rotations,
    pub(crate) device_payments: u64,
    pub(crate) problems: Vec<String>,
    /// What tills say of the payments of their open batches, by name.
    pub(crate) claims: BTreeMap<String, Effect>,
    /// The open batch of each till: what the names of its payments begin with.
    pub(crate) open_batches: Vec<String>,
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
            load_audit::audit_ledger(&folder, self.receipts.as_deref(), &mut tally)?;
        }
        Ok(self.report(&mut tally))
    }

    /// Every terminal in a thread of its own; those that rotate the issuer's keys and the devices' run until the last of them has ended.
    fn run_terminals(&self, folder: &Folder, address: &str) -> anyhow::Result<Tally> {
        let receipts = self.receipts.as_deref().map(open_receipts).transpose()?.map(Mutex::new);
        let tally = Mutex::new(Tally::default());
        let add = &|own: Tally| tally.lock().unwrap_or_else(PoisonError::into_inner).add(own);
        let (enrolling, counting) = (Mutex::new(()), Mutex::new(()));
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
                let cards = (folder, &counting);
                let shared =
                    Shared { receipts: receipts.as_ref(), enrolling: &enrolling, rotating: rotating.as_ref(), cards };
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
            load_audit::audit_terminal(&mut terminal, &id, &mut tally)?;
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
        // A terminal that starts again does not start its day from the beginning.
        let first = terminal.till().transactions().len();
        let mut clerk = Clerk {
            terminal,
            id,
            receipts: shared.receipts,
            tally,
            must_approve: rotation.is_some(),
            paid: 0,
            readers: BTreeMap::new(),
            cards: shared.cards,
        };
        for errand in (first..).take(self.errands_max()) {
            if Instant::now() >= end {
                break;
            }
            if let Some(rotation) = &mut rotation {
                rotation.turn_if_due(clerk.terminal, clerk.tally)?;
            }
            // The till counts, not this run: the batch may have begun before a restart.
            if clerk.till().transactions().len() >= PAYMENTS_A_BATCH {
                clerk.run(OperatorCommand::Settle)?;
            }
            let errand = if self.every_kind { clerk.change_card(errand % DAY.len())? } else { errands::sale };
            if let Some(command) = errand(&mut clerk)? {
                clerk.run(command)?;
            }
        }
        Ok(())
    }

    fn errands_max(&self) -> usize {
        self.errands.map_or(usize::MAX, |errands| usize::try_from(errands).unwrap_or(usize::MAX))
    }
}

/// Who pays at one terminal, hands the receipts out, and counts.
struct Clerk<'a> {
    terminal: &'a mut Terminal,
    id: &'a str,
    receipts: Option<&'a Mutex<std::fs::File>>,
    tally: &'a mut Tally,
    /// Whether a payment that is not approved, or a settlement that is not done, is a problem.
    must_approve: bool,
    paid: u64,
    readers: BTreeMap<&'static str, LabReader>,
    cards: (&'a Folder, &'a Mutex<()>),
}

impl Cashier for Clerk<'_> {
    fn run(&mut self, command: OperatorCommand) -> anyhow::Result<OutcomeStatus> {
        self.paid += 1;
        let began = Instant::now();
        let completion = self.terminal.run(command, &mut Silent)?;
        self.tally.latencies_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        self.count(&completion.outcome)?;
        Ok(completion.outcome.status)
    }

    fn till(&self) -> &Till {
        self.terminal.till()
    }

    fn amount(&self) -> Amount {
        Amount::from_minor(1 + self.paid % AMOUNTS, Currency::CNY).expect("a small amount")
    }

    fn scan(&self) -> anyhow::Result<PaymentCode> {
        let (folder, turns) = self.cards;
        let _turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
        wallet::scan(folder)
    }
}

impl Clerk<'_> {
    /// Takes the card of an errand of the day in hand.
    fn change_card(&mut self, number: usize) -> anyhow::Result<Errand> {
        let (errand, card) = DAY[number];
        let (folder, turns) = self.cards;
        let reader = match self.readers.get(card) {
            Some(reader) => reader.clone(),
            // One at a time: the uses of a card are counted.
            None if card == OFFLINE_CARD => {
                let _turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
                LabReader::used(profile(card)?, folder.count_card_use(card)?)?
            }
            None => self.readers.entry(card).or_insert(LabReader::new(profile(card)?, None)?).clone(),
        };
        self.terminal.devices.reader = Box::new(reader);
        Ok(errand)
    }

    fn count(&mut self, outcome: &TransactionOutcome) -> anyhow::Result<()> {
        let good = matches!(outcome.status, OutcomeStatus::Approved | OutcomeStatus::Done);
        if self.must_approve && !good {
            self.tally.problems.push(format!("terminal {}: {:?}: {}", self.id, outcome.status, outcome.message.en));
        }
        match outcome.status {
            OutcomeStatus::Approved => {
                self.tally.approved += 1;
                self.hand_out(outcome)?;
            }
            OutcomeStatus::Done => {}
            OutcomeStatus::Declined | OutcomeStatus::Cancelled | OutcomeStatus::Failed => self.tally.declined += 1,
            OutcomeStatus::Reversed => self.tally.reversed += 1,
            OutcomeStatus::Reversing | OutcomeStatus::Queued => {
                self.terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
                match outcome.stan.and_then(|stan| self.terminal.till().find(stan)).map(|found| found.status) {
                    Some(TransactionStatus::Reversed) => self.tally.reversed += 1,
                    Some(TransactionStatus::Approved) => self.tally.approved += 1,
                    Some(TransactionStatus::Declined) => self.tally.declined += 1,
                    _ => self.tally.unknown += 1,
                }
            }
        }
        Ok(())
    }

    /// The line of a receipt leaves only behind the receipt.
    fn hand_out(&self, outcome: &TransactionOutcome) -> anyhow::Result<()> {
        let Some(receipts) = self.receipts else { return Ok(()) };
        let Some(payment) = outcome.stan.and_then(|stan| self.terminal.till().find(stan)) else { return Ok(()) };
        let Effect { paid_minor, holds } = Effect::said(payment);
        let line = format!("{} {} {} {paid_minor} {holds}\n", self.id, payment.batch, payment.stan);
        receipts.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())?;
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
