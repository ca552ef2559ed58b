//! Double entry: the words in which money moves.
//!
//! *Duty*: names of accounts, postings that sum to zero, the guards that go with them, and the totals of a batch with
//! their comparison. *Knows*: [`machine::store`] rows, nothing of messages, cards or issuers. *Never*: a balance: those
//! live in the store, which checks the guards inside the append. *Start here*: [`Movement`], [`Hold`], [`BatchTotals`].
//!
//! | account | balance means |
//! |---|---|
//! | `card/TOKEN` | the cardholder's money at the built-in issuer; a credit limit is a negative floor |
//! | `merchant/ID/payable` | what the acquirer owes the merchant |
//! | `capture/TERMINAL/BATCH/TRACE` | what is left of one sale for voids, refunds and its reversal |
//! | `hold/TERMINAL/BATCH/TRACE` | what one pre-authorisation holds: the cardholder's still, but not to be spent |
//! | `merchant/ID/captures` | the contra of the merchant's capture accounts |
//! | `issuer/funding` | the contra of money put on cards |

mod account;
mod hold;
mod intent;
mod posting;
mod totals;

pub use account::Account;
pub use hold::{Hold, hold_guard};
pub use intent::{Intent, MessageClass};
pub use posting::{Movement, Posting, balance_guard, capture_guard, funding};
pub use totals::{BatchTotals, CardGroup, GroupComparison, GroupTotals, TOTAL_COUNT_MAX, TOTAL_MINOR_MAX, TotalsFull};
