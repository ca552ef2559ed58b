//! [`Till`]: one event in, one batch of records and effects out.

use crate::config::Config;
use crate::download::Download;
use crate::payment::{ActivePayment, AfterCard, Ending};
use crate::receipt::{Copy, PaymentReceipt, Receipt};
use crate::record::{Record, SignOutReason};
use crate::state::State;
use crate::text::Text;
use crate::transaction::{Original, Pending, Transaction, TransactionKind};
use crate::wire::Wire;
use crate::words::{Effect, Event, Operation, OperatorCommand, OutcomeStatus, Screen, TransactionOutcome};
use iso8583::unionpay::DownloadSet;
use machine::wire::{Encode, Malformed};
use machine::{Batch, Machine, MachineId, Tick};
use pedlink::{CardSummary, CustomData, PedCommand, PedReply, ResponseSummary, TraceLine};
use std::sync::Arc;
use types::{Amount, BatchNumber, CivilTime, Stan};

/// Records without a snapshot after which an empty batch is taken as the occasion for one.
const SNAPSHOT_AFTER_RECORDS: u64 = 256;

/// Largest snapshot in bytes, well below what a record may have.
const SNAPSHOT_BYTES_MAX: usize = machine::wire::BYTES_MAX / 2;

/// Longest pause before an order that the host itself refuses is tried again, in milliseconds: one hour.
const ORDER_RETRY_MS_MAX: u64 = 3_600_000;
/// Doublings after which the pause grows no more, so that no shift runs out of its bits.
const ORDER_RETRY_DOUBLINGS_MAX: u32 = 16;

/// What one step gathers.
pub(crate) struct Turn {
    pub now: Tick,
    records: Vec<Record>,
    effects: Vec<Effect>,
}

impl Turn {
    pub fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub fn show(&mut self, screen: Screen) {
        self.emit(Effect::Show(screen));
    }

    pub fn ped(&mut self, command: PedCommand) {
        self.emit(Effect::Ped(command));
    }
}

/// What an operation is after.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    SignIn,
    SignOff,
    Echo,
    Payment(Box<PaymentGoal>),
    Settle,
    Download(DownloadSet),
    ReportStatus,
    /// Everything that is pending; `by_operator` if someone waits for the outcome.
    Pending {
        by_operator: bool,
    },
}

/// A payment that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct PaymentGoal {
    pub kind: TransactionKind,
    pub amount: Amount,
    pub original: Option<Original>,
    /// `MMDD` of the original, for F61 of what names it by its date.
    pub original_mmdd: String,
    /// The tip in the amount of an adjustment.
    pub tip: Option<Amount>,
    /// How many instalments an instalment sale has.
    pub instalments: Option<u8>,
    /// What stands in a card's place, if a code does.
    pub payer: Option<CardSummary>,
    /// F59.
    pub custom: Option<CustomData>,
}

impl Goal {
    pub fn operation(&self) -> Operation {
        match self {
            Goal::SignIn => Operation::SignIn,
            Goal::SignOff => Operation::SignOff,
            Goal::Echo => Operation::Echo,
            Goal::Download(_) => Operation::Download,
            Goal::ReportStatus => Operation::StatusReport,
            Goal::Settle => Operation::Settlement,
            Goal::Pending { .. } => Operation::Pending,
            Goal::Payment(payment) => payment.kind.operation(),
        }
    }

    pub fn by_operator(&self) -> bool {
        !matches!(self, Goal::Pending { by_operator: false })
    }
}

impl TransactionKind {
    pub(crate) fn operation(self) -> Operation {
        match self {
            TransactionKind::Sale => Operation::Sale,
            TransactionKind::Void => Operation::Void,
            TransactionKind::Refund => Operation::Refund,
            TransactionKind::Balance => Operation::Balance,
            TransactionKind::PreAuthorisation => Operation::PreAuthorisation,
            TransactionKind::PreAuthorisationVoid => Operation::PreAuthorisationVoid,
            TransactionKind::Completion => Operation::Completion,
            TransactionKind::CompletionVoid => Operation::CompletionVoid,
            TransactionKind::CompletionNotice => Operation::CompletionNotice,
            TransactionKind::OfflineSale => Operation::Sale,
            TransactionKind::TipAdjustment => Operation::TipAdjustment,
            TransactionKind::Instalment => Operation::Instalment,
            TransactionKind::InstalmentVoid => Operation::Void,
            kind @ (TransactionKind::QrSale
            | TransactionKind::QrOrder
            | TransactionKind::QrVoid
            | TransactionKind::QrRefund) => Operation::of_qr(kind),
        }
    }
}

/// One operation from its command to its outcome.
#[derive(Debug)]
pub(crate) struct Job {
    pub goal: Goal,
    pub sign_ins: u8,
    /// A sign-in is wanted although working keys are there (mission M29).
    pub sign_in_wanted: bool,
    pub restarts: u8,
    /// Sends of the current message that brought no answer.
    pub sends: u8,
    pub notices_tried: Vec<Stan>,
    /// The line does not carry notices now. They leave in order, so the later ones wait too.
    pub notices_wait: bool,
    /// Signatures that the host did not take on this occasion.
    pub signatures_tried: Vec<Stan>,
    /// Orders of the host obeyed in this job: a host that repeats them waits for the next one.
    pub obeyed: u16,
    /// A batch was closed and the host wants a sign-off behind it (parameter 21).
    pub sign_off_wanted: bool,
    pub download: Option<Download>,
    pub payment: Option<ActivePayment>,
    /// Something pending could not be brought to the host: do not try again at once.
    pub flush_failed: bool,
    /// The goal itself is reached.
    pub reached: bool,
}

impl Job {
    fn new(goal: Goal) -> Self {
        Self {
            goal,
            sign_ins: 0,
            sign_in_wanted: false,
            restarts: 0,
            sends: 0,
            notices_tried: Vec::new(),
            notices_wait: false,
            signatures_tried: Vec::new(),
            obeyed: 0,
            sign_off_wanted: false,
            download: None,
            payment: None,
            flush_failed: false,
            reached: false,
        }
    }

    /// Whether a cashier waits for a payment.
    pub fn is_payment(&self) -> bool {
        matches!(self.goal, Goal::Payment(_))
    }
}

/// What the till waits for.
#[derive(Debug)]
pub(crate) enum Activity {
    Idle,
    PedStatus,
    ReadingCard,
    Confirming,
    AwaitingPayer,
    LeavingCard { then: AfterCard },
    Wire(Box<Wire>),
    LoadingKeys { answer: Box<ResponseSummary> },
    Installing,
    FinishingCard { ending: Box<Ending>, trace: Vec<TraceLine> },
}

/// What a program shows of a till.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Whether working keys are there.
    pub signed_in: bool,
    /// The open batch.
    pub batch: BatchNumber,
    /// The next trace number.
    pub next_stan: Stan,
    /// Whether the CAPK set is complete.
    pub capks_loaded: bool,
    /// Whether the AID set is complete.
    pub aids_loaded: bool,
    /// Whether an operation is running, and which.
    pub running: Option<Operation>,
    /// What parks the till, and why.
    pub parked: Option<(Stan, Text)>,
    /// Payments in the open batch.
    pub transactions: usize,
}

/// The till machine. Records are applied as they are decided; if they cannot be written, the process must stop.
#[derive(Debug)]
pub struct Till {
    /// What is in force: what the program gave, under the terminal parameters that were downloaded.
    pub(crate) config: Config,
    /// What the program gave.
    given: Config,
    pub(crate) state: State,
    pub(crate) job: Option<Job>,
    pub(crate) activity: Activity,
    activity_deadline_ms: Option<u64>,
    waiting: Option<OperatorCommand>,
    retry_at_ms: Option<u64>,
    /// Rounds of background work in a row that left something pending.
    fruitless_rounds: u32,
    pub(crate) ped_in_step: bool,
    sequence: u64,
    exchanges: u32,
    since_snapshot: u64,
    snapshot_due_ms: Option<u64>,
}

impl Till {
    /// A till that was never switched on.
    pub fn new(config: Config) -> Self {
        Self::restore(config, Vec::new(), 0)
    }

    /// The till whose journal holds these records from its newest snapshot on; `last_sequence` is the number of the last one.
    /// Step [`Event::PowerOn`] next.
    pub fn restore(config: Config, records: Vec<Record>, last_sequence: u64) -> Self {
        let mut state = State::default();
        let since_snapshot = records.iter().rev().take_while(|record| !record.is_snapshot()).count() as u64;
        records.into_iter().for_each(|record| state.take_in(record));
        Self {
            config: config.under(&state.management.parameters()),
            given: config,
            state,
            job: None,
            activity: Activity::Idle,
            activity_deadline_ms: None,
            waiting: None,
            retry_at_ms: None,
            fruitless_rounds: 0,
            ped_in_step: false,
            sequence: last_sequence,
            exchanges: 0,
            since_snapshot,
            snapshot_due_ms: None,
        }
    }

    /// [`Till::restore`] from what a store loads.
    pub fn restore_journal(config: Config, journal: &machine::store::Journal) -> Result<Self, Malformed> {
        let records = journal.records.iter().map(|bytes| Record::from_bytes(bytes)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::restore(config, records, journal.last_sequence))
    }

    /// Name of the till in a store.
    pub fn machine_id() -> MachineId {
        MachineId::new("till").expect("a short name")
    }

    /// The durable state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it is configured with: what its program gave, where the host has not downloaded something else.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Payments of the open batch, oldest first.
    pub fn transactions(&self) -> impl DoubleEndedIterator<Item = &Transaction> + ExactSizeIterator {
        self.state.transactions.iter().map(Arc::as_ref)
    }

    /// A payment of the open batch, otherwise of the one before.
    pub fn find(&self, stan: Stan) -> Option<&Transaction> {
        self.state.find(stan)
    }

    /// Everything that still has to reach the host.
    pub fn pending(&self) -> Vec<Pending> {
        self.state.pending()
    }

    /// A summary.
    pub fn status(&self) -> Status {
        let state = &self.state;
        Status {
            signed_in: state.signed_in,
            batch: state.batch,
            next_stan: state.next_stan,
            capks_loaded: state.capks_loaded,
            aids_loaded: state.aids_loaded,
            running: self.job.as_ref().map(|job| job.goal.operation()),
            parked: state.parked(),
            transactions: state.transactions.len(),
        }
    }

    /// Whether nothing is running and nothing waits for its turn.
    pub fn is_idle(&self) -> bool {
        self.job.is_none() && self.waiting.is_none()
    }

    /// The slip of an approved payment, for showing; `None` for what prints none.
    pub fn receipt(&self, stan: Stan, copy: Copy) -> Option<Receipt> {
        let transaction = self.find(stan).filter(|transaction| prints(transaction))?;
        Some(Receipt::Payment(Box::new(PaymentReceipt::new(&self.config, transaction, copy, false))))
    }

    /// Local time by the till's clock, corrected by what the host said at sign-in.
    pub(crate) fn local_time(&self, now: Tick) -> CivilTime {
        let skew_ms = self.state.clock_skew_s.saturating_mul(1000);
        CivilTime::from_unix_ms(now.wall_ms.saturating_add_signed(skew_ms), self.config.utc_offset_minutes)
    }

    /// Takes in a fact and writes it down.
    pub(crate) fn note(&mut self, turn: &mut Turn, record: Record) {
        self.state.apply(&record);
        if matches!(record, Record::SetTaken { .. }) {
            self.config = self.given.under(&self.state.management.parameters());
        }
        self.sequence += 1;
        self.since_snapshot = if record.is_snapshot() { 0 } else { self.since_snapshot + 1 };
        turn.records.push(record);
    }

    /// Takes the next trace number.
    pub(crate) fn take_stan(&mut self, turn: &mut Turn) -> Stan {
        let stan = self.state.next_stan;
        self.note(turn, Record::StanTaken { stan, session: None });
        stan
    }

    pub(crate) fn sign_out(&mut self, turn: &mut Turn, reason: SignOutReason) {
        if self.state.signed_in {
            self.note(turn, Record::SignedOut { reason });
        }
    }

    /// Names a new exchange. The boot number keeps the names of earlier runs apart.
    pub(crate) fn next_exchange(&mut self) -> u64 {
        self.exchanges = self.exchanges.wrapping_add(1);
        (u64::from(self.state.boot) << 32) | u64::from(self.exchanges)
    }

    /// Waits for something, at most `timeout_ms`.
    pub(crate) fn wait_for(&mut self, turn: &Turn, activity: Activity, timeout_ms: u64) {
        self.activity = activity;
        self.activity_deadline_ms = Some(turn.now.monotonic_ms.saturating_add(timeout_ms));
    }

    /// Waits for nothing any more.
    pub(crate) fn idle(&mut self) -> Activity {
        self.activity_deadline_ms = None;
        core::mem::replace(&mut self.activity, Activity::Idle)
    }

    fn power_on(&mut self, turn: &mut Turn) {
        self.idle();
        self.job = None;
        self.waiting = None;
        self.retry_at_ms = None;
        self.ped_in_step = false;
        self.exchanges = 0;
        self.note(turn, Record::PoweredOn { boot: self.state.boot.wrapping_add(1) });
        self.resolve_open_intent(turn);
        if self.state.transactions.is_empty() && self.since_snapshot >= SNAPSHOT_AFTER_RECORDS {
            self.snapshot_due_ms = Some(turn.now.monotonic_ms);
        }
        self.begin(turn, Goal::Pending { by_operator: false });
        let wants_keys = self.config.sign_in_at_power_on && !self.state.signed_in;
        if let Some(job) = self.job.as_mut().filter(|_| wants_keys) {
            job.sign_in_wanted = true;
        }
    }

    /// Starts an operation.
    pub(crate) fn begin(&mut self, turn: &mut Turn, goal: Goal) {
        if goal.by_operator() {
            turn.show(Screen::Working { operation: goal.operation() });
        }
        self.retry_at_ms = None;
        self.job = Some(Job::new(goal));
        self.advance(turn);
    }

    /// Goes on with the running operation once nothing is in flight.
    pub(crate) fn advance(&mut self, turn: &mut Turn) {
        debug_assert!(matches!(self.activity, Activity::Idle), "one thing at a time");
        if self.job.is_none() {
            return self.rest(turn);
        }
        if !self.ped_in_step {
            turn.ped(PedCommand::Status);
            return self.wait_for(turn, Activity::PedStatus, self.config.timeouts.ped_ms);
        }
        self.plan(turn);
    }

    /// A message or a step succeeded: its retries are forgotten.
    pub(crate) fn step_done(&mut self, turn: &mut Turn) {
        self.idle();
        if let Some(job) = &mut self.job {
            job.sends = 0;
        }
        self.advance(turn);
    }

    /// Ends the running operation with its outcome.
    pub(crate) fn finish(&mut self, turn: &mut Turn, outcome: TransactionOutcome) {
        self.idle();
        let Some(job) = self.job.take() else { return };
        if job.goal.by_operator() {
            turn.emit(Effect::Outcome(Box::new(outcome.clone())));
            turn.show(Screen::Result(Box::new(outcome)));
        }
        let try_at_once = job.goal.by_operator() && !job.flush_failed;
        let is_fruitless = !job.goal.by_operator() && self.state.anything_pending();
        self.fruitless_rounds = if is_fruitless { self.fruitless_rounds.saturating_add(1) } else { 0 };
        if !try_at_once && self.state.anything_pending() {
            self.retry_at_ms = Some(turn.now.monotonic_ms.saturating_add(self.retry_pause_ms()));
        }
        self.rest(turn);
    }

    /// Money is tried again soon, for ever. A sign-in or download that the host orders and refuses (it does not know the
    /// terminal, or takes it for a copy) is tried ever more seldom: each attempt costs a trace number and an alarm.
    fn retry_pause_ms(&self) -> u64 {
        let pause_ms = self.config.timeouts.pending_retry_ms;
        if self.state.money_pending() {
            return pause_ms;
        }
        let doublings = self.fruitless_rounds.saturating_sub(1).min(ORDER_RETRY_DOUBLINGS_MAX);
        pause_ms.saturating_mul(1 << doublings).min(ORDER_RETRY_MS_MAX.max(pause_ms))
    }

    /// Ends the running operation without success.
    pub(crate) fn fail(&mut self, turn: &mut Turn, message: Text) {
        let operation = self.job.as_ref().map_or(Operation::Pending, |job| job.goal.operation());
        let mut outcome = TransactionOutcome::new(operation, OutcomeStatus::Failed, message);
        if let Some(Goal::Payment(payment)) = self.job.as_ref().map(|job| &job.goal) {
            outcome.amount = Some(payment.amount);
        }
        self.finish(turn, outcome);
    }

    /// Nothing runs: what waits comes next, then what is pending, then the ready screen.
    fn rest(&mut self, turn: &mut Turn) {
        if let Some(command) = self.waiting.take() {
            return self.operator(turn, command);
        }
        if self.state.anything_pending() && self.retry_at_ms.is_none() {
            return self.begin(turn, Goal::Pending { by_operator: false });
        }
        turn.show(match (self.state.parked(), &self.state.settlement) {
            (Some((stan, reason)), _) => Screen::Parked { stan, reason },
            (None, Some(settlement)) => Screen::SettlementUnfinished { batch: settlement.batch },
            (None, None) => Screen::Ready { signed_in: self.state.signed_in, batch: self.state.batch },
        });
    }

    /// A command that must wait until the background work is over. `false`: one waits already.
    pub(crate) fn make_wait(&mut self, command: OperatorCommand) -> bool {
        let free = self.waiting.is_none();
        if free {
            self.waiting = Some(command);
        }
        free
    }

    /// Takes back the command that waits.
    pub(crate) fn take_waiting(&mut self) -> Option<OperatorCommand> {
        self.waiting.take()
    }

    pub(crate) fn order_snapshot(&mut self, turn: &Turn) {
        self.snapshot_due_ms = Some(turn.now.monotonic_ms);
    }

    fn wake(&mut self, turn: &mut Turn) {
        let due = |deadline: Option<u64>| deadline.is_some_and(|at| at <= turn.now.monotonic_ms);
        if due(self.snapshot_due_ms) {
            // Alone in its batch, so that a store can begin a journal with it.
            self.snapshot_due_ms = None;
            let snapshot = Record::Snapshot { state: Box::new(self.state.clone()) };
            // One that comes late may find a batch full of traces. The next close orders another.
            if snapshot.to_bytes().len() <= SNAPSHOT_BYTES_MAX {
                return self.note(turn, snapshot);
            }
        }
        if due(self.activity_deadline_ms) {
            return self.time_out(turn);
        }
        if due(self.retry_at_ms) && self.job.is_none() {
            self.retry_at_ms = None;
            self.rest(turn);
        }
    }

    fn time_out(&mut self, turn: &mut Turn) {
        match self.idle() {
            Activity::Idle => {}
            Activity::Confirming => self.decline_duplicate(turn, "gave no answer in time"),
            Activity::AwaitingPayer => self.query_payer(turn),
            Activity::Wire(wire) => self.wire_timed_out(turn, *wire),
            Activity::ReadingCard => self.give_up_card(turn),
            Activity::FinishingCard { ending, trace } => {
                self.ped_in_step = false;
                self.card_gave_no_last_word(turn, *ending, trace);
            }
            Activity::LeavingCard { then } => {
                self.ped_in_step = false;
                self.card_left(turn, then, None);
            }
            Activity::PedStatus | Activity::LoadingKeys { .. } | Activity::Installing => self.ped_silent(turn),
        }
    }

    /// The PED did not answer: whatever it still says is stale until it answers a status request.
    pub(crate) fn ped_silent(&mut self, turn: &mut Turn) {
        self.idle();
        self.ped_in_step = false;
        if let Some(job) = &mut self.job {
            job.flush_failed = true;
        }
        turn.show(Screen::PedSilent);
        self.fail(turn, Screen::PedSilent.text());
    }

    fn ped_reply(&mut self, turn: &mut Turn, reply: PedReply) {
        if !self.ped_in_step {
            if let (PedReply::Status { .. }, Activity::PedStatus) = (&reply, &self.activity) {
                self.ped_status(turn, &reply);
            }
            return;
        }
        match reply {
            PedReply::CardRead { session, result, trace } => self.card_read(turn, session, result, trace),
            PedReply::CardFinished { .. } => self.card_finished(turn, reply),
            PedReply::FrameCompleted { frame, blob, trace } => self.frame_completed(turn, frame, blob, trace),
            PedReply::FrameRefused { why, sign_in_needed } => self.frame_refused(turn, why, sign_in_needed),
            PedReply::ResponseChecked { result, trace } => self.response_checked(turn, result, trace),
            PedReply::WorkingKeysLoaded { loaded } => self.keys_loaded(turn, loaded),
            PedReply::ParametersInstalled { taken, skipped } => self.parameters_installed(turn, taken, &skipped),
            PedReply::Status { .. } => {}
        }
    }

    fn ped_status(&mut self, turn: &mut Turn, reply: &PedReply) {
        let PedReply::Status { master_key, working_keys, capks, aids } = reply else { return };
        self.idle();
        self.ped_in_step = true;
        if !working_keys {
            self.sign_out(turn, SignOutReason::KeysGone);
        }
        let lost = (self.state.capks_loaded && *capks == 0, self.state.aids_loaded && *aids == 0);
        if lost != (false, false) {
            self.note(turn, Record::ParametersLost { capks: lost.0, aids: lost.1 });
        }
        if !master_key {
            // Someone may enrol it at any moment: ask again next time.
            self.ped_in_step = false;
            turn.show(Screen::NotEnrolled);
            if let Some(job) = &mut self.job {
                job.flush_failed = true;
            }
            return self.fail(turn, Screen::NotEnrolled.text());
        }
        self.advance(turn);
    }
}

/// Whether a payment has a slip: what was paid or given back, but not a balance inquiry.
pub(crate) fn prints(transaction: &Transaction) -> bool {
    transaction.is_paid() && transaction.kind != TransactionKind::Balance
}

impl Machine for Till {
    type Event = Event;
    type Record = Record;
    type Effect = Effect;

    fn step(&mut self, now: Tick, event: Event) -> Batch<Record, Effect> {
        let mut turn = Turn { now, records: Vec::new(), effects: Vec::new() };
        match event {
            Event::PowerOn => self.power_on(&mut turn),
            Event::Operator(command) => self.operator(&mut turn, command),
            Event::Ped(reply) => self.ped_reply(&mut turn, *reply),
            Event::LinkResponse { exchange, frame } => self.link_response(&mut turn, exchange, frame),
            Event::LinkFailed { exchange, sent_any } => self.link_failed(&mut turn, exchange, sent_any),
            Event::Wake => self.wake(&mut turn),
        }
        Batch::new(Self::machine_id(), self.sequence, turn.records, turn.effects)
    }

    fn deadline(&self) -> Option<u64> {
        let retry = self.retry_at_ms.filter(|_| self.job.is_none());
        [self.activity_deadline_ms, retry, self.snapshot_due_ms].into_iter().flatten().min()
    }
}
