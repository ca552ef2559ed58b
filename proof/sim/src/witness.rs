//! A second look: what shoppers and cashiers saw of each payment, against what the bank booked. The auditor compares the parts of
//! the system with each other; the witness compares them with what people wanted. It shares no code with the product.

use crate::auditor::IntentName;
use crate::eye::{self, Seen};
use crate::store::StatementLine;
use std::collections::{BTreeMap, HashMap};

/// Wishes of an impatient cashier, of which a busy till may still carry out the first.
const WISHES_KEPT: usize = 64;

/// What the people around one sale or refund know of it.
#[derive(Debug, Clone)]
struct Known {
    amount_minor: u64,
    /// Number of the card in the reader, if it was one card throughout.
    card: Option<u64>,
    wrong_pin: bool,
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct Witness {
    wishes: BTreeMap<String, Vec<u64>>,
    known: BTreeMap<IntentName, Known>,
    cards: BTreeMap<u64, String>,
    money: HashMap<String, i64>,
    booked: BTreeMap<IntentName, (String, i64)>,
    times: BTreeMap<IntentName, u32>,
    /// Which sale each reference number was handed out for.
    references: HashMap<String, IntentName>,
    /// Which reference number each refund names.
    refunds: BTreeMap<IntentName, String>,
    lines_read: usize,
    single_limit_minor: i64,
}

/// An invariant and what was seen.
pub type Finding = (&'static str, String);

impl Witness {
    /// A witness who knows the issuer's limit of one purchase.
    pub fn new(single_limit_minor: u64) -> Self {
        Self { single_limit_minor: i64::try_from(single_limit_minor).unwrap_or(i64::MAX), ..Self::default() }
    }

    /// A cashier asks for a sale or refund of this amount.
    pub fn wished(&mut self, terminal: &str, amount_minor: u64) {
        let wishes = self.wishes.entry(terminal.to_owned()).or_default();
        if wishes.len() >= WISHES_KEPT {
            wishes.remove(0);
        }
        wishes.push(amount_minor);
    }

    /// A terminal hands a request to the network.
    pub fn frame_sent(&mut self, seen: &Seen, card: Option<u64>, wrong_pin: bool) -> Option<Finding> {
        let name = (seen.terminal.clone(), seen.batch, seen.trace?);
        let amount_minor = seen.amount_minor?;
        if (seen.mti.as_str(), seen.kind.as_str()) == ("0220", "25") {
            self.refunds.extend(seen.reference.clone().map(|reference| (name.clone(), reference)));
        }
        match (seen.mti.as_str(), seen.kind.as_str()) {
            ("0200", "22") | ("0220", "25") if !self.known.contains_key(&name) => {
                self.known.insert(name.clone(), Known { amount_minor, card, wrong_pin });
                self.is_a_wish(seen, &name, amount_minor)
            }
            ("0400", _) => self.reverses_what_was_sent(&name, amount_minor),
            _ => None,
        }
    }

    /// A host answers: from now on an approved sale is known by its reference number.
    pub fn frame_answered(&mut self, seen: &Seen) {
        let (Some(trace), Some(reference)) = (seen.trace, &seen.reference) else { return };
        if (seen.mti.as_str(), seen.kind.as_str()) == ("0210", "22") {
            self.references.insert(reference.clone(), (seen.terminal.clone(), seen.batch, trace));
        }
    }

    fn is_a_wish(&self, seen: &Seen, name: &IntentName, amount_minor: u64) -> Option<Finding> {
        let wished = self.wishes.get(&seen.terminal).is_some_and(|wishes| wishes.contains(&amount_minor));
        (!wished).then(|| ("M1", format!("{name:?} is of {amount_minor}, which nobody asked for")))
    }

    fn reverses_what_was_sent(&self, name: &IntentName, amount_minor: u64) -> Option<Finding> {
        let known = self.known.get(name)?;
        (known.amount_minor != amount_minor)
            .then(|| ("M5", format!("a reversal of {amount_minor} for {name:?} of {}", known.amount_minor)))
    }

    /// A first receipt comes out.
    pub fn receipt(&self, name: &IntentName, amount_minor: u64) -> Option<Finding> {
        let known = self.known.get(name)?;
        (known.amount_minor != amount_minor)
            .then(|| ("M3", format!("a receipt of {amount_minor} for {name:?} of {}", known.amount_minor)))
    }

    /// A cashier is told that a payment was approved.
    pub fn told_approved(&self, name: &IntentName) -> Option<Finding> {
        (!self.times.contains_key(name)).then(|| ("M3", format!("{name:?} was called approved and never booked")))
    }

    /// Reads what is new on the bank's statement.
    pub fn read_statement(&mut self, statement: &[StatementLine]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for line in statement.get(self.lines_read..).unwrap_or_default() {
            self.read_line(line, &mut findings);
        }
        self.lines_read = statement.len();
        findings
    }

    fn read_line(&mut self, line: &StatementLine, findings: &mut Vec<Finding>) {
        let payer = line.legs.iter().find(|(account, _)| eye::is_payers(account));
        let Some((account, delta)) = payer else { return };
        let left = self.money.entry(account.clone()).or_default();
        *left += delta;
        if *left < 0 {
            findings.push(("M15", format!("{} leaves a card {left}", line.id)));
        }
        let parts: Vec<&str> = line.id.split('/').collect();
        let moved = |belongs: fn(&str) -> bool| -> i64 {
            line.legs.iter().filter(|(account, _)| belongs(account)).map(|(_, delta)| delta).sum()
        };
        // What leaves a card is the merchant's, or held for him.
        let (payable, held) =
            (moved(|account| account.ends_with("/payable")), moved(|account| account.starts_with("hold/")));
        if parts[0] != "opening" && payable + held != -delta {
            let detail = format!("{} moves {delta} on the card, {payable} for the merchant, {held} held", line.id);
            findings.push(("M14", detail));
        }
        match parts[..] {
            ["opening", number] => {
                self.cards.extend(number.parse().ok().map(|number: u64| (number, account.clone())));
            }
            [verb, terminal, batch, trace, ..] => {
                let (Ok(batch), Ok(trace)) = (batch.parse(), trace.parse()) else { return };
                let name = (terminal.to_owned(), batch, trace);
                match verb {
                    "sale" => self.sold(name, line, account, *delta, findings),
                    "refund" | "void" => self.given_back(name, line, account, findings),
                    "reversal" => self.undone(&name, line, account, findings),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn sold(&mut self, name: IntentName, line: &StatementLine, account: &str, delta: i64, findings: &mut Vec<Finding>) {
        if delta < -self.single_limit_minor {
            findings.push(("M15", format!("{} is above the issuer's limit", line.id)));
        }
        if self.known.get(&name).is_some_and(|known| known.wrong_pin) {
            findings.push(("M15", format!("{} was booked with a wrong PIN", line.id)));
        }
        self.same_card(&name, line, account, findings);
        self.booked.insert(name.clone(), (account.to_owned(), delta));
        *self.times.entry(name).or_default() += 1;
    }

    fn same_card(&self, name: &IntentName, line: &StatementLine, account: &str, findings: &mut Vec<Finding>) {
        let card = self.known.get(name).and_then(|known| known.card).and_then(|number| self.cards.get(&number));
        if card.is_some_and(|card| card != account) {
            findings.push(("M1", format!("{} was booked on a card that was not in the reader", line.id)));
        }
    }

    /// A void or refund goes to the card of its sale, which the capture account names.
    fn given_back(&mut self, name: IntentName, line: &StatementLine, account: &str, findings: &mut Vec<Finding>) {
        let sale = line.legs.iter().find_map(|(account, _)| {
            let parts: Vec<&str> = account.strip_prefix("capture/")?.split('/').collect();
            let [terminal, batch, trace] = parts[..] else { return None };
            Some((terminal.to_owned(), batch.parse().ok()?, trace.parse().ok()?))
        });
        let paid_by = sale.as_ref().and_then(|sale| self.booked.get(sale));
        if paid_by.is_some_and(|(card, _)| card != account) {
            findings.push(("M9", format!("{} went to another card than paid", line.id)));
        }
        let named = self.refunds.get(&name).and_then(|reference| self.references.get(reference));
        if line.id.starts_with("refund/") && named.is_some() && named != sale.as_ref() {
            findings.push(("M16", format!("{} was taken from {sale:?} and names {named:?}", line.id)));
        }
        *self.times.entry(name).or_default() += 1;
    }

    fn undone(&mut self, name: &IntentName, line: &StatementLine, account: &str, findings: &mut Vec<Finding>) {
        if self.booked.get(name).is_some_and(|(card, _)| card != account) {
            findings.push(("M5", format!("{} went to another card than paid", line.id)));
        }
    }
}
