//! The world of one run: terminals, hosts, the network between them, shoppers, and power that fails.

mod buyers;
mod host_clock;
mod hosts;
mod network;
mod offline_sales;
mod outcomes;
mod rotation;
mod script;
mod set_up;
mod shoppers;
mod terminals;

use crate::auditor::Auditor;
use crate::canary::Canary;
use crate::faults::Faults;
use crate::host::Host;
use crate::lab::{self, test_parameters};
use crate::random::Random;
use crate::replay::{Listener, Step, Told, Until};
use crate::risk_rules;
use crate::schedule::Schedule;
use crate::store::SimulatedStore;
use crate::terminal::{Terminal, Waiting};
use crate::vault::{Keys, Vault, is_real};
use crate::witness::{Finding, Witness};
use acquirer::{HostConfig, PeerIdentity};
use driver::{Address, WorkDone};
use issuer::IssuerConfig;
use keys::{Caller, Command, KeyService, Reply};
use machine::Tick;
use pedlink::OpaqueFrame;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use till::{AuthorisationReference, OperatorCommand};
use types::{Amount, BatchNumber, InstitutionId, LocalDate, Rrn, Stan, TerminalId};

/// Wall clock at the beginning of every run: 2026-01-05 08:00 in China, in Unix milliseconds.
const WALL_START_MS: u64 = 1_767_571_200_000;
/// Cards of each terminal's shoppers.
const WALLETS: u64 = 3;
/// Longest healing in virtual milliseconds: six hours.
const HEALING_MS_MAX: u64 = 6 * 3_600_000;
/// Time for every terminal to close its batch, in virtual milliseconds.
const CLOSING_MS: u64 = 600_000;
/// Longer than a message is ever under way, so that no late copy escapes the audit.
const UNDER_WAY_MS_MAX: u64 = 600_000;
/// Completions in per cent of what LooseBound allows.
const LOOSE_PERCENT: u32 = 1_000;
/// One world in so many has sealed journals; the others keep the records alone.
const SEALED_WORLDS: u64 = 64;
/// Keeps the draw of real cards apart from all others.
const REAL_CARD_SALT: u64 = 0xCA2D_0F25;
/// Keeps the draws of clocks apart from all others.
const CLOCK_SALT: u64 = 0xC10C_0FF5;
/// Host processes that share the disk.
const HOSTS: usize = 2;

enum Happening {
    Terminal { index: usize, life: u64, waiting: Waiting },
    TerminalWake { index: usize, life: u64 },
    TerminalRestart { index: usize },
    Shopper { index: usize, turn: u64 },
    RequestArrives { host: usize, connection: u64, frame: Vec<u8> },
    ResponseArrives { index: usize, life: u64, exchange: u64, frame: Vec<u8> },
    LineFails { index: usize, life: u64, exchange: u64, sent_any: bool },
    HostDecide { host: usize, life: u64 },
    HostWrite { host: usize, life: u64 },
    HostWritten { host: usize, life: u64, done: WorkDone },
    HostAnswer { host: usize, life: u64, address: Address, event: acquirer::Event },
    HostRestart { host: usize },
    BuyerPays(buyers::Paying),
    KeyRotation { index: usize },
    MasterKeyConfirmed { index: usize, order: u64 },
}

/// A new master key on its way into a terminal. A later order takes its place.
struct KeyOrder {
    order: u64,
    key: keys::KeyBlock<keys::TerminalMaster>,
}

#[derive(Clone)]
struct Refundable {
    stan: Stan,
    /// What the slip of a QR payment names it by.
    voucher_code: Option<String>,
    rrn: Rrn,
    amount: Amount,
    date: LocalDate,
    wallet: usize,
}

/// A pre-authorisation as its slip tells it.
#[derive(Clone)]
struct Authorised {
    named: AuthorisationReference,
    amount: Amount,
    wallet: usize,
}

/// What a run is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Payments that shoppers begin.
    pub transactions: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// A planted bug.
    pub canary: Option<Canary>,
    /// Whether every terminal settles at the end, and the host keeps what a day's settlement reads.
    pub settles: bool,
}

pub(crate) use script::{Nodes, Script};

pub(crate) struct World {
    plan: Plan,
    faults: Faults,
    network: Random,
    power: Random,
    shoppers: Random,
    schedule: Schedule<Happening>,
    store: SimulatedStore,
    cards: Random,
    clocks: Random,
    hosts: Vec<Host>,
    terminals: Vec<Terminal>,
    peers: Vec<PeerIdentity>,
    refundable: Vec<Vec<Refundable>>,
    authorised: Vec<Vec<Authorised>>,
    /// The pre-authorisation that a cashier is about to end.
    ending: Vec<Option<Authorised>>,
    /// Completions with their cards.
    completed: Vec<Vec<(Stan, usize)>>,
    administration: Keys,
    key_orders: Vec<Option<KeyOrder>>,
    key_orders_made: u64,
    /// The master key that the host held when nothing newer was on its way to it.
    master_key_delivered_ms: Vec<u64>,
    settled_master_keys: Vec<Option<keys::KeyBlock<keys::TerminalMaster>>>,
    master_key_versions: Vec<u32>,
    pub(crate) master_keys_replaced: u64,
    connections: BTreeMap<u64, (usize, u64, u64)>,
    connections_made: u64,
    pub(crate) begun: u64,
    healing_since_ms: Option<u64>,
    resting_since_ms: Option<u64>,
    copies_at_work: BTreeSet<usize>,
    closed_until_ms: u64,
    holidays: u32,
    pub(crate) auditor: Auditor,
    witness: Witness,
    /// Totals on the terminals' settlement slips: debits and credits, minor units.
    pub(crate) slips: BTreeMap<(TerminalId, BatchNumber), (u64, u64)>,
    history: Sha256,
    host_clock: host_clock::HostClock,
    buyers: Option<buyers::Buyers>,
    /// What is done instead of what shoppers would do.
    script: Option<Script>,
    listener: Option<Listener>,
    stops_at: Until,
    lines_told: usize,
    statement_lines_read: usize,
    pub(crate) events: u64,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// First slips by what stands on them.
    pub(crate) slips_by_title: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Self> {
        Self::with(plan, None)
    }

    /// A world that plays a script: one terminal, on the script's stores.
    pub(crate) fn scripted(plan: Plan, script: Script) -> anyhow::Result<Self> {
        Self::with(plan, Some(script))
    }

    fn with(plan: Plan, script: Option<Script>) -> anyhow::Result<Self> {
        let mut random = Random::new(plan.seed);
        let of_vault = random.fork();
        let real = script.is_some() || is_real(plan.seed);
        let vault = if real { Vault::real(of_vault)? } else { Vault::fake(of_vault) };
        let host_keys = vault.speaks_to(Caller::Host);
        let config = Arc::new(host_config(&plan, script.is_some())?);
        let issuer = IssuerConfig::new(InstitutionId::parse("03080000")?);
        let hosts = (0..HOSTS)
            .map(|_| Host::new(Arc::clone(&config), issuer.clone(), host_keys.clone(), plan.canary))
            .collect();
        let mut store = SimulatedStore::with(plan.canary).unsealed(is_unsealed(&plan)).with_archive(plan.settles);
        if let Some(script) = &script {
            store = store.above(Rc::clone(&script.nodes.host));
        }
        let mut world = Self {
            plan,
            faults: plan.faults,
            network: random.fork(),
            power: random.fork(),
            shoppers: random.fork(),
            schedule: Schedule::default(),
            store,
            cards: Random::new(plan.seed ^ REAL_CARD_SALT),
            clocks: Random::new(plan.seed ^ CLOCK_SALT),
            hosts,
            terminals: Vec::new(),
            peers: Vec::new(),
            refundable: Vec::new(),
            authorised: Vec::new(),
            ending: Vec::new(),
            completed: Vec::new(),
            administration: vault.speaks_to(Caller::Administration),
            key_orders: Vec::new(),
            key_orders_made: 0,
            master_key_delivered_ms: Vec::new(),
            settled_master_keys: Vec::new(),
            master_key_versions: Vec::new(),
            master_keys_replaced: 0,
            connections: BTreeMap::new(),
            connections_made: 0,
            begun: 0,
            healing_since_ms: None,
            resting_since_ms: None,
            copies_at_work: BTreeSet::new(),
            closed_until_ms: 0,
            holidays: 0,
            auditor: Auditor::default(),
            witness: Witness::new(lab::SINGLE_LIMIT_MINOR),
            slips: BTreeMap::new(),
            history: Sha256::new(),
            host_clock: host_clock::HostClock::default(),
            buyers: None,
            script,
            listener: None,
            stops_at: Until::End,
            lines_told: 0,
            statement_lines_read: 0,
            events: 0,
            outcomes: BTreeMap::new(),
            slips_by_title: BTreeMap::new(),
        };
        let terminals = if world.script.is_some() { 1 } else { random.between(2, 8) };
        world.set_up(&vault, terminals, &mut random)?;
        Ok(world)
    }

    fn now(&self) -> Tick {
        let monotonic_ms = self.schedule.now_ms();
        Tick { monotonic_ms, wall_ms: WALL_START_MS + monotonic_ms }
    }

    fn note(&mut self, what: &str, bytes: &[u8]) {
        self.history.update(self.schedule.now_ms().to_be_bytes());
        self.history.update(what.as_bytes());
        self.history.update(bytes);
        if self.listener.is_some() {
            self.tell(match what {
                "request" => Told::Request(bytes.to_vec()),
                "response" => Told::Response(bytes.to_vec()),
                _ => Told::Note(match core::str::from_utf8(bytes) {
                    Ok(text) if !text.chars().any(char::is_control) => format!("{what} {text}").trim_end().to_owned(),
                    _ => format!("{what} {bytes:?}"),
                }),
            });
        }
    }

    fn tell(&mut self, what: Told) {
        let (event, at_ms) = (self.events, self.schedule.now_ms());
        if let Some(listener) = &mut self.listener {
            listener(Step { event, at_ms, what });
        }
    }

    /// Tells every step from now on.
    pub(crate) fn listen(&mut self, listener: Listener, until: Until) {
        self.listener = Some(listener);
        self.stops_at = until;
    }

    fn tell_postings(&mut self) {
        if self.listener.is_none() {
            return;
        }
        for line in self.store.statement().get(self.lines_told..).unwrap_or_default().to_vec() {
            self.tell(Told::Posting(line));
        }
        self.lines_told = self.store.statement().len();
    }

    fn tell_claims(&mut self) {
        for (terminal, batch, trace, claim) in self.auditor.claims() {
            self.tell(Told::Claim(terminal, batch, trace, claim));
        }
    }

    pub(crate) fn hash(&self) -> String {
        self.history.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Runs the safety phase, then heals and demands rest.
    pub(crate) fn run(&mut self) {
        while let Some(happening) = self.schedule.next() {
            self.events += 1;
            self.happen(happening);
            self.read_statement();
            if self.stops_here() {
                return;
            }
            // Whoever listens wants to hear a planted bug to its end.
            if self.plan.canary.is_some() && self.listener.is_none() && !self.auditor.violations().is_empty() {
                return;
            }
            if self.begun >= self.plan.transactions && self.healing_since_ms.is_none() {
                self.heal();
            }
            let Some(since) = self.healing_since_ms else { continue };
            if self.has_rested() {
                break;
            }
            if self.schedule.now_ms() > since + HEALING_MS_MAX {
                self.auditor.report("L1", "not at rest six hours after the last fault".to_owned());
                break;
            }
        }
        self.audit_at_rest();
    }

    fn stops_here(&self) -> bool {
        match self.stops_at {
            Until::End => false,
            Until::Event(last) => self.events >= last,
            Until::Violation => !self.auditor.violations().is_empty(),
        }
    }

    fn read_statement(&mut self) {
        let lines = self.store.statement().len();
        if lines == self.statement_lines_read {
            return;
        }
        self.statement_lines_read = lines;
        self.tell_postings();
        self.auditor.read_statement(self.store.statement(), self.host_reading());
        for (invariant, detail) in self.witness.read_statement(self.store.statement()) {
            self.auditor.report(invariant, detail);
        }
    }

    fn hear(&mut self, finding: Option<Finding>) {
        if let Some((invariant, detail)) = finding {
            self.auditor.report(invariant, detail);
        }
    }

    fn heal(&mut self) {
        self.healing_since_ms = Some(self.schedule.now_ms());
        self.faults = Faults::NONE;
    }

    /// At rest for longer than any message can still be under way.
    fn has_rested(&mut self) -> bool {
        let now_ms = self.schedule.now_ms();
        self.resting_since_ms = if self.at_rest() { self.resting_since_ms.or(Some(now_ms)) } else { None };
        self.resting_since_ms.is_some_and(|since| now_ms > since + UNDER_WAY_MS_MAX)
    }

    fn at_rest(&self) -> bool {
        let is_order = |pending: &till::Pending| matches!(pending, till::Pending::Order { .. });
        let rests = |index: usize, till: &till::Till| {
            let may_ask = self.is_refused_copy(index);
            (till.is_idle() || may_ask)
                && till.pending().iter().all(|pending| may_ask && is_order(pending))
                && till.state().open_intent.is_none()
        };
        let mut terminals = self.terminals.iter().enumerate();
        self.hosts.iter().all(|host| host.up)
            && terminals.all(|(index, terminal)| terminal.till().is_some_and(|till| rests(index, till)))
    }

    /// The host lets only one of two devices with one serial number sign in. The other goes on asking, and never has a payment.
    fn is_refused_copy(&self, index: usize) -> bool {
        self.has_copied_serial() && index < 2 && !self.copies_at_work.contains(&index)
    }

    fn audit_at_rest(&mut self) {
        for index in 0..self.terminals.len() {
            self.sync_claims(index);
            if !self.terminals[index].replays_to_itself() {
                self.auditor.report("S1", format!("terminal {index} is not what its journal says"));
            }
        }
        let decided = self.store.decided();
        let forgotten: Vec<String> = self
            .auditor
            .never_forgotten()
            .filter(|name| !decided.contains(*name))
            .map(|name| format!("{name:?}"))
            .collect();
        for name in forgotten {
            self.auditor.report("S2", format!("the host does not know any more that it decided {name}"));
        }
        for (currency, sum) in self.store.sums() {
            if sum != 0 {
                self.auditor.report("M10", format!("currency {currency} sums to {sum}"));
            }
        }
        self.auditor.at_rest();
        self.tell_claims();
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Terminal { index, life, waiting } => self.terminal_handles(index, life, waiting),
            Happening::TerminalWake { index, life } => self.terminal_wakes(index, life),
            Happening::TerminalRestart { index } => self.power_on(index),
            Happening::Shopper { index, turn } => self.shopper_acts(index, turn),
            Happening::RequestArrives { host, connection, frame } => self.request_arrives(host, connection, frame),
            Happening::ResponseArrives { index, life, exchange, frame } => {
                let frame = OpaqueFrame::new(frame);
                self.terminal_handles(index, life, Waiting::Till(till::Event::LinkResponse { exchange, frame }));
            }
            Happening::LineFails { index, life, exchange, sent_any } => {
                self.terminal_handles(index, life, Waiting::Till(till::Event::LinkFailed { exchange, sent_any }));
            }
            Happening::HostDecide { host, life } => self.host_decides(host, life),
            Happening::HostWrite { host, life } => self.host_writes(host, life),
            Happening::HostWritten { host, life, done } => self.host_has_written(host, life, done),
            Happening::HostAnswer { host, life, address, event } => {
                if self.hosts[host].life == life && self.hosts[host].up {
                    self.hosts[host].answer(address, event);
                    self.plan_host(host, 0);
                }
            }
            Happening::KeyRotation { index } => self.rotate_keys(index),
            Happening::MasterKeyConfirmed { index, order } => self.master_key_confirmed(index, order),
            Happening::BuyerPays(paying) => self.buyer_pays(&paying),
            Happening::HostRestart { host } => self.host_restarts(host),
        }
    }

    /// With every fault healed and everything at rest, each terminal closes its batch.
    pub(crate) fn close_batches(&mut self) {
        for index in 0..self.terminals.len() {
            let life = self.terminals[index].life;
            self.soon(index, life, 1, Waiting::Till(till::Event::Operator(OperatorCommand::Settle)));
        }
        let end_ms = self.schedule.now_ms() + CLOSING_MS;
        while self.schedule.now_ms() < end_ms
            && let Some(happening) = self.schedule.next()
        {
            self.happen(happening);
            self.read_statement();
        }
    }

    pub(crate) fn store(&mut self) -> &mut SimulatedStore {
        &mut self.store
    }

    pub(crate) fn peers(&self) -> &[PeerIdentity] {
        &self.peers
    }
}

/// What the hosts of a world are told.
fn host_config(plan: &Plan, scripted: bool) -> anyhow::Result<HostConfig> {
    let mut parameters = test_parameters();
    offline_sales::take_unproved(&mut parameters);
    let mut config = HostConfig::new(InstitutionId::parse("48020000")?, parameters);
    let policy = &mut config.policies.standard;
    match plan.canary {
        Some(Canary::LooseBound) => policy.completion_percent = LOOSE_PERCENT,
        Some(Canary::HoldsFallEarly) => policy.authorisation_days = 0,
        None if !scripted => policy.rules = risk_rules::use_in(plan.seed),
        _ => {}
    }
    Ok(config)
}

fn is_unsealed(plan: &Plan) -> bool {
    !plan.seed.is_multiple_of(SEALED_WORLDS)
}

pub(crate) fn make_master_key(
    keys: &mut Keys,
    terminal: TerminalId,
    version: u32,
) -> anyhow::Result<keys::KeyBlock<keys::TerminalMaster>> {
    let make = Command::GenerateKey {
        usage: keys::Usage::TerminalMaster,
        algorithm: keys::Algorithm::TdesDouble,
        owner: keys::Owner::of_terminal(terminal),
        version,
        exportable: true,
    };
    match keys.execute(&[make]).pop() {
        Some(Reply::KeyCreated { key, .. }) => Ok(key.typed()?),
        _ => anyhow::bail!("no master key"),
    }
}
