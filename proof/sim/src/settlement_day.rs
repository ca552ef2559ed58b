//! A whole day: terminals pay, close their batches, and the acquirer settles them. What the bank's statement says of each batch, what
//! the terminals' slips say, and what the settlement says must be the same money.

use crate::store::{SimulatedStore, StatementLine};
use crate::world::{Plan, World};
use crate::{Report, report};
use acquirer::Record;
use ledger::{Account, read_clearing, read_payout};
use machine::MachineId;
use machine::store::{Append, Outcome, Store};
use machine::wire::Encode;
use settlement::{BatchReader, ClosedBatch, DayFiles, Pricing, Settled, day_files, rows, settle};
use std::collections::{BTreeMap, BTreeSet};
use types::{BatchNumber, Currency, LocalDate, MerchantId, TerminalId};

/// What came of a day.
#[derive(Debug, Clone)]
pub struct SettledDay {
    /// The run of the world.
    pub report: Report,
    /// The settled batches.
    pub settled: Vec<Settled>,
    /// The day's files.
    pub files: Vec<DayFiles>,
    /// Where two sides do not say the same; empty when all is well.
    pub differences: Vec<String>,
}

/// Runs a world, lets every terminal close its batch and settles the day.
///
/// # Errors
/// If the world cannot be set up or a batch cannot be settled.
pub fn settle_day(plan: Plan, day: LocalDate, pricing: &Pricing) -> anyhow::Result<SettledDay> {
    let mut world = World::new(Plan { settles: true, ..plan })?;
    world.run();
    world.close_batches();
    let peers: Vec<(TerminalId, MerchantId)> =
        world.peers().iter().map(|peer| (peer.terminal, peer.merchant)).collect();
    let before = world.store().statement().len();
    let mut settled = Vec::new();
    for (terminal, merchant) in &peers {
        for batch in closed_batches(world.store(), *terminal)? {
            settled.push(settle_one(world.store(), &batch, (*merchant, *terminal), pricing, day)?);
        }
    }
    let files = day_files(day, &settled);
    let slips = world.slips.clone();
    let mut check = Check { store: world.store(), differences: Vec::new() };
    check.batches_are_what_was_booked(before, &settled);
    check.slips_are_what_was_settled(&slips, &settled);
    check.nothing_is_owed_any_more(&peers, &settled);
    check.files_say_the_same(&files, &settled);
    let differences = check.differences;
    Ok(SettledDay { report: report(&plan, &world), settled, files, differences })
}

fn closed_batches(store: &SimulatedStore, terminal: TerminalId) -> anyhow::Result<Vec<ClosedBatch>> {
    let (mut reader, mut closed) = (BatchReader::default(), Vec::new());
    for (sequence, bytes) in (1..).zip(store.archived(MachineId::of_terminal(terminal))) {
        closed.extend(reader.read(sequence, &Record::from_bytes(bytes)?));
    }
    Ok(closed)
}

/// Settles one batch, and tries to settle it twice.
fn settle_one(
    store: &mut SimulatedStore,
    batch: &ClosedBatch,
    (merchant, terminal): (MerchantId, TerminalId),
    pricing: &Pricing,
    day: LocalDate,
) -> anyhow::Result<Settled> {
    let of = (merchant, terminal, Currency::CNY);
    let settled = settle(batch, of, pricing, day, &mut |space, key: &[u8]| store.find(space, key))
        .map_err(|cause| anyhow::anyhow!("{terminal} batch {}: {cause}", batch.close.batch))?;
    let machine = MachineId::new("settlement").expect("a short name");
    let mut append = |settled: &Settled| {
        let first_sequence = u64::try_from(store.length(machine)).expect("a count") + 1;
        let (records, rows) = (vec![settled.to_bytes()], rows(settled));
        store.append(&[Append { machine, first_sequence, records, rows, snapshot: false }])
    };
    let first = append(&settled)?.pop();
    anyhow::ensure!(matches!(first, Some(Outcome::Durable(_))), "not settled: {first:?}");
    let again = append(&settled)?.pop();
    anyhow::ensure!(matches!(again, Some(Outcome::GuardFailed(_))), "a batch was settled twice: {again:?}");
    anyhow::ensure!(Settled::from_bytes(&settled.to_bytes())? == settled, "the record does not come back");
    Ok(settled)
}

struct Check<'a> {
    store: &'a mut SimulatedStore,
    differences: Vec<String>,
}

/// Terminal and batch of the message that a posting is named after.
fn booked_by(line: &StatementLine) -> Option<(&str, u32)> {
    let mut parts = line.id.split('/').skip(1);
    Some((parts.next()?, parts.next()?.parse().ok()?))
}

fn on(line: &StatementLine, belongs: impl Fn(&str) -> bool) -> i64 {
    line.legs.iter().filter(|(account, _)| belongs(account)).map(|(_, delta)| delta).sum()
}

impl Check<'_> {
    fn same<T: PartialEq + core::fmt::Debug>(&mut self, what: &str, left: T, right: T) {
        if left != right {
            self.differences.push(format!("{what}: {left:?} and {right:?}"));
        }
    }

    /// What merchants are owed by the bank's statement, batch by batch, against what was settled.
    fn batches_are_what_was_booked(&mut self, before: usize, settled: &[Settled]) {
        let mut booked: BTreeMap<(String, u32), i64> = BTreeMap::new();
        for line in &self.store.statement()[..before] {
            let minor = on(line, |account| account.ends_with("/payable"));
            if let Some((terminal, batch)) = booked_by(line).filter(|_| minor != 0) {
                *booked.entry((terminal.to_owned(), batch)).or_default() += minor;
            }
        }
        let known: BTreeSet<(String, u32)> =
            settled.iter().map(|settled| (settled.terminal.text().to_owned(), settled.batch.number())).collect();
        for name in booked.keys().filter(|name| !known.contains(*name)) {
            self.differences.push(format!("{name:?} was booked and never settled"));
        }
        for settled in settled {
            let name = (settled.terminal.text().to_owned(), settled.batch.number());
            let owed = settled.position.net_minor() + settled.position.fees_minor;
            self.same(&format!("booked and settled {name:?}"), booked.get(&name).copied().unwrap_or(0), owed);
        }
    }

    fn slips_are_what_was_settled(
        &mut self,
        slips: &BTreeMap<(TerminalId, BatchNumber), (u64, u64)>,
        settled: &[Settled],
    ) {
        for settled in settled.iter().filter(|settled| settled.balanced) {
            let position = &settled.position;
            let ours = (position.sales_minor, position.voids_minor + position.refunds_minor);
            let name = (settled.terminal, settled.batch);
            // A slip that a power cut took is printed again as a copy, which is not counted here.
            if let Some(slip) = slips.get(&name) {
                self.same(&format!("slip and settlement {name:?}"), *slip, ours);
            }
        }
        let with_slip = settled.iter().filter(|settled| slips.contains_key(&(settled.terminal, settled.batch))).count();
        if with_slip * 2 < settled.len() {
            self.differences.push(format!("only {with_slip} of {} batches have a slip", settled.len()));
        }
    }

    fn nothing_is_owed_any_more(&mut self, peers: &[(TerminalId, MerchantId)], settled: &[Settled]) {
        for (_, merchant) in peers {
            let standing =
                |store: &SimulatedStore, account: Account| store.standing_minor(&account.name(), Currency::CNY);
            let payable = standing(self.store, Account::MerchantPayable(*merchant));
            self.same(&format!("owed to {merchant} behind the settlement"), payable, 0);
            let own = settled.iter().filter(|settled| settled.merchant == *merchant);
            let net: i64 = own.map(|settled| settled.position.net_minor()).sum();
            let payout = standing(self.store, Account::MerchantPayout(*merchant));
            self.same(&format!("to be paid to {merchant}"), payout, net);
        }
        let fees: i64 = settled.iter().map(|settled| settled.position.fees_minor).sum();
        let booked = self.store.standing_minor(&Account::AcquirerFees.name(), Currency::CNY);
        self.same("fees", booked, fees);
        for (currency, sum) in self.store.sums() {
            self.same(&format!("sum of currency {currency}"), sum, 0);
        }
    }

    fn files_say_the_same(&mut self, files: &[DayFiles], settled: &[Settled]) {
        let (mut payout_minor, mut clearing_minor) = (0, 0);
        for file in files {
            let payout = read_payout(&file.payout).map(|(_, lines)| lines);
            let clearing = read_clearing(&file.clearing).map(|(_, lines)| lines);
            let (Ok(payout), Ok(clearing)) = (payout, clearing) else {
                self.differences.push("a file cannot be read back".to_owned());
                continue;
            };
            payout_minor += payout.iter().map(|line| line.position.net_minor()).sum::<i64>();
            let position = ledger::NetPosition::of(&clearing);
            clearing_minor += position.map_or(i64::MIN, |position| position.net_minor());
        }
        let net: i64 = settled.iter().map(|settled| settled.position.net_minor()).sum();
        self.same("payout files", payout_minor, net);
        self.same("clearing files", clearing_minor, net);
    }
}
