//! `irontill pay`: one payment.

use crate::system::System;
use crate::till_point::{CardSide, LabReader, TillPoint, profile};
use crate::verdict::{Misuse, Verdict};
use clap::Args;
use irontill_terminal::{Completion, Observer, Progress};
use reader::Reader;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use till::{OutcomeStatus, TransactionOutcome};
use types::{Amount, Currency};

/// Columns of a receipt on a screen.
pub const RECEIPT_COLUMNS: usize = 48;
/// How long to wait for the reversal of a payment without an answer.
const REVERSAL_PATIENCE: Duration = Duration::from_secs(120);

/// One payment on a running or private system.
#[derive(Args)]
pub struct Pay {
    /// Amount, for example 12.50.
    #[arg(long)]
    amount: String,
    /// Test card; `irontill card list` shows them.
    #[arg(long, default_value = "unionpay-credit")]
    card: String,
    /// What the cardholder types. Without it the cardholder presses cancel.
    #[arg(long)]
    pin: Option<String>,
    /// Folder of the system; without it a private one lives as long as the payment.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Use the card in a real PC/SC reader (its name or a part of it; `any` for the first). Needs the `pcsc` feature.
    #[arg(long)]
    reader: Option<String>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// What a terminal shows, on standard error.
pub struct Console;

impl Observer for Console {
    fn see(&mut self, progress: Progress<'_>) {
        if let Progress::Screen(screen) = progress {
            let text = screen.text();
            eprintln!("  {} / {}", text.zh, text.en);
        }
    }
}

impl Pay {
    /// Pays.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let amount =
            Amount::parse(&self.amount, Currency::CNY).map_err(|cause| Misuse(format!("--amount: {cause}")))?;
        if amount.minor() == 0 {
            return Err(Misuse("--amount: nothing to pay".to_owned()).into());
        }
        let profile = profile(&self.card)?;
        let system = match &self.data {
            Some(path) => System::attach_or_start(path)?,
            None => System::start_private()?,
        };
        let reader = match &self.reader {
            Some(name) => pcsc_reader(name)?,
            None => {
                let state = self.data.as_ref().map(|_| system.folder.card_state(&self.card));
                Box::new(LabReader::new(profile, state.as_deref())?)
            }
        };
        let side = CardSide::new(reader, self.pin.as_deref())?;
        let mut terminal = TillPoint::demo(&system.folder)?.open(&system.folder, &system.address, side)?;
        let completion = if self.json {
            terminal.sell(amount, REVERSAL_PATIENCE, &mut irontill_terminal::Silent)?
        } else {
            terminal.sell(amount, REVERSAL_PATIENCE, &mut Console)?
        };
        if self.json {
            println!("{}", to_json(&completion));
        } else {
            print_completion(&completion);
        }
        Ok(Verdict::of(completion.outcome.status == OutcomeStatus::Approved))
    }
}

#[cfg(feature = "pcsc")]
fn pcsc_reader(name: &str) -> anyhow::Result<Box<dyn Reader + Send>> {
    let name = Some(name).filter(|name| *name != "any");
    let mut reader = reader::PcscReader::open(name)?;
    let found = reader.wait_for_card(true, Duration::from_secs(30))?;
    anyhow::ensure!(found, "no card in {} after 30 seconds", reader.name());
    Ok(Box::new(reader))
}

#[cfg(not(feature = "pcsc"))]
fn pcsc_reader(_name: &str) -> anyhow::Result<Box<dyn Reader + Send>> {
    Err(Misuse("--reader: this build has no PC/SC; build with --features pcsc".to_owned()).into())
}

/// The stable JSON of a payment.
pub fn to_json(completion: &Completion) -> Value {
    let outcome = &completion.outcome;
    let text = |value: Option<String>| value.map_or(Value::Null, Value::from);
    json!({
        "status": outcome.status.name(),
        "response_code": text(outcome.response_code.map(|code| code.text().to_owned())),
        "rrn": text(outcome.rrn.map(|rrn| rrn.text().to_owned())),
        "stan": text(outcome.stan.map(|stan| stan.to_string())),
        "batch": text(outcome.batch.map(|batch| batch.to_string())),
        "authorisation_code": text(outcome.authorisation_code.map(|code| code.text().to_owned())),
        "amount": text(outcome.amount.map(|amount| amount.to_string())),
        "card": text(outcome.card.map(|card| card.text().to_owned())),
        "message": { "zh": outcome.message.zh, "en": outcome.message.en },
        "receipt": receipt_text(completion),
    })
}

/// The slips of a payment as text; `null` without any.
fn receipt_text(completion: &Completion) -> Value {
    if completion.receipts.is_empty() {
        return Value::Null;
    }
    let slips: Vec<String> = completion.receipts.iter().map(|receipt| receipt.render(RECEIPT_COLUMNS)).collect();
    slips.join("\n").into()
}

/// A payment for a person.
pub fn print_completion(completion: &Completion) {
    for receipt in &completion.receipts {
        println!("\n{}", receipt.render(RECEIPT_COLUMNS));
    }
    println!("{}", summary(&completion.outcome));
}

fn summary(outcome: &TransactionOutcome) -> String {
    let code = outcome.response_code.map_or_else(String::new, |code| format!(" {code}"));
    format!("{}{code}: {} / {}", outcome.status.name(), outcome.message.zh, outcome.message.en)
}
