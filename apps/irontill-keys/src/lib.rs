//! The key process: the only host-side process with clear keys.
//!
//! * **Duty:** sheds what its parent left it, opens the sealed vault file and one Unix socket per caller, locks itself in,
//!   serves, and leaves cleanly.
//! * **Knows:** paths, users, signals.
//! * **Never:** decides what a key may do (`vault-soft`) or who may say what (`keys`), writes a secret anywhere.
//! * **Start here:** [`run`]; [`create_vault`] once before; [`custody()`] for what opens the vault.
//!
//! The vault file, written once, and the audit trail beside it survive it: it may be killed at any moment.

mod bare;
mod command_line;
mod custody;
mod custody_process;
mod files;
mod hardening;
mod log;
mod sandbox;
mod system_calls;
mod user;

pub use command_line::command_line;
pub use custody::{custody, reseal_vault};
pub use hardening::harden;
pub use user::AsRoot;
pub use vault_soft::{verify_audit_head, verify_record};

use anyhow::{Context, ensure};
use custody_process::CustodyProcess;
use keys::{Beginning, Caller, Command, CustodyAddress, CustodyKind, MasterCustody, PinTranslationPolicy, Reply};
use sandbox::{Enforcement, Sandbox};
use signal_hook::iterator::Signals;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use types::SecretBytes;
use vault_remote::{BatchExecutor, BoundSockets, KeyServer, ListenerConfig, Parting, ServerEvent};
use vault_soft::{
    AuditError, AuditFiles, MasterSecrets, Passphrase, PassphraseCustody, SecretBytesBox, SecretMemory, SoftVault,
    SystemClock, SystemEntropy, VaultKind, audit_paths, begin_audit, keep_crypto_heap_secret, secret_memory,
    set_audit_aside, vault_file, with_clean_stack,
};

/// What is appended to the host's socket path to give the administration's.
const ADMINISTRATION_SUFFIX: &str = ".admin";
const TRY_FILE_SUFFIX: &str = ".tries";
/// Longest passphrase line that is read from standard input.
const PASSPHRASE_LINE_BYTES_MAX: usize = 1024;
/// What the audit says of who opened the vault.
const PROGRAM: &str = concat!("irontill-keys ", env!("CARGO_PKG_VERSION"));
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
    /// Makes what is missing first: the vault file, and the custody's key or the passphrase file.
    pub create: bool,
    /// Users that may connect as the host, beside the process's own.
    pub allowed_uids: Vec<u32>,
    /// Users that may connect as the administration, beside the process's own.
    pub administrator_uids: Vec<u32>,
    /// The user to become, by name or number; only root can.
    pub user: Option<String>,
    /// What to do when it would run as root.
    pub as_root: AsRoot,
    /// Environment variables to keep, for a custody whose library wants some.
    pub kept_environment: Vec<String>,
    /// Do not serve unless every protection that this program knows is in force.
    pub strict: bool,
    /// Stops when standard input ends: a parent that dies takes its key process along.
    pub stop_with_standard_input: bool,
    /// Sets an audit trail aside that is not in order, for this reason, and begins a new one.
    pub set_audit_aside: Option<String>,
    /// PIN translations that hide less than their source did and are allowed by name.
    pub pin_translation: PinTranslationPolicy,
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
            administrator_uids: Vec::new(),
            user: None,
            as_root: AsRoot::Refuse,
            kept_environment: Vec::new(),
            strict: false,
            stop_with_standard_input: false,
            set_audit_aside: None,
            pin_translation: PinTranslationPolicy::default(),
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

/// Where today's wrong PINs and card codes are kept, beside the vault file.
fn try_file(vault_path: &Path) -> PathBuf {
    let mut path = vault_path.as_os_str().to_owned();
    path.push(TRY_FILE_SUFFIX);
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
    make_vault(vault_path, &mut PassphraseCustody::new(passphrase.context("passphrase file")?))
}

/// Makes the custody's key if it is missing, and a host's vault file under it. Does nothing if the vault file is there.
///
/// # Errors
/// If the custody does not do its part or a file cannot be written.
pub fn create_vault_under(vault_path: &Path, custody: &mut dyn MasterCustody) -> anyhow::Result<()> {
    if vault_path.exists() {
        return Ok(());
    }
    custody.prepare().with_context(|| custody.describe().to_string())?;
    make_vault(vault_path, custody)
}

fn make_vault(vault_path: &Path, custody: &mut dyn MasterCustody) -> anyhow::Result<()> {
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Host).context("drawing the master key")?;
    let secrets = secrets.with_audit();
    // The trail first: a vault file that wants one is never there without it. A trail without a vault is of a vault
    // that is gone, or of a crash just here; it is kept under another name.
    let (trail, head) = audit_paths(vault_path);
    let clock = SystemClock::default();
    if trail.exists() || head.exists() {
        set_audit_aside(&secrets, vault_path, "there was no vault file to it", &clock)?;
    } else {
        begin_audit(&secrets, Box::new(AuditFiles::open(vault_path)?), Beginning::Fresh, &clock)?;
    }
    vault_file::create_under(vault_path, custody, &secrets).context("writing the vault file")
}

fn passphrase(config: &KeyProcessConfig) -> anyhow::Result<Passphrase> {
    if let Some(path) = &config.passphrase_file {
        return Passphrase::from_file(path).context("passphrase file");
    }
    let line = first_line_of_standard_input().context("standard input")?;
    let text = line.expose().trim_ascii_end();
    Passphrase::new(SecretBytes::copy_from(text)).context("passphrase on standard input")
}

/// Byte by byte: the standard library's buffer would keep the passphrase for as long as the process lives.
fn first_line_of_standard_input() -> std::io::Result<SecretBytesBox> {
    let mut input = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = SecretBytesBox::zeroed(PASSPHRASE_LINE_BYTES_MAX);
    for at in 0..PASSPHRASE_LINE_BYTES_MAX {
        let next = &mut line.expose_mut()[at..=at];
        if input.read(next)? == 0 || next == b"\n" {
            line.truncate(at);
            break;
        }
    }
    Ok(line)
}

struct Vault {
    soft: SoftVault,
    fault_logged: AtomicBool,
}

impl Vault {
    fn log_fault(&self, fault: Option<AuditError>) {
        if let Some(fault) = fault
            && !self.fault_logged.swap(true, Ordering::Relaxed)
        {
            log::line(&format!("alarm administration=stopped {fault}"));
        }
    }
}

impl BatchExecutor for Vault {
    fn execute(&self, caller: Caller, commands: &[Command]) -> Vec<Reply> {
        let replies = self.soft.execute(caller, commands);
        if caller == Caller::Administration {
            self.log_fault(self.soft.audit_fault());
        }
        replies
    }

    fn breached(&self, caller: Caller, how: &Parting) {
        self.log_fault(self.soft.note_breach(caller, &format!("{how:?}")).err());
    }
}

/// What to do is in `docs/how-to/key-ceremony.md`; the message names it.
const AUDIT_ADVICE: &str = "nothing is served; see docs/how-to/key-ceremony.md, \"When the audit does not open\"";

/// Sets the audit trail of a vault aside without serving it. Gives the old trail's new name, if there was one.
///
/// # Errors
/// If the vault does not open, a process serves it, or the files cannot be moved.
pub fn set_vault_audit_aside(config: &KeyProcessConfig, reason: &str) -> anyhow::Result<Option<PathBuf>> {
    let secrets = open_secrets(config, &mut *custody_of(config, custody)?)?;
    Ok(set_audit_aside(&secrets, &config.vault_file, reason, &SystemClock::default())?)
}

/// How the custody at an address is had.
type Asking = fn(&str) -> anyhow::Result<Box<dyn MasterCustody>>;

/// In a process that is about to serve: a passphrase is read here, a device is asked elsewhere.
fn custody_for_serving(address: &str) -> anyhow::Result<Box<dyn MasterCustody>> {
    let is_device = CustodyAddress::parse(address)?.kind() != CustodyKind::Passphrase;
    if is_device { CustodyProcess::start(address) } else { custody(address) }
}

/// What was named, or the passphrase.
fn custody_of(config: &KeyProcessConfig, asking: Asking) -> anyhow::Result<Box<dyn MasterCustody>> {
    match &config.custody {
        Some(address) => asking(address),
        None => Ok(Box::new(PassphraseCustody::new(passphrase(config)?))),
    }
}

fn open_secrets(config: &KeyProcessConfig, custody: &mut dyn MasterCustody) -> anyhow::Result<MasterSecrets> {
    vault_file::open_under(&config.vault_file, custody).context("opening the vault file")
}

/// Makes what is missing if that was asked for, and opens the vault file. The custody is asked here and let go: a process
/// that serves holds no session and no connection to it, and the sandbox would not let it have one.
fn secrets(config: &KeyProcessConfig) -> anyhow::Result<MasterSecrets> {
    if let (true, None, Some(passphrase_path)) = (config.create, &config.custody, &config.passphrase_file) {
        create_vault(&config.vault_file, passphrase_path)?;
    }
    let mut custody = custody_of(config, custody_for_serving)?;
    if config.create && config.custody.is_some() {
        create_vault_under(&config.vault_file, &mut *custody)?;
    }
    log::line(&format!("opening custody={}", custody.describe()));
    open_secrets(config, &mut *custody)
}

fn open_vault(config: &KeyProcessConfig) -> anyhow::Result<Vault> {
    let secrets = secrets(config)?;
    if let Some(reason) = &config.set_audit_aside {
        let aside = set_audit_aside(&secrets, &config.vault_file, reason, &SystemClock::default())?;
        log::line(&format!("audit set-aside={}", aside.unwrap_or_default().display()));
    }
    let medium = Box::new(AuditFiles::open(&config.vault_file)?);
    let (entropy, clock) = (Box::new(SystemEntropy), Box::new(SystemClock::default()));
    let soft = SoftVault::with_audit(secrets, entropy, clock, medium, Some(PROGRAM)).context(AUDIT_ADVICE)?;
    let soft = soft.with_try_file(&try_file(&config.vault_file)).context("opening the try file")?;
    if config.pin_translation != PinTranslationPolicy::default() {
        log::line(&format!("weaker PIN translations are allowed: {:?}", config.pin_translation));
    }
    let soft = soft.with_pin_policy(config.pin_translation);
    Ok(Vault { soft, fault_logged: AtomicBool::new(false) })
}

fn listeners(config: &KeyProcessConfig) -> Vec<ListenerConfig> {
    let listener = |path, caller, others: &[u32]| {
        let allowed_uids = [others, &[rustix::process::geteuid().as_raw()]].concat();
        ListenerConfig { path, caller, allowed_uids }
    };
    vec![
        listener(config.socket.clone(), Caller::Host, &config.allowed_uids),
        listener(config.administration_path(), Caller::Administration, &config.administrator_uids),
    ]
}

/// Why the process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Signal(i32),
    StandardInputEnded,
}

/// What protects the process, for the log.
#[derive(Debug, Clone, Copy)]
struct Protection {
    environment_shed: bool,
    memory_locked: bool,
    secret_memory: SecretMemory,
    crypto_heap_secret: bool,
    sandbox: Sandbox,
}

impl Protection {
    fn is_complete(&self) -> bool {
        let enforced = [self.sandbox.files, self.sandbox.system_calls] == [Enforcement::Full; 2];
        let hidden = self.secret_memory == SecretMemory::Hidden && self.crypto_heap_secret;
        self.environment_shed && hidden && enforced
    }

    fn line(&self) -> String {
        let Self { environment_shed, memory_locked, secret_memory, crypto_heap_secret, sandbox } = self;
        format!(
            "started pid={} uid={} environment_shed={environment_shed} memory_locked={memory_locked} \
             secret_memory={secret_memory:?} crypto_heap_secret={crypto_heap_secret} files={:?} system_calls={:?}",
            std::process::id(),
            rustix::process::geteuid().as_raw(),
            sandbox.files,
            sandbox.system_calls,
        )
    }
}

/// Serves until SIGTERM, SIGINT or, if so configured, the end of standard input. Prints [`READY_LINE`] when the sockets
/// answer.
///
/// To be called once, first thing in `main` of a process of its own: it starts the program once more with the same
/// arguments, without environment and foreign descriptors, and locks the whole process in.
///
/// # Errors
/// If the process cannot be hardened, the vault not be opened or a socket not be bound.
pub fn run(config: &KeyProcessConfig) -> anyhow::Result<()> {
    run_and_say(config, announce)
}

/// As [`run`], but calls `ready`, in the locked process, when the sockets answer.
///
/// # Errors
/// As [`run`].
pub fn run_and_say(config: &KeyProcessConfig, ready: impl FnOnce()) -> anyhow::Result<()> {
    if custody_process::answer_if_asked()? {
        return Ok(());
    }
    let Settled { environment_shed, memory_locked, crypto_heap_secret } = settle(config)?;
    // Signals are caught before anything exists that would have to be cleaned up, and watched by a thread only once the
    // sandbox holds this one: it holds what this one starts.
    let signals = catch_signals()?;
    let vault = with_clean_stack(|| open_vault(config))?;
    let sockets = BoundSockets::bind(listeners(config)).context("opening the sockets")?;
    hardening::drop_capabilities().context("dropping capabilities")?;
    let paths = [config.socket.clone(), config.administration_path()];
    let sandbox = sandbox::enter(&config.vault_file, &paths).context("entering the sandbox")?;
    let secret_memory = secret_memory();
    let protection = Protection { environment_shed, memory_locked, secret_memory, crypto_heap_secret, sandbox };
    log::line(&protection.line());
    ensure!(!config.strict || protection.is_complete(), "not every protection is in force");
    serve(config, vault, sockets, signals, ready)
}

/// Hands the vault over to the custody at `to` instead of serving it, in a process of its own that is as bare and of
/// the same user as one that serves. Destroys the key that held it before, if asked to.
///
/// # Errors
/// As [`reseal_vault`], and if the process cannot be hardened.
pub fn reseal(config: &KeyProcessConfig, to: &str, destroy_old_key: bool) -> anyhow::Result<()> {
    if custody_process::answer_if_asked()? {
        return Ok(());
    }
    settle(config)?;
    let (mut old, mut new) = (custody_of(config, custody_for_serving)?, custody_for_serving(to)?);
    custody::reseal_between(&config.vault_file, &mut *old, &mut *new, destroy_old_key)?;
    log::line(&format!("handed-over from={} to={}", old.describe(), new.describe()));
    Ok(())
}

/// What the process could give up before it touches a key.
struct Settled {
    environment_shed: bool,
    memory_locked: bool,
    crypto_heap_secret: bool,
}

fn settle(config: &KeyProcessConfig) -> anyhow::Result<Settled> {
    hardening::harden().context("hardening the process")?;
    let environment_shed = bare::shed(&config.kept_environment);
    settle_user(config)?;
    let memory_locked = hardening::lock_memory();
    Ok(Settled { environment_shed, memory_locked, crypto_heap_secret: keep_crypto_heap_secret() })
}

fn serve(
    config: &KeyProcessConfig,
    vault: Vault,
    sockets: BoundSockets,
    signals: Signals,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let (leave, left) = channel();
    watch_signals(signals, leave.clone())?;
    if config.stop_with_standard_input {
        watch_standard_input(leave)?;
    }
    let log = |event: &ServerEvent| log::line(&log::of_event(event));
    let server = KeyServer::serve(sockets, Arc::new(vault), Arc::new(log)).context("serving the sockets")?;
    ready();
    log::line(&format!("leaving because={:?}", wait(&left)?));
    server.stop();
    Ok(())
}

fn settle_user(config: &KeyProcessConfig) -> anyhow::Result<()> {
    if let Some(user) = &config.user {
        user::become_user(user).context("changing the user")?;
        hardening::close_to_debuggers().context("hardening the process")?;
    }
    if rustix::process::geteuid().is_root() {
        ensure!(
            config.as_root == AsRoot::Warn,
            "will not run as root: give it a user of its own (--user), or allow it (--allow-root)"
        );
        log::line("warning: runs as root; a user of its own would be safer");
    }
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

fn catch_signals() -> anyhow::Result<Signals> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    Signals::new([SIGTERM, SIGINT]).context("catching signals")
}

fn watch_signals(mut signals: Signals, leave: Sender<Leave>) -> anyhow::Result<()> {
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
