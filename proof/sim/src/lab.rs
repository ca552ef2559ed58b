//! The test issuer: brings test cards and their keys into any vault, by the same commands that an acquirer's operator uses.
//!
//! Everything here is public test material; a production vault must never be given it.

use anyhow::{Context, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use card::{CardAccountData, CryptogramScheme};
use issuer::{CardFile, CardScript, CardStatus, EntryModes, PinFile, Scheme};
use keys::{AnyKeyBlock, Command, KeyBlock, KeyCheckValue, KeyService, Owner, Reply, Usage, UsageMarker};
use paycrypto::TdesKey;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use types::{CardToken, Currency, Expiry, Secret, SecretBytes};
use vault_soft::{Entropy, MASTER_KEY_BYTES, MasterSecrets};

const OWNER: &str = "test issuer";
/// Opening balance of a test card: 50,000.00.
pub const OPENING_BALANCE_MINOR: i64 = 5_000_000;
/// Largest amount of one transaction: 20,000.00.
pub const SINGLE_LIMIT_MINOR: u64 = 2_000_000;

/// A card as the issuer's files need it.
#[derive(Debug)]
pub struct IssuedCard {
    /// Under which the issuer knows it.
    pub token: CardToken,
    /// Its file.
    pub file: CardFile,
    /// Money put on it at first.
    pub opening_minor: i64,
}

/// What the test issuer holds in a vault.
pub struct TestIssuer {
    transport: Vec<u8>,
    under: KeyBlock<keys::KeyEncryption>,
    pin_key: Vec<u8>,
    pin_block: KeyBlock<keys::PinEncryption>,
    reference_key: KeyBlock<keys::PinReferenceKey>,
    masters: BTreeMap<(u8, Usage), AnyKeyBlock>,
}

fn one(keys: &mut dyn KeyService, command: Command) -> anyhow::Result<Reply> {
    match keys.execute(&[command]).pop() {
        Some(Reply::Refused { why }) => bail!("the key service refused: {why}"),
        Some(reply) => Ok(reply),
        None => bail!("the key service gave no answer"),
    }
}

fn created<U: UsageMarker>(reply: Reply) -> anyhow::Result<KeyBlock<U>> {
    match reply {
        Reply::KeyCreated { key, .. } => Ok(key.typed()?),
        other => bail!("expected a key, got {}", other.name()),
    }
}

/// Secrets of a simulated host's vault. The RSA transport key is drawn once for all worlds of a process: it carries one test
/// key in at the beginning and nothing of it is ever seen again, but drawing it takes longer than a thousand payments.
pub fn vault_secrets(entropy: &dyn Entropy) -> anyhow::Result<MasterSecrets> {
    static TRANSPORT_KEY: OnceLock<Option<SecretBytes>> = OnceLock::new();
    let draw = || {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).ok()?;
        let der: Pkcs8V1Der<'_> = key.as_der().ok()?;
        Some(SecretBytes::copy_from(der.as_ref()))
    };
    let transport_key = TRANSPORT_KEY.get_or_init(draw).as_ref().context("no RSA key could be drawn")?;
    let mut master_key = [0; MASTER_KEY_BYTES];
    entropy.fill(&mut master_key)?;
    Ok(MasterSecrets::from_master_key(Secret::take(&mut master_key)).with_transport_key(transport_key.duplicate()))
}

/// Enciphers a KEK to the public key of a vault.
pub type Envelope = fn(&[u8], &[u8]) -> anyhow::Result<Vec<u8>>;

/// Enciphers a KEK to a vault's transport public key: RSA-OAEP with SHA-256.
pub fn transport_envelope(public_key_der: &[u8], key: &[u8]) -> anyhow::Result<Vec<u8>> {
    let public = PublicEncryptingKey::from_der(public_key_der).map_err(|_| anyhow::anyhow!("no RSA public key"))?;
    let oaep = OaepPublicEncryptingKey::new(public).map_err(|_| anyhow::anyhow!("no key for OAEP"))?;
    let mut buffer = vec![0; oaep.ciphertext_size()];
    let sealed = oaep
        .encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut buffer, None)
        .map_err(|_| anyhow::anyhow!("OAEP encryption failed"))?;
    Ok(sealed.to_vec())
}

impl TestIssuer {
    /// Sets up the issuer's keys in a vault. `seed` is 32 random bytes for its transport and PIN keys.
    pub fn set_up(keys: &mut dyn KeyService, envelope: Envelope, seed: &[u8; 32]) -> anyhow::Result<Self> {
        let owner = Owner::new(OWNER).context("an owner name")?;
        let Reply::TransportPublicKey { public_key } = one(keys, Command::TransportPublicKey {})? else {
            bail!("no transport key");
        };
        let transport = seed[..16].to_vec();
        let enciphered = envelope(&public_key, &transport)?;
        let under = created(one(keys, Command::ImportTransportKey { owner: owner.clone(), version: 1, enciphered })?)?;
        let algorithm = keys::Algorithm::HmacSha256;
        let make = Command::GenerateKey { usage: Usage::PinReference, algorithm, owner, version: 1, exportable: false };
        let reference_key = created(one(keys, make)?)?;
        Ok(Self {
            pin_key: seed[16..].to_vec(),
            pin_block: import(keys, &under, &transport, Usage::PinEncryption, &seed[16..])?.typed()?,
            transport,
            under,
            reference_key,
            masters: BTreeMap::new(),
        })
    }

    fn master(
        &mut self,
        keys: &mut dyn KeyService,
        scheme: CryptogramScheme,
        usage: Usage,
        key: &[u8],
    ) -> anyhow::Result<AnyKeyBlock> {
        let name = (scheme.cryptogram_version_number(), usage);
        if let Some(block) = self.masters.get(&name) {
            return Ok(block.clone());
        }
        let block = import(keys, &self.under, &self.transport, usage, key)?;
        self.masters.insert(name, block.clone());
        Ok(block)
    }

    /// Makes the issuer's file of a test card. `forgets_atc` is for programs that start every card anew.
    pub fn issue(
        &mut self,
        keys: &mut dyn KeyService,
        card: &CardAccountData,
        forgets_atc: bool,
    ) -> anyhow::Result<IssuedCard> {
        let open = Command::OpenAccount {
            pan: Some(card.pan.duplicate()),
            track2: None,
            track_key: None,
            expiry: Some(card.expiry),
            today: Expiry::new(0, 1).context("an expiry")?,
        };
        let Reply::AccountOpened { token, account, .. } = one(keys, open)? else { bail!("account not opened") };
        let pin_key = TdesKey::new(&self.pin_key).map_err(|cause| anyhow::anyhow!("{cause}"))?;
        let block = paycrypto::pin_block::encipher_format_0(&pin_key, &card.pin, card.pan.expose().as_bytes())
            .map_err(|cause| anyhow::anyhow!("{cause}"))?;
        let make = Command::MakePinReference {
            block,
            key: self.pin_block.clone(),
            account,
            reference_key: self.reference_key.clone(),
        };
        let Reply::PinReference { reference } = one(keys, make)? else { bail!("no PIN reference") };
        let master_ac = self.master(keys, card.scheme, Usage::IssuerMasterAc, card.issuer_keys.cryptogram.expose())?;
        let master_mac = self.master(keys, card.scheme, Usage::IssuerMasterMac, card.issuer_keys.integrity.expose())?;
        let file = CardFile {
            status: CardStatus::Active,
            organisation: organisation(card.scheme),
            card_sequence: card.sequence_number,
            currency: Currency::CNY,
            floor_minor: 0,
            single_limit_minor: Some(SINGLE_LIMIT_MINOR),
            scheme: scheme(card.scheme)?,
            master_ac: master_ac.typed()?,
            master_mac: Some(master_mac.typed()?),
            pin: Some(PinFile { reference_key: self.reference_key.clone(), reference }),
            entry_modes: EntryModes::CHIP_CARD,
            atc_once: !forgets_atc,
            script: card.sends_script.then(script),
        };
        Ok(IssuedCard { token, file, opening_minor: OPENING_BALANCE_MINOR })
    }
}

fn import(
    keys: &mut dyn KeyService,
    under: &KeyBlock<keys::KeyEncryption>,
    transport: &[u8],
    usage: Usage,
    key: &[u8],
) -> anyhow::Result<AnyKeyBlock> {
    let crypto = |cause: paycrypto::CryptoError| anyhow::anyhow!("{cause}");
    let clear = TdesKey::new(key).map_err(crypto)?;
    let mut enciphered = key.to_vec();
    paycrypto::encrypt_ecb(&TdesKey::new(transport).map_err(crypto)?, &mut enciphered).map_err(crypto)?;
    let command = Command::ImportKey {
        usage,
        algorithm: keys::Algorithm::TdesDouble,
        owner: Owner::new(OWNER).context("an owner name")?,
        version: 1,
        under: under.clone(),
        enciphered,
        check: KeyCheckValue(paycrypto::check_value::unionpay_check_value(&clear)),
    };
    match one(keys, command)? {
        Reply::KeyCreated { key, .. } => Ok(key),
        other => bail!("expected a key, got {}", other.name()),
    }
}

/// The card organisation of a test card (F63.1).
pub fn organisation(scheme: CryptogramScheme) -> [u8; 3] {
    match scheme {
        CryptogramScheme::UnionPay => *b"CUP",
        CryptogramScheme::MastercardCvn20 => *b"MCC",
        _ => *b"VIS",
    }
}

/// The built-in issuer's rules for a test card.
///
/// # Errors
/// For a version of cryptogram that the built-in issuer has no rules for.
pub fn scheme(scheme: CryptogramScheme) -> anyhow::Result<Scheme> {
    match scheme {
        CryptogramScheme::UnionPay => Ok(Scheme::UnionPay),
        CryptogramScheme::VisaCvn18 => Ok(Scheme::VisaCvn18),
        CryptogramScheme::MastercardCvn20 => Ok(Scheme::MastercardCvn20),
        other => bail!("the test issuer has no rules for cards of version {:02X}", other.cryptogram_version_number()),
    }
}

/// PUT DATA 9F58 (lower consecutive offline limit) in template 72, as a harmless script.
pub fn script() -> CardScript {
    CardScript { identifier: *b"\0\0\0\x01", tag: [0x9F, 0x58], value: vec![0x02] }
}

fn expiry_text(date: types::LocalDate) -> [u8; 8] {
    let text = format!("{:04}{:02}{:02}", date.year(), date.month(), date.day());
    text.into_bytes().try_into().expect("eight digits")
}

/// What terminals download to take the test cards: the test CAPKs and the AIDs of unionpay-pos §5.2.
pub fn test_parameters() -> acquirer::ParameterSet {
    // The public keys are computed from their primes: once for all worlds of a process.
    static PARAMETERS: OnceLock<acquirer::ParameterSet> = OnceLock::new();
    PARAMETERS.get_or_init(compute_parameters).clone()
}

fn compute_parameters() -> acquirer::ParameterSet {
    let capk = |key: card::TestCapk| iso8583::unionpay::Capk {
        rid: key.rid,
        index: key.index,
        expiry: expiry_text(key.expiry),
        hash_algorithm: 1,
        key_algorithm: 1,
        modulus: key.modulus,
        exponent: key.exponent,
        checksum: key.checksum,
    };
    let aids = [
        ("A000000333010101", 0x0020_u16),
        ("A000000333010102", 0x0020),
        ("A000000333010103", 0x0020),
        ("A0000000031010", 0x0096),
        ("A0000000041010", 0x0002),
    ];
    acquirer::ParameterSet {
        capk_version: 1,
        capks: card::test_capks().into_iter().map(capk).collect(),
        aid_version: 1,
        aids: aids.iter().map(|(aid, version)| aid_parameters(aid, *version)).chain([offline_parameters()]).collect(),
        ..acquirer::ParameterSet::default()
    }
}

/// Amount below which the electronic cash application may approve by itself, minor units.
const OFFLINE_FLOOR_MINOR: u32 = 10_000;

/// Electronic cash: small sums stay offline, and none of them goes online by chance.
fn offline_parameters() -> iso8583::unionpay::AidParameters {
    iso8583::unionpay::AidParameters {
        floor_limit_minor: Some(OFFLINE_FLOOR_MINOR),
        max_target_percent_bcd: Some(0),
        target_percent_bcd: Some(0),
        ..aid_parameters("A000000333010106", 0x0020)
    }
}

fn aid_parameters(aid: &str, version: u16) -> iso8583::unionpay::AidParameters {
    let pairs = aid.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    iso8583::unionpay::AidParameters {
        aid: pairs.map(|pair| byte(pair).expect("a table of hex digits")).collect(),
        partial_match: Some(true),
        application_version: Some(version.to_be_bytes()),
        tac_default: Some([0xD8, 0x40, 0x00, 0xA8, 0x00]),
        tac_online: Some([0xD8, 0x40, 0x04, 0xF8, 0x00]),
        tac_denial: Some([0x00, 0x10, 0x00, 0x00, 0x00]),
        floor_limit_minor: Some(0),
        random_threshold_minor: Some(0),
        max_target_percent_bcd: Some(0x99),
        target_percent_bcd: Some(0x99),
        default_ddol: Some(vec![0x9F, 0x37, 0x04]),
        online_pin: Some(true),
        ecash_limit_bcd: Some([0, 0, 0, 0x10, 0, 0]),
        contactless_floor_limit_bcd: Some([0, 0, 0, 0x10, 0, 0]),
        contactless_limit_bcd: Some([0, 0x09, 0x99, 0x99, 0x99, 0x99]),
        contactless_cvm_limit_bcd: Some([0, 0, 0, 0x10, 0, 0]),
    }
}
