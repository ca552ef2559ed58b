//! Risk rules as files.
//!
//! *Duty*: reads a file of rules ([`read`]), its conditions written in the Common Expression Language, checks every word of it and makes
//! what `pure/risk` works out. *Knows*: the language by its published parser, and which part of it a rule may use. *Never*: works a
//! condition out (a rule that was accepted must not meet an interpreter's error in the middle of a payment), looks at a store.
//!
//! ```text
//! version = 3
//!
//! rule = duplicate
//! when = kind == "sale" && repeats(10) >= 1
//! then = flag
//! reason-zh = 同卡同额同终端重复消费
//! reason-en = same card, amount and terminal within ten minutes
//! except = amount < 1000
//! except-zh = 小额重复常见
//! except-en = small amounts are often paid twice
//! ```
//!
//! A line that begins with a space goes on with the one before. `then` is `flag`, `refuse` (59), `refuse 61` or `refuse 65`. `merchants` and
//! `categories` (codes or ranges, between commas) say whom a rule is for. *Start here*: [`read`].

mod condition;
mod file;
mod lines;

pub use file::{FILE_BYTES_MAX, RULES_MAX, STANDARD_RULES, read};
pub use lines::RuleError;
