//! Names of accounts.

use crate::intent::Intent;
use machine::store::AccountName;
use types::{CardToken, MerchantId, WalletNumber};

/// An account of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// A cardholder at the built-in issuer.
    Card(CardToken),
    /// A wallet at the built-in issuer.
    Wallet(WalletNumber),
    /// What is owed to a merchant.
    MerchantPayable(MerchantId),
    /// What a merchant is to be paid of batches that are settled.
    MerchantPayout(MerchantId),
    /// What merchants were charged.
    AcquirerFees,
    /// Contra of a merchant's capture accounts.
    MerchantCaptures(MerchantId),
    /// What is left of one sale.
    Capture(Intent),
    /// What one pre-authorisation holds of a cardholder's money.
    Hold(Intent),
    /// Contra of money put on cards.
    IssuerFunding,
}

impl Account {
    /// The name the store knows it by.
    pub fn name(&self) -> AccountName {
        let name = match self {
            Account::Card(token) => format!("card/{token}"),
            Account::Wallet(wallet) => format!("wallet/{wallet}"),
            Account::MerchantPayable(merchant) => format!("merchant/{}/payable", escaped(merchant.bytes())),
            Account::MerchantPayout(merchant) => format!("merchant/{}/payout", escaped(merchant.bytes())),
            Account::AcquirerFees => "acquirer/fees".to_owned(),
            Account::MerchantCaptures(merchant) => format!("merchant/{}/captures", escaped(merchant.bytes())),
            Account::Capture(intent) => {
                format!("capture/{}/{}/{}", escaped(intent.terminal.bytes()), intent.batch, intent.stan)
            }
            Account::Hold(intent) => {
                format!("hold/{}/{}/{}", escaped(intent.terminal.bytes()), intent.batch, intent.stan)
            }
            Account::IssuerFunding => "issuer/funding".to_owned(),
        };
        AccountName::new(name).expect("an escaped name of bounded parts")
    }
}

/// Identifiers may hold spaces and slashes, account names may not: `%XX` keeps them apart.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_merchant_ids_keep_their_own_accounts() {
        let name = |text: &str| Account::MerchantCaptures(MerchantId::parse(text).unwrap()).name();
        assert_eq!(name("123456789012345").text(), "merchant/123456789012345/captures");
        assert_ne!(name("a b            "), name("a/b            "));
        assert!(name("///////////////").text().len() <= machine::store::ACCOUNT_NAME_BYTES_MAX);
    }
}
