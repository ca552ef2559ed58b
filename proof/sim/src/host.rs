//! The host in a simulated world: the product's own driver and machines on a simulated disk.

use crate::canary::Canary;
use crate::lab::TestIssuer;
use crate::plant::{Lenient, Plant};
use crate::risk_rules;
use crate::store::SimulatedStore;
use crate::vault::Keys;
use acquirer::{Acquirer, Effect, Event, HostConfig, PeerIdentity, Record};
use driver::{Address, HostDriver, HostKind, Work, WorkDone};
use issuer::IssuerConfig;
use keys::KeyService;
use machine::store::{Journal, Outcome, Row, Store};
use machine::wire::Malformed;
use machine::{MachineId, Tick};
use risk::RuleSet;
use std::rc::Rc;
use std::sync::Arc;
use types::TerminalId;

/// What the driver must know of acquirer machines.
pub struct Kind {
    config: Arc<HostConfig>,
    plant: Rc<Plant>,
}

impl HostKind for Kind {
    type Machine = Acquirer;

    fn restore(&self, id: MachineId, journal: &Journal) -> Result<Acquirer, Malformed> {
        let terminal =
            TerminalId::parse(id.text()).map_err(|_| Malformed { offset: 0, what: "a terminal's machine" })?;
        Acquirer::restore(Arc::clone(&self.config), terminal, journal)
    }

    fn power_on(&self) -> Option<Event> {
        Some(Event::PowerOn)
    }

    fn appended(&self, outcome: Outcome) -> Event {
        Event::Appended(outcome)
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn rows(&self, record: &Record) -> Vec<Row> {
        self.plant.host_rows(record, acquirer::rows(record))
    }

    fn is_snapshot(&self, record: &Record) -> bool {
        record.is_snapshot()
    }

    fn unanswered(&self, machine: Acquirer) -> Vec<Event> {
        machine.into_unanswered()
    }
}

/// One host process.
pub struct Host {
    /// Counts power cuts: what belongs to an earlier life is void.
    pub life: u64,
    /// Whether it has power.
    pub up: bool,
    /// When it decides next, as planned.
    pub decides_at_ms: Option<u64>,
    driver: HostDriver<Kind>,
    config: Arc<HostConfig>,
    issuer: IssuerConfig,
    rules: RuleSet,
    keys: Keys,
    plant: Rc<Plant>,
}

/// What a host asks of the world around it.
pub enum Ask {
    /// Send this response.
    Respond {
        /// On which connection.
        connection: u64,
        /// Behind the length bytes.
        frame: Vec<u8>,
    },
    /// Give this answer back later.
    Answer {
        /// To which machine.
        address: Address,
        /// The answer.
        event: Event,
    },
    /// Nothing, but it belongs to the history: what it is, and its words.
    Note(&'static str, String),
}

impl Host {
    /// A host that has just been switched on.
    pub fn new(config: Arc<HostConfig>, issuer: IssuerConfig, keys: Keys, canary: Option<Canary>) -> Self {
        let plant = Rc::new(Plant::new(canary));
        let driver = HostDriver::new(Kind { config: Arc::clone(&config), plant: Rc::clone(&plant) });
        Self { life: 0, up: true, decides_at_ms: None, driver, config, issuer, rules: risk_rules::rules(), keys, plant }
    }

    /// Loses power: everything in memory is gone.
    pub fn cut(&mut self) {
        self.life += 1;
        self.up = false;
        self.decides_at_ms = None;
        self.driver = HostDriver::new(Kind { config: Arc::clone(&self.config), plant: Rc::clone(&self.plant) });
    }

    /// A request arrives. `false` if the host would not take it.
    pub fn request(&mut self, connection: u64, peer: PeerIdentity, frame: Vec<u8>) -> bool {
        match acquirer::route(&frame) {
            Ok(terminal) => {
                let event = Event::Request { connection, peer, frame };
                self.driver.deliver(MachineId::of_terminal(terminal), event).is_ok()
            }
            Err(_) => false,
        }
    }

    /// Gives an event that is no request (an enrolment, a new master key). `false` if the host would not take it.
    pub fn deliver(&mut self, terminal: TerminalId, event: Event) -> bool {
        self.driver.deliver(MachineId::of_terminal(terminal), event).is_ok()
    }

    /// An answer comes back.
    pub fn answer(&mut self, address: Address, event: Event) {
        self.driver.answer(address, event);
    }

    /// Lets every machine that can do so decide; the disk is only read.
    pub fn decide(&mut self, now: Tick, store: &mut SimulatedStore) -> Vec<Ask> {
        self.driver.wake_due(now);
        let mut effects = Vec::new();
        self.driver.run(now, &mut effects);
        effects.into_iter().map(|(address, effect)| self.ask(address, effect, store)).collect()
    }

    /// Whether there is something to write, and nothing is being written.
    pub fn has_work(&self) -> bool {
        self.driver.has_work()
    }

    /// What should be written next, if anything and if nothing is being written.
    pub fn take_work(&mut self) -> Option<Work> {
        self.driver.take_work()
    }

    /// Something was written: its effects come out.
    pub fn finish_work(&mut self, done: WorkDone, store: &mut SimulatedStore) -> Vec<Ask> {
        let mut effects = Vec::new();
        self.driver.finish_work(done, &mut effects).expect("a simulated journal is sound");
        effects.into_iter().map(|(address, effect)| self.ask(address, effect, store)).collect()
    }

    /// When a machine wants to be woken.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.driver.deadline_ms()
    }

    fn ask(&mut self, address: Address, effect: Effect, store: &mut SimulatedStore) -> Ask {
        let event = match effect {
            Effect::Respond { connection, frame } => return Ask::Respond { connection, frame },
            Effect::Close { connection } => return Ask::Note("host close", connection.to_string()),
            Effect::Log(line) => return Ask::Note("host log", line.to_string()),
            Effect::Enrolled { accepted } => return Ask::Note("host enrolled", format!("{accepted:?}")),
            Effect::Keys { ticket, commands } => Event::KeyReplies { ticket, replies: self.keys.execute(&commands) },
            Effect::Issuer { ticket, request } => {
                let mut find = |space: &str, key: &[u8]| store.find(space, key).expect("a simulated store reads");
                let mut keys = Lenient(&mut self.keys, self.plant.is(Canary::PinUnchecked));
                let mut reply = issuer::serve(&self.issuer, *request, &mut find, &mut keys);
                self.plant.issuer_reply(&mut reply);
                Event::IssuerReply { ticket, reply: Box::new(reply) }
            }
            Effect::Find { ticket, space, key } => {
                let value = if self.plant.is(Canary::FindsAnother) {
                    store.find_another(space, &key)
                } else {
                    store.find(space, &key).expect("a simulated store reads")
                };
                Event::Found { ticket, value }
            }
            Effect::Screen { ticket, question } => {
                Event::Screened { ticket, screening: risk_rules::judge(&self.rules, &question, store) }
            }
            Effect::Balance { ticket, account, currency } => Event::Balance {
                ticket,
                balance_minor: store.balance_minor(&account, currency).expect("a simulated store reads"),
            },
        };
        Ask::Answer { address, event }
    }
}

/// Puts a card into the issuer's files.
pub fn load_card(
    store: &mut SimulatedStore,
    lab: &mut TestIssuer,
    keys: &mut dyn KeyService,
    account: &card::CardAccountData,
    number: usize,
    money_minor: i64,
    is_limited: bool,
) -> anyhow::Result<()> {
    let mut issued = lab.issue(keys, account, false)?;
    if !is_limited {
        issued.file.single_limit_minor = None;
    }
    let opening = (format!("opening/{number}"), money_minor);
    let machine = MachineId::new("issuer").expect("a short name");
    let last = u64::try_from(store.length(machine))?;
    let append = machine::store::Append {
        machine,
        first_sequence: last + 1,
        records: vec![format!("card {number}").into_bytes()],
        rows: issuer::card_rows(&issued.token, &issued.file, Some(opening)),
        snapshot: false,
    };
    let outcome = store.append(&[append])?.pop();
    anyhow::ensure!(matches!(outcome, Some(Outcome::Durable(_))), "the card was not loaded: {outcome:?}");
    Ok(())
}
