//! `check-value`, `parity`, `components`, `variant`: keys as such.

use super::cipher::{Cipher, CipherName};
use super::expect::Expected;
use super::report::Report;
use super::why::{Dimension, Variation, key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::CryptoError;
use paycrypto::check_value::{CHECK_VALUE_BYTES_MIN, CMAC_CHECK_VALUE_BYTES, UNIONPAY_CHECK_VALUE_BYTES};
use paycrypto::key_material::{
    KEY_VARIANT_MAX, combine_components, has_odd_parity, is_weak_tdes_key, key_variant, set_odd_parity,
};

/// Clauses.
const LEGACY: &str = "ANSI X9.24-1 annex A";
const OF_CMAC: &str = "ANSI X9.24-1:2017 annex A";
const UNIONPAY: &str = "UnionPay POS §4.3";
const PARITY: &str = "ANSI X9.52";
const WEAK: &str = "NIST SP 800-67 §3.3.2";
const SPLIT: &str = "ANSI X9.24-1 §7.5";

/// How a check value is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckMethod {
    /// A block of zeros enciphered, three bytes.
    Legacy,
    /// CMAC of a block of zeros, five bytes.
    Cmac,
    /// A block of zeros enciphered, four bytes (UnionPay, SM4).
    Unionpay,
}

impl CheckMethod {
    const ALL: [Self; 3] = [Self::Legacy, Self::Cmac, Self::Unionpay];

    fn text(self) -> &'static str {
        match self {
            Self::Legacy => "the legacy check value (zeros enciphered)",
            Self::Cmac => "the CMAC check value",
            Self::Unionpay => "UnionPay's check value",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Legacy => CHECK_VALUE_BYTES_MIN,
            Self::Cmac => CMAC_CHECK_VALUE_BYTES,
            Self::Unionpay => UNIONPAY_CHECK_VALUE_BYTES,
        }
    }
}

/// Key check values of every kind.
#[derive(Args)]
pub struct CheckValueArguments {
    /// Key.
    #[arg(long)]
    key: String,
    /// Cipher; by the length of the key if not said.
    #[arg(long)]
    cipher: Option<CipherName>,
    /// Which check value is the result; CMAC for AES, UnionPay's for SM4, else legacy.
    #[arg(long)]
    method: Option<CheckMethod>,
}

#[derive(Clone)]
struct CheckSetting {
    key: Vec<u8>,
    cipher: CipherName,
    method: CheckMethod,
}

impl CheckSetting {
    /// The untruncated value.
    fn whole(&self) -> Result<Vec<u8>, CryptoError> {
        let cipher = Cipher::new(self.cipher, &self.key)?;
        Ok(match self.method {
            CheckMethod::Legacy | CheckMethod::Unionpay => cipher.zero_block(),
            CheckMethod::Cmac => cipher.cmac(&vec![0; cipher.block_bytes()]),
        })
    }

    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let variants = (1..=KEY_VARIANT_MAX).map(|variant| {
            Variation::new(format!("variant {variant} of the key"), move |setting: &mut Self| {
                if let Ok(varied) = key_variant(&setting.key, variant) {
                    setting.key = varied.expose().to_vec();
                }
            })
        });
        vec![
            others(
                &CheckMethod::ALL,
                self.method,
                |method| method.text().to_owned(),
                |setting: &mut Self, method| {
                    setting.method = method;
                },
            ),
            others(
                &CipherName::ALL,
                self.cipher,
                |name| format!("the key used with {}", name.text()),
                |setting: &mut Self, name| {
                    setting.cipher = name;
                },
            ),
            key_mistakes(self.key.len(), |setting: &mut Self| &mut setting.key),
            variants.collect(),
        ]
    }
}

impl CheckValueArguments {
    fn setting(&self) -> Result<CheckSetting, Misuse> {
        let key = input::key("key", &self.key, input::CIPHER_KEYS)?;
        let cipher = self.cipher.unwrap_or(CipherName::likely(key.len()));
        let usual = match cipher {
            CipherName::Tdes => CheckMethod::Legacy,
            CipherName::Aes => CheckMethod::Cmac,
            CipherName::Sm4 => CheckMethod::Unionpay,
        };
        Ok(CheckSetting { key, cipher, method: self.method.unwrap_or(usual) })
    }
}

impl Calculate for CheckValueArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.setting()?;
        let whole = |method| CheckSetting { method, ..setting.clone() }.whole().map_err(input::refused("key"));
        let (zeros, cmac) = (whole(CheckMethod::Legacy)?, whole(CheckMethod::Cmac)?);
        let mut report = Report::new("check-value").with("key", &setting.key).with("cipher", setting.cipher.text());
        if setting.cipher == CipherName::Tdes {
            show_parity(&mut report, &setting.key);
        }
        report.step("a block of zeros enciphered", &zeros, LEGACY);
        report.step("legacy check value", &zeros[..CHECK_VALUE_BYTES_MIN], LEGACY);
        report.step("UnionPay's check value", &zeros[..UNIONPAY_CHECK_VALUE_BYTES], UNIONPAY);
        report.step("CMAC of a block of zeros", &cmac, OF_CMAC);
        report.step("CMAC check value", &cmac[..CMAC_CHECK_VALUE_BYTES], OF_CMAC);
        let chosen = if setting.method == CheckMethod::Cmac { &cmac } else { &zeros };
        Ok(report.result(&chosen[..setting.method.bytes()]))
    }

    fn agrees(&self, report: &Report, expected: &Expected) -> bool {
        // A longer value of the same method is the same check value.
        let whole = self.setting().ok().and_then(|setting| setting.whole().ok());
        expected.is(&report.result) || whole.is_some_and(|whole| expected.begins_bytes(&whole))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.setting().ok()?;
        let agrees = |setting: &CheckSetting| setting.whole().is_ok_and(|whole| expected.begins_bytes(&whole));
        search(&setting, &setting.dimensions(), agrees)
    }
}

fn show_parity(report: &mut Report, key: &[u8]) {
    let parity = if has_odd_parity(key) { "odd" } else { "not odd; DES ignores it" };
    report.step("parity", parity, PARITY);
    let weak = if is_weak_tdes_key(key) { "yes: never use it" } else { "no" };
    report.step("weak key", weak, WEAK);
}

/// A DES key with odd parity.
#[derive(Args)]
pub struct ParityArguments {
    /// Key.
    #[arg(long)]
    key: String,
}

impl Calculate for ParityArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let mut key = input::key("key", &self.key, input::TDES_KEYS)?;
        let mut report = Report::new("parity").with("key", &key);
        show_parity(&mut report, &key);
        set_odd_parity(&mut key);
        report.step("every byte with an odd number of ones", &key, PARITY);
        Ok(report.result(&key))
    }
}

/// A key out of its components.
#[derive(Args)]
pub struct ComponentsArguments {
    /// A component; say it two times or more.
    #[arg(long = "component", required = true)]
    components: Vec<String>,
    /// Cipher of the check values; by the length of the key if not said.
    #[arg(long)]
    cipher: Option<CipherName>,
}

impl Calculate for ComponentsArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let read = |text: &String| input::key("component", text, input::CIPHER_KEYS);
        let components: Vec<Vec<u8>> = self.components.iter().map(read).collect::<Result<_, _>>()?;
        let slices: Vec<&[u8]> = components.iter().map(Vec::as_slice).collect();
        let key = combine_components(&slices).map_err(input::refused("component"))?;
        let name = self.cipher.unwrap_or(CipherName::likely(key.expose().len()));
        let check_value = |key: &[u8]| -> Result<Vec<u8>, Misuse> {
            let cipher = Cipher::new(name, key).map_err(input::refused("component"))?;
            let whole = if name == CipherName::Aes { cipher.cmac(&[0; 16]) } else { cipher.zero_block() };
            Ok(whole[..if name == CipherName::Aes { CMAC_CHECK_VALUE_BYTES } else { CHECK_VALUE_BYTES_MIN }].to_vec())
        };
        let mut report = Report::new("components").with("cipher", name.text());
        for (number, component) in (1..).zip(&components) {
            report.step(format!("component {number}"), component, SPLIT);
            report.step(format!("check value of component {number}"), &check_value(component)?, LEGACY);
        }
        report.step("check value of the key", &check_value(key.expose())?, LEGACY);
        if name == CipherName::Tdes {
            let mut odd = key.expose().to_vec();
            show_parity(&mut report, &odd);
            set_odd_parity(&mut odd);
            report.step("key with odd parity", &odd, PARITY);
        }
        Ok(report.result(key.expose()))
    }
}

/// A variant of a key.
#[derive(Args)]
pub struct VariantArguments {
    /// Key.
    #[arg(long)]
    key: String,
    /// Number of the variant, 0 to 31.
    #[arg(long)]
    variant: u8,
}

impl Calculate for VariantArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let key = input::key("key", &self.key, input::CIPHER_KEYS)?;
        let varied = key_variant(&key, self.variant).map_err(input::refused("variant"))?;
        let mut report = Report::new("variant").with("key", &key).with("variant", &self.variant.to_string());
        report.step("xored into the first byte of every eight", &[self.variant << 3], "");
        Ok(report.result(varied.expose()))
    }
}
