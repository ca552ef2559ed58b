//! Tips: a sale of the open batch is adjusted to a higher total, once (结算调整, unionpay-pos row 27).

use crate::machine::{PaymentGoal, Till};
use crate::operator::{original_of, plain_goal};
use crate::text::Text;
use crate::transaction::{TransactionKind, TransactionStatus};
use crate::words::Screen;
use types::{Amount, Stan};

const PERCENT: u64 = 100;

impl Till {
    /// The adjustment that adds a tip; its amount is the new total.
    pub(crate) fn tip_goal(&self, stan: Stan, tip: Amount) -> Result<PaymentGoal, Text> {
        let missing = || Text::new("未找到原交易", "No such sale in this batch");
        let sale = self.state.transaction(stan).filter(|sale| sale.batch == self.state.batch).ok_or_else(missing)?;
        if !matches!(sale.kind, TransactionKind::Sale | TransactionKind::OfflineSale)
            || sale.status != TransactionStatus::Approved
            || sale.voided_by.is_some()
        {
            return Err(Text::new("该交易不可加小费", "Only an approved sale that stands takes a tip"));
        }
        if self.state.tip_of(stan).is_some() {
            return Err(Text::new("该交易已加小费", "The sale has a tip already"));
        }
        if tip.minor() == 0 || !is_within(tip, sale.amount, self.config.tip_percent_max) {
            let percent = self.config.tip_percent_max;
            return Err(Text::new(
                format!("小费超出限额({percent}%)"),
                format!("A tip is more than nothing and at most {percent} % of the sale"),
            ));
        }
        let total = sale.amount.minor().checked_add(tip.minor());
        let total = total.and_then(|minor| Amount::from_minor(minor, sale.amount.currency()));
        let total = total.ok_or_else(|| Text::new("金额无效", "The total is not valid here"))?;
        Ok(PaymentGoal {
            original: Some(original_of(sale)),
            original_mmdd: sale.mmdd(),
            tip: Some(tip),
            ..plain_goal(TransactionKind::TipAdjustment, total)
        })
    }

    /// Why the sale takes no tip any more.
    pub(crate) fn tip_refusal(&self, goal: &PaymentGoal) -> Option<Screen> {
        let stan = goal.original.as_ref()?.stan?;
        self.tip_goal(stan, goal.tip?).err().map(|reason| Screen::Refused { reason })
    }
}

/// Exact: no rounding in anybody's favour.
fn is_within(tip: Amount, sale: Amount, percent: u8) -> bool {
    u128::from(tip.minor()) * u128::from(PERCENT) <= u128::from(sale.minor()) * u128::from(percent)
        && tip.currency() == sale.currency()
}
