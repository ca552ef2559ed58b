//! The settlement of closed batches: what the office does at the end of a day, beside a running host or without one.
//!
//! A batch is settled in one append of its own. Broken off anywhere, a run is given again and goes on behind the last batch settled.

use crate::settings::HostSettings;
use acquirer::Record;
use anyhow::{Context, bail};
use ledger::{Difference, read_clearing, reconcile};
use machine::MachineId;
use machine::store::{Append, GuardFailure, Outcome, Store};
use machine::wire::Encode;
use settlement::{
    BatchReader, ClosedBatch, DayFiles, Pricing, SPACE_SALE_FEE, SPACE_SETTLED, SPACE_SETTLED_UP_TO, STANDARD_PRICING,
    SaleFee, SettleError, Settled, count_of, day_files, rows, settle, settled_up_to_key,
};
use store_sqlite::SqliteStore;
use types::{Currency, LocalDate, MerchantId, TerminalId};

/// The machine whose records are settled batches.
const SETTLEMENT: &str = "settlement";
/// How often a batch is settled anew because somebody else wrote first.
const ATTEMPTS_MAX: usize = 16;

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct SettlementRun {
    /// Batches settled, in the order of settling.
    pub settled: Vec<Settled>,
    /// Batches that cannot be settled, each with the reason; their terminals' later ones wait behind them.
    pub refused: Vec<String>,
}

/// The fee of one sale and where it comes from.
#[derive(Clone, Debug)]
pub struct ExplainedFee {
    /// The sale.
    pub sale: String,
    /// What is known.
    pub fee: SaleFee,
}

/// Settles, and looks up what was settled.
pub struct SettlementDesk {
    store: SqliteStore,
}

struct Account {
    merchant: MerchantId,
    terminal: TerminalId,
    currency: Currency,
}

impl SettlementDesk {
    /// Opens a host's store.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(settings: &HostSettings) -> anyhow::Result<Self> {
        Ok(Self { store: SqliteStore::open(&settings.store)? })
    }

    /// Settles every batch that is closed and not settled yet, whatever day it was closed on; its money stands in the files of `day`.
    ///
    /// # Errors
    /// If the store fails. What cannot be settled is said in the result.
    pub fn run(&mut self, day: LocalDate, pricing: &Pricing) -> anyhow::Result<SettlementRun> {
        let mut run = SettlementRun::default();
        for machine in self.store.machines()? {
            let Ok(terminal) = TerminalId::parse(machine.machine.text()) else { continue };
            self.settle_terminal(terminal, day, pricing, &mut run)?;
        }
        Ok(run)
    }

    fn settle_terminal(
        &mut self,
        terminal: TerminalId,
        day: LocalDate,
        pricing: &Pricing,
        run: &mut SettlementRun,
    ) -> anyhow::Result<()> {
        let closed = self.closed_batches(terminal)?;
        if closed.is_empty() {
            return Ok(());
        }
        let account = self.account(terminal)?;
        for batch in &closed {
            match self.settle_batch(batch, &account, day, pricing)? {
                Ok(settled) => run.settled.extend(settled),
                Err(why) => {
                    run.refused.push(format!("terminal {terminal}, batch {}: {why}", batch.close.batch));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Batches behind the last one settled.
    fn closed_batches(&mut self, terminal: TerminalId) -> anyhow::Result<Vec<ClosedBatch>> {
        let settled_up_to = match self.store.find(SPACE_SETTLED_UP_TO, &settled_up_to_key(terminal))? {
            Some(value) => count_of(&value)?,
            None => 0,
        };
        let (mut reader, mut closed) = (BatchReader::default(), Vec::new());
        for entry in self.store.journal_after(MachineId::of_terminal(terminal), settled_up_to)? {
            let record = Record::from_bytes(&entry.record).with_context(|| format!("record {}", entry.sequence))?;
            closed.extend(reader.read(entry.sequence, &record));
        }
        Ok(closed)
    }

    fn account(&mut self, terminal: TerminalId) -> anyhow::Result<Account> {
        let mut enrolment = None;
        let journal = self.store.load(MachineId::of_terminal(terminal))?;
        for bytes in &journal.records {
            match Record::from_bytes(bytes)? {
                Record::Enrolled { enrolment: now, .. } => enrolment = Some(now),
                Record::Snapshot(state) => enrolment = state.enrolment.clone().or(enrolment),
                _ => {}
            }
        }
        let enrolment = enrolment.with_context(|| format!("terminal {terminal} was never enrolled"))?;
        Ok(Account { merchant: enrolment.merchant, terminal, currency: enrolment.currency })
    }

    /// `None`: another run settled it in the meantime.
    fn settle_batch(
        &mut self,
        batch: &ClosedBatch,
        account: &Account,
        day: LocalDate,
        pricing: &Pricing,
    ) -> anyhow::Result<Result<Option<Settled>, String>> {
        let machine = MachineId::new(SETTLEMENT).context("a short name")?;
        let of = (account.merchant, account.terminal, account.currency);
        for _ in 0..ATTEMPTS_MAX {
            let first_sequence = self.store.last_sequence(machine)? + 1;
            let mut find = |space: &'static str, key: &[u8]| self.store.find(space, key);
            let settled = match settle(batch, of, pricing, day, &mut find) {
                Ok(settled) => settled,
                Err(SettleError::Find(fault)) => return Err(fault.into()),
                Err(why) => return Ok(Err(why.to_string())),
            };
            let (records, rows) = (vec![settled.to_bytes()], rows(&settled));
            let append = Append { machine, first_sequence, records, rows, snapshot: false };
            match self.store.append(&[append])?.pop() {
                Some(Outcome::Durable(_)) => return Ok(Ok(Some(settled))),
                Some(Outcome::Conflict) => {}
                Some(Outcome::GuardFailed(GuardFailure::Taken { space: SPACE_SETTLED, .. })) => return Ok(Ok(None)),
                other => bail!("the store refused a settled batch: {other:?}"),
            }
        }
        bail!("others wrote to the settlement all the time; try again")
    }

    /// Everything that was ever settled, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn settled(&self) -> anyhow::Result<Vec<Settled>> {
        let machine = MachineId::new(SETTLEMENT).context("a short name")?;
        let entries = self.store.journal(machine)?;
        entries.iter().map(|entry| Ok(Settled::from_bytes(&entry.record)?)).collect()
    }

    /// The payout and clearing files of a day, by currency: the same bytes however often they are made.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn day_files(&self, day: LocalDate) -> anyhow::Result<Vec<DayFiles>> {
        Ok(day_files(day, &self.settled()?))
    }

    /// What is known of the fee of the sale under this reference number; none if it was not settled.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn fee_of(&mut self, rrn: &str) -> anyhow::Result<Option<ExplainedFee>> {
        let Some(value) = self.store.find(acquirer::SPACE_RRN, rrn.as_bytes())? else { return Ok(None) };
        let sale = acquirer::Capture::from_bytes(&value)?.movement.sale;
        let Some(value) = self.store.find(SPACE_SALE_FEE, &sale.key())? else { return Ok(None) };
        Ok(Some(ExplainedFee { sale: sale.text(), fee: SaleFee::from_bytes(&value)? }))
    }
}

/// Reads what an acquirer charges; without a text, the standard.
///
/// # Errors
/// What is wrong with the text.
pub fn pricing(text: Option<&str>) -> Result<Pricing, settlement::PricingError> {
    Pricing::parse(text.unwrap_or(STANDARD_PRICING))
}

/// Compares our clearing file with the network's.
///
/// # Errors
/// A text that is no clearing file, or two files of different days or currencies.
pub fn reconcile_files(ours: &str, theirs: &str) -> anyhow::Result<Vec<Difference>> {
    let (our_head, our_lines) = read_clearing(ours).context("our file")?;
    let (their_head, their_lines) = read_clearing(theirs).context("the network's file")?;
    if our_head != their_head {
        bail!("the files are of different days or currencies");
    }
    Ok(reconcile(&our_lines, &their_lines))
}
