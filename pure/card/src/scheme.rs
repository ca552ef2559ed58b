//! Which rules a card's cryptograms follow, and what an issuer must feed into them.

use paycrypto::TdesKey;
use paycrypto::emv::{CryptogramVersion, IccMasterKeys};
use types::{Pan, Secret};

/// Length of a double-length TDES key.
pub const ISSUER_KEY_BYTES: usize = 16;

/// A scheme's cryptogram version. For every one the cryptogram covers, in this order, 9F02, 9F03, 9F1A, 95, 5F2A, 9A,
/// 9C, 9F37 (as the terminal sent them), 82, 9F36 and then the [`CryptogramScheme::issuer_part`] of 9F10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CryptogramScheme {
    /// UnionPay, PBOC 3.0 (JR/T 0025), CVN 01. Session keys by ATC and its complement; ARPC method 1.
    /// 9F10 = `07 DKI CVN CVR(4) algorithm`.
    UnionPay,
    /// Visa CVN 10 (VIS 1.6): the master key itself, padded with zeros; ARPC method 1. 9F10 = `06 DKI CVN CVR(4)`.
    VisaCvn10,
    /// Visa CVN 18: EMV common session key; ARPC method 2 (91 = ARPC(4) ‖ CSU(4)). 9F10 as CVN 10, all of it covered.
    VisaCvn18,
    /// Mastercard CVN 20 (M/Chip 4): EMV common session key; ARPC method 1. 9F10 = `DKI CVN CVR(6) DAC(2) counters(8)`.
    MastercardCvn20,
}

impl CryptogramScheme {
    /// Cryptogram version number as 9F10 carries it.
    pub const fn cryptogram_version_number(self) -> u8 {
        match self {
            Self::UnionPay => 0x01,
            Self::VisaCvn10 => 0x0A,
            Self::VisaCvn18 => 0x12,
            Self::MastercardCvn20 => 0x14,
        }
    }

    /// Where in 9F10 the version number stands.
    pub const fn cryptogram_version_offset(self) -> usize {
        match self {
            Self::UnionPay | Self::VisaCvn10 | Self::VisaCvn18 => 2,
            Self::MastercardCvn20 => 1,
        }
    }

    /// The part of 9F10 that the cryptogram covers: the card verification results, with Visa CVN 18 all of it. `None`
    /// if 9F10 is too short to be one of this scheme.
    pub fn issuer_part(self, issuer_application_data: &[u8]) -> Option<&[u8]> {
        match self {
            Self::UnionPay | Self::VisaCvn10 => issuer_application_data.get(3..7),
            Self::VisaCvn18 => Some(issuer_application_data),
            Self::MastercardCvn20 => issuer_application_data.get(2..8),
        }
    }

    /// Bytes of a script command's MAC.
    pub const fn script_mac_bytes(self) -> usize {
        match self {
            Self::UnionPay => 4,
            Self::VisaCvn10 | Self::VisaCvn18 | Self::MastercardCvn20 => 8,
        }
    }

    /// The same rules in the words of `paycrypto`.
    pub const fn version(self) -> CryptogramVersion {
        match self {
            Self::UnionPay => CryptogramVersion::Pboc,
            Self::VisaCvn10 => CryptogramVersion::VisaCvn10,
            Self::VisaCvn18 => CryptogramVersion::VisaCvn18,
            Self::MastercardCvn20 => CryptogramVersion::MastercardCvn20,
        }
    }
}

/// An issuer's three master keys (EMV 4.4 Book 2 annex A1.4), double-length TDES.
#[derive(Debug)]
pub struct IssuerMasterKeys {
    /// Application cryptograms.
    pub cryptogram: Secret<ISSUER_KEY_BYTES>,
    /// Secure messaging for integrity (script MACs).
    pub integrity: Secret<ISSUER_KEY_BYTES>,
    /// Secure messaging for confidentiality (enciphered script data).
    pub confidentiality: Secret<ISSUER_KEY_BYTES>,
}

impl IssuerMasterKeys {
    /// The TEST keys of a scheme's built-in issuer. They are public with this source.
    pub fn test(scheme: CryptogramScheme) -> Self {
        let [cryptogram, integrity, confidentiality] = match scheme {
            CryptogramScheme::UnionPay => [
                "F73E7A34FB250BC49E043149A25B20E5",
                "01DF5B9D2676858C75B992D55E5BB515",
                "45CE8FD5CB2A523DD0BAA8C1C8546407",
            ],
            CryptogramScheme::VisaCvn10 | CryptogramScheme::VisaCvn18 => [
                "E6404564F77F490283B9EF7A0776AD85",
                "B9BF3D07B63D547A8634584C8CD35E45",
                "0BF4DA32AB02D06EE9080BECE6DC4375",
            ],
            CryptogramScheme::MastercardCvn20 => [
                "FD68A4DC4637F4E986ADB9D3A48CB689",
                "A8ECAB1AD65E9470DC10166292E5EFF7",
                "041052E69283CEDFA245FBC2078A5129",
            ],
        }
        .map(|text| Secret::take(&mut crate::hex::array(text)));
        Self { cryptogram, integrity, confidentiality }
    }

    /// An explicit second copy.
    pub fn duplicate(&self) -> Self {
        Self {
            cryptogram: self.cryptogram.duplicate(),
            integrity: self.integrity.duplicate(),
            confidentiality: self.confidentiality.duplicate(),
        }
    }

    /// The master keys of one card.
    pub(crate) fn derive(&self, scheme: CryptogramScheme, pan: &Pan, sequence_number: u8) -> IccMasterKeys {
        let derive = |key: &Secret<ISSUER_KEY_BYTES>| {
            let master = TdesKey::new(key.expose()).expect("sixteen bytes are a key");
            let account = pan.expose().as_bytes();
            scheme.version().icc_master_key(&master, account, sequence_number).expect("a PAN and a number below 100")
        };
        IccMasterKeys {
            cryptogram: derive(&self.cryptogram),
            integrity: derive(&self.integrity),
            confidentiality: derive(&self.confidentiality),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_part_needs_a_whole_9f10() {
        let data = crate::hex::bytes("06010A03A0B800");
        assert_eq!(CryptogramScheme::VisaCvn10.issuer_part(&data), Some(&data[3..7]));
        assert_eq!(CryptogramScheme::VisaCvn18.issuer_part(&data), Some(&data[..]));
        assert_eq!(CryptogramScheme::UnionPay.issuer_part(&data[..6]), None);
        assert_eq!(CryptogramScheme::MastercardCvn20.issuer_part(&data[..7]), None);
    }

    #[test]
    fn test_keys_have_odd_parity() {
        for scheme in [CryptogramScheme::UnionPay, CryptogramScheme::VisaCvn10, CryptogramScheme::MastercardCvn20] {
            let keys = IssuerMasterKeys::test(scheme);
            for key in [&keys.cryptogram, &keys.integrity, &keys.confidentiality] {
                assert!(key.expose().iter().all(|byte| byte.count_ones() % 2 == 1));
            }
        }
    }
}
