//! What may be asked of a vault.

use crate::block::{AnyKeyBlock, KeyBlock, KeyCheckValue, Owner, Validity};
use crate::card::{CardCode, CardTransaction, DynamicCode, ExpiryOrder, IssuerResponse};
use crate::ceremony::ExpectedCheck;
use crate::custodian::{CustodianName, CustodianProof};
use crate::dukpt::{AccountDataForm, DukptDirection, DukptKey, DukptMacAlgorithm};
use crate::interchange::{CheckMethod, KeyBlockVersion};
use crate::part::Part;
use crate::pin::{DecimalisationTable, EncipheredPinBlock, PinFormat, ValidationData};
use crate::scheme::{CryptogramScheme, encode_enum};
use crate::usage::{
    Algorithm, BaseDerivation, CardVerificationKey, IssuerMasterAc, IssuerMasterDynamicNumber,
    IssuerMasterEncipherment, IssuerMasterMac, KeyBlockProtection, KeyEncryption, MessageCmac, MessageHmac, MessageMac,
    PinEncryption, PinOffsetKey, PinReferenceKey, PinVerificationValueKey, TerminalMaster, TrackEncryption, Usage,
};
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

/// A key of codes over messages that are longer than the eight bytes of field 64.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthenticationKey {
    /// CMAC (NIST SP 800-38B): TDES, AES or SM4.
    Cmac(KeyBlock<MessageCmac>),
    /// HMAC-SHA-256 (FIPS 198-1).
    Hmac(KeyBlock<MessageHmac>),
}

impl AuthenticationKey {
    /// The block without its type.
    pub fn any(&self) -> &AnyKeyBlock {
        match self {
            AuthenticationKey::Cmac(key) => key.any(),
            AuthenticationKey::Hmac(key) => key.any(),
        }
    }
}

impl Encode for AuthenticationKey {
    fn encode(&self, writer: &mut Writer) {
        match self {
            AuthenticationKey::Cmac(key) => writer.u8(1).value(key),
            AuthenticationKey::Hmac(key) => writer.u8(2).value(key),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => reader.value().map(AuthenticationKey::Cmac),
            2 => reader.value().map(AuthenticationKey::Hmac),
            _ => Err(reader.malformed("a key of authentication codes")),
        }
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

            /// The usages that its key handles have by their types.
            pub fn typed_usages(self) -> Vec<Usage> {
                let parts: &[&[Usage]] = match self {
                    $(CommandKind::$name => &[$(<$type as Part>::TYPED_USAGES),*],)*
                };
                parts.concat()
            }
        }

        impl Command {
            /// The command without its content.
            pub fn kind(&self) -> CommandKind {
                match self { $(Command::$name { .. } => CommandKind::$name),* }
            }

            /// The usages it names: the one it asks for, and those of key blocks of any usage. The usages of typed
            /// handles are not among them: their types say them.
            pub fn named_usages(&self) -> Vec<Usage> {
                match self { $(Command::$name { $($field),* } => {
                    let named: &[Option<Usage>] = &[$(Part::named_usage($field)),*];
                    named.iter().copied().flatten().collect()
                })* }
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
    /// Makes a key with bounds of validity. Answer: `KeyCreated`.
    GenerateKeyWithValidity = 24 {
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
        /// When it may be used.
        validity: Validity,
    },
    /// Brings in a TR-31 key block (versions A to E). Usage, algorithm and mode of its header must be those of
    /// `interchange.golden` for the usage asked for. A header that says `E` makes the key exportable, `S` and `N` do
    /// not. Answer: `KeyCreated`.
    ImportKeyBlock = 25 {
        /// The protection key.
        under: KeyBlock<KeyBlockProtection>,
        /// What it is for.
        usage: Usage,
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// When it may be used.
        validity: Validity,
        /// The key block, ASCII.
        block: Vec<u8>,
    },
    /// Lets an exportable key out as a TR-31 key block under a protection key that is at least as strong. Answer:
    /// `KeyBlockExported`.
    ExportKeyBlock = 26 {
        /// The key.
        key: AnyKeyBlock,
        /// The protection key.
        under: KeyBlock<KeyBlockProtection>,
        /// Version of the block: B, D or E.
        version: KeyBlockVersion,
        /// Whether its holder may export it further; otherwise its header says `N`.
        exportable_there: bool,
    },
    /// Derives the initial DUKPT key of one device. It is exportable, to be loaded into that device, and lives no
    /// longer than its base key. Answer: `KeyCreated`.
    DeriveInitialKey = 27 {
        /// The base derivation key.
        base: KeyBlock<BaseDerivation>,
        /// Key set and device: the leading eight bytes of the key serial number, TDES counter bits zero.
        initial_key_id: [u8; 8],
        /// The device's name.
        owner: Owner,
        /// Version.
        version: u32,
    },
    /// Check value of any key by a named method. Answer: `KeyCheckBytes`.
    CheckKeyValue = 28 {
        /// The key.
        key: AnyKeyBlock,
        /// Method.
        method: CheckMethod,
    },
    /// Re-enciphers a PIN for the same account, by the translation matrix. Answer: `PinBlockTranslated`.
    TranslatePinBlock = 29 {
        /// The block as it came.
        pin: EncipheredPinBlock,
        /// The account it is bound to, before and after.
        account: SealedAccount,
        /// The key it leaves under.
        to: KeyBlock<PinEncryption>,
        /// The format it leaves in.
        to_format: PinFormat,
    },
    /// Verifies a PIN of any format and source against an issuer's keyed reference. Answer: `PinVerdict`.
    VerifyPinReference = 30 {
        /// The block.
        pin: EncipheredPinBlock,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key of references.
        reference_key: KeyBlock<PinReferenceKey>,
        /// The stored reference.
        reference: [u8; 16],
    },
    /// Verifies a PIN against a Visa PIN verification value. Answer: `PinVerdict`.
    VerifyPinVerificationValue = 31 {
        /// The block.
        pin: EncipheredPinBlock,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key.
        key: KeyBlock<PinVerificationValueKey>,
        /// PIN verification key index, 0 to 9.
        key_index: u8,
        /// The stored value: four ASCII digits.
        value: [u8; 4],
    },
    /// Verifies a PIN against an IBM 3624 offset. Answer: `PinVerdict`.
    VerifyPinOffset = 32 {
        /// The block.
        pin: EncipheredPinBlock,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key.
        key: KeyBlock<PinOffsetKey>,
        /// The decimalisation table.
        table: DecimalisationTable,
        /// Which account digits are validated.
        validation: ValidationData,
        /// The stored offset: as many ASCII digits as the PIN has.
        offset: Vec<u8>,
    },
    /// Makes a PIN verification value for an issuer's files. Answer: `PinVerificationValue`.
    MakePinVerificationValue = 33 {
        /// The block.
        pin: EncipheredPinBlock,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key.
        key: KeyBlock<PinVerificationValueKey>,
        /// PIN verification key index, 0 to 9.
        key_index: u8,
    },
    /// Makes an IBM 3624 offset for an issuer's files. Answer: `PinOffset`.
    MakePinOffset = 34 {
        /// The block.
        pin: EncipheredPinBlock,
        /// The account it is bound to.
        account: SealedAccount,
        /// The issuer's key.
        key: KeyBlock<PinOffsetKey>,
        /// The decimalisation table.
        table: DecimalisationTable,
        /// Which account digits are validated.
        validation: ValidationData,
    },
    /// Makes a CMAC or HMAC, untruncated. Answer: `AuthenticationCode`.
    MakeAuthenticationCode = 35 {
        /// The key.
        key: AuthenticationKey,
        /// The message.
        message: SecretBytes,
    },
    /// Verifies a CMAC or HMAC in constant time; a truncated one must be at least half as long as the whole. Answer:
    /// `MacVerdict`.
    VerifyAuthenticationCode = 36 {
        /// The key.
        key: AuthenticationKey,
        /// The message.
        message: SecretBytes,
        /// The code as it came.
        code: Vec<u8>,
    },
    /// Makes a MAC under a transaction's DUKPT key, untruncated. Answer: `AuthenticationCode`.
    MakeDukptMac = 37 {
        /// The transaction's keys.
        key: DukptKey,
        /// Whose message it is.
        direction: DukptDirection,
        /// Algorithm.
        algorithm: DukptMacAlgorithm,
        /// The message.
        message: SecretBytes,
    },
    /// Verifies a device's MAC under its transaction's DUKPT key, and moves the device's mark if it is right. A MAC
    /// below the mark is verified too, so that a clone shows itself. Answer: `DukptMacVerdict`.
    VerifyDukptMac = 38 {
        /// The transaction's keys, with the device's mark.
        key: DukptKey,
        /// Algorithm.
        algorithm: DukptMacAlgorithm,
        /// The message.
        message: SecretBytes,
        /// The MAC as it came, at least half as long as the whole.
        mac: Vec<u8>,
    },
    /// Judges a serial number against the device's mark and moves the mark. Only for messages that were authenticated
    /// in another way: a forged serial number would lock its device out. Answer: `KsnJudged`.
    JudgeKsn = 39 {
        /// The transaction's keys, with the device's mark.
        key: DukptKey,
    },
    /// Opens account data under a transaction's DUKPT data key into a token. Answer: `AccountOpened`.
    OpenDukptAccount = 40 {
        /// The transaction's keys.
        key: DukptKey,
        /// What the data is.
        form: AccountDataForm,
        /// Initial vector of the CBC chain, one block; all zero if the device uses none.
        initial_vector: Vec<u8>,
        /// The enciphered data, whole blocks.
        enciphered: Vec<u8>,
        /// Field 14.
        expiry: Option<Expiry>,
        /// Today as the host sees it, YYMM.
        today: Expiry,
    },
    /// Verifies an ARQC of any scheme and, if it is right, makes tag 91. Answer: `IssuerAuthentication`.
    VerifyArqc = 41 {
        /// The issuer's master key.
        master: KeyBlock<IssuerMasterAc>,
        /// The account.
        account: SealedAccount,
        /// Card, counter and cryptogram.
        transaction: CardTransaction,
        /// Unpredictable number (9F37).
        unpredictable_number: [u8; 4],
        /// The cryptogram's input without padding.
        data: Vec<u8>,
        /// What the issuer says if the cryptogram is right.
        response: IssuerResponse,
    },
    /// MAC of one issuer script command under the scheme's script session key. Answer: `ScriptMac`.
    MakeIssuerScriptMac = 42 {
        /// The issuer's master key.
        master: KeyBlock<IssuerMasterMac>,
        /// The account.
        account: SealedAccount,
        /// Card, counter and cryptogram.
        transaction: CardTransaction,
        /// Which command of the transaction's scripts, from 0: Mastercard counts the cryptogram up with each.
        command_index: u8,
        /// CLA INS P1 P2 Lc.
        header: [u8; 5],
        /// Command data without the MAC.
        data: Vec<u8>,
    },
    /// Enciphers the data of one issuer script command. Answer: `ScriptEnciphered`.
    EncipherIssuerScript = 43 {
        /// The issuer's master key.
        master: KeyBlock<IssuerMasterEncipherment>,
        /// The account.
        account: SealedAccount,
        /// Card, counter and cryptogram.
        transaction: CardTransaction,
        /// Which command of the transaction's scripts, from 0.
        command_index: u8,
        /// The data.
        data: SecretBytes,
    },
    /// Verifies a static card code (CVV, iCVV, CVV2). Answer: `CardCodeVerdict`.
    VerifyCardCode = 44 {
        /// The issuer's key.
        key: KeyBlock<CardVerificationKey>,
        /// The account.
        account: SealedAccount,
        /// Expiry.
        expiry: Expiry,
        /// How the expiry stands in the input.
        order: ExpiryOrder,
        /// Which code.
        kind: CardCode,
        /// The code as it came: three ASCII digits.
        code: SecretBytes,
    },
    /// Makes a static card code for an issuer's cards. Answer: `CardCodeMade`.
    MakeCardCode = 45 {
        /// The issuer's key.
        key: KeyBlock<CardVerificationKey>,
        /// The account.
        account: SealedAccount,
        /// Expiry.
        expiry: Expiry,
        /// How the expiry stands in the input.
        order: ExpiryOrder,
        /// Which code.
        kind: CardCode,
    },
    /// Verifies a dynamic card code (CVC3, dCVV). Answer: `CardCodeVerdict`.
    VerifyDynamicCode = 46 {
        /// The issuer's master key.
        master: KeyBlock<IssuerMasterDynamicNumber>,
        /// The account.
        account: SealedAccount,
        /// Expiry, for dCVV.
        expiry: Expiry,
        /// The transaction's data.
        kind: DynamicCode,
        /// The code as it came: three to five ASCII digits.
        code: SecretBytes,
    },
    /// Seals account data for later commands. Answer: `AccountSealed`.
    SealAccount = 47 {
        /// The account number.
        pan: Pan,
        /// Expiry, if known.
        expiry: Option<Expiry>,
    },
    /// The token of a sealed account. Tokens are opaque: the bank's digits travel beside them, truncated. Answer:
    /// `Token`.
    TokeniseAccount = 48 {
        /// The account.
        account: SealedAccount,
    },
    /// Brings in the first key block protection key of a partner, enciphered to the transport key with RSA-OAEP
    /// (SHA-256). RSA-3072 carries keys of up to 128 bits of strength: TDES or AES-128. Answer: `KeyCreated`.
    ImportProtectionKey = 49 {
        /// Whose.
        owner: Owner,
        /// Version.
        version: u32,
        /// Algorithm and length.
        algorithm: Algorithm,
        /// When it may be used.
        validity: Validity,
        /// The OAEP ciphertext.
        enciphered: Vec<u8>,
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
