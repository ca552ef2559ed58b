//! One terminal at work: two machines, their journals, and what they are connected to.

use crate::custody::Custody;
use crate::ports::{HostLine, Keypad, Observer, Progress};
use driver::{Halt, SingleDriver};
use keys::{KeyCheckValue, Refusal};
use machine::Tick;
use machine::store::StoreFault;
use ped::{CardGone, Ped, PedConfig, TransportKey};
use pedlink::OpaqueFrame;
use reader::Reader;
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store_sqlite::SqliteStore;
use till::{Operation, OperatorCommand, OutcomeStatus, Receipt, Till, TransactionOutcome};
use types::SecretBytes;

/// Longest sleep between two looks at the deadlines, in milliseconds.
const NAP_MS_MAX: u64 = 250;

/// Why a terminal stops. It restarts from its journals, which know what is uncertain.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A journal cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A journal cannot be written, is damaged, or was written by another process.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// The vault's file.
    #[error(transparent)]
    Vault(#[from] vault_soft::VaultFileError),
    /// The random number source of the system.
    #[error("the random number source failed")]
    Entropy,
    /// The vault refused a step of the enrolment or of a key load.
    #[error("the terminal's vault: {0}")]
    Refused(Refusal),
    /// Nothing more happens and the operation has not ended.
    #[error("the terminal waits for something that will not come")]
    Stuck,
}

/// Both machines' configurations.
#[derive(Clone)]
pub struct Settings {
    /// The till's.
    pub till: till::Config,
    /// The PED's.
    pub ped: PedConfig,
}

/// What a terminal is connected to.
pub struct Devices {
    /// The line to the host.
    pub line: Box<dyn HostLine>,
    /// The card reader.
    pub reader: Box<dyn Reader + Send>,
    /// The PED's keypad.
    pub keypad: Box<dyn Keypad>,
}

/// How an operator's command ended, with the slips it printed.
#[derive(Debug)]
pub struct Completion {
    /// The operation's own outcome.
    pub outcome: TransactionOutcome,
    /// Outcomes of what ended beside it (a reversal, a queued refund).
    pub others: Vec<TransactionOutcome>,
    /// Slips in the order of printing.
    pub receipts: Vec<Receipt>,
}

enum Waiting {
    Till(Box<till::Event>),
    Ped(ped::Event),
}

/// A terminal.
pub struct Terminal {
    till: SingleDriver<Till>,
    ped: SingleDriver<Ped>,
    till_journal: SqliteStore,
    ped_journal: SqliteStore,
    /// What it is connected to; may be exchanged between operations (another card, another PIN).
    pub devices: Devices,
    started: Instant,
    queue: VecDeque<Waiting>,
    outcomes: Vec<TransactionOutcome>,
    receipts: Vec<Receipt>,
    transport_key: Option<Result<TransportKey, Refusal>>,
    master_key: Option<Result<KeyCheckValue, Refusal>>,
    identity: Option<Result<[u8; 32], Refusal>>,
    load_request: Option<Result<Vec<u8>, Refusal>>,
}

impl Terminal {
    /// Opens or makes a terminal's journals in a folder and powers both machines on. Whatever was uncertain is resolved from the
    /// journals as soon as the terminal runs.
    pub fn open(folder: &Path, custody: &Custody, settings: Settings, devices: Devices) -> Result<Self, Fault> {
        let mut till_journal = SqliteStore::open_sealed(&folder.join("till.sqlite"), custody.seal())?;
        let mut ped_journal = SqliteStore::open_sealed(&folder.join("ped.sqlite"), custody.seal())?;
        let till =
            SingleDriver::open(&mut till_journal, Till::machine_id(), till::Record::is_snapshot, |records, last| {
                Till::restore(settings.till, records, last)
            })?;
        let vault = Box::new(custody.ped());
        let ped =
            SingleDriver::open(&mut ped_journal, Ped::machine_id(), ped::Record::is_snapshot, |records, last| {
                Ped::restore(settings.ped, vault, records, last)
            })?;
        let mut terminal = Self {
            till,
            ped,
            till_journal,
            ped_journal,
            devices,
            started: Instant::now(),
            queue: VecDeque::new(),
            outcomes: Vec::new(),
            receipts: Vec::new(),
            transport_key: None,
            master_key: None,
            identity: None,
            load_request: None,
        };
        terminal.queue.push_back(Waiting::Ped(ped::Event::PowerOn));
        terminal.queue.push_back(Waiting::Till(Box::new(till::Event::PowerOn)));
        Ok(terminal)
    }

    /// The till, for queries.
    pub fn till(&self) -> &Till {
        self.till.machine()
    }

    /// Runs one operator's command to its outcome.
    pub fn run(&mut self, command: OperatorCommand, observer: &mut dyn Observer) -> Result<Completion, Fault> {
        let operation = command.operation();
        self.work(observer)?;
        self.outcomes.clear();
        self.receipts.clear();
        self.wake_due(observer)?;
        self.queue.push_back(Waiting::Till(Box::new(till::Event::Operator(command))));
        loop {
            self.work(observer)?;
            if let Some(at) = self.outcomes.iter().position(|outcome| outcome.operation == operation) {
                let outcome = self.outcomes.remove(at);
                return Ok(self.completion(outcome));
            }
            self.sleep_until_deadline(observer)?;
        }
    }

    /// Lets pending matters (reversals, queued refunds, ordered downloads) run until none is left or the time is up, and gives
    /// the outcomes that came of it.
    pub fn resolve_pending(
        &mut self,
        limit: Duration,
        observer: &mut dyn Observer,
    ) -> Result<Vec<TransactionOutcome>, Fault> {
        let end = Instant::now() + limit;
        loop {
            self.work(observer)?;
            // What is due comes even if nothing is pending: a snapshot behind a settlement.
            self.wake_due(observer)?;
            let done = self.till().is_idle() && self.till().pending().is_empty();
            if done || Instant::now() >= end {
                return Ok(std::mem::take(&mut self.outcomes));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs one sale, as [`Terminal::pay`] does.
    pub fn sell(
        &mut self,
        amount: types::Amount,
        patience: Duration,
        observer: &mut dyn Observer,
    ) -> Result<Completion, Fault> {
        self.pay(OperatorCommand::Sale { amount }, patience, observer)
    }

    /// Runs one payment; if no certain answer came, waits up to `patience` for its reversal and then answers `Reversed`.
    pub fn pay(
        &mut self,
        command: OperatorCommand,
        patience: Duration,
        observer: &mut dyn Observer,
    ) -> Result<Completion, Fault> {
        let mut completion = self.run(command, observer)?;
        if completion.outcome.status == OutcomeStatus::Reversing {
            // The reversal may have been acknowledged in the same breath, before anybody began to wait for it.
            completion.others.extend(self.resolve_pending(patience, observer)?);
            let same = |other: &&TransactionOutcome| {
                other.operation == Operation::Reversal && other.stan == completion.outcome.stan
            };
            if completion.others.iter().find(same).is_some_and(|other| other.status == OutcomeStatus::Reversed) {
                completion.outcome.status = OutcomeStatus::Reversed;
            }
        }
        Ok(completion)
    }

    fn completion(&mut self, outcome: TransactionOutcome) -> Completion {
        Completion { outcome, others: std::mem::take(&mut self.outcomes), receipts: std::mem::take(&mut self.receipts) }
    }

    /// Enrolment, first half: a KEK for the host's vault.
    pub fn make_transport_key(
        &mut self,
        recipient: Vec<u8>,
        observer: &mut dyn Observer,
    ) -> Result<TransportKey, Fault> {
        self.queue.push_back(Waiting::Ped(ped::Event::MakeTransportKey { recipient }));
        self.work(observer)?;
        self.transport_key.take().ok_or(Fault::Stuck)?.map_err(Fault::Refused)
    }

    /// Enrolment, second half: the terminal master key under that KEK.
    pub fn install_master_key(
        &mut self,
        enciphered: Vec<u8>,
        check: KeyCheckValue,
        version: u32,
        observer: &mut dyn Observer,
    ) -> Result<KeyCheckValue, Fault> {
        self.queue.push_back(Waiting::Ped(ped::Event::InstallMasterKey { enciphered, check, version }));
        self.work(observer)?;
        self.master_key.take().ok_or(Fault::Stuck)?.map_err(Fault::Refused)
    }

    /// Remote key load: trusts the host's distribution key for good, and gives the identity that the host is to keep.
    pub fn introduce(&mut self, host: [u8; 32], observer: &mut dyn Observer) -> Result<[u8; 32], Fault> {
        self.queue.push_back(Waiting::Ped(ped::Event::Introduce { host }));
        self.work(observer)?;
        self.identity.take().ok_or(Fault::Stuck)?.map_err(Fault::Refused)
    }

    /// Remote key load, first pass: the request for a newer master key.
    pub fn begin_master_key_load(&mut self, observer: &mut dyn Observer) -> Result<Vec<u8>, Fault> {
        self.queue.push_back(Waiting::Ped(ped::Event::BeginMasterKeyLoad));
        self.work(observer)?;
        self.load_request.take().ok_or(Fault::Stuck)?.map_err(Fault::Refused)
    }

    /// Remote key load, second pass: takes the newer master key beside the present one; the next sign-in that the host delivers
    /// under it makes it the present one.
    pub fn accept_master_key(&mut self, token: Vec<u8>, observer: &mut dyn Observer) -> Result<KeyCheckValue, Fault> {
        self.queue.push_back(Waiting::Ped(ped::Event::AcceptMasterKey { token }));
        self.work(observer)?;
        self.master_key.take().ok_or(Fault::Stuck)?.map_err(Fault::Refused)
    }

    fn now(&self) -> Tick {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Tick { monotonic_ms: milliseconds(self.started.elapsed()), wall_ms: milliseconds(wall) }
    }

    /// Steps both machines until nothing waits.
    fn work(&mut self, observer: &mut dyn Observer) -> Result<(), Fault> {
        while let Some(next) = self.queue.pop_front() {
            let now = self.now();
            match next {
                Waiting::Till(event) => {
                    for effect in self.till.step(&mut self.till_journal, now, *event)? {
                        self.run_till(effect, observer);
                    }
                }
                Waiting::Ped(event) => {
                    for effect in self.ped.step(&mut self.ped_journal, now, event)? {
                        self.run_ped(effect, observer)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn run_till(&mut self, effect: till::Effect, observer: &mut dyn Observer) {
        match effect {
            till::Effect::Ped(command) => self.queue.push_back(Waiting::Ped(ped::Event::Till(command))),
            till::Effect::Exchange { exchange, frame, timeout_ms } => {
                let event = match self.devices.line.exchange(frame.expose(), timeout_ms) {
                    Ok(answer) => till::Event::LinkResponse { exchange, frame: OpaqueFrame::new(answer) },
                    Err(failure) => till::Event::LinkFailed { exchange, sent_any: failure.sent_any },
                };
                self.queue.push_back(Waiting::Till(Box::new(event)));
            }
            // Exchanges here end before the next event is handled: there is nothing left to abandon.
            till::Effect::Abandon { .. } => {}
            till::Effect::Show(screen) => observer.see(Progress::Screen(&screen)),
            till::Effect::Print(receipt) => {
                observer.see(Progress::Receipt(&receipt));
                self.receipts.push(*receipt);
            }
            till::Effect::Outcome(outcome) => {
                observer.see(Progress::Outcome(&outcome));
                self.outcomes.push(*outcome);
            }
        }
    }

    fn run_ped(&mut self, effect: ped::Effect, observer: &mut dyn Observer) -> Result<(), Fault> {
        let event = match effect {
            ped::Effect::ToTill(reply) => {
                self.queue.push_back(Waiting::Till(Box::new(till::Event::Ped(reply))));
                return Ok(());
            }
            ped::Effect::PowerOnCard => match self.devices.reader.power_on() {
                Ok(answer_to_reset) => ped::Event::CardInserted(answer_to_reset),
                Err(_) => ped::Event::CardResponse(Err(CardGone)),
            },
            ped::Effect::Transmit(command) => {
                ped::Event::CardResponse(self.devices.reader.transmit(command.expose()).map_err(|_| CardGone))
            }
            ped::Effect::AskPin { amount, tries_left, retry, .. } => {
                ped::Event::PinEntered(self.devices.keypad.ask_pin(amount, tries_left, retry))
            }
            // The first is the one with the highest priority; a cardholder's choice needs a screen.
            ped::Effect::ChooseApplication(_) => ped::Event::ApplicationChosen(Some(0)),
            ped::Effect::NeedEntropy { bytes } => ped::Event::Entropy(entropy(usize::from(bytes))?),
            ped::Effect::PowerOffCard => {
                self.devices.reader.power_off();
                return Ok(());
            }
            ped::Effect::Display(prompt) => {
                observer.see(Progress::Display(prompt));
                return Ok(());
            }
            ped::Effect::CloseKeypad => return Ok(()),
            ped::Effect::TransportKey(result) => {
                self.transport_key = Some(result);
                return Ok(());
            }
            ped::Effect::Introduced(result) => {
                self.identity = Some(result);
                return Ok(());
            }
            ped::Effect::LoadRequest(result) => {
                self.load_request = Some(result);
                return Ok(());
            }
            ped::Effect::MasterKeyInstalled(result) => {
                self.master_key = Some(result);
                return Ok(());
            }
        };
        self.queue.push_back(Waiting::Ped(event));
        Ok(())
    }

    fn wake_due(&mut self, observer: &mut dyn Observer) -> Result<(), Fault> {
        let now = self.now().monotonic_ms;
        if self.ped.deadline_ms().is_some_and(|deadline| deadline <= now) {
            self.queue.push_back(Waiting::Ped(ped::Event::Wake));
        }
        if self.till.deadline_ms().is_some_and(|deadline| deadline <= now) {
            self.queue.push_back(Waiting::Till(Box::new(till::Event::Wake)));
        }
        self.work(observer)
    }

    fn sleep_until_deadline(&mut self, observer: &mut dyn Observer) -> Result<(), Fault> {
        let deadlines = [self.ped.deadline_ms(), self.till.deadline_ms()];
        let next = deadlines.into_iter().flatten().min().ok_or(Fault::Stuck)?;
        let wait_ms = next.saturating_sub(self.now().monotonic_ms).min(NAP_MS_MAX);
        std::thread::sleep(Duration::from_millis(wait_ms));
        if observer.cancels() {
            self.queue.push_back(Waiting::Till(Box::new(till::Event::Operator(OperatorCommand::Cancel))));
        }
        self.wake_due(observer)
    }
}

fn entropy(count: usize) -> Result<SecretBytes, Fault> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Entropy)?;
    Ok(SecretBytes::new(bytes))
}
