//! The single driver: order of things, halting, and power cuts at every line.

use crate::support::{Adder, Effect, Event, MemoryStore, at, id};
use driver::{Clock, Halt, Interrupt, Line, Port, SingleDriver, Uninterrupted};
use machine::store::{AccountName, Append, Journal, Outcome, Store, StoreFault};
use machine::{MachineId, Tick};
use types::Currency;

fn open(store: &mut dyn Store) -> SingleDriver<Adder> {
    SingleDriver::open(
        store,
        id("till"),
        |_| false,
        |records, last| {
            assert_eq!(records.len() as u64, last);
            Adder::restore(id("till"), &records, true)
        },
    )
    .unwrap()
}

struct CutAt(Line);

impl Interrupt for CutAt {
    fn cut(&mut self, line: Line) -> bool {
        line == self.0
    }
}

/// Answers every question with twice what it is about.
#[derive(Default)]
struct Doubling {
    totals: Vec<u64>,
}

impl Port<Adder> for Doubling {
    fn run(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::Question { ticket, about } => vec![Event::Answer { ticket, value: about * 2 }],
            Effect::Total(total) => {
                self.totals.push(total);
                vec![]
            }
            _ => vec![],
        }
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&mut self) -> Tick {
        at(0)
    }
}

#[test]
fn a_step_is_durable_before_its_effects_are_seen() {
    let mut store = MemoryStore::default();
    let mut till = open(&mut store);
    let effects = till.step(&mut store, at(0), Event::Add(4)).unwrap();
    assert_eq!((effects, store.journals[&id("till")].len()), (vec![Effect::Total(4)], 1));
    assert_eq!(open(&mut store).machine().total(), 4);
}

#[test]
fn settling_runs_effects_until_nothing_is_left() {
    let mut store = MemoryStore::default();
    let mut till = open(&mut store);
    let mut port = Doubling::default();
    let settled = till.settle(&mut store, &mut Fixed, &mut port, Event::Ask(21), &mut Uninterrupted).unwrap();
    assert_eq!((settled.events, port.totals), (2, vec![42]));
    assert_eq!(settled.deadline_ms, None);
}

#[test]
fn a_cut_at_any_line_leaves_either_nothing_or_the_record() {
    let lines = [Line::BeforeStep, Line::BeforeAppend, Line::BeforeRelease, Line::BeforeEffect(0)];
    for (line, expected_total) in lines.into_iter().zip([0, 0, 4, 4]) {
        let mut store = MemoryStore::default();
        let mut till = open(&mut store);
        let mut port = Doubling::default();
        let halt = till.settle(&mut store, &mut Fixed, &mut port, Event::Add(4), &mut CutAt(line)).unwrap_err();
        assert!(matches!(halt, Halt::Interrupted(at) if at == line));
        assert_eq!(port.totals, Vec::<u64>::new(), "{line:?}: no effect ran");
        assert!(matches!(till.step(&mut store, at(0), Event::Add(1)), Err(Halt::Stopped)), "a dead driver stays dead");
        assert_eq!(open(&mut store).machine().total(), expected_total, "{line:?}");
    }
}

#[test]
fn another_writer_halts_the_driver() {
    let mut store = MemoryStore::default();
    let mut till = open(&mut store);
    store.journals.get_mut(&id("till")).unwrap().push(9_u64.to_be_bytes().to_vec());
    let halt = till.step(&mut store, at(0), Event::Add(1)).unwrap_err();
    assert!(matches!(halt, Halt::Refused { outcome: Outcome::Conflict, .. }));
    assert!(matches!(till.step(&mut store, at(0), Event::Add(1)), Err(Halt::Stopped)));
}

struct Broken;

impl Store for Broken {
    fn append(&mut self, _: &[Append]) -> Result<Vec<Outcome>, StoreFault> {
        Err(StoreFault::Medium("disk full".to_owned()))
    }
    fn load(&mut self, _: MachineId) -> Result<Journal, StoreFault> {
        Ok(Journal::default())
    }
    fn find(&mut self, _: &str, _: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(None)
    }
    fn balance_minor(&mut self, _: &AccountName, _: Currency) -> Result<i64, StoreFault> {
        Ok(0)
    }
}

#[test]
fn a_store_fault_halts_the_driver() {
    let mut till = open(&mut MemoryStore::default());
    assert!(matches!(till.step(&mut Broken, at(0), Event::Add(1)), Err(Halt::Store(_))));
    assert!(matches!(till.step(&mut MemoryStore::default(), at(0), Event::Add(1)), Err(Halt::Stopped)));
}

#[test]
fn an_unreadable_record_is_named() {
    let mut store = MemoryStore::default();
    store.journals.insert(id("till"), vec![b"short".to_vec()]);
    let opened = SingleDriver::<Adder>::open(
        &mut store,
        id("till"),
        |_| false,
        |records, _| Adder::restore(id("till"), &records, true),
    );
    assert!(matches!(opened, Err(Halt::Unreadable { machine, .. }) if machine == id("till")));
}
