//! The card as a machine: reset, one APDU in, one answer out.

use crate::apdu::{Answer, Command, Handled};
use crate::issued::{self, IssuedApplication, PersonalisationError};
use crate::personalisation::Personalisation;
use crate::random::{self, SEED_BYTES};
use crate::session::{Selected, Session, Transaction};
use crate::state::{ApplicationState, CardState, IDENTITY_BYTES};
use crate::status::{self, StatusWord};
use paycrypto::BlockCipher as _;
use paycrypto::emv::IccMasterKeys;
use paycrypto::mac::retail_mac;
use paycrypto::padding::Padding;
use paycrypto::pin_block::{decode_format_2, encode_format_2};
use types::{Pin, Secret};
use zeroize::Zeroize as _;

/// How the card hands out long answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// T=1: the whole answer at once.
    #[default]
    BlockT1,
    /// T=0 as a reader shows it: 61xx and GET RESPONSE, 6Cxx for a wrong Le.
    CharacterT0,
}

/// ATR of a T=1 card: direct convention, TB1 00, TC1 FF, IFSC 254, BWI 4, CWI 5 (EMV contact specification §8.3), the
/// project's name as historical bytes, check character.
const ATR_T1: &[u8] = b"\x3B\xE8\x00\xFF\x81\x31\xFE\x45IRONTILL\x1B";
/// ATR of a T=0 card: direct convention, TB1 00, TC1 00; T=0 has no check character.
const ATR_T0: &[u8] = b"\x3B\x68\x00\x00IRONTILL";

/// What the identity of a card is computed over; any constant would do.
const IDENTITY_INPUT: &[u8] = b"Irontill card state";

const CLASS_INTERINDUSTRY: u8 = 0x00;
const CLASS_PROPRIETARY: u8 = 0x80;
/// Classes of secure messaging: proprietary, interindustry in its older and in its EMV form.
const CLASSES_SECURE: [u8; 3] = [0x04, 0x84, 0x8C];
const INSTRUCTION_GET_RESPONSE: u8 = 0xC0;

/// A state that was not taken from this card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The personalisation itself is unusable.
    #[error(transparent)]
    Personalisation(#[from] PersonalisationError),
    /// The state belongs to another card or another personalisation.
    #[error("the state belongs to another card")]
    AnotherCard,
}

/// A chip card.
///
/// It answers every byte string with a response and a status word and never fails. Time and chance do not exist for it:
/// its random numbers follow from its seed and a counter in its state.
pub struct Card {
    pub(crate) applications: Vec<IssuedApplication>,
    /// The reference PIN as an ISO format 2 block.
    pub(crate) pin_block: Option<Secret<8>>,
    pub(crate) pin_tries_max: u8,
    pub(crate) has_directory: bool,
    seed: Secret<SEED_BYTES>,
    protocol: Protocol,
    pub(crate) state: CardState,
    pub(crate) session: Session,
}

impl core::fmt::Debug for Card {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Card").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Card {
    /// A fresh card. Certificates are signed here: this takes a few milliseconds.
    ///
    /// # Errors
    /// [`PersonalisationError`].
    pub fn new(personalisation: Personalisation) -> Result<Self, PersonalisationError> {
        let applications = issued::issue(&personalisation)?;
        let state = CardState {
            identity: identity(&applications),
            pin_tries_left: personalisation.pin_tries_max,
            card_blocked: false,
            random_counter: 0,
            changed_pin: None,
            applications: applications.iter().map(|issued| ApplicationState::fresh(issued.risk)).collect(),
        };
        let reference = personalisation.pin.as_ref().map(reference_block);
        Ok(Self {
            applications,
            pin_block: reference,
            pin_tries_max: personalisation.pin_tries_max,
            has_directory: personalisation.has_directory,
            seed: personalisation.random_seed,
            protocol: Protocol::default(),
            state,
            session: Session::default(),
        })
    }

    /// A card that goes on where [`Card::state`] was taken.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn with_state(personalisation: Personalisation, state: CardState) -> Result<Self, RestoreError> {
        let mut card = Self::new(personalisation)?;
        let same_shape = state.applications.len() == card.applications.len();
        if !same_shape || state.identity != card.state.identity || state.pin_tries_left > card.pin_tries_max {
            return Err(RestoreError::AnotherCard);
        }
        if let Some(enciphered) = state.changed_pin {
            let mut block = card.storage_keys().confidentiality.decrypted(enciphered);
            decode_format_2(&block).map_err(|_| RestoreError::AnotherCard)?;
            card.pin_block = Some(Secret::take(&mut block));
        }
        card.state = state;
        Ok(card)
    }

    /// The same card speaking another protocol from its next reset on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The non-volatile memory, to keep for [`Card::with_state`].
    pub fn state(&self) -> &CardState {
        &self.state
    }

    /// Power on or reset: forgets the session and gives the ATR.
    pub fn reset(&mut self) -> Vec<u8> {
        self.session = Session::default();
        match self.protocol {
            Protocol::BlockT1 => ATR_T1.to_vec(),
            Protocol::CharacterT0 => ATR_T0.to_vec(),
        }
    }

    /// One command in, response data and status word out.
    pub fn apdu(&mut self, command: &[u8]) -> Vec<u8> {
        let answer = Command::parse(command).and_then(|command| self.deliver(&command));
        answer.unwrap_or_else(Answer::status).into_bytes()
    }

    fn deliver(&mut self, command: &Command<'_>) -> Handled {
        let is_get_response = command.cla == CLASS_INTERINDUSTRY && command.ins == INSTRUCTION_GET_RESPONSE;
        if self.protocol == Protocol::CharacterT0 && is_get_response {
            return self.get_response(command);
        }
        self.session.pending.zeroize();
        let answer = self.dispatch(command)?;
        match self.protocol {
            _ if answer.data.is_empty() => Ok(answer),
            Protocol::BlockT1 => whole_answer(command, answer),
            Protocol::CharacterT0 => self.announced_answer(command, answer),
        }
    }

    /// With T=0 a command without data has to name the right length, and the answer to one with data waits for
    /// GET RESPONSE (EMV 4.4 Book 1 annex A), behind a warning too.
    fn announced_answer(&mut self, command: &Command<'_>, answer: Answer) -> Handled {
        let available = answer.data.len();
        let exact = command.le_bytes.is_none_or(|le| usize::from(le) == available);
        match command.data {
            [] if exact => Ok(answer),
            [] => Err(status::exact_length(available)),
            _ => {
                self.session.pending = answer.data;
                let warning = answer.status != status::NORMAL;
                Err(if warning { answer.status } else { status::more_data(available) })
            }
        }
    }

    fn get_response(&mut self, command: &Command<'_>) -> Handled {
        command.require_parameters(0)?;
        let available = self.session.pending.len();
        let wanted = usize::from(command.le_bytes.ok_or(status::WRONG_LENGTH)?);
        match available {
            0 => Err(status::CONDITIONS_NOT_SATISFIED),
            _ if wanted > available => Err(status::exact_length(available)),
            _ => {
                let rest = self.session.pending.split_off(wanted);
                let data = core::mem::replace(&mut self.session.pending, rest);
                let left = self.session.pending.len();
                Ok(Answer { data, status: if left == 0 { status::NORMAL } else { status::more_data(left) } })
            }
        }
    }

    fn dispatch(&mut self, command: &Command<'_>) -> Handled {
        match (command.cla, command.ins) {
            (CLASS_INTERINDUSTRY, 0xA4) => self.select(command),
            _ if self.state.card_blocked => Err(status::FUNCTION_NOT_SUPPORTED),
            (CLASS_INTERINDUSTRY, 0xB2) => self.read_record(command),
            (CLASS_INTERINDUSTRY, 0x20) => self.verify(command),
            (CLASS_INTERINDUSTRY, 0x82) => self.external_authenticate(command),
            (CLASS_INTERINDUSTRY, 0x84) => self.get_challenge(command),
            (CLASS_INTERINDUSTRY, 0x88) => self.internal_authenticate(command),
            (CLASS_PROPRIETARY, 0xA8) => self.get_processing_options(command),
            (CLASS_PROPRIETARY, 0xAE) => self.generate_ac(command),
            (CLASS_PROPRIETARY, 0xCA) => self.get_data(command),
            (class, 0x16 | 0x18 | 0x1E | 0x24 | 0xDA | 0xDC) if CLASSES_SECURE.contains(&class) => {
                self.issuer_command(command)
            }
            (CLASS_INTERINDUSTRY | CLASS_PROPRIETARY, _) => Err(status::INSTRUCTION_NOT_SUPPORTED),
            (class, _) if CLASSES_SECURE.contains(&class) => Err(status::INSTRUCTION_NOT_SUPPORTED),
            _ => Err(status::CLASS_NOT_SUPPORTED),
        }
    }

    /// Index of the selected application.
    pub(crate) fn selected_application(&self) -> Result<usize, StatusWord> {
        match self.session.selected {
            Selected::Application(index) => Ok(index),
            Selected::Nothing | Selected::Directory => Err(status::CONDITIONS_NOT_SATISFIED),
        }
    }

    /// The selected application and the transaction begun with GET PROCESSING OPTIONS.
    pub(crate) fn running(&mut self) -> Result<(usize, &mut Transaction), StatusWord> {
        let index = self.selected_application()?;
        let transaction = self.session.transaction.as_mut().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        Ok((index, transaction))
    }

    /// The next random number.
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        random::next(&self.seed, &mut self.state.random_counter)
    }

    /// Replaces the reference PIN for good.
    pub(crate) fn change_pin(&mut self, pin: &Pin) {
        let block = reference_block(pin);
        self.state.changed_pin = Some(self.storage_keys().confidentiality.encrypted(*block.expose()));
        self.pin_block = Some(block);
    }

    /// The keys that guard what the card stores outside itself: those of its first application.
    fn storage_keys(&self) -> &IccMasterKeys {
        &self.applications[0].keys
    }
}

/// With T=1 an answer is never cut: an Le that is too small is told the right length.
fn whole_answer(command: &Command<'_>, answer: Answer) -> Handled {
    let too_small = command.le_bytes.is_some_and(|le| usize::from(le) < answer.data.len());
    if too_small { Err(status::exact_length(answer.data.len())) } else { Ok(answer) }
}

fn reference_block(pin: &Pin) -> Secret<8> {
    Secret::take(&mut encode_format_2(pin))
}

/// A MAC under a key of the first application, so that a state of another card is told apart without naming this one.
fn identity(applications: &[IssuedApplication]) -> [u8; IDENTITY_BYTES] {
    let key = &applications[0].keys.integrity;
    retail_mac(key, IDENTITY_INPUT, Padding::Marker).expect("a double-length key")
}
