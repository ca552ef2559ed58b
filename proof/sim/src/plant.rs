//! What each planted bug does, at the boundary of the machine that it is planted in. Nothing of it is in the product.

mod kinds;

use crate::canary::Canary;
use acquirer::Record as HostRecord;
use machine::store::{Leg, Row};
use pedlink::{PedCommand, PedReply};
use std::cell::Cell;
use till::Record;
use types::{Amount, BatchNumber, ResponseCode, Stan};

/// One approval in so many is misread by [`Canary::MisreadApproval`].
const MISREAD: u64 = 10;
/// Records that [`Canary::RollsBack`] loses.
const ROLLED_BACK: usize = 5;

/// A planted bug with what it must remember.
#[derive(Debug, Default)]
pub struct Plant {
    canary: Option<Canary>,
    last_card: std::cell::RefCell<Option<machine::store::AccountName>>,
    last_capture: std::cell::RefCell<Option<machine::store::AccountName>>,
    /// Whether the message that is made or under way is the upload of an offline sale.
    uploads: Cell<bool>,
    count: Cell<u64>,
}

impl Plant {
    /// Plants a bug, or none.
    pub fn new(canary: Option<Canary>) -> Self {
        Self { canary, ..Self::default() }
    }

    /// Whether it is this one.
    pub fn is(&self, canary: Canary) -> bool {
        self.canary == Some(canary)
    }

    /// What a till makes of its journal when it is switched on.
    pub fn till_remembers(&self, mut records: Vec<Record>) -> Vec<Record> {
        match self.canary {
            Some(Canary::AmnesiacTill) => records.retain(|record| !matches!(record, Record::IntentSent { .. })),
            Some(Canary::ForgetsDecisions) => records.retain(|record| !matches!(record, Record::Decided { .. })),
            Some(Canary::ForgetsTraces) => records.retain(|record| !matches!(record, Record::StanTaken { .. })),
            Some(Canary::ReversalForgotten) => forget_reversal(&mut records),
            Some(Canary::IntentCancelled) => cancel_open_intent(&mut records),
            Some(Canary::NoticeForgotten) => records.iter_mut().for_each(forget_notice),
            Some(Canary::RollsBack) => records.truncate(records.len().saturating_sub(ROLLED_BACK).max(1)),
            Some(Canary::OfflineForgotten) => records.retain(kinds::forget_offline_sale),
            Some(Canary::CertificateTwice) => kinds::present_certificate_again(&mut records),
            Some(Canary::KeepsHalf) => records.truncate(records.len().div_ceil(2)),
            _ => {}
        }
        records
    }

    /// What a PED makes of its journal when it is switched on.
    pub fn ped_remembers(&self, mut records: Vec<ped::Record>) -> Vec<ped::Record> {
        if self.is(Canary::ForgetsStagedKeys) {
            records.retain(|record| !matches!(record, ped::Record::MasterKeyStaged(_)));
        }
        records
    }

    /// What reaches a till.
    pub fn till_event(&self, event: till::Event) -> Option<till::Event> {
        match (self.canary, event) {
            (Some(Canary::NoPowerOn), till::Event::PowerOn) => None,
            (Some(Canary::LineLiesUnsent), till::Event::LinkFailed { exchange, .. }) => {
                Some(till::Event::LinkFailed { exchange, sent_any: false })
            }
            (_, till::Event::Ped(reply)) => Some(till::Event::Ped(self.ped_reply(reply))),
            (_, event) => Some(event),
        }
    }

    fn ped_reply(&self, mut reply: Box<PedReply>) -> Box<PedReply> {
        let PedReply::ResponseChecked { result: Ok(summary), .. } = &mut *reply else { return reply };
        if !matches!(summary.mti.as_str(), "0210" | "0230") {
            return reply;
        }
        let approved = summary.response_code.is_some_and(ResponseCode::is_approval);
        if self.is(Canary::MisreadDecline) && !approved {
            summary.response_code = Some(ResponseCode::APPROVED);
        }
        if self.is(Canary::QrAwaitedTakenForPaid) && summary.response_code == Some(ResponseCode::IN_PROGRESS) {
            summary.response_code = Some(ResponseCode::APPROVED);
        }
        let misread = self.is(Canary::MisreadApproval) || (self.is(Canary::OfflineDropped) && self.uploads.get());
        if misread && approved && self.every(MISREAD) {
            summary.response_code = Some(ResponseCode::DO_NOT_HONOUR);
        }
        reply
    }

    fn every(&self, times: u64) -> bool {
        self.count.set(self.count.get() + 1);
        self.count.get().is_multiple_of(times)
    }

    /// What leaves a till, each effect as often as it comes out here.
    pub fn till_effects(&self, effects: Vec<till::Effect>) -> Vec<till::Effect> {
        if self.canary.is_none() {
            return effects;
        }
        effects.into_iter().flat_map(|effect| self.till_effect(effect)).collect()
    }

    fn till_effect(&self, mut effect: till::Effect) -> Vec<till::Effect> {
        match &mut effect {
            till::Effect::Ped(PedCommand::CompleteFrame { template, .. }) => self.complete_frame(template),
            till::Effect::Print(receipt) => {
                self.print(receipt);
                if self.is(Canary::PrintsTwice) {
                    let copy = till::Effect::Print(receipt.clone());
                    return vec![copy, effect];
                }
            }
            till::Effect::Outcome(outcome)
                if self.is(Canary::OutcomeLies) && outcome.status == till::OutcomeStatus::Declined =>
            {
                outcome.status = till::OutcomeStatus::Approved;
            }
            till::Effect::Show(till::Screen::AwaitingPayer { amount, .. }) if self.is(Canary::QrShownOff) => {
                *amount = shifted(*amount, 1);
            }
            till::Effect::Exchange { .. } if self.is(Canary::OfflineNeverLeaves) && self.uploads.get() => {
                return Vec::new();
            }
            till::Effect::Exchange { frame, .. } if self.is(Canary::ReversalNeverLeaves) => {
                let is_reversal = frame.expose().get(13..15) == Some(&[0x04, 0x00]);
                if is_reversal {
                    return Vec::new();
                }
            }
            _ => {}
        }
        vec![effect]
    }

    fn print(&self, receipt: &mut till::Receipt) {
        let till::Receipt::Payment(slip) = receipt else { return };
        if self.is(Canary::ReceiptAmountOff) {
            slip.amount = shifted(slip.amount, 1);
        }
        if self.is(Canary::PrintsDeclined) {
            slip.stan = Stan::new(slip.stan.number() + 1).unwrap_or(slip.stan);
        }
    }

    fn complete_frame(&self, template: &mut pedlink::FrameTemplate) {
        self.uploads.set(template.mti == "0200" && template.private_60.starts_with("36"));
        let shift = |template: &mut pedlink::FrameTemplate, by| {
            template.amount = template.amount.map(|amount| shifted(amount, by));
        };
        let kind = template.private_60.get(..2).unwrap_or_default().to_owned();
        match (self.canary, template.mti.as_str(), kind.as_str()) {
            (Some(Canary::SaleAmountOff), "0200", "22") | (Some(Canary::ReversalAmountOff), "0400", _) => {
                shift(template, 1);
            }
            (Some(Canary::RefundAmountOff), "0220", "25") => shift(template, -1),
            (Some(Canary::TipTotalOff), "0220", "34") => shift(template, 1),
            (Some(Canary::OfflineRenumbered), "0200", "36") if self.every(2) => {
                template.stan = template.stan.map(|stan| Stan::new(stan.number() + 1).unwrap_or(stan));
            }
            (Some(Canary::ReversalOfPrevious), "0400", _) => {
                template.stan = template.stan.map(|stan| Stan::new(stan.number() - 1).unwrap_or(stan));
            }
            (Some(Canary::ReversalOfOtherBatch), "0400", _) => {
                let batch = template.private_60.get(2..8).and_then(|batch| batch.parse::<u32>().ok()).unwrap_or(2);
                let before = BatchNumber::new(batch.saturating_sub(1).max(1)).unwrap_or(BatchNumber::FIRST);
                template.private_60.replace_range(2..8, &format!("{before}"));
            }
            _ => {}
        }
    }

    /// The rows that go with a record of the host.
    pub fn host_rows(&self, record: &HostRecord, rows: Vec<Row>) -> Vec<Row> {
        let Some(canary) = self.canary else { return rows };
        let mut rows = match record {
            HostRecord::Decided(decision) => self.decision_rows(decision, rows),
            HostRecord::OrderPaid { payment, .. } => self.payment_rows(payment, rows),
            _ => rows,
        };
        let verb = rows.iter().find_map(|row| match row {
            Row::Posting { id, .. } => id.split('/').next().map(str::to_owned),
            _ => None,
        });
        let verb = verb.unwrap_or_default();
        self.change_guards(canary, &verb, &mut rows);
        let mut changed = Vec::new();
        for row in rows {
            match row {
                Row::Posting { id, legs } => changed.extend(self.change_posting(canary, &verb, id, legs)),
                other => changed.push(other),
            }
        }
        changed
    }

    fn change_guards(&self, canary: Canary, verb: &str, rows: &mut Vec<Row>) {
        let is_guard =
            |row: &Row, of: &str| matches!(row, Row::BalanceAtLeast { account, .. } if account.text().starts_with(of));
        let is_intent = |row: &Row| matches!(row, Row::Unique { space: acquirer::SPACE_INTENT, .. });
        match (canary, verb) {
            (Canary::RefundUnbounded, "refund") | (Canary::VoidUnbounded | Canary::VoidDoubled, "void") => {
                rows.retain(|row| !is_guard(row, "capture/"));
            }
            (Canary::CardUnbounded, "sale") => rows.retain(|row| !is_guard(row, "card/")),
            (Canary::IntentTwice, "sale" | "void" | "refund") => rows.retain(|row| !is_intent(row)),
            (Canary::TombstoneForgotten, "") if rows.len() == 2 && rows.iter().all(is_intent) => {
                rows.pop();
            }
            _ => {}
        }
    }

    fn change_posting(&self, canary: Canary, verb: &str, id: String, mut legs: Vec<Leg>) -> Vec<Row> {
        use Canary as C;
        let times = match (canary, verb) {
            (C::SaleNotPosted, "sale")
            | (C::VoidNotPosted, "void")
            | (C::RefundNotPosted, "refund")
            | (C::ReversalNotPosted, "reversal")
            | (C::ReinstatementNotPosted, "reinstatement") => 0,
            (C::SaleDoubled, "sale")
            | (C::VoidDoubled, "void")
            | (C::RefundDoubled, "refund")
            | (C::ReversalDoubled, "reversal") => 2,
            _ => 1,
        };
        match (canary, verb) {
            (C::SaleOneSided, "sale") | (C::ReversalOneSided, "reversal") => {
                legs.retain(|leg| !leg.account.text().ends_with("/payable"));
            }
            (C::SaleCentOff, "sale") | (C::RefundCentOff, "refund") => {
                legs.iter_mut().for_each(|leg| shift_leg(leg, 1))
            }
            (C::ReversalCentOff, "reversal") => legs.iter_mut().for_each(|leg| shift_leg(leg, -1)),
            (C::SaleTurned, "sale") | (C::RefundTurned, "refund") => {
                legs.iter_mut().for_each(|leg| leg.delta_minor = -leg.delta_minor);
            }
            _ => {}
        }
        let swaps = matches!(
            (canary, verb),
            (C::SaleOnOtherCard, "sale")
                | (C::RefundToOtherCard, "refund")
                | (C::ReversalToOtherCard, "reversal")
                | (C::VoidToOtherCard, "void")
        );
        for leg in legs.iter_mut().filter(|leg| leg.account.text().starts_with("card/")) {
            let before = self.last_card.replace(Some(leg.account.clone()));
            if let Some(before) = before.filter(|_| swaps) {
                leg.account = before;
            }
        }
        std::iter::repeat_n(Row::Posting { id, legs }, times).collect()
    }

    /// What the issuer answers.
    pub fn issuer_reply(&self, reply: &mut issuer::IssuerReply) {
        let Some(funds) = reply.funds.as_mut().filter(|_| self.is(Canary::IssuerOtherCard)) else { return };
        let before = self.last_card.replace(Some(funds.account.clone()));
        if let Some(before) = before {
            funds.account = before;
        }
    }
}

/// A key service that finds every PIN right, if that is planted.
pub struct Lenient<'a>(pub &'a mut dyn keys::KeyService, pub bool);

impl keys::KeyService for Lenient<'_> {
    fn execute(&mut self, commands: &[keys::Command]) -> Vec<keys::Reply> {
        let mut replies = self.0.execute(commands);
        for reply in replies.iter_mut().filter(|_| self.1) {
            if let keys::Reply::PinVerdict { right } = reply {
                *right = true;
            }
        }
        replies
    }
}

fn shifted(amount: Amount, by: i64) -> Amount {
    Amount::from_minor(amount.minor().saturating_add_signed(by).max(1), amount.currency()).unwrap_or(amount)
}

fn shift_leg(leg: &mut Leg, by: i64) {
    leg.delta_minor += leg.delta_minor.signum() * by;
}

/// The last reversal that is not acknowledged yet counts as acknowledged.
fn forget_reversal(records: &mut Vec<Record>) {
    let due = records.iter().rev().find_map(|record| match record {
        Record::ReversalDue { stan, .. } => Some(*stan),
        _ => None,
    });
    let Some(stan) = due else { return };
    let done =
        records.iter().any(|record| matches!(record, Record::ReversalAcknowledged { stan: done, .. } if *done == stan));
    if !done {
        records.push(Record::ReversalAcknowledged { stan, response_code: ResponseCode::APPROVED, trace: Vec::new() });
    }
}

fn cancel_open_intent(records: &mut Vec<Record>) {
    let mut open = None;
    for record in records.iter() {
        match record {
            Record::IntentSent { transaction } => open = Some(transaction.stan),
            Record::Decided { .. } | Record::ReversalDue { .. } | Record::NoticeQueued { .. } => open = None,
            _ => {}
        }
    }
    if let Some(stan) = open {
        let message = till::Text::new("未发送", "never sent");
        records.push(Record::IntentCancelled { stan, message });
    }
}

fn forget_notice(record: &mut Record) {
    if let Record::NoticeQueued { stan } = record {
        *record = Record::IntentCancelled { stan: *stan, message: till::Text::new("未发送", "never sent") };
    }
}
