//! The PED's vault on this machine, and the seal that it puts on every journal record.

use keys::{Caller, Command, CustodyAddress, CustodyKind, KeyService, MasterCustody, Reply};
use machine::MachineId;
use std::path::Path;
use std::sync::Arc;
use store_sqlite::{RecordSeal, SealRefused};
use types::SecretBytes;
use vault_soft::{
    AuditError, AuditFiles, LocalKeys, MasterSecrets, Passphrase, SoftVault, SystemClock, SystemEntropy,
    VaultFileError, VaultKind,
};

const PASSPHRASE_FILE: &str = "vault.passphrase";
const VAULT_FILE: &str = "vault";
/// One line: the address of the TPM that keeps the vault. Without the file, a passphrase beside the vault does.
const CUSTODY_FILE: &str = "vault.custody";

/// A terminal's vault, shared by the PED and the journals' seals.
#[derive(Clone)]
pub struct Custody(Arc<SoftVault>);

impl Custody {
    /// Opens the vault in a folder, or makes it: in the custody that `vault.custody` names (docs/how-to/custody.md), or
    /// with a generated passphrase beside it (readable by its owner only).
    pub fn open(folder: &Path) -> Result<Self, VaultFileError> {
        let named = folder.join(CUSTODY_FILE);
        if named.exists() {
            return Self::open_under(folder, &mut *named_custody(&named)?);
        }
        Self::open_with_passphrase(folder)
    }

    fn open_with_passphrase(folder: &Path) -> Result<Self, VaultFileError> {
        let (passphrase_path, vault_path) = (folder.join(PASSPHRASE_FILE), folder.join(VAULT_FILE));
        // One drawn here is known to be strong, and the vault that it makes opens quickly ever after.
        let passphrase = match passphrase_path.exists() {
            true => Passphrase::from_file(&passphrase_path)?,
            false => Passphrase::generate_file(&passphrase_path)?,
        };
        if !vault_path.exists() {
            let secrets =
                MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).map_err(|_| VaultFileError::Entropy)?;
            vault_soft::vault_file::create(&vault_path, &passphrase, &secrets)?;
        }
        let secrets = vault_soft::vault_file::open(&vault_path, &passphrase)?;
        Ok(Self::recording(secrets, &vault_path)?)
    }

    /// A vault that records enrolment and key loading beside its file; the first record makes the trail.
    fn recording(secrets: MasterSecrets, vault_path: &Path) -> Result<Self, AuditError> {
        let medium = Box::new(AuditFiles::open_when_needed(vault_path)?);
        let (entropy, clock) = (Box::new(SystemEntropy), Box::new(SystemClock::default()));
        Ok(Self(Arc::new(SoftVault::with_audit(secrets, entropy, clock, medium, None)?)))
    }

    /// Opens the vault in a folder that this custody (a TPM) keeps, or makes it and the custody's key.
    pub fn open_under(folder: &Path, custody: &mut dyn MasterCustody) -> Result<Self, VaultFileError> {
        let vault_path = folder.join(VAULT_FILE);
        if !vault_path.exists() {
            let prepared = custody.prepare();
            prepared.map_err(|failure| VaultFileError::Custody { custody: custody.describe().to_string(), failure })?;
            let secrets =
                MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).map_err(|_| VaultFileError::Entropy)?;
            vault_soft::vault_file::create_under(&vault_path, custody, &secrets)?;
        }
        let secrets = vault_soft::vault_file::open_under(&vault_path, custody)?;
        Ok(Self::recording(secrets, &vault_path)?)
    }

    /// A vault of these secrets, in memory.
    pub fn around(secrets: MasterSecrets) -> Self {
        Self(Arc::new(SoftVault::new(secrets, Box::new(SystemEntropy), Box::new(SystemClock::default()))))
    }

    /// The vault as the PED speaks to it.
    pub fn ped(&self) -> LocalKeys {
        LocalKeys::new(Arc::clone(&self.0), Caller::Ped)
    }

    /// A seal for a journal.
    pub fn seal(&self) -> Box<dyn RecordSeal> {
        Box::new(JournalSeal(self.clone()))
    }
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> VaultFileError {
    VaultFileError::Io { path: path.to_owned(), cause: std::io::Error::other(why.to_string()) }
}

fn named_custody(path: &Path) -> Result<Box<dyn MasterCustody>, VaultFileError> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, error))?;
    let address = CustodyAddress::parse(text.trim()).map_err(|error| unusable(path, error))?;
    match address.kind() {
        CustodyKind::Tpm => of_tpm(path, address),
        kind => {
            Err(unusable(path, format_args!("a terminal's vault is kept by a TPM or a passphrase, not by a {kind}")))
        }
    }
}

#[cfg(feature = "tpm")]
fn of_tpm(path: &Path, address: CustodyAddress) -> Result<Box<dyn MasterCustody>, VaultFileError> {
    use vault_soft::{CUSTODY_TIMEOUT, TimedCustody, read_secret_line};
    use vault_tpm::{TpmCustody, TpmSettings};
    let read = |file: &Path| read_secret_line(file).map_err(|error| error.to_string());
    let settings = TpmSettings::from_address(address, &read).map_err(|error| unusable(path, error))?;
    let timed = TimedCustody::start(Box::new(TpmCustody::new(settings)), CUSTODY_TIMEOUT);
    Ok(Box::new(timed.map_err(|error| unusable(path, error))?))
}

#[cfg(not(feature = "tpm"))]
fn of_tpm(path: &Path, _: CustodyAddress) -> Result<Box<dyn MasterCustody>, VaultFileError> {
    Err(unusable(path, "this program was built without TPM: build it with --features tpm"))
}

/// Seals journal records under the terminal's vault, each bound to its place.
pub struct JournalSeal(Custody);

fn label(machine: MachineId, sequence: u64) -> Vec<u8> {
    format!("journal/{machine}/{sequence}").into_bytes()
}

impl RecordSeal for JournalSeal {
    fn seal(&self, machine: MachineId, sequence: u64, plain: &[u8]) -> Vec<u8> {
        let command = Command::Seal { label: label(machine, sequence), plaintext: SecretBytes::copy_from(plain) };
        match self.0.ped().execute(&[command]).pop() {
            Some(Reply::Sealed { sealed }) => sealed,
            // The only cause is a random number source that fails. A record must not be written in the clear.
            _ => panic!("the vault could not seal a record"),
        }
    }

    fn open(&self, machine: MachineId, sequence: u64, sealed: &[u8]) -> Result<Vec<u8>, SealRefused> {
        let command = Command::Unseal { label: label(machine, sequence), sealed: sealed.to_vec() };
        match self.0.ped().execute(&[command]).pop() {
            Some(Reply::Unsealed { plaintext }) => Ok(plaintext.expose().to_vec()),
            _ => Err(SealRefused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_record_that_a_journal_takes_can_be_sealed() {
        let mut key = [7; vault_soft::MASTER_KEY_BYTES];
        let seal = Custody::around(MasterSecrets::from_master_key(types::Secret::take(&mut key))).seal();
        let plain = vec![5; machine::wire::BYTES_MAX - store_sqlite::SEAL_OVERHEAD_BYTES_MAX];
        let till = MachineId::new("till").unwrap();
        let sealed = seal.seal(till, 1, &plain);
        assert!(sealed.len() <= machine::wire::BYTES_MAX);
        assert_eq!(seal.open(till, 1, &sealed).unwrap(), plain);
        assert!(seal.open(till, 2, &sealed).is_err());
    }
}
