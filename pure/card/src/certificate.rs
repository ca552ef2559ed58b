//! Certificates and signatures that offline data authentication checks (EMV 4.4 Book 2 §5, §6 and annex A2.1).
//!
//! All have one form: `6A ‖ content ‖ SHA-1(content ‖ data outside the signature) ‖ BC`, raw RSA over it.

use crate::rsa::RsaPrivateKey;
use sha1::{Digest, Sha1};
use types::{Expiry, Pan};

const HEADER: u8 = 0x6A;
const TRAILER: u8 = 0xBC;
const PADDING: u8 = 0xBB;
/// Header, hash and trailer around the content.
const FRAME_BYTES: usize = 22;
/// What an issuer certificate leaves of the CA's modulus for the issuer's key is 36 bytes less (Book 2 table 6).
const ISSUER_CERTIFICATE_OVERHEAD_BYTES: usize = 36;
/// What an ICC certificate leaves of the issuer's modulus for the card's key is 42 bytes less (Book 2 table 14).
const ICC_CERTIFICATE_OVERHEAD_BYTES: usize = 42;

const FORMAT_ISSUER_CERTIFICATE: u8 = 0x02;
const FORMAT_STATIC_DATA: u8 = 0x03;
const FORMAT_ICC_CERTIFICATE: u8 = 0x04;
const FORMAT_DYNAMIC_DATA: u8 = 0x05;
const HASH_SHA1: u8 = 0x01;
const ALGORITHM_RSA: u8 = 0x01;
/// Digits of an issuer identifier in a certificate; shorter ones are filled with F.
const ISSUER_IDENTIFIER_DIGITS: usize = 8;
const PAN_NIBBLES: usize = 20;

/// A key that does not fit the certificate it has to go into, or a signer too short for its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key lengths do not fit: a signer of {signer_bytes} bytes cannot carry this content")]
pub struct KeyTooShort {
    /// Length of the signer's modulus.
    pub signer_bytes: usize,
}

/// A public key certificate and the part of the key that did not fit into it.
pub(crate) struct Certificate {
    pub certificate: Vec<u8>,
    pub remainder: Vec<u8>,
    pub exponent: Vec<u8>,
}

/// Last month of validity and serial number of a certificate.
#[derive(Clone, Copy)]
pub(crate) struct Validity {
    pub expiry: Expiry,
    pub serial_number: [u8; 3],
}

/// Signs an issuer's public key (Book 2 §5.1 and §6.1: tags 90, 92, 9F32).
pub(crate) fn issuer_certificate(
    authority: &RsaPrivateKey,
    issuer: &RsaPrivateKey,
    pan: &Pan,
    validity: Validity,
) -> Result<Certificate, KeyTooShort> {
    let identifier = pack_digits(&pan.expose()[..ISSUER_IDENTIFIER_DIGITS], ISSUER_IDENTIFIER_DIGITS);
    let lead = [&[FORMAT_ISSUER_CERTIFICATE], &identifier[..]].concat();
    certify(authority, issuer, ISSUER_CERTIFICATE_OVERHEAD_BYTES, &lead, validity, &[])
}

/// Signs a card's public key together with its static data (Book 2 §6.1: tags 9F46, 9F48, 9F47). For a PIN encipherment
/// key (§7.1: tags 9F2D, 9F2F, 9F2E) there is no static data.
pub(crate) fn icc_certificate(
    issuer: &RsaPrivateKey,
    icc: &RsaPrivateKey,
    pan: &Pan,
    validity: Validity,
    static_data: &[u8],
) -> Result<Certificate, KeyTooShort> {
    let number = pack_digits(pan.expose(), PAN_NIBBLES);
    let lead = [&[FORMAT_ICC_CERTIFICATE], &number[..]].concat();
    certify(issuer, icc, ICC_CERTIFICATE_OVERHEAD_BYTES, &lead, validity, static_data)
}

fn certify(
    signer: &RsaPrivateKey,
    subject: &RsaPrivateKey,
    overhead_bytes: usize,
    lead: &[u8],
    validity: Validity,
    static_data: &[u8],
) -> Result<Certificate, KeyTooShort> {
    let too_short = KeyTooShort { signer_bytes: signer.modulus_bytes() };
    let room = signer.modulus_bytes().checked_sub(overhead_bytes).ok_or(too_short)?;
    let (modulus, exponent) = (subject.modulus(), subject.exponent());
    let (inside, remainder) = modulus.split_at(room.min(modulus.len()));
    let mut content = lead.to_vec();
    content.extend(month_and_year(validity.expiry));
    content.extend(validity.serial_number);
    content.extend([HASH_SHA1, ALGORITHM_RSA, byte_length(&modulus)?, byte_length(&exponent)?]);
    content.extend_from_slice(inside);
    let certificate = sign(signer, content, &[remainder, &exponent, static_data])?;
    Ok(Certificate { certificate, remainder: remainder.to_vec(), exponent })
}

/// Signs the card's static data (Book 2 §5.1: tag 93), with the data authentication code.
pub(crate) fn static_signature(
    issuer: &RsaPrivateKey,
    authentication_code: [u8; 2],
    static_data: &[u8],
) -> Result<Vec<u8>, KeyTooShort> {
    let content = [&[FORMAT_STATIC_DATA, HASH_SHA1], &authentication_code[..]].concat();
    sign(issuer, content, &[static_data])
}

/// Signs dynamic data (Book 2 §6.5.1 and §6.6.1: tag 9F4B). `terminal_data` is what the terminal knows: the DDOL's
/// values, or the unpredictable number with CDA.
pub(crate) fn dynamic_signature(
    icc: &RsaPrivateKey,
    dynamic_data: &[u8],
    terminal_data: &[u8],
) -> Result<Vec<u8>, KeyTooShort> {
    let lead = [FORMAT_DYNAMIC_DATA, HASH_SHA1, byte_length(dynamic_data)?];
    sign(icc, [&lead, dynamic_data].concat(), &[terminal_data])
}

fn byte_length(bytes: &[u8]) -> Result<u8, KeyTooShort> {
    u8::try_from(bytes.len()).map_err(|_| KeyTooShort { signer_bytes: bytes.len() })
}

fn sign(signer: &RsaPrivateKey, mut content: Vec<u8>, hashed_too: &[&[u8]]) -> Result<Vec<u8>, KeyTooShort> {
    let too_short = KeyTooShort { signer_bytes: signer.modulus_bytes() };
    let content_bytes = signer.modulus_bytes().checked_sub(FRAME_BYTES).ok_or(too_short)?;
    if content.len() > content_bytes {
        return Err(too_short);
    }
    content.resize(content_bytes, PADDING);
    let mut hash = Sha1::new().chain_update(&content);
    hashed_too.iter().for_each(|part| hash.update(part));
    let block = [&[HEADER], &content[..], &hash.finalize()[..], &[TRAILER]].concat();
    signer.apply(&block).ok_or(too_short)
}

/// MMYY in BCD.
fn month_and_year(expiry: Expiry) -> [u8; 2] {
    [packed_decimal(expiry.month()), packed_decimal(expiry.year())]
}

/// Two decimal digits in one byte.
pub(crate) fn packed_decimal(value: u8) -> u8 {
    ((value / 10 % 10) << 4) | (value % 10)
}

/// ASCII digits two to a byte, filled with F on the right to `nibbles`. Hexadecimal letters pass as they are, so that
/// a track separator D can be packed too.
pub(crate) fn pack_digits(digits: &str, nibbles: usize) -> Vec<u8> {
    let value = |character: char| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0xF);
    let mut all: Vec<u8> = digits.chars().map(value).collect();
    all.resize(nibbles.max(all.len()).next_multiple_of(2), 0xF);
    all.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_packed_and_filled() {
        assert_eq!(pack_digits("12345", 8), [0x12, 0x34, 0x5F, 0xFF]);
        assert_eq!(pack_digits("12D3", 0), [0x12, 0xD3]);
        assert_eq!(packed_decimal(49), 0x49);
    }

    #[test]
    fn a_key_too_short_for_its_content_is_refused() {
        let icc = RsaPrivateKey::from_test_key(&crate::test_keys::UNIONPAY_CREDIT_ICC);
        assert!(dynamic_signature(&icc, &[0; 120], &[]).is_err());
        assert!(dynamic_signature(&icc, &[0; 300], &[]).is_err());
    }
}
