//! `irontill demo`: the whole system in one place.

use crate::explain;
use crate::pay::{Console, print_completion};
use crate::system::System;
use crate::till_point::{CardSide, DEMO_TERMINAL, LabReader, TillPoint, profile};
use crate::verdict::Verdict;
use clap::Args;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use till::OutcomeStatus;
use types::{Amount, Currency};

/// The card and PIN of the demo's first payment: public test data.
const DEMO_CARD: &str = "unionpay-credit";
const DEMO_AMOUNT_MINOR: u64 = 1250;

/// The whole system in one place.
#[derive(Args)]
pub struct Demo {
    /// Folder of the system; without it everything goes when the demo ends.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Take one sale, print receipt and explanation, and exit.
    #[arg(long)]
    once: bool,
}

impl Demo {
    /// Runs the demo.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let began = Instant::now();
        eprintln!("Irontill demo. Not certified; test cards and test keys only.");
        eprintln!("starting the key process, the host and a terminal …");
        let system = match &self.data {
            Some(path) => System::start(path)?,
            None => System::start_private()?,
        };
        eprintln!("keys: process {}", system.keys.as_ref().map_or(0, crate::system::Process::id));
        eprintln!(
            "host: process {}, mutual TLS on {}",
            system.host.as_ref().map_or(0, crate::system::Process::id),
            system.address
        );
        let approved = self.first_payment(&system)?;
        eprintln!("from the command to the receipt: {:.2} s", began.elapsed().as_secs_f64());
        if self.once {
            return Ok(Verdict::of(approved));
        }
        stay(&self, &system);
        Ok(Verdict::of(approved))
    }

    fn first_payment(&self, system: &System) -> anyhow::Result<bool> {
        let profile = profile(DEMO_CARD)?;
        let state = self.data.as_ref().map(|_| system.folder.card_state(DEMO_CARD));
        let reader = Box::new(LabReader::new(profile, state.as_deref())?);
        let side = CardSide::new(reader, Some(profile.pin().expose()))?;
        eprintln!("terminal {DEMO_TERMINAL}: a card of profile {DEMO_CARD} pays");
        let mut terminal = TillPoint::demo(&system.folder)?.open(&system.folder, &system.address, side)?;
        let amount =
            Amount::from_minor(DEMO_AMOUNT_MINOR, Currency::CNY).ok_or_else(|| anyhow::anyhow!("the demo's amount"))?;
        let completion = terminal.sell(amount, Duration::from_secs(60), &mut Console)?;
        print_completion(&completion);
        if let Some(stan) = completion.outcome.stan {
            let admin = system.folder.admin()?;
            println!("\n{}", explain::of_transaction(terminal.till(), admin.store(), stan)?.text());
        }
        Ok(completion.outcome.status == OutcomeStatus::Approved)
    }
}

fn stay(demo: &Demo, system: &System) {
    let data = demo.data.as_ref().map_or_else(String::new, |path| format!(" --data {}", path.display()));
    eprintln!(
        "\nThe system stays up on {}. Ctrl-C or an empty line on standard input at its end stops it.",
        system.address
    );
    if data.is_empty() {
        eprintln!(
            "Start it with --data DIR to pay again from another window: irontill pay --data DIR --amount 8.80 --pin 123456"
        );
    } else {
        eprintln!("In another window: irontill pay{data} --amount 8.80 --card visa-credit --pin 123456");
    }
    // Serves until standard input ends or the process is told to stop; children notice either.
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
    }
    loop {
        std::thread::park();
    }
}
