//! `mac`: every message authentication code, with padding and chaining.

use super::cipher::{Cipher, CipherName, parts, with_cipher};
use super::expect::Expected;
use super::report::Report;
use super::why::{Dimension, data_mistakes, key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::mac::{
    HmacSha256Key, hmac_sm3, mac_algorithm_3, retail_mac, unionpay_ecb_mac_steps, x9_9_mac, x9_19_mac,
};
use paycrypto::padding::{Padding, pad};
use paycrypto::{BlockCipher, CryptoError, DES_BLOCK_BYTES, TdesKey};

/// Clauses.
const PADDING: &str = "ISO/IEC 9797-1 §6.3";
const CHAINING: &str = "ISO/IEC 9797-1 §6.5";
const ALGORITHM_3: &str = "ISO/IEC 9797-1 §7.4";
const CMAC: &str = "NIST SP 800-38B §6";
const UNIONPAY: &str = "UnionPay POS §4.6";

/// Algorithms by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MacName {
    /// ISO/IEC 9797-1 algorithm 1: CBC-MAC (ISO 16609 with TDES).
    Cbc,
    /// ISO/IEC 9797-1 algorithm 3: retail MAC.
    Retail,
    /// ANSI X9.9: single DES.
    X9_9,
    /// ANSI X9.19: retail MAC, padded with zeros.
    X9_19,
    /// CMAC.
    Cmac,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SM3.
    HmacSm3,
    /// UnionPay's ECB algorithm.
    UnionpayEcb,
}

impl MacName {
    /// Every algorithm.
    pub const ALL: [Self; 8] = [
        Self::Cbc,
        Self::Retail,
        Self::X9_9,
        Self::X9_19,
        Self::Cmac,
        Self::HmacSha256,
        Self::HmacSm3,
        Self::UnionpayEcb,
    ];

    /// Its name.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cbc => "MAC algorithm 1 (CBC-MAC)",
            Self::Retail => "MAC algorithm 3 (retail MAC)",
            Self::X9_9 => "X9.9",
            Self::X9_19 => "X9.19",
            Self::Cmac => "CMAC",
            Self::HmacSha256 => "HMAC-SHA-256",
            Self::HmacSm3 => "HMAC-SM3",
            Self::UnionpayEcb => "UnionPay's ECB algorithm",
        }
    }

    fn is_hmac(self) -> bool {
        matches!(self, Self::HmacSha256 | Self::HmacSm3)
    }

    fn is_of_des(self) -> bool {
        matches!(self, Self::Retail | Self::X9_9 | Self::X9_19)
    }
}

/// Names of the padding methods.
pub fn padding_text(padding: Padding) -> &'static str {
    match padding {
        Padding::Zeros => "padding method 1 (zeros)",
        Padding::Marker => "padding method 2 (80, then zeros)",
        Padding::LengthPrefix => "padding method 3 (length in front)",
    }
}

/// Every padding method.
pub const PADDINGS: [Padding; 3] = [Padding::Zeros, Padding::Marker, Padding::LengthPrefix];

/// A MAC of any algorithm.
#[derive(Args)]
pub struct MacArguments {
    /// The algorithm.
    #[arg(long)]
    algorithm: MacName,
    /// Key.
    #[arg(long)]
    key: String,
    /// The key that closes MAC algorithm 3, if it is not the second half of --key.
    #[arg(long)]
    second_key: Option<String>,
    /// The data, in hex or as `text:…`.
    #[arg(long)]
    data: String,
    /// Padding method 1, 2 or 3 of ISO/IEC 9797-1; where the algorithm fixes one, that one.
    #[arg(long, default_value_t = 1)]
    padding: u64,
    /// Cipher; by the length of the key if not said.
    #[arg(long)]
    cipher: Option<CipherName>,
}

/// What a MAC is computed with.
#[derive(Clone)]
pub struct MacSetting {
    /// Algorithm.
    pub algorithm: MacName,
    /// Block cipher.
    pub cipher: CipherName,
    /// Key.
    pub key: Vec<u8>,
    /// Second key of algorithm 3.
    pub second_key: Option<Vec<u8>>,
    /// Padding.
    pub padding: Padding,
    /// The message.
    pub data: Vec<u8>,
}

impl MacSetting {
    /// The MAC, untruncated.
    pub fn mac(&self) -> Result<Vec<u8>, CryptoError> {
        let (key, data) = (&self.key[..], &self.data[..]);
        let tdes = || TdesKey::new(key);
        if self.algorithm.is_of_des() && self.cipher != CipherName::Tdes {
            return Err(CryptoError::Parameter);
        }
        Ok(match (self.algorithm, &self.second_key) {
            (MacName::Cbc, _) => Cipher::new(self.cipher, key)?.cbc_mac(data, self.padding),
            (MacName::Retail, None) => retail_mac(&tdes()?, data, self.padding)?.to_vec(),
            (MacName::Retail, Some(second)) => {
                mac_algorithm_3(&tdes()?, &TdesKey::new(second)?, data, self.padding).to_vec()
            }
            (MacName::X9_9, _) => x9_9_mac(&tdes()?, data).to_vec(),
            (MacName::X9_19, _) => x9_19_mac(&tdes()?, data)?.to_vec(),
            (MacName::Cmac, _) => Cipher::new(self.cipher, key)?.cmac(data),
            (MacName::HmacSha256, _) => HmacSha256Key::new(key).mac(&[data]).to_vec(),
            (MacName::HmacSm3, _) => hmac_sm3(key, data).to_vec(),
            (MacName::UnionpayEcb, _) => {
                with_cipher!(&Cipher::new(self.cipher, key)?, key => unionpay_ecb_mac_steps(key, data).last.to_vec())
            }
        })
    }

    /// Every value on the way to the MAC.
    pub fn show(&self, report: &mut Report) -> Result<(), CryptoError> {
        match self.algorithm {
            MacName::Cbc => {
                let cipher = Cipher::new(self.cipher, &self.key)?;
                let padded = show_padded(report, &self.data, self.padding, cipher.block_bytes())?;
                show_chain(report, &cipher, &padded);
            }
            MacName::Retail => self.show_retail(report, self.padding)?,
            MacName::X9_19 => self.show_retail(report, Padding::Zeros)?,
            MacName::X9_9 => {
                let [first, ..] = parts(&self.key)?;
                let padded = show_padded(report, &self.data, Padding::Zeros, DES_BLOCK_BYTES)?;
                show_chain(report, &Cipher::Tdes(first), &padded);
            }
            MacName::Cmac => show_cmac(report, &Cipher::new(self.cipher, &self.key)?, &self.data),
            MacName::UnionpayEcb => show_unionpay(report, &Cipher::new(self.cipher, &self.key)?, &self.data)?,
            MacName::HmacSha256 => report.step("key and data", "hashed in one", "FIPS 198-1 §4"),
            MacName::HmacSm3 => report.step("key and data", "hashed in one", "GB/T 15852.2"),
        }
        Ok(())
    }

    fn show_retail(&self, report: &mut Report, padding: Padding) -> Result<(), CryptoError> {
        match &self.second_key {
            None => show_retail(report, &self.key, &self.data, padding),
            Some(second) => {
                let padded = show_padded(report, &self.data, padding, DES_BLOCK_BYTES)?;
                let cipher = Cipher::new(CipherName::Tdes, &self.key)?;
                let chain = show_chain(report, &cipher, &padded);
                let deciphered = Cipher::new(CipherName::Tdes, second)?.decrypted(&chain)?;
                report.step("last chain value deciphered with the second key", &deciphered, ALGORITHM_3);
                Ok(())
            }
        }
    }

    /// What is known to differ between two ends.
    pub fn dimensions(&self) -> Vec<Dimension<Self>> {
        vec![
            others(
                &PADDINGS,
                self.padding,
                |padding| padding_text(padding).to_owned(),
                |setting: &mut Self, padding| {
                    setting.padding = padding;
                },
            ),
            others(
                &MacName::ALL,
                self.algorithm,
                |name| name.text().to_owned(),
                |setting: &mut Self, name| {
                    setting.algorithm = name;
                },
            ),
            others(
                &CipherName::ALL,
                self.cipher,
                |name| name.text().to_owned(),
                |setting: &mut Self, name| {
                    setting.cipher = name;
                },
            ),
            key_mistakes(self.key.len(), |setting: &mut Self| &mut setting.key),
            data_mistakes(self.data.len(), |setting: &mut Self| &mut setting.data),
        ]
    }

    /// Why another end may have got this.
    pub fn why(&self, expected: &Expected) -> Option<String> {
        let agrees = |setting: &Self| setting.mac().is_ok_and(|mac| expected.begins_bytes(&mac));
        search(self, &self.dimensions(), agrees)
    }
}

/// Shows the padded data and gives it.
pub fn show_padded(
    report: &mut Report,
    data: &[u8],
    padding: Padding,
    block_bytes: usize,
) -> Result<Vec<u8>, CryptoError> {
    let padded = pad(data, padding, block_bytes)?;
    report.step(padding_text(padding), &padded, PADDING);
    Ok(padded)
}

/// Shows each block and the chain value behind it; gives the last one. Whole blocks only: a chain value
/// is the CBC-MAC of all blocks up to its own.
pub fn show_chain(report: &mut Report, cipher: &Cipher, padded: &[u8]) -> Vec<u8> {
    let block_bytes = cipher.block_bytes();
    let mut chain = Vec::new();
    for (number, block) in (1..).zip(padded.chunks(block_bytes)) {
        chain = cipher.cbc_mac(&padded[..number * block_bytes], Padding::Zeros);
        report.step(format!("block {number}"), block, "");
        report.step(format!("chain value {number}"), &chain, CHAINING);
    }
    chain
}

/// Shows a retail MAC under one key of two or three parts.
pub fn show_retail(report: &mut Report, key: &[u8], data: &[u8], padding: Padding) -> Result<(), CryptoError> {
    let [first, second, _] = parts(key)?;
    let padded = show_padded(report, data, padding, DES_BLOCK_BYTES)?;
    let chain = show_chain(report, &Cipher::Tdes(first), &padded);
    report.step("deciphered with the second part", &Cipher::Tdes(second).decrypted(&chain)?, ALGORITHM_3);
    report.step("enciphered with the last part", &retail_mac(&TdesKey::new(key)?, data, padding)?, ALGORITHM_3);
    Ok(())
}

fn show_cmac(report: &mut Report, cipher: &Cipher, data: &[u8]) {
    let [first, second] = cipher.cmac_subkeys();
    report.step("subkey K1", &first, CMAC);
    report.step("subkey K2", &second, CMAC);
    let block_bytes = cipher.block_bytes();
    let last_at = data.len().saturating_sub(1) / block_bytes * block_bytes;
    show_chain(report, cipher, &data[..last_at]);
    let whole = !data.is_empty() && data.len().is_multiple_of(block_bytes);
    let closing = if whole { "closed with" } else { "padded and closed with" };
    report.step(format!("last block, {closing}"), if whole { "K1" } else { "K2" }, CMAC);
    let mac = cipher.cmac(data);
    report.step("last cipher input", &with_cipher!(cipher, key => deciphered(key, &mac)), CMAC);
}

/// What went into the cipher as its last block.
fn deciphered<const N: usize>(key: &impl BlockCipher<N>, block: &[u8]) -> Vec<u8> {
    let block: [u8; N] = block.try_into().expect("invariant: a MAC is one block");
    key.decrypted(block).to_vec()
}

/// Shows UnionPay's algorithm: fold, hexadecimal expansion, two encipherments.
pub fn show_unionpay(report: &mut Report, cipher: &Cipher, data: &[u8]) -> Result<(), CryptoError> {
    let block_bytes = cipher.block_bytes();
    let padded = show_padded(report, data, Padding::Zeros, block_bytes)?;
    for (number, block) in (1..).zip(padded.chunks(block_bytes)) {
        report.step(format!("block {number}"), block, "");
    }
    let (folded, first, mixed, last, field_64) = with_cipher!(cipher, key => {
        let steps = unionpay_ecb_mac_steps(key, data);
        (steps.folded.to_vec(), steps.first.to_vec(), steps.mixed.to_vec(), steps.last.to_vec(), steps.field_64())
    });
    report.step("exclusive or of all blocks", &folded, UNIONPAY);
    let expanded = iso8583::describe::hex(&folded);
    let (left, right) = expanded.as_bytes().split_at(block_bytes);
    report.step("its hexadecimal text, first half", left, UNIONPAY);
    report.step("its hexadecimal text, second half", right, UNIONPAY);
    report.step("first half enciphered", &first, UNIONPAY);
    report.step("xored with the second half", &mixed, UNIONPAY);
    report.step("enciphered again", &last, UNIONPAY);
    report.step("field 64, bytes on the wire", &field_64, UNIONPAY);
    Ok(())
}

impl MacArguments {
    fn setting(&self) -> Result<MacSetting, Misuse> {
        let read = |name: &str, text: &str| match self.algorithm.is_hmac() {
            true => input::key_up_to(name, text, input::HMAC_KEY_BYTES_MAX),
            false => input::key(name, text, input::CIPHER_KEYS),
        };
        let key = read("key", &self.key)?;
        let second_key = self.second_key.as_deref().map(|text| read("second-key", text)).transpose()?;
        let likely = if self.algorithm.is_of_des() { CipherName::Tdes } else { CipherName::likely(key.len()) };
        Ok(MacSetting {
            algorithm: self.algorithm,
            cipher: self.cipher.unwrap_or(likely),
            key,
            second_key,
            padding: input::padding("padding", self.padding)?,
            data: input::message("data", &self.data)?,
        })
    }
}

impl Calculate for MacArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.setting()?;
        let mac = setting.mac().map_err(input::refused("key"))?;
        let mut report = Report::new("mac")
            .with("algorithm", setting.algorithm.text())
            .with("cipher", if self.algorithm.is_hmac() { "none" } else { setting.cipher.text() })
            .with("key", &setting.key)
            .with_given("second-key", &self.second_key)
            .with("data", &setting.data);
        setting.show(&mut report).map_err(input::refused("key"))?;
        Ok(report.result_that_may_be_cut(&mac))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        self.setting().ok()?.why(expected)
    }
}
