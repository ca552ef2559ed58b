//! TLS settings: version 1.3 only, both sides with certificates of our own authority, the hybrid key exchange first.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// Why no TLS configuration can be made of what was given.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds no certificate or key.
    #[error("{0}: not the PEM that belongs here")]
    Pem(&'static str),
    /// Certificate and key do not fit together, or rustls refuses them.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The authority's certificate cannot be trusted.
    #[error("authority: {0}")]
    Authority(String),
}

/// The host's side: clients need a certificate of `authority_pem`.
pub fn server_config(certificate_pem: &str, key_pem: &str, authority_pem: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority_pem)?), provider.clone())
        .build()
        .map_err(|error| TlsError::Authority(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(certificate_pem)?, key(key_pem)?)?;
    // Tickets let terminals that connect for each message skip the certificates; 0-RTT stays off, as it can be replayed.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The terminal's side: the host needs a certificate of `authority_pem`, and of no other.
pub fn client_config(certificate_pem: &str, key_pem: &str, authority_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(authority_pem)?)
        .with_client_auth_cert(chain(certificate_pem)?, key(key_pem)?)?;
    Ok(Arc::new(config))
}

/// The library's own order begins with X25519MLKEM768; a test holds it to that.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(authority_pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(authority_pem)? {
        roots.add(certificate).map_err(|error| TlsError::Authority(error.to_string()))?;
    }
    Ok(roots)
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Pem("certificate"))?;
    if certificates.is_empty() { Err(TlsError::Pem("certificate")) } else { Ok(certificates) }
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::Pem("private key"))
}
