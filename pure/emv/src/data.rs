//! The data objects of one transaction, by who gave them.

use core::fmt;
use core::ops::Range;
use tlv::dictionary::{self, Source};
use tlv::{Builder, Tag};
use zeroize::Zeroizing;

/// Room for the values of one giver at first: most transactions need no more.
const ROOM_BYTES: usize = 512;
/// And no more of them.
const ROOM_VALUES: usize = 48;

/// Values by tag, one behind the other in one piece of memory that is wiped when it is dropped.
#[derive(Clone, Default)]
pub(crate) struct Values {
    /// Ascending tags, each with the place of its value.
    places: Vec<(Tag, Range<usize>)>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Values {
    pub(crate) fn get(&self, tag: Tag) -> Option<&[u8]> {
        let at = self.places.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        Some(&self.bytes[self.places[at].1.clone()])
    }

    fn insert(&mut self, tag: Tag, value: &[u8]) {
        match self.places.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) if self.places[at].1.len() == value.len() => {
                self.bytes[self.places[at].1.clone()].copy_from_slice(value);
            }
            Ok(at) => {
                self.bytes[self.places[at].1.clone()].fill(0);
                self.places[at].1 = self.append(value);
            }
            Err(at) => self.insert_at(at, tag, value),
        }
    }

    /// Whether there was none of this tag: one that is there stays.
    pub(crate) fn insert_new(&mut self, tag: Tag, value: &[u8]) -> bool {
        let place = self.places.binary_search_by_key(&tag, |(tag, _)| *tag);
        if let Err(at) = place {
            self.insert_at(at, tag, value);
        }
        place.is_err()
    }

    fn insert_at(&mut self, at: usize, tag: Tag, value: &[u8]) {
        let place = self.append(value);
        if self.places.is_empty() {
            self.places.reserve(ROOM_VALUES);
        }
        self.places.insert(at, (tag, place));
    }

    /// Every value by ascending tag.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        self.places.iter().map(|(tag, place)| (*tag, &self.bytes[place.clone()]))
    }

    /// Grows by hand, because a vector that grows by itself leaves what it held in freed memory.
    fn append(&mut self, value: &[u8]) -> Range<usize> {
        let (start, end) = (self.bytes.len(), self.bytes.len() + value.len());
        if end > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(end.max(2 * self.bytes.capacity()).max(ROOM_BYTES)));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(value);
        start..end
    }

    fn tags(&self) -> impl Iterator<Item = Tag> {
        self.places.iter().map(|(tag, _)| *tag)
    }
}

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
        self.terminal.insert(tag, value);
    }

    /// Sets a card object. Tags that only a terminal or an issuer may give are ignored.
    pub fn set_card(&mut self, tag: Tag, value: &[u8]) {
        let foreign = dictionary::lookup(tag).is_some_and(|info| info.source != Source::Card);
        if !foreign {
            self.card.insert(tag, value);
        }
    }

    /// Sets an object from the issuer's answer.
    pub fn set_issuer(&mut self, tag: Tag, value: &[u8]) {
        self.issuer.insert(tag, value);
    }

    /// The value of an object: the terminal's, else the card's, else the issuer's.
    pub fn get(&self, tag: Tag) -> Option<&[u8]> {
        [&self.terminal, &self.card, &self.issuer].into_iter().find_map(|values| values.get(tag))
    }

    /// A value of exactly `N` bytes; another length counts as absent.
    pub fn get_array<const N: usize>(&self, tag: Tag) -> Option<[u8; N]> {
        self.get(tag)?.try_into().ok()
    }

    /// Whether the card gave an object.
    pub fn card_has(&self, tag: Tag) -> bool {
        self.card.get(tag).is_some()
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
        let mut tags: Vec<Tag> = self.terminal.tags().chain(self.card.tags()).chain(self.issuer.tags()).collect();
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
    fn a_value_may_change_its_length_and_leaves_nothing_behind() {
        let mut data = DataStore::default();
        for length in [3, 3, 200, 0, 900, 7] {
            data.set_card(tags::PAN, &vec![0xA7; length]);
            data.set_card(tags::APPLICATION_LABEL, b"label");
            assert_eq!(data.get(tags::PAN), Some(&vec![0xA7; length][..]));
            assert_eq!(data.get(tags::APPLICATION_LABEL), Some(&b"label"[..]));
            assert_eq!(data.card.bytes.iter().filter(|byte| **byte == 0xA7).count(), length, "the label has none");
        }
        assert_eq!(data.tags(), data.clone().tags());
    }

    #[test]
    fn debug_shows_tags_only() {
        let mut data = DataStore::default();
        data.set_card(tags::PAN, &[0x62, 0x22, 0x62]);
        assert_eq!(format!("{data:?}"), "DataStore([Tag(5A)])");
    }
}
