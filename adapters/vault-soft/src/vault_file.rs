//! The sealed file that a vault's secrets live in.
//!
//! Version 2: magic and version (8 bytes), custody (1), length (2) and bytes of the data key as the custody sealed it,
//! then the secrets sealed by AES-256-GCM-SIV under the data key with everything before as associated data. Version 1
//! was sealed by a passphrase directly ([`PassphraseCustody`] reads it). Written to a temporary name, fsynced,
//! published, directory fsynced: a power cut leaves the old file or the new one.

use crate::audit_trail::AuditError;
use crate::entropy::{Entropy, SystemEntropy};
use crate::passphrase::Passphrase;
use crate::passphrase_custody::PassphraseCustody;
use crate::private_file::{read_private_file, replace_private_file, write_private_file};
use crate::sealing::SealingKey;
use crate::secrets::MasterSecrets;
use keys::{CustodyFailure, CustodyKind, MasterCustody};
use machine::wire::Encode;
use paycrypto::mac::HmacSha256Key;
use std::path::{Path, PathBuf};
use types::SecretBytes;
use zeroize::Zeroizing;

const MAGIC: [u8; 7] = *b"ITVAULT";
const VERSION_1: u8 = 1;
const VERSION_2: u8 = 2;
/// What the data key is sealed for; the custody's number follows.
const DATA_KEY_LABEL: &[u8] = b"irontill vault file 2 data key\0";
const DATA_KEY_BYTES: usize = 32;
/// The empty label means a file of version 1 to [`PassphraseCustody`].
const VERSION_1_LABEL: &[u8] = b"";

/// Why a vault file could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultFileError {
    /// The operating system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// Somebody else may read or write the file.
    #[error("{0}: others may access it (mode {1:o}); it must be 0600")]
    Permissions(PathBuf, u32),
    /// Not a vault file, wrong passphrase, or altered: the three cannot be told apart.
    #[error("not a vault file, wrong passphrase, or altered")]
    NotAuthentic,
    /// The file says that another kind of custody holds it.
    #[error("this vault is in the custody of a {file}, not of a {given}")]
    OtherCustody {
        /// What the file says.
        file: CustodyKind,
        /// What was to open it.
        given: CustodyKind,
    },
    /// The custody did not do its part.
    #[error("{custody}: {failure}")]
    Custody {
        /// Which custody.
        custody: String,
        /// Why.
        failure: CustodyFailure,
    },
    /// The vault's audit trail does not take the record of what was to be done.
    #[error("audit: {0}")]
    Audit(#[from] AuditError),
    /// The passphrase is too short or too long.
    #[error("the passphrase must have 14 to 1024 bytes")]
    Passphrase,
    /// No random bytes could be had.
    #[error("the random number source failed")]
    Entropy,
}

/// A custody's failure as this file's error.
fn of_custody(custody: &dyn MasterCustody) -> impl Fn(CustodyFailure) -> VaultFileError + use<> {
    let custody = custody.describe().to_string();
    move |failure| match failure {
        CustodyFailure::NotAuthentic => VaultFileError::NotAuthentic,
        failure => VaultFileError::Custody { custody: custody.clone(), failure },
    }
}

/// Seals secrets into a new file with mode 0600, in the custody of a passphrase.
///
/// # Errors
/// [`VaultFileError`]; a file that is there already is never replaced.
pub fn create(path: &Path, passphrase: &Passphrase, secrets: &MasterSecrets) -> Result<(), VaultFileError> {
    create_under(path, &mut PassphraseCustody::new(passphrase.duplicate()), secrets)
}

/// Opens a vault file in the custody of a passphrase.
///
/// # Errors
/// As [`open_under`].
pub fn open(path: &Path, passphrase: &Passphrase) -> Result<MasterSecrets, VaultFileError> {
    open_under(path, &mut PassphraseCustody::new(passphrase.duplicate()))
}

/// Seals secrets into a new file with mode 0600. The custody's key must be there ([`MasterCustody::prepare`]).
///
/// # Errors
/// [`VaultFileError`]; a file that is there already is never replaced.
pub fn create_under(
    path: &Path,
    custody: &mut dyn MasterCustody,
    secrets: &MasterSecrets,
) -> Result<(), VaultFileError> {
    write_private_file(path, &sealed_content(custody, secrets)?)
}

/// Opens a vault file of any version.
///
/// # Errors
/// [`VaultFileError::Permissions`] if others may access it, [`VaultFileError::OtherCustody`] if it is held by another
/// kind of custody, [`VaultFileError::NotAuthentic`] if passphrase or file is not the right one,
/// [`VaultFileError::Custody`] if the custody cannot do its part, [`VaultFileError::Io`].
pub fn open_under(path: &Path, custody: &mut dyn MasterCustody) -> Result<MasterSecrets, VaultFileError> {
    open_content(&read_private_file(path)?, custody)
}

/// Which kind of custody holds a vault file. What the file says is believed only when it is opened.
///
/// # Errors
/// [`VaultFileError`].
pub fn custody_of(path: &Path) -> Result<CustodyKind, VaultFileError> {
    Ok(match Layout::parse(&read_private_file(path)?)? {
        Layout::Version1 => CustodyKind::Passphrase,
        Layout::Version2 { custody, .. } => custody,
    })
}

/// Hands a vault over to another custody, or to the same one's next key: opens it under `from`, seals it with a fresh
/// data key under `to`, checks that it opens again, and only then replaces the file. The secrets stay the same, so
/// every key block made before still opens. A key that `from` no longer needs may be destroyed after that. Leaves no
/// record; [`crate::hand_over`] does.
///
/// # Errors
/// [`VaultFileError`]; the old file is untouched then, unless only syncing its folder failed.
pub fn reseal(path: &Path, from: &mut dyn MasterCustody, to: &mut dyn MasterCustody) -> Result<(), VaultFileError> {
    reseal_after(path, from, to, &|_| Ok(()))
}

/// As [`reseal`]; what `before` does comes last before the file is replaced.
pub(crate) fn reseal_after(
    path: &Path,
    from: &mut dyn MasterCustody,
    to: &mut dyn MasterCustody,
    before: &dyn Fn(&MasterSecrets) -> Result<(), VaultFileError>,
) -> Result<(), VaultFileError> {
    let secrets = open_under(path, from)?;
    to.prepare().map_err(of_custody(to))?;
    let content = sealed_content(to, &secrets)?;
    open_content(&content, to)?;
    before(&secrets)?;
    replace_private_file(path, &content)
}

fn sealed_content(custody: &mut dyn MasterCustody, secrets: &MasterSecrets) -> Result<Vec<u8>, VaultFileError> {
    let mut data_key = Zeroizing::new([0; DATA_KEY_BYTES]);
    SystemEntropy.fill(&mut *data_key).map_err(|_| VaultFileError::Entropy)?;
    let kind = custody.describe().kind;
    let sealed_key =
        custody.seal(&data_key_label(kind), &SecretBytes::copy_from(&*data_key)).map_err(of_custody(custody))?;
    let length = u16::try_from(sealed_key.len()).map_err(|_| VaultFileError::NotAuthentic)?;
    let mut content = [&MAGIC[..], &[VERSION_2, kind.number()], &length.to_be_bytes(), &sealed_key].concat();
    let plaintext = Zeroizing::new(secrets.to_bytes());
    let sealed =
        file_key(&*data_key).seal(&SystemEntropy, &content, &plaintext).map_err(|_| VaultFileError::Entropy)?;
    content.extend_from_slice(&sealed);
    Ok(content)
}

fn open_content(content: &[u8], custody: &mut dyn MasterCustody) -> Result<MasterSecrets, VaultFileError> {
    let layout = Layout::parse(content)?;
    let given = custody.describe().kind;
    let plaintext = match layout {
        Layout::Version1 if given == CustodyKind::Passphrase => {
            custody.open(VERSION_1_LABEL, content).map_err(of_custody(custody))?
        }
        Layout::Version1 => return Err(VaultFileError::OtherCustody { file: CustodyKind::Passphrase, given }),
        Layout::Version2 { custody: file, .. } if file != given => {
            return Err(VaultFileError::OtherCustody { file, given });
        }
        Layout::Version2 { header, sealed_key, sealed, .. } => {
            let data_key = custody.open(&data_key_label(given), sealed_key).map_err(of_custody(custody))?;
            let opened = file_key(data_key.expose()).open(header, sealed);
            SecretBytes::copy_from(&opened.map_err(|_| VaultFileError::NotAuthentic)?)
        }
    };
    MasterSecrets::from_bytes(plaintext.expose()).map_err(|_| VaultFileError::NotAuthentic)
}

fn data_key_label(kind: CustodyKind) -> Vec<u8> {
    [DATA_KEY_LABEL, &[kind.number()]].concat()
}

fn file_key(data_key: &[u8]) -> SealingKey {
    SealingKey::derive(&HmacSha256Key::new(data_key), b"vault file 2")
}

/// A vault file taken apart.
enum Layout<'a> {
    /// Sealed by a passphrase as a whole.
    Version1,
    /// Sealed under a data key that a custody sealed.
    Version2 { custody: CustodyKind, header: &'a [u8], sealed_key: &'a [u8], sealed: &'a [u8] },
}

impl<'a> Layout<'a> {
    fn parse(content: &'a [u8]) -> Result<Self, VaultFileError> {
        Self::parsed(content).ok_or(VaultFileError::NotAuthentic)
    }

    fn parsed(content: &'a [u8]) -> Option<Self> {
        let (version, rest) = content.strip_prefix(&MAGIC)?.split_first()?;
        match *version {
            VERSION_1 => Some(Self::Version1),
            VERSION_2 => {
                let (kind, rest) = rest.split_first()?;
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let (sealed_key, sealed) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
                let header = &content[..content.len() - sealed.len()];
                Some(Self::Version2 { custody: CustodyKind::from_number(*kind)?, header, sealed_key, sealed })
            }
            _ => None,
        }
    }
}
