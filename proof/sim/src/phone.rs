//! Buyers' phones: they work on the host's disk beside the host, as another process would.

use crate::store::SimulatedStore;
use acquirer::{Order, SPACE_ORDER};
use issuer::wallet::{GivenCode, WalletFile, payment_code_key, wallet_rows};
use machine::MachineId;
use machine::store::{Append, Outcome, Row, Store, StoreFault};
use machine::wire::Encode;
use types::{Currency, InstitutionId, PaymentCode, WalletNumber};

/// Number of the first wallet of a world; the others follow.
const FIRST_WALLET: u32 = 10_000_001;
/// Money in a wallet, minor units, and in the one that runs dry.
const MONEY_MINOR: i64 = 100_000_000;
const POOR_MONEY_MINOR: i64 = 20_000;
/// Above this its owner is asked first, minor units.
pub const ASK_ABOVE_MINOR: u64 = 50_000;
const ANXIOUS_ASK_ABOVE_MINOR: u64 = 2_500;
const SINGLE_LIMIT_MINOR: u64 = 2_000_000;
/// Codes are numbered behind the head that all of them have.
const FIRST_CODE: u64 = 6_200_000_000_000_000_000;

/// Somebody with a wallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phone {
    wallet: WalletNumber,
    money_minor: i64,
    ask_above_minor: u64,
}

impl Phone {
    /// The phones of a world: one of plenty, one whose owner wants to be asked, one that runs dry.
    pub fn all() -> [Self; 3] {
        [
            Self::numbered(0, MONEY_MINOR, ASK_ABOVE_MINOR),
            Self::numbered(1, MONEY_MINOR, ANXIOUS_ASK_ABOVE_MINOR),
            Self::numbered(2, POOR_MONEY_MINOR, ASK_ABOVE_MINOR),
        ]
    }

    fn numbered(place: u32, money_minor: i64, ask_above_minor: u64) -> Self {
        let wallet = WalletNumber::new(FIRST_WALLET + place).expect("eight digits");
        Self { wallet, money_minor, ask_above_minor }
    }

    /// Number of the wallet.
    pub fn number(self) -> u64 {
        u64::from(self.wallet.number())
    }

    fn file(self) -> WalletFile {
        WalletFile {
            issuer: InstitutionId::parse("03080000").expect("eight digits"),
            name: "buyer".to_owned(),
            active: true,
            currency: Currency::CNY,
            floor_minor: 0,
            single_limit_minor: SINGLE_LIMIT_MINOR,
            ask_above_minor: self.ask_above_minor,
        }
    }

    /// Opens the wallet with money in it.
    pub fn open_wallet(self, store: &mut SimulatedStore) -> Result<(), StoreFault> {
        let opening = Some((format!("opening/{}", self.wallet), self.money_minor));
        write(store, wallet_rows(self.wallet, &self.file(), opening)).map(drop)
    }

    /// A fresh code in the owner's hand, the `number`th of this world.
    pub fn give_code(self, store: &mut SimulatedStore, number: u64, wall_ms: u64) -> Result<PaymentCode, StoreFault> {
        let code = PaymentCode::parse(&(FIRST_CODE + number).to_string()).expect("nineteen digits");
        let given = GivenCode { wallet: self.wallet, given_ms: wall_ms };
        write(store, given.rows(&code)).map(|_| code)
    }

    /// The owner pays an order, or says yes to what was scanned: what the phone says was paid, minor units. Nothing happens if it is
    /// over, or somebody else's.
    pub fn pay(self, store: &mut SimulatedStore, code: &PaymentCode, wall_ms: u64) -> Result<Option<u64>, StoreFault> {
        let stored = store.find(SPACE_ORDER, &payment_code_key(code))?;
        let Some(order) = stored.and_then(|bytes| Order::from_bytes(&bytes).ok()) else { return Ok(None) };
        let Ok(rows) = order.payment(code, (self.wallet, &self.file()), wall_ms) else { return Ok(None) };
        Ok(write(store, rows)?.then(|| order.amount.minor()))
    }
}

fn write(store: &mut SimulatedStore, rows: Vec<Row>) -> Result<bool, StoreFault> {
    let machine = MachineId::new("phone").expect("a short name");
    let first_sequence = store.next_sequence(machine)?;
    let append = Append { machine, first_sequence, records: vec![b"phone".to_vec()], rows, snapshot: false };
    Ok(matches!(store.append(&[append])?.pop(), Some(Outcome::Durable(_))))
}
