//! What a vault is made of: the master key, and in a host's vault the key of its transport envelope.

use crate::entropy::{Entropy, EntropyFailure};
use crate::secret_memory::{SecretBox, SecretBytesBox};
use crate::transport;
use machine::wire::{Encode, Malformed, Reader, Writer};
use paycrypto::mac::HmacSha256Key;
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

/// The secrets that a vault file holds and everything else derives from. In secret memory; never prints.
#[derive(Debug)]
pub struct MasterSecrets {
    pub(crate) master_key: SecretBox<[u8; MASTER_KEY_BYTES]>,
    /// RSA private key, PKCS#8.
    pub(crate) transport_key: Option<SecretBytesBox>,
    /// Whether the vault has had an audit trail from its first day, and does not open without one.
    pub(crate) audited: bool,
}

fn empty_master_key() -> SecretBox<[u8; MASTER_KEY_BYTES]> {
    SecretBox::new(|| [0; MASTER_KEY_BYTES])
}

impl MasterSecrets {
    /// Draws fresh secrets.
    ///
    /// # Errors
    /// [`EntropyFailure`] if no random bytes or no RSA key could be had.
    pub fn generate(entropy: &dyn Entropy, kind: VaultKind) -> Result<Self, EntropyFailure> {
        let mut master_key = empty_master_key();
        entropy.fill(master_key.expose_mut())?;
        let transport_key = match kind {
            VaultKind::Host => Some(transport::generate()?),
            VaultKind::Terminal => None,
        };
        Ok(Self { master_key, transport_key, audited: false })
    }

    /// A vault with this master key and no transport key.
    #[must_use]
    pub fn from_master_key(master_key: Secret<MASTER_KEY_BYTES>) -> Self {
        let mut kept = empty_master_key();
        kept.expose_mut().copy_from_slice(master_key.expose());
        Self { master_key: kept, transport_key: None, audited: false }
    }

    /// The master key as the HMAC that every other key derives from. Made where nothing of it stays on the stack.
    pub(crate) fn master_state(&self) -> SecretBox<HmacSha256Key> {
        SecretBox::new(|| HmacSha256Key::new(self.master_key.expose()))
    }

    /// Adds a transport key (RSA, PKCS#8 DER).
    #[must_use]
    pub fn with_transport_key(self, pkcs8: SecretBytes) -> Self {
        Self { transport_key: Some(SecretBytesBox::copy_from(pkcs8.expose())), ..self }
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
        let mut master_key = empty_master_key();
        master_key.expose_mut().copy_from_slice(reader.raw(MASTER_KEY_BYTES, "a master key")?);
        let transport_key = reader.option(Reader::bytes)?.map(SecretBytesBox::copy_from);
        let audited = version > VERSION_1 && reader.bool()?;
        Ok(Self { master_key, transport_key, audited })
    }
}
