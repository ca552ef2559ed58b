//! `cvv`, `dcvv`, `cvc3`: values by which a card is verified.

use super::cipher::{Cipher, parts};
use super::expect::Expected;
use super::macs::{show_chain, show_retail};
use super::report::Report;
use super::why::{Dimension, Variation, key_mistakes, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use paycrypto::card_verification::{
    CardVerificationKind, CardVerificationSteps, card_verification_steps, dynamic_card_verification_steps,
    dynamic_cvc3, dynamic_cvc3_iv,
};
use paycrypto::padding::Padding;
use paycrypto::{BlockCipher, CryptoError, TdesKey};

/// Clauses.
const CVV: &str = "Visa PVN CVV; IBM CSNBCSG";
const CVC3: &str = "Mastercard contactless magstripe mode";
/// Service codes that are wide-spread: none printed, chip, then those of magnetic stripes.
const SERVICE_CODES: [&str; 14] =
    ["000", "999", "101", "201", "120", "121", "220", "221", "206", "226", "601", "620", "520", "521"];
const EXPIRY_HALF: usize = 2;

/// CVV, CVC, iCVV, CVV2: by the service code.
#[derive(Args)]
pub struct CvvArguments {
    /// Card verification key pair, A then B.
    #[arg(long)]
    key: String,
    /// Account number.
    #[arg(long)]
    pan: String,
    /// Expiry as it enters the computation, YYMM on tracks.
    #[arg(long)]
    expiry: String,
    /// Service code: that of the stripe, 999 for a chip (iCVV), 000 for the printed value (CVV2).
    #[arg(long)]
    service_code: String,
}

#[derive(Clone)]
struct CvvSetting {
    key: Vec<u8>,
    account_number: Vec<u8>,
    expiry: Vec<u8>,
    service_code: String,
}

impl CvvSetting {
    fn steps(&self) -> Result<CardVerificationSteps, CryptoError> {
        let code = types::ServiceCode::parse(&self.service_code).map_err(|_| CryptoError::Parameter)?;
        let kind = CardVerificationKind::MagneticStripe(code);
        card_verification_steps(&TdesKey::new(&self.key)?, &self.account_number, &self.expiry, kind)
    }

    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let codes = SERVICE_CODES.into_iter().filter(|code| *code != self.service_code).map(|code| {
            Variation::new(format!("service code {code}"), move |setting: &mut Self| {
                setting.service_code = code.to_owned();
            })
        });
        let expiry = Variation::new("year and month of the expiry swapped", |setting: &mut Self| {
            setting.expiry.rotate_left(EXPIRY_HALF);
        });
        let check_digit = Variation::new("the account number without its check digit", |setting: &mut Self| {
            setting.account_number.pop();
        });
        vec![
            vec![expiry],
            codes.collect(),
            key_mistakes(self.key.len(), |setting: &mut Self| &mut setting.key),
            vec![check_digit],
        ]
    }
}

impl CvvArguments {
    fn setting(&self) -> Result<CvvSetting, Misuse> {
        input::service_code("service-code", &self.service_code)?;
        Ok(CvvSetting {
            key: input::key("key", &self.key, input::DOUBLE_KEYS)?,
            account_number: input::account_number("pan", &self.pan)?.to_vec(),
            expiry: self.expiry.as_bytes().to_vec(),
            service_code: self.service_code.clone(),
        })
    }
}

/// The packed digits, both ciphers, the value.
fn show_steps(report: &mut Report, key: &[u8], steps: &CardVerificationSteps) -> Result<(), CryptoError> {
    let input = steps.expose_input();
    report.step("packed digits, two blocks", input, CVV);
    let [first, second, last] = parts(key)?;
    let chain = show_chain(report, &Cipher::Tdes(first), input);
    let deciphered = Cipher::Tdes(second).decrypted(&chain)?;
    report.step("deciphered with key B", &deciphered, CVV);
    report.step("enciphered with key A", &Cipher::Tdes(last).encrypted(&deciphered)?, CVV);
    report.step("first three decimal digits, then letters as 0 to 5", steps.value().expose(), CVV);
    Ok(())
}

impl Calculate for CvvArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.setting()?;
        let steps = setting.steps().map_err(input::refused("pan"))?;
        let mut report = Report::new("cvv")
            .with("key", &setting.key)
            .with("pan", &self.pan)
            .with("expiry", &self.expiry)
            .with("service-code", &self.service_code);
        show_steps(&mut report, &setting.key, &steps).map_err(input::refused("key"))?;
        Ok(report.result(steps.value().expose()))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.setting().ok()?;
        let agrees = |setting: &CvvSetting| setting.steps().is_ok_and(|steps| expected.is(steps.value().expose()));
        let found = search(&setting, &setting.dimensions(), agrees)?;
        Some(format!("{found} (three digits agree by chance once in a thousand tries)"))
    }
}

/// Visa's dCVV.
#[derive(Args)]
pub struct DcvvArguments {
    /// The card's key: option A from the issuer's dCVV master key (see icc-master-key).
    #[arg(long)]
    key: String,
    /// Account number.
    #[arg(long)]
    pan: String,
    /// Transaction counter, two bytes; its digits take the place of the first four of the account number.
    #[arg(long)]
    atc: String,
    /// Expiry, YYMM.
    #[arg(long)]
    expiry: String,
    /// Service code.
    #[arg(long)]
    service_code: String,
}

impl Calculate for DcvvArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let bytes = input::key("key", &self.key, input::DOUBLE_KEYS)?;
        let key = TdesKey::new(&bytes).map_err(input::refused("key"))?;
        let code = input::service_code("service-code", &self.service_code)?;
        let account = input::account_number("pan", &self.pan)?;
        let atc = input::fixed("atc", &self.atc)?;
        let steps = dynamic_card_verification_steps(&key, account, atc, self.expiry.as_bytes(), code)
            .map_err(input::refused("pan"))?;
        let mut report = Report::new("dcvv")
            .with("key", &bytes)
            .with("pan", &self.pan)
            .with("atc", &atc)
            .with("expiry", &self.expiry)
            .with("service-code", &self.service_code);
        show_steps(&mut report, &bytes, &steps).map_err(input::refused("key"))?;
        Ok(report.result(steps.value().expose()))
    }
}

/// Mastercard's CVC3.
#[derive(Args)]
pub struct Cvc3Arguments {
    /// The card's CVC3 key (see icc-master-key).
    #[arg(long)]
    key: String,
    /// Static track data template, in hex; not needed if --iv is given.
    #[arg(long, required_unless_present = "iv")]
    track: Option<String>,
    /// IVCVC3, two bytes.
    #[arg(long)]
    iv: Option<String>,
    /// Transaction counter, tag 9F36.
    #[arg(long)]
    atc: String,
    /// Unpredictable number, four bytes.
    #[arg(long)]
    un: String,
}

impl Calculate for Cvc3Arguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let bytes = input::key("key", &self.key, input::DOUBLE_KEYS)?;
        let key = TdesKey::new(&bytes).map_err(input::refused("key"))?;
        let (atc, un) = (input::fixed("atc", &self.atc)?, input::fixed("un", &self.un)?);
        let mut report = Report::new("cvc3")
            .with("key", &bytes)
            .with_given("track", &self.track)
            .with_given("iv", &self.iv)
            .with("atc", &atc)
            .with("un", &un);
        let iv = match &self.iv {
            Some(iv) => input::fixed("iv", iv)?,
            None => {
                let track = input::message("track", input::needed("track", &self.track)?)?;
                show_retail(&mut report, &bytes, &track, Padding::Marker).map_err(input::refused("key"))?;
                dynamic_cvc3_iv(&key, &track).map_err(input::refused("key"))?
            }
        };
        report.step("IVCVC3, the last two bytes", &iv, CVC3);
        let block = [&iv[..], &un, &atc].concat();
        report.step("IVCVC3, unpredictable number, counter", &block, CVC3);
        let code = dynamic_cvc3(&key, iv, un, atc).map_err(input::refused("key"))?;
        let block: [u8; 8] = block.try_into().expect("invariant: two, four and two bytes");
        report.step("enciphered", &key.encrypted(block), CVC3);
        report.step("its last two bytes as a number", &format!("{code:05}"), CVC3);
        report.step("three digits of it", &format!("{code:05}")[2..], CVC3);
        Ok(report.result(&format!("{code:05}")))
    }
}
