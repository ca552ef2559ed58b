//! `pin-block-encode`, `pin-block-decode`: PIN blocks of ISO 9564 and UnionPay's SM4 block, clear and enciphered.

use super::cipher::{Cipher, CipherName};
use super::expect::Expected;
use super::report::Report;
use super::why::{Dimension, Variation, key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::pin_block::{
    account_field, decode_format_0, decode_format_1, decode_format_2, decode_format_3, encode_format_0,
    encode_format_1, encode_format_2, encode_format_3, pin_field,
};
use paycrypto::pin_block_extended::{
    FORMAT_4_RANDOM_BYTES, decipher_format_4, decipher_format_4_pin_field, decode_unionpay_sm4, encipher_format_4,
    encode_unionpay_sm4, format_4_account_field, format_4_pin_field, unionpay_sm4_account_field,
    unionpay_sm4_pin_field,
};
use paycrypto::{AesKey, CryptoError, Pin};

/// Filler digits that formats 1 and 3 may need.
const FILLERS: usize = 10;

/// Formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// ISO 9564 format 0.
    #[value(name = "0")]
    Format0,
    /// ISO 9564 format 1.
    #[value(name = "1")]
    Format1,
    /// ISO 9564 format 2.
    #[value(name = "2")]
    Format2,
    /// ISO 9564 format 3.
    #[value(name = "3")]
    Format3,
    /// ISO 9564 format 4, AES.
    #[value(name = "4")]
    Format4,
    /// UnionPay's sixteen-byte block, SM4.
    Sm4,
}

impl FormatName {
    const ALL: [Self; 6] = [Self::Format0, Self::Format1, Self::Format2, Self::Format3, Self::Format4, Self::Sm4];

    fn text(self) -> &'static str {
        match self {
            Self::Format0 => "format 0",
            Self::Format1 => "format 1",
            Self::Format2 => "format 2",
            Self::Format3 => "format 3",
            Self::Format4 => "format 4",
            Self::Sm4 => "UnionPay's SM4 block",
        }
    }

    fn clause(self) -> &'static str {
        match self {
            Self::Format0 => "ISO 9564-1 §9.3.2",
            Self::Format1 => "ISO 9564-1 §9.3.3",
            Self::Format2 => "ISO 9564-1 §9.3.4",
            Self::Format3 => "ISO 9564-1 §9.3.5",
            Self::Format4 => "ISO 9564-1 §9.4.2",
            Self::Sm4 => "UnionPay POS §4.4",
        }
    }

    fn cipher(self) -> CipherName {
        match self {
            Self::Format4 => CipherName::Aes,
            Self::Sm4 => CipherName::Sm4,
            _ => CipherName::Tdes,
        }
    }

    fn needs_account_number(self) -> bool {
        !matches!(self, Self::Format1 | Self::Format2)
    }
}

/// What a PIN block is read or made with. The account number is kept as digits so that the search may change it.
#[derive(Clone)]
struct BlockSetting {
    format: FormatName,
    account_number: Vec<u8>,
    key: Option<Vec<u8>>,
    fillers: [u8; FILLERS],
    random: [u8; FORMAT_4_RANDOM_BYTES],
}

/// A block's value in the clear, and under its key.
struct Made {
    clear: Vec<u8>,
    whole: Vec<u8>,
}

impl BlockSetting {
    fn cipher(&self, key: &[u8]) -> Result<Cipher, CryptoError> {
        Cipher::new(self.format.cipher(), key)
    }

    fn make(&self, pin: &Pin) -> Result<Made, CryptoError> {
        let account = &self.account_number[..];
        let clear = match self.format {
            FormatName::Format0 => encode_format_0(pin, account)?.to_vec(),
            FormatName::Format1 => encode_format_1(pin, &self.fillers).to_vec(),
            FormatName::Format2 => encode_format_2(pin).to_vec(),
            FormatName::Format3 => encode_format_3(pin, account, &self.fillers)?.to_vec(),
            FormatName::Format4 => format_4_pin_field(pin, &self.random).to_vec(),
            FormatName::Sm4 => encode_unionpay_sm4(pin, account)?.to_vec(),
        };
        let whole = match (&self.key, self.format) {
            (None, _) => clear.clone(),
            (Some(key), FormatName::Format4) => {
                encipher_format_4(&AesKey::new(key)?, pin, account, &self.random)?.to_vec()
            }
            (Some(key), _) => self.cipher(key)?.encrypted(&clear)?,
        };
        Ok(Made { clear, whole })
    }

    /// The block without its encipherment; of format 4 the plain text PIN field.
    fn clear(&self, block: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match (&self.key, self.format) {
            (None, _) => Ok(block.to_vec()),
            (Some(key), FormatName::Format4) => {
                let block = sized(block)?;
                Ok(decipher_format_4_pin_field(&AesKey::new(key)?, &block, &self.account_number)?.to_vec())
            }
            (Some(key), _) => self.cipher(key)?.decrypted(block),
        }
    }

    fn read(&self, block: &[u8]) -> Result<Pin, CryptoError> {
        let account = &self.account_number[..];
        if let (Some(key), FormatName::Format4) = (&self.key, self.format) {
            return decipher_format_4(&AesKey::new(key)?, &sized(block)?, account);
        }
        let clear = self.clear(block)?;
        match self.format {
            FormatName::Format0 => decode_format_0(&sized(&clear)?, account),
            FormatName::Format1 => decode_format_1(&sized(&clear)?),
            FormatName::Format2 => decode_format_2(&sized(&clear)?),
            FormatName::Format3 => decode_format_3(&sized(&clear)?, account),
            FormatName::Format4 => paycrypto::pin_block_extended::read_format_4_pin_field(&sized(&clear)?),
            FormatName::Sm4 => decode_unionpay_sm4(&sized(&clear)?, account),
        }
    }

    /// What is known to differ between two ends.
    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let mut encipherment = Vec::new();
        if self.key.is_some() {
            encipherment.push(Variation::new("the block not enciphered", |setting: &mut Self| setting.key = None));
        }
        let key_bytes = self.key.as_ref().map_or(0, Vec::len);
        encipherment.extend(key_mistakes(key_bytes, |setting: &mut Self| setting.key.get_or_insert_with(Vec::new)));
        vec![
            others(
                &FormatName::ALL,
                self.format,
                |format| format.text().to_owned(),
                |setting: &mut Self, format| {
                    setting.format = format;
                },
            ),
            account_mistakes(),
            encipherment,
        ]
    }
}

/// Which twelve digits of the account number are taken, other than those left of the check digit.
fn account_mistakes() -> Dimension<BlockSetting> {
    const DIGITS: usize = 12;
    vec![
        Variation::new("the last twelve account digits, check digit included", |setting: &mut BlockSetting| {
            setting.account_number.push(b'0');
        }),
        Variation::new("the first twelve account digits", |setting: &mut BlockSetting| {
            setting.account_number.truncate(DIGITS);
            setting.account_number.push(b'0');
        }),
        Variation::new("no account number mixed in", |setting: &mut BlockSetting| {
            setting.account_number = vec![b'0'; DIGITS + 1];
        }),
    ]
}

fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::DataLength(bytes.len()))
}

/// What both directions take.
#[derive(Args)]
struct BlockArguments {
    /// Format.
    #[arg(long)]
    format: FormatName,
    /// Account number with its check digit; formats 0, 3, 4 and sm4 need it.
    #[arg(long)]
    pan: Option<String>,
    /// PIN encryption key; without it the block is in the clear.
    #[arg(long)]
    key: Option<String>,
}

impl BlockArguments {
    fn setting(&self) -> Result<BlockSetting, Misuse> {
        let account_number = match self.format.needs_account_number() {
            true => input::account_number("pan", input::needed("pan", &self.pan)?)?.to_vec(),
            false => self.pan.as_deref().unwrap_or_default().as_bytes().to_vec(),
        };
        let lengths = match self.format {
            FormatName::Format4 => input::AES_KEYS,
            FormatName::Sm4 => input::DOUBLE_KEYS,
            _ => input::TDES_KEYS,
        };
        let key = self.key.as_deref().map(|key| input::key("key", key, lengths)).transpose()?;
        let (fillers, random) = ([0; FILLERS], [0; FORMAT_4_RANDOM_BYTES]);
        Ok(BlockSetting { format: self.format, account_number, key, fillers, random })
    }

    fn report(&self, calculation: &'static str) -> Report {
        Report::new(calculation)
            .with("format", self.format.text())
            .with_given("pan", &self.pan)
            .with_given("key", &self.key)
    }
}

/// A PIN block.
#[derive(Args)]
pub struct EncodeArguments {
    #[command(flatten)]
    block: BlockArguments,
    /// PIN of 4 to 12 digits.
    #[arg(long)]
    pin: String,
    /// Filler digits of formats 1 and 3 (of 3 only A to F), or the eight random bytes of format 4; drawn if not said.
    #[arg(long)]
    random: Option<String>,
}

impl EncodeArguments {
    fn setting(&self) -> Result<BlockSetting, Misuse> {
        let mut setting = self.block.setting()?;
        match (self.block.format, &self.random) {
            (FormatName::Format4, Some(text)) => setting.random = input::fixed("random", text)?,
            (FormatName::Format4, None) => setting.random = super::drawn_array()?,
            (format, Some(text)) => setting.fillers = fillers(format, text)?,
            (_, None) => setting.fillers = super::drawn_array()?,
        }
        Ok(setting)
    }
}

/// Filler digits from the left; those that are not said are zero, in format 3 A.
fn fillers(format: FormatName, text: &str) -> Result<[u8; FILLERS], Misuse> {
    let mut fillers = [0; FILLERS];
    if text.chars().count() > FILLERS {
        return Err(input::misuse("random", format!("at most {FILLERS} filler digits")));
    }
    for (filler, character) in fillers.iter_mut().zip(text.chars()) {
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digit = digit.ok_or_else(|| input::misuse("random", "expected hex digits"))?;
        *filler = match format {
            // Format 3 counts its fillers from A.
            FormatName::Format3 => {
                digit.checked_sub(0xA).ok_or_else(|| input::misuse("random", "format 3 is filled with A to F"))?
            }
            _ => digit,
        };
    }
    Ok(fillers)
}

impl Calculate for EncodeArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (setting, pin) = (self.setting()?, input::pin("pin", &self.pin)?);
        let made = setting.make(&pin).map_err(input::refused("pan"))?;
        let mut report = self.block.report("pin-block-encode").with("pin", &self.pin);
        show_fields(&mut report, &setting, &made.clear).map_err(input::refused("pan"))?;
        if let (Some(key), FormatName::Format4) = (&setting.key, setting.format) {
            let cipher = setting.cipher(key).map_err(input::refused("key"))?;
            let clause = setting.format.clause();
            report.step(
                "PIN field enciphered (block A)",
                &cipher.encrypted(&made.clear).map_err(input::refused("key"))?,
                clause,
            );
            report.step(
                "block A xored with the account field (block B)",
                &cipher.decrypted(&made.whole).map_err(input::refused("key"))?,
                clause,
            );
        }
        if setting.key.is_some() {
            report.step("enciphered PIN block", &made.whole, setting.format.clause());
        }
        Ok(report.result(&made.whole))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let (setting, pin) = (self.setting().ok()?, input::pin("pin", &self.pin).ok()?);
        let agrees = |setting: &BlockSetting| setting.make(&pin).is_ok_and(|made| expected.is_bytes(&made.whole));
        search(&setting, &setting.dimensions(), agrees).or_else(|| same_pin(&setting, &pin, expected))
    }
}

/// A block with random filler is never the same twice, but it holds the same PIN.
fn same_pin(setting: &BlockSetting, pin: &Pin, expected: &Expected) -> Option<String> {
    let block = input::hex("expect", expected.text()).ok()?;
    let holds = |setting: &BlockSetting| setting.read(&block).is_ok_and(|read| read.expose() == pin.expose());
    if holds(setting) {
        return Some("the same PIN with other random filler".to_owned());
    }
    let found = search(setting, &setting.dimensions(), holds);
    found.map(|what| format!("holds the same PIN: {what}"))
}

/// PIN field and account field of a clear block.
fn show_fields(report: &mut Report, setting: &BlockSetting, clear: &[u8]) -> Result<(), CryptoError> {
    let (account, clause) = (&setting.account_number[..], setting.format.clause());
    match setting.format {
        FormatName::Format0 | FormatName::Format3 => {
            report.step("PIN field", &*pin_field(&sized(clear)?, account)?, clause);
            report.step("account field", &account_field(account)?, clause);
            report.step("PIN block, both xored", clear, clause);
        }
        FormatName::Format1 | FormatName::Format2 => report.step("PIN block", clear, clause),
        FormatName::Format4 => {
            report.step("PIN field", clear, clause);
            report.step("account field", &format_4_account_field(account)?, clause);
        }
        FormatName::Sm4 => {
            report.step("PIN field", &*unionpay_sm4_pin_field(&sized(clear)?, account)?, clause);
            report.step("account field", &unionpay_sm4_account_field(account)?, clause);
            report.step("PIN block, both xored", clear, clause);
        }
    }
    Ok(())
}

/// The PIN in a PIN block.
#[derive(Args)]
pub struct DecodeArguments {
    #[command(flatten)]
    block: BlockArguments,
    /// PIN block, enciphered if a key is given.
    #[arg(long = "block")]
    pin_block: String,
}

impl DecodeArguments {
    fn parts(&self) -> Result<(BlockSetting, Vec<u8>), Misuse> {
        let setting = self.block.setting()?;
        let length = if setting.format.cipher() == CipherName::Tdes { 8 } else { 16 };
        let block = input::hex("block", &self.pin_block)?;
        if block.len() != length {
            return Err(input::misuse("block", format!("{} bytes, expected {length}", block.len())));
        }
        Ok((setting, block))
    }
}

impl Calculate for DecodeArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (setting, block) = self.parts()?;
        let clear = setting.clear(&block).map_err(input::refused("pan"))?;
        let mut report = self.block.report("pin-block-decode").with("block", &block);
        if setting.key.is_some() {
            let name =
                if setting.format == FormatName::Format4 { "deciphered PIN field" } else { "deciphered PIN block" };
            report.step(name, &clear, setting.format.clause());
        }
        show_fields(&mut report, &setting, &clear).map_err(input::refused("pan"))?;
        match setting.read(&block) {
            Ok(pin) => Ok(report.result(pin.expose())),
            Err(error) => {
                let readable = |setting: &BlockSetting| setting.read(&block).is_ok();
                report.why = search(&setting, &setting.dimensions(), readable)
                    .map(|what| what.replace("agrees with", "it is well formed with"));
                Ok(report.result(&error.to_string()).holding(false))
            }
        }
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let (setting, block) = self.parts().ok()?;
        let agrees = |setting: &BlockSetting| setting.read(&block).is_ok_and(|pin| expected.is(pin.expose()));
        search(&setting, &setting.dimensions(), agrees)
    }
}
