//! A counter in the TPM that only goes up, whatever happens to the machine's disks.

use crate::device::{end_session, salted_session, with_tpm};
use crate::failure::Fault;
use crate::settings::TpmSettings;
use crate::storage_key;
use keys::CustodyFailure;
use tss_esapi::Context;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::constants::{NvIndexType, SessionType};
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::NvPublic;

const COUNTER_BYTES: u16 = 8;

/// A monotonic counter of 64 bits (`TPM_NT_COUNTER`) under the settings' authorisation value.
///
/// A new counter starts above every counter that this TPM ever had, so destroying and making it again does not turn
/// it back. It counts no wrong authorisations (`noDA`): a counter that is used at every payment must not lock itself
/// when power is cut, and its value is no secret.
#[derive(Debug)]
pub struct TpmCounter {
    settings: TpmSettings,
    index: u32,
}

impl TpmCounter {
    /// The counter at an NV index (01 00 00 00 to 01 FF FF FF). Needs the storage key of the same settings, under
    /// which the authorisation value is enciphered on its way.
    #[must_use]
    pub fn new(settings: TpmSettings, index: u32) -> Self {
        Self { settings, index }
    }

    /// Makes the counter if it is missing and gives it its first value. Returns the value.
    ///
    /// # Errors
    /// [`CustodyFailure`]; `KeyUnsuitable` if something that is no such counter is at the index.
    pub fn create(&mut self) -> Result<u64, CustodyFailure> {
        self.with_session(|context, session| {
            match self.find(context) {
                Err(Fault { failure: CustodyFailure::KeyMissing(_), .. }) => self.define(context, session)?,
                Err(fault) => return Err(fault),
                Ok(counter) if counter.written => return self.value(context, session, counter.handle),
                // Power was cut between definition and first value.
                Ok(_) => {}
            }
            self.count(context, session)
        })
    }

    /// Adds one. Returns the new value, which is on stable storage.
    ///
    /// # Errors
    /// [`CustodyFailure`].
    pub fn increment(&mut self) -> Result<u64, CustodyFailure> {
        self.with_session(|context, session| self.count(context, session))
    }

    /// The value.
    ///
    /// # Errors
    /// [`CustodyFailure`].
    pub fn read(&mut self) -> Result<u64, CustodyFailure> {
        self.with_session(|context, session| {
            let counter = self.find(context)?;
            self.value(context, session, counter.handle)
        })
    }

    fn with_session<T>(
        &self,
        work: impl Fn(&mut Context, AuthSession) -> Result<T, Fault>,
    ) -> Result<T, CustodyFailure> {
        with_tpm(&self.settings, |context| {
            let key = storage_key::find(context, &self.settings)?;
            let session = salted_session(context, key.handle, SessionType::Hmac)?;
            let outcome = work(context, session);
            end_session(context, session)?;
            outcome
        })
    }

    fn tpm_handle(&self) -> Result<NvIndexTpmHandle, Fault> {
        Ok(NvIndexTpmHandle::new(self.index)?)
    }

    fn find(&self, context: &mut Context) -> Result<Found, Fault> {
        let place = TpmHandle::NvIndex(self.tpm_handle()?);
        let handle =
            context.execute_without_session(|context| context.tr_from_tpm_public(place)).map(NvIndexHandle::from)?;
        let (public, _) = context.execute_without_session(|context| context.nv_read_public(handle))?;
        let attributes = public.attributes();
        let fit = attributes.index_type() == Ok(NvIndexType::Counter)
            && attributes.auth_write()
            && attributes.auth_read()
            && !attributes.owner_write()
            && !attributes.orderly()
            && !attributes.clear_stclear();
        if !fit {
            return Err(
                CustodyFailure::KeyUnsuitable("what is at the NV index is no counter of ours".to_owned()).into()
            );
        }
        context.tr_set_auth(handle.into(), self.settings.auth())?;
        Ok(Found { handle, written: attributes.written() })
    }

    fn define(&self, context: &mut Context, session: AuthSession) -> Result<(), Fault> {
        let attributes = NvIndexAttributesBuilder::new()
            .with_nv_index_type(NvIndexType::Counter)
            .with_auth_write(true)
            .with_auth_read(true)
            .with_no_da(true)
            .build()?;
        let public = NvPublic::builder()
            .with_nv_index(self.tpm_handle()?)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(COUNTER_BYTES.into())
            .build()?;
        context.execute_with_session(Some(session), |context| {
            context.nv_define_space(Provision::Owner, Some(self.settings.auth()), public)
        })?;
        Ok(())
    }

    fn count(&self, context: &mut Context, session: AuthSession) -> Result<u64, Fault> {
        let Found { handle, .. } = self.find(context)?;
        context.execute_with_session(Some(session), |context| context.nv_increment(NvAuth::NvIndex(handle), handle))?;
        // The first count changes the index's public area and with it its name, so it has to be looked up again.
        let Found { handle, .. } = self.find(context)?;
        self.value(context, session, handle)
    }

    fn value(&self, context: &mut Context, session: AuthSession, handle: NvIndexHandle) -> Result<u64, Fault> {
        let bytes = context.execute_with_session(Some(session), |context| {
            context.nv_read(NvAuth::NvIndex(handle), handle, COUNTER_BYTES, 0)
        })?;
        let bytes = <[u8; 8]>::try_from(bytes.value());
        bytes.map(u64::from_be_bytes).map_err(|_| CustodyFailure::Device("a counter of another size".to_owned()).into())
    }
}

struct Found {
    handle: NvIndexHandle,
    /// It has a value.
    written: bool,
}
