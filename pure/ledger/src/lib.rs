//! Double entry: the words in which money moves.
//!
//! *Duty*: names of accounts, postings that sum to zero, the guards that go with them, and the totals of a batch with
//! their comparison; fees, what a batch comes to for its merchant, payout and clearing files, their reconciliation.
//! *Knows*: [`machine::store`] rows, nothing of messages, cards or issuers. *Never*: a balance: those live in the store,
//! which checks the guards inside the append. *Start here*: [`Movement`], [`Hold`], [`BatchTotals`], [`FeeSchedule`],
//! [`reconcile`].
//!
//! | account | balance means |
//! |---|---|
//! | `card/TOKEN` | the cardholder's money at the built-in issuer; a credit limit is a negative floor |
//! | `wallet/NUMBER` | the same of a wallet, which pays by QR code |
//! | `merchant/ID/payable` | what the acquirer owes the merchant |
//! | `merchant/ID/payout` | what a merchant is to be paid of batches that are settled |
//! | `acquirer/fees` | what merchants were charged |
//! | `capture/TERMINAL/BATCH/TRACE` | what is left of one sale for voids, refunds and its reversal |
//! | `hold/TERMINAL/BATCH/TRACE` | what one pre-authorisation holds: the cardholder's still, but not to be spent |
//! | `merchant/ID/captures` | the contra of the merchant's capture accounts |
//! | `issuer/funding` | the contra of money put on cards |

mod account;
mod clearing;
mod fee;
mod hold;
mod intent;
mod net;
mod posting;
mod reconcile;
mod sheet;
mod totals;

pub use account::Account;
pub use clearing::{ClearingKey, ClearingKind, ClearingLine, ClearingStatus, read_clearing, write_clearing};
pub use fee::{
    CardKind, FEE_RULE_NAME_BYTES_MAX, FEE_RULES_MAX, FEE_TIERS_MAX, Fee, FeeBasis, FeeRule, FeeSchedule,
    FeeScheduleInvalid, FeeTier, RATE_WHOLE_PPM, fee_returned,
};
pub use hold::{Hold, hold_guard};
pub use intent::{Intent, MessageClass};
pub use net::{NetPosition, NetTooLarge, PayoutLine, read_payout, write_payout};
pub use posting::{Movement, Posting, account_funding, balance_guard, capture_guard, funding};
pub use reconcile::{Difference, DifferenceClass, reconcile};
pub use sheet::{SHEET_LINE_BYTES_MAX, SHEET_RECORDS_MAX, SheetError, SheetHead};
pub use totals::{BatchTotals, CardGroup, GroupComparison, GroupTotals, TOTAL_COUNT_MAX, TOTAL_MINOR_MAX, TotalsFull};
