//! The gate: many seeds on all processors, then once more, and equal hashes. Or the hunt for planted bugs.
//!
//! *Use*: `cargo run --release -p sim --example many -- seeds FIRST-LAST EACH JOBS [FAULTS]` runs a range once and prints one line;
//! `… gate HASH WORLDS EACH JOBS TWICE-EVERY` runs so many seeds from a commit's hash on, as `irontill sim --seed-base` does; with
//! `--profile gate` instead of `--release` it is the fastest that this house has. `… bugs EACH LIMIT [NAME]` hunts every planted bug
//! and prints one line for each. Exit code 1 if anything failed.

use std::process::ExitCode;
use std::time::Instant;

// Worlds allocate much and free it soon. Linking it is enough: it stands in the place of the C library's.
use mimalloc as _;

/// Hexadecimal digits of a hash that count, as in `irontill sim`.
const SEED_BASE_DIGITS: usize = 12;

fn seeds(words: &[String]) -> anyhow::Result<bool> {
    let [range, each, jobs, rest @ ..] = words else { anyhow::bail!("seeds FIRST-LAST EACH JOBS [FAULTS]") };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let faults = rest.first().map_or("all", String::as_str);
    let seeds = first.parse()?..=last.parse()?;
    run(&sim::Sweep { seeds, each: each.parse()?, faults, jobs: jobs.parse()?, twice_every: 0 })
}

fn gate(words: &[String]) -> anyhow::Result<bool> {
    let [hash, worlds, each, jobs, twice_every] = words else {
        anyhow::bail!("gate HASH WORLDS EACH JOBS TWICE-EVERY")
    };
    let digits = hash.get(..hash.len().min(SEED_BASE_DIGITS)).unwrap_or_default();
    let (first, worlds): (_, u64) = (u64::from_str_radix(digits, 16)?, worlds.parse()?);
    anyhow::ensure!(worlds > 0, "at least one world");
    let (seeds, twice_every) = (first..=first + (worlds - 1), twice_every.parse()?);
    run(&sim::Sweep { seeds, each: each.parse()?, faults: "all", jobs: jobs.parse()?, twice_every })
}

fn run(sweep: &sim::Sweep<'_>) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let many = sweep.run()?;
    let seconds = begun.elapsed().as_secs_f64();
    for report in many.failures.iter().take(10) {
        for violation in report.violations.iter().take(3) {
            println!("seed {} {} {}", report.seed, violation.invariant, violation.detail);
        }
    }
    println!(
        "{} seeds ({} of them twice), {} transactions, {} events, {} violations, {seconds:.1} s, {:.0} transactions a second, hash {}",
        many.seeds,
        many.seeds_twice,
        many.transactions,
        many.events,
        many.violations,
        many.transactions as f64 / seconds,
        many.combined_hash
    );
    many.slips.iter().for_each(|(title, count)| println!("{count:>9} {title}"));
    Ok(many.violations == 0)
}

fn bugs(words: &[String]) -> anyhow::Result<bool> {
    let [each, limit, rest @ ..] = words else { anyhow::bail!("bugs EACH LIMIT [NAME]") };
    let (each, limit) = (each.parse()?, limit.parse()?);
    // A part that stops by itself is a catch; its backtrace is of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut caught, mut hunted) = (0, 0);
    for (canary, faults) in sim::Canary::ALL {
        let name = format!("{canary:?}");
        if rest.first().is_some_and(|wanted| *wanted != name) {
            continue;
        }
        hunted += 1;
        match sim::hunt(*canary, faults, 1, each, limit)? {
            Ok(catch) => {
                caught += 1;
                println!(
                    "{name}: seed {} transactions {} {} {}",
                    catch.seed, catch.transactions, catch.invariant, catch.detail
                );
            }
            Err(transactions) => println!("{name}: NOT CAUGHT in {transactions} transactions"),
        }
    }
    println!("{caught} of {hunted} planted bugs caught");
    Ok(caught == hunted)
}

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sound = match words.split_first() {
        Some((what, rest)) if what == "seeds" => seeds(rest)?,
        Some((what, rest)) if what == "gate" => gate(rest)?,
        Some((what, rest)) if what == "bugs" => bugs(rest)?,
        _ => {
            eprintln!("many seeds … | many gate … | many bugs …");
            return Ok(ExitCode::from(2));
        }
    };
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
