//! The terminal: till and PED on this machine, with a card reader, a line to the host, and two sealed journals.
//!
//! *Duty*: wiring. [`Terminal`] drives both machines on their journals and carries words between them, the reader, the keypad and
//! the line. *Never*: rules; those are in `pure/till` and `pure/ped`. *Start here*: [`Terminal::open`], then [`Terminal::run`].

mod custody;
mod ports;
mod session;

pub use custody::{Custody, JournalSeal};
pub use ports::{FixedPin, HostLine, Keypad, LineFailure, NoKeypad, NoLine, Observer, Progress, Silent, TlsLine};
pub use session::{Completion, Devices, Fault, Settings, Terminal};
