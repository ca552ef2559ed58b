//! Many seeds on several threads, with one result.

use crate::{Report, Violation, plan, run};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Hexadecimal digits of a seed base that count.
const SEED_BASE_DIGITS: usize = 12;

/// The first seed of a base: hexadecimal, for example the hash of a commit, of which the first twelve digits count.
///
/// # Errors
/// Other characters among those digits, or none.
pub fn first_seed(base: &str) -> Result<u64, ParseIntError> {
    u64::from_str_radix(base.get(..base.len().min(SEED_BASE_DIGITS)).unwrap_or_default(), 16)
}

/// What a run of many seeds is asked for.
#[derive(Debug, Clone)]
pub struct Sweep<'a> {
    /// The seeds.
    pub seeds: RangeInclusive<u64>,
    /// Transactions of each world.
    pub each: u64,
    /// As [`crate::plan`] has it.
    pub faults: &'a str,
    /// Worlds at the same time.
    pub jobs: usize,
    /// Each so many-th seed is run twice, and both runs must be equal; 0 for none.
    pub twice_every: u64,
}

/// What many seeds came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Many {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds of them that were run twice.
    pub seeds_twice: u64,
    /// Transactions begun; second runs are not counted.
    pub transactions: u64,
    /// Events handled; second runs are not counted.
    pub events: u64,
    /// First slips by what stands on them, of all seeds.
    pub slips: BTreeMap<&'static str, u64>,
    /// Violations of all seeds.
    pub violations: u64,
    /// Reports of seeds with violations, in order of seeds.
    pub failures: Vec<Report>,
    /// SHA-256 over the seeds' event hashes in order of seeds: equal for equal plans and equal code, whatever the number of threads.
    pub combined_hash: String,
}

impl Sweep<'_> {
    /// Runs every seed.
    ///
    /// # Errors
    /// A fault mix that is not known, or a world that cannot be set up.
    pub fn run(&self) -> anyhow::Result<Many> {
        let next = AtomicU64::new(*self.seeds.start());
        let reports: Mutex<BTreeMap<u64, anyhow::Result<Report>>> = Mutex::default();
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > *self.seeds.end() {
                    return;
                }
                let report = self.world(seed);
                reports.lock().expect("no thread panics with the lock").insert(seed, report);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(work);
            }
        });
        self.summarise(reports.into_inner().expect("no thread panicked"))
    }

    fn is_run_twice(&self, seed: u64) -> bool {
        self.twice_every > 0 && (seed - self.seeds.start()).is_multiple_of(self.twice_every)
    }

    fn world(&self, seed: u64) -> anyhow::Result<Report> {
        let mut report = self.once(seed)?;
        if self.is_run_twice(seed) {
            let second = self.once(seed)?.event_hash;
            if second != report.event_hash {
                let detail = format!("the event hash was {} and then {second}", report.event_hash);
                report.violations.push(Violation { invariant: "equal runs", detail });
            }
        }
        Ok(report)
    }

    /// One run. A part of the system that stops by itself is a finding and does not stop the other worlds.
    fn once(&self, seed: u64) -> anyhow::Result<Report> {
        let plan = plan(seed, self.each, self.faults).map_err(|cause| anyhow::anyhow!(cause))?;
        catch_unwind(AssertUnwindSafe(|| run(plan))).unwrap_or_else(|panic| {
            let detail = crate::hunt::panic_text(&*panic);
            Ok(Report {
                seed,
                transactions: self.each,
                transactions_begun: 0,
                violations: vec![Violation { invariant: "halt", detail }],
                event_hash: String::new(),
                events: 0,
                master_keys_replaced: 0,
                holds_fallen: 0,
                outcomes: BTreeMap::new(),
                slips: BTreeMap::new(),
            })
        })
    }

    fn summarise(&self, reports: BTreeMap<u64, anyhow::Result<Report>>) -> anyhow::Result<Many> {
        let (mut many, mut hash) = (Many::default(), Sha256::new());
        for (seed, report) in reports {
            let report = report?;
            many.seeds += 1;
            many.seeds_twice += u64::from(self.is_run_twice(seed));
            many.transactions += report.transactions_begun;
            many.events += report.events;
            many.violations += report.violations.len() as u64;
            for (title, count) in &report.slips {
                *many.slips.entry(*title).or_default() += count;
            }
            hash.update(report.event_hash.as_bytes());
            if !report.violations.is_empty() {
                many.failures.push(report);
            }
        }
        many.combined_hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(many)
    }
}
