//! What the issuer knows of a card.

use crate::SPACE_CARD;
use crate::script::CardScript;
use keys::{ArpcMethod, CryptogramPadding, MasterKeyDerivation, SessionKeyMethod};
use keys::{CryptogramScheme, IssuerMasterAc, IssuerMasterMac, KeyBlock, PinReferenceKey};
use machine::store::Row;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{CardToken, Currency};

const VERSION: u8 = 1;

/// PIN tries before a card is refused.
pub const PIN_TRY_LIMIT_DEFAULT: u8 = 3;

/// Whether a card may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardStatus {
    /// It may.
    Active,
    /// Reported lost.
    Lost,
    /// Reported stolen.
    Stolen,
    /// Blocked by the issuer.
    Restricted,
}

/// The cryptogram rules of a card's application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// UnionPay debit/credit, cryptogram version 01 (JR/T 0025).
    UnionPay,
    /// Visa, cryptogram version 18 (hexadecimal 12).
    VisaCvn18,
    /// Mastercard, cryptogram version 20 (hexadecimal 14).
    MastercardCvn20,
}

impl Scheme {
    /// How the key service computes it.
    pub fn cryptogram(self) -> CryptogramScheme {
        match self {
            Scheme::UnionPay => CryptogramScheme::UNIONPAY,
            Scheme::VisaCvn18 => CryptogramScheme {
                derivation: MasterKeyDerivation::OptionA,
                session: SessionKeyMethod::Common,
                padding: CryptogramPadding::Mandatory80,
                arpc: ArpcMethod::Method2,
            },
            Scheme::MastercardCvn20 => CryptogramScheme::COMMON,
        }
    }

    /// Bytes of a script MAC that the card expects.
    pub fn script_mac_bytes(self) -> usize {
        match self {
            Scheme::UnionPay => 4,
            Scheme::VisaCvn18 | Scheme::MastercardCvn20 => 8,
        }
    }
}

/// Ways of reading a card that its issuer allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryModes {
    /// Magnetic stripe without a chip that failed first.
    pub magstripe: bool,
    /// Magnetic stripe after the chip could not be read.
    pub fallback: bool,
    /// Typed numbers.
    pub manual: bool,
}

impl EntryModes {
    /// What a chip card allows.
    pub const CHIP_CARD: EntryModes = EntryModes { magstripe: false, fallback: false, manual: false };
}

/// How to check a card's PIN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinFile {
    /// The issuer's key of references.
    pub reference_key: KeyBlock<PinReferenceKey>,
    /// The reference; it verifies a PIN only inside the key service.
    pub reference: [u8; 16],
}

/// One card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardFile {
    /// Whether it may be used.
    pub status: CardStatus,
    /// Card organisation as F63.1 names it.
    pub organisation: [u8; 3],
    /// PAN sequence number (5F34) of the valid card.
    pub card_sequence: u8,
    /// Currency of its account.
    pub currency: Currency,
    /// Lowest balance allowed, minor units; a credit limit is a negative floor.
    pub floor_minor: i64,
    /// Largest amount of one transaction, minor units.
    pub single_limit_minor: Option<u64>,
    /// Cryptogram rules.
    pub scheme: Scheme,
    /// Issuer master key for cryptograms.
    pub master_ac: KeyBlock<IssuerMasterAc>,
    /// Issuer master key for script MACs.
    pub master_mac: Option<KeyBlock<IssuerMasterMac>>,
    /// How to check the PIN; `None` for a card without one.
    pub pin: Option<PinFile>,
    /// Ways of reading it besides the chip.
    pub entry_modes: EntryModes,
    /// Whether each application transaction counter may pay only once; without it no sale is taken that the issuer was not asked about.
    /// Off only for test cards that forget theirs.
    pub atc_once: bool,
    /// A script to send with approvals.
    pub script: Option<CardScript>,
}

/// Tries since the last right PIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PinTries {
    /// Counts every change, so that no change is made twice.
    pub step: u64,
    /// Wrong PINs in a row.
    pub wrong: u8,
}

/// The rows that load a card: its file, and money put on its account.
///
/// `opening` names the posting and says how much (minor units); it must be a new name for each load.
pub fn card_rows(token: &CardToken, file: &CardFile, opening: Option<(String, i64)>) -> Vec<Row> {
    let mut rows = vec![Row::Put { space: SPACE_CARD, key: token.0.to_vec(), value: file.to_bytes() }];
    if let Some((id, delta_minor)) = opening.filter(|(_, delta_minor)| *delta_minor != 0) {
        rows.push(ledger::funding(id, *token, delta_minor, file.currency).into_row());
    }
    rows
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
encode_enum!(CardStatus { Active = 1, Lost = 2, Stolen = 3, Restricted = 4 });
encode_enum!(Scheme { UnionPay = 1, VisaCvn18 = 2, MastercardCvn20 = 3 });

impl Encode for EntryModes {
    fn encode(&self, writer: &mut Writer) {
        writer.bool(self.magstripe).bool(self.fallback).bool(self.manual);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { magstripe: reader.bool()?, fallback: reader.bool()?, manual: reader.bool()? })
    }
}

impl Encode for PinFile {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.reference_key).raw(&self.reference);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { reference_key: reader.value()?, reference: reader.array("a PIN reference")? })
    }
}

impl Encode for PinTries {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).u64(self.step).u8(self.wrong);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("PIN tries version 1"));
        }
        Ok(Self { step: reader.u64()?, wrong: reader.u8()? })
    }
}

impl Encode for CardFile {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).value(&self.status).raw(&self.organisation).u8(self.card_sequence);
        writer.u16(self.currency.numeric()).i64(self.floor_minor);
        writer.option(self.single_limit_minor, |writer, limit| {
            writer.u64(limit);
        });
        writer.value(&self.scheme).value(&self.master_ac);
        writer.option(self.master_mac.as_ref(), |writer, key| {
            writer.value(key);
        });
        writer.option(self.pin.as_ref(), |writer, pin| {
            writer.value(pin);
        });
        writer.value(&self.entry_modes).bool(self.atc_once);
        writer.option(self.script.as_ref(), |writer, script| {
            writer.value(script);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("card file version 1"));
        }
        Ok(Self {
            status: reader.value()?,
            organisation: reader.array("an organisation")?,
            card_sequence: reader.u8()?,
            currency: Currency::from_numeric(reader.u16()?).ok_or_else(|| reader.malformed("a currency"))?,
            floor_minor: reader.i64()?,
            single_limit_minor: reader.option(Reader::u64)?,
            scheme: reader.value()?,
            master_ac: reader.value()?,
            master_mac: reader.option(Reader::value)?,
            pin: reader.option(Reader::value)?,
            entry_modes: reader.value()?,
            atc_once: reader.bool()?,
            script: reader.option(Reader::value)?,
        })
    }
}
