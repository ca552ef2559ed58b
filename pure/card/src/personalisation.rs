//! What an issuer writes into a card before it goes out, as values.

use crate::random::SEED_BYTES;
use crate::rsa::TestRsaKey;
use crate::scheme::{CryptogramScheme, IssuerMasterKeys};
use crate::test_keys;
use types::{Expiry, LocalDate, Pan, Pin, Secret};

/// Most applications of one card.
pub const APPLICATIONS_MAX: usize = 8;
/// PIN tries of a fresh card.
pub const PIN_TRIES_MAX: u8 = 3;

/// A card to be: its applications, its offline PIN, its random seed.
pub struct Personalisation {
    /// The applications, first to last in the directory.
    pub applications: Vec<Application>,
    /// The reference PIN for offline verification; `None` for a card that never verifies a PIN itself.
    pub pin: Option<Pin>,
    /// PIN tries a fresh or unblocked card has, 1 to 15.
    pub pin_tries_max: u8,
    /// Whether the card has the payment system environment `1PAY.SYS.DDF01`.
    pub has_directory: bool,
    /// Seed of the card's random numbers. Cards with equal seeds draw equal numbers.
    pub random_seed: Secret<SEED_BYTES>,
}

impl core::fmt::Debug for Personalisation {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Personalisation({:?}, ****)", self.applications)
    }
}

/// One payment application.
pub struct Application {
    /// DF name, 5 to 16 bytes (tags 4F, 84).
    pub aid: Vec<u8>,
    /// Application label, 1 to 16 ASCII characters (tag 50).
    pub label: &'static str,
    /// Priority 1 (first) to 15 (tag 87).
    pub priority: u8,
    /// Cryptogram rules.
    pub scheme: CryptogramScheme,
    /// The account.
    pub account: Account,
    /// Issuer master keys from which the card's keys are derived.
    pub issuer_keys: IssuerMasterKeys,
    /// Card version of the scheme's application (tag 9F08).
    pub version: [u8; 2],
    /// Application usage control (tag 9F07).
    pub usage_control: [u8; 2],
    /// Cardholder verification rules: method and condition bytes (tag 8E after the amounts; EMV 4.4 Book 3 annex C3).
    pub verification_rules: Vec<[u8; 2]>,
    /// Amounts X and Y of the rules, minor units of the application's currency.
    pub verification_amounts: [u32; 2],
    /// Issuer action code, default (tag 9F0D).
    pub action_default: [u8; 5],
    /// Issuer action code, denial (tag 9F0E).
    pub action_denial: [u8; 5],
    /// Issuer action code, online (tag 9F0F).
    pub action_online: [u8; 5],
    /// Processing options DOL as encoded (tag 9F38); empty if the card asks for nothing.
    pub pdol: Vec<u8>,
    /// First card risk management DOL as encoded (tag 8C).
    pub cdol1: Vec<u8>,
    /// Second card risk management DOL as encoded (tag 8D).
    pub cdol2: Vec<u8>,
    /// How the card proves itself offline.
    pub authentication: Authentication,
    /// Which response format GET PROCESSING OPTIONS and GENERATE AC use.
    pub response_format: ResponseFormat,
    /// The card's own limits.
    pub risk: RiskParameters,
    /// What this card does wrong on purpose.
    pub misbehaviour: Misbehaviour,
}

impl core::fmt::Debug for Application {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Application({}, {:?})", self.label, self.account.pan)
    }
}

/// The account behind an application.
#[derive(Debug)]
pub struct Account {
    /// Primary account number (tag 5A).
    pub pan: Pan,
    /// PAN sequence number, 0 to 99 (tag 5F34).
    pub sequence_number: u8,
    /// Last day of validity (tag 5F24).
    pub expiry: LocalDate,
    /// First day of validity (tag 5F25).
    pub effective: LocalDate,
    /// Cardholder name, 2 to 26 characters (tag 5F20).
    pub cardholder_name: &'static str,
    /// Service code, three digits (tag 5F30).
    pub service_code: &'static str,
    /// Issuer country, ISO 3166 numeric (tag 5F28).
    pub country_code: u16,
    /// Application currency, ISO 4217 numeric (tag 9F42).
    pub currency_code: u16,
}

impl Account {
    /// The expiry as year and month.
    pub fn expiry_month(&self) -> Expiry {
        let year = u8::try_from(self.expiry.year() % 100).expect("a remainder of 100");
        Expiry::new(year, self.expiry.month()).expect("the month of a date")
    }
}

/// Response template of GET PROCESSING OPTIONS and GENERATE AC (EMV 4.4 Book 3 §6.5.5.4, §6.5.8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseFormat {
    /// Template 80: values one after another.
    One,
    /// Template 77: data objects.
    Two,
}

/// Limits of card risk management. PUT DATA may change the consecutive limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RiskParameters {
    /// Offline transactions in a row after which the card asks to go online (tag 9F58).
    pub lower_consecutive_offline_limit: u8,
    /// Offline transactions in a row after which the card refuses what cannot go online (tag 9F59).
    pub upper_consecutive_offline_limit: u8,
    /// An online approval without issuer authentication is refused.
    pub issuer_authentication_mandatory: bool,
    /// A card that was never online asks for it (application default action, tag 9F52, "if new card").
    pub new_card_goes_online: bool,
}

/// Deliberate wrongs, for cards that must be caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misbehaviour {
    /// An honest card.
    None,
    /// With CDA the card signs transaction data in which the first byte was altered.
    SignsAlteredTransactionData,
}

/// How the card proves itself offline (EMV 4.4 Book 2 §5, §6).
pub struct Authentication {
    /// The strongest method the card offers.
    pub method: AuthenticationMethod,
    /// CA public key index (tag 8F).
    pub capk_index: u8,
    /// Last month of the issuer's and the card's certificates.
    pub certificate_expiry: Expiry,
    pub(crate) authority_key: &'static TestRsaKey,
    pub(crate) issuer_key: &'static TestRsaKey,
    pub(crate) icc_key: &'static TestRsaKey,
    /// A key of its own for PIN encipherment; otherwise the signature key serves.
    pub(crate) pin_key: Option<&'static TestRsaKey>,
}

/// What the card's application interchange profile offers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AuthenticationMethod {
    /// None: a card for terminals that are always online.
    None,
    /// Static data authentication.
    Static,
    /// Static and dynamic data authentication.
    Dynamic,
    /// Dynamic, and combined with the cryptogram.
    Combined,
}

/// The keys of a test card, by name. The private halves are public with this source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestChain {
    /// UnionPay-style, CAPK index E0, the key of `unionpay-credit`.
    UnionPayCredit,
    /// UnionPay-style, CAPK index E0, the key of `unionpay-debit`.
    UnionPayDebit,
    /// UnionPay-style, CAPK index E0, the key of `pin-blocked`.
    UnionPayPinBlocked,
    /// UnionPay-style, CAPK index E0, the key of `cda-lies`.
    UnionPayCdaLies,
    /// UnionPay-style, CAPK index E1: no terminal may hold that authority.
    UnionPayRevoked,
    /// UnionPay-style, CAPK index E0, the key of `expired`.
    UnionPayExpired,
    /// UnionPay-style, CAPK index E0, the key of `scripted`.
    UnionPayScripted,
    /// Visa-style, CAPK index E0.
    Visa,
    /// Mastercard-style, CAPK index E0, with a PIN encipherment key of its own.
    Mastercard,
}

/// CA public key index of the test authorities.
pub const TEST_CAPK_INDEX: u8 = 0xE0;
/// CA public key index of the authority that is never served.
pub const REVOKED_CAPK_INDEX: u8 = 0xE1;

impl Authentication {
    /// Data authentication under a test authority.
    pub fn test(chain: TestChain, method: AuthenticationMethod, certificate_expiry: Expiry) -> Self {
        let (authority_key, issuer_key) = match chain {
            TestChain::UnionPayRevoked => (&test_keys::UNIONPAY_REVOKED_CA, &test_keys::UNIONPAY_ISSUER),
            TestChain::Visa => (&test_keys::VISA_CA, &test_keys::VISA_ISSUER),
            TestChain::Mastercard => (&test_keys::MASTERCARD_CA, &test_keys::MASTERCARD_ISSUER),
            _ => (&test_keys::UNIONPAY_CA, &test_keys::UNIONPAY_ISSUER),
        };
        let revoked = chain == TestChain::UnionPayRevoked;
        Self {
            method,
            capk_index: if revoked { REVOKED_CAPK_INDEX } else { TEST_CAPK_INDEX },
            certificate_expiry,
            authority_key,
            issuer_key,
            icc_key: chain.icc_key(),
            pin_key: (chain == TestChain::Mastercard).then_some(&test_keys::MASTERCARD_PIN),
        }
    }
}

impl TestChain {
    fn icc_key(self) -> &'static TestRsaKey {
        match self {
            Self::UnionPayCredit => &test_keys::UNIONPAY_CREDIT_ICC,
            Self::UnionPayDebit => &test_keys::UNIONPAY_DEBIT_ICC,
            Self::UnionPayPinBlocked => &test_keys::UNIONPAY_PIN_BLOCKED_ICC,
            Self::UnionPayCdaLies => &test_keys::UNIONPAY_CDA_LIES_ICC,
            Self::UnionPayRevoked => &test_keys::UNIONPAY_REVOKED_ICC,
            Self::UnionPayExpired => &test_keys::UNIONPAY_EXPIRED_ICC,
            Self::UnionPayScripted => &test_keys::UNIONPAY_SCRIPTED_ICC,
            Self::Visa => &test_keys::VISA_CREDIT_ICC,
            Self::Mastercard => &test_keys::MASTERCARD_CREDIT_ICC,
        }
    }
}
