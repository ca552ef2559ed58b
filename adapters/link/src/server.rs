//! The host's side of the link: one task for each connection, every wait bounded.
//!
//! A connection reads one frame, hands it over, waits for its answer, writes it, and reads the next. So what one peer can
//! occupy is one task and one frame, and a peer that is slow or silent holds nobody up.

use crate::frame::{FrameFault, length_prefix, read_length, read_rest};
use crate::identity::{IdentityError, PeerIdentity, RevocationList};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use types::TerminalId;
use zeroize::Zeroizing;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections_max: usize,
    /// Connections at a time of one terminal.
    pub connections_per_terminal_max: u32,
    /// From TCP accept to the end of the TLS handshake.
    pub handshake_timeout_ms: u64,
    /// Silence allowed between frames.
    pub idle_timeout_ms: u64,
    /// From the first byte of a frame to its last.
    pub frame_timeout_ms: u64,
    /// For an answer from the handler.
    pub answer_timeout_ms: u64,
    /// For writing one answer.
    pub write_timeout_ms: u64,
    /// For open exchanges to end once the server stops.
    pub drain_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_terminal_max: 4,
            handshake_timeout_ms: 10_000,
            idle_timeout_ms: 120_000,
            frame_timeout_ms: 10_000,
            answer_timeout_ms: 70_000,
            write_timeout_ms: 10_000,
            drain_timeout_ms: 5_000,
        }
    }
}

/// One frame of a peer, to be answered.
pub struct Request {
    /// Counts connections from 1.
    pub connection: u64,
    /// Who sent it, by certificate.
    pub peer: Arc<PeerIdentity>,
    /// The frame without LEN. It may hold account data: whoever takes it wipes it.
    pub frame: Vec<u8>,
    /// Where the answer goes.
    pub reply: Reply,
}

/// The one answer to a request. Dropping it closes the connection.
pub struct Reply(oneshot::Sender<Vec<u8>>);

impl Reply {
    /// Sends a frame (without LEN) back. A peer that has gone meanwhile is nobody's error.
    pub fn respond(self, frame: Vec<u8>) {
        let _ = self.0.send(frame);
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    /// Closes the connection without an answer.
    pub fn close(self) {}
}

/// Takes requests. It must not block: it queues them for whoever decides.
pub trait Handler: Send + Sync + 'static {
    /// A request came.
    fn request(&self, request: Request);
    /// Something worth a log line happened. It never carries a byte of a frame.
    fn event(&self, event: LinkEvent);
}

/// What a server has to say about its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A connection was closed for a reason other than the peer's wish.
    Closed {
        /// Where from.
        address: SocketAddr,
        /// Who, if the handshake got that far.
        terminal: Option<TerminalId>,
        /// Why.
        reason: String,
    },
    /// The operating system refuses new connections for now.
    AcceptFailed {
        /// Its error.
        reason: String,
    },
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkEvent::Closed { address, terminal: Some(terminal), reason } => {
                write!(formatter, "link: {address} terminal {terminal}: closed: {reason}")
            }
            LinkEvent::Closed { address, terminal: None, reason } => {
                write!(formatter, "link: {address}: closed: {reason}")
            }
            LinkEvent::AcceptFailed { reason } => write!(formatter, "link: accept: {reason}"),
        }
    }
}

/// Stops a server: it accepts nothing more, lets open exchanges end, and returns.
#[derive(Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Asks the server to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
}

struct Shared {
    limits: Limits,
    places: Arc<Semaphore>,
    connections: AtomicU64,
    by_terminal: Mutex<BTreeMap<TerminalId, u32>>,
    revoked: Arc<RwLock<RevocationList>>,
}

impl Server {
    /// Listens. The revocation list may be changed while the server runs.
    pub async fn bind(
        address: impl ToSocketAddrs,
        tls: Arc<rustls::ServerConfig>,
        limits: Limits,
        revoked: Arc<RwLock<RevocationList>>,
    ) -> io::Result<(Self, Stop)> {
        let listener = TcpListener::bind(address).await?;
        let (stop, stopping) = watch::channel(false);
        let shared = Shared {
            limits,
            places: Arc::new(Semaphore::new(limits.connections_max)),
            connections: AtomicU64::new(0),
            by_terminal: Mutex::new(BTreeMap::new()),
            revoked,
        };
        let server = Self { listener, acceptor: TlsAcceptor::from(tls), shared: Arc::new(shared), stopping };
        Ok((server, Stop(Arc::new(stop))))
    }

    /// The address it listens on.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts and serves connections until it is stopped.
    pub async fn serve(mut self, handler: Arc<impl Handler>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = self.stopping.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, address)) => self.welcome(stream, address, &handler),
                Err(error) => {
                    handler.event(LinkEvent::AcceptFailed { reason: error.to_string() });
                    // Typically out of file descriptors: trying again at once would only burn the processor.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let everybody = u32::try_from(self.shared.limits.connections_max).unwrap_or(u32::MAX);
        let drained = self.shared.places.acquire_many(everybody);
        let _ = timeout(milliseconds(self.shared.limits.drain_timeout_ms), drained).await;
    }

    fn welcome(&self, stream: TcpStream, address: SocketAddr, handler: &Arc<impl Handler>) {
        let Ok(place) = self.shared.places.clone().try_acquire_owned() else {
            let reason = format!("{} connections are open already", self.shared.limits.connections_max);
            return handler.event(LinkEvent::Closed { address, terminal: None, reason });
        };
        let connection = Connection {
            number: self.shared.connections.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            acceptor: self.acceptor.clone(),
            shared: self.shared.clone(),
            stopping: self.stopping.clone(),
            _place: place,
        };
        tokio::spawn(connection.run(stream, handler.clone()));
    }
}

/// How long a server that cannot accept waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Connection {
    number: u64,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

/// Why a connection ends; `None` in the second place: not worth a line.
struct End(Option<String>);

impl End {
    fn because(reason: impl Into<String>) -> Self {
        Self(Some(reason.into()))
    }

    fn quietly() -> Self {
        Self(None)
    }
}

impl Connection {
    async fn run(mut self, stream: TcpStream, handler: Arc<impl Handler>) {
        let mut terminal = None;
        let End(reason) = match self.greet(stream).await {
            Ok((stream, peer)) => {
                terminal = Some(peer.terminal);
                self.serve(stream, peer, handler.as_ref()).await
            }
            Err(end) => end,
        };
        if let Some(reason) = reason {
            handler.event(LinkEvent::Closed { address: self.address, terminal, reason });
        }
    }

    async fn greet(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Arc<PeerIdentity>), End> {
        // A message is one small write; waiting to fill a segment would only add delay.
        let _ = stream.set_nodelay(true);
        let limit = milliseconds(self.shared.limits.handshake_timeout_ms);
        let stream = match timeout(limit, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(End::because(format!("handshake: {error}"))),
            Err(_) => return Err(End::because("handshake: too slow")),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.ok_or(IdentityError::Malformed).and_then(|der| PeerIdentity::from_certificate(der));
        let peer = identity.map_err(|error| End::because(error.to_string()))?;
        if self.shared.revoked.read().is_ok_and(|list| list.is_revoked(&peer.serial)) {
            return Err(End::because(format!("certificate of terminal {} is revoked", peer.terminal)));
        }
        Ok((stream, Arc::new(peer)))
    }

    async fn serve(&mut self, stream: TlsStream<TcpStream>, peer: Arc<PeerIdentity>, handler: &impl Handler) -> End {
        let Some(_guest) = Guest::admit(&self.shared, peer.terminal) else {
            let allowed = self.shared.limits.connections_per_terminal_max;
            return End::because(format!("terminal has {allowed} connections already"));
        };
        let mut stream = stream;
        loop {
            match self.exchange(&mut stream, &peer, handler).await {
                Ok(()) => {}
                Err(end) => {
                    let limit = milliseconds(self.shared.limits.write_timeout_ms);
                    let _ = timeout(limit, stream.shutdown()).await;
                    return end;
                }
            }
        }
    }

    async fn exchange(
        &mut self,
        stream: &mut TlsStream<TcpStream>,
        peer: &Arc<PeerIdentity>,
        handler: &impl Handler,
    ) -> Result<(), End> {
        let frame = self.next_frame(stream).await?;
        let (sender, receiver) = oneshot::channel();
        let request = Request { connection: self.number, peer: peer.clone(), frame, reply: Reply(sender) };
        handler.request(request);
        let answer = match timeout(milliseconds(self.shared.limits.answer_timeout_ms), receiver).await {
            Ok(Ok(answer)) => Zeroizing::new(answer),
            Ok(Err(_)) => return Err(End::quietly()),
            Err(_) => return Err(End::because("no answer in time")),
        };
        self.write(stream, &answer).await
    }

    async fn next_frame(&mut self, stream: &mut TlsStream<TcpStream>) -> Result<Vec<u8>, End> {
        let limits = self.shared.limits;
        let high = tokio::select! {
            length = timeout(milliseconds(limits.idle_timeout_ms), read_length(stream)) => match length {
                Ok(length) => length.map_err(frame_end)?,
                Err(_) => return Err(End::quietly()),
            },
            _ = self.stopping.wait_for(|stop| *stop) => return Err(End::quietly()),
        };
        match timeout(milliseconds(limits.frame_timeout_ms), read_rest(stream, high)).await {
            Ok(frame) => frame.map_err(frame_end),
            Err(_) => Err(End::because("half a frame, then silence")),
        }
    }

    async fn write(&self, stream: &mut TlsStream<TcpStream>, answer: &[u8]) -> Result<(), End> {
        let prefix = length_prefix(answer).ok_or_else(|| End::because("an answer too long for a frame"))?;
        // One write, so that length and body share a TLS record.
        let mut bytes = Zeroizing::new(Vec::with_capacity(prefix.len() + answer.len()));
        bytes.extend_from_slice(&prefix);
        bytes.extend_from_slice(answer);
        let written = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        match timeout(milliseconds(self.shared.limits.write_timeout_ms), written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::because(format!("write: {}", error.kind()))),
            Err(_) => Err(End::because("the peer does not read")),
        }
    }
}

fn frame_end(fault: FrameFault) -> End {
    match fault {
        FrameFault::Closed => End::quietly(),
        FrameFault::Length(length) => End::because(format!("a frame of {length} bytes")),
        FrameFault::Broken(kind) => End::because(format!("inside a frame: {kind}")),
    }
}

/// Counts a terminal's connections while it lives.
struct Guest {
    shared: Arc<Shared>,
    terminal: TerminalId,
}

impl Guest {
    fn admit(shared: &Arc<Shared>, terminal: TerminalId) -> Option<Self> {
        let mut by_terminal = shared.by_terminal.lock().ok()?;
        let count = by_terminal.entry(terminal).or_insert(0);
        if *count >= shared.limits.connections_per_terminal_max {
            return None;
        }
        *count += 1;
        Some(Self { shared: shared.clone(), terminal })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Ok(mut by_terminal) = self.shared.by_terminal.lock() else { return };
        if let Some(count) = by_terminal.get_mut(&self.terminal) {
            *count -= 1;
            if *count == 0 {
                by_terminal.remove(&self.terminal);
            }
        }
    }
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}
