//! A reader and its card in this process.

use crate::{Reader, ReaderFault, character};
use card::{Card, CardEvent, FaultPlan, FaultyCard, Protocol};
use std::thread;
use std::time::Duration;

/// The longest a slow virtual card keeps its reader waiting, in milliseconds.
pub const SLOW_CARD_MS_MAX: u32 = 60_000;

/// A virtual slot. Cards go in and come out by [`VirtualReader::insert`] and [`VirtualReader::remove`].
#[derive(Debug, Default)]
pub struct VirtualReader {
    slot: Option<FaultyCard>,
    protocol: Protocol,
    powered: bool,
}

impl VirtualReader {
    /// An empty slot.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A slot with a card in it.
    pub fn with_card(card: Card) -> Self {
        let mut reader = Self::empty();
        reader.insert(card, FaultPlan::none());
        reader
    }

    /// Makes cards that are put in from now on speak T=0 or T=1.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Puts a card in, in place of one that is there, with what will go wrong.
    pub fn insert(&mut self, mut card: Card, plan: FaultPlan) {
        card.set_protocol(self.protocol);
        self.slot = Some(FaultyCard::new(card, plan));
        self.powered = false;
    }

    /// Takes the card out.
    pub fn remove(&mut self) -> Option<Card> {
        self.powered = false;
        self.slot.take().map(FaultyCard::into_card)
    }

    /// The card, if there is one.
    pub fn card(&self) -> Option<&Card> {
        self.slot.as_ref().map(FaultyCard::card)
    }
}

impl Reader for VirtualReader {
    fn power_on(&mut self) -> Result<Vec<u8>, ReaderFault> {
        let atr = self.slot.as_mut().and_then(FaultyCard::power_on);
        self.powered = atr.is_some();
        atr.ok_or(ReaderFault::CardGone)
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ReaderFault> {
        let slot = self.slot.as_mut().ok_or(ReaderFault::CardGone)?;
        if !self.powered {
            return Err(ReaderFault::NotPowered);
        }
        let answer = match self.protocol {
            Protocol::BlockT1 => exchange(slot, command),
            Protocol::CharacterT0 => character::transmit(command, |bytes| exchange(slot, bytes)),
        };
        self.powered = answer.is_ok();
        answer
    }

    fn power_off(&mut self) {
        self.powered = false;
    }
}

fn exchange(slot: &mut FaultyCard, command: &[u8]) -> Result<Vec<u8>, ReaderFault> {
    match slot.transmit(command) {
        CardEvent::Response(response) => Ok(response),
        CardEvent::SlowResponse { delay_ms, response } => {
            thread::sleep(Duration::from_millis(u64::from(delay_ms.min(SLOW_CARD_MS_MAX))));
            Ok(response)
        }
        CardEvent::Mute => Err(ReaderFault::CardMute),
        CardEvent::Removed => Err(ReaderFault::CardGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use card::{Fault, profile};

    const SELECT_DIRECTORY: &[u8] = b"\x00\xA4\x04\x00\x0E1PAY.SYS.DDF01\x00";

    fn unionpay() -> Card {
        profile("unionpay-credit").unwrap().card()
    }

    #[test]
    fn an_empty_or_unpowered_slot_answers_nothing() {
        let mut reader = VirtualReader::empty();
        assert_eq!(reader.power_on(), Err(ReaderFault::CardGone));
        assert_eq!(reader.transmit(SELECT_DIRECTORY), Err(ReaderFault::CardGone));
        reader.insert(unionpay(), FaultPlan::none());
        assert_eq!(reader.transmit(SELECT_DIRECTORY), Err(ReaderFault::NotPowered));
        assert!(reader.power_on().is_ok());
        assert!(reader.transmit(SELECT_DIRECTORY).unwrap().ends_with(&[0x90, 0x00]));
        reader.power_off();
        assert_eq!(reader.transmit(SELECT_DIRECTORY), Err(ReaderFault::NotPowered));
    }

    #[test]
    fn both_protocols_give_the_same_answer() {
        let mut block = VirtualReader::with_card(unionpay());
        let mut character = VirtualReader::empty();
        character.set_protocol(Protocol::CharacterT0);
        character.insert(unionpay(), FaultPlan::none());
        assert_ne!(block.power_on().unwrap(), character.power_on().unwrap());
        let read_directory = [0x00, 0xB2, 0x01, 0x0C, 0x00];
        for command in [SELECT_DIRECTORY, &read_directory, &[0x00, 0xB2, 0x09, 0x0C, 0x00]] {
            assert_eq!(block.transmit(command), character.transmit(command));
        }
    }

    #[test]
    fn faults_come_through_and_a_card_comes_back_with_its_state() {
        let mut reader = VirtualReader::empty();
        reader.insert(unionpay(), FaultPlan::none().with(0, Fault::Mute).with(1, Fault::RemovedBefore));
        reader.power_on().unwrap();
        assert_eq!(reader.transmit(SELECT_DIRECTORY), Err(ReaderFault::CardMute));
        assert_eq!(reader.transmit(SELECT_DIRECTORY), Err(ReaderFault::NotPowered));
        reader.insert(reader.card().map(|_| unionpay()).unwrap(), FaultPlan::none().with(0, Fault::RemovedBefore));
        reader.power_on().unwrap();
        assert_eq!(reader.transmit(SELECT_DIRECTORY), Err(ReaderFault::CardGone));
        assert_eq!(reader.power_on(), Err(ReaderFault::CardGone));
        assert_eq!(reader.remove().unwrap().state().pin_tries_left, 3);
        assert!(reader.card().is_none());
    }
}
