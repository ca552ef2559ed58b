//! GET PROCESSING OPTIONS (EMV 4.4 Book 3 §6.5.8, §10.1).

use crate::apdu::{Command, MAX_COMMAND_DATA_BYTES, Response, StatusWord, ins};
use crate::data::DataStore;
use thiserror::Error;
use tlv::dol::DolError;
use tlv::gpo::{AIP_BYTES, GpoError};
use tlv::{Afl, Builder, Dol, GpoResponse, Tag, tags};
use zeroize::Zeroizing;

/// Why the application cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InitiateError {
    /// `6985`: this application does not want this transaction. Drop it and go back to selection.
    #[error("card does not accept the conditions of use")]
    ConditionsNotSatisfied,
    /// Another status: end the transaction.
    #[error("card answers status {0}")]
    Status(StatusWord),
    /// The PDOL is malformed.
    #[error(transparent)]
    Pdol(#[from] DolError),
    /// The PDOL asks for more than a command can carry.
    #[error("PDOL asks for {length} bytes")]
    PdolTooLong {
        /// Bytes asked for.
        length: usize,
    },
    /// The answer is malformed.
    #[error(transparent)]
    Answer(#[from] GpoError),
    /// The answer has no AFL, which contact cards must have.
    #[error("card answers no application file locator")]
    AflMissing,
}

/// The command and the values in it, which combined data authentication hashes later.
pub struct InitiateCommand {
    /// The command.
    pub command: Command,
    /// The values the PDOL asked for.
    pub pdol_data: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for InitiateCommand {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "InitiateCommand({:?})", self.command)
    }
}

/// What the card answered.
#[derive(Clone, PartialEq, Eq)]
pub struct ProcessingOptions {
    /// Application interchange profile.
    pub aip: [u8; AIP_BYTES],
    /// Application file locator.
    pub afl: Afl,
    /// Other objects of a format 2 answer.
    pub objects: Vec<(Tag, Zeroizing<Vec<u8>>)>,
}

/// Builds the command from the PDOL, or with an empty template without one.
///
/// # Errors
/// [`InitiateError::Pdol`], [`InitiateError::PdolTooLong`].
pub fn build_command(pdol: Option<&[u8]>, data: &DataStore) -> Result<InitiateCommand, InitiateError> {
    let dol = Dol::parse(pdol.unwrap_or_default())?;
    let pdol_data = Zeroizing::new(dol.build(|tag| data.get(tag)));
    let mut builder = Builder::new();
    builder.push(tags::COMMAND_TEMPLATE, &pdol_data);
    let template = Zeroizing::new(builder.into_bytes());
    if template.len() > MAX_COMMAND_DATA_BYTES {
        return Err(InitiateError::PdolTooLong { length: pdol_data.len() });
    }
    let command = Command::new(0x80, ins::GET_PROCESSING_OPTIONS, 0, 0).with_data(&template).expecting_all();
    Ok(InitiateCommand { command, pdol_data })
}

/// Reads the answer as a contact kernel must.
///
/// # Errors
/// See [`InitiateError`].
pub fn read_response(response: &Response) -> Result<ProcessingOptions, InitiateError> {
    if response.status == StatusWord::CONDITIONS_NOT_SATISFIED {
        return Err(InitiateError::ConditionsNotSatisfied);
    }
    if !response.status.is_ok() {
        return Err(InitiateError::Status(response.status));
    }
    let answer = GpoResponse::parse(&response.data)?;
    let objects = answer
        .objects
        .iter()
        .filter(|object| object.tag != tags::AIP && object.tag != tags::AFL)
        .map(|object| (object.tag, Zeroizing::new(object.value.to_vec())))
        .collect();
    let afl = answer.afl.ok_or(InitiateError::AflMissing)?;
    Ok(ProcessingOptions { aip: answer.aip, afl, objects })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdol_that_asks_for_too_much_is_refused() {
        let data = DataStore::default();
        assert!(matches!(
            build_command(Some(&[0x9F, 0x33, 0xFF]), &data),
            Err(InitiateError::PdolTooLong { length: 255 })
        ));
        let largest = build_command(Some(&[0x9F, 0x33, 0xFC]), &data).expect("fits");
        assert_eq!(largest.command.data.len(), MAX_COMMAND_DATA_BYTES);
    }

    #[test]
    fn contact_cards_must_answer_an_afl() {
        let response = Response::new(&[0x77, 0x04, 0x82, 0x02, 0x00, 0x80], StatusWord::OK);
        assert_eq!(read_response(&response).err(), Some(InitiateError::AflMissing));
    }
}
