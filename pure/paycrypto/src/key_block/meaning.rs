//! The header's codes in words, for people. Nothing here decides anything.

use super::field::{Algorithm, Exportability, KeyContext, KeyUsage, ModeOfUse, Version};
use super::optional::BlockId;

const UNKNOWN: &str = "not defined by the standard";

impl Version {
    /// The binding method in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::A => "TDES, key variants (2005), import only",
            Self::B => "TDES, key derivation (2010)",
            Self::C => "TDES, key variants (2010), import only",
            Self::D => "AES in CBC mode, key derivation (2017)",
            Self::E => "AES in counter mode, key derivation (ISO 20038)",
        }
    }
}

const USAGES: [(KeyUsage, &str); 43] = [
    (KeyUsage::BASE_DERIVATION, "base derivation key of DUKPT"),
    (KeyUsage::DUKPT_INITIAL, "initial key of DUKPT"),
    (KeyUsage::BASE_VARIANT, "base key of variants (deprecated)"),
    (KeyUsage::KEY_DERIVATION, "key derivation key"),
    (KeyUsage::CARD_VERIFICATION, "card verification key"),
    (KeyUsage::DATA, "data encryption, symmetric"),
    (KeyUsage::ASYMMETRIC_DATA, "data encryption, asymmetric"),
    (KeyUsage::DECIMALISATION_TABLE, "encryption of decimalisation tables"),
    (KeyUsage::SENSITIVE_DATA, "encryption of sensitive data"),
    (KeyUsage::EMV_APPLICATION_CRYPTOGRAM, "EMV issuer master key: application cryptograms"),
    (KeyUsage::EMV_MESSAGING_CONFIDENTIALITY, "EMV issuer master key: secure messaging, confidentiality"),
    (KeyUsage::EMV_MESSAGING_INTEGRITY, "EMV issuer master key: secure messaging, integrity"),
    (KeyUsage::EMV_DATA_AUTHENTICATION_CODE, "EMV issuer master key: data authentication codes"),
    (KeyUsage::EMV_DYNAMIC_NUMBERS, "EMV issuer master key: dynamic numbers"),
    (KeyUsage::EMV_PERSONALISATION, "EMV issuer master key: card personalisation"),
    (KeyUsage::EMV_OTHER, "EMV issuer master key: other"),
    (KeyUsage::EMV_ASYMMETRIC_PIN, "EMV asymmetric key pair for PIN encipherment"),
    (KeyUsage::INITIALISATION_VECTOR, "initialisation vector"),
    (KeyUsage::KEY_ENCRYPTION, "key encryption or wrapping"),
    (KeyUsage::KEY_BLOCK_PROTECTION, "key block protection key"),
    (KeyUsage::TR34_ASYMMETRIC, "asymmetric key pair of TR-34"),
    (KeyUsage::ASYMMETRIC_KEY_AGREEMENT, "asymmetric key pair for key wrapping or agreement"),
    (KeyUsage::ISO_20038_PROTECTION, "key block protection key of ISO 20038"),
    (KeyUsage::MAC_ISO_16609, "MAC: ISO 16609 algorithm 1 with TDES"),
    (KeyUsage::MAC_ALGORITHM_1, "MAC: ISO/IEC 9797-1 algorithm 1 (CBC-MAC)"),
    (KeyUsage::MAC_ALGORITHM_2, "MAC: ISO/IEC 9797-1 algorithm 2"),
    (KeyUsage::MAC_ALGORITHM_3, "MAC: ISO/IEC 9797-1 algorithm 3 (retail MAC)"),
    (KeyUsage::MAC_ALGORITHM_4, "MAC: ISO/IEC 9797-1 algorithm 4"),
    (KeyUsage::MAC_ALGORITHM_5_1999, "MAC: ISO/IEC 9797-1:1999 algorithm 5 (legacy)"),
    (KeyUsage::CMAC, "MAC: ISO/IEC 9797-1:2011 algorithm 5 (CMAC)"),
    (KeyUsage::HMAC, "HMAC"),
    (KeyUsage::MAC_ALGORITHM_6, "MAC: ISO/IEC 9797-1 algorithm 6"),
    (KeyUsage::PIN_ENCRYPTION, "PIN encryption"),
    (KeyUsage::PIN_GENERATION, "PIN generation"),
    (KeyUsage::SIGNATURE, "asymmetric key pair for signatures"),
    (KeyUsage::CERTIFICATION_AUTHORITY, "asymmetric key pair of a certification authority"),
    (KeyUsage::ASYMMETRIC_OTHER, "asymmetric key pair, other"),
    (KeyUsage::PIN_VERIFICATION, "PIN verification, other algorithm"),
    (KeyUsage::PIN_VERIFICATION_IBM_3624, "PIN verification, IBM 3624"),
    (KeyUsage::PIN_VERIFICATION_PVV, "PIN verification, Visa PVV"),
    (KeyUsage::PIN_VERIFICATION_X9_132_1, "PIN verification, X9.132 algorithm 1"),
    (KeyUsage::PIN_VERIFICATION_X9_132_2, "PIN verification, X9.132 algorithm 2"),
    (KeyUsage::PIN_VERIFICATION_X9_132_3, "PIN verification, X9.132 algorithm 3"),
];

impl KeyUsage {
    /// The usage in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        let otherwise = if self.is_proprietary() { "proprietary" } else { UNKNOWN };
        USAGES.iter().find(|(usage, _)| *usage == self).map_or(otherwise, |(_, words)| words)
    }
}

impl Algorithm {
    /// The algorithm in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Aes => "AES",
            Self::Des => "single DES",
            Self::EllipticCurve => "elliptic curve",
            Self::Hmac => "HMAC",
            Self::Rsa => "RSA",
            Self::Dsa => "DSA",
            Self::Tdes => "TDES",
            Self::Other(code) => of_other(code),
        }
    }
}

impl ModeOfUse {
    /// The operations in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::EncryptAndDecrypt => "encrypt and decrypt, wrap and unwrap",
            Self::GenerateAndVerify => "generate and verify",
            Self::Decrypt => "decrypt or unwrap only",
            Self::Encrypt => "encrypt or wrap only",
            Self::Generate => "generate only",
            Self::Unrestricted => "no restriction beyond the usage",
            Self::Sign => "sign only",
            Self::SignAndDecrypt => "sign and decrypt",
            Self::Verify => "verify only",
            Self::Derive => "derive other keys",
            Self::MakeVariants => "make key variants",
            Self::Other(code) => of_other(code),
        }
    }
}

impl Exportability {
    /// The permission in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Trusted => "exportable in a trusted key block",
            Self::NotExportable => "not exportable",
            Self::Sensitive => "exportable, also in other forms",
            Self::Other(code) => of_other(code),
        }
    }
}

impl KeyContext {
    /// The context in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Any => "storage and exchange",
            Self::Storage => "storage only",
            Self::Exchange => "exchange only",
            Self::Other(code) => of_other(code),
        }
    }
}

fn of_other(code: u8) -> &'static str {
    if code.is_ascii_digit() { "proprietary" } else { UNKNOWN }
}

const BLOCKS: [(BlockId, &str); 17] = [
    (BlockId::ASYMMETRIC_KEY_LIFE, "life of an asymmetric key"),
    (BlockId::BDK_IDENTIFIER, "base derivation key identifier"),
    (BlockId::CERTIFICATE, "public key certificates"),
    (BlockId::DERIVATIONS_ALLOWED, "derivations allowed"),
    (BlockId::FLAGS, "flags"),
    (BlockId::HMAC_HASH, "hash of the HMAC key"),
    (BlockId::INITIAL_KEY_IDENTIFIER, "initial key identifier of AES DUKPT"),
    (BlockId::KEY_CHECK_VALUE, "check value of the wrapped key"),
    (BlockId::PROTECTION_KEY_CHECK_VALUE, "check value of the protection key"),
    (BlockId::KEY_SERIAL_NUMBER, "initial key serial number of TDES DUKPT"),
    (BlockId::KEY_BLOCK_VALUES, "version of the field values (deprecated)"),
    (BlockId::LABEL, "label"),
    (BlockId::PADDING, "padding"),
    (BlockId::EXPORT_PROTECTION_KEY_CHECK_VALUE, "check value of the export's protection key"),
    (BlockId::TIME_OF_CREATION, "time of the key's creation"),
    (BlockId::TIME_STAMP, "time of the key block's creation"),
    (BlockId::WRAPPING_PEDIGREE, "wrapping pedigree"),
];

impl BlockId {
    /// What the block holds, in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        BLOCKS.iter().find(|(id, _)| *id == self).map_or(of_other(self.code()[0]), |(_, words)| words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_block::PERMITTED;

    #[test]
    fn every_usage_of_the_table_has_words() {
        assert!(PERMITTED.iter().all(|row| row.usage.meaning() != UNKNOWN));
        assert_eq!(PERMITTED.len(), USAGES.len());
        assert_eq!(KeyUsage::from_code(*b"ZZ").map(KeyUsage::meaning), Some(UNKNOWN));
        assert_eq!(KeyUsage::from_code(*b"10").map(KeyUsage::meaning), Some("proprietary"));
        assert_eq!(BlockId::from_code(*b"KS").map(BlockId::meaning), Some("initial key serial number of TDES DUKPT"));
    }
}
