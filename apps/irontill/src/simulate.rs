//! `irontill sim`: the simulator.

use crate::flows::Flows;
use crate::verdict::{Misuse, Verdict};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sim::{Canary, Many, Plan, Report, Step, Sweep, Told, Until};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Steps that a replay shows, unless told otherwise.
const STEPS_SHOWN: usize = 40;
/// Transactions of each world in which a planted bug is hunted.
const HUNT_EACH: u64 = 250;
/// Most transactions before a planted bug counts as not caught.
const HUNT_LIMIT: u64 = 1_000_000;

/// The simulator: one seed, a range of seeds, or what an action says.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Simulate {
    #[command(subcommand)]
    action: Option<Action>,
    /// Everything in the run is drawn from it.
    #[arg(long, conflicts_with_all = ["seeds", "seed_base"])]
    seed: Option<u64>,
    /// Runs every seed of a range instead, for example `1-100`.
    #[arg(long, conflicts_with = "seed_base")]
    seeds: Option<String>,
    /// Runs `--worlds` seeds from this one on: hexadecimal, for example the hash of a commit, of which the first twelve digits count.
    #[arg(long, requires = "worlds")]
    seed_base: Option<String>,
    /// How many seeds, with `--seed-base`.
    #[arg(long, requires = "seed_base")]
    worlds: Option<u64>,
    /// Worlds at the same time, with many seeds.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Runs each so many-th of many seeds twice: both runs must be equal.
    #[arg(long, default_value_t = 0)]
    twice_every: u64,
    /// Payments that shoppers begin.
    #[arg(long)]
    transactions: Option<u64>,
    /// `none`, `all`, or some of: loss, duplicate, late, reorder, refused, terminal-crash, host-crash, keys, card, conflict, clock.
    #[arg(long, default_value = "all")]
    faults: String,
    /// Plants a bug; `irontill sim bugs --list` names them.
    #[arg(long, conflicts_with_all = ["seeds", "seed_base"])]
    bug: Option<String>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// One world.
#[derive(Args)]
struct World {
    /// Everything in the run is drawn from it.
    #[arg(long)]
    seed: u64,
    /// Payments that shoppers begin.
    #[arg(long)]
    transactions: u64,
    /// As for a run.
    #[arg(long, default_value = "all")]
    faults: String,
    /// Plants a bug; `irontill sim bugs --list` names them.
    #[arg(long)]
    bug: Option<String>,
}

#[derive(Subcommand)]
enum Action {
    /// Tells a run step by step.
    Replay {
        #[command(flatten)]
        world: World,
        /// Stops at the event of this number, or at the first `violation`.
        #[arg(long)]
        until: Option<String>,
        /// The last so many steps.
        #[arg(long, default_value_t = STEPS_SHOWN)]
        last: usize,
    },
    /// Writes everything that people and the bank could see of a run to a file, one JSON object a line.
    Export {
        #[command(flatten)]
        world: World,
        /// The file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Looks for the smallest run that breaks a promise as this one does.
    Minimise {
        #[command(flatten)]
        world: World,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Plays scripted flows on the product's own stores, and lets their storage operations go wrong one after another.
    Flows(Flows),
    /// Hunts planted bugs: a simulator that overlooks one of them proves nothing.
    Bugs {
        /// Only this one.
        name: Option<String>,
        /// Names them without hunting.
        #[arg(long)]
        list: bool,
        /// Transactions of each world.
        #[arg(long, default_value_t = HUNT_EACH)]
        each: u64,
        /// Most transactions before one counts as not caught.
        #[arg(long, default_value_t = HUNT_LIMIT)]
        limit: u64,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

impl World {
    fn plan(&self) -> anyhow::Result<Plan> {
        let plan = sim::plan(self.seed, self.transactions, &self.faults).map_err(Misuse)?;
        let canary = self.bug.as_deref().map(bug).transpose()?.map(|(canary, _)| canary);
        Ok(Plan { canary, ..plan })
    }
}

fn bug(name: &str) -> Result<(Canary, &'static str), Misuse> {
    let known = Canary::ALL.iter().find(|(canary, _)| format!("{canary:?}") == name);
    known
        .copied()
        .ok_or_else(|| Misuse(format!("no planted bug is called {name}; `irontill sim bugs --list` names them")))
}

impl Simulate {
    /// Runs one seed, or what the action says.
    pub fn run(mut self) -> anyhow::Result<Verdict> {
        match self.action.take() {
            Some(Action::Replay { world, until, last }) => return replay(&world, until.as_deref(), last),
            Some(Action::Export { world, out }) => return export(&world, &out),
            Some(Action::Minimise { world, json }) => return minimise(&world, json),
            Some(Action::Bugs { name, list, each, limit, json }) => {
                return bugs(name.as_deref(), list, (each, limit), json);
            }
            Some(Action::Flows(flows)) => return flows.run(),
            None => {}
        }
        let transactions = self.transactions.ok_or_else(|| Misuse("--transactions is needed".to_owned()))?;
        match (self.seed, &self.seeds, &self.seed_base) {
            (Some(seed), ..) => {
                let (faults, bug) = (self.faults.clone(), self.bug.clone());
                self.one(&World { seed, transactions, faults, bug })
            }
            (None, Some(seeds), _) => self.many(range(seeds)?, transactions),
            (None, None, Some(base)) => self.many(range_from(base, self.worlds.unwrap_or(0))?, transactions),
            (None, None, None) => Err(Misuse("--seed, --seeds or --seed-base is needed".to_owned()).into()),
        }
    }

    fn one(&self, world: &World) -> anyhow::Result<Verdict> {
        let plan = world.plan()?;
        if !self.json {
            println!("seed {} transactions {} {:?}", plan.seed, plan.transactions, plan.faults);
        }
        let report = sim::run(plan)?;
        if self.json {
            println!("{}", report_json(&report));
        } else {
            print_report(&report);
        }
        Ok(Verdict::of(report.violations.is_empty()))
    }

    fn many(&self, seeds: RangeInclusive<u64>, transactions: u64) -> anyhow::Result<Verdict> {
        sim::plan(0, 0, &self.faults).map_err(Misuse)?;
        let (first, last) = (*seeds.start(), *seeds.end());
        if !self.json {
            println!("seeds {first}-{last}, {transactions} transactions each, faults {}", self.faults);
        }
        let (faults, begun) = (self.faults.as_str(), Instant::now());
        let sweep = Sweep { seeds, each: transactions, faults, jobs: self.jobs, twice_every: self.twice_every };
        let many = sweep.run()?;
        if self.json {
            let failures: Vec<Value> = many.failures.iter().map(report_json).collect();
            println!(
                "{}",
                json!({
                    "first_seed": first, "last_seed": last, "seeds": many.seeds, "seeds_twice": many.seeds_twice,
                    "transactions": many.transactions, "events": many.events, "violations": many.violations,
                    "combined_hash": many.combined_hash, "failures": failures,
                })
            );
        } else {
            print_many(&many, &sweep, begun.elapsed());
        }
        Ok(Verdict::of(many.violations == 0))
    }
}

/// Each failing seed with the command that shows it again, then the sums.
fn print_many(many: &Many, sweep: &Sweep<'_>, took: Duration) {
    for report in &many.failures {
        println!("seed {}", report.seed);
        print_report(report);
        let (seed, Sweep { each, faults, .. }) = (report.seed, sweep);
        println!("  again: irontill sim --seed {seed} --transactions {each} --faults {faults}");
        println!(
            "  told:  irontill sim replay --seed {seed} --transactions {each} --faults {faults} --until violation"
        );
    }
    println!(
        "{} seeds ({} of them twice), {} transactions, {} events, {} violations, hash {}",
        many.seeds, many.seeds_twice, many.transactions, many.events, many.violations, many.combined_hash
    );
    let seconds = took.as_secs_f64();
    println!("{seconds:.0} s, {:.0} transactions a second", many.transactions as f64 / seconds.max(f64::EPSILON));
}

/// Seeds from a base that is written in hexadecimal.
fn range_from(base: &str, worlds: u64) -> Result<RangeInclusive<u64>, Misuse> {
    let first = sim::first_seed(base)
        .map_err(|_| Misuse("--seed-base: hexadecimal digits, for example the hash of a commit".to_owned()))?;
    if worlds == 0 {
        return Err(Misuse("--worlds: at least one".to_owned()));
    }
    Ok(first..=first.saturating_add(worlds - 1))
}

fn range(text: &str) -> Result<RangeInclusive<u64>, Misuse> {
    let misuse = || Misuse("--seeds: two numbers, for example 1-100".to_owned());
    let (first, last) = text.split_once('-').ok_or_else(misuse)?;
    let (first, last) = (first.parse().map_err(|_| misuse())?, last.parse().map_err(|_| misuse())?);
    if first > last { Err(misuse()) } else { Ok(first..=last) }
}

fn report_json(report: &Report) -> Value {
    let found = report.violations.iter();
    let found: Vec<Value> = found.map(|found| json!({"invariant": found.invariant, "detail": found.detail})).collect();
    json!({
        "seed": report.seed,
        "transactions": report.transactions,
        "violations": found.len(),
        "findings": found,
        "event_hash": report.event_hash,
        "events": report.events,
        "master_keys_replaced": report.master_keys_replaced,
        "holds_fallen": report.holds_fallen,
        "outcomes": report.outcomes,
        "slips": report.slips,
    })
}

fn print_report(report: &Report) {
    report.violations.iter().for_each(|found| println!("VIOLATION {}: {}", found.invariant, found.detail));
    println!("{} events, outcomes {:?}, slips {:?}", report.events, report.outcomes, report.slips);
    println!("{} violations, event hash {}", report.violations.len(), report.event_hash);
}

fn replay(world: &World, until: Option<&str>, last: usize) -> anyhow::Result<Verdict> {
    let until = match until {
        None => Until::End,
        Some("violation") => Until::Violation,
        Some(number) => Until::Event(
            number.parse().map_err(|_| Misuse("--until: the number of an event, or `violation`".to_owned()))?,
        ),
    };
    let steps: Rc<RefCell<VecDeque<Step>>> = Rc::default();
    let kept = Rc::clone(&steps);
    let report = sim::replay(world.plan()?, until, move |step| {
        let mut kept = kept.borrow_mut();
        kept.push_back(step);
        if kept.len() > last {
            kept.pop_front();
        }
    })?;
    for step in steps.borrow().iter() {
        println!("{:>9} {:>12} ms  {}", step.event, step.at_ms, step.what.line());
    }
    print_report(&report);
    Ok(Verdict::of(report.violations.is_empty()))
}

fn export(world: &World, out: &Path) -> anyhow::Result<Verdict> {
    let file = std::fs::File::create(out).with_context(|| out.display().to_string())?;
    let writer = Rc::new(RefCell::new((std::io::BufWriter::new(file), None)));
    let shared = Rc::clone(&writer);
    let report = sim::replay(world.plan()?, Until::End, move |step| {
        let (writer, fault) = &mut *shared.borrow_mut();
        if let Err(cause) = writeln!(writer, "{}", step_json(&step)) {
            fault.get_or_insert(cause);
        }
    })?;
    let (writer, fault) = &mut *writer.borrow_mut();
    fault.take().map_or(Ok(()), Err).and_then(|()| writer.flush()).with_context(|| out.display().to_string())?;
    println!("{} events, {} violations, event hash {}", report.events, report.violations.len(), report.event_hash);
    Ok(Verdict::of(report.violations.is_empty()))
}

/// Money and frames only: what is a note to people is not history.
fn step_json(step: &Step) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let what = match &step.what {
        Told::Request(frame) => json!({ "kind": "request", "frame": hex(frame) }),
        Told::Response(frame) => json!({ "kind": "response", "frame": hex(frame) }),
        Told::Posting(line) => json!({ "kind": "posting", "id": line.id, "legs": line.legs }),
        Told::Receipt(terminal, batch, trace) => {
            json!({ "kind": "receipt", "terminal": terminal, "batch": batch, "trace": trace })
        }
        Told::Promise(terminal, batch, trace, minor) => {
            json!({ "kind": "promise", "terminal": terminal, "batch": batch, "trace": trace, "amount": minor })
        }
        Told::HostClock(off_ms) => json!({ "kind": "host-clock", "off_ms": off_ms }),
        Told::Claim(terminal, batch, trace, claim) => {
            let claim = format!("{claim:?}");
            json!({ "kind": "claim", "terminal": terminal, "batch": batch, "trace": trace, "claim": claim })
        }
        Told::Note(text) => json!({ "kind": "note", "text": text }),
    };
    json!({ "event": step.event, "at_ms": step.at_ms, "what": what })
}

fn minimise(world: &World, json: bool) -> anyhow::Result<Verdict> {
    let Some(least) = sim::minimise(world.plan()?)? else {
        println!("{}", if json { "null" } else { "this run breaks no promise" });
        return Ok(Verdict::Yes);
    };
    let Plan { seed, transactions, .. } = least.plan;
    let faults = if least.faults.is_empty() { "none".to_owned() } else { least.faults.join(",") };
    if json {
        let report = report_json(&least.report);
        println!(
            "{}",
            json!({
                "seed": seed, "transactions": transactions, "faults_needed": faults, "runs": least.runs, "report": report,
            })
        );
    } else {
        println!(
            "seed {seed}, {transactions} transactions; kinds of faults that it needs: {faults} ({} runs)",
            least.runs
        );
        print_report(&least.report);
    }
    Ok(Verdict::No)
}

fn bugs(name: Option<&str>, list: bool, (each, limit): (u64, u64), json: bool) -> anyhow::Result<Verdict> {
    let wanted = match name {
        Some(name) => vec![bug(name)?],
        None => Canary::ALL.to_vec(),
    };
    if list {
        wanted.iter().for_each(|(canary, faults)| println!("{canary:?} (faults {faults}): {}", canary.what()));
        return Ok(Verdict::Yes);
    }
    // A part that stops by itself is a catch; its backtrace is of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut caught, mut lines) = (0, Vec::new());
    for (canary, faults) in &wanted {
        let found = sim::hunt(*canary, faults, 1, each, limit)?;
        caught += usize::from(found.is_ok());
        let line = match &found {
            Ok(catch) => json!({
                "bug": format!("{canary:?}"), "what": canary.what(), "caught": true, "seed": catch.seed,
                "transactions": catch.transactions, "invariant": catch.invariant, "detail": catch.detail,
            }),
            Err(transactions) => json!({
                "bug": format!("{canary:?}"), "what": canary.what(), "caught": false, "transactions": transactions,
            }),
        };
        if !json {
            match found {
                Ok(catch) => println!(
                    "{canary:?}: seed {}, {} transactions, {}: {}",
                    catch.seed, catch.transactions, catch.invariant, catch.detail
                ),
                Err(transactions) => println!("{canary:?}: NOT CAUGHT in {transactions} transactions"),
            }
        }
        lines.push(line);
    }
    drop(std::panic::take_hook());
    if json {
        println!("{}", json!({ "caught": caught, "planted": wanted.len(), "bugs": lines }));
    } else {
        println!("{caught} of {} planted bugs caught", wanted.len());
    }
    Ok(Verdict::of(caught == wanted.len()))
}
