//! Duty: the EMV contact kernel. It is told what the card, the cardholder and the host said, and says what to do next.
//! Knows: APDUs, application selection, data authentication, cardholder verification, risk management, action
//! analysis, GENERATE AC, issuer authentication and scripts (EMV 4.4 Books 1–4).
//! Never: talks to a reader, sees a clock, draws a random number, holds a secret key, or prints account data.
//! Start here: [`Kernel`], its [`Input`] and [`Output`]; [`oda`] for certificates; [`describe`] for bits in words.

pub mod action;
pub mod apdu;
pub mod bits;
pub mod config;
pub mod cryptogram;
pub mod cvm;
pub mod data;
pub mod date;
pub mod describe;
pub mod gpo;
pub mod kernel;
pub mod oda;
pub mod pin;
pub mod records;
pub mod restrictions;
pub mod risk;
pub mod scripts;
pub mod select;
pub mod t0;
pub mod trace;
pub mod transcript;

pub use apdu::{Command, Response, StatusWord};
pub use bits::{Tsi, Tvr};
pub use config::{ConfigError, ExceptionFile, RandomSelection, TerminalApplication, TerminalConfig, TransactionData};
pub use cryptogram::{Cryptogram, CryptogramKind};
pub use data::DataStore;
pub use date::EmvDate;
pub use kernel::{
    Decision, Input, Kernel, OdaReport, OnlineRequest, OnlineResult, Outcome, Output, PinKind, PinOutcome, PinRequest,
    Termination,
};
pub use oda::{Capk, CapkSet, RevocationList};
pub use scripts::ScriptResult;
pub use select::Candidate;
pub use transcript::TranscriptEntry;
