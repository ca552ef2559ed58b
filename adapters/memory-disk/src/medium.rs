//! What lies on a disk: bytes that were synced, and changes that were not.

use std::collections::BTreeMap;

/// A write tears at borders of so many bytes.
pub const SECTOR_BYTES: usize = 512;

/// How an operation goes wrong, and what is left of the cache afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum When {
    /// The power goes before it. Nothing that was not synced is left.
    Before,
    /// It is carried out in part, and the power goes. Each sector that was not synced is old, new, torn or garbage.
    Torn,
    /// It is carried out, and the process is killed. Everything is left.
    After,
    /// It is refused (disk full, fault of the medium) and the disk works on with everything that it had. A sync that is
    /// refused has lost its pages: nothing works until the power has come back, and what is left is as after [`When::Torn`].
    Refused,
}

impl When {
    /// All four.
    pub const ALL: [When; 4] = [When::Before, When::Torn, When::After, When::Refused];
}

/// One operation that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Number of the operation, counted from 0 since the disk was made.
    pub operation: u64,
    /// How.
    pub when: When,
}

/// Why an operation was not carried out, or not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The power is gone.
    #[error("no power")]
    NoPower,
    /// The disk said no.
    #[error("refused")]
    Fault,
    /// There is no such file.
    #[error("no such file")]
    NoFile,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes: written } => put(bytes, *offset, written),
            Change::Truncate { length } => bytes.truncate(*length),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

#[derive(Clone, Default, Debug)]
struct Contents {
    synced: Vec<u8>,
    current: Vec<u8>,
    changes: Vec<Change>,
}

impl Contents {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.current);
        self.changes.clear();
    }
}

/// Files, a count of operations, and whether there is power.
#[derive(Debug)]
pub(crate) struct Medium {
    files: BTreeMap<String, Contents>,
    operations: u64,
    fault: Option<Fault>,
    /// Set when the power goes: what will be left.
    dead: Option<When>,
    draws: Draws,
    lies: bool,
}

/// A splitmix64 sequence.
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// What the one operation that was named is to do.
enum Verdict {
    Go,
    Fail(When),
}

impl Medium {
    pub(crate) fn new(seed: u64) -> Self {
        Self { files: BTreeMap::new(), operations: 0, fault: None, dead: None, draws: Draws(seed), lies: false }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn plan(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    pub(crate) fn lie(&mut self) {
        self.lies = true;
    }

    pub(crate) fn is_planned(&self) -> bool {
        self.fault.is_some()
    }

    pub(crate) fn has_power(&self) -> bool {
        self.dead.is_none()
    }

    pub(crate) fn lose_power(&mut self, left: When) {
        self.dead.get_or_insert(left);
    }

    /// Makes of every file what the power cut has left of it.
    pub(crate) fn power_returns(&mut self) {
        let Some(left) = self.dead.take() else { return };
        for contents in self.files.values_mut() {
            match left {
                When::Before => {}
                When::After | When::Refused => contents.sync(),
                When::Torn => damage(contents, &mut self.draws),
            }
            contents.changes.clear();
            contents.current.clone_from(&contents.synced);
        }
    }

    fn verdict(&mut self) -> Result<Verdict, Refused> {
        if !self.has_power() {
            return Err(Refused::NoPower);
        }
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some(fault) if fault.operation == number => {
                self.fault = None;
                Ok(Verdict::Fail(fault.when))
            }
            _ => Ok(Verdict::Go),
        }
    }

    fn contents(&mut self, name: &str) -> Result<&mut Contents, Refused> {
        self.files.get_mut(name).ok_or(Refused::NoFile)
    }

    /// Carries out a change, or what the fault makes of it.
    fn carry_out(&mut self, name: &str, whole: Change, torn: Option<Change>) -> Result<(), Refused> {
        let verdict = self.verdict()?;
        let contents = self.contents(name)?;
        let Verdict::Fail(when) = verdict else {
            contents.change(whole);
            return Ok(());
        };
        match when {
            When::Refused => return Err(Refused::Fault),
            When::Before => {}
            When::After => contents.change(whole),
            When::Torn => torn.into_iter().for_each(|part| contents.change(part)),
        }
        self.dead = Some(when);
        Err(Refused::NoPower)
    }

    pub(crate) fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Refused> {
        // The border of a sector nearest to the middle, or the middle of what lies within one.
        let middle = offset + bytes.len() / 2;
        let border = middle.next_multiple_of(SECTOR_BYTES) - offset;
        let torn_at = if border < bytes.len() { border } else { bytes.len() / 2 };
        let torn = Change::Write { offset, bytes: bytes[..torn_at].to_vec() };
        self.carry_out(name, Change::Write { offset, bytes: bytes.to_vec() }, Some(torn))
    }

    pub(crate) fn truncate(&mut self, name: &str, length: usize) -> Result<(), Refused> {
        self.carry_out(name, Change::Truncate { length }, None)
    }

    pub(crate) fn sync(&mut self, name: &str) -> Result<(), Refused> {
        let (verdict, lies) = (self.verdict()?, self.lies);
        let contents = self.contents(name)?;
        let Verdict::Fail(when) = verdict else {
            if !lies {
                contents.sync();
            }
            return Ok(());
        };
        match when {
            // A sync that was refused has lost its pages, and nobody will be told again.
            When::Refused => {
                self.dead = Some(When::Torn);
                return Err(Refused::Fault);
            }
            When::After => contents.sync(),
            When::Before | When::Torn => {}
        }
        self.dead = Some(when);
        Err(Refused::NoPower)
    }

    /// Opens a file; `create` makes it if it is not there.
    pub(crate) fn open(&mut self, name: &str, create: bool) -> Result<(), Refused> {
        if !self.has_power() {
            return Err(Refused::NoPower);
        }
        if self.files.contains_key(name) {
            return Ok(());
        }
        if !create {
            return Err(Refused::NoFile);
        }
        self.change_names(|files| drop(files.insert(name.to_owned(), Contents::default())))
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<(), Refused> {
        if self.has_power() && !self.files.contains_key(name) {
            return Err(Refused::NoFile);
        }
        self.change_names(|files| drop(files.remove(name)))
    }

    /// A name is made or goes whole, and at once for good.
    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<String, Contents>)) -> Result<(), Refused> {
        match self.verdict()? {
            Verdict::Go => {
                change(&mut self.files);
                Ok(())
            }
            Verdict::Fail(When::Refused) => Err(Refused::Fault),
            Verdict::Fail(when) => {
                if when == When::After {
                    change(&mut self.files);
                }
                self.dead = Some(when);
                Err(Refused::NoPower)
            }
        }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    pub(crate) fn length(&self, name: &str) -> Result<usize, Refused> {
        self.readable(name).map(Vec::len)
    }

    /// Reads what is there and gives its length; the rest of `into` is zero.
    pub(crate) fn read(&self, name: &str, offset: usize, into: &mut [u8]) -> Result<usize, Refused> {
        let bytes = self.readable(name)?;
        let there = bytes.get(offset.min(bytes.len())..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        into[count..].fill(0);
        Ok(count)
    }

    fn readable(&self, name: &str) -> Result<&Vec<u8>, Refused> {
        if !self.has_power() {
            return Err(Refused::NoPower);
        }
        self.files.get(name).map(|contents| &contents.current).ok_or(Refused::NoFile)
    }
}

/// Lets each piece of each change that was not synced be old, new, torn or garbage, in order.
fn damage(contents: &mut Contents, draws: &mut Draws) {
    for change in std::mem::take(&mut contents.changes) {
        match change {
            Change::Truncate { length } => {
                if draws.next().is_multiple_of(2) {
                    contents.synced.truncate(length);
                }
            }
            Change::Write { offset, bytes } => {
                let mut begin = 0;
                while begin < bytes.len() {
                    let border = (offset + begin + 1).next_multiple_of(SECTOR_BYTES) - offset;
                    let end = border.min(bytes.len());
                    damage_piece(&mut contents.synced, offset + begin, &bytes[begin..end], draws);
                    begin = end;
                }
            }
        }
    }
}

fn damage_piece(synced: &mut Vec<u8>, offset: usize, piece: &[u8], draws: &mut Draws) {
    match draws.next() % 4 {
        0 => {}
        1 => put(synced, offset, piece),
        2 => put(synced, offset, &piece[..piece.len() / 2]),
        _ => {
            let garbage: Vec<u8> = piece.iter().map(|_| draws.next().to_be_bytes()[0]).collect();
            put(synced, offset, &garbage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fault: Option<Fault>) -> Medium {
        let mut medium = Medium::new(7);
        medium.open("a", true).unwrap();
        medium.write("a", 0, &[1; 2_000]).unwrap();
        medium.sync("a").unwrap();
        medium.plan(fault);
        medium
    }

    fn text(medium: &Medium) -> Vec<u8> {
        let mut bytes = vec![0; medium.length("a").unwrap()];
        medium.read("a", 0, &mut bytes).unwrap();
        bytes
    }

    fn fault(operation: u64, when: When) -> Option<Fault> {
        Some(Fault { operation, when })
    }

    #[test]
    fn what_was_synced_stays_and_what_was_not_goes() {
        let mut medium = with(fault(4, When::Before));
        medium.write("a", 0, &[2; 100]).unwrap();
        assert_eq!(medium.sync("a"), Err(Refused::NoPower));
        assert_eq!(medium.read("a", 0, &mut [0]), Err(Refused::NoPower), "it is dead");
        medium.power_returns();
        assert_eq!(text(&medium), vec![1; 2_000]);
    }

    #[test]
    fn a_killed_process_leaves_everything() {
        let mut medium = with(fault(4, When::After));
        medium.write("a", 0, &[2; 100]).unwrap();
        assert_eq!(medium.write("a", 1_990, &[3; 20]), Err(Refused::NoPower));
        medium.power_returns();
        let left = text(&medium);
        assert_eq!((left[0], left[100], left[1_989], left[1_990], left.len()), (2, 1, 1, 3, 2_010));
    }

    #[test]
    fn a_torn_write_touches_nothing_outside_itself() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut medium = with(None);
            medium.draws = Draws(seed);
            medium.write("a", 600, &[2; 800]).unwrap();
            medium.lose_power(When::Torn);
            medium.power_returns();
            let left = text(&medium);
            assert!(left[..600].iter().chain(&left[1_400..]).all(|byte| *byte == 1), "seed {seed}");
            outcomes.insert([left[600].min(3), left[1_100].min(3)]);
        }
        assert!(outcomes.len() > 4, "old, new and garbage in every mixture: {outcomes:?}");
    }

    #[test]
    fn a_refused_write_changes_nothing_and_the_disk_lives() {
        let mut medium = with(fault(3, When::Refused));
        assert_eq!(medium.write("a", 0, &[2; 100]), Err(Refused::Fault));
        assert_eq!(text(&medium), vec![1; 2_000]);
        medium.write("a", 0, &[3; 1]).unwrap();
        medium.sync("a").unwrap();
        assert_eq!((text(&medium)[0], medium.operations()), (3, 6));
    }

    #[test]
    fn a_torn_operation_is_done_in_part() {
        let mut medium = with(fault(3, When::Torn));
        assert_eq!(medium.write("a", 0, &[2; 1_024]), Err(Refused::NoPower));
        assert!(!medium.has_power());
    }
}
