//! BER-TLV data objects: a borrowing reader and a writer (EMV 4.4 Book 3 Annex B, ISO/IEC 8825-1).
//!
//! `00` bytes before, between and after objects are skipped, as Annex B allows for erased data; `FF` is not, because
//! it is the first byte of private constructed tags. Indefinite lengths are refused. Repeated tags are kept in order.

use crate::tag::Tag;
use thiserror::Error;

/// Deepest nesting of templates accepted. EMV needs four (`6F/A5/BF0C/61`).
pub const MAX_DEPTH: usize = 12;

/// Most bytes a length field may hold after its first byte.
pub const MAX_LENGTH_BYTES: usize = 4;

const LONG_LENGTH_BIT: u8 = 0x80;
const PADDING: u8 = 0x00;

/// Why bytes are not a well-formed sequence of TLV objects. Offsets count from the first byte given to the outermost call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TlvError {
    /// The bytes end inside a tag field.
    #[error("tag ends early at offset {offset}")]
    TagTruncated {
        /// Where the missing byte should stand.
        offset: usize,
    },
    /// A tag field longer than [`crate::MAX_TAG_BYTES`].
    #[error("tag too long at offset {offset}")]
    TagTooLong {
        /// Where the tag begins.
        offset: usize,
    },
    /// The bytes end inside a length field.
    #[error("length of {tag} ends early at offset {offset}")]
    LengthTruncated {
        /// The object's tag.
        tag: Tag,
        /// Where the missing byte should stand.
        offset: usize,
    },
    /// Indefinite length, or a length field wider than [`MAX_LENGTH_BYTES`].
    #[error("length of {tag} is not a definite length at offset {offset}")]
    LengthForm {
        /// The object's tag.
        tag: Tag,
        /// Where the length begins.
        offset: usize,
    },
    /// The value is shorter than the length says.
    #[error("value of {tag} ends early at offset {offset}: {expected} bytes announced")]
    ValueTruncated {
        /// The object's tag.
        tag: Tag,
        /// Where the value begins.
        offset: usize,
        /// Bytes announced.
        expected: usize,
    },
    /// Templates nested deeper than [`MAX_DEPTH`].
    #[error("templates nested too deeply at offset {offset}")]
    TooDeep {
        /// Where the template's value begins.
        offset: usize,
    },
    /// Bytes after the one object that was expected.
    #[error("unexpected bytes at offset {offset}")]
    TrailingBytes {
        /// The first byte too many.
        offset: usize,
    },
    /// The template found is not the one that belongs here.
    #[error("template {expected} expected at offset {offset}")]
    WrongTemplate {
        /// The tag that belongs here.
        expected: Tag,
        /// Where it should begin.
        offset: usize,
    },
    /// A mandatory object is missing.
    #[error("object {tag} is missing")]
    Missing {
        /// The absent tag.
        tag: Tag,
    },
    /// An object's value has a length its format does not allow.
    #[error("value of {tag} at offset {offset} has a wrong length")]
    ValueLength {
        /// The object's tag.
        tag: Tag,
        /// Where the value begins.
        offset: usize,
    },
}

impl TlvError {
    /// The offset the error names; 0 for a missing object.
    pub fn offset(&self) -> usize {
        match *self {
            TlvError::TagTruncated { offset }
            | TlvError::TagTooLong { offset }
            | TlvError::LengthTruncated { offset, .. }
            | TlvError::LengthForm { offset, .. }
            | TlvError::ValueTruncated { offset, .. }
            | TlvError::TooDeep { offset }
            | TlvError::TrailingBytes { offset }
            | TlvError::WrongTemplate { offset, .. }
            | TlvError::ValueLength { offset, .. } => offset,
            TlvError::Missing { .. } => 0,
        }
    }

    /// The tag the error concerns, where one was read.
    pub fn tag(&self) -> Option<Tag> {
        match *self {
            TlvError::LengthTruncated { tag, .. }
            | TlvError::LengthForm { tag, .. }
            | TlvError::ValueTruncated { tag, .. }
            | TlvError::Missing { tag }
            | TlvError::ValueLength { tag, .. } => Some(tag),
            _ => None,
        }
    }
}

/// One data object at one level. No `Debug`: the value may be account data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag.
    pub tag: Tag,
    /// The value bytes.
    pub value: &'a [u8],
    /// Offset of the value in the outermost input.
    pub value_offset: usize,
    /// The whole object: tag, length and value.
    pub encoded: &'a [u8],
}

/// Iterates over the objects of one level, skipping `00` padding. Stops after the first error.
#[derive(Clone)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    position: usize,
    base: usize,
}

impl<'a> Elements<'a> {
    /// Reads `bytes` from offset 0.
    pub fn new(bytes: &'a [u8]) -> Self {
        Elements::at(bytes, 0)
    }

    /// Reads `bytes`, which stand at offset `base` of a larger input; errors then carry the larger input's offsets.
    pub fn at(bytes: &'a [u8], base: usize) -> Self {
        Elements { bytes, position: 0, base }
    }

    fn skip_padding(&mut self) {
        while self.bytes.get(self.position) == Some(&PADDING) {
            self.position += 1;
        }
    }

    fn read_element(&mut self) -> Result<Element<'a>, TlvError> {
        let start = self.position;
        let (tag, tag_length) = Tag::read(self.bytes, start).map_err(|error| rebase(error, self.base))?;
        let (length, length_length) = read_length(self.bytes, start + tag_length, tag, self.base)?;
        let value_start = start + tag_length + length_length;
        let value_end = value_start.checked_add(length);
        let value = value_end.and_then(|end| self.bytes.get(value_start..end)).ok_or(TlvError::ValueTruncated {
            tag,
            offset: self.base + value_start,
            expected: length,
        })?;
        self.position = value_start + length;
        Ok(Element { tag, value, value_offset: self.base + value_start, encoded: &self.bytes[start..self.position] })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_padding();
        if self.position >= self.bytes.len() {
            return None;
        }
        let result = self.read_element();
        if result.is_err() {
            self.position = self.bytes.len();
        }
        Some(result)
    }
}

fn rebase(error: TlvError, base: usize) -> TlvError {
    match error {
        TlvError::TagTruncated { offset } => TlvError::TagTruncated { offset: offset + base },
        TlvError::TagTooLong { offset } => TlvError::TagTooLong { offset: offset + base },
        other => other,
    }
}

/// Reads a length field; returns the length and the field's own size.
fn read_length(bytes: &[u8], position: usize, tag: Tag, base: usize) -> Result<(usize, usize), TlvError> {
    let offset = base + position;
    let first = *bytes.get(position).ok_or(TlvError::LengthTruncated { tag, offset })?;
    if first & LONG_LENGTH_BIT == 0 {
        return Ok((usize::from(first), 1));
    }
    let count = usize::from(first & !LONG_LENGTH_BIT);
    if count == 0 || count > MAX_LENGTH_BYTES {
        return Err(TlvError::LengthForm { tag, offset });
    }
    let digits =
        bytes.get(position + 1..position + 1 + count).ok_or(TlvError::LengthTruncated { tag, offset: offset + 1 })?;
    let length = digits.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
    Ok((length, 1 + count))
}

/// A data object with its children.
#[derive(Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// The tag.
    pub tag: Tag,
    /// Value or children.
    pub content: Content<'a>,
}

/// What a data object holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// The value of a primitive object.
    Primitive(&'a [u8]),
    /// The objects inside a template.
    Constructed(Vec<Node<'a>>),
}

/// Reads a whole sequence of objects and the templates inside it.
///
/// # Errors
/// The first [`TlvError`] met, in reading order.
pub fn parse(bytes: &[u8]) -> Result<Vec<Node<'_>>, TlvError> {
    parse_level(bytes, 0, 0)
}

fn parse_level(bytes: &[u8], base: usize, depth: usize) -> Result<Vec<Node<'_>>, TlvError> {
    if depth > MAX_DEPTH {
        return Err(TlvError::TooDeep { offset: base });
    }
    Elements::at(bytes, base)
        .map(|element| {
            let element = element?;
            let content = if element.tag.is_constructed() {
                Content::Constructed(parse_level(element.value, element.value_offset, depth + 1)?)
            } else {
                Content::Primitive(element.value)
            };
            Ok(Node { tag: element.tag, content })
        })
        .collect()
}

/// Writes a tree in the canonical form: shortest lengths, no padding.
pub fn encode(nodes: &[Node<'_>]) -> Vec<u8> {
    let mut builder = Builder::new();
    append_nodes(&mut builder, nodes);
    builder.into_bytes()
}

fn append_nodes(builder: &mut Builder, nodes: &[Node<'_>]) {
    for node in nodes {
        match &node.content {
            Content::Primitive(value) => builder.push(node.tag, value),
            Content::Constructed(children) => {
                builder.push_template(node.tag, |inner| append_nodes(inner, children));
            }
        }
    }
}

/// Calls `visit` for every primitive object, in reading order, inside templates too.
pub fn for_each_primitive<'a>(nodes: &[Node<'a>], visit: &mut dyn FnMut(Tag, &'a [u8])) {
    for node in nodes {
        match &node.content {
            Content::Primitive(value) => visit(node.tag, value),
            Content::Constructed(children) => for_each_primitive(children, visit),
        }
    }
}

/// Reads bytes that hold exactly one template with the given tag and nothing else but `00` padding.
///
/// # Errors
/// [`TlvError::WrongTemplate`], [`TlvError::TrailingBytes`], or what is wrong with the bytes.
pub fn single_template(bytes: &[u8], tag: Tag) -> Result<Element<'_>, TlvError> {
    let mut elements = Elements::new(bytes);
    let wrong = TlvError::WrongTemplate { expected: tag, offset: 0 };
    let element = elements.next().ok_or(wrong)??;
    if element.tag != tag {
        return Err(wrong);
    }
    let end = element.value_offset + element.value.len();
    match elements.next() {
        None => Ok(element),
        Some(_) => Err(TlvError::TrailingBytes { offset: end }),
    }
}

/// The first object with `tag` at one level; errors of the bytes before it count.
///
/// # Errors
/// What is wrong with the bytes read.
pub fn find(bytes: &[u8], tag: Tag) -> Result<Option<&[u8]>, TlvError> {
    for element in Elements::new(bytes) {
        let element = element?;
        if element.tag == tag {
            return Ok(Some(element.value));
        }
    }
    Ok(None)
}

/// How lengths and tags are written. Everything but [`LengthForm::Definite`] exists for host dialects of field 55.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthForm {
    /// Shortest definite form, as BER and EMV ask.
    Definite,
    /// One byte for every length up to 255, without the `81` prefix; longer values still take the definite form.
    OneByte,
    /// Tags padded on the left to two bytes, lengths as [`LengthForm::Definite`].
    TwoByteTag,
}

/// Writes data objects one after another.
#[derive(Clone, Default)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// An empty sequence.
    pub fn new() -> Self {
        Builder::default()
    }

    /// An empty sequence with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Builder { bytes: Vec::with_capacity(bytes) }
    }

    /// Appends an object in the canonical form.
    pub fn push(&mut self, tag: Tag, value: &[u8]) {
        self.push_as(LengthForm::Definite, tag, value);
    }

    /// Appends an object in another form.
    pub fn push_as(&mut self, form: LengthForm, tag: Tag, value: &[u8]) {
        if form == LengthForm::TwoByteTag && tag.encoded_len() == 1 {
            self.bytes.push(0);
        }
        tag.write(&mut self.bytes);
        match u8::try_from(value.len()) {
            Ok(length) if form == LengthForm::OneByte => self.bytes.push(length),
            _ => write_length(value.len(), &mut self.bytes),
        }
        self.bytes.extend_from_slice(value);
    }

    /// Appends a template whose contents `fill` writes.
    pub fn push_template(&mut self, tag: Tag, fill: impl FnOnce(&mut Builder)) {
        let mut inner = Builder::new();
        fill(&mut inner);
        self.push(tag, &inner.bytes);
    }

    /// Appends bytes that already are encoded objects.
    pub fn push_encoded(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    /// The bytes written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished sequence.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Appends a length field in the shortest definite form.
pub fn write_length(length: usize, out: &mut Vec<u8>) {
    if length < usize::from(LONG_LENGTH_BIT) {
        out.push(length as u8);
        return;
    }
    let bytes = (length as u64).to_be_bytes();
    let skip = bytes.iter().take_while(|&&byte| byte == 0).count();
    out.push(LONG_LENGTH_BIT | (bytes.len() - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(bytes: &[u8]) -> TlvError {
        parse(bytes).err().expect("must be refused")
    }

    #[test]
    fn nested_errors_carry_offsets_of_the_whole_input() {
        let bytes = [0xE0, 0x04, 0x9C, 0x81, 0x02, 0x00, 0xC0, 0x01, 0xFF];
        let refused = error(&bytes);
        assert_eq!(refused.offset(), 5);
        assert_eq!(refused.tag(), Some(Tag::new(0x9C)));
    }

    #[test]
    fn indefinite_and_oversize_lengths_are_refused() {
        assert!(matches!(error(&[0xE0, 0x80, 0, 0]), TlvError::LengthForm { .. }));
        assert!(matches!(error(&[0x9C, 0x85, 0, 0, 0, 0, 1]), TlvError::LengthForm { .. }));
        assert!(matches!(error(&[0x9C, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), TlvError::ValueTruncated { .. }));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = Vec::new();
        for _ in 0..=MAX_DEPTH + 1 {
            let mut builder = Builder::new();
            builder.push(Tag::new(0xE0), &bytes);
            bytes = builder.into_bytes();
        }
        assert!(matches!(error(&bytes), TlvError::TooDeep { .. }));
    }

    #[test]
    fn a_single_template_tolerates_zero_padding_only() {
        assert!(single_template(&[0x70, 0x00, 0x00], Tag::new(0x70)).is_ok());
        assert!(single_template(&[0x70, 0x00, 0xFF], Tag::new(0x70)).is_err());
        assert!(single_template(&[0x71, 0x00], Tag::new(0x70)).is_err());
        assert!(single_template(&[], Tag::new(0x70)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused_inside_the_input(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            match parse(&bytes) {
                Ok(nodes) => {
                    let canonical = encode(&nodes);
                    prop_assert!(canonical.len() <= bytes.len());
                    prop_assert!(parse(&canonical).is_ok_and(|again| again == nodes));
                }
                Err(refused) => prop_assert!(refused.offset() <= bytes.len()),
            }
        }

        #[test]
        fn what_is_written_is_read(tag in 0x80u32..0x9F, value in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut builder = Builder::new();
            builder.push(Tag::new(tag), &value);
            let bytes = builder.into_bytes();
            let elements: Result<Vec<_>, _> = Elements::new(&bytes).collect();
            let elements = elements.expect("own output");
            prop_assert_eq!(elements.len(), 1);
            prop_assert_eq!(elements[0].value, &value[..]);
        }
    }
}
