//! Clients of a key server.

use crate::ANSWER_TIMEOUT;
use crate::channel::{Channel, Incoming, Outgoing};
use crate::frame::FrameError;
use keys::{BATCH_COMMANDS_MAX, Caller, Command, KeyService, Refusal, Reply, SocketReply, SocketRequest};
use machine::wire::Encode;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn connect(path: &Path) -> Result<Channel, FrameError> {
    Channel::connect(path, ANSWER_TIMEOUT)
}

fn submit(outgoing: &mut Outgoing, caller: Caller, ticket: u64, commands: &[Command]) -> Result<(), FrameError> {
    let bytes = Zeroizing::new(SocketRequest::encode_parts(caller, ticket, commands));
    outgoing.send(&bytes)
}

fn receive(incoming: &mut Incoming, wait: Option<core::time::Duration>) -> Result<SocketReply, FrameError> {
    let frame = incoming.receive(wait)?;
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
    channel: Option<Channel>,
    ticket: u64,
}

impl RemoteKeys {
    /// Will connect to the socket at `path`, which belongs to `caller`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, caller: Caller) -> Self {
        Self { path: path.into(), caller, channel: None, ticket: 0 }
    }

    /// Connects now.
    ///
    /// # Errors
    /// If nobody answers there.
    pub fn connect(path: impl Into<PathBuf>, caller: Caller) -> Result<Self, FrameError> {
        let mut keys = Self::new(path, caller);
        keys.channel = Some(connect(&keys.path)?);
        Ok(keys)
    }

    fn exchange(&mut self, commands: &[Command]) -> Result<Vec<Reply>, FrameError> {
        let mut channel = match self.channel.take() {
            Some(channel) => channel,
            None => connect(&self.path)?,
        };
        self.ticket = self.ticket.wrapping_add(1);
        submit(&mut channel.outgoing, self.caller, self.ticket, commands)?;
        let reply = receive(&mut channel.incoming, Some(ANSWER_TIMEOUT))?;
        if reply.ticket != self.ticket || reply.replies.len() != commands.len() {
            return Err(FrameError::Io(io::Error::other("an answer to another batch")));
        }
        self.channel = Some(channel);
        Ok(reply.replies)
    }

    fn exchange_again(&mut self, commands: &[Command]) -> Vec<Reply> {
        let had_connection = self.channel.is_some();
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
    outgoing: Outgoing,
    caller: Caller,
}

/// The receiving half of a pipelined connection.
#[derive(Debug)]
pub struct KeyReceiver(Incoming);

/// Connects for many batches in flight. The server answers in order; tickets tell answers apart all the same. The
/// receiver must keep reading, on a thread of its own, or both sides end up waiting for the other and time out.
///
/// # Errors
/// If nobody answers there.
pub fn pipelined(path: &Path, caller: Caller) -> Result<(KeySender, KeyReceiver), FrameError> {
    let Channel { incoming, outgoing } = connect(path)?;
    Ok((KeySender { outgoing, caller }, KeyReceiver(incoming)))
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
        submit(&mut self.outgoing, self.caller, ticket, commands)
    }

    /// Ends the connection; the receiver then sees it closed.
    pub fn close(&self) {
        self.outgoing.close();
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
