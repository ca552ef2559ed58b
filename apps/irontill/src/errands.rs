//! What a till can be sent to do, each with what must be there before it: one function a kind, for every program that goes through
//! them all.

use till::{
    AuthorisationReference, CompletionForm, DownloadSet, OperatorCommand, OutcomeStatus, Till, Transaction,
    TransactionKind, TransactionStatus,
};
use types::{Amount, PaymentCode};

/// Whoever stands at a till.
pub trait Cashier {
    /// Gives a command, lets it come to its end, and says how it ended.
    fn run(&mut self, command: OperatorCommand) -> anyhow::Result<OutcomeStatus>;

    /// The till.
    fn till(&self) -> &Till;

    /// What the next payment is over.
    fn amount(&self) -> Amount;

    /// A code that a buyer's wallet has just drawn.
    fn scan(&self) -> anyhow::Result<PaymentCode>;
}

/// Does what must be there before an errand, and gives its command; none if that did not succeed.
pub type Errand = fn(&mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>>;

/// Test card of most errands.
pub const CARD: &str = "unionpay-sda";
/// Test card that approves small sums by itself.
pub const OFFLINE_CARD: &str = "unionpay-offline";
/// Test card whose issuer sends a script with every approval.
pub const SCRIPTED_CARD: &str = "scripted";
/// How many instalments are asked for.
const INSTALMENTS: u8 = 3;
/// What is added to a sale as a tip, in minor units.
const TIP_MINOR: u64 = 1;
/// What a cardholder wrote: a JBIG header (ITU-T T.82 §6.2.2) of 384 by 120 points in one stripe, and data behind it that no one in
/// this house decodes.
const SIGNATURE: [u8; 32] = [
    0, 0, 1, 0, 0, 0, 1, 0x80, 0, 0, 0, 120, 0, 0, 0, 120, 0, 0, 0, 0x40, 0xA5, 0x5A, 0xA5, 0x5A, 0xA5, 0x5A, 0xA5,
    0x5A, 0xA5, 0x5A, 0xFF, 0x02,
];

/// One of each kind with its card, in an order in which a day could bring them. What is not here is not killed in.
pub const DAY: [(Errand, &str); 16] = [
    (sale, CARD),
    (void, CARD),
    (balance, CARD),
    (sale, OFFLINE_CARD),
    (tip, CARD),
    (instalment_sale, CARD),
    (qr_sale, CARD),
    (refund, CARD),
    (sale, SCRIPTED_CARD),
    (pre_authorisation, CARD),
    (pre_authorisation_void, CARD),
    (completion, CARD),
    (completion_notice, CARD),
    (completion_void, CARD),
    (echo, CARD),
    (settlement, CARD),
];

/// Tests the line.
pub fn echo(_: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::Echo))
}

/// Signs in.
pub fn sign_in(_: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::SignIn))
}

/// Signs off, after a sign-in.
pub fn sign_off(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    cashier.run(OperatorCommand::SignIn)?;
    Ok(Some(OperatorCommand::SignOff))
}

/// Asks for a card's balance.
pub fn balance(_: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::Balance))
}

/// Sells.
pub fn sale(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::Sale { amount: cashier.amount() }))
}

/// Sells in instalments.
pub fn instalment_sale(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::SellByInstalments { amount: cashier.amount(), count: INSTALMENTS }))
}

/// Sells to a wallet whose code was scanned.
pub fn qr_sale(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::QrSale { amount: cashier.amount(), code: cashier.scan()? }))
}

/// Takes a sale in instalments back.
pub fn instalment_void(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    void_of(cashier, instalment_sale, TransactionKind::Instalment)
}

/// Shows a code that a buyer pays.
pub fn qr_order(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::QrOrder { amount: cashier.amount() }))
}

/// Takes a payment by a scanned code back.
pub fn qr_void(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    void_of(cashier, qr_sale, TransactionKind::QrSale)
}

/// Gives the money of a payment by a scanned code back.
pub fn qr_refund(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    let Some(sell) = qr_sale(cashier)? else { return Ok(None) };
    let Some(sale) = made(cashier, sell, TransactionKind::QrSale)? else { return Ok(None) };
    let (amount, original_date) = (sale.amount, sale.at.date);
    Ok(sale.voucher_code().map(|voucher_code| OperatorCommand::QrRefund { amount, voucher_code, original_date }))
}

/// Keeps a cardholder's signature under a sale.
pub fn sign(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(sold(cashier)?.map(|sale| OperatorCommand::Sign { stan: sale.stan, image: SIGNATURE.to_vec() }))
}

/// Fetches the terminal's own parameters.
pub fn parameters(_: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::Download { set: DownloadSet::Terminal }))
}

/// Tells the host how the till is.
pub fn report_status(_: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::ReportStatus))
}

/// Adds a tip to a sale.
pub fn tip(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    let tip = Amount::from_minor(TIP_MINOR, cashier.amount().currency()).expect("a small amount");
    Ok(sold(cashier)?.map(|sale| OperatorCommand::Tip { stan: sale.stan, tip }))
}

/// Takes a sale back.
pub fn void(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(sold(cashier)?.map(|sale| OperatorCommand::Void { stan: sale.stan }))
}

/// Gives the money of a sale back.
pub fn refund(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    let Some(sale) = sold(cashier)? else { return Ok(None) };
    let (amount, original_date) = (sale.amount, sale.at.date);
    Ok(sale.rrn().map(|original_rrn| OperatorCommand::Refund { amount, original_rrn, original_date }))
}

/// Holds money.
pub fn pre_authorisation(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    Ok(Some(OperatorCommand::PreAuthorise { amount: cashier.amount() }))
}

/// Sets held money free.
pub fn pre_authorisation_void(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    let held = authorised(cashier)?;
    Ok(held.map(|(amount, authorisation)| OperatorCommand::VoidPreAuthorisation { amount, authorisation }))
}

/// Takes what was held, and asks the host.
pub fn completion(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    complete(cashier, CompletionForm::Request)
}

/// Takes what was held, and tells the host.
pub fn completion_notice(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    complete(cashier, CompletionForm::Notice)
}

/// Takes a completion back.
pub fn completion_void(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    let Some(complete) = completion(cashier)? else { return Ok(None) };
    let completed = made(cashier, complete, TransactionKind::Completion)?;
    Ok(completed.map(|completed| OperatorCommand::VoidCompletion { stan: completed.stan }))
}

/// Settles a batch that is not empty.
pub fn settlement(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    sold(cashier)?;
    Ok(Some(OperatorCommand::Settle))
}

/// Settles a batch with a notice in it: it is uploaded if the bank's totals differ.
pub fn settlement_with_notice(cashier: &mut dyn Cashier) -> anyhow::Result<Option<OperatorCommand>> {
    if let Some(refund) = refund(cashier)? {
        cashier.run(refund)?;
    }
    Ok(Some(OperatorCommand::Settle))
}

/// Runs a command and gives the payment that it made, if the payment stands.
fn made(
    cashier: &mut dyn Cashier,
    command: OperatorCommand,
    kind: TransactionKind,
) -> anyhow::Result<Option<Transaction>> {
    if cashier.run(command)? != OutcomeStatus::Approved {
        return Ok(None);
    }
    let approved = |payment: &&Transaction| payment.kind == kind && payment.status == TransactionStatus::Approved;
    Ok(cashier.till().transactions().rev().find(approved).cloned())
}

fn void_of(cashier: &mut dyn Cashier, sell: Errand, kind: TransactionKind) -> anyhow::Result<Option<OperatorCommand>> {
    let Some(sell) = sell(cashier)? else { return Ok(None) };
    Ok(made(cashier, sell, kind)?.map(|sale| OperatorCommand::Void { stan: sale.stan }))
}

fn sold(cashier: &mut dyn Cashier) -> anyhow::Result<Option<Transaction>> {
    let amount = cashier.amount();
    made(cashier, OperatorCommand::Sale { amount }, TransactionKind::Sale)
}

fn authorised(cashier: &mut dyn Cashier) -> anyhow::Result<Option<(Amount, AuthorisationReference)>> {
    let amount = cashier.amount();
    let held = made(cashier, OperatorCommand::PreAuthorise { amount }, TransactionKind::PreAuthorisation)?;
    let reference =
        |held: Transaction| Some(AuthorisationReference { code: held.authorisation_code()?, date: held.at.date });
    Ok(held.and_then(reference).map(|reference| (amount, reference)))
}

fn complete(cashier: &mut dyn Cashier, form: CompletionForm) -> anyhow::Result<Option<OperatorCommand>> {
    let held = authorised(cashier)?;
    Ok(held.map(|(amount, authorisation)| OperatorCommand::Complete { amount, authorisation, form }))
}
