//! Keys in key blocks: TR-31 in and out, check values by name, keys with bounds of validity.

use crate::key_block::{check_value, check_value_by, checked_key};
use crate::refusal::of_entropy;
use crate::vault::{Answer, SoftVault, same_owner};
use keys::{
    AnyKeyBlock, Command, InterchangeHeader, KeyBlock, KeyBlockProtection, KeyBlockVersion, KeyHeader, Refusal, Reply,
    Usage, from_interchange, interchange_header,
};
use paycrypto::key_block::{
    Algorithm, BlockContent, BlockId, Exportability, HmacHash, ImportPolicy, KeyBlockError, KeyBlockHeader, KeyUsage,
    KeyVersion, LengthHiding, ModeOfUse, OptionalBlock, ProtectionKey, Version, WrapOptions, padding_bytes_needed,
    unwrap, wrap,
};
use zeroize::Zeroizing;

/// Longest TR-31 text that is taken, in bytes: a symmetric key with a few optional blocks.
const KEY_BLOCK_TEXT_BYTES_MAX: usize = 2048;

/// Strength of the RSA-3072 transport key in bits (NIST SP 800-57 part 1, table 2).
const TRANSPORT_KEY_SECURITY_BITS: u16 = 128;

/// The refusal for an error of key blocks.
fn of_key_block(error: KeyBlockError) -> Refusal {
    match error {
        KeyBlockError::WrongMac => Refusal::NotAuthentic,
        KeyBlockError::RefusedCombination { .. }
        | KeyBlockError::ProtectionKeyAlgorithm(_)
        | KeyBlockError::ProtectionKeyLength(_)
        | KeyBlockError::ProtectionKeyTooWeak { .. } => Refusal::WrongKey,
        _ => Refusal::Parameter,
    }
}

/// What an authentic block's header demands beyond usage, algorithm and mode.
fn check_header(header: &KeyBlockHeader) -> Result<(), Refusal> {
    if matches!(header.key_version, KeyVersion::Component(_)) {
        return Err(Refusal::Parameter);
    }
    if header.algorithm == Algorithm::Hmac {
        let block = header.optional_block(BlockId::HMAC_HASH).ok_or(Refusal::WrongKey)?;
        let sha256 = BlockContent::HmacHash(HmacHash::Sha256);
        return if block.content().is_ok_and(|content| content == sha256) { Ok(()) } else { Err(Refusal::WrongKey) };
    }
    Ok(())
}

fn codes_of(header: &KeyBlockHeader) -> InterchangeHeader {
    InterchangeHeader {
        usage: header.usage.code(),
        algorithm: header.algorithm.code(),
        mode_of_use: header.mode_of_use.code(),
    }
}

fn header_for(key: &KeyHeader, version: KeyBlockVersion, exportable_there: bool) -> Result<KeyBlockHeader, Refusal> {
    let codes = interchange_header(key.usage, key.algorithm).ok_or(Refusal::WrongKey)?;
    let version = match version {
        KeyBlockVersion::B => Version::B,
        KeyBlockVersion::D => Version::D,
        KeyBlockVersion::E => Version::E,
    };
    let exportability = if exportable_there { Exportability::Trusted } else { Exportability::NotExportable };
    let usage = KeyUsage::from_code(codes.usage).ok_or(Refusal::Unavailable)?;
    let algorithm = Algorithm::from_code(codes.algorithm).ok_or(Refusal::Unavailable)?;
    let mode = ModeOfUse::from_code(codes.mode_of_use).ok_or(Refusal::Unavailable)?;
    let mut header = KeyBlockHeader::new(version, usage, algorithm, mode, exportability);
    if algorithm == Algorithm::Hmac {
        let hash = OptionalBlock::with_content(&BlockContent::HmacHash(HmacHash::Sha256));
        header.optional_blocks.push(hash.map_err(of_key_block)?);
    }
    Ok(header)
}

impl SoftVault {
    /// Carries out the commands on keys in key blocks.
    pub(crate) fn carry_out_exchange(&self, command: &Command) -> Option<Answer> {
        Some(match command {
            Command::GenerateKeyWithValidity { usage, algorithm, owner, version, exportable, validity } => {
                let (owner, validity) = (owner.clone(), *validity);
                self.generate_key(KeyHeader {
                    usage: *usage,
                    algorithm: *algorithm,
                    exportable: *exportable,
                    owner,
                    version: *version,
                    validity,
                })
            }
            Command::ImportKeyBlock { under, usage, owner, version, validity, block } => {
                let header = |algorithm, exportable| KeyHeader {
                    usage: *usage,
                    algorithm,
                    exportable,
                    owner: owner.clone(),
                    version: *version,
                    validity: *validity,
                };
                same_owner(owner, under.header()).and_then(|()| self.import_key_block(under, block, header))
            }
            Command::ImportProtectionKey { owner, version, algorithm, validity, enciphered } => {
                let (usage, owner, validity) = (Usage::KeyBlockProtection, owner.clone(), *validity);
                let (algorithm, version) = (*algorithm, *version);
                let header = KeyHeader { usage, algorithm, exportable: false, owner, version, validity };
                if algorithm.security_bits() > TRANSPORT_KEY_SECURITY_BITS {
                    Err(Refusal::WrongKey)
                } else {
                    self.import_transport_key(header, enciphered)
                }
            }
            Command::ExportKeyBlock { key, under, version, exportable_there } => {
                self.export_key_block(key, under, *version, *exportable_there)
            }
            Command::CheckKeyValue { key, method } => self
                .key_at_any_time(key)
                .and_then(|clear| check_value_by(*method, &key.header, &clear))
                .map(|value| Reply::KeyCheckBytes { value }),
            _ => return None,
        })
    }

    fn protection_key(&self, under: &KeyBlock<KeyBlockProtection>) -> Result<ProtectionKey, Refusal> {
        let key = self.usable(under.any())?;
        let is_aes = under.header().algorithm.is_aes();
        let key = if is_aes { ProtectionKey::aes(key.expose()) } else { ProtectionKey::tdes(key.expose()) };
        key.map_err(of_key_block)
    }

    fn import_key_block(
        &self,
        under: &KeyBlock<KeyBlockProtection>,
        text: &[u8],
        header: impl FnOnce(keys::Algorithm, bool) -> KeyHeader,
    ) -> Answer {
        if text.len() > KEY_BLOCK_TEXT_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let opened = unwrap(&self.protection_key(under)?, text, &ImportPolicy::default()).map_err(of_key_block)?;
        check_header(&opened.header)?;
        if opened.check_value_agrees() == Some(false) {
            return Err(Refusal::KeyCheck);
        }
        let found = from_interchange(&codes_of(&opened.header), opened.key.expose().len());
        let (usage, algorithm) = found.ok_or(Refusal::WrongKey)?;
        // `S` lets a key out in other forms than key blocks too, which no key here may: it stays.
        let header = header(algorithm, opened.header.exportability == Exportability::Trusted);
        if header.usage != usage {
            return Err(Refusal::WrongKey);
        }
        let key = checked_key(&header, opened.key.expose())?;
        self.wrapped(header, &key)
    }

    fn export_key_block(
        &self,
        key: &AnyKeyBlock,
        under: &KeyBlock<KeyBlockProtection>,
        version: KeyBlockVersion,
        exportable_there: bool,
    ) -> Answer {
        same_owner(&key.header.owner, under.header())?;
        let clear = self.usable(key)?;
        if !key.header.exportable {
            return Err(Refusal::NotExportable);
        }
        let header = header_for(&key.header, version, exportable_there)?;
        let protection = self.protection_key(under)?;
        let hiding = LengthHiding::default();
        let needed = padding_bytes_needed(header.version, header.algorithm, clear.expose().len(), hiding);
        let mut random = Zeroizing::new(vec![0; needed]);
        self.entropy.fill(&mut random).map_err(of_entropy)?;
        let block =
            wrap(&protection, &header, clear.expose(), &random, &WrapOptions::default()).map_err(of_key_block)?;
        let check = check_value(&key.header, clear.expose())?;
        Ok(Reply::KeyBlockExported { block: block.into_bytes(), check })
    }
}
