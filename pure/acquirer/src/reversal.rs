//! Reversals and script notices.

use crate::check::identity_of;
use crate::machine_impl::{Acquirer, Output, Work};
use crate::record::{Answer, Decision, Identity, Kind, NOTE_BYTES_MAX, Record, Reversal, ScriptNotice, Stored, Undo};
use crate::respond;
use crate::rule::Rule;
use crate::state::Status;
use crate::words::Level;
use ledger::{Intent, MessageClass};
use tlv::Tag;
use types::{InstitutionId, ResponseCode};

/// Transaction types (F60.1) of the pre-authorisation family's 0100 messages.
const AUTHORISATION_TYPES: [u8; 2] = [10, 11];
const SCRIPT_RESULTS: Tag = Tag::new(0xDF31);

/// A reversal on its way to a record.
pub(crate) struct Undoing {
    pub intent: Intent,
    pub original: Intent,
    pub undo: Undo,
    pub rule: Rule,
    pub issuer: Option<InstitutionId>,
}

impl Acquirer {
    /// An authentic reversal: seen before? Which original, and what became of it?
    pub(crate) fn consider_reversal(&mut self, work: Box<Work>, out: &mut Output) {
        let Some(intent) = self.intent_of(&work, MessageClass::Reversal) else {
            return self.refuse_with_mac(work, Rule::Format.into(), out);
        };
        let original = original_intent(&work, intent);
        let here = intent.batch == self.state.open_batch();
        if let Some(entry) = self.state.entry(intent.class, intent.stan).filter(|_| here) {
            let stored = entry.stored.clone();
            return self.meet_stored(work, intent, &stored, out);
        }
        let undoing = Undoing { intent, original, undo: Undo::Tombstone, rule: Rule::ReversalTombstone, issuer: None };
        match self.state.entry(original.class, original.stan).filter(|_| here) {
            Some(entry) => {
                let (stored, status) = (entry.stored.clone(), entry.status);
                self.reverse_stored(work, undoing, &stored, status, out);
            }
            // Of a closed batch, or never seen: the tombstone's unique row tells which.
            None => self.reverse(work, undoing, out),
        }
    }

    /// Reverses what is known of the original.
    pub(crate) fn reverse_stored(
        &mut self,
        work: Box<Work>,
        undoing: Undoing,
        stored: &Stored,
        status: Status,
        out: &mut Output,
    ) {
        let (undo, rule) = match stored {
            Stored::Decision(decision) if !names(&identity_of(&work), &decision.identity) => {
                return self.refuse_with_mac(work, Rule::ReversalDiffers.into(), out);
            }
            Stored::Decision(decision) => undo(decision, status),
            Stored::Tombstone(_) => (Undo::Nothing, Rule::ReversalTombstone),
            Stored::Reversal(_) | Stored::ScriptNotice(_) => (Undo::Nothing, Rule::ReversalKind),
        };
        let issuer = match stored {
            Stored::Decision(decision) => decision.answer.issuer,
            _ => None,
        };
        self.reverse(work, Undoing { undo, rule, issuer, ..undoing }, out);
    }

    /// Writes the reversal down and answers.
    pub(crate) fn reverse(&mut self, work: Box<Work>, undoing: Undoing, out: &mut Output) {
        let Undoing { intent, original, undo, rule, issuer } = undoing;
        let answer = Answer { issuer, ..self.plain_answer(&work, rule.into()) };
        self.log(out, Level::Information, rule.id(), format!("reversal of {}", original.text()));
        let body = respond::financial(&work.incoming, &self.config, &answer);
        let reason = work.incoming.body.response_code.and_then(|code| ResponseCode::new(code).ok());
        let reversal = Reversal {
            intent,
            original,
            identity: identity_of(&work),
            reason: reason.unwrap_or(ResponseCode::NO_REPLY),
            answer,
            undo,
            rule: rule.id().to_owned(),
            wall_ms: self.now.wall_ms,
            remembered: self.is_screened(),
        };
        self.conclude(work, Some(Record::Reversed(Box::new(reversal))), body, out);
    }

    /// Takes a script result down (unionpay-pos §8.2).
    pub(crate) fn consider_script_result(&mut self, work: Box<Work>, out: &mut Output) {
        let Some(intent) = self.intent_of(&work, MessageClass::ScriptNotice) else {
            return self.refuse_with_mac(work, Rule::Format.into(), out);
        };
        if let Some(entry) = self.state.entry(intent.class, intent.stan) {
            let stored = entry.stored.clone();
            return self.meet_stored(work, intent, &stored, out);
        }
        let answer = self.plain_answer(&work, Rule::Accepted.into());
        let body = respond::financial(&work.incoming, &self.config, &answer);
        let results = script_results(&work);
        let notice = ScriptNotice { intent, identity: identity_of(&work), results, answer };
        self.conclude(work, Some(Record::ScriptNoticed(Box::new(notice))), body, out);
    }
}

/// What undoing a decided transaction takes.
fn undo(decision: &Decision, status: Status) -> (Undo, Rule) {
    if let Some((code, _)) = decision.order().filter(|_| status == Status::Standing) {
        return (Undo::Order(code), Rule::Reversed);
    }
    if status != Status::Standing || !decision.is_approved() {
        return (Undo::Nothing, Rule::ReversalNothingToDo);
    }
    let undo = match (decision.kind, decision.movement.clone(), decision.hold.clone()) {
        (Kind::Sale | Kind::Instalment | Kind::QrSale | Kind::QrOrder, Some(movement), _) => Undo::Sale(movement),
        (Kind::Void | Kind::InstalmentVoid | Kind::CompletionVoid | Kind::QrVoid, Some(movement), _) => {
            Undo::Void(movement)
        }
        (Kind::PreAuthorisation, _, Some(hold)) => Undo::Hold(hold),
        (Kind::PreAuthorisationVoid, _, Some(hold)) => Undo::Release(hold),
        (Kind::Completion, Some(movement), Some(hold)) => Undo::Completion(movement, hold),
        _ => return (Undo::Nothing, Rule::ReversalKind),
    };
    (undo, Rule::Reversed)
}

/// The message that a reversal names: its own batch and trace number, and the class its F60.1 belongs to.
fn original_intent(work: &Work, reversal: Intent) -> Intent {
    let transaction_type = work.incoming.body.f60.as_ref().map_or(0, |f60| f60.transaction_type());
    let authorisation = AUTHORISATION_TYPES.contains(&transaction_type);
    reversal.with_class(if authorisation { MessageClass::Authorisation } else { MessageClass::Financial })
}

/// Whether a reversal is of this transaction: F3 and F4, and the card where both know it (unionpay-pos §8.1.8).
fn names(reversal: &Identity, original: &Identity) -> bool {
    let cards_agree = match (reversal.card, original.card) {
        (Some(reversal), Some(original)) => reversal == original,
        _ => true,
    };
    cards_agree
        && reversal.processing_code == original.processing_code
        && reversal.amount_minor == original.amount_minor
}

fn script_results(work: &Work) -> Vec<u8> {
    let field_55 = work.incoming.body.icc_data.as_ref().map_or(&[][..], |field_55| field_55.expose());
    let results = tlv::ber::find(field_55, SCRIPT_RESULTS).ok().flatten().unwrap_or_default();
    results[..results.len().min(NOTE_BYTES_MAX)].to_vec()
}
