//! `irontill sim flows`: scripted flows whose storage operations go wrong, one after another.

use crate::verdict::{Misuse, Verdict};
use clap::Args;
use serde_json::{Value, json};
use sim::{FLOWS, Flow, Node, Tally, try_operations, try_recoveries};
use std::sync::Mutex;
use std::time::Instant;

/// Plays of a flow shown, of those that broke a promise.
const BROKEN_SHOWN: usize = 5;

/// Which flows, and how many of their operations.
#[derive(Args)]
pub struct Flows {
    /// Only this one.
    name: Option<String>,
    /// Names them without playing.
    #[arg(long)]
    list: bool,
    /// One in so many of the operations and ways to go wrong; 1 tries them all.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    stride: u64,
    /// In core flows: one in so many of the pairs of an operation and one of the recovery behind it.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    recovery_stride: u64,
    /// Flows at the same time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// A flow that was tried.
struct Tried {
    flow: &'static Flow,
    tally: Tally,
}

impl Flows {
    /// Tries the flows that were asked for.
    pub fn run(&self) -> anyhow::Result<Verdict> {
        let is_wanted = |flow: &&'static Flow| self.name.as_ref().is_none_or(|name| *name == flow.name);
        let wanted: Vec<&'static Flow> = FLOWS.iter().filter(is_wanted).collect();
        if wanted.is_empty() {
            return Err(Misuse("no flow is called so; `irontill sim flows --list` names them".to_owned()).into());
        }
        if self.list {
            wanted.iter().for_each(|flow| println!("{}", flow.name));
            return Ok(Verdict::Yes);
        }
        let tried = self.try_all(&wanted)?;
        let sum = |count: fn(&Tally) -> u64| tried.iter().map(|tried| count(&tried.tally)).sum::<u64>();
        let broken: usize = tried.iter().map(|tried| tried.tally.broken.len()).sum();
        let (plays, cut, cut_twice) =
            (sum(|tally| tally.plays), sum(|tally| tally.struck), sum(|tally| tally.struck_twice));
        if self.json {
            let flows: Vec<Value> = tried.iter().map(Tried::json).collect();
            println!(
                "{}",
                json!({ "flows": flows, "plays": plays, "cut": cut, "cut_twice": cut_twice, "broken": broken })
            );
        } else {
            println!(
                "{} flows, {plays} plays, {cut} with a cut, {cut_twice} with a second one in the recovery, {broken} that broke a promise",
                tried.len()
            );
        }
        Ok(Verdict::of(broken == 0))
    }

    fn try_all(&self, wanted: &[&'static Flow]) -> anyhow::Result<Vec<Tried>> {
        let next = Mutex::new(wanted.iter());
        let work = || -> anyhow::Result<Vec<Tried>> {
            let mut done = Vec::new();
            loop {
                let flow = next.lock().map_err(|_| anyhow::anyhow!("another flow failed"))?.next();
                let Some(flow) = flow else { return Ok(done) };
                done.push(self.try_one(flow)?);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            let joined =
                workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a play panicked"))?);
            Ok(joined.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    fn try_one(&self, flow: &'static Flow) -> anyhow::Result<Tried> {
        let begun = Instant::now();
        let mut tally = try_operations(flow, self.stride)?;
        if flow.core {
            try_recoveries(flow, self.recovery_stride, &mut tally)?;
        }
        let tried = Tried { flow, tally };
        if !self.json {
            tried.print(begun.elapsed().as_secs_f64());
        }
        Ok(tried)
    }
}

impl Tried {
    fn print(&self, seconds: f64) {
        let Self { flow, tally } = self;
        println!(
            "{:35} operations till {:4} PED {:4} host {:4}: {:6} plays, {:6} cut, {:6} cut twice, {} broke a promise, {seconds:.0} s",
            flow.name,
            tally.operations[&Node::Till],
            tally.operations[&Node::Ped],
            tally.operations[&Node::Host],
            tally.plays,
            tally.struck,
            tally.struck_twice,
            tally.broken.len()
        );
        for (cut, violations) in tally.broken.iter().take(BROKEN_SHOWN) {
            println!("    {cut:?}");
            violations.iter().for_each(|found| println!("    VIOLATION {}: {}", found.invariant, found.detail));
        }
    }

    fn json(&self) -> Value {
        let Self { flow, tally } = self;
        let shown = tally.broken.iter().take(BROKEN_SHOWN);
        let broken: Vec<Value> = shown
            .map(|(cut, violations)| {
                let violations = violations.iter().map(|found| format!("{}: {}", found.invariant, found.detail));
                json!({ "cut": format!("{cut:?}"), "findings": violations.collect::<Vec<_>>() })
            })
            .collect();
        json!({
            "flow": flow.name, "plays": tally.plays, "cut": tally.struck, "cut_twice": tally.struck_twice,
            "operations": {
                "till": tally.operations[&Node::Till],
                "ped": tally.operations[&Node::Ped],
                "host": tally.operations[&Node::Host],
            },
            "broken": tally.broken.len(), "examples": broken,
        })
    }
}
