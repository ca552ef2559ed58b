//! What an issuer answers.

use crate::card_file::PinTries;
use crate::rule::Rule;
use machine::store::{AccountName, Row};
use machine::wire::Encode;
use types::{AuthorisationCode, CardToken, Currency, InstitutionId};

/// The account that pays, and how far it may fall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Funds {
    /// The account.
    pub account: AccountName,
    /// Its currency.
    pub currency: Currency,
    /// Lowest balance allowed, minor units; a credit limit is a negative floor.
    pub floor_minor: i64,
}

/// An answer. An approval holds only if the append keeps the account at or above its floor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuerReply {
    /// The rule that decided; it gives the response code.
    pub rule: Rule,
    /// The checks passed before, in order.
    pub checks: Vec<&'static str>,
    /// F38, if approved.
    pub authorisation_code: Option<AuthorisationCode>,
    /// F55 of the response without the ATC: 91, 71, 72.
    pub chip: Vec<u8>,
    /// The account to debit or credit, if approved.
    pub funds: Option<Funds>,
    /// Card organisation (F63.1).
    pub organisation: [u8; 3],
    /// The issuer (F44).
    pub issuer: InstitutionId,
    /// The new state of the card's PIN try counter, if it changes.
    pub pin_tries: Option<(CardToken, PinTries)>,
    /// The card's transaction counter, if it may pay only once.
    pub atc_once: Option<Vec<u8>>,
}

impl IssuerReply {
    /// Whether the issuer says yes.
    pub fn is_approval(&self) -> bool {
        self.rule == Rule::Approved
    }

    /// The same reply turned into a refusal: no account, no code, no answer to the chip.
    pub fn refused(self, rule: Rule) -> Self {
        Self { rule, authorisation_code: None, chip: Vec::new(), funds: None, atc_once: None, ..self }
    }
}

/// Rows that move a PIN try counter: each step can be taken once, so that two tries at the same time count twice.
pub fn pin_try_rows(token: &CardToken, tries: &PinTries) -> [Row; 2] {
    let mut step = token.0.to_vec();
    step.extend_from_slice(&tries.step.to_be_bytes());
    [
        Row::Unique { space: crate::SPACE_PIN_STEP, key: step, value: Vec::new() },
        Row::Put { space: crate::SPACE_PIN_TRIES, key: token.0.to_vec(), value: tries.to_bytes() },
    ]
}
