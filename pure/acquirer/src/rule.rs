//! The one table from the acquirer's reasons to response codes (unionpay-pos §7, §8.7).

use types::ResponseCode;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $code:literal $id:literal),* $(,)?) => {
        /// Why the acquirer decides as it does, in the order in which the checks stand.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Rule { $($(#[$doc])* $name),* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];

            /// Its name for people, records and explanations.
            pub fn id(self) -> &'static str {
                match self { $(Rule::$name => $id),* }
            }

            /// The response code it gives.
            pub fn response_code(self) -> ResponseCode {
                let code: &[u8; 2] = match self { $(Rule::$name => $code),* };
                ResponseCode::new(*code).expect("codes of the table are printable")
            }
        }
    };
}

rules! {
    /// A mandatory field is missing or malformed.
    Format = b"30" "message.format",
    /// F41 is not the terminal of the client certificate.
    TerminalIdentity = b"97" "terminal.identity",
    /// No such terminal is enrolled.
    TerminalUnknown = b"97" "terminal.unknown",
    /// Another terminal has claimed the serial number of this sign-in: one of the two is a copy.
    SerialElsewhere = b"97" "terminal.serial-elsewhere",
    /// F42 is not the merchant of the client certificate.
    MerchantIdentity = b"03" "merchant.identity",
    /// The terminal is enrolled for another merchant.
    MerchantUnknown = b"03" "merchant.unknown",
    /// The terminal has not signed in.
    NotSignedIn = b"77" "session.not-signed-in",
    /// F60.2 is not the host's batch.
    WrongBatch = b"77" "session.wrong-batch",
    /// F64 is wrong.
    Mac = b"A0" "message.mac",
    /// F2 and F35 contradict each other or cannot be read.
    AccountData = b"30" "message.account-data",
    /// It was reversed, before or after it came: it is refused for ever.
    Tombstone = b"12" "intent.reversed",
    /// Another message has this identity.
    Duplicate = b"94" "intent.different-content",
    /// A transaction that this host does not carry out.
    NotSupported = b"40" "transaction.not-supported",
    /// A sign-in for keys that this host does not make (single-length or SM4).
    SuiteNotSupported = b"40" "sign-in.keys-not-supported",
    /// The bit map of allowed transactions forbids it.
    NotAllowed = b"58" "terminal.not-allowed",
    /// The merchant may not do that.
    MerchantNotAllowed = b"58" "merchant.not-allowed",
    /// The amount is zero.
    AmountZero = b"13" "amount.zero",
    /// The terminal is not enrolled for this currency.
    Currency = b"12" "amount.currency",
    /// The card number's check digit does not fit.
    CardNumber = b"14" "card.check-digit",
    /// F53 announces a PIN block that this host does not take.
    PinFormat = b"99" "pin.format",
    /// The batch's totals would no longer fit a settlement.
    BatchFull = b"95" "batch.full",
    /// A tip above the host's bound, or F4 and F48 do not fit the sale.
    TipAmount = b"64" "tip.amount",
    /// So many instalments are not offered.
    Instalments = b"12" "instalments.not-offered",
    /// The sale has a tip already.
    TipTaken = b"12" "tip.taken",
    /// No such original.
    OriginalMissing = b"25" "original.missing",
    /// The original was declined or reversed: there is nothing to give back.
    OriginalNotApproved = b"25" "original.not-approved",
    /// The original cannot be voided or refunded.
    OriginalKind = b"12" "original.kind",
    /// The sale is voided already.
    AlreadyVoided = b"12" "original.voided-already",
    /// The original was paid with another card.
    OtherCard = b"12" "original.other-card",
    /// A void is for the whole amount, a refund for no more than the sale.
    OriginalAmount = b"64" "original.amount",
    /// Too long after the sale.
    RefundTooLate = b"12" "refund.too-late",
    /// No pre-authorisation of this merchant and card has this authorisation code and date.
    AuthorisationMissing = b"25" "authorisation.missing",
    /// The pre-authorisation was completed, voided or reversed.
    AuthorisationClosed = b"12" "authorisation.closed",
    /// A void is for the whole amount, a completion for no more than the bound.
    AuthorisationAmount = b"64" "authorisation.amount",
    /// Too long after the pre-authorisation.
    AuthorisationExpired = b"12" "authorisation.expired",
    /// A risk rule suspects fraud.
    RiskSuspected = b"59" "risk.suspected",
    /// A risk rule finds the amount too large.
    RiskAmount = b"61" "risk.amount",
    /// A risk rule finds it too often.
    RiskFrequency = b"65" "risk.frequency",
    /// Less is left of the capture than is to be given back.
    NothingLeft = b"64" "capture.nothing-left",
    /// No wallet's owner was given this payment code.
    PaymentCodeUnknown = b"14" "payment-code.unknown",
    /// The payment code's minute is over.
    PaymentCodeExpired = b"54" "payment-code.expired",
    /// The payment code has paid already, or waits for its owner's word.
    PaymentCodeUsed = b"63" "payment-code.used",
    /// There is no such wallet.
    WalletUnknown = b"14" "wallet.unknown",
    /// The voucher code is of another payment.
    OtherVoucher = b"25" "original.other-voucher",
    /// The buyer has still to pay.
    AwaitingPayer = b"09" "order.awaiting-payer",
    /// An order of the batch still waits for its buyer: the terminal must query or reverse it.
    OrderOpen = b"09" "batch.order-open",
    /// The reversal names another transaction than the one under its identity.
    ReversalDiffers = b"94" "reversal.different-content",
    /// This kind of transaction is not reversed.
    ReversalKind = b"12" "reversal.kind",
    /// The money was given back another way.
    ReversalNothingLeft = b"12" "reversal.nothing-left",
    /// No original: it is refused should it still come.
    ReversalTombstone = b"25" "reversal.no-original",
    /// The original moved no money, or was reversed already.
    ReversalNothingToDo = b"00" "reversal.nothing-to-do",
    /// The original is undone.
    Reversed = b"00" "reversal.done",
    /// Taken down.
    Accepted = b"00" "accepted",
    /// The key service refused.
    KeyService = b"96" "host.key-service",
}

/// The rule that decided: the acquirer's or the issuer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The acquirer's.
    Acquirer(Rule),
    /// The issuer's.
    Issuer(issuer::Rule),
}

impl Verdict {
    /// The rule's name.
    pub fn id(self) -> &'static str {
        match self {
            Verdict::Acquirer(rule) => rule.id(),
            Verdict::Issuer(rule) => rule.id(),
        }
    }

    /// The response code it gives.
    pub fn response_code(self) -> ResponseCode {
        match self {
            Verdict::Acquirer(rule) => rule.response_code(),
            Verdict::Issuer(rule) => rule.response_code(),
        }
    }
}

impl From<Rule> for Verdict {
    fn from(rule: Rule) -> Self {
        Verdict::Acquirer(rule)
    }
}

impl From<issuer::Rule> for Verdict {
    fn from(rule: issuer::Rule) -> Self {
        Verdict::Issuer(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_only_what_is_done_approves() {
        let ids: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        let approving: Vec<_> = Rule::ALL.iter().filter(|rule| rule.response_code().is_approval()).collect();
        assert_eq!(approving, [&Rule::ReversalNothingToDo, &Rule::Reversed, &Rule::Accepted]);
    }
}
