//! A run told step by step, and the smallest run that still shows what a long one found.

use crate::auditor::Claim;
use crate::faults::{Faults, KINDS};
use crate::store::StatementLine;
use crate::world::{Plan, World};
use crate::{Report, eye, report, run};

/// Something that happened, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Number of the event during which it did.
    pub event: u64,
    /// Virtual milliseconds since the world began.
    pub at_ms: u64,
    /// What.
    pub what: Told,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A terminal hands a frame (behind its length bytes) to the network.
    Request(Vec<u8>),
    /// A host does.
    Response(Vec<u8>),
    /// The bank's statement has a new line.
    Posting(StatementLine),
    /// A first receipt of an approved payment is handed out: terminal, batch, trace.
    Receipt(String, u32, u32),
    /// A slip is handed out for a sale that the host has not heard of: terminal, batch, trace, minor units.
    Promise(String, u32, u32, u64),
    /// The hosts' clock stands so many milliseconds from the right time from now on.
    HostClock(i64),
    /// What a terminal says in the end of one of its transactions: terminal, batch, trace.
    Claim(String, u32, u32, Claim),
    /// Anything else, in words.
    Note(String),
}

impl Told {
    /// In a line for people.
    pub fn line(&self) -> String {
        match self {
            Told::Request(frame) => format!("-> {}", frame_line(frame)),
            Told::Response(frame) => format!("<- {}", frame_line(frame)),
            Told::Posting(line) => {
                let legs: Vec<String> =
                    line.legs.iter().map(|(account, delta)| format!("{account} {delta:+}")).collect();
                format!("booked {}: {}", line.id, legs.join(", "))
            }
            Told::Receipt(terminal, batch, trace) => format!("receipt {terminal}/{batch}/{trace}"),
            Told::Promise(terminal, batch, trace, minor) => {
                format!("slip of an offline sale {terminal}/{batch}/{trace} of {minor}")
            }
            Told::HostClock(off_ms) => format!("the hosts' clock stands {off_ms} ms off"),
            Told::Claim(terminal, batch, trace, claim) => format!("{terminal}/{batch}/{trace} ends as {claim:?}"),
            Told::Note(text) => text.clone(),
        }
    }
}

fn frame_line(frame: &[u8]) -> String {
    let Some(seen) = eye::read(frame) else { return format!("{} bytes that are no message", frame.len()) };
    let mut line = format!("{} type {} terminal {} batch {}", seen.mti, seen.kind, seen.terminal, seen.batch);
    let parts = [
        seen.trace.map(|trace| format!(" trace {trace}")),
        seen.amount_minor.map(|minor| format!(" amount {minor}")),
        seen.reference.map(|reference| format!(" reference {reference}")),
        seen.response_code.map(|code| format!(" code {code}")),
    ];
    parts.into_iter().flatten().for_each(|part| line.push_str(&part));
    line
}

/// Hears every step.
pub(crate) type Listener = Box<dyn FnMut(Step)>;

/// Where a replay stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Nowhere.
    End,
    /// At the event of this number.
    Event(u64),
    /// At the first broken promise.
    Violation,
}

/// Runs a plan and tells every step to a listener.
///
/// # Errors
/// If the world cannot be set up.
pub fn replay(plan: Plan, until: Until, listener: impl FnMut(Step) + 'static) -> anyhow::Result<Report> {
    let mut world = World::new(plan)?;
    world.listen(Box::new(listener), until);
    world.run();
    Ok(report(&plan, &world))
}

/// A smaller run that breaks a promise, too.
#[derive(Debug, Clone)]
pub struct Minimised {
    /// Its plan.
    pub plan: Plan,
    /// What it found.
    pub report: Report,
    /// Kinds of faults that it still needs.
    pub faults: Vec<&'static str>,
    /// Runs that were tried.
    pub runs: u32,
}

/// Looks for the least that still breaks a promise: fewer transactions, fewer kinds of faults. `None` if the plan breaks none.
///
/// # Errors
/// If a world cannot be set up.
pub fn minimise(plan: Plan) -> anyhow::Result<Option<Minimised>> {
    let report = run(plan)?;
    if report.violations.is_empty() {
        return Ok(None);
    }
    let mut least = Minimised { plan, report, faults: Vec::new(), runs: 1 };
    shorten(&mut least)?;
    for kind in KINDS {
        let lighter = Plan { faults: least.plan.faults.without(kind), ..least.plan };
        if lighter.faults != least.plan.faults && !try_plan(&mut least, lighter)? {
            least.faults.push(kind);
        }
    }
    shorten(&mut least)?;
    Ok(Some(least))
}

/// Halves the number of transactions as long as that still shows it, then goes back by smaller and smaller steps.
fn shorten(least: &mut Minimised) -> anyhow::Result<()> {
    let mut step = least.plan.transactions / 2;
    while step > 0 {
        let transactions = least.plan.transactions.saturating_sub(step);
        let plan = Plan { transactions, ..least.plan };
        if transactions == 0 || !try_plan(least, plan)? {
            step /= 2;
        }
    }
    Ok(())
}

fn try_plan(least: &mut Minimised, plan: Plan) -> anyhow::Result<bool> {
    least.runs += 1;
    let report = run(plan)?;
    if report.violations.is_empty() {
        return Ok(false);
    }
    (least.plan, least.report) = (plan, report);
    Ok(true)
}

impl Faults {
    /// The same mix without one of [`KINDS`].
    fn without(self, kind: &str) -> Self {
        let mut faults = self;
        match kind {
            "loss" => faults.loss = 0,
            "duplicate" => faults.duplicate = 0,
            "late" => faults.late = 0,
            "reorder" => faults.delay_ms_max = Faults::NONE.delay_ms_max,
            "refused" => faults.refused = 0,
            "terminal-crash" => faults.terminal_crash = 0,
            "host-crash" => faults.host_crash = 0,
            "keys" => faults.key_outage = 0,
            "card" => faults.card_removed = 0,
            "conflict" => faults.conflict = 0,
            "clock" => faults.clock_jump = 0,
            "host-clock" => faults.host_clock_jump = 0,
            _ => {}
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Canary, plan};
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn a_replay_is_the_run_and_tells_all_of_it() {
        let plan = plan(5, 60, "loss").unwrap();
        let told: Rc<RefCell<Vec<Step>>> = Rc::default();
        let listener = Rc::clone(&told);
        let report = replay(plan, Until::End, move |step| listener.borrow_mut().push(step)).unwrap();
        assert_eq!(report.event_hash, run(plan).unwrap().event_hash);
        let told = told.borrow();
        assert!(told.is_sorted_by_key(|step| (step.event, step.at_ms)));
        let count = |belongs: fn(&Told) -> bool| told.iter().filter(|step| belongs(&step.what)).count();
        assert!(count(|told| matches!(told, Told::Request(_))) > 60);
        assert!(count(|told| matches!(told, Told::Posting(_))) > 20);
        assert!(count(|told| matches!(told, Told::Receipt(..))) > 5);
        assert!(count(|told| matches!(told, Told::Claim(..))) > 20);
        assert!(told.iter().all(|step| !step.what.line().is_empty()));
    }

    #[test]
    fn a_replay_stops_where_it_is_told_to() {
        let plan = plan(5, 60, "all").unwrap();
        let last: Rc<RefCell<u64>> = Rc::default();
        let listener = Rc::clone(&last);
        let report = replay(plan, Until::Event(500), move |step| *listener.borrow_mut() = step.event).unwrap();
        assert_eq!(report.events, 500);
        assert!(*last.borrow() <= 500);
    }

    #[test]
    fn a_planted_bug_is_shown_by_a_few_transactions() {
        let plan = plan(1, 300, "all").unwrap();
        let least = minimise(Plan { canary: Some(Canary::RefundUnbounded), ..plan }).unwrap();
        let least = least.or_else(|| {
            let plan = Plan { canary: Some(Canary::SaleDoubled), ..plan };
            minimise(plan).unwrap()
        });
        let least = least.expect("one of two planted bugs shows itself in 300 transactions");
        assert!(least.plan.transactions < 300, "{least:?}");
        assert!(!least.report.violations.is_empty());
        assert!(minimise(plan).unwrap().is_none(), "where nothing is wrong there is nothing to make smaller");
    }
}
