//! What the published optional blocks say (ANSI X9.143:2021 §6.3.6.1 to §6.3.6.15).
//!
//! Reading is by request: an import never fails because a label or a time looks odd, its MAC vouches for it.

use super::error::{Field, KeyBlockError};
use super::field::{Algorithm, Exportability, KeyUsage, ModeOfUse};
use super::hex;
use super::optional::{BlockId, OptionalBlock};
use super::protection::ProtectionKey;
use crate::check_value::{CMAC_CHECK_VALUE_BYTES, cmac_check_value, zero_block_check_value};
use crate::{AesKey, TdesKey};

const LEGACY_CHECK_VALUE_BYTES: usize = 3;
const DERIVATION_BYTES: usize = 5;
const ATTRIBUTE_VERSION: &str = "01";
const PEDIGREE_VERSION: &str = "00";
const KEY_BLOCK_VALUES_BYTES: usize = 4;
/// ISO 8601 in UTC to the second or its hundredth, without and with delimiters (tables 21 and 22); `d` is a digit.
const TIME_PATTERNS: [&str; 4] =
    ["ddddddddddddddZ", "ddddddddddddddddZ", "dddd-dd-ddTdd:dd:ddZ", "dddd-dd-ddTdd:dd:dd.ddZ"];
const KEY_SERIAL_NUMBER_BYTES: [usize; 2] = [8, 10];

/// How long an asymmetric key lives (table 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLife {
    /// For one session.
    Ephemeral,
    /// Until it is replaced.
    Static,
}

/// Which base derivation key a DUKPT key comes from (table 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BdkIdentifier {
    /// Key set identifier of TDES DUKPT.
    Tdes([u8; 5]),
    /// Base derivation key identifier of AES DUKPT.
    Aes([u8; 4]),
}

/// How a certificate is written (table 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFormat {
    /// X.509.
    X509,
    /// EMV.
    Emv,
}

/// A certificate, still in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// How it is written.
    pub format: CertificateFormat,
    /// The certificate in base64 (RFC 4648 §4).
    pub base64: String,
}

/// One thing that a derivation key may derive (table 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerivationAllowed {
    /// Usage of the derived key.
    pub usage: KeyUsage,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its mode of use.
    pub mode_of_use: ModeOfUse,
    /// Its exportability.
    pub exportability: Exportability,
}

/// Hash of an HMAC key (table 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacHash {
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512Of224,
    /// SHA-512/256.
    Sha512Of256,
    /// SHA3-224.
    Sha3Of224,
    /// SHA3-256.
    Sha3Of256,
    /// SHA3-384.
    Sha3Of384,
    /// SHA3-512.
    Sha3Of512,
    /// SHAKE128.
    Shake128,
    /// SHAKE256.
    Shake256,
}

const HMAC_HASHES: [(&str, HmacHash); 13] = [
    ("10", HmacHash::Sha1),
    ("20", HmacHash::Sha224),
    ("21", HmacHash::Sha256),
    ("22", HmacHash::Sha384),
    ("23", HmacHash::Sha512),
    ("24", HmacHash::Sha512Of224),
    ("25", HmacHash::Sha512Of256),
    ("30", HmacHash::Sha3Of224),
    ("31", HmacHash::Sha3Of256),
    ("32", HmacHash::Sha3Of384),
    ("33", HmacHash::Sha3Of512),
    ("40", HmacHash::Shake128),
    ("41", HmacHash::Shake256),
];

/// How a key check value is computed (ANSI X9.24-1:2017 annex A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckValueMethod {
    /// A block of zeros enciphered; at most three bytes.
    Legacy,
    /// CMAC of a block of zeros; at most five bytes.
    Cmac,
}

/// A key check value and its method (table 15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckValue {
    /// How it was computed.
    pub method: CheckValueMethod,
    /// Its leftmost bytes.
    pub value: Vec<u8>,
}

impl CheckValue {
    /// The check value that this key gets: legacy for TDES, CMAC for AES; other keys have none.
    #[must_use]
    pub fn of_key(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Tdes | Algorithm::Des => TdesKey::new(key).ok().map(|key| Self::of_tdes(&key)),
            Algorithm::Aes => AesKey::new(key).ok().map(|key| Self::of_aes(&key)),
            _ => None,
        }
    }

    /// The check value of a protection key.
    #[must_use]
    pub fn of_protection_key(key: &ProtectionKey) -> Self {
        match key {
            ProtectionKey::Tdes(key) => Self::of_tdes(key),
            ProtectionKey::Aes(key) => Self::of_aes(key),
        }
    }

    fn of_tdes(key: &TdesKey) -> Self {
        let value = zero_block_check_value(key)[..LEGACY_CHECK_VALUE_BYTES].to_vec();
        Self { method: CheckValueMethod::Legacy, value }
    }

    fn of_aes(key: &AesKey) -> Self {
        Self { method: CheckValueMethod::Cmac, value: cmac_check_value(key).to_vec() }
    }
}

/// Wrapping pedigree: what the key has been wrapped under (table 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pedigree {
    /// Always under keys of equal or greater strength.
    EqualOrGreater,
    /// Once under a weaker key.
    Lesser,
    /// Under an asymmetric key that a quantum computer would break.
    Asymmetric,
    /// Both of the last two.
    AsymmetricAndLesser,
}

const PEDIGREES: [(&str, Pedigree); 4] = [
    ("0", Pedigree::EqualOrGreater),
    ("1", Pedigree::Lesser),
    ("2", Pedigree::Asymmetric),
    ("3", Pedigree::AsymmetricAndLesser),
];

/// What an optional block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockContent {
    /// AL.
    AsymmetricKeyLife(KeyLife),
    /// BI.
    BdkIdentifier(BdkIdentifier),
    /// CT: one certificate, or a chain that begins with the key's own.
    Certificates(Vec<Certificate>),
    /// DA.
    DerivationsAllowed(Vec<DerivationAllowed>),
    /// HM.
    HmacHash(HmacHash),
    /// IK.
    InitialKeyIdentifier([u8; 8]),
    /// KC.
    KeyCheckValue(CheckValue),
    /// KP.
    ProtectionKeyCheckValue(CheckValue),
    /// PK.
    ExportProtectionKeyCheckValue(CheckValue),
    /// KS: ten bytes, eight in older blocks.
    KeySerialNumber(Vec<u8>),
    /// KV: four characters.
    KeyBlockValues(String),
    /// LB.
    Label(String),
    /// TC: ISO 8601, UTC.
    TimeOfCreation(String),
    /// TS: ISO 8601, UTC.
    TimeStamp(String),
    /// WP.
    WrappingPedigree(Pedigree),
    /// Padding, flags and proprietary blocks, as they came.
    Text(BlockId, String),
}

impl OptionalBlock {
    /// What the block says.
    ///
    /// # Errors
    /// [`KeyBlockError::Malformed`] with the offset in the block's data.
    pub fn content(&self) -> Result<BlockContent, KeyBlockError> {
        let data = self.data();
        let content = match self.id() {
            BlockId::ASYMMETRIC_KEY_LIFE => read_key_life(data).map(BlockContent::AsymmetricKeyLife),
            BlockId::BDK_IDENTIFIER => read_bdk_identifier(data).map(BlockContent::BdkIdentifier),
            BlockId::CERTIFICATE => read_certificates(data).map(BlockContent::Certificates),
            BlockId::DERIVATIONS_ALLOWED => read_derivations(data).map(BlockContent::DerivationsAllowed),
            BlockId::HMAC_HASH => by_code(&HMAC_HASHES, data).map(BlockContent::HmacHash),
            BlockId::INITIAL_KEY_IDENTIFIER => read_array(data).map(BlockContent::InitialKeyIdentifier),
            BlockId::KEY_CHECK_VALUE => read_check_value(data).map(BlockContent::KeyCheckValue),
            BlockId::PROTECTION_KEY_CHECK_VALUE => read_check_value(data).map(BlockContent::ProtectionKeyCheckValue),
            BlockId::EXPORT_PROTECTION_KEY_CHECK_VALUE => {
                read_check_value(data).map(BlockContent::ExportProtectionKeyCheckValue)
            }
            BlockId::KEY_SERIAL_NUMBER => read_key_serial_number(data).map(BlockContent::KeySerialNumber),
            BlockId::KEY_BLOCK_VALUES => {
                (data.len() == KEY_BLOCK_VALUES_BYTES).then(|| BlockContent::KeyBlockValues(data.to_owned()))
            }
            BlockId::LABEL => Some(BlockContent::Label(data.to_owned())),
            BlockId::TIME_OF_CREATION => read_time(data).map(BlockContent::TimeOfCreation),
            BlockId::TIME_STAMP => read_time(data).map(BlockContent::TimeStamp),
            BlockId::WRAPPING_PEDIGREE => read_pedigree(data).map(BlockContent::WrappingPedigree),
            id => Some(BlockContent::Text(id, data.to_owned())),
        };
        content.ok_or(KeyBlockError::Malformed { offset: 0, field: Field::OptionalBlockData })
    }

    /// The block that says this.
    ///
    /// # Errors
    /// [`KeyBlockError::Malformed`] if the content could not be read back: a check value or text of a length that
    /// its table does not know, characters that are not printable.
    pub fn with_content(content: &BlockContent) -> Result<Self, KeyBlockError> {
        let block = Self::new(content.id(), &content.to_data())?;
        if block.content()? == *content {
            Ok(block)
        } else {
            Err(KeyBlockError::Malformed { offset: 0, field: Field::OptionalBlockData })
        }
    }
}

impl BlockContent {
    /// Which block says it.
    #[must_use]
    pub fn id(&self) -> BlockId {
        match self {
            Self::AsymmetricKeyLife(_) => BlockId::ASYMMETRIC_KEY_LIFE,
            Self::BdkIdentifier(_) => BlockId::BDK_IDENTIFIER,
            Self::Certificates(_) => BlockId::CERTIFICATE,
            Self::DerivationsAllowed(_) => BlockId::DERIVATIONS_ALLOWED,
            Self::HmacHash(_) => BlockId::HMAC_HASH,
            Self::InitialKeyIdentifier(_) => BlockId::INITIAL_KEY_IDENTIFIER,
            Self::KeyCheckValue(_) => BlockId::KEY_CHECK_VALUE,
            Self::ProtectionKeyCheckValue(_) => BlockId::PROTECTION_KEY_CHECK_VALUE,
            Self::ExportProtectionKeyCheckValue(_) => BlockId::EXPORT_PROTECTION_KEY_CHECK_VALUE,
            Self::KeySerialNumber(_) => BlockId::KEY_SERIAL_NUMBER,
            Self::KeyBlockValues(_) => BlockId::KEY_BLOCK_VALUES,
            Self::Label(_) => BlockId::LABEL,
            Self::TimeOfCreation(_) => BlockId::TIME_OF_CREATION,
            Self::TimeStamp(_) => BlockId::TIME_STAMP,
            Self::WrappingPedigree(_) => BlockId::WRAPPING_PEDIGREE,
            Self::Text(id, _) => *id,
        }
    }

    fn to_data(&self) -> String {
        match self {
            Self::AsymmetricKeyLife(KeyLife::Ephemeral) => format!("{ATTRIBUTE_VERSION}00"),
            Self::AsymmetricKeyLife(KeyLife::Static) => format!("{ATTRIBUTE_VERSION}01"),
            Self::BdkIdentifier(BdkIdentifier::Tdes(identifier)) => format!("00{}", hex::encode(identifier)),
            Self::BdkIdentifier(BdkIdentifier::Aes(identifier)) => format!("01{}", hex::encode(identifier)),
            Self::Certificates(certificates) => write_certificates(certificates),
            Self::DerivationsAllowed(derivations) => write_derivations(derivations),
            Self::HmacHash(hash) => code_of(&HMAC_HASHES, hash).to_owned(),
            Self::InitialKeyIdentifier(identifier) => hex::encode(identifier),
            Self::KeyCheckValue(value)
            | Self::ProtectionKeyCheckValue(value)
            | Self::ExportProtectionKeyCheckValue(value) => write_check_value(value),
            Self::KeySerialNumber(number) => hex::encode(number),
            Self::KeyBlockValues(text)
            | Self::Label(text)
            | Self::TimeOfCreation(text)
            | Self::TimeStamp(text)
            | Self::Text(_, text) => text.clone(),
            Self::WrappingPedigree(pedigree) => format!("{PEDIGREE_VERSION}{}", code_of(&PEDIGREES, pedigree)),
        }
    }
}

fn by_code<T: Copy>(codes: &[(&str, T)], code: &str) -> Option<T> {
    codes.iter().find(|(known, _)| *known == code).map(|(_, value)| *value)
}

fn code_of<T: PartialEq>(codes: &'static [(&'static str, T)], value: &T) -> &'static str {
    codes.iter().find(|(_, known)| known == value).map_or("", |(code, _)| code)
}

fn unhex(data: &str) -> Option<Vec<u8>> {
    hex::decode(data.as_bytes(), 0, Field::OptionalBlockData).ok().map(|bytes| bytes.to_vec())
}

fn read_array<const N: usize>(data: &str) -> Option<[u8; N]> {
    unhex(data)?.try_into().ok()
}

fn read_key_life(data: &str) -> Option<KeyLife> {
    by_code(&[("00", KeyLife::Ephemeral), ("01", KeyLife::Static)], data.strip_prefix(ATTRIBUTE_VERSION)?)
}

fn read_bdk_identifier(data: &str) -> Option<BdkIdentifier> {
    match data.split_at_checked(2)? {
        ("00", identifier) => read_array(identifier).map(BdkIdentifier::Tdes),
        ("01", identifier) => read_array(identifier).map(BdkIdentifier::Aes),
        _ => None,
    }
}

const CERTIFICATE_FORMATS: [(&str, CertificateFormat); 2] =
    [("00", CertificateFormat::X509), ("01", CertificateFormat::Emv)];
const CERTIFICATE_CHAIN: &str = "02";

fn read_certificates(data: &str) -> Option<Vec<Certificate>> {
    let (format, mut rest) = data.split_at_checked(2)?;
    if format != CERTIFICATE_CHAIN {
        return Some(vec![Certificate { format: by_code(&CERTIFICATE_FORMATS, format)?, base64: rest.to_owned() }]);
    }
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let (format, after) = rest.split_at_checked(2)?;
        let (length, after) = after.split_at_checked(4)?;
        let (base64, after) = after.split_at_checked(hex::number(length.as_bytes())?)?;
        chain.push(Certificate { format: by_code(&CERTIFICATE_FORMATS, format)?, base64: base64.to_owned() });
        rest = after;
    }
    Some(chain)
}

fn write_certificates(certificates: &[Certificate]) -> String {
    if let [only] = certificates {
        return format!("{}{}", code_of(&CERTIFICATE_FORMATS, &only.format), only.base64);
    }
    let mut data = CERTIFICATE_CHAIN.to_owned();
    for certificate in certificates {
        data.push_str(code_of(&CERTIFICATE_FORMATS, &certificate.format));
        data.push_str(&format!("{:04X}", certificate.base64.len()));
        data.push_str(&certificate.base64);
    }
    data
}

fn read_derivations(data: &str) -> Option<Vec<DerivationAllowed>> {
    let (derivations, rest) = data.strip_prefix(ATTRIBUTE_VERSION)?.as_bytes().as_chunks::<DERIVATION_BYTES>();
    let read = |[first, second, algorithm, mode, exportability]: &[u8; DERIVATION_BYTES]| {
        Some(DerivationAllowed {
            usage: KeyUsage::from_code([*first, *second])?,
            algorithm: Algorithm::from_code(*algorithm)?,
            mode_of_use: ModeOfUse::from_code(*mode)?,
            exportability: Exportability::from_code(*exportability)?,
        })
    };
    if rest.is_empty() { derivations.iter().map(read).collect() } else { None }
}

fn write_derivations(derivations: &[DerivationAllowed]) -> String {
    let one = |allowed: &DerivationAllowed| {
        format!("{}{}{}{}", allowed.usage, allowed.algorithm, allowed.mode_of_use, allowed.exportability)
    };
    derivations.iter().map(one).fold(ATTRIBUTE_VERSION.to_owned(), |data, next| data + &next)
}

fn read_check_value(data: &str) -> Option<CheckValue> {
    let (method, value) = data.split_at_checked(2)?;
    let value = unhex(value)?;
    let (method, bytes_max) = match method {
        "00" => (CheckValueMethod::Legacy, LEGACY_CHECK_VALUE_BYTES),
        "01" => (CheckValueMethod::Cmac, CMAC_CHECK_VALUE_BYTES),
        _ => return None,
    };
    (1..=bytes_max).contains(&value.len()).then_some(CheckValue { method, value })
}

fn write_check_value(value: &CheckValue) -> String {
    let method = match value.method {
        CheckValueMethod::Legacy => "00",
        CheckValueMethod::Cmac => "01",
    };
    format!("{method}{}", hex::encode(&value.value))
}

fn read_key_serial_number(data: &str) -> Option<Vec<u8>> {
    unhex(data).filter(|number| KEY_SERIAL_NUMBER_BYTES.contains(&number.len()))
}

/// Checks digits, delimiters and the closing `Z`, and not the calendar.
fn read_time(data: &str) -> Option<String> {
    let pattern = TIME_PATTERNS.iter().find(|pattern| pattern.len() == data.len())?;
    let fits = |(byte, wanted): (u8, u8)| if wanted == b'd' { byte.is_ascii_digit() } else { byte == wanted };
    data.bytes().zip(pattern.bytes()).all(fits).then(|| data.to_owned())
}

fn read_pedigree(data: &str) -> Option<Pedigree> {
    by_code(&PEDIGREES, data.strip_prefix(PEDIGREE_VERSION)?)
}
