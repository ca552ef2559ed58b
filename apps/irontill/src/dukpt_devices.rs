//! DUKPT devices at the key socket: for `irontill load --rotate-keys-every-s`.
//!
//! The wire dialect of the terminals has no key serial number, so these devices bring what a host takes from such a message, a MAC and
//! a PIN block, to the key process that serves the terminals at the same time. Their base derivation key is made in the vault and
//! never leaves it; each device is loaded with an initial key as a TR-31 block.

use crate::load::Tally;
use crate::system::Folder;
use crate::till_point::profile;
use anyhow::{Context, anyhow, bail};
use card::CardAccountData;
use keys::{
    Algorithm, BaseDerivation, Caller, Command, DukptKey, DukptMacAlgorithm, EncipheredPinBlock, KeyBlock,
    KeyBlockProtection, KeyBlockVersion, KeyService, KsnFreshness, KsnMark, Owner, PinEncryption, PinFormat, PinSource,
    Reply, SealedAccount, UsageMarker, Validity,
};
use paycrypto::dukpt::tdes;
use paycrypto::key_block::{ImportPolicy, ProtectionKey, unwrap};
use paycrypto::mac::x9_19_mac;
use paycrypto::pin_block::encipher_format_0;
use sim::lab::transport_envelope;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use types::{Secret, SecretBytes};
use vault_remote::RemoteKeys;

/// Devices that pay.
const DEVICES: u32 = 3;
/// Between two payments of a device.
const PAUSE: Duration = Duration::from_millis(100);
/// Each version of the base key is good for so many days; the next one comes long before.
const OVERLAP_DAYS: u32 = 30;
const SECONDS_A_DAY: u64 = 86_400;
/// Whose card they read.
const CARD: &str = "unionpay-debit";
/// How key sets of these devices begin; the version follows.
const KEY_SET_HEAD: [u8; 3] = [0xFF, 0xFF, 0x98];

type KeySetId = [u8; tdes::KEY_SET_ID_BYTES];

/// Pays with every device until nobody is at work any more, and gives one device after another an initial key under the next version
/// of the base key. A version is counted when every device has it.
pub(crate) fn pay_and_rotate(folder: &Folder, every: Duration, all_ended: &Receiver<()>) -> Tally {
    let mut tally = Tally::default();
    if let Err(fault) = House::open(folder).and_then(|mut house| house.serve(every, all_ended, &mut tally)) {
        tally.problems.push(format!("DUKPT devices: {fault:#}"));
    }
    tally
}

/// The acquirer's side of the devices: key loading by its administration, payments by its host.
struct House {
    administration: RemoteKeys,
    host: RemoteKeys,
    owner: Owner,
    /// What initial keys travel under, and the same key in the hands of whoever loads the devices.
    protection: KeyBlock<KeyBlockProtection>,
    loading: ProtectionKey,
    /// What PINs go on under, to whoever issued the card.
    zone: KeyBlock<PinEncryption>,
    card: CardAccountData,
    account: SealedAccount,
    /// A message names its base key by the key set in its serial number.
    bases: BTreeMap<KeySetId, KeyBlock<BaseDerivation>>,
    marks: BTreeMap<tdes::InitialKeyId, KsnMark>,
    version: u32,
}

/// A device and the version of the base key that it is under.
struct Device {
    version: u32,
    registers: tdes::Terminal,
}

/// What a device sends.
struct Message {
    ksn: tdes::KeySerialNumber,
    text: Vec<u8>,
    mac: Vec<u8>,
    pin_block: Vec<u8>,
}

fn crypto(cause: paycrypto::CryptoError) -> anyhow::Error {
    anyhow!("{cause}")
}

fn one(keys: &mut RemoteKeys, command: Command) -> anyhow::Result<Reply> {
    match keys.execute(&[command]).pop() {
        Some(Reply::Refused { why }) => Err(why.into()),
        Some(reply) => Ok(reply),
        None => bail!("the key process gave no answer"),
    }
}

fn created<U: UsageMarker>(keys: &mut RemoteKeys, command: Command) -> anyhow::Result<KeyBlock<U>> {
    match one(keys, command)? {
        Reply::KeyCreated { key, .. } => Ok(key.typed()?),
        other => bail!("no key but {}", other.name()),
    }
}

impl House {
    fn open(folder: &Folder) -> anyhow::Result<Self> {
        let settings = folder.host_settings()?;
        let mut administration = RemoteKeys::connect(&settings.admin_key_socket, Caller::Administration)?;
        let mut host = RemoteKeys::connect(&settings.key_socket, Caller::Host)?;
        let owner = Owner::new("dukpt devices").context("an owner's name")?;
        let mut drawn = [0; 16];
        getrandom::fill(&mut drawn)?;
        let clear = Secret::take(&mut drawn);
        let protection = import_protection_key(&mut administration, &owner, &clear)?;
        let loading = ProtectionKey::aes(clear.expose()).map_err(|cause| anyhow!("{cause}"))?;
        let (usage, algorithm) = (PinEncryption::USAGE, Algorithm::TdesDouble);
        let make = Command::GenerateKey { usage, algorithm, owner: owner.clone(), version: 1, exportable: false };
        let zone = created(&mut administration, make)?;
        let card = profile(CARD)?.account();
        let pan = card.pan.duplicate();
        let Reply::AccountSealed { account, .. } = one(&mut host, Command::SealAccount { pan, expiry: None })? else {
            bail!("no sealed account")
        };
        let (bases, marks) = (BTreeMap::new(), BTreeMap::new());
        let version = 0;
        let mut house =
            Self { administration, host, owner, protection, loading, zone, card, account, bases, marks, version };
        house.next_version()?;
        Ok(house)
    }

    fn serve(&mut self, every: Duration, all_ended: &Receiver<()>, tally: &mut Tally) -> anyhow::Result<()> {
        let mut devices = (0..DEVICES).map(|number| self.load_device(number)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut due = Instant::now() + every;
        while all_ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            for device in &mut devices {
                self.pay(device)?;
                tally.device_payments += 1;
            }
            if Instant::now() >= due {
                due = Instant::now() + every;
                tally.rotations.base_derivation_keys += u64::from(self.turn(&mut devices)?);
            }
        }
        Ok(())
    }

    /// The next device changes over; whether it was the last one to do so.
    fn turn(&mut self, devices: &mut [Device]) -> anyhow::Result<bool> {
        if devices.iter().all(|device| device.version == self.version) {
            self.next_version()?;
        }
        for (number, device) in (0..).zip(devices.iter_mut()) {
            if device.version != self.version {
                *device = self.load_device(number)?;
                break;
            }
        }
        Ok(devices.iter().all(|device| device.version == self.version))
    }

    fn key_set(&self) -> anyhow::Result<KeySetId> {
        let [high, low] = u16::try_from(self.version).context("more versions than key sets")?.to_be_bytes();
        let [first, second, third] = KEY_SET_HEAD;
        Ok([first, second, third, high, low])
    }

    /// A new base key beside the present one: the vault knows it before the first device does.
    fn next_version(&mut self) -> anyhow::Result<()> {
        self.version += 1;
        let today = today()?;
        let make = Command::GenerateKeyWithValidity {
            usage: BaseDerivation::USAGE,
            algorithm: Algorithm::TdesDouble,
            owner: self.owner.clone(),
            version: self.version,
            exportable: false,
            validity: Validity { not_before: Some(today), not_after: Some(today + OVERLAP_DAYS) },
        };
        let base = created(&mut self.administration, make)?;
        self.bases.insert(self.key_set()?, base);
        Ok(())
    }

    /// Derives the initial key of a device in the vault, lets it out as a block and loads the device with it.
    fn load_device(&mut self, number: u32) -> anyhow::Result<Device> {
        let key_set = self.key_set()?;
        let id = tdes::InitialKeyId::compose(key_set, number).map_err(crypto)?;
        let base = self.bases.get(&key_set).context("a base key of this version")?.clone();
        let (owner, version) = (self.owner.clone(), self.version);
        let derive = Command::DeriveInitialKey { base, initial_key_id: id.to_bytes(), owner, version };
        let key: KeyBlock<keys::DukptInitial> = created(&mut self.administration, derive)?;
        let (under, exportable_there) = (self.protection.clone(), false);
        let export =
            Command::ExportKeyBlock { key: key.any().clone(), under, version: KeyBlockVersion::D, exportable_there };
        let Reply::KeyBlockExported { block, .. } = one(&mut self.administration, export)? else {
            bail!("no key block")
        };
        let opened = unwrap(&self.loading, &block, &ImportPolicy::default()).map_err(|cause| anyhow!("{cause}"))?;
        let initial = tdes::InitialKey::new(opened.key.expose(), id).map_err(crypto)?;
        Ok(Device { version, registers: tdes::Terminal::load(&initial) })
    }

    /// A payment as a host handles it: the MAC, which also judges the serial number, then the PIN on its way to the issuer.
    fn pay(&mut self, device: &mut Device) -> anyhow::Result<()> {
        let message = device.message(&self.card)?;
        let id = message.ksn.initial_key_id();
        let base = self.bases.get(&id.key_set_id()).context("a key set of ours")?.clone();
        let ksn = keys::Ksn::new(&message.ksn.to_bytes()).context("a key serial number")?;
        let key = DukptKey { base, ksn, mark: self.marks.get(&id).cloned() };
        let pin = EncipheredPinBlock {
            format: PinFormat::Iso0,
            under: PinSource::Dukpt(key.clone()),
            block: message.pin_block,
        };
        let message_text = SecretBytes::copy_from(&message.text);
        let algorithm = DukptMacAlgorithm::X919;
        let verify = Command::VerifyDukptMac { key, algorithm, message: message_text, mac: message.mac };
        match one(&mut self.host, verify)? {
            Reply::DukptMacVerdict { right: true, freshness: KsnFreshness::Fresh, mark: Some(mark) } => {
                self.marks.insert(id, mark);
            }
            other => bail!("version {}, serial number {}: {other:?}", device.version, message.ksn),
        }
        let (account, to, to_format) = (self.account.clone(), self.zone.clone(), PinFormat::Iso0);
        match one(&mut self.host, Command::TranslatePinBlock { pin, account, to, to_format })? {
            Reply::PinBlockTranslated { .. } => Ok(()),
            other => bail!("version {}, serial number {}: {}", device.version, message.ksn, other.name()),
        }
    }
}

/// Days since 1970 (UTC), as keys count their validity.
fn today() -> anyhow::Result<u32> {
    Ok(u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / SECONDS_A_DAY)?)
}

fn import_protection_key(
    administration: &mut RemoteKeys,
    owner: &Owner,
    clear: &Secret<16>,
) -> anyhow::Result<KeyBlock<KeyBlockProtection>> {
    let Reply::TransportPublicKey { public_key } = one(administration, Command::TransportPublicKey {})? else {
        bail!("no transport key")
    };
    let (algorithm, validity) = (Algorithm::Aes128, Validity::ALWAYS);
    let enciphered = transport_envelope(&public_key, clear.expose())?;
    let import = Command::ImportProtectionKey { owner: owner.clone(), version: 1, algorithm, validity, enciphered };
    created(administration, import)
}

impl Device {
    fn message(&mut self, card: &CardAccountData) -> anyhow::Result<Message> {
        let key = self.registers.next_transaction().map_err(crypto)?;
        let text = format!("payment {}", key.ksn()).into_bytes();
        let mac = x9_19_mac(&key.working_key(tdes::WorkingKeyUsage::MacRequest), &text).map_err(crypto)?;
        let pin_key = key.working_key(tdes::WorkingKeyUsage::PinEncryption);
        let pin_block = encipher_format_0(&pin_key, &card.pin, card.pan.expose().as_bytes()).map_err(crypto)?;
        Ok(Message { ksn: key.ksn(), text, mac: mac.to_vec(), pin_block: pin_block.as_slice().to_vec() })
    }
}
