//! Key blocks: keys at rest and on the way, with what they may be used for.

use core::fmt;
use core::marker::PhantomData;
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Longest owner name in bytes.
pub const OWNER_BYTES_MAX: usize = 24;
/// Longest enciphered key block in bytes.
pub const KEY_BLOCK_BYTES_MAX: usize = 512;

/// What a key may be used for. One key, one purpose (PCI PIN requirement 19).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Usage {
    /// Terminal master key: wraps the working keys of one terminal.
    TerminalMaster,
    /// PIN encryption key (PIK, or a zone PIN key towards an issuer).
    PinEncryption,
    /// Message authentication key (MAK).
    MessageMac,
    /// Track data encryption key (TDK).
    TrackEncryption,
    /// Key encryption key: wraps keys on their way in or out.
    KeyEncryption,
    /// Issuer master key for application cryptograms.
    IssuerMasterAc,
    /// Issuer master key for secure messaging integrity.
    IssuerMasterMac,
    /// Issuer master key for secure messaging confidentiality.
    IssuerMasterEncipherment,
    /// Key of an issuer's stored PIN references.
    PinReference,
}

impl Usage {
    /// Every usage, in the order of its wire number.
    pub const ALL: [Usage; 9] = [
        Usage::TerminalMaster,
        Usage::PinEncryption,
        Usage::MessageMac,
        Usage::TrackEncryption,
        Usage::KeyEncryption,
        Usage::IssuerMasterAc,
        Usage::IssuerMasterMac,
        Usage::IssuerMasterEncipherment,
        Usage::PinReference,
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
        }
    }
}

/// Ties a usage to a type, so that handles of different usages cannot be swapped.
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
}

/// Algorithm and length of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
}

impl Algorithm {
    const ALL: [Algorithm; 6] = [
        Algorithm::Des,
        Algorithm::TdesDouble,
        Algorithm::TdesTriple,
        Algorithm::Aes128,
        Algorithm::Aes256,
        Algorithm::HmacSha256,
    ];

    /// Length of a key in bytes.
    pub fn key_bytes(self) -> usize {
        match self {
            Algorithm::Des => 8,
            Algorithm::TdesDouble | Algorithm::Aes128 => 16,
            Algorithm::TdesTriple => 24,
            Algorithm::Aes256 | Algorithm::HmacSha256 => 32,
        }
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

/// Whose key it is: a terminal id, an issuer's name. 1–24 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owner(String);

impl Owner {
    /// Checks length and alphabet.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= OWNER_BYTES_MAX;
        (fits && name.bytes().all(|byte| (0x20..0x7F).contains(&byte))).then_some(Self(name))
    }

    /// The owner of a terminal's keys.
    pub fn of_terminal(terminal: types::TerminalId) -> Self {
        Self(terminal.text().to_owned())
    }

    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// What a key block says of its key, authenticated with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyHeader {
    /// What it may be used for.
    pub usage: Usage,
    /// Algorithm and length.
    pub algorithm: Algorithm,
    /// Whether it may leave the vault under a key encryption key.
    pub exportable: bool,
    /// Whose it is.
    pub owner: Owner,
    /// Version of the key within its owner and usage.
    pub version: u32,
}

impl Encode for KeyHeader {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(self.usage.number()).u8(self.algorithm.number()).bool(self.exportable);
        writer.text(self.owner.text()).u32(self.version);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let usage = Usage::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a key usage"))?;
        let algorithm = Algorithm::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a key algorithm"))?;
        let exportable = reader.bool()?;
        let owner = Owner::new(reader.text()?).ok_or_else(|| reader.malformed("a key owner"))?;
        Ok(Self { usage, algorithm, exportable, owner, version: reader.u32()? })
    }
}

/// A key block of a usage known only at run time, as it comes off a socket or out of a store.
#[derive(Clone, PartialEq, Eq)]
pub struct AnyKeyBlock {
    /// The authenticated header.
    pub header: KeyHeader,
    /// The enciphered key with its authentication tag, in the vault's own form.
    pub enciphered: Vec<u8>,
}

impl AnyKeyBlock {
    /// Types the block if its header says this usage.
    pub fn typed<U: UsageMarker>(self) -> Result<KeyBlock<U>, WrongUsage> {
        if self.header.usage == U::USAGE {
            Ok(KeyBlock { block: self, usage: PhantomData })
        } else {
            Err(WrongUsage { expected: U::USAGE, found: self.header.usage })
        }
    }
}

impl fmt::Debug for AnyKeyBlock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        write!(
            formatter,
            "KeyBlock({} {:?} of {} v{})",
            header.usage.name(),
            header.algorithm,
            header.owner.text(),
            header.version
        )
    }
}

impl Encode for AnyKeyBlock {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.header).bytes(&self.enciphered);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let header = reader.value()?;
        let enciphered = reader.bytes()?.to_vec();
        if enciphered.len() > KEY_BLOCK_BYTES_MAX {
            return Err(reader.malformed("a bounded key block"));
        }
        Ok(Self { header, enciphered })
    }
}

/// A block was used where another usage belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key usage {found:?} where {expected:?} is required")]
pub struct WrongUsage {
    /// Usage demanded.
    pub expected: Usage,
    /// Usage in the header.
    pub found: Usage,
}

/// A key block of one usage.
pub struct KeyBlock<U: UsageMarker> {
    block: AnyKeyBlock,
    usage: PhantomData<fn() -> U>,
}

impl<U: UsageMarker> KeyBlock<U> {
    /// The block without its type, for stores and sockets.
    pub fn any(&self) -> &AnyKeyBlock {
        &self.block
    }

    /// The authenticated header.
    pub fn header(&self) -> &KeyHeader {
        &self.block.header
    }
}

impl<U: UsageMarker> Clone for KeyBlock<U> {
    fn clone(&self) -> Self {
        Self { block: self.block.clone(), usage: PhantomData }
    }
}

impl<U: UsageMarker> PartialEq for KeyBlock<U> {
    fn eq(&self, other: &Self) -> bool {
        self.block == other.block
    }
}

impl<U: UsageMarker> Eq for KeyBlock<U> {}

impl<U: UsageMarker> fmt::Debug for KeyBlock<U> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.block, formatter)
    }
}

impl<U: UsageMarker> Encode for KeyBlock<U> {
    fn encode(&self, writer: &mut Writer) {
        self.block.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let block: AnyKeyBlock = reader.value()?;
        block.typed().map_err(|_| reader.malformed("a key block of the right usage"))
    }
}

/// Key check value: leading bytes of the key applied to a zero block. Four in the UnionPay dialect (unionpay-pos §4.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyCheckValue(pub [u8; 4]);

impl fmt::Display for KeyCheckValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02X}"))
    }
}

impl fmt::Debug for KeyCheckValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyCheckValue({self})")
    }
}
