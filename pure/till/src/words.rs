//! What a till hears and says: [`Event`], [`OperatorCommand`], [`Effect`], [`Screen`], [`TransactionOutcome`].

use crate::download::set_text;
use crate::receipt::Receipt;
use crate::text::Text;
use iso8583::unionpay::DownloadSet;
use machine::wire::{Encode, Malformed, Reader, Writer};
use pedlink::{OpaqueFrame, PedCommand, PedReply};
use types::{Amount, AuthorisationCode, BatchNumber, LocalDate, PaymentCode, ResponseCode, Rrn, Stan, TruncatedPan};

/// What the outside tells a till.
#[derive(Debug)]
pub enum Event {
    /// The process began: nothing that was in flight is in flight any more.
    PowerOn,
    /// The cashier, or a program in the cashier's place.
    Operator(OperatorCommand),
    /// The PED.
    Ped(Box<PedReply>),
    /// The host answered.
    LinkResponse {
        /// The exchange of [`Effect::Exchange`]; any other is a late answer and changes nothing.
        exchange: u64,
        /// The answer as it came.
        frame: OpaqueFrame,
    },
    /// The exchange ended without an answer.
    LinkFailed {
        /// The exchange.
        exchange: u64,
        /// Whether a single byte may have left. `false` only if surely none did.
        sent_any: bool,
    },
    /// The deadline came.
    Wake,
}

/// What a cashier may ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperatorCommand {
    /// Signs in, and downloads what is missing or ordered.
    SignIn,
    /// Sells.
    Sale {
        /// How much.
        amount: Amount,
    },
    /// Takes back a sale of this batch, whole.
    Void {
        /// Trace number of the sale.
        stan: Stan,
    },
    /// Gives money back for a sale of any batch.
    Refund {
        /// How much.
        amount: Amount,
        /// F37 of the sale.
        original_rrn: Rrn,
        /// Date of the sale.
        original_date: LocalDate,
    },
    /// Holds money of a card.
    PreAuthorise {
        /// How much.
        amount: Amount,
    },
    /// Sets the money of a pre-authorisation free, whole.
    VoidPreAuthorisation {
        /// How much was authorised.
        amount: Amount,
        /// Which pre-authorisation.
        authorisation: AuthorisationReference,
    },
    /// Takes what was authorised, or less, or a little more.
    Complete {
        /// How much.
        amount: Amount,
        /// Which pre-authorisation.
        authorisation: AuthorisationReference,
        /// Whether the host is asked, or told by a notice, which is sent again until it is answered and cannot be voided.
        form: CompletionForm,
    },
    /// Takes back a completion request of this batch, whole. The authorisation stays ended.
    VoidCompletion {
        /// Trace number of the completion.
        stan: Stan,
    },
    /// Sells; the cardholder pays his issuer in instalments, the shop is paid at once.
    SellByInstalments {
        /// How much in all.
        amount: Amount,
        /// How many instalments: 2 to 99, of those that the host offers.
        count: u8,
    },
    /// Adds a tip to a sale of this batch, once.
    Tip {
        /// Trace number of the sale.
        stan: Stan,
        /// The tip alone.
        tip: Amount,
    },
    /// Sells to the buyer whose code was scanned.
    QrSale {
        /// How much.
        amount: Amount,
        /// The code, as the scanner read it.
        code: PaymentCode,
    },
    /// Shows a code that the buyer scans.
    QrOrder {
        /// How much.
        amount: Amount,
    },
    /// Gives money back for a QR payment of any batch and any till of the merchant. One of this till's may be named by its reference
    /// number as well, see [`OperatorCommand::Refund`]; a void is [`OperatorCommand::Void`].
    QrRefund {
        /// How much.
        amount: Amount,
        /// 付款凭证号 of the slip, twenty digits.
        voucher_code: String,
        /// Date of the payment.
        original_date: LocalDate,
    },
    /// Asks for the card's balance.
    Balance,
    /// Settles and closes the batch.
    Settle,
    /// Signs off.
    SignOff,
    /// Tests the line.
    Echo,
    /// Fetches a set of parameters from the host, ordered or not.
    Download {
        /// Which.
        set: DownloadSet,
    },
    /// Tells the host the till's state and parameters.
    ReportStatus,
    /// Keeps what the cardholder wrote on the screen under an approved payment of this batch; it goes to the host by itself.
    Sign {
        /// Trace number of the payment.
        stan: Stan,
        /// The image: JBIG, at most 999 bytes, with the payment's feature code (`Transaction::feature_code`) as its watermark.
        image: Vec<u8>,
    },
    /// Tries everything that is pending at once.
    ResumePending,
    /// Prints a slip again, marked as a copy; without a number the last one.
    Reprint {
        /// Its trace number.
        stan: Option<Stan>,
    },
    /// Prints the last settlement again, marked as a copy.
    ReprintSettlement,
    /// Ends a reversal, notice or upload that the host cannot be brought to acknowledge.
    ResolveParked {
        /// Trace number of the transaction concerned.
        stan: Stan,
        /// What the host's people said, on record.
        proof: HostProof,
    },
    /// Yes to [`Screen::ConfirmDuplicate`].
    Confirm,
    /// No, or: stop waiting for the card or the buyer.
    Cancel,
}

/// What names a pre-authorisation: what stands on its slip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorisationReference {
    /// F38.
    pub code: AuthorisationCode,
    /// Its date.
    pub date: LocalDate,
}

/// How the host learns of a completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompletionForm {
    /// 预授权完成请求 (0200).
    Request,
    /// 预授权完成通知 (0220).
    Notice,
}

/// What the host's people state about a transaction that its machine would not acknowledge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostProof {
    /// Their verdict.
    pub verdict: HostVerdict,
    /// Reference of their statement: 1–64 bytes.
    pub reference: String,
    /// Who entered it.
    pub operator: String,
}

/// The host's verdict on a parked transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostVerdict {
    /// It was booked and has been reversed, or the upload or notice is on their books.
    Settled,
    /// It was never booked.
    NeverBooked,
}

impl HostVerdict {
    pub(crate) fn number(self) -> u8 {
        match self {
            HostVerdict::Settled => 1,
            HostVerdict::NeverBooked => 2,
        }
    }
}

impl Encode for HostProof {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(self.verdict.number()).text(&self.reference).text(&self.operator);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let verdict = match reader.u8()? {
            1 => HostVerdict::Settled,
            2 => HostVerdict::NeverBooked,
            _ => return Err(reader.malformed("a host verdict")),
        };
        Ok(Self { verdict, reference: reader.text()?.to_owned(), operator: reader.text()?.to_owned() })
    }
}

/// What a till asks the outside to do.
#[derive(Debug)]
pub enum Effect {
    /// To the PED.
    Ped(PedCommand),
    /// Connect, send the frame, wait for one answer.
    Exchange {
        /// Names the exchange; never used again, not even after a restart.
        exchange: u64,
        /// Complete, length prefix included.
        frame: OpaqueFrame,
        /// From now, for everything together. The till gives up by itself at the same time.
        timeout_ms: u64,
    },
    /// Stop waiting for an exchange; an answer that still comes is ignored.
    Abandon {
        /// The exchange.
        exchange: u64,
    },
    /// To the cashier.
    Show(Screen),
    /// To the printer.
    Print(Box<Receipt>),
    /// To the program that gave the command: how it ended. Exactly one for each operator command that does something,
    /// and one for each pending matter that ends by itself.
    Outcome(Box<TransactionOutcome>),
}

/// What an outcome is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Sign-in with its downloads.
    SignIn,
    /// Sign-off.
    SignOff,
    /// Echo test.
    Echo,
    /// Download of a set of parameters.
    Download,
    /// Status upload.
    StatusReport,
    /// Sale.
    Sale,
    /// Void of a sale.
    Void,
    /// Refund.
    Refund,
    /// Balance inquiry.
    Balance,
    /// Pre-authorisation.
    PreAuthorisation,
    /// Void of a pre-authorisation.
    PreAuthorisationVoid,
    /// Completion request.
    Completion,
    /// Void of a completion request.
    CompletionVoid,
    /// Completion notice.
    CompletionNotice,
    /// Tip added to a sale.
    TipAdjustment,
    /// Sale in instalments.
    Instalment,
    /// The host's word on a sale that was approved without it.
    OfflineUpload,
    /// Sale to the buyer whose code was scanned.
    QrSale,
    /// Sale to the buyer who scans the code shown.
    QrOrder,
    /// Settlement.
    Settlement,
    /// An electronic signature.
    Signature,
    /// The acknowledgement of a reversal.
    Reversal,
    /// Everything that is pending.
    Pending,
    /// A copy of a slip.
    Reprint,
    /// An operator's act on what is parked.
    ResolveParked,
}

impl Operation {
    /// In words.
    pub fn text(self) -> Text {
        let (zh, en) = match self {
            Operation::SignIn => ("签到", "Sign-in"),
            Operation::SignOff => ("签退", "Sign-off"),
            Operation::Echo => ("回响测试", "Echo test"),
            Operation::Download => ("参数下载", "Parameter download"),
            Operation::StatusReport => ("状态上送", "Status upload"),
            Operation::Sale => ("消费", "Sale"),
            Operation::Void => ("消费撤销", "Void"),
            Operation::Refund => ("退货", "Refund"),
            Operation::Balance => ("余额查询", "Balance inquiry"),
            Operation::PreAuthorisation => ("预授权", "Pre-authorisation"),
            Operation::PreAuthorisationVoid => ("预授权撤销", "Pre-authorisation void"),
            Operation::Completion => ("预授权完成(请求)", "Completion"),
            Operation::CompletionVoid => ("预授权完成撤销", "Completion void"),
            Operation::CompletionNotice => ("预授权完成(通知)", "Completion notice"),
            Operation::TipAdjustment => ("小费", "Tip"),
            Operation::Instalment => ("分期消费", "Sale in instalments"),
            Operation::OfflineUpload => ("脱机消费上送", "Upload of an offline sale"),
            Operation::QrSale => ("扫码消费", "QR sale"),
            Operation::QrOrder => ("扫码收款", "QR order"),
            Operation::Settlement => ("批结算", "Settlement"),
            Operation::Signature => ("电子签名", "Electronic signature"),
            Operation::Reversal => ("冲正", "Reversal"),
            Operation::Pending => ("待处理事项", "Pending matters"),
            Operation::Reprint => ("重打印", "Reprint"),
            Operation::ResolveParked => ("人工处理", "Resolve by hand"),
        };
        Text::new(zh, en)
    }
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutcomeStatus {
    /// The host approved and the card agreed.
    Approved,
    /// The host, the card or the terminal declined; no money moved.
    Declined,
    /// No certain answer: the reversal is pending and the till sees to it.
    Reversing,
    /// The reversal was acknowledged: no money moved in the end.
    Reversed,
    /// A notice (refund, completion notice) that waits for the line: it will be sent by itself.
    Queued,
    /// Stopped by the cashier or the cardholder before anything was sent.
    Cancelled,
    /// It could not be done; nothing was sent or nothing was booked.
    Failed,
    /// Done (what is not a payment).
    Done,
}

impl OutcomeStatus {
    /// Stable lower-case name for programs.
    pub fn name(self) -> &'static str {
        match self {
            OutcomeStatus::Approved => "approved",
            OutcomeStatus::Declined => "declined",
            OutcomeStatus::Reversing => "reversing",
            OutcomeStatus::Reversed => "reversed",
            OutcomeStatus::Queued => "queued",
            OutcomeStatus::Cancelled => "cancelled",
            OutcomeStatus::Failed => "failed",
            OutcomeStatus::Done => "done",
        }
    }
}

/// Balance of F54.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardBalance {
    /// Minor units; negative for a debit balance (sign `D`).
    pub minor: i64,
    /// ISO 4217 numeric code as it came.
    pub currency: u16,
}

/// How an operation ended, for programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionOutcome {
    /// What it was.
    pub operation: Operation,
    /// How it ended.
    pub status: OutcomeStatus,
    /// F11, if one was used.
    pub stan: Option<Stan>,
    /// Batch of the transaction.
    pub batch: Option<BatchNumber>,
    /// F4.
    pub amount: Option<Amount>,
    /// F39.
    pub response_code: Option<ResponseCode>,
    /// F37.
    pub rrn: Option<Rrn>,
    /// F38.
    pub authorisation_code: Option<AuthorisationCode>,
    /// The card, as it may be shown.
    pub card: Option<TruncatedPan>,
    /// F54 of a balance inquiry.
    pub balance: Option<CardBalance>,
    /// 付款凭证号 of a QR payment.
    pub voucher_code: Option<String>,
    /// In words.
    pub message: Text,
}

impl TransactionOutcome {
    pub(crate) fn new(operation: Operation, status: OutcomeStatus, message: Text) -> Self {
        Self {
            operation,
            status,
            stan: None,
            batch: None,
            amount: None,
            response_code: None,
            rrn: None,
            authorisation_code: None,
            card: None,
            balance: None,
            voucher_code: None,
            message,
        }
    }
}

/// What the cashier sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Screen {
    /// Waiting for a command.
    Ready {
        /// Whether working keys are there.
        signed_in: bool,
        /// Open batch.
        batch: BatchNumber,
    },
    /// Another operation is running.
    Busy,
    /// The PED does not answer.
    PedSilent,
    /// The PED has no terminal master key: the terminal is not enrolled.
    NotEnrolled,
    /// An operation began, or a step of it.
    Working {
        /// What.
        operation: Operation,
    },
    /// Insert the card.
    PresentCard {
        /// What for.
        operation: Operation,
        /// How much; zero for a balance inquiry.
        amount: Amount,
    },
    /// Same card, same amount, same till, a moment ago: is it meant? Answer with `Confirm` or `Cancel`.
    ConfirmDuplicate {
        /// The amount.
        amount: Amount,
        /// The card.
        card: TruncatedPan,
        /// The earlier sale.
        earlier: Stan,
        /// Its slip, to be shown beside the question.
        receipt: Box<Receipt>,
    },
    /// The buyer has still to pay.
    AwaitingPayer {
        /// How much.
        amount: Amount,
        /// The code to show the buyer; none if the buyer is asked on the phone.
        code: Option<PaymentCode>,
        /// How long the till goes on waiting, in seconds.
        seconds_left: u32,
    },
    /// Card parameters are missing; the till signs in again and fetches them by itself (mission M29).
    ParametersMissing {
        /// Public keys of the card schemes.
        capks: bool,
        /// Application parameters.
        aids: bool,
    },
    /// The host wants a new sign-in; the till does it by itself.
    SigningInAgain {
        /// F39 that asked for it, if one did.
        response_code: Option<ResponseCode>,
    },
    /// Parameters are being fetched.
    Downloading {
        /// Which set.
        set: DownloadSet,
        /// Entries fetched.
        done: u16,
        /// Entries listed; 0 if the host does not say.
        total: u16,
    },
    /// A reversal was not acknowledged on this occasion; it will be tried again.
    ReversalPending {
        /// The transaction to be reversed.
        stan: Stan,
        /// Failed occasions so far.
        occasions: u8,
    },
    /// No sales until the host acknowledges. The till keeps trying.
    Parked {
        /// The transaction concerned.
        stan: Stan,
        /// Why.
        reason: Text,
    },
    /// A settlement is half done; no sales until it is finished.
    SettlementUnfinished {
        /// Its batch.
        batch: BatchNumber,
    },
    /// The batch is full: settle first.
    BatchFull,
    /// A command that cannot be carried out now.
    Refused {
        /// Why.
        reason: Text,
    },
    /// How an operation ended.
    Result(Box<TransactionOutcome>),
}

impl Screen {
    /// In words.
    pub fn text(&self) -> Text {
        match self {
            Screen::Ready { signed_in: true, batch } => {
                Text::new(format!("就绪 批次 {batch}"), format!("Ready, batch {batch}"))
            }
            Screen::Ready { signed_in: false, .. } => Text::new("未签到", "Not signed in"),
            Screen::Busy => Text::new("正在处理,请稍候", "Busy, please wait"),
            Screen::PedSilent => Text::new("密码键盘无应答", "The PIN entry device does not answer"),
            Screen::NotEnrolled => Text::new("终端未灌装主密钥", "No terminal master key: enrol this terminal first"),
            Screen::Working { operation } => {
                let name = operation.text();
                Text::new(format!("{}中", name.zh), format!("{} in progress", name.en))
            }
            Screen::PresentCard { amount, .. } => {
                Text::new(format!("{amount} 请插卡"), format!("{amount}: insert the card"))
            }
            Screen::ConfirmDuplicate { amount, card, earlier, .. } => Text::new(
                format!("卡号 {card} 刚完成同金额交易 {amount} (凭证号 {earlier}),是否继续?"),
                format!("Card {card} has just paid {amount} (voucher {earlier}). Charge it again?"),
            ),
            Screen::AwaitingPayer { amount, code: Some(code), seconds_left } => Text::new(
                format!("{amount} 请顾客扫码付款: {} (剩余{seconds_left}秒)", code.expose()),
                format!("{amount}: let the buyer scan {} ({seconds_left} s left)", code.expose()),
            ),
            Screen::AwaitingPayer { amount, code: None, seconds_left } => Text::new(
                format!("{amount} 等待顾客在手机上确认付款 (剩余{seconds_left}秒)"),
                format!("{amount}: waiting for the buyer to confirm on the phone ({seconds_left} s left)"),
            ),
            Screen::ParametersMissing { capks, aids } => parameters_missing(*capks, *aids),
            Screen::SigningInAgain { .. } => {
                Text::new("请重新签到:正在自动签到", "The host wants a new sign-in: signing in again")
            }
            Screen::Downloading { set, done, total } => {
                let Text { zh, en } = set_text(*set);
                match total {
                    0 => Text::new(format!("下载{zh}"), format!("Downloading {en}")),
                    _ => Text::new(format!("下载{zh} {done}/{total}"), format!("Downloading {en}: {done} of {total}")),
                }
            }
            Screen::ReversalPending { stan, .. } => {
                Text::new(format!("凭证号 {stan} 待冲正"), format!("Reversal of voucher {stan} is pending"))
            }
            Screen::Parked { stan, reason } => Text::new(
                format!("停止交易:凭证号 {stan} {}", reason.zh),
                format!("No sales: voucher {stan}: {}", reason.en),
            ),
            Screen::SettlementUnfinished { batch } => Text::new(
                format!("批次 {batch} 结算未完成"),
                format!("The settlement of batch {batch} is not finished"),
            ),
            Screen::BatchFull => Text::new("交易流水已满,请结算", "The batch is full: settle first"),
            Screen::Refused { reason } => reason.clone(),
            Screen::Result(outcome) => outcome.message.clone(),
        }
    }
}

fn parameters_missing(capks: bool, aids: bool) -> Text {
    let (zh, en) = match (capks, aids) {
        (true, true) => ("公钥(CAPK)和IC卡参数(AID)", "CA public keys (CAPK) and card parameters (AID)"),
        (false, true) => ("IC卡参数(AID)", "Card parameters (AID)"),
        _ => ("公钥(CAPK)", "CA public keys (CAPK)"),
    };
    Text::new(
        format!("未下载{zh}:正在重新签到并下载,完成后继续交易"),
        format!("{en} are not loaded yet: signing in again to download them, then the payment goes on"),
    )
}
