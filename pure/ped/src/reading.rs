//! `ReadCard`: from the first random byte to the kernel's first decision.

use crate::account::{CardAccount, EntryMode};
use crate::chip;
use crate::machine::Ped;
use crate::parameters::Installed;
use crate::record::Record;
use crate::session::{PinPurpose, Session, Stage};
use crate::trace;
use crate::words::{CardGone, Effect, Prompt};
use emv::apdu::{Command, ins};
use emv::{
    Candidate, Decision, Input, Kernel, Outcome, Output, TerminalApplication, TerminalConfig, Termination,
    TransactionData,
};
use pedlink::{CardDecision, CardFailure, CardSummary, CardTransaction, PedReply};
use std::sync::Arc;
use tlv::{Tag, tags};
use types::SecretBytes;

/// Most random bytes that are asked for at once.
pub const ENTROPY_BYTES_MAX: u16 = 256;
/// Random bytes of a transaction: four for the unpredictable number (9F37), two for random transaction selection.
const ENTROPY_BYTES: usize = 6;
/// How long a card's account data waits for the till's next word before it is forgotten, in milliseconds.
pub const SESSION_LINGER_MS: u64 = 600_000;
/// F39 values that complete a transaction (unionpay-pos §7, class A).
pub(crate) const APPROVAL_CODES: [[u8; 2]; 8] = [*b"00", *b"10", *b"11", *b"16", *b"A2", *b"A4", *b"A5", *b"A6"];
/// POS entry mode of tag 9F39: contact chip, BCD.
const CONTACT_CHIP: u8 = 0x05;

/// What comes of one word of the kernel: another word to it at once, or waiting.
pub(crate) type Next = Option<Input>;

impl Ped {
    pub(crate) fn read_card(&mut self, number: u32, transaction: CardTransaction) {
        if self.repeats(number) {
            return;
        }
        if let Some(refusal) = self.refuses(number) {
            self.reply(PedReply::CardRead { session: number, result: Err(refusal), trace: Vec::new() });
            return;
        }
        self.forget_session();
        self.record(Record::SessionOpened { session: number });
        self.session = Some(Session::new(number, transaction, self.config.explains));
        self.wait_at_most(self.config.card_answer_ms);
        self.effect(Effect::NeedEntropy { bytes: ENTROPY_BYTES as u16 });
    }

    /// A command that came twice: its answer is on the way, or is given again.
    fn repeats(&mut self, number: u32) -> bool {
        let Some(session) = self.session.as_ref().filter(|session| session.number == number) else { return false };
        if let Some(result) = session.read.clone() {
            let trace = session.read_trace.clone();
            self.reply(PedReply::CardRead { session: number, result, trace });
        }
        true
    }

    fn refuses(&self, number: u32) -> Option<CardFailure> {
        let refuse = |detail: String| Some(CardFailure::CardError { detail });
        if let Some(session) = self.session.as_ref().filter(|session| session.is_open() && session.is_busy()) {
            return refuse(format!("session {} is still open", session.number));
        }
        if self.holdings.last_session == Some(number) {
            return refuse(format!("session {number} is over"));
        }
        let (capks, aids) = (self.holdings.capks.is_empty(), self.holdings.aids.is_empty());
        (capks || aids).then_some(CardFailure::ParametersMissing { capks, aids })
    }

    /// Random bytes arrived: for a new transaction, or for an enciphered PIN.
    pub(crate) fn entropy(&mut self, random: SecretBytes) {
        match self.session.as_ref().map(|session| &session.stage) {
            Some(Stage::Entropy) => self.start_kernel(&random),
            Some(Stage::PinEntropy { .. }) => self.pin_entropy(&random),
            _ => {}
        }
    }

    fn start_kernel(&mut self, random: &SecretBytes) {
        let Some(random) = random.expose().first_chunk::<ENTROPY_BYTES>() else {
            return self.give_up("too few random bytes");
        };
        let Installed { capks, applications } = self.installed();
        let (capks, applications) = (Arc::clone(capks), applications.clone());
        let config = self.terminal_config(applications);
        let Some(session) = self.session.as_mut() else { return };
        let Some(data) = transaction_data(&session.transaction, random) else {
            return self.give_up("the date cannot be written in a chip");
        };
        match Kernel::new(config, capks, data) {
            Ok(kernel) => {
                let kernel = if session.explains { kernel } else { kernel.without_transcript() };
                session.kernel = Some(Box::new(kernel));
                session.stage = Stage::Card;
                self.wait_at_most(self.config.card_wait_ms);
                self.effect(Effect::Display(Prompt::InsertCard));
                self.effect(Effect::PowerOnCard);
            }
            Err(error) => self.give_up(&format!("kernel: {error}")),
        }
    }

    fn installed(&mut self) -> &Installed {
        self.installed.get_or_insert_with(|| Installed::read(&self.holdings.capks, &self.holdings.aids))
    }

    fn terminal_config(&self, applications: Vec<TerminalApplication>) -> TerminalConfig {
        let config = &self.config;
        let standard = TerminalConfig::merchant(config.country_code, applications);
        TerminalConfig {
            terminal_type: config.terminal_type,
            capabilities: config.capabilities,
            additional_capabilities: config.additional_capabilities,
            ifd_serial_number: config.ifd_serial_number,
            terminal_identification: *config.terminal.bytes(),
            merchant_identifier: *config.merchant.bytes(),
            merchant_category_code: config.merchant_category_code,
            merchant_name: config.merchant_name.clone(),
            acquirer_identifier: config.acquirer_identifier,
            use_pse: config.use_pse,
            approval_codes: APPROVAL_CODES.to_vec(),
            ..standard
        }
    }

    pub(crate) fn card_inserted(&mut self, answer_to_reset: &[u8]) {
        let Some(session) = self.session.as_mut().filter(|session| matches!(session.stage, Stage::Card)) else {
            return;
        };
        session.remark("card", || trace::answer_to_reset(answer_to_reset));
        self.effect(Effect::Display(Prompt::DoNotRemove));
        self.drive(Input::Start);
    }

    pub(crate) fn card_response(&mut self, response: Result<Vec<u8>, CardGone>) {
        let Some(stage) = self.session.as_ref().map(|session| &session.stage) else { return };
        match (stage, response) {
            (Stage::Response, Ok(bytes)) => self.drive(Input::CardResponse(bytes)),
            (Stage::Response, Err(CardGone)) => self.drive(Input::CardGone),
            (Stage::Card, Err(CardGone)) => self.give_up("the reader found no card"),
            (Stage::Pin { .. } | Stage::PinEntropy { .. } | Stage::Choice { .. }, Err(CardGone)) => {
                self.give_up("the card was removed");
            }
            _ => {}
        }
    }

    /// Talks with the kernel until it waits for somebody.
    pub(crate) fn drive(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            let Some(kernel) = self.session.as_mut().and_then(|session| session.kernel.as_mut()) else { return };
            let output = kernel.step(input);
            next = self.on_output(output);
        }
    }

    fn on_output(&mut self, output: Output) -> Next {
        let account_only =
            self.session.as_ref().is_some_and(|session| session.is_reading() && session.transaction.account_only);
        match output {
            Output::Transmit(command) if account_only && !reads_account(&command) => {
                self.decide(CardDecision::AccountOnly)
            }
            Output::AskPin(_) | Output::GoOnline(_) if account_only => self.decide(CardDecision::AccountOnly),
            Output::Transmit(command) => self.transmit(&command),
            Output::ChooseApplication(candidates) => self.choose_application(&candidates),
            Output::AskPin(request) => self.ask_pin(&request),
            Output::GoOnline(_) => self.decide(CardDecision::Online),
            Output::Finished(outcome) => self.kernel_finished(outcome),
        }
    }

    fn transmit(&mut self, command: &Command) -> Next {
        self.set_stage(Stage::Response);
        self.wait_at_most(self.config.card_answer_ms);
        self.effect(Effect::Transmit(SecretBytes::copy_from(&command.encode())));
        None
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        if let Some(session) = self.session.as_mut() {
            session.stage = stage;
        }
    }

    fn choose_application(&mut self, candidates: &[Candidate]) -> Next {
        if self.config.cardholder_selects {
            self.set_stage(Stage::Choice { offered: candidates.len() });
            self.wait_at_most(self.config.pin_wait_ms);
            self.effect(Effect::ChooseApplication(candidates.iter().map(Candidate::display_name).collect()));
            return None;
        }
        let free = candidates.iter().position(|candidate| !candidate.confirmation_required);
        Some(free.map_or(Input::ApplicationRefused, Input::ApplicationChosen))
    }

    pub(crate) fn application_chosen(&mut self, index: Option<usize>) {
        let Some(Stage::Choice { offered }) = self.session.as_ref().map(|session| &session.stage) else { return };
        let chosen = index.filter(|index| index < offered);
        self.drive(chosen.map_or(Input::Cancel, Input::ApplicationChosen));
    }

    fn kernel_finished(&mut self, outcome: Box<Outcome>) -> Next {
        if !self.session.as_ref().is_some_and(Session::is_reading) {
            self.conclude(&outcome);
            return None;
        }
        let decision = match outcome.decision {
            Decision::Approved => CardDecision::ApprovedOffline,
            Decision::Declined => CardDecision::DeclinedOffline,
            Decision::Terminated { reason, fallback_allowed } => {
                self.end_reading(failure_of(reason, fallback_allowed));
                return None;
            }
        };
        if let Some(session) = self.session.as_mut() {
            session.offline_outcome = Some(outcome);
        }
        self.decide(decision)
    }

    /// The first decision stands: takes the account data, asks for the till's PIN if it wants one, and answers.
    fn decide(&mut self, decision: CardDecision) -> Next {
        if let Err(detail) = self.take_account() {
            self.end_reading(CardFailure::CardError { detail });
            return None;
        }
        let session = self.session.as_mut()?;
        if let Some(kernel) = session.kernel.as_ref().filter(|_| decision != CardDecision::AccountOnly) {
            session.chip.request = chip::collect(|tag| kernel.data().get(tag));
            if session.explains {
                session.first_cryptogram = trace::cryptogram(kernel.data(), "CDOL1", tags::CDOL1);
            }
        }
        session.pending = Some(decision);
        let wants_pin = session.transaction.force_online_pin
            && session.pin_block.is_none()
            && matches!(decision, CardDecision::Online | CardDecision::AccountOnly);
        if wants_pin && self.holdings.working_keys.is_some() {
            self.open_keypad(PinPurpose::Till, 0, None, false);
        } else {
            self.answer_read();
        }
        None
    }

    /// Reads the account data out of the kernel, once.
    pub(crate) fn take_account(&mut self) -> Result<(), String> {
        let Some(session) = self.session.as_mut().filter(|session| session.account.is_none()) else { return Ok(()) };
        let Some(kernel) = session.kernel.as_ref() else { return Err("no card was read".to_owned()) };
        let value = |tag: Tag| kernel.data().get(tag);
        let account = CardAccount::read(
            value(tags::PAN),
            value(tags::TRACK_2_EQUIVALENT),
            value(tags::EXPIRATION_DATE),
            value(tags::PAN_SEQUENCE_NUMBER),
        );
        session.account = Some(account.map_err(|fault| fault.to_string())?);
        Ok(())
    }

    /// Tells the till what was read.
    pub(crate) fn answer_read(&mut self) {
        let summary = match self.summarise() {
            Ok(summary) => summary,
            Err(detail) => return self.end_reading(CardFailure::CardError { detail }),
        };
        let keeps_card = summary.decision == CardDecision::Online;
        let Some(session) = self.session.as_mut() else { return };
        let trace = trace::of_session(session);
        session.read = Some(Ok(summary.clone()));
        session.read_trace = trace.clone();
        session.stage = Stage::Till;
        let number = session.number;
        if summary.decision == CardDecision::AccountOnly {
            session.kernel = None;
        }
        self.wait_at_most(SESSION_LINGER_MS);
        if !keeps_card {
            self.release_card();
        }
        self.reply(PedReply::CardRead { session: number, result: Ok(summary), trace });
    }

    fn summarise(&mut self) -> Result<CardSummary, String> {
        let session = self.session.as_ref().ok_or("no session")?;
        let (account, kernel) = session.account.as_ref().zip(session.kernel.as_ref()).ok_or("no card was read")?;
        let decision = session.pending.ok_or("nothing was decided")?;
        let token = self.vault.tokenise(&account.pan).map_err(|refusal| format!("vault: {refusal}"))?;
        let value = |tag: Tag| kernel.data().get(tag);
        let aid = value(tags::DF_NAME).or(value(tags::AID_TERMINAL)).unwrap_or_default().to_vec();
        let pin_entered = session.pin_block.is_some();
        Ok(CardSummary {
            session: session.number,
            token,
            truncated: account.pan.truncated(),
            organisation: organisation(&aid).to_owned(),
            label: trace::application_label(value),
            aid,
            entry_mode: EntryMode::of_pin(pin_entered).digits().to_owned(),
            decision,
            pin_entered,
            signature: decision != CardDecision::AccountOnly && asks_signature(value(tags::CVM_RESULTS)),
        })
    }

    /// Power off, and the cardholder may take the card.
    pub(crate) fn release_card(&mut self) {
        self.effect(Effect::PowerOffCard);
        self.effect(Effect::Display(Prompt::RemoveCard));
    }

    /// The read ends without a payment, in words.
    pub(crate) fn give_up(&mut self, detail: &str) {
        self.end_reading(CardFailure::CardError { detail: detail.to_owned() });
    }

    /// The read ends without a payment: everything of the card is forgotten.
    pub(crate) fn end_reading(&mut self, failure: CardFailure) {
        let Some(session) = self.session.as_mut().filter(|session| session.is_reading()) else { return };
        let keypad_open = matches!(session.stage, Stage::Pin { .. });
        let number = session.number;
        let trace = trace::of_session(session);
        session.read = Some(Err(failure.clone()));
        session.read_trace = trace.clone();
        session.wipe();
        self.deadline_ms = None;
        if keypad_open {
            self.effect(Effect::CloseKeypad);
        }
        self.release_card();
        self.reply(PedReply::CardRead { session: number, result: Err(failure), trace });
    }

    /// Drops a session that the till does not want any more.
    pub(crate) fn forget_session(&mut self) {
        let Some(session) = self.session.as_mut() else { return };
        let powered = session.is_open() && session.pending == Some(CardDecision::Online);
        session.wipe();
        self.deadline_ms = None;
        if powered {
            self.release_card();
        }
    }
}

/// Whether a command only reads what every read needs (EMV 4.4 Book 3 §10.1, §10.2).
fn reads_account(command: &Command) -> bool {
    matches!(command.ins, ins::SELECT | ins::GET_PROCESSING_OPTIONS | ins::READ_RECORD | ins::GET_RESPONSE)
}

/// What the kernel is told of the transaction.
fn transaction_data(transaction: &CardTransaction, random: &[u8; ENTROPY_BYTES]) -> Option<TransactionData> {
    let [number_1, number_2, number_3, number_4, draw_1, draw_2] = *random;
    let currency = transaction.amount.currency();
    let (hour, minute, second) = transaction.at.time.parts();
    let draw = u16::from_be_bytes([draw_1, draw_2]) % u16::from(emv::config::RANDOM_DRAW_LIMIT);
    Some(TransactionData {
        amount_minor: transaction.amount.minor(),
        amount_other_minor: 0,
        transaction_type: transaction.transaction_type,
        currency_code: emv::config::bcd::<2>(u64::from(currency.numeric())),
        currency_exponent: currency.minor_unit_digits(),
        date: crate::custody::emv_date(transaction.at)?,
        time: [hour, minute, second].map(emv::date::bcd_byte),
        sequence_counter: transaction.stan.number(),
        unpredictable_number: [number_1, number_2, number_3, number_4],
        random_selection_draw: u8::try_from(draw).ok()?,
        force_online: transaction.online_only,
        pos_entry_mode: CONTACT_CHIP,
    })
}

fn failure_of(reason: Termination, fallback_allowed: bool) -> CardFailure {
    match reason {
        Termination::NoApplication => CardFailure::NoApplication,
        Termination::CardBlocked => CardFailure::Blocked,
        Termination::Cancelled => CardFailure::Cancelled,
        other => {
            let fallback = if fallback_allowed { "; the magnetic stripe would be allowed" } else { "" };
            CardFailure::CardError { detail: format!("{}{fallback}", trace::termination(other)) }
        }
    }
}

/// Card organisation of F63.1, by the registered application provider (ISO/IEC 7816-5).
fn organisation(aid: &[u8]) -> &'static str {
    const MAESTRO: [u8; 7] = [0xA0, 0x00, 0x00, 0x00, 0x04, 0x30, 0x60];
    match aid {
        [0xA0, 0x00, 0x00, 0x03, 0x33, ..] => "CUP",
        [0xA0, 0x00, 0x00, 0x00, 0x03, ..] => "VIS",
        _ if aid.starts_with(&MAESTRO) => "MAE",
        [0xA0, 0x00, 0x00, 0x00, 0x04, ..] => "MCC",
        [0xA0, 0x00, 0x00, 0x00, 0x65, ..] => "JCB",
        [0xA0, 0x00, 0x00, 0x00, 0x25, ..] => "AEX",
        _ => "000",
    }
}

/// Whether the CVM performed includes a signature that did not fail (EMV 4.4 Book 3 annex C3, Book 4 §6.3.4.5).
fn asks_signature(cvm_results: Option<&[u8]>) -> bool {
    const METHOD: u8 = 0x3F;
    const FAILED: u8 = 0x01;
    matches!(cvm_results, Some([method, _, result]) if *result != FAILED && matches!(method & METHOD, 0x03 | 0x05 | 0x1E))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_are_told_by_their_prefix() {
        assert_eq!(organisation(&[0xA0, 0, 0, 3, 0x33, 1, 1, 2]), "CUP");
        assert_eq!(organisation(&[0xA0, 0, 0, 0, 4, 0x10, 0x10]), "MCC");
        assert_eq!(organisation(&[0xA0, 0, 0, 0, 4, 0x30, 0x60]), "MAE");
        assert_eq!(organisation(&[]), "000");
    }

    #[test]
    fn a_signature_is_asked_for_where_the_results_say_so() {
        assert!(asks_signature(Some(&[0x5E, 0x03, 0x00])));
        assert!(asks_signature(Some(&[0x43, 0x03, 0x00])));
        assert!(!asks_signature(Some(&[0x43, 0x03, 0x01])));
        assert!(!asks_signature(Some(&[0x42, 0x03, 0x00])) && !asks_signature(None));
    }
}
