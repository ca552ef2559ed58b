//! What a vault answers.

use crate::audit::AuditPage;
use crate::block::{AnyKeyBlock, KeyBlock, KeyCheckValue};
use crate::ceremony::CeremonyState;
use crate::command::SealedAccount;
use crate::custodian::CustodianList;
use crate::dukpt::{KsnFreshness, KsnMark};
use crate::part::Part;
use crate::scheme::encode_enum;
use crate::usage::{MessageMac, PinEncryption, TrackEncryption};
use core::fmt;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{CardToken, SecretBytes, TruncatedPan};

/// Why a vault does not do as it was asked. Coarse on purpose: it must not be an oracle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// This caller may not say this command.
    #[error("this caller may not use this command")]
    NotPermitted,
    /// A key of another usage, algorithm or owner than the command needs.
    #[error("the key is not for this use")]
    WrongKey,
    /// A key block, sealed account or sealed blob that this vault did not make, or that was altered.
    #[error("not made by this vault, or altered")]
    NotAuthentic,
    /// The key's check value does not fit.
    #[error("key check value does not fit")]
    KeyCheck,
    /// The key may not leave.
    #[error("the key is not exportable")]
    NotExportable,
    /// Account data that contradicts itself or is malformed.
    #[error("account data is malformed or contradicts itself")]
    AccountData,
    /// The PIN block does not open under this key and account.
    #[error("PIN block is malformed")]
    PinBlock,
    /// A limit on guessing was reached.
    #[error("rate limit reached")]
    RateLimited,
    /// A parameter out of range.
    #[error("parameter out of range")]
    Parameter,
    /// The vault could not be reached or could not do its work.
    #[error("key service unavailable")]
    Unavailable,
    /// A key outside the days of its validity.
    #[error("the key is not valid today")]
    NotValidToday,
    /// A key serial number below the device's mark.
    #[error("the key serial number lies below the highest one seen")]
    StaleKsn,
    /// No custodian of this name, or not their passphrase.
    #[error("no such custodian, or not their passphrase")]
    Custodian,
    /// One person may not do this twice, or for themselves.
    #[error("another custodian is needed")]
    AnotherCustodian,
    /// No such ceremony is open, or it is not ready for this, or another one is open.
    #[error("not possible in this state of the ceremony")]
    Ceremony,
    /// What was presented is too old.
    #[error("expired")]
    Expired,
    /// What was presented is for another terminal, or answers no question that was asked.
    #[error("for another terminal, or not an answer to its last request")]
    NotAnAnswer,
    /// A distribution host is trusted already, or none is.
    #[error("another key distribution host is trusted, or none is")]
    DistributionHost,
}
encode_enum!(Refusal {
    NotPermitted = 1,
    WrongKey = 2,
    NotAuthentic = 3,
    KeyCheck = 4,
    NotExportable = 5,
    AccountData = 6,
    PinBlock = 7,
    RateLimited = 8,
    Parameter = 9,
    Unavailable = 10,
    NotValidToday = 11,
    StaleKsn = 12,
    Custodian = 50,
    AnotherCustodian = 51,
    Ceremony = 52,
    Expired = 53,
    NotAnAnswer = 54,
    DistributionHost = 55,
});

impl Refusal {
    /// Its number, as sockets and audit records carry it.
    pub fn number(self) -> u8 {
        self.to_bytes().first().copied().unwrap_or_default()
    }

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::from_bytes(&[number]).ok()
    }
}

impl Part for Refusal {
    fn write(&self, writer: &mut Writer) {
        self.encode(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::decode(reader)
    }
}

/// A terminal's working keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkingKeys {
    /// PIN key.
    pub pin: KeyBlock<PinEncryption>,
    /// MAC key.
    pub mac: KeyBlock<MessageMac>,
    /// Track key, if tracks are enciphered.
    pub track: Option<KeyBlock<TrackEncryption>>,
}

impl Encode for WorkingKeys {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.pin).value(&self.mac);
        writer.option(self.track.as_ref(), |writer, track| {
            writer.value(track);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { pin: reader.value()?, mac: reader.value()?, track: reader.option(Reader::value)? })
    }
}

impl Part for WorkingKeys {
    fn write(&self, writer: &mut Writer) {
        self.encode(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::decode(reader)
    }
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $number:literal { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }),* $(,)?) => {
        /// The answer to one command.
        pub enum Reply {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),* },)*
        }

        impl Reply {
            /// The answer's name, for logs.
            pub fn name(&self) -> &'static str {
                match self { $(Reply::$name { .. } => stringify!($name)),* }
            }

            /// The single key blocks in it. Working keys are a set and not among them.
            pub fn key_blocks(&self) -> Vec<&AnyKeyBlock> {
                match self { $(Reply::$name { $($field),* } => {
                    let blocks: Vec<Option<&AnyKeyBlock>> = vec![$(Part::key_block($field)),*];
                    blocks.into_iter().flatten().collect()
                })* }
            }
        }

        impl Encode for Reply {
            fn encode(&self, writer: &mut Writer) {
                match self { $(Reply::$name { $($field),* } => {
                    writer.u8($number);
                    $(Part::write($field, writer);)*
                })* }
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok(Reply::$name { $($field: Part::read(reader)?),* }),)*
                    _ => Err(reader.malformed("a known reply")),
                }
            }
        }
    };
}

replies! {
    /// The command was not carried out.
    Refused = 1 {
        /// Why.
        why: Refusal,
    },
    /// A key exists now.
    KeyCreated = 2 {
        /// Its block.
        key: AnyKeyBlock,
        /// Its check value.
        check: KeyCheckValue,
    },
    /// The vault's transport public key.
    TransportPublicKey = 3 {
        /// SubjectPublicKeyInfo DER.
        public_key: Vec<u8>,
    },
    /// A key enciphered under a KEK.
    KeyExported = 4 {
        /// The cryptogram.
        enciphered: Vec<u8>,
        /// Its check value.
        check: KeyCheckValue,
    },
    /// A check value.
    KeyCheck = 5 {
        /// The value.
        check: KeyCheckValue,
    },
    /// Working keys, and their delivery for field 62 (empty when they were loaded and not made).
    WorkingKeysMade = 6 {
        /// The keys.
        keys: WorkingKeys,
        /// Content of field 62.
        delivery: Vec<u8>,
    },
    /// A MAC in the form of field 64.
    Mac = 7 {
        /// Eight bytes: hex characters for UnionPay ECB, raw otherwise.
        mac: [u8; 8],
    },
    /// Whether a MAC is right.
    MacVerdict = 8 {
        /// The verdict.
        right: bool,
    },
    /// A message's account data, opened.
    AccountOpened = 9 {
        /// The same card always gives the same token.
        token: CardToken,
        /// What may be shown.
        truncated: TruncatedPan,
        /// For later commands.
        account: SealedAccount,
        /// Whether the Luhn digit fits.
        luhn_valid: bool,
        /// Whether the expiry, if the message or its track has one, lies before today.
        expired: bool,
    },
    /// A PIN block under the other key.
    PinTranslated = 10 {
        /// The block.
        block: [u8; 8],
    },
    /// Whether a PIN is right.
    PinVerdict = 11 {
        /// The verdict.
        right: bool,
    },
    /// A PIN reference for an issuer's files.
    PinReference = 12 {
        /// The reference.
        reference: [u8; 16],
    },
    /// Whether an ARQC is right, and the ARPC if it is.
    CryptogramVerdict = 13 {
        /// The verdict.
        right: bool,
        /// Tag 91 without the response code: eight bytes for method 1, four (zero-padded on the right) for method 2.
        arpc: Option<[u8; 8]>,
    },
    /// A script MAC.
    ScriptMac = 14 {
        /// Eight bytes; the scheme uses its leading four or eight.
        mac: [u8; 8],
    },
    /// Random bytes.
    Random = 15 {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// An enciphered PIN block (F52).
    PinBlock = 16 {
        /// The block.
        block: [u8; 8],
    },
    /// An enciphered track (F35 characters).
    Track = 17 {
        /// The characters; the clear PAN still stands at its head, as the dialect has it.
        track2: SecretBytes,
    },
    /// A card's token.
    Token = 18 {
        /// The token.
        token: CardToken,
    },
    /// Sealed bytes.
    Sealed = 19 {
        /// The bytes.
        sealed: Vec<u8>,
    },
    /// Opened bytes.
    Unsealed = 20 {
        /// The bytes.
        plaintext: SecretBytes,
    },
    /// A KEK for the way to a host vault.
    TransportKeyMade = 21 {
        /// The KEK's block in this vault.
        key: AnyKeyBlock,
        /// The KEK for the host vault, RSA-OAEP.
        enciphered: Vec<u8>,
        /// Its check value.
        check: KeyCheckValue,
    },
    /// A key as a TR-31 key block.
    KeyBlockExported = 22 {
        /// The key block, ASCII.
        block: Vec<u8>,
        /// The key's check value.
        check: KeyCheckValue,
    },
    /// A check value by a named method.
    KeyCheckBytes = 23 {
        /// Three bytes (legacy), five (CMAC).
        value: Vec<u8>,
    },
    /// A PIN block in the other format, under the other key.
    PinBlockTranslated = 24 {
        /// The block.
        block: Vec<u8>,
    },
    /// A PIN verification value for an issuer's files.
    PinVerificationValue = 25 {
        /// Four ASCII digits.
        value: [u8; 4],
    },
    /// An IBM 3624 offset for an issuer's files.
    PinOffset = 26 {
        /// ASCII digits.
        offset: Vec<u8>,
    },
    /// An untruncated MAC, CMAC or HMAC.
    AuthenticationCode = 27 {
        /// The code.
        code: Vec<u8>,
    },
    /// Whether a device's MAC is right, and where its serial number stands.
    DukptMacVerdict = 28 {
        /// The verdict.
        right: bool,
        /// The serial number against the mark. Says nothing of the device if the MAC is wrong.
        freshness: KsnFreshness,
        /// The device's new mark; none if the MAC is wrong or the serial number is not fresh.
        mark: Option<KsnMark>,
    },
    /// Where a serial number stands.
    KsnJudged = 29 {
        /// Against the mark.
        freshness: KsnFreshness,
        /// The device's new mark; none if the serial number is not fresh.
        mark: Option<KsnMark>,
        /// Transactions the device can still make.
        remaining: u64,
    },
    /// Whether an ARQC is right, and tag 91 if it is.
    IssuerAuthentication = 30 {
        /// The verdict.
        right: bool,
        /// Content of tag 91: ARPC and response code (method 1), or ARPC, card status update and proprietary data.
        data: Option<Vec<u8>>,
    },
    /// Enciphered script data.
    ScriptEnciphered = 31 {
        /// The data.
        data: Vec<u8>,
    },
    /// Whether a card code is right.
    CardCodeVerdict = 32 {
        /// The verdict.
        right: bool,
    },
    /// A card code for an issuer's cards.
    CardCodeMade = 33 {
        /// ASCII digits.
        code: SecretBytes,
    },
    /// Account data, sealed.
    AccountSealed = 34 {
        /// The card's token.
        token: CardToken,
        /// What may be shown.
        truncated: TruncatedPan,
        /// For later commands.
        account: SealedAccount,
    },
    /// A stretch of the audit.
    AuditPage = 50 {
        /// The records.
        page: AuditPage,
    },
    /// The custodians.
    Custodians = 51 {
        /// By name.
        list: CustodianList,
    },
    /// How far a ceremony is.
    Ceremony = 52 {
        /// Its state.
        state: CeremonyState,
    },
    /// A component was taken.
    ComponentTaken = 53 {
        /// Check value of the component.
        check: KeyCheckValue,
        /// The ceremony now.
        state: CeremonyState,
    },
    /// A component was drawn. It is shown this once.
    ComponentDrawn = 54 {
        /// The component.
        component: SecretBytes,
        /// Its check value.
        check: KeyCheckValue,
        /// The ceremony now.
        state: CeremonyState,
    },
    /// A ceremony's key.
    CeremonyCompleted = 55 {
        /// Its block.
        key: AnyKeyBlock,
        /// Its check value.
        check: KeyCheckValue,
        /// The signed record, UTF-8 text.
        record: Vec<u8>,
    },
    /// The vault's public signing keys (Ed25519).
    VaultIdentity = 56 {
        /// Signs audit heads and ceremony records.
        record: [u8; 32],
        /// Signs load tokens.
        distribution: [u8; 32],
        /// Signs load requests: a terminal's identity.
        terminal: [u8; 32],
    },
    /// First pass of a remote load.
    LoadRequest = 57 {
        /// For the host's `MakeLoadToken`.
        request: Vec<u8>,
    },
    /// Second pass of a remote load.
    LoadTokenMade = 58 {
        /// For the terminal's `AcceptLoadToken`.
        token: Vec<u8>,
        /// Check value of the key in it.
        check: KeyCheckValue,
    },
    /// It is done; there is nothing more to say.
    Done = 59 {},
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Refused { why } => write!(formatter, "Reply::Refused({why:?})"),
            other => write!(formatter, "Reply::{}(…)", other.name()),
        }
    }
}
