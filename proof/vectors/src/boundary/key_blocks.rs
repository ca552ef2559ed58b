//! TR-31 key blocks through `ImportKeyBlock`, `CheckKeyValue` and `ExportKeyBlock`.

use super::chest::Chest;
use super::macs::aes;
use super::{inner_step, unsayable};
use crate::Outcome;
use crate::mac::case::{self, Case, Check, Problem, refused, unknown};
use crate::tr31::{Kind, REASONS};
use keys::{
    Algorithm, CheckMethod, InterchangeHeader, KeyBlock, KeyBlockProtection, Refusal, Usage, from_interchange,
    interchange_header,
};
use paycrypto::key_block::{BlockContent, BlockId, HmacHash, KeyBlockHeader, KeyVersion, ProtectionKey};
use paycrypto::key_block::{ImportPolicy, KeyBlockError, unwrap};

const OTHERS_HEADERS: &str = "an exporter's header: the vault writes its own usages and modes (X9.143 tables 2 and 4, \
                              interchange.golden)";

const FOREIGN_USE: &str = "a published key for a use that no key of the vault has (X9.143 tables 2 and 4, \
                           interchange.golden): refused as the wrong key";
const COMPONENT: &str = "a key component in a block (X9.143 table 5): components come to a ceremony; refused";
const KEY_PAIR: &str = "a key pair in a block (X9.143 table 3, R): longer than the vault takes; refused";
/// Longest block that a vault reads: symmetric keys with a few optional blocks.
const SYMMETRIC_BLOCK_BYTES_MAX: usize = 2048;

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.kind() {
        "unwrap" => import(chest, case),
        "derive_kbek_kbak" => Err(inner_step("keys of a key block (X9.143 §6.2)")),
        "wrap_header" => Err(Problem::NotBuilt(OTHERS_HEADERS.to_owned())),
        "parse_header" => Err(inner_step("a header without a key (X9.143 §6.3)")),
        "unwrap_malformed" => hostile(chest, case),
        "parse_header_malformed" => hostile_text(chest, case, case.text("header_input")?.as_bytes()),
        "header_attributes_malformed" => hostile_text(chest, case, attributes(case)?.as_bytes()),
        _ => unknown(case),
    }
}

/// A malformed case passes if it was refused for what is wrong with it.
pub fn judge(case: Case<'_>, check: Check) -> Outcome {
    let reason = case.text("reason").unwrap_or_default();
    let right = REASONS.iter().find(|(words, _)| reason.contains(words));
    match (&check, right) {
        (Err(Problem::Refused(why)), Some((_, kinds)))
            if case.0["malformed"] == true && !kinds.iter().any(|kind| *why == refusal_of(*kind).to_string()) =>
        {
            Outcome::Failed(format!("refused for another reason: {why}; published: {reason}"))
        }
        _ => case::judge(case, check),
    }
}

/// How a vault says it: coarser than the library, since it must not be an oracle.
fn refusal_of(kind: Kind) -> Refusal {
    match kind {
        Kind::Malformed | Kind::Length | Kind::Other => Refusal::Parameter,
        Kind::Mac => Refusal::NotAuthentic,
        Kind::ProtectionKey => Refusal::WrongKey,
    }
}

/// The algorithm of a protection key: the block's version letter tells it.
fn protection_algorithm(version: u8, key: &[u8]) -> Check<Algorithm> {
    if matches!(version, b'D' | b'E') {
        return aes(key);
    }
    match key.len() {
        16 => Ok(Algorithm::TdesDouble),
        24 => Ok(Algorithm::TdesTriple),
        _ => Err(unsayable("a protection key of other than 16 or 24 bytes of DES")),
    }
}

fn version_letter(text: &[u8]) -> u8 {
    text.first().copied().unwrap_or_default()
}

fn protection(chest: &mut Chest<'_, '_>, case: Case<'_>, text: &[u8]) -> Check<KeyBlock<KeyBlockProtection>> {
    let key = case.bytes("kbpk")?;
    chest.protection_key(protection_algorithm(version_letter(text), &key)?, &key)
}

/// What the vault makes of an authentic block, told from the tables alone.
enum Expected {
    /// A key of ours.
    Key(Usage, Algorithm),
    /// A header that is none of ours, or a protection key too weak for the key.
    WrongKey,
    /// A component, which comes to a ceremony.
    Component,
    /// A key pair, and longer than any block of a symmetric key.
    KeyPair,
}

fn codes(header: &KeyBlockHeader) -> InterchangeHeader {
    InterchangeHeader {
        usage: header.usage.code(),
        algorithm: header.algorithm.code(),
        mode_of_use: header.mode_of_use.code(),
    }
}

fn protection_of(version: u8, key: &[u8]) -> Check<ProtectionKey> {
    let key = if matches!(version, b'D' | b'E') { ProtectionKey::aes(key) } else { ProtectionKey::tdes(key) };
    key.map_err(refused)
}

fn expected(case: Case<'_>, text: &[u8]) -> Check<Expected> {
    let kbpk = protection_of(version_letter(text), &case.bytes("kbpk")?)?;
    let opened = match unwrap(&kbpk, text, &ImportPolicy::default()) {
        Err(KeyBlockError::RefusedCombination { .. } | KeyBlockError::ProtectionKeyTooWeak { .. }) => {
            return Ok(Expected::WrongKey);
        }
        other => other.map_err(refused)?,
    };
    if matches!(opened.header.key_version, KeyVersion::Component(_)) {
        return Ok(Expected::Component);
    }
    if text.len() > SYMMETRIC_BLOCK_BYTES_MAX {
        return Ok(Expected::KeyPair);
    }
    let hash = opened.header.optional_block(BlockId::HMAC_HASH).and_then(|block| block.content().ok());
    let other_hash = codes(&opened.header).algorithm == b'H' && hash != Some(BlockContent::HmacHash(HmacHash::Sha256));
    match from_interchange(&codes(&opened.header), case.bytes("key")?.len()) {
        Some((usage, algorithm)) if !other_hash => Ok(Expected::Key(usage, algorithm)),
        _ => Ok(Expected::WrongKey),
    }
}

/// The usage that comes nearest to a header, to be refused for it.
fn nearest_usage(code: [u8; 2]) -> Usage {
    let same = |usage: &Usage| {
        Algorithm::ALL
            .into_iter()
            .filter_map(|algorithm| interchange_header(*usage, algorithm))
            .any(|of_ours| of_ours.usage == code)
    };
    Usage::ALL.into_iter().find(same).unwrap_or(Usage::PinEncryption)
}

fn must_refuse(imported: Check<keys::AnyKeyBlock>, wanted: Refusal, reason: &str) -> Problem {
    match imported {
        Err(Problem::Refused(why)) if why == wanted.to_string() => Problem::NotBuilt(reason.to_owned()),
        Err(Problem::Refused(why)) => Problem::Differs(format!("refused for another reason: {why}, not {wanted}")),
        Err(other) => other,
        Ok(_) => Problem::Differs(format!("taken, though to be refused: {reason}")),
    }
}

fn import(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let text = case.text("key_block")?.as_bytes();
    let header = KeyBlockHeader::parse(text).map_err(refused)?.header;
    let under = protection(chest, case, text)?;
    let (wanted, reason) = match expected(case, text)? {
        Expected::Key(usage, algorithm) => return import_ours(chest, case, &under, (usage, algorithm)),
        Expected::WrongKey => (Refusal::WrongKey, FOREIGN_USE),
        Expected::Component => (Refusal::Parameter, COMPONENT),
        Expected::KeyPair => (Refusal::Parameter, KEY_PAIR),
    };
    let imported = chest.import_block(&under, nearest_usage(header.usage.code()), text.to_vec());
    Err(must_refuse(imported, wanted, reason))
}

fn import_ours(
    chest: &mut Chest<'_, '_>,
    case: Case<'_>,
    under: &KeyBlock<KeyBlockProtection>,
    (usage, algorithm): (Usage, Algorithm),
) -> Check {
    let text = case.text("key_block")?.as_bytes();
    let key = chest.import_block(under, usage, text.to_vec())?;
    if (key.header.usage, key.header.algorithm) != (usage, algorithm) {
        return Err(Problem::Differs(format!("imported as {key:?}")));
    }
    compare(chest, case, &key)
}

/// Check values, and the whole key where its header lets it out again.
fn compare(chest: &mut Chest<'_, '_>, case: Case<'_>, key: &keys::AnyKeyBlock) -> Check {
    if case.has("kcv_legacy") && key.header.usage != Usage::MessageCmac {
        case.expect_leading_bytes("kcv_legacy", &chest.check_value(key, CheckMethod::Legacy)?)?;
    }
    if case.has("kcv_cmac") {
        case.expect_leading_bytes("kcv_cmac", &chest.check_value(key, CheckMethod::Cmac)?)?;
    }
    let may_leave = case.text("exportability")? == "E";
    if key.header.exportable != may_leave {
        return Err(Problem::Differs(format!("exportable: {}", key.header.exportable)));
    }
    match chest.exported(key) {
        Ok(bytes) if may_leave => case.expect_bytes("key", &bytes),
        Ok(_) => Err(Problem::Differs("a key that may not leave was let out".to_owned())),
        Err(Problem::Refused(why)) if !may_leave && why == Refusal::NotExportable.to_string() => Ok(()),
        Err(other) => Err(other),
    }
}

/// Whether the refusal comes before the protection key is used: then any of the cipher serves.
fn before_any_key(case: Case<'_>) -> bool {
    let reason = case.text("reason").unwrap_or_default();
    let row = REASONS.iter().find(|(words, _)| reason.contains(words));
    let text_alone =
        row.is_some_and(|(_, kinds)| kinds.iter().all(|kind| matches!(kind, Kind::Malformed | Kind::Length)));
    text_alone && !reason.contains("Decrypted")
}

fn taken(imported: Check<keys::AnyKeyBlock>) -> Check {
    imported.map(|_| ())
}

fn hostile(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let text = case.text("key_block")?.as_bytes();
    let key = case.bytes("kbpk")?;
    if case.text("reason").unwrap_or_default().contains("KBPK length") {
        return key_of_wrong_length(chest, &key, text);
    }
    let under = match protection(chest, case, text) {
        Err(Problem::NotBuilt(_)) if before_any_key(case) => stand_in(chest, text)?,
        other => other?,
    };
    taken(chest.import_block(&under, Usage::PinEncryption, text.to_vec()))
}

/// Such a key does not even come in; the vault says so in the word it has for its length.
fn key_of_wrong_length(chest: &mut Chest<'_, '_>, key: &[u8], text: &[u8]) -> Check {
    let is_aes = matches!(version_letter(text), b'D' | b'E');
    let algorithm = if is_aes { Algorithm::Aes128 } else { Algorithm::TdesDouble };
    match chest.import_protection_key(algorithm, key) {
        Err(Problem::Refused(why)) if why == Refusal::Parameter.to_string() => Err(refused(Refusal::WrongKey)),
        other => taken(other),
    }
}

fn stand_in(chest: &mut Chest<'_, '_>, text: &[u8]) -> Check<KeyBlock<KeyBlockProtection>> {
    const DES_STAND_IN: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;
    let is_aes = matches!(version_letter(text), b'D' | b'E');
    let algorithm = if is_aes { Algorithm::Aes128 } else { Algorithm::TdesDouble };
    chest.protection_key(algorithm, &DES_STAND_IN.to_be_bytes())
}

/// A text that is no key block under any key.
fn hostile_text(chest: &mut Chest<'_, '_>, _case: Case<'_>, text: &[u8]) -> Check {
    let under = stand_in(chest, text)?;
    taken(chest.import_block(&under, Usage::PinEncryption, text.to_vec()))
}

/// The attributes where they stand in a header, with a length that fits.
fn attributes(case: Case<'_>) -> Check<String> {
    let before = case.text("version")?;
    let rest = ["key_usage", "algorithm", "mode_of_use", "key_version"];
    let rest: Vec<&str> = rest.into_iter().map(|name| case.text(name)).collect::<Check<_>>()?;
    let rest = [&rest.concat(), case.text("exportability")?, "0000"].concat();
    // Enciphered key and MAC of nothing.
    let body = "0".repeat(64);
    let total = before.len() + 4 + rest.len() + body.len();
    Ok(format!("{before}{total:04}{rest}{body}"))
}
