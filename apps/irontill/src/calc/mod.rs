//! `irontill keys calc`: every payment calculation on test keys, with each value between, and why two ends differ.
//!
//! All arithmetic is `paycrypto`'s; a calculation here reads arguments, asks for the values in order and names them.

mod card_codes;
mod check_value;
mod cipher;
mod cryptogram;
mod dukpt_aes;
mod dukpt_tdes;
mod expect;
mod icc_keys;
mod input;
mod key_blocks;
mod key_wrap;
mod macs;
mod pin_blocks;
mod pin_verification;
mod report;
mod scripts;
mod sm2;
mod symmetric;
#[cfg(test)]
mod tests;
mod unionpay;
mod why;

use crate::verdict::{Misuse, Verdict};
use clap::{Args, Subcommand};
use expect::Expected;
use report::{Comparison, Report};

/// Said on standard error before anything is read.
const NOTICE: &str = "irontill: keys are read and shown in the clear: test keys only, never a key of a vault";

/// Payment calculations on test keys, with every value between.
///
/// Keys are read and shown in the clear, so give test keys only; whatever looks like a key of a vault is refused. Bytes
/// are hexadecimal; messages may also be given as text behind `text:`.
#[derive(Args)]
pub struct Calc {
    #[command(subcommand)]
    calculation: Calculation,
    /// What another end got: exits 1 if the result is another one, and says why if it finds out.
    #[arg(long, global = true, value_name = "HEX")]
    expect: Option<String>,
    /// One JSON object on standard output.
    #[arg(long, global = true)]
    json: bool,
}

/// Every calculation by name.
#[derive(Subcommand)]
enum Calculation {
    /// Key check values: legacy, CMAC, UnionPay's.
    CheckValue(check_value::CheckValueArguments),
    /// Odd parity of a DES key.
    Parity(check_value::ParityArguments),
    /// A key out of components.
    Components(check_value::ComponentsArguments),
    /// A variant of a key.
    Variant(check_value::VariantArguments),
    /// DUKPT with TDES: initial key, every step, all working keys.
    DukptTdes(dukpt_tdes::DukptTdesArguments),
    /// DUKPT with AES: initial key, every step, all working keys.
    DukptAes(dukpt_aes::DukptAesArguments),
    /// The header of a key block (X9.143, TR-31) in words.
    KeyBlockHeader(key_blocks::HeaderArguments),
    /// The key in a key block.
    KeyBlockUnwrap(key_blocks::UnwrapArguments),
    /// A key block of version B, D or E.
    KeyBlockWrap(key_blocks::WrapArguments),
    /// AES key wrap, with and without padding, both ways.
    AesKeyWrap(key_wrap::AesKeyWrapArguments),
    /// A key under a key in ECB mode, both ways.
    KeyUnderKey(key_wrap::KeyUnderKeyArguments),
    /// A PIN block, clear or enciphered.
    PinBlockEncode(pin_blocks::EncodeArguments),
    /// The PIN in a PIN block.
    PinBlockDecode(pin_blocks::DecodeArguments),
    /// A MAC of any algorithm.
    Mac(macs::MacArguments),
    /// CVV, CVC, iCVV, CVV2.
    Cvv(card_codes::CvvArguments),
    /// Visa's dCVV.
    Dcvv(card_codes::DcvvArguments),
    /// Mastercard's CVC3.
    Cvc3(card_codes::Cvc3Arguments),
    /// Visa's PIN verification value.
    Pvv(pin_verification::PvvArguments),
    /// IBM 3624: natural PIN, offset, PIN of an offset.
    #[command(name = "ibm-3624")]
    Ibm3624(pin_verification::Ibm3624Arguments),
    /// The ICC master key of a card.
    IccMasterKey(icc_keys::IccMasterKeyArguments),
    /// The session key of a transaction.
    SessionKey(icc_keys::SessionKeyArguments),
    /// An application cryptogram: ARQC, TC, AAC.
    Arqc(cryptogram::ArqcArguments),
    /// The issuer's answer to an ARQC, method 1 or 2.
    Arpc(cryptogram::ArpcArguments),
    /// MAC of an issuer script command.
    ScriptMac(scripts::ScriptMacArguments),
    /// Enciphered data of an issuer script command.
    ScriptEncipher(scripts::ScriptEncipherArguments),
    /// Working keys of a UnionPay sign-in answer.
    #[command(name = "field-62")]
    Field62(unionpay::Field62Arguments),
    /// MAC of a whole UnionPay message.
    #[command(name = "field-64")]
    Field64(unionpay::Field64Arguments),
    /// UnionPay's track encryption.
    Track(unionpay::TrackArguments),
    /// SM2 signature.
    #[command(name = "sm2-sign")]
    Sm2Sign(sm2::SignArguments),
    /// SM2 signature verification.
    #[command(name = "sm2-verify")]
    Sm2Verify(sm2::VerifyArguments),
    /// SM2 encryption.
    #[command(name = "sm2-encrypt")]
    Sm2Encrypt(sm2::EncryptArguments),
    /// SM2 decryption.
    #[command(name = "sm2-decrypt")]
    Sm2Decrypt(sm2::DecryptArguments),
    /// SM3 hash.
    #[command(name = "sm3")]
    Sm3(symmetric::Sm3Arguments),
    /// TDES, AES or SM4 in any mode.
    Cipher(symmetric::CipherArguments),
}

/// One calculation with its arguments.
trait Calculate {
    /// Calculates and shows every step.
    fn calculate(&self) -> Result<Report, Misuse>;

    /// What the arguments themselves say must come out.
    fn expected(&self) -> Option<Expected> {
        None
    }

    /// Whether the result is the expected one.
    fn agrees(&self, report: &Report, expected: &Expected) -> bool {
        expected.is(&report.result) || (report.may_be_cut && expected.begins(&report.result))
    }

    /// Why another end may have got this and not our result.
    fn why(&self, _expected: &Expected) -> Option<String> {
        None
    }
}

impl Calculation {
    fn as_calculate(&self) -> &dyn Calculate {
        match self {
            Self::CheckValue(arguments) => arguments,
            Self::Parity(arguments) => arguments,
            Self::Components(arguments) => arguments,
            Self::Variant(arguments) => arguments,
            Self::DukptTdes(arguments) => arguments,
            Self::DukptAes(arguments) => arguments,
            Self::KeyBlockHeader(arguments) => arguments,
            Self::KeyBlockUnwrap(arguments) => arguments,
            Self::KeyBlockWrap(arguments) => arguments,
            Self::AesKeyWrap(arguments) => arguments,
            Self::KeyUnderKey(arguments) => arguments,
            Self::PinBlockEncode(arguments) => arguments,
            Self::PinBlockDecode(arguments) => arguments,
            Self::Mac(arguments) => arguments,
            Self::Cvv(arguments) => arguments,
            Self::Dcvv(arguments) => arguments,
            Self::Cvc3(arguments) => arguments,
            Self::Pvv(arguments) => arguments,
            Self::Ibm3624(arguments) => arguments,
            Self::IccMasterKey(arguments) => arguments,
            Self::SessionKey(arguments) => arguments,
            Self::Arqc(arguments) => arguments,
            Self::Arpc(arguments) => arguments,
            Self::ScriptMac(arguments) => arguments,
            Self::ScriptEncipher(arguments) => arguments,
            Self::Field62(arguments) => arguments,
            Self::Field64(arguments) => arguments,
            Self::Track(arguments) => arguments,
            Self::Sm2Sign(arguments) => arguments,
            Self::Sm2Verify(arguments) => arguments,
            Self::Sm2Encrypt(arguments) => arguments,
            Self::Sm2Decrypt(arguments) => arguments,
            Self::Sm3(arguments) => arguments,
            Self::Cipher(arguments) => arguments,
        }
    }
}

impl Calc {
    /// Calculates and prints.
    pub fn run(self) -> anyhow::Result<Verdict> {
        eprintln!("{NOTICE}");
        let report = self.report()?;
        if self.json {
            println!("{}", report.to_json());
        } else {
            print!("{}", report.to_text());
        }
        Ok(Verdict::of(report.agrees()))
    }

    /// Calculates and compares.
    fn report(&self) -> Result<Report, Misuse> {
        let calculation = self.calculation.as_calculate();
        let mut report = calculation.calculate()?;
        let given = self.expect.as_deref().map(Expected::new);
        let Some(expected) = given.or_else(|| calculation.expected()) else { return Ok(report) };
        let agrees = calculation.agrees(&report, &expected);
        if !agrees {
            let found = equal_step(&report, &expected).or_else(|| calculation.why(&expected));
            report.why = found.or(report.why);
        }
        report.comparison = Some(Comparison { expected: expected.text().to_owned(), agrees });
        Ok(report)
    }
}

/// Another end may have stopped at a value between.
fn equal_step(report: &Report, expected: &Expected) -> Option<String> {
    let step = report.steps.iter().find(|step| expected.is(&step.value))?;
    Some(format!("it is a value between: {}", step.name))
}

/// Random bytes, where a calculation needs some and none were given.
fn drawn(count: usize) -> Result<Vec<u8>, Misuse> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|error| Misuse(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

/// As [`drawn`], as many as the place takes.
fn drawn_array<const N: usize>() -> Result<[u8; N], Misuse> {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&drawn(N)?);
    Ok(bytes)
}
