//! Money: integer minor units with a currency, checked.

use crate::Invalid;
use core::fmt;

/// Largest amount that fits field 4 (n12).
pub const AMOUNT_MINOR_MAX: u64 = 999_999_999_999;

/// ISO 4217 numeric currency code, 1–999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

impl Currency {
    /// Renminbi yuan.
    pub const CNY: Currency = Currency(156);
    /// United States dollar.
    pub const USD: Currency = Currency(840);
    /// Euro.
    pub const EUR: Currency = Currency(978);
    /// Japanese yen.
    pub const JPY: Currency = Currency(392);

    /// A numeric code of 1–999.
    pub const fn from_numeric(code: u16) -> Option<Self> {
        if code >= 1 && code <= 999 { Some(Self(code)) } else { None }
    }

    /// The numeric code.
    pub const fn numeric(self) -> u16 {
        self.0
    }

    /// Three ASCII digits, as field 49 carries them.
    pub fn digits(self) -> [u8; 3] {
        let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
        [digit(self.0 / 100), digit(self.0 / 10), digit(self.0)]
    }

    /// ISO 4217 minor unit digits. Unlisted currencies have two, the common case.
    pub const fn minor_unit_digits(self) -> u8 {
        match self.0 {
            108 | 152 | 174 | 262 | 324 | 352 | 392 | 410 | 548 | 600 | 646 | 704 | 800 | 940 | 950 | 952 | 953 => 0,
            48 | 368 | 400 | 414 | 434 | 512 | 788 => 3,
            927 | 990 => 4,
            _ => 2,
        }
    }

    /// Alphabetic code where this crate knows it, otherwise the three digits.
    pub fn label(self) -> String {
        match self.0 {
            156 => "CNY".to_owned(),
            840 => "USD".to_owned(),
            978 => "EUR".to_owned(),
            392 => "JPY".to_owned(),
            344 => "HKD".to_owned(),
            826 => "GBP".to_owned(),
            other => format!("{other:03}"),
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.label())
    }
}

/// An amount in minor units of one currency, 0 to [`AMOUNT_MINOR_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: u64,
    currency: Currency,
}

impl Amount {
    /// An amount of `minor` units; `None` above [`AMOUNT_MINOR_MAX`].
    pub const fn from_minor(minor: u64, currency: Currency) -> Option<Self> {
        if minor <= AMOUNT_MINOR_MAX { Some(Self { minor, currency }) } else { None }
    }

    /// Parses what a person types: `12.50`, `12`, `0.5`. More decimals than the currency has are refused.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, Invalid> {
        const WHAT: &str = "amount";
        let digits = usize::from(currency.minor_unit_digits());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() || whole.len() > 12 || (text.contains('.') && fraction.is_empty()) {
            return Err(Invalid::Rule { what: WHAT, rule: "expected digits with an optional decimal part" });
        }
        crate::all_digits(WHAT, whole)?;
        crate::all_digits(WHAT, fraction)?;
        if fraction.len() > digits {
            return Err(Invalid::Rule { what: WHAT, rule: "more decimals than the currency has" });
        }
        let padded = format!("{whole}{fraction:0<digits$}");
        let minor = padded.parse().map_err(|_| Invalid::Rule { what: WHAT, rule: "too large" })?;
        Self::from_minor(minor, currency).ok_or(Invalid::Rule { what: WHAT, rule: "too large" })
    }

    /// Minor units.
    pub const fn minor(self) -> u64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Sum; `None` on overflow or another currency.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Self::from_minor(self.minor.checked_add(other.minor)?, self.currency)
    }

    /// Difference; `None` below zero or for another currency.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Self::from_minor(self.minor.checked_sub(other.minor)?, self.currency)
    }

    /// Decimal text without the currency: `12.50`.
    pub fn decimal(self) -> String {
        let digits = usize::from(self.currency.minor_unit_digits());
        if digits == 0 {
            return self.minor.to_string();
        }
        let scale = 10_u64.pow(u32::from(self.currency.minor_unit_digits()));
        format!("{}.{:0digits$}", self.minor / scale, self.minor % scale)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.currency.label(), self.decimal())
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_type() {
        let minor = |text| Amount::parse(text, Currency::CNY).map(Amount::minor);
        assert_eq!(minor("12.50"), Ok(1250));
        assert_eq!(minor("12.5"), Ok(1250));
        assert_eq!(minor("12"), Ok(1200));
        assert!(minor("12.505").is_err() && minor("").is_err() && minor("1,2").is_err() && minor("12.").is_err());
        assert_eq!(Amount::parse("500", Currency::JPY).map(Amount::minor), Ok(500));
    }

    #[test]
    fn prints_with_the_currency() {
        let amount = Amount::from_minor(5, Currency::CNY).unwrap();
        assert_eq!(amount.to_string(), "CNY 0.05");
        assert_eq!(amount.currency().digits(), *b"156");
    }

    #[test]
    fn arithmetic_is_checked() {
        let one = Amount::from_minor(1, Currency::CNY).unwrap();
        let most = Amount::from_minor(AMOUNT_MINOR_MAX, Currency::CNY).unwrap();
        assert_eq!(most.checked_add(one), None);
        assert_eq!(one.checked_sub(most), None);
        assert_eq!(one.checked_add(Amount::from_minor(1, Currency::USD).unwrap()), None);
    }
}
