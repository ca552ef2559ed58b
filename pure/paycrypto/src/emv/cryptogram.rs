//! Application cryptograms and the issuer's answer (EMV 4.4 Book 2 §8.1, §8.2).

use crate::block::BlockCipher;
use crate::emv::{Cryptogram, require_double};
use crate::mac::retail_mac;
use crate::padding::Padding;
use crate::{CryptoError, TdesKey, constant_time_eq};

/// Length of an application cryptogram in bytes.
pub const CRYPTOGRAM_BYTES: usize = 8;
/// Length of an ARPC by method 2 in bytes.
pub const ARPC_METHOD_2_BYTES: usize = 4;
/// Most bytes of proprietary authentication data (Book 2 §8.2.2).
pub const PROPRIETARY_AUTHENTICATION_BYTES_MAX: usize = 8;

/// ARQC, TC or AAC: retail MAC under the session key over the concatenated inputs. EMV pads with
/// [`Padding::Marker`], Visa's CVN 10 with [`Padding::Zeros`].
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn application_cryptogram(session_key: &TdesKey, data: &[u8], padding: Padding) -> Result<Cryptogram, CryptoError> {
    require_double(session_key)?;
    retail_mac(session_key, data, padding)
}

/// True if `cryptogram` belongs to `data`, compared in constant time.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn verify_application_cryptogram(
    session_key: &TdesKey,
    data: &[u8],
    padding: Padding,
    cryptogram: &Cryptogram,
) -> Result<bool, CryptoError> {
    let expected = application_cryptogram(session_key, data, padding)?;
    Ok(constant_time_eq(&expected, cryptogram))
}

/// ARPC method 1: ARQC xor the authorisation response code, enciphered.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn arpc_method_1(
    session_key: &TdesKey,
    arqc: &Cryptogram,
    response_code: [u8; 2],
) -> Result<Cryptogram, CryptoError> {
    require_double(session_key)?;
    let mut block = *arqc;
    block[0] ^= response_code[0];
    block[1] ^= response_code[1];
    Ok(session_key.encrypted(block))
}

/// ARPC method 2: MAC over ARQC, card status update and proprietary authentication data, cut to four bytes.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`]; [`CryptoError::DataLength`] for more than eight bytes of proprietary data.
pub fn arpc_method_2(
    session_key: &TdesKey,
    arqc: &Cryptogram,
    card_status_update: [u8; 4],
    proprietary_data: &[u8],
) -> Result<[u8; ARPC_METHOD_2_BYTES], CryptoError> {
    require_double(session_key)?;
    if proprietary_data.len() > PROPRIETARY_AUTHENTICATION_BYTES_MAX {
        return Err(CryptoError::DataLength(proprietary_data.len()));
    }
    let data = [&arqc[..], &card_status_update, proprietary_data].concat();
    let mac = retail_mac(session_key, &data, Padding::Marker)?;
    Ok(core::array::from_fn(|i| mac[i]))
}
