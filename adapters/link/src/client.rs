//! The terminal's side of the link: one exchange at a time, blocking, and exact about whether a byte may have left.

use crate::frame::{FRAME_BYTES_MAX, LENGTH_BYTES, check_length};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Time limits of a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// For TCP and the TLS handshake together, each try.
    pub connect_timeout_ms: u64,
    /// Tries before the exchange fails (unionpay-pos D45: three).
    pub connect_tries: u32,
    /// A kept connection older than this since its last use is not used again. Below the host's idle limit.
    pub reuse_within_ms: u64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { connect_timeout_ms: 10_000, connect_tries: 3, reuse_within_ms: 60_000 }
    }
}

/// Where to connect and how.
#[derive(Clone)]
pub struct ClientOptions {
    /// `host:port`.
    pub address: String,
    /// The name that the host's certificate must carry.
    pub server_name: String,
    /// Certificates and versions.
    pub tls: Arc<ClientConfig>,
    /// Whether a connection is kept for the next exchange. Otherwise each message has its own.
    pub keep_connection: bool,
    /// Time limits.
    pub limits: ClientLimits,
}

/// An exchange without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} ({})", if *sent_any { "the request may have reached the host" } else { "nothing was sent" })]
pub struct ExchangeFailed {
    /// Whether any byte of the request may have left. `false` is certain: the host cannot have seen it.
    pub sent_any: bool,
    /// In words, without any byte of a frame.
    pub why: String,
}

/// Talks to one host.
pub struct Client {
    options: ClientOptions,
    kept: Option<Kept>,
}

struct Kept {
    stream: StreamOwned<ClientConnection, DeadlineStream>,
    last_use: Instant,
}

impl Client {
    /// A client that connects at its first exchange.
    pub fn new(options: ClientOptions) -> Self {
        Self { options, kept: None }
    }

    /// Sends a frame (with LEN) and waits for one frame (returned with LEN). The time limit counts from the moment at which
    /// the connection stands.
    pub fn exchange(&mut self, frame: &[u8], timeout_ms: u64) -> Result<Vec<u8>, ExchangeFailed> {
        let unsent = |why: String| ExchangeFailed { sent_any: false, why };
        check_frame(frame).map_err(|why| unsent(why.to_owned()))?;
        let mut stream = match self.take_kept() {
            Some(stream) => stream,
            None => self.connect().map_err(|error| unsent(format!("connect: {error}")))?,
        };
        stream.sock.deadline = Instant::now() + Duration::from_millis(timeout_ms);
        // From here on a byte may have left, whatever error follows.
        let answer = send_and_receive(&mut stream, frame)
            .map_err(|error| ExchangeFailed { sent_any: true, why: describe(&error) })?;
        if self.options.keep_connection {
            self.kept = Some(Kept { stream, last_use: Instant::now() });
        } else {
            say_goodbye(stream);
        }
        Ok(answer)
    }

    /// Closes a kept connection.
    pub fn disconnect(&mut self) {
        if let Some(kept) = self.kept.take() {
            say_goodbye(kept.stream);
        }
    }

    /// The kept connection, if it is young and the host has not closed it: a request written to a closed one would count as
    /// sent, and an unneeded reversal would follow.
    fn take_kept(&mut self) -> Option<StreamOwned<ClientConnection, DeadlineStream>> {
        let mut kept = self.kept.take()?;
        let young = kept.last_use.elapsed() < Duration::from_millis(self.options.limits.reuse_within_ms);
        (young && is_silent(&mut kept.stream)).then_some(kept.stream)
    }

    fn connect(&self) -> io::Result<StreamOwned<ClientConnection, DeadlineStream>> {
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for _ in 0..self.options.limits.connect_tries.max(1) {
            match self.connect_once() {
                Ok(stream) => return Ok(stream),
                // A host that was reached and refused will refuse again; one that was not reached may come back.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn connect_once(&self) -> io::Result<StreamOwned<ClientConnection, DeadlineStream>> {
        let deadline = Instant::now() + Duration::from_millis(self.options.limits.connect_timeout_ms);
        let address = first_address(&self.options.address)?;
        let socket = TcpStream::connect_timeout(&address, remaining(deadline)?)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.options.server_name.clone())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a server name"))?;
        let mut connection = ClientConnection::new(self.options.tls.clone(), name).map_err(io::Error::other)?;
        let mut socket = DeadlineStream { socket, deadline };
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }
}

fn check_frame(frame: &[u8]) -> Result<(), &'static str> {
    let (length, body) = frame.split_first_chunk::<LENGTH_BYTES>().ok_or("a frame without length")?;
    check_length(body.len()).map_err(|_| "a frame too long or empty")?;
    if usize::from(u16::from_be_bytes(*length)) != body.len() {
        return Err("a frame whose length does not fit");
    }
    Ok(())
}

fn send_and_receive(stream: &mut StreamOwned<ClientConnection, DeadlineStream>, frame: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(frame)?;
    stream.flush()?;
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length)?;
    let body_bytes = usize::from(u16::from_be_bytes(length));
    check_length(body_bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {body_bytes} bytes")))?;
    let mut answer = Zeroizing::new(Vec::with_capacity(LENGTH_BYTES + FRAME_BYTES_MAX));
    answer.extend_from_slice(&length);
    answer.resize(LENGTH_BYTES + body_bytes, 0);
    stream.read_exact(&mut answer[LENGTH_BYTES..])?;
    Ok(std::mem::take(&mut *answer))
}

/// Whether the host has neither closed the connection nor said anything unasked.
fn is_silent(stream: &mut StreamOwned<ClientConnection, DeadlineStream>) -> bool {
    let socket = &stream.sock.socket;
    let silent = socket.set_nonblocking(true).is_ok() && nothing_but_tickets(&mut stream.conn, socket);
    silent && socket.set_nonblocking(false).is_ok()
}

/// Reads what has arrived. Session tickets come after the first answer; anything else is a goodbye or unasked-for data.
fn nothing_but_tickets(connection: &mut ClientConnection, mut socket: &TcpStream) -> bool {
    loop {
        match connection.read_tls(&mut socket) {
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            Ok(0) => return false,
            Ok(_) => {}
        }
        let quiet = connection
            .process_new_packets()
            .is_ok_and(|state| !state.peer_has_closed() && state.plaintext_bytes_to_read() == 0);
        if !quiet {
            return false;
        }
    }
}

fn say_goodbye(mut stream: StreamOwned<ClientConnection, DeadlineStream>) {
    stream.conn.send_close_notify();
    stream.sock.deadline = Instant::now() + GOODBYE_LIMIT;
    let _ = stream.flush();
}

/// How long a goodbye may take; nothing depends on it.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

fn first_address(text: &str) -> io::Result<SocketAddr> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the host's name has no address");
    text.to_socket_addrs()?.next().ok_or_else(unknown)
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        // What a socket's time limit looks like depends on the system.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the host closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// A socket whose every read and write ends at one common deadline, however slowly the bytes drip.
struct DeadlineStream {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(remaining(self.deadline)?))?;
        self.socket.read(buffer)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(remaining(self.deadline)?))?;
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
