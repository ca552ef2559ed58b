//! Totals of a batch and their comparison (unionpay-pos §8.3).

use machine::wire::{Encode, Malformed, Reader, Writer};

/// Largest count that a group of F48 can carry (n3).
pub const TOTAL_COUNT_MAX: u16 = 999;
/// Largest sum that a group of F48 can carry (n12), in minor units.
pub const TOTAL_MINOR_MAX: u64 = 999_999_999_999;

/// Cards are reconciled in two groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CardGroup {
    /// 内卡: UnionPay, or no organisation given.
    Domestic,
    /// 外卡: every other organisation.
    Foreign,
}

impl CardGroup {
    /// The group of a card organisation as F63.1 names it (unionpay-pos §2.6).
    pub fn of_organisation(organisation: &[u8; 3]) -> Self {
        match organisation {
            b"CUP" | b"   " | b"000" => CardGroup::Domestic,
            _ => CardGroup::Foreign,
        }
    }
}

/// Debits and credits of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupTotals {
    /// Sum of sales and their kin, minor units.
    pub debit_minor: u64,
    /// How many.
    pub debit_count: u16,
    /// Sum of voids and refunds, minor units.
    pub credit_minor: u64,
    /// How many.
    pub credit_count: u16,
}

/// The batch cannot take another transaction: its totals would not fit F48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the totals of the batch are full")]
pub struct TotalsFull;

/// What a comparison of one group says (F48, reconciliation code).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupComparison {
    /// Code 1.
    Balanced,
    /// Code 2.
    NotBalanced,
}

/// The totals of one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchTotals {
    /// 内卡.
    pub domestic: GroupTotals,
    /// 外卡.
    pub foreign: GroupTotals,
}

impl BatchTotals {
    /// Counts a sale.
    ///
    /// # Errors
    /// Count or sum would not fit F48.
    pub fn add_debit(&mut self, group: CardGroup, minor: u64) -> Result<(), TotalsFull> {
        let totals = self.group_mut(group);
        (totals.debit_minor, totals.debit_count) = added(totals.debit_minor, totals.debit_count, minor)?;
        Ok(())
    }

    /// Adds a tip to a sale that is counted already.
    ///
    /// # Errors
    /// The sum would not fit F48.
    pub fn raise_debit(&mut self, group: CardGroup, minor: u64) -> Result<(), TotalsFull> {
        let totals = self.group_mut(group);
        let sum = totals.debit_minor.checked_add(minor).filter(|sum| *sum <= TOTAL_MINOR_MAX);
        totals.debit_minor = sum.ok_or(TotalsFull)?;
        Ok(())
    }

    /// Counts a void or refund.
    ///
    /// # Errors
    /// Count or sum would not fit F48.
    pub fn add_credit(&mut self, group: CardGroup, minor: u64) -> Result<(), TotalsFull> {
        let totals = self.group_mut(group);
        (totals.credit_minor, totals.credit_count) = added(totals.credit_minor, totals.credit_count, minor)?;
        Ok(())
    }

    /// The totals of a group.
    pub fn group(&self, group: CardGroup) -> &GroupTotals {
        match group {
            CardGroup::Domestic => &self.domestic,
            CardGroup::Foreign => &self.foreign,
        }
    }

    fn group_mut(&mut self, group: CardGroup) -> &mut GroupTotals {
        match group {
            CardGroup::Domestic => &mut self.domestic,
            CardGroup::Foreign => &mut self.foreign,
        }
    }

    /// Compares a group with what the terminal says of it.
    pub fn compare(&self, terminal: &BatchTotals, group: CardGroup) -> GroupComparison {
        if self.group(group) == terminal.group(group) {
            GroupComparison::Balanced
        } else {
            GroupComparison::NotBalanced
        }
    }
}

fn added(sum_minor: u64, count: u16, minor: u64) -> Result<(u64, u16), TotalsFull> {
    let sum = sum_minor.checked_add(minor).filter(|sum| *sum <= TOTAL_MINOR_MAX).ok_or(TotalsFull)?;
    if count >= TOTAL_COUNT_MAX { Err(TotalsFull) } else { Ok((sum, count + 1)) }
}

impl Encode for GroupTotals {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.debit_minor).u16(self.debit_count).u64(self.credit_minor).u16(self.credit_count);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            debit_minor: reader.u64()?,
            debit_count: reader.u16()?,
            credit_minor: reader.u64()?,
            credit_count: reader.u16()?,
        })
    }
}

impl Encode for BatchTotals {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.domestic).value(&self.foreign);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { domestic: reader.value()?, foreign: reader.value()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_or_one_count_unbalances_only_its_group() {
        let mut host = BatchTotals::default();
        host.add_debit(CardGroup::Domestic, 10_000).unwrap();
        host.add_credit(CardGroup::Foreign, 5_000).unwrap();
        let mut terminal = host;
        assert_eq!(host.compare(&terminal, CardGroup::Domestic), GroupComparison::Balanced);
        terminal.domestic.debit_minor += 1;
        assert_eq!(host.compare(&terminal, CardGroup::Domestic), GroupComparison::NotBalanced);
        assert_eq!(host.compare(&terminal, CardGroup::Foreign), GroupComparison::Balanced);
        assert_eq!(BatchTotals::from_bytes(&host.to_bytes()), Ok(host));
    }

    #[test]
    fn totals_that_f48_cannot_carry_are_refused_and_change_nothing() {
        let mut totals = BatchTotals::default();
        totals.add_debit(CardGroup::Domestic, TOTAL_MINOR_MAX).unwrap();
        let before = totals;
        assert_eq!(totals.add_debit(CardGroup::Domestic, 1), Err(TotalsFull));
        assert_eq!(totals, before);
        for _ in 0..TOTAL_COUNT_MAX {
            totals.add_credit(CardGroup::Domestic, 1).unwrap();
        }
        assert_eq!(totals.add_credit(CardGroup::Domestic, 1), Err(TotalsFull));
    }

    #[test]
    fn organisations_have_their_group() {
        assert_eq!(CardGroup::of_organisation(b"CUP"), CardGroup::Domestic);
        assert_eq!(CardGroup::of_organisation(b"VIS"), CardGroup::Foreign);
    }
}
