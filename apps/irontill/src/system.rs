//! A whole system in one folder: its files, its processes, and the terminal in front of it.
//!
//! ```text
//! DATA/keys/      vault, passphrase, socket DATA/host/       host.conf, host.db, certificates, parameters, address
//! DATA/keys.sock  a link to the key socket  DATA/terminals/  one folder a terminal: vault, journals, certificate
//! DATA/cards/     what each test card remembers
//! ```

use crate::bureau;
use crate::verdict::{Misuse, Verdict};
use crate::wallet;
use anyhow::{Context, bail};
use irontill_host::{Admin, HostSettings, LogSink};
use irontill_keys::{AsRoot, KeyProcessConfig};
use link::Authority;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a process may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a process may take to stop before it is killed. Killing loses nothing, it is only impolite.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The key socket, in the folder of the key process.
const KEY_SOCKET: &str = "keys/sock";
/// Where hosts find it.
const KEY_SOCKET_LINK: &str = "keys.sock";

/// Ports that a system's host chooses from: below those that Linux hands out to clients, so that nobody's connection holds the port
/// while the host restarts.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports tried before the choice is left to the machine.
const PORT_TRIES: usize = 64;

/// The paths of a system.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A system's folder, which need not exist yet.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        link::create_private_folder(path).with_context(|| path.display().to_string())?;
        let path = path.canonicalize()?;
        for part in ["keys", "host", "terminals", "cards", "log"] {
            link::create_private_folder(&path.join(part))?;
        }
        Ok(Self(path))
    }

    /// The folder of a system that has been set up already: asking about one must not create another.
    pub fn existing(path: &Path) -> anyhow::Result<Self> {
        if !Self(path.to_owned()).settings_path().is_file() {
            return Err(Misuse(format!("no system in {}", path.display())).into());
        }
        Self::new(path)
    }

    /// How the key process of this system is started.
    pub fn keys_config(&self) -> KeyProcessConfig {
        let (vault, passphrase) = (self.0.join("keys/vault"), self.0.join("keys/passphrase"));
        let mut config = KeyProcessConfig::new(self.0.join(KEY_SOCKET), vault, passphrase);
        // Whoever runs a demonstration as root, in a container say, has no other user for it.
        config.as_root = AsRoot::Warn;
        config.create = true;
        config.stop_with_standard_input = true;
        config
    }

    /// The names by which hosts know the key sockets. The sockets lie in the key process's own folder, the only one that
    /// it can touch once it serves; a socket of an older version in a link's place is replaced.
    fn link_key_sockets(&self) -> anyhow::Result<()> {
        let target = Path::new(KEY_SOCKET);
        let link = self.0.join(KEY_SOCKET_LINK);
        let administration = irontill_keys::administration_socket;
        for (link, target) in [(link.clone(), target.to_owned()), (administration(&link), administration(target))] {
            let there = fs::symlink_metadata(&link);
            if there.as_ref().is_ok_and(fs::Metadata::is_symlink) {
                continue;
            }
            if there.is_ok() && std::os::unix::net::UnixStream::connect(&link).is_err() {
                fs::remove_file(&link).with_context(|| link.display().to_string())?;
            }
            std::os::unix::fs::symlink(&target, &link).with_context(|| link.display().to_string())?;
        }
        Ok(())
    }

    fn settings_path(&self) -> PathBuf {
        self.0.join("host/host.conf")
    }

    fn address_path(&self) -> PathBuf {
        self.0.join("host/address")
    }

    /// What a test card of this name remembers.
    pub fn card_state(&self, profile: &str) -> PathBuf {
        self.0.join("cards").join(format!("{profile}.state"))
    }

    /// Counts a use of a test card that many programs hold and whose counter the issuer takes once. Gives the uses before it.
    pub fn count_card_use(&self, profile: &str) -> anyhow::Result<u16> {
        use std::io::Write;
        let path = self.0.join("cards").join(format!("{profile}.uses"));
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        let uses = u16::try_from(file.metadata()?.len()).context("the card is worn out")?;
        // A byte for each: whatever kills the program, no use is counted twice.
        file.write_all(b".")?;
        Ok(uses)
    }

    /// A terminal's own folder.
    pub fn terminal(&self, terminal: &str) -> PathBuf {
        self.0.join("terminals").join(terminal)
    }

    /// The host's settings.
    pub fn host_settings(&self) -> anyhow::Result<HostSettings> {
        let path = self.settings_path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("{} (no system in this folder?)", path.display()))?;
        Ok(HostSettings::parse(&text, &self.0.join("host"))?)
    }

    /// Where the running host listens.
    pub fn host_address(&self) -> anyhow::Result<String> {
        let text = fs::read_to_string(self.address_path()).context("no host runs on this folder")?;
        Ok(text.trim().to_owned())
    }

    /// An operator's tool on this system. The key process must run.
    pub fn admin(&self) -> anyhow::Result<Admin> {
        Admin::open(&self.host_settings()?, self.log_sink("admin.log"))
    }

    fn log_sink(&self, name: &str) -> LogSink {
        let path = self.0.join("log").join(name);
        Arc::new(move |line: &str| {
            use std::io::Write;
            let file = fs::OpenOptions::new().create(true).append(true).open(&path);
            if let Ok(mut file) = file
                && writeln!(file, "{line}").is_err()
            {
                eprintln!("{line}");
            }
        })
    }

    /// Gives one kind of terminals' parameters a newer version: the host orders every terminal to load it, once it starts again.
    pub fn renew_parameters(&self, renew: fn(&mut acquirer::ParameterSet)) -> anyhow::Result<()> {
        let path = self.0.join("host/parameters");
        let mut parameters =
            irontill_host::parse_parameters(&fs::read_to_string(&path)?).map_err(anyhow::Error::msg)?;
        renew(&mut parameters);
        Ok(link::write_durably(&path, irontill_host::format_parameters(&parameters).as_bytes())?)
    }

    /// Writes certificates, settings and parameters if they are not there yet.
    fn prepare_host(&self) -> anyhow::Result<()> {
        if self.settings_path().exists() {
            return Ok(());
        }
        let host = self.0.join("host");
        let today = irontill_host::today_utc();
        let authority = Authority::create("Irontill demo authority", today)?;
        let certificate = authority.issue_host(&["localhost", "127.0.0.1"], today)?;
        link::write_private(&host.join("authority.key.pem"), authority.key_pem().as_bytes())?;
        link::write_durably(&host.join("authority.pem"), authority.certificate_pem().as_bytes())?;
        link::write_private(&host.join("host.key.pem"), certificate.key_pem.as_bytes())?;
        link::write_durably(&host.join("host.pem"), certificate.certificate_pem.as_bytes())?;
        let parameters = irontill_host::format_parameters(&sim::lab::test_parameters());
        link::write_durably(&host.join("parameters"), parameters.as_bytes())?;
        let mut settings = HostSettings::in_folder(&host);
        settings.listen = "127.0.0.1:0".to_owned();
        settings.key_socket = self.0.join(KEY_SOCKET_LINK);
        settings.admin_key_socket = irontill_keys::administration_socket(&settings.key_socket);
        settings.parameters = Some(host.join("parameters"));
        link::write_durably(&self.settings_path(), settings.to_text().as_bytes())?;
        Ok(())
    }
}

/// One process of the system. It stops when this value goes.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Process {
    /// Re-executes this program with a hidden command and waits until it says that it is ready. Gives the line that said so.
    fn start(folder: &Folder, command: &str) -> anyhow::Result<(Self, String)> {
        let program = std::env::current_exe().context("this program's own path")?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.0.join("log").join(format!("{command}.log")))?;
        let mut child = Command::new(program)
            .arg(command)
            .arg("--data")
            .arg(&folder.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {command}"))?;
        let output = child.stdout.take().context("a process without output")?;
        let input = child.stdin.take();
        let mut process = Self { child, input };
        let line = first_line(output)
            .with_context(|| format!("{command} did not become ready; see {}/log", folder.0.display()))?;
        if line.is_empty() {
            process.stop();
            bail!("{command} stopped at once; see {}/log/{command}.log", folder.0.display());
        }
        Ok((process, line))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Power off: SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn stop(&mut self) {
        self.input.take();
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only if the process has gone already.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let end = Instant::now() + STOP_WITHIN;
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _gone = self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn first_line(output: std::process::ChildStdout) -> anyhow::Result<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = String::new();
        let said = reader.read_line(&mut line).map(|_| line.trim().to_owned());
        // The receiver may have given up; later output is read so that the process never blocks on it.
        let _ = sender.send(said);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    Ok(receiver.recv_timeout(READY_WITHIN).context("time is up")??)
}

/// A key process of its own with an empty vault, in a temporary folder.
pub struct PrivateKeys {
    folder: Folder,
    // In the order in which they must go.
    _process: Process,
    _private: PrivateFolder,
}

impl PrivateKeys {
    /// Makes the vault and starts the process.
    pub fn start() -> anyhow::Result<Self> {
        let private = PrivateFolder::new()?;
        let folder = Folder::new(&private.0)?;
        let (process, _) = Process::start(&folder, "keys-process")?;
        Ok(Self { folder, _process: process, _private: private })
    }

    /// Its sockets: the host's and the administration's.
    pub fn sockets(&self) -> (PathBuf, PathBuf) {
        let host = self.folder.0.join(KEY_SOCKET);
        let administration = irontill_keys::administration_socket(&host);
        (host, administration)
    }
}

/// A running system.
pub struct System {
    /// Its files.
    pub folder: Folder,
    /// Where the host listens.
    pub address: String,
    /// The host process; stops first.
    pub host: Option<Process>,
    /// The key process.
    pub keys: Option<Process>,
    _private: Option<PrivateFolder>,
}

/// A folder that goes when its owner goes.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn new() -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("irontill-{name}"));
        link::create_private_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // Best effort: what stays is readable by its owner only.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl System {
    /// Sets up (if need be) and starts a system in a folder.
    pub fn start(path: &Path) -> anyhow::Result<Self> {
        let folder = Folder::new(path)?;
        folder.link_key_sockets()?;
        let keys = Process::start(&folder, "keys-process")?.0;
        folder.prepare_host()?;
        bureau::load_test_cards(&folder)?;
        wallet::open_demo_wallets(&folder)?;
        let (host, address) = Process::start(&folder, "host-process")?;
        Ok(Self { folder, address, host: Some(host), keys: Some(keys), _private: None })
    }

    /// A system of its own in a temporary folder.
    pub fn start_private() -> anyhow::Result<Self> {
        let private = PrivateFolder::new()?;
        let mut system = Self::start(&private.0)?;
        system._private = Some(private);
        Ok(system)
    }

    /// Stops the host and starts it again, at the same address.
    pub fn restart_host(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.host.take().is_some(), "the host of this folder is somebody else's process");
        let (host, address) = Process::start(&self.folder, "host-process")?;
        anyhow::ensure!(address == self.address, "the host did not get its address back");
        self.host = Some(host);
        Ok(())
    }

    /// The system that runs on a folder, or one started there for as long as this value lives.
    pub fn attach_or_start(path: &Path) -> anyhow::Result<Self> {
        let folder = Folder::new(path)?;
        match folder.host_address() {
            Ok(address) if std::net::TcpStream::connect(&address).is_ok() => {
                Ok(Self { folder, address, host: None, keys: None, _private: None })
            }
            _ => Self::start(path),
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.host.take();
        self.keys.take();
    }
}

/// The key process: serves until its parent goes or says stop.
pub fn run_keys_process(data: &Path, kept_environment: Vec<String>) -> anyhow::Result<Verdict> {
    let mut config = Folder::new(data)?.keys_config();
    config.kept_environment = kept_environment;
    irontill_keys::run(&config)?;
    Ok(Verdict::Yes)
}

/// The address of the host's last run, so that its terminals find it again; a new one if there is none or somebody has taken it.
fn kept_or_new_address(folder: &Folder) -> anyhow::Result<String> {
    let free = |address: &String| std::net::TcpListener::bind(address).is_ok();
    if let Some(kept) = folder.host_address().ok().filter(free) {
        return Ok(kept);
    }
    for _ in 0..PORT_TRIES {
        let mut random = [0; 2];
        getrandom::fill(&mut random)?;
        let port = PORTS.start + u16::from_be_bytes(random) % (PORTS.end - PORTS.start);
        let address = format!("127.0.0.1:{port}");
        if free(&address) {
            return Ok(address);
        }
    }
    Ok("127.0.0.1:0".to_owned())
}

/// The host process: says where it listens, serves until its parent goes or says stop.
pub fn run_host_process(data: &Path) -> anyhow::Result<Verdict> {
    let folder = Folder::new(data)?;
    let mut settings = folder.host_settings()?;
    let address_path = folder.address_path();
    if settings.listen.ends_with(":0") {
        settings.listen = kept_or_new_address(&folder)?;
    }
    let parent_gone = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    parent_gone.context("binding to the parent's life")?;
    let log: LogSink = Arc::new(|line: &str| eprintln!("{line}"));
    let ready = |address: std::net::SocketAddr| {
        if let Err(fault) = link::write_durably(&address_path, address.to_string().as_bytes()) {
            eprintln!("host: {}: {fault}", address_path.display());
        }
        println!("{address}");
    };
    irontill_host::run(&settings, log, ready)?;
    Ok(Verdict::Yes)
}
