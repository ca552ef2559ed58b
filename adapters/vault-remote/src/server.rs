//! The server: one listening socket per caller, one thread per connection.

use crate::channel::{Channel, Outgoing};
use crate::frame::FrameError;
use crate::{CONNECTIONS_MAX, FRAME_TIMEOUT};
use keys::{Caller, Command, CommandKind, Refusal, Reply, SocketReply, SocketRequest, permitted};
use machine::wire::Encode;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use zeroize::Zeroizing;

/// Only the owner may connect.
const SOCKET_MODE: u32 = 0o600;
/// Others may knock where others are allowed: who they are, the kernel says, and everybody else is sent away.
const SHARED_SOCKET_MODE: u32 = 0o666;

/// Whoever carries out batches: a vault.
pub trait BatchExecutor: Send + Sync {
    /// One reply for each command, in order.
    fn execute(&self, caller: Caller, commands: &[Command]) -> Vec<Reply>;
}

impl<F: Fn(Caller, &[Command]) -> Vec<Reply> + Send + Sync> BatchExecutor for F {
    fn execute(&self, caller: Caller, commands: &[Command]) -> Vec<Reply> {
        self(caller, commands)
    }
}

/// Whoever writes events down.
pub trait EventLog: Send + Sync {
    /// Takes one event. It carries no secret.
    fn note(&self, event: &ServerEvent);
}

impl<F: Fn(&ServerEvent) + Send + Sync> EventLog for F {
    fn note(&self, event: &ServerEvent) {
        self(event);
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parting {
    /// The peer closed between two frames, or the server stops.
    Closed,
    /// The peer's user is not allowed on this socket.
    WrongUser(u32),
    /// Too many connections.
    Crowded,
    /// A frame that is none, or not in time.
    BadFrame(String),
    /// A frame whose content is no batch.
    BadBatch(String),
    /// The batch names another caller than the socket belongs to.
    FalseCaller(Caller),
    /// A command that this caller may not say.
    NotPermitted(CommandKind),
    /// The vault panicked over a batch.
    Fault,
}

/// What happened, for the log. One event is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A socket is open.
    Listening {
        /// Its path.
        path: PathBuf,
        /// Whom it belongs to.
        caller: Caller,
    },
    /// Somebody connected.
    Connected {
        /// Number of the connection.
        connection: u64,
        /// The socket's caller.
        caller: Caller,
        /// The peer's process.
        pid: i32,
        /// The peer's user.
        uid: u32,
    },
    /// A connection ended.
    Parted {
        /// Number of the connection.
        connection: u64,
        /// The socket's caller.
        caller: Caller,
        /// Why.
        why: Parting,
    },
    /// A connection could not be accepted.
    AcceptFailed(String),
}

/// One listening socket.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where.
    pub path: PathBuf,
    /// Whom it belongs to.
    pub caller: Caller,
    /// Users that may connect.
    pub allowed_uids: Vec<u32>,
}

struct Shared {
    executor: Arc<dyn BatchExecutor>,
    log: Arc<dyn EventLog>,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, UnixStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sockets that are open but not served yet: what a process opens before it gives up the right to open any. Dropping
/// them closes and removes them.
#[derive(Debug)]
pub struct BoundSockets(Vec<(ListenerConfig, UnixListener)>);

impl BoundSockets {
    /// Opens the sockets: for the owner alone, or for everybody where other users are allowed, who are then told apart by
    /// what the kernel says about them. A socket file that nobody answers at is replaced; anything else in its place is
    /// left alone.
    ///
    /// # Errors
    /// If a socket cannot be opened, for one because a server runs there already.
    pub fn bind(configs: Vec<ListenerConfig>) -> io::Result<Self> {
        let mut sockets = Self(Vec::new());
        for config in configs {
            let listener = bind(&config)?;
            sockets.0.push((config, listener));
        }
        Ok(sockets)
    }
}

impl Drop for BoundSockets {
    fn drop(&mut self) {
        for (config, _) in &self.0 {
            // A file that stays is replaced by the next server.
            let _ = std::fs::remove_file(&config.path);
        }
    }
}

/// A socket that is being served.
struct Listening {
    path: PathBuf,
    /// A second handle on the socket, to end its `accept`.
    handle: UnixListener,
    thread: JoinHandle<()>,
}

/// A running server. Dropping it stops it.
pub struct KeyServer {
    shared: Arc<Shared>,
    listeners: Vec<Listening>,
}

impl core::fmt::Debug for KeyServer {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("KeyServer").field("listeners", &self.listeners.len()).finish_non_exhaustive()
    }
}

impl KeyServer {
    /// Opens the sockets and serves them: [`BoundSockets::bind`], then [`KeyServer::serve`].
    ///
    /// # Errors
    /// If a socket cannot be opened, for one because a server runs there already.
    pub fn start(
        configs: Vec<ListenerConfig>,
        executor: Arc<dyn BatchExecutor>,
        log: Arc<dyn EventLog>,
    ) -> io::Result<Self> {
        Self::serve(BoundSockets::bind(configs)?, executor, log)
    }

    /// Serves sockets from threads of its own. From here on the server opens nothing: it takes connections that come.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn serve(
        mut sockets: BoundSockets,
        executor: Arc<dyn BatchExecutor>,
        log: Arc<dyn EventLog>,
    ) -> io::Result<Self> {
        let connections = Mutex::new(Connections::default());
        let shared = Arc::new(Shared { executor, log, stopping: AtomicBool::new(false), connections });
        let mut server = Self { shared, listeners: Vec::new() };
        for (config, listener) in core::mem::take(&mut sockets.0) {
            let (path, handle) = (config.path.clone(), listener.try_clone()?);
            server.shared.log.note(&ServerEvent::Listening { path: path.clone(), caller: config.caller });
            let shared = Arc::clone(&server.shared);
            let thread = thread::Builder::new()
                .name("key-accept".to_owned())
                .spawn(move || accept_all(&shared, &listener, &config))?;
            server.listeners.push(Listening { path, handle, thread });
        }
        Ok(server)
    }

    /// Closes all sockets and connections and waits for the batches in progress.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for Listening { path, handle, thread } in self.listeners.drain(..) {
            // Wakes the thread out of its accept without a connection, which a hardened process may not open.
            let _ = rustix::net::shutdown(&handle, rustix::net::Shutdown::Both);
            let _ = thread.join();
            let _ = std::fs::remove_file(&path);
        }
        let threads = {
            let mut connections = self.shared.connections();
            for stream in connections.open.values() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            core::mem::take(&mut connections.threads)
        };
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn bind(config: &ListenerConfig) -> io::Result<UnixListener> {
    let own_uid = rustix::process::geteuid().as_raw();
    let shared = config.allowed_uids.iter().any(|uid| *uid != own_uid);
    let listener = listen(&config.path)?;
    let mode = if shared { SHARED_SOCKET_MODE } else { SOCKET_MODE };
    std::fs::set_permissions(&config.path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        let in_use = !metadata.file_type().is_socket() || UnixStream::connect(path).is_ok();
        if in_use {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{} is in use", path.display())));
        }
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

fn accept_all(shared: &Arc<Shared>, listener: &UnixListener, config: &ListenerConfig) {
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            Ok((stream, _)) => receive(shared, stream, config),
            Err(error) => {
                shared.log.note(&ServerEvent::AcceptFailed(error.to_string()));
                // Out of descriptors, most likely: trying again at once would only spin.
                thread::sleep(core::time::Duration::from_millis(50));
            }
        }
    }
}

/// Takes a connection in, if its user may come and there is room.
fn receive(shared: &Arc<Shared>, stream: UnixStream, config: &ListenerConfig) {
    let caller = config.caller;
    let mut connections = shared.connections();
    connections.threads.retain(|thread| !thread.is_finished());
    let connection = connections.next;
    connections.next += 1;
    let parted = |why| shared.log.note(&ServerEvent::Parted { connection, caller, why });
    let Ok(peer) = rustix::net::sockopt::socket_peercred(&stream) else {
        return parted(Parting::Closed);
    };
    let (pid, uid) = (peer.pid.as_raw_nonzero().get(), peer.uid.as_raw());
    shared.log.note(&ServerEvent::Connected { connection, caller, pid, uid });
    if !config.allowed_uids.contains(&uid) {
        return parted(Parting::WrongUser(uid));
    }
    if connections.open.len() >= CONNECTIONS_MAX {
        return parted(Parting::Crowded);
    }
    let Ok(handle) = stream.try_clone() else {
        return parted(Parting::Closed);
    };
    connections.open.insert(connection, handle);
    let serving = Arc::clone(shared);
    let spawned = thread::Builder::new().name("key-serve".to_owned()).spawn(move || {
        let why = serve(&serving, stream, caller);
        serving.connections().open.remove(&connection);
        serving.log.note(&ServerEvent::Parted { connection, caller, why });
    });
    match spawned {
        Ok(thread) => connections.threads.push(thread),
        Err(error) => {
            connections.open.remove(&connection);
            shared.log.note(&ServerEvent::AcceptFailed(error.to_string()));
        }
    }
}

/// Answers batches until the peer leaves or misbehaves.
fn serve(shared: &Shared, stream: UnixStream, caller: Caller) -> Parting {
    let Channel { mut incoming, mut outgoing } = match Channel::accept(stream, FRAME_TIMEOUT) {
        Ok(channel) => channel,
        Err(error) => return parting(&error),
    };
    loop {
        let frame = match incoming.receive(None) {
            Ok(frame) => frame,
            Err(error) => return parting(&error),
        };
        let request = match SocketRequest::from_bytes(&frame) {
            Ok(request) => request,
            Err(malformed) => return Parting::BadBatch(malformed.to_string()),
        };
        if let Err(why) = answer(shared, &mut outgoing, caller, &request) {
            return why;
        }
        if shared.stopping.load(Ordering::SeqCst) {
            return Parting::Closed;
        }
    }
}

fn parting(error: &FrameError) -> Parting {
    match error {
        FrameError::Closed => Parting::Closed,
        error => Parting::BadFrame(error.to_string()),
    }
}

fn answer(shared: &Shared, outgoing: &mut Outgoing, caller: Caller, request: &SocketRequest) -> Result<(), Parting> {
    if let Some(why) = breach(caller, request) {
        let refused = || Reply::Refused { why: Refusal::NotPermitted };
        let replies = request.commands.iter().map(|_| refused()).collect();
        // Whether the answer arrives or not, the connection ends here.
        let _ = send(outgoing, SocketReply { ticket: request.ticket, replies });
        return Err(why);
    }
    let executed = catch_unwind(AssertUnwindSafe(|| shared.executor.execute(caller, &request.commands)));
    let replies = executed.map_err(|_| Parting::Fault)?;
    send(outgoing, SocketReply { ticket: request.ticket, replies })
}

fn send(outgoing: &mut Outgoing, reply: SocketReply) -> Result<(), Parting> {
    let bytes = Zeroizing::new(reply.to_bytes());
    outgoing.send(&bytes).map_err(|error| Parting::BadFrame(error.to_string()))
}

/// Whether a batch breaks the table. Such a caller is broken or taken over: nothing of the batch is carried out.
fn breach(caller: Caller, request: &SocketRequest) -> Option<Parting> {
    if request.caller != caller {
        return Some(Parting::FalseCaller(request.caller));
    }
    let forbidden = request.commands.iter().map(Command::kind).find(|kind| !permitted(caller, *kind));
    forbidden.map(Parting::NotPermitted)
}
