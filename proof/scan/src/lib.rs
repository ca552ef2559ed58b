//! The leak scanner: finds card data and keys in any bytes, however they were written.
//!
//! *Duty*: given the secrets that a test used (PANs, tracks, PINs, keys), find them in ASCII, packed digits, hex, base64 and
//! UTF-16, at any offset, in any file. *Knows*: nothing of the product's formats, on purpose: it shares no code with what it
//! checks. *Never*: prints what it found, only where and which kind. *Start here*: [`Scanner`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Shortest secret that is looked for in a raw form, in bytes: anything shorter is found by chance.
const RAW_BYTES_MIN: usize = 6;
/// Shortest run of digits that is looked for as text. A PIN of six digits occurs by chance in logs; see [`Scanner::pin`].
const DIGITS_MIN: usize = 12;

/// What kind of secret was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A primary account number.
    Pan,
    /// Track 2 content.
    Track,
    /// A PIN with the context that makes it one.
    Pin,
    /// A key.
    Key,
}

/// One hit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What was found.
    pub kind: Kind,
    /// In which coding: `ascii`, `bcd`, `hex`, `base64`, `utf-16` …
    pub coding: &'static str,
    /// Name that the test gave to the secret.
    pub name: String,
    /// Offset in the bytes.
    pub offset: usize,
}

struct Needle {
    kind: Kind,
    coding: &'static str,
    name: String,
    bytes: Vec<u8>,
    fold_case: bool,
}

/// Everything to look for.
#[derive(Default)]
pub struct Scanner {
    needles: Vec<Needle>,
}

impl Scanner {
    /// A PAN of 12–19 digits.
    pub fn pan(&mut self, name: &str, digits: &str) -> &mut Self {
        assert!(
            digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "a PAN has 12 or more digits"
        );
        self.digits(Kind::Pan, name, digits)
    }

    /// Track 2 content with `D` or `=` as separator: what stands from the separator on, with the last digits of the PAN.
    pub fn track2(&mut self, name: &str, track: &str) -> &mut Self {
        let hex = track.replace('=', "D");
        let equals = track.replace('D', "=");
        let from = hex.find('D').map_or(0, |separator| separator.saturating_sub(4));
        self.text(Kind::Track, name, "ascii", &equals[from..]);
        self.digits(Kind::Track, name, &hex[from..])
    }

    /// A PIN as it stands in a clear ISO 9564 format 0, 1 or 2 block: control nibble, length, digits.
    /// Digits alone are not looked for: six digits occur by chance.
    pub fn pin(&mut self, name: &str, pin: &str) -> &mut Self {
        for control in ["0", "1", "2"] {
            let mut block = format!("{control}{:X}{pin}", pin.len());
            while block.len() < 14 {
                block.push('F');
            }
            self.hex_forms(Kind::Pin, name, &block);
        }
        for label in ["pin", "PIN", "Pin"] {
            for between in ["=", ":", ": ", "\":\"", " ", "=\"", "(\"", "\": \""] {
                self.text(Kind::Pin, name, "labelled", &format!("{label}{between}{pin}"));
            }
        }
        self
    }

    /// A key of eight bytes or more.
    pub fn key(&mut self, name: &str, key: &[u8]) -> &mut Self {
        assert!(key.len() >= 8, "keys have eight bytes or more");
        self.raw(Kind::Key, name, "raw", key.to_vec());
        let hex: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
        self.hex_text(Kind::Key, name, &hex);
        self.base64(Kind::Key, name, key);
        self
    }

    fn digits(&mut self, kind: Kind, name: &str, digits: &str) -> &mut Self {
        self.text(kind, name, "ascii", digits);
        self.base64(kind, name, digits.as_bytes());
        self.hex_forms(kind, name, digits);
        let ascii_as_hex: String = digits.bytes().map(|byte| format!("{byte:02X}")).collect();
        self.hex_text(kind, name, &ascii_as_hex);
        self
    }

    /// Nibbles packed at both alignments, and their base64.
    fn hex_forms(&mut self, kind: Kind, name: &str, nibbles: &str) {
        for start in 0..2 {
            let usable = (nibbles.len() - start) / 2 * 2;
            let packed = pack(&nibbles[start..start + usable]);
            self.base64(kind, name, &packed);
            self.raw(kind, name, "packed", packed);
        }
        self.hex_text(kind, name, nibbles);
    }

    fn text(&mut self, kind: Kind, name: &str, coding: &'static str, text: &str) {
        self.push(kind, name, coding, text.as_bytes().to_vec(), false);
        let wide: Vec<u8> = text.bytes().flat_map(|byte| [byte, 0]).collect();
        self.push(kind, name, "utf-16", wide, false);
    }

    fn hex_text(&mut self, kind: Kind, name: &str, hex: &str) {
        self.push(kind, name, "hex", hex.to_ascii_uppercase().into_bytes(), true);
        let spaced: Vec<String> =
            hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
        self.push(kind, name, "spaced hex", spaced.join(" ").to_ascii_uppercase().into_bytes(), true);
    }

    /// The characters of base64 that do not depend on what stands before or behind, for each of the three alignments.
    fn base64(&mut self, kind: Kind, name: &str, bytes: &[u8]) {
        for skip in 0..3 {
            let usable = bytes.len().saturating_sub(skip) / 3 * 3;
            if usable >= 2 * RAW_BYTES_MIN / 2 * 3 / 2 {
                let text = base64_text(&bytes[skip..skip + usable]);
                self.push(kind, name, "base64", text.clone().into_bytes(), false);
                let url = text.replace('+', "-").replace('/', "_");
                self.push(kind, name, "base64url", url.into_bytes(), false);
            }
        }
    }

    fn raw(&mut self, kind: Kind, name: &str, coding: &'static str, bytes: Vec<u8>) {
        if bytes.len() >= RAW_BYTES_MIN {
            self.push(kind, name, coding, bytes, false);
        }
    }

    fn push(&mut self, kind: Kind, name: &str, coding: &'static str, bytes: Vec<u8>, fold_case: bool) {
        let known = self.needles.iter().any(|needle| needle.bytes == bytes && needle.kind == kind);
        if !known && bytes.len() >= RAW_BYTES_MIN {
            self.needles.push(Needle { kind, coding, name: name.to_owned(), bytes, fold_case });
        }
    }

    /// Every secret in these bytes, each needle at its first offset.
    pub fn scan(&self, bytes: &[u8]) -> Vec<Finding> {
        let upper = bytes.to_ascii_uppercase();
        let first = self.starts(bytes, &upper);
        let mut found = BTreeSet::new();
        for offset in first {
            for needle in &self.needles {
                let haystack = if needle.fold_case { &upper } else { bytes };
                if haystack[offset..].starts_with(&needle.bytes) {
                    found.insert(Finding {
                        kind: needle.kind,
                        coding: needle.coding,
                        name: needle.name.clone(),
                        offset,
                    });
                }
            }
        }
        found.into_iter().collect()
    }

    /// Offsets at which the first four bytes of some needle stand: a cheap sieve before the full comparison.
    fn starts(&self, bytes: &[u8], upper: &[u8]) -> Vec<usize> {
        let mut sieve = vec![false; 1 << 16];
        for needle in &self.needles {
            sieve[usize::from(needle.bytes[0]) << 8 | usize::from(needle.bytes[1])] = true;
        }
        let hit = |pair: &[u8]| sieve[usize::from(pair[0]) << 8 | usize::from(pair[1])];
        let pairs = bytes.windows(2).zip(upper.windows(2)).enumerate();
        pairs.filter(|(_, (plain, folded))| hit(plain) || hit(folded)).map(|(offset, _)| offset).collect()
    }

    /// Scans every file below a path; unreadable entries are errors, not silence.
    pub fn scan_tree(&self, root: &Path) -> anyhow::Result<Vec<(PathBuf, Finding)>> {
        let mut found = Vec::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(path) = open.pop() {
            let kind = std::fs::symlink_metadata(&path)?;
            if kind.is_dir() {
                open.extend(
                    std::fs::read_dir(&path)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()),
                );
            } else if kind.is_file() {
                let bytes = std::fs::read(&path)?;
                found.extend(self.scan(&bytes).into_iter().map(|finding| (path.clone(), finding)));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn pack(nibbles: &str) -> Vec<u8> {
    let value = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0xF);
    nibbles.as_bytes().chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn base64_text(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quad = |three: &[u8]| {
        let number = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(number >> shift & 63) as usize]))
    };
    bytes.chunks_exact(3).flat_map(quad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAN: &str = "6222620000000000012";
    const TRACK: &str = "6222620000000000012D30122011234500000";

    fn scanner() -> Scanner {
        let mut scanner = Scanner::default();
        scanner.pan("card", PAN).track2("track", TRACK).pin("pin", "123456").key("tmk", &[0xA7; 16]);
        scanner
    }

    fn found(bytes: &[u8]) -> bool {
        !scanner().scan(bytes).is_empty()
    }

    #[test]
    fn a_planted_pan_is_found_in_every_coding() {
        let wide: Vec<u8> = PAN.bytes().flat_map(|byte| [byte, 0]).collect();
        let odd = pack(&format!("A{PAN}"));
        let even = pack(&format!("{PAN}F"));
        let base64_of_text = base64_text(format!("xy{PAN}z").as_bytes());
        assert!(found(format!("pan={PAN};").as_bytes()));
        assert!(found(&wide) && found(&odd) && found(&even));
        assert!(found(base64_of_text.as_bytes()));
        assert!(found(b"36 32 32 32 36 32 30 30 30 30 30 30 30 30 30 30 30 31 32"));
        assert!(found(b"36323232363230303030303030303030303132"));
    }

    #[test]
    fn planted_tracks_pins_and_keys_are_found() {
        assert!(found(b"0012=30122011234500000"));
        assert!(found(&[0x06, 0x12, 0x34, 0x56, 0xFF, 0xFF, 0xFF, 0xFF]));
        assert!(found(b"entered pin: 123456"));
        assert!(found(&[0xA7; 16]) && found("a7".repeat(16).as_bytes()));
    }

    #[test]
    fn what_may_be_shown_is_not_found() {
        assert!(!found(b"622262*********0012 amount 123456 trace 000123"));
        assert!(!found(&[0; 64]));
    }

    #[test]
    fn a_tree_is_scanned_to_its_leaves() {
        let root = std::env::temp_dir().join(format!("irontill-scan-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/journal"), PAN).unwrap();
        let found = scanner().scan_tree(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(found.iter().any(|(path, finding)| path.ends_with("a/b/journal") && finding.kind == Kind::Pan));
    }
}
