//! Names of accounts.

use crate::intent::Intent;
use machine::store::{ACCOUNT_NAME_BYTES_MAX, AccountName};
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
        let mut name = String::with_capacity(ACCOUNT_NAME_BYTES_MAX);
        match self {
            Account::Card(token) => name.extend("card/".chars().chain(token.hexadecimal())),
            Account::Wallet(wallet) => name = format!("wallet/{wallet}"),
            Account::MerchantPayable(merchant) => of_merchant(&mut name, *merchant, "/payable"),
            Account::MerchantPayout(merchant) => of_merchant(&mut name, *merchant, "/payout"),
            Account::AcquirerFees => name.push_str("acquirer/fees"),
            Account::MerchantCaptures(merchant) => of_merchant(&mut name, *merchant, "/captures"),
            Account::Capture(intent) => of_intent(&mut name, "capture/", intent),
            Account::Hold(intent) => of_intent(&mut name, "hold/", intent),
            Account::IssuerFunding => name.push_str("issuer/funding"),
        }
        AccountName::new(name).expect("an escaped name of bounded parts")
    }
}

fn of_merchant(name: &mut String, merchant: MerchantId, which: &str) {
    name.push_str("merchant/");
    push_escaped(name, merchant.bytes());
    name.push_str(which);
}

fn of_intent(name: &mut String, which: &str, intent: &Intent) {
    name.push_str(which);
    push_escaped(name, intent.terminal.bytes());
    for number in [intent.batch.digits(), intent.stan.digits()] {
        name.push('/');
        name.extend(number.map(char::from));
    }
}

/// Identifiers may hold spaces and slashes, account names may not: `%XX` keeps them apart.
fn push_escaped(name: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            name.push(char::from(*byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageClass;
    use types::{BatchNumber, Stan, TerminalId};

    #[test]
    fn accounts_are_called_by_their_parts() {
        let intent = Intent {
            terminal: TerminalId::parse("1234567/").unwrap(),
            merchant: MerchantId::parse("123456789012345").unwrap(),
            batch: BatchNumber::new(7).unwrap(),
            stan: Stan::new(12).unwrap(),
            class: MessageClass::Financial,
        };
        assert_eq!(Account::Capture(intent).name().text(), "capture/1234567%2F/000007/000012");
        assert_eq!(Account::Hold(intent).name().text(), "hold/1234567%2F/000007/000012");
        let token = CardToken(core::array::from_fn(|at| at as u8 * 0x11));
        assert_eq!(Account::Card(token).name().text(), format!("card/{token}"));
        assert_eq!(Account::Card(token).name().text(), "card/00112233445566778899aabbccddeeff");
    }

    #[test]
    fn odd_merchant_ids_keep_their_own_accounts() {
        let name = |text: &str| Account::MerchantCaptures(MerchantId::parse(text).unwrap()).name();
        assert_eq!(name("123456789012345").text(), "merchant/123456789012345/captures");
        assert_ne!(name("a b            "), name("a/b            "));
        assert_eq!(name("a/b            ").text(), "merchant/a%2Fb%20%20%20%20%20%20%20%20%20%20%20%20/captures");
        assert!(name("///////////////").text().len() <= machine::store::ACCOUNT_NAME_BYTES_MAX);
    }
}
