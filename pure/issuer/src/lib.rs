//! The built-in issuer, behind the boundary an outside network link will use.
//!
//! *Duty*: from an [`IssuerRequest`] and the card's file to an [`IssuerReply`]: status, expiry, limits, PIN, cryptogram,
//! issuer scripts; and of a wallet, which pays by QR code ([`wallet`]). *Knows*: card files ([`CardFile`]) and the words to the key service. *Never*: a clear key, PIN or
//! PAN; a balance (the reply names the account and its floor, the store guards it inside the append); a record of its
//! own (PIN tries and used ATCs leave with the reply and are written with the acquirer's decision).
//! *Start here*: [`Conversation`], then [`rule::Rule`], the one table from reason to response code.

mod card_file;
mod chip;
mod conversation;
mod reply;
mod request;
pub mod rule;
mod script;
pub mod wallet;

pub use card_file::{CardFile, CardStatus, EntryModes, PIN_TRY_LIMIT_DEFAULT, PinFile, PinTries, Scheme, card_rows};
pub use chip::{ChipData, ChipFault};
pub use conversation::{Ask, Conversation, Find, IssuerConfig, serve};
pub use reply::{Funds, IssuerReply, pin_try_rows};
pub use request::{Entry, IssuerRequest, Operation, PinBlock};
pub use rule::Rule;
pub use script::CardScript;
pub use wallet::{GivenCode, WalletFile, WalletQuestion};

/// Space of card files in the store; the key is the card token.
pub const SPACE_CARD: &str = "card";
/// Space of PIN try counters; the key is the card token.
pub const SPACE_PIN_TRIES: &str = "pin-tries";
/// Space that lets each step of a PIN try counter be taken once; the key is the card token and the step.
pub const SPACE_PIN_STEP: &str = "pin-step";
/// Space of application transaction counters already used; the key is the card token, sequence number and ATC.
pub const SPACE_ATC: &str = "atc";
