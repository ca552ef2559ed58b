//! A process, a folder and a time limit for each test.
//!
//! A PKCS#11 module is initialised once per process and reads its configuration from the environment, and a device
//! that hangs must not hang the tests. So a test starts this same program again for itself alone.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a test may take, on a busy machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a tool may take.
const TOOL_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Set in a test's own process: its folder.
const ROOM: &str = "IRONTILL_VAULT_ROOM";
pub const SOFTHSM_CONFIGURATION: &str = "SOFTHSM2_CONF";

/// Runs `test` in a process of its own. `name` is the test's path inside this program, as `module_path!` gives it.
pub fn run(name: &str, test: impl FnOnce(&Path)) {
    match std::env::var_os(ROOM) {
        Some(folder) => test(Path::new(&folder)),
        None => run_in_own_process(name.split_once("::").unwrap().1),
    }
}

fn run_in_own_process(name: &str) {
    let folder = Folder::new(&name.replace(':', "-"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROOM, &folder.0).env(SOFTHSM_CONFIGURATION, folder.0.join("softhsm2.conf"));
    command.env("TSS2_LOG", "all+none").env_remove("TPM2TOOLS_TCTI");
    let (status, output) = finish(&mut command, TEST_TIMEOUT);
    assert!(output.contains("1 passed"), "{name} did not run or failed ({status:?}):\n{output}");
}

/// Runs a command to its end; kills it when the time is up. Exit status (`None` if killed) and both outputs.
pub fn finish(command: &mut Command, timeout: Duration) -> (Option<ExitStatus>, String) {
    let program = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{program}: {error}; scripts/test installs what is needed"));
    let readers = [read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap())];
    let status = wait(&mut child, timeout);
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    (status, readers.map(|reader| reader.join().unwrap()).concat())
}

fn read(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still of use.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the end of a process, but not for ever.
pub fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Runs a tool that must succeed. Its outputs.
pub fn tool(command: &mut Command) -> String {
    let (status, output) = finish(command, TOOL_TIMEOUT);
    assert!(status.is_some_and(|status| status.success()), "{command:?}: {status:?}\n{output}");
    output
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TOOL_TIMEOUT;
    while !so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(POLL);
    }
}

/// A file that its owner alone may read.
pub fn private_file(path: PathBuf, content: &str) -> PathBuf {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
    writeln!(file, "{content}").unwrap();
    path
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vaults-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
