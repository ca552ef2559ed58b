//! Risk rules: what they are asked, what becomes of their word, and what is remembered for them.

use crate::check::identity_of;
use crate::financial::{amount_of, class_of, kind_of};
use crate::machine_impl::{Acquirer, GivenBack, Original, Output, Phase, Work};
use crate::policy::{MerchantPolicy, RuleUse};
use crate::record::{Decision, Kind, Record, Reversal, Undo};
use crate::rule::Rule;
use crate::words::{Effect, Level};
use iso8583::unionpay::{Entry, EntryMode};
use issuer::wallet::wallet_token;
use ledger::Intent;
use machine::wire::Encode;
use risk::{Answer, Past, Question, Screening};
use types::{Amount, CivilTime};

/// Digits of F61 that name the batch of a void's original.
const BATCH_DIGITS: usize = 6;
/// What a reversal is called in the past.
const REVERSAL: &str = "reversal";

/// The acquirer's word for every kind of transaction.
pub fn kind_names() -> Vec<&'static str> {
    (0..=u8::MAX).filter_map(|number| Kind::from_bytes(&[number]).ok()).map(Kind::name).collect()
}

impl MerchantPolicy {
    pub(crate) fn allows(&self, kind: Kind) -> bool {
        match kind {
            Kind::Refund | Kind::QrRefund => self.refunds,
            kind => self.voids || !kind.voids(),
        }
    }
}

impl Rule {
    /// Whether it is about what a transaction gives back or ends: then the risk rules hear of the refusal.
    fn is_about_original(self) -> bool {
        use Rule as R;
        matches!(
            self,
            R::OriginalMissing
                | R::OriginalNotApproved
                | R::OriginalKind
                | R::AlreadyVoided
                | R::OtherCard
                | R::OriginalAmount
                | R::RefundTooLate
                | R::AuthorisationMissing
                | R::AuthorisationAmount
                | R::AuthorisationExpired
        )
    }

    fn of_risk(answer: Answer) -> Self {
        match answer {
            Answer::Suspected => Rule::RiskSuspected,
            Answer::Amount => Rule::RiskAmount,
            Answer::Frequency => Rule::RiskFrequency,
        }
    }
}

impl Acquirer {
    /// What this terminal's merchant may do.
    pub(crate) fn policy(&self) -> &MerchantPolicy {
        let policies = &self.config.policies;
        self.state.enrolment.as_ref().map_or(&policies.standard, |enrolment| policies.of(enrolment.merchant))
    }

    /// Whether the risk rules are asked about this merchant's transactions.
    pub(crate) fn is_screened(&self) -> bool {
        self.policy().rules != RuleUse::Off
    }

    /// Refuses; where the rule is about the original, the risk rules hear of it first.
    pub(crate) fn refuse(&mut self, work: Box<Work>, rule: Rule, out: &mut Output) {
        match self.question(&work, Some(rule)).filter(|_| rule.is_about_original()) {
            Some(question) => self.screen(work, question, Some(rule), out),
            None => self.decide(work, rule.into(), None, out),
        }
    }

    /// What the risk rules are asked; none if they are not in use or have spoken already.
    pub(crate) fn question(&self, work: &Work, refused: Option<Rule>) -> Option<Question> {
        let kind = kind_of(work);
        if !self.is_screened() || work.screening.is_some() {
            return None;
        }
        let original = match &work.original {
            Some(Original::Movement { movement, sale, .. }) => Some(original_of(&movement.sale, sale, self)),
            _ => None,
        };
        let intent = self.intent_of(work, class_of(kind))?;
        Some(Question {
            intent,
            kind: kind.name().to_owned(),
            card: work.card.as_ref().map(|card| card.token).or(work.wallet.map(wallet_token)),
            amount: amount_of(work, self.state.enrolment.as_ref()?.currency)?,
            entry: entry(work.incoming.body.entry_mode.map_or(*b"000", |mode| mode.0)),
            category: self.policy().category,
            hour: hour(self.now.wall_ms),
            original,
            of_closed_batch: names_closed_batch(kind, &identity_of(work).original, intent),
            refused_by: refused.map_or(String::new(), |rule| rule.id().to_owned()),
            wall_ms: self.now.wall_ms,
        })
    }

    pub(crate) fn screen(&mut self, work: Box<Work>, question: Question, refused: Option<Rule>, out: &mut Output) {
        let ticket = self.wait(work, Phase::Screening { refused });
        out.effects.push(Effect::Screen { ticket, question: Box::new(question) });
    }

    /// Takes the rules' word. Guards on money stand behind it and are not loosened by it.
    pub(crate) fn take_screening(&mut self, mut work: Box<Work>, screening: Screening, out: &mut Output) {
        let Phase::Screening { refused } = core::mem::replace(&mut work.phase, Phase::Opening) else { return };
        let kind = kind_of(&work);
        // What a notice tells has happened already; only a refund's money has not left yet.
        let too_late = kind.is_notice() && !matches!(kind, Kind::Refund | Kind::QrRefund);
        let obeyed = self.policy().rules == RuleUse::Refuse && !too_late && refused.is_none();
        let screening = if obeyed { screening } else { screening.softened() };
        for finding in &screening.findings {
            self.log(out, Level::Warning, "risk", format!("{}: {}", finding.rule, finding.reason.en));
        }
        let refusal = screening.refusal().map(|(_, answer)| Rule::of_risk(answer));
        if !screening.is_flagged() {
            work.checks.push("no risk rule applies");
        }
        work.screening = Some(screening);
        match refused.or(refusal) {
            Some(rule) => self.decide(work, rule.into(), None, out),
            None if kind.is_qr() => self.find_wallet(work, out),
            None => self.ask_issuer(work, out),
        }
    }
}

fn original_of(sale: &Intent, given_back: &GivenBack, machine: &Acquirer) -> risk::Original {
    risk::Original {
        amount_minor: given_back.amount_minor,
        age_ms: machine.now.wall_ms.saturating_sub(given_back.wall_ms),
        elsewhere: sale.terminal != machine.terminal,
    }
}

/// The hour at the host: China Standard Time.
fn hour(wall_ms: u64) -> u8 {
    CivilTime::from_unix_ms(wall_ms, CivilTime::CHINA_OFFSET_MINUTES).time.parts().0
}

fn entry(mode: [u8; 3]) -> risk::Entry {
    match EntryMode(mode).entry() {
        Entry::Contact | Entry::ContactUnreliable => risk::Entry::Chip,
        Entry::Contactless | Entry::ContactlessFull | Entry::Mobile => risk::Entry::Contactless,
        Entry::Magnetic => risk::Entry::Magstripe,
        Entry::Fallback => risk::Entry::Fallback,
        _ => risk::Entry::Manual,
    }
}

/// Whether a void names a sale of another batch than the one it came in.
fn names_closed_batch(kind: Kind, original: &[u8], intent: Intent) -> bool {
    let batch = original.get(..BATCH_DIGITS).and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok());
    kind.voids() && batch.is_some_and(|batch: u32| batch != intent.batch.number())
}

/// What the rules would have been asked about a decision of the past, and whether they would have been: not where it was refused
/// before anything was known of its card and original. `original` is the approved transaction behind a reference number, with
/// when it was decided.
pub fn question_of(
    decision: &Decision,
    category: u16,
    original: impl FnOnce(&[u8; 12]) -> Option<(Intent, Amount, u64)>,
) -> Option<Question> {
    let refusing = Rule::ALL.iter().find(|rule| rule.id() == decision.rule);
    let refused = refusing.filter(|rule| rule.is_about_original());
    if let Some(rule) = refusing.filter(|_| refused.is_none())
        && !matches!(rule, Rule::RiskSuspected | Rule::RiskAmount | Rule::RiskFrequency | Rule::NothingLeft)
        && *rule != Rule::AuthorisationClosed
    {
        return None;
    }
    let rests = decision.kind.voids() || matches!(decision.kind, Kind::Refund | Kind::QrRefund | Kind::TipAdjustment);
    let gives_back = rests && refused.is_none();
    let named = decision.identity.original_rrn.as_ref().filter(|_| gives_back);
    let original = named.and_then(original).map(|(intent, amount, wall_ms)| risk::Original {
        amount_minor: amount.minor(),
        age_ms: decision.wall_ms.saturating_sub(wall_ms),
        elsewhere: intent.terminal != decision.intent.terminal,
    });
    Some(Question {
        intent: decision.intent,
        kind: decision.kind.name().to_owned(),
        card: decision.payer(),
        amount: decision.amount,
        entry: entry(decision.entry_mode),
        category,
        hour: hour(decision.wall_ms),
        original,
        of_closed_batch: names_closed_batch(decision.kind, &decision.identity.original, decision.intent),
        refused_by: refused.map_or(String::new(), |rule| rule.id().to_owned()),
        wall_ms: decision.wall_ms,
    })
}

/// What is remembered of a record.
pub fn past_of(record: &Record) -> Option<Past> {
    match record {
        Record::Decided(decision) => past_of_decision(decision),
        Record::Reversed(reversal) => past_of_reversal(reversal),
        _ => None,
    }
}

/// A payment that waits for its buyer is neither approved nor declined, and not remembered.
pub(crate) fn past_of_decision(decision: &Decision) -> Option<Past> {
    if decision.awaits_payer() {
        return None;
    }
    let undone = decision.movement.as_ref().filter(|_| decision.kind.voids());
    Some(Past {
        intent: decision.intent,
        kind: decision.kind.name().to_owned(),
        card: decision.payer(),
        amount: decision.amount,
        approved: decision.is_approved(),
        undoes: undone.map(|movement| movement.sale),
        wall_ms: decision.wall_ms,
    })
}

/// A reversal that undid something.
pub(crate) fn past_of_reversal(reversal: &Reversal) -> Option<Past> {
    let amount = match &reversal.undo {
        Undo::Sale(movement) | Undo::Void(movement) | Undo::Completion(movement, _) => movement.amount,
        Undo::Hold(hold) | Undo::Release(hold) => hold.amount,
        // An order that nobody paid is no past.
        Undo::Order(_) | Undo::Nothing | Undo::Tombstone => return None,
    };
    Some(Past {
        intent: reversal.intent,
        kind: REVERSAL.to_owned(),
        card: reversal.identity.card,
        amount,
        approved: true,
        undoes: Some(reversal.original),
        wall_ms: reversal.wall_ms,
    })
}
