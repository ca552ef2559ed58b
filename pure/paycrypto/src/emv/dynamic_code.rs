//! Dynamic card verification codes of contactless magnetic-stripe mode (Mastercard PayPass CVC3).

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::emv::{Atc, UnpredictableNumber, require_double};
use crate::mac::retail_mac;
use crate::padding::Padding;
use crate::{CryptoError, TdesKey};

/// IVCVC3: the last two bytes of a MAC over the static track data template.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn dynamic_cvc3_iv(key: &TdesKey, track_template: &[u8]) -> Result<[u8; 2], CryptoError> {
    require_double(key)?;
    let mac = retail_mac(key, track_template, Padding::Marker)?;
    Ok([mac[DES_BLOCK_BYTES - 2], mac[DES_BLOCK_BYTES - 1]])
}

/// CVC3 as a number of up to five digits; a track carries its last three or more.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn dynamic_cvc3(key: &TdesKey, iv: [u8; 2], un: UnpredictableNumber, atc: Atc) -> Result<u16, CryptoError> {
    require_double(key)?;
    let block = [iv[0], iv[1], un[0], un[1], un[2], un[3], atc[0], atc[1]];
    let enciphered = key.encrypted(block);
    Ok(u16::from_be_bytes([enciphered[6], enciphered[7]]))
}
