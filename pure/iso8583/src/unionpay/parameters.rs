//! F62 of the downloads that travel whole or in pages: terminal parameters, contactless parameters, BIN lists; and of the
//! status upload (unionpay-pos §5.4).

use crate::error::{DecodeError, Expected, FieldPath, Found};
use crate::gbk;
use crate::reader::Reader;

const FIELD: u8 = 62;
/// Characters of a telephone number (tags 14–17).
pub const PHONE_CHARACTERS: usize = 14;
/// Bytes of the merchant's name in GBK (tag 22).
pub const MERCHANT_NAME_BYTES: usize = 40;
/// Longest F62 in bytes.
pub const F62_BYTES_MAX: usize = 999;
/// Most entries of a BIN list: its start index has three digits.
pub const BIN_LIST_ENTRIES_MAX: usize = 999;
/// Longest BIN in digits.
pub const BIN_DIGITS_MAX: usize = 19;
/// Status character and count in front of a page's entries.
const PAGE_HEAD: usize = 4;

/// What the terminal does about tips (tag 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TipMode {
    /// 0: no tips.
    Off,
    /// 1: a tip is added to a sale (60.1 34).
    Tip,
    /// 2: a sale is adjusted (60.1 32).
    Adjust,
}

impl TipMode {
    const fn from_digit(digit: u8) -> Option<Self> {
        match digit {
            0 => Some(Self::Off),
            1 => Some(Self::Tip),
            2 => Some(Self::Adjust),
            _ => None,
        }
    }

    const fn digit(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Tip => 1,
            Self::Adjust => 2,
        }
    }
}

/// Terminal parameters (参数传递). A tag that a message leaves out is `None`: no change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminalParameters {
    /// Tag 11: application type, two digits.
    pub application_type: Option<u8>,
    /// Tag 12: wait for the host's answer in seconds.
    pub response_timeout_s: Option<u8>,
    /// Tag 13: attempts to connect.
    pub connect_retries: Option<u8>,
    /// Tags 14–16: telephone numbers of the host for transactions, without their spaces.
    pub transaction_phones: [Option<String>; 3],
    /// Tag 17: telephone number for management.
    pub management_phone: Option<String>,
    /// Tag 18.
    pub tip: Option<TipMode>,
    /// Tag 19: largest tip in per cent of the sale.
    pub tip_percent_max: Option<u8>,
    /// Tag 20: whether a card number may be typed.
    pub manual_entry: Option<bool>,
    /// Tag 21: whether the terminal signs off after a settlement.
    pub automatic_sign_off: Option<bool>,
    /// Tag 22: the merchant's name, at most 40 bytes of GBK.
    pub merchant_name: Option<String>,
    /// Tag 23: sends of a reversal or notice on one occasion.
    pub resend_count: Option<u8>,
    /// Tag 24: whether notices go before the next online transaction (1), otherwise at the settlement.
    pub upload_before_transaction: Option<bool>,
    /// Tag 25: index of the master key.
    pub master_key_index: Option<u8>,
    /// Tag 26: allowed transactions, bit 1 is the highest. Never zero: an all-zero map would disable sales.
    pub allowed: Option<u32>,
}

fn refuse(offset: usize, tag: u16, expected: Expected, found: Found) -> DecodeError {
    DecodeError::new(offset, FieldPath::Tag(FIELD, tag), expected, found)
}

/// The value of one tag, with where it stands.
struct Value<'a> {
    tag: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl Value<'_> {
    fn number(&self) -> Result<u8, DecodeError> {
        let digits = self.bytes.iter().try_fold(0_u8, |total, digit| {
            digit.is_ascii_digit().then(|| total.wrapping_mul(10).wrapping_add(digit - b'0'))
        });
        digits.ok_or(refuse(self.offset, self.tag, Expected::DecimalDigits, Found::Other("other characters")))
    }

    fn flag(&self) -> Result<bool, DecodeError> {
        match self.bytes {
            b"0" => Ok(false),
            b"1" => Ok(true),
            _ => Err(refuse(self.offset, self.tag, Expected::Value("0 or 1"), Found::Other("something else"))),
        }
    }

    fn phone(&self) -> Result<String, DecodeError> {
        let text = core::str::from_utf8(self.bytes).ok().filter(|text| text.bytes().all(|byte| byte < 0x7F));
        let wrong = refuse(self.offset, self.tag, Expected::Ascii, Found::Other("other characters"));
        text.map(|text| text.trim_end().to_owned()).ok_or(wrong)
    }

    fn tip(&self) -> Result<TipMode, DecodeError> {
        let wrong = refuse(self.offset, self.tag, Expected::Value("0, 1 or 2"), Found::Other("something else"));
        TipMode::from_digit(self.number()?).ok_or(wrong)
    }

    fn allowed(&self) -> Result<u32, DecodeError> {
        let map = self.bytes.iter().fold(0, |map: u32, byte| map << 8 | u32::from(*byte));
        let expected = Expected::Value("a map that allows something");
        if map == 0 { Err(refuse(self.offset, self.tag, expected, Found::Other("zeros"))) } else { Ok(map) }
    }
}

/// Width of a tag's value in bytes (§5.4).
const fn width(tag: u8) -> Option<usize> {
    match tag {
        11 | 12 | 19 => Some(2),
        13 | 18 | 20 | 21 | 23 | 24 | 25 => Some(1),
        14..=17 => Some(PHONE_CHARACTERS),
        22 => Some(MERCHANT_NAME_BYTES),
        26 => Some(4),
        _ => None,
    }
}

impl TerminalParameters {
    /// From F62 of a 360 reply.
    ///
    /// # Errors
    /// A tag that is not 11 to 26 (its width is not known, so nothing behind it could be read), a cut value, a value that its
    /// tag does not allow, a map of allowed transactions that allows none.
    pub fn parse(field: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(field);
        let mut parameters = Self::default();
        while reader.remaining() > 0 {
            let start = reader.position();
            let tag = Value { tag: 0, offset: start, bytes: reader.take(2, FieldPath::Field(FIELD))? }.number()?;
            // An error names the tag by its digits.
            let name = u16::from(tag) / 10 * 16 + u16::from(tag) % 10;
            let unknown = refuse(start, name, Expected::Value("a tag from 11 to 26"), Found::Other("another tag"));
            let width = width(tag).ok_or(unknown)?;
            let offset = reader.position();
            let bytes = reader.take(width, FieldPath::Tag(FIELD, name))?;
            parameters.take(tag, &Value { tag: name, offset, bytes })?;
        }
        Ok(parameters)
    }

    fn take(&mut self, tag: u8, value: &Value<'_>) -> Result<(), DecodeError> {
        match tag {
            11 => self.application_type = Some(value.number()?),
            12 => self.response_timeout_s = Some(value.number()?),
            13 => self.connect_retries = Some(value.number()?),
            14..=16 => self.transaction_phones[usize::from(tag - 14)] = Some(value.phone()?),
            17 => self.management_phone = Some(value.phone()?),
            18 => self.tip = Some(value.tip()?),
            19 => self.tip_percent_max = Some(value.number()?),
            20 => self.manual_entry = Some(value.flag()?),
            21 => self.automatic_sign_off = Some(value.flag()?),
            22 => self.merchant_name = Some(gbk::decode(value.bytes).trim_end().to_owned()),
            23 => self.resend_count = Some(value.number()?),
            24 => self.upload_before_transaction = Some(value.bytes == b"1"),
            25 => self.master_key_index = Some(value.number()?),
            _ => self.allowed = Some(value.allowed()?),
        }
        Ok(())
    }

    /// F62 of a 360 reply; `None` if a value does not fit its tag.
    #[must_use]
    pub fn format(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        number(&mut out, 11, self.application_type)?;
        number(&mut out, 12, self.response_timeout_s)?;
        number(&mut out, 13, self.connect_retries)?;
        for (tag, phone) in (14..).zip(&self.transaction_phones) {
            text(&mut out, tag, phone.as_deref().map(|phone| phone.as_bytes().to_vec()))?;
        }
        text(&mut out, 17, self.management_phone.as_deref().map(|phone| phone.as_bytes().to_vec()))?;
        number(&mut out, 18, self.tip.map(TipMode::digit))?;
        number(&mut out, 19, self.tip_percent_max)?;
        number(&mut out, 20, self.manual_entry.map(u8::from))?;
        number(&mut out, 21, self.automatic_sign_off.map(u8::from))?;
        if let Some(name) = &self.merchant_name {
            text(&mut out, 22, Some(gbk::encode(name)?))?;
        }
        number(&mut out, 23, self.resend_count)?;
        number(&mut out, 24, self.upload_before_transaction.map(u8::from))?;
        number(&mut out, 25, self.master_key_index)?;
        match self.allowed {
            Some(0) => return None,
            Some(map) => out.extend([&b"26"[..], &map.to_be_bytes()].concat()),
            None => {}
        }
        Some(out)
    }

    /// One parameter from its tag and its value as people write it: a number, or text. The map of tag 26 is not written so.
    #[must_use]
    pub fn of_text(tag: u8, value: &str) -> Option<Self> {
        let width = width(tag).filter(|_| tag != 26)?;
        let bytes = gbk::encode(value)?;
        let filler = width.checked_sub(bytes.len())?;
        let is_text = matches!(tag, 14..=17 | 22);
        let (before, behind) = if is_text { (0, filler) } else { (filler, 0) };
        let field = [tag.to_string().into_bytes(), vec![b'0'; before], bytes, vec![b' '; behind]].concat();
        Self::parse(&field).ok()
    }

    /// The parameters as people write them, tag by tag, without the map of tag 26.
    #[must_use]
    pub fn to_text(&self) -> Vec<(u8, String)> {
        let number = |tag, value: Option<u8>| value.map(|value| (tag, value.to_string()));
        let text = |tag, value: &Option<String>| value.clone().map(|value| (tag, value));
        let [first, second, third] = &self.transaction_phones;
        let tags = [
            number(11, self.application_type),
            number(12, self.response_timeout_s),
            number(13, self.connect_retries),
            text(14, first),
            text(15, second),
            text(16, third),
            text(17, &self.management_phone),
            number(18, self.tip.map(TipMode::digit)),
            number(19, self.tip_percent_max),
            number(20, self.manual_entry.map(u8::from)),
            number(21, self.automatic_sign_off.map(u8::from)),
            text(22, &self.merchant_name),
            number(23, self.resend_count),
            number(24, self.upload_before_transaction.map(u8::from)),
            number(25, self.master_key_index),
        ];
        tags.into_iter().flatten().collect()
    }

    /// These parameters where they say something, otherwise those of `before`.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        let [first, second, third] = self.transaction_phones;
        let [first_before, second_before, third_before] = before.transaction_phones;
        Self {
            application_type: self.application_type.or(before.application_type),
            response_timeout_s: self.response_timeout_s.or(before.response_timeout_s),
            connect_retries: self.connect_retries.or(before.connect_retries),
            transaction_phones: [first.or(first_before), second.or(second_before), third.or(third_before)],
            management_phone: self.management_phone.or(before.management_phone),
            tip: self.tip.or(before.tip),
            tip_percent_max: self.tip_percent_max.or(before.tip_percent_max),
            manual_entry: self.manual_entry.or(before.manual_entry),
            automatic_sign_off: self.automatic_sign_off.or(before.automatic_sign_off),
            merchant_name: self.merchant_name.or(before.merchant_name),
            resend_count: self.resend_count.or(before.resend_count),
            upload_before_transaction: self.upload_before_transaction.or(before.upload_before_transaction),
            master_key_index: self.master_key_index.or(before.master_key_index),
            allowed: self.allowed.or(before.allowed),
        }
    }
}

/// Writes a tag with a number of the tag's width, if there is one.
fn number(out: &mut Vec<u8>, tag: u8, value: Option<u8>) -> Option<()> {
    let Some(value) = value else { return Some(()) };
    let width = width(tag)?;
    let digits = format!("{value:0width$}");
    if digits.len() != width {
        return None;
    }
    out.extend_from_slice(format!("{tag}{digits}").as_bytes());
    Some(())
}

/// Writes a tag with text filled with spaces, if there is one.
fn text(out: &mut Vec<u8>, tag: u8, value: Option<Vec<u8>>) -> Option<()> {
    let Some(value) = value else { return Some(()) };
    let filler = width(tag)?.checked_sub(value.len())?;
    out.extend_from_slice(tag.to_string().as_bytes());
    out.extend_from_slice(&value);
    out.extend(core::iter::repeat_n(b' ', filler));
    Some(())
}

/// Whether a device of the terminal works, as a status upload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// 1.
    Normal,
    /// 0.
    Faulty,
}

impl DeviceState {
    const fn digit(self) -> u8 {
        match self {
            Self::Normal => b'1',
            Self::Faulty => b'0',
        }
    }
}

/// F62 of a status upload (362): keyboard, PIN pad, card reader, printer, screen; then the parameters in force without the map
/// of tag 26; then how many notices wait (tag 27). `None` if a value does not fit its tag.
#[must_use]
pub fn format_status(devices: [DeviceState; 5], parameters: &TerminalParameters, notices: u8) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (number, device) in (b'1'..).zip(devices) {
        out.extend([b'0', number, device.digit()]);
    }
    out.extend(TerminalParameters { allowed: None, ..parameters.clone() }.format()?);
    out.extend_from_slice(format!("27{:02}", notices.min(99)).as_bytes());
    Some(out)
}

/// One contactless parameter (394): a tag as six hexadecimal characters, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactlessParameter {
    /// Tag: `FF805D` …
    pub tag: String,
    /// Value in ASCII.
    pub value: String,
}

/// F62 of a 394 reply: tag (6), length (3 digits), value.
///
/// # Errors
/// A cut tag or value, a length without digits, a value that is not ASCII.
pub fn parse_contactless(field: &[u8]) -> Result<Vec<ContactlessParameter>, DecodeError> {
    const LENGTH: crate::LengthPrefix = crate::LengthPrefix::ascii(3);
    let mut reader = Reader::new(field);
    let mut parameters = Vec::new();
    while reader.remaining() > 0 {
        let offset = reader.position();
        let tag = ascii(reader.take(6, FieldPath::Field(FIELD))?, offset)?;
        let length = LENGTH.read(&mut reader, F62_BYTES_MAX, FieldPath::Field(FIELD))?;
        let offset = reader.position();
        let value = ascii(reader.take(length, FieldPath::Field(FIELD))?, offset)?;
        parameters.push(ContactlessParameter { tag, value });
    }
    Ok(parameters)
}

fn ascii(bytes: &[u8], offset: usize) -> Result<String, DecodeError> {
    let printable = bytes.iter().all(|byte| matches!(byte, 0x20..=0x7E));
    let wrong = DecodeError::new(offset, FieldPath::Field(FIELD), Expected::Printable, Found::Other("other bytes"));
    core::str::from_utf8(bytes).ok().filter(|_| printable).map(str::to_owned).ok_or(wrong)
}

/// F62 of a 394 reply; `None` if a tag or value does not fit.
#[must_use]
pub fn format_contactless(parameters: &[ContactlessParameter]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for ContactlessParameter { tag, value } in parameters {
        let fits = tag.len() == 6 && value.len() <= F62_BYTES_MAX && (tag.clone() + value).is_ascii();
        let text = fits.then(|| format!("{tag}{:03}{value}", value.len()))?;
        out.extend_from_slice(text.as_bytes());
    }
    (out.len() <= F62_BYTES_MAX).then_some(out)
}

/// F62 of a request for the page of a BIN list behind `start` entries.
#[must_use]
pub fn bin_list_request(start: usize) -> Vec<u8> {
    format!("{:03}", start.min(BIN_LIST_ENTRIES_MAX)).into_bytes()
}

/// The start index of such a request.
///
/// # Errors
/// Not three digits.
pub fn parse_bin_list_request(field: &[u8]) -> Result<usize, DecodeError> {
    let digits =
        core::str::from_utf8(field).ok().filter(|text| text.len() == 3 && text.bytes().all(|d| d.is_ascii_digit()));
    let expected = Expected::Value("three digits");
    let wrong = DecodeError::new(0, FieldPath::Field(FIELD), expected, Found::Length(field.len()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(wrong)
}

/// One page of a BIN list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BinPage {
    /// Whether another page follows.
    pub more: bool,
    /// The entries, digits.
    pub bins: Vec<String>,
}

/// F62 of a 390, 396 or 398 reply: as many of `rest` as fit, and whether more follow. Entries longer than
/// [`BIN_DIGITS_MAX`] are the caller's mistake and end the page.
#[must_use]
pub fn format_bin_page(rest: &[String]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0;
    for bin in rest.iter().take_while(|bin| bin.len() <= BIN_DIGITS_MAX) {
        let entry = format!("{:02}{bin}", bin.len());
        if PAGE_HEAD + entries.len() + entry.len() > F62_BYTES_MAX {
            break;
        }
        entries.extend_from_slice(entry.as_bytes());
        count += 1;
    }
    let status = match (rest.len(), count) {
        (0, _) => '0',
        (left, count) if left > count => '2',
        _ => '1',
    };
    [format!("{status}{count:03}").into_bytes(), entries].concat()
}

/// A page of a BIN list.
///
/// # Errors
/// An unknown status, a count or length without digits, an entry without digits, a count that does not fit, a page that
/// promises more and brings nothing.
pub fn parse_bin_page(field: &[u8]) -> Result<BinPage, DecodeError> {
    let refuse =
        |offset, expected| DecodeError::new(offset, FieldPath::Field(FIELD), expected, Found::Other("something else"));
    let more = match field.first() {
        Some(b'0') => return Ok(BinPage::default()),
        Some(b'1') => false,
        Some(b'2') => true,
        _ => return Err(refuse(0, Expected::Value("status 0, 1 or 2"))),
    };
    let count = parse_bin_list_request(field.get(1..PAGE_HEAD).unwrap_or_default())?;
    let bins = parse_bins(field.get(PAGE_HEAD..).unwrap_or_default())?;
    if bins.len() != count || (more && bins.is_empty()) {
        return Err(refuse(1, Expected::Value("the count of the entries")));
    }
    Ok(BinPage { more, bins })
}

/// The entries of a BIN list: two digits of length, then digits.
///
/// # Errors
/// A length without digits, a cut entry, an entry of other characters.
pub fn parse_bins(bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    const LENGTH: crate::LengthPrefix = crate::LengthPrefix::ascii(2);
    let mut reader = Reader::new(bytes);
    let mut bins = Vec::new();
    while reader.remaining() > 0 {
        let offset = reader.position();
        let length = LENGTH.read(&mut reader, BIN_DIGITS_MAX, FieldPath::Field(FIELD))?;
        let bin = ascii(reader.take(length, FieldPath::Field(FIELD))?, offset)?;
        if bin.is_empty() || !bin.bytes().all(|digit| digit.is_ascii_digit()) {
            let found = Found::Other("other characters");
            return Err(DecodeError::new(offset, FieldPath::Field(FIELD), Expected::DecimalDigits, found));
        }
        bins.push(bin);
    }
    Ok(bins)
}

/// The entries of a BIN list as they stand in a page.
#[must_use]
pub fn format_bins(bins: &[String]) -> Vec<u8> {
    bins.iter().flat_map(|bin| format!("{:02}{bin}", bin.len()).into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> TerminalParameters {
        TerminalParameters {
            application_type: Some(60),
            response_timeout_s: Some(45),
            connect_retries: Some(3),
            transaction_phones: [Some("02195516".to_owned()), None, Some(String::new())],
            management_phone: Some("4008208208".to_owned()),
            tip: Some(TipMode::Adjust),
            tip_percent_max: Some(15),
            manual_entry: Some(true),
            automatic_sign_off: Some(false),
            merchant_name: Some("铁柜咖啡馆 Irontill".to_owned()),
            resend_count: Some(3),
            upload_before_transaction: Some(true),
            master_key_index: Some(1),
            allowed: Some(0xFFE0_0000),
        }
    }

    #[test]
    fn parameters_are_written_as_the_document_says() {
        let some =
            TerminalParameters { response_timeout_s: Some(60), allowed: Some(0x0400_0000), ..Default::default() };
        assert_eq!(some.format().unwrap(), b"126026\x04\0\0\0");
        assert_eq!(TerminalParameters::parse(b"126026\x04\0\0\0"), Ok(some));
        let all = everything().format().unwrap();
        assert_eq!(TerminalParameters::parse(&all), Ok(everything()));
        assert!(all.starts_with(b"11601245133"));
        assert_eq!(TerminalParameters::parse(b""), Ok(TerminalParameters::default()));
    }

    #[test]
    fn wrong_parameters_are_refused_and_named() {
        for (field, path) in [
            (&b"1260260000"[..], "62.26"),
            (b"26\0\0\0\0", "62.26"),
            (b"183", "62.18"),
            (b"20x", "62.20"),
            (b"12x0", "62.12"),
            (b"2799", "62.27"),
            (b"1", "62"),
        ] {
            let refused = TerminalParameters::parse(field);
            let text = String::from_utf8_lossy(field).into_owned();
            if path == "62.26" && field.starts_with(b"12") {
                // Four raw bytes that happen to be digits are a map.
                assert_eq!(refused.unwrap().allowed, Some(0x3030_3030));
            } else {
                assert_eq!(refused.unwrap_err().path.to_string(), path, "{text}");
            }
        }
        let long = TerminalParameters { merchant_name: Some("咖".repeat(21)), ..Default::default() };
        assert_eq!(long.format(), None);
        let zero = TerminalParameters { allowed: Some(0), ..Default::default() };
        assert_eq!(zero.format(), None);
        let wide = TerminalParameters { resend_count: Some(10), ..Default::default() };
        assert_eq!(wide.format(), None);
    }

    #[test]
    fn people_write_them_tag_by_tag() {
        let mut again = TerminalParameters { allowed: everything().allowed, ..Default::default() };
        for (tag, value) in everything().to_text() {
            again = TerminalParameters::of_text(tag, &value).unwrap().over(again);
        }
        assert_eq!(again, everything());
        let wrong = [(26, "1234"), (10, "1"), (12, "100"), (12, "x"), (18, "3"), (22, "😀"), (23, "10")];
        assert!(wrong.iter().all(|(tag, value)| TerminalParameters::of_text(*tag, value).is_none()));
    }

    #[test]
    fn what_is_left_out_changes_nothing() {
        let newer = TerminalParameters { resend_count: Some(5), ..Default::default() };
        let merged = newer.over(everything());
        assert_eq!(merged, TerminalParameters { resend_count: Some(5), ..everything() });
        assert_eq!(everything().over(TerminalParameters::default()), everything());
    }

    #[test]
    fn a_status_upload_begins_with_the_devices() {
        let normal = [DeviceState::Normal; 5];
        let status = format_status(normal, &TerminalParameters::default(), 0).unwrap();
        assert_eq!(status, b"0110210310410512700");
        let faulty =
            [DeviceState::Normal, DeviceState::Faulty, DeviceState::Normal, DeviceState::Normal, DeviceState::Normal];
        let parameters = TerminalParameters { resend_count: Some(3), allowed: Some(1), ..Default::default() };
        assert_eq!(format_status(faulty, &parameters, 120).unwrap(), b"0110200310410512332799");
    }

    #[test]
    fn contactless_parameters_go_both_ways() {
        let field = b"FF805D0011FF8058012000000100000";
        let parameters = parse_contactless(field).unwrap();
        assert_eq!((parameters[0].value.as_str(), parameters[1].tag.as_str()), ("1", "FF8058"));
        assert_eq!(format_contactless(&parameters).as_deref(), Some(&field[..]));
        for length in (1..field.len()).filter(|length| *length != 10) {
            assert!(parse_contactless(&field[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_long_list_takes_pages() {
        let bins: Vec<String> = (0..150).map(|number| format!("{:06}", 620_000 + number)).collect();
        let mut read = Vec::new();
        let mut pages = 0;
        loop {
            let start = parse_bin_list_request(&bin_list_request(read.len())).unwrap();
            let page = format_bin_page(&bins[start..]);
            assert!(page.len() <= F62_BYTES_MAX);
            let page = parse_bin_page(&page).unwrap();
            read.extend(page.bins);
            pages += 1;
            if !page.more {
                break;
            }
        }
        assert_eq!((read.clone(), pages), (bins, 2));
        assert_eq!(parse_bins(&format_bins(&read)), Ok(read));
        assert_eq!(format_bin_page(&[]), b"0000");
        assert_eq!(parse_bin_page(b"0000"), Ok(BinPage::default()));
        for wrong in [&b"2000"[..], b"1001", b"1002066223", b"3001", b"10010662x221", b"x", b"", b"1001001"] {
            assert!(parse_bin_page(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
