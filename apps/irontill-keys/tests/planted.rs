//! What somebody could do who runs code inside the locked key process: nothing outside it.
//!
//! The planted helper is in this test program and nowhere else: the program starts itself again, becomes a key process by
//! the product's own function, and then tries to break out. First each attempt is made without the lock, where it must
//! work, so that a failure means the lock and not a mistake in the attempt.
//!
//! A program of its own and not a test harness: a process locks itself in once and for good.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
#![allow(unsafe_code, reason = "attempts are raw system calls; they read and write nothing but what they are given")]

use irontill_keys::{AsRoot, KeyProcessConfig};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;

/// How an attempt is answered in the locked process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It works there too: an honest key process needs it.
    Works,
    /// It fails.
    Denied,
    /// It ends the process at once (SIGSYS).
    Deadly,
}
use Answer::{Deadly, Denied, Works};

/// What an attempt finds around it.
struct Place {
    /// The key process's own folder.
    own: PathBuf,
    /// A folder beside it.
    other: PathBuf,
    /// A process that is none of the key process's business.
    victim: i32,
}

struct Attempt {
    name: &'static str,
    locked: Answer,
    unlocked: Unlocked,
    act: fn(&Place) -> io::Result<()>,
}

/// Where an attempt works without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unlocked {
    Everywhere,
    AsRoot,
    /// As the kernel and the container please.
    Perhaps,
}

type Act = fn(&Place) -> io::Result<()>;

const fn attempt(name: &'static str, locked: Answer, act: Act) -> Attempt {
    Attempt { name, locked, unlocked: Unlocked::Everywhere, act }
}

const fn as_root(name: &'static str, locked: Answer, act: Act) -> Attempt {
    Attempt { name, locked, unlocked: Unlocked::AsRoot, act }
}

const fn perhaps(name: &'static str, locked: Answer, act: Act) -> Attempt {
    Attempt { name, locked, unlocked: Unlocked::Perhaps, act }
}

const ATTEMPTS: &[Attempt] = &[
    // Its own folder, memory and threads.
    attempt("read-own-file", Works, |place| read(&place.own.join("note"))),
    attempt("write-own-file", Works, |place| write(&place.own.join("written"))),
    attempt("thread", Works, |_| {
        std::thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("join"))
    }),
    attempt("allocate", Works, |_| {
        std::hint::black_box(vec![1_u8; 64 << 20]);
        Ok(())
    }),
    attempt("secret-memory", Works, |_| {
        let large = vault_soft::SecretBytesBox::zeroed(1 << 20);
        (large.memory() >= vault_soft::secret_memory()).then_some(()).ok_or_else(|| io::Error::other("worse memory"))
    }),
    // Files.
    attempt("read-file", Denied, |_| read(Path::new("/etc/passwd"))),
    attempt("read-file-beside", Denied, |place| read(&place.other.join("note"))),
    attempt("read-file-over-dots", Denied, |place| read(&place.own.join("../other/note"))),
    attempt("read-file-over-link", Denied, |place| read(&place.own.join("link"))),
    attempt("write-file-beside", Denied, |place| write(&place.other.join("written"))),
    attempt("write-device", Denied, |_| OpenOptions::new().write(true).open("/dev/null").map(|_| ())),
    attempt("list-folder", Denied, |place| fs::read_dir(&place.other).map(|_| ())),
    attempt("remove-file-beside", Denied, |place| {
        fs::write(place.own.join("spare"), b"x")?;
        fs::remove_file(place.other.join("removable"))
    }),
    attempt("move-file-out", Denied, |place| fs::rename(place.own.join("movable"), place.other.join("moved"))),
    attempt("link-file-out", Denied, |place| fs::hard_link(place.own.join("note"), place.other.join("hard"))),
    attempt("make-link", Denied, |place| symlink("/etc/passwd", place.own.join("new-link"))),
    attempt("make-folder", Denied, |place| fs::create_dir(place.own.join("folder"))),
    attempt("change-mode", Denied, |place| {
        fs::set_permissions(place.own.join("note"), fs::Permissions::from_mode(0o666))
    }),
    attempt("change-folder", Denied, |_| std::env::set_current_dir("/")),
    // Memory of processes, its own included: a debugger's way in.
    attempt("read-own-memory-file", Denied, |_| File::open("/proc/self/mem").map(|_| ())),
    attempt("read-maps", Denied, |_| read(Path::new("/proc/self/maps"))),
    as_root("read-other-memory-file", Denied, |place| File::open(format!("/proc/{}/mem", place.victim)).map(|_| ())),
    as_root("ptrace", Deadly, |place| {
        // SAFETY: attaches to the victim, a child that sleeps; no memory of ours is touched.
        done(unsafe { libc::ptrace(libc::PTRACE_SEIZE, place.victim, 0, 0) })
    }),
    as_root("process-vm-readv", Deadly, |place| read_memory_of(place.victim)),
    as_root("pidfd-getfd", Deadly, |place| {
        let handle = pidfd(place.victim)?;
        // SAFETY: asks for a descriptor of the victim.
        done(unsafe { libc::syscall(libc::SYS_pidfd_getfd, handle, 0, 0) })
    }),
    // Programs and processes.
    attempt("execve", Deadly, |_| {
        let program = c"/bin/true".as_ptr();
        // SAFETY: both lists end with a null pointer. Only returns if it fails.
        done(unsafe { libc::execve(program, [program, ptr::null()].as_ptr(), [ptr::null()].as_ptr()) })
    }),
    attempt("spawn", Denied, |_| Command::new("/bin/true").status().map(|_| ())),
    attempt("fork", Denied, |_| {
        // SAFETY: the child leaves at once.
        match unsafe { libc::fork() } {
            // SAFETY: ends the child without running anything of the parent's.
            0 => unsafe { libc::_exit(0) },
            child => done(child),
        }
    }),
    attempt("clone3", Denied, |_| {
        let arguments = [0_u64; 8];
        // SAFETY: no flags and no stack: a fork. The child leaves at once.
        match unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) } {
            // SAFETY: as above.
            0 => unsafe { libc::_exit(0) },
            child => done(child),
        }
    }),
    attempt("program-in-memory", Deadly, |_| {
        // SAFETY: makes a descriptor.
        done(unsafe { libc::memfd_create(c"x".as_ptr(), 0) })
    }),
    attempt("executable-memory", Denied, |_| map(libc::PROT_READ | libc::PROT_EXEC).map(|_| ())),
    attempt("memory-made-executable", Denied, |_| {
        let page = map(libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: a page of ours that nothing uses.
        done(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) })
    }),
    attempt("signal-other", Deadly, |place| {
        // SAFETY: signal 0 only asks.
        done(unsafe { libc::kill(place.victim, 0) })
    }),
    attempt("signal-other-thread", Denied, |place| {
        // SAFETY: signal 0 only asks.
        done(unsafe { libc::syscall(libc::SYS_tgkill, place.victim, place.victim, 0) })
    }),
    // Network.
    attempt("tcp-listen", Deadly, |_| TcpListener::bind("127.0.0.1:0").map(|_| ())),
    attempt("tcp-connect", Deadly, |_| match TcpStream::connect("127.0.0.1:9") {
        // Nobody listens there: that was the network's answer.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => other.map(|_| ()),
    }),
    attempt("udp", Deadly, |_| UdpSocket::bind("127.0.0.1:0").map(|_| ())),
    attempt("unix-listen", Deadly, |place| UnixListener::bind(place.own.join("new-socket")).map(|_| ())),
    attempt("unix-connect", Deadly, |place| UnixStream::connect(place.other.join("listening")).map(|_| ())),
    attempt("unix-datagram", Deadly, |_| UnixDatagram::unbound().map(|_| ())),
    attempt("unix-pair", Denied, |_| UnixStream::pair().map(|_| ())),
    attempt("connect-existing-socket", Deadly, |_| {
        // SAFETY: whatever descriptor 0 is, the address is too short for anything.
        let answer = unsafe { libc::connect(0, ptr::null(), 0) };
        // Without the lock the kernel says that it is no socket.
        done(answer).or_else(|error| if error.raw_os_error() == Some(libc::ENOTSOCK) { Ok(()) } else { Err(error) })
    }),
    // The kernel.
    perhaps("mount", Deadly, |place| {
        let target = std::ffi::CString::new(place.other.join("mount-point").to_str().unwrap()).unwrap();
        let kind = c"tmpfs".as_ptr();
        // SAFETY: names that end with a null byte; what was mounted is taken away again.
        unsafe {
            done(libc::mount(kind, target.as_ptr(), kind, 0, ptr::null()))?;
            done(libc::umount2(target.as_ptr(), 0))
        }
    }),
    perhaps("unshare", Deadly, |_| {
        // SAFETY: gives this process a name space of its own.
        done(unsafe { libc::unshare(libc::CLONE_NEWUTS) })
    }),
    perhaps("namespace-of-another", Deadly, |place| {
        let handle = pidfd(place.victim)?;
        // SAFETY: enters the victim's name space, which is ours.
        done(unsafe { libc::setns(handle, libc::CLONE_NEWUTS) })
    }),
    perhaps("bpf", Deadly, |_| {
        // SAFETY: asks with an empty attribute.
        done(unsafe { libc::syscall(libc::SYS_bpf, 0, ptr::null::<u8>(), 0) })
    }),
    perhaps("io-uring", Deadly, |_| {
        let mut parameters = [0_u8; 120];
        // SAFETY: room for the parameters.
        done(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })
    }),
    perhaps("perf", Deadly, |_| {
        let attributes = [0_u8; 128];
        // SAFETY: attributes of zero length are refused without the lock.
        done(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) })
    }),
    as_root("become-root", Denied, |_| {
        // SAFETY: changes this thread's user.
        done(unsafe { libc::syscall(libc::SYS_setuid, 0) })
    }),
    attempt("become-dumpable", Denied, |_| {
        // SAFETY: a flag of this process.
        done(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })
    }),
    attempt("another-filter", Denied, |_| {
        // SAFETY: asks which actions there are.
        let action = 0_u32;
        done(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) })
    }),
    attempt("raise-limit", Denied, |_| {
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: reads the limit that it is given.
        done(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) })
    }),
];

fn done(answer: impl Into<i64>) -> io::Result<()> {
    if answer.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn read(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 16];
    File::open(path)?.read(&mut bytes).map(|_| ())
}

fn write(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(b"x")
}

fn pidfd(process: i32) -> io::Result<i32> {
    // SAFETY: makes a descriptor.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
    // Whoever may not have one tries the next step with none.
    Ok(i32::try_from(handle).unwrap_or(-1))
}

fn map(rights: i32) -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh page.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, rights, flags, -1, 0) };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(page) }
}

/// Reads what this process has at an address from the same address of the victim, which runs the same program.
fn read_memory_of(victim: i32) -> io::Result<()> {
    let mut byte = [0_u8];
    let local = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: ptr::dangling_mut::<u8>().cast(), iov_len: 1 };
    // SAFETY: one byte of room; the remote address is never used in this process.
    let answer = unsafe { libc::process_vm_readv(victim, &raw const local, 1, &raw const remote, 1, 0) };
    // Without the lock the kernel looks and says that nothing is mapped there.
    done(answer as i64).or_else(|error| if error.raw_os_error() == Some(libc::EFAULT) { Ok(()) } else { Err(error) })
}

// The planted process.

const PLANTED: &str = "--planted";
const UNLOCKED: &str = "--unlocked";

fn say(line: &str) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Makes the attempts from number `from` on and says how each went; the last line says that it is through.
fn make_attempts(place: &Place, from: usize) {
    for attempt in &ATTEMPTS[from..] {
        say(&format!("try {}", attempt.name));
        match (attempt.act)(place) {
            Ok(()) => say("works"),
            Err(error) => say(&format!("denied {error}")),
        }
    }
    say("through");
}

fn planted(arguments: &[String]) -> ! {
    let place = Place {
        own: arguments[1].clone().into(),
        other: arguments[2].clone().into(),
        victim: arguments[3].parse().unwrap(),
    };
    let from: usize = arguments[4].parse().unwrap();
    if arguments[0] == UNLOCKED {
        // One attempt in each process, since some of them end it.
        say(&format!("try {}", ATTEMPTS[from].name));
        let outcome = (ATTEMPTS[from].act)(&place);
        say(&outcome.map_or_else(|error| format!("denied {error}"), |()| "works".to_owned()));
        std::process::exit(0);
    }
    let own = |name: &str| place.own.join(name);
    let mut config = KeyProcessConfig::new(own("socket"), own("vault"), own("passphrase"));
    config.as_root = AsRoot::Warn;
    let in_a_thread = arguments[5] == "thread";
    let run = irontill_keys::run_and_say(&config, move || {
        if in_a_thread {
            std::thread::spawn(move || make_attempts(&place, from)).join().unwrap();
        } else {
            make_attempts(&place, from);
        }
        std::process::exit(0);
    });
    panic!("{run:?}");
}

// The test.

struct World {
    root: PathBuf,
    victim: std::process::Child,
}

impl World {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("irontill-planted-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for folder in ["own", "other"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("note"), b"here").unwrap();
        }
        symlink(root.join("other/note"), root.join("own/link")).unwrap();
        fs::create_dir(root.join("other/mount-point")).unwrap();
        irontill_keys::create_vault(&root.join("own/vault"), &root.join("own/passphrase")).unwrap();
        let victim = Command::new("sleep").arg("600").spawn().unwrap();
        Self { root, victim }
    }

    /// What earlier attempts took away or made is as it was.
    fn tidy(&self) {
        for made in ["other/moved", "other/hard", "own/new-link", "own/new-socket"] {
            let _ = fs::remove_file(self.root.join(made));
        }
        let _ = fs::remove_dir(self.root.join("own/folder"));
        fs::write(self.root.join("own/movable"), b"here").unwrap();
        fs::write(self.root.join("other/removable"), b"here").unwrap();
    }

    /// Output and how it ended.
    fn run(&self, mode: &str, from: usize, thread: bool) -> (Vec<String>, std::process::ExitStatus) {
        self.tidy();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(mode).arg(self.root.join("own")).arg(self.root.join("other"));
        command.arg(self.victim.id().to_string()).arg(from.to_string()).arg(if thread { "thread" } else { "main" });
        let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        if lines.is_empty() {
            panic!("{mode}: {}", String::from_utf8_lossy(&output.stderr));
        }
        (lines, output.status)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Every attempt works in a process that is not locked.
fn check_unlocked(world: &World) {
    let is_root = rustix::process::geteuid().is_root();
    // Held open, so that there is somebody to connect to.
    let path = world.root.join("other/listening");
    let _listening = UnixListener::bind(&path).unwrap();
    for (number, attempt) in ATTEMPTS.iter().enumerate() {
        let (lines, status) = world.run(UNLOCKED, number, false);
        // A successful execve ends the talk: the new program says nothing.
        let works = lines.last().is_some_and(|line| line == "works")
            || (attempt.name == "execve" && lines.len() == 1 && status.success());
        if attempt.unlocked == Unlocked::Everywhere || (attempt.unlocked == Unlocked::AsRoot && is_root) {
            assert!(works, "{} must work without the lock: {lines:?}", attempt.name);
        } else if !works {
            println!("note: {} does not work here without the lock either (root: {is_root}): {lines:?}", attempt.name);
        }
    }
    println!("{} attempts made without the lock", ATTEMPTS.len());
}

/// Each attempt is answered as its line in the table says.
fn check_locked(world: &World, thread: bool) {
    let mut next = 0;
    let mut deaths = 0;
    while next < ATTEMPTS.len() {
        let (lines, status) = world.run(PLANTED, next, thread);
        let mut lines = lines.iter().map(String::as_str);
        while let Some(line) = lines.next().filter(|line| *line != "through") {
            let attempt = &ATTEMPTS[next];
            assert_eq!(line, format!("try {}", attempt.name));
            let answer = match lines.next() {
                Some("works") => Works,
                Some(_) => Denied,
                None => {
                    assert_eq!(status.signal(), Some(libc::SIGSYS), "{}: {status}", attempt.name);
                    deaths += 1;
                    Deadly
                }
            };
            assert_eq!(answer, attempt.locked, "{}", attempt.name);
            next += 1;
        }
    }
    println!("{} attempts made in the locked process (thread: {thread}), {deaths} of them deadly", ATTEMPTS.len());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == PLANTED || first == UNLOCKED) {
        planted(&arguments);
    }
    let world = World::new();
    check_unlocked(&world);
    check_locked(&world, false);
    check_locked(&world, true);
    println!("planted: ok");
}
