//! Sealing and opening, one session each.

use crate::failure::Fault;
use crate::key::{self, KEY_ID_BYTES, KeyId};
use crate::settings::Pkcs11Settings;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::{RawAuthPin, Ulong};
use keys::{CustodyDescription, CustodyFailure, CustodyKind, MasterCustody, check_sealable};
use types::SecretBytes;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TAG_BITS: u32 = 128;
/// What a key is tried on.
const PROBE_LABEL: &[u8] = b"irontill custody probe 1";

/// A key in a PKCS#11 token that seals short secrets by AES-256-GCM (`CKM_AES_GCM`).
///
/// A sealed secret is version (1), key identity (16), nonce (12), ciphertext and tag. The random nonce is safe here:
/// a custody seals once when a vault is made and once at every re-seal, not per payment.
pub struct Pkcs11Custody {
    settings: Pkcs11Settings,
    /// Loaded when first needed; forgotten when the module says that it was finalised.
    module: Option<Pkcs11>,
    /// This custody initialised the module, so it finalises it: a module may have started threads.
    initialised: bool,
    /// The token refused this PIN: it is not tried again by this custody.
    pin_refused: bool,
}

impl core::fmt::Debug for Pkcs11Custody {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Pkcs11Custody({})", self.describe())
    }
}

impl Pkcs11Custody {
    /// A custody; nothing is loaded or reached yet.
    #[must_use]
    pub fn new(settings: Pkcs11Settings) -> Self {
        Self { settings, module: None, initialised: false, pin_refused: false }
    }

    /// Runs `work` in a logged-in session. If the session or the token went away under it, once more from the start.
    fn with_session<T>(&mut self, work: impl Fn(&Session, &str) -> Result<T, Fault>) -> Result<T, CustodyFailure> {
        let outcome = match self.attempt(&work) {
            Err(fault) if fault.session_lost => {
                self.module = None;
                self.attempt(&work)
            }
            other => other,
        };
        outcome.map_err(|fault| fault.failure)
    }

    fn attempt<T>(&mut self, work: impl Fn(&Session, &str) -> Result<T, Fault>) -> Result<T, Fault> {
        let module = self.module()?;
        let (slot, token) = self.token(&module)?;
        self.may_log_in(&token)?;
        let session = module.open_rw_session(slot)?;
        self.log_in(&session)?;
        // Closing a process's last session logs it out (PKCS#11 2.40 §5.6); the session closes when it is dropped.
        work(&session, &self.settings.object)
    }

    fn module(&mut self) -> Result<Pkcs11, Fault> {
        if let Some(module) = &self.module {
            return Ok(module.clone());
        }
        let path = &self.settings.module;
        if !path.is_file() {
            return Err(CustodyFailure::ModuleMissing(format!("{} is no file", path.display())).into());
        }
        let module = Pkcs11::new(path)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => self.initialised = true,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        self.module = Some(module.clone());
        Ok(module)
    }

    /// The one initialised token with the right label, and serial number if one is asked for.
    fn token(&self, module: &Pkcs11) -> Result<(Slot, TokenInfo), Fault> {
        let mut found = Vec::new();
        for slot in module.get_slots_with_token()? {
            // A slot whose token went away between the two calls is as good as empty.
            let Ok(token) = module.get_token_info(slot) else { continue };
            let serial = self.settings.serial.as_deref();
            let right_serial = serial.is_none_or(|serial| token.serial_number() == serial);
            if token.token_initialized() && token.label() == self.settings.token && right_serial {
                found.push((slot, token));
            }
        }
        let name = &self.settings.token;
        match (found.pop(), found.is_empty()) {
            (Some(token), true) => Ok(token),
            (Some(_), false) => Err(CustodyFailure::TokenMissing(format!("two are called {name}: add serial=")).into()),
            (None, _) => Err(CustodyFailure::TokenMissing(format!("no slot has one called {name}")).into()),
        }
    }

    /// A service that restarts with a wrong PIN must not lock the token.
    fn may_log_in(&self, token: &TokenInfo) -> Result<(), Fault> {
        if token.user_pin_locked() {
            return Err(CustodyFailure::Locked.into());
        }
        if token.user_pin_final_try() {
            return Err(CustodyFailure::LastTry.into());
        }
        if self.pin_refused {
            return Err(CustodyFailure::WrongSecret(None).into());
        }
        Ok(())
    }

    fn log_in(&mut self, session: &Session) -> Result<(), Fault> {
        let pin = RawAuthPin::new(Box::new(self.settings.pin.expose().to_vec()));
        match session.login_with_raw(UserType::User, &pin) {
            // Another session of this process is logged in, and login belongs to the process.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => {
                let fault = Fault::from(error);
                self.pin_refused = matches!(fault.failure, CustodyFailure::WrongSecret(_));
                Err(fault)
            }
        }
    }
}

impl Drop for Pkcs11Custody {
    fn drop(&mut self) {
        if let (true, Some(module)) = (self.initialised, self.module.take()) {
            // A module that was finalised already, or is gone, has nothing left to give back.
            let _ = module.finalize();
        }
    }
}

impl MasterCustody for Pkcs11Custody {
    fn describe(&self) -> CustodyDescription {
        let Pkcs11Settings { token, object, .. } = &self.settings;
        CustodyDescription { kind: CustodyKind::Pkcs11, place: format!("token {token}, key {object}") }
    }

    fn prepare(&mut self) -> Result<(), CustodyFailure> {
        let id = random::<KEY_ID_BYTES>()?;
        self.with_session(|session, object| {
            let key = match key::find(session, object)? {
                Some(key) => key,
                None => key::generate(session, object, id)?,
            };
            judged(session, key).map(|_| ())
        })
    }

    fn seal(&mut self, label: &[u8], secret: &SecretBytes) -> Result<Vec<u8>, CustodyFailure> {
        check_sealable(label, secret)?;
        let nonce = random::<NONCE_BYTES>()?;
        self.with_session(|session, object| {
            let (key, id) = trusted_key(session, object)?;
            let ciphertext = with_gcm(nonce, label, |gcm| session.encrypt(gcm, key, secret.expose()))?;
            if ciphertext.len() != secret.len() + TAG_BYTES {
                return Err(CustodyFailure::Device("AES-GCM without a tag of 16 bytes".to_owned()).into());
            }
            Ok([&[VERSION][..], &id, &nonce, &ciphertext].concat())
        })
    }

    fn open(&mut self, label: &[u8], sealed: &[u8]) -> Result<SecretBytes, CustodyFailure> {
        let Sealed { id, nonce, ciphertext } = Sealed::parse(sealed).ok_or(CustodyFailure::NotAuthentic)?;
        self.with_session(|session, object| {
            let (key, found) = trusted_key(session, object)?;
            if found != id {
                return Err(
                    CustodyFailure::KeyMissing(format!("{object} is another key than the one that sealed")).into()
                );
            }
            decrypted(session, key, nonce, label, ciphertext)
        })
    }

    fn destroy(&mut self) -> Result<(), CustodyFailure> {
        self.with_session(|session, object| match key::find(session, object)? {
            Some(key) => Ok(session.destroy_object(key)?),
            None => Err(missing(object)),
        })
    }
}

/// The parts of a sealed secret.
struct Sealed<'a> {
    id: KeyId,
    nonce: [u8; NONCE_BYTES],
    ciphertext: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(sealed: &'a [u8]) -> Option<Self> {
        let (&VERSION, rest) = sealed.split_first()? else { return None };
        let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        (ciphertext.len() > TAG_BYTES).then_some(Self { id: *id, nonce: *nonce, ciphertext })
    }
}

fn random<const N: usize>() -> Result<[u8; N], CustodyFailure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| CustodyFailure::Device("no random bytes".to_owned()))?;
    Ok(bytes)
}

fn missing(object: &str) -> Fault {
    CustodyFailure::KeyMissing(format!("the token has no key called {object}")).into()
}

fn trusted_key(session: &Session, object: &str) -> Result<(ObjectHandle, KeyId), Fault> {
    let key = key::find(session, object)?.ok_or_else(|| missing(object))?;
    Ok((key, judged(session, key)?))
}

fn judged(session: &Session, key: ObjectHandle) -> Result<KeyId, Fault> {
    let id = key::judge(session, key)?;
    key::refuses_to_show_its_value(session, key)?;
    Ok(id)
}

/// Opens a ciphertext. Some tokens (SoftHSM2 is one) say "general error" for a wrong tag as well as for a fault of their
/// own; then the key is tried on something right, and if that works, the ciphertext is to blame.
fn decrypted(
    session: &Session,
    key: ObjectHandle,
    nonce: [u8; NONCE_BYTES],
    label: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, Fault> {
    match with_gcm(nonce, label, |gcm| Ok(session.decrypt(gcm, key, ciphertext)))? {
        Ok(secret) => Ok(SecretBytes::new(secret)),
        Err(Error::Pkcs11(RvError::GeneralError | RvError::FunctionFailed, _)) if key_works(session, key)? => {
            Err(CustodyFailure::NotAuthentic.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn key_works(session: &Session, key: ObjectHandle) -> Result<bool, Fault> {
    let nonce = random::<NONCE_BYTES>()?;
    let probe = [0x5A; 16];
    let ciphertext = with_gcm(nonce, PROBE_LABEL, |gcm| session.encrypt(gcm, key, &probe))?;
    let opened = with_gcm(nonce, PROBE_LABEL, |gcm| session.decrypt(gcm, key, &ciphertext))?;
    Ok(opened == probe)
}

fn with_gcm<T>(
    mut nonce: [u8; NONCE_BYTES],
    label: &[u8],
    work: impl FnOnce(&Mechanism<'_>) -> cryptoki::error::Result<T>,
) -> Result<T, Fault> {
    let parameters = GcmParams::new(&mut nonce, label, Ulong::new(TAG_BITS.into()))?;
    Ok(work(&Mechanism::AesGcm(parameters))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_sealed_secrets_are_parsed() {
        let whole = [&[VERSION][..], &[7; KEY_ID_BYTES], &[8; NONCE_BYTES], &[9; TAG_BYTES + 1]].concat();
        let parsed = Sealed::parse(&whole).unwrap();
        assert_eq!((parsed.id, parsed.nonce, parsed.ciphertext.len()), ([7; 16], [8; 12], 17));
        assert!((0..whole.len()).all(|length| Sealed::parse(&whole[..length]).is_none()));
        assert!(Sealed::parse(&[&[2], &whole[1..]].concat()).is_none());
    }

    #[test]
    fn a_missing_module_is_named() {
        let settings = Pkcs11Settings {
            module: "/nonexistent/module.so".into(),
            token: "t".to_owned(),
            serial: None,
            object: "o".to_owned(),
            pin: SecretBytes::copy_from(b"1234"),
        };
        let failure = Pkcs11Custody::new(settings).prepare().unwrap_err();
        assert!(matches!(&failure, CustodyFailure::ModuleMissing(why) if why.contains("/nonexistent")), "{failure}");
    }
}
