//! The passphrase that opens a vault file.

use crate::entropy::{Entropy, SystemEntropy};
use crate::private_file::{read_secret_line, write_private_file};
use crate::vault_file::VaultFileError;
use std::path::Path;
use types::SecretBytes;
use zeroize::Zeroizing;

/// Shortest passphrase that is taken, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 14;
const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Random bytes behind a generated passphrase; its text has two characters for each.
const GENERATED_BYTES: usize = 32;

/// A passphrase. Wiped on drop; never prints.
#[derive(Debug)]
pub struct Passphrase {
    bytes: SecretBytes,
    /// Drawn here with 256 bits: nobody can try such passphrases out, however fast.
    drawn: bool,
}

impl Passphrase {
    /// Takes a passphrase of 14 to 1024 bytes.
    ///
    /// # Errors
    /// [`VaultFileError::Passphrase`] for any other length.
    pub fn new(passphrase: SecretBytes) -> Result<Self, VaultFileError> {
        if (PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
            Ok(Self { bytes: passphrase, drawn: false })
        } else {
            Err(VaultFileError::Passphrase)
        }
    }

    /// Reads the first line of a file that nobody but its owner may read.
    ///
    /// # Errors
    /// [`VaultFileError`] if the file cannot be read, is open to others or holds no passphrase.
    pub fn from_file(path: &Path) -> Result<Self, VaultFileError> {
        Self::new(read_secret_line(path)?)
    }

    /// Draws a passphrase and writes it to a new file with mode 0600.
    ///
    /// # Errors
    /// [`VaultFileError`] if the file exists already or cannot be written.
    pub fn generate_file(path: &Path) -> Result<Self, VaultFileError> {
        let mut random = Zeroizing::new([0; GENERATED_BYTES]);
        SystemEntropy.fill(&mut *random).map_err(|_| VaultFileError::Entropy)?;
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble");
        let text: Zeroizing<String> =
            Zeroizing::new(random.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0F)]).collect());
        write_private_file(path, format!("{}\n", *text).as_bytes())?;
        Ok(Self { bytes: SecretBytes::copy_from(text.as_bytes()), drawn: true })
    }

    /// An explicit second copy.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { bytes: self.bytes.duplicate(), drawn: self.drawn }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.bytes.expose()
    }

    pub(crate) fn is_drawn(&self) -> bool {
        self.drawn
    }
}
