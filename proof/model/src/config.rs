//! How large the model is, and what is planted in it.

/// What a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A sale.
    Sale,
    /// The void of this terminal's first transaction.
    Void,
    /// A refund of this terminal's first transaction: a notice, stored and forwarded.
    Refund,
    /// A refund of the other terminal's first transaction.
    RefundOfOther,
}

impl Kind {
    /// Whether it goes out as a notice that is stored and forwarded, and never reversed.
    pub fn is_notice(self) -> bool {
        matches!(self, Kind::Refund | Kind::RefundOfOther)
    }
}

/// What a terminal's operator may choose from, for each of its transactions; an empty choice is no transaction.
pub type Plan = [&'static [Kind]; 2];

/// A mistake that can be planted in the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// The till sends before its intent is durable.
    TillSendsBeforeDurable,
    /// The host answers before its decision is durable.
    HostAnswersBeforeDurable,
    /// A reversal that arrives before its original leaves nothing behind.
    NoTombstone,
    /// An intent that comes again is decided again.
    NoStoredAnswer,
    /// The till gives a reversal up when it is not answered.
    ReversalDropped,
    /// The till begins a payment while a reversal is pending.
    SaleDuringReversal,
    /// The till settles while something is pending.
    SettlesWhilePending,
    /// An approval that comes late revives a sale that is being reversed.
    LateAnswerRevives,
    /// After a restart the till takes the open intent for declined.
    RestartForgetsIntent,
    /// A refusal without a MAC ends a sale, without a reversal.
    RefusalEndsSale,
    /// A refusal without a MAC ends a refund: a copy of it may be booked already.
    RefusalEndsRefund,
    /// The host keeps no earlier keys although the window is open.
    NoOverlap,
    /// The till takes new keys into use, but answers only count under the ones before.
    ReversalUnderOldKeys,
    /// A posting's guard is looked at before the append and not inside it.
    GuardOutsideAppend,
    /// A repeated batch end closes the next batch.
    BatchEndClosesTwice,
    /// A void that is reversed does not put its sale back.
    VoidReversalReinstatesNothing,
}

/// Every mistake that the tests plant.
pub const PLANTED_BUGS: [Bug; 16] = [
    Bug::TillSendsBeforeDurable,
    Bug::HostAnswersBeforeDurable,
    Bug::NoTombstone,
    Bug::NoStoredAnswer,
    Bug::ReversalDropped,
    Bug::SaleDuringReversal,
    Bug::SettlesWhilePending,
    Bug::LateAnswerRevives,
    Bug::RestartForgetsIntent,
    Bug::RefusalEndsSale,
    Bug::RefusalEndsRefund,
    Bug::NoOverlap,
    Bug::ReversalUnderOldKeys,
    Bug::GuardOutsideAppend,
    Bug::BatchEndClosesTwice,
    Bug::VoidReversalReinstatesNothing,
];

/// Size and mistakes of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// What each terminal may do.
    pub plans: [Plan; 2],
    /// What the account that pays for all sales holds at first, minor units. First sales cost 1, second ones 2.
    pub balance_minor: u8,
    /// Settlements that each terminal's operator may order.
    pub settlements: [u8; 2],
    /// Sign-ins that each terminal may begin. All are signed in at the start.
    pub sign_ins: [u8; 2],
    /// Highest version of working keys that the host makes for each terminal, copies of a sign-in included.
    pub key_versions: [u8; 2],
    /// Whether a card may decline what the host approved, at each terminal.
    pub card_declines: [bool; 2],
    /// Whether messages are forgotten that can change nothing any more.
    pub forget_dead_messages: bool,
    /// What is wrong with the protocol.
    pub bug: Option<Bug>,
}

impl Config {
    /// Whether this mistake is planted.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// The same protocol with a mistake in it, and without reductions, which were argued for the right one.
    pub fn with_bug(self, bug: Bug) -> Self {
        Self { bug: Some(bug), forget_dead_messages: false, ..self }
    }
}
