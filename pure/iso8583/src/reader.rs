//! The one place where a length meets a slice.

use crate::error::{DecodeError, Expected, FieldPath, Found};

/// A cursor over received bytes. Every bounds check of the decoder is in [`Reader::take`].
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A cursor at `position` of `bytes` (at the end, if that is beyond it), so that offsets in
    /// errors count from the first byte of `bytes`.
    #[must_use]
    pub fn starting_at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position: position.min(bytes.len()) }
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `count` bytes; they are consumed.
    ///
    /// # Errors
    /// Fewer bytes are left: the error names the position and both counts.
    #[inline(always)]
    pub fn take(&mut self, count: usize, path: FieldPath) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        match rest.split_at_checked(count) {
            Some((taken, _)) => {
                self.position += count;
                Ok(taken)
            }
            None => Err(self.cut(count, path)),
        }
    }

    #[cold]
    fn cut(&self, count: usize, path: FieldPath) -> DecodeError {
        DecodeError::new(self.position, path, Expected::Octets(count), Found::Octets(self.remaining()))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Bytes follow the last element: path [`FieldPath::Trailer`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::new(self.position, FieldPath::Trailer, Expected::End, Found::Octets(left))
                .until(self.bytes.len())),
        }
    }
}
