//! A second look: what shoppers and cashiers saw of each payment, against what the bank booked. The auditor compares the parts of
//! the system with each other; the witness compares them with what people wanted. It shares no code with the product.

use crate::auditor::IntentName;
use crate::eye::{self, Seen};
use crate::store::StatementLine;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Wishes of an impatient cashier, of which a busy till may still carry out the first.
const WISHES_KEPT: usize = 64;

/// What the people around one sale or refund know of it.
#[derive(Debug, Clone)]
struct Known {
    amount_minor: u64,
    /// Number of the card in the reader, if it was one card throughout.
    card: Option<u64>,
    wrong_pin: bool,
    /// The buyer's code that was scanned.
    code: Option<String>,
    /// The card's counter in the message.
    counter: Option<[u8; 2]>,
    /// Whether the card has promised the money: its slip was out before the bank heard of it, or it is uploaded as such a sale.
    promised: bool,
}

impl Known {
    fn promised(amount_minor: u64, card: Option<u64>) -> Self {
        Self { amount_minor, card, wrong_pin: false, code: None, counter: None, promised: true }
    }
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
    /// Whose code is which, by number of the wallet.
    codes: HashMap<String, u64>,
    /// Which payment each code was for: one that was scanned, by the payment that it made; one that was shown, by its order.
    paid_by_code: HashMap<String, IntentName>,
    orders: HashMap<String, IntentName>,
    /// Which reference number each refund names.
    refunds: BTreeMap<IntentName, String>,
    /// What each certificate paid: account and counter of its card.
    certificates: HashMap<(String, [u8; 2]), IntentName>,
    /// Accounts that offline sales or reversed voids took below nothing.
    overdrawn: BTreeSet<String>,
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
        let amount_minor = seen.moved_minor()?;
        if (seen.mti.as_str(), seen.kind.as_str()) == ("0220", "25") {
            self.refunds.extend(seen.reference.clone().map(|reference| (name.clone(), reference)));
        }
        match (seen.mti.as_str(), seen.kind.as_str()) {
            ("0200", "22") | ("0220", "25" | eye::TIP) if !self.known.contains_key(&name) => {
                let buyer = seen.payment_code.as_ref().and_then(|code| self.codes.get(code)).copied();
                let card = if seen.is_qr { buyer } else { card.filter(|_| seen.kind != eye::TIP) };
                let wrong_pin = wrong_pin && !seen.is_qr;
                let (code, counter) = (seen.payment_code.clone(), seen.counter);
                let known = Known { amount_minor, card, wrong_pin, code, counter, promised: false };
                self.known.insert(name.clone(), known);
                self.is_a_wish(&name, amount_minor)
            }
            ("0200", eye::OFFLINE_SALE) => {
                let known = self.known.entry(name).or_insert(Known::promised(amount_minor, None));
                (known.counter, known.promised) = (seen.counter, true);
                None
            }
            ("0400", _) => self.reverses_what_was_sent(&name, amount_minor),
            _ => None,
        }
    }

    /// A slip comes out for a sale that the host was not asked about: what the shopper knows of it.
    pub fn promised(&mut self, name: &IntentName, amount_minor: u64, card: Option<u64>) -> Option<Finding> {
        let known = self.known.entry(name.clone()).or_insert(Known::promised(amount_minor, card));
        known.promised = true;
        self.is_a_wish(name, amount_minor)
    }

    /// A buyer holds up a code.
    pub fn code_given(&mut self, code: &str, wallet: u64) {
        self.codes.insert(code.to_owned(), wallet);
    }

    /// A buyer's phone says that an order is paid.
    pub fn order_paid(&mut self, code: &str, wallet: u64) {
        if let Some(known) = self.orders.get(code).and_then(|order| self.known.get_mut(order)) {
            known.card = Some(wallet);
        }
    }

    /// A host answers: from now on an approved sale is known by its reference number.
    pub fn frame_answered(&mut self, seen: &Seen) -> Option<Finding> {
        let (trace, reference) = (seen.trace?, seen.reference.as_ref()?);
        if seen.mti == "0210" && matches!(seen.kind.as_str(), "22" | eye::OFFLINE_SALE) {
            let name = (seen.terminal.clone(), seen.batch, trace);
            self.orders.extend(seen.payment_code.clone().map(|code| (code, name.clone())));
            self.references.insert(reference.clone(), name);
        }
        sums_up(seen).err()
    }

    fn is_a_wish(&self, name: &IntentName, amount_minor: u64) -> Option<Finding> {
        let wished = self.wishes.get(&name.0).is_some_and(|wishes| wishes.contains(&amount_minor));
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
        let promised = self.known.get(name).is_some_and(|known| known.promised);
        (!promised && !self.times.contains_key(name))
            .then(|| ("M3", format!("{name:?} was called approved and never booked")))
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
        let left = *left;
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
                if left < 0 && *delta < 0 && !self.may_overdraw(verb, &name, account) {
                    findings.push(("M15", format!("{} leaves a card {left}", line.id)));
                }
                match verb {
                    "sale" => self.sold(name, line, account, *delta, findings),
                    "refund" | "void" | "adjustment" => self.given_back(name, line, account, findings),
                    "reversal" => self.undone(&name, line, account, findings),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The card has answered for what it promised, and a reversal is never refused. What was held may still be taken afterwards.
    fn may_overdraw(&mut self, verb: &str, name: &IntentName, account: &str) -> bool {
        match verb {
            "sale" if !self.known.get(name).is_some_and(|known| known.promised) => return false,
            "sale" | "reinstatement" | "rehold" => {}
            "completion" => return self.overdrawn.contains(account),
            _ => return false,
        }
        self.overdrawn.insert(account.to_owned());
        true
    }

    /// One certificate pays once, whether it is presented at once or later.
    fn paid_once(&mut self, name: &IntentName, line: &StatementLine, account: &str, findings: &mut Vec<Finding>) {
        let Some(counter) = self.known.get(name).and_then(|known| known.counter) else { return };
        let paid = self.certificates.entry((account.to_owned(), counter)).or_insert_with(|| name.clone());
        if paid != name {
            findings.push(("M13", format!("{} was paid with the certificate of {paid:?}", line.id)));
        }
    }

    /// A buyer's code pays once.
    fn code_paid(&mut self, name: &IntentName, line: &StatementLine, findings: &mut Vec<Finding>) {
        let Some(code) = self.known.get(name).and_then(|known| known.code.clone()) else { return };
        let paid = self.paid_by_code.entry(code).or_insert_with(|| name.clone());
        if paid != name {
            findings.push(("Q1", format!("{} was paid with the code of {paid:?}", line.id)));
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
        self.paid_once(&name, line, account, findings);
        self.code_paid(&name, line, findings);
        self.booked.insert(name.clone(), (account.to_owned(), delta));
        *self.times.entry(name).or_default() += 1;
    }

    fn same_card(&self, name: &IntentName, line: &StatementLine, account: &str, findings: &mut Vec<Finding>) {
        let card = self.known.get(name).and_then(|known| known.card).and_then(|number| self.cards.get(&number));
        if card.is_some_and(|card| card != account) {
            findings.push(("M1", format!("{} was booked on a card that was not in the reader", line.id)));
        }
    }

    /// A void or refund goes to the card of its sale, and a tip comes from it; the capture account names it.
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

/// I1: the instalments of an approved sale sum up to it. F62: how many (two digits), the first and each further one (twelve each).
fn sums_up(seen: &Seen) -> Result<(), Finding> {
    let approved = seen.mti == "0210" && seen.kind == "22" && seen.response_code.as_deref() == Some("00");
    let Some(plan) = seen.instalments.as_ref().filter(|_| approved) else { return Ok(()) };
    let number = |from: usize, to: usize| core::str::from_utf8(plan.get(from..to)?).ok()?.parse::<u64>().ok();
    let sum = number(0, 2).zip(number(2, 14)).zip(number(14, 26));
    let sum = sum.and_then(|((count, first), each)| Some(first + each * count.checked_sub(1)?));
    if sum.is_some() && sum == seen.amount_minor {
        return Ok(());
    }
    Err(("I1", format!("instalments of {sum:?} for {:?}", seen.amount_minor)))
}
