//! How the fields of commands and replies travel.

use crate::block::{AnyKeyBlock, KeyBlock, KeyCheckValue, Owner, Validity};
use crate::card::{CardCode, CardTransaction, CryptogramVersion, DynamicCode, ExpiryOrder, IssuerResponse};
use crate::command::{AuthenticationKey, MacAlgorithm, SealedAccount};
use crate::dukpt::{AccountDataForm, DukptDirection, DukptKey, DukptMacAlgorithm, KsnFreshness, KsnMark};
use crate::interchange::{CheckMethod, KeyBlockVersion};
use crate::pin::{DecimalisationTable, EncipheredPinBlock, PinFormat, ValidationData};
use crate::scheme::CryptogramScheme;
use crate::usage::{Algorithm, Usage, UsageMarker};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Expiry, Pan, Pin, SecretBytes, Track2};

/// How one field of a command or reply travels, and which usages it names.
pub(crate) trait Part: Sized {
    /// Usages of key handles by their type.
    const TYPED_USAGES: &'static [Usage] = &[];

    fn write(&self, writer: &mut Writer);
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The usage that this field names at run time.
    fn named_usage(&self) -> Option<Usage> {
        None
    }

    /// The key block that this field is.
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        None
    }
}

macro_rules! part_by_encode {
    ($($type:ty),* $(,)?) => { $(
        impl Part for $type {
            fn write(&self, writer: &mut Writer) {
                self.encode(writer);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                <$type as Encode>::decode(reader)
            }
        }
    )* };
}
part_by_encode!(
    MacAlgorithm,
    SealedAccount,
    CryptogramScheme,
    CryptogramVersion,
    CardTransaction,
    IssuerResponse,
    CardCode,
    DynamicCode,
    ExpiryOrder,
    PinFormat,
    DecimalisationTable,
    ValidationData,
    DukptDirection,
    DukptMacAlgorithm,
    AccountDataForm,
    KsnMark,
    KsnFreshness,
    KeyBlockVersion,
    CheckMethod,
    Validity,
    types::CardToken,
    types::TruncatedPan,
);

macro_rules! part_with_keys {
    ($($type:ty => $($usage:ident),+);* $(;)?) => { $(
        impl Part for $type {
            const TYPED_USAGES: &'static [Usage] = &[$(Usage::$usage),+];

            fn write(&self, writer: &mut Writer) {
                self.encode(writer);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                <$type as Encode>::decode(reader)
            }
        }
    )* };
}
part_with_keys!(
    DukptKey => BaseDerivation;
    AuthenticationKey => MessageCmac, MessageHmac;
    EncipheredPinBlock => PinEncryption, BaseDerivation;
);

impl Part for AnyKeyBlock {
    fn write(&self, writer: &mut Writer) {
        self.encode(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::decode(reader)
    }
    fn named_usage(&self) -> Option<Usage> {
        Some(self.header.usage)
    }
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        Some(self)
    }
}

impl<U: UsageMarker> Part for KeyBlock<U> {
    const TYPED_USAGES: &'static [Usage] = &[U::USAGE];

    fn write(&self, writer: &mut Writer) {
        self.encode(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::decode(reader)
    }
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        Some(self.any())
    }
}

macro_rules! part_by_number {
    ($($type:ty => $method:ident),*) => { $(
        impl Part for $type {
            fn write(&self, writer: &mut Writer) {
                writer.$method(*self);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.$method()
            }
        }
    )* };
}
part_by_number!(u8 => u8, u16 => u16, u32 => u32, u64 => u64, bool => bool);

impl<const N: usize> Part for [u8; N] {
    fn write(&self, writer: &mut Writer) {
        writer.raw(self);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array("fixed bytes")
    }
}

impl Part for Vec<u8> {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(self);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(reader.bytes()?.to_vec())
    }
}

impl Part for SecretBytes {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(self.expose());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.secret()
    }
}

impl<T: Part> Part for Option<T> {
    const TYPED_USAGES: &'static [Usage] = T::TYPED_USAGES;

    fn write(&self, writer: &mut Writer) {
        writer.option(self.as_ref(), |writer, value| value.write(writer));
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.option(T::read)
    }
    fn named_usage(&self) -> Option<Usage> {
        self.as_ref().and_then(Part::named_usage)
    }
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        self.as_ref().and_then(Part::key_block)
    }
}

impl Part for Usage {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Usage::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a key usage"))
    }
    fn named_usage(&self) -> Option<Usage> {
        Some(*self)
    }
}

impl Part for Algorithm {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Algorithm::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a key algorithm"))
    }
}

impl Part for Owner {
    fn write(&self, writer: &mut Writer) {
        writer.text(self.text());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = reader.text()?;
        Owner::new(text).ok_or_else(|| reader.malformed("a key owner"))
    }
}

impl Part for KeyCheckValue {
    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array("a key check value").map(KeyCheckValue)
    }
}

macro_rules! part_by_parse {
    ($($type:ty, $what:literal, $expose:expr);*) => { $(
        impl Part for $type {
            fn write(&self, writer: &mut Writer) {
                let expose: fn(&$type, &mut Writer) = $expose;
                expose(self, writer);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                let text = reader.text()?;
                <$type>::parse(text).map_err(|_| reader.malformed($what))
            }
        }
    )* };
}
part_by_parse!(
    Pan, "a PAN", |pan, writer| { writer.text(pan.expose()); };
    Pin, "a PIN", |pin, writer| { writer.text(pin.expose()); };
    Track2, "a track", |track, writer| { writer.text(track.expose()); };
    Expiry, "an expiry", |expiry, writer| { writer.text(&expiry.expose()); }
);
