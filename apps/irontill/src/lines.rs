//! `irontill lines`: every message of a terminal over a line that goes wrong at every byte, and what must be true afterwards.

use crate::system::{Folder, System};
use crate::tampered_line::{Plan, TamperedLine, Trick, Way};
use crate::till_point::{CardSide, LabReader, TillPoint, profile};
use crate::verdict::{Misuse, Verdict};
use clap::Args;
use irontill_terminal::{Silent, Terminal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store_sqlite::SqliteStore;
use till::{
    AuthorisationReference, CompletionForm, OperatorCommand, OutcomeStatus, Side, Transaction, TransactionKind,
    TransactionStatus,
};
use types::{Amount, BatchNumber, Currency, Stan};

/// First terminal id of the lines.
const FIRST_TERMINAL: usize = 40_000_001;
/// Test card of every terminal.
const CARD: &str = "unionpay-sda";
/// How long what is pending may take before it counts as hanging.
const RESOLVE_WITHIN: Duration = Duration::from_secs(60);
/// A batch is settled when it has so many payments.
const PAYMENTS_A_BATCH: usize = 200;
/// What everything is sold for, in minor units.
const AMOUNT_MINOR: u64 = 7;

/// A line that goes wrong at every byte.
#[derive(Args)]
pub struct Lines {
    /// Folder of the system; without it a private one lives as long as the run.
    #[arg(long)]
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
    /// How long a till waits for an answer, in milliseconds: the price of every silence.
    #[arg(long, default_value_t = 400)]
    response_timeout_ms: u64,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// A message whose bytes go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    Handshake,
    SignIn,
    SignOff,
    Echo,
    Balance,
    Sale,
    Reversal,
    Void,
    Refund,
    PreAuthorisation,
    PreAuthorisationVoid,
    Completion,
    CompletionNotice,
    CompletionVoid,
    Settlement,
}

const MESSAGES: [(Message, &str); 15] = [
    (Message::Handshake, "handshake"),
    (Message::SignIn, "sign-in"),
    (Message::SignOff, "sign-off"),
    (Message::Echo, "echo"),
    (Message::Balance, "balance"),
    (Message::Sale, "sale"),
    (Message::Reversal, "reversal"),
    (Message::Void, "void"),
    (Message::Refund, "refund"),
    (Message::PreAuthorisation, "pre-auth"),
    (Message::PreAuthorisationVoid, "pre-auth-void"),
    (Message::Completion, "complete"),
    (Message::CompletionNotice, "complete-notice"),
    (Message::CompletionVoid, "complete-void"),
    (Message::Settlement, "settlement"),
];

/// What came of one message.
#[derive(Default)]
struct Tally {
    to_host: u64,
    to_terminal: u64,
    tried: u64,
    played: u64,
    /// Times that till and bank differed before everything had come to its end: without any, the comparison proves nothing.
    apart: u64,
    problems: Vec<String>,
}

/// A terminal on a tampered line, and what its till has said of its payments so far.
struct Place<'a> {
    terminal: Terminal,
    line: TamperedLine,
    store: &'a SqliteStore,
    merchant: String,
    id: String,
    seen: BTreeMap<(BatchNumber, Stan), (TransactionKind, TransactionStatus, u64)>,
}

impl Lines {
    /// Tries what was asked for.
    pub fn run(&self) -> anyhow::Result<Verdict> {
        let is_wanted = |name: &str| self.message.as_ref().is_none_or(|wanted| wanted == name);
        let wanted: Vec<_> = MESSAGES.iter().enumerate().filter(|(_, (_, name))| is_wanted(name)).collect();
        if wanted.is_empty() {
            return Err(Misuse("no message is called so; `irontill lines --list` names them".to_owned()).into());
        }
        if self.list {
            wanted.iter().for_each(|(_, (_, name))| println!("{name}"));
            return Ok(Verdict::Yes);
        }
        let system = match &self.data {
            Some(path) => System::attach_or_start(path)?,
            None => System::start_private()?,
        };
        let store = SqliteStore::open_read_only(&system.folder.host_settings()?.store, None)?;
        let mut lines = Vec::new();
        let (mut tried, mut played, mut wrong) = (0, 0, 0);
        for (number, (message, name)) in wanted {
            let begun = Instant::now();
            let tally = self.try_message(*message, number, &system, &store)?;
            (tried, played, wrong) = (tried + tally.tried, played + tally.played, wrong + tally.problems.len());
            if !self.json {
                tally.print(name, begun.elapsed());
            }
            lines.push(tally.json(name));
        }
        let findings = store.verify()?.findings;
        wrong += findings.len();
        if self.json {
            println!(
                "{}",
                json!({ "messages": lines, "tried": tried, "played": played, "problems": wrong, "store": findings })
            );
        } else {
            findings.iter().for_each(|finding| println!("PROBLEM store: {finding}"));
            println!("{tried} messages tampered with, {played} tricks played, {wrong} problems");
        }
        Ok(Verdict::of(wrong == 0))
    }

    /// One message without a trick, to know its length; then with each trick behind each byte.
    fn try_message(
        &self,
        message: Message,
        number: usize,
        system: &System,
        store: &SqliteStore,
    ) -> anyhow::Result<Tally> {
        let mut place = Place::open(&system.folder, &system.address, number, self.response_timeout_ms, store)?;
        let mut tally = Tally::default();
        place.try_once(message, None, &mut tally)?;
        (tally.to_host, tally.to_terminal) = place.line.carried();
        tally.tried = 0;
        let ways = [(Way::ToHost, tally.to_host), (Way::ToTerminal, tally.to_terminal)];
        for (way, length) in ways {
            // Each trick begins one byte later, so that with a stride they strike at different bytes.
            for (first, trick) in (0..self.stride).cycle().zip(Trick::ALL) {
                for behind in (first..length).step_by(usize::try_from(self.stride)?) {
                    place.try_once(message, Some(Plan { way, behind, trick }), &mut tally)?;
                }
            }
        }
        if message == Message::Reversal && tally.apart == 0 {
            tally.problems.push("no sale was ever booked without its till: the comparison is blind".to_owned());
        }
        Ok(tally)
    }
}

impl Tally {
    fn print(&self, name: &str, took: Duration) {
        println!(
            "{name:16} {:5} bytes to the host, {:5} to the terminal: {:6} tried, {:6} tricks, {:6} times apart in between, {} problems, {:.0} s",
            self.to_host,
            self.to_terminal,
            self.tried,
            self.played,
            self.apart,
            self.problems.len(),
            took.as_secs_f64()
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

fn amount() -> anyhow::Result<Amount> {
    Amount::from_minor(AMOUNT_MINOR, Currency::CNY).ok_or_else(|| anyhow::anyhow!("an amount"))
}

impl<'a> Place<'a> {
    fn open(
        folder: &Folder,
        host: &str,
        number: usize,
        response_timeout_ms: u64,
        store: &'a SqliteStore,
    ) -> anyhow::Result<Self> {
        let id = format!("{:08}", FIRST_TERMINAL + number);
        let merchant = format!("8983100000{:05}", 40_000 + number);
        let mut point = TillPoint::new(folder, &id, &merchant, "LINE SHOP")?;
        point.response_timeout_ms = response_timeout_ms;
        let profile = profile(CARD)?;
        let reader = Box::new(LabReader::new(profile, None)?);
        let side = CardSide::new(reader, Some(profile.pin().expose()))?;
        let line = TamperedLine::open(host)?;
        let mut terminal = point.open(folder, &line.address(), side)?;
        terminal.run(OperatorCommand::SignIn, &mut Silent)?;
        terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
        Ok(Self { terminal, line, store, merchant, id, seen: BTreeMap::new() })
    }

    /// Brings the message about with a trick in it, lets everything come to its end, and compares till and bank.
    fn try_once(&mut self, message: Message, plan: Option<Plan>, tally: &mut Tally) -> anyhow::Result<()> {
        let Some(command) = self.prepare(message)? else {
            anyhow::bail!("{}: {message:?} could not be prepared", self.id);
        };
        let first = match message {
            // What must be reversed is a sale whose answer never came.
            Message::Reversal => Some(Plan { way: Way::ToTerminal, behind: 0, trick: Trick::Cut }),
            _ => None,
        };
        let plans: Vec<Plan> = first.into_iter().chain(plan).collect();
        self.line.arm(&plans);
        self.terminal.run(command, &mut Silent)?;
        self.remember();
        tally.apart += u64::from(self.said() != self.booked()?);
        self.come_to_rest(&plans, tally)?;
        if plan.is_some() {
            tally.played += u64::from(self.line.played() == plans.len());
            self.line.arm(&[]);
        }
        tally.tried += 1;
        self.look(&plans, tally)?;
        if self.terminal.till().transactions().len() >= PAYMENTS_A_BATCH {
            self.run(OperatorCommand::Settle)?;
        }
        Ok(())
    }

    /// Everything that is pending ends, or hangs, which is a problem.
    fn come_to_rest(&mut self, plans: &[Plan], tally: &mut Tally) -> anyhow::Result<()> {
        self.terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
        for pending in self.terminal.till().pending() {
            tally.problems.push(format!("{} {plans:?}: still pending: {pending:?}", self.id));
        }
        Ok(())
    }

    /// What the till says of its payments is what the bank has booked: to the cent, and every hold.
    fn look(&mut self, plans: &[Plan], tally: &mut Tally) -> anyhow::Result<()> {
        self.remember();
        for ((_, stan), (_, status, _)) in &self.seen {
            if matches!(status, TransactionStatus::Sent | TransactionStatus::Reversing | TransactionStatus::Queued) {
                tally.problems.push(format!("{} {plans:?}: {stan} is {status:?}", self.id));
            }
        }
        let (paid_minor, holds) = self.said();
        let (booked_minor, held) = self.booked()?;
        if paid_minor != booked_minor {
            tally.problems.push(format!("{} {plans:?}: the till says {paid_minor}, the bank {booked_minor}", self.id));
        }
        if holds != held {
            tally.problems.push(format!("{} {plans:?}: {holds} holds by the till, {held} by the bank", self.id));
        }
        Ok(())
    }

    /// A settlement takes the payments of its batch out of the till.
    fn remember(&mut self) {
        for transaction in self.terminal.till().transactions() {
            let said = (transaction.kind, transaction.status, transaction.amount.minor());
            self.seen.insert((transaction.batch, transaction.stan), said);
        }
    }

    /// By the till's words: what the merchant is owed, and how many holds stand.
    fn said(&self) -> (i64, i64) {
        let approved = self.seen.values().filter(|(_, status, _)| *status == TransactionStatus::Approved);
        approved.fold((0, 0), |(paid_minor, holds), (kind, _, minor)| {
            let minor = i64::try_from(*minor).unwrap_or(i64::MAX);
            let paid = match kind.side() {
                Some(Side::Debit) => minor,
                Some(Side::Credit) => -minor,
                None => 0,
            };
            let hold = match kind {
                TransactionKind::PreAuthorisation => 1,
                kind if kind.ends_authorisation() => -1,
                _ => 0,
            };
            (paid_minor + paid, holds + hold)
        })
    }

    fn booked(&self) -> anyhow::Result<(i64, i64)> {
        let (payable, hold) = (format!("merchant/{}/payable", self.merchant), format!("hold/{}/", self.id));
        let balances = self.store.balances()?;
        let paid_minor = balances.iter().filter(|balance| balance.account == payable);
        let held = balances.iter().filter(|balance| balance.account.starts_with(&hold) && balance.balance_minor != 0);
        Ok((paid_minor.map(|balance| balance.balance_minor).sum(), i64::try_from(held.count())?))
    }

    fn run(&mut self, command: OperatorCommand) -> anyhow::Result<OutcomeStatus> {
        let status = self.terminal.run(command, &mut Silent)?.outcome.status;
        self.terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
        self.remember();
        Ok(status)
    }

    /// Does what must be there before the message, and gives the command that sends it, over a connection that stands.
    fn prepare(&mut self, message: Message) -> anyhow::Result<Option<OperatorCommand>> {
        let command = match message {
            Message::Handshake | Message::Echo => Some(OperatorCommand::Echo),
            Message::SignIn => Some(OperatorCommand::SignIn),
            Message::SignOff => {
                self.run(OperatorCommand::SignIn)?;
                Some(OperatorCommand::SignOff)
            }
            Message::Balance => Some(OperatorCommand::Balance),
            Message::Sale | Message::Reversal => Some(OperatorCommand::Sale { amount: amount()? }),
            Message::Void => self.sold()?.map(|sale| OperatorCommand::Void { stan: sale.stan }),
            Message::Refund => self.refund()?,
            Message::PreAuthorisation => Some(OperatorCommand::PreAuthorise { amount: amount()? }),
            Message::PreAuthorisationVoid => self
                .authorised()?
                .map(|authorisation| {
                    anyhow::Ok(OperatorCommand::VoidPreAuthorisation { amount: amount()?, authorisation })
                })
                .transpose()?,
            Message::Completion => self.completion(CompletionForm::Request)?,
            Message::CompletionNotice => self.completion(CompletionForm::Notice)?,
            Message::CompletionVoid => match self.completion(CompletionForm::Request)? {
                Some(complete) => {
                    self.run(complete)?;
                    self.newest(TransactionKind::Completion)
                        .map(|done| OperatorCommand::VoidCompletion { stan: done.stan })
                }
                None => None,
            },
            Message::Settlement => {
                self.sold()?;
                Some(OperatorCommand::Settle)
            }
        };
        if message == Message::Handshake {
            // A connection that ends between two messages: the next one needs a new handshake.
            self.line.arm(&[Plan { way: Way::ToTerminal, behind: 0, trick: Trick::Cut }]);
        }
        self.run(OperatorCommand::Echo)?;
        Ok(command)
    }

    fn newest(&self, kind: TransactionKind) -> Option<Transaction> {
        let approved =
            |transaction: &&Transaction| transaction.kind == kind && transaction.status == TransactionStatus::Approved;
        self.terminal.till().transactions().iter().rev().find(approved).cloned()
    }

    fn sold(&mut self) -> anyhow::Result<Option<Transaction>> {
        self.run(OperatorCommand::Sale { amount: amount()? })?;
        Ok(self.newest(TransactionKind::Sale))
    }

    fn refund(&mut self) -> anyhow::Result<Option<OperatorCommand>> {
        let Some(sale) = self.sold()? else { return Ok(None) };
        let (Some(original_rrn), original_date) = (sale.rrn(), sale.at.date) else { return Ok(None) };
        Ok(Some(OperatorCommand::Refund { amount: amount()?, original_rrn, original_date }))
    }

    fn authorised(&mut self) -> anyhow::Result<Option<AuthorisationReference>> {
        self.run(OperatorCommand::PreAuthorise { amount: amount()? })?;
        let made = self.newest(TransactionKind::PreAuthorisation);
        Ok(made.and_then(|made| Some(AuthorisationReference { code: made.authorisation_code()?, date: made.at.date })))
    }

    fn completion(&mut self, form: CompletionForm) -> anyhow::Result<Option<OperatorCommand>> {
        let authorisation = self.authorised()?;
        let amount = amount()?;
        Ok(authorisation.map(|authorisation| OperatorCommand::Complete { amount, authorisation, form }))
    }
}
