//! Sealing to the TPM and opening again.

use crate::device::{end_session, expect_power_loss, salted_session, start_session, with_tpm};
use crate::failure::{Fault, kind};
use crate::sealed::{SealedSecret, with_label, without_label};
use crate::settings::TpmSettings;
use crate::storage_key::{self, StorageKey};
use keys::{CustodyDescription, CustodyFailure, CustodyKind, MasterCustody, check_sealable};
use machine::wire::Encode;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind as Kind;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::session_handles::PolicySession;
use tss_esapi::structures::{
    Digest, KeyedHashScheme, PcrSelectionListBuilder, PcrSlot, Private, Public, PublicBuilder,
    PublicKeyedHashParameters, SensitiveData,
};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::{Context, Error};
use types::SecretBytes;

/// A TPM that seals short secrets under a storage key of its own, an authorisation value that it defends against
/// guessing, and, if the settings say so, the machine's measured state.
///
/// Each operation connects, authorises, flushes and disconnects, so a TPM daemon may restart between any two.
#[derive(Debug)]
pub struct TpmCustody {
    settings: TpmSettings,
}

impl TpmCustody {
    /// A custody; nothing is reached yet.
    #[must_use]
    pub fn new(settings: TpmSettings) -> Self {
        Self { settings }
    }
}

impl MasterCustody for TpmCustody {
    fn describe(&self) -> CustodyDescription {
        let TpmSettings { tcti_text, handle_number, .. } = &self.settings;
        CustodyDescription { kind: CustodyKind::Tpm, place: format!("{tcti_text}, storage key {handle_number:#010x}") }
    }

    fn prepare(&mut self) -> Result<(), CustodyFailure> {
        with_tpm(&self.settings, |context| match storage_key::find(context, &self.settings) {
            Err(Fault { failure: CustodyFailure::KeyMissing(_), .. }) => {
                storage_key::create(context, &self.settings)?;
                storage_key::find(context, &self.settings).map(|_| ())
            }
            other => other.map(|_| ()),
        })
    }

    fn seal(&mut self, label: &[u8], secret: &SecretBytes) -> Result<Vec<u8>, CustodyFailure> {
        check_sealable(label, secret)?;
        let content = with_label(label, secret);
        with_tpm(&self.settings, |context| {
            let parent = storage_key::find(context, &self.settings)?;
            seal_under(context, &self.settings, &parent, &content)
        })
    }

    fn open(&mut self, label: &[u8], sealed: &[u8]) -> Result<SecretBytes, CustodyFailure> {
        let sealed = SealedSecret::from_bytes(sealed).map_err(|_| CustodyFailure::NotAuthentic)?;
        if sealed.pcr_mask != self.settings.pcr_mask {
            return Err(CustodyFailure::Misuse("it was sealed to other platform configuration registers than pcrs="));
        }
        let content = with_tpm(&self.settings, |context| {
            let parent = storage_key::find(context, &self.settings)?;
            if parent.name != sealed.parent_name {
                let why = "another storage key than the one that sealed is at this handle, or this is another TPM";
                return Err(CustodyFailure::KeyMissing(why.to_owned()).into());
            }
            open_under(context, &self.settings, &parent, &sealed)
        })?;
        without_label(label, content.value())
    }

    fn destroy(&mut self) -> Result<(), CustodyFailure> {
        with_tpm(&self.settings, |context| storage_key::destroy(context, &self.settings))
    }
}

fn seal_under(
    context: &mut Context,
    settings: &TpmSettings,
    parent: &StorageKey,
    content: &SecretBytes,
) -> Result<Vec<u8>, Fault> {
    let policy = policy_digest(context, settings.pcr_mask)?;
    let session = salted_session(context, parent.handle, SessionType::Hmac)?;
    let data = SensitiveData::try_from(content.expose())?;
    let public = sealed_object(policy)?;
    let made = context.execute_with_session(Some(session), |context| {
        context.create(parent.handle, public, Some(settings.auth()), Some(data), None, None)
    })?;
    end_session(context, session)?;
    let sealed = SealedSecret {
        parent_name: parent.name.clone(),
        pcr_mask: settings.pcr_mask,
        public: made.out_public.marshall()?,
        private: made.out_private.value().to_vec(),
    };
    Ok(sealed.to_bytes())
}

fn open_under(
    context: &mut Context,
    settings: &TpmSettings,
    parent: &StorageKey,
    sealed: &SealedSecret,
) -> Result<SensitiveData, Fault> {
    let object = load(context, parent, sealed)?;
    context.tr_set_auth(object.into(), settings.auth())?;
    let session = salted_session(context, parent.handle, SessionType::Policy)?;
    let policy = PolicySession::try_from(session)?;
    satisfy(context, policy, settings.pcr_mask)?;
    let opened = context.execute_with_session(Some(session), |context| context.unseal(object.into()));
    // Before the answer is looked at: a wrong authorisation must not leave the TPM worse prepared for a power cut.
    expect_power_loss(context)?;
    let opened = opened?;
    end_session(context, session)?;
    context.flush_context(object.into())?;
    Ok(opened)
}

fn load(context: &mut Context, parent: &StorageKey, sealed: &SealedSecret) -> Result<KeyHandle, Fault> {
    let malformed = |_| CustodyFailure::NotAuthentic;
    let public = Public::unmarshall(&sealed.public).map_err(malformed)?;
    let private = Private::try_from(&sealed.private[..]).map_err(malformed)?;
    let session = salted_session(context, parent.handle, SessionType::Hmac)?;
    let loaded = context.execute_with_session(Some(session), |context| context.load(parent.handle, private, public));
    end_session(context, session)?;
    loaded.map_err(of_load)
}

/// A TPM names many reasons not to load altered bytes; to us they are one.
fn of_load(error: Error) -> Fault {
    let of_bytes = matches!(
        kind(&error),
        Some(
            Kind::Integrity
                | Kind::Size
                | Kind::Type
                | Kind::Attributes
                | Kind::Hash
                | Kind::Scheme
                | Kind::Key
                | Kind::Value
                | Kind::Binding
                | Kind::ReservedBits
                | Kind::Insufficient
                | Kind::Symmetric
                | Kind::Kdf
                | Kind::Sensitive
                | Kind::Selector
                | Kind::Tag
                | Kind::Mode
                | Kind::Curve
                | Kind::EccPoint
        )
    );
    if of_bytes { CustodyFailure::NotAuthentic.into() } else { error.into() }
}

/// The policy of a sealed object: the machine's state now, and the authorisation value.
fn policy_digest(context: &mut Context, pcr_mask: u32) -> Result<Digest, Fault> {
    let trial = start_session(context, None, SessionType::Trial)?;
    let policy = PolicySession::try_from(trial)?;
    satisfy(context, policy, pcr_mask)?;
    let digest = context.policy_get_digest(policy)?;
    end_session(context, trial)?;
    Ok(digest)
}

fn satisfy(context: &mut Context, policy: PolicySession, pcr_mask: u32) -> Result<(), Fault> {
    if pcr_mask != 0 {
        let slots: Vec<PcrSlot> = (0..u32::BITS)
            .filter(|bit| pcr_mask >> bit & 1 == 1)
            .map(|bit| PcrSlot::try_from(1 << bit))
            .collect::<Result<_, _>>()?;
        let selection = PcrSelectionListBuilder::new().with_selection(HashingAlgorithm::Sha256, &slots).build()?;
        // An empty digest means the values that the registers have now.
        context.policy_pcr(policy, Digest::default(), selection)?;
    }
    Ok(context.policy_auth_value(policy)?)
}

/// Without `noDA`, so that wrong authorisations are counted; without `userWithAuth`, so that only the policy opens it.
fn sealed_object(policy: Digest) -> Result<Public, Fault> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_admin_with_policy(true)
        .build()?;
    let builder = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default());
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tpm_that_is_not_there_is_named() {
        let auth = SecretBytes::copy_from(b"secret");
        let settings = TpmSettings::new("device:/nonexistent/tpm", 0x8100_0100, &auth, &[]).unwrap();
        let failure = TpmCustody::new(settings).prepare().unwrap_err();
        assert!(matches!(&failure, CustodyFailure::Unreachable(why) if why.contains("/nonexistent")), "{failure}");
    }

    #[test]
    fn garbage_is_not_authentic() {
        let auth = SecretBytes::copy_from(b"secret");
        let settings = TpmSettings::new("device:/nonexistent/tpm", 0x8100_0100, &auth, &[]).unwrap();
        let opened = TpmCustody::new(settings).open(b"label", b"garbage");
        assert_eq!(opened.unwrap_err(), CustodyFailure::NotAuthentic);
    }
}
