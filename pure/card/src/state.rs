//! What survives when the card leaves the reader: its non-volatile memory.

use crate::issued::{RECORD_BYTES_MAX, Records};
use crate::log;
use crate::personalisation::{APPLICATIONS_MAX, RiskParameters};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::SecretBytes;

/// First byte of every encoded state.
const VERSION: u8 = 1;
/// Most records an issuer may have replaced in one application.
pub const UPDATED_RECORDS_MAX: usize = 32;
/// Bytes that tie a state to the card it was taken from.
pub const IDENTITY_BYTES: usize = 8;

/// The non-volatile memory of a card. Holds no clear PIN: a changed PIN stands enciphered under a key of the card.
#[derive(Clone, PartialEq, Eq)]
pub struct CardState {
    pub(crate) identity: [u8; IDENTITY_BYTES],
    /// PIN tries left.
    pub pin_tries_left: u8,
    /// The whole card is blocked for ever (CARD BLOCK).
    pub card_blocked: bool,
    pub(crate) random_counter: u64,
    /// A PIN that a script set, as an enciphered ISO format 2 block.
    pub(crate) changed_pin: Option<[u8; 8]>,
    /// One for each application, in the order of the personalisation.
    pub applications: Vec<ApplicationState>,
}

/// The non-volatile memory of one application.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ApplicationState {
    /// Application transaction counter (tag 9F36) of the transaction last begun.
    pub transaction_counter: u16,
    /// ATC of the transaction last completed online (tag 9F13).
    pub last_online_transaction_counter: u16,
    /// The application is blocked (APPLICATION BLOCK, or its counter ran out).
    pub blocked: bool,
    /// An ARQC was given and no second GENERATE AC came.
    pub online_incomplete: bool,
    /// Issuer authentication failed in the last online transaction.
    pub issuer_authentication_failed: bool,
    /// The last online approval came without issuer authentication.
    pub issuer_authentication_missing: bool,
    /// The issuer asked to go online next time.
    pub go_online_next: bool,
    /// Offline data authentication failed in the last transaction and it was declined offline.
    pub offline_authentication_failed: bool,
    /// Offline approvals since the last online transaction.
    pub consecutive_offline: u8,
    /// Their sum, minor units of the application's currency.
    pub cumulative_offline_minor: u64,
    /// Script commands carried out in the last transaction that had any; at most 15.
    pub script_commands: u8,
    /// A script command failed in that transaction.
    pub script_failed: bool,
    /// Lower consecutive offline limit (tag 9F58).
    pub lower_consecutive_offline_limit: u8,
    /// Upper consecutive offline limit (tag 9F59).
    pub upper_consecutive_offline_limit: u8,
    pub(crate) updated_records: UpdatedRecords,
    pub(crate) log: Vec<[u8; log::ENTRY_BYTES]>,
}

/// Records an issuer replaced. They may hold account data, so they compare and clone by hand.
#[derive(Default)]
pub(crate) struct UpdatedRecords(pub Records);

impl Clone for UpdatedRecords {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(|(key, record)| (*key, record.duplicate())).collect())
    }
}

impl PartialEq for UpdatedRecords {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(mine, theirs)| mine.0 == theirs.0 && mine.1.matches(theirs.1))
    }
}

impl Eq for UpdatedRecords {}

impl ApplicationState {
    pub(crate) fn fresh(risk: RiskParameters) -> Self {
        Self {
            lower_consecutive_offline_limit: risk.lower_consecutive_offline_limit,
            upper_consecutive_offline_limit: risk.upper_consecutive_offline_limit,
            ..Self::default()
        }
    }

    /// No transaction was ever completed online.
    pub fn is_new(&self) -> bool {
        self.last_online_transaction_counter == 0
    }

    /// One more offline approval would pass the lower limit.
    pub fn lower_limit_reached(&self) -> bool {
        self.consecutive_offline >= self.lower_consecutive_offline_limit
    }

    /// One more offline approval would pass the upper limit.
    pub fn upper_limit_reached(&self) -> bool {
        self.consecutive_offline >= self.upper_consecutive_offline_limit
    }

    pub(crate) fn add_log_entry(&mut self, entry: [u8; log::ENTRY_BYTES]) {
        self.log.insert(0, entry);
        self.log.truncate(log::ENTRIES_MAX);
    }

    fn flags(&self) -> [bool; 7] {
        [
            self.blocked,
            self.online_incomplete,
            self.issuer_authentication_failed,
            self.issuer_authentication_missing,
            self.go_online_next,
            self.offline_authentication_failed,
            self.script_failed,
        ]
    }
}

impl core::fmt::Debug for CardState {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("CardState")
            .field("pin_tries_left", &self.pin_tries_left)
            .field("card_blocked", &self.card_blocked)
            .field("applications", &self.applications)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for ApplicationState {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("ApplicationState")
            .field("transaction_counter", &self.transaction_counter)
            .field("last_online_transaction_counter", &self.last_online_transaction_counter)
            .field("consecutive_offline", &self.consecutive_offline)
            .field("flags", &self.flags())
            .finish_non_exhaustive()
    }
}

impl Encode for CardState {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).raw(&self.identity).u8(self.pin_tries_left).bool(self.card_blocked);
        writer.u64(self.random_counter);
        writer.option(self.changed_pin, |writer, block| {
            writer.raw(&block);
        });
        writer.list(&self.applications, |writer, application| {
            writer.value(application);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("card state version 1"));
        }
        let state = Self {
            identity: reader.array("card identity")?,
            pin_tries_left: reader.u8()?,
            card_blocked: reader.bool()?,
            random_counter: reader.u64()?,
            changed_pin: reader.option(|reader| reader.array("enciphered PIN block"))?,
            applications: reader.list(|reader| reader.value())?,
        };
        if state.applications.len() > APPLICATIONS_MAX {
            return Err(reader.malformed("at most 8 applications"));
        }
        Ok(state)
    }
}

impl Encode for ApplicationState {
    fn encode(&self, writer: &mut Writer) {
        writer.u16(self.transaction_counter).u16(self.last_online_transaction_counter);
        for flag in self.flags() {
            writer.bool(flag);
        }
        writer.u8(self.consecutive_offline).u64(self.cumulative_offline_minor).u8(self.script_commands);
        writer.u8(self.lower_consecutive_offline_limit).u8(self.upper_consecutive_offline_limit);
        let records: Vec<_> = self.updated_records.0.iter().collect();
        writer.list(&records, |writer, (key, record)| {
            writer.u8(key.0).u8(key.1).bytes(record.expose());
        });
        writer.list(&self.log, |writer, entry| {
            writer.raw(entry);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            transaction_counter: reader.u16()?,
            last_online_transaction_counter: reader.u16()?,
            blocked: reader.bool()?,
            online_incomplete: reader.bool()?,
            issuer_authentication_failed: reader.bool()?,
            issuer_authentication_missing: reader.bool()?,
            go_online_next: reader.bool()?,
            offline_authentication_failed: reader.bool()?,
            script_failed: reader.bool()?,
            consecutive_offline: reader.u8()?,
            cumulative_offline_minor: reader.u64()?,
            script_commands: reader.u8()?,
            lower_consecutive_offline_limit: reader.u8()?,
            upper_consecutive_offline_limit: reader.u8()?,
            updated_records: decode_records(reader)?,
            log: decode_log(reader)?,
        })
    }
}

fn decode_records(reader: &mut Reader<'_>) -> Result<UpdatedRecords, Malformed> {
    let list = reader.list(|reader| Ok(((reader.u8()?, reader.u8()?), SecretBytes::copy_from(reader.bytes()?))))?;
    if list.len() > UPDATED_RECORDS_MAX || list.iter().any(|(_, record)| record.len() > RECORD_BYTES_MAX) {
        return Err(reader.malformed("updated records within their limits"));
    }
    Ok(UpdatedRecords(list.into_iter().collect()))
}

fn decode_log(reader: &mut Reader<'_>) -> Result<Vec<[u8; log::ENTRY_BYTES]>, Malformed> {
    let log = reader.list(|reader| reader.array("log entry"))?;
    if log.len() > log::ENTRIES_MAX {
        return Err(reader.malformed("at most 10 log entries"));
    }
    Ok(log)
}
