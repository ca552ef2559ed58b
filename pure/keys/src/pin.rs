//! PIN blocks across the key boundary: where one comes from, and what it may become.

use crate::block::KeyBlock;
use crate::dukpt::DukptKey;
use crate::scheme::encode_enum;
use crate::usage::{Algorithm, PinEncryption};
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Longest enciphered PIN block in bytes.
pub const PIN_BLOCK_BYTES_MAX: usize = 16;

/// How a PIN block is laid out (ISO 9564-1 §9.3, §9.4). Formats 1 and 2 have words so that they can be refused by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PinFormat {
    /// ISO format 0: bound to twelve account digits, filler F; TDES.
    Iso0,
    /// ISO format 1: bound to no account. Never taken, never made.
    Iso1,
    /// ISO format 2: for a card's VERIFY command only. Never taken, never made.
    Iso2,
    /// ISO format 3: as format 0 with random filler; TDES.
    Iso3,
    /// ISO format 4: bound to the whole account number, random; AES.
    Iso4,
    /// UnionPay's sixteen-byte block: laid out as format 0; SM4.
    UnionPaySm4,
}
encode_enum!(PinFormat { Iso0 = 1, Iso1 = 2, Iso2 = 3, Iso3 = 4, Iso4 = 5, UnionPaySm4 = 6 });

impl PinFormat {
    /// Every format, in the order of its wire number.
    pub const ALL: [PinFormat; 6] =
        [PinFormat::Iso0, PinFormat::Iso1, PinFormat::Iso2, PinFormat::Iso3, PinFormat::Iso4, PinFormat::UnionPaySm4];

    /// The field's name for it.
    pub fn name(self) -> &'static str {
        match self {
            PinFormat::Iso0 => "ISO-0",
            PinFormat::Iso1 => "ISO-1",
            PinFormat::Iso2 => "ISO-2",
            PinFormat::Iso3 => "ISO-3",
            PinFormat::Iso4 => "ISO-4",
            PinFormat::UnionPaySm4 => "UP-SM4",
        }
    }

    /// Length of a block in bytes.
    pub fn block_bytes(self) -> usize {
        match self {
            PinFormat::Iso0 | PinFormat::Iso1 | PinFormat::Iso2 | PinFormat::Iso3 => 8,
            PinFormat::Iso4 | PinFormat::UnionPaySm4 => 16,
        }
    }

    /// Whether blocks of this format are enciphered with this algorithm.
    pub fn suits(self, algorithm: Algorithm) -> bool {
        match self {
            PinFormat::Iso0 | PinFormat::Iso3 => matches!(algorithm, Algorithm::TdesDouble | Algorithm::TdesTriple),
            PinFormat::Iso4 => algorithm.is_aes(),
            PinFormat::UnionPaySm4 => algorithm == Algorithm::Sm4,
            PinFormat::Iso1 | PinFormat::Iso2 => false,
        }
    }

    /// Whether the account number is only xored to the PIN: such a block opens under other account numbers too, and
    /// whether it does tells something of the PIN. A vault therefore ties each to the first account it came with.
    pub fn is_malleable(self) -> bool {
        matches!(self, PinFormat::Iso0 | PinFormat::Iso3 | PinFormat::UnionPaySm4)
    }
}

/// The answer of the translation matrix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PinTranslation {
    /// Never.
    Refused,
    /// Only if the key process's configuration names the pair: the result hides less than the source did.
    IfNamed,
    /// Yes.
    Allowed,
}

/// Which PIN block may become which: the reviewed matrix (`permissions.golden`). Never weaker, never towards a format that
/// is bound to no account. A change of the account number has no word at all (ISO 9564-1 allows one at issuance only):
/// a translation names one account for both blocks.
pub fn pin_translation(from: PinFormat, to: PinFormat) -> PinTranslation {
    use PinFormat::{Iso0, Iso3, Iso4, UnionPaySm4};
    match (from, to) {
        (Iso0, Iso0 | Iso4 | UnionPaySm4) | (Iso3 | Iso4, Iso4) | (UnionPaySm4, UnionPaySm4) => PinTranslation::Allowed,
        (Iso3 | Iso4, Iso0) => PinTranslation::IfNamed,
        _ => PinTranslation::Refused,
    }
}

/// The pairs a key process's configuration names beyond what is always allowed. Default: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PinTranslationPolicy {
    /// Format 3 may become format 0: equal PINs of a card then show as equal blocks.
    pub iso3_to_iso0: bool,
    /// Format 4 may become format 0, and with it AES become TDES: for issuers that know nothing newer.
    pub iso4_to_iso0: bool,
}

impl PinTranslationPolicy {
    /// Whether this pair may be translated.
    pub fn allows(self, from: PinFormat, to: PinFormat) -> bool {
        match pin_translation(from, to) {
            PinTranslation::Allowed => true,
            PinTranslation::Refused => false,
            PinTranslation::IfNamed => match (from, to) {
                (PinFormat::Iso3, PinFormat::Iso0) => self.iso3_to_iso0,
                (PinFormat::Iso4, PinFormat::Iso0) => self.iso4_to_iso0,
                _ => false,
            },
        }
    }

    /// Whether a PIN under `from` may go on under the weaker `to`: only where the pair of formats demands it by name.
    pub fn allows_weaker_key(self, from: PinFormat, to: PinFormat) -> bool {
        from == PinFormat::Iso4 && to == PinFormat::Iso0 && self.iso4_to_iso0
    }
}

/// What enciphers a PIN block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PinSource {
    /// A PIN key shared with the sender.
    Key(KeyBlock<PinEncryption>),
    /// The PIN key of one DUKPT transaction.
    Dukpt(DukptKey),
}

impl Encode for PinSource {
    fn encode(&self, writer: &mut Writer) {
        match self {
            PinSource::Key(key) => writer.u8(1).value(key),
            PinSource::Dukpt(key) => writer.u8(2).value(key),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => reader.value().map(PinSource::Key),
            2 => reader.value().map(PinSource::Dukpt),
            _ => Err(reader.malformed("a source of PIN blocks")),
        }
    }
}

/// A PIN block as it came: enciphered, with what it takes to open it.
#[derive(Clone, PartialEq, Eq)]
pub struct EncipheredPinBlock {
    /// Layout.
    pub format: PinFormat,
    /// Key.
    pub under: PinSource,
    /// The block.
    pub block: Vec<u8>,
}

impl core::fmt::Debug for EncipheredPinBlock {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "EncipheredPinBlock({} under {:?})", self.format.name(), self.under)
    }
}

impl Encode for EncipheredPinBlock {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.format).value(&self.under).bytes(&self.block);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (format, under) = (reader.value()?, reader.value()?);
        let block = reader.bytes()?;
        if block.len() > PIN_BLOCK_BYTES_MAX {
            return Err(reader.malformed("a PIN block"));
        }
        Ok(Self { format, under, block: block.to_vec() })
    }
}

/// Decimalisation tables of IBM 3624. An enum and not a parameter: whoever may choose the table reads a PIN in some
/// fifteen questions (Bond and Zieliński 2003). A further table is a change of this file, with its review.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecimalisationTable {
    /// `0123456789012345`.
    Standard,
    /// `1234567890123456`.
    Shifted,
}
encode_enum!(DecimalisationTable { Standard = 1, Shifted = 2 });

impl DecimalisationTable {
    /// Every table.
    pub const ALL: [DecimalisationTable; 2] = [DecimalisationTable::Standard, DecimalisationTable::Shifted];

    /// The sixteen digits.
    pub fn digits(self) -> &'static [u8; 16] {
        match self {
            DecimalisationTable::Standard => b"0123456789012345",
            DecimalisationTable::Shifted => b"1234567890123456",
        }
    }
}

/// Which account digits IBM 3624 validates; the vault takes them from the account, a caller cannot choose them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValidationData {
    /// The first sixteen digits, filled with F on the right.
    LeftmostSixteen,
    /// The twelve digits left of the check digit, filled with F on the right.
    TwelveBeforeCheckDigit,
}
encode_enum!(ValidationData { LeftmostSixteen = 1, TwelveBeforeCheckDigit = 2 });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_a_block_without_an_account() {
        for from in PinFormat::ALL {
            for other in [PinFormat::Iso1, PinFormat::Iso2] {
                assert_eq!(pin_translation(from, other), PinTranslation::Refused);
                assert_eq!(pin_translation(other, from), PinTranslation::Refused);
            }
        }
    }

    #[test]
    fn what_hides_less_must_be_named() {
        let (none, all) =
            (PinTranslationPolicy::default(), PinTranslationPolicy { iso3_to_iso0: true, iso4_to_iso0: true });
        for (from, to) in [(PinFormat::Iso3, PinFormat::Iso0), (PinFormat::Iso4, PinFormat::Iso0)] {
            assert!(!none.allows(from, to) && all.allows(from, to));
        }
        assert!(!all.allows(PinFormat::Iso4, PinFormat::Iso3));
        assert!(none.allows(PinFormat::Iso3, PinFormat::Iso4));
        assert!(!none.allows_weaker_key(PinFormat::Iso4, PinFormat::Iso0));
        assert!(!all.allows_weaker_key(PinFormat::Iso4, PinFormat::Iso4));
    }
}
