//! The machine: one request at a time, from frame to answer.

use crate::config::HostConfig;
use crate::incoming::{Incoming, Unreadable};
use crate::record::{Enrolment, Record};
use crate::rule::Rule;
use crate::state::State;
use crate::words::{Effect, Event, Level, LogLine, PeerIdentity};
use iso8583::unionpay::{Body, DownloadSet, MessageKind, Requirement};
use issuer::IssuerReply;
use keys::{Command, KeyBlock, Reply, SealedAccount, TerminalMaster, WorkingKeys};
use ledger::{CardGroup, Hold, Movement};
use machine::store::{Journal, Outcome};
use machine::wire::{Encode, Malformed};
use machine::{Batch, Machine, MachineId, Tick};
use risk::Screening;
use std::collections::VecDeque;
use std::sync::Arc;
use types::{CardToken, CivilTime, SecretBytes, TerminalId, TruncatedPan, WalletNumber};

/// Requests of one terminal that wait behind the one in work; further ones are closed.
pub const WAITING_REQUESTS_MAX: usize = 8;
/// Records after which a snapshot is due (one is also written at every batch close).
pub const SNAPSHOT_RECORDS: u32 = 256;
/// A snapshot between batch closes is written only up to this many open intents: it must fit one record.
pub const SNAPSHOT_ENTRIES_MAX: usize = 600;

/// What the key service says of a message's account data.
pub(crate) struct OpenedCard {
    pub token: CardToken,
    pub truncated: TruncatedPan,
    pub account: SealedAccount,
    pub luhn_valid: bool,
    pub expired: bool,
}

/// What is given back, as it was.
#[derive(Clone, Copy)]
pub(crate) struct GivenBack {
    pub amount_minor: u64,
    pub wall_ms: u64,
}

/// What a message rests on.
pub(crate) enum Original {
    /// The sale or completion that a void or refund gives back.
    Movement { movement: Movement, group: Option<CardGroup>, sale: GivenBack },
    /// The pre-authorisation that a void or completion ends.
    Hold(Hold),
}

/// Where a request stands.
pub(crate) enum Phase {
    /// Its MAC is verified and its account data opened.
    Opening,
    /// The sale of a refund is looked up.
    FindingCapture,
    /// The pre-authorisation of a void or completion is looked up.
    FindingAuthorisation,
    /// The risk rules have their say: on what is in order, or on what this rule refuses already.
    Screening { refused: Option<Rule> },
    /// A buyer's payment code is looked up.
    FindingPaymentCode,
    /// The wallet that pays or is paid back is looked up.
    FindingWallet,
    /// The end of an order is looked up.
    FindingOrderEnd,
    /// The issuer decides.
    AskingIssuer,
    /// The balance is looked up.
    ReadingBalance,
    /// Working keys are made.
    MakingKeys,
    /// The answer's MAC is made.
    MakingMac { record: Option<Box<Record>>, body: SecretBytes },
    /// Its record is on the way to the store.
    Appending,
}

impl Phase {
    /// Whether an answer to [`Effect::Find`] is waited for.
    fn is_look_up(&self) -> bool {
        use Phase::{FindingAuthorisation, FindingCapture, FindingOrderEnd, FindingPaymentCode, FindingWallet};
        matches!(self, FindingCapture | FindingAuthorisation | FindingPaymentCode | FindingWallet | FindingOrderEnd)
    }
}

/// A request in work. It lives in memory only.
pub(crate) struct Work {
    pub incoming: Incoming,
    pub ticket: u64,
    pub phase: Phase,
    pub attempts: u8,
    pub rrn_skip: u32,
    /// The set of working keys that the message's MAC is tried with: once it is right, PIN block, track and answer are under
    /// it.
    pub keys: Option<WorkingKeys>,
    /// Sets of working keys under which the MAC was wrong.
    pub sets_tried: usize,
    /// Whether the serial number of a sign-in was found to be this terminal's already.
    pub serial_known: bool,
    pub account_faulty: bool,
    pub card: Option<OpenedCard>,
    pub original: Option<Original>,
    /// The wallet that pays or is paid back.
    pub wallet: Option<WalletNumber>,
    pub reply: Option<Box<IssuerReply>>,
    /// What the risk rules said, once they were asked.
    pub screening: Option<Screening>,
    pub checks: Vec<&'static str>,
}

impl Work {
    pub fn new(incoming: Incoming) -> Box<Self> {
        Box::new(Self {
            incoming,
            ticket: 0,
            phase: Phase::Opening,
            attempts: 0,
            rrn_skip: 0,
            keys: None,
            sets_tried: 0,
            serial_known: false,
            account_faulty: false,
            card: None,
            original: None,
            wallet: None,
            reply: None,
            screening: None,
            checks: Vec::new(),
        })
    }
}

/// An operator's word that is on its way to the store.
pub(crate) enum Order {
    Enrol(Enrolment),
    ReplaceMasterKey(KeyBlock<TerminalMaster>),
}

impl Order {
    fn into_event(self) -> Event {
        match self {
            Order::Enrol(enrolment) => Event::Enrol(Box::new(enrolment)),
            Order::ReplaceMasterKey(master_key) => Event::ReplaceMasterKey(Box::new(master_key)),
        }
    }
}

/// The last connections that a terminal's messages came on. Kept in memory only: it raises an alarm and decides nothing.
#[derive(Default)]
pub(crate) struct Lines {
    last: Option<u64>,
    before: Option<u64>,
}

impl Lines {
    /// Whether a message came on the connection that another one had taken the place of. A terminal that connects anew
    /// leaves its old connection for good; two that alternate are two terminals.
    fn interleave(&mut self, connection: u64) -> bool {
        if self.last == Some(connection) {
            return false;
        }
        let returns = self.before == Some(connection);
        self.before = self.last.replace(connection);
        returns
    }
}

/// What one step gives.
#[derive(Default)]
pub(crate) struct Output {
    pub records: Vec<Record>,
    pub effects: Vec<Effect>,
}

/// The host's machine of one terminal.
pub struct Acquirer {
    pub(crate) config: Arc<HostConfig>,
    pub(crate) terminal: TerminalId,
    pub(crate) state: State,
    pub(crate) now: Tick,
    pub(crate) work: Option<Box<Work>>,
    /// What an operator ordered, until it is durable.
    pub(crate) order: Option<Order>,
    pub(crate) lines: Lines,
    appending: Option<Record>,
    waiting: VecDeque<Incoming>,
    sequence: u64,
    records_since_snapshot: u32,
    last_ticket: u64,
    deadline_ms: Option<u64>,
}

impl Acquirer {
    /// The machine of a terminal that nothing is known of.
    pub fn new(config: Arc<HostConfig>, terminal: TerminalId) -> Self {
        Self {
            config,
            terminal,
            state: State::default(),
            now: Tick::default(),
            work: None,
            order: None,
            lines: Lines::default(),
            appending: None,
            waiting: VecDeque::new(),
            sequence: 0,
            records_since_snapshot: 0,
            last_ticket: 0,
            deadline_ms: None,
        }
    }

    /// The machine as its journal (from the newest snapshot on) tells it.
    ///
    /// # Errors
    /// A record that no released version wrote.
    pub fn restore(config: Arc<HostConfig>, terminal: TerminalId, journal: &Journal) -> Result<Self, Malformed> {
        let mut machine = Self::new(config, terminal);
        for bytes in &journal.records {
            let record = Record::from_bytes(bytes)?;
            machine.absorb(record);
        }
        machine.sequence = journal.last_sequence;
        Ok(machine)
    }

    /// What it remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Number of its last durable record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The events that have no answer yet, in order. After a conflict the driver steps them on the machine restored from
    /// the store: nothing of them was written.
    pub fn into_unanswered(self) -> Vec<Event> {
        let order = self.order.map(Order::into_event);
        let current = self.work.map(|work| work.incoming);
        let requests = current.into_iter().chain(self.waiting).map(|incoming| {
            let (connection, peer) = (incoming.connection, incoming.peer);
            Event::Request { connection, peer, frame: incoming.into_frame() }
        });
        order.into_iter().chain(requests).collect()
    }

    fn absorb(&mut self, record: Record) {
        self.records_since_snapshot =
            if record.is_snapshot() { 0 } else { self.records_since_snapshot.saturating_add(1) };
        self.state.apply(record);
    }

    fn receive(&mut self, connection: u64, peer: PeerIdentity, frame: Vec<u8>, out: &mut Output) {
        if self.lines.interleave(connection) {
            let text = "two live connections speak for this terminal at the same time".to_owned();
            self.log(out, Level::Alarm, "terminal.two-connections", text);
        }
        match Incoming::parse(connection, peer, frame) {
            Ok(_) if self.waiting.len() >= WAITING_REQUESTS_MAX => {
                self.log(out, Level::Warning, "queue", "too many requests at once".to_owned());
                out.effects.push(Effect::Close { connection });
            }
            Ok(incoming) => self.waiting.push_back(incoming),
            Err(Unreadable { answer, error }) => {
                self.log(out, Level::Warning, "message.format", error);
                out.effects.push(match answer {
                    Some(frame) => Effect::Respond { connection, frame },
                    None => Effect::Close { connection },
                });
            }
        }
    }

    fn handle(&mut self, event: Event, out: &mut Output) {
        match event {
            Event::PowerOn => {}
            Event::Enrol(enrolment) => self.enrol(*enrolment, out),
            Event::ReplaceMasterKey(master_key) => self.replace_master_key(*master_key, out),
            Event::Request { connection, peer, frame } => self.receive(connection, peer, frame, out),
            Event::KeyReplies { ticket, replies } => self.take_key_replies(ticket, replies, out),
            Event::IssuerReply { ticket, reply } => {
                if let Some(work) = self.take_work(ticket, |phase| matches!(phase, Phase::AskingIssuer)) {
                    self.take_issuer_reply(work, reply, out);
                }
            }
            Event::Found { ticket, value } => {
                if let Some(work) = self.take_work(ticket, Phase::is_look_up) {
                    self.take_found(work, value, out);
                }
            }
            Event::Balance { ticket, balance_minor } => {
                if let Some(work) = self.take_work(ticket, |phase| matches!(phase, Phase::ReadingBalance)) {
                    self.take_balance(work, balance_minor, out);
                }
            }
            Event::Screened { ticket, screening } => {
                if let Some(work) = self.take_work(ticket, |phase| matches!(phase, Phase::Screening { .. })) {
                    self.take_screening(work, screening, out);
                }
            }
            Event::Appended(outcome) => self.appended(outcome, out),
            Event::Wake => self.wake(out),
        }
    }

    fn take_found(&mut self, work: Box<Work>, value: Option<Vec<u8>>, out: &mut Output) {
        match work.phase {
            Phase::FindingAuthorisation => self.take_authorisation(work, value, out),
            Phase::FindingPaymentCode => self.take_payment_code(work, value, out),
            Phase::FindingWallet => self.take_wallet(work, value, out),
            Phase::FindingOrderEnd => self.take_order_end(work, value, out),
            _ => self.take_capture(work, value, out),
        }
    }

    fn take_key_replies(&mut self, ticket: u64, replies: Vec<Reply>, out: &mut Output) {
        let of_keys = |phase: &Phase| matches!(phase, Phase::Opening | Phase::MakingKeys | Phase::MakingMac { .. });
        let Some(mut work) = self.take_work(ticket, of_keys) else { return };
        match core::mem::replace(&mut work.phase, Phase::Opening) {
            Phase::MakingKeys => self.take_working_keys(work, replies, out),
            Phase::MakingMac { record, body } => self.take_mac(work, record, body, replies, out),
            _ => self.take_opened(work, replies, out),
        }
    }

    /// The request that waits for this ticket, if it does.
    fn take_work(&mut self, ticket: u64, in_phase: impl FnOnce(&Phase) -> bool) -> Option<Box<Work>> {
        let waits = self.work.as_ref().is_some_and(|work| work.ticket == ticket && in_phase(&work.phase));
        if !waits || self.appending.is_some() {
            return None;
        }
        self.deadline_ms = None;
        self.work.take()
    }

    /// Parks a request until the answer to a new ticket comes.
    pub(crate) fn wait(&mut self, mut work: Box<Work>, phase: Phase) -> u64 {
        self.last_ticket += 1;
        work.ticket = self.last_ticket;
        work.phase = phase;
        self.work = Some(work);
        self.deadline_ms = Some(self.now.monotonic_ms.saturating_add(self.config.reply_timeout_ms));
        self.last_ticket
    }

    /// Asks the key service and parks the request.
    pub(crate) fn ask_keys(&mut self, work: Box<Work>, phase: Phase, commands: Vec<Command>, out: &mut Output) {
        let ticket = self.wait(work, phase);
        out.effects.push(Effect::Keys { ticket, commands });
    }

    /// Ends a request with an answer: its MAC first, where it has one and there is a key.
    pub(crate) fn conclude(&mut self, work: Box<Work>, record: Option<Record>, mut body: Body, out: &mut Output) {
        let key = work.keys.as_ref().map(|keys| keys.mac.clone());
        let record = record.map(Box::new);
        let (Some(key), true) = (key, work.incoming.is_authenticated()) else {
            return self.conclude_without_mac(work, record, &body, out);
        };
        body.mac = Some([b'0'; 8]);
        let Ok(encoded) = body.to_secret_bytes() else {
            return self.abandon(work, "the answer cannot be written", out);
        };
        let message = iso8583::unionpay::mac_input(encoded.expose()).map(SecretBytes::copy_from).unwrap_or_default();
        let command = Command::MakeMac { key, algorithm: self.config.mac_algorithm, message };
        self.ask_keys(work, Phase::MakingMac { record, body: encoded }, vec![command], out);
    }

    /// Ends a request with an answer that carries no MAC.
    pub(crate) fn conclude_without_mac(
        &mut self,
        work: Box<Work>,
        record: Option<Box<Record>>,
        body: &Body,
        out: &mut Output,
    ) {
        match body.to_secret_bytes() {
            Ok(encoded) => self.respond(work, record, encoded.expose(), out),
            Err(_) => self.abandon(work, "the answer cannot be written", out),
        }
    }

    fn take_mac(
        &mut self,
        work: Box<Work>,
        record: Option<Box<Record>>,
        body: SecretBytes,
        replies: Vec<Reply>,
        out: &mut Output,
    ) {
        let Some(Reply::Mac { mac }) = replies.first() else {
            return self.abandon(work, "no MAC for the answer", out);
        };
        let content = body.expose();
        let whole = SecretBytes::new([&content[..content.len().saturating_sub(mac.len())], &mac[..]].concat());
        self.respond(work, record, whole.expose(), out);
    }

    /// The answer leaves with the batch; with a record, the request stays until that is durable.
    fn respond(&mut self, mut work: Box<Work>, record: Option<Box<Record>>, body: &[u8], out: &mut Output) {
        let incoming = &work.incoming;
        let requirement = self.requirement(incoming.kind, record.as_deref());
        let header = incoming.header.with_requirement(requirement);
        let frame = [&incoming.tpdu.swapped().0[..], &header.0, body].concat();
        out.effects.push(Effect::Respond { connection: incoming.connection, frame });
        if let Some(record) = record {
            work.phase = Phase::Appending;
            self.work = Some(work);
            self.write(*record, out);
        }
    }

    /// Hands a record to the store.
    pub(crate) fn write(&mut self, record: Record, out: &mut Output) {
        self.deadline_ms = None;
        self.appending = Some(record.clone());
        out.records.push(record);
    }

    /// What the terminal must do when it is idle: one thing at a time (unionpay-pos §1.3). Within a download nothing is
    /// ordered, and what the record in hand acknowledges is not ordered again.
    fn requirement(&self, kind: MessageKind, record: Option<&Record>) -> Requirement {
        use MessageKind as K;
        let downloading =
            matches!(kind, K::CapkStatus | K::CapkDownload | K::AidStatus | K::AidDownload | K::ParameterDownload(_));
        if self.state.enrolment.is_none() || downloading {
            return Requirement::Nothing;
        }
        let has = |set: DownloadSet| match record {
            Some(Record::Downloaded { set: of, version }) if *of == set => *version,
            _ => self.state.version(set),
        };
        let told = match record {
            Some(Record::StatusReported { version, .. }) => *version,
            _ => self.state.status_version,
        };
        let parameters = &self.config.parameters;
        let newer = DownloadSet::ALL.into_iter().find(|set| parameters.version(*set) > has(*set));
        match newer {
            Some(set) => set.requirement(),
            None if parameters.status_version > told => Requirement::UploadStatus,
            None => Requirement::Nothing,
        }
    }

    /// Gives a request up without an answer: the terminal takes that as no reply and reverses.
    pub(crate) fn abandon(&mut self, work: Box<Work>, why: &'static str, out: &mut Output) {
        self.log(out, Level::Alarm, "abandoned", why.to_owned());
        out.effects.push(Effect::Close { connection: work.incoming.connection });
    }

    fn appended(&mut self, outcome: Outcome, out: &mut Output) {
        let Some(record) = self.appending.take() else { return };
        match outcome {
            Outcome::Durable(durable) => {
                self.sequence = durable.sequence();
                let closes = matches!(record, Record::BatchClosed(_));
                self.absorb(record);
                self.work = None;
                self.order = None;
                self.snapshot_if_due(closes, out);
                if self.appending.is_none() {
                    self.release_expired_hold(out);
                }
            }
            Outcome::GuardFailed(failure) => self.guard_failed(record, failure, out),
            // The driver replaces the machine; until then it must not go on.
            Outcome::Conflict => self.appending = Some(record),
        }
    }

    fn snapshot_if_due(&mut self, closed: bool, out: &mut Output) {
        let long = self.records_since_snapshot >= SNAPSHOT_RECORDS && self.state.open.len() <= SNAPSHOT_ENTRIES_MAX;
        if closed || long {
            self.write(Record::Snapshot(Box::new(self.state.clone())), out);
        }
    }

    fn wake(&mut self, out: &mut Output) {
        if self.appending.is_some() || self.deadline_ms.is_none_or(|deadline| self.now.monotonic_ms < deadline) {
            return;
        }
        self.deadline_ms = None;
        match self.work.take() {
            Some(work) if matches!(work.phase, Phase::AskingIssuer) => self.issuer_silent(work, out),
            Some(work) => self.abandon(work, "no answer from inside the host in time", out),
            None => {}
        }
    }

    /// Starts waiting requests until one needs something.
    fn go_on(&mut self, out: &mut Output) {
        while self.work.is_none() && self.appending.is_none() {
            let Some(incoming) = self.waiting.pop_front() else { return };
            self.start(Work::new(incoming), out);
        }
    }

    /// The host's time: China Standard Time.
    pub(crate) fn civil_time(&self) -> CivilTime {
        CivilTime::from_unix_ms(self.now.wall_ms, CivilTime::CHINA_OFFSET_MINUTES)
    }

    /// Whether anything is in work or on the way to the store.
    pub(crate) fn is_busy(&self) -> bool {
        self.work.is_some() || self.appending.is_some()
    }

    pub(crate) fn log(&self, out: &mut Output, level: Level, topic: &'static str, text: String) {
        out.effects.push(Effect::Log(LogLine { level, terminal: self.terminal, topic, text }));
    }
}

impl Machine for Acquirer {
    type Event = Event;
    type Record = Record;
    type Effect = Effect;

    fn step(&mut self, now: Tick, event: Event) -> Batch<Record, Effect> {
        self.now = now;
        let mut out = Output::default();
        self.handle(event, &mut out);
        self.go_on(&mut out);
        let sequence = self.sequence + out.records.len() as u64;
        Batch::new(MachineId::of_terminal(self.terminal), sequence, out.records, out.effects)
    }

    fn deadline(&self) -> Option<u64> {
        self.deadline_ms
    }
}
