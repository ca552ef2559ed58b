//! The suite on swtpm, and what only a TPM has.

use crate::room::{finish, private_file, run, tool, until};
use crate::stage::{Stage, Which};
use keys::{CustodyFailure, MasterCustody};
use machine::MachineId;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use types::SecretBytes;
use vault_soft::TimedCustody;
use vault_tpm::{TpmCounter, TpmCustody, TpmSettings};

pub const AUTH: &str = "tR4w-Vq81-mXb6-Zc0y";
const WRONG_AUTH: &str = "pL9d-Gs27-jNf3-Ke5u";
const LABEL: &[u8] = b"tpm";
const HANDLE: u32 = 0x8100_0100;
const COUNTER_INDEX: u32 = 0x0180_0010;
/// Ports are drawn by trial, since swtpm wants two in a row and says nothing about one that it took.
const PORT_TRIES: usize = 50;

/// A software TPM. Its client library speaks TCP only, so it listens on two ports of the loopback interface.
pub struct Swtpm {
    state: PathBuf,
    process: Option<Child>,
    port: u16,
}

impl Swtpm {
    pub fn start(state: PathBuf) -> Self {
        std::fs::create_dir_all(&state).unwrap();
        let mut tpm = Self { state, process: None, port: 0 };
        tpm.power_on();
        tpm
    }

    /// Starts it on what was left behind, as a machine does: `TPM2_Startup(CLEAR)`.
    pub fn power_on(&mut self) {
        for _ in 0..PORT_TRIES {
            self.port = two_free_ports();
            let mut child = self.spawn();
            let mut listens = false;
            until("swtpm listens or ends", || {
                // The control port, since a connection to the other would count as a client.
                listens = TcpStream::connect(("127.0.0.1", self.port + 1)).is_ok();
                listens || child.try_wait().unwrap().is_some()
            });
            if listens && child.try_wait().unwrap().is_none() {
                self.process = Some(child);
                return;
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("swtpm does not start");
    }

    fn spawn(&self) -> Child {
        let end = |port: u16| format!("type=tcp,port={port},bindaddr=127.0.0.1");
        // It dies with the test that started it, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--tpmstate"]);
        command.arg(format!("dir={}", self.state.display()));
        command.args(["--server", &end(self.port), "--ctrl", &end(self.port + 1)]);
        command.args(["--flags", "not-need-init,startup-clear"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("setpriv and swtpm: scripts/test installs what is needed")
    }

    /// Cuts the power: the TPM gets no word of it.
    pub fn power_off(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// One of the TPM's own tools.
    pub fn tool(&self, name: &str, arguments: &[&str]) -> String {
        tool(Command::new(name).args(["-T", &self.tcti()]).args(arguments).current_dir(&self.state))
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        tool(Command::new("kill").args([signal, &pid]));
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.power_off();
        }
    }
}

fn two_free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if let Some(next) = port.checked_add(1)
            && TcpListener::bind(("127.0.0.1", next)).is_ok()
        {
            return port;
        }
    }
}

/// Two software TPMs.
pub struct Tpms {
    folder: PathBuf,
    own: Swtpm,
    foreign: Swtpm,
}

impl Tpms {
    pub fn start(folder: &Path) -> Self {
        private_file(folder.join("auth"), AUTH);
        private_file(folder.join("wrong-auth"), WRONG_AUTH);
        let [own, foreign] = ["own-tpm", "foreign-tpm"].map(|name| Swtpm::start(folder.join(name)));
        Self { folder: folder.to_owned(), own, foreign }
    }

    fn address_of(&self, tpm: &Swtpm, handle: u32, auth: &str) -> String {
        let auth = self.folder.join(auth);
        format!("tpm:tcti={};handle={handle:#010x};auth-file={}", tpm.tcti(), auth.display())
    }

    fn settings(&self, auth: &str, pcrs: &[u32]) -> TpmSettings {
        let auth = SecretBytes::copy_from(auth.as_bytes());
        TpmSettings::new(&self.own.tcti(), HANDLE, &auth, pcrs).unwrap()
    }

    fn direct(&self, auth: &str, pcrs: &[u32]) -> TpmCustody {
        TpmCustody::new(self.settings(auth, pcrs))
    }

    fn counter(&self, auth: &str) -> TpmCounter {
        TpmCounter::new(self.settings(auth, &[]), COUNTER_INDEX)
    }
}

impl Stage for Tpms {
    fn address(&self, which: Which) -> String {
        match which {
            Which::Own => self.address_of(&self.own, HANDLE, "auth"),
            Which::Next => self.address_of(&self.own, HANDLE + 1, "auth"),
            Which::Foreign => self.address_of(&self.foreign, HANDLE, "auth"),
            Which::WrongSecret => self.address_of(&self.own, HANDLE, "wrong-auth"),
        }
    }

    fn restart(&mut self) {
        self.own.power_off();
        self.own.power_on();
    }

    fn take_away(&mut self) {
        self.own.power_off();
    }

    fn bring_back(&mut self) {
        self.own.power_on();
    }
}

crate::conformance!(Tpms);

fn secret() -> SecretBytes {
    SecretBytes::copy_from(&[0x5A; 32])
}

fn own(name: &str, test: impl FnOnce(&mut Tpms)) {
    run(&format!("{}::{name}", module_path!()), |folder| test(&mut Tpms::start(folder)));
}

#[test]
fn guessing_locks_the_tpm_and_says_so() {
    own("guessing_locks_the_tpm_and_says_so", |tpms| {
        // As an operator would set it: five wrong tries, then an hour.
        tpms.own.tool("tpm2_dictionarylockout", &["-s", "-n", "5", "-t", "3600", "-l", "3600"]);
        let sealed = tpms.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
        let failures: Vec<_> =
            (0..7).map(|_| tpms.custody(Which::WrongSecret).open(LABEL, &sealed).unwrap_err()).collect();
        let left = |tries| CustodyFailure::WrongSecret(Some(tries));
        let locked = CustodyFailure::Locked;
        assert_eq!(failures, [left(4), left(3), left(2), left(1), left(0), locked.clone(), locked.clone()]);
        assert_eq!(tpms.custody(Which::Own).open(LABEL, &sealed).unwrap_err(), locked, "the right one has to wait too");
        tpms.restart();
        assert_eq!(tpms.custody(Which::Own).open(LABEL, &sealed).unwrap_err(), locked, "power does not reset it");
        tpms.own.tool("tpm2_dictionarylockout", &["-c"]);
        assert!(tpms.custody(Which::Own).open(LABEL, &sealed).unwrap().matches(&secret()));
    });
}

#[test]
fn power_cuts_are_not_counted_as_guesses() {
    own("power_cuts_are_not_counted_as_guesses", |tpms| {
        tpms.own.tool("tpm2_dictionarylockout", &["-s", "-n", "3", "-t", "3600", "-l", "3600"]);
        let sealed = tpms.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
        for cut in 0..8 {
            assert!(tpms.custody(Which::Own).open(LABEL, &sealed).unwrap().matches(&secret()), "cut {cut}");
            tpms.restart();
        }
    });
}

#[test]
fn another_machine_state_does_not_open() {
    own("another_machine_state_does_not_open", |tpms| {
        let mut custody = tpms.direct(AUTH, &[7, 16]);
        custody.prepare().unwrap();
        let sealed = custody.seal(LABEL, &secret()).unwrap();
        assert!(custody.open(LABEL, &sealed).unwrap().matches(&secret()));
        let measurement = format!("16:sha256={}", "11".repeat(32));
        tpms.own.tool("tpm2_pcrextend", &[&measurement]);
        assert_eq!(custody.open(LABEL, &sealed).unwrap_err(), CustodyFailure::StateChanged);
        // Whoever asks for less than was sealed is not given it.
        let failure = tpms.direct(AUTH, &[]).open(LABEL, &sealed).unwrap_err();
        assert!(matches!(failure, CustodyFailure::Misuse(_)), "{failure:?}");
        tpms.restart();
        assert!(tpms.direct(AUTH, &[7, 16]).open(LABEL, &sealed).unwrap().matches(&secret()), "as after a reboot");
    });
}

fn handles(tpm: &Swtpm) -> Vec<String> {
    ["handles-transient", "handles-loaded-session", "handles-saved-session"]
        .map(|kind| tpm.tool("tpm2_getcap", &[kind]).trim().to_owned())
        .into_iter()
        .filter(|list| !list.is_empty())
        .collect()
}

#[test]
fn no_handle_stays_behind() {
    own("no_handle_stays_behind", |tpms| {
        let mut custody = tpms.direct(AUTH, &[16]);
        custody.prepare().unwrap();
        let mut counter = tpms.counter(AUTH);
        counter.create().unwrap();
        let sealed = custody.seal(LABEL, &secret()).unwrap();
        for round in 0..10 {
            custody.seal(LABEL, &secret()).unwrap();
            custody.open(LABEL, &sealed).unwrap();
            assert!(custody.open(b"other", &sealed).is_err());
            let mut altered = sealed.clone();
            altered[150] ^= 1;
            assert!(custody.open(LABEL, &altered).is_err());
            counter.increment().unwrap();
            assert!(tpms.counter(WRONG_AUTH).read().is_err());
            assert_eq!(handles(&tpms.own), Vec::<String>::new(), "round {round}");
        }
        assert!(tpms.direct(WRONG_AUTH, &[16]).open(LABEL, &sealed).is_err());
        assert_eq!(handles(&tpms.own), Vec::<String>::new());
    });
}

#[test]
fn handles_that_others_left_are_swept_up() {
    own("handles_that_others_left_are_swept_up", |tpms| {
        let sealed = tpms.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
        // Three slots is all it has, and without a resource manager a tool that ends leaves its objects there.
        for _ in 0..3 {
            tpms.own.tool("tpm2_createprimary", &["-C", "o", "-G", "ecc", "-c", "left.ctx"]);
        }
        let (status, _) = finish(
            Command::new("tpm2_createprimary").args(["-T", &tpms.own.tcti(), "-C", "o", "-G", "ecc", "-Q"]),
            Duration::from_secs(30),
        );
        assert!(!status.unwrap().success(), "all slots are taken");
        assert!(tpms.custody(Which::Own).open(LABEL, &sealed).unwrap().matches(&secret()));
        assert_eq!(handles(&tpms.own), Vec::<String>::new());
    });
}

#[test]
fn a_cleared_tpm_never_opens() {
    own("a_cleared_tpm_never_opens", |tpms| {
        let sealed = tpms.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
        tpms.own.tool("tpm2_clear", &["-c", "p"]);
        let failure = tpms.custody(Which::Own).open(LABEL, &sealed).unwrap_err();
        assert!(matches!(failure, CustodyFailure::KeyMissing(_)), "{failure:?}");
        let failure = tpms.prepared(Which::Own).open(LABEL, &sealed).unwrap_err();
        assert!(matches!(failure, CustodyFailure::KeyMissing(_)), "{failure:?}");
    });
}

#[test]
fn a_key_that_could_leave_the_tpm_is_refused() {
    own("a_key_that_could_leave_the_tpm_is_refused", |tpms| {
        let sealed = tpms.prepared(Which::Own).seal(LABEL, &secret()).unwrap();
        let handle = format!("{HANDLE:#x}");
        tpms.own.tool("tpm2_evictcontrol", &["-C", "o", "-c", &handle]);
        tpms.own.tool("tpm2_createprimary", &["-C", "o", "-G", "ecc", "-c", "primary.ctx"]);
        // No fixedtpm, no fixedparent: it may be duplicated to whoever its policy allows.
        let loose = "sensitivedataorigin|userwithauth|restricted|decrypt";
        let arguments = ["-C", "primary.ctx", "-G", "ecc", "-a", loose, "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx"];
        tpms.own.tool("tpm2_flushcontext", &["-t"]);
        tpms.own.tool("tpm2_create", &arguments);
        tpms.own.tool("tpm2_evictcontrol", &["-C", "o", "-c", "k.ctx", &handle]);
        tpms.own.tool("tpm2_flushcontext", &["-t"]);
        let mut custody = tpms.custody(Which::Own);
        for failure in [
            custody.prepare().unwrap_err(),
            custody.seal(LABEL, &secret()).unwrap_err(),
            custody.open(LABEL, &sealed).unwrap_err(),
        ] {
            assert!(matches!(failure, CustodyFailure::KeyUnsuitable(_)), "{failure:?}");
        }
    });
}

#[test]
fn an_owner_with_an_authorisation_is_asked_for_it() {
    own("an_owner_with_an_authorisation_is_asked_for_it", |tpms| {
        tpms.own.tool("tpm2_changeauth", &["-c", "o", "owner authorisation"]);
        let without = tpms.custody(Which::Own).prepare().unwrap_err();
        assert!(matches!(without, CustodyFailure::WrongSecret(_)), "{without:?}");
        let file = private_file(tpms.folder.join("owner"), "owner authorisation");
        let address = format!("{};owner-auth-file={}", tpms.address(Which::Own), file.display());
        irontill_keys::custody(&address).unwrap().prepare().unwrap();
        // Sealing and opening need no owner.
        let sealed = tpms.custody(Which::Own).seal(LABEL, &secret()).unwrap();
        assert!(tpms.custody(Which::Own).open(LABEL, &sealed).unwrap().matches(&secret()));
        assert!(tpms.custody(Which::Own).destroy().is_err());
        irontill_keys::custody(&address).unwrap().destroy().unwrap();
    });
}

#[test]
fn a_tpm_that_hangs_is_given_up() {
    own("a_tpm_that_hangs_is_given_up", |tpms| {
        tpms.prepared(Which::Own);
        tpms.own.signal("-STOP");
        let limit = Duration::from_millis(500);
        let mut custody = TimedCustody::start(Box::new(tpms.direct(AUTH, &[])), limit).unwrap();
        let start = Instant::now();
        assert_eq!(custody.prepare(), Err(CustodyFailure::Timeout));
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        tpms.own.signal("-CONT");
    });
}

/// A terminal's vault, named by one line in its folder.
#[test]
fn a_terminal_keeps_its_vault_in_the_tpm() {
    own("a_terminal_keeps_its_vault_in_the_tpm", |tpms| {
        use irontill_terminal::Custody;
        let folder = tpms.folder.join("terminal");
        std::fs::create_dir(&folder).unwrap();
        private_file(folder.join("vault.custody"), &tpms.address(Which::Own));
        let machine = MachineId::new("till").unwrap();
        let sealed = Custody::open(&folder).unwrap().seal().seal(machine, 1, b"a journal record");
        assert!(!folder.join("vault.passphrase").exists());
        tpms.restart();
        private_file(folder.join("vault.custody"), &tpms.address(Which::Own));
        let opened = Custody::open(&folder).unwrap().seal().open(machine, 1, &sealed).unwrap();
        assert_eq!(opened, b"a journal record");
        tpms.own.power_off();
        let gone = Custody::open(&folder).map(|_| ()).unwrap_err();
        assert!(gone.to_string().contains("cannot be reached"), "{gone}");
        private_file(folder.join("vault.custody"), "pkcs11:token=a");
        let wrong = Custody::open(&folder).map(|_| ()).unwrap_err();
        assert!(wrong.to_string().contains("not by a pkcs11"), "{wrong}");
        tpms.own.power_on();
    });
}

#[test]
fn a_counter_only_goes_up() {
    own("a_counter_only_goes_up", |tpms| {
        tpms.prepared(Which::Own);
        let mut counter = tpms.counter(AUTH);
        let failure = counter.read().unwrap_err();
        assert!(matches!(failure, CustodyFailure::KeyMissing(_)), "{failure:?}");
        let first = counter.create().unwrap();
        assert_eq!(counter.create(), Ok(first), "making it again does not count");
        for step in 1..=5 {
            assert_eq!(counter.increment(), Ok(first + step));
            if step == 3 {
                tpms.restart();
                counter = tpms.counter(AUTH);
            }
            assert_eq!(counter.read(), Ok(first + step));
        }
        // The owner may remove it; a new one starts above.
        tpms.own.tool("tpm2_nvundefine", &["-C", "o", &format!("{COUNTER_INDEX:#x}")]);
        assert!(counter.read().is_err());
        assert!(counter.create().unwrap() > first + 5);
    });
}

#[test]
fn a_counter_is_moved_by_its_authorisation_only() {
    own("a_counter_is_moved_by_its_authorisation_only", |tpms| {
        tpms.prepared(Which::Own);
        let value = tpms.counter(AUTH).create().unwrap();
        for _ in 0..20 {
            let failure = tpms.counter(WRONG_AUTH).increment().unwrap_err();
            assert!(matches!(failure, CustodyFailure::WrongSecret(_)), "{failure:?}");
        }
        assert_eq!(tpms.counter(AUTH).read(), Ok(value), "and wrong tries lock nobody out");
    });
}

#[test]
fn an_index_that_is_no_counter_is_refused() {
    own("an_index_that_is_no_counter_is_refused", |tpms| {
        tpms.prepared(Which::Own);
        let index = format!("{COUNTER_INDEX:#x}");
        tpms.own.tool("tpm2_nvdefine", &["-C", "o", "-s", "8", "-a", "authread|authwrite", &index]);
        let failure = tpms.counter(AUTH).create().unwrap_err();
        assert!(matches!(failure, CustodyFailure::KeyUnsuitable(_)), "{failure:?}");
    });
}
