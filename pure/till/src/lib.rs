//! The till: what the cashier sees, and the terminal's side of exactly-once.
//!
//! *Duty*: sign-in and downloads, sale, void, refund, balance, reversal, script notice, settlement with batch upload; the
//! journal's records, the receipts. *Knows*: the words of the PED ([`pedlink`]) and the order of the dialect's messages
//! (unionpay-pos §3, §5, §8). *Never*: a PAN, track, PIN or key; I/O; a decision that rests on the wall clock.
//! *Start here*: [`Till`], [`Event`], [`Effect`], then [`Record`].
//!
//! How a payment stays exactly once: `IntentSent` is durable before its first byte leaves; every way that does not end in
//! `Decided` ends in `ReversalDue` or `IntentCancelled` (surely nothing left); a pending reversal is sent before anything
//! new and is never dropped; an answer to an exchange that is over changes nothing.

mod adjustment;
pub mod config;
mod download;
mod encoding;
mod fetch;
mod machine;
mod management;
mod message;
mod offline;
mod operator;
mod payment;
mod pending;
mod plainly;
mod plan;
mod qr;
pub mod receipt;
mod record;
pub mod response;
mod settle;
pub mod settlement;
mod sign_in;
mod signature;
mod state;
mod text;
mod transaction;
mod wire;
mod words;

pub use config::{Config, OfflineLimits, ReceiptOptions, Suite, Timeouts};
pub use iso8583::unionpay::{ContactlessParameter, DownloadSet, TerminalParameters, TipMode};
pub use machine::{Status, Till};
pub use management::{Management, Signature, SignatureStatus};
pub use plainly::Plainly;
pub use receipt::{Consent, Copy, PaymentReceipt, Receipt, SettlementReceipt, SignatureSlip, TransactionSlip};
pub use record::{Record, SignOutReason};
pub use settlement::{
    GroupTotals, Settlement, SettlementAnswer, SettlementReport, Totals, UploadItem, UploadKind, UploadProgress,
};
pub use state::{State, orders};
pub use text::Text;
pub use transaction::{
    Decision, Original, Pending, PendingReversal, ScriptNotice, Side, Transaction, TransactionKind, TransactionStatus,
};
pub use words::{
    AuthorisationReference, CardBalance, CompletionForm, Effect, Event, HostProof, HostVerdict, Operation,
    OperatorCommand, OutcomeStatus, Screen, TransactionOutcome,
};
