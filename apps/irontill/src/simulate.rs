//! `irontill sim`: the simulator.

use crate::verdict::{Misuse, Verdict};
use clap::Args;
use serde_json::json;

/// The simulator.
#[derive(Args)]
pub struct Simulate {
    /// Everything in the run is drawn from it.
    #[arg(long)]
    seed: u64,
    /// Payments that shoppers begin.
    #[arg(long)]
    transactions: u64,
    /// `none`, `all`, or some of: loss, duplicate, late, reorder, refused, terminal-crash, host-crash, keys, card, conflict.
    #[arg(long, default_value = "all")]
    faults: String,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

impl Simulate {
    /// Runs one seed.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let plan = sim::plan(self.seed, self.transactions, &self.faults).map_err(Misuse)?;
        if !self.json {
            println!("seed {} transactions {} {:?}", plan.seed, plan.transactions, plan.faults);
        }
        let report = sim::run(plan)?;
        let found: Vec<_> = report
            .violations
            .iter()
            .map(|found| json!({"invariant": found.invariant, "detail": found.detail}))
            .collect();
        if self.json {
            println!(
                "{}",
                json!({
                    "seed": report.seed,
                    "transactions": report.transactions,
                    "violations": found.len(),
                    "findings": found,
                    "event_hash": report.event_hash,
                    "events": report.events,
                    "master_keys_replaced": report.master_keys_replaced, "outcomes": report.outcomes,
                })
            );
        } else {
            report.violations.iter().for_each(|found| println!("VIOLATION {}: {}", found.invariant, found.detail));
            println!("{} events, outcomes {:?}", report.events, report.outcomes);
            println!("{} violations, event hash {}", report.violations.len(), report.event_hash);
        }
        Ok(Verdict::of(report.violations.is_empty()))
    }
}
