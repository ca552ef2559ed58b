//! The audit trail: records chained by hash, tagged by the vault, and a head that says how far they go.
//!
//! A reply leaves only after its records and then the head are on stable storage. At start the trail must reach at
//! least as far as the head says. What stands behind the head is kept if it is whole and the vault's own; a torn rest
//! is cut off, since no reply had rested on it. Anything else was done by somebody, and the vault does not serve.
//!
//! Whoever puts trail *and* head back to one earlier moment is not found here: that needs a memory outside the
//! machine, for which signed ceremony records and exported heads exist.

use crate::audit_medium::AuditMedium;
use crate::secret_memory::SecretBox;
use keys::{AuditAct, AuditEntry, AuditRecord, Beginning, audit_genesis, split_audit_payload};
use machine::frame::{self, ChainHead, FRAME_HEAD_BYTES};
use machine::wire::{Encode, Reader, Writer};
use paycrypto::constant_time_eq;
use paycrypto::mac::HmacSha256Key;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Largest head file that is read.
pub(crate) const HEAD_FILE_BYTES_MAX: u64 = 2 * SLOT_STRIDE;
/// Slots lie in blocks of their own, so that a torn write of one leaves the other.
const SLOT_STRIDE: u64 = 4096;
const SLOT_MAGIC: [u8; 8] = *b"ITHEAD\x01\0";
const SLOT_SIGNED_BYTES: usize = 8 + 8 + 8 + 32;
const SLOT_BYTES: usize = SLOT_SIGNED_BYTES + 32;

/// Why a trail cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The operating system refused.
    #[error("audit: {0}")]
    Io(String),
    /// Another process has the files open.
    #[error("audit: {0} is in use by another process")]
    Busy(String),
    /// The vault was made with a trail, and there is none.
    #[error("audit: the trail or its head is missing, and this vault has always had one")]
    Missing,
    /// The trail ends before the head says.
    #[error("audit: the trail was cut: it ends at record {found}, and {expected} had been written")]
    Cut {
        /// Records that must be there.
        expected: u64,
        /// Records that are.
        found: u64,
    },
    /// A record that had been written is damaged.
    #[error("audit: the trail was altered: {0}")]
    Altered(String),
    /// A record that this vault did not write.
    #[error("audit: record {0} was not written by this vault")]
    Foreign(u64),
    /// The head is not this vault's, or altered.
    #[error("audit: the head was altered or is another vault's")]
    Head,
    /// An earlier write failed, so nothing more is recorded until the next start.
    #[error("audit: a record could not be written: {0}")]
    Faulted(String),
}

impl AuditError {
    pub(crate) fn io(path: &Path, cause: &io::Error) -> Self {
        Self::Io(format!("{}: {cause}", path.display()))
    }
}

fn medium_failed(cause: io::Error) -> AuditError {
    AuditError::Io(cause.to_string())
}

/// The key of tags and slots.
pub struct AuditKey(SecretBox<HmacSha256Key>);

impl AuditKey {
    /// Derived from the master key.
    pub fn derive(master: &HmacSha256Key) -> Self {
        let label: &[u8] = b"irontill audit key 1\0";
        Self(SecretBox::new(|| HmacSha256Key::new(&*Zeroizing::new(master.mac(&[label])))))
    }

    fn tag(&self, before: &ChainHead, sequence: u64, body: &[u8]) -> [u8; 32] {
        self.0.mac(&[b"record\0", &before.0, &sequence.to_be_bytes(), body])
    }

    fn slot(&self, slot: &Slot) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(&SLOT_MAGIC).u64(slot.generation).u64(slot.sequence).raw(&slot.hash);
        let mut bytes = writer.into_bytes();
        let tag = self.0.mac(&[b"head\0", &bytes]);
        bytes.extend_from_slice(&tag);
        bytes
    }

    fn open_slot(&self, bytes: &[u8]) -> Option<Slot> {
        let (signed, tag) = bytes.get(..SLOT_BYTES)?.split_at(SLOT_SIGNED_BYTES);
        if !constant_time_eq(&self.0.mac(&[b"head\0", signed]), tag) {
            return None;
        }
        let mut reader = Reader::new(signed);
        let magic: [u8; 8] = reader.array("the slot's mark").ok()?;
        let (generation, sequence) = (reader.u64().ok()?, reader.u64().ok()?);
        let hash = reader.array("a hash").ok()?;
        (magic == SLOT_MAGIC).then_some(Slot { generation, sequence, hash })
    }

    /// Opens the record that must follow `before`.
    fn open(&self, before: ChainHead, sequence: u64, bytes: &[u8]) -> Result<(AuditRecord, ChainHead), AuditError> {
        let altered = |why: &dyn core::fmt::Display| AuditError::Altered(why.to_string());
        let (payload, head) = frame::open(before, sequence, bytes).map_err(|damage| altered(&damage))?;
        let (body, tag) = split_audit_payload(payload).ok_or(AuditError::Foreign(sequence))?;
        if !constant_time_eq(&self.tag(&before, sequence, body), tag) {
            return Err(AuditError::Foreign(sequence));
        }
        let newer = |cause| AuditError::Altered(format!("record {sequence} is of a later version ({cause})"));
        let entry = AuditEntry::from_bytes(body).map_err(newer)?;
        Ok((AuditRecord { sequence, hash: head.0, entry }, head))
    }
}

/// What one slot of the head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    /// Counts writes of the head.
    generation: u64,
    /// Records written.
    sequence: u64,
    /// Hash of the chain there.
    hash: [u8; 32],
}

/// What both slots say together.
enum Head {
    /// Nothing was ever written, or the first writing was cut short.
    Unwritten,
    /// The newest slot, and how many records must be there at least.
    At(Slot, u64),
}

fn read_head(key: &AuditKey, content: &[u8]) -> Result<Head, AuditError> {
    let second = usize::try_from(SLOT_STRIDE).expect("a small number").min(content.len());
    let parts = [&content[..second], &content[second..]];
    let blank = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    let slots = parts.map(|part| key.open_slot(part));
    let newest = slots.into_iter().flatten().max_by_key(|slot| slot.generation);
    let Some(newest) = newest else {
        // The second slot is written after the first one is whole.
        return if blank(parts[1]) { Ok(Head::Unwritten) } else { Err(AuditError::Head) };
    };
    let both = slots.iter().all(Option::is_some);
    let first_ever = newest.generation == 0 && blank(parts[1]);
    // A broken slot was being written, and it is written only after one record more is there than the other one says.
    let required = if both || first_ever { newest.sequence } else { newest.sequence.saturating_add(1) };
    Ok(Head::At(newest, required))
}

/// A record on its way to the medium.
struct Pending {
    bytes: Vec<u8>,
    sequence: u64,
    hash: [u8; 32],
}

/// A trail that is in order.
pub struct Trail {
    medium: Box<dyn AuditMedium>,
    key: AuditKey,
    head: ChainHead,
    sequence: u64,
    /// Where each durable record begins, and after the last one where the next will.
    offsets: Vec<u64>,
    generation: Option<u64>,
    pending: Vec<Pending>,
    fault: Option<AuditError>,
}

impl Trail {
    /// Opens a trail and shows each record to `fold`. A vault that has always had a trail does not accept none.
    pub fn open(
        medium: Box<dyn AuditMedium>,
        key: AuditKey,
        must_exist: bool,
        at_ms: u64,
        fold: &mut dyn FnMut(&AuditRecord),
    ) -> Result<Self, AuditError> {
        let mut trail = Self {
            medium,
            key,
            head: audit_genesis(),
            sequence: 0,
            offsets: vec![0],
            generation: None,
            pending: Vec::new(),
            fault: None,
        };
        let content = trail.medium.head().map_err(medium_failed)?;
        let head = read_head(&trail.key, &content)?;
        let ended = trail.walk(&head, fold)?;
        trail.judge(&head, must_exist, ended)?;
        trail.cut_torn_end(at_ms)?;
        Ok(trail)
    }

    /// Reads records until one is not in order; says why it is not.
    fn walk(&mut self, head: &Head, fold: &mut dyn FnMut(&AuditRecord)) -> Result<Option<AuditError>, AuditError> {
        loop {
            let Some(bytes) = self.next_frame()? else { return Ok(None) };
            let sequence = self.sequence + 1;
            let (record, next) = match self.key.open(self.head, sequence, &bytes) {
                Ok(opened) => opened,
                Err(foreign @ AuditError::Foreign(_)) => return Err(foreign),
                Err(other) => return Ok(Some(other)),
            };
            if let Head::At(slot, _) = head
                && slot.sequence == sequence
                && slot.hash != record.hash
            {
                return Err(AuditError::Altered(format!("record {sequence} is not the one that the head names")));
            }
            fold(&record);
            (self.head, self.sequence) = (next, sequence);
            self.offsets.push(self.end() + bytes.len() as u64);
        }
    }

    /// The bytes of the next record, as many as are there.
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        let start = self.end();
        let left = self.medium.length().map_err(medium_failed)?.saturating_sub(start);
        if left == 0 {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        let whole = if left >= FRAME_HEAD_BYTES as u64 {
            self.medium.read_at(start, &mut head).map_err(medium_failed)?;
            frame::frame_bytes(&head).unwrap_or(FRAME_HEAD_BYTES)
        } else {
            FRAME_HEAD_BYTES
        };
        let mut bytes = vec![0; whole.min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.medium.read_at(start, &mut bytes).map_err(medium_failed)?;
        Ok(Some(bytes))
    }

    fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Whether what was found reaches as far as it must.
    fn judge(&mut self, head: &Head, must_exist: bool, ended: Option<AuditError>) -> Result<(), AuditError> {
        match head {
            Head::Unwritten if must_exist => Err(AuditError::Missing),
            // The first record is written alone, and the head before the second.
            Head::Unwritten if self.sequence > 1 => Err(AuditError::Missing),
            Head::Unwritten => Ok(()),
            Head::At(slot, required) => {
                self.generation = Some(slot.generation);
                if self.sequence >= *required {
                    return Ok(());
                }
                Err(ended.unwrap_or(AuditError::Cut { expected: *required, found: self.sequence }))
            }
        }
    }

    fn cut_torn_end(&mut self, at_ms: u64) -> Result<(), AuditError> {
        let length = self.medium.length().map_err(medium_failed)?;
        let torn = length.saturating_sub(self.end());
        if torn > 0 {
            self.medium.truncate(self.end()).map_err(medium_failed)?;
        }
        if torn > 0 && self.sequence > 0 {
            self.note(AuditEntry { at_ms, caller: None, act: AuditAct::TornRecordRemoved { bytes: torn } });
        }
        Ok(())
    }

    /// Adds a record in memory and gives its number; [`Trail::commit`] makes it durable.
    pub fn note(&mut self, entry: AuditEntry) -> u64 {
        if self.sequence == 0 && !matches!(entry.act, AuditAct::Begun { .. }) {
            let act = AuditAct::Begun { why: Beginning::Fresh };
            self.note(AuditEntry { act, ..entry });
        }
        let sequence = self.sequence + 1;
        let mut payload = entry.to_bytes();
        let tag = self.key.tag(&self.head, sequence, &payload);
        payload.extend_from_slice(&tag);
        let (bytes, head) = frame::seal(self.head, sequence, &payload);
        (self.head, self.sequence) = (head, sequence);
        self.pending.push(Pending { bytes, sequence, hash: head.0 });
        sequence
    }

    /// Brings everything noted to stable storage. After a failure nothing more is recorded.
    pub fn commit(&mut self) -> Result<(), AuditError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let pending = core::mem::take(&mut self.pending);
        let (alone, rest) = pending.split_at(usize::from(self.generation.is_none()).min(pending.len()));
        let written = self.write(alone).and_then(|()| self.write(rest));
        written.map_err(|cause| {
            let fault = AuditError::Faulted(cause.to_string());
            self.fault = Some(fault.clone());
            fault
        })
    }

    fn write(&mut self, records: &[Pending]) -> io::Result<()> {
        let Some(last) = records.last() else { return Ok(()) };
        let bytes: Vec<u8> = records.iter().flat_map(|record| &record.bytes).copied().collect();
        self.medium.append(&bytes)?;
        let generation = self.generation.map_or(0, |generation| generation + 1);
        let slot = self.key.slot(&Slot { generation, sequence: last.sequence, hash: last.hash });
        self.medium.write_head(generation % 2 * SLOT_STRIDE, &slot)?;
        self.generation = Some(generation);
        for record in records {
            self.offsets.push(self.end() + record.bytes.len() as u64);
        }
        Ok(())
    }

    /// Whether something waits for [`Trail::commit`].
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.fault.is_none()
    }

    /// Why nothing is recorded any more.
    pub fn fault(&self) -> Option<&AuditError> {
        self.fault.as_ref()
    }

    /// Number of the last record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Hash of the chain.
    pub fn chain(&self) -> [u8; 32] {
        self.head.0
    }

    /// The bytes of a durable record.
    pub fn frame(&mut self, sequence: u64) -> Result<Vec<u8>, AuditError> {
        let index = usize::try_from(sequence).ok().and_then(|number| number.checked_sub(1));
        let bounds = index.and_then(|index| Some((*self.offsets.get(index)?, *self.offsets.get(index + 1)?)));
        let (start, end) = bounds.ok_or_else(|| AuditError::Io(format!("there is no record {sequence}")))?;
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.medium.read_at(start, &mut bytes).map_err(medium_failed)?;
        Ok(bytes)
    }

    /// A durable record, checked once more, and the chain before it.
    pub fn record(&mut self, sequence: u64) -> Result<(AuditRecord, [u8; 32]), AuditError> {
        let before = match sequence {
            0 | 1 => audit_genesis(),
            _ => {
                let earlier = self.frame(sequence - 1)?;
                let hash = earlier.last_chunk::<32>().ok_or(AuditError::Foreign(sequence - 1))?;
                ChainHead(*hash)
            }
        };
        let bytes = self.frame(sequence)?;
        let (record, _) = self.key.open(before, sequence, &bytes)?;
        Ok((record, before.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit_medium::{AuditBytes, AuditMemory};

    fn key() -> AuditKey {
        AuditKey::derive(&HmacSha256Key::new(&[7; 32]))
    }

    fn open(bytes: &AuditBytes) -> Result<(Trail, Vec<AuditRecord>, AuditMemory), AuditError> {
        let (memory, mut records) = (AuditMemory::of(bytes.clone()), Vec::new());
        let trail = Trail::open(Box::new(memory.clone()), key(), false, 0, &mut |record| records.push(record.clone()))?;
        Ok((trail, records, memory))
    }

    fn act(number: u32) -> AuditEntry {
        let act = AuditAct::RefusalsCounted { count: number };
        AuditEntry { at_ms: u64::from(number), caller: Some(keys::Caller::Administration), act }
    }

    /// One write to a medium.
    #[derive(Clone)]
    enum Write {
        Trail(Vec<u8>),
        Head(u64, Vec<u8>),
    }

    /// A medium that remembers what was written to it in which order.
    struct Recording(AuditMemory, std::sync::Arc<std::sync::Mutex<Vec<Write>>>);

    impl AuditMedium for Recording {
        fn length(&mut self) -> io::Result<u64> {
            self.0.length()
        }
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, buffer)
        }
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.1.lock().unwrap().push(Write::Trail(bytes.to_vec()));
            self.0.append(bytes)
        }
        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.0.truncate(length)
        }
        fn head(&mut self) -> io::Result<Vec<u8>> {
            self.0.head()
        }
        fn write_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.1.lock().unwrap().push(Write::Head(offset, bytes.to_vec()));
            self.0.write_head(offset, bytes)
        }
    }

    /// The writes of a trail of several commits; with each commit, how many writes were done and records answered.
    fn writes() -> (Vec<Write>, Vec<(usize, u64)>) {
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let medium = Recording(AuditMemory::default(), log.clone());
        let mut trail = Trail::open(Box::new(medium), key(), false, 0, &mut |_| {}).unwrap();
        let mut commits = vec![(0, 0)];
        for commit in 0..5 {
            for number in 0..=commit % 3 {
                trail.note(act(number));
            }
            trail.commit().unwrap();
            commits.push((log.lock().unwrap().len(), trail.sequence()));
        }
        let writes = log.lock().unwrap().clone();
        (writes, commits)
    }

    /// The medium after `whole` writes and some bytes of the next.
    fn state(writes: &[Write], whole: usize, bytes: usize) -> AuditBytes {
        let mut memory = AuditMemory::default();
        for (index, write) in writes.iter().enumerate().take(whole + 1) {
            let upto = |content: &Vec<u8>| if index < whole { content.len() } else { bytes.min(content.len()) };
            match write {
                Write::Trail(content) => memory.append(&content[..upto(content)]).unwrap(),
                Write::Head(offset, content) => memory.write_head(*offset, &content[..upto(content)]).unwrap(),
            }
        }
        memory.bytes().clone()
    }

    /// The medium after each commit, and records answered by then.
    fn history() -> Vec<(AuditBytes, u64)> {
        let (writes, commits) = writes();
        commits.into_iter().map(|(whole, answered)| (state(&writes, whole, 0), answered)).collect()
    }

    #[test]
    fn a_trail_comes_back() {
        let (bytes, total) = history().pop().unwrap();
        let (mut trail, records, memory) = open(&bytes).unwrap();
        assert_eq!((records.len() as u64, trail.sequence()), (total, total));
        assert!(matches!(records[0].entry.act, AuditAct::Begun { why: Beginning::Fresh }));
        assert!(trail.is_settled(), "nothing had to be repaired");
        trail.note(act(9));
        trail.commit().unwrap();
        let (_, again, _) = open(&memory.bytes()).unwrap();
        assert_eq!(again.last().unwrap().entry, act(9));
        assert_eq!(trail.record(total + 1).unwrap().0, again[usize::try_from(total).unwrap()]);
    }

    #[test]
    fn a_crash_at_any_byte_keeps_every_answered_record_and_the_trail_goes_on() {
        let (writes, commits) = writes();
        let total = commits.last().unwrap().1;
        for (whole, write) in writes.iter().enumerate() {
            let answered = commits.iter().filter(|(done, _)| *done <= whole).map(|(_, answered)| *answered).max();
            let (Write::Trail(content) | Write::Head(_, content)) = write;
            for bytes in 0..=content.len() {
                check_crash(&state(&writes, whole, bytes), answered.unwrap(), total);
            }
        }
    }

    fn check_crash(bytes: &AuditBytes, answered: u64, total: u64) {
        let opened = open(bytes);
        let (mut trail, records, memory) = opened.unwrap_or_else(|error| panic!("{}: {error}", bytes.trail.len()));
        let kept = records.len() as u64;
        assert!((answered..=total).contains(&kept), "{kept} of {answered}..{total}");
        trail.note(act(77));
        trail.commit().unwrap();
        let (_, again, _) = open(&memory.bytes()).unwrap();
        assert_eq!(again[..records.len()], records[..]);
        assert_eq!(again.last().unwrap().entry, act(77));
    }

    #[test]
    fn a_cut_trail_is_refused_at_every_length() {
        let (whole, total) = history().pop().unwrap();
        for length in 0..whole.trail.len() {
            let cut = AuditBytes { trail: whole.trail[..length].to_vec(), ..whole.clone() };
            let error = open(&cut).map(|_| ()).unwrap_err();
            assert!(matches!(error, AuditError::Cut { .. } | AuditError::Altered(_)), "{length} of {total}: {error}");
        }
    }

    #[test]
    fn an_altered_bit_anywhere_is_refused() {
        let (whole, _) = history().pop().unwrap();
        for at in 0..whole.trail.len() {
            let mut altered = whole.clone();
            altered.trail[at] ^= 0x10;
            assert!(open(&altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn breaking_a_slot_does_not_help_to_cut_the_last_record_off() {
        let states = history();
        let [.., (before, _), (after, _)] = &states[..] else { panic!("two states") };
        // The older slot with the older trail, and the newer slot broken or blanked in either way.
        for spoil in [0xFF, 0x00] {
            let mut head = after.head.clone();
            let newer = if before.head[..SLOT_BYTES] == after.head[..SLOT_BYTES] { 4096 } else { 0 };
            head[newer..newer + SLOT_BYTES].fill(spoil);
            let error = open(&AuditBytes { trail: before.trail.clone(), head, full: false }).map(|_| ()).unwrap_err();
            assert!(matches!(error, AuditError::Cut { .. }), "{error}");
        }
        let headless = AuditBytes { head: Vec::new(), ..after.clone() };
        assert_eq!(open(&headless).map(|_| ()).unwrap_err(), AuditError::Missing);
        let spoilt = AuditBytes { head: vec![1; 8192], ..after.clone() };
        assert_eq!(open(&spoilt).map(|_| ()).unwrap_err(), AuditError::Head);
    }

    #[test]
    fn a_record_of_somebody_else_is_not_taken_for_a_torn_one() {
        let (whole, total) = history().pop().unwrap();
        let (trail, _, _) = open(&whole).unwrap();
        let mut payload = act(1).to_bytes();
        payload.extend_from_slice(&[0; 32]);
        let (forged, _) = frame::seal(trail.head, total + 1, &payload);
        let longer = AuditBytes { trail: [whole.trail.clone(), forged].concat(), ..whole.clone() };
        assert_eq!(open(&longer).map(|_| ()).unwrap_err(), AuditError::Foreign(total + 1));
        let memory = AuditMemory::of(whole);
        let other = AuditKey::derive(&HmacSha256Key::new(&[8; 32]));
        let opened = Trail::open(Box::new(memory), other, false, 0, &mut |_| {});
        assert_eq!(opened.map(|_| ()).unwrap_err(), AuditError::Head);
    }

    #[test]
    fn a_vault_that_always_had_a_trail_wants_it_back() {
        let opened = Trail::open(Box::new(AuditMemory::default()), key(), true, 0, &mut |_| {});
        assert_eq!(opened.map(|_| ()).unwrap_err(), AuditError::Missing);
    }

    #[test]
    fn a_full_medium_stops_the_record_keeping() {
        let (mut trail, _, memory) = open(&AuditBytes::default()).unwrap();
        trail.note(act(1));
        memory.bytes().full = true;
        assert!(matches!(trail.commit(), Err(AuditError::Faulted(_))));
        memory.bytes().full = false;
        trail.note(act(2));
        assert!(matches!(trail.commit(), Err(AuditError::Faulted(_))), "a fault stays until the next start");
    }

    proptest::proptest! {
        #[test]
        fn hostile_files_never_panic(trail: Vec<u8>, head: Vec<u8>) {
            let _ = open(&AuditBytes { trail, head, full: false });
        }
    }
}
