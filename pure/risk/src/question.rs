//! What is asked about, and what is remembered of it afterwards.

use ledger::Intent;
use types::{Amount, CardToken};

/// How the card was read (F22).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// By its contacts.
    Chip,
    /// Without contact, or from a telephone.
    Contactless,
    /// By its stripe.
    Magstripe,
    /// By its stripe, since its chip failed.
    Fallback,
    /// By hand, or in a way that this host does not know.
    Manual,
}

impl Entry {
    /// Every way.
    pub const ALL: [Entry; 5] = [Entry::Chip, Entry::Contactless, Entry::Magstripe, Entry::Fallback, Entry::Manual];

    /// Its name in rules.
    pub fn name(self) -> &'static str {
        match self {
            Entry::Chip => "chip",
            Entry::Contactless => "contactless",
            Entry::Magstripe => "magstripe",
            Entry::Fallback => "fallback",
            Entry::Manual => "manual",
        }
    }
}

/// What a void or refund gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Original {
    /// Its amount in minor units.
    pub amount_minor: u64,
    /// Its age in milliseconds.
    pub age_ms: u64,
    /// Whether another terminal made it.
    pub elsewhere: bool,
}

/// What is known of a transaction before it is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Which message.
    pub intent: Intent,
    /// What it is, in the acquirer's word for it.
    pub kind: String,
    /// The card.
    pub card: Option<CardToken>,
    /// How much; zero where nothing is paid.
    pub amount: Amount,
    /// How the card was read.
    pub entry: Entry,
    /// Merchant category (ISO 18245); 0 if the host was not told.
    pub category: u16,
    /// Hour of the day at the host, 0 to 23.
    pub hour: u8,
    /// What it gives back, where that was found.
    pub original: Option<Original>,
    /// Whether it names a sale of a batch that is closed.
    pub of_closed_batch: bool,
    /// The acquirer's own rule that refuses it already, by its id; empty for none. Then a rule can only flag.
    pub refused_by: String,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
}

/// What is remembered of a decided transaction or reversal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// Which message.
    pub intent: Intent,
    /// What it was.
    pub kind: String,
    /// The card, if the message named one.
    pub card: Option<CardToken>,
    /// How much.
    pub amount: Amount,
    /// Whether it was approved.
    pub approved: bool,
    /// What it undoes: the sale of a void, the message of a reversal.
    pub undoes: Option<Intent>,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
}
