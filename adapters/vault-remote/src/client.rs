//! Clients of a key server.

use crate::ANSWER_TIMEOUT;
use crate::frame::{FrameError, read_frame, write_frame};
use keys::{BATCH_COMMANDS_MAX, Caller, Command, KeyService, Refusal, Reply, SocketReply, SocketRequest};
use machine::wire::Encode;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

fn submit(stream: &mut UnixStream, caller: Caller, ticket: u64, commands: &[Command]) -> Result<(), FrameError> {
    let bytes = Zeroizing::new(SocketRequest::encode_parts(caller, ticket, commands));
    write_frame(stream, &bytes)
}

fn receive(stream: &mut UnixStream, wait: Option<core::time::Duration>) -> Result<SocketReply, FrameError> {
    let frame = read_frame(stream, wait)?;
    SocketReply::from_bytes(&frame).map_err(|malformed| FrameError::Io(io::Error::other(malformed.to_string())))
}

/// A [`KeyService`] behind a socket, one batch at a time.
///
/// It connects on first use and again whenever the connection was lost: a key process may be restarted under it. A
/// batch that went out and was not answered is sent once more on a fresh connection; every command may be repeated.
/// What then still fails is refused with [`Refusal::Unavailable`].
#[derive(Debug)]
pub struct RemoteKeys {
    path: PathBuf,
    caller: Caller,
    stream: Option<UnixStream>,
    ticket: u64,
}

impl RemoteKeys {
    /// Will connect to the socket at `path`, which belongs to `caller`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, caller: Caller) -> Self {
        Self { path: path.into(), caller, stream: None, ticket: 0 }
    }

    /// Connects now.
    ///
    /// # Errors
    /// If nobody answers there.
    pub fn connect(path: impl Into<PathBuf>, caller: Caller) -> io::Result<Self> {
        let mut keys = Self::new(path, caller);
        keys.stream = Some(connect(&keys.path)?);
        Ok(keys)
    }

    fn exchange(&mut self, commands: &[Command]) -> Result<Vec<Reply>, FrameError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.path)?,
        };
        self.ticket = self.ticket.wrapping_add(1);
        submit(&mut stream, self.caller, self.ticket, commands)?;
        let reply = receive(&mut stream, Some(ANSWER_TIMEOUT))?;
        if reply.ticket != self.ticket || reply.replies.len() != commands.len() {
            return Err(FrameError::Io(io::Error::other("an answer to another batch")));
        }
        self.stream = Some(stream);
        Ok(reply.replies)
    }

    fn exchange_again(&mut self, commands: &[Command]) -> Vec<Reply> {
        let had_connection = self.stream.is_some();
        let mut result = self.exchange(commands);
        if result.is_err() && had_connection {
            result = self.exchange(commands);
        }
        let unavailable = |_| Reply::Refused { why: Refusal::Unavailable };
        result.unwrap_or_else(|_| commands.iter().map(unavailable).collect())
    }
}

impl KeyService for RemoteKeys {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        commands.chunks(BATCH_COMMANDS_MAX).flat_map(|batch| self.exchange_again(batch)).collect()
    }
}

/// The sending half of a pipelined connection.
#[derive(Debug)]
pub struct KeySender {
    stream: UnixStream,
    caller: Caller,
}

/// The receiving half of a pipelined connection.
#[derive(Debug)]
pub struct KeyReceiver(UnixStream);

/// Connects for many batches in flight. The server answers in order; tickets tell answers apart all the same. The
/// receiver must keep reading, on a thread of its own, or both sides end up waiting for the other and time out.
///
/// # Errors
/// If nobody answers there.
pub fn pipelined(path: &Path, caller: Caller) -> io::Result<(KeySender, KeyReceiver)> {
    let stream = connect(path)?;
    let receiver = KeyReceiver(stream.try_clone()?);
    Ok((KeySender { stream, caller }, receiver))
}

impl KeySender {
    /// Sends a batch of at most [`BATCH_COMMANDS_MAX`] commands.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then of no more use.
    pub fn submit(&mut self, ticket: u64, commands: &[Command]) -> Result<(), FrameError> {
        if commands.len() > BATCH_COMMANDS_MAX {
            return Err(FrameError::Length(commands.len()));
        }
        submit(&mut self.stream, self.caller, ticket, commands)
    }

    /// Ends the connection; the receiver then sees it closed.
    pub fn close(&self) {
        // A connection that is gone already is as closed as it can be.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl KeyReceiver {
    /// Waits for the next answer.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then of no more use.
    pub fn receive(&mut self) -> Result<SocketReply, FrameError> {
        receive(&mut self.0, None)
    }
}
