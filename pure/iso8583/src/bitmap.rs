//! Bitmaps: which data elements a message carries.

use crate::ebcdic;
use crate::error::{DecodeError, Expected, FieldPath, Found};
use crate::reader::Reader;

/// Highest data element that three bitmap groups can announce.
pub const MAX_FIELD: u8 = 192;
/// Data elements of one bitmap group.
pub const GROUP_FIELDS: u8 = 64;
/// Most bitmap groups in a message.
pub const MAX_GROUPS: usize = 3;
/// Bytes of one group in binary.
const GROUP_OCTETS: usize = 8;
/// Characters of one group in hexadecimal text.
const GROUP_CHARACTERS: usize = 16;

/// How one bitmap group is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapCoding {
    /// 8 bytes.
    Binary,
    /// 16 ASCII hexadecimal characters.
    HexAscii,
    /// 16 EBCDIC hexadecimal characters.
    HexEbcdic,
}

impl BitmapCoding {
    /// Bytes on the wire.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Binary => GROUP_OCTETS,
            Self::HexAscii | Self::HexEbcdic => GROUP_CHARACTERS,
        }
    }

    fn parse(self, wire: &[u8]) -> Option<u64> {
        match self {
            Self::Binary => Some(u64::from_be_bytes(wire.try_into().ok()?)),
            Self::HexAscii => parse_hex(wire.iter().copied()),
            Self::HexEbcdic => parse_hex(wire.iter().map(|&byte| ebcdic::to_latin1(byte))),
        }
    }

    /// Writes one group into `wire`, which has [`BitmapCoding::octets`] bytes.
    pub(crate) fn write(self, bits: u64, wire: &mut [u8]) {
        for (index, place) in wire.iter_mut().enumerate() {
            *place = match self {
                Self::Binary => bits.to_be_bytes().get(index).copied().unwrap_or(0),
                Self::HexAscii => hex_character(bits, index),
                Self::HexEbcdic => ebcdic::from_latin1(hex_character(bits, index)),
            };
        }
    }
}

fn hex_character(bits: u64, index: usize) -> u8 {
    let shift = 60 - 4 * index.min(15);
    b"0123456789ABCDEF"[(bits >> shift) as usize & 0x0F]
}

fn parse_hex(characters: impl Iterator<Item = u8>) -> Option<u64> {
    let mut bits = 0_u64;
    for character in characters {
        bits = bits << 4 | u64::from(char::from(character).to_digit(16)?);
    }
    Some(bits)
}

/// How many groups a message may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapExtent {
    /// One group; bit 1 is an undefined data element.
    Single,
    /// Bit 1 announces a second group.
    Double,
    /// Bit 1 announces a second group, bit 65 a third.
    Triple,
    /// Always two groups, whatever bit 1 says.
    AlwaysDouble,
}

impl BitmapExtent {
    const fn max_groups(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Double | Self::AlwaysDouble => 2,
            Self::Triple => MAX_GROUPS,
        }
    }
}

/// How the bitmap of a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitmapSpec {
    /// Coding of each group.
    pub codings: [BitmapCoding; MAX_GROUPS],
    /// How many groups there are.
    pub extent: BitmapExtent,
}

impl BitmapSpec {
    /// All groups in one coding.
    #[must_use]
    pub const fn new(coding: BitmapCoding, extent: BitmapExtent) -> Self {
        Self { codings: [coding; MAX_GROUPS], extent }
    }

    /// Highest data element that can be announced.
    #[must_use]
    pub const fn max_field(&self) -> u8 {
        match self.extent {
            BitmapExtent::Single => GROUP_FIELDS,
            BitmapExtent::Double | BitmapExtent::AlwaysDouble => 2 * GROUP_FIELDS,
            BitmapExtent::Triple => MAX_FIELD,
        }
    }

    /// Whether this number is a presence bit and not a data element.
    #[must_use]
    #[inline]
    pub const fn is_presence_bit(&self, number: u8) -> bool {
        match self.extent {
            BitmapExtent::Single => false,
            BitmapExtent::Double | BitmapExtent::AlwaysDouble => number == 1,
            BitmapExtent::Triple => number == 1 || number == GROUP_FIELDS + 1,
        }
    }

    /// Bytes of the first `groups` groups.
    #[must_use]
    pub fn octets(&self, groups: usize) -> usize {
        self.codings.iter().take(groups).map(|coding| coding.octets()).sum()
    }

    /// Reads all groups.
    ///
    /// # Errors
    /// A group is cut or is not hexadecimal; the path names the group.
    pub fn read(&self, reader: &mut Reader<'_>) -> Result<Bitmap, DecodeError> {
        let mut bitmap = Bitmap::default();
        for (index, coding) in self.codings.iter().enumerate().take(self.extent.max_groups()) {
            if index > 0 && !self.continues(&bitmap) {
                break;
            }
            let path = FieldPath::Bitmap(index as u8 + 1);
            let start = reader.position();
            let wire = reader.take(coding.octets(), path)?;
            let bits = coding.parse(wire).ok_or_else(|| {
                DecodeError::new(start, path, Expected::HexDigits, Found::Other("other characters"))
                    .until(reader.position())
            })?;
            bitmap.groups[index] = bits;
            bitmap.group_count = index + 1;
        }
        Ok(bitmap)
    }

    fn continues(&self, so_far: &Bitmap) -> bool {
        let last = so_far.group_count.saturating_sub(1);
        self.extent == BitmapExtent::AlwaysDouble || so_far.groups[last] >> 63 == 1
    }
}

/// The bits of a message's bitmap, presence bits included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    groups: [u64; MAX_GROUPS],
    group_count: usize,
}

impl Bitmap {
    /// How many groups the message has.
    #[must_use]
    pub const fn group_count(&self) -> usize {
        self.group_count
    }

    /// Bits of a group, field 1 (65, 129) in the most significant one.
    #[must_use]
    pub fn group(&self, index: usize) -> u64 {
        self.groups.get(index).copied().unwrap_or(0)
    }

    /// Whether a bit is set.
    #[must_use]
    pub fn contains(&self, number: u8) -> bool {
        let (index, bit) = place(number);
        self.group(index) & bit != 0
    }

    pub(crate) fn set(&mut self, number: u8) {
        let (index, bit) = place(number);
        if let Some(group) = self.groups.get_mut(index) {
            *group |= bit;
            self.group_count = self.group_count.max(index + 1);
        }
    }

    pub(crate) fn clear(&mut self, number: u8) {
        let (index, bit) = place(number);
        if let Some(group) = self.groups.get_mut(index) {
            *group &= !bit;
        }
    }

    pub(crate) fn require_groups(&mut self, count: usize) {
        self.group_count = self.group_count.max(count.min(MAX_GROUPS));
    }

    /// How many bits below `number` are set.
    #[must_use]
    pub fn rank(&self, number: u8) -> usize {
        let (index, bit) = place(number);
        let whole: u32 = self.groups.iter().take(index).map(|group| group.count_ones()).sum();
        let above = self.group(index) & !(bit | (bit.wrapping_sub(1)));
        (whole + above.count_ones()) as usize
    }

    /// Calls `visit` with the number of every set bit, ascending, until one is refused.
    #[inline(always)]
    pub(crate) fn try_each<E>(&self, mut visit: impl FnMut(u8) -> Result<(), E>) -> Result<(), E> {
        for (index, &group) in self.groups.iter().enumerate() {
            let mut bits = group;
            while bits != 0 {
                let zeros = bits.leading_zeros();
                bits &= !(1 << 63 >> zeros);
                visit(index as u8 * GROUP_FIELDS + zeros as u8 + 1)?;
            }
        }
        Ok(())
    }

    /// The numbers of the bits that are set, ascending.
    #[must_use]
    pub const fn iter(&self) -> BitmapIter {
        BitmapIter { groups: self.groups, index: 0 }
    }
}

impl IntoIterator for &Bitmap {
    type Item = u8;
    type IntoIter = BitmapIter;

    fn into_iter(self) -> BitmapIter {
        self.iter()
    }
}

/// Group and mask of a bit; number 0 has none.
const fn place(number: u8) -> (usize, u64) {
    if number == 0 {
        return (MAX_GROUPS, 0);
    }
    let zero_based = number - 1;
    ((zero_based / GROUP_FIELDS) as usize, 1 << (63 - zero_based % GROUP_FIELDS))
}

/// Numbers of set bits, ascending.
#[derive(Clone, Debug)]
pub struct BitmapIter {
    groups: [u64; MAX_GROUPS],
    index: usize,
}

impl Iterator for BitmapIter {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            let group = self.groups.get_mut(self.index)?;
            if *group == 0 {
                self.index += 1;
                continue;
            }
            let zeros = group.leading_zeros() as u8;
            *group &= !(1 << (63 - zeros));
            return Some(self.index as u8 * GROUP_FIELDS + zeros + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_of_groups_and_rank() {
        let spec = BitmapSpec::new(BitmapCoding::Binary, BitmapExtent::Triple);
        let wire = [0x80, 0x40, 0, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0, 0, 0];
        let bitmap = spec.read(&mut Reader::new(&wire)).unwrap();
        assert_eq!(bitmap.iter().collect::<Vec<_>>(), [1, 10, 70]);
        assert_eq!((bitmap.rank(10), bitmap.rank(70), bitmap.rank(192)), (1, 2, 3));
        assert!(bitmap.contains(70) && !bitmap.contains(71) && !bitmap.contains(0));
        let error = spec.read(&mut Reader::new(&wire[..8])).unwrap_err();
        assert_eq!((error.offset, error.path), (8, FieldPath::Bitmap(2)));
    }

    #[test]
    fn always_double_reads_two_groups_without_bit_1() {
        let spec = BitmapSpec::new(BitmapCoding::HexAscii, BitmapExtent::AlwaysDouble);
        let bitmap = spec.read(&mut Reader::new(&[b'0'; 32])).unwrap();
        assert_eq!(bitmap.group_count(), 2);
    }
}
