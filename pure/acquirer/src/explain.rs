//! A record in words, for people who ask why.

use crate::record::{Decision, Record, Reversal, Signature, Undo};
use iso8583::unionpay::{feature_code_text, info, signature_size};
use ledger::BatchTotals;
use risk::{FindingKind, Reason, Screening};
use types::ResponseCode;

/// What a record says, topic by topic. It holds no card data beyond what a receipt shows.
pub fn explain(record: &Record) -> Vec<(String, String)> {
    let mut lines = Lines(vec![("record".to_owned(), record.name().to_owned())]);
    match record {
        Record::Enrolled { enrolment, .. } => {
            lines.add("terminal", format!("{} of merchant {}", enrolment.terminal, enrolment.merchant));
        }
        Record::SignedIn { network_code, version, rrn, .. } => {
            lines.add("keys", format!("sign-in {network_code:03}, version {version}"));
            lines.add("reference", rrn.text().to_owned());
        }
        Record::MasterKeyReplaced { master_key } => {
            lines.add("keys", format!("master key version {}", master_key.header().version));
        }
        Record::HoldExpired { hold, .. } => {
            lines.add("authorisation", hold.authorisation.text());
            explain_postings(record, &mut lines);
        }
        Record::OrderPaid { sale, payment } => {
            lines.add("intent", sale.text());
            lines.add("paid by", format!("wallet {}", payment.wallet));
            lines.add("paid", format!("{} from {}", payment.movement.amount.decimal(), payment.movement.funds.text()));
        }
        Record::Queried { original, response_code, .. } => {
            lines.add("intent", original.text());
            lines.add("answer", answered(*response_code));
        }
        Record::Downloaded { set, version } => lines.add("set", format!("{} version {version}", set.name())),
        Record::Decided(decision) => explain_decision(decision, &mut lines),
        Record::Reversed(reversal) => explain_reversal(reversal, &mut lines),
        Record::ScriptNoticed(notice) => lines.add("intent", notice.intent.text()),
        Record::Signed(signature) => explain_signature(signature, &mut lines),
        Record::Repeated { intent } => lines.add("intent", intent.text()),
        Record::Refused { rule, rrn, .. } => {
            lines.add("rule", rule.clone());
            lines.add("reference", rrn.text().to_owned());
        }
        Record::Compared(comparison) => {
            lines.add("batch", comparison.batch.to_string());
            lines.add("terminal's totals", totals(&comparison.terminal));
            lines.add("host's totals", totals(&comparison.host));
        }
        Record::Uploaded(upload) => lines.add("records", upload.entries.len().to_string()),
        Record::BatchClosed(close) => {
            lines.add("batch", close.batch.to_string());
            lines.add("host's totals", totals(&close.totals));
        }
        Record::StatusReported { status, .. } => {
            lines.add("status", iso8583::gbk::decode(status));
        }
        Record::SignedOff { .. } | Record::Snapshot(_) => {}
    }
    lines.0
}

struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, topic: &str, text: String) {
        self.0.push((topic.to_owned(), text));
    }
}

fn explain_decision(decision: &Decision, lines: &mut Lines) {
    lines.add("intent", decision.intent.text());
    lines.add(
        "transaction",
        format!("{} of {} {:?}", decision.kind.name(), decision.amount.decimal(), decision.amount.currency()),
    );
    if let Some(truncated) = &decision.truncated {
        lines.add("card", truncated.text().to_owned());
    }
    if let Some(qr) = &decision.qr {
        lines.add("code", qr.code.truncated().text().to_owned());
        lines.add("wallet", qr.wallet.map_or_else(|| "whoever scans the code".to_owned(), |wallet| wallet.to_string()));
    }
    decision.checks.iter().for_each(|check| lines.add("check passed", check.to_owned()));
    decision.screening.iter().for_each(|screening| explain_screening(screening, lines));
    lines.add("rule", decision.rule.clone());
    lines.add("answer", answered(decision.answer.response_code));
    lines.add("reference", decision.answer.rrn.text().to_owned());
    if let Some(code) = decision.answer.authorisation_code {
        lines.add("authorisation code", code.text().to_owned());
    }
    explain_postings(&Record::Decided(Box::new(decision.clone())), lines);
}

/// Every risk rule that applied, with its reason in both languages.
fn explain_screening(screening: &Screening, lines: &mut Lines) {
    for finding in &screening.findings {
        let said = match finding.kind {
            FindingKind::Flagged => "flagged 已标记",
            FindingKind::Refused(_) => "refused 已拒绝",
            FindingKind::Softened(_) => "flagged, not refused 仅标记",
            FindingKind::Excused => "excused 已豁免",
        };
        let Reason { zh, en } = &finding.reason;
        let version = screening.version;
        lines.add("risk", format!("{said}: {} (rules version {version}): {zh} / {en}", finding.rule));
    }
}

fn explain_reversal(reversal: &Reversal, lines: &mut Lines) {
    lines.add("intent", reversal.intent.text());
    lines.add("original", reversal.original.text());
    lines.add("reason", reversal.reason.text().to_owned());
    let undone = match &reversal.undo {
        Undo::Sale(movement) => format!("{} given back", movement.amount.decimal()),
        Undo::Void(movement) => format!("the sale of {} stands again", movement.amount.decimal()),
        Undo::Hold(hold) => format!("the hold of {} is taken away", hold.amount.decimal()),
        Undo::Release(hold) => format!("the hold of {} stands again", hold.amount.decimal()),
        Undo::Completion(movement, hold) => {
            format!("{} given back, the hold of {} stands again", movement.amount.decimal(), hold.amount.decimal())
        }
        Undo::Order(_) => "the order is closed: a buyer who comes later is refused".to_owned(),
        Undo::Nothing => "nothing to undo".to_owned(),
        Undo::Tombstone => "the original is refused should it still come".to_owned(),
    };
    lines.add("effect", undone);
    lines.add("rule", reversal.rule.clone());
    lines.add("answer", answered(reversal.answer.response_code));
    explain_postings(&Record::Reversed(Box::new(reversal.clone())), lines);
}

fn explain_signature(signature: &Signature, lines: &mut Lines) {
    lines.add("intent", signature.intent.text());
    let bytes = signature.image.len();
    let text = match signature_size(&signature.image) {
        Ok(size) => format!("the cardholder's, {} by {} points, {bytes} bytes", size.width, size.height),
        Err(_) => format!("{bytes} bytes"),
    };
    lines.add("electronic signature", text);
    if let Some(code) = signature.feature_code {
        lines.add("feature code", feature_code_text(code));
    }
}

fn explain_postings(record: &Record, lines: &mut Lines) {
    for row in crate::rows::rows(record) {
        match row {
            machine::store::Row::Posting { id, legs } => {
                lines.add("posting", id);
                for leg in legs {
                    lines.add("leg", format!("{} {:+}", leg.account.text(), leg.delta_minor));
                }
            }
            machine::store::Row::BalanceAtLeast { account, floor_minor, .. } => {
                lines.add("guard", format!("{} at least {floor_minor}", account.text()));
            }
            machine::store::Row::Unique { .. } | machine::store::Row::Put { .. } => {}
        }
    }
}

fn answered(code: ResponseCode) -> String {
    format!("{code} {}", info(*code.bytes()).meaning)
}

fn totals(totals: &BatchTotals) -> String {
    let group = |name: &str, group: &ledger::GroupTotals| {
        format!(
            "{name} debit {} in {}, credit {} in {}",
            group.debit_minor, group.debit_count, group.credit_minor, group.credit_count
        )
    };
    format!("{}; {}", group("domestic", &totals.domestic), group("foreign", &totals.foreign))
}
