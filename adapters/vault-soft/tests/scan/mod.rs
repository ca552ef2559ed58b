//! Looks for keys in the memory of a running process, this one or another.
//!
//! A key is searched in pieces of eight bytes at every offset: half a key is a finding too. Needles are kept masked, and
//! the scanner's own buffer is left out, so that it does not find itself.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs::File;
use std::os::unix::fs::FileExt;

const PIECE_BYTES: usize = 8;
const MASK: u64 = 0xA55A_C33C_9669_F00F;
const BUFFER_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// What to look for.
#[derive(Default)]
pub struct Needles {
    pieces: Vec<(u64, usize)>,
    names: Vec<String>,
    /// Whether any piece begins with these two bytes: spares most look-ups.
    begins: Vec<bool>,
}

/// A piece of a secret in memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub name: String,
    pub place: String,
}

/// What a scan saw.
#[derive(Debug, Default)]
pub struct Scan {
    pub found: Vec<Found>,
    pub read_bytes: usize,
    /// Pages of mappings marked readable that the kernel would not show, by the mapping's name.
    pub refused: Vec<(String, usize)>,
}

fn first_two(word: u64) -> usize {
    usize::try_from(word & 0xFFFF).expect("sixteen bits")
}

impl Needles {
    /// Adds a secret. Pieces without variety, as in padding, are left out.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        self.begins.resize(1 << 16, false);
        for piece in secret.as_chunks::<PIECE_BYTES>().0 {
            let distinct = piece.iter().collect::<std::collections::BTreeSet<_>>().len();
            if distinct > PIECE_BYTES / 2 {
                let word = u64::from_ne_bytes(*piece);
                self.begins[first_two(word)] = true;
                self.pieces.push((word ^ MASK, self.names.len()));
            }
        }
        assert!(self.pieces.iter().any(|(_, index)| *index == self.names.len()), "{name} has no piece to look for");
        self.names.push(name.to_owned());
        self.pieces.sort_unstable();
    }

    fn names_in(&self, bytes: &[u8]) -> Vec<usize> {
        let at = |window: &[u8]| {
            let word = u64::from_ne_bytes(window.try_into().expect("a window of eight"));
            if !self.begins[first_two(word)] {
                return None;
            }
            let index = self.pieces.binary_search_by_key(&(word ^ MASK), |(piece, _)| *piece).ok()?;
            Some(self.pieces[index].1)
        };
        let mut names: Vec<usize> = bytes.windows(PIECE_BYTES).filter_map(at).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Names of the secrets of which a piece lies in `bytes`.
    pub fn within(&self, bytes: &[u8]) -> Vec<String> {
        self.names_in(bytes).into_iter().map(|index| self.names[index].clone()).collect()
    }
}

struct Mapping {
    start: usize,
    end: usize,
    readable: bool,
    name: String,
}

fn mappings(process: &str) -> Vec<Mapping> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |hex| usize::from_str_radix(hex, 16).ok();
        let readable = words.next()?.starts_with('r');
        let name = words.skip(3).collect::<Vec<_>>().join(" ");
        Some(Mapping { start: address(start)?, end: address(end)?, readable, name })
    };
    maps.lines().filter_map(parse).collect()
}

/// Scans every readable mapping of `process` ("self" or a number).
pub fn scan(process: &str, needles: &Needles) -> Scan {
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let own = (process == "self").then(|| {
        let start = buffer.as_ptr().addr();
        start..start + BUFFER_BYTES
    });
    let mut scan = Scan::default();
    for mapping in mappings(process).iter().filter(|mapping| mapping.readable && mapping.name != "[vsyscall]") {
        scan_mapping(&memory, mapping, needles, &mut buffer, own.as_ref(), &mut scan);
    }
    buffer.fill(0);
    scan.found.sort();
    scan.found.dedup();
    scan
}

fn scan_mapping(
    memory: &File,
    mapping: &Mapping,
    needles: &Needles,
    buffer: &mut [u8],
    own: Option<&std::ops::Range<usize>>,
    scan: &mut Scan,
) {
    let mut at = mapping.start;
    let mut refused = 0;
    while at < mapping.end {
        let mut length = buffer.len().min(mapping.end - at);
        if let Some(own) = own {
            if own.contains(&at) {
                at = own.end;
                continue;
            }
            if at < own.start {
                length = length.min(own.start - at);
            }
        }
        let Ok(count @ 1..) = memory.read_at(&mut buffer[..length], at as u64) else {
            // A page that nobody may read, or that has gone since the list was made.
            refused += 1;
            at = (at / PAGE_BYTES + 1) * PAGE_BYTES;
            continue;
        };
        for index in needles.names_in(&buffer[..count]) {
            scan.found.push(Found { name: needles.names[index].clone(), place: mapping.name.clone() });
        }
        scan.read_bytes += count;
        // The next part begins a little earlier, so that nothing lies across the cut.
        let step =
            if count == length && at + count < mapping.end { count - (PIECE_BYTES - 1).min(count - 1) } else { count };
        at += step;
    }
    if refused > 0 {
        scan.refused.push((mapping.name.clone(), refused));
    }
}
