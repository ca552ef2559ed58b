//! The key socket: a server in front of a vault, and clients of it.
//!
//! * **Duty:** carries batches of `keys` words over a Unix socket, sealed against taps; knows who is at the other end of each connection and
//!   cuts off whoever says what the caller table does not allow.
//! * **Knows:** frames (four-byte length, then [`keys::SocketRequest`] or [`keys::SocketReply`]), peer credentials,
//!   limits. One listening socket belongs to one caller: file permissions and the peer's user id decide who that is.
//! * **Never:** looks into a command's content or keeps one.
//! * **Start here:** [`KeyServer::start`]; [`RemoteKeys`] for one batch at a time, [`pipelined`] for many in flight.

mod channel;
mod client;
mod frame;
mod server;

pub use channel::{Channel, Incoming, Outgoing};
pub use client::{KeyReceiver, KeySender, RemoteKeys, pipelined};
pub use frame::{FrameError, read_frame, write_frame};
pub use server::{BatchExecutor, BoundSockets, EventLog, KeyServer, ListenerConfig, Parting, ServerEvent};

use core::time::Duration;

/// Connections that one server serves at once; further ones are closed at once.
pub const CONNECTIONS_MAX: usize = 64;
/// A frame must be complete this long after its first byte, and a peer must take an answer within it.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client waits for the answer to a batch.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
