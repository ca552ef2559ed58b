//! `irontill vectors`: published vectors through the product's own code, or through the sockets of a key process.

use crate::system::PrivateKeys;
use crate::verdict::Verdict;
use clap::Args;
use keys::Caller;
use std::path::PathBuf;
use vault_remote::RemoteKeys;
use vectors::{KeyDoors, KeyProcesses, Report, run_files, run_files_through};

/// Runs vector files through the product's own code.
#[derive(Args)]
pub struct Published {
    /// Files, or folders of files.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Asks real key processes over their sockets, a fresh one for each file, instead of the code itself.
    #[arg(long)]
    key_process: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

impl Published {
    /// Runs them and reports.
    pub fn run(&self) -> anyhow::Result<Verdict> {
        let report = if self.key_process { self.through_key_processes()? } else { run_files(&self.paths)? };
        if self.json {
            println!("{}", report.to_json());
        } else {
            print(&report);
        }
        Ok(Verdict::of(report.total.failed == 0))
    }

    fn through_key_processes(&self) -> anyhow::Result<Report> {
        let mut fresh = || {
            let process = PrivateKeys::start()?;
            let (host, administration) = process.sockets();
            Ok(KeyDoors {
                host: Box::new(RemoteKeys::connect(host, Caller::Host)?),
                administration: Box::new(RemoteKeys::connect(administration, Caller::Administration)?),
                life: Box::new(process),
            })
        };
        let mut processes = KeyProcesses { fresh: &mut fresh, envelope: sim::lab::transport_envelope };
        run_files_through(&self.paths, &mut processes)
    }
}

fn print(report: &Report) {
    for (area, counts) in &report.areas {
        println!("{area:<20} {:>5} passed {:>4} failed {:>4} skipped", counts.passed, counts.failed, counts.skipped);
    }
    report.skips.iter().for_each(|(reason, count)| println!("skipped {count}: {reason}"));
    report.failures.iter().for_each(|failure| println!("FAILED {} {}: {}", failure.id, failure.kind, failure.why));
    println!("{} passed, {} failed, {} skipped", report.total.passed, report.total.failed, report.total.skipped);
}
