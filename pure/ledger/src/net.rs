//! What a closed batch comes to for its merchant, and the payout file.

use crate::clearing::{ClearingKind, ClearingLine, ClearingStatus};
use crate::sheet::{self, Line, SheetError, SheetHead, number};
use types::{BatchNumber, MerchantId, TerminalId};

/// Totals of one closed batch, minor units. All are sums of lines; nothing is rounded here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetPosition {
    /// Sales.
    pub sales_minor: u64,
    /// Voids of sales.
    pub voids_minor: u64,
    /// Refunds.
    pub refunds_minor: u64,
    /// Fees of sales, less what voids and refunds gave back. Below zero if they gave more back.
    pub fees_minor: i64,
}

/// The sums of a batch would not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the sums of the batch are too large")]
pub struct NetTooLarge;

impl NetPosition {
    /// The position of these lines. What is declined or reversed moves nothing.
    ///
    /// # Errors
    /// A sum that does not fit.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a ClearingLine>) -> Result<Self, NetTooLarge> {
        let mut position = Self::default();
        for line in lines.into_iter().filter(|line| line.status == ClearingStatus::Approved) {
            position.add(line).ok_or(NetTooLarge)?;
        }
        position.checked_net_minor().map(|_| position).ok_or(NetTooLarge)
    }

    fn add(&mut self, line: &ClearingLine) -> Option<()> {
        let sum = match line.kind {
            ClearingKind::Sale => &mut self.sales_minor,
            ClearingKind::Void => &mut self.voids_minor,
            ClearingKind::Refund => &mut self.refunds_minor,
        };
        *sum = sum.checked_add(line.amount_minor)?;
        self.fees_minor = self.fees_minor.checked_add(line.signed_fee_minor()?)?;
        Some(())
    }

    fn checked_net_minor(&self) -> Option<i64> {
        let side = |minor: u64| i64::try_from(minor).ok();
        side(self.sales_minor)?
            .checked_sub(side(self.voids_minor)?)?
            .checked_sub(side(self.refunds_minor)?)?
            .checked_sub(self.fees_minor)
    }

    /// What the merchant is paid; below zero: what it owes.
    pub fn net_minor(&self) -> i64 {
        // Only this module's own checks and the strict reader make one.
        self.checked_net_minor().unwrap_or(i64::MIN)
    }
}

/// One line of a payout file: a closed batch of a merchant's terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayoutLine {
    /// The merchant.
    pub merchant: MerchantId,
    /// The terminal.
    pub terminal: TerminalId,
    /// The batch.
    pub batch: BatchNumber,
    /// What it comes to.
    pub position: NetPosition,
}

impl Line for PayoutLine {
    const KIND: &'static str = "PAYOUT";

    fn fields(&self) -> Vec<String> {
        let NetPosition { sales_minor, voids_minor, refunds_minor, fees_minor } = self.position;
        vec![
            self.merchant.text().to_owned(),
            self.terminal.text().to_owned(),
            self.batch.number().to_string(),
            sales_minor.to_string(),
            voids_minor.to_string(),
            refunds_minor.to_string(),
            fees_minor.to_string(),
            self.position.net_minor().to_string(),
        ]
    }

    fn from_fields(fields: &[&str]) -> Option<Self> {
        let [merchant, terminal, batch, sales, voids, refunds, fees, net] = *fields else { return None };
        let position = NetPosition {
            sales_minor: number(sales)?,
            voids_minor: number(voids)?,
            refunds_minor: number(refunds)?,
            fees_minor: number(fees)?,
        };
        position.checked_net_minor().filter(|minor| Some(*minor) == number(net))?;
        Some(Self {
            merchant: MerchantId::parse(merchant).ok()?,
            terminal: TerminalId::parse(terminal).ok()?,
            batch: BatchNumber::new(number(batch)?)?,
            position,
        })
    }

    fn signed_minor(&self) -> i64 {
        self.position.net_minor()
    }
}

/// The text of a payout file: kind `PAYOUT`; records are merchant, terminal, batch, sales, voids, refunds, fees, net.
/// Identifiers must hold no `|`: [`read_payout`] refuses such a file.
pub fn write_payout(head: &SheetHead, lines: &[PayoutLine]) -> String {
    sheet::write(head, lines)
}

/// Reads a payout file.
///
/// # Errors
/// The first thing in it that is not as [`write_payout`] writes it.
pub fn read_payout(text: &str) -> Result<(SheetHead, Vec<PayoutLine>), SheetError> {
    sheet::read(text)
}
