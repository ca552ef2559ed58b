//! What closed batches come to.
//!
//! *Duty*: finds the closed batches in a terminal's journal at the host ([`BatchReader`]), gives every sale its fee and the rule that
//! made it, sums up what the merchant is paid, and makes the record and rows that settle a batch exactly once ([`settle`], [`rows`]);
//! the payout and clearing files of a day come from those records alone ([`day_files`]), so they can be made again at any time.
//! *Knows*: the acquirer's records, the ledger's words. *Never*: clocks, I/O, rounding beyond the fee schedule's own.
//! *Start here*: [`settle`].

mod batch;
mod encoding;
mod files;
mod pricing;
mod settle;

pub use batch::{BatchReader, ClosedBatch, Item};
pub use files::{DayFiles, day_files};
pub use pricing::{Pricing, PricingError, STANDARD_PRICING};
pub use settle::{
    SPACE_MERCHANT_VOLUME, SPACE_SALE_FEE, SPACE_SETTLED, SPACE_SETTLED_UP_TO, SaleFee, SettleError, Settled,
    SettledLine, count_of, rows, settle, settled_key, settled_up_to_key,
};
