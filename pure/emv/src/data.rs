//! The data objects of one transaction, by who gave them.

use core::fmt;
use std::collections::BTreeMap;
use tlv::dictionary::{self, Source};
use tlv::{Builder, Tag};
use zeroize::Zeroizing;

type Values = BTreeMap<Tag, Zeroizing<Vec<u8>>>;

/// Every data object the kernel knows. A terminal object always wins over one of the same tag from the card, so a card
/// cannot replace an amount or a verification result. Values are wiped when they are dropped.
#[derive(Clone, Default)]
pub struct DataStore {
    terminal: Values,
    card: Values,
    issuer: Values,
}

impl DataStore {
    /// Sets a terminal object.
    pub fn set_terminal(&mut self, tag: Tag, value: &[u8]) {
        self.terminal.insert(tag, Zeroizing::new(value.to_vec()));
    }

    /// Sets a card object. Tags that only a terminal or an issuer may give are ignored.
    pub fn set_card(&mut self, tag: Tag, value: &[u8]) {
        let foreign = dictionary::lookup(tag).is_some_and(|info| info.source != Source::Card);
        if !foreign {
            self.card.insert(tag, Zeroizing::new(value.to_vec()));
        }
    }

    /// Sets an object from the issuer's answer.
    pub fn set_issuer(&mut self, tag: Tag, value: &[u8]) {
        self.issuer.insert(tag, Zeroizing::new(value.to_vec()));
    }

    /// The value of an object: the terminal's, else the card's, else the issuer's.
    pub fn get(&self, tag: Tag) -> Option<&[u8]> {
        [&self.terminal, &self.card, &self.issuer]
            .into_iter()
            .find_map(|values| values.get(&tag))
            .map(|value| value.as_slice())
    }

    /// A value of exactly `N` bytes; another length counts as absent.
    pub fn get_array<const N: usize>(&self, tag: Tag) -> Option<[u8; N]> {
        self.get(tag)?.try_into().ok()
    }

    /// Whether the card gave an object.
    pub fn card_has(&self, tag: Tag) -> bool {
        self.card.contains_key(&tag)
    }

    /// The listed objects that are present, as TLV in the order of the list. Wiped when dropped.
    pub fn encode(&self, tags: &[Tag]) -> Zeroizing<Vec<u8>> {
        let mut builder = Builder::new();
        for &tag in tags {
            if let Some(value) = self.get(tag) {
                builder.push(tag, value);
            }
        }
        Zeroizing::new(builder.into_bytes())
    }

    /// Every tag present, ascending, each once.
    pub fn tags(&self) -> Vec<Tag> {
        let mut tags: Vec<Tag> =
            self.terminal.keys().chain(self.card.keys()).chain(self.issuer.keys()).copied().collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

impl fmt::Debug for DataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataStore({:?})", self.tags())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlv::tags;

    #[test]
    fn a_card_cannot_replace_what_the_terminal_says() {
        let mut data = DataStore::default();
        data.set_terminal(tags::AMOUNT_AUTHORISED, &[0, 0, 0, 0, 0x12, 0x50]);
        data.set_card(tags::AMOUNT_AUTHORISED, &[0; 6]);
        data.set_card(tags::TVR, &[0; 5]);
        assert_eq!(data.get(tags::AMOUNT_AUTHORISED), Some(&[0, 0, 0, 0, 0x12, 0x50][..]));
        assert_eq!(data.get(tags::TVR), None);
    }

    #[test]
    fn debug_shows_tags_only() {
        let mut data = DataStore::default();
        data.set_card(tags::PAN, &[0x62, 0x22, 0x62]);
        assert_eq!(format!("{data:?}"), "DataStore([Tag(5A)])");
    }
}
