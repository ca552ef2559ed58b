//! `arqc`, `arpc`: application cryptograms and the issuer's answer, with everything they come from.

use super::expect::Expected;
use super::icc_keys::{CardKeyArguments, KeySource, Session, SessionName};
use super::macs::{PADDINGS, padding_text, show_retail};
use super::report::Report;
use super::why::{Dimension, Variation, data_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use issuer::{ChipData, Scheme};
use paycrypto::emv::{ArpcMethod, Cryptogram, CryptogramVersion, application_cryptogram, arpc_method_1, arpc_method_2};
use paycrypto::padding::Padding;
use paycrypto::{BlockCipher, CryptoError, TdesKey};

/// Clauses.
const INPUT: &str = "EMV 4.4 Book 2 §8.1.1";
const METHOD_1: &str = "EMV 4.4 Book 2 §8.2.1";
const METHOD_2: &str = "EMV 4.4 Book 2 §8.2.2";

/// Cryptogram versions by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemeName {
    /// PBOC 3.0 and UnionPay, CVN 01.
    Pboc,
    /// Visa CVN 10.
    VisaCvn10,
    /// Visa CVN 18.
    VisaCvn18,
    /// Visa CVN 22.
    VisaCvn22,
    /// M/Chip 4 CVN 16.
    MastercardCvn16,
    /// M/Chip 4 CVN 17.
    MastercardCvn17,
    /// M/Chip 4 CVN 20.
    MastercardCvn20,
    /// M/Chip 4 CVN 21.
    MastercardCvn21,
    /// Interac CVN 133.
    InteracCvn133,
}

impl SchemeName {
    /// The recipe.
    pub fn version(self) -> CryptogramVersion {
        match self {
            Self::Pboc => CryptogramVersion::Pboc,
            Self::VisaCvn10 => CryptogramVersion::VisaCvn10,
            Self::VisaCvn18 => CryptogramVersion::VisaCvn18,
            Self::VisaCvn22 => CryptogramVersion::VisaCvn22,
            Self::MastercardCvn16 => CryptogramVersion::MastercardCvn16,
            Self::MastercardCvn17 => CryptogramVersion::MastercardCvn17,
            Self::MastercardCvn20 => CryptogramVersion::MastercardCvn20,
            Self::MastercardCvn21 => CryptogramVersion::MastercardCvn21,
            Self::InteracCvn133 => CryptogramVersion::InteracCvn133,
        }
    }

    /// Its name.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pboc => "PBOC / UnionPay",
            Self::VisaCvn10 => "Visa CVN 10",
            Self::VisaCvn18 => "Visa CVN 18",
            Self::VisaCvn22 => "Visa CVN 22",
            Self::MastercardCvn16 => "Mastercard CVN 16",
            Self::MastercardCvn17 => "Mastercard CVN 17",
            Self::MastercardCvn20 => "Mastercard CVN 20",
            Self::MastercardCvn21 => "Mastercard CVN 21",
            Self::InteracCvn133 => "Interac CVN 133",
        }
    }

    /// The scheme whose field 55 the issuer reads.
    fn of_field_55(self) -> Result<Scheme, Misuse> {
        match self {
            Self::Pboc => Ok(Scheme::UnionPay),
            Self::VisaCvn18 => Ok(Scheme::VisaCvn18),
            Self::MastercardCvn20 => Ok(Scheme::MastercardCvn20),
            _ => Err(input::misuse("field-55", "is read with pboc, visa-cvn18 and mastercard-cvn20; give --data")),
        }
    }
}

/// An application cryptogram: ARQC, TC or AAC.
#[derive(Args)]
pub struct ArqcArguments {
    #[command(flatten)]
    key: CardKeyArguments,
    /// Scheme: decides option, session key and padding, unless they are said.
    #[arg(long, default_value = "pboc")]
    scheme: SchemeName,
    /// Session key method, other than the scheme's.
    #[arg(long)]
    session: Option<SessionName>,
    /// Padding method, other than the scheme's.
    #[arg(long)]
    padding: Option<u64>,
    /// Transaction counter, tag 9F36.
    #[arg(long, required_unless_present = "field_55")]
    atc: Option<String>,
    /// Unpredictable number, tag 9F37, where it enters the session key.
    #[arg(long)]
    un: Option<String>,
    /// What the cryptogram is computed over, without padding.
    #[arg(long, required_unless_present = "field_55")]
    data: Option<String>,
    /// Field 55 of a message, in the place of --data, --atc and --un; its 9F26 is expected.
    #[arg(long, conflicts_with_all = ["data", "atc", "un"])]
    field_55: Option<String>,
}

/// What a cryptogram is computed with.
#[derive(Clone)]
struct ArqcSetting {
    key: KeySource,
    session: Session,
    padding: Padding,
    data: Vec<u8>,
    chained_with_whole_key: bool,
}

impl ArqcSetting {
    fn cryptogram(&self) -> Result<Cryptogram, CryptoError> {
        let key = self.key.session_key(&self.session)?;
        if self.chained_with_whole_key {
            return Ok(paycrypto::mac::cbc_mac(&key, &self.data, self.padding));
        }
        application_cryptogram(&key, &self.data, self.padding)
    }

    /// What is known to differ, the likeliest first.
    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let mut dimensions = vec![
            others(
                &PADDINGS,
                self.padding,
                |padding| padding_text(padding).to_owned(),
                |setting: &mut Self, padding| {
                    setting.padding = padding;
                },
            ),
            others(
                &SessionName::OF_CRYPTOGRAMS,
                self.session.name,
                |name| name.text().to_owned(),
                |setting: &mut Self, name| setting.session.name = name,
            ),
        ];
        dimensions.extend(self.key.dimensions(|setting: &mut Self| &mut setting.key));
        dimensions.push(vec![Variation::new("a CBC-MAC with TDES in every block", |setting: &mut Self| {
            setting.chained_with_whole_key = true;
        })]);
        dimensions.push(counter_mistakes(self.session.atc));
        dimensions.push(data_mistakes(self.data.len(), |setting: &mut Self| &mut setting.data));
        dimensions
    }
}

fn counter_mistakes(atc: [u8; 2]) -> Dimension<ArqcSetting> {
    let number = u16::from_be_bytes(atc);
    let near = [
        ("the transaction counter before", number.wrapping_sub(1)),
        ("the transaction counter behind", number.wrapping_add(1)),
        ("the bytes of the transaction counter swapped", number.swap_bytes()),
    ];
    let change = |(what, number): (&str, u16)| {
        Variation::new(what, move |setting: &mut ArqcSetting| setting.session.atc = number.to_be_bytes())
    };
    near.into_iter().map(change).collect()
}

impl ArqcArguments {
    fn chip_data(&self) -> Result<Option<ChipData>, Misuse> {
        let Some(text) = &self.field_55 else { return Ok(None) };
        let bytes = input::message("field-55", text)?;
        let read = ChipData::parse(&bytes, self.scheme.of_field_55()?);
        read.map(Some).map_err(|error| input::misuse("field-55", error))
    }

    fn setting(&self) -> Result<ArqcSetting, Misuse> {
        let version = self.scheme.version();
        let (atc, un, data) = match self.chip_data()? {
            Some(chip) => (chip.atc.to_be_bytes(), chip.unpredictable_number, chip.input),
            None => (
                input::fixed("atc", input::needed("atc", &self.atc)?)?,
                input::fixed_if_given("un", &self.un)?.unwrap_or_default(),
                input::message("data", input::needed("data", &self.data)?)?,
            ),
        };
        let method = self.session.unwrap_or(SessionName::from(version.cryptogram_key()));
        if method == SessionName::Mastercard && self.un.is_none() && self.field_55.is_none() {
            return Err(input::misuse("un", "is needed here"));
        }
        let key = self.key.source(version.master_key_option())?;
        let padding = match self.padding {
            Some(number) => input::padding("padding", number)?,
            None => version.cryptogram_padding(),
        };
        let session = Session::new(method, atc, un);
        Ok(ArqcSetting { key, session, padding, data, chained_with_whole_key: false })
    }
}

impl Calculate for ArqcArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.setting()?;
        let refused = input::refused("pan");
        let (icc_key, key) = (setting.key.icc_key(), setting.key.session_key(&setting.session));
        let (icc_key, key) = (icc_key.map_err(&refused)?, key.map_err(&refused)?);
        let mut report = self.key.noted(Report::new("arqc")).with("scheme", self.scheme.text());
        report = report.with("atc", &setting.session.atc).with("data", &setting.data);
        setting.key.show_icc_key(&mut report).map_err(&refused)?;
        if self.key.session_key.is_none() {
            setting.session.show(&mut report, &icc_key).map_err(&refused)?;
        }
        report.step("cryptogram input", &setting.data, INPUT);
        show_retail(&mut report, key.expose_bytes(), &setting.data, setting.padding).map_err(&refused)?;
        Ok(report.result(&setting.cryptogram().map_err(&refused)?))
    }

    fn expected(&self) -> Option<Expected> {
        let chip = self.chip_data().ok()??;
        Some(Expected::new(&iso8583::describe::hex(&chip.cryptogram)))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.setting().ok()?;
        let agrees = |setting: &ArqcSetting| setting.cryptogram().is_ok_and(|value| expected.is_bytes(&value));
        search(&setting, &setting.dimensions(), agrees)
    }
}

/// The issuer's answer to an ARQC: method 1 with --arc, method 2 with --csu.
#[derive(Args)]
pub struct ArpcArguments {
    #[command(flatten)]
    key: CardKeyArguments,
    /// Scheme: decides option and session key.
    #[arg(long, default_value = "pboc")]
    scheme: SchemeName,
    /// Session key method, other than the scheme's for the answer.
    #[arg(long)]
    session: Option<SessionName>,
    /// Transaction counter, tag 9F36.
    #[arg(long, default_value = "0000")]
    atc: String,
    /// Unpredictable number, tag 9F37, where it enters the session key.
    #[arg(long)]
    un: Option<String>,
    /// The cryptogram that is answered, tag 9F26.
    #[arg(long)]
    arqc: String,
    /// Authorisation response code, two bytes: 3030 for "00".
    #[arg(long, required_unless_present = "csu")]
    arc: Option<String>,
    /// Card status update, four bytes.
    #[arg(long, conflicts_with = "arc")]
    csu: Option<String>,
    /// Proprietary authentication data, up to eight bytes (method 2).
    #[arg(long)]
    proprietary: Option<String>,
}

#[derive(Clone)]
struct ArpcSetting {
    key: KeySource,
    session: Session,
    arqc: Cryptogram,
    answer: Answer,
}

#[derive(Clone)]
enum Answer {
    One([u8; 2]),
    Two([u8; 4], Vec<u8>),
}

impl ArpcSetting {
    fn arpc(&self) -> Result<Vec<u8>, CryptoError> {
        let key = self.key.session_key(&self.session)?;
        match &self.answer {
            Answer::One(code) => Ok(arpc_method_1(&key, &self.arqc, *code)?.to_vec()),
            Answer::Two(update, proprietary) => Ok(arpc_method_2(&key, &self.arqc, *update, proprietary)?.to_vec()),
        }
    }

    fn show(&self, report: &mut Report, key: &TdesKey) -> Result<(), CryptoError> {
        match &self.answer {
            Answer::One(code) => {
                let arpc = arpc_method_1(key, &self.arqc, *code)?;
                report.step("response code, filled with zeros", &[code[0], code[1], 0, 0, 0, 0, 0, 0], METHOD_1);
                report.step("xored with the ARQC", &key.decrypted(arpc), METHOD_1);
                report.step("enciphered", &arpc, METHOD_1);
            }
            Answer::Two(update, proprietary) => {
                let data = [&self.arqc[..], update, proprietary].concat();
                report.step("ARQC, card status update, proprietary data", &data, METHOD_2);
                show_retail(report, key.expose_bytes(), &data, Padding::Marker)?;
                report.step("its first four bytes", &arpc_method_2(key, &self.arqc, *update, proprietary)?, METHOD_2);
            }
        }
        Ok(())
    }

    fn dimensions(&self) -> Vec<Dimension<Self>> {
        let mut dimensions = vec![others(
            &SessionName::OF_CRYPTOGRAMS,
            self.session.name,
            |name| name.text().to_owned(),
            |setting: &mut Self, name| setting.session.name = name,
        )];
        dimensions.push(self.answer_mistakes());
        dimensions.extend(self.key.dimensions(|setting: &mut Self| &mut setting.key));
        dimensions
    }

    /// Codes that are mistaken for the one given.
    fn answer_mistakes(&self) -> Dimension<Self> {
        let codes: [(&str, [u8; 2]); 4] = [
            ("response code 3030", *b"00"),
            ("response code 0000", [0, 0]),
            ("response code 0010", [0x00, 0x10]),
            ("response code 3035", *b"05"),
        ];
        let updates: [(&str, [u8; 4]); 2] =
            [("card status update 00800000", [0x00, 0x80, 0x00, 0x00]), ("card status update 00000000", [0; 4])];
        let with = |what: &str, answer: Answer| {
            Variation::new(format!("{what}, method {}", answer.number()), move |setting: &mut Self| {
                setting.answer = answer.clone();
            })
        };
        let codes = codes.into_iter().map(|(what, code)| with(what, Answer::One(code)));
        let updates = updates.into_iter().map(|(what, update)| with(what, Answer::Two(update, Vec::new())));
        codes.chain(updates).collect()
    }
}

impl Answer {
    fn number(&self) -> u8 {
        match self {
            Self::One(_) => 1,
            Self::Two(..) => 2,
        }
    }
}

impl ArpcArguments {
    fn setting(&self) -> Result<ArpcSetting, Misuse> {
        let version = self.scheme.version();
        let answer = match &self.csu {
            Some(text) => {
                let proprietary =
                    self.proprietary.as_deref().map(|text| input::hex("proprietary", text)).transpose()?;
                Answer::Two(input::fixed("csu", text)?, proprietary.unwrap_or_default())
            }
            None => Answer::One(input::fixed("arc", input::needed("arc", &self.arc)?)?),
        };
        let un = input::fixed_if_given("un", &self.un)?.unwrap_or_default();
        let method = self.session.unwrap_or(SessionName::from(version.arpc_key()));
        let session = Session::new(method, input::fixed("atc", &self.atc)?, un);
        let key = self.key.source(version.master_key_option())?;
        Ok(ArpcSetting { key, session, arqc: input::fixed("arqc", &self.arqc)?, answer })
    }
}

impl Calculate for ArpcArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let setting = self.setting()?;
        let refused = input::refused("pan");
        let (icc_key, key) = (setting.key.icc_key(), setting.key.session_key(&setting.session));
        let (icc_key, key) = (icc_key.map_err(&refused)?, key.map_err(&refused)?);
        let arpc = setting.arpc().map_err(input::refused("proprietary"))?;
        let mut report = self.key.noted(Report::new("arpc")).with("scheme", self.scheme.text());
        report = report.with("atc", &setting.session.atc).with("arqc", &setting.arqc);
        report = report.with_given("arc", &self.arc).with_given("csu", &self.csu);
        report = report.with_given("proprietary", &self.proprietary);
        let usual = if self.scheme.version().arpc_method() == ArpcMethod::One { 1 } else { 2 };
        if usual != setting.answer.number() {
            report.step("method", &format!("{}; the scheme's is {usual}", setting.answer.number()), METHOD_1);
        }
        setting.key.show_icc_key(&mut report).map_err(&refused)?;
        if self.key.session_key.is_none() {
            setting.session.show(&mut report, &icc_key).map_err(&refused)?;
        }
        setting.show(&mut report, &key).map_err(input::refused("proprietary"))?;
        Ok(report.result(&arpc))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let setting = self.setting().ok()?;
        let agrees = |setting: &ArpcSetting| setting.arpc().is_ok_and(|value| expected.is_bytes(&value));
        search(&setting, &setting.dimensions(), agrees)
    }
}
