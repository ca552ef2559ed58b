//! A full run: many seeds, each twice, one line a seed.
//!
//! *Use*: `cargo run --release -p sim --example full -- FIRST-LAST TRANSACTIONS FAULTS [once]`, for example `1-20 200000 all`.
//! Prints seed, events, violations, whether both runs gave the same hash, and seconds; exit code 1 if any seed failed.

use std::process::ExitCode;
use std::time::Instant;

// Worlds allocate much and free it soon. Linking it is enough: it stands in the place of the C library's.
use mimalloc as _;

struct Wish {
    seeds: std::ops::RangeInclusive<u64>,
    transactions: u64,
    faults: String,
    twice: bool,
}

fn wish() -> Option<Wish> {
    let mut words = std::env::args().skip(1);
    let seeds = words.next()?;
    let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
    Some(Wish {
        seeds: first.parse().ok()?..=last.parse().ok()?,
        transactions: words.next()?.parse().ok()?,
        faults: words.next()?,
        twice: words.next().is_none(),
    })
}

/// Runs one seed and says whether it kept every promise.
fn one(seed: u64, wish: &Wish) -> anyhow::Result<bool> {
    let plan = sim::plan(seed, wish.transactions, &wish.faults).map_err(|cause| anyhow::anyhow!(cause))?;
    let begun = Instant::now();
    let first = sim::run(plan)?;
    let seconds = begun.elapsed().as_secs_f64();
    let same = !wish.twice || sim::run(plan)?.event_hash == first.event_hash;
    let repeats = if !wish.twice {
        "not repeated"
    } else if same {
        "same hash"
    } else {
        "HASH DIFFERS"
    };
    println!(
        "seed {seed} events {} violations {} {repeats} {} {seconds:.1} s {:?}",
        first.events,
        first.violations.len(),
        first.event_hash,
        first.outcomes
    );
    for violation in first.violations.iter().take(10) {
        println!("    {} {}", violation.invariant, violation.detail);
    }
    Ok(same && first.violations.is_empty())
}

fn main() -> anyhow::Result<ExitCode> {
    let Some(wish) = wish() else {
        eprintln!("full FIRST-LAST TRANSACTIONS FAULTS [once]");
        return Ok(ExitCode::from(2));
    };
    let mut sound = true;
    for seed in wish.seeds.clone() {
        sound &= one(seed, &wish)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
