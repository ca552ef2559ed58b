//! The fixed fields of the header, one type each (ANSI X9.143:2021 §6.3).
//!
//! Codes that no standard defines are kept as they came, as long as they are letters or digits: the table decides
//! later whether such a key is taken.

use core::fmt;

fn alphanumeric<const N: usize>(code: [u8; N]) -> Option<[u8; N]> {
    code.iter().all(u8::is_ascii_alphanumeric).then_some(code)
}

/// Key block version: the binding method (ANSI X9.143:2021 §6.2, table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// TDES, key variants, 2005. Import only.
    A,
    /// TDES, key derivation, 2010.
    B,
    /// TDES, key variants, 2010. Import only.
    C,
    /// AES in CBC mode, key derivation, 2017.
    D,
    /// AES in counter mode, key derivation (ISO 20038:2017).
    E,
}

impl Version {
    /// The version with this letter.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::A, Self::B, Self::C, Self::D, Self::E].into_iter().find(|version| version.code() == code)
    }

    /// Its letter.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::A => b'A',
            Self::B => b'B',
            Self::C => b'C',
            Self::D => b'D',
            Self::E => b'E',
        }
    }

    /// Length of the block cipher's blocks, to which optional blocks are padded.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Self::A | Self::B | Self::C => crate::DES_BLOCK_BYTES,
            Self::D | Self::E => crate::AES_BLOCK_BYTES,
        }
    }

    /// Length of the MAC in bytes; the text has twice as many characters.
    #[must_use]
    pub fn mac_bytes(self) -> usize {
        match self {
            Self::A | Self::C => 4,
            Self::B => 8,
            Self::D | Self::E => 16,
        }
    }

    /// What text and enciphered key must be a multiple of: whole blocks, and single bytes in counter mode.
    pub(super) fn enciphered_unit_bytes(self) -> usize {
        if self == Self::E { 1 } else { self.block_bytes() }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.code()))
    }
}

/// What the key is for: two characters (ANSI X9.143:2021 §6.3.1, table 2). Two digits are proprietary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyUsage([u8; 2]);

macro_rules! usages {
    ($($(#[$meaning:meta])* $name:ident = $code:literal;)*) => {
        impl KeyUsage {
            $($(#[$meaning])* pub const $name: Self = Self(*$code);)*
        }
    };
}

usages! {
    /// Base derivation key of DUKPT.
    BASE_DERIVATION = b"B0";
    /// Initial key of DUKPT.
    DUKPT_INITIAL = b"B1";
    /// Base key that variants are made of (deprecated).
    BASE_VARIANT = b"B2";
    /// Key derivation key outside ANSI X9.24.
    KEY_DERIVATION = b"B3";
    /// Card verification key.
    CARD_VERIFICATION = b"C0";
    /// Data encryption, symmetric.
    DATA = b"D0";
    /// Data encryption, asymmetric.
    ASYMMETRIC_DATA = b"D1";
    /// Encryption of decimalisation tables.
    DECIMALISATION_TABLE = b"D2";
    /// Encryption of sensitive data.
    SENSITIVE_DATA = b"D3";
    /// EMV issuer master key: application cryptograms.
    EMV_APPLICATION_CRYPTOGRAM = b"E0";
    /// EMV issuer master key: secure messaging for confidentiality.
    EMV_MESSAGING_CONFIDENTIALITY = b"E1";
    /// EMV issuer master key: secure messaging for integrity.
    EMV_MESSAGING_INTEGRITY = b"E2";
    /// EMV issuer master key: data authentication codes.
    EMV_DATA_AUTHENTICATION_CODE = b"E3";
    /// EMV issuer master key: dynamic numbers.
    EMV_DYNAMIC_NUMBERS = b"E4";
    /// EMV issuer master key: card personalisation.
    EMV_PERSONALISATION = b"E5";
    /// EMV issuer master key: other.
    EMV_OTHER = b"E6";
    /// EMV asymmetric key pair for PIN encipherment.
    EMV_ASYMMETRIC_PIN = b"E7";
    /// Initialisation vector.
    INITIALISATION_VECTOR = b"I0";
    /// Key encryption or wrapping.
    KEY_ENCRYPTION = b"K0";
    /// Key block protection key of TR-31.
    KEY_BLOCK_PROTECTION = b"K1";
    /// Asymmetric key pair of TR-34.
    TR34_ASYMMETRIC = b"K2";
    /// Asymmetric key pair for key wrapping or agreement.
    ASYMMETRIC_KEY_AGREEMENT = b"K3";
    /// Key block protection key of ISO 20038.
    ISO_20038_PROTECTION = b"K4";
    /// MAC of ISO 16609, algorithm 1 with TDES.
    MAC_ISO_16609 = b"M0";
    /// MAC of ISO/IEC 9797-1, algorithm 1 (CBC-MAC).
    MAC_ALGORITHM_1 = b"M1";
    /// MAC of ISO/IEC 9797-1, algorithm 2.
    MAC_ALGORITHM_2 = b"M2";
    /// MAC of ISO/IEC 9797-1, algorithm 3 (retail MAC).
    MAC_ALGORITHM_3 = b"M3";
    /// MAC of ISO/IEC 9797-1, algorithm 4.
    MAC_ALGORITHM_4 = b"M4";
    /// MAC of ISO/IEC 9797-1:1999, algorithm 5 (legacy).
    MAC_ALGORITHM_5_1999 = b"M5";
    /// MAC of ISO/IEC 9797-1:2011, algorithm 5 (CMAC).
    CMAC = b"M6";
    /// HMAC.
    HMAC = b"M7";
    /// MAC of ISO/IEC 9797-1, algorithm 6.
    MAC_ALGORITHM_6 = b"M8";
    /// PIN encryption.
    PIN_ENCRYPTION = b"P0";
    /// PIN generation.
    PIN_GENERATION = b"P1";
    /// Asymmetric key pair for signatures.
    SIGNATURE = b"S0";
    /// Asymmetric key pair of a certification authority.
    CERTIFICATION_AUTHORITY = b"S1";
    /// Asymmetric key pair outside ANSI X9.24.
    ASYMMETRIC_OTHER = b"S2";
    /// PIN verification, another algorithm.
    PIN_VERIFICATION = b"V0";
    /// PIN verification, IBM 3624.
    PIN_VERIFICATION_IBM_3624 = b"V1";
    /// PIN verification, Visa PVV.
    PIN_VERIFICATION_PVV = b"V2";
    /// PIN verification, ANSI X9.132 algorithm 1.
    PIN_VERIFICATION_X9_132_1 = b"V3";
    /// PIN verification, ANSI X9.132 algorithm 2.
    PIN_VERIFICATION_X9_132_2 = b"V4";
    /// PIN verification, ANSI X9.132 algorithm 3.
    PIN_VERIFICATION_X9_132_3 = b"V5";
}

impl KeyUsage {
    /// The usage with this code: any two letters or digits.
    #[must_use]
    pub fn from_code(code: [u8; 2]) -> Option<Self> {
        alphanumeric(code).map(Self)
    }

    /// Its two characters.
    #[must_use]
    pub fn code(self) -> [u8; 2] {
        self.0
    }

    /// True for a code that begins with a digit: its meaning is agreed between two parties.
    #[must_use]
    pub fn is_proprietary(self) -> bool {
        self.0[0].is_ascii_digit()
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.0[0]), char::from(self.0[1]))
    }
}

impl fmt::Debug for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUsage({self})")
    }
}

/// Defines an enumeration of one-character codes that keeps unknown letters and digits.
macro_rules! one_character {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$meaning])* $variant,)*
            /// A code that the standard does not define. Digits are proprietary.
            Other(u8),
        }

        impl $name {
            /// The value with this character: any letter or digit.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    other => alphanumeric([other]).map(|[kept]| Self::Other(kept)),
                }
            }

            /// Its character.
            #[must_use]
            pub fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", char::from(self.code()))
            }
        }
    };
}

one_character! {
    /// What the key is used with (ANSI X9.143:2021 §6.3.2, table 3).
    Algorithm {
        /// AES.
        Aes = b'A',
        /// Single DES, for what is left of it.
        Des = b'D',
        /// Elliptic curves.
        EllipticCurve = b'E',
        /// HMAC; the optional block HM names the hash.
        Hmac = b'H',
        /// RSA.
        Rsa = b'R',
        /// DSA.
        Dsa = b'S',
        /// TDES.
        Tdes = b'T',
    }
}

one_character! {
    /// Which operations the key may do (ANSI X9.143:2021 §6.3.3, table 4).
    ModeOfUse {
        /// Encrypt and decrypt, wrap and unwrap.
        EncryptAndDecrypt = b'B',
        /// Generate and verify.
        GenerateAndVerify = b'C',
        /// Decrypt or unwrap only.
        Decrypt = b'D',
        /// Encrypt or wrap only.
        Encrypt = b'E',
        /// Generate only.
        Generate = b'G',
        /// No restriction beyond what the usage implies.
        Unrestricted = b'N',
        /// Sign only.
        Sign = b'S',
        /// Sign and decrypt.
        SignAndDecrypt = b'T',
        /// Verify only.
        Verify = b'V',
        /// Derive other keys.
        Derive = b'X',
        /// Make key variants.
        MakeVariants = b'Y',
    }
}

one_character! {
    /// Who may get the key next (ANSI X9.143:2021 §6.3.5, table 6).
    Exportability {
        /// Under a key block protection key, in a trusted key block.
        Trusted = b'E',
        /// Nobody: the receiver keeps it.
        NotExportable = b'N',
        /// Also under key-encrypting keys in other forms.
        Sensitive = b'S',
    }
}

one_character! {
    /// Where the block may be used (ANSI X9.143:2021 §6.2, table 1).
    KeyContext {
        /// Storage and exchange.
        Any = b'0',
        /// Storage only.
        Storage = b'1',
        /// Exchange only.
        Exchange = b'2',
    }
}

/// Key version number (ANSI X9.143:2021 §6.3.4, table 5): two letters or digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyVersion {
    /// `00`: the key has no version.
    Unused,
    /// `c` and a character: the block holds this component of a key and not a key.
    Component(u8),
    /// Any other two letters or digits.
    Number([u8; 2]),
}

impl KeyVersion {
    /// Reads the field.
    #[must_use]
    pub fn from_code(code: [u8; 2]) -> Option<Self> {
        Some(match alphanumeric(code)? {
            [b'0', b'0'] => Self::Unused,
            [b'c', number] => Self::Component(number),
            number => Self::Number(number),
        })
    }

    /// The field's two characters.
    #[must_use]
    pub fn code(self) -> [u8; 2] {
        match self {
            Self::Unused => *b"00",
            Self::Component(number) => [b'c', number],
            Self::Number(number) => number,
        }
    }
}
