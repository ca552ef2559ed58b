//! A terminal in a simulated world: the product's till and PED on simulated disks, with a simulated hand and card.

use crate::canary::Canary;
use crate::plant::Plant;
use crate::random::Random;
use crate::store::SimulatedStore;
use crate::vault::Keys;
use card::{Card, Personalisation};
use driver::{Halt, Interrupt, Line, SingleDriver};
use keys::{KeyBlock, TerminalMaster};
use machine::Tick;
use machine::store::StoreFault;
use memory_disk::When;
use ped::Ped;
use till::Till;

/// How soon a shopper looks again at a busy till at first, in milliseconds.
pub const LOOKS_AGAIN_MS_MIN: u64 = 1_000;
/// Power cuts after which a terminal gives no explanations any more: they cost more time than the payments.
const EXPLAINING_LIVES: u64 = 20;

/// Something that waits to be handled by one of the two machines.
#[derive(Debug)]
pub enum Waiting {
    /// By the till.
    Till(till::Event),
    /// By the PED.
    Ped(ped::Event),
}

/// What came out of a step, to be carried out one by one.
pub enum Effect {
    /// Of the till.
    Till(till::Effect),
    /// Of the PED.
    Ped(ped::Effect),
}

/// A shopper's card with the PIN that its owner knows.
pub struct Wallet {
    /// The card.
    pub card: Card,
    /// Its right PIN.
    pub pin: String,
}

/// One till with its PED.
pub struct Terminal {
    /// Counts power cuts: what belongs to an earlier life is void.
    pub life: u64,
    /// Whether it has power.
    pub up: bool,
    /// Its shoppers' cards.
    pub wallets: Vec<Wallet>,
    /// Which card is in the reader.
    pub in_reader: usize,
    /// Whether the shopper types a wrong PIN this time.
    pub mistypes: bool,
    /// How far its clock is from the right time, in milliseconds.
    pub clock_off_ms: i64,
    /// When the machines want to be woken next, as planned.
    pub wake_planned_ms: Option<u64>,
    /// Counts shoppers planned: only the newest one comes.
    pub shoppers_planned: u64,
    /// How long the shopper who finds the till busy waits before he looks again, in milliseconds.
    pub looks_again_ms: u64,
    /// Number of the card that the PED has powered, as long as it is the same one.
    pub card_read: Option<usize>,
    /// Whether the shopper typed a wrong PIN for it.
    pub typed_wrong: bool,
    plant: Plant,
    till_config: till::Config,
    ped_config: ped::PedConfig,
    vault: Keys,
    till: Option<SingleDriver<Till>>,
    ped: Option<SingleDriver<Ped>>,
    till_journal: SimulatedStore,
    ped_journal: SimulatedStore,
}

struct Dice<'a> {
    random: &'a mut Random,
    millionths: u32,
}

impl Interrupt for Dice<'_> {
    fn cut(&mut self, _: Line) -> bool {
        self.millionths > 0 && self.random.chance(self.millionths)
    }
}

impl Terminal {
    /// A terminal fresh from the box, without power.
    pub fn new(
        till_config: till::Config,
        ped_config: ped::PedConfig,
        vault: Keys,
        wallets: Vec<Wallet>,
        canary: Option<Canary>,
        unsealed: bool,
    ) -> Self {
        Self {
            card_read: None,
            typed_wrong: false,
            plant: Plant::new(canary),
            life: 0,
            up: false,
            wallets,
            in_reader: 0,
            mistypes: false,
            clock_off_ms: 0,
            wake_planned_ms: None,
            shoppers_planned: 0,
            looks_again_ms: LOOKS_AGAIN_MS_MIN,
            till_config,
            ped_config,
            vault,
            till: None,
            ped: None,
            till_journal: SimulatedStore::default().unsealed(unsealed),
            ped_journal: SimulatedStore::default().unsealed(unsealed),
        }
    }

    /// Its disks are real stores instead.
    pub fn set_journals(&mut self, till: SimulatedStore, ped: SimulatedStore) {
        (self.till_journal, self.ped_journal) = (till, ped);
    }

    /// What full checks of its real stores find wrong.
    pub fn findings(&self) -> Vec<String> {
        [self.till_journal.findings(), self.ped_journal.findings()].concat()
    }

    /// Switches it on: both machines come from their journals. `Err` means that the power went again.
    pub fn power_on(&mut self) -> Result<(), ()> {
        let (till_config, mut ped_config) = (self.till_config.clone(), self.ped_config.clone());
        ped_config.explains &= self.life < EXPLAINING_LIVES;
        let plant = &self.plant;
        self.till_journal.reboot().map_err(drop)?;
        self.ped_journal.reboot().map_err(drop)?;
        let till = SingleDriver::open(
            &mut self.till_journal,
            Till::machine_id(),
            till::Record::is_snapshot,
            |records, last| Till::restore(till_config, plant.till_remembers(records), last),
        );
        let vault = Box::new(self.vault.clone());
        let ped =
            SingleDriver::open(&mut self.ped_journal, Ped::machine_id(), ped::Record::is_snapshot, |records, last| {
                Ped::restore(ped_config, vault, plant.ped_remembers(records), last)
            });
        self.till = sound(till)?;
        self.ped = sound(ped)?;
        self.up = true;
        self.wake_planned_ms = None;
        Ok(())
    }

    /// Loses power: everything in memory is gone, and of what was not yet synced on its disks more or less.
    pub fn cut(&mut self, left: When) {
        self.till_journal.lose_power(left);
        self.ped_journal.lose_power(left);
        self.life += 1;
        self.up = false;
        self.till = None;
        self.ped = None;
        let forgotten = if self.plant.is(Canary::ForgetfulDisk) {
            1
        } else if self.plant.is(Canary::ForgetsThree) {
            3
        } else {
            0
        };
        (0..forgotten).for_each(|_| self.till_journal.forget_last(Till::machine_id()));
    }

    /// Whether the PED was enrolled.
    pub fn holds_master_key(&self) -> bool {
        self.ped.as_ref().is_some_and(|ped| ped.machine().holdings().master_key.is_some())
    }

    /// Whether the PED holds this master key, in use or for later.
    pub fn holds(&self, key: &KeyBlock<TerminalMaster>) -> bool {
        let holdings = self.ped.as_ref().map(|ped| ped.machine().holdings());
        holdings.is_some_and(|held| held.master_key.iter().chain(&held.staged_master_keys).any(|other| other == key))
    }

    /// Version of the PED's present master key; 0 without power or key.
    pub fn master_key_version(&self) -> u32 {
        let key = self.ped.as_ref().and_then(|ped| ped.machine().holdings().master_key.as_ref());
        key.map_or(0, |key| key.header().version)
    }

    /// The till, while there is power.
    pub fn till(&self) -> Option<&Till> {
        self.till.as_ref().map(SingleDriver::machine)
    }

    /// Steps one machine. `Err` means that the power went.
    pub fn step(&mut self, now: Tick, event: Waiting, random: &mut Random, crash: u32) -> Result<Vec<Effect>, ()> {
        let mut dice = Dice { random, millionths: crash };
        let event = match event {
            Waiting::Till(event) => match self.plant.till_event(event) {
                Some(event) => Waiting::Till(event),
                None => return Ok(Vec::new()),
            },
            event => event,
        };
        let plant = &self.plant;
        let result = match (event, &mut self.till, &mut self.ped) {
            (Waiting::Till(event), Some(till), _) => {
                let effects = till.step_interruptibly(&mut self.till_journal, now, event, &mut dice);
                effects.map(|effects| plant.till_effects(effects).into_iter().map(Effect::Till).collect())
            }
            (Waiting::Ped(event), _, Some(ped)) => ped
                .step_interruptibly(&mut self.ped_journal, now, event, &mut dice)
                .map(|effects| effects.into_iter().map(Effect::Ped).collect()),
            _ => Ok(Vec::new()),
        };
        match result {
            Ok(effects) => Ok(effects),
            Err(Halt::Interrupted(_) | Halt::Store(StoreFault::Medium(_))) => Err(()),
            Err(other) => panic!("a terminal stopped: {other}"),
        }
    }

    fn till_deadline_ms(&self) -> Option<u64> {
        let deadline_ms = self.till.as_ref().and_then(SingleDriver::deadline_ms);
        deadline_ms.filter(|_| !self.plant.is(Canary::NeverWakes))
    }

    /// When either machine wants to be woken.
    pub fn deadline_ms(&self) -> Option<u64> {
        let till = self.till_deadline_ms();
        let ped = self.ped.as_ref().and_then(SingleDriver::deadline_ms);
        [till, ped].into_iter().flatten().min()
    }

    /// Wake-up events that are due.
    pub fn due(&self, now_ms: u64) -> Vec<Waiting> {
        let due = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now_ms);
        let mut events = Vec::new();
        if due(self.ped.as_ref().and_then(SingleDriver::deadline_ms)) {
            events.push(Waiting::Ped(ped::Event::Wake));
        }
        if due(self.till_deadline_ms()) {
            events.push(Waiting::Till(till::Event::Wake));
        }
        events
    }

    /// A machine's state is exactly what replaying its journal gives: compares them.
    pub fn replays_to_itself(&mut self) -> bool {
        let Some(live) = self.till.as_ref().map(|till| till.machine().state()) else { return true };
        let config = self.till_config.clone();
        let replayed = SingleDriver::open(
            &mut self.till_journal,
            Till::machine_id(),
            till::Record::is_snapshot,
            |records, last| Till::restore(config, records, last),
        );
        replayed.expect("a simulated journal is sound").machine().state() == live
    }
}

/// A machine that was opened, or no power; a journal that cannot be read is a bug.
fn sound<M: machine::Machine>(opened: Result<SingleDriver<M>, Halt>) -> Result<Option<SingleDriver<M>>, ()>
where
    M::Record: machine::wire::Encode,
{
    match opened {
        Ok(driver) => Ok(Some(driver)),
        Err(Halt::Store(StoreFault::Medium(_))) => Err(()),
        Err(other) => panic!("a simulated journal is sound: {other}"),
    }
}

/// A card of a profile with a number of its own. The last digit is made to fit.
pub fn numbered(mut personalisation: Personalisation, number: u64, seed: [u8; 32]) -> Personalisation {
    for application in &mut personalisation.applications {
        let body = format!("622262{number:012}");
        let check = types::luhn_check_digit(&body).expect("digits");
        application.account.pan = types::Pan::parse(&format!("{body}{check}")).expect("19 digits");
    }
    if let Some(random_seed) = types::Secret::copy_from(&seed[..card::SEED_BYTES]) {
        personalisation.random_seed = random_seed;
    }
    personalisation
}
