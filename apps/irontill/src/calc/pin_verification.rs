//! `pvv`, `ibm-3624`: how an issuer knows a PIN.

use super::expect::Expected;
use super::report::Report;
use super::why::{Variation, key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use paycrypto::pin_verification::{
    DecimalisationTable, KEY_INDEX_MAX, PinOffset, ValidationRule, decimalised_validation_data, natural_pin,
    pin_from_offset, pin_offset, pin_verification_value, security_parameter,
};
use paycrypto::{BlockCipher, CryptoError, TdesKey};

/// Clauses.
const PVV: &str = "Visa PVV";
const IBM_3624: &str = "IBM 3624";

/// Visa's PIN verification value.
#[derive(Args)]
pub struct PvvArguments {
    /// PIN verification key, double length.
    #[arg(long)]
    key: String,
    /// Account number with its check digit.
    #[arg(long)]
    pan: String,
    /// PIN verification key index, 0 to 9.
    #[arg(long, default_value_t = 1)]
    pvki: u8,
    /// PIN of four digits.
    #[arg(long)]
    pin: String,
}

#[derive(Clone)]
struct PvvSetting {
    key: Vec<u8>,
    account_number: Vec<u8>,
    key_index: u8,
}

impl PvvArguments {
    fn setting(&self) -> Result<PvvSetting, Misuse> {
        let key = input::key("key", &self.key, input::DOUBLE_KEYS)?;
        let account_number = input::account_number("pan", &self.pan)?.to_vec();
        Ok(PvvSetting { key, account_number, key_index: self.pvki })
    }
}

impl Calculate for PvvArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (setting, pin) = (self.setting()?, input::pin("pin", &self.pin)?);
        let key = TdesKey::new(&setting.key).map_err(input::refused("key"))?;
        let parameter = security_parameter(self.pvki, &setting.account_number, &pin);
        let parameter = parameter.map_err(|error| match error {
            CryptoError::Parameter => input::misuse("pvki", error),
            CryptoError::PinLength => input::misuse("pin", error),
            other => input::misuse("pan", other),
        })?;
        let value = pin_verification_value(&key, self.pvki, &setting.account_number, &pin);
        let value = value.map_err(input::refused("key"))?;
        let mut report = Report::new("pvv")
            .with("key", &setting.key)
            .with("pan", &self.pan)
            .with("pvki", &self.pvki.to_string())
            .with("pin", &self.pin);
        report.step("transformed security parameter", &*parameter, PVV);
        report.step("enciphered", &key.encrypted(*parameter), PVV);
        report.step("first four decimal digits, then letters as 0 to 5", value.expose(), PVV);
        Ok(report.result(value.expose()))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let (setting, pin) = (self.setting().ok()?, input::pin("pin", &self.pin).ok()?);
        let indices: Vec<u8> = (0..=KEY_INDEX_MAX).collect();
        let account =
            vec![Variation::new("account digits that include the check digit", |setting: &mut PvvSetting| {
                setting.account_number.push(b'0');
            })];
        let dimensions = [
            others(
                &indices,
                setting.key_index,
                |index| format!("key index {index}"),
                |setting: &mut PvvSetting, index| {
                    setting.key_index = index;
                },
            ),
            account,
            key_mistakes(setting.key.len(), |setting: &mut PvvSetting| &mut setting.key),
        ];
        search(&setting, &dimensions, |setting| {
            let value = TdesKey::new(&setting.key)
                .and_then(|key| pin_verification_value(&key, setting.key_index, &setting.account_number, &pin));
            value.is_ok_and(|value| expected.is(value.expose()))
        })
    }
}

/// IBM 3624: the natural PIN; with --pin its offset; with --offset the PIN that belongs to it.
#[derive(Args)]
pub struct Ibm3624Arguments {
    /// PIN verification key.
    #[arg(long)]
    key: String,
    /// Account number.
    #[arg(long)]
    pan: String,
    /// Decimalisation table.
    #[arg(long, default_value = "0123456789012345")]
    table: String,
    /// First digit of the account number that is validated, counted from zero.
    #[arg(long, default_value_t = 0)]
    start: usize,
    /// How many digits of the account number are validated.
    #[arg(long, default_value_t = 16)]
    digits: usize,
    /// Hex digit that fills the validation data up.
    #[arg(long, default_value = "F")]
    pad: String,
    /// PIN whose offset is wanted.
    #[arg(long, conflicts_with = "offset")]
    pin: Option<String>,
    /// Offset whose PIN is wanted.
    #[arg(long)]
    offset: Option<String>,
    /// Length of the natural PIN.
    #[arg(long, default_value_t = 4)]
    pin_digits: usize,
}

impl Calculate for Ibm3624Arguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let bytes = input::key("key", &self.key, input::TDES_KEYS)?;
        let key = TdesKey::new(&bytes).map_err(input::refused("key"))?;
        let table = DecimalisationTable::unchecked(&self.table).map_err(input::refused("table"))?;
        let rule = ValidationRule::new(self.start, self.digits, &self.pad).map_err(input::refused("digits"))?;
        let data = rule.apply(input::account_number("pan", &self.pan)?).map_err(input::refused("pan"))?;
        let mut report = Report::new("ibm-3624")
            .with("key", &bytes)
            .with("pan", &self.pan)
            .with("table", &self.table)
            .with_given("pin", &self.pin)
            .with_given("offset", &self.offset);
        if DecimalisationTable::new(&self.table).is_err() {
            report.step("decimalisation table", "too uneven: a vault refuses it", IBM_3624);
        }
        report.step("validation data", data.expose(), IBM_3624);
        report.step("enciphered", &key.encrypted(*data.expose()), IBM_3624);
        report.step("decimalised", &*decimalised_validation_data(&key, &data, &table), IBM_3624);
        let pin = self.pin.as_deref().map(|pin| input::pin("pin", pin)).transpose()?;
        let offset = self.offset.as_deref().map(PinOffset::parse).transpose().map_err(input::refused("offset"))?;
        let given = pin.as_ref().map(|pin| pin.expose().len()).or(self.offset.as_ref().map(String::len));
        let natural = natural_pin(&key, &data, &table, given.unwrap_or(self.pin_digits));
        let natural = natural.map_err(input::refused("pin-digits"))?;
        report.step("natural PIN", natural.expose(), IBM_3624);
        Ok(match (&pin, &offset) {
            (Some(pin), _) => report.result(&*pin_offset(&key, &data, &table, pin).expose()),
            (None, Some(offset)) => report.result(pin_from_offset(&key, &data, &table, offset).expose()),
            (None, None) => report.result(natural.expose()),
        })
    }
}
