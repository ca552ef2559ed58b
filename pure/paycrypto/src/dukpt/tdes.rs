//! DUKPT with double-length TDES keys (ANSI X9.24-1:2009 annex A; X9.24-3:2017 annex C).
//!
//! Host: [`BaseDerivationKey`] → [`InitialKey`] → [`TransactionKey`] → a working key per [`WorkingKeyUsage`].
//! Terminal: [`Terminal`], loaded once with the initial key.
//!
//! Cost, in single DES operations (block, with a key schedule each where marked *): initial key 6; each one bit of the
//! counter 2*, so at most 20*; PIN or MAC key 0; data key 6 with 2 schedules. Nothing is allocated before the finished
//! [`TdesKey`]; [`TransactionKey::working_key_bytes`] does without that as well.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{CounterRule, KeyRegisters, path_to, write_hex};
use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::{CryptoError, KeyBytes, TdesKey, constant_time_eq};

/// Length of a key serial number.
pub const KSN_BYTES: usize = 10;
/// Length of the key serial number without its transaction counter, in whole bytes.
pub const INITIAL_KEY_ID_BYTES: usize = 8;
/// Width of the transaction counter, the lowest bits of the key serial number.
pub const COUNTER_BITS: u32 = 21;
/// Most one bits in the counter of a transaction.
pub const COUNTER_ONES_MAX: u32 = 10;
/// Transactions that a terminal makes with one initial key: every counter with one to ten one bits.
pub const TRANSACTIONS_MAX: u64 = 1_048_575;
/// Length of every key: base derivation, initial, transaction and working key.
pub const KEY_BYTES: usize = 16;
/// Highest device id: 19 bits.
pub const DEVICE_ID_MAX: u32 = (1 << DEVICE_ID_BITS) - 1;
/// Length of a key set id.
pub const KEY_SET_ID_BYTES: usize = 5;

const DEVICE_ID_BITS: u32 = 19;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
const RULE: CounterRule = CounterRule { bits: COUNTER_BITS, ones_max: COUNTER_ONES_MAX };
const REGISTERS: usize = COUNTER_BITS as usize;
/// What tells the right half's key from the left half's, in both derivations (X9.24-1 annex A).
const KEY_MASK: u64 = 0xC0C0_C0C0_0000_0000;

/// The 59 bits of a key serial number that name a terminal's initial key. Not secret.
///
/// The standard leaves the 59 bits to whoever issues the keys; its example splits them into a key set id of 40 bits,
/// which names the base derivation key, and a device id of 19 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitialKeyId([u8; INITIAL_KEY_ID_BYTES]);

impl InitialKeyId {
    /// Takes the first eight bytes of a key serial number; the five counter bits among them are ignored.
    #[must_use]
    pub fn new(bytes: [u8; INITIAL_KEY_ID_BYTES]) -> Self {
        let cleared = u64::from_be_bytes(bytes) & !(COUNTER_MASK >> 16);
        Self(cleared.to_be_bytes())
    }

    /// Joins key set id and device id.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] for a device id above [`DEVICE_ID_MAX`].
    pub fn compose(key_set_id: [u8; KEY_SET_ID_BYTES], device_id: u32) -> Result<Self, CryptoError> {
        if device_id > DEVICE_ID_MAX {
            return Err(CryptoError::Parameter);
        }
        let [a, b, c, d, e] = key_set_id;
        let key_set_id = u64::from_be_bytes([a, b, c, d, e, 0, 0, 0]);
        Ok(Self((key_set_id | u64::from(device_id) << (24 - DEVICE_ID_BITS)).to_be_bytes()))
    }

    /// The eight bytes, counter bits zero.
    #[must_use]
    pub fn to_bytes(self) -> [u8; INITIAL_KEY_ID_BYTES] {
        self.0
    }

    /// The first 40 bits.
    #[must_use]
    pub fn key_set_id(self) -> [u8; KEY_SET_ID_BYTES] {
        core::array::from_fn(|i| self.0[i])
    }

    /// The last 19 bits.
    #[must_use]
    pub fn device_id(self) -> u32 {
        let [.., a, b, c] = self.0;
        u32::from_be_bytes([0, a, b, c]) >> (24 - DEVICE_ID_BITS)
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
    /// Joins the name of an initial key and a transaction counter; zero makes the initial key serial number.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] for more than 21 bits or more than ten one bits.
    pub fn new(initial_key_id: InitialKeyId, counter: u32) -> Result<Self, CryptoError> {
        if RULE.allows(counter) { Ok(Self { initial_key_id, counter }) } else { Err(CryptoError::KeySerialNumber) }
    }

    /// Reads ten bytes.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] for another length, [`CryptoError::KeySerialNumber`] for a counter that no terminal
    /// uses.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptoError> {
        let bytes: &[u8; KSN_BYTES] = bytes.try_into().map_err(|_| CryptoError::DataLength(bytes.len()))?;
        let [.., high, middle, low] = *bytes;
        let counter = u32::from_be_bytes([0, high, middle, low]) & COUNTER_MASK as u32;
        Self::new(InitialKeyId::new(core::array::from_fn(|i| bytes[i])), counter)
    }

    /// The ten bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; KSN_BYTES] {
        let id = self.initial_key_id.0;
        let [_, high, middle, low] = self.counter.to_be_bytes();
        [id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7] | high, middle, low]
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

/// Both halves of a key as numbers. Wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Halves {
    left: u64,
    right: u64,
}

impl Halves {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let (parts, _) = bytes.as_chunks();
        Self { left: u64::from_be_bytes(parts[0]), right: u64::from_be_bytes(parts[1]) }
    }

    fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let joined = u128::from(self.left) << 64 | u128::from(self.right);
        Zeroizing::new(joined.to_be_bytes())
    }

    fn masked(&self, mask: u64) -> Self {
        Self { left: self.left ^ mask, right: self.right ^ mask }
    }

    /// One step down the tree: the key of the branch that ends in `counter` (X9.24-1 annex A, non-reversible key
    /// generation process). Two DES operations.
    fn derived(&self, initial_key_id: InitialKeyId, counter: u32) -> Self {
        let [_, _, rest @ ..] = initial_key_id.0;
        let [a, b, c, d, e, f] = rest;
        let serial = u64::from_be_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(counter);
        Self { right: self.half(serial), left: self.masked(KEY_MASK).half(serial) }
    }

    /// Single DES with the left half between two exclusive ors with the right half.
    fn half(&self, serial: u64) -> u64 {
        let enciphered = des(self.left).encrypted((serial ^ self.right).to_be_bytes());
        u64::from_be_bytes(enciphered) ^ self.right
    }

    /// The one-way function that makes a data key out of its variant: each half enciphered with the whole key (X9.24-1
    /// annex A.4.1).
    fn one_way(&self) -> Self {
        let (left, right) = (des(self.left), des(self.right));
        let enciphered = |half: u64| {
            let once = left.encrypted(half.to_be_bytes());
            u64::from_be_bytes(left.encrypted(right.decrypted(once)))
        };
        Self { left: enciphered(self.left), right: enciphered(self.right) }
    }
}

/// A single-length key: its schedule lives on the stack.
fn des(half: u64) -> TdesKey {
    TdesKey::new(&*Zeroizing::new(half.to_be_bytes())).expect("eight bytes are a key")
}

fn halves_of(bytes: &[u8]) -> Result<Halves, CryptoError> {
    let bytes = bytes.try_into().map_err(|_| CryptoError::KeyLength(bytes.len()))?;
    Ok(Halves::new(bytes))
}

/// A base derivation key (BDK), from which the keys of a whole fleet follow. Only a host's key process holds one.
#[derive(Debug)]
pub struct BaseDerivationKey {
    left: TdesKey,
    right: TdesKey,
}

impl BaseDerivationKey {
    /// Prepares a key of 16 bytes; parity bits are not looked at.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for another length.
    pub fn new(bytes: &[u8]) -> Result<Self, CryptoError> {
        let masked = halves_of(bytes)?.masked(KEY_MASK);
        Ok(Self { left: TdesKey::new(bytes)?, right: TdesKey::new(&*masked.to_bytes())? })
    }

    /// The initial key (IPEK) of one terminal (X9.24-1 annex A.6). Six DES operations.
    #[must_use]
    pub fn initial_key(&self, initial_key_id: InitialKeyId) -> InitialKey {
        let half = |key: &TdesKey| u64::from_be_bytes(key.encrypted(initial_key_id.0));
        let key = Halves { left: half(&self.left), right: half(&self.right) };
        InitialKey { key, initial_key_id }
    }

    /// The key of one transaction, by way of the terminal's initial key.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] if the counter is zero.
    pub fn transaction_key(&self, ksn: KeySerialNumber) -> Result<TransactionKey, CryptoError> {
        self.initial_key(ksn.initial_key_id).transaction_key(ksn)
    }
}

/// The initial key (IPEK) of one terminal, with its name. Wiped on drop; never prints.
pub struct InitialKey {
    key: Halves,
    initial_key_id: InitialKeyId,
}

impl InitialKey {
    /// Takes an initial key that was delivered as 16 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for another length.
    pub fn new(bytes: &[u8], initial_key_id: InitialKeyId) -> Result<Self, CryptoError> {
        Ok(Self { key: halves_of(bytes)?, initial_key_id })
    }

    /// The name of the key.
    #[must_use]
    pub fn initial_key_id(&self) -> InitialKeyId {
        self.initial_key_id
    }

    /// The clear key, for delivery under another key.
    #[must_use]
    pub fn expose_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.key.to_bytes()
    }

    /// The key of one transaction (X9.24-1 annex A). Two DES operations for each one bit of the counter.
    ///
    /// # Errors
    /// [`CryptoError::KeySerialNumber`] if the counter is zero, which would give the initial key itself away, or the
    /// serial number names another initial key.
    pub fn transaction_key(&self, ksn: KeySerialNumber) -> Result<TransactionKey, CryptoError> {
        if ksn.counter == 0 || ksn.initial_key_id != self.initial_key_id {
            return Err(CryptoError::KeySerialNumber);
        }
        let step = |key: Halves, counter| key.derived(self.initial_key_id, counter);
        Ok(TransactionKey { key: path_to(ksn.counter).fold(self.key.clone(), step), ksn })
    }
}

impl core::fmt::Debug for InitialKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "InitialKey({:?}, ***)", self.initial_key_id)
    }
}

/// What a working key is for, seen from the terminal: requests are what it sends (X9.24-1 annex A.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkingKeyUsage {
    /// Enciphers the PIN block.
    PinEncryption,
    /// MAC of requests, or of both ways.
    MacRequest,
    /// MAC of responses.
    MacResponse,
    /// Enciphers data in requests, or in both ways.
    DataRequest,
    /// Enciphers data in responses.
    DataResponse,
}

impl WorkingKeyUsage {
    /// Every usage.
    pub const ALL: [Self; 5] =
        [Self::PinEncryption, Self::MacRequest, Self::MacResponse, Self::DataRequest, Self::DataResponse];

    /// The variant constant, xored into both halves (X9.24-1 annex A.4.1).
    #[must_use]
    pub fn variant(self) -> u64 {
        match self {
            Self::PinEncryption => 0xFF,
            Self::MacRequest => 0xFF << 8,
            Self::DataRequest => 0xFF << 16,
            Self::MacResponse => 0xFF << 24,
            Self::DataResponse => 0xFF << 32,
        }
    }
}

/// The key of one transaction, with its serial number. Wiped on drop; never prints. It enciphers nothing itself: take
/// a working key.
pub struct TransactionKey {
    key: Halves,
    ksn: KeySerialNumber,
}

impl TransactionKey {
    /// The serial number to send along.
    #[must_use]
    pub fn ksn(&self) -> KeySerialNumber {
        self.ksn
    }

    /// The working key of one usage. PIN and MAC keys cost no DES operation, data keys six.
    #[must_use]
    pub fn working_key(&self, usage: WorkingKeyUsage) -> TdesKey {
        TdesKey::new(self.working_key_bytes(usage).expose()).expect("sixteen bytes are a key")
    }

    /// The clear bytes of the working key of one usage; nothing is allocated.
    #[must_use]
    pub fn working_key_bytes(&self, usage: WorkingKeyUsage) -> KeyBytes {
        let variant = self.key.masked(usage.variant());
        let key = match usage {
            WorkingKeyUsage::DataRequest | WorkingKeyUsage::DataResponse => variant.one_way(),
            _ => variant,
        };
        KeyBytes::new(&*key.to_bytes()).expect("sixteen bytes are a key")
    }

    /// The clear transaction key, for explanations and test vectors.
    #[must_use]
    pub fn expose_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.key.to_bytes()
    }

    /// True if both are the same key, compared in constant time.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        constant_time_eq(&*self.expose_bytes(), &*other.expose_bytes())
    }
}

impl core::fmt::Debug for TransactionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TransactionKey({}, ***)", self.ksn)
    }
}

/// The terminal's side: 21 future key registers and the counter (X9.24-1 annex A). Wiped on drop; never prints.
///
/// A key leaves its register when it is taken, so no transaction key is given out twice and none can be computed from
/// what is left. Save the state ([`Terminal::to_bytes`]) *before* using a taken key: an older state restored after a
/// power cut would give the same key out again.
pub struct Terminal {
    registers: KeyRegisters<Halves, REGISTERS>,
    initial_key_id: InitialKeyId,
}

impl Terminal {
    /// Loads the initial key, which the caller then drops: 42 DES operations.
    #[must_use]
    pub fn load(initial_key: &InitialKey) -> Self {
        let initial_key_id = initial_key.initial_key_id;
        let registers = KeyRegisters::load(RULE, |counter| initial_key.key.derived(initial_key_id, counter));
        Self { registers, initial_key_id }
    }

    /// The name of the initial key.
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

    /// Takes the next transaction's key, erases it here and prepares the registers below it. On average two DES
    /// operations, at most 40.
    ///
    /// # Errors
    /// [`CryptoError::CounterExhausted`] at the end of life.
    pub fn next_transaction(&mut self) -> Result<TransactionKey, CryptoError> {
        let initial_key_id = self.initial_key_id;
        let (counter, key) = self.registers.take(|key, counter| key.derived(initial_key_id, counter))?;
        Ok(TransactionKey { key, ksn: KeySerialNumber { initial_key_id, counter } })
    }

    /// The clear state, to be sealed and stored: the next serial number (counter zero at the end of life), then the
    /// keys of the registers in use, that of the lowest counter bit first.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let counter = self.registers.counter.unwrap_or(0);
        let ksn = KeySerialNumber { initial_key_id: self.initial_key_id, counter };
        // Room for every register: a growing vector would leave copies of keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KSN_BYTES + REGISTERS * KEY_BYTES));
        bytes.extend_from_slice(&ksn.to_bytes());
        self.registers.keys_in_use().for_each(|key| bytes.extend_from_slice(&*key.to_bytes()));
        bytes
    }

    /// Reads what [`Terminal::to_bytes`] wrote. Whether it is the newest state is for the caller to know.
    ///
    /// # Errors
    /// [`CryptoError::DataLength`] if there are not exactly the keys that the counter needs,
    /// [`CryptoError::KeySerialNumber`] for a counter that no terminal has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let wrong_length = CryptoError::DataLength(bytes.len());
        let (ksn, keys) = bytes.split_at_checked(KSN_BYTES).ok_or(wrong_length)?;
        let ksn = KeySerialNumber::parse(ksn)?;
        let counter = (ksn.counter > 0).then_some(ksn.counter);
        let (keys, rest) = keys.as_chunks();
        let in_use = counter.map_or(0, |counter| RULE.registers_in_use(counter).count_ones() as usize);
        if keys.len() != in_use || !rest.is_empty() {
            return Err(wrong_length);
        }
        let erased = Halves { left: 0, right: 0 };
        let registers = KeyRegisters::restore(RULE, counter, keys.iter().map(Halves::new), &erased);
        Ok(Self { registers, initial_key_id: ksn.initial_key_id })
    }
}

impl core::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Terminal({:?}, next {:?}, ***)", self.initial_key_id, self.registers.counter)
    }
}

const _: () = assert!(KEY_BYTES == 2 * DES_BLOCK_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BDK: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;
    const KSN: [u8; 10] = [0xFF, 0xFF, 0x98, 0x76, 0x54, 0x32, 0x10, 0xE0, 0x00, 0x00];

    fn initial_key() -> InitialKey {
        let ksn = KeySerialNumber::parse(&KSN).unwrap();
        BaseDerivationKey::new(&BDK.to_be_bytes()).unwrap().initial_key(ksn.initial_key_id())
    }

    fn ksn(counter: u32) -> KeySerialNumber {
        KeySerialNumber::new(initial_key().initial_key_id(), counter).unwrap()
    }

    #[test]
    fn x9_24_1_annex_a_example() {
        let initial_key = initial_key();
        assert_eq!(u128::from_be_bytes(*initial_key.expose_bytes()), 0x6AC2_92FA_A131_5B4D_858A_B3A3_D7D5_933A);
        let first = initial_key.transaction_key(ksn(1)).unwrap();
        assert_eq!(u128::from_be_bytes(*first.expose_bytes()), 0x0426_66B4_9184_CFA3_68DE_9628_D039_7BC9);
        let data = first.working_key(WorkingKeyUsage::DataRequest);
        assert_eq!(data.expose_bytes()[..4], [0x44, 0x8D, 0x3F, 0x07]);
    }

    #[test]
    fn parts_of_the_serial_number() {
        let id = ksn(1).initial_key_id();
        assert_eq!(id.key_set_id(), [0xFF, 0xFF, 0x98, 0x76, 0x54]);
        assert_eq!(id.device_id(), 0x3210E0 >> 5);
        assert_eq!(InitialKeyId::compose(id.key_set_id(), id.device_id()), Ok(id));
        assert_eq!(InitialKeyId::compose([0; 5], DEVICE_ID_MAX + 1), Err(CryptoError::Parameter));
        assert_eq!(ksn(0x1F_F800).to_string(), "FFFF9876543210FFF800");
    }

    #[test]
    fn counters_that_no_terminal_uses_are_refused() {
        let id = ksn(1).initial_key_id();
        for counter in [0x7FF, 0x1F_FFFF, 0x20_0000, u32::MAX] {
            assert_eq!(KeySerialNumber::new(id, counter), Err(CryptoError::KeySerialNumber), "{counter:X}");
        }
        let mut bytes = ksn(0x3FF).to_bytes();
        bytes[7] |= 0x10;
        assert_eq!(KeySerialNumber::parse(&bytes), Err(CryptoError::KeySerialNumber));
        assert_eq!(KeySerialNumber::parse(&bytes[1..]), Err(CryptoError::DataLength(9)));
        assert_eq!(initial_key().transaction_key(ksn(0)).err(), Some(CryptoError::KeySerialNumber));
        let other = KeySerialNumber::new(InitialKeyId::new([0; 8]), 1).unwrap();
        assert_eq!(initial_key().transaction_key(other).err(), Some(CryptoError::KeySerialNumber));
        assert_eq!(ksn(0x1F_F800).next(), Err(CryptoError::CounterExhausted));
    }

    #[test]
    fn one_life_has_1_048_575_transactions() {
        assert_eq!(ksn(0).transactions_after(), TRANSACTIONS_MAX);
        let mut counted = 0;
        let mut last = ksn(0);
        while let Ok(next) = last.next() {
            counted += 1;
            last = next;
        }
        assert_eq!((counted, last.counter()), (TRANSACTIONS_MAX, 0x1F_F800));
    }

    #[test]
    fn working_keys_differ_and_nothing_prints() {
        let transaction = initial_key().transaction_key(ksn(0x842)).unwrap();
        let keys = WorkingKeyUsage::ALL.map(|usage| transaction.working_key_bytes(usage));
        for (at, key) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| key != other));
        }
        assert_eq!(format!("{transaction:?}"), "TransactionKey(FFFF9876543210E00842, ***)");
        let terminal = format!("{:?}", Terminal::load(&initial_key()));
        assert_eq!(terminal, "Terminal(FFFF9876543210E0, next Some(1), ***)");
        assert_eq!(format!("{:?}", initial_key()), "InitialKey(FFFF9876543210E0, ***)");
    }

    #[test]
    fn terminal_and_host_agree_for_the_first_thousands() {
        let host = initial_key();
        let mut terminal = Terminal::load(&host);
        let mut expected = ksn(0);
        for _ in 0..5000 {
            expected = expected.next().unwrap();
            assert_eq!(terminal.next_ksn(), Some(expected));
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
        for bit in (0..COUNTER_BITS).filter(|bit| mask >> bit & 1 == 1) {
            state.extend_from_slice(&*host.transaction_key(serial(branch(bit))).unwrap().expose_bytes());
        }
        Terminal::from_bytes(&state).unwrap()
    }

    #[test]
    fn terminal_and_host_agree_to_the_end_of_life() {
        let host = initial_key();
        let mut terminal = terminal_before(&host, 0x1F_E000);
        let mut taken = 0;
        while let Some(expected) = terminal.next_ksn() {
            let key = terminal.next_transaction().unwrap();
            assert!(key.same_key(&host.transaction_key(expected).unwrap()), "{expected}");
            taken += 1;
        }
        assert_eq!(taken, ksn(0x1F_E000).transactions_after() + 1);
        assert_eq!(terminal.next_transaction().err(), Some(CryptoError::CounterExhausted));
        assert_eq!(terminal.to_bytes()[..], ksn(0).to_bytes());
        assert_eq!(Terminal::from_bytes(&terminal.to_bytes()).unwrap().next_ksn(), None);
        assert!(terminal.registers.keys.iter().all(|key| key.left | key.right == 0));
    }

    fn any_counter() -> impl Strategy<Value = u32> {
        proptest::collection::btree_set(0..COUNTER_BITS, 1..=10)
            .prop_map(|bits| bits.into_iter().fold(0, |counter, bit| counter | 1 << bit))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn terminal_and_host_agree_anywhere(bdk: [u8; 16], id: [u8; 8], counter in any_counter(), runs in 1..200) {
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
        fn hostile_serial_numbers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..14), key: [u8; 16]) {
            let bdk = BaseDerivationKey::new(&key).unwrap();
            if let Ok(ksn) = KeySerialNumber::parse(&bytes) {
                prop_assert_eq!(&ksn.to_bytes()[..], &bytes[..]);
                let _ = (ksn.next(), ksn.transactions_after());
                prop_assert_eq!(bdk.transaction_key(ksn).is_ok(), ksn.counter() != 0);
            }
        }

        #[test]
        fn hostile_states_never_panic(state in proptest::collection::vec(any::<u8>(), 0..400), counter in any_counter()) {
            let mut state = state;
            let in_use = RULE.registers_in_use(counter).count_ones() as usize;
            state.resize(state.len().max(KSN_BYTES + in_use * KEY_BYTES), 7);
            state.truncate(KSN_BYTES + in_use * KEY_BYTES);
            let id = InitialKeyId::new([7; 8]);
            state[..KSN_BYTES].copy_from_slice(&KeySerialNumber::new(id, counter).unwrap().to_bytes());
            let mut terminal = Terminal::from_bytes(&state).unwrap();
            prop_assert_eq!(&terminal.to_bytes()[..], &state[..]);
            for _ in 0..30 {
                let _ = terminal.next_transaction();
            }
            state.push(0);
            prop_assert!(Terminal::from_bytes(&state).is_err());
        }

        #[test]
        fn arbitrary_states_never_panic(state in proptest::collection::vec(any::<u8>(), 0..360)) {
            let _ = Terminal::from_bytes(&state);
        }
    }
}
