//! Application selection: the payment system environment, the list of AIDs, the candidate list, the final SELECT
//! (EMV 4.4 Book 1 §12).

use crate::apdu::{Command, Response, StatusWord, ins};
use crate::config::TerminalApplication;
use thiserror::Error;
use tlv::directory::{self, DirectoryEntry, split_priority};
use tlv::{Fci, TlvError, tags};

/// Most applications taken from one card.
pub const MAX_CANDIDATES: usize = 32;
/// Most times the terminal asks for the next application of the same partial name.
pub const MAX_OCCURRENCES: usize = 16;

const BY_NAME: u8 = 0x04;
const FIRST_OCCURRENCE: u8 = 0x00;
const NEXT_OCCURRENCE: u8 = 0x02;
const RECORD_OF_FILE: u8 = 0x04;
const LAST_RECORD_NUMBER: u8 = u8::MAX;

/// An application both sides support.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The card's full AID.
    pub aid: Vec<u8>,
    /// Application label as the card wrote it.
    pub label: Option<Vec<u8>>,
    /// Application preferred name as the card wrote it.
    pub preferred_name: Option<Vec<u8>>,
    /// Priority 1–15; `None` when the card assigns none.
    pub priority: Option<u8>,
    /// The cardholder must confirm this application.
    pub confirmation_required: bool,
    /// Index of the matching entry in the terminal's list.
    pub terminal_application: usize,
}

impl Candidate {
    /// What to show: the label, or the AID in hexadecimal.
    pub fn display_name(&self) -> String {
        match &self.label {
            Some(label) if !label.is_empty() => String::from_utf8_lossy(label).trim_end().to_owned(),
            _ => crate::bits::hex(&self.aid),
        }
    }
}

/// Whether the cardholder has to choose or confirm (Book 1 §12.4).
pub fn cardholder_selection_required(candidates: &[Candidate]) -> bool {
    candidates.len() > 1 || candidates.iter().any(|candidate| candidate.confirmation_required)
}

/// SELECT by name.
pub fn select_command(name: &[u8]) -> Command {
    Command::new(0x00, ins::SELECT, BY_NAME, FIRST_OCCURRENCE).with_data(name).expecting_all()
}

/// READ RECORD of one file.
pub fn read_record_command(sfi: u8, record: u8) -> Command {
    Command::new(0x00, ins::READ_RECORD, record, sfi << 3 | RECORD_OF_FILE).expecting_all()
}

/// Building the candidate list cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// SELECT is answered `6A81`: the card is blocked or no payment card.
    #[error("card is blocked")]
    CardBlocked,
}

/// What to do next.
#[derive(Debug)]
pub enum SelectionStep {
    /// Send this command.
    Send(Command),
    /// The candidate list, best first; empty when the card and the terminal have nothing in common.
    Done(Vec<Candidate>),
}

#[derive(Clone, Copy)]
enum Phase {
    Environment,
    Directory { sfi: u8, record: u8 },
    List { index: usize, occurrence: usize },
}

/// Builds the candidate list.
pub struct Selection {
    names: Vec<(Vec<u8>, bool)>,
    phase: Phase,
    candidates: Vec<Candidate>,
}

impl Selection {
    /// Begins with the terminal's applications; send the returned command first.
    pub fn start(applications: &[TerminalApplication], use_pse: bool) -> (Self, SelectionStep) {
        let names = applications.iter().map(|application| (application.aid.clone(), application.partial_match));
        let mut selection = Selection { names: names.collect(), phase: Phase::Environment, candidates: Vec::new() };
        let step =
            if use_pse { SelectionStep::Send(select_command(tags::PSE_NAME)) } else { selection.select_from_list(0) };
        (selection, step)
    }

    /// Takes the card's answer.
    ///
    /// # Errors
    /// [`SelectionError::CardBlocked`].
    pub fn on_response(&mut self, response: &Response) -> Result<SelectionStep, SelectionError> {
        match self.phase {
            Phase::Environment => self.on_environment(response),
            Phase::Directory { sfi, record } => Ok(self.on_directory_record(response, sfi, record)),
            Phase::List { index, occurrence } => self.on_list(response, index, occurrence),
        }
    }

    fn on_environment(&mut self, response: &Response) -> Result<SelectionStep, SelectionError> {
        if response.status == StatusWord::FUNCTION_NOT_SUPPORTED {
            return Err(SelectionError::CardBlocked);
        }
        let sfi = Some(response)
            .filter(|response| response.status.is_ok())
            .and_then(|response| Fci::parse(&response.data).ok())
            .filter(directory::is_pse)
            .and_then(|fci| fci.directory_sfi());
        Ok(match sfi {
            Some(sfi) => self.read_directory(sfi, 1),
            None => self.select_from_list(0),
        })
    }

    fn read_directory(&mut self, sfi: u8, record: u8) -> SelectionStep {
        self.phase = Phase::Directory { sfi, record };
        SelectionStep::Send(read_record_command(sfi, record))
    }

    /// A malformed directory is not believed: what it gave is dropped and the list of AIDs is used (§12.3.2).
    fn on_directory_record(&mut self, response: &Response, sfi: u8, record: u8) -> SelectionStep {
        let end_of_file = response.status == StatusWord::RECORD_NOT_FOUND;
        if end_of_file && !self.candidates.is_empty() {
            return self.finish();
        }
        let entries = match (response.status.is_ok(), directory::parse_record(&response.data)) {
            (true, Ok(entries)) => entries,
            _ => {
                self.candidates.clear();
                return self.select_from_list(0);
            }
        };
        for entry in entries {
            self.add_directory_entry(entry);
        }
        if record == LAST_RECORD_NUMBER {
            return self.finish();
        }
        self.read_directory(sfi, record + 1)
    }

    fn add_directory_entry(&mut self, entry: DirectoryEntry) {
        if let Some(terminal_application) = self.matching_application(&entry.aid) {
            self.add(Candidate {
                aid: entry.aid,
                label: entry.label,
                preferred_name: entry.preferred_name,
                priority: entry.priority,
                confirmation_required: entry.confirmation_required,
                terminal_application,
            });
        }
    }

    /// An exact name wins over a partial one.
    fn matching_application(&self, aid: &[u8]) -> Option<usize> {
        let exact = self.names.iter().position(|(name, _)| name == aid);
        exact.or_else(|| self.names.iter().position(|(name, partial)| *partial && aid.starts_with(name)))
    }

    fn add(&mut self, candidate: Candidate) {
        let known = self.candidates.iter().any(|other| other.aid == candidate.aid);
        if !known && self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push(candidate);
        }
    }

    fn select_from_list(&mut self, index: usize) -> SelectionStep {
        let Some((name, _)) = self.names.get(index) else {
            return self.finish();
        };
        self.phase = Phase::List { index, occurrence: 0 };
        SelectionStep::Send(select_command(name))
    }

    fn select_next(&mut self, index: usize, occurrence: usize) -> SelectionStep {
        if occurrence >= MAX_OCCURRENCES {
            return self.select_from_list(index + 1);
        }
        self.phase = Phase::List { index, occurrence };
        let mut command = select_command(&self.names[index].0);
        command.p2 = NEXT_OCCURRENCE;
        SelectionStep::Send(command)
    }

    fn on_list(
        &mut self,
        response: &Response,
        index: usize,
        occurrence: usize,
    ) -> Result<SelectionStep, SelectionError> {
        let status = response.status;
        if status == StatusWord::FUNCTION_NOT_SUPPORTED && index == 0 && occurrence == 0 {
            return Err(SelectionError::CardBlocked);
        }
        let blocked = status == StatusWord::FILE_INVALIDATED;
        if !status.is_ok() && !blocked {
            return Ok(self.select_from_list(index + 1));
        }
        let (name, partial) = &self.names[index];
        let Ok(fci) = Fci::parse(&response.data) else {
            return Ok(self.select_from_list(index + 1));
        };
        let is_exact = fci.df_name == name;
        let is_longer = *partial && fci.df_name.starts_with(name);
        if !blocked && (is_exact || is_longer) {
            let candidate = candidate_from_fci(&fci, index);
            self.add(candidate);
        }
        Ok(if is_longer && !is_exact {
            self.select_next(index, occurrence + 1)
        } else {
            self.select_from_list(index + 1)
        })
    }

    /// Orders by priority; applications without one come last, equals stay in the order they were found.
    fn finish(&mut self) -> SelectionStep {
        let mut candidates = core::mem::take(&mut self.candidates);
        candidates.sort_by_key(|candidate| candidate.priority.unwrap_or(u8::MAX));
        SelectionStep::Done(candidates)
    }
}

fn candidate_from_fci(fci: &Fci<'_>, terminal_application: usize) -> Candidate {
    let (priority, confirmation_required) = split_priority(fci.get(tags::APPLICATION_PRIORITY_INDICATOR));
    Candidate {
        aid: fci.df_name.to_vec(),
        label: fci.label().map(<[u8]>::to_vec),
        preferred_name: fci.get(tags::APPLICATION_PREFERRED_NAME).map(<[u8]>::to_vec),
        priority,
        confirmation_required,
        terminal_application,
    }
}

/// Why a chosen application is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FinalSelectError {
    /// The card is blocked: end the transaction.
    #[error("card is blocked")]
    CardBlocked,
    /// This application is gone or blocked: drop it and offer the others.
    #[error("application refused with status {0}")]
    Status(StatusWord),
    /// The FCI is malformed: drop the application and offer the others.
    #[error("application answers malformed control information: {0}")]
    Fci(TlvError),
    /// Another application answered: drop this one and offer the others.
    #[error("another application answered")]
    NameMismatch,
}

/// Checks the answer to the final SELECT (Book 1 §12.4, Book 4 §11.3).
///
/// # Errors
/// See [`FinalSelectError`].
pub fn check_final_select<'r>(aid: &[u8], response: &'r Response) -> Result<Fci<'r>, FinalSelectError> {
    if response.status == StatusWord::FUNCTION_NOT_SUPPORTED {
        return Err(FinalSelectError::CardBlocked);
    }
    if !response.status.is_ok() {
        return Err(FinalSelectError::Status(response.status));
    }
    let fci = Fci::parse(&response.data).map_err(FinalSelectError::Fci)?;
    if fci.df_name != aid {
        return Err(FinalSelectError::NameMismatch);
    }
    if !fci.has_proprietary_template {
        return Err(FinalSelectError::Fci(TlvError::Missing { tag: tags::FCI_PROPRIETARY_TEMPLATE }));
    }
    Ok(fci)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISA: &[u8] = &[0xA0, 0, 0, 0, 3, 0x10, 0x10];

    fn fci(name: &[u8]) -> Response {
        let mut builder = tlv::Builder::new();
        builder.push_template(tags::FCI_TEMPLATE, |template| {
            template.push(tags::DF_NAME, name);
            template.push_template(tags::FCI_PROPRIETARY_TEMPLATE, |inner| inner.push(tags::APPLICATION_LABEL, b"APP"));
        });
        Response::new(builder.as_bytes(), StatusWord::OK)
    }

    fn send(step: Result<SelectionStep, SelectionError>) -> Command {
        match step.expect("goes on") {
            SelectionStep::Send(command) => command,
            SelectionStep::Done(_) => panic!("finished early"),
        }
    }

    fn done(step: Result<SelectionStep, SelectionError>) -> Vec<Candidate> {
        match step.expect("goes on") {
            SelectionStep::Done(candidates) => candidates,
            SelectionStep::Send(command) => panic!("sent {command:?}"),
        }
    }

    #[test]
    fn partial_names_are_asked_for_until_none_is_left() {
        let (mut selection, _) = Selection::start(&[TerminalApplication::new(VISA)], false);
        let first = [VISA, &[1]].concat();
        let second = [VISA, &[2]].concat();
        assert_eq!(send(selection.on_response(&fci(&first))).p2, NEXT_OCCURRENCE);
        assert_eq!(send(selection.on_response(&fci(&second))).p2, NEXT_OCCURRENCE);
        let found = done(selection.on_response(&Response::new(&[], StatusWord::FILE_NOT_FOUND)));
        assert_eq!(found.iter().map(|c| c.aid.clone()).collect::<Vec<_>>(), [first, second]);
    }

    #[test]
    fn a_card_that_always_has_one_more_is_stopped() {
        let (mut selection, _) = Selection::start(&[TerminalApplication::new(VISA)], false);
        let longer = [VISA, &[1]].concat();
        let rounds = (0..MAX_OCCURRENCES + 5)
            .take_while(|_| matches!(selection.on_response(&fci(&longer)), Ok(SelectionStep::Send(_))))
            .count();
        assert!(rounds <= MAX_OCCURRENCES);
    }

    #[test]
    fn a_broken_directory_falls_back_to_the_list() {
        let (mut selection, _) = Selection::start(&[TerminalApplication::new(VISA)], true);
        let mut builder = tlv::Builder::new();
        builder.push_template(tags::FCI_TEMPLATE, |template| {
            template.push(tags::DF_NAME, tags::PSE_NAME);
            template.push_template(tags::FCI_PROPRIETARY_TEMPLATE, |inner| inner.push(tags::DIRECTORY_SFI, &[1]));
        });
        let record = send(selection.on_response(&Response::new(builder.as_bytes(), StatusWord::OK)));
        assert_eq!(record.ins, ins::READ_RECORD);
        let fallback = send(selection.on_response(&Response::new(&[0x70, 0x05, 0x61], StatusWord::OK)));
        assert_eq!(fallback.data[..], *VISA);
    }

    #[test]
    fn a_blocked_card_ends_it() {
        let (mut selection, _) = Selection::start(&[TerminalApplication::new(VISA)], true);
        let blocked = Response::new(&[], StatusWord::FUNCTION_NOT_SUPPORTED);
        assert_eq!(selection.on_response(&blocked).err(), Some(SelectionError::CardBlocked));
    }

    #[test]
    fn an_exact_only_application_ignores_longer_names() {
        let mut exact = TerminalApplication::new(VISA);
        exact.partial_match = false;
        let (mut selection, _) = Selection::start(&[exact], false);
        assert!(done(selection.on_response(&fci(&[VISA, &[1]].concat()))).is_empty());
    }
}
