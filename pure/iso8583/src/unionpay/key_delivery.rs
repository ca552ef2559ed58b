//! F62 of a sign-in response: working keys enciphered under the terminal's master key
//! (unionpay-pos §4.2).

use types::SecretBytes;

use crate::error::{DecodeError, Expected, FieldPath, Found};
use crate::reader::Reader;

/// Bytes of a key check value.
pub const KEY_CHECK_OCTETS: usize = 4;
const SINGLE: usize = 8;
const DOUBLE: usize = 16;
const PATH: FieldPath = FieldPath::Field(62);
const EXPECTED: Expected = Expected::Value("24, 40 or 60 bytes");

/// One enciphered key with its check value.
#[derive(Debug)]
pub struct DeliveredKey {
    /// The key under the master key: 8 or 16 bytes.
    pub enciphered: SecretBytes,
    /// First four bytes of zeros enciphered under the key.
    pub check: [u8; KEY_CHECK_OCTETS],
}

impl DeliveredKey {
    /// A key of 8 or 16 enciphered bytes.
    #[must_use]
    pub fn new(enciphered: &[u8], check: [u8; KEY_CHECK_OCTETS]) -> Self {
        Self { enciphered: SecretBytes::copy_from(enciphered), check }
    }

    fn read(reader: &mut Reader<'_>, octets: usize) -> Result<Self, DecodeError> {
        let enciphered = SecretBytes::copy_from(reader.take(octets, PATH)?);
        let check = reader.take(KEY_CHECK_OCTETS, PATH)?;
        Ok(Self { enciphered, check: check.try_into().unwrap_or_default() })
    }

    fn write(&self, octets: usize, out: &mut Vec<u8>) -> Option<()> {
        let key = self.enciphered.expose();
        let filler = octets.checked_sub(key.len())?;
        out.extend_from_slice(key);
        out.extend(core::iter::repeat_n(0, filler));
        out.extend_from_slice(&self.check);
        Some(())
    }
}

/// The working keys of a sign-in.
#[derive(Debug)]
pub struct KeyDelivery {
    /// PIN key.
    pub pin: DeliveredKey,
    /// MAC key: 8 bytes if single-length, else 16.
    pub mac: DeliveredKey,
    /// Track key (60.3 = 004, 006).
    pub track: Option<DeliveredKey>,
}

impl KeyDelivery {
    /// From F62. In the layouts of 40 and 60 bytes a MAC key whose second half is all zeros is
    /// single-length (D13); that holds for the DES suites only, so an SM4 terminal (60.3 = 005 or
    /// 006) says `sm4` and always gets 16 bytes.
    ///
    /// # Errors
    /// A length other than 24, 40 or 60 bytes.
    pub fn parse(value: &[u8], sm4: bool) -> Result<Self, DecodeError> {
        let (key_octets, has_track) = match (value.len(), sm4) {
            (24, false) => (SINGLE, false),
            (40, _) => (DOUBLE, false),
            (60, _) => (DOUBLE, true),
            (other, _) => {
                return Err(DecodeError::new(0, PATH, EXPECTED, Found::Octets(other)));
            }
        };
        let mut reader = Reader::new(value);
        let pin = DeliveredKey::read(&mut reader, key_octets)?;
        let mut mac = DeliveredKey::read(&mut reader, key_octets)?;
        if !sm4 && mac.enciphered.expose().iter().skip(SINGLE).all(|&byte| byte == 0) {
            let half = mac.enciphered.expose().get(..SINGLE).unwrap_or_default();
            mac.enciphered = SecretBytes::copy_from(half);
        }
        let track = match has_track {
            true => Some(DeliveredKey::read(&mut reader, DOUBLE)?),
            false => None,
        };
        Ok(Self { pin, mac, track })
    }

    /// F62, or `None` if the key lengths fit no layout.
    #[must_use]
    pub fn format(&self) -> Option<SecretBytes> {
        let lengths = (self.pin.enciphered.len(), self.mac.enciphered.len());
        let octets = match (lengths, &self.track) {
            ((SINGLE, SINGLE), None) => SINGLE,
            ((DOUBLE, SINGLE | DOUBLE), _) => DOUBLE,
            _ => return None,
        };
        let mut out = Vec::with_capacity(3 * (DOUBLE + KEY_CHECK_OCTETS));
        self.pin.write(octets, &mut out)?;
        self.mac.write(octets, &mut out)?;
        if let Some(track) = &self.track {
            if track.enciphered.len() != DOUBLE {
                return None;
            }
            track.write(DOUBLE, &mut out)?;
        }
        Some(SecretBytes::new(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(pin: usize, mac: usize, track: bool) -> KeyDelivery {
        KeyDelivery {
            pin: DeliveredKey::new(&[0xA1; DOUBLE][..pin], [1; 4]),
            mac: DeliveredKey::new(&[0xA2; DOUBLE][..mac], [2; 4]),
            track: track.then(|| DeliveredKey::new(&[0xA3; DOUBLE], [3; 4])),
        }
    }

    #[test]
    fn every_layout_reads_back() {
        let layouts = [(8, 8, false, 24), (16, 8, false, 40), (16, 16, false, 40)];
        let with_track = [(16, 8, true, 60), (16, 16, true, 60)];
        for (pin, mac, track, length) in layouts.into_iter().chain(with_track) {
            let field = delivery(pin, mac, track).format().unwrap();
            assert_eq!(field.len(), length);
            let read = KeyDelivery::parse(field.expose(), false).unwrap();
            assert_eq!(read.pin.enciphered.len(), pin);
            assert_eq!((read.mac.enciphered.len(), read.mac.check), (mac, [2; 4]));
            assert_eq!(read.track.is_some(), track);
            assert!(read.format().unwrap().matches(&field));
        }
        assert!(delivery(8, 8, true).format().is_none());
    }

    #[test]
    fn other_lengths_are_refused() {
        for length in [0, 23, 25, 39, 41, 59, 61, 104] {
            assert!(KeyDelivery::parse(&vec![0; length], false).is_err());
        }
        assert!(KeyDelivery::parse(&[0; 24], true).is_err());
        assert_eq!(KeyDelivery::parse(&[0; 40], true).unwrap().mac.enciphered.len(), 16);
    }
}
