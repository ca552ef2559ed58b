//! The frame that payout and clearing files share: a text of lines, counted, summed and hashed.
//!
//! ```text
//! H|KIND|1|YYYYMMDD|CCC           kind, format version, day, ISO 4217 number of the currency
//! D|field|field|…                 one line for each record
//! T|COUNT|SUM|HASH                records, their signed sum in minor units, SHA-256 of all bytes before this line (hex)
//! ```
//!
//! Every line ends with a line feed, also the last one. Numbers have no leading zeros and no plus sign, fields no `|`. A reader
//! takes nothing else: what it reads, it would write the same way. The hash finds damage; it does not say who wrote the file.

use sha2::{Digest, Sha256};
use types::{Currency, LocalDate};

/// Most records of a file.
pub const SHEET_RECORDS_MAX: usize = 1_000_000;
/// Longest line, its line feed included.
pub const SHEET_LINE_BYTES_MAX: usize = 256;
/// Version of the format.
const VERSION: &str = "1";

/// What stands in the first line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SheetHead {
    /// The day that the file is of.
    pub day: LocalDate,
    /// Currency of all its amounts.
    pub currency: Currency,
}

/// Why a text is not a file of this format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SheetError {
    /// A line that is not what must stand there, counted from 1.
    #[error("line {0} is not what must stand there")]
    Line(usize),
    /// The file ends without its last line, or goes on behind it.
    #[error("the file does not end with its totals")]
    End,
    /// Too many records.
    #[error("more than {SHEET_RECORDS_MAX} records")]
    TooLong,
    /// Other records than the totals say.
    #[error("the count is wrong")]
    Count,
    /// Other amounts than the totals say.
    #[error("the sum is wrong")]
    Sum,
    /// Other bytes than the totals say.
    #[error("the hash is wrong")]
    Hash,
}

/// A record of a file.
pub(crate) trait Line: Sized {
    /// What stands in the first line.
    const KIND: &'static str;

    /// Its fields, in order. None holds `|` or a line feed.
    fn fields(&self) -> Vec<String>;

    /// From fields; `None` if they are not exactly what [`Line::fields`] writes.
    fn from_fields(fields: &[&str]) -> Option<Self>;

    /// What it adds to the sum, minor units.
    fn signed_minor(&self) -> i64;
}

/// The text of a file.
pub(crate) fn write<L: Line>(head: &SheetHead, lines: &[L]) -> String {
    let mut text = head_line::<L>(head);
    for line in lines {
        text.push_str(&format!("D|{}\n", line.fields().join("|")));
    }
    let sum = sum_minor(lines);
    let hash = hash(&text);
    text.push_str(&format!("T|{}|{sum}|{hash}\n", lines.len()));
    text
}

/// Reads what [`write`] wrote.
pub(crate) fn read<L: Line>(text: &str) -> Result<(SheetHead, Vec<L>), SheetError> {
    let mut lines = text.split_inclusive('\n').enumerate();
    let head = lines.next().and_then(|(_, line)| head::<L>(line)).ok_or(SheetError::Line(1))?;
    let mut records = Vec::new();
    let mut body_bytes = head_line::<L>(&head).len();
    for (index, line) in lines {
        if line.starts_with("T|") {
            let behind = text.len() - body_bytes - line.len();
            return match behind {
                0 => check_totals(line, index + 1, &text[..body_bytes], &records).map(|()| (head, records)),
                _ => Err(SheetError::End),
            };
        }
        if records.len() >= SHEET_RECORDS_MAX {
            return Err(SheetError::TooLong);
        }
        records.push(record(line).ok_or(SheetError::Line(index + 1))?);
        body_bytes += line.len();
    }
    Err(SheetError::End)
}

fn head_line<L: Line>(head: &SheetHead) -> String {
    let (day, currency) = (head.day, head.currency.numeric());
    format!("H|{}|{VERSION}|{:04}{:02}{:02}|{currency:03}\n", L::KIND, day.year(), day.month(), day.day())
}

fn head<L: Line>(line: &str) -> Option<SheetHead> {
    let fields: Vec<&str> = line.strip_suffix('\n')?.split('|').collect();
    let [_, _, _, day, currency] = fields[..] else { return None };
    let head = SheetHead {
        day: LocalDate::parse_yyyymmdd(day).ok()?,
        currency: Currency::from_numeric(number(currency.trim_start_matches('0'))?)?,
    };
    (head_line::<L>(&head) == line).then_some(head)
}

fn record<L: Line>(line: &str) -> Option<L> {
    let fields = line.strip_prefix("D|")?.strip_suffix('\n').filter(|_| line.len() <= SHEET_LINE_BYTES_MAX)?;
    let fields: Vec<&str> = fields.split('|').collect();
    let record = L::from_fields(&fields)?;
    (record.fields() == fields).then_some(record)
}

fn check_totals<L: Line>(line: &str, number_of: usize, body: &str, records: &[L]) -> Result<(), SheetError> {
    let fields: Vec<&str> = line.strip_suffix('\n').ok_or(SheetError::End)?.split('|').collect();
    let [_, count, sum, written_hash] = fields[..] else { return Err(SheetError::Line(number_of)) };
    if written_hash != hash(body) {
        return Err(SheetError::Hash);
    }
    if count != records.len().to_string() {
        return Err(SheetError::Count);
    }
    if sum != sum_minor(records).to_string() { Err(SheetError::Sum) } else { Ok(()) }
}

fn sum_minor<L: Line>(lines: &[L]) -> i128 {
    lines.iter().map(|line| i128::from(line.signed_minor())).sum()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number written as this format writes it.
pub(crate) fn number<N: core::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number: &N| number.to_string() == text)
}
