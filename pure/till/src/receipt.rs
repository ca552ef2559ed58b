//! Receipts as data (unionpay-pos §8.6), and as plain text of 32 or 48 columns.

use crate::config::Config;
use crate::settlement::{GroupTotals, SettlementReport};
use crate::transaction::{Side, Transaction, TransactionKind};
use types::{Amount, Currency, MerchantId, Stan, TerminalId, TruncatedPan};

/// Who keeps the slip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copy {
    /// 商户存根.
    Merchant,
    /// 持卡人存根.
    Cardholder,
    /// 银行存根.
    Bank,
}

impl Copy {
    /// In printing order.
    pub const ALL: [Copy; 3] = [Copy::Merchant, Copy::Cardholder, Copy::Bank];

    fn label(self) -> &'static str {
        match self {
            Copy::Merchant => "商户存根 MERCHANT COPY",
            Copy::Cardholder => "持卡人存根 CARDHOLDER COPY",
            Copy::Bank => "银行存根 BANK COPY",
        }
    }
}

/// Something to print.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// 签购单.
    Payment(Box<PaymentReceipt>),
    /// 结算总计单.
    Settlement(Box<SettlementReceipt>),
    /// 冲正失败: the till is parked.
    ReversalPending(Box<TransactionSlip>),
    /// 上送后被平台拒绝: the host refused a sale that was approved without it.
    UploadRefused(Box<TransactionSlip>),
    /// 电子签名未上送: paper must be signed.
    SignatureLeft(Box<SignatureSlip>),
}

impl Receipt {
    /// As plain text; wide characters count two columns.
    pub fn render(&self, columns: usize) -> String {
        let columns = columns.max(COLUMNS_MIN);
        match self {
            Receipt::Payment(receipt) => receipt.render(columns),
            Receipt::Settlement(receipt) => receipt.render(columns),
            Receipt::ReversalPending(slip) => slip.render(columns, &REVERSAL_PENDING),
            Receipt::UploadRefused(slip) => slip.render(columns, &UPLOAD_REFUSED),
            Receipt::SignatureLeft(slip) => slip.render(columns),
        }
    }
}

/// How the cardholder's consent stands on the slip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Consent {
    /// A line to sign.
    Signature,
    /// A line that says why there is none (§8.5).
    Exempt(String),
    /// Nothing: not the merchant's copy.
    None,
}

/// One payment slip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaymentReceipt {
    /// Who keeps it.
    pub copy: Copy,
    /// Whether it is a copy printed again.
    pub duplicated: bool,
    /// Merchant name.
    pub merchant_name: String,
    /// F42.
    pub merchant: MerchantId,
    /// F41.
    pub terminal: TerminalId,
    /// Operator number.
    pub operator: String,
    /// Second half of F44.
    pub acquirer: String,
    /// First half of F44.
    pub issuer: String,
    /// Card number, or the code that was scanned, as it may be shown; nothing if the buyer scanned.
    pub card: Option<TruncatedPan>,
    /// 付款凭证号 of a QR payment.
    pub voucher_code: Option<String>,
    /// `S` swiped, `I` inserted, `C` contactless, `M` typed, `Q` by QR code.
    pub entry_letter: char,
    /// F63.1.
    pub organisation: String,
    /// Transaction type in both languages.
    pub title: &'static str,
    /// 60.2.
    pub batch: String,
    /// F11.
    pub stan: Stan,
    /// F38.
    pub authorisation_code: Option<String>,
    /// F37.
    pub rrn: Option<String>,
    /// `YYYY-MM-DD hh:mm:ss`.
    pub date_time: String,
    /// Amount.
    pub amount: Amount,
    /// The part of it that is a tip.
    pub tip: Option<Amount>,
    /// Whether money goes back: printed with a minus sign.
    pub negative: bool,
    /// Remarks: original transaction, chip data, texts of the host.
    pub remarks: Vec<String>,
    /// Signature or exemption.
    pub consent: Consent,
    /// Footer lines.
    pub footer: Vec<String>,
}

impl PaymentReceipt {
    pub(crate) fn new(config: &Config, transaction: &Transaction, copy: Copy, duplicated: bool) -> Self {
        let (issuer, acquirer) = institutions(transaction);
        Self {
            copy,
            duplicated,
            merchant_name: config.merchant_name.clone(),
            merchant: config.merchant,
            terminal: config.terminal,
            operator: config.operator.clone(),
            acquirer,
            issuer,
            card: shown_payer(transaction),
            voucher_code: transaction.voucher_code(),
            entry_letter: entry_letter(&transaction.card.entry_mode),
            organisation: transaction.organisation().to_owned(),
            title: title(transaction.kind),
            batch: transaction.batch.to_string(),
            stan: transaction.stan,
            authorisation_code: transaction.authorisation_code().map(|code| code.to_string()),
            rrn: transaction.rrn().map(|rrn| rrn.to_string()),
            date_time: date_time(transaction),
            amount: transaction.amount,
            tip: transaction.tip(),
            negative: is_negative(transaction.kind),
            remarks: remarks(transaction, duplicated),
            consent: consent(config, transaction, copy),
            footer: footer(config),
        }
    }

    fn render(&self, columns: usize) -> String {
        let mut page = Page::new(columns);
        page.centre("签购单 POS RECEIPT");
        page.centre(self.copy.label());
        page.rule();
        page.wrapped(&format!("商户名称 MERCHANT NAME: {}", self.merchant_name));
        page.pair("商户编号 MERCHANT NO", self.merchant.text());
        page.pair("终端编号 TERMINAL NO", self.terminal.text());
        page.pair("操作员号 OPERATOR NO", &self.operator);
        page.pair("收单行 ACQUIRER", &self.acquirer);
        page.pair("发卡行 ISSUER", &self.issuer);
        self.payer_line(&mut page);
        page.pair("卡组织 CARD ORG", &self.organisation);
        page.rule();
        page.pair("交易类型 TRANS TYPE", self.title);
        page.pair("批次号 BATCH NO", &self.batch);
        page.pair("凭证号 VOUCHER NO", &self.stan.to_string());
        page.pair("授权码 AUTH NO", self.authorisation_code.as_deref().unwrap_or(""));
        page.pair("参考号 REFER NO", self.rrn.as_deref().unwrap_or(""));
        if let Some(voucher) = &self.voucher_code {
            page.pair("付款凭证号 PAY VOUCHER", voucher);
        }
        page.pair("日期/时间 DATE/TIME", &self.date_time);
        self.amounts(&mut page);
        page.rule();
        page.line("备注 REFERENCE:");
        self.remarks.iter().for_each(|remark| page.wrapped(remark));
        self.consent_block(&mut page);
        page.rule();
        self.footer.iter().for_each(|line| page.wrapped(line));
        page.text
    }

    fn amounts(&self, page: &mut Page) {
        let sale = self.tip.and_then(|tip| {
            let minor = self.amount.minor().checked_sub(tip.minor())?;
            Some((Amount::from_minor(minor, self.amount.currency())?, tip))
        });
        let Some((sale, tip)) = sale else {
            return page.pair("交易金额 AMOUNT", &money(self.amount, self.negative));
        };
        page.pair("消费金额 AMOUNT", &money(sale, false));
        page.pair("小费 TIPS", &money(tip, false));
        page.pair("总计 TOTAL", &money(self.amount, false));
    }

    fn payer_line(&self, page: &mut Page) {
        let label = if self.entry_letter == 'Q' { "付款码 PAYMENT CODE" } else { "卡号 CARD NO" };
        let shown = self.card.map_or_else(String::new, |card| format!("{card} "));
        page.pair(label, &format!("{shown}/{}", self.entry_letter));
    }

    fn consent_block(&self, page: &mut Page) {
        match &self.consent {
            Consent::None => return,
            Consent::Exempt(line) => page.wrapped(line),
            Consent::Signature => {
                page.line("持卡人签名 CARDHOLDER SIGNATURE:");
                page.line("");
                page.line("");
            }
        }
        page.wrapped("本人确认以上交易，同意将其记入本卡账户");
        page.wrapped("I ACKNOWLEDGE SATISFACTORY RECEIPT OF RELATIVE GOODS/SERVICES");
    }
}

fn title(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::Sale => "消费(SALE)",
        TransactionKind::Void => "消费撤销(VOID)",
        TransactionKind::Refund => "退货(REFUND)",
        TransactionKind::Balance => "余额查询(BALANCE)",
        TransactionKind::PreAuthorisation => "预授权(AUTH)",
        TransactionKind::PreAuthorisationVoid => "预授权撤销(CANCEL)",
        TransactionKind::Completion => "预授权完成(请求)(AUTH COMPLETE)",
        TransactionKind::CompletionNotice => "预授权完成(通知)(AUTH SETTLEMENT)",
        TransactionKind::CompletionVoid => "预授权完成撤销(COMPLETE VOID)",
        TransactionKind::OfflineSale => "脱机消费(OFFLINE SALE)",
        TransactionKind::TipAdjustment => "结算调整(ADJUST)",
        TransactionKind::Instalment => "分期消费(INSTALMENT)",
        TransactionKind::InstalmentVoid => "分期消费撤销(INSTALMENT VOID)",
        TransactionKind::QrSale | TransactionKind::QrOrder => "扫码消费(QR SALE)",
        TransactionKind::QrVoid => "扫码撤销(QR VOID)",
        TransactionKind::QrRefund => "扫码退货(QR REFUND)",
    }
}

fn shown_payer(transaction: &Transaction) -> Option<TruncatedPan> {
    if transaction.kind.is_qr() { transaction.scanned_code() } else { Some(transaction.card.truncated) }
}

/// Whether money goes back or is set free.
fn is_negative(kind: TransactionKind) -> bool {
    kind.side() == Some(Side::Credit) || kind == TransactionKind::PreAuthorisationVoid
}

/// F44: issuer, then acquirer, eleven characters each.
pub(crate) fn institutions(transaction: &Transaction) -> (String, String) {
    let field = transaction.response.as_ref().and_then(|response| response.additional_response.as_deref());
    let half = |range: core::ops::Range<usize>| {
        let text = field.unwrap_or_default();
        text.get(range.start.min(text.len())..range.end.min(text.len())).unwrap_or_default().trim().to_owned()
    };
    (half(0..11), half(11..22))
}

fn entry_letter(entry_mode: &str) -> char {
    match entry_mode.get(..2) {
        Some("05") => 'I',
        Some("07" | "96" | "98") => 'C',
        Some("01") => 'M',
        Some("03") => 'Q',
        _ => 'S',
    }
}

/// The host's time of the transaction with the year that F13 leaves out; the till's own if the host gave none.
pub(crate) fn date_time(transaction: &Transaction) -> String {
    let response = transaction.response.as_ref();
    let date = response.and_then(|response| response.local_date.as_deref()).filter(|date| is_digits(date, 4));
    let time = response.and_then(|response| response.local_time.as_deref()).filter(|time| is_digits(time, 6));
    match (date, time) {
        (Some(date), Some(time)) => {
            let year = year_of(transaction, date);
            format!("{year:04}-{}-{} {}:{}:{}", &date[..2], &date[2..], &time[..2], &time[2..4], &time[4..])
        }
        _ => transaction.at.to_string(),
    }
}

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Around New Year host and till may stand in different years.
fn year_of(transaction: &Transaction, mmdd: &str) -> u16 {
    let date = transaction.at.date;
    match (date.month(), &mmdd[..2]) {
        (12, "01") => date.year() + 1,
        (1, "12") => date.year() - 1,
        _ => date.year(),
    }
}

fn remarks(transaction: &Transaction, duplicated: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    if duplicated {
        remarks.push("重打印凭证 DUPLICATED".to_owned());
    }
    if let Some(original) = &transaction.original {
        remarks.extend(original.stan.map(|stan| format!("原凭证号 ORIGINAL VOUCHER: {stan}")));
        remarks.extend(original.rrn.map(|rrn| format!("原参考号 ORIGINAL REFER NO: {rrn}")));
        let family = transaction.kind.of_authorisation_family();
        let code = original.authorisation_code.filter(|_| family);
        remarks.extend(code.map(|code| format!("原授权码 ORIGINAL AUTH NO: {code}")));
        let refund = matches!(transaction.kind, TransactionKind::Refund | TransactionKind::QrRefund);
        if refund || transaction.kind.ends_authorisation() {
            remarks.push(format!("原交易日期 ORIGINAL DATE: {}", original.date));
        }
    }
    remarks.extend(transaction.voided_by.map(|stan| match transaction.kind {
        TransactionKind::PreAuthorisation => format!("已结束,凭证号 ENDED BY: {stan}"),
        _ => format!("已撤销,撤销凭证号 VOIDED BY: {stan}"),
    }));
    remarks.extend(instalment_remark(transaction));
    chip_remarks(transaction, &mut remarks);
    remarks.extend(host_text(transaction));
    remarks
}

/// `分期 INSTALMENTS: 12 × 8.33, first 8.37`: F62 of the answer, else the number alone.
fn instalment_remark(transaction: &Transaction) -> Option<String> {
    let count = transaction.instalments()?;
    let answered = transaction.response.as_ref().and_then(|response| response.private_62.as_deref());
    let digits = answered.and_then(|field| core::str::from_utf8(field).ok());
    let amount = |range: core::ops::Range<usize>| {
        let minor = digits?.get(range)?.parse().ok()?;
        Amount::from_minor(minor, transaction.amount.currency()).map(Amount::decimal)
    };
    Some(match (amount(2..14), amount(14..26)) {
        (Some(first), Some(each)) => {
            format!("分期期数 INSTALMENTS: {count}, 首期 FIRST {first}, 每期 EACH {each}")
        }
        _ => format!("分期期数 INSTALMENTS: {count}"),
    })
}

fn chip_remarks(transaction: &Transaction, remarks: &mut Vec<String>) {
    let chip = &transaction.chip;
    if !chip.cryptogram.is_empty() {
        remarks.push(format!("{}: {}", chip.cryptogram_kind, chip.cryptogram));
        remarks.push(format!("TVR: {} TSI: {}", chip.tvr, chip.tsi));
        remarks.push(format!("ATC: {:04X}", chip.atc));
    }
    if !chip.aid.is_empty() {
        remarks.push(format!("AID: {}", chip.aid));
        remarks.push(format!("APP LABEL: {}", chip.label));
    }
}

/// Texts of F63.2 that are plain ASCII; GBK is shown as `?` (D42).
fn host_text(transaction: &Transaction) -> Option<String> {
    let field = transaction.response.as_ref()?.private_63.as_ref()?.get(3..)?;
    let shown = field.iter().map(|byte| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { '?' });
    let text: String = shown.collect::<String>().trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Only the merchant's copy carries the cardholder's consent.
fn consent(config: &Config, transaction: &Transaction, copy: Copy) -> Consent {
    if copy != Copy::Merchant || transaction.kind == TransactionKind::Balance {
        return Consent::None;
    }
    if transaction.kind.is_qr() {
        return Consent::Exempt("扫码交易，免签名 QR PAYMENT, NO SIGNATURE REQUIRED".to_owned());
    }
    let card = &transaction.card;
    if card.signature || !transaction.kind.runs_chip() {
        return Consent::Signature;
    }
    let limit = Amount::from_minor(config.receipt.exemption_limit_minor, config.currency)
        .map_or_else(String::new, Amount::decimal);
    Consent::Exempt(match (transaction.contactless(), card.pin_entered) {
        (true, false) => format!("交易金额未超{limit}元，免密免签 NO PIN, NO SIGNATURE REQUIRED"),
        (true, true) => format!("交易金额未超{limit}元，免签名 NO SIGNATURE REQUIRED"),
        (false, true) => "已输入密码，无需签名 PIN ENTERED, NO SIGNATURE REQUIRED".to_owned(),
        (false, false) if transaction.kind.is_paid_offline() => {
            "电子现金交易，无需签名 OFFLINE, NO SIGNATURE REQUIRED".to_owned()
        }
        (false, false) => "无需签名 NO SIGNATURE REQUIRED".to_owned(),
    })
}

fn footer(config: &Config) -> Vec<String> {
    let hotline = Some(&config.receipt.hotline).filter(|hotline| !hotline.is_empty());
    let mut lines: Vec<String> = hotline.map(|hotline| format!("服务热线 HOTLINE: {hotline}")).into_iter().collect();
    lines.push(config.receipt.software.clone());
    lines
}

/// `RMB 12.50`; other currencies by their code.
fn money(amount: Amount, negative: bool) -> String {
    let label = if amount.currency() == Currency::CNY { "RMB".to_owned() } else { amount.currency().label() };
    let sign = if negative { "-" } else { "" };
    format!("{label} {sign}{}", amount.decimal())
}

/// The slip of a settlement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettlementReceipt {
    /// Whether it is a copy printed again.
    pub duplicated: bool,
    /// Merchant name.
    pub merchant_name: String,
    /// F42.
    pub merchant: MerchantId,
    /// F41.
    pub terminal: TerminalId,
    /// Currency of the totals.
    pub currency: Currency,
    /// The finished settlement.
    pub report: SettlementReport,
}

impl SettlementReceipt {
    pub(crate) fn new(config: &Config, report: &SettlementReport, duplicated: bool) -> Self {
        Self {
            duplicated,
            merchant_name: config.merchant_name.clone(),
            merchant: config.merchant,
            terminal: config.terminal,
            currency: config.currency,
            report: report.clone(),
        }
    }

    fn render(&self, columns: usize) -> String {
        let report = &self.report;
        let mut page = Page::new(columns);
        page.centre("结算总计单 SETTLEMENT");
        page.rule();
        page.wrapped(&format!("商户名称 MERCHANT NAME: {}", self.merchant_name));
        page.pair("商户编号 MERCHANT NO", self.merchant.text());
        page.pair("终端编号 TERMINAL NO", self.terminal.text());
        page.pair("批次号 BATCH NO", &report.batch.to_string());
        page.pair("日期/时间 DATE/TIME", &report.at.to_string());
        page.rule();
        self.group(&mut page, "内卡 DOMESTIC", report.answer.domestic_code, &report.totals.domestic);
        self.group(&mut page, "外卡 FOREIGN", report.answer.foreign_code, &report.totals.foreign);
        page.rule();
        page.pair("上送笔数 UPLOADED", &report.acknowledged.to_string());
        let listed = |label: &str, stans: &[Stan]| (!stans.is_empty()).then(|| format!("{label}: {}", join(stans)));
        listed("人工处理 RESOLVED BY HAND", &report.resolved_by_hand).iter().for_each(|line| page.wrapped(line));
        listed("不属本批次 NOT IN THIS BATCH", &report.other_batches).iter().for_each(|line| page.wrapped(line));
        if self.duplicated {
            page.line("重打印凭证 DUPLICATED");
        }
        page.text
    }

    fn group(&self, page: &mut Page, name: &str, code: u8, totals: &GroupTotals) {
        let verdict = match code {
            1 => "对账平 BALANCED",
            2 => "对账不平 NOT BALANCED",
            _ => "对账出错 ERROR",
        };
        page.pair(name, verdict);
        let sum =
            |minor: u64| Amount::from_minor(minor, self.currency).map_or_else(|| minor.to_string(), Amount::decimal);
        page.pair("  借记 DEBIT", &format!("{} 笔 {}", totals.debit_count, sum(totals.debit_minor)));
        page.pair("  贷记 CREDIT", &format!("{} 笔 {}", totals.credit_count, sum(totals.credit_minor)));
    }
}

fn join(stans: &[Stan]) -> String {
    stans.iter().map(Stan::to_string).collect::<Vec<_>>().join(" ")
}

/// What heads and ends a slip about a matter that people must see to.
struct Matter {
    heading: &'static str,
    advice: [&'static str; 2],
}

const REVERSAL_PENDING: Matter = Matter {
    heading: "冲正失败 REVERSAL NOT ACKNOWLEDGED",
    advice: [
        "终端已停止交易并将继续自动冲正，请联系收单行",
        "No sales until the host acknowledges. The till keeps trying; call the acquirer.",
    ],
};

const UPLOAD_REFUSED: Matter = Matter {
    heading: "上送后被平台拒绝 UPLOAD REFUSED",
    advice: [
        "脱机交易未入账，请保留签购单并联系收单行",
        "This sale was approved without the host and is not paid to you. Keep the slip and call the acquirer.",
    ],
};

/// What the cashier hands on about a transaction that did not end as it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionSlip {
    /// Merchant name.
    pub merchant_name: String,
    /// F41.
    pub terminal: TerminalId,
    /// Batch.
    pub batch: String,
    /// The transaction.
    pub stan: Stan,
    /// The card, or the code that was scanned; nothing if the buyer scanned.
    pub card: Option<TruncatedPan>,
    /// Its amount.
    pub amount: Amount,
    /// When it was made.
    pub date_time: String,
}

impl TransactionSlip {
    pub(crate) fn new(config: &Config, transaction: &Transaction) -> Self {
        Self {
            merchant_name: config.merchant_name.clone(),
            terminal: config.terminal,
            batch: transaction.batch.to_string(),
            stan: transaction.stan,
            card: shown_payer(transaction),
            amount: transaction.amount,
            date_time: date_time(transaction),
        }
    }

    fn render(&self, columns: usize, matter: &Matter) -> String {
        let mut page = Page::new(columns);
        page.centre(matter.heading);
        page.rule();
        page.wrapped(&format!("商户名称 MERCHANT NAME: {}", self.merchant_name));
        page.pair("终端编号 TERMINAL NO", self.terminal.text());
        page.pair("批次号 BATCH NO", &self.batch);
        page.pair("凭证号 VOUCHER NO", &self.stan.to_string());
        page.pair("卡号 CARD NO", self.card.as_ref().map_or("", |card| card.text()));
        page.pair("日期/时间 DATE/TIME", &self.date_time);
        page.pair("交易金额 AMOUNT", &money(self.amount, false));
        page.rule();
        matter.advice.iter().for_each(|line| page.wrapped(line));
        page.text
    }
}

/// What the cashier reads when a batch closes without some of its signatures at the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureSlip {
    /// Merchant name.
    pub merchant_name: String,
    /// F41.
    pub terminal: TerminalId,
    /// Batch.
    pub batch: String,
    /// The payments whose paper slips must be signed.
    pub stans: Vec<Stan>,
}

impl SignatureSlip {
    fn render(&self, columns: usize) -> String {
        let mut page = Page::new(columns);
        page.centre("电子签名未上送 SIGNATURE NOT UPLOADED");
        page.rule();
        page.wrapped(&format!("商户名称 MERCHANT NAME: {}", self.merchant_name));
        page.pair("终端编号 TERMINAL NO", self.terminal.text());
        page.pair("批次号 BATCH NO", &self.batch);
        page.wrapped(&format!("凭证号 VOUCHER NO: {}", join(&self.stans)));
        page.rule();
        page.wrapped("以上交易的纸质签购单须由持卡人签名");
        page.wrapped("Not uploaded: the paper slips of these payments must be signed.");
        page.text
    }
}

/// Narrowest slip in columns.
const COLUMNS_MIN: usize = 24;

/// Lines of a slip of one width.
struct Page {
    columns: usize,
    text: String,
}

impl Page {
    fn new(columns: usize) -> Self {
        Self { columns, text: String::new() }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn rule(&mut self) {
        self.line(&"-".repeat(self.columns));
    }

    fn centre(&mut self, line: &str) {
        let margin = self.columns.saturating_sub(width(line)) / 2;
        self.line(&format!("{}{line}", " ".repeat(margin)));
    }

    /// Label on the left, value on the right; the value goes to its own line if both do not fit.
    fn pair(&mut self, label: &str, value: &str) {
        let taken = width(label) + 1 + width(value);
        if taken <= self.columns {
            let gap = " ".repeat(self.columns - taken + 1);
            return self.line(&format!("{label}{gap}{value}"));
        }
        self.line(label);
        let margin = self.columns.saturating_sub(width(value));
        self.line(&format!("{}{value}", " ".repeat(margin)));
    }

    /// Broken at the last space that fits, or anywhere if there is none.
    fn wrapped(&mut self, text: &str) {
        let mut rest = text;
        while width(rest) > self.columns {
            let (head, tail) = rest.split_at(break_point(rest, self.columns));
            self.line(head);
            rest = tail.trim_start();
        }
        self.line(rest);
    }
}

fn break_point(text: &str, columns: usize) -> usize {
    let mut used = 0;
    let mut fits = text.len();
    for (offset, character) in text.char_indices() {
        used += columns_of(character);
        if used > columns {
            fits = offset;
            break;
        }
    }
    match text[..fits].rfind(' ') {
        Some(space) if space > 0 => space,
        _ => fits.max(text.chars().next().map_or(1, char::len_utf8)),
    }
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Two for East Asian wide and fullwidth characters, one for others (Unicode Standard Annex 11, the blocks in use here).
fn columns_of(character: char) -> usize {
    match u32::from(character) {
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE4F => 2,
        0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1F64F | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_two() {
        assert_eq!(width("签购单 POS"), 10);
        let mut page = Page::new(24);
        page.wrapped("本人确认以上交易，同意将其记入本卡账户");
        page.wrapped("I ACKNOWLEDGE SATISFACTORY RECEIPT OF RELATIVE GOODS/SERVICES");
        page.pair("商户编号 MERCHANT NO", "123456789012345");
        assert!(page.text.lines().all(|line| width(line) <= 24), "{}", page.text);
        assert!(page.text.contains("I ACKNOWLEDGE\n"), "{}", page.text);
    }
}
