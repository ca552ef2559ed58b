//! From a custody's address to the custody.

use anyhow::Context;
use keys::{CustodyAddress, CustodyKind, MasterCustody};
use std::path::Path;
use types::SecretBytes;
use vault_soft::{
    CUSTODY_TIMEOUT, Passphrase, PassphraseCustody, SystemClock, TimedCustody, hand_over, read_secret_line,
};

/// The custody at an address: `passphrase:file=…`, and, behind a time limit, `pkcs11:…` (feature `pkcs11`) and `tpm:…`
/// (feature `tpm`). Nothing is reached before it is asked.
///
/// # Errors
/// If the address is malformed, a file that it names cannot be read, or this program was built without the feature.
pub fn custody(address: &str) -> anyhow::Result<Box<dyn MasterCustody>> {
    let address = CustodyAddress::parse(address)?;
    let device = match address.kind() {
        CustodyKind::Passphrase => return Ok(Box::new(of_passphrase(address)?)),
        CustodyKind::Pkcs11 => of_token(address)?,
        CustodyKind::Tpm => of_tpm(address)?,
    };
    Ok(Box::new(TimedCustody::start(device, CUSTODY_TIMEOUT).context("starting the custody's thread")?))
}

fn of_passphrase(mut address: CustodyAddress) -> anyhow::Result<PassphraseCustody> {
    let file = address.need("file")?;
    address.finish()?;
    Ok(PassphraseCustody::new(Passphrase::from_file(Path::new(&file)).context("passphrase file")?))
}

#[cfg(feature = "pkcs11")]
fn of_token(address: CustodyAddress) -> anyhow::Result<Box<dyn MasterCustody + Send>> {
    let settings = vault_pkcs11::Pkcs11Settings::from_address(address, &read_secret)?;
    Ok(Box::new(vault_pkcs11::Pkcs11Custody::new(settings)))
}

#[cfg(not(feature = "pkcs11"))]
fn of_token(_: CustodyAddress) -> anyhow::Result<Box<dyn MasterCustody + Send>> {
    anyhow::bail!("this program was built without PKCS#11: build it with --features pkcs11")
}

#[cfg(feature = "tpm")]
fn of_tpm(address: CustodyAddress) -> anyhow::Result<Box<dyn MasterCustody + Send>> {
    let settings = vault_tpm::TpmSettings::from_address(address, &read_secret)?;
    Ok(Box::new(vault_tpm::TpmCustody::new(settings)))
}

#[cfg(not(feature = "tpm"))]
fn of_tpm(_: CustodyAddress) -> anyhow::Result<Box<dyn MasterCustody + Send>> {
    anyhow::bail!("this program was built without TPM: build it with --features tpm")
}

/// A PIN or authorisation value from a file that its owner alone may read.
#[cfg_attr(not(any(feature = "pkcs11", feature = "tpm")), expect(dead_code, reason = "only devices have such files"))]
fn read_secret(path: &Path) -> Result<SecretBytes, String> {
    read_secret_line(path).map_err(|error| error.to_string())
}

/// Hands a vault file from one custody to another, or to the same one's next key, and destroys the old key if asked to.
/// Key blocks made before still open. It is on the vault's audit trail, which has one writer: no process may serve the
/// vault meanwhile.
///
/// # Errors
/// If an address is wrong or a custody fails; the file still opens with the old custody then, unless only the last
/// step failed, which the error says.
pub fn reseal_vault(vault_path: &Path, from: &str, to: &str, destroy_old_key: bool) -> anyhow::Result<()> {
    let (mut old, mut new) = (custody(from)?, custody(to)?);
    reseal_between(vault_path, &mut *old, &mut *new, destroy_old_key)
}

/// As [`reseal_vault`], between custodies that are there already.
///
/// # Errors
/// As [`reseal_vault`].
pub(crate) fn reseal_between(
    vault_path: &Path,
    old: &mut dyn MasterCustody,
    new: &mut dyn MasterCustody,
    destroy_old_key: bool,
) -> anyhow::Result<()> {
    hand_over(vault_path, old, new, &SystemClock::default()).context("handing the vault over")?;
    if destroy_old_key {
        old.destroy()
            .with_context(|| format!("the vault was handed over; destroying the old key: {}", old.describe()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> String {
        format!("{:#}", custody(address).map(|_| ()).unwrap_err())
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        assert!(refused("hsm:").contains("begins with passphrase, pkcs11: or tpm:"));
        assert!(refused("passphrase").contains("lacks file"));
        assert!(refused("passphrase:file=/nonexistent/file").contains("/nonexistent/file"));
        assert!(refused("passphrase:fil=/x").contains("lacks file"));
    }

    #[cfg(not(feature = "pkcs11"))]
    #[test]
    fn a_program_without_pkcs11_says_so() {
        assert!(refused("pkcs11:token=a;object=b?module-path=/m&pin-source=/p").contains("--features pkcs11"));
    }

    #[cfg(not(feature = "tpm"))]
    #[test]
    fn a_program_without_tpm_says_so() {
        assert!(refused("tpm:tcti=device;handle=0x81000100;auth-file=/a").contains("--features tpm"));
    }
}
