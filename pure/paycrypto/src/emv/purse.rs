//! The electronic purse of PBOC (JR/T 0025.2): session keys and MAC1/MAC2 of load and purchase.

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::mac::cbc_mac;
use crate::padding::Padding;
use crate::{CryptoError, TdesKey};

/// Bytes of a purse MAC that travel.
const PURSE_MAC_BYTES: usize = 4;

/// The single-length process key of one purse transaction: `input` (card random, counters) enciphered under the
/// load or purchase key.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn purse_session_key(purse_key: &TdesKey, input: [u8; DES_BLOCK_BYTES]) -> Result<TdesKey, CryptoError> {
    super::require_double(purse_key)?;
    let bytes = zeroize::Zeroizing::new(purse_key.encrypted(input));
    TdesKey::new(&*bytes)
}

/// MAC1, MAC2 or TAC of a purse transaction: CBC-MAC with marker padding, first four bytes.
#[must_use]
pub fn purse_mac(session_key: &TdesKey, data: &[u8]) -> [u8; PURSE_MAC_BYTES] {
    let mac = cbc_mac(session_key, data, Padding::Marker);
    core::array::from_fn(|i| mac[i])
}
