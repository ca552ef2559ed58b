//! The world of one run: terminals, hosts, the network between them, shoppers, and power that fails.

use crate::auditor::{Auditor, Claim};
use crate::canary::Canary;
use crate::faults::Faults;
use crate::host::{Ask, Host, load_card};
use crate::lab::{self, TestIssuer, test_parameters};
use crate::random::Random;
use crate::replay::{Listener, Step, Told, Until};
use crate::schedule::Schedule;
use crate::store::SimulatedStore;
use crate::terminal::{Effect, Terminal, Waiting, Wallet, numbered};
use crate::witness::{Finding, Witness};
use acquirer::{Enrolment, HostConfig, PeerIdentity};
use card::AuthenticationMethod;
use driver::{Address, WorkDone, perform};
use issuer::IssuerConfig;
use keys::{Caller, Command, KeyService, Reply};
use machine::Tick;
use ped::{CardGone, PedConfig, PinEntry};
use pedlink::OpaqueFrame;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use till::{
    AuthorisationReference, CompletionForm, Operation, OperatorCommand, OutcomeStatus, TransactionOutcome,
    TransactionStatus,
};
use types::{
    Amount, BatchNumber, Currency, InstitutionId, LocalDate, MerchantId, Pin, Rrn, SecretBytes, Stan, TerminalId,
};
use vault_soft::{LocalKeys, SoftVault};

/// Wall clock at the beginning of every run: 2026-01-05 08:00 in China, in Unix milliseconds.
const WALL_START_MS: u64 = 1_767_571_200_000;
/// Cards of each terminal's shoppers.
const WALLETS: u64 = 3;
/// Money on each simulated card: 5,000,000.00.
const CARD_MONEY_MINOR: i64 = 500_000_000;
/// Money on the one card that runs dry: 1,000.00.
const POOR_CARD_MONEY_MINOR: i64 = 100_000;
/// Longest healing in virtual milliseconds: six hours.
const HEALING_MS_MAX: u64 = 6 * 3_600_000;
/// Time for every terminal to close its batch, in virtual milliseconds.
const CLOSING_MS: u64 = 600_000;
/// Longer than a message is ever under way, so that no late copy escapes the audit.
const UNDER_WAY_MS_MAX: u64 = 600_000;
/// Sales remembered for refunds, for each terminal.
const REFUNDABLE_MAX: usize = 40;
/// Pre-authorisations remembered for their end, for each terminal.
const AUTHORISATIONS_MAX: usize = 20;
/// Chance in millionths that a cashier forgets nothing: a pre-authorisation that was ended once is ended again.
const ENDED_AGAIN: u32 = 200_000;
/// Chance in millionths that a cashier gives up what could not be ended.
const GIVEN_UP: u32 = 300_000;
/// Completions in per cent of what LooseBound allows.
const LOOSE_PERCENT: u32 = 1_000;
/// Chance in millionths that a cashier gives a command although the till is busy.
const IMPATIENT: u32 = 20_000;
/// Chance in millionths that a shopper who voids brings another card than the one that paid.
const WRONG_CARD: u32 = 100_000;
/// One world in so many has a terminal that explains its payments.
const EXPLAINING_WORLDS: u64 = 16;
/// One world in so many has sealed journals; the others keep the records alone.
const SEALED_WORLDS: u64 = 16;
/// Chance in millionths that a card proves itself by RSA signatures; the others are of the kind that leaves all to the issuer.
const REAL_CARD: u32 = 50_000;
/// Keeps the draw of real cards apart from all others.
const REAL_CARD_SALT: u64 = 0xCA2D_0F25;
/// In one world of so many, two terminals have the same serial number.
const COPIED_SERIAL_WORLDS: u64 = 32;
const COPIED_SERIAL: &str = "SIMULATED0001";
/// One world in so many has days on which no shop opens: time passes that no payment fills.
const HOLIDAY_WORLDS: u64 = 4;
/// Chance in millionths, with each shopper of such a world, that the shops close behind him.
const HOLIDAY: u32 = 2_000;
/// Longest closure in virtual milliseconds: forty days, longer than a hold may stand.
const HOLIDAY_MS_MAX: u64 = 40 * 24 * 3_600_000;
/// Closures of one world: together they end before the cards and the payment system's keys do.
const HOLIDAYS_MAX: u32 = 6;
/// Shops open again within this time after a closure, in virtual milliseconds.
const OPENING_MS_MAX: u64 = 600_000;
/// Longest time between two rotations of a terminal's keys, in virtual milliseconds.
const KEY_ROTATION_MS_MAX: u64 = 400_000;
/// Chance in millionths that a new master key is in the terminal and the host never hears of it.
const KEY_ORDER_BREAKS_OFF: u32 = 250_000;
/// Host processes that share the disk.
const HOSTS: usize = 2;
/// Longest time in which a host that was given a master key has taken or refused it, in virtual milliseconds.
const MASTER_KEY_UNDER_WAY_MS: u64 = 60_000;

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

pub(crate) struct World {
    plan: Plan,
    faults: Faults,
    network: Random,
    power: Random,
    shoppers: Random,
    schedule: Schedule<Happening>,
    store: SimulatedStore,
    cards: Random,
    hosts: Vec<Host>,
    terminals: Vec<Terminal>,
    peers: Vec<PeerIdentity>,
    refundable: Vec<Vec<Refundable>>,
    authorised: Vec<Vec<Authorised>>,
    /// The pre-authorisation that a cashier is about to end.
    ending: Vec<Option<Authorised>>,
    /// Completions with their cards.
    completed: Vec<Vec<(Stan, usize)>>,
    administration: LocalKeys,
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
    listener: Option<Listener>,
    stops_at: Until,
    lines_told: usize,
    pub(crate) events: u64,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
}

struct SeededEntropy(Mutex<Random>);

impl vault_soft::Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), vault_soft::EntropyFailure> {
        let mut random = self.0.lock().map_err(|_| vault_soft::EntropyFailure)?;
        random.fill(bytes);
        Ok(())
    }
}

/// The guess limiter's clock stands still in a simulation: limits that depend on time would depend on the pace of a run.
struct Moving(std::sync::atomic::AtomicU64);

impl vault_soft::Clock for Moving {
    fn now_ms(&self) -> u64 {
        // Each question moves it by a minute, so that no limit is ever reached.
        self.0.fetch_add(60_001, std::sync::atomic::Ordering::Relaxed)
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Self> {
        let mut random = Random::new(plan.seed);
        let entropy = SeededEntropy(Mutex::new(random.fork()));
        let secrets = lab::vault_secrets(&entropy)?;
        let vault = Arc::new(SoftVault::new(secrets, Box::new(entropy), Box::new(Moving(Default::default()))));
        let host_keys = LocalKeys::new(Arc::clone(&vault), Caller::Host);
        let mut config = HostConfig::new(InstitutionId::parse("48020000")?, test_parameters());
        if plan.canary == Some(Canary::LooseBound) {
            config.completion_percent = LOOSE_PERCENT;
        }
        if plan.canary == Some(Canary::HoldsFallEarly) {
            config.authorisation_days = 0;
        }
        let config = Arc::new(config);
        let issuer = IssuerConfig::new(InstitutionId::parse("03080000")?);
        let hosts = (0..HOSTS)
            .map(|_| Host::new(Arc::clone(&config), issuer.clone(), host_keys.clone(), plan.canary))
            .collect();
        let mut world = Self {
            plan,
            faults: plan.faults,
            network: random.fork(),
            power: random.fork(),
            shoppers: random.fork(),
            schedule: Schedule::default(),
            store: SimulatedStore::with(plan.canary).unsealed(is_unsealed(&plan)).with_archive(plan.settles),
            cards: Random::new(plan.seed ^ REAL_CARD_SALT),
            hosts,
            terminals: Vec::new(),
            peers: Vec::new(),
            refundable: Vec::new(),
            authorised: Vec::new(),
            ending: Vec::new(),
            completed: Vec::new(),
            administration: LocalKeys::new(Arc::clone(&vault), Caller::Administration),
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
            listener: None,
            stops_at: Until::End,
            lines_told: 0,
            events: 0,
            outcomes: BTreeMap::new(),
        };
        let terminals = random.between(2, 8);
        world.set_up(&vault, terminals, &mut random)?;
        Ok(world)
    }

    fn set_up(&mut self, vault: &Arc<SoftVault>, terminals: u64, random: &mut Random) -> anyhow::Result<()> {
        let mut administration = LocalKeys::new(Arc::clone(vault), Caller::Administration);
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let mut lab = TestIssuer::set_up(&mut administration, &seed)?;
        for number in 1..=terminals {
            self.enrol(vault, &mut administration, number)?;
            let wallets = self.wallets(&mut administration, &mut lab, number, random)?;
            let peer = self.peers[self.peers.len() - 1];
            let mut till = till::Config::new(peer.terminal, peer.merchant, "SIMULATED SHOP");
            till.duplicate_window_ms = 0;
            // A copied device: the host lets one of the two sign in.
            till.serial = (self.has_copied_serial() && number <= 2).then(|| COPIED_SERIAL.to_owned());
            let mut ped = PedConfig::attended(peer.terminal, peer.merchant);
            // Explanations cost half of a run. They move no money, but the first terminal of some worlds gives them.
            ped.explains = number == 1 && self.plan.seed.is_multiple_of(EXPLAINING_WORLDS);
            let ped_keys = LocalKeys::new(Arc::clone(vault), Caller::Ped);
            self.terminals.push(Terminal::new(till, ped, ped_keys, wallets, self.plan.canary, is_unsealed(&self.plan)));
            self.refundable.push(Vec::new());
            self.authorised.push(Vec::new());
            self.ending.push(None);
            self.completed.push(Vec::new());
            self.key_orders.push(None);
            self.master_key_delivered_ms.push(0);
            self.settled_master_keys.push(None);
            self.master_key_versions.push(1);
        }
        for index in 0..self.terminals.len() {
            self.power_on(index);
            let delay = self.shoppers.between(1, 5_000);
            self.plan_shopper(index, delay);
            self.plan_key_rotation(index);
        }
        Ok(())
    }

    fn has_copied_serial(&self) -> bool {
        self.plan.seed % COPIED_SERIAL_WORLDS == COPIED_SERIAL_WORLDS - 1
    }

    fn enrol(&mut self, _vault: &Arc<SoftVault>, keys: &mut LocalKeys, number: u64) -> anyhow::Result<()> {
        let terminal = TerminalId::parse(&format!("{:08}", 10_000_000 + number))?;
        let merchant = MerchantId::parse(&format!("{:015}", 898_310_000_000_000 + number))?;
        let master_key = make_master_key(keys, terminal, 1)?;
        let enrolment = Enrolment {
            terminal,
            merchant,
            terminal_number: u32::try_from(number)?,
            name: "SIMULATED SHOP".to_owned(),
            master_key,
            currency: Currency::CNY,
            allowed: u32::MAX,
        };
        let taken = self.hosts[0].deliver(terminal, acquirer::Event::Enrol(Box::new(enrolment)));
        anyhow::ensure!(taken, "an empty queue at the start");
        self.peers.push(PeerIdentity { terminal, merchant });
        self.run_host_to_rest(0);
        Ok(())
    }

    /// Before anybody else is there: enrolments are decided and written at once.
    fn run_host_to_rest(&mut self, host: usize) {
        loop {
            let now = self.now();
            self.hosts[host].decide(now, &mut self.store);
            let Some(work) = self.hosts[host].take_work() else { return };
            let done = perform(&work, &mut self.store).expect("a simulated store writes");
            self.hosts[host].finish_work(done, &mut self.store);
        }
    }

    fn wallets(
        &mut self,
        keys: &mut LocalKeys,
        lab: &mut TestIssuer,
        terminal: u64,
        random: &mut Random,
    ) -> anyhow::Result<Vec<Wallet>> {
        let profiles = ["unionpay-sda", "unionpay-sda", "unionpay-debit"];
        let mut wallets = Vec::new();
        for number in 0..WALLETS {
            let profile =
                card::profile(profiles[usize::try_from(number)?]).ok_or_else(|| anyhow::anyhow!("no such profile"))?;
            let mut seed = [0; 32];
            random.fill(&mut seed);
            let card_number = terminal * WALLETS + number;
            let mut personalisation = numbered(profile.personalisation(), card_number, seed);
            if !self.cards.chance(REAL_CARD) {
                let applications = &mut personalisation.applications;
                applications
                    .iter_mut()
                    .for_each(|application| application.authentication.method = AuthenticationMethod::None);
            }
            let mut account = profile.account();
            account.pan = personalisation.applications[0].account.pan.duplicate();
            let money_minor = if number == 0 && terminal == 1 { POOR_CARD_MONEY_MINOR } else { CARD_MONEY_MINOR };
            let is_limited = self.plan.canary != Some(Canary::IssuerWithoutLimit);
            load_card(&mut self.store, lab, keys, &account, usize::try_from(card_number)?, money_minor, is_limited)?;
            let card = card::Card::new(personalisation).map_err(|cause| anyhow::anyhow!("{cause}"))?;
            wallets.push(Wallet { card, pin: profile.pin().expose().to_owned() });
        }
        Ok(wallets)
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
        self.tell_postings();
        self.auditor.read_statement(self.store.statement(), self.schedule.now_ms());
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
        let rests =
            |till: &till::Till| till.is_idle() && till.pending().is_empty() && till.state().open_intent.is_none();
        self.hosts.iter().all(|host| host.up)
            && self.terminals.iter().all(|terminal| terminal.till().is_some_and(rests))
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
            Happening::HostRestart { host } => {
                self.hosts[host].up = true;
                self.note("host up", &[]);
            }
        }
    }

    // --- terminals ---

    fn power_on(&mut self, index: usize) {
        let terminal = &mut self.terminals[index];
        if terminal.up {
            return;
        }
        terminal.power_on();
        let life = terminal.life;
        self.note("power on", &[u8::try_from(index).unwrap_or(u8::MAX)]);
        self.soon(index, life, 1, Waiting::Ped(ped::Event::PowerOn));
        self.soon(index, life, 2, Waiting::Till(till::Event::PowerOn));
        // It is enrolled until it holds its master key, which lies in the vault that all share here.
        if !self.terminals[index].holds_master_key() {
            let key = self.host_master_key(index);
            self.soon(index, life, 1, Waiting::Ped(ped::Event::AdoptMasterKey(key)));
        }
    }

    /// What the host holds by its journal; read again while a newer key may still be on its way to it.
    fn host_master_key(&mut self, index: usize) -> keys::KeyBlock<keys::TerminalMaster> {
        if let Some(key) = &self.settled_master_keys[index] {
            return key.clone();
        }
        let key = self.store_master_key(self.peers[index].terminal);
        if self.schedule.now_ms() > self.master_key_delivered_ms[index] + MASTER_KEY_UNDER_WAY_MS {
            self.settled_master_keys[index] = Some(key.clone());
        }
        key
    }

    fn store_master_key(&mut self, terminal: TerminalId) -> keys::KeyBlock<keys::TerminalMaster> {
        use machine::store::Store;
        let journal = self.store.load(machine::MachineId::of_terminal(terminal)).expect("an enrolled terminal");
        let config = Arc::new(HostConfig::new(InstitutionId::parse("48020000").expect("digits"), test_parameters()));
        let acquirer = acquirer::Acquirer::restore(config, terminal, &journal).expect("a sound journal");
        acquirer.state().enrolment.as_ref().expect("an enrolled terminal").master_key.clone()
    }

    fn soon(&mut self, index: usize, life: u64, delay_ms: u64, waiting: Waiting) {
        self.schedule.after(delay_ms, Happening::Terminal { index, life, waiting });
    }

    fn cut_power(&mut self, index: usize) {
        self.terminals[index].cut();
        self.note("power cut", &[u8::try_from(index).unwrap_or(u8::MAX)]);
        let delay = self.power.between(500, 60_000);
        self.schedule.after(delay, Happening::TerminalRestart { index });
    }

    fn terminal_handles(&mut self, index: usize, life: u64, waiting: Waiting) {
        let now = self.now();
        let terminal = &mut self.terminals[index];
        if terminal.life != life || !terminal.up {
            return;
        }
        let Ok(effects) = terminal.step(now, waiting, &mut self.power, self.faults.terminal_crash) else {
            return self.cut_power(index);
        };
        for effect in effects {
            if self.faults.terminal_crash > 0 && self.power.chance(self.faults.terminal_crash) {
                return self.cut_power(index);
            }
            match effect {
                Effect::Till(effect) => self.run_till(index, life, effect),
                Effect::Ped(effect) => self.run_ped(index, life, effect),
            }
        }
        self.plan_wake(index);
    }

    fn plan_wake(&mut self, index: usize) {
        let terminal = &mut self.terminals[index];
        let Some(deadline) = terminal.deadline_ms() else { return };
        let now_ms = self.schedule.now_ms();
        let planned = terminal.wake_planned_ms.is_some_and(|planned| planned >= now_ms && planned <= deadline);
        if !planned {
            terminal.wake_planned_ms = Some(deadline);
            let life = terminal.life;
            self.schedule.at(deadline, Happening::TerminalWake { index, life });
        }
    }

    fn terminal_wakes(&mut self, index: usize, life: u64) {
        let now_ms = self.schedule.now_ms();
        let terminal = &mut self.terminals[index];
        if terminal.life != life || !terminal.up {
            return;
        }
        terminal.wake_planned_ms = None;
        for waiting in terminal.due(now_ms) {
            self.terminal_handles(index, life, waiting);
        }
        if self.terminals[index].life == life {
            self.plan_wake(index);
        }
    }

    fn run_till(&mut self, index: usize, life: u64, effect: till::Effect) {
        match effect {
            till::Effect::Ped(command) => self.soon(index, life, 1, Waiting::Ped(ped::Event::Till(command))),
            till::Effect::Exchange { exchange, frame, .. } => self.send_request(index, life, exchange, frame.expose()),
            till::Effect::Abandon { .. } | till::Effect::Show(_) => {}
            till::Effect::Print(receipt) => self.slip_printed(&receipt),
            till::Effect::Outcome(outcome) => self.outcome(index, &outcome),
        }
    }

    fn run_ped(&mut self, index: usize, life: u64, effect: ped::Effect) {
        let terminal = &mut self.terminals[index];
        let wallet = &mut terminal.wallets[terminal.in_reader];
        let removed = self.faults.card_removed > 0 && self.shoppers.chance(self.faults.card_removed);
        let (delay_ms, event) = match effect {
            ped::Effect::ToTill(reply) => {
                if let pedlink::PedReply::WorkingKeysLoaded { loaded } = reply {
                    self.working_keys_loaded(index, loaded);
                }
                return self.soon(index, life, 1, Waiting::Till(till::Event::Ped(reply)));
            }
            ped::Effect::MasterKeyInstalled(Ok(_)) => return self.tell_host_of_master_key(index),
            ped::Effect::PowerOnCard => {
                (terminal.card_read, terminal.typed_wrong) = (Some(terminal.in_reader), false);
                (400, ped::Event::CardInserted(wallet.card.reset()))
            }
            ped::Effect::Transmit(_) if removed => (10, ped::Event::CardResponse(Err(CardGone))),
            ped::Effect::Transmit(command) => {
                terminal.card_read = terminal.card_read.filter(|card| *card == terminal.in_reader);
                (15, ped::Event::CardResponse(Ok(wallet.card.apdu(command.expose()))))
            }
            ped::Effect::AskPin { .. } => {
                terminal.typed_wrong |= terminal.mistypes;
                let typed = if terminal.mistypes { "000000" } else { wallet.pin.as_str() };
                (2_000, ped::Event::PinEntered(PinEntry::Pin(Pin::parse(typed).expect("a PIN of a profile"))))
            }
            ped::Effect::ChooseApplication(_) => (500, ped::Event::ApplicationChosen(Some(0))),
            ped::Effect::NeedEntropy { bytes } => {
                let mut drawn = vec![0; usize::from(bytes)];
                self.shoppers.fill(&mut drawn);
                (1, ped::Event::Entropy(SecretBytes::new(drawn)))
            }
            _ => return,
        };
        self.soon(index, life, delay_ms, Waiting::Ped(event));
    }

    // --- keys ---

    fn plan_key_rotation(&mut self, index: usize) {
        let delay = self.shoppers.between(20_000, KEY_ROTATION_MS_MAX);
        self.schedule.after(delay, Happening::KeyRotation { index });
    }

    /// Whatever the terminal is doing, an operator signs it in or gives it a newer master key: terminal first, host second.
    fn rotate_keys(&mut self, index: usize) {
        if self.healing_since_ms.is_some() {
            return;
        }
        if self.schedule.now_ms() < self.closed_until_ms {
            let delay_ms = self.until_opening_ms();
            return self.schedule.after(delay_ms, Happening::KeyRotation { index });
        }
        self.plan_key_rotation(index);
        let life = self.terminals[index].life;
        if self.shoppers.chance(500_000) {
            return self.soon(index, life, 1, Waiting::Till(till::Event::Operator(OperatorCommand::SignIn)));
        }
        let terminal = self.peers[index].terminal;
        let version = self.host_master_key(index).header().version + 1;
        let key = make_master_key(&mut self.administration, terminal, version).expect("a vault that makes keys");
        self.key_orders_made += 1;
        self.key_orders[index] = Some(KeyOrder { order: self.key_orders_made, key: key.clone() });
        self.note("master key", &[u8::try_from(index).unwrap_or(u8::MAX)]);
        let hasty = self.plan.canary == Some(Canary::HastyPed);
        let event = if hasty { ped::Event::AdoptMasterKey(key) } else { ped::Event::StageMasterKey(key) };
        self.soon(index, life, 1, Waiting::Ped(event));
    }

    /// Wherever a rotation broke off, some master key of the terminal fits what the host delivers.
    fn working_keys_loaded(&mut self, index: usize, loaded: bool) {
        let version = self.terminals[index].master_key_version();
        if loaded && self.has_copied_serial() && index < 2 {
            self.copies_at_work.insert(index);
            if self.copies_at_work.len() > 1 {
                self.auditor.report("K2", "two devices with one serial number both have working keys".to_owned());
            }
        }
        if !loaded {
            self.auditor.report("K1", format!("no master key of terminal {index} fits what the host delivers"));
        } else if version > self.master_key_versions[index] {
            self.master_key_versions[index] = version;
            self.master_keys_replaced += 1;
        }
    }

    /// The terminal holds the new key. Sooner or later, or never, the host hears of it.
    fn tell_host_of_master_key(&mut self, index: usize) {
        let Some(order) = self.key_orders[index].as_ref().map(|made| made.order) else { return };
        if !self.shoppers.chance(KEY_ORDER_BREAKS_OFF) {
            let delay = self.shoppers.between(1, KEY_ROTATION_MS_MAX / 4);
            self.schedule.after(delay, Happening::MasterKeyConfirmed { index, order });
        }
    }

    fn master_key_confirmed(&mut self, index: usize, order: u64) {
        let host = usize::from(self.shoppers.chance(500_000));
        if self.key_orders[index].as_ref().is_none_or(|made| made.order != order) || !self.hosts[host].up {
            return;
        }
        let Some(KeyOrder { key, .. }) = self.key_orders[index].take() else { return };
        self.settled_master_keys[index] = None;
        self.master_key_delivered_ms[index] = self.schedule.now_ms();
        let event = acquirer::Event::ReplaceMasterKey(Box::new(key));
        if self.hosts[host].deliver(self.peers[index].terminal, event) {
            self.plan_host(host, 0);
        }
    }

    fn slip_printed(&mut self, receipt: &till::Receipt) {
        if let till::Receipt::Settlement(slip) = receipt {
            self.settlement_printed(slip);
        }
        let till::Receipt::Payment(slip) = receipt else { return };
        if slip.duplicated || slip.copy != till::Copy::Merchant {
            return;
        }
        let name = (slip.terminal.text().to_owned(), slip.batch.parse().unwrap_or(0), slip.stan.number());
        self.read_statement();
        self.note("receipt", format!("{name:?}").as_bytes());
        self.tell(Told::Receipt(name.0.clone(), name.1, name.2));
        self.auditor.receipt(&name);
        let finding = self.witness.receipt(&name, slip.amount.minor());
        self.hear(finding);
    }

    fn settlement_printed(&mut self, slip: &till::SettlementReceipt) {
        let totals = &slip.report.totals;
        let debit_minor = totals.domestic.debit_minor + totals.foreign.debit_minor;
        let credit_minor = totals.domestic.credit_minor + totals.foreign.credit_minor;
        if !slip.duplicated {
            self.slips.insert((slip.terminal, slip.report.batch), (debit_minor, credit_minor));
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

    fn outcome(&mut self, index: usize, outcome: &TransactionOutcome) {
        *self.outcomes.entry(outcome.status.name()).or_default() += 1;
        self.note(
            "outcome",
            format!("{index} {:?} {:?} {:?}", outcome.operation, outcome.status, outcome.stan).as_bytes(),
        );
        self.outcome_heard(index, outcome);
        if outcome.operation == Operation::Sale && outcome.status == OutcomeStatus::Approved {
            self.remember_for_refunds(index, outcome);
        }
        let ends = [Operation::PreAuthorisationVoid, Operation::Completion, Operation::CompletionNotice];
        if ends.contains(&outcome.operation) {
            self.try_end_again(index, outcome);
        }
        if outcome.operation == Operation::PreAuthorisation && outcome.status == OutcomeStatus::Approved {
            self.remember_authorisation(index, outcome);
        }
        if outcome.operation == Operation::Completion && outcome.status == OutcomeStatus::Approved {
            let list = &mut self.completed[index];
            list.truncate(AUTHORISATIONS_MAX);
            if let Some(stan) = outcome.stan {
                list.insert(0, (stan, self.terminals[index].in_reader));
            }
        }
        if outcome.operation != Operation::Reversal {
            let delay = self.shoppers.between(1_000, 15_000);
            self.plan_shopper(index, delay);
        }
    }

    fn outcome_heard(&mut self, index: usize, outcome: &TransactionOutcome) {
        let moves_money = matches!(outcome.operation, Operation::Sale | Operation::Void | Operation::Refund);
        let (Some(stan), Some(batch)) = (outcome.stan, outcome.batch) else { return };
        if moves_money && outcome.status == OutcomeStatus::Approved {
            self.read_statement();
            let name = (self.peers[index].terminal.text().to_owned(), batch.number(), stan.number());
            let finding = self.witness.told_approved(&name);
            self.hear(finding);
        }
    }

    fn remember_for_refunds(&mut self, index: usize, outcome: &TransactionOutcome) {
        let till = self.terminals[index].till();
        let found = outcome.stan.and_then(|stan| till.and_then(|till| till.find(stan)));
        let (Some(rrn), Some(amount), Some(transaction)) = (outcome.rrn, outcome.amount, found) else { return };
        let wallet = self.terminals[index].in_reader;
        let sale = Refundable { stan: transaction.stan, rrn, amount, date: transaction.at.date, wallet };
        let list = &mut self.refundable[index];
        if list.len() >= REFUNDABLE_MAX {
            list.remove(0);
        }
        list.push(sale);
    }

    fn remember_authorisation(&mut self, index: usize, outcome: &TransactionOutcome) {
        let till = self.terminals[index].till();
        let found = outcome.stan.and_then(|stan| till.and_then(|till| till.find(stan)));
        let (Some(code), Some(amount), Some(transaction)) = (outcome.authorisation_code, outcome.amount, found) else {
            return;
        };
        let named = AuthorisationReference { code, date: transaction.at.date };
        let wallet = self.terminals[index].in_reader;
        self.keep_in_view(index, Authorised { named, amount, wallet });
    }

    fn keep_in_view(&mut self, index: usize, authorised: Authorised) {
        let list = &mut self.authorised[index];
        if list.len() >= AUTHORISATIONS_MAX {
            list.remove(0);
        }
        list.push(authorised);
    }

    /// What could not be ended is tried again, until the cashier gives it up.
    fn try_end_again(&mut self, index: usize, outcome: &TransactionOutcome) {
        let Some(authorised) = self.ending[index].take() else { return };
        let ended = matches!(outcome.status, OutcomeStatus::Approved | OutcomeStatus::Queued);
        if !ended && !self.shoppers.chance(GIVEN_UP) {
            self.keep_in_view(index, authorised);
        }
    }

    /// The terminal's own words about what the auditor still holds open.
    fn sync_claims(&mut self, index: usize) {
        let terminal = self.peers[index].terminal.text().to_owned();
        for name in self.auditor.open_intents(&terminal).to_vec() {
            let Some(till) = self.terminals[index].till() else { return };
            let found =
                Stan::new(name.2).and_then(|stan| till.find(stan)).filter(|found| found.batch.number() == name.1);
            if let Some(transaction) = found {
                let claim = claim_of(transaction.status);
                self.auditor.claim(&name, claim);
            }
        }
    }

    // --- shoppers ---

    /// One shopper at a time stands before a terminal: planning the next one sends away whoever was planned before.
    fn plan_shopper(&mut self, index: usize, delay_ms: u64) {
        self.terminals[index].shoppers_planned += 1;
        let turn = self.terminals[index].shoppers_planned;
        self.schedule.after(delay_ms, Happening::Shopper { index, turn });
    }

    fn shopper_acts(&mut self, index: usize, turn: u64) {
        if self.terminals[index].shoppers_planned != turn {
            return;
        }
        if self.is_closed() {
            let delay_ms = self.until_opening_ms();
            return self.plan_shopper(index, delay_ms);
        }
        let Some(till) = self.terminals[index].till() else {
            return self.plan_shopper(index, 5_000);
        };
        // A command given to a busy till waits or is refused: that too must happen at times.
        if !till.is_idle() && !self.shoppers.chance(IMPATIENT) {
            return self.plan_shopper(index, 1_000);
        }
        if self.healing_since_ms.is_some() {
            return;
        }
        let Some(till) = self.terminals[index].till() else { return };
        let hung = till.state().settlement.is_some() || till.status().parked.is_some();
        let command = if hung && self.shoppers.chance(500_000) {
            OperatorCommand::ResumePending
        } else {
            self.draw_command(index)
        };
        let life = self.terminals[index].life;
        self.soon(index, life, 1, Waiting::Till(till::Event::Operator(command)));
        // Should the outcome be lost in a power cut, the next shopper comes anyway.
        self.plan_shopper(index, 400_000);
    }

    /// Whether all shops are closed. Closing is drawn with a shopper, and only while payments are still to come.
    fn is_closed(&mut self) -> bool {
        let has_holidays = self.plan.seed % HOLIDAY_WORLDS == HOLIDAY_WORLDS - 1;
        if has_holidays
            && self.healing_since_ms.is_none()
            && self.holidays < HOLIDAYS_MAX
            && self.shoppers.chance(HOLIDAY)
        {
            self.holidays += 1;
            self.closed_until_ms = self.schedule.now_ms() + self.shoppers.between(1, HOLIDAY_MS_MAX);
        }
        self.healing_since_ms.is_none() && self.schedule.now_ms() < self.closed_until_ms
    }

    fn until_opening_ms(&mut self) -> u64 {
        self.closed_until_ms - self.schedule.now_ms() + self.shoppers.between(1, OPENING_MS_MAX)
    }

    fn draw_command(&mut self, index: usize) -> OperatorCommand {
        let drawn = self.shoppers.below(100);
        let wallet = self.shoppers.below(WALLETS);
        self.terminals[index].in_reader = usize::try_from(wallet).expect("few wallets");
        self.terminals[index].mistypes = self.shoppers.chance(30_000);
        self.begun += 1;
        match drawn {
            0..=9 => self.draw_void(index),
            10..=17 => self.draw_refund(index),
            18..=20 => OperatorCommand::Balance,
            21..=22 => OperatorCommand::Settle,
            23 => OperatorCommand::SignIn,
            24 => OperatorCommand::Echo,
            25 => OperatorCommand::ResumePending,
            // More ends than beginnings, as in a shop: what stays held is what somebody lost sight of.
            26..=33 => self.draw_pre_authorisation(),
            34..=45 => self.draw_end_of_hold(index),
            46..=48 => self.draw_completion_void(index),
            _ => self.draw_sale(index),
        }
    }

    fn draw_sale(&mut self, index: usize) -> OperatorCommand {
        let most = if self.shoppers.chance(10_000) { 3_000_000 } else { 5_000 };
        let minor = self.shoppers.between(1, most);
        self.witness.wished(self.peers[index].terminal.text(), minor);
        OperatorCommand::Sale { amount: Amount::from_minor(minor, Currency::CNY).expect("a small amount") }
    }

    fn draw_pre_authorisation(&mut self) -> OperatorCommand {
        let most = if self.shoppers.chance(10_000) { 3_000_000 } else { 5_000 };
        let minor = self.shoppers.between(1, most);
        OperatorCommand::PreAuthorise { amount: Amount::from_minor(minor, Currency::CNY).expect("a small amount") }
    }

    /// A void or completion of a pre-authorisation of any batch. Some are ended already: the host must refuse them.
    fn draw_end_of_hold(&mut self, index: usize) -> OperatorCommand {
        if self.authorised[index].is_empty() {
            return self.draw_pre_authorisation();
        }
        let place = self.shoppers.below(u64::try_from(self.authorised[index].len()).expect("a short list"));
        let place = usize::try_from(place).expect("a short list");
        let authorised = self.authorised[index][place].clone();
        if !self.shoppers.chance(ENDED_AGAIN) {
            self.ending[index] = Some(self.authorised[index].remove(place));
        }
        if !self.shoppers.chance(WRONG_CARD) {
            self.terminals[index].in_reader = authorised.wallet;
        }
        let authorisation = authorised.named;
        if self.shoppers.chance(300_000) {
            return OperatorCommand::VoidPreAuthorisation { amount: authorised.amount, authorisation };
        }
        // Sometimes above the bound: the host must refuse it.
        let minor = self.shoppers.between(1, authorised.amount.minor() * 120 / 100 + 1);
        let amount = Amount::from_minor(minor, Currency::CNY).expect("a small amount");
        let form = if self.shoppers.chance(300_000) { CompletionForm::Notice } else { CompletionForm::Request };
        OperatorCommand::Complete { amount, authorisation, form }
    }

    fn draw_completion_void(&mut self, index: usize) -> OperatorCommand {
        if self.completed[index].is_empty() {
            return self.draw_end_of_hold(index);
        }
        let (stan, wallet) = *self.shoppers.pick(&self.completed[index]);
        if !self.shoppers.chance(WRONG_CARD) {
            self.terminals[index].in_reader = wallet;
        }
        OperatorCommand::VoidCompletion { stan }
    }

    fn draw_void(&mut self, index: usize) -> OperatorCommand {
        let approved: Vec<Stan> = self.terminals[index].till().map_or_else(Vec::new, |till| {
            let sales = till.transactions().iter().filter(|transaction| {
                transaction.kind == till::TransactionKind::Sale && transaction.status == TransactionStatus::Approved
            });
            sales.map(|transaction| transaction.stan).collect()
        });
        if approved.is_empty() {
            self.draw_sale(index)
        } else {
            let stan = *self.shoppers.pick(&approved);
            let sold = self.refundable[index].iter().rev().find(|sale| sale.stan == stan);
            if let Some(wallet) = sold.map(|sale| sale.wallet).filter(|_| !self.shoppers.chance(WRONG_CARD)) {
                self.terminals[index].in_reader = wallet;
            }
            OperatorCommand::Void { stan }
        }
    }

    fn draw_refund(&mut self, index: usize) -> OperatorCommand {
        if self.refundable[index].is_empty() {
            return self.draw_sale(index);
        }
        let sale = self.shoppers.pick(&self.refundable[index]).clone();
        // Sometimes more than was paid: the host must refuse it.
        let most = sale.amount.minor() + sale.amount.minor() / 10 + 1;
        let minor = self.shoppers.between(1, most);
        self.terminals[index].in_reader = sale.wallet;
        self.witness.wished(self.peers[index].terminal.text(), minor);
        let amount = Amount::from_minor(minor, Currency::CNY).expect("a small amount");
        OperatorCommand::Refund { amount, original_rrn: sale.rrn, original_date: sale.date }
    }

    // --- the network ---

    fn delay(&mut self) -> u64 {
        let late = self.faults.late > 0 && self.network.chance(self.faults.late);
        let ordinary = self.network.between(5, self.faults.delay_ms_max.max(6));
        if late { ordinary + self.network.between(50_000, 400_000) } else { ordinary }
    }

    fn copies(&mut self) -> usize {
        let twice = self.faults.duplicate > 0 && self.network.chance(self.faults.duplicate);
        let sent = if twice { 2 } else { 1 };
        (0..sent).filter(|_| self.faults.loss == 0 || !self.network.chance(self.faults.loss)).count()
    }

    fn send_request(&mut self, index: usize, life: u64, exchange: u64, frame: &[u8]) {
        let frame = &frame[2..];
        self.note("request", frame);
        self.sync_claims(index);
        self.auditor.frame_sent(frame);
        let terminal = &self.terminals[index];
        let first_card = (u64::try_from(index).expect("few terminals") + 1) * WALLETS;
        let card = terminal.card_read.map(|wallet| first_card + u64::try_from(wallet).expect("few wallets"));
        let finding = self.witness.frame_sent(frame, card, terminal.typed_wrong);
        self.hear(finding);
        if self.faults.refused > 0 && self.network.chance(self.faults.refused) {
            return self.schedule.after(50, Happening::LineFails { index, life, exchange, sent_any: false });
        }
        let copies = self.copies();
        for _ in 0..copies {
            self.connections_made += 1;
            let connection = self.connections_made;
            self.connections.insert(connection, (index, life, exchange));
            let second_host = self.faults.conflict > 0 && self.network.chance(self.faults.conflict * 4);
            let delay = self.delay();
            let arrival =
                Happening::RequestArrives { host: usize::from(second_host), connection, frame: frame.to_vec() };
            self.schedule.after(delay, arrival);
        }
        if copies == 0 && self.network.chance(500_000) {
            let delay = self.delay();
            self.schedule.after(delay, Happening::LineFails { index, life, exchange, sent_any: true });
        }
    }

    fn request_arrives(&mut self, host: usize, connection: u64, frame: Vec<u8>) {
        let Some((index, life, exchange)) = self.connections.get(&connection).copied() else { return };
        let peer = self.peers[index];
        let taken = self.hosts[host].up && self.hosts[host].request(connection, peer, frame);
        if taken {
            self.plan_host(host, 0);
        } else {
            self.connections.remove(&connection);
            self.schedule.after(20, Happening::LineFails { index, life, exchange, sent_any: true });
        }
    }

    fn send_response(&mut self, connection: u64, frame: &[u8]) {
        self.read_statement();
        self.note("response", frame);
        self.auditor.reversal_answered(frame);
        self.witness.frame_answered(frame);
        let Some((index, life, exchange)) = self.connections.remove(&connection) else { return };
        let length = u16::try_from(frame.len()).expect("a bounded frame").to_be_bytes();
        let whole = [&length[..], frame].concat();
        let copies = self.copies();
        for _ in 0..copies {
            let delay = self.delay();
            self.schedule.after(delay, Happening::ResponseArrives { index, life, exchange, frame: whole.clone() });
        }
        // A line that breaks behind the request and before the answer.
        if copies == 0 && self.network.chance(500_000) {
            let delay = self.delay();
            self.schedule.after(delay, Happening::LineFails { index, life, exchange, sent_any: true });
        }
    }

    // --- the host ---

    fn plan_host(&mut self, host: usize, at_ms: u64) {
        let at_ms = at_ms.max(self.schedule.now_ms());
        let planned = self.hosts[host].decides_at_ms;
        if planned.is_none_or(|planned| planned > at_ms) {
            self.hosts[host].decides_at_ms = Some(at_ms);
            let life = self.hosts[host].life;
            self.schedule.at(at_ms, Happening::HostDecide { host, life });
        }
    }

    fn host_lives(&mut self, host: usize, life: u64) -> bool {
        if self.hosts[host].life != life || !self.hosts[host].up {
            return false;
        }
        let cut = self.faults.host_crash > 0 && self.power.chance(self.faults.host_crash);
        if cut {
            self.hosts[host].cut();
            self.store.host_cut(self.peers.iter().map(|peer| machine::MachineId::of_terminal(peer.terminal)));
            self.note("host cut", &[]);
            let delay = self.power.between(200, 30_000);
            self.schedule.after(delay, Happening::HostRestart { host });
        }
        !cut
    }

    fn host_decides(&mut self, host: usize, life: u64) {
        if !self.host_lives(host, life) {
            return;
        }
        let now = self.now();
        self.hosts[host].decides_at_ms = None;
        let asks = self.hosts[host].decide(now, &mut self.store);
        self.carry_out(host, life, asks);
        if self.hosts[host].life != life {
            return;
        }
        let delay = self.power.between(0, 4);
        self.schedule.after(delay, Happening::HostWrite { host, life });
        if let Some(deadline) = self.hosts[host].deadline_ms() {
            self.plan_host(host, deadline);
        }
    }

    fn host_writes(&mut self, host: usize, life: u64) {
        if !self.host_lives(host, life) {
            return;
        }
        let Some(work) = self.hosts[host].take_work() else { return };
        let done = perform(&work, &mut self.store).expect("a simulated store writes");
        self.schedule.after(1, Happening::HostWritten { host, life, done });
    }

    fn host_has_written(&mut self, host: usize, life: u64, done: WorkDone) {
        if !self.host_lives(host, life) {
            return;
        }
        let asks = self.hosts[host].finish_work(done, &mut self.store);
        self.carry_out(host, life, asks);
        if self.hosts[host].life == life {
            self.plan_host(host, 0);
        }
    }

    fn carry_out(&mut self, host: usize, life: u64, asks: Vec<Ask>) {
        for ask in asks {
            if !self.host_lives(host, life) {
                return;
            }
            match ask {
                Ask::Respond { connection, frame } => self.send_response(connection, &frame),
                Ask::Note(text) => self.note("host", text.as_bytes()),
                Ask::Answer { address, event } => self.answer_later(host, life, address, event),
            }
        }
    }

    fn answer_later(&mut self, host: usize, life: u64, address: Address, event: acquirer::Event) {
        let outage = matches!(event, acquirer::Event::KeyReplies { .. } | acquirer::Event::IssuerReply { .. });
        if outage && self.faults.key_outage > 0 && self.network.chance(self.faults.key_outage) {
            return;
        }
        self.schedule.after(1, Happening::HostAnswer { host, life, address, event });
    }
}

fn is_unsealed(plan: &Plan) -> bool {
    !plan.seed.is_multiple_of(SEALED_WORLDS)
}

fn make_master_key(
    keys: &mut LocalKeys,
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

fn claim_of(status: TransactionStatus) -> Claim {
    match status {
        TransactionStatus::Sent | TransactionStatus::Reversing | TransactionStatus::Queued => Claim::Open,
        TransactionStatus::Approved => Claim::Approved,
        TransactionStatus::Declined | TransactionStatus::Cancelled => Claim::NotDone,
        TransactionStatus::Reversed => Claim::Reversed,
    }
}
