//! `irontill`: flags in, exit codes out. Everything else is in the library.

use clap::Parser;
use std::process::ExitCode;

/// What the standard library says when it panics because nobody reads standard output any more.
const PIPE_CLOSED: &str = "failed printing to stdout: Broken pipe";

fn main() -> ExitCode {
    be_quiet_about_closed_pipes();
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

/// A reader that has seen enough (`irontill explain … | head`) is nobody's fault: the program ends, tidily, without a report.
fn be_quiet_about_closed_pipes() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload_as_str().is_some_and(|text| text.starts_with(PIPE_CLOSED)) {
            report(panic);
        }
    }));
}
