//! Custody of a vault's master secrets in a TPM 2.0, and its monotonic counters.
//!
//! * **Duty:** seals short secrets to one TPM, an authorisation value and, if asked, to the machine's measured state;
//!   counts upwards where nobody can count back.
//! * **Knows:** one TPM by its TCTI string, one persistent storage key, one authorisation value.
//! * **Never:** leaves a handle behind (there may be no resource manager), keeps a connection open between operations,
//!   or tries a wrong authorisation twice.
//! * **Start here:** [`TpmCustody`], [`TpmCounter`].

mod counter;
mod custody;
mod device;
mod failure;
mod sealed;
mod settings;
mod storage_key;

pub use counter::TpmCounter;
pub use custody::TpmCustody;
pub use settings::{AUTH_BYTES_MIN, TpmSettings};
