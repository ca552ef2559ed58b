//! What a machine remembers: exactly what replaying its records gives.

use crate::order::OrderPayment;
use crate::record::{
    BatchClose, Comparison, Decision, Enrolment, Kind, NOTE_BYTES_MAX, Record, Reversal, ScriptNotice, SerialClaim,
    Side, Stored, Undo,
};
use iso8583::unionpay::DownloadSet;
use keys::WorkingKeys;
use ledger::{BatchTotals, Hold, Intent, MessageClass, Movement, TotalsFull};
use machine::wire::{Encode, Malformed, Reader, Writer};
use std::collections::BTreeMap;
use types::{Amount, BatchNumber, Rrn, Stan, decimal_digits};

/// Intents of one batch held in memory; those beyond it are still known by their unique rows.
pub const OPEN_INTENTS_MAX: usize = 4000;
/// Sets of working keys remembered behind the present one: a terminal whose sign-ins were not answered still uses one of them.
pub const PREVIOUS_KEYS_MAX: usize = 4;
/// Holds remembered for their expiry; those beyond it stay until they are voided or completed.
pub const PLACED_HOLDS_MAX: usize = 1000;
/// Version 1 (0.1.0) ends before the previous keys, version 2 before the holds, version 3 before the versions of sets.
const STATE_VERSION: u8 = 4;
const COUNTER_LAST: u32 = 999_999;

/// What became of a decided transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It stands as it was answered.
    Standing,
    /// A sale that the void with this trace number gave back, or a pre-authorisation that the message with it ended.
    Voided(Stan),
    /// Undone by a reversal.
    Reversed,
}

/// One intent of the open batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// How it was decided.
    pub stored: Stored,
    /// What became of it.
    pub status: Status,
}

/// The last batch that was closed, for messages that come again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedBatch {
    /// Its last comparison.
    pub comparison: Option<Comparison>,
    /// Its end.
    pub close: BatchClose,
}

/// Working keys that a sign-in has replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreviousKeys {
    /// The keys.
    pub keys: WorkingKeys,
    /// Until when messages under them are taken, Unix milliseconds.
    pub until_ms: u64,
}

/// A hold that stands because of this terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedHold {
    /// The hold.
    pub hold: Hold,
    /// Since when, Unix milliseconds.
    pub wall_ms: u64,
}

/// The state of one terminal at the host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// Its registration; none for a terminal nobody enrolled.
    pub enrolment: Option<Enrolment>,
    /// Its working keys while it is signed in.
    pub keys: Option<WorkingKeys>,
    /// The sets before, newest first; at most [`PREVIOUS_KEYS_MAX`].
    pub previous_keys: Vec<PreviousKeys>,
    /// Version of the last keys made.
    pub key_version: u32,
    /// The serial number of its own that it last signed in with, as F62 gives it; empty for none.
    pub serial: Vec<u8>,
    /// The open batch.
    pub batch: Option<BatchNumber>,
    /// Second half of the last reference number.
    pub counter: u32,
    /// Version of the CA public keys it has.
    pub capk_version: u32,
    /// Version of the application parameters it has.
    pub aid_version: u32,
    /// Versions of the other sets it has.
    pub versions: BTreeMap<DownloadSet, u32>,
    /// Version of the host's wish to hear its status that it has answered.
    pub status_version: u32,
    /// Intents of the open batch.
    pub open: BTreeMap<(MessageClass, Stan), Entry>,
    /// The last comparison of the open batch, until something is booked after it.
    pub comparison: Option<Comparison>,
    /// Amounts uploaded for the open batch.
    pub uploaded: BTreeMap<Stan, u64>,
    /// Holds that stand because of this terminal, of any batch; another terminal may have ended one since.
    pub holds: BTreeMap<Intent, PlacedHold>,
    /// The last batch closed.
    pub closed: Option<Box<ClosedBatch>>,
}

impl State {
    /// The open batch; `NONE` before enrolment.
    pub fn open_batch(&self) -> BatchNumber {
        self.batch.unwrap_or(BatchNumber::NONE)
    }

    /// Version of a set that it has; 0 for none.
    pub fn version(&self, set: DownloadSet) -> u32 {
        match set {
            DownloadSet::Capks => self.capk_version,
            DownloadSet::Aids => self.aid_version,
            set => self.versions.get(&set).copied().unwrap_or(0),
        }
    }

    /// The next reference number: the terminal's number, then a counter that passes over zero.
    pub fn next_rrn(&self, skip: u32) -> Rrn {
        let number = self.enrolment.as_ref().map_or(0, |enrolment| enrolment.terminal_number);
        let counter = (self.counter.saturating_add(skip)) % COUNTER_LAST + 1;
        assert!(number <= COUNTER_LAST, "a terminal number has six digits");
        let halves: [[u8; 6]; 2] = [decimal_digits(number), decimal_digits(counter)];
        Rrn::from_slice(halves.as_flattened()).expect("twelve digits")
    }

    /// The intent of the open batch under this class and trace number.
    pub fn entry(&self, class: MessageClass, stan: Stan) -> Option<&Entry> {
        self.open.get(&(class, stan))
    }

    /// A decided transaction of the open batch.
    pub fn decision(&self, stan: Stan) -> Option<(&Decision, Status)> {
        let entry = self.entry(MessageClass::Financial, stan)?;
        match &entry.stored {
            Stored::Decision(decision) => Some((decision, entry.status)),
            _ => None,
        }
    }

    /// Decided transactions of the open batch that no reversal has undone.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.open.values().filter_map(|entry| match &entry.stored {
            Stored::Decision(decision) if entry.status != Status::Reversed => Some(&**decision),
            _ => None,
        })
    }

    /// Decided transactions of the open batch that a settlement counts, with whether each is a debit.
    pub fn counted(&self) -> impl Iterator<Item = (&Decision, bool)> {
        self.open.values().filter_map(|entry| match &entry.stored {
            Stored::Decision(decision) if decision.is_approved() && entry.status != Status::Reversed => {
                decision.kind.side().map(|side| (&**decision, side == Side::Debit))
            }
            _ => None,
        })
    }

    /// Whether an order of the open batch still waits for its buyer.
    pub fn awaits_payer(&self) -> bool {
        self.open.values().any(|entry| match &entry.stored {
            Stored::Decision(decision) => entry.status == Status::Standing && decision.awaits_payer(),
            _ => false,
        })
    }

    /// Approved pre-authorisations of the open batch: not counted, but their certificates are uploaded.
    pub fn authorised(&self) -> impl Iterator<Item = &Decision> {
        self.open.values().filter_map(|entry| match &entry.stored {
            Stored::Decision(decision) if decision.kind == Kind::PreAuthorisation && decision.is_approved() => {
                Some(&**decision)
            }
            _ => None,
        })
    }

    /// What a sale of the open batch comes to with the tip booked on it, and whether there is one.
    pub fn captured(&self, sale: &Movement) -> (Amount, bool) {
        let mut tips = self.open.values().filter_map(|entry| match &entry.stored {
            Stored::Decision(decision) if decision.kind == Kind::TipAdjustment => decision.movement.as_ref(),
            _ => None,
        });
        let tip = tips.rfind(|tip| tip.sale == sale.sale);
        let total = tip.and_then(|tip| sale.amount.minor().checked_add(tip.amount.minor()));
        let total = total.and_then(|minor| Amount::from_minor(minor, sale.amount.currency()));
        (total.unwrap_or(sale.amount), tip.is_some())
    }

    /// The host's totals of the open batch (unionpay-pos §8.3). A sale with a tip counts once, with its new total.
    ///
    /// # Errors
    /// They do not fit a settlement: prevented when transactions are taken.
    pub fn totals(&self) -> Result<BatchTotals, TotalsFull> {
        let mut totals = BatchTotals::default();
        for (decision, debit) in self.counted() {
            if let (Kind::TipAdjustment, Some(tip)) = (decision.kind, &decision.movement) {
                totals.raise_debit(decision.group, tip.amount.minor())?;
            } else if debit {
                totals.add_debit(decision.group, decision.amount.minor())?;
            } else {
                totals.add_credit(decision.group, decision.amount.minor())?;
            }
        }
        Ok(totals)
    }

    /// Takes a durable record in.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Enrolled { enrolment, .. } => self.apply_enrolment(enrolment),
            Record::SignedIn { version, keys, serial, claim, overlap_until_ms, rrn, .. } => {
                self.apply_keys(keys, overlap_until_ms);
                self.key_version = version;
                if claim != SerialClaim::None {
                    self.serial = serial;
                }
                self.note(&rrn);
            }
            Record::SignedOff { rrn } => {
                self.forget_keys();
                self.note(&rrn);
            }
            Record::MasterKeyReplaced { master_key } => {
                if let Some(enrolment) = &mut self.enrolment {
                    enrolment.master_key = master_key;
                }
            }
            Record::Downloaded { set: DownloadSet::Capks, version } => self.capk_version = version,
            Record::Downloaded { set: DownloadSet::Aids, version } => self.aid_version = version,
            Record::Downloaded { set, version } => drop(self.versions.insert(set, version)),
            Record::StatusReported { version, .. } => self.status_version = version,
            Record::Repeated { .. } | Record::Signed(_) => {}
            Record::Decided(decision) => self.apply_decision(decision),
            Record::Reversed(reversal) => self.apply_reversal(reversal),
            Record::ScriptNoticed(notice) => self.apply_script_notice(notice),
            Record::Refused { rrn, .. } => self.note(&rrn),
            Record::HoldExpired { hold, .. } => {
                self.holds.remove(&hold.authorisation);
            }
            Record::OrderPaid { sale, payment } => self.apply_order_payment(&sale, &payment),
            Record::Queried { .. } => {}
            Record::Compared(comparison) => {
                self.note(&comparison.rrn);
                self.comparison = Some(*comparison);
            }
            Record::Uploaded(upload) => {
                self.note(&upload.rrn);
                self.uploaded.extend(upload.entries.iter().map(|entry| (entry.stan, entry.amount_minor)));
            }
            Record::BatchClosed(close) => self.apply_close(*close),
            Record::Snapshot(state) => *self = *state,
        }
    }

    fn apply_enrolment(&mut self, enrolment: Enrolment) {
        let changed = self.enrolment.as_ref().is_none_or(|before| before.terminal_number != enrolment.terminal_number);
        if changed {
            self.counter = 0;
        }
        self.enrolment = Some(enrolment);
        // Whatever stands under this name now may be another device, and what it may do another.
        self.versions.clear();
        self.status_version = 0;
        self.forget_keys();
        self.batch = self.batch.or(Some(BatchNumber::FIRST));
    }

    fn apply_keys(&mut self, keys: WorkingKeys, overlap_until_ms: u64) {
        if let Some(keys) = self.keys.replace(keys)
            && overlap_until_ms > 0
        {
            self.previous_keys.insert(0, PreviousKeys { keys, until_ms: overlap_until_ms });
            self.previous_keys.truncate(PREVIOUS_KEYS_MAX);
        }
    }

    fn forget_keys(&mut self) {
        self.keys = None;
        self.previous_keys.clear();
    }

    /// The sets that a message may be under at this time (Unix milliseconds): the present one, then those whose time is not
    /// over, newest first.
    pub fn keys_in_force(&self, wall_ms: u64) -> impl Iterator<Item = &WorkingKeys> {
        let previous = self.previous_keys.iter().filter(move |previous| wall_ms < previous.until_ms);
        self.keys.iter().chain(previous.map(|previous| &previous.keys))
    }

    fn apply_decision(&mut self, decision: Box<Decision>) {
        self.note(&decision.answer.rrn);
        if decision.movement.is_some() {
            self.comparison = None;
        }
        if let Some(hold) = &decision.hold {
            match decision.kind {
                Kind::PreAuthorisation => self.place(hold, decision.wall_ms),
                _ => drop(self.holds.remove(&hold.authorisation)),
            }
        }
        let ended = Status::Voided(decision.intent.stan);
        match (decision.kind, &decision.movement, &decision.hold) {
            (Kind::Void | Kind::InstalmentVoid | Kind::CompletionVoid | Kind::QrVoid, Some(movement), _) => {
                self.set_status(&movement.sale, ended)
            }
            (kind, _, Some(hold)) if kind.ends_authorisation() => self.set_hold_status(&decision.intent, hold, ended),
            _ => {}
        }
        let key = (decision.intent.class, decision.intent.stan);
        self.remember(key, Stored::Decision(decision));
    }

    /// The sale counts from now on.
    fn apply_order_payment(&mut self, sale: &Intent, payment: &OrderPayment) {
        let here = sale.batch == self.open_batch();
        let entry = self.open.get_mut(&(sale.class, sale.stan)).filter(|_| here);
        if let Some(Entry { stored: Stored::Decision(decision), .. }) = entry {
            decision.take_payment(payment);
            self.comparison = None;
        }
    }

    fn apply_reversal(&mut self, reversal: Box<Reversal>) {
        self.note(&reversal.answer.rrn);
        match &reversal.undo {
            Undo::Hold(hold) => drop(self.holds.remove(&hold.authorisation)),
            Undo::Release(hold) | Undo::Completion(_, hold) => self.place(hold, reversal.wall_ms),
            _ => {}
        }
        if reversal.intent.batch != self.open_batch() {
            return;
        }
        let original = reversal.original;
        match &reversal.undo {
            Undo::Sale(_) | Undo::Hold(_) | Undo::Order(_) => self.set_status(&original, Status::Reversed),
            Undo::Void(movement) => {
                self.set_status(&original, Status::Reversed);
                self.set_status(&movement.sale, Status::Standing);
            }
            Undo::Release(hold) | Undo::Completion(_, hold) => {
                self.set_status(&original, Status::Reversed);
                self.set_hold_status(&original, hold, Status::Standing);
            }
            Undo::Nothing => {}
            Undo::Tombstone => {
                self.remember((original.class, original.stan), Stored::Tombstone(reversal.intent));
            }
        }
        if matches!(reversal.undo, Undo::Sale(_) | Undo::Void(_) | Undo::Completion(..)) {
            self.comparison = None;
        }
        let key = (reversal.intent.class, reversal.intent.stan);
        self.remember(key, Stored::Reversal(reversal));
    }

    fn apply_script_notice(&mut self, notice: Box<ScriptNotice>) {
        self.note(&notice.answer.rrn);
        let key = (notice.intent.class, notice.intent.stan);
        self.remember(key, Stored::ScriptNotice(notice));
    }

    fn apply_close(&mut self, close: BatchClose) {
        self.note(&close.rrn);
        let comparison = self.comparison.take();
        self.open.clear();
        self.uploaded.clear();
        self.batch = Some(close.batch.next());
        self.closed = Some(Box::new(ClosedBatch { comparison, close }));
    }

    fn place(&mut self, hold: &Hold, wall_ms: u64) {
        if self.holds.len() < PLACED_HOLDS_MAX {
            self.holds.insert(hold.authorisation, PlacedHold { hold: hold.clone(), wall_ms });
        }
    }

    /// Of an intent of the open batch.
    fn set_status(&mut self, intent: &Intent, status: Status) {
        if let Some(entry) = self.open.get_mut(&(intent.class, intent.stan)) {
            entry.status = status;
        }
    }

    /// A pre-authorisation may be of an earlier batch, or another terminal's: then its hold account alone knows its end.
    fn set_hold_status(&mut self, by: &Intent, hold: &Hold, status: Status) {
        let authorisation = &hold.authorisation;
        if authorisation.terminal == by.terminal && authorisation.batch == by.batch {
            self.set_status(authorisation, status);
        }
    }

    fn remember(&mut self, key: (MessageClass, Stan), stored: Stored) {
        if self.open.len() < OPEN_INTENTS_MAX || self.open.contains_key(&key) {
            self.open.insert(key, Entry { stored, status: Status::Standing });
        }
    }

    fn note(&mut self, rrn: &Rrn) {
        let counter = rrn.text().get(6..).and_then(|digits| digits.parse().ok());
        self.counter = counter.unwrap_or(self.counter);
    }
}

impl Encode for Status {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Status::Standing => writer.u8(1),
            Status::Voided(by) => writer.u8(2).value(by),
            Status::Reversed => writer.u8(3),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(Status::Standing),
            2 => Ok(Status::Voided(reader.value()?)),
            3 => Ok(Status::Reversed),
            _ => Err(reader.malformed("a status")),
        }
    }
}

fn put_entry(writer: &mut Writer, (key, entry): &(&(MessageClass, Stan), &Entry)) {
    writer.u16(key.0.message_type()).value(&key.1).value(&entry.stored).value(&entry.status);
}

fn entry(reader: &mut Reader<'_>) -> Result<((MessageClass, Stan), Entry), Malformed> {
    let class = MessageClass::from_message_type(reader.u16()?).ok_or_else(|| reader.malformed("a message class"))?;
    Ok(((class, reader.value()?), Entry { stored: reader.value()?, status: reader.value()? }))
}

fn closed_batch(reader: &mut Reader<'_>) -> Result<Box<ClosedBatch>, Malformed> {
    Ok(Box::new(ClosedBatch { comparison: reader.option(Reader::value)?, close: reader.value()? }))
}

fn previous_keys(reader: &mut Reader<'_>) -> Result<Vec<PreviousKeys>, Malformed> {
    let previous = reader.list(|reader| Ok(PreviousKeys { keys: reader.value()?, until_ms: reader.u64()? }))?;
    if previous.len() > PREVIOUS_KEYS_MAX { Err(reader.malformed("fewer sets of keys")) } else { Ok(previous) }
}

fn placed_holds(reader: &mut Reader<'_>) -> Result<BTreeMap<Intent, PlacedHold>, Malformed> {
    let placed = reader.list(|reader| Ok(PlacedHold { hold: reader.value()?, wall_ms: reader.u64()? }))?;
    if placed.len() > PLACED_HOLDS_MAX {
        return Err(reader.malformed("fewer holds"));
    }
    Ok(placed.into_iter().map(|placed| (placed.hold.authorisation, placed)).collect())
}

impl Encode for State {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(STATE_VERSION);
        writer.option(self.enrolment.as_ref(), |writer, enrolment| {
            writer.value(enrolment);
        });
        writer.option(self.keys.as_ref(), |writer, keys| {
            writer.value(keys);
        });
        writer.u32(self.key_version).value(&self.open_batch()).u32(self.counter);
        writer.u32(self.capk_version).u32(self.aid_version);
        writer.list(&self.open.iter().collect::<Vec<_>>(), put_entry);
        writer.option(self.comparison.as_ref(), |writer, comparison| {
            writer.value(comparison);
        });
        writer.list(&self.uploaded.iter().collect::<Vec<_>>(), |writer, (stan, amount)| {
            writer.value(*stan).u64(**amount);
        });
        writer.option(self.closed.as_ref(), |writer, closed| {
            writer.option(closed.comparison.as_ref(), |writer, comparison| {
                writer.value(comparison);
            });
            writer.value(&closed.close);
        });
        writer.list(&self.previous_keys, |writer, previous| {
            writer.value(&previous.keys).u64(previous.until_ms);
        });
        writer.bytes(&self.serial);
        writer.list(&self.holds.values().collect::<Vec<_>>(), |writer, placed| {
            writer.value(&placed.hold).u64(placed.wall_ms);
        });
        writer.list(&self.versions.iter().collect::<Vec<_>>(), |writer, (set, version)| {
            writer.u16(set.download_code()).u32(**version);
        });
        writer.u32(self.status_version);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = reader.u8()?;
        if !(1..=STATE_VERSION).contains(&version) {
            return Err(reader.malformed("state version 1 to 4"));
        }
        let mut state = Self {
            enrolment: reader.option(Reader::value)?,
            keys: reader.option(Reader::value)?,
            key_version: reader.u32()?,
            batch: Some(reader.value()?).filter(|batch| *batch != BatchNumber::NONE),
            counter: reader.u32()?,
            capk_version: reader.u32()?,
            aid_version: reader.u32()?,
            open: reader.list(entry)?.into_iter().collect(),
            comparison: reader.option(Reader::value)?,
            uploaded: reader.list(|reader| Ok((reader.value()?, reader.u64()?)))?.into_iter().collect(),
            closed: reader.option(closed_batch)?,
            ..Self::default()
        };
        if version > 1 {
            state.previous_keys = previous_keys(reader)?;
            state.serial = crate::encoding::bounded(reader, NOTE_BYTES_MAX)?.to_vec();
        }
        if version > 2 {
            state.holds = placed_holds(reader)?;
        }
        if version > 3 {
            let versions = reader.list(|reader| Ok((crate::encoding::download_set(reader)?, reader.u32()?)))?;
            state.versions = versions.into_iter().collect();
            state.status_version = reader.u32()?;
        }
        Ok(state)
    }
}
