//! What a till remembers of one payment, and what may hang on to it: a reversal, a script notice.

use crate::text::Text;
use iso8583::unionpay::{feature_code, feature_code_offline, feature_code_text};
use pedlink::{CardSummary, ChipReceipt, FrameTemplate, ResponseSummary, SealedBlob, TraceLine};
use types::{Amount, AuthorisationCode, BatchNumber, CivilTime, ResponseCode, Rrn, Stan};

/// Which payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionKind {
    /// 0200, F3 000000, 60.1 22.
    Sale,
    /// 0200, F3 200000, 60.1 23.
    Void,
    /// 0220, F3 200000, 60.1 25.
    Refund,
    /// 0200, F3 310000, 60.1 01.
    Balance,
    /// 0100, F3 030000, 60.1 10.
    PreAuthorisation,
    /// 0100, F3 200000, 60.1 11.
    PreAuthorisationVoid,
    /// 0200, F3 000000, F25 06, 60.1 20.
    Completion,
    /// 0200, F3 200000, F25 06, 60.1 21.
    CompletionVoid,
    /// 0220, F3 000000, F25 06, 60.1 24.
    CompletionNotice,
    /// A sale that card and terminal approved: 0200, F3 000000, 60.1 36, sent when there is a line.
    OfflineSale,
    /// A tip added to a sale: 0220, F3 000000, 60.1 34. Its amount is the new total.
    TipAdjustment,
    /// A sale that its issuer collects in instalments: 0200, F3 000000, F25 64, 60.1 22.
    Instalment,
    /// 0200, F3 200000, F25 64, 60.1 23.
    InstalmentVoid,
    /// The buyer's code is scanned: 0200, F3 000000, F22 032, 60.1 22.
    QrSale,
    /// The buyer scans the code that the till shows: 0200, F3 710000, F22 032, 60.1 22.
    QrOrder,
    /// 0200, F3 200000, F22 032, 60.1 23.
    QrVoid,
    /// 0220, F3 200000, F22 032, 60.1 25.
    QrRefund,
}

impl TransactionKind {
    /// Whether a lost answer is reversed (unionpay-pos §3.1). Notices are re-sent, balance inquiries forgotten.
    pub fn reversible(self) -> bool {
        !self.is_notice() && self != TransactionKind::Balance
    }

    /// Whether it is sent until it is decided, and never reversed (unionpay-pos D32).
    pub fn is_notice(self) -> bool {
        matches!(
            self,
            TransactionKind::Refund
                | TransactionKind::CompletionNotice
                | TransactionKind::OfflineSale
                | TransactionKind::TipAdjustment
                | TransactionKind::QrRefund
        )
    }

    /// Whether the shopper has paid before the host has heard of it.
    pub fn is_paid_offline(self) -> bool {
        self == TransactionKind::OfflineSale
    }

    /// Whether a card sells by it: what a card's void, a tip or a refund may name.
    pub fn is_sale(self) -> bool {
        matches!(self, TransactionKind::Sale | TransactionKind::OfflineSale | TransactionKind::Instalment)
    }

    /// Whether the chip runs a payment; otherwise the card is only read for its number (unionpay-pos C8).
    pub fn runs_chip(self) -> bool {
        matches!(
            self,
            TransactionKind::Sale
                | TransactionKind::OfflineSale
                | TransactionKind::Instalment
                | TransactionKind::Balance
                | TransactionKind::PreAuthorisation
        )
    }

    /// Whether it takes back a transaction of this batch that it names by its trace number.
    pub fn voids_in_batch(self) -> bool {
        matches!(
            self,
            TransactionKind::Void
                | TransactionKind::InstalmentVoid
                | TransactionKind::CompletionVoid
                | TransactionKind::QrVoid
        )
    }

    /// Whether it names a pre-authorisation by its code and date, and ends it.
    pub fn ends_authorisation(self) -> bool {
        matches!(
            self,
            TransactionKind::PreAuthorisationVoid | TransactionKind::Completion | TransactionKind::CompletionNotice
        )
    }

    /// Whether it is one of the pre-authorisation family (F25 06).
    pub fn of_authorisation_family(self) -> bool {
        self.ends_authorisation() || matches!(self, TransactionKind::PreAuthorisation | TransactionKind::CompletionVoid)
    }

    /// Its side in a settlement, if it has one (unionpay-pos §8.3).
    pub fn side(self) -> Option<Side> {
        use TransactionKind as Kind;
        match self {
            Kind::Sale
            | Kind::Completion
            | Kind::CompletionNotice
            | Kind::OfflineSale
            | Kind::TipAdjustment
            | Kind::Instalment
            | Kind::QrSale
            | Kind::QrOrder => Some(Side::Debit),
            Kind::Void | Kind::InstalmentVoid | Kind::Refund | Kind::CompletionVoid | Kind::QrVoid | Kind::QrRefund => {
                Some(Side::Credit)
            }
            Kind::Balance | Kind::PreAuthorisation | Kind::PreAuthorisationVoid => None,
        }
    }
}

/// A side of a settlement's totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Money the cardholders paid.
    Debit,
    /// Money they got back.
    Credit,
}

/// Where a payment stands. There is no "unknown": what is uncertain is being resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionStatus {
    /// Written down before its first byte left; no answer yet.
    Sent,
    /// Host and card approved.
    Approved,
    /// Host, card or terminal declined.
    Declined,
    /// Nothing left the till.
    Cancelled,
    /// A reversal is pending.
    Reversing,
    /// The reversal was acknowledged, or the host's people proved that nothing is booked.
    Reversed,
    /// A notice (refund, completion notice, tip) or an offline sale that will be sent until the host decides.
    Queued,
}

impl TransactionStatus {
    /// Stable lower-case name for programs.
    pub fn name(self) -> &'static str {
        match self {
            TransactionStatus::Sent => "sent",
            TransactionStatus::Approved => "approved",
            TransactionStatus::Declined => "declined",
            TransactionStatus::Cancelled => "cancelled",
            TransactionStatus::Reversing => "reversing",
            TransactionStatus::Reversed => "reversed",
            TransactionStatus::Queued => "queued",
        }
    }
}

/// The transaction that a void, refund or completion refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Original {
    /// Its trace number, if it is of this batch.
    pub stan: Option<Stan>,
    /// Its retrieval reference number.
    pub rrn: Option<Rrn>,
    /// Its authorisation code.
    pub authorisation_code: Option<AuthorisationCode>,
    /// Its date, `YYYY-MM-DD` as printed.
    pub date: String,
}

/// One payment of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Which.
    pub kind: TransactionKind,
    /// Where it stands.
    pub status: TransactionStatus,
    /// Its batch (60.2).
    pub batch: BatchNumber,
    /// Its trace number (F11).
    pub stan: Stan,
    /// F4; zero for a balance inquiry.
    pub amount: Amount,
    /// What may be known of the card.
    pub card: CardSummary,
    /// The public fields that were sent; reversals and uploads are built from it.
    pub template: FrameTemplate,
    /// From which the PED rebuilds the message; gone once nothing can need it any more.
    pub blob: Option<SealedBlob>,
    /// The same with the final chip data.
    pub final_blob: Option<SealedBlob>,
    /// What it refers to.
    pub original: Option<Original>,
    /// Local time at which it was written down.
    pub at: CivilTime,
    /// The same moment on the wall clock, Unix milliseconds.
    pub wall_ms: u64,
    /// The host's answer.
    pub response: Option<ResponseSummary>,
    /// Chip lines of the receipt.
    pub chip: ChipReceipt,
    /// The void that took it back; of a pre-authorisation: the void or completion that ended it.
    pub voided_by: Option<Stan>,
    /// Reason of its reversal (F39 of the 0400).
    pub reversal_reason: Option<ResponseCode>,
    /// How it ended, in words.
    pub message: Text,
    /// Explanation of the PED, masked; kept for the newest transactions.
    pub trace: Vec<TraceLine>,
}

impl Transaction {
    /// F37 of the answer.
    pub fn rrn(&self) -> Option<Rrn> {
        self.response.as_ref().and_then(|response| response.rrn)
    }

    /// F38 of the answer.
    pub fn authorisation_code(&self) -> Option<AuthorisationCode> {
        self.response.as_ref().and_then(|response| response.authorisation_code)
    }

    /// F39 of the answer.
    pub fn response_code(&self) -> Option<ResponseCode> {
        self.response.as_ref().and_then(|response| response.response_code)
    }

    /// `MMDD` of its answer, as F61 of what refers to it names it.
    pub fn mmdd(&self) -> String {
        let told = self.response.as_ref().and_then(|response| response.local_date.clone());
        told.unwrap_or_else(|| self.at.date.mmdd())
    }

    /// 交易特征码, eight hexadecimal characters: the watermark of its signature (unionpay-pos §6.1).
    pub fn feature_code(&self) -> Option<String> {
        let response = self.response.as_ref();
        let settled =
            response.and_then(|response| <[u8; 4]>::try_from(response.settlement_date.as_deref()?.as_bytes()).ok());
        let code = match (settled, self.rrn()) {
            (Some(mmdd), Some(rrn)) => feature_code(&mmdd, rrn.bytes()),
            _ => feature_code_offline(self.batch.number(), self.stan.number()),
        };
        code.map(feature_code_text)
    }

    /// Card organisation: what the host says in 63.1, otherwise what the card is (unionpay-pos §2.6).
    pub fn organisation(&self) -> &str {
        let told = self.response.as_ref().and_then(|response| response.private_63.as_deref());
        let told = told.and_then(|field| field.get(..3)).and_then(|code| core::str::from_utf8(code).ok());
        match told.map(str::trim) {
            Some(code) if !code.is_empty() && code != "000" => code,
            _ => &self.card.organisation,
        }
    }

    /// Whether it counts as a domestic card (内卡): `CUP` or nothing known.
    pub fn domestic(&self) -> bool {
        matches!(self.organisation(), "CUP" | "" | "000")
    }

    /// Whether the card was read over its contacts or its antenna.
    pub fn chip_read(&self) -> bool {
        matches!(self.card.entry_mode.get(..2), Some("05" | "07" | "96" | "98"))
    }

    /// Whether the card was read without contact.
    pub fn contactless(&self) -> bool {
        matches!(self.card.entry_mode.get(..2), Some("07" | "96" | "98"))
    }

    /// Whether the shopper has it in writing that it was paid, whatever the host still has to say.
    pub fn is_paid(&self) -> bool {
        let paid_offline = self.kind.is_paid_offline() && self.status == TransactionStatus::Queued;
        paid_offline || self.status == TransactionStatus::Approved
    }

    /// How many instalments, as F62 of the request says.
    pub fn instalments(&self) -> Option<u8> {
        let digits = self.template.private_62.as_deref().filter(|_| self.kind == TransactionKind::Instalment)?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The tip that F48 of an adjustment names.
    pub fn tip(&self) -> Option<Amount> {
        let digits =
            self.template.additional_private.as_deref().filter(|_| self.kind == TransactionKind::TipAdjustment)?;
        Amount::from_minor(digits.parse().ok()?, self.amount.currency())
    }

    pub(crate) fn shred(&mut self) {
        self.blob = None;
        self.final_blob = None;
        self.forget_payment_code();
    }

    /// A buyer's code is needed to query and to reverse, and for nothing afterwards.
    pub(crate) fn forget_payment_code(&mut self) {
        if self.kind.waits_for_payer() {
            self.template.custom = None;
        }
    }
}

/// What the answer and the card made of a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Where it stands now. A payment that is being reversed stays so whatever stands here.
    pub status: TransactionStatus,
    /// In words.
    pub message: Text,
    /// The host's answer.
    pub response: Option<ResponseSummary>,
    /// Chip lines.
    pub chip: ChipReceipt,
    /// Blob with the final chip data.
    pub final_blob: Option<SealedBlob>,
    /// DF31, if scripts ran.
    pub script_results: Option<Vec<u8>>,
    /// Explanation since the request was sent.
    pub trace: Vec<TraceLine>,
}

impl Decision {
    pub(crate) fn new(status: TransactionStatus, message: Text) -> Self {
        Self {
            status,
            message,
            response: None,
            chip: ChipReceipt::default(),
            final_blob: None,
            script_results: None,
            trace: Vec::new(),
        }
    }
}

/// The one reversal that may be pending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingReversal {
    /// The transaction to be reversed.
    pub stan: Stan,
    /// F39 of the 0400: 98 no answer, A0 wrong MAC, 06 the card declined.
    pub reason: ResponseCode,
    /// Occasions on which it was not acknowledged.
    pub occasions: u8,
    /// Whether it has parked the till.
    pub parked: bool,
}

/// The one script result notice that may be pending (0620).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptNotice {
    /// Its own trace number; the same on every send.
    pub stan: Stan,
    /// The scripted transaction.
    pub original: Stan,
    /// From which the PED rebuilds it.
    pub blob: SealedBlob,
}

/// Something that still has to reach the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pending {
    /// A script result notice.
    ScriptNotice {
        /// The scripted transaction.
        original: Stan,
    },
    /// A reversal.
    Reversal {
        /// The transaction to be reversed.
        stan: Stan,
        /// Whether it has parked the till.
        parked: bool,
    },
    /// A queued notice (refund, completion notice, tip) or offline sale.
    Notice {
        /// Its trace number.
        stan: Stan,
    },
    /// An electronic signature.
    Signature {
        /// Trace number of the transaction that was signed.
        stan: Stan,
    },
    /// A settlement that is half done.
    Settlement {
        /// Its batch.
        batch: BatchNumber,
        /// The upload that has parked it, if one has.
        parked: Option<Stan>,
    },
    /// An order of the host (unionpay-pos §1.3).
    Order {
        /// Digit 6 of the header.
        order: u8,
    },
}
