//! `dukpt-tdes`: initial key, every derivation step, every working key.

use super::report::Report;
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use paycrypto::dukpt::tdes::{
    BaseDerivationKey, InitialKey, KSN_BYTES, KeySerialNumber, TransactionKey, WorkingKeyUsage,
};

/// Clauses.
const INITIAL: &str = "ANSI X9.24-1 annex A.6";
const SERIAL_NUMBER: &str = "ANSI X9.24-1 annex A.2";
const STEP: &str = "ANSI X9.24-1 annex A.2";
const WORKING: &str = "ANSI X9.24-1 annex A.4.1";

/// DUKPT with double-length TDES keys.
#[derive(Args)]
pub struct DukptTdesArguments {
    /// Base derivation key.
    #[arg(long, required_unless_present = "initial_key")]
    bdk: Option<String>,
    /// Initial key (IPEK), in the place of the base derivation key.
    #[arg(long, conflicts_with = "bdk")]
    initial_key: Option<String>,
    /// Key serial number; a shorter one is filled up with F on the left.
    #[arg(long)]
    ksn: String,
}

fn serial_number(text: &str) -> Result<KeySerialNumber, Misuse> {
    let digits: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    let filled = format!("{digits:F>width$}", width = 2 * KSN_BYTES);
    KeySerialNumber::parse(&input::hex("ksn", &filled)?).map_err(input::refused("ksn"))
}

/// What a working key is for, in words.
fn usage_text(usage: WorkingKeyUsage) -> &'static str {
    match usage {
        WorkingKeyUsage::PinEncryption => "PIN encryption key",
        WorkingKeyUsage::MacRequest => "MAC key, request or both ways",
        WorkingKeyUsage::MacResponse => "MAC key, response",
        WorkingKeyUsage::DataRequest => "data key, request or both ways",
        WorkingKeyUsage::DataResponse => "data key, response",
    }
}

impl DukptTdesArguments {
    fn initial_key(&self, ksn: KeySerialNumber) -> Result<InitialKey, Misuse> {
        let id = ksn.initial_key_id();
        if let Some(text) = &self.initial_key {
            let bytes = input::key("initial-key", text, input::DOUBLE_KEYS)?;
            return InitialKey::new(&bytes, id).map_err(input::refused("initial-key"));
        }
        let bytes = input::key("bdk", input::needed("bdk", &self.bdk)?, input::DOUBLE_KEYS)?;
        Ok(BaseDerivationKey::new(&bytes).map_err(input::refused("bdk"))?.initial_key(id))
    }
}

impl Calculate for DukptTdesArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let ksn = serial_number(&self.ksn)?;
        let initial_key = self.initial_key(ksn)?;
        let mut report = Report::new("dukpt-tdes")
            .with_given("bdk", &self.bdk)
            .with_given("initial-key", &self.initial_key)
            .with("ksn", &ksn.to_bytes());
        report.step("key set id", &ksn.initial_key_id().key_set_id(), SERIAL_NUMBER);
        report.step("device id", &ksn.initial_key_id().device_id().to_string(), SERIAL_NUMBER);
        report.step("transaction counter", &format!("{:06X}", ksn.counter()), SERIAL_NUMBER);
        report.step("initial key id", &ksn.initial_key_id().to_bytes(), INITIAL);
        report.step("initial key", &*initial_key.expose_bytes(), INITIAL);
        let mut transaction_key = None;
        for step in ksn.path() {
            let key = initial_key.transaction_key(step).map_err(input::refused("ksn"))?;
            report.step(format!("key of counter {:06X}", step.counter()), &*key.expose_bytes(), STEP);
            transaction_key = Some(key);
        }
        let Some(key) = transaction_key else {
            return Ok(report.result(&*initial_key.expose_bytes()));
        };
        show_working_keys(&mut report, &key);
        Ok(report.result(&*key.expose_bytes()))
    }
}

fn show_working_keys(report: &mut Report, key: &TransactionKey) {
    for usage in WorkingKeyUsage::ALL {
        let text = usage_text(usage);
        report.step(format!("variant of the {text}"), &usage.variant().to_be_bytes(), WORKING);
        report.step(text, key.working_key_bytes(usage).expose(), WORKING);
    }
}
