//! Clearing files, ours and the network's: one line for each transaction.

use crate::sheet::{self, Line, SheetError, SheetHead, number};
use types::{BatchNumber, MerchantId, Rrn, Stan, TerminalId};

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClearingKind {
    /// `S`: a sale.
    Sale,
    /// `V`: a void of a sale.
    Void,
    /// `R`: a refund.
    Refund,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClearingStatus {
    /// `A`: approved and standing.
    Approved,
    /// `D`: declined.
    Declined,
    /// `X`: approved, and reversed since.
    Reversed,
}

/// Letter and meaning.
const KINDS: [(&str, ClearingKind); 3] =
    [("S", ClearingKind::Sale), ("V", ClearingKind::Void), ("R", ClearingKind::Refund)];
const STATUSES: [(&str, ClearingStatus); 3] =
    [("A", ClearingStatus::Approved), ("D", ClearingStatus::Declined), ("X", ClearingStatus::Reversed)];

/// What names a transaction on both sides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClearingKey {
    /// The merchant.
    pub merchant: MerchantId,
    /// The terminal.
    pub terminal: TerminalId,
    /// The batch.
    pub batch: BatchNumber,
    /// The trace number.
    pub stan: Stan,
    /// The kind: a sale and a notice may share a trace number.
    pub kind: ClearingKind,
}

/// One transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClearingLine {
    /// The merchant.
    pub merchant: MerchantId,
    /// The terminal.
    pub terminal: TerminalId,
    /// The batch.
    pub batch: BatchNumber,
    /// The trace number.
    pub stan: Stan,
    /// What it is.
    pub kind: ClearingKind,
    /// The host's reference number.
    pub rrn: Rrn,
    /// What became of it.
    pub status: ClearingStatus,
    /// The amount, minor units.
    pub amount_minor: u64,
    /// The fee, minor units: charged for a sale, given back for a void or refund.
    pub fee_minor: u64,
}

impl ClearingLine {
    /// Its name.
    pub fn key(&self) -> ClearingKey {
        let Self { merchant, terminal, batch, stan, kind, .. } = *self;
        ClearingKey { merchant, terminal, batch, stan, kind }
    }

    /// The fee from the merchant's purse: above zero is charged, below zero given back. `None`: too large.
    pub fn signed_fee_minor(&self) -> Option<i64> {
        let fee = i64::try_from(self.fee_minor).ok()?;
        Some(if self.kind == ClearingKind::Sale { fee } else { -fee })
    }
}

impl Line for ClearingLine {
    const KIND: &'static str = "CLEARING";

    fn fields(&self) -> Vec<String> {
        vec![
            self.merchant.text().to_owned(),
            self.terminal.text().to_owned(),
            self.batch.number().to_string(),
            self.stan.number().to_string(),
            letter(&KINDS, self.kind).to_owned(),
            self.rrn.text().to_owned(),
            letter(&STATUSES, self.status).to_owned(),
            self.amount_minor.to_string(),
            self.fee_minor.to_string(),
        ]
    }

    fn from_fields(fields: &[&str]) -> Option<Self> {
        let [merchant, terminal, batch, stan, kind, rrn, status, amount, fee] = *fields else { return None };
        Some(Self {
            merchant: MerchantId::parse(merchant).ok()?,
            terminal: TerminalId::parse(terminal).ok()?,
            batch: BatchNumber::new(number(batch)?)?,
            stan: Stan::new(number(stan)?)?,
            kind: meaning(&KINDS, kind)?,
            rrn: Rrn::parse(rrn).ok()?,
            status: meaning(&STATUSES, status)?,
            amount_minor: number(amount).filter(|minor| *minor <= types::AMOUNT_MINOR_MAX)?,
            fee_minor: number(fee).filter(|minor| *minor <= types::AMOUNT_MINOR_MAX)?,
        })
    }

    /// Sales count up, voids and refunds down; what does not stand counts nothing.
    fn signed_minor(&self) -> i64 {
        let minor = i64::try_from(self.amount_minor).unwrap_or(i64::MAX);
        match (self.status, self.kind) {
            (ClearingStatus::Declined | ClearingStatus::Reversed, _) => 0,
            (ClearingStatus::Approved, ClearingKind::Sale) => minor,
            (ClearingStatus::Approved, ClearingKind::Void | ClearingKind::Refund) => -minor,
        }
    }
}

fn letter<T: Copy + PartialEq>(table: &[(&'static str, T)], wanted: T) -> &'static str {
    table.iter().find(|(_, meaning)| *meaning == wanted).expect("every meaning has a letter").0
}

fn meaning<T: Copy>(table: &[(&'static str, T)], letter: &str) -> Option<T> {
    table.iter().find(|(written, _)| *written == letter).map(|(_, meaning)| *meaning)
}

/// The text of a clearing file: kind `CLEARING`; records are merchant, terminal, batch, trace, kind (`S`, `V`, `R`), reference, status
/// (`A`, `D`, `X`), amount, fee. Identifiers must hold no `|`: [`read_clearing`] refuses such a file.
pub fn write_clearing(head: &SheetHead, lines: &[ClearingLine]) -> String {
    sheet::write(head, lines)
}

/// Reads a clearing file.
///
/// # Errors
/// The first thing in it that is not as [`write_clearing`] writes it.
pub fn read_clearing(text: &str) -> Result<(SheetHead, Vec<ClearingLine>), SheetError> {
    sheet::read(text)
}
