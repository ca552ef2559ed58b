//! TR-31 key blocks.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, judge, refused, unknown};
use paycrypto::check_value::{cmac_check_value, zero_block_check_value};
use paycrypto::key_block::{
    Algorithm, BlockContent, BlockId, CheckValue, CombinationPolicy, Field, HeaderCodes, ImportPolicy, KeyBlockError,
    KeyBlockHeader, LengthHiding, OptionalBlock, ParsedHeader, ProtectionKey, StrengthPolicy, UnwrappedKey, Verdict,
    Version, WrapOptions, derive_keys, padding_bytes_needed, permitted_by_table, unwrap, wrap,
};
use paycrypto::{AesKey, TdesKey};
use serde_json::Value;

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let view = Case(case);
    match view.kind() {
        "unwrap_malformed" => judge_refusal(view, import_hostile(view)),
        "parse_header_malformed" => judge_refusal(view, parse_hostile(view)),
        "header_attributes_malformed" => judge_refusal(view, attributes(view)),
        _ => judge(view, check(view)),
    }
}

fn check(case: Case<'_>) -> Check {
    match case.kind() {
        "unwrap" => import(case),
        "derive_kbek_kbak" => {
            let version = case.text("version")?.bytes().next().unwrap_or_default();
            derivation(case, version_of(version)?)
        }
        "wrap_header" => export(case),
        "parse_header" => parse(case),
        _ => unknown(case),
    }
}

fn version_of(code: u8) -> Check<Version> {
    Version::from_code(code).ok_or_else(|| Problem::Refused(format!("no version {}", char::from(code))))
}

/// The version tells which cipher the protection key works with.
fn protection_key(version: Version, key: &[u8]) -> Result<ProtectionKey, KeyBlockError> {
    match version {
        Version::A | Version::B | Version::C => ProtectionKey::tdes(key),
        Version::D | Version::E => ProtectionKey::aes(key),
    }
}

fn derivation(case: Case<'_>, version: Version) -> Check {
    let kbpk = protection_key(version, &case.bytes("kbpk")?).map_err(refused)?;
    let keys = derive_keys(version, &kbpk).map_err(refused)?;
    case.expect_bytes("kbek", keys.encryption.expose())?;
    case.expect_bytes("kbak", keys.authentication.expose())
}

/// Imports under the strictest policy. What that refuses although its MAC is right is a published example of a
/// combination off the table or of a weak protection key: it must open when, and only when, the policy allows it.
fn import(case: Case<'_>) -> Check {
    let text = case.text("key_block")?;
    let version = version_of(text.bytes().next().unwrap_or_default())?;
    if case.has("kbek") {
        derivation(case, version)?;
    }
    let kbpk = protection_key(version, &case.bytes("kbpk")?).map_err(refused)?;
    let lenient = ImportPolicy { combinations: CombinationPolicy::Any, strength: StrengthPolicy::Any };
    let strict = unwrap(&kbpk, text.as_bytes(), &ImportPolicy::default());
    let opened = match strict {
        Err(KeyBlockError::RefusedCombination { .. } | KeyBlockError::ProtectionKeyTooWeak { .. }) => {
            unwrap(&kbpk, text.as_bytes(), &lenient)
        }
        other => other,
    };
    let opened = opened.map_err(refused)?;
    compare_header(case, text)?;
    compare_key(case, &opened)?;
    make_again(case, &kbpk, &opened)
}

fn parsed(text: &str) -> Check<ParsedHeader> {
    KeyBlockHeader::parse(text.as_bytes()).map_err(refused)
}

fn compare_header(case: Case<'_>, text: &str) -> Check {
    let ParsedHeader { header, header_bytes, .. } = parsed(text)?;
    let one = |code: u8| char::from(code).to_string();
    let two = |code: [u8; 2]| code.map(char::from).iter().collect::<String>();
    case.expect_text("header", &text[..header_bytes])?;
    case.expect_text("version", &header.version.to_string())?;
    case.expect_text("key_usage", &two(header.usage.code()))?;
    case.expect_text("algorithm", &one(header.algorithm.code()))?;
    case.expect_text("mode_of_use", &one(header.mode_of_use.code()))?;
    case.expect_text("key_version", &two(header.key_version.code()))?;
    case.expect_text("exportability", &one(header.exportability.code()))?;
    if case.has("reserved") {
        case.expect_text("reserved", &two([header.context.code(), header.reserved]))?;
    }
    compare_blocks(case, "optional_blocks", &header)
}

/// Some lists leave the padding block out, since it says nothing.
fn compare_blocks(case: Case<'_>, name: &str, header: &KeyBlockHeader) -> Check {
    let list = case.0[name].as_array().ok_or_else(|| Problem::Unrunnable(format!("no list {name}")))?;
    let padding_listed = list.iter().any(|block| block[0] == "PB");
    let shown = |block: &&OptionalBlock| padding_listed || block.id() != BlockId::PADDING;
    let blocks: Vec<Value> = header
        .optional_blocks
        .iter()
        .filter(shown)
        .map(|block| serde_json::json!([block.id().to_string(), block.data()]))
        .collect();
    if *list == blocks { Ok(()) } else { Err(Problem::Differs(format!("{name}: read {blocks:?}"))) }
}

fn compare_key(case: Case<'_>, opened: &UnwrappedKey) -> Check {
    let text = case.text("key_block")?;
    let mac_digits = 2 * opened.header.version.mac_bytes();
    case.expect_bytes("key", opened.key.expose())?;
    case.expect_bytes("clear_padding", opened.padding.expose())?;
    case.expect_text("mac", &text[text.len() - mac_digits..])?;
    if case.has("kcv_legacy") {
        let key = TdesKey::new(opened.key.expose()).map_err(refused)?;
        case.expect_leading_bytes("kcv_legacy", &zero_block_check_value(&key))?;
    }
    if case.has("kcv_legacy_zero_block") || case.has("kcv_cmac") {
        let key = AesKey::new(opened.key.expose()).map_err(refused)?;
        case.expect_leading_bytes("kcv_legacy_zero_block", &zero_block_check_value(&key))?;
        case.expect_leading_bytes("kcv_cmac", &cmac_check_value(&key))?;
    }
    Ok(())
}

/// With the same padding the product makes the same block, if it makes such blocks at all and pads the header alike.
fn make_again(case: Case<'_>, kbpk: &ProtectionKey, opened: &UnwrappedKey) -> Check {
    let (text, header) = (case.text("key_block")?, &opened.header);
    let written = header.to_text(text.len()).map_err(refused)?;
    let verdict = permitted_by_table(header.usage, header.algorithm, header.mode_of_use);
    let made = matches!(header.version, Version::B | Version::D | Version::E);
    if !made || verdict != Verdict::Permitted || !text.starts_with(&written) {
        return Ok(());
    }
    let shown_bytes = opened.key.expose().len() + opened.padding.expose().len();
    let options = WrapOptions { length_hiding: LengthHiding::AtLeast(shown_bytes), strength: StrengthPolicy::Any };
    let again = wrap(kbpk, header, opened.key.expose(), opened.padding.expose(), &options).map_err(refused)?;
    case.expect_text("key_block", &again)
}

/// Names that the published exporter uses, with their codes.
const USAGES: &[(&str, &str)] = &[
    ("BDK", "B0"),
    ("DUKPT_IK", "B1"),
    ("BKV", "B2"),
    ("KDK", "B3"),
    ("CVK", "C0"),
    ("DATA", "D0"),
    ("ASYMMETRIC_DATA", "D1"),
    ("DATA_DEC_TABLE", "D2"),
    ("DATA_SENSITIVE", "D3"),
    ("EMV_MKAC", "E0"),
    ("EMV_MKSMC", "E1"),
    ("EMV_MKSMI", "E2"),
    ("EMV_MKDAC", "E3"),
    ("EMV_MKDN", "E4"),
    ("EMV_CP", "E5"),
    ("EMV_OTHER", "E6"),
    ("EMV_AKP_PIN", "E7"),
    ("IV", "I0"),
    ("KEK", "K0"),
    ("TR31_KBPK", "K1"),
    ("TR34_APK_KRD", "K2"),
    ("APK", "K3"),
    ("ISO20038_KBPK", "K4"),
    ("ISO16609_MAC_1", "M0"),
    ("ISO9797_1_MAC_1", "M1"),
    ("ISO9797_1_MAC_2", "M2"),
    ("ISO9797_1_MAC_3", "M3"),
    ("ISO9797_1_MAC_4", "M4"),
    ("ISO9797_1_MAC_5", "M5"),
    ("ISO9797_1_CMAC", "M6"),
    ("HMAC", "M7"),
    ("ISO9797_1_MAC_6", "M8"),
    ("PEK", "P0"),
    ("PGK", "P1"),
    ("AKP_SIG", "S0"),
    ("AKP_CA", "S1"),
    ("AKP_OTHER", "S2"),
    ("PVK", "V0"),
    ("PVK_IBM3624", "V1"),
    ("PVK_VISA_PVV", "V2"),
    ("PVK_X9_132_ALG_1", "V3"),
    ("PVK_X9_132_ALG_2", "V4"),
    ("PVK_X9_132_ALG_3", "V5"),
];
const ALGORITHMS: &[(&str, &str)] =
    &[("AES", "A"), ("DES", "D"), ("EC", "E"), ("HMAC", "H"), ("RSA", "R"), ("DSA", "S"), ("TDES", "T")];
const MODES_OF_USE: &[(&str, &str)] = &[
    ("ENC_DEC", "B"),
    ("MAC", "C"),
    ("DEC", "D"),
    ("ENC", "E"),
    ("MAC_GEN", "G"),
    ("ANY", "N"),
    ("SIG", "S"),
    ("SIG_DEC", "T"),
    ("MAC_VERIFY", "V"),
    ("DERIVE", "X"),
    ("VARIANT", "Y"),
];
const EXPORTABILITIES: &[(&str, &str)] = &[("TRUSTED", "E"), ("NONE", "N"), ("SENSITIVE", "S")];
const CONTEXTS: &[(&str, u8)] = &[("NONE", b'0'), ("STORAGE", b'1'), ("EXCHANGE", b'2'), ("TRANSPORT", b'2')];

fn attribute<T: Copy>(case: Case<'_>, name: &str, prefix: &str, codes: &[(&str, T)]) -> Check<T> {
    let said = case.inside("key_attributes").text(name)?;
    let code = codes.iter().find(|(known, _)| said.strip_prefix(prefix) == Some(known));
    code.map(|(_, code)| *code).ok_or_else(|| Problem::Unrunnable(format!("{name} {said} is unknown")))
}

fn key_version(case: Case<'_>) -> Check<String> {
    let attributes = case.inside("key_attributes");
    match attributes.text("key_version")? {
        "VERSION_IS_UNUSED" => Ok("00".to_owned()),
        "VERSION_IS_COMPONENT" => Ok(format!("c{}", attributes.text("key_version_str")?.trim_matches('"'))),
        _ => Ok(attributes.text("key_version_str")?.trim_matches('"').to_owned()),
    }
}

fn attributes_header(case: Case<'_>) -> Check<KeyBlockHeader> {
    let prefix = case.text("expected_header_prefix")?;
    let codes = HeaderCodes {
        version: prefix.get(..1).unwrap_or_default(),
        usage: attribute(case, "usage", "USAGE_", USAGES)?,
        algorithm: attribute(case, "algorithm", "ALGORITHM_", ALGORITHMS)?,
        mode_of_use: attribute(case, "mode_of_use", "MODE_OF_USE_", MODES_OF_USE)?,
        key_version: &key_version(case)?,
        exportability: attribute(case, "exportability", "EXPORT_", EXPORTABILITIES)?,
    };
    let mut header = KeyBlockHeader::from_codes(&codes).map_err(refused)?;
    if case.inside("key_attributes").has("key_context") {
        let context = attribute(case, "key_context", "CONTEXT_", CONTEXTS)?;
        header.context = paycrypto::key_block::KeyContext::from_code(context).unwrap_or(header.context);
    }
    Ok(header)
}

/// The optional blocks that the case's options ask for, in the exporter's order.
fn asked_blocks(case: Case<'_>, kbpk: &ProtectionKey, key: &[u8], algorithm: Algorithm) -> Check<Vec<BlockContent>> {
    let options = case.inside("options");
    let mut contents = Vec::new();
    if options.has("cert_base64_count") {
        contents.push(certificates_of_prefix(case)?);
    }
    if options.has("opt_blk_HM") {
        let code = options.text("opt_blk_HM")?.trim_start_matches("0x");
        let block = OptionalBlock::new(BlockId::HMAC_HASH, code).map_err(refused)?;
        contents.push(block.content().map_err(refused)?);
    }
    if options.has("opt_blk_KC") {
        let value = CheckValue::of_key(algorithm, key);
        let value = value.ok_or_else(|| Problem::Refused("the key has no check value".to_owned()))?;
        contents.push(BlockContent::KeyCheckValue(value));
    }
    if options.has("opt_blk_KP") {
        contents.push(BlockContent::ProtectionKeyCheckValue(CheckValue::of_protection_key(kbpk)));
    }
    if case.has("ksn") {
        contents.push(BlockContent::KeySerialNumber(case.bytes("ksn")?));
    }
    if options.has("timestamp") {
        contents.push(BlockContent::TimeStamp(options.text("timestamp")?.to_owned()));
    }
    Ok(contents)
}

/// The object does not carry the certificates themselves; they stand in the header that is expected.
fn certificates_of_prefix(case: Case<'_>) -> Check<BlockContent> {
    let prefix = case.text("expected_header_prefix")?.as_bytes();
    let mut offset = paycrypto::key_block::HEADER_BYTES;
    loop {
        let (block, next) = OptionalBlock::read(prefix, offset).map_err(refused)?;
        if block.id() == BlockId::CERTIFICATE {
            return block.content().map_err(refused);
        }
        offset = next;
    }
}

const NO_OBFUSCATION: &str = "NO_KEY_LENGTH_OBFUSCATION";
const VARIANTS_ARE_READ_ONLY: &str =
    "key variant binding (TR-31:2018 §5.3.2.2, versions A and C) is import only: no such block is made";

fn export(case: Case<'_>) -> Check {
    let key = case.bytes("key")?;
    let mut header = attributes_header(case)?;
    let kbpk = protection_key(header.version, &case.bytes("kbpk")?).map_err(refused)?;
    for content in asked_blocks(case, &kbpk, &key, header.algorithm)? {
        header.optional_blocks.push(OptionalBlock::with_content(&content).map_err(refused)?);
    }
    let flags = case.inside("options").text("export_flags").unwrap_or_default();
    let length_hiding = if flags.contains(NO_OBFUSCATION) { LengthHiding::None } else { LengthHiding::default() };
    let padding = padding_bytes_needed(header.version, header.algorithm, key.len(), length_hiding);
    let data_bytes = 2 + key.len() + padding + header.version.mac_bytes();
    let total = header.text_bytes().map_err(refused)? + 2 * data_bytes;
    expect_prefix(case, &header.to_text(total).map_err(refused)?, total)?;
    let random: Vec<u8> = (0..padding).map(|index| (index * 89 + 41) as u8).collect();
    let options = WrapOptions { length_hiding, ..WrapOptions::default() };
    let made = match wrap(&kbpk, &header, &key, &random, &options) {
        Err(KeyBlockError::ImportOnly(_)) => return Err(Problem::NotBuilt(VARIANTS_ARE_READ_ONLY.to_owned())),
        other => other.map_err(refused)?,
    };
    expect_prefix(case, &made, made.len())?;
    let opened = unwrap(&kbpk, made.as_bytes(), &ImportPolicy::default()).map_err(refused)?;
    case.expect_bytes("key", opened.key.expose())
}

fn expect_prefix(case: Case<'_>, text: &str, total: usize) -> Check {
    let expected = case.text("expected_header_prefix")?;
    if !text.starts_with(expected) {
        let shown = text.get(..expected.len()).unwrap_or(text);
        return Err(Problem::Differs(format!("header: made {shown}, published {expected}")));
    }
    let published = case.number("expected_total_length")?;
    if published == total as u64 { Ok(()) } else { Err(Problem::Differs(format!("length: made {total}"))) }
}

/// Header only: the protection key of these blocks is not known, or there is no key behind the header.
fn parse(case: Case<'_>) -> Check {
    let name = if case.has("key_block") { "key_block" } else { "header_input" };
    let text = case.text(name)?;
    let ParsedHeader { header, stated_bytes, header_bytes } = parsed(text)?;
    if name == "key_block" && stated_bytes != text.len() {
        return Err(Problem::Differs(format!("stated length {stated_bytes}")));
    }
    for name in ["header_length", "consumed"] {
        if case.has(name) && case.number(name)? != header_bytes as u64 {
            return Err(Problem::Differs(format!("{name}: {header_bytes}")));
        }
    }
    for name in ["optional_blocks", "blocks"] {
        if case.has(name) {
            compare_blocks(case, name, &header)?;
        }
    }
    if case.has("ksn") {
        let block = header.optional_block(BlockId::KEY_SERIAL_NUMBER);
        let content = block.and_then(|block| block.content().ok());
        let Some(BlockContent::KeySerialNumber(number)) = content else {
            return Err(Problem::Refused("no readable key serial number".to_owned()));
        };
        case.expect_bytes("ksn", &number)?;
    }
    if case.has("reserialized") {
        let bytes = header.text_bytes().map_err(refused)?;
        case.expect_text("reserialized", &header.to_text(bytes).map_err(refused)?)?;
    }
    Ok(())
}

fn import_hostile(case: Case<'_>) -> Check<Result<(), KeyBlockError>> {
    let text = case.text("key_block")?.as_bytes();
    let lenient = ImportPolicy { combinations: CombinationPolicy::Any, strength: StrengthPolicy::Any };
    let import = |version| {
        let kbpk = protection_key(version, &case.bytes("kbpk").map_err(|_| KeyBlockError::ProtectionKeyLength(0))?)?;
        unwrap(&kbpk, text, &lenient).map(|_| ())
    };
    Ok(KeyBlockHeader::parse(text).and_then(|parsed| import(parsed.header.version)))
}

fn parse_hostile(case: Case<'_>) -> Check<Result<(), KeyBlockError>> {
    Ok(KeyBlockHeader::parse(case.text("header_input")?.as_bytes()).map(|_| ()))
}

fn attributes(case: Case<'_>) -> Check<Result<(), KeyBlockError>> {
    let codes = HeaderCodes {
        version: case.text("version")?,
        usage: case.text("key_usage")?,
        algorithm: case.text("algorithm")?,
        mode_of_use: case.text("mode_of_use")?,
        key_version: case.text("key_version")?,
        exportability: case.text("exportability")?,
    };
    Ok(KeyBlockHeader::from_codes(&codes).map(|_| ()))
}

/// A kind of refusal, coarser than the error: what a caller decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Length,
    Mac,
    ProtectionKey,
    Other,
}

fn kind_of(error: KeyBlockError) -> Kind {
    match error {
        KeyBlockError::Malformed { .. } => Kind::Malformed,
        KeyBlockError::WrongLength(_) => Kind::Length,
        KeyBlockError::WrongMac => Kind::Mac,
        KeyBlockError::ProtectionKeyLength(_) | KeyBlockError::ProtectionKeyAlgorithm(_) => Kind::ProtectionKey,
        _ => Kind::Other,
    }
}

/// Words of the published reason, in order of precedence, with the kinds of refusal that agree with it.
pub(crate) const REASONS: &[(&str, &[Kind])] = &[
    ("version letter swapped", &[Kind::Mac, Kind::ProtectionKey, Kind::Length]),
    ("length field", &[Kind::Length, Kind::Malformed]),
    ("changed", &[Kind::Mac]),
    ("flipped", &[Kind::Mac]),
    ("wrong KBPK", &[Kind::Mac]),
    ("doesn't match generated MAC", &[Kind::Mac]),
    ("one block removed", &[Kind::Mac, Kind::Length]),
    ("KBPK length", &[Kind::ProtectionKey]),
    ("must be valid hexchars", &[Kind::Malformed]),
    ("trailing byte", &[Kind::Length]),
    ("truncated", &[Kind::Length]),
    ("doesn't match input data length", &[Kind::Length]),
    ("must be multiple", &[Kind::Length]),
    ("MAC is malformed", &[Kind::Length]),
    ("Encrypted key is malformed", &[Kind::Length]),
    ("Decrypted key", &[Kind::Length]),
    ("is malformed", &[Kind::Malformed]),
    ("is invalid", &[Kind::Malformed]),
    ("is not supported", &[Kind::Malformed]),
    ("Block ", &[Kind::Malformed]),
    ("Header ", &[Kind::Malformed]),
    ("Number of blocks", &[Kind::Malformed]),
];

/// First words of the reasons that name a field of the fixed header.
const FIELDS: &[(&str, Field)] = &[
    ("Version ID", Field::Version),
    ("Key block header length", Field::Length),
    ("Key usage", Field::KeyUsage),
    ("Algorithm", Field::Algorithm),
    ("Mode of use", Field::ModeOfUse),
    ("Version number", Field::KeyVersion),
    ("Exportability", Field::Exportability),
    ("Number of blocks", Field::OptionalBlockCount),
];

/// A malformed case passes if it was refused for what is wrong with it.
fn judge_refusal(case: Case<'_>, result: Check<Result<(), KeyBlockError>>) -> Outcome {
    let error = match result {
        Ok(Err(error)) => error,
        Ok(Ok(())) => return Outcome::Failed("accepted, though malformed".to_owned()),
        Err(_) => return Outcome::Failed("cannot be run: a field is missing".to_owned()),
    };
    let reason = case.text("reason").unwrap_or_default();
    let right = REASONS.iter().find(|(words, _)| reason.contains(words));
    let right_kind = right.is_none_or(|(_, kinds)| kinds.contains(&kind_of(error)));
    let named = FIELDS.iter().find(|(words, _)| reason.starts_with(words)).map(|(_, field)| *field);
    let right_field = match (named, error) {
        (Some(named), KeyBlockError::Malformed { field, .. }) => named == field,
        _ => true,
    };
    if right_kind && right_field {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("refused for another reason: {error}; published: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn published() -> Vec<Value> {
        let path = format!("{}/data/tr31.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).expect("the vector file is there")).expect("a JSON array")
    }

    /// The case with the last character of a text field, or a number, changed.
    fn spoilt(case: &Value, name: &str) -> Value {
        let mut spoilt = case.clone();
        spoilt[name] = match &case[name] {
            Value::String(text) => {
                let mut text = text.clone();
                let last = text.pop().unwrap_or('1');
                text.push(if last == '0' { '1' } else { '0' });
                Value::String(text)
            }
            number => json!(number.as_u64().unwrap_or_default() + 1),
        };
        spoilt
    }

    #[rustfmt::skip]
    const PUBLISHED: &[(&str, &[&str])] = &[
        ("unwrap", &[
            "header", "key_usage", "key_version", "reserved", "key", "clear_padding", "kbek", "kbak", "mac",
            "key_block", "kcv_legacy", "kcv_legacy_zero_block", "kcv_cmac",
        ]),
        ("derive_kbek_kbak", &["kbek", "kbak"]),
        ("wrap_header", &["expected_header_prefix", "expected_total_length"]),
        ("parse_header", &["consumed", "header_length", "reserialized", "ksn"]),
    ];

    #[test]
    fn every_published_value_is_compared() {
        for case in published() {
            let fields = PUBLISHED.iter().find(|(kind, _)| case["type"] == *kind).map_or(&[][..], |(_, names)| names);
            for name in fields.iter().filter(|name| !case[**name].is_null()) {
                let outcome = run(&spoilt(&case, name));
                assert!(matches!(outcome, Outcome::Failed(_)), "{} {name}: {outcome:?}", case["id"]);
            }
        }
    }

    #[test]
    fn a_refusal_for_the_wrong_reason_fails() {
        let several_kinds = |reason: &str| reason.contains("version letter");
        for case in published() {
            let Some(reason) = case["reason"].as_str().filter(|reason| !several_kinds(reason)) else { continue };
            let other = if reason.starts_with("KBPK length") { "exportability changed" } else { "KBPK length" };
            let mut swapped = case.clone();
            swapped["reason"] = json!(other);
            assert!(matches!(run(&swapped), Outcome::Failed(_)), "{}", case["id"]);
        }
    }

    #[test]
    fn skips_name_a_clause_and_are_few() {
        let cases = published();
        let reason = |case: &Value| match run(case) {
            Outcome::Skipped(reason) => Some(reason),
            _ => None,
        };
        let skips: Vec<String> = cases.iter().filter_map(reason).collect();
        assert!(skips.iter().all(|reason| reason.contains('§')), "{skips:?}");
        assert!(skips.len() * 20 <= cases.len(), "{} of {}", skips.len(), cases.len());
    }

    /// Shapes that the file's types have and its own cases do not show: extended lengths as ANSI X9.143 means them,
    /// check values as optional blocks, several blocks, a key of no bits.
    #[test]
    fn cases_from_elsewhere_run_the_same_way() {
        let long = "P".repeat(256);
        let key_check = json!({
            "type": "wrap_header", "kbpk": "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6",
            "key": "3F419E1CB7079442AA37474C2EFBF8B8", "ksn": null, "expected_total_length": 144,
            "key_attributes": {"usage": "USAGE_PEK", "algorithm": "ALGORITHM_TDES", "mode_of_use": "MODE_OF_USE_ENC",
                "key_version": "VERSION_IS_UNUSED", "exportability": "EXPORT_TRUSTED"},
            "options": {"export_flags": "TR31_EXPORT_NO_KEY_LENGTH_OBFUSCATION", "opt_blk_KC": "true",
                "opt_blk_KP": "true"},
            "expected_header_prefix": "D0144P0TE00E0300KC0C0057C409KP10012331550BC9PB04",
        });
        let extended = json!({
            "type": "parse_header", "header_input": format!("B0000P0TE00N0200KS0004010A{long}PB0600"),
            "consumed": 288, "blocks": [["KS", long]],
            "reserialized": format!("B0288P0TE00N0200KS0004010A{long}PB0600"),
        });
        let shortened = json!({
            "type": "parse_header", "header_input": "B0000P0TE00N0200KS00021600604B120F9292PB0A000000",
            "consumed": 48, "blocks": [["KS", "00604B120F9292"]],
            "reserialized": "B0040P0TE00N0200KS1200604B120F9292PB0600",
        });
        let several = json!({
            "type": "parse_header", "header_input": "B0000P0TE00N0400KS1800604B120F9292800000T104T20600PB0600",
            "consumed": 56, "blocks": [["KS", "00604B120F9292800000"], ["T1", ""], ["T2", "00"]],
            "reserialized": "B0056P0TE00N0400KS1800604B120F9292800000T104T20600PB0600",
        });
        let no_bits = json!({
            "type": "unwrap_malformed", "kbpk": "45454545454545454545454545454545", "malformed": true,
            "key_block": "A0056M3TC00E0000ABE3EB7813FD4031BCBAEC1FCAB750BB920E4863",
            "reason": "Decrypted key is invalid.",
        });
        for case in [key_check, extended, shortened, several, no_bits] {
            assert_eq!(run(&case), Outcome::Passed, "{case}");
        }
    }
}
