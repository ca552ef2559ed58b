//! Everything on one machine, and the engineer's tools.
//!
//! *Duty*: the command line of `irontill`: it joins keys, host and terminal into one system in one folder, and gives an engineer the card
//! lab, the decoder, the key calculator, the vectors, the X-ray, load, benchmark and simulator. *Knows*: everybody; it is the one declared exception to the
//! rule that apps do not. *Never*: a rule of the field. *Start here*: [`work`], then `system.rs`.

mod bench;
mod bench_terminal;
mod books;
mod bureau;
mod calc;
mod cards;
mod decode;
mod demo;
mod dukpt_devices;
mod errands;
mod explain;
mod flows;
mod host;
mod key_ceremony;
mod key_office;
mod key_reports;
mod keyboard;
mod line_place;
mod lines;
mod load;
mod load_audit;
mod pay;
mod published;
mod risk_rules;
mod rotation;
mod settle;
mod simulate;
mod system;
mod tampered_line;
mod till_point;
mod verdict;
mod wallet;

pub use verdict::{Misuse, Verdict};

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// A card payment system: terminal, host, keys. Not certified; see the README.
#[derive(Parser)]
#[command(name = "irontill", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole system in one place.
    Demo(demo::Demo),
    /// One payment on a running or private system.
    Pay(pay::Pay),
    /// The card lab.
    #[command(subcommand)]
    Card(cards::CardCommand),
    /// What a buyer does on the phone: wallets that pay by QR code.
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Any message, field by field.
    Decode(decode::Decode),
    /// Runs vector files through the product's own code.
    Vectors(published::Published),
    /// The X-ray of one payment.
    Explain(explain::Explain),
    /// The host alone, and what its operators do.
    #[command(subcommand)]
    Host(host::HostCommand),
    /// Terminals that really sign in and pay.
    Load(load::Load),
    /// Every message over a line that goes wrong at every byte, and what must be true afterwards.
    Lines(lines::Lines),
    /// Benchmarks with their limits measured in the same run.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Keys: calculations on test keys; ceremonies, custodians, lineage and audit of a key process.
    #[command(subcommand)]
    Keys(key_office::KeysCommand),
    /// The simulator.
    Sim(simulate::Simulate),
    /// The key process of a system folder.
    #[command(hide = true)]
    KeysProcess {
        /// The system's folder.
        #[arg(long)]
        data: PathBuf,
        /// Environment variable that it keeps, for proofs whose layer below the process is named there.
        #[arg(long)]
        keep_environment: Vec<String>,
    },
    /// The host process of a system folder.
    #[command(hide = true)]
    HostProcess {
        /// The system's folder.
        #[arg(long)]
        data: PathBuf,
    },
}

/// Carries out a command.
///
/// # Errors
/// A [`Misuse`] for what the caller got wrong, anything else for a fault.
pub fn work(arguments: Arguments) -> anyhow::Result<Verdict> {
    match arguments.command {
        Command::Demo(demo) => demo.run(),
        Command::Pay(pay) => pay.run(),
        Command::Card(card) => card.run(),
        Command::Wallet(wallet) => wallet.run(),
        Command::Decode(decode) => decode.run(),
        Command::Vectors(published) => published.run(),
        Command::Explain(explain) => explain.run(),
        Command::Host(host) => host.run(),
        Command::Load(load) => load.run(),
        Command::Lines(lines) => lines.run(),
        Command::Bench(bench) => bench.run(),
        Command::Keys(keys) => keys.run(),
        Command::Sim(simulate) => simulate.run(),
        Command::KeysProcess { data, keep_environment } => system::run_keys_process(&data, keep_environment),
        Command::HostProcess { data } => system::run_host_process(&data),
    }
}
