//! Every durable fact of a till. A journal written by any released version must open in every later one: numbers and layouts
//! below never change; a new layout gets a new number.

use crate::settlement::{SettlementAnswer, SettlementReport, Totals, UploadItem};
use crate::state::State;
use crate::text::Text;
use crate::transaction::{Decision, ScriptNotice, Transaction};
use crate::words::HostProof;
use iso8583::unionpay::DownloadSet;
use pedlink::TraceLine;
use std::sync::Arc;
use types::{BatchNumber, ResponseCode, Stan};

/// Why working keys count as gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignOutReason {
    /// The operator signed off.
    SignOff,
    /// The host asked for a new sign-in (77, 99, A0).
    HostOrder,
    /// An answer carried a wrong MAC (unionpay-pos §4.7).
    MacWrong,
    /// The PED has no working keys.
    KeysGone,
}

/// A durable fact. Its encoding begins with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The till was switched on for the `boot`th time.
    PoweredOn {
        /// Counts from 1.
        boot: u32,
    },
    /// The host gave working keys and the PED took them.
    SignedIn {
        /// The host's batch number, now the till's (D35).
        batch: BatchNumber,
        /// F32 of the answer.
        acquirer_id: Option<String>,
        /// Host time minus the till's clock, in seconds.
        clock_skew_s: i64,
    },
    /// A new sign-in is needed before the next transaction.
    SignedOut {
        /// Why.
        reason: SignOutReason,
    },
    /// The CAPK set is in the PED and the host knows (371).
    CapksLoaded {
        /// Keys.
        count: u16,
    },
    /// The AID set is in the PED and the host knows (381).
    AidsLoaded {
        /// Applications.
        count: u16,
    },
    /// The PED says that sets are missing.
    ParametersLost {
        /// CAPKs.
        capks: bool,
        /// AIDs.
        aids: bool,
    },
    /// The host ordered something in a header; kept until it is done.
    OrderPending {
        /// Digit 6 of the header.
        order: u8,
    },
    /// A trace number was taken. It is never taken again in this batch, whatever happens to the message.
    StanTaken {
        /// The number.
        stan: Stan,
        /// The card session that it begins, if it is a payment's.
        session: Option<u32>,
    },
    /// A payment is about to leave: from here on it is sent, answered, reversed or proved unsent. For a reversible kind this
    /// is the pending reversal of unionpay-pos §8.1.
    IntentSent {
        /// All of it.
        transaction: Arc<Transaction>,
    },
    /// Surely no byte of the payment left.
    IntentCancelled {
        /// Which.
        stan: Stan,
        /// Why.
        message: Text,
    },
    /// The card or the terminal declined before anything was sent.
    DeclinedOffline {
        /// All of it.
        transaction: Arc<Transaction>,
    },
    /// Card and terminal approved without the host: paid, and to be uploaded. If the same payment was to be sent and surely was
    /// not, this takes its place.
    ApprovedOffline {
        /// All of it.
        transaction: Arc<Transaction>,
    },
    /// The payment must be reversed.
    ReversalDue {
        /// Which.
        stan: Stan,
        /// F39 of the 0400.
        reason: ResponseCode,
    },
    /// What became of the payment.
    Decided {
        /// Which.
        stan: Stan,
        /// How.
        decision: Box<Decision>,
    },
    /// The reversal was not acknowledged on this occasion.
    ReversalTried {
        /// Which.
        stan: Stan,
        /// Whether it parks the till.
        parked: bool,
    },
    /// The host acknowledged the reversal (00, 12, 25).
    ReversalAcknowledged {
        /// Which.
        stan: Stan,
        /// F39 of the 0410.
        response_code: ResponseCode,
        /// Explanation.
        trace: Vec<TraceLine>,
    },
    /// A notice had no answer: the same message will be sent again.
    NoticeQueued {
        /// Which.
        stan: Stan,
    },
    /// A queued notice was answered.
    NoticeAcknowledged {
        /// Which.
        stan: Stan,
        /// How.
        decision: Box<Decision>,
    },
    /// Issuer scripts ran: the host must be told.
    ScriptNoticeDue {
        /// The notice.
        notice: ScriptNotice,
    },
    /// The host was told, or it was tried as often as the dialect demands (§8.2).
    ScriptNoticeDone {
        /// The scripted transaction.
        original: Stan,
        /// F39 of the 0630; `None` if there was no answer.
        response_code: Option<ResponseCode>,
    },
    /// The operator settles: no payment until it is finished.
    SettlementStarted {
        /// Batch.
        batch: BatchNumber,
        /// Trace number of the 0500.
        stan: Stan,
        /// The till's totals.
        totals: Totals,
    },
    /// The host answered the totals.
    SettlementAnswered {
        /// How.
        answer: SettlementAnswer,
        /// What is uploaded now.
        items: Vec<UploadItem>,
        /// Trace number of the batch end.
        end_stan: Stan,
    },
    /// An upload was acknowledged.
    UploadDone {
        /// The transaction.
        stan: Stan,
        /// F39.
        response_code: ResponseCode,
    },
    /// An upload was refused or unanswered too often.
    UploadParked {
        /// The transaction.
        stan: Stan,
    },
    /// The host acknowledged the batch end; every blob is shredded.
    BatchClosed {
        /// For the slip.
        report: Box<SettlementReport>,
    },
    /// An operator ended a parked matter with the host's proof.
    ParkedResolved {
        /// The transaction.
        stan: Stan,
        /// The proof.
        proof: HostProof,
    },
    /// A set came whole and is in force from here on. Terminal parameters change what they name and nothing else.
    SetTaken {
        /// Which; never one that the PED keeps.
        set: DownloadSet,
        /// F62; of a list in pages, its entries one behind the other.
        content: Vec<u8>,
    },
    /// The host knows that the set is there.
    SetAcknowledged {
        /// Which.
        set: DownloadSet,
    },
    /// The host took a status upload (362).
    StatusReported {},
    /// The cardholder signed on the screen.
    SignatureTaken {
        /// The transaction.
        stan: Stan,
        /// F62: JBIG, at most 999 bytes.
        image: Vec<u8>,
    },
    /// The host did not take the signature on this occasion.
    SignatureTried {
        /// The transaction.
        stan: Stan,
    },
    /// The host has the signature (00, or 94: it had it before).
    SignatureUploaded {
        /// The transaction.
        stan: Stan,
        /// F39.
        response_code: ResponseCode,
    },
    /// The batch closes and the host does not have the signature: paper must be signed.
    SignatureLeft {
        /// The transaction.
        stan: Stan,
    },
    /// The whole state: a journal may begin here.
    Snapshot {
        /// The state.
        state: Box<State>,
    },
}

impl Record {
    /// Whether a journal may begin with this record.
    pub fn is_snapshot(&self) -> bool {
        matches!(self, Record::Snapshot { .. })
    }

    /// Name for listings.
    pub fn name(&self) -> &'static str {
        match self {
            Record::PoweredOn { .. } => "powered-on",
            Record::SignedIn { .. } => "signed-in",
            Record::SignedOut { .. } => "signed-out",
            Record::CapksLoaded { .. } => "capks-loaded",
            Record::AidsLoaded { .. } => "aids-loaded",
            Record::ParametersLost { .. } => "parameters-lost",
            Record::OrderPending { .. } => "order-pending",
            Record::StanTaken { .. } => "stan-taken",
            Record::IntentSent { .. } => "intent-sent",
            Record::IntentCancelled { .. } => "intent-cancelled",
            Record::DeclinedOffline { .. } => "declined-offline",
            Record::ApprovedOffline { .. } => "approved-offline",
            Record::ReversalDue { .. } => "reversal-due",
            Record::Decided { .. } => "decided",
            Record::ReversalTried { .. } => "reversal-tried",
            Record::ReversalAcknowledged { .. } => "reversal-acknowledged",
            Record::NoticeQueued { .. } => "notice-queued",
            Record::NoticeAcknowledged { .. } => "notice-acknowledged",
            Record::ScriptNoticeDue { .. } => "script-notice-due",
            Record::ScriptNoticeDone { .. } => "script-notice-done",
            Record::SettlementStarted { .. } => "settlement-started",
            Record::SettlementAnswered { .. } => "settlement-answered",
            Record::UploadDone { .. } => "upload-done",
            Record::UploadParked { .. } => "upload-parked",
            Record::BatchClosed { .. } => "batch-closed",
            Record::ParkedResolved { .. } => "parked-resolved",
            Record::SetTaken { .. } => "set-taken",
            Record::SetAcknowledged { .. } => "set-acknowledged",
            Record::StatusReported {} => "status-reported",
            Record::SignatureTaken { .. } => "signature-taken",
            Record::SignatureTried { .. } => "signature-tried",
            Record::SignatureUploaded { .. } => "signature-uploaded",
            Record::SignatureLeft { .. } => "signature-left",
            Record::Snapshot { .. } => "snapshot",
        }
    }
}
