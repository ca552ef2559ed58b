//! Dates and times as the field writes them. Nothing here reads a clock.

use crate::Invalid;
use core::fmt;

const SECONDS_A_DAY: i64 = 86_400;

/// Local date (F13 MMDD) with the year that the wire leaves out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDate {
    year: u16,
    month: u8,
    day: u8,
}

impl LocalDate {
    /// A real calendar date, 1970–9999.
    pub const fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        if year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        Some(Self { year, month, day })
    }

    /// Four-digit year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Month 1–12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Day 1–31.
    pub const fn day(self) -> u8 {
        self.day
    }

    /// `MMDD`.
    pub fn mmdd(self) -> String {
        format!("{:02}{:02}", self.month, self.day)
    }

    /// `YYMMDD`, as tag 9A carries it.
    pub fn yymmdd(self) -> String {
        format!("{:02}{:02}{:02}", self.year % 100, self.month, self.day)
    }

    /// Reads `YYYYMMDD`.
    pub fn parse_yyyymmdd(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "date";
        crate::all_digits(WHAT, text)?;
        if text.len() != 8 {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "8" });
        }
        let part = |range: core::ops::Range<usize>| text[range].parse::<u16>().unwrap_or(0);
        let small = |value: u16| u8::try_from(value).unwrap_or(0);
        Self::new(part(0..4), small(part(4..6)), small(part(6..8)))
            .ok_or(Invalid::Rule { what: WHAT, rule: "not a calendar date" })
    }
}

const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for LocalDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for LocalDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Local time of day (F12 hhmmss).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime {
    hour: u8,
    minute: u8,
    second: u8,
}

impl LocalTime {
    /// Hour 0–23, minute and second 0–59.
    pub const fn new(hour: u8, minute: u8, second: u8) -> Option<Self> {
        if hour < 24 && minute < 60 && second < 60 { Some(Self { hour, minute, second }) } else { None }
    }

    /// `hhmmss`.
    pub fn hhmmss(self) -> String {
        format!("{:02}{:02}{:02}", self.hour, self.minute, self.second)
    }

    /// Hour, minute, second.
    pub const fn parts(self) -> (u8, u8, u8) {
        (self.hour, self.minute, self.second)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

impl fmt::Debug for LocalTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Date and time of day in one fixed offset from UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilTime {
    /// The date.
    pub date: LocalDate,
    /// The time of day.
    pub time: LocalTime,
}

impl CivilTime {
    /// Offset of China Standard Time in minutes.
    pub const CHINA_OFFSET_MINUTES: i32 = 480;

    /// Civil time of a Unix time in milliseconds, at a fixed offset from UTC in minutes. Times outside 1970–9999 are clamped.
    pub fn from_unix_ms(unix_ms: u64, offset_minutes: i32) -> Self {
        let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX / 2) + i64::from(offset_minutes) * 60;
        let seconds = seconds.clamp(0, 253_402_300_799);
        let (year, month, day) = civil_from_days(seconds / SECONDS_A_DAY);
        let second_of_day = seconds % SECONDS_A_DAY;
        let small = |value: i64| u8::try_from(value).expect("a part of a day");
        Self {
            date: LocalDate { year, month, day },
            time: LocalTime {
                hour: small(second_of_day / 3600),
                minute: small(second_of_day / 60 % 60),
                second: small(second_of_day % 60),
            },
        }
    }
}

/// Gregorian date of a day count from 1970-01-01, by 400-year eras that begin on 1 March.
fn civil_from_days(days: i64) -> (u16, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let fits = "between 1970 and 9999 after clamping";
    (u16::try_from(year).expect(fits), u8::try_from(month).expect(fits), u8::try_from(day).expect(fits))
}

impl fmt::Display for CivilTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.date, self.time)
    }
}

impl fmt::Debug for CivilTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_times_become_civil_times() {
        let at = |seconds: u64, offset| CivilTime::from_unix_ms(seconds * 1000, offset).to_string();
        assert_eq!(at(0, 0), "1970-01-01 00:00:00");
        assert_eq!(at(951_782_400, 0), "2000-02-29 00:00:00");
        assert_eq!(at(1_735_660_799, CivilTime::CHINA_OFFSET_MINUTES), "2024-12-31 23:59:59");
        assert_eq!(CivilTime::from_unix_ms(u64::MAX, 0).to_string(), "9999-12-31 23:59:59");
    }

    #[test]
    fn calendar_rules_hold() {
        assert!(LocalDate::new(2100, 2, 29).is_none() && LocalDate::new(2024, 2, 29).is_some());
        assert!(LocalDate::parse_yyyymmdd("20301231").is_ok() && LocalDate::parse_yyyymmdd("20301301").is_err());
    }
}
