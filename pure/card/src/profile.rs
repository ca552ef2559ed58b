//! The built-in cards: data, each with the outcome it must have.

use crate::capk::{RID_MASTERCARD, RID_UNIONPAY, RID_VISA};
use crate::card::Card;
use crate::hex;
use crate::personalisation::{
    Account, Application, Authentication, AuthenticationMethod, Misbehaviour, PIN_TRIES_MAX, Personalisation,
    ResponseFormat, RiskParameters, TestChain,
};
use crate::random::SEED_BYTES;
use crate::scheme::{CryptogramScheme, IssuerMasterKeys};
use sha1::{Digest, Sha1};
use types::{Expiry, LocalDate, Pan, Pin, Secret};

/// Renminbi and China, in which all built-in cards live.
const CODE_CHINA: u16 = 156;
const SEQUENCE_NUMBER: u8 = 1;
const SERVICE_CODE: &str = "201";
const CARDHOLDER_NAME: &str = "TEST/CARD";
const CERTIFICATE_EXPIRY_YEAR: u8 = 45;

/// CDOL1 of PBOC and VIS cards: the cryptogram's objects.
const CDOL1: &str = "9F02069F03069F1A0295055F2A029A039C019F3704";
/// CDOL2 of PBOC and VIS cards: response code in front.
const CDOL2: &str = "8A029F02069F03069F1A0295055F2A029A039C019F3704";
/// CDOL1 of M/Chip cards: terminal type and CVM results as well.
const CDOL1_MCHIP: &str = "9F02069F03069F1A0295055F2A029A039C019F37049F35019F3403";
/// CDOL2 of M/Chip cards: issuer authentication data comes inside.
const CDOL2_MCHIP: &str = "910A8A0295059F3704";
/// Amount and currency, so that the PDOL takes part in combined signatures.
const PDOL_AMOUNT: &str = "9F02065F2A02";
/// Country and capabilities.
const PDOL_TERMINAL: &str = "9F1A029F3303";

/// Goods, services and cash, at home and abroad.
const USAGE_ANYWHERE: [u8; 2] = [0xFF, 0xC0];

/// Method bytes (EMV 4.4 Book 3 table 43); bit 7 goes on to the next rule if the method fails.
const OFFLINE_PLAINTEXT_PIN: u8 = 0x01;
const ONLINE_PIN: u8 = 0x02;
const OFFLINE_ENCIPHERED_PIN: u8 = 0x04;
const SIGNATURE: u8 = 0x1E;
const NO_CVM: u8 = 0x1F;
const ELSE_NEXT: u8 = 0x40;
/// Conditions (table 44).
const ALWAYS: u8 = 0x00;
const IF_TERMINAL_SUPPORTS: u8 = 0x03;

/// Action codes. Denial: the service is not allowed.
const ACTION_DENIAL: [u8; 5] = [0x00, 0x10, 0x00, 0x00, 0x00];
/// Denial also if data authentication failed, whatever the method.
const ACTION_DENIAL_AUTHENTICATION: [u8; 5] = [0x4C, 0x10, 0x00, 0x00, 0x00];
/// Denial also if cardholder verification failed or no PIN tries are left.
const ACTION_DENIAL_VERIFICATION: [u8; 5] = [0x00, 0x10, 0xA0, 0x00, 0x00];
/// Online: data authentication, expiry, new card, verification troubles, floor limit and random selection.
const ACTION_ONLINE: [u8; 5] = [0xDC, 0x68, 0xBC, 0xF8, 0x00];
/// Default: as online, for what remains when the host cannot be reached.
const ACTION_DEFAULT: [u8; 5] = [0xDC, 0x60, 0xBC, 0xA8, 0x00];

const RISK: RiskParameters = RiskParameters {
    lower_consecutive_offline_limit: 3,
    upper_consecutive_offline_limit: 5,
    issuer_authentication_mandatory: false,
    new_card_goes_online: true,
};
/// Electronic cash: twenty small sums in a row, from the first day on.
const RISK_OFFLINE: RiskParameters = RiskParameters {
    lower_consecutive_offline_limit: 20,
    upper_consecutive_offline_limit: 30,
    new_card_goes_online: false,
    ..RISK
};

/// How a PIN is verified in the expected outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinCheck {
    /// By the issuer: the message carries a PIN block.
    Online,
    /// By the card.
    Offline,
}

/// What a sale of 12.50 CNY with PIN 123456 at a terminal with default parameters must come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpectedOutcome {
    /// The issuer approves.
    ApprovedOnline(PinCheck),
    /// Terminal and card decline before anything is sent.
    DeclinedOffline,
    /// The terminal declines because the signature over the ARQC is wrong; nothing is sent.
    DeclinedBySignature,
    /// The message goes out and the issuer declines with this response code (field 39).
    DeclinedOnline(&'static str),
    /// Terminal and card approve without the issuer; the sale is uploaded afterwards.
    ApprovedOffline,
}

impl ExpectedOutcome {
    /// Whether the sale is approved.
    pub const fn approves(self) -> bool {
        matches!(self, Self::ApprovedOnline(_) | Self::ApprovedOffline)
    }
}

/// Everything in which the built-in cards differ.
struct Make {
    aid: ([u8; 5], &'static [u8]),
    label: &'static str,
    pan: &'static str,
    pin: &'static str,
    expiry_year: u16,
    version: [u8; 2],
    verification_rules: &'static [[u8; 2]],
    action_denial: [u8; 5],
    pdol: &'static str,
    cdol1: &'static str,
    cdol2: &'static str,
    method: AuthenticationMethod,
    chain: TestChain,
    response_format: ResponseFormat,
    misbehaviour: Misbehaviour,
    sends_script: bool,
    risk: RiskParameters,
}

/// A built-in card.
pub struct Profile {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// Its cryptogram rules.
    pub scheme: CryptogramScheme,
    /// What a sale of 12.50 CNY with PIN 123456 must come to.
    pub expected: ExpectedOutcome,
    /// Why, in one line.
    pub expectation: &'static str,
    make: Make,
}

impl core::fmt::Debug for Profile {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Profile({})", self.name)
    }
}

/// PINs verified online, then signature, then nothing.
const RULES_ONLINE: &[[u8; 2]] =
    &[[ONLINE_PIN | ELSE_NEXT, IF_TERMINAL_SUPPORTS], [SIGNATURE | ELSE_NEXT, IF_TERMINAL_SUPPORTS], [NO_CVM, ALWAYS]];
/// Online PIN or nothing.
const RULES_ONLINE_ONLY: &[[u8; 2]] = &[[ONLINE_PIN, ALWAYS]];
const RULES_PLAINTEXT: &[[u8; 2]] = &[
    [OFFLINE_PLAINTEXT_PIN | ELSE_NEXT, IF_TERMINAL_SUPPORTS],
    [ONLINE_PIN | ELSE_NEXT, IF_TERMINAL_SUPPORTS],
    [SIGNATURE | ELSE_NEXT, IF_TERMINAL_SUPPORTS],
    [NO_CVM, ALWAYS],
];
const RULES_ENCIPHERED: &[[u8; 2]] = &[
    [OFFLINE_ENCIPHERED_PIN | ELSE_NEXT, IF_TERMINAL_SUPPORTS],
    [ONLINE_PIN | ELSE_NEXT, IF_TERMINAL_SUPPORTS],
    [SIGNATURE | ELSE_NEXT, IF_TERMINAL_SUPPORTS],
    [NO_CVM, ALWAYS],
];
const RULES_PLAINTEXT_ONLY: &[[u8; 2]] = &[[OFFLINE_PLAINTEXT_PIN, ALWAYS]];
/// Electronic cash: small sums without any check of the person.
const RULES_NONE: &[[u8; 2]] = &[[NO_CVM, ALWAYS]];

const UNIONPAY_CREDIT: Make = Make {
    aid: (RID_UNIONPAY, &[0x01, 0x01, 0x02]),
    label: "UnionPay Credit",
    pan: "6222620000001001001",
    pin: "123456",
    expiry_year: 2030,
    version: [0x00, 0x20],
    verification_rules: RULES_ONLINE,
    action_denial: ACTION_DENIAL,
    pdol: PDOL_AMOUNT,
    cdol1: CDOL1,
    cdol2: CDOL2,
    method: AuthenticationMethod::Combined,
    chain: TestChain::UnionPayCredit,
    response_format: ResponseFormat::One,
    misbehaviour: Misbehaviour::None,
    sends_script: false,
    risk: RISK,
};

static PROFILES: [Profile; 11] = [
    Profile {
        name: "unionpay-credit",
        description: "UnionPay-style credit card: CDA, online PIN, then signature",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::ApprovedOnline(PinCheck::Online),
        expectation: "the issuer verifies PIN and cryptogram and approves",
        make: UNIONPAY_CREDIT,
    },
    Profile {
        name: "unionpay-debit",
        description: "UnionPay-style debit card: DDA, always an online PIN",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::ApprovedOnline(PinCheck::Online),
        expectation: "the issuer verifies PIN and cryptogram and approves",
        make: Make {
            aid: (RID_UNIONPAY, &[0x01, 0x01, 0x01]),
            label: "UnionPay Debit",
            pan: "6217850000002002009",
            verification_rules: RULES_ONLINE_ONLY,
            pdol: "",
            method: AuthenticationMethod::Dynamic,
            chain: TestChain::UnionPayDebit,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "visa-credit",
        description: "Visa-style credit card (CVN 18): CDA, plaintext offline PIN, then online PIN, signature",
        scheme: CryptogramScheme::VisaCvn18,
        expected: ExpectedOutcome::ApprovedOnline(PinCheck::Offline),
        expectation: "the card verifies the PIN, the issuer the cryptogram",
        make: Make {
            aid: (RID_VISA, &[0x10, 0x10]),
            label: "Visa Credit",
            pan: "4000120000300309",
            version: [0x00, 0x96],
            verification_rules: RULES_PLAINTEXT,
            pdol: PDOL_TERMINAL,
            chain: TestChain::Visa,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "mastercard-credit",
        description: "Mastercard-style credit card (CVN 20): CDA, enciphered offline PIN, then online PIN, signature",
        scheme: CryptogramScheme::MastercardCvn20,
        expected: ExpectedOutcome::ApprovedOnline(PinCheck::Offline),
        expectation: "the card verifies the PIN, the issuer the cryptogram; its answer travels in CDOL2",
        make: Make {
            aid: (RID_MASTERCARD, &[0x10, 0x10]),
            label: "Mastercard",
            pan: "5413330000400409",
            version: [0x00, 0x02],
            verification_rules: RULES_ENCIPHERED,
            pdol: "",
            cdol1: CDOL1_MCHIP,
            cdol2: CDOL2_MCHIP,
            chain: TestChain::Mastercard,
            response_format: ResponseFormat::Two,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "revoked-capk",
        description: "fails: its issuer's certificate hangs on CA key E1, which no terminal holds",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::DeclinedOffline,
        expectation: "data authentication fails and the issuer action code denies it",
        make: Make {
            pan: "6222620000005005008",
            action_denial: ACTION_DENIAL_AUTHENTICATION,
            chain: TestChain::UnionPayRevoked,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "pin-blocked",
        description: "fails: verifies its PIN itself and blocks it after three wrong tries",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::DeclinedOffline,
        expectation: "123456 is wrong: 63C2, 63C1, 63C0, then verification fails and is denied; with its PIN and tries \
                      left the sale is approved",
        make: Make {
            pan: "6222620000006006005",
            pin: "258036",
            verification_rules: RULES_PLAINTEXT_ONLY,
            action_denial: ACTION_DENIAL_VERIFICATION,
            chain: TestChain::UnionPayPinBlocked,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "cda-lies",
        description: "fails: signs transaction data that is not the transaction's",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::DeclinedBySignature,
        expectation: "the combined signature does not fit the ARQC, so the terminal asks for an AAC",
        make: Make {
            pan: "6222620000007007002",
            action_denial: ACTION_DENIAL_AUTHENTICATION,
            chain: TestChain::UnionPayCdaLies,
            misbehaviour: Misbehaviour::SignsAlteredTransactionData,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "unionpay-sda",
        description: "UnionPay-style credit card of the old kind: static data authentication only",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::ApprovedOnline(PinCheck::Online),
        expectation: "the issuer verifies PIN and cryptogram and approves",
        make: Make { pan: "6222620000008008009", method: AuthenticationMethod::Static, ..UNIONPAY_CREDIT },
    },
    Profile {
        name: "expired",
        description: "fails: its validity ended in December 2020",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::DeclinedOnline("54"),
        expectation: "the terminal notes the expiry, asks the issuer, and the issuer declines an expired card",
        make: Make {
            pan: "6222620000009009006",
            expiry_year: 2020,
            chain: TestChain::UnionPayExpired,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "scripted",
        description: "UnionPay-style credit card whose issuer sends a script with its approval",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::ApprovedOnline(PinCheck::Online),
        expectation: "approved; the card carries out a PUT DATA and the terminal reports the script's result",
        make: Make {
            pan: "6222620000001101108",
            chain: TestChain::UnionPayScripted,
            sends_script: true,
            ..UNIONPAY_CREDIT
        },
    },
    Profile {
        name: "unionpay-offline",
        description: "UnionPay-style card for small sums: CDA, no PIN, approves below the floor limit by itself",
        scheme: CryptogramScheme::UnionPay,
        expected: ExpectedOutcome::ApprovedOffline,
        expectation: "terminal and card approve below the floor limit; the sale is stored and forwarded",
        make: Make {
            aid: (RID_UNIONPAY, &[0x01, 0x01, 0x06]),
            label: "UnionPay E-Cash",
            pan: "6222620000001201205",
            verification_rules: RULES_NONE,
            risk: RISK_OFFLINE,
            ..UNIONPAY_CREDIT
        },
    },
];

/// All built-in cards.
pub fn profiles() -> &'static [Profile] {
    &PROFILES
}

/// The built-in card of a name.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// What an issuer must know to serve one card.
#[derive(Debug)]
pub struct CardAccountData {
    /// Primary account number.
    pub pan: Pan,
    /// PAN sequence number (tag 5F34, field 23).
    pub sequence_number: u8,
    /// Expiry as printed.
    pub expiry: Expiry,
    /// Cryptogram rules: version number, key derivation, ARPC method.
    pub scheme: CryptogramScheme,
    /// Issuer master keys. TEST keys, the same for all cards of a scheme.
    pub issuer_keys: IssuerMasterKeys,
    /// The cardholder's PIN, the same offline and online.
    pub pin: Pin,
    /// The issuer sends this card a script with its approvals.
    pub sends_script: bool,
    /// The card approves sales that the issuer is not asked about, so that its counter must pay only once.
    pub approves_offline: bool,
}

impl Profile {
    /// The PAN.
    pub fn pan(&self) -> Pan {
        Pan::parse(self.make.pan).expect("a PAN in a table of this crate")
    }

    /// The cardholder's PIN.
    pub fn pin(&self) -> Pin {
        Pin::parse(self.make.pin).expect("a PIN in a table of this crate")
    }

    /// DF name of its application.
    pub fn aid(&self) -> Vec<u8> {
        [&self.make.aid.0[..], self.make.aid.1].concat()
    }

    /// What its issuer must know.
    pub fn account(&self) -> CardAccountData {
        CardAccountData {
            pan: self.pan(),
            sequence_number: SEQUENCE_NUMBER,
            expiry: self.card_account().expiry_month(),
            scheme: self.scheme,
            issuer_keys: IssuerMasterKeys::test(self.scheme),
            pin: self.pin(),
            sends_script: self.make.sends_script,
            approves_offline: self.expected == ExpectedOutcome::ApprovedOffline,
        }
    }

    /// The card to be. Its random seed follows from the profile's name; replace it to have cards that differ.
    pub fn personalisation(&self) -> Personalisation {
        Personalisation {
            applications: vec![self.application()],
            pin: Some(self.pin()),
            pin_tries_max: PIN_TRIES_MAX,
            has_directory: true,
            random_seed: self.seed(),
        }
    }

    /// A fresh card.
    pub fn card(&self) -> Card {
        Card::new(self.personalisation()).expect("profiles can be personalised: this crate's tests make each")
    }

    fn seed(&self) -> Secret<SEED_BYTES> {
        let digest = Sha1::new().chain_update(b"Irontill test card ").chain_update(self.name).finalize();
        Secret::copy_from(&digest[..SEED_BYTES]).expect("sixteen of twenty bytes")
    }

    fn card_account(&self) -> Account {
        let date = |year, month, day| LocalDate::new(year, month, day).expect("a calendar date");
        Account {
            pan: self.pan(),
            sequence_number: SEQUENCE_NUMBER,
            expiry: date(self.make.expiry_year, 12, 31),
            effective: date(2015, 1, 1),
            cardholder_name: CARDHOLDER_NAME,
            service_code: SERVICE_CODE,
            country_code: CODE_CHINA,
            currency_code: CODE_CHINA,
        }
    }

    fn application(&self) -> Application {
        let make = &self.make;
        let certificate_expiry = Expiry::new(CERTIFICATE_EXPIRY_YEAR, 12).expect("a month");
        Application {
            aid: self.aid(),
            label: make.label,
            priority: 1,
            scheme: self.scheme,
            account: self.card_account(),
            issuer_keys: IssuerMasterKeys::test(self.scheme),
            version: make.version,
            usage_control: USAGE_ANYWHERE,
            verification_rules: make.verification_rules.to_vec(),
            verification_amounts: [0, 0],
            action_default: ACTION_DEFAULT,
            action_denial: make.action_denial,
            action_online: ACTION_ONLINE,
            pdol: hex::bytes(make.pdol),
            cdol1: hex::bytes(make.cdol1),
            cdol2: hex::bytes(make.cdol2),
            authentication: Authentication::test(make.chain, make.method, certificate_expiry),
            response_format: make.response_format,
            risk: make.risk,
            misbehaviour: make.misbehaviour,
        }
    }
}
