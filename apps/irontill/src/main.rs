//! `irontill`: flags in, exit codes out. Everything else is in the library.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match irontill::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Asking for help or the version is no misuse.
            let misuse = usage.use_stderr();
            if usage.print().is_err() {
                return ExitCode::from(3);
            }
            return ExitCode::from(if misuse { 2 } else { 0 });
        }
    };
    match irontill::work(arguments) {
        Ok(verdict) => verdict.into(),
        Err(fault) => {
            eprintln!("irontill: {fault:#}");
            let misuse = fault.downcast_ref::<irontill::Misuse>().is_some();
            ExitCode::from(if misuse { 2 } else { 3 })
        }
    }
}
