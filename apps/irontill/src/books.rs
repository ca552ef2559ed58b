//! What tills say of their payments and what the bank has booked, in the same words, so that they can be compared.

use std::collections::BTreeMap;
use store_sqlite::{PostingSummary, SqliteStore};
use till::{Side, Transaction, TransactionKind};
use types::{BatchNumber, Stan};

/// Words of a posting's name: what it is, terminal, batch, trace number, message class.
const NAME_WORDS: usize = 5;

/// What one payment came to in the end.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Effect {
    /// What the merchant is owed by it in minor units; negative for what goes back to a card.
    pub paid_minor: i64,
    /// Holds placed (1), ended (-1) or left alone (0).
    pub holds: i64,
}

impl Effect {
    /// What a paid one of this kind and amount promises; of a tip, the tip alone.
    pub fn of_paid(kind: TransactionKind, amount_minor: u64) -> Self {
        let minor = i64::try_from(amount_minor).unwrap_or(i64::MAX);
        let paid_minor = match kind.side() {
            Some(Side::Debit) => minor,
            Some(Side::Credit) => -minor,
            None => 0,
        };
        let holds = match kind {
            TransactionKind::PreAuthorisation => 1,
            kind if kind.ends_authorisation() => -1,
            _ => 0,
        };
        Self { paid_minor, holds }
    }

    /// What a till says of a payment: only a paid one has an effect.
    pub fn said(payment: &Transaction) -> Self {
        let amount = payment.tip().unwrap_or(payment.amount);
        if payment.is_paid() { Self::of_paid(payment.kind, amount.minor()) } else { Self::default() }
    }

    fn add(&mut self, posting: &PostingSummary) {
        for leg in &posting.legs {
            if leg.account.starts_with("merchant/") && leg.account.ends_with("/payable") {
                self.paid_minor += leg.delta_minor;
            } else if leg.account.starts_with("hold/") {
                self.holds += leg.delta_minor.signum();
            }
        }
    }
}

/// What the bank has booked, by payment.
pub struct Books(BTreeMap<String, Effect>);

impl Books {
    /// Reads every posting. A reversal and what it undoes have the trace number of their payment, so they count for it.
    pub fn read(store: &SqliteStore) -> anyhow::Result<Self> {
        let mut effects: BTreeMap<String, Effect> = BTreeMap::new();
        for posting in store.postings_with_prefix("")? {
            let words: Vec<&str> = posting.id.split('/').collect();
            if words.len() == NAME_WORDS {
                effects.entry(words[1..NAME_WORDS - 1].join("/")).or_default().add(&posting);
            }
        }
        Ok(Self(effects))
    }

    /// What came of a payment; nothing, if nothing was ever booked under its name.
    pub fn of(&self, payment: &str) -> Effect {
        self.0.get(payment).copied().unwrap_or_default()
    }

    /// Payments whose name begins so and that have an effect.
    pub fn with_effect<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from_prefix = self.0.range(prefix.to_owned()..).take_while(move |(name, _)| name.starts_with(prefix));
        from_prefix.filter(|(_, effect)| **effect != Effect::default()).map(|(name, _)| name.as_str())
    }
}

/// How [`Books`] name a payment.
pub fn payment_name(terminal: &str, batch: BatchNumber, stan: Stan) -> String {
    format!("{terminal}/{batch}/{stan}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_and_held_by_kind() {
        let effect = |kind| Effect::of_paid(kind, 7);
        assert_eq!(effect(TransactionKind::Sale), Effect { paid_minor: 7, holds: 0 });
        assert_eq!(effect(TransactionKind::Void), Effect { paid_minor: -7, holds: 0 });
        assert_eq!(effect(TransactionKind::PreAuthorisation), Effect { paid_minor: 0, holds: 1 });
        assert_eq!(effect(TransactionKind::Completion), Effect { paid_minor: 7, holds: -1 });
        assert_eq!(effect(TransactionKind::CompletionVoid), Effect { paid_minor: -7, holds: 0 });
        assert_eq!(effect(TransactionKind::Balance), Effect::default());
    }
}
