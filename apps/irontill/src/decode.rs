//! `irontill decode`: any message, field by field.

use crate::verdict::{Misuse, Verdict};
use clap::{Args, ValueEnum};
use iso8583::describe::{Disclosure, Line};
use iso8583::unionpay::{Layout, Opened, describe_opened, locate, open_frame};
use iso8583::{DecodeError, Message, dialect};
use serde_json::{Map, Value, json};
use std::io::Read;

/// Most hex characters read.
const HEX_CHARACTERS_MAX: u64 = 1 << 20;

/// Where the bytes begin.
#[derive(Clone, Copy, ValueEnum)]
pub enum From {
    /// With the two length bytes.
    Frame,
    /// With the TPDU.
    Tpdu,
    /// With the message type.
    Body,
}

/// Any message, field by field, masked unless it is test data.
#[derive(Args)]
pub struct Decode {
    /// The message in hex; `-` reads standard input. Spaces and line ends do not matter.
    hex: String,
    /// unionpay, iso87-ascii or iso87-binary.
    #[arg(long, default_value = "unionpay")]
    dialect: String,
    /// Where the bytes begin; found by itself if not said.
    #[arg(long)]
    from: Option<From>,
    /// Shows account data: for test cards only.
    #[arg(long)]
    test_data: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

struct Decoded {
    mti: String,
    lines: Vec<Line>,
    chip: Vec<(String, String)>,
    reencodes: bool,
}

impl Decode {
    /// Decodes.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let bytes = read_hex(&self.hex)?;
        let result = if self.dialect == "unionpay" { self.unionpay(&bytes) } else { self.other(&bytes)? };
        match result {
            Ok(decoded) => self.show(&decoded),
            Err(error) => {
                self.complain(&error);
                return Ok(Verdict::No);
            }
        }
        Ok(Verdict::Yes)
    }

    fn disclosure(&self) -> Disclosure {
        if self.test_data { Disclosure::TestData } else { Disclosure::Masked }
    }

    fn unionpay(&self, bytes: &[u8]) -> Result<Decoded, DecodeError> {
        let opened: Opened<'_> = match self.from {
            Some(From::Frame) => locate(Layout::Frame, bytes)?,
            Some(From::Tpdu) => locate(Layout::Tpdu, bytes)?,
            Some(From::Body) => locate(Layout::Body, bytes)?,
            None => open_frame(bytes)?,
        };
        Ok(self.decoded(&opened.message, describe_opened(&opened, self.disclosure())))
    }

    fn other(&self, bytes: &[u8]) -> anyhow::Result<Result<Decoded, DecodeError>> {
        let spec = dialect::by_name(&self.dialect)
            .ok_or_else(|| Misuse(format!("no dialect {:?}; there are {}", self.dialect, dialect::NAMES.join(", "))))?;
        Ok(iso8583::decode(spec, bytes)
            .map(|message| self.decoded(&message, iso8583::describe::describe(&message, self.disclosure()))))
    }

    fn decoded(&self, message: &Message<'_>, lines: Vec<Line>) -> Decoded {
        let mut again = Vec::new();
        let reencodes = message.encode(&mut again).is_ok() && again == message.body();
        let chip = message.field(55).map_or_else(Vec::new, |field| self.chip(field.bytes()));
        let mti = String::from_utf8_lossy(&message.mti()).into_owned();
        Decoded { mti, lines, chip, reencodes }
    }

    /// Tags of field 55, one line each.
    fn chip(&self, bytes: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let Ok(nodes) = tlv::ber::parse(bytes) else { return found };
        tlv::ber::for_each_primitive(&nodes, &mut |tag, value| {
            let name = tlv::dictionary::name(tag);
            let shown =
                if self.test_data { iso8583::describe::hex(value) } else { emv::transcript::masked_value(tag, value) };
            found.push((format!("{tag}"), format!("{shown}  {name}")));
        });
        found
    }

    fn show(&self, decoded: &Decoded) {
        if self.json {
            println!("{}", decoded.to_json());
            return;
        }
        for line in &decoded.lines {
            let meaning = if line.meaning.is_empty() { String::new() } else { format!("  ({})", line.meaning) };
            println!("{:<8} {:<42} {}{meaning}", line.path, format!("{} {}", line.name, line.name_zh), line.value);
            if line.path == "55" {
                decoded.chip.iter().for_each(|(tag, text)| println!("  {tag:<6} {text}"));
            }
        }
        println!(
            "{}",
            if decoded.reencodes { "re-encodes to the same bytes" } else { "does NOT re-encode to the same bytes" }
        );
    }

    fn complain(&self, error: &DecodeError) {
        if self.json {
            println!(
                "{}",
                json!({
                    "error": { "offset": error.offset, "path": error.path.to_string(), "message": error.to_string() },
                })
            );
        } else {
            eprintln!("irontill: {error}");
        }
    }
}

impl Decoded {
    fn to_json(&self) -> Value {
        let path = |line: &Line| line.path.clone();
        let is_field = |line: &&Line| path(line).parse::<u8>().is_ok();
        let fields: Map<String, Value> =
            self.lines.iter().filter(is_field).map(|line| (path(line), line.value.clone().into())).collect();
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| json!({"path": path(line), "name": line.name, "value": line.value, "meaning": line.meaning}))
            .collect();
        let chip: Map<String, Value> = self.chip.iter().map(|(tag, text)| (tag.clone(), text.clone().into())).collect();
        json!({ "mti": self.mti, "fields": fields, "chip": chip, "lines": lines, "reencodes": self.reencodes })
    }
}

fn read_hex(argument: &str) -> anyhow::Result<Vec<u8>> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        std::io::stdin().lock().take(HEX_CHARACTERS_MAX).read_to_string(&mut text)?;
    }
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let wrong = digits.iter().position(|byte| !byte.is_ascii_hexdigit());
    if let Some(position) = wrong {
        return Err(Misuse(format!("character {position} of the message is no hex digit")).into());
    }
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(Misuse(format!("{} hex digits: expected an even number above zero", digits.len())).into());
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
    Ok(digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect())
}
