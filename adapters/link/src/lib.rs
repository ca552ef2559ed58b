//! The wire below the messages: length framing over mutual TLS 1.3, and the certificates that make it mutual.
//!
//! *Duty*: [`Server`] (many connections, none slows another), [`Client`] (one exchange at a time, knows whether a byte
//! left), [`Authority`] (the system's own certificate authority), [`PeerIdentity`] (who a certificate says the peer is).
//! *Knows*: frames as bytes, limits. *Never*: looks into a frame, logs a byte of it. *Start here*: [`Server::serve`],
//! [`Client::exchange`].

mod authority;
mod client;
mod files;
mod frame;
mod identity;
mod server;
mod tls;

pub use authority::{
    AUTHORITY_VALIDITY_YEARS, Authority, AuthorityError, CertificateAndKey, HOST_VALIDITY_YEARS,
    TERMINAL_VALIDITY_YEARS, TerminalRequest,
};
pub use client::{Client, ClientLimits, ClientOptions, ExchangeFailed};
pub use files::{create_private_folder, read_private, write_durably, write_private};
pub use frame::{FRAME_BYTES_MAX, LENGTH_BYTES};
pub use identity::{IdentityError, PeerIdentity, RevocationList};
pub use rustls::{ClientConfig, ServerConfig};
pub use server::{Handler, Limits, LinkEvent, Reply, Request, Server, Stop};
pub use tls::{TlsError, client_config, server_config};
