//! The public halves of the test authorities, for hosts that serve them to terminals.

use crate::personalisation::TEST_CAPK_INDEX;
use crate::rsa::{RsaPrivateKey, TestRsaKey};
use crate::test_keys;
use sha1::{Digest, Sha1};
use types::LocalDate;

/// RID of UnionPay.
pub const RID_UNIONPAY: [u8; 5] = [0xA0, 0x00, 0x00, 0x03, 0x33];
/// RID of Visa.
pub const RID_VISA: [u8; 5] = [0xA0, 0x00, 0x00, 0x00, 0x03];
/// RID of Mastercard.
pub const RID_MASTERCARD: [u8; 5] = [0xA0, 0x00, 0x00, 0x00, 0x04];

/// Year in which the test authorities end, on its last day. Certificates' two-digit years reach 2049.
const TEST_CAPK_EXPIRY_YEAR: u16 = 2049;

/// A certification authority's public key as a parameter download carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestCapk {
    /// Registered application provider (tag 9F06 in the download).
    pub rid: [u8; 5],
    /// Key index (tag 9F22). E0: a TEST key, no scheme published one under it.
    pub index: u8,
    /// Modulus, big-endian.
    pub modulus: Vec<u8>,
    /// Public exponent, big-endian: 03 or 010001.
    pub exponent: Vec<u8>,
    /// Last day of validity.
    pub expiry: LocalDate,
    /// SHA-1 over RID, index, modulus and exponent (EMV 4.4 Book 2 §11.2.2).
    pub checksum: [u8; 20],
}

/// The TEST authorities a terminal needs for the built-in cards. The authority of `revoked-capk` is not among them.
pub fn test_capks() -> Vec<TestCapk> {
    [
        (RID_UNIONPAY, &test_keys::UNIONPAY_CA),
        (RID_VISA, &test_keys::VISA_CA),
        (RID_MASTERCARD, &test_keys::MASTERCARD_CA),
    ]
    .map(|(rid, key)| capk(rid, TEST_CAPK_INDEX, key))
    .into()
}

pub(crate) fn capk(rid: [u8; 5], index: u8, key: &TestRsaKey) -> TestCapk {
    let key = RsaPrivateKey::from_test_key(key);
    let (modulus, exponent) = (key.modulus(), key.exponent());
    let hash = Sha1::new().chain_update(rid).chain_update([index]).chain_update(&modulus).chain_update(&exponent);
    TestCapk {
        rid,
        index,
        checksum: hash.finalize().into(),
        expiry: LocalDate::new(TEST_CAPK_EXPIRY_YEAR, 12, 31).expect("a calendar date"),
        modulus,
        exponent,
    }
}
