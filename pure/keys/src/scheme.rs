//! How a card scheme makes its cryptograms, as data.

use machine::wire::{Encode, Malformed, Reader, Writer};

/// How the card's master key comes from the issuer's (EMV 4.4 Book 2 annex A1.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MasterKeyDerivation {
    /// Option A: the rightmost 16 digits of PAN and sequence number.
    OptionA,
    /// Option B: a hash for PANs longer than 16 digits.
    OptionB,
}

/// How the session key comes from the card's master key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKeyMethod {
    /// The master key itself (Visa CVN 10).
    None,
    /// EMV common session key derivation (Book 2 annex A1.3.1) over ATC‖0000.
    Common,
    /// PBOC / UnionPay: TDES of the ATC and of its complement, right-aligned in eight bytes.
    Pboc,
    /// Mastercard proprietary: ATC‖00‖00‖unpredictable number.
    Mastercard,
}

/// How cryptogram input is padded before the MAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CryptogramPadding {
    /// Zeros to a block boundary (ISO/IEC 9797-1 method 1).
    Zeros,
    /// `80`, then zeros (method 2).
    Mandatory80,
}

/// How the issuer answers (EMV 4.4 Book 2 §8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpcMethod {
    /// Eight bytes over ARQC xor response code.
    Method1,
    /// Four bytes over ARQC, card status update.
    Method2,
}

/// Everything that tells one scheme's cryptograms from another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CryptogramScheme {
    /// From issuer to card master key.
    pub derivation: MasterKeyDerivation,
    /// From master to session key.
    pub session: SessionKeyMethod,
    /// Padding of the input.
    pub padding: CryptogramPadding,
    /// The issuer's answer.
    pub arpc: ArpcMethod,
}

impl CryptogramScheme {
    /// UnionPay (PBOC 3.0 debit/credit, CVN 01).
    pub const UNIONPAY: Self = Self {
        derivation: MasterKeyDerivation::OptionA,
        session: SessionKeyMethod::Pboc,
        padding: CryptogramPadding::Mandatory80,
        arpc: ArpcMethod::Method1,
    };
    /// Visa CVN 10.
    pub const VISA_CVN10: Self = Self {
        derivation: MasterKeyDerivation::OptionA,
        session: SessionKeyMethod::None,
        padding: CryptogramPadding::Zeros,
        arpc: ArpcMethod::Method1,
    };
    /// EMV common session keys with method 1, as Mastercard-style M/Chip with CVN 20 uses them here.
    pub const COMMON: Self = Self {
        derivation: MasterKeyDerivation::OptionA,
        session: SessionKeyMethod::Common,
        padding: CryptogramPadding::Mandatory80,
        arpc: ArpcMethod::Method1,
    };
}

macro_rules! encode_enum {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl Encode for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.u8(match self { $($name::$variant => $number,)* });
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok($name::$variant),)*
                    _ => Err(reader.malformed(stringify!($name))),
                }
            }
        }
    };
}
pub(crate) use encode_enum;

encode_enum!(MasterKeyDerivation { OptionA = 1, OptionB = 2 });
encode_enum!(SessionKeyMethod { None = 1, Common = 2, Pboc = 3, Mastercard = 4 });
encode_enum!(CryptogramPadding { Zeros = 1, Mandatory80 = 2 });
encode_enum!(ArpcMethod { Method1 = 1, Method2 = 2 });

impl Encode for CryptogramScheme {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.derivation).value(&self.session).value(&self.padding).value(&self.arpc);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            derivation: reader.value()?,
            session: reader.value()?,
            padding: reader.value()?,
            arpc: reader.value()?,
        })
    }
}
