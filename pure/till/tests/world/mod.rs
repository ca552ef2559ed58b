//! A test terminal: the till under test, a scripted PED, a host that keeps books, a line that fails on demand, a journal, and a
//! clock that only moves when someone waits.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod host;
pub mod ped;

use host::TestHost;
use machine::wire::Encode;
use machine::{Durable, Machine, Tick};
use ped::TestPed;
use pedlink::OpaqueFrame;
use std::collections::VecDeque;
use till::{
    Config, Effect, Event, Operation, OperatorCommand, OutcomeStatus, Receipt, Record, Screen, Till, Transaction,
    TransactionKind, TransactionOutcome, TransactionStatus,
};
use types::{Amount, Currency, MerchantId, Stan, TerminalId};

/// 2026-03-15 09:30:15 in China.
pub const MORNING_MS: u64 = 1_773_538_215_000;
/// Steps after which a world that is not quiet counts as stuck.
const STEPS_MAX: usize = 20_000;
/// Virtual time after which a world that is not quiet counts as stuck.
const QUIET_WITHIN_MS: u64 = 3_600_000;

pub fn yuan(text: &str) -> Amount {
    Amount::parse(text, Currency::CNY).unwrap()
}

pub fn config() -> Config {
    let terminal = TerminalId::parse("12345678").unwrap();
    let merchant = MerchantId::parse("123456789012345").unwrap();
    Config { duplicate_window_ms: 0, ..Config::new(terminal, merchant, "铁柜咖啡馆 Irontill Coffee") }
}

/// What the line does with one exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// No connection.
    NotSent,
    /// The request is lost after it was sent.
    LoseRequest,
    /// The host answers, the answer is lost.
    LoseResponse,
    /// Nobody says anything: the till's own time-out must fire.
    Silent,
    /// The answer comes after the next exchange has begun.
    Late,
    /// The answer comes twice.
    Twice,
    /// The answer's MAC is damaged.
    WrongMac,
    /// The answer is no message.
    Garbage,
    /// The request comes twice to the host.
    RequestTwice,
}

pub struct World {
    pub config: Config,
    pub till: Till,
    pub journal: Vec<Vec<u8>>,
    pub ped: TestPed,
    pub host: TestHost,
    pub now: Tick,
    pub queue: VecDeque<Event>,
    pub late: Vec<Event>,
    /// Faults of the next exchanges, in order; then none.
    pub faults: VecDeque<Fault>,
    pub outcomes: Vec<TransactionOutcome>,
    pub screens: Vec<Screen>,
    pub prints: Vec<Receipt>,
    /// MTI and 60.3 of every exchange, in order.
    pub sent: Vec<String>,
    /// Record count at which the power fails, and whether the effects of that step still get out.
    pub crash_at: Option<(usize, bool)>,
    pub crashes: usize,
    pub auto_confirm: bool,
}

impl World {
    pub fn new(config: Config) -> Self {
        let mut world = Self {
            till: Till::new(config.clone()),
            config,
            journal: Vec::new(),
            ped: TestPed::default(),
            host: TestHost::default(),
            now: Tick { monotonic_ms: 5_000, wall_ms: MORNING_MS },
            queue: VecDeque::from([Event::PowerOn]),
            late: Vec::new(),
            faults: VecDeque::new(),
            outcomes: Vec::new(),
            screens: Vec::new(),
            prints: Vec::new(),
            sent: Vec::new(),
            crash_at: None,
            crashes: 0,
            auto_confirm: true,
        };
        world.run();
        world
    }

    /// A world that is signed in and has its parameters.
    pub fn ready() -> Self {
        let mut world = Self::new(config());
        world.command(OperatorCommand::SignIn);
        assert_eq!(world.last().status, OutcomeStatus::Done, "{:?}", world.outcomes);
        world
    }

    pub fn last(&self) -> &TransactionOutcome {
        self.outcomes.last().expect("an outcome")
    }

    /// The last outcome of one operation.
    pub fn outcome(&self, operation: Operation) -> &TransactionOutcome {
        self.outcomes.iter().rev().find(|outcome| outcome.operation == operation).expect("an outcome of the operation")
    }

    pub fn command(&mut self, command: OperatorCommand) {
        self.queue.push_back(Event::Operator(command));
        self.run();
    }

    pub fn sale(&mut self, amount: &str) -> TransactionOutcome {
        self.command(OperatorCommand::Sale { amount: yuan(amount) });
        self.outcome(Operation::Sale).clone()
    }

    pub fn find(&self, stan: Stan) -> &Transaction {
        self.till.find(stan).expect("the transaction")
    }

    /// Handles what is queued, then lets time pass until nothing is left to do.
    pub fn run(&mut self) {
        let limit_ms = self.now.monotonic_ms + QUIET_WITHIN_MS;
        for _ in 0..STEPS_MAX {
            if let Some(event) = self.queue.pop_front() {
                self.step(event);
                continue;
            }
            match self.till.deadline() {
                Some(at) if self.now.monotonic_ms < limit_ms && !self.parked_and_waiting() => self.wake_at(at),
                _ => return,
            }
        }
        panic!("stuck: {:?} {:?}", self.till.status(), self.till.pending());
    }

    /// Runs for a while even if it is parked.
    pub fn run_for(&mut self, duration_ms: u64) {
        let limit_ms = self.now.monotonic_ms + duration_ms;
        loop {
            if let Some(event) = self.queue.pop_front() {
                self.step(event);
                continue;
            }
            match self.till.deadline() {
                Some(at) if at <= limit_ms => self.wake_at(at),
                _ => return,
            }
        }
    }

    fn parked_and_waiting(&self) -> bool {
        self.till.is_idle() && self.till.status().parked.is_some()
    }

    fn wake_at(&mut self, at_ms: u64) {
        let passed = at_ms.saturating_sub(self.now.monotonic_ms);
        self.now.monotonic_ms += passed;
        self.now.wall_ms += passed;
        self.step(Event::Wake);
    }

    fn step(&mut self, event: Event) {
        let batch = self.till.step(self.now, event);
        let first = batch.first_sequence();
        assert!(batch.records().is_empty() || first == self.journal.len() as u64 + 1, "records are numbered in order");
        let snapshots = batch.records().iter().filter(|record| record.is_snapshot()).count();
        assert!(snapshots == 0 || batch.records().len() == 1, "a snapshot is alone in its batch");
        let before = self.journal.len();
        self.journal.extend(batch.records().iter().map(Encode::to_bytes));
        let crash = self.crash_at.filter(|(at, _)| *at > before && *at <= self.journal.len());
        if let Some((at, released)) = crash {
            let whole = at == self.journal.len();
            self.journal.truncate(at);
            self.crash_at = None;
            if released && whole {
                let durable = Durable::assertion(batch.machine(), batch.sequence());
                for effect in batch.release(durable) {
                    self.effect(effect);
                }
            } else {
                batch.discard();
            }
            return self.power_cut();
        }
        let durable = Durable::assertion(batch.machine(), batch.sequence());
        for effect in batch.release(durable) {
            self.effect(effect);
        }
    }

    /// Everything volatile is gone; what the line still holds may arrive afterwards.
    pub fn power_cut(&mut self) {
        self.crashes += 1;
        let in_flight = core::mem::take(&mut self.queue);
        let commands = in_flight.into_iter().filter(|event| matches!(event, Event::Operator(_)));
        self.queue = VecDeque::from([Event::PowerOn]);
        self.queue.extend(commands);
        self.ped.power_cut();
        self.till = self.restored();
    }

    pub fn restored(&self) -> Till {
        let records: Vec<Record> = self.journal.iter().map(|bytes| Record::from_bytes(bytes).unwrap()).collect();
        let newest = records.iter().rposition(Record::is_snapshot).unwrap_or(0);
        Till::restore(self.config.clone(), records[newest..].to_vec(), self.journal.len() as u64)
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Ped(command) => {
                self.queue.extend(self.ped.handle(command).into_iter().map(Box::new).map(Event::Ped))
            }
            Effect::Exchange { exchange, frame, timeout_ms } => {
                assert!(timeout_ms > 0);
                self.exchange(exchange, frame);
            }
            Effect::Abandon { .. } => {}
            Effect::Show(screen) => {
                if self.auto_confirm && matches!(screen, Screen::ConfirmDuplicate { .. }) {
                    self.queue.push_back(Event::Operator(OperatorCommand::Confirm));
                }
                assert!(!screen.text().en.is_empty() && !screen.text().zh.is_empty(), "{screen:?}");
                self.screens.push(screen);
            }
            Effect::Print(receipt) => self.prints.push(*receipt),
            Effect::Outcome(outcome) => self.outcomes.push(*outcome),
        }
    }

    fn exchange(&mut self, exchange: u64, frame: OpaqueFrame) {
        let request = host::Request::parse(frame.expose());
        self.sent.push(request.name());
        self.check_order(&request);
        let fault = self.faults.pop_front().unwrap_or(Fault::None);
        let late = core::mem::take(&mut self.late);
        self.queue.extend(late);
        match fault {
            Fault::NotSent => return self.queue.push_back(Event::LinkFailed { exchange, sent_any: false }),
            Fault::LoseRequest => return self.queue.push_back(Event::LinkFailed { exchange, sent_any: true }),
            _ => {}
        }
        if fault == Fault::RequestTwice {
            let _ = self.host.handle(&request, self.now);
        }
        let answer = self.host.handle(&request, self.now);
        let response = |bytes: &[u8]| Event::LinkResponse { exchange, frame: OpaqueFrame::new(bytes.to_vec()) };
        match fault {
            Fault::LoseResponse => self.queue.push_back(Event::LinkFailed { exchange, sent_any: true }),
            Fault::Silent => {}
            Fault::Late => {
                self.late.push(response(&answer));
                self.queue.push_back(Event::LinkFailed { exchange, sent_any: true });
            }
            Fault::WrongMac => self.queue.push_back(response(&host::damage_mac(&answer))),
            Fault::Garbage => self.queue.push_back(response(b"\xFF\xFF\xFF\xFFnot a message")),
            Fault::Twice => self.queue.extend([response(&answer), response(&answer)]),
            _ => self.queue.push_back(response(&answer)),
        }
    }

    /// M7: nothing new leaves while a reversal is pending, and nothing financial while a settlement is half done.
    fn check_order(&self, request: &host::Request) {
        let financial = matches!(request.template.mti.as_str(), "0100" | "0200" | "0500");
        let reversal = self.till.state().reversal.is_some();
        assert!(!(financial && reversal), "{} with a pending reversal", request.name());
        let settling = self.till.state().settlement.is_some();
        assert!(!(matches!(request.template.mti.as_str(), "0100" | "0200") && settling), "a payment during settlement");
    }

    /// Till and host agree on every payment, and no card was charged more often than the cashier asked for.
    pub fn assert_agreement(&self) {
        let state = self.till.state();
        assert!(state.open_intent.is_none(), "nothing stays undecided");
        let known: Vec<_> = state.last_batch.iter().chain(&state.transactions).collect();
        for transaction in &known {
            let booked = self.host.booked(transaction.batch, transaction.stan);
            let resolved = !matches!(transaction.status, TransactionStatus::Reversing | TransactionStatus::Queued);
            assert!(resolved, "still {:?}: {:?}", transaction.status, self.till.pending());
            if transaction.kind != TransactionKind::Balance {
                let approved = transaction.status == TransactionStatus::Approved;
                assert_eq!(booked, approved, "{:?} {} {:?}", transaction.kind, transaction.stan, transaction.status);
            }
        }
        for (batch, stan) in self.host.all_booked() {
            let till = known.iter().find(|transaction| transaction.batch == batch && transaction.stan == stan);
            let gone = state.batch.number() > batch.number() + 1;
            assert!(till.is_some() || gone, "the host booked {stan}, the till does not know it");
        }
    }
}
