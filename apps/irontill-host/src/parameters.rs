//! The file of what terminals download: versions, keys and applications as hexadecimal lines, terminal parameters tag by tag,
//! lists and whole sets.

use acquirer::{ParameterSet, Published, PublishedContent};
use iso8583::unionpay::{
    AidParameters, BIN_DIGITS_MAX, BIN_LIST_ENTRIES_MAX, Capk, ContactlessParameter, DownloadSet, DownloadShape,
    F62_BYTES_MAX, TerminalParameters, format_contactless, parse_contactless,
};
use std::fmt::Write;
use types::{MerchantId, TerminalId};

/// What a line may be, for whoever wrote another one.
const LINES: &str = "expected NAME-version = N, capk HEX, aid HEX, parameter TAG = VALUE, merchant ID TAG = VALUE, \
                     terminal ID TAG = VALUE, contactless TAG = VALUE, tms HEX, rates HEX, card-blacklist DIGITS…, \
                     pin-free-bins DIGITS… or pin-free-blacklist DIGITS…";

/// Reads a parameter file. Its lines are described in `docs/how-to/terminal-parameters.md`.
///
/// # Errors
/// The number of the line that is wrong, and what; or a version without its set, or a set without its version.
pub fn parse_parameters(text: &str) -> Result<ParameterSet, String> {
    let mut set = ParameterSet::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            take_line(&mut set, line).map_err(|what| format!("line {}: {what}", number + 1))?;
        }
    }
    check_whole(&set)?;
    Ok(set)
}

fn take_line(set: &mut ParameterSet, line: &str) -> Result<(), String> {
    if let Some((name, value)) = line.split_once('=') {
        return take_value(set, name.trim(), value.trim());
    }
    let (name, rest) = line.split_once(char::is_whitespace).ok_or(LINES)?;
    match DownloadSet::ALL.into_iter().find(|known| known.name() == name) {
        Some(DownloadSet::Capks) => {
            let key = Capk::parse(&unhex(rest.trim())?).map_err(|error| error.to_string())?;
            set.capks.push(key.ok_or("a key's entry is empty")?);
        }
        Some(DownloadSet::Aids) => {
            let aid = AidParameters::parse(&unhex(rest.trim())?).map_err(|error| error.to_string())?;
            set.aids.push(aid.ok_or("an application's entry is empty")?);
        }
        Some(whole @ (DownloadSet::Tms | DownloadSet::Rates)) => *whole_of(set, whole) = unhex(rest.trim())?,
        Some(list) if list.shape() == DownloadShape::Paged => add_bins(set, list, rest)?,
        _ => return Err(LINES.to_owned()),
    }
    Ok(())
}

/// A line with a value: a version, a terminal parameter, a contactless parameter.
fn take_value(set: &mut ParameterSet, name: &str, value: &str) -> Result<(), String> {
    if let Some(name) = name.strip_suffix("-version") {
        let version = value.parse().map_err(|_| "a version is a number")?;
        return set_version(set, name, version);
    }
    let words: Vec<&str> = name.split_whitespace().collect();
    let book = &mut set.terminal;
    let (place, tag) = match words[..] {
        ["parameter", tag] => (&mut book.all, tag),
        ["merchant", merchant, tag] => {
            let merchant = MerchantId::parse(merchant).map_err(|_| "a merchant has fifteen characters")?;
            (book.merchants.entry(merchant).or_default(), tag)
        }
        ["terminal", terminal, tag] => {
            let terminal = TerminalId::parse(terminal).map_err(|_| "a terminal has eight characters")?;
            (book.terminals.entry(terminal).or_default(), tag)
        }
        ["contactless", tag] => return add_contactless(set, tag, value),
        _ => return Err(LINES.to_owned()),
    };
    let tag = tag.parse().map_err(|_| "a tag is a number from 11 to 25")?;
    let parameter = TerminalParameters::of_text(tag, value);
    let wrong = format!("parameter {tag} cannot be {value} (26 comes with the enrolment)");
    *place = parameter.ok_or(wrong)?.over(core::mem::take(place));
    Ok(())
}

fn set_version(set: &mut ParameterSet, name: &str, version: u32) -> Result<(), String> {
    match DownloadSet::ALL.into_iter().find(|known| known.name() == name) {
        Some(DownloadSet::Capks) => set.capk_version = version,
        Some(DownloadSet::Aids) => set.aid_version = version,
        Some(DownloadSet::Terminal) => set.terminal.version = version,
        Some(other) => published(set, other).version = version,
        None if name == "status" => set.status_version = version,
        None => return Err(LINES.to_owned()),
    }
    Ok(())
}

fn published(set: &mut ParameterSet, of: DownloadSet) -> &mut Published {
    let content = match of.shape() {
        DownloadShape::Paged => PublishedContent::List(Vec::new()),
        _ => PublishedContent::Whole(Vec::new()),
    };
    set.published.entry(of).or_insert(Published { version: 0, content })
}

fn whole_of(set: &mut ParameterSet, of: DownloadSet) -> &mut Vec<u8> {
    match &mut published(set, of).content {
        PublishedContent::Whole(content) => content,
        PublishedContent::List(_) => unreachable!("only sets in pages are lists"),
    }
}

fn add_bins(set: &mut ParameterSet, of: DownloadSet, line: &str) -> Result<(), String> {
    let PublishedContent::List(bins) = &mut published(set, of).content else {
        return Err(LINES.to_owned());
    };
    for bin in line.split_whitespace() {
        let fits = bin.len() <= BIN_DIGITS_MAX && bin.bytes().all(|digit| digit.is_ascii_digit());
        if !fits {
            return Err(format!("{bin} is no BIN of at most {BIN_DIGITS_MAX} digits"));
        }
        bins.push(bin.to_owned());
    }
    if bins.len() > BIN_LIST_ENTRIES_MAX { Err(format!("more than {BIN_LIST_ENTRIES_MAX} entries")) } else { Ok(()) }
}

fn add_contactless(set: &mut ParameterSet, tag: &str, value: &str) -> Result<(), String> {
    let content = whole_of(set, DownloadSet::Contactless);
    let mut parameters = parse_contactless(content).map_err(|error| error.to_string())?;
    parameters.push(ContactlessParameter { tag: tag.to_owned(), value: value.to_owned() });
    *content = format_contactless(&parameters).ok_or("a contactless tag has six characters, its value is ASCII")?;
    Ok(())
}

/// A set that is ordered must be there, and must fit its message.
fn check_whole(set: &ParameterSet) -> Result<(), String> {
    for (of, published) in &set.published {
        let (empty, fits) = match &published.content {
            PublishedContent::Whole(content) => (content.is_empty(), content.len() <= F62_BYTES_MAX),
            PublishedContent::List(_) => (false, true),
        };
        if empty || !fits {
            let name = of.name();
            return Err(format!("{name}: nothing to download behind its version, or more than {F62_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

/// The text of a parameter file.
pub fn format_parameters(set: &ParameterSet) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string does not fail");
    line(format!("capk-version = {}", set.capk_version));
    line(format!("aid-version = {}", set.aid_version));
    set.capks.iter().for_each(|key| line(format!("capk {}", hex(&key.format()))));
    set.aids.iter().for_each(|aid| line(format!("aid {}", hex(&aid.format()))));
    if set.status_version > 0 {
        line(format!("status-version = {}", set.status_version));
    }
    let book = &set.terminal;
    if book.version > 0 {
        line(format!("terminal-version = {}", book.version));
    }
    let all = [("parameter".to_owned(), &book.all)];
    let merchants = book.merchants.iter().map(|(merchant, of)| (format!("merchant {}", merchant.text()), of));
    let terminals = book.terminals.iter().map(|(terminal, of)| (format!("terminal {}", terminal.text()), of));
    for (name, parameters) in all.into_iter().chain(merchants).chain(terminals) {
        parameters.to_text().into_iter().for_each(|(tag, value)| line(format!("{name} {tag} = {value}")));
    }
    for (of, published) in &set.published {
        line(format!("{}-version = {}", of.name(), published.version));
        published_lines(*of, &published.content).into_iter().for_each(&mut line);
    }
    text
}

fn published_lines(of: DownloadSet, content: &PublishedContent) -> Vec<String> {
    let name = of.name();
    match (of, content) {
        (DownloadSet::Contactless, PublishedContent::Whole(content)) => {
            let parameters = parse_contactless(content).unwrap_or_default();
            parameters.iter().map(|parameter| format!("{name} {} = {}", parameter.tag, parameter.value)).collect()
        }
        (_, PublishedContent::Whole(content)) => vec![format!("{name} {}", hex(content))],
        (_, PublishedContent::List(bins)) => bins.iter().map(|bin| format!("{name} {bin}")).collect(),
    }
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

    const EVERYTHING: &str = "\
capk-version = 3
aid-version = 4
status-version = 2
terminal-version = 7
parameter 12 = 60
parameter 23 = 3
merchant 123456789012345 22 = 铁柜咖啡馆 二店
terminal 12345678 12 = 45
terminal 12345678 14 = 02195516
tms-version = 1
tms 3230
card-blacklist-version = 5
card-blacklist 622500
card-blacklist 6226
contactless-version = 2
contactless FF805D = 1
contactless FF8058 = 000000100000
";

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(unhex(&hex(&[0, 0x9F, 255])), Ok(vec![0, 0x9F, 255]));
        assert!(unhex("0").is_err() && unhex("0g").is_err() && unhex("é").is_err());
    }

    #[test]
    fn wrong_lines_are_named() {
        let wrong = [
            ("capk 31", "line 1"),
            ("\nkey 00", "line 2: expected"),
            ("parameter 26 = 1", "line 1: parameter 26 cannot be 1 (26 comes with the enrolment)"),
            ("parameter 12 = 100", "line 1: parameter 12 cannot be 100"),
            ("terminal 1 12 = 60", "line 1: a terminal has eight characters"),
            ("pin-free-bins 62x", "line 1: 62x is no BIN"),
            ("contactless FF80 = 1", "line 1: a contactless tag"),
            ("tms-version = 1", "tms: nothing to download"),
            ("version = 1", "line 1: expected"),
        ];
        for (text, what) in wrong {
            let error = parse_parameters(text).unwrap_err();
            assert!(error.starts_with(what), "{text}: {error}");
        }
        assert!(parse_parameters(&format!("tms-version = 1\ntms {}", "00".repeat(1000))).is_err());
    }

    #[test]
    fn a_file_comes_back_from_what_it_says() {
        let set = parse_parameters(&format!("# everything\n{EVERYTHING}")).unwrap();
        assert_eq!((set.capk_version, set.aid_version, set.terminal.version), (3, 4, 7));
        assert_eq!(format_parameters(&set), EVERYTHING);
        assert_eq!(parse_parameters(&format_parameters(&set)), Ok(set));
    }

    #[test]
    fn the_narrower_word_goes_before() {
        let set = parse_parameters(EVERYTHING).unwrap();
        let merchant = MerchantId::parse("123456789012345").unwrap();
        let of = |terminal| set.terminal.of(merchant, TerminalId::parse(terminal).unwrap());
        let (one, other) = (of("12345678"), of("87654321"));
        assert_eq!((one.response_timeout_s, other.response_timeout_s), (Some(45), Some(60)));
        assert_eq!((one.resend_count, one.merchant_name), (Some(3), other.merchant_name));
    }
}
