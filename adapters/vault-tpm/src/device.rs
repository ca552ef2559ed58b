//! One operation on a TPM: connect, work, leave nothing behind.

use crate::failure::Fault;
use crate::settings::TpmSettings;
use keys::CustodyFailure;
use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_HMAC_SESSION_FIRST, TPM2_TRANSIENT_FIRST};
use tss_esapi::constants::{CapabilityType, PropertyTag, SessionType, StartupType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{CapabilityData, SymmetricDefinition};

/// Most left-over handles of one kind that are swept up: more than any TPM has slots.
const LEFT_OVER_HANDLES_MAX: u32 = 32;

/// Connects, runs `work` and disconnects, which flushes whatever `work` still held. If the TPM has no free slot, what
/// others left behind is flushed first: behind a resource manager there is never anything to see.
pub fn with_tpm<T>(
    settings: &TpmSettings,
    work: impl Fn(&mut Context) -> Result<T, Fault>,
) -> Result<T, CustodyFailure> {
    let mut context = connect(settings)?;
    let outcome = match work(&mut context) {
        Err(fault) if fault.out_of_slots => {
            // Everything that the failed attempt held goes with its connection.
            drop(context);
            context = connect(settings)?;
            sweep(&mut context).and_then(|()| work(&mut context))
        }
        other => other,
    };
    outcome.map_err(|fault| with_tries_left(&mut context, fault.failure))
}

fn connect(settings: &TpmSettings) -> Result<Context, CustodyFailure> {
    let mut context = Context::new(settings.tcti.clone())
        .map_err(|error| CustodyFailure::Unreachable(format!("{}: {error:?}", settings.tcti_text)))?;
    if let Some(auth) = settings.owner_auth() {
        let refused = |error| Fault::from(error).failure;
        context.tr_set_auth(ObjectHandle::Owner, auth).map_err(refused)?;
    }
    Ok(context)
}

/// Flushes transient objects and loaded sessions.
fn sweep(context: &mut Context) -> Result<(), Fault> {
    for first in [TPM2_TRANSIENT_FIRST, TPM2_HMAC_SESSION_FIRST] {
        let (found, _) = context.get_capability(CapabilityType::Handles, first, LEFT_OVER_HANDLES_MAX)?;
        let CapabilityData::Handles(handles) = found else { continue };
        for handle in handles.into_inner() {
            let object = context.tr_from_tpm_public(handle)?;
            context.flush_context(object)?;
        }
    }
    Ok(())
}

/// Adds how many wrong authorisations the TPM still takes, if it says so.
fn with_tries_left(context: &mut Context, failure: CustodyFailure) -> CustodyFailure {
    if failure != CustodyFailure::WrongSecret(None) {
        return failure;
    }
    let mut property = |tag| context.get_tpm_property(tag).ok().flatten();
    let (most, counted) = (property(PropertyTag::MaxAuthFail), property(PropertyTag::LockoutCounter));
    CustodyFailure::WrongSecret(most.zip(counted).map(|(most, counted)| most.saturating_sub(counted)))
}

/// A session whose parameters are enciphered under a salt that only `key`'s TPM can open: what passes on the wires
/// between processor and TPM is of no use to a listener.
pub fn salted_session(context: &mut Context, key: KeyHandle, kind: SessionType) -> Result<AuthSession, Fault> {
    let session = start_session(context, Some(key), kind)?;
    let (attributes, mask) =
        SessionAttributesBuilder::new().with_continue_session(true).with_decrypt(true).with_encrypt(true).build();
    context.tr_sess_set_attributes(session, attributes, mask)?;
    Ok(session)
}

/// A session without a salt, for what is no secret.
pub fn start_session(context: &mut Context, key: Option<KeyHandle>, kind: SessionType) -> Result<AuthSession, Fault> {
    let cipher = SymmetricDefinition::AES_128_CFB;
    let session = context.start_auth_session(key, None, None, kind, cipher, HashingAlgorithm::Sha256)?;
    session.ok_or_else(|| CustodyFailure::Device("no session".to_owned()).into())
}

/// Gives a session's slot back.
pub fn end_session(context: &mut Context, session: AuthSession) -> Result<(), Fault> {
    Ok(context.flush_context(SessionHandle::from(session).into())?)
}

/// Tells the TPM that power may go. Without it, a TPM whose power is cut after an authorisation was used counts that
/// as a wrong guess at its next start (TPM 2.0 Part 1 §19.8.6), and a few power cuts would lock a terminal out.
pub fn expect_power_loss(context: &mut Context) -> Result<(), Fault> {
    Ok(context.execute_without_session(|context| context.shutdown(StartupType::Clear))?)
}
