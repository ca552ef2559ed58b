//! The borrowing decoder: one pass, no allocation.

use crate::bitmap::{Bitmap, MAX_FIELD};
use crate::content::{Characters, Mismatch, Nibbles};
use crate::error::{DecodeError, Expected, FieldPath, Found};
use crate::reader::Reader;
use crate::spec::{Encoding, FieldSpec, Length, MAX_MESSAGE_OCTETS, MTI_DIGITS, Spec};

/// Start offsets of the fields in order, and the end of the last one.
type Marks = [u16; MAX_FIELD as usize + 1];

/// A decoded message: where each field stands in the bytes that were received.
#[derive(Clone)]
pub struct Message<'a> {
    spec: &'a Spec,
    wire: &'a [u8],
    start: usize,
    mti_start: usize,
    bitmap_start: usize,
    bitmap: Bitmap,
    fields: Bitmap,
    marks: Marks,
}

/// Decodes a whole message. Nothing may follow it.
///
/// # Errors
/// The first element that does not fit, with its offset.
///
/// ```
/// use iso8583::{decode, dialect};
/// let body = [0x08, 0x20, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x09];
/// let message = decode(&dialect::unionpay::SPEC, &body)?;
/// assert_eq!(message.mti(), *b"0820");
/// assert_eq!(message.field(11).and_then(|field| field.number()), Some(9));
/// # Ok::<(), iso8583::DecodeError>(())
/// ```
pub fn decode<'a>(spec: &'a Spec, bytes: &'a [u8]) -> Result<Message<'a>, DecodeError> {
    decode_from(spec, bytes, 0)
}

/// As [`decode`], for a message that starts at `start` of `bytes`; offsets count from byte 0.
///
/// # Errors
/// As [`decode`].
pub fn decode_from<'a>(spec: &'a Spec, bytes: &'a [u8], start: usize) -> Result<Message<'a>, DecodeError> {
    let mut reader = Reader::starting_at(bytes, start);
    let mut message = Message::unread(spec, bytes, reader.position());
    message.read(&mut reader)?;
    reader.finish()?;
    Ok(message)
}

/// Decodes a message at the position of `reader` (over `bytes`), which may have more after it.
///
/// # Errors
/// As [`decode`].
pub fn decode_prefix<'a>(spec: &'a Spec, bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    let mut message = Message::unread(spec, bytes, reader.position());
    message.read(reader)?;
    Ok(message)
}

/// The bitmap without its presence bits.
fn data_elements(spec: &Spec, bitmap: Bitmap) -> Bitmap {
    let mut fields = bitmap;
    for number in [1, crate::bitmap::GROUP_FIELDS + 1] {
        if spec.bitmap.is_presence_bit(number) {
            fields.clear(number);
        }
    }
    fields
}

/// Reads one element: length, bytes, and a look at the bytes.
#[inline(always)]
fn read_element(field: &FieldSpec, reader: &mut Reader<'_>, path: FieldPath) -> Result<(), DecodeError> {
    let count = match field.length {
        Length::Fixed(length) => length,
        Length::Variable { prefix, max } => prefix.read(reader, max, path)?,
    };
    let content = reader.take(field.octets(count), path)?;
    if field.fits(content, count) {
        return Ok(());
    }
    Err(refused(field, content, count, path, reader.position()))
}

#[cold]
fn undefined(number: u8, offset: usize) -> DecodeError {
    DecodeError::new(offset, FieldPath::Field(number), Expected::KnownField, Found::Field(number))
}

#[cold]
fn refused(field: &FieldSpec, content: &[u8], count: usize, path: FieldPath, end: usize) -> DecodeError {
    let unknown = (Expected::Alphabet, Found::Other("something else"));
    let (expected, found) = field.check(content, count).err().unwrap_or(unknown);
    DecodeError::new(end - content.len(), path, expected, found).until(end)
}

impl<'a> Message<'a> {
    /// Filled in place by [`Message::read`]: the marks are too large to be moved about.
    #[inline]
    fn unread(spec: &'a Spec, wire: &'a [u8], start: usize) -> Self {
        Self {
            spec,
            wire,
            start,
            mti_start: start,
            bitmap_start: start,
            bitmap: Bitmap::default(),
            fields: Bitmap::default(),
            marks: [0; MAX_FIELD as usize + 1],
        }
    }

    fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        if self.wire.len() > MAX_MESSAGE_OCTETS {
            let expected = Expected::AtMost(MAX_MESSAGE_OCTETS);
            let found = Found::Length(self.wire.len());
            return Err(DecodeError::new(self.start, FieldPath::Length, expected, found));
        }
        if let Some(header) = &self.spec.header {
            read_element(header, reader, FieldPath::Header)?;
        }
        self.mti_start = reader.position();
        read_element(&self.spec.mti, reader, FieldPath::Mti)?;
        self.bitmap_start = reader.position();
        self.bitmap = self.spec.bitmap.read(reader)?;
        self.fields = data_elements(self.spec, self.bitmap);
        self.read_fields(reader)
    }

    fn read_fields(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let table = &*self.spec.fields;
        let mut marks = self.marks.iter_mut();
        self.fields.try_each(|number| {
            let Some(field) = table.get(usize::from(number)).and_then(Option::as_ref) else {
                return Err(undefined(number, reader.position()));
            };
            if let Some(mark) = marks.next() {
                *mark = reader.position() as u16;
            }
            read_element(field, reader, FieldPath::Field(number))
        })?;
        if let Some(mark) = marks.next() {
            *mark = reader.position() as u16;
        }
        Ok(())
    }

    /// The layout it was decoded with.
    #[must_use]
    pub const fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// All bytes from the header to the last field.
    #[must_use]
    pub fn wire(&self) -> &'a [u8] {
        self.slice(self.start, self.end())
    }

    /// Bytes from the message type to the last field: what a MAC is made over, F64 included.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.slice(self.mti_start, self.end())
    }

    /// Bytes from the message type up to (not including) field `number`.
    #[must_use]
    pub fn body_before(&self, number: u8) -> &'a [u8] {
        let end = self.marks.get(self.fields.rank(number)).map_or(0, |&mark| usize::from(mark));
        self.slice(self.mti_start, end)
    }

    fn end(&self) -> usize {
        let count = self.fields.iter().count();
        self.marks.get(count).map_or(0, |&mark| usize::from(mark))
    }

    // Every pair of offsets comes from the reader, so the slice always exists.
    fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.wire.get(start..end).unwrap_or_default()
    }

    /// The header, if the layout has one.
    #[must_use]
    pub fn header(&self) -> Option<Field<'a>> {
        let spec = self.spec.header.as_ref()?;
        let wire = self.slice(self.start, self.mti_start);
        Some(Field::new(FieldPath::Header, spec, wire, self.start))
    }

    /// The four characters of the message type, in ASCII.
    #[must_use]
    pub fn mti(&self) -> [u8; MTI_DIGITS] {
        let wire = self.slice(self.mti_start, self.bitmap_start);
        let mut mti = [b'0'; MTI_DIGITS];
        self.spec.mti.copy_characters(wire, MTI_DIGITS, &mut mti);
        mti
    }

    /// All bitmap bits, presence bits included.
    #[must_use]
    pub const fn bitmap(&self) -> &Bitmap {
        &self.bitmap
    }

    /// The bytes of bitmap group `index` (from 0).
    #[must_use]
    pub fn bitmap_wire(&self, index: usize) -> &'a [u8] {
        if index >= self.bitmap.group_count() {
            return &[];
        }
        let start = self.bitmap_start + self.spec.bitmap.octets(index);
        self.slice(start, self.bitmap_start + self.spec.bitmap.octets(index + 1))
    }

    /// Whether data element `number` is there.
    #[must_use]
    pub fn has(&self, number: u8) -> bool {
        self.fields.contains(number)
    }

    /// A data element, if it is there.
    #[must_use]
    #[inline]
    pub fn field(&self, number: u8) -> Option<Field<'a>> {
        if !self.fields.contains(number) {
            return None;
        }
        self.field_at(number, self.fields.rank(number))
    }

    fn field_at(&self, number: u8, rank: usize) -> Option<Field<'a>> {
        let spec = self.spec.field(number)?;
        let start = usize::from(*self.marks.get(rank)?);
        let end = usize::from(*self.marks.get(rank + 1)?);
        Some(Field::new(FieldPath::Field(number), spec, self.slice(start, end), start))
    }

    /// The data elements in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        self.fields.iter().enumerate().filter_map(|(rank, number)| self.field_at(number, rank))
    }
}

impl core::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mti = self.mti();
        f.debug_struct("Message")
            .field("mti", &String::from_utf8_lossy(&mti))
            .field("fields", &self.fields.iter().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// One element of a decoded message.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    path: FieldPath,
    spec: &'a FieldSpec,
    wire: &'a [u8],
    content: &'a [u8],
    count: usize,
    offset: usize,
}

impl<'a> Field<'a> {
    /// Splits the length prefix off `wire`, which [`read_element`] has accepted.
    #[inline]
    fn new(path: FieldPath, spec: &'a FieldSpec, wire: &'a [u8], offset: usize) -> Self {
        let mut reader = Reader::new(wire);
        let count = match spec.length {
            Length::Fixed(length) => length,
            Length::Variable { prefix, max } => prefix.read(&mut reader, max, path).unwrap_or(0),
        };
        let content = wire.get(reader.position()..).unwrap_or_default();
        Self { path, spec, wire, content, count, offset }
    }

    /// Reads `wire` (length prefix included) as a field on its own.
    ///
    /// # Errors
    /// It does not fit the layout; offsets count from the first byte of `wire`.
    pub fn parse(path: FieldPath, spec: &'a FieldSpec, wire: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(wire);
        read_element(spec, &mut reader, path)?;
        reader.finish()?;
        Ok(Self::new(path, spec, wire, 0))
    }

    /// Which element it is.
    #[must_use]
    pub const fn path(&self) -> FieldPath {
        self.path
    }

    /// Its number; 0 for a header.
    #[must_use]
    pub const fn number_in_message(&self) -> u8 {
        match self.path {
            FieldPath::Field(number) => number,
            _ => 0,
        }
    }

    /// Its layout.
    #[must_use]
    pub const fn spec(&self) -> &'a FieldSpec {
        self.spec
    }

    /// Bytes on the wire, length prefix and filler included.
    #[must_use]
    pub const fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// Bytes on the wire without the length prefix.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.content
    }

    /// Offset of the first byte (of the length prefix, if any) in the message.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Offset of the first byte after the length prefix.
    #[must_use]
    pub const fn content_offset(&self) -> usize {
        self.offset + self.wire.len() - self.content.len()
    }

    /// Length of the value in the unit that the field counts (digits, characters or bytes).
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The nibbles of a packed value, filler left out.
    #[must_use]
    pub fn nibbles(&self) -> Nibbles<'a> {
        self.spec.nibbles(self.content, self.count)
    }

    /// The characters of the value as Latin-1 codes; bytes as hexadecimal digits.
    #[must_use]
    #[inline]
    pub fn characters(&self) -> Characters<'a> {
        self.spec.characters(self.content, self.count)
    }

    /// The characters copied into an array, if there are exactly `N`.
    #[must_use]
    #[inline]
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        if self.spec.character_count(self.content, self.count) != N {
            return None;
        }
        let mut result = [0; N];
        self.spec.copy_characters(self.content, self.count, &mut result);
        Some(result)
    }

    /// The characters as Latin-1 codes in a buffer of exactly their size.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut result = vec![0; self.spec.character_count(self.content, self.count)];
        self.spec.copy_characters(self.content, self.count, &mut result);
        result
    }

    /// The value as a number, if it has 1 to 18 decimal digits.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        const MAX_DIGITS: usize = 18;
        let characters = self.characters();
        if characters.len() == 0 || characters.len() > MAX_DIGITS {
            return None;
        }
        characters.into_iter().try_fold(0_u64, |total, character| {
            character.is_ascii_digit().then(|| total * 10 + u64::from(character - b'0'))
        })
    }

    /// The value as text: digits and characters as they are, bytes in upper-case hexadecimal.
    #[must_use]
    pub fn text(&self) -> String {
        self.characters().map(char::from).collect()
    }

    /// Whether the value is bytes and not characters.
    #[must_use]
    pub const fn is_octets(&self) -> bool {
        matches!(self.spec.encoding, Encoding::Octets)
    }

    /// An error about this field's content.
    #[must_use]
    pub const fn refuse(&self, (expected, found): Mismatch) -> DecodeError {
        DecodeError::new(self.content_offset(), self.path, expected, found).until(self.offset + self.wire.len())
    }
}

impl core::fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Field {} of length {}", self.path, self.count)
    }
}
