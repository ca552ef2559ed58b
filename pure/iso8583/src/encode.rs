//! The strict encoder: appends a message to a caller's buffer.

use crate::bitmap::{Bitmap, GROUP_FIELDS};
use crate::content::Mismatch;
use crate::error::{EncodeError, Expected, FieldPath, Found};
use crate::message::{Field, Message};
use crate::spec::{Encoding, FieldSpec, Fill, Length, Spec};

/// Most decimal digits of a `u64`.
const MAX_NUMBER_DIGITS: usize = 20;

/// Writes one message. Fields must be added in ascending order; a refused field leaves nothing
/// behind, and neither does an encoder that is dropped without [`Encoder::finish`].
pub struct Encoder<'s, 'o> {
    spec: &'s Spec,
    out: &'o mut Vec<u8>,
    start: usize,
    bitmap_start: usize,
    bitmap: Bitmap,
    last_field: u8,
    /// Highest field that the bitmap groups written so far can announce.
    covered: u8,
    first_bit: Option<bool>,
    finished: bool,
}

impl<'s, 'o> Encoder<'s, 'o> {
    /// Starts a message of type `mti` (four characters) without header.
    ///
    /// # Errors
    /// The type does not fit, or the layout demands a header.
    pub fn new(spec: &'s Spec, mti: &[u8], out: &'o mut Vec<u8>) -> Result<Self, EncodeError> {
        Self::with_header(spec, None, mti, out)
    }

    /// Starts a message with a header, given as the characters that [`Field::text`] shows.
    ///
    /// # Errors
    /// Header or type do not fit, or the header is missing.
    pub fn with_header(
        spec: &'s Spec,
        header: Option<&[u8]>,
        mti: &[u8],
        out: &'o mut Vec<u8>,
    ) -> Result<Self, EncodeError> {
        let start = out.len();
        let mut encoder = Self {
            spec,
            out,
            start,
            bitmap_start: start,
            bitmap: Bitmap::default(),
            last_field: 0,
            covered: 0,
            first_bit: None,
            finished: false,
        };
        if let Some(layout) = &spec.header {
            let path = FieldPath::Header;
            let value = header.ok_or(EncodeError::new(path, Expected::Value("a header"), Found::Nothing))?;
            write_element(layout, path, value, encoder.out)?;
        }
        write_element(&spec.mti, FieldPath::Mti, mti, encoder.out)?;
        encoder.bitmap_start = encoder.out.len();
        let always_double = spec.bitmap.extent == crate::bitmap::BitmapExtent::AlwaysDouble;
        encoder.grow_bitmap(if always_double { 2 } else { 1 });
        Ok(encoder)
    }

    /// Makes room for `groups` bitmap groups.
    #[cold]
    fn grow_bitmap(&mut self, groups: usize) {
        let old = self.bitmap_start + self.spec.bitmap.octets(self.bitmap.group_count());
        let new = self.bitmap_start + self.spec.bitmap.octets(groups);
        let added = new.saturating_sub(old);
        self.out.resize(self.out.len() + added, 0);
        // What was written after the old bitmap moves up.
        if let Some(tail) = self.out.get_mut(old..) {
            tail.rotate_right(added);
        }
        self.bitmap.require_groups(groups);
        self.covered = GROUP_FIELDS.saturating_mul(groups as u8);
    }

    /// Writes at least `groups` bitmap groups and bit 1 as given, even if no field needs them:
    /// for a message that must come out as it came in.
    pub fn force_bitmap(&mut self, groups: usize, first_bit: bool) {
        if groups > self.bitmap.group_count() {
            self.grow_bitmap(groups);
        }
        self.first_bit = Some(first_bit);
    }

    /// The layout of the next field, after checking that it may come now.
    #[inline(always)]
    fn next(&mut self, number: u8) -> Result<&'s FieldSpec, EncodeError> {
        let field = match self.spec.field(number) {
            Some(field) if number > self.last_field && !self.spec.bitmap.is_presence_bit(number) => field,
            _ => return Err(self.misplaced(number)),
        };
        if number > self.covered {
            self.grow_bitmap(usize::from((number - 1) / GROUP_FIELDS) + 1);
        }
        self.last_field = number;
        self.bitmap.set(number);
        Ok(field)
    }

    #[cold]
    fn misplaced(&self, number: u8) -> EncodeError {
        let unknown = self.spec.field(number).is_none() || self.spec.bitmap.is_presence_bit(number);
        let expected = if unknown { Expected::KnownField } else { Expected::FieldAbove(self.last_field) };
        EncodeError::new(FieldPath::Field(number), expected, Found::Field(number))
    }

    /// Adds characters given as Latin-1 codes: digits, text, or bytes in hexadecimal.
    ///
    /// # Errors
    /// Unknown field, wrong order, wrong length or wrong characters.
    pub fn characters(&mut self, number: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        let field = self.next(number)?;
        let before = self.out.len();
        let result = write_element(field, FieldPath::Field(number), value, self.out);
        self.settle(number, before, result)
    }

    /// Takes a refused field out again, so that a caller who goes on without it gets a whole message.
    #[inline(always)]
    fn settle(&mut self, number: u8, before: usize, result: Result<(), EncodeError>) -> Result<&mut Self, EncodeError> {
        match result {
            Ok(()) => Ok(self),
            Err(error) => {
                self.out.truncate(before);
                self.bitmap.clear(number);
                Err(error)
            }
        }
    }

    /// Adds text; see [`Encoder::characters`].
    ///
    /// # Errors
    /// As [`Encoder::characters`]; characters above U+00FF.
    pub fn text(&mut self, number: u8, value: &str) -> Result<&mut Self, EncodeError> {
        if value.is_ascii() {
            return self.characters(number, value.as_bytes());
        }
        let latin1 =
            latin1(value).map_err(|found| EncodeError::new(FieldPath::Field(number), Expected::Ascii, found))?;
        self.characters(number, &latin1)
    }

    /// Adds bytes as they are. For fields of bytes or one-byte characters.
    ///
    /// # Errors
    /// Unknown field, wrong order, wrong length, wrong characters, or a packed field.
    pub fn bytes(&mut self, number: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        let field = self.next(number)?;
        let path = FieldPath::Field(number);
        let before = self.out.len();
        let result = match field.encoding {
            Encoding::Octets => write_octets(field, path, value, self.out),
            Encoding::Ascii | Encoding::Latin1 => write_element(field, path, value, self.out),
            _ => {
                let expected = Expected::Value("characters, not bytes");
                Err(EncodeError::new(path, expected, Found::Octets(value.len())))
            }
        };
        self.settle(number, before, result)
    }

    /// Adds a number in decimal digits, with zeros on the left in a field of fixed length.
    ///
    /// # Errors
    /// Unknown field, wrong order, or more digits than the field holds.
    pub fn number(&mut self, number: u8, value: u64) -> Result<&mut Self, EncodeError> {
        let width = match self.spec.field(number).map(|field| field.length) {
            Some(Length::Fixed(length)) => length.min(MAX_NUMBER_DIGITS),
            _ => 1,
        };
        let mut digits = [b'0'; MAX_NUMBER_DIGITS];
        let mut used = 0;
        let mut rest = value;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            used += 1;
            if rest == 0 && used >= width {
                break;
            }
        }
        self.characters(number, &digits[MAX_NUMBER_DIGITS - used..])
    }

    /// Copies a decoded field of the same layout byte for byte, filler nibbles included.
    ///
    /// # Errors
    /// Unknown field, wrong order, or bytes that are not one whole field of this layout.
    pub fn copy(&mut self, field: &Field<'_>) -> Result<&mut Self, EncodeError> {
        let number = field.number_in_message();
        let path = FieldPath::Field(number);
        let layout = self.next(number)?;
        let before = self.out.len();
        let result = Field::parse(path, layout, field.wire())
            .map(|_| self.out.extend_from_slice(field.wire()))
            .map_err(|error| EncodeError::new(path, error.expected, error.found));
        self.settle(number, before, result)
    }

    /// Writes the bitmap and ends the message.
    pub fn finish(mut self) {
        let spec = self.spec;
        let groups = self.bitmap.group_count();
        let mut written = self.bitmap;
        if spec.bitmap.is_presence_bit(1) && self.first_bit.unwrap_or(self.needs_second()) {
            written.set(1);
        }
        if groups > 2 {
            written.set(GROUP_FIELDS + 1);
        }
        let mut place = self.bitmap_start;
        for (index, coding) in spec.bitmap.codings.iter().enumerate().take(groups) {
            let end = place + coding.octets();
            if let Some(wire) = self.out.get_mut(place..end) {
                coding.write(written.group(index), wire);
            }
            place = end;
        }
        self.finished = true;
    }

    fn needs_second(&self) -> bool {
        match self.spec.bitmap.extent {
            crate::bitmap::BitmapExtent::AlwaysDouble => self.bitmap.group(1) != 0,
            _ => self.bitmap.group_count() > 1,
        }
    }
}

impl Drop for Encoder<'_, '_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

impl Message<'_> {
    /// Appends this message again, field by field and byte for byte: filler nibbles and the case of
    /// a hexadecimal bitmap are kept.
    ///
    /// # Errors
    /// None for a message that was decoded; the encoder checks all the same.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let header = self.header().map(|field| field.to_vec());
        let mut encoder = Encoder::with_header(self.spec(), header.as_deref(), &self.mti(), out)?;
        encoder.force_bitmap(self.bitmap().group_count(), self.bitmap().contains(1));
        for field in self.fields() {
            encoder.copy(&field)?;
        }
        let bitmap_start = encoder.bitmap_start;
        encoder.finish();
        let groups = 0..self.bitmap().group_count();
        let received = groups.flat_map(|index| self.bitmap_wire(index));
        for (place, &byte) in out.iter_mut().skip(bitmap_start).zip(received) {
            *place = byte;
        }
        Ok(())
    }
}

fn latin1(value: &str) -> Result<Vec<u8>, Found> {
    value.chars().map(|character| u8::try_from(character).map_err(|_| Found::Code(u32::from(character)))).collect()
}

/// Writes length prefix and characters of one element.
#[inline(always)]
fn write_element(field: &FieldSpec, path: FieldPath, characters: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let refuse = |(expected, found): Mismatch| EncodeError::new(path, expected, found);
    match field.length {
        Length::Fixed(length) => {
            if field.units(characters.len()).is_ok_and(|units| units == length) {
                return field.write_characters(characters, out).map_err(refuse);
            }
            let filled = fill(field, length, characters).map_err(refuse)?;
            field.write_characters(&filled, out).map_err(refuse)
        }
        Length::Variable { prefix, max } => {
            let count = field.units(characters.len()).map_err(refuse)?;
            prefix.write(count, max, path, out)?;
            field.write_characters(characters, out).map_err(refuse)
        }
    }
}

/// A short value for a fixed field, filled as the layout says.
fn fill(field: &FieldSpec, length: usize, characters: &[u8]) -> Result<Vec<u8>, Mismatch> {
    let given = field.units(characters.len())?;
    let one_each = field.units(1).is_ok_and(|units| units == 1);
    let missing = length.checked_sub(given).filter(|_| one_each);
    let wrong_length = (Expected::Exactly(length), Found::Length(given));
    let missing = missing.ok_or(wrong_length)?;
    let mut filled = Vec::with_capacity(length);
    match field.fill {
        Fill::Refused => return Err(wrong_length),
        Fill::SpaceRight => {
            filled.extend_from_slice(characters);
            filled.extend(core::iter::repeat_n(b' ', missing));
        }
        Fill::ZeroLeft => {
            filled.extend(core::iter::repeat_n(b'0', missing));
            filled.extend_from_slice(characters);
        }
    }
    Ok(filled)
}

/// Writes length prefix and raw bytes of one element.
fn write_octets(field: &FieldSpec, path: FieldPath, value: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match field.length {
        Length::Fixed(length) if length != value.len() => {
            let expected = Expected::Exactly(length);
            return Err(EncodeError::new(path, expected, Found::Length(value.len())));
        }
        Length::Fixed(_) => {}
        Length::Variable { prefix, max } => prefix.write(value.len(), max, path, out)?,
    }
    out.extend_from_slice(value);
    Ok(())
}
