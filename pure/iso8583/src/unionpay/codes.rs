//! Short coded fields: F3, F22, F25, F53 (unionpay-pos §2.1, §2.2).

/// F3, six digits in ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessingCode(pub [u8; 6]);

impl ProcessingCode {
    /// Sale, completion, offline sale.
    pub const SALE: Self = Self(*b"000000");
    /// Pre-authorisation.
    pub const PRE_AUTHORISATION: Self = Self(*b"030000");
    /// Void or refund.
    pub const VOID_OR_REFUND: Self = Self(*b"200000");
    /// Balance inquiry.
    pub const BALANCE: Self = Self(*b"310000");
    /// QR order that the shop shows and the buyer pays (acquirer-private; docs/wire/qr-payments.md).
    pub const QR_ORDER: Self = Self(*b"710000");
    /// QR payment query (acquirer-private).
    pub const QR_QUERY: Self = Self(*b"730000");
}

/// How the account number was read: F22 digits 1–2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// 01: typed.
    Manual,
    /// 02: magnetic stripe.
    Magnetic,
    /// 03: QR or bar code.
    QrCode,
    /// 05: contact chip.
    Contact,
    /// 07: contactless, quick.
    Contactless,
    /// 80: magnetic stripe after the chip failed (alternative coding).
    Fallback,
    /// 92: phone number or reservation.
    Reservation,
    /// 95: chip, CVV unreliable.
    ContactUnreliable,
    /// 96: mobile chip.
    Mobile,
    /// 98: contactless, full.
    ContactlessFull,
    /// Anything else.
    Other,
}

/// Whether a PIN was entered: F22 digit 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinEntry {
    /// 0.
    Unspecified,
    /// 1: a PIN is in F52.
    Present,
    /// 2: no PIN.
    Absent,
    /// Anything else.
    Other,
}

/// F22, three digits in ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMode(pub [u8; 3]);

impl EntryMode {
    /// From its two parts; an `Other` is written as zeros.
    #[must_use]
    pub const fn new(entry: Entry, pin: PinEntry) -> Self {
        let digits = match entry {
            Entry::Manual => b"01",
            Entry::Magnetic => b"02",
            Entry::QrCode => b"03",
            Entry::Contact => b"05",
            Entry::Contactless => b"07",
            Entry::Fallback => b"80",
            Entry::Reservation => b"92",
            Entry::ContactUnreliable => b"95",
            Entry::Mobile => b"96",
            Entry::ContactlessFull => b"98",
            Entry::Other => b"00",
        };
        let pin = match pin {
            PinEntry::Unspecified | PinEntry::Other => b'0',
            PinEntry::Present => b'1',
            PinEntry::Absent => b'2',
        };
        Self([digits[0], digits[1], pin])
    }

    /// How the account number was read.
    #[must_use]
    pub const fn entry(&self) -> Entry {
        match [self.0[0], self.0[1]] {
            [b'0', b'1'] => Entry::Manual,
            [b'0', b'2'] => Entry::Magnetic,
            [b'0', b'3'] => Entry::QrCode,
            [b'0', b'5'] => Entry::Contact,
            [b'0', b'7'] => Entry::Contactless,
            [b'8', b'0'] => Entry::Fallback,
            [b'9', b'2'] => Entry::Reservation,
            [b'9', b'5'] => Entry::ContactUnreliable,
            [b'9', b'6'] => Entry::Mobile,
            [b'9', b'8'] => Entry::ContactlessFull,
            _ => Entry::Other,
        }
    }

    /// Whether a PIN was entered.
    #[must_use]
    pub const fn pin(&self) -> PinEntry {
        match self.0[2] {
            b'0' => PinEntry::Unspecified,
            b'1' => PinEntry::Present,
            b'2' => PinEntry::Absent,
            _ => PinEntry::Other,
        }
    }

    /// Whether a chip was read, by contact or without.
    #[must_use]
    pub const fn is_chip(&self) -> bool {
        matches!(
            self.entry(),
            Entry::Contact | Entry::Contactless | Entry::ContactUnreliable | Entry::Mobile | Entry::ContactlessFull
        )
    }
}

/// F25, two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConditionCode(pub [u8; 2]);

impl ConditionCode {
    /// Normal.
    pub const NORMAL: Self = Self(*b"00");
    /// Pre-authorisation family.
    pub const PRE_AUTHORISATION: Self = Self(*b"06");
    /// Mail or telephone order.
    pub const MAIL_ORDER: Self = Self(*b"08");
    /// Mail or telephone order pre-authorisation.
    pub const MAIL_ORDER_PRE_AUTHORISATION: Self = Self(*b"18");
    /// Additional pre-authorisation.
    pub const ADDITIONAL_PRE_AUTHORISATION: Self = Self(*b"60");
    /// Instalment.
    pub const INSTALMENT: Self = Self(*b"64");
    /// Points.
    pub const POINTS: Self = Self(*b"65");
    /// Magnetic account load.
    pub const ACCOUNT_LOAD: Self = Self(*b"66");
    /// Reservation.
    pub const RESERVATION: Self = Self(*b"67");
    /// E-cash load.
    pub const ECASH_LOAD: Self = Self(*b"91");
}

/// F53 digit 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinFormat {
    /// 0: no PIN.
    None,
    /// 1: X9.8 without PAN.
    WithoutPan,
    /// 2: X9.8 with PAN (ISO 9564 format 0).
    WithPan,
    /// Anything else.
    Other,
}

/// F53 digit 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityAlgorithm {
    /// 0.
    SingleDes,
    /// 6.
    TripleDes,
    /// 3.
    Sm4,
    /// Anything else.
    Other,
}

/// F53, sixteen digits in ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityControl(pub [u8; 16]);

impl SecurityControl {
    /// From its parts; an `Other` is written as 0.
    #[must_use]
    pub const fn new(pin: PinFormat, algorithm: SecurityAlgorithm, tracks_enciphered: bool) -> Self {
        let mut digits = [b'0'; 16];
        digits[0] = match pin {
            PinFormat::None | PinFormat::Other => b'0',
            PinFormat::WithoutPan => b'1',
            PinFormat::WithPan => b'2',
        };
        digits[1] = match algorithm {
            SecurityAlgorithm::SingleDes | SecurityAlgorithm::Other => b'0',
            SecurityAlgorithm::TripleDes => b'6',
            SecurityAlgorithm::Sm4 => b'3',
        };
        digits[2] = if tracks_enciphered { b'1' } else { b'0' };
        Self(digits)
    }

    /// Format of the PIN block in F52.
    #[must_use]
    pub const fn pin_format(&self) -> PinFormat {
        match self.0[0] {
            b'0' => PinFormat::None,
            b'1' => PinFormat::WithoutPan,
            b'2' => PinFormat::WithPan,
            _ => PinFormat::Other,
        }
    }

    /// Cipher of F52, F35 and F36.
    #[must_use]
    pub const fn algorithm(&self) -> SecurityAlgorithm {
        match self.0[1] {
            b'0' => SecurityAlgorithm::SingleDes,
            b'6' => SecurityAlgorithm::TripleDes,
            b'3' => SecurityAlgorithm::Sm4,
            _ => SecurityAlgorithm::Other,
        }
    }

    /// Whether F35 and F36 are enciphered under the TDK.
    #[must_use]
    pub const fn tracks_enciphered(&self) -> bool {
        self.0[2] == b'1'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_specification() {
        use SecurityAlgorithm::{SingleDes, Sm4, TripleDes};
        let cases = [
            (PinFormat::WithPan, TripleDes, false, b"2600000000000000"),
            (PinFormat::WithPan, TripleDes, true, b"2610000000000000"),
            (PinFormat::None, TripleDes, true, b"0610000000000000"),
            (PinFormat::WithPan, SingleDes, false, b"2000000000000000"),
            (PinFormat::WithoutPan, SingleDes, false, b"1000000000000000"),
            (PinFormat::WithPan, Sm4, true, b"2310000000000000"),
        ];
        for (pin, algorithm, tracks, digits) in cases {
            let control = SecurityControl::new(pin, algorithm, tracks);
            assert_eq!(&control.0, digits);
            assert_eq!(control.pin_format(), pin);
            assert_eq!(control.algorithm(), algorithm);
            assert_eq!(control.tracks_enciphered(), tracks);
        }
    }

    #[test]
    fn entry_modes_read_back() {
        for entry in [
            Entry::Manual,
            Entry::Magnetic,
            Entry::QrCode,
            Entry::Contact,
            Entry::Contactless,
            Entry::Fallback,
            Entry::Reservation,
            Entry::ContactUnreliable,
            Entry::Mobile,
            Entry::ContactlessFull,
        ] {
            for pin in [PinEntry::Unspecified, PinEntry::Present, PinEntry::Absent] {
                let mode = EntryMode::new(entry, pin);
                assert_eq!((mode.entry(), mode.pin()), (entry, pin));
            }
        }
        assert_eq!(EntryMode::new(Entry::Contact, PinEntry::Present).0, *b"051");
    }
}
