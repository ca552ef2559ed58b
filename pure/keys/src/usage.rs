//! What keys are for, and the types that keep usages apart.

/// What a key may be used for. One key, one purpose (PCI PIN requirement 19).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Usage {
    /// Terminal master key: wraps the working keys of one terminal.
    TerminalMaster,
    /// PIN encryption key (PIK, or a zone PIN key towards an issuer).
    PinEncryption,
    /// Message authentication key (MAK) of X9.9, X9.19 and UnionPay's ECB MAC.
    MessageMac,
    /// Track data encryption key (TDK).
    TrackEncryption,
    /// Key encryption key: wraps keys on their way in or out, without a key block around them.
    KeyEncryption,
    /// Issuer master key for application cryptograms.
    IssuerMasterAc,
    /// Issuer master key for secure messaging integrity.
    IssuerMasterMac,
    /// Issuer master key for secure messaging confidentiality.
    IssuerMasterEncipherment,
    /// Key of an issuer's stored PIN references.
    PinReference,
    /// Base derivation key: the root of the DUKPT keys of many devices (X9.24).
    BaseDerivation,
    /// Initial DUKPT key of one device.
    DukptInitial,
    /// PIN verification key of Visa's PVV.
    PinVerificationValue,
    /// PIN verification key of IBM 3624 PINs and offsets.
    PinOffset,
    /// Card verification key: CVV, CVC, iCVV, CVV2.
    CardVerification,
    /// Issuer master key for dynamic numbers: CVC3, dCVV.
    IssuerMasterDynamicNumber,
    /// Key block protection key: wraps keys as TR-31 key blocks.
    KeyBlockProtection,
    /// Key of CMACs over messages.
    MessageCmac,
    /// Key of HMACs over messages.
    MessageHmac,
}

impl Usage {
    /// Every usage, in the order of its wire number.
    pub const ALL: [Usage; 18] = [
        Usage::TerminalMaster,
        Usage::PinEncryption,
        Usage::MessageMac,
        Usage::TrackEncryption,
        Usage::KeyEncryption,
        Usage::IssuerMasterAc,
        Usage::IssuerMasterMac,
        Usage::IssuerMasterEncipherment,
        Usage::PinReference,
        Usage::BaseDerivation,
        Usage::DukptInitial,
        Usage::PinVerificationValue,
        Usage::PinOffset,
        Usage::CardVerification,
        Usage::IssuerMasterDynamicNumber,
        Usage::KeyBlockProtection,
        Usage::MessageCmac,
        Usage::MessageHmac,
    ];

    /// Number on the wire, from 1.
    pub fn number(self) -> u8 {
        let index = Self::ALL.iter().position(|usage| *usage == self).expect("every usage is listed");
        u8::try_from(index + 1).expect("few usages")
    }

    /// From the number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The field's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Usage::TerminalMaster => "TMK",
            Usage::PinEncryption => "PIK",
            Usage::MessageMac => "MAK",
            Usage::TrackEncryption => "TDK",
            Usage::KeyEncryption => "KEK",
            Usage::IssuerMasterAc => "IMK-AC",
            Usage::IssuerMasterMac => "IMK-SMI",
            Usage::IssuerMasterEncipherment => "IMK-SMC",
            Usage::PinReference => "PVK",
            Usage::BaseDerivation => "BDK",
            Usage::DukptInitial => "IK",
            Usage::PinVerificationValue => "PVK-PVV",
            Usage::PinOffset => "PVK-3624",
            Usage::CardVerification => "CVK",
            Usage::IssuerMasterDynamicNumber => "IMK-DN",
            Usage::KeyBlockProtection => "KBPK",
            Usage::MessageCmac => "MAK-CMAC",
            Usage::MessageHmac => "MAK-HMAC",
        }
    }

    /// Whether keys of this usage may have this algorithm. The table of `interchange.golden` shows it whole.
    pub fn suits(self, algorithm: Algorithm) -> bool {
        use Algorithm::{Aes128, Aes192, Aes256, Des, HmacSha256, Sm4, TdesDouble, TdesTriple};
        let suitable: &[Algorithm] = match self {
            Usage::MessageMac => &[Des, TdesDouble, Sm4],
            Usage::PinEncryption => &[TdesDouble, TdesTriple, Aes128, Aes192, Aes256, Sm4],
            Usage::KeyEncryption | Usage::PinOffset => &[TdesDouble, TdesTriple],
            Usage::KeyBlockProtection => &[TdesDouble, TdesTriple, Aes128, Aes192, Aes256],
            Usage::BaseDerivation | Usage::DukptInitial => &[TdesDouble, Aes128, Aes192, Aes256],
            Usage::MessageCmac => &[TdesDouble, TdesTriple, Aes128, Aes192, Aes256, Sm4],
            Usage::PinReference | Usage::MessageHmac => &[HmacSha256],
            Usage::TerminalMaster
            | Usage::TrackEncryption
            | Usage::IssuerMasterAc
            | Usage::IssuerMasterMac
            | Usage::IssuerMasterEncipherment
            | Usage::PinVerificationValue
            | Usage::CardVerification
            | Usage::IssuerMasterDynamicNumber => &[TdesDouble],
        };
        suitable.contains(&algorithm)
    }
}

/// Ties a usage to a type, so that handles of different usages cannot be swapped.
///
/// A PIN key where a MAC key belongs is a type error, in every family of commands:
#[doc = include_str!("families.md")]
pub trait UsageMarker: 'static {
    /// The usage of keys of this type.
    const USAGE: Usage;
}

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident => $usage:ident),* $(,)?) => { $(
        $(#[$doc])*
        pub enum $name {}
        impl UsageMarker for $name {
            const USAGE: Usage = Usage::$usage;
        }
    )* };
}
markers! {
    /// Terminal master keys.
    TerminalMaster => TerminalMaster,
    /// PIN encryption keys.
    PinEncryption => PinEncryption,
    /// MAC keys.
    MessageMac => MessageMac,
    /// Track encryption keys.
    TrackEncryption => TrackEncryption,
    /// Key encryption keys.
    KeyEncryption => KeyEncryption,
    /// Issuer master keys for cryptograms.
    IssuerMasterAc => IssuerMasterAc,
    /// Issuer master keys for script MACs.
    IssuerMasterMac => IssuerMasterMac,
    /// Issuer master keys for script encipherment.
    IssuerMasterEncipherment => IssuerMasterEncipherment,
    /// Keys of PIN references.
    PinReferenceKey => PinReference,
    /// Base derivation keys.
    BaseDerivation => BaseDerivation,
    /// Initial DUKPT keys.
    DukptInitial => DukptInitial,
    /// PIN verification keys of PVVs.
    PinVerificationValueKey => PinVerificationValue,
    /// PIN verification keys of IBM 3624.
    PinOffsetKey => PinOffset,
    /// Card verification keys.
    CardVerificationKey => CardVerification,
    /// Issuer master keys for dynamic numbers.
    IssuerMasterDynamicNumber => IssuerMasterDynamicNumber,
    /// Key block protection keys.
    KeyBlockProtection => KeyBlockProtection,
    /// CMAC keys.
    MessageCmac => MessageCmac,
    /// HMAC keys.
    MessageHmac => MessageHmac,
}

/// Algorithm and length of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// Single DES, 8 bytes: only as a single-length MAK of the UnionPay dialect.
    Des,
    /// Double-length triple DES, 16 bytes.
    TdesDouble,
    /// Triple-length triple DES, 24 bytes.
    TdesTriple,
    /// AES with 16 bytes.
    Aes128,
    /// AES with 32 bytes.
    Aes256,
    /// HMAC-SHA-256 with 32 bytes.
    HmacSha256,
    /// AES with 24 bytes.
    Aes192,
    /// SM4 (GB/T 32907), 16 bytes.
    Sm4,
}

impl Algorithm {
    /// Every algorithm, in the order of its wire number.
    pub const ALL: [Algorithm; 8] = [
        Algorithm::Des,
        Algorithm::TdesDouble,
        Algorithm::TdesTriple,
        Algorithm::Aes128,
        Algorithm::Aes256,
        Algorithm::HmacSha256,
        Algorithm::Aes192,
        Algorithm::Sm4,
    ];

    /// Length of a key in bytes.
    pub fn key_bytes(self) -> usize {
        match self {
            Algorithm::Des => 8,
            Algorithm::TdesDouble | Algorithm::Aes128 | Algorithm::Sm4 => 16,
            Algorithm::TdesTriple | Algorithm::Aes192 => 24,
            Algorithm::Aes256 | Algorithm::HmacSha256 => 32,
        }
    }

    /// Security strength in bits (NIST SP 800-57 part 1 §5.6.1; double-length triple DES counted as 80, as PCI does).
    /// A key may only be protected by one at least as strong.
    pub fn security_bits(self) -> u16 {
        match self {
            Algorithm::Des => 56,
            Algorithm::TdesDouble => 80,
            Algorithm::TdesTriple => 112,
            Algorithm::Aes128 | Algorithm::Sm4 => 128,
            Algorithm::Aes192 => 192,
            Algorithm::Aes256 | Algorithm::HmacSha256 => 256,
        }
    }

    /// Whether it is single, double or triple DES.
    pub fn is_des(self) -> bool {
        matches!(self, Algorithm::Des | Algorithm::TdesDouble | Algorithm::TdesTriple)
    }

    /// Whether it is AES of any length.
    pub fn is_aes(self) -> bool {
        matches!(self, Algorithm::Aes128 | Algorithm::Aes192 | Algorithm::Aes256)
    }

    /// Number on the wire, from 1.
    pub fn number(self) -> u8 {
        let index = Self::ALL.iter().position(|algorithm| *algorithm == self).expect("every algorithm is listed");
        u8::try_from(index + 1).expect("few algorithms")
    }

    /// From the number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}
