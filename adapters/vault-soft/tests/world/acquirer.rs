//! The keys of an acquirer and its issuer, known to the test, and one right example of every command on them.

use super::*;
use keys::{
    AccountDataForm, AuthenticationKey, BaseDerivation, CardCode, CardTransaction, CardVerificationKey, CheckMethod,
    CryptogramVersion, DecimalisationTable, DukptDirection, DukptKey, DukptMacAlgorithm, DynamicCode,
    EncipheredPinBlock, ExpiryOrder, IssuerMasterDynamicNumber, IssuerMasterEncipherment, IssuerResponse,
    KeyBlockProtection, KeyBlockVersion, Ksn, MessageCmac, MessageHmac, PinFormat, PinOffsetKey, PinSource,
    PinVerificationValueKey, ValidationData, Validity, interchange_header,
};
use paycrypto::dukpt::{aes, tdes};
use paycrypto::key_block::{
    Algorithm as BlockAlgorithm, BlockContent, Exportability, HmacHash, KeyBlockHeader, KeyUsage, LengthHiding,
    ModeOfUse, OptionalBlock, ProtectionKey, Version, WrapOptions, padding_bytes_needed, wrap,
};
use paycrypto::{AesKey, BlockCipher, encrypt_cbc};

/// The issuer's key block protection key, AES-128.
pub const KBPK: [u8; 16] = [0x5A; 16];
/// The base derivation key of the TDES devices (the published one of X9.24-1).
pub const BDK: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;
/// The base derivation key of the AES devices (the published one of X9.24-3).
pub const AES_BDK: u128 = 0xFEDC_BA98_7654_3210_F1F1_F1F1_F1F1_F1F1;
/// Key serial numbers of a device of each kind, without their counters.
pub const TDES_DEVICE: [u8; 8] = [0xFF, 0xFF, 0x98, 0x76, 0x54, 0x32, 0x10, 0xE0];
pub const AES_DEVICE: [u8; 8] = [0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56];
pub const SHORT_PIN: &str = "1234";
pub const SERVICE_CODE: [u8; 3] = *b"201";

pub struct Acquirer {
    pub kbpk: KeyBlock<KeyBlockProtection>,
    pub bdk: KeyBlock<BaseDerivation>,
    pub aes_bdk: KeyBlock<BaseDerivation>,
    pub zone: KeyBlock<PinEncryption>,
    pub aes_zone: KeyBlock<PinEncryption>,
    pub sm4_zone: KeyBlock<PinEncryption>,
    pub pvv: KeyBlock<PinVerificationValueKey>,
    pub offset: KeyBlock<PinOffsetKey>,
    pub cvk: KeyBlock<CardVerificationKey>,
    pub imk_dn: KeyBlock<IssuerMasterDynamicNumber>,
    pub imk_smc: KeyBlock<IssuerMasterEncipherment>,
    pub cmac: KeyBlock<MessageCmac>,
    pub hmac: KeyBlock<MessageHmac>,
}

/// A TR-31 block of a known key under [`KBPK`], as a partner would send it.
pub fn key_block(usage: Usage, algorithm: Algorithm, key: &[u8], version: Version, exportable: bool) -> Vec<u8> {
    let codes = interchange_header(usage, algorithm).expect("it travels in key blocks");
    let exportability = if exportable { Exportability::Trusted } else { Exportability::NotExportable };
    let mut header = KeyBlockHeader::new(
        version,
        KeyUsage::from_code(codes.usage).unwrap(),
        BlockAlgorithm::from_code(codes.algorithm).unwrap(),
        ModeOfUse::from_code(codes.mode_of_use).unwrap(),
        exportability,
    );
    if codes.algorithm == b'H' {
        let hash = BlockContent::HmacHash(HmacHash::Sha256);
        header.optional_blocks.push(OptionalBlock::with_content(&hash).unwrap());
    }
    let needed = padding_bytes_needed(version, header.algorithm, key.len(), LengthHiding::default());
    let kbpk = ProtectionKey::aes(&KBPK).unwrap();
    wrap(&kbpk, &header, key, &vec![9; needed], &WrapOptions::default()).unwrap().into_bytes()
}

pub fn import_block(under: &KeyBlock<KeyBlockProtection>, usage: Usage, block: Vec<u8>) -> Command {
    Command::ImportKeyBlock {
        under: under.clone(),
        usage,
        owner: owner(ISSUER),
        version: 1,
        validity: Validity::ALWAYS,
        block,
    }
}

/// The protection key on its way to the host's transport key.
pub fn import_protection_key(host: &SoftVault, algorithm: Algorithm, clear: &[u8]) -> Command {
    Command::ImportProtectionKey {
        owner: owner(ISSUER),
        version: 1,
        algorithm,
        validity: Validity::ALWAYS,
        enciphered: to_transport_key(host, clear),
    }
}

fn known(
    host: &SoftVault,
    kbpk: &KeyBlock<KeyBlockProtection>,
    usage: Usage,
    algorithm: Algorithm,
    key: u128,
) -> AnyKeyBlock {
    let block = key_block(usage, algorithm, &key.to_be_bytes(), Version::D, true);
    created(one(host, Caller::Administration, import_block(kbpk, usage, block)))
}

impl Acquirer {
    pub fn build(host: &SoftVault) -> Self {
        let import = import_protection_key(host, Algorithm::Aes128, &KBPK);
        let kbpk: KeyBlock<KeyBlockProtection> = typed(created(one(host, Caller::Administration, import)));
        let double = |usage| known(host, &kbpk, usage, Algorithm::TdesDouble, ISSUER_KEY);
        let drawn = |usage, algorithm| generate(host, usage, algorithm, ISSUER, true);
        Self {
            bdk: typed(known(host, &kbpk, Usage::BaseDerivation, Algorithm::TdesDouble, BDK)),
            aes_bdk: typed(known(host, &kbpk, Usage::BaseDerivation, Algorithm::Aes128, AES_BDK)),
            zone: typed(drawn(Usage::PinEncryption, Algorithm::TdesDouble)),
            aes_zone: typed(drawn(Usage::PinEncryption, Algorithm::Aes128)),
            sm4_zone: typed(drawn(Usage::PinEncryption, Algorithm::Sm4)),
            pvv: typed(double(Usage::PinVerificationValue)),
            offset: typed(double(Usage::PinOffset)),
            cvk: typed(double(Usage::CardVerification)),
            imk_dn: typed(double(Usage::IssuerMasterDynamicNumber)),
            imk_smc: typed(double(Usage::IssuerMasterEncipherment)),
            cmac: typed(drawn(Usage::MessageCmac, Algorithm::Aes256)),
            hmac: typed(drawn(Usage::MessageHmac, Algorithm::HmacSha256)),
            kbpk,
        }
    }
}

/// A transaction of the TDES device.
pub fn tdes_transaction(counter: u32) -> (tdes::TransactionKey, Ksn) {
    let ksn = tdes::KeySerialNumber::new(tdes::InitialKeyId::new(TDES_DEVICE), counter).unwrap();
    let base = tdes::BaseDerivationKey::new(&BDK.to_be_bytes()).unwrap();
    (base.transaction_key(ksn).unwrap(), Ksn::new(&ksn.to_bytes()).unwrap())
}

/// A transaction of the AES device.
pub fn aes_transaction(counter: u32) -> (aes::TransactionKey, Ksn) {
    let ksn = aes::KeySerialNumber::new(aes::InitialKeyId::new(AES_DEVICE), counter).unwrap();
    let base = aes::BaseDerivationKey::new(&AES_BDK.to_be_bytes()).unwrap();
    (base.transaction_key(ksn).unwrap(), Ksn::new(&ksn.to_bytes()).unwrap())
}

pub fn dukpt_key(base: &KeyBlock<BaseDerivation>, ksn: &Ksn) -> DukptKey {
    DukptKey { base: base.clone(), ksn: ksn.clone(), mark: None }
}

fn changed_dukpt(base: &KeyBlock<BaseDerivation>, ksn: &Ksn, change: Change<'_>) -> DukptKey {
    DukptKey { base: changed(base, change), ksn: ksn.clone(), mark: None }
}

/// The AES device's PIN block of [`PIN`], format 4.
pub fn dukpt_pin(world: &World, counter: u32) -> EncipheredPinBlock {
    let (transaction, ksn) = aes_transaction(counter);
    let key = transaction.working_key(aes::KeyUsage::PinEncryption, aes::KeyType::Aes128).unwrap();
    let key = key.into_aes().unwrap();
    let pin = Pin::parse(PIN).unwrap();
    let block = paycrypto::pin_block_extended::encipher_format_4(&key, &pin, PAN.as_bytes(), &[7; 8]).unwrap();
    let under = PinSource::Dukpt(dukpt_key(&world.acquirer.aes_bdk, &ksn));
    EncipheredPinBlock { format: PinFormat::Iso4, under, block: block.to_vec() }
}

/// The PED's format 0 block of a PIN.
pub fn zone_pin(world: &World, pin: &str, change: Change<'_>) -> EncipheredPinBlock {
    let encipher = Command::EncipherPin { key: world.ped_keys.pin.clone(), pin: Pin::parse(pin).unwrap(), pan: pan() };
    let Reply::PinBlock { block } = one(&world.ped, Caller::Ped, encipher) else { panic!("no PIN block") };
    let under = PinSource::Key(changed(&world.keys.pin, change));
    EncipheredPinBlock { format: PinFormat::Iso0, under, block: block.to_vec() }
}

/// The card and its transaction under any version, with a right cryptogram.
pub fn card_transaction(version: CryptogramVersion) -> CardTransaction {
    let arithmetic = arithmetic_version(version);
    let issuer = TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
    let card = arithmetic.icc_master_key(&issuer, PAN.as_bytes(), 1).unwrap();
    let cryptogram = arithmetic.cryptogram(&card, ATC.to_be_bytes(), [1, 2, 3, 4], CRYPTOGRAM_DATA).unwrap();
    CardTransaction { version, card_sequence: 1, atc: ATC, cryptogram }
}

pub fn arithmetic_version(version: CryptogramVersion) -> paycrypto::emv::CryptogramVersion {
    use paycrypto::emv::CryptogramVersion as V;
    match version {
        CryptogramVersion::Pboc => V::Pboc,
        CryptogramVersion::VisaCvn10 => V::VisaCvn10,
        CryptogramVersion::VisaCvn18 => V::VisaCvn18,
        CryptogramVersion::VisaCvn22 => V::VisaCvn22,
        CryptogramVersion::MastercardCvn16 => V::MastercardCvn16,
        CryptogramVersion::MastercardCvn17 => V::MastercardCvn17,
        CryptogramVersion::MastercardCvn20 => V::MastercardCvn20,
        CryptogramVersion::MastercardCvn21 => V::MastercardCvn21,
        CryptogramVersion::InteracCvn133 => V::InteracCvn133,
    }
}

pub fn expiry() -> Expiry {
    Expiry::new(30, 12).unwrap()
}

/// One right example of every command on keys in key blocks.
pub fn exchange_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let acquirer = &world.acquirer;
    let block = key_block(Usage::CardVerification, Algorithm::TdesDouble, &ISSUER_KEY.to_be_bytes(), Version::D, false);
    let Command::ImportKeyBlock { usage, owner: name, version, validity, block, .. } =
        import_block(&acquirer.kbpk, Usage::CardVerification, block)
    else {
        panic!("an import")
    };
    vec![
        Command::GenerateKeyWithValidity {
            usage: Usage::PinEncryption,
            algorithm: Algorithm::Aes192,
            owner: owner(ISSUER),
            version: 2,
            exportable: true,
            validity: Validity { not_before: Some(1), not_after: Some(60_000) },
        },
        Command::ImportKeyBlock {
            under: changed(&acquirer.kbpk, change),
            usage,
            owner: name,
            version,
            validity,
            block,
        },
        Command::ExportKeyBlock {
            key: change(acquirer.bdk.any().clone()),
            under: changed(&acquirer.kbpk, change),
            version: KeyBlockVersion::D,
            exportable_there: false,
        },
        Command::DeriveInitialKey {
            base: changed(&acquirer.aes_bdk, change),
            initial_key_id: AES_DEVICE,
            owner: owner(TERMINAL),
            version: 1,
        },
        Command::CheckKeyValue { key: change(acquirer.cmac.any().clone()), method: CheckMethod::Cmac },
        import_protection_key(&world.host, Algorithm::Aes128, &KBPK),
    ]
}

fn value_of(world: &World) -> [u8; 4] {
    let make = Command::MakePinVerificationValue {
        pin: zone_pin(world, SHORT_PIN, &|block| block),
        account: world.account.clone(),
        key: world.acquirer.pvv.clone(),
        key_index: 1,
    };
    match one(&world.host, Caller::Administration, make) {
        Reply::PinVerificationValue { value } => value,
        other => panic!("no PVV: {other:?}"),
    }
}

fn offset_of(world: &World) -> Vec<u8> {
    match one(&world.host, Caller::Administration, make_offset(world, &|block| block)) {
        Reply::PinOffset { offset } => offset,
        other => panic!("no offset: {other:?}"),
    }
}

fn make_offset(world: &World, change: Change<'_>) -> Command {
    Command::MakePinOffset {
        pin: zone_pin(world, PIN, change),
        account: world.account.clone(),
        key: changed(&world.acquirer.offset, change),
        table: DecimalisationTable::Standard,
        validation: ValidationData::TwelveBeforeCheckDigit,
    }
}

/// One right example of every command on PINs of any source.
pub fn pin_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let (acquirer, account) = (&world.acquirer, || world.account.clone());
    vec![
        Command::TranslatePinBlock {
            pin: zone_pin(world, PIN, change),
            account: account(),
            to: changed(&acquirer.aes_zone, change),
            to_format: PinFormat::Iso4,
        },
        Command::VerifyPinReference {
            pin: zone_pin(world, PIN, change),
            account: account(),
            reference_key: changed(&world.pvk, change),
            reference: reference(world),
        },
        Command::VerifyPinVerificationValue {
            pin: zone_pin(world, SHORT_PIN, change),
            account: account(),
            key: changed(&acquirer.pvv, change),
            key_index: 1,
            value: value_of(world),
        },
        Command::VerifyPinOffset {
            pin: zone_pin(world, PIN, change),
            account: account(),
            key: changed(&acquirer.offset, change),
            table: DecimalisationTable::Standard,
            validation: ValidationData::TwelveBeforeCheckDigit,
            offset: offset_of(world),
        },
        Command::MakePinVerificationValue {
            pin: zone_pin(world, SHORT_PIN, change),
            account: account(),
            key: changed(&acquirer.pvv, change),
            key_index: 1,
        },
        make_offset(world, change),
    ]
}

/// One right example of every command on messages beyond field 64.
pub fn message_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let acquirer = &world.acquirer;
    let message = || SecretBytes::copy_from(MESSAGE);
    let make =
        Command::MakeAuthenticationCode { key: AuthenticationKey::Hmac(acquirer.hmac.clone()), message: message() };
    let Reply::AuthenticationCode { code } = one(&world.host, Caller::Host, make) else { panic!("no HMAC") };
    let (transaction, ksn) = aes_transaction(3);
    let mac_key = transaction.working_key(aes::KeyUsage::MacGeneration, aes::KeyType::Aes128).unwrap();
    let mac = paycrypto::mac::cmac(&mac_key.into_aes().unwrap(), MESSAGE).to_vec();
    vec![
        Command::MakeAuthenticationCode {
            key: AuthenticationKey::Cmac(changed(&acquirer.cmac, change)),
            message: message(),
        },
        Command::VerifyAuthenticationCode {
            key: AuthenticationKey::Hmac(changed(&acquirer.hmac, change)),
            message: message(),
            code,
        },
        Command::MakeDukptMac {
            key: changed_dukpt(&acquirer.aes_bdk, &ksn, change),
            direction: DukptDirection::ToDevice,
            algorithm: DukptMacAlgorithm::Cmac,
            message: message(),
        },
        Command::VerifyDukptMac {
            key: changed_dukpt(&acquirer.aes_bdk, &ksn, change),
            algorithm: DukptMacAlgorithm::Cmac,
            message: message(),
            mac,
        },
        Command::JudgeKsn { key: changed_dukpt(&acquirer.aes_bdk, &ksn, change) },
        open_dukpt_account(changed_dukpt(&acquirer.bdk, &tdes_transaction(5).1, change), 5),
        Command::SealAccount { pan: pan(), expiry: Some(expiry()) },
        Command::TokeniseAccount { account: world.account.clone() },
    ]
}

/// The TDES device's track under the data key of one transaction.
pub fn open_dukpt_account(key: DukptKey, counter: u32) -> Command {
    let data_key = tdes_transaction(counter).0.working_key(tdes::WorkingKeyUsage::DataRequest);
    let mut enciphered = TRACK2.as_bytes().to_vec();
    enciphered.resize(enciphered.len().next_multiple_of(8), 0);
    encrypt_cbc(&data_key, [0; 8], &mut enciphered).unwrap();
    Command::OpenDukptAccount {
        key,
        form: AccountDataForm::Track2Text,
        initial_vector: vec![0; 8],
        enciphered,
        expiry: None,
        today: Expiry::new(26, 11).unwrap(),
    }
}

/// One right example of every command on cards.
pub fn card_examples(world: &World, change: Change<'_>) -> Vec<Command> {
    let acquirer = &world.acquirer;
    let account = || world.account.clone();
    let make_code = |key| Command::MakeCardCode {
        key,
        account: account(),
        expiry: expiry(),
        order: ExpiryOrder::YearMonth,
        kind: CardCode::MagneticStripe(SERVICE_CODE),
    };
    let Reply::CardCodeMade { code } = one(&world.host, Caller::Administration, make_code(acquirer.cvk.clone())) else {
        panic!("no card code")
    };
    vec![
        Command::VerifyArqc {
            master: changed(&world.imk_ac, change),
            account: account(),
            transaction: card_transaction(CryptogramVersion::VisaCvn18),
            unpredictable_number: [1, 2, 3, 4],
            data: CRYPTOGRAM_DATA.to_vec(),
            response: IssuerResponse::CardStatusUpdate { update: [0, 0x80, 0, 0], proprietary: vec![7, 8] },
        },
        Command::MakeIssuerScriptMac {
            master: changed(&world.imk_mac, change),
            account: account(),
            transaction: card_transaction(CryptogramVersion::MastercardCvn16),
            command_index: 1,
            header: [0x84, 0x24, 0, 2, 8],
            data: Vec::new(),
        },
        Command::EncipherIssuerScript {
            master: changed(&acquirer.imk_smc, change),
            account: account(),
            transaction: card_transaction(CryptogramVersion::Pboc),
            command_index: 0,
            data: SecretBytes::copy_from(b"script"),
        },
        Command::VerifyCardCode {
            key: changed(&acquirer.cvk, change),
            account: account(),
            expiry: expiry(),
            order: ExpiryOrder::YearMonth,
            kind: CardCode::MagneticStripe(SERVICE_CODE),
            code,
        },
        make_code(changed(&acquirer.cvk, change)),
        Command::VerifyDynamicCode {
            master: changed(&acquirer.imk_dn, change),
            account: account(),
            expiry: expiry(),
            kind: cvc3(),
            code: SecretBytes::copy_from(right_cvc3().as_bytes()),
        },
    ]
}

pub fn cvc3() -> DynamicCode {
    DynamicCode::Cvc3 {
        initial_vector: [0x11, 0xBA],
        unpredictable_number: [0, 0, 8, 0x99],
        atc: ATC,
        card_sequence: 1,
    }
}

/// The last three digits of what the card answers to [`cvc3`].
pub fn right_cvc3() -> String {
    use paycrypto::emv::{MasterKeyOption, icc_master_key};
    let issuer = TdesKey::new(&ISSUER_KEY.to_be_bytes()).unwrap();
    let card = icc_master_key(MasterKeyOption::A, &issuer, PAN.as_bytes(), 1).unwrap();
    let value = paycrypto::card_verification::dynamic_cvc3(&card, [0x11, 0xBA], [0, 0, 8, 0x99], ATC.to_be_bytes());
    format!("{:05}", value.unwrap())[2..].to_owned()
}

/// An AES block enciphered by the AES device, for tests that build their own.
pub fn encrypted(key: &AesKey, block: [u8; 16]) -> [u8; 16] {
    key.encrypted(block)
}
