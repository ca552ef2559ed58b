//! Card readers.
//!
//! * **Duty:** power a card, carry APDUs to it and answers back, say when it is gone: a virtual card in this process
//!   ([`VirtualReader`]), a virtual card behind a real PC/SC driver ([`vpcd`]), a real one (`PcscReader`, feature
//!   `pcsc`).
//! * **Knows:** the vpcd protocol, PC/SC, and that T=0 needs GET RESPONSE.
//! * **Never:** looks into an APDU, keeps one, or logs one.
//! * **Start here:** [`Reader`].

mod character;
#[cfg(feature = "pcsc")]
mod pcsc_reader;
mod virtual_reader;
pub mod vpcd;

#[cfg(feature = "pcsc")]
pub use pcsc_reader::{PcscReader, reader_names};
pub use virtual_reader::{SLOW_CARD_MS_MAX, VirtualReader};

/// Why a reader could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaderFault {
    /// No card in the reader, or it was pulled out.
    #[error("no card in the reader")]
    CardGone,
    /// The card did not answer in time.
    #[error("the card does not answer")]
    CardMute,
    /// The card broke its transmission protocol.
    #[error("the card broke its transmission protocol")]
    Protocol,
    /// The card was not powered before it was sent a command.
    #[error("the card is not powered")]
    NotPowered,
    /// The reader itself or its driver failed. The text names the driver's error and no card data.
    #[error("reader: {0}")]
    Device(String),
}

/// A reader with at most one card.
pub trait Reader {
    /// Powers the card and gives its ATR. A powered card is reset.
    ///
    /// # Errors
    /// [`ReaderFault::CardGone`] without a card, [`ReaderFault::CardMute`], [`ReaderFault::Device`].
    fn power_on(&mut self) -> Result<Vec<u8>, ReaderFault>;

    /// Sends a command APDU and gives response data and status word, whatever the card's protocol.
    ///
    /// # Errors
    /// Any [`ReaderFault`]. After one the card has to be powered on again.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ReaderFault>;

    /// Takes the power away. Does nothing without a powered card.
    fn power_off(&mut self);
}
