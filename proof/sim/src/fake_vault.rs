//! A vault that costs next to nothing: what the machines of a simulation say to key process and PED is answered as the soft vault
//! answers it, with a keyed hash in the place of ciphers.
//!
//! *Duty*: every value still depends on its key and on everything under it, so that whatever a real vault would notice (a wrong
//! master key, an altered block, another card, a wrong PIN) is noticed here. *Knows*: nothing secret; it hides nothing. *Never*:
//! outside a simulation. Cards are real, so their cryptograms and PIN blocks are checked by real arithmetic. The suite at the end of
//! this file is passed by both vaults.

use crate::random::Random;
use keys::{
    Algorithm, AnyKeyBlock, ArpcMethod, Caller, Command, CryptogramPadding, CryptogramScheme, KeyBlock, KeyCheckValue,
    KeyEncryption, KeyHeader, KeyService, MacAlgorithm, MasterKeyDerivation, MessageMac, Owner, PinEncryption,
    PinReferenceKey, Refusal, Reply, SealedAccount, SessionKeyMethod, TerminalMaster, TrackEncryption, Usage,
    UsageMarker, Validity, WorkingKeys, permitted,
};
use paycrypto::TdesKey;
use paycrypto::check_value::unionpay_check_value;
use paycrypto::emv::{
    MasterKeyOption, arpc_method_1, arpc_method_2, command_mac, common_session_key, common_session_key_for_atc,
    common_session_key_for_atc_and_un, icc_master_key, pboc_session_key, verify_application_cryptogram,
    visa_script_session_key,
};
use paycrypto::key_wrap::unwrap_ecb;
use paycrypto::padding::Padding;
use paycrypto::pin_block::{decipher_format_0, encipher_format_0};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use types::{CardToken, Expiry, Pan, Pin, SecretBytes, Track2};

const TAG_BYTES: usize = 8;
const NONCE_BYTES: usize = 8;
/// Bytes of one key in a delivery of field 62, and of its check value behind it.
const SLOT_BYTES: usize = 16;
const CHECK_BYTES: usize = 4;
const SINGLE_KEY_BYTES: usize = 8;
/// Symbols of a track that are enciphered: the sixteen before the last byte; and the fewest that a track has then.
const TRACK_SYMBOLS: usize = 16;
const TRACK_SYMBOLS_MIN: usize = 17;
/// What stands for the public key of the transport key.
const PUBLIC_KEY: &[u8] = b"the transport key of a simulated vault";

/// Keyed hash of 128 bits: two lanes of folded multiplications. It need not withstand anybody.
#[derive(Clone, Copy)]
struct Mixer([u64; 2]);

const FIRST_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
const SECOND_FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;

fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
    u64::try_from(low ^ high).expect("64 bits")
}

impl Mixer {
    fn new(key: &[u8]) -> Self {
        Self([FIRST_FACTOR, SECOND_FACTOR]).with(key)
    }

    fn word(self, word: u64) -> Self {
        let Self([first, second]) = self;
        Self([
            fold(first ^ word, FIRST_FACTOR),
            fold(second ^ word.rotate_left(32), SECOND_FACTOR) ^ first.rotate_left(17),
        ])
    }

    fn with(self, part: &[u8]) -> Self {
        let length = u64::try_from(part.len()).expect("a length");
        let (words, rest) = part.as_chunks();
        let mixer = words.iter().fold(self.word(length), |mixer, word| mixer.word(u64::from_le_bytes(*word)));
        if rest.is_empty() {
            return mixer;
        }
        mixer.word(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }

    fn digest(self) -> [u8; 16] {
        let Self([first, second]) = self.word(0).word(1);
        (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
    }

    fn leading<const N: usize>(self) -> [u8; N] {
        let digest = self.digest();
        core::array::from_fn(|at| digest[at])
    }
}

/// Enciphers a KEK to the vault's transport key.
pub fn envelope(public_key: &[u8], key: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok(masked(Mixer::new(public_key), key))
}

/// Exclusive or with the hash of what stands before; twice is nothing.
fn masked(mixer: Mixer, bytes: &[u8]) -> Vec<u8> {
    bytes.iter().zip(mixer.digest()).map(|(byte, mask)| byte ^ mask).collect()
}

/// What all who speak to one vault share.
struct Inside {
    master: [u8; 16],
    random: Random,
    /// Cards' master keys: deriving them is most of what a cryptogram costs.
    card_keys: BTreeMap<[u8; 16], Arc<TdesKey>>,
}

/// A simulated vault. [`FakeVault::speaks_to`] is its only door.
#[derive(Clone)]
pub struct FakeVault(Arc<Mutex<Inside>>);

impl FakeVault {
    /// A vault whose keys are drawn from `random`.
    pub fn new(mut random: Random) -> Self {
        let mut master = [0; 16];
        random.fill(&mut master);
        Self(Arc::new(Mutex::new(Inside { master, random, card_keys: BTreeMap::new() })))
    }

    /// The vault as this caller may use it.
    pub fn speaks_to(&self, caller: Caller) -> FakeKeys {
        FakeKeys { vault: self.clone(), caller }
    }
}

/// A simulated vault as one caller has it.
#[derive(Clone)]
pub struct FakeKeys {
    vault: FakeVault,
    caller: Caller,
}

impl KeyService for FakeKeys {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        let mut inside = self.vault.0.lock().expect("no thread panics with the lock");
        let mut answer = |command: &Command| {
            if !permitted(self.caller, command.kind()) {
                return Err(Refusal::NotPermitted);
            }
            inside.carry_out(command)
        };
        commands.iter().map(|command| answer(command).unwrap_or_else(|why| Reply::Refused { why })).collect()
    }
}

type Answer = Result<Reply, Refusal>;

/// An account as a message told it.
struct Account {
    pan: Pan,
    expiry: Option<Expiry>,
}

impl Account {
    fn digits(&self) -> &[u8] {
        self.pan.expose().as_bytes()
    }
}

/// Both if they agree, the one that is there otherwise.
fn agreed<T>(one: Option<T>, other: Option<T>, same: impl FnOnce(&T, &T) -> bool) -> Result<Option<T>, Refusal> {
    match (one, other) {
        (Some(one), Some(other)) if !same(&one, &other) => Err(Refusal::AccountData),
        (one, other) => Ok(one.or(other)),
    }
}

fn header(usage: Usage, algorithm: Algorithm, owner: &Owner, version: u32, exportable: bool) -> KeyHeader {
    KeyHeader { usage, algorithm, exportable, owner: owner.clone(), version, validity: Validity::ALWAYS }
}

fn tdes(key: &[u8]) -> Result<TdesKey, Refusal> {
    TdesKey::new(key).map_err(|_| Refusal::WrongKey)
}

impl Inside {
    fn carry_out(&mut self, command: &Command) -> Answer {
        match command {
            Command::MakeMac { key, algorithm, message } => {
                self.mac(key, *algorithm, message).map(|mac| Reply::Mac { mac })
            }
            Command::VerifyMac { key, algorithm, message, mac } => {
                self.mac(key, *algorithm, message).map(|right| Reply::MacVerdict { right: right == *mac })
            }
            Command::OpenAccount { pan, track2, track_key, expiry, today } => {
                self.open_account(pan.as_ref(), track2.as_ref(), track_key.as_ref(), *expiry, *today)
            }
            Command::EncipherPin { key, pin, pan } => self.encipher_pin(key, pin, pan),
            Command::EncipherTrack { key, track2 } => {
                let enciphered = self.turn_track(key, track2.expose().as_bytes())?;
                Ok(Reply::Track { track2: SecretBytes::new(enciphered) })
            }
            Command::Tokenise { pan } => Ok(Reply::Token { token: self.token(pan) }),
            Command::Seal { label, plaintext } => Ok(Reply::Sealed { sealed: self.seal(label, plaintext.expose()) }),
            Command::Unseal { label, sealed } => {
                let plaintext = SecretBytes::copy_from(self.open(label, sealed)?);
                Ok(Reply::Unsealed { plaintext })
            }
            Command::GenerateWorkingKeys { master, version, with_track_key, double_length_mac_key } => {
                self.generate_working_keys(master, *version, *with_track_key, *double_length_mac_key)
            }
            Command::LoadWorkingKeys { master, version, delivery } => {
                self.load_working_keys(master, *version, delivery)
            }
            other => self.carry_out_for_issuers(other),
        }
    }

    fn carry_out_for_issuers(&mut self, command: &Command) -> Answer {
        match command {
            Command::VerifyPin { block, key, account, reference_key, reference } => {
                let right = self.pin_reference(block, key, account, reference_key)? == *reference;
                Ok(Reply::PinVerdict { right })
            }
            Command::MakePinReference { block, key, account, reference_key } => {
                let reference = self.pin_reference(block, key, account, reference_key)?;
                Ok(Reply::PinReference { reference })
            }
            Command::VerifyCryptogram { master, account, card_sequence, scheme, .. } => {
                let card_key = self.card_key(master.any(), account, *card_sequence, scheme)?;
                verify_cryptogram(&card_key, command)
            }
            Command::MakeScriptMac { master, account, card_sequence, scheme, atc, cryptogram, data } => {
                let card_key = self.card_key(master.any(), account, *card_sequence, scheme)?;
                let atc = atc.to_be_bytes();
                let session = match scheme.session {
                    SessionKeyMethod::None => visa_script_session_key(&card_key, atc),
                    SessionKeyMethod::Pboc => pboc_session_key(&card_key, atc),
                    SessionKeyMethod::Common if scheme.arpc == ArpcMethod::Method2 => {
                        visa_script_session_key(&card_key, atc)
                    }
                    SessionKeyMethod::Common | SessionKeyMethod::Mastercard => {
                        common_session_key(&card_key, cryptogram)
                    }
                };
                let mac = session.and_then(|session| command_mac(&session, data)).map_err(|_| Refusal::Parameter)?;
                Ok(Reply::ScriptMac { mac })
            }
            other => self.carry_out_for_administration(other),
        }
    }

    fn carry_out_for_administration(&mut self, command: &Command) -> Answer {
        match command {
            Command::GenerateKey { usage, algorithm, owner, version, exportable } => {
                let key = self.draw(algorithm.key_bytes());
                self.created(header(*usage, *algorithm, owner, *version, *exportable), &key)
            }
            Command::TransportPublicKey {} => Ok(Reply::TransportPublicKey { public_key: PUBLIC_KEY.to_vec() }),
            Command::ImportTransportKey { owner, version, enciphered } => {
                let key = masked(Mixer::new(PUBLIC_KEY), enciphered);
                self.created(header(Usage::KeyEncryption, Algorithm::TdesDouble, owner, *version, false), &key)
            }
            Command::ImportKey { usage, algorithm, owner, version, under, enciphered, check } => {
                let header = header(*usage, *algorithm, owner, *version, false);
                self.import(header, under, enciphered, *check)
            }
            Command::CheckKey { key } => {
                let check = check_value(self.unwrap(key)?);
                Ok(Reply::KeyCheck { check })
            }
            // Nobody in a simulated world says anything else.
            _ => Err(Refusal::Unavailable),
        }
    }

    // Key blocks: the key itself, then a tag over header and key.

    fn tag(&self, header: &KeyHeader, key: &[u8]) -> [u8; TAG_BYTES] {
        let facts = [header.usage.number(), header.algorithm.number(), u8::from(header.exportable)];
        Mixer::new(&self.master)
            .word(BLOCKS)
            .with(&facts)
            .word(u64::from(header.version))
            .with(header.owner.text().as_bytes())
            .with(key)
            .leading()
    }

    fn wrap(&self, header: KeyHeader, key: &[u8]) -> AnyKeyBlock {
        let enciphered = [key, &self.tag(&header, key)].concat();
        AnyKeyBlock { header, enciphered }
    }

    fn unwrap<'a>(&self, block: &'a AnyKeyBlock) -> Result<&'a [u8], Refusal> {
        let key_bytes = block.header.algorithm.key_bytes();
        let (key, tag) = block.enciphered.split_at_checked(key_bytes).ok_or(Refusal::NotAuthentic)?;
        if tag != self.tag(&block.header, key) || block.header.validity != Validity::ALWAYS {
            return Err(Refusal::NotAuthentic);
        }
        Ok(key)
    }

    fn draw(&mut self, length: usize) -> Vec<u8> {
        let mut key = vec![0; length];
        self.random.fill(&mut key);
        key
    }

    fn created(&self, header: KeyHeader, key: &[u8]) -> Answer {
        if !header.usage.suits(header.algorithm) || key.len() != header.algorithm.key_bytes() {
            return Err(Refusal::WrongKey);
        }
        Ok(Reply::KeyCreated { check: check_value(key), key: self.wrap(header, key) })
    }

    /// Keys from outside come as the real vault takes them.
    fn import(
        &self,
        header: KeyHeader,
        under: &KeyBlock<KeyEncryption>,
        enciphered: &[u8],
        check: KeyCheckValue,
    ) -> Answer {
        if header.owner != under.header().owner {
            return Err(Refusal::WrongKey);
        }
        let clear = unwrap_ecb(&tdes(self.unwrap(under.any())?)?, enciphered).map_err(|_| Refusal::Parameter)?;
        if unionpay_check_value(&tdes(clear.expose())?) != check.0 {
            return Err(Refusal::KeyCheck);
        }
        self.created(header, clear.expose())
    }

    // Working keys.

    fn working_key<U: UsageMarker>(&self, master: &KeyBlock<TerminalMaster>, version: u32, key: &[u8]) -> KeyBlock<U> {
        let algorithm = if key.len() == SINGLE_KEY_BYTES { Algorithm::Des } else { Algorithm::TdesDouble };
        let header = header(U::USAGE, algorithm, &master.header().owner, version, false);
        self.wrap(header, key).typed().expect("a block of the usage that its header says")
    }

    fn generate_working_keys(
        &mut self,
        master: &KeyBlock<TerminalMaster>,
        version: u32,
        with_track_key: bool,
        double_length_mac_key: bool,
    ) -> Answer {
        let mask = Mixer::new(self.unwrap(master.any())?);
        let mac_bytes = if double_length_mac_key { SLOT_BYTES } else { SINGLE_KEY_BYTES };
        let lengths = [Some(SLOT_BYTES), Some(mac_bytes), with_track_key.then_some(SLOT_BYTES)];
        let [pin, mac, track] = lengths.map(|length| length.map(|length| self.draw(length)));
        let mut delivery = Vec::new();
        for (slot, key) in (1..).zip([&pin, &mac, &track].into_iter().flatten()) {
            let end = delivery.len() + SLOT_BYTES;
            delivery.extend(masked(mask.word(slot), key));
            delivery.resize(end, 0);
            delivery.extend(check_value(key).0);
        }
        let (pin, mac) = (pin.unwrap_or_default(), mac.unwrap_or_default());
        let keys = WorkingKeys {
            pin: self.working_key(master, version, &pin),
            mac: self.working_key(master, version, &mac),
            track: track.map(|track| self.working_key(master, version, &track)),
        };
        Ok(Reply::WorkingKeysMade { keys, delivery })
    }

    fn load_working_keys(&self, master: &KeyBlock<TerminalMaster>, version: u32, delivery: &[u8]) -> Answer {
        let mask = Mixer::new(self.unwrap(master.any())?);
        let mut found = [None, None, None];
        let slots = delivery.chunks(SLOT_BYTES + CHECK_BYTES);
        if !(2..=3).contains(&slots.len()) || !delivery.len().is_multiple_of(SLOT_BYTES + CHECK_BYTES) {
            return Err(Refusal::Parameter);
        }
        for ((slot, place), chunk) in (1..).zip(&mut found).zip(slots) {
            let (enciphered, check) = chunk.split_at(SLOT_BYTES);
            let is_single = slot == 2 && enciphered[SINGLE_KEY_BYTES..].iter().all(|byte| *byte == 0);
            let length = if is_single { SINGLE_KEY_BYTES } else { SLOT_BYTES };
            let key = masked(mask.word(slot), &enciphered[..length]);
            if check_value(&key).0 != check {
                return Err(Refusal::KeyCheck);
            }
            *place = Some(key);
        }
        let [Some(pin), Some(mac), track] = found else { return Err(Refusal::Parameter) };
        let keys = WorkingKeys {
            pin: self.working_key(master, version, &pin),
            mac: self.working_key(master, version, &mac),
            track: track.map(|track| self.working_key(master, version, &track)),
        };
        Ok(Reply::WorkingKeysMade { keys, delivery: Vec::new() })
    }

    // Messages.

    fn mac(
        &self,
        key: &KeyBlock<MessageMac>,
        algorithm: MacAlgorithm,
        message: &SecretBytes,
    ) -> Result<[u8; 8], Refusal> {
        let clear = self.unwrap(key.any())?;
        let hash = |number: u64| Mixer::new(clear).word(number).with(message.expose());
        let is_single = clear.len() == SINGLE_KEY_BYTES;
        match algorithm {
            MacAlgorithm::UnionPayEcb => Ok(upper_hex(hash(1).leading())),
            MacAlgorithm::X99 if is_single => Ok(hash(2).leading()),
            MacAlgorithm::X919 if !is_single => Ok(hash(3).leading()),
            MacAlgorithm::X99 | MacAlgorithm::X919 => Err(Refusal::WrongKey),
        }
    }

    /// Enciphers a track or deciphers it: the mask is of the symbols that stay.
    fn turn_track(&self, key: &KeyBlock<TrackEncryption>, track: &[u8]) -> Result<Vec<u8>, Refusal> {
        let key = self.unwrap(key.any())?;
        if track.len() < TRACK_SYMBOLS_MIN {
            return Err(Refusal::AccountData);
        }
        let end = (track.len().div_ceil(2) - 1) * 2;
        let start = end.checked_sub(TRACK_SYMBOLS).ok_or(Refusal::AccountData)?;
        let mask: [u8; TRACK_SYMBOLS] = Mixer::new(key).with(&track[..start]).digest();
        let mut turned = track.to_vec();
        for (symbol, mask) in turned[start..end].iter_mut().zip(mask) {
            let nibble = nibble(*symbol).ok_or(Refusal::AccountData)?;
            *symbol = UPPER_HEX[usize::from(nibble ^ mask >> 4)];
        }
        Ok(turned)
    }

    fn open_account(
        &mut self,
        pan: Option<&Pan>,
        track2: Option<&SecretBytes>,
        track_key: Option<&KeyBlock<TrackEncryption>>,
        expiry: Option<Expiry>,
        today: Expiry,
    ) -> Answer {
        let read = |track2: &SecretBytes| {
            let clear = match track_key {
                Some(key) => self.turn_track(key, track2.expose())?,
                None => track2.expose().to_vec(),
            };
            let text = core::str::from_utf8(&clear).map_err(|_| Refusal::AccountData)?;
            Track2::parse(text).map_err(|_| Refusal::AccountData)
        };
        let track = track2.map(read).transpose()?;
        let track_pan = track.as_ref().map(|track| track.pan().map_err(|_| Refusal::AccountData)).transpose()?;
        let same = |one: &Pan, other: &Pan| one.expose() == other.expose();
        let pan = agreed(pan.map(Pan::duplicate), track_pan, same)?.ok_or(Refusal::AccountData)?;
        let expiry = agreed(expiry, track.as_ref().and_then(Track2::expiry), |one, other| one == other)?;
        let account = Account { pan, expiry };
        Ok(Reply::AccountOpened {
            token: self.token(&account.pan),
            truncated: account.pan.truncated(),
            luhn_valid: account.pan.luhn_valid(),
            expired: account.expiry.is_some_and(|expiry| expiry < today),
            account: self.seal_account(&account),
        })
    }

    fn token(&self, pan: &Pan) -> CardToken {
        CardToken(Mixer::new(&self.master).word(TOKENS).with(pan.expose().as_bytes()).digest())
    }

    fn seal_account(&mut self, account: &Account) -> SealedAccount {
        let expiry = account.expiry.map_or([0, 0], |expiry| [expiry.year(), expiry.month()]);
        SealedAccount(self.seal(ACCOUNT_LABEL, &[&expiry[..], account.digits()].concat()))
    }

    fn account(&self, sealed: &SealedAccount) -> Result<Account, Refusal> {
        let [year, month, digits @ ..] = self.open(ACCOUNT_LABEL, &sealed.0)? else {
            return Err(Refusal::NotAuthentic);
        };
        let pan = core::str::from_utf8(digits).ok().and_then(|digits| Pan::parse(digits).ok());
        Ok(Account { pan: pan.ok_or(Refusal::NotAuthentic)?, expiry: Expiry::new(*year, *month) })
    }

    // What is sealed: a nonce, the bytes, a tag over label and both.

    fn seal(&mut self, label: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce = self.random.next_u64().to_le_bytes();
        let mut sealed = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag: [u8; TAG_BYTES] = self.blob_tag(label, &sealed);
        sealed.extend_from_slice(&tag);
        sealed
    }

    fn open<'a>(&self, label: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let (covered, tag) = sealed.split_last_chunk().ok_or(Refusal::NotAuthentic)?;
        let plaintext = covered.get(NONCE_BYTES..).ok_or(Refusal::NotAuthentic)?;
        if *tag == self.blob_tag(label, covered) { Ok(plaintext) } else { Err(Refusal::NotAuthentic) }
    }

    fn blob_tag(&self, label: &[u8], covered: &[u8]) -> [u8; TAG_BYTES] {
        Mixer::new(&self.master).word(BLOBS).with(label).with(covered).leading()
    }

    // Cards: real, so that what they make is checked by real arithmetic.

    fn encipher_pin(&self, key: &KeyBlock<PinEncryption>, pin: &Pin, pan: &Pan) -> Answer {
        let key = tdes(self.unwrap(key.any())?)?;
        let block = encipher_format_0(&key, pin, pan.expose().as_bytes()).map_err(|_| Refusal::AccountData)?;
        Ok(Reply::PinBlock { block })
    }

    fn pin_reference(
        &self,
        block: &[u8; 8],
        key: &KeyBlock<PinEncryption>,
        account: &SealedAccount,
        reference_key: &KeyBlock<PinReferenceKey>,
    ) -> Result<[u8; 16], Refusal> {
        let account = self.account(account)?;
        let reference_key = self.unwrap(reference_key.any())?;
        let key = tdes(self.unwrap(key.any())?)?;
        let pin = decipher_format_0(&key, block, account.digits()).map_err(|_| Refusal::PinBlock)?;
        Ok(Mixer::new(reference_key).with(account.digits()).with(pin.expose().as_bytes()).digest())
    }

    fn card_key(
        &mut self,
        master: &AnyKeyBlock,
        account: &SealedAccount,
        card_sequence: u8,
        scheme: &CryptogramScheme,
    ) -> Result<Arc<TdesKey>, Refusal> {
        let account = self.account(account)?;
        let issuer_key = self.unwrap(master)?;
        let option = match scheme.derivation {
            MasterKeyDerivation::OptionA => MasterKeyOption::A,
            MasterKeyDerivation::OptionB => MasterKeyOption::B,
        };
        let facts = [card_sequence, u8::from(scheme.derivation == MasterKeyDerivation::OptionB)];
        let place = Mixer::new(issuer_key).with(account.digits()).with(&facts).digest();
        if let Some(key) = self.card_keys.get(&place) {
            return Ok(Arc::clone(key));
        }
        let key = icc_master_key(option, &tdes(issuer_key)?, account.digits(), card_sequence);
        let key = Arc::new(key.map_err(|_| Refusal::WrongKey)?);
        self.card_keys.insert(place, Arc::clone(&key));
        Ok(key)
    }
}

/// Tell apart what is hashed under the vault's own key.
const TOKENS: u64 = 1;
const BLOBS: u64 = 2;
const BLOCKS: u64 = 3;
const ACCOUNT_LABEL: &[u8] = b"account";
const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

fn nibble(symbol: u8) -> Option<u8> {
    match symbol {
        b'0'..=b'9' => Some(symbol - b'0'),
        b'A'..=b'F' => Some(symbol - b'A' + 10),
        b'=' => Some(0xD),
        _ => None,
    }
}

fn upper_hex(bytes: [u8; 4]) -> [u8; 8] {
    core::array::from_fn(|at| UPPER_HEX[usize::from(bytes[at / 2] >> (4 * (1 - at % 2)) & 0xF)])
}

fn check_value(key: &[u8]) -> KeyCheckValue {
    KeyCheckValue(Mixer::new(key).leading())
}

/// Judges an ARQC under the card's key and answers it.
fn verify_cryptogram(card_key: &TdesKey, command: &Command) -> Answer {
    let Command::VerifyCryptogram { scheme, atc, unpredictable_number, data, cryptogram, response_code, .. } = command
    else {
        return Err(Refusal::Parameter);
    };
    let atc = atc.to_be_bytes();
    let session = match scheme.session {
        SessionKeyMethod::None => TdesKey::new(card_key.expose_bytes()),
        SessionKeyMethod::Common => common_session_key_for_atc(card_key, atc),
        SessionKeyMethod::Pboc => pboc_session_key(card_key, atc),
        SessionKeyMethod::Mastercard => common_session_key_for_atc_and_un(card_key, atc, *unpredictable_number),
    };
    let padding = match scheme.padding {
        CryptogramPadding::Zeros => Padding::Zeros,
        CryptogramPadding::Mandatory80 => Padding::Marker,
    };
    let session = session.map_err(|_| Refusal::WrongKey)?;
    let right = verify_application_cryptogram(&session, data, padding, cryptogram).map_err(|_| Refusal::Parameter)?;
    if !right {
        return Ok(Reply::CryptogramVerdict { right, arpc: None });
    }
    let key = if scheme.session == SessionKeyMethod::Mastercard { card_key } else { &session };
    let arpc = match scheme.arpc {
        ArpcMethod::Method1 => arpc_method_1(key, cryptogram, *response_code),
        ArpcMethod::Method2 => {
            // Card status update: approved or not (EMV 4.4 Book 3 annex C10).
            let update = [0, if response_code == b"00" { 0x80 } else { 0 }, 0, 0];
            let short = arpc_method_2(key, cryptogram, update, &[]);
            short.map(|short| core::array::from_fn(|at| short.get(at).copied().unwrap_or_default()))
        }
    };
    Ok(Reply::CryptogramVerdict { right, arpc: Some(arpc.map_err(|_| Refusal::WrongKey)?) })
}
