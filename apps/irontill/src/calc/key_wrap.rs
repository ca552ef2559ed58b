//! `aes-key-wrap`, `key-under-key`: keys enciphered under keys without a key block.

use super::cipher::{Cipher, CipherName, with_cipher};
use super::expect::Expected;
use super::report::Report;
use super::why::{key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use paycrypto::key_wrap::{aes_kw_unwrap, aes_kw_wrap, aes_kwp_unwrap, aes_kwp_wrap, unwrap_ecb, wrap_ecb};
use paycrypto::{AesKey, CryptoError};

/// AES key wrap, both ways.
#[derive(Args)]
pub struct AesKeyWrapArguments {
    /// Key encryption key.
    #[arg(long)]
    kek: String,
    /// What is wrapped, or with --unwrap the wrapped key, in hex.
    #[arg(long)]
    key: String,
    /// With padding (RFC 5649).
    #[arg(long)]
    padded: bool,
    /// Unwraps.
    #[arg(long)]
    unwrap: bool,
}

impl AesKeyWrapArguments {
    fn clause(&self) -> &'static str {
        if self.padded { "RFC 5649, NIST SP 800-38F KWP" } else { "RFC 3394, NIST SP 800-38F KW" }
    }

    fn apply(&self, kek: &AesKey, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match (self.unwrap, self.padded) {
            (false, false) => aes_kw_wrap(kek, key),
            (false, true) => aes_kwp_wrap(kek, key),
            (true, false) => aes_kw_unwrap(kek, key).map(|key| key.to_vec()),
            (true, true) => aes_kwp_unwrap(kek, key).map(|key| key.to_vec()),
        }
    }
}

impl Calculate for AesKeyWrapArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let kek = input::key("kek", &self.kek, input::AES_KEYS)?;
        input::refuse_vault_key("key", &self.key)?;
        let key = input::message("key", &self.key)?;
        let mut report = Report::new("aes-key-wrap").with("kek", &kek).with("key", &key);
        let kek = AesKey::new(&kek).map_err(input::refused("kek"))?;
        let constant = if self.padded { "A65959A6, then the length in four bytes" } else { "A6A6A6A6A6A6A6A6" };
        report.step("initial value", constant, self.clause());
        report.step("direction", if self.unwrap { "unwrap" } else { "wrap" }, self.clause());
        match self.apply(&kek, &key) {
            Ok(done) => Ok(report.result(&done)),
            Err(error @ CryptoError::Integrity) => {
                report.why = Some("another key encryption key, an altered text, or the other of KW and KWP".to_owned());
                Ok(report.result(&error.to_string()).holding(false))
            }
            Err(error) => Err(input::misuse("key", error)),
        }
    }
}

/// A key under a key in ECB mode, both ways, as terminals get it.
#[derive(Args)]
pub struct KeyUnderKeyArguments {
    /// Key encryption key, a terminal master key for example.
    #[arg(long)]
    kek: String,
    /// The clear key, or with --unwrap the enciphered one.
    #[arg(long)]
    key: String,
    /// Cipher of the key encryption key.
    #[arg(long, default_value = "tdes")]
    cipher: CipherName,
    /// Deciphers.
    #[arg(long)]
    unwrap: bool,
}

#[derive(Clone)]
struct KeyUnderKey {
    kek: Vec<u8>,
    key: Vec<u8>,
    cipher: CipherName,
    unwrap: bool,
}

impl KeyUnderKey {
    fn apply(&self) -> Result<Vec<u8>, CryptoError> {
        let kek = Cipher::new(self.cipher, &self.kek)?;
        with_cipher!(&kek, kek => match self.unwrap {
            true => unwrap_ecb(kek, &self.key).map(|key| key.expose().to_vec()),
            false => wrap_ecb(kek, &self.key),
        })
    }
}

impl KeyUnderKeyArguments {
    fn setting(&self) -> Result<KeyUnderKey, Misuse> {
        let kek = input::key("kek", &self.kek, input::CIPHER_KEYS)?;
        let key = input::key("key", &self.key, input::TDES_KEYS)?;
        Ok(KeyUnderKey { kek, key, cipher: self.cipher, unwrap: self.unwrap })
    }
}

impl Calculate for KeyUnderKeyArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        const CLAUSE: &str = "UnionPay POS §4.1";
        let setting = self.setting()?;
        let done = setting.apply().map_err(input::refused("kek"))?;
        let clear = if self.unwrap { &done } else { &setting.key };
        let mut report = Report::new("key-under-key").with("kek", &setting.kek).with("key", &setting.key);
        for (number, part) in (1..).zip(done.chunks(8)) {
            let name = if self.unwrap { "deciphered" } else { "enciphered" };
            report.step(format!("bytes {} to {}, {name}", 8 * number - 7, 8 * number), part, CLAUSE);
        }
        let name = if self.cipher == CipherName::Sm4 { CipherName::Sm4 } else { CipherName::Tdes };
        if let Ok(key) = Cipher::new(name, clear) {
            report.step("check value of the clear key", &key.zero_block()[..4], "UnionPay POS §4.3");
        }
        Ok(report.result(&done))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.setting().ok()?;
        let direction = vec![super::why::Variation::new("the other direction", |setting: &mut KeyUnderKey| {
            setting.unwrap = !setting.unwrap;
        })];
        let dimensions = [
            direction,
            others(
                &CipherName::ALL,
                setting.cipher,
                |name| name.text().to_owned(),
                |setting: &mut KeyUnderKey, name| {
                    setting.cipher = name;
                },
            ),
            key_mistakes(setting.kek.len(), |setting: &mut KeyUnderKey| &mut setting.kek),
        ];
        search(&setting, &dimensions, |setting| setting.apply().is_ok_and(|done| expected.is_bytes(&done)))
    }
}
