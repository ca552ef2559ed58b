//! `irontill host rules`: risk rules checked, and tried on what has passed before they are used.

use crate::system::Folder;
use crate::verdict::{Misuse, Verdict};
use clap::Subcommand;
use irontill_host::{Example, Replay, RuleReport, policies_of, read_rules, replay};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use store_sqlite::SqliteStore;
use types::{CivilTime, LocalDate};

const MILLISECONDS_A_MINUTE: i64 = 60_000;
const MINUTES_A_DAY: i64 = 24 * 60;

/// What is done with risk rules.
#[derive(Subcommand)]
pub enum Rules {
    /// Reads a file of rules and names its first mistake: rule, line and column.
    Check {
        /// The file.
        file: PathBuf,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// What rules would have said of a system's past traffic. Nothing is changed.
    Replay {
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
        /// The file of rules; without it, the rules in use.
        #[arg(long)]
        rules: Option<PathBuf>,
        /// First day, YYYYMMDD (China Standard Time).
        #[arg(long)]
        from: Option<String>,
        /// Last day, YYYYMMDD.
        #[arg(long)]
        to: Option<String>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Prints rules to begin from.
    Standard,
}

impl Rules {
    /// Carries it out.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            Rules::Check { file, json } => check(&file, json),
            Rules::Replay { data, rules, from, to, json } => {
                let span = (day_ms("--from", from.as_deref(), 0, 0)?, day_ms("--to", to.as_deref(), 1, u64::MAX)?);
                play(&data, rules.as_deref(), span, json)
            }
            Rules::Standard => {
                print!("{}", rules::STANDARD_RULES);
                Ok(Verdict::Yes)
            }
        }
    }
}

/// Unix milliseconds of the day so many days behind this one.
fn day_ms(option: &str, text: Option<&str>, days: i64, without: u64) -> anyhow::Result<u64> {
    let Some(text) = text else { return Ok(without) };
    let date = LocalDate::parse_yyyymmdd(text).map_err(|cause| Misuse(format!("{option}: {cause}")))?;
    let minutes = (days_since_1970(date) + days) * MINUTES_A_DAY - i64::from(CivilTime::CHINA_OFFSET_MINUTES);
    Ok(u64::try_from(minutes * MILLISECONDS_A_MINUTE).unwrap_or(0))
}

/// Days of the Gregorian calendar, counted from March so that the leap day ends a year.
fn days_since_1970(date: LocalDate) -> i64 {
    let (month, day) = (i64::from(date.month()), i64::from(date.day()));
    let year = i64::from(date.year()) - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

fn check(file: &Path, json: bool) -> anyhow::Result<Verdict> {
    match read_rules(file) {
        Ok(set) => {
            if json {
                let ids: Vec<&str> = set.rules.iter().map(|rule| rule.id.as_str()).collect();
                println!("{}", json!({ "version": set.version, "rules": ids, "error": null }));
            } else {
                println!("version {}, {} rules", set.version, set.rules.len());
            }
            Ok(Verdict::Yes)
        }
        Err(mistake) if json => {
            println!("{}", json!({ "error": format!("{mistake:#}") }));
            Ok(Verdict::No)
        }
        Err(mistake) => {
            println!("{mistake:#}");
            Ok(Verdict::No)
        }
    }
}

fn play(data: &Path, rules: Option<&Path>, (from_ms, until_ms): (u64, u64), json: bool) -> anyhow::Result<Verdict> {
    let settings = Folder::existing(data)?.host_settings()?;
    let in_use = settings.rules.as_deref();
    let file = rules.or(in_use).ok_or_else(|| Misuse("--rules: this host has no rules in use".to_owned()))?;
    let set = read_rules(file).map_err(|mistake| Misuse(format!("--rules: {mistake:#}")))?;
    let store = SqliteStore::open_read_only(&settings.store, None)?;
    let replay = replay(&store, &set, &policies_of(&settings)?, from_ms, until_ms)?;
    if json {
        println!("{}", replay_json(set.version, &replay));
    } else {
        print!("{replay}");
    }
    Ok(Verdict::Yes)
}

fn replay_json(version: u32, replay: &Replay) -> Value {
    let rules: Vec<Value> = replay.rules.iter().map(|(id, report)| report_json(id, report)).collect();
    json!({
        "version": version, "transactions": replay.transactions, "lost": replay.lost, "rules": rules,
        "differing": replay.differing,
    })
}

fn report_json(id: &str, report: &RuleReport) -> Value {
    let examples: Vec<Value> = report.examples.iter().map(example_json).collect();
    json!({
        "rule": id, "flagged": report.flagged, "refused": report.refused, "excused": report.excused,
        "refused_minor": report.refused_minor, "examples": examples,
    })
}

fn example_json(example: &Example) -> Value {
    json!({
        "intent": example.intent, "rrn": example.rrn, "card": example.card,
        "amount_minor": example.amount.minor(), "wall_ms": example.wall_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let day = |text| day_ms("--from", Some(text), 0, 0).expect("a day");
        assert_eq!(day("19700102"), 16 * 3_600_000);
        assert_eq!(day("20240301") - day("20240228"), 2 * 86_400_000);
        assert_eq!(day("20260315"), 1_773_504_000_000);
        assert!(day_ms("--to", Some("20260230"), 1, 0).is_err());
    }
}
