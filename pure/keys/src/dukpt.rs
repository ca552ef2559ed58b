//! DUKPT across the key boundary: a transaction's key serial number, and the highest one seen of a device.

use crate::block::KeyBlock;
use crate::scheme::encode_enum;
use crate::usage::BaseDerivation;
use core::fmt;
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Length of a TDES key serial number in bytes (X9.24-1).
pub const TDES_KSN_BYTES: usize = 10;
/// Length of an AES key serial number in bytes (X9.24-3).
pub const AES_KSN_BYTES: usize = 12;
/// Longest sealed mark in bytes.
pub const KSN_MARK_BYTES_MAX: usize = 128;

/// A key serial number as it came: 10 bytes for TDES, 12 for AES. Not secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Ksn(Vec<u8>);

impl Ksn {
    /// Checks the length.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), TDES_KSN_BYTES | AES_KSN_BYTES).then(|| Self(bytes.to_vec()))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Ksn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ksn(")?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02X}"))?;
        formatter.write_str(")")
    }
}

impl Encode for Ksn {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = reader.bytes()?;
        Self::new(bytes).ok_or_else(|| reader.malformed("a key serial number"))
    }
}

/// The highest counter seen of one device, sealed by the vault and bound to the device: the host keeps it in the
/// terminal's record and shows it with the device's next message. It cannot be forged or moved to another device;
/// that the host shows the newest one it has is the host's duty (its record is version-checked).
#[derive(Clone, PartialEq, Eq)]
pub struct KsnMark(pub Vec<u8>);

impl fmt::Debug for KsnMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KsnMark({} bytes)", self.0.len())
    }
}

impl Encode for KsnMark {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = reader.bytes()?;
        if bytes.len() > KSN_MARK_BYTES_MAX {
            return Err(reader.malformed("a bounded mark"));
        }
        Ok(Self(bytes.to_vec()))
    }
}

/// How a key serial number stands to the highest one seen of its device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KsnFreshness {
    /// Higher than any before, or the first.
    Fresh,
    /// The highest one again: a repeated message, or a second device with the same keys.
    Reused,
    /// Below the highest: a clone, or a device that was set back. Alarm.
    Older,
}
encode_enum!(KsnFreshness { Fresh = 1, Reused = 2, Older = 3 });

/// The keys of one DUKPT transaction: root and serial number. With a mark, a serial number below it is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DukptKey {
    /// The base derivation key.
    pub base: KeyBlock<BaseDerivation>,
    /// The transaction's serial number.
    pub ksn: Ksn,
    /// The device's mark, if it has one.
    pub mark: Option<KsnMark>,
}

impl Encode for DukptKey {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.base).value(&self.ksn);
        writer.option(self.mark.as_ref(), |writer, mark| {
            writer.value(mark);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { base: reader.value()?, ksn: reader.value()?, mark: reader.option(Reader::value)? })
    }
}

/// Which way a message goes: each way has its own key (X9.24-1 §A.4.1; X9.24-3 §6.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DukptDirection {
    /// From the device: request keys.
    FromDevice,
    /// To the device: response keys.
    ToDevice,
}
encode_enum!(DukptDirection { FromDevice = 1, ToDevice = 2 });

/// MACs under DUKPT keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DukptMacAlgorithm {
    /// X9.19 / ISO 9797-1 algorithm 3: TDES only, eight bytes.
    X919,
    /// CMAC: TDES eight bytes, AES sixteen.
    Cmac,
    /// HMAC-SHA-256: AES only, thirty-two bytes.
    HmacSha256,
}
encode_enum!(DukptMacAlgorithm { X919 = 1, Cmac = 2, HmacSha256 = 3 });

/// What enciphered account data holds once it is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountDataForm {
    /// Track 2 as ASCII characters, filled with zero bytes.
    Track2Text,
    /// Track 2 as in tag 57: packed, `D` as separator, odd lengths filled with F; filled with zero or FF bytes.
    Track2Packed,
    /// The account number as ASCII digits, filled with zero bytes.
    PanText,
}
encode_enum!(AccountDataForm { Track2Text = 1, Track2Packed = 2, PanText = 3 });
