//! Postings: legs that sum to zero, and the guards that go with them.

use crate::account::Account;
use crate::intent::Intent;
use machine::store::{AccountName, Leg, Row};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Amount, CardToken, Currency};

/// A double-entry posting. Its legs sum to zero in each currency: that is checked when it is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posting {
    id: String,
    legs: Vec<Leg>,
}

impl Posting {
    /// # Panics
    /// If the legs do not sum to zero in each currency: a bug that must not reach the ledger.
    pub fn new(id: String, legs: Vec<Leg>) -> Self {
        for leg in &legs {
            let of_currency = legs.iter().filter(|other| other.currency == leg.currency);
            let sum: i128 = of_currency.map(|other| i128::from(other.delta_minor)).sum();
            assert_eq!(sum, 0, "a posting sums to zero in each currency");
        }
        Self { id, legs }
    }

    /// Its unique name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its sides.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// The row that books it.
    pub fn into_row(self) -> Row {
        Row::Posting { id: self.id, legs: self.legs }
    }
}

/// Money of one sale on its way between a cardholder's account and a merchant.
///
/// Every posting about a sale is this movement forwards (capture, reinstatement) or backwards (void, refund, reversal),
/// so that what is left of the sale is always the balance of its capture account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Movement {
    /// The sale.
    pub sale: Intent,
    /// The account debited by the sale: a card of the built-in issuer, or the clearing account of a network.
    pub funds: AccountName,
    /// How much moves. Never zero.
    pub amount: Amount,
}

impl Movement {
    /// The posting of a sale.
    pub fn sale(&self) -> Posting {
        self.posting(format!("sale/{}", self.sale.text()), 1)
    }

    /// The posting of a completed pre-authorisation: a sale in all but its name.
    pub fn completion(&self) -> Posting {
        self.posting(format!("completion/{}", self.sale.text()), 1)
    }

    /// Adds a tip to a sale; `adjustment` is the intent of the message that brings it.
    pub fn adjustment(&self, adjustment: &Intent) -> Posting {
        self.posting(format!("adjustment/{}", adjustment.text()), 1)
    }

    /// Gives the whole of a sale back; `void` is the intent of the message that asks for it.
    pub fn void(&self, void: &Intent) -> Posting {
        self.posting(format!("void/{}", void.text()), -1)
    }

    /// Gives a part of a sale back; `refund` is the intent of the message that asks for it.
    pub fn refund(&self, refund: &Intent) -> Posting {
        self.posting(format!("refund/{}", refund.text()), -1)
    }

    /// Undoes a sale whose answer did not arrive; `reversal` is the intent of the reversal message.
    pub fn reversal(&self, reversal: &Intent) -> Posting {
        self.posting(format!("reversal/{}", reversal.text()), -1)
    }

    /// Undoes a void: the sale stands again.
    pub fn reinstatement(&self, reversal: &Intent) -> Posting {
        self.posting(format!("reinstatement/{}", reversal.text()), 1)
    }

    fn posting(&self, id: String, direction: i64) -> Posting {
        let minor = i64::try_from(self.amount.minor()).expect("an amount has at most twelve digits");
        let leg = |account: AccountName, sign: i64| Leg {
            account,
            delta_minor: minor * sign * direction,
            currency: self.amount.currency(),
        };
        let merchant = self.sale.merchant;
        Posting::new(
            id,
            vec![
                leg(self.funds.clone(), -1),
                leg(Account::MerchantPayable(merchant).name(), 1),
                leg(Account::Capture(self.sale).name(), 1),
                leg(Account::MerchantCaptures(merchant).name(), -1),
            ],
        )
    }
}

impl Encode for Movement {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.sale).text(self.funds.text()).value(&self.amount);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sale = reader.value()?;
        let funds = AccountName::new(reader.text()?).ok_or_else(|| reader.malformed("an account name"))?;
        Ok(Self { sale, funds, amount: reader.value()? })
    }
}

/// After the append, this account must not stand below the floor.
pub fn balance_guard(account: AccountName, currency: Currency, floor_minor: i64) -> Row {
    Row::BalanceAtLeast { account, currency, floor_minor }
}

/// After the append, no more may have been given back than was captured.
pub fn capture_guard(sale: &Intent, currency: Currency) -> Row {
    balance_guard(Account::Capture(*sale).name(), currency, 0)
}

/// Puts money on a card (or takes it off); `id` names the posting.
pub fn funding(id: String, card: CardToken, delta_minor: i64, currency: Currency) -> Posting {
    account_funding(id, Account::Card(card), delta_minor, currency)
}

/// Puts money on an account of the issuer (or takes it off); `id` names the posting.
pub fn account_funding(id: String, account: Account, delta_minor: i64, currency: Currency) -> Posting {
    let leg = |account: Account, delta_minor: i64| Leg { account: account.name(), delta_minor, currency };
    Posting::new(id, vec![leg(account, delta_minor), leg(Account::IssuerFunding, -delta_minor)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::MessageClass;
    use types::{BatchNumber, MerchantId, Stan, TerminalId};

    fn movement(minor: u64) -> Movement {
        let sale = Intent {
            terminal: TerminalId::parse("12345678").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            batch: BatchNumber::new(7).unwrap(),
            stan: Stan::new(2).unwrap(),
            class: MessageClass::Financial,
        };
        let funds = Account::Card(CardToken([1; 16])).name();
        Movement { sale, funds, amount: Amount::from_minor(minor, Currency::CNY).unwrap() }
    }

    fn sum_by_account(postings: &[Posting]) -> std::collections::BTreeMap<String, i64> {
        let mut sums = std::collections::BTreeMap::new();
        for leg in postings.iter().flat_map(Posting::legs) {
            *sums.entry(leg.account.text().to_owned()).or_insert(0) += leg.delta_minor;
        }
        sums
    }

    #[test]
    fn a_sale_moves_money_to_the_merchant_and_a_refund_a_part_of_it_back() {
        let (sale, part) = (movement(1250), movement(250));
        let refund = part.refund(&part.sale.with_class(MessageClass::FinancialNotice));
        let sums = sum_by_account(&[sale.sale(), refund]);
        assert_eq!(sums["card/01010101010101010101010101010101"], -1000);
        assert_eq!(sums["merchant/123456789012345/payable"], 1000);
        assert_eq!(sums["capture/12345678/000007/000002"], 1000);
        assert_eq!(sums.values().sum::<i64>(), 0);
    }

    #[test]
    fn what_undoes_leaves_nothing() {
        let sale = movement(999_999_999_999);
        let void = sale.sale.with_class(MessageClass::Financial);
        let reversal = sale.sale.with_class(MessageClass::Reversal);
        assert!(sum_by_account(&[sale.sale(), sale.void(&void)]).values().all(|sum| *sum == 0));
        assert!(sum_by_account(&[sale.void(&void), sale.reinstatement(&reversal)]).values().all(|sum| *sum == 0));
        assert!(sum_by_account(&[sale.sale(), sale.reversal(&reversal)]).values().all(|sum| *sum == 0));
    }

    #[test]
    #[should_panic(expected = "sums to zero")]
    fn an_unbalanced_posting_cannot_be_made() {
        let mut legs = movement(100).sale().legs().to_vec();
        legs[0].delta_minor += 1;
        Posting::new("wrong".to_owned(), legs);
    }

    #[test]
    #[should_panic(expected = "sums to zero")]
    fn currencies_do_not_pay_for_each_other() {
        let mut legs = movement(100).sale().legs().to_vec();
        legs[0].currency = Currency::USD;
        Posting::new("wrong".to_owned(), legs);
    }

    #[test]
    fn postings_of_different_messages_have_different_names() {
        let sale = movement(100);
        let reversal = sale.sale.with_class(MessageClass::Reversal);
        assert_ne!(sale.reversal(&reversal).id(), sale.reinstatement(&reversal).id());
        assert_eq!(Movement::from_bytes(&sale.to_bytes()), Ok(sale));
    }
}
