//! The host driver: groups, queues, refusals, conflicts, wake-ups, forgetting.

use crate::support::{Adders, Effect, Event, MemoryStore, at, id};
use driver::{Address, HostDriver, Overloaded, QUEUED_EVENTS_MAX, perform};
use machine::MachineId;

struct Bench {
    driver: HostDriver<Adders>,
    store: MemoryStore,
    effects: Vec<(Address, Effect)>,
}

impl Bench {
    fn new() -> Self {
        Self { driver: HostDriver::new(Adders), store: MemoryStore::default(), effects: vec![] }
    }

    fn deliver(&mut self, name: &str, event: Event) {
        self.driver.deliver(id(name), event).unwrap();
    }

    fn run(&mut self) {
        self.driver.run(at(0), &mut self.effects);
    }

    /// One round on the store, if there is one to do.
    fn round(&mut self) -> bool {
        self.run();
        let Some(work) = self.driver.take_work() else { return false };
        let done = perform(&work, &mut self.store).unwrap();
        self.driver.finish_work(done, &mut self.effects).unwrap();
        self.run();
        true
    }

    fn settle(&mut self) -> Vec<(MachineId, Effect)> {
        while self.round() {}
        self.taken()
    }

    fn taken(&mut self) -> Vec<(MachineId, Effect)> {
        std::mem::take(&mut self.effects).into_iter().map(|(address, effect)| (address.machine(), effect)).collect()
    }
}

#[test]
fn a_machine_is_loaded_at_its_first_event_and_starts_with_power_on() {
    let mut bench = Bench::new();
    bench.store.journals.insert(id("a"), vec![7_u64.to_be_bytes().to_vec()]);
    bench.deliver("a", Event::Add(3));
    bench.run();
    assert_eq!(bench.taken(), [], "nothing happens before its journal is read");
    assert_eq!(bench.settle(), [(id("a"), Effect::Hello(7)), (id("a"), Effect::Total(10))]);
}

#[test]
fn effects_leave_only_after_the_round_and_one_round_carries_many_machines() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..50).map(|number| format!("m{number:02}")).collect();
    names.iter().for_each(|name| bench.deliver(name, Event::Add(1)));
    bench.round();
    bench.taken();
    let work = bench.driver.take_work().unwrap();
    assert_eq!(work.appends.len(), 50);
    assert_eq!(bench.taken(), [], "decided, but not durable");
    let done = perform(&work, &mut bench.store).unwrap();
    assert_eq!(bench.taken(), [], "durable, but the driver has not been told");
    bench.driver.finish_work(done, &mut bench.effects).unwrap();
    let expected: Vec<_> = names.iter().map(|name| (id(name), Effect::Total(1))).collect();
    assert_eq!(bench.taken(), expected, "in the order of the group");
    assert_eq!(bench.store.groups.iter().filter(|size| **size == 50).count(), 1);
}

#[test]
fn events_wait_while_an_append_is_outstanding_and_the_next_group_gathers_meanwhile() {
    let mut bench = Bench::new();
    bench.deliver("a", Event::Add(1));
    bench.round();
    let work = bench.driver.take_work().unwrap();
    bench.deliver("a", Event::Add(2));
    bench.deliver("b", Event::Add(5));
    bench.run();
    assert!(bench.driver.take_work().is_none(), "one round at a time");
    let done = perform(&work, &mut bench.store).unwrap();
    bench.driver.finish_work(done, &mut bench.effects).unwrap();
    let totals: Vec<_> = bench.settle().into_iter().filter(|(_, effect)| matches!(effect, Effect::Total(_))).collect();
    assert_eq!(totals, [(id("a"), Effect::Total(1)), (id("a"), Effect::Total(3)), (id("b"), Effect::Total(5))]);
}

#[test]
fn a_refused_append_kills_its_effects_and_the_machine_decides_again() {
    let mut bench = Bench::new();
    bench.deliver("a", Event::Add(5000));
    bench.settle();
    bench.deliver("b", Event::Add(5000));
    bench.deliver("c", Event::Add(6000));
    let effects = bench.settle();
    assert!(effects.contains(&(id("b"), Effect::Refused(5000))));
    assert!(!effects.contains(&(id("b"), Effect::Total(5000))), "nobody sees what was refused");
    assert!(effects.contains(&(id("c"), Effect::Total(6000))), "the others of the group are not touched");
    assert_eq!(bench.store.journals[&id("b")].len(), 0);
}

#[test]
fn a_conflict_reloads_the_machine_and_steps_its_request_again() {
    let mut bench = Bench::new();
    bench.deliver("a", Event::Add(1));
    bench.settle();
    bench.store.journals.get_mut(&id("a")).unwrap().push(100_u64.to_be_bytes().to_vec());
    bench.deliver("a", Event::Add(2));
    assert_eq!(bench.settle(), [(id("a"), Effect::Hello(101)), (id("a"), Effect::Total(103))]);
    assert_eq!(bench.store.journals[&id("a")].len(), 3);
}

#[test]
fn an_answer_to_an_earlier_life_is_dropped() {
    let mut bench = Bench::new();
    bench.deliver("a", Event::Ask(9));
    while bench.round() {}
    let (old_life, _) =
        bench.effects.iter().find(|(_, effect)| matches!(effect, Effect::Question { .. })).unwrap().clone();
    bench.taken();
    bench.store.journals.get_mut(&id("a")).unwrap().push(100_u64.to_be_bytes().to_vec());
    bench.deliver("a", Event::Add(2));
    bench.run();
    let work = bench.driver.take_work().unwrap();
    bench.driver.answer(old_life, Event::Answer { ticket: 1, value: 777 });
    let done = perform(&work, &mut bench.store).unwrap();
    bench.driver.finish_work(done, &mut bench.effects).unwrap();
    while bench.round() {}
    let (new_life, question) =
        bench.effects.iter().find(|(_, effect)| matches!(effect, Effect::Question { .. })).unwrap().clone();
    assert_eq!(question, Effect::Question { ticket: 1, about: 9 }, "the question is asked again under the same number");
    bench.driver.answer(old_life, Event::Answer { ticket: 1, value: 777 });
    bench.driver.answer(new_life, Event::Answer { ticket: 1, value: 5 });
    let totals = bench.settle();
    assert!(totals.contains(&(id("a"), Effect::Total(107))), "{totals:?}");
    let written: Vec<u64> = bench.store.journals[&id("a")]
        .iter()
        .map(|bytes| u64::from_be_bytes(bytes.as_slice().try_into().unwrap()))
        .collect();
    assert_eq!(written, [100, 2, 5]);
}

#[test]
fn a_machine_is_woken_at_its_deadline_and_not_before() {
    let mut bench = Bench::new();
    bench.deliver("a", Event::WakeAt(500));
    bench.deliver("b", Event::WakeAt(300));
    bench.settle();
    assert_eq!(bench.driver.deadline_ms(), Some(300));
    bench.driver.wake_due(at(299));
    bench.driver.run(at(299), &mut bench.effects);
    assert_eq!(bench.taken(), []);
    bench.driver.wake_due(at(300));
    bench.driver.run(at(300), &mut bench.effects);
    assert_eq!(bench.taken(), [(id("b"), Effect::Woken)]);
    assert_eq!(bench.driver.deadline_ms(), Some(500));
    bench.driver.wake_due(at(9999));
    bench.driver.run(at(9999), &mut bench.effects);
    assert_eq!(bench.taken(), [(id("a"), Effect::Woken)]);
    assert_eq!(bench.driver.deadline_ms(), None);
}

#[test]
fn a_flood_for_one_machine_is_refused() {
    let mut bench = Bench::new();
    for _ in 0..QUEUED_EVENTS_MAX {
        bench.deliver("a", Event::Add(1));
    }
    assert_eq!(bench.driver.deliver(id("a"), Event::Add(1)), Err(Overloaded(id("a"))));
    bench.deliver("b", Event::Add(1));
    bench.settle();
    assert_eq!(bench.store.journals[&id("a")].len(), QUEUED_EVENTS_MAX);
}

#[test]
fn the_longest_unused_idle_machine_is_forgotten_and_comes_back_whole() {
    let mut bench = Bench::new();
    bench.driver = HostDriver::new(Adders).with_machines_cached_max(3);
    for name in ["a", "b", "c"] {
        bench.deliver(name, Event::Add(1));
    }
    bench.deliver("a", Event::WakeAt(500));
    bench.settle();
    bench.deliver("d", Event::Add(1));
    bench.settle();
    assert_eq!(bench.driver.machines_cached(), 3);
    bench.deliver("b", Event::Add(1));
    let effects = bench.settle();
    assert_eq!(
        effects,
        [(id("b"), Effect::Hello(1)), (id("b"), Effect::Total(2))],
        "b was forgotten, a waits for its deadline"
    );
}

#[test]
fn a_change_by_another_process_is_seen_once_the_idle_are_forgotten() {
    let mut bench = Bench::new();
    bench.deliver("a", Event::Add(1));
    bench.deliver("b", Event::WakeAt(500));
    bench.settle();
    bench.store.journals.get_mut(&id("a")).unwrap().push(100_u64.to_be_bytes().to_vec());
    bench.driver.forget_idle();
    assert_eq!(bench.driver.machines_cached(), 1, "b waits for its deadline");
    bench.deliver("a", Event::Ask(1));
    assert_eq!(bench.settle()[0], (id("a"), Effect::Hello(101)));
}

#[test]
fn power_cuts_between_the_calls_lose_no_record_and_show_no_effect_without_one() {
    // Before the round: decided, never written, never seen. After it: written, and the restarted host knows.
    for cut_after_perform in [false, true] {
        let mut bench = Bench::new();
        bench.deliver("a", Event::Add(4));
        bench.round();
        bench.taken();
        let work = bench.driver.take_work().unwrap();
        if cut_after_perform {
            perform(&work, &mut bench.store).unwrap();
        }
        assert_eq!(bench.taken(), []);
        let mut restarted = Bench { store: bench.store.clone(), ..Bench::new() };
        restarted.deliver("a", Event::Ask(0));
        let expected = if cut_after_perform { 4 } else { 0 };
        assert_eq!(restarted.settle()[0], (id("a"), Effect::Hello(expected)));
    }
}
