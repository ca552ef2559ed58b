//! Risk rules in use, and tried on what has passed before they are.

use acquirer::{Decision, Policies, Record, SPACE_PAST};
use anyhow::{Context, anyhow};
use machine::store::StoreFault;
use machine::wire::Encode;
use risk::{FindingKind, History, Memory, Past, Question, RuleSet, Scope, Screening, past_range};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use store_sqlite::SqliteStore;
use types::{Amount, TerminalId};

/// Examples kept of each rule in a replay.
const EXAMPLES_MAX: usize = 5;

/// Reads a file of rules.
///
/// # Errors
/// The file's, or the first mistake in it with its rule, line and column.
pub fn read_rules(path: &Path) -> anyhow::Result<RuleSet> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    rules::read(&text, &acquirer::kind_names()).map_err(|what| anyhow!("{}: {what}", path.display()))
}

/// Rules and how far they look back.
pub(crate) struct LoadedRules {
    set: RuleSet,
    minutes: BTreeMap<Scope, u32>,
}

impl LoadedRules {
    pub fn new(set: RuleSet) -> Self {
        let minutes = Scope::ALL.into_iter().map(|scope| (scope, set.minutes(scope))).collect();
        Self { set, minutes }
    }

    /// What the rules say. Of the past only those scopes are read that a condition comes to look back on.
    pub fn judge(&self, store: &SqliteStore, question: &Question) -> Result<Screening, StoreFault> {
        let fault = Cell::new(None);
        let history = History::new(|scope| {
            let minutes = self.minutes.get(&scope).copied().unwrap_or(0);
            let past = if minutes > 0 { read_past(store, scope, question, minutes) } else { Ok(Vec::new()) };
            past.unwrap_or_else(|cause| {
                fault.set(Some(cause));
                Vec::new()
            })
        });
        let screening = self.set.judge(question, &history);
        match fault.take() {
            Some(cause) => Err(cause),
            None => Ok(screening),
        }
    }
}

fn read_past(store: &SqliteStore, scope: Scope, question: &Question, minutes: u32) -> Result<Vec<Past>, StoreFault> {
    let Some((from, until)) = past_range(scope, question, minutes) else { return Ok(Vec::new()) };
    let facts = store.facts_between(SPACE_PAST, &from, &until, risk::HISTORY_ENTRIES_MAX)?;
    // A row of a later version of the program is passed over: the past advises, it does not decide.
    Ok(facts.iter().filter_map(|fact| Past::from_bytes(&fact.value).ok()).collect())
}

/// A transaction that a rule applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// `terminal/batch/trace/type`.
    pub intent: String,
    /// F37.
    pub rrn: String,
    /// The card, first six and last four digits.
    pub card: Option<String>,
    /// How much.
    pub amount: Amount,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
}

/// What one rule would have done.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RuleReport {
    /// Transactions that it would have flagged.
    pub flagged: u64,
    /// Transactions that it would have refused.
    pub refused: u64,
    /// Transactions that one of its exceptions would have excused.
    pub excused: u64,
    /// Sum of what it would have refused, minor units.
    pub refused_minor: u64,
    /// Some of them.
    pub examples: Vec<Example>,
}

/// What a rule set would have done.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Replay {
    /// Transactions that it would have been asked about.
    pub transactions: u64,
    /// Of those, transactions that were approved and would have been refused.
    pub lost: u64,
    /// By rule, in the set's order.
    pub rules: Vec<(String, RuleReport)>,
    /// Decisions made under the same version whose record says something else than the replay does, from what the host knew then.
    pub differing: Vec<String>,
}

impl fmt::Display for Replay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transactions, lost, rules, differing } = self;
        writeln!(formatter, "{transactions} transactions; {lost} that were approved would have been refused")?;
        for (id, report) in rules {
            let RuleReport { flagged, refused, excused, refused_minor, examples } = report;
            writeln!(
                formatter,
                "{id:<20} flagged {flagged}, refused {refused} ({refused_minor} minor units), excused {excused}"
            )?;
            for Example { intent, rrn, card, amount, .. } in examples {
                let card = card.as_deref().unwrap_or("no card");
                writeln!(formatter, "    {intent} reference {rrn} card {card} {amount}")?;
            }
        }
        differing.iter().try_for_each(|intent| writeln!(formatter, "RECORDED OTHERWISE {intent}"))
    }
}

/// Tries rules on everything that a store's terminals did between two times (Unix milliseconds), every one of the past being known
/// to those behind it. What was refused or flagged then stays what it was; only the rules' word is new.
///
/// # Errors
/// The store's, and damage to a journal. A record of a later version of the program is passed over.
pub fn replay(
    store: &SqliteStore,
    set: &RuleSet,
    policies: &Policies,
    from_ms: u64,
    until_ms: u64,
) -> Result<Replay, StoreFault> {
    let mut player = Player::new(set);
    for record in past_records(store, until_ms)? {
        player.play(&record, policies, from_ms);
    }
    Ok(player.replay)
}

/// Decisions and reversals of every terminal, in the order of their time.
fn past_records(store: &SqliteStore, until_ms: u64) -> Result<Vec<Record>, StoreFault> {
    let mut records = Vec::new();
    for summary in store.machines()? {
        if TerminalId::parse(summary.machine.text()).is_err() {
            continue;
        }
        for entry in store.journal(summary.machine)? {
            let Ok(record) = Record::from_bytes(&entry.record) else { continue };
            let wall_ms = match &record {
                Record::Decided(decision) => decision.wall_ms,
                Record::Reversed(reversal) => reversal.wall_ms,
                _ => continue,
            };
            if wall_ms < until_ms {
                records.push((wall_ms, summary.machine, entry.sequence, record));
            }
        }
    }
    records.sort_by_key(|(wall_ms, machine, sequence, _)| (*wall_ms, *machine, *sequence));
    Ok(records.into_iter().map(|(_, _, _, record)| record).collect())
}

struct Player<'a> {
    set: &'a RuleSet,
    minutes: BTreeMap<Scope, u32>,
    memory: Memory,
    /// What the host itself remembered: its past begins where rules came into use.
    known: Memory,
    /// Approved transactions by reference number, for what refunds and voids name.
    originals: BTreeMap<[u8; 12], (ledger::Intent, Amount, u64)>,
    replay: Replay,
}

impl<'a> Player<'a> {
    fn new(set: &'a RuleSet) -> Self {
        let rules = set.rules.iter().map(|rule| (rule.id.clone(), RuleReport::default())).collect();
        Self {
            set,
            minutes: Scope::ALL.into_iter().map(|scope| (scope, set.minutes(scope))).collect(),
            memory: Memory::default(),
            known: Memory::default(),
            originals: BTreeMap::new(),
            replay: Replay { rules, ..Replay::default() },
        }
    }

    fn play(&mut self, record: &Record, policies: &Policies, from_ms: u64) {
        if let Record::Decided(decision) = record {
            if decision.wall_ms >= from_ms {
                self.ask(decision, policies);
            }
            if decision.is_approved() {
                let original = (decision.intent, decision.amount, decision.wall_ms);
                self.originals.insert(*decision.answer.rrn.bytes(), original);
            }
        }
        let Some(past) = acquirer::past_of(record) else { return };
        self.memory.add(&past);
        if !matches!(record, Record::Decided(decision) if decision.screening.is_none()) {
            self.known.add(&past);
        }
    }

    fn ask(&mut self, decision: &Decision, policies: &Policies) {
        let category = policies.of(decision.intent.merchant).category;
        let original = |rrn: &[u8; 12]| self.originals.get(rrn).copied();
        let Some(question) = acquirer::question_of(decision, category, original) else { return };
        let judged = |memory: &Memory| {
            self.set.judge(&question, &memory.history(&question, |scope| self.minutes[&scope])).softened()
        };
        let recorded = decision.screening.as_ref().filter(|recorded| recorded.version == self.set.version);
        if recorded.is_some_and(|recorded| recorded.clone().softened() != judged(&self.known)) {
            self.replay.differing.push(decision.intent.text());
        }
        let screening = self.set.judge(&question, &self.memory.history(&question, |scope| self.minutes[&scope]));
        self.count(decision, &screening);
    }

    fn count(&mut self, decision: &Decision, screening: &Screening) {
        self.replay.transactions += 1;
        if decision.is_approved() && screening.refusal().is_some() {
            self.replay.lost += 1;
        }
        for finding in &screening.findings {
            let Some((_, report)) = self.replay.rules.iter_mut().find(|(id, _)| *id == finding.rule) else { continue };
            report.add(finding.kind, decision);
        }
    }
}

impl RuleReport {
    fn add(&mut self, kind: FindingKind, decision: &Decision) {
        match kind {
            FindingKind::Flagged | FindingKind::Softened(_) => self.flagged += 1,
            FindingKind::Refused(_) => {
                self.refused += 1;
                self.refused_minor = self.refused_minor.saturating_add(decision.amount.minor());
            }
            FindingKind::Excused => self.excused += 1,
        }
        if self.examples.len() < EXAMPLES_MAX && kind != FindingKind::Excused {
            self.examples.push(Example {
                intent: decision.intent.text(),
                rrn: decision.answer.rrn.text().to_owned(),
                card: decision.truncated.as_ref().map(|card| card.text().to_owned()),
                amount: decision.amount,
                wall_ms: decision.wall_ms,
            });
        }
    }
}
