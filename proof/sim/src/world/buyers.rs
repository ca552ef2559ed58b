//! Buyers with phones: codes that the shop scans, orders that they scan, and the moment at which they pay, if they do.

use super::{Happening, World};
use crate::phone::Phone;
use crate::random::Random;
use crate::terminal::Waiting;
use till::{OperatorCommand, Screen};
use types::{Amount, Currency, PaymentCode};

/// Chance in millionths that a code is scanned that was scanned before: a picture of it, or a phone that was not looked at again.
const SCANNED_AGAIN: u32 = 150_000;
/// Chance in millionths that a buyer goes away and never pays.
const NEVER_PAYS: u32 = 150_000;
/// Chance in millionths that a second person pays the same order, or the same one twice.
const PAID_AGAIN: u32 = 100_000;
/// Chance in millionths that the cashier stops waiting.
const GIVEN_UP: u32 = 150_000;
/// Most buyers look at their phones at once; in millionths, and how long that takes in milliseconds.
const AT_ONCE: u32 = 800_000;
const AT_ONCE_MS_MAX: u64 = 12_000;
/// Later than an order may be paid, in milliseconds.
const LATE_MS_MAX: u64 = 200_000;

/// What is known of the people with phones.
pub(super) struct Buyers {
    phones: [Phone; 3],
    codes_given: u64,
    /// The code that was scanned last at any till, and whose it is.
    scanned: Option<(PaymentCode, Phone)>,
    /// The code that each terminal waits for, for which the buyer's next step is planned.
    awaited: Vec<Option<PaymentCode>>,
    /// The code that was scanned last at each terminal.
    at_till: Vec<Option<(PaymentCode, Phone)>>,
}

impl Buyers {
    pub fn new(terminals: usize) -> Self {
        let (awaited, at_till) = (vec![None; terminals], vec![None; terminals]);
        Self { phones: Phone::all(), codes_given: 0, scanned: None, awaited, at_till }
    }
}

impl World {
    pub(super) fn open_wallets(&mut self, terminals: usize) -> anyhow::Result<()> {
        self.buyers = Some(Buyers::new(terminals));
        for phone in Phone::all() {
            phone.open_wallet(&mut self.store)?;
        }
        Ok(())
    }

    pub(super) fn draw_qr_sale(&mut self, index: usize) -> OperatorCommand {
        let amount = self.draw_qr_amount(index);
        match self.draw_code(index) {
            Some(code) => OperatorCommand::QrSale { amount, code },
            None => OperatorCommand::QrOrder { amount },
        }
    }

    pub(super) fn draw_qr_order(&mut self, index: usize) -> OperatorCommand {
        OperatorCommand::QrOrder { amount: self.draw_qr_amount(index) }
    }

    fn draw_qr_amount(&mut self, index: usize) -> Amount {
        let most = if self.shoppers.chance(10_000) { 3_000_000 } else { 5_000 };
        let minor = self.shoppers.between(1, most);
        self.witness.wished(self.peers[index].terminal.text(), minor);
        Amount::from_minor(minor, Currency::CNY).expect("a small amount")
    }

    /// A buyer shows a code: a fresh one, or one that was shown before.
    fn draw_code(&mut self, index: usize) -> Option<PaymentCode> {
        let wall_ms = self.host_now().wall_ms;
        let buyers = self.buyers.as_mut()?;
        let again = buyers.scanned.filter(|_| self.shoppers.chance(SCANNED_AGAIN));
        let (code, phone) = match again {
            Some(scanned) => scanned,
            None => {
                let phone = *self.shoppers.pick(&buyers.phones);
                buyers.codes_given += 1;
                (phone.give_code(&mut self.store, buyers.codes_given, wall_ms).ok()?, phone)
            }
        };
        self.witness.code_given(code.expose(), phone.number());
        buyers.scanned = Some((code, phone));
        buyers.at_till[index] = Some((code, phone));
        Some(code)
    }

    /// The till waits for the buyer: what he will do is drawn once.
    pub(super) fn buyer_awaited(&mut self, index: usize, screen: &Screen) {
        let Screen::AwaitingPayer { amount, code, .. } = screen else { return };
        let Some(buyers) = &mut self.buyers else { return };
        let asked = buyers.at_till[index];
        let Some(code) = code.or(asked.map(|(code, _)| code)) else { return };
        if buyers.awaited[index].replace(code) == Some(code) {
            return;
        }
        let scans = asked.is_none_or(|(scanned, _)| scanned != code);
        let phones = buyers.phones;
        let phone =
            |random: &mut Random| asked.filter(|_| !scans).map_or_else(|| *random.pick(&phones), |(_, phone)| phone);
        if !self.shoppers.chance(NEVER_PAYS) {
            let again = if self.shoppers.chance(PAID_AGAIN) { 2 } else { 1 };
            for _ in 0..again {
                let paying = Paying { code, phone: phone(&mut self.shoppers), shown_minor: amount.minor() };
                let delay_ms = self.until_paid_ms();
                self.schedule.after(delay_ms, Happening::BuyerPays(paying));
            }
        }
        if self.shoppers.chance(GIVEN_UP) {
            let (life, delay_ms) = (self.terminals[index].life, self.shoppers.between(500, 90_000));
            self.soon(index, life, delay_ms, Waiting::Till(till::Event::Operator(OperatorCommand::Cancel)));
        }
    }

    fn until_paid_ms(&mut self) -> u64 {
        let most_ms = if self.shoppers.chance(AT_ONCE) { AT_ONCE_MS_MAX } else { LATE_MS_MAX };
        self.shoppers.between(500, most_ms)
    }

    /// The buyer looks at the phone and pays what it shows, if it still can be paid.
    pub(super) fn buyer_pays(&mut self, paying: &Paying) {
        let Paying { code, phone, shown_minor } = *paying;
        let wall_ms = self.host_now().wall_ms;
        let paid = phone.pay(&mut self.store, &code, wall_ms).expect("a simulated store writes");
        self.note("phone", format!("{} pays {paid:?}", phone.number()).as_bytes());
        if paid.is_some() {
            self.witness.order_paid(code.expose(), phone.number());
        }
        if paid.is_some_and(|minor| minor != shown_minor) {
            self.auditor.report("Q1", format!("a till shows {shown_minor} and the phone pays {paid:?}"));
        }
    }
}

/// A buyer about to pay.
#[derive(Clone, Copy)]
pub(super) struct Paying {
    code: PaymentCode,
    phone: Phone,
    shown_minor: u64,
}
