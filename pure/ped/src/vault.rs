//! The vault as typed calls: one command, one answer of the right kind, or a refusal.

use core::fmt;
use keys::{
    Algorithm, Command, KeyBlock, KeyCheckValue, KeyEncryption, KeyService, MacAlgorithm, MessageMac, Owner,
    PinEncryption, Refusal, Reply, TerminalMaster, TrackEncryption, Usage, WorkingKeys,
};
use types::{CardToken, Pan, Pin, SecretBytes, TerminalId, Track2};

/// This PED's vault.
pub(crate) struct Vault(Box<dyn KeyService + Send>);

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vault")
    }
}

/// Takes the one wanted kind of answer out of a reply; any other kind means that the vault is not well.
macro_rules! wanted {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply? {
            $pattern => Ok($value),
            _ => Err(Refusal::Unavailable),
        }
    };
}

impl Vault {
    pub(crate) fn new(service: Box<dyn KeyService + Send>) -> Self {
        Self(service)
    }

    fn ask(&mut self, command: Command) -> Result<Reply, Refusal> {
        let mut replies = self.0.execute(&[command]);
        match (replies.pop(), replies.is_empty()) {
            (Some(Reply::Refused { why }), true) => Err(why),
            (Some(reply), true) => Ok(reply),
            _ => Err(Refusal::Unavailable),
        }
    }

    /// Makes the enrolment KEK: its block, its RSA-OAEP cryptogram, its check value.
    pub(crate) fn make_transport_key(
        &mut self,
        terminal: TerminalId,
        version: u32,
        recipient: Vec<u8>,
    ) -> Result<(KeyBlock<KeyEncryption>, Vec<u8>, KeyCheckValue), Refusal> {
        let owner = Owner::of_terminal(terminal);
        let reply = self.ask(Command::MakeTransportKey { owner, version, recipient });
        let (key, enciphered, check) =
            wanted!(reply, Reply::TransportKeyMade { key, enciphered, check } => (key, enciphered, check))?;
        Ok((key.typed().map_err(|_| Refusal::WrongKey)?, enciphered, check))
    }

    /// Brings the terminal master key in under the enrolment KEK.
    pub(crate) fn import_master_key(
        &mut self,
        terminal: TerminalId,
        version: u32,
        under: KeyBlock<KeyEncryption>,
        enciphered: Vec<u8>,
        check: KeyCheckValue,
    ) -> Result<KeyBlock<TerminalMaster>, Refusal> {
        let reply = self.ask(Command::ImportKey {
            usage: Usage::TerminalMaster,
            algorithm: Algorithm::TdesDouble,
            owner: Owner::of_terminal(terminal),
            version,
            under,
            enciphered,
            check,
        });
        wanted!(reply, Reply::KeyCreated { key, .. } => key)?.typed().map_err(|_| Refusal::WrongKey)
    }

    /// Check value of the terminal master key.
    pub(crate) fn check_master_key(&mut self, key: &KeyBlock<TerminalMaster>) -> Result<KeyCheckValue, Refusal> {
        wanted!(self.ask(Command::CheckKey { key: key.any().clone() }), Reply::KeyCheck { check } => check)
    }

    /// Trusts a key distribution host for good.
    pub(crate) fn pin_distribution_host(&mut self, public_key: [u8; 32]) -> Result<(), Refusal> {
        wanted!(self.ask(Command::PinDistributionHost { public_key }), Reply::Done {} => ())
    }

    /// The public key by which a host knows this terminal.
    pub(crate) fn identity(&mut self) -> Result<[u8; 32], Refusal> {
        wanted!(self.ask(Command::VaultIdentity {}), Reply::VaultIdentity { terminal, .. } => terminal)
    }

    /// First pass of a remote load.
    pub(crate) fn begin_remote_load(&mut self, terminal: TerminalId) -> Result<Vec<u8>, Refusal> {
        let owner = Owner::of_terminal(terminal);
        wanted!(self.ask(Command::BeginRemoteLoad { owner }), Reply::LoadRequest { request } => request)
    }

    /// Takes a master key out of a token.
    pub(crate) fn accept_load_token(&mut self, token: Vec<u8>) -> Result<KeyBlock<TerminalMaster>, Refusal> {
        let reply = self.ask(Command::AcceptLoadToken { token });
        wanted!(reply, Reply::KeyCreated { key, .. } => key)?.typed().map_err(|_| Refusal::WrongKey)
    }

    /// Reads a delivery of field 62.
    pub(crate) fn load_working_keys(
        &mut self,
        master: KeyBlock<TerminalMaster>,
        version: u32,
        delivery: Vec<u8>,
    ) -> Result<WorkingKeys, Refusal> {
        let reply = self.ask(Command::LoadWorkingKeys { master, version, delivery });
        wanted!(reply, Reply::WorkingKeysMade { keys, .. } => keys)
    }

    /// F64 of a message.
    pub(crate) fn make_mac(
        &mut self,
        key: &KeyBlock<MessageMac>,
        algorithm: MacAlgorithm,
        message: &[u8],
    ) -> Result<[u8; 8], Refusal> {
        let message = SecretBytes::copy_from(message);
        wanted!(self.ask(Command::MakeMac { key: key.clone(), algorithm, message }), Reply::Mac { mac } => mac)
    }

    /// Whether F64 of a message is right.
    pub(crate) fn verify_mac(
        &mut self,
        key: &KeyBlock<MessageMac>,
        algorithm: MacAlgorithm,
        message: &[u8],
        mac: [u8; 8],
    ) -> Result<bool, Refusal> {
        let command = Command::VerifyMac { key: key.clone(), algorithm, message: SecretBytes::copy_from(message), mac };
        wanted!(self.ask(command), Reply::MacVerdict { right } => right)
    }

    /// F52; the PIN is consumed and wiped.
    pub(crate) fn encipher_pin(
        &mut self,
        key: &KeyBlock<PinEncryption>,
        pin: Pin,
        pan: &Pan,
    ) -> Result<[u8; 8], Refusal> {
        let command = Command::EncipherPin { key: key.clone(), pin, pan: pan.duplicate() };
        wanted!(self.ask(command), Reply::PinBlock { block } => block)
    }

    /// F35, enciphered.
    pub(crate) fn encipher_track(
        &mut self,
        key: &KeyBlock<TrackEncryption>,
        track2: &Track2,
    ) -> Result<SecretBytes, Refusal> {
        let command = Command::EncipherTrack { key: key.clone(), track2: track2.duplicate() };
        wanted!(self.ask(command), Reply::Track { track2 } => track2)
    }

    /// This terminal's token of a card.
    pub(crate) fn tokenise(&mut self, pan: &Pan) -> Result<CardToken, Refusal> {
        wanted!(self.ask(Command::Tokenise { pan: pan.duplicate() }), Reply::Token { token } => token)
    }

    /// Seals bytes to a label.
    pub(crate) fn seal(&mut self, label: Vec<u8>, plaintext: SecretBytes) -> Result<Vec<u8>, Refusal> {
        wanted!(self.ask(Command::Seal { label, plaintext }), Reply::Sealed { sealed } => sealed)
    }

    /// Opens bytes sealed to the same label.
    pub(crate) fn unseal(&mut self, label: Vec<u8>, sealed: Vec<u8>) -> Result<SecretBytes, Refusal> {
        wanted!(self.ask(Command::Unseal { label, sealed }), Reply::Unsealed { plaintext } => plaintext)
    }
}
