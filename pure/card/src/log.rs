//! The card's own log of approved transactions (EMV 4.4 Book 3 annex D).

use tlv::{Dol, Tag};

/// Short file identifier of the log.
pub(crate) const SFI: u8 = 11;
/// Entries kept; the oldest gives way.
pub const ENTRIES_MAX: usize = 10;
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 14;

/// Log format (tag 9F4F): date, amount, currency, type, ATC.
pub(crate) const FORMAT: &[u8] = &[0x9A, 0x03, 0x9F, 0x02, 0x06, 0x5F, 0x2A, 0x02, 0x9C, 0x01, 0x9F, 0x36, 0x02];

/// One entry, from the values of the transaction.
pub(crate) fn entry<'v>(value_of: impl Fn(Tag) -> Option<&'v [u8]>) -> [u8; ENTRY_BYTES] {
    let list = Dol::parse(FORMAT).expect("the format is a list");
    list.build(value_of).try_into().expect("the lengths of the format add up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlv::tags;

    #[test]
    fn an_entry_has_the_announced_length() {
        assert_eq!(Dol::parse(FORMAT).unwrap().total_length(), ENTRY_BYTES);
        let entry = entry(|tag| (tag == tags::ATC).then_some(&[0x12, 0x34][..]));
        assert_eq!(entry[12..], [0x12, 0x34]);
    }
}
