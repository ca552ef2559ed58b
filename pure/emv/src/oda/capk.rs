//! Certification authority public keys: loading, checking, looking up, revoking (EMV 4.4 Book 2 §5.2, §11.2.2).

use super::recovered::sha1;
use super::{HASH_ALGORITHM_SHA1, HASH_BYTES, KEY_ALGORITHM_RSA, OdaError, RsaPublicKey};
use crate::date::{EmvDate, bcd_value};
use num_bigint_dig::BigUint;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tlv::{Elements, Tag, TlvError, tags};

/// Bytes of a registered application provider identifier.
pub const RID_BYTES: usize = 5;

/// Hash algorithm indicator of SM3 (UnionPay).
pub const HASH_ALGORITHM_SM3: u8 = 0x07;
/// Public key algorithm indicator of SM2 (UnionPay).
pub const KEY_ALGORITHM_SM2: u8 = 0x04;

const SM2_COORDINATE_BYTES: usize = 32;
const SM2_P: &[u8] = b"FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF";
const SM2_B: &[u8] = b"28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93";

/// Why a key is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CapkError {
    /// The checksum is not SHA-1 of RID, index, modulus and exponent.
    #[error("checksum does not match the key")]
    Checksum,
    /// The expiry is no date.
    #[error("expiry is not a date")]
    Expiry,
    /// A download is malformed.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// An object of a download is missing or has a wrong length.
    #[error("object {tag} is missing or has a wrong length")]
    Object {
        /// Which object.
        tag: Tag,
    },
    /// The algorithm indicators are not SHA-1 with RSA.
    #[error("algorithm is not supported")]
    Algorithm,
    /// The point is not on the SM2 curve.
    #[error("point is not on the curve")]
    NotOnCurve,
}

/// What a key is made from.
#[derive(Clone, Copy, Debug)]
pub struct CapkParts<'a> {
    /// Registered application provider identifier.
    pub rid: [u8; RID_BYTES],
    /// Index within the RID.
    pub index: u8,
    /// Modulus, big-endian.
    pub modulus: &'a [u8],
    /// Exponent, big-endian.
    pub exponent: &'a [u8],
    /// Last day of use; `None` when the scheme set none.
    pub expiry: Option<EmvDate>,
    /// Checksum to verify; `None` trusts the caller's own integrity protection.
    pub checksum: Option<[u8; HASH_BYTES]>,
}

/// A certification authority public key whose checksum was right.
///
/// Scheme lists still carry keys nobody may verify with: exponent 2, moduli beyond 248 bytes. They load, so that a list
/// is complete, but [`Capk::key`] refuses them.
#[derive(Clone, PartialEq, Eq)]
pub struct Capk {
    rid: [u8; RID_BYTES],
    index: u8,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    expiry: Option<EmvDate>,
}

impl core::fmt::Debug for Capk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let rid = crate::bits::hex(&self.rid);
        write!(f, "Capk({rid} {:02X}, {} bits, expiry {:?})", self.index, self.modulus.len() * 8, self.expiry)
    }
}

impl Capk {
    /// Checks and builds a key.
    ///
    /// # Errors
    /// [`CapkError::Checksum`].
    pub fn new(parts: &CapkParts<'_>) -> Result<Capk, CapkError> {
        let computed = Capk::checksum_of(&parts.rid, parts.index, parts.modulus, parts.exponent);
        if parts.checksum.is_some_and(|listed| listed != computed) {
            return Err(CapkError::Checksum);
        }
        Ok(Capk {
            rid: parts.rid,
            index: parts.index,
            modulus: parts.modulus.to_vec(),
            exponent: parts.exponent.to_vec(),
            expiry: parts.expiry,
        })
    }

    /// SHA-1 over RID, index, modulus and exponent (Book 2 §11.2.2).
    pub fn checksum_of(rid: &[u8; RID_BYTES], index: u8, modulus: &[u8], exponent: &[u8]) -> [u8; HASH_BYTES] {
        sha1(&[rid, &[index], modulus, exponent])
    }

    /// Reads a key as a UnionPay parameter download carries it: 9F06, 9F22, DF05, DF06, DF07, DF02, DF04, DF03.
    ///
    /// # Errors
    /// See [`CapkError`].
    pub fn parse_download(bytes: &[u8]) -> Result<Capk, CapkError> {
        let objects = Elements::new(bytes).collect::<Result<Vec<_>, _>>()?;
        let get = |tag: Tag| {
            objects.iter().find(|object| object.tag == tag).map(|object| object.value).ok_or(CapkError::Object { tag })
        };
        let indicator = |tag: Tag| get(tag).ok().and_then(|value| value.first().copied());
        let foreign_hash = indicator(tags::CAPK_HASH_ALGORITHM).is_some_and(|value| value != HASH_ALGORITHM_SHA1);
        let foreign_key = indicator(tags::CAPK_KEY_ALGORITHM).is_some_and(|value| value != KEY_ALGORITHM_RSA);
        if foreign_hash || foreign_key {
            return Err(CapkError::Algorithm);
        }
        let expiry = get(tags::CAPK_EXPIRY).ok().map(parse_expiry).transpose()?;
        Capk::new(&CapkParts {
            rid: array(tags::AID_TERMINAL, get(tags::AID_TERMINAL)?)?,
            index: array::<1>(tags::CAPK_INDEX_TERMINAL, get(tags::CAPK_INDEX_TERMINAL)?)?[0],
            modulus: get(tags::CAPK_MODULUS)?,
            exponent: get(tags::CAPK_EXPONENT)?,
            expiry,
            checksum: Some(array(tags::CAPK_CHECKSUM, get(tags::CAPK_CHECKSUM)?)?),
        })
    }

    /// Registered application provider identifier.
    pub fn rid(&self) -> [u8; RID_BYTES] {
        self.rid
    }

    /// Index within the RID.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The modulus, big-endian.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The exponent, big-endian.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// The key to verify with.
    ///
    /// # Errors
    /// [`OdaError::Modulus`], [`OdaError::Exponent`] for a key outside what EMV allows.
    pub fn key(&self) -> Result<RsaPublicKey, OdaError> {
        RsaPublicKey::new(&self.modulus, &self.exponent)
    }

    /// Last day of use.
    pub fn expiry(&self) -> Option<EmvDate> {
        self.expiry
    }
}

fn array<const N: usize>(tag: Tag, value: &[u8]) -> Result<[u8; N], CapkError> {
    value.try_into().map_err(|_| CapkError::Object { tag })
}

/// Reads an expiry written as eight ASCII digits or four BCD bytes, YYYYMMDD.
fn parse_expiry(value: &[u8]) -> Result<EmvDate, CapkError> {
    let digits: Vec<u8> = match value.len() {
        8 => value.iter().map(|byte| byte.wrapping_sub(b'0')).collect(),
        4 => super::issuer::nibbles(value),
        _ => return Err(CapkError::Expiry),
    };
    let pairs = digits.chunks(2).map(|pair| match *pair {
        [high @ 0..=9, low @ 0..=9] => bcd_value(high << 4 | low),
        _ => None,
    });
    let numbers: Option<Vec<u8>> = pairs.collect();
    match numbers.as_deref() {
        Some(&[century, year, month, day]) => {
            EmvDate::new(u16::from(century) * 100 + u16::from(year), month, day).map_err(|_| CapkError::Expiry)
        }
        _ => Err(CapkError::Expiry),
    }
}

/// The keys a terminal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapkSet {
    keys: BTreeMap<([u8; RID_BYTES], u8), Capk>,
}

impl CapkSet {
    /// No key.
    pub fn new() -> Self {
        CapkSet::default()
    }

    /// Adds a key, in place of one with the same RID and index.
    pub fn insert(&mut self, capk: Capk) {
        self.keys.insert((capk.rid, capk.index), capk);
    }

    /// Removes a key.
    pub fn remove(&mut self, rid: &[u8; RID_BYTES], index: u8) -> Option<Capk> {
        self.keys.remove(&(*rid, index))
    }

    /// Finds a key.
    pub fn get(&self, rid: &[u8; RID_BYTES], index: u8) -> Option<&Capk> {
        self.keys.get(&(*rid, index))
    }

    /// Finds a key that has not expired.
    ///
    /// # Errors
    /// [`OdaError::CapkMissing`], [`OdaError::CapkExpired`].
    pub fn usable(&self, rid: &[u8; RID_BYTES], index: u8, date: EmvDate) -> Result<&Capk, OdaError> {
        let capk = self.get(rid, index).ok_or(OdaError::CapkMissing)?;
        if capk.expiry.is_some_and(|expiry| date > expiry) {
            return Err(OdaError::CapkExpired);
        }
        Ok(capk)
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, by RID and index.
    pub fn iter(&self) -> impl Iterator<Item = &Capk> {
        self.keys.values()
    }
}

/// Issuer certificates a scheme withdrew (Book 2 §5.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationList {
    entries: BTreeSet<([u8; RID_BYTES], u8, [u8; 3])>,
}

impl RevocationList {
    /// Withdraws the certificate with this serial number under a key.
    pub fn revoke(&mut self, rid: [u8; RID_BYTES], capk_index: u8, serial_number: [u8; 3]) {
        self.entries.insert((rid, capk_index, serial_number));
    }

    /// Whether a certificate is withdrawn.
    pub fn is_revoked(&self, rid: [u8; RID_BYTES], capk_index: u8, serial_number: [u8; 3]) -> bool {
        self.entries.contains(&(rid, capk_index, serial_number))
    }
}

/// A certification authority public key of the national suite, SM2 with SM3. It can be loaded and listed; the kernel's
/// contact data authentication is RSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sm2Capk {
    /// Registered application provider identifier.
    pub rid: [u8; RID_BYTES],
    /// Index within the RID.
    pub index: u8,
    /// X coordinate, big-endian.
    pub x: [u8; SM2_COORDINATE_BYTES],
    /// Y coordinate, big-endian.
    pub y: [u8; SM2_COORDINATE_BYTES],
}

impl Sm2Capk {
    /// Checks the algorithm indicators and that the point is on the curve (GB/T 32918.5).
    ///
    /// # Errors
    /// [`CapkError::Algorithm`], [`CapkError::NotOnCurve`].
    pub fn new(
        rid: [u8; RID_BYTES],
        index: u8,
        algorithms: (u8, u8),
        x: [u8; SM2_COORDINATE_BYTES],
        y: [u8; SM2_COORDINATE_BYTES],
    ) -> Result<Sm2Capk, CapkError> {
        if algorithms != (HASH_ALGORITHM_SM3, KEY_ALGORITHM_SM2) {
            return Err(CapkError::Algorithm);
        }
        if !is_on_sm2_curve(&x, &y) {
            return Err(CapkError::NotOnCurve);
        }
        Ok(Sm2Capk { rid, index, x, y })
    }
}

/// y² = x³ − 3x + b over the SM2 field.
fn is_on_sm2_curve(x: &[u8], y: &[u8]) -> bool {
    let number = |digits| BigUint::parse_bytes(digits, 16).expect("constant is hexadecimal");
    let (p, b) = (number(SM2_P), number(SM2_B));
    let (x, y) = (BigUint::from_bytes_be(x), BigUint::from_bytes_be(y));
    if x >= p || y >= p {
        return false;
    }
    let minus_three = &p - BigUint::from(3u32);
    let right = (&x * &x * &x + minus_three * &x + b) % &p;
    (&y * &y) % &p == right
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(checksum: Option<[u8; HASH_BYTES]>) -> CapkParts<'static> {
        CapkParts {
            rid: [0xA0, 0, 0, 3, 0x33],
            index: 1,
            modulus: &[0x0C, 0xA1],
            exponent: &[3],
            expiry: EmvDate::new(2030, 12, 31).ok(),
            checksum,
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let right = Capk::checksum_of(&[0xA0, 0, 0, 3, 0x33], 1, &[0x0C, 0xA1], &[3]);
        assert!(Capk::new(&parts(Some(right))).is_ok());
        assert_eq!(Capk::new(&parts(Some([0; HASH_BYTES]))), Err(CapkError::Checksum));
    }

    #[test]
    fn an_expired_key_is_told_from_a_missing_one() {
        let mut set = CapkSet::new();
        set.insert(Capk::new(&parts(None)).expect("key"));
        let rid = [0xA0, 0, 0, 3, 0x33];
        let on_last_day = EmvDate::new(2030, 12, 31).expect("date");
        let after = EmvDate::new(2031, 1, 1).expect("date");
        assert!(set.usable(&rid, 1, on_last_day).is_ok());
        assert_eq!(set.usable(&rid, 1, after), Err(OdaError::CapkExpired));
        assert_eq!(set.usable(&rid, 2, after), Err(OdaError::CapkMissing));
    }

    #[test]
    fn expiry_is_read_in_both_writings() {
        let expected = EmvDate::new(2025, 12, 31).expect("date");
        assert_eq!(parse_expiry(b"20251231"), Ok(expected));
        assert_eq!(parse_expiry(&[0x20, 0x25, 0x12, 0x31]), Ok(expected));
        assert_eq!(parse_expiry(b"2025123x"), Err(CapkError::Expiry));
    }

    #[test]
    fn the_generator_is_on_the_curve_and_its_neighbour_is_not() {
        let bytes = |digits: &[u8]| -> [u8; 32] {
            BigUint::parse_bytes(digits, 16).expect("hex").to_bytes_be().try_into().expect("32 bytes")
        };
        let x = bytes(b"32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7");
        let mut y = bytes(b"BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0");
        assert!(is_on_sm2_curve(&x, &y));
        y[31] ^= 1;
        assert!(!is_on_sm2_curve(&x, &y));
    }

    proptest! {
        #[test]
        fn downloads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Capk::parse_download(&bytes);
        }
    }
}
