//! Who a certificate says its holder is.
//!
//! A terminal's certificate carries its terminal id as common name and `urn:irontill:terminal:TID:MID` as alternative
//! name, everything but letters and digits percent-encoded. Both must agree.

use std::collections::BTreeSet;
use std::fmt;
use types::{MerchantId, TerminalId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const URN_PREFIX: &str = "urn:irontill:terminal:";

/// The terminal and merchant that a client certificate names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerIdentity {
    /// Field 41 of everything the peer may say.
    pub terminal: TerminalId,
    /// Field 42 of everything the peer may say.
    pub merchant: MerchantId,
    /// Serial number of the certificate.
    pub serial: Vec<u8>,
}

/// Why a certificate names no terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("not an X.509 certificate")]
    Malformed,
    /// No terminal name, or more than one.
    #[error("the certificate does not name one terminal")]
    NoTerminal,
    /// Common name and alternative name differ.
    #[error("the certificate contradicts itself")]
    Contradiction,
}

impl PeerIdentity {
    /// Reads a DER certificate whose chain has been verified already.
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        if !rest.is_empty() {
            return Err(IdentityError::Malformed);
        }
        let (terminal, merchant) = named_terminal(&certificate)?;
        let mut common_names = certificate.subject().iter_common_name();
        let common_name = common_names.next().and_then(|name| name.as_str().ok());
        if common_name != Some(terminal.text()) || common_names.next().is_some() {
            return Err(IdentityError::Contradiction);
        }
        Ok(Self { terminal, merchant, serial: certificate.raw_serial().to_vec() })
    }
}

fn named_terminal(certificate: &X509Certificate<'_>) -> Result<(TerminalId, MerchantId), IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Malformed)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names[..]);
    let mut urns = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(URN_PREFIX),
        _ => None,
    });
    match (urns.next(), urns.next()) {
        (Some(urn), None) => read_urn(urn).ok_or(IdentityError::NoTerminal),
        _ => Err(IdentityError::NoTerminal),
    }
}

fn read_urn(urn: &str) -> Option<(TerminalId, MerchantId)> {
    let (terminal, merchant) = urn.split_once(':')?;
    let terminal = TerminalId::from_slice(&percent_decode(terminal)?).ok()?;
    let merchant = MerchantId::from_slice(&percent_decode(merchant)?).ok()?;
    Some((terminal, merchant))
}

/// The alternative name of a terminal's certificate.
pub(crate) fn terminal_urn(terminal: TerminalId, merchant: MerchantId) -> String {
    format!("{URN_PREFIX}{}:{}", percent_encode(terminal.bytes()), percent_encode(merchant.bytes()))
}

fn percent_encode(bytes: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(encode).collect()
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                u8::try_from(value).ok()?
            }
            byte if byte.is_ascii_alphanumeric() => byte,
            _ => return None,
        };
        bytes.push(decoded);
    }
    Some(bytes)
}

/// Serial numbers of certificates that are no longer accepted. Checked after each handshake, resumed ones too.
#[derive(Clone, Default, Debug)]
pub struct RevocationList(BTreeSet<Vec<u8>>);

impl RevocationList {
    /// Reads one hexadecimal serial number a line; empty lines and lines that begin with `#` are skipped. The error is the
    /// number of the line that is no serial number.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut serials = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                serials.insert(parse_hex(line).ok_or(number + 1)?);
            }
        }
        Ok(Self(serials))
    }

    /// Adds a serial number.
    pub fn revoke(&mut self, serial: &[u8]) {
        self.0.insert(serial.to_vec());
    }

    /// Whether a serial number is on the list.
    pub fn is_revoked(&self, serial: &[u8]) -> bool {
        self.0.contains(serial)
    }
}

impl fmt::Display for RevocationList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for serial in &self.0 {
            serial.iter().try_for_each(|byte| write!(formatter, "{byte:02X}"))?;
            writeln!(formatter)?;
        }
        Ok(())
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pair = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_urn() {
        let terminal = TerminalId::parse("AB 1:%/z").unwrap();
        let merchant = MerchantId::parse("123456789012345").unwrap();
        let urn = terminal_urn(terminal, merchant);
        assert_eq!(urn, "urn:irontill:terminal:AB%201%3A%25%2Fz:123456789012345");
        assert_eq!(read_urn(urn.strip_prefix(URN_PREFIX).unwrap()), Some((terminal, merchant)));
    }

    #[test]
    fn a_broken_urn_names_nobody() {
        for urn in ["", "12345678", "12345678:", "12345678:12345678901234", "1234567 :123456789012345", "1234567%2:x"] {
            assert_eq!(read_urn(urn), None, "{urn}");
        }
    }

    #[test]
    fn revocation_lists_are_text() {
        let mut list = RevocationList::parse("# lost\n\n0A1b\n").unwrap();
        list.revoke(&[0xFF]);
        assert!(list.is_revoked(&[0x0A, 0x1B]) && list.is_revoked(&[0xFF]) && !list.is_revoked(&[0x0A]));
        assert_eq!(list.to_string(), "0A1B\nFF\n");
        assert_eq!(RevocationList::parse("00\nxyz").unwrap_err(), 2);
    }
}
