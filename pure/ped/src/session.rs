//! One card in the reader, from `ReadCard` to its end.

use crate::account::{CardAccount, EntryMode};
use crate::chip::ChipRecord;
use emv::{Kernel, PinKind};
use pedlink::{CardFailure, CardSummary, CardTransaction, ChipReceipt, SealedBlob, TraceLine};
use types::{Pin, ResponseCode};
use zeroize::Zeroizing;

/// What a session waits for.
pub(crate) enum Stage {
    /// The first random bytes.
    Entropy,
    /// A card.
    Card,
    /// The card's answer to a command.
    Response,
    /// The cardholder's choice between so many applications.
    Choice {
        /// How many are offered.
        offered: usize,
    },
    /// A PIN.
    Pin {
        /// Who asked.
        purpose: PinPurpose,
        /// Random bytes that the kernel needs with it.
        random_bytes: usize,
    },
    /// Random bytes to encipher this PIN for the card.
    PinEntropy {
        /// The PIN.
        pin: Pin,
        /// How many bytes.
        bytes: usize,
    },
    /// The till: the card was read, a message or the end may follow.
    Till,
    /// Nothing any more.
    Over,
}

/// Who asked for the PIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PinPurpose {
    /// The card's CVM list, by way of the kernel.
    Kernel(PinKind),
    /// The till (`force_online_pin`).
    Till,
}

/// The host's answer as [`crate::check`] accepted it.
pub(crate) struct HostAnswer {
    pub(crate) response_code: Option<ResponseCode>,
    pub(crate) issuer_data: Vec<u8>,
}

/// The chip's last word, kept so that a repeated question gets the same answer.
#[derive(Clone)]
pub(crate) struct Finished {
    pub(crate) approved: bool,
    pub(crate) receipt: ChipReceipt,
    pub(crate) blob: Option<SealedBlob>,
    pub(crate) script_results: Option<Vec<u8>>,
    pub(crate) detail: String,
    pub(crate) trace: Vec<TraceLine>,
}

/// One card in the reader.
pub(crate) struct Session {
    pub(crate) number: u32,
    pub(crate) transaction: CardTransaction,
    /// Whether a trace is kept.
    pub(crate) explains: bool,
    pub(crate) stage: Stage,
    pub(crate) kernel: Option<Box<Kernel>>,
    pub(crate) account: Option<CardAccount>,
    pub(crate) pin_block: Option<Zeroizing<[u8; 8]>>,
    /// Working keys changed after the PIN was enciphered.
    pub(crate) pin_outdated: bool,
    /// F22 of the last message that was completed for this session.
    pub(crate) sent_entry_mode: Option<EntryMode>,
    /// The kernel's decision, also while the till's PIN is being entered.
    pub(crate) pending: Option<pedlink::CardDecision>,
    pub(crate) chip: ChipRecord,
    pub(crate) answer: Option<HostAnswer>,
    /// What `CardRead` said.
    pub(crate) read: Option<Result<CardSummary, CardFailure>>,
    /// The trace that went with it.
    pub(crate) read_trace: Vec<TraceLine>,
    /// What `CardFinished` said.
    pub(crate) finished: Option<Finished>,
    /// The first cryptogram and its inputs, for the trace: the second one overwrites them in the kernel.
    pub(crate) first_cryptogram: Vec<TraceLine>,
    /// Remarks for the trace that only the PED can make.
    pub(crate) remarks: Vec<TraceLine>,
    /// Whether the kernel took its decision without the host.
    pub(crate) offline_outcome: Option<Box<emv::Outcome>>,
}

impl Session {
    pub(crate) fn new(number: u32, transaction: CardTransaction, explains: bool) -> Self {
        Self {
            number,
            transaction,
            explains,
            stage: Stage::Entropy,
            kernel: None,
            account: None,
            pin_block: None,
            pin_outdated: false,
            sent_entry_mode: None,
            pending: None,
            chip: ChipRecord::default(),
            answer: None,
            read: None,
            read_trace: Vec::new(),
            finished: None,
            first_cryptogram: Vec::new(),
            remarks: Vec::new(),
            offline_outcome: None,
        }
    }

    /// Whether `CardRead` is still owed.
    pub(crate) fn is_reading(&self) -> bool {
        self.read.is_none()
    }

    /// Whether somebody other than the till has the word: another read must wait.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Till | Stage::Over)
    }

    /// Whether the card may still be in the reader.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Over)
    }

    /// Forgets the card: kernel, account data, PIN block, host's answer. What was said stays, to be said again.
    pub(crate) fn wipe(&mut self) {
        self.kernel = None;
        self.account = None;
        self.pin_block = None;
        self.answer = None;
        self.chip = ChipRecord::default();
        self.offline_outcome = None;
        self.stage = Stage::Over;
    }

    /// A remark for the trace, put into words only if one is kept.
    pub(crate) fn remark(&mut self, topic: &str, text: impl FnOnce() -> String) {
        if self.explains {
            self.remarks.push(crate::trace::line(topic, text()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Amount, CivilTime, Currency, Stan};

    #[test]
    fn a_wiped_session_holds_nothing_of_its_card() {
        let transaction = CardTransaction {
            amount: Amount::from_minor(1, Currency::CNY).unwrap(),
            transaction_type: 0,
            at: CivilTime::from_unix_ms(0, 0),
            stan: Stan::FIRST,
            account_only: false,
            force_online_pin: false,
            online_only: false,
        };
        let mut session = Session::new(1, transaction, true);
        session.account = CardAccount::read(Some(&[0x62; 8]), None, None, None).ok();
        session.pin_block = Some(Zeroizing::new([1; 8]));
        session.answer = Some(HostAnswer { response_code: None, issuer_data: vec![1] });
        session.chip.request = vec![1];
        assert!(session.account.is_some());
        session.wipe();
        assert!(session.account.is_none() && session.pin_block.is_none() && session.answer.is_none());
        assert!(session.kernel.is_none() && session.chip == ChipRecord::default() && !session.is_open());
    }
}
