//! The card's side of a payment.
//!
//! * **Duty:** be a chip card: personalised from values, answering APDUs with real cryptography, counting its
//!   transactions and PIN tries, obeying its issuer's scripts, and going wrong on plan.
//! * **Knows:** EMV 4.4 Books 1–3 from the card's end; the cryptogram rules of UnionPay (PBOC 3.0), Visa (VIS) and
//!   Mastercard (M/Chip 4); test keys of all of them.
//! * **Never:** touches a reader, a clock or entropy; decides anything for terminal or host. All keys are TEST keys.
//! * **Start here:** [`profiles`], [`Profile::card`], [`Card::apdu`]; for cards of your own [`Personalisation`].
//!
//! ```
//! let mut card = card::profile("unionpay-credit").expect("a built-in card").card();
//! assert_eq!(card.reset()[0], 0x3B);
//! let answer = card.apdu(b"\x00\xA4\x04\x00\x0E1PAY.SYS.DDF01\x00");
//! assert!(answer.ends_with(&[0x90, 0x00]));
//! ```

mod apdu;
mod capk;
mod card;
mod certificate;
mod command;
mod cvr;
mod fault;
mod hex;
mod issued;
mod log;
mod personalisation;
mod profile;
mod random;
mod rsa;
mod scheme;
mod session;
mod state;
pub mod status;
mod test_keys;

pub use capk::{RID_MASTERCARD, RID_UNIONPAY, RID_VISA, TestCapk, test_capks};
pub use card::{Card, Protocol, RestoreError};
pub use certificate::KeyTooShort;
pub use fault::{CardEvent, FAULTS_MAX, Fault, FaultPlan, FaultyCard};
pub use issued::{PersonalisationError, RECORD_BYTES_MAX};
pub use personalisation::{
    APPLICATIONS_MAX, Account, Application, Authentication, AuthenticationMethod, Misbehaviour, PIN_TRIES_MAX,
    Personalisation, REVOKED_CAPK_INDEX, ResponseFormat, RiskParameters, TEST_CAPK_INDEX, TestChain,
};
pub use profile::{CardAccountData, ExpectedOutcome, PinCheck, Profile, profile, profiles};
pub use random::SEED_BYTES;
pub use scheme::{CryptogramScheme, ISSUER_KEY_BYTES, IssuerMasterKeys};
pub use state::{ApplicationState, CardState, IDENTITY_BYTES, UPDATED_RECORDS_MAX};
pub use status::StatusWord;
