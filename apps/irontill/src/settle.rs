//! `irontill host settle`, `reconcile` and `fee`: the money of closed batches.

use crate::system::Folder;
use crate::verdict::{Misuse, Verdict};
use anyhow::Context;
use clap::Args;
use irontill_host::{SettlementDesk, SettlementRun, pricing, reconcile_files};
use ledger::{ClearingKind, ClearingLine, ClearingStatus, Difference, DifferenceClass};
use serde_json::{Value, json};
use settlement::{DayFiles, Settled};
use std::path::{Path, PathBuf};
use types::LocalDate;

/// Held while a run settles and writes, beside the store.
const LOCK: &str = "settlement.lock";

/// Settles closed batches and writes the payout and clearing files of a day.
#[derive(Args)]
pub struct Settle {
    /// Folder of the system.
    #[arg(long)]
    data: PathBuf,
    /// Day of the files, YYYYMMDD; today (UTC) without it. A day before today only writes its files again.
    #[arg(long)]
    day: Option<String>,
    /// What is charged; without it, the standard that `irontill host pricing` prints.
    #[arg(long)]
    pricing: Option<PathBuf>,
    /// Folder for payout-DAY-CURRENCY.txt and clearing-DAY-CURRENCY.txt.
    #[arg(long)]
    out: PathBuf,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Compares two clearing files and names every difference.
#[derive(Args)]
pub struct Reconcile {
    /// Our clearing file.
    #[arg(long)]
    ours: PathBuf,
    /// The network's clearing file.
    #[arg(long)]
    theirs: PathBuf,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// The fee of one sale and the rule that made it.
#[derive(Args)]
pub struct Fee {
    /// Folder of the system.
    #[arg(long)]
    data: PathBuf,
    /// Reference number (F37) of the sale.
    #[arg(long)]
    rrn: String,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

impl Settle {
    /// Settles and writes.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let today = irontill_host::today_utc();
        let day = match &self.day {
            Some(text) => LocalDate::parse_yyyymmdd(text).map_err(|cause| Misuse(format!("--day: {cause}")))?,
            None => today,
        };
        if day > today {
            return Err(Misuse("--day: not a day to come".to_owned()).into());
        }
        let text = self.pricing.as_deref().map(read).transpose()?;
        let pricing = pricing(text.as_deref()).map_err(|cause| Misuse(format!("--pricing: {cause}")))?;
        let settings = Folder::existing(&self.data)?.host_settings()?;
        let _alone = alone(&settings.store.with_file_name(LOCK))?;
        let mut desk = SettlementDesk::open(&settings)?;
        let run = if day == today { desk.run(day, &pricing)? } else { SettlementRun::default() };
        let files = desk.day_files(day)?;
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        for file in &files {
            write(&self.out, file)?;
        }
        self.report(&run, &files);
        Ok(Verdict::of(run.refused.is_empty()))
    }

    fn report(&self, run: &SettlementRun, files: &[DayFiles]) {
        if self.json {
            let settled: Vec<Value> = run.settled.iter().map(batch_json).collect();
            let files: Vec<String> =
                files.iter().flat_map(|file| [name("payout", file), name("clearing", file)]).collect();
            println!("{}", json!({ "settled": settled, "refused": run.refused, "files": files }));
            return;
        }
        for settled in &run.settled {
            let position = &settled.position;
            println!(
                "terminal {} batch {}: sales {}, voids {}, refunds {}, fees {}, net {}{}",
                settled.terminal,
                settled.batch,
                position.sales_minor,
                position.voids_minor,
                position.refunds_minor,
                position.fees_minor,
                position.net_minor(),
                if settled.balanced { "" } else { "  NOT BALANCED with the terminal" }
            );
        }
        run.refused.iter().for_each(|why| println!("REFUSED {why}"));
        println!("{} batches settled; amounts in minor units", run.settled.len());
    }
}

/// Waits for its turn: of two runs the later one writes the files, with everything in them that either has settled.
fn alone(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
    file.lock().with_context(|| path.display().to_string())?;
    Ok(file)
}

fn batch_json(settled: &Settled) -> Value {
    let position = &settled.position;
    json!({
        "terminal": settled.terminal.text(), "merchant": settled.merchant.text(), "batch": settled.batch.number(),
        "lines": settled.lines.len(), "balanced": settled.balanced, "sales_minor": position.sales_minor,
        "voids_minor": position.voids_minor, "refunds_minor": position.refunds_minor, "fees_minor": position.fees_minor,
        "net_minor": position.net_minor(),
    })
}

fn name(kind: &str, file: &DayFiles) -> String {
    let (day, currency) = (file.head.day, file.head.currency.numeric());
    format!("{kind}-{:04}{:02}{:02}-{currency:03}.txt", day.year(), day.month(), day.day())
}

fn write(folder: &Path, file: &DayFiles) -> anyhow::Result<()> {
    link::write_durably(&folder.join(name("payout", file)), file.payout.as_bytes())?;
    link::write_durably(&folder.join(name("clearing", file)), file.clearing.as_bytes())?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

impl Reconcile {
    /// Yes if the files say the same.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let differences = reconcile_files(&read(&self.ours)?, &read(&self.theirs)?)?;
        if self.json {
            let differences: Vec<Value> = differences.iter().map(difference_json).collect();
            println!("{}", json!({ "differences": differences }));
        } else {
            differences.iter().for_each(|difference| println!("{}", difference_text(difference)));
            println!("{} differences", differences.len());
        }
        Ok(Verdict::of(differences.is_empty()))
    }
}

fn class_name(class: DifferenceClass) -> &'static str {
    match class {
        DifferenceClass::MissingHere => "missing-here",
        DifferenceClass::MissingThere => "missing-there",
        DifferenceClass::AmountDiffers => "amount-differs",
        DifferenceClass::StatusDiffers => "status-differs",
        DifferenceClass::FeeDiffers => "fee-differs",
        DifferenceClass::DuplicateHere => "duplicate-here",
        DifferenceClass::DuplicateThere => "duplicate-there",
    }
}

fn kind_name(kind: ClearingKind) -> &'static str {
    match kind {
        ClearingKind::Sale => "sale",
        ClearingKind::Void => "void",
        ClearingKind::Refund => "refund",
    }
}

fn status_name(status: ClearingStatus) -> &'static str {
    match status {
        ClearingStatus::Approved => "approved",
        ClearingStatus::Declined => "declined",
        ClearingStatus::Reversed => "reversed",
    }
}

fn line_json(line: &ClearingLine) -> Value {
    json!({
        "amount_minor": line.amount_minor, "fee_minor": line.fee_minor, "status": status_name(line.status),
        "rrn": line.rrn.text(),
    })
}

fn difference_json(difference: &Difference) -> Value {
    let key = &difference.key;
    json!({
        "class": class_name(difference.class), "merchant": key.merchant.text(), "terminal": key.terminal.text(),
        "batch": key.batch.number(), "stan": key.stan.number(), "kind": kind_name(key.kind),
        "ours": difference.ours.as_ref().map(line_json), "theirs": difference.theirs.as_ref().map(line_json),
    })
}

fn difference_text(difference: &Difference) -> String {
    let key = &difference.key;
    let line = |line: Option<&ClearingLine>| {
        line.map_or_else(
            || "nothing".to_owned(),
            |line| format!("{} {}, fee {}", status_name(line.status), line.amount_minor, line.fee_minor),
        )
    };
    let (ours, theirs) = (line(difference.ours.as_ref()), line(difference.theirs.as_ref()));
    let (class, kind) = (class_name(difference.class), kind_name(key.kind));
    format!("{class}: {kind} {}/{}/{}: we have {ours}; the network has {theirs}", key.terminal, key.batch, key.stan)
}

impl Fee {
    /// No if the sale was not settled.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let mut desk = SettlementDesk::open(&Folder::existing(&self.data)?.host_settings()?)?;
        let Some(found) = desk.fee_of(&self.rrn)? else {
            println!("{}", if self.json { "null" } else { "not settled, or no such sale" });
            return Ok(Verdict::No);
        };
        let fee = &found.fee;
        if self.json {
            println!(
                "{}",
                json!({
                    "sale": found.sale, "fee_minor": fee.fee_minor, "rule": fee.rule, "sale_minor": fee.sale_minor,
                    "given_back_minor": fee.given_back_minor,
                })
            );
        } else {
            let charged = fee.fee_minor.map_or_else(|| "none yet".to_owned(), |minor| minor.to_string());
            println!("sale {} of {}: fee {charged} by the rule {}", found.sale, fee.sale_minor, fee.rule);
            println!("given back so far: {}; amounts in minor units", fee.given_back_minor);
        }
        Ok(Verdict::Yes)
    }
}
