//! A personalised application: certificates signed, records laid out, keys derived. It never changes afterwards.

use crate::certificate::{self, Certificate, KeyTooShort, Validity};
use crate::personalisation::{
    APPLICATIONS_MAX, Account, Application, Authentication, AuthenticationMethod, Misbehaviour, Personalisation,
    ResponseFormat, RiskParameters,
};
use crate::rsa::RsaPrivateKey;
use crate::scheme::CryptogramScheme;
use paycrypto::emv::IccMasterKeys;
use std::collections::BTreeMap;
use tlv::{Builder, Dol, Tag, tags};
use types::SecretBytes;
use zeroize::Zeroizing;

/// Most bytes of a record with its template, so that a short response carries it (EMV 4.4 Book 3 §7.1).
pub const RECORD_BYTES_MAX: usize = 254;

const AID_BYTES: core::ops::RangeInclusive<usize> = 5..=16;
const LABEL_BYTES_MAX: usize = 16;
/// What the card asks for to sign dynamically when there is no combined signature: the unpredictable number.
const DDOL: [u8; 3] = [0x9F, 0x37, 0x04];
/// The static data tag list names the AIP, the only object it may name (Book 3 §10.3).
const STATIC_DATA_TAG_LIST: [u8; 1] = [0x82];
/// English and Chinese (tag 5F2D).
const LANGUAGES: &[u8] = b"zhen";
const CERTIFICATE_SERIAL_ISSUER: [u8; 3] = [0x00, 0x00, 0x01];
const CERTIFICATE_SERIAL_ICC: [u8; 3] = [0x00, 0x00, 0x02];
const CERTIFICATE_SERIAL_PIN: [u8; 3] = [0x00, 0x00, 0x03];
pub(crate) const DATA_AUTHENTICATION_CODE: [u8; 2] = [0x12, 0x34];
/// Discretionary digits of track 2: this issuer writes no PVV and no CVV.
const TRACK2_DISCRETIONARY: &str = "00000000";

const AIP_STATIC: u8 = 0x40;
const AIP_DYNAMIC: u8 = 0x20;
const AIP_CARDHOLDER_VERIFICATION: u8 = 0x10;
const AIP_TERMINAL_RISK_MANAGEMENT: u8 = 0x08;
const AIP_ISSUER_AUTHENTICATION: u8 = 0x04;
const AIP_COMBINED: u8 = 0x01;

/// Files: cardholder data, signed application data, keys.
const SFI_CARDHOLDER: u8 = 1;
const SFI_APPLICATION: u8 = 2;
const SFI_KEYS: u8 = 3;
/// Records of the application file whose contents are signed, from the first.
const SIGNED_RECORDS: u8 = 1;

/// Objects every cryptogram covers and their lengths, in order. CDOL1 must ask for them all.
pub(crate) const CRYPTOGRAM_OBJECTS: [(Tag, usize); 8] = [
    (tags::AMOUNT_AUTHORISED, 6),
    (tags::AMOUNT_OTHER, 6),
    (tags::TERMINAL_COUNTRY_CODE, 2),
    (tags::TVR, 5),
    (tags::TRANSACTION_CURRENCY_CODE, 2),
    (tags::TRANSACTION_DATE, 3),
    (tags::TRANSACTION_TYPE, 1),
    (tags::UNPREDICTABLE_NUMBER, 4),
];

/// Why a card cannot be made from a personalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PersonalisationError {
    /// No application, or more than [`APPLICATIONS_MAX`].
    #[error("a card has 1 to 8 applications")]
    Applications,
    /// An AID outside 5–16 bytes, a label outside 1–16 characters, a priority outside 1–15.
    #[error("AID, label or priority out of range")]
    ApplicationName,
    /// A sequence number above 99, a name outside 2–26 characters, a service code that is not three digits.
    #[error("account data out of range")]
    Account,
    /// A data object list that does not parse, or a CDOL1 without an object that the cryptogram covers.
    #[error("data object list unusable")]
    DataObjectList,
    /// PIN tries outside 1–15.
    #[error("PIN tries out of range")]
    PinTries,
    /// A record longer than [`RECORD_BYTES_MAX`].
    #[error("record too long")]
    Record,
    /// A key that does not fit its certificate.
    #[error(transparent)]
    Key(#[from] KeyTooShort),
}

/// Records by short file identifier and number, templates included.
pub(crate) type Records = BTreeMap<(u8, u8), SecretBytes>;

/// One application as the card holds it.
pub(crate) struct IssuedApplication {
    pub aid: Vec<u8>,
    pub label: &'static str,
    pub priority: u8,
    pub scheme: CryptogramScheme,
    pub keys: IccMasterKeys,
    pub aip: [u8; 2],
    pub afl: Vec<u8>,
    pub records: Records,
    pub pdol: Dol,
    pub cdol1: Dol,
    pub cdol2: Dol,
    pub ddol_bytes: usize,
    pub method: AuthenticationMethod,
    pub signature_key: Option<RsaPrivateKey>,
    pub pin_key: Option<RsaPrivateKey>,
    pub response_format: ResponseFormat,
    pub risk: RiskParameters,
    pub misbehaviour: Misbehaviour,
    pub country_code: u16,
    pub currency_code: u16,
}

/// Checks a personalisation and makes its applications.
pub(crate) fn issue(personalisation: &Personalisation) -> Result<Vec<IssuedApplication>, PersonalisationError> {
    if !(1..=15).contains(&personalisation.pin_tries_max) {
        return Err(PersonalisationError::PinTries);
    }
    if !(1..=APPLICATIONS_MAX).contains(&personalisation.applications.len()) {
        return Err(PersonalisationError::Applications);
    }
    personalisation.applications.iter().map(IssuedApplication::new).collect()
}

impl IssuedApplication {
    fn new(application: &Application) -> Result<Self, PersonalisationError> {
        check_names(application)?;
        let (pdol, cdol1, cdol2) = (dol(&application.pdol)?, dol(&application.cdol1)?, dol(&application.cdol2)?);
        check_first_list(&cdol1)?;
        let aip = interchange_profile(application, &cdol2);
        let authentication = &application.authentication;
        let proves_itself = authentication.method > AuthenticationMethod::None;
        let key = |key| proves_itself.then(|| RsaPrivateKey::from_test_key(key));
        let mut issued = Self {
            aid: application.aid.clone(),
            label: application.label,
            priority: application.priority,
            scheme: application.scheme,
            keys: derive_keys(application),
            aip,
            afl: Vec::new(),
            records: Records::new(),
            pdol,
            cdol1,
            cdol2,
            ddol_bytes: dol(&DDOL)?.total_length(),
            method: authentication.method,
            signature_key: key(authentication.icc_key),
            pin_key: authentication.pin_key.and_then(key),
            response_format: application.response_format,
            risk: application.risk,
            misbehaviour: application.misbehaviour,
            country_code: application.account.country_code,
            currency_code: application.account.currency_code,
        };
        issued.lay_out(application)?;
        Ok(issued)
    }

    fn lay_out(&mut self, application: &Application) -> Result<(), PersonalisationError> {
        let signed = application_data(application);
        let static_data = [signed.as_bytes(), &self.aip[..]].concat();
        self.add_record(SFI_CARDHOLDER, cardholder_data(&application.account))?;
        self.add_record(SFI_APPLICATION, signed)?;
        self.add_record(SFI_APPLICATION, processing_data(application))?;
        for record in self.key_records(application, &static_data)? {
            self.add_record(SFI_KEYS, record)?;
        }
        let signed_records = if self.signature_key.is_some() { SIGNED_RECORDS } else { 0 };
        self.afl = [(SFI_CARDHOLDER, 0), (SFI_APPLICATION, signed_records), (SFI_KEYS, 0)]
            .into_iter()
            .filter(|(sfi, _)| self.last_record(*sfi) > 0)
            .flat_map(|(sfi, signed_records)| [sfi << 3, 1, self.last_record(sfi), signed_records])
            .collect();
        Ok(())
    }

    fn last_record(&self, sfi: u8) -> u8 {
        self.records.keys().filter(|key| key.0 == sfi).map(|key| key.1).max().unwrap_or(0)
    }

    fn add_record(&mut self, sfi: u8, content: Builder) -> Result<(), PersonalisationError> {
        let mut record = Builder::new();
        record.push(tags::RECORD_TEMPLATE, content.as_bytes());
        if record.as_bytes().len() > RECORD_BYTES_MAX {
            return Err(PersonalisationError::Record);
        }
        let number = self.last_record(sfi) + 1;
        self.records.insert((sfi, number), SecretBytes::new(record.into_bytes()));
        Ok(())
    }

    /// CA index and issuer key, issuer certificate, static signature, card key, card certificate, PIN certificate.
    fn key_records(&self, application: &Application, static_data: &[u8]) -> Result<Vec<Builder>, KeyTooShort> {
        let Some(signature_key) = &self.signature_key else { return Ok(Vec::new()) };
        let authentication = &application.authentication;
        let [authority, issuer] =
            [authentication.authority_key, authentication.issuer_key].map(RsaPrivateKey::from_test_key);
        let pan = &application.account.pan;
        let validity = |serial_number| Validity { expiry: authentication.certificate_expiry, serial_number };
        let certified = certificate::issuer_certificate(&authority, &issuer, pan, validity(CERTIFICATE_SERIAL_ISSUER))?;
        let mut records = issuer_records(authentication, certified);
        let signature = certificate::static_signature(&issuer, DATA_AUTHENTICATION_CODE, static_data)?;
        records.push(object(tags::SIGNED_STATIC_APPLICATION_DATA, &signature));
        if self.method >= AuthenticationMethod::Dynamic {
            let certified = certificate::icc_certificate(
                &issuer,
                signature_key,
                pan,
                validity(CERTIFICATE_SERIAL_ICC),
                static_data,
            )?;
            records.extend(key_record_pair(ICC_KEY_TAGS, certified));
        }
        if let Some(pin_key) = &self.pin_key {
            let certified = certificate::icc_certificate(&issuer, pin_key, pan, validity(CERTIFICATE_SERIAL_PIN), &[])?;
            records.extend(key_record_pair(PIN_KEY_TAGS, certified));
        }
        Ok(records)
    }

    /// The FCI that answers SELECT (EMV 4.4 Book 1 §11.3.4, table 45).
    pub fn file_control_information(&self) -> Vec<u8> {
        let mut fci = Builder::new();
        fci.push_template(tags::FCI_TEMPLATE, |template| {
            template.push(tags::DF_NAME, &self.aid);
            template.push_template(tags::FCI_PROPRIETARY_TEMPLATE, |proprietary| {
                proprietary.push(tags::APPLICATION_LABEL, self.label.as_bytes());
                proprietary.push(tags::APPLICATION_PRIORITY_INDICATOR, &[self.priority]);
                if !self.pdol.entries().is_empty() {
                    proprietary.push(tags::PDOL, &self.pdol.encode());
                }
                proprietary.push(tags::LANGUAGE_PREFERENCE, LANGUAGES);
                proprietary.push_template(tags::FCI_DISCRETIONARY_TEMPLATE, |discretionary| {
                    discretionary.push(tags::LOG_ENTRY, &[crate::log::SFI, crate::log::ENTRIES_MAX as u8]);
                });
            });
        });
        fci.into_bytes()
    }

    /// This application's record of the directory (Book 1 §12.2.3).
    pub fn directory_record(&self) -> Vec<u8> {
        let mut record = Builder::new();
        record.push_template(tags::RECORD_TEMPLATE, |template| {
            template.push_template(tags::APPLICATION_TEMPLATE, |entry| {
                entry.push(tags::ADF_NAME, &self.aid);
                entry.push(tags::APPLICATION_LABEL, self.label.as_bytes());
                entry.push(tags::APPLICATION_PRIORITY_INDICATOR, &[self.priority]);
            });
        });
        record.into_bytes()
    }

    /// Whether the AIP promises EXTERNAL AUTHENTICATE.
    pub fn authenticates_issuer_by_command(&self) -> bool {
        self.aip[0] & AIP_ISSUER_AUTHENTICATION != 0
    }
}

/// FCI of the payment system environment: its directory is file 1 (Book 1 §11.3.4, table 43).
pub(crate) fn environment_control_information() -> Vec<u8> {
    let mut fci = Builder::new();
    fci.push_template(tags::FCI_TEMPLATE, |template| {
        template.push(tags::DF_NAME, tags::PSE_NAME);
        template.push_template(tags::FCI_PROPRIETARY_TEMPLATE, |proprietary| {
            proprietary.push(tags::DIRECTORY_SFI, &[crate::issued::DIRECTORY_SFI]);
            proprietary.push(tags::LANGUAGE_PREFERENCE, LANGUAGES);
        });
    });
    fci.into_bytes()
}

/// Short file identifier of the directory.
pub(crate) const DIRECTORY_SFI: u8 = 1;

fn check_names(application: &Application) -> Result<(), PersonalisationError> {
    let label_fits = (1..=LABEL_BYTES_MAX).contains(&application.label.len()) && application.label.is_ascii();
    if !AID_BYTES.contains(&application.aid.len()) || !label_fits || !(1..=15).contains(&application.priority) {
        return Err(PersonalisationError::ApplicationName);
    }
    let account = &application.account;
    let service_code = account.service_code.len() == 3 && account.service_code.bytes().all(|c| c.is_ascii_digit());
    let name_fits = (2..=26).contains(&account.cardholder_name.len());
    let codes_fit = account.country_code <= 999 && account.currency_code <= 999;
    if account.sequence_number > 99 || !name_fits || !service_code || !codes_fit {
        return Err(PersonalisationError::Account);
    }
    Ok(())
}

fn dol(encoded: &[u8]) -> Result<Dol, PersonalisationError> {
    Dol::parse(encoded).map_err(|_| PersonalisationError::DataObjectList)
}

fn check_first_list(cdol1: &Dol) -> Result<(), PersonalisationError> {
    let asks = |(tag, length): &(Tag, usize)| {
        cdol1.entries().iter().any(|entry| entry.tag == *tag && usize::from(entry.length) == *length)
    };
    if CRYPTOGRAM_OBJECTS.iter().all(asks) { Ok(()) } else { Err(PersonalisationError::DataObjectList) }
}

fn derive_keys(application: &Application) -> IccMasterKeys {
    let account = &application.account;
    application.issuer_keys.derive(application.scheme, &account.pan, account.sequence_number)
}

/// Issuer authentication is by command unless CDOL2 brings tag 91.
fn interchange_profile(application: &Application, cdol2: &Dol) -> [u8; 2] {
    let mut profile = AIP_CARDHOLDER_VERIFICATION | AIP_TERMINAL_RISK_MANAGEMENT;
    if !cdol2.asks_for(tags::ISSUER_AUTHENTICATION_DATA) {
        profile |= AIP_ISSUER_AUTHENTICATION;
    }
    profile |= match application.authentication.method {
        AuthenticationMethod::None => 0,
        AuthenticationMethod::Static => AIP_STATIC,
        AuthenticationMethod::Dynamic => AIP_STATIC | AIP_DYNAMIC,
        AuthenticationMethod::Combined => AIP_STATIC | AIP_DYNAMIC | AIP_COMBINED,
    };
    [profile, 0]
}

fn object(tag: Tag, value: &[u8]) -> Builder {
    let mut builder = Builder::new();
    builder.push(tag, value);
    builder
}

fn cardholder_data(account: &Account) -> Builder {
    let (pan, expiry) = (account.pan.expose(), account.expiry_month().expose());
    let digits = Zeroizing::new(format!("{pan}D{expiry}{}{TRACK2_DISCRETIONARY}", account.service_code));
    let mut builder = object(tags::TRACK_2_EQUIVALENT, &certificate::pack_digits(&digits, 0));
    builder.push(tags::CARDHOLDER_NAME, account.cardholder_name.as_bytes());
    builder
}

fn application_data(application: &Application) -> Builder {
    let account = &application.account;
    let mut builder = object(tags::PAN, &certificate::pack_digits(account.pan.expose(), 0));
    builder.push(tags::PAN_SEQUENCE_NUMBER, &[certificate::packed_decimal(account.sequence_number)]);
    builder.push(tags::EXPIRATION_DATE, &certificate::pack_digits(&account.expiry.yymmdd(), 0));
    builder.push(tags::EFFECTIVE_DATE, &certificate::pack_digits(&account.effective.yymmdd(), 0));
    builder.push(tags::ISSUER_COUNTRY_CODE, &numeric_code(account.country_code));
    builder.push(tags::APPLICATION_USAGE_CONTROL, &application.usage_control);
    builder.push(tags::CVM_LIST, &verification_list(application));
    builder.push(tags::IAC_DEFAULT, &application.action_default);
    builder.push(tags::IAC_DENIAL, &application.action_denial);
    builder.push(tags::IAC_ONLINE, &application.action_online);
    builder.push(tags::SDA_TAG_LIST, &STATIC_DATA_TAG_LIST);
    builder
}

fn verification_list(application: &Application) -> Vec<u8> {
    let amounts = application.verification_amounts.iter().flat_map(|amount| amount.to_be_bytes());
    amounts.chain(application.verification_rules.as_flattened().iter().copied()).collect()
}

fn processing_data(application: &Application) -> Builder {
    let mut builder = object(tags::CDOL1, &application.cdol1);
    builder.push(tags::CDOL2, &application.cdol2);
    builder.push(tags::APPLICATION_VERSION_CARD, &application.version);
    builder.push(tags::APPLICATION_CURRENCY_CODE, &numeric_code(application.account.currency_code));
    builder.push(tags::SERVICE_CODE, &certificate::pack_digits(&format!("0{}", application.account.service_code), 0));
    if application.authentication.method >= AuthenticationMethod::Dynamic {
        builder.push(tags::DDOL, &DDOL);
    }
    builder
}

/// Three digits in two bytes, filled with zero on the left.
fn numeric_code(code: u16) -> Vec<u8> {
    certificate::pack_digits(&format!("{code:04}"), 0)
}

fn issuer_records(authentication: &Authentication, certified: Certificate) -> Vec<Builder> {
    let mut first = object(tags::CAPK_INDEX_CARD, &[authentication.capk_index]);
    first.push(tags::ISSUER_PUBLIC_KEY_EXPONENT, &certified.exponent);
    if !certified.remainder.is_empty() {
        first.push(tags::ISSUER_PUBLIC_KEY_REMAINDER, &certified.remainder);
    }
    vec![first, object(tags::ISSUER_PUBLIC_KEY_CERTIFICATE, &certified.certificate)]
}

/// Tags of a card key: exponent, remainder, certificate.
type KeyTags = [Tag; 3];

const ICC_KEY_TAGS: KeyTags =
    [tags::ICC_PUBLIC_KEY_EXPONENT, tags::ICC_PUBLIC_KEY_REMAINDER, tags::ICC_PUBLIC_KEY_CERTIFICATE];
const PIN_KEY_TAGS: KeyTags =
    [tags::ICC_PIN_PUBLIC_KEY_EXPONENT, tags::ICC_PIN_PUBLIC_KEY_REMAINDER, tags::ICC_PIN_PUBLIC_KEY_CERTIFICATE];

fn key_record_pair([exponent, remainder, certificate]: KeyTags, certified: Certificate) -> [Builder; 2] {
    let mut first = object(exponent, &certified.exponent);
    if !certified.remainder.is_empty() {
        first.push(remainder, &certified.remainder);
    }
    [first, object(certificate, &certified.certificate)]
}
