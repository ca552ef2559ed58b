//! A transaction in a sentence for the cashier and one for the shopper, in both languages: what to do, and what became of the money.

use crate::text::Text;
use crate::transaction::{Transaction, TransactionKind, TransactionStatus};

/// Two sentences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plainly {
    /// What the cashier should do now.
    pub cashier: Text,
    /// What the shopper may know of the money.
    pub shopper: Text,
}

/// What a transaction does to the shopper's money if it succeeds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Takes,
    Holds,
    GivesBack,
    Frees,
    Asks,
}

impl Direction {
    fn of(kind: TransactionKind) -> Self {
        match kind {
            TransactionKind::Sale
            | TransactionKind::OfflineSale
            | TransactionKind::Instalment
            | TransactionKind::TipAdjustment
            | TransactionKind::Completion
            | TransactionKind::CompletionNotice => Direction::Takes,
            TransactionKind::QrSale | TransactionKind::QrOrder => Direction::Takes,
            TransactionKind::QrVoid | TransactionKind::QrRefund => Direction::GivesBack,
            TransactionKind::PreAuthorisation => Direction::Holds,
            TransactionKind::Void
            | TransactionKind::InstalmentVoid
            | TransactionKind::Refund
            | TransactionKind::CompletionVoid => Direction::GivesBack,
            TransactionKind::PreAuthorisationVoid => Direction::Frees,
            TransactionKind::Balance => Direction::Asks,
        }
    }
}

impl Transaction {
    /// Whether nobody at the till knew for some time how it had ended, or nobody knows yet.
    pub fn was_uncertain(&self) -> bool {
        let is_open = matches!(
            self.status,
            TransactionStatus::Sent
                | TransactionStatus::Reversing
                | TransactionStatus::Reversed
                | TransactionStatus::Queued
        );
        is_open || self.reversal_reason.is_some()
    }

    /// What to do about it and what became of the money.
    pub fn plainly(&self) -> Plainly {
        let direction = Direction::of(self.kind);
        let (cashier, shopper) = match self.status {
            TransactionStatus::Queued if self.kind.is_paid_offline() => paid_offline(),
            TransactionStatus::Declined if self.kind.is_paid_offline() && self.response.is_some() => upload_refused(),
            TransactionStatus::Approved if self.voided_by.is_some() => ended_since(direction),
            TransactionStatus::Approved => approved(direction),
            TransactionStatus::Declined | TransactionStatus::Cancelled => not_done(direction),
            TransactionStatus::Sent => open(direction),
            TransactionStatus::Reversing => reversing(direction),
            TransactionStatus::Reversed => reversed(direction),
            TransactionStatus::Queued => queued(direction),
        };
        let amount = self.amount.to_string();
        let told = |(zh, en): Sentence| Text::new(zh.replace("{}", &amount), en.replace("{}", &amount));
        let of_wallet =
            |text: Text| Text::new(text.zh.replace("您的卡", "您的账户"), text.en.replace("your card", "your wallet"));
        let told = |sentence: Sentence| if self.kind.is_qr() { of_wallet(told(sentence)) } else { told(sentence) };
        Plainly { cashier: told(cashier), shopper: told(shopper) }
    }
}

/// Chinese and English; `{}` stands for the amount.
type Sentence = (&'static str, &'static str);

fn approved(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::Takes => (
            ("收款成功,请交付商品并把签购单交给顾客。", "Paid: hand over the goods and the slip."),
            ("您已支付{},只扣一次。", "You paid {}, once."),
        ),
        Direction::Holds => (
            ("预授权成功,款项已冻结,尚未入账。", "Authorised: the money is held and not yours yet."),
            ("{}已冻结,尚未扣款。", "{} is held; nothing has been taken."),
        ),
        Direction::GivesBack => (
            ("退款成功,请把签购单交给顾客。", "The money is going back: hand over the slip."),
            ("{}将退回您的卡。", "{} goes back to your card."),
        ),
        Direction::Frees => (
            ("预授权已撤销。", "The authorisation is set free."),
            ("{}不再冻结,没有扣款。", "{} is no longer held; nothing was taken."),
        ),
        Direction::Asks => {
            (("查询成功。", "The balance was read."), ("查询余额不会扣款。", "Asking for a balance takes no money."))
        }
    }
}

fn paid_offline() -> (Sentence, Sentence) {
    (
        (
            "脱机收款成功,请交付商品和签购单;终端会自动上送。",
            "Paid without the host: hand over the goods and the slip; the till uploads it by itself.",
        ),
        ("您已支付{},只扣一次。", "You paid {}, once."),
    )
}

fn upload_refused() -> (Sentence, Sentence) {
    (
        (
            "脱机交易上送后被拒绝,未入账:请保留签购单并联系收单行。",
            "The host refused the upload: you are not paid for it. Keep the slip and call the acquirer.",
        ),
        ("银行没有扣款。", "Your bank has not taken the money."),
    )
}

fn ended_since(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::Holds => (
            (
                "该预授权已完成或已撤销,不能再用。",
                "This authorisation was completed or voided; it cannot be used again.",
            ),
            ("这笔冻结已经结束。", "This money is no longer held."),
        ),
        _ => (
            ("该笔交易已撤销,请勿交付商品。", "This was taken back: do not hand over goods for it."),
            ("{}已撤销,将退回您的卡。", "{} was taken back and goes to your card again."),
        ),
    }
}

fn not_done(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::Takes | Direction::Holds => (
            ("未收款。可换一张卡或请顾客改用其他方式。", "Not paid. Another card or another way may be tried."),
            ("没有扣款。", "Nothing was taken."),
        ),
        Direction::GivesBack | Direction::Frees => (
            ("没有退款,原交易仍然有效。", "Nothing was given back; the original still stands."),
            ("原交易没有变化。", "The original payment is as it was."),
        ),
        Direction::Asks => (
            ("查询未成功。", "The balance was not read."),
            ("查询余额不会扣款。", "Asking for a balance takes no money."),
        ),
    }
}

fn open(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::Asks => not_done(direction),
        Direction::GivesBack | Direction::Frees => (
            (
                "结果未定,请等待终端处理,不要重复退款。",
                "Not decided yet: wait for the terminal and do not give the money back twice.",
            ),
            ("结果未定;稍后即可确定。", "Not decided yet; it will be in a moment."),
        ),
        Direction::Takes | Direction::Holds => (
            (
                "结果未定:不要交货,也不要再次收款,请等待终端处理。",
                "Not decided yet: hand nothing over, take no second payment, wait for the terminal.",
            ),
            (
                "结果未定;若已扣款,会自动退回。",
                "Not decided yet; should your bank have taken the money, it comes back by itself.",
            ),
        ),
    }
}

fn reversing(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::Asks => not_done(direction),
        Direction::GivesBack | Direction::Frees => (
            (
                "没有收到应答,按未退款处理;终端正在冲正,直到主机确认。",
                "No answer came. Treat it as not given back: the terminal reverses it until the host confirms.",
            ),
            ("退款没有成立,原交易仍然有效。", "Nothing is given back by this; the original payment still stands."),
        ),
        Direction::Takes | Direction::Holds => (
            (
                "没有收到应答,按未付款处理;终端正在冲正,直到主机确认。",
                "No answer came. Treat it as not paid: the terminal reverses it until the host confirms.",
            ),
            (
                "您不会被扣款:银行若已扣,正在退回。",
                "You will not be charged: if your bank took the money, it is on its way back.",
            ),
        ),
    }
}

fn reversed(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::Asks => not_done(direction),
        Direction::GivesBack | Direction::Frees => (
            (
                "已冲正:没有退款,原交易仍然有效;如需退款请重做。",
                "Reversed: nothing was given back and the original stands; do it again if it is still wanted.",
            ),
            ("原交易没有变化。", "The original payment is as it was."),
        ),
        Direction::Takes | Direction::Holds => (
            (
                "已冲正:未收款。顾客仍要购买时请重新收款。",
                "Reversed: not paid. Take the payment again if the shopper still wants to buy.",
            ),
            ("这笔款项没有扣,或者已经退回。", "This was not taken, or has been given back."),
        ),
    }
}

fn queued(direction: Direction) -> (Sentence, Sentence) {
    match direction {
        Direction::GivesBack | Direction::Frees => (
            (
                "退款已登记,会自动送达主机;请勿再次退款。",
                "The refund is written down and will reach the host by itself; do not give it a second time.",
            ),
            ("{}将退回您的卡,可能稍晚到账。", "{} goes back to your card; it may take a little longer."),
        ),
        _ => (
            (
                "已登记,会自动送达主机;请勿重复操作。",
                "It is written down and will reach the host by itself; do not do it a second time.",
            ),
            ("{}已登记,只扣一次。", "{} is written down and will be taken once."),
        ),
    }
}
