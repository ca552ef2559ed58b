//! Frames of a byte stream: a length, then that many bytes.

use crate::error::{DecodeError, EncodeError, Expected, FieldPath, Found};
use crate::prefix::LengthPrefix;
use crate::reader::Reader;

/// Whether a whole frame has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A frame is there: its payload is `buffer[prefix..total]`, and `total` bytes are to be removed.
    Complete {
        /// Bytes of the length prefix.
        prefix: usize,
        /// Bytes of the whole frame.
        total: usize,
    },
    /// At least this many more bytes are needed.
    NeedMore(usize),
}

/// Looks for a frame at the start of `buffer`.
///
/// # Errors
/// The announced length is not a number or above `limit`: the connection cannot be used any more.
pub fn split(prefix: LengthPrefix, limit: usize, buffer: &[u8]) -> Result<Progress, DecodeError> {
    let prefix_octets = usize::from(prefix.octets);
    if buffer.len() < prefix_octets {
        return Ok(Progress::NeedMore(prefix_octets - buffer.len()));
    }
    let payload = prefix.read(&mut Reader::new(buffer), limit, FieldPath::Length)?;
    let total = prefix_octets + payload;
    Ok(match total.checked_sub(buffer.len()) {
        Some(missing) if missing > 0 => Progress::NeedMore(missing),
        _ => Progress::Complete { prefix: prefix_octets, total },
    })
}

/// Removes a whole frame from the start of `buffer` and returns its payload, or `None` if more
/// bytes must arrive first.
///
/// # Errors
/// As [`split`].
pub fn take(prefix: LengthPrefix, limit: usize, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, DecodeError> {
    match split(prefix, limit, buffer)? {
        Progress::NeedMore(_) => Ok(None),
        Progress::Complete { prefix, total } => {
            let mut payload: Vec<u8> = buffer.drain(..total).collect();
            payload.drain(..prefix);
            Ok(Some(payload))
        }
    }
}

/// The payload of `bytes`, which must be exactly one frame.
///
/// # Errors
/// The length is malformed, above `limit`, or not what follows it.
pub fn exactly(prefix: LengthPrefix, limit: usize, bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(bytes);
    let payload = prefix.read(&mut reader, limit, FieldPath::Length)?;
    let left = reader.remaining();
    if left < payload {
        let expected = Expected::Octets(payload);
        return Err(DecodeError::new(bytes.len(), FieldPath::Length, expected, Found::Octets(left)));
    }
    let content = reader.take(payload, FieldPath::Length)?;
    reader.finish()?;
    Ok(content)
}

/// Appends `payload` with its length.
///
/// # Errors
/// It is longer than `limit` or the prefix can say.
pub fn write(prefix: LengthPrefix, limit: usize, payload: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    prefix.write(payload.len(), limit, FieldPath::Length, out)?;
    out.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: LengthPrefix = LengthPrefix::binary(2);

    #[test]
    fn a_stream_is_cut_into_frames_byte_by_byte() {
        let mut wire = Vec::new();
        write(PREFIX, 10, b"first", &mut wire).unwrap();
        write(PREFIX, 10, b"", &mut wire).unwrap();
        write(PREFIX, 10, b"third", &mut wire).unwrap();
        let mut buffer = Vec::new();
        let mut payloads = Vec::new();
        for byte in wire {
            buffer.push(byte);
            if let Some(payload) = take(PREFIX, 10, &mut buffer).unwrap() {
                payloads.push(payload);
            }
        }
        assert_eq!(payloads, [b"first".to_vec(), Vec::new(), b"third".to_vec()]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_oversize_announcement_is_refused_before_its_bytes_arrive() {
        let error = split(PREFIX, 10, &[0, 11]).unwrap_err();
        assert_eq!((error.path, error.found), (FieldPath::Length, Found::Length(11)));
        assert_eq!(split(PREFIX, 10, &[0]), Ok(Progress::NeedMore(1)));
        assert_eq!(split(PREFIX, 10, &[0, 3, 1]), Ok(Progress::NeedMore(2)));
    }

    #[test]
    fn exactly_one_frame_and_nothing_else() {
        assert_eq!(exactly(PREFIX, 10, &[0, 1, 7]), Ok(&[7][..]));
        assert_eq!(exactly(PREFIX, 10, &[0, 2, 7]).unwrap_err().offset, 3);
        assert_eq!(exactly(PREFIX, 10, &[0, 1, 7, 8]).unwrap_err().path, FieldPath::Trailer);
    }
}
