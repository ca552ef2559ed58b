//! What a vault is made of: the master key, and in a host's vault the key of its transport envelope.

use crate::entropy::{Entropy, EntropyFailure};
use crate::transport;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Secret, SecretBytes};

/// Length of the master key in bytes: AES-256 strength.
pub const MASTER_KEY_BYTES: usize = 32;

/// Of vaults made before there was an audit.
const VERSION_1: u8 = 1;
const VERSION: u8 = 2;

/// Whose vault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultKind {
    /// A host's: other vaults send it keys, so it has a transport key.
    Host,
    /// A terminal's: it only sends.
    Terminal,
}

/// The secrets that a vault file holds and everything else derives from. Never prints.
#[derive(Debug)]
pub struct MasterSecrets {
    pub(crate) master_key: Secret<MASTER_KEY_BYTES>,
    /// RSA private key, PKCS#8.
    pub(crate) transport_key: Option<SecretBytes>,
    /// Whether the vault has had an audit trail from its first day, and does not open without one.
    pub(crate) audited: bool,
}

impl MasterSecrets {
    /// Draws fresh secrets.
    ///
    /// # Errors
    /// [`EntropyFailure`] if no random bytes or no RSA key could be had.
    pub fn generate(entropy: &dyn Entropy, kind: VaultKind) -> Result<Self, EntropyFailure> {
        let mut bytes = [0; MASTER_KEY_BYTES];
        entropy.fill(&mut bytes)?;
        let secrets = Self::from_master_key(Secret::take(&mut bytes));
        match kind {
            VaultKind::Host => Ok(secrets.with_transport_key(transport::generate()?)),
            VaultKind::Terminal => Ok(secrets),
        }
    }

    /// A vault with this master key and no transport key.
    #[must_use]
    pub fn from_master_key(master_key: Secret<MASTER_KEY_BYTES>) -> Self {
        Self { master_key, transport_key: None, audited: false }
    }

    /// Adds a transport key (RSA, PKCS#8 DER).
    #[must_use]
    pub fn with_transport_key(self, pkcs8: SecretBytes) -> Self {
        Self { transport_key: Some(pkcs8), ..self }
    }

    /// Makes the audit trail a part of the vault: it will not open without one. To be said before the vault file is
    /// written and after the trail was begun ([`crate::begin_audit`]).
    #[must_use]
    pub fn with_audit(self) -> Self {
        Self { audited: true, ..self }
    }
}

impl Encode for MasterSecrets {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).raw(self.master_key.expose());
        writer.option(self.transport_key.as_ref(), |writer, key| {
            writer.bytes(key.expose());
        });
        writer.bool(self.audited);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = reader.u8()?;
        if !(VERSION_1..=VERSION).contains(&version) {
            return Err(reader.malformed("vault secrets version 1 or 2"));
        }
        let master_key = reader.raw(MASTER_KEY_BYTES, "a master key")?;
        let master_key = Secret::copy_from(master_key).ok_or_else(|| reader.malformed("a master key"))?;
        let transport_key = reader.option(Reader::secret)?;
        let audited = version > VERSION_1 && reader.bool()?;
        Ok(Self { master_key, transport_key, audited })
    }
}
