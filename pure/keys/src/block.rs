//! Key blocks: keys at rest and on the way, with what they may be used for.

use crate::usage::{Algorithm, Usage, UsageMarker};
use core::fmt;
use core::marker::PhantomData;
use machine::wire::{Encode, Malformed, Reader, Writer};
use std::sync::Arc;

/// Longest owner name in bytes.
pub const OWNER_BYTES_MAX: usize = 24;
/// Longest enciphered key block in bytes.
pub const KEY_BLOCK_BYTES_MAX: usize = 512;

/// Whose key it is: a terminal id, an issuer's name. 1–24 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owner(String);

impl Owner {
    /// Checks length and alphabet.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= OWNER_BYTES_MAX;
        (fits && name.bytes().all(|byte| (0x20..0x7F).contains(&byte))).then_some(Self(name))
    }

    /// The owner of a terminal's keys.
    pub fn of_terminal(terminal: types::TerminalId) -> Self {
        Self(terminal.text().to_owned())
    }

    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The days on which a key may be used, as days since 1970-01-01 (UTC), both ends included. No bound means always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Validity {
    /// First day.
    pub not_before: Option<u32>,
    /// Last day.
    pub not_after: Option<u32>,
}

impl Validity {
    /// Without bounds.
    pub const ALWAYS: Self = Self { not_before: None, not_after: None };

    /// Whether the key may be used on this day. A bounded key may not be used by whoever does not know the day.
    pub fn contains(&self, today: Option<u32>) -> bool {
        let Some(today) = today else { return *self == Self::ALWAYS };
        self.not_before.is_none_or(|day| day <= today) && self.not_after.is_none_or(|day| today <= day)
    }

    /// Whether any day lies within.
    pub fn is_possible(&self) -> bool {
        !matches!((self.not_before, self.not_after), (Some(first), Some(last)) if first > last)
    }

    /// The days that lie within both.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        let last = |one: Option<u32>, two: Option<u32>| match (one, two) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { not_before: self.not_before.max(other.not_before), not_after: last(self.not_after, other.not_after) }
    }
}

impl Encode for Validity {
    fn encode(&self, writer: &mut Writer) {
        for bound in [self.not_before, self.not_after] {
            writer.option(bound, |writer, day| {
                writer.u32(day);
            });
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { not_before: reader.option(Reader::u32)?, not_after: reader.option(Reader::u32)? })
    }
}

/// What a key block says of its key, authenticated with it.
///
/// Encoding: a header without bounds of validity is written as version 1 (usage, algorithm, exportable, owner,
/// version), which is how all blocks of 0.1.0 stand in journals and what their tags cover. One with bounds is version
/// 2: the byte `82`, which is no usage, then the same, then the bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyHeader {
    /// What it may be used for.
    pub usage: Usage,
    /// Algorithm and length.
    pub algorithm: Algorithm,
    /// Whether it may leave the vault under a key encryption key.
    pub exportable: bool,
    /// Whose it is.
    pub owner: Owner,
    /// Version of the key within its owner and usage.
    pub version: u32,
    /// When it may be used.
    pub validity: Validity,
}

/// First byte of a version 2 header.
const HEADER_VERSION_2: u8 = 0x82;

impl KeyHeader {
    fn encode_version_1(&self, writer: &mut Writer) {
        writer.u8(self.usage.number()).u8(self.algorithm.number()).bool(self.exportable);
        writer.text(self.owner.text()).u32(self.version);
    }

    /// The part both versions have, its first byte read already.
    fn decode_behind(usage: u8, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let usage = Usage::from_number(usage).ok_or_else(|| reader.malformed("a key usage"))?;
        let algorithm = Algorithm::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a key algorithm"))?;
        let exportable = reader.bool()?;
        let owner = Owner::new(reader.text()?).ok_or_else(|| reader.malformed("a key owner"))?;
        Ok(Self { usage, algorithm, exportable, owner, version: reader.u32()?, validity: Validity::ALWAYS })
    }
}

impl Encode for KeyHeader {
    fn encode(&self, writer: &mut Writer) {
        if self.validity == Validity::ALWAYS {
            self.encode_version_1(writer);
        } else {
            writer.u8(HEADER_VERSION_2);
            self.encode_version_1(writer);
            writer.value(&self.validity);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = reader.u8()?;
        if first != HEADER_VERSION_2 {
            return Self::decode_behind(first, reader);
        }
        let usage = reader.u8()?;
        let header = Self::decode_behind(usage, reader)?;
        let validity: Validity = reader.value()?;
        // One header, one encoding: without bounds it would have been version 1.
        if validity == Validity::ALWAYS {
            return Err(reader.malformed("a bounded validity"));
        }
        Ok(Self { validity, ..header })
    }
}

/// A key block of a usage known only at run time, as it comes off a socket or out of a store.
#[derive(Clone, PartialEq, Eq)]
pub struct AnyKeyBlock {
    /// The authenticated header.
    pub header: KeyHeader,
    /// The enciphered key with its authentication tag, in the vault's own form.
    pub enciphered: Vec<u8>,
}

impl AnyKeyBlock {
    /// Types the block if its header says this usage.
    pub fn typed<U: UsageMarker>(self) -> Result<KeyBlock<U>, WrongUsage> {
        if self.header.usage == U::USAGE {
            Ok(KeyBlock { block: Arc::new(self), usage: PhantomData })
        } else {
            Err(WrongUsage { expected: U::USAGE, found: self.header.usage })
        }
    }
}

impl fmt::Debug for AnyKeyBlock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        write!(
            formatter,
            "KeyBlock({} {:?} of {} v{})",
            header.usage.name(),
            header.algorithm,
            header.owner.text(),
            header.version
        )
    }
}

impl Encode for AnyKeyBlock {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.header).bytes(&self.enciphered);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let header = reader.value()?;
        let enciphered = reader.bytes()?.to_vec();
        if enciphered.len() > KEY_BLOCK_BYTES_MAX {
            return Err(reader.malformed("a bounded key block"));
        }
        Ok(Self { header, enciphered })
    }
}

/// A block was used where another usage belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key usage {found:?} where {expected:?} is required")]
pub struct WrongUsage {
    /// Usage demanded.
    pub expected: Usage,
    /// Usage in the header.
    pub found: Usage,
}

/// A key block of one usage. Every message names some, so copies share what they hold.
pub struct KeyBlock<U: UsageMarker> {
    block: Arc<AnyKeyBlock>,
    usage: PhantomData<fn() -> U>,
}

impl<U: UsageMarker> KeyBlock<U> {
    /// The block without its type, for stores and sockets.
    pub fn any(&self) -> &AnyKeyBlock {
        &self.block
    }

    /// The authenticated header.
    pub fn header(&self) -> &KeyHeader {
        &self.block.header
    }
}

impl<U: UsageMarker> Clone for KeyBlock<U> {
    fn clone(&self) -> Self {
        Self { block: Arc::clone(&self.block), usage: PhantomData }
    }
}

impl<U: UsageMarker> PartialEq for KeyBlock<U> {
    fn eq(&self, other: &Self) -> bool {
        self.block == other.block
    }
}

impl<U: UsageMarker> Eq for KeyBlock<U> {}

impl<U: UsageMarker> fmt::Debug for KeyBlock<U> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.block, formatter)
    }
}

impl<U: UsageMarker> Encode for KeyBlock<U> {
    fn encode(&self, writer: &mut Writer) {
        self.block.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let block: AnyKeyBlock = reader.value()?;
        block.typed().map_err(|_| reader.malformed("a key block of the right usage"))
    }
}

/// Key check value: leading bytes of the key applied to a zero block. Four in the UnionPay dialect (unionpay-pos §4.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyCheckValue(pub [u8; 4]);

impl fmt::Display for KeyCheckValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02X}"))
    }
}

impl fmt::Debug for KeyCheckValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyCheckValue({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(validity: Validity) -> KeyHeader {
        let owner = Owner::new("12345678").unwrap();
        KeyHeader {
            usage: Usage::PinEncryption,
            algorithm: Algorithm::TdesDouble,
            exportable: false,
            owner,
            version: 7,
            validity,
        }
    }

    #[test]
    fn a_header_without_bounds_is_what_0_1_0_wrote() {
        let expected = [&[2, 2, 0, 0, 0, 0, 8][..], b"12345678", &[0, 0, 0, 7]].concat();
        assert_eq!(header(Validity::ALWAYS).to_bytes(), expected);
        assert_eq!(KeyHeader::from_bytes(&expected).unwrap(), header(Validity::ALWAYS));
    }

    #[test]
    fn a_bounded_header_comes_back_and_an_unbounded_version_2_is_none() {
        for (not_before, not_after) in [(Some(20_000), None), (None, Some(20_500)), (Some(1), Some(1))] {
            let header = header(Validity { not_before, not_after });
            let bytes = header.to_bytes();
            assert_eq!(bytes[0], HEADER_VERSION_2);
            assert_eq!(KeyHeader::from_bytes(&bytes).unwrap(), header);
            assert!((0..bytes.len()).all(|length| KeyHeader::from_bytes(&bytes[..length]).is_err()));
        }
        let unbounded = [&[HEADER_VERSION_2][..], &header(Validity::ALWAYS).to_bytes(), &[0, 0]].concat();
        assert!(KeyHeader::from_bytes(&unbounded).is_err());
    }

    #[test]
    fn validity_has_both_ends_and_needs_a_calendar() {
        let validity = Validity { not_before: Some(10), not_after: Some(12) };
        let days: Vec<u32> = (8..15).filter(|day| validity.contains(Some(*day))).collect();
        assert_eq!(days, [10, 11, 12]);
        assert!(!validity.contains(None) && Validity::ALWAYS.contains(None));
        assert!(!Validity { not_before: Some(2), not_after: Some(1) }.is_possible() && validity.is_possible());
    }

    #[test]
    fn what_a_key_derives_lives_no_longer_than_the_key() {
        let parent = Validity { not_before: Some(10), not_after: Some(20) };
        let child = Validity { not_before: None, not_after: Some(30) };
        assert_eq!(child.within(&parent), parent);
        assert_eq!(Validity::ALWAYS.within(&parent), parent);
        assert_eq!(parent.within(&Validity { not_before: Some(15), not_after: None }).not_before, Some(15));
    }
}
