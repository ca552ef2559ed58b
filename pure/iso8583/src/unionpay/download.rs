//! F62 of the CAPK and AID downloads: status queries, lists, requests and TLV bodies
//! (unionpay-pos §5.1, §5.2).

use crate::error::{DecodeError, Expected, FieldPath, Found};
use crate::reader::Reader;

/// F62 of a 370/380 reply for a key or application that the host does not have.
pub const DOWNLOAD_NOT_AVAILABLE: &[u8] = b"0";
/// First byte of a 370/380 reply that carries data.
const AVAILABLE: u8 = b'1';
/// Most entries that the two digits of a status query can count.
const QUERY_LIMIT: u8 = 99;
/// Longest AID (ISO/IEC 7816-4).
const AID_MAX: usize = 16;
/// Longest modulus accepted: 2048 bits.
const MODULUS_MAX: usize = 256;
const FIELD: u8 = 62;

const TAG_RID_OR_AID: u16 = 0x9F06;
const TAG_INDEX: u16 = 0x9F22;
const TAG_EXPIRY: u16 = 0xDF05;
const TAG_HASH_ALGORITHM: u16 = 0xDF06;
const TAG_KEY_ALGORITHM: u16 = 0xDF07;
const TAG_MODULUS: u16 = 0xDF02;
const TAG_EXPONENT: u16 = 0xDF04;
const TAG_CHECKSUM: u16 = 0xDF03;

/// A tag and its value in the download TLV (two-byte tags, BER length).
type Element<'a> = (u16, &'a [u8]);

fn read_element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, DecodeError> {
    let tag = reader.take(1, FieldPath::Field(FIELD))?;
    let mut tag = u16::from(tag.first().copied().unwrap_or(0));
    // A low part of all ones announces a second tag byte (ISO/IEC 8825-1 §8.1.2.4).
    if tag & 0x1F == 0x1F {
        let second = reader.take(1, FieldPath::Field(FIELD))?;
        tag = tag << 8 | u16::from(second.first().copied().unwrap_or(0));
    }
    let path = FieldPath::Tag(FIELD, tag);
    let start = reader.position();
    let first = reader.take(1, path)?.first().copied().unwrap_or(0);
    let length = match first {
        0x00..=0x7F => usize::from(first),
        0x81 | 0x82 => {
            reader.take(usize::from(first & 0x7F), path)?.iter().fold(0, |total, &byte| total << 8 | usize::from(byte))
        }
        _ => {
            let expected = Expected::Value("a definite length of at most two bytes");
            return Err(DecodeError::new(start, path, expected, Found::Code(u32::from(first))));
        }
    };
    Ok((tag, reader.take(length, path)?))
}

fn write_element(tag: u16, value: &[u8], out: &mut Vec<u8>) {
    if tag > 0xFF {
        out.push((tag >> 8) as u8);
    }
    out.push(tag as u8);
    match value.len() {
        length @ 0..=0x7F => out.push(length as u8),
        length @ 0x80..=0xFF => out.extend_from_slice(&[0x81, length as u8]),
        length => {
            out.push(0x82);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}

fn refuse(offset: usize, tag: u16, expected: Expected, found: Found) -> DecodeError {
    DecodeError::new(offset, FieldPath::Tag(FIELD, tag), expected, found)
}

fn exact<const N: usize>((tag, value): Element<'_>, offset: usize) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| refuse(offset, tag, Expected::Exactly(N), Found::Length(value.len())))
}

fn missing(tag: u16) -> DecodeError {
    refuse(0, tag, Expected::Value("this tag"), Found::Nothing)
}

/// Answer to a status query: whether there is a list and whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadStatus {
    /// `0`: nothing to download.
    Nothing,
    /// `1`: the list ends with this message.
    Complete,
    /// `2`: ask again with the count received so far.
    More,
}

impl DownloadStatus {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'0' => Some(Self::Nothing),
            b'1' => Some(Self::Complete),
            b'2' => Some(Self::More),
            _ => None,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Nothing => b'0',
            Self::Complete => b'1',
            Self::More => b'2',
        }
    }

    fn split(field: &[u8]) -> Result<(Self, Reader<'_>), DecodeError> {
        let mut reader = Reader::new(field);
        let byte = reader.take(1, FieldPath::Field(FIELD))?.first().copied().unwrap_or(0);
        let status = Self::from_byte(byte).ok_or_else(|| {
            let expected = Expected::Value("status 0, 1 or 2");
            let found = Found::Code(u32::from(byte));
            DecodeError::new(0, FieldPath::Field(FIELD), expected, found)
        })?;
        Ok((status, reader))
    }
}

/// F62 of a status query: `1` and how many entries have been received, two digits.
#[must_use]
pub fn status_query(received: u8) -> Vec<u8> {
    format!("1{:02}", received.min(QUERY_LIMIT)).into_bytes()
}

/// How many entries the terminal has received, from a status query.
///
/// # Errors
/// Not `1` and two digits.
pub fn parse_status_query(field: &[u8]) -> Result<u8, DecodeError> {
    match *field {
        [b'1', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Ok((tens - b'0') * 10 + ones - b'0'),
        _ => {
            let expected = Expected::Value("1 and two digits");
            let found = Found::Length(field.len());
            Err(DecodeError::new(0, FieldPath::Field(FIELD), expected, found))
        }
    }
}

/// Expiry of a CA key: year, month, day in ASCII digits (YYYYMMDD).
pub type CapkExpiry = [u8; 8];

/// Accepts eight ASCII digits or four packed bytes (D19).
fn expiry(element: Element<'_>, offset: usize) -> Result<CapkExpiry, DecodeError> {
    let (tag, value) = element;
    let digits: CapkExpiry = match value {
        [a, b, c, d] => {
            let mut digits = [0; 8];
            for (pair, byte) in digits.chunks_exact_mut(2).zip([a, b, c, d]) {
                pair.copy_from_slice(&[b'0' + (byte >> 4), b'0' + (byte & 0x0F)]);
            }
            digits
        }
        _ => exact(element, offset)?,
    };
    match digits.iter().find(|digit| !digit.is_ascii_digit()) {
        None => Ok(digits),
        Some(_) => {
            let found = Found::Other("other characters");
            Err(refuse(offset, tag, Expected::DecimalDigits, found))
        }
    }
}

/// One entry of the CAPK list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedCapk {
    /// Registered application provider.
    pub rid: [u8; 5],
    /// Key index.
    pub index: u8,
    /// Last day of use.
    pub expiry: CapkExpiry,
}

/// F62 of a 372 reply.
#[must_use]
pub fn format_capk_list(status: DownloadStatus, keys: &[ListedCapk]) -> Vec<u8> {
    let mut out = vec![status.byte()];
    for key in keys {
        write_element(TAG_RID_OR_AID, &key.rid, &mut out);
        write_element(TAG_INDEX, &[key.index], &mut out);
        write_element(TAG_EXPIRY, &key.expiry, &mut out);
    }
    out
}

/// The list in a 372 reply.
///
/// # Errors
/// An unknown status, a cut or foreign element, an entry without RID, index or expiry.
pub fn parse_capk_list(field: &[u8]) -> Result<(DownloadStatus, Vec<ListedCapk>), DecodeError> {
    let (status, mut reader) = DownloadStatus::split(field)?;
    let mut keys = Vec::new();
    while status != DownloadStatus::Nothing && reader.remaining() > 0 {
        let rid = expect(&mut reader, TAG_RID_OR_AID)?;
        let rid = exact(rid, reader.position())?;
        let index = expect(&mut reader, TAG_INDEX)?;
        let [index] = exact(index, reader.position())?;
        let expiry_element = expect(&mut reader, TAG_EXPIRY)?;
        keys.push(ListedCapk { rid, index, expiry: expiry(expiry_element, reader.position())? });
    }
    Ok((status, keys))
}

fn expect<'a>(reader: &mut Reader<'a>, tag: u16) -> Result<Element<'a>, DecodeError> {
    let start = reader.position();
    let element = read_element(reader)?;
    if element.0 == tag {
        return Ok(element);
    }
    let found = Found::Code(u32::from(element.0));
    Err(refuse(start, tag, Expected::Value("this tag"), found))
}

/// F62 of a 370 request.
#[must_use]
pub fn capk_request(rid: [u8; 5], index: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    write_element(TAG_RID_OR_AID, &rid, &mut out);
    write_element(TAG_INDEX, &[index], &mut out);
    out
}

/// RID and index of a 370 request.
///
/// # Errors
/// Anything but these two elements.
pub fn parse_capk_request(field: &[u8]) -> Result<([u8; 5], u8), DecodeError> {
    let mut reader = Reader::new(field);
    let rid = exact(expect(&mut reader, TAG_RID_OR_AID)?, 3)?;
    let [index] = exact(expect(&mut reader, TAG_INDEX)?, 3)?;
    reader.finish()?;
    Ok((rid, index))
}

/// A certification authority public key (EMV Book 2 §11.2.1) as it is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capk {
    /// Registered application provider.
    pub rid: [u8; 5],
    /// Key index.
    pub index: u8,
    /// Last day of use.
    pub expiry: CapkExpiry,
    /// 01 SHA-1, 07 SM3.
    pub hash_algorithm: u8,
    /// 01 RSA, 04 SM2.
    pub key_algorithm: u8,
    /// Modulus, or the SM2 point.
    pub modulus: Vec<u8>,
    /// Exponent: 03 or 010001; empty for SM2.
    pub exponent: Vec<u8>,
    /// SHA-1 over RID, index, modulus and exponent; all zero if the host sent none. This crate does
    /// not verify it: the kernel does.
    pub checksum: [u8; 20],
}

impl Capk {
    /// F62 of a 370 reply.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let mut out = vec![AVAILABLE];
        write_element(TAG_RID_OR_AID, &self.rid, &mut out);
        write_element(TAG_INDEX, &[self.index], &mut out);
        write_element(TAG_EXPIRY, &self.expiry, &mut out);
        write_element(TAG_HASH_ALGORITHM, &[self.hash_algorithm], &mut out);
        write_element(TAG_KEY_ALGORITHM, &[self.key_algorithm], &mut out);
        write_element(TAG_MODULUS, &self.modulus, &mut out);
        write_element(TAG_EXPONENT, &self.exponent, &mut out);
        write_element(TAG_CHECKSUM, &self.checksum, &mut out);
        out
    }

    /// From F62 of a 370 reply; `None` if the host does not have the key. Elements may come in any
    /// order, unknown ones are skipped.
    ///
    /// # Errors
    /// A cut element, a wrong length, or a key without RID, index, expiry or modulus.
    pub fn parse(field: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some(mut reader) = available(field)? else { return Ok(None) };
        let (mut rid, mut index, mut expires) = (None, None, None);
        let mut key = Self {
            rid: [0; 5],
            index: 0,
            expiry: *b"00000000",
            hash_algorithm: 1,
            key_algorithm: 1,
            modulus: Vec::new(),
            exponent: Vec::new(),
            checksum: [0; 20],
        };
        while reader.remaining() > 0 {
            let start = reader.position();
            let element = read_element(&mut reader)?;
            match element.0 {
                TAG_RID_OR_AID => rid = Some(exact(element, start)?),
                TAG_INDEX => index = Some(exact::<1>(element, start)?[0]),
                TAG_EXPIRY => expires = Some(expiry(element, start)?),
                TAG_HASH_ALGORITHM => [key.hash_algorithm] = exact(element, start)?,
                TAG_KEY_ALGORITHM => [key.key_algorithm] = exact(element, start)?,
                TAG_MODULUS => key.modulus = bounded(element, start, MODULUS_MAX)?,
                TAG_EXPONENT => key.exponent = bounded(element, start, 3)?,
                TAG_CHECKSUM => key.checksum = exact(element, start)?,
                _ => {}
            }
        }
        key.rid = rid.ok_or(missing(TAG_RID_OR_AID))?;
        key.index = index.ok_or(missing(TAG_INDEX))?;
        key.expiry = expires.ok_or(missing(TAG_EXPIRY))?;
        if key.modulus.is_empty() {
            return Err(missing(TAG_MODULUS));
        }
        Ok(Some(key))
    }
}

/// Skips the leading `1`; `None` for `0`.
fn available(field: &[u8]) -> Result<Option<Reader<'_>>, DecodeError> {
    match DownloadStatus::split(field)? {
        (DownloadStatus::Nothing, _) => Ok(None),
        (_, reader) => Ok(Some(reader)),
    }
}

fn bounded((tag, value): Element<'_>, offset: usize, max: usize) -> Result<Vec<u8>, DecodeError> {
    if value.is_empty() || value.len() > max {
        return Err(refuse(offset, tag, Expected::AtMost(max), Found::Length(value.len())));
    }
    Ok(value.to_vec())
}

/// F62 of a 382 reply: a status and AIDs.
#[must_use]
pub fn format_aid_list(status: DownloadStatus, aids: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![status.byte()];
    for aid in aids {
        write_element(TAG_RID_OR_AID, aid, &mut out);
    }
    out
}

/// The AIDs of a 382 reply.
///
/// # Errors
/// An unknown status, a cut or foreign element, an AID of impossible length.
pub fn parse_aid_list(field: &[u8]) -> Result<(DownloadStatus, Vec<Vec<u8>>), DecodeError> {
    let (status, mut reader) = DownloadStatus::split(field)?;
    let mut aids = Vec::new();
    while status != DownloadStatus::Nothing && reader.remaining() > 0 {
        aids.push(aid(expect(&mut reader, TAG_RID_OR_AID)?, reader.position())?);
    }
    Ok((status, aids))
}

fn aid(element: Element<'_>, offset: usize) -> Result<Vec<u8>, DecodeError> {
    if element.1.len() < 5 {
        let found = Found::Length(element.1.len());
        return Err(refuse(offset, element.0, Expected::AtLeast(5), found));
    }
    bounded(element, offset, AID_MAX)
}

/// F62 of a 380 request.
#[must_use]
pub fn aid_request(aid: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + aid.len());
    write_element(TAG_RID_OR_AID, aid, &mut out);
    out
}

/// The AID of a 380 request.
///
/// # Errors
/// Anything but one AID.
pub fn parse_aid_request(field: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::new(field);
    let result = aid(expect(&mut reader, TAG_RID_OR_AID)?, 0)?;
    reader.finish()?;
    Ok(result)
}

/// Parameters of one application as they are downloaded. What the host left out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AidParameters {
    /// Application identifier, 5 to 16 bytes.
    pub aid: Vec<u8>,
    /// DF01: whether a longer name on the card also matches (00; 01 is exact).
    pub partial_match: Option<bool>,
    /// 9F08 (some hosts: 9F09): application version.
    pub application_version: Option<[u8; 2]>,
    /// DF11.
    pub tac_default: Option<[u8; 5]>,
    /// DF12.
    pub tac_online: Option<[u8; 5]>,
    /// DF13.
    pub tac_denial: Option<[u8; 5]>,
    /// 9F1B: floor limit in minor units.
    pub floor_limit_minor: Option<u32>,
    /// DF15: threshold for biased random selection in minor units.
    pub random_threshold_minor: Option<u32>,
    /// DF16: maximum target percentage, packed.
    pub max_target_percent_bcd: Option<u8>,
    /// DF17: target percentage, packed.
    pub target_percent_bcd: Option<u8>,
    /// DF14: default DDOL.
    pub default_ddol: Option<Vec<u8>>,
    /// DF18: whether PINs are verified online.
    pub online_pin: Option<bool>,
    /// 9F7B: e-cash limit, n12 packed.
    pub ecash_limit_bcd: Option<[u8; 6]>,
    /// DF19: contactless offline floor limit, n12 packed.
    pub contactless_floor_limit_bcd: Option<[u8; 6]>,
    /// DF20: contactless transaction limit, n12 packed.
    pub contactless_limit_bcd: Option<[u8; 6]>,
    /// DF21: contactless limit without cardholder verification, n12 packed.
    pub contactless_cvm_limit_bcd: Option<[u8; 6]>,
}

impl AidParameters {
    /// F62 of a 380 reply, in the order of the specification.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let mut out = vec![AVAILABLE];
        write_element(TAG_RID_OR_AID, &self.aid, &mut out);
        let floor = self.floor_limit_minor.map(u32::to_be_bytes);
        let threshold = self.random_threshold_minor.map(u32::to_be_bytes);
        let selection = self.partial_match.map(|partial| [u8::from(!partial)]);
        let online_pin = self.online_pin.map(|supported| [u8::from(supported)]);
        let max_target = self.max_target_percent_bcd.map(|percent| [percent]);
        let target = self.target_percent_bcd.map(|percent| [percent]);
        let elements: [(u16, Option<&[u8]>); 15] = [
            (0xDF01, selection.as_ref().map(|value| &value[..])),
            (0x9F08, self.application_version.as_ref().map(|value| &value[..])),
            (0xDF11, self.tac_default.as_ref().map(|value| &value[..])),
            (0xDF12, self.tac_online.as_ref().map(|value| &value[..])),
            (0xDF13, self.tac_denial.as_ref().map(|value| &value[..])),
            (0x9F1B, floor.as_ref().map(|value| &value[..])),
            (0xDF15, threshold.as_ref().map(|value| &value[..])),
            (0xDF16, max_target.as_ref().map(|value| &value[..])),
            (0xDF17, target.as_ref().map(|value| &value[..])),
            (0xDF14, self.default_ddol.as_deref()),
            (0xDF18, online_pin.as_ref().map(|value| &value[..])),
            (0x9F7B, self.ecash_limit_bcd.as_ref().map(|value| &value[..])),
            (0xDF19, self.contactless_floor_limit_bcd.as_ref().map(|value| &value[..])),
            (0xDF20, self.contactless_limit_bcd.as_ref().map(|value| &value[..])),
            (0xDF21, self.contactless_cvm_limit_bcd.as_ref().map(|value| &value[..])),
        ];
        for (tag, value) in elements {
            if let Some(value) = value {
                write_element(tag, value, &mut out);
            }
        }
        out
    }

    /// From F62 of a 380 reply; `None` if the host does not have the application. Elements may
    /// come in any order, unknown ones are skipped.
    ///
    /// # Errors
    /// A cut element, a wrong length, or no AID.
    pub fn parse(field: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some(mut reader) = available(field)? else { return Ok(None) };
        let mut result = Self::default();
        while reader.remaining() > 0 {
            let start = reader.position();
            result.set(read_element(&mut reader)?, start)?;
        }
        match result.aid.is_empty() {
            true => Err(missing(TAG_RID_OR_AID)),
            false => Ok(Some(result)),
        }
    }

    fn set(&mut self, element: Element<'_>, start: usize) -> Result<(), DecodeError> {
        match element.0 {
            TAG_RID_OR_AID => self.aid = aid(element, start)?,
            0xDF01 => self.partial_match = Some(exact::<1>(element, start)? == [0]),
            0x9F08 | 0x9F09 => self.application_version = Some(exact(element, start)?),
            0xDF11 => self.tac_default = Some(exact(element, start)?),
            0xDF12 => self.tac_online = Some(exact(element, start)?),
            0xDF13 => self.tac_denial = Some(exact(element, start)?),
            0x9F1B => {
                self.floor_limit_minor = Some(u32::from_be_bytes(exact(element, start)?));
            }
            0xDF15 => {
                self.random_threshold_minor = Some(u32::from_be_bytes(exact(element, start)?));
            }
            0xDF16 => self.max_target_percent_bcd = Some(exact::<1>(element, start)?[0]),
            0xDF17 => self.target_percent_bcd = Some(exact::<1>(element, start)?[0]),
            0xDF14 => self.default_ddol = Some(element.1.to_vec()),
            0xDF18 => self.online_pin = Some(exact::<1>(element, start)? != [0]),
            0x9F7B => self.ecash_limit_bcd = Some(exact(element, start)?),
            0xDF19 => self.contactless_floor_limit_bcd = Some(exact(element, start)?),
            0xDF20 => self.contactless_limit_bcd = Some(exact(element, start)?),
            0xDF21 => self.contactless_cvm_limit_bcd = Some(exact(element, start)?),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_list_of_s13_in_both_date_codings() {
        let field = unhex("31 9F0605A000000333 9F220104 DF05083230333031323331");
        let (status, keys) = parse_capk_list(&field).unwrap();
        assert_eq!(status, DownloadStatus::Complete);
        let listed = ListedCapk { rid: [0xA0, 0, 0, 3, 0x33], index: 4, expiry: *b"20301231" };
        assert_eq!(keys, [listed]);
        assert_eq!(format_capk_list(status, &keys), field);
        let packed = unhex("32 9F0605A000000333 9F220104 DF050420301231");
        assert_eq!(parse_capk_list(&packed), Ok((DownloadStatus::More, vec![listed])));
        assert_eq!(parse_capk_list(b"0"), Ok((DownloadStatus::Nothing, Vec::new())));
        for length in (0..field.len()).filter(|&length| length != 1) {
            assert!(parse_capk_list(&field[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn requests_and_queries() {
        let field = capk_request([0xA0, 0, 0, 3, 0x33], 4);
        assert_eq!(field, unhex("9F0605A000000333 9F220104"));
        assert_eq!(parse_capk_request(&field), Ok(([0xA0, 0, 0, 3, 0x33], 4)));
        assert_eq!(status_query(12), b"112");
        assert_eq!(parse_status_query(b"112"), Ok(12));
        assert!(parse_status_query(b"012").is_err());
        let aid = unhex("A000000333010101");
        assert_eq!(parse_aid_request(&aid_request(&aid)), Ok(aid.clone()));
        let list = format_aid_list(DownloadStatus::Complete, &[&aid, &aid]);
        assert_eq!(parse_aid_list(&list), Ok((DownloadStatus::Complete, vec![aid.clone(), aid])));
    }

    #[test]
    fn a_key_reads_back_and_misses_are_named() {
        let key = Capk {
            rid: [0xA0, 0, 0, 0, 0x65],
            index: 0x12,
            expiry: *b"20141231",
            hash_algorithm: 1,
            key_algorithm: 1,
            modulus: vec![0xB0; 176],
            exponent: vec![3],
            checksum: [7; 20],
        };
        let field = key.format();
        assert_eq!(Capk::parse(&field), Ok(Some(key)));
        assert_eq!(Capk::parse(DOWNLOAD_NOT_AVAILABLE), Ok(None));
        let error = Capk::parse(&field[..field.len() - 23 - 4 - 180]).unwrap_err();
        assert_eq!(error.path.to_string(), "62.DF02");
        for length in 0..field.len() {
            assert!(!matches!(Capk::parse(&field[..length]), Ok(Some(key)) if key.checksum == [7; 20]));
        }
    }

    #[test]
    fn the_sample_of_the_specification() {
        let field = unhex(
            "31 9F0608A000000333010101 DF010100 9F08020020 DF1105D84000A800 DF1205D84004F800 \
             DF13050010000000 9F1B0400000000 DF150400000000 DF160199 DF170199 DF14039F3704 \
             DF180101 9F7B06000000100000 DF1906000000100000 DF2006000999999999 DF2106000000100000",
        );
        let parameters = AidParameters::parse(&field).unwrap().unwrap();
        assert_eq!(parameters.tac_online, Some([0xD8, 0x40, 0x04, 0xF8, 0x00]));
        assert_eq!(parameters.partial_match, Some(true));
        assert_eq!(parameters.format(), field);
        assert!(AidParameters::parse(&field[..field.len() - 1]).is_err());
    }
}
