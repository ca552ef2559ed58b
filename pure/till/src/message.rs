//! The public fields of every message, as the dialect wants them (unionpay-pos §3), and what its answer must look like (§1.5).

use crate::config::Config;
use crate::download::DownloadStep;
use crate::qr;
use crate::settlement::{Settlement, UploadItem, UploadKind, UploadProgress};
use crate::signature;
use crate::state::State;
use crate::transaction::{PendingReversal, ScriptNotice, Transaction, TransactionKind};
use iso8583::unionpay::{
    CardClass, DeviceState, DownloadSet, IcUpload, IcUploadFailure, format_signature_elements, format_status,
};
use pedlink::{AccountPart, ChipData, CustomData, Expected, FrameTemplate};
use types::{Amount, AuthorisationCode, BatchNumber, ResponseCode, Rrn, Stan};

/// A message ready for the PED.
#[derive(Debug)]
pub(crate) struct Request {
    pub template: FrameTemplate,
    pub account: AccountPart,
    pub expected: Expected,
}

/// F3 of an order that the buyer scans, and of a query (docs/wire/qr-payments.md).
const QR_ORDER: &str = "710000";
const QR_QUERY: &str = "730000";
/// F60.1 of a query.
const QR_QUERY_TYPE: &str = "60";

/// Network management codes (F60.3).
pub(crate) mod network {
    pub const SIGN_OFF: &str = "002";
    pub const ECHO: &str = "301";
    pub const STATUS_UPLOAD: &str = "362";
    pub const SIGNATURE: &str = "800";
    pub const SETTLEMENT: &str = "201";
    pub const CERTIFICATE_BALANCED: &str = "203";
    pub const CERTIFICATE_NOT_BALANCED: &str = "205";
    pub const FAILED_CHIP_BALANCED: &str = "204";
    pub const FAILED_CHIP_NOT_BALANCED: &str = "206";
    pub const END_BALANCED: &str = "207";
    pub const END_NOT_BALANCED: &str = "202";
    pub const SCRIPT_NOTICE: &str = "951";
}

fn blank(config: &Config, header: &str, mti: &str, private_60: String) -> FrameTemplate {
    FrameTemplate {
        tpdu: config.tpdu.clone(),
        header: header.to_owned(),
        mti: mti.to_owned(),
        processing_code: None,
        amount: None,
        currency: None,
        stan: None,
        condition_code: None,
        acquirer_id: None,
        rrn: None,
        authorisation_code: None,
        response_code: None,
        terminal: config.terminal,
        merchant: config.merchant,
        additional_private: None,
        private_60,
        original_61: None,
        private_62: None,
        private_63: None,
        with_mac: false,
        entry_mode: None,
        custom: None,
    }
}

fn response_mti(mti: &str) -> String {
    mti.parse::<u16>().map_or_else(|_| mti.to_owned(), |number| format!("{:04}", number.saturating_add(10)))
}

fn expect(template: &FrameTemplate, session: Option<u32>) -> Expected {
    Expected {
        mti: response_mti(&template.mti),
        processing_code: template.processing_code.clone(),
        amount: template.amount,
        amount_may_differ: false,
        stan: template.stan,
        terminal: template.terminal,
        merchant: template.merchant,
        mac_required: template.with_mac,
        session,
    }
}

fn without_account(template: FrameTemplate) -> Request {
    Request { expected: expect(&template, None), account: AccountPart::None, template }
}

fn management(config: &Config, state: &State, mti: &str, code: &str, stan: Option<Stan>) -> FrameTemplate {
    let private_60 = format!("00{}{code}", state.batch);
    FrameTemplate { stan, ..blank(config, &config.header_management, mti, private_60) }
}

fn operator_field(config: &Config) -> Option<Vec<u8>> {
    Some(format!("{:<3.3}", config.operator).into_bytes())
}

/// 0800 with 003 or 004.
pub(crate) fn sign_in(config: &Config, state: &State, stan: Stan) -> Request {
    let mut template = management(config, state, "0800", config.suite.network_code(), Some(stan));
    template.private_62 =
        config.serial.as_ref().map(|serial| format!("Sequence No{:02}{serial}", serial.len()).into_bytes());
    template.private_63 = operator_field(config);
    without_account(template)
}

/// 0820 with 002.
pub(crate) fn sign_off(config: &Config, state: &State, stan: Stan) -> Request {
    without_account(management(config, state, "0820", network::SIGN_OFF, Some(stan)))
}

/// 0820 with 301. It carries no F11 (D11).
pub(crate) fn echo(config: &Config, state: &State) -> Request {
    without_account(management(config, state, "0820", network::ECHO, None))
}

/// One message of a parameter download; without F11 (D11).
pub(crate) fn download(
    config: &Config,
    state: &State,
    set: DownloadSet,
    step: DownloadStep,
    body: Option<Vec<u8>>,
) -> Request {
    let (mti, code) = match (step, set.status_code()) {
        (DownloadStep::Status, Some(code)) => ("0820", code),
        (DownloadStep::End, _) => ("0800", set.end_code()),
        _ => ("0800", set.download_code()),
    };
    let template = management(config, state, mti, &code.to_string(), None);
    without_account(FrameTemplate { private_62: body, ..template })
}

/// 0820 with 362: the devices, the parameters in force, and how many notices wait. The till hears of a broken PIN pad or reader
/// by its silence, and then sends nothing; of the others it knows nothing.
pub(crate) fn status_upload(config: &Config, state: &State) -> Request {
    let notices = u8::try_from(state.queued_notices().count()).unwrap_or(u8::MAX);
    let template = management(config, state, "0820", network::STATUS_UPLOAD, None);
    let private_62 = format_status([DeviceState::Normal; 5], &config.reported(), notices);
    without_account(FrameTemplate { private_62, ..template })
}

/// 0820 with 07/800: the image under the trace number of the transaction that was signed (§6.1).
pub(crate) fn signature(config: &Config, of: &Transaction, image: &[u8]) -> Request {
    let template = FrameTemplate {
        amount: Some(of.amount),
        stan: Some(of.stan),
        rrn: of.rrn(),
        private_62: Some(image.to_vec()),
        with_mac: true,
        ..blank(config, &config.header_card, "0820", format!("07{}{}", of.batch, network::SIGNATURE))
    };
    let account = AccountPart::Signature {
        blob: of.final_blob.clone().or_else(|| of.blob.clone()),
        settlement_date: of.response.as_ref().and_then(|response| response.settlement_date.clone()),
        elements: format_signature_elements(&signature::elements(config, of)),
    };
    Request { expected: expect(&template, None), template, account }
}

/// F60 of a card message: 13 digits, best capability, chip in order (D9, D10).
fn financial_60(type_code: &str, batch: BatchNumber) -> String {
    format!("{type_code}{batch}00060")
}

/// What a payment is made of before it is sent.
pub(crate) struct Payment {
    pub kind: TransactionKind,
    pub amount: Amount,
    pub stan: Stan,
    pub batch: BatchNumber,
    pub organisation: String,
    /// Digits of F61.
    pub original_61: Option<String>,
    pub rrn: Option<Rrn>,
    pub authorisation_code: Option<AuthorisationCode>,
    /// F48 of an adjustment: the tip in it.
    pub tip: Option<Amount>,
    /// F62 of an instalment sale: how many.
    pub instalments: Option<u8>,
    /// F59.
    pub custom: Option<CustomData>,
}

/// The public fields of a payment (§3.2 columns SAL, BAL, VOI, REF, PA, PAV, PC, PCN, PCV, OFS, ADJ).
pub(crate) fn payment(config: &Config, payment: &Payment) -> FrameTemplate {
    let (mti, processing_code, type_code) = match payment.kind {
        TransactionKind::Sale => ("0200", "000000", "22"),
        TransactionKind::Balance => ("0200", "310000", "01"),
        TransactionKind::Void => ("0200", "200000", "23"),
        TransactionKind::Refund => ("0220", "200000", "25"),
        TransactionKind::PreAuthorisation => ("0100", "030000", "10"),
        TransactionKind::PreAuthorisationVoid => ("0100", "200000", "11"),
        TransactionKind::Completion => ("0200", "000000", "20"),
        TransactionKind::CompletionVoid => ("0200", "200000", "21"),
        TransactionKind::CompletionNotice => ("0220", "000000", "24"),
        TransactionKind::OfflineSale => ("0200", "000000", "36"),
        TransactionKind::TipAdjustment => ("0220", "000000", "34"),
        TransactionKind::Instalment => ("0200", "000000", "22"),
        TransactionKind::InstalmentVoid => ("0200", "200000", "23"),
        TransactionKind::QrSale => ("0200", "000000", "22"),
        TransactionKind::QrOrder => ("0200", QR_ORDER, "22"),
        TransactionKind::QrVoid => ("0200", "200000", "23"),
        TransactionKind::QrRefund => ("0220", "200000", "25"),
    };
    let condition = match payment.kind {
        TransactionKind::Instalment | TransactionKind::InstalmentVoid => "64",
        kind if kind.of_authorisation_family() => "06",
        _ => "00",
    };
    let organisation = || format!("{:<3.3}", payment.organisation).into_bytes();
    FrameTemplate {
        processing_code: Some(processing_code.to_owned()),
        amount: (payment.kind != TransactionKind::Balance).then_some(payment.amount),
        currency: Some(payment.amount.currency()),
        stan: Some(payment.stan),
        condition_code: Some(condition.to_owned()),
        rrn: payment.rrn,
        authorisation_code: payment.authorisation_code,
        additional_private: payment.tip.map(|tip| format!("{:012}", tip.minor())),
        private_62: payment.instalments.map(|count| format!("{count:02}").into_bytes()),
        original_61: payment.original_61.clone(),
        private_63: payment.kind.is_notice().then(organisation),
        with_mac: true,
        entry_mode: payment.kind.is_qr().then(|| qr::ENTRY_MODE.to_owned()),
        custom: payment.custom.clone(),
        ..blank(config, &config.header_card, mti, financial_60(type_code, payment.batch))
    }
}

/// Row 39: what became of a QR payment? F39 of the answer says so, under the payment's own reference number.
pub(crate) fn qr_query(config: &Config, of: &Transaction, stan: Stan, custom: Option<CustomData>) -> Request {
    let template = FrameTemplate {
        processing_code: Some(QR_QUERY.to_owned()),
        currency: of.template.currency,
        stan: Some(stan),
        condition_code: of.template.condition_code.clone(),
        original_61: Some(format!("{}{}{}", of.batch, of.stan, of.mmdd())),
        with_mac: true,
        entry_mode: Some(qr::ENTRY_MODE.to_owned()),
        custom,
        ..blank(config, &config.header_card, "0200", financial_60(QR_QUERY_TYPE, of.batch))
    };
    let mut request = without_account(template);
    request.expected.amount = Some(of.amount);
    request
}

/// What the answer to a payment must look like.
pub(crate) fn expect_payment(template: &FrameTemplate, session: Option<u32>) -> Expected {
    expect(template, session)
}

/// F61 of a void: batch and trace of the sale.
pub(crate) fn void_61(batch: BatchNumber, stan: Stan) -> String {
    format!("{batch}{stan}")
}

/// F61 of a completion void: batch, trace and date of the completion.
pub(crate) fn completion_void_61(batch: BatchNumber, stan: Stan, mmdd: &str) -> String {
    format!("{batch}{stan}{mmdd}")
}

/// F61 of an adjustment: batch, trace and date of the sale, authorised at the POS (§2.4).
pub(crate) fn adjustment_61(batch: BatchNumber, stan: Stan, mmdd: &str) -> String {
    format!("{batch}{stan}{mmdd}00")
}

/// F61 of a refund, and of what ends a pre-authorisation: only the date is known for sure.
pub(crate) fn dated_61(mmdd: &str) -> String {
    format!("000000000000{mmdd}")
}

/// 0400 (§8.1.3): the original's fields under the original's trace number and batch, with a reason.
pub(crate) fn reversal(transaction: &Transaction, reversal: &PendingReversal) -> Request {
    let original = &transaction.template;
    // A void carries the sale's code; a sale's own code is known only from its answer.
    let known = original.authorisation_code.or(transaction.authorisation_code());
    let template = FrameTemplate {
        mti: "0400".to_owned(),
        authorisation_code: known,
        response_code: Some(reversal.reason),
        rrn: None,
        private_62: None,
        private_63: None,
        with_mac: true,
        ..original.clone()
    };
    let card_declined = reversal.reason == ResponseCode::ERROR && transaction.final_blob.is_some();
    let chip = match (transaction.kind, card_declined) {
        (kind, true) if kind.runs_chip() => ChipData::CardDeclined,
        (kind, false) if kind.runs_chip() => ChipData::Reversal,
        _ => ChipData::None,
    };
    let blob = if card_declined { &transaction.final_blob } else { &transaction.blob };
    with_blob(template, blob.clone(), false, chip)
}

fn with_blob(template: FrameTemplate, blob: Option<pedlink::SealedBlob>, with_track: bool, chip: ChipData) -> Request {
    let account = blob.map_or(AccountPart::None, |blob| AccountPart::Blob { blob, with_track, chip });
    Request { expected: expect(&template, None), template, account }
}

/// The same 0220, or the upload of an offline sale, again (§8.4).
pub(crate) fn notice(transaction: &Transaction) -> Request {
    let chip = if transaction.kind.is_paid_offline() { ChipData::OfflineSale } else { ChipData::None };
    with_blob(transaction.template.clone(), transaction.blob.clone(), true, chip)
}

/// 0620 (§8.2).
pub(crate) fn script_notice(config: &Config, state: &State, notice: &ScriptNotice, of: &Transaction) -> Request {
    let response = of.response.as_ref();
    let mmdd = response.and_then(|response| response.local_date.clone()).unwrap_or_else(|| of.at.date.mmdd());
    let entry = if of.contactless() { "60" } else { "50" };
    let private_60 = format!("00{}{}{entry}", of.batch, network::SCRIPT_NOTICE);
    let told = response.and_then(|response| response.acquirer_id.clone());
    let template = FrameTemplate {
        processing_code: of.template.processing_code.clone(),
        amount: of.template.amount,
        currency: of.template.currency,
        stan: Some(notice.stan),
        condition_code: of.template.condition_code.clone(),
        acquirer_id: told.or_else(|| state.acquirer_id.clone()),
        rrn: of.rrn(),
        authorisation_code: of.authorisation_code(),
        original_61: Some(format!("{}{}{mmdd}", of.batch, of.stan)),
        with_mac: true,
        ..blank(config, &config.header_card, "0620", private_60)
    };
    let mut request = with_blob(template, Some(notice.blob.clone()), false, ChipData::ScriptNotice);
    // F3 and F4 are optional in an 0630; whatever comes is not ours to judge.
    request.expected.amount_may_differ = true;
    request
}

/// 0500 (§8.3).
pub(crate) fn settlement(config: &Config, settlement: &Settlement) -> Request {
    let private_60 = format!("00{}{}", settlement.batch, network::SETTLEMENT);
    let template = FrameTemplate {
        stan: Some(settlement.stan),
        currency: Some(config.currency),
        additional_private: Some(settlement.totals.digits()),
        private_63: operator_field(config),
        ..blank(config, &config.header_management, "0500", private_60)
    };
    let mut request = without_account(template);
    request.expected.amount_may_differ = true;
    request
}

/// 0320 for one transaction: a copy of its notice, or its certificate.
pub(crate) fn upload(config: &Config, of: &Transaction, item: UploadItem, balanced: bool) -> Request {
    match item.kind {
        UploadKind::Notice => {
            let template = FrameTemplate { mti: "0320".to_owned(), with_mac: false, ..of.template.clone() };
            with_blob(template, of.blob.clone(), true, ChipData::None)
        }
        UploadKind::Certificate => certificate(config, of, balanced, None),
        UploadKind::Declined => certificate(config, of, balanced, Some(IcUploadFailure::Declined)),
        UploadKind::IssuerAuthenticationFailed => {
            certificate(config, of, balanced, Some(IcUploadFailure::IssuerAuthenticationFailed))
        }
    }
}

/// 0320 with 203 or 205 and F62 of usage 6; of a failure 204 or 206 and usage 7 (§8.3).
fn certificate(config: &Config, of: &Transaction, balanced: bool, failure: Option<IcUploadFailure>) -> Request {
    let code = match (failure.is_some(), balanced) {
        (false, true) => network::CERTIFICATE_BALANCED,
        (false, false) => network::CERTIFICATE_NOT_BALANCED,
        (true, true) => network::FAILED_CHIP_BALANCED,
        (true, false) => network::FAILED_CHIP_NOT_BALANCED,
    };
    let entry = if of.contactless() { "60" } else { "50" };
    let card_class = if of.domestic() { CardClass::Domestic } else { CardClass::Foreign };
    let usage =
        IcUpload { card_class, amount_minor: of.amount.minor(), currency: of.amount.currency().digits(), failure };
    let template = FrameTemplate {
        amount: Some(of.amount),
        stan: Some(of.stan),
        private_62: usage.format(),
        ..blank(config, &config.header_card, "0320", format!("00{}{code}{entry}", of.batch))
    };
    let blob = of.final_blob.clone().or_else(|| of.blob.clone());
    with_blob(template, blob, false, ChipData::Certificate)
}

/// 0320 with 207 or 202: always sent, even with no records.
pub(crate) fn batch_end(config: &Config, settlement: &Settlement, upload: &UploadProgress) -> Request {
    let code = if upload.answer.balanced() { network::END_BALANCED } else { network::END_NOT_BALANCED };
    let private_60 = format!("00{}{code}", settlement.batch);
    without_account(FrameTemplate {
        stan: Some(upload.end_stan),
        additional_private: Some(format!("{:04}", upload.acknowledged)),
        ..blank(config, &config.header_management, "0320", private_60)
    })
}
