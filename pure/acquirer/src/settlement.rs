//! Settlement and batch upload (unionpay-pos §8.3).

use crate::check::batch_of;
use crate::machine_impl::{Acquirer, Output, Work};
use crate::record::{BatchClose, Comparison, Decision, Record, Upload, UploadedEntry};
use crate::respond;
use crate::rule::Rule;
use crate::words::Level;
use iso8583::unionpay::{
    IcUpload, IcUploadFailure, MessageKind, MinorTotals, Reconciliation, Totals, batch_end_count, parse_batch_details,
};
use ledger::{BatchTotals, CardGroup, GroupComparison, GroupTotals};
use types::{BatchNumber, ResponseCode, Rrn, SecretBytes, Stan};

/// Most traces of a mismatch that a record lists.
const NOT_UPLOADED_MAX: usize = 2000;
/// 60.3 of failed chip transactions and those whose issuer authentication failed (unionpay-pos §8.3, steps 7 and 8).
const FAILED_CHIP_UPLOADS: [u16; 2] = [204, 206];

impl Acquirer {
    /// 0500: compares totals; the answer has no F39, its codes stand in F48 (D24).
    pub(crate) fn compare_totals(&mut self, work: Box<Work>, out: &mut Output) {
        let (Some(terminal), Some(batch), Some(stan)) = (terminal_totals(&work), batch_of(&work), work.incoming.stan())
        else {
            return self.refuse_without_mac(work, Rule::Format, out);
        };
        if let Some(before) = self.comparison_before(batch, stan, &terminal) {
            return self.repeat_comparison(work, &before, out);
        }
        match self.state.totals() {
            Ok(host) if batch == self.state.open_batch() => {
                let (rrn, at) = (self.state.next_rrn(0), self.civil_time());
                let comparison = Comparison { batch, stan, terminal, host, rrn, at };
                self.answer_comparison(work, comparison, out);
            }
            _ => self.refuse_settlement(work, &terminal, out),
        }
    }

    /// The comparison that this message repeats: of the open batch with nothing booked since, or of the one just closed.
    fn comparison_before(&self, batch: BatchNumber, stan: Stan, terminal: &BatchTotals) -> Option<Comparison> {
        let closed = self.state.closed.as_ref().and_then(|closed| closed.comparison.as_ref());
        let mut candidates = self.state.comparison.iter().chain(closed);
        candidates.find(|before| before.batch == batch && before.stan == stan && before.terminal == *terminal).cloned()
    }

    fn answer_comparison(&mut self, work: Box<Work>, comparison: Comparison, out: &mut Output) {
        let balanced = is_balanced(&comparison);
        let level = if balanced { Level::Information } else { Level::Warning };
        let text = format!("batch {}: {}", comparison.batch, if balanced { "balanced" } else { "not balanced" });
        self.log(out, level, "settlement", text);
        let body = self.comparison_body(&work, &comparison);
        self.conclude_without_mac(work, Some(Box::new(Record::Compared(Box::new(comparison)))), &body, out);
    }

    fn repeat_comparison(&mut self, work: Box<Work>, before: &Comparison, out: &mut Output) {
        let body = self.comparison_body(&work, before);
        // A fresh comparison record is the version check of a repeated one; of a closed batch it must not be booked anew.
        let record = if before.batch == self.state.open_batch() {
            Record::Compared(Box::new(before.clone()))
        } else {
            self.settlement_repeated(&work)
        };
        self.conclude_without_mac(work, Some(Box::new(record)), &body, out);
    }

    fn settlement_repeated(&self, work: &Work) -> Record {
        let rule = "settlement.repeated".to_owned();
        Record::Refused { rule, stan: work.incoming.stan(), rrn: self.state.next_rrn(0) }
    }

    fn comparison_body(&self, work: &Work, comparison: &Comparison) -> iso8583::unionpay::Body {
        let code = |group| match comparison.host.compare(&comparison.terminal, group) {
            GroupComparison::Balanced => Reconciliation::Balanced,
            GroupComparison::NotBalanced => Reconciliation::NotBalanced,
        };
        let codes = (code(CardGroup::Domestic), code(CardGroup::Foreign));
        let mut body = respond::referenced(&work.incoming, &self.config, comparison.at, None, &comparison.rrn);
        body.settlement_date = Some(respond::mmdd(comparison.at));
        body.currency = work.incoming.body.currency;
        body.private_data = answered_totals(&comparison.terminal, codes);
        body
    }

    /// A batch that is neither open nor just closed: error in both groups.
    fn refuse_settlement(&mut self, work: Box<Work>, terminal: &BatchTotals, out: &mut Output) {
        let (rrn, at) = (self.state.next_rrn(0), self.civil_time());
        let mut body = respond::referenced(&work.incoming, &self.config, at, None, &rrn);
        body.settlement_date = Some(respond::mmdd(at));
        body.currency = work.incoming.body.currency;
        body.private_data = answered_totals(terminal, (Reconciliation::Error, Reconciliation::Error));
        self.log(out, Level::Warning, Rule::WrongBatch.id(), "settlement of another batch".to_owned());
        let record = Record::Refused { rule: Rule::WrongBatch.id().to_owned(), stan: work.incoming.stan(), rrn };
        self.conclude_without_mac(work, Some(Box::new(record)), &body, out);
    }

    /// 0320: takes details down and compares each with the books. Without a MAC they move nothing.
    pub(crate) fn take_upload(&mut self, work: Box<Work>, out: &mut Output) {
        if batch_of(&work) != Some(self.state.open_batch()) {
            return self.refuse_without_mac(work, Rule::WrongBatch, out);
        }
        let Some(uploaded) = uploaded(&work) else {
            return self.refuse_without_mac(work, Rule::Format, out);
        };
        let network_code = work.incoming.body.f60.as_ref().map_or(0, |f60| f60.network_code());
        let of_refused = FAILED_CHIP_UPLOADS.contains(&network_code) && !issuer_refuted(&work);
        let entries: Vec<UploadedEntry> =
            uploaded.into_iter().map(|entry| self.compared_with_books(entry, of_refused)).collect();
        let differing = entries.iter().filter(|entry| !entry.agrees).count();
        if differing > 0 {
            self.log(out, Level::Warning, "upload", format!("{differing} uploaded records differ from the books"));
        }
        let rrn = self.state.next_rrn(0);
        let code = Some(ResponseCode::APPROVED);
        let mut body = respond::referenced(&work.incoming, &self.config, self.civil_time(), code, &rrn);
        if work.incoming.kind == MessageKind::BatchDetails {
            body.private_data = work.incoming.body.private_data.as_ref().map(SecretBytes::duplicate);
        }
        let upload = Upload { batch: self.state.open_batch(), network_code, entries, rrn };
        self.conclude_without_mac(work, Some(Box::new(Record::Uploaded(Box::new(upload)))), &body, out);
    }

    /// Failed chip transactions are uploaded for information: most of them never were in the books.
    fn compared_with_books(&self, (stan, amount_minor): (Stan, u64), of_refused: bool) -> UploadedEntry {
        let same = |decision: &Decision| decision.intent.stan == stan && decision.amount.minor() == amount_minor;
        let agrees =
            of_refused || self.state.counted().any(|(decision, _)| same(decision)) || self.state.authorised().any(same);
        UploadedEntry { stan, amount_minor, agrees }
    }

    /// 0320 with 202 or 207: the batch is over. A copy gets the same answer.
    pub(crate) fn end_batch(&mut self, work: Box<Work>, terminal_balanced: bool, out: &mut Output) {
        let digits = work.incoming.body.private_data.as_ref().map(SecretBytes::expose);
        let announced = digits.and_then(|digits| batch_end_count(digits).ok());
        let (Some(announced), Some(batch), Some(stan)) = (announced, batch_of(&work), work.incoming.stan()) else {
            return self.refuse_without_mac(work, Rule::Format, out);
        };
        let closed = self.state.closed.as_ref().map(|closed| closed.close.clone());
        if let Some(before) = closed.filter(|close| close.batch == batch) {
            let record = self.settlement_repeated(&work);
            return self.answer_batch_end(work, &before, record, out);
        }
        let (Ok(totals), true) = (self.state.totals(), batch == self.state.open_batch()) else {
            return self.refuse_without_mac(work, Rule::WrongBatch, out);
        };
        if self.state.awaits_payer() {
            // Whether it counts is not decided yet.
            return self.refuse_without_mac(work, Rule::OrderOpen, out);
        }
        let close = BatchClose {
            batch,
            stan,
            terminal_balanced,
            host_balanced: self.state.comparison.as_ref().is_some_and(is_balanced),
            announced,
            totals,
            not_uploaded: if terminal_balanced { Vec::new() } else { self.not_uploaded() },
            rrn: self.state.next_rrn(0),
            at: self.civil_time(),
        };
        let level = if close.host_balanced && terminal_balanced { Level::Information } else { Level::Alarm };
        self.log(out, level, "batch closed", format!("{batch}, {} records uploaded", close.announced));
        let record = Record::BatchClosed(Box::new(close.clone()));
        self.answer_batch_end(work, &close, record, out);
    }

    fn answer_batch_end(&mut self, work: Box<Work>, close: &BatchClose, record: Record, out: &mut Output) {
        let rrn: &Rrn = &close.rrn;
        let code = Some(ResponseCode::APPROVED);
        let mut body = respond::referenced(&work.incoming, &self.config, close.at, code, rrn);
        body.private_data = work.incoming.body.private_data.as_ref().map(SecretBytes::duplicate);
        self.conclude_without_mac(work, Some(Box::new(record)), &body, out);
    }

    /// Booked here, but not uploaded or with another amount.
    fn not_uploaded(&self) -> Vec<Stan> {
        let missing = self
            .state
            .counted()
            .filter(|(decision, _)| self.state.uploaded.get(&decision.intent.stan) != Some(&decision.amount.minor()));
        missing.map(|(decision, _)| decision.intent.stan).take(NOT_UPLOADED_MAX).collect()
    }
}

fn is_balanced(comparison: &Comparison) -> bool {
    [CardGroup::Domestic, CardGroup::Foreign]
        .into_iter()
        .all(|group| comparison.host.compare(&comparison.terminal, group) == GroupComparison::Balanced)
}

fn terminal_totals(work: &Work) -> Option<BatchTotals> {
    let totals = Totals::parse(work.incoming.body.private_data.as_ref()?.expose()).ok()?;
    let group = |minor: &MinorTotals| GroupTotals {
        debit_minor: minor.debit_minor,
        debit_count: minor.debit_count,
        credit_minor: minor.credit_minor,
        credit_count: minor.credit_count,
    };
    Some(BatchTotals { domestic: group(&totals.domestic), foreign: group(&totals.foreign) })
}

/// The terminal's totals as they came, with the host's codes.
fn answered_totals(terminal: &BatchTotals, codes: (Reconciliation, Reconciliation)) -> Option<SecretBytes> {
    let group = |totals: &GroupTotals, reconciliation| MinorTotals {
        debit_minor: totals.debit_minor,
        debit_count: totals.debit_count,
        credit_minor: totals.credit_minor,
        credit_count: totals.credit_count,
        reconciliation,
    };
    let totals = Totals { domestic: group(&terminal.domestic, codes.0), foreign: group(&terminal.foreign, codes.1) };
    totals.format().map(SecretBytes::new)
}

/// Whether F62 says that the transaction was approved although its card did not accept the issuer's cryptogram: the books know
/// it, unlike one that the chip declined.
fn issuer_refuted(work: &Work) -> bool {
    let upload = work.incoming.body.f62.as_ref().and_then(|f62| IcUpload::parse(f62.expose()).ok());
    upload.is_some_and(|upload| upload.failure == Some(IcUploadFailure::IssuerAuthenticationFailed))
}

/// Trace numbers and amounts that a message uploads; the PANs in it are left where they are.
fn uploaded(work: &Work) -> Option<Vec<(Stan, u64)>> {
    let body = &work.incoming.body;
    if work.incoming.kind == MessageKind::BatchDetails {
        let details = parse_batch_details(body.private_data.as_ref()?.expose()).ok()?;
        return details.iter().map(|detail| Some((Stan::new(detail.trace)?, detail.amount_minor))).collect();
    }
    Some(vec![(work.incoming.stan()?, body.amount_minor.unwrap_or(0))])
}
