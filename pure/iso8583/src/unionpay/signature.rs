//! The electronic signature (电子签名): the elements of F55, the image of F62, the feature code in it (unionpay-pos §6.1).

use crate::error::{DecodeError, Expected, FieldPath, Found};
use crate::reader::Reader;

/// Longest F55 of a signature in bytes.
const ELEMENTS_BYTES_MAX: usize = 255;
/// Longest image in bytes; a larger one is signed again.
pub const SIGNATURE_BYTES_MAX: usize = 999;
/// Bytes of a JBIG header (ITU-T T.82 §6.2.2: bi-level image header).
const HEADER_BYTES: usize = 20;

/// Tags of the elements.
pub mod signature_tags {
    /// Merchant name, GBK.
    pub const MERCHANT_NAME: u16 = 0xFF00;
    /// Transaction type in words, GBK.
    pub const TRANSACTION_TYPE: u16 = 0xFF01;
    /// Operator, BCD.
    pub const OPERATOR: u16 = 0xFF02;
    /// Acquirer.
    pub const ACQUIRER: u16 = 0xFF03;
    /// Issuer.
    pub const ISSUER: u16 = 0xFF04;
    /// Date and time, BCD `YYYYMMDDhhmmss`.
    pub const DATE_TIME: u16 = 0xFF06;
    /// Authorisation code.
    pub const AUTHORISATION_CODE: u16 = 0xFF07;
    /// Card organisation.
    pub const ORGANISATION: u16 = 0xFF09;
    /// Currency, three digits.
    pub const CURRENCY: u16 = 0xFF0A;
    /// Application label.
    pub const APPLICATION_LABEL: u16 = 0xFF20;
    /// Application identifier.
    pub const APPLICATION: u16 = 0xFF22;
    /// ARQC or TC.
    pub const CRYPTOGRAM: u16 = 0xFF23;
    /// Voucher of the original, BCD.
    pub const ORIGINAL_VOUCHER: u16 = 0xFF60;
    /// Reference number of the original, BCD.
    pub const ORIGINAL_REFERENCE: u16 = 0xFF62;
    /// Date of the original, BCD `MMDD`.
    pub const ORIGINAL_DATE: u16 = 0xFF63;
    /// Authorisation code of the original.
    pub const ORIGINAL_AUTHORISATION_CODE: u16 = 0xFF64;
    /// Number of receipt copies, BCD.
    pub const COPIES: u16 = 0xFF70;
}

/// One element: two bytes of tag, one of length. Not BER: FF80 would be the beginning of a longer tag there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureElement {
    /// Tag, `FF00` to `FFFF`.
    pub tag: u16,
    /// Value.
    pub value: Vec<u8>,
}

/// F55 from elements, in order. Those for which no room is left are left out: the most important stand first.
#[must_use]
pub fn format_signature_elements(elements: &[SignatureElement]) -> Vec<u8> {
    let mut out = Vec::new();
    for SignatureElement { tag, value } in elements {
        let Ok(length) = u8::try_from(value.len()) else { continue };
        if out.len() + 3 + value.len() <= ELEMENTS_BYTES_MAX {
            out.extend_from_slice(&tag.to_be_bytes());
            out.push(length);
            out.extend_from_slice(value);
        }
    }
    out
}

/// The elements of F55.
///
/// # Errors
/// A cut tag or value, a tag that does not begin with FF.
pub fn parse_signature_elements(field: &[u8]) -> Result<Vec<SignatureElement>, DecodeError> {
    let mut reader = Reader::new(field);
    let mut elements = Vec::new();
    while reader.remaining() > 0 {
        let start = reader.position();
        let tag = reader.take(2, FieldPath::Field(55))?;
        let tag = tag.iter().fold(0, |tag: u16, byte| tag << 8 | u16::from(*byte));
        let path = FieldPath::Tag(55, tag);
        if tag >> 8 != 0xFF {
            let found = Found::Code(u32::from(tag));
            return Err(DecodeError::new(start, path, Expected::Value("a tag from FF00 to FFFF"), found));
        }
        let length = reader.take(1, path)?.first().copied().unwrap_or(0);
        elements.push(SignatureElement { tag, value: reader.take(usize::from(length), path)?.to_vec() });
    }
    Ok(elements)
}

/// The size that a JBIG image announces, in points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureSize {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// Looks at the header of a signature's image: JBIG (ITU-T T.82), one plane, some data behind it. The image itself is not
/// decoded.
///
/// # Errors
/// Longer than [`SIGNATURE_BYTES_MAX`], shorter than a header with data, or a header that T.82 §6.2 does not allow.
pub fn signature_size(image: &[u8]) -> Result<SignatureSize, DecodeError> {
    let refuse = |offset, expected, found| Err(DecodeError::new(offset, FieldPath::Field(62), expected, found));
    if image.len() > SIGNATURE_BYTES_MAX {
        return refuse(0, Expected::AtMost(SIGNATURE_BYTES_MAX), Found::Length(image.len()));
    }
    let Some((header, [_, ..])) = image.split_first_chunk::<HEADER_BYTES>() else {
        return refuse(0, Expected::AtLeast(HEADER_BYTES + 1), Found::Length(image.len()));
    };
    let [first_layer, last_layer, planes, fill, w1, w2, w3, w4, h1, h2, h3, h4, l1, l2, l3, l4, mx, my, order, options] =
        *header;
    let size =
        SignatureSize { width: u32::from_be_bytes([w1, w2, w3, w4]), height: u32::from_be_bytes([h1, h2, h3, h4]) };
    let stripe_lines = u32::from_be_bytes([l1, l2, l3, l4]);
    let sound = first_layer <= last_layer
        && (planes, fill) == (1, 0)
        && size.width > 0
        && size.height > 0
        && stripe_lines > 0
        && mx < 0x80
        && (my < 0x80 || my == 0xFF)
        && order < 0x10
        && options < 0x80;
    if sound {
        Ok(size)
    } else {
        refuse(0, Expected::Value("the header of a JBIG image"), Found::Other("something else"))
    }
}

/// Packs eight decimal digits.
fn packed(digits: &[u8]) -> Option<[u8; 4]> {
    let pairs = <&[u8; 8]>::try_from(digits).ok().filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let mut bytes = [0; 4];
    for (byte, pair) in bytes.iter_mut().zip(pairs.chunks_exact(2)) {
        *byte = (pair[0] - b'0') << 4 | (pair[1] - b'0');
    }
    Some(bytes)
}

fn exclusive_or(left: [u8; 4], right: [u8; 4]) -> [u8; 4] {
    core::array::from_fn(|index| left[index] ^ right[index])
}

/// 交易特征码 of a transaction that the host decided: F15 and the first four digits of F37, against its last eight.
/// `None` if one of them has other characters than digits.
#[must_use]
pub fn feature_code(settlement_mmdd: &[u8; 4], rrn: &[u8; 12]) -> Option<[u8; 4]> {
    let (head, tail) = rrn.split_at(4);
    Some(exclusive_or(packed(&[settlement_mmdd, head].concat())?, packed(tail)?))
}

/// 交易特征码 of a transaction that no host decided: batch and the first two digits of the trace number, against the others.
#[must_use]
pub fn feature_code_offline(batch: u32, trace: u32) -> Option<[u8; 4]> {
    let digits = format!("{batch:06}{trace:06}0000").into_bytes();
    Some(exclusive_or(packed(digits.get(..8)?)?, packed(digits.get(8..)?)?))
}

/// As the watermark shows it: eight hexadecimal characters.
#[must_use]
pub fn feature_code_text(code: [u8; 4]) -> String {
    format!("{:08X}", u32::from_be_bytes(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_codes_by_hand() {
        // 0315 0930 against 15000002.
        assert_eq!(feature_code_text(feature_code(b"0315", b"093015000002").unwrap()), "16150932");
        assert_eq!(feature_code(b"0315", b"09301500000x"), None);
        // 000007 00 against 0002 0000.
        assert_eq!(feature_code_text(feature_code_offline(7, 2).unwrap()), "00020700");
        assert_eq!(feature_code_offline(7_000_000, 2), None);
    }

    #[test]
    fn elements_go_both_ways_and_the_last_ones_give_way() {
        let element = |tag, value: &[u8]| SignatureElement { tag, value: value.to_vec() };
        let elements = [element(signature_tags::OPERATOR, &[1]), element(0xFF80, b"reserved"), element(0xFF70, &[2])];
        let field = format_signature_elements(&elements);
        assert_eq!(field, [b"\xFF\x02\x01\x01\xFF\x80\x08reserved".as_slice(), b"\xFF\x70\x01\x02"].concat());
        assert_eq!(parse_signature_elements(&field).unwrap(), elements);
        let whole = [4, 15];
        for length in (1..field.len()).filter(|length| !whole.contains(length)) {
            assert!(parse_signature_elements(&field[..length]).is_err(), "{length}");
        }
        assert!(parse_signature_elements(b"\x9F\x02\x00").is_err());
        let long =
            format_signature_elements(&[element(0xFF00, &[b'x'; 250]), element(0xFF01, b"y"), element(0xFF0A, b"")]);
        assert_eq!((long.len(), parse_signature_elements(&long).unwrap().len()), (253, 1));
    }

    /// 384 by 120 points, one stripe, one byte of data.
    const IMAGE: [u8; 21] = [0, 0, 1, 0, 0, 0, 1, 0x80, 0, 0, 0, 120, 0, 0, 0, 120, 0, 0, 0, 0x40, 0xFF];

    #[test]
    fn a_jbig_header_says_how_large_it_is() {
        assert_eq!(signature_size(&IMAGE), Ok(SignatureSize { width: 384, height: 120 }));
        let mut longest = IMAGE.to_vec();
        longest.resize(SIGNATURE_BYTES_MAX, 0);
        assert!(signature_size(&longest).is_ok());
        longest.push(0);
        assert_eq!(signature_size(&longest).unwrap_err().expected, Expected::AtMost(999));
    }

    #[test]
    fn what_is_no_jbig_image_is_refused() {
        assert!((0..21).all(|length| signature_size(&IMAGE[..length]).is_err()));
        for (at, value) in [(0, 1), (2, 0), (2, 2), (3, 1), (16, 0x80), (17, 0x80), (18, 0x10), (19, 0x80)] {
            let mut image = IMAGE;
            image[at] = value;
            assert!(signature_size(&image).is_err(), "byte {at}");
        }
        for at in [4..8, 8..12, 12..16] {
            let mut image = IMAGE;
            image[at].fill(0);
            assert!(signature_size(&image).is_err());
        }
        assert!(signature_size(b"\x89PNG\r\n\x1A\n and the rest of it").is_err());
    }
}
