//! GBK, the character set of Chinese text in this dialect's fields (unionpay-pos §2, D42).
//!
//! `gbk.txt` is the code table as people read it: one line for each first byte from 81h to FEh, on it one character for each
//! second byte (40h–7Eh, 80h–FEh); U+FFFD where the code is free. ASCII is itself.

/// First bytes of two-byte codes: 81h to FEh.
const ROWS: usize = 0xFE - 0x81 + 1;
/// Second bytes: 40h–7Eh and 80h–FEh.
const COLUMNS: usize = 190;
const FIRST_ROW: u8 = 0x81;
const FIRST_COLUMN: u8 = 0x40;
/// The byte that no second byte may be.
const NO_COLUMN: u8 = 0x7F;
/// A code without a character.
const FREE: u16 = 0xFFFD;
/// What stands for what cannot be shown or written.
const UNKNOWN: char = '?';

static TABLE: [[u16; COLUMNS]; ROWS] = table(include_str!("gbk.txt").as_bytes());

/// Reads the text of the table: two- and three-byte UTF-8 only, since GBK has nothing else.
const fn table(text: &[u8]) -> [[u16; COLUMNS]; ROWS] {
    let mut table = [[FREE; COLUMNS]; ROWS];
    let (mut at, mut row, mut column) = (0, 0, 0);
    while at < text.len() {
        let first = text[at] as u16;
        if first == b'\n' as u16 {
            assert!(column == COLUMNS, "a line of the table is cut");
            (at, row, column) = (at + 1, row + 1, 0);
            continue;
        }
        let second = text[at + 1] as u16 & 0x3F;
        if first < 0xE0 {
            table[row][column] = (first & 0x1F) << 6 | second;
            at += 2;
        } else {
            table[row][column] = (first & 0x0F) << 12 | second << 6 | text[at + 2] as u16 & 0x3F;
            at += 3;
        }
        column += 1;
    }
    assert!(row == ROWS, "the table is cut");
    table
}

fn column(second: u8) -> Option<usize> {
    let place = second.checked_sub(FIRST_COLUMN)?;
    match second {
        NO_COLUMN | 0xFF => None,
        _ => Some(usize::from(place - u8::from(second > NO_COLUMN))),
    }
}

fn character(first: u8, second: u8) -> Option<char> {
    let row = TABLE.get(usize::from(first.checked_sub(FIRST_ROW)?))?;
    let code = *row.get(column(second)?)?;
    if code == FREE { None } else { char::from_u32(u32::from(code)) }
}

/// The text; bytes that are none are shown as `?` (D42), control characters as well.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        let wide = behind.first().and_then(|second| character(*first, *second));
        let plain = matches!(first, 0x20..=0x7E).then(|| char::from(*first));
        text.push(plain.or(wide).unwrap_or(UNKNOWN));
        rest = if wide.is_some() && plain.is_none() { &behind[1..] } else { behind };
    }
    text
}

/// The bytes; `None` if a character is not in the set.
#[must_use]
pub fn encode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => bytes.push(character as u8),
            _ => bytes.extend(code(character)?),
        }
    }
    Some(bytes)
}

fn code(character: char) -> Option<[u8; 2]> {
    let wanted = u16::try_from(u32::from(character)).ok().filter(|wanted| *wanted != FREE)?;
    let places = TABLE.iter().zip(FIRST_ROW..).find_map(|(row, first)| {
        let column = row.iter().position(|code| *code == wanted)?;
        Some((first, u8::try_from(column).ok()? + FIRST_COLUMN))
    });
    places.map(|(first, second)| [first, second + u8::from(second >= NO_COLUMN)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_receipts_go_both_ways() {
        let bytes = [0xCF, 0xFB, 0xB7, 0xD1, b' ', b'1', b'.', 0xB1, 0xCA];
        assert_eq!(decode(&bytes), "消费 1.笔");
        assert_eq!(encode("消费 1.笔").unwrap(), bytes);
        // A character of GBK that GB 2312 does not have, and the one behind the gap of the second bytes.
        assert_eq!(encode("镕").unwrap(), [0xE9, 0x46]);
        assert_eq!(decode(&[0x81, 0x7E, 0x81, 0x80]), "亊亐");
    }

    #[test]
    fn what_is_no_character_is_a_question_mark() {
        assert_eq!(decode(&[0xFF, b'A', 0x81, 0x00, 0x81]), "?A???");
        assert_eq!(decode(&[0x81, 0x7F, 0xFE, 0xFE]), "????");
        assert_eq!((encode("é"), encode("�"), encode("\n")), (Some(vec![0xA8, 0xA6]), None, None));
        assert_eq!(encode("😀"), None);
    }

    #[test]
    fn every_character_comes_back() {
        let mut characters = 0;
        for first in FIRST_ROW..=0xFE {
            for second in 0..=0xFF {
                if let Some(character) = character(first, second) {
                    characters += 1;
                    let bytes = encode(&character.to_string()).unwrap();
                    assert_eq!(decode(&bytes), character.to_string());
                }
            }
        }
        assert_eq!(characters, 21_791);
    }
}
