//! Dates as cards and terminals write them: YYMMDD in BCD (EMV 4.4 Book 3 Annex A, tags 9A, 5F24, 5F25).

use thiserror::Error;

/// Years below it belong to the 21st century, the others to the 20th (EMV 4.4 Book 4 §6.7.3).
const CENTURY_PIVOT: u16 = 50;

/// A value that is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a date")]
pub struct NotADate;

/// A calendar date. The order of the fields makes comparison chronological.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmvDate {
    year: u16,
    month: u8,
    day: u8,
}

/// One BCD byte as a number.
pub fn bcd_value(byte: u8) -> Option<u8> {
    let (high, low) = (byte >> 4, byte & 0x0F);
    (high <= 9 && low <= 9).then_some(high * 10 + low)
}

/// A number below 100 as one BCD byte.
pub fn bcd_byte(value: u8) -> u8 {
    ((value / 10 % 10) << 4) | (value % 10)
}

fn full_year(two_digits: u8) -> u16 {
    let year = u16::from(two_digits);
    if year < CENTURY_PIVOT { 2000 + year } else { 1900 + year }
}

fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl EmvDate {
    /// From year, month and day.
    ///
    /// # Errors
    /// [`NotADate`]; years outside 1950–2049 cannot be written in two digits.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, NotADate> {
        let in_range = (1950..2050).contains(&year) && (1..=12).contains(&month);
        if !in_range || day == 0 || day > days_in_month(year, month) {
            return Err(NotADate);
        }
        Ok(EmvDate { year, month, day })
    }

    /// From three bytes YYMMDD.
    ///
    /// # Errors
    /// [`NotADate`].
    pub fn from_bcd(bytes: [u8; 3]) -> Result<Self, NotADate> {
        let [year, month, day] = bytes.map(bcd_value);
        match (year, month, day) {
            (Some(year), Some(month), Some(day)) => EmvDate::new(full_year(year), month, day),
            _ => Err(NotADate),
        }
    }

    /// From a tag's value.
    ///
    /// # Errors
    /// [`NotADate`] when it is not three bytes or no date.
    pub fn from_value(value: &[u8]) -> Result<Self, NotADate> {
        EmvDate::from_bcd(value.try_into().map_err(|_| NotADate)?)
    }

    /// Three bytes YYMMDD.
    pub fn to_bcd(self) -> [u8; 3] {
        [bcd_byte((self.year % 100) as u8), bcd_byte(self.month), bcd_byte(self.day)]
    }

    /// Whether a certificate that expires in month `MMYY` is still valid on this date: to the last day of that month
    /// (EMV 4.4 Book 2 §5.3). A month that is none counts as expired.
    pub fn is_within_certificate_month(self, month_year: [u8; 2]) -> bool {
        match month_year.map(bcd_value) {
            [Some(month @ 1..=12), Some(year)] => (self.year, self.month) <= (full_year(year), month),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_century_turns_at_fifty() {
        let old = EmvDate::from_bcd([0x50, 0x01, 0x01]).expect("date");
        let new = EmvDate::from_bcd([0x49, 0x12, 0x31]).expect("date");
        assert!(old < new);
    }

    #[test]
    fn impossible_dates_are_refused() {
        for bytes in [[0x25, 0x13, 0x01], [0x25, 0x02, 0x29], [0x25, 0x00, 0x01], [0x25, 0x0A, 0x01], [0x25, 1, 0]] {
            assert_eq!(EmvDate::from_bcd(bytes), Err(NotADate));
        }
        assert!(EmvDate::from_bcd([0x24, 0x02, 0x29]).is_ok());
    }

    #[test]
    fn a_certificate_lasts_to_the_end_of_its_month() {
        let last = EmvDate::new(2031, 12, 31).expect("date");
        let after = EmvDate::new(2032, 1, 1).expect("date");
        assert!(last.is_within_certificate_month([0x12, 0x31]));
        assert!(!after.is_within_certificate_month([0x12, 0x31]));
        assert!(!last.is_within_certificate_month([0x13, 0x31]));
    }

    #[test]
    fn dates_write_back() {
        assert_eq!(EmvDate::new(2025, 11, 22).map(EmvDate::to_bcd), Ok([0x25, 0x11, 0x22]));
    }
}
