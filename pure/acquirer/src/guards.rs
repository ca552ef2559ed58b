//! Deciding again after a guard refused an append. Nothing of it was written, nobody saw its effects.

use crate::machine_impl::{Acquirer, Output, Work};
use crate::order::{OrderEnd, SPACE_ORDER, SPACE_ORDER_END};
use crate::record::{Decision, Kind, Record, Reversal, Stored, Undo};
use crate::reversal::Undoing;
use crate::rows::{SPACE_AUTHORISATION, SPACE_INTENT, SPACE_RRN, SPACE_TERMINAL_SERIAL};
use crate::rule::Rule;
use crate::state::Status;
use crate::words::{Effect, EnrolmentRefused, Level};
use issuer::wallet::SPACE_PAYMENT_CODE_USED;
use issuer::{SPACE_ATC, SPACE_PIN_STEP};
use machine::store::GuardFailure;
use machine::wire::{Encode, Malformed};

/// How often one request is decided again.
const ATTEMPTS_MAX: u8 = 8;

impl Acquirer {
    /// Decides again.
    pub(crate) fn guard_failed(&mut self, record: Record, failure: GuardFailure, out: &mut Output) {
        if let Record::Enrolled { .. } = record {
            self.order = None;
            out.effects.push(Effect::Enrolled { accepted: Err(EnrolmentRefused::NumberTaken) });
            return;
        }
        if let Record::HoldExpired { hold, terminal, .. } = record {
            // Another terminal ended it, or it expired there.
            return self.write(Record::HoldExpired { hold, terminal, released: false }, out);
        }
        let Some(mut work) = self.work.take() else { return };
        work.attempts += 1;
        if work.attempts > ATTEMPTS_MAX {
            return self.abandon(work, "the store refuses every decision", out);
        }
        match record {
            Record::SignedIn { .. } => self.serial_taken(work, &failure, out),
            Record::Decided(decision) => self.decide_again(work, &decision, failure, out),
            Record::Reversed(reversal) => self.reverse_again(work, *reversal, failure, out),
            Record::Signed(signature) => self.signature_taken(work, &signature, &failure, out),
            Record::ScriptNoticed(notice) => match taken(&failure) {
                Some(stored) => self.meet_stored(work, notice.intent, &stored, out),
                None => self.abandon(work, "a script notice met a guard it does not have", out),
            },
            _ => self.abandon(work, "a record met a guard it does not have", out),
        }
    }

    /// The serial number of a sign-in is claimed: by this terminal before it had another one for a while, or by another
    /// terminal. Two terminals with one serial number are one terminal and its copy.
    fn serial_taken(&mut self, mut work: Box<Work>, failure: &GuardFailure, out: &mut Output) {
        let GuardFailure::Taken { space: SPACE_TERMINAL_SERIAL, value, .. } = failure else {
            return self.abandon(work, "a sign-in met a guard it does not have", out);
        };
        if value[..] == self.terminal.bytes()[..] {
            work.serial_known = true;
            return self.manage(work, out);
        }
        let text = format!("terminal {} has claimed this serial number", String::from_utf8_lossy(value));
        self.log(out, Level::Alarm, Rule::SerialElsewhere.id(), text);
        self.refuse_without_mac(work, Rule::SerialElsewhere, out);
    }

    fn decide_again(&mut self, mut work: Box<Work>, decision: &Decision, failure: GuardFailure, out: &mut Output) {
        match &failure {
            GuardFailure::Taken { space, .. } if *space == SPACE_INTENT => match taken(&failure) {
                Some(stored) => self.meet_stored(work, decision.intent, &stored, out),
                None => self.abandon(work, "a stored intent cannot be read", out),
            },
            GuardFailure::Taken { space, .. } if matches!(*space, SPACE_RRN | SPACE_AUTHORISATION | SPACE_ORDER) => {
                work.rrn_skip += 1;
                self.log(out, Level::Alarm, space, "a reference number or authorisation code was taken".to_owned());
                self.ask_payer(work, out);
            }
            GuardFailure::Taken { space, .. } if *space == SPACE_PAYMENT_CODE_USED => {
                self.decide(work, Rule::PaymentCodeUsed.into(), None, out);
            }
            // Another terminal moved the card's PIN counter: the issuer must see the new count.
            GuardFailure::Taken { space, .. } if *space == SPACE_PIN_STEP => self.ask_issuer(work, out),
            GuardFailure::Taken { space, .. } if *space == SPACE_ATC => {
                self.refuse_by_issuer(work, issuer::Rule::ChipReplay, out);
            }
            GuardFailure::Taken { .. } => self.abandon(work, "a posting stands already", out),
            GuardFailure::Balance { account, .. } => {
                let of_hold = decision.hold.as_ref().is_some_and(|hold| hold.account() == *account);
                match decision.kind {
                    _ if of_hold => self.decide(work, Rule::AuthorisationClosed.into(), None, out),
                    Kind::Void
                    | Kind::InstalmentVoid
                    | Kind::Refund
                    | Kind::CompletionVoid
                    | Kind::QrVoid
                    | Kind::QrRefund => {
                        self.decide(work, Rule::NothingLeft.into(), None, out);
                    }
                    _ => self.refuse_by_issuer(work, issuer::Rule::Funds, out),
                }
            }
        }
    }

    fn refuse_by_issuer(&mut self, mut work: Box<Work>, rule: issuer::Rule, out: &mut Output) {
        work.reply = work.reply.map(|reply| Box::new(reply.refused(rule)));
        self.decide(work, rule.into(), None, out);
    }

    fn reverse_again(&mut self, work: Box<Work>, reversal: Reversal, failure: GuardFailure, out: &mut Output) {
        let Reversal { intent, original, answer, .. } = reversal;
        let nothing = Undo::Nothing;
        let undoing =
            Undoing { intent, original, undo: nothing, rule: Rule::ReversalNothingLeft, issuer: answer.issuer };
        match &failure {
            GuardFailure::Balance { .. } => {
                self.log(out, Level::Alarm, Rule::ReversalNothingLeft.id(), original.text());
                self.reverse(work, undoing, out);
            }
            GuardFailure::Taken { space, key, .. } if *space == SPACE_INTENT => match taken(&failure) {
                Some(stored) if *key == intent.key() => self.meet_stored(work, intent, &stored, out),
                Some(stored) => self.reverse_stored(work, undoing, &stored, Status::Standing, out),
                None => self.abandon(work, "a stored intent cannot be read", out),
            },
            GuardFailure::Taken { space: SPACE_ORDER_END, value, .. } => {
                self.reverse_ended_order(work, undoing, OrderEnd::from_bytes(value), out);
            }
            GuardFailure::Taken { .. } => self.abandon(work, "a posting stands already", out),
        }
    }

    /// The buyer was faster than the reversal: what was paid is given back.
    fn reverse_ended_order(
        &mut self,
        work: Box<Work>,
        undoing: Undoing,
        end: Result<OrderEnd, Malformed>,
        out: &mut Output,
    ) {
        match end {
            Ok(OrderEnd::Paid(payment)) => {
                let (undo, issuer) = (Undo::Sale(payment.movement), Some(payment.issuer));
                self.reverse(work, Undoing { undo, issuer, rule: Rule::Reversed, ..undoing }, out);
            }
            Ok(OrderEnd::Closed(_)) => {
                self.reverse(work, Undoing { rule: Rule::ReversalNothingToDo, ..undoing }, out);
            }
            Err(_) => self.abandon(work, "an order's end cannot be read", out),
        }
    }
}

/// What the first writer of an intent stored.
fn taken(failure: &GuardFailure) -> Option<Stored> {
    match failure {
        GuardFailure::Taken { value, .. } => Stored::from_bytes(value).ok(),
        GuardFailure::Balance { .. } => None,
    }
}
