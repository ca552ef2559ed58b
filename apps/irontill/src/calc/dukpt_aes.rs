//! `dukpt-aes`: initial key, every derivation step with its data, every working key, the update key.

use super::report::Report;
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::dukpt::aes::{
    BaseDerivationKey, COMPATIBILITY_KSN_BYTES, InitialKey, KeySerialNumber, KeyType, KeyUsage, TransactionKey,
};

/// Clauses.
const INITIAL: &str = "ANSI X9.24-3 annex B.5";
const SERIAL_NUMBER: &str = "ANSI X9.24-3 §6.4";
const DATA: &str = "ANSI X9.24-3 §6.3.2";
const DERIVATION: &str = "ANSI X9.24-3 annex B.4.1";
const UPDATE: &str = "ANSI X9.24-3 annex B.6.3";

/// Types of working keys by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TypeName {
    /// Double-length TDES.
    Tdes2,
    /// Triple-length TDES.
    Tdes3,
    /// AES-128.
    Aes128,
    /// AES-192.
    Aes192,
    /// AES-256.
    Aes256,
    /// HMAC, 128 bits.
    Hmac128,
    /// HMAC, 192 bits.
    Hmac192,
    /// HMAC, 256 bits.
    Hmac256,
}

impl From<TypeName> for KeyType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::Tdes2 => Self::Tdes2,
            TypeName::Tdes3 => Self::Tdes3,
            TypeName::Aes128 => Self::Aes128,
            TypeName::Aes192 => Self::Aes192,
            TypeName::Aes256 => Self::Aes256,
            TypeName::Hmac128 => Self::Hmac128,
            TypeName::Hmac192 => Self::Hmac192,
            TypeName::Hmac256 => Self::Hmac256,
        }
    }
}

/// DUKPT with AES keys.
#[derive(Args)]
pub struct DukptAesArguments {
    /// Base derivation key.
    #[arg(long, required_unless_present = "initial_key")]
    bdk: Option<String>,
    /// Initial key, in the place of the base derivation key.
    #[arg(long, conflicts_with = "bdk")]
    initial_key: Option<String>,
    /// Key serial number: 12 bytes, or 10 in compatibility mode.
    #[arg(long)]
    ksn: String,
    /// Type of the working keys; that of the initial key if not said.
    #[arg(long)]
    key_type: Option<TypeName>,
}

fn usage_text(usage: KeyUsage) -> &'static str {
    match usage {
        KeyUsage::KeyEncryption => "key encryption key",
        KeyUsage::PinEncryption => "PIN encryption key",
        KeyUsage::MacGeneration => "MAC generation key",
        KeyUsage::MacVerification => "MAC verification key",
        KeyUsage::MacBothWays => "MAC key, both ways",
        KeyUsage::DataEncryption => "data encryption key",
        KeyUsage::DataDecryption => "data decryption key",
        KeyUsage::DataBothWays => "data key, both ways",
        KeyUsage::KeyDerivation => "key derivation key",
    }
}

impl DukptAesArguments {
    fn initial_key(&self, ksn: KeySerialNumber) -> Result<InitialKey, Misuse> {
        let id = ksn.initial_key_id();
        if let Some(text) = &self.initial_key {
            let bytes = input::key("initial-key", text, input::AES_KEYS)?;
            return InitialKey::new(&bytes, id).map_err(input::refused("initial-key"));
        }
        let bytes = input::key("bdk", input::needed("bdk", &self.bdk)?, input::AES_KEYS)?;
        Ok(BaseDerivationKey::new(&bytes).map_err(input::refused("bdk"))?.initial_key(id))
    }

    fn serial_number(&self) -> Result<KeySerialNumber, Misuse> {
        let bytes = input::hex("ksn", &self.ksn)?;
        let compatible = bytes.len() == COMPATIBILITY_KSN_BYTES;
        let read =
            if compatible { KeySerialNumber::parse_compatibility(&bytes) } else { KeySerialNumber::parse(&bytes) };
        read.map_err(input::refused("ksn"))
    }
}

impl Calculate for DukptAesArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let ksn = self.serial_number()?;
        let initial_key = self.initial_key(ksn)?;
        let own_type = initial_key.key_type();
        let key_type = self.key_type.map_or(own_type, KeyType::from);
        let mut report = Report::new("dukpt-aes")
            .with_given("bdk", &self.bdk)
            .with_given("initial-key", &self.initial_key)
            .with("ksn", &ksn.to_bytes())
            .with("key-type", &format!("{key_type:?}"));
        report.step("base derivation key id", &ksn.initial_key_id().base_derivation_key_id(), SERIAL_NUMBER);
        report.step("derivation id", &ksn.initial_key_id().derivation_id(), SERIAL_NUMBER);
        report.step("transaction counter", &format!("{:08X}", ksn.counter()), SERIAL_NUMBER);
        report.step("derivation data of the initial key", &ksn.initial_key_id().derivation_data(own_type), DATA);
        report.step("initial key", initial_key.expose_bytes(), INITIAL);
        let update_key = initial_key.update_key(own_type).map_err(input::refused("ksn"))?;
        report.step("update key", update_key.expose_bytes(), UPDATE);
        let mut transaction_key = None;
        for step in ksn.path() {
            let data = step.derivation_data(KeyUsage::KeyDerivation, own_type);
            report.step(format!("derivation data of counter {:08X}", step.counter()), &data, DATA);
            let key = initial_key.transaction_key(step).map_err(input::refused("ksn"))?;
            report.step(format!("key of counter {:08X}", step.counter()), key.expose_bytes(), DERIVATION);
            transaction_key = Some(key);
        }
        let Some(key) = transaction_key else {
            return Ok(report.result(initial_key.expose_bytes()));
        };
        show_working_keys(&mut report, &key, key_type)?;
        Ok(report.result(key.expose_bytes()))
    }
}

fn show_working_keys(report: &mut Report, key: &TransactionKey, key_type: KeyType) -> Result<(), Misuse> {
    for usage in KeyUsage::ALL.into_iter().filter(|usage| usage.allows(key_type)) {
        let bytes = key.working_key_bytes(usage, key_type).map_err(input::refused("key-type"))?;
        let data = key.ksn().derivation_data(usage, key_type);
        report.step(format!("derivation data of the {}", usage_text(usage)), &data, DATA);
        report.step(usage_text(usage), bytes.expose(), DERIVATION);
    }
    Ok(())
}
