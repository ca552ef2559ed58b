//! What becomes durable. The first byte of a record is its kind and version; every released kind decodes for ever.

use crate::checks::Checks;
use crate::order::{Order, OrderPayment};
use crate::state::State;
use iso8583::unionpay::DownloadSet;
use issuer::PinTries;
use keys::{KeyBlock, TerminalMaster, WorkingKeys};
use ledger::{BatchTotals, CardGroup, Hold, Intent, Movement};
use risk::Screening;
use types::{
    Amount, AuthorisationCode, BatchNumber, CardToken, CivilTime, Currency, InstitutionId, MerchantId, PaymentCode,
    ResponseCode, Rrn, Stan, TerminalId, TruncatedPan, WalletNumber,
};

/// Largest terminal number.
pub const TERMINAL_NUMBER_MAX: u32 = 999_999;
/// Longest name of a terminal in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Organisation of a wallet's payments (F63.1).
const ORGANISATION_UNIONPAY: [u8; 3] = *b"CUP";
/// The rule that an order's buyer decides by.
const RULE_ORDER_PAID: &str = "order.paid";
/// Longest content of a status upload, serial number or script result that is kept.
pub const NOTE_BYTES_MAX: usize = 256;

/// A terminal's registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolment {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its merchant.
    pub merchant: MerchantId,
    /// 1 to [`TERMINAL_NUMBER_MAX`], of no other terminal: the first half of its reference numbers.
    pub terminal_number: u32,
    /// For people, at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Its master key.
    pub master_key: KeyBlock<TerminalMaster>,
    /// The currency it takes.
    pub currency: Currency,
    /// Transactions it may send: bit map of terminal parameter 26 (unionpay-pos §5.4), bit 1 is the highest.
    pub allowed: u32,
}

/// What a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// 消费.
    Sale,
    /// 消费撤销.
    Void,
    /// 退货.
    Refund,
    /// 余额查询.
    Balance,
    /// 预授权.
    PreAuthorisation,
    /// 预授权撤销.
    PreAuthorisationVoid,
    /// 预授权完成请求.
    Completion,
    /// 预授权完成撤销.
    CompletionVoid,
    /// 预授权完成通知.
    CompletionNotice,
    /// 脱机消费: card and terminal approved, the host is told.
    OfflineSale,
    /// 结算调整: a tip added to a sale. The decision's amount is the new total, the movement's the tip.
    TipAdjustment,
    /// 分期消费: the issuer collects it in instalments, the merchant is paid at once.
    Instalment,
    /// 分期消费撤销.
    InstalmentVoid,
    /// 扫码消费: the shop scans the buyer's code.
    QrSale,
    /// 扫码下单: the buyer scans the code of an order that the shop shows.
    QrOrder,
    /// 扫码撤销.
    QrVoid,
    /// 扫码退货.
    QrRefund,
}

impl Kind {
    /// The field's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sale => "sale",
            Kind::Void => "void",
            Kind::Refund => "refund",
            Kind::Balance => "balance inquiry",
            Kind::PreAuthorisation => "pre-authorisation",
            Kind::PreAuthorisationVoid => "pre-authorisation void",
            Kind::Completion => "completion",
            Kind::CompletionVoid => "completion void",
            Kind::CompletionNotice => "completion notice",
            Kind::OfflineSale => "offline sale",
            Kind::TipAdjustment => "tip",
            Kind::Instalment => "instalment sale",
            Kind::InstalmentVoid => "instalment void",
            Kind::QrSale => "QR sale",
            Kind::QrOrder => "QR order",
            Kind::QrVoid => "QR void",
            Kind::QrRefund => "QR refund",
        }
    }

    /// Whether it names a pre-authorisation and ends it.
    pub fn ends_authorisation(self) -> bool {
        matches!(self, Kind::PreAuthorisationVoid | Kind::Completion | Kind::CompletionNotice)
    }

    /// Whether it takes what was authorised.
    pub fn completes(self) -> bool {
        matches!(self, Kind::Completion | Kind::CompletionNotice)
    }

    /// Whether it places a hold or ends one.
    pub fn holds(self) -> bool {
        self == Kind::PreAuthorisation || self.ends_authorisation()
    }

    /// Whether a wallet stands behind it, and no card.
    pub fn is_qr(self) -> bool {
        matches!(self, Kind::QrSale | Kind::QrOrder | Kind::QrVoid | Kind::QrRefund)
    }

    /// Whether it comes again until it is decided and is never reversed.
    pub fn is_notice(self) -> bool {
        matches!(self, Kind::Refund | Kind::CompletionNotice | Kind::OfflineSale | Kind::TipAdjustment | Kind::QrRefund)
    }

    /// Whether it takes back a transaction of its batch, whole.
    pub fn voids(self) -> bool {
        matches!(self, Kind::Void | Kind::InstalmentVoid | Kind::CompletionVoid | Kind::QrVoid)
    }

    /// Whether a card sells by it: what a card's void or a tip may name.
    pub fn is_sale(self) -> bool {
        matches!(self, Kind::Sale | Kind::OfflineSale)
    }

    /// Its side in a settlement, if it has one (unionpay-pos §8.3).
    pub fn side(self) -> Option<Side> {
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

/// What makes two messages of one intent the same message (design §4). MAC, PIN and F55 do not belong to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The card, if the message names one.
    pub card: Option<CardToken>,
    /// F3.
    pub processing_code: [u8; 6],
    /// F4; 0 if absent.
    pub amount_minor: u64,
    /// F37.
    pub original_rrn: Option<[u8; 12]>,
    /// F38.
    pub authorisation_code: Option<[u8; 6]>,
    /// F61, digits; of a QR payment the code in F59 behind them.
    pub original: Vec<u8>,
}

/// What a message was answered: enough to answer it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// F39.
    pub response_code: ResponseCode,
    /// F37.
    pub rrn: Rrn,
    /// F12 and F13.
    pub at: CivilTime,
    /// F38.
    pub authorisation_code: Option<AuthorisationCode>,
    /// F55 without the ATC.
    pub chip: Vec<u8>,
    /// F63.1.
    pub organisation: [u8; 3],
    /// F44.
    pub issuer: Option<InstitutionId>,
    /// F54: the available balance in minor units.
    pub balance_minor: Option<i64>,
}

/// What a QR payment has in a card's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QrPayment {
    /// The buyer's code that was scanned, or the order's code that is shown.
    pub code: PaymentCode,
    /// Who pays, once that is known.
    pub wallet: Option<WalletNumber>,
    /// Until when an order may be paid, Unix milliseconds.
    pub expires_ms: u64,
}

/// A decision on a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Which message.
    pub intent: Intent,
    /// What it is.
    pub kind: Kind,
    /// What it said.
    pub identity: Identity,
    /// For people.
    pub truncated: Option<TruncatedPan>,
    /// The amount.
    pub amount: Amount,
    /// F22.
    pub entry_mode: [u8; 3],
    /// What it was answered.
    pub answer: Answer,
    /// The money that moves, if it was approved and moves any.
    pub movement: Option<Movement>,
    /// The hold that it places or ends, if it was approved and is of the pre-authorisation family.
    pub hold: Option<Hold>,
    /// Lowest balance of the paying account.
    pub floor_minor: i64,
    /// Which total it counts to.
    pub group: CardGroup,
    /// The rule that decided.
    pub rule: String,
    /// The checks passed before, in order.
    pub checks: Checks,
    /// The card's PIN tries, if they change.
    pub pin_tries: Option<(CardToken, PinTries)>,
    /// The card's counter, if it pays only once.
    pub atc_once: Option<Vec<u8>>,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
    /// What the risk rules said; none where they are not in use.
    pub screening: Option<Screening>,
    /// Of a QR sale or order.
    pub qr: Option<QrPayment>,
}

impl Decision {
    /// Whether the buyer has still to pay: neither yes nor no.
    pub fn awaits_payer(&self) -> bool {
        self.qr.is_some() && self.answer.response_code == ResponseCode::IN_PROGRESS
    }

    /// The card that pays, or what stands for the wallet in a card's place.
    pub(crate) fn payer(&self) -> Option<CardToken> {
        let wallet = self.qr.as_ref().and_then(|qr| qr.wallet);
        self.identity.card.or(wallet.map(issuer::wallet::wallet_token))
    }

    /// The order is written down as any order is.
    pub(crate) fn order(&self) -> Option<(PaymentCode, Order)> {
        let qr = self.qr.as_ref().filter(|_| self.awaits_payer())?;
        let order = Order {
            sale: self.intent,
            amount: self.amount,
            wallet: qr.wallet,
            rrn: self.answer.rrn,
            at: self.answer.at,
            wall_ms: self.wall_ms,
            expires_ms: qr.expires_ms,
        };
        Some((qr.code, order))
    }

    /// The buyer has paid: from now on it is an approved sale.
    pub(crate) fn take_payment(&mut self, payment: &OrderPayment) {
        self.answer.response_code = ResponseCode::APPROVED;
        self.answer.issuer = Some(payment.issuer);
        self.answer.organisation = ORGANISATION_UNIONPAY;
        self.movement = Some(payment.movement.clone());
        self.rule = RULE_ORDER_PAID.to_owned();
        if let Some(qr) = &mut self.qr {
            qr.wallet = Some(payment.wallet);
        }
    }

    /// Whether it was approved.
    pub fn is_approved(&self) -> bool {
        self.answer.response_code.is_approval()
    }
}

/// What a reversal does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Undo {
    /// Gives a sale back.
    Sale(Movement),
    /// Lets a voided sale or completion stand again.
    Void(Movement),
    /// Takes a pre-authorisation's hold away.
    Hold(Hold),
    /// Lets the hold of a voided pre-authorisation stand again.
    Release(Hold),
    /// Gives a completion back and lets its hold stand again.
    Completion(Movement, Hold),
    /// Closes an order that waits for its buyer.
    Order(PaymentCode),
    /// Nothing: the original moved no money, or is undone already.
    Nothing,
    /// The original is unknown; it is refused should it still come.
    Tombstone,
}

/// A decision on a reversal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reversal {
    /// Which message.
    pub intent: Intent,
    /// The original.
    pub original: Intent,
    /// What it said.
    pub identity: Identity,
    /// F39 of the request: why.
    pub reason: ResponseCode,
    /// What it was answered.
    pub answer: Answer,
    /// What it does.
    pub undo: Undo,
    /// The rule that decided.
    pub rule: String,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
    /// Whether risk rules look back on it: only where the merchant's policy has them asked. A record that does not say reads as
    /// not remembered: what is kept for rules is written with the record and never from it again.
    pub remembered: bool,
}

/// A script result taken down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptNotice {
    /// Which message.
    pub intent: Intent,
    /// What it said.
    pub identity: Identity,
    /// DF31.
    pub results: Vec<u8>,
    /// What it was answered.
    pub answer: Answer,
}

/// The electronic signature of a transaction (unionpay-pos §6.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The transaction that was signed.
    pub intent: Intent,
    /// F62: the image, JBIG, at most 999 bytes.
    pub image: Vec<u8>,
    /// F55: what the cardholder saw when signing, tag by tag.
    pub elements: Vec<u8>,
    /// The feature code that must stand in the image; `None` if the transaction has none.
    pub feature_code: Option<[u8; 4]>,
    /// When it came.
    pub at: CivilTime,
}

/// A settlement request compared with the host's totals.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The batch.
    pub batch: BatchNumber,
    /// F11.
    pub stan: Stan,
    /// The terminal's totals.
    pub terminal: BatchTotals,
    /// The host's totals.
    pub host: BatchTotals,
    /// F37 of the answer.
    pub rrn: Rrn,
    /// F12, F13 and F15 of the answer.
    pub at: CivilTime,
}

/// One transaction as a terminal uploads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadedEntry {
    /// Trace number of the transaction.
    pub stan: Stan,
    /// Its amount, minor units.
    pub amount_minor: u64,
    /// Whether the host's books say the same.
    pub agrees: bool,
}

/// A message of a batch upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// The batch.
    pub batch: BatchNumber,
    /// 60.3.
    pub network_code: u16,
    /// What it uploads.
    pub entries: Vec<UploadedEntry>,
    /// F37 of the answer.
    pub rrn: Rrn,
}

/// The end of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchClose {
    /// The batch closed.
    pub batch: BatchNumber,
    /// F11.
    pub stan: Stan,
    /// Whether the terminal says it was balanced (207).
    pub terminal_balanced: bool,
    /// Whether the host's last comparison says so, and nothing was booked since.
    pub host_balanced: bool,
    /// Records that the terminal says it uploaded.
    pub announced: u16,
    /// The host's totals.
    pub totals: BatchTotals,
    /// Booked by the host, but not uploaded or with another amount, in an unbalanced batch.
    pub not_uploaded: Vec<Stan>,
    /// F37 of the answer.
    pub rrn: Rrn,
    /// F12 and F13 of the answer.
    pub at: CivilTime,
}

/// What a sign-in says about whose its serial number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SerialClaim {
    /// Nothing: there is none, or 0.1.0 wrote the record.
    None,
    /// This terminal claims it with this record.
    Made(TerminalId),
    /// This terminal had claimed it before.
    Stands,
}

/// A durable fact of one terminal at the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The terminal is enrolled.
    Enrolled {
        /// Its registration.
        enrolment: Enrolment,
        /// Whether its number is claimed with this record.
        claims_number: bool,
    },
    /// The terminal signed in.
    SignedIn {
        /// 60.3.
        network_code: u16,
        /// Version of the keys.
        version: u32,
        /// The keys.
        keys: WorkingKeys,
        /// Its serial number as F62 gives it.
        serial: Vec<u8>,
        /// Whether the serial number is the terminal's own.
        claim: SerialClaim,
        /// Until when messages under the keys replaced are taken, Unix milliseconds; 0 for not at all.
        overlap_until_ms: u64,
        /// F37 of the answer.
        rrn: Rrn,
    },
    /// The terminal signed off.
    SignedOff {
        /// F37 of the answer.
        rrn: Rrn,
    },
    /// The terminal has downloaded a set.
    Downloaded {
        /// Which.
        set: DownloadSet,
        /// Its version.
        version: u32,
    },
    /// The terminal told its state (60.3 = 362).
    StatusReported {
        /// F62.
        status: Vec<u8>,
        /// Version of the host's wish to hear it; 0 in records of 0.1.0.
        version: u32,
    },
    /// A transaction was decided.
    Decided(Box<Decision>),
    /// A reversal was decided.
    Reversed(Box<Reversal>),
    /// A script result was taken down.
    ScriptNoticed(Box<ScriptNotice>),
    /// An electronic signature was taken down.
    Signed(Box<Signature>),
    /// A message came again and got its stored answer.
    Repeated {
        /// Which.
        intent: Intent,
    },
    /// A message was refused without becoming an intent.
    Refused {
        /// The rule.
        rule: String,
        /// F11, if it has one.
        stan: Option<Stan>,
        /// F37 of the answer.
        rrn: Rrn,
    },
    /// Totals were compared.
    Compared(Box<Comparison>),
    /// Details were uploaded.
    Uploaded(Box<Upload>),
    /// A batch was closed.
    BatchClosed(Box<BatchClose>),
    /// The terminal has another master key. Working keys, batch and intents stay.
    MasterKeyReplaced {
        /// The new one.
        master_key: KeyBlock<TerminalMaster>,
    },
    /// A hold that nobody ended in its time.
    HoldExpired {
        /// The hold.
        hold: Hold,
        /// Whose machine noticed.
        terminal: TerminalId,
        /// Whether it is released with this record; otherwise it was gone already.
        released: bool,
    },
    /// The host learnt that the buyer has paid an order. The money moved with the buyer's payment.
    OrderPaid {
        /// The message that made the order.
        sale: Intent,
        /// The payment.
        payment: Box<OrderPayment>,
    },
    /// A terminal asked what became of a QR payment.
    Queried {
        /// The payment.
        original: Intent,
        /// F11 of the query.
        stan: Option<Stan>,
        /// F39 of the answer: the payment's state.
        response_code: ResponseCode,
    },
    /// The machine's whole state.
    Snapshot(Box<State>),
}

impl Record {
    /// Whether loading can start from this record.
    pub fn is_snapshot(&self) -> bool {
        matches!(self, Record::Snapshot(_))
    }

    /// The record's name.
    pub fn name(&self) -> &'static str {
        match self {
            Record::Enrolled { .. } => "enrolled",
            Record::SignedIn { .. } => "signed in",
            Record::SignedOff { .. } => "signed off",
            Record::Downloaded { .. } => "downloaded",
            Record::StatusReported { .. } => "status reported",
            Record::Decided(_) => "decided",
            Record::Reversed(_) => "reversed",
            Record::ScriptNoticed(_) => "script result",
            Record::Signed(_) => "signed",
            Record::Repeated { .. } => "repeated",
            Record::Refused { .. } => "refused",
            Record::Compared(_) => "totals compared",
            Record::Uploaded(_) => "uploaded",
            Record::BatchClosed(_) => "batch closed",
            Record::MasterKeyReplaced { .. } => "master key replaced",
            Record::HoldExpired { .. } => "hold expired",
            Record::OrderPaid { .. } => "order paid",
            Record::Queried { .. } => "queried",
            Record::Snapshot(_) => "snapshot",
        }
    }
}

/// What stands behind a key of the space `intent`: how a message was decided, for copies that come after the machine's
/// memory has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// A transaction.
    Decision(Box<Decision>),
    /// A reversal.
    Reversal(Box<Reversal>),
    /// A script result.
    ScriptNotice(Box<ScriptNotice>),
    /// The reversal that came before its original.
    Tombstone(Intent),
}

/// What stands behind a key of the space `rrn`: the sale that a refund names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// The money.
    pub movement: Movement,
    /// The card.
    pub card: CardToken,
    /// When it was answered.
    pub at: CivilTime,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
}

/// What stands behind a key of the space `authorisation`: the pre-authorisation that a void or completion names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorisation {
    /// What it holds.
    pub hold: Hold,
    /// When it was answered.
    pub at: CivilTime,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
}
