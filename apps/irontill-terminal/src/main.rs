//! The terminal's own program.

use std::process::ExitCode;

/// Fault: design of the command line, exit codes.
const EXIT_FAULT: u8 = 3;

/// The library is whole; a command line of its own, without the test cards and the built-in enrolment of `irontill`, is not written
/// yet.
fn main() -> ExitCode {
    eprintln!(
        "irontill-terminal: this program has no command line of its own yet; `irontill pay --data DIR` drives the same terminal"
    );
    ExitCode::from(EXIT_FAULT)
}
