//! Terminal verification results and transaction status information (EMV 4.4 Book 3 Annex C5 and C6).

use core::fmt;

/// One bit of a bit field: byte from 0, mask within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// Byte, from 0.
    pub byte: usize,
    /// Mask.
    pub mask: u8,
}

const fn bit(byte: usize, mask: u8) -> Bit {
    Bit { byte, mask }
}

/// Terminal verification results, tag 95.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tvr(pub [u8; 5]);

impl Tvr {
    /// Offline data authentication was not performed.
    pub const ODA_NOT_PERFORMED: Bit = bit(0, 0x80);
    /// SDA failed.
    pub const SDA_FAILED: Bit = bit(0, 0x40);
    /// ICC data missing.
    pub const ICC_DATA_MISSING: Bit = bit(0, 0x20);
    /// Card appears on terminal exception file.
    pub const ON_EXCEPTION_FILE: Bit = bit(0, 0x10);
    /// DDA failed.
    pub const DDA_FAILED: Bit = bit(0, 0x08);
    /// CDA failed.
    pub const CDA_FAILED: Bit = bit(0, 0x04);
    /// SDA selected.
    pub const SDA_SELECTED: Bit = bit(0, 0x02);
    /// ICC and terminal have different application versions.
    pub const DIFFERENT_VERSIONS: Bit = bit(1, 0x80);
    /// Expired application.
    pub const EXPIRED: Bit = bit(1, 0x40);
    /// Application not yet effective.
    pub const NOT_YET_EFFECTIVE: Bit = bit(1, 0x20);
    /// Requested service not allowed for card product.
    pub const SERVICE_NOT_ALLOWED: Bit = bit(1, 0x10);
    /// New card.
    pub const NEW_CARD: Bit = bit(1, 0x08);
    /// Cardholder verification was not successful.
    pub const CVM_FAILED: Bit = bit(2, 0x80);
    /// Unrecognised CVM.
    pub const UNRECOGNISED_CVM: Bit = bit(2, 0x40);
    /// PIN try limit exceeded.
    pub const PIN_TRY_LIMIT_EXCEEDED: Bit = bit(2, 0x20);
    /// PIN entry required and PIN pad not present or not working.
    pub const PIN_PAD_NOT_WORKING: Bit = bit(2, 0x10);
    /// PIN entry required, PIN pad present, but PIN was not entered.
    pub const PIN_NOT_ENTERED: Bit = bit(2, 0x08);
    /// Online PIN entered.
    pub const ONLINE_PIN_ENTERED: Bit = bit(2, 0x04);
    /// Transaction exceeds floor limit.
    pub const FLOOR_LIMIT_EXCEEDED: Bit = bit(3, 0x80);
    /// Lower consecutive offline limit exceeded.
    pub const LOWER_LIMIT_EXCEEDED: Bit = bit(3, 0x40);
    /// Upper consecutive offline limit exceeded.
    pub const UPPER_LIMIT_EXCEEDED: Bit = bit(3, 0x20);
    /// Transaction selected randomly for online processing.
    pub const RANDOMLY_SELECTED: Bit = bit(3, 0x10);
    /// Merchant forced transaction online.
    pub const FORCED_ONLINE: Bit = bit(3, 0x08);
    /// Default TDOL used.
    pub const DEFAULT_TDOL_USED: Bit = bit(4, 0x80);
    /// Issuer authentication failed.
    pub const ISSUER_AUTHENTICATION_FAILED: Bit = bit(4, 0x40);
    /// Script processing failed before final GENERATE AC.
    pub const SCRIPT_FAILED_BEFORE: Bit = bit(4, 0x20);
    /// Script processing failed after final GENERATE AC.
    pub const SCRIPT_FAILED_AFTER: Bit = bit(4, 0x10);

    /// Sets a bit.
    pub fn set(&mut self, bit: Bit) {
        self.0[bit.byte] |= bit.mask;
    }

    /// Whether a bit is set.
    pub fn has(self, bit: Bit) -> bool {
        self.0[bit.byte] & bit.mask != 0
    }

    /// Whether any bit set here is also set in an action code.
    pub fn intersects(self, action_code: [u8; 5]) -> bool {
        self.0.iter().zip(action_code).any(|(result, action)| result & action != 0)
    }
}

/// Transaction status information, tag 9B.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tsi(pub [u8; 2]);

impl Tsi {
    /// Offline data authentication was performed.
    pub const ODA_PERFORMED: Bit = bit(0, 0x80);
    /// Cardholder verification was performed.
    pub const CVM_PERFORMED: Bit = bit(0, 0x40);
    /// Card risk management was performed.
    pub const CARD_RISK_PERFORMED: Bit = bit(0, 0x20);
    /// Issuer authentication was performed.
    pub const ISSUER_AUTHENTICATION_PERFORMED: Bit = bit(0, 0x10);
    /// Terminal risk management was performed.
    pub const TERMINAL_RISK_PERFORMED: Bit = bit(0, 0x08);
    /// Script processing was performed.
    pub const SCRIPT_PERFORMED: Bit = bit(0, 0x04);

    /// Sets a bit.
    pub fn set(&mut self, bit: Bit) {
        self.0[bit.byte] |= bit.mask;
    }

    /// Whether a bit is set.
    pub fn has(self, bit: Bit) -> bool {
        self.0[bit.byte] & bit.mask != 0
    }
}

/// Application interchange profile bits, first byte (EMV 4.4 Book 3 Annex C1).
pub mod aip {
    /// SDA supported.
    pub const SDA: u8 = 0x40;
    /// DDA supported.
    pub const DDA: u8 = 0x20;
    /// Cardholder verification is supported.
    pub const CARDHOLDER_VERIFICATION: u8 = 0x10;
    /// Terminal risk management is to be performed.
    pub const TERMINAL_RISK_MANAGEMENT: u8 = 0x08;
    /// Issuer authentication is supported: EXTERNAL AUTHENTICATE.
    pub const ISSUER_AUTHENTICATION: u8 = 0x04;
    /// CDA supported.
    pub const CDA: u8 = 0x01;
}

/// Writes bytes as upper-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0F)]));
    }
    text
}

impl fmt::Display for Tvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Tvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tvr({self})")
    }
}

impl fmt::Display for Tsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Tsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tsi({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_land_where_annex_c5_puts_them() {
        let mut tvr = Tvr::default();
        tvr.set(Tvr::ONLINE_PIN_ENTERED);
        tvr.set(Tvr::FLOOR_LIMIT_EXCEEDED);
        assert_eq!(tvr.to_string(), "0000048000");
        assert!(tvr.intersects([0, 0, 0, 0x80, 0]));
        assert!(!tvr.intersects([0xFF, 0xFF, 0, 0x7F, 0xFF]));
    }
}
