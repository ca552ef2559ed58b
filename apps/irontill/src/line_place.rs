//! A terminal on a tampered line: brings one message about again and again, and compares till and bank each time.

use crate::books::Effect;
use crate::errands::Cashier;
use crate::lines::{Before, Message, Tally};
use crate::system::{Folder, System};
use crate::tampered_line::{Plan, TamperedLine, Trick, Way};
use crate::till_point::{CardSide, LabReader, TillPoint, profile};
use crate::wallet;
use irontill_terminal::{Silent, Terminal};
use std::collections::BTreeMap;
use std::time::Duration;
use store_sqlite::SqliteStore;
use till::{OperatorCommand, OutcomeStatus, Till, TransactionStatus};
use types::{Amount, BatchNumber, Currency, PaymentCode, Stan};

/// First terminal id of the lines.
const FIRST_TERMINAL: usize = 40_000_001;
/// How long what is pending may take before it counts as hanging.
const RESOLVE_WITHIN: Duration = Duration::from_secs(60);
/// A batch is settled when it has so many payments.
const PAYMENTS_A_BATCH: usize = 200;
/// How long after a till has stopped waiting something late arrives, in milliseconds: its reversal has gone by then.
const LATE_MS: u64 = 150;
/// Times that a message is prepared before it is given up.
const PREPARATIONS_MAX: usize = 20;
/// What everything is sold for, in minor units.
const AMOUNT_MINOR: u64 = 7;
/// Ends the connection at the next answer.
const CUT_AT_ONCE: Plan = Plan { way: Way::ToTerminal, behind: 0, trick: Trick::Cut };
/// Less than an answer has, more than a handshake varies by from one time to the next: bytes.
const HANDSHAKE_VARIES_BYTES: u64 = 32;

/// A terminal on a tampered line, and what its till has said of its payments so far.
pub(crate) struct Place<'a> {
    message: &'a Message,
    system: &'a mut System,
    store: &'a SqliteStore,
    point: TillPoint,
    terminal: Terminal,
    line: TamperedLine,
    merchant: String,
    id: String,
    /// Bytes to the terminal from a new connection's first on into the answer to an echo test.
    to_first_answer: u64,
    seen: BTreeMap<(BatchNumber, Stan), (TransactionStatus, Effect)>,
}

impl Cashier for Place<'_> {
    fn run(&mut self, command: OperatorCommand) -> anyhow::Result<OutcomeStatus> {
        let status = run(&mut self.terminal, &self.system.folder, command)?;
        self.terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
        self.remember();
        Ok(status)
    }

    fn till(&self) -> &Till {
        self.terminal.till()
    }

    fn amount(&self) -> Amount {
        Amount::from_minor(AMOUNT_MINOR, Currency::CNY).expect("a small amount")
    }

    fn scan(&self) -> anyhow::Result<PaymentCode> {
        wallet::scan(&self.system.folder)
    }
}

impl<'a> Place<'a> {
    /// The terminal of this number, in front of a card that has been used so often.
    pub(crate) fn open(
        system: &'a mut System,
        message: &'a Message,
        number: usize,
        used: u16,
        response_timeout_ms: u64,
        store: &'a SqliteStore,
    ) -> anyhow::Result<Self> {
        let id = format!("{:08}", FIRST_TERMINAL + number);
        let merchant = format!("8983100000{:05}", 40_000 + number);
        let mut point = TillPoint::new(&system.folder, &id, &merchant, "LINE SHOP")?;
        point.response_timeout_ms = response_timeout_ms;
        let late_by = Duration::from_millis(response_timeout_ms + LATE_MS);
        let line = TamperedLine::open(&system.address, late_by)?;
        let mut terminal = point.open(&system.folder, &line.address(), card_side(message.card, used)?)?;
        terminal.run(OperatorCommand::SignIn, &mut Silent)?;
        terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
        let seen = BTreeMap::new();
        let mut place = Self { message, system, store, point, terminal, line, merchant, id, to_first_answer: 0, seen };
        if matches!(message.before, Before::Ordered(_)) {
            place.measure_first_answer()?;
        }
        Ok(place)
    }

    fn measure_first_answer(&mut self) -> anyhow::Result<()> {
        self.system.restart_host()?;
        self.line.arm(&[]);
        self.run(OperatorCommand::Echo)?;
        self.to_first_answer = self.carried().1.saturating_sub(HANDSHAKE_VARIES_BYTES);
        Ok(())
    }

    /// Bytes of the message, each way.
    pub(crate) fn carried(&self) -> (u64, u64) {
        self.line.carried()
    }

    /// Brings the message about with a trick in it, lets everything come to its end, and compares till and bank.
    pub(crate) fn try_once(&mut self, plan: Option<Plan>, tally: &mut Tally) -> anyhow::Result<()> {
        let command = self.prepare_at_last()?;
        let first = match self.message.before {
            Before::Unanswered => Some(CUT_AT_ONCE),
            Before::Answered => Some(mark_behind(0)),
            Before::Ordered(_) => Some(mark_behind(self.to_first_answer)),
            Before::Connected | Before::Disconnected | Before::Copied => None,
        };
        let plans: Vec<Plan> = first.into_iter().chain(plan).collect();
        self.line.arm(&plans);
        run(&mut self.terminal, &self.system.folder, command)?;
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

    /// On a busy machine an answer may take longer than the till waits: then what must be there before is begun anew.
    fn prepare_at_last(&mut self) -> anyhow::Result<OperatorCommand> {
        for _ in 0..PREPARATIONS_MAX {
            if let Some(command) = self.prepare()? {
                return Ok(command);
            }
        }
        anyhow::bail!("{}: {} could not be prepared", self.id, self.message.name)
    }

    /// Does what must be there before the message, and gives the command that sends it, over a connection that stands.
    fn prepare(&mut self) -> anyhow::Result<Option<OperatorCommand>> {
        let Some(command) = (self.message.errand)(self)? else { return Ok(None) };
        match self.message.before {
            Before::Disconnected => self.line.arm(&[CUT_AT_ONCE]),
            Before::Ordered(renew) => {
                self.system.folder.renew_parameters(renew)?;
                // No word before the command: the order comes with the first answer, and is obeyed at once.
                self.system.restart_host()?;
                return Ok(Some(command));
            }
            Before::Copied => self.sell_on_a_copy()?,
            Before::Connected | Before::Unanswered | Before::Answered => {}
        }
        self.run(OperatorCommand::Echo)?;
        Ok(Some(command))
    }

    /// Somebody copied the device, and sells with the copy.
    fn sell_on_a_copy(&mut self) -> anyhow::Result<()> {
        let folder = self.system.folder.terminal(&format!("{}.copy", self.id));
        let copy = self.point.copy_to(&folder)?;
        let mut terminal = copy.open(&self.system.folder, &self.system.address, card_side(self.message.card, 0)?)?;
        let sold = terminal.run(OperatorCommand::Sale { amount: self.amount() }, &mut Silent)?.outcome;
        anyhow::ensure!(sold.status == OutcomeStatus::Approved, "{}: the copy's sale: {}", self.id, sold.message.en);
        let payment = sold.stan.and_then(|stan| terminal.till().find(stan));
        if let Some(payment) = payment {
            self.seen.insert((payment.batch, payment.stan), (payment.status, Effect::said(payment)));
        }
        drop(terminal);
        Ok(std::fs::remove_dir_all(folder)?)
    }

    /// Everything that is pending ends, or hangs, which is a problem; what is late arrives, and the host has had time for it.
    fn come_to_rest(&mut self, plans: &[Plan], tally: &mut Tally) -> anyhow::Result<()> {
        self.terminal.resolve_pending(RESOLVE_WITHIN, &mut Silent)?;
        if plans.iter().any(|plan| plan.trick == Trick::Late) {
            self.line.wait_for_late_ones();
            self.run(OperatorCommand::Echo)?;
        }
        for pending in self.terminal.till().pending() {
            tally.problems.push(format!("{} {plans:?}: still pending: {pending:?}", self.id));
        }
        Ok(())
    }

    /// What the till says of its payments is what the bank has booked: to the cent, and every hold.
    fn look(&mut self, plans: &[Plan], tally: &mut Tally) -> anyhow::Result<()> {
        self.remember();
        for ((_, stan), (status, _)) in &self.seen {
            if matches!(status, TransactionStatus::Sent | TransactionStatus::Reversing | TransactionStatus::Queued) {
                tally.problems.push(format!("{} {plans:?}: {stan} is {status:?}", self.id));
            }
        }
        let (said, booked) = (self.said(), self.booked()?);
        if said != booked {
            tally.problems.push(format!("{} {plans:?}: the till says {said:?}, the bank {booked:?}", self.id));
        }
        Ok(())
    }

    /// A settlement takes the payments of its batch out of the till.
    fn remember(&mut self) {
        for payment in self.terminal.till().transactions() {
            self.seen.insert((payment.batch, payment.stan), (payment.status, Effect::said(payment)));
        }
    }

    /// By the till's words: what the merchant is owed, and how many holds stand.
    fn said(&self) -> Effect {
        self.seen.values().fold(Effect::default(), |sum, (_, effect)| Effect {
            paid_minor: sum.paid_minor + effect.paid_minor,
            holds: sum.holds + effect.holds,
        })
    }

    /// The same by the bank's books.
    fn booked(&self) -> anyhow::Result<Effect> {
        let payable = self.store.balances_with_prefix(&format!("merchant/{}/payable", self.merchant))?;
        let holds = self.store.balances_with_prefix(&format!("hold/{}/", self.id))?;
        Ok(Effect {
            paid_minor: payable.iter().map(|balance| balance.balance_minor).sum(),
            holds: i64::try_from(holds.iter().filter(|balance| balance.balance_minor != 0).count())?,
        })
    }
}

/// Runs a command in front of a buyer who pays what is shown.
fn run(terminal: &mut Terminal, folder: &Folder, command: OperatorCommand) -> anyhow::Result<OutcomeStatus> {
    let mut buyer = wallet::Buyer::new(folder);
    let status = terminal.run(command, &mut buyer)?.outcome.status;
    buyer.ended().map(|()| status)
}

/// What is counted begins behind so many bytes to the terminal.
fn mark_behind(behind: u64) -> Plan {
    Plan { way: Way::ToTerminal, behind, trick: Trick::Mark }
}

fn card_side(card: &str, used: u16) -> anyhow::Result<CardSide> {
    let profile = profile(card)?;
    CardSide::new(Box::new(LabReader::used(profile, used)?), Some(profile.pin().expose()))
}
