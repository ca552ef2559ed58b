//! Benchmarks of the payment cryptography, with their limits measured in the same run.
//!
//! * **Duty:** what `irontill bench crypto` shows: the algorithms of `paycrypto` beside the bare ciphers they are made of,
//!   the key socket beside a bare Unix socket, and what `openssl speed` reaches on the same core.
//! * **Knows:** how to measure on a machine that others use too: processor time of one thread, a warm-up, several
//!   rounds, their median.
//! * **Never:** judges. Figures are for people; a check that fails on a busy machine is worse than none.
//! * **Start here:** [`crypto`]; a new algorithm is one entry in `library.rs`.

mod library;
mod openssl;
mod raw;
mod report;
mod socket;
mod timing;

pub use report::CryptoReport;
pub use timing::Timing;

/// Measures everything.
///
/// # Errors
/// If a vault or a socket could not be set up, or an algorithm gave a wrong answer.
pub fn crypto(timing: &Timing) -> anyhow::Result<CryptoReport> {
    let raw = raw::RawCiphers::measure(timing)?;
    Ok(CryptoReport {
        rounds: timing.rounds,
        library: library::measure(timing, &raw)?,
        socket: socket::measure(timing)?,
        openssl: openssl::measure(),
        raw,
    })
}
