//! Importing and making whole key blocks.

use zeroize::Zeroizing;

use super::binding::{open, seal};
use super::combination::{Verdict, permitted_by_table};
use super::content::CheckValue;
use super::error::{Field, KeyBlockError, LengthFault};
use super::field::{Algorithm, Version};
use super::header::{KEY_BLOCK_BYTES_MAX, KeyBlockHeader, ParsedHeader, check_strictly};
use super::hex;
use super::key_data::KeyData;
use super::optional::{BlockId, OptionalBlock};
use super::protection::{ProtectionKey, StrengthPolicy};

/// The key's length in bits stands before it.
const KEY_LENGTH_BYTES: usize = 2;

/// Which headers an import takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CombinationPolicy {
    /// Those that the table permits.
    #[default]
    Table,
    /// Those, and codes that two parties have agreed on.
    TableOrProprietary,
    /// Any: for looking into blocks, never for taking a key into use.
    Any,
}

/// What an import insists on. The default is the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportPolicy {
    /// Which headers are taken.
    pub combinations: CombinationPolicy,
    /// How strong the protection key must be.
    pub strength: StrengthPolicy,
}

/// How far padding hides the length of the key (ANSI X9.143:2021 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LengthHiding {
    /// All keys of one algorithm look like its longest: DES and TDES 24 bytes, AES 32, HMAC 64. Asymmetric keys show
    /// their length.
    #[default]
    LongestOfAlgorithm,
    /// The key looks as if it had at least this many bytes.
    AtLeast(usize),
    /// Only whole cipher blocks.
    None,
}

/// How a block is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WrapOptions {
    /// How far the key's length is hidden.
    pub length_hiding: LengthHiding,
    /// How strong the protection key must be.
    pub strength: StrengthPolicy,
}

/// A key out of a key block, with what the block says of it.
#[derive(Debug, PartialEq, Eq)]
pub struct UnwrappedKey {
    /// The authenticated header.
    pub header: KeyBlockHeader,
    /// The clear key.
    pub key: KeyData,
    /// The random bytes behind the key. They protect nothing any more; making the same block again needs them.
    pub padding: KeyData,
}

impl UnwrappedKey {
    /// Whether the block's check value KC belongs to the key; nothing if there is none or it cannot be computed.
    #[must_use]
    pub fn check_value_agrees(&self) -> Option<bool> {
        let said = OptionalBlock::content(self.header.optional_block(BlockId::KEY_CHECK_VALUE)?).ok()?;
        let super::content::BlockContent::KeyCheckValue(said) = said else { return None };
        let computed = CheckValue::of_key(self.header.algorithm, self.key.expose())?;
        (said.method == computed.method).then(|| computed.value.starts_with(&said.value))
    }
}

/// Imports a key block of version A to E.
///
/// # Errors
/// [`KeyBlockError::Malformed`] and [`KeyBlockError::WrongLength`] for text that is no key block,
/// [`KeyBlockError::ProtectionKeyAlgorithm`] for a key of the other cipher, [`KeyBlockError::WrongMac`] for anything
/// altered or another key; then, of an authentic block, [`KeyBlockError::RefusedCombination`],
/// [`KeyBlockError::WrongLength`] for a key that its algorithm does not know and
/// [`KeyBlockError::ProtectionKeyTooWeak`].
pub fn unwrap(kbpk: &ProtectionKey, key_block: &[u8], policy: &ImportPolicy) -> Result<UnwrappedKey, KeyBlockError> {
    let parsed = KeyBlockHeader::parse(key_block)?;
    let mac_offset = check_lengths(&parsed, key_block.len())?;
    check_strictly(key_block, &parsed)?;
    let (header_text, encrypted) = key_block[..mac_offset].split_at(parsed.header_bytes);
    let mut data = hex::decode(encrypted, parsed.header_bytes, Field::EncryptedKey)?;
    let mac = hex::decode(&key_block[mac_offset..], mac_offset, Field::Mac)?;
    if !data.len().is_multiple_of(parsed.header.version.enciphered_unit_bytes()) {
        return Err(KeyBlockError::WrongLength(LengthFault::NotWholeBlocks));
    }
    open(parsed.header.version, kbpk, header_text, &mut data, &mac)?;
    let header = parsed.header;
    check_combination(&header, policy.combinations)?;
    let (key, padding) = split_key(&data, header.algorithm)?;
    policy.strength.check(kbpk, header.algorithm, key)?;
    Ok(UnwrappedKey { key: KeyData::new(key), padding: KeyData::new(padding), header })
}

/// Checks all lengths that need no key, and tells where the MAC begins.
fn check_lengths(parsed: &ParsedHeader, actual: usize) -> Result<usize, KeyBlockError> {
    let wrong = |fault| Err(KeyBlockError::WrongLength(fault));
    if parsed.stated_bytes != actual {
        return wrong(LengthFault::Stated { stated: parsed.stated_bytes, actual });
    }
    let version = parsed.header.version;
    let mac_offset = actual.checked_sub(2 * version.mac_bytes()).filter(|at| *at > parsed.header_bytes);
    let Some(mac_offset) = mac_offset else { return wrong(LengthFault::TooShort) };
    if actual.is_multiple_of(version.enciphered_unit_bytes()) {
        Ok(mac_offset)
    } else {
        wrong(LengthFault::NotWholeBlocks)
    }
}

fn check_combination(header: &KeyBlockHeader, policy: CombinationPolicy) -> Result<(), KeyBlockError> {
    let (usage, algorithm, mode_of_use) = (header.usage, header.algorithm, header.mode_of_use);
    let taken = match permitted_by_table(usage, algorithm, mode_of_use) {
        Verdict::Permitted => true,
        Verdict::Proprietary => policy != CombinationPolicy::Table,
        Verdict::Refused => policy == CombinationPolicy::Any,
    };
    if taken { Ok(()) } else { Err(KeyBlockError::RefusedCombination { usage, algorithm, mode_of_use }) }
}

/// Takes deciphered data apart: length in bits, key, padding.
fn split_key(data: &[u8], algorithm: Algorithm) -> Result<(&[u8], &[u8]), KeyBlockError> {
    let wrong = KeyBlockError::WrongLength(LengthFault::Key);
    let (bits, rest) = data.split_first_chunk::<KEY_LENGTH_BYTES>().ok_or(wrong)?;
    let bits = usize::from(u16::from_be_bytes(*bits));
    if !bits.is_multiple_of(8) || !is_key_length(algorithm, bits / 8) {
        return Err(wrong);
    }
    rest.split_at_checked(bits / 8).ok_or(wrong)
}

fn is_key_length(algorithm: Algorithm, bytes: usize) -> bool {
    match algorithm {
        Algorithm::Des => bytes == 8,
        Algorithm::Tdes => matches!(bytes, 8 | 16 | 24),
        Algorithm::Aes => matches!(bytes, 16 | 24 | 32),
        _ => bytes > 0,
    }
}

/// How many random bytes [`wrap`] needs to pad a key of `key_bytes`.
#[must_use]
pub fn padding_bytes_needed(
    version: Version,
    algorithm: Algorithm,
    key_bytes: usize,
    length_hiding: LengthHiding,
) -> usize {
    let shown = match (length_hiding, algorithm) {
        (LengthHiding::None, _) => 0,
        (LengthHiding::AtLeast(bytes), _) => bytes.min(KEY_BLOCK_BYTES_MAX),
        (LengthHiding::LongestOfAlgorithm, Algorithm::Des | Algorithm::Tdes) => 24,
        (LengthHiding::LongestOfAlgorithm, Algorithm::Aes) => 32,
        (LengthHiding::LongestOfAlgorithm, Algorithm::Hmac) => 64,
        (LengthHiding::LongestOfAlgorithm, _) => 0,
    };
    let data_bytes = KEY_LENGTH_BYTES.saturating_add(key_bytes.max(shown));
    let whole = data_bytes.checked_next_multiple_of(version.enciphered_unit_bytes());
    whole.unwrap_or(data_bytes).saturating_sub(key_bytes).saturating_sub(KEY_LENGTH_BYTES)
}

/// Makes a key block of version B, D or E. `random` supplies the padding: at least
/// [`padding_bytes_needed`] bytes, fresh for every block; more are not used.
///
/// # Errors
/// [`KeyBlockError::ImportOnly`] for versions A and C, [`KeyBlockError::RefusedCombination`] for what the table does
/// not permit, [`KeyBlockError::Malformed`] for a header that no import would take, [`KeyBlockError::WrongLength`]
/// for a key that its algorithm does not know or a block that grows too long,
/// [`KeyBlockError::ProtectionKeyTooWeak`], [`KeyBlockError::ProtectionKeyAlgorithm`] and
/// [`KeyBlockError::RandomBytes`].
pub fn wrap(
    kbpk: &ProtectionKey,
    header: &KeyBlockHeader,
    key: &[u8],
    random: &[u8],
    options: &WrapOptions,
) -> Result<String, KeyBlockError> {
    let version = header.version;
    if matches!(version, Version::A | Version::C) {
        return Err(KeyBlockError::ImportOnly(version));
    }
    check_combination(header, CombinationPolicy::Table)?;
    let mut data = clear_data(header, key, random, options.length_hiding)?;
    options.strength.check(kbpk, header.algorithm, key)?;
    let key_block_bytes = header.text_bytes()? + 2 * (data.len() + version.mac_bytes());
    let mut text = header.to_text(key_block_bytes)?;
    check_strictly(text.as_bytes(), &KeyBlockHeader::parse(text.as_bytes())?)?;
    let mac = seal(version, kbpk, text.as_bytes(), &mut data)?;
    hex::push(&mut text, &data);
    hex::push(&mut text, &mac);
    Ok(text)
}

/// Length in bits, key and padding.
fn clear_data(
    header: &KeyBlockHeader,
    key: &[u8],
    random: &[u8],
    length_hiding: LengthHiding,
) -> Result<Zeroizing<Vec<u8>>, KeyBlockError> {
    let wrong = KeyBlockError::WrongLength(LengthFault::Key);
    let bits = key.len().checked_mul(8).and_then(|bits| u16::try_from(bits).ok()).ok_or(wrong)?;
    if !is_key_length(header.algorithm, key.len()) {
        return Err(wrong);
    }
    let needed = padding_bytes_needed(header.version, header.algorithm, key.len(), length_hiding);
    let padding = random.get(..needed).ok_or(KeyBlockError::RandomBytes { needed, given: random.len() })?;
    let mut data = Zeroizing::new(Vec::with_capacity(KEY_LENGTH_BYTES + key.len() + needed));
    data.extend_from_slice(&bits.to_be_bytes());
    data.extend_from_slice(key);
    data.extend_from_slice(padding);
    Ok(data)
}
