//! Candidate list, choice, final selection (EMV 4.4 Book 1 §12, Book 4 §11).

use super::session::Session;
use super::{Kernel, Output, State, Termination};
use crate::apdu::Response;
use crate::select::{
    Candidate, FinalSelectError, Selection, SelectionError, SelectionStep, cardholder_selection_required,
    check_final_select, select_command,
};
use tlv::{Element, ber, tags};

impl Kernel {
    pub(super) fn start_selection(&mut self) -> Output {
        let (selection, step) = Selection::start(&self.config.applications, self.config.use_pse);
        self.follow_selection(selection, Ok(step))
    }

    pub(super) fn on_candidates(&mut self, mut selection: Selection, response: &Response) -> Output {
        let step = selection.on_response(response);
        self.follow_selection(selection, step)
    }

    fn follow_selection(&mut self, selection: Selection, step: Result<SelectionStep, SelectionError>) -> Output {
        match step {
            Ok(SelectionStep::Send(command)) => self.transmit(command, None, State::BuildingCandidates(selection)),
            Ok(SelectionStep::Done(candidates)) => {
                self.candidates = candidates;
                self.offer_candidates()
            }
            Err(SelectionError::CardBlocked) => self.terminate(Termination::CardBlocked),
        }
    }

    /// Uses the only candidate, or lets the cardholder choose.
    pub(super) fn offer_candidates(&mut self) -> Output {
        if cardholder_selection_required(&self.candidates) {
            self.state = State::Choosing;
            return Output::ChooseApplication(self.candidates.clone());
        }
        match self.candidates.pop() {
            Some(candidate) => self.select_application(candidate),
            None => self.terminate(Termination::NoApplication),
        }
    }

    pub(super) fn on_application_chosen(&mut self, index: usize) -> Output {
        if index >= self.candidates.len() {
            return self.terminate(Termination::Misuse);
        }
        let candidate = self.candidates.remove(index);
        self.select_application(candidate)
    }

    fn select_application(&mut self, candidate: Candidate) -> Output {
        let application = &self.config.applications[candidate.terminal_application];
        self.session = Session::for_application(&self.config, &self.transaction, application);
        self.transmit(select_command(&candidate.aid), None, State::FinalSelect(candidate))
    }

    pub(super) fn on_final_select(&mut self, candidate: &Candidate, response: &Response) -> Output {
        match check_final_select(&candidate.aid, response) {
            Ok(fci) => {
                self.session.data.set_card(tags::DF_NAME, fci.df_name);
                self.store_control_information(&fci.proprietary);
                self.initiate()
            }
            Err(FinalSelectError::CardBlocked) => self.terminate(Termination::CardBlocked),
            Err(error) => {
                self.application_refused |= matches!(error, FinalSelectError::Status(_));
                self.offer_candidates()
            }
        }
    }

    /// Keeps the objects of template A5 and of the issuer's template inside it.
    fn store_control_information(&mut self, objects: &[Element<'_>]) {
        for element in objects {
            match ber::parse(element.value) {
                Ok(nodes) if element.tag.is_constructed() => ber::for_each_primitive(&nodes, &mut |tag, value| {
                    self.session.data.set_card(tag, value);
                }),
                _ if element.tag.is_constructed() => {}
                _ => self.session.data.set_card(element.tag, element.value),
            }
        }
    }
}
