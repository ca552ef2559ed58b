//! Parameter sets from the host: CA public keys (unionpay-pos §5.1) and applications (§5.2).

use emv::{Capk, CapkSet, EmvDate, RandomSelection, TerminalApplication};
use std::sync::Arc;
use tlv::Tag;
use tlv::ber::Elements;
use tlv::tags;

/// Most CA public keys in a set.
pub(crate) const CAPKS_MAX: usize = 128;
/// Most applications in a set.
pub(crate) const AIDS_MAX: usize = 64;
/// Longest body of one key or application, in bytes (F62 holds 999).
pub(crate) const ENTRY_BYTES_MAX: usize = 998;

const SELECTION_INDICATOR: Tag = Tag::new(0xDF01);
const TAC_DEFAULT: Tag = Tag::new(0xDF11);
const TAC_ONLINE: Tag = Tag::new(0xDF12);
const TAC_DENIAL: Tag = Tag::new(0xDF13);
const DEFAULT_DDOL: Tag = Tag::new(0xDF14);
const THRESHOLD: Tag = Tag::new(0xDF15);
const MAXIMUM_TARGET_PERCENT: Tag = Tag::new(0xDF16);
const TARGET_PERCENT: Tag = Tag::new(0xDF17);

/// What became of a download: entries to keep as they came, and the others in words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) taken: Vec<Vec<u8>>,
    pub(crate) skipped: Vec<String>,
}

impl Sorted {
    fn add(&mut self, entry: Vec<u8>, limit: usize, verdict: Result<(), String>) {
        match verdict {
            Ok(()) if self.taken.len() < limit => self.taken.push(entry),
            Ok(()) => self.skipped.push(format!("more than {limit} entries")),
            Err(reason) => self.skipped.push(reason),
        }
    }

    /// Whether a set was offered of which nothing is usable: a broken download must not wipe a good set.
    pub(crate) fn is_broken(&self) -> bool {
        self.taken.is_empty() && !self.skipped.is_empty()
    }

    /// How many were taken.
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.taken.len()).expect("sets are bounded far below 65536")
    }
}

/// Sorts downloaded keys: bad checksums and expired keys are skipped.
pub(crate) fn sort_capks(entries: Vec<Vec<u8>>, today: EmvDate) -> Sorted {
    let mut sorted = Sorted::default();
    for entry in entries {
        let verdict = capk(&entry).and_then(|key| {
            let expired = key.expiry().is_some_and(|expiry| expiry < today);
            if expired { Err(format!("CAPK {}: expired", capk_name(&entry))) } else { Ok(()) }
        });
        sorted.add(entry, CAPKS_MAX, verdict);
    }
    sorted
}

/// Sorts downloaded applications.
pub(crate) fn sort_aids(entries: Vec<Vec<u8>>) -> Sorted {
    let mut sorted = Sorted::default();
    for entry in entries {
        let verdict = application(&entry).map(drop);
        sorted.add(entry, AIDS_MAX, verdict);
    }
    sorted
}

/// Parameters as the kernel wants them: reading them takes longer than a tenth of a payment.
pub(crate) struct Installed {
    pub(crate) capks: Arc<CapkSet>,
    pub(crate) applications: Vec<TerminalApplication>,
}

impl Installed {
    /// Reads what was downloaded.
    pub(crate) fn read(capks: &[Vec<u8>], aids: &[Vec<u8>]) -> Self {
        Self { capks: Arc::new(capk_set(capks)), applications: applications(aids) }
    }
}

/// The set that the kernel uses.
fn capk_set(entries: &[Vec<u8>]) -> CapkSet {
    let mut set = CapkSet::new();
    for key in entries.iter().filter_map(|entry| capk(entry).ok()) {
        set.insert(key);
    }
    set
}

/// The applications that the kernel uses.
fn applications(entries: &[Vec<u8>]) -> Vec<TerminalApplication> {
    entries.iter().filter_map(|entry| application(entry).ok()).collect()
}

fn capk(entry: &[u8]) -> Result<Capk, String> {
    if entry.len() > ENTRY_BYTES_MAX {
        return Err("CAPK: too long".to_owned());
    }
    Capk::parse_download(entry).map_err(|error| format!("CAPK {}: {error}", capk_name(entry)))
}

/// RID and index for people.
fn capk_name(entry: &[u8]) -> String {
    let hex = |tag| value(entry, tag).map_or_else(|| "?".to_owned(), crate::trace::hex);
    format!("{} {}", hex(tags::AID_TERMINAL), hex(tags::CAPK_INDEX_TERMINAL))
}

/// The value of a top-level object; bytes behind a broken object are not read.
fn value(entry: &[u8], tag: Tag) -> Option<&[u8]> {
    crate::chip::find(entry, tag)
}

fn array<const N: usize>(entry: &[u8], tag: Tag) -> Option<[u8; N]> {
    value(entry, tag)?.try_into().ok()
}

fn application(entry: &[u8]) -> Result<TerminalApplication, String> {
    let aid = value(entry, tags::AID_TERMINAL).unwrap_or_default();
    let refuse = |reason: &str| Err(format!("AID {}: {reason}", crate::trace::hex(aid)));
    if entry.len() > ENTRY_BYTES_MAX || Elements::new(entry).any(|element| element.is_err()) {
        return refuse("not well-formed");
    }
    if !(tlv::fci::MIN_DF_NAME_BYTES..=tlv::fci::MAX_DF_NAME_BYTES).contains(&aid.len()) {
        return refuse("the name has a wrong length");
    }
    let standard = TerminalApplication::new(aid);
    let version = array(entry, tags::APPLICATION_VERSION_CARD).or(array(entry, tags::APPLICATION_VERSION_TERMINAL));
    Ok(TerminalApplication {
        partial_match: value(entry, SELECTION_INDICATOR) != Some(&[1]),
        version: version.unwrap_or(standard.version),
        tac_default: array(entry, TAC_DEFAULT).unwrap_or(standard.tac_default),
        tac_denial: array(entry, TAC_DENIAL).unwrap_or(standard.tac_denial),
        tac_online: array(entry, TAC_ONLINE).unwrap_or(standard.tac_online),
        floor_limit_minor: binary(entry, tags::TERMINAL_FLOOR_LIMIT),
        random_selection: random_selection(entry),
        default_ddol: value(entry, DEFAULT_DDOL).map_or(standard.default_ddol, <[u8]>::to_vec),
        aid: standard.aid,
        default_tdol: standard.default_tdol,
    })
}

/// Four binary bytes, minor units; 0 if absent.
fn binary(entry: &[u8], tag: Tag) -> u64 {
    u64::from(u32::from_be_bytes(array(entry, tag).unwrap_or_default()))
}

fn random_selection(entry: &[u8]) -> RandomSelection {
    let maximum_target_percent = percent(entry, MAXIMUM_TARGET_PERCENT);
    RandomSelection {
        threshold_minor: binary(entry, THRESHOLD),
        target_percent: percent(entry, TARGET_PERCENT).min(maximum_target_percent),
        maximum_target_percent,
    }
}

/// One BCD byte; what is no number counts as 99, the careful side.
fn percent(entry: &[u8], tag: Tag) -> u8 {
    let Some([byte]) = array(entry, tag) else { return 0 };
    let (tens, units) = (byte >> 4, byte & 0x0F);
    if tens > 9 || units > 9 { emv::config::MAX_PERCENT } else { tens * 10 + units }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample of unionpay-pos §5.2.
    fn sample() -> Vec<u8> {
        let text = "9F0608A000000333010101DF0101009F08020020DF1105D84000A800DF1205D84004F800DF130500100000009F1B0400000000\
                    DF150400000000DF160199DF170199DF14039F3704DF1801019F7B06000000100000DF1906000000100000DF2006000999999999\
                    DF2106000000100000";
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_sample_of_the_dialect_is_read() {
        let read = application(&sample()).unwrap();
        assert_eq!(read.aid, [0xA0, 0, 0, 3, 0x33, 1, 1, 1]);
        assert!(read.partial_match);
        assert_eq!(read.version, [0, 0x20]);
        assert_eq!(read.tac_online, [0xD8, 0x40, 0x04, 0xF8, 0]);
        assert_eq!(read.random_selection.target_percent, 99);
        assert_eq!(read.default_ddol, [0x9F, 0x37, 0x04]);
    }

    #[test]
    fn a_broken_download_is_told_from_an_empty_one() {
        let broken = sort_aids(vec![vec![0x9F, 0x06, 0x20], sample()[..3].to_vec()]);
        assert!(broken.is_broken());
        assert_eq!(broken.skipped.len(), 2);
        assert!(!sort_aids(Vec::new()).is_broken());
        assert_eq!(sort_aids(vec![sample(), vec![1]]).count(), 1);
    }

    #[test]
    fn percentages_stay_below_a_hundred() {
        let mut entry = sample();
        let at = entry.windows(3).position(|bytes| bytes == [0xDF, 0x17, 0x01]).unwrap() + 3;
        entry[at] = 0xFF;
        assert_eq!(application(&entry).unwrap().random_selection.target_percent, 99);
    }
}
