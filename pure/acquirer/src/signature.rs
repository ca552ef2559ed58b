//! Electronic signatures (unionpay-pos §6.1): each is taken down once, beside the transaction that it belongs to.

use crate::check::batch_of;
use crate::machine_impl::{Acquirer, Output, Work};
use crate::record::{Decision, Record, Signature};
use crate::respond;
use crate::rows::SPACE_SIGNATURE;
use crate::rule::Rule;
use crate::words::Level;
use iso8583::unionpay::{feature_code, parse_signature_elements, signature_size};
use machine::store::GuardFailure;
use machine::wire::Encode;
use types::{ResponseCode, SecretBytes};

impl Acquirer {
    /// 0820 with 07/800: authentic, about an approved transaction of the open batch, and an image that is one.
    pub(crate) fn consider_signature(&mut self, work: Box<Work>, out: &mut Output) {
        match self.signature_of(&work) {
            Ok(signature) => {
                let text = format!("{}, {} bytes", signature.intent.text(), signature.image.len());
                self.log(out, Level::Information, "signature", text);
                let record = Record::Signed(Box::new(signature));
                self.answer_signature(work, ResponseCode::APPROVED, record, out);
            }
            Err(rule) => self.refuse_signature(work, rule, out),
        }
    }

    fn signature_of(&self, work: &Work) -> Result<Signature, Rule> {
        let body = &work.incoming.body;
        let bytes =
            |field: &Option<SecretBytes>| field.as_ref().map(|field| field.expose().to_vec()).unwrap_or_default();
        let (image, elements) = (bytes(&body.f62), bytes(&body.icc_data));
        signature_size(&image).map_err(|_| Rule::Format)?;
        parse_signature_elements(&elements).map_err(|_| Rule::Format)?;
        let signed = self.signed_transaction(work).ok_or(Rule::OriginalMissing)?;
        let feature_code = feature_code(&respond::mmdd(signed.answer.at), signed.answer.rrn.bytes());
        Ok(Signature { intent: signed.intent, image, elements, feature_code, at: self.civil_time() })
    }

    /// The approved transaction that F11, 60.2, F37 and F4 name.
    fn signed_transaction(&self, work: &Work) -> Option<&Decision> {
        let (body, stan) = (&work.incoming.body, work.incoming.stan()?);
        let named = |decision: &&Decision| {
            decision.intent.stan == stan
                && Some(decision.intent.batch) == batch_of(work)
                && body.rrn == Some(*decision.answer.rrn.bytes())
                && body.amount_minor == Some(decision.amount.minor())
        };
        self.state.decisions().filter(|decision| decision.is_approved()).find(named)
    }

    /// The signature of this transaction stands already: the same one again is answered as before, another one refused.
    pub(crate) fn signature_taken(
        &mut self,
        work: Box<Work>,
        signature: &Signature,
        failure: &GuardFailure,
        out: &mut Output,
    ) {
        let stored = match failure {
            GuardFailure::Taken { space, value, .. } if *space == SPACE_SIGNATURE => Signature::from_bytes(value).ok(),
            _ => None,
        };
        match stored {
            Some(stored) if stored.image == signature.image => {
                let record = Record::Repeated { intent: signature.intent };
                self.answer_signature(work, ResponseCode::APPROVED, record, out);
            }
            Some(_) => self.refuse_signature(work, Rule::Duplicate, out),
            None => self.abandon(work, "a signature met a guard it does not have", out),
        }
    }

    fn refuse_signature(&mut self, work: Box<Work>, rule: Rule, out: &mut Output) {
        self.log(out, Level::Information, rule.id(), format!("a signature refused with {}", rule.response_code()));
        let rrn = self.state.next_rrn(work.rrn_skip);
        let record = Record::Refused { rule: rule.id().to_owned(), stan: work.incoming.stan(), rrn };
        self.answer_signature(work, rule.response_code(), record, out);
    }

    /// F37 is the signed transaction's (unionpay-pos §3.4).
    fn answer_signature(&mut self, work: Box<Work>, code: ResponseCode, record: Record, out: &mut Output) {
        let mut body = respond::base(&work.incoming, self.civil_time(), Some(code));
        body.rrn = work.incoming.body.rrn;
        self.conclude(work, Some(record), body, out);
    }
}
