//! Offline PIN: the plaintext block and the enciphered one (EMV 4.4 Book 3 §6.5.12, Book 2 §7).

use crate::apdu::{Command, ins};
use crate::oda::{OdaError, RsaPublicKey};
use types::Pin;
use zeroize::Zeroizing;

/// Bytes of a PIN block.
pub const PIN_BLOCK_BYTES: usize = 8;
/// Bytes the card answers to GET CHALLENGE.
pub const CHALLENGE_BYTES: usize = 8;

const PLAINTEXT_PIN: u8 = 0x80;
const ENCIPHERED_PIN: u8 = 0x88;
const CONTROL_FIELD: u8 = 0x20;
const DATA_HEADER: u8 = 0x7F;
const FILLER_NIBBLE: u8 = 0x0F;

/// Bytes of the enciphered data that are not random padding: header, block, challenge.
const FIXED_BYTES: usize = 1 + PIN_BLOCK_BYTES + CHALLENGE_BYTES;

/// Random padding bytes an enciphered PIN needs under a key of this size.
pub fn random_length_bytes(key: &RsaPublicKey) -> usize {
    key.size_bytes().saturating_sub(FIXED_BYTES)
}

/// The plaintext offline PIN block: control, length, digits, `F` filling (Book 3 Table 24).
pub fn plaintext_block(pin: &Pin) -> Zeroizing<[u8; PIN_BLOCK_BYTES]> {
    let digits = pin.expose().as_bytes();
    let mut nibbles = Zeroizing::new([FILLER_NIBBLE; PIN_BLOCK_BYTES * 2]);
    nibbles[0] = CONTROL_FIELD >> 4;
    nibbles[1] = digits.len() as u8;
    for (nibble, digit) in nibbles[2..].iter_mut().zip(digits) {
        *nibble = digit - b'0';
    }
    let mut block = Zeroizing::new([0; PIN_BLOCK_BYTES]);
    for (byte, pair) in block.iter_mut().zip(nibbles.chunks(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    block
}

/// The bytes that are enciphered: header, PIN block, the card's challenge, random padding (Book 2 §7.2).
pub fn data_to_encipher(pin: &Pin, challenge: &[u8; CHALLENGE_BYTES], random: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut data = Zeroizing::new(Vec::with_capacity(FIXED_BYTES + random.len()));
    data.push(DATA_HEADER);
    data.extend_from_slice(plaintext_block(pin).as_slice());
    data.extend_from_slice(challenge);
    data.extend_from_slice(random);
    data
}

/// VERIFY with a plaintext PIN.
pub fn verify_plaintext(pin: &Pin) -> Command {
    Command::new(0x00, ins::VERIFY, 0x00, PLAINTEXT_PIN).with_data(plaintext_block(pin).as_slice())
}

/// VERIFY with a PIN enciphered under the card's key. `random` has [`random_length_bytes`].
///
/// # Errors
/// [`OdaError::SignatureLength`] when the padding does not fit the key.
pub fn verify_enciphered(
    pin: &Pin,
    challenge: &[u8; CHALLENGE_BYTES],
    random: &[u8],
    key: &RsaPublicKey,
) -> Result<Command, OdaError> {
    let enciphered = key.apply(&data_to_encipher(pin, challenge, random))?;
    Ok(Command::new(0x00, ins::VERIFY, 0x00, ENCIPHERED_PIN).with_data(&enciphered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_has_length_digits_and_filling() {
        let pin = Pin::parse("12345").expect("pin");
        assert_eq!(plaintext_block(&pin).as_slice(), [0x25, 0x12, 0x34, 0x5F, 0xFF, 0xFF, 0xFF, 0xFF]);
        let pin = Pin::parse("123456789012").expect("pin");
        assert_eq!(plaintext_block(&pin).as_slice(), [0x2C, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0xFF]);
    }
}
