//! The algorithms of `paycrypto`, each beside what its block operations and key expansions alone would take.
//!
//! A new algorithm is one function that gives a [`Case`], and one line in [`measure`].

use crate::raw::{RawCiphers, round};
use crate::timing::Timing;
use core::hint::black_box;
use fast_cipher::{FastAesKey, FastSm4Key};
use paycrypto::dukpt;
use paycrypto::emv::CryptogramVersion;
use paycrypto::key_block::{
    Algorithm, Exportability, ImportPolicy, KeyBlockHeader, KeyUsage, ModeOfUse, ProtectionKey, Version, WrapOptions,
    unwrap, wrap,
};
use paycrypto::mac::{cmac, unionpay_ecb_mac, x9_19_mac};
use paycrypto::pin_block::{decipher_format_0, encipher_format_0};
use paycrypto::pin_block_extended::encipher_format_4;
use paycrypto::{AesKey, Pin, TdesKey};
use serde_json::{Value, json};

/// The message under a MAC: a financial message without its account data.
const MESSAGE: [u8; 200] = [0x35; 200];
/// The usual input of an ARQC: amounts, country, currency, date, type, number, profile, counter, verification results.
const ARQC_INPUT: [u8; 33] = [0x17; 33];
const BULK_BYTES: usize = 1024;
const ACCOUNT_NUMBER: &[u8] = b"6222620000000000012";
const KEY_1: [u8; 16] = *b"bench key no. 1!";
const KEY_2: [u8; 16] = *b"bench key no. 2!";
const ATC: [u8; 2] = [0, 28];
/// A transaction whose key is five steps from its device's initial key, as half of the first thousand are or nearer.
const DUKPT_COUNTER: u32 = 0b01_0101_0101;
const DUKPT_STEPS: f64 = DUKPT_COUNTER.count_ones() as f64;
const DUKPT_KEY_ID: [u8; 8] = [0xFF, 0xFF, 0x98, 0x76, 0x54, 0x32, 0x10, 0x00];
/// More random bytes than any key block here is padded with.
const PADDING: [u8; 32] = [0x6E; 32];
const UNPREDICTABLE_NUMBER: [u8; 4] = [1, 2, 3, 4];

/// One algorithm.
#[derive(Debug, Clone)]
pub struct Case {
    /// Stable name in the JSON.
    pub name: &'static str,
    /// Processor time of one call.
    pub ns: f64,
    /// The same for its block operations and key expansions alone.
    pub limit_ns: f64,
}

impl Case {
    pub fn per_second(&self) -> f64 {
        1e9 / self.ns
    }

    /// How many times slower than its cipher: 1 is the limit.
    pub fn ratio(&self) -> f64 {
        self.ns / self.limit_ns
    }

    pub fn to_json(&self) -> Value {
        json!({
            "per_s": self.per_second().round(), "limit_per_s": (1e9 / self.limit_ns).round(),
            "ratio": (self.ratio() * 100.0).round() / 100.0, "ns": round(self.ns),
        })
    }
}

pub fn measure(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Vec<Case>> {
    let mut cases = macs(timing, raw)?;
    cases.extend(pin_translations(timing, raw)?);
    cases.extend([dukpt_tdes(timing, raw)?, dukpt_aes(timing, raw)?]);
    cases.extend([key_block_b(timing, raw)?, key_block_d(timing, raw)?]);
    cases.push(arqc(timing, raw)?);
    cases.push(sm4(timing, raw)?);
    Ok(cases)
}

fn macs(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Vec<Case>> {
    let blocks = |bytes: usize| MESSAGE.len().div_ceil(bytes) as f64;
    let (tdes, aes, fast_aes, fast_sm4) =
        (TdesKey::new(&KEY_1)?, AesKey::new(&KEY_1)?, FastAesKey::new(&KEY_1)?, FastSm4Key::new(&KEY_1)?);
    let message = || black_box(&MESSAGE[..]);
    let case = |name, limit_ns, ns| Case { name, ns, limit_ns };
    // CMAC enciphers one block more than the message has, for its subkeys.
    let cmac_blocks = blocks(16) + 1.0;
    Ok(vec![
        case("mac_unionpay_ecb_200", 2.0 * raw.tdes.block_ns, timing.ns(|| unionpay_ecb_mac(&tdes, message()))),
        case("mac_x9_19_200", (blocks(8) + 2.0) * raw.des.block_ns, timing.ns(|| x9_19_mac(&tdes, message()))),
        case("mac_aes_cmac_200", cmac_blocks * raw.aes_128.block_ns, timing.ns(|| cmac(&aes, message()))),
        case(
            "mac_fast_aes_cmac_200",
            cmac_blocks * raw.fast_aes_128.block_ns,
            timing.ns(|| cmac(&fast_aes, message())),
        ),
        case(
            "mac_fast_sm4_unionpay_ecb_200",
            2.0 * raw.fast_sm4.block_ns,
            timing.ns(|| unionpay_ecb_mac(&fast_sm4, message())),
        ),
    ])
}

fn pin_translations(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Vec<Case>> {
    let (from, to, aes) = (TdesKey::new(&KEY_1)?, TdesKey::new(&KEY_2)?, AesKey::new(&KEY_2)?);
    let pin = Pin::parse("123456").map_err(|cause| anyhow::anyhow!("{cause}"))?;
    let block = encipher_format_0(&from, &pin, ACCOUNT_NUMBER)?;
    let opened = || decipher_format_0(&from, black_box(&block), ACCOUNT_NUMBER);
    let to_format_0 = timing.ns(|| opened().and_then(|pin| encipher_format_0(&to, &pin, ACCOUNT_NUMBER)));
    let to_format_4 = timing.ns(|| opened().and_then(|pin| encipher_format_4(&aes, &pin, ACCOUNT_NUMBER, &[9; 8])));
    let (tdes_ns, aes_ns) = (raw.tdes.block_ns, raw.aes_128.block_ns);
    Ok(vec![
        Case { name: "pin_translate_format_0_to_0", ns: to_format_0, limit_ns: 2.0 * tdes_ns },
        Case { name: "pin_translate_format_0_to_4", ns: to_format_4, limit_ns: tdes_ns + 2.0 * aes_ns },
    ])
}

/// From the base key to a PIN key ready to work. The base key's two halves of work are two schedules made before.
fn dukpt_tdes(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Case> {
    use dukpt::tdes::{BaseDerivationKey, InitialKeyId, KeySerialNumber, WorkingKeyUsage};
    let base = BaseDerivationKey::new(&KEY_1)?;
    let ksn = KeySerialNumber::new(InitialKeyId::new(DUKPT_KEY_ID), DUKPT_COUNTER)?;
    let derive = || {
        base.transaction_key(black_box(ksn)).map(|transaction| transaction.working_key(WorkingKeyUsage::PinEncryption))
    };
    derive()?;
    // Two operations of single DES a step, each under a key of its own.
    let steps_ns = DUKPT_STEPS * 2.0 * (raw.des.block_ns + raw.des.key_ns);
    let limit_ns = 2.0 * raw.tdes.block_ns + steps_ns + raw.tdes.key_ns;
    Ok(Case { name: "dukpt_tdes_pin_key", ns: timing.ns(derive), limit_ns })
}

fn dukpt_aes(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Case> {
    use dukpt::aes::{BaseDerivationKey, InitialKeyId, KeySerialNumber, KeyType, KeyUsage};
    let base = BaseDerivationKey::new(&KEY_1)?;
    let ksn = KeySerialNumber::new(InitialKeyId::new(DUKPT_KEY_ID), DUKPT_COUNTER)?;
    let derive = || {
        let transaction = base.transaction_key(black_box(ksn))?;
        transaction.working_key(KeyUsage::PinEncryption, KeyType::Aes128)
    };
    derive()?;
    // The initial key, each step and the working key: a block each, all but the first under a key of its own.
    let limit_ns =
        raw.aes_128.block_ns + (DUKPT_STEPS + 1.0) * (raw.aes_128.block_ns + raw.aes_128.key_ns) + raw.aes_128.key_ns;
    Ok(Case { name: "dukpt_aes_128_pin_key", ns: timing.ns(derive), limit_ns })
}

/// Version B, TDES: a key of 16 bytes padded to 24.
fn key_block_b(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Case> {
    // Derivation: a CMAC subkey and two blocks for each of two keys. MAC: a subkey, header and data. Data.
    let blocks = (1.0 + 4.0) + (1.0 + 6.0) + 4.0;
    let limit_ns = blocks * raw.tdes.block_ns + 2.0 * raw.tdes.key_ns;
    let ns = key_block(timing, &ProtectionKey::tdes(&KEY_1)?, Version::B)?;
    Ok(Case { name: "key_block_unwrap_b", ns, limit_ns })
}

/// Version D, AES-128: the same.
fn key_block_d(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Case> {
    let blocks = (1.0 + 2.0) + (1.0 + 3.0) + 2.0;
    let limit_ns = blocks * raw.aes_128.block_ns + 2.0 * raw.aes_128.key_ns;
    let ns = key_block(timing, &ProtectionKey::aes(&KEY_1)?, Version::D)?;
    Ok(Case { name: "key_block_unwrap_d", ns, limit_ns })
}

fn key_block(timing: &Timing, protection: &ProtectionKey, version: Version) -> anyhow::Result<f64> {
    let usage = KeyUsage::from_code(*b"P0").ok_or_else(|| anyhow::anyhow!("a usage"))?;
    let header = KeyBlockHeader::new(
        version,
        usage,
        Algorithm::Tdes,
        ModeOfUse::EncryptAndDecrypt,
        Exportability::NotExportable,
    );
    let block = wrap(protection, &header, &KEY_2, &PADDING, &WrapOptions::default())?;
    let unwrapped = || unwrap(protection, black_box(block.as_bytes()), &ImportPolicy::default());
    anyhow::ensure!(unwrapped()?.key.expose() == KEY_2, "a key block did not give its key back");
    Ok(timing.ns(unwrapped))
}

/// From the issuer's master key: card key, session key, retail MAC.
fn arqc(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Case> {
    let issuer = TdesKey::new(&KEY_1)?;
    let scheme = CryptogramVersion::Pboc;
    let card = scheme.icc_master_key(&issuer, ACCOUNT_NUMBER, 1)?;
    let arqc = scheme.cryptogram(&card, ATC, UNPREDICTABLE_NUMBER, &ARQC_INPUT)?;
    let verify = || {
        let card = scheme.icc_master_key(&issuer, ACCOUNT_NUMBER, 1)?;
        scheme.verify_cryptogram(&card, ATC, UNPREDICTABLE_NUMBER, black_box(&ARQC_INPUT), &arqc)
    };
    anyhow::ensure!(verify()?, "an ARQC did not verify");
    // The derivations encipher pairs of blocks that do not depend on each other; the MAC's padding adds a byte.
    let derivations_ns = 2.0 * (2.0 * raw.tdes.bulk_block_ns + raw.tdes.key_ns);
    let mac_ns = ((ARQC_INPUT.len() + 1).div_ceil(8) as f64 + 2.0) * raw.des.block_ns;
    let ns = timing.ns(verify);
    Ok(Case { name: "arqc_verify_unionpay", ns, limit_ns: derivations_ns + mac_ns })
}

/// ECB over 1 KiB: the same blocks as `raw` measures, behind the mode.
fn sm4(timing: &Timing, raw: &RawCiphers) -> anyhow::Result<Case> {
    let key = FastSm4Key::new(&KEY_1)?;
    let mut data = [0; BULK_BYTES];
    let limit_ns = (BULK_BYTES / paycrypto::AES_BLOCK_BYTES) as f64 * raw.fast_sm4.bulk_block_ns;
    let ns = timing.ns(|| paycrypto::encrypt_ecb(&key, black_box(&mut data)));
    Ok(Case { name: "sm4_ecb_1024", ns, limit_ns })
}
