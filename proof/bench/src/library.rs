//! The algorithms of `paycrypto`, each beside what its block operations and key expansions alone would take.
//!
//! A new algorithm is one function that gives a [`Case`], and one line in [`measure`].

use crate::raw::{RawCiphers, round};
use crate::timing::Timing;
use core::hint::black_box;
use fast_cipher::{FastAesKey, FastSm4Key};
use paycrypto::emv::CryptogramVersion;
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
