//! What may be asked of a vault.

use crate::block::{
    Algorithm, AnyKeyBlock, IssuerMasterAc, IssuerMasterMac, KeyBlock, KeyCheckValue, KeyEncryption, MessageMac, Owner,
    PinEncryption, PinReferenceKey, TerminalMaster, TrackEncryption, Usage, UsageMarker,
};
use crate::ceremony::ExpectedCheck;
use crate::custodian::{CustodianName, CustodianProof};
use crate::scheme::{CryptogramScheme, encode_enum};
use core::fmt;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Expiry, Pan, Pin, SecretBytes, Track2};

/// MAC algorithms of field 64 (unionpay-pos §4.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacAlgorithm {
    /// UnionPay ECB, the default; F64 is eight upper-case hex characters.
    UnionPayEcb,
    /// ANSI X9.9 (CBC with single DES); eight raw bytes.
    X99,
    /// ANSI X9.19 / ISO 9797-1 algorithm 3; eight raw bytes.
    X919,
}
encode_enum!(MacAlgorithm { UnionPayEcb = 1, X99 = 2, X919 = 3 });

/// Account data (PAN, expiry) enciphered by the vault for itself: a host may carry it, nobody else can open it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedAccount(pub Vec<u8>);

impl fmt::Debug for SealedAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealedAccount({} bytes)", self.0.len())
    }
}

impl Encode for SealedAccount {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(reader.bytes()?.to_vec()))
    }
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }),* $(,)?) => {
        /// A command with everything it needs. The answer of each is named in [`crate::Reply`].
        pub enum Command {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),* },)*
        }

        /// A command without its content, for tables and logs.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum CommandKind { $($(#[$doc])* $name = $number),* }

        impl CommandKind {
            /// Every command.
            pub const ALL: &'static [CommandKind] = &[$(CommandKind::$name),*];
        }

        impl Command {
            /// The command without its content.
            pub fn kind(&self) -> CommandKind {
                match self { $(Command::$name { .. } => CommandKind::$name),* }
            }

            /// The key blocks that it names, in the order of its fields.
            pub fn key_blocks(&self) -> Vec<&AnyKeyBlock> {
                match self { $(Command::$name { $($field),* } => {
                    let blocks: Vec<Option<&AnyKeyBlock>> = vec![$(Part::key_block($field)),*];
                    blocks.into_iter().flatten().collect()
                })* }
            }
        }

        impl Encode for Command {
            fn encode(&self, writer: &mut Writer) {
                writer.u8(self.kind() as u8);
                match self { $(Command::$name { $($field),* } => { $(Part::write($field, writer);)* })* }
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok(Command::$name { $($field: Part::read(reader)?),* }),)*
                    _ => Err(reader.malformed("a known command")),
                }
            }
        }
    };
}

commands! {
    /// Makes a key inside the vault. Answer: `KeyCreated`.
    GenerateKey = 1 {
        /// What for.
        usage: Usage,
        /// Algorithm and length.
        algorithm: Algorithm,
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// Whether it may leave under a KEK.
        exportable: bool,
    },
    /// The vault's public key (RSA, SubjectPublicKeyInfo DER) for bringing a KEK in. Answer: `TransportPublicKey`.
    TransportPublicKey = 2 {},
    /// Brings in a 16-byte TDES KEK enciphered to that key with RSA-OAEP (SHA-256). Answer: `KeyCreated`.
    ImportTransportKey = 3 {
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// The OAEP ciphertext.
        enciphered: Vec<u8>,
    },
    /// Brings in a key enciphered under a KEK (TDES ECB), checked against its key check value. Answer: `KeyCreated`.
    ImportKey = 4 {
        /// What it is for.
        usage: Usage,
        /// Algorithm and length.
        algorithm: Algorithm,
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// The KEK.
        under: KeyBlock<KeyEncryption>,
        /// The cryptogram.
        enciphered: Vec<u8>,
        /// Check value of the clear key.
        check: KeyCheckValue,
    },
    /// Lets an exportable key out under a KEK (TDES ECB). Answer: `KeyExported`.
    ExportKey = 5 {
        /// The key.
        key: AnyKeyBlock,
        /// The KEK.
        under: KeyBlock<KeyEncryption>,
    },
    /// Check value of any key. Answer: `KeyCheck`.
    CheckKey = 6 {
        /// The key.
        key: AnyKeyBlock,
    },
    /// Makes a terminal's working keys and their delivery for field 62 (unionpay-pos §4.2). Answer: `WorkingKeysMade`.
    GenerateWorkingKeys = 7 {
        /// The terminal's master key.
        master: KeyBlock<TerminalMaster>,
        /// Version of the new keys.
        version: u32,
        /// Whether a track key is wanted (sign-in 004).
        with_track_key: bool,
        /// Whether the MAK is double length; otherwise eight bytes.
        double_length_mac_key: bool,
    },
    /// Reads a delivery of field 62 under the terminal's master key; all check values must fit. Answer: `WorkingKeysMade` with an empty delivery.
    LoadWorkingKeys = 8 {
        /// The terminal's master key.
        master: KeyBlock<TerminalMaster>,
        /// Version the terminal gives them.
        version: u32,
        /// Content of field 62.
        delivery: Vec<u8>,
    },
    /// Makes a MAC. Answer: `Mac`.
    MakeMac = 9 {
        /// The MAK.
        key: KeyBlock<MessageMac>,
        /// Algorithm.
        algorithm: MacAlgorithm,
        /// MTI, bitmap and fields up to, but without, field 64.
        message: SecretBytes,
    },
    /// Verifies a MAC in constant time. Answer: `MacVerdict`.
    VerifyMac = 10 {
        /// The MAK.
        key: KeyBlock<MessageMac>,
        /// Algorithm.
        algorithm: MacAlgorithm,
        /// MTI, bitmap and fields up to, but without, field 64.
        message: SecretBytes,
        /// Content of field 64.
        mac: [u8; 8],
    },
    /// Opens a message's account data into a token. Answer: `AccountOpened`.
    OpenAccount = 11 {
        /// Field 2.
        pan: Option<Pan>,
        /// Field 35 as it came: characters of the track, some of them enciphered if a key is given.
        track2: Option<SecretBytes>,
        /// Key of the track, if it is enciphered.
        track_key: Option<KeyBlock<TrackEncryption>>,
        /// Field 14.
        expiry: Option<Expiry>,
        /// Today as the host sees it, YYMM, to answer whether the card has expired.
        today: Expiry,
    },
    /// Re-enciphers a format 0 PIN block from one key to another for the same account. Answer: `PinTranslated`.
    TranslatePin = 12 {
        /// The block as it came.
        block: [u8; 8],
        /// Its key.
        from: KeyBlock<PinEncryption>,
        /// The key it leaves under.
        to: KeyBlock<PinEncryption>,
        /// The account it is bound to.
        account: SealedAccount,
    },
    /// Verifies a format 0 PIN block against an issuer's reference. Answer: `PinVerdict`.
    VerifyPin = 13 {
        /// The block.
        block: [u8; 8],
        /// Its key.
        key: KeyBlock<PinEncryption>,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key of references.
        reference_key: KeyBlock<PinReferenceKey>,
        /// The stored reference.
        reference: [u8; 16],
    },
    /// Makes an issuer's PIN reference from an enciphered PIN block. Answer: `PinReference`.
    MakePinReference = 14 {
        /// The block.
        block: [u8; 8],
        /// Its key.
        key: KeyBlock<PinEncryption>,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key of references.
        reference_key: KeyBlock<PinReferenceKey>,
    },
    /// Verifies an ARQC and, if it is right, answers it. Answer: `CryptogramVerdict`.
    VerifyCryptogram = 15 {
        /// The issuer's master key.
        master: KeyBlock<IssuerMasterAc>,
        /// The account.
        account: SealedAccount,
        /// PAN sequence number (5F34), 0 if the card has none.
        card_sequence: u8,
        /// The scheme's rules.
        scheme: CryptogramScheme,
        /// ATC (9F36).
        atc: u16,
        /// Unpredictable number (9F37).
        unpredictable_number: [u8; 4],
        /// The cryptogram's input without padding.
        data: Vec<u8>,
        /// The cryptogram (9F26).
        cryptogram: [u8; 8],
        /// Authorisation response code the ARPC is made for, should the cryptogram be right.
        response_code: [u8; 2],
    },
    /// MAC of an issuer script command under the card's secure messaging session key. Answer: `ScriptMac`.
    MakeScriptMac = 16 {
        /// The issuer's master key.
        master: KeyBlock<IssuerMasterMac>,
        /// The account.
        account: SealedAccount,
        /// PAN sequence number.
        card_sequence: u8,
        /// The scheme's rules.
        scheme: CryptogramScheme,
        /// ATC.
        atc: u16,
        /// The ARQC.
        cryptogram: [u8; 8],
        /// Command header and data that the MAC covers, without padding.
        data: Vec<u8>,
    },
    /// Random bytes, at most 256. Answer: `Random`.
    Random = 17 {
        /// How many.
        count: u16,
    },
    /// PED only: enciphers an entered PIN as a format 0 block. Answer: `PinBlock`.
    EncipherPin = 18 {
        /// The PIK.
        key: KeyBlock<PinEncryption>,
        /// The PIN.
        pin: Pin,
        /// The account it is bound to.
        pan: Pan,
    },
    /// PED only: enciphers track 2 (unionpay-pos §4.5). Answer: `Track`.
    EncipherTrack = 19 {
        /// The TDK.
        key: KeyBlock<TrackEncryption>,
        /// The track.
        track2: Track2,
    },
    /// PED only: the terminal's own token of a card. Answer: `Token`.
    Tokenise = 20 {
        /// The card.
        pan: Pan,
    },
    /// PED only: seals bytes for this vault, bound to a label. Answer: `Sealed`.
    Seal = 21 {
        /// What the bytes are; opening needs the same label.
        label: Vec<u8>,
        /// The bytes.
        plaintext: SecretBytes,
    },
    /// PED only: opens what `Seal` made. Answer: `Unsealed`.
    Unseal = 22 {
        /// The label given when sealing.
        label: Vec<u8>,
        /// The sealed bytes.
        sealed: Vec<u8>,
    },
    /// PED only: makes a KEK and enciphers it to a host vault's transport public key. Answer: `TransportKeyMade`.
    MakeTransportKey = 23 {
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// The host vault's public key, SubjectPublicKeyInfo DER.
        recipient: Vec<u8>,
    },
    /// A stretch of the audit: `count` records from number `from` on (`from` 0: the end only). Answer: `AuditPage`.
    ReadAudit = 50 {
        /// Number of the first record wanted, from 1.
        from: u64,
        /// How many at most.
        count: u16,
    },
    /// Registers a custodian. From the third on, one who is registered already must vouch. Answer: `Done`.
    RegisterCustodian = 51 {
        /// Who, with the passphrase they choose.
        custodian: CustodianProof,
        /// Who vouches.
        approver: Option<CustodianProof>,
    },
    /// Removes a custodian; two must remain. Answer: `Done`.
    RemoveCustodian = 52 {
        /// Who.
        name: CustodianName,
        /// Another custodian, who approves.
        approver: CustodianProof,
    },
    /// A custodian chooses a new passphrase. Answer: `Done`.
    ChangePassphrase = 53 {
        /// Who, with the passphrase of today.
        custodian: CustodianProof,
        /// The new passphrase.
        passphrase: SecretBytes,
    },
    /// Who is a custodian. Answer: `Custodians`.
    ListCustodians = 54 {},
    /// Opens a key ceremony. There is one at a time. Answer: `Ceremony`.
    OpenCeremony = 55 {
        /// What the key is for.
        usage: Usage,
        /// Algorithm and length.
        algorithm: Algorithm,
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// Whether it may leave under a KEK.
        exportable: bool,
        /// How many components, 2 to 9, each from another custodian.
        components: u8,
    },
    /// A custodian enters a component. Answer: `ComponentTaken`.
    EnterComponent = 56 {
        /// The ceremony.
        ceremony: u64,
        /// Who.
        custodian: CustodianProof,
        /// The component, as long as the key; odd parity for DES.
        component: SecretBytes,
        /// Its check value as the custodian's paper has it.
        expected: Option<ExpectedCheck>,
    },
    /// The vault draws a custodian's component and shows it this once. Answer: `ComponentDrawn`.
    DrawComponent = 57 {
        /// The ceremony.
        ceremony: u64,
        /// Who.
        custodian: CustodianProof,
    },
    /// How far the open ceremony is. Answer: `Ceremony`.
    CeremonyStatus = 58 {},
    /// Puts the components together. Answer: `CeremonyCompleted`.
    CompleteCeremony = 59 {
        /// The ceremony.
        ceremony: u64,
        /// Check value of the combined key, if somebody knows it.
        expected: Option<ExpectedCheck>,
    },
    /// Ends a ceremony without a key. Answer: `Done`.
    AbortCeremony = 60 {
        /// The ceremony.
        ceremony: u64,
    },
    /// Key and record of a completed ceremony, again. Answer: `CeremonyCompleted`.
    ReadCeremonyRecord = 61 {
        /// The ceremony.
        ceremony: u64,
    },
    /// The vault's public signing keys. Answer: `VaultIdentity`.
    VaultIdentity = 62 {},
    /// PED only: trusts a key distribution host for good. Part of the enrolment. Answer: `Done`.
    PinDistributionHost = 63 {
        /// The host's key, from its `VaultIdentity`.
        public_key: [u8; 32],
    },
    /// PED only: first pass of a remote key load. Answer: `LoadRequest`.
    BeginRemoteLoad = 64 {
        /// The terminal.
        owner: Owner,
    },
    /// Second pass: envelopes an exportable key for the terminal that asked. Answer: `LoadTokenMade`.
    MakeLoadToken = 65 {
        /// The terminal's request.
        request: Vec<u8>,
        /// The identity that the terminal had when it was enrolled.
        terminal: [u8; 32],
        /// The key.
        key: AnyKeyBlock,
    },
    /// PED only: takes the key out of a token. Answer: `KeyCreated`.
    AcceptLoadToken = 66 {
        /// The token.
        token: Vec<u8>,
    },
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Command::{:?}(…)", self.kind())
    }
}

/// How one field of a command or reply travels.
pub(crate) trait Part: Sized {
    fn write(&self, writer: &mut Writer);
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
    /// The key block that this field is.
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        None
    }
}

impl Part for AnyKeyBlock {
    fn write(&self, writer: &mut Writer) {
        self.encode(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::decode(reader)
    }
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        Some(self)
    }
}

impl<U: UsageMarker> Part for KeyBlock<U> {
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
part_by_encode!(MacAlgorithm, SealedAccount, CryptogramScheme, types::CardToken, types::TruncatedPan,);

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
part_by_number!(u8 => u8, u16 => u16, u32 => u32, bool => bool);

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
    fn write(&self, writer: &mut Writer) {
        writer.option(self.as_ref(), |writer, value| value.write(writer));
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.option(T::read)
    }
    fn key_block(&self) -> Option<&AnyKeyBlock> {
        self.as_ref().and_then(T::key_block)
    }
}

impl Part for Usage {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Usage::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a key usage"))
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
