//! `FinishCard` and `CancelCard`: the host's answer to the chip, and the chip's last word.

use crate::account::{EntryMode, StoredTransaction};
use crate::chip;
use crate::machine::Ped;
use crate::reading::APPROVAL_CODES;
use crate::session::{Finished, Session, Stage};
use crate::trace;
use crate::words::Effect;
use emv::{Decision, Input, OnlineResult, Outcome};
use pedlink::{CardDecision, CardFailure, ChipReceipt, OnlineAnswer, PedReply, SealedBlob};
use tlv::tags;
use types::ResponseCode;

/// What the chip is told if the till claims an approval that no checked response holds: do not honour.
const UNPROVED: &[u8; 2] = b"05";

impl Ped {
    pub(crate) fn finish_card(&mut self, number: u32, answer: OnlineAnswer) {
        let Some(session) = self.session.as_mut().filter(|session| session.number == number) else {
            return self.reply_unfinished(number, "no such session: the PED was restarted or another card was read");
        };
        if let Some(finished) = session.finished.clone() {
            return self.reply_finished(number, finished);
        }
        if session.is_reading() {
            return self.reply_unfinished(number, "the card is still being read");
        }
        if let Some(outcome) = session.offline_outcome.take() {
            return self.conclude(&outcome);
        }
        match (&session.stage, session.pending) {
            (Stage::Till, Some(CardDecision::Online)) => {
                let result = session.online_result(&answer);
                session.remark("host", || trace::online_result(&result));
                self.drive(Input::OnlineResult(result));
            }
            // The same command again: its answer is on the way.
            (Stage::Response, _) => {}
            (Stage::Till, _) => {
                self.forget_session();
                self.reply_unfinished(number, "only account data was read");
            }
            _ => self.reply_unfinished(number, "the session is over"),
        }
    }

    pub(crate) fn cancel_card(&mut self, number: u32) {
        let Some(session) = self.session.as_mut().filter(|session| session.number == number) else {
            return self.reply_cancelled(number);
        };
        if let Some(finished) = session.finished.clone() {
            return self.reply_finished(number, finished);
        }
        if session.is_reading() {
            return self.end_reading(CardFailure::Cancelled);
        }
        if let Some(outcome) = session.offline_outcome.take() {
            return self.conclude(&outcome);
        }
        if session.is_open() && session.pending == Some(CardDecision::Online) {
            return self.drive(Input::Cancel);
        }
        self.forget_session();
        self.reply_cancelled(number);
    }

    fn reply_cancelled(&mut self, session: u32) {
        self.reply(PedReply::CardRead { session, result: Err(CardFailure::Cancelled), trace: Vec::new() });
    }

    fn reply_unfinished(&mut self, session: u32, why: &str) {
        self.reply(PedReply::CardFinished {
            session,
            approved: false,
            receipt: ChipReceipt::default(),
            blob: None,
            script_results: None,
            detail: why.to_owned(),
            trace: Vec::new(),
        });
    }

    fn reply_finished(&mut self, session: u32, finished: Finished) {
        let Finished { approved, receipt, blob, script_results, detail, trace } = finished;
        self.reply(PedReply::CardFinished { session, approved, receipt, blob, script_results, detail, trace });
    }

    /// The kernel is through: receipt lines, final blob, answer; then everything of the card is forgotten.
    pub(crate) fn conclude(&mut self, outcome: &Outcome) {
        let blob = self.final_blob();
        let Some(session) = self.session.as_mut() else { return };
        for result in &outcome.script_results {
            session.remark("script", || trace::hex(&result.encode()));
        }
        let finished = Finished {
            approved: outcome.decision == Decision::Approved,
            receipt: receipt(session),
            blob,
            script_results: script_results(session),
            detail: detail(outcome),
            trace: trace::of_session(session),
        };
        let was_powered = session.pending == Some(CardDecision::Online);
        session.finished = Some(finished.clone());
        session.wipe();
        let number = session.number;
        self.deadline_ms = None;
        if was_powered {
            self.release_card();
        } else {
            self.effect(Effect::Display(crate::words::Prompt::Idle));
        }
        self.reply_finished(number, finished);
    }

    /// Chip data as it stands now, sealed with the account. A vault that refuses leaves no blob and a remark.
    fn final_blob(&mut self) -> Option<SealedBlob> {
        let owner = self.blob_owner();
        let session = self.session.as_mut()?;
        let kernel = session.kernel.as_ref()?;
        session.chip.last = Some(chip::collect(|tag| kernel.data().get(tag)));
        let account = session.account.as_ref()?;
        let transaction = StoredTransaction {
            pan: account.pan.duplicate(),
            expiry: account.expiry,
            card_sequence: account.card_sequence,
            entry_mode: session.entry_mode(),
            chip: session.chip.clone(),
        };
        match owner.seal(&mut self.vault, &transaction) {
            Ok(blob) => Some(blob),
            Err(refusal) => {
                session.remark("vault", || format!("no blob: {refusal}"));
                None
            }
        }
    }
}

impl Session {
    /// What the kernel is told. An approval counts only if a response with that very code was checked before: a till cannot
    /// make the chip approve by itself.
    fn online_result(&self, answer: &OnlineAnswer) -> OnlineResult {
        let OnlineAnswer::Answered { response_code } = answer else { return OnlineResult::Unable };
        let checked = self.answer.as_ref();
        let same = checked.is_some_and(|checked| checked.response_code == Some(*response_code));
        if is_approval(*response_code) && !same {
            return OnlineResult::Answered { response_code: *UNPROVED, issuer_data: Vec::new() };
        }
        let issuer_data = checked.filter(|_| same).map(|checked| checked.issuer_data.clone()).unwrap_or_default();
        OnlineResult::Answered { response_code: *response_code.bytes(), issuer_data }
    }

    /// F22 as the session's message carried it, or would.
    fn entry_mode(&self) -> EntryMode {
        self.sent_entry_mode.unwrap_or(EntryMode::of_pin(self.pin_block.is_some()))
    }
}

pub(crate) fn is_approval(code: ResponseCode) -> bool {
    APPROVAL_CODES.contains(code.bytes())
}

/// Chip lines of the receipt, from the kernel's data as they stand.
fn receipt(session: &Session) -> ChipReceipt {
    let Some(kernel) = session.kernel.as_ref() else { return ChipReceipt::default() };
    let value = |tag| kernel.data().get(tag);
    let hex = |tag| value(tag).map(trace::hex).unwrap_or_default();
    let atc = value(tags::ATC).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
    let aid = if value(tags::DF_NAME).is_some() { tags::DF_NAME } else { tags::AID_TERMINAL };
    ChipReceipt {
        aid: hex(aid),
        label: trace::application_label(value),
        cryptogram: hex(tags::APPLICATION_CRYPTOGRAM),
        cryptogram_kind: trace::cryptogram_kind(value(tags::CRYPTOGRAM_INFORMATION_DATA)).to_owned(),
        tvr: hex(tags::TVR),
        tsi: hex(tags::TSI),
        atc,
        cvm_results: hex(tags::CVM_RESULTS),
    }
}

/// DF31: five bytes a script.
fn script_results(session: &Session) -> Option<Vec<u8>> {
    let results = session.kernel.as_ref()?.data().get(tags::UNIONPAY_SCRIPT_RESULTS)?;
    (!results.is_empty()).then(|| results[..results.len().min(chip::SCRIPT_RESULTS_BYTES_MAX)].to_vec())
}

/// Why the card did not approve, in words; empty if it did.
fn detail(outcome: &Outcome) -> String {
    match outcome.decision {
        Decision::Approved => String::new(),
        Decision::Declined if outcome.reversal_required => "the host approved, the card declined".to_owned(),
        Decision::Declined if outcome.unable_to_go_online => "no answer of the host, declined".to_owned(),
        Decision::Declined if outcome.went_online => "declined with the host's answer".to_owned(),
        Decision::Declined => "declined without the host".to_owned(),
        Decision::Terminated { reason, .. } => trace::termination(reason),
    }
}
