//! The key process with every custody built in, for the conformance suite to start, kill and start again.

use std::process::ExitCode;

fn main() -> ExitCode {
    irontill_keys::command_line()
}
