//! What owners of wallets do on their phones: get a code to pay with, pay an order. It works on the store's file, with or without a
//! host running on it.

use crate::settings::HostSettings;
use acquirer::{Order, OrderRefused, SPACE_ORDER, refused_by};
use issuer::wallet::{GivenCode, SPACE_WALLET, WalletFile, payment_code_key, wallet_account, wallet_key, wallet_rows};
use machine::MachineId;
use machine::store::{Append, GuardFailure, Outcome, Row, Store, StoreFault};
use machine::wire::{Encode, Malformed, Writer};
use std::time::{SystemTime, UNIX_EPOCH};
use store_sqlite::SqliteStore;
use types::{Amount, PaymentCode, WalletNumber};

/// Journal of what owners of wallets did.
const WALLETS: &str = "wallets";
/// Version of its records: a text.
const RECORD_VERSION: u8 = 1;
/// How often a record is written again because somebody else's came first.
const ATTEMPTS_MAX: usize = 16;

/// Why an owner's act failed.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The store cannot serve.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A stored value is not readable.
    #[error("stored bytes cannot be read: {0}")]
    Stored(#[from] Malformed),
    /// No such wallet.
    #[error("there is no wallet {0}")]
    NoWallet(WalletNumber),
    /// No order has this code.
    #[error("there is no order with this code")]
    NoOrder,
    /// The order is not paid.
    #[error(transparent)]
    Refused(#[from] OrderRefused),
    /// The code was given to somebody before: draw another.
    #[error("the code was given before")]
    CodeTaken,
    /// Somebody else wrote at the same time; try again.
    #[error("the store was written to at the same time; try again")]
    Conflict,
}

/// A wallet as its owner sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalletSummary {
    /// Its number.
    pub wallet: WalletNumber,
    /// What the issuer knows of it.
    pub file: WalletFile,
    /// What is on it, minor units.
    pub balance_minor: i64,
}

/// What was paid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaidOrder {
    /// From which wallet.
    pub wallet: WalletNumber,
    /// How much.
    pub amount: Amount,
}

/// The wallets of a host's built-in issuer.
pub struct WalletDesk {
    store: SqliteStore,
}

impl WalletDesk {
    /// Opens a host's store.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(settings: &HostSettings) -> Result<Self, WalletError> {
        Ok(Self { store: SqliteStore::open(&settings.store)? })
    }

    /// Opens a wallet with money on it; a known one is left as it is. Gives whether it is new.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn open_wallet(
        &mut self,
        wallet: WalletNumber,
        file: &WalletFile,
        opening_minor: i64,
    ) -> Result<bool, WalletError> {
        if self.store.find(SPACE_WALLET, &wallet_key(wallet))?.is_some() {
            return Ok(false);
        }
        // The posting's id is the same for every opening, so two at the same time cannot both fund the wallet.
        let opening = Some((format!("wallet/{wallet}/opening"), opening_minor));
        match self.write(&format!("opens wallet {wallet}"), wallet_rows(wallet, file, opening))? {
            Ok(()) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Every wallet, by number.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn wallets(&mut self) -> Result<Vec<WalletSummary>, WalletError> {
        let facts = self.store.facts(SPACE_WALLET, &[], usize::MAX)?;
        let number = |key: &[u8]| key.try_into().ok().map(u32::from_be_bytes).and_then(WalletNumber::new);
        let known = facts.iter().filter_map(|fact| Some((number(&fact.key)?, &fact.value)));
        known
            .map(|(wallet, value)| {
                let file = WalletFile::from_bytes(value)?;
                let balance_minor = self.store.balance_minor(&wallet_account(wallet).name(), file.currency)?;
                Ok(WalletSummary { wallet, file, balance_minor })
            })
            .collect()
    }

    /// Gives the owner of a wallet a code to pay with. Whoever calls draws it.
    ///
    /// # Errors
    /// [`WalletError::CodeTaken`] if it was given before.
    pub fn give_code(&mut self, wallet: WalletNumber, code: &PaymentCode) -> Result<(), WalletError> {
        self.file(wallet)?;
        let given = GivenCode { wallet, given_ms: now_ms() };
        let text = format!("gives wallet {wallet} the code {}", code.truncated());
        self.write(&text, given.rows(code))?.map_err(|_| WalletError::CodeTaken)
    }

    /// The order that waits under a code.
    ///
    /// # Errors
    /// [`WalletError::NoOrder`].
    pub fn order(&mut self, code: &PaymentCode) -> Result<Order, WalletError> {
        let stored = self.store.find(SPACE_ORDER, &payment_code_key(code))?.ok_or(WalletError::NoOrder)?;
        Ok(Order::from_bytes(&stored)?)
    }

    /// Pays the order under a code, once: the store refuses if it was paid or closed meanwhile.
    ///
    /// # Errors
    /// [`WalletError::Refused`] with the reason; nothing moved then.
    pub fn pay(&mut self, code: &PaymentCode, wallet: WalletNumber) -> Result<PaidOrder, WalletError> {
        let order = self.order(code)?;
        let file = self.file(wallet)?;
        let rows = order.payment(code, (wallet, &file), now_ms())?;
        let text = format!("wallet {wallet} pays {} for {}", order.amount, order.sale.text());
        match self.write(&text, rows)? {
            Ok(()) => Ok(PaidOrder { wallet, amount: order.amount }),
            Err(failure) => Err(refused_by(&failure).map_or(WalletError::Conflict, WalletError::Refused)),
        }
    }

    fn file(&mut self, wallet: WalletNumber) -> Result<WalletFile, WalletError> {
        let stored = self.store.find(SPACE_WALLET, &wallet_key(wallet))?.ok_or(WalletError::NoWallet(wallet))?;
        Ok(WalletFile::from_bytes(&stored)?)
    }

    /// Writes rows with a line that says what was done; the inner error is the guard that refused them.
    fn write(&mut self, text: &str, rows: Vec<Row>) -> Result<Result<(), GuardFailure>, WalletError> {
        let machine = MachineId::new(WALLETS).expect("a short name");
        let mut writer = Writer::default();
        writer.u8(RECORD_VERSION).u64(now_ms()).text(text);
        let records = vec![writer.into_bytes()];
        for _ in 0..ATTEMPTS_MAX {
            let first_sequence = self.store.last_sequence(machine)? + 1;
            let append =
                Append { machine, first_sequence, records: records.clone(), rows: rows.clone(), snapshot: false };
            match self.store.append(&[append])?.pop() {
                Some(Outcome::Durable(_)) => return Ok(Ok(())),
                Some(Outcome::GuardFailed(failure)) => return Ok(Err(failure)),
                Some(Outcome::Conflict) | None => {}
            }
        }
        Err(WalletError::Conflict)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
