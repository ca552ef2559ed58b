//! Handing a vault over to another custody, on the record.

use crate::audit_medium::AuditFiles;
use crate::clock::Clock;
use crate::office::Office;
use crate::secrets::MasterSecrets;
use crate::stack::with_clean_stack;
use crate::vault_file::{self, VaultFileError};
use keys::{AuditAct, AuditEntry, CustodyDescription, MasterCustody, audit_text};
use paycrypto::mac::HmacSha256Key;
use std::path::Path;

/// As [`vault_file::reseal`], and the vault's audit trail says so: the record is durable before the file is replaced.
///
/// No process may serve the vault meanwhile: a trail has one writer.
///
/// # Errors
/// [`VaultFileError`]; the old file is untouched then, unless only syncing its folder failed.
pub fn hand_over(
    path: &Path,
    from: &mut dyn MasterCustody,
    to: &mut dyn MasterCustody,
    clock: &dyn Clock,
) -> Result<(), VaultFileError> {
    let (giver, taker) = (from.describe(), to.describe());
    with_clean_stack(|| {
        vault_file::reseal_after(path, from, to, &|secrets| record(path, secrets, &giver, &taker, clock))
    })
}

fn record(
    path: &Path,
    secrets: &MasterSecrets,
    from: &CustodyDescription,
    to: &CustodyDescription,
    clock: &dyn Clock,
) -> Result<(), VaultFileError> {
    // A vault without a trail, as made by a version that had none, gets one with this record.
    let medium = Box::new(AuditFiles::open_when_needed(path)?);
    let master = HmacSha256Key::new(secrets.master_key.expose());
    let at_ms = clock.unix_ms();
    let office = Office::open(medium, &master, secrets.audited, at_ms)?;
    let act = AuditAct::VaultResealed { from: audit_text(&from.to_string()), to: audit_text(&to.to_string()) };
    office.note(&mut office.state(), AuditEntry { at_ms, caller: None, act });
    Ok(office.commit()?)
}
