//! Around the message: length, TPDU and header (unionpay-pos §1).

use crate::dialect::unionpay::SPEC;
use crate::error::{DecodeError, EncodeError, Expected, FieldPath, Found};
use crate::frame::{self, Progress};
use crate::message::{Message, decode_from};
use crate::prefix::LengthPrefix;
use crate::reader::Reader;
use crate::unionpay::Body;

/// The length in front of a frame: two bytes, big-endian, counting what follows them.
pub const LENGTH_PREFIX: LengthPrefix = LengthPrefix::binary(2);
/// Longest payload of a frame. Every field at its longest, with TPDU and header, stays below it.
pub const MAX_FRAME_OCTETS: usize = 4096;
/// Bytes of a TPDU.
pub const TPDU_OCTETS: usize = 5;
/// Bytes of a header.
pub const HEADER_OCTETS: usize = 6;
/// First byte of a TPDU that carries a transaction message.
const TPDU_ID: u8 = 0x60;
/// Bytes of message type and bitmap: no body is shorter.
const MIN_BODY_OCTETS: usize = 10;

/// Transport address: id, destination NII, origin NII, as packed digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tpdu(pub [u8; TPDU_OCTETS]);

impl Tpdu {
    /// A transaction-message TPDU between two NIIs (packed digits).
    #[must_use]
    pub const fn new(destination: [u8; 2], origin: [u8; 2]) -> Self {
        Self([TPDU_ID, destination[0], destination[1], origin[0], origin[1]])
    }

    /// Destination NII.
    #[must_use]
    pub const fn destination(&self) -> [u8; 2] {
        [self.0[1], self.0[2]]
    }

    /// Origin NII.
    #[must_use]
    pub const fn origin(&self) -> [u8; 2] {
        [self.0[3], self.0[4]]
    }

    /// The address of the answer: destination and origin change places (§1.2).
    #[must_use]
    pub const fn swapped(&self) -> Self {
        let [id, d1, d2, o1, o2] = self.0;
        Self([id, o1, o2, d1, d2])
    }
}

/// What the host orders the terminal to do when it is idle: digit 6 of the header (§1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// 0: nothing.
    Nothing,
    /// 1: download terminal parameters (360/361).
    DownloadParameters,
    /// 2: upload terminal status (362).
    UploadStatus,
    /// 3: sign in again.
    SignIn,
    /// 4: update CA public keys (372/370/371).
    UpdateCapk,
    /// 5: update AID parameters (382/380/381).
    UpdateAidParameters,
    /// 6: TMS download (364/365).
    DownloadTms,
    /// 7: card blacklist (390/391).
    DownloadBlacklist,
    /// 8: currency rates (392/393).
    DownloadRates,
    /// 9: contactless parameters (394/395).
    DownloadContactless,
    /// B: PIN-free BIN table (396/397).
    DownloadBinTableB,
    /// C: PIN-free BIN blacklist (398/399).
    DownloadBinTableC,
    /// A nibble without meaning; it is kept.
    Other(u8),
}

impl Requirement {
    /// From the nibble on the wire.
    #[must_use]
    pub const fn from_nibble(nibble: u8) -> Self {
        match nibble & 0x0F {
            0x0 => Self::Nothing,
            0x1 => Self::DownloadParameters,
            0x2 => Self::UploadStatus,
            0x3 => Self::SignIn,
            0x4 => Self::UpdateCapk,
            0x5 => Self::UpdateAidParameters,
            0x6 => Self::DownloadTms,
            0x7 => Self::DownloadBlacklist,
            0x8 => Self::DownloadRates,
            0x9 => Self::DownloadContactless,
            0xB => Self::DownloadBinTableB,
            0xC => Self::DownloadBinTableC,
            other => Self::Other(other),
        }
    }

    /// The nibble on the wire.
    #[must_use]
    pub const fn nibble(self) -> u8 {
        match self {
            Self::Nothing => 0x0,
            Self::DownloadParameters => 0x1,
            Self::UploadStatus => 0x2,
            Self::SignIn => 0x3,
            Self::UpdateCapk => 0x4,
            Self::UpdateAidParameters => 0x5,
            Self::DownloadTms => 0x6,
            Self::DownloadBlacklist => 0x7,
            Self::DownloadRates => 0x8,
            Self::DownloadContactless => 0x9,
            Self::DownloadBinTableB => 0xB,
            Self::DownloadBinTableC => 0xC,
            Self::Other(nibble) => nibble & 0x0F,
        }
    }
}

/// The header (报文头): twelve packed digits. Unknown values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header(pub [u8; HEADER_OCTETS]);

impl Header {
    /// An IC payment header: class `61`, version `31`, normal state, no requirement (§1.3).
    pub const IC_PAYMENT: Self = Self([0x61, 0x31, 0x00, 0x31, 0x11, 0x08]);

    /// Digits 1–2, packed: `61h` IC payment, `60h` magnetic stripe, …
    #[must_use]
    pub const fn application_class(&self) -> u8 {
        self.0[0]
    }

    /// Digits 3–4, packed: `31h`, `32h`, …
    #[must_use]
    pub const fn software_version(&self) -> u8 {
        self.0[1]
    }

    /// Digit 5: 0 normal trading, 1 test.
    #[must_use]
    pub const fn terminal_status(&self) -> u8 {
        self.0[2] >> 4
    }

    /// Digit 6.
    #[must_use]
    pub const fn requirement(&self) -> Requirement {
        Requirement::from_nibble(self.0[2])
    }

    /// Digits 7–12, packed.
    #[must_use]
    pub const fn sub_version(&self) -> [u8; 3] {
        [self.0[3], self.0[4], self.0[5]]
    }

    /// The header of the answer: everything echoed, only the requirement replaced.
    #[must_use]
    pub const fn with_requirement(mut self, requirement: Requirement) -> Self {
        self.0[2] = self.0[2] & 0xF0 | requirement.nibble();
        self
    }
}

/// Looks for a whole frame at the start of a receive buffer; see [`frame::split`].
///
/// # Errors
/// The announced length is above [`MAX_FRAME_OCTETS`]: close the connection.
pub fn split(buffer: &[u8]) -> Result<Progress, DecodeError> {
    frame::split(LENGTH_PREFIX, MAX_FRAME_OCTETS, buffer)
}

/// What stands in front of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Length, TPDU, header, message.
    Frame,
    /// TPDU, header, message.
    Tpdu,
    /// The message alone.
    Body,
}

impl Layout {
    /// Offset of the message type.
    #[must_use]
    pub const fn body_offset(self) -> usize {
        match self {
            Self::Frame => 2 + TPDU_OCTETS + HEADER_OCTETS,
            Self::Tpdu => TPDU_OCTETS + HEADER_OCTETS,
            Self::Body => 0,
        }
    }
}

/// A received message with what stood in front of it.
#[derive(Clone, Debug)]
pub struct Opened<'a> {
    /// What stood in front.
    pub layout: Layout,
    /// The transport address.
    pub tpdu: Option<Tpdu>,
    /// The header.
    pub header: Option<Header>,
    /// The message.
    pub message: Message<'a>,
}

/// Opens `bytes` laid out as `layout` says. Offsets in errors count from the first byte given.
///
/// # Errors
/// The first element that does not fit; for a frame also a length that is not what follows.
pub fn locate(layout: Layout, bytes: &[u8]) -> Result<Opened<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if layout == Layout::Frame {
        frame::exactly(LENGTH_PREFIX, MAX_FRAME_OCTETS, bytes)?;
        reader.take(usize::from(LENGTH_PREFIX.octets), FieldPath::Length)?;
    }
    let (tpdu, header) = match layout {
        Layout::Body => (None, None),
        Layout::Frame | Layout::Tpdu => {
            let start = reader.position();
            let tpdu = Tpdu(array(reader.take(TPDU_OCTETS, FieldPath::Tpdu)?));
            if tpdu.0[0] != TPDU_ID {
                let found = Found::Code(u32::from(tpdu.0[0]));
                let expected = Expected::Value("60h, a transaction message");
                return Err(DecodeError::new(start, FieldPath::Tpdu, expected, found).until(reader.position()));
            }
            let header = Header(array(reader.take(HEADER_OCTETS, FieldPath::Header)?));
            (Some(tpdu), Some(header))
        }
    };
    let message = decode_from(&SPEC, bytes, reader.position())?;
    Ok(Opened { layout, tpdu, header, message })
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut result = [0; N];
    for (place, byte) in result.iter_mut().zip(bytes) {
        *place = *byte;
    }
    result
}

/// Opens the payload of a frame: TPDU, header, message.
///
/// # Errors
/// As [`locate`].
pub fn open(payload: &[u8]) -> Result<Opened<'_>, DecodeError> {
    locate(Layout::Tpdu, payload)
}

/// Opens bytes of unknown layout: finds by itself whether length, TPDU and header are there.
///
/// # Errors
/// No layout fits; the error is the one of the layout that looks most like it.
pub fn open_frame(bytes: &[u8]) -> Result<Opened<'_>, DecodeError> {
    let likely = likely_layout(bytes);
    let first = match locate(likely, bytes) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    [Layout::Frame, Layout::Tpdu, Layout::Body]
        .into_iter()
        .filter(|&layout| layout != likely)
        .find_map(|layout| locate(layout, bytes).ok())
        .ok_or(first)
}

/// Which layout the first bytes suggest.
fn likely_layout(bytes: &[u8]) -> Layout {
    let announced = bytes.first_chunk::<2>().map(|octets| usize::from(u16::from_be_bytes(*octets)));
    let shortest = TPDU_OCTETS + HEADER_OCTETS + MIN_BODY_OCTETS;
    let tpdu_after_length = bytes.get(2) == Some(&TPDU_ID);
    match announced {
        Some(length) if tpdu_after_length && (shortest..=MAX_FRAME_OCTETS).contains(&length) => Layout::Frame,
        _ if bytes.first() == Some(&TPDU_ID) => Layout::Tpdu,
        _ => Layout::Body,
    }
}

/// A message to send or one that was read, owned.
#[derive(Debug)]
pub struct Frame {
    /// Transport address.
    pub tpdu: Tpdu,
    /// Header.
    pub header: Header,
    /// The message.
    pub body: Body,
}

impl Frame {
    /// Appends length, TPDU, header and message.
    ///
    /// # Errors
    /// A value does not fit its field, or the frame is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Self::wrap(self.tpdu, self.header, out, |out| self.body.encode(out))
    }

    /// Appends length, TPDU and header around bytes that were made before.
    ///
    /// # Errors
    /// The frame is too long.
    pub fn encode_bytes(tpdu: Tpdu, header: Header, body: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Self::wrap(tpdu, header, out, |out| {
            out.extend_from_slice(body);
            Ok(())
        })
    }

    fn wrap(
        tpdu: Tpdu,
        header: Header,
        out: &mut Vec<u8>,
        write_body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&tpdu.0);
        out.extend_from_slice(&header.0);
        let result = write_body(out).and_then(|()| set_length(out, start));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// Reads one whole frame, length included.
    ///
    /// # Errors
    /// As [`locate`] and [`Body::from_message`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_opened(&locate(Layout::Frame, bytes)?)
    }

    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// As [`locate`] and [`Body::from_message`].
    pub fn decode_payload(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::from_opened(&open(payload)?)
    }

    fn from_opened(opened: &Opened<'_>) -> Result<Self, DecodeError> {
        let missing = |path| DecodeError::new(0, path, Expected::Octets(1), Found::Nothing);
        Ok(Self {
            tpdu: opened.tpdu.ok_or(missing(FieldPath::Tpdu))?,
            header: opened.header.ok_or(missing(FieldPath::Header))?,
            body: Body::from_message(&opened.message)?,
        })
    }
}

fn set_length(out: &mut [u8], start: usize) -> Result<(), EncodeError> {
    let length = out.len().saturating_sub(start + 2);
    let octets = u16::try_from(length).ok().filter(|_| length <= MAX_FRAME_OCTETS);
    match (octets, out.get_mut(start..start + 2)) {
        (Some(octets), Some(place)) => {
            place.copy_from_slice(&octets.to_be_bytes());
            Ok(())
        }
        _ => {
            let expected = Expected::AtMost(MAX_FRAME_OCTETS);
            Err(EncodeError::new(FieldPath::Length, expected, Found::Length(length)))
        }
    }
}
