//! PINs: opened inside, verified or sent on under another key, never shown.

use crate::account::Account;
use crate::key_block::protects;
use crate::limits::Subject;
use crate::refusal::{of_crypto, of_entropy};
use crate::vault::{Answer, SoftVault};
use keys::{
    Algorithm, Command, DecimalisationTable, DukptKey, EncipheredPinBlock, KeyBlock, PinEncryption, PinFormat,
    PinOffsetKey, PinReferenceKey, PinSource, PinTranslation, PinVerificationValueKey, Refusal, Reply, SealedAccount,
    ValidationData, pin_translation,
};
use paycrypto::mac::HmacSha256Key;
use paycrypto::pin_block::{decode_format_0, decode_format_3, encipher_format_0, encode_format_0};
use paycrypto::pin_block_extended::{
    FORMAT_4_RANDOM_BYTES, decipher_format_4, decode_unionpay_sm4, encipher_format_4, encode_unionpay_sm4,
};
use paycrypto::pin_verification::{
    self, PinOffset, PinVerificationValue, ValidationRule, pin_offset, pin_verification_value, verify_pin_offset,
    verify_pin_verification_value,
};
use paycrypto::{AesKey, BlockCipher, CryptoError, Pin, Sm4Key, TdesKey, constant_time_eq};
use types::Pan;
use zeroize::Zeroizing;

const PIN_REFERENCE_BYTES: usize = 16;
const PIN_REFERENCE_DOMAIN: &[u8] = b"irontill pin reference 1\0";
const VALIDATION_PAD: &str = "F";
const VALIDATION_DIGITS: usize = 16;
const VALIDATION_DIGITS_BEFORE_CHECK: usize = 12;

/// A key that enciphers PIN blocks.
pub enum PinCipher {
    Tdes(TdesKey),
    Aes(AesKey),
    Sm4(Sm4Key),
}

/// What a PIN block stands under; the same as [`PinSource`], borrowed.
#[derive(Clone, Copy)]
enum Source<'a> {
    Key(&'a KeyBlock<PinEncryption>),
    Dukpt(&'a DukptKey),
}

/// A PIN block to be opened.
#[derive(Clone, Copy)]
struct Enciphered<'a> {
    format: PinFormat,
    under: Source<'a>,
    block: &'a [u8],
}

impl<'a> From<&'a EncipheredPinBlock> for Enciphered<'a> {
    fn from(pin: &'a EncipheredPinBlock) -> Self {
        let under = match &pin.under {
            PinSource::Key(key) => Source::Key(key),
            PinSource::Dukpt(key) => Source::Dukpt(key),
        };
        Self { format: pin.format, under, block: &pin.block }
    }
}

/// A PIN that was opened, with what a wrong verdict on it is counted by.
struct Opened {
    pin: Pin,
    subject: Subject,
    /// Algorithm it stood under.
    algorithm: Algorithm,
}

/// A block deciphered: whole, but for format 4, whose account number goes into the deciphering.
fn clear_block(cipher: &PinCipher, block: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut clear = Zeroizing::new(block.to_vec());
    let fits = match cipher {
        PinCipher::Tdes(key) => (&mut **clear).try_into().map(|block| key.decrypt_block(block)).is_ok(),
        PinCipher::Aes(key) => (&mut **clear).try_into().map(|block| key.decrypt_block(block)).is_ok(),
        PinCipher::Sm4(key) => (&mut **clear).try_into().map(|block| key.decrypt_block(block)).is_ok(),
    };
    if fits { Ok(clear) } else { Err(Refusal::Parameter) }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::DataLength(bytes.len()))
}

/// Reads the PIN. `clear` is the deciphered block, not looked at for format 4.
fn decode(
    format: PinFormat,
    cipher: &PinCipher,
    block: &[u8],
    clear: &[u8],
    account_number: &[u8],
) -> Result<Pin, CryptoError> {
    match (format, cipher) {
        (PinFormat::Iso0, PinCipher::Tdes(_)) => decode_format_0(array(clear)?, account_number),
        (PinFormat::Iso3, PinCipher::Tdes(_)) => decode_format_3(array(clear)?, account_number),
        (PinFormat::Iso4, PinCipher::Aes(key)) => decipher_format_4(key, array(block)?, account_number),
        (PinFormat::UnionPaySm4, PinCipher::Sm4(_)) => decode_unionpay_sm4(array(clear)?, account_number),
        _ => Err(CryptoError::Parameter),
    }
}

/// A keyed hash of account and PIN: what an issuer's files hold instead of a PIN.
fn pin_reference(key: &HmacSha256Key, account: &Account, pin: &Pin) -> [u8; PIN_REFERENCE_BYTES] {
    let full = key.mac(&[PIN_REFERENCE_DOMAIN, account.digits(), b"\0", pin.expose().as_bytes()]);
    core::array::from_fn(|i| full[i])
}

fn table_of(table: DecimalisationTable) -> Result<pin_verification::DecimalisationTable, Refusal> {
    let digits = core::str::from_utf8(table.digits()).map_err(|_| Refusal::Unavailable)?;
    pin_verification::DecimalisationTable::new(digits).map_err(of_crypto)
}

fn validation_data(rule: ValidationData, account: &Account) -> Result<pin_verification::ValidationData, Refusal> {
    let digits = account.digits();
    let (start, count) = match rule {
        ValidationData::LeftmostSixteen => (0, VALIDATION_DIGITS.min(digits.len())),
        ValidationData::TwelveBeforeCheckDigit => {
            let start = digits.len().checked_sub(1 + VALIDATION_DIGITS_BEFORE_CHECK).ok_or(Refusal::AccountData)?;
            (start, VALIDATION_DIGITS_BEFORE_CHECK)
        }
    };
    let rule = ValidationRule::new(start, count, VALIDATION_PAD).map_err(of_crypto)?;
    rule.apply(digits).map_err(of_crypto)
}

/// An issuer's IBM 3624 parameters.
struct Ibm3624<'a> {
    key: &'a KeyBlock<PinOffsetKey>,
    table: DecimalisationTable,
    validation: ValidationData,
}

impl SoftVault {
    /// Carries out the commands on PINs.
    pub(crate) fn carry_out_pin(&self, command: &Command) -> Option<Answer> {
        let under_key = |block, key| Enciphered { format: PinFormat::Iso0, under: Source::Key(key), block };
        Some(match command {
            Command::EncipherPin { key, pin, pan } => self.encipher_pin(key, pin, pan),
            Command::TranslatePin { block, from, to, account } => {
                let translated = self.translate(under_key(block, from), account, to, PinFormat::Iso0);
                translated.and_then(|block| {
                    block.try_into().map(|block| Reply::PinTranslated { block }).map_err(|_| Refusal::Unavailable)
                })
            }
            Command::TranslatePinBlock { pin, account, to, to_format } => {
                self.translate(pin.into(), account, to, *to_format).map(|block| Reply::PinBlockTranslated { block })
            }
            Command::VerifyPin { block, key, account, reference_key, reference } => {
                self.verify_reference(under_key(block, key), account, reference_key, reference)
            }
            Command::VerifyPinReference { pin, account, reference_key, reference } => {
                self.verify_reference(pin.into(), account, reference_key, reference)
            }
            Command::MakePinReference { block, key, account, reference_key } => {
                self.make_reference(under_key(block, key), account, reference_key)
            }
            Command::VerifyPinVerificationValue { pin, account, key, key_index, value } => {
                self.verify_value(pin.into(), account, key, *key_index, value)
            }
            Command::MakePinVerificationValue { pin, account, key, key_index } => {
                self.make_value(pin.into(), account, key, *key_index)
            }
            Command::VerifyPinOffset { pin, account, key, table, validation, offset } => {
                let issuer = Ibm3624 { key, table: *table, validation: *validation };
                self.verify_offset(pin.into(), account, &issuer, offset)
            }
            Command::MakePinOffset { pin, account, key, table, validation } => {
                let issuer = Ibm3624 { key, table: *table, validation: *validation };
                self.make_offset(pin.into(), account, &issuer)
            }
            _ => return None,
        })
    }

    fn encipher_pin(&self, key: &KeyBlock<PinEncryption>, pin: &Pin, pan: &Pan) -> Answer {
        let block = encipher_format_0(&self.tdes(key)?, pin, pan.expose().as_bytes()).map_err(of_crypto)?;
        Ok(Reply::PinBlock { block })
    }

    fn pin_cipher(&self, key: &KeyBlock<PinEncryption>) -> Result<PinCipher, Refusal> {
        match key.header().algorithm {
            algorithm if algorithm.is_aes() => self.key_of(key.any()).map(PinCipher::Aes),
            Algorithm::Sm4 => self.key_of(key.any()).map(PinCipher::Sm4),
            _ => self.key_of(key.any()).map(PinCipher::Tdes),
        }
    }

    /// Cipher, algorithm, and the owner that malformed blocks are counted by.
    fn source_cipher(&self, source: Source<'_>) -> Result<(PinCipher, Algorithm, String), Refusal> {
        match source {
            Source::Key(key) => {
                let header = key.header();
                Ok((self.pin_cipher(key)?, header.algorithm, header.owner.text().to_owned()))
            }
            Source::Dukpt(key) => {
                let transaction = self.fresh_transaction(key)?;
                Ok((transaction.pin_cipher()?, key.base.header().algorithm, transaction.device_name()))
            }
        }
    }

    /// Opens a PIN block for one card. A block that does not open counts as a wrong guess; so does one that came with
    /// another card before, which must not be tried with a second one (see [`crate::pin_guard`]).
    fn open_pin(&self, pin: Enciphered<'_>, account: &Account) -> Result<Opened, Refusal> {
        let class = self.guess_class(account);
        let subject = Subject::Pin(class);
        self.limiter.check(&subject)?;
        let (cipher, algorithm, owner) = self.source_cipher(pin.under)?;
        if !pin.format.suits(algorithm) {
            return Err(Refusal::WrongKey);
        }
        if pin.block.len() != pin.format.block_bytes() {
            return Err(Refusal::Parameter);
        }
        let sender = Subject::PinSource(owner);
        self.limiter.check(&sender)?;
        let clear = clear_block(&cipher, pin.block)?;
        let belongs = !pin.format.is_malleable() || self.guard.belongs(&clear, account.digits());
        match decode(pin.format, &cipher, pin.block, &clear, account.digits()) {
            Ok(opened) if belongs => {
                self.guard.note_pin(&class, opened.expose().as_bytes(), self.limiter.today())?;
                Ok(Opened { pin: opened, subject, algorithm })
            }
            Ok(_) | Err(CryptoError::PinBlock | CryptoError::PinBlockControl) => {
                self.limiter.note(subject, false)?;
                self.limiter.note(sender, false)?;
                Err(Refusal::PinBlock)
            }
            Err(other) => Err(of_crypto(other)),
        }
    }

    /// Enciphers a PIN in a format that translations may end in; the content of a malleable block is tied to its card.
    fn encode(&self, cipher: &PinCipher, format: PinFormat, pin: &Pin, account: &Account) -> Result<Vec<u8>, Refusal> {
        let digits = account.digits();
        match (format, cipher) {
            (PinFormat::Iso0, PinCipher::Tdes(key)) => {
                let clear = Zeroizing::new(encode_format_0(pin, digits).map_err(of_crypto)?);
                self.tie(&*clear, account)?;
                Ok(key.encrypted(*clear).to_vec())
            }
            (PinFormat::Iso4, PinCipher::Aes(key)) => {
                let mut random = Zeroizing::new([0; FORMAT_4_RANDOM_BYTES]);
                self.entropy.fill(&mut *random).map_err(of_entropy)?;
                encipher_format_4(key, pin, digits, &random).map(|block| block.to_vec()).map_err(of_crypto)
            }
            (PinFormat::UnionPaySm4, PinCipher::Sm4(key)) => {
                let clear = Zeroizing::new(encode_unionpay_sm4(pin, digits).map_err(of_crypto)?);
                self.tie(&*clear, account)?;
                Ok(key.encrypted(*clear).to_vec())
            }
            _ => Err(Refusal::WrongKey),
        }
    }

    fn tie(&self, clear: &[u8], account: &Account) -> Result<(), Refusal> {
        if self.guard.belongs(clear, account.digits()) { Ok(()) } else { Err(Refusal::PinBlock) }
    }

    fn translate(
        &self,
        pin: Enciphered<'_>,
        account: &SealedAccount,
        to: &KeyBlock<PinEncryption>,
        to_format: PinFormat,
    ) -> Result<Vec<u8>, Refusal> {
        if pin_translation(pin.format, to_format) == PinTranslation::Refused
            || !self.policy.allows(pin.format, to_format)
        {
            return Err(Refusal::NotPermitted);
        }
        let account = self.account(account)?;
        if !to_format.suits(to.header().algorithm) {
            return Err(Refusal::WrongKey);
        }
        let cipher = self.pin_cipher(to)?;
        let opened = self.open_pin(pin, &account)?;
        if !self.policy.allows_weaker_key(pin.format, to_format) {
            protects(to.header().algorithm, opened.algorithm)?;
        }
        self.encode(&cipher, to_format, &opened.pin, &account)
    }

    fn verdict(&self, opened: Opened, right: bool) -> Answer {
        self.limiter.note(opened.subject, right)?;
        Ok(Reply::PinVerdict { right })
    }

    fn verify_reference(
        &self,
        pin: Enciphered<'_>,
        account: &SealedAccount,
        reference_key: &KeyBlock<PinReferenceKey>,
        reference: &[u8; PIN_REFERENCE_BYTES],
    ) -> Answer {
        let account = self.account(account)?;
        let reference_key: HmacSha256Key = self.key_of(reference_key.any())?;
        let opened = self.open_pin(pin, &account)?;
        let right = constant_time_eq(&pin_reference(&reference_key, &account, &opened.pin), reference);
        self.verdict(opened, right)
    }

    fn make_reference(
        &self,
        pin: Enciphered<'_>,
        account: &SealedAccount,
        reference_key: &KeyBlock<PinReferenceKey>,
    ) -> Answer {
        let account = self.account(account)?;
        let reference_key: HmacSha256Key = self.key_of(reference_key.any())?;
        let opened = self.open_pin(pin, &account)?;
        Ok(Reply::PinReference { reference: pin_reference(&reference_key, &account, &opened.pin) })
    }

    fn verify_value(
        &self,
        pin: Enciphered<'_>,
        account: &SealedAccount,
        key: &KeyBlock<PinVerificationValueKey>,
        key_index: u8,
        value: &[u8; 4],
    ) -> Answer {
        let text = core::str::from_utf8(value).map_err(|_| Refusal::Parameter)?;
        let value = PinVerificationValue::parse(text).map_err(of_crypto)?;
        let account = self.account(account)?;
        let key = self.tdes(key)?;
        let opened = self.open_pin(pin, &account)?;
        let right = verify_pin_verification_value(&key, key_index, account.digits(), &opened.pin, &value);
        let right = right_or_wrong_length(right)?;
        self.verdict(opened, right)
    }

    fn make_value(
        &self,
        pin: Enciphered<'_>,
        account: &SealedAccount,
        key: &KeyBlock<PinVerificationValueKey>,
        key_index: u8,
    ) -> Answer {
        let account = self.account(account)?;
        let key = self.tdes(key)?;
        let opened = self.open_pin(pin, &account)?;
        let value = pin_verification_value(&key, key_index, account.digits(), &opened.pin).map_err(of_crypto)?;
        let value = value.expose().as_bytes().try_into().map_err(|_| Refusal::Unavailable)?;
        Ok(Reply::PinVerificationValue { value })
    }

    fn verify_offset(
        &self,
        pin: Enciphered<'_>,
        account: &SealedAccount,
        issuer: &Ibm3624<'_>,
        offset: &[u8],
    ) -> Answer {
        let text = core::str::from_utf8(offset).map_err(|_| Refusal::Parameter)?;
        let offset = PinOffset::parse(text).map_err(of_crypto)?;
        let account = self.account(account)?;
        let (key, table) = (self.tdes(issuer.key)?, table_of(issuer.table)?);
        let data = validation_data(issuer.validation, &account)?;
        let opened = self.open_pin(pin, &account)?;
        let right = right_or_wrong_length(verify_pin_offset(&key, &data, &table, &opened.pin, &offset))?;
        self.verdict(opened, right)
    }

    fn make_offset(&self, pin: Enciphered<'_>, account: &SealedAccount, issuer: &Ibm3624<'_>) -> Answer {
        let account = self.account(account)?;
        let (key, table) = (self.tdes(issuer.key)?, table_of(issuer.table)?);
        let data = validation_data(issuer.validation, &account)?;
        let opened = self.open_pin(pin, &account)?;
        let offset = pin_offset(&key, &data, &table, &opened.pin);
        Ok(Reply::PinOffset { offset: offset.expose().as_bytes().to_vec() })
    }
}

/// A PIN of another length than the reference is a wrong PIN: an error of its own would tell the length for nothing.
fn right_or_wrong_length(verdict: Result<bool, CryptoError>) -> Result<bool, Refusal> {
    match verdict {
        Err(CryptoError::PinLength) => Ok(false),
        other => other.map_err(of_crypto),
    }
}
