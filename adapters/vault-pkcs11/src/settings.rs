//! Which module, token, key and PIN.

use keys::{AddressError, CustodyAddress};
use std::path::{Path, PathBuf};
use types::SecretBytes;

/// Where the key is and how to log in. The PIN never prints.
#[derive(Debug)]
pub struct Pkcs11Settings {
    /// The module's library, an absolute path.
    pub module: PathBuf,
    /// The token's label (`CKA_LABEL` of the token info).
    pub token: String,
    /// The token's serial number, where two tokens share a label.
    pub serial: Option<String>,
    /// The key's label (`CKA_LABEL`). Exactly one key of the token may have it.
    pub object: String,
    /// The normal user's PIN.
    pub pin: SecretBytes,
}

impl Pkcs11Settings {
    /// Reads `pkcs11:token=…;object=…;serial=…?module-path=…&pin-source=…` (RFC 7512); `serial` may be absent.
    /// `read_secret` gives the PIN from the file that `pin-source` names, with or without `file:` before the path.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn from_address(
        mut address: CustodyAddress,
        read_secret: &dyn Fn(&Path) -> Result<SecretBytes, String>,
    ) -> Result<Self, AddressError> {
        let module = PathBuf::from(address.need("module-path")?);
        let source = address.need("pin-source")?;
        let source = source.strip_prefix("file:").unwrap_or(&source);
        let token = address.need("token")?;
        let object = address.need("object")?;
        let serial = address.take("serial");
        address.finish()?;
        if !module.is_absolute() {
            return Err(AddressError::Value("module-path"));
        }
        let pin = read_secret(Path::new(source)).map_err(|reason| AddressError::File { name: "pin-source", reason })?;
        Ok(Self { module, token, serial, object, pin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Pkcs11Settings, AddressError> {
        let read = |path: &Path| {
            let right = path == Path::new("/etc/pin");
            if right { Ok(SecretBytes::copy_from(b"1234")) } else { Err("no such file".to_owned()) }
        };
        Pkcs11Settings::from_address(CustodyAddress::parse(text).unwrap(), &read)
    }

    #[test]
    fn a_whole_address_is_read() {
        let text = "pkcs11:token=acq;serial=7;object=vault?module-path=/lib/m.so&pin-source=file:/etc/pin";
        let settings = parsed(text).unwrap();
        assert_eq!((settings.token.as_str(), settings.object.as_str()), ("acq", "vault"));
        assert_eq!(settings.serial.as_deref(), Some("7"));
        assert_eq!(settings.pin.expose(), b"1234");
        assert!(!format!("{settings:?}").contains("1234"));
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_is_named() {
        let base = "pkcs11:token=acq;object=vault?pin-source=/etc/pin&";
        let error = |text: &str| parsed(&format!("{base}{text}")).unwrap_err();
        assert_eq!(error(""), AddressError::Missing("module-path"));
        assert_eq!(error("module-path=m.so"), AddressError::Value("module-path"));
        assert_eq!(error("module-path=/m.so&pin=1"), AddressError::Unknown("pin".to_owned()));
        let unreadable = parsed("pkcs11:token=a;object=b?pin-source=/x&module-path=/m.so").unwrap_err();
        assert_eq!(unreadable.to_string(), "pin-source: no such file");
    }
}
