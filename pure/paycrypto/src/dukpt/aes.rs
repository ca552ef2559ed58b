//! DUKPT with AES keys of 128, 192 or 256 bits (ANSI X9.24-3:2017).
//!
//! Host: [`BaseDerivationKey`] → [`InitialKey`] → [`TransactionKey`] → working keys by [`KeyUsage`] and [`KeyType`].
//! Terminal: [`Terminal`], loaded once with the initial key, replaced under its update key.
//!
//! Cost, in AES blocks enciphered: a key of up to 128 bits takes one, a longer one two. The initial key is one key,
//! each one bit of the counter one, at most 16, the working key one; each step but the first also expands one key. A
//! PIN key out of an AES-128 base derivation key thus costs at most 18 blocks and 17 key schedules. Nothing is
//! allocated before the finished [`WorkingKey`]; [`TransactionKey::working_key_bytes`] does without that as well.

use zeroize::{Zeroize, Zeroizing};

use super::{CounterRule, KeyRegisters, path_to, write_hex};
use crate::aes_key::AesEncryptor;
use crate::block::AES_BLOCK_BYTES;
use crate::key_material::KEY_BYTES_MAX;
use crate::{AesKey, CryptoError, KeyBytes, TdesKey};

/// Length of a key serial number.
pub const KSN_BYTES: usize = 12;
/// Length of a key serial number in compatibility mode.
pub const COMPATIBILITY_KSN_BYTES: usize = 10;
/// Length of an initial key id: base derivation key id, then derivation id.
pub const INITIAL_KEY_ID_BYTES: usize = 8;
/// Width of the transaction counter.
pub const COUNTER_BITS: u32 = 32;
/// Most one bits in the counter of a transaction.
pub const COUNTER_ONES_MAX: u32 = 16;
/// Transactions that a terminal makes with one initial key: every counter with one to sixteen one bits.
pub const TRANSACTIONS_MAX: u64 = 2_448_023_842;

const RULE: CounterRule = CounterRule { bits: COUNTER_BITS, ones_max: COUNTER_ONES_MAX };
const REGISTERS: usize = COUNTER_BITS as usize;
/// Lower bits of a compatibility mode serial number that are the counter.
const COMPATIBILITY_COUNTER_BITS: u32 = 21;
/// Zero bits put before the 59 bits of a compatibility mode initial key id.
const COMPATIBILITY_PAD_BITS: u32 = 4;
/// First byte of the derivation data.
const DERIVATION_DATA_VERSION: u8 = 1;
/// The counter whose key encryption key is the update key: with 32 one bits, no transaction has it.
const UPDATE_KEY_COUNTER: u32 = u32::MAX;

/// The name of a terminal's initial key, 64 bits. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitialKeyId([u8; INITIAL_KEY_ID_BYTES]);

impl InitialKeyId {
    /// Takes the eight bytes as they stand in a key serial number.
    #[must_use]
    pub fn new(bytes: [u8; INITIAL_KEY_ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// Joins the id of a base derivation key and the derivation id that tells its terminals apart.
    #[must_use]
    pub fn compose(base_derivation_key_id: [u8; 4], derivation_id: [u8; 4]) -> Self {
        Self(core::array::from_fn(|i| if i < 4 { base_derivation_key_id[i] } else { derivation_id[i - 4] }))
    }

    /// The eight bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; INITIAL_KEY_ID_BYTES] {
        self.0
    }

    /// The derivation data from which an initial key of this type is made, block number zero. Not secret.
    #[must_use]
    pub fn derivation_data(self, key_type: KeyType) -> [u8; AES_BLOCK_BYTES] {
        derivation_data(INITIAL_KEY_INDICATOR, key_type, self.0)
    }

    /// The first half: which base derivation key.
    #[must_use]
    pub fn base_derivation_key_id(self) -> [u8; 4] {
        core::array::from_fn(|i| self.0[i])
    }

    /// The second half: which of its terminals.
    #[must_use]
    pub fn derivation_id(self) -> [u8; 4] {
        core::array::from_fn(|i| self.0[4 + i])
    }
}

impl core::fmt::Debug for InitialKeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(f, &self.0)
    }
}

/// A key serial number (KSN) whose counter is zero or one that a terminal uses. Not secret; prints as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySerialNumber {
    initial_key_id: InitialKeyId,
    counter: u32,
}

impl KeySerialNumber {
    /// Joins an initial key id and a transaction counter; zero makes the initial key serial number.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] for a counter of more than sixteen one bits.
    pub fn new(initial_key_id: InitialKeyId, counter: u32) -> Result<Self, CryptoError> {
        if RULE.allows(counter) { Ok(Self { initial_key_id, counter }) } else { Err(CryptoError::KeySerialNumber) }
    }

    /// Reads twelve bytes.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] for another length, [`CryptoError::KeySerialNumber`] for a counter that no terminal
    /// uses.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptoError> {
        let bytes: &[u8; KSN_BYTES] = bytes.try_into().map_err(|_| CryptoError::DataLength(bytes.len()))?;
        let [.., a, b, c, d] = *bytes;
        Self::new(InitialKeyId(core::array::from_fn(|i| bytes[i])), u32::from_be_bytes([a, b, c, d]))
    }

    /// Reads the ten bytes of compatibility mode, in which AES terminals talk to hosts that only carry serial numbers
    /// of 80 bits: 59 bits of initial key id, to be padded with zeros on the left, and 21 of counter.
    ///
    /// # Errors
    /// As [`KeySerialNumber::parse`].
    pub fn parse_compatibility(bytes: &[u8]) -> Result<Self, CryptoError> {
        let bytes: &[u8; COMPATIBILITY_KSN_BYTES] =
            bytes.try_into().map_err(|_| CryptoError::DataLength(bytes.len()))?;
        let serial = bytes.iter().fold(0, |serial, byte| serial << 8 | u128::from(*byte));
        let counter = serial as u32 & ((1 << COMPATIBILITY_COUNTER_BITS) - 1);
        let aligned = serial >> COMPATIBILITY_COUNTER_BITS << COMPATIBILITY_COUNTER_BITS;
        let initial_key_id = (aligned >> 16 >> COMPATIBILITY_PAD_BITS) as u64;
        Self::new(InitialKeyId(initial_key_id.to_be_bytes()), counter)
    }

    /// The twelve bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; KSN_BYTES] {
        let counter = self.counter.to_be_bytes();
        core::array::from_fn(|i| self.initial_key_id.0.get(i).copied().unwrap_or_else(|| counter[i - 8]))
    }

    /// The ten bytes of compatibility mode.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] if the counter is wider than 21 bits, or the initial key id does not begin
    /// with four zero bits and end in one.
    pub fn to_compatibility_bytes(self) -> Result<[u8; COMPATIBILITY_KSN_BYTES], CryptoError> {
        let id = u128::from(u64::from_be_bytes(self.initial_key_id.0));
        let serial = id << (16 + COMPATIBILITY_PAD_BITS) | u128::from(self.counter);
        let bytes: [u8; 16] = serial.to_be_bytes();
        let short = core::array::from_fn(|i| bytes[16 - COMPATIBILITY_KSN_BYTES + i]);
        if Self::parse_compatibility(&short) == Ok(self) { Ok(short) } else { Err(CryptoError::KeySerialNumber) }
    }

    /// The name of the initial key.
    #[must_use]
    pub fn initial_key_id(self) -> InitialKeyId {
        self.initial_key_id
    }

    /// The transaction counter; zero only in an initial key serial number.
    #[must_use]
    pub fn counter(self) -> u32 {
        self.counter
    }

    /// The key serial number of the following transaction.
    ///
    /// # Errors
    /// [`CryptoError::CounterExhausted`] after the last one.
    pub fn next(self) -> Result<Self, CryptoError> {
        let counter = RULE.next(self.counter).ok_or(CryptoError::CounterExhausted)?;
        Ok(Self { counter, ..self })
    }

    /// Transactions that follow this one.
    #[must_use]
    pub fn transactions_after(self) -> u64 {
        RULE.transactions_after(self.counter)
    }

    /// The serial numbers on the way from the initial key to this one, itself last: the key of each is derived from
    /// the one before. None if the counter is zero.
    pub fn path(self) -> impl Iterator<Item = Self> {
        path_to(self.counter).map(move |counter| Self { counter, ..self })
    }

    /// The derivation data from which a key of this transaction is made, block number zero: a working key of the usage,
    /// or with [`KeyUsage::KeyDerivation`] and the initial key's type the transaction key itself. Not secret.
    #[must_use]
    pub fn derivation_data(self, usage: KeyUsage, key_type: KeyType) -> [u8; AES_BLOCK_BYTES] {
        let context = context(self.initial_key_id.derivation_id(), self.counter);
        derivation_data(usage.indicator(), key_type, context)
    }
}

impl core::fmt::Display for KeySerialNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(f, &self.to_bytes())
    }
}

impl core::fmt::Debug for KeySerialNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeySerialNumber({self})")
    }
}

/// What a working key is for, seen from the terminal (X9.24-3 §6.3.2, key usage indicator).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyUsage {
    /// Enciphers other keys.
    KeyEncryption,
    /// Enciphers the PIN block.
    PinEncryption,
    /// MAC of what the terminal sends.
    MacGeneration,
    /// MAC of what the terminal receives.
    MacVerification,
    /// MAC of both ways.
    MacBothWays,
    /// Enciphers data that the terminal sends.
    DataEncryption,
    /// Deciphers data that the terminal receives.
    DataDecryption,
    /// Data of both ways.
    DataBothWays,
    /// Derives further keys.
    KeyDerivation,
}

impl KeyUsage {
    /// Every usage.
    pub const ALL: [Self; 9] = [
        Self::KeyEncryption,
        Self::PinEncryption,
        Self::MacGeneration,
        Self::MacVerification,
        Self::MacBothWays,
        Self::DataEncryption,
        Self::DataDecryption,
        Self::DataBothWays,
        Self::KeyDerivation,
    ];

    /// Its number in derivation data.
    #[must_use]
    pub fn indicator(self) -> u16 {
        match self {
            Self::KeyEncryption => 0x0002,
            Self::PinEncryption => 0x1000,
            Self::MacGeneration => 0x2000,
            Self::MacVerification => 0x2001,
            Self::MacBothWays => 0x2002,
            Self::DataEncryption => 0x3000,
            Self::DataDecryption => 0x3001,
            Self::DataBothWays => 0x3002,
            Self::KeyDerivation => 0x8000,
        }
    }

    /// Whether keys of this type have this usage: HMAC keys only make MACs; only AES keys derive.
    #[must_use]
    pub fn allows(self, key_type: KeyType) -> bool {
        match self {
            Self::MacGeneration | Self::MacVerification | Self::MacBothWays => true,
            Self::KeyDerivation => key_type.algorithm() == Algorithm::Aes,
            _ => key_type.algorithm() != Algorithm::Hmac,
        }
    }
}

/// Key usage indicator of an initial key.
const INITIAL_KEY_INDICATOR: u16 = 0x8001;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Tdes,
    Aes,
    Hmac,
}

/// Algorithm and length of a key (X9.24-3 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// Double-length TDES.
    Tdes2,
    /// Triple-length TDES.
    Tdes3,
    /// AES-128.
    Aes128,
    /// AES-192.
    Aes192,
    /// AES-256.
    Aes256,
    /// HMAC with a key of 128 bits.
    Hmac128,
    /// HMAC with a key of 192 bits.
    Hmac192,
    /// HMAC with a key of 256 bits.
    Hmac256,
}

impl KeyType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Tdes2,
        Self::Tdes3,
        Self::Aes128,
        Self::Aes192,
        Self::Aes256,
        Self::Hmac128,
        Self::Hmac192,
        Self::Hmac256,
    ];

    /// Length of the key.
    #[must_use]
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Tdes2 | Self::Aes128 | Self::Hmac128 => 16,
            Self::Tdes3 | Self::Aes192 | Self::Hmac192 => 24,
            Self::Aes256 | Self::Hmac256 => 32,
        }
    }

    /// Security strength in bits (NIST SP 800-57 part 1 §5.6.1).
    #[must_use]
    pub fn strength_bits(self) -> u32 {
        match self {
            Self::Tdes2 => 80,
            Self::Tdes3 => 112,
            Self::Aes128 | Self::Hmac128 => 128,
            Self::Aes192 | Self::Hmac192 => 192,
            Self::Aes256 | Self::Hmac256 => 256,
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Tdes2 | Self::Tdes3 => Algorithm::Tdes,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => Algorithm::Aes,
            Self::Hmac128 | Self::Hmac192 | Self::Hmac256 => Algorithm::Hmac,
        }
    }

    fn indicator(self) -> u16 {
        match self {
            Self::Tdes2 => 0,
            Self::Tdes3 => 1,
            Self::Aes128 => 2,
            Self::Aes192 => 3,
            Self::Aes256 => 4,
            Self::Hmac128 | Self::Hmac192 | Self::Hmac256 => 5,
        }
    }

    /// The AES type of a key of this many bytes.
    fn aes_of(key_bytes: usize) -> Result<Self, CryptoError> {
        match key_bytes {
            16 => Ok(Self::Aes128),
            24 => Ok(Self::Aes192),
            32 => Ok(Self::Aes256),
            other => Err(CryptoError::KeyLength(other)),
        }
    }
}

/// The derivation data of X9.24-3 §6.3.2: version, block number, usage, algorithm, length in bits, context.
fn derivation_data(usage_indicator: u16, key_type: KeyType, context: [u8; 8]) -> [u8; AES_BLOCK_BYTES] {
    let usage = usage_indicator.to_be_bytes();
    let algorithm = key_type.indicator().to_be_bytes();
    let length_bits = (key_type.key_bytes() as u16 * 8).to_be_bytes();
    let mut data = [0; AES_BLOCK_BYTES];
    data[0] = DERIVATION_DATA_VERSION;
    data[2..4].copy_from_slice(&usage);
    data[4..6].copy_from_slice(&algorithm);
    data[6..8].copy_from_slice(&length_bits);
    data[8..].copy_from_slice(&context);
    data
}

/// The derivation of X9.24-3 annex B.4.1: numbered blocks of derivation data, enciphered and cut to the key's length.
fn derive(key: &AesEncryptor, key_type: KeyType, data: [u8; AES_BLOCK_BYTES]) -> KeyBytes {
    let mut blocks = Zeroizing::new([[0; AES_BLOCK_BYTES]; KEY_BYTES_MAX / AES_BLOCK_BYTES]);
    let needed = key_type.key_bytes().div_ceil(AES_BLOCK_BYTES);
    for (number, block) in (1..).zip(blocks.iter_mut().take(needed)) {
        *block = data;
        block[1] = number;
        key.encrypt_block(block);
    }
    KeyBytes::new(&blocks.as_flattened()[..key_type.key_bytes()]).expect("every type fits key bytes")
}

/// An AES key that derives others, with its type. Wiped on drop; never prints.
#[derive(Debug, Clone)]
struct DerivationKey {
    key: KeyBytes,
    key_type: KeyType,
}

impl DerivationKey {
    fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self { key_type: KeyType::aes_of(bytes.len())?, key: KeyBytes::new(bytes)? })
    }

    fn encryptor(&self) -> AesEncryptor {
        AesEncryptor::new(self.key.expose()).expect("invariant: the length is an AES key's")
    }

    /// One step down the tree: the derivation key of the branch that ends in `counter`.
    fn branch(&self, derivation_id: [u8; 4], counter: u32) -> Self {
        let context = context(derivation_id, counter);
        let data = derivation_data(KeyUsage::KeyDerivation.indicator(), self.key_type, context);
        Self { key: derive(&self.encryptor(), self.key_type, data), key_type: self.key_type }
    }

    fn working_key(&self, usage: KeyUsage, key_type: KeyType, context: [u8; 8]) -> Result<KeyBytes, CryptoError> {
        if !usage.allows(key_type) {
            return Err(CryptoError::Parameter);
        }
        if key_type.strength_bits() > self.key_type.strength_bits() {
            return Err(CryptoError::KeyStrength);
        }
        Ok(derive(&self.encryptor(), key_type, derivation_data(usage.indicator(), key_type, context)))
    }
}

impl Zeroize for DerivationKey {
    fn zeroize(&mut self) {
        self.key.zeroize();
    }
}

fn context(derivation_id: [u8; 4], counter: u32) -> [u8; 8] {
    let counter = counter.to_be_bytes();
    core::array::from_fn(|i| if i < 4 { derivation_id[i] } else { counter[i - 4] })
}

/// A base derivation key (BDK), from which the keys of a whole fleet follow. Only a host's key process holds one.
pub struct BaseDerivationKey {
    encryptor: AesEncryptor,
    key_type: KeyType,
}

impl BaseDerivationKey {
    /// Expands a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for another length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self { key_type: KeyType::aes_of(bytes.len())?, encryptor: AesEncryptor::new(bytes)? })
    }

    /// The initial key of one terminal, as long as the base derivation key (X9.24-3 annex B.5). One or two blocks.
    #[must_use]
    pub fn initial_key(&self, initial_key_id: InitialKeyId) -> InitialKey {
        let key = derive(&self.encryptor, self.key_type, initial_key_id.derivation_data(self.key_type));
        InitialKey { key: DerivationKey { key, key_type: self.key_type }, initial_key_id }
    }

    /// The key of one transaction, by way of the terminal's initial key.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] if the counter is zero.
    pub fn transaction_key(&self, ksn: KeySerialNumber) -> Result<TransactionKey, CryptoError> {
        self.initial_key(ksn.initial_key_id).transaction_key(ksn)
    }
}

impl core::fmt::Debug for BaseDerivationKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BaseDerivationKey({:?}, ***)", self.key_type)
    }
}

/// The initial key of one terminal, with its id. Wiped on drop; never prints.
pub struct InitialKey {
    key: DerivationKey,
    initial_key_id: InitialKeyId,
}

impl InitialKey {
    /// Takes an initial key that was delivered as 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for another length.
    pub fn new(bytes: &[u8], initial_key_id: InitialKeyId) -> Result<Self, CryptoError> {
        Ok(Self { key: DerivationKey::new(bytes)?, initial_key_id })
    }

    /// The id of the key.
    #[must_use]
    pub fn initial_key_id(&self) -> InitialKeyId {
        self.initial_key_id
    }

    /// AES-128, AES-192 or AES-256.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key.key_type
    }

    /// The clear key, for delivery under another key.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.key.key.expose()
    }

    /// The key of one transaction. One key schedule and one or two blocks for each one bit of the counter.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] if the counter is zero or the serial number names another initial key.
    pub fn transaction_key(&self, ksn: KeySerialNumber) -> Result<TransactionKey, CryptoError> {
        if ksn.counter == 0 || ksn.initial_key_id != self.initial_key_id {
            return Err(CryptoError::KeySerialNumber);
        }
        Ok(TransactionKey { key: self.walked_to(ksn.counter), ksn })
    }

    fn walked_to(&self, counter: u32) -> DerivationKey {
        let derivation_id = self.initial_key_id.derivation_id();
        path_to(counter).fold(self.key.clone(), |key, counter| key.branch(derivation_id, counter))
    }

    /// The key under which the terminal's next initial key is delivered: the DUKPT update key, the key
    /// encryption key of counter FFFFFFFF (X9.24-3 annex B.6.3, update initial key). 33 keys are derived.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] for an HMAC type, [`CryptoError::KeyStrength`] for one stronger than this key.
    pub fn update_key(&self, key_type: KeyType) -> Result<WorkingKey, CryptoError> {
        WorkingKey::new(key_type, &self.update_key_bytes(key_type)?)
    }

    fn update_key_bytes(&self, key_type: KeyType) -> Result<KeyBytes, CryptoError> {
        let context = context(self.initial_key_id.derivation_id(), UPDATE_KEY_COUNTER);
        self.walked_to(UPDATE_KEY_COUNTER).working_key(KeyUsage::KeyEncryption, key_type, context)
    }
}

impl core::fmt::Debug for InitialKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "InitialKey({:?}, {:?}, ***)", self.initial_key_id, self.key.key_type)
    }
}

/// The key of one transaction, with its serial number. Wiped on drop; never prints. It enciphers nothing itself: take
/// a working key.
#[derive(Debug)]
pub struct TransactionKey {
    key: DerivationKey,
    ksn: KeySerialNumber,
}

impl TransactionKey {
    /// The serial number to send along.
    #[must_use]
    pub fn ksn(&self) -> KeySerialNumber {
        self.ksn
    }

    /// The working key of one usage and type, ready to work.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] for a type that the usage does not take (HMAC keys only make MACs, only AES keys
    /// derive), [`CryptoError::KeyStrength`] for one stronger than the base derivation key.
    pub fn working_key(&self, usage: KeyUsage, key_type: KeyType) -> Result<WorkingKey, CryptoError> {
        WorkingKey::new(key_type, &self.working_key_bytes(usage, key_type)?)
    }

    /// The clear bytes of a working key; nothing is allocated.
    ///
    /// # Errors
    /// As [`TransactionKey::working_key`].
    pub fn working_key_bytes(&self, usage: KeyUsage, key_type: KeyType) -> Result<KeyBytes, CryptoError> {
        let context = context(self.ksn.initial_key_id.derivation_id(), self.ksn.counter);
        self.key.working_key(usage, key_type, context)
    }

    /// The clear transaction key, for explanations and test vectors.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.key.key.expose()
    }

    /// True if both are the same key, compared in constant time.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.key.key == other.key.key
    }
}

/// A derived key of the algorithm that was asked for.
#[derive(Debug)]
pub enum WorkingKey {
    /// Double or triple length.
    Tdes(TdesKey),
    /// Any length.
    Aes(AesKey),
    /// Key of an HMAC; the hash is the caller's choice.
    Hmac(KeyBytes),
}

impl WorkingKey {
    fn new(key_type: KeyType, key: &KeyBytes) -> Result<Self, CryptoError> {
        match key_type.algorithm() {
            Algorithm::Tdes => TdesKey::new(key.expose()).map(Self::Tdes),
            Algorithm::Aes => AesKey::new(key.expose()).map(Self::Aes),
            Algorithm::Hmac => Ok(Self::Hmac(key.clone())),
        }
    }

    /// The clear bytes, for wrapping under another key.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        match self {
            Self::Tdes(key) => key.expose_bytes(),
            Self::Aes(key) => key.expose_bytes(),
            Self::Hmac(key) => key.expose(),
        }
    }

    /// The AES key, if it is one.
    #[must_use]
    pub fn into_aes(self) -> Option<AesKey> {
        if let Self::Aes(key) = self { Some(key) } else { None }
    }

    /// The TDES key, if it is one.
    #[must_use]
    pub fn into_tdes(self) -> Option<TdesKey> {
        if let Self::Tdes(key) = self { Some(key) } else { None }
    }
}

/// The terminal's side: 32 intermediate derivation key registers and the counter (X9.24-3 annex B.6.3). Wiped on
/// drop; never prints.
///
/// A key leaves its register when it is taken, so no transaction key is given out twice and none can be computed from
/// what is left. Save the state ([`Terminal::to_bytes`]) *before* using a taken key: an older state restored after a
/// power cut would give the same key out again.
pub struct Terminal {
    registers: KeyRegisters<DerivationKey, REGISTERS>,
    initial_key_id: InitialKeyId,
    /// The initial key itself is erased, so its update key is kept.
    update_key: DerivationKey,
}

impl Terminal {
    /// Loads the initial key, which the caller then drops: 65 keys are derived, half of them for the update key.
    #[must_use]
    pub fn load(initial_key: &InitialKey) -> Self {
        let initial_key_id = initial_key.initial_key_id;
        let derivation_id = initial_key_id.derivation_id();
        let update_key = initial_key.update_key_bytes(initial_key.key_type());
        Self {
            registers: KeyRegisters::load(RULE, |counter| initial_key.key.branch(derivation_id, counter)),
            initial_key_id,
            update_key: DerivationKey {
                key: update_key.expect("an AES key encryption key as strong as its source is allowed"),
                key_type: initial_key.key_type(),
            },
        }
    }

    /// The id of the initial key.
    #[must_use]
    pub fn initial_key_id(&self) -> InitialKeyId {
        self.initial_key_id
    }

    /// The serial number of the next transaction; none at the end of life.
    #[must_use]
    pub fn next_ksn(&self) -> Option<KeySerialNumber> {
        let initial_key_id = self.initial_key_id;
        self.registers.counter.map(|counter| KeySerialNumber { initial_key_id, counter })
    }

    /// Transactions that can still be made, at first [`TRANSACTIONS_MAX`].
    #[must_use]
    pub fn remaining_transactions(&self) -> u64 {
        self.registers.remaining()
    }

    /// Takes the next transaction's key, erases it here and prepares the registers below it: on average one key is
    /// derived, at most 31.
    ///
    /// # Errors
    /// [`CryptoError::CounterExhausted`] at the end of life.
    pub fn next_transaction(&mut self) -> Result<TransactionKey, CryptoError> {
        let initial_key_id = self.initial_key_id;
        let derivation_id = initial_key_id.derivation_id();
        let (counter, key) = self.registers.take(|key, counter| key.branch(derivation_id, counter))?;
        Ok(TransactionKey { key, ksn: KeySerialNumber { initial_key_id, counter } })
    }

    /// The key, as long as the initial key, under which the next initial key comes: see [`InitialKey::update_key`].
    #[must_use]
    pub fn update_key(&self) -> AesKey {
        AesKey::new(self.update_key.key.expose()).expect("invariant: the length is an AES key's")
    }

    /// Starts over with an initial key that came under [`Terminal::update_key`].
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] for the id already in use, with which used keys would come again,
    /// [`CryptoError::KeyStrength`] for a key stronger than the one it came under. The old state then stays.
    pub fn update_initial_key(&mut self, initial_key: &InitialKey) -> Result<(), CryptoError> {
        if initial_key.initial_key_id == self.initial_key_id {
            return Err(CryptoError::Parameter);
        }
        if initial_key.key_type().strength_bits() > self.update_key.key_type.strength_bits() {
            return Err(CryptoError::KeyStrength);
        }
        *self = Self::load(initial_key);
        Ok(())
    }

    /// The clear state, to be sealed and stored: the next serial number (counter zero at the end of life), the update
    /// key, then the keys of the registers in use, that of the lowest counter bit first.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let counter = self.registers.counter.unwrap_or(0);
        let ksn = KeySerialNumber { initial_key_id: self.initial_key_id, counter };
        // Room for every register: a growing vector would leave copies of keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KSN_BYTES + (REGISTERS + 1) * KEY_BYTES_MAX));
        bytes.extend_from_slice(&ksn.to_bytes());
        let keys = core::iter::once(&self.update_key).chain(self.registers.keys_in_use());
        keys.for_each(|key| bytes.extend_from_slice(key.key.expose()));
        bytes
    }

    /// Reads what [`Terminal::to_bytes`] wrote. Whether it is the newest state is for the caller to know.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] if there are not exactly the keys that the counter needs, of one AES length,
    /// [`CryptoError::KeySerialNumber`] for a counter that no terminal has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let wrong_length = CryptoError::DataLength(bytes.len());
        let (ksn, keys) = bytes.split_at_checked(KSN_BYTES).ok_or(wrong_length)?;
        let ksn = KeySerialNumber::parse(ksn)?;
        let counter = (ksn.counter > 0).then_some(ksn.counter);
        let in_use = counter.map_or(0, |counter| RULE.registers_in_use(counter).count_ones() as usize);
        let key_bytes = keys.len() / (in_use + 1);
        let key_type = KeyType::aes_of(key_bytes).map_err(|_| wrong_length)?;
        if keys.len() != key_bytes * (in_use + 1) {
            return Err(wrong_length);
        }
        let key = |bytes| DerivationKey { key: KeyBytes::new(bytes).expect("an AES key's length"), key_type };
        let mut erased = key(&[0; KEY_BYTES_MAX][..key_bytes]);
        erased.zeroize();
        let mut keys = keys.chunks_exact(key_bytes).map(key);
        let update_key = keys.next().ok_or(wrong_length)?;
        let registers = KeyRegisters::restore(RULE, counter, keys, &erased);
        Ok(Self { registers, initial_key_id: ksn.initial_key_id, update_key })
    }
}

impl core::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Terminal({:?}, next {:?}, ***)", self.initial_key_id, self.registers.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BDK: [u8; 16] = 0xFEDC_BA98_7654_3210_F1F1_F1F1_F1F1_F1F1_u128.to_be_bytes();
    const ID: [u8; 8] = 0x1234_5678_9012_3456_u64.to_be_bytes();

    fn initial_key() -> InitialKey {
        BaseDerivationKey::new(&BDK).unwrap().initial_key(InitialKeyId::new(ID))
    }

    fn ksn(counter: u32) -> KeySerialNumber {
        KeySerialNumber::new(InitialKeyId::new(ID), counter).unwrap()
    }

    #[test]
    fn x9_24_3_annex_b_example() {
        let key = initial_key();
        assert_eq!(key.expose_bytes(), 0x1273_671E_A26A_C29A_FA4D_1084_1276_52A1_u128.to_be_bytes());
        let first = key.transaction_key(ksn(1)).unwrap();
        assert_eq!(first.expose_bytes(), 0x4F21_B565_BAD9_835E_112B_6465_635E_AE44_u128.to_be_bytes());
        let pin = first.working_key(KeyUsage::PinEncryption, KeyType::Aes128).unwrap().into_aes().unwrap();
        assert_eq!(pin.expose_bytes(), 0xAF8C_B133_A78F_8DC2_D135_9F18_5275_93FB_u128.to_be_bytes());
    }

    #[test]
    fn registers_after_loading() {
        // X9.24-3 supplement: the registers of counter bits 0, 1 and 31.
        let terminal = Terminal::load(&initial_key());
        let registers: Vec<&[u8]> = terminal.registers.keys.iter().map(|key| key.key.expose()).collect();
        assert_eq!(registers[0][..4], [0x4F, 0x21, 0xB5, 0x65]);
        assert_eq!(registers[1][..4], [0x2F, 0x34, 0xD6, 0x8D]);
        assert_eq!(registers[31][..4], [0x9D, 0xC5, 0x64, 0x86]);
    }

    #[test]
    fn counters_that_no_terminal_uses_are_refused() {
        let id = InitialKeyId::new(ID);
        for counter in [0x1_FFFF, u32::MAX, 0x7FFF_C000] {
            assert_eq!(KeySerialNumber::new(id, counter), Err(CryptoError::KeySerialNumber), "{counter:X}");
        }
        assert_eq!(KeySerialNumber::parse(&[0; 11]), Err(CryptoError::DataLength(11)));
        assert_eq!(initial_key().transaction_key(ksn(0)).err(), Some(CryptoError::KeySerialNumber));
        let other = KeySerialNumber::new(InitialKeyId::new([0; 8]), 1).unwrap();
        assert_eq!(initial_key().transaction_key(other).err(), Some(CryptoError::KeySerialNumber));
        assert_eq!(ksn(0xFFFF_0000).next(), Err(CryptoError::CounterExhausted));
        assert_eq!(ksn(0xFFFE_8000).next(), Ok(ksn(0xFFFF_0000)));
    }

    #[test]
    fn one_life_has_2_448_023_842_transactions() {
        assert_eq!(ksn(0).transactions_after(), TRANSACTIONS_MAX);
        assert_eq!(ksn(0xFFFF_0000).transactions_after(), 0);
    }

    #[test]
    fn stronger_keys_and_odd_pairs_are_refused() {
        let transaction = initial_key().transaction_key(ksn(1)).unwrap();
        for usage in KeyUsage::ALL {
            for key_type in KeyType::ALL {
                let expected = match (usage.allows(key_type), key_type.strength_bits() > 128) {
                    (false, _) => Some(CryptoError::Parameter),
                    (true, true) => Some(CryptoError::KeyStrength),
                    (true, false) => None,
                };
                let derived = transaction.working_key(usage, key_type);
                assert_eq!(derived.as_ref().err(), expected.as_ref(), "{usage:?} {key_type:?}");
                assert!(derived.is_err() || derived.unwrap().expose_bytes().len() == key_type.key_bytes());
            }
        }
        let allowed = |usage: KeyUsage| KeyType::ALL.iter().filter(|key_type| usage.allows(**key_type)).count();
        assert_eq!(KeyUsage::ALL.map(allowed), [5, 5, 8, 8, 8, 5, 5, 5, 3]);
        assert_eq!(initial_key().update_key(KeyType::Aes192).err(), Some(CryptoError::KeyStrength));
        assert_eq!(initial_key().update_key(KeyType::Hmac128).err(), Some(CryptoError::Parameter));
    }

    #[test]
    fn compatibility_serial_numbers() {
        let short = [0x0E, 0x11, 0x11, 0x11, 0x11, 0xFF, 0xFF, 0xFF, 0x00, 0x00];
        let ksn = KeySerialNumber::parse_compatibility(&short).unwrap();
        assert_eq!(ksn.to_string(), "00E11111111FFFFE001F0000");
        assert_eq!(ksn.to_compatibility_bytes(), Ok(short));
        assert_eq!(super::tests::ksn(1).to_compatibility_bytes(), Err(CryptoError::KeySerialNumber));
        assert_eq!(KeySerialNumber::parse_compatibility(&[0; 12]), Err(CryptoError::DataLength(12)));
    }

    #[test]
    fn a_new_initial_key_starts_a_new_life() {
        let mut terminal = Terminal::load(&initial_key());
        let update_key = initial_key().update_key(KeyType::Aes128).unwrap();
        assert_eq!(terminal.update_key().expose_bytes(), update_key.expose_bytes());
        assert_eq!(terminal.update_initial_key(&initial_key()), Err(CryptoError::Parameter));
        let strong = InitialKey::new(&[7; 32], InitialKeyId::new([1; 8])).unwrap();
        assert_eq!(terminal.update_initial_key(&strong), Err(CryptoError::KeyStrength));
        terminal.next_transaction().unwrap();
        assert_eq!(terminal.next_ksn(), Some(ksn(2)));
        let next = InitialKey::new(&[7; 16], InitialKeyId::compose([1; 4], [2; 4])).unwrap();
        terminal.update_initial_key(&next).unwrap();
        assert_eq!(terminal.initial_key_id().derivation_id(), [2; 4]);
        assert_eq!(terminal.remaining_transactions(), TRANSACTIONS_MAX);
        let taken = terminal.next_transaction().unwrap();
        assert!(taken.same_key(&next.transaction_key(taken.ksn()).unwrap()));
    }

    #[test]
    fn nothing_prints() {
        let transaction = format!("{:?}", initial_key().transaction_key(ksn(1)).unwrap());
        assert!(transaction.contains("KeyBytes(16 bytes, ***)") && !transaction.contains("79"), "{transaction}");
        assert_eq!(format!("{:?}", initial_key()), "InitialKey(1234567890123456, Aes128, ***)");
        let terminal = format!("{:?}", Terminal::load(&initial_key()));
        assert_eq!(terminal, "Terminal(1234567890123456, next Some(1), ***)");
        assert_eq!(format!("{:?}", BaseDerivationKey::new(&BDK).unwrap()), "BaseDerivationKey(Aes128, ***)");
    }

    #[test]
    fn terminal_and_host_agree_for_the_first_thousands() {
        let host = initial_key();
        let mut terminal = Terminal::load(&host);
        let mut expected = ksn(0);
        for _ in 0..5000 {
            expected = expected.next().unwrap();
            let taken = terminal.next_transaction().unwrap();
            assert_eq!(taken.ksn(), expected);
            assert!(taken.same_key(&host.transaction_key(expected).unwrap()), "{expected}");
        }
    }

    /// A terminal in the state before `counter`, made from the host's keys of the branches in use.
    fn terminal_before(host: &InitialKey, counter: u32) -> Terminal {
        let mask = RULE.registers_in_use(counter);
        let branch = |bit: u32| (counter >> bit | 1) << bit;
        let serial = |counter| KeySerialNumber::new(host.initial_key_id(), counter).unwrap();
        let mut state = serial(counter).to_bytes().to_vec();
        state.extend_from_slice(host.update_key(host.key_type()).unwrap().expose_bytes());
        for bit in (0..COUNTER_BITS).filter(|bit| mask >> bit & 1 == 1) {
            state.extend_from_slice(host.transaction_key(serial(branch(bit))).unwrap().expose_bytes());
        }
        Terminal::from_bytes(&state).unwrap()
    }

    #[test]
    fn terminal_and_host_agree_to_the_end_of_life() {
        let host = initial_key();
        let mut terminal = terminal_before(&host, 0xFFF0_0000);
        let mut taken = 0;
        while let Some(expected) = terminal.next_ksn() {
            let key = terminal.next_transaction().unwrap();
            assert!(taken % 64 > 0 || key.same_key(&host.transaction_key(expected).unwrap()), "{expected}");
            taken += 1;
        }
        assert_eq!(taken, ksn(0xFFF0_0000).transactions_after() + 1);
        assert_eq!(terminal.next_transaction().err(), Some(CryptoError::CounterExhausted));
        assert_eq!(terminal.to_bytes().len(), KSN_BYTES + 16);
        assert_eq!(Terminal::from_bytes(&terminal.to_bytes()).unwrap().next_ksn(), None);
        assert!(terminal.registers.keys.iter().all(|key| key.key.expose().is_empty()));
    }

    fn any_counter() -> impl Strategy<Value = u32> {
        proptest::collection::btree_set(0..COUNTER_BITS, 1..=16)
            .prop_map(|bits| bits.into_iter().fold(0, |counter, bit| counter | 1 << bit))
    }

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![Just(16), Just(24), Just(32)].prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn terminal_and_host_agree_anywhere(bdk in any_key(), id: [u8; 8], counter in any_counter(), runs in 1..200) {
            let bdk = BaseDerivationKey::new(&bdk).unwrap();
            let host = bdk.initial_key(InitialKeyId::new(id));
            let mut terminal = terminal_before(&host, counter);
            for _ in 0..runs {
                let Ok(taken) = terminal.next_transaction() else { break };
                prop_assert!(taken.same_key(&bdk.transaction_key(taken.ksn()).unwrap()));
                let reread = Terminal::from_bytes(&terminal.to_bytes()).unwrap();
                prop_assert_eq!(reread.to_bytes(), terminal.to_bytes());
                prop_assert_eq!(reread.next_ksn(), taken.ksn().next().ok());
                terminal = reread;
            }
        }
    }

    proptest! {
        #[test]
        fn hostile_serial_numbers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 8..16), key in any_key()) {
            let bdk = BaseDerivationKey::new(&key).unwrap();
            if let Ok(ksn) = KeySerialNumber::parse(&bytes) {
                prop_assert_eq!(&ksn.to_bytes()[..], &bytes[..]);
                let _ = (ksn.next(), ksn.transactions_after(), ksn.to_compatibility_bytes());
                prop_assert_eq!(bdk.transaction_key(ksn).is_ok(), ksn.counter() != 0);
            }
            if let Ok(ksn) = KeySerialNumber::parse_compatibility(&bytes) {
                prop_assert_eq!(&ksn.to_compatibility_bytes().unwrap()[..], &bytes[..]);
                prop_assert_eq!(KeySerialNumber::parse(&ksn.to_bytes()), Ok(ksn));
            }
        }

        #[test]
        fn every_working_key_is_its_own(key in any_key(), id: [u8; 8], counter in any_counter()) {
            let host = InitialKey::new(&key, InitialKeyId::new(id)).unwrap();
            let transaction = host.transaction_key(KeySerialNumber::new(host.initial_key_id(), counter).unwrap()).unwrap();
            let mut seen = std::collections::BTreeSet::from([transaction.expose_bytes()[..16].to_vec()]);
            for usage in KeyUsage::ALL {
                for key_type in KeyType::ALL {
                    if let Ok(key) = transaction.working_key_bytes(usage, key_type) {
                        prop_assert!(seen.insert(key.expose()[..16].to_vec()), "{:?} {:?}", usage, key_type);
                    }
                }
            }
        }

        #[test]
        fn arbitrary_states_never_panic(
            state in proptest::collection::vec(any::<u8>(), 0..700), counter in any_counter(), key_bytes in 15_usize..34,
        ) {
            let _ = Terminal::from_bytes(&state);
            let in_use = RULE.registers_in_use(counter).count_ones() as usize;
            let mut fitting = ksn(counter).to_bytes().to_vec();
            fitting.resize(KSN_BYTES + (in_use + 1) * key_bytes, 7);
            let Ok(mut terminal) = Terminal::from_bytes(&fitting) else {
                prop_assert!(![16, 24, 32].contains(&key_bytes));
                return Ok(());
            };
            prop_assert_eq!(&terminal.to_bytes()[..], &fitting[..]);
            for _ in 0..40 {
                let _ = terminal.next_transaction();
            }
        }
    }
}
