//! What an acquirer asks an issuer.

use keys::{KeyBlock, PinEncryption, SealedAccount};
use types::{Amount, CardToken, Rrn, TruncatedPan};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// May the card pay this amount?
    Purchase,
    /// The card has paid this amount by itself: is its certificate right? What became of it since does not undo that.
    OfflinePurchase,
    /// How much may it spend?
    Balance,
    /// May money go back to it? (Void, refund.)
    Credit,
    /// Take what was authorised before. (Completion.) The promise was given then: what became of the card since does not undo it.
    Capture,
}

impl Operation {
    /// Whether it rests on what was decided before: no chip speaks, and the card's standing is not asked again.
    pub(crate) fn follows_up(self) -> bool {
        matches!(self, Operation::Credit | Operation::Capture)
    }
}

/// How the card was read (F22 digits 1–2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Contact chip.
    Chip,
    /// Contactless chip.
    Contactless,
    /// Magnetic stripe.
    Magstripe,
    /// Magnetic stripe after the chip could not be read.
    Fallback,
    /// Typed.
    Manual,
}

impl Entry {
    /// Whether a chip spoke.
    pub fn is_chip(self) -> bool {
        matches!(self, Entry::Chip | Entry::Contactless)
    }
}

/// An enciphered PIN with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct PinBlock {
    /// F52.
    pub block: [u8; 8],
    /// The key it is under.
    pub key: KeyBlock<PinEncryption>,
}

impl core::fmt::Debug for PinBlock {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("PinBlock(****)")
    }
}

/// A request. It holds no clear account data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuerRequest {
    /// What is asked.
    pub operation: Operation,
    /// The card.
    pub token: CardToken,
    /// What may be shown of it; its leading digits choose the issuer.
    pub truncated: TruncatedPan,
    /// For the key service.
    pub account: SealedAccount,
    /// Whether the expiry that came with the card lies before today.
    pub expired: bool,
    /// How it was read.
    pub entry: Entry,
    /// F23.
    pub card_sequence: Option<u8>,
    /// The amount; zero for a balance.
    pub amount: Amount,
    /// The acquirer's reference; the authorisation code derives from it.
    pub rrn: Rrn,
    /// F52.
    pub pin: Option<PinBlock>,
    /// F55.
    pub chip: Option<Vec<u8>>,
}
