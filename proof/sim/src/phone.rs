//! A buyer's phone in a scripted world: it works on the host's disk beside the host, as another process would.

use crate::store::SimulatedStore;
use acquirer::{Order, SPACE_ORDER};
use issuer::wallet::{GivenCode, WalletFile, payment_code_key, wallet_rows};
use machine::MachineId;
use machine::store::{Append, Outcome, Row, Store, StoreFault};
use machine::wire::Encode;
use types::{Currency, InstitutionId, PaymentCode, WalletNumber};

/// The one wallet of a scripted world.
const WALLET: u32 = 10_000_001;
/// Money in it, minor units.
const MONEY_MINOR: i64 = 100_000_000;
/// Above this its owner is asked first, minor units.
pub const ASK_ABOVE_MINOR: u64 = 50_000;
const SINGLE_LIMIT_MINOR: u64 = 2_000_000;
/// Codes are numbered behind the head that all of them have.
const FIRST_CODE: u64 = 6_200_000_000_000_000_000;

fn wallet() -> WalletNumber {
    WalletNumber::new(WALLET).expect("eight digits")
}

fn file() -> WalletFile {
    WalletFile {
        issuer: InstitutionId::parse("03080000").expect("eight digits"),
        name: "buyer".to_owned(),
        active: true,
        currency: Currency::CNY,
        floor_minor: 0,
        single_limit_minor: SINGLE_LIMIT_MINOR,
        ask_above_minor: ASK_ABOVE_MINOR,
    }
}

/// Opens the wallet with money in it.
pub fn open_wallet(store: &mut SimulatedStore) -> Result<(), StoreFault> {
    let opening = Some((format!("opening/{WALLET}"), MONEY_MINOR));
    write(store, wallet_rows(wallet(), &file(), opening)).map(drop)
}

/// A fresh code in the owner's hand, the `number`th of this world.
pub fn give_code(store: &mut SimulatedStore, number: u64, wall_ms: u64) -> Result<PaymentCode, StoreFault> {
    let code = PaymentCode::parse(&(FIRST_CODE + number).to_string()).expect("nineteen digits");
    let given = GivenCode { wallet: wallet(), given_ms: wall_ms };
    write(store, given.rows(&code)).map(|_| code)
}

/// The owner pays an order, or says yes to what was scanned; nothing happens if it is over.
pub fn pay(store: &mut SimulatedStore, code: &PaymentCode, wall_ms: u64) -> Result<(), StoreFault> {
    let stored = store.find(SPACE_ORDER, &payment_code_key(code))?;
    let order = stored.and_then(|bytes| Order::from_bytes(&bytes).ok());
    let rows = order.and_then(|order| order.payment(code, (wallet(), &file()), wall_ms).ok());
    rows.map_or(Ok(()), |rows| write(store, rows).map(drop))
}

fn write(store: &mut SimulatedStore, rows: Vec<Row>) -> Result<bool, StoreFault> {
    let machine = MachineId::new("phone").expect("a short name");
    let first_sequence = store.load(machine)?.last_sequence + 1;
    let append = Append { machine, first_sequence, records: vec![b"phone".to_vec()], rows, snapshot: false };
    Ok(matches!(store.append(&[append])?.pop(), Some(Outcome::Durable(_))))
}
