//! The independent auditor: predicts what must be true from what shopper, cashier and bank saw, and says where it is not.
//!
//! It is fed only with frames on the wire (read by its own [`crate::eye`]), receipts handed out, what terminals claim of their
//! transactions, and the bank's statement. It shares no code with the product.

mod promises;
mod tips;

pub use promises::OfflineTerms;

use crate::eye::{self, Seen};
use crate::store::StatementLine;
use promises::Promises;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tips::Tips;

/// A broken invariant, named as in the security anchors (M1, M2 …).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen, without card data.
    pub detail: String,
}

/// Names one decision: terminal, batch, trace.
pub type IntentName = (String, u32, u32);

/// What a terminal says of one of its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Nothing final yet.
    Open,
    /// Approved: a receipt may be out.
    Approved,
    /// Declined, cancelled before a byte left, or never sent.
    NotDone,
    /// Reversed, and the host acknowledged it.
    Reversed,
}

/// What a transaction is, as far as money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Takes money.
    Sale,
    /// Gives a whole sale back.
    Void,
    /// Gives a part back.
    Refund,
    /// Sets money aside and owes nobody.
    Hold,
    /// Ends a hold.
    HoldVoid,
    /// Ends a hold and takes money.
    Completion,
    /// The same as a notice, which is sent until it is decided.
    CompletionNotice,
    /// Gives a completion back.
    CompletionVoid,
    /// Takes money that a card has promised already.
    OfflineSale,
    /// Takes a tip on top of a sale.
    Tip,
}

impl Kind {
    /// What it does to the cardholder's account: -1 takes, 1 gives back.
    fn sign(self) -> i64 {
        match self {
            Kind::Sale | Kind::Hold | Kind::Completion | Kind::CompletionNotice | Kind::OfflineSale | Kind::Tip => -1,
            Kind::Void | Kind::Refund | Kind::HoldVoid | Kind::CompletionVoid => 1,
        }
    }

    fn is_notice(self) -> bool {
        matches!(self, Kind::Refund | Kind::CompletionNotice | Kind::OfflineSale | Kind::Tip)
    }
}

/// A completion may exceed its authorisation to this many per cent (unionpay-pos §8.7).
const COMPLETION_PERCENT: u64 = 115;
/// A hold that nobody ended falls after this time and not before: thirty days (unionpay-pos §8.7).
const AUTHORISATION_MS: u64 = 30 * 24 * 3_600_000;

#[derive(Debug, Clone)]
struct Intent {
    kind: Kind,
    amount_minor: u64,
    claim: Claim,
    receipts: u32,
    tombstone: bool,
    /// Frames of it that may have reached the host.
    frames: u32,
}

impl Intent {
    fn new(kind: Kind, amount_minor: u64) -> Self {
        Self { kind, amount_minor, claim: Claim::Open, receipts: 0, tombstone: false, frames: 0 }
    }

    /// Whether a message is this intent's. A sale that never left may become an offline sale under its own trace number.
    fn is(&self, kind: Kind, amount_minor: u64) -> bool {
        let unsent = self.frames == 0 && (self.kind, kind) == (Kind::Sale, Kind::OfflineSale);
        (self.kind == kind || unsent) && self.amount_minor == amount_minor
    }
}

/// What the hosts' clock said at about the time at which something was decided, in milliseconds. Between two readings if it jumped then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The earlier.
    pub earliest_ms: u64,
    /// The later.
    pub latest_ms: u64,
}

impl From<u64> for Reading {
    fn from(wall_ms: u64) -> Self {
        Self { earliest_ms: wall_ms, latest_ms: wall_ms }
    }
}

#[derive(Debug, Default, Clone)]
struct Booked {
    forward: u32,
    back: u32,
    amount_minor: i64,
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct Auditor {
    intents: BTreeMap<IntentName, Intent>,
    open: BTreeMap<String, Vec<IntentName>>,
    batches: BTreeMap<String, u32>,
    booked: BTreeMap<IntentName, Booked>,
    captures: HashMap<String, i64>,
    /// What each pre-authorisation holds.
    holds: BTreeMap<IntentName, i64>,
    /// When each hold was placed, at the latest again, by the hosts' clock.
    placed: BTreeMap<IntentName, Reading>,
    /// Holds that fell because their time was over.
    expired: BTreeSet<IntentName>,
    /// Which pre-authorisation an intent ended.
    ended: BTreeMap<IntentName, IntentName>,
    seen_lines: HashMap<String, u32>,
    lines_read: usize,
    promises: Promises,
    tips: Tips,
    violations: Vec<Violation>,
}

const VIOLATIONS_KEPT: usize = 100;

impl Auditor {
    /// What was found.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Adds a finding of the world around it (a restart that did not heal, a hash that differs).
    pub fn report(&mut self, invariant: &'static str, detail: String) {
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(Violation { invariant, detail });
        }
    }

    /// How many holds fell because their time was over.
    pub fn holds_fallen(&self) -> u64 {
        self.expired.len() as u64
    }

    /// Intents of a terminal that are not final as far as the auditor knows: the world asks the terminal about them.
    pub fn open_intents(&self, terminal: &str) -> &[IntentName] {
        self.open.get(terminal).map_or(&[], Vec::as_slice)
    }

    /// What a terminal says of a transaction. Final claims never change but from approved to reversed by its own reversal.
    pub fn claim(&mut self, name: &IntentName, claim: Claim) {
        let Some(intent) = self.intents.get_mut(name) else { return };
        let before = intent.claim;
        intent.claim = claim;
        let allowed = before == Claim::Open || before == claim || (before, claim) == (Claim::Approved, Claim::Reversed);
        // The slip of an offline sale is out before the host decides.
        let promised = intent.kind == Kind::OfflineSale && claim == Claim::Open;
        let receipts = if promised { 0 } else { intent.receipts };
        if !allowed {
            self.report("M8", format!("{name:?} was {before:?} and became {claim:?}"));
        }
        if receipts > 0 && claim != Claim::Approved {
            self.report("M8", format!("{name:?} has a receipt and became {claim:?}"));
        }
        if claim != Claim::Open
            && let Some(open) = self.open.get_mut(&name.0)
        {
            open.retain(|other| other != name);
        }
    }

    /// A terminal hands a request frame to the network; `None` if the auditor's eye cannot read it.
    pub fn frame_sent(&mut self, seen: Option<&Seen>) {
        let Some(seen) = seen else {
            return self.report("O1", "a terminal sent a frame that is no message of the dialect".to_owned());
        };
        self.batch_moves_forward(seen);
        let Some(trace) = seen.trace else { return };
        let name = (seen.terminal.clone(), seen.batch, trace);
        if seen.is_financial() && seen.kind != eye::QR_QUERY && !self.intents.contains_key(&name) {
            self.nothing_is_open(seen, &name);
        }
        if let Some(kind) = kind_of(seen) {
            self.note_intent(name, kind, seen);
        }
    }

    /// The line did not take a frame: surely nobody will ever see it.
    pub fn frame_never_left(&mut self, seen: &Seen) {
        let Some(trace) = seen.trace.filter(|_| kind_of(seen).is_some()) else { return };
        if let Some(intent) = self.intents.get_mut(&(seen.terminal.clone(), seen.batch, trace)) {
            intent.frames -= 1;
        }
    }

    fn batch_moves_forward(&mut self, seen: &Seen) {
        let last = self.batches.entry(seen.terminal.clone()).or_insert(seen.batch);
        if seen.is_financial() && seen.batch < *last {
            let detail = format!("{} went from batch {last} to {}", seen.terminal, seen.batch);
            self.report("O2", detail);
        } else if seen.is_financial() {
            *last = seen.batch;
        }
    }

    fn nothing_is_open(&mut self, seen: &Seen, name: &IntentName) {
        let blocking =
            self.open_intents(&seen.terminal).iter().find(|open| !self.intents[*open].kind.is_notice()).cloned();
        if let Some(open) = blocking {
            self.report("M7", format!("{} {name:?} left while {open:?} was not resolved", seen.mti));
        }
    }

    fn note_intent(&mut self, name: IntentName, kind: Kind, seen: &Seen) {
        let amount_minor = seen.moved_minor().unwrap_or(0);
        if kind == Kind::OfflineSale {
            self.upload_sent(&name);
        }
        if let (Kind::Tip, Some(original)) = (kind, seen.original) {
            self.tip_sent(&name, original, seen);
        }
        match self.intents.get_mut(&name) {
            Some(known) if known.is(kind, amount_minor) => {
                known.kind = kind;
                known.frames += 1;
            }
            Some(_) => self.report("O1", format!("{name:?} was used for two different messages")),
            None => self.begin(name, Intent { frames: 1, ..Intent::new(kind, amount_minor) }),
        }
    }

    fn begin(&mut self, name: IntentName, intent: Intent) {
        self.open.entry(name.0.clone()).or_default().push(name.clone());
        self.intents.insert(name, intent);
    }

    /// The host answers a reversal: 25 means that it does not know the original and must refuse it for ever.
    pub fn reversal_answered(&mut self, seen: &Seen) {
        let (Some(trace), Some(code)) = (seen.trace, &seen.response_code) else { return };
        if seen.mti == "0410" && code == "25" {
            let name = (seen.terminal.clone(), seen.batch, trace);
            let booked = self.booked.get(&name).is_some_and(|booked| booked.forward > booked.back);
            if let Some(intent) = self.intents.get_mut(&name) {
                intent.tombstone = true;
            }
            if booked {
                self.report("M6", format!("a reversal of the booked {name:?} was answered 25"));
            }
        }
    }

    /// A receipt of an approved transaction is in the shopper's hand. The bank must have booked it before.
    pub fn receipt(&mut self, name: &IntentName) {
        let booked = self.booked.get(name).is_some_and(|booked| booked.forward > booked.back);
        match self.intents.get_mut(name) {
            Some(intent) => intent.receipts += 1,
            None => return self.report("M3", format!("a receipt for {name:?}, which was never sent")),
        }
        if !booked {
            self.report("M3", format!("a receipt for {name:?} before the bank booked it"));
        }
    }

    /// Reads what is new on the bank's statement, and what the hosts' clock says.
    pub fn read_statement(&mut self, statement: &[StatementLine], now: impl Into<Reading>) {
        let now = now.into();
        if statement.len() < self.lines_read {
            let lost = self.lines_read - statement.len();
            self.report("O2", format!("{lost} postings are no longer on the bank's statement"));
        }
        for line in statement.get(self.lines_read..).unwrap_or_default() {
            self.read_line(line, now);
        }
        self.lines_read = statement.len();
    }

    fn read_line(&mut self, line: &StatementLine, now: Reading) {
        let times = self.seen_lines.entry(line.id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            self.report("M1", format!("the bank booked {} twice", line.id));
        }
        if line.legs.iter().map(|(_, delta)| delta).sum::<i64>() != 0 {
            self.report("M10", format!("{} does not sum to zero", line.id));
        }
        self.read_capture(line);
        let mut parts = line.id.split('/');
        let verb = parts.next().unwrap_or_default();
        let name = intent_name(&mut parts);
        let Some(name) = name else { return };
        self.read_hold(verb, &name, line, now);
        let ends_itself = self.intents.get(&name).is_none_or(|intent| intent.kind == Kind::HoldVoid);
        match verb {
            "hold" => self.booked_forward(name, line),
            "expiry" => self.expires(name, line, now),
            "completion" => {
                self.within_bound(&name, line);
                self.booked_forward(name, line);
            }
            "adjustment" => {
                self.tip_booked(&name, line);
                self.booked_forward(name, line);
            }
            "sale" | "void" | "refund" => self.booked_forward(name, line),
            "reversal" | "reinstatement" | "unhold" => self.booked_back(name, line),
            // A completion's hold ends beside the money that moves: that is another line.
            "release" if ends_itself => self.booked_forward(name, line),
            "rehold" if ends_itself => self.booked_back(name, line),
            _ => {}
        }
    }

    /// What is left of a sale is never negative: refunds and voids together never exceed it.
    fn read_capture(&mut self, line: &StatementLine) {
        for (account, delta) in line.legs.iter().filter(|(account, _)| account.starts_with("capture/")) {
            let left = self.captures.entry(account.clone()).or_default();
            *left += delta;
            if *left < 0 {
                let detail = format!("{} leaves {left} on {account}", line.id);
                self.report("M9", detail);
            }
        }
    }

    /// H1: a hold stands whole or not at all; it is placed once and ended once.
    fn read_hold(&mut self, verb: &str, by: &IntentName, line: &StatementLine, now: Reading) {
        for (account, delta) in line.legs.iter().filter(|(account, _)| account.starts_with("hold/")) {
            let Some(held) = intent_name(&mut account.split('/').skip(1)) else { continue };
            let amount = self.intents.get(&held).filter(|intent| intent.kind == Kind::Hold);
            let whole = amount.and_then(|intent| i64::try_from(intent.amount_minor).ok()).unwrap_or(0);
            let left = self.holds.entry(held.clone()).or_default();
            *left += delta;
            let left = *left;
            if left != 0 && left != whole {
                self.report("H1", format!("{} leaves {left} on {account}, which holds {whole} or nothing", line.id));
            }
            match verb {
                "release" => drop(self.ended.insert(by.clone(), held)),
                "hold" | "rehold" => drop(self.placed.insert(held, now)),
                _ => {}
            }
        }
    }

    /// H3: a hold falls by itself when its time is over, and never before.
    fn expires(&mut self, name: IntentName, line: &StatementLine, now: Reading) {
        let held_ms = self.placed.get(&name).map(|placed| now.latest_ms.saturating_sub(placed.earliest_ms));
        if held_ms.is_none_or(|held| held < AUTHORISATION_MS) {
            self.report("H3", format!("{} fell after {held_ms:?} ms", line.id));
        }
        self.expired.insert(name);
    }

    /// H2: a completion ends a hold and stays within its bound.
    fn within_bound(&mut self, name: &IntentName, line: &StatementLine) {
        let held = self.ended.get(name).and_then(|held| self.intents.get(held)).map(|intent| intent.amount_minor);
        let taken = Self::card_delta(line).unsigned_abs();
        match held {
            None => self.report("H2", format!("{} took money and ended no hold", line.id)),
            Some(held) if taken * 100 > held * COMPLETION_PERCENT => {
                self.report("H2", format!("{} took {taken} of {held} that were authorised", line.id));
            }
            Some(_) => {}
        }
    }

    /// What is held at rest is what the terminals' slips say: authorised, and not ended by anything that stands.
    fn holds_at_rest(&mut self) {
        let is_approved = |name: &IntentName| self.intents.get(name).is_some_and(|by| by.claim == Claim::Approved);
        let mut found = Vec::new();
        for (name, hold) in self.intents.iter().filter(|(_, intent)| intent.kind == Kind::Hold) {
            let ends = self.ended.iter().filter(|(by, held)| *held == name && is_approved(by)).count();
            let held = u64::try_from(self.holds.get(name).copied().unwrap_or(0)).unwrap_or(u64::MAX);
            let stands = hold.claim == Claim::Approved && ends == 0 && !self.expired.contains(name);
            let expected = if stands { hold.amount_minor } else { 0 };
            if ends > 1 {
                found.push(("H2", format!("{name:?} was ended {ends} times")));
            }
            if held != expected {
                found.push(("H1", format!("{name:?} holds {held} and should hold {expected}")));
            }
        }
        found.into_iter().for_each(|(invariant, detail)| self.report(invariant, detail));
    }

    fn card_delta(line: &StatementLine) -> i64 {
        line.legs.iter().filter(|(account, _)| eye::is_payers(account)).map(|(_, delta)| delta).sum()
    }

    fn booked_forward(&mut self, name: IntentName, line: &StatementLine) {
        let delta = Self::card_delta(line);
        let booked = self.booked.entry(name.clone()).or_default();
        booked.forward += 1;
        booked.amount_minor = delta;
        let standing = booked.forward - booked.back;
        match self.intents.get(&name) {
            None => self.report("M1", format!("{} is of an intent that no terminal sent", line.id)),
            Some(intent) => {
                let amount = i64::try_from(intent.amount_minor).unwrap_or(i64::MAX);
                let expected = amount.saturating_mul(intent.kind.sign());
                let tombstone = intent.tombstone;
                if delta != expected {
                    self.report("M1", format!("{} moved {delta} and not {expected}", line.id));
                }
                if tombstone {
                    self.report("M6", format!("{} was booked behind its tombstone", line.id));
                }
            }
        }
        if standing > 1 {
            self.report("M1", format!("{name:?} stands {standing} times"));
        }
    }

    fn booked_back(&mut self, name: IntentName, line: &StatementLine) {
        let delta = Self::card_delta(line);
        let booked = self.booked.entry(name.clone()).or_default();
        booked.back += 1;
        let wrong = booked.back > booked.forward || delta != -booked.amount_minor;
        if wrong {
            self.report("M5", format!("{} gives back what was not taken", line.id));
        }
    }

    /// What terminals say of every transaction that left them.
    pub fn claims(&self) -> Vec<(String, u32, u32, Claim)> {
        let claims = self.intents.iter();
        claims.map(|((terminal, batch, trace), intent)| (terminal.clone(), *batch, *trace, intent.claim)).collect()
    }

    /// Intents of which the host must know for ever that they were decided: booked ones, and those it buried under a tombstone.
    pub fn never_forgotten(&self) -> impl Iterator<Item = &IntentName> {
        let booked = self.booked.iter().filter(|(_, booked)| booked.forward > 0).map(|(name, _)| name);
        booked.chain(self.intents.iter().filter(|(_, intent)| intent.tombstone).map(|(name, _)| name))
    }

    /// At rest, with every queue drained: both sides must agree on every transaction.
    pub fn at_rest(&mut self) {
        self.holds_at_rest();
        let intents: Vec<(IntentName, Intent)> =
            self.intents.iter().map(|(name, intent)| (name.clone(), intent.clone())).collect();
        for (name, intent) in intents {
            let stands = self.booked.get(&name).is_some_and(|booked| booked.forward > booked.back);
            match (intent.claim, stands) {
                (Claim::Open, _) => self.report("L1", format!("{name:?} was never resolved")),
                (Claim::Approved, false) => {
                    self.report("M2", format!("{name:?} is approved at the terminal and not booked"))
                }
                // What fell because its time was over is with the cardholder: its reversal finds nothing left.
                (Claim::Reversed, true) if self.expired.contains(&name) => {}
                (Claim::NotDone | Claim::Reversed, true) => {
                    self.report("M4", format!("{name:?} is {:?} at the terminal and booked", intent.claim));
                }
                _ => {}
            }
            if intent.receipts > 1 {
                self.report("M3", format!("{name:?} has {} first receipts", intent.receipts));
            }
        }
    }
}

fn kind_of(seen: &Seen) -> Option<Kind> {
    match (seen.mti.as_str(), seen.kind.as_str()) {
        ("0200", "22") => Some(Kind::Sale),
        ("0200", "23") => Some(Kind::Void),
        ("0220", "25") => Some(Kind::Refund),
        ("0100", "10") => Some(Kind::Hold),
        ("0100", "11") => Some(Kind::HoldVoid),
        ("0200", "20") => Some(Kind::Completion),
        ("0200", "21") => Some(Kind::CompletionVoid),
        ("0220", "24") => Some(Kind::CompletionNotice),
        ("0200", eye::OFFLINE_SALE) => Some(Kind::OfflineSale),
        ("0220", eye::TIP) => Some(Kind::Tip),
        _ => None,
    }
}

fn intent_name<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<IntentName> {
    Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn line(id: &str, card: i64) -> StatementLine {
        let legs = vec![
            ("card/aa".to_owned(), card),
            ("merchant/1/payable".to_owned(), -card),
            ("capture/12345678/000007/000002".to_owned(), -card),
            ("merchant/1/captures".to_owned(), card),
        ];
        StatementLine { id: id.to_owned(), legs }
    }

    fn auditor_with_sale() -> (Auditor, IntentName) {
        let mut auditor = Auditor::default();
        let name = ("12345678".to_owned(), 7, 2);
        auditor.note_intent(name.clone(), Kind::Sale, &seen("0200", "22", 2, 500));
        (auditor, name)
    }

    pub(super) fn found(auditor: &Auditor) -> Vec<&'static str> {
        auditor.violations().iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn a_clean_sale_passes() {
        let (mut auditor, name) = auditor_with_sale();
        auditor.read_statement(&[line("sale/12345678/000007/000002/0200", -500)], 0);
        auditor.receipt(&name);
        auditor.claim(&name, Claim::Approved);
        auditor.at_rest();
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());
    }

    pub(super) fn seen(mti: &str, kind: &str, trace: u32, minor: u64) -> Seen {
        Seen {
            mti: mti.to_owned(),
            processing_code: None,
            amount_minor: Some(minor),
            trace: Some(trace),
            reference: None,
            response_code: None,
            terminal: "12345678".to_owned(),
            kind: kind.to_owned(),
            batch: 7,
            tip_minor: None,
            original: None,
            counter: None,
            instalments: None,
            is_qr: false,
            payment_code: None,
        }
    }

    fn hold_line(id: &str, held: i64) -> StatementLine {
        let legs = vec![("card/aa".to_owned(), -held), ("hold/12345678/000007/000002".to_owned(), held)];
        StatementLine { id: id.to_owned(), legs }
    }

    fn completion_line(minor: i64) -> StatementLine {
        let mut line = line("completion/12345678/000007/000003/0200", -minor);
        line.legs[2].0 = "capture/12345678/000007/000003".to_owned();
        line
    }

    fn auditor_with_hold() -> (Auditor, IntentName, IntentName) {
        let mut auditor = Auditor::default();
        let names = [2, 3].map(|trace| ("12345678".to_owned(), 7, trace));
        auditor.note_intent(names[0].clone(), Kind::Hold, &seen("0100", "10", 2, 500));
        auditor.read_statement(&[hold_line("hold/12345678/000007/000002/0100", 500)], 0);
        auditor.claim(&names[0], Claim::Approved);
        let [hold, end] = names;
        (auditor, hold, end)
    }

    #[test]
    fn a_hold_that_is_completed_within_its_bound_passes() {
        let (mut auditor, _, end) = auditor_with_hold();
        auditor.note_intent(end.clone(), Kind::Completion, &seen("0200", "20", 3, 575));
        let lines = [
            hold_line("hold/12345678/000007/000002/0100", 500),
            hold_line("release/12345678/000007/000003/0200", -500),
            completion_line(575),
        ];
        auditor.read_statement(&lines, 0);
        auditor.claim(&end, Claim::Approved);
        auditor.at_rest();
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());
    }

    #[test]
    fn what_is_wrong_with_a_hold_has_its_name() {
        let (mut auditor, _, end) = auditor_with_hold();
        auditor.note_intent(end.clone(), Kind::Completion, &seen("0200", "20", 3, 576));
        let placed = hold_line("hold/12345678/000007/000002/0100", 500);
        let release = hold_line("release/12345678/000007/000003/0200", -500);
        auditor.read_statement(&[placed.clone(), release.clone(), completion_line(576)], 0);
        assert_eq!(found(&auditor), ["H2"], "above the bound");
        let lines =
            [placed.clone(), release, completion_line(576), hold_line("release/12345678/000007/000004/0100", -500)];
        auditor.read_statement(&lines, 0);
        assert!(found(&auditor).contains(&"H1"), "ended twice");

        let (mut auditor, _, end) = auditor_with_hold();
        auditor.note_intent(end.clone(), Kind::Completion, &seen("0200", "20", 3, 500));
        auditor.read_statement(&[placed.clone(), completion_line(500)], 0);
        assert_eq!(found(&auditor), ["H2"], "money without the end of a hold");

        let (mut auditor, hold, _) = auditor_with_hold();
        auditor.claim(&hold, Claim::Reversed);
        auditor.at_rest();
        assert!(found(&auditor).contains(&"H1"), "still held after its reversal");
    }

    #[test]
    fn a_hold_falls_when_its_time_is_over_and_not_before() {
        let lines = [
            hold_line("hold/12345678/000007/000002/0100", 500),
            hold_line("expiry/12345678/000007/000002/12345678", -500),
        ];
        let (mut auditor, _, _) = auditor_with_hold();
        auditor.read_statement(&lines, AUTHORISATION_MS);
        auditor.at_rest();
        assert!(found(&auditor).is_empty(), "{:?}", auditor.violations());

        let (mut auditor, hold, _) = auditor_with_hold();
        auditor.read_statement(&lines, AUTHORISATION_MS);
        auditor.claim(&hold, Claim::Reversed);
        auditor.at_rest();
        assert!(found(&auditor).is_empty(), "reversed behind its end: {:?}", auditor.violations());

        let (mut auditor, _, _) = auditor_with_hold();
        let jumped = Reading { earliest_ms: 0, latest_ms: AUTHORISATION_MS };
        auditor.read_statement(&lines, jumped);
        assert!(found(&auditor).is_empty(), "the clock may have jumped between them: {:?}", auditor.violations());

        let (mut auditor, _, _) = auditor_with_hold();
        auditor.read_statement(&lines, AUTHORISATION_MS - 1);
        assert_eq!(found(&auditor), ["H3"], "a millisecond early");
    }

    #[test]
    fn each_planted_fault_has_its_name() {
        let (mut auditor, name) = auditor_with_sale();
        auditor.receipt(&name);
        assert_eq!(found(&auditor), ["M3"]);

        let (mut auditor, name) = auditor_with_sale();
        auditor.claim(&name, Claim::Approved);
        auditor.at_rest();
        assert_eq!(found(&auditor), ["M2"]);

        let (mut auditor, name) = auditor_with_sale();
        let sale = line("sale/12345678/000007/000002/0200", -500);
        auditor.read_statement(&[sale.clone(), line("reversal/12345678/000007/000002/0400", 400)], 0);
        assert_eq!(found(&auditor), ["M5"]);
        auditor.claim(&name, Claim::NotDone);
        auditor.claim(&name, Claim::Approved);
        assert_eq!(found(&auditor), ["M5", "M8"]);

        let (mut auditor, _) = auditor_with_sale();
        auditor.read_statement(&[sale.clone(), sale], 0);
        assert_eq!(found(&auditor), ["M1", "M1"]);

        let (mut auditor, _) = auditor_with_sale();
        auditor.read_statement(&[line("sale/12345678/000007/000002/0200", -501)], 0);
        assert_eq!(found(&auditor), ["M1"]);

        let (mut auditor, _) = auditor_with_sale();
        auditor.at_rest();
        assert_eq!(found(&auditor), ["L1"]);
    }
}
