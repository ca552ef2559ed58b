//! `irontill lines`: every message of a terminal over a line that goes wrong at every byte, and what must be true afterwards.
//!
//! [`MESSAGES`] names the messages, one row each; `line_place.rs` is the terminal that sends them.

use crate::errands::{self, CARD, Errand, OFFLINE_CARD, SCRIPTED_CARD};
use crate::line_place::Place;
use crate::system::System;
use crate::tampered_line::{Plan, Trick, Way};
use crate::verdict::{Misuse, Verdict};
use acquirer::ParameterSet;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use store_sqlite::SqliteStore;

/// More than a trick uses a card that all tricks share and whose counter the issuer takes once.
const CARD_USES_A_TRICK: u16 = 10_000;

/// How much coarser other reversals are tried than a sale's.
const REVERSALS_COARSER: u64 = 8;

/// A line that goes wrong at every byte.
#[derive(Args)]
pub struct Lines {
    /// Folder of the system; without it a private one for each job lives as long as the run.
    #[arg(long, conflicts_with = "jobs")]
    data: Option<PathBuf>,
    /// Only this message; `--list` names them.
    #[arg(long)]
    message: Option<String>,
    /// Names the messages.
    #[arg(long)]
    list: bool,
    /// One in so many bytes; 1 tries them all.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    stride: u64,
    /// Systems at the same time. Most of a silence is waiting: more of them than processors pay.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// How long a till waits for an answer, in milliseconds: the price of every silence.
    #[arg(long, default_value_t = 400)]
    response_timeout_ms: u64,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// A message whose bytes go wrong.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// What must be done to have it sent, and the command that sends it.
    pub(crate) errand: Errand,
    pub(crate) before: Before,
    /// The card in the reader.
    pub(crate) card: &'static str,
    /// Where not every byte is tried: one in so many of those that another row would try. Most bytes of a reversal are those of the
    /// handshake before it, and the row of a sale's reversal tries those.
    coarser: u64,
}

/// What comes before the bytes that count.
#[derive(Clone, Copy)]
pub(crate) enum Before {
    /// Nothing: the connection stands.
    Connected,
    /// A connection that ends between two messages: the next one needs a handshake.
    Disconnected,
    /// A payment whose answer never comes: the bytes of its reversal count.
    Unanswered,
    /// A payment that is answered: the bytes behind its answer count.
    Answered,
    /// An answer with the host's order to load newer parameters, made so: the bytes behind it count.
    Ordered(fn(&mut ParameterSet)),
    /// A sale of which only the bank knows: a copy of the device made it. The totals of the batch differ.
    Copied,
}

const fn message(name: &'static str, errand: Errand, before: Before) -> Message {
    Message { name, errand, before, card: CARD, coarser: 1 }
}

const fn reversal(name: &'static str, errand: Errand) -> Message {
    Message { coarser: REVERSALS_COARSER, ..message(name, errand, Before::Unanswered) }
}

/// Every message that a terminal sends, one row each.
const MESSAGES: [Message; 38] = [
    message("handshake", errands::echo, Before::Disconnected),
    message("sign-in", errands::sign_in, Before::Connected),
    message("sign-off", errands::sign_off, Before::Connected),
    message("echo", errands::echo, Before::Connected),
    message("keys-download", errands::echo, Before::Ordered(|parameters| parameters.capk_version += 1)),
    message("applications-download", errands::echo, Before::Ordered(|parameters| parameters.aid_version += 1)),
    message("parameters-download", errands::parameters, Before::Connected),
    message("parameters-order", errands::echo, Before::Ordered(|parameters| parameters.terminal.version += 1)),
    message("status", errands::report_status, Before::Connected),
    message("balance", errands::balance, Before::Connected),
    message("sale", errands::sale, Before::Connected),
    message("reversal", errands::sale, Before::Unanswered),
    Message { card: SCRIPTED_CARD, ..message("script-notice", errands::sale, Before::Answered) },
    Message { card: OFFLINE_CARD, ..message("offline-upload", errands::sale, Before::Connected) },
    message("instalment", errands::instalment_sale, Before::Connected),
    message("instalment-void", errands::instalment_void, Before::Connected),
    message("qr-sale", errands::qr_sale, Before::Connected),
    reversal("qr-sale-reversal", errands::qr_sale),
    message("qr-order", errands::qr_order, Before::Connected),
    message("qr-query", errands::qr_order, Before::Answered),
    message("qr-void", errands::qr_void, Before::Connected),
    message("qr-refund", errands::qr_refund, Before::Connected),
    message("tip", errands::tip, Before::Connected),
    message("signature", errands::sign, Before::Connected),
    message("void", errands::void, Before::Connected),
    reversal("void-reversal", errands::void),
    message("refund", errands::refund, Before::Connected),
    message("pre-auth", errands::pre_authorisation, Before::Connected),
    reversal("pre-auth-reversal", errands::pre_authorisation),
    message("pre-auth-void", errands::pre_authorisation_void, Before::Connected),
    reversal("pre-auth-void-reversal", errands::pre_authorisation_void),
    message("complete", errands::completion, Before::Connected),
    reversal("complete-reversal", errands::completion),
    message("complete-notice", errands::completion_notice, Before::Connected),
    message("complete-void", errands::completion_void, Before::Connected),
    reversal("complete-void-reversal", errands::completion_void),
    message("settlement", errands::settlement, Before::Connected),
    message("batch-upload", errands::settlement_with_notice, Before::Copied),
];

/// What came of one message.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    to_host: u64,
    to_terminal: u64,
    pub(crate) tried: u64,
    pub(crate) played: u64,
    /// Times that till and bank differed before everything had come to its end: without any, the comparison proves nothing.
    pub(crate) apart: u64,
    pub(crate) problems: Vec<String>,
    seconds: f64,
}

/// A message with one trick: what one terminal is for.
#[derive(Clone, Copy)]
struct Unit {
    /// Row of the message.
    row: usize,
    /// Place of the trick among all.
    trick: usize,
}

impl Lines {
    /// Tries what was asked for.
    pub fn run(&self) -> anyhow::Result<Verdict> {
        let is_wanted = |row: &usize| self.message.as_ref().is_none_or(|wanted| wanted == MESSAGES[*row].name);
        let wanted: Vec<usize> = (0..MESSAGES.len()).filter(is_wanted).collect();
        if wanted.is_empty() {
            return Err(Misuse("no message is called so; `irontill lines --list` names them".to_owned()).into());
        }
        if self.list {
            wanted.iter().for_each(|row| println!("{}", MESSAGES[*row].name));
            return Ok(Verdict::Yes);
        }
        let begun = Instant::now();
        let (tallies, findings) = self.try_all(&wanted)?;
        let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
        let (tried, played) = (sum(|tally| tally.tried), sum(|tally| tally.played));
        let problems = tallies.iter().map(|tally| tally.problems.len()).sum::<usize>() + findings.len();
        if self.json {
            let lines: Vec<Value> = wanted.iter().map(|row| tallies[*row].json(MESSAGES[*row].name)).collect();
            println!(
                "{}",
                json!({ "messages": lines, "tried": tried, "played": played, "problems": problems, "store": findings })
            );
        } else {
            findings.iter().for_each(|finding| println!("PROBLEM store: {finding}"));
            println!(
                "{tried} messages tampered with, {played} tricks played, {problems} problems, {:.0} s",
                begun.elapsed().as_secs_f64()
            );
        }
        Ok(Verdict::of(problems == 0))
    }

    /// Every unit, each job in a thread and on a system of its own. Gives the tallies by row, and what the stores find wrong.
    fn try_all(&self, wanted: &[usize]) -> anyhow::Result<(Vec<Tally>, Vec<String>)> {
        let units = wanted.iter().flat_map(|row| (0..Trick::ALL.len()).map(|trick| Unit { row: *row, trick }));
        let (units, results) = (Mutex::new(units), Mutex::new((vec![Tally::default(); MESSAGES.len()], Vec::new())));
        let work = || -> anyhow::Result<()> {
            let mut system = self.open_system()?;
            let store = SqliteStore::open_read_only(&system.folder.host_settings()?.store, None)?;
            loop {
                let next = units.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(unit) = next else { break };
                let tally = self.try_unit(unit, &mut system, &store)?;
                if !self.json {
                    tally.print(&format!("{} {:?}", MESSAGES[unit.row].name, Trick::ALL[unit.trick]));
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).0[unit.row].add(tally);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).1.extend(store.verify()?.findings);
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs).map(|_| scope.spawn(work)).collect();
            let ended = |worker: std::thread::ScopedJoinHandle<'_, anyhow::Result<()>>| {
                worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a job panicked")))
            };
            workers.into_iter().try_for_each(ended)
        })?;
        let (mut tallies, findings) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().for_each(|row| tallies[*row].judge(&MESSAGES[*row]));
        Ok((tallies, findings))
    }

    fn open_system(&self) -> anyhow::Result<System> {
        match &self.data {
            Some(path) => System::attach_or_start(path),
            None => System::start_private(),
        }
    }

    /// The message without a trick, to know its length; then with the trick behind each byte, both ways.
    fn try_unit(&self, unit: Unit, system: &mut System, store: &SqliteStore) -> anyhow::Result<Tally> {
        let (message, trick) = (&MESSAGES[unit.row], Trick::ALL[unit.trick]);
        let number = unit.row * Trick::ALL.len() + unit.trick;
        let (begun, mut tally) = (Instant::now(), Tally::default());
        let used = u16::try_from(unit.trick)? * CARD_USES_A_TRICK;
        let mut place = Place::open(system, message, number, used, self.response_timeout_ms, store)?;
        place.try_once(None, &mut tally)?;
        (tally.to_host, tally.to_terminal) = place.carried();
        tally.tried = 0;
        // Each trick begins one byte later, so that with a stride they strike at different bytes.
        let stride = if self.stride == 1 { 1 } else { self.stride * message.coarser };
        let first = unit.trick as u64 % stride;
        for (way, length) in [(Way::ToHost, tally.to_host), (Way::ToTerminal, tally.to_terminal)] {
            for behind in (first..length).step_by(usize::try_from(stride)?) {
                place.try_once(Some(Plan { way, behind, trick }), &mut tally)?;
            }
        }
        tally.seconds = begun.elapsed().as_secs_f64();
        Ok(tally)
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.to_host = self.to_host.max(other.to_host);
        self.to_terminal = self.to_terminal.max(other.to_terminal);
        self.tried += other.tried;
        self.played += other.played;
        self.apart += other.apart;
        self.problems.extend(other.problems);
        self.seconds += other.seconds;
    }

    /// What the numbers of a whole message say about the proof itself.
    fn judge(&mut self, message: &Message) {
        if matches!(message.before, Before::Unanswered) && self.apart == 0 {
            self.problems.push("nothing was ever booked without its till: the comparison is blind".to_owned());
        }
        if self.to_host == 0 || self.to_terminal == 0 {
            self.problems.push(format!("{}: no bytes to tamper with", message.name));
        }
    }

    fn print(&self, name: &str) {
        println!(
            "{name:30} {:5} bytes to the host, {:5} to the terminal: {:6} tried, {:6} tricks, {:6} times apart in between, {} problems, {:.0} s",
            self.to_host,
            self.to_terminal,
            self.tried,
            self.played,
            self.apart,
            self.problems.len(),
            self.seconds
        );
        self.problems.iter().for_each(|problem| println!("    PROBLEM {problem}"));
    }

    fn json(&self, name: &str) -> Value {
        json!({
            "message": name, "bytes_to_host": self.to_host, "bytes_to_terminal": self.to_terminal,
            "tried": self.tried, "played": self.played, "apart": self.apart, "problems": self.problems,
        })
    }
}
