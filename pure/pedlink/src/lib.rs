//! The words between the till and the PED, whether they share a box or a Bluetooth link.
//!
//! *Duty*: [`PedCommand`] and [`PedReply`]. *Knows*: what may leave the secure part: tokens, truncated PANs, sealed
//! blobs, completed frames. *Never*: a PAN, track, PIN or key in any field. *Start here*: [`PedCommand`].
//!
//! The till plans a message as a [`FrameTemplate`] with every public field. The PED adds what only it may hold (F2, F14, F22,
//! F23, F26, F35, F52, F53, F55, F64) and hands back an [`OpaqueFrame`] for the link, together with a [`SealedBlob`] from which it
//! can later rebuild a reversal or an upload. The till journals the template, the token and the blob, never the frame.

mod encoding;

use core::fmt;
use types::{
    Amount, AuthorisationCode, CardToken, CivilTime, Currency, MerchantId, ResponseCode, Rrn, Stan, TerminalId,
    TruncatedPan,
};
use zeroize::Zeroizing;

/// Longest text of a trace line in bytes; longer ones are cut by their maker.
pub const TRACE_TEXT_BYTES_MAX: usize = 2048;

/// One masked line of a payment's explanation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceLine {
    /// What it is about: `apdu`, `tvr`, `cvm`, `cryptogram`, `request`, `response`, `kernel` …
    pub topic: String,
    /// What is said, in words and masked hex.
    pub text: String,
}

/// Bytes that only this PED can open: account data and chip data of one transaction.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBlob(pub Vec<u8>);

impl fmt::Debug for SealedBlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealedBlob({} bytes)", self.0.len())
    }
}

/// A completed message on its way to or from the link. In the `classic` suite it carries F2 in the clear, so it does not
/// print, is wiped on drop, and is never journalled.
pub struct OpaqueFrame(Zeroizing<Vec<u8>>);

impl OpaqueFrame {
    /// Wraps the bytes of a frame, length prefix included.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the link only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// An explicit second copy.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for OpaqueFrame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OpaqueFrame({} bytes ****)", self.0.len())
    }
}

/// Content of F59. It may hold the code that a buyer pays with, so it prints its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomData(pub Vec<u8>);

impl fmt::Debug for CustomData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CustomData({} bytes)", self.0.len())
    }
}

/// Chip data (F55) that a message takes along (unionpay-pos §6, one column each).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChipData {
    /// No F55.
    None,
    /// Sale, pre-authorisation, balance request.
    Request,
    /// Reversal with reason 98 or A0.
    Reversal,
    /// Reversal because the card declined (reason 06).
    CardDeclined,
    /// Script result notice.
    ScriptNotice,
    /// TC or AAC upload in a batch.
    Certificate,
    /// Upload of a sale that the card approved without the host.
    OfflineSale,
}

/// What account data the PED adds to a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountPart {
    /// None: management messages.
    None,
    /// Of the card that was read in this session.
    Session {
        /// From [`PedCommand::ReadCard`].
        session: u32,
        /// Whether F26/F52 go along if a PIN was entered.
        with_pin: bool,
        /// Which chip data.
        chip: ChipData,
    },
    /// Of an earlier transaction.
    Blob {
        /// Its blob.
        blob: SealedBlob,
        /// Whether the message would carry F35 if its card had just been read (voids, refunds). A blob never holds a track (PCI DSS
        /// 3.3.1: none is kept after authorisation), so no F35 is sent either way; read the card with `account_only` for one.
        with_track: bool,
        /// Which chip data.
        chip: ChipData,
    },
    /// Of a signed transaction: its electronic signature (unionpay-pos §6.1).
    Signature {
        /// The transaction's blob, for F2; without it F2 stays away.
        blob: Option<SealedBlob>,
        /// F15 of the transaction, four digits.
        settlement_date: Option<String>,
        /// F55: elements that are public.
        elements: Vec<u8>,
    },
}

/// Every public field of a message. Digit fields are ASCII digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameTemplate {
    /// TPDU, ten digits.
    pub tpdu: String,
    /// Header, twelve digits.
    pub header: String,
    /// Message type, for example `0200`.
    pub mti: String,
    /// F3, six digits.
    pub processing_code: Option<String>,
    /// F4.
    pub amount: Option<Amount>,
    /// F49.
    pub currency: Option<Currency>,
    /// F11.
    pub stan: Option<Stan>,
    /// F25, two digits.
    pub condition_code: Option<String>,
    /// F32, digits.
    pub acquirer_id: Option<String>,
    /// F37.
    pub rrn: Option<Rrn>,
    /// F38.
    pub authorisation_code: Option<AuthorisationCode>,
    /// F39, in reversals the reason.
    pub response_code: Option<ResponseCode>,
    /// F41.
    pub terminal: TerminalId,
    /// F42.
    pub merchant: MerchantId,
    /// F48, digits.
    pub additional_private: Option<String>,
    /// F60, digits.
    pub private_60: String,
    /// F61, digits.
    pub original_61: Option<String>,
    /// F62.
    pub private_62: Option<Vec<u8>>,
    /// F63.
    pub private_63: Option<Vec<u8>>,
    /// Whether F64 is made.
    pub with_mac: bool,
    /// F22 of a message that no card stands behind (`032` for a QR code); the PED knows a card's.
    pub entry_mode: Option<String>,
    /// F59: tags A3 (payment code), A4 (voucher code).
    pub custom: Option<CustomData>,
}

/// The transaction that a card is read for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardTransaction {
    /// Amount, authorised.
    pub amount: Amount,
    /// Tag 9C: 00 sale, 31 balance, 20 refund …
    pub transaction_type: u8,
    /// Local date and time for 9A and 9F21.
    pub at: CivilTime,
    /// Sequence counter 9F41: the trace number of the transaction.
    pub stan: Stan,
    /// Whether the kernel runs a payment to its first cryptogram, or the card is only read for its account data
    /// (voids, refunds: unionpay-pos C8).
    pub account_only: bool,
    /// Whether an online PIN is asked for even if the card does not (balance, UnionPay debit rules).
    pub force_online_pin: bool,
    /// Whether the host must decide: card and terminal may not approve by themselves (EMV 4.4 Book 3 §10.6, "merchant forced
    /// transaction online").
    pub online_only: bool,
}

/// What the till may know of a card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardSummary {
    /// The session, for later commands.
    pub session: u32,
    /// This terminal's token of the card.
    pub token: CardToken,
    /// What may be shown.
    pub truncated: TruncatedPan,
    /// Chosen application, tag 84/4F.
    pub aid: Vec<u8>,
    /// Its label.
    pub label: String,
    /// Card organisation of F63.1: `CUP`, `VIS`, `MCC` … `CUP` is domestic.
    pub organisation: String,
    /// Three digits of F22 that the PED will send.
    pub entry_mode: String,
    /// What the card and terminal decided.
    pub decision: CardDecision,
    /// Whether an online PIN was entered.
    pub pin_entered: bool,
    /// Whether the slip must be signed.
    pub signature: bool,
}

/// The result of terminal and card action analysis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardDecision {
    /// The host decides.
    Online,
    /// Approved without the host.
    ApprovedOffline,
    /// Declined without the host.
    DeclinedOffline,
    /// Only account data was read.
    AccountOnly,
}

/// Why no payment came out of a card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CardFailure {
    /// No CAPK set or no AID set is loaded: sign in and download (mission M29).
    ParametersMissing {
        /// Whether CAPKs are missing.
        capks: bool,
        /// Whether AID parameters are missing.
        aids: bool,
    },
    /// No application that both know.
    NoApplication,
    /// The card is blocked or its application is.
    Blocked,
    /// Removed, mute or broken.
    CardError {
        /// In words.
        detail: String,
    },
    /// The cardholder or the cashier cancelled.
    Cancelled,
    /// Another entry mode whose kernel is not built yet.
    EntryModeNotSupported {
        /// Which.
        mode: String,
    },
}

/// What the host answered, as far as the chip must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OnlineAnswer {
    /// F39; the PED keeps F55 of the same response from [`PedCommand::CheckResponse`].
    Answered {
        /// F39.
        response_code: ResponseCode,
    },
    /// No answer.
    NoAnswer,
}

/// Chip lines of a receipt and of the record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChipReceipt {
    /// AID, hex.
    pub aid: String,
    /// Application label.
    pub label: String,
    /// Cryptogram of the last GENERATE AC, hex.
    pub cryptogram: String,
    /// `TC`, `ARQC` or `AAC`.
    pub cryptogram_kind: String,
    /// TVR, hex.
    pub tvr: String,
    /// TSI, hex.
    pub tsi: String,
    /// ATC, decimal.
    pub atc: u16,
    /// CVM results, hex.
    pub cvm_results: String,
}

/// What the till expects of a response (unionpay-pos §1.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Response MTI, for example `0210`.
    pub mti: String,
    /// F3 of the request.
    pub processing_code: Option<String>,
    /// F4 of the request.
    pub amount: Option<Amount>,
    /// Whether another amount may come back (balance, settlement).
    pub amount_may_differ: bool,
    /// F11 of the request.
    pub stan: Option<Stan>,
    /// F41.
    pub terminal: TerminalId,
    /// F42.
    pub merchant: MerchantId,
    /// Whether F64 is demanded (D17, D18).
    pub mac_required: bool,
    /// Session whose chip gets the issuer's data, if any.
    pub session: Option<u32>,
}

/// Every public field of a response.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResponseSummary {
    /// Message type.
    pub mti: String,
    /// Header digit 6: the host's order (unionpay-pos §1.3), 0–15.
    pub order: u8,
    /// F4 in minor units.
    pub amount_minor: Option<u64>,
    /// F11.
    pub stan: Option<Stan>,
    /// F12, six digits.
    pub local_time: Option<String>,
    /// F13, four digits.
    pub local_date: Option<String>,
    /// F15, four digits.
    pub settlement_date: Option<String>,
    /// F32.
    pub acquirer_id: Option<String>,
    /// F37.
    pub rrn: Option<Rrn>,
    /// F38.
    pub authorisation_code: Option<AuthorisationCode>,
    /// F39.
    pub response_code: Option<ResponseCode>,
    /// F44.
    pub additional_response: Option<String>,
    /// F48, digits.
    pub additional_private: Option<String>,
    /// F54.
    pub balances: Option<String>,
    /// F60, digits.
    pub private_60: Option<String>,
    /// F62.
    pub private_62: Option<Vec<u8>>,
    /// F63.
    pub private_63: Option<Vec<u8>>,
    /// Whether F64 was there and right.
    pub mac_verified: bool,
    /// Whether F55 brought issuer data for the chip.
    pub issuer_data: bool,
    /// F59.
    pub custom: Option<CustomData>,
}

/// Why a response counts as none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseFault {
    /// Not a message of the dialect.
    Malformed {
        /// Offset and field, in words.
        detail: String,
    },
    /// A field differs from the request.
    Mismatch {
        /// Which.
        field: String,
    },
    /// F64 is wrong.
    MacWrong,
    /// F64 is missing where it must be.
    MacMissing,
}

/// What the till may ask.
#[derive(Debug)]
pub enum PedCommand {
    /// What is loaded? Answer: `Status`.
    Status,
    /// Replaces the CAPK set (unionpay-pos §5.1): bodies of F62 behind the status byte, one a key. Answer: `ParametersInstalled`.
    InstallCapks {
        /// TLV bodies.
        entries: Vec<Vec<u8>>,
        /// Today, to skip expired keys.
        at: CivilTime,
    },
    /// Replaces the AID set (unionpay-pos §5.2). Answer: `ParametersInstalled`.
    InstallAids {
        /// TLV bodies.
        entries: Vec<Vec<u8>>,
    },
    /// Takes the working keys of a sign-in (F62). Answer: `WorkingKeysLoaded`.
    LoadWorkingKeys {
        /// Content of F62.
        delivery: Vec<u8>,
    },
    /// Waits for a card and runs the kernel up to its first decision. Answer: `CardRead`.
    ReadCard {
        /// Names the session; the till counts up.
        session: u32,
        /// What for.
        transaction: CardTransaction,
    },
    /// Completes a message. Answer: `FrameCompleted` or `FrameRefused`.
    CompleteFrame {
        /// Public fields.
        template: Box<FrameTemplate>,
        /// What the PED adds.
        account: AccountPart,
    },
    /// Checks a response and opens its public fields. Answer: `ResponseChecked`.
    CheckResponse {
        /// The frame as it came.
        frame: OpaqueFrame,
        /// What was asked.
        expected: Box<Expected>,
    },
    /// Ends the card's part with the host's answer: issuer authentication, scripts, second cryptogram. An approval reaches the chip
    /// only if a response with that very F39 was checked for this session before. Answer: `CardFinished`.
    FinishCard {
        /// The session.
        session: u32,
        /// The host's answer.
        answer: OnlineAnswer,
    },
    /// Gives up on a card. Answer: `CardFinished` if a cryptogram was out, otherwise `CardRead` with `Cancelled`.
    CancelCard {
        /// The session.
        session: u32,
    },
}

/// What the PED answers.
#[derive(Debug)]
pub enum PedReply {
    /// What is loaded.
    Status {
        /// Whether a terminal master key is there.
        master_key: bool,
        /// Whether working keys are there.
        working_keys: bool,
        /// CAPKs loaded.
        capks: u16,
        /// AIDs loaded.
        aids: u16,
    },
    /// Parameters replaced, or not.
    ParametersInstalled {
        /// How many were taken.
        taken: u16,
        /// How many were skipped (expired, bad checksum), each in words.
        skipped: Vec<String>,
    },
    /// Working keys of a sign-in.
    WorkingKeysLoaded {
        /// `false`: a check value did not fit; the old keys are gone too (unionpay-pos §4.3).
        loaded: bool,
    },
    /// A card was read, or not.
    CardRead {
        /// The session.
        session: u32,
        /// What came of it.
        result: Result<CardSummary, CardFailure>,
        /// Explanation so far.
        trace: Vec<TraceLine>,
    },
    /// A message is ready.
    FrameCompleted {
        /// For the link.
        frame: OpaqueFrame,
        /// For later rebuilding; `None` for messages without account data.
        blob: Option<SealedBlob>,
        /// The message field by field, masked.
        trace: Vec<TraceLine>,
    },
    /// A message cannot be completed.
    FrameRefused {
        /// In words: no working keys, unknown session, blob not authentic …
        why: String,
        /// Whether signing in again mends it.
        sign_in_needed: bool,
    },
    /// A response was checked.
    ResponseChecked {
        /// Its public fields, or why it counts as none.
        result: Result<Box<ResponseSummary>, ResponseFault>,
        /// The message field by field, masked.
        trace: Vec<TraceLine>,
    },
    /// The chip's last word.
    CardFinished {
        /// The session.
        session: u32,
        /// Whether the card approved.
        approved: bool,
        /// Chip lines of the receipt.
        receipt: ChipReceipt,
        /// Blob with the final chip data (TC upload, script notice).
        blob: Option<SealedBlob>,
        /// DF31, if scripts ran: five bytes a script.
        script_results: Option<Vec<u8>>,
        /// In words, if the card did not approve.
        detail: String,
        /// The whole explanation.
        trace: Vec<TraceLine>,
    },
}
