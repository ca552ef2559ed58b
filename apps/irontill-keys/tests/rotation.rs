//! A base derivation key is rotated on a real key process while its devices pay, and a copied device shows itself.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod running;

use keys::{
    Algorithm, BaseDerivation, Caller, Command, DukptKey, DukptMacAlgorithm, EncipheredPinBlock, KeyBlock,
    KeyBlockProtection, KsnFreshness, KsnMark, Owner, PinEncryption, PinFormat, PinReferenceKey, PinSource, Refusal,
    Reply, SealedAccount, Usage, Validity, interchange_header,
};
use paycrypto::dukpt::tdes;
use paycrypto::key_block::{
    Algorithm as BlockAlgorithm, Exportability, KeyBlockHeader, KeyUsage, LengthHiding, ModeOfUse, ProtectionKey,
    Version, WrapOptions, padding_bytes_needed, wrap,
};
use paycrypto::mac::x9_19_mac;
use paycrypto::pin_block::encipher_format_0;
use paycrypto::{TdesKey, dukpt};
use running::{Folder, PAN, PIN, Running, created, is_root, one, to_transport_key};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use types::{Pan, Pin, SecretBytes};
use vault_remote::RemoteKeys;

const KBPK: [u8; 16] = [0x5A; 16];
const PIK: u128 = 0x89AB_CDEF_0123_4567_7654_3210_FEDC_BA98;
/// Base derivation keys, version 1 and 2, and the key sets that their devices' serial numbers begin with.
const BDKS: [u128; 2] = [0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210, 0x1F3D_5B79_97B5_D3F1_2E4C_6A88_A6C4_E220];
const KEY_SETS: [[u8; 5]; 2] = [[0xFF, 0xFF, 0x98, 0x76, 0x54], [0xFF, 0xFF, 0x98, 0x76, 0x55]];
const DEVICES: u32 = 6;
const ROUNDS: u32 = 9;

fn today() -> u32 {
    u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400).unwrap()
}

fn owner() -> Owner {
    Owner::new("acquirer").unwrap()
}

/// A known key as a TR-31 block under [`KBPK`].
fn key_block(usage: Usage, key: u128) -> Vec<u8> {
    let codes = interchange_header(usage, Algorithm::TdesDouble).unwrap();
    let header = KeyBlockHeader::new(
        Version::D,
        KeyUsage::from_code(codes.usage).unwrap(),
        BlockAlgorithm::from_code(codes.algorithm).unwrap(),
        ModeOfUse::from_code(codes.mode_of_use).unwrap(),
        Exportability::NotExportable,
    );
    let needed = padding_bytes_needed(Version::D, header.algorithm, 16, LengthHiding::default());
    let kbpk = ProtectionKey::aes(&KBPK).unwrap();
    wrap(&kbpk, &header, &key.to_be_bytes(), &vec![9; needed], &WrapOptions::default()).unwrap().into_bytes()
}

/// The acquirer's host: its lines to the key process and the keys that it keeps as blocks.
struct House {
    host: RemoteKeys,
    administration: RemoteKeys,
    kbpk: KeyBlock<KeyBlockProtection>,
    reference_key: KeyBlock<PinReferenceKey>,
    reference: [u8; 16],
    account: SealedAccount,
    marks: BTreeMap<[u8; 8], KsnMark>,
}

impl House {
    fn set_up(folder: &Folder) -> Self {
        let socket = folder.file("socket");
        let administrations = irontill_keys::administration_socket(&socket);
        let mut administration = RemoteKeys::connect(administrations, Caller::Administration).unwrap();
        let mut host = RemoteKeys::connect(socket, Caller::Host).unwrap();
        let enciphered = to_transport_key(&mut administration, &KBPK);
        let (algorithm, validity) = (Algorithm::Aes128, Validity::ALWAYS);
        let import = Command::ImportProtectionKey { owner: owner(), version: 1, algorithm, validity, enciphered };
        let kbpk = created(one(&mut administration, import)).typed().unwrap();
        let (usage, algorithm) = (Usage::PinReference, Algorithm::HmacSha256);
        let make = Command::GenerateKey { usage, algorithm, owner: owner(), version: 1, exportable: false };
        let reference_key = created(one(&mut administration, make)).typed().unwrap();
        let open = Command::SealAccount { pan: Pan::parse(PAN).unwrap(), expiry: None };
        let Reply::AccountSealed { account, .. } = one(&mut host, open) else { panic!("no account") };
        let (reference, marks) = ([0; 16], BTreeMap::new());
        let mut house = Self { host, administration, kbpk, reference_key, reference, account, marks };
        house.make_reference();
        house
    }

    fn import<U: keys::UsageMarker>(&mut self, key: u128, version: u32, validity: Validity) -> KeyBlock<U> {
        let (under, block) = (self.kbpk.clone(), key_block(U::USAGE, key));
        let import = Command::ImportKeyBlock { under, usage: U::USAGE, owner: owner(), version, validity, block };
        created(one(&mut self.administration, import)).typed().unwrap()
    }

    /// The issuer's reference of the cardholder's PIN.
    fn make_reference(&mut self) {
        let key: KeyBlock<PinEncryption> = self.import(PIK, 1, Validity::ALWAYS);
        let clear = TdesKey::new(&PIK.to_be_bytes()).unwrap();
        let (account, reference_key) = (self.account.clone(), self.reference_key.clone());
        let make = Command::MakePinReference { block: pin_block(&clear), key, account, reference_key };
        let Reply::PinReference { reference } = one(&mut self.administration, make) else { panic!("no reference") };
        self.reference = reference;
    }

    /// A payment as a host handles it: the MAC, which also judges the serial number, then the PIN. What was said of the serial
    /// number, and what of the PIN.
    fn pay(&mut self, base: &KeyBlock<BaseDerivation>, message: &Message) -> (Reply, Reply) {
        let device = message.device();
        let mark = self.marks.get(&device).cloned();
        let ksn = keys::Ksn::new(&message.ksn.to_bytes()).unwrap();
        let key = DukptKey { base: base.clone(), ksn, mark };
        let pin = EncipheredPinBlock {
            format: PinFormat::Iso0,
            under: PinSource::Dukpt(key.clone()),
            block: message.pin_block.to_vec(),
        };
        let verify = Command::VerifyDukptMac {
            key,
            algorithm: DukptMacAlgorithm::X919,
            message: SecretBytes::copy_from(&message.text),
            mac: message.mac.to_vec(),
        };
        let judged = one(&mut self.host, verify);
        if let Reply::DukptMacVerdict { mark: Some(mark), .. } = &judged {
            self.marks.insert(device, mark.clone());
        }
        let (reference_key, reference) = (self.reference_key.clone(), self.reference);
        let account = self.account.clone();
        let asked = Command::VerifyPinReference { pin, account, reference_key, reference };
        (judged, one(&mut self.host, asked))
    }

    fn must_pay(&mut self, base: &KeyBlock<BaseDerivation>, message: &Message) {
        let (mac, pin) = self.pay(base, message);
        let fresh = KsnFreshness::Fresh;
        assert!(matches!(mac, Reply::DukptMacVerdict { right: true, freshness, .. } if freshness == fresh), "{mac:?}");
        assert!(matches!(pin, Reply::PinVerdict { right: true }), "{pin:?}");
    }
}

fn pin_block(key: &TdesKey) -> [u8; 8] {
    let block = encipher_format_0(key, &Pin::parse(PIN).unwrap(), PAN.as_bytes()).unwrap();
    block.as_slice().try_into().unwrap()
}

/// What a device sends.
struct Message {
    ksn: tdes::KeySerialNumber,
    text: Vec<u8>,
    mac: [u8; 8],
    pin_block: [u8; 8],
}

impl Message {
    fn device(&self) -> [u8; 8] {
        self.ksn.initial_key_id().to_bytes()
    }
}

/// A PED with a DUKPT key: which base key it is under, and its registers.
struct Device {
    version: usize,
    terminal: dukpt::tdes::Terminal,
}

impl Device {
    /// Injected with an initial key under a version (0 or 1) of the base key.
    fn injected(number: u32, version: usize) -> Self {
        let id = tdes::InitialKeyId::compose(KEY_SETS[version], number).unwrap();
        let base = tdes::BaseDerivationKey::new(&BDKS[version].to_be_bytes()).unwrap();
        Self { version, terminal: tdes::Terminal::load(&base.initial_key(id)) }
    }

    fn copied(&self) -> Self {
        let terminal = tdes::Terminal::from_bytes(&self.terminal.to_bytes()).unwrap();
        Self { version: self.version, terminal }
    }

    fn message(&mut self) -> Message {
        let key = self.terminal.next_transaction().unwrap();
        let text = format!("payment {}", key.ksn()).into_bytes();
        let mac = x9_19_mac(&key.working_key(tdes::WorkingKeyUsage::MacRequest), &text).unwrap();
        let pin_block = pin_block(&key.working_key(tdes::WorkingKeyUsage::PinEncryption));
        Message { ksn: key.ksn(), text, mac, pin_block }
    }
}

fn running(folder: &Folder) -> Running {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irontill-keys"));
    command.arg("--create").args(folder.arguments("socket")).args(is_root().then_some("--allow-root"));
    Running::start(&mut command)
}

#[test]
fn devices_change_their_base_key_one_by_one_and_none_is_refused_within_the_window() {
    let folder = Folder::new("rotation");
    let _process = running(&folder);
    let mut house = House::set_up(&folder);
    // The old key ends with the declared window, the new one begins today.
    let until_tomorrow = Validity { not_before: None, not_after: Some(today() + 1) };
    let from_today = Validity { not_before: Some(today()), not_after: None };
    let bases = [house.import(BDKS[0], 1, until_tomorrow), house.import(BDKS[1], 2, from_today)];
    let mut devices: Vec<Device> = (0..DEVICES).map(|number| Device::injected(number, 0)).collect();
    let mut paid = [0_u32; 2];
    for round in 0..ROUNDS {
        for (number, device) in (0..DEVICES).zip(&mut devices) {
            // One device a round, between two payments, from the second round on.
            if round == number + 1 {
                *device = Device::injected(number, 1);
            }
            house.must_pay(&bases[device.version], &device.message());
            paid[device.version] += 1;
        }
    }
    let before: u32 = (1..=DEVICES).sum();
    assert_eq!(paid, [before, DEVICES * ROUNDS - before], "both versions side by side");
    // The day after the window's last day: a block of the same key whose window ended yesterday.
    let ended = Validity { not_before: None, not_after: Some(today() - 1) };
    let ended: KeyBlock<BaseDerivation> = house.import(BDKS[0], 1, ended);
    let late = Device::injected(DEVICES, 0).message();
    let (mac, pin) = house.pay(&ended, &late);
    for reply in [mac, pin] {
        assert!(matches!(reply, Reply::Refused { why: Refusal::NotValidToday }), "{reply:?}");
    }
    house.must_pay(&bases[0], &late);
}

#[test]
fn a_copied_device_shows_itself() {
    let folder = Folder::new("clone");
    let _process = running(&folder);
    let mut house = House::set_up(&folder);
    let base = house.import(BDKS[0], 1, Validity::ALWAYS);
    let mut device = Device::injected(1, 0);
    house.must_pay(&base, &device.message());
    let mut copy = device.copied();
    house.must_pay(&base, &device.message());
    // The copy uses the serial number that the device has just used: another message under it is the alarm.
    let (mac, _) = house.pay(&base, &copy.message());
    assert!(
        matches!(mac, Reply::DukptMacVerdict { right: true, freshness: KsnFreshness::Reused, mark: None }),
        "{mac:?}"
    );
    (0..3).for_each(|_| house.must_pay(&base, &device.message()));
    // Once the device has gone ahead, what the copy sends is out of order: its PIN is not even looked at.
    let (mac, pin) = house.pay(&base, &copy.message());
    assert!(
        matches!(mac, Reply::DukptMacVerdict { right: true, freshness: KsnFreshness::Older, mark: None }),
        "{mac:?}"
    );
    assert!(matches!(pin, Reply::Refused { why: Refusal::StaleKsn }), "{pin:?}");
    house.must_pay(&base, &device.message());
    // A copy that runs ahead locks the device out: then both are stopped, and somebody must look.
    let mut ahead = device.copied();
    (0..5).for_each(|_| drop(ahead.message()));
    house.must_pay(&base, &ahead.message());
    let (_, pin) = house.pay(&base, &device.message());
    assert!(matches!(pin, Reply::Refused { why: Refusal::StaleKsn }), "{pin:?}");
}
