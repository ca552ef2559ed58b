//! READ RECORD (EMV 4.4 Book 3 §6.5.11).

use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::issued::DIRECTORY_SFI;
use crate::log;
use crate::session::Selected;
use crate::status::{self, StatusWord};

/// Low bits of P2: P1 is a record number.
const BY_NUMBER: u8 = 0b100;

impl Card {
    /// A record of the directory, of the selected application or of its log.
    pub(crate) fn read_record(&mut self, command: &Command<'_>) -> Handled {
        command.require_length(0)?;
        let (sfi, number) = file_and_record(command)?;
        let index = match self.session.selected {
            Selected::Nothing => return Err(status::CONDITIONS_NOT_SATISFIED),
            Selected::Directory => return self.directory_record(sfi, number),
            Selected::Application(index) => index,
        };
        if sfi == log::SFI {
            let entry = self.state.applications[index].log.get(usize::from(number) - 1);
            return entry.map(|entry| Answer::ok(entry.to_vec())).ok_or(status::RECORD_NOT_FOUND);
        }
        let updated = self.state.applications[index].updated_records.0.get(&(sfi, number));
        let records = &self.applications[index].records;
        match updated.or_else(|| records.get(&(sfi, number))) {
            Some(record) => Ok(Answer::ok(record.expose().to_vec())),
            None if records.keys().any(|key| key.0 == sfi) => Err(status::RECORD_NOT_FOUND),
            None => Err(status::FILE_NOT_FOUND),
        }
    }

    fn directory_record(&self, sfi: u8, number: u8) -> Handled {
        if sfi != DIRECTORY_SFI {
            return Err(status::FILE_NOT_FOUND);
        }
        let application = self.applications.get(usize::from(number) - 1).ok_or(status::RECORD_NOT_FOUND)?;
        Ok(Answer::ok(application.directory_record()))
    }
}

/// Short file identifier 1–30 and record number from 1, out of P2 and P1.
pub(super) fn file_and_record(command: &Command<'_>) -> Result<(u8, u8), StatusWord> {
    let sfi = command.p2 >> 3;
    if command.p2 & 0b111 != BY_NUMBER || !(1..=30).contains(&sfi) || command.p1 == 0 {
        return Err(status::WRONG_PARAMETERS);
    }
    Ok((sfi, command.p1))
}
