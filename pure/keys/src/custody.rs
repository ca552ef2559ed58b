//! Who keeps the key above a vault's master secrets, and how that keeper is named.
//!
//! A vault file holds its master secrets under a data key; a [`MasterCustody`] seals that data key: a passphrase, a
//! PKCS#11 token or a TPM. It is asked when a vault is made, opened or handed to another keeper, and never in between.

use std::collections::BTreeMap;
use types::SecretBytes;

/// Longest secret that every custody can seal, in bytes. A TPM 2.0 seals at most 128 bytes, label digest included.
pub const CUSTODY_SECRET_BYTES_MAX: usize = 64;
/// Longest label that a secret may be bound to, in bytes.
pub const CUSTODY_LABEL_BYTES_MAX: usize = 256;
/// Longest custody address that is read, in bytes.
const ADDRESS_BYTES_MAX: usize = 4096;

/// What keeps the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustodyKind {
    /// A passphrase, stretched.
    Passphrase,
    /// A non-extractable key in a PKCS#11 token.
    Pkcs11,
    /// A storage key in a TPM 2.0.
    Tpm,
}

impl CustodyKind {
    /// Every kind.
    pub const ALL: [CustodyKind; 3] = [CustodyKind::Passphrase, CustodyKind::Pkcs11, CustodyKind::Tpm];

    /// Number in a vault file, from 1.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            CustodyKind::Passphrase => 1,
            CustodyKind::Pkcs11 => 2,
            CustodyKind::Tpm => 3,
        }
    }

    /// From the number in a vault file.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The scheme of its address: `passphrase`, `pkcs11`, `tpm`.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            CustodyKind::Passphrase => "passphrase",
            CustodyKind::Pkcs11 => "pkcs11",
            CustodyKind::Tpm => "tpm",
        }
    }
}

impl core::fmt::Display for CustodyKind {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(self.scheme())
    }
}

/// What a custody says about itself. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodyDescription {
    /// What keeps the key.
    pub kind: CustodyKind,
    /// Which one it is, for people: token and object, or TPM and handle.
    pub place: String,
}

impl core::fmt::Display for CustodyDescription {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { kind, place } = self;
        if place.is_empty() { write!(formatter, "{kind}") } else { write!(formatter, "{kind} ({place})") }
    }
}

/// Why a custody did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustodyFailure {
    /// The PKCS#11 module cannot be loaded.
    #[error("the PKCS#11 module cannot be loaded: {0}")]
    ModuleMissing(String),
    /// The module is there and the token is not, or more than one has its name.
    #[error("the token is not there: {0}")]
    TokenMissing(String),
    /// Nothing answers where the device should be.
    #[error("the device cannot be reached: {0}")]
    Unreachable(String),
    /// The device has no such key, or not the one that sealed.
    #[error("the custody key is not there: {0}")]
    KeyMissing(String),
    /// The key is there and not trustworthy enough.
    #[error("the custody key may not be used: {0}")]
    KeyUnsuitable(String),
    /// The PIN or authorisation value is wrong. It is not tried again.
    #[error("the PIN or authorisation value is wrong{}", tries_left(.0))]
    WrongSecret(Option<u32>),
    /// One wrong PIN more would lock the token, so none is tried.
    #[error("one wrong PIN more locks the token: log in by hand once, then start again")]
    LastTry,
    /// Too many wrong PINs or authorisations.
    #[error("locked after too many wrong PINs or authorisations")]
    Locked,
    /// The machine is not in the state that the secret was sealed to (TPM platform configuration registers).
    #[error("the machine is not in the state that the secret was sealed to (PCR)")]
    StateChanged,
    /// Altered, sealed under another key or label, or no sealed secret at all: the three cannot be told apart.
    #[error("altered, or sealed by another key or for another purpose")]
    NotAuthentic,
    /// No answer in time. The custody is given up, since nobody knows what it still does.
    #[error("no answer in time")]
    Timeout,
    /// The custody cannot do this at all.
    #[error("not possible: {0}")]
    NotPossible(&'static str),
    /// The caller asked for something outside the limits.
    #[error("misuse: {0}")]
    Misuse(&'static str),
    /// What another process that asked the device says of it.
    #[error("{0}")]
    Reported(String),
    /// Anything else that the device answered, in its words.
    #[error("the device refused: {0}")]
    Device(String),
}

fn tries_left(tries: &Option<u32>) -> String {
    tries.map_or(String::new(), |tries| format!(" ({tries} tries left)"))
}

/// Whoever keeps the key above a vault's master secrets.
///
/// A custody never gives its key away and never keeps a secret that it sealed. Wrong PINs are not tried twice.
pub trait MasterCustody {
    /// Which custody this is.
    fn describe(&self) -> CustodyDescription;

    /// Makes the key if it is missing, and checks it if it is there. May be called again after any failure.
    ///
    /// # Errors
    /// [`CustodyFailure`].
    fn prepare(&mut self) -> Result<(), CustodyFailure>;

    /// Seals a secret of 1 to [`CUSTODY_SECRET_BYTES_MAX`] bytes for one purpose.
    ///
    /// # Errors
    /// [`CustodyFailure`].
    fn seal(&mut self, label: &[u8], secret: &SecretBytes) -> Result<Vec<u8>, CustodyFailure>;

    /// Opens what [`MasterCustody::seal`] made under the same label and key.
    ///
    /// # Errors
    /// [`CustodyFailure`].
    fn open(&mut self, label: &[u8], sealed: &[u8]) -> Result<SecretBytes, CustodyFailure>;

    /// Destroys the key: whatever it sealed never opens again.
    ///
    /// # Errors
    /// [`CustodyFailure`]; a passphrase cannot be destroyed from here.
    fn destroy(&mut self) -> Result<(), CustodyFailure>;
}

/// Checks what every custody checks before it seals.
///
/// # Errors
/// [`CustodyFailure::Misuse`].
pub fn check_sealable(label: &[u8], secret: &SecretBytes) -> Result<(), CustodyFailure> {
    if label.is_empty() || label.len() > CUSTODY_LABEL_BYTES_MAX {
        return Err(CustodyFailure::Misuse("a label has 1 to 256 bytes"));
    }
    if secret.is_empty() || secret.len() > CUSTODY_SECRET_BYTES_MAX {
        return Err(CustodyFailure::Misuse("a sealed secret has 1 to 64 bytes"));
    }
    Ok(())
}

/// Why a custody address was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text before the colon names no custody.
    #[error("a custody address begins with passphrase, pkcs11: or tpm:")]
    Scheme,
    /// A part is not `name=value`, or a value's percent signs do not encode bytes of UTF-8 text.
    #[error("part {0} of the custody address is not name=value")]
    Part(usize),
    /// One name twice.
    #[error("{0} stands twice in the custody address")]
    Twice(String),
    /// A name that this custody does not have.
    #[error("{0} means nothing in this custody address")]
    Unknown(String),
    /// A name that this custody needs.
    #[error("the custody address lacks {0}")]
    Missing(&'static str),
    /// A value out of range.
    #[error("{0}: not a usable value in the custody address")]
    Value(&'static str),
    /// The file that a value names cannot be used.
    #[error("{name}: {reason}")]
    File {
        /// The attribute.
        name: &'static str,
        /// The reason, without content.
        reason: String,
    },
}

/// A custody named in one line: `passphrase`, `pkcs11:token=acq;object=vault?module-path=/lib/m.so&pin-source=/pin`
/// (RFC 7512), `tpm:tcti=device:/dev/tpmrm0;handle=0x81000100;auth-file=/auth`.
///
/// Parts are separated by `;`, `?` or `&`; values may be percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodyAddress {
    kind: CustodyKind,
    attributes: BTreeMap<String, String>,
}

impl CustodyAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let kind = CustodyKind::ALL.into_iter().find(|kind| kind.scheme() == scheme).ok_or(AddressError::Scheme)?;
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::Part(1));
        }
        let mut attributes = BTreeMap::new();
        let parts = rest.split([';', '?', '&']).enumerate().filter(|(_, part)| !part.is_empty());
        for (index, part) in parts {
            let malformed = AddressError::Part(index + 1);
            let (name, value) = part.split_once('=').ok_or(malformed.clone())?;
            let value = percent_decoded(value).ok_or(malformed)?;
            if attributes.insert(name.to_owned(), value).is_some() {
                return Err(AddressError::Twice(name.to_owned()));
            }
        }
        Ok(Self { kind, attributes })
    }

    /// Which custody it names.
    #[must_use]
    pub fn kind(&self) -> CustodyKind {
        self.kind
    }

    /// Takes a value out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.attributes.remove(name)
    }

    /// Takes a value out that must be there.
    ///
    /// # Errors
    /// [`AddressError::Missing`].
    pub fn need(&mut self, name: &'static str) -> Result<String, AddressError> {
        self.take(name).filter(|value| !value.is_empty()).ok_or(AddressError::Missing(name))
    }

    /// Checks that everything was taken: a misspelt option must not silently mean nothing.
    ///
    /// # Errors
    /// [`AddressError::Unknown`].
    pub fn finish(self) -> Result<(), AddressError> {
        self.attributes.into_keys().next().map_or(Ok(()), |name| Err(AddressError::Unknown(name)))
    }
}

/// A value with `%XX` resolved; `None` if the encoding is broken or the bytes are no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)? } else { byte });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keep_their_numbers() {
        let numbers: Vec<u8> = CustodyKind::ALL.into_iter().map(CustodyKind::number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!((0..=u8::MAX).filter_map(CustodyKind::from_number).eq(CustodyKind::ALL));
    }

    #[test]
    fn an_address_of_rfc_7512_is_read() {
        let text = "pkcs11:token=The%20Software%20Token;object=vault?module-path=/lib/m.so&pin-source=/etc/pin%3b1";
        let mut address = CustodyAddress::parse(text).unwrap();
        assert_eq!(address.kind(), CustodyKind::Pkcs11);
        assert_eq!(address.need("token").unwrap(), "The Software Token");
        assert_eq!(address.need("pin-source").unwrap(), "/etc/pin;1");
        assert_eq!(address.take("module-path").unwrap(), "/lib/m.so");
        assert_eq!(address.need("serial"), Err(AddressError::Missing("serial")));
        assert_eq!(address.clone().finish(), Err(AddressError::Unknown("object".to_owned())));
        assert_eq!(address.take("object").unwrap(), "vault");
        assert_eq!(address.finish(), Ok(()));
    }

    #[test]
    fn a_tcti_keeps_its_colons_and_commas() {
        let text = "tpm:tcti=swtpm:host=127.0.0.1,port=2321;handle=0x81000100";
        assert_eq!(CustodyAddress::parse(text).unwrap().take("tcti").unwrap(), "swtpm:host=127.0.0.1,port=2321");
    }

    #[test]
    fn broken_addresses_are_refused() {
        let error = |text: &str| CustodyAddress::parse(text).unwrap_err();
        assert_eq!(error(""), AddressError::Scheme);
        assert_eq!(error("hsm:x=1"), AddressError::Scheme);
        assert_eq!(error("tpm:tcti"), AddressError::Part(1));
        assert_eq!(error("tpm:a=1;b=%4"), AddressError::Part(2));
        assert_eq!(error("tpm:a=%zz"), AddressError::Part(1));
        assert_eq!(error("tpm:a=%ff"), AddressError::Part(1));
        assert_eq!(error("tpm:a=%00"), AddressError::Part(1));
        assert_eq!(error("tpm:a=1&a=2"), AddressError::Twice("a".to_owned()));
        assert_eq!(error(&format!("tpm:a={}", "x".repeat(ADDRESS_BYTES_MAX))), AddressError::Part(1));
        assert!(CustodyAddress::parse("passphrase").is_ok() && CustodyAddress::parse("passphrase:").is_ok());
    }

    #[test]
    fn failures_say_what_happened() {
        assert_eq!(CustodyFailure::WrongSecret(None).to_string(), "the PIN or authorisation value is wrong");
        let two = CustodyFailure::WrongSecret(Some(2)).to_string();
        assert_eq!(two, "the PIN or authorisation value is wrong (2 tries left)");
    }

    #[test]
    fn only_short_secrets_with_a_label_are_sealed() {
        let secret = |length| SecretBytes::new(vec![1; length]);
        assert_eq!(check_sealable(b"x", &secret(64)), Ok(()));
        for (label, length) in [(&b""[..], 32), (b"x", 0), (b"x", 65), (&[0; 257], 32)] {
            assert!(matches!(check_sealable(label, &secret(length)), Err(CustodyFailure::Misuse(_))));
        }
    }
}
