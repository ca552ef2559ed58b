//! Magnetic stripe content and its chip equivalents (ISO/IEC 7813).

use crate::{Expiry, Invalid, Pan};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Longest track 2 content without sentinels and LRC (ISO/IEC 7813).
pub const TRACK2_CHARACTERS_MAX: usize = 37;
/// Longest track 1 content without sentinels and LRC (ISO/IEC 7813).
pub const TRACK1_CHARACTERS_MAX: usize = 76;

const SERVICE_CODE_DIGITS: usize = 3;
const EXPIRY_DIGITS: usize = 4;

/// Service code: three digits that say where and how a card may be used (ISO/IEC 7813 table 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceCode([u8; SERVICE_CODE_DIGITS]);

impl ServiceCode {
    /// Exactly three digits; their combination is not restricted, issuers use private ones.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "service code";
        crate::all_digits(WHAT, text)?;
        let digits = text.as_bytes().try_into();
        digits.map(Self).map_err(|_| Invalid::Length { what: WHAT, found: text.len(), expected: "3" })
    }

    /// The digits.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.0).expect("checked to be digits")
    }

    /// First digit 2 or 6: the card has a chip that must be used where possible.
    pub fn has_chip(&self) -> bool {
        matches!(self.0[0], b'2' | b'6')
    }

    /// First digit 1 or 2: valid for international interchange.
    pub fn is_international(&self) -> bool {
        matches!(self.0[0], b'1' | b'2')
    }
}

/// Track 2 content: PAN, separator `D` (also given as `=`), expiry, service code, discretionary data; sentinels and LRC removed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Track2(Vec<u8>);

impl Track2 {
    /// Checks the alphabet, the length, and each part: PAN of 12–19 digits, a real expiry month, three digits of service code if
    /// the track goes on that far.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "track 2";
        if text.is_empty() || text.len() > TRACK2_CHARACTERS_MAX {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "1 to 37" });
        }
        let wrong = |byte: u8| !byte.is_ascii_digit() && !matches!(byte, b'D' | b'd' | b'=');
        if let Some(position) = text.bytes().position(wrong) {
            return Err(Invalid::Character { what: WHAT, position });
        }
        let content = text.bytes().map(|byte| if byte.is_ascii_digit() { byte } else { b'D' }).collect();
        let track = Self(content);
        track.check()?;
        Ok(track)
    }

    /// Reads tag 57: packed nibbles as hex text, with `F` filling the last byte if need be (EMV 4.4 Book 3 annex A).
    pub fn parse_equivalent(hex: &str) -> Result<Self, Invalid> {
        let content = hex.strip_suffix(['F', 'f']).unwrap_or(hex);
        Self::parse(content)
    }

    fn check(&self) -> Result<(), Invalid> {
        let (_, rest) = self.halves()?;
        self.pan()?;
        let wrong = |rule| Invalid::Rule { what: "track 2", rule };
        let expiry = rest.get(..EXPIRY_DIGITS).ok_or(wrong("expiry is cut"))?;
        Expiry::parse(expiry).map_err(|_| wrong("expiry is no month"))?;
        crate::all_digits("track 2 behind the separator", rest)
    }

    fn halves(&self) -> Result<(&str, &str), Invalid> {
        self.expose().split_once('D').ok_or(Invalid::Rule { what: "track 2", rule: "no separator" })
    }

    /// The characters with `D` as separator: the one greppable door.
    pub fn expose(&self) -> &str {
        core::str::from_utf8(&self.0).expect("checked alphabet")
    }

    /// The PAN before the separator.
    pub fn pan(&self) -> Result<Pan, Invalid> {
        Pan::parse(self.halves()?.0)
    }

    /// The expiry behind the separator.
    pub fn expiry(&self) -> Option<Expiry> {
        let (_, rest) = self.halves().ok()?;
        Expiry::parse(rest.get(..EXPIRY_DIGITS)?).ok()
    }

    /// The service code behind the expiry, if the track is that long.
    pub fn service_code(&self) -> Option<ServiceCode> {
        let (_, rest) = self.halves().ok()?;
        ServiceCode::parse(rest.get(EXPIRY_DIGITS..EXPIRY_DIGITS + SERVICE_CODE_DIGITS)?).ok()
    }

    /// What follows the service code; empty if nothing does. Sensitive authentication data: it holds the CVV.
    pub fn expose_discretionary(&self) -> &str {
        self.halves().ok().and_then(|(_, rest)| rest.get(EXPIRY_DIGITS + SERVICE_CODE_DIGITS..)).unwrap_or("")
    }

    /// An explicit second copy.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Track2 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Track2({} characters ****)", self.0.len())
    }
}

/// Track 1 content, format B: PAN, name, expiry, service code, discretionary data; sentinels and LRC removed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Track1 {
    pan: String,
    name: String,
    rest: String,
}

impl Track1 {
    /// Reads `B` PAN `^` name `^` expiry service-code discretionary. A `?` inside the PAN field ends it: some cards carry one.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHAT: &str = "track 1";
        if text.is_empty() || text.len() > TRACK1_CHARACTERS_MAX + 2 {
            return Err(Invalid::Length { what: WHAT, found: text.len(), expected: "1 to 78" });
        }
        if let Some(position) = text.bytes().position(|byte| !(0x20..0x7F).contains(&byte)) {
            return Err(Invalid::Character { what: WHAT, position });
        }
        let wrong = |rule| Invalid::Rule { what: WHAT, rule };
        let body = text.strip_prefix('%').unwrap_or(text);
        let body = body.strip_prefix('B').ok_or(wrong("not format B"))?;
        let mut parts = body.splitn(3, '^');
        let (Some(pan), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("expected PAN, name and data between separators"));
        };
        let pan = pan.split('?').next().unwrap_or(pan).replace(' ', "");
        let track = Self { pan, name: name.to_owned(), rest: rest.trim_end_matches('?').to_owned() };
        track.pan()?;
        track.expiry().ok_or(wrong("expiry is no month"))?;
        track.service_code().ok_or(wrong("no service code"))?;
        Ok(track)
    }

    /// The PAN.
    pub fn pan(&self) -> Result<Pan, Invalid> {
        Pan::parse(&self.pan)
    }

    /// The expiry.
    pub fn expiry(&self) -> Option<Expiry> {
        Expiry::parse(self.rest.get(..EXPIRY_DIGITS)?).ok()
    }

    /// The service code.
    pub fn service_code(&self) -> Option<ServiceCode> {
        ServiceCode::parse(self.rest.get(EXPIRY_DIGITS..EXPIRY_DIGITS + SERVICE_CODE_DIGITS)?).ok()
    }

    /// Surname and given name around the `/`, trimmed; `None` where the card has only blanks. Cardholder data.
    pub fn expose_names(&self) -> (Option<&str>, Option<&str>) {
        let filled = |text: &'_ str| !text.is_empty();
        let (last, first) = self.name.split_once('/').unwrap_or((&self.name, ""));
        (Some(last.trim()).filter(|text| filled(text)), Some(first.trim()).filter(|text| filled(text)))
    }

    /// What follows the service code. Sensitive authentication data: it holds the CVV.
    pub fn expose_discretionary(&self) -> &str {
        self.rest.get(EXPIRY_DIGITS + SERVICE_CODE_DIGITS..).unwrap_or("")
    }
}

impl fmt::Debug for Track1 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Track1(****)")
    }
}

/// Longitudinal redundancy check of a whole track, sentinels included (ISO/IEC 7811-2 §12): the xor of the characters' data bits.
/// `data_bits` is 4 for track 2 and 3, 6 for track 1. `None` for a character outside the track's alphabet.
pub fn track_lrc(track: &str, data_bits: u8) -> Option<u8> {
    let base = match data_bits {
        4 => b'0',
        6 => b' ',
        _ => return None,
    };
    let mask = (1_u8 << data_bits) - 1;
    track.bytes().try_fold(0, |lrc, byte| {
        let value = byte.checked_sub(base).filter(|value| *value <= mask)?;
        Some(lrc ^ value)
    })
}

/// The bytes of tag 56 (track 1 equivalent data) as text, wiped on drop.
pub fn track1_text_of_tag_56(value: &[u8]) -> Option<Zeroizing<String>> {
    core::str::from_utf8(value).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn track_2_comes_apart() {
        let track = Track2::parse("6222620000000000012=30122011234500000").unwrap();
        assert_eq!(track.pan().unwrap().expose(), "6222620000000000012");
        assert_eq!(track.expiry().unwrap().expose(), "3012");
        assert_eq!(track.service_code().unwrap().text(), "201");
        assert_eq!(track.expose_discretionary(), "1234500000");
        assert_eq!(format!("{track:?}"), "Track2(37 characters ****)");
    }

    #[test]
    fn a_cut_track_2_is_refused() {
        for text in ["", "6222620000000000012", "=30122011", "6222620000000000012=3013201", "6222620000000000012=30"] {
            assert!(Track2::parse(text).is_err(), "{text}");
        }
        assert!(Track2::parse_equivalent("6222620000000000012D3012201F").is_ok());
    }

    #[test]
    fn track_1_gives_the_name() {
        let track = Track1::parse("B6222620000000000012^ZHANG/SAN^30122011234500000").unwrap();
        assert_eq!(track.expose_names(), (Some("ZHANG"), Some("SAN")));
        assert_eq!(track.pan().unwrap().expose(), "6222620000000000012");
        assert_eq!(format!("{track:?}"), "Track1(****)");
        assert!(Track1::parse("B6222620000000000012^ZHANG/SAN").is_err());
    }

    #[test]
    fn the_lrc_is_the_xor_of_all_characters() {
        assert_eq!(track_lrc(";4111111111111111=20111234561234567890?", 4), Some(8));
        assert_eq!(track_lrc(";é?", 4), None);
    }
}
