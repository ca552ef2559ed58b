//! The system's own certificate authority: a P-256 root that signs host and terminal certificates.
//!
//! Nobody outside the system trusts it, and the system trusts nobody else. From a request it takes the public key, whose
//! possession the request proves, and nothing more: names and uses are the authority's to write.

use crate::identity::terminal_urn;
use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
    date_time_ymd,
};
use std::net::IpAddr;
use types::{LocalDate, MerchantId, TerminalId};
use zeroize::Zeroizing;

/// Years for which the root is valid.
pub const AUTHORITY_VALIDITY_YEARS: u16 = 10;
/// Years for which a host's certificate is valid.
pub const HOST_VALIDITY_YEARS: u16 = 1;
/// Years for which a terminal's certificate is valid.
pub const TERMINAL_VALIDITY_YEARS: u16 = 2;
/// Bytes of a serial number: random, so that it cannot be guessed before signing.
const SERIAL_BYTES: usize = 16;

/// Why the authority cannot do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request is malformed, or its signature does not fit its key.
    #[error("certificate request refused: {0}")]
    Request(rcgen::Error),
    /// The request's key is not P-256.
    #[error("certificate request refused: its key is not P-256")]
    RequestKey,
    /// A name cannot stand in a certificate.
    #[error("not a name for a certificate: {0}")]
    Name(String),
    /// A stored certificate or key cannot be read.
    #[error("stored certificate or key cannot be read: {0}")]
    Stored(rcgen::Error),
    /// Signing or key generation failed.
    #[error("signing failed: {0}")]
    Signing(rcgen::Error),
    /// No randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

/// A certificate with its private key, both PEM.
pub struct CertificateAndKey {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: Zeroizing<String>,
}

/// A terminal's fresh key, and the request in which it asks for a certificate.
pub struct TerminalRequest {
    /// The request (PKCS #10), PEM.
    pub request_pem: String,
    /// The private key, PKCS #8 PEM. It never leaves the terminal.
    pub key_pem: Zeroizing<String>,
}

impl TerminalRequest {
    /// Makes a fresh P-256 key and a request for it.
    pub fn create(terminal: TerminalId) -> Result<Self, AuthorityError> {
        let key = fresh_key()?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = common_name(terminal.text());
        let request = parameters.serialize_request(&key).map_err(AuthorityError::Signing)?;
        let request_pem = request.pem().map_err(AuthorityError::Signing)?;
        Ok(Self { request_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

/// A root certificate and its key.
pub struct Authority {
    certificate_pem: String,
    key_pem: Zeroizing<String>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new root of this name, valid from `today` (UTC).
    pub fn create(name: &str, today: LocalDate) -> Result<Self, AuthorityError> {
        let key = fresh_key()?;
        let mut parameters = base_parameters(name, today, AUTHORITY_VALIDITY_YEARS)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key).map_err(AuthorityError::Signing)?;
        Self::load(&certificate.pem(), &key.serialize_pem())
    }

    /// Takes a stored root up again.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Stored)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(AuthorityError::Stored)?;
        let key_pem = Zeroizing::new(key_pem.to_owned());
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key_pem, issuer })
    }

    /// The root certificate, which every party of the system trusts.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root's private key, for storing.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A certificate and fresh key for a host that answers under these DNS names and addresses.
    pub fn issue_host(&self, names: &[&str], today: LocalDate) -> Result<CertificateAndKey, AuthorityError> {
        let key = fresh_key()?;
        let first = names.first().ok_or_else(|| AuthorityError::Name("none given".to_owned()))?;
        let mut parameters = base_parameters(first, today, HOST_VALIDITY_YEARS)?;
        parameters.subject_alt_names = names.iter().map(|name| host_name(name)).collect::<Result<_, _>>()?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(AuthorityError::Signing)?;
        Ok(CertificateAndKey { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// The certificate of a terminal for the key in its request. Returns PEM.
    pub fn issue_terminal(
        &self,
        request_pem: &str,
        terminal: TerminalId,
        merchant: MerchantId,
        today: LocalDate,
    ) -> Result<String, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem).map_err(AuthorityError::Request)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::RequestKey);
        }
        let mut parameters = base_parameters(terminal.text(), today, TERMINAL_VALIDITY_YEARS)?;
        let urn = terminal_urn(terminal, merchant);
        let urn = urn.try_into().map_err(|_| AuthorityError::Name("terminal".to_owned()))?;
        parameters.subject_alt_names = vec![SanType::URI(urn)];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&request.public_key, &self.issuer).map_err(AuthorityError::Signing)?;
        Ok(certificate.pem())
    }
}

fn fresh_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Signing)
}

fn base_parameters(name: &str, today: LocalDate, years: u16) -> Result<CertificateParams, AuthorityError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = common_name(name);
    parameters.serial_number = Some(fresh_serial()?);
    parameters.use_authority_key_identifier_extension = true;
    parameters.not_before = date_time_ymd(i32::from(today.year()), today.month(), today.day());
    // The 28th exists in every month, so a certificate made on 29 February has an end.
    parameters.not_after = date_time_ymd(i32::from(today.year() + years), today.month(), today.day().min(28));
    Ok(parameters)
}

fn fresh_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    rand::fill(&mut bytes).map_err(|_| AuthorityError::Randomness)?;
    // Positive and of full length, so that DER has one way to write it.
    bytes[0] = bytes[0] & 0x7F | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn host_name(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let dns_name = name.to_owned().try_into().map_err(|_| AuthorityError::Name(name.to_owned()))?;
    Ok(SanType::DnsName(dns_name))
}
