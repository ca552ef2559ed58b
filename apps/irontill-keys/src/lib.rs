//! The key process: the only host-side process with clear keys.
//!
//! * **Duty:** hardens itself, opens the sealed vault file, serves it on one Unix socket per caller, and leaves cleanly.
//! * **Knows:** paths, users, signals.
//! * **Never:** decides what a key may do (`vault-soft`) or who may say what (`keys`), writes a secret anywhere.
//! * **Start here:** [`run`]; [`create_vault`] once before.
//!
//! Nothing but the vault file survives it, and that is written once: it may be killed at any moment.

mod command_line;
mod custody;
mod hardening;
mod log;

pub use command_line::command_line;
pub use custody::{custody, reseal_vault};
pub use hardening::{Hardening, harden};

use anyhow::Context;
use keys::{Caller, Command, MasterCustody, Reply};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use types::SecretBytes;
use vault_remote::{BatchExecutor, KeyServer, ListenerConfig, ServerEvent};
use vault_soft::{MasterSecrets, Passphrase, SoftVault, SystemClock, SystemEntropy, VaultKind, vault_file};

/// What is appended to the host's socket path to give the administration's.
const ADMINISTRATION_SUFFIX: &str = ".admin";
/// Longest passphrase line that is read from standard input.
const PASSPHRASE_LINE_BYTES_MAX: u64 = 1024;
/// What the process prints on standard output once its sockets answer.
pub const READY_LINE: &str = "ready";

/// What the key process needs to know.
#[derive(Debug, Clone)]
pub struct KeyProcessConfig {
    /// Socket of the acquiring host.
    pub socket: PathBuf,
    /// Socket of the administration; by default the host's path with `.admin` behind it.
    pub administration_socket: Option<PathBuf>,
    /// The sealed vault file.
    pub vault_file: PathBuf,
    /// Who keeps the key above the vault's secrets, as an address (docs/how-to/custody.md); by default a passphrase.
    pub custody: Option<String>,
    /// File with the passphrase; without one, the first line of standard input. Only for the default custody.
    pub passphrase_file: Option<PathBuf>,
    /// Makes passphrase file and vault file first if they are missing.
    pub create: bool,
    /// Users that may connect beside the process's own.
    pub allowed_uids: Vec<u32>,
    /// Stops when standard input ends: a parent that dies takes its key process along.
    pub stop_with_standard_input: bool,
}

impl KeyProcessConfig {
    /// A process on `socket` that opens `vault_file` with the passphrase in `passphrase_file`.
    #[must_use]
    pub fn new(
        socket: impl Into<PathBuf>,
        vault_file: impl Into<PathBuf>,
        passphrase_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            socket: socket.into(),
            administration_socket: None,
            vault_file: vault_file.into(),
            custody: None,
            passphrase_file: Some(passphrase_file.into()),
            create: false,
            allowed_uids: Vec::new(),
            stop_with_standard_input: false,
        }
    }

    /// The administration's socket.
    #[must_use]
    pub fn administration_path(&self) -> PathBuf {
        self.administration_socket.clone().unwrap_or_else(|| administration_socket(&self.socket))
    }
}

/// The administration's socket beside a host's.
#[must_use]
pub fn administration_socket(host_socket: &Path) -> PathBuf {
    let mut path = host_socket.as_os_str().to_owned();
    path.push(ADMINISTRATION_SUFFIX);
    PathBuf::from(path)
}

/// Makes a host's vault file, and its passphrase file if that is missing. Does nothing if the vault file is there.
///
/// # Errors
/// If a file cannot be written or the passphrase file cannot be used.
pub fn create_vault(vault_path: &Path, passphrase_path: &Path) -> anyhow::Result<()> {
    if vault_path.exists() {
        return Ok(());
    }
    let passphrase = if passphrase_path.exists() {
        Passphrase::from_file(passphrase_path)
    } else {
        Passphrase::generate_file(passphrase_path)
    };
    let passphrase = passphrase.context("passphrase file")?;
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Host).context("drawing the master key")?;
    vault_file::create(vault_path, &passphrase, &secrets).context("writing the vault file")
}

/// Makes the custody's key if it is missing, and a host's vault file under it. Does nothing if the vault file is there.
///
/// # Errors
/// If the custody does not do its part or the file cannot be written.
pub fn create_vault_under(vault_path: &Path, custody: &mut dyn MasterCustody) -> anyhow::Result<()> {
    if vault_path.exists() {
        return Ok(());
    }
    custody.prepare().with_context(|| custody.describe().to_string())?;
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Host).context("drawing the master key")?;
    vault_file::create_under(vault_path, custody, &secrets).context("writing the vault file")
}

fn passphrase(config: &KeyProcessConfig) -> anyhow::Result<Passphrase> {
    if let Some(path) = &config.passphrase_file {
        return Passphrase::from_file(path).context("passphrase file");
    }
    use std::io::{BufRead, Read};
    let mut line = Vec::new();
    std::io::stdin().lock().take(PASSPHRASE_LINE_BYTES_MAX).read_until(b'\n', &mut line).context("standard input")?;
    let line = SecretBytes::new(line);
    let text = line.expose().trim_ascii_end();
    Passphrase::new(SecretBytes::copy_from(text)).context("passphrase on standard input")
}

struct Vault(SoftVault);

impl BatchExecutor for Vault {
    fn execute(&self, caller: Caller, commands: &[Command]) -> Vec<Reply> {
        self.0.execute(caller, commands)
    }
}

fn secrets_under_passphrase(config: &KeyProcessConfig) -> anyhow::Result<MasterSecrets> {
    if let (true, Some(passphrase_path)) = (config.create, &config.passphrase_file) {
        create_vault(&config.vault_file, passphrase_path)?;
    }
    vault_file::open(&config.vault_file, &passphrase(config)?).context("opening the vault file")
}

/// The custody is asked once and let go: a running key process holds no session and no connection to it.
fn secrets_in_custody(config: &KeyProcessConfig, address: &str) -> anyhow::Result<MasterSecrets> {
    let mut custody = custody(address)?;
    if config.create {
        create_vault_under(&config.vault_file, &mut *custody)?;
    }
    log::line(&format!("opening the vault with {}", custody.describe()));
    vault_file::open_under(&config.vault_file, &mut *custody).context("opening the vault file")
}

fn open_vault(config: &KeyProcessConfig) -> anyhow::Result<Vault> {
    let secrets = match &config.custody {
        Some(address) => secrets_in_custody(config, address)?,
        None => secrets_under_passphrase(config)?,
    };
    Ok(Vault(SoftVault::new(secrets, Box::new(SystemEntropy), Box::new(SystemClock::default()))))
}

fn listeners(config: &KeyProcessConfig) -> Vec<ListenerConfig> {
    let mut allowed_uids = config.allowed_uids.clone();
    allowed_uids.push(rustix::process::geteuid().as_raw());
    let listener = |path, caller| ListenerConfig { path, caller, allowed_uids: allowed_uids.clone() };
    vec![listener(config.socket.clone(), Caller::Host), listener(config.administration_path(), Caller::Administration)]
}

/// Why the process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Signal(i32),
    StandardInputEnded,
}

/// Serves until SIGTERM, SIGINT or, if so configured, the end of standard input. Prints [`READY_LINE`] when the sockets
/// answer. To be called once, early, in a process of its own: it hardens the whole process.
///
/// # Errors
/// If the process cannot be hardened, the vault not be opened or a socket not be bound.
pub fn run(config: &KeyProcessConfig) -> anyhow::Result<()> {
    let hardening = harden().context("hardening the process")?;
    log::line(&format!("started pid={} memory_locked={}", std::process::id(), hardening.memory_locked));
    // Signals are caught before anything exists that would have to be cleaned up.
    let (leave, left) = channel();
    watch_signals(leave.clone())?;
    let vault = open_vault(config)?;
    if config.stop_with_standard_input {
        watch_standard_input(leave)?;
    }
    let log = |event: &ServerEvent| log::line(&log::of_event(event));
    let server = KeyServer::start(listeners(config), Arc::new(vault), Arc::new(log)).context("opening the sockets")?;
    announce();
    log::line(&format!("leaving because={:?}", wait(&left)?));
    server.stop();
    Ok(())
}

fn announce() {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    // A parent that does not listen is no reason not to serve.
    let _ = writeln!(output, "{READY_LINE}").and_then(|()| output.flush());
}

fn wait(left: &Receiver<Leave>) -> anyhow::Result<Leave> {
    left.recv().context("the signal watcher ended")
}

fn watch_signals(leave: Sender<Leave>) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).context("catching signals")?;
    let watch = move || {
        for signal in signals.forever() {
            if leave.send(Leave::Signal(signal)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("key-signals".to_owned()).spawn(watch).context("watching signals")?;
    Ok(())
}

fn watch_standard_input(leave: Sender<Leave>) -> anyhow::Result<()> {
    let watch = move || {
        // What comes is thrown away; only the end matters, and an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // Nobody is left to tell if the process is leaving already.
        let _ = leave.send(Leave::StandardInputEnded);
    };
    std::thread::Builder::new().name("key-parent".to_owned()).spawn(watch).context("watching standard input")?;
    Ok(())
}
