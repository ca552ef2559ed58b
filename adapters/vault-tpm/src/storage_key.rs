//! The storage key in the TPM, parent of everything sealed here.
//!
//! It is drawn inside the TPM under the owner's primary key and lives at a persistent handle. Its private part is never
//! written to a file, so evicting it destroys it.

use crate::device::{end_session, salted_session};
use crate::failure::Fault;
use crate::settings::TpmSettings;
use keys::CustodyFailure;
use tss_esapi::Context;
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{EccPoint, Public, PublicBuilder, PublicEccParametersBuilder, SymmetricDefinitionObject};

/// A storage key that was looked at and found fit.
pub struct StorageKey {
    pub handle: KeyHandle,
    /// Its name: algorithm and digest of its public area, which holds the public key.
    pub name: Vec<u8>,
}

/// The key at the settings' handle.
pub fn find(context: &mut Context, settings: &TpmSettings) -> Result<StorageKey, Fault> {
    let handle = context.execute_without_session(|context| {
        context.tr_from_tpm_public(TpmHandle::Persistent(settings.handle)).map(KeyHandle::from)
    })?;
    let (public, name, _) = context.execute_without_session(|context| context.read_public(handle))?;
    judge(&public)?;
    Ok(StorageKey { handle, name: name.value().to_vec() })
}

/// Checks that the key was drawn in this TPM and cannot leave it.
fn judge(public: &Public) -> Result<(), Fault> {
    let attributes = public.object_attributes();
    let fit = attributes.fixed_tpm()
        && attributes.fixed_parent()
        && attributes.sensitive_data_origin()
        && attributes.restricted()
        && attributes.decrypt()
        && !attributes.sign_encrypt();
    if fit {
        return Ok(());
    }
    Err(CustodyFailure::KeyUnsuitable("it was not drawn in this TPM, may leave it, or is no storage key".to_owned())
        .into())
}

/// Draws the key and puts it at the handle.
pub fn create(context: &mut Context, settings: &TpmSettings) -> Result<(), Fault> {
    let template = template()?;
    let owner = Some(AuthSession::Password);
    let primary = context.execute_with_session(owner, |context| {
        context.create_primary(Hierarchy::Owner, template.clone(), None, None, None, None)
    })?;
    let session = salted_session(context, primary.key_handle, SessionType::Hmac)?;
    let loaded = context.execute_with_session(Some(session), |context| {
        let made = context.create(primary.key_handle, template, None, None, None, None)?;
        context.load(primary.key_handle, made.out_private, made.out_public)
    })?;
    end_session(context, session)?;
    context.flush_context(primary.key_handle.into())?;
    let place = Persistent::Persistent(settings.handle);
    context.execute_with_session(owner, |context| context.evict_control(Provision::Owner, loaded.into(), place))?;
    context.flush_context(loaded.into())?;
    Ok(())
}

/// Takes the key out of the TPM for ever.
pub fn destroy(context: &mut Context, settings: &TpmSettings) -> Result<(), Fault> {
    let handle: ObjectHandle = context
        .execute_without_session(|context| context.tr_from_tpm_public(TpmHandle::Persistent(settings.handle)))?;
    let place = Persistent::Persistent(settings.handle);
    let owner = Some(AuthSession::Password);
    context.execute_with_session(owner, |context| context.evict_control(Provision::Owner, handle, place))?;
    Ok(())
}

fn attributes() -> Result<ObjectAttributes, Fault> {
    let builder = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        // The key itself has an empty authorisation; what is sealed under it has the real one.
        .with_no_da(true)
        .with_decrypt(true)
        .with_restricted(true);
    Ok(builder.build()?)
}

/// A P-256 storage key with AES-128-CFB, as the TCG's storage root key template.
fn template() -> Result<Public, Fault> {
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    );
    let builder = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes()?)
        .with_ecc_parameters(parameters.build()?)
        .with_ecc_unique_identifier(EccPoint::default());
    Ok(builder.build()?)
}
