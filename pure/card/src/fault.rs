//! What goes wrong between card and reader, on plan: pulled out, mute, slow, garbled.

use crate::card::Card;
use crate::status::StatusWord;

/// Most faults of one plan.
pub const FAULTS_MAX: usize = 64;

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The card is pulled out instead of getting the command.
    RemovedBefore,
    /// The card carries the command out, but is pulled out before its answer is read.
    RemovedAfter,
    /// The card carries the command out and says nothing.
    Mute,
    /// The card does not get the command; the answer is this status word alone.
    StatusWord(StatusWord),
    /// The answer comes late, by so many milliseconds.
    SlowMs(u32),
    /// Only so many leading bytes of the answer come through, status word included in the count.
    Truncated(usize),
}

/// Which commands go wrong. Commands are counted from 0 at every power-on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FaultPlan {
    faults: Vec<(u32, Fault)>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a fault at a command. A plan keeps [`FAULTS_MAX`] of them and ignores the rest.
    #[must_use]
    pub fn with(mut self, command: u32, fault: Fault) -> Self {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((command, fault));
        }
        self
    }

    fn at(&self, command: u32) -> Option<Fault> {
        self.faults.iter().find(|(at, _)| *at == command).map(|(_, fault)| *fault)
    }
}

/// What a reader sees of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CardEvent {
    /// The answer.
    Response(Vec<u8>),
    /// The answer, after a wait.
    SlowResponse {
        /// How long the card takes, in milliseconds.
        delay_ms: u32,
        /// The answer.
        response: Vec<u8>,
    },
    /// No answer within any time.
    Mute,
    /// The card is gone.
    Removed,
}

/// A card in a reader that things go wrong with. With an empty plan it is just the card.
#[derive(Debug)]
pub struct FaultyCard {
    card: Card,
    plan: FaultPlan,
    commands: u32,
    removed: bool,
}

impl FaultyCard {
    /// A card and what will go wrong with it.
    pub fn new(card: Card, plan: FaultPlan) -> Self {
        Self { card, plan, commands: 0, removed: false }
    }

    /// The card itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Takes the card out of the reader for good.
    pub fn into_card(self) -> Card {
        self.card
    }

    /// Puts the card back and plans new faults.
    pub fn insert(&mut self, plan: FaultPlan) {
        self.plan = plan;
        self.commands = 0;
        self.removed = false;
    }

    /// Powers the card: its ATR, or `None` if it was pulled out. Counting begins anew.
    pub fn power_on(&mut self) -> Option<Vec<u8>> {
        self.commands = 0;
        (!self.removed).then(|| self.card.reset())
    }

    /// Sends a command through whatever is planned for it.
    pub fn transmit(&mut self, command: &[u8]) -> CardEvent {
        if self.removed {
            return CardEvent::Removed;
        }
        let fault = self.plan.at(self.commands);
        self.commands = self.commands.saturating_add(1);
        match fault {
            None => CardEvent::Response(self.card.apdu(command)),
            Some(Fault::RemovedBefore) => self.remove(),
            Some(Fault::RemovedAfter) => {
                self.card.apdu(command);
                self.remove()
            }
            Some(Fault::Mute) => {
                self.card.apdu(command);
                CardEvent::Mute
            }
            Some(Fault::StatusWord(status)) => CardEvent::Response(status.0.to_be_bytes().to_vec()),
            Some(Fault::SlowMs(delay_ms)) => CardEvent::SlowResponse { delay_ms, response: self.card.apdu(command) },
            Some(Fault::Truncated(bytes)) => {
                let mut response = self.card.apdu(command);
                response.truncate(bytes);
                CardEvent::Response(response)
            }
        }
    }

    fn remove(&mut self) -> CardEvent {
        self.removed = true;
        self.card.reset();
        CardEvent::Removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::profile;

    const SELECT_DIRECTORY: &[u8] = b"\x00\xA4\x04\x00\x0E1PAY.SYS.DDF01\x00";

    fn faulty(fault: Fault) -> FaultyCard {
        FaultyCard::new(profile("unionpay-sda").unwrap().card(), FaultPlan::none().with(1, fault))
    }

    #[test]
    fn only_the_planned_command_goes_wrong() {
        let mut card = faulty(Fault::Truncated(3));
        let CardEvent::Response(whole) = card.transmit(SELECT_DIRECTORY) else { panic!("an answer") };
        assert_eq!(card.transmit(SELECT_DIRECTORY), CardEvent::Response(whole[..3].to_vec()));
        assert_eq!(card.transmit(SELECT_DIRECTORY), CardEvent::Response(whole));
    }

    #[test]
    fn a_removed_card_stays_away_until_it_is_inserted() {
        let mut card = faulty(Fault::RemovedBefore);
        assert!(card.power_on().is_some());
        card.transmit(SELECT_DIRECTORY);
        assert_eq!(card.transmit(SELECT_DIRECTORY), CardEvent::Removed);
        assert_eq!(card.transmit(SELECT_DIRECTORY), CardEvent::Removed);
        assert!(card.power_on().is_none());
        card.insert(FaultPlan::none());
        assert!(card.power_on().is_some());
    }

    #[test]
    fn the_other_faults() {
        let second = |fault| {
            let mut card = faulty(fault);
            card.transmit(SELECT_DIRECTORY);
            card.transmit(SELECT_DIRECTORY)
        };
        assert_eq!(second(Fault::Mute), CardEvent::Mute);
        assert_eq!(second(Fault::RemovedAfter), CardEvent::Removed);
        assert_eq!(second(Fault::StatusWord(StatusWord(0x6F00))), CardEvent::Response(vec![0x6F, 0x00]));
        assert!(matches!(second(Fault::SlowMs(70)), CardEvent::SlowResponse { delay_ms: 70, .. }));
    }
}
