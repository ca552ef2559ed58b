//! The passphrase that opens a vault file.

use crate::entropy::{Entropy, SystemEntropy};
use crate::private_file::{read_secret_line, write_private_file};
use crate::secret_memory::SecretBytesBox;
use crate::vault_file::VaultFileError;
use std::path::Path;
use types::SecretBytes;
use zeroize::Zeroizing;

/// Shortest passphrase that is taken, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 14;
const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Random bytes behind a generated passphrase; its text has two characters for each.
const GENERATED_BYTES: usize = 32;

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// A passphrase. In secret memory, wiped on drop; never prints.
#[derive(Debug)]
pub struct Passphrase {
    bytes: SecretBytesBox,
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
            Ok(Self { bytes: SecretBytesBox::copy_from(passphrase.expose()), drawn: false })
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
        let mut line = SecretBytesBox::zeroed(2 * GENERATED_BYTES + 1);
        for (digits, byte) in line.expose_mut().chunks_mut(2).zip(random.iter()) {
            digits.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0x0F)]);
        }
        line.expose_mut()[2 * GENERATED_BYTES] = b'\n';
        write_private_file(path, line.expose())?;
        line.truncate(2 * GENERATED_BYTES);
        Ok(Self { bytes: line, drawn: true })
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
