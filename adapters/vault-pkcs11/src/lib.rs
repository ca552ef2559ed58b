//! Custody of a vault's master secrets in a PKCS#11 token: a hardware security module, a smart card, SoftHSM2.
//!
//! * **Duty:** seals and opens short secrets under an AES-256 key that was generated in the token and cannot leave it.
//! * **Knows:** one module, one token, one key by name, the user's PIN.
//! * **Never:** uses a key that is extractable or was not generated in the token, tries a wrong PIN twice, or stays
//!   logged in: every operation opens a session of its own and closes it.
//! * **Start here:** [`Pkcs11Custody`].

mod custody;
mod failure;
mod key;
mod settings;

pub use custody::Pkcs11Custody;
pub use settings::Pkcs11Settings;
