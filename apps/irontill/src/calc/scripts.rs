//! `script-mac`, `script-encipher`: secure messaging of issuer scripts.

use super::cryptogram::SchemeName;
use super::expect::Expected;
use super::icc_keys::{CardKeyArguments, KeySource, Session, SessionName};
use super::macs::show_retail;
use super::report::Report;
use super::why::{Dimension, Variation, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use paycrypto::emv::{CommandCipher, ScriptContext, ScriptKey, command_mac, encipher_command_data};
use paycrypto::padding::Padding;
use paycrypto::{CryptoError, TdesKey, decrypt_cbc, decrypt_ecb};

/// Clauses.
const MAC: &str = "EMV 4.4 Book 2 §9.2.3";
const ENCIPHERMENT: &str = "EMV 4.4 Book 2 §9.3";

/// Session keys that scripts have.
const SCRIPT_SESSIONS: [SessionName; 5] = [
    SessionName::Pboc,
    SessionName::CommonOfArqc,
    SessionName::VisaScript,
    SessionName::Common,
    SessionName::MasterKey,
];

/// What both take.
#[derive(Args)]
struct ScriptArguments {
    #[command(flatten)]
    key: CardKeyArguments,
    /// Scheme: decides option, session key and form.
    #[arg(long, default_value = "pboc")]
    scheme: SchemeName,
    /// Transaction counter, tag 9F36.
    #[arg(long)]
    atc: String,
    /// The cryptogram that the script answers, tag 9F26.
    #[arg(long)]
    arqc: String,
    /// Command data, without the MAC.
    #[arg(long, default_value = "")]
    data: String,
}

#[derive(Clone)]
struct ScriptSetting {
    scheme: SchemeName,
    key: KeySource,
    session: Session,
    context: ScriptContext,
    data: Vec<u8>,
}

impl ScriptArguments {
    fn setting(&self) -> Result<ScriptSetting, Misuse> {
        let version = self.scheme.version();
        let context =
            ScriptContext { atc: input::fixed("atc", &self.atc)?, cryptogram: input::fixed("arqc", &self.arqc)? };
        let method = match version.script_key() {
            ScriptKey::CommonOfArqc => SessionName::CommonOfArqc,
            ScriptKey::Pboc => SessionName::Pboc,
            ScriptKey::VisaXor => SessionName::VisaScript,
        };
        let mut session = Session::new(method, context.atc, [0; 4]);
        session.arqc = context.cryptogram;
        let key = self.key.source(version.master_key_option())?;
        Ok(ScriptSetting { scheme: self.scheme, key, session, context, data: input::message("data", &self.data)? })
    }

    /// A report with both derivations, and the session key.
    fn begin(&self, name: &'static str, setting: &ScriptSetting) -> Result<(Report, TdesKey), Misuse> {
        let refused = input::refused("pan");
        let icc_key = setting.key.icc_key().map_err(&refused)?;
        let key = setting.key.session_key(&setting.session).map_err(&refused)?;
        let mut report = self.key.noted(Report::new(name)).with("scheme", self.scheme.text());
        report = report.with("atc", &setting.context.atc).with("arqc", &setting.context.cryptogram);
        report = report.with("data", &setting.data);
        setting.key.show_icc_key(&mut report).map_err(&refused)?;
        if self.key.session_key.is_none() {
            setting.session.show(&mut report, &icc_key).map_err(&refused)?;
        }
        Ok((report, key))
    }
}

impl ScriptSetting {
    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let sessions = others(
            &SCRIPT_SESSIONS,
            self.session.name,
            |name| name.text().to_owned(),
            |setting: &mut Self, name| setting.session.name = name,
        );
        let mut dimensions = vec![sessions];
        dimensions.extend(self.key.dimensions(|setting: &mut Self| &mut setting.key));
        dimensions
    }
}

/// MAC of a script command.
#[derive(Args)]
pub struct ScriptMacArguments {
    #[command(flatten)]
    script: ScriptArguments,
    /// CLA INS P1 P2 Lc.
    #[arg(long)]
    header: String,
}

/// A MAC's setting: what stands under it may vary.
#[derive(Clone)]
struct ScriptMac {
    script: ScriptSetting,
    header: Vec<u8>,
    bound: bool,
}

impl ScriptMac {
    fn message(&self) -> Vec<u8> {
        let ScriptSetting { scheme, context, data, .. } = &self.script;
        match self.bound {
            true => scheme.version().script_mac_input(&self.header, context, data),
            false => [&self.header[..], data].concat(),
        }
    }

    fn mac(&self) -> Result<[u8; 8], CryptoError> {
        command_mac(&self.script.key.session_key(&self.script.session)?, &self.message())
    }

    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let unbound =
            Variation::new("no counter and cryptogram under the MAC", |setting: &mut Self| setting.bound = false);
        let lc = Variation::new("a header without Lc", |setting: &mut Self| setting.header.truncate(4));
        let mut dimensions = vec![vec![unbound], vec![lc]];
        let sessions = others(
            &SCRIPT_SESSIONS,
            self.script.session.name,
            |name| name.text().to_owned(),
            |setting: &mut Self, name| setting.script.session.name = name,
        );
        dimensions.push(sessions);
        dimensions.extend(self.script.key.dimensions(|setting: &mut Self| &mut setting.script.key));
        dimensions
    }
}

impl ScriptMacArguments {
    fn setting(&self) -> Result<ScriptMac, Misuse> {
        let header = input::hex("header", &self.header)?;
        Ok(ScriptMac { script: self.script.setting()?, header, bound: true })
    }
}

impl Calculate for ScriptMacArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.setting()?;
        let (mut report, key) = self.script.begin("script-mac", &setting.script)?;
        report = report.with("header", &setting.header);
        let message = setting.message();
        report.step("MAC input", &message, MAC);
        show_retail(&mut report, key.expose_bytes(), &message, Padding::Marker).map_err(input::refused("pan"))?;
        Ok(report.result_that_may_be_cut(&setting.mac().map_err(input::refused("pan"))?))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.setting().ok()?;
        let agrees = |setting: &ScriptMac| setting.mac().is_ok_and(|mac| expected.begins_bytes(&mac));
        search(&setting, &setting.dimensions(), agrees)
    }
}

/// Enciphered data of a script command.
#[derive(Args)]
pub struct ScriptEncipherArguments {
    #[command(flatten)]
    script: ScriptArguments,
}

impl ScriptSetting {
    fn enciphered(&self) -> Result<Vec<u8>, CryptoError> {
        let key = self.key.session_key(&self.session)?;
        encipher_command_data(&key, &self.data, self.scheme.version().script_cipher())
    }

    /// What was enciphered: the data with its padding.
    fn padded(&self, key: &TdesKey) -> Result<Vec<u8>, CryptoError> {
        let mut data = self.enciphered()?;
        match self.scheme.version().script_cipher() {
            CommandCipher::Visa => decrypt_ecb(key, &mut data)?,
            CommandCipher::Mastercard | CommandCipher::Emv => decrypt_cbc(key, [0; 8], &mut data)?,
        }
        Ok(data)
    }
}

impl Calculate for ScriptEncipherArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.script.setting()?;
        let (mut report, key) = self.script.begin("script-encipher", &setting)?;
        let form = match setting.scheme.version().script_cipher() {
            CommandCipher::Visa => "length, data, padding; ECB",
            CommandCipher::Mastercard => "data, padding if not whole blocks; CBC",
            CommandCipher::Emv => "data, padding; CBC",
        };
        report.step("form", form, ENCIPHERMENT);
        report.step("padded data", &setting.padded(&key).map_err(input::refused("data"))?, ENCIPHERMENT);
        Ok(report.result(&setting.enciphered().map_err(input::refused("data"))?))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.script.setting().ok()?;
        let schemes = vec![
            Variation::new("PBOC and Visa's form (length in front, ECB)", |setting: &mut ScriptSetting| {
                setting.scheme = SchemeName::Pboc;
            }),
            Variation::new("M/Chip's form (CBC)", |setting: &mut ScriptSetting| {
                setting.scheme = SchemeName::MastercardCvn20;
            }),
        ];
        let mut dimensions = setting.dimensions();
        dimensions.push(schemes);
        let agrees = |setting: &ScriptSetting| setting.enciphered().is_ok_and(|done| expected.is_bytes(&done));
        search(&setting, &dimensions, agrees)
    }
}
