//! Frames: a four-byte big-endian length, then that many bytes.

use crate::FRAME_TIMEOUT;
use keys::SOCKET_FRAME_BYTES_MAX;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

const LENGTH_BYTES: usize = 4;
/// A sealed payload is this much longer than a clear one.
const SEALED_BYTES_MAX: usize = SOCKET_FRAME_BYTES_MAX + 16;
/// Memory is taken as bytes arrive, not as a length announces.
const CHUNK_BYTES: usize = 64 << 10;

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed between two frames.
    #[error("closed")]
    Closed,
    /// The peer closed inside a frame.
    #[error("closed inside a frame")]
    Cut,
    /// A frame began and was not completed in time.
    #[error("half a frame, then silence")]
    Stalled,
    /// Nothing came at all within the time given.
    #[error("no answer in time")]
    Silent,
    /// A length of zero or above the limit.
    #[error("frame of {0} bytes")]
    Length(usize),
    /// A frame that does not open: altered, out of turn, or from nobody who was here at the beginning.
    #[error("a frame that is not this connection's")]
    NotOurs,
    /// Something else failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Fills `buffer` before `deadline`. What has arrived already is taken without setting up a wait, and usually all has.
fn read_until(stream: &mut UnixStream, buffer: &mut [u8], deadline: Instant) -> Result<(), FrameError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let arrived = recv(&*stream, &mut buffer[filled..], RecvFlags::DONTWAIT).map(|(count, _)| count);
        let received = match arrived {
            Err(Errno::AGAIN) => read_before(stream, &mut buffer[filled..], deadline)?,
            other => other.map_err(std::io::Error::from),
        };
        match received {
            Ok(0) => return Err(FrameError::Cut),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return Err(FrameError::Stalled),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits for more until `deadline`.
fn read_before(
    stream: &mut UnixStream,
    buffer: &mut [u8],
    deadline: Instant,
) -> Result<std::io::Result<usize>, FrameError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(FrameError::Stalled);
    }
    stream.set_read_timeout(Some(left))?;
    Ok(stream.read(buffer))
}

/// Waits for the first bytes of a frame's length, for ever or as long as given; says how many came.
fn read_first(
    stream: &mut UnixStream,
    length: &mut [u8; LENGTH_BYTES],
    wait: Option<Duration>,
) -> Result<usize, FrameError> {
    if stream.read_timeout()? != wait {
        stream.set_read_timeout(wait)?;
    }
    loop {
        match stream.read(length) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return Err(FrameError::Silent),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads one frame. `wait` limits the silence before it; once it has begun it must be complete within
/// [`FRAME_TIMEOUT`].
///
/// # Errors
/// [`FrameError`]; the stream is then of no more use.
pub fn read_frame(stream: &mut UnixStream, wait: Option<Duration>) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut length = [0; LENGTH_BYTES];
    let begun = read_first(stream, &mut length, wait)?;
    let deadline = Instant::now() + FRAME_TIMEOUT;
    read_until(stream, &mut length[begun..], deadline)?;
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > SEALED_BYTES_MAX {
        return Err(FrameError::Length(length));
    }
    let mut frame = Zeroizing::new(Vec::new());
    while frame.len() < length {
        let filled = frame.len();
        let more = CHUNK_BYTES.min(length - filled);
        grow(&mut frame, filled + more);
        read_until(stream, &mut frame[filled..], deadline)?;
    }
    Ok(frame)
}

/// Lengthens a buffer without leaving its content behind in freed memory.
fn grow(buffer: &mut Zeroizing<Vec<u8>>, length: usize) {
    if length > buffer.capacity() {
        let mut larger = Vec::with_capacity(length.max(buffer.capacity() * 2));
        larger.extend_from_slice(buffer);
        let mut old = core::mem::replace(&mut **buffer, larger);
        old.zeroize();
    }
    buffer.resize(length, 0);
}

/// Writes one frame in a single system call where the socket takes it.
///
/// # Errors
/// [`FrameError::Length`] for an empty or oversized payload, [`FrameError::Io`].
pub fn write_frame(stream: &mut UnixStream, payload: &[u8]) -> Result<(), FrameError> {
    if payload.is_empty() || payload.len() > SEALED_BYTES_MAX {
        return Err(FrameError::Length(payload.len()));
    }
    let length = u32::try_from(payload.len()).expect("bounded above");
    let length = length.to_be_bytes();
    let mut parts = [IoSlice::new(&length), IoSlice::new(payload)];
    let mut rest = &mut parts[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(0) => return Err(std::io::Error::from(ErrorKind::WriteZero).into()),
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
