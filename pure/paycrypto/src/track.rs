//! UnionPay's track encryption (磁道加密, UnionPay POS §4.5), both directions.

use zeroize::Zeroizing;

use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::{CryptoError, TdesKey};

/// Fewest track symbols that can be enciphered: eight bytes and the clear last one.
pub const TRACK_SYMBOLS_MIN: usize = 17;
/// Most symbols of field 36 (track 3).
pub const TRACK_SYMBOLS_MAX: usize = 104;

fn nibble(symbol: u8) -> Result<u8, CryptoError> {
    let value = match symbol {
        b'0'..=b'9' => symbol - b'0',
        b'A'..=b'F' => symbol - b'A' + 10,
        b'=' => 0xD,
        _ => return Err(CryptoError::Track),
    };
    Ok(value)
}

fn symbol(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

fn transform(track: &[u8], cipher: impl Fn(&mut [u8; DES_BLOCK_BYTES])) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    if !(TRACK_SYMBOLS_MIN..=TRACK_SYMBOLS_MAX).contains(&track.len()) {
        return Err(CryptoError::Track);
    }
    let mut packed = Zeroizing::new(Vec::with_capacity(TRACK_SYMBOLS_MAX / 2));
    for pair in track.chunks(2) {
        let low = pair.get(1).map_or(Ok(0), |symbol| nibble(*symbol))?;
        packed.push(nibble(pair[0])? << 4 | low);
    }
    // The last byte stays clear: it may hold the padding nibble.
    let end = packed.len() - 1;
    let block = packed[..end].last_chunk_mut().ok_or(CryptoError::Track)?;
    cipher(block);
    let symbols = packed.iter().flat_map(|byte| [symbol(byte >> 4), symbol(byte & 0x0F)]);
    Ok(Zeroizing::new(symbols.take(track.len()).collect()))
}

/// Enciphers a track given as ASCII symbols (`0`–`9`, `A`–`F`, `=` for `D`); the length stays.
///
/// # Errors
/// [`CryptoError::Track`] for fewer than 17 or more than 104 symbols or a foreign symbol.
pub fn encipher_track(key: &TdesKey, track: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    transform(track, |block| key.encrypt_block(block))
}

/// Deciphers a track; the separator comes back as `D`.
///
/// # Errors
/// [`CryptoError::Track`] for fewer than 17 or more than 104 symbols or a foreign symbol.
pub fn decipher_track(key: &TdesKey, track: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    transform(track, |block| key.decrypt_block(block))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> TdesKey {
        // TDK of UnionPay POS §9.
        TdesKey::new(&0x1357_9BDF_0246_8ACE_ECA8_6420_FDB9_7531_u128.to_be_bytes()).unwrap()
    }

    #[test]
    fn synthetic_sale_of_the_interface_document() {
        let clear = b"6222620000000000012D30122011234500000";
        let enciphered = encipher_track(&key(), clear).unwrap();
        assert_eq!(&enciphered[..], b"6222620000000000012D51BA5C324CEF8CA30");
        assert_eq!(&decipher_track(&key(), &enciphered).unwrap()[..], clear);
    }

    #[test]
    fn short_and_foreign_tracks_are_refused() {
        assert_eq!(encipher_track(&key(), &[b'1'; 16]).err(), Some(CryptoError::Track));
        assert_eq!(encipher_track(&key(), &[b'x'; 20]).err(), Some(CryptoError::Track));
        assert_eq!(encipher_track(&key(), &[b'1'; 105]).err(), Some(CryptoError::Track));
    }

    proptest! {
        #[test]
        fn round_trips_and_keeps_head_and_tail(track in "[0-9D]{17,104}") {
            let track = track.as_bytes();
            let enciphered = encipher_track(&key(), track).unwrap();
            prop_assert_eq!(enciphered.len(), track.len());
            let tail = track.len() - 1;
            prop_assert_eq!(enciphered[tail], track[tail]);
            let clear = decipher_track(&key(), &enciphered).unwrap();
            prop_assert_eq!(&clear[..], track);
        }
    }
}
