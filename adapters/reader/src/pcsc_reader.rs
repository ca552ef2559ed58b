//! A real reader through PC/SC.

use crate::{Reader, ReaderFault, character};
use pcsc::{Card, Context, Disposition, Error, Protocol, Protocols, ReaderState, Scope, ShareMode, State};
use std::ffi::{CStr, CString};
use std::time::Duration;
use zeroize::Zeroizing;

/// Room for a short response APDU and more than any driver adds.
const RESPONSE_BYTES_MAX: usize = 4096;

/// Names of the readers the system has.
///
/// # Errors
/// [`ReaderFault::Device`] if the PC/SC service does not answer.
pub fn reader_names() -> Result<Vec<String>, ReaderFault> {
    let context = Context::establish(Scope::User).map_err(fault)?;
    let names = context.list_readers_owned().map_err(fault)?;
    Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// One PC/SC reader.
pub struct PcscReader {
    context: Context,
    name: CString,
    card: Option<(Card, Protocol)>,
}

impl PcscReader {
    /// Opens the reader whose name contains `name`, or the first one.
    ///
    /// # Errors
    /// [`ReaderFault::Device`] if there is no such reader or the PC/SC service does not answer.
    pub fn open(name: Option<&str>) -> Result<Self, ReaderFault> {
        let context = Context::establish(Scope::User).map_err(fault)?;
        let fits = |candidate: &CStr| name.is_none_or(|wanted| candidate.to_string_lossy().contains(wanted));
        let names = context.list_readers_owned().map_err(fault)?;
        let name = names.into_iter().find(|candidate| fits(candidate));
        let name = name.ok_or_else(|| ReaderFault::Device("no such reader".to_owned()))?;
        Ok(Self { context, name, card: None })
    }

    /// The reader's name.
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Waits until a card is in the reader (`true`) or until it is empty (`false`), at most `timeout`. Says whether
    /// that came to be.
    ///
    /// # Errors
    /// [`ReaderFault::Device`].
    pub fn wait_for_card(&mut self, present: bool, timeout: Duration) -> Result<bool, ReaderFault> {
        let wanted = if present { State::PRESENT } else { State::EMPTY };
        let mut states = [ReaderState::new(self.name.clone(), State::UNAWARE)];
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match self.context.get_status_change(left, &mut states) {
                Ok(()) if states[0].event_state().contains(wanted) => return Ok(true),
                Ok(()) => states[0].sync_current_state(),
                Err(Error::Timeout) => return Ok(false),
                Err(error) => return Err(fault(error)),
            }
        }
    }

    fn connect(&self) -> Result<(Card, Protocol), ReaderFault> {
        let card = self.context.connect(&self.name, ShareMode::Exclusive, Protocols::ANY).map_err(fault)?;
        let status = card.status2_owned().map_err(fault)?;
        let protocol = status.protocol2().ok_or(ReaderFault::Protocol)?;
        Ok((card, protocol))
    }
}

impl Reader for PcscReader {
    fn power_on(&mut self) -> Result<Vec<u8>, ReaderFault> {
        self.power_off();
        let (card, protocol) = self.connect()?;
        let atr = card.status2_owned().map_err(fault)?.atr().to_vec();
        self.card = Some((card, protocol));
        Ok(atr)
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ReaderFault> {
        let (card, protocol) = self.card.as_ref().ok_or(ReaderFault::NotPowered)?;
        let exchange = |bytes: &[u8]| {
            let mut buffer = Zeroizing::new(vec![0; RESPONSE_BYTES_MAX]);
            card.transmit(bytes, &mut buffer).map(<[u8]>::to_vec).map_err(fault)
        };
        let answer = match protocol {
            Protocol::T0 => character::transmit(command, exchange),
            Protocol::T1 | Protocol::RAW => exchange(command),
        };
        if answer.is_err() {
            self.power_off();
        }
        answer
    }

    fn power_off(&mut self) {
        if let Some((card, _)) = self.card.take() {
            // A card that is already gone cannot be powered off: nothing is lost.
            let _ = card.disconnect(Disposition::UnpowerCard);
        }
    }
}

fn fault(error: Error) -> ReaderFault {
    match error {
        Error::NoSmartcard | Error::RemovedCard | Error::ResetCard => ReaderFault::CardGone,
        Error::Timeout | Error::UnresponsiveCard | Error::NotTransacted | Error::UnpoweredCard => ReaderFault::CardMute,
        Error::ProtoMismatch | Error::UnsupportedCard => ReaderFault::Protocol,
        other => ReaderFault::Device(other.to_string()),
    }
}
