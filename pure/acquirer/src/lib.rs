//! The host's machine: one per terminal.
//!
//! *Duty*: takes a terminal's frames, checks them in the order of unionpay-pos §8.7, decides, books, matches reversals,
//! settles, and answers every intent once (design §3, §4). *Knows*: the UnionPay dialect, key commands, the issuer's
//! words, the ledger's postings. *Never*: a clear key, PIN or track; a PAN beyond the request that brought it; a balance;
//! I/O, clocks, chance.
//! *Start here*: [`Acquirer`], [`Event`], [`Effect`], then [`Rule`] (reason → response code) and [`Record`].

mod adjustment;
mod authorisation;
mod check;
mod checks;
mod config;
mod encoding;
mod explain;
mod financial;
mod guards;
mod incoming;
mod instalments;
mod machine_impl;
mod management;
mod order;
mod policy;
mod qr;
mod record;
mod respond;
mod reversal;
mod rows;
mod rule;
mod screening;
mod settlement;
mod signature;
mod state;
mod words;

pub use checks::Checks;
pub use config::{
    HostConfig, INSTALMENTS_DEFAULT, KEY_OVERLAP_MS_DEFAULT, ParameterSet, Published, PublishedContent,
    REPLY_TIMEOUT_MS_DEFAULT, TerminalParameterBook,
};
pub use explain::explain;
pub use incoming::{Unroutable, route};
pub use machine_impl::{Acquirer, SNAPSHOT_ENTRIES_MAX, SNAPSHOT_RECORDS, WAITING_REQUESTS_MAX};
pub use order::{
    ORDER_VALID_MS, Order, OrderEnd, OrderPayment, OrderRefused, SPACE_ORDER, SPACE_ORDER_END, order_code, refused_by,
    voucher_code,
};
pub use policy::{
    AUTHORISATION_DAYS_DEFAULT, COMPLETION_PERCENT_DEFAULT, MerchantPolicy, Policies, PolicyError,
    REFUND_WINDOW_DAYS_DEFAULT, RuleUse, TIP_PERCENT_DEFAULT,
};
pub use record::{
    Answer, Authorisation, BatchClose, Capture, Comparison, Decision, Enrolment, Identity, Kind, NAME_BYTES_MAX,
    NOTE_BYTES_MAX, QrPayment, Record, Reversal, ScriptNotice, SerialClaim, Side, Signature, Stored,
    TERMINAL_NUMBER_MAX, Undo, Upload, UploadedEntry,
};
pub use rows::{
    SPACE_AUTHORISATION, SPACE_INTENT, SPACE_PAST, SPACE_RRN, SPACE_SIGNATURE, SPACE_TERMINAL_NUMBER,
    SPACE_TERMINAL_SERIAL, rows,
};
pub use rule::{Rule, Verdict};
pub use screening::{kind_names, past_of, question_of};
pub use state::{
    ClosedBatch, Entry, OPEN_INTENTS_MAX, PLACED_HOLDS_MAX, PREVIOUS_KEYS_MAX, PlacedHold, PreviousKeys, State, Status,
};
pub use words::{Effect, EnrolmentRefused, Event, Level, LogLine, PeerIdentity};
