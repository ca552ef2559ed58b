//! LEN framing: two bytes, big-endian, counting what follows (unionpay-pos §1.1).

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of LEN.
pub const LENGTH_BYTES: usize = 2;
/// Longest frame body taken or sent, in bytes. The longest message of the dialect stays far below.
pub const FRAME_BYTES_MAX: usize = 4096;

/// Why no frame came.
#[derive(Debug)]
pub(crate) enum FrameFault {
    /// The peer closed between frames: nothing is wrong.
    Closed,
    /// LEN is zero or above [`FRAME_BYTES_MAX`].
    Length(usize),
    /// The connection broke, or ended inside a frame.
    Broken(io::ErrorKind),
}

/// Reads LEN. Waiting here is idling, so the caller gives it another time limit than the body.
pub(crate) async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> Result<usize, FrameFault> {
    let mut length = [0; LENGTH_BYTES];
    match stream.read(&mut length[..1]).await {
        Ok(0) => return Err(FrameFault::Closed),
        Ok(_) => {}
        // A peer that drops TCP without a TLS goodbye between frames is rude but harmless.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(FrameFault::Closed),
        Err(error) => return Err(FrameFault::Broken(error.kind())),
    }
    Ok(usize::from(length[0]))
}

/// Reads the second byte of LEN, then the body.
pub(crate) async fn read_rest(stream: &mut (impl AsyncRead + Unpin), high: usize) -> Result<Vec<u8>, FrameFault> {
    let broken = |error: io::Error| FrameFault::Broken(error.kind());
    let low = stream.read_u8().await.map_err(broken)?;
    let length = high << 8 | usize::from(low);
    check_length(length)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(broken)?;
    Ok(body)
}

/// Refuses empty and oversize frames before a byte of them is read.
pub(crate) fn check_length(length: usize) -> Result<(), FrameFault> {
    if (1..=FRAME_BYTES_MAX).contains(&length) { Ok(()) } else { Err(FrameFault::Length(length)) }
}

/// LEN for a body; `None` if the body is empty or too long.
pub(crate) fn length_prefix(body: &[u8]) -> Option<[u8; LENGTH_BYTES]> {
    check_length(body.len()).ok()?;
    u16::try_from(body.len()).ok().map(u16::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(length_prefix(&[0; 278]), Some([1, 22]));
        assert!(length_prefix(&[]).is_none() && length_prefix(&[0; FRAME_BYTES_MAX + 1]).is_none());
        assert!(length_prefix(&[0; FRAME_BYTES_MAX]).is_some());
    }
}
