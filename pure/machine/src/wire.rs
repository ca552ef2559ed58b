//! How records and key words encode themselves: by hand, versioned, big-endian, length-prefixed.
//!
//! One [`Reader`] does every bounds check. Nothing here knows what it carries.

use std::sync::Arc;
use types::{SecretBytes, wipe};

/// Largest single byte string in a record or key word, in bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// What a writer takes at first: most records and words fit, so that hardly any is moved and wiped while it is written.
const ROOM_BYTES: usize = 512;
/// Values that a list gets room for before any is read: its length is only a claim.
const LIST_ROOM: usize = 64;

/// Why bytes are not the record they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {what}")]
pub struct Malformed {
    /// Offset in the input at which reading stopped.
    pub offset: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// A hand-written, versioned encoding. `decode` accepts every version that was ever released.
pub trait Encode: Sized {
    /// Appends the encoding.
    fn encode(&self, writer: &mut Writer);
    /// Reads it back.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The encoding as one byte string.
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.encode(&mut writer);
        writer.into_bytes()
    }

    /// Reads a value that must fill the whole input.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Appends values to a byte string.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A writer for a value that has so many bytes: where it is kept, it keeps no more room than it needs.
    pub fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Eight bytes, two's complement.
    #[inline]
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// One byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Bytes whose length the reader knows.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        if self.0.capacity() - self.0.len() < bytes.len() {
            self.make_room(bytes.len());
        }
        self.0.extend_from_slice(bytes);
        self
    }

    /// Grows by hand, because a vector that grows by itself leaves what it held, keys and PANs too, in freed memory.
    #[cold]
    fn make_room(&mut self, more: usize) {
        let mut larger = Vec::with_capacity((self.0.len() + more).max(2 * self.0.capacity()).max(ROOM_BYTES));
        larger.extend_from_slice(&self.0);
        wipe(&mut self.0);
        self.0 = larger;
    }

    /// Bytes behind a four-byte length.
    ///
    /// # Panics
    /// Above [`BYTES_MAX`]: the caller bounds what it stores.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        assert!(bytes.len() <= BYTES_MAX, "a record's byte string is bounded");
        self.u32(u32::try_from(bytes.len()).expect("bounded"));
        self.raw(bytes)
    }

    /// Text as bytes.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A nested value.
    #[inline]
    pub fn value<T: Encode>(&mut self, value: &T) -> &mut Self {
        value.encode(self);
        self
    }

    /// A flag, then the value if there is one.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    /// A four-byte count, then the values.
    pub fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.u32(u32::try_from(values.len()).expect("lists in records are short"));
        for value in values {
            write(self, value);
        }
        self
    }
}

/// Reads values from a byte string; the only place where a length meets a slice.
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// An error at the current offset.
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.offset, what }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The bytes that `read` takes.
    ///
    /// # Errors
    /// What `read` finds.
    pub fn covered(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Malformed>) -> Result<&'a [u8], Malformed> {
        let start = self.offset;
        read(self)?;
        Ok(&self.bytes[start..self.offset])
    }

    /// Exactly `count` bytes.
    #[inline]
    pub fn raw(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        if count > self.remaining() {
            return Err(self.malformed(what));
        }
        let slice = &self.bytes[self.offset..self.offset + count];
        self.offset += count;
        Ok(slice)
    }

    /// Exactly `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        Ok(self.raw(N, what)?.try_into().expect("raw gave N bytes"))
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>("one byte")?[0])
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array("two bytes")?))
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array("four bytes")?))
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array("eight bytes")?))
    }

    /// Eight bytes, two's complement.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array("eight bytes")?))
    }

    /// One byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("0 or 1")),
        }
    }

    /// Bytes behind a four-byte length, at most [`BYTES_MAX`].
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        if length > BYTES_MAX {
            return Err(self.malformed("a bounded length"));
        }
        self.raw(length, "as many bytes as announced")
    }

    /// Secret bytes behind a four-byte length.
    pub fn secret(&mut self) -> Result<SecretBytes, Malformed> {
        Ok(SecretBytes::copy_from(self.bytes()?))
    }

    /// UTF-8 text behind a four-byte length.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.bytes()?;
        core::str::from_utf8(bytes).map_err(|_| self.malformed("UTF-8 text"))
    }

    /// A nested value.
    #[inline]
    pub fn value<T: Encode>(&mut self) -> Result<T, Malformed> {
        T::decode(self)
    }

    /// A flag, then the value if the flag says so.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A four-byte count, then the values. The count cannot exceed the bytes left.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count > self.remaining() {
            return Err(self.malformed("as many values as announced"));
        }
        let mut values = Vec::with_capacity(count.min(LIST_ROOM));
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(values)
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed("the end")) }
    }
}

macro_rules! encode_ascii_word {
    ($($word:ident),*) => { $(
        impl Encode for types::$word {
            fn encode(&self, writer: &mut Writer) {
                writer.raw(self.bytes());
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                let bytes = reader.array(stringify!($word))?;
                Self::new(bytes).map_err(|_| reader.malformed(stringify!($word)))
            }
        }
    )* };
}
encode_ascii_word!(TerminalId, MerchantId, Rrn, AuthorisationCode, ResponseCode);

/// What is shared is written like what is not.
impl<T: Encode> Encode for Arc<T> {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&**self);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.value().map(Arc::new)
    }
}

impl Encode for types::Stan {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.number());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = reader.u32()?;
        Self::new(number).ok_or_else(|| reader.malformed("a trace number"))
    }
}

impl Encode for types::BatchNumber {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.number());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = reader.u32()?;
        Self::new(number).ok_or_else(|| reader.malformed("a batch number"))
    }
}

impl Encode for types::WalletNumber {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.number());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = reader.u32()?;
        Self::new(number).ok_or_else(|| reader.malformed("a wallet number"))
    }
}

impl Encode for types::PaymentCode {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(self.expose().as_bytes());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let digits: [u8; types::PAYMENT_CODE_DIGITS] = reader.array("a payment code")?;
        let code = core::str::from_utf8(&digits).ok().and_then(|text| Self::parse(text).ok());
        code.ok_or_else(|| reader.malformed("a payment code"))
    }
}

impl Encode for types::Amount {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.minor()).u16(self.currency().numeric());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (minor, code) = (reader.u64()?, reader.u16()?);
        let currency = types::Currency::from_numeric(code).ok_or_else(|| reader.malformed("a currency"))?;
        Self::from_minor(minor, currency).ok_or_else(|| reader.malformed("an amount"))
    }
}

impl Encode for types::CardToken {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array("a card token").map(Self)
    }
}

impl Encode for types::TruncatedPan {
    fn encode(&self, writer: &mut Writer) {
        writer.text(self.text());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = reader.text()?;
        Self::parse(text).map_err(|_| reader.malformed("a truncated PAN"))
    }
}

impl Encode for types::CivilTime {
    fn encode(&self, writer: &mut Writer) {
        let (hour, minute, second) = self.time.parts();
        writer.u16(self.date.year()).u8(self.date.month()).u8(self.date.day());
        writer.u8(hour).u8(minute).u8(second);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let date = types::LocalDate::new(reader.u16()?, reader.u8()?, reader.u8()?);
        let time = types::LocalTime::new(reader.u8()?, reader.u8()?, reader.u8()?);
        match (date, time) {
            (Some(date), Some(time)) => Ok(Self { date, time }),
            _ => Err(reader.malformed("a date and time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut writer = Writer::default();
        writer.u8(1).u16(2).u32(3).u64(4).i64(-5).bool(true).bytes(b"six").text("七");
        writer.option(Some(8_u8), |writer, value| {
            writer.u8(value);
        });
        writer.list(&[9_u16, 10], |writer, value| {
            writer.u16(*value);
        });
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.u8(), reader.u16(), reader.u32(), reader.u64()), (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!(
            (reader.i64(), reader.bool(), reader.bytes(), reader.text()),
            (Ok(-5), Ok(true), Ok(&b"six"[..]), Ok("七"))
        );
        assert_eq!(reader.option(Reader::u8), Ok(Some(8)));
        assert_eq!(reader.list(Reader::u16), Ok(vec![9, 10]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn an_announced_length_is_never_trusted() {
        assert!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 1]).bytes().is_err());
        assert!(Reader::new(&[0x7F, 0xFF, 0xFF, 0xFF]).list(Reader::u8).is_err());
        assert_eq!(Reader::new(&[2]).bool().unwrap_err().what, "0 or 1");
    }
}
