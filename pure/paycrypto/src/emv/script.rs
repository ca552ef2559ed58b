//! Secure messaging: how an issuer script is authenticated and enciphered (EMV 4.4 Book 2 §9).

use zeroize::Zeroizing;

use crate::block::{DES_BLOCK_BYTES, encrypt_cbc, encrypt_ecb, xor_into};
use crate::emv::require_double;
use crate::mac::retail_mac;
use crate::padding::{Padding, pad};
use crate::pin::{digit_count, nibbles};
use crate::pin_block::PinBlock;
use crate::{CryptoError, Pin, TdesKey};

/// Most bytes of command data in one script command.
const COMMAND_DATA_BYTES_MAX: usize = 255;

/// MAC over a script command (Book 2 §9.2.3): header, what the scheme puts behind it, data. The card gets the first
/// four to eight bytes.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn command_mac(session_key: &TdesKey, message: &[u8]) -> Result<[u8; DES_BLOCK_BYTES], CryptoError> {
    require_double(session_key)?;
    retail_mac(session_key, message, Padding::Marker)
}

/// How command data is enciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandCipher {
    /// Length byte, data, marker padding; ECB (VIS and PBOC).
    Visa,
    /// Data, marker padding only if not whole blocks; CBC (M/Chip).
    Mastercard,
    /// Data, marker padding always; CBC (EMV Book 2 §9.3).
    Emv,
}

/// Enciphers the data of a script command.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`]; [`CryptoError::DataLength`] above 255 bytes.
pub fn encipher_command_data(
    session_key: &TdesKey,
    data: &[u8],
    cipher: CommandCipher,
) -> Result<Vec<u8>, CryptoError> {
    require_double(session_key)?;
    if data.len() > COMMAND_DATA_BYTES_MAX {
        return Err(CryptoError::DataLength(data.len()));
    }
    let whole_blocks = data.len().is_multiple_of(DES_BLOCK_BYTES);
    let mut padded = match cipher {
        CommandCipher::Visa => {
            let prefixed = Zeroizing::new([&[data.len() as u8], data].concat());
            pad(&prefixed, Padding::Marker, DES_BLOCK_BYTES)?
        }
        CommandCipher::Mastercard if whole_blocks => data.to_vec(),
        CommandCipher::Mastercard | CommandCipher::Emv => pad(data, Padding::Marker, DES_BLOCK_BYTES)?,
    };
    if cipher == CommandCipher::Visa {
        encrypt_ecb(session_key, &mut padded)?;
    } else {
        encrypt_cbc(session_key, [0; DES_BLOCK_BYTES], &mut padded)?;
    }
    Ok(padded)
}

/// The PIN block of VIS's PIN CHANGE (VIS 1.6 annex C.11): the new PIN xored with the second quarter of the card's AC
/// master key and, when the cardholder's present PIN is known, with that too.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn vis_pin_block(
    icc_master_key_ac: &TdesKey,
    new_pin: &Pin,
    current_pin: Option<&Pin>,
) -> Result<Zeroizing<PinBlock>, CryptoError> {
    require_double(icc_master_key_ac)?;
    let mut block = Zeroizing::new(pin_with_filler(new_pin));
    for (byte, key_byte) in block[4..].iter_mut().zip(&icc_master_key_ac.expose_bytes()[4..8]) {
        *byte ^= key_byte;
    }
    if let Some(current_pin) = current_pin {
        xor_into(&mut block, &left_aligned(current_pin));
    }
    Ok(block)
}

/// Length byte, digits, filler F.
fn pin_with_filler(pin: &Pin) -> PinBlock {
    let mut block = [0xFF; DES_BLOCK_BYTES];
    block[0] = digit_count(pin) as u8;
    for (i, digit) in nibbles(pin).enumerate() {
        let high = i % 2 == 0;
        let byte = &mut block[1 + i / 2];
        *byte = if high { *byte & 0x0F | digit << 4 } else { *byte & 0xF0 | digit };
    }
    block
}

/// Digits from the left, zeros behind.
fn left_aligned(pin: &Pin) -> PinBlock {
    let mut block = [0; DES_BLOCK_BYTES];
    for (i, digit) in nibbles(pin).enumerate() {
        block[i / 2] |= if i % 2 == 0 { digit << 4 } else { digit };
    }
    block
}
