//! The kernel as a machine: one step takes what happened and says what to do next (EMV 4.4 Book 3 §8, Book 4 §6).
//!
//! The order is fixed: selection, initiation, records, data authentication, restrictions, cardholder verification, risk
//! management, action analysis, first cryptogram, online, issuer authentication, scripts, second cryptogram, scripts.
//! Each submodule holds the steps of one part; every one ends by calling the next part or by asking for an input.

mod authenticating;
mod completing;
mod deciding;
mod reading;
mod selecting;
mod session;
mod verifying;

#[cfg(test)]
mod tests;

use crate::apdu::{ApduError, Command, Response, StatusWord};
use crate::bits::{Tsi, Tvr};
use crate::config::{self, ConfigError, TerminalConfig, TransactionData};
use crate::cryptogram::{Cryptogram, CryptogramError, CryptogramKind};
use crate::data::DataStore;
use crate::gpo::InitiateError;
use crate::oda::{CapkSet, OdaError};
use crate::records::{RecordError, RecordReader};
use crate::scripts::{ScriptResult, ScriptRun};
use crate::select::{Candidate, Selection};
use crate::transcript::{self, TranscriptEntry};
use authenticating::DynamicTask;
use session::Session;
use std::sync::Arc;
use tlv::{Dol, Tag};
use types::Pin;
use verifying::PinTask;
use zeroize::Zeroizing;

/// What happened.
pub enum Input {
    /// A card is in the reader and powered: begin.
    Start,
    /// The card's answer, data and status.
    CardResponse(Vec<u8>),
    /// The card does not answer or was taken out.
    CardGone,
    /// The cardholder chose a candidate by its index.
    ApplicationChosen(usize),
    /// The cardholder wants none of the candidates.
    ApplicationRefused,
    /// What came of asking for the PIN.
    PinEntered(PinOutcome),
    /// What came of going online.
    OnlineResult(OnlineResult),
    /// The cardholder or cashier gives up.
    Cancel,
}

impl core::fmt::Debug for Input {
    /// A card's answer shows its length only: it may be account data.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Input::Start => f.write_str("Start"),
            Input::CardResponse(bytes) => write!(f, "CardResponse({} bytes)", bytes.len()),
            Input::CardGone => f.write_str("CardGone"),
            Input::ApplicationChosen(index) => write!(f, "ApplicationChosen({index})"),
            Input::ApplicationRefused => f.write_str("ApplicationRefused"),
            Input::PinEntered(outcome) => write!(f, "PinEntered({outcome:?})"),
            Input::OnlineResult(result) => write!(f, "OnlineResult({result:?})"),
            Input::Cancel => f.write_str("Cancel"),
        }
    }
}

/// What came of asking for the PIN. The PIN masks itself.
#[derive(Debug)]
pub enum PinOutcome {
    /// An online PIN was entered; it stays with the PIN pad.
    Entered,
    /// An offline PIN with as many random bytes as the request asked for.
    Offline {
        /// The PIN.
        pin: Pin,
        /// Random padding; empty for a plaintext PIN.
        random: Vec<u8>,
    },
    /// The cardholder or merchant skipped the PIN.
    Bypassed,
    /// The PIN pad does not work.
    Unavailable,
    /// The cardholder cancelled the transaction.
    Cancelled,
}

/// What came of going online.
#[derive(Clone, Debug)]
pub enum OnlineResult {
    /// The host answered.
    Answered {
        /// Authorisation response code, tag 8A, ASCII.
        response_code: [u8; 2],
        /// The chip objects of the answer as TLV: 91, 71, 72, 89.
        issuer_data: Vec<u8>,
    },
    /// No host could be reached.
    Unable,
}

/// What to do next.
#[derive(Debug)]
pub enum Output {
    /// Send this command to the card; answer with [`Input::CardResponse`] or [`Input::CardGone`].
    Transmit(Command),
    /// Let the cardholder choose or confirm; answer with [`Input::ApplicationChosen`] or [`Input::ApplicationRefused`].
    ChooseApplication(Vec<Candidate>),
    /// Ask for the PIN; answer with [`Input::PinEntered`].
    AskPin(PinRequest),
    /// Ask the issuer; answer with [`Input::OnlineResult`].
    GoOnline(OnlineRequest),
    /// The transaction is over. Further steps repeat this.
    Finished(Box<Outcome>),
}

/// Who checks the PIN, and how it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinKind {
    /// The issuer; the PIN pad makes the block for the host.
    Online,
    /// The card, in clear over the contacts.
    OfflinePlaintext,
    /// The card, enciphered under its key.
    OfflineEnciphered,
}

/// A request for the PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinRequest {
    /// Who checks it.
    pub kind: PinKind,
    /// Tries left, where the card told; 1 is the last.
    pub tries_left: Option<u8>,
    /// The PIN entered before was wrong.
    pub retry: bool,
    /// Random bytes to give with the PIN; 0 unless it is enciphered.
    pub random_length_bytes: usize,
}

/// A request to go online. Everything else is in [`Kernel::data`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineRequest {
    /// An online PIN was entered and belongs into the message.
    pub online_pin: bool,
    /// The authorisation request cryptogram.
    pub cryptogram: Cryptogram,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Approved, offline or online.
    Approved,
    /// Declined by terminal, card or issuer.
    Declined,
    /// Ended without a decision.
    Terminated {
        /// Why.
        reason: Termination,
        /// The magnetic stripe may be used instead: the chip failed before it was asked for a cryptogram.
        fallback_allowed: bool,
    },
}

/// Why a transaction ended without a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// The card does not answer or was taken out.
    CardMute,
    /// The card is blocked.
    CardBlocked,
    /// Card and terminal have no usable application in common.
    NoApplication,
    /// The card broke a rule.
    CardError(CardError),
    /// The cardholder or cashier gave up.
    Cancelled,
    /// The caller gave an input that does not belong here.
    Misuse,
}

/// Which rule the card broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardError {
    /// Its answer is no response APDU.
    Response(ApduError),
    /// It could not be initiated.
    Initiate(InitiateError),
    /// Its records are unusable.
    Records(RecordError),
    /// An object has a format it must not have.
    Format(Tag),
    /// INTERNAL AUTHENTICATE failed.
    InternalAuthenticate(StatusWord),
    /// GENERATE AC failed.
    Cryptogram(CryptogramError),
}

/// Which data authentication was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OdaMethod {
    /// None: card and terminal have none in common.
    #[default]
    None,
    /// Static.
    Sda,
    /// Dynamic.
    Dda,
    /// Combined.
    Cda,
}

/// What came of data authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OdaReport {
    /// The method chosen.
    pub method: OdaMethod,
    /// It has been carried out and succeeded.
    pub succeeded: bool,
    /// The check that failed.
    pub failure: Option<OdaError>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// The issuer was asked and answered.
    pub went_online: bool,
    /// The issuer should have been asked but could not be reached.
    pub unable_to_go_online: bool,
    /// The cardholder has to sign.
    pub signature_required: bool,
    /// An online PIN was entered.
    pub online_pin_entered: bool,
    /// The host approved, but card or terminal did not complete: reverse it.
    pub reversal_required: bool,
    /// Terminal verification results, tag 95.
    pub tvr: Tvr,
    /// Transaction status information, tag 9B.
    pub tsi: Tsi,
    /// CVM results, tag 9F34.
    pub cvm_results: [u8; 3],
    /// Answer to the first GENERATE AC.
    pub first_cryptogram: Option<Cryptogram>,
    /// Answer to the second GENERATE AC.
    pub second_cryptogram: Option<Cryptogram>,
    /// Results of the issuer scripts, in order.
    pub script_results: Vec<ScriptResult>,
    /// Data authentication.
    pub oda: OdaReport,
}

impl Outcome {
    /// The cryptogram that counts: the last one.
    pub fn final_cryptogram(&self) -> Option<&Cryptogram> {
        self.second_cryptogram.as_ref().or(self.first_cryptogram.as_ref())
    }
}

/// What the kernel waits for.
enum State {
    Idle,
    BuildingCandidates(Selection),
    Choosing,
    FinalSelect(Candidate),
    Initiating { pdol_data: Zeroizing<Vec<u8>> },
    Reading(RecordReader),
    Authenticating(DynamicTask),
    PinTryCounter(PinTask),
    AskingOnlinePin(tlv::CvRule),
    AskingOfflinePin(PinTask),
    Challenge { task: PinTask, pin: Pin, random: Zeroizing<Vec<u8>> },
    VerifyingPin(PinTask),
    TransactionCounter { limits: (u8, u8) },
    LastOnlineCounter { limits: (u8, u8), counter: Option<u16> },
    FirstCryptogram { requested: CryptogramKind, with_cda: bool },
    Online,
    IssuerAuthentication,
    Script(ScriptRun),
    SecondCryptogram { requested: CryptogramKind, with_cda: bool },
    Finished(Box<Outcome>),
}

/// The contact kernel for one transaction.
pub struct Kernel {
    config: TerminalConfig,
    capks: Arc<CapkSet>,
    transaction: TransactionData,
    state: State,
    candidates: Vec<Candidate>,
    /// An application was dropped because the card refused it: the stripe must not be tried instead.
    application_refused: bool,
    session: Session,
    transcript: Vec<TranscriptEntry>,
    keeps_transcript: bool,
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Kernel({} exchanges, {:?})", self.transcript.len(), self.session.tvr)
    }
}

impl Kernel {
    /// A kernel that waits for [`Input::Start`].
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(
        config: TerminalConfig,
        capks: impl Into<Arc<CapkSet>>,
        transaction: TransactionData,
    ) -> Result<Self, ConfigError> {
        config::validate(&config, &transaction)?;
        let session = Session::before_selection(config::initial_data(&config, &transaction));
        Ok(Kernel {
            config,
            capks: capks.into(),
            transaction,
            state: State::Idle,
            candidates: Vec::new(),
            application_refused: false,
            session,
            transcript: Vec::new(),
            keeps_transcript: true,
        })
    }

    /// Keeps no transcript: for terminals that explain nothing.
    #[must_use]
    pub fn without_transcript(mut self) -> Self {
        self.keeps_transcript = false;
        self
    }

    /// Every data object known so far.
    pub fn data(&self) -> &DataStore {
        &self.session.data
    }

    /// What went to and from the card, masked.
    pub fn transcript(&self) -> &[TranscriptEntry] {
        &self.transcript
    }

    /// The application in use: its AID as the card gave it.
    pub fn application(&self) -> Option<&[u8]> {
        self.session.data.get(tlv::tags::DF_NAME)
    }

    /// Takes what happened and says what to do next. An input that does not fit ends the transaction; after the end
    /// every input gets the outcome again.
    pub fn step(&mut self, input: Input) -> Output {
        match core::mem::replace(&mut self.state, State::Idle) {
            State::Finished(outcome) => {
                self.state = State::Finished(outcome.clone());
                Output::Finished(outcome)
            }
            state => self.dispatch(state, input),
        }
    }

    fn dispatch(&mut self, state: State, input: Input) -> Output {
        match (input, state) {
            (Input::Start, State::Idle) => self.start_selection(),
            (Input::Cancel, _) => self.terminate(Termination::Cancelled),
            (Input::CardGone, state) => self.on_card_gone(state),
            (Input::CardResponse(bytes), state) => self.on_card_bytes(state, Zeroizing::new(bytes)),
            (Input::ApplicationChosen(index), State::Choosing) => self.on_application_chosen(index),
            (Input::ApplicationRefused, State::Choosing) => self.terminate(Termination::Cancelled),
            (Input::PinEntered(outcome), State::AskingOnlinePin(rule)) => self.on_online_pin(rule, outcome),
            (Input::PinEntered(outcome), State::AskingOfflinePin(task)) => self.on_offline_pin(task, outcome),
            (Input::OnlineResult(result), State::Online) => self.on_online_result(result),
            _ => self.terminate(Termination::Misuse),
        }
    }

    fn on_card_bytes(&mut self, state: State, bytes: Zeroizing<Vec<u8>>) -> Output {
        let response = match Response::parse(&bytes) {
            Ok(response) => response,
            Err(error) => return self.card_error(CardError::Response(error)),
        };
        if let Some(entry) = self.transcript.last_mut() {
            entry.answered(&response);
        }
        match state {
            State::BuildingCandidates(selection) => self.on_candidates(selection, &response),
            State::FinalSelect(candidate) => self.on_final_select(&candidate, &response),
            State::Initiating { pdol_data } => self.on_processing_options(pdol_data, &response),
            State::Reading(reader) => self.on_record(reader, &response),
            State::Authenticating(task) => self.on_dynamic_signature(&task, &response),
            State::PinTryCounter(task) => self.on_pin_try_counter(task, &response),
            State::Challenge { task, pin, random } => self.on_challenge(task, &pin, &random, &response),
            State::VerifyingPin(task) => self.on_pin_verified(task, response.status),
            State::TransactionCounter { limits } => self.on_transaction_counter(limits, &response),
            State::LastOnlineCounter { limits, counter } => self.on_last_online_counter(limits, counter, &response),
            State::FirstCryptogram { requested, with_cda } => self.on_first_cryptogram(requested, with_cda, &response),
            State::IssuerAuthentication => self.on_issuer_authentication(response.status),
            State::Script(run) => self.on_script_status(run, response.status),
            State::SecondCryptogram { requested, with_cda } => {
                self.on_second_cryptogram(requested, with_cda, &response)
            }
            _ => self.terminate(Termination::Misuse),
        }
    }

    /// Sends a command; `dol` names the values it carries, for the transcript.
    fn transmit(&mut self, command: Command, dol: Option<&Dol>, next: State) -> Output {
        if self.keeps_transcript && self.transcript.len() < transcript::MAX_ENTRIES {
            self.transcript.push(TranscriptEntry::sent(&command, dol));
        }
        self.state = next;
        Output::Transmit(command)
    }

    /// A card that leaves during a script after the second cryptogram cannot undo the decision.
    fn on_card_gone(&mut self, state: State) -> Output {
        match state {
            State::Script(run) if self.session.decision.is_some() => self.on_script_card_gone(run),
            _ => self.terminate(Termination::CardMute),
        }
    }

    fn card_error(&mut self, error: CardError) -> Output {
        self.terminate(Termination::CardError(error))
    }

    /// Ends without a decision, unless the second cryptogram has already brought one.
    fn terminate(&mut self, reason: Termination) -> Output {
        let decision = self
            .session
            .decision
            .unwrap_or(Decision::Terminated { reason, fallback_allowed: self.fallback_allowed(reason) });
        self.finish(decision)
    }

    fn fallback_allowed(&self, reason: Termination) -> bool {
        let chip_failed =
            matches!(reason, Termination::CardMute | Termination::CardError(_) | Termination::NoApplication);
        chip_failed && !self.application_refused && !self.session.cryptogram_requested
    }

    fn finish(&mut self, decision: Decision) -> Output {
        let outcome = Box::new(self.session.outcome(decision));
        self.state = State::Finished(outcome.clone());
        Output::Finished(outcome)
    }
}
