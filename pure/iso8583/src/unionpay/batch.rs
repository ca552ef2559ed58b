//! Settlement and batch upload: F48 and the F62 of chip uploads (unionpay-pos §8.3).

use types::SecretBytes;
use zeroize::Zeroize;

use crate::error::{DecodeError, Expected, FieldPath, Found};

/// Digits of the settlement totals.
pub const TOTALS_DIGITS: usize = 62;
/// Most records in one batch upload.
pub const BATCH_DETAILS_MAX: usize = 8;
const GROUP_DIGITS: usize = 31;
const DETAIL_DIGITS: usize = 40;
const DETAIL_PAN_DIGITS: usize = 20;
const AMOUNT_LIMIT_MINOR: u64 = 999_999_999_999;
const COUNT_LIMIT: u16 = 999;
const TRACE_LIMIT: u32 = 999_999;
const BATCH_END_DIGITS: usize = 4;

const FIELD: u8 = 48;

/// Whether terminal and host agree: the last digit of a group of totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciliation {
    /// 0, in a request.
    NotAnswered,
    /// 1 对账平.
    Balanced,
    /// 2 不平.
    NotBalanced,
    /// 3 出错 or anything else; treated as not balanced.
    Error,
}

impl Reconciliation {
    const fn from_digit(digit: u64) -> Self {
        match digit {
            0 => Self::NotAnswered,
            1 => Self::Balanced,
            2 => Self::NotBalanced,
            _ => Self::Error,
        }
    }

    const fn digit(self) -> u64 {
        match self {
            Self::NotAnswered => 0,
            Self::Balanced => 1,
            Self::NotBalanced => 2,
            Self::Error => 3,
        }
    }
}

/// Totals of one group of cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinorTotals {
    /// Sum of debits in minor units.
    pub debit_minor: u64,
    /// Number of debits.
    pub debit_count: u16,
    /// Sum of credits in minor units.
    pub credit_minor: u64,
    /// Number of credits.
    pub credit_count: u16,
    /// The host's verdict.
    pub reconciliation: Reconciliation,
}

impl MinorTotals {
    /// Nothing counted, no verdict.
    pub const ZERO: Self = Self {
        debit_minor: 0,
        debit_count: 0,
        credit_minor: 0,
        credit_count: 0,
        reconciliation: Reconciliation::NotAnswered,
    };

    fn fits(&self) -> bool {
        self.debit_minor <= AMOUNT_LIMIT_MINOR
            && self.credit_minor <= AMOUNT_LIMIT_MINOR
            && self.debit_count <= COUNT_LIMIT
            && self.credit_count <= COUNT_LIMIT
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        Some(Self {
            debit_minor: number(digits.get(..12)?)?,
            debit_count: number(digits.get(12..15)?)? as u16,
            credit_minor: number(digits.get(15..27)?)?,
            credit_count: number(digits.get(27..30)?)? as u16,
            reconciliation: Reconciliation::from_digit(number(digits.get(30..31)?)?),
        })
    }

    fn write(&self, out: &mut String) {
        let text = format!(
            "{:012}{:03}{:012}{:03}{}",
            self.debit_minor,
            self.debit_count,
            self.credit_minor,
            self.credit_count,
            self.reconciliation.digit()
        );
        out.push_str(&text);
    }
}

/// F48 of 0500 and 0510: domestic cards (内卡), then foreign cards (外卡).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// 内卡.
    pub domestic: MinorTotals,
    /// 外卡.
    pub foreign: MinorTotals,
}

impl Totals {
    /// From the 62 digits of F48.
    ///
    /// # Errors
    /// Another length, or no digits.
    pub fn parse(digits: &[u8]) -> Result<Self, DecodeError> {
        if digits.len() != TOTALS_DIGITS {
            let found = Found::Length(digits.len());
            let expected = Expected::Exactly(TOTALS_DIGITS);
            return Err(DecodeError::new(0, FieldPath::Field(FIELD), expected, found));
        }
        let (domestic, foreign) = digits.split_at(GROUP_DIGITS);
        let refuse = |part, offset| {
            let found = Found::Other("other characters");
            let path = FieldPath::Part(FIELD, part);
            DecodeError::new(offset, path, Expected::DecimalDigits, found)
        };
        Ok(Self {
            domestic: MinorTotals::parse(domestic).ok_or(refuse(1, 0))?,
            foreign: MinorTotals::parse(foreign).ok_or(refuse(2, GROUP_DIGITS))?,
        })
    }

    /// The 62 digits; `None` if a count is above 999 or an amount above twelve digits.
    #[must_use]
    pub fn format(&self) -> Option<Vec<u8>> {
        if !self.domestic.fits() || !self.foreign.fits() {
            return None;
        }
        let mut out = String::with_capacity(TOTALS_DIGITS);
        self.domestic.write(&mut out);
        self.foreign.write(&mut out);
        Some(out.into_bytes())
    }

    /// Whether the host found both groups balanced.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        [self.domestic, self.foreign].iter().all(|group| group.reconciliation == Reconciliation::Balanced)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |total, digit| {
        digit.is_ascii_digit().then(|| total.checked_mul(10))??.checked_add(u64::from(digit - b'0'))
    })
}

/// Which group of totals a card belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardClass {
    /// 00 内卡.
    Domestic,
    /// 01 外卡.
    Foreign,
}

impl CardClass {
    const fn digits(self) -> &'static str {
        match self {
            Self::Domestic => "00",
            Self::Foreign => "01",
        }
    }
}

/// One record of a magnetic-stripe batch upload.
#[derive(Debug)]
pub struct BatchDetail {
    /// 内卡 or 外卡.
    pub card_class: CardClass,
    /// F11 of the transaction.
    pub trace: u32,
    /// PAN in ASCII digits, without filler.
    pub pan: SecretBytes,
    /// Amount in minor units.
    pub amount_minor: u64,
}

impl BatchDetail {
    fn parse(digits: &[u8], record: u8, offset: usize) -> Result<Self, DecodeError> {
        let refuse = |expected| {
            let found = Found::Other("something else");
            DecodeError::new(offset, FieldPath::Part(FIELD, record), expected, found)
        };
        let part = |range: core::ops::Range<usize>| digits.get(range).unwrap_or_default();
        let card_class = match part(0..2) {
            b"00" => CardClass::Domestic,
            b"01" => CardClass::Foreign,
            _ => return Err(refuse(Expected::Value("card class 00 or 01"))),
        };
        let number = |range| number(part(range)).ok_or(refuse(Expected::DecimalDigits));
        let padded = part(8..8 + DETAIL_PAN_DIGITS);
        let first = padded.iter().position(|&digit| digit != b'0').unwrap_or(padded.len());
        Ok(Self {
            card_class,
            trace: number(2..8)? as u32,
            pan: SecretBytes::copy_from(padded.get(first..).unwrap_or_default()),
            amount_minor: number(28..40)?,
        })
    }
}

/// The records of a batch upload: F48 = count n2 and 40 digits each.
///
/// # Errors
/// A count that is not 1 to 8 or does not fit the length, a card class that is neither 00 nor 01.
pub fn parse_batch_details(digits: &[u8]) -> Result<Vec<BatchDetail>, DecodeError> {
    let refuse = |expected, found| DecodeError::new(0, FieldPath::Field(FIELD), expected, found);
    let (count, records) =
        digits.split_at_checked(2).ok_or(refuse(Expected::AtLeast(2), Found::Length(digits.len())))?;
    let count = number(count).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    if !(1..=BATCH_DETAILS_MAX).contains(&count) {
        return Err(refuse(Expected::Value("1 to 8 records"), Found::Length(count)));
    }
    if records.len() != count * DETAIL_DIGITS {
        let expected = Expected::Exactly(2 + count * DETAIL_DIGITS);
        return Err(refuse(expected, Found::Length(digits.len())));
    }
    records
        .chunks_exact(DETAIL_DIGITS)
        .enumerate()
        .map(|(index, record)| BatchDetail::parse(record, index as u8 + 1, 2 + index * DETAIL_DIGITS))
        .collect()
}

/// F48 of a batch upload; `None` if there are not 1 to 8 records or a value does not fit.
#[must_use]
pub fn format_batch_details(records: &[BatchDetail]) -> Option<SecretBytes> {
    if !(1..=BATCH_DETAILS_MAX).contains(&records.len()) {
        return None;
    }
    // Allocated at once so that no copy of a PAN stays behind in a smaller buffer.
    let mut out = Vec::with_capacity(2 + records.len() * DETAIL_DIGITS);
    out.extend_from_slice(format!("{:02}", records.len()).as_bytes());
    for record in records {
        if append_detail(record, &mut out).is_none() {
            out.zeroize();
            return None;
        }
    }
    Some(SecretBytes::new(out))
}

fn append_detail(record: &BatchDetail, out: &mut Vec<u8>) -> Option<()> {
    let pan = record.pan.expose();
    let filler = DETAIL_PAN_DIGITS.checked_sub(pan.len())?;
    if record.trace > TRACE_LIMIT || record.amount_minor > AMOUNT_LIMIT_MINOR || !pan.iter().all(u8::is_ascii_digit) {
        return None;
    }
    out.extend_from_slice(record.card_class.digits().as_bytes());
    out.extend_from_slice(format!("{:06}", record.trace).as_bytes());
    out.extend(core::iter::repeat_n(b'0', filler));
    out.extend_from_slice(pan);
    out.extend_from_slice(format!("{:012}", record.amount_minor).as_bytes());
    Some(())
}

/// Number of uploaded records in the F48 of a batch end.
///
/// # Errors
/// Not four digits.
pub fn batch_end_count(digits: &[u8]) -> Result<u16, DecodeError> {
    match number(digits) {
        Some(count) if digits.len() == BATCH_END_DIGITS => Ok(count as u16),
        _ => {
            let expected = Expected::Exactly(BATCH_END_DIGITS);
            let found = Found::Length(digits.len());
            Err(DecodeError::new(0, FieldPath::Field(FIELD), expected, found))
        }
    }
}

/// F48 of a batch end: the count modulo 10,000, which is all that four digits hold.
#[must_use]
pub fn format_batch_end(count: u32) -> Vec<u8> {
    format!("{:04}", count % 10_000).into_bytes()
}

/// Why a chip transaction is uploaded with usage 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcUploadFailure {
    /// The card declined offline (AAC).
    Declined,
    /// The card did not accept the issuer's cryptogram, the terminal approved all the same.
    IssuerAuthenticationFailed,
}

/// F62 of a chip transaction in a batch upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcUpload {
    /// 内卡 or 外卡.
    pub card_class: CardClass,
    /// Amount in minor units.
    pub amount_minor: u64,
    /// Currency, three digits.
    pub currency: [u8; 3],
    /// `None` for an approved transaction (usage 6), the reason otherwise (usage 7).
    pub failure: Option<IcUploadFailure>,
}

impl IcUpload {
    /// F62 in ASCII: 21 characters for usage 6, 23 for usage 7. `None` if the amount has more than
    /// twelve digits.
    #[must_use]
    pub fn format(&self) -> Option<Vec<u8>> {
        if self.amount_minor > AMOUNT_LIMIT_MINOR {
            return None;
        }
        let (usage, response, tail) = match self.failure {
            None => ("61", "00", ""),
            Some(IcUploadFailure::Declined) => ("71", "00", "10"),
            Some(IcUploadFailure::IssuerAuthenticationFailed) => ("71", "05", "22"),
        };
        let class = self.card_class.digits();
        let mut out = format!("{usage}{class}{response}{:012}", self.amount_minor).into_bytes();
        out.extend_from_slice(&self.currency);
        out.extend_from_slice(tail.as_bytes());
        Some(out)
    }

    /// From F62.
    ///
    /// # Errors
    /// Another usage, length, card class, amount or failure code.
    pub fn parse(value: &[u8]) -> Result<Self, DecodeError> {
        let refuse = |part, offset, expected| {
            let found = Found::Other("something else");
            DecodeError::new(offset, FieldPath::Part(62, part), expected, found)
        };
        let part = |range: core::ops::Range<usize>| value.get(range).unwrap_or_default();
        let card_class = match part(2..4) {
            b"00" => CardClass::Domestic,
            b"01" => CardClass::Foreign,
            _ => return Err(refuse(2, 2, Expected::Value("card class 00 or 01"))),
        };
        let failure = match (part(0..2), part(4..6), value.get(21..).unwrap_or_default()) {
            (b"61", _, b"") => None,
            (b"71", b"05", b"22") => Some(IcUploadFailure::IssuerAuthenticationFailed),
            (b"71", _, [_, b'0']) => Some(IcUploadFailure::Declined),
            _ => return Err(refuse(1, 0, Expected::Value("usage 61 or 71 and its length"))),
        };
        let amount_minor = number(part(6..18)).ok_or(refuse(4, 6, Expected::DecimalDigits))?;
        let currency = part(18..21).try_into().map_err(|_| refuse(5, 18, Expected::AtLeast(21)))?;
        Ok(Self { card_class, amount_minor, currency, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_s9_and_s10() {
        let request = b"00000001000000100000000500000100000000000000000000000000000000";
        let totals = Totals::parse(request).unwrap();
        assert_eq!((totals.domestic.debit_minor, totals.domestic.debit_count), (10_000, 1));
        assert_eq!((totals.domestic.credit_minor, totals.domestic.credit_count), (5_000, 1));
        assert_eq!(totals.foreign, MinorTotals::ZERO);
        assert!(!totals.is_balanced());
        assert_eq!(totals.format().as_deref(), Some(&request[..]));
        let answer = b"00000001000000100000000500000110000000000000000000000000000001";
        assert!(Totals::parse(answer).unwrap().is_balanced());
        assert!(Totals::parse(&answer[..61]).is_err());
        let above = MinorTotals { debit_count: 1000, ..MinorTotals::ZERO };
        assert_eq!(Totals { foreign: above, ..totals }.format(), None);
    }

    fn detail(trace: u32) -> BatchDetail {
        BatchDetail {
            card_class: CardClass::Foreign,
            trace,
            pan: SecretBytes::copy_from(b"6222620000000000012"),
            amount_minor: 1_250,
        }
    }

    #[test]
    fn details_read_back_and_never_print_the_pan() {
        let field = format_batch_details(&[detail(1), detail(2)]).unwrap();
        assert_eq!(field.len(), 82);
        let records = parse_batch_details(field.expose()).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].pan.expose(), b"6222620000000000012");
        assert_eq!((records[1].trace, records[1].amount_minor), (2, 1_250));
        assert!(!format!("{records:?}").contains("62226"));
        assert!(format_batch_details(&[]).is_none());
        let nine: Vec<BatchDetail> = (0..9).map(detail).collect();
        assert!(format_batch_details(&nine).is_none());
        assert!(parse_batch_details(&field.expose()[..81]).is_err());
        assert!(parse_batch_details(b"").is_err());
        assert_eq!(batch_end_count(&format_batch_end(2)), Ok(2));
    }

    #[test]
    fn chip_uploads_of_both_usages() {
        let approved = IcUpload { card_class: CardClass::Domestic, amount_minor: 58, currency: *b"156", failure: None };
        assert_eq!(approved.format().unwrap(), b"610000000000000058156");
        for failure in [None, Some(IcUploadFailure::Declined), Some(IcUploadFailure::IssuerAuthenticationFailed)] {
            let upload = IcUpload { failure, ..approved };
            assert_eq!(IcUpload::parse(&upload.format().unwrap()), Ok(upload));
        }
        assert!(IcUpload::parse(b"61").is_err());
    }
}
