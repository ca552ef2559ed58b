//! VERIFY and GET CHALLENGE: the offline PIN (EMV 4.4 Book 3 §6.5.12, §6.5.6, Book 2 §7).

use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::cvr::PinVerification;
use crate::rsa::RsaPrivateKey;
use crate::session::{CHALLENGE_BYTES, Stage};
use crate::status;
use paycrypto::constant_time_eq;
use zeroize::Zeroizing;

const QUALIFIER_PLAINTEXT: u8 = 0x80;
const QUALIFIER_ENCIPHERED: u8 = 0x88;
const PIN_BLOCK_BYTES: usize = 8;
/// First byte of a deciphered PIN (Book 2 table 24).
const ENCIPHERED_HEADER: u8 = 0x7F;

impl Card {
    /// A fresh challenge; it serves one enciphered VERIFY.
    pub(crate) fn get_challenge(&mut self, command: &Command<'_>) -> Handled {
        command.require_parameters(0)?;
        command.require_length(0)?;
        self.running()?;
        let challenge: [u8; CHALLENGE_BYTES] = self.random();
        self.running()?.1.challenge = Some(challenge);
        Ok(Answer::ok(challenge.to_vec()))
    }

    /// Compares a PIN block with the reference. The try counter goes down before anything is looked at, so that
    /// cutting the power learns nothing; whatever is wrong with the block counts as a wrong PIN.
    pub(crate) fn verify(&mut self, command: &Command<'_>) -> Handled {
        if command.p1 != 0 || !matches!(command.p2, QUALIFIER_PLAINTEXT | QUALIFIER_ENCIPHERED) {
            return Err(status::WRONG_PARAMETERS);
        }
        let enciphered = command.p2 == QUALIFIER_ENCIPHERED;
        let (index, transaction) = self.running()?;
        let challenge = transaction.challenge.take();
        if transaction.stage != Stage::Initiated {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        if self.pin_block.is_none() {
            return Err(status::DATA_NOT_FOUND);
        }
        command.require_length(if enciphered { self.pin_key_bytes(index) } else { PIN_BLOCK_BYTES })?;
        if self.state.pin_tries_left == 0 {
            return Err(status::AUTHENTICATION_BLOCKED);
        }
        let given = match (enciphered, challenge) {
            (false, _) => Zeroizing::new(command.data.to_vec()),
            (true, Some(challenge)) => self.decipher_pin_block(index, command.data, challenge),
            (true, None) => return Err(status::DATA_INVALIDATED),
        };
        self.state.pin_tries_left -= 1;
        let right = self.pin_block.as_ref().is_some_and(|reference| constant_time_eq(reference.expose(), &given));
        self.conclude_verification(right, enciphered)
    }

    fn conclude_verification(&mut self, right: bool, enciphered: bool) -> Handled {
        let (_, transaction) = self.running()?;
        transaction.pin = if right { PinVerification::Passed } else { PinVerification::Failed };
        transaction.pin_enciphered = enciphered;
        if !right {
            return Err(status::wrong_pin(self.state.pin_tries_left));
        }
        self.state.pin_tries_left = self.pin_tries_max;
        Ok(Answer::done())
    }

    fn pin_key_bytes(&self, index: usize) -> usize {
        let application = &self.applications[index];
        application.pin_key.as_ref().or(application.signature_key.as_ref()).map_or(0, RsaPrivateKey::modulus_bytes)
    }

    /// The PIN block inside a cryptogram; empty, and so never equal to a reference, if it was not made for `challenge`.
    fn decipher_pin_block(&self, index: usize, data: &[u8], challenge: [u8; CHALLENGE_BYTES]) -> Zeroizing<Vec<u8>> {
        let application = &self.applications[index];
        let key = application.pin_key.as_ref().or(application.signature_key.as_ref());
        let clear = Zeroizing::new(key.and_then(|key| key.apply(data)).unwrap_or_default());
        let block = match clear.split_first() {
            Some((&ENCIPHERED_HEADER, rest)) if rest[PIN_BLOCK_BYTES..].starts_with(&challenge) => {
                rest[..PIN_BLOCK_BYTES].to_vec()
            }
            _ => Vec::new(),
        };
        Zeroizing::new(block)
    }
}
