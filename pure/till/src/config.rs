//! What a till is told about itself. What its program gives is not journalled; what the host downloads is, and goes before it
//! (`Config::under`).

use crate::transaction::TransactionKind;
use iso8583::gbk;
use iso8583::unionpay::{MERCHANT_NAME_BYTES, TerminalParameters, TipMode};
use types::{CivilTime, Currency, MerchantId, TerminalId};

/// Least and default waits, counts and limits.
pub mod limits {
    /// Default wait for the host's answer in milliseconds (unionpay-pos §5.4 tag 12, D45).
    pub const RESPONSE_TIMEOUT_MS: u64 = 60_000;
    /// Least wait for the host's answer that the host may set, in seconds (§5.4 tag 12).
    pub const RESPONSE_TIMEOUT_MIN_S: u64 = 40;
    /// Default wait for a card and its holder in milliseconds.
    pub const CARD_TIMEOUT_MS: u64 = 120_000;
    /// Default wait for an answer of the PED in milliseconds.
    pub const PED_TIMEOUT_MS: u64 = 15_000;
    /// Default wait for the chip's last word in milliseconds.
    pub const FINISH_TIMEOUT_MS: u64 = 30_000;
    /// Default wait for the cashier's answer to a question in milliseconds.
    pub const OPERATOR_TIMEOUT_MS: u64 = 60_000;
    /// Default pause between two queries of a QR payment, in milliseconds (D38).
    pub const QR_QUERY_MS: u64 = 5_000;
    /// Queries after which a scanned code is given up (D38).
    pub const QR_SALE_QUERIES_MAX: u16 = 12;
    /// Queries after which a shown code is given up: a buyer needs longer to scan one than to be asked on the phone.
    pub const QR_ORDER_QUERIES_MAX: u16 = 24;
    /// Default pause between two attempts at what is pending, in milliseconds.
    pub const PENDING_RETRY_MS: u64 = 20_000;
    /// Default number of sends of a reversal or notice on one occasion (tag 23).
    pub const RESEND_COUNT: u8 = 3;
    /// Default number of failed occasions after which a reversal parks the till.
    pub const PARK_AFTER_OCCASIONS: u8 = 3;
    /// Default window in which the same card and amount are questioned, in milliseconds.
    pub const DUPLICATE_WINDOW_MS: u64 = 300_000;
    /// Default number of transactions in a batch before settlement is demanded.
    pub const BATCH_CAPACITY: u16 = 500;
    /// Largest number of transactions in a batch: F48 counts three digits, and a terminal's memory is small.
    pub const BATCH_CAPACITY_MAX: u16 = 800;
    /// How many transactions of the last batch stay at hand; it bounds a snapshot.
    pub const LAST_BATCH_KEPT_MAX: usize = 200;
    /// Largest number of keys or applications one download may list: F62 counts two digits.
    pub const DOWNLOAD_ENTRIES_MAX: usize = 99;
    /// Trace lines kept with one record, in bytes of text; what exceeds it is cut and says so.
    pub const TRACE_BYTES_MAX: usize = 96 * 1024;
    /// How many transactions keep their trace lines in memory; the journal keeps them all.
    pub const TRACED_TRANSACTIONS_MAX: usize = 64;
    /// Sign-ins that one operation may cause by itself.
    pub const SIGN_INS_PER_JOB_MAX: u8 = 2;
    /// Times that one operation may begin again after a sign-in.
    pub const RESTARTS_PER_JOB_MAX: u8 = 1;
    /// Default largest sale without the host, minor units.
    pub const OFFLINE_SALE_MINOR: u64 = 100_000;
    /// Default largest sum of offline sales that wait for upload, minor units.
    pub const OFFLINE_TOTAL_MINOR: u64 = 500_000;
    /// Default number of offline sales that may wait for upload.
    pub const OFFLINE_COUNT: u16 = 50;
    /// Default longest wait of an offline sale before the till sells online only, in milliseconds: one day.
    pub const OFFLINE_AGE_MS: u64 = 86_400_000;
    /// Default largest tip in per cent of its sale.
    pub const TIP_PERCENT: u8 = 20;
    /// Longest reference of an operator's proof in bytes.
    pub const PROOF_BYTES_MAX: usize = 64;
}

/// Which working keys a sign-in asks for (F60.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// 003: double-length PIK, MAK.
    DoubleLength,
    /// 004: double-length PIK, MAK, and TDK for enciphered tracks (D12).
    DoubleLengthWithTrack,
}

impl Suite {
    /// The three digits of F60.3.
    pub fn network_code(self) -> &'static str {
        match self {
            Suite::DoubleLength => "003",
            Suite::DoubleLengthWithTrack => "004",
        }
    }
}

/// How long the till waits, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For the host's answer.
    pub response_ms: u64,
    /// For a card, its PIN and its first decision.
    pub card_ms: u64,
    /// For any other answer of the PED.
    pub ped_ms: u64,
    /// For the chip's last word.
    pub finish_ms: u64,
    /// For the cashier's answer to a question.
    pub operator_ms: u64,
    /// Between two attempts at what is pending.
    pub pending_retry_ms: u64,
    /// Between two queries of a QR payment.
    pub qr_query_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response_ms: limits::RESPONSE_TIMEOUT_MS,
            card_ms: limits::CARD_TIMEOUT_MS,
            ped_ms: limits::PED_TIMEOUT_MS,
            finish_ms: limits::FINISH_TIMEOUT_MS,
            operator_ms: limits::OPERATOR_TIMEOUT_MS,
            pending_retry_ms: limits::PENDING_RETRY_MS,
            qr_query_ms: limits::QR_QUERY_MS,
        }
    }
}

/// How much a till may sell without the host before it must have uploaded what it sold (mission: store and forward). Whether a card
/// may pay so at all, the floor limit of its application says (tag 9F1B).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfflineLimits {
    /// Largest single sale, minor units.
    pub sale_minor: u64,
    /// Largest sum that waits for upload, minor units.
    pub total_minor: u64,
    /// Most sales that wait for upload; 0 allows none at all.
    pub count: u16,
    /// Longest time that the oldest of them may have waited, in milliseconds.
    pub age_ms: u64,
    /// Whether a card may approve by itself because the host cannot be reached (`Y3`).
    pub when_unreachable: bool,
}

impl Default for OfflineLimits {
    fn default() -> Self {
        Self {
            sale_minor: limits::OFFLINE_SALE_MINOR,
            total_minor: limits::OFFLINE_TOTAL_MINOR,
            count: limits::OFFLINE_COUNT,
            age_ms: limits::OFFLINE_AGE_MS,
            when_unreachable: true,
        }
    }
}

/// What receipts look like (unionpay-pos §8.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptOptions {
    /// Copies of a payment slip, 1–3: merchant, cardholder, bank.
    pub copies: u8,
    /// Service telephone in the footer; empty for none.
    pub hotline: String,
    /// Model and software version in the footer.
    pub software: String,
    /// Limit named in exemption lines (§8.5), minor units.
    pub exemption_limit_minor: u64,
}

impl Default for ReceiptOptions {
    fn default() -> Self {
        Self {
            copies: 2,
            hotline: String::new(),
            software: concat!("Irontill ", env!("CARGO_PKG_VERSION")).to_owned(),
            exemption_limit_minor: 100_000,
        }
    }
}

/// Everything a till is configured with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// F41.
    pub terminal: TerminalId,
    /// F42.
    pub merchant: MerchantId,
    /// Printed on receipts.
    pub merchant_name: String,
    /// Operator number, two digits, for F63 and receipts.
    pub operator: String,
    /// Serial number for F62 of the sign-in; none leaves F62 out.
    pub serial: Option<String>,
    /// TPDU of requests, ten digits.
    pub tpdu: String,
    /// Header of management and settlement messages, twelve digits.
    pub header_management: String,
    /// Header of card messages, twelve digits.
    pub header_card: String,
    /// F49 of every payment.
    pub currency: Currency,
    /// Offset of local time from UTC in minutes.
    pub utc_offset_minutes: i32,
    /// Working keys of a sign-in.
    pub suite: Suite,
    /// Waits.
    pub timeouts: Timeouts,
    /// Sends of a reversal, notice or upload on one occasion (tag 23); 0 counts as 1.
    pub resend_count: u8,
    /// Failed occasions after which a reversal parks the till.
    pub park_after_occasions: u8,
    /// Window in which the same card and amount are questioned; 0 never asks.
    pub duplicate_window_ms: u64,
    /// Transactions in a batch before settlement is demanded.
    pub batch_capacity: u16,
    /// Whether a void needs the card again (D43).
    pub void_needs_card: bool,
    /// Whether a completion, or the void of a pre-authorisation, needs the card again (D43). Without it only a pre-authorisation of
    /// the open batch can be ended.
    pub completion_needs_card: bool,
    /// Whether the void of a pre-authorisation asks for the PIN where the card is read (D43).
    pub authorisation_void_needs_pin: bool,
    /// Whether a completion request asks for the PIN where the card is read (§3.1).
    pub completion_needs_pin: bool,
    /// Whether a till that is not signed in signs in when it is switched on (§3.5.1).
    pub sign_in_at_power_on: bool,
    /// How much may be sold without the host.
    pub offline: OfflineLimits,
    /// Largest tip in per cent of its sale (tag 19); 0 takes none, as tag 18 may demand.
    pub tip_percent_max: u8,
    /// Whether a card number may be typed (tag 20). No reader types one yet: the PED refuses that entry mode in words.
    pub manual_entry: bool,
    /// Whether the till signs off behind a settlement (tag 21).
    pub automatic_sign_off: bool,
    /// Whether queued notices go before the next online transaction, otherwise at the settlement (tag 24).
    pub upload_before_transaction: bool,
    /// Transactions it may offer: bit map of tag 26, bit 1 is the highest.
    pub allowed: u32,
    /// Receipts.
    pub receipt: ReceiptOptions,
}

/// The bit of tag 26 that allows a kind (unionpay-pos §5.4).
fn permission(kind: TransactionKind) -> u32 {
    let bit = match kind {
        TransactionKind::Balance => 1,
        TransactionKind::PreAuthorisation => 2,
        TransactionKind::PreAuthorisationVoid => 3,
        TransactionKind::Completion => 4,
        TransactionKind::CompletionVoid => 5,
        TransactionKind::Sale | TransactionKind::QrSale | TransactionKind::QrOrder => 6,
        TransactionKind::Void | TransactionKind::QrVoid => 7,
        TransactionKind::Refund | TransactionKind::QrRefund => 8,
        TransactionKind::TipAdjustment => 10,
        TransactionKind::CompletionNotice => 11,
        TransactionKind::OfflineSale => 13,
        TransactionKind::Instalment => 16,
        TransactionKind::InstalmentVoid => 17,
    };
    1 << (32 - bit)
}

impl Config {
    /// A till with the dialect's defaults.
    pub fn new(terminal: TerminalId, merchant: MerchantId, merchant_name: impl Into<String>) -> Self {
        Self {
            terminal,
            merchant,
            merchant_name: merchant_name.into(),
            operator: "01".to_owned(),
            serial: None,
            tpdu: "6000030000".to_owned(),
            header_management: "603100310000".to_owned(),
            header_card: "613100310000".to_owned(),
            currency: Currency::CNY,
            utc_offset_minutes: CivilTime::CHINA_OFFSET_MINUTES,
            suite: Suite::DoubleLengthWithTrack,
            timeouts: Timeouts::default(),
            resend_count: limits::RESEND_COUNT,
            park_after_occasions: limits::PARK_AFTER_OCCASIONS,
            duplicate_window_ms: limits::DUPLICATE_WINDOW_MS,
            batch_capacity: limits::BATCH_CAPACITY,
            void_needs_card: true,
            completion_needs_card: true,
            authorisation_void_needs_pin: true,
            completion_needs_pin: false,
            sign_in_at_power_on: false,
            offline: OfflineLimits::default(),
            tip_percent_max: limits::TIP_PERCENT,
            manual_entry: false,
            automatic_sign_off: false,
            upload_before_transaction: true,
            allowed: u32::MAX,
            receipt: ReceiptOptions::default(),
        }
    }

    /// This configuration with the host's word going before it. It is the one place that decides between the two.
    pub(crate) fn under(&self, downloaded: &TerminalParameters) -> Self {
        let mut config = self.clone();
        if let Some(timeout_s) = downloaded.response_timeout_s {
            config.timeouts.response_ms = u64::from(timeout_s).max(limits::RESPONSE_TIMEOUT_MIN_S) * 1000;
        }
        if let Some(name) = downloaded.merchant_name.as_ref().filter(|name| !name.is_empty()) {
            config.merchant_name.clone_from(name);
        }
        config.tip_percent_max = match downloaded.tip {
            Some(TipMode::Off) => 0,
            _ => downloaded.tip_percent_max.unwrap_or(self.tip_percent_max),
        };
        config.manual_entry = downloaded.manual_entry.unwrap_or(self.manual_entry);
        config.automatic_sign_off = downloaded.automatic_sign_off.unwrap_or(self.automatic_sign_off);
        config.resend_count = downloaded.resend_count.unwrap_or(self.resend_count);
        let before = downloaded.upload_before_transaction;
        config.upload_before_transaction = before.unwrap_or(self.upload_before_transaction);
        config.allowed = downloaded.allowed.unwrap_or(self.allowed);
        config
    }

    /// What is in force, as a status upload tells it.
    pub(crate) fn reported(&self) -> TerminalParameters {
        let name_fits = gbk::encode(&self.merchant_name).is_some_and(|name| name.len() <= MERCHANT_NAME_BYTES);
        let timeout_s = u8::try_from(self.timeouts.response_ms / 1000).unwrap_or(u8::MAX);
        TerminalParameters {
            response_timeout_s: Some(timeout_s.min(99)),
            tip: Some(if self.tip_percent_max == 0 { TipMode::Off } else { TipMode::Tip }),
            tip_percent_max: Some(self.tip_percent_max.min(99)),
            manual_entry: Some(self.manual_entry),
            automatic_sign_off: Some(self.automatic_sign_off),
            merchant_name: name_fits.then(|| self.merchant_name.clone()),
            resend_count: Some(self.resend_count.min(9)),
            upload_before_transaction: Some(self.upload_before_transaction),
            ..TerminalParameters::default()
        }
    }

    /// Whether the till may offer a kind of transaction.
    pub(crate) fn allows(&self, kind: TransactionKind) -> bool {
        self.allowed & permission(kind) != 0
    }

    /// Sends on one occasion, at least one.
    pub(crate) fn sends(&self) -> u8 {
        self.resend_count.max(1)
    }

    /// Transactions a batch may hold.
    pub(crate) fn capacity(&self) -> usize {
        usize::from(self.batch_capacity.clamp(1, limits::BATCH_CAPACITY_MAX))
    }
}
