//! Why the issuer decides as it does: the one table from reason to response code (unionpay-pos §7).

use types::ResponseCode;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $code:literal $id:literal),* $(,)?) => {
        /// The rule that decided.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Rule { $($(#[$doc])* $name),* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];

            /// Its name for people, records and explanations.
            pub fn id(self) -> &'static str {
                match self { $(Rule::$name => $id),* }
            }

            /// The response code it gives.
            pub fn response_code(self) -> ResponseCode {
                let code: &[u8; 2] = match self { $(Rule::$name => $code),* };
                ResponseCode::new(*code).expect("codes of the table are printable")
            }
        }
    };
}

rules! {
    /// Every check passed.
    Approved = b"00" "issuer.approved",
    /// The number's leading digits belong to no issuer here.
    NoSuchIssuer = b"15" "issuer.no-such-issuer",
    /// The number belongs to this issuer, but no card has it.
    NoSuchCard = b"14" "issuer.no-such-card",
    /// The card's file cannot be read.
    FileDamaged = b"96" "issuer.card-file-damaged",
    /// Reported lost.
    Lost = b"41" "issuer.card-lost",
    /// Reported stolen.
    Stolen = b"43" "issuer.card-stolen",
    /// Blocked by the issuer.
    Restricted = b"62" "issuer.card-restricted",
    /// Past its expiry.
    Expired = b"54" "issuer.card-expired",
    /// The card sequence number is not that of the valid card.
    CardSequence = b"14" "issuer.card-sequence",
    /// The card does not pay in this currency.
    Currency = b"57" "issuer.currency",
    /// A chip card was swiped.
    ChipRequired = b"45" "issuer.chip-required",
    /// This way of reading the card is not allowed for it.
    EntryNotAllowed = b"57" "issuer.entry-mode",
    /// A sale without the issuer on a card whose counters may pay more than once: its certificate could be an online sale's.
    OfflineUncounted = b"57" "issuer.offline-uncounted",
    /// Above the limit for one transaction.
    SingleLimit = b"61" "issuer.single-limit",
    /// Field 55 lacks what the cryptogram needs.
    ChipData = b"30" "issuer.chip-data",
    /// The cryptogram is over another amount than field 4.
    ChipAmount = b"05" "issuer.chip-amount",
    /// The cryptogram is not the card's.
    Cryptogram = b"05" "issuer.cryptogram",
    /// This cryptogram has paid once already.
    ChipReplay = b"63" "issuer.chip-replay",
    /// The card needs a PIN here and none came.
    PinMissing = b"55" "issuer.pin-missing",
    /// A PIN came, but the card has none.
    PinNotSet = b"57" "issuer.pin-not-set",
    /// The PIN is wrong.
    PinWrong = b"55" "issuer.pin-wrong",
    /// Wrong too often.
    PinTries = b"75" "issuer.pin-tries",
    /// The PIN block does not open.
    PinFormat = b"99" "issuer.pin-format",
    /// The key service does not answer as it must.
    KeyService = b"91" "issuer.key-service",
    /// The guard on the account refused: not enough money.
    Funds = b"51" "issuer.funds",
    /// No reply in time.
    NoReply = b"98" "issuer.no-reply",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_rule_approves_and_ids_are_unique() {
        let approving: Vec<_> = Rule::ALL.iter().filter(|rule| rule.response_code().is_approval()).collect();
        assert_eq!(approving, [&Rule::Approved]);
        let ids: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
    }
}
