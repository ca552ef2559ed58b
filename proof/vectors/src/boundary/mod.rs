//! The same published cases through the commands of a key process.
//!
//! *Duty*: bring a case's published keys in the way an acquirer would, ask the command, compare what comes back. Where a
//! case publishes a key and not what it makes, the runner makes that with `paycrypto`, whose own run of the same file
//! stands beside this one. *Never*: ask for what the tables refuse. *Start here*: [`run_files_through`].

mod cards;
mod chest;
mod dukpt;
mod emv;
mod key_blocks;
mod key_mgmt;
mod macs;
mod pins;
#[cfg(test)]
mod tests;

use crate::mac::case::{Case, Check, Problem, judge_kind};
use crate::{Outcome, Report, expand, load};
use chest::Chest;
use keys::KeyService;
use serde_json::Value;
use std::any::Any;
use std::path::PathBuf;

/// The two doors of one fresh key process.
pub struct KeyDoors {
    /// Where the acquiring host asks.
    pub host: Box<dyn KeyService>,
    /// Where the administration asks.
    pub administration: Box<dyn KeyService>,
    /// What the process lives by; it ends with this.
    pub life: Box<dyn Any>,
}

/// How key processes are started, and how a key goes to one.
pub struct KeyProcesses<'a> {
    /// Starts a key process with an empty vault.
    pub fresh: &'a mut dyn FnMut() -> anyhow::Result<KeyDoors>,
    /// Enciphers a key (second) to a vault's transport public key (first, SubjectPublicKeyInfo DER): RSA-OAEP, SHA-256.
    pub envelope: fn(&[u8], &[u8]) -> anyhow::Result<Vec<u8>>,
}

/// Runs files, as [`crate::run_files`] does, through key processes: a fresh one for each file, and another where a
/// vault's memory of earlier cases (its limits on guessing) stands in the way.
///
/// # Errors
/// If a file cannot be read or no key process starts.
pub fn run_files_through(paths: &[PathBuf], processes: &mut KeyProcesses<'_>) -> anyhow::Result<Report> {
    let mut loaded = Vec::new();
    for file in expand(paths)? {
        let cases = load(&file)?;
        loaded.push((file, cases));
    }
    let published: Vec<&Value> = loaded.iter().flat_map(|(_, cases)| cases).collect();
    let mut report = Report::default();
    for (file, cases) in &loaded {
        let mut chest = Chest::new(processes, &published);
        for case in cases {
            let outcome = run_case_undisturbed(&mut chest, case);
            chest.take_fault()?;
            report.record(file, case, outcome);
        }
    }
    Ok(report)
}

/// What the reason of a malformed case says, and what the vault's refusal must then say.
const REFUSALS: &[(&str, &str)] = &[
    ("PIN length must be", "PIN block is malformed"),
    ("PIN is not numeric", "PIN block is malformed"),
    ("hex digit in PIN", "PIN block is malformed"),
    ("filler", "PIN block is malformed"),
    ("not ISO format", "PIN block is malformed"),
    ("Offset must be", "parameter out of range"),
    ("check value", "key check value does not fit"),
    ("component shorter", "parameter out of range"),
];

type Runner = fn(&mut Chest<'_, '_>, Case<'_>) -> Check;
type Judge = fn(Case<'_>, Check) -> Outcome;

fn judge(case: Case<'_>, check: Check) -> Outcome {
    judge_kind(case, check, REFUSALS)
}

/// An area of the files: its types are told by the module of the same content beside this one.
struct Area {
    kinds: &'static [&'static str],
    run: Runner,
    judge: Judge,
}

const AREAS: [Area; 7] = [
    Area { kinds: crate::MAC_TYPES, run: macs::check, judge },
    Area { kinds: crate::PIN_BLOCK_TYPES, run: pins::check, judge },
    Area { kinds: crate::CARD_VERIFICATION_TYPES, run: cards::check, judge },
    Area { kinds: crate::TR31_TYPES, run: key_blocks::check, judge: key_blocks::judge },
    Area { kinds: crate::KEY_MANAGEMENT_TYPES, run: key_mgmt::check, judge },
    Area { kinds: crate::EMV_TYPES, run: emv::check, judge },
    Area { kinds: crate::DUKPT_TYPES, run: dukpt::check, judge: crate::dukpt::judge_answer },
];

/// Runs a case, and once more in a fresh vault if what the vault remembers of earlier cases may have decided.
fn run_case_undisturbed(chest: &mut Chest<'_, '_>, case: &Value) -> Outcome {
    let outcome = run_case(chest, case);
    let disturbed = chest.remembers_guesses() && matches!(outcome, Outcome::Failed(_));
    if !disturbed && !chest.limit_reached() {
        return outcome;
    }
    chest.start_afresh();
    let outcome = run_case(chest, case);
    if chest.limit_reached() {
        return Outcome::Skipped("a limit on guessing that one case alone reaches".to_owned());
    }
    outcome
}

fn run_case(chest: &mut Chest<'_, '_>, case: &Value) -> Outcome {
    let case = Case(case);
    let kind = case.kind();
    if kind.starts_with("scheme_") {
        return judge(case, emv::check(chest, case));
    }
    if let Some(area) = AREAS.iter().find(|area| area.kinds.contains(&kind)) {
        return (area.judge)(case, (area.run)(chest, case));
    }
    match kind {
        "sm4_kcv" => judge(case, key_mgmt::check(chest, case)),
        kind if crate::SM_TYPES.contains(&kind) => {
            judge(case, Err(no_command("SM2 (GB/T 32918), SM3 (GB/T 32905), SM4 in modes for data (GB/T 17964)")))
        }
        _ => Outcome::Skipped("no key of a vault is in it".to_owned()),
    }
}

/// There is no command for this.
fn no_command(what: &str) -> Problem {
    Problem::NotBuilt(format!("an algorithm without a command: {what}"))
}

/// A value between, which no command shows.
fn inner_step(what: &str) -> Problem {
    Problem::NotBuilt(format!("a step inside a command: {what}"))
}

/// The words of the key socket have no form for such a value: whoever speaks them is stopped before.
fn unsayable(what: &str) -> Problem {
    Problem::NotBuilt(format!("no word of the key socket says it: {what}"))
}

/// What the published value is not.
fn differs(what: &str) -> Problem {
    Problem::Differs(what.to_owned())
}

/// The answer was of another kind than the command has.
fn stray(reply: &keys::Reply) -> Problem {
    Problem::Differs(format!("answered with {}", reply.name()))
}

/// The verdict on what is published must be yes, and on the same with a change no.
fn verdicts(published: bool, changed: bool) -> Check {
    match (published, changed) {
        (true, false) => Ok(()),
        (false, _) => Err(differs("the published value does not verify")),
        (true, true) => Err(differs("an altered value verifies")),
    }
}

/// The bytes with one bit of the last changed.
fn altered(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

/// The digits with the last one counted up.
fn altered_digits(digits: &[u8]) -> Vec<u8> {
    let mut digits = digits.to_vec();
    if let Some(last) = digits.last_mut() {
        *last = if *last == b'9' { b'0' } else { *last + 1 };
    }
    digits
}
