//! The key process's command line.

use crate::{AsRoot, KeyProcessConfig, reseal, run};
use clap::{CommandFactory, Parser, error::ErrorKind};
use keys::PinTranslationPolicy;
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
    /// Makes what is missing: the vault file, and the custody's key or a passphrase file with a random passphrase.
    #[arg(long)]
    create: bool,
    /// A user id that may connect as the host, beside the process's own; may be given several times.
    #[arg(long = "allow-uid")]
    allowed_uids: Vec<u32>,
    /// A user id that may connect as the administration, beside the process's own; may be given several times.
    #[arg(long = "allow-admin-uid")]
    administrator_uids: Vec<u32>,
    /// The user to become, by name or number; only root can.
    #[arg(long)]
    user: Option<String>,
    /// Run as root although a user of its own would be safer.
    #[arg(long, conflicts_with = "user")]
    allow_root: bool,
    /// An environment variable to keep, for a custody whose library wants it; may be given several times.
    #[arg(long = "keep-env")]
    kept_environment: Vec<String>,
    /// Do not serve unless memfd_secret, Landlock and seccomp are all in force.
    #[arg(long)]
    strict: bool,
    /// Leaves when standard input ends.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Keeps an audit trail that is not in order under another name and begins a new one; the reason is recorded.
    #[arg(long, value_name = "REASON")]
    set_audit_aside: Option<String>,
    /// Translate PINs from ISO format 3 to format 0, although equal PINs of a card then show as equal blocks.
    #[arg(long)]
    allow_pin_3_to_0: bool,
    /// Translate PINs from ISO format 4 to format 0, although they go from AES to TDES then.
    #[arg(long)]
    allow_pin_4_to_0: bool,
    /// Hands the vault over to this custody and leaves, instead of serving.
    #[arg(
        long,
        value_name = "CUSTODY",
        conflicts_with_all = ["socket", "admin_socket", "create", "stop_with_stdin", "set_audit_aside", "strict"]
    )]
    reseal_to: Option<String>,
    /// After handing over, destroys the key that held the vault before.
    #[arg(long)]
    destroy_old_key: bool,
}

impl Arguments {
    /// What contradicts itself in ways that the parser does not see.
    fn checked(self) -> Result<Self, clap::Error> {
        let needs = |message| Err(Self::command().error(ErrorKind::MissingRequiredArgument, message));
        let from_standard_input = self.passphrase_file.is_none() && self.custody.is_none();
        if from_standard_input && (self.create || self.stop_with_stdin) {
            return needs("--create and --stop-with-stdin need --passphrase-file or --custody");
        }
        // clap does not ask for an argument that another one excludes.
        if self.destroy_old_key && self.reseal_to.is_none() {
            return needs("--destroy-old-key needs --reseal-to");
        }
        Ok(self)
    }

    fn config(self) -> KeyProcessConfig {
        KeyProcessConfig {
            socket: self.socket.unwrap_or_default(),
            administration_socket: self.admin_socket,
            vault_file: self.vault,
            custody: self.custody,
            passphrase_file: self.passphrase_file,
            create: self.create,
            allowed_uids: self.allowed_uids,
            administrator_uids: self.administrator_uids,
            user: self.user,
            as_root: if self.allow_root { AsRoot::Warn } else { AsRoot::Refuse },
            kept_environment: self.kept_environment,
            strict: self.strict,
            stop_with_standard_input: self.stop_with_stdin,
            set_audit_aside: self.set_audit_aside,
            pin_translation: PinTranslationPolicy {
                iso3_to_iso0: self.allow_pin_3_to_0,
                iso4_to_iso0: self.allow_pin_4_to_0,
            },
        }
    }
}

/// Reads the command line of this process and does what it says.
#[must_use]
pub fn command_line() -> ExitCode {
    let mut arguments = Arguments::parse().checked().unwrap_or_else(|error| error.exit());
    let (reseal_to, destroy_old_key) = (arguments.reseal_to.take(), arguments.destroy_old_key);
    let config = arguments.config();
    let done = match reseal_to {
        Some(to) => reseal(&config, &to, destroy_old_key),
        None => run(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("irontill-keys: {error:#}");
            ExitCode::from(EXIT_FAULT)
        }
    }
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
        assert!(!refused(&["--passphrase-file", "p", "--reseal-to", "b", "--user", "keys"]));
        assert!(refused(&[]) && refused(&["--socket", "s", "--create"]));
        assert!(refused(&["--socket", "s", "--stop-with-stdin"]));
        assert!(refused(&["--socket", "s", "--custody", "c", "--passphrase-file", "p"]));
        assert!(refused(&["--socket", "s", "--custody", "a", "--reseal-to", "b"]));
        assert!(refused(&["--custody", "a", "--reseal-to", "b", "--set-audit-aside", "r"]));
        assert!(refused(&["--socket", "s", "--custody", "a", "--destroy-old-key"]));
    }
}
