//! Shoppers and cashiers: who comes when, and what is asked of the till.

use super::{Happening, WALLETS, World};
use crate::terminal::{LOOKS_AGAIN_MS_MIN, Waiting};
use till::{CompletionForm, OperatorCommand, TransactionKind, TransactionStatus};
use types::{Amount, Currency, Stan};

/// Chance in millionths that a cashier forgets nothing: a pre-authorisation that was ended once is ended again.
const ENDED_AGAIN: u32 = 200_000;
/// Chance in millionths that a cashier gives a command although the till is busy.
const IMPATIENT: u32 = 20_000;
/// Chance in millionths that a shopper who voids brings another card than the one that paid.
const WRONG_CARD: u32 = 100_000;
/// Chance in millionths that a QR payment is refunded by what its slip says, and not by its reference number.
const BY_VOUCHER: u32 = 600_000;
/// Instalments that shoppers ask for; the host does not offer the last one.
const INSTALMENTS: [u8; 4] = [3, 6, 12, 7];
/// What is voided by the number of its slip.
const VOIDED: &[TransactionKind] = &[
    TransactionKind::Sale,
    TransactionKind::OfflineSale,
    TransactionKind::Instalment,
    TransactionKind::QrSale,
    TransactionKind::QrOrder,
];
/// One world in so many has days on which no shop opens: time passes that no payment fills.
const HOLIDAY_WORLDS: u64 = 4;
/// Chance in millionths, with each shopper of such a world, that the shops close behind him.
const HOLIDAY: u32 = 2_000;
/// Longest closure in virtual milliseconds: forty days, longer than a hold may stand.
const HOLIDAY_MS_MAX: u64 = 40 * 24 * 3_600_000;
/// Closures of one world: together they end before the cards and the payment system's keys do.
const HOLIDAYS_MAX: u32 = 6;
/// Shops open again within this time after a closure, in virtual milliseconds.
const OPENING_MS_MAX: u64 = 600_000;

/// How seldom a shopper looks again at a busy till, in milliseconds.
const LOOKS_AGAIN_MS_MAX: u64 = 64_000;

impl World {
    /// One shopper at a time stands before a terminal: planning the next one sends away whoever was planned before.
    pub(super) fn plan_shopper(&mut self, index: usize, delay_ms: u64) {
        if self.script.is_some() {
            return;
        }
        self.terminals[index].shoppers_planned += 1;
        let turn = self.terminals[index].shoppers_planned;
        self.schedule.after(delay_ms, Happening::Shopper { index, turn });
    }

    pub(super) fn shopper_acts(&mut self, index: usize, turn: u64) {
        if self.terminals[index].shoppers_planned != turn {
            return;
        }
        if self.is_closed() {
            let delay_ms = self.until_opening_ms();
            return self.plan_shopper(index, delay_ms);
        }
        let Some(till) = self.terminals[index].till() else {
            return self.plan_shopper(index, 5_000);
        };
        // A command given to a busy till waits or is refused: that too must happen at times.
        if !till.is_idle() && !self.shoppers.chance(IMPATIENT) {
            return self.wait_for_till(index);
        }
        self.terminals[index].looks_again_ms = LOOKS_AGAIN_MS_MIN;
        if self.healing_since_ms.is_some() {
            return;
        }
        let Some(till) = self.terminals[index].till() else { return };
        let hung = till.state().settlement.is_some() || till.status().parked.is_some();
        let command = if hung && self.shoppers.chance(500_000) {
            OperatorCommand::ResumePending
        } else {
            self.draw_command(index)
        };
        let life = self.terminals[index].life;
        self.soon(index, life, 1, Waiting::Till(till::Event::Operator(command)));
        // Should the outcome be lost in a power cut, the next shopper comes anyway.
        self.plan_shopper(index, 400_000);
    }

    /// A till that may not sign in is busy for hours: who waits for it looks ever more seldom.
    fn wait_for_till(&mut self, index: usize) {
        let delay_ms = self.terminals[index].looks_again_ms;
        self.terminals[index].looks_again_ms = (2 * delay_ms).min(LOOKS_AGAIN_MS_MAX);
        self.plan_shopper(index, delay_ms);
    }

    /// Whether all shops are closed. Closing is drawn with a shopper, and only while payments are still to come.
    fn is_closed(&mut self) -> bool {
        let has_holidays = self.plan.seed % HOLIDAY_WORLDS == HOLIDAY_WORLDS - 1;
        if has_holidays
            && self.healing_since_ms.is_none()
            && self.holidays < HOLIDAYS_MAX
            && self.shoppers.chance(HOLIDAY)
        {
            self.holidays += 1;
            self.closed_until_ms = self.schedule.now_ms() + self.shoppers.between(1, HOLIDAY_MS_MAX);
        }
        self.healing_since_ms.is_none() && self.schedule.now_ms() < self.closed_until_ms
    }

    pub(super) fn until_opening_ms(&mut self) -> u64 {
        self.closed_until_ms - self.schedule.now_ms() + self.shoppers.between(1, OPENING_MS_MAX)
    }

    fn draw_command(&mut self, index: usize) -> OperatorCommand {
        let drawn = self.shoppers.below(100);
        let wallet = self.shoppers.below(WALLETS);
        self.terminals[index].in_reader = usize::try_from(wallet).expect("few wallets");
        self.terminals[index].mistypes = self.shoppers.chance(30_000);
        self.clock_may_jump(index, self.faults.clock_jump / 20);
        self.host_clock_may_jump(self.faults.host_clock_jump / 20);
        self.begun += 1;
        match drawn {
            0..=9 => self.draw_void(index),
            10..=17 => self.draw_refund(index),
            18..=20 => OperatorCommand::Balance,
            21..=22 => OperatorCommand::Settle,
            23 => OperatorCommand::SignIn,
            24 => OperatorCommand::Echo,
            25 => OperatorCommand::ResumePending,
            // More ends than beginnings, as in a shop: what stays held is what somebody lost sight of.
            26..=33 => self.draw_pre_authorisation(),
            34..=45 => self.draw_end_of_hold(index),
            46..=48 => self.draw_completion_void(index),
            49..=51 => self.draw_tip(index),
            52..=54 => self.draw_instalments(index),
            55..=58 => self.draw_qr_sale(index),
            59..=60 => self.draw_qr_order(index),
            _ => self.draw_sale(index),
        }
    }

    fn draw_sale(&mut self, index: usize) -> OperatorCommand {
        let most = if self.shoppers.chance(10_000) { 3_000_000 } else { 5_000 };
        let minor = self.shoppers.between(1, most);
        self.witness.wished(self.peers[index].terminal.text(), minor);
        OperatorCommand::Sale { amount: Amount::from_minor(minor, Currency::CNY).expect("a small amount") }
    }

    fn draw_instalments(&mut self, index: usize) -> OperatorCommand {
        let minor = self.shoppers.between(1, 20_000);
        self.witness.wished(self.peers[index].terminal.text(), minor);
        let amount = Amount::from_minor(minor, Currency::CNY).expect("a small amount");
        OperatorCommand::SellByInstalments { amount, count: *self.shoppers.pick(&INSTALMENTS) }
    }

    fn draw_pre_authorisation(&mut self) -> OperatorCommand {
        let most = if self.shoppers.chance(10_000) { 3_000_000 } else { 5_000 };
        let minor = self.shoppers.between(1, most);
        OperatorCommand::PreAuthorise { amount: Amount::from_minor(minor, Currency::CNY).expect("a small amount") }
    }

    /// A void or completion of a pre-authorisation of any batch. Some are ended already: the host must refuse them.
    fn draw_end_of_hold(&mut self, index: usize) -> OperatorCommand {
        if self.authorised[index].is_empty() {
            return self.draw_pre_authorisation();
        }
        let place = self.shoppers.below(u64::try_from(self.authorised[index].len()).expect("a short list"));
        let place = usize::try_from(place).expect("a short list");
        let authorised = self.authorised[index][place].clone();
        if !self.shoppers.chance(ENDED_AGAIN) {
            self.ending[index] = Some(self.authorised[index].remove(place));
        }
        if !self.shoppers.chance(WRONG_CARD) {
            self.terminals[index].in_reader = authorised.wallet;
        }
        let authorisation = authorised.named;
        if self.shoppers.chance(300_000) {
            return OperatorCommand::VoidPreAuthorisation { amount: authorised.amount, authorisation };
        }
        // Sometimes above the bound: the host must refuse it.
        let minor = self.shoppers.between(1, authorised.amount.minor() * 120 / 100 + 1);
        let amount = Amount::from_minor(minor, Currency::CNY).expect("a small amount");
        let form = if self.shoppers.chance(300_000) { CompletionForm::Notice } else { CompletionForm::Request };
        OperatorCommand::Complete { amount, authorisation, form }
    }

    fn draw_completion_void(&mut self, index: usize) -> OperatorCommand {
        if self.completed[index].is_empty() {
            return self.draw_end_of_hold(index);
        }
        let (stan, wallet) = *self.shoppers.pick(&self.completed[index]);
        if !self.shoppers.chance(WRONG_CARD) {
            self.terminals[index].in_reader = wallet;
        }
        OperatorCommand::VoidCompletion { stan }
    }

    /// A sale of the open batch that the bank has approved; some are voided already.
    fn draw_approved(&mut self, index: usize, kinds: &[TransactionKind]) -> Option<(Stan, Amount)> {
        let till = self.terminals[index].till()?;
        let fits = |of: &&till::Transaction| kinds.contains(&of.kind) && of.status == TransactionStatus::Approved;
        let count = till.transactions().filter(fits).count();
        let place = usize::try_from(self.shoppers.below(u64::try_from(count).ok().filter(|count| *count > 0)?)).ok()?;
        let sale = till.transactions().filter(fits).nth(place)?;
        Some((sale.stan, sale.amount))
    }

    /// Sometimes more than a tip may be, sometimes for a sale that has one: the till must refuse it.
    fn draw_tip(&mut self, index: usize) -> OperatorCommand {
        let Some((stan, sold)) = self.draw_approved(index, &[TransactionKind::Sale, TransactionKind::OfflineSale])
        else {
            return self.draw_sale(index);
        };
        let minor = self.shoppers.between(1, sold.minor() * 22 / 100 + 1);
        self.witness.wished(self.peers[index].terminal.text(), minor);
        OperatorCommand::Tip { stan, tip: Amount::from_minor(minor, Currency::CNY).expect("a small amount") }
    }

    fn draw_void(&mut self, index: usize) -> OperatorCommand {
        let Some((stan, _)) = self.draw_approved(index, VOIDED) else { return self.draw_sale(index) };
        let sold = self.refundable[index].iter().rev().find(|sale| sale.stan == stan);
        if let Some(wallet) = sold.map(|sale| sale.wallet).filter(|_| !self.shoppers.chance(WRONG_CARD)) {
            self.terminals[index].in_reader = wallet;
        }
        OperatorCommand::Void { stan }
    }

    fn draw_refund(&mut self, index: usize) -> OperatorCommand {
        if self.refundable[index].is_empty() {
            return self.draw_sale(index);
        }
        let sale = self.shoppers.pick(&self.refundable[index]).clone();
        // Sometimes more than was paid: the host must refuse it.
        let most = sale.amount.minor() + sale.amount.minor() / 10 + 1;
        let minor = self.shoppers.between(1, most);
        if sale.voucher_code.is_none() {
            self.terminals[index].in_reader = sale.wallet;
        }
        self.witness.wished(self.peers[index].terminal.text(), minor);
        let amount = Amount::from_minor(minor, Currency::CNY).expect("a small amount");
        match sale.voucher_code.filter(|_| self.shoppers.chance(BY_VOUCHER)) {
            Some(voucher_code) => OperatorCommand::QrRefund { amount, voucher_code, original_date: sale.date },
            None => OperatorCommand::Refund { amount, original_rrn: sale.rrn, original_date: sale.date },
        }
    }
}
