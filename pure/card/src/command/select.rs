//! SELECT (EMV 4.4 Book 1 §11.3).

use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::issued;
use crate::session::Selected;
use crate::status;

const BY_NAME: u8 = 0x04;
const FIRST_OR_ONLY: u8 = 0x00;
const NEXT: u8 = 0x02;
/// Longest DF name.
const NAME_BYTES_MAX: usize = 16;

impl Card {
    /// Chooses the payment system environment or an application by its name or the beginning of it.
    pub(crate) fn select(&mut self, command: &Command<'_>) -> Handled {
        if self.state.card_blocked {
            return Err(status::FUNCTION_NOT_SUPPORTED);
        }
        if command.p1 != BY_NAME || !matches!(command.p2, FIRST_OR_ONLY | NEXT) {
            return Err(status::WRONG_PARAMETERS);
        }
        if command.data.len() > NAME_BYTES_MAX {
            return Err(status::WRONG_LENGTH);
        }
        if self.has_directory && command.data == tlv::tags::PSE_NAME && command.p2 == FIRST_OR_ONLY {
            self.choose(Selected::Directory);
            return Ok(Answer::ok(issued::environment_control_information()));
        }
        let index = self.find_application(command).ok_or(status::FILE_NOT_FOUND)?;
        self.choose(Selected::Application(index));
        let blocked = self.state.applications[index].blocked;
        Ok(Answer {
            data: self.applications[index].file_control_information(),
            status: if blocked { status::FILE_INVALIDATED } else { status::NORMAL },
        })
    }

    fn choose(&mut self, selected: Selected) {
        self.session.selected = selected;
        self.session.transaction = None;
    }

    /// The first application whose name begins so; with "next", the first one behind the selected one.
    fn find_application(&self, command: &Command<'_>) -> Option<usize> {
        let skipped = match (command.p2, self.session.selected) {
            (NEXT, Selected::Application(index)) => index + 1,
            (NEXT, _) => return None,
            _ => 0,
        };
        let matches = |issued: &issued::IssuedApplication| issued.aid.starts_with(command.data);
        let found = self.applications.iter().skip(skipped).position(matches)?;
        (!command.data.is_empty()).then_some(skipped + found)
    }
}
