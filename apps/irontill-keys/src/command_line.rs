//! The key process's command line.

use crate::{KeyProcessConfig, reseal_vault, run};
use clap::{CommandFactory, Parser, error::ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;

/// Fault: design of the command line, exit codes.
const EXIT_FAULT: u8 = 3;

/// The key process of an Irontill host: holds the keys, answers typed commands on Unix sockets.
#[derive(Parser)]
#[command(name = "irontill-keys", version)]
struct Arguments {
    /// Socket of the acquiring host.
    #[arg(long, required_unless_present = "reseal_to")]
    socket: Option<PathBuf>,
    /// Socket of the administration [default: the host's with ".admin" behind it].
    #[arg(long)]
    admin_socket: Option<PathBuf>,
    /// The sealed vault file; only its owner may have access to it.
    #[arg(long)]
    vault: PathBuf,
    /// Who keeps the key above the vault: passphrase:file=PATH, pkcs11:… or tpm:… (docs/how-to/custody.md)
    /// [default: the passphrase of --passphrase-file].
    #[arg(long, conflicts_with = "passphrase_file")]
    custody: Option<String>,
    /// File whose first line is the passphrase [default: the first line of standard input].
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Makes what is missing: the vault file and the custody's key, or a passphrase file with a random passphrase.
    #[arg(long)]
    create: bool,
    /// A user id that may connect beside the process's own; may be given several times.
    #[arg(long = "allow-uid")]
    allowed_uids: Vec<u32>,
    /// Leaves when standard input ends.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Hands the vault over to this custody and leaves, instead of serving.
    #[arg(long, value_name = "CUSTODY", requires = "custody", conflicts_with_all = ["socket", "create", "stop_with_stdin"])]
    reseal_to: Option<String>,
    /// After handing over, destroys the key that held the vault before.
    #[arg(long)]
    destroy_old_key: bool,
}

impl Arguments {
    /// What contradicts itself in ways that the parser does not see.
    fn checked(self) -> Result<Self, clap::Error> {
        let from_standard_input = self.passphrase_file.is_none() && self.custody.is_none();
        if from_standard_input && (self.create || self.stop_with_stdin) {
            let message = "--create and --stop-with-stdin need --passphrase-file or --custody";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, message));
        }
        // clap does not ask for an argument that another one excludes.
        if self.destroy_old_key && self.reseal_to.is_none() {
            let message = "--destroy-old-key needs --reseal-to";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(self)
    }
}

/// Reads the command line of this process and does what it says.
#[must_use]
pub fn command_line() -> ExitCode {
    let arguments = Arguments::parse().checked().unwrap_or_else(|error| error.exit());
    match carry_out(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("irontill-keys: {error:#}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}

fn carry_out(arguments: Arguments) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (&arguments.custody, &arguments.reseal_to) {
        crate::harden()?;
        return reseal_vault(&arguments.vault, from, to, arguments.destroy_old_key);
    }
    run(&KeyProcessConfig {
        socket: arguments.socket.unwrap_or_default(),
        administration_socket: arguments.admin_socket,
        vault_file: arguments.vault,
        custody: arguments.custody,
        passphrase_file: arguments.passphrase_file,
        create: arguments.create,
        allowed_uids: arguments.allowed_uids,
        stop_with_standard_input: arguments.stop_with_stdin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> bool {
        let all = ["irontill-keys", "--vault", "v"].iter().chain(arguments);
        Arguments::try_parse_from(all).and_then(Arguments::checked).is_err()
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(!refused(&["--socket", "s"]) && !refused(&["--socket", "s", "--custody", "c", "--create"]));
        assert!(!refused(&["--custody", "a", "--reseal-to", "b", "--destroy-old-key"]));
        assert!(refused(&[]) && refused(&["--socket", "s", "--create"]) && refused(&["--reseal-to", "b"]));
        assert!(refused(&["--socket", "s", "--stop-with-stdin"]));
        assert!(refused(&["--socket", "s", "--custody", "c", "--passphrase-file", "p"]));
        assert!(refused(&["--socket", "s", "--custody", "a", "--reseal-to", "b"]));
        assert!(refused(&["--socket", "s", "--custody", "a", "--destroy-old-key"]));
    }
}
