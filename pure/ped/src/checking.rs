//! `CheckResponse`: is this the host's answer, and is it authentic?

use crate::check;
use crate::finishing::is_approval;
use crate::machine::Ped;
use crate::session::HostAnswer;
use crate::trace;
use iso8583::Message;
use iso8583::unionpay::Opened;
use pedlink::{Expected, OpaqueFrame, PedReply, ResponseFault, ResponseSummary, TraceLine};
use types::ResponseCode;

/// Bytes of F64 at the end of a message that has one.
const MAC_BYTES: usize = crate::compose::MAC_BYTES;

impl Ped {
    pub(crate) fn check_response(&mut self, frame: &OpaqueFrame, expected: &Expected) {
        let trace = self.explain_message("response", frame);
        let result = match check::open(frame.expose()) {
            Ok(opened) => self.judge(&opened, expected).map(Box::new),
            Err(fault) => Err(fault),
        };
        self.reply(PedReply::ResponseChecked { result, trace });
    }

    /// A message field by field, if explanations are wanted.
    pub(crate) fn explain_message(&self, topic: &str, frame: &OpaqueFrame) -> Vec<TraceLine> {
        if self.config.explains { trace::of_message(topic, frame.expose()) } else { Vec::new() }
    }

    fn judge(&mut self, opened: &Opened<'_>, expected: &Expected) -> Result<ResponseSummary, ResponseFault> {
        let message = &opened.message;
        check::compare(message, expected)?;
        let verified = self.verify_mac(message, expected.mac_required)?;
        let summary = check::summary(opened, verified)?;
        self.remember_answer(message, &summary, expected);
        Ok(summary)
    }

    /// Whether F64 is there and right (D17, D18).
    fn verify_mac(&mut self, message: &Message<'_>, required: bool) -> Result<bool, ResponseFault> {
        let Some(mac) = check::mac(message) else {
            let excused = !required || check::may_lack_mac(message);
            return if excused { Ok(false) } else { Err(ResponseFault::MacMissing) };
        };
        let Some(keys) = self.holdings.working_keys.as_ref() else {
            return if required { Err(ResponseFault::MacWrong) } else { Ok(false) };
        };
        let body = message.body();
        let covered = &body[..body.len().saturating_sub(MAC_BYTES)];
        match self.vault.verify_mac(&keys.mac, self.config.mac_algorithm, covered, mac) {
            Ok(true) => Ok(true),
            Ok(false) | Err(_) => Err(ResponseFault::MacWrong),
        }
    }

    /// Keeps F39 and F55 for the chip. An approval without a MAC is never kept, whatever the till expected.
    fn remember_answer(&mut self, message: &Message<'_>, summary: &ResponseSummary, expected: &Expected) {
        let Some(session) = self.session.as_mut().filter(|session| expected.session == Some(session.number)) else {
            return;
        };
        let authentic = |code: &ResponseCode| summary.mac_verified || !is_approval(*code);
        session.answer = Some(HostAnswer {
            response_code: summary.response_code.filter(authentic),
            issuer_data: check::issuer_data(message).unwrap_or_default(),
        });
    }
}
