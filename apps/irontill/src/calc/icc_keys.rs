//! `icc-master-key`, `session-key`: from an issuer's key to the key of one transaction.

use super::expect::Expected;
use super::report::Report;
use super::why::{Dimension, Variation, key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::emv::{
    CryptogramKey, MasterKeyOption, SessionTree, common_session_key, common_session_key_inputs, diversification_data,
    icc_master_key, icc_master_key_before_parity, option_b_hash, pboc_session_key_inputs, session_tree_path,
    tree_session_key, visa_script_session_key,
};
use paycrypto::{CryptoError, TdesKey};

/// Clauses.
const OPTION_A: &str = "EMV 4.4 Book 2 annex A1.4.1";
const OPTION_B: &str = "EMV 4.4 Book 2 annex A1.4.2";
const COMMON: &str = "EMV 4.4 Book 2 annex A1.3.1";
const TREE: &str = "EMV 4.1 Book 2 annex A1.3.2";
const PBOC: &str = "JR/T 0025.7 §5.2";
const VISA_SCRIPT: &str = "VIS 1.6 annex B";
const PARITY: &str = "ANSI X9.52";

/// Account digits above which option B hashes.
const HASHED_ABOVE_DIGITS: usize = 16;

/// How an ICC master key is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptionName {
    /// The rightmost sixteen digits of account and sequence number.
    A,
    /// As A up to sixteen account digits, above that out of a hash.
    B,
}

impl From<OptionName> for MasterKeyOption {
    fn from(name: OptionName) -> Self {
        match name {
            OptionName::A => Self::A,
            OptionName::B => Self::B,
        }
    }
}

/// The name of an option.
pub fn option_text(option: MasterKeyOption) -> &'static str {
    match option {
        MasterKeyOption::A => "master key option A",
        MasterKeyOption::B => "master key option B",
    }
}

/// Where a card's key comes from.
#[derive(Args, Clone)]
pub struct CardKeyArguments {
    /// Issuer master key; needs --pan.
    #[arg(long)]
    pub imk: Option<String>,
    /// Account number.
    #[arg(long)]
    pub pan: Option<String>,
    /// PAN sequence number, tag 5F34.
    #[arg(long, default_value = "00")]
    pub psn: String,
    /// Option of the ICC master key; that of the scheme if not said, else A.
    #[arg(long)]
    pub option: Option<OptionName>,
    /// ICC master key, in the place of the issuer's.
    #[arg(long, conflicts_with = "imk")]
    pub icc_key: Option<String>,
    /// Session key, in the place of both.
    #[arg(long, conflicts_with_all = ["imk", "icc_key"])]
    pub session_key: Option<String>,
}

/// A key, and how far down the derivation it stands.
#[derive(Clone)]
pub enum CardKey {
    /// The issuer's.
    Issuer {
        /// Account number.
        account_number: Vec<u8>,
        /// Sequence number.
        sequence_number: u8,
        /// Option.
        option: MasterKeyOption,
    },
    /// The card's.
    Icc,
    /// The transaction's.
    Session,
}

/// A card's key with its bytes.
#[derive(Clone)]
pub struct KeySource {
    /// Bytes.
    pub bytes: Vec<u8>,
    /// Place in the derivation.
    pub kind: CardKey,
}

impl CardKeyArguments {
    /// Reads the key; `usual` is the option if none is said.
    pub fn source(&self, usual: MasterKeyOption) -> Result<KeySource, Misuse> {
        let read = |name: &str, text: &str| input::key(name, text, input::DOUBLE_KEYS);
        if let Some(text) = &self.session_key {
            return Ok(KeySource { bytes: read("session-key", text)?, kind: CardKey::Session });
        }
        if let Some(text) = &self.icc_key {
            return Ok(KeySource { bytes: read("icc-key", text)?, kind: CardKey::Icc });
        }
        let bytes = read("imk", input::needed("imk", &self.imk)?)?;
        let account_number = input::account_number("pan", input::needed("pan", &self.pan)?)?.to_vec();
        let sequence_number = input::sequence_number("psn", &self.psn)?;
        let option = self.option.map_or(usual, MasterKeyOption::from);
        Ok(KeySource { bytes, kind: CardKey::Issuer { account_number, sequence_number, option } })
    }

    /// Notes what was given.
    pub fn noted(&self, report: Report) -> Report {
        let report = report.with_given("imk", &self.imk).with_given("pan", &self.pan);
        let report = if self.imk.is_some() { report.with("psn", &self.psn) } else { report };
        report.with_given("icc-key", &self.icc_key).with_given("session-key", &self.session_key)
    }
}

impl KeySource {
    /// The ICC master key; of a session key itself.
    pub fn icc_key(&self) -> Result<TdesKey, CryptoError> {
        let key = TdesKey::new(&self.bytes)?;
        match &self.kind {
            CardKey::Issuer { account_number, sequence_number, option } => {
                icc_master_key(*option, &key, account_number, *sequence_number)
            }
            CardKey::Icc | CardKey::Session => Ok(key),
        }
    }

    /// The session key.
    pub fn session_key(&self, method: &Session) -> Result<TdesKey, CryptoError> {
        let key = self.icc_key()?;
        if let CardKey::Session = self.kind { Ok(key) } else { method.derive(&key) }
    }

    /// Shows the derivation of the ICC master key.
    pub fn show_icc_key(&self, report: &mut Report) -> Result<(), CryptoError> {
        let CardKey::Issuer { account_number, sequence_number, option } = &self.kind else { return Ok(()) };
        let hashed = *option == MasterKeyOption::B && account_number.len() > HASHED_ABOVE_DIGITS;
        let clause = if hashed { OPTION_B } else { OPTION_A };
        report.step("option", option_text(*option), clause);
        if hashed {
            report.step(
                "SHA-1 of account and sequence number",
                &option_b_hash(account_number, *sequence_number)?,
                clause,
            );
        }
        let data = diversification_data(*option, account_number, *sequence_number)?;
        report.step("derivation data Y", &data, clause);
        let key = TdesKey::new(&self.bytes)?;
        let before = icc_master_key_before_parity(*option, &key, account_number, *sequence_number)?;
        report.step("Y enciphered", &before[..8], clause);
        report.step("complement of Y enciphered", &before[8..], clause);
        report.step("ICC master key", self.icc_key()?.expose_bytes(), PARITY);
        Ok(())
    }

    /// What is known to differ.
    pub fn dimensions<S: 'static>(&self, key: impl Fn(&mut S) -> &mut Self + Copy + 'static) -> Vec<Dimension<S>> {
        let mut places = vec![key_mistakes(self.bytes.len(), move |setting| &mut key(setting).bytes)];
        let CardKey::Issuer { sequence_number, option, account_number } = &self.kind else { return places };
        let set_kind = move |what: &str, kind: CardKey| {
            Variation::new(what, move |setting: &mut S| key(setting).kind = kind.clone())
        };
        let other_option = match option {
            MasterKeyOption::A => MasterKeyOption::B,
            MasterKeyOption::B => MasterKeyOption::A,
        };
        let issuer = |sequence_number, option| CardKey::Issuer {
            account_number: account_number.clone(),
            sequence_number,
            option,
        };
        let mut derivations = vec![
            set_kind(option_text(other_option), issuer(*sequence_number, other_option)),
            set_kind("the given issuer key taken as the ICC master key", CardKey::Icc),
            set_kind("the given issuer key taken as the session key", CardKey::Session),
        ];
        let numbers = [0_u8, 1].into_iter().filter(|number| number != sequence_number);
        derivations.extend(
            numbers.map(|number| set_kind(&format!("PAN sequence number {number:02}"), issuer(number, *option))),
        );
        places.insert(0, derivations);
        places
    }
}

/// Session key methods by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SessionName {
    /// None: the master key itself (Visa CVN 10).
    MasterKey,
    /// EMV common session key of the ATC.
    Common,
    /// EMV common session key of ATC and unpredictable number (M/Chip).
    Mastercard,
    /// EMV common session key of a diversification value: of the ARQC, for scripts.
    CommonOfArqc,
    /// PBOC and UnionPay.
    Pboc,
    /// Visa's script keys.
    VisaScript,
    /// The tree of EMV2000.
    Emv2000,
}

impl SessionName {
    /// Every method of a cryptogram.
    pub const OF_CRYPTOGRAMS: [Self; 5] = [Self::Pboc, Self::Common, Self::Mastercard, Self::MasterKey, Self::Emv2000];
    const ALL: [Self; 7] = [
        Self::Pboc,
        Self::Common,
        Self::Mastercard,
        Self::MasterKey,
        Self::CommonOfArqc,
        Self::VisaScript,
        Self::Emv2000,
    ];

    /// Its name.
    pub fn text(self) -> &'static str {
        match self {
            Self::MasterKey => "no session key: the ICC master key itself",
            Self::Common => "the EMV common session key of the ATC",
            Self::Mastercard => "the common session key of ATC and unpredictable number (Mastercard)",
            Self::CommonOfArqc => "the common session key of the ARQC",
            Self::Pboc => "the PBOC / UnionPay session key",
            Self::VisaScript => "Visa's script session key",
            Self::Emv2000 => "the EMV2000 session key tree",
        }
    }
}

impl From<CryptogramKey> for SessionName {
    fn from(key: CryptogramKey) -> Self {
        match key {
            CryptogramKey::MasterKey => Self::MasterKey,
            CryptogramKey::CommonOfAtc => Self::Common,
            CryptogramKey::CommonOfAtcAndUn => Self::Mastercard,
            CryptogramKey::Pboc => Self::Pboc,
        }
    }
}

/// A session key method with what it takes.
#[derive(Clone)]
pub struct Session {
    /// The method.
    pub name: SessionName,
    /// Transaction counter.
    pub atc: [u8; 2],
    /// Unpredictable number.
    pub un: [u8; 4],
    /// Diversification value: the ARQC.
    pub arqc: [u8; 8],
    /// The tree of EMV2000.
    pub tree: SessionTree,
}

impl Session {
    /// A method that takes only a counter and an unpredictable number.
    pub fn new(name: SessionName, atc: [u8; 2], un: [u8; 4]) -> Self {
        Self { name, atc, un, arqc: [0; 8], tree: SessionTree::default() }
    }

    /// Derives the key.
    pub fn derive(&self, icc_key: &TdesKey) -> Result<TdesKey, CryptoError> {
        match self.name {
            SessionName::MasterKey => CryptogramKey::MasterKey.derive(icc_key, self.atc, self.un),
            SessionName::Common => CryptogramKey::CommonOfAtc.derive(icc_key, self.atc, self.un),
            SessionName::Mastercard => CryptogramKey::CommonOfAtcAndUn.derive(icc_key, self.atc, self.un),
            SessionName::Pboc => CryptogramKey::Pboc.derive(icc_key, self.atc, self.un),
            SessionName::CommonOfArqc => common_session_key(icc_key, &self.arqc),
            SessionName::VisaScript => visa_script_session_key(icc_key, self.atc),
            SessionName::Emv2000 => tree_session_key(icc_key, self.atc, &self.tree),
        }
    }

    /// Shows the derivation.
    pub fn show(&self, report: &mut Report, icc_key: &TdesKey) -> Result<(), CryptoError> {
        report.step("session key method", self.name.text(), self.clause());
        match self.name {
            SessionName::Common | SessionName::Mastercard | SessionName::CommonOfArqc => {
                let [left, right] = common_session_key_inputs(&self.diversification());
                report.step("diversification value R", &self.diversification(), COMMON);
                report.step("input of the left half", &left, COMMON);
                report.step("input of the right half", &right, COMMON);
            }
            SessionName::Pboc => {
                let [left, right] = pboc_session_key_inputs(self.atc);
                report.step("input of the left half", &left, PBOC);
                report.step("input of the right half", &right, PBOC);
            }
            SessionName::Emv2000 => {
                for (level, node) in (1..).zip(session_tree_path(icc_key, self.atc, &self.tree)?) {
                    report.step(format!("node of level {level}"), &*node, TREE);
                }
            }
            SessionName::MasterKey | SessionName::VisaScript => {}
        }
        report.step("session key", self.derive(icc_key)?.expose_bytes(), self.clause());
        Ok(())
    }

    /// R of the common session key.
    fn diversification(&self) -> [u8; 8] {
        let [a, b] = self.atc;
        let [c, d, e, f] = self.un;
        match self.name {
            SessionName::Mastercard => [a, b, 0, 0, c, d, e, f],
            SessionName::CommonOfArqc => self.arqc,
            _ => [a, b, 0, 0, 0, 0, 0, 0],
        }
    }

    fn clause(&self) -> &'static str {
        match self.name {
            SessionName::MasterKey => "VIS 1.6 annex D",
            SessionName::Common | SessionName::Mastercard | SessionName::CommonOfArqc => COMMON,
            SessionName::Pboc => PBOC,
            SessionName::VisaScript => VISA_SCRIPT,
            SessionName::Emv2000 => TREE,
        }
    }
}

/// The ICC master key of a card.
#[derive(Args)]
pub struct IccMasterKeyArguments {
    #[command(flatten)]
    key: CardKeyArguments,
}

impl Calculate for IccMasterKeyArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let source = self.key.source(MasterKeyOption::A)?;
        let key = source.icc_key().map_err(input::refused("pan"))?;
        let mut report = self.key.noted(Report::new("icc-master-key"));
        source.show_icc_key(&mut report).map_err(input::refused("pan"))?;
        Ok(report.result(key.expose_bytes()))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let source = self.key.source(MasterKeyOption::A).ok()?;
        let dimensions = source.dimensions(|source: &mut KeySource| source);
        let before_parity = |source: &KeySource| {
            let CardKey::Issuer { account_number, sequence_number, option } = &source.kind else { return false };
            let key = TdesKey::new(&source.bytes);
            key.and_then(|key| icc_master_key_before_parity(*option, &key, account_number, *sequence_number))
                .is_ok_and(|key| expected.is_bytes(&*key))
        };
        if before_parity(&source) {
            return Some("agrees without odd parity: the same key to DES".to_owned());
        }
        let agrees = |source: &KeySource| source.icc_key().is_ok_and(|key| expected.is_bytes(key.expose_bytes()));
        search(&source, &dimensions, agrees)
            .or_else(|| search(&source, &dimensions, before_parity).map(|what| format!("{what}, without odd parity")))
    }
}

/// The session key of one transaction.
#[derive(Args)]
pub struct SessionKeyArguments {
    #[command(flatten)]
    key: CardKeyArguments,
    /// Method.
    #[arg(long)]
    method: SessionName,
    /// Transaction counter, tag 9F36.
    #[arg(long, default_value = "0000")]
    atc: String,
    /// Unpredictable number, tag 9F37 (mastercard).
    #[arg(long, required_if_eq("method", "mastercard"))]
    un: Option<String>,
    /// Diversification value of eight bytes: the ARQC (common-of-arqc).
    #[arg(long, required_if_eq("method", "common-of-arqc"))]
    arqc: Option<String>,
    /// Branch factor of the tree (emv2000).
    #[arg(long, default_value_t = 4)]
    branch_factor: u8,
    /// Height of the tree (emv2000).
    #[arg(long, default_value_t = 8)]
    height: u8,
    /// Initial value of the tree (emv2000); zeros if not said.
    #[arg(long)]
    iv: Option<String>,
}

impl SessionKeyArguments {
    fn setting(&self) -> Result<(KeySource, Session), Misuse> {
        let source = self.key.source(MasterKeyOption::A)?;
        let un = input::fixed_if_given("un", &self.un)?.unwrap_or_default();
        let mut session = Session::new(self.method, input::fixed("atc", &self.atc)?, un);
        session.arqc = input::fixed_if_given("arqc", &self.arqc)?.unwrap_or_default();
        let initial_vector = input::fixed_if_given("iv", &self.iv)?.unwrap_or_default();
        session.tree = SessionTree { height: self.height, branch_factor: self.branch_factor, initial_vector };
        Ok((source, session))
    }
}

impl Calculate for SessionKeyArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (source, session) = self.setting()?;
        let icc_key = source.icc_key().map_err(input::refused("pan"))?;
        let key = source.session_key(&session).map_err(input::refused("height"))?;
        let mut report = self.key.noted(Report::new("session-key")).with("method", self.method.text());
        report = report.with("atc", &session.atc).with_given("un", &self.un).with_given("arqc", &self.arqc);
        source.show_icc_key(&mut report).map_err(input::refused("pan"))?;
        session.show(&mut report, &icc_key).map_err(input::refused("height"))?;
        Ok(report.result(key.expose_bytes()))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let asked = self.setting().ok()?;
        let mut dimensions = vec![others(
            &SessionName::ALL,
            asked.1.name,
            |name| name.text().to_owned(),
            |setting: &mut (KeySource, Session), name| setting.1.name = name,
        )];
        dimensions.extend(asked.0.dimensions(|setting: &mut (KeySource, Session)| &mut setting.0));
        search(&asked, &dimensions, |(source, session)| {
            source.session_key(session).is_ok_and(|key| same_key(key.expose_bytes(), expected))
        })
    }
}

/// Equal but for the parity bits.
fn same_key(key: &[u8], expected: &Expected) -> bool {
    let odd = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        paycrypto::key_material::set_odd_parity(&mut bytes);
        bytes
    };
    input::hex("expect", expected.text()).is_ok_and(|expected| odd(&expected) == odd(key))
}
