//! `key-block-header`, `key-block-unwrap`, `key-block-wrap`: key blocks of X9.143 (TR-31).

use super::report::Report;
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use paycrypto::key_block::{
    CheckValue, CombinationPolicy, ImportPolicy, KeyBlockError, KeyBlockHeader, LengthHiding, ParsedHeader,
    ProtectionKey, StrengthPolicy, Verdict, Version, WrapOptions, derive_keys, padding_bytes_needed,
    permitted_by_table, unwrap, wrap,
};

/// Clauses.
const HEADER: &str = "ANSI X9.143 §6.2 table 1";
const TABLE: &str = "ANSI X9.143 §6.3.1 to §6.3.3";
const OPTIONAL: &str = "ANSI X9.143 §6.3.6";
const DERIVATION: &str = "TR-31:2018 §5.3.2";
const BINDING: &str = "ANSI X9.143 §6.1";

fn refused(name: &str) -> impl Fn(KeyBlockError) -> Misuse + '_ {
    move |error| input::misuse(name, error)
}

/// The header of a key block, in words.
#[derive(Args)]
pub struct HeaderArguments {
    /// Key block, or a header alone.
    #[arg(long)]
    key_block: String,
}

impl Calculate for HeaderArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let text = self.key_block.trim();
        let parsed = KeyBlockHeader::parse(text.as_bytes()).map_err(refused("key-block"))?;
        let mut report = Report::new("key-block-header").with("key-block", text);
        show_header(&mut report, &parsed);
        let fits = parsed.stated_bytes == text.len();
        report.step("stated length", if fits { "is the text's" } else { "is NOT the text's" }, HEADER);
        Ok(report.result(&text[..parsed.header_bytes]))
    }
}

fn show_header(report: &mut Report, parsed: &ParsedHeader) {
    let header = &parsed.header;
    let mut field =
        |name: &str, code: String, meaning: &str| report.step(name, format!("{code}  {meaning}").trim_end(), HEADER);
    field("version", header.version.to_string(), header.version.meaning());
    field("length", parsed.stated_bytes.to_string(), "characters");
    field("key usage", header.usage.to_string(), header.usage.meaning());
    field("algorithm", header.algorithm.to_string(), header.algorithm.meaning());
    field("mode of use", header.mode_of_use.to_string(), header.mode_of_use.meaning());
    field("key version", header.key_version.code().map(char::from).iter().collect(), version_text(header));
    field("exportability", header.exportability.to_string(), header.exportability.meaning());
    field("optional blocks", header.optional_blocks.len().to_string(), "");
    field("key context", header.context.to_string(), header.context.meaning());
    let verdict = match permitted_by_table(header.usage, header.algorithm, header.mode_of_use) {
        Verdict::Permitted => "permitted",
        Verdict::Proprietary => "proprietary: agreed between two parties",
        Verdict::Refused => "REFUSED: they do not go together",
    };
    report.step("usage, algorithm and mode together", verdict, TABLE);
    for block in &header.optional_blocks {
        let meaning = block.id().meaning();
        report.step(format!("optional block {} ({meaning})", block.id()), block.data(), OPTIONAL);
    }
}

fn version_text(header: &KeyBlockHeader) -> &'static str {
    match header.key_version {
        paycrypto::key_block::KeyVersion::Unused => "no version",
        paycrypto::key_block::KeyVersion::Component(_) => "a component, not a key",
        paycrypto::key_block::KeyVersion::Number(_) => "version",
    }
}

fn protection_key(version: Version, text: &str) -> Result<ProtectionKey, Misuse> {
    let bytes = input::key("kbpk", text, input::AES_KEYS)?;
    let key = match version {
        Version::A | Version::B | Version::C => ProtectionKey::tdes(&bytes),
        Version::D | Version::E => ProtectionKey::aes(&bytes),
    };
    key.map_err(refused("kbpk"))
}

fn show_derived_keys(report: &mut Report, version: Version, kbpk: &ProtectionKey) -> Result<(), Misuse> {
    let derived = derive_keys(version, kbpk).map_err(refused("kbpk"))?;
    report.step("check value of the protection key", &CheckValue::of_protection_key(kbpk).value, DERIVATION);
    report.step("key block encryption key (KBEK)", derived.encryption.expose(), DERIVATION);
    report.step("key block authentication key (KBAK)", derived.authentication.expose(), DERIVATION);
    Ok(())
}

/// Enciphered key and MAC, as they stand in the text.
fn show_body(report: &mut Report, text: &str, parsed: &ParsedHeader) {
    let mac_characters = 2 * parsed.header.version.mac_bytes();
    let mac_at = text.len().saturating_sub(mac_characters).max(parsed.header_bytes);
    report.step("enciphered key", text.get(parsed.header_bytes..mac_at).unwrap_or_default(), BINDING);
    report.step("MAC", text.get(mac_at..).unwrap_or_default(), BINDING);
}

/// The key in a key block, under a test protection key.
#[derive(Args)]
pub struct UnwrapArguments {
    /// Key block protection key.
    #[arg(long)]
    kbpk: String,
    /// Key block.
    #[arg(long)]
    key_block: String,
}

impl Calculate for UnwrapArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let text = self.key_block.trim();
        let parsed = KeyBlockHeader::parse(text.as_bytes()).map_err(refused("key-block"))?;
        let version = parsed.header.version;
        let kbpk = protection_key(version, &self.kbpk)?;
        let mut report = Report::new("key-block-unwrap").with("kbpk", &self.kbpk).with("key-block", text);
        show_header(&mut report, &parsed);
        show_derived_keys(&mut report, version, &kbpk)?;
        show_body(&mut report, text, &parsed);
        let lenient = ImportPolicy { combinations: CombinationPolicy::Any, strength: StrengthPolicy::Any };
        let opened = match unwrap(&kbpk, text.as_bytes(), &lenient) {
            Ok(opened) => opened,
            Err(error @ KeyBlockError::WrongMac) => {
                report.why = Some("another protection key, or header, key or MAC were altered".to_owned());
                return Ok(report.result(&error.to_string()).holding(false));
            }
            Err(error) => return Err(input::misuse("key-block", error)),
        };
        report.step("length of the key in bits", &(opened.key.expose().len() * 8).to_string(), BINDING);
        report.step("padding", opened.padding.expose(), BINDING);
        if let Some(value) = CheckValue::of_key(opened.header.algorithm, opened.key.expose()) {
            report.step("check value of the key", &value.value, "ANSI X9.24-1 annex A");
        }
        if let Some(agrees) = opened.check_value_agrees() {
            report.step("check value in the block", if agrees { "is the key's" } else { "is NOT the key's" }, OPTIONAL);
        }
        if let Err(error) = unwrap(&kbpk, text.as_bytes(), &ImportPolicy::default()) {
            report.step("an import by the rules", &format!("is refused: {error}"), TABLE);
        }
        Ok(report.result(opened.key.expose()))
    }
}

/// A key block of version B, D or E.
#[derive(Args)]
pub struct WrapArguments {
    /// Key block protection key.
    #[arg(long)]
    kbpk: String,
    /// Header of sixteen characters, with optional blocks behind it; its length does not matter: D0000P0AE00E0000.
    #[arg(long)]
    header: String,
    /// Key.
    #[arg(long)]
    key: String,
    /// Padding behind the key, in hex; drawn if not said.
    #[arg(long)]
    padding: Option<String>,
    /// Does not hide how long the key is.
    #[arg(long)]
    show_length: bool,
}

impl Calculate for WrapArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let header = KeyBlockHeader::parse(self.header.trim().as_bytes()).map_err(refused("header"))?.header;
        let kbpk = protection_key(header.version, &self.kbpk)?;
        let key = input::key_up_to("key", &self.key, input::WRAPPED_KEY_BYTES_MAX)?;
        let length_hiding = if self.show_length { LengthHiding::None } else { LengthHiding::LongestOfAlgorithm };
        let needed = padding_bytes_needed(header.version, header.algorithm, key.len(), length_hiding);
        let padding = match &self.padding {
            Some(text) => input::hex("padding", text)?,
            None => super::drawn(needed)?,
        };
        let options = WrapOptions { length_hiding, strength: StrengthPolicy::Any };
        let text = wrap(&kbpk, &header, &key, &padding, &options).map_err(refused("header"))?;
        let parsed = KeyBlockHeader::parse(text.as_bytes()).map_err(refused("header"))?;
        let mut report = Report::new("key-block-wrap")
            .with("kbpk", &self.kbpk)
            .with("header", self.header.trim())
            .with("key", &key)
            .with("padding", &padding);
        show_header(&mut report, &parsed);
        show_derived_keys(&mut report, header.version, &kbpk)?;
        report.step("length of the key in bits", &(key.len() * 8).to_string(), BINDING);
        report.step("padding used", &padding[..needed.min(padding.len())], BINDING);
        show_body(&mut report, &text, &parsed);
        Ok(report.result(&text))
    }
}
