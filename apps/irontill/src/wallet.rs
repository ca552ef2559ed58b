//! `irontill wallet`: what a buyer does on the phone (docs/how-to/qr-payments.md).

use crate::system::Folder;
use crate::verdict::{Misuse, Verdict};
use anyhow::Context;
use clap::Subcommand;
use irontill_host::{HostSettings, WalletDesk, WalletError};
use irontill_terminal::{Observer, Progress};
use issuer::WalletFile;
use issuer::wallet::{PAYMENT_CODE_HEAD, PAYMENT_CODE_VALID_MS};
use serde_json::json;
use std::path::PathBuf;
use till::Screen;
use types::{Currency, PAYMENT_CODE_DIGITS, PaymentCode, WalletNumber};

/// Draws of a code before chance is blamed.
const DRAWS_MAX: usize = 16;
/// Random bytes below this make digits of equal weight.
const FAIR_BYTES: u8 = 250;

/// A wallet of the demo.
struct DemoWallet {
    number: u32,
    name: &'static str,
    active: bool,
    opening_minor: i64,
    /// What it must do.
    expectation: &'static str,
}

const DEMO_WALLETS: [DemoWallet; 3] = [
    DemoWallet {
        number: 10_000_001,
        name: "demo wallet",
        active: true,
        opening_minor: 1_000_000,
        expectation: "pays up to 5000.00; above 500.00 its owner is asked on the phone first",
    },
    DemoWallet {
        number: 10_000_002,
        name: "nearly empty wallet",
        active: true,
        opening_minor: 100,
        expectation: "declined above 1.00: 51",
    },
    DemoWallet {
        number: 10_000_003,
        name: "frozen wallet",
        active: false,
        opening_minor: 1_000_000,
        expectation: "declined: 62",
    },
];
/// Largest amount of one payment of a demo wallet, minor units.
const SINGLE_LIMIT_MINOR: u64 = 500_000;
/// Above this a demo wallet's owner is asked first, minor units.
const ASK_ABOVE_MINOR: u64 = 50_000;

/// A code of the first demo wallet, just drawn.
pub fn scan(folder: &Folder) -> anyhow::Result<PaymentCode> {
    fresh_code(&mut desk(folder)?, number(DEMO_WALLETS[0].number)?)
}

/// A buyer who pays every code that a till shows, each once, from the demo's first wallet. What the shop or the wallet says no to is
/// the till's business; a fault is kept for whoever asks.
pub struct Buyer<'a> {
    folder: &'a Folder,
    seen: Option<PaymentCode>,
    fault: Option<anyhow::Error>,
}

impl<'a> Buyer<'a> {
    /// Somebody with a phone in front of this system's tills.
    pub fn new(folder: &'a Folder) -> Self {
        Self { folder, seen: None, fault: None }
    }

    /// Whether everything went as it should.
    pub fn ended(self) -> anyhow::Result<()> {
        self.fault.map_or(Ok(()), Err)
    }

    fn pay(&self, code: &PaymentCode) -> anyhow::Result<()> {
        match desk(self.folder)?.pay(code, number(DEMO_WALLETS[0].number)?) {
            Ok(_) | Err(WalletError::Refused(_) | WalletError::NoOrder) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}

impl Observer for Buyer<'_> {
    fn see(&mut self, progress: Progress<'_>) {
        if let Progress::Screen(Screen::AwaitingPayer { code: Some(code), .. }) = progress
            && self.seen.replace(*code) != Some(*code)
            && let Err(fault) = self.pay(code)
        {
            self.fault = Some(fault);
        }
    }
}

/// What a buyer does on the phone.
#[derive(Subcommand)]
pub enum WalletCommand {
    /// Lists the wallets and what each must do.
    List {
        /// Folder of the system; without it the demo's wallets as they are opened.
        #[arg(long)]
        data: Option<PathBuf>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// A code to pay with at a till (付款码): good once and for a minute.
    Code {
        /// Number of the wallet.
        #[arg(long, default_value_t = DEMO_WALLETS[0].number)]
        wallet: u32,
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Pays the order whose code a till shows, or says yes to a payment that a till has scanned.
    Pay {
        /// The code.
        code: String,
        /// Number of the wallet; the one that is asked, otherwise the demo's first.
        #[arg(long)]
        wallet: Option<u32>,
        /// Folder of the system.
        #[arg(long)]
        data: PathBuf,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

impl WalletCommand {
    /// Carries it out.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            WalletCommand::List { data: None, json } => list_demo(json),
            WalletCommand::List { data: Some(data), json } => list(&Folder::existing(&data)?, json),
            WalletCommand::Code { wallet, data, json } => {
                give(&mut desk(&Folder::existing(&data)?)?, number(wallet)?, json)
            }
            WalletCommand::Pay { code, wallet, data, json } => {
                let wallet = wallet.map(number).transpose()?;
                pay(&mut desk(&Folder::existing(&data)?)?, &parse_code(&code)?, wallet, json)
            }
        }
    }
}

/// Opens the demo's wallets that are not there yet.
pub fn open_demo_wallets(folder: &Folder) -> anyhow::Result<()> {
    let settings = folder.host_settings()?;
    let mut desk = WalletDesk::open(&settings)?;
    for wallet in &DEMO_WALLETS {
        desk.open_wallet(number(wallet.number)?, &wallet.file(&settings), wallet.opening_minor)?;
    }
    Ok(())
}

/// The wallets of a system.
pub fn desk(folder: &Folder) -> anyhow::Result<WalletDesk> {
    Ok(WalletDesk::open(&folder.host_settings()?)?)
}

/// A fresh code in the hand of a wallet's owner.
pub fn fresh_code(desk: &mut WalletDesk, wallet: WalletNumber) -> anyhow::Result<PaymentCode> {
    for _ in 0..DRAWS_MAX {
        let code = draw_code()?;
        match desk.give_code(wallet, &code) {
            Ok(()) => return Ok(code),
            Err(WalletError::CodeTaken) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    anyhow::bail!("every code drawn was given before")
}

/// A number as a user types it.
pub fn number(number: u32) -> Result<WalletNumber, Misuse> {
    WalletNumber::new(number).ok_or_else(|| Misuse("--wallet: a number of eight digits".to_owned()))
}

/// A code as a scanner or a user types it.
pub fn parse_code(text: &str) -> Result<PaymentCode, Misuse> {
    PaymentCode::parse(text).map_err(|cause| Misuse(cause.to_string()))
}

impl DemoWallet {
    fn file(&self, settings: &HostSettings) -> WalletFile {
        WalletFile {
            issuer: settings.issuer,
            name: self.name.to_owned(),
            active: self.active,
            currency: Currency::CNY,
            floor_minor: 0,
            single_limit_minor: SINGLE_LIMIT_MINOR,
            ask_above_minor: ASK_ABOVE_MINOR,
        }
    }
}

/// Digits of equal weight, whatever the source gives.
fn draw_code() -> anyhow::Result<PaymentCode> {
    let mut digits = PAYMENT_CODE_HEAD.to_owned();
    while digits.len() < PAYMENT_CODE_DIGITS {
        let mut random = [0; 32];
        getrandom::fill(&mut random).context("the random number source")?;
        let fair = random.iter().filter(|byte| **byte < FAIR_BYTES).map(|byte| char::from(b'0' + byte % 10));
        digits.extend(fair);
        digits.truncate(PAYMENT_CODE_DIGITS);
    }
    Ok(parse_code(&digits)?)
}

fn list_demo(json: bool) -> anyhow::Result<Verdict> {
    if json {
        let one = |wallet: &DemoWallet| json!({ "wallet": wallet.number, "name": wallet.name, "expectation": wallet.expectation });
        println!("{}", json!({ "wallets": DEMO_WALLETS.iter().map(one).collect::<Vec<_>>() }));
    } else {
        DEMO_WALLETS
            .iter()
            .for_each(|wallet| println!("{}  {:<20} {}", wallet.number, wallet.name, wallet.expectation));
    }
    Ok(Verdict::Yes)
}

fn list(folder: &Folder, json: bool) -> anyhow::Result<Verdict> {
    let wallets = desk(folder)?.wallets()?;
    if json {
        let one = |known: &irontill_host::WalletSummary| {
            json!({
                "wallet": known.wallet.number(), "name": known.file.name, "active": known.file.active,
                "balance_minor": known.balance_minor,
            })
        };
        println!("{}", json!({ "wallets": wallets.iter().map(one).collect::<Vec<_>>() }));
    } else {
        for known in wallets {
            let state = if known.file.active { "" } else { ", frozen" };
            println!("{}  {:<20} {} minor units{state}", known.wallet, known.file.name, known.balance_minor);
        }
    }
    Ok(Verdict::Yes)
}

fn give(desk: &mut WalletDesk, wallet: WalletNumber, json: bool) -> anyhow::Result<Verdict> {
    let code = match fresh_code(desk, wallet) {
        Ok(code) => code,
        Err(fault) => return refused(fault),
    };
    if json {
        let valid_s = PAYMENT_CODE_VALID_MS / 1000;
        println!("{}", json!({ "code": code.expose(), "wallet": wallet.number(), "valid_s": valid_s }));
    } else {
        println!("{}", code.expose());
    }
    Ok(Verdict::Yes)
}

fn pay(desk: &mut WalletDesk, code: &PaymentCode, wallet: Option<WalletNumber>, json: bool) -> anyhow::Result<Verdict> {
    let asked = match desk.order(code) {
        Ok(order) => order.wallet,
        Err(fault) => return refused(fault.into()),
    };
    let wallet = wallet.or(asked).map_or_else(|| number(DEMO_WALLETS[0].number), Ok)?;
    match desk.pay(code, wallet) {
        Ok(paid) if json => {
            println!("{}", json!({ "status": "paid", "wallet": wallet.number(), "amount": paid.amount.to_string() }));
        }
        Ok(paid) => println!("已付款 / paid {} from wallet {}", paid.amount, paid.wallet),
        Err(fault) => return refused(fault.into()),
    }
    Ok(Verdict::Yes)
}

/// What a wallet or the shop says no to is a "no"; everything else is a fault.
fn refused(fault: anyhow::Error) -> anyhow::Result<Verdict> {
    match fault.downcast::<WalletError>() {
        Ok(refusal @ (WalletError::Refused(_) | WalletError::NoOrder | WalletError::NoWallet(_))) => {
            eprintln!("irontill: {refusal}");
            Ok(Verdict::No)
        }
        Ok(other) => Err(other.into()),
        Err(other) => Err(other),
    }
}
