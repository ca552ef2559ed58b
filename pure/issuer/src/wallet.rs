//! Wallets beside cards in the issuer's file, and the codes that their owners pay with (docs/wire/qr-payments.md).
//!
//! A wallet's sale needs no key: the code is the secret. So the acquirer looks up what stands here and asks [`decide`]; the guards on code
//! and balance go with its append.

use crate::conversation::ORGANISATION_DEFAULT;
use crate::reply::{Funds, IssuerReply};
use crate::request::Operation;
use crate::rule::Rule;
use ledger::Account;
use machine::store::Row;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Amount, CARD_TOKEN_BYTES, CardToken, Currency, InstitutionId, PaymentCode, WalletNumber};

/// Space of wallets; the key is [`wallet_key`].
pub const SPACE_WALLET: &str = "wallet";
/// Space of codes given to wallets' owners; the key is the code's digits. A code is given once for ever.
pub const SPACE_PAYMENT_CODE: &str = "payment-code";
/// Space of codes that have paid or wait to: each can do so once. The key is the code's digits.
pub const SPACE_PAYMENT_CODE_USED: &str = "payment-code-used";

/// How long a code is good from the moment it is given, in milliseconds.
pub const PAYMENT_CODE_VALID_MS: u64 = 60_000;
/// Head of codes that wallets pay with: those of UnionPay begin so. An order's begin with another digit.
pub const PAYMENT_CODE_HEAD: &str = "62";
/// Longest name of a wallet in bytes.
pub const WALLET_NAME_BYTES_MAX: usize = 64;

/// Head of a wallet's token; its digits follow.
const TOKEN_HEAD: &[u8; CARD_TOKEN_BYTES] = b"wallet: 00000000";
const TOKEN_DIGITS_AT: usize = 8;

const VERSION: u8 = 1;

/// What the issuer knows of a wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalletFile {
    /// Its issuer (F44).
    pub issuer: InstitutionId,
    /// For people, at most [`WALLET_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Whether it may pay.
    pub active: bool,
    /// Currency of its account.
    pub currency: Currency,
    /// Lowest balance allowed, minor units.
    pub floor_minor: i64,
    /// Largest amount of one payment, minor units.
    pub single_limit_minor: u64,
    /// Above this amount (minor units) the owner is asked on the phone before a scanned code pays.
    pub ask_above_minor: u64,
}

/// A code in its owner's hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenCode {
    /// The wallet that it pays from.
    pub wallet: WalletNumber,
    /// When it was given, Unix milliseconds.
    pub given_ms: u64,
}

impl GivenCode {
    /// Whether its minute is over. One from the future is no better than an old one.
    pub fn expired(&self, wall_ms: u64) -> bool {
        wall_ms < self.given_ms || wall_ms - self.given_ms > PAYMENT_CODE_VALID_MS
    }

    /// The rows that give it to its owner.
    pub fn rows(&self, code: &PaymentCode) -> Vec<Row> {
        vec![Row::Unique { space: SPACE_PAYMENT_CODE, key: payment_code_key(code), value: self.to_bytes() }]
    }
}

/// The account of a wallet.
pub fn wallet_account(wallet: WalletNumber) -> Account {
    Account::Wallet(wallet)
}

/// What stands for a wallet where a card's token would: eight letters and the number. A keyed hash gives no such value.
pub fn wallet_token(wallet: WalletNumber) -> CardToken {
    let mut token = *TOKEN_HEAD;
    token[TOKEN_DIGITS_AT..].copy_from_slice(wallet.to_string().as_bytes());
    CardToken(token)
}

/// The wallet that a token stands for; `None` if it is a card's.
pub fn wallet_of_token(token: &CardToken) -> Option<WalletNumber> {
    let (head, digits) = token.0.split_at(TOKEN_DIGITS_AT);
    if head != &TOKEN_HEAD[..TOKEN_DIGITS_AT] {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok().and_then(WalletNumber::new)
}

/// The key of a wallet's file.
pub fn wallet_key(wallet: WalletNumber) -> Vec<u8> {
    wallet.number().to_be_bytes().to_vec()
}

/// The key of a code's rows.
pub fn payment_code_key(code: &PaymentCode) -> Vec<u8> {
    code.expose().as_bytes().to_vec()
}

/// The rows that open a wallet: its file, and money put on its account. `opening` names the posting and says how much (minor units).
pub fn wallet_rows(wallet: WalletNumber, file: &WalletFile, opening: Option<(String, i64)>) -> Vec<Row> {
    let mut rows = vec![Row::Put { space: SPACE_WALLET, key: wallet_key(wallet), value: file.to_bytes() }];
    if let Some((id, delta_minor)) = opening.filter(|(_, delta_minor)| *delta_minor != 0) {
        rows.push(ledger::account_funding(id, wallet_account(wallet), delta_minor, file.currency).into_row());
    }
    rows
}

/// What is asked of a wallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalletQuestion {
    /// The wallet.
    pub wallet: WalletNumber,
    /// A payment or money that goes back.
    pub operation: Operation,
    /// How much.
    pub amount: Amount,
}

/// The issuer's answer, as for a card. It holds only if the append keeps the account at or above its floor.
pub fn decide(question: &WalletQuestion, file: &WalletFile) -> IssuerReply {
    let rule = refusal(question, file).unwrap_or(Rule::Approved);
    let funds = Funds {
        account: wallet_account(question.wallet).name(),
        currency: file.currency,
        floor_minor: file.floor_minor,
    };
    IssuerReply {
        rule,
        checks: if rule == Rule::Approved {
            vec!["wallet on file", "wallet may pay this"]
        } else {
            vec!["wallet on file"]
        },
        authorisation_code: None,
        chip: Vec::new(),
        funds: (rule == Rule::Approved).then_some(funds),
        organisation: ORGANISATION_DEFAULT,
        issuer: file.issuer,
        pin_tries: None,
        atc_once: None,
    }
}

fn refusal(question: &WalletQuestion, file: &WalletFile) -> Option<Rule> {
    if question.amount.currency() != file.currency {
        return Some(Rule::Currency);
    }
    if question.operation.follows_up() {
        // Money goes back whatever became of the wallet.
        return None;
    }
    if !file.active {
        return Some(Rule::Restricted);
    }
    (question.amount.minor() > file.single_limit_minor).then_some(Rule::SingleLimit)
}

impl Encode for WalletFile {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).text(self.issuer.text()).text(&self.name).bool(self.active);
        writer.u16(self.currency.numeric()).i64(self.floor_minor).u64(self.single_limit_minor);
        writer.u64(self.ask_above_minor);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("wallet file version 1"));
        }
        let issuer = InstitutionId::parse(reader.text()?).map_err(|_| reader.malformed("an institution"))?;
        let name = reader.text()?.to_owned();
        if name.len() > WALLET_NAME_BYTES_MAX {
            return Err(reader.malformed("a short name"));
        }
        Ok(Self {
            issuer,
            name,
            active: reader.bool()?,
            currency: Currency::from_numeric(reader.u16()?).ok_or_else(|| reader.malformed("a currency"))?,
            floor_minor: reader.i64()?,
            single_limit_minor: reader.u64()?,
            ask_above_minor: reader.u64()?,
        })
    }
}

impl Encode for GivenCode {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).value(&self.wallet).u64(self.given_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("given code version 1"));
        }
        Ok(Self { wallet: reader.value()?, given_ms: reader.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> WalletFile {
        WalletFile {
            issuer: InstitutionId::parse("03080000").unwrap(),
            name: "test wallet".to_owned(),
            active: true,
            currency: Currency::CNY,
            floor_minor: 0,
            single_limit_minor: 500_000,
            ask_above_minor: 100_000,
        }
    }

    fn question(operation: Operation, minor: u64) -> WalletQuestion {
        let amount = Amount::from_minor(minor, Currency::CNY).unwrap();
        WalletQuestion { wallet: WalletNumber::new(10_000_001).unwrap(), operation, amount }
    }

    #[test]
    fn a_wallet_pays_within_its_limit_and_takes_back_whatever_it_is() {
        let approved = decide(&question(Operation::Purchase, 500_000), &file());
        assert_eq!(approved.rule, Rule::Approved);
        assert_eq!(approved.funds.unwrap().account.text(), "wallet/10000001");
        let above = decide(&question(Operation::Purchase, 500_001), &file());
        assert_eq!((above.rule, above.funds), (Rule::SingleLimit, None));
        let closed = WalletFile { active: false, ..file() };
        assert_eq!(decide(&question(Operation::Purchase, 1), &closed).rule, Rule::Restricted);
        assert_eq!(decide(&question(Operation::Credit, 900_000), &closed).rule, Rule::Approved);
        let dollars = WalletFile { currency: Currency::USD, ..file() };
        assert_eq!(decide(&question(Operation::Credit, 1), &dollars).rule, Rule::Currency);
    }

    #[test]
    fn a_code_is_good_for_a_minute_and_not_before_it_was_given() {
        let given = GivenCode { wallet: WalletNumber::new(10_000_001).unwrap(), given_ms: 1_000_000 };
        assert!(!given.expired(1_000_000) && !given.expired(1_000_000 + PAYMENT_CODE_VALID_MS));
        assert!(given.expired(1_000_001 + PAYMENT_CODE_VALID_MS) && given.expired(999_999));
    }

    #[test]
    fn a_wallets_token_is_no_cards() {
        let wallet = WalletNumber::new(10_000_001).unwrap();
        assert_eq!(wallet_of_token(&wallet_token(wallet)), Some(wallet));
        assert_eq!(wallet_of_token(&CardToken([7; 16])), None);
        assert_eq!(wallet_of_token(&CardToken(*b"wallet: 0000000x")), None);
    }

    #[test]
    fn files_and_codes_come_back() {
        assert_eq!(WalletFile::from_bytes(&file().to_bytes()), Ok(file()));
        let given = GivenCode { wallet: WalletNumber::new(10_000_001).unwrap(), given_ms: 7 };
        assert_eq!(GivenCode::from_bytes(&given.to_bytes()), Ok(given));
        assert!(WalletFile::from_bytes(&file().to_bytes()[..10]).is_err());
    }
}
