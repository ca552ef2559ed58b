//! Hunts one planted bug: seed after seed until the auditor says that something is wrong.

use crate::canary::Canary;
use crate::{Plan, Report, plan, run};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a planted bug came to light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catch {
    /// The seed in whose world it did.
    pub seed: u64,
    /// Transactions begun until then, in this world and those before it.
    pub transactions: u64,
    /// The invariant that was broken; `halt` if a part of the system stopped by itself rather than go on.
    pub invariant: String,
    /// What was seen.
    pub detail: String,
}

/// Runs worlds of `each` transactions from `first_seed` on, until the bug is caught or `limit` transactions were begun.
///
/// # Errors
/// If a world cannot be set up.
pub fn hunt(
    canary: Canary,
    faults: &str,
    first_seed: u64,
    each: u64,
    limit: u64,
) -> anyhow::Result<Result<Catch, u64>> {
    let mut transactions = 0;
    let mut seed = first_seed;
    while transactions < limit {
        let plan = plan(seed, each, faults).map_err(|cause| anyhow::anyhow!(cause))?;
        let found = match catch_unwind(AssertUnwindSafe(|| run(Plan { canary: Some(canary), ..plan }))) {
            Ok(report) => first_violation(&report?, &mut transactions),
            Err(panic) => {
                transactions += each;
                Some(("halt".to_owned(), panic_text(&*panic)))
            }
        };
        if let Some((invariant, detail)) = found {
            return Ok(Ok(Catch { seed, transactions, invariant, detail }));
        }
        seed += 1;
    }
    Ok(Err(transactions))
}

fn first_violation(report: &Report, transactions: &mut u64) -> Option<(String, String)> {
    *transactions += report.transactions_begun;
    report.violations.first().map(|found| (found.invariant.to_owned(), found.detail.clone()))
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("stopped").to_owned()
}
