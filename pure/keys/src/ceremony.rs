//! Key ceremonies: their state as the vault tells it, and the record that one leaves.
//!
//! The record is a text that a person reads. Everything above its last line is signed with the vault's record key
//! (Ed25519, RFC 8032), so it can be checked without the vault.

use crate::audit::{KeyId, PUBLIC_KEY_BYTES, SIGNATURE_BYTES};
use crate::block::{KeyCheckValue, KeyHeader};
use crate::custodian::{CustodianName, parts};
use crate::usage::Algorithm;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::CivilTime;

/// Fewest components: one would be no split knowledge (ISO 11568 §5.3).
pub const CEREMONY_COMPONENTS_MIN: u8 = 2;
/// Most components.
pub const CEREMONY_COMPONENTS_MAX: u8 = 9;
/// Fewest bytes of an expected check value: the field's six hex digits.
pub const EXPECTED_CHECK_BYTES_MIN: usize = 3;
/// Most bytes of an expected check value.
pub const EXPECTED_CHECK_BYTES_MAX: usize = 4;

const TITLE: &str = "IRONTILL CEREMONY RECORD 1";
const SIGNATURE_LABEL: &str = "Signature: ";
const VAULT_LABEL: &str = "Vault record key: ";

/// The leading bytes of a check value that somebody expects: three or four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectedCheck {
    bytes: [u8; EXPECTED_CHECK_BYTES_MAX],
    length: u8,
}

impl ExpectedCheck {
    /// Takes three or four bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if !(EXPECTED_CHECK_BYTES_MIN..=EXPECTED_CHECK_BYTES_MAX).contains(&bytes.len()) {
            return None;
        }
        let mut kept = [0; EXPECTED_CHECK_BYTES_MAX];
        kept[..bytes.len()].copy_from_slice(bytes);
        Some(Self { bytes: kept, length: u8::try_from(bytes.len()).ok()? })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Encode for ExpectedCheck {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.bytes());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = reader.bytes()?;
        Self::new(bytes).ok_or_else(|| reader.malformed("three or four bytes of a check value"))
    }
}

/// A component as everybody may know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ComponentLine {
    /// Whose.
    pub custodian: CustodianName,
    /// Its check value.
    pub check: KeyCheckValue,
    /// Unix time in milliseconds when it was entered.
    pub at_ms: u64,
    /// Whether the vault drew it.
    pub drawn: bool,
}

impl Encode for ComponentLine {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.custodian).raw(&self.check.0).u64(self.at_ms).bool(self.drawn);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let custodian = reader.value()?;
        let check = KeyCheckValue(reader.array("a key check value")?);
        Ok(Self { custodian, check, at_ms: reader.u64()?, drawn: reader.bool()? })
    }
}

/// How far a ceremony is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CeremonyState {
    /// Its number: the number of the audit record that opened it.
    pub ceremony: u64,
    /// What its key will be.
    pub header: KeyHeader,
    /// How many components it takes.
    pub components: u8,
    /// Those entered so far.
    pub entered: Vec<ComponentLine>,
    /// Unix time in milliseconds when it was opened.
    pub opened_ms: u64,
    /// Milliseconds until it ends by itself.
    pub left_ms: u64,
}

impl Encode for CeremonyState {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.ceremony).value(&self.header).u8(self.components);
        writer.list(&self.entered, |writer, line| {
            writer.value(line);
        });
        writer.u64(self.opened_ms).u64(self.left_ms);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            ceremony: reader.u64()?,
            header: reader.value()?,
            components: reader.u8()?,
            entered: reader.list(Reader::value)?,
            opened_ms: reader.u64()?,
            left_ms: reader.u64()?,
        })
    }
}
parts!(ExpectedCheck, CeremonyState);

/// What the record of a completed ceremony says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CeremonyRecord {
    /// The vault, by the public key that signs the record.
    pub vault: [u8; PUBLIC_KEY_BYTES],
    /// Number of the ceremony.
    pub ceremony: u64,
    /// The key.
    pub header: KeyHeader,
    /// Its block.
    pub id: KeyId,
    /// Check value of the combined key.
    pub check: KeyCheckValue,
    /// Unix time in milliseconds.
    pub opened_ms: u64,
    /// Unix time in milliseconds.
    pub completed_ms: u64,
    /// Who brought what.
    pub components: Vec<ComponentLine>,
    /// Number of the audit record of the completion.
    pub audit_record: u64,
    /// Hash of the audit chain before that record.
    pub audit_head_before: [u8; 32],
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of an even number of hex digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Unix time in milliseconds as people read it, in UTC.
pub fn utc_text(unix_ms: u64) -> String {
    format!("{} UTC", CivilTime::from_unix_ms(unix_ms, 0))
}

/// The field's name of an algorithm.
pub fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Des => "DES",
        Algorithm::TdesDouble => "TDES-2",
        Algorithm::TdesTriple => "TDES-3",
        Algorithm::Aes128 => "AES-128",
        Algorithm::Aes192 => "AES-192",
        Algorithm::Aes256 => "AES-256",
        Algorithm::Sm4 => "SM4",
        Algorithm::HmacSha256 => "HMAC-SHA-256",
    }
}

impl CeremonyRecord {
    /// The text that is signed: every line of the record but the last.
    pub fn text(&self) -> String {
        let header = &self.header;
        let mut lines = vec![
            TITLE.to_owned(),
            format!("{VAULT_LABEL}{}", hex(&self.vault)),
            format!("Ceremony: {}", self.ceremony),
            format!("Key: {}", header.usage.name()),
            format!("Owner: {}", header.owner.text()),
            format!("Version: {}", header.version),
            format!("Algorithm: {}", algorithm_name(header.algorithm)),
            format!("Exportable: {}", if header.exportable { "yes" } else { "no" }),
            format!("Key id: {}", self.id),
            format!("Check value: {}", self.check),
            format!("Opened: {}", utc_text(self.opened_ms)),
        ];
        for (index, line) in self.components.iter().enumerate() {
            let origin = if line.drawn { "drawn by the vault for" } else { "entered by" };
            let (number, at) = (index + 1, utc_text(line.at_ms));
            lines.push(format!("Component {number}: {origin} {}, check value {}, {at}", line.custodian, line.check));
        }
        lines.push(format!("Completed: {}", utc_text(self.completed_ms)));
        lines.push(format!("Audit record: {}", self.audit_record));
        lines.push(format!("Audit chain before it: {}", hex(&self.audit_head_before)));
        lines.join("\n") + "\n"
    }
}

/// The whole record: text and signature.
pub fn signed_record(text: &str, signature: &[u8; SIGNATURE_BYTES]) -> String {
    format!("{text}{SIGNATURE_LABEL}{}\n", hex(signature))
}

/// A record taken apart; its signature has not been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnverifiedRecord<'a> {
    /// The signed text.
    pub text: &'a str,
    /// The key that it names as the vault's.
    pub vault: [u8; PUBLIC_KEY_BYTES],
    /// Its signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Takes a record apart; `None` if it is none.
pub fn split_record(record: &str) -> Option<UnverifiedRecord<'_>> {
    let body = record.strip_suffix('\n')?;
    let at = body.rfind('\n')? + 1;
    let (text, last) = body.split_at(at);
    let signature = unhex(last.strip_prefix(SIGNATURE_LABEL)?)?.try_into().ok()?;
    let mut lines = text.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let vault = unhex(lines.next()?.strip_prefix(VAULT_LABEL)?)?.try_into().ok()?;
    Some(UnverifiedRecord { text, vault, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Owner, Validity};
    use crate::usage::Usage;

    fn record() -> CeremonyRecord {
        let line = |name: &str, check| ComponentLine {
            custodian: CustodianName::new(name).unwrap(),
            check: KeyCheckValue(check),
            at_ms: 1_700_000_060_000,
            drawn: false,
        };
        CeremonyRecord {
            vault: [0xAB; 32],
            ceremony: 7,
            header: KeyHeader {
                usage: Usage::KeyEncryption,
                algorithm: Algorithm::TdesDouble,
                exportable: false,
                owner: Owner::new("DEMO ISSUER").unwrap(),
                version: 3,
                validity: Validity::ALWAYS,
            },
            id: KeyId([1; 8]),
            check: KeyCheckValue([0xDE, 0xAD, 0xBE, 0xEF]),
            opened_ms: 1_700_000_000_000,
            completed_ms: 1_700_000_120_000,
            components: vec![line("li.wei", [1; 4]), line("wang.fang", [2; 4])],
            audit_record: 10,
            audit_head_before: [0x11; 32],
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let text = record().text();
        assert!(
            text.contains("Check value: DEADBEEF\n") && text.contains("Opened: 2023-11-14 22:13:20 UTC\n"),
            "{text}"
        );
        assert!(text.contains("Component 2: entered by wang.fang, check value 02020202"), "{text}");
        let whole = signed_record(&text, &[9; 64]);
        let split = split_record(&whole).unwrap();
        assert_eq!((split.text, split.vault, split.signature), (&text[..], [0xAB; 32], [9; 64]));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let whole = signed_record(&record().text(), &[9; 64]);
        assert!((0..whole.len()).all(|length| split_record(&whole[..length]).is_none()));
        assert!(split_record(&whole.replace("RECORD 1", "RECORD 2")).is_none());
        assert!(split_record(&whole.replace("abab", "abag")).is_none());
    }

    #[test]
    fn hex_comes_back() {
        assert_eq!(unhex(&hex(&[0, 0x7F, 0xFF])), Some(vec![0, 0x7F, 0xFF]));
        assert!(unhex("0").is_none() && unhex("0g").is_none() && unhex("é").is_none());
    }
}
