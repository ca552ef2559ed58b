//! `irontill pay`: one payment.

use crate::system::{Folder, System};
use crate::till_point::{CardSide, LabReader, TillPoint, profile};
use crate::verdict::{Misuse, Verdict};
use crate::wallet;
use clap::{Args, ValueEnum};
use irontill_host::WalletDesk;
use irontill_terminal::{Completion, Observer, Progress};
use reader::Reader;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use till::{
    AuthorisationReference, CompletionForm, DownloadSet, Operation, OperatorCommand, OutcomeStatus, Screen,
    TransactionOutcome,
};
use types::{Amount, AuthorisationCode, CivilTime, Currency, LocalDate, PaymentCode, Rrn, Stan, WalletNumber};

/// Columns of a receipt on a screen.
pub const RECEIPT_COLUMNS: usize = 48;
/// How long to wait for the reversal of a payment without an answer.
const REVERSAL_PATIENCE: Duration = Duration::from_secs(120);

/// Which payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// 消费.
    Sale,
    /// 分期消费: the cardholder pays in instalments, the shop is paid at once.
    Instalments,
    /// 小费: add a tip to a sale of this batch, once.
    Tip,
    /// 撤销: take a sale of this batch back.
    Void,
    /// 退货: give the money of a settled sale back, all of it or a part.
    Refund,
    /// 余额查询: what is on the card.
    Balance,
    /// 结算: compare the totals with the host and close the batch.
    Settle,
    /// 预授权: hold the amount.
    PreAuth,
    /// 预授权撤销: set a pre-authorisation free; its whole amount.
    PreAuthVoid,
    /// 预授权完成请求: take what was authorised, at most 115 % of it.
    Complete,
    /// 预授权完成通知: the same as a notice, which is sent until it is answered.
    CompleteNotice,
    /// 预授权完成撤销: take a completion of this batch back.
    CompleteVoid,
    /// 电子签名: keep what the cardholder wrote on the screen under a payment of this batch.
    Sign,
    /// 参数下载: fetch a set of parameters from the host, ordered or not.
    Download,
    /// 状态上送: tell the host the till's state and parameters.
    ReportStatus,
}

/// What a till can fetch from its host.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Set {
    /// Public keys of the card schemes (公钥).
    Capks,
    /// Application parameters (IC卡参数).
    Aids,
    /// The terminal's own parameters (终端参数).
    Terminal,
    /// Whatever the acquirer's terminal management sends.
    Tms,
    /// Numbers of blocked cards (卡BIN黑名单).
    CardBlacklist,
    /// Currency rates.
    Rates,
    /// Contactless parameters (非接业务参数).
    Contactless,
    /// Cards whose small amounts need no PIN, table B (免密新增BIN表).
    PinFreeBins,
    /// Cards excepted from that, table C (免密BIN黑名单).
    PinFreeBlacklist,
}

impl From<Set> for DownloadSet {
    fn from(set: Set) -> Self {
        match set {
            Set::Capks => Self::Capks,
            Set::Aids => Self::Aids,
            Set::Terminal => Self::Terminal,
            Set::Tms => Self::Tms,
            Set::CardBlacklist => Self::CardBlacklist,
            Set::Rates => Self::Rates,
            Set::Contactless => Self::Contactless,
            Set::PinFreeBins => Self::PinFreeBins,
            Set::PinFreeBlacklist => Self::PinFreeBlacklist,
        }
    }
}

/// One payment on a running or private system.
#[derive(Args)]
pub struct Pay {
    /// Amount, for example 12.50. A void has none: it is always for the whole.
    #[arg(long)]
    amount: Option<String>,
    /// Which payment.
    #[arg(long, value_enum, default_value_t = Kind::Sale)]
    transaction: Kind,
    /// Authorisation code of the pre-authorisation that is voided or completed.
    #[arg(long)]
    authorisation_code: Option<String>,
    /// Date of that pre-authorisation, or of the sale that is refunded, as on its slip, for example 2026-03-15; today in China without it.
    #[arg(long)]
    date: Option<String>,
    /// How many instalments.
    #[arg(long)]
    instalments: Option<u8>,
    /// The tip alone, for example 2.00.
    #[arg(long)]
    tip: Option<String>,
    /// Voucher number (trace number) of the sale or completion that is voided, of the sale that gets a tip, or of the payment that is
    /// signed.
    #[arg(long)]
    voucher: Option<String>,
    /// Reference number of the sale that is refunded.
    #[arg(long)]
    rrn: Option<String>,
    /// Sell to the buyer whose code was scanned: nineteen digits, from `irontill wallet code`.
    #[arg(long, conflicts_with_all = ["show_qr"])]
    qr: Option<String>,
    /// Show a code for the buyer to scan, as text, and wait; `irontill wallet pay CODE` pays it.
    #[arg(long)]
    show_qr: bool,
    /// Let this demo wallet do the buyer's part: show a fresh code that is scanned, or pay the code that is shown.
    #[arg(long)]
    wallet: Option<u32>,
    /// The cashier stops waiting for the buyer after so many seconds.
    #[arg(long)]
    cancel_after_s: Option<u64>,
    /// Voucher code (付款凭证号) of the QR payment that is refunded.
    #[arg(long)]
    voucher_code: Option<String>,
    /// File with the signature: JBIG (ITU-T T.82), one plane, at most 999 bytes.
    #[arg(long)]
    image: Option<PathBuf>,
    /// What is fetched.
    #[arg(long, value_enum, default_value_t = Set::Terminal)]
    set: Set,
    /// Test card; `irontill card list` shows them.
    #[arg(long, default_value = "unionpay-credit")]
    card: String,
    /// What the cardholder types. Without it the cardholder presses cancel.
    #[arg(long)]
    pin: Option<String>,
    /// Folder of the system; without it a private one lives as long as the payment.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Use the card in a real PC/SC reader (its name or a part of it; `any` for the first). Needs the `pcsc` feature.
    #[arg(long)]
    reader: Option<String>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// What a terminal shows, on standard error.
pub struct Console;

impl Observer for Console {
    fn see(&mut self, progress: Progress<'_>) {
        if let Progress::Screen(screen) = progress {
            let text = screen.text();
            eprintln!("  {} / {}", text.zh, text.en);
            if let Screen::ConfirmDuplicate { receipt, .. } = screen {
                eprintln!("{}", receipt.render(RECEIPT_COLUMNS));
            }
        }
    }
}

/// What is to be done once the system runs.
enum Planned {
    Command(OperatorCommand),
    /// A code of this wallet is scanned, as soon as it has given one.
    ScanOf(WalletNumber, Amount),
}

/// Whoever stands at the till: sees the screen, lets the demo's buyer pay what is shown, loses patience.
struct Watcher {
    /// Only the code to show is printed: standard output is for the result.
    quiet: bool,
    shown: Option<PaymentCode>,
    buyer: Option<(WalletDesk, WalletNumber)>,
    cancel_at: Option<Instant>,
}

impl Observer for Watcher {
    fn see(&mut self, progress: Progress<'_>) {
        if let Progress::Screen(Screen::AwaitingPayer { code: Some(code), .. }) = &progress
            && self.shown.replace(*code) != Some(*code)
        {
            eprintln!("QR {}", code.expose());
            if let Some((desk, wallet)) = &mut self.buyer {
                match desk.pay(code, *wallet) {
                    Ok(_) => eprintln!("  wallet {wallet} pays it"),
                    Err(refusal) => eprintln!("  wallet {wallet} does not pay it: {refusal}"),
                }
            }
        }
        if !self.quiet {
            Console.see(progress);
        }
    }

    fn cancels(&mut self) -> bool {
        let due = self.cancel_at.is_some_and(|at| Instant::now() >= at);
        if due {
            self.cancel_at = None;
        }
        due
    }
}

impl Pay {
    /// Pays.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let planned = self.plan()?;
        let profile = profile(&self.card)?;
        let system = match &self.data {
            Some(path) => System::attach_or_start(path)?,
            None => System::start_private()?,
        };
        let command = match planned {
            Planned::Command(command) => command,
            Planned::ScanOf(wallet, amount) => {
                let code = wallet::fresh_code(&mut wallet::desk(&system.folder)?, wallet)?;
                OperatorCommand::QrSale { amount, code }
            }
        };
        let reader = match &self.reader {
            Some(name) => pcsc_reader(name)?,
            None => {
                let state = self.data.as_ref().map(|_| system.folder.card_state(&self.card));
                Box::new(LabReader::new(profile, state.as_deref())?)
            }
        };
        let side = CardSide::new(reader, self.pin.as_deref())?;
        let mut terminal = TillPoint::demo(&system.folder)?.open(&system.folder, &system.address, side)?;
        let mut watcher = self.watcher(&system.folder)?;
        let completion = terminal.pay(command, REVERSAL_PATIENCE, &mut watcher)?;
        if self.json {
            println!("{}", to_json(&completion));
        } else {
            print_completion(&completion);
        }
        // A notice that waits for the host's word is decided: it is sent until it is answered.
        let good = [OutcomeStatus::Approved, OutcomeStatus::Done, OutcomeStatus::Queued];
        Ok(Verdict::of(good.contains(&completion.outcome.status)))
    }

    /// What can be wrong is said before a system is started.
    fn plan(&self) -> anyhow::Result<Planned> {
        let wallet = self.wallet.map(wallet::number).transpose()?;
        let by_code = self.qr.is_some() || self.show_qr || wallet.is_some();
        if by_code && self.transaction != Kind::Sale {
            return Err(Misuse("--qr, --show-qr and --wallet go with a sale".to_owned()).into());
        }
        Ok(match (&self.qr, self.show_qr, wallet) {
            (Some(code), _, _) => {
                Planned::Command(OperatorCommand::QrSale { amount: self.amount()?, code: wallet::parse_code(code)? })
            }
            (None, true, _) => Planned::Command(OperatorCommand::QrOrder { amount: self.amount()? }),
            (None, false, Some(wallet)) => Planned::ScanOf(wallet, self.amount()?),
            (None, false, None) => Planned::Command(self.command()?),
        })
    }

    fn watcher(&self, folder: &Folder) -> anyhow::Result<Watcher> {
        let buyer = match self.wallet.filter(|_| self.show_qr) {
            Some(number) => Some((wallet::desk(folder)?, wallet::number(number)?)),
            None => None,
        };
        let cancel_at = self.cancel_after_s.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Ok(Watcher { quiet: self.json, shown: None, buyer, cancel_at })
    }

    fn command(&self) -> anyhow::Result<OperatorCommand> {
        Ok(match self.transaction {
            Kind::Sale => OperatorCommand::Sale { amount: self.amount()? },
            Kind::Instalments => {
                OperatorCommand::SellByInstalments { amount: self.amount()?, count: self.instalments()? }
            }
            Kind::Tip => OperatorCommand::Tip { stan: self.voucher()?, tip: money("--tip", self.tip.as_deref())? },
            Kind::Void => OperatorCommand::Void { stan: self.voucher()? },
            Kind::Refund if self.voucher_code.is_some() => OperatorCommand::QrRefund {
                amount: self.amount()?,
                voucher_code: self.voucher_code.clone().unwrap_or_default(),
                original_date: self.date()?,
            },
            Kind::Refund => OperatorCommand::Refund {
                amount: self.amount()?,
                original_rrn: self.rrn()?,
                original_date: self.date()?,
            },
            Kind::Balance => OperatorCommand::Balance,
            Kind::Settle => OperatorCommand::Settle,
            Kind::PreAuth => OperatorCommand::PreAuthorise { amount: self.amount()? },
            Kind::PreAuthVoid => {
                OperatorCommand::VoidPreAuthorisation { amount: self.amount()?, authorisation: self.authorisation()? }
            }
            Kind::Complete => self.completion(CompletionForm::Request)?,
            Kind::CompleteNotice => self.completion(CompletionForm::Notice)?,
            Kind::CompleteVoid => OperatorCommand::VoidCompletion { stan: self.voucher()? },
            Kind::Sign => OperatorCommand::Sign { stan: self.voucher()?, image: self.image()? },
            Kind::Download => OperatorCommand::Download { set: self.set.into() },
            Kind::ReportStatus => OperatorCommand::ReportStatus,
        })
    }

    fn completion(&self, form: CompletionForm) -> anyhow::Result<OperatorCommand> {
        Ok(OperatorCommand::Complete { amount: self.amount()?, authorisation: self.authorisation()?, form })
    }

    fn amount(&self) -> Result<Amount, Misuse> {
        money("--amount", self.amount.as_deref())
    }

    fn instalments(&self) -> Result<u8, Misuse> {
        self.instalments.ok_or_else(|| Misuse("--instalments is needed".to_owned()))
    }

    fn authorisation(&self) -> Result<AuthorisationReference, Misuse> {
        let text = self.authorisation_code.as_deref();
        let text = text.ok_or_else(|| Misuse("--authorisation-code is needed: it stands on the slip".to_owned()))?;
        let code = AuthorisationCode::parse(text).map_err(|cause| Misuse(format!("--authorisation-code: {cause}")))?;
        Ok(AuthorisationReference { code, date: self.date()? })
    }

    fn date(&self) -> Result<LocalDate, Misuse> {
        match &self.date {
            Some(text) => {
                LocalDate::parse_yyyymmdd(&text.replace('-', "")).map_err(|cause| Misuse(format!("--date: {cause}")))
            }
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                Ok(CivilTime::from_unix_ms(now_ms, CivilTime::CHINA_OFFSET_MINUTES).date)
            }
        }
    }

    fn rrn(&self) -> Result<Rrn, Misuse> {
        let text = self.rrn.as_deref().ok_or_else(|| Misuse("--rrn is needed: it stands on the slip".to_owned()))?;
        Rrn::parse(text).map_err(|cause| Misuse(format!("--rrn: {cause}")))
    }

    fn image(&self) -> anyhow::Result<Vec<u8>> {
        let path =
            self.image.as_ref().ok_or_else(|| Misuse("--image is needed: a file with the signature".to_owned()))?;
        Ok(std::fs::read(path).map_err(|cause| Misuse(format!("--image {}: {cause}", path.display())))?)
    }

    fn voucher(&self) -> Result<Stan, Misuse> {
        let text = self.voucher.as_deref().ok_or_else(|| Misuse("--voucher is needed".to_owned()))?;
        let number = text.parse().ok().and_then(Stan::new);
        number.ok_or_else(|| Misuse("--voucher: a number from 1 to 999999".to_owned()))
    }
}

/// A sum of money above zero.
fn money(option: &str, text: Option<&str>) -> Result<Amount, Misuse> {
    let text = text.ok_or_else(|| Misuse(format!("{option} is needed")))?;
    let amount = Amount::parse(text, Currency::CNY).map_err(|cause| Misuse(format!("{option}: {cause}")))?;
    if amount.minor() == 0 {
        return Err(Misuse(format!("{option}: nothing to pay")));
    }
    Ok(amount)
}

#[cfg(feature = "pcsc")]
fn pcsc_reader(name: &str) -> anyhow::Result<Box<dyn Reader + Send>> {
    let name = Some(name).filter(|name| *name != "any");
    let mut reader = reader::PcscReader::open(name)?;
    let found = reader.wait_for_card(true, Duration::from_secs(30))?;
    anyhow::ensure!(found, "no card in {} after 30 seconds", reader.name());
    Ok(Box::new(reader))
}

#[cfg(not(feature = "pcsc"))]
fn pcsc_reader(_name: &str) -> anyhow::Result<Box<dyn Reader + Send>> {
    Err(Misuse("--reader: this build has no PC/SC; build with --features pcsc".to_owned()).into())
}

/// The stable JSON of a payment.
pub fn to_json(completion: &Completion) -> Value {
    let outcome = &completion.outcome;
    let text = |value: Option<String>| value.map_or(Value::Null, Value::from);
    json!({
        "status": outcome.status.name(),
        "response_code": text(outcome.response_code.map(|code| code.text().to_owned())),
        "rrn": text(outcome.rrn.map(|rrn| rrn.text().to_owned())),
        "stan": text(outcome.stan.map(|stan| stan.to_string())),
        "batch": text(outcome.batch.map(|batch| batch.to_string())),
        "authorisation_code": text(outcome.authorisation_code.map(|code| code.text().to_owned())),
        "amount": text(outcome.amount.map(|amount| amount.to_string())),
        "voucher_code": text(outcome.voucher_code.clone()),
        "card": text(outcome.card.map(|card| card.text().to_owned())),
        "balance_minor": outcome.balance.map_or(Value::Null, |balance| balance.minor.into()),
        "message": { "zh": outcome.message.zh, "en": outcome.message.en },
        "upload": text(upload(completion).map(|upload| upload.status.name().to_owned())),
        "receipt": receipt_text(completion),
    })
}

/// The slips of a payment as text; `null` without any.
fn receipt_text(completion: &Completion) -> Value {
    if completion.receipts.is_empty() {
        return Value::Null;
    }
    let slips: Vec<String> = completion.receipts.iter().map(|receipt| receipt.render(RECEIPT_COLUMNS)).collect();
    slips.join("\n").into()
}

/// A payment for a person.
pub fn print_completion(completion: &Completion) {
    for receipt in &completion.receipts {
        println!("\n{}", receipt.render(RECEIPT_COLUMNS));
    }
    println!("{}", summary(&completion.outcome));
    if let Some(upload) = upload(completion) {
        println!("upload {}", summary(upload));
    }
}

/// What the host has said to a sale that was approved without it, if it has said anything yet.
fn upload(completion: &Completion) -> Option<&TransactionOutcome> {
    let of_sale = |other: &&TransactionOutcome| {
        other.operation == Operation::OfflineUpload && other.stan == completion.outcome.stan
    };
    completion.others.iter().find(of_sale)
}

fn summary(outcome: &TransactionOutcome) -> String {
    let code = outcome.response_code.map_or_else(String::new, |code| format!(" {code}"));
    let balance = outcome.balance.map_or_else(String::new, |balance| format!(" ({} minor units)", balance.minor));
    format!("{}{code}: {} / {}{balance}", outcome.status.name(), outcome.message.zh, outcome.message.en)
}
