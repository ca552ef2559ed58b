//! Money that a pre-authorisation holds: set aside on the cardholder's side, owed to nobody.

use crate::account::Account;
use crate::intent::Intent;
use crate::posting::{Posting, balance_guard};
use machine::store::{AccountName, Leg, Row};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Amount, TerminalId};

/// What one pre-authorisation holds.
///
/// The hold account stands at the whole amount or at zero, never anywhere else: a hold is placed once and released as a whole, by
/// its void, its completion or its reversal. Undoing a void or a completion places it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The pre-authorisation.
    pub authorisation: Intent,
    /// The account whose money is held: a card of the built-in issuer.
    pub funds: AccountName,
    /// How much. Never zero.
    pub amount: Amount,
}

impl Hold {
    /// The account that holds the money.
    pub fn account(&self) -> AccountName {
        Account::Hold(self.authorisation).name()
    }

    /// The posting of the pre-authorisation.
    pub fn place(&self) -> Posting {
        self.posting(format!("hold/{}", self.authorisation.text()), 1)
    }

    /// Ends the hold; `by` is the intent of the void or completion. Goes with [`hold_guard`].
    pub fn release(&self, by: &Intent) -> Posting {
        self.posting(format!("release/{}", by.text()), -1)
    }

    /// Ends a hold that nobody ended in its time; `terminal` is whose machine does it. Goes with [`hold_guard`].
    pub fn expiry(&self, terminal: TerminalId) -> Posting {
        self.posting(format!("expiry/{}/{terminal}", self.authorisation.text()), -1)
    }

    /// Undoes a pre-authorisation whose answer did not arrive. Goes with [`hold_guard`].
    pub fn reversal(&self, reversal: &Intent) -> Posting {
        self.posting(format!("unhold/{}", reversal.text()), -1)
    }

    /// Undoes a release: the hold stands again.
    pub fn reinstatement(&self, reversal: &Intent) -> Posting {
        self.posting(format!("rehold/{}", reversal.text()), 1)
    }

    fn posting(&self, id: String, direction: i64) -> Posting {
        let minor = i64::try_from(self.amount.minor()).expect("an amount has at most twelve digits");
        let currency = self.amount.currency();
        let leg = |account: AccountName, sign: i64| Leg { account, delta_minor: minor * sign * direction, currency };
        Posting::new(id, vec![leg(self.funds.clone(), -1), leg(self.account(), 1)])
    }
}

/// After the append, no more may have been released than was held: a hold ends once.
pub fn hold_guard(hold: &Hold) -> Row {
    balance_guard(hold.account(), hold.amount.currency(), 0)
}

impl Encode for Hold {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.authorisation).text(self.funds.text()).value(&self.amount);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let authorisation = reader.value()?;
        let funds = AccountName::new(reader.text()?).ok_or_else(|| reader.malformed("an account name"))?;
        Ok(Self { authorisation, funds, amount: reader.value()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::MessageClass;
    use types::{BatchNumber, CardToken, Currency, MerchantId, Stan};

    fn hold() -> Hold {
        let authorisation = Intent {
            terminal: TerminalId::parse("12345678").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            batch: BatchNumber::new(7).unwrap(),
            stan: Stan::new(2).unwrap(),
            class: MessageClass::Authorisation,
        };
        let funds = Account::Card(CardToken([1; 16])).name();
        Hold { authorisation, funds, amount: Amount::from_minor(10_000, Currency::CNY).unwrap() }
    }

    #[test]
    fn a_hold_is_between_the_card_and_itself_and_every_end_undoes_it() {
        let hold = hold();
        let (by, reversal) = (hold.authorisation, hold.authorisation.with_class(MessageClass::Reversal));
        let placed = hold.place();
        assert_eq!(placed.id(), "hold/12345678/000007/000002/0100");
        assert_eq!(placed.legs()[1].account.text(), "hold/12345678/000007/000002");
        assert_eq!(placed.legs().iter().map(|leg| leg.delta_minor).collect::<Vec<_>>(), [-10_000, 10_000]);
        for end in [hold.release(&by), hold.reversal(&reversal), hold.expiry(by.terminal)] {
            let left = end.legs().iter().zip(placed.legs()).all(|(end, placed)| end.delta_minor == -placed.delta_minor);
            assert!(left, "{}", end.id());
        }
        assert_eq!(hold.reinstatement(&reversal).legs(), placed.legs());
    }

    #[test]
    fn a_hold_comes_back_and_its_guard_is_at_zero() {
        let hold = hold();
        assert_eq!(Hold::from_bytes(&hold.to_bytes()), Ok(hold.clone()));
        assert!(matches!(hold_guard(&hold), Row::BalanceAtLeast { floor_minor: 0, .. }));
    }
}
