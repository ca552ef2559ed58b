//! Tips: a sale of the open batch is adjusted to a higher total, once (结算调整, unionpay-pos row 27, 60.1 = 34).

use crate::authorisation::is_within;
use crate::machine_impl::{Acquirer, Original, Work};
use crate::rule::Rule;
use ledger::Movement;
use types::{Amount, SecretBytes};

/// 60.1 of a tip. 32 adjusts what was authorised by telephone, which this host does not take.
const TIP: u8 = 34;

impl Acquirer {
    /// The money that a tip adds to the sale it names: F48 is the tip, F4 the sum of both, and nothing was added before.
    pub(crate) fn original_of_tip(&self, work: &Work) -> Result<Original, Rule> {
        let body = &work.incoming.body;
        if body.f60.as_ref().map(iso8583::unionpay::F60::transaction_type) != Some(TIP) {
            return Err(Rule::NotSupported);
        }
        let sale = self.standing_original(work)?;
        if self.state.captured(&sale.movement).1 {
            return Err(Rule::TipTaken);
        }
        let sold = sale.movement.amount;
        let tip_minor = body.private_data.as_ref().and_then(minor).filter(|minor| *minor > 0).ok_or(Rule::TipAmount)?;
        let amount = Amount::from_minor(tip_minor, sold.currency()).ok_or(Rule::TipAmount)?;
        let sums_up = body.amount_minor == sold.minor().checked_add(tip_minor);
        if !sums_up || !is_within(amount, sold, self.policy().tip_percent) {
            return Err(Rule::TipAmount);
        }
        let movement = Movement { amount, ..sale.movement };
        Ok(Original::Movement { movement, group: Some(sale.group), sale: sale.given_back })
    }
}

/// F48 of an adjustment: digits.
fn minor(field: &SecretBytes) -> Option<u64> {
    core::str::from_utf8(field.expose()).ok()?.parse().ok()
}
