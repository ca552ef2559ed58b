//! The file of what terminals download: versions, and one hexadecimal line a key or application, as field 62 carries it.

use acquirer::ParameterSet;
use iso8583::unionpay::{AidParameters, Capk};
use std::fmt::Write;

/// Reads a parameter file: `capk-version = N`, `aid-version = N`, `capk HEX`, `aid HEX`.
///
/// # Errors
/// The number of the line that is wrong, and what.
pub fn parse_parameters(text: &str) -> Result<ParameterSet, String> {
    let mut set = ParameterSet::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            take_line(&mut set, line).map_err(|what| format!("line {}: {what}", number + 1))?;
        }
    }
    Ok(set)
}

fn take_line(set: &mut ParameterSet, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["capk-version", "=", version] => set.capk_version = version.parse().map_err(|_| "a version is a number")?,
        ["aid-version", "=", version] => set.aid_version = version.parse().map_err(|_| "a version is a number")?,
        ["capk", hex] => {
            let key = Capk::parse(&unhex(hex)?).map_err(|error| error.to_string())?;
            set.capks.push(key.ok_or("a key's entry is empty")?);
        }
        ["aid", hex] => {
            let aid = AidParameters::parse(&unhex(hex)?).map_err(|error| error.to_string())?;
            set.aids.push(aid.ok_or("an application's entry is empty")?);
        }
        _ => return Err("expected capk-version = N, aid-version = N, capk HEX or aid HEX".to_owned()),
    }
    Ok(())
}

/// The text of a parameter file.
pub fn format_parameters(set: &ParameterSet) -> String {
    let mut text = format!("capk-version = {}\naid-version = {}\n", set.capk_version, set.aid_version);
    let capks = set.capks.iter().map(|key| ("capk", key.format()));
    let aids = set.aids.iter().map(|aid| ("aid", aid.format()));
    for (word, bytes) in capks.chain(aids) {
        writeln!(text, "{word} {}", hex(&bytes)).expect("writing to a string does not fail");
    }
    text
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| "expected hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(unhex(&hex(&[0, 0x9F, 255])), Ok(vec![0, 0x9F, 255]));
        assert!(unhex("0").is_err() && unhex("0g").is_err() && unhex("é").is_err());
    }

    #[test]
    fn wrong_lines_are_named() {
        assert!(parse_parameters("capk 31").unwrap_err().starts_with("line 1"));
        assert!(parse_parameters("\nkey 00").unwrap_err().starts_with("line 2: expected"));
        let set = parse_parameters("# nothing yet\ncapk-version = 3\naid-version = 4\n").unwrap();
        assert_eq!((set.capk_version, set.aid_version), (3, 4));
        assert_eq!(parse_parameters(&format_parameters(&set)), Ok(set));
    }
}
