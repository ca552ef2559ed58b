//! What the outside tells a PED, and what it asks the outside to do.

use core::fmt;
use keys::{KeyBlock, KeyCheckValue, TerminalMaster};
use pedlink::{PedCommand, PedReply};
use types::{Amount, Pin, SecretBytes};

/// The card does not answer any more: removed, mute or out of contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardGone;

/// What the keypad gave.
#[derive(Debug)]
pub enum PinEntry {
    /// A PIN.
    Pin(Pin),
    /// The cardholder pressed enter without digits, or the cashier let the PIN pass.
    Bypass,
    /// The cardholder pressed cancel.
    Cancel,
    /// Nobody typed.
    Timeout,
}

/// What the outside tells a PED. Does not print what a card or a chip's generator said.
pub enum Event {
    /// The machine starts or was restored. Every session is gone.
    PowerOn,
    /// The till asks. Every command gets its answer as [`Effect::ToTill`].
    Till(PedCommand),
    /// A card is in the reader and powered, after [`Effect::PowerOnCard`]. Holds its answer to reset.
    CardInserted(Vec<u8>),
    /// The card's answer to [`Effect::Transmit`]: data and status word. A reader that speaks T=0 resolves `61xx` and
    /// `6Cxx` itself.
    CardResponse(Result<Vec<u8>, CardGone>),
    /// The keypad's answer to [`Effect::AskPin`].
    PinEntered(PinEntry),
    /// The cardholder's answer to [`Effect::ChooseApplication`]: an index into its labels, or `None` to give up.
    ApplicationChosen(Option<usize>),
    /// Random bytes, as many as [`Effect::NeedEntropy`] asked for. They come from the chip's generator, in the simulator from
    /// its seed; fewer than asked are not used.
    Entropy(SecretBytes),
    /// Enrolment, first half: makes a KEK in the vault and enciphers it to the host vault's transport public key (SubjectPublicKeyInfo
    /// DER). Answer: [`Effect::TransportKey`].
    MakeTransportKey {
        /// The host vault's public key.
        recipient: Vec<u8>,
    },
    /// Enrolment, second half: the terminal master key enciphered under that KEK. Working keys of an older master key are
    /// gone. Answer: [`Effect::MasterKeyInstalled`].
    InstallMasterKey {
        /// TDES ECB cryptogram, 16 bytes.
        enciphered: Vec<u8>,
        /// Check value of the clear key.
        check: KeyCheckValue,
        /// Version that the host gave it.
        version: u32,
    },
    /// A master key that is already a block of this vault (a mother POS, a test). Answer: [`Effect::MasterKeyInstalled`].
    AdoptMasterKey(KeyBlock<TerminalMaster>),
    /// Remote key load, trust: pins the key distribution host's public key for good (`docs/wire/remote-load.md`). Answer:
    /// [`Effect::Introduced`].
    Introduce {
        /// The distribution key of the host's vault.
        host: [u8; 32],
    },
    /// Remote key load, first pass. Answer: [`Effect::LoadRequest`].
    BeginMasterKeyLoad,
    /// Remote key load, second pass: a newer master key, kept beside the present one until working keys come under it. Working
    /// keys stay. Answer: [`Effect::MasterKeyInstalled`].
    AcceptMasterKey {
        /// The host's token.
        token: Vec<u8>,
    },
    /// As [`Event::AcceptMasterKey`], of a key that is already a block of this vault (a test).
    StageMasterKey(KeyBlock<TerminalMaster>),
    /// The deadline has come.
    Wake,
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::PowerOn => formatter.write_str("PowerOn"),
            Event::Till(command) => formatter.debug_tuple("Till").field(command).finish(),
            Event::CardInserted(_) => formatter.write_str("CardInserted"),
            Event::CardResponse(Ok(bytes)) => write!(formatter, "CardResponse({} bytes ****)", bytes.len()),
            Event::CardResponse(Err(CardGone)) => formatter.write_str("CardResponse(CardGone)"),
            Event::PinEntered(entry) => formatter.debug_tuple("PinEntered").field(entry).finish(),
            Event::ApplicationChosen(index) => formatter.debug_tuple("ApplicationChosen").field(index).finish(),
            Event::Entropy(random) => formatter.debug_tuple("Entropy").field(random).finish(),
            Event::MakeTransportKey { .. } => formatter.write_str("MakeTransportKey"),
            Event::InstallMasterKey { check, version, .. } => {
                write!(formatter, "InstallMasterKey(check value {check}, version {version})")
            }
            Event::AdoptMasterKey(key) => formatter.debug_tuple("AdoptMasterKey").field(key).finish(),
            Event::Introduce { .. } => formatter.write_str("Introduce"),
            Event::BeginMasterKeyLoad => formatter.write_str("BeginMasterKeyLoad"),
            Event::AcceptMasterKey { token } => write!(formatter, "AcceptMasterKey({} bytes)", token.len()),
            Event::StageMasterKey(key) => formatter.debug_tuple("StageMasterKey").field(key).finish(),
            Event::Wake => formatter.write_str("Wake"),
        }
    }
}

/// What the PED's own display says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prompt {
    /// Insert the card.
    InsertCard,
    /// The chip is working: leave the card in.
    DoNotRemove,
    /// The card may go.
    RemoveCard,
    /// Nothing is under way.
    Idle,
}

/// What the PED asks the outside to do.
pub enum Effect {
    /// An answer to the till.
    ToTill(Box<PedReply>),
    /// Wait for a card, power it, and tell its answer to reset by [`Event::CardInserted`] ([`Event::CardResponse`] with [`CardGone`] if
    /// the reader gives up).
    PowerOnCard,
    /// Send this command APDU to the card. It may hold a PIN (VERIFY): never log it.
    Transmit(SecretBytes),
    /// Remove power; also stops waiting for a card.
    PowerOffCard,
    /// Open the secure keypad.
    AskPin {
        /// Amount to show; `None` where no money moves (balance).
        amount: Option<Amount>,
        /// Tries that the card says are left, for an offline PIN.
        tries_left: Option<u8>,
        /// Whether the PIN goes to the issuer; otherwise the card checks it.
        online: bool,
        /// Whether the PIN before this one was wrong.
        retry: bool,
    },
    /// Close the keypad and forget what was typed.
    CloseKeypad,
    /// Let the cardholder choose ([`Event::ApplicationChosen`]).
    ChooseApplication(Vec<String>),
    /// Show this on the PED's own display.
    Display(Prompt),
    /// Give at least this many random bytes ([`Event::Entropy`]), at most [`crate::ENTROPY_BYTES_MAX`].
    NeedEntropy {
        /// How many.
        bytes: u16,
    },
    /// The enrolment KEK for the host's vault, or why there is none.
    TransportKey(Result<TransportKey, keys::Refusal>),
    /// The terminal's identity for the host to keep, or why the host is not trusted.
    Introduced(Result<[u8; 32], keys::Refusal>),
    /// The request for a master key, or why there is none.
    LoadRequest(Result<Vec<u8>, keys::Refusal>),
    /// Check value of the terminal master key that was installed or staged, or why it was not.
    MasterKeyInstalled(Result<KeyCheckValue, keys::Refusal>),
}

/// A KEK on its way to the host's vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransportKey {
    /// RSA-OAEP cryptogram.
    pub enciphered: Vec<u8>,
    /// Check value of the clear KEK.
    pub check: KeyCheckValue,
}

impl fmt::Debug for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::ToTill(reply) => formatter.debug_tuple("ToTill").field(reply).finish(),
            Effect::Transmit(apdu) => write!(formatter, "Transmit({} bytes ****)", apdu.len()),
            Effect::PowerOnCard => formatter.write_str("PowerOnCard"),
            Effect::PowerOffCard => formatter.write_str("PowerOffCard"),
            Effect::AskPin { amount, tries_left, online, retry } => {
                write!(
                    formatter,
                    "AskPin(amount {amount:?}, tries left {tries_left:?}, online {online}, retry {retry})"
                )
            }
            Effect::CloseKeypad => formatter.write_str("CloseKeypad"),
            Effect::ChooseApplication(labels) => formatter.debug_tuple("ChooseApplication").field(labels).finish(),
            Effect::Display(prompt) => formatter.debug_tuple("Display").field(prompt).finish(),
            Effect::NeedEntropy { bytes } => write!(formatter, "NeedEntropy({bytes} bytes)"),
            Effect::TransportKey(result) => formatter.debug_tuple("TransportKey").field(result).finish(),
            Effect::Introduced(result) => {
                write!(formatter, "Introduced({:?})", result.as_ref().map(|_| "a public key"))
            }
            Effect::LoadRequest(result) => write!(formatter, "LoadRequest({:?})", result.as_ref().map(Vec::len)),
            Effect::MasterKeyInstalled(result) => formatter.debug_tuple("MasterKeyInstalled").field(result).finish(),
        }
    }
}
