//! The power fails after every single record, and at random beside every other fault: till and host still agree.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use machine::wire::Encode;
use till::{AuthorisationReference, CompletionForm, OperatorCommand, OutcomeStatus, Record, TransactionStatus};
use types::LocalDate;
use world::{Fault, World, config, ped, yuan};

/// A working day in short. It does not look at the results: after a power cut they differ.
fn day(world: &mut World) {
    for command in [OperatorCommand::SignIn, OperatorCommand::Sale { amount: yuan("10.00") }] {
        world.command(command);
    }
    world.ped.card.scripts = true;
    world.faults = [Fault::None, Fault::None].into();
    world.command(OperatorCommand::Sale { amount: yuan("20.00") });
    world.ped.card.scripts = false;
    if let Some(sale) = approved(world) {
        world.command(OperatorCommand::Void { stan: sale.0 });
    }
    world.faults = [Fault::LoseResponse].into();
    world.command(OperatorCommand::Sale { amount: yuan("30.00") });
    if let Some((_, rrn)) = approved(world) {
        let original_date = LocalDate::new(2026, 3, 15).unwrap();
        world.faults = [Fault::LoseResponse].into();
        world.command(OperatorCommand::Refund { amount: yuan("5.00"), original_rrn: rrn, original_date });
    }
    world.command(OperatorCommand::Balance);
    day_of_holds(world);
    world.ped.card.agrees = false;
    world.command(OperatorCommand::Sale { amount: yuan("40.00") });
    world.ped.card.agrees = true;
    world.command(OperatorCommand::Settle);
    world.command(OperatorCommand::Sale { amount: yuan("50.00") });
}

/// Holds, ends of holds, and each of them with its answer lost.
fn day_of_holds(world: &mut World) {
    world.command(OperatorCommand::PreAuthorise { amount: yuan("70.00") });
    if let Some(authorisation) = open_hold(world) {
        world.faults = [Fault::LoseResponse].into();
        world.command(complete(&authorisation, "71.00", CompletionForm::Request));
        world.command(complete(&authorisation, "72.00", CompletionForm::Request));
    }
    world.faults = [Fault::LoseResponse].into();
    world.command(OperatorCommand::PreAuthorise { amount: yuan("80.00") });
    world.command(OperatorCommand::PreAuthorise { amount: yuan("80.00") });
    if let Some(authorisation) = open_hold(world) {
        world.faults = [Fault::LoseResponse].into();
        let amount = yuan("80.00");
        world.command(OperatorCommand::VoidPreAuthorisation { amount, authorisation: authorisation.clone() });
        world.faults = [Fault::LoseResponse].into();
        world.command(complete(&authorisation, "81.00", CompletionForm::Notice));
    }
    let completion =
        |sale: &&till::Transaction| sale.kind == till::TransactionKind::Completion && sale.voided_by.is_none();
    let approved = |sale: &&till::Transaction| sale.status == TransactionStatus::Approved;
    let done = world.till.transactions().filter(completion).find(approved).map(|sale| sale.stan);
    if let Some(stan) = done {
        world.command(OperatorCommand::VoidCompletion { stan });
    }
}

fn complete(authorisation: &AuthorisationReference, amount: &str, form: CompletionForm) -> OperatorCommand {
    OperatorCommand::Complete { amount: yuan(amount), authorisation: authorisation.clone(), form }
}

/// A pre-authorisation that nothing has ended yet, as far as the till knows.
fn open_hold(world: &World) -> Option<AuthorisationReference> {
    let holds = world.till.transactions().rev();
    let hold = holds.filter(|hold| hold.kind == till::TransactionKind::PreAuthorisation && hold.voided_by.is_none());
    let code =
        hold.filter(|hold| hold.status == TransactionStatus::Approved).find_map(|hold| hold.authorisation_code())?;
    Some(AuthorisationReference { code, date: LocalDate::new(2026, 3, 15).unwrap() })
}

fn approved(world: &World) -> Option<(types::Stan, types::Rrn)> {
    let sales = world.till.transactions();
    let sale = sales.filter(|sale| sale.kind == till::TransactionKind::Sale && sale.voided_by.is_none());
    sale.filter(|sale| sale.status == TransactionStatus::Approved).find_map(|sale| Some((sale.stan, sale.rrn()?)))
}

/// No authorisation has two ends that stand.
fn assert_holds_end_once(world: &World, at: usize) {
    let standing = world.host.bookings.values().filter(|booking| booking.code.is_approval() && !booking.reversed);
    let mut ended: Vec<_> = standing.filter_map(|booking| booking.ends).collect();
    let ends = ended.len();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), ends, "at {at}: a hold was ended twice");
}

#[test]
fn every_record_may_be_the_last_before_a_power_cut() {
    let mut calm = World::new(config());
    day(&mut calm);
    calm.assert_agreement();
    let records = calm.journal.len();
    let written: Vec<&str> = calm.journal.iter().map(|bytes| Record::from_bytes(bytes).unwrap().name()).collect();
    for name in
        ["decided", "reversal-acknowledged", "notice-acknowledged", "script-notice-done", "batch-closed", "snapshot"]
    {
        assert!(written.contains(&name), "the day holds {name}: {written:?}");
    }
    assert!(records > 40, "{records}");
    for at in 1..=records {
        for released in [false, true] {
            let mut world = World::new(config());
            world.crash_at = Some((at.max(world.journal.len() + 1), released));
            day(&mut world);
            assert!(world.crashes <= 1);
            world.faults.clear();
            world.ped.card.agrees = true;
            world.command(OperatorCommand::ResumePending);
            world.assert_agreement();
            let asked = [10, 20, 30, 40, 50].map(|yuan| yuan * 100);
            for minor in asked {
                let booked = world.host.bookings.values().filter(|booking| {
                    booking.type_code == "22"
                        && booking.minor == minor
                        && booking.code.is_approval()
                        && !booking.reversed
                });
                assert!(booked.count() <= 1, "at {at}: {minor} was charged twice");
            }
            assert_holds_end_once(&world, at);
            let last = world.sale("60.00");
            assert_eq!(last.status, OutcomeStatus::Approved, "at {at}: stuck, {:?}", world.till.pending());
            assert_eq!(world.restored().state(), world.till.state(), "replaying gives the same state");
        }
    }
}

/// A small generator, so that a failure names its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn fault(&mut self) -> Fault {
        let faults = [
            Fault::NotSent,
            Fault::LoseRequest,
            Fault::LoseResponse,
            Fault::Silent,
            Fault::Late,
            Fault::Twice,
            Fault::WrongMac,
            Fault::Garbage,
            Fault::RequestTwice,
        ];
        if self.one_in(3) { faults[usize::try_from(self.below(9)).unwrap()] } else { Fault::None }
    }

    fn command_of_holds(&mut self, world: &World) -> OperatorCommand {
        let amount = yuan(&format!("{}.00", self.below(900) + 1));
        let completions = world.till.transactions().filter(|sale| sale.kind == till::TransactionKind::Completion);
        let completed = completions.map(|sale| sale.stan).next_back();
        match (open_hold(world), completed) {
            (_, Some(stan)) if self.one_in(4) => OperatorCommand::VoidCompletion { stan },
            (Some(authorisation), _) if self.one_in(4) => {
                OperatorCommand::VoidPreAuthorisation { amount, authorisation }
            }
            (Some(authorisation), _) => {
                let form = if self.one_in(2) { CompletionForm::Request } else { CompletionForm::Notice };
                OperatorCommand::Complete { amount, authorisation, form }
            }
            _ => OperatorCommand::PreAuthorise { amount },
        }
    }

    fn command(&mut self, world: &World) -> OperatorCommand {
        match self.below(20) {
            0 => OperatorCommand::SignIn,
            1 if self.one_in(2) => OperatorCommand::SignOff,
            1 => OperatorCommand::PreAuthorise { amount: yuan(&format!("{}.00", self.below(900) + 1)) },
            10..=12 => self.command_of_holds(world),
            2 => OperatorCommand::Echo,
            3 => OperatorCommand::Settle,
            4 => OperatorCommand::Balance,
            5..=7 => match approved(world) {
                Some((stan, _)) => OperatorCommand::Void { stan },
                None => OperatorCommand::ResumePending,
            },
            8..=9 => match approved(world) {
                Some((_, original_rrn)) => OperatorCommand::Refund {
                    amount: yuan("1.00"),
                    original_rrn,
                    original_date: LocalDate::new(2026, 3, 15).unwrap(),
                },
                None => OperatorCommand::ResumePending,
            },
            _ => OperatorCommand::Sale { amount: yuan(&format!("{}.00", self.below(900) + 1)) },
        }
    }
}

fn wild_day(seed: u64) {
    let mut chance = Chance(seed);
    let mut world = World::new(config());
    for _ in 0..25 {
        world.faults = (0..40).map(|_| chance.fault()).collect();
        world.ped.card.agrees = !chance.one_in(8);
        world.ped.card.scripts = chance.one_in(8);
        world.host.payment_codes = if chance.one_in(8) { vec!["51"] } else { vec![] };
        world.host.disagrees = chance.one_in(4);
        if chance.one_in(3) {
            world.crash_at =
                Some((world.journal.len() + 1 + usize::try_from(chance.below(12)).unwrap(), chance.one_in(2)));
        }
        if chance.one_in(10) {
            world.host.key += 7;
        }
        let command = chance.command(&world);
        world.command(command);
    }
    world.faults.clear();
    world.crash_at = None;
    world.ped.card = ped::TestCard::default();
    world.host.payment_codes.clear();
    world.command(OperatorCommand::ResumePending);
    world.run_for(600_000);
    world.assert_agreement();
    assert_holds_end_once(&world, 0);
    assert!(world.till.pending().is_empty(), "seed {seed}: {:?}", world.till.pending());
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved, "seed {seed}");
    assert_eq!(world.restored().state(), world.till.state(), "seed {seed}");
}

#[test]
fn wild_days_end_in_agreement() {
    for seed in 0..400 {
        wild_day(seed);
    }
}
