//! DUKPT, the host's side: transaction keys, the highest serial number of each device, MACs and account data.

use crate::account::Account;
use crate::authentication::{agrees, least_bytes};
use crate::limits::Subject;
use crate::pin::PinCipher;
use crate::refusal::of_crypto;
use crate::vault::{Answer, MAC_MESSAGE_BYTES_MAX, SoftVault};
use keys::{
    AccountDataForm, Command, DukptDirection, DukptKey, DukptMacAlgorithm, KeyBlock, KeyHeader, KsnFreshness, KsnMark,
    Owner, Refusal, Reply, TDES_KSN_BYTES, Usage, Validity,
};
use machine::wire::{Encode, Malformed, Reader, Writer};
use paycrypto::dukpt::{aes, tdes};
use paycrypto::mac::{HmacSha256Key, cmac, x9_19_mac};
use paycrypto::{AesKey, KeyBytes, TdesKey, decrypt_cbc};
use types::{Expiry, Pan, SecretBytes, Track2};
use zeroize::Zeroizing;

/// Most bytes of enciphered account data: a track with room to spare.
const ACCOUNT_DATA_BYTES_MAX: usize = 256;
const MARK_LABEL: &[u8] = b"irontill ksn mark 1\0";

/// What a device is known by: whose base key, which cipher, which initial key.
struct Device<'a> {
    owner: &'a Owner,
    is_aes: bool,
    initial_key_id: [u8; 8],
}

impl Device<'_> {
    /// What a mark's seal binds it to. The base key's version is not in it: a device keeps its initial key.
    fn associated(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(MARK_LABEL).text(self.owner.text()).bool(self.is_aes).raw(&self.initial_key_id);
        writer.into_bytes()
    }
}

/// Content of a mark.
struct Highest(u32);

impl Encode for Highest {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(1).u32(self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != 1 {
            return Err(reader.malformed("mark version 1"));
        }
        reader.u32().map(Self)
    }
}

enum TransactionKeys {
    Tdes(tdes::TransactionKey),
    Aes(aes::TransactionKey, aes::KeyType, aes::KeyType),
}

/// One transaction of one device.
pub struct Transaction<'a> {
    keys: TransactionKeys,
    device: Device<'a>,
    counter: u32,
    remaining: u64,
}

/// A working key of data.
enum DataKey {
    Tdes(TdesKey),
    Aes(AesKey),
}

impl Transaction<'_> {
    /// The device's name for limits.
    pub fn device_name(&self) -> String {
        let id = u64::from_be_bytes(self.device.initial_key_id);
        format!("{}/{id:016X}/{}", self.device.owner.text(), u8::from(self.device.is_aes))
    }

    /// The key of PIN blocks: TDES for TDES, AES of the base key's length for AES.
    pub fn pin_cipher(&self) -> Result<PinCipher, Refusal> {
        match &self.keys {
            TransactionKeys::Tdes(key) => Ok(PinCipher::Tdes(key.working_key(tdes::WorkingKeyUsage::PinEncryption))),
            TransactionKeys::Aes(key, key_type, _) => {
                aes_key(key, aes::KeyUsage::PinEncryption, *key_type).map(PinCipher::Aes)
            }
        }
    }

    fn data_key(&self) -> Result<DataKey, Refusal> {
        match &self.keys {
            TransactionKeys::Tdes(key) => Ok(DataKey::Tdes(key.working_key(tdes::WorkingKeyUsage::DataRequest))),
            TransactionKeys::Aes(key, key_type, _) => {
                aes_key(key, aes::KeyUsage::DataEncryption, *key_type).map(DataKey::Aes)
            }
        }
    }

    fn mac(
        &self,
        direction: DukptDirection,
        algorithm: DukptMacAlgorithm,
        message: &SecretBytes,
    ) -> Result<Vec<u8>, Refusal> {
        if message.len() > MAC_MESSAGE_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        match &self.keys {
            TransactionKeys::Tdes(key) => {
                let usage = match direction {
                    DukptDirection::FromDevice => tdes::WorkingKeyUsage::MacRequest,
                    DukptDirection::ToDevice => tdes::WorkingKeyUsage::MacResponse,
                };
                tdes_mac(&key.working_key(usage), algorithm, message.expose())
            }
            TransactionKeys::Aes(key, key_type, hmac_type) => {
                let usage = match direction {
                    DukptDirection::FromDevice => aes::KeyUsage::MacGeneration,
                    DukptDirection::ToDevice => aes::KeyUsage::MacVerification,
                };
                match algorithm {
                    DukptMacAlgorithm::X919 => Err(Refusal::WrongKey),
                    DukptMacAlgorithm::Cmac => Ok(cmac(&aes_key(key, usage, *key_type)?, message.expose()).to_vec()),
                    DukptMacAlgorithm::HmacSha256 => {
                        let bytes = key.working_key_bytes(usage, *hmac_type).map_err(of_crypto)?;
                        Ok(HmacSha256Key::new(bytes.expose()).mac(&[message.expose()]).to_vec())
                    }
                }
            }
        }
    }
}

fn tdes_mac(key: &TdesKey, algorithm: DukptMacAlgorithm, message: &[u8]) -> Result<Vec<u8>, Refusal> {
    match algorithm {
        DukptMacAlgorithm::X919 => x9_19_mac(key, message).map(|mac| mac.to_vec()).map_err(of_crypto),
        DukptMacAlgorithm::Cmac => Ok(cmac(key, message).to_vec()),
        DukptMacAlgorithm::HmacSha256 => Err(Refusal::WrongKey),
    }
}

fn aes_key(key: &aes::TransactionKey, usage: aes::KeyUsage, key_type: aes::KeyType) -> Result<AesKey, Refusal> {
    let key = key.working_key(usage, key_type).map_err(of_crypto)?;
    key.into_aes().ok_or(Refusal::Unavailable)
}

/// The AES and HMAC working keys that go with a base key of this length.
fn key_types(base: &KeyBytes) -> Result<(aes::KeyType, aes::KeyType), Refusal> {
    match base.expose().len() {
        16 => Ok((aes::KeyType::Aes128, aes::KeyType::Hmac128)),
        24 => Ok((aes::KeyType::Aes192, aes::KeyType::Hmac192)),
        32 => Ok((aes::KeyType::Aes256, aes::KeyType::Hmac256)),
        _ => Err(Refusal::WrongKey),
    }
}

fn tdes_transaction<'a>(base: &KeyBytes, key: &'a DukptKey) -> Result<Transaction<'a>, Refusal> {
    let ksn = tdes::KeySerialNumber::parse(key.ksn.bytes()).map_err(of_crypto)?;
    let base = tdes::BaseDerivationKey::new(base.expose()).map_err(of_crypto)?;
    let initial_key_id = ksn.initial_key_id().to_bytes();
    Ok(Transaction {
        keys: TransactionKeys::Tdes(base.transaction_key(ksn).map_err(of_crypto)?),
        device: Device { owner: &key.base.header().owner, is_aes: false, initial_key_id },
        counter: ksn.counter(),
        remaining: ksn.transactions_after(),
    })
}

fn aes_transaction<'a>(base: &KeyBytes, key: &'a DukptKey) -> Result<Transaction<'a>, Refusal> {
    let bytes = key.ksn.bytes();
    let parsed = if bytes.len() == TDES_KSN_BYTES {
        aes::KeySerialNumber::parse_compatibility(bytes)
    } else {
        aes::KeySerialNumber::parse(bytes)
    };
    let ksn = parsed.map_err(of_crypto)?;
    let (key_type, hmac_type) = key_types(base)?;
    let base = aes::BaseDerivationKey::new(base.expose()).map_err(of_crypto)?;
    let initial_key_id = ksn.initial_key_id().to_bytes();
    let transaction_key = base.transaction_key(ksn).map_err(of_crypto)?;
    Ok(Transaction {
        keys: TransactionKeys::Aes(transaction_key, key_type, hmac_type),
        device: Device { owner: &key.base.header().owner, is_aes: true, initial_key_id },
        counter: ksn.counter(),
        remaining: ksn.transactions_after(),
    })
}

/// Reads opened account data.
fn read_account(form: AccountDataForm, clear: &[u8], expiry: Option<Expiry>) -> Result<Account, Refusal> {
    let text = |bytes: &[u8]| {
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        core::str::from_utf8(&bytes[..length])
            .map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| Refusal::AccountData)
    };
    match form {
        AccountDataForm::Track2Text => of_track(&text(clear)?, expiry),
        AccountDataForm::Track2Packed => of_track(&unpacked(clear)?, expiry),
        AccountDataForm::PanText => {
            let pan = Pan::parse(&text(clear)?).map_err(|_| Refusal::AccountData)?;
            Ok(Account { pan, expiry })
        }
    }
}

fn of_track(text: &str, expiry: Option<Expiry>) -> Result<Account, Refusal> {
    let track = SecretBytes::copy_from(text.as_bytes());
    if Track2::parse(text).is_err() {
        return Err(Refusal::AccountData);
    }
    Account::from_message(None, Some(&track), None, expiry)
}

/// Packed track characters up to the first F; nothing but F may follow.
fn unpacked(bytes: &[u8]) -> Result<Zeroizing<String>, Refusal> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    let mut ended = false;
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]) {
        match nibble {
            0xF => ended = true,
            _ if ended => return Err(Refusal::AccountData),
            0..=9 => text.push(char::from(b'0' + nibble)),
            0xD => text.push('D'),
            _ => return Err(Refusal::AccountData),
        }
    }
    Ok(text)
}

impl SoftVault {
    /// Carries out the commands on DUKPT transactions.
    pub(crate) fn carry_out_dukpt(&self, command: &Command) -> Option<Answer> {
        Some(match command {
            Command::DeriveInitialKey { base, initial_key_id, owner, version } => {
                self.derive_initial_key(base, *initial_key_id, owner, *version)
            }
            Command::MakeDukptMac { key, direction, algorithm, message } => self
                .fresh_transaction(key)
                .and_then(|transaction| transaction.mac(*direction, *algorithm, message))
                .map(|code| Reply::AuthenticationCode { code }),
            Command::VerifyDukptMac { key, algorithm, message, mac } => {
                self.verify_dukpt_mac(key, *algorithm, message, mac)
            }
            Command::JudgeKsn { key } => self.judge_ksn(key),
            Command::OpenDukptAccount { key, form, initial_vector, enciphered, expiry, today } => self
                .open_dukpt_account(key, initial_vector, enciphered, |clear| read_account(*form, clear, *expiry))
                .and_then(|account| self.account_opened(&account, *today)),
            _ => return None,
        })
    }

    fn transaction<'a>(&self, key: &'a DukptKey) -> Result<Transaction<'a>, Refusal> {
        let base = self.usable(key.base.any())?;
        if key.base.header().algorithm.is_aes() { aes_transaction(&base, key) } else { tdes_transaction(&base, key) }
    }

    /// The transaction, unless its serial number lies below the device's mark.
    pub(crate) fn fresh_transaction<'a>(&self, key: &'a DukptKey) -> Result<Transaction<'a>, Refusal> {
        let transaction = self.transaction(key)?;
        match self.freshness(&transaction, key.mark.as_ref())? {
            KsnFreshness::Fresh | KsnFreshness::Reused => Ok(transaction),
            KsnFreshness::Older => Err(Refusal::StaleKsn),
        }
    }

    fn freshness(&self, transaction: &Transaction<'_>, mark: Option<&KsnMark>) -> Result<KsnFreshness, Refusal> {
        let Some(mark) = mark else { return Ok(KsnFreshness::Fresh) };
        let content = self.marks.open(&transaction.device.associated(), &mark.0)?;
        let Highest(highest) = Highest::from_bytes(&content).map_err(|_| Refusal::NotAuthentic)?;
        Ok(match transaction.counter.cmp(&highest) {
            core::cmp::Ordering::Greater => KsnFreshness::Fresh,
            core::cmp::Ordering::Equal => KsnFreshness::Reused,
            core::cmp::Ordering::Less => KsnFreshness::Older,
        })
    }

    /// The device's new mark, if the serial number is fresh.
    fn new_mark(&self, transaction: &Transaction<'_>, freshness: KsnFreshness) -> Result<Option<KsnMark>, Refusal> {
        if freshness != KsnFreshness::Fresh {
            return Ok(None);
        }
        let content = Highest(transaction.counter).to_bytes();
        let sealed = self.marks.seal(&*self.entropy, &transaction.device.associated(), &content)?;
        Ok(Some(KsnMark(sealed)))
    }

    fn judge_ksn(&self, key: &DukptKey) -> Answer {
        let transaction = self.transaction(key)?;
        let freshness = self.freshness(&transaction, key.mark.as_ref())?;
        let mark = self.new_mark(&transaction, freshness)?;
        Ok(Reply::KsnJudged { freshness, mark, remaining: transaction.remaining })
    }

    fn verify_dukpt_mac(
        &self,
        key: &DukptKey,
        algorithm: DukptMacAlgorithm,
        message: &SecretBytes,
        mac: &[u8],
    ) -> Answer {
        let transaction = self.transaction(key)?;
        let subject = Subject::Mac(transaction.device_name());
        self.limiter.check(&subject)?;
        let freshness = self.freshness(&transaction, key.mark.as_ref())?;
        let computed = transaction.mac(DukptDirection::FromDevice, algorithm, message)?;
        if mac.len() < least_bytes(&computed) {
            return Err(Refusal::Parameter);
        }
        let right = agrees(&computed, mac);
        self.limiter.note(subject, right)?;
        // Only an authentic message moves the mark: a forged serial number would lock its device out.
        let mark = if right { self.new_mark(&transaction, freshness)? } else { None };
        Ok(Reply::DukptMacVerdict { right, freshness, mark })
    }

    fn derive_initial_key(
        &self,
        base: &KeyBlock<keys::BaseDerivation>,
        initial_key_id: [u8; 8],
        owner: &Owner,
        version: u32,
    ) -> Answer {
        let header = base.header();
        let clear = self.usable(base.any())?;
        let key = if header.algorithm.is_aes() {
            let base = aes::BaseDerivationKey::new(clear.expose()).map_err(of_crypto)?;
            KeyBytes::new(base.initial_key(aes::InitialKeyId::new(initial_key_id)).expose_bytes())
        } else {
            let id = tdes::InitialKeyId::new(initial_key_id);
            // Counter bits belong to the transaction, not to the device.
            if id.to_bytes() != initial_key_id {
                return Err(Refusal::Parameter);
            }
            let base = tdes::BaseDerivationKey::new(clear.expose()).map_err(of_crypto)?;
            KeyBytes::new(&*base.initial_key(id).expose_bytes())
        };
        let (owner, algorithm) = (owner.clone(), header.algorithm);
        let validity = Validity::ALWAYS.within(&header.validity);
        let usage = Usage::DukptInitial;
        let header = KeyHeader { usage, algorithm, exportable: true, owner, version, validity };
        self.wrapped(header, &key.map_err(of_crypto)?)
    }

    fn open_dukpt_account(
        &self,
        key: &DukptKey,
        initial_vector: &[u8],
        enciphered: &[u8],
        read: impl FnOnce(&[u8]) -> Result<Account, Refusal>,
    ) -> Result<Account, Refusal> {
        if enciphered.is_empty() || enciphered.len() > ACCOUNT_DATA_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let transaction = self.fresh_transaction(key)?;
        let subject = Subject::AccountData(transaction.device_name());
        self.limiter.check(&subject)?;
        let mut clear = Zeroizing::new(enciphered.to_vec());
        let wrong_vector = |_| Refusal::Parameter;
        match transaction.data_key()? {
            DataKey::Tdes(key) => decrypt_cbc(&key, initial_vector.try_into().map_err(wrong_vector)?, &mut clear),
            DataKey::Aes(key) => decrypt_cbc(&key, initial_vector.try_into().map_err(wrong_vector)?, &mut clear),
        }
        .map_err(of_crypto)?;
        let account = read(&clear);
        self.limiter.note(subject, account.is_ok())?;
        account
    }
}
