//! Which TPM, key, authorisation and machine state.

use keys::{AddressError, CustodyAddress};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::str::FromStr;
use tss_esapi::handles::PersistentTpmHandle;
use tss_esapi::structures::Auth;
use tss_esapi::tcti_ldr::TctiNameConf;
use types::SecretBytes;

/// Shortest authorisation secret that is taken, in bytes: the TPM itself slows guessing down.
pub const AUTH_BYTES_MIN: usize = 4;
const AUTH_BYTES_MAX: usize = 1024;
/// Platform configuration registers of a PC client TPM.
const PCR_COUNT: u32 = 24;
/// Persistent handles that the owner gives away (TCG handle registry §2.3.1): 81 00 00 00 to 81 7F FF FF.
const OWNER_HANDLES: core::ops::RangeInclusive<u32> = 0x8100_0000..=0x817F_FFFF;

/// Which TPM and how to authorise. Secrets never print.
#[derive(Debug)]
pub struct TpmSettings {
    pub(crate) tcti: TctiNameConf,
    pub(crate) tcti_text: String,
    pub(crate) handle: PersistentTpmHandle,
    pub(crate) handle_number: u32,
    /// SHA-256 of the secret, so that any length fits a TPM's authorisation value.
    auth: SecretBytes,
    owner_auth: SecretBytes,
    /// Bit n: platform configuration register n of the SHA-256 bank.
    pub(crate) pcr_mask: u32,
}

impl TpmSettings {
    /// Settings. `tcti` is a TCTI string (`device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321`), `handle` the
    /// persistent handle of the storage key, `auth` the authorisation secret of what is sealed, `pcrs` the platform
    /// configuration registers (SHA-256 bank) that must not change.
    ///
    /// # Errors
    /// [`AddressError::Value`] for the first value out of range.
    pub fn new(tcti: &str, handle: u32, auth: &SecretBytes, pcrs: &[u32]) -> Result<Self, AddressError> {
        let conf = TctiNameConf::from_str(tcti).map_err(|_| AddressError::Value("tcti"))?;
        if !OWNER_HANDLES.contains(&handle) {
            return Err(AddressError::Value("handle"));
        }
        let persistent = PersistentTpmHandle::new(handle).map_err(|_| AddressError::Value("handle"))?;
        if !(AUTH_BYTES_MIN..=AUTH_BYTES_MAX).contains(&auth.len()) {
            return Err(AddressError::Value("auth-file"));
        }
        if pcrs.iter().any(|pcr| *pcr >= PCR_COUNT) {
            return Err(AddressError::Value("pcrs"));
        }
        Ok(Self {
            tcti: conf,
            tcti_text: tcti.to_owned(),
            handle: persistent,
            handle_number: handle,
            auth: digest_of(auth),
            owner_auth: SecretBytes::default(),
            pcr_mask: pcrs.iter().fold(0, |mask, pcr| mask | 1 << pcr),
        })
    }

    /// With the TPM owner's authorisation, which only making and destroying keys and counters needs. It is used as it
    /// is, so that the TPM's other tools agree.
    ///
    /// # Errors
    /// [`AddressError::Value`] if it is longer than a TPM takes.
    pub fn with_owner_auth(mut self, owner_auth: SecretBytes) -> Result<Self, AddressError> {
        Auth::try_from(owner_auth.expose()).map_err(|_| AddressError::Value("owner-auth-file"))?;
        self.owner_auth = owner_auth;
        Ok(self)
    }

    /// Reads `tpm:tcti=…;handle=0x81000100;auth-file=…;pcrs=0,7;owner-auth-file=…`; the last two may be absent.
    /// `read_secret` gives the content of the files.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn from_address(
        mut address: CustodyAddress,
        read_secret: &dyn Fn(&Path) -> Result<SecretBytes, String>,
    ) -> Result<Self, AddressError> {
        let tcti = address.need("tcti")?;
        let handle = number(&address.need("handle")?).ok_or(AddressError::Value("handle"))?;
        let auth_file = address.need("auth-file")?;
        let owner_auth_file = address.take("owner-auth-file");
        let pcrs = address.take("pcrs").map_or(Some(Vec::new()), |text| registers(&text));
        address.finish()?;
        let read =
            |name, path: &str| read_secret(Path::new(path)).map_err(|reason| AddressError::File { name, reason });
        let auth = read("auth-file", &auth_file)?;
        let settings = Self::new(&tcti, handle, &auth, &pcrs.ok_or(AddressError::Value("pcrs"))?)?;
        match owner_auth_file {
            Some(path) => settings.with_owner_auth(read("owner-auth-file", &path)?),
            None => Ok(settings),
        }
    }

    pub(crate) fn auth(&self) -> Auth {
        Auth::try_from(self.auth.expose()).expect("a SHA-256 digest fits")
    }

    /// The owner's authorisation; `None` if it is the empty one.
    pub(crate) fn owner_auth(&self) -> Option<Auth> {
        let auth = Auth::try_from(self.owner_auth.expose()).expect("checked when it was set");
        (!self.owner_auth.is_empty()).then_some(auth)
    }
}

fn digest_of(auth: &SecretBytes) -> SecretBytes {
    let digest = Sha256::new().chain_update(b"irontill tpm authorisation 1\0").chain_update(auth.expose()).finalize();
    SecretBytes::copy_from(&digest)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `0,7` or `sha256:0,7`.
fn registers(text: &str) -> Option<Vec<u32>> {
    let list = text.strip_prefix("sha256:").unwrap_or(text);
    list.split(',').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<TpmSettings, AddressError> {
        let read = |path: &Path| {
            let right = path == Path::new("/auth");
            if right { Ok(SecretBytes::copy_from(b"secret")) } else { Err("no such file".to_owned()) }
        };
        TpmSettings::from_address(CustodyAddress::parse(text).unwrap(), &read)
    }

    #[test]
    fn a_whole_address_is_read() {
        let text = "tpm:tcti=swtpm:host=127.0.0.1,port=2321;handle=0x81000100;auth-file=/auth;pcrs=sha256:0,7";
        let settings = parsed(text).unwrap();
        assert_eq!((settings.handle_number, settings.pcr_mask), (0x8100_0100, 0b1000_0001));
        assert!(settings.owner_auth().is_none());
        assert!(!format!("{settings:?}").contains("secret"));
        let with_owner = parsed(&format!("{text};owner-auth-file=/auth")).unwrap();
        assert_eq!(with_owner.owner_auth().unwrap().value(), b"secret");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let error = |text: &str| parsed(&format!("tpm:{text}")).unwrap_err();
        assert_eq!(error("tcti=nothing;handle=0x81000100;auth-file=/auth"), AddressError::Value("tcti"));
        assert_eq!(error("tcti=device;handle=0x80000100;auth-file=/auth"), AddressError::Value("handle"));
        assert_eq!(error("tcti=device;handle=0x81800000;auth-file=/auth"), AddressError::Value("handle"));
        assert_eq!(error("tcti=device;handle=x;auth-file=/auth"), AddressError::Value("handle"));
        assert_eq!(error("tcti=device;handle=0x81000100;auth-file=/auth;pcrs=24"), AddressError::Value("pcrs"));
        assert_eq!(error("tcti=device;handle=0x81000100;auth-file=/auth;pcrs="), AddressError::Value("pcrs"));
        assert_eq!(error("handle=0x81000100;auth-file=/auth"), AddressError::Missing("tcti"));
    }

    #[test]
    fn a_short_authorisation_is_refused() {
        let short = TpmSettings::new("device", 0x8100_0100, &SecretBytes::copy_from(b"abc"), &[]);
        assert_eq!(short.unwrap_err(), AddressError::Value("auth-file"));
    }
}
