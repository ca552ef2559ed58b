//! Reading journals back: the list of rows walked from its end, then the hash chain verified from its start.

use crate::append::{signed, unsigned};
use crate::medium;
use crate::seal::RecordSeal;
use machine::MachineId;
use machine::frame::{self, ChainHead, Damage};
use machine::store::{Journal, StoreFault};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Both ends of one machine's journal, as the file states them.
pub(crate) struct Ends {
    pub(crate) last_sequence: u64,
    last_row: i64,
    chain: ChainHead,
    snapshot_sequence: u64,
    snapshot_chain: ChainHead,
}

/// Where reading starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At the newest snapshot.
    Snapshot,
    /// At record 1.
    Beginning,
    /// Behind the record of this number.
    After(u64),
}

/// A machine's records from its newest snapshot on, verified and opened.
pub(crate) fn load(
    connection: &Connection,
    seal: Option<&dyn RecordSeal>,
    machine: MachineId,
) -> Result<Journal, StoreFault> {
    // One read transaction, so that the ends and the rows between them belong together.
    let transaction = connection.unchecked_transaction().map_err(medium)?;
    let Some(ends) = read_ends(&transaction, machine).map_err(medium)? else { return Ok(Journal::default()) };
    let records = read_records(&transaction, seal, machine, &ends, From::Snapshot)?;
    Ok(Journal { records, last_sequence: ends.last_sequence })
}

/// A machine's ends, or `None` if it never wrote.
pub(crate) fn read_ends(connection: &Connection, machine: MachineId) -> rusqlite::Result<Option<Ends>> {
    connection
        .prepare_cached(
            "SELECT last_sequence, last_row, chain, snapshot_sequence, snapshot_chain FROM machine WHERE name = ?1",
        )?
        .query_row(params![machine.text()], |row| {
            Ok(Ends {
                last_sequence: unsigned(row.get(0)?),
                last_row: row.get(1)?,
                chain: ChainHead(row.get(2)?),
                snapshot_sequence: unsigned(row.get(3)?),
                snapshot_chain: ChainHead(row.get(4)?),
            })
        })
        .optional()
}

/// The records between the start and the end that `ends` states; anything that does not fit is named.
pub(crate) fn read_records(
    transaction: &Transaction<'_>,
    seal: Option<&dyn RecordSeal>,
    machine: MachineId,
    ends: &Ends,
    from: From,
) -> Result<Vec<Vec<u8>>, StoreFault> {
    let damaged = |damage| StoreFault::Damaged { machine, damage };
    let (first, mut chain, frames) = match from {
        From::Snapshot if ends.snapshot_sequence > 0 => {
            let first = ends.snapshot_sequence;
            (first, ends.snapshot_chain, walk_back(transaction, machine, ends, first)?)
        }
        From::After(last_known) if last_known >= ends.last_sequence => return Ok(Vec::new()),
        From::After(last_known) if last_known > 0 => {
            // What the frame before says of the chain is checked by the frames behind it, up to the head that is kept apart.
            let mut frames = walk_back(transaction, machine, ends, last_known)?;
            let chain = ChainHead::at_end_of(&frames.remove(0)).ok_or(Damage::Hash { sequence: last_known });
            (last_known + 1, chain.map_err(damaged)?, frames)
        }
        _ => (1, ChainHead::genesis(machine), walk_back(transaction, machine, ends, 1)?),
    };
    let mut records = Vec::with_capacity(frames.len());
    for (sequence, bytes) in (first..).zip(frames) {
        let (payload, next) = frame::open(chain, sequence, &bytes).map_err(damaged)?;
        records.push(open_seal(seal, machine, sequence, payload)?);
        chain = next;
    }
    if chain != ends.chain {
        return Err(damaged(Damage::Hash { sequence: ends.last_sequence }));
    }
    Ok(records)
}

/// Frames from `first` to the end, in order. The list is linked backwards, so it is collected and turned round.
fn walk_back(
    transaction: &Transaction<'_>,
    machine: MachineId,
    ends: &Ends,
    first: u64,
) -> Result<Vec<Vec<u8>>, StoreFault> {
    let mut statement = transaction
        .prepare_cached("SELECT sequence, previous, frame FROM journal WHERE number = ?1")
        .map_err(medium)?;
    let mut frames = Vec::new();
    let mut number = ends.last_row;
    for expected in (first..=ends.last_sequence).rev() {
        let row = statement
            .query_row(params![number], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
            })
            .optional()
            .map_err(medium)?;
        let found = row.as_ref().map_or(0, |(sequence, _, _)| unsigned(*sequence));
        match row {
            Some((sequence, previous, frame)) if sequence == signed(expected) => {
                frames.push(frame);
                number = previous;
            }
            _ => return Err(StoreFault::Damaged { machine, damage: Damage::Gap { expected, found } }),
        }
    }
    frames.reverse();
    Ok(frames)
}

/// Opens a record's seal, if the store has one.
pub(crate) fn open_seal(
    seal: Option<&dyn RecordSeal>,
    machine: MachineId,
    sequence: u64,
    payload: &[u8],
) -> Result<Vec<u8>, StoreFault> {
    match seal {
        None => Ok(payload.to_vec()),
        Some(seal) => seal
            .open(machine, sequence, payload)
            .map_err(|refused| StoreFault::Medium(format!("record {sequence} of {machine}: {refused}"))),
    }
}
