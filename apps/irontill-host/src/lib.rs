//! The acquiring host as a program: acquirer, issuer, store, link and key socket joined, and what its operators do.
//!
//! *Duty*: [`HostService`] (serves terminals until it is stopped; [`run`] adds signals), [`Admin`] (enrols terminals, loads
//! cards, lists) and [`SettlementDesk`] (settles closed batches), both beside a running host or without one, [`HostSettings`] (its
//! file), [`explain`]. *Knows*: which room is
//! connected to which. *Never*: a rule about money, a clear key. *Start here*: [`HostService::start`], then `engine.rs`.

mod admin;
mod engine;
mod explain;
mod parameters;
mod risk_rules;
mod service;
mod settings;
mod settlement;
mod terminals;
mod threads;
mod wallets;

pub use admin::{
    Admin, AdminError, CardLoaded, EnrolledTerminal, EnrolmentOrder, IssuerCard, IssuerPin, NewMasterKey,
    TerminalSummary, TransportedKey, WrappedKey, today_utc,
};
pub use engine::{Engine, EngineHandle, EngineParts, LogSink, Statistics, Stopped};
pub use explain::{Explanation, enrolled_as, explain, find_by_rrn};
pub use parameters::{format_parameters, parse_parameters};
pub use risk_rules::{Example, Replay, RuleReport, read_rules, replay};
pub use service::{HostService, policies_of, run};
pub use settings::{HostSettings, SettingsError};
pub use settlement::{ExplainedFee, SettlementDesk, SettlementRun, pricing, reconcile_files};
pub use terminals::Terminals;
pub use wallets::{PaidOrder, WalletDesk, WalletError, WalletSummary};
