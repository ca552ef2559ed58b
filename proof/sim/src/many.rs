//! Many seeds on several threads, with one result.

use crate::{Report, plan, run};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What many seeds came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Many {
    /// Seeds run.
    pub seeds: u64,
    /// Transactions begun.
    pub transactions: u64,
    /// Events handled.
    pub events: u64,
    /// Violations of all seeds.
    pub violations: u64,
    /// Reports of seeds with violations, in order of seeds.
    pub failures: Vec<Report>,
    /// SHA-256 over the seeds' event hashes in order of seeds: equal for equal plans and equal code, whatever the number of threads.
    pub combined_hash: String,
}

/// Runs every seed of a range with `each` transactions on `jobs` threads.
///
/// # Errors
/// A fault mix that is not known, or a world that cannot be set up.
pub fn many(seeds: RangeInclusive<u64>, each: u64, faults: &str, jobs: usize) -> anyhow::Result<Many> {
    let next = AtomicU64::new(*seeds.start());
    let reports: Mutex<BTreeMap<u64, anyhow::Result<Report>>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > *seeds.end() {
                return;
            }
            let report = plan(seed, each, faults).map_err(|cause| anyhow::anyhow!(cause)).and_then(run);
            reports.lock().expect("no thread panics with the lock").insert(seed, report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    summarise(reports.into_inner().expect("no thread panicked"))
}

fn summarise(reports: BTreeMap<u64, anyhow::Result<Report>>) -> anyhow::Result<Many> {
    let (mut many, mut hash) = (Many::default(), Sha256::new());
    for (_, report) in reports {
        let report = report?;
        many.seeds += 1;
        many.transactions += report.transactions_begun;
        many.events += report.events;
        many.violations += report.violations.len() as u64;
        hash.update(report.event_hash.as_bytes());
        if !report.violations.is_empty() {
            many.failures.push(report);
        }
    }
    many.combined_hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(many)
}
