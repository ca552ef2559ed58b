//! What a terminal is connected to: the line, the keypad, and whoever watches.

use ped::PinEntry;
use till::{Receipt, Screen, TransactionOutcome};
use types::Amount;

/// An exchange without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineFailure {
    /// Whether a single byte may have left. `false` only if surely none did.
    pub sent_any: bool,
}

/// The line to the host: connects, sends one frame, waits for one answer.
pub trait HostLine: Send {
    /// Both frames carry their two length bytes.
    fn exchange(&mut self, frame: &[u8], timeout_ms: u64) -> Result<Vec<u8>, LineFailure>;
}

/// A terminal that is not connected (reading its journal only).
pub struct NoLine;

impl HostLine for NoLine {
    fn exchange(&mut self, _frame: &[u8], _timeout_ms: u64) -> Result<Vec<u8>, LineFailure> {
        Err(LineFailure { sent_any: false })
    }
}

/// The line over mutual TLS.
pub struct TlsLine(pub link::Client);

impl HostLine for TlsLine {
    fn exchange(&mut self, frame: &[u8], timeout_ms: u64) -> Result<Vec<u8>, LineFailure> {
        self.0.exchange(frame, timeout_ms).map_err(|failed| LineFailure { sent_any: failed.sent_any })
    }
}

/// The PED's keypad.
pub trait Keypad: Send {
    /// Asks the cardholder.
    fn ask_pin(&mut self, amount: Option<Amount>, tries_left: Option<u8>, retry: bool) -> PinEntry;
}

/// A keypad that types the same digits every time it is asked, as a test or a demo does.
pub struct FixedPin(pub types::Pin);

impl Keypad for FixedPin {
    fn ask_pin(&mut self, _amount: Option<Amount>, _tries_left: Option<u8>, _retry: bool) -> PinEntry {
        PinEntry::Pin(self.0.duplicate())
    }
}

/// Nobody types a PIN: the cardholder cancels.
pub struct NoKeypad;

impl Keypad for NoKeypad {
    fn ask_pin(&mut self, _amount: Option<Amount>, _tries_left: Option<u8>, _retry: bool) -> PinEntry {
        PinEntry::Cancel
    }
}

/// Something that a person would see or hold.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The cashier's screen.
    Screen(&'a Screen),
    /// The PED's display.
    Display(ped::Prompt),
    /// A slip.
    Receipt(&'a Receipt),
    /// The end of an operation.
    Outcome(&'a TransactionOutcome),
}

/// Whoever watches.
pub trait Observer {
    /// Called for each thing, in order.
    fn see(&mut self, progress: Progress<'_>);

    /// Whether the cashier has pressed cancel since it was last asked. Asked while the terminal waits for somebody.
    fn cancels(&mut self) -> bool {
        false
    }
}

/// Nobody watches.
pub struct Silent;

impl Observer for Silent {
    fn see(&mut self, _progress: Progress<'_>) {}
}
