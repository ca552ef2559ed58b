//! The key process's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    irontill_keys::command_line()
}
