//! The one thread that steps the machines.
//!
//! It takes everything that has arrived, steps what can be stepped, and hands out work in batches: appends to the store's
//! thread, key commands of all machines together to a free line of the key service. While those are busy the next batches
//! gather. Look-ups are answered at once from a second connection to the store, which sees every durable commit; what
//! must not race is guarded inside the append.

use crate::risk_rules::LoadedRules;
use crate::terminals::Terminals;
use crate::threads::{KeyBatch, start_key_line, start_store};
use acquirer::{Effect, EnrolmentRefused, Event, HostConfig, PeerIdentity};
use driver::{Address, Gather, Gathered, Halt, HostDriver, Work, WorkDone};
use issuer::{Ask, Conversation, IssuerConfig};
use keys::{BATCH_COMMANDS_MAX, Command, KeyService, Refusal, Reply};
use link::{Handler, LinkEvent, Request};
use machine::store::{Store, StoreFault};
use machine::{MachineId, Tick};
use risk::RuleSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store_sqlite::SqliteStore;

/// Takes log lines. They never hold card data.
pub type LogSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Inputs taken before the machines are stepped, so that a flood cannot keep them from it.
const INPUTS_A_TURN_MAX: usize = 4_096;
/// Longest sleep of the engine.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Answers for connections that have gone are swept once this many wait.
const REPLIES_BEFORE_SWEEP: usize = 8_192;

/// What an engine is made of.
pub struct EngineParts {
    /// Configuration of the acquirer.
    pub host: Arc<HostConfig>,
    /// The risk rules.
    pub rules: RuleSet,
    /// Configuration of the built-in issuer.
    pub issuer: IssuerConfig,
    /// The store's writing side.
    pub writer: SqliteStore,
    /// The store's reading side, another connection to the same file.
    pub reader: SqliteStore,
    /// Lines to the key service, each used by one thread.
    pub key_lines: Vec<Box<dyn KeyService + Send>>,
    /// Where log lines go.
    pub log: LogSink,
}

/// What the engine has done so far.
#[derive(Default, Debug)]
pub struct Statistics {
    /// Frames taken.
    pub requests: AtomicU64,
    /// Frames answered.
    pub answers: AtomicU64,
    /// Rounds on the store that appended.
    pub groups: AtomicU64,
    /// Appends in them.
    pub appends: AtomicU64,
    /// Batches to the key service.
    pub key_batches: AtomicU64,
    /// Commands in them.
    pub key_commands: AtomicU64,
}

/// What reaches the engine's thread.
pub(crate) enum Input {
    Request(Request),
    Enrol(Box<acquirer::Enrolment>, Sender<Result<(), EnrolmentRefused>>),
    StoreDone(Result<WorkDone, StoreFault>),
    ForeignWrite,
    /// Other risk rules, from now on.
    Rules(RuleSet),
    KeysDone {
        line: usize,
        number: u64,
        replies: Vec<Reply>,
    },
    Stop,
}

/// A running engine.
pub struct Engine {
    inbox: Sender<Input>,
    statistics: Arc<Statistics>,
    thread: JoinHandle<Result<(), Halt>>,
}

/// The engine's door for other risk rules.
pub(crate) struct RulesDoor(Sender<Input>);

impl RulesDoor {
    /// Takes them into use, from the next transaction on.
    pub fn use_rules(&self, rules: RuleSet) {
        // An engine that has ended needs none.
        let _ = self.0.send(Input::Rules(rules));
    }
}

/// The engine's door for the link.
#[derive(Clone)]
pub struct EngineHandle {
    inbox: Sender<Input>,
    log: LogSink,
    statistics: Arc<Statistics>,
}

impl Engine {
    /// Starts the engine's threads. `at_end` is called when the engine's thread ends, wished for or not.
    pub fn start(parts: EngineParts, at_end: impl FnOnce() + Send + 'static) -> (Self, EngineHandle) {
        let (inbox, inputs) = channel();
        let statistics = Arc::new(Statistics::default());
        let handle = EngineHandle { inbox: inbox.clone(), log: parts.log.clone(), statistics: statistics.clone() };
        let (own_inbox, own_statistics) = (inbox.clone(), statistics.clone());
        let thread = thread::spawn(move || {
            let result = Core::new(parts, own_inbox, own_statistics).run(&inputs);
            at_end();
            result
        });
        (Self { inbox, statistics, thread }, handle)
    }

    /// What it has done so far.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Enrols a terminal in the running host.
    pub fn enrol(&self, enrolment: acquirer::Enrolment) -> Result<Result<(), EnrolmentRefused>, Stopped> {
        let (answer, answered) = channel();
        self.inbox.send(Input::Enrol(Box::new(enrolment), answer)).map_err(|_| Stopped)?;
        answered.recv().map_err(|_| Stopped)
    }

    /// Where other risk rules are handed in while it runs.
    pub(crate) fn rules_door(&self) -> RulesDoor {
        RulesDoor(self.inbox.clone())
    }

    /// Lets what is on its way to the store arrive, then ends the engine.
    ///
    /// # Errors
    /// Why it had stopped before, if it had.
    pub fn stop(self) -> Result<(), Halt> {
        let _ = self.inbox.send(Input::Stop);
        self.thread.join().unwrap_or(Err(Halt::Stopped))
    }
}

/// The engine has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

impl Handler for EngineHandle {
    fn request(&self, request: Request) {
        self.statistics.requests.fetch_add(1, Ordering::Relaxed);
        // If the engine has ended, the request is dropped here and its connection closes.
        let _ = self.inbox.send(Input::Request(request));
    }

    fn event(&self, event: LinkEvent) {
        (self.log)(&event.to_string());
    }
}

/// Who asked the key service.
enum Asker {
    Machine(Address, u64),
    Issuer(Address, u64, Box<Conversation>),
}

struct Core {
    driver: HostDriver<Terminals>,
    rules: LoadedRules,
    issuer: IssuerConfig,
    reader: SqliteStore,
    log: LogSink,
    statistics: Arc<Statistics>,
    clock: Clock,
    store: Sender<Work>,
    key_lines: Vec<Sender<KeyBatch>>,
    free_lines: Vec<usize>,
    questions: Gather<Asker, Command>,
    asked: BTreeMap<u64, Gathered<Asker, Command>>,
    batches: u64,
    replies: BTreeMap<u64, link::Reply>,
    enrolments: BTreeMap<MachineId, Sender<Result<(), EnrolmentRefused>>>,
    stopping: bool,
}

impl Core {
    fn new(parts: EngineParts, inbox: Sender<Input>, statistics: Arc<Statistics>) -> Self {
        let start_line = |(line, service)| start_key_line(line, service, inbox.clone());
        let key_lines: Vec<_> = parts.key_lines.into_iter().enumerate().map(start_line).collect();
        Self {
            driver: HostDriver::new(Terminals::new(parts.host)),
            rules: LoadedRules::new(parts.rules),
            issuer: parts.issuer,
            reader: parts.reader,
            log: parts.log,
            statistics,
            clock: Clock::start(),
            store: start_store(parts.writer, inbox),
            free_lines: (0..key_lines.len()).collect(),
            key_lines,
            questions: Gather::default(),
            asked: BTreeMap::new(),
            batches: 0,
            replies: BTreeMap::new(),
            enrolments: BTreeMap::new(),
            stopping: false,
        }
    }

    fn run(mut self, inputs: &Receiver<Input>) -> Result<(), Halt> {
        let result = self.turn_until_stopped(inputs);
        if let Err(halt) = &result {
            (self.log)(&format!("host: stopped: {halt}"));
        }
        result
    }

    fn turn_until_stopped(&mut self, inputs: &Receiver<Input>) -> Result<(), Halt> {
        while !self.stopping || self.driver.round_out() {
            let first = match inputs.recv_timeout(self.sleep()) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Err(Halt::Stopped),
            };
            let mut effects = Vec::new();
            for input in first.into_iter().chain(inputs.try_iter()).take(INPUTS_A_TURN_MAX) {
                self.take(input, &mut effects)?;
            }
            self.driver.wake_due(self.clock.now());
            self.settle(effects)?;
            self.send_questions();
            self.send_work()?;
        }
        Ok(())
    }

    fn sleep(&self) -> Duration {
        let Some(deadline_ms) = self.driver.deadline_ms() else { return SLEEP_MAX };
        let left_ms = deadline_ms.saturating_sub(self.clock.now().monotonic_ms);
        Duration::from_millis(left_ms).min(SLEEP_MAX)
    }

    fn take(&mut self, input: Input, effects: &mut Vec<(Address, Effect)>) -> Result<(), Halt> {
        match input {
            Input::Request(request) => self.take_request(request),
            Input::Enrol(enrolment, answer) => {
                let machine = MachineId::of_terminal(enrolment.terminal);
                self.enrolments.insert(machine, answer);
                // A full queue drops the answer's sender at the next enrolment; the caller then asks again.
                if self.driver.deliver(machine, Event::Enrol(enrolment)).is_err() {
                    self.enrolments.remove(&machine);
                }
            }
            Input::StoreDone(done) => self.driver.finish_work(done?, effects)?,
            Input::ForeignWrite => self.driver.forget_idle(),
            Input::KeysDone { line, number, replies } => self.take_replies(line, number, replies)?,
            Input::Rules(set) => {
                (self.log)(&format!("host: risk rules version {}, {} rules", set.version, set.rules.len()));
                self.rules = LoadedRules::new(set);
            }
            Input::Stop => self.stopping = true,
        }
        Ok(())
    }

    /// Routes by the certificate, not by what the message says: a terminal can only ever occupy its own machine.
    fn take_request(&mut self, request: Request) {
        if self.stopping {
            return request.reply.close();
        }
        if self.replies.len() >= REPLIES_BEFORE_SWEEP {
            self.replies.retain(|_, reply| !reply.is_abandoned());
        }
        let peer = PeerIdentity { terminal: request.peer.terminal, merchant: request.peer.merchant };
        let connection = request.connection;
        let event = Event::Request { connection, peer, frame: request.frame };
        match self.driver.deliver(MachineId::of_terminal(peer.terminal), event) {
            Ok(()) => drop(self.replies.insert(connection, request.reply)),
            Err(overloaded) => {
                (self.log)(&format!("host: {overloaded}"));
                request.reply.close();
            }
        }
    }

    /// Steps machines and runs effects until both are at rest.
    fn settle(&mut self, mut effects: Vec<(Address, Effect)>) -> Result<(), Halt> {
        loop {
            self.driver.run(self.clock.now(), &mut effects);
            if effects.is_empty() {
                return Ok(());
            }
            for (address, effect) in std::mem::take(&mut effects) {
                self.run_effect(address, effect)?;
            }
        }
    }

    fn run_effect(&mut self, address: Address, effect: Effect) -> Result<(), Halt> {
        match effect {
            Effect::Respond { connection, frame } => {
                if let Some(reply) = self.replies.remove(&connection) {
                    self.statistics.answers.fetch_add(1, Ordering::Relaxed);
                    reply.respond(frame);
                }
            }
            Effect::Close { connection } => drop(self.replies.remove(&connection)),
            Effect::Keys { ticket, commands } => self.questions.push(Asker::Machine(address, ticket), commands),
            Effect::Issuer { ticket, request } => {
                let (conversation, ask) = Conversation::open(&self.issuer, *request);
                self.converse(address, ticket, Box::new(conversation), ask)?;
            }
            Effect::Find { ticket, space, key } => {
                let value = self.reader.find(space, &key)?;
                self.driver.answer(address, Event::Found { ticket, value });
            }
            Effect::Balance { ticket, account, currency } => {
                let balance_minor = self.reader.balance_minor(&account, currency)?;
                self.driver.answer(address, Event::Balance { ticket, balance_minor });
            }
            Effect::Screen { ticket, question } => {
                let screening = self.rules.judge(&self.reader, &question)?;
                self.driver.answer(address, Event::Screened { ticket, screening });
            }
            Effect::Enrolled { accepted } => {
                if let Some(answer) = self.enrolments.remove(&address.machine()) {
                    let _ = answer.send(accepted);
                }
            }
            Effect::Log(line) => (self.log)(&line.to_string()),
        }
        Ok(())
    }

    /// Takes the issuer's part of a request as far as it goes without the key service.
    fn converse(
        &mut self,
        address: Address,
        ticket: u64,
        mut conversation: Box<Conversation>,
        mut ask: Ask,
    ) -> Result<(), Halt> {
        loop {
            match ask {
                Ask::Find(keys) => {
                    let find = |(space, key): (&'static str, Vec<u8>)| self.reader.find(space, &key);
                    let values = keys.into_iter().map(find).collect::<Result<_, _>>()?;
                    ask = conversation.found(values);
                }
                Ask::Keys(commands) => {
                    self.questions.push(Asker::Issuer(address, ticket, conversation), commands);
                    return Ok(());
                }
                Ask::Reply(reply) => {
                    self.driver.answer(address, Event::IssuerReply { ticket, reply });
                    return Ok(());
                }
            }
        }
    }

    fn send_questions(&mut self) {
        while let Some(line) = self.free_lines.pop() {
            let Some(mut gathered) = self.questions.take(BATCH_COMMANDS_MAX) else {
                self.free_lines.push(line);
                return;
            };
            self.batches += 1;
            let commands = std::mem::take(&mut gathered.questions);
            self.statistics.key_batches.fetch_add(1, Ordering::Relaxed);
            self.statistics.key_commands.fetch_add(commands.len() as u64, Ordering::Relaxed);
            self.asked.insert(self.batches, gathered);
            // A line's thread ends only with the engine.
            let _ = self.key_lines[line].send(KeyBatch { number: self.batches, commands });
        }
    }

    fn take_replies(&mut self, line: usize, number: u64, mut replies: Vec<Reply>) -> Result<(), Halt> {
        self.free_lines.push(line);
        let Some(gathered) = self.asked.remove(&number) else { return Ok(()) };
        let expected = gathered.answers_expected();
        if replies.len() != expected {
            (self.log)("host: the key service gave a wrong number of replies");
            replies = (0..expected).map(|_| Reply::Refused { why: Refusal::Unavailable }).collect();
        }
        for (asker, replies) in gathered.split(replies).unwrap_or_default() {
            match asker {
                Asker::Machine(address, ticket) => {
                    self.driver.answer(address, Event::KeyReplies { ticket, replies });
                }
                Asker::Issuer(address, ticket, mut conversation) => {
                    let ask = conversation.replies(replies);
                    self.converse(address, ticket, conversation, ask)?;
                }
            }
        }
        Ok(())
    }

    fn send_work(&mut self) -> Result<(), Halt> {
        let Some(work) = self.driver.take_work() else { return Ok(()) };
        if !work.appends.is_empty() {
            self.statistics.groups.fetch_add(1, Ordering::Relaxed);
            self.statistics.appends.fetch_add(work.appends.len() as u64, Ordering::Relaxed);
        }
        self.store.send(work).map_err(|_| Halt::Stopped)
    }
}

/// The process's two clocks.
struct Clock {
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now() }
    }

    fn now(&self) -> Tick {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Tick { monotonic_ms: milliseconds(self.start.elapsed()), wall_ms: milliseconds(wall) }
    }
}
