//! The auditor's own eye on the wire: just enough of the dialect to see which intent a frame is about.
//!
//! Written from the dialect document, sharing no code with the product's codec.

/// What the auditor sees of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Message type, four digits.
    pub mti: String,
    /// F3, six digits, if present.
    pub processing_code: Option<String>,
    /// F4 in minor units.
    pub amount_minor: Option<u64>,
    /// F11.
    pub trace: Option<u32>,
    /// F37.
    pub reference: Option<String>,
    /// F39.
    pub response_code: Option<String>,
    /// F41.
    pub terminal: String,
    /// F60.1, two digits.
    pub kind: String,
    /// F60.2.
    pub batch: u32,
    /// F48 of an adjustment: the tip in minor units.
    pub tip_minor: Option<u64>,
    /// F61: batch and trace of the transaction that is named.
    pub original: Option<(u32, u32)>,
    /// F62 of an instalment sale, as it is.
    pub instalments: Option<Vec<u8>>,
    /// Whether F22 says that a code was scanned or shown, and no card read.
    pub is_qr: bool,
    /// Tag A3 of F59: the code that was scanned or is shown.
    pub payment_code: Option<String>,
    /// Tag 9F36 of F55: the card's counter.
    pub counter: Option<[u8; 2]>,
}

/// F22 of a payment without a card, packed.
const SCANNED: [u8; 2] = [0x03, 0x20];
/// F25 of a sale in instalments.
const INSTALMENTS: [u8; 1] = [0x64];
/// 60.1 of a sale that card and terminal approved before the host heard of it.
pub const OFFLINE_SALE: &str = "36";
/// 60.1 of an adjustment that adds a tip.
pub const TIP: &str = "34";

impl Seen {
    /// What the message itself moves: of a tip, which names the new total in F4, the tip.
    pub fn moved_minor(&self) -> Option<u64> {
        if (self.mti.as_str(), self.kind.as_str()) == ("0220", TIP) { self.tip_minor } else { self.amount_minor }
    }

    /// A message that moves money forward or back at its own request: what a pending reversal must hold up.
    pub fn is_financial(&self) -> bool {
        matches!(self.mti.as_str(), "0100" | "0200" | "0220" | "0500")
    }
}

/// 60.1 of a query: it asks about a payment that is open, and moves nothing.
pub const QR_QUERY: &str = "60";

/// Whether an account is a payer's: a card's or a wallet's.
pub fn is_payers(account: &str) -> bool {
    account.starts_with("card/") || account.starts_with("wallet/")
}

/// How long a field is, and how its content is written.
enum Shape {
    Digits(usize),
    Characters(usize),
    Bytes(usize),
    DigitsBehind(usize),
    BytesBehind(usize),
}

fn shape(field: u32) -> Option<Shape> {
    use Shape::{Bytes, BytesBehind, Characters, Digits, DigitsBehind};
    Some(match field {
        2 | 32 | 35 => DigitsBehind(1),
        36 | 48 | 60 | 61 => DigitsBehind(2),
        3 | 11 | 12 => Digits(6),
        4 => Digits(12),
        13..=15 => Digits(4),
        22 | 23 => Digits(3),
        25 | 26 => Digits(2),
        53 => Digits(16),
        37 => Characters(12),
        38 => Characters(6),
        39 => Characters(2),
        41 => Characters(8),
        42 => Characters(15),
        49 => Characters(3),
        52 | 64 => Bytes(8),
        44 => BytesBehind(1),
        54 | 55 | 57 | 58 | 59 | 62 | 63 => BytesBehind(2),
        _ => return None,
    })
}

/// Packed digits as text.
fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 });
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Packed digits as a number.
fn number(packed: &[u8]) -> Option<u64> {
    packed.iter().flat_map(|byte| [byte >> 4, byte & 15]).try_fold(0_u64, |number, digit| {
        let shifted = if digit < 10 { number.checked_mul(10) } else { None };
        shifted?.checked_add(u64::from(digit))
    })
}

fn small_number(packed: &[u8]) -> Option<u32> {
    number(packed).and_then(|number| number.try_into().ok())
}

/// Reads a frame behind its length bytes: TPDU, header, message. `None` if it is no message of the dialect.
pub fn read(frame: &[u8]) -> Option<Seen> {
    let body = frame.get(11..)?;
    let mut bitmap = u64::from_be_bytes(body.get(2..10)?.try_into().ok()?);
    let mut rest = body.get(10..)?;
    let mut seen = Seen {
        mti: hex(body.get(..2)?),
        processing_code: None,
        amount_minor: None,
        trace: None,
        reference: None,
        response_code: None,
        terminal: String::new(),
        kind: String::new(),
        batch: 0,
        tip_minor: None,
        original: None,
        counter: None,
        instalments: None,
        is_qr: false,
        payment_code: None,
    };
    while bitmap != 0 {
        let field = bitmap.leading_zeros() + 1;
        bitmap &= !(1 << (64 - field));
        note(&mut seen, field, take(&mut rest, &shape(field)?)?);
    }
    rest.is_empty().then_some(seen)
}

/// Cuts a field off: its bytes without a length in front.
fn take<'a>(rest: &mut &'a [u8], shape: &Shape) -> Option<&'a [u8]> {
    let mut cut = |count: usize| {
        let (head, tail) = rest.split_at_checked(count)?;
        *rest = tail;
        Some(head)
    };
    let mut length = |prefix: usize| usize::try_from(number(cut(prefix)?)?).ok();
    let count = match *shape {
        Shape::Digits(count) => count.div_ceil(2),
        Shape::Characters(count) | Shape::Bytes(count) => count,
        Shape::DigitsBehind(prefix) => length(prefix)?.div_ceil(2),
        Shape::BytesBehind(prefix) => length(prefix)?,
    };
    cut(count)
}

fn note(seen: &mut Seen, field: u32, value: &[u8]) {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    match field {
        3 => seen.processing_code = Some(hex(value)),
        4 => seen.amount_minor = number(value),
        11 => seen.trace = small_number(value),
        37 => seen.reference = Some(text(value)),
        39 => seen.response_code = Some(text(value)),
        22 => seen.is_qr = value == SCANNED,
        25 if value == INSTALMENTS => seen.instalments = Some(Vec::new()),
        41 => seen.terminal = text(value),
        48 if seen.mti == "0220" => seen.tip_minor = number(value),
        55 if seen.mti == "0200" => seen.counter = counter(value),
        59 if seen.is_qr => note_codes(seen, value),
        62 => seen.instalments.iter_mut().for_each(|plan| *plan = value.to_vec()),
        61 => seen.original = named(value),
        60 => {
            seen.kind = value.get(..1).map(hex).unwrap_or_default();
            seen.batch = value.get(1..4).and_then(small_number).unwrap_or(0);
        }
        _ => {}
    }
}

/// Tags of F59, each two letters, three digits of length and its value: the code of a payment; the voucher code, whose last twelve
/// digits are the payment's reference number.
fn note_codes(seen: &mut Seen, field: &[u8]) {
    const DATE_DIGITS: usize = 8;
    const NO_REFERENCE: &str = "000000000000";
    let Ok(mut rest) = core::str::from_utf8(field) else { return };
    while let Some((name, length)) = rest.get(..2).zip(rest.get(2..5).and_then(|digits| digits.parse::<usize>().ok())) {
        let Some(value) = rest.get(5..5 + length) else { return };
        if name == "A3" {
            seen.payment_code = Some(value.to_owned());
        }
        if name == "A4" && seen.reference.as_deref() == Some(NO_REFERENCE) {
            seen.reference = value.get(DATE_DIGITS..).map(str::to_owned);
        }
        rest = &rest[5 + length..];
    }
}

/// Batch and trace number at the head of F61.
fn named(value: &[u8]) -> Option<(u32, u32)> {
    Some((small_number(value.get(..3)?)?, small_number(value.get(3..6)?)?))
}

/// The application transaction counter among the chip's data objects, whose tags here have one byte or two and lengths one.
fn counter(mut chip: &[u8]) -> Option<[u8; 2]> {
    const COUNTER: [u8; 2] = [0x9F, 0x36];
    loop {
        let tag_bytes = if chip.first()? & 0x1F == 0x1F { 2 } else { 1 };
        let (tag, rest) = chip.split_at_checked(tag_bytes)?;
        let (length, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        if tag == COUNTER {
            return value.try_into().ok();
        }
        chip = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_worked_message_is_seen() {
        // S5 of the dialect document, without its length.
        let frame = unhex(concat!(
            "600003000060310031000004007024068002C0821119622262000000000001200000000000000100000000023012",
            "0510000100393831323334353637383132333435363738393031323334353135360040950500A00470009F1E08313233",
            "34353637389F101307020103A0A002010A010000001100B96D058B0013220000070006004133444537443144"
        ));
        let seen = read(&frame).unwrap();
        assert_eq!((seen.mti.as_str(), seen.trace, seen.batch, seen.kind.as_str()), ("0400", Some(2), 7, "22"));
        assert_eq!((seen.amount_minor, seen.response_code.as_deref()), (Some(10_000), Some("98")));
        assert_eq!(seen.terminal, "12345678");
        assert_eq!((seen.counter, seen.tip_minor, seen.original), (None, None, None));
        assert_eq!(counter(&unhex("950500A00470009F360212349F1E0131")), Some([0x12, 0x34]));
        let mut qr = Seen { reference: Some("000000000000".to_owned()), ..seen };
        note_codes(&mut qr, b"A30196200000000000000001A402020260105000000000012");
        assert_eq!(qr.payment_code.as_deref(), Some("6200000000000000001"));
        assert_eq!(qr.reference.as_deref(), Some("000000000012"));
        assert_eq!(named(&unhex("00000700000203150000")), Some((7, 2)));
        assert_eq!(read(&frame[..40]), None);
    }
}
