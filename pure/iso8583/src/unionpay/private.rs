//! Structured private fields: F44, F54, F60, F61, F63 (unionpay-pos §2.3, §2.4, §2.6).

use crate::error::{DecodeError, Expected, FieldPath, Found};

/// Digits of the longest F60.
const F60_MAX: usize = 19;
/// Digits of the shortest F60: transaction type and batch.
const F60_MIN: usize = 8;
/// Digits of an F60 that a response echoes: 60.1 to 60.5.
const F60_ECHO: usize = 13;
/// Digits of the longest F61.
const F61_MAX: usize = 29;
/// Characters of an institution code in F44.
const INSTITUTION: usize = 11;
/// Characters of F54.
const BALANCE: usize = 20;
/// Characters of the card organisation or operator in F63.
const ORGANISATION: usize = 3;

/// A prefix of a sequence of decimal digits; what the prefix leaves out reads as zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
struct DigitPrefix<const MAX: usize> {
    digits: [u8; MAX],
    length: u8,
}

impl<const MAX: usize> DigitPrefix<MAX> {
    fn parse(field: u8, text: &[u8], min: usize) -> Result<Self, DecodeError> {
        let path = FieldPath::Field(field);
        let found = Found::Length(text.len());
        if text.len() < min {
            return Err(DecodeError::new(0, path, Expected::AtLeast(min), found));
        }
        if text.len() > MAX {
            return Err(DecodeError::new(0, path, Expected::AtMost(MAX), found));
        }
        let mut digits = [b'0'; MAX];
        for (index, (place, &digit)) in digits.iter_mut().zip(text).enumerate() {
            if !digit.is_ascii_digit() {
                let found = Found::Code(u32::from(digit));
                return Err(DecodeError::new(index, path, Expected::DecimalDigits, found));
            }
            *place = digit;
        }
        Ok(Self { digits, length: text.len() as u8 })
    }

    /// Writes `value` in decimal at `start..end`, which becomes part of the prefix.
    const fn with(mut self, start: usize, end: usize, value: u64) -> Self {
        let mut rest = value;
        let mut index = end;
        while index > start {
            index -= 1;
            self.digits[index] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        if (self.length as usize) < end {
            self.length = end as u8;
        }
        self
    }

    fn number(&self, start: usize, end: usize) -> u64 {
        let digits = self.digits.get(start..end).unwrap_or_default();
        digits.iter().fold(0, |total, &digit| total * 10 + u64::from(digit - b'0'))
    }

    const fn reaches(&self, end: usize) -> bool {
        self.length as usize >= end
    }

    fn as_slice(&self) -> &[u8] {
        self.digits.get(..usize::from(self.length)).unwrap_or_default()
    }

    const EMPTY: Self = Self { digits: [b'0'; MAX], length: 0 };
}

/// F60: transaction type, batch, network management code and terminal abilities. Any prefix of at
/// least eight digits; parts that are left out read as zero (D9).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct F60(DigitPrefix<F60_MAX>);

impl F60 {
    /// Type, batch and network code: eleven digits, for management messages.
    #[must_use]
    pub const fn management(transaction_type: u8, batch: u32, network_code: u16) -> Self {
        let digits = DigitPrefix::EMPTY.with(0, 2, transaction_type as u64);
        Self(digits.with(2, 8, batch as u64).with(8, 11, network_code as u64))
    }

    /// The same with terminal read capability (60.4) and chip condition (60.5): thirteen digits.
    #[must_use]
    pub const fn financial(
        transaction_type: u8,
        batch: u32,
        network_code: u16,
        read_capability: u8,
        chip_condition: u8,
    ) -> Self {
        let Self(digits) = Self::management(transaction_type, batch, network_code);
        Self(digits.with(11, 12, read_capability as u64).with(12, 13, chip_condition as u64))
    }

    /// The same with 60.6, whether a partial approval is welcome: fourteen digits.
    #[must_use]
    pub const fn with_partial_approval(self, welcome: bool) -> Self {
        Self(self.0.with(13, 14, welcome as u64))
    }

    /// The same with 60.7, the account type: seventeen digits.
    #[must_use]
    pub const fn with_account_type(self, account_type: u16) -> Self {
        Self(self.0.with(14, 17, account_type as u64))
    }

    /// From ASCII digits.
    ///
    /// # Errors
    /// Fewer than 8 or more than 19 characters, or no digits; the offset counts digits.
    pub fn parse(digits: &[u8]) -> Result<Self, DecodeError> {
        DigitPrefix::parse(60, digits, F60_MIN).map(Self)
    }

    /// 60.1.
    #[must_use]
    pub fn transaction_type(&self) -> u8 {
        self.0.number(0, 2) as u8
    }

    /// 60.2.
    #[must_use]
    pub fn batch(&self) -> u32 {
        self.0.number(2, 8) as u32
    }

    /// 60.3.
    #[must_use]
    pub fn network_code(&self) -> u16 {
        self.0.number(8, 11) as u16
    }

    /// 60.4.
    #[must_use]
    pub fn read_capability(&self) -> u8 {
        self.0.number(11, 12) as u8
    }

    /// 60.5.
    #[must_use]
    pub fn chip_condition(&self) -> u8 {
        self.0.number(12, 13) as u8
    }

    /// 60.6: whether the terminal can take a partial approval (response code 10).
    #[must_use]
    pub fn partial_approval(&self) -> bool {
        self.0.number(13, 14) == 1
    }

    /// 60.7.
    #[must_use]
    pub fn account_type(&self) -> u16 {
        self.0.number(14, 17) as u16
    }

    /// With another batch number: the answer to a sign-in (§2.3).
    #[must_use]
    pub const fn with_batch(self, batch: u32) -> Self {
        Self(self.0.with(2, 8, batch as u64))
    }

    /// What a response repeats: the first thirteen digits of what came (D9).
    #[must_use]
    pub fn echo(&self) -> Self {
        let kept = self.digits().len().min(F60_ECHO);
        let mut digits = DigitPrefix::EMPTY;
        for (place, &digit) in digits.digits.iter_mut().zip(&self.digits()[..kept]) {
            *place = digit;
        }
        digits.length = kept as u8;
        Self(digits)
    }

    /// ASCII digits.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl core::fmt::Debug for F60 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "F60({})", String::from_utf8_lossy(self.digits()))
    }
}

/// F61: which earlier message this one is about. A prefix; parts that are left out are unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct F61(DigitPrefix<F61_MAX>);

impl F61 {
    /// Batch and trace of the original: twelve digits.
    #[must_use]
    pub const fn original(batch: u32, trace: u32) -> Self {
        Self(DigitPrefix::EMPTY.with(0, 6, batch as u64).with(6, 12, trace as u64))
    }

    /// Batch, trace and date (MMDD as a number, `315` for 15 March) of the original: sixteen digits.
    /// Batch and trace are 0 where they are not known (completion, refund).
    #[must_use]
    pub const fn dated(batch: u32, trace: u32, date_mmdd: u16) -> Self {
        Self(Self::original(batch, trace).0.with(12, 16, date_mmdd as u64))
    }

    /// The same with authorisation mode (0 POS, 1 phone, 2 stand-in) and, if not 0, institution.
    #[must_use]
    pub const fn with_authorisation(self, mode: u8, institution: u64) -> Self {
        let digits = self.0.with(16, 18, mode as u64);
        Self(if institution == 0 { digits } else { digits.with(18, F61_MAX, institution) })
    }

    /// From ASCII digits.
    ///
    /// # Errors
    /// More than 29 characters, or no digits; the offset counts digits.
    pub fn parse(digits: &[u8]) -> Result<Self, DecodeError> {
        DigitPrefix::parse(61, digits, 0).map(Self)
    }

    fn part(&self, start: usize, end: usize) -> Option<u64> {
        self.0.reaches(end).then(|| self.0.number(start, end))
    }

    /// Batch of the original.
    #[must_use]
    pub fn batch(&self) -> Option<u32> {
        self.part(0, 6).map(|number| number as u32)
    }

    /// Trace number of the original.
    #[must_use]
    pub fn trace(&self) -> Option<u32> {
        self.part(6, 12).map(|number| number as u32)
    }

    /// Date of the original, MMDD as a number.
    #[must_use]
    pub fn date_mmdd(&self) -> Option<u16> {
        self.part(12, 16).map(|number| number as u16)
    }

    /// Authorisation mode.
    #[must_use]
    pub fn authorisation_mode(&self) -> Option<u8> {
        self.part(16, 18).map(|number| number as u8)
    }

    /// Authorising institution.
    #[must_use]
    pub fn institution(&self) -> Option<u64> {
        self.part(18, F61_MAX)
    }

    /// ASCII digits.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl core::fmt::Debug for F61 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "F61({})", String::from_utf8_lossy(self.digits()))
    }
}

/// F44: issuer and acquirer codes, eleven characters each, filled with spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Institutions {
    /// Issuer.
    pub issuer: [u8; INSTITUTION],
    /// Acquirer.
    pub acquirer: [u8; INSTITUTION],
}

impl Institutions {
    /// From two codes, cut or filled with spaces to eleven characters.
    #[must_use]
    pub fn new(issuer: &[u8], acquirer: &[u8]) -> Self {
        Self { issuer: padded(issuer), acquirer: padded(acquirer) }
    }

    /// From F44. A short value counts as filled with spaces.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let (issuer, acquirer) = value.split_at(value.len().min(INSTITUTION));
        Self::new(issuer, acquirer)
    }

    /// F44, twenty-two characters.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        [self.issuer, self.acquirer].concat()
    }
}

fn padded<const N: usize>(value: &[u8]) -> [u8; N] {
    let mut result = [b' '; N];
    for (place, &byte) in result.iter_mut().zip(value) {
        *place = byte;
    }
    result
}

/// F54: a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Account type, two characters.
    pub account_type: [u8; 2],
    /// Amount type, two characters (`02` available balance).
    pub amount_type: [u8; 2],
    /// Currency, three digits.
    pub currency: [u8; 3],
    /// Signed balance in minor units: `C` is positive, `D` negative.
    pub balance_minor: i64,
}

impl Balance {
    /// From F54.
    ///
    /// # Errors
    /// Not twenty characters, a sign that is neither `C` nor `D`, or an amount without digits.
    pub fn parse(value: &[u8]) -> Result<Self, DecodeError> {
        let refuse =
            |offset, part, expected, found| DecodeError::new(offset, FieldPath::Part(54, part), expected, found);
        let value: &[u8; BALANCE] = value.try_into().map_err(|_| {
            let found = Found::Length(value.len());
            DecodeError::new(0, FieldPath::Field(54), Expected::Exactly(BALANCE), found)
        })?;
        let [a1, a2, t1, t2, c1, c2, c3, sign, amount @ ..] = *value;
        let minor = amount
            .iter()
            .try_fold(0_i64, |total, digit| digit.is_ascii_digit().then(|| total * 10 + i64::from(digit - b'0')));
        let minor = minor.ok_or(refuse(8, 5, Expected::DecimalDigits, Found::Other("other characters")))?;
        let balance_minor = match sign {
            b'C' => minor,
            b'D' => -minor,
            _ => {
                let expected = Expected::Value("C or D");
                return Err(refuse(7, 4, expected, Found::Code(u32::from(sign))));
            }
        };
        Ok(Self { account_type: [a1, a2], amount_type: [t1, t2], currency: [c1, c2, c3], balance_minor })
    }

    /// F54, twenty characters; `None` if the balance has more than twelve digits.
    #[must_use]
    pub fn format(&self) -> Option<Vec<u8>> {
        const LIMIT_MINOR: u64 = 999_999_999_999;
        let sign = if self.balance_minor < 0 { b'D' } else { b'C' };
        let minor = self.balance_minor.unsigned_abs();
        if minor > LIMIT_MINOR {
            return None;
        }
        let mut value = Vec::with_capacity(BALANCE);
        value.extend_from_slice(&self.account_type);
        value.extend_from_slice(&self.amount_type);
        value.extend_from_slice(&self.currency);
        value.push(sign);
        value.extend_from_slice(format!("{minor:012}").as_bytes());
        Some(value)
    }
}

/// F63: an operator number or card organisation of three characters, then text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorOrCard<'a> {
    /// Operator (`01 `) or card organisation (`CUP`), filled with spaces.
    pub code: [u8; ORGANISATION],
    /// Text for the receipt in GBK: issuer 20, centre 20, acquirer 20, display 60.
    pub text: &'a [u8],
}

impl<'a> OperatorOrCard<'a> {
    /// From F63; two characters (an operator without its filler) are accepted (W1).
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Self {
        let (code, text) = value.split_at(value.len().min(ORGANISATION));
        Self { code: padded(code), text }
    }

    /// Whether settlement counts it as a domestic card (内卡): `CUP` or nothing known.
    #[must_use]
    pub fn is_domestic(&self) -> bool {
        matches!(&self.code, b"CUP" | b"   ")
    }

    /// F63.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        [&self.code[..], self.text].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f60_lengths_in_use() {
        assert_eq!(F60::management(0, 7, 4).digits(), b"00000007004");
        let sale = F60::financial(22, 7, 0, 6, 0);
        assert_eq!(sale.digits(), b"2200000700060");
        assert_eq!(sale.with_partial_approval(true).digits(), b"22000007000601");
        assert_eq!(sale.with_account_type(48).digits(), b"22000007000600048");
        let legacy = F60::parse(b"22000001").unwrap();
        assert_eq!((legacy.transaction_type(), legacy.batch()), (22, 1));
        assert_eq!((legacy.network_code(), legacy.read_capability()), (0, 0));
        assert_eq!(legacy.echo().digits(), b"22000001");
        let longest = F60::parse(b"2200010500060100099").unwrap();
        assert_eq!(longest.digits().len(), 19);
        assert_eq!(longest.echo().digits(), b"2200010500060");
        assert_eq!((longest.batch(), longest.partial_approval()), (105, true));
        assert!(F60::parse(b"2200000").is_err());
        assert!(F60::parse(b"2200000x").is_err());
    }

    #[test]
    fn f61_is_a_prefix() {
        let void = F61::original(7, 2);
        assert_eq!(void.digits(), b"000007000002");
        assert_eq!((void.batch(), void.trace(), void.date_mmdd()), (Some(7), Some(2), None));
        let dated = F61::dated(0, 0, 315);
        assert_eq!(dated.digits(), b"0000000000000315");
        assert_eq!(dated.with_authorisation(1, 0).digits(), b"000000000000031501");
        let full = dated.with_authorisation(1, 48_020_000);
        assert_eq!(full.digits(), b"00000000000003150100048020000");
        assert_eq!(F61::parse(full.digits()), Ok(full));
        assert_eq!(full.institution(), Some(48_020_000));
        assert!(F61::parse(&[b'0'; 30]).is_err());
    }

    #[test]
    fn balance_both_signs() {
        let balance = Balance { account_type: *b"00", amount_type: *b"02", currency: *b"156", balance_minor: -12_345 };
        let text = balance.format().unwrap();
        assert_eq!(text, b"0002156D000000012345");
        assert_eq!(Balance::parse(&text), Ok(balance));
        assert!(Balance::parse(b"0002156X000000012345").is_err());
        let above = Balance { balance_minor: 1_000_000_000_000, ..balance };
        assert_eq!(above.format(), None);
    }

    #[test]
    fn institutions_and_operator() {
        let institutions = Institutions::parse(b"03080000   48020000   ");
        assert_eq!(&institutions.issuer, b"03080000   ");
        assert_eq!(institutions.format(), b"03080000   48020000   ");
        assert_eq!(OperatorOrCard::parse(b"01").code, *b"01 ");
        assert!(OperatorOrCard::parse(b"CUP").is_domestic());
        assert!(!OperatorOrCard::parse(b"VIS").is_domestic());
    }
}
