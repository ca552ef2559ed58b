//! Orders that wait for their buyer: made by a terminal's message, ended once, by the buyer's payment or by the terminal's reversal
//! (docs/wire/qr-payments.md).
//!
//! Payment and reversal are written by different processes. Both put the same unique row, so the store lets one of them win, and the
//! loser learns who did.

use crate::record::Capture;
use crate::rows::SPACE_RRN;
use issuer::wallet::{self, WalletFile, WalletQuestion, payment_code_key, wallet_token};
use issuer::{IssuerReply, Operation};
use ledger::{Intent, Movement, balance_guard};
use machine::store::{GuardFailure, Row};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Amount, CivilTime, InstitutionId, PaymentCode, Rrn, WalletNumber};

/// Space of orders; the key is the digits of the order's code.
pub const SPACE_ORDER: &str = "qr-order";
/// Space of orders' ends; the key is the digits of the order's code.
pub const SPACE_ORDER_END: &str = "qr-order-end";
/// How long a buyer may pay an order, in milliseconds: longer than a till waits, so that its reversal and not the clock ends it.
pub const ORDER_VALID_MS: u64 = 180_000;
/// Heads the code of an order that a shop shows; codes of wallets begin otherwise.
const ORDER_CODE_HEAD: char = '8';
/// A year's last two digits stand in the code.
const CENTURY: u16 = 100;

const VERSION: u8 = 1;

/// The code of an order that the shop shows: date and reference number, so that a copy of the message names the same order.
pub fn order_code(at: CivilTime, rrn: &Rrn) -> Option<PaymentCode> {
    let date = at.date;
    let (year, month, day) = (date.year() % CENTURY, date.month(), date.day());
    PaymentCode::parse(&format!("{ORDER_CODE_HEAD}{year:02}{month:02}{day:02}{}", rrn.text())).ok()
}

/// 付款凭证码 (F59 A4), twenty digits: date and reference number of the payment.
pub fn voucher_code(at: CivilTime, rrn: &Rrn) -> String {
    let date = at.date;
    format!("{:04}{:02}{:02}{}", date.year(), date.month(), date.day(), rrn.text())
}

/// An order that waits for its buyer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The message that made it.
    pub sale: Intent,
    /// How much is to be paid.
    pub amount: Amount,
    /// The wallet whose owner is asked; none: whoever scans the code.
    pub wallet: Option<WalletNumber>,
    /// Reference number of the sale.
    pub rrn: Rrn,
    /// When it was answered.
    pub at: CivilTime,
    /// The same moment, Unix milliseconds.
    pub wall_ms: u64,
    /// Until when it may be paid, Unix milliseconds.
    pub expires_ms: u64,
}

/// A buyer's payment of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderPayment {
    /// Who paid.
    pub wallet: WalletNumber,
    /// The wallet's issuer (F44).
    pub issuer: InstitutionId,
    /// The money.
    pub movement: Movement,
    /// When, Unix milliseconds.
    pub wall_ms: u64,
}

/// How an order ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrderEnd {
    /// The buyer paid.
    Paid(Box<OrderPayment>),
    /// This reversal closed it.
    Closed(Intent),
}

/// Why an order is not paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderRefused {
    /// Its time is over.
    #[error("the order's time is over")]
    Expired,
    /// The shop has closed it.
    #[error("the shop has closed the order")]
    Closed,
    /// It is paid.
    #[error("the order is paid")]
    Paid,
    /// It waits for another wallet's owner.
    #[error("the order is for another wallet")]
    OtherWallet,
    /// The wallet may not pay it.
    #[error("the wallet may not pay it: {}", .0.id())]
    Wallet(issuer::Rule),
}

impl Order {
    /// The rows of a buyer's payment: the order's one end, the money, and what a refund will look for.
    ///
    /// # Errors
    /// Why it is refused before the store is asked. Whether the order is still open, only the append says: see [`refused_by`].
    pub fn payment(
        &self,
        code: &PaymentCode,
        (wallet, file): (WalletNumber, &WalletFile),
        wall_ms: u64,
    ) -> Result<Vec<Row>, OrderRefused> {
        if wall_ms > self.expires_ms {
            return Err(OrderRefused::Expired);
        }
        if self.wallet.is_some_and(|asked| asked != wallet) {
            return Err(OrderRefused::OtherWallet);
        }
        let question = WalletQuestion { wallet, operation: Operation::Purchase, amount: self.amount };
        let IssuerReply { rule, funds, issuer, .. } = wallet::decide(&question, file);
        let funds = funds.ok_or(OrderRefused::Wallet(rule))?;
        let movement = Movement { sale: self.sale, funds: funds.account.clone(), amount: self.amount };
        let capture =
            Capture { movement: movement.clone(), card: wallet_token(wallet), at: self.at, wall_ms: self.wall_ms };
        let paid = OrderPayment { wallet, issuer, movement: movement.clone(), wall_ms };
        Ok(vec![
            end_row(code, &OrderEnd::Paid(Box::new(paid))),
            movement.sale().into_row(),
            balance_guard(funds.account, funds.currency, funds.floor_minor),
            Row::Unique { space: SPACE_RRN, key: self.rrn.bytes().to_vec(), value: capture.to_bytes() },
        ])
    }

    pub(crate) fn row(&self, code: &PaymentCode) -> Row {
        Row::Unique { space: SPACE_ORDER, key: payment_code_key(code), value: self.to_bytes() }
    }
}

/// What a guard that refused the rows of a payment says of the order; `None` for a guard that they do not have.
pub fn refused_by(failure: &GuardFailure) -> Option<OrderRefused> {
    match failure {
        GuardFailure::Taken { space: SPACE_ORDER_END, value, .. } => match OrderEnd::from_bytes(value) {
            Ok(OrderEnd::Paid(_)) => Some(OrderRefused::Paid),
            Ok(OrderEnd::Closed(_)) => Some(OrderRefused::Closed),
            Err(_) => None,
        },
        GuardFailure::Balance { .. } => Some(OrderRefused::Wallet(issuer::Rule::Funds)),
        GuardFailure::Taken { .. } => None,
    }
}

pub(crate) fn end_row(code: &PaymentCode, end: &OrderEnd) -> Row {
    Row::Unique { space: SPACE_ORDER_END, key: payment_code_key(code), value: end.to_bytes() }
}

impl Encode for Order {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).value(&self.sale).value(&self.amount);
        writer.option(self.wallet, |writer, wallet| {
            writer.value(&wallet);
        });
        writer.value(&self.rrn).value(&self.at).u64(self.wall_ms).u64(self.expires_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("order version 1"));
        }
        Ok(Self {
            sale: reader.value()?,
            amount: reader.value()?,
            wallet: reader.option(Reader::value)?,
            rrn: reader.value()?,
            at: reader.value()?,
            wall_ms: reader.u64()?,
            expires_ms: reader.u64()?,
        })
    }
}

impl Encode for OrderPayment {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.wallet).text(self.issuer.text()).value(&self.movement).u64(self.wall_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (wallet, issuer) = (reader.value()?, crate::encoding::institution(reader)?);
        Ok(Self { wallet, issuer, movement: reader.value()?, wall_ms: reader.u64()? })
    }
}

impl Encode for OrderEnd {
    fn encode(&self, writer: &mut Writer) {
        match self {
            OrderEnd::Paid(payment) => writer.u8(1).value(&**payment),
            OrderEnd::Closed(reversal) => writer.u8(2).value(reversal),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(OrderEnd::Paid(Box::new(reader.value()?))),
            2 => Ok(OrderEnd::Closed(reader.value()?)),
            _ => Err(reader.malformed("an order's end")),
        }
    }
}
