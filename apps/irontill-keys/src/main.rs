//! The key process's command line.

use clap::Parser;
use irontill_keys::{AsRoot, KeyProcessConfig, run};
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
    #[arg(long)]
    socket: PathBuf,
    /// Socket of the administration [default: the host's with ".admin" behind it].
    #[arg(long)]
    admin_socket: Option<PathBuf>,
    /// The sealed vault file; only its owner may have access to it.
    #[arg(long)]
    vault: PathBuf,
    /// File whose first line is the passphrase [default: the first line of standard input].
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Makes the vault file, and a passphrase file with a random passphrase, if they are missing.
    #[arg(long, requires = "passphrase_file")]
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
    #[arg(long, requires = "passphrase_file")]
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = KeyProcessConfig {
        socket: arguments.socket,
        administration_socket: arguments.admin_socket,
        vault_file: arguments.vault,
        passphrase_file: arguments.passphrase_file,
        create: arguments.create,
        allowed_uids: arguments.allowed_uids,
        administrator_uids: arguments.administrator_uids,
        user: arguments.user,
        as_root: if arguments.allow_root { AsRoot::Warn } else { AsRoot::Refuse },
        kept_environment: arguments.kept_environment,
        strict: arguments.strict,
        stop_with_standard_input: arguments.stop_with_stdin,
        set_audit_aside: arguments.set_audit_aside,
        pin_translation: PinTranslationPolicy {
            iso3_to_iso0: arguments.allow_pin_3_to_0,
            iso4_to_iso0: arguments.allow_pin_4_to_0,
        },
    };
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("irontill-keys: {error:#}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}
