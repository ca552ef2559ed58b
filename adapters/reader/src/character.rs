//! One APDU over a T=0 card, however many rounds it takes.

use crate::ReaderFault;
use emv::apdu::Command;
use emv::t0::{ExchangeOverT0, T0Step};

/// Sends `command` through `exchange`, asking for the rest of the answer (61xx) and repeating with the right length
/// (6Cxx) until the answer is whole.
pub(crate) fn transmit(
    command: &[u8],
    mut exchange: impl FnMut(&[u8]) -> Result<Vec<u8>, ReaderFault>,
) -> Result<Vec<u8>, ReaderFault> {
    let command = Command::parse(command).map_err(|_| ReaderFault::Protocol)?;
    let (mut rounds, mut next) = ExchangeOverT0::new(command);
    loop {
        let answer = exchange(&next)?;
        match rounds.on_response(&answer).map_err(|_| ReaderFault::Protocol)? {
            T0Step::Send(bytes) => next = bytes,
            T0Step::Done(response) => return Ok(response.encode().to_vec()),
        }
    }
}
